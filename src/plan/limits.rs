//! How much may happen without a person's word: every limit is tested on the whole plan before the first write.
//!
//! Hides what counts against which limit and what the share is taken of. Deliberately knows no ledger: what was approved
//! is an input.

use std::collections::{BTreeMap, HashMap};

use super::change::{Action, Change};
use super::policy::{CauseKind, Limit, Limits};
use super::{Approval, LimitCheck, LimitName};
use crate::record::{Collection, Key};

/// Which records a person approved, by limit.
#[derive(Clone, Debug, Default)]
pub struct Approved {
    records: HashMap<(LimitName, String, Key, Option<String>), Option<CauseKind>>,
}

impl Approved {
    pub fn new<'a>(approvals: impl IntoIterator<Item = &'a Approval>) -> Approved {
        let mut records = HashMap::new();
        for approval in approvals {
            for record in &approval.records {
                let what = (approval.limit, record.ty.clone(), record.key.clone(), record.shown.clone());
                records.insert(what, record.cause);
            }
        }
        Approved { records }
    }

    /// Whether that record was approved under that limit; a removal only for the cause that was shown.
    pub fn contains(&self, limit: LimitName, ty: &str, key: &Key, cause: Option<CauseKind>) -> bool {
        self.contains_shown(limit, ty, key, cause, None)
    }

    /// [`Approved::contains`] for what of the record was shown ([`ApprovedRecord::shown`](super::ApprovedRecord)).
    fn contains_shown(
        &self,
        limit: LimitName,
        ty: &str,
        key: &Key,
        cause: Option<CauseKind>,
        shown: Option<String>,
    ) -> bool {
        // Most runs have no approval, and this is asked of every change.
        !self.records.is_empty()
            && self
                .records
                .get(&(limit, ty.to_string(), key.clone(), shown))
                .is_some_and(|approved| approved.is_none() || *approved == cause)
    }
}

/// One way in which a change counts against a limit.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Counted {
    pub limit: LimitName,
    pub count: u64,
    /// What an approval must have shown, besides the record.
    pub shown: Option<String>,
}

/// The limits a change counts against, with how much.
pub fn counted(change: &Change, links: bool) -> Vec<Counted> {
    let whole = |limit| Counted { limit, count: 1, shown: None };
    let removal = if links { LimitName::LinksRemoved } else { LimitName::Retires };
    let mut counted = match change.action {
        Action::Create => vec![whole(LimitName::Creates)],
        Action::Adopt => vec![whole(LimitName::Adopts)],
        Action::Update | Action::Return if !change.attributes.is_empty() => vec![whole(LimitName::Updates)],
        Action::Retire | Action::Delete | Action::Forget => vec![whole(removal)],
        Action::Update | Action::Return | Action::Settle => Vec::new(),
    };
    let elements = change.elements_removed().count() as u64;
    if elements > 0 {
        let shown = Some(elements_shown(change));
        counted.push(Counted { limit: LimitName::LinksRemoved, count: elements, shown });
    }
    if change.action == Action::Update {
        let each = change.attributes.iter().map(|attribute| Counted {
            limit: LimitName::OneAttribute,
            count: 1,
            shown: Some(attribute.name.clone()),
        });
        counted.extend(each);
    }
    counted
}

/// A fingerprint of the elements that a change takes out of sets.
fn elements_shown(change: &Change) -> String {
    use sha2::{Digest, Sha256};
    let mut sum = Sha256::new();
    for (attribute, element) in change.elements_removed() {
        sum.update(attribute);
        sum.update([0]);
        sum.update(element);
        sum.update([0]);
    }
    sum.finalize().iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

/// What a type's changes add up to.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// By limit: (all, approved).
    counts: BTreeMap<LimitName, (u64, u64)>,
    /// By attribute of updates: (all, approved).
    attributes: BTreeMap<String, (u64, u64)>,
}

impl Tally {
    /// Counts one change.
    pub fn add(&mut self, change: &Change, links: bool, approved: &Approved) {
        let cause = change.cause.as_ref().map(|cause| cause.kind);
        let has = |limit, shown| approved.contains_shown(limit, &change.ty, &change.key, cause, shown);
        for Counted { limit, count, shown } in counted(change, links) {
            // Approving an edited filter approves the removals it leads to.
            let filter_edit = matches!(limit, LimitName::Retires | LimitName::LinksRemoved)
                && shown.is_none()
                && approved.contains(LimitName::FilterEdit, &change.ty, &change.key, None);
            // A first run's adopts are approved as the first run.
            let first_run = limit == LimitName::Adopts && has(LimitName::FirstRun, None);
            let passes = has(limit, shown.clone()) || filter_edit || first_run;
            let sum = match (limit, shown) {
                (LimitName::OneAttribute, Some(attribute)) => self.attributes.entry(attribute).or_default(),
                _ => self.counts.entry(limit).or_default(),
            };
            sum.0 += count;
            sum.1 += if passes { count } else { 0 };
        }
    }
}

