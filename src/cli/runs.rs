//! The commands that make a plan, look at it, let it pass and apply it.

use std::path::PathBuf;

use clap::Args;

use super::{Files, Outcomes, Output, Record, Snapshot, Trial, action, limit};
use crate::plan::LimitName;
use crate::plan::change::Action;
use crate::report::Format;

/// Extract, plan, check the limits, apply: the whole job, unattended.
///
/// Several jobs, or a folder of them, run one after another (files that begin with `_` are bases and are not run);
/// one that fails does not stop the next. Without a terminal a quiet night prints one line per job.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  entra-import run contoso.toml                                every night, from cron or systemd
  entra-import run jobs/                                       every job in a folder
  entra-import run contoso.toml --dry-run                      show what would happen, write nothing
  entra-import run contoso.toml --only adele@contoso.com       try it on one user
  entra-import run contoso.toml --approve first-run            the first run, its plan being right")]
pub struct Run {
    /// Job files, or folders of them
    #[arg(required = true, value_name = "JOB")]
    pub jobs: Vec<PathBuf>,
    /// Show the plan and write nothing
    #[arg(long, conflicts_with_all = ["events", "summary", "metrics"])]
    pub dry_run: bool,
    /// Read everything, also where the job would read only what changed since the last run
    #[arg(long, conflicts_with = "from_snapshot")]
    pub full: bool,
    #[command(flatten)]
    pub trial: Trial,
    #[command(flatten)]
    pub snapshot: Snapshot,
    #[command(flatten)]
    pub output: Output,
    #[command(flatten)]
    pub outcomes: Outcomes,
    /// Let this plan pass a limit it would be held by; may be repeated
    #[arg(long, value_name = "LIMIT", value_delimiter = ',', value_parser = limit())]
    pub approve: Vec<LimitName>,
    /// Send also what the target refused in the last seven days and what has not changed since
    #[arg(long)]
    pub retry_rejected: bool,
    #[command(flatten)]
    pub record: Record,
}

/// Show what a run would do, and write nothing to the target.
///
/// Takes no lock, so it can be looked at while a run is under way. Save the plan to apply exactly what was shown.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  entra-import plan contoso.toml                               the first changes of each kind
  entra-import plan contoso.toml --all                         every change
  entra-import plan contoso.toml --out monday.plan             save it, for `apply`
  entra-import plan contoso.toml --from-snapshot last          again, after an edit; reads no Entra
  entra-import plan contoso.toml --report plan.html            a page to search and filter
  entra-import plan contoso.toml --format csv > plan.csv       for a spreadsheet")]
pub struct Plan {
    /// The job file
    #[arg(value_name = "JOB")]
    pub job: PathBuf,
    /// Save the plan, readable by you alone
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
    /// Read everything, also where the job would read only what changed since the last run
    #[arg(long, conflicts_with = "from_snapshot")]
    pub full: bool,
    #[command(flatten)]
    pub trial: Trial,
    #[command(flatten)]
    pub snapshot: Snapshot,
    #[command(flatten)]
    pub output: Output,
    /// End with exit code 8 when there is something to do
    #[arg(long)]
    pub detailed_exitcode: bool,
}

/// Apply a saved plan exactly as it was shown, or refuse it as stale.
///
/// The plan says for which job it was made; the job file is given again, because a plan file must not decide whose
/// credentials are used. The plan is refused (exit code 9) when the job, the ledger or the values in the target have
/// moved since, or when it is too old.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  entra-import apply monday.plan --job contoso.toml
  entra-import apply monday.plan --job contoso.toml --only create,update")]
pub struct Apply {
    /// The file that `plan --out` wrote
    #[arg(value_name = "FILE")]
    pub plan: PathBuf,
    /// The job file the plan was made from
    #[arg(long, value_name = "JOB")]
    pub job: PathBuf,
    /// Only these actions; the rest is not attempted
    #[arg(long, value_name = "ACTION", value_delimiter = ',', value_parser = action())]
    pub only: Vec<Action>,
    /// How the outcome is printed
    #[arg(long, value_enum, default_value_t)]
    pub format: Format,
    #[command(flatten)]
    pub files: Files,
    #[command(flatten)]
    pub outcomes: Outcomes,
}

/// Show the plans that a limit holds, why, and how to approve them.
#[derive(Args, Debug)]
#[command(after_help = "\
Example:
  entra-import pending jobs/")]
pub struct Pending {
    /// Job files, or folders of them
    #[arg(required = true, value_name = "JOB")]
    pub jobs: Vec<PathBuf>,
}

/// Let the records of a held plan pass a limit; the next run applies them.
///
/// The approval is written to the ledger with your name, the time and the very records the plan showed, each with
/// its cause. The next run proves each cause anew; whatever goes beyond these records is held again.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  entra-import approve contoso.toml 3fa9c1d2 --limit retires
  entra-import approve contoso.toml 3fa9c1d2 --limit retires,links-removed --by \"Alex Wilber\"")]
pub struct Approve {
    /// The job file
    #[arg(value_name = "JOB")]
    pub job: PathBuf,
    /// The plan's id, as its summary prints it
    #[arg(value_name = "PLAN")]
    pub plan: String,
    /// The limit to pass; may be repeated
    #[arg(long = "limit", required = true, value_name = "LIMIT", value_delimiter = ',', value_parser = limit())]
    pub limits: Vec<LimitName>,
    /// Who approves, where the user's name on this machine does not tell
    #[arg(long, value_name = "WHO")]
    pub by: Option<String>,
}

/// Take back what one run wrote, where it still stands as that run left it.
///
/// Planned, held by limits and applied like any run; look at it with --dry-run first. What a later run or a person
/// changed is listed and stays. What was created takes the first step of the removal ladder and is declined; what was
/// retired is pinned; what was deleted is created anew, under a new id and without the links that led to it. Values stay
/// taken back until they change in Entra.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  entra-import undo contoso.toml 12 --dry-run                  what would be taken back
  entra-import undo contoso.toml 12")]
pub struct Undo {
    /// The job file
    #[arg(value_name = "JOB")]
    pub job: PathBuf,
    /// The number of the run, as `history` shows it
    #[arg(value_name = "RUN")]
    pub run: i64,
    /// Show the plan and write nothing
    #[arg(long)]
    pub dry_run: bool,
    #[command(flatten)]
    pub output: Output,
    /// Let this plan pass a limit it would be held by; may be repeated
    #[arg(long, value_name = "LIMIT", value_delimiter = ',', value_parser = limit())]
    pub approve: Vec<LimitName>,
}
