//! The schema as it stands in Jira: types, attributes, statuses, and which of them a type of the plan means.
//!
//! Hides the JSON of both products: ids that are texts or numbers, lists in several shapes, a `type` that is often left
//! out. Names lead to ids here and nowhere else; whatever a mapping names and Jira does not have, or has in another
//! form, is told before the first write. Deliberately writes nothing.
//! <https://developer.atlassian.com/cloud/assets/rest/api-group-objecttypeattribute/>

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use serde::de::{Deserialize, Deserializer, Error as _, Visitor};

use super::client::{Call, Client, Failed};
use crate::diagnostic::nearest;
use crate::error::{Error, Exit, Result};
use crate::plan::change::{AttributeSpec, Slot as Holds, SlotKind, TypeSpec};

/// What Assets calls a thing: a text on Cloud, a number on Data Center.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub(super) struct Id(pub Box<str>);

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Id {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Id, D::Error> {
        struct Either;
        impl Visitor<'_> for Either {
            type Value = Id;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an id")
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Id, E> {
                if text.is_empty() { Err(E::custom("an empty id")) } else { Ok(Id(text.into())) }
            }

            fn visit_u64<E>(self, number: u64) -> Result<Id, E> {
                Ok(Id(number.to_string().into()))
            }

            fn visit_i64<E>(self, number: i64) -> Result<Id, E> {
                Ok(Id(number.to_string().into()))
            }
        }
        from.deserialize_any(Either)
    }
}

/// Null says as much as leaving out: nothing forbids a server to send it for an empty list or a flag.
pub(super) fn null_as_default<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(
    from: D,
) -> Result<T, D::Error> {
    Option::deserialize(from).map(Option::unwrap_or_default)
}

/// A person as Jira lists them; on Data Center the key takes the place of the account id.
#[derive(serde::Deserialize, Debug)]
#[serde(rename_all = "camelCase")]
pub(super) struct Person {
    #[serde(alias = "key")]
    pub account_id: String,
    #[serde(default)]
    pub email_address: Option<String>,
    #[serde(default)]
    pub active: Option<bool>,
}

/// A schema.
#[derive(serde::Deserialize, Clone, Debug)]
#[serde(rename_all = "camelCase")]
pub(super) struct Schema {
    pub id: Id,
    pub name: String,
    pub object_schema_key: String,
}

/// A type in a list of types.
#[derive(serde::Deserialize, Clone, Debug)]
#[serde(rename_all = "camelCase")]
pub(super) struct Listed {
    pub id: Id,
    pub name: String,
    #[serde(default)]
    pub parent_object_type_id: Option<Id>,
    /// Holds no objects itself.
    #[serde(default, deserialize_with = "null_as_default")]
    pub abstract_object_type: bool,
}

/// A status or a kind of reference.
#[derive(serde::Deserialize, Clone, Debug)]
pub(super) struct Named {
    pub id: Id,
    pub name: String,
    /// Of a status: 1 active, 0 inactive, 2 pending.
    #[serde(default)]
    pub category: Option<i64>,
    /// The schema to which it belongs; none is all of them.
    #[serde(default, rename = "objectSchemaId")]
    pub of: Option<Id>,
}

/// What a schema may use of `path`: its own, and those that belong to no schema, which some sites list only where no
/// schema is named.
/// <https://developer.atlassian.com/cloud/assets/rest/api-group-config/>
pub(super) async fn named(client: &Client, path: &str, schema: Option<&Id>) -> Result<Vec<Named>, Failed> {
    let Some(schema) = schema else { return client.list(&Call::get(path)).await };
    let mut all: Vec<Named> = client.list(&Call::get(path).with("objectSchemaId", schema)).await?;
    let common: Vec<Named> = match client.list(&Call::get(path)).await {
        Ok(common) => common,
        // The schema's own are enough for most; what lacks is told where it is wanted.
        Err(Failed::Http(error)) => {
            tracing::debug!("{path} of all schemas is not told: {error}");
            Vec::new()
        }
        Err(failed) => return Err(failed),
    };
    let is_new = |one: &Named| one.of.as_ref().is_none_or(|of| of == schema) && all.iter().all(|own| own.id != one.id);
    let common: Vec<Named> = common.into_iter().filter(is_new).collect();
    all.extend(common);
    Ok(all)
}

