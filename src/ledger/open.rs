//! Opening a ledger: creating it whole or not at all, refusing what is not this job's intact ledger.
//!
//! Hides SQLite's settings, format versions and the checks. Deliberately repairs nothing: a ledger that may be wrong
//! is worse than none, and which of the two ways out to take is for a person to say.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};

use super::{Identity, Ledger, meta, sqlite_error};
use crate::crash;
use crate::error::{Context, Error, Result};

/// The tables. A ledger of an older format, once there is one, is brought to this one where it is opened to write.
const SCHEMA: &str = include_str!("schema.sql");

/// `PRAGMA user_version`.
const FORMAT: i64 = 2;

/// `PRAGMA application_id`: "EIml" in ASCII. Tells a ledger from any other SQLite file.
const APPLICATION_ID: i64 = 0x4549_6d6c;

/// First bytes of every SQLite file (<https://sqlite.org/fileformat.html>).
const MAGIC: &[u8; 16] = b"SQLite format 3\0";

/// Pages after which what is committed moves from the side file into the ledger: 128 MiB of them, so that a usual night
/// waits for that once, at its end.
const CHECKPOINT_PAGES: u32 = 16_384;

/// How long to wait for a reader's or a backup's lock inside SQLite.
pub(super) const BUSY: Duration = Duration::from_secs(10);

/// The way out when a ledger cannot be used.
pub(super) const RESTORE: &str = "put the file back from a backup; or, without one, move it away: the next run then owns \
     nothing, adopts the records it finds by their key, and waits for the approval of first-run before it writes";

pub(super) fn damaged(path: &Path, why: &str) -> Error {
    Error::failed(format!("the ledger {} is damaged", path.display())).cause(why).hint(RESTORE)
}

pub(super) fn to_write(path: &Path, identity: &Identity) -> Result<Ledger> {
    if !exists(path)? {
        create(path, identity)?;
    }
    let held = Held::take(path)?;
    let connection = connect(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    check(&connection, path, identity)?;
    let settings = || {
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, false)?;
        // FULL: a commit is on the disk before the next step begins, which the journal's promise rests on.
        connection.execute_batch(
            "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON; PRAGMA cache_size = -65536",
        )?;
        connection.pragma_update(None, "wal_autocheckpoint", CHECKPOINT_PAGES)
    };
    settings().map_err(|cause| sqlite_error("cannot open", path, cause))?;
    Ok(Ledger { connection, path: path.to_path_buf(), _held: held })
}

