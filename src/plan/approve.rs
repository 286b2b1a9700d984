//! A person's word about a plan: which records a limit would let through, and what a plan is held by.
//!
//! Pure: who approves and when are inputs, storing it is the ledger's business.

use jiff::Timestamp;

use super::change::{Action, NoteKind};
use super::limits::{counted, state_key};
use super::{Approval, ApprovedRecord, LimitCheck, LimitName, Plan};
use crate::error::{Error, Result};

impl Plan {
    /// Limits that wait for a person: those that hold the run, and an edited scope.
    pub fn waiting(&self) -> Vec<&LimitCheck> {
        self.header.limits.iter().filter(|check| check.waits()).collect()
    }

    /// Whether the run must stop before its first write.
    pub fn is_held(&self) -> bool {
        self.header.limits.iter().any(|check| check.held)
    }
}

impl LimitCheck {
    /// Whether a person's word is wanted: the run is held, or what left by an edited scope waits while the rest goes on.
    pub fn waits(&self) -> bool {
        self.held || self.limit == LimitName::FilterEdit
    }
}

/// The records of the plan that one limit counts, as a person's approval of exactly these. `scope` is the job's scope
/// now, which approving `filter-edit` accepts.
pub fn approval(plan: &Plan, limit: LimitName, by: &str, at: Timestamp, scope: &str) -> Result<Approval> {
    let checks: Vec<&LimitCheck> = plan.waiting().into_iter().filter(|check| check.limit == limit).collect();
    if checks.is_empty() {
        let held: Vec<&str> = plan.waiting().iter().map(|check| check.limit.word()).collect();
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
            }));
        }
        LimitName::FilterEdit => {
            let notes = plan.notes().iter().filter(|note| note.kind == NoteKind::FilterEdit);
            records.extend(notes.map(|note| ApprovedRecord {
                ty: note.ty.clone(),
                key: note.key.clone(),
                cause: None,
            }));
        }
        _ => {
            for change in plan.changes() {
                let change = change?;
                let ty = plan.header.types.iter().find(|ty| ty.spec.name == change.ty);
                let links = ty.is_some_and(|ty| ty.links);
                let counts = match limit {
                    LimitName::FirstRun => change.action == Action::Adopt,
                    LimitName::OneAttribute => change.action == Action::Update,
                    // An element that is taken out of a set shows as an update of a record.
                    LimitName::LinksRemoved if change.action == Action::Update => true,
                    limit => counted(&change, links, 0).iter().any(|(counted, _)| *counted == limit),
                };
                if counts {
                    let cause = change.cause.as_ref().map(|cause| cause.kind);
                    records.push(ApprovedRecord { ty: change.ty, key: change.key, cause });
                }
            }
        }
    }
    let scope = (limit == LimitName::FilterEdit).then(|| scope.to_string());
    Ok(Approval { limit, plan: plan.header.id.clone(), at, by: by.to_string(), records, scope })
}
