//! A folder of CSV files, one per type: type `users` is `<folder>/users.csv`.
//!
//! Hides that people edit these files in spreadsheets: whatever delimiter, column order, line ends and extra columns a
//! file has, it keeps. A file is replaced whole, by a rename; it is compared with what stands there, and never written
//! over when it changed after it had been read. A link is followed and stays. A new file is readable by its owner
//! alone (it holds people's data); an old one keeps its permissions, though not its ACLs. A rewritten file loses lines
//! on which no cell holds anything; a file without changes is not written at all.
//!
//! Reads and writes block the calling task: nothing else of a run goes on at that time.
//!
//! Deliberately decides nothing: a key that occurs twice is reported as two records, a create whose key is there
//! already is not written a second time. Records without a key attribute in the file cannot be told apart after
//! someone sorted it, so a type must have one.

mod cells;
mod files;
mod ids;
mod rewrite;
mod rows;
mod sheet;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::io::BufWriter;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use sha2::{Digest, Sha256};

use self::files::{Hashed, Staged};
use self::rewrite::Batch;
use self::rows::Row;
use self::sheet::{Sheet, key_of};
use super::{BatchMark, Capabilities, Interrupted, Lacks, Outcomes, Remark, Target, WriteBatches, Writes};
use crate::error::{Context, Error, Result};
use crate::plan::change::{Change, Current, TypeSpec};
use crate::plan::datum::Datum;
use crate::record::Coverage;

/// A folder of CSV files.
pub struct CsvTarget {
    folder: PathBuf,
    /// Hash of each file as it was read last; `None` when there was no file.
    read: Mutex<HashMap<PathBuf, Option<String>>>,
}

impl CsvTarget {
    /// The folder need not exist yet; it is created when something is first written.
    pub fn new(folder: PathBuf) -> CsvTarget {
        CsvTarget { folder, read: Mutex::default() }
    }

    fn remembered(&self) -> MutexGuard<'_, HashMap<PathBuf, Option<String>>> {
        // A map of hashes is whole at any time; a panic elsewhere does not spoil it.
        self.read.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The file of a type, if a file can hold it.
    fn path(&self, ty: &TypeSpec) -> Result<PathBuf> {
        check_type(ty)?;
        files::of_type(&self.folder, &ty.name)
    }

    /// Reads all records of a type and returns the hash of the file they stood in.
    fn read_file(
        &self,
        ty: &TypeSpec,
        path: &Path,
        each: &mut dyn FnMut(Current) -> Result<()>,
    ) -> Result<Option<String>> {
        let Some(mut sheet) = Sheet::open(path, ty)? else { return Ok(None) };
        // A part of the key's hash stands for the key: a fifth of the memory, and it tells keys apart as well.
        let mut seen: HashMap<[u8; 16], u32> = HashMap::new();
        let mut row = Row::default();
        while sheet.next(&mut row)? {
            let values: Vec<Datum> = (0..ty.attributes.len()).map(|at| sheet.value(&row, at)).collect();
            let key = key_of(ty, |attribute| values[attribute].clone());
            let short = short_hash(&key);
            let nth = seen.entry(short).and_modify(|count| *count += 1).or_insert(1);
            each(Current { id: ids::id(&key, *nth), values })?;
        }
        Ok(Some(sheet.into_hash()))
    }

    /// Writes the new state beside the old one, unless they say the same.
    fn stage_file(
        &self,
        ty: &TypeSpec,
        path: &Path,
        changes: &mut dyn Iterator<Item = Result<Change>>,
        outcomes: &mut Outcomes<'_>,
    ) -> Result<BatchMark> {
        let mut sheet = Sheet::open(path, ty)?;
        let (staged, file) = Staged::create(path, sheet.as_ref().map(Sheet::file))?;
        let what = || format!("cannot write the new state of {}, which was left as it is", path.display());
        let mut out = BufWriter::with_capacity(1 << 18, Hashed::new(file));
        let changed = match &mut sheet {
            Some(sheet) => Batch::collect(ty, path, changes)?.rewrite(sheet, &mut out, outcomes)?,
            None => Batch::first(ty, path, changes, &mut out, outcomes).map(|()| true)?,
        };
        let out = out.into_inner().map_err(|error| error.into_error()).failing(what)?;
        let before = sheet.map(Sheet::into_hash);
        if self.remembered().get(path).is_some_and(|read| *read != before) {
            return Err(files::moved(path));
        }
        let mut mark = BatchMark { path: path.into(), staged: Staged::path_of(path), before, after: String::new() };
        match &mark.before {
            Some(before) if !changed => mark.after = before.clone(),
            _ => {
                out.inner.sync_all().failing(what)?;
                mark.after = out.hex();
                mark.staged = staged.keep();
            }
        }
        Ok(mark)
    }
}

