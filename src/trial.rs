//! A trial on a few: which keys `--only WHO…` and `--first N` stand for, with what they refer to.
//!
//! Hides what hangs together. Deliberately leaves it to the plan that a trial creates and updates but never removes.

use std::collections::BTreeSet;

use crate::cli::Trial;
use crate::directory::Directory;
use crate::distinct;
use crate::error::Result;
use crate::expr::Catalog;
use crate::job::Job;
use crate::lookup::{self, OBJECTS, names_needed};
use crate::plan::datum::Datum;
use crate::record::{Collection, Guid, Key};
use crate::snapshot::Snapshot;

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
    used.into_iter().filter(|_| named).for_each(|collection| names_needed(collection, catalog));
}

/// The keys of a trial; `None` for the whole job.
pub fn keys(trial: &Trial, job: &Job, directory: &Directory<'_>) -> Result<Option<BTreeSet<Key>>> {
    if trial.is_everything() {
        return Ok(None);
    }
    let chosen = match trial.first {
        Some(n) => first(n, job, directory),
        None => trial.only.iter().map(|who| find(who, job, directory.snapshot())).collect::<Result<_>>()?,
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

/// Whether a key is one of these objects, or has one at an end.
pub fn touches(key: &Key, chosen: &BTreeSet<Guid>) -> bool {
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

fn find(who: &str, job: &Job, snapshot: &Snapshot) -> Result<Guid> {
    let homes: Vec<Collection> = OBJECTS.into_iter().filter(|collection| job.catalog.uses(*collection)).collect();
    let (_, id) = lookup::identify(snapshot, &homes, who).map_err(lookup::Unidentified::into_error)?;
    Ok(id)
}
