//! One type on its way through the target's stage: what was asked, what was answered, and what the ledger's rows become.
//!
//! Hides the bookkeeping that a target reads changes and reports outcomes at its own pace and in its own order. Holds
//! the target to its promise: one outcome for each change. Rows wait in the ledger; what is kept of a change here is its
//! position.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::{Sink, TypeOutcome, Watch, as_read_back};
use crate::error::{Error, Result};
use crate::ledger::{Batch, Became};
use crate::plan::Plan;
use crate::plan::change::{Action, Change};
use crate::target::{BatchMark, Outcome};

/// A type that is ready to be committed.
pub(super) struct Staged {
    /// `None` when the target has nothing to write.
    pub mark: Option<BatchMark>,
    /// How many changes are done then, by action.
    pub done: BTreeMap<Action, u64>,
    /// Positions, within the type's changes, of those the target refused; ascending.
    pub refused: Vec<u32>,
}

/// Shared by the changes the target reads and the outcomes it reports, which it may interleave as it likes.
pub(super) struct Staging<'a, 'w>(Mutex<Books<'a, 'w>>);

struct Books<'a, 'w> {
    rows: &'a mut Batch,
    /// The positions of the changes that were handed out, in that order; `None` once answered.
    asked: Vec<Option<u32>>,
    refused: Vec<u32>,
    done: BTreeMap<Action, u64>,
    /// Every change was handed out.
    exhausted: bool,
    outcome: &'a mut TypeOutcome,
    sink: &'a mut Sink,
    watch: &'a mut Watch<'w>,
}

impl<'a, 'w> Staging<'a, 'w> {
    /// `rows` is where the ledger's rows are collected.
    pub(super) fn new(
        outcome: &'a mut TypeOutcome,
        rows: &'a mut Batch,
        sink: &'a mut Sink,
        watch: &'a mut Watch<'w>,
    ) -> Staging<'a, 'w> {
        Staging(Mutex::new(Books {
            rows,
            asked: Vec::new(),
            refused: Vec::new(),
            done: BTreeMap::new(),
            exhausted: false,
            outcome,
            sink,
            watch,
        }))
    }

    fn books(&self) -> MutexGuard<'_, Books<'a, 'w>> {
        // A panic while it was held ends the run; until then the books are as good as they were.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The changes the target is to write; those of the ledger alone are put aside on the way.
    pub(super) fn changes<'b>(
        &'b self,
        plan: &'b Plan,
        ty: usize,
    ) -> impl Iterator<Item = Result<Change>> + Send + use<'a, 'b, 'w> {
        let mut changes = plan.changes_of(ty).zip(0u32..);
        std::iter::from_fn(move || {
            for (change, position) in changes.by_ref() {
                let mut books = self.books();
                match change {
                    Err(error) => return Some(Err(error)),
                    Ok(change) if change.action.writes() => {
                        books.asked.push(Some(position));
                        return Some(Ok(change));
                    }
                    Ok(change) => {
                        if let Err(error) = books.done(change.action, (change.key, change.ledger).into()) {
                            return Some(Err(error));
                        }
                    }
                }
            }
            self.books().exhausted = true;
            None
        })
    }

    /// Takes the outcome of the change that was handed out as the `nth`, from 0.
    pub(super) fn answer(&self, nth: u32, change: &Change, outcome: Outcome) -> Result<()> {
        let mut books = self.books();
        let Some(position) = books.asked.get_mut(nth as usize).and_then(Option::take) else {
            let Change { ty, key, .. } = change;
            return Err(Error::failed(format!("a defect: the target says once more what became of {ty} {key}")));
        };
        let Books { sink, watch, .. } = &mut *books;
        sink.tell(&change.ty, watch);
        match &outcome {
            Outcome::Done { target_id, read_back } => {
                let became = as_read_back(change, target_id.clone(), read_back.clone());
                return books.done(change.action, became);
            }
            Outcome::Rejected { reason } => {
                books.outcome.rejected += 1;
                books.sink.refuse(change, reason);
            }
            Outcome::Uncertain { .. } => books.outcome.uncertain += 1,
            Outcome::NotAttempted { .. } => books.outcome.not_attempted += 1,
        }
        // The ledger's row stays as it was: nothing is known to have changed.
        books.refused.push(position);
        books.sink.push(change, outcome)
    }

    /// Positions of the changes that were refused so far, ascending.
    pub(super) fn refused(&self) -> Vec<u32> {
        let mut refused = self.books().refused.clone();
        refused.sort_unstable();
        refused
    }

    /// What is done once the rows are committed, if the target kept its promise.
    pub(super) fn finish(self) -> Result<BTreeMap<Action, u64>> {
        let books = self.0.into_inner().unwrap_or_else(PoisonError::into_inner);
        let ty = &books.outcome.ty;
        if books.asked.iter().any(Option::is_some) {
            return Err(Error::failed(format!("a defect: the target did not say what became of each change of {ty}")));
        }
        if !books.exhausted {
            return Err(Error::failed(format!("a defect: the target did not read all changes of {ty}")));
        }
        Ok(books.done)
    }
}

impl Books<'_, '_> {
    fn done(&mut self, action: Action, became: Became) -> Result<()> {
        *self.done.entry(action).or_default() += 1;
        self.rows.push(became)
    }
}
