//! The commands: each is a few lines that call the piece that does the work and show what came of it.
//!
//! Hides how several jobs follow one another and how signals end a run. Deliberately holds no rule of the product.

mod bundle;
mod check;
mod decisions;
mod explain;
mod history;
mod init;
mod lookup;
mod offline;
mod ownership;
mod permissions;
mod setup;
mod traces;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::cli::{self, Cli, Command, Global};
use crate::clock::Clock;
use crate::error::{Context as _, Error, Exit, Result};
use crate::job::{Job, Source as JobSource, jobs_in};
use crate::ledger::RunId;
use crate::record::Collection;
use crate::recording::Recorder;
use crate::report::jobs::{self, Row};
use crate::report::progress::Progress;
use crate::report::{self, Format, View, log, say};
use crate::session;
use crate::snapshot::{Extent, is_snapshot};
use crate::source::{self, Source, SourceNeeds};
use crate::state::State;
use crate::sync::{self, Context, Options};

/// Runs the command and says how it ended; errors have been printed.
pub fn dispatch(cli: Cli) -> Exit {
    let progress = Progress::new(&cli.global);
    let colour = cli.global.color.for_stderr();
    let ended = started(&cli, &progress);
    progress.clear();
    ended.unwrap_or_else(|error| {
        report::error(&error, colour);
        error.exit
    })
}

fn started(cli: &Cli, progress: &Progress) -> Result<Exit> {
    log::start(&cli.global, matches!(cli.command, Command::Extract(_)), progress.clone())
        .failing(|| "cannot start the log".into())?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.failing(|| "cannot start the runtime".into())?;
    // Lives as long as the process: the signal task looks at it whenever a signal comes.
    static STOP: AtomicBool = AtomicBool::new(false);
    let at_work = Work { global: &cli.global, context: Context::new(Clock::from_environment()?, progress, &STOP) };
    // On a thread of its own: staging a file gives no other task of this thread a turn.
    runtime.spawn(async {
        // What is half written is harmless: the next run settles it from the journal.
        let signal = interrupted(&STOP).await;
        std::process::exit(128 + signal)
    });
    runtime.block_on(at_work.run(&cli.command))
}

/// Waits for SIGINT or SIGTERM. While a plan is being applied the first one only asks it to stop once what is being
/// written is finished; a second one, or one at any other time, ends the process.
async fn interrupted(stop: &AtomicBool) -> i32 {
    use tokio::signal::unix::{SignalKind, signal};
    let (Ok(mut interrupt), Ok(mut terminate)) = (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
    else {
        // Without handlers the system's default ends the process, which is as safe.
        return std::future::pending().await;
    };
    loop {
        let number = tokio::select! {
            _ = interrupt.recv() => 2,
            _ = terminate.recv() => 15,
        };
        if !sync::is_applying() || stop.swap(true, Ordering::SeqCst) {
            return number;
        }
        tracing::warn!("asked to stop: what is being written is finished first; ask again to stop at once");
    }
}

/// A command at work.
struct Work<'a> {
    global: &'a Global,
    context: Context<'a>,
}

