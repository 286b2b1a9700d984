//! One run per job at a time: a lock on a file in the job's state folder.
//!
//! Hides how the operating system locks. The lock belongs to the open file and dies with the process, so a file left
//! behind by a crash is no obstacle; it only remembers who held the lock last. Deliberately waits for nobody: a nightly
//! run that finds the lock taken has its answer.

use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io::{Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::error::{Context, Error, Exit, Result};

/// The lock, held until dropped.
#[derive(Debug)]
pub struct Lock {
    /// Closing it lets go. The file stays: taking it away would let two others lock two files of one name.
    _file: File,
}

/// Who holds it, as written into the file.
#[derive(Serialize, Deserialize)]
struct Holder {
    pid: u32,
    host: String,
    since: Timestamp,
}

impl Lock {
    /// Takes the lock, creating the file and its folder; `now` is shown to whoever finds it taken (exit 7).
    pub fn take(path: &Path, now: Timestamp) -> Result<Lock> {
        let what = || format!("cannot lock the job: {}", path.display());
        if let Some(folder) = path.parent() {
            DirBuilder::new().recursive(true).mode(0o700).create(folder).failing(what)?;
        }
        let mut options = OpenOptions::new();
        let mut file = options.read(true).write(true).create(true).mode(0o600).open(path).failing(what)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(taken(path, &mut file)),
            Err(TryLockError::Error(cause)) => return Err(cause).failing(what),
        }
        let holder = Holder { pid: std::process::id(), host: host(), since: now };
        let text = serde_json::to_string(&holder).failing(what)?;
        file.set_len(0).failing(what)?;
        writeln!(file, "{text}").failing(what)?;
        Ok(Lock { _file: file })
    }
}

fn taken(path: &Path, file: &mut File) -> Error {
    let mut text = String::new();
    // Only for the message: a holder that has not written its name yet is still a holder.
    let read = file.rewind().and_then(|()| file.take(4096).read_to_string(&mut text));
    let holder = read.ok().and_then(|_| serde_json::from_str::<Holder>(&text).ok());
    let who = holder.map_or_else(
        || "it has not said which one yet".to_string(),
        |holder| format!("process {} on {}, since {:.0}", holder.pid, holder.host, holder.since),
    );
    Error::new(Exit::Locked, "another run of this job is under way")
        .cause(format!("it holds {}: {who}", path.display()))
        .hint("wait for it to end; `plan` needs no lock and works meanwhile")
}

/// The machine's name: state folders are sometimes shared between machines.
fn host() -> String {
    let read = |path| std::fs::read_to_string(path).ok();
    let name = read("/proc/sys/kernel/hostname").or_else(|| read("/etc/hostname")).unwrap_or_default();
    let name = name.trim();
    if name.is_empty() { "a machine without a name".to_string() } else { name.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> Timestamp {
        "2026-03-01T02:00:00Z".parse().unwrap()
    }

    #[test]
    fn a_second_taker_is_told_who_holds_it_until_it_is_let_go() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("contoso/lock");
        let first = Lock::take(&path, now()).unwrap();
        let refused = Lock::take(&path, now()).unwrap_err();
        assert_eq!(refused.exit, Exit::Locked);
        let text = refused.to_string();
        assert!(text.contains(&format!("process {} on ", std::process::id())), "{text}");
        assert!(text.contains("since 2026-03-01T02:00:00Z"), "{text}");
        drop(first);
        Lock::take(&path, now()).unwrap();
    }

    #[test]
    fn a_file_left_behind_is_no_obstacle_and_its_old_text_goes() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lock");
        std::fs::write(&path, "x".repeat(1000)).unwrap();
        let _lock = Lock::take(&path, now()).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.starts_with("{\"pid\":") && text.len() < 200, "{text}");
    }

    #[test]
    fn a_holder_that_has_not_said_its_name_still_holds() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lock");
        let _lock = Lock::take(&path, now()).unwrap();
        std::fs::write(&path, "").unwrap();
        let refused = Lock::take(&path, now()).unwrap_err();
        assert!(refused.to_string().contains("has not said which one yet"), "{refused}");
    }
}
