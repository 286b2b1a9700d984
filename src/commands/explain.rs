//! `explain`: one record, seen through the very plan that a run would make. Takes no lock and writes nothing.

use super::Work;
use crate::cli;
use crate::error::{Exit, Result};
use crate::explain::Inquiry;
use crate::report::to_stdout;
use crate::session::{Options, Session};
use crate::target;

/// Answers. What is not known makes it partial.
pub async fn explain(command: &cli::Explain, work: &Work<'_>) -> Result<Exit> {
    let options = Options {
        dry_run: true,
        full: true,
        snapshot: command.snapshot.choice(),
        view: work.view(&command.job, false),
        ..Options::default()
    };
    let mut session = Session::open(&command.job, &options, &work.context)?;
    session.look_for(&command.who);
    let target = target::open(&session.job.target, &work.context.http)?;
    let read = session.read().await?;
    let mut inquiry = Inquiry::about(&command.who, &session.job, session.ledger(), &read.snapshot)?;
    let plan = session.plan_before(target.as_ref(), &read.snapshot, Some(&mut inquiry)).await?;
    work.context.progress.clear();
    let explanation = inquiry.explain(&plan, &session.job, &read.snapshot)?;
    let view = work.view(&command.job, false);
    to_stdout(|to| command.format.explained(&explanation, &view, to))?;
    Ok(if explanation.is_doubtful() { Exit::Partial } else { Exit::Done })
}