/// Fewer attributes than these do not tell one type from another.
const RENAMED_ATTRIBUTES_MIN: usize = 3;
/// Types whose attributes are looked at for one that was renamed, a request each.
const RENAMED_TYPES_MAX: usize = 50;

/// "x" has, or "x" and "y" have.
pub(super) fn has(names: &[&str]) -> String {
    let quoted: Vec<String> = names.iter().map(|name| format!("{name:?}")).collect();
    format!("{} {}", quoted.join(" and "), if names.len() == 1 { "has" } else { "have" })
}

/// A type with its attributes.
#[derive(Debug)]
pub(super) struct Type {
    pub id: Id,
    pub name: String,
    /// In Jira's order, system ones included.
    pub slots: Vec<Slot>,
}

/// An attribute.
#[derive(Clone, Debug)]
pub(super) struct Slot {
    pub id: Id,
    pub name: String,
    pub kind: Kind,
    pub label: bool,
    /// May be written: neither the system's nor locked.
    pub editable: bool,
    /// The fewest values; above 0 it is required.
    pub least: i64,
    /// The most values; none is any number.
    pub most: Option<i64>,
    pub unique: bool,
    /// What a select holds.
    pub options: Vec<String>,
    /// The statuses that may be chosen; none is all of them.
    pub allowed: Vec<Id>,
}

/// What an attribute holds.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    Text,
    Textarea,
    Integer,
    Double,
    Boolean,
    Date,
    Time,
    DateTime,
    Url,
    Email,
    Select,
    Ip,
    Reference {
        to: Id,
        and_children: bool,
    },
    User,
    Group,
    Status,
    /// What this program does not write, as Jira numbers it.
    Other(i64),
}

impl Kind {
    /// Whether AQL surely finds a value by the very text that is written. Times and numbers are kept in Jira's own
    /// spelling, and long texts, references and people are no plain values.
    pub(super) fn is_found_as_written(&self) -> bool {
        matches!(self, Kind::Text | Kind::Integer | Kind::Url | Kind::Email | Kind::Select | Kind::Ip)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Kind::Text => "Text",
            Kind::Textarea => "Textarea",
            Kind::Integer => "Integer",
            Kind::Double => "Double",
            Kind::Boolean => "Boolean",
            Kind::Date => "Date",
            Kind::Time => "Time",
            Kind::DateTime => "DateTime",
            Kind::Url => "URL",
            Kind::Email => "Email",
            Kind::Select => "Select",
            Kind::Ip => "IP Address",
            Kind::Reference { .. } => "Object reference",
            Kind::User => "User",
            Kind::Group => "Group",
            Kind::Status => "Status",
            Kind::Other(number) => return write!(f, "an attribute of type {number}"),
        })
    }
}

/// The numbers of the simple types.
pub(super) const SIMPLE: [(i64, Kind); 12] = [
    (0, Kind::Text),
    (1, Kind::Integer),
    (2, Kind::Boolean),
    (3, Kind::Double),
    (4, Kind::Date),
    (5, Kind::Time),
    (6, Kind::DateTime),
    (7, Kind::Url),
    (8, Kind::Email),
    (9, Kind::Textarea),
    (10, Kind::Select),
    (11, Kind::Ip),
];

#[derive(serde::Deserialize)]
#[serde(rename_all = "camelCase")]
struct SlotJson {
    id: Id,
    name: String,
    #[serde(default, deserialize_with = "null_as_default")]
    label: bool,
    #[serde(rename = "type", default)]
    number: Option<i64>,
    default_type: Option<SimpleJson>,
    reference_object_type_id: Option<Id>,
    editable: Option<bool>,
    system: Option<bool>,
    minimum_cardinality: Option<i64>,
    maximum_cardinality: Option<i64>,
    unique_attribute: Option<bool>,
    include_child_object_types: Option<bool>,
    /// One text with commas between.
    #[serde(default)]
    options: serde_json::Value,
    #[serde(default)]
    type_value_multi: serde_json::Value,
}

