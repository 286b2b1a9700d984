//! Moving a ledger to another place, and erasing a person from it.
//!
//! Hides how SQLite copies a file that is in use, and that erased rows are overwritten rather than only unlinked.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, OpenFlags};

use super::open::{self, BUSY};
use super::{Identity, Ledger, meta, sqlite_error};
use crate::crash;
use crate::error::{Context, Error, Result};
use crate::record::{Guid, Key};

impl Ledger {
    /// Writes a copy into a new file, readable by its owner alone. Only for a ledger that is open to read.
    pub fn copy_to(self, to: &Path) -> Result<()> {
        let failed = || format!("cannot write {}", to.display());
        let made = OpenOptions::new().write(true).create_new(true).mode(0o600).open(to);
        made.map_err(|cause| match cause.kind() {
            std::io::ErrorKind::AlreadyExists => {
                Error::usage(format!("{} is there already", to.display())).hint("name a file that is not there yet")
            }
            _ => Error::failed(failed()).because(cause),
        })?;
        let copy = || {
            // Copied as one state, whoever writes meanwhile, but not inside the reader's transaction.
            self.connection.execute_batch("COMMIT")?;
            self.connection.execute("VACUUM INTO ?1", [to.to_string_lossy()]).map(drop)
        };
        let copied = copy().map_err(|cause| sqlite_error("cannot copy", &self.path, cause));
        if copied.is_err() {
            // What is left of it is no ledger; the error that led here matters more than one of removing it.
            let _ = fs::remove_file(to);
        }
        copied?;
        File::open(to).and_then(|file| file.sync_all()).failing(failed)
    }

    /// The records that the job owns of an object: its own, and those that join it with others.
    pub fn owned_by(&self, id: Guid) -> Result<Vec<(String, Key)>> {
        let read = || -> rusqlite::Result<Vec<(String, String)>> {
            let query = "SELECT type, key FROM records
                 WHERE state IN ('owned', 'retired', 'pinned') AND instr(key, ?1) > 0 ORDER BY type, key";
            let mut statement = self.connection.prepare(query)?;
            statement.query_map([id.to_string()], |row| Ok((row.get(0)?, row.get(1)?)))?.collect()
        };
        let found = self.sql("cannot read", read())?;
        Ok(found.into_iter().map(|(ty, key)| (ty, Key::parse(&key))).collect())
    }

    /// What people call the object, as far as the ledger knows.
    pub fn labels_of(&self, id: Guid) -> Result<Vec<String>> {
        let read = || -> rusqlite::Result<Vec<String>> {
            let query = "SELECT DISTINCT label FROM records WHERE key = ?1 UNION
                         SELECT DISTINCT label FROM written WHERE key = ?1 AND label IS NOT NULL";
            self.connection.prepare(query)?.query_map([id.to_string()], |row| row.get(0))?.collect()
        };
        self.sql("cannot read", read())
    }

    /// Erases whatever names the object, whoever owns it. What was erased is overwritten in the file.
    pub fn erase(&mut self, id: Guid) -> Result<Erased> {
        let id = id.to_string();
        self.sql("cannot write", self.connection.pragma_update(None, "secure_delete", true))?;
        // What a run that died had collected may name the object too.
        self.discard_unmarked()?;
        let erased = self.transact("person erased", |transaction, view| {
            let erase = || -> rusqlite::Result<Erased> {
                let mut entries = 0;
                // What runs wrote and people decided about others may name it as well, as the manager they had.
                for (table, columns) in [
                    ("rows", "key"),
                    ("replaced", "key"),
                    ("written", "key || written || coalesce(attributes, '')"),
                    ("decisions", "key || coalesce(before, '')"),
                    ("refused", "key || reason"),
                    ("approved_records", "key"),
                ] {
                    let query = format!("DELETE FROM {table} WHERE instr(lower({columns}), ?1) > 0");
                    entries += transaction.execute(&query, [&id])? as u64;
                }
                if entries > 0 {
                    let query = "UPDATE meta SET value = CAST(value AS INTEGER) + 1 WHERE name = ?1";
                    transaction.execute(query, [meta::GENERATION])?;
                }
                let of_others = "SELECT count(*) FROM records WHERE instr(lower(attributes), ?1) > 0";
                let of_others = transaction.query_row(of_others, [&id], |row| row.get::<_, i64>(0))?;
                Ok(Erased { entries, of_others: of_others as u64 })
            };
            erase().map_err(|cause| view.failed(cause))
        })?;
        // Old pages lie in the write-ahead log until it is emptied.
        let emptied = || self.connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()));
        self.sql("cannot write", emptied())?;
        self.sql("cannot write", self.connection.execute_batch("VACUUM"))?;
        self.sql("cannot write", emptied())?;
        Ok(erased)
    }
}

/// What became of a person in the ledger.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Erased {
    /// Entries that are gone.
    pub entries: u64,
    /// Records of others that still refer to the person, as they do in the target.
    pub of_others: u64,
}

