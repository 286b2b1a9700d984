//! Writes a snapshot: into a temporary sibling folder, synced, then renamed into place.
//!
//! Hides buffering, de-duplicated counting, and the order of syncs that keeps a folder with a manifest always whole.
//! Deliberately judges nothing: what coverage a collection has is the caller's knowledge.

use std::collections::{BTreeMap, HashSet};
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{BufWriter, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use serde::Serialize;
use sha2::{Digest, Sha256};
use tempfile::TempDir;

use super::{
    ABSENT, DELETED, DELTA, DeltaLinks, MANIFEST, Manifest, Member, Snapshot, file_name, is_snapshot, lines_of,
    type_name,
};
use crate::crash;
use crate::error::{Context, Error, Result};
use crate::record::{Collection, Guid, Key, Unknown};

/// A snapshot in the making. Shared by reference between tasks; dropped unsealed, it leaves nothing behind.
#[derive(Debug)]
pub struct Writer {
    target: PathBuf,
    folder: TempDir,
    /// By the file's name without its extension; a file begins when it is first written to.
    files: Mutex<BTreeMap<&'static str, Arc<Mutex<Lines>>>>,
}

/// One growing file: its lines and what was counted while they were written.
#[derive(Debug)]
struct Lines {
    path: PathBuf,
    file: BufWriter<File>,
    seen: HashSet<Guid>,
    partial: HashSet<Guid>,
    vanished: HashSet<Guid>,
}

#[derive(Serialize)]
struct MemberLine<'a> {
    id: Guid,
    members: Vec<MemberEntry>,
    #[serde(skip_serializing_if = "Option::is_none")]
    partial: Option<&'a Unknown>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    vanished: bool,
}

#[derive(Serialize)]
struct MemberEntry {
    id: Guid,
    r#type: &'static str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct GoneLine {
    id: Guid,
    r#type: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    deleted_date_time: Option<Timestamp>,
}

impl Writer {
    /// Begins a snapshot that will stand at `target`. Its parent folders are made; an older snapshot there, or an
    /// empty folder, is replaced when this one is sealed. Any other content is refused with a usage error.
    pub fn create(target: &Path) -> Result<Writer> {
        refuse_foreign_folder(target)?;
        let name = target.file_name().ok_or_else(|| {
            Error::usage(format!("{} cannot name a snapshot folder", target.display())).hint("Give a folder name.")
        })?;
        let parent = parent_of(target);
        fs::create_dir_all(parent).failing(|| format!("cannot make the folder {}", parent.display()))?;
        let mut prefix = OsString::from(".");
        prefix.push(name);
        prefix.push(".partial-");
        let folder = tempfile::Builder::new()
            .prefix(&prefix)
            .tempdir_in(parent)
            .failing(|| format!("cannot make a temporary folder in {}", parent.display()))?;
        Ok(Writer { target: target.to_owned(), folder, files: Mutex::default() })
    }

    /// Begins a copy of `snapshot` to which more can be added, and which replaces it when sealed.
    pub fn amend(snapshot: &Snapshot) -> Result<Writer> {
        let writer = Writer::create(snapshot.dir())?;
        for stem in snapshot.manifest().collections.keys().map(|collection| collection.name()).chain([DELETED, ABSENT])
        {
            let from = snapshot.dir().join(file_name(stem));
            if !from.is_file() {
                continue;
            }
            let lines = writer.lines(stem)?;
            let mut lines = locked(&lines);
            fs::copy(&from, &lines.path).failing(|| format!("cannot copy {}", from.display()))?;
            lines.file.seek(SeekFrom::End(0)).failing(|| format!("cannot append to {}", lines.path.display()))?;
        }
        for collection in snapshot.manifest().collections.keys().copied() {
            let lines = writer.lines(collection.name())?;
            let mut lines = locked(&lines);
            match lines_of(collection) {
                Some(super::Lines::Lists) => {
                    let lists = snapshot.lists(collection)?;
                    lines.partial = lists.missing().map(|(of, _)| of).collect();
                    lines.vanished = lists.vanished().collect();
                    lines.seen = lists.groups().iter().copied().collect();
                }
                Some(super::Lines::Objects) if matches!(collection, Collection::Custom(_)) => {
                    lines.seen = snapshot.custom(collection).keys().map(digest).collect();
                }
                _ => lines.seen = snapshot.objects(collection).ids().collect(),
            }
        }
        Ok(writer)
    }

