//! Options that several commands share.

use std::path::PathBuf;

use clap::Args;

use crate::report::Format;
use crate::report::files::{ReportFile, Wanted};

const FILES: &str = "Files (`{job}` in a path is the job's name)";
const TRIAL: &str = "Trial on a few (creates and updates only)";

/// A trial on a few records: creates and updates only.
#[derive(Args, Debug, Clone, Default)]
pub struct Trial {
    /// Only this user, group or device, by id or user principal name, and what it refers to; may be repeated
    #[arg(long, value_name = "WHO", help_heading = TRIAL)]
    pub only: Vec<String>,
    /// Only the first N records of each mapping, and what they refer to
    #[arg(long, value_name = "N", conflicts_with = "only", help_heading = TRIAL, value_parser = clap::value_parser!(u64).range(1..))]
    pub first: Option<u64>,
}

/// Planning from what was read before.
#[derive(Args, Debug, Clone, Default)]
pub struct Snapshot {
    /// Do not read Entra: use this snapshot's folder, or `last` for the one the last run kept
    #[arg(long, value_name = "DIR|last")]
    pub from_snapshot: Option<PathBuf>,
}

impl Snapshot {
    /// The folder that was named; `None` inside for the word `last`.
    pub fn choice(&self) -> Option<SnapshotChoice> {
        let path = self.from_snapshot.as_ref()?;
        Some(if path.as_os_str() == "last" { SnapshotChoice::Last } else { SnapshotChoice::Folder(path.clone()) })
    }
}

/// Which snapshot to plan from.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum SnapshotChoice {
    /// The one the last run of this job kept. A folder of that name is given as `./last`.
    Last,
    Folder(PathBuf),
}

/// Reproducing a report.
#[derive(Args, Debug, Clone, Default)]
pub struct Record {
    /// Keep what Microsoft answered, to go with a report: without secrets, names and ids. A new folder
    #[arg(long, value_name = "DIR")]
    pub record: Option<PathBuf>,
}

/// Files that are written beside what is printed. `{job}` in a path is the job's name.
#[derive(Args, Debug, Clone, Default)]
pub struct Files {
    /// Also write the plan, or what became of it, to a file; its end is the format: .html, .csv, .json or .txt. May be
    /// repeated
    #[arg(long, value_name = "FILE", value_parser = |path: &str| ReportFile::new(path), help_heading = FILES)]
    pub report: Vec<ReportFile>,
    /// Also write who left, why, and what becomes of their records, as CSV
    #[arg(long, value_name = "FILE", help_heading = FILES)]
    pub leavers: Option<PathBuf>,
}

impl Files {
    /// With those of a run that writes, where it is one.
    pub fn wanted(&self, outcomes: Option<&Outcomes>) -> Wanted {
        let outcomes = outcomes.cloned().unwrap_or_default();
        Wanted {
            reports: self.report.clone(),
            leavers: self.leavers.clone(),
            events: outcomes.events,
            summary: outcomes.summary,
            metrics: outcomes.metrics,
        }
    }
}

/// Files about how a run went.
#[derive(Args, Debug, Clone, Default)]
pub struct Outcomes {
    /// Append what was done, one JSON object a line: who is new, who changed, who left and why
    #[arg(long, value_name = "FILE", help_heading = FILES)]
    pub events: Option<PathBuf>,
    /// Write how the run went, as one JSON object
    #[arg(long, value_name = "FILE", help_heading = FILES)]
    pub summary: Option<PathBuf>,
    /// Write how the run went for Prometheus (a file of the node exporter's textfile collector)
    #[arg(long, value_name = "FILE", help_heading = FILES)]
    pub metrics: Option<PathBuf>,
}

/// How a plan is printed, and the files that are written beside.
#[derive(Args, Debug, Clone, Default)]
pub struct Output {
    /// How the result is printed
    #[arg(long, value_enum, default_value_t)]
    pub format: Format,
    #[command(flatten)]
    pub files: Files,
    /// Show every change and note, not only the first of each kind
    #[arg(long)]
    pub all: bool,
}
