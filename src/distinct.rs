//! Records made of the distinct values of an attribute: the departments of the users, the offices, the cost centres.
//!
//! Entra ID has no such objects, only the texts in others. Attributes may be made of the records that have a value:
//! then several records of the source become one row. Hides how spellings become one key, which spelling is
//! written, and what is known of a value that no record in scope has any more. Such records are created and never
//! removed (a text that is gone proves nothing about the thing it named); deliberately knows no target.

use std::collections::{BTreeMap, BTreeSet};

use crate::directory::Directory;
use crate::error::Result;
use crate::mapping::Distinct;
use crate::plan::datum::{Datum, Set};
use crate::record::{Collection, Form, Key, List, Unknown, Value};
use crate::scope::{Judge, Standing};

/// The distinct values of one attribute, over the records of one snapshot that are in scope.
#[derive(Debug, Default)]
pub struct Values {
    /// Key and the spelling that is written: the one most records have, of several the first in byte order.
    pub known: BTreeMap<Key, Box<str>>,
    /// Values that only records have of which it is not certain that they are in scope.
    doubtful: BTreeSet<Key>,
    /// More may exist that nobody can name, and why.
    rest: Option<Unknown>,
    /// Of each value the records that have it; nothing where no attribute asks for them.
    having: BTreeMap<Key, Having>,
}

/// The records that have one value, in key order.
#[derive(Debug, Default)]
struct Having {
    /// In scope.
    certain: Vec<Key>,
    /// Of which that is not known, or not that they have it.
    maybe: Vec<Key>,
}

impl Values {
    /// Reads every record of the collection once.
    pub fn of(
        distinct: &Distinct,
        collection: Collection,
        directory: &Directory<'_>,
        judge: &Judge<'_>,
    ) -> Result<Values> {
        let mut spellings: BTreeMap<Key, BTreeMap<Box<str>, u64>> = BTreeMap::new();
        let mut values = Values { rest: judge.coverage(collection).gap().cloned(), ..Values::default() };
        let sight = judge.sight();
        directory.walk(collection, &mut |record| {
            let standing = judge.standing(&record)?;
            let certain = match standing {
                Standing::In => true,
                Standing::Out(_) | Standing::LeftOut(_) | Standing::Gone(_) => return Ok(()),
                Standing::Edited(_) | Standing::NotFound | Standing::Unknown(_) => false,
            };
            let (items, maybe, rest) = parts(Datum::of(&distinct.value.eval(&record, &sight), true));
            values.rest = values.rest.take().or(rest);
            for (text, known) in items.iter().map(|text| (text, certain)).chain(maybe.iter().map(|text| (text, false)))
            {
                let Some((key, spelling)) = key(text) else { continue };
                if distinct.joins {
                    let having = values.having.entry(key.clone()).or_default();
                    let keys = if known { &mut having.certain } else { &mut having.maybe };
                    // One record may have it twice.
                    if keys.last() != Some(&record.key) {
                        keys.push(record.key.clone());
                    }
                }
                match known {
                    true => *spellings.entry(key).or_default().entry(spelling).or_default() += 1,
                    false => drop(values.doubtful.insert(key)),
                }
            }
            Ok(())
        })?;
        values.known = spellings.into_iter().filter_map(|(key, counts)| Some((key, most_frequent(counts)?))).collect();
        Ok(values)
    }

    /// The records that have a value, as the list that expressions see. What is not known of some record's value is not
    /// known of any list: that record may belong to it.
    pub fn records(&self, key: &Key, collection: Collection, directory: &Directory<'_>) -> Result<Value> {
        let Some(having) = self.having.get(key) else { return Ok(Value::List(List::known([]))) };
        let record = |key: &Key| {
            let found = match (collection.form(), key) {
                (Form::Objects, Key::Guid(id)) => directory.followed(collection, *id)?,
                _ => directory.record(collection, key)?,
            };
            Ok(found.map(Value::Record))
        };
        let all = |keys: &[Key]| -> Result<Vec<Value>> {
            let found: Vec<Option<Value>> = keys.iter().map(record).collect::<Result<_>>()?;
            Ok(found.into_iter().flatten().collect())
        };
        Ok(Value::List(List::new(all(&having.certain)?, all(&having.maybe)?, self.rest.clone())))
    }