#[derive(serde::Deserialize)]
struct SimpleJson {
    #[serde(deserialize_with = "number")]
    id: i64,
}

fn number<'de, D: Deserializer<'de>>(from: D) -> Result<i64, D::Error> {
    let id = Id::deserialize(from)?;
    id.0.parse().map_err(|_| D::Error::custom("no number"))
}

impl From<SlotJson> for Slot {
    fn from(json: SlotJson) -> Slot {
        let simple = json.default_type.map_or(0, |simple| simple.id);
        // Published examples often leave `type` out.
        let number = json.number.unwrap_or(i64::from(json.reference_object_type_id.is_some()));
        let kind = match (number, json.reference_object_type_id) {
            (1, Some(to)) => Kind::Reference { to, and_children: json.include_child_object_types.unwrap_or(false) },
            (0, _) => {
                let known = SIMPLE.into_iter().find(|(known, _)| *known == simple);
                known.map_or(Kind::Other(simple), |(_, kind)| kind)
            }
            (2, _) => Kind::User,
            (4, _) => Kind::Group,
            (7, _) => Kind::Status,
            (other, _) => Kind::Other(other),
        };
        let most = json.maximum_cardinality.unwrap_or(1);
        let options = json.options.as_str().unwrap_or_default().split(',').map(str::trim);
        // Also names the groups whose members a User may be.
        let allowed = json.type_value_multi.as_array().into_iter().flatten();
        let allowed = allowed.filter_map(|id| Id::deserialize(id).ok()).collect();
        Slot {
            id: json.id,
            name: json.name,
            kind,
            label: json.label,
            editable: json.editable.unwrap_or(true) && !json.system.unwrap_or(false),
            least: json.minimum_cardinality.unwrap_or(0),
            most: (most >= 0).then_some(most),
            unique: json.unique_attribute.unwrap_or(false),
            options: options.filter(|option| !option.is_empty()).map(str::to_string).collect(),
            allowed,
        }
    }
}

/// What was learnt of a schema. Attributes of a type are learnt when it is first asked for.
pub(super) struct Model {
    pub schema: Schema,
    pub types: Vec<Listed>,
    pub statuses: Vec<Named>,
    learnt: RwLock<HashMap<String, Arc<Type>>>,
    /// Why types cannot be used that are not there, by their names.
    missing: RwLock<HashMap<String, String>>,
}

impl Model {
    /// Reads schema, types and statuses. An error says why there is no such schema.
    pub async fn read(client: &Client, wanted: &str) -> Result<Model> {
        let all = schemas(client).await?;
        let same = |schema: &&Schema| {
            schema.name.eq_ignore_ascii_case(wanted) || schema.object_schema_key.eq_ignore_ascii_case(wanted)
        };
        let Some(schema) = all.iter().find(same).cloned() else {
            let names: Vec<String> = all.iter().map(|schema| format!("{:?}", schema.name)).collect();
            let seen = match names.as_slice() {
                [] => "the account sees no schema at all".to_string(),
                names => format!("the account sees {}", names.join(", ")),
            };
            return Err(Error::new(Exit::SignIn, format!("there is no object schema {wanted:?}")).cause(seen).hint(
                "run `entra-import setup JOB` to make it, or give the account a role in the schema (Object schema \
                 manager), or correct `schema` in [target]",
            ));
        };
        let failed = |failed| client.error(failed, &format!("cannot read the object schema {wanted:?}"));
        let types =
            client.list(&Call::get(format!("objectschema/{}/objecttypes/flat", schema.id))).await.map_err(failed)?;
        let statuses = named(client, "config/statustype", Some(&schema.id)).await.map_err(failed)?;
        let (learnt, missing) = (RwLock::default(), RwLock::default());
        Ok(Model { schema, types, statuses, learnt, missing })
    }

