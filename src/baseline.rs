//! Whether a night may begin at an older snapshot and read only what changed since: the decision, and what it rests on.
//!
//! The base is the snapshot that the ledger names, and the links lie in that snapshot's own folder, so links and base
//! cannot come apart: the ledger moves on to a new snapshot in one commit, after that snapshot is whole on disk and
//! everything doubtful in it was looked up. A run that dies before leaves the old base, whose links Graph still honours.
//! Deliberately reads nothing from Entra; what only the tenant's answers tell (an expired link, a selection or
//! permissions that differ) [`crate::source`] decides per collection.

use std::path::Path;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::error::Result;
use crate::record::Collection;
use crate::snapshot::Snapshot;
use crate::source;

/// The snapshot that the ledger names as the base of the next read.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Base {
    /// Its folder's name in the state folder.
    pub folder: String,
    /// [`fingerprint`] of what it was when it was named: a folder of that name with other content is not it.
    pub fingerprint: String,
}

/// What the decision rests on.
#[derive(Debug)]
pub struct Facts<'a> {
    /// `--full`.
    pub full: bool,
    pub now: Timestamp,
    /// `[source] full_every`.
    pub full_every: SignedDuration,
    /// What the ledger names.
    pub base: Option<&'a Base>,
    /// The snapshot in that folder; none when there is none that can be read.
    pub found: Option<&'a Snapshot>,
    /// A snapshot newer than the base, of a run that the ledger does not know.
    pub unknown_newer: bool,
}

/// Why everything must be read, in words; `None` when the changes since the base will do.
pub fn doubt(facts: &Facts<'_>) -> Option<String> {
    let text = |words: &str| Some(words.to_owned());
    if facts.full {
        return text("asked for with --full");
    }
    let Some(base) = facts.base else { return text("there is no earlier read to begin at") };
    if facts.unknown_newer {
        return text("there is a newer snapshot that the ledger does not know: an older ledger was put back");
    }
    let Some(found) = facts.found else { return text("the snapshot of the last read is gone or cannot be read") };
    if fingerprint(found) != base.fingerprint {
        return text("the snapshot of the last read is not as it was left");
    }
    if found.manifest().program != crate::snapshot::PROGRAM {
        return text("another version of this program made the last read");
    }
    if found.as_of() > facts.now {
        return text("the clock says that the last read is still to come");
    }
    let full = last_full(found);
    // Half a day of a week early: a run each night at the same hour, give or take, must not wait for the eighth.
    let slack = facts.full_every / 14;
    (facts.now.duration_since(full) >= facts.full_every - slack)
        .then(|| format!("due, since the last full read was at {full:.0}"))
}

/// When the collection that has waited longest was last read in full.
fn last_full(snapshot: &Snapshot) -> Timestamp {
    let of = |collection: &Collection| source::last_full(snapshot, *collection);
    snapshot.manifest().links.0.keys().map(of).min().unwrap_or_else(|| snapshot.as_of())
}

