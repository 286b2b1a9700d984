//! `permissions`: what the application must be allowed, as a page for who must consent. Contacts nobody.

use crate::cli;
use crate::error::{Exit, Result};
use crate::job::{Job, Source as JobSource};
use crate::report::permissions::Page;
use crate::report::{say, to_stdout};
use crate::session;
use crate::source::{SourceNeeds, rights};

/// Prints the page of a job.
pub fn permissions(command: &cli::Permissions) -> Result<Exit> {
    let mut job = Job::load(&command.job, None)?;
    session::prepare(&mut job);
    let JobSource::Graph(graph) = &job.source else {
        say!("{} reads a snapshot: it needs no permission", job.name);
        return Ok(Exit::Done);
    };
    let needs = rights::needed(&SourceNeeds::of(&job.catalog), graph.credential.is_secret());
    let authority = graph.authority.clone().unwrap_or_else(|| graph.cloud.unwrap_or_default().authority());
    // Known only where the job runs: a managed identity's, or what a platform sets.
    let client_id = graph.client_id.map_or_else(|| "CLIENT-ID".to_owned(), |id| id.to_string());
    let page = Page::new(&job.name, &graph.tenant, &client_id, &authority, &needs);
    to_stdout(|to| page.print(command.format, to))?;
    Ok(Exit::Done)
}
