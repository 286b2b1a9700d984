//! Files that a run leaves beside what it prints: reports of a plan or outcome, and the list of leavers.
//!
//! Hides which format a file's name asks for, and that a file appears whole or not at all. Deliberately knows no job
//! and no schedule: which files are wanted is the caller's, and what stands in them the renderers'.

use std::fs;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use super::applied::Applied;
use super::{Format, View, csv, html, private};
use crate::error::{Context, Error, Result};
use crate::plan::Plan;

/// Readable by its owner: it names people.
pub const PRIVATE: u32 = 0o600;

/// For programs of others: it names nobody.
pub const PUBLIC: u32 = 0o644;

/// The formats of report files, by the end of the file's name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    Html,
    Printed(Format),
}

/// A report file that is wanted; its name ends in a format that there is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ReportFile {
    path: PathBuf,
    kind: Kind,
}

impl ReportFile {
    /// Fails where the name's end says no format.
    pub fn new(path: &str) -> Result<ReportFile, String> {
        let path = PathBuf::from(path);
        let kind = match path.extension().and_then(|extension| extension.to_str()) {
            Some("html" | "htm") => Kind::Html,
            Some("csv") => Kind::Printed(Format::Csv),
            Some("json") => Kind::Printed(Format::Json),
            Some("txt") => Kind::Printed(Format::Text),
            _ => return Err("the name of a report ends with .html, .csv, .json or .txt".into()),
        };
        Ok(ReportFile { path, kind })
    }

    /// Where it goes, for the job of that name.
    pub fn path(&self, job: &str) -> PathBuf {
        for_job(&self.path, job)
    }

    /// Writes the plan, and what became of it where it was applied.
    pub fn write(&self, plan: &Plan, applied: Option<&Applied<'_>>, view: &View) -> Result<()> {
        let view = View { colour: false, ..view.clone() };
        replace(&self.path(&plan.header.job), PRIVATE, |to| match (self.kind, applied) {
            (Kind::Html, _) => html::write(plan, applied, &view, to),
            (Kind::Printed(Format::Csv), Some(applied)) => csv::outcomes(&*private::shown(plan)?, applied, to),
            (Kind::Printed(Format::Text), Some(applied)) => {
                Format::Text.plan(plan, &view, to)?;
                Format::Text.applied(applied, &view, to)
            }
            (Kind::Printed(format), _) => format.plan(plan, &view, to),
        })
    }
}

/// The files that a run is to leave. `{job}` in a path stands for the job's name.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Wanted {
    pub reports: Vec<ReportFile>,
    pub leavers: Option<PathBuf>,
    /// What was done, one JSON object a line, appended.
    pub events: Option<PathBuf>,
    /// How the run went, as JSON.
    pub summary: Option<PathBuf>,
    /// The same for Prometheus.
    pub metrics: Option<PathBuf>,
}

impl Wanted {
    /// Every path, as it was given.
    pub fn paths(&self) -> impl Iterator<Item = PathBuf> + '_ {
        let others = [&self.leavers, &self.events, &self.summary, &self.metrics];
        self.reports.iter().map(|file| file.path.clone()).chain(others.into_iter().flatten().cloned())
    }

    /// Refuses files that several jobs would write one over another.
    pub fn refuse_shared(&self) -> Result<()> {
        // Events are appended, and each says of which job it is.
        let alone = |path: &PathBuf| Some(path) != self.events.as_ref();
        match self.paths().filter(alone).find(|path| !path.to_string_lossy().contains("{job}")) {
            None => Ok(()),
            Some(path) => Err(Error::usage(format!("several jobs would write {} one over another", path.display()))
                .hint("write `{job}` into the path: it stands for the job's name")),
        }
    }
}

/// Writes the list of leavers.
pub fn write_leavers(path: &Path, plan: &Plan) -> Result<()> {
    replace(&for_job(path, &plan.header.job), PRIVATE, |to| csv::leavers(plan, to))
}

/// A path in which `{job}` stands for the job's name, which is safe in one.
pub fn for_job(path: &Path, job: &str) -> PathBuf {
    path.to_str().map_or_else(|| path.to_path_buf(), |path| path.replace("{job}", job).into())
}

/// Refuses a path that leads into no folder, before a long run finds it so.
pub fn check(path: &Path) -> Result<()> {
    let folder = folder_of(path);
    if folder.is_dir() {
        return Ok(());
    }
    Err(Error::usage(format!("there is no folder {} for {}", folder.display(), path.display()))
        .hint("make it, or name another; a run makes no folders for reports"))
}

fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Adds to the end of a file, which is made readable by its owner alone. What is added arrives in one piece, or the
/// file keeps its length.
pub fn append(path: &Path, render: impl FnOnce(&mut dyn Write) -> Result<()>) -> Result<()> {
    use std::os::unix::fs::OpenOptionsExt;
    let failed = || format!("cannot add to {}", path.display());
    let mut text = Vec::new();
    render(&mut text)?;
    let mut file = fs::File::options().append(true).create(true).mode(PRIVATE).open(path).failing(failed)?;
    let length = file.metadata().failing(failed)?.len();
    let added = file.write_all(&text).and_then(|()| file.sync_data());
    if added.is_err() {
        // A line cut in two would spoil the next one as well; where this fails too, the first error tells more.
        let _ = file.set_len(length);
    }
    added.failing(failed)
}

/// Writes `words` over every line that `is_meant`, filled up with blanks, and gives back how many these were. The file
/// keeps its length, so that whoever appends meanwhile loses nothing.
pub fn blot_out(path: &Path, words: &str, is_meant: impl Fn(&[u8]) -> bool) -> Result<u64> {
    use std::io::{BufRead, BufReader};
    use std::os::unix::fs::FileExt;
    let failed = || format!("cannot erase lines of {}", path.display());
    let file = fs::File::options().read(true).write(true).open(path).failing(failed)?;
    let mut lines = BufReader::new(&file);
    let (mut line, mut at, mut count) = (Vec::new(), 0, 0);
    while lines.read_until(b'\n', &mut line).failing(failed)? > 0 {
        let length = line.len() as u64;
        if is_meant(&line) {
            // As long as the line is, its end left out.
            let mut over = words.as_bytes().to_vec();
            over.resize(line.len() - usize::from(line.ends_with(b"\n")), b' ');
            file.write_all_at(&over, at).failing(failed)?;
            count += 1;
        }
        at += length;
        line.clear();
    }
    file.sync_data().failing(failed)?;
    Ok(count)
}

/// Puts a file in the place of the one that is there, whole or not at all. A new one has `mode` (less what the umask
/// takes), one that is there keeps its own.
pub fn replace(path: &Path, mode: u32, render: impl FnOnce(&mut dyn Write) -> Result<()>) -> Result<()> {
    use std::os::unix::fs::PermissionsExt;
    let failed = || format!("cannot write {}", path.display());
    let mode = fs::metadata(path).map_or(mode, |old| old.permissions().mode() & 0o777);
    let mut new = tempfile::Builder::new();
    new.prefix(".entra-import-").permissions(fs::Permissions::from_mode(mode));
    let mut file = new.tempfile_in(folder_of(path)).failing(failed)?;
    let mut to = BufWriter::with_capacity(1 << 17, file.as_file_mut());
    render(&mut to)?;
    to.flush().failing(failed)?;
    drop(to);
    file.persist(path).map(drop).failing(failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_the_name_is_the_format() {
        for (name, kind) in
            [("a.html", Kind::Html), ("a.b.csv", Kind::Printed(Format::Csv)), ("x/a.json", Kind::Printed(Format::Json))]
        {
            assert_eq!(ReportFile::new(name).unwrap().kind, kind);
        }
        for name in ["a", "a.pdf", ".html", "html", ""] {
            assert!(ReportFile::new(name).is_err(), "{name}");
        }
        assert_eq!(ReportFile::new("out/{job}.html").unwrap().path("contoso"), Path::new("out/contoso.html"));
    }

    #[test]
    fn a_file_is_replaced_whole_and_keeps_its_mode() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.txt");
        let mode = || fs::metadata(&path).unwrap().permissions().mode() & 0o777;
        let write =
            |text: &'static str| replace(&path, PRIVATE, |to| to.write_all(text.as_bytes()).failing(String::new));
        write("first").unwrap();
        assert_eq!(mode(), PRIVATE);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        write("second").unwrap();
        assert_eq!((mode(), fs::read_to_string(&path).unwrap()), (0o640, "second".to_owned()));
        let broken = replace(&path, PRIVATE, |to| {
            to.write_all(b"half").failing(String::new)?;
            Err(Error::failed("no"))
        });
        assert!(broken.is_err());
        assert_eq!(fs::read_to_string(&path).unwrap(), "second");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing is left behind");
    }
}
