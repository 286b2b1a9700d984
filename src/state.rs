//! Where a job keeps what outlives a run: ledger, lock, snapshots, held plans.
//!
//! Hides the layout of the state folder and what is cleared away. Deliberately opens nothing: it only names places.

use std::fs;
use std::path::{Path, PathBuf};

use jiff::{SignedDuration, Timestamp};

use crate::error::{Context, Error, Result};
use crate::job::Job;

/// The state folder of one job: `<state>/<job>`.
pub struct State {
    folder: PathBuf,
    keep_snapshots: usize,
    keep_plans: usize,
    forget_after: Option<SignedDuration>,
}

impl State {
    pub fn of(job: &Job) -> State {
        State {
            folder: job.state.dir.join(&job.name),
            keep_snapshots: job.state.keep_snapshots.max(1) as usize,
            keep_plans: job.state.keep_reports.max(1) as usize,
            forget_after: job.state.forget_after,
        }
    }

    pub fn ledger(&self) -> PathBuf {
        self.folder.join("ledger.sqlite3")
    }

    pub fn lock(&self) -> PathBuf {
        self.folder.join("lock")
    }

    /// The file of a plan that is kept for `approve` and `pending`.
    pub fn plan(&self, id: &str) -> PathBuf {
        self.folder.join("plans").join(format!("{id}.json"))
    }

    /// Where a snapshot read at that time goes.
    pub fn snapshot(&self, read_at: Timestamp) -> PathBuf {
        self.snapshot_named(&State::snapshot_name(read_at))
    }

    /// The name of the folder of a snapshot read at that time. Names order like times.
    pub fn snapshot_name(read_at: Timestamp) -> String {
        read_at.strftime("%Y%m%dT%H%M%SZ").to_string()
    }

    /// The snapshot in the folder of that name.
    pub fn snapshot_named(&self, name: &str) -> PathBuf {
        self.folder.join("snapshots").join(name)
    }

    /// The names of all snapshots that are there.
    pub fn snapshot_names(&self) -> Vec<String> {
        let name = |path: PathBuf| path.file_name()?.to_str().map(str::to_owned);
        entries(&self.folder.join("snapshots")).into_iter().filter_map(name).collect()
    }

    /// The newest snapshot.
    pub fn last_snapshot(&self) -> Result<PathBuf> {
        let folder = self.folder.join("snapshots");
        by_age(entries(&folder)).pop().ok_or_else(|| {
            Error::usage(format!("this job has no snapshot yet in {}", folder.display()))
                .hint("run the job once, or write one with `entra-import extract`")
        })
    }

    /// Creates the folders that a run writes to, for the owner's eyes only: they hold people's data.
    pub fn create(&self) -> Result<()> {
        use std::os::unix::fs::DirBuilderExt;
        for name in ["snapshots", "plans"] {
            let folder = self.folder.join(name);
            let what = || format!("cannot create the state folder {}", folder.display());
            fs::DirBuilder::new().recursive(true).mode(0o700).create(&folder).failing(what)?;
        }
        Ok(())
    }

    /// Proves that a run could write here, or make the folder. Leaves nothing behind.
    pub fn check_writable(&self) -> Result<()> {
        let existing = self.folder.ancestors().find(|ancestor| ancestor.exists()).unwrap_or(Path::new("."));
        let tried = tempfile::Builder::new().prefix(".entra-import-check").tempfile_in(existing);
        tried.failing(|| format!("cannot write the state folder {}", self.folder.display())).map(drop)
    }

    /// Removes all but the newest snapshots and plans, and what is older than the job lets anything of people be kept.
    /// The newest snapshot stays, and the one that the next read begins at.
    pub fn clear_old(&self, base: Option<&str>, now: Timestamp) -> Result<()> {
        let forget_before = self.forget_after.and_then(|span| now.checked_sub(span).ok());
        let too_old = |path: &PathBuf| {
            let written = fs::metadata(path).and_then(|data| data.modified()).ok();
            let written = written.and_then(|time| Timestamp::try_from(time).ok());
            written.zip(forget_before).is_some_and(|(written, before)| written < before)
        };
        // The newest snapshot is what `--from-snapshot last` and the next deltas begin at.
        let clear = |folder: PathBuf, keep: usize, keeps_newest: bool| -> Result<()> {
            let mut entries = by_age(entries(&folder));
            let kept = entries.split_off(entries.len().saturating_sub(keep));
            let newest = kept.last().cloned().filter(|_| keeps_newest);
            entries.extend(kept.into_iter().filter(|path| too_old(path) && Some(path) != newest.as_ref()));
            let is_base =
                |path: &PathBuf| path.file_name().and_then(|name| name.to_str()).is_some_and(|name| Some(name) == base);
            entries.iter().filter(|path| !is_base(path)).try_for_each(|path| {
                let done = if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
                done.failing(|| format!("cannot clear away {}", path.display()))
            })
        };
        clear(self.folder.join("snapshots"), self.keep_snapshots, true)?;
        clear(self.folder.join("plans"), self.keep_plans, false)
    }

    /// Ledgers that an import put aside.
    pub fn old_ledgers(&self) -> Result<Vec<PathBuf>> {
        let failed = || format!("cannot list {}", self.folder.display());
        let mut found = Vec::new();
        for entry in fs::read_dir(&self.folder).failing(failed)? {
            let path = entry.failing(failed)?.path();
            let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
            found.extend(name.starts_with("ledger.sqlite3.replaced").then_some(path));
        }
        found.sort();
        Ok(found)
    }

    /// Everything but ledger and lock: each snapshot as the folder it is, every other file by itself.
    pub fn files_of_people(&self) -> Result<Vec<PathBuf>> {
        let mut found: Vec<PathBuf> = Vec::new();
        let what = |folder: &Path| format!("cannot list {}", folder.display());
        let mut folders = vec![self.folder.clone()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(&folder).failing(|| what(&folder))? {
                let path = entry.failing(|| what(&folder))?.path();
                let is_snapshot = folder == self.folder.join("snapshots");
                let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
                let is_state = folder == self.folder && (name == "lock" || name.starts_with("ledger.sqlite3"));
                match path.is_dir() && !is_snapshot {
                    true => folders.push(path),
                    false if !is_state => found.push(path),
                    false => {}
                }
            }
        }
        found.sort();
        Ok(found)
    }
}

/// Oldest first by when it was written: names carry the clock of their run, which may have been wrong.
fn by_age(mut entries: Vec<PathBuf>) -> Vec<PathBuf> {
    entries.sort_by_key(|path| (fs::metadata(path).and_then(|data| data.modified()).ok(), path.clone()));
    entries
}

/// What is in a folder, by name, without what begins with a dot (unfinished).
fn entries(folder: &Path) -> Vec<PathBuf> {
    let found = fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    let visible =
        |path: &PathBuf| path.file_name().and_then(|name| name.to_str()).is_some_and(|name| !name.starts_with('.'));
    let mut entries: Vec<PathBuf> = found.filter(visible).collect();
    entries.sort();
    entries
}