impl Work<'_> {
    async fn run(&self, command: &Command) -> Result<Exit> {
        match command {
            Command::Run(run) => {
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
                    view: self.view(job, run.output.all),
                };
                let recorder = self.recorder(&run.record)?;
                if recorder.is_some() && jobs_in(&run.jobs)?.len() > 1 {
                    return Err(Error::usage("--record takes one job").hint("name the job that shows what you report"));
                }
                recorded(recorder, self.each(&run.jobs, options).await)
            }
            Command::Plan(plan) => {
                let options = Options {
                    dry_run: true,
                    full: plan.full,
                    out: plan.out.clone(),
                    detailed_exitcode: plan.detailed_exitcode,
                    trial: plan.trial.clone(),
                    snapshot: plan.snapshot.choice(),
                    format: plan.output.format,
                    files: plan.output.files.wanted(None),
                    view: self.view(&plan.job, plan.output.all),
                    ..Options::default()
                };
                sync::run(&plan.job, &options, &self.context).await
            }
            Command::Apply(apply) => {
                let options = Options {
                    by: decisions::who(None),
                    format: apply.format,
                    files: apply.files.wanted(Some(&apply.outcomes)),
                    view: self.view(&apply.job, false),
                    ..Options::default()
                };
                sync::apply_saved(&apply.job, &apply.plan, &apply.only, &options, &self.context).await
            }
            Command::Extract(extract) => {
                let recorder = self.recorder(&extract.record)?;
                recorded(recorder, self.extract(extract).await)
            }
            Command::Bundle(bundle) => bundle::bundle(bundle, &self.context).await,
            Command::Check(check) => check::check(check, self).await,
            Command::Explain(command) => explain::explain(command, self).await,
            Command::Lookup(command) => lookup::lookup(command, self).await,
            Command::Permissions(command) => permissions::permissions(command),
            Command::Init(command) => init::init(command, &self.context).await,
            Command::Setup(command) => setup::setup(command, &self.context).await,
            Command::Pending(pending) => decisions::pending(&pending.jobs, self.global.color.for_stderr()),
            Command::Approve(approve) => decisions::approve(approve, &self.context),
            Command::Resolve(resolve) => decisions::resolve(resolve, &self.context).await,
            Command::Adopt(adopt) => ownership::adopt(adopt, &self.context).await,
            Command::Decline(decline) => ownership::decline(decline, &self.context).await,
            Command::Pin(pin) => ownership::pin(pin, &self.context),
            Command::History(history) => history::history(history),
            Command::Undo(undo) => {
                let options = Options {
                    dry_run: undo.dry_run,
                    approve: undo.approve.clone(),
                    by: decisions::who(None),
                    format: undo.output.format,
                    files: undo.output.files.wanted(None),
                    view: self.view(&undo.job, undo.output.all),
                    ..Options::default()
                };
                sync::undo(&undo.job, RunId(undo.run), &options, &self.context).await
            }
            Command::State(command) => traces::state(command, &self.context),
            Command::Forget(forget) => traces::forget(forget, &self.context),
            Command::Test(test) => offline::test(&test.mappings),
            Command::Config(config) => offline::config(&config.job),
            Command::Schema(schema) => Ok(offline::schema(schema.format)),
            Command::Expr(expr) => offline::expr(expr, self.context.clock().now()),
        }
    }

    /// Begins a recording, where one was asked for.
    fn recorder(&self, record: &cli::Record) -> Result<Option<Arc<Recorder>>> {
        let recorder = record.record.as_deref().map(Recorder::create).transpose()?.map(Arc::new);
        recorder.iter().for_each(|recorder| self.context.http.record(recorder.clone()));
        Ok(recorder)
    }

    fn view(&self, job: &Path, all: bool) -> View {
        View {
            job_file: job.display().to_string(),
            colour: self.global.color.for_stdout(),
            detail: self.global.detail(all),
            price: None,
        }
    }

    /// One job after another; one that fails does not stop the next.
    async fn each(&self, paths: &[PathBuf], options: impl Fn(&Path) -> Options) -> Result<Exit> {
        let jobs = jobs_in(paths)?;
        if jobs.len() > 1 {
            options(&jobs[0]).files.refuse_shared()?;
            refuse_shared_ledger(&jobs)?;
        }
        let mut rows = Vec::with_capacity(jobs.len());
        for job in &jobs {
            let file = job.display().to_string();
            log::set_run(&file);
            let (ended, figures) = sync::run_with_figures(job, &options(job), &self.context).await;
            self.context.progress.clear();
            rows.push(Row::new(&file, figures, &ended));
            if let Err(error) = ended {
                report::error(&error, self.global.color.for_stderr());
            }
            if self.context.stop.load(Ordering::SeqCst) {
                break;
            }
        }
        let first = options(&jobs[0]);
        if rows.len() > 1 && first.format == Format::Text {
            report::to_stdout(|to| jobs::table(&rows, &first.view, to))?;
        }
        Ok(Exit::worst(rows.iter().map(|row| row.exit)))
    }

    async fn extract(&self, extract: &cli::Extract) -> Result<Exit> {
        let mut job = Job::load(&extract.job, None)?;
        session::prepare(&mut job);
        let JobSource::Graph(graph) = &job.source else {
            return Err(Error::usage(format!("{} reads a snapshot already", extract.job.display()))
                .hint("extract needs a job whose [source] is a tenant"));
        };
        refuse_foreign_folder(&extract.out)?;
        let source = Source::new(source::config(graph)?, &self.context.http)?;
        let needs = SourceNeeds::of(&job.catalog);
        let read = source.extract(&needs, self.context.progress, &extract.out).await?;
        self.context.progress.clear();
        let mut exit = Exit::Done;
        for (collection, extent) in &read.snapshot.manifest().collections {
            match extent.coverage.gap() {
                None if extent.partial_lists == 0 => say!("{collection}: {} read", read_of(*collection, extent)),
                gap => {
                    exit = Exit::Partial;
                    let lists = format!("{} member lists are incomplete", extent.partial_lists);
                    let why = gap.map_or(lists, |gap| gap.to_string());
                    let read = read_of(*collection, extent);
                    say!("{collection}: {read} read, partial: {}", report::visible::visible(&why));
                }
            }
        }
        let memberships = read.snapshot.manifest().collections.get(&Collection::Memberships);
        if let Some(by) = memberships.and_then(|extent| extent.read_by.as_ref()) {
            say!("memberships read by {}: {}; {}", by.strategy.name(), by.cost, by.reason);
        }
        say!("{} requests; written to {}", read.counts.requests, extract.out.display());
        Ok(exit)
    }
}

