//! What runs wrote into the target, kept so that a person can take a run back.
//!
//! Filled in the same transaction in which a record becomes what was written, so that it never says more or less than
//! the ledger. Deliberately plans nothing: how a run is reversed is [`crate::plan::undo`]'s business.

use std::collections::BTreeSet;

use jiff::Timestamp;
use rusqlite::{Connection, params};

use super::entry::EntryId;
use super::records::COLUMNS;
use super::{Ledger, RunId};
use crate::error::Result;
use crate::plan::change::{Action, Written};
use crate::plan::undo::Done;
use crate::record::Key;

/// Keeps what one write did to a record (run, type, key, journal entry); of a delete the row as well, which is taken from
/// the records. `written` is a [`Written`] as JSON.
pub(super) fn keep(
    to: &Connection,
    (run, ty, key, entry): (RunId, &str, &str, EntryId),
    action: Action,
    written: &str,
) -> rusqlite::Result<()> {
    let values = params![run.0, ty, key, entry.0, written];
    if action == Action::Delete {
        let with_row = format!(
            "INSERT INTO written (run, type, key, entry, written, {COLUMNS})
             SELECT ?1, ?2, ?3, ?4, ?5, {COLUMNS} FROM (SELECT 1) LEFT JOIN records ON type = ?2 AND key = ?3"
        );
        return to.prepare_cached(&with_row)?.execute(values).map(drop);
    }
    let insert = "INSERT INTO written (run, type, key, entry, written) VALUES (?1, ?2, ?3, ?4, ?5)";
    to.prepare_cached(insert)?.execute(values).map(drop)
}

/// What waits under a journal entry was not written, or nobody knows it yet.
const IS_TRUE: &str = "entry NOT IN (SELECT id FROM journal)";

impl Ledger {
    /// The types that a run wrote, by name.
    pub fn types_written(&self, run: RunId) -> Result<Vec<String>> {
        let read = || {
            let query = format!("SELECT DISTINCT type FROM written WHERE run = ?1 AND {IS_TRUE}");
            let mut statement = self.connection.prepare(&query)?;
            statement.query_map([run.0], |row| row.get(0))?.collect()
        };
        self.sql("cannot read", read())
    }

    /// What a run did to the records of a type, in the order of keys.
    pub fn written(&self, run: RunId, ty: &str, each: &mut dyn FnMut(Key, Done) -> Result<()>) -> Result<()> {
        let query = format!(
            "SELECT {COLUMNS}, key, written FROM written WHERE run = ?1 AND type = ?2 AND {IS_TRUE} ORDER BY key, entry"
        );
        let mut statement = self.sql("cannot read", self.connection.prepare(&query))?;
        let mut found = self.sql("cannot read", statement.query((run.0, ty)))?;
        let mut last: Option<(Key, Done)> = None;
        while let Some(columns) = self.sql("cannot read", found.next())? {
            let text = |index| self.sql("cannot read", columns.get::<_, String>(index));
            let written: Written = self.json("what a run wrote", &text(11)?)?;
            let had: Option<String> = self.sql("cannot read", columns.get(1))?;
            let before = had.map(|_| self.row_of(columns)).transpose()?;
            let key = Key::parse(&text(10)?);
            match &mut last {
                // One change in several requests.
                Some((of, done)) if *of == key => {
                    for value in written.values {
                        match done.written.values.iter_mut().find(|first| first.name == value.name) {
                            Some(first) => first.after = value.after,
                            None => done.written.values.push(value),
                        }
                    }
                }
                _ => {
                    if let Some((key, done)) = last.replace((key, Done { written, before })) {
                        each(key, done)?;
                    }
                }
            }
        }
        last.map_or(Ok(()), |(key, done)| each(key, done))
    }

    /// The records of a type that runs after this one wrote.
    pub fn written_since(&self, run: RunId, ty: &str) -> Result<BTreeSet<Key>> {
        let read = || -> rusqlite::Result<Vec<String>> {
            let query = format!("SELECT DISTINCT key FROM written WHERE run > ?1 AND type = ?2 AND {IS_TRUE}");
            let mut statement = self.connection.prepare(&query)?;
            statement.query_map((run.0, ty), |row| row.get(0))?.collect()
        };
        Ok(self.sql("cannot read", read())?.iter().map(|key| Key::parse(key)).collect())
    }

    /// Forgets what all but the newest `keep` runs wrote, and whatever is older than `before`.
    pub fn clear_history(&mut self, keep: usize, before: Option<Timestamp>) -> Result<()> {
        self.transact("history cleared", |transaction, view| {
            let clear = || -> rusqlite::Result<()> {
                transaction.execute(
                    "DELETE FROM written WHERE run NOT IN (SELECT DISTINCT run FROM written ORDER BY run DESC LIMIT ?1)",
                    [keep as i64],
                )?;
                let Some(before) = before else { return Ok(()) };
                let each_old = |of: &str, clear: &str| -> rusqlite::Result<()> {
                    let mut found = transaction.prepare(of)?;
                    let found = found.query_map([], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, String>(1)?)))?;
                    for (id, at) in found.collect::<rusqlite::Result<Vec<_>>>()? {
                        // As times: their texts may have fractions of different length.
                        if at.parse::<Timestamp>().is_ok_and(|at| at < before) {
                            transaction.execute(clear, [id])?;
                        }
                    }
                    Ok(())
                };
                each_old("SELECT id, as_of FROM runs", "DELETE FROM written WHERE run = ?1")?;
                each_old("SELECT id, at FROM decisions", "DELETE FROM decisions WHERE id = ?1")?;
                each_old(
                    "SELECT id, at FROM approvals WHERE used_by IS NOT NULL",
                    "DELETE FROM approved_records WHERE approval = ?1",
                )
            };
            clear().map_err(|cause| view.failed(cause))
        })
    }
}
