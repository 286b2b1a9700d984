//! Target-side values in the one canonical form in which desired, current and last applied are compared.
//!
//! Hides how typed source values become text (dates, numbers, ids) and how lists become sorted sets, with doubtful
//! elements kept apart from certain ones. Deliberately knows nothing of any target's own types: what a target makes of
//! a text (its precision, its casing) is that target's business.

use std::fmt;
use std::fmt::Write as _;

use serde::de::value::MapAccessDeserializer;
use serde::de::{Error as _, MapAccess, SeqAccess, Visitor};
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::record::{List, Unknown, Value, base64url, duration_text, infinite};

/// One attribute's value on the target's side.
///
/// In JSON: `null`, `"text"`, `["a", "b"]`; what is not known is `{"unknown": "reason"}`, and a set with doubtful
/// elements is `{"items": […], "maybe": […], "rest": "reason"}`. A ledger holds known values only
/// ([`Datum::is_known`]).
#[derive(Clone, PartialEq, Eq, Debug, Default, Hash, PartialOrd, Ord)]
pub enum Datum {
    /// Null and the empty text: the target shows nothing.
    #[default]
    Empty,
    /// A text that is not empty.
    One(Box<str>),
    /// Many values; an empty complete set counts as empty too.
    Set(Set),
    /// May not be seen, or was not read: never a value, never a clear.
    Unknown(Unknown),
}

/// Many values, of which some may be doubtful. See [`List`] for what `maybe` and `rest` mean.
#[derive(Clone, PartialEq, Eq, Debug, Default, Hash, PartialOrd, Ord)]
pub struct Set {
    /// Certain elements: sorted by bytes, no duplicates, no empty texts.
    pub items: Vec<Box<str>>,
    /// Nearly always none; every [`Datum`] is as large as a set.
    doubt: Option<Box<Doubt>>,
}

#[derive(Clone, PartialEq, Eq, Debug, Default, Hash, PartialOrd, Ord)]
struct Doubt {
    maybe: Vec<Box<str>>,
    rest: Option<Unknown>,
}

impl Set {
    /// A set of which everything is known.
    pub fn known<T: Into<Box<str>>>(items: impl IntoIterator<Item = T>) -> Set {
        Set::new(items.into_iter().map(Into::into).collect(), Vec::new(), None)
    }

    /// Sorts, drops duplicates and empty texts, and takes what is certain out of `maybe`.
    pub fn new(items: Vec<Box<str>>, maybe: Vec<Box<str>>, rest: Option<Unknown>) -> Set {
        let items = sorted(items);
        let mut maybe = sorted(maybe);
        maybe.retain(|text| items.binary_search(text).is_err());
        let doubt = (!maybe.is_empty() || rest.is_some()).then(|| Box::new(Doubt { maybe, rest }));
        Set { items, doubt }
    }

    /// Elements whose belonging is unknown: sorted, none of them in `items`.
    pub fn maybe(&self) -> &[Box<str>] {
        self.doubt.as_ref().map_or(&[], |doubt| &doubt.maybe)
    }

    /// Why more may exist that nobody can name, if so.
    pub fn rest(&self) -> Option<&Unknown> {
        self.doubt.as_ref()?.rest.as_ref()
    }

    /// What is certain, what is doubtful and why there may be more, as [`Set::new`] takes them.
    pub fn into_parts(self) -> (Vec<Box<str>>, Vec<Box<str>>, Option<Unknown>) {
        let doubt = self.doubt.map(|doubt| *doubt).unwrap_or_default();
        (self.items, doubt.maybe, doubt.rest)
    }

    /// True when nothing is doubtful.
    pub fn is_complete(&self) -> bool {
        self.doubt.is_none()
    }
}

fn sorted(mut texts: Vec<Box<str>>) -> Vec<Box<str>> {
    texts.retain(|text| !text.is_empty());
    texts.sort_unstable();
    texts.dedup();
    texts
}

impl Datum {
    /// A text; the empty one is [`Datum::Empty`].
    pub fn text(text: impl Into<Box<str>>) -> Datum {
        let text = text.into();
        if text.is_empty() { Datum::Empty } else { Datum::One(text) }
    }

    /// A set of which everything is known.
    pub fn set<T: Into<Box<str>>>(items: impl IntoIterator<Item = T>) -> Datum {
        Datum::Set(Set::known(items))
    }