fn short_hash(key: &str) -> [u8; 16] {
    let mut short = [0; 16];
    short.copy_from_slice(&Sha256::digest(key)[..16]);
    short
}

/// What a type must be like for a file to hold it.
fn check_type(ty: &TypeSpec) -> Result<()> {
    let what = || format!("a CSV file cannot hold the type {:?}", ty.name);
    if ty.key.is_empty() {
        return Err(Error::usage(what())
            .cause("its key is kept in the ledger alone, and rows of a file cannot be told apart without one")
            .hint("In the mapping, name a `key` attribute, for example \"Entra ID\"."));
    }
    for (index, attribute) in ty.attributes.iter().enumerate() {
        let name = cells::clean(&attribute.name);
        if name.is_empty() || ty.attributes[..index].iter().any(|other| cells::clean(&other.name) == name) {
            return Err(Error::usage(what())
                .cause(format!("the attribute name {name:?} is empty or occurs twice"))
                .hint("Rename the attribute in the mapping."));
        }
    }
    Ok(())
}

#[async_trait]
impl Target for CsvTarget {
    fn identity(&self) -> String {
        format!("csv:{}", files::canonical(&self.folder).display())
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities { unique_keys: false, visibility_delay_s: 0, certainty_delay_s: 0, ids_are_keys: true }
    }

    fn normalise(&self, ty: &TypeSpec, attribute: usize, value: Datum) -> Datum {
        cells::normalise(cells::Form::of(&ty.attributes[attribute]), value)
    }

    /// Reads every file to its end, so that a broken row is found before the night.
    async fn check(&self, types: &[TypeSpec]) -> Result<Vec<Remark>> {
        for ty in types {
            let path = self.path(ty)?;
            self.read_file(ty, &path, &mut |_| Ok(()))?;
            files::check_writable(path.parent().unwrap_or(&self.folder))?;
        }
        files::check_writable(&self.folder).map(|()| Vec::new())
    }

    /// [`Current::id`] is the row's key, see `ids`. A broken file is an error, never a partial read.
    async fn read(&self, ty: &TypeSpec, each: &mut (dyn FnMut(Current) -> Result<()> + Send)) -> Result<Coverage> {
        let path = self.path(ty)?;
        let hash = self.read_file(ty, &path, each)?;
        self.remembered().insert(path, hash);
        Ok(Coverage::Complete)
    }

    async fn lacks(&self, ty: &TypeSpec) -> Result<Option<Lacks>> {
        let path = self.path(ty)?;
        Ok(Sheet::open(&path, ty)?.and_then(|sheet| sheet.lacks()))
    }

    fn writes(&self) -> Writes<'_> {
        Writes::Batches(self)
    }
}

#[async_trait]
impl WriteBatches for CsvTarget {
    /// Refuses as stale when the file is not the one this target read last.
    async fn stage(
        &self,
        ty: &TypeSpec,
        changes: &mut (dyn Iterator<Item = Result<Change>> + Send),
        outcomes: &mut Outcomes<'_>,
    ) -> Result<BatchMark> {
        let path = self.path(ty)?;
        self.stage_file(ty, &path, changes, outcomes)
    }

    /// Refuses as stale when the file changed since it was staged. A second commit of the same batch does nothing.
    async fn commit(&self, batch: &BatchMark) -> Result<()> {
        let now = files::hash(&batch.path)?;
        if now.as_ref() != Some(&batch.after) {
            if now != batch.before {
                files::remove(&batch.staged)?;
                return Err(files::moved(&batch.path));
            }
            files::replace(&batch.staged, &batch.path)?;
        }
        self.remembered().insert(batch.path.clone(), Some(batch.after.clone()));
        Ok(())
    }

    async fn settle(&self, batch: &BatchMark) -> Result<Interrupted> {
        let now = files::hash(&batch.path)?;
        files::remove(&batch.staged)?;
        Ok(if now.as_ref() == Some(&batch.after) {
            Interrupted::Committed
        } else if now == batch.before {
            Interrupted::Discarded
        } else {
            Interrupted::Neither
        })
    }
}
