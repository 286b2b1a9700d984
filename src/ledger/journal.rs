//! The journal: what is about to become true, written down before the target is touched.
//!
//! A batch's rows wait in the ledger ([`super::waiting`]), and its intent is durable with all of them before the target
//! makes the batch visible; another transaction makes them true and takes the intent away. Whatever instant the process
//! dies at, the next run finds either no intent or one it can settle by looking at the target. Deliberately never looks
//! at the target itself.

use jiff::Timestamp;
use rusqlite::{Transaction, TransactionBehavior, params};
use serde::{Deserialize, Serialize};

use super::batch::Batch;
use super::entry::{EntryId, Kind};
use super::waiting::{self, Became, Waiting};
use super::{Ledger, RunId, View, to_json};
use crate::crash;
use crate::error::Result;
use crate::plan::change::{Change, TypeSpec};
use crate::target::BatchMark;

/// A batch whose run died, or whose end could not be recorded.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct UnfinishedBatch {
    pub id: EntryId,
    pub run: RunId,
    /// The target type.
    pub ty: String,
    pub mark: BatchMark,
}

/// A single change as the journal holds it from before it is sent until the ledger agrees with the target.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Intent {
    /// When it was about to be sent.
    pub at: Timestamp,
    /// With references resolved, as it is sent.
    pub change: Change,
    /// The type as it was then: what is looked up must be read in the same way, whatever the job says by now.
    pub spec: TypeSpec,
}

/// A change whose run died, or whose end nobody saw.
#[derive(Clone, PartialEq, Debug)]
pub struct UnfinishedChange {
    pub id: EntryId,
    pub run: RunId,
    pub intent: Intent,
}

/// How a change's entry ends: with what its record becomes, or with nothing when it did not happen.
pub type ChangeEnd = (EntryId, Option<Became>);

impl Ledger {
    /// Writes down that these changes are about to be sent, each by itself. Durable when it returns; an error leaves
    /// no trace.
    pub fn journal_changes(&mut self, run: RunId, intents: &[Intent]) -> Result<Vec<EntryId>> {
        let texts = intents.iter().map(to_json).collect::<Result<Vec<String>>>()?;
        self.transact("change intents", |transaction, ledger| {
            let mut ids = Vec::with_capacity(texts.len());
            for (intent, text) in intents.iter().zip(&texts) {
                let id = EntryId::enter(transaction, run, Kind::Change, &intent.change.ty, Some(text));
                ids.push(id.map_err(|cause| ledger.failed(cause))?);
            }
            Ok(ids)
        })
    }

    /// Takes entries out of the journal, all at once, each with its end.
    pub fn end_changes(&mut self, ends: Vec<ChangeEnd>) -> Result<()> {
        self.transact("change ends", |transaction, ledger| {
            for (id, became) in ends {
                let failed = |cause| ledger.failed(cause);
                let Some(became) = became else {
                    waiting::take_away(transaction, id).map_err(failed)?;
                    continue;
                };
                let whose = transaction.query_row("SELECT run, type FROM journal WHERE id = ?1", [id.0], |row| {
                    Ok((RunId(row.get(0)?), row.get::<_, String>(1)?))
                });
                let (run, ty) = whose.map_err(failed)?;
                let mut rows = Waiting::under(id, transaction, run, &ty).map_err(failed)?;
                rows.push(transaction, ledger, became)?;
                waiting::become_true(transaction, id, rows.moves).map_err(failed)?;
            }
            Ok(())
        })
    }

    /// The changes to settle before anything is planned, in the order they were begun.
    pub fn unfinished_changes(&self) -> Result<Vec<UnfinishedChange>> {
        let changes = self.unfinished(Kind::Change)?.into_iter().map(|(id, run, _, intent)| {
            let intent = self.json("the intent of a change", &intent)?;
            Ok(UnfinishedChange { id, run, intent })
        });
        changes.collect()
    }

    /// Writes down that a staged batch is about to be committed, and what each of its records becomes then. Durable
    /// when it returns; an error leaves no trace.
    pub fn journal_batch(&mut self, batch: Batch, mark: &BatchMark) -> Result<EntryId> {
        let journalled = self.mark_batch(batch, mark);
        self.unless_failed(journalled)
    }

    fn mark_batch(&mut self, batch: Batch, mark: &BatchMark) -> Result<EntryId> {
        let intent = to_json(mark)?;
        let rows = batch.finish()?;
        self.transact("batch intent", |transaction, ledger| {
            let query = "UPDATE journal SET intent = ?2, moves = ?3 WHERE id = ?1";
            let done = transaction.execute(query, params![rows.entry.0, intent, rows.moves]);
            done.map(|_| rows.entry).map_err(|cause| ledger.failed(cause))
        })
    }

    /// Makes true what a batch collected that concerns the ledger alone: all or none of it.
    pub fn write_batch(&mut self, batch: Batch) -> Result<()> {
        if batch.is_empty() {
            return Ok(());
        }
        let written = batch.finish().and_then(|rows| {
            self.transact("ledger rows", |transaction, ledger| {
                let done = waiting::become_true(transaction, rows.entry, rows.moves);
                done.map_err(|cause| ledger.failed(cause))
            })
        });
        self.unless_failed(written)
    }

    /// Forgets a batch that was never journalled.
    pub fn abandon_batch(&mut self, batch: Batch) -> Result<()> {
        batch.stop();
        self.discard_unmarked()
    }

