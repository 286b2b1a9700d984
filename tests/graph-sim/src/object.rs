//! One directory object, kept as the JSON fragments Graph would print.
//!
//! Hides: the storage. Every property is serialised once, when it is set, as `"name":value`; a page with `$select`
//! is then a concatenation of fragments. Property names are interned process-wide, so a span costs twelve bytes.
//! Deliberately does not: store nulls (the schema knows what an absent property looks like) or know any type's
//! property list (see `schema`).

use std::collections::HashMap;
use std::sync::{Arc, OnceLock, RwLock};

use serde_json::{Map, Value};

/// The number of an interned property name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Prop(u16);

#[derive(Default)]
struct Names {
    by_name: HashMap<Arc<str>, u16>,
    names: Vec<Arc<str>>,
}

fn names() -> &'static RwLock<Names> {
    static NAMES: OnceLock<RwLock<Names>> = OnceLock::new();
    NAMES.get_or_init(RwLock::default)
}

impl Prop {
    /// Interns a name that comes from the schema or from stored data, never from a request.
    ///
    /// # Panics
    /// After 65,536 different names.
    pub fn intern(name: &str) -> Self {
        if let Some(prop) = Self::find(name) {
            return prop;
        }
        let mut table = names().write().expect("no panic while interning");
        if let Some(&number) = table.by_name.get(name) {
            return Self(number);
        }
        let number = u16::try_from(table.names.len()).expect("fewer than 65,536 property names");
        let shared: Arc<str> = name.into();
        table.names.push(shared.clone());
        table.by_name.insert(shared, number);
        Self(number)
    }

    /// The number of a name that is known already.
    pub fn find(name: &str) -> Option<Self> {
        let table = names().read().expect("no panic while interning");
        table.by_name.get(name).map(|&number| Self(number))
    }

    /// The name again.
    pub fn name(self) -> Arc<str> {
        names().read().expect("no panic while interning").names[self.0 as usize].clone()
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Span {
    prop: Prop,
    start: u32,
    end: u32,
}

/// An object: its id and its non-null properties, `id` among them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Object {
    id: Arc<str>,
    text: Box<str>,
    spans: Box<[Span]>,
}

impl Object {
    /// Builds an object; `@` annotations and nulls are left out, `id` is put first.
    pub fn new(id: impl Into<Arc<str>>, properties: &Map<String, Value>) -> Self {
        let id = id.into();
        let mut text = Vec::with_capacity(properties.len() * 40);
        let mut spans = Vec::with_capacity(properties.len() + 1);
        let mut push = |name: &str, value: &Value| {
            let start = text.len();
            serde_json::to_writer(&mut text, name).expect("writing to a buffer");
            text.push(b':');
            serde_json::to_writer(&mut text, value).expect("writing to a buffer");
            let bounds = [start, text.len()].map(|at| u32::try_from(at).expect("an object is smaller than 4 GiB"));
            spans.push(Span { prop: Prop::intern(name), start: bounds[0], end: bounds[1] });
        };
        push("id", &Value::from(&*id));
        for (name, value) in properties {
            if name != "id" && !name.starts_with('@') && !value.is_null() {
                push(name, value);
            }
        }
        let text = String::from_utf8(text).expect("JSON is UTF-8");
        Self { id, text: text.into(), spans: spans.into() }
    }

    /// The object id.
    pub fn id(&self) -> &Arc<str> {
        &self.id
    }

    /// `"name":value` as it is printed, or nothing for a null property.
    pub(crate) fn fragment(&self, prop: Prop) -> Option<&str> {
        let span = self.spans.iter().find(|span| span.prop == prop)?;
        Some(&self.text[span.start as usize..span.end as usize])
    }

    /// A property's value; null when it is not set.
    pub fn get(&self, name: &str) -> Value {
        Prop::find(name).map_or(Value::Null, |prop| self.value(prop))
    }

    /// As [`Object::get`], by number.
    pub(crate) fn value(&self, prop: Prop) -> Value {
        self.fragment(prop)
            .and_then(|fragment| serde_json::from_str::<Map<String, Value>>(&format!("{{{fragment}}}")).ok())
            .and_then(|map| map.into_iter().next())
            .map_or(Value::Null, |(_, value)| value)
    }

    /// All properties that are set.
    pub fn to_map(&self) -> Map<String, Value> {
        self.spans.iter().map(|span| (span.prop.name().to_string(), self.value(span.prop))).collect()
    }

    /// A copy with some properties replaced (null removes); the id stays.
    #[must_use]
    pub fn with(&self, changes: &Map<String, Value>) -> Self {
        let mut map = self.to_map();
        for (name, value) in changes {
            map.insert(name.clone(), value.clone());
        }
        Self::new(self.id.clone(), &map)
    }
}
