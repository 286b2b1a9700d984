//! Fills records from JSON: from Graph's answers straight into slots, and from what a mapping's test writes inline.
//!
//! Hides the JSON forms of the types. A value of an unexpected JSON type is kept as what it is, because one odd value
//! must not lose a record. Deliberately fills neither computed properties nor navigations from Graph's JSON: those are
//! worked out on the snapshot.

use std::fmt;
use std::sync::Arc;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::catalog::{Catalog, Field, Shape};
use super::{literal, nearest};
use crate::record::{Collection, Guid, Key, List, Record, Value};
use crate::schema::{self, Kind, Source, Type};

/// The text is not the JSON of one object.
#[derive(Debug)]
pub struct DecodeError(serde_json::Error);

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "not a JSON object: {}", self.0)
    }
}

impl std::error::Error for DecodeError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.0)
    }
}

/// What was written inline is not a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InlineError {
    /// Where: names from the outermost record inwards.
    pub path: Vec<String>,
    pub message: String,
    /// What to write instead.
    pub help: Option<String>,
}

impl fmt::Display for InlineError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.path.is_empty() {
            write!(f, "{}: ", self.path.join("/"))?;
        }
        f.write_str(&self.message)?;
        match &self.help {
            Some(help) => write!(f, " ({help})"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for InlineError {}

impl Shape {
    /// Reads a record from the JSON of one object. `absent` holds per slot what a property missing from the JSON
    /// means: null, or unknown with a reason; beyond its end, null. Where it is unknown, a null in the JSON is unknown
    /// too, as Graph writes null for what may not be seen. Slots of navigations and computed properties stay what
    /// `absent` says, `None` beyond its end. Names without a slot are skipped; of a name given twice the last counts.
    pub fn decode(&self, key: Key, json: &str, absent: &[Option<Value>]) -> Result<Record, DecodeError> {
        self.fill(key, json, self.blank(absent), false)
    }

    /// [`Shape::decode`] for a record that a navigation leads to: only what is asked of such records. Other slots are
    /// `None`, or not there behind the last that is asked for.
    pub fn decode_followed(&self, key: Key, json: &str, absent: &[Option<Value>]) -> Result<Record, DecodeError> {
        let count = self.fields.iter().rposition(|field| field.followed).map_or(0, |last| last + 1);
        let mut slots = self.blank(absent).into_vec();
        slots.truncate(count);
        for (slot, field) in slots.iter_mut().zip(&self.fields) {
            *slot = slot.take().filter(|_| field.followed);
        }
        self.fill(key, json, slots.into_boxed_slice(), true)
    }

    fn fill(
        &self,
        key: Key,
        json: &str,
        mut slots: Box<[Option<Value>]>,
        followed: bool,
    ) -> Result<Record, DecodeError> {
        let mut from = serde_json::Deserializer::from_str(json);
        from.deserialize_map(RecordVisitor { shape: self, slots: &mut slots, followed }).map_err(DecodeError)?;
        from.end().map_err(DecodeError)?;
        Ok(Record { collection: self.collection, key, slots })
    }

    fn blank(&self, absent: &[Option<Value>]) -> Box<[Option<Value>]> {
        let missing = |(slot, field): (usize, &Field)| match absent.get(slot) {
            Some(value) => value.clone(),
            None if field.source == Source::Graph => Some(Value::Null),
            None => None,
        };
        self.fields.iter().enumerate().map(missing).collect()
    }
}

/// Reads an object's properties into slots.
struct RecordVisitor<'s> {
    shape: &'s Shape,
    slots: &'s mut [Option<Value>],
    /// Reads nothing that only walked records are asked for.
    followed: bool,
}

impl<'de> Visitor<'de> for RecordVisitor<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        // Graph writes the properties of every record in the same order, so the next one is likely the next found.
        let mut likely = 0;
        while let Some(slot) =
            map.next_key_seed(SlotSeed { fields: &self.shape.fields, likely, followed: self.followed })?
        {
            let Some(slot) = slot else {
                map.next_value::<IgnoredAny>()?;
                continue;
            };
            likely = slot + 1;
            let field = &self.shape.fields[slot];
            let value = map.next_value_seed(ValueSeed { ty: field.ty, parts: &field.parts })?;
            if !(value.is_null() && matches!(self.slots[slot], Some(Value::Unknown(_)))) {
                self.slots[slot] = Some(value);
            }
        }
        Ok(())
    }
}

/// Reads a name and finds its slot, if it has one that Graph fills.
struct SlotSeed<'s> {
    fields: &'s [Field],
    likely: usize,
    followed: bool,
}

impl<'de> DeserializeSeed<'de> for SlotSeed<'_> {
    type Value = Option<usize>;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Option<usize>, D::Error> {
        from.deserialize_identifier(self)
    }
}