/// A type as the limits see it.
pub struct TypeBase<'a> {
    pub name: &'a str,
    pub links: bool,
    /// No full run has gone through yet, or nothing is owned: what is there may be anyone's.
    pub first: bool,
    /// Full runs of the job have gone through: only this type is new to it.
    pub job_ran: bool,
    /// Owned before the run.
    pub owned: u64,
    /// Owned and seen in the target.
    pub owned_there: u64,
    /// Records in the target before the run.
    pub there: u64,
    /// Of these, where no run of the job went through yet, records whose key is an Entra id.
    pub entra_ids: u64,
    /// Left scope only because scope or mapping was edited: wait for approval.
    pub edited: u64,
    /// The target was read completely.
    pub complete: bool,
    pub tally: &'a Tally,
}

impl TypeBase<'_> {
    /// A first run into a target that holds nothing but what trials made.
    fn creates_are_free(&self) -> bool {
        self.first && self.there == self.owned_there
    }

    /// What shares are taken of: what is owned, on a first run what is there.
    fn base(&self) -> u64 {
        if self.owned > 0 { self.owned } else { self.there }
    }
}

/// A collection as the limits see it.
pub struct CollectionBase {
    pub collection: Collection,
    /// Records now; `None` when the read was not complete.
    pub now: Option<u64>,
    /// Records at the last good run.
    pub before: Option<u64>,
}

/// A type that the job made records of and no longer names.
pub struct Orphan {
    pub ty: String,
    /// Records the ledger owns there.
    pub owned: u64,
}

/// What an edited job leaves behind. Nothing is done with it in the target; once a person agrees, it is released: the
/// job owns it no longer.
pub fn orphaned(orphans: &[Orphan], approved: &Approved) -> Vec<LimitCheck> {
    let check = |orphan: &Orphan| {
        let Orphan { ty, owned } = orphan;
        let agreed = approved.contains(LimitName::FilterEdit, ty, &state_key(*owned), None);
        let fate = match agreed {
            true => "and are released: the job owns them no longer",
            false => "and stay owned until that is approved",
        };
        LimitCheck {
            limit: LimitName::FilterEdit,
            on: ty.clone(),
            count: *owned,
            allowed: 0,
            base: *owned,
            approved: if agreed { *owned } else { 0 },
            held: false,
            words: format!("no mapping of the job makes {ty} any more; its {owned} records stay as they are {fate}"),
        }
    };
    orphans.iter().map(check).collect()
}

