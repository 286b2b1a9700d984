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
use crate::plan::change::{AttributeSpec, TypeSpec};

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
        let statuses = Call::get("config/statustype").with("objectSchemaId", &schema.id);
        let statuses = client.list(&statuses).await.map_err(failed)?;
        Ok(Model { schema, types, statuses, learnt: RwLock::default() })
    }

    /// A type by its name; in words why there is none.
    pub async fn learn(&self, client: &Client, name: &str) -> Result<Result<Arc<Type>, String>> {
        if let Some(known) = self.known(name) {
            return Ok(Ok(known));
        }
        let Some(listed) = self.listed(name) else {
            let known: Vec<&str> = self.types.iter().map(|ty| ty.name.as_str()).collect();
            let near = nearest(name, known).map(|near| format!(" (is it {near:?} now?)")).unwrap_or_default();
            return Ok(Err(format!(
                "the schema {:?} has no object type {name:?}{near}; `entra-import setup` makes it",
                self.schema.name
            )));
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

    /// A type that was learnt before.
    pub fn known(&self, name: &str) -> Option<Arc<Type>> {
        self.learnt.read().unwrap_or_else(PoisonError::into_inner).get(name).cloned()
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
            (None, _) => Ok(()),
        }
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