impl Visitor<'_> for SlotSeed<'_> {
    type Value = Option<usize>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }

    fn visit_str<E: serde::de::Error>(self, name: &str) -> Result<Option<usize>, E> {
        let likely = self.fields.get(self.likely).filter(|field| *field.name == *name).map(|_| self.likely);
        let slot = likely.or_else(|| self.fields.iter().position(|field| *field.name == *name));
        let wanted = |slot: &usize| {
            let field = &self.fields[*slot];
            field.source == Source::Graph && (field.followed || !self.followed)
        };
        Ok(slot.filter(wanted))
    }
}

/// Reads a value of an expected type, or whatever else is there.
#[derive(Clone, Copy)]
struct ValueSeed<'s> {
    ty: Type,
    /// The names inside a complex value, in the order of its type's table.
    parts: &'s [Arc<str>],
}

const UNTYPED: ValueSeed<'static> = ValueSeed { ty: Type::ANY, parts: &[] };

impl<'de> DeserializeSeed<'de> for ValueSeed<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Value, D::Error> {
        from.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for ValueSeed<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(if self.ty.kind == Kind::Double { Value::Double(value as f64) } else { Value::Int(value) })
    }

    fn visit_u64<E: serde::de::Error>(self, value: u64) -> Result<Value, E> {
        match i64::try_from(value) {
            Ok(value) => self.visit_i64(value),
            Err(_) => self.visit_f64(value as f64),
        }
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Value::Double(value))
    }

    fn visit_str<E>(self, text: &str) -> Result<Value, E> {
        let typed = match self.ty.kind {
            Kind::Guid => text.parse::<Guid>().ok().map(Value::Guid),
            Kind::DateTime => literal::moment(text).map(Value::DateTime),
            Kind::Date => literal::date(text).map(Value::Date),
            Kind::Time => literal::time(text).map(Value::Time),
            Kind::Duration => literal::duration(text).map(Value::Duration),
            _ => None,
        };
        Ok(typed.unwrap_or_else(|| Value::text(text)))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = seq.next_element_seed(self)? {
            // A path's list holds no nulls either.
            if !item.is_null() {
                items.push(item);
            }
        }
        Ok(Value::List(List::known(items)))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let table = match self.ty.kind {
            Kind::Complex(table) => table,
            _ => &[],
        };
        let mut parts: Vec<(Arc<str>, Value)> = Vec::with_capacity(table.len());
        while let Some(part) = map.next_key_seed(PartSeed { table })? {
            let (name, seed) = match part {
                Part::Annotation => {
                    map.next_value::<IgnoredAny>()?;
                    continue;
                }
                Part::Known(index) => {
                    let (name, ty) = table[index];
                    let shared = self.parts.get(index).cloned();
                    (shared.unwrap_or_else(|| Arc::from(name)), ValueSeed { ty, parts: &[] })
                }
                Part::Other(name) => (name, UNTYPED),
            };
            parts.push((name, map.next_value_seed(seed)?));
        }
        Ok(Value::Object(parts.into()))
    }
}

/// Reads a name inside an object.
struct PartSeed {
    table: &'static [(&'static str, Type)],
}

enum Part {
    /// The index in the table of a complex type.
    Known(usize),
    Other(Arc<str>),
    /// `@odata.type` and the like.
    Annotation,
}

impl<'de> DeserializeSeed<'de> for PartSeed {
    type Value = Part;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Part, D::Error> {
        from.deserialize_identifier(self)
    }
}

impl Visitor<'_> for PartSeed {
    type Value = Part;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }

    fn visit_str<E: serde::de::Error>(self, name: &str) -> Result<Part, E> {
        Ok(match self.table.iter().position(|(known, _)| *known == name) {
            Some(index) => Part::Known(index),
            None if name.contains('@') => Part::Annotation,
            None => Part::Other(Arc::from(name)),
        })
    }
}

