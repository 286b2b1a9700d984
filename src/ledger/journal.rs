//! The journal: what is about to become true, written down before the target is touched.
//!
//! A batch's intent and all its rows are durable in one transaction before the target makes the batch visible; another
//! transaction moves the rows into the records and takes the intent away. Whatever instant the process dies at, the
//! next run finds either no intent or one it can settle by looking at the target. Hides how rows wait and move.
//! Deliberately never looks at the target itself.

use jiff::Timestamp;
use rusqlite::{Connection, Transaction, TransactionBehavior, params};
use serde::{Deserialize, Serialize};

use super::records::{COLUMNS, Stored};
use super::{Ledger, RunId, meta, to_json};
use crate::crash;
use crate::error::{Error, Result};
use crate::plan::change::{Change, Row, TypeSpec, Written};
use crate::record::Key;
use crate::target::BatchMark;

/// Names one entry of the journal.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct EntryId(i64);

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

/// What a record becomes.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Became {
    pub key: Key,
    /// `None` for a record that is no longer known.
    pub row: Option<Row>,
    /// What was written to the target for it; `None` where only the ledger changes.
    pub written: Option<Written>,
}

impl From<(Key, Option<Row>)> for Became {
    fn from((key, row): (Key, Option<Row>)) -> Became {
        Became { key, row, written: None }
    }
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
                let id = insert_intent(transaction, run, "change", &intent.change.ty, text);
                ids.push(id.map_err(|cause| ledger.failed(cause))?);
            }
            Ok(ids)
        })
    }

    /// Takes entries out of the journal, all at once, each with its end.
    pub fn end_changes(&mut self, ends: Vec<ChangeEnd>) -> Result<()> {
        self.transact("change ends", |transaction, ledger| {
            for (id, became) in ends {
                let ended = match became {
                    None => take_away(transaction, id),
                    Some(became) => {
                        let ty: String = transaction
                            .query_row("SELECT type FROM journal WHERE id = ?1", [id.0], |row| row.get(0))
                            .map_err(|cause| ledger.failed(cause))?;
                        insert_rows(transaction, ledger, id, &ty, std::iter::once(Ok(became)))?;
                        move_rows(transaction, id)
                    }
                };
                ended.map_err(|cause| ledger.failed(cause))?;
            }
            Ok(())
        })
    }

    /// The changes to settle before anything is planned, in the order they were begun.
    pub fn unfinished_changes(&self) -> Result<Vec<UnfinishedChange>> {
        let changes = self.unfinished("change")?.into_iter().map(|(id, run, _, intent)| {
            let intent = self.json("the intent of a change", &intent)?;
            Ok(UnfinishedChange { id, run, intent })
        });
        changes.collect()
    }

    /// Writes down that a staged batch is about to be committed, and what each of its records becomes then. Durable when it returns; an error leaves no trace.
    pub fn journal_batch(
        &mut self,
        run: RunId,
        ty: &str,
        mark: &BatchMark,
        rows: impl Iterator<Item = Result<impl Into<Became>>>,
    ) -> Result<EntryId> {
        let intent = to_json(mark)?;
        self.transact("batch intent", |transaction, ledger| {
            let id = insert_intent(transaction, run, "batch", ty, &intent).map_err(|cause| ledger.failed(cause))?;
            insert_rows(transaction, ledger, id, ty, rows)?;
            Ok(id)
        })
    }

    /// Makes true what the batch wrote down, and forgets the intent. Moves the generation if ownership or a settled
    /// value changed.
    pub fn commit_batch(&mut self, batch: EntryId) -> Result<()> {
        self.transact("batch commit", |transaction, ledger| {
            move_rows(transaction, batch).map_err(|cause| ledger.failed(cause))
        })
    }

    /// Forgets the intent: the batch never became visible.
    pub fn discard_batch(&mut self, batch: EntryId) -> Result<()> {
        self.transact("batch discard", |transaction, ledger| {
            take_away(transaction, batch).map_err(|cause| ledger.failed(cause))
        })
    }

    /// Forgets the intent and the last values of its records, for a batch of which nobody knows whether it became
    /// visible. Ownership stays as it was before; records the batch would have brought in are not taken over.
    pub fn forget_values(&mut self, batch: EntryId) -> Result<()> {
        self.transact("batch values forgotten", |transaction, ledger| {
            let forget = || {
                let forgotten = transaction.execute(
                    "UPDATE records SET attributes = '{}' WHERE attributes <> '{}'
                     AND type = (SELECT type FROM journal WHERE id = ?1)
                     AND key IN (SELECT key FROM journal_rows WHERE journal = ?1)",
                    [batch.0],
                )?;
                take_away(transaction, batch)?;
                if forgotten > 0 { advance(transaction) } else { Ok(()) }
            };
            forget().map_err(|cause| ledger.failed(cause))
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
        let batches = self.unfinished("batch")?.into_iter().map(|(id, run, ty, intent)| {
            let mark = self.json("the intent of a batch", &intent)?;
            Ok(UnfinishedBatch { id, run, ty, mark })
        });
        batches.collect()
    }

    /// Entries of one kind: id, run, type and intent.
    fn unfinished(&self, kind: &str) -> Result<Vec<(EntryId, RunId, String, String)>> {
        let read = || {
            let query = "SELECT id, run, type, intent FROM journal WHERE kind = ?1 ORDER BY id";
            let mut statement = self.connection.prepare(query)?;
            let entry =
                |row: &rusqlite::Row<'_>| Ok((EntryId(row.get(0)?), RunId(row.get(1)?), row.get(2)?, row.get(3)?));
            statement.query_map([kind], entry)?.collect()
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

/// What a step in a transaction needs to name its errors while the connection is borrowed.
pub(super) struct View<'a> {
    path: &'a std::path::Path,
}

impl View<'_> {
    pub(super) fn failed(&self, cause: rusqlite::Error) -> Error {
        super::sqlite_error("cannot write", self.path, cause)
    }
}

/// Rows become records through the journal's tables, so that there is one way in which they do.
pub(super) fn rows_at_once(
    transaction: &Transaction<'_>,
    view: &View<'_>,
    run: RunId,
    ty: &str,
    rows: impl Iterator<Item = Result<impl Into<Became>>>,
) -> Result<()> {
    let id = insert_intent(transaction, run, "ledger", ty, "null").map_err(|cause| view.failed(cause))?;
    insert_rows(transaction, view, id, ty, rows)?;
    move_rows(transaction, id).map_err(|cause| view.failed(cause))
}

fn insert_intent(to: &Connection, run: RunId, kind: &str, ty: &str, intent: &str) -> rusqlite::Result<EntryId> {
    let query = "INSERT INTO journal (run, kind, type, intent) VALUES (?1, ?2, ?3, ?4)";
    to.execute(query, params![run.0, kind, ty, intent])?;
    Ok(EntryId(to.last_insert_rowid()))
}

fn insert_rows(
    to: &Connection,
    view: &View<'_>,
    batch: EntryId,
    ty: &str,
    rows: impl Iterator<Item = Result<impl Into<Became>>>,
) -> Result<()> {
    let query = format!(
        "INSERT INTO journal_rows (journal, key, written, {COLUMNS})
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)"
    );
    let mut insert = to.prepare(&query).map_err(|cause| view.failed(cause))?;
    for row in rows {
        let Became { key, row, written } = row?.into();
        let text = key.to_string();
        let written = written.as_ref().map(to_json).transpose()?;
        let inserted = match row.map(|row| Stored::new(ty, &key, row)).transpose()? {
            None => to
                .prepare_cached("INSERT INTO journal_rows (journal, key, written) VALUES (?1, ?2, ?3)")
                .and_then(|mut insert| insert.execute(params![batch.0, text, written])),
            Some(row) => insert.execute(params![
                batch.0,
                text,
                written,
                row.mapping,
                row.state,
                row.origin,
                row.target_id,
                row.label,
                row.attributes,
                row.leaving,
                row.leaving_since,
                row.paused_at,
                row.missing_since,
            ]),
        };
        inserted.map_err(|cause| match cause.sqlite_error_code() {
            Some(rusqlite::ErrorCode::ConstraintViolation) => {
                Error::failed(format!("a defect: the plan changes {ty} {key} twice"))
                    .because(cause)
                    .hint("nothing of this type was written; please report this, with the saved plan")
            }
            _ => view.failed(cause),
        })?;
    }
    Ok(())
}

/// Whether the waiting rows of batch ?1 change more than timers and labels.
const MOVES_GENERATION: &str = "SELECT EXISTS (
    SELECT 1 FROM journal_rows AS next
    LEFT JOIN records AS now ON now.type = (SELECT type FROM journal WHERE id = ?1) AND now.key = next.key
    WHERE next.journal = ?1 AND (
        next.state IS NOT now.state OR next.attributes IS NOT now.attributes OR next.target_id IS NOT now.target_id
        OR next.mapping IS NOT now.mapping OR next.origin IS NOT now.origin OR next.leaving IS NOT now.leaving))";

