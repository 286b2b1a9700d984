//! One run of one job: extract, judge, map, compare, hold or apply. [`run`] is the whole of it.
//!
//! Hides the order of the steps; what each of them does is [`crate::session`]'s. Deliberately decides nothing about
//! records (that is [`crate::plan`]) and prints nothing but through [`crate::report`].

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use crate::apply::Applied;
use crate::cli::SnapshotChoice;
use crate::error::{Error, Exit, Result};
use crate::job::Job;
use crate::ledger::RunId;
use crate::plan::change::Action;
use crate::plan::{Plan, file};
use crate::report::figures::Figures;
use crate::session::{Context, Options, Session, Took};
use crate::target::{self, Target};

/// True while an apply is under way: only then is there something worth finishing when a signal comes.
static APPLYING: AtomicBool = AtomicBool::new(false);

/// Whether a plan is being applied at this moment.
pub fn is_applying() -> bool {
    APPLYING.load(Ordering::SeqCst)
}

/// Runs one job once.
pub async fn run(path: &Path, options: &Options, context: &Context<'_>) -> Result<Exit> {
    run_with_figures(path, options, context).await.0
}

/// [`run`], with how it went; without figures where the job could not even be opened.
pub async fn run_with_figures(
    path: &Path,
    options: &Options,
    context: &Context<'_>,
) -> (Result<Exit>, Option<Figures>) {
    let mut session = match Session::open(path, options, context) {
        Ok(session) => session,
        Err(error) => return (Err(error), None),
    };
    let ended = steps(&mut session, options).await;
    let ended = session.end_of_run(ended).await;
    (ended, Some(session.figures().clone()))
}

/// The way of the data, from Entra to the target.
async fn steps(session: &mut Session<'_>, options: &Options) -> Result<Exit> {
    let started = Instant::now();
    let target = target::open(&session.job.target, &session.context().http)?;
    session.begin(if options.trial.is_everything() { "run" } else { "trial" }, target.as_ref()).await?;
    session.tell_beginning().await;
    let read = session.read().await?;
    let mut plan = session.plan(target.as_ref(), &read.snapshot).await?;
    if session.approve_at_once(&plan)? {
        plan = session.plan(target.as_ref(), &read.snapshot).await?;
    }
    if options.dry_run {
        return session.preview(&plan);
    }
    if plan.is_held() {
        return session.hold(&plan);
    }
    let applied = apply(session, &plan, target.as_ref()).await?;
    session.finish(&plan, &applied, true, &Took { time: started.elapsed(), requests: target.requests() }, Some(&read))
}

async fn apply(session: &mut Session<'_>, plan: &Plan, target: &dyn Target) -> Result<Applied> {
    APPLYING.store(true, Ordering::SeqCst);
    let applied = session.apply(plan, target).await;
    APPLYING.store(false, Ordering::SeqCst);
    applied
}

/// Applies a plan that was saved, if it is still the plan that would be made. Reads the target again, not the source.
pub async fn apply_saved(
    path: &Path,
    plan: &Path,
    only: &[Action],
    options: &Options,
    context: &Context<'_>,
) -> Result<Exit> {
    let plan = file::read(plan)?;
    // Before a ledger is made for a job that the plan has nothing to do with.
    let job = Job::load(path, None)?.name;
    if plan.header.job != job {
        let (id, made_from) = (&plan.header.id, &plan.header.job);
        return Err(Error::usage(format!(
            "plan {id} is of the job {made_from}, and {} is the job {job}",
            path.display()
        ))
        .hint("name the job file that it was made from with --job"));
    }
    let mut session = Session::open(path, options, context)?;
    let ended = saved_steps(&mut session, &plan, only).await;
    session.end_of_run(ended).await
}

async fn saved_steps(session: &mut Session<'_>, plan: &Plan, only: &[Action]) -> Result<Exit> {
    let started = Instant::now();
    let target = target::open(&session.job.target, &session.context().http)?;
    session.begin("apply", target.as_ref()).await?;
    session.refuse_stale(plan, target.as_ref()).await?;
    let plan = if only.is_empty() { plan.clone() } else { plan.only(only)? };
    // Applying a saved plan by name is the approval of what it shows: limits do not hold it again.
    let plan = session.approve_by_name(plan)?;
    let applied = apply(session, &plan, target.as_ref()).await?;
    session.finish(
        &plan,
        &applied,
        only.is_empty(),
        &Took { time: started.elapsed(), requests: target.requests() },
        None,
    )
}

/// Takes back what one run wrote. Reads the target, not the source.
pub async fn undo(path: &Path, run: RunId, options: &Options, context: &Context<'_>) -> Result<Exit> {
    let mut session = Session::open(path, options, context)?;
    let ended = undo_steps(&mut session, run, options).await;
    session.note_failure(ended)
}

async fn undo_steps(session: &mut Session<'_>, run: RunId, options: &Options) -> Result<Exit> {
    let started = Instant::now();
    let target = target::open(&session.job.target, &session.context().http)?;
    session.begin("undo", target.as_ref()).await?;
    let mut plan = session.plan_undo(run, target.as_ref()).await?;
    if session.approve_at_once(&plan)? {
        plan = session.plan_undo(run, target.as_ref()).await?;
    }
    if options.dry_run {
        return session.preview(&plan);
    }
    if plan.is_held() {
        return session.hold(&plan);
    }
    let applied = apply(session, &plan, target.as_ref()).await?;
    session.use_up_approvals_of(&plan)?;
    let took = Took { time: started.elapsed(), requests: target.requests() };
    session.finish(&plan, &applied, false, &took, None)
}

/// Plans from a snapshot without showing or writing anything: for decisions about what a plan lists.
pub async fn plan_from(path: &Path, snapshot: PathBuf, context: &Context<'_>) -> Result<Plan> {
    let options = Options { dry_run: true, snapshot: Some(SnapshotChoice::Folder(snapshot)), ..Options::default() };
    let mut session = Session::open(path, &options, context)?;
    let target = target::open(&session.job.target, &session.context().http)?;
    let read = session.read().await?;
    session.plan(target.as_ref(), &read.snapshot).await
}
