//! Things as JSON: the published shapes of both products.
//!
//! Hides that ids are texts on Cloud and numbers on Data Center, and the addresses of icons and avatars.
//! <https://developer.atlassian.com/cloud/assets/rest/>, <https://docs.atlassian.com/assets/REST/10.8.0/>

use serde_json::{Value, json};

use crate::check::iso;
use crate::options::Flavour;
use crate::store::{
    Attribute, DefaultType, ICONS, Id, Kind, Object, ObjectType, ReferenceType, Schema, StatusType, Store, Stored,
};

/// What shapes depend on.
pub(crate) struct Shaper<'s> {
    pub store: &'s Store,
    pub flavour: Flavour,
    pub workspace: &'s str,
    /// Before the paths of links.
    pub base: String,
}

impl Shaper<'_> {
    /// An id on its own.
    pub fn id(&self, id: Id) -> Value {
        match self.flavour {
            Flavour::Cloud => json!(id.to_string()),
            Flavour::DataCenter => json!(id),
        }
    }

    /// The first members of everything: on Cloud what it is called across workspaces, too.
    fn begin(&self, id: Id) -> Value {
        match self.flavour {
            Flavour::Cloud => {
                let workspace = self.workspace;
                json!({"workspaceId": workspace, "globalId": format!("{workspace}:{id}"), "id": id.to_string()})
            }
            Flavour::DataCenter => json!({"id": id}),
        }
    }

    fn with(&self, id: Id, rest: Value) -> Value {
        let mut all = self.begin(id);
        if let (Value::Object(all), Value::Object(rest)) = (&mut all, rest) {
            all.extend(rest);
        }
        all
    }

    pub fn icon(&self, id: Id) -> Value {
        let name = ICONS.iter().find(|icon| icon.0 == id).map_or("Generic", |icon| icon.1);
        let url = |size: u32| format!("{}/icon/{id}/icon.png?size={size}", self.base);
        json!({"id": self.id(id), "name": name, "url16": url(16), "url48": url(48)})
    }

    pub fn schema(&self, schema: &Schema, counts: bool) -> Value {
        let types: Vec<Id> = self.store.types.values().filter(|ty| ty.schema == schema.id).map(|ty| ty.id).collect();
        let objects = || self.store.objects.values().filter(|object| types.contains(&object.ty)).count();
        self.with(
            schema.id,
            json!({
                "name": schema.name, "objectSchemaKey": schema.key, "status": "Ok", "description": schema.description,
                "created": iso(schema.created), "updated": iso(schema.created),
                "objectCount": if counts { objects() } else { 0 },
                "objectTypeCount": if counts { types.len() } else { 0 },
                "canManage": true,
            }),
        )
    }

    pub fn object_type(&self, ty: &ObjectType, counts: bool) -> Value {
        let objects = || self.store.objects.values().filter(|object| object.ty == ty.id).count();
        let inherits =
            ty.parent.and_then(|parent| self.store.types.get(&parent)).is_some_and(|parent| parent.inherited);
        let mut shape = self.with(
            ty.id,
            json!({
                "name": ty.name, "description": ty.description, "icon": self.icon(ty.icon), "position": ty.position,
                "created": iso(ty.created), "updated": iso(ty.created),
                "objectCount": if counts { objects() } else { 0 },
                "objectSchemaId": self.id(ty.schema), "inherited": ty.inherited,
                "abstractObjectType": ty.is_abstract, "parentObjectTypeInherited": inherits,
            }),
        );
        if let Some(parent) = ty.parent {
            shape["parentObjectTypeId"] = self.id(parent);
        }
        shape
    }

    /// An attribute; `of` is the type that is asked about.
    pub fn attribute(&self, attribute: &Attribute, with_type: bool) -> Value {
        let mut shape = self.with(
            attribute.id,
            json!({
                "name": attribute.name, "label": attribute.label, "description": attribute.description,
                "type": type_number(&attribute.kind),
            }),
        );
        match &attribute.kind {
            Kind::Default(kind) => shape["defaultType"] = default_type(*kind),
            Kind::Reference { to, by } => {
                shape["referenceType"] =
                    self.store.reference_types.get(by).map_or(Value::Null, |by| self.reference_type(by));
                shape["referenceObjectTypeId"] = self.id(*to);
                shape["referenceObjectType"] =
                    self.store.types.get(to).map_or(Value::Null, |ty| self.object_type(ty, false));
            }
            Kind::Status(allowed) => {
                shape["typeValueMulti"] = allowed.iter().map(|id| json!(id.to_string())).collect();
            }
            Kind::User | Kind::Group | Kind::Project => {}
        }
        if with_type && let Some(ty) = self.store.types.get(&attribute.owner) {
            shape["objectType"] = self.object_type(ty, false);
        }
        let rest = json!({
            "editable": attribute.editable, "system": attribute.system, "sortable": true, "summable": false,
            "indexed": true, "minimumCardinality": attribute.min, "maximumCardinality": attribute.max,
            "suffix": attribute.suffix, "removable": !attribute.system && !attribute.label,
            "objectAttributeExists": false, "hidden": attribute.hidden,
            "includeChildObjectTypes": attribute.include_children, "uniqueAttribute": attribute.unique,
            "regexValidation": attribute.regex, "qlQuery": attribute.ql, "options": attribute.options.join(","),
            "position": attribute.position,
        });
        if let (Value::Object(shape), Value::Object(rest)) = (&mut shape, rest) {
            shape.extend(rest);
        }
        if let Some(additional) = &attribute.additional {
            shape["additionalValue"] = json!(additional);
        }
        shape
    }

    pub fn status(&self, status: &StatusType) -> Value {
        let mut shape = json!({
            "id": self.id(status.id), "name": status.name, "description": status.description, "category": status.category,
        });
        if let Some(schema) = status.schema {
            shape["objectSchemaId"] = self.id(schema);
        }
        shape
    }

    pub fn reference_type(&self, by: &ReferenceType) -> Value {
        let mut shape = self.with(
            by.id,
            json!({
                "name": by.name, "description": by.description, "color": by.color,
                "url16": format!("{}/config/referencetype/{}/image.png?size=16", self.base, by.id),
                "removable": by.schema.is_some(),
            }),
        );
        if let Some(schema) = by.schema {
            shape["objectSchemaId"] = self.id(schema);
        }
        shape
    }

    /// An object, with its attributes or without; `described`: each attribute carries its own description.
    pub fn object(&self, object: &Object, attributes: bool, described: bool) -> Value {
        let (label, key) = (self.store.label_of(object), self.store.key_of(object));
        let url = |size: u32| format!("{}/object/{}/avatar.png?size={size}", self.base, object.id);
        let mut avatar = self.begin(object.id);
        for size in [16, 48, 72, 144, 288] {
            avatar[format!("url{size}")] = json!(url(size));
        }
        avatar["objectId"] = self.id(object.id);
        let mut shape = self.with(object.id, json!({"label": label, "objectKey": key, "avatar": avatar}));
        shape["objectType"] = self.store.types.get(&object.ty).map_or(Value::Null, |ty| self.object_type(ty, false));
        shape["created"] = json!(iso(object.created));
        shape["updated"] = json!(iso(object.updated));
        shape["hasAvatar"] = json!(false);
        shape["timestamp"] = json!(object.updated.as_millisecond());
        if attributes {
            shape["attributes"] = self.object_attributes(object, described).into();
        }
        let page = format!("{}/jira/servicedesk/assets/object/{}", self.base, object.id);
        shape["_links"] = json!({"self": page});
        shape["name"] = json!(label);
        shape
    }

    /// What an object holds, empty attributes left out.
    pub fn object_attributes(&self, object: &Object, described: bool) -> Vec<Value> {
        let mut shapes = Vec::new();
        for attribute in self.store.attributes_of(object.ty) {
            let values: Vec<Value> = match (attribute.system, attribute.name.as_str()) {
                (true, "Key") => vec![text_value(&self.store.key_of(object), None)],
                (true, "Created") => vec![text_value(&iso(object.created), Some(in_words(object.created)))],
                (true, "Updated") => vec![text_value(&iso(object.updated), Some(in_words(object.updated)))],
                _ => {
                    let held = object.values.get(&attribute.id);
                    held.into_iter().flatten().map(|value| self.value(attribute, value)).collect()
                }
            };
            if values.is_empty() {
                continue;
            }
            // The value's own number: one for each pair of object and attribute.
            let number = object.id * 1000 + attribute.id % 1000;
            let mut shape = self.with(number, json!({"objectTypeAttributeId": self.id(attribute.id)}));
            if described {
                shape["objectTypeAttribute"] = self.attribute(attribute, false);
            }
            shape["objectAttributeValues"] = values.into();
            if self.flavour == Flavour::DataCenter {
                shape["objectId"] = json!(object.id);
            }
            shapes.push(shape);
        }
        shapes
    }

    fn value(&self, attribute: &Attribute, value: &Stored) -> Value {
        match value {
            Stored::Text(text) => {
                let moment = matches!(attribute.kind, Kind::Default(DefaultType::DateTime));
                let date = matches!(attribute.kind, Kind::Default(DefaultType::Date));
                let words = match () {
                    () if moment => text.parse().ok().map(in_words),
                    () if date => {
                        text.parse().ok().map(|date: jiff::civil::Date| date.strftime("%d/%b/%y").to_string())
                    }
                    () => None,
                };
                text_value(text, words)
            }
            Stored::Object(id) => match self.store.objects.get(id) {
                Some(object) => json!({
                    "referencedType": true, "referencedObject": self.object(object, false, false),
                    "displayValue": self.store.label_of(object), "searchValue": self.store.key_of(object),
                }),
                None => json!({"referencedType": true, "displayValue": "", "searchValue": ""}),
            },
            // Statuses and groups have no `value`: the name is elsewhere.
            Stored::Status(id) => {
                let status = self.store.statuses.get(id);
                let name = status.map(|status| status.name.as_str()).unwrap_or_default();
                json!({
                    "status": status.map(|status| self.status(status)), "displayValue": name, "searchValue": id.to_string(),
                    "referencedType": false,
                })
            }
            Stored::Group(name) => json!({
                "group": {"avatarUrl": format!("{}/group.png", self.base), "name": name}, "displayValue": name,
                "searchValue": name, "referencedType": false,
            }),
            Stored::Project(key) => {
                json!({"value": key, "displayValue": key, "searchValue": key, "referencedType": false})
            }
            Stored::User(account) => self.person(account),
        }
    }

    fn person(&self, account: &str) -> Value {
        let person = self.store.people.iter().find(|person| person.account == account);
        let name = person.map_or(account, |person| person.name.as_str());
        let mut user = json!({
            "avatarUrl": format!("{}/avatar/{account}.png", self.base), "displayName": name, "name": name, "key": account,
            "isDeleted": person.is_none(),
        });
        if let Some(email) = person.and_then(|person| person.email.as_deref()) {
            user["emailAddress"] = json!(email);
        }
        json!({"value": account, "user": user, "displayValue": name, "searchValue": account, "referencedType": false})
    }
}

fn text_value(text: &str, words: Option<String>) -> Value {
    let shown = words.unwrap_or_else(|| text.to_owned());
    json!({"value": text, "displayValue": shown, "searchValue": text, "referencedType": false})
}

/// As the user's settings show a moment.
fn in_words(at: jiff::Timestamp) -> String {
    at.strftime("%d/%b/%y %-I:%M %p").to_string()
}

/// The number that stands for what an attribute holds.
pub(crate) fn type_number(kind: &Kind) -> u8 {
    match kind {
        Kind::Default(_) => 0,
        Kind::Reference { .. } => 1,
        Kind::User => 2,
        Kind::Group => 4,
        Kind::Project => 6,
        Kind::Status(_) => 7,
    }
}

fn default_type(kind: DefaultType) -> Value {
    json!({"id": kind as u8, "name": kind.name()})
}
