//! What became of a plan that was applied: counts, and each change that was not done by name.
//!
//! Hides where the names of a target that refused half a million records are kept: in a spill. Deliberately neither
//! renders nor decides what an outcome means for the exit code.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::plan::change::{Action, Change};
use crate::plan::{Header, Plan};
use crate::record::Key;
use crate::spill::{Place, Spill, SpillWriter};
use crate::target::Outcome;

/// A change that was not done, and why.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct NotDone {
    pub action: Action,
    #[serde(rename = "type")]
    pub ty: String,
    pub key: Key,
    pub label: String,
    /// Never [`Outcome::Done`].
    #[serde(flatten)]
    pub outcome: Outcome,
}

/// Counts outcomes while a plan is applied.
pub struct Tally {
    totals: Totals,
    not_done: SpillWriter<NotDone>,
    places: Vec<Place>,
}

/// How many changes had which outcome.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
pub struct Totals {
    pub done: BTreeMap<Action, u64>,
    pub rejected: u64,
    pub uncertain: u64,
    pub not_attempted: u64,
}

impl Totals {
    /// How many were done, whatever the action.
    pub fn all_done(&self) -> u64 {
        self.done.values().sum()
    }

    /// How many were not, for whatever reason.
    pub fn all_not_done(&self) -> u64 {
        self.rejected + self.uncertain + self.not_attempted
    }
}

/// What only the run knows about itself.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Effort {
    /// Names the run in history and logs.
    pub run: String,
    /// From the start of the run to the last commit.
    pub took: Duration,
    pub source_requests: u64,
    /// Zero for targets that are files.
    pub target_requests: u64,
}

/// A plan that was applied, whole or in part.
pub struct Applied {
    /// Of the plan that was applied.
    pub header: Header,
    /// Notes of that plan.
    pub notes: u64,
    pub totals: Totals,
    pub effort: Effort,
    not_done: Spill<NotDone>,
    places: Vec<Place>,
}

impl Tally {
    pub fn new() -> Result<Tally> {
        Ok(Tally { totals: Totals::default(), not_done: SpillWriter::new()?, places: Vec::new() })
    }

    /// Takes note of one outcome; call it once per change, in the plan's order.
    pub fn count(&mut self, change: &Change, outcome: &Outcome) -> Result<()> {
        match outcome {
            Outcome::Done { .. } => {
                *self.totals.done.entry(change.action).or_default() += 1;
                return Ok(());
            }
            Outcome::Rejected { .. } => self.totals.rejected += 1,
            Outcome::Uncertain { .. } => self.totals.uncertain += 1,
            Outcome::NotAttempted { .. } => self.totals.not_attempted += 1,
        }
        let not_done = NotDone {
            action: change.action,
            ty: change.ty.clone(),
            key: change.key.clone(),
            label: change.label.clone(),
            outcome: outcome.clone(),
        };
        self.places.push(self.not_done.push(&not_done)?);
        Ok(())
    }

    /// The counts so far.
    pub fn totals(&self) -> &Totals {
        &self.totals
    }

    /// Closes the count; `plan` is what was applied.
    pub fn finish(self, plan: &Plan, effort: Effort) -> Result<Applied> {
        Ok(Applied {
            header: plan.header.clone(),
            notes: plan.notes().len() as u64,
            totals: self.totals,
            effort,
            not_done: self.not_done.finish()?,
            places: self.places,
        })
    }
}

impl Applied {
    /// What an apply came to.
    pub fn new(plan: &Plan, applied: &crate::apply::Applied, effort: Effort) -> Result<Applied> {
        let mut totals = Totals::default();
        for ty in &applied.types {
            ty.done.iter().for_each(|(action, n)| *totals.done.entry(*action).or_default() += n);
            totals.rejected += ty.rejected;
            totals.uncertain += ty.uncertain;
            totals.not_attempted += ty.not_attempted;
        }
        let mut tally = Tally { totals, ..Tally::new()? };
        for not_done in applied.not_done() {
            let crate::apply::NotDone { ty, key, label, action, outcome } = not_done?;
            tally.places.push(tally.not_done.push(&NotDone { action, ty, key, label, outcome })?);
        }
        tally.finish(plan, effort)
    }

    /// Every change that was not done, in the order of applying.
    pub fn not_done(&self) -> impl Iterator<Item = Result<NotDone>> + '_ {
        self.places.iter().map(|place| self.not_done.get(*place))
    }
}
