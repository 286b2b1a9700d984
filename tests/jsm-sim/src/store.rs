//! Schemas, object types, attributes, objects and statuses, and the index that searches see.
//!
//! Hides ids (one counter, as every published key `SCHEMA-n` has the object's id as n), inheritance, uniqueness, and the
//! delay with which a write reaches the index. Deliberately validates nothing: see `check`.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::time::Duration;

use jiff::Timestamp;

/// What everything is called by.
pub type Id = u64;

/// A schema: a namespace of object types.
#[derive(Clone, Debug)]
pub struct Schema {
    pub id: Id,
    pub name: String,
    pub key: String,
    pub description: String,
    pub created: Timestamp,
}

/// A kind of objects.
#[derive(Clone, Debug)]
pub struct ObjectType {
    pub id: Id,
    pub schema: Id,
    pub name: String,
    pub description: String,
    pub icon: Id,
    pub parent: Option<Id>,
    /// Gives its attributes to its children.
    pub inherited: bool,
    /// Holds no objects.
    pub is_abstract: bool,
    pub position: usize,
    pub created: Timestamp,
}

/// The simple types, by the number that stands for them.
/// <https://developer.atlassian.com/cloud/assets/rest/api-group-objecttypeattribute/>
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DefaultType {
    Text = 0,
    Integer = 1,
    Boolean = 2,
    Double = 3,
    Date = 4,
    Time = 5,
    DateTime = 6,
    Url = 7,
    Email = 8,
    Textarea = 9,
    Select = 10,
    IpAddress = 11,
}

impl DefaultType {
    pub const ALL: [Self; 12] = [
        Self::Text,
        Self::Integer,
        Self::Boolean,
        Self::Double,
        Self::Date,
        Self::Time,
        Self::DateTime,
        Self::Url,
        Self::Email,
        Self::Textarea,
        Self::Select,
        Self::IpAddress,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Self::Text => "Text",
            Self::Integer => "Integer",
            Self::Boolean => "Boolean",
            Self::Double => "Double",
            Self::Date => "Date",
            Self::Time => "Time",
            Self::DateTime => "DateTime",
            Self::Url => "Url",
            Self::Email => "Email",
            Self::Textarea => "Textarea",
            Self::Select => "Select",
            Self::IpAddress => "IP Address",
        }
    }
}

/// What an attribute holds.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Kind {
    Default(DefaultType),
    Reference {
        to: Id,
        by: Id,
    },
    User,
    Group,
    Project,
    /// One of these, or of all where none is named.
    Status(Vec<Id>),
}

/// A slot of an object type.
#[derive(Clone, Debug)]
pub struct Attribute {
    pub id: Id,
    /// The type that it was made for; children may inherit it.
    pub owner: Id,
    pub name: String,
    pub description: String,
    pub kind: Kind,
    pub label: bool,
    pub system: bool,
    pub editable: bool,
    pub min: i64,
    /// -1 is any number.
    pub max: i64,
    pub unique: bool,
    pub hidden: bool,
    pub regex: String,
    pub options: Vec<String>,
    pub suffix: String,
    pub additional: Option<String>,
    pub include_children: bool,
    /// Restricts what may be referred to.
    pub ql: String,
    pub position: usize,
}

/// A value as it is kept.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Stored {
    Text(String),
    Object(Id),
    Status(Id),
    /// Account id, or user key on Data Center.
    User(String),
    Group(String),
    Project(String),
}

/// A record.
#[derive(Clone, Debug)]
pub struct Object {
    pub id: Id,
    pub ty: Id,
    pub values: BTreeMap<Id, Vec<Stored>>,
    pub created: Timestamp,
    pub updated: Timestamp,
}

/// What became of an object at one moment; without an attribute it was made.
#[derive(Clone, Debug)]
pub struct Event {
    pub at: Timestamp,
    /// The account's name.
    pub by: String,
    pub attribute: Option<String>,
    /// As people see them.
    pub before: String,
    pub after: String,
}

/// A status, or a kind of reference.
#[derive(Clone, Debug)]
pub struct StatusType {
    pub id: Id,
    pub name: String,
    pub description: String,
    /// 1 active, 0 inactive, 2 pending.
    pub category: u8,
    pub schema: Option<Id>,
}