    fn unless_failed<T>(&mut self, result: Result<T>) -> Result<T> {
        if result.is_err() {
            // Left lying about it does no harm; the error that led here matters more than one of clearing up.
            let _ = self.discard_unmarked();
        }
        result
    }

    /// Takes away what was collected for batches that were never journalled, and so never became visible: what a run
    /// that died left behind.
    pub fn discard_unmarked(&mut self) -> Result<()> {
        let read = || -> rusqlite::Result<Vec<(i64, String)>> {
            let query = "SELECT id, type FROM journal WHERE kind = 'batch' AND intent IS NULL";
            self.connection.prepare(query)?.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?.collect()
        };
        let unmarked = self.sql("cannot read", read())?;
        if unmarked.is_empty() {
            return Ok(());
        }
        self.transact("batches abandoned", |transaction, ledger| {
            for (id, ty) in &unmarked {
                waiting::forget(transaction, EntryId(*id), ty).map_err(|cause| ledger.failed(cause))?;
            }
            Ok(())
        })
    }

    /// Makes true what the batch wrote down, and forgets the intent. Moves the generation if ownership or a settled
    /// value changed.
    pub fn commit_batch(&mut self, batch: EntryId) -> Result<()> {
        self.end_batch("batch commit", batch, |transaction, _| {
            let moves =
                transaction.query_row("SELECT moves FROM journal WHERE id = ?1", [batch.0], |row| row.get(0))?;
            waiting::become_true(transaction, batch, moves)
        })
    }

    /// Forgets the intent: the batch never became visible.
    pub fn discard_batch(&mut self, batch: EntryId) -> Result<()> {
        self.end_batch("batch discard", batch, |transaction, ty| waiting::forget(transaction, batch, ty))
    }

    /// Forgets the intent and the last values of its records, for a batch of which nobody knows whether it became
    /// visible. Ownership stays as it was before; records the batch would have brought in are not taken over.
    pub fn forget_values(&mut self, batch: EntryId) -> Result<()> {
        self.end_batch("batch values forgotten", batch, |transaction, ty| {
            if waiting::forget_values(transaction, batch)? {
                waiting::advance(transaction)?;
            }
            waiting::forget(transaction, batch, ty)
        })
    }

    fn end_batch(
        &mut self,
        step: &str,
        batch: EntryId,
        end: impl FnOnce(&Transaction<'_>, &str) -> rusqlite::Result<()>,
    ) -> Result<()> {
        self.transact(step, |transaction, ledger| {
            let ty = transaction
                .query_row("SELECT type FROM journal WHERE id = ?1", [batch.0], |row| row.get::<_, String>(0));
            ty.and_then(|ty| end(transaction, &ty)).map_err(|cause| ledger.failed(cause))
        })
    }

    /// Changes that concern the ledger alone, all or none of them.
    pub fn write_rows(
        &mut self,
        run: RunId,
        ty: &str,
        rows: impl Iterator<Item = Result<impl Into<Became>>>,
    ) -> Result<()> {
        self.transact("ledger rows", |transaction, ledger| rows_at_once(transaction, ledger, run, ty, rows))
    }

    /// The batches to settle before anything is planned, in the order they were begun.
    pub fn unfinished_batches(&self) -> Result<Vec<UnfinishedBatch>> {
        let batches = self.unfinished(Kind::Batch)?.into_iter().map(|(id, run, ty, intent)| {
            let mark = self.json("the intent of a batch", &intent)?;
            Ok(UnfinishedBatch { id, run, ty, mark })
        });
        batches.collect()
    }

    /// Entries of one kind: id, run, type and intent.
    fn unfinished(&self, kind: Kind) -> Result<Vec<(EntryId, RunId, String, String)>> {
        let read = || {
            let query = "SELECT id, run, type, intent FROM journal WHERE kind = ?1 AND intent IS NOT NULL ORDER BY id";
            let mut statement = self.connection.prepare(query)?;
            let entry =
                |row: &rusqlite::Row<'_>| Ok((EntryId(row.get(0)?), RunId(row.get(1)?), row.get(2)?, row.get(3)?));
            statement.query_map([kind.word()], entry)?.collect()
        };
        self.sql("cannot read", read())
    }

    /// One durable step, with a place to die before and after it.
    pub(super) fn transact<T>(
        &mut self,
        step: &str,
        work: impl FnOnce(&Transaction<'_>, &View<'_>) -> Result<T>,
    ) -> Result<T> {
        let view = View { path: &self.path };
        let begin = self.connection.transaction_with_behavior(TransactionBehavior::Immediate);
        let transaction = begin.map_err(|cause| view.failed(cause))?;
        let done = work(&transaction, &view)?;
        crash::point(&format!("before {step}"));
        transaction.commit().map_err(|cause| view.failed(cause))?;
        crash::point(&format!("after {step}"));
        Ok(done)
    }
}

/// Rows that become true in the transaction they are written in, all or none of them.
pub(super) fn rows_at_once(
    transaction: &Transaction<'_>,
    view: &View<'_>,
    run: RunId,
    ty: &str,
    rows: impl Iterator<Item = Result<impl Into<Became>>>,
) -> Result<()> {
    let failed = |cause| view.failed(cause);
    let entry = EntryId::enter(transaction, run, Kind::Ledger, ty, None).map_err(failed)?;
    let mut waiting = Waiting::under(entry, transaction, run, ty).map_err(failed)?;
    for row in rows {
        waiting.push(transaction, view, row?.into())?;
    }
    waiting::become_true(transaction, entry, waiting.moves).map_err(failed)
}
