//! How people name an object: by id, user principal name, mail address, display name or device id, whatever their case.
//!
//! Hides what "nearest" means, and what is said of a name that several objects carry, or none.

use super::{Brief, brief, left_out, parsed};
use crate::error::{Error, Result};
use crate::expr::Catalog;
use crate::record::{Collection, Guid};
use crate::snapshot::{Snapshot, type_name};
use crate::visible::quoted;

/// By what a person may call an object, besides its id.
const NAMES: [&str; 4] = ["userPrincipalName", "mail", "displayName", "deviceId"];
/// Objects that an error names.
const NAMED_MAX: usize = 10;
/// Names that are offered in place of one that nothing carries.
const NEAREST_MAX: usize = 3;
/// A name less alike than this (0 to 1) is not offered.
const ALIKE_MIN: f64 = 0.8;
/// Characters of a name that an error shows.
const NAME_WIDTH: usize = 60;

/// Adds by what objects of `collection` are called. What the schema does not know of it (a device has no mail) is not
/// asked for.
pub fn names_needed(collection: Collection, catalog: &mut Catalog) {
    for name in NAMES {
        let _ = catalog.require(collection, name);
    }
}

/// Why a name leads to no object.
#[derive(Debug)]
pub enum Unidentified {
    /// Nothing is called so.
    Nobody(Error),
    /// Several are; the error names them.
    Several(Error),
    /// The snapshot cannot be read.
    Failed(Error),
}

impl Unidentified {
    pub fn into_error(self) -> Error {
        match self {
            Unidentified::Nobody(error) | Unidentified::Several(error) | Unidentified::Failed(error) => error,
        }
    }
}

/// The object of one of `collections` that a person means, by id or by any of its names, whatever their case.
pub fn identify(
    snapshot: &Snapshot,
    collections: &[Collection],
    who: &str,
) -> Result<(Collection, Guid), Unidentified> {
    let id = who.parse::<Guid>().ok();
    if let Some(id) = id
        && let Some(home) = collections.iter().find(|home| snapshot.objects(**home).contains(id))
    {
        return Ok((*home, id));
    }
    let wanted = who.to_lowercase();
    let mut found = Vec::new();
    for collection in collections {
        let each = each_named(snapshot, *collection, &mut |brief, names| {
            if names.iter().any(|name| name.to_lowercase() == wanted) {
                found.push((*collection, brief));
            }
        });
        each.map_err(Unidentified::Failed)?;
    }
    match found.as_slice() {
        [(collection, one)] => Ok((*collection, one.id)),
        [] => Err(match nobody(snapshot, collections, who, id) {
            Ok(error) => Unidentified::Nobody(error),
            Err(error) => Unidentified::Failed(error),
        }),
        several => {
            let candidates: Vec<&Brief> = several.iter().map(|(_, brief)| brief).collect();
            Err(Unidentified::Several(ambiguous(collections, who, &candidates)))
        }
    }
}

/// Collections in a sentence: "users, groups and devices".
fn listed(collections: &[Collection]) -> String {
    let names: Vec<&str> = collections.iter().map(|collection| collection.name()).collect();
    match names.as_slice() {
        [] => "objects".to_owned(),
        [one] => (*one).to_owned(),
        [first @ .., last] => format!("{} and {last}", first.join(", ")),
    }
}

/// Walks the objects of a collection, each with all that it is called.
fn each_named(snapshot: &Snapshot, collection: Collection, each: &mut dyn FnMut(Brief, Vec<&str>)) -> Result<()> {
    let mut objects = snapshot.objects(collection).iter();
    while let Some((id, line)) = objects.next()? {
        let object = parsed(line)?;
        let names = NAMES.iter().filter_map(|name| object.get(*name)?.as_str()).collect();
        each(brief(id, type_name(collection), Some(&object)), names);
    }
    Ok(())
}

/// The error for a name that several objects carry.
fn ambiguous(collections: &[Collection], who: &str, candidates: &[&Brief]) -> Error {
    let more = candidates.len().saturating_sub(NAMED_MAX);
    let (count, what) = (candidates.len(), listed(collections));
    let mut error = Error::usage(format!("{count} {what} are called {}", quoted(who, NAME_WIDTH)));
    for candidate in candidates.iter().take(NAMED_MAX) {
        error = error.cause(words(candidate));
    }
    if more > 0 {
        error = error.cause(format!("and {more} more"));
    }
    error.hint("give the id of the one you mean")
}

/// The error for a name that nothing carries: what is known of such an id, and the names that come nearest.
fn nobody(snapshot: &Snapshot, collections: &[Collection], who: &str, id: Option<Guid>) -> Result<Error> {
    let what = listed(collections);
    let mut error = Error::usage(format!("none of the {what} is called {}", quoted(who, NAME_WIDTH)));
    if id.is_some_and(|id| snapshot.deleted(id)) {
        error = error.cause("it was deleted");
    }
    // What was not read may hold it.
    for collection in collections {
        if let Some(gap) = snapshot.coverage(*collection).gap() {
            error = error.cause(format!("not all {collection} were read: {gap}"));
        }
        error = left_out(snapshot, *collection).into_iter().fold(error, Error::cause);
    }
    let wanted = who.to_lowercase();
    let mut near: Vec<(f64, Brief)> = Vec::new();
    for collection in collections {
        each_named(snapshot, *collection, &mut |brief, names| {
            let alike = names.iter().map(|name| strsim::jaro_winkler(&wanted, &name.to_lowercase()));
            let alike = alike.fold(0.0, f64::max);
            if id.is_none() && alike >= ALIKE_MIN {
                near.push((alike, brief));
                near.sort_by(|a, b| b.0.total_cmp(&a.0).then_with(|| a.1.id.cmp(&b.1.id)));
                near.truncate(NEAREST_MAX);
            }
        })?;
    }
    let near: Vec<String> = near.iter().map(|(_, brief)| words(brief)).collect();
    Ok(match near.is_empty() {
        true => error.hint("give an id, a user principal name, a mail address or a display name"),
        false => error.hint(format!("did you mean {}?", near.join(" or "))),
    })
}

/// An object in a sentence.
pub(super) fn words(brief: &Brief) -> String {
    let name = brief.name.as_deref().map_or_else(|| "without a name".to_owned(), |name| quoted(name, NAME_WIDTH));
    match &brief.address {
        Some(address) => format!("{name} {} ({})", quoted(address, NAME_WIDTH), brief.id),
        None => format!("{name} ({})", brief.id),
    }
}