    /// Whether a record in scope has the value: `None` when none has, and that is certain.
    pub fn has(&self, key: &Key) -> Option<Result<(), Unknown>> {
        if self.known.contains_key(key) {
            return Some(Ok(()));
        }
        if self.doubtful.contains(key) {
            return Some(Err(Unknown::new("only records have it that are not known to be in scope")));
        }
        self.rest.clone().map(Err)
    }
}

fn parts(value: Datum) -> (Vec<Box<str>>, Vec<Box<str>>, Option<Unknown>) {
    match value {
        Datum::Set(set) => set.into_parts(),
        Datum::One(text) => (vec![text], Vec::new(), None),
        Datum::Empty => Default::default(),
        Datum::Unknown(reason) => (Vec::new(), Vec::new(), Some(reason)),
    }
}

fn most_frequent(counts: BTreeMap<Box<str>, u64>) -> Option<Box<str>> {
    // In byte order, and the first of several with the same count stays.
    let best = counts.iter().fold(None, |best: Option<(&Box<str>, u64)>, (text, count)| match best {
        Some((_, most)) if most >= *count => best,
        _ => Some((text, *count)),
    });
    best.map(|(text, _)| text.clone())
}

/// The key of a value and the value without surrounding and doubled blanks; `None` for one without anything in it.
/// Case and blanks make no other value: people write them as they please.
pub fn key(text: &str) -> Option<(Key, Box<str>)> {
    tidy(text).map(|tidy| (Key::parse(&tidy.to_lowercase()), tidy))
}

/// A text without surrounding and doubled blanks; `None` when nothing is left.
pub fn tidy(text: &str) -> Option<Box<str>> {
    let tidy = text.split_whitespace().collect::<Vec<_>>().join(" ");
    (!tidy.is_empty()).then(|| tidy.into())
}

/// Values that refer to such records, as their keys.
pub fn references(value: Datum) -> Datum {
    let keys = |texts: Vec<Box<str>>| -> Vec<Box<str>> {
        texts.iter().filter_map(|text| key(text)).map(|(key, _)| key.to_string().into()).collect()
    };
    match value {
        Datum::One(text) => key(&text).map_or(Datum::Empty, |(key, _)| Datum::text(key.to_string())),
        Datum::Set(set) => {
            let (items, maybe, rest) = set.into_parts();
            Datum::Set(Set::new(keys(items), keys(maybe), rest))
        }
        other => other,
    }
}

/// What a mapping's expressions see of one value: `value`.
pub fn record(spelling: &str) -> Value {
    Value::Object([(NAME.into(), Value::text(spelling))].into())
}

/// The value, in expressions over a distinct value.
pub const NAME: &str = "value";
/// The records that have it, in the same expressions.
pub const RECORDS: &str = "records";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spellings_of_one_value_have_one_key() {
        for (text, expected) in [
            ("Retail", Some(("retail", "Retail"))),
            ("  retail ", Some(("retail", "retail"))),
            ("R &  D", Some(("r & d", "R & D"))),
            ("ÅRE", Some(("åre", "ÅRE"))),
            ("", None),
            (" \u{A0}", None),
        ] {
            let got = key(text).map(|(key, tidy)| (key.to_string(), tidy));
            assert_eq!(got, expected.map(|(key, tidy)| (key.to_string(), tidy.into())), "{text:?}");
        }
        // A ledger gives the key back as it was, also one that looks like an id.
        let id = "87D349ED-44D7-43E1-9A83-5F2406DEE5BD";
        let (found, _) = key(id).unwrap();
        assert_eq!(Key::parse(&found.to_string()), found);
    }

    #[test]
    fn the_spelling_that_most_records_have_is_written() {
        let counts = |pairs: &[(&str, u64)]| pairs.iter().map(|(text, n)| (Box::from(*text), *n)).collect();
        assert_eq!(most_frequent(counts(&[("SALES", 1), ("Sales", 2), ("sales", 1)])).as_deref(), Some("Sales"));
        assert_eq!(most_frequent(counts(&[("SALES", 1), ("Sales", 1)])).as_deref(), Some("SALES"));
        assert_eq!(most_frequent(BTreeMap::new()), None);
    }

    #[test]
    fn references_follow_the_same_spelling() {
        assert_eq!(references(Datum::text(" Retail ")), Datum::text("retail"));
        assert_eq!(references(Datum::text(" ")), Datum::Empty);
        assert_eq!(references(Datum::set(["B  b", "a", "A"])), Datum::set(["a", "b b"]));
    }
}