#[derive(Clone, Debug)]
pub struct ReferenceType {
    pub id: Id,
    pub name: String,
    pub description: String,
    pub color: String,
    pub schema: Option<Id>,
}

/// One with an account on the site.
#[derive(Clone, Debug)]
pub struct Person {
    /// Account id, or user key on Data Center.
    pub account: String,
    pub name: String,
    /// None is kept private.
    pub email: Option<String>,
}

/// Everything that is held.
#[derive(Clone, Default, Debug)]
pub struct Store {
    pub schemas: BTreeMap<Id, Schema>,
    pub types: BTreeMap<Id, ObjectType>,
    pub attributes: BTreeMap<Id, Attribute>,
    pub objects: BTreeMap<Id, Object>,
    pub statuses: BTreeMap<Id, StatusType>,
    pub reference_types: BTreeMap<Id, ReferenceType>,
    pub people: Vec<Person>,
    pub groups: Vec<String>,
    /// What requests did to objects, the oldest first.
    pub history: BTreeMap<Id, Vec<Event>>,
    /// What searches see.
    indexed: BTreeMap<Id, Object>,
    /// Writes on their way into the index, each with the time when it arrives.
    under_way: VecDeque<(Duration, Id, Option<Object>)>,
    /// Who holds a value of a unique attribute.
    unique: HashMap<(Id, String), Id>,
    last: Id,
}

/// The icons that every site has.
pub(crate) const ICONS: [(Id, &str); 4] = [(1, "Generic"), (2, "User"), (3, "Group"), (4, "Laptop")];

impl Store {
    /// An empty site with the statuses and kinds of reference that every site begins with.
    pub fn new() -> Self {
        let mut store = Self { last: 10, ..Self::default() };
        for (name, category) in [("Active", 1), ("Closed", 0), ("In Service", 1), ("Stopped", 0)] {
            store.add_status(name, category, None);
        }
        for name in ["Depends on", "Link", "Reference"] {
            store.add_reference_type(name, None);
        }
        store
    }

    pub(crate) fn new_id(&mut self) -> Id {
        self.last += 1;
        self.last
    }

    pub fn add_status(&mut self, name: &str, category: u8, schema: Option<Id>) -> Id {
        let id = self.new_id();
        let (name, description) = (name.to_owned(), String::new());
        self.statuses.insert(id, StatusType { id, name, description, category, schema });
        id
    }

    pub fn add_reference_type(&mut self, name: &str, schema: Option<Id>) -> Id {
        let id = self.new_id();
        let (name, description, color) = (name.to_owned(), String::new(), "#0000FF".to_owned());
        self.reference_types.insert(id, ReferenceType { id, name, description, color, schema });
        id
    }

    pub fn add_schema(&mut self, name: &str, key: &str, description: &str) -> Id {
        let id = self.new_id();
        let created = now();
        let (name, key, description) = (name.to_owned(), key.to_owned(), description.to_owned());
        self.schemas.insert(id, Schema { id, name, key, description, created });
        id
    }

    /// A type with the four attributes that every new one comes with.
    pub fn add_type(&mut self, schema: Id, name: &str) -> Id {
        let id = self.new_id();
        let position = self.types.values().filter(|ty| ty.schema == schema).count();
        let ty = ObjectType {
            id,
            schema,
            name: name.to_owned(),
            description: String::new(),
            icon: 1,
            parent: None,
            inherited: false,
            is_abstract: false,
            position,
            created: now(),
        };
        self.types.insert(id, ty);
        let system = |name: &str, kind| Attribute { system: true, editable: false, ..Attribute::new(id, name, kind) };
        let text = Kind::Default(DefaultType::Text);
        let moment = Kind::Default(DefaultType::DateTime);
        self.add_attribute(system("Key", text.clone()));
        self.add_attribute(Attribute { label: true, min: 1, ..Attribute::new(id, "Name", text) });
        self.add_attribute(system("Created", moment.clone()));
        self.add_attribute(system("Updated", moment));
        id
    }

