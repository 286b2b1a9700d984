//! What persons decided about single records, and what the target refused: both are obeyed by later plans.
//!
//! Deliberately judges nothing: whether a decision makes sense is looked at where it is typed.

use std::collections::BTreeMap;

use jiff::Timestamp;
use rusqlite::{OptionalExtension, params};

use super::journal::rows_at_once;
use super::{Ledger, RunId, to_json};
use crate::error::Result;
use crate::plan::change::{Refusal, Row};
use crate::record::Key;

/// What can be decided about a record.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Rule {
    Resolve,
    Adopt,
    Decline,
    Pin,
    RevokeDecline,
    RevokePin,
}

impl Rule {
    /// The word in the ledger and in `history`.
    pub fn word(self) -> &'static str {
        match self {
            Rule::Resolve => "resolve",
            Rule::Adopt => "adopt",
            Rule::Decline => "decline",
            Rule::Pin => "pin",
            Rule::RevokeDecline => "decline --revoke",
            Rule::RevokePin => "pin --revoke",
        }
    }

    /// The command it is typed as.
    pub fn kind(self) -> &'static str {
        self.word().trim_end_matches(" --revoke")
    }
}

/// A person's word about one record, with what it makes of the ledger.
#[derive(Clone, PartialEq, Debug)]
pub struct Decision {
    pub rule: Rule,
    pub ty: String,
    pub key: Key,
    /// The row as it was.
    pub before: Option<Row>,
    /// What rows become by it; a record may be taken from one key to another.
    pub rows: Vec<(Key, Option<Row>)>,
}

/// A decision as it is remembered.
#[derive(Clone, PartialEq, Debug)]
pub struct Decided {
    pub at: Timestamp,
    /// User id, `SUDO_USER`, `--by`.
    pub by: String,
    pub what: String,
    pub ty: String,
    pub key: Key,
}

impl Ledger {
    /// Makes decisions true and remembers who took them: all of them or none.
    pub fn decide(&mut self, run: RunId, at: Timestamp, by: &str, decisions: &[Decision]) -> Result<()> {
        let befores = decisions.iter().map(|decision| decision.before.as_ref().map(to_json).transpose());
        let befores = befores.collect::<Result<Vec<Option<String>>>>()?;
        self.transact("decisions", |transaction, view| {
            for (decision, before) in decisions.iter().zip(befores) {
                rows_at_once(transaction, view, run, &decision.ty, decision.rows.iter().cloned().map(Ok))?;
                let query = "INSERT INTO decisions (at, by, what, type, key, before) VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
                let Decision { rule, ty, key, .. } = decision;
                let values = params![at.to_string(), by, rule.word(), ty, key.to_string(), before];
                transaction.execute(query, values).map_err(|cause| view.failed(cause))?;
            }
            Ok(())
        })
    }

    /// What the ledger held of a record before that decision was taken last; `None` where it was never taken, or
    /// nothing was held.
    pub fn before_decision(&self, rule: Rule, ty: &str, key: &Key) -> Result<Option<Row>> {
        let query = "SELECT before FROM decisions WHERE what = ?1 AND type = ?2 AND key = ?3 ORDER BY id DESC LIMIT 1";
        let values = params![rule.word(), ty, key.to_string()];
        let found = self.connection.query_row(query, values, |row| row.get::<_, Option<String>>(0)).optional();
        let found = self.sql("cannot read", found)?.flatten();
        found.map(|json| self.json("a record before a decision", &json)).transpose()
    }

    /// The newest decisions, newest first.
    pub fn decisions(&self, limit: u32) -> Result<Vec<Decided>> {
        type Columns = (String, String, String, String, String);
        let read = || -> rusqlite::Result<Vec<Columns>> {
            let query = "SELECT at, by, what, type, key FROM decisions ORDER BY id DESC LIMIT ?1";
            let mut statement = self.connection.prepare(query)?;
            let columns =
                |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?));
            statement.query_map([limit], columns)?.collect()
        };
        let decided =
            |(at, by, what, ty, key): Columns| Ok(Decided { at: self.time(&at)?, by, what, ty, key: Key::parse(&key) });
        self.sql("cannot read", read())?.into_iter().map(decided).collect()
    }

    /// What the target refused and has not taken since, by type and key.
    pub fn refusals(&self) -> Result<BTreeMap<(String, Key), Refusal>> {
        type Columns = (String, String, String, String, String);
        let read = || -> rusqlite::Result<Vec<Columns>> {
            let mut statement = self.connection.prepare("SELECT type, key, content, at, reason FROM refused")?;
            let columns =
                |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?));
            statement.query_map([], columns)?.collect()
        };
        let refusal = |(ty, key, content, at, reason): Columns| {
            let key = Key::parse(&key);
            Ok(((ty.clone(), key.clone()), Refusal { ty, key, content, at: self.time(&at)?, reason }))
        };
        self.sql("cannot read", read())?.into_iter().map(refusal).collect()
    }

    /// From here on these are what the target refuses; `whole` says that nothing else is.
    pub fn set_refusals(&mut self, refusals: &[Refusal], whole: bool) -> Result<()> {
        self.transact("refusals", |transaction, view| {
            let write = || -> rusqlite::Result<()> {
                if whole {
                    transaction.execute("DELETE FROM refused", [])?;
                }
                let mut insert = transaction.prepare("INSERT OR REPLACE INTO refused VALUES (?1, ?2, ?3, ?4, ?5)")?;
                for Refusal { ty, key, content, at, reason } in refusals {
                    insert.execute(params![ty, key.to_string(), content, at.to_string(), reason])?;
                }
                Ok(())
            };
            write().map_err(|cause| view.failed(cause))
        })
    }
}