    /// The canonical form of a value. A list becomes a set whatever `many` says; with `many`, null is the empty set
    /// and a single value a set of one, so that an attribute keeps one form from run to run.
    pub fn of(value: &Value, many: bool) -> Datum {
        match value {
            Value::Unknown(reason) => Datum::Unknown(reason.clone()),
            Value::List(list) => Datum::Set(set_of(list)),
            Value::Null if many => Datum::Set(Set::default()),
            Value::Null => Datum::Empty,
            // Nearly all values; without a text in between.
            Value::Text(text) if !many => Datum::text(&**text),
            Value::Bool(flag) if !many => Datum::text(if *flag { "true" } else { "false" }),
            single if many => Datum::Set(Set::known([canonical_text(single)])),
            single => Datum::text(canonical_text(single)),
        }
    }

    /// Empty, or a complete set without elements. Unknown is not empty.
    pub fn is_empty(&self) -> bool {
        match self {
            Datum::Empty => true,
            Datum::Set(set) => set.items.is_empty() && set.is_complete(),
            Datum::One(_) | Datum::Unknown(_) => false,
        }
    }

    /// True when nothing about it is doubtful; only such values go into a ledger.
    pub fn is_known(&self) -> bool {
        match self {
            Datum::Empty | Datum::One(_) => true,
            Datum::Set(set) => set.is_complete(),
            Datum::Unknown(_) => false,
        }
    }

    /// The value that an expression over the target's values sees.
    pub fn to_value(&self) -> Value {
        match self {
            Datum::Empty => Value::Null,
            Datum::One(text) => Value::text(&**text),
            Datum::Unknown(reason) => Value::Unknown(reason.clone()),
            Datum::Set(set) => {
                let texts = |texts: &[Box<str>]| texts.iter().map(|text| Value::text(&**text)).collect::<Vec<_>>();
                Value::List(List::new(texts(&set.items), texts(set.maybe()), set.rest().cloned()))
            }
        }
    }

    /// The text of a single value.
    pub fn as_text(&self) -> Option<&str> {
        match self {
            Datum::One(text) => Some(text),
            _ => None,
        }
    }
}

fn set_of(list: &List) -> Set {
    let mut rest = list.rest().cloned();
    let mut texts = |values: &[Value]| {
        let mut texts = Vec::with_capacity(values.len());
        for value in values {
            match value {
                // An element that may not be seen is an element nobody can name.
                Value::Unknown(reason) => rest = rest.take().or_else(|| Some(reason.clone())),
                known => texts.push(canonical_text(known).into_boxed_str()),
            }
        }
        texts
    };
    let items = texts(&list.items);
    let maybe = texts(list.maybe());
    Set::new(items, maybe, rest)
}

/// The one text form of a value: what CSV shows and what is compared. Null and unknown give the empty text.
pub fn canonical_text(value: &Value) -> String {
    match value {
        Value::Unknown(_) | Value::Null => String::new(),
        Value::Bool(flag) => flag.to_string(),
        Value::Int(number) => number.to_string(),
        // Minus zero and zero are the same number and must not look like a change.
        Value::Double(number) if *number == 0.0 => "0".to_string(),
        Value::Double(number) if !number.is_finite() => infinite(*number).to_string(),
        Value::Double(number) => number.to_string(),
        Value::Text(text) => text.to_string(),
        Value::Guid(id) => id.to_string(),
        // A target compares moments, whatever the zone they were written in.
        Value::DateTime(moment) => moment.at.to_string(),
        Value::Date(date) => date.to_string(),
        Value::Time(time) => time.to_string(),
        Value::Duration(span) => duration_text(*span),
        Value::Binary(bytes) => base64url(bytes),
        Value::List(list) => joined(list.items.iter().map(canonical_text)),
        Value::Object(fields) => joined(fields.iter().map(|(name, value)| format!("{name}={}", canonical_text(value)))),
        Value::Record(record) => record.key.to_string(),
    }
}

/// Complex values seldom become attributes (a mapping usually picks a part); then they stay readable, in their order.
fn joined(parts: impl Iterator<Item = String>) -> String {
    parts.fold(String::new(), |mut text, part| {
        if !text.is_empty() {
            text.push_str("; ");
        }
        text.push_str(&part);
        text
    })
}

