//! `setup`: makes what the target lacks before a first run. Shows it first, where that is asked for.

use crate::cli;
use crate::error::{Error, Exit, Result};
use crate::job::{Job, TargetConfig};
use crate::report::say;
use crate::session::Context;
use crate::target::jsm_assets::setup::setup as jsm_setup;
use crate::visible::visible;

/// Sets a job's target up, or says what that would make.
pub async fn setup(command: &cli::Setup, context: &Context<'_>) -> Result<Exit> {
    let job = Job::load(&command.job, None)?;
    let TargetConfig::JsmAssets(config) = &job.target else {
        say!("{}: its target needs no setting up", job.name);
        return Ok(Exit::Done);
    };
    let word = if command.dry_run { "would make" } else { "made" };
    let mut tell = |step: &str| say!("{word} {}", visible(step));
    let done = jsm_setup(config, &context.http, &job, command.dry_run, &mut tell).await?;
    for remark in &done.remarks {
        tracing::warn!("{}: {}", visible(&remark.words), remark.hint);
    }
    if done.steps.is_empty() && done.misfits.is_empty() {
        say!("{}: the schema {} has everything", job.name, visible(&config.schema));
    }
    if done.misfits.is_empty() {
        return Ok(Exit::Done);
    }
    let what = format!("the schema {:?} has things that do not fit the mappings", config.schema);
    let error = done.misfits.into_iter().fold(Error::new(Exit::Partial, what), Error::cause);
    Err(error.hint("change them in Jira, or the mapping; what lacked is made all the same"))
}
