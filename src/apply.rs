//! Carrying out a plan: target and ledger change together, and every change ends in exactly one outcome.
//!
//! Hides the dance between target and journal that makes a crash at any instant harmless, and what is left to say when
//! something fails half-way. Deliberately decides nothing about records: whether a plan may be applied (limits,
//! approvals, age) is settled by the caller, what it contains by [`crate::plan`].
//!
//! **Order.** Types in the order of the plan's header; each type is one batch that becomes visible all at once, so its
//! creates, updates, retires and deletes lie in one stage, in the plan's order. A reference may therefore point, for
//! the time between two commits, to a record that a later type brings or that an earlier one took away; the plan puts
//! referenced types first. What concerns the ledger alone (settle, forget) becomes durable together with its type.

mod staging;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};

use serde::{Deserialize, Serialize};

use crate::crash;
use crate::error::{Error, Exit, Result};
use crate::ledger::{Ledger, RunId};
use crate::plan::Plan;
use crate::plan::change::{Action, Change};
use crate::record::Key;
use crate::report::log::Step;
use crate::spill::{Place, Spill, SpillWriter};
use crate::target::{BatchMark, Interrupted, Outcome, Target};
use staging::{Staged, Staging};

/// How the caller watches and stops an apply.
pub struct Watch<'a> {
    /// Called for every change that was staged.
    pub progress: &'a mut (dyn FnMut(Progress<'_>) + Send),
    /// Looked at before each type: once true, what is left is not attempted.
    pub stop: &'a AtomicBool,
}

/// How far an apply has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Progress<'a> {
    /// The target type at work.
    pub ty: &'a str,
    pub done: u64,
    /// All changes of the plan.
    pub of: u64,
}

/// What became of the changes of one type.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct TypeOutcome {
    #[serde(rename = "type")]
    pub ty: String,
    pub done: BTreeMap<Action, u64>,
    pub rejected: u64,
    pub uncertain: u64,
    pub not_attempted: u64,
}

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

/// What became of a plan.
pub struct Applied {
    /// One for each type of the plan, in its order.
    pub types: Vec<TypeOutcome>,
    /// Why it ended before its end.
    pub stopped: Option<Error>,
    not_done: Spill<NotDone>,
    places: Vec<Place>,
}

impl Applied {
    /// An outcome put together by hand, for tests of what reads one.
    #[cfg(test)]
    pub(crate) fn of(types: Vec<TypeOutcome>, not_done: &[NotDone]) -> Result<Applied> {
        let mut spill = SpillWriter::new()?;
        let places = not_done.iter().map(|not_done| spill.push(not_done)).collect::<Result<_>>()?;
        Ok(Applied { types, stopped: None, not_done: spill.finish()?, places })
    }

    /// Every change that was not done; by type in the plan's order, those that were refused first.
    pub fn not_done(&self) -> impl Iterator<Item = Result<NotDone>> + '_ {
        self.places.iter().map(|place| self.not_done.get(*place))
    }

    /// What the run ends with on this account: why it stopped, else partial when something was not done. Exceptions
    /// that the job accepts are the caller's business.
    pub fn exit(&self) -> Exit {
        match &self.stopped {
            Some(error) => error.exit,
            None if self.places.is_empty() => Exit::Done,
            None => Exit::Partial,
        }
    }
}

/// Settles what an earlier run left unfinished; call it before anything is planned, holding the job's lock. Says what
/// was found, one sentence each.
pub async fn settle(target: &impl Target, ledger: &mut Ledger, current: RunId) -> Result<Vec<String>> {
    let mut words = Vec::new();
    for run in ledger.unfinished_runs()?.iter().rev().filter(|run| run.id != current) {
        words.push(format!("Run {} ({}, {}) started and never finished.", run.id, run.kind, run.as_of));
    }
    for batch in ledger.unfinished_batches()? {
        let found = target.settle(&batch.mark).await?;
        crash::point("interrupted batch looked at");
        let (ty, run) = (&batch.ty, batch.run);
        words.push(match found {
            Interrupted::Committed => {
                ledger.commit_batch(batch.id)?;
                format!("Run {run} had written {ty} to the target when it ended: recorded now.")
            }
            Interrupted::Discarded => {
                ledger.discard_batch(batch.id)?;
                format!("Run {run} ended before it had written {ty} to the target: nothing to put right.")
            }
            Interrupted::Neither => {
                ledger.forget_values(batch.id)?;
                format!(
                    "Run {run} ended while writing {ty}, and {} was changed by someone else since: the last written \
                     values of the records it was about are forgotten, and are compared anew.",
                    batch.mark.path.display()
                )
            }
        });
    }
    ledger.mark_interrupted(current)?;
    Ok(words)
}

