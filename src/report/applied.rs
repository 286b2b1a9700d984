//! What became of a plan that was applied, as reports show it: the plan's header, totals, and what was not done.
//!
//! Adds up what [`crate::apply`] kept per type. Deliberately neither renders nor decides what an outcome means for the
//! exit code.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;

use crate::apply::{self, NotDone};
use crate::error::Result;
use crate::plan::change::Action;
use crate::plan::{Header, Plan};
use crate::snapshot::ReadBy;

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
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Effort {
    /// Names the run in history and logs.
    pub run: String,
    /// From the start of the run to the last commit.
    pub took: Duration,
    pub source_requests: u64,
    /// Zero for targets that are files.
    pub target_requests: u64,
    /// Which way memberships were read, where they were.
    pub memberships: Option<ReadBy>,
}

/// A plan that was applied, whole or in part.
pub struct Applied<'a> {
    /// Of the plan that was applied.
    pub header: &'a Header,
    /// Notes of that plan.
    pub notes: u64,
    pub totals: Totals,
    pub effort: Effort,
    outcome: &'a apply::Applied,
}

impl<'a> Applied<'a> {
    /// `outcome` is what applying `plan` came to.
    pub fn new(plan: &'a Plan, outcome: &'a apply::Applied, effort: Effort) -> Applied<'a> {
        let mut totals = Totals::default();
        for ty in &outcome.types {
            ty.done.iter().for_each(|(action, n)| *totals.done.entry(*action).or_default() += n);
            totals.rejected += ty.rejected;
            totals.uncertain += ty.uncertain;
            totals.not_attempted += ty.not_attempted;
        }
        Applied { header: &plan.header, notes: plan.notes().len() as u64, totals, effort, outcome }
    }

    /// What became of each type's changes.
    pub fn types(&self) -> &[apply::TypeOutcome] {
        &self.outcome.types
    }

    /// Every change that was not done; by type in the plan's order.
    pub fn not_done(&self) -> impl Iterator<Item = Result<NotDone>> + '_ {
        self.outcome.not_done()
    }
}