/// What tells this very snapshot from any other: its manifest and links.
pub fn fingerprint(snapshot: &Snapshot) -> String {
    let manifest = snapshot.manifest();
    // Plain data with text keys: there is nothing in it that JSON cannot say.
    let json = serde_json::to_vec(&(manifest, &manifest.links)).expect("a manifest is plain data");
    Sha256::digest(&json).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The snapshot as a base to be named in the ledger; none when nothing could begin there.
pub fn base_of(snapshot: &Snapshot) -> Option<Base> {
    let folder = snapshot.dir().file_name()?.to_str()?.to_owned();
    let any = !snapshot.manifest().links.0.is_empty();
    any.then(|| Base { folder, fingerprint: fingerprint(snapshot) })
}

/// Whether `new` may take the place of `old`: a night that lost a link (a collection came only in part, or Graph gave
/// none) leaves the older base standing, from which the next night reads the changes of both.
pub fn supersedes(new: &Snapshot, old: Option<&Snapshot>) -> bool {
    old.is_none_or(|old| {
        old.manifest().links.0.keys().all(|collection| new.manifest().links.0.contains_key(collection))
    })
}

/// Opens the base; none when it is not there or cannot be read, which is no failure of the run.
pub fn open(folder: &Path) -> Result<Option<Snapshot>> {
    if !crate::snapshot::is_snapshot(folder) {
        return Ok(None);
    }
    match Snapshot::open(folder) {
        Ok(snapshot) => Ok(Some(snapshot)),
        Err(error) => {
            tracing::warn!(%error, "the snapshot of the last read cannot be used");
            Ok(None)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Coverage;
    use crate::snapshot::{DeltaLink, Extent, How, Manifest, Writer};

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    /// A snapshot of users with links for these collections, the users last read in full on the first of the month.
    fn snapshot(folder: &Path, linked: &[Collection]) -> Snapshot {
        let mut manifest = Manifest::new("contoso.com", at("2026-03-04T02:00:00Z"));
        let how = How::Delta { since: at("2026-03-03T02:00:00Z"), full: at("2026-03-01T02:00:00Z"), changed: 1 };
        manifest.collections.insert(Collection::Users, Extent { how, ..Extent::new(Coverage::Complete) });
        let link = DeltaLink { url: "https://graph.microsoft.com/x".into(), taken: manifest.as_of };
        manifest.links.0 = linked.iter().map(|collection| (*collection, link.clone())).collect();
        Snapshot::open(&Writer::create(folder).unwrap().seal(manifest).unwrap()).unwrap()
    }

    #[test]
    fn every_doubt_leads_to_a_full_read() {
        let root = tempfile::tempdir().unwrap();
        let found = snapshot(&root.path().join("20260304T020000Z"), &[Collection::Users]);
        let base = base_of(&found).unwrap();
        let other = Base { fingerprint: "0".repeat(64), ..base.clone() };
        let sure = || Facts {
            full: false,
            now: at("2026-03-05T02:00:00Z"),
            full_every: SignedDuration::from_hours(7 * 24),
            base: Some(&base),
            found: Some(&found),
            unknown_newer: false,
        };
        let check = |facts: Facts<'_>, expected: Option<&str>| {
            let found = doubt(&facts);
            match expected {
                None => assert_eq!(found, None, "{facts:?}"),
                Some(words) => assert!(found.as_ref().is_some_and(|why| why.contains(words)), "{found:?} {facts:?}"),
            }
        };
        check(sure(), None);
        check(Facts { full: true, ..sure() }, Some("--full"));
        check(Facts { base: None, ..sure() }, Some("no earlier read"));
        check(Facts { unknown_newer: true, ..sure() }, Some("older ledger"));
        check(Facts { found: None, ..sure() }, Some("gone"));
        check(Facts { base: Some(&other), ..sure() }, Some("not as it was left"));
        check(Facts { now: at("2026-03-04T01:59:59Z"), ..sure() }, Some("still to come"));
        // Six nights after the last full read, and the seventh a little early.
        check(Facts { now: at("2026-03-07T02:00:00Z"), ..sure() }, None);
        check(Facts { now: at("2026-03-08T01:58:00Z"), ..sure() }, Some("2026-03-01T02:00:00Z"));
        check(
            Facts { full_every: SignedDuration::from_hours(31 * 24), now: at("2026-03-20T02:00:00Z"), ..sure() },
            None,
        );
    }

    #[test]
    fn a_snapshot_that_lost_a_link_does_not_take_the_place_of_the_base() {
        use Collection::{Groups, Users};
        let root = tempfile::tempdir().unwrap();
        let make = |name: &str, linked: &[Collection]| snapshot(&root.path().join(name), linked);
        let (none, users, both) = (make("a", &[]), make("b", &[Users]), make("c", &[Users, Groups]));
        assert!(supersedes(&users, None) && supersedes(&both, Some(&users)) && supersedes(&users, Some(&users)));
        assert!(!supersedes(&users, Some(&both)) && !supersedes(&none, Some(&users)));
        assert_eq!(base_of(&none), None);
        assert_ne!(fingerprint(&users), fingerprint(&both));
    }
}
