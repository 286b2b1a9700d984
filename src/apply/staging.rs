//! One type on its way through the target's stage: what was asked, what was answered, and what the ledger's rows become.
//!
//! Hides the bookkeeping that a target reads changes and reports outcomes at its own pace. Holds the target to its
//! promise: one outcome for each change, in the same order. Rows wait in the ledger, so memory follows the number of
//! refused changes alone.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::{Sink, TypeOutcome, Watch, as_read_back};
use crate::error::{Error, Result};
use crate::ledger::{Batch, Became};
use crate::plan::Plan;
use crate::plan::change::{Action, Change};
use crate::record::Key;
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
    /// Handed out and not answered yet, with their positions.
    asked: VecDeque<(u32, Key)>,
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
            asked: VecDeque::new(),
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
                        books.asked.push_back((position, change.key.clone()));
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

    /// Takes the outcome of the change that was handed out longest ago.
    pub(super) fn answer(&self, change: &Change, outcome: Outcome) -> Result<()> {
        let mut books = self.books();
        let position = match books.asked.pop_front() {
            Some((position, key)) if key == change.key => position,
            _ => {
                return Err(Error::failed(format!(
                    "a defect: the target reported {} {} out of turn",
                    change.ty, change.key
                )));
            }
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
        self.books().refused.clone()
    }

    /// What is done once the rows are committed, if the target kept its promise.
    pub(super) fn finish(self) -> Result<BTreeMap<Action, u64>> {
        let books = self.0.into_inner().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, key)) = books.asked.front() {
            let ty = &books.outcome.ty;
            return Err(Error::failed(format!("a defect: the target did not say what became of {ty} {key}")));
        }
        if !books.exhausted {
            let ty = &books.outcome.ty;
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
