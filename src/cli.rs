//! The command line: what can be typed, and the help that teaches it.
//!
//! Types only. Parsing does nothing but parse: files are opened, jobs loaded and formats rendered elsewhere. Only
//! commands that exist are listed.

mod ledger;
mod looking;
mod making;
mod options;
mod runs;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{ArgAction, Args, Parser, Subcommand};

pub use self::ledger::{
    Adopt, Decline, Forget, History, Pin, Resolve, StateCommand, StateExport, StateImport, Take, Who,
};
pub use self::looking::{Bundle, Check, Explain, Extract, Lookup, LookupFrom, LookupOne, LookupSome, Permissions};
pub use self::making::{
    Config, Expr, ExprCheck, ExprEval, ExprFunctions, Init, Schema, SchemaFormat, Setup, SiteKind, Test,
};
pub use self::options::{Files, Outcomes, Output, Record, Snapshot, SnapshotChoice, Trial};
pub use self::runs::{Apply, Approve, Pending, Plan, Run, Undo};
use crate::plan::LimitName;
use crate::plan::change::Action;
use crate::record::Collection;
use crate::report::log::{LogFormat, Voice};
use crate::report::{Colour, Detail};

const EVERY: &str = "Options of every command";
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
  9  stale: the saved plan no longer fits, or the target was changed while the run wrote
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

impl Global {
    /// What is said on stderr, and how.
    pub fn voice(&self) -> Voice {
        Voice { format: self.log_format, verbose: self.verbose, quiet: self.quiet, colour: self.color }
    }

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
    use std::path::PathBuf;

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
