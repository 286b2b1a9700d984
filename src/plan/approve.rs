//! A person's word about a plan: which records a limit would let through, and what a plan is held by.
//!
//! Pure: who approves and when are inputs, storing it is the ledger's business.

use jiff::Timestamp;

use super::change::NoteKind;
use super::limits::{Counted, counted, state_key};
use super::{Approval, ApprovedRecord, LimitCheck, LimitName, Plan};
use crate::error::{Error, Result};

impl Plan {
    /// Limits that wait for a person: those that hold the run, and an edited scope.
    pub fn waiting(&self) -> Vec<&LimitCheck> {
        self.header.limits.iter().filter(|check| check.waits()).collect()
    }

    /// The types whose records the job lets go of: no mapping makes them any more, and a person agreed.
    pub fn released(&self) -> impl Iterator<Item = &str> {
        let named = |check: &LimitCheck| self.header.types.iter().any(|ty| ty.spec.name == check.on);
        let agreed = move |check: &&LimitCheck| {
            check.limit == LimitName::FilterEdit && !check.waits() && check.count > 0 && !named(check)
        };
        self.header.limits.iter().filter(agreed).map(|check| check.on.as_str())
    }

    /// Whether the run must stop before its first write.
    pub fn is_held(&self) -> bool {
        self.header.limits.iter().any(|check| check.held)
    }
}

/// The records of the plan that one limit counts, as a person's approval of exactly these. `scope` is the job's scope
/// now, which approving `filter-edit` accepts.
pub fn approval(plan: &Plan, limit: LimitName, by: &str, at: Timestamp, scope: &str) -> Result<Approval> {
    let checks: Vec<&LimitCheck> = plan.waiting().into_iter().filter(|check| check.limit == limit).collect();
    if checks.is_empty() {
        let mut held: Vec<&str> = plan.waiting().iter().map(|check| check.limit.word()).collect();
        held.sort_unstable();
        held.dedup();
        let error = Error::usage(format!("plan {} is not held by the limit {limit}", plan.header.id));
        return Err(match held.is_empty() {
            true => error.hint("nothing of it waits for approval"),
            false => error.hint(format!("it waits for: {}", held.join(", "))),
        });
    }
    let mut records = Vec::new();
    match limit {
        LimitName::EmptyCollection | LimitName::Shrink | LimitName::TargetEmptied => {
            // Nothing but a number was shown, so the number is what is approved.
            records.extend(checks.iter().map(|check| ApprovedRecord {
                ty: check.on.clone(),
                key: state_key(check.base - check.count),
                cause: None,
                shown: None,
            }));
        }
        LimitName::FilterEdit => {
            let notes = plan.notes().iter().filter(|note| note.kind == NoteKind::FilterEdit);
            let shown = notes.map(|note| (note.ty.clone(), note.key.clone()));
            // A type that no mapping makes any more is shown as a number.
            let orphans = checks.iter().filter(|check| is_number(plan, check));
            let orphans = orphans.map(|check| (check.on.clone(), state_key(check.count)));
            records.extend(shown.chain(orphans).map(|(ty, key)| ApprovedRecord { ty, key, cause: None, shown: None }));
        }
        _ => {
            for change in plan.changes() {
                let change = change?;
                let ty = plan.header.types.iter().find(|ty| ty.spec.name == change.ty);
                let links = ty.is_some_and(|ty| ty.links);
                let cause = change.cause.as_ref().map(|cause| cause.kind);
                // Adopts are what a first run waits for.
                let limit = if limit == LimitName::FirstRun { LimitName::Adopts } else { limit };
                let counts = counted(&change, links).into_iter().filter(|counted| counted.limit == limit);
                records.extend(counts.filter(|counted| shows(&checks, &change.ty, counted)).map(|counted| {
                    ApprovedRecord { ty: change.ty.clone(), key: change.key.clone(), cause, shown: counted.shown }
                }));
            }
        }
    }
    let scope = (limit == LimitName::FilterEdit).then(|| scope.to_string());
    let (of, undoes) = (plan.header.id.clone(), plan.header.undoes.is_some());
    Ok(Approval { limit, plan: of, at, by: by.to_string(), records, undoes, scope })
}

/// How many records an approval of this plan is about, for people: where a number stands for records, that many.
pub fn covered(plan: &Plan, approval: &Approval) -> u64 {
    let numbers = plan.waiting().into_iter().filter(|check| check.limit == approval.limit && is_number(plan, check));
    let shown = numbers.clone().count() as u64;
    approval.records.len() as u64 - shown + numbers.map(|check| check.count).sum::<u64>()
}

/// Whether a check shows no more than a number: of a collection, or of a type that no mapping makes any more.
fn is_number(plan: &Plan, check: &LimitCheck) -> bool {
    match check.limit {
        LimitName::EmptyCollection | LimitName::Shrink | LimitName::TargetEmptied => true,
        LimitName::FilterEdit => !plan.header.types.iter().any(|ty| ty.spec.name == check.on),
        _ => false,
    }
}

/// Whether one of the held checks is about this: of many attributes, only those that were held were shown.
fn shows(checks: &[&LimitCheck], ty: &str, counted: &Counted) -> bool {
    match (counted.limit, &counted.shown) {
        (LimitName::OneAttribute, Some(attribute)) => {
            checks.iter().any(|check| check.on == format!("{ty}.{attribute}"))
        }
        _ => checks.iter().any(|check| check.on == ty || check.on == "run"),
    }
}