/// Puts an exported ledger in its place, and says where the one is that was there. `moved` rewrites whose it is; else it
/// must be this job's. What was held stays behind: the next run holds it again.
pub fn import(from: &Path, to: &Path, identity: &Identity, moved: bool) -> Result<Option<PathBuf>> {
    let beside = |end: &str| {
        let mut name = to.as_os_str().to_owned();
        name.push(end);
        PathBuf::from(name)
    };
    let staged = beside(".import");
    let failed = || format!("cannot put {} in the place of {}", from.display(), to.display());
    if !from.try_exists().failing(failed)? {
        return Err(Error::usage(format!("there is no file {}", from.display()))
            .hint("give the file that `entra-import state export` wrote"));
    }
    let staged_with_side_files = || {
        let side_files = ["-journal", "-wal", "-shm"].map(|end| beside(&format!(".import{end}")));
        side_files.iter().chain([&staged]).try_for_each(|path| remove(path))
    };
    // Of an import that died. Its side files would be taken for those of this one: SQLite would bring pages of that ledger
    // into this.
    staged_with_side_files()?;
    let mut into = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&staged).failing(failed)?;
    std::io::copy(&mut File::open(from).failing(failed)?, &mut into).failing(failed)?;
    into.sync_all().failing(failed)?;
    drop(into);
    crash::point("ledger copied beside its place");
    adjust(&staged, identity, moved).map_err(|error| {
        // The next import takes away what is left; the error that led here matters more.
        let _ = staged_with_side_files();
        of_the_given(error, from, &staged)
    })?;
    crash::point("ledger adjusted beside its place");
    let kept = if to.try_exists().failing(failed)? { Some(keep(to, &beside)?) } else { None };
    crash::point("old ledger kept");
    // A log without its ledger would be taken for that of the new one.
    for end in SIDE_FILES {
        remove(&beside(end))?;
    }
    crash::point("old ledger without its log");
    fs::rename(&staged, to).failing(failed)?;
    crash::point("imported ledger in its place");
    let folder = to.parent().unwrap_or(Path::new("."));
    File::open(folder).and_then(|folder| folder.sync_all()).failing(failed)?;
    Ok(kept)
}

/// What is wrong with the copy, told of the file that was given: the copy is gone, and advice about a ledger in its place
/// would lead astray.
fn of_the_given(mut error: Error, from: &Path, staged: &Path) -> Error {
    error.what = error.what.replace(&staged.display().to_string(), &from.display().to_string());
    error.hint(
        "give a file that `entra-import state export` wrote for this job, in this version or an older one; with --moved \
         also of another job, tenant or target",
    )
}

/// What SQLite keeps beside a ledger: its log, and an index of it.
const SIDE_FILES: [&str; 2] = ["-wal", "-shm"];

/// Copies the ledger that is about to be replaced, and says where to. Until the new one takes its place it stays whole by
/// itself: what a run that died left in its log is brought into it first, so that nothing is lost with the log.
fn keep(ledger: &Path, beside: &dyn Fn(&str) -> PathBuf) -> Result<PathBuf> {
    let aside = (1..).map(|n| beside(&format!(".replaced-{n}"))).find(|path| !path.exists());
    let aside = aside.unwrap_or_else(|| beside(".replaced"));
    let with_log = !settle_log(ledger)?;
    let copy = |from: PathBuf, to: &Path| {
        // Under its name only once it is whole.
        let part = beside(".keeping");
        let copied = fs::copy(&from, &part).and_then(|_| File::open(&part)?.sync_all());
        copied.and_then(|()| fs::rename(&part, to)).failing(|| format!("cannot keep a copy of {}", from.display()))
    };
    // Of a file that SQLite cannot read, the log may be of use to somebody.
    if with_log && beside("-wal").exists() {
        let mut name = aside.clone().into_os_string();
        name.push("-wal");
        copy(beside("-wal"), Path::new(&name))?;
    }
    crash::point("log of the old ledger kept");
    copy(ledger.to_owned(), &aside)?;
    Ok(aside)
}

/// Empties a ledger's log into it; false where the file is damaged, so that nothing can.
fn settle_log(ledger: &Path) -> Result<bool> {
    // SQLite would take what is shorter than a header for an empty file, and throw its log away.
    if open::looks_like_sqlite(ledger).is_err() {
        return Ok(false);
    }
    let settle = || -> rusqlite::Result<bool> {
        let connection = Connection::open_with_flags(ledger, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
        connection.busy_timeout(BUSY)?;
        let busy: bool = connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0))?;
        connection.close().map_err(|(_, cause)| cause)?;
        Ok(!busy)
    };
    match settle() {
        Ok(true) => Ok(true),
        Ok(false) => Err(Error::failed(format!("{} is in use by another program", ledger.display()))
            .hint("close what has the ledger open, and import again; nothing was changed")),
        Err(cause)
            if matches!(cause.sqlite_error_code(), Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase)) =>
        {
            Ok(false)
        }
        Err(cause) => Err(sqlite_error("cannot read", ledger, cause)),
    }
}

fn remove(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(cause) if cause.kind() != std::io::ErrorKind::NotFound => {
            Err(Error::failed(format!("cannot remove {}", path.display())).because(cause))
        }
        _ => Ok(()),
    }
}

fn adjust(staged: &Path, identity: &Identity, moved: bool) -> Result<()> {
    let failed = |cause| sqlite_error("cannot import", staged, cause);
    open::looks_like_sqlite(staged)?;
    let connection = Connection::open(staged).map_err(failed)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, false).map_err(failed)?;
    if moved {
        open::is_intact(&connection, staged)?;
    }
    let rewrite = || -> rusqlite::Result<()> {
        let transaction = connection.unchecked_transaction()?;
        let whose = [(meta::JOB, &identity.job), (meta::TENANT, &identity.tenant), (meta::TARGET, &identity.target)];
        for (name, value) in whose.into_iter().filter(|_| moved) {
            transaction.execute("UPDATE meta SET value = ?2 WHERE name = ?1", [name, value])?;
        }
        transaction.execute("DELETE FROM held_plans", [])?;
        crash::point("before the copy is adjusted");
        transaction.commit()
    };
    rewrite().map_err(failed)?;
    connection.close().map_err(|(_, cause)| failed(cause))?;
    // Everything a run would refuse is refused here, before it takes anything's place.
    Ledger::open(staged, identity).map(drop)
}
