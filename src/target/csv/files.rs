//! Files on disk: names, hashes, and how a new state takes the place of the old one.
//!
//! Hides where the staged file lies (a sibling, so that the rename is atomic), who may read it, and what must be synced
//! so that a crash at any instant leaves either the old or the new file. Deliberately knows nothing of what is in them.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use crate::error::{Context, Error, Exit, Result};

/// A name longer than this does not fit into a folder together with its staged twin.
const NAME_BYTES_MAX: usize = 200;

/// A reader or writer that hashes what goes through it.
pub struct Hashed<T> {
    pub inner: T,
    hash: Sha256,
}

impl<T> Hashed<T> {
    pub fn new(inner: T) -> Hashed<T> {
        Hashed { inner, hash: Sha256::new() }
    }

    /// SHA-256 of all that went through, in hex.
    pub fn hex(self) -> String {
        self.hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

impl<T: Read> Read for Hashed<T> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.inner.read(buffer)?;
        self.hash.update(&buffer[..length]);
        Ok(length)
    }
}

impl<T: Write> Write for Hashed<T> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let length = self.inner.write(bytes)?;
        self.hash.update(&bytes[..length]);
        Ok(length)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

/// SHA-256 of a file, in hex; `None` when there is none.
pub fn hash(path: &Path) -> Result<Option<String>> {
    let Some(file) = open(path)? else { return Ok(None) };
    let mut hashed = Hashed::new(file);
    let mut buffer = vec![0; 1 << 18];
    while hashed.read(&mut buffer).failing(|| format!("cannot read {}", path.display()))? > 0 {}
    Ok(Some(hashed.hex()))
}

/// Opens a file for reading; `None` when there is none.
pub fn open(path: &Path) -> Result<Option<File>> {
    let what = || format!("cannot read {}", path.display());
    let found = match fs::metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        found => found.failing(what)?,
    };
    // A pipe would keep the run waiting for ever.
    if !found.is_file() {
        return Err(Error::failed(what())
            .cause("it is not a file")
            .hint("Move it away, or give the target another `path`."));
    }
    File::open(path).failing(what).map(Some)
}

/// The file of a type. A link is followed, so that the link stays and the file it leads to is replaced.
pub fn of_type(folder: &Path, name: &str) -> Result<PathBuf> {
    let bad = name.is_empty()
        || matches!(name, "." | "..")
        || name.len() > NAME_BYTES_MAX
        || name.chars().any(|c| matches!(c, '/' | '\\') || c.is_control());
    if bad {
        return Err(Error::usage(format!("{name:?} cannot be the name of a CSV file"))
            .cause("a type of a CSV target is the stem of a file in the target's folder")
            .hint(format!(
                "In the mapping, choose a `target` without slashes and control characters, at most {NAME_BYTES_MAX} bytes long."
            )));
    }
    let path = folder.join(format!("{name}.csv"));
    match fs::symlink_metadata(&path) {
        Ok(found) if found.is_symlink() => {
            let broken = || format!("cannot follow the link {}", path.display());
            let hint = "Remove the link, or create the file it leads to; an empty one will do.";
            fs::canonicalize(&path).failing(broken).map_err(|error| error.hint(hint))
        }
        // Whatever else is wrong with it is found on opening, with better words.
        _ => Ok(path),
    }
}

/// The folder as an absolute path without links, also before it exists.
pub fn canonical(folder: &Path) -> PathBuf {
    let full = std::path::absolute(folder).unwrap_or_else(|_| folder.to_path_buf());
    for ancestor in full.ancestors() {
        if let (Ok(known), Ok(rest)) = (fs::canonicalize(ancestor), full.strip_prefix(ancestor)) {
            // Joining nothing would add a slash at the end.
            return if rest.as_os_str().is_empty() { known } else { known.join(rest) };
        }
    }
    full
}

/// Proves that files can be created in the folder, or the folder itself. Leaves nothing behind.
pub fn check_writable(folder: &Path) -> Result<()> {
    let full = canonical(folder);
    let existing = full.ancestors().find(|ancestor| ancestor.exists()).unwrap_or(&full);
    tempfile::Builder::new()
        .prefix(".entra-import-check")
        .tempfile_in(existing)
        .failing(|| format!("cannot write into {}", existing.display()))
        .map_err(|error| error.hint(WRITABLE))?;
    Ok(())
}

const WRITABLE: &str =
    "Let the account that runs this job write to that folder, or give the target another `path`. Nothing was changed.";

/// A new state in the making. Dropped without [`Staged::keep`], it takes its file with it.
pub struct Staged {
    path: PathBuf,
    kept: bool,
}

