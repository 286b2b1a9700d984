//! One run of one job: extract, judge, map, compare, hold or apply. [`run`] is the whole of it.
//!
//! Hides where state lies, how a run ends in history, and what a dry run leaves out. Deliberately decides nothing about
//! records (that is [`crate::plan`]) and prints nothing but through [`crate::report`].

use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use crate::cli::{SnapshotChoice, Trial};
use crate::clock::Clock;
use crate::error::{Exit, Result};
use crate::http::{Http, HttpSettings};
use crate::plan::change::Action;
use crate::plan::{LimitName, file};
use crate::report::progress::Progress;
use crate::report::{Format, View};
use crate::session::Session;
use crate::target;

/// What a person asked for, beyond the job.
pub struct Options {
    /// Writes nothing but what is printed and asked for.
    pub dry_run: bool,
    /// Where a dry run saves its plan.
    pub out: Option<PathBuf>,
    /// Exit 8 when a dry run finds changes.
    pub detailed_exitcode: bool,
    pub trial: Trial,
    pub snapshot: Option<SnapshotChoice>,
    /// Limits approved at once, by whoever runs this.
    pub approve: Vec<LimitName>,
    /// Who that is.
    pub by: String,
    pub format: Format,
    pub view: View,
}

/// What all jobs of one invocation share.
pub struct Context<'a> {
    pub http: Http,
    pub progress: &'a Progress,
    /// Set by a signal: what is in flight is finished, the rest is left for the next run.
    pub stop: &'a AtomicBool,
}

impl<'a> Context<'a> {
    pub fn new(clock: Clock, progress: &'a Progress, stop: &'a AtomicBool) -> Context<'a> {
        Context { http: Http::new(clock, HttpSettings::default()), progress, stop }
    }

    pub fn clock(&self) -> &Clock {
        self.http.clock()
    }
}

/// Runs one job once.
pub async fn run(path: &Path, options: &Options, context: &Context<'_>) -> Result<Exit> {
    let started = Instant::now();
    let mut session = Session::open(path, options, context)?;
    let target = target::open(&session.job.target);
    session.begin(&target).await?;
    let read = session.read().await?;
    let mut plan = session.plan(&target, &read.snapshot).await?;
    if session.approve_at_once(&plan)? {
        plan = session.plan(&target, &read.snapshot).await?;
    }
    if options.dry_run {
        return session.preview(&plan);
    }
    if plan.is_held() {
        return session.hold(&plan);
    }
    let applied = session.apply(&plan, &target).await?;
    session.finish(&plan, &applied, started.elapsed(), read.requests)
}

/// Applies a plan that was saved, if it is still the plan that would be made. Reads the target again, not the source.
pub async fn apply_saved(
    path: &Path,
    plan: &Path,
    only: &[Action],
    options: &Options,
    context: &Context<'_>,
) -> Result<Exit> {
    let started = Instant::now();
    let plan = file::read(plan)?;
    let mut session = Session::open(path, options, context)?;
    let target = target::open(&session.job.target);
    session.begin(&target).await?;
    session.refuse_stale(&plan, &target).await?;
    let plan = if only.is_empty() { plan } else { plan.only(only)? };
    // Applying a saved plan by name is the approval of what it shows: limits do not hold it again.
    let applied = session.apply(&plan, &target).await?;
    session.finish(&plan, &applied, started.elapsed(), 0)
}
