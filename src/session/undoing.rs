//! The plan that takes back what one run wrote.
//!
//! Hides where what a run did is kept, and which approvals belong to a reverse. Deliberately reads no source, and decides
//! about no record: that is [`crate::plan::undo`].

use std::collections::BTreeSet;

use super::Session;
use super::planning::LedgerRows;
use crate::error::{Error, Result};
use crate::ledger::{ApprovalId, Ledger, RunId};
use crate::plan::change::Row;
use crate::plan::decide::Times;
use crate::plan::limits::Approved;
use crate::plan::undo::{self, Done, History};
use crate::plan::{Approval, Plan, file};
use crate::record::Key;
use crate::sides;
use crate::target::Target;
use crate::visible::shell_word;

impl Session<'_> {
    /// Plans the reverse of a run. Reads the target; writes nothing.
    pub async fn plan_undo(&mut self, run: RunId, target: &dyn Target) -> Result<Plan> {
        self.undoes = true;
        let job = shell_word(&self.options.view.job_file);
        let nothing = || {
            Error::usage(format!("there is nothing to take back of a run {run} of this job"))
                .cause("it does not exist, it wrote nothing, or what it wrote is no longer kept")
                .hint(format!("`entra-import history {job}` lists the runs, and which of them can be taken back"))
        };
        let ledger = self.ledger.as_ref().ok_or_else(nothing)?;
        let written = ledger.types_written(run)?;
        if written.is_empty() {
            return Err(nothing());
        }
        let unknown = written.iter().find(|ty| !self.types.iter().any(|policy| policy.spec.name == **ty));
        if let Some(ty) = unknown {
            return Err(Error::usage(format!("run {run} wrote {ty}, which no mapping of the job makes now"))
                .hint("put the mapping back into the job, take the run back, and take the mapping out again"));
        }
        let mut types = Vec::new();
        for policy in self.policies(target).await?.into_iter().filter(|policy| written.contains(&policy.spec.name)) {
            let current = sides::current(target, &policy, self.ledger.as_ref()).await?;
            types.push((policy, current));
        }
        // The source is not read: snapshots that are applied later stay measured by the last one that was.
        let source_as_of = ledger.last_snapshot_as_of()?.unwrap_or(self.as_of);
        let inputs = undo::Inputs {
            header: self.bare_header(source_as_of)?,
            times: Times { as_of: self.as_of, source_as_of },
            limits: &self.job.limits,
            approved: Approved::new(self.approvals_here().map(|(_, approval)| approval)),
            rows: &LedgerRows(Some(ledger)),
            history: &WrittenBy(ledger, run),
            run: run.to_string(),
        };
        let mut plan = undo::reverse(inputs, &types)?;
        file::identify(&mut plan)?;
        Ok(plan)
    }

    /// After a run was taken back: what was approved of it is used up, what was approved for the nights is not.
    pub fn use_up_approvals_of(&mut self, plan: &Plan) -> Result<()> {
        let mut touched = BTreeSet::new();
        for change in plan.changes() {
            let change = change?;
            touched.insert((change.ty, change.key));
        }
        let is_of = |approval: &Approval| {
            approval.records.iter().any(|record| touched.contains(&(record.ty.clone(), record.key.clone())))
        };
        let used: Vec<ApprovalId> =
            self.approvals_here().filter(|(_, approval)| is_of(approval)).map(|(id, _)| *id).collect();
        match (self.ledger.as_mut(), self.run) {
            (Some(ledger), Some(run)) => {
                ledger.use_up(&used, run)?;
                ledger.release_held(true)
            }
            _ => Ok(()),
        }
    }
}

/// What a run wrote, and what became of it.
struct WrittenBy<'a>(&'a Ledger, RunId);

impl History for WrittenBy<'_> {
    fn each(&self, ty: &str, each: &mut dyn FnMut(Key, Done) -> Result<()>) -> Result<()> {
        self.0.written(self.1, ty, each)
    }

    fn row(&self, ty: &str, key: &Key) -> Result<Option<Row>> {
        self.0.row(ty, key)
    }

    fn written_since(&self, ty: &str) -> Result<BTreeSet<Key>> {
        self.0.written_since(self.1, ty)
    }
}
