//! The rows of the ledger: reading them in key order, and their form in the table.
//!
//! Hides the column layout. Refuses to store what is not known.

use std::collections::BTreeMap;

use rusqlite::types::ValueRef;
use rusqlite::{OptionalExtension, params};
use serde::{Deserialize, Serialize};

use super::{Ledger, to_json};
use crate::error::{Error, Result};
use crate::plan::agreed::{SettledRow, StoredRow};
use crate::plan::change::{Cause, Held, Leaving, Origin, Row, State};
use crate::plan::datum::Datum;
use crate::plan::matching::{OwnedKey, Ownership};
use crate::record::Key;

/// The columns of a row, in the order of [`Stored`].
pub(super) const COLUMNS: &str =
    "mapping, state, origin, target_id, label, attributes, leaving, leaving_since, paused_at, missing_since";

/// A row as the table holds it.
pub(super) struct Stored {
    pub mapping: String,
    pub state: &'static str,
    pub origin: &'static str,
    pub target_id: String,
    pub label: String,
    pub attributes: String,
    pub leaving: Option<String>,
    pub leaving_since: Option<String>,
    pub paused_at: Option<String>,
    pub missing_since: Option<String>,
}

impl Ledger {
    /// Every row of the type, in the order of [`Key`].
    pub fn rows(&self, ty: &str, each: &mut dyn FnMut(Key, Row) -> Result<()>) -> Result<()> {
        self.stored_rows(ty, &mut |key, row| each(key, row.read()?))
    }

    /// The same, each read as far as it is asked.
    pub fn stored_rows(&self, ty: &str, each: &mut dyn FnMut(Key, &dyn StoredRow) -> Result<()>) -> Result<()> {
        // The column's collation is BINARY: bytes of the key's text, which is the order of `Key`.
        let query = format!("SELECT {COLUMNS}, key FROM records WHERE type = ?1 ORDER BY key");
        let mut statement = self.sql("cannot read", self.connection.prepare_cached(&query))?;
        let mut found = self.sql("cannot read", statement.query([ty]))?;
        while let Some(columns) = self.sql("cannot read", found.next())? {
            let key: String = self.sql("cannot read", columns.get(10))?;
            each(Key::parse(&key), &AtRow { ledger: self, columns })?;
        }
        Ok(())
    }

    /// The same rows in the same order, each with what the target calls the record: all that matching needs, without
    /// the values, which take most of the time to read.
    pub fn keys(&self, ty: &str, each: &mut dyn FnMut(OwnedKey, &str) -> Result<()>) -> Result<()> {
        let query = "SELECT key, target_id, state FROM records WHERE type = ?1 ORDER BY key";
        let mut statement = self.sql("cannot read", self.connection.prepare_cached(query))?;
        let mut found = self.sql("cannot read", statement.query([ty]))?;
        while let Some(columns) = self.sql("cannot read", found.next())? {
            let text = |index| {
                let value = self.sql("cannot read", columns.get_ref(index))?;
                value.as_str().map_err(|cause| self.damaged("a column of a record is no text").because(cause))
            };
            let (key, state) = (Key::parse(text(0)?), text(2)?);
            let standing = match state {
                "declined" => Ownership::Declined,
                "deleted_in_target" => Ownership::DeletedInTarget,
                "retired" => Ownership::Retired,
                _ => Ownership::Owned,
            };
            each(OwnedKey { key, standing }, text(1)?)?;
        }
        Ok(())
    }

    pub fn row(&self, ty: &str, key: &Key) -> Result<Option<Row>> {
        let query = format!("SELECT {COLUMNS} FROM records WHERE type = ?1 AND key = ?2");
        let mut statement = self.sql("cannot read", self.connection.prepare_cached(&query))?;
        let mut found = self.sql("cannot read", statement.query(params![ty, key.to_string()]))?;
        let columns = self.sql("cannot read", found.next())?;
        columns.map(|columns| self.row_of(columns)).transpose()
    }

    /// The key under which a record of the target is known here.
    pub fn key_of(&self, ty: &str, target_id: &str) -> Result<Option<Key>> {
        let query = "SELECT key FROM records WHERE type = ?1 AND target_id = ?2";
        let find = self.connection.query_row(query, [ty, target_id], |row| row.get::<_, String>(0)).optional();
        Ok(self.sql("cannot read", find)?.map(|key| Key::parse(&key)))
    }

    /// The types that have rows, by name.
    pub fn types(&self) -> Result<Vec<String>> {
        let read = || {
            let mut statement = self.connection.prepare("SELECT DISTINCT type FROM records ORDER BY type")?;
            statement.query_map([], |row| row.get(0))?.collect()
        };
        self.sql("cannot read", read())
    }

    /// How many records of the type are ours: owned, retired or pinned. What a person declined is not.
    pub fn count_owned(&self, ty: &str) -> Result<u64> {
        let query = "SELECT count(*) FROM records WHERE type = ?1 AND state IN ('owned', 'retired', 'pinned')";
        let count: i64 = self.sql("cannot read", self.connection.query_row(query, [ty], |row| row.get(0)))?;
        Ok(count.unsigned_abs())
    }

