//! What a run is asked for, and what it shares with the other runs of an invocation.

use std::path::PathBuf;
use std::sync::atomic::AtomicBool;

use crate::cli::{SnapshotChoice, Trial};
use crate::clock::Clock;
use crate::http::{Http, HttpSettings};
use crate::plan::LimitName;
use crate::report::files::Wanted;
use crate::report::progress::Progress;
use crate::report::{Format, View};

/// What a person asked for, beyond the job.
#[derive(Default)]
pub struct Options {
    /// Writes nothing but what is printed and asked for.
    pub dry_run: bool,
    /// Reads everything, whatever could be told by changes alone.
    pub full: bool,
    /// Where a dry run saves its plan.
    pub out: Option<PathBuf>,
    /// Exit 8 when a dry run finds changes.
    pub detailed_exitcode: bool,
    pub trial: Trial,
    pub snapshot: Option<SnapshotChoice>,
    /// Limits approved at once, by whoever runs this.
    pub approve: Vec<LimitName>,
    /// Sends also what the target refused lately.
    pub retry_rejected: bool,
    /// Who that is.
    pub by: String,
    pub format: Format,
    /// Files to write beside what is printed.
    pub files: Wanted,
    pub view: View,
}

/// What all jobs of one invocation share.
pub struct Context<'a> {
    pub http: Http,
    pub progress: &'a Progress,
    /// Set by a signal: what is in flight is finished, the rest is left for the next run.
    pub stop: &'a AtomicBool,
}

impl<'a> Context<'a> {
    pub fn new(clock: Clock, progress: &'a Progress, stop: &'a AtomicBool) -> Context<'a> {
        Context { http: Http::new(clock, HttpSettings::default()), progress, stop }
    }

    pub fn clock(&self) -> &Clock {
        self.http.clock()
    }
}
