//! The command line: what can be typed, and the help that teaches it.
//!
//! Types only. Parsing does nothing but parse: files are opened, jobs loaded and formats rendered elsewhere. Only
//! commands that exist are listed.

use std::path::PathBuf;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{ArgAction, ArgGroup, Args, Parser, Subcommand, ValueEnum};

use crate::plan::LimitName;
use crate::plan::change::Action;
use crate::record::Collection;
use crate::report::files::{ReportFile, Wanted};
use crate::report::lookup::AnswerFormat;
use crate::report::permissions::PageFormat;
use crate::report::{Colour, Detail, Format};

const EVERY: &str = "Options of every command";
const FILES: &str = "Files (`{job}` in a path is the job's name)";
const TRIAL: &str = "Trial on a few (creates and updates only)";

const AFTER_HELP: &str = "\
Start with `entra-import check JOB`, then look at `entra-import plan JOB`. Both write nothing.

Exit codes:
  0  finished: nothing to do, or all done
  1  failed here: disk, ledger, or a defect (the message says how to report it)
  2  wrong usage, job or mapping, or a mapping case that fails; nothing was contacted
  3  partial: something was left out that the job does not accept; each is named
  4  held by a limit; the plan is saved, and the command that approves it is printed
  5  sign-in refused, or nothing readable
  6  source or target unreachable after retries, or lost while applying
  7  another run of this job holds the lock
  8  plan --detailed-exitcode: changes are pending
  9  the saved plan is stale
  128 + n  ended by signal n

Data goes to stdout, everything else to stderr.";

/// Imports users, groups, memberships, licenses and devices from Microsoft Entra ID into an asset system or CSV.
///
/// A job file names one tenant, one target and what to import. A run reads Entra ID, compares it with what the target
/// holds and with what was written last, shows the difference as a plan, and writes only that difference. A plan that
/// would change too much is held until a person approves it.
#[derive(Parser, Debug)]
#[command(name = "entra-import", version, max_term_width = 100, after_help = AFTER_HELP, subcommand_required = true)]
#[command(arg_required_else_help = true)]
pub struct Cli {
    #[command(flatten)]
    pub global: Global,
    #[command(subcommand)]
    pub command: Command,
}

/// Options that every command takes.
#[derive(Args, Debug, Clone, Default)]
pub struct Global {
    /// How messages on stderr are written
    #[arg(long, global = true, help_heading = EVERY, value_enum, default_value_t, value_name = "FORMAT")]
    pub log_format: LogFormat,
    /// Say more: -v what is done, -vv each request; a plan is shown in full
    #[arg(short, long, global = true, help_heading = EVERY, action = ArgAction::Count)]
    pub verbose: u8,
    /// Say nothing on stderr but errors
    #[arg(short, long, global = true, help_heading = EVERY, conflicts_with = "verbose")]
    pub quiet: bool,
    /// When to colour text
    #[arg(long, global = true, help_heading = EVERY, value_enum, default_value_t, value_name = "WHEN")]
    pub color: Colour,
}

/// How log lines look.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, ValueEnum)]
pub enum LogFormat {
    /// One line for people
    #[default]
    Text,
    /// One JSON object a line, with the run's id
    Json,
}

/// What to do.
#[derive(Subcommand, Debug)]
pub enum Command {
    Run(Run),
    Plan(Plan),
    Apply(Apply),
    Pending(Pending),
    Approve(Approve),
    Resolve(Resolve),
    Adopt(Adopt),
    Decline(Decline),
    Pin(Pin),
    History(History),
    Undo(Undo),
    #[command(subcommand)]
    State(StateCommand),
    Forget(Forget),
    Extract(Extract),
    Bundle(Bundle),
    Check(Check),
    Explain(Explain),
    #[command(subcommand)]
    Lookup(Lookup),
    Permissions(Permissions),
    Init(Init),
    Setup(Setup),
    Test(Test),
    Config(Config),
    Schema(Schema),
    #[command(subcommand)]
    Expr(Expr),
}

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
  entra-import plan contoso.toml --from-snapshot last          again, after a mapping was edited; reads no Entra
  entra-import plan contoso.toml --report plan.html            a page to search and filter, works offline
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
  entra-import approve contoso.toml 3fa9c1d2 --limit retires --limit links-removed --by \"Alex Wilber\"")]
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

