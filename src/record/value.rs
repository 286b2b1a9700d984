//! The value of a property or an expression, with what is not known of it.
//!
//! Hides how missing knowledge is carried along with the data. Deliberately compares nothing by the rules of the language:
//! that is [`crate::expr`]'s.

use std::sync::Arc;

use super::{Guid, Moment, Record, Unknown, base64url, duration_text, infinite};

/// A value of a property or an expression.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// May not be seen, or was not read. Propagates (Kleene).
    Unknown(Unknown),
    Null,
    Bool(bool),
    Int(i64),
    Double(f64),
    Text(Arc<str>),
    Guid(Guid),
    DateTime(Moment),
    Date(jiff::civil::Date),
    /// A time of day, in no zone.
    Time(jiff::civil::Time),
    /// A duration, as OData's `duration'P1D'` literals are; days count 24 hours.
    Duration(jiff::SignedDuration),
    Binary(Arc<[u8]>),
    List(List),
    /// A complex value such as one entry of `licenseAssignmentStates`.
    Object(Arc<[(Arc<str>, Value)]>),
    /// What a navigation leads to.
    Record(Arc<Record>),
}

impl Value {
    /// The value of any JSON; objects keep their order, numbers without a fraction are integers.
    pub fn from_json(json: &serde_json::Value) -> Value {
        use serde_json::Value as Json;
        match json {
            Json::Null => Value::Null,
            Json::Bool(flag) => Value::Bool(*flag),
            Json::Number(number) => match number.as_i64() {
                Some(whole) => Value::Int(whole),
                None => number.as_f64().map_or(Value::Null, Value::Double),
            },
            Json::String(text) => Value::text(text.as_str()),
            Json::Array(items) => Value::List(List::known(items.iter().map(Value::from_json).collect::<Vec<_>>())),
            Json::Object(fields) => Value::Object(
                fields.iter().map(|(name, value)| (Arc::from(&**name), Value::from_json(value))).collect(),
            ),
        }
    }

    /// The value as JSON. What is unknown is `{"unknown": "reason"}`; of a list only what is certain is shown.
    pub fn to_json(&self) -> serde_json::Value {
        use serde_json::Value as Json;
        match self {
            Value::Unknown(reason) => serde_json::json!({ "unknown": reason }),
            Value::Null => Json::Null,
            Value::Bool(flag) => Json::Bool(*flag),
            Value::Int(number) => Json::from(*number),
            Value::Double(number) if number.is_finite() => Json::from(*number),
            // JSON has no word for these; OData writes them as text.
            Value::Double(number) => Json::from(infinite(*number)),
            Value::Text(text) => Json::from(&**text),
            Value::Guid(id) => Json::from(id.to_string()),
            Value::DateTime(at) => Json::from(at.to_string()),
            Value::Date(date) => Json::from(date.to_string()),
            Value::Time(time) => Json::from(time.to_string()),
            Value::Duration(span) => Json::from(duration_text(*span)),
            Value::Binary(bytes) => Json::from(base64url(bytes)),
            Value::List(list) => list.items.iter().map(Value::to_json).collect(),
            Value::Object(fields) => {
                Json::Object(fields.iter().map(|(name, value)| (name.to_string(), value.to_json())).collect())
            }
            Value::Record(record) => Json::from(record.key.to_string()),
        }
    }

    pub fn text(text: impl Into<Arc<str>>) -> Value {
        Value::Text(text.into())
    }

    pub fn is_null(&self) -> bool {
        matches!(self, Value::Null)
    }
}

/// Several values of which some may be doubtful.
///
/// `items` are certain. [`List::maybe`] are those whose belonging is unknown (a group whose member list is partial: does
/// this user belong?). [`List::rest`] says that more may exist that nobody can name. A complete list has neither.
#[derive(Clone, Debug, PartialEq)]
pub struct List {
    pub items: Arc<[Value]>,
    /// Nearly always none: every value of every record is as large as the largest kind of value.
    doubt: Option<Arc<Doubt>>,
}

#[derive(Clone, Debug, PartialEq)]
struct Doubt {
    maybe: Arc<[Value]>,
    rest: Option<Unknown>,
}

impl List {
    pub fn new(items: impl Into<Arc<[Value]>>, maybe: impl Into<Arc<[Value]>>, rest: Option<Unknown>) -> List {
        let maybe = maybe.into();
        let doubt = (!maybe.is_empty() || rest.is_some()).then(|| Arc::new(Doubt { maybe, rest }));
        List { items: items.into(), doubt }
    }

    /// A list of which everything is known.
    pub fn known(items: impl Into<Arc<[Value]>>) -> List {
        List { items: items.into(), doubt: None }
    }

    /// The items whose belonging is unknown.
    pub fn maybe(&self) -> &[Value] {
        self.doubt.as_ref().map_or(&[], |doubt| &doubt.maybe)
    }

    /// Why more may exist that nobody can name, if so.
    pub fn rest(&self) -> Option<&Unknown> {
        self.doubt.as_ref()?.rest.as_ref()
    }

    pub fn is_complete(&self) -> bool {
        self.doubt.is_none()
    }
}
