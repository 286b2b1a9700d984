//! A trial on a few: which keys `--only WHO…` and `--first N` stand for, with what they refer to.
//!
//! Hides how people name an object and what hangs together. Deliberately leaves it to the plan that a trial creates and
//! updates but never removes.

use std::collections::BTreeSet;

use crate::cli::Trial;
use crate::directory::Directory;
use crate::distinct;
use crate::error::{Error, Result};
use crate::expr::Catalog;
use crate::job::Job;
use crate::plan::datum::Datum;
use crate::record::{Collection, Guid, Key, Record, Value};

const OBJECTS: [Collection; 3] = [Collection::Users, Collection::Groups, Collection::Devices];

/// By what a person may call an object.
const NAMES: [&str; 3] = ["userPrincipalName", "mail", "displayName"];

impl Trial {
    /// No trial: the whole job.
    pub fn is_everything(&self) -> bool {
        self.only.is_empty() && self.first.is_none()
    }
}

/// Adds what finding somebody by name reads.
pub fn needs(trial: &Trial, catalog: &mut Catalog) {
    let named = trial.only.iter().any(|who| who.parse::<Guid>().is_err());
    let used: Vec<Collection> = OBJECTS.into_iter().filter(|collection| catalog.uses(*collection)).collect();
    for collection in used.into_iter().filter(|_| named) {
        for name in NAMES {
            // A device has no mail: what the schema does not know is not asked for.
            let _ = catalog.require(collection, name);
        }
    }
}

/// The keys of a trial; `None` for the whole job.
pub fn keys(trial: &Trial, job: &Job, directory: &Directory<'_>) -> Result<Option<BTreeSet<Key>>> {
    if trial.is_everything() {
        return Ok(None);
    }
    let chosen = match trial.first {
        Some(n) => first(n, job, directory),
        None => trial.only.iter().map(|who| find(who, job, directory)).collect::<Result<_>>()?,
    };
    let mut keys: BTreeSet<Key> = chosen.iter().copied().map(Key::Guid).collect();
    for mapping in &job.mappings {
        let refers = mapping.attributes.iter().any(|attribute| attribute.reference.is_some());
        directory.walk(mapping.source, &mut |record| {
            if !touches(&record.key, &chosen) {
                return Ok(());
            }
            if let Some(distinct) = &mapping.distinct {
                let value = Datum::of(&distinct.value.eval(&record, directory), true);
                keys.extend(texts(&distinct::references(value)).into_iter().map(Key::parse));
                return Ok(());
            }
            let mut rows = Vec::new();
            if mapping.each.is_some() {
                for part in mapping.parts(&record, directory) {
                    keys.insert(part.key);
                    rows.extend(part.mapped.ok());
                }
            } else if refers {
                rows.extend(mapping.apply(&record, directory).ok());
            }
            for (attribute, value) in rows.into_iter().flat_map(|mapped| mapping.attributes.iter().zip(mapped.values)) {
                let Some(to) = &attribute.reference else { continue };
                keys.extend(texts(&job.reference(to, value)).into_iter().map(Key::parse));
            }
            // A link brings the record at its other end along.
            match &record.key {
                Key::Pair(a, b) => keys.extend([Key::Guid(*a), Key::Guid(*b)]),
                Key::Assignment(parts) => keys.extend([Key::Guid(parts.0), Key::Guid(parts.1)]),
                Key::Guid(_) | Key::Text(_) => {}
            }
            keys.insert(record.key);
            Ok(())
        })?;
    }
    Ok(Some(keys))
}

fn touches(key: &Key, chosen: &BTreeSet<Guid>) -> bool {
    match key {
        Key::Guid(id) => chosen.contains(id),
        Key::Pair(a, b) => chosen.contains(a) || chosen.contains(b),
        Key::Assignment(parts) => chosen.contains(&parts.0),
        Key::Text(_) => false,
    }
}

fn texts(value: &Datum) -> Vec<&str> {
    match value {
        Datum::One(text) => vec![text],
        Datum::Set(set) => set.items.iter().map(|item| &**item).collect(),
        Datum::Empty | Datum::Unknown(_) => Vec::new(),
    }
}

/// The first objects by id of each collection that a mapping makes records of.
fn first(n: u64, job: &Job, directory: &Directory<'_>) -> BTreeSet<Guid> {
    let sources: BTreeSet<Collection> = job.mappings.iter().map(|mapping| mapping.source).collect();
    let ids = |collection| directory.snapshot().objects(collection).ids().take(n as usize);
    sources.into_iter().flat_map(ids).collect()
}

fn find(who: &str, job: &Job, directory: &Directory<'_>) -> Result<Guid> {
    let homes: Vec<Collection> = OBJECTS.into_iter().filter(|collection| job.catalog.uses(*collection)).collect();
    if let Ok(id) = who.parse::<Guid>() {
        let known = homes.iter().any(|collection| directory.snapshot().objects(*collection).contains(id));
        return if known { Ok(id) } else { Err(nobody(who)) };
    }
    let wanted = who.to_lowercase();
    let mut found: Vec<Guid> = Vec::new();
    for collection in homes {
        let shape = job.catalog.shape(collection);
        let slots: Vec<usize> = NAMES.iter().filter_map(|name| shape.slot(name)).collect();
        directory.walk(collection, &mut |record: Record| {
            let named = slots
                .iter()
                .any(|slot| matches!(&record.slots[*slot], Some(Value::Text(text)) if text.to_lowercase() == wanted));
            found.extend(record.key.guid().filter(|_| named));
            Ok(())
        })?;
    }
    match found.as_slice() {
        [one] => Ok(*one),
        [] => Err(nobody(who)),
        several => Err(Error::usage(format!("--only {who}: {} objects are called that", several.len()))
            .cause(several.iter().map(Guid::to_string).collect::<Vec<_>>().join(", "))
            .hint("give the object id of the one you mean")),
    }
}

fn nobody(who: &str) -> Error {
    Error::usage(format!("--only {who}: nobody is called that in what was read"))
        .hint("give an object id, a user principal name, a mail address or a display name")
}