/// Tests every limit; returns those that are passed, held or approved.
pub fn check(
    limits: &Limits,
    types: &[TypeBase<'_>],
    collections: &[CollectionBase],
    approved: &Approved,
) -> Vec<LimitCheck> {
    let mut checks = Vec::new();
    for ty in types {
        per_type(limits, ty, approved, &mut checks);
    }
    whole_run(limits, types, &mut checks);
    for collection in collections {
        checks.extend(shrunk(limits, collection, approved));
    }
    checks
}

fn per_type(limits: &Limits, ty: &TypeBase<'_>, approved: &Approved, checks: &mut Vec<LimitCheck>) {
    let first = ty.first;
    for (limit, rule) in verbs(limits) {
        let (count, approved) = ty.tally.counts.get(&limit).copied().unwrap_or_default();
        let exempt = match limit {
            LimitName::Creates => ty.creates_are_free(),
            // The first run's adopts wait for `first-run`, whatever their number.
            LimitName::Adopts => first,
            _ => false,
        };
        if !exempt {
            checks.extend(passed(limit, ty.name, count, approved, ty.base(), rule));
        }
    }
    if first {
        let (adopts, approved) = ty.tally.counts.get(&LimitName::Adopts).copied().unwrap_or_default();
        if adopts > 0 {
            checks.push(LimitCheck {
                limit: LimitName::FirstRun,
                on: ty.name.into(),
                count: adopts,
                allowed: 0,
                base: ty.there,
                approved,
                held: approved < adopts,
                words: first_run_words(ty, adopts),
            });
        }
    }
    if ty.edited > 0 {
        checks.push(LimitCheck {
            limit: LimitName::FilterEdit,
            on: ty.name.into(),
            count: ty.edited,
            allowed: 0,
            base: ty.owned,
            approved: 0,
            // They wait, and nothing of theirs is in the plan: the rest may go through.
            held: false,
            words: format!(
                "{} {} of {} left only because the job was edited",
                ty.edited,
                if ty.edited == 1 { "record" } else { "records" },
                ty.name
            ),
        });
    }
    for (attribute, (count, approved)) in &ty.tally.attributes {
        let on = format!("{}.{attribute}", ty.name);
        checks.extend(passed(LimitName::OneAttribute, &on, *count, *approved, ty.base(), limits.one_attribute));
    }
    let percent = limits.target_holds_percent;
    if ty.complete && (ty.owned_there as f64) < ty.owned as f64 * percent / 100.0 {
        let accepted = approved.contains(LimitName::TargetEmptied, ty.name, &state_key(ty.owned_there), None);
        checks.push(LimitCheck {
            limit: LimitName::TargetEmptied,
            on: ty.name.into(),
            count: ty.owned - ty.owned_there,
            allowed: 0,
            base: ty.owned,
            approved: if accepted { ty.owned - ty.owned_there } else { 0 },
            held: !accepted,
            words: format!(
                "{} holds only {} of the {} records that this job owns there (under {percent} %). If it was emptied, lost \
                 or restored from an older copy, put it back as it was; approve only what is meant to be so",
                ty.name, ty.owned_there, ty.owned
            ),
        });
    }
}

fn first_run_words(ty: &TypeBase<'_>, adopts: u64) -> String {
    let why = match ty.job_ran {
        true => format!("this job owns no {}", ty.name),
        false => "no full run of this job has gone through yet".to_owned(),
    };
    let mut words = format!("{why}, and it would take over {adopts} of the {1} records of {0}", ty.name, ty.there);
    if ty.owned == 0 && ty.entra_ids > 0 {
        words.push_str(&format!(
            ". {} of them carry Entra ids, and this state folder knows none of them: if the job ran before, its state lies \
             elsewhere; name that folder in [state], or bring its ledger with `entra-import state import`",
            ty.entra_ids
        ));
    }
    words
}

/// The limits on verbs, which all work alike.
fn verbs(limits: &Limits) -> [(LimitName, Limit); 5] {
    [
        (LimitName::Creates, limits.creates),
        (LimitName::Adopts, limits.adopts),
        (LimitName::Updates, limits.updates),
        (LimitName::Retires, limits.removals),
        (LimitName::LinksRemoved, limits.links_removed),
    ]
}

fn whole_run(limits: &Limits, types: &[TypeBase<'_>], checks: &mut Vec<LimitCheck>) {
    if types.len() < 2 {
        return;
    }
    for (limit, rule) in verbs(limits) {
        let first_into_empty = |ty: &&TypeBase<'_>| {
            !(ty.first && limit == LimitName::Adopts || limit == LimitName::Creates && ty.creates_are_free())
        };
        let counted: Vec<&TypeBase<'_>> = types.iter().filter(first_into_empty).collect();
        let base = counted.iter().map(|ty| ty.base()).sum();
        let (count, approved) = counted
            .iter()
            .filter_map(|ty| ty.tally.counts.get(&limit))
            .fold((0, 0), |sum, count| (sum.0 + count.0, sum.1 + count.1));
        checks.extend(passed(limit, "run", count, approved, base, rule));
    }
}

/// `n > max(floor, percent × base)`, counting what was not approved.
fn passed(limit: LimitName, on: &str, count: u64, approved: u64, base: u64, rule: Limit) -> Option<LimitCheck> {
    let floor = match limit {
        // Ten leavers are nothing in a thousand and everything in ten.
        LimitName::Retires => rule.floor.min(base / 2),
        _ => rule.floor,
    };
    let share = (rule.percent / 100.0 * base as f64).floor() as u64;
    let allowed = floor.max(share);
    (count > allowed).then(|| LimitCheck {
        limit,
        on: on.into(),
        count,
        allowed,
        base,
        approved,
        held: count - approved.min(count) > allowed,
        words: format!(
            "{count} {} on {on}, where at most {allowed} go through unasked ({} % of {base}, floor {floor})",
            verb_words(limit),
            rule.percent
        ),
    })
}

fn verb_words(limit: LimitName) -> &'static str {
    match limit {
        LimitName::Creates => "creates",
        LimitName::Adopts => "adopts",
        LimitName::Updates => "updates",
        LimitName::LinksRemoved => "removals of links",
        LimitName::OneAttribute => "changes of one attribute",
        _ => "removals",
    }
}

fn shrunk(limits: &Limits, collection: &CollectionBase, approved: &Approved) -> Option<LimitCheck> {
    let (now, before) = (collection.now?, collection.before?);
    let name = collection.collection.name();
    let lost = before.saturating_sub(now);
    let share = (limits.shrink.percent / 100.0 * before as f64).floor() as u64;
    let (limit, allowed) = if now == 0 && before > 0 {
        (LimitName::EmptyCollection, 0)
    } else {
        (LimitName::Shrink, limits.shrink.floor.max(share))
    };
    if lost <= allowed {
        return None;
    }
    let accepted = approved.contains(limit, name, &state_key(now), None);
    Some(LimitCheck {
        limit,
        on: name.into(),
        count: lost,
        allowed,
        base: before,
        approved: if accepted { lost } else { 0 },
        held: !accepted,
        words: format!("{name} had {before} records at the last good run and has {now} now"),
    })
}

/// What a limit without records is approved by: the very number a person saw.
pub fn state_key(count: u64) -> Key {
    Key::Text(format!("{count} records").into())
}

#[cfg(test)]
#[path = "limits_tests.rs"]
mod tests;