    pub fn add_attribute(&mut self, mut attribute: Attribute) -> Id {
        attribute.id = self.new_id();
        attribute.position = self.attributes.values().filter(|other| other.owner == attribute.owner).count();
        let id = attribute.id;
        self.attributes.insert(id, attribute);
        id
    }

    /// The attributes of a type's objects, inherited ones first.
    pub fn attributes_of(&self, ty: Id) -> Vec<&Attribute> {
        let mut owners = vec![ty];
        let mut at = ty;
        // Parents cannot form a ring: they are named when a type is made.
        while let Some(parent) = self.types.get(&at).and_then(|ty| ty.parent) {
            if !self.types.get(&parent).is_some_and(|ty| ty.inherited) {
                break;
            }
            owners.push(parent);
            at = parent;
        }
        let of = |owner: &Id| {
            let mut own: Vec<&Attribute> = self.attributes.values().filter(|other| other.owner == *owner).collect();
            own.sort_by_key(|attribute| attribute.position);
            own
        };
        owners.iter().rev().flat_map(of).collect()
    }

    pub fn attribute_named(&self, ty: Id, name: &str) -> Option<&Attribute> {
        self.attributes_of(ty).into_iter().find(|attribute| attribute.name.eq_ignore_ascii_case(name))
    }

    pub fn type_named(&self, schema: Id, name: &str) -> Option<&ObjectType> {
        self.types.values().find(|ty| ty.schema == schema && ty.name.eq_ignore_ascii_case(name))
    }

    /// A type and all below it.
    pub(crate) fn with_children(&self, ty: Id) -> Vec<Id> {
        let mut found = vec![ty];
        let mut at = 0;
        while at < found.len() {
            let parent = found[at];
            found.extend(self.types.values().filter(|ty| ty.parent == Some(parent)).map(|ty| ty.id));
            at += 1;
        }
        found
    }

    pub fn key_of(&self, object: &Object) -> String {
        let schema = self.types.get(&object.ty).and_then(|ty| self.schemas.get(&ty.schema));
        format!("{}-{}", schema.map_or("", |schema| schema.key.as_str()), object.id)
    }

    pub fn label_of(&self, object: &Object) -> String {
        let label = self.attributes_of(object.ty).into_iter().find(|attribute| attribute.label);
        let value = label.and_then(|attribute| object.values.get(&attribute.id)).and_then(|values| values.first());
        value.map(|value| self.shown(value)).unwrap_or_default()
    }

    /// What people and searches see of a value.
    pub fn shown(&self, value: &Stored) -> String {
        match value {
            Stored::Text(text) | Stored::Group(text) | Stored::Project(text) => text.clone(),
            Stored::Object(id) => self.objects.get(id).map(|object| self.label_of(object)).unwrap_or_default(),
            Stored::Status(id) => self.statuses.get(id).map(|status| status.name.clone()).unwrap_or_default(),
            Stored::User(account) => {
                let person = self.people.iter().find(|person| person.account == *account);
                person.map_or_else(|| account.clone(), |person| person.name.clone())
            }
        }
    }

    /// The values of an attribute of that name, as people see them.
    pub fn shown_values(&self, object: &Object, name: &str) -> Vec<String> {
        let attribute = self.attribute_named(object.ty, name);
        let values = attribute.and_then(|attribute| object.values.get(&attribute.id));
        values.into_iter().flatten().map(|value| self.shown(value)).collect()
    }

    /// Who else holds this value of a unique attribute.
    pub(crate) fn holder(&self, attribute: Id, value: &Stored) -> Option<Id> {
        self.unique.get(&(attribute, folded(value))).copied()
    }

    /// Keeps an object, new or changed; searches see it after `delay`.
    pub fn put(&mut self, object: Object, now: Duration, delay: Duration) {
        self.release(object.id);
        for (attribute, values) in &object.values {
            if self.attributes.get(attribute).is_some_and(|attribute| attribute.unique) {
                for value in values {
                    self.unique.insert((*attribute, folded(value)), object.id);
                }
            }
        }
        self.under_way.push_back((now + delay, object.id, Some(object.clone())));
        self.objects.insert(object.id, object);
    }

