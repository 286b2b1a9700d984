//! `lookup`: one object with what hangs on it, or what a filter keeps, of a tenant or of a snapshot. Writes nothing.
//!
//! A tenant is read into a temporary snapshot first, so that both are answered by the same code.

use tempfile::TempDir;

use super::Work;
use super::offline::shown;
use crate::cli::{Lookup, LookupFrom};
use crate::error::{Exit, Result};
use crate::expr::{Catalog, compile_filter};
use crate::job::{Job, Source as JobSource};
use crate::lookup::{find, keep, names_needed, needs};
use crate::record::Collection;
use crate::report::to_stdout;
use crate::session;
use crate::snapshot::Snapshot;
use crate::source::{self, Source, SourceNeeds};

/// Rows that are shown where nobody asked for more.
const FIRST: usize = 20;

/// Answers. What is not known makes it partial.
pub async fn lookup(command: &Lookup, work: &Work<'_>) -> Result<Exit> {
    match command {
        Lookup::User(one) => object(Collection::Users, &one.who, &one.from, work).await,
        Lookup::Group(one) => object(Collection::Groups, &one.who, &one.from, work).await,
        Lookup::Device(one) => object(Collection::Devices, &one.who, &one.from, work).await,
        Lookup::Users(some) => filter(Collection::Users, &some.filter, &some.from, work).await,
        Lookup::Groups(some) => filter(Collection::Groups, &some.filter, &some.from, work).await,
        Lookup::Devices(some) => filter(Collection::Devices, &some.filter, &some.from, work).await,
    }
}

async fn object(collection: Collection, who: &str, from: &LookupFrom, work: &Work<'_>) -> Result<Exit> {
    let (snapshot, _temporary) = open(from, &needs(collection), work).await?;
    let found = find(&snapshot, collection, who)?;
    to_stdout(|to| from.format.found(&found, from.first.unwrap_or(FIRST), to))?;
    Ok(exit(&found.unknown))
}

async fn filter(collection: Collection, text: &str, from: &LookupFrom, work: &Work<'_>) -> Result<Exit> {
    let mut catalog = Catalog::new();
    catalog.require_collection(collection);
    names_needed(collection, &mut catalog);
    let filter = compile_filter(text, Some(collection), &mut catalog).map_err(|error| shown(text, &error))?;
    let (snapshot, _temporary) = open(from, &catalog, work).await?;
    let now = work.context.clock().now();
    let kept = keep(&snapshot, collection, &filter, &catalog, from.first.unwrap_or(FIRST), now)?;
    to_stdout(|to| from.format.kept(&kept, to))?;
    Ok(exit(&kept.unknown))
}

fn exit(unknown: &[String]) -> Exit {
    if unknown.is_empty() { Exit::Done } else { Exit::Partial }
}

/// The snapshot to answer from: one that is there, or what the catalog needs of the tenant, in a folder that goes with
/// the answer.
async fn open(from: &LookupFrom, catalog: &Catalog, work: &Work<'_>) -> Result<(Snapshot, Option<TempDir>)> {
    let job = Job::load(&from.job, None)?;
    let graph = match (&job.source, from.snapshot.choice()) {
        (_, Some(choice)) => return Ok((session::chosen_snapshot(&job, &choice)?, None)),
        (JobSource::Snapshot { dir, .. }, None) => return Ok((Snapshot::open(dir)?, None)),
        (JobSource::Graph(graph), None) => graph,
    };
    let source = Source::new(source::config(graph)?, &work.context.http)?;
    let folder = session::temporary_folder()?;
    let needs = SourceNeeds::of(catalog);
    let read = source.extract(&needs, work.context.progress, &folder.path().join("snapshot")).await?;
    work.context.progress.clear();
    Ok((read.snapshot, Some(folder)))
}
