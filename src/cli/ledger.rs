//! The commands about what a job remembers: decisions of people, past runs, and moving or erasing it.

use std::path::PathBuf;

use clap::{ArgGroup, Args, Subcommand, ValueEnum};

use super::Snapshot;
use crate::report::lookup::AnswerFormat;

/// Decide about values that were changed in the target.
///
/// With `--take target` the value in the target stands, and only a new change in Entra is written over it. With
/// `--take source` the next run writes Entra's value.
#[derive(Args, Debug)]
#[command(group = ArgGroup::new("which").args(["record", "all"]).required(true))]
#[command(after_help = "\
Examples:
  entra-import resolve contoso.toml --take target --record 87d349ed-44d7-43e1-9a83-5f2406dee5bd
  entra-import resolve contoso.toml --take source --all --attribute Department")]
pub struct Resolve {
    /// The job file
    #[arg(value_name = "JOB")]
    pub job: PathBuf,
    /// Whose value stands
    #[arg(long, value_enum, value_name = "SIDE")]
    pub take: Take,
    /// Only this record, by its key
    #[arg(long, value_name = "ID")]
    pub record: Option<String>,
    /// Only this attribute
    #[arg(long, value_name = "NAME")]
    pub attribute: Option<String>,
    /// Every record that the last plan listed
    #[arg(long)]
    pub all: bool,
    #[command(flatten)]
    pub snapshot: Snapshot,
    #[command(flatten)]
    pub who: Who,
}

/// Whose value stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub enum Take {
    /// Entra's
    Source,
    /// The target's
    Target,
}

/// Let an object of Entra have a record that is in the target already.
///
/// Such as that of a colleague who came back, or one made by hand. The record may carry no key, another key, or that of a deleted object; the next run writes what differs, its key
/// first. Nothing is written now. The object must be in scope in the last snapshot.
#[derive(Args, Debug)]
#[command(after_help = "\
Example:
  entra-import adopt contoso.toml 87d349ed-44d7-43e1-9a83-5f2406dee5bd 4711")]
pub struct Adopt {
    /// The job file
    #[arg(value_name = "JOB")]
    pub job: PathBuf,
    /// The object's key as plans print it: its Entra object id
    #[arg(value_name = "ENTRA-ID")]
    pub id: String,
    /// What the target calls the record; in a CSV file its key
    #[arg(value_name = "TARGET-ID")]
    pub target_id: String,
    /// The target's type, where several hold a record of that id
    #[arg(long = "type", value_name = "TYPE")]
    pub ty: Option<String>,
    #[command(flatten)]
    pub snapshot: Snapshot,
    #[command(flatten)]
    pub who: Who,
}

/// Take a record out of the job's hands.
///
/// It is neither created nor changed nor removed from then on. What the target holds of it stays as it is.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  entra-import decline contoso.toml 87d349ed-44d7-43e1-9a83-5f2406dee5bd
  entra-import decline contoso.toml 87d349ed-44d7-43e1-9a83-5f2406dee5bd --revoke")]
pub struct Decline {
    /// The job file
    #[arg(value_name = "JOB")]
    pub job: PathBuf,
    /// The record's key as plans print it: the Entra object id, of a membership both ids
    #[arg(value_name = "ID")]
    pub id: String,
    /// Take it back: the record is the job's again, with what was known of it
    #[arg(long)]
    pub revoke: bool,
    /// Only in this type of the target
    #[arg(long = "type", value_name = "TYPE")]
    pub ty: Option<String>,
    #[command(flatten)]
    pub snapshot: Snapshot,
    #[command(flatten)]
    pub who: Who,
}

/// Keep a record, whatever becomes of its object.
///
/// It is updated as ever, but never marked, deactivated or deleted.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  entra-import pin contoso.toml 87d349ed-44d7-43e1-9a83-5f2406dee5bd
  entra-import pin contoso.toml 87d349ed-44d7-43e1-9a83-5f2406dee5bd --revoke")]
pub struct Pin {
    /// The job file
    #[arg(value_name = "JOB")]
    pub job: PathBuf,
    /// The record's key as plans print it: the Entra object id, of a membership both ids
    #[arg(value_name = "ID")]
    pub id: String,
    /// Take it back: the days of the removal ladder count from the next run
    #[arg(long)]
    pub revoke: bool,
    /// Only in this type of the target
    #[arg(long = "type", value_name = "TYPE")]
    pub ty: Option<String>,
    #[command(flatten)]
    pub who: Who,
}

/// Whoever decides.
#[derive(Args, Debug)]
pub struct Who {
    /// Who decides, where the user's name on this machine does not tell
    #[arg(long, value_name = "WHO")]
    pub by: Option<String>,
}

/// Show the past runs of a job.
///
/// What they did, how long they took and how they ended; who approved and decided what. Contacts nobody.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  entra-import history contoso.toml
  entra-import history contoso.toml --first 5 --format json")]
pub struct History {
    /// The job file
    #[arg(value_name = "JOB")]
    pub job: PathBuf,
    /// Show the newest N runs and decisions
    #[arg(long, value_name = "N", default_value_t = 20)]
    pub first: u32,
    /// How the history is printed
    #[arg(long, value_enum, default_value_t)]
    pub format: AnswerFormat,
}

/// Move what a job knows to another machine or folder.
#[derive(Subcommand, Debug)]
#[command(after_help = "\
Examples:
  entra-import state export contoso.toml --out contoso.ledger
  entra-import state import contoso.toml contoso.ledger")]
pub enum StateCommand {
    /// Write the ledger into one file, readable by you alone, while runs may go on
    Export(StateExport),
    /// Take over an exported ledger
    Import(StateImport),
}

/// `state export`.
#[derive(Args, Debug)]
pub struct StateExport {
    /// The job file
    #[arg(value_name = "JOB")]
    pub job: PathBuf,
    /// The file to write; it must not be there yet
    #[arg(long, value_name = "FILE")]
    pub out: PathBuf,
}

/// `state import`.
#[derive(Args, Debug)]
pub struct StateImport {
    /// The job file
    #[arg(value_name = "JOB")]
    pub job: PathBuf,
    /// The file that `state export` wrote
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// Take the place of a ledger that is there; that one is kept beside it
    #[arg(long)]
    pub replace: bool,
    /// The very same target is reached by another address now, or the job was renamed: the ledger is rewritten for it
    #[arg(long)]
    pub moved: bool,
}

/// Erase what is kept of a person.
///
/// In the ledger, the snapshots, the saved plans and the reports of a job. The target is not touched. Records that the
/// job owns are refused unless --owned gives them up: nobody would update or remove them any more.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  entra-import forget contoso.toml 87d349ed-44d7-43e1-9a83-5f2406dee5bd
  entra-import forget contoso.toml 87d349ed-44d7-43e1-9a83-5f2406dee5bd --owned")]
pub struct Forget {
    /// The job file
    #[arg(value_name = "JOB")]
    pub job: PathBuf,
    /// The Entra object id
    #[arg(value_name = "ID")]
    pub id: String,
    /// Also give up records that the job owns in the target; they stay there as they are
    #[arg(long)]
    pub owned: bool,
}
