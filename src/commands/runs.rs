//! `run`, `plan`, `apply` and `undo`: what was typed, as the options of a run.
//!
//! Hides how several jobs follow one another. The runs themselves are [`crate::sync`]'s.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;

use super::{Work, decisions, recorded};
use crate::cli::{Apply, Plan, Run, Undo};
use crate::error::{Error, Exit, Result};
use crate::job::{Job, jobs_in};
use crate::ledger::RunId;
use crate::report::jobs::{self, Row};
use crate::report::{self, Format, log};
use crate::session::Options;
use crate::state::State;
use crate::sync;

/// The whole job, or several one after another.
pub async fn run(run: &Run, work: &Work<'_>) -> Result<Exit> {
    let options = |job: &Path| Options {
        dry_run: run.dry_run,
        full: run.full,
        out: None,
        detailed_exitcode: false,
        trial: run.trial.clone(),
        snapshot: run.snapshot.choice(),
        approve: run.approve.clone(),
        retry_rejected: run.retry_rejected,
        by: decisions::who(None),
        format: run.output.format,
        files: run.output.files.wanted(Some(&run.outcomes)),
        view: work.view(job, run.output.all),
    };
    let recorder = work.recorder(&run.record)?;
    if recorder.is_some() && jobs_in(&run.jobs)?.len() > 1 {
        return Err(Error::usage("--record takes one job").hint("name the job that shows what you report"));
    }
    recorded(recorder, each(&run.jobs, options, work).await)
}

/// One job after another; one that fails does not stop the next.
async fn each(paths: &[PathBuf], options: impl Fn(&Path) -> Options, work: &Work<'_>) -> Result<Exit> {
    let jobs = jobs_in(paths)?;
    if jobs.len() > 1 {
        options(&jobs[0]).files.refuse_shared()?;
        refuse_shared_ledger(&jobs)?;
    }
    let mut rows = Vec::with_capacity(jobs.len());
    for job in &jobs {
        let file = job.display().to_string();
        log::set_run(&file);
        let (ended, figures) = sync::run_with_figures(job, &options(job), &work.context).await;
        work.context.progress.clear();
        rows.push(Row::new(&file, figures, &ended));
        if let Err(error) = ended {
            report::error(&error, work.global.color.for_stderr());
        }
        if work.context.stop.load(Ordering::SeqCst) {
            break;
        }
    }
    let first = options(&jobs[0]);
    if rows.len() > 1 && first.format == Format::Text {
        report::to_stdout(|to| jobs::table(&rows, &first.view, to))?;
    }
    Ok(Exit::worst(rows.iter().map(|row| row.exit)))
}

/// Two jobs of one name would take each other's records for their own. One that cannot be loaded says so in its turn.
fn refuse_shared_ledger(jobs: &[PathBuf]) -> Result<()> {
    let mut ledgers: BTreeMap<PathBuf, &Path> = BTreeMap::new();
    for path in jobs {
        let Ok(job) = Job::load(path, None) else { continue };
        if let Some(other) = ledgers.insert(State::of(&job).ledger(), path) {
            let (one, two) = (other.display(), path.display());
            return Err(Error::usage(format!("{one} and {two} are both the job {:?}", job.name))
                .cause("they would share one ledger, and each would take what the other made for its own")
                .hint(
                    "give one of them another `name`; an old copy may be moved out of the folder, or get a name that \
                     begins with `_`",
                ));
        }
    }
    Ok(())
}

/// What a run would do.
pub async fn plan(plan: &Plan, work: &Work<'_>) -> Result<Exit> {
    let options = Options {
        dry_run: true,
        full: plan.full,
        out: plan.out.clone(),
        detailed_exitcode: plan.detailed_exitcode,
        trial: plan.trial.clone(),
        snapshot: plan.snapshot.choice(),
        format: plan.output.format,
        files: plan.output.files.wanted(None),
        view: work.view(&plan.job, plan.output.all),
        ..Options::default()
    };
    sync::run(&plan.job, &options, &work.context).await
}

/// A plan that was saved.
pub async fn apply(apply: &Apply, work: &Work<'_>) -> Result<Exit> {
    let options = Options {
        by: decisions::who(None),
        format: apply.format,
        files: apply.files.wanted(Some(&apply.outcomes)),
        view: work.view(&apply.job, false),
        ..Options::default()
    };
    sync::apply_saved(&apply.job, &apply.plan, &apply.only, &options, &work.context).await
}

/// What one run wrote, taken back.
pub async fn undo(undo: &Undo, work: &Work<'_>) -> Result<Exit> {
    let options = Options {
        dry_run: undo.dry_run,
        approve: undo.approve.clone(),
        by: decisions::who(None),
        format: undo.output.format,
        files: undo.output.files.wanted(None),
        view: work.view(&undo.job, undo.output.all),
        ..Options::default()
    };
    sync::undo(&undo.job, RunId(undo.run), &options, &work.context).await
}
