//! What waits for a person and what persons said: held plans and approvals.
//!
//! Deliberately judges nothing: which records an approval covers and whether a cause still holds is the plan's matter.

use std::path::{Path, PathBuf};

use jiff::Timestamp;
use rusqlite::params;

use super::{Ledger, RunId, to_json};
use crate::error::Result;
use crate::plan::policy::CauseKind;
use crate::plan::{Approval, ApprovedRecord, LimitCheck, LimitName};
use crate::record::Key;

/// Names one approval.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ApprovalId(i64);

/// A plan that a limit held.
#[derive(Clone, PartialEq, Debug)]
pub struct HeldPlan {
    pub plan: String,
    /// Where it is saved.
    pub file: PathBuf,
    pub as_of: Timestamp,
    /// The checks that hold it.
    pub limits: Vec<LimitCheck>,
    /// It takes a run back.
    pub undoes: bool,
}

/// An approval that a run went through on.
#[derive(Clone, PartialEq, Debug)]
pub struct UsedApproval {
    pub used_by: RunId,
    pub limit: String,
    pub plan: String,
    pub at: Timestamp,
    pub by: String,
    /// How many records it covered.
    pub records: u64,
}

impl Ledger {
    /// The approvals that runs went through on, in the order they were given.
    pub fn used_approvals(&self) -> Result<Vec<UsedApproval>> {
        type Columns = (i64, String, String, String, String, i64);
        let read = || -> rusqlite::Result<Vec<Columns>> {
            let query = "SELECT used_by, limit_name, plan, at, by,
                   (SELECT count(*) FROM approved_records WHERE approval = id)
                 FROM approvals WHERE used_by IS NOT NULL ORDER BY id";
            let mut statement = self.connection.prepare(query)?;
            let columns = |row: &rusqlite::Row<'_>| {
                Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?, row.get(5)?))
            };
            statement.query_map([], columns)?.collect()
        };
        let used = |(run, limit, plan, at, by, records): Columns| {
            let records = records.unsigned_abs();
            Ok(UsedApproval { used_by: RunId(run), limit, plan, at: self.time(&at)?, by, records })
        };
        self.sql("cannot read", read())?.into_iter().map(used).collect()
    }

    /// Notes a held plan; the same plan again replaces its note.
    pub fn hold(&mut self, held: &HeldPlan) -> Result<()> {
        let limits = to_json(&held.limits)?;
        let file = file_text(&held.file)?;
        self.transact("plan held", |transaction, view| {
            let query = "INSERT OR REPLACE INTO held_plans (plan, file, as_of, limits, undoes)
                         VALUES (?1, ?2, ?3, ?4, ?5)";
            let done =
                transaction.execute(query, params![held.plan, file, held.as_of.to_string(), limits, held.undoes]);
            done.map(drop).map_err(|cause| view.failed(cause))
        })
    }

    /// Forgets the held plans of the nights, or those that take a run back: one went through, and what they showed is
    /// done or no longer wanted.
    pub fn release_held(&mut self, undoes: bool) -> Result<()> {
        self.transact("held plans released", |transaction, view| {
            let done = transaction.execute("DELETE FROM held_plans WHERE undoes = ?1", [undoes]);
            done.map(drop).map_err(|cause| view.failed(cause))
        })
    }

    /// The held plans, newest first.
    pub fn pending(&self) -> Result<Vec<HeldPlan>> {
        type Columns = (String, String, String, String, bool);
        let read = || -> rusqlite::Result<Vec<Columns>> {
            let mut statement = self.connection.prepare("SELECT plan, file, as_of, limits, undoes FROM held_plans")?;
            let columns =
                |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?));
            statement.query_map([], columns)?.collect()
        };
        let found = self.sql("cannot read", read())?;
        let plans = found.into_iter().map(|(plan, file, as_of, limits, undoes)| {
            let limits = self.json("the limits of a held plan", &limits)?;
            Ok(HeldPlan { plan, file: file.into(), as_of: self.time(&as_of)?, limits, undoes })
        });
        let mut plans = plans.collect::<Result<Vec<_>>>()?;
        plans.sort_by(|a, b| b.as_of.cmp(&a.as_of).then_with(|| a.plan.cmp(&b.plan)));
        Ok(plans)
    }

    /// Records an approval with its records.
    pub fn approve(&mut self, approval: &Approval) -> Result<ApprovalId> {
        self.transact("approval", |transaction, view| {
            let write = || {
                transaction.execute(
                    "INSERT INTO approvals (limit_name, plan, at, by, scope, undoes) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
                    params![
                        approval.limit.word(),
                        approval.plan,
                        approval.at.to_string(),
                        approval.by,
                        approval.scope,
                        approval.undoes
                    ],
                )?;
                let id = transaction.last_insert_rowid();
                let mut insert = transaction.prepare(
                    "INSERT INTO approved_records (approval, type, key, cause, shown) VALUES (?1, ?2, ?3, ?4, ?5)",
                )?;
                for record in &approval.records {
                    let cause = record.cause.map(CauseKind::word);
                    insert.execute(params![
                        id,
                        record.ty,
                        record.key.to_string(),
                        cause,
                        record.shown.as_deref().unwrap_or("")
                    ])?;
                }
                Ok(ApprovalId(id))
            };
            write().map_err(|cause| view.failed(cause))
        })
    }

    /// The approvals no run has used yet, in the order they were given; records by type and key.
    pub fn approvals(&self) -> Result<Vec<(ApprovalId, Approval)>> {
        type Columns = (i64, String, String, String, String, Option<String>, bool);
        let read = || -> rusqlite::Result<Vec<Columns>> {
            let query =
                "SELECT id, limit_name, plan, at, by, scope, undoes FROM approvals WHERE used_by IS NULL ORDER BY id";
            let mut statement = self.connection.prepare(query)?;
            let columns = |row: &rusqlite::Row<'_>| {
                Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?, row.get(5)?, row.get(6)?))
            };
            statement.query_map([], columns)?.collect()
        };
        let found = self.sql("cannot read", read())?;
        let approvals = found.into_iter().map(|(id, limit, plan, at, by, scope, undoes)| {
            let limit = LimitName::ALL.into_iter().find(|name| name.word() == limit);
            let limit = limit.ok_or_else(|| self.damaged("an approval is about a limit that is not known"))?;
            let records = self.approved_records(id)?;
            Ok((ApprovalId(id), Approval { limit, plan, at: self.time(&at)?, by, records, undoes, scope }))
        });
        approvals.collect()
    }

    /// Marks approvals as used by a run: they let nothing else through.
    pub fn use_up(&mut self, approvals: &[ApprovalId], run: RunId) -> Result<()> {
        self.transact("approvals used", |transaction, view| {
            for approval in approvals {
                let query = "UPDATE approvals SET used_by = ?2 WHERE id = ?1";
                transaction.execute(query, [approval.0, run.0]).map_err(|cause| view.failed(cause))?;
            }
            Ok(())
        })
    }

    fn approved_records(&self, approval: i64) -> Result<Vec<ApprovedRecord>> {
        type Columns = (String, String, Option<String>, String);
        let read = || -> rusqlite::Result<Vec<Columns>> {
            let query =
                "SELECT type, key, cause, shown FROM approved_records WHERE approval = ?1 ORDER BY type, key, shown";
            let mut statement = self.connection.prepare_cached(query)?;
            statement.query_map([approval], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)))?.collect()
        };
        let found = self.sql("cannot read", read())?;
        let records = found.into_iter().map(|(ty, key, cause, shown)| {
            let cause =
                cause.map(|word| self.json("the cause of an approved removal", &format!("{word:?}"))).transpose()?;
            Ok(ApprovedRecord {
                ty,
                key: Key::parse(&key),
                cause,
                shown: Some(shown).filter(|shown| !shown.is_empty()),
            })
        });
        records.collect()
    }
}

/// A path as text, refused where it is none: a changed path would name another file.
fn file_text(path: &Path) -> Result<&str> {
    path.to_str().ok_or_else(|| {
        crate::error::Error::usage(format!("the path {} is not valid UTF-8", path.display()))
            .hint("name a state folder whose path is plain text")
    })
}
