//! `each`: one record of the source becomes several rows, one for each element of a list that hangs on it.
//!
//! Hides how elements become keys that stay the same from run to run, and what is known of an element that the list no
//! longer shows. Deliberately makes no row of an element that may not be there, and knows no target.

use std::collections::BTreeMap;

use super::{Mapped, Mapping, Rejection};
use crate::distinct;
use crate::expr::{Expr, Navigate};
use crate::plan::datum::canonical_text;
use crate::record::{Collection, Guid, Key, List, Record, Unknown, Value};
use crate::schema::Kind;

/// Which list is split, and what tells its elements apart.
#[derive(Clone, Debug)]
pub struct Each {
    /// Over the records of the mapping's source; yields the list.
    pub of: Expr,
    /// Over one element (`$this`); `None` where the element itself tells.
    pub by: Option<Expr>,
}

/// The elements of one record's list.
#[derive(Debug, Default)]
pub struct Elements {
    /// Those that are there for certain, in the order of the list; of one key only the first.
    pub known: Vec<Element>,
    /// By key: where it is in `known`.
    places: BTreeMap<Box<str>, usize>,
    /// Keys of elements of which it is not certain that they are there.
    maybe: Vec<Box<str>>,
    /// More may be there that nobody can name, and why.
    rest: Option<Unknown>,
    /// An element is there that nothing tells apart from others.
    nameless: bool,
}

/// One element.
#[derive(Debug)]
pub struct Element {
    /// In lower case and without surrounding or doubled blanks: people write them as they please.
    pub key: Box<str>,
    /// As it is written, for people.
    pub spelling: Box<str>,
    pub value: Value,
    /// Another element has the same key and is not the same.
    pub twice: bool,
}

/// One row that a record becomes.
pub struct Part {
    pub key: Key,
    /// What it is made of; `None` where there is nothing to tell by.
    pub element: Option<Element>,
    pub mapped: Result<Mapped, Rejection>,
}

impl Each {
    /// The elements of a record's list.
    pub fn elements(&self, record: &Record, navigate: &dyn Navigate) -> Elements {
        let mut elements = Elements::default();
        let list = match self.of.eval(record, navigate) {
            Value::Unknown(reason) => return Elements { rest: Some(reason), ..elements },
            Value::Null => return elements,
            Value::List(list) => list,
            single => List::known([single]),
        };
        elements.rest = list.rest().cloned();
        for item in list.items.iter() {
            match self.name(record, item, navigate) {
                Named::By(key, spelling) => elements.add(key, spelling, item.clone()),
                Named::Not => elements.nameless = true,
                Named::Unknown(reason) => elements.rest = elements.rest.take().or(Some(reason)),
            }
        }
        for item in list.maybe() {
            match self.name(record, item, navigate) {
                Named::By(key, _) => elements.maybe.push(key),
                Named::Not => {}
                Named::Unknown(reason) => elements.rest = elements.rest.take().or(Some(reason)),
            }
        }
        if elements.nameless {
            // Which of the rows it was cannot be said, so none of them is known to have gone.
            elements.rest = elements.rest.take().or_else(|| Some(Unknown::new("an element of the list has no key")));
        }
        elements
    }

    fn name(&self, record: &Record, item: &Value, navigate: &dyn Navigate) -> Named {
        let text = match (&self.by, item) {
            (_, Value::Unknown(reason)) => return Named::Unknown(reason.clone()),
            (Some(by), item) => match by.eval_item(record, item, navigate) {
                Value::Unknown(reason) => return Named::Unknown(reason),
                value => canonical_text(&value),
            },
            (None, item) => canonical_text(item),
        };
        match distinct::tidy(&text) {
            Some(spelling) => Named::By(spelling.to_lowercase().into(), spelling),
            None => Named::Not,
        }
    }

    /// In normal form.
    pub fn canonical(&self) -> String {
        match &self.by {
            Some(by) => format!("{} by {by}", self.of),
            None => self.of.to_string(),
        }
    }
}

