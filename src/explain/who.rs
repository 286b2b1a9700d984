//! Whom a person means: by an id, a name, a key as plans print it, or what the ledger knew of somebody who is gone.
//!
//! Hides in which order these are tried and what is said when several fit. Deliberately looks into nothing but names.

use super::is_whole;
use crate::distinct;
use crate::error::{Error, Result};
use crate::job::Job;
use crate::ledger::Ledger;
use crate::lookup::{self, OBJECTS};
use crate::mapping::Mapping;
use crate::plan::datum::Datum;
use crate::record::{Collection, Form, Guid, Key};
use crate::snapshot::Snapshot;
use crate::visible::quoted;

/// Characters of a name that an error shows.
const NAME_WIDTH: usize = 60;
/// Candidates that an error names.
const CANDIDATES_MAX: usize = 10;

/// What is asked about.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Subject {
    Object(Collection, Guid),
    /// A pair, an assignment, an object of a custom list, a row of an element of a list, or one of a distinct value.
    Key(Key),
}

/// What a name led to.
pub(super) enum Named {
    As(Subject, Option<String>),
    /// To no record, or to several that merely hold it.
    Nobody(Error),
}

/// A record that the ledger knows.
pub(super) struct Known {
    pub(super) subject: Subject,
    pub(super) label: String,
}

/// By a name: of an object that was read, else of a record in the ledger, else the key of a custom list.
pub(super) fn by_name(who: &str, job: &Job, ledger: Option<&Ledger>, snapshot: &Snapshot) -> Result<Named> {
    let named: Vec<Collection> = homes(job).into_iter().filter(|home| OBJECTS.contains(home)).collect();
    let nobody = match lookup::identify(snapshot, &named, who) {
        Ok((collection, id)) => return Ok(Named::As(Subject::Object(collection, id), None)),
        Err(lookup::Unidentified::Several(error)) => return Err(error),
        Err(lookup::Unidentified::Nobody(error)) => error,
        Err(lookup::Unidentified::Failed(error)) => return Err(error),
    };
    let mut custom = job.mappings.iter().filter(|mapping| mapping.source.form() == Form::Custom);
    let key = Key::parse(who);
    if custom.any(|mapping| snapshot.custom(mapping.source).keys().any(|known| *known == key)) {
        return Ok(Named::As(Subject::Key(key), None));
    }
    let mut known = owned(job, ledger, who)?;
    match known.len() {
        0 | 1 => Ok(known.pop().map_or(Named::Nobody(nobody), |known| Named::As(known.subject, Some(known.label)))),
        several => {
            let mut error =
                Error::usage(format!("{several} records of the ledger are called {}", quoted(who, NAME_WIDTH)));
            for one in known.iter().take(CANDIDATES_MAX) {
                let key = match &one.subject {
                    Subject::Object(collection, id) => format!("{id} ({collection})"),
                    Subject::Key(key) => key.to_string(),
                };
                error = error.cause(format!("{} {key}", quoted(&one.label, NAME_WIDTH)));
            }
            Ok(Named::Nobody(error.hint("give the key of the one you mean")))
        }
    }
}

/// Records of the ledger that are called so, have that key, or were given that value.
pub(super) fn owned(job: &Job, ledger: Option<&Ledger>, who: &str) -> Result<Vec<Known>> {
    let Some(ledger) = ledger else { return Ok(Vec::new()) };
    let wanted = who.to_lowercase();
    let mut found: Vec<Known> = Vec::new();
    let whole = |mapping: &&Mapping| is_whole(mapping) && !mapping.source.is_link();
    for mapping in job.mappings.iter().filter(whole) {
        ledger.rows(&mapping.target, &mut |key, row| {
            let value = |value: &Datum| value.as_text().is_some_and(|text| text.to_lowercase() == wanted);
            let named = row.label.to_lowercase() == wanted || row.values.values().any(|held| value(&held.applied));
            if row.mapping != mapping.name || !(named || key.to_string().to_lowercase() == wanted) {
                return Ok(());
            }
            let subject = match (mapping.source.form(), &key) {
                (Form::Objects, Key::Guid(id)) => Subject::Object(mapping.source, *id),
                _ => Subject::Key(key),
            };
            if !found.iter().any(|known| known.subject == subject) {
                found.push(Known { subject, label: row.label });
            }
            Ok(())
        })?;
    }
    Ok(found)
}

/// The distinct value that may be meant: by its text, or by the mapping's name and its text (`departments/Retail`), and
/// then by that name. None where the job has no such mapping.
pub(super) fn value(who: &str, job: &Job) -> Option<(Option<String>, Key)> {
    let of_values = || job.mappings.iter().filter(|mapping| mapping.distinct.is_some());
    let named = who.split_once('/').filter(|(name, _)| of_values().any(|mapping| mapping.name == *name));
    let text = named.map_or(who, |(_, text)| text);
    of_values().next()?;
    Some((named.map(|(name, _)| name.to_owned()), distinct::key(text)?.0))
}

/// Whether records of the collection have keys of that form.
pub(super) fn fits(collection: Collection, key: &Key) -> bool {
    match collection.form() {
        Form::Pairs(_) => matches!(key, Key::Pair(..)),
        Form::Assignments => matches!(key, Key::Assignment(_)),
        Form::Custom => matches!(key, Key::Text(_) | Key::Guid(_)),
        Form::Objects => false,
    }
}

/// The collections of objects that the job reads, those that people ask about first.
pub(super) fn homes(job: &Job) -> Vec<Collection> {
    let others = job.catalog.collections().filter(|collection| !OBJECTS.contains(collection));
    let all = OBJECTS.into_iter().chain(others).filter(|collection| collection.form() == Form::Objects);
    all.filter(|collection| job.catalog.uses(*collection) && *collection != Collection::SignInActivity).collect()
}

/// Where an id belongs: where it was read, else where it was looked for in vain, else among the users.
pub(super) fn likely_home(homes: &[Collection], snapshot: &Snapshot, id: Guid) -> Collection {
    let read = homes.iter().find(|home| snapshot.objects(**home).contains(id));
    let asked = read.or_else(|| homes.iter().find(|home| snapshot.absent(**home, id))).or(homes.first());
    asked.copied().unwrap_or(Collection::Users)
}
