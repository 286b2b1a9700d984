//! Rows on their way into the ledger: each is written once, in the place of the row it replaces, and is true once its
//! journal entry goes.
//!
//! Hides the two tables this takes: `rows`, and `replaced`, where the true row lies until then. To write is the only time
//! that the pages of `rows` are touched: the end of an entry takes its lines out of `replaced`, one after the other.
//! Hides which changes move the generation, too. Works inside somebody's transaction; when that commits, and what the
//! target has to do with it, is [`super::journal`]'s business.

use rusqlite::{Connection, OptionalExtension, params};
use serde::{Deserialize, Serialize};

use super::entry::EntryId;
use super::records::{COLUMNS, Stored};
use super::{RunId, View, meta, to_json, written};
use crate::error::{Error, Result};
use crate::plan::change::{Row, Written};
use crate::record::Key;

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

/// One entry of the journal, with the rows that are collected under it.
#[derive(Clone, Debug)]
pub(super) struct Waiting {
    pub entry: EntryId,
    run: RunId,
    ty: String,
    /// The type had no rows before: none can be replaced.
    bare: bool,
    /// Whether ownership or settled values change by its rows; timers and labels alone do not count.
    pub moves: bool,
}

impl Waiting {
    /// Begins to collect rows of a type under an entry of the journal.
    pub fn under(entry: EntryId, to: &Connection, run: RunId, ty: &str) -> rusqlite::Result<Waiting> {
        let any = "SELECT EXISTS (SELECT 1 FROM rows WHERE type = ?1)";
        let bare = !to.prepare_cached(any)?.query_row([ty], |row| row.get::<_, bool>(0))?;
        Ok(Waiting { entry, run, ty: ty.to_string(), bare, moves: false })
    }

    /// Writes down what one record becomes.
    pub fn push(&mut self, to: &Connection, view: &View<'_>, became: Became) -> Result<()> {
        let Became { key, row, written } = became;
        let text = key.to_string();
        let next = row.map(|row| Stored::new(&self.ty, &key, row)).transpose()?;
        let json = written.as_ref().map(to_json).transpose()?;
        let mut insert = || {
            if let Some((written, json)) = written.as_ref().zip(json.as_ref()) {
                written::keep(to, (self.run, &self.ty, &text, self.entry), written.action, json)?;
            }
            self.insert(to, &text, next.as_ref())
        };
        insert().map_err(|cause| match cause.sqlite_error_code() {
            Some(rusqlite::ErrorCode::ConstraintViolation) => {
                Error::failed(format!("a defect: the plan changes {} {key} twice", self.ty))
                    .because(cause)
                    .hint("nothing of this type was written; please report this, with the saved plan")
            }
            _ => view.failed(cause),
        })
    }

    fn insert(&mut self, to: &Connection, key: &str, next: Option<&Stored>) -> rusqlite::Result<()> {
        let replaces = !self.bare && self.set_aside(to, key, next)?;
        self.moves |= !replaces && next.is_some();
        let insert = format!("INSERT INTO rows (type, key, entry, {COLUMNS}) VALUES (?1, ?2, ?3, {VALUES})");
        let update = format!("UPDATE rows SET entry = ?3, ({COLUMNS}) = ({VALUES}) WHERE type = ?1 AND key = ?2");
        let values = params![
            self.ty,
            key,
            self.entry.0,
            next.map(|row| &row.mapping),
            next.map(|row| row.state),
            next.map(|row| row.origin),
            next.map(|row| &row.target_id),
            next.map(|row| &row.label),
            next.map(|row| &row.attributes),
            next.and_then(|row| row.leaving.as_ref()),
            next.and_then(|row| row.leaving_since.as_ref()),
            next.and_then(|row| row.paused_at.as_ref()),
            next.and_then(|row| row.missing_since.as_ref()),
        ];
        to.prepare_cached(if replaces { &update } else { &insert })?.execute(values).map(drop)
    }

