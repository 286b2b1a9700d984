//! The commands: each is a few lines that call the piece that does the work and show what came of it.
//!
//! Hides how signals end a run, and what is recorded. Deliberately holds no rule of the product.

mod bundle;
mod check;
mod decisions;
mod explain;
mod extract;
mod history;
mod init;
mod lookup;
mod offline;
mod ownership;
mod permissions;
mod runs;
mod setup;
mod traces;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::cli::{self, Cli, Command, Global};
use crate::clock::Clock;
use crate::error::{Context as _, Exit, Result};
use crate::recording::Recorder;
use crate::report::progress::Progress;
use crate::report::{self, View, log};
use crate::session::Context;
use crate::sync;

/// Runs the command and says how it ended; errors have been printed.
pub fn dispatch(cli: Cli) -> Exit {
    let progress = Progress::new(cli.global.voice());
    let colour = cli.global.color.for_stderr();
    let ended = started(&cli, &progress);
    progress.clear();
    ended.unwrap_or_else(|error| {
        report::error(&error, colour);
        error.exit
    })
}

fn started(cli: &Cli, progress: &Progress) -> Result<Exit> {
    log::start(cli.global.voice(), matches!(cli.command, Command::Extract(_)), progress.clone())
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
            Command::Run(command) => runs::run(command, self).await,
            Command::Plan(command) => runs::plan(command, self).await,
            Command::Apply(command) => runs::apply(command, self).await,
            Command::Extract(command) => extract::extract(command, self).await,
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
            Command::Undo(command) => runs::undo(command, self).await,
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

    /// How results of that job are to look.
    fn view(&self, job: &Path, all: bool) -> View {
        View {
            job_file: job.display().to_string(),
            colour: self.global.color.for_stdout(),
            detail: self.global.detail(all),
            price: None,
        }
    }
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
