//! The ledger: what this job owns in its target, what it last wrote there, and what people decided about it.
//!
//! One SQLite file per job. Hides SQL, how rows are stored, and how an interrupted write is recorded so that it can be
//! settled later (the journal). Deliberately decides nothing: the plan says what a row becomes, [`crate::apply`] when
//! it is written, and the caller what an older clock or an unfinished run means. It reads no clock either; every time
//! is given to it.
//!
//! The file is meant to be read with the `sqlite3` tool as well; `schema.sql` beside this file describes
//! its tables.

mod approvals;
mod batch;
mod decisions;
mod entry;
mod journal;
mod moving;
mod open;
mod records;
mod runs;
mod waiting;
mod written;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension};
use serde::{Deserialize, Serialize};

use crate::baseline::Base;
use crate::error::{Error, Result};
use crate::record::Collection;

pub use approvals::{ApprovalId, HeldPlan, UsedApproval};
pub use batch::Batch;
pub use decisions::{Decided, Decision, Rule};
pub use entry::EntryId;
pub use journal::{ChangeEnd, Intent, UnfinishedBatch, UnfinishedChange};
pub use moving::{Erased, import};
pub use runs::{Run, RunId, RunState};
pub use waiting::Became;

/// Whose ledger it is; kept in the file, and any other is refused.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Identity {
    /// The job's `name`.
    pub job: String,
    /// As the job's `[source]` spells it.
    pub tenant: String,
    /// [`crate::target::Target::identity`].
    pub target: String,
}

/// The last run in which every collection the job uses was complete and nothing was left out.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct GoodRun {
    pub as_of: Timestamp,
    /// Records read, per collection.
    pub counts: BTreeMap<Collection, u64>,
}

/// An open ledger.
///
/// Writing needs [`crate::lock::Lock`]; a reader needs nothing and sees the state at the time it opened.
#[derive(Debug)]
pub struct Ledger {
    connection: Connection,
    path: PathBuf,
    /// Behind the connection, so that it is dropped after it.
    _held: open::Held,
}

/// Names in the table `meta`.
mod meta {
    pub const JOB: &str = "job";
    pub const TENANT: &str = "tenant";
    pub const TARGET: &str = "target";
    pub const GENERATION: &str = "generation";
    pub const ACCEPTED_SCOPE: &str = "accepted_scope";
    pub const LAST_GOOD_RUN: &str = "last_good_run";
    pub const DELTA_BASE: &str = "delta_base";
}

impl Ledger {
    /// Opens the ledger, or creates it with its folder (both for the owner's eyes only).
    ///
    /// Refuses, and leaves the file as it is: a ledger of another job, tenant or target (exit 2); a newer format, a
    /// damaged file, a file that is no ledger (exit 1).
    pub fn open(path: &Path, identity: &Identity) -> Result<Ledger> {
        open::to_write(path, identity)
    }

    /// Opens the ledger to read, as one consistent state, while a run may be writing it; `None` when there is none
    /// yet. Refuses as [`Ledger::open`] does.
    pub fn open_to_read(path: &Path, identity: &Identity) -> Result<Option<Ledger>> {
        open::to_read(path, identity)
    }

    /// Whose ledger it is.
    pub fn identity(&self) -> Result<Identity> {
        let value = |name| self.meta(name)?.ok_or_else(|| self.damaged(&format!("its {name} is missing")));
        Ok(Identity { job: value(meta::JOB)?, tenant: value(meta::TENANT)?, target: value(meta::TARGET)? })
    }

    /// Counts the changes of ownership and settled values. A saved plan is stale once it has moved. Timers and labels
    /// alone do not move it.
    pub fn generation(&self) -> Result<u64> {
        let text = self.meta(meta::GENERATION)?;
        text.and_then(|text| text.parse().ok()).ok_or_else(|| self.damaged("its generation is not a number"))
    }

    /// The scope that was last in force with a person's knowledge; `None` before the first run.
    pub fn accepted_scope(&self) -> Result<Option<String>> {
        self.meta(meta::ACCEPTED_SCOPE)
    }

    pub fn set_accepted_scope(&mut self, scope: &str) -> Result<()> {
        self.set_meta(meta::ACCEPTED_SCOPE, scope)
    }