    /// A type by its name; in words why there is none. `attributes` are names that are wanted of it.
    pub async fn learn(&self, client: &Client, name: &str, attributes: &[&str]) -> Result<Result<Arc<Type>, String>> {
        if let Some(known) = self.known(name) {
            return Ok(Ok(known));
        }
        let Some(listed) = self.listed(name) else {
            return Ok(Err(self.not_there(client, name, attributes).await?));
        };
        let twins = self.types.iter().filter(|ty| ty.name == listed.name).count();
        if twins > 1 {
            return Ok(Err(format!(
                "the schema {:?} has {twins} object types called {name:?}, and nothing tells which is meant: rename the others",
                self.schema.name
            )));
        }
        let read = slots(client, &listed.id).await;
        let slots = read.map_err(|failed| client.error(failed, &format!("cannot read the attributes of {name}")))?;
        let ty = Arc::new(Type { id: listed.id.clone(), name: listed.name.clone(), slots });
        self.learnt.write().unwrap_or_else(PoisonError::into_inner).insert(name.to_string(), ty.clone());
        Ok(Ok(ty))
    }

    /// Why a type that is not there cannot be used. Somebody may have given it another name: its attributes tell, which
    /// is looked at once.
    async fn not_there(&self, client: &Client, name: &str, attributes: &[&str]) -> Result<String> {
        if let Some(told) = self.missing.read().unwrap_or_else(PoisonError::into_inner).get(name) {
            return Ok(told.clone());
        }
        let known: Vec<&str> = self.types.iter().map(|ty| ty.name.as_str()).collect();
        let near = nearest(name, known).map(|near| format!(" (is it {near:?} now?)")).unwrap_or_default();
        let renamed = self.renamed(client, attributes).await?;
        let told = match renamed.as_slice() {
            [] => format!("{near}; `entra-import setup` makes it"),
            renamed => format!(
                ", and {} every attribute that the mapping has: if the type was renamed, give it back its name in Jira",
                has(renamed)
            ),
        };
        let told = format!("the schema {:?} has no object type {name:?}{told}", self.schema.name);
        self.missing.write().unwrap_or_else(PoisonError::into_inner).insert(name.to_string(), told.clone());
        Ok(told)
    }

    /// Types that have attributes of all these names. A few names are no sign of anything.
    pub async fn renamed(&self, client: &Client, attributes: &[&str]) -> Result<Vec<&str>> {
        let mut renamed = Vec::new();
        if attributes.len() < RENAMED_ATTRIBUTES_MIN {
            return Ok(renamed);
        }
        for ty in self.types.iter().filter(|ty| !ty.abstract_object_type).take(RENAMED_TYPES_MAX) {
            let slots = slots(client, &ty.id).await;
            let slots =
                slots.map_err(|failed| client.error(failed, &format!("cannot read the attributes of {}", ty.name)))?;
            let has = |name: &&str| slots.iter().any(|slot| slot.name.eq_ignore_ascii_case(name));
            if attributes.iter().all(has) {
                renamed.push(ty.name.as_str());
            }
        }
        Ok(renamed)
    }

    /// A type that was learnt before.
    pub fn known(&self, name: &str) -> Option<Arc<Type>> {
        self.learnt.read().unwrap_or_else(PoisonError::into_inner).get(name).cloned()
    }

    /// The key of an object as Jira makes it; one that was moved here may have another.
    pub fn usual_key(&self, id: &str) -> String {
        format!("{}-{id}", self.schema.object_schema_key)
    }

    pub fn listed(&self, name: &str) -> Option<&Listed> {
        let exact = self.types.iter().find(|ty| ty.name == name);
        exact.or_else(|| self.types.iter().find(|ty| ty.name.eq_ignore_ascii_case(name)))
    }

    /// Whether objects of a type may be referred to by an attribute for objects of `to`.
    pub fn fits(&self, ty: &Id, to: &Id, and_children: bool) -> bool {
        let mut at = ty;
        // Types form trees; the bound is for a server that says otherwise.
        for _ in 0..=self.types.len() {
            if at == to {
                return true;
            }
            let parent = self
                .types
                .iter()
                .find(|listed| listed.id == *at)
                .and_then(|listed| listed.parent_object_type_id.as_ref());
            match parent {
                Some(parent) if and_children => at = parent,
                _ => return false,
            }
        }
        false
    }