impl fmt::Display for Datum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Datum::Empty => f.write_str("(empty)"),
            Datum::One(text) => write!(f, "{text:?}"),
            Datum::Unknown(reason) => write!(f, "unknown ({reason})"),
            Datum::Set(set) => {
                f.write_char('[')?;
                for (index, item) in set.items.iter().enumerate() {
                    write!(f, "{}{item:?}", if index == 0 { "" } else { ", " })?;
                }
                f.write_char(']')?;
                if !set.maybe().is_empty() {
                    write!(f, " and perhaps {:?}", set.maybe())?;
                }
                set.rest().map_or(Ok(()), |reason| write!(f, " and perhaps more ({reason})"))
            }
        }
    }
}

impl Serialize for Datum {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self {
            Datum::Empty => to.serialize_unit(),
            Datum::One(text) => to.serialize_str(text),
            Datum::Set(set) if set.is_complete() => to.collect_seq(&set.items),
            Datum::Set(set) => {
                let mut map = to.serialize_map(None)?;
                map.serialize_entry("items", &set.items)?;
                map.serialize_entry("maybe", set.maybe())?;
                map.serialize_entry("rest", &set.rest())?;
                map.end()
            }
            Datum::Unknown(reason) => {
                let mut map = to.serialize_map(Some(1))?;
                map.serialize_entry("unknown", reason)?;
                map.end()
            }
        }
    }
}

impl<'de> Deserialize<'de> for Datum {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Datum, D::Error> {
        from.deserialize_any(Written)
    }
}

/// Values of which some are not said at all, which is not the same as empty: `null` is the empty value, and what is not
/// said is `false`. (An `Option` would write both as `null`, and a value that was cleared would read as not said.)
pub mod said {
    use serde::de::Visitor;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use super::{Datum, Written};

    pub fn serialize<S: Serializer>(values: &[Option<Datum>], to: S) -> Result<S::Ok, S::Error> {
        to.collect_seq(values.iter().map(|value| Said(value.as_ref())))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<Option<Datum>>, D::Error> {
        Vec::<Heard>::deserialize(from).map(|values| values.into_iter().map(|Heard(value)| value).collect())
    }

    struct Said<'v>(Option<&'v Datum>);

    impl Serialize for Said<'_> {
        fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
            match self.0 {
                Some(value) => value.serialize(to),
                None => to.serialize_bool(false),
            }
        }
    }

    struct Heard(Option<Datum>);

    impl<'de> Deserialize<'de> for Heard {
        fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Heard, D::Error> {
            from.deserialize_any(OrNothing).map(Heard)
        }
    }

    struct OrNothing;

    impl<'de> Visitor<'de> for OrNothing {
        type Value = Option<Datum>;

        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("a value in its canonical form, or false")
        }

        fn visit_bool<E>(self, _: bool) -> Result<Option<Datum>, E> {
            Ok(None)
        }

        fn visit_unit<E: serde::de::Error>(self) -> Result<Option<Datum>, E> {
            Written.visit_unit().map(Some)
        }

        fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Option<Datum>, E> {
            Written.visit_str(text).map(Some)
        }

        fn visit_seq<A: serde::de::SeqAccess<'de>>(self, texts: A) -> Result<Option<Datum>, A::Error> {
            Written.visit_seq(texts).map(Some)
        }

        fn visit_map<A: serde::de::MapAccess<'de>>(self, members: A) -> Result<Option<Datum>, A::Error> {
            Written.visit_map(members).map(Some)
        }
    }
}

/// Reads the JSON forms. By hand, because millions are read back and an untagged enum copies each before it looks.
struct Written;

