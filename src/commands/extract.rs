//! `extract`: a tenant as a snapshot on disk.
//!
//! Deliberately replaces nothing but a snapshot.

use std::path::Path;

use super::{Work, recorded};
use crate::cli::Extract;
use crate::error::{Error, Exit, Result};
use crate::job::{Job, Source as JobSource};
use crate::record::Collection;
use crate::report::say;
use crate::session;
use crate::snapshot::{Extent, is_snapshot};
use crate::source::{self, Source, SourceNeeds};
use crate::visible::visible;

/// Reads the tenant of a job into a folder, and tells how much came of what.
pub async fn extract(command: &Extract, work: &Work<'_>) -> Result<Exit> {
    let recorder = work.recorder(&command.record)?;
    recorded(recorder, read(command, work).await)
}

async fn read(command: &Extract, work: &Work<'_>) -> Result<Exit> {
    let mut job = Job::load(&command.job, None)?;
    session::prepare(&mut job);
    let JobSource::Graph(graph) = &job.source else {
        return Err(Error::usage(format!("{} reads a snapshot already", command.job.display()))
            .hint("extract needs a job whose [source] is a tenant"));
    };
    refuse_foreign_folder(&command.out)?;
    let source = Source::new(source::config(graph)?, &work.context.http)?;
    let needs = SourceNeeds::of(&job.catalog);
    let read = source.extract(&needs, work.context.progress, &command.out).await?;
    work.context.progress.clear();
    let mut exit = Exit::Done;
    for (collection, extent) in &read.snapshot.manifest().collections {
        match extent.coverage.gap() {
            None if extent.partial_lists == 0 => say!("{collection}: {} read", read_of(*collection, extent)),
            gap => {
                exit = Exit::Partial;
                let lists = format!("{} member lists are incomplete", extent.partial_lists);
                let why = gap.map_or(lists, |gap| gap.to_string());
                let read = read_of(*collection, extent);
                say!("{collection}: {read} read, partial: {}", visible(&why));
            }
        }
    }
    let memberships = read.snapshot.manifest().collections.get(&Collection::Memberships);
    if let Some(by) = memberships.and_then(|extent| extent.read_by.as_ref()) {
        say!("memberships read by {}: {}; {}", by.strategy.name(), by.cost, by.reason);
    }
    say!("{} requests; written to {}", read.counts.requests, command.out.display());
    Ok(exit)
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
