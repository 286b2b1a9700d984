//! Applying to a target that changes in batches: one batch a type, visible all at once.
//!
//! Hides the dance of stage, journal and commit that makes a crash at any instant harmless. Deliberately knows nothing
//! of single records: what is refused and what is done comes from [`Staging`].

use super::{Sink, TypeOutcome, Watch, reason};
use crate::apply::staging::{Staged, Staging};
use crate::crash;
use crate::error::{Error, Exit, Result};
use crate::ledger::{Batch, Ledger, RunId};
use crate::plan::Plan;
use crate::plan::change::Change;
use crate::step::Step;
use crate::target::{BatchMark, Interrupted, Outcome, WriteBatches};

/// How the changes of a failed type ended that the target did not refuse one by one.
pub(super) enum Ending {
    NotAttempted(String),
    Uncertain(String),
}

/// One type of the plan at work.
pub(super) struct TypeWork<'a, 'w> {
    pub plan: &'a Plan,
    /// Of the type in the plan's header.
    pub index: usize,
    pub ledger: &'a mut Ledger,
    pub run: RunId,
    pub sink: &'a mut Sink,
    pub watch: &'a mut Watch<'w>,
}

impl TypeWork<'_, '_> {
    /// Applies the type whole or not at all, and accounts for each of its changes. Gives back why everything after it
    /// must not be attempted.
    pub(super) async fn apply(
        &mut self,
        target: &dyn WriteBatches,
        outcome: &mut TypeOutcome,
    ) -> Result<Option<Error>> {
        let step = Step::begin("stage");
        let mut rows = self.ledger.batch(self.run, &outcome.ty);
        let staged = self.stage(target, outcome, &mut rows).await;
        step.end(&outcome.ty);
        let (refused, ended) = match staged {
            Ok(Staged { mark, done, refused }) => {
                let ended = match mark {
                    Some(mark) => self.commit(target, &mark, rows).await,
                    None => self.ledger.write_batch(rows).map_err(not_attempted),
                };
                (refused, ended.map(|()| done))
            }
            Err((refused, error)) => {
                if let Err(error) = self.ledger.abandon_batch(rows) {
                    // Nobody sees them, and the next run takes them away.
                    tracing::warn!("cannot clear away the ledger's waiting rows: {error}");
                }
                (refused, Err(not_attempted(error)))
            }
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
    pub(super) fn rest(&mut self, outcome: &mut TypeOutcome, refused: &[u32], ending: &Ending) -> Result<()> {
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
    async fn stage(
        &mut self,
        target: &dyn WriteBatches,
        outcome: &mut TypeOutcome,
        rows: &mut Batch,
    ) -> Result<Staged, (Vec<u32>, Error)> {
        let spec = &self.plan.header.types[self.index].spec;
        let staging = Staging::new(outcome, rows, self.sink, self.watch);
        let mark = {
            let mut changes = staging.changes(self.plan, self.index);
            match changes.next() {
                // Nothing for the target: what concerns the ledger alone has been collected on the way.
                None => None,
                Some(first) => {
                    crash::point("before stage");
                    let mut changes = std::iter::once(first).chain(changes);
                    let mut answer = |nth: u32, change: &Change, outcome| staging.answer(nth, change, outcome);
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
            Ok(done) => return Ok(Staged { mark, done, refused }),
            Err(error) => error,
        };
        if let Some(mark) = mark {
            clear_away(target, &mark).await;
        }
        Err((refused, error))
    }

    async fn commit(
        &mut self,
        target: &dyn WriteBatches,
        mark: &BatchMark,
        rows: Batch,
    ) -> Result<(), (Ending, Error)> {
        let ty = &self.plan.header.types[self.index].spec.name;
        let step = Step::begin("journal");
        let batch = match self.ledger.journal_batch(rows, mark) {
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
            // Only "the old state stands" is certain enough to act on, and a batch that was refused as stale, which is
            // never made visible: what looks committed after a failed commit may not be on the disk yet. The next run
            // looks again.
            let settled = target.settle(mark).await;
            if error.exit == Exit::Stale || matches!(settled, Ok(Interrupted::Discarded)) {
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
async fn clear_away(target: &dyn WriteBatches, mark: &BatchMark) {
    if let Err(error) = target.settle(mark).await {
        tracing::warn!("cannot clear away {}: {error}", mark.staged.display());
    }
}