fn move_rows(transaction: &Transaction<'_>, batch: EntryId) -> rusqlite::Result<()> {
    if transaction.query_row(MOVES_GENERATION, [batch.0], |row| row.get(0))? {
        advance(transaction)?;
    }
    super::written::keep(transaction, batch.0)?;
    let insert = format!(
        "INSERT OR REPLACE INTO records (type, key, {COLUMNS})
         SELECT (SELECT type FROM journal WHERE id = ?1), key, {COLUMNS}
         FROM journal_rows WHERE journal = ?1 AND state IS NOT NULL ORDER BY key"
    );
    transaction.execute(&insert, [batch.0])?;
    transaction.execute(
        "DELETE FROM records WHERE type = (SELECT type FROM journal WHERE id = ?1)
         AND key IN (SELECT key FROM journal_rows WHERE journal = ?1 AND state IS NULL)",
        [batch.0],
    )?;
    take_away(transaction, batch)
}

fn take_away(transaction: &Transaction<'_>, batch: EntryId) -> rusqlite::Result<()> {
    transaction.execute("DELETE FROM journal WHERE id = ?1", [batch.0])?;
    let others = transaction.query_row("SELECT EXISTS (SELECT 1 FROM journal)", [], |row| row.get(0))?;
    if others {
        transaction.execute("DELETE FROM journal_rows WHERE journal = ?1", [batch.0])?;
    } else {
        // Nearly always: emptying the whole table does not visit its rows.
        transaction.execute("DELETE FROM journal_rows", [])?;
    }
    Ok(())
}

fn advance(transaction: &Transaction<'_>) -> rusqlite::Result<()> {
    let query = "UPDATE meta SET value = CAST(value AS INTEGER) + 1 WHERE name = ?1";
    transaction.execute(query, [meta::GENERATION]).map(drop)
}