    pub fn last_good_run(&self) -> Result<Option<GoodRun>> {
        let Some(json) = self.meta(meta::LAST_GOOD_RUN)? else { return Ok(None) };
        self.json("the last good run", &json).map(Some)
    }

    pub fn record_good_run(&mut self, run: &GoodRun) -> Result<()> {
        let json = to_json(run)?;
        self.set_meta(meta::LAST_GOOD_RUN, &json)
    }

    /// The snapshot that the next read may begin at; `None` before the first one.
    pub fn delta_base(&self) -> Result<Option<Base>> {
        let Some(json) = self.meta(meta::DELTA_BASE)? else { return Ok(None) };
        self.json("the base of the next read", &json).map(Some)
    }

    /// Names the snapshot that the next read may begin at. It must be whole on disk, its links with it.
    pub fn set_delta_base(&mut self, base: &Base) -> Result<()> {
        let json = to_json(base)?;
        self.set_meta(meta::DELTA_BASE, &json)
    }

    fn meta(&self, name: &str) -> Result<Option<String>> {
        let find = || {
            let mut statement = self.connection.prepare_cached("SELECT value FROM meta WHERE name = ?1")?;
            statement.query_row([name], |row| row.get(0)).optional()
        };
        self.sql("cannot read", find())
    }

    fn set_meta(&mut self, name: &str, value: &str) -> Result<()> {
        self.transact("meta", |transaction, view| {
            let done = transaction.execute("INSERT OR REPLACE INTO meta VALUES (?1, ?2)", [name, value]);
            done.map(drop).map_err(|cause| view.failed(cause))
        })
    }

    /// Turns a failure of SQLite into an error that names the ledger.
    fn sql<T>(&self, what: &str, result: rusqlite::Result<T>) -> Result<T> {
        result.map_err(|cause| sqlite_error(what, &self.path, cause))
    }

    /// Reads JSON that this program wrote.
    fn json<T: serde::de::DeserializeOwned>(&self, what: &str, text: &str) -> Result<T> {
        serde_json::from_str(text).map_err(|cause| self.damaged(&format!("{what} cannot be read")).because(cause))
    }

    fn time(&self, text: &str) -> Result<Timestamp> {
        text.parse().map_err(|cause: jiff::Error| self.damaged(&format!("{text:?} is not a time")).because(cause))
    }

    fn time_or_none(&self, text: Option<String>) -> Result<Option<Timestamp>> {
        text.map(|text| self.time(&text)).transpose()
    }

    fn damaged(&self, why: &str) -> Error {
        open::damaged(&self.path, why)
    }
}

/// What a step in a transaction needs to name its errors while the connection is borrowed.
struct View<'a> {
    path: &'a Path,
}

impl View<'_> {
    fn failed(&self, cause: rusqlite::Error) -> Error {
        sqlite_error("cannot write", self.path, cause)
    }
}

fn to_json<T: Serialize>(value: &T) -> Result<String> {
    serde_json::to_string(value)
        .map_err(|cause| Error::failed("cannot write a value as JSON for the ledger").because(cause))
}

/// What went wrong in SQLite, with the advice that fits.
fn sqlite_error(what: &str, path: &Path, cause: rusqlite::Error) -> Error {
    use rusqlite::ErrorCode;
    let hint = match cause.sqlite_error_code() {
        Some(ErrorCode::DiskFull) => "free some space on its disk and run again; what was finished before is kept",
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
            "another program has the file open for writing: close it and run again"
        }
        Some(ErrorCode::ReadOnly | ErrorCode::PermissionDenied | ErrorCode::CannotOpen) => {
            "let the account that runs this job read and write the file and its folder"
        }
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => open::RESTORE,
        // SQLite says so, and not `DiskFull`, where it cannot even make its side files.
        Some(ErrorCode::SystemIoFailure) => {
            "most likely the disk of the state folder is full, or it fails: look with `df`, free some space or put the \
             folder on another disk, and run again; what was finished before is kept"
        }
        _ => "run again; what was finished before is kept",
    };
    Error::failed(format!("{what} the ledger {}", path.display())).because(cause).hint(hint)
}