/// Two jobs of one name would take each other's records for their own. One that cannot be loaded says so in its turn.
fn refuse_shared_ledger(jobs: &[PathBuf]) -> Result<()> {
    let mut ledgers: BTreeMap<PathBuf, &Path> = BTreeMap::new();
    for path in jobs {
        let Ok(job) = Job::load(path, None) else { continue };
        if let Some(other) = ledgers.insert(State::of(&job).ledger(), path) {
            let (one, two) = (other.display(), path.display());
            return Err(Error::usage(format!("{one} and {two} are both the job \"{}\"", job.name))
                .cause("they would share one ledger, and each would take what the other made for its own")
                .hint("give one of them another `name`; if one is an old copy, move it out of the folder, or put `_` before its name"));
        }
    }
    Ok(())
}

/// Ends a recording, also that of a run that failed: then it is wanted most.
fn recorded(recorder: Option<Arc<Recorder>>, ended: Result<Exit>) -> Result<Exit> {
    let Some(recorder) = recorder else { return ended };
    match recorder.finish() {
        Ok(words) => {
            tracing::warn!("{words}");
            ended
        }
        // What the run itself says comes first.
        Err(error) => ended.and(Err(error)),
    }
}

/// How much came of a collection: of pairs the lists are counted, which a snapshot keeps as they are.
fn read_of(collection: Collection, extent: &Extent) -> String {
    match (collection.pairs(), extent.vanished_lists) {
        (Some(_), 0) => format!("{} lists", extent.count),
        (Some(_), vanished) => {
            format!("{} lists ({vanished} of them of objects that were gone by then)", extent.count)
        }
        (None, _) => extent.count.to_string(),
    }
}

/// A snapshot replaces what stands in its place: only an empty folder or another snapshot may stand there.
fn refuse_foreign_folder(out: &Path) -> Result<()> {
    let empty = std::fs::read_dir(out).map_or(!out.exists(), |mut entries| entries.next().is_none());
    if empty || is_snapshot(out) {
        return Ok(());
    }
    Err(Error::usage(format!("{} holds something that is no snapshot", out.display()))
        .hint("name a folder that does not exist yet, or one that a snapshot may replace"))
}