impl Catalog {
    /// Builds a record of `collection` from an object as a mapping's test writes it: Graph's names, navigations filled
    /// in place (`{"displayName": "…", "manager": {"displayName": "…"}, "licenses": [{"productName": "…"}]}`),
    /// computed properties given like others. What is not given is null or empty; what no expression uses is checked
    /// for its name and left out. Where a navigation may lead to several collections, `@odata.type` chooses, and
    /// without it the first. The key is the `id`, else empty.
    pub fn inline(&self, collection: Collection, given: &serde_json::Value) -> Result<Record, InlineError> {
        let serde_json::Value::Object(given) = given else {
            return Err(wrong("a record is written as a table of its properties"));
        };
        let shape = self.shape(collection);
        let blank = |field: &Field| match field.source {
            Source::Navigation(via) if via.is_many() => Some(Value::List(List::known([]))),
            _ => Some(Value::Null),
        };
        let mut slots: Box<[Option<Value>]> = shape.fields.iter().map(blank).collect();
        for (name, value) in given.iter().filter(|(name, _)| !name.starts_with('@')) {
            let Some(property) = self.property(collection, name) else {
                let help = nearest(name, schema::names(collection)).map(|name| format!("did you mean `{name}`?"));
                let message = format!("{collection} have no property `{name}`");
                return Err(InlineError { path: Vec::new(), message, help });
            };
            let value = self.inline_value(property.ty, value).map_err(|mut error| {
                error.path.insert(0, name.clone());
                error
            })?;
            if let Some(slot) = shape.slot(name) {
                slots[slot] = Some(value);
            }
        }
        let key = given.get("id").and_then(|id| id.as_str()).unwrap_or_default();
        Ok(Record { collection, key: Key::parse(key), slots })
    }

    fn inline_value(&self, ty: Type, given: &serde_json::Value) -> Result<Value, InlineError> {
        let Kind::Record(targets) = ty.kind else {
            let seed = ValueSeed { ty, parts: &[] };
            return seed.deserialize(given).map_err(|error| wrong(&error.to_string()));
        };
        let record = |given: &serde_json::Value| {
            let record = self.inline(target(targets, given)?, given)?;
            Ok(Value::Record(Arc::new(record)))
        };
        match given {
            serde_json::Value::Null if ty.many => Ok(Value::List(List::known([]))),
            serde_json::Value::Null => Ok(Value::Null),
            serde_json::Value::Array(items) if ty.many => {
                let records: Result<Vec<Value>, InlineError> = items.iter().map(record).collect();
                Ok(Value::List(List::known(records?)))
            }
            _ if ty.many => Err(wrong("several records are written as a list: [{…}, {…}]")),
            given => record(given),
        }
    }
}

/// Which of the collections an inline record is of.
fn target(targets: &[Collection], given: &serde_json::Value) -> Result<Collection, InlineError> {
    let said = match given.get("@odata.type").and_then(|said| said.as_str()) {
        Some("#microsoft.graph.user") => Some(Collection::Users),
        Some("#microsoft.graph.group") => Some(Collection::Groups),
        Some("#microsoft.graph.device") => Some(Collection::Devices),
        Some(other) => return Err(wrong(&format!("{other} is not a type that can stand here"))),
        None => None,
    };
    match said {
        Some(said) if targets.contains(&said) => Ok(said),
        Some(said) => Err(wrong(&format!("a record of {said} cannot stand here"))),
        None => targets.first().copied().ok_or_else(|| wrong("no record can stand here")),
    }
}

