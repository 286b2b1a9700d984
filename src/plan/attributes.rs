//! The three-way comparison of one attribute: desired, current and last applied, under the policy of the mapping.
//!
//! Hides the decision table (`ARCHITECTURE.md`, "Attributes") and how sets go through the same table element by
//! element. Deliberately knows neither records nor keys.

use std::collections::BTreeSet;

use super::change::{Held, NoteKind};
use super::datum::{Datum, Set};
use super::policy::{Empty, Side, Write};

/// What a mapping says about one attribute.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct AttributePolicy {
    pub write: Write,
    pub empty: Empty,
    /// Who wins where a record was adopted with another value.
    pub on_adopt: Side,
    /// Who wins where both sides changed.
    pub on_conflict: Side,
}

impl Default for AttributePolicy {
    fn default() -> AttributePolicy {
        AttributePolicy {
            write: Write::UnlessEdited,
            empty: Empty::Clear,
            on_adopt: Side::Target,
            on_conflict: Side::Target,
        }
    }
}

/// What becomes of one attribute.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Verdict {
    /// What is written; `None` leaves the target alone.
    pub write: Option<Datum>,
    /// Why it is written, where that is not simply a change in the source.
    pub cause: Option<&'static str>,
    /// What the ledger holds afterwards; `None` is unknown.
    pub held: Option<Held>,
    /// Why a difference was left alone, when a person should hear of it.
    pub left_alone: Option<NoteKind>,
    /// Elements taken out of a set.
    pub elements_removed: u64,
}

/// Whose doing it is that desired and current value differ.
#[derive(Clone, Copy, PartialEq, Eq, Debug, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ChangedBy {
    /// Only the source has changed since the last settled write.
    Entra,
    /// Only the target has.
    Target,
    Both,
    /// Neither has: the target made something else of what was written, or a person settled the difference.
    Nobody,
    /// Not known: the record was adopted, or the attribute is new.
    Unknown,
}

/// Whose doing a difference is; none where both sides are equal, or one of them is not known. Sets as a whole.
pub fn changed_by(desired: &Datum, current: &Datum, held: Option<&Held>) -> Option<ChangedBy> {
    if !desired.is_known() || !current.is_known() || desired == current || (desired.is_empty() && current.is_empty()) {
        return None;
    }
    let Some(held) = held else { return Some(ChangedBy::Unknown) };
    Some(match (*desired != held.settled, *current != held.applied) {
        (true, false) => ChangedBy::Entra,
        (false, true) => ChangedBy::Target,
        (true, true) => ChangedBy::Both,
        (false, false) => ChangedBy::Nobody,
    })
}

const CHANGED_IN_TARGET: &str = "changed in the target";

/// The value of a new record's attribute.
pub fn create(desired: &Datum) -> Verdict {
    let known = match desired {
        Datum::Unknown(_) => return Verdict::default(),
        // What is certain is written; the doubtful elements follow once they are certain.
        Datum::Set(set) => Datum::set(set.items.iter().cloned()),
        other => other.clone(),
    };
    Verdict {
        write: (!known.is_empty()).then(|| known.clone()),
        held: Some(Held { applied: known.clone(), settled: known }),
        ..Verdict::default()
    }
}

/// The value of an attribute of a record that is there. `held` is `None` after adoption and for a new attribute.
pub fn compare(policy: AttributePolicy, desired: &Datum, current: &Datum, held: Option<&Held>) -> Verdict {
    match (desired, current) {
        (Datum::Unknown(_), _) | (_, Datum::Unknown(_)) => Verdict { held: held.cloned(), ..Verdict::default() },
        (Datum::Set(desired), current) => {
            let none = Set::default();
            let current = match current {
                Datum::Set(set) => set.clone(),
                Datum::One(text) => Set::known([text.clone()]),
                _ => none.clone(),
            };
            compare_sets(policy, desired, &current, held)
        }
        _ => compare_single(policy, desired, current, held),
    }
}

/// How the sides of one value or element stand to each other.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Relation {
    /// c = d.
    pub equal: bool,
    /// `None` while a and d' are unknown.
    pub since: Option<Since>,
    /// c is empty (an element: not there).
    pub current_empty: bool,
}

/// What changed since the last settled write.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Since {
    /// d ≠ d'.
    pub source_changed: bool,
    /// c ≠ a.
    pub target_changed: bool,
}

/// A row of the table.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Fate {
    /// Nothing is written and nothing is settled.
    Keep,
    /// Nothing is written; the value counts as settled.
    Settle,
    Write,
    /// Written although only the target changed.
    WriteBack,
    /// Left alone, and told.
    Tell(NoteKind),
}