    /// Keeps the row that is true now, if there is one, and says so. Notes whether the next one is another, timers and
    /// labels aside.
    fn set_aside(&mut self, to: &Connection, key: &str, next: Option<&Stored>) -> rusqlite::Result<bool> {
        let differs = "SELECT state IS NOT ?3 OR attributes IS NOT ?4 OR target_id IS NOT ?5 OR mapping IS NOT ?6
                       OR origin IS NOT ?7 OR leaving IS NOT ?8
             FROM rows WHERE type = ?1 AND key = ?2";
        let values = params![
            self.ty,
            key,
            next.map(|row| row.state),
            next.map(|row| &row.attributes),
            next.map(|row| &row.target_id),
            next.map(|row| &row.mapping),
            next.map(|row| row.origin),
            next.and_then(|row| row.leaving.as_ref()),
        ];
        let differs = to.prepare_cached(differs)?.query_row(values, |row| row.get::<_, bool>(0)).optional()?;
        let Some(differs) = differs else { return Ok(false) };
        self.moves |= differs;
        // A row of this entry is none to keep: to write over it is refused, as is to keep a second one of this key.
        let keep = format!(
            "INSERT INTO replaced (type, key, entry, brought_by, {COLUMNS})
             SELECT type, key, ?3, entry, {COLUMNS} FROM rows WHERE type = ?1 AND key = ?2 AND entry <> ?3"
        );
        Ok(to.prepare_cached(&keep)?.execute(params![self.ty, key, self.entry.0])? > 0)
    }
}

/// What [`COLUMNS`] get, of a record's type, key and entry and its row.
const VALUES: &str = "?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13";

/// Makes true what waits under an entry, and takes the entry away. `moves`: as [`Waiting::moves`].
pub(super) fn become_true(to: &Connection, entry: EntryId, moves: bool) -> rusqlite::Result<()> {
    if moves {
        advance(to)?;
    }
    to.prepare_cached("DELETE FROM rows WHERE entry = ?1 AND state IS NULL")?.execute([entry.0])?;
    take_away(to, entry)
}

/// Puts back what was true before an entry of that type, and takes the entry away.
pub(super) fn forget(to: &Connection, entry: EntryId, ty: &str) -> rusqlite::Result<()> {
    to.execute("DELETE FROM rows WHERE type = ?2 AND entry = ?1", params![entry.0, ty])?;
    let put_back = format!(
        "INSERT INTO rows (type, key, entry, {COLUMNS})
         SELECT type, key, brought_by, {COLUMNS} FROM replaced WHERE entry = ?1"
    );
    to.execute(&put_back, [entry.0])?;
    to.execute("DELETE FROM written WHERE type = ?2 AND entry = ?1", params![entry.0, ty])?;
    take_away(to, entry)
}

/// Forgets the last values of the records that rows wait for under an entry; says whether there were any.
pub(super) fn forget_values(to: &Connection, entry: EntryId) -> rusqlite::Result<bool> {
    let forget = "UPDATE replaced SET attributes = '{}' WHERE attributes <> '{}' AND entry = ?1";
    Ok(to.execute(forget, [entry.0])? > 0)
}

/// Takes an entry out of the journal, and with it what it kept of the rows before.
pub(super) fn take_away(to: &Connection, entry: EntryId) -> rusqlite::Result<()> {
    to.prepare_cached("DELETE FROM replaced WHERE entry = ?1")?.execute([entry.0])?;
    to.prepare_cached("DELETE FROM journal WHERE id = ?1")?.execute([entry.0]).map(drop)
}

/// Moves the generation on by one.
pub(super) fn advance(to: &Connection) -> rusqlite::Result<()> {
    let query = "UPDATE meta SET value = CAST(value AS INTEGER) + 1 WHERE name = ?1";
    to.prepare_cached(query)?.execute([meta::GENERATION]).map(drop)
}
