//! Entries of the journal: one stands there from before something is begun until the ledger agrees with what became of it.
//!
//! Deliberately knows no rows: what an entry brought is known by its id.

use rusqlite::{Connection, params};

use super::RunId;

/// Names one entry of the journal; never used twice.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct EntryId(pub(super) i64);

/// What an entry is about; `schema.sql` says more.
#[derive(Clone, Copy)]
pub(super) enum Kind {
    Batch,
    Change,
    Ledger,
}

impl Kind {
    pub fn word(self) -> &'static str {
        match self {
            Kind::Batch => "batch",
            Kind::Change => "change",
            Kind::Ledger => "ledger",
        }
    }
}

impl EntryId {
    /// Enters something about records of a type; `intent` as `schema.sql` has it.
    pub(super) fn enter(
        to: &Connection,
        run: RunId,
        kind: Kind,
        ty: &str,
        intent: Option<&str>,
    ) -> rusqlite::Result<EntryId> {
        let query = "INSERT INTO journal (run, kind, type, intent) VALUES (?1, ?2, ?3, ?4)";
        to.prepare_cached(query)?.execute(params![run.0, kind.word(), ty, intent])?;
        Ok(EntryId(to.last_insert_rowid()))
    }
}
