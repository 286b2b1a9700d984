//! Where records go: what every target can be asked, and how a job picks one.
//!
//! Hides which system is behind a job. Ordering, limits, dry runs, the journal and the ledger are written once,
//! outside; a target answers "who are you, what do you hold, do these things". Values cross this border in canonical
//! form ([`Datum`]); a reference is the referenced record's source key.

pub mod csv;

#[cfg(test)]
pub mod conformance;
#[cfg(test)]
pub mod memory;

use std::future::Future;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use csv::CsvTarget;

use crate::error::Result;
use crate::job::TargetConfig;
use crate::plan::change::{Change, Current, TypeSpec};
use crate::plan::datum::Datum;
use crate::record::Coverage;

/// What a target can do; asked before planning, so that a plan never contains what cannot be done.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Capabilities {
    /// The target itself refuses a second record with the same key.
    pub unique_keys: bool,
    /// Seconds after a write until a read is sure to show it.
    pub visibility_delay_s: u64,
    /// Changes of one type become visible all at once.
    pub batch: bool,
    /// A new record is called by its key attributes, so that its id is known before it is written.
    pub ids_are_keys: bool,
}

/// What became of one change.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "outcome")]
pub enum Outcome {
    /// Acknowledged; what the target made of the written values, by attribute name, and what it calls the record.
    Done { target_id: String, read_back: Vec<(String, Datum)> },
    /// Refused: this record only, with the target's reason.
    Rejected { reason: String },
    /// Sent, and the answer is not known.
    Uncertain { reason: String },
    /// Not sent.
    NotAttempted { reason: String },
}

/// A batch that is written beside the old state and not yet visible.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct BatchMark {
    /// Where the new state will stand.
    pub path: PathBuf,
    /// Where it is prepared.
    pub staged: PathBuf,
    /// SHA-256 of the state before, in hex; `None` when there was none.
    pub before: Option<String>,
    /// SHA-256 of the state after, in hex.
    pub after: String,
}

/// What a batch that was interrupted turned out to be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Interrupted {
    /// The new state stands: its ledger rows must be committed.
    Committed,
    /// The old state stands: nothing happened.
    Discarded,
    /// Neither: someone changed it since; its values are unknown until read again.
    Neither,
}

/// The target a job names. The one place that knows which targets there are.
pub fn open(config: &TargetConfig) -> CsvTarget {
    match config {
        TargetConfig::Csv { folder, .. } => CsvTarget::new(folder.clone()),
    }
}

/// A system records are written to.
pub trait Target: Send + Sync {
    /// What the ledger remembers it by: refuses a job that suddenly points elsewhere. No secrets.
    fn identity(&self) -> String;

    fn capabilities(&self) -> Capabilities;

    /// What the target would give back for this value of this attribute. Pure.
    fn normalise(&self, ty: &TypeSpec, attribute: usize, value: Datum) -> Datum;

    /// Proves reachability and rights with what a run itself needs. Writes nothing.
    fn check(&self, types: &[TypeSpec]) -> impl Future<Output = Result<()>> + Send;

    /// Reads every record of the type, in any order, each exactly as often as it is there.
    ///
    /// A type that does not exist yet is complete and empty.
    fn read(
        &self,
        ty: &TypeSpec,
        each: &mut (dyn FnMut(Current) -> Result<()> + Send),
    ) -> impl Future<Output = Result<Coverage>> + Send;

    /// Writes the changes of one type beside the old state. `changes` come in the plan's order; `outcomes` gets one
    /// outcome for each, in the same order, and [`Change`]s that write nothing ([`Action::writes`]) are done by
    /// themselves. Nothing is visible before [`Target::commit`].
    ///
    /// Doing the same again changes nothing: a create whose record is there with the same values is done, and so is a
    /// delete whose record is gone. A create whose key is there with other values is rejected, never doubled; values
    /// that are not known are rejected, never written.
    ///
    /// An error leaves the old state untouched and nothing lying about; it is [`crate::error::Exit::Stale`] when the
    /// state is not the one this target last read.
    ///
    /// [`Action::writes`]: crate::plan::change::Action::writes
    fn stage(
        &self,
        ty: &TypeSpec,
        changes: &mut (dyn Iterator<Item = Result<Change>> + Send),
        outcomes: &mut (dyn FnMut(&Change, Outcome) -> Result<()> + Send),
    ) -> impl Future<Output = Result<BatchMark>> + Send;

    /// Makes a staged batch visible and durable, all at once. Once more does nothing. Refuses as stale, and drops the
    /// batch, when the state before is no longer the one it was staged on.
    fn commit(&self, batch: &BatchMark) -> impl Future<Output = Result<()>> + Send;

    /// Says what became of a batch whose run died, and clears what it left lying about.
    fn settle(&self, batch: &BatchMark) -> impl Future<Output = Result<Interrupted>> + Send;
}