/// Whoever decides.
#[derive(Args, Debug)]
pub struct Who {
    /// Who decides, where the user's name on this machine does not tell
    #[arg(long, value_name = "WHO")]
    pub by: Option<String>,
}

/// Let an object of Entra have a record of the target, such as that of a colleague who came back.
///
/// The record may carry no key, another key, or that of a deleted object; the next run writes what differs, its key
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

/// Take a record out of the job's hands: it is neither created nor changed nor removed from then on.
///
/// What the target holds of it stays as it is.
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

/// Keep a record whatever becomes of its object: it is updated, but never marked, deactivated or deleted.
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

/// Show the past runs of a job: what they did, how long they took, how they ended, who approved and decided what.
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

/// Erase what is kept of a person: in the ledger, snapshots, saved plans and reports of a job.
///
/// The target is not touched. Records that the job owns are refused unless --owned gives them up: nobody would update or
/// remove them any more.
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

/// Whose value stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub enum Take {
    /// Entra's
    Source,
    /// The target's
    Target,
}

/// Read Entra ID and write a snapshot: JSON lines per collection, and a manifest.
///
/// A snapshot holds what the job's scope and mappings use, no more. It can be planned from with `--from-snapshot`.
#[derive(Args, Debug)]
#[command(after_help = "\
Example:
  entra-import extract contoso.toml --out snapshot/
  entra-import extract contoso.toml --out snapshot/ --record report/     also what Microsoft answered")]
pub struct Extract {
    /// The job file
    #[arg(value_name = "JOB")]
    pub job: PathBuf,
    /// The folder to write; a snapshot in it is replaced, anything else is left alone and refused
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    #[command(flatten)]
    pub record: Record,
}

/// Pack a masked copy of a job and of what it read, for somebody who is to find a fault.
///
/// Names, addresses, ids and times are replaced, the same one everywhere in the same way; numbers, lengths and how
/// things hang together stay, so that the copy can be planned from. No secret, no ledger and no row of the target is in
/// it. Look at it before you pass it on.
#[derive(Args, Debug)]
#[command(after_help = "\
Example:
  entra-import bundle contoso.toml --out for-support/          from what the last run read")]
pub struct Bundle {
    /// The job file
    #[arg(value_name = "JOB")]
    pub job: PathBuf,
    /// The folder to write; a new one
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    #[command(flatten)]
    pub snapshot: Snapshot,
}

/// Sign in and look at everything a run needs, without writing anything.
///
/// Names each right that is missing, wider than needed or in excess, the hosts that the job talks to, when the client
/// secret ends, and whether the target can be read and written. Over several jobs it ends with one table.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  entra-import check contoso.toml
  entra-import check jobs/ --format json")]
pub struct Check {
    /// Job files, or folders of them
    #[arg(required = true, value_name = "JOB")]
    pub jobs: Vec<PathBuf>,
    /// How the findings are printed
    #[arg(long, value_enum, default_value_t)]
    pub format: Format,
}

/// Write a job to begin with; for a schema that is there already, mappings that fit it.
///
/// Without `--site` the job writes CSV files. With `--from-schema` object types and attributes of Jira Service Management
/// Assets are read, also those that another importer made, and a mapping file is proposed for each type that looks like
/// users, groups, licenses or devices: what each attribute comes from, the key, and by what objects that are there are
/// taken over. What is not matched is listed in the file. Nothing is written to Jira, no file is written over, and no
/// secret is asked for: the files name the variables in which they lie.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  entra-import init contoso.toml --tenant contoso.onmicrosoft.com --client-id 00001111-aaaa-2222-bbbb-3333cccc4444
  entra-import init assets.toml --site https://contoso.atlassian.net --user importer@contoso.com
  entra-import init assets.toml --site https://contoso.atlassian.net --user importer@contoso.com --from-schema People
  entra-import init assets.toml --site https://jira.contoso.com --flavour data-center --from-schema People")]