enum Named {
    By(Box<str>, Box<str>),
    /// Empty: nothing tells it apart.
    Not,
    Unknown(Unknown),
}

impl Elements {
    fn add(&mut self, key: Box<str>, spelling: Box<str>, value: Value) {
        if let Some(at) = self.places.get(&key) {
            let first = &mut self.known[*at];
            // One text in two spellings is one text; of other things both would be one row.
            let texts = matches!((&first.value, &value), (Value::Text(_), Value::Text(_)));
            first.twice |= first.value != value && !texts;
            if texts && spelling < first.spelling {
                (first.spelling, first.value) = (spelling, value);
            }
            return;
        }
        self.places.insert(key.clone(), self.known.len());
        self.known.push(Element { key, spelling, value, twice: false });
    }

    /// Whether the list has an element of that key: `None` when it has not, and that is certain.
    pub fn has(&self, key: &str) -> Option<Result<(), Unknown>> {
        if self.places.contains_key(key) {
            return Some(Ok(()));
        }
        if self.maybe.iter().any(|maybe| **maybe == *key) {
            return Some(Err(Unknown::new("it is not known whether it is still in the list")));
        }
        self.rest.clone().map(Err)
    }
}

/// The key of the row that one element of a record becomes.
pub fn key(record: Guid, element: &str) -> Key {
    Key::parse(&format!("{record}/{element}"))
}

/// The record and the element of a row's key; `None` for a key that no element makes.
pub fn split(key: &Key) -> Option<(Guid, Box<str>)> {
    let text = key.to_string();
    let (record, element) = text.split_at_checked(GUID_LENGTH)?;
    Some((record.parse().ok()?, element.strip_prefix('/')?.into()))
}

const GUID_LENGTH: usize = 36;

impl Mapping {
    /// The collections that the elements of its lists are records of.
    pub fn items(&self) -> &[Collection] {
        match self.each.as_ref().map(|each| each.of.ty().kind) {
            Some(Kind::Record(collections)) => collections,
            _ => &[],
        }
    }

    /// The rows of one record, in the order of its list; none for a mapping without `each`.
    pub fn parts(&self, record: &Record, navigate: &dyn Navigate) -> Vec<Part> {
        let (Some(each), Key::Guid(id)) = (&self.each, &record.key) else { return Vec::new() };
        let elements = each.elements(record, navigate);
        let rejected = |reason: String| Err(Rejection { attribute: each.of.to_string(), reason });
        let mut parts: Vec<Part> = Vec::with_capacity(elements.known.len());
        for element in elements.known {
            let mapped = match element.twice {
                true => rejected(format!("holds several different elements with the key {:?}", element.spelling)),
                false => self.apply_item(record, &element.value, navigate),
            };
            parts.push(Part { key: key(*id, &element.key), element: Some(element), mapped });
        }
        if elements.nameless {
            let mapped = rejected("holds an element without a key".into());
            parts.push(Part { key: key(*id, ""), element: None, mapped });
        }
        parts
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn keys_of_rows_read_back_and_split(bytes in any::<[u8; 16]>(), text in "\\PC{1,30}|[0-9a-f]{8}-[0-9a-f]{4}-4000-8000-[0-9a-f]{12}") {
            let Some(spelling) = distinct::tidy(&text) else { return Ok(()) };
            let element = spelling.to_lowercase();
            let row = key(Guid(bytes), &element);
            prop_assert_eq!(&Key::parse(&row.to_string()), &row, "a ledger gives it back");
            prop_assert_eq!(split(&row), Some((Guid(bytes), element.into())));
        }
    }

    #[test]
    fn keys_that_no_element_makes_do_not_split() {
        for text in ["", "x", "87d349ed-44d7-43e1-9a83-5f2406dee5bd", "ÄÄÄÄÄÄÄÄÄÄÄÄÄÄÄÄÄÄÄÄ/x"] {
            assert_eq!(split(&Key::parse(text)), None, "{text}");
        }
    }
}