    /// Appends one object, given as JSON text; line breaks and blanks between its tokens are taken out.
    /// An id written again replaces the earlier line when the snapshot is read.
    pub fn object(&self, collection: Collection, id: Guid, json: &str) -> Result<()> {
        let lines = self.lines(collection.name())?;
        let mut lines = locked(&lines);
        lines.seen.insert(id);
        lines.append(|file| compact(json, file))
    }

    /// [`Writer::object`] for a custom collection, whose keys may be any text.
    pub fn custom(&self, collection: Collection, key: &Key, json: &str) -> Result<()> {
        self.object(collection, digest(key), json)
    }

    /// Appends the direct members of `group`; `gap` says why the list is incomplete, if it is.
    pub fn members(&self, group: Guid, members: &[Member], gap: Option<&Unknown>) -> Result<()> {
        self.list(Collection::Memberships, group, members, gap)
    }

    /// Appends the list of one object: its owners, its members. A list written again replaces the earlier one when the
    /// snapshot is read.
    pub fn list(&self, collection: Collection, of: Guid, members: &[Member], gap: Option<&Unknown>) -> Result<()> {
        let entries = members.iter().map(|member| MemberEntry { id: member.id, r#type: member.kind.name() }).collect();
        self.list_line(collection, MemberLine { id: of, members: entries, partial: gap, vanished: false })
    }

    /// Notes that an object was listed and gone when its own list was asked for: what belonged to it is not known, for
    /// this reason, but nothing is missing of what there is.
    pub fn vanished(&self, collection: Collection, of: Guid, reason: &Unknown) -> Result<()> {
        self.list_line(collection, MemberLine { id: of, members: Vec::new(), partial: Some(reason), vanished: true })
    }

    fn list_line(&self, collection: Collection, line: MemberLine<'_>) -> Result<()> {
        let lines = self.lines(collection.name())?;
        let mut lines = locked(&lines);
        lines.seen.insert(line.id);
        lines.partial.remove(&line.id);
        lines.vanished.remove(&line.id);
        if line.vanished {
            lines.vanished.insert(line.id);
        } else if line.partial.is_some() {
            lines.partial.insert(line.id);
        }
        lines.json(&line)
    }

    /// Notes that an object was found among the deleted ones.
    pub fn deleted(&self, collection: Collection, id: Guid, when: Option<Timestamp>) -> Result<()> {
        locked(&*self.lines(DELETED)?).json(&GoneLine { id, r#type: type_name(collection), deleted_date_time: when })
    }

    /// Notes that an object was asked for by id and is nowhere.
    pub fn absent(&self, collection: Collection, id: Guid) -> Result<()> {
        locked(&*self.lines(ABSENT)?).json(&GoneLine { id, r#type: type_name(collection), deleted_date_time: None })
    }

    /// Drops everything written for an object collection, so that its read can start again.
    pub fn restart(&self, collection: Collection) -> Result<()> {
        let lines = self.lines(collection.name())?;
        let mut lines = locked(&lines);
        let fresh = Lines::create(lines.path.clone())?;
        let stale = std::mem::replace(&mut *lines, fresh);
        // Taken apart, because a buffer that is dropped would still write itself into the emptied file.
        let _ = stale.file.into_parts();
        Ok(())
    }

    /// Distinct ids written for a collection (of pairs: objects with a list) so far.
    pub fn count(&self, collection: Collection) -> u64 {
        let files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
        files.get(collection.name()).map_or(0, |lines| locked(lines).seen.len() as u64)
    }

    /// Those of `ids` that were not written for a collection so far.
    pub fn missing<'i>(&self, collection: Collection, ids: impl Iterator<Item = &'i Guid>) -> Vec<Guid> {
        let files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
        let lines = files.get(collection.name()).map(|lines| locked(lines));
        let unseen = |id: &&Guid| lines.as_ref().is_none_or(|lines| !lines.seen.contains(*id));
        ids.filter(unseen).copied().collect()
    }

    /// Objects of a collection of pairs that were gone when their list was asked for.
    pub fn count_vanished(&self, collection: Collection) -> u64 {
        let files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
        files.get(collection.name()).map_or(0, |lines| locked(lines).vanished.len() as u64)
    }

    /// Fills in the counts, syncs everything to disk and puts the folder into place. Returns the folder.
    pub fn seal(self, mut manifest: Manifest) -> Result<PathBuf> {
        for (collection, extent) in &mut manifest.collections {
            let lines = self.lines(collection.name())?;
            let lines = locked(&lines);
            extent.count = lines.seen.len() as u64;
            extent.partial_lists = lines.partial.len() as u64;
            extent.vanished_lists = lines.vanished.len() as u64;
        }
        for lines in self.files.lock().unwrap_or_else(PoisonError::into_inner).values() {
            locked(lines).sync()?;
        }
        if manifest.links != DeltaLinks::default() {
            write_json(&self.folder.path().join(DELTA), &manifest.links, 0o600)?;
        }
        write_json(&self.folder.path().join(MANIFEST), &manifest, 0o666)?;
        sync_folder(self.folder.path())?;
        drop(self.files);
        crash::point("snapshot whole beside its place");
        put_in_place(self.folder, &self.target)?;
        crash::point("snapshot in its place");
        Ok(self.target)
    }

    /// The file of that name, begun now if it is new.
    fn lines(&self, stem: &'static str) -> Result<Arc<Mutex<Lines>>> {
        let mut files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(lines) = files.get(stem) {
            return Ok(lines.clone());
        }
        let lines = Arc::new(Mutex::new(Lines::create(self.folder.path().join(file_name(stem)))?));
        files.insert(stem, lines.clone());
        Ok(lines)
    }
}

/// A poisoned lock only means that another task failed; its lines are still whole.
fn locked(lines: &Mutex<Lines>) -> MutexGuard<'_, Lines> {
    lines.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What a key of any kind is counted by: ids by themselves, texts by a hash that no two of them share.
fn digest(key: &Key) -> Guid {
    key.guid().unwrap_or_else(|| {
        let hash = Sha256::digest(key.to_string().as_bytes());
        let mut id = Guid::default();
        id.0.copy_from_slice(&hash[..16]);
        id
    })
}

impl Lines {
    fn create(path: PathBuf) -> Result<Lines> {
        let file = File::create(&path).failing(|| format!("cannot create {}", path.display()))?;
        let file = BufWriter::with_capacity(1 << 16, file);
        let (seen, partial, vanished) = <(HashSet<Guid>, HashSet<Guid>, HashSet<Guid>)>::default();
        Ok(Lines { path, file, seen, partial, vanished })
    }

    fn append(&mut self, write: impl FnOnce(&mut BufWriter<File>) -> std::io::Result<()>) -> Result<()> {
        let done = write(&mut self.file).and_then(|()| self.file.write_all(b"\n"));
        done.failing(|| format!("cannot write to {}", self.path.display()))
    }

    fn json(&mut self, line: &impl Serialize) -> Result<()> {
        self.append(|file| serde_json::to_writer(file, line).map_err(std::io::Error::from))
    }

    fn sync(&mut self) -> Result<()> {
        let done = self.file.flush().and_then(|()| self.file.get_ref().sync_all());
        done.failing(|| format!("cannot write {} to disk", self.path.display()))
    }
}

/// Writes one document into a new file with these permissions, less the umask.
fn write_json(path: &Path, document: &impl Serialize, mode: u32) -> Result<()> {
    let what = || format!("cannot write {}", path.display());
    let mut text = serde_json::to_vec_pretty(document).failing(what)?;
    text.push(b'\n');
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(mode).open(path).failing(what)?;
    file.write_all(&text).and_then(|()| file.sync_all()).failing(what)
}

/// Copies JSON text without the blanks between tokens. `json` must be valid JSON.
fn compact(json: &str, to: &mut impl Write) -> std::io::Result<()> {
    let bytes = json.as_bytes();
    let (mut start, mut in_string, mut escaped) = (0, false, false);
    for (at, byte) in bytes.iter().enumerate() {
        if in_string {
            match byte {
                _ if escaped => escaped = false,
                b'\\' => escaped = true,
                b'"' => in_string = false,
                _ => {}
            }
        } else if *byte == b'"' {
            in_string = true;
        } else if byte.is_ascii_whitespace() {
            to.write_all(&bytes[start..at])?;
            start = at + 1;
        }
    }
    to.write_all(&bytes[start..])
}

fn parent_of(target: &Path) -> &Path {
    match target.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

fn refuse_foreign_folder(target: &Path) -> Result<()> {
    let foreign = match fs::read_dir(target) {
        Ok(mut entries) => entries.next().is_some() && !is_snapshot(target),
        Err(cause) => cause.kind() != std::io::ErrorKind::NotFound,
    };
    if foreign {
        return Err(Error::usage(format!("{} exists and is not a snapshot", target.display()))
            .hint("Name a folder that does not exist yet, an empty one, or an older snapshot to replace."));
    }
    Ok(())
}

/// Renames the finished folder to its name. An older snapshot steps aside first and is deleted last, so that at every
/// instant at least one whole snapshot exists, if only under the aside name.
fn put_in_place(folder: TempDir, target: &Path) -> Result<()> {
    let parent = parent_of(target);
    let aside = if target.exists() {
        let aside = tempfile::Builder::new()
            .prefix(".replaced-")
            .tempdir_in(parent)
            .failing(|| format!("cannot make a temporary folder in {}", parent.display()))?;
        fs::rename(target, aside.path().join("snapshot"))
            .failing(|| format!("cannot move the older snapshot {} aside", target.display()))?;
        Some(aside)
    } else {
        None
    };
    if let Err(cause) = fs::rename(folder.path(), target) {
        if let Some(aside) = aside
            && fs::rename(aside.path().join("snapshot"), target).is_err()
        {
            // The first failure is the one to report; the older snapshot stays under its aside name.
            let _ = aside.keep();
        }
        return Err(Error::failed(format!("cannot put the snapshot into place at {}", target.display())).because(cause));
    }
    // The folder has another name now; the guard must not remove anything under the old one.
    let _ = folder.keep();
    sync_folder(parent)
}

/// Makes names in a folder durable, where the system has such a call.
fn sync_folder(folder: &Path) -> Result<()> {
    if cfg!(unix) {
        let done = File::open(folder).and_then(|folder| folder.sync_all());
        done.failing(|| format!("cannot write the folder {} to disk", folder.display()))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn compacted(json: &str) -> String {
        let mut out = Vec::new();
        compact(json, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn blanks_go_between_tokens_only() {
        assert_eq!(compacted("{ \"a b\" :\r\n [ 1 , \"\\\" \\\\\" , null ] }\n"), r#"{"a b":[1,"\" \\",null]}"#);
    }

    proptest! {
        #[test]
        fn compacting_changes_no_meaning(texts in proptest::collection::vec(any::<String>(), 0..5)) {
            let value = serde_json::json!({ "list": texts });
            let line = compacted(&serde_json::to_string_pretty(&value).unwrap());
            prop_assert!(!line.contains('\n'));
            prop_assert_eq!(serde_json::from_str::<serde_json::Value>(&line).unwrap(), value);
        }
    }

    #[test]
    fn a_folder_with_other_content_is_refused() {
        let root = tempfile::tempdir().unwrap();
        fs::write(root.path().join("letter.txt"), "dear").unwrap();
        let error = Writer::create(root.path()).unwrap_err();
        assert_eq!(error.exit, crate::error::Exit::Usage);
    }

    #[test]
    fn an_unsealed_snapshot_leaves_nothing_behind() {
        let root = tempfile::tempdir().unwrap();
        let writer = Writer::create(&root.path().join("snap")).unwrap();
        writer.object(Collection::Users, Guid([1; 16]), "{}").unwrap();
        drop(writer);
        assert_eq!(fs::read_dir(root.path()).unwrap().count(), 0);
    }
}
