//! Carrying out a plan: target and ledger change together, and every change ends in exactly one outcome.
//!
//! Hides the dance between target and journal that makes a crash at any instant harmless, and what is left to say when
//! something fails half-way. Deliberately decides nothing about records: whether a plan may be applied (limits,
//! approvals, age) is settled by the caller, what it contains by [`crate::plan`].
//!
//! **Order.** A target of batches (`batch`) takes type after type in the order of the plan's header, each all at once;
//! a reference may therefore point, for the time between two commits, to a record that a later type brings or that an
//! earlier one took away. Any other target (`records`) takes the changes in the plan's own order, several at a time
//! where none needs another. What concerns the ledger alone (settle, forget) becomes durable together with its type.

mod batch;
mod look;
mod records;
mod staging;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::clock::Clock;
use crate::crash;
use crate::error::{Error, Exit, Result};
use crate::ledger::{Became, Ledger, RunId};
use crate::plan::Plan;
use crate::plan::change::{Action, Change, Refusal, Row, State};
use crate::plan::datum::Datum;
use crate::record::Key;
use crate::spill::{Place, Spill, SpillWriter};
use crate::target::{Interrupted, Outcome, Target, WriteBatches, Writes};
use batch::{Ending, TypeWork};

/// How the caller watches and stops an apply.
pub struct Watch<'a> {
    /// Called for every change that was staged.
    pub progress: &'a mut (dyn FnMut(Progress<'_>) + Send),
    /// Looked at before each type, or each record that is sent by itself: once true, what is left is not attempted.
    pub stop: &'a AtomicBool,
    /// What waits until a target shows what was written are measured by.
    pub clock: &'a Clock,
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
    /// What the target refused, for the plans to come.
    pub refused: Vec<Refusal>,
    not_done: Spill<NotDone>,
    places: Vec<Place>,
}