/// Applies the plan. `run` is the run it belongs to.
///
/// An error means that nothing was begun: a stale plan (exit 9), a plan of another job, a batch still to settle.
/// Whatever fails later is in [`Applied::stopped`]: what was committed until then stays, what was not is listed as not
/// attempted, or as uncertain where the next run has to look. (One exception: when the temporary files fail that hold
/// the plan and the outcomes, the outcomes are lost with them; target and ledger are still as after a crash.)
pub async fn apply(
    plan: &Plan,
    target: &impl Target,
    ledger: &mut Ledger,
    run: RunId,
    watch: &mut Watch<'_>,
) -> Result<Applied> {
    refuse_unfit(plan, target, ledger)?;
    let mut sink = Sink { not_done: SpillWriter::new()?, places: Vec::new(), seen: 0, of: plan.len() as u64 };
    ledger.run_applies(run, &plan.header)?;
    let mut types = Vec::new();
    let mut stopped = None;
    for (index, summary) in plan.header.types.iter().enumerate() {
        let mut work = TypeWork { plan, index, ledger, run, sink: &mut sink, watch };
        let mut outcome = TypeOutcome { ty: summary.spec.name.clone(), ..TypeOutcome::default() };
        if stopped.is_none() && work.watch.stop.load(Ordering::Relaxed) {
            stopped = Some(stopped_on_request(&outcome.ty));
        }
        match &stopped {
            None => stopped = work.apply(target, &mut outcome).await?,
            Some(error) => work.rest(&mut outcome, &[], &Ending::NotAttempted(reason(error)))?,
        }
        types.push(outcome);
    }
    let Sink { not_done, places, .. } = sink;
    Ok(Applied { types, stopped, not_done: not_done.finish()?, places })
}

fn stopped_on_request(ty: &str) -> Error {
    Error::new(Exit::Partial, format!("stopped on request before {ty}"))
        .hint("run the job again: it goes on where this run stopped")
}

/// The one line of an error that stands beside each record.
fn reason(error: &Error) -> String {
    error.causes.first().map_or_else(|| error.what.clone(), |cause| format!("{}: {cause}", error.what))
}

fn refuse_unfit(plan: &Plan, target: &impl Target, ledger: &Ledger) -> Result<()> {
    let header = &plan.header;
    let name = &header.id;
    if let Some(why) = &header.preview {
        return Err(Error::new(Exit::Stale, format!("plan {name} is a preview and cannot be applied")).cause(why));
    }
    let own = ledger.identity()?;
    for (word, planned, own) in [
        ("job", &header.job, &own.job),
        ("tenant", &header.tenant, &own.tenant),
        ("target", &header.target, &own.target),
        ("target", &target.identity(), &own.target),
    ] {
        if planned != own {
            return Err(Error::usage(format!("plan {name} is for the {word} {planned:?}, the ledger for {own:?}"))
                .hint("apply it with the job it was made from"));
        }
    }
    if !target.capabilities().batch {
        return Err(Error::failed(format!("a defect: {} does not write in batches", target.identity())));
    }
    if let Some(batch) = ledger.unfinished_batches()?.first() {
        return Err(Error::failed(format!("run {} left {} unfinished in the ledger", batch.run, batch.ty))
            .hint("run the job again: a run settles that first"));
    }
    let generation = ledger.generation()?;
    if header.generation != generation {
        return Err(Error::new(Exit::Stale, format!("plan {name} is stale"))
            .cause(format!("it was made at generation {} of the ledger, which is at {generation}", header.generation))
            .hint("make a new plan"));
    }
    Ok(())
}

/// Where outcomes other than done go.
struct Sink {
    not_done: SpillWriter<NotDone>,
    places: Vec<Place>,
    /// Changes that were staged, for the progress.
    seen: u64,
    of: u64,
}

impl Sink {
    fn push(&mut self, change: &Change, outcome: Outcome) -> Result<()> {
        let (ty, key, label, action) = (change.ty.clone(), change.key.clone(), change.label.clone(), change.action);
        let place = self.not_done.push(&NotDone { ty, key, label, action, outcome })?;
        self.places.push(place);
        Ok(())
    }
}

/// How the changes of a failed type ended that the target did not refuse one by one.
enum Ending {
    NotAttempted(String),
    Uncertain(String),
}

/// One type of the plan at work.
struct TypeWork<'a, 'w> {
    plan: &'a Plan,
    /// Of the type in the plan's header.
    index: usize,
    ledger: &'a mut Ledger,
    run: RunId,
    sink: &'a mut Sink,
    watch: &'a mut Watch<'w>,
}

