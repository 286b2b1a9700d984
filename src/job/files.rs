//! Which files make a job: folders of jobs, and the bases that a job extends.
//!
//! Hides the walk along `extends`, with its limits. Deliberately reads no meaning into the tables.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::diagnostic::{Place, Problems, SourceFile};
use crate::error::{Context, Error, Result};
use crate::mapping::read::check_format;
use crate::tree::{self, Kind, Table};

/// The format this program reads.
const FORMAT: &str = "job/1";

/// The longest chain of bases. Two or three are in use; more cannot be followed by a reader either.
const BASES_MAX: usize = 8;

/// The job files that the arguments of a command mean: files as they are, and of a folder every `*.toml` that is a job,
/// by name. A file whose name begins with `_` is a base and never run.
pub fn jobs_in(paths: &[PathBuf]) -> Result<Vec<PathBuf>> {
    let mut jobs = Vec::new();
    for path in paths {
        if path.is_dir() {
            let found = jobs_of_folder(path)?;
            if found.is_empty() {
                return Err(Error::usage(format!("there is no job in the folder {}", path.display()))
                    .hint("a job is a file ending with .toml whose name does not begin with `_`"));
            }
            jobs.extend(found);
        } else if is_base(path) {
            return Err(Error::usage(format!("{} is a base and is never run", path.display()))
                .hint("name a job that extends it; files beginning with `_` hold what several jobs share"));
        } else {
            jobs.push(path.clone());
        }
    }
    let mut seen = Vec::with_capacity(jobs.len());
    jobs.retain(|job| {
        !seen.contains(job) && {
            seen.push(job.clone());
            true
        }
    });
    Ok(jobs)
}

fn is_base(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('_'))
}

fn jobs_of_folder(folder: &Path) -> Result<Vec<PathBuf>> {
    let reading = || format!("cannot list the folder {}", folder.display());
    let mut jobs = Vec::new();
    for entry in std::fs::read_dir(folder).failing(reading)? {
        let path = entry.failing(reading)?.path();
        let toml = path.extension().is_some_and(|extension| extension == "toml");
        if toml && path.is_file() && !is_base(&path) && !is_mapping(&path) {
            jobs.push(path);
        }
    }
    jobs.sort();
    Ok(jobs)
}

/// A mapping file may lie beside its jobs. Whatever cannot be read counts as a job, so that its mistake is reported.
fn is_mapping(path: &Path) -> bool {
    let Ok(file) = SourceFile::read(path) else { return false };
    let table = tree::parse(&file, &mut Problems::default());
    let format = table.as_ref().and_then(|table| table.get("format"));
    matches!(format.map(|node| &node.kind), Some(Kind::Text(text)) if text.starts_with("mapping/"))
}

/// A job file with its bases below it.
pub(super) struct Merged {
    pub table: Table,
    /// The job file itself first, then its base, and so on.
    pub files: Vec<Arc<SourceFile>>,
}

/// Reads a job file and lays it over what it extends. `None` when a file of the chain has mistakes.
pub(super) fn merged(path: &Path, problems: &mut Problems) -> Result<Option<Merged>> {
    let mut files = vec![SourceFile::read(path)?];
    let mut seen = vec![canonical(path)];
    let mut tables = Vec::new();
    loop {
        let file = files[files.len() - 1].clone();
        let Some(mut table) = tree::parse(&file, problems) else { return Ok(None) };
        let place = Place { file: file.clone(), range: 0..0 };
        let extends = table.remove("extends");
        if !check_format(&table, &place, FORMAT, problems) {
            return Ok(None);
        }
        tables.push(table);
        let Some(extends) = extends else { break };
        let Some(base) = extends.value.path(problems) else { return Ok(None) };
        let place = &extends.value.place;
        if seen.contains(&canonical(&base)) {
            let chain: Vec<_> = files.iter().map(|file| file.name.as_str()).collect();
            problems.add(place, format!("the bases go in a circle: {} → {}", chain.join(" → "), base.display()));
            return Ok(None);
        }
        if files.len() > BASES_MAX {
            problems.add(place, format!("more than {BASES_MAX} bases, each extending the next"));
            return Ok(None);
        }
        match SourceFile::read(&base) {
            Ok(file) => files.push(file),
            Err(error) => {
                problems.add_with_help(
                    place,
                    error.what,
                    format!("{}; {}", error.causes.join(": "), "the path is relative to this file"),
                );
                return Ok(None);
            }
        }
        seen.push(canonical(&base));
    }
    let mut table = tables.pop().unwrap_or_default();
    while let Some(over) = tables.pop() {
        table.merge(over);
    }
    Ok(Some(Merged { table, files }))
}

fn canonical(path: &Path) -> PathBuf {
    path.canonicalize().unwrap_or_else(|_| path.to_path_buf())
}