impl Applied {
    /// An outcome put together by hand, for tests of what reads one.
    #[cfg(test)]
    pub(crate) fn of(types: Vec<TypeOutcome>, not_done: &[NotDone]) -> Result<Applied> {
        let mut spill = SpillWriter::new()?;
        let places = not_done.iter().map(|not_done| spill.push(not_done)).collect::<Result<_>>()?;
        Ok(Applied { types, stopped: None, refused: Vec::new(), not_done: spill.finish()?, places })
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
pub async fn settle(target: &dyn Target, ledger: &mut Ledger, current: RunId, clock: &Clock) -> Result<Vec<String>> {
    let mut words = Vec::new();
    for run in ledger.unfinished_runs()?.iter().rev().filter(|run| run.id != current) {
        words.push(format!("Run {} ({}, {:.0}) started and never finished.", run.id, run.kind, run.as_of));
    }
    match target.writes() {
        Writes::Batches(batches) => settle_batches(batches, ledger, &mut words).await?,
        Writes::Records(records) => {
            let looker = look::Looker { target: records, capabilities: target.capabilities(), clock };
            look::settle(&looker, ledger, &mut words).await?;
        }
    }
    ledger.mark_interrupted(current)?;
    Ok(words)
}

async fn settle_batches(target: &dyn WriteBatches, ledger: &mut Ledger, words: &mut Vec<String>) -> Result<()> {
    ledger.discard_unmarked()?;
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
    Ok(())
}

/// Applies the plan. `run` is the run it belongs to.
///
/// An error means that nothing was begun: a stale plan (exit 9), a plan of another job, a batch still to settle.
/// Whatever fails later is in [`Applied::stopped`]: what was committed until then stays, what was not is listed as not
/// attempted, or as uncertain where the next run has to look; a ledger that fails under way is one of these. (One
/// exception: when the temporary files fail that hold the plan and the outcomes, the outcomes are lost with them; target
/// and ledger are still as after a crash.)
pub async fn apply(
    plan: &Plan,
    target: &dyn Target,
    ledger: &mut Ledger,
    run: RunId,
    watch: &mut Watch<'_>,
) -> Result<Applied> {
    refuse_unfit(plan, target, ledger)?;
    let mut sink = Sink::new(plan)?;
    ledger.run_applies(run, &plan.header)?;
    let (types, stopped) = match target.writes() {
        Writes::Batches(batches) => by_batch(plan, batches, ledger, run, &mut sink, watch).await?,
        Writes::Records(records) => {
            records::Work::new(plan, records, target.capabilities(), ledger, run, &mut sink, watch).run().await?
        }
    };
    let Sink { not_done, places, refused, .. } = sink;
    Ok(Applied { types, stopped, refused, not_done: not_done.finish()?, places })
}

async fn by_batch(
    plan: &Plan,
    target: &dyn WriteBatches,
    ledger: &mut Ledger,
    run: RunId,
    sink: &mut Sink,
    watch: &mut Watch<'_>,
) -> Result<(Vec<TypeOutcome>, Option<Error>)> {
    let mut types = Vec::new();
    let mut stopped = None;
    for (index, summary) in plan.header.types.iter().enumerate() {
        let mut work = TypeWork { plan, index, ledger, run, sink, watch };
        let mut outcome = TypeOutcome { ty: summary.spec.name.clone(), ..TypeOutcome::default() };
        if stopped.is_none() && work.watch.stop.load(Ordering::Relaxed) {
            stopped = Some(stopped_on_request(&format!("before {}", outcome.ty)));
        }
        match &stopped {
            None => stopped = work.apply(target, &mut outcome).await?,
            Some(error) => work.rest(&mut outcome, &[], &Ending::NotAttempted(reason(error)))?,
        }
        types.push(outcome);
    }
    Ok((types, stopped))
}

fn stopped_on_request(when: &str) -> Error {
    Error::new(Exit::Partial, format!("stopped on request {when}"))
        .hint("run the job again: it goes on where this run stopped")
}

/// The one line of an error that stands beside each record.
fn reason(error: &Error) -> String {
    error.causes.first().map_or_else(|| error.what.clone(), |cause| format!("{}: {cause}", error.what))
}

fn refuse_unfit(plan: &Plan, target: &dyn Target, ledger: &Ledger) -> Result<()> {
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
    refused: Vec<Refusal>,
    /// When the plan was made.
    as_of: Timestamp,
    /// Changes that were staged, for the progress.
    seen: u64,
    of: u64,
}

impl Sink {
    fn new(plan: &Plan) -> Result<Sink> {
        let (not_done, places, refused) = (SpillWriter::new()?, Vec::new(), Vec::new());
        Ok(Sink { not_done, places, refused, as_of: plan.header.as_of, seen: 0, of: plan.len() as u64 })
    }

    /// Tells the watcher that one more change was dealt with.
    fn tell(&mut self, ty: &str, watch: &mut Watch<'_>) {
        self.seen += 1;
        (watch.progress)(Progress { ty, done: self.seen, of: self.of });
    }

    /// Remembers what the target refused, as it was planned.
    fn refuse(&mut self, planned: &Change, reason: &str) {
        let (ty, key, reason) = (planned.ty.clone(), planned.key.clone(), reason.to_string());
        self.refused.push(Refusal { ty, key, content: planned.content(), at: self.as_of, reason });
    }

    fn push(&mut self, change: &Change, outcome: Outcome) -> Result<()> {
        let (ty, key, label, action) = (change.ty.clone(), change.key.clone(), change.label.clone(), change.action);
        let place = self.not_done.push(&NotDone { ty, key, label, action, outcome })?;
        self.places.push(place);
        Ok(())
    }
}

/// What a change that was done makes of its record: the planned row with what the target made of the values.
fn as_read_back(change: &Change, target_id: String, read_back: Vec<(String, Datum)>) -> Became {
    let written = change.written(&read_back);
    let row = change.ledger.clone().map(|row| row_read_back(row, change, target_id, read_back));
    Became { key: change.key.clone(), row, written }
}

fn row_read_back(mut row: Row, change: &Change, target_id: String, read_back: Vec<(String, Datum)>) -> Row {
    row.target_id = target_id;
    for (name, value) in read_back {
        if !value.is_known() {
            // Written, but nobody can say what stands there now; the ledger holds known values only.
            row.values.remove(&name);
            continue;
        }
        if let State::Retired(leaving) = &mut row.state
            && let Some((_, flag)) = leaving.before.get_mut(&name)
            && change.attributes.iter().any(|written| written.name == name && written.after == *flag)
        {
            // Compared on return with what stands there: a flag the target spells its own way is still our flag.
            *flag = value.clone();
        }
        if let Some(held) = row.values.get_mut(&name) {
            held.applied = value;
        }
    }
    row
}