fn wrong(message: &str) -> InlineError {
    InlineError { path: Vec::new(), message: message.to_owned(), help: None }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::record::Unknown;

    fn catalog(names: &[&str]) -> Catalog {
        let mut catalog = Catalog::new();
        for name in names {
            catalog.require(Collection::Users, name).unwrap_or_else(|| panic!("{name}"));
        }
        catalog
    }

    fn decode(names: &[&str], json: &str, absent: &[Option<Value>]) -> Result<Vec<Option<Value>>, DecodeError> {
        let record = catalog(names).shape(Collection::Users).decode(Key::parse("k"), json, absent)?;
        Ok(record.slots.into_vec())
    }

    fn check(name: &str, json: &str, expected: &str) {
        let slots = decode(&[name], &format!(r#"{{"{name}":{json}}}"#), &[]).expect("JSON");
        assert_eq!(format!("{:?}", slots[0]), format!("Some({expected})"), "{name} {json}");
    }

    #[test]
    fn values_are_read_as_their_types_and_odd_ones_as_what_they_are() {
        check("displayName", r#""A \u00e9""#, r#"Text("A é")"#);
        check("displayName", "7", "Int(7)");
        check("displayName", "null", "Null");
        check("accountEnabled", "true", "Bool(true)");
        check("accountEnabled", r#""yes""#, r#"Text("yes")"#);
        check("deviceEnrollmentLimit", "5", "Int(5)");
        check("deviceEnrollmentLimit", "-5", "Int(-5)");
        check("deviceEnrollmentLimit", "5.5", "Double(5.5)");
        check("deviceEnrollmentLimit", "18446744073709551615", "Double(1.8446744073709552e19)");
        check(
            "createdDateTime",
            r#""2024-01-01T00:00:00Z""#,
            "DateTime(Moment { at: 2024-01-01T00:00:00Z, offset: 0 })",
        );
        check("createdDateTime", r#""soon""#, r#"Text("soon")"#);
        check(
            "businessPhones",
            r#"["1", null, "2"]"#,
            &format!("{:?}", Value::List(List::known([Value::text("1"), Value::text("2")]))),
        );
        check("employeeOrgData", r#"{"@odata.type":"x","costCenter":"4711","more":[1]}"#, &{
            let more = Value::List(List::known([Value::Int(1)]));
            let parts = [(Arc::from("costCenter"), Value::text("4711")), (Arc::from("more"), more)];
            format!("{:?}", Value::Object(Arc::new(parts)))
        });
        let sku = "06ebc4ee-1bb5-47dd-8120-11324bc54e06";
        check("assignedLicenses", &format!(r#"[{{"skuId":"{sku}","disabledPlans":["{sku}"]}}]"#), &{
            let id = Value::Guid(sku.parse().unwrap());
            let plans = Value::List(List::known([id.clone()]));
            let parts = [(Arc::from("skuId"), id), (Arc::from("disabledPlans"), plans)];
            format!("{:?}", Value::List(List::known([Value::Object(Arc::new(parts))])))
        });
        check(
            "extab12cd34_x",
            r#"{"a":1}"#,
            &format!("{:?}", Value::Object(Arc::new([(Arc::from("a"), Value::Int(1))]))),
        );
    }

    #[test]
    fn what_is_missing_is_what_the_template_says() {
        let hidden = || Some(Value::Unknown(Unknown::new("hidden")));
        let names = ["mail", "city", "state", "manager", "country"];
        let absent = [hidden(), hidden(), Some(Value::text("x"))];
        let json = r#"{"@odata.id":"x","unused":{"deep":[1]},"mail":"a","city":null,"mail":"b","manager":{"id":"m"}}"#;
        let slots = decode(&names, json, &absent).expect("JSON");
        assert_eq!(slots, [Some(Value::text("b")), hidden(), Some(Value::text("x")), None, Some(Value::Null)]);
        let filled = [hidden(), hidden(), hidden(), hidden(), hidden()];
        assert_eq!(decode(&names, r#"{"country":"DE"}"#, &filled).expect("JSON")[4], Some(Value::text("DE")));
    }

    #[test]
    fn only_one_object_is_a_record() {
        for json in ["", "[]", "null", "{", r#"{"mail":}"#, "{} {}", "7"] {
            let error = decode(&["mail"], json, &[]).expect_err(json);
            assert!(error.to_string().starts_with("not a JSON object: "), "{error}");
        }
        assert!(decode(&["mail"], " {} ", &[]).is_ok());
    }

    #[test]
    fn inline_records_are_refused_with_the_place_of_the_slip() {
        let refused = |collection, given: serde_json::Value| {
            catalog(&["mail"]).inline(collection, &given).expect_err("a slip").to_string()
        };
        use serde_json::json;
        let users = |given| refused(Collection::Users, given);
        assert_eq!(users(json!({ "maill": 1 })), "users have no property `maill` (did you mean `mail`?)");
        assert_eq!(users(json!({ "manager": { "x": 1 } })), "manager: users have no property `x`");
        assert_eq!(
            users(json!({ "memberOf": { "id": "g" } })),
            "memberOf: several records are written as a list: [{…}, {…}]"
        );
        assert_eq!(users(json!({ "manager": "Megan" })), "manager: a record is written as a table of its properties");
        let typed = |name: &str| json!({ "members": [{ "@odata.type": name }] });
        assert_eq!(refused(Collection::Groups, typed("#x")), "members: #x is not a type that can stand here");
        let wrong = json!({ "member": { "@odata.type": "#microsoft.graph.group" } });
        assert_eq!(refused(Collection::Memberships, wrong), "member: a record of groups cannot stand here");
    }

    #[test]
    fn inline_records_know_their_collection_and_key() {
        let given = serde_json::json!({ "members": [{ "@odata.type": "#microsoft.graph.device" }, { "id": "u" }, {}] });
        let mut catalog = Catalog::new();
        let slot = catalog.require(Collection::Groups, "members").expect("a navigation");
        let group = catalog.inline(Collection::Groups, &given).expect("a group");
        let Some(Value::List(members)) = &group.slots[slot] else { panic!("a list") };
        let shown = members.items.iter().map(|member| match member {
            Value::Record(record) => format!("{}:{}", record.collection, record.key),
            other => format!("{other:?}"),
        });
        assert_eq!(shown.collect::<Vec<_>>(), ["devices:", "users:u", "users:"]);
    }

    proptest! {
        #[test]
        fn no_text_makes_decoding_panic(json in r#"[{}\[\]":,a1.@ \\]{0,40}"#) {
            let _ = decode(&["mail", "employeeOrgData"], &json, &[]);
        }
    }
}