impl TypeWork<'_, '_> {
    /// Applies the type whole or not at all, and accounts for each of its changes. Gives back why everything after it
    /// must not be attempted.
    async fn apply(&mut self, target: &impl Target, outcome: &mut TypeOutcome) -> Result<Option<Error>> {
        let step = Step::begin("stage");
        let staged = self.stage(target, outcome).await;
        step.end(&outcome.ty);
        let (refused, ended) = match staged {
            Ok(Staged { mark, rows, done, refused }) => {
                let ended = match mark {
                    Some(mark) => self.commit(target, &mark, rows).await,
                    None => self.ledger.write_rows(self.run, &outcome.ty, rows.iter()).map_err(not_attempted),
                };
                (refused, ended.map(|()| done))
            }
            Err((refused, error)) => (refused, Err(not_attempted(error))),
        };
        match ended {
            Ok(done) => {
                outcome.done = done;
                Ok(None)
            }
            Err((ending, error)) => {
                self.rest(outcome, &refused, &ending)?;
                Ok(Some(error))
            }
        }
    }

    /// Gives the changes that were not refused (by position within the type) their common end.
    fn rest(&mut self, outcome: &mut TypeOutcome, refused: &[u32], ending: &Ending) -> Result<()> {
        let mut refused = refused.iter().peekable();
        for (position, change) in self.plan.changes_of(self.index).enumerate() {
            if refused.next_if(|refused| **refused as usize == position).is_some() {
                continue;
            }
            let change = change?;
            match ending {
                Ending::NotAttempted(reason) => {
                    outcome.not_attempted += 1;
                    self.sink.push(&change, Outcome::NotAttempted { reason: reason.clone() })?;
                }
                Ending::Uncertain(reason) => {
                    outcome.uncertain += 1;
                    self.sink.push(&change, Outcome::Uncertain { reason: reason.clone() })?;
                }
            }
        }
        Ok(())
    }

    /// Stages what the target is to write and collects the ledger's rows. On failure: the refused so far, and why.
    async fn stage(&mut self, target: &impl Target, outcome: &mut TypeOutcome) -> Result<Staged, (Vec<u32>, Error)> {
        let spec = &self.plan.header.types[self.index].spec;
        let staging = Staging::new(outcome, self.sink, self.watch).map_err(|error| (Vec::new(), error))?;
        let mark = {
            let mut changes = staging.changes(self.plan, self.index);
            match changes.next() {
                // Nothing for the target: what concerns the ledger alone has been collected on the way.
                None => None,
                Some(first) => {
                    crash::point("before stage");
                    let mut changes = std::iter::once(first).chain(changes);
                    let mut answer = |change: &Change, outcome| staging.answer(change, outcome);
                    match target.stage(spec, &mut changes, &mut answer).await {
                        Ok(mark) => Some(mark),
                        Err(error) => return Err((staging.refused(), error)),
                    }
                }
            }
        };
        crash::point("after stage");
        let refused = staging.refused();
        let error = match staging.finish() {
            Ok((rows, done)) => return Ok(Staged { mark, rows, done, refused }),
            Err(error) => error,
        };
        if let Some(mark) = mark {
            clear_away(target, &mark).await;
        }
        Err((refused, error))
    }

    async fn commit(
        &mut self,
        target: &impl Target,
        mark: &BatchMark,
        rows: staging::Rows,
    ) -> Result<(), (Ending, Error)> {
        let ty = &self.plan.header.types[self.index].spec.name;
        let step = Step::begin("journal");
        let batch = match self.ledger.journal_batch(self.run, ty, mark, rows.iter()) {
            Ok(batch) => batch,
            Err(error) => {
                clear_away(target, mark).await;
                return Err(not_attempted(error));
            }
        };
        step.end(ty);
        crash::point("before the target's commit");
        let committed = target.commit(mark).await;
        crash::point("after the target's commit");
        if let Err(error) = committed {
            // Only "the old state stands" is certain enough to act on: what looks committed after a failed commit may
            // not be on the disk yet. The next run looks again.
            if matches!(target.settle(mark).await, Ok(Interrupted::Discarded)) {
                return match self.ledger.discard_batch(batch) {
                    Ok(()) => Err(not_attempted(error)),
                    Err(of_ledger) => Err((Ending::NotAttempted(reason(&error)), of_ledger)),
                };
            }
            let why = format!("{}; the next run looks what became of it", reason(&error));
            return Err((Ending::Uncertain(why), error));
        }
        let step = Step::begin("record");
        self.ledger.commit_batch(batch).map_err(|error| {
            let why = format!("written, but not recorded ({}); the next run records it", reason(&error));
            (Ending::Uncertain(why), error)
        })?;
        step.end(ty);
        Ok(())
    }
}

fn not_attempted(error: Error) -> (Ending, Error) {
    (Ending::NotAttempted(reason(&error)), error)
}

/// Takes away what was staged and will never be committed. That nothing was committed is certain, so a failure here
/// costs a left-over file that the next stage replaces, and must not hide the error that led here.
async fn clear_away(target: &impl Target, mark: &BatchMark) {
    if let Err(error) = target.settle(mark).await {
        tracing::warn!("cannot clear away {}: {error}", mark.staged.display());
    }
}