pub struct Init {
    /// The job file to write; proposed mappings go into a folder of its name beside it
    #[arg(value_name = "JOB")]
    pub job: PathBuf,
    /// The tenant: its id or one of its domains
    #[arg(long, value_name = "TENANT")]
    pub tenant: Option<String>,
    /// The application that signs in to Entra ID
    #[arg(long, value_name = "ID")]
    pub client_id: Option<String>,
    /// The Jira site whose Assets is written to
    #[arg(long, value_name = "URL")]
    pub site: Option<String>,
    /// Which product the site is
    #[arg(long, value_enum, default_value_t, value_name = "FLAVOUR", requires = "site")]
    pub flavour: SiteKind,
    /// Whose API token or password it is; without one the token is a personal access token (Data Center)
    #[arg(long, value_name = "MAIL", requires = "site")]
    pub user: Option<String>,
    /// The API token has scopes, or is of a service account (Cloud)
    #[arg(long, requires = "site")]
    pub scoped: bool,
    /// The environment variable that the token lies in
    #[arg(long, value_name = "NAME", default_value = "JIRA_TOKEN", requires = "site")]
    pub token_env: String,
    /// Cloud's gateway, where it is not https://api.atlassian.com: for a simulator
    #[arg(long, value_name = "URL", requires = "site")]
    pub api: Option<String>,
    /// The object schema that `setup` is to make
    #[arg(long, value_name = "NAME", requires = "site", conflicts_with = "from_schema")]
    pub schema: Option<String>,
    /// Propose mappings that fit this object schema, by its name or key
    #[arg(long, value_name = "NAME", requires = "site")]
    pub from_schema: Option<String>,
}

/// The two products that Assets is part of.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, ValueEnum)]
pub enum SiteKind {
    #[default]
    Cloud,
    DataCenter,
}

/// Make what a target lacks before a first run: object types, attributes, statuses.
///
/// What is there is never changed; where it does not fit the mappings, that is said and the exit code is 3. A second call
/// finds nothing to make. It needs more rights in the target than a nightly run does. CSV needs no setting up.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  entra-import setup contoso.toml --dry-run                    what it would make
  entra-import setup contoso.toml")]
pub struct Setup {
    /// Job file
    #[arg(value_name = "JOB")]
    pub job: PathBuf,
    /// Say what would be made, and make nothing
    #[arg(long)]
    pub dry_run: bool,
}

/// Say why one record is in or out, what it becomes, what differs and who changed it, and what a run would do with it.
///
/// Shows the record as read, each clause of the scope with its value and what it reads, each mapped attribute with its
/// expression, what the target holds and what was written last, and the change of the plan with its cause and the limit
/// that holds it, or why there is none. Takes no lock and writes nothing. Deleted and excluded records are explained too,
/// while the ledger knows them or their id is given.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  entra-import explain contoso.toml adele@contoso.com
  entra-import explain contoso.toml \"VPN Users\" --from-snapshot last
  entra-import explain contoso.toml 87d349ed-44d7-43e1-9a83-5f2406dee5bd --format json")]
pub struct Explain {
    /// The job file
    #[arg(value_name = "JOB")]
    pub job: PathBuf,
    /// The record's id, user principal name, mail address or display name, or the key of a pair as plans print it
    #[arg(value_name = "WHO")]
    pub who: String,
    #[command(flatten)]
    pub snapshot: Snapshot,
    /// How the answer is printed
    #[arg(long, value_enum, default_value_t)]
    pub format: AnswerFormat,
}

/// Show one user, group or device with what hangs on it, or what a filter keeps.
///
/// An object is named by id, user principal name, mail address or display name. The tenant is read for it, which takes as
/// long as its memberships take; a snapshot answers at once. Nothing is written. What is not known is said, and makes the
/// exit code 3.
#[derive(Subcommand, Debug)]
#[command(after_help = "\
Examples:
  entra-import lookup user adele@contoso.com --job contoso.toml        manager, groups, licenses
  entra-import lookup group \"VPN Users\" --job contoso.toml --from-snapshot last
  entra-import lookup users --where \"department eq null\" --job contoso.toml")]
pub enum Lookup {
    /// One user: properties, manager, groups with the way to each, licenses
    User(LookupOne),
    /// One group: properties, the groups it is in, members with the way to each
    Group(LookupOne),
    /// One device: properties, groups with the way to each
    Device(LookupOne),
    /// How many users a filter keeps, and the first of them
    Users(LookupSome),
    /// How many groups a filter keeps, and the first of them
    Groups(LookupSome),
    /// How many devices a filter keeps, and the first of them
    Devices(LookupSome),
}

/// `lookup user`, `lookup group`, `lookup device`.
#[derive(Args, Debug)]
pub struct LookupOne {
    /// Its id, user principal name, mail address or display name; of a device also its device id
    #[arg(value_name = "WHO")]
    pub who: String,
    #[command(flatten)]
    pub from: LookupFrom,
}