/// The table itself, for a value (or element) whose desired side is known.
pub(super) fn fate(policy: AttributePolicy, relation: Relation) -> Fate {
    use Write::*;
    let fill = if relation.current_empty { Fate::Write } else { Fate::Keep };
    if relation.equal {
        return Fate::Settle;
    }
    let Some(since) = relation.since else {
        return match (policy.write, policy.on_adopt) {
            (Always, _) | (UnlessEdited, Side::Source) => Fate::Write,
            (UnlessEdited, Side::Target) if relation.current_empty => Fate::Write,
            (UnlessEdited, Side::Target) => Fate::Tell(NoteKind::DiffersSinceAdoption),
            (IfEmpty, _) => fill,
            (OnCreate, _) => Fate::Keep,
        };
    };
    match (since.source_changed, since.target_changed, policy.write) {
        (false, false, _) | (_, _, OnCreate) => Fate::Keep,
        (true, false, Always | UnlessEdited) => Fate::Write,
        (true, false, IfEmpty) => fill,
        (false, true, Always) => Fate::WriteBack,
        (false, true, UnlessEdited) => Fate::Tell(NoteKind::ChangedInTarget),
        (true, true, Always) => Fate::Write,
        (true, true, UnlessEdited) if policy.on_conflict == Side::Source => Fate::Write,
        (true, true, UnlessEdited) => Fate::Tell(NoteKind::Conflict),
        (_, true, IfEmpty) => Fate::Keep,
    }
}

fn compare_single(policy: AttributePolicy, desired: &Datum, current: &Datum, held: Option<&Held>) -> Verdict {
    // A value that used to be a set says nothing about a single one: its type changed.
    let held = held.filter(|held| !matches!(held.applied, Datum::Set(_)));
    let kept = Verdict { held: held.cloned(), ..Verdict::default() };
    let relation = Relation {
        equal: desired == current,
        since: held
            .map(|held| Since { source_changed: *desired != held.settled, target_changed: *current != held.applied }),
        current_empty: current.is_empty(),
    };
    if desired.is_empty() && policy.empty == Empty::Keep && !relation.equal {
        return kept;
    }
    let settled = Some(Held { applied: desired.clone(), settled: desired.clone() });
    match fate(policy, relation) {
        Fate::Keep => kept,
        Fate::Settle => Verdict { held: settled, ..Verdict::default() },
        Fate::Write => Verdict { write: Some(desired.clone()), held: settled, ..Verdict::default() },
        Fate::WriteBack => Verdict {
            write: Some(desired.clone()),
            cause: Some(CHANGED_IN_TARGET),
            held: settled,
            ..Verdict::default()
        },
        Fate::Tell(kind) => Verdict { left_alone: Some(kind), ..kept },
    }
}

fn compare_sets(policy: AttributePolicy, desired: &Set, current: &Set, held: Option<&Held>) -> Verdict {
    let (applied, settled) = match held {
        Some(Held { applied: Datum::Set(applied), settled: Datum::Set(settled) }) => (Some(applied), Some(settled)),
        // Unknown, or the attribute held a single value until now.
        _ => (None, None),
    };
    let has = |set: &Set, element: &str| set.items.binary_search_by(|item| (**item).cmp(element)).is_ok();
    if desired.items.is_empty() && desired.is_complete() && policy.empty == Empty::Keep && !current.items.is_empty() {
        return Verdict { held: held.cloned(), ..Verdict::default() };
    }
    let elements: BTreeSet<&str> = [Some(desired), Some(current), applied, settled]
        .into_iter()
        .flatten()
        .flat_map(|set| set.items.iter().map(|item| &**item))
        .collect();
    let (mut result, mut new_applied, mut new_settled) = (Vec::new(), Vec::new(), Vec::new());
    let mut verdict = Verdict::default();
    for element in elements {
        let (d, c) = (has(desired, element), has(current, element));
        let unknown =
            !d && (desired.rest().cloned().is_some() || desired.maybe().iter().any(|maybe| **maybe == *element));
        let before = applied.zip(settled).map(|(a, s)| (has(a, element), has(s, element)));
        let relation = Relation {
            equal: c == d,
            since: before.map(|(a, s)| Since { source_changed: d != s, target_changed: c != a }),
            current_empty: !c,
        };
        // What stood there at adoption stays, whoever wins: nobody knows that it was ever ours.
        let stood_there = before.is_none() && c && !d;
        let fate = match fate(policy, relation) {
            _ if unknown => Fate::Keep,
            Fate::Write if stood_there => Fate::Keep,
            fate => fate,
        };
        let wanted = match fate {
            Fate::Write | Fate::WriteBack => d,
            _ => c,
        };
        if c && !wanted {
            verdict.elements_removed += 1;
        }
        match fate {
            Fate::WriteBack => verdict.cause = Some(CHANGED_IN_TARGET),
            Fate::Tell(kind) => verdict.left_alone = verdict.left_alone.max(Some(kind)),
            _ => {}
        }
        let (a, s) = match fate {
            Fate::Settle | Fate::Write | Fate::WriteBack => (d, d),
            Fate::Keep | Fate::Tell(_) => before.unwrap_or((c, d && !unknown && fate != Fate::Keep)),
        };
        for (keep, list) in [(wanted, &mut result), (a, &mut new_applied), (s, &mut new_settled)] {
            if keep {
                list.push(Box::<str>::from(element));
            }
        }
    }
    let result = Set::known(result);
    if result.items != current.items {
        verdict.write = Some(Datum::Set(result));
    }
    verdict.held =
        Some(Held { applied: Datum::Set(Set::known(new_applied)), settled: Datum::Set(Set::known(new_settled)) });
    verdict
}

#[cfg(test)]
#[path = "attributes_tests.rs"]
mod tests;