/// One more connection to a ledger that is open to write, for rows that are not true yet. What it commits is on the disk
/// once the ledger's own connection has committed after it, or SQLite has moved it from the side file into the ledger.
pub(super) fn beside(path: &Path) -> Result<Connection> {
    let connection = connect(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    let settings = || {
        connection.pragma_update(None, "synchronous", "NORMAL")?;
        connection.pragma_update(None, "cache_size", -65536)?;
        connection.pragma_update(None, "wal_autocheckpoint", CHECKPOINT_PAGES)
    };
    settings().map_err(|cause| sqlite_error("cannot open", path, cause))?;
    Ok(connection)
}

pub(super) fn to_read(path: &Path, identity: &Identity) -> Result<Option<Ledger>> {
    if !exists(path)? {
        return Ok(None);
    }
    let held = Held::take(path)?;
    let connection = connect(path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    // One transaction for all reads: a run that commits meanwhile must not show through half-way.
    connection.execute_batch("BEGIN").map_err(|cause| sqlite_error("cannot read", path, cause))?;
    check(&connection, path, identity)?;
    Ok(Some(Ledger { connection, path: path.to_path_buf(), _held: held }))
}

fn exists(path: &Path) -> Result<bool> {
    path.try_exists().failing(|| format!("cannot look for the ledger {}", path.display()))
}

/// Writes the new ledger beside its place and renames it: a crash leaves no ledger rather than an empty one, which
/// could not be told from one that lost its content.
fn create(path: &Path, identity: &Identity) -> Result<()> {
    let what = || format!("cannot create the ledger {}", path.display());
    let folder = path.parent().unwrap_or(Path::new("."));
    // What it says about people is nobody else's business; SQLite gives its side files the same rights.
    DirBuilder::new().recursive(true).mode(0o700).create(folder).failing(what)?;
    let mut staged = path.as_os_str().to_owned();
    staged.push(".new");
    let staged = PathBuf::from(staged);
    if staged.try_exists().failing(what)? {
        fs::remove_file(&staged).failing(what)?;
    }
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(&staged).failing(what)?;
    fill(&staged, identity).map_err(|cause| sqlite_error("cannot create", path, cause))?;
    crash::point("ledger created beside its place");
    fs::rename(&staged, path).failing(what)?;
    File::open(folder).and_then(|folder| folder.sync_all()).failing(what)?;
    crash::point("ledger in its place");
    Ok(())
}

fn fill(staged: &Path, identity: &Identity) -> rusqlite::Result<()> {
    let connection = Connection::open_with_flags(staged, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    // Rows are a few hundred bytes: on pages of SQLite's usual 4096 the tree of records would grow deep and slow.
    connection.pragma_update(None, "page_size", 8192)?;
    connection.pragma_update(None, "application_id", APPLICATION_ID)?;
    connection.execute_batch(SCHEMA)?;
    connection.pragma_update(None, "user_version", FORMAT)?;
    let values = [
        (meta::JOB, identity.job.as_str()),
        (meta::TENANT, &identity.tenant),
        (meta::TARGET, &identity.target),
        (meta::GENERATION, "0"),
    ];
    for (name, value) in values {
        connection.execute("INSERT INTO meta VALUES (?1, ?2)", [name, value])?;
    }
    connection.close().map_err(|(_, cause)| cause)
}

/// The ledgers that this process has open, by device and inode; one that is open twice stands here twice.
static OPEN: Mutex<Vec<(u64, u64)>> = Mutex::new(Vec::new());

/// Stands for a ledger that this process has open.
///
/// As long as there is one nobody may open and close the file but SQLite: the first `close` of any handle takes away all
/// locks that the process has on it, and another program that looks into the ledger then deletes the log under a run
/// (<https://sqlite.org/howtocorrupt.html>, 2.2).
#[derive(Debug)]
pub(super) struct Held((u64, u64));

impl Held {
    /// Refuses what is no file of SQLite, where that has not been looked at.
    fn take(path: &Path) -> Result<Held> {
        let file = fs::metadata(path).failing(|| format!("cannot open the ledger {}", path.display()))?;
        let id = (file.dev(), file.ino());
        let mut open = Held::all();
        if !open.contains(&id) {
            looks_like_sqlite(path)?;
        }
        open.push(id);
        Ok(Held(id))
    }

    fn all() -> MutexGuard<'static, Vec<(u64, u64)>> {
        // Whoever panicked was between two whole states of the list.
        OPEN.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let mut open = Held::all();
        if let Some(at) = open.iter().position(|id| *id == self.0) {
            open.swap_remove(at);
        }
    }
}

/// Refuses what is no file of SQLite before SQLite makes it one. Never of a file that this process has open.
pub(super) fn looks_like_sqlite(path: &Path) -> Result<()> {
    let what = || format!("cannot open the ledger {}", path.display());
    let mut start = Vec::new();
    File::open(path).and_then(|file| file.take(MAGIC.len() as u64).read_to_end(&mut start)).failing(what)?;
    if start.is_empty() {
        return Err(damaged(path, "the file is empty"));
    }
    if start != MAGIC {
        return Err(not_a_ledger(path));
    }
    Ok(())
}

fn connect(path: &Path, access: OpenFlags) -> Result<Connection> {
    let open = || {
        let connection = Connection::open_with_flags(path, access | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
        connection.busy_timeout(BUSY)?;
        // Until the checks have passed, nothing may be written, not even what a crashed run left in the side file.
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
        Ok(connection)
    };
    open().map_err(|cause| sqlite_error("cannot open", path, cause))
}

fn not_a_ledger(path: &Path) -> Error {
    Error::failed(format!("{} is not a ledger of this program", path.display()))
        .hint("move the file away, or name another state folder in the job's [state]")
}

/// Refuses what is not an intact ledger of this job.
fn check(connection: &Connection, path: &Path, identity: &Identity) -> Result<()> {
    is_intact(connection, path)?;
    belongs(connection, path, identity)
}

/// Refuses what is not an intact ledger of this program.
pub(super) fn is_intact(connection: &Connection, path: &Path) -> Result<()> {
    let read = |cause| sqlite_error("cannot read", path, cause);
    let number = |pragma| connection.pragma_query_value(None, pragma, |row| row.get::<_, i64>(0)).map_err(read);
    if number("application_id")? != APPLICATION_ID {
        return Err(not_a_ledger(path));
    }
    let version = number("user_version")?;
    if version > FORMAT {
        let message = format!("the ledger {} has format {version}; this program knows up to {FORMAT}", path.display());
        return Err(Error::failed(message)
            .cause("a newer version of this program wrote it")
            .hint("run the job with that version"));
    }
    let verdict: String =
        connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0)).map_err(|cause| damaged_by(path, cause))?;
    if verdict != "ok" {
        return Err(damaged(path, &verdict));
    }
    if version < FORMAT {
        return Err(damaged(path, &format!("its format {version} is of no version that was ever released")));
    }
    Ok(())
}

fn damaged_by(path: &Path, cause: rusqlite::Error) -> Error {
    match cause.sqlite_error_code() {
        Some(rusqlite::ErrorCode::DatabaseCorrupt | rusqlite::ErrorCode::NotADatabase) => {
            damaged(path, &cause.to_string())
        }
        _ => sqlite_error("cannot read", path, cause),
    }
}

fn belongs(connection: &Connection, path: &Path, identity: &Identity) -> Result<()> {
    let wanted = [
        (meta::JOB, "job", &identity.job),
        (meta::TENANT, "tenant", &identity.tenant),
        (meta::TARGET, "target", &identity.target),
    ];
    for (name, word, wanted) in wanted {
        let found: String = connection
            .query_row("SELECT value FROM meta WHERE name = ?1", [name], |row| row.get(0))
            .map_err(|cause| damaged_by(path, cause))?;
        if found != *wanted {
            return Err(Error::usage(format!(
                "the ledger {} belongs to the {word} {found:?}, and this job names the {word} {wanted:?}",
                path.display()
            ))
            .cause("what it owns was written there; used here, it would take other records for its own")
            .hint(format!(
                "put {found:?} back into the job; or, for another {word}, give the job another `name` (a new ledger); or, \
                 where it is the same {word} under another name, `state export` it with the job as it was and \
                 `state import --moved --replace` it with this one"
            )));
        }
    }
    Ok(())
}