    /// Where each attribute of a type of the plan lies in Jira; in words what does not fit.
    pub fn places(&self, spec: &TypeSpec, ty: &Type) -> Result<Vec<usize>, String> {
        let mut places = Vec::with_capacity(spec.attributes.len());
        for wanted in &spec.attributes {
            let at = ty.place(&wanted.name).ok_or_else(|| {
                let names = ty.slots.iter().map(|slot| slot.name.as_str());
                let near = nearest(&wanted.name, names).map(|near| format!(" (is it {near:?} now?)")).unwrap_or_default();
                format!(
                    "the object type {:?} has no attribute {:?}{near}; it was renamed or deleted in Jira, or `entra-import \
                     setup` has not made it",
                    ty.name, wanted.name
                )
            })?;
            self.check(wanted, &ty.slots[at])
                .map_err(|why| format!("the attribute {:?} of {:?} {why}", wanted.name, ty.name))?;
            places.push(at);
        }
        Ok(places)
    }

    /// Whether Jira's attribute can hold what the mapping has for it.
    pub fn check(&self, wanted: &AttributeSpec, slot: &Slot) -> Result<(), String> {
        if wanted.only_read {
            return Ok(());
        }
        if !slot.editable {
            return Err("cannot be written: it is the system's".into());
        }
        if let Kind::Other(_) = slot.kind {
            return Err(format!("is {} in Jira, which this program does not write", slot.kind));
        }
        if wanted.many && slot.most == Some(1) {
            return Err("holds one value in Jira (cardinality 1), and the mapping has several for it".into());
        }
        match (&wanted.reference, &slot.kind) {
            (None, Kind::Reference { .. }) if wanted.find.is_none() => {
                Err("is an object reference in Jira: give the attribute a `ref` or a `find` in the mapping".into())
            }
            (Some(to), Kind::Reference { to: id, and_children }) => match self.listed(to) {
                Some(listed) if self.fits(&listed.id, id, *and_children) => Ok(()),
                _ => Err(format!("refers to objects of another type than {to:?} in Jira")),
            },
            (Some(_), other) => Err(format!("is {other} in Jira, and the mapping has a reference for it")),
            (None, _) => wanted.holds.as_ref().map_or(Ok(()), |holds| self.takes(holds, slot)),
        }
    }

    /// Whether values of a kind may stand in Jira's attribute. What a text says only Jira can judge, so that a text may
    /// stand wherever some texts may.
    fn takes(&self, holds: &Holds, slot: &Slot) -> Result<(), String> {
        use SlotKind as Of;
        let of = |kinds: &[SlotKind]| kinds.contains(&holds.kind);
        let fits = match &slot.kind {
            Kind::Text | Kind::Textarea | Kind::Reference { .. } | Kind::Other(_) => true,
            Kind::Select => !of(&[Of::User]),
            Kind::Status => of(&[Of::Text, Of::Select, Of::Status]),
            Kind::Group => of(&[Of::Text]),
            Kind::User => of(&[Of::Text, Of::Email, Of::User]),
            Kind::Url => of(&[Of::Text, Of::Textarea, Of::Url]),
            Kind::Email => of(&[Of::Text, Of::Textarea, Of::Email, Of::User]),
            Kind::Ip => of(&[Of::Text, Of::Ip]),
            Kind::Integer | Kind::Double => of(&[Of::Integer, Of::Double]),
            Kind::Boolean => of(&[Of::Boolean]),
            Kind::Date | Kind::DateTime => of(&[Of::Date, Of::DateTime]),
            Kind::Time => of(&[Of::Time]),
        };
        if !fits {
            let word = holds.kind.word();
            return Err(format!(
                "is {} in Jira, and the mapping has {word} for it: change it back in Jira, or write what it is as `type` \
                 in the mapping",
                slot.kind
            ));
        }
        let known: Vec<&str> = match slot.kind {
            Kind::Select => slot.options.iter().map(String::as_str).collect(),
            // An id that leads to no name says nothing of what is allowed.
            Kind::Status => {
                let name = |id: &Id| self.statuses.iter().find(|status| status.id == *id).map(|one| one.name.as_str());
                slot.allowed.iter().map(name).collect::<Option<_>>().unwrap_or_default()
            }
            _ => Vec::new(),
        };
        let same = |option: &str, known: &str| match slot.kind {
            Kind::Status => option.eq_ignore_ascii_case(known),
            _ => option.trim() == known,
        };
        let lacks = |option: &&String| !known.iter().any(|known| same(option, known));
        let missing: Vec<String> = holds.options.iter().filter(lacks).map(|option| format!("{option:?}")).collect();
        if known.is_empty() || missing.is_empty() {
            return Ok(());
        }
        Err(format!(
            "is a {} of {} in Jira, without {}: add it there, or take it out of the mapping",
            slot.kind,
            known.join(", "),
            missing.join(", ")
        ))
    }
}