/// `lookup users`, `lookup groups`, `lookup devices`.
#[derive(Args, Debug)]
pub struct LookupSome {
    /// A filter as in a job's [scope]
    #[arg(long = "where", value_name = "EXPR")]
    pub filter: String,
    #[command(flatten)]
    pub from: LookupFrom,
}

/// Of which tenant or snapshot, and how it is printed.
#[derive(Args, Debug)]
pub struct LookupFrom {
    /// The job file, for the tenant and how to sign in
    #[arg(long, value_name = "JOB")]
    pub job: PathBuf,
    #[command(flatten)]
    pub snapshot: Snapshot,
    /// How the answer is printed
    #[arg(long, value_enum, default_value_t)]
    pub format: AnswerFormat,
    /// Show the first N of each list, not 20; JSON of one object always has all
    #[arg(long, value_name = "N")]
    pub first: Option<usize>,
}

/// Print the permissions that a job needs, as a page for who must consent. Contacts nobody.
///
/// Each permission with what it is for and what happens without it, the link for admin consent, and the piece of the
/// app registration's manifest. They are the least that this job needs; another mapping or filter may need others.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  entra-import permissions contoso.toml
  entra-import permissions contoso.toml --format markdown      for a ticket")]
pub struct Permissions {
    /// The job file
    #[arg(value_name = "JOB")]
    pub job: PathBuf,
    /// How the page is printed
    #[arg(long, value_enum, default_value_t)]
    pub format: PageFormat,
}

/// Run the test cases that mapping files carry.
#[derive(Args, Debug)]
#[command(after_help = "\
Example:
  entra-import test mappings/user.toml")]
pub struct Test {
    /// Mapping files, folders of them, or shipped ones such as csv/users@1
    #[arg(required = true, value_name = "MAPPING")]
    pub mappings: Vec<PathBuf>,
}

/// Try an expression of the filter and mapping language (OData 4.01, as in Microsoft Graph's $filter).
#[derive(Subcommand, Debug)]
#[command(after_help = "\
Examples:
  entra-import expr check \"accountEnabled eq true and userType eq 'Member'\"
  entra-import expr eval \"coalesce(mail, userPrincipalName)\" --record adele.json
  entra-import expr functions lookup")]
pub enum Expr {
    /// Say whether an expression is right, and print its normal form
    Check(ExprCheck),
    /// Evaluate an expression over one record and print the value as JSON
    Eval(ExprEval),
    /// List the functions of the language, or explain one
    Functions(ExprFunctions),
}

/// `expr functions`.
#[derive(Args, Debug)]
pub struct ExprFunctions {
    /// The function to explain
    #[arg(value_name = "NAME")]
    pub name: Option<String>,
}

/// `expr check`.
#[derive(Args, Debug)]
pub struct ExprCheck {
    /// The expression, typed or pasted from an address
    #[arg(value_name = "EXPRESSION", allow_hyphen_values = true)]
    pub text: String,
    /// The collection whose records it is about
    #[arg(long, value_parser = collection())]
    pub collection: Option<Collection>,
    /// A CSV file for `lookup`, and the name it has in the expression
    #[arg(long, value_name = "NAME=FILE")]
    pub table: Vec<String>,
}

/// Print a job with its bases merged, each value with the file and line it comes from.
///
/// What is printed is TOML; paths are as they were written, relative to the file that the line names.
#[derive(Args, Debug)]
#[command(after_help = "\
Example:
  entra-import config contoso.toml                             what this job says, and where")]
pub struct Config {
    /// The job file
    #[arg(value_name = "JOB")]
    pub job: PathBuf,
}

/// Print the JSON Schema of a kind of file, for editors.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  entra-import schema job > job.schema.json
  entra-import schema mapping > mapping.schema.json
  entra-import schema profile > profile.schema.json")]
pub struct Schema {
    /// Which kind of file
    #[arg(value_enum, value_name = "FORMAT")]
    pub format: SchemaFormat,
}

/// The kinds of files that have a schema.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub enum SchemaFormat {
    /// Job files (`format = "job/1"`)
    Job,
    /// Mapping files (`format = "mapping/1"`)
    Mapping,
    /// Profiles of REST systems (`format = "profile/1"`); no target reads them yet
    Profile,
}