impl<'de> Visitor<'de> for Written {
    type Value = Datum;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value in its canonical form")
    }

    fn visit_unit<E>(self) -> Result<Datum, E> {
        Ok(Datum::Empty)
    }

    fn visit_str<E>(self, text: &str) -> Result<Datum, E> {
        Ok(Datum::text(text))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut texts: A) -> Result<Datum, A::Error> {
        let mut items = Vec::<Box<str>>::new();
        while let Some(text) = texts.next_element()? {
            items.push(text);
        }
        Ok(Datum::Set(Set::known(items)))
    }

    fn visit_map<A: MapAccess<'de>>(self, members: A) -> Result<Datum, A::Error> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Doubtful {
            items: Option<Vec<Box<str>>>,
            maybe: Option<Vec<Box<str>>>,
            rest: Option<Unknown>,
            unknown: Option<Unknown>,
        }
        let Doubtful { items, maybe, rest, unknown } = Doubtful::deserialize(MapAccessDeserializer::new(members))?;
        match (items, maybe, rest, unknown) {
            (Some(items), Some(maybe), rest, None) => Ok(Datum::Set(Set::new(items, maybe, rest))),
            (None, None, None, Some(reason)) => Ok(Datum::Unknown(reason)),
            _ => Err(A::Error::custom("not a value in its canonical form")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Moment;
    use std::sync::Arc;

    #[test]
    fn values_have_one_text() {
        let cases = [
            (Value::Null, ""),
            (Value::Bool(true), "true"),
            (Value::Int(-7), "-7"),
            (Value::Double(1.0), "1"),
            (Value::Double(-0.0), "0"),
            (Value::Double(0.1), "0.1"),
            (Value::text("Adele Vance"), "Adele Vance"),
            (
                Value::Guid("87D349ED-44D7-43E1-9A83-5F2406DEE5BD".parse().unwrap()),
                "87d349ed-44d7-43e1-9a83-5f2406dee5bd",
            ),
            (
                Value::DateTime(Moment { at: "2024-01-01T00:00:00Z".parse().unwrap(), offset: 60 }),
                "2024-01-01T00:00:00Z",
            ),
            (Value::Date("2024-02-29".parse().unwrap()), "2024-02-29"),
            (Value::Object(Arc::from([(Arc::from("city"), Value::text("Oslo"))])), "city=Oslo"),
        ];
        for (value, expected) in cases {
            assert_eq!(canonical_text(&value), expected);
            assert_eq!(Datum::of(&value, false), Datum::text(expected));
        }
    }

    /// Millions are held and moved about: what is rare is kept behind a pointer.
    #[test]
    fn values_are_small() {
        assert_eq!((size_of::<Value>(), size_of::<Datum>()), (32, 32));
    }

    #[test]
    fn lists_become_sorted_sets_and_doubt_stays_apart() {
        let items = ["b", "a", "b"].map(Value::text).into_iter().chain([Value::Null]).collect::<Vec<_>>();
        let list = List::new(items, [Value::text("c"), Value::text("a")], None);
        let Datum::Set(set) = Datum::of(&Value::List(list), false) else { panic!("not a set") };
        assert_eq!(set.into_parts(), (vec!["a".into(), "b".into()], vec!["c".into()], None));

        let hidden = List::known([Value::Unknown(Unknown::new("hidden")), Value::text("a")]);
        let Datum::Set(set) = Datum::of(&Value::List(hidden), true) else { panic!("not a set") };
        assert_eq!(set.rest().cloned(), Some(Unknown::new("hidden")));
    }

    #[test]
    fn a_many_valued_attribute_keeps_its_form() {
        assert_eq!(Datum::of(&Value::Null, true), Datum::Set(Set::default()));
        assert!(Datum::of(&Value::Null, true).is_empty());
        assert_eq!(Datum::of(&Value::text("a"), true), Datum::set(["a"]));
        assert!(!Datum::of(&Value::Unknown(Unknown::new("no right")), true).is_empty());
    }

    #[test]
    fn what_is_empty_and_what_is_not_said_stay_apart() {
        #[derive(Serialize, Deserialize, PartialEq, Debug)]
        struct Values(#[serde(with = "said")] Vec<Option<Datum>>);
        let unknown = Datum::Unknown(Unknown::new("no right"));
        let values =
            Values(vec![Some(Datum::Empty), None, Some(Datum::text("x")), Some(Datum::set(["a"])), Some(unknown)]);
        let json = serde_json::to_string(&values).unwrap();
        assert_eq!(json, r#"[null,false,"x",["a"],{"unknown":"no right"}]"#);
        assert_eq!(serde_json::from_str::<Values>(&json).unwrap(), values);
    }

    #[test]
    fn json_reads_back() {
        let doubtful = Set::new(vec!["a".into()], vec!["b".into()], Some(Unknown::new("page 3 failed")));
        for (datum, json) in [
            (Datum::Empty, "null"),
            (Datum::text("x"), r#""x""#),
            (Datum::set(["b", "a"]), r#"["a","b"]"#),
            (Datum::Unknown(Unknown::new("no right")), r#"{"unknown":"no right"}"#),
            (Datum::Set(doubtful), r#"{"items":["a"],"maybe":["b"],"rest":"page 3 failed"}"#),
        ] {
            assert_eq!(serde_json::to_string(&datum).unwrap(), json);
            assert_eq!(serde_json::from_str::<Datum>(json).unwrap(), datum);
        }
    }
}
