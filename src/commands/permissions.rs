//! `permissions`: what the application must be allowed, as a page for who must consent. Contacts nobody.

use url::Url;

use crate::cli;
use crate::error::{Exit, Result};
use crate::job::{Job, Source as JobSource};
use crate::report::permissions::Page;
use crate::report::{say, to_stdout};
use crate::session;
use crate::source::{PUBLIC_AUTHORITY, SourceNeeds, rights};

/// Prints the page of a job.
pub fn permissions(command: &cli::Permissions) -> Result<Exit> {
    let mut job = Job::load(&command.job, None)?;
    session::prepare(&mut job);
    let JobSource::Graph(graph) = &job.source else {
        say!("{} reads a snapshot: it needs no permission", job.name);
        return Ok(Exit::Done);
    };
    let needs = rights::needed(&SourceNeeds::of(&job.catalog), true);
    // The promise: it is constant and well-formed.
    let public = || Url::parse(PUBLIC_AUTHORITY).unwrap_or_else(|_| unreachable!("a constant address"));
    let authority = graph.authority.clone().unwrap_or_else(public);
    let page = Page::new(&job.name, &graph.tenant, &graph.client_id.to_string(), &authority, &needs);
    to_stdout(|to| page.print(command.format, to))?;
    Ok(Exit::Done)
}