/// `expr eval`.
#[derive(Args, Debug)]
pub struct ExprEval {
    /// The expression, typed or pasted from an address
    #[arg(value_name = "EXPRESSION", allow_hyphen_values = true)]
    pub text: String,
    /// The collection whose record it is evaluated over
    #[arg(long, value_parser = collection())]
    pub collection: Option<Collection>,
    /// A JSON file with one object, as Microsoft Graph returns it; without one every property is null
    #[arg(long, value_name = "FILE")]
    pub record: Option<PathBuf>,
    /// A CSV file for `lookup`, and the name it has in the expression
    #[arg(long, value_name = "NAME=FILE")]
    pub table: Vec<String>,
}

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

impl Global {
    /// How much of a plan the text form shows.
    pub fn detail(&self, all: bool) -> Detail {
        match (self.verbose, all) {
            (1.., _) => Detail::Full,
            (0, true) => Detail::All,
            (0, false) => Detail::Brief,
        }
    }
}

/// A closed list of words, each standing for a value.
fn words<T: Clone + Send + Sync + 'static>(
    all: &'static [T],
    word: fn(&T) -> &'static str,
) -> impl TypedValueParser<Value = T> {
    PossibleValuesParser::new(all.iter().map(word)).try_map(move |given| {
        // The list that is offered is the list that is searched, so this always finds one.
        all.iter().find(|value| word(value) == given).cloned().ok_or("unknown word")
    })
}

fn limit() -> impl TypedValueParser<Value = LimitName> {
    words(&LimitName::ALL, |limit| limit.word())
}

fn action() -> impl TypedValueParser<Value = Action> {
    words(&Action::ALL, |action| action.word())
}

fn collection() -> impl TypedValueParser<Value = Collection> {
    words(&Collection::ALL, |collection| collection.name())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;
    use crate::report::golden;

    fn parsed(line: &str) -> Result<Cli, clap::Error> {
        Cli::try_parse_from(line.split_whitespace())
    }

    #[test]
    fn the_grammar_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn help_texts() {
        let mut top = Cli::command().term_width(100);
        top.build();
        golden("help/entra-import.txt", &top.render_long_help().to_string());
        golden("help/entra-import-short.txt", &top.render_help().to_string());
        for command in top.get_subcommands_mut().filter(|command| command.get_name() != "help") {
            let file = format!("help/{}.txt", command.get_name());
            golden(&file, &command.render_long_help().to_string());
        }
    }

    #[test]
    fn a_run_takes_jobs_and_a_trial() {
        let cli =
            parsed("entra-import run a.toml b.toml --only adele@contoso.com --approve retires,updates -v").unwrap();
        assert_eq!(cli.global.detail(false), Detail::Full);
        let Command::Run(run) = cli.command else { panic!("not a run") };
        assert_eq!(run.jobs, [PathBuf::from("a.toml"), PathBuf::from("b.toml")]);
        assert_eq!(run.trial.only, ["adele@contoso.com"]);
        assert_eq!(run.approve, [LimitName::Retires, LimitName::Updates]);
    }

    #[test]
    fn the_last_snapshot_is_a_word() {
        let choice = |line| {
            let Command::Plan(plan) = parsed(line).unwrap().command else { panic!("not a plan") };
            plan.snapshot.choice()
        };
        assert_eq!(choice("entra-import plan a.toml"), None);
        assert_eq!(choice("entra-import plan a.toml --from-snapshot last"), Some(SnapshotChoice::Last));
        assert_eq!(
            choice("entra-import plan a.toml --from-snapshot ./last"),
            Some(SnapshotChoice::Folder("./last".into()))
        );
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for line in [
            "entra-import",
            "entra-import run",
            "entra-import run a.toml --first 0",
            "entra-import run a.toml --first 3 --only adele@contoso.com",
            "entra-import plan a.toml -v -q",
            "entra-import apply a.plan",
            "entra-import apply a.plan --job a.toml --only everything",
            "entra-import approve a.toml 3fa9c1d2",
            "entra-import approve a.toml 3fa9c1d2 --limit everything",
            "entra-import resolve a.toml --take target",
            "entra-import resolve a.toml --take target --record x --all",
            "entra-import undo a.toml last",
            "entra-import state a.toml",
        ] {
            assert!(parsed(line).is_err(), "{line}");
        }
    }
}
