//! Whether a saved plan is still the plan that would be made.
//!
//! Hides how a target that moved is told from one that stands as the plan saw it. Deliberately reads of the target only
//! the types that the plan writes, and the source not at all.

use std::collections::BTreeMap;

use super::Session;
use crate::error::{Error, Exit, Result};
use crate::plan::Plan;
use crate::plan::change::{Action, AttributeChange, Change, Current};
use crate::plan::decide::TypePolicy;
use crate::sides;
use crate::target::Target;

impl Session<'_> {
    /// Refuses a saved plan that is no longer what would be planned: another job, too old, or a target that moved.
    pub async fn refuse_stale(&self, plan: &Plan, target: &dyn Target) -> Result<()> {
        let name = &plan.header.id;
        let stale =
            |why: String| Error::new(Exit::Stale, format!("plan {name} is stale")).cause(why).hint("make a new plan");
        if plan.header.job_hash != self.job.hash() {
            return Err(stale("the job or one of its mappings was edited since".into()));
        }
        let age = self.as_of.duration_since(plan.header.as_of);
        if age > self.job.plan_max_age {
            let (made, max) = (plan.header.as_of, self.job.plan_max_age);
            return Err(stale(format!(
                "it was made at {made:.0}, longer ago than max_age in [limits] allows ({max:#})"
            )));
        }
        for (index, ty) in plan.header.types.iter().enumerate() {
            let Some(policy) = self.types.iter().find(|policy| policy.spec.name == ty.spec.name) else { continue };
            let mut touched: BTreeMap<String, Change> = BTreeMap::new();
            for change in plan.changes_of(index) {
                let change = change?;
                if let Some(id) = change.target_id.clone().filter(|_| change.action.writes()) {
                    touched.insert(id, change);
                }
            }
            let creates = plan.changes_of(index).any(|change| change.is_ok_and(|c| c.action == Action::Create));
            if touched.is_empty() && !creates {
                continue;
            }
            let current = sides::current(target, policy, self.ledger.as_ref()).await?;
            let mut moved = Vec::new();
            for key in &current.keys {
                let Some(change) = touched.remove(&key.id.to_string()) else { continue };
                let record = current.records.get(key.place)?;
                if change.based_on.as_ref().is_some_and(|before| *before != record.fingerprint()) {
                    moved.push(format!("{} was changed{}", change.label, moved_values(policy, &change, &record)));
                }
            }
            moved.extend(touched.into_values().map(|change| format!("{} is no longer there", change.label)));
            if let Some(first) = moved.first() {
                let more = if moved.len() > 1 { format!(", and {} more", moved.len() - 1) } else { String::new() };
                return Err(stale(format!("the target moved since: in {}, {first}{more}", ty.spec.name)));
            }
        }
        Ok(())
    }
}

/// Which of the values that a change is based on are others now, in words; nothing where it is none of these.
fn moved_values(policy: &TypePolicy, change: &Change, record: &Current) -> String {
    let moved = |written: &&AttributeChange| {
        let at = policy.spec.attributes.iter().position(|spec| spec.name == written.name);
        at.and_then(|at| record.values.get(at)).is_some_and(|now| *now != written.before)
    };
    let names: Vec<&str> = change.attributes.iter().filter(moved).map(|written| written.name.as_str()).collect();
    if names.is_empty() { String::new() } else { format!(" ({})", names.join(", ")) }
}
