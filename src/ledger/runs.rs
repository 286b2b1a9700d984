//! The history of runs: what ran when, how it ended, and which run never did.

use jiff::Timestamp;
use rusqlite::{OptionalExtension, params};
use serde_json::Value as Json;

use super::Ledger;
use crate::error::{Exit, Result};
use crate::plan::Header;

/// Names one run in the history and in commands (`undo JOB RUN`).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct RunId(pub i64);

impl std::fmt::Display for RunId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

/// How far a run has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RunState {
    /// Started and not finished: now, or its process died.
    Running,
    Finished,
    /// Died; a later run found it so.
    Interrupted,
}

/// One run.
#[derive(Clone, PartialEq, Debug)]
pub struct Run {
    pub id: RunId,
    /// The command: `run`, `apply`, …
    pub kind: String,
    pub state: RunState,
    pub as_of: Timestamp,
    pub finished: Option<Timestamp>,
    /// The exit code, as in [`Exit`].
    pub exit: Option<u8>,
    /// The plan it began to apply.
    pub plan: Option<String>,
    /// When the source of that plan was read.
    pub source_as_of: Option<Timestamp>,
    /// What the caller of [`Ledger::finish_run`] wrote.
    pub summary: Option<Json>,
}

impl Ledger {
    /// Enters a run into the history. `as_of` is the time it judges everything by.
    pub fn begin_run(&mut self, kind: &str, as_of: Timestamp) -> Result<RunId> {
        self.transact("run begun", |transaction, view| {
            let query = "INSERT INTO runs (kind, state, as_of) VALUES (?1, 'running', ?2)";
            let done = transaction.execute(query, params![kind, as_of.to_string()]);
            done.map_err(|cause| view.failed(cause))?;
            Ok(RunId(transaction.last_insert_rowid()))
        })
    }

    /// Notes which plan the run applies, before its first write: from then on an older snapshot is a preview only.
    pub fn run_applies(&mut self, run: RunId, plan: &Header) -> Result<()> {
        self.transact("run applies", |transaction, view| {
            let query = "UPDATE runs SET plan = ?2, source_as_of = ?3 WHERE id = ?1";
            let done = transaction.execute(query, params![run.0, plan.id, plan.source_as_of.to_string()]);
            done.map(drop).map_err(|cause| view.failed(cause))
        })
    }

    pub fn finish_run(&mut self, run: RunId, at: Timestamp, exit: Exit, summary: &Json) -> Result<()> {
        self.transact("run finished", |transaction, view| {
            let query = "UPDATE runs SET state = 'finished', finished = ?2, exit = ?3, summary = ?4 WHERE id = ?1";
            let done = transaction.execute(query, params![run.0, at.to_string(), exit as u8, summary.to_string()]);
            done.map(drop).map_err(|cause| view.failed(cause))
        })
    }

    /// Marks every unfinished run but the current one as interrupted. Only for the holder of the lock: nobody else can
    /// know that they are dead.
    pub fn mark_interrupted(&mut self, current: RunId) -> Result<()> {
        self.transact("runs marked", |transaction, view| {
            let query = "UPDATE runs SET state = 'interrupted' WHERE state = 'running' AND id <> ?1";
            transaction.execute(query, [current.0]).map(drop).map_err(|cause| view.failed(cause))
        })
    }

    /// The newest runs first, at most `limit`.
    pub fn runs(&self, limit: u32) -> Result<Vec<Run>> {
        self.runs_where("1", i64::from(limit))
    }

    /// Runs that started and never finished, newest first; the caller's own among them.
    pub fn unfinished_runs(&self) -> Result<Vec<Run>> {
        self.runs_where("state = 'running'", -1)
    }

    /// The time the last finished run judged by. A run with an earlier one has a clock that moved back.
    pub fn last_as_of(&self) -> Result<Option<Timestamp>> {
        // The last one, not the latest time: one run with its clock in the future must not count for ever.
        self.one_time("SELECT as_of FROM runs WHERE state = 'finished' ORDER BY id DESC LIMIT 1")
    }

    /// When the source that was applied last was read, even by a run that died on it.
    pub fn last_snapshot_as_of(&self) -> Result<Option<Timestamp>> {
        // The last one, not the latest time: one read under a clock in the future must not count for ever.
        self.one_time("SELECT source_as_of FROM runs WHERE source_as_of IS NOT NULL ORDER BY id DESC LIMIT 1")
    }

    fn one_time(&self, query: &str) -> Result<Option<Timestamp>> {
        let found = self.connection.query_row(query, [], |row| row.get(0)).optional();
        self.time_or_none(self.sql("cannot read", found)?)
    }

    fn runs_where(&self, condition: &str, limit: i64) -> Result<Vec<Run>> {
        let query = format!(
            "SELECT id, kind, state, as_of, finished, exit, plan, source_as_of, summary FROM runs
             WHERE {condition} ORDER BY id DESC LIMIT ?1"
        );
        let mut statement = self.sql("cannot read", self.connection.prepare(&query))?;
        let mut found = self.sql("cannot read", statement.query([limit]))?;
        let mut runs = Vec::new();
        while let Some(columns) = self.sql("cannot read", found.next())? {
            runs.push(self.run_of(columns)?);
        }
        Ok(runs)
    }

    fn run_of(&self, columns: &rusqlite::Row<'_>) -> Result<Run> {
        let maybe = |index| self.sql("cannot read", columns.get::<_, Option<String>>(index));
        let text = |index| self.sql("cannot read", columns.get::<_, String>(index));
        Ok(Run {
            id: RunId(self.sql("cannot read", columns.get(0))?),
            kind: text(1)?,
            state: match text(2)?.as_str() {
                "running" => RunState::Running,
                "finished" => RunState::Finished,
                _ => RunState::Interrupted,
            },
            as_of: self.time(&text(3)?)?,
            finished: self.time_or_none(maybe(4)?)?,
            exit: self.sql("cannot read", columns.get(5))?,
            plan: maybe(6)?,
            source_as_of: self.time_or_none(maybe(7)?)?,
            summary: maybe(8)?.map(|json| self.json("the summary of a run", &json)).transpose()?,
        })
    }
}