impl Type {
    /// An attribute by its name; letter case counts only where it must.
    pub fn place(&self, name: &str) -> Option<usize> {
        let exact = self.slots.iter().position(|slot| slot.name == name);
        exact.or_else(|| self.slots.iter().position(|slot| slot.name.eq_ignore_ascii_case(name)))
    }

    /// The attribute that names objects for people.
    pub fn label(&self) -> Option<&Slot> {
        self.slots.iter().find(|slot| slot.label)
    }

    pub fn slot_by_id(&self, id: &str) -> Option<&Slot> {
        self.slots.iter().find(|slot| *slot.id.0 == *id)
    }
}

/// All attributes of a type.
pub(super) async fn slots(client: &Client, ty: &Id) -> Result<Vec<Slot>, Failed> {
    let slots: Vec<SlotJson> = client.list(&Call::get(format!("objecttype/{ty}/attributes"))).await?;
    Ok(slots.into_iter().map(Slot::from).collect())
}

/// All schemas that the account sees, page by page until one brings nothing new.
pub(super) async fn schemas(client: &Client) -> Result<Vec<Schema>> {
    let mut all: Vec<Schema> = Vec::new();
    loop {
        let call = Call::get("objectschema/list").with("startAt", all.len()).with("maxResults", 25);
        let page: Vec<Schema> =
            client.list(&call).await.map_err(|failed| client.error(failed, "cannot list the object schemas"))?;
        let before = all.len();
        // Data Center sends all at once, whatever is asked for.
        all.extend(
            page.into_iter().filter(|schema| !all.iter().any(|known| known.id == schema.id)).collect::<Vec<_>>(),
        );
        if all.len() == before {
            return Ok(all);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slot(json: &str) -> Slot {
        serde_json::from_str::<SlotJson>(json).unwrap().into()
    }

    #[test]
    fn a_type_that_is_left_out_is_guessed_from_what_is_there() {
        for (json, kind) in [
            (r#"{"id":"1","name":"A","defaultType":{"id":0,"name":"Text"}}"#, Kind::Text),
            (r#"{"id":1,"name":"A","type":0,"defaultType":{"id":"9"}}"#, Kind::Textarea),
            (
                r#"{"id":"1","name":"A","referenceObjectTypeId":"7"}"#,
                Kind::Reference { to: Id("7".into()), and_children: false },
            ),
            (r#"{"id":"1","name":"A","type":7}"#, Kind::Status),
            (r#"{"id":"1","name":"A","type":3}"#, Kind::Other(3)),
        ] {
            assert_eq!(slot(json).kind, kind, "{json}");
        }
    }

    #[test]
    fn what_is_the_systems_is_not_written_and_minus_one_is_any_number() {
        let key = slot(r#"{"id":"1","name":"Key","type":0,"defaultType":{"id":0},"system":true,"editable":true}"#);
        assert!(!key.editable);
        let many = slot(r#"{"id":"1","name":"A","type":2,"maximumCardinality":-1,"minimumCardinality":1}"#);
        assert_eq!((many.most, many.editable), (None, true));
        assert_eq!(slot(r#"{"id":"1","name":"A","type":2}"#).most, Some(1));
    }
}
