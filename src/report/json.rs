//! Results as JSON for programs: a plan is the very bytes of the saved plan file, the rest is one document each.
//!
//! Each document carries its format with a version (`plan/1`, `outcome/1`, `check/1`); members may be added within a
//! version, never renamed or removed. Deliberately knows nothing of the plan's layout, which is
//! [`crate::plan::file`]'s.

use std::io::Write;

use serde::Serialize;

use super::applied::{Applied, Totals};
use super::check::Check;
use super::write_failed;
use crate::error::{Context, Result};
use crate::plan::file::{self, json_line};
use crate::plan::{Plan, SourceSummary};
use crate::snapshot::ReadBy;

/// The plan, byte for byte as [`file::save`] writes it; one from which private values were taken out has no checksum,
/// so that nobody applies it.
pub fn plan(plan: &Plan, to: &mut dyn Write) -> Result<()> {
    file::write(plan, to)
}

/// What stands above the changes that were not done.
#[derive(Serialize)]
struct OutcomeHead<'a> {
    format: &'static str,
    job: &'a str,
    plan: &'a str,
    run: &'a str,
    took_ms: u64,
    source_requests: u64,
    target_requests: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    memberships: Option<&'a ReadBy>,
    totals: &'a Totals,
    notes: u64,
    gaps: Vec<&'a SourceSummary>,
}

#[derive(Serialize)]
struct ChecksDocument<'a> {
    format: &'static str,
    jobs: &'a [Check],
}

/// The outcome of a plan: totals, then every change that was not done, one per line.
pub fn applied(applied: &Applied, to: &mut dyn Write) -> Result<()> {
    let effort = &applied.effort;
    let head = OutcomeHead {
        format: "outcome/1",
        job: &applied.header.job,
        plan: &applied.header.id,
        run: &effort.run,
        took_ms: effort.took.as_millis() as u64,
        source_requests: effort.source_requests,
        target_requests: effort.target_requests,
        memberships: effort.memberships.as_ref(),
        totals: &applied.totals,
        notes: applied.notes,
        gaps: applied.header.sources.iter().filter(|source| is_gap(source)).collect(),
    };
    let mut line = Vec::new();
    let head = json_line(&head, &mut line)?;
    to.write_all(&head[..head.len() - 1]).failing(write_failed)?;
    to.write_all(b",\"not_done\":[").failing(write_failed)?;
    for (index, not_done) in applied.not_done().enumerate() {
        to.write_all(if index == 0 { b"\n" } else { b",\n" }).failing(write_failed)?;
        to.write_all(json_line(&not_done?, &mut line)?).failing(write_failed)?;
    }
    to.write_all(b"\n]}\n").failing(write_failed)
}

/// A source that was not read completely, where the job does not accept that.
pub(super) fn is_gap(source: &SourceSummary) -> bool {
    !source.accepted && !source.coverage.is_complete()
}

/// What `check` found, for each job.
pub fn checks(checks: &[Check], to: &mut dyn Write) -> Result<()> {
    let mut line = Vec::new();
    let document = ChecksDocument { format: "check/1", jobs: checks };
    to.write_all(json_line(&document, &mut line)?).failing(write_failed)?;
    to.write_all(b"\n").failing(write_failed)
}