impl Staged {
    /// Where the new state of a file is prepared.
    pub fn path_of(target: &Path) -> PathBuf {
        let name = target.file_name().unwrap_or_default().to_string_lossy();
        target.with_file_name(format!(".{name}.entra-import"))
    }

    /// A new file beside `target`, readable by whom the old one was; a first one by its owner alone, since it holds
    /// people's data.
    pub fn create(target: &Path, old: Option<&File>) -> Result<(Staged, File)> {
        let path = Staged::path_of(target);
        let what = || format!("cannot write {}", path.display());
        create_folder(target.parent().unwrap_or(Path::new("/")))?;
        remove(&path).map_err(|error| Error { what: what(), ..error }.hint(WRITABLE))?;
        // Never through something that lies there already: a link must not lead the data elsewhere.
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path);
        let file = file.failing(what).map_err(|error| error.hint(WRITABLE))?;
        let staged = Staged { path: path.clone(), kept: false };
        if let Some(old) = old {
            keep_access(old, &file).failing(what)?;
        }
        Ok((staged, file))
    }

    /// Leaves the file for the commit.
    pub fn keep(mut self) -> PathBuf {
        self.kept = true;
        std::mem::take(&mut self.path)
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        if !self.kept {
            // Settling and the next staging remove it as well; here nobody is left to be told.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Gives the new file the owner, group and permissions of the old one as far as this account may.
fn keep_access(old: &File, new: &File) -> io::Result<()> {
    let was = old.metadata()?;
    let is = new.metadata()?;
    let mut mode = was.permissions().mode() & 0o777;
    if was.uid() != is.uid() && fchown(new, Some(was.uid()), None).is_err() {
        tracing::debug!(owner = was.uid(), "the rewritten file gets another owner");
    }
    if was.gid() != is.gid() && fchown(new, None, Some(was.gid())).is_err() {
        // Another group must not read what only the old one was let in to.
        tracing::warn!(
            group = was.gid(),
            "the rewritten file cannot keep its group; the new group may do what others may"
        );
        mode = mode & 0o707 | (mode & 0o007) << 3;
    }
    new.set_permissions(Permissions::from_mode(mode))
}

/// Creates the folder and makes its existence durable.
fn create_folder(folder: &Path) -> Result<()> {
    let missing: Vec<&Path> = folder.ancestors().take_while(|ancestor| !ancestor.exists()).collect();
    let what = || format!("cannot create the folder {}", folder.display());
    fs::create_dir_all(folder).failing(what).map_err(|error| error.hint(WRITABLE))?;
    missing.iter().filter_map(|made| made.parent()).try_for_each(sync_folder)
}

/// Puts the staged file in the place of `target`.
pub fn replace(staged: &Path, target: &Path) -> Result<()> {
    fs::rename(staged, target).failing(|| format!("cannot replace {}", target.display()))?;
    sync_folder(target.parent().unwrap_or(Path::new("/")))
}

/// A rename or a new name is durable only when its folder is.
fn sync_folder(folder: &Path) -> Result<()> {
    // The parent of a relative name is the empty path.
    let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    let synced = File::open(folder).and_then(|folder| folder.sync_all());
    synced.failing(|| format!("cannot make the folder {} durable", folder.display()))
}

/// Removes a file if it is there.
pub fn remove(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(error).failing(|| format!("cannot remove {}", path.display()))
        }
        _ => Ok(()),
    }
}

/// The file is not the one the plan is based on.
pub fn moved(path: &Path) -> Error {
    Error::new(Exit::Stale, format!("{} was changed while the run was under way", path.display()))
        .cause("someone saved it after the run had read it, so nothing was written to it: that would be lost")
        .hint("close it in the spreadsheet; the next run reads it anew and plans again")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stay_inside_the_folder() {
        let long = "x".repeat(201);
        for bad in ["", ".", "..", "../users", "a\\b", "a\nb", "a\0b", &long] {
            assert_eq!(of_type(Path::new("export"), bad).unwrap_err().exit, Exit::Usage, "{bad:?}");
        }
        assert_eq!(of_type(Path::new("export"), "people ö").unwrap(), Path::new("export/people ö.csv"));
    }

    #[test]
    fn a_folder_has_the_same_name_before_and_after_it_exists() {
        let home = tempfile::tempdir().unwrap();
        let folder = home.path().join("link/export");
        fs::create_dir(home.path().join("real")).unwrap();
        std::os::unix::fs::symlink(home.path().join("real"), home.path().join("link")).unwrap();
        let before = canonical(&folder);
        create_folder(&folder).unwrap();
        assert_eq!(canonical(&folder), before);
        assert!(before.ends_with("real/export"));
    }
}