    /// Whether a record of ours holds something in that attribute, as far as was last seen.
    pub fn has_filled(&self, ty: &str, attribute: &str) -> Result<bool> {
        // Most lines are passed over unread.
        let query =
            "SELECT attributes, leaving FROM records WHERE type = ?1 AND state IN ('owned', 'retired', 'pinned')
             AND (instr(attributes, ?2) > 0 OR instr(coalesce(leaving, ''), ?2) > 0)";
        let mut statement = self.sql("cannot read", self.connection.prepare_cached(query))?;
        let mut found = self.sql("cannot read", statement.query(params![ty, to_json(&attribute)? + ":"]))?;
        while let Some(columns) = self.sql("cannot read", found.next())? {
            let text = self.sql("cannot read", columns.get::<_, String>(0))?;
            let values: BTreeMap<String, Held> = self.json("the values of a record", &text)?;
            let leaving = self.sql("cannot read", columns.get::<_, Option<String>>(1))?;
            let leaving =
                leaving.map(|text| self.json::<StoredLeaving>("why a record is leaving", &text)).transpose()?;
            // A mark that is gone with its column was taken back by nobody.
            let flag = leaving.as_ref().and_then(|leaving| leaving.before.get(attribute)).map(|(_, flag)| flag);
            let held = values.get(attribute).map(|held| &held.applied);
            if flag.or(held).is_some_and(|value| !value.is_empty()) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    pub(super) fn row_of(&self, columns: &rusqlite::Row<'_>) -> Result<Row> {
        let text = |index| self.sql("cannot read", columns.get::<_, String>(index));
        let maybe = |index| self.sql("cannot read", columns.get::<_, Option<String>>(index));
        let values = self.json("the values of a record", &text(5)?)?;
        Ok(Row {
            mapping: text(0)?,
            state: self.state_of(&text(1)?, maybe(6)?, maybe(7)?, maybe(8)?)?,
            origin: match text(2)?.as_str() {
                "created" => Origin::Created,
                "adopted" => Origin::Adopted,
                other => return Err(self.damaged(&format!("{other:?} is no origin of a record"))),
            },
            target_id: text(3)?,
            label: text(4)?,
            values,
            missing_since: self.time_or_none(maybe(9)?)?,
        })
    }

    fn state_of(
        &self,
        word: &str,
        leaving: Option<String>,
        since: Option<String>,
        paused_at: Option<String>,
    ) -> Result<State> {
        Ok(match (word, leaving, since) {
            ("owned", ..) => State::Owned,
            ("declined", ..) => State::Declined,
            ("deleted_in_target", ..) => State::DeletedInTarget,
            ("pinned", ..) => State::Pinned,
            ("retired", Some(leaving), Some(since)) => {
                let stored: StoredLeaving = self.json("why a record is leaving", &leaving)?;
                State::Retired(Leaving {
                    since: self.time(&since)?,
                    cause: stored.cause,
                    steps_done: stored.steps_done,
                    before: stored.before,
                    paused_at: self.time_or_none(paused_at)?,
                })
            }
            _ => return Err(self.damaged(&format!("a record's state {word:?} is incomplete or not known"))),
        })
    }
}

/// The row a cursor stands at.
struct AtRow<'r> {
    ledger: &'r Ledger,
    columns: &'r rusqlite::Row<'r>,
}

impl StoredRow for AtRow<'_> {
    fn read(&self) -> Result<Row> {
        self.ledger.row_of(self.columns)
    }

    fn settled(&self) -> Option<SettledRow<'_>> {
        let text = |index| self.columns.get_ref(index).ok()?.as_str().ok();
        let never_missed = self.columns.get_ref(9).is_ok_and(|value| value == ValueRef::Null);
        if !(never_missed && matches!(text(1)?, "owned" | "pinned")) {
            return None;
        }
        Some(SettledRow { mapping: text(0)?, target_id: text(3)?, values: text(5)? })
    }
}

/// What of [`Leaving`] is no timer: only this moves the generation.
#[derive(Serialize, Deserialize)]
struct StoredLeaving {
    cause: Cause,
    steps_done: usize,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    before: BTreeMap<String, (Datum, Datum)>,
}

impl Stored {
    /// The stored form; a value that is not known is a defect of whoever planned it.
    pub(super) fn new(ty: &str, key: &Key, row: Row) -> Result<Stored> {
        for (name, held) in &row.values {
            if !(held.applied.is_known() && held.settled.is_known()) {
                return Err(not_known(ty, key, name));
            }
        }
        let attributes = to_json(&row.values)?;
        let mut stored = Stored {
            mapping: row.mapping,
            state: "owned",
            origin: match row.origin {
                Origin::Created => "created",
                Origin::Adopted => "adopted",
            },
            target_id: row.target_id,
            label: row.label,
            attributes,
            leaving: None,
            leaving_since: None,
            paused_at: None,
            missing_since: row.missing_since.map(|at| at.to_string()),
        };
        match row.state {
            State::Owned => {}
            State::Declined => stored.state = "declined",
            State::DeletedInTarget => stored.state = "deleted_in_target",
            State::Pinned => stored.state = "pinned",
            State::Retired(leaving) => {
                if let Some((name, _)) = leaving.before.iter().find(|(_, (a, b))| !(a.is_known() && b.is_known())) {
                    return Err(not_known(ty, key, name));
                }
                stored.state = "retired";
                stored.leaving_since = Some(leaving.since.to_string());
                stored.paused_at = leaving.paused_at.map(|at| at.to_string());
                let Leaving { cause, steps_done, before, .. } = leaving;
                stored.leaving = Some(to_json(&StoredLeaving { cause, steps_done, before })?);
            }
        }
        Ok(stored)
    }
}

fn not_known(ty: &str, key: &Key, attribute: &str) -> Error {
    let message =
        format!("a defect: the value of {attribute} of {ty} {key} is not known and was to go into the ledger");
    // Loud wherever the planner is exercised; the ledger's own tests want the error that a shipped build gives.
    if cfg!(debug_assertions) && !cfg!(test) {
        panic!("{message}");
    }
    Error::failed(message).hint("nothing was written; please report this, with the saved plan")
}