    /// Takes an object away, and what refers to it.
    pub fn remove(&mut self, id: Id, now: Duration, delay: Duration) -> bool {
        self.release(id);
        if self.objects.remove(&id).is_none() {
            return false;
        }
        self.history.remove(&id);
        self.under_way.push_back((now + delay, id, None));
        let refers = |object: &&Object| object.values.values().flatten().any(|value| *value == Stored::Object(id));
        let others: Vec<Id> = self.objects.values().filter(refers).map(|object| object.id).collect();
        for other in others {
            let Some(mut object) = self.objects.get(&other).cloned() else { continue };
            object.values.values_mut().for_each(|values| values.retain(|value| *value != Stored::Object(id)));
            object.values.retain(|_, values| !values.is_empty());
            self.put(object, now, delay);
        }
        true
    }

    fn release(&mut self, id: Id) {
        let Some(object) = self.objects.get(&id) else { return };
        for (attribute, values) in &object.values {
            for value in values {
                let key = (*attribute, folded(value));
                if self.unique.get(&key) == Some(&id) {
                    self.unique.remove(&key);
                }
            }
        }
    }

    /// Takes a type away with all its objects and attributes.
    pub fn remove_type(&mut self, ty: Id, now: Duration, delay: Duration) {
        let objects: Vec<Id> = self.objects.values().filter(|object| object.ty == ty).map(|object| object.id).collect();
        for id in objects {
            self.remove(id, now, delay);
        }
        self.attributes.retain(|_, attribute| attribute.owner != ty);
        self.types.remove(&ty);
    }

    /// Takes a status away, and the values that name it. What becomes of them is not published.
    pub fn remove_status(&mut self, id: Id) {
        self.statuses.remove(&id);
        for object in self.objects.values_mut().chain(self.indexed.values_mut()) {
            object.values.values_mut().for_each(|values| values.retain(|value| *value != Stored::Status(id)));
            object.values.retain(|_, values| !values.is_empty());
        }
    }

    /// Takes an attribute away with its values.
    pub fn remove_attribute(&mut self, id: Id) {
        self.attributes.remove(&id);
        for object in self.objects.values_mut().chain(self.indexed.values_mut()) {
            object.values.remove(&id);
        }
        self.unique.retain(|(attribute, _), _| *attribute != id);
    }

    /// Lets writes that are due arrive in the index.
    pub(crate) fn settle_index(&mut self, now: Duration) {
        while self.under_way.front().is_some_and(|(due, ..)| *due <= now) {
            match self.under_way.pop_front() {
                Some((_, id, Some(object))) => drop(self.indexed.insert(id, object)),
                Some((_, id, None)) => drop(self.indexed.remove(&id)),
                None => break,
            }
        }
    }

    /// What searches see.
    pub(crate) fn indexed(&self) -> impl Iterator<Item = &Object> {
        self.indexed.values()
    }

    /// An object in the index.
    pub(crate) fn in_index(&self, id: Id) -> Option<&Object> {
        self.indexed.get(&id)
    }
}

impl Attribute {
    /// An editable attribute of a type, for at most one value.
    pub fn new(owner: Id, name: &str, kind: Kind) -> Self {
        Self {
            id: 0,
            owner,
            name: name.to_owned(),
            description: String::new(),
            kind,
            label: false,
            system: false,
            editable: true,
            min: 0,
            max: 1,
            unique: false,
            hidden: false,
            regex: String::new(),
            options: Vec::new(),
            suffix: String::new(),
            additional: None,
            include_children: false,
            ql: String::new(),
            position: 0,
        }
    }
}

/// A value's form in which twins are found: letter case does not count.
fn folded(value: &Stored) -> String {
    match value {
        Stored::Text(text) | Stored::User(text) | Stored::Group(text) | Stored::Project(text) => text.to_lowercase(),
        Stored::Object(id) | Stored::Status(id) => id.to_string(),
    }
}

/// To the millisecond, as Assets keeps moments.
pub(crate) fn now() -> Timestamp {
    Timestamp::from_millisecond(Timestamp::now().as_millisecond()).unwrap_or_default()
}
