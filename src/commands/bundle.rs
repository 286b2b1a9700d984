//! `bundle`: a masked copy of a job for somebody who is to find a fault.
//!
//! Deliberately asks Entra nothing: it packs what a run or `extract` read. The target is read, to tell what the real
//! plan comes to; where that fails, the reason is packed instead.

use super::decisions;
use crate::bundle::Bundle;
use crate::cli::{self, SnapshotChoice};
use crate::error::{Exit, Result};
use crate::job::{Job, Source};
use crate::ledger::Ledger;
use crate::report::say;
use crate::session::{self, Context};
use crate::state::State;
use crate::sync;

/// Makes the bundle, and plans from it once, to prove that this can be done.
pub async fn bundle(command: &cli::Bundle, context: &Context<'_>) -> Result<Exit> {
    let job = Job::load(&command.job, None)?;
    let choice = match (command.snapshot.choice(), &job.source) {
        (Some(choice), _) => choice,
        (None, Source::Snapshot { dir, .. }) => SnapshotChoice::Folder(dir.clone()),
        (None, Source::Graph(_)) => SnapshotChoice::Last,
    };
    let snapshot = session::chosen_snapshot(&job, &choice)?;
    let mut bundle = Bundle::create(&command.out)?;
    let now = bundle.pack(&job, &snapshot, context.clock().now())?;
    let real = sync::plan_from(&command.job, snapshot.dir().to_owned(), context).await;
    bundle.figures(&real, &job.name)?;
    let ledger = Ledger::open_to_read(&State::of(&job).ledger(), &decisions::identity(&job)?)?;
    bundle.history(ledger.as_ref())?;
    bundle.plan(sync::plan_from(&bundle.job_file(), bundle.snapshot(), context).await?)?;
    bundle.finish(now)?;
    say!(
        "The bundle is in {}: job.toml, the masked snapshot, plan.txt, figures.json, history.json.",
        command.out.display()
    );
    say!(
        "Look at it before you pass it on: your mapping files and the texts in your filters stand in it as you wrote them."
    );
    Ok(Exit::Done)
}
