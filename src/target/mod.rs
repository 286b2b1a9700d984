//! Where records go: what every target can be asked, and how a job picks one.
//!
//! Hides which system is behind a job. Ordering, limits, dry runs, the journal and the ledger are written once,
//! outside; a target answers "who are you, what do you hold, do these things". Values cross this border in canonical
//! form ([`Datum`]); a reference is the referenced record's source key.

pub mod csv;
pub mod jsm_assets;

#[cfg(test)]
pub mod conformance;
#[cfg(test)]
pub mod memory;

use std::path::PathBuf;
use std::time::Duration;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use url::Url;

use csv::CsvTarget;
use jsm_assets::JsmTarget;

use crate::error::{Error, Result};
use crate::http::Http;
use crate::job::TargetConfig;
use crate::plan::change::{Change, Current, TypeSpec};
use crate::plan::datum::Datum;
use crate::record::Coverage;

/// What a target can do; asked before planning, so that a plan never contains what cannot be done.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Capabilities {
    /// The target itself refuses a second record with the same key.
    pub unique_keys: bool,
    /// Seconds after a write until a read is expected to show it.
    pub visibility_delay_s: u64,
    /// Seconds after a write until a read that does not show it proves that it did not arrive, without showing what was
    /// written later; at least the delay.
    pub certainty_delay_s: u64,
    /// A new record is called by its key attributes, so that its id is known before it is written.
    pub ids_are_keys: bool,
}

impl Capabilities {
    pub fn visibility_delay(&self) -> Duration {
        Duration::from_secs(self.visibility_delay_s)
    }

    pub fn certainty_delay(&self) -> Duration {
        Duration::from_secs(self.certainty_delay_s)
    }
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

impl Outcome {
    /// The same outcome with words put before its reason.
    #[must_use]
    pub fn after(self, words: &str) -> Outcome {
        let with = |reason: String| format!("{words}: {reason}");
        match self {
            Outcome::Rejected { reason } => Outcome::Rejected { reason: with(reason) },
            Outcome::Uncertain { reason } => Outcome::Uncertain { reason: with(reason) },
            Outcome::NotAttempted { reason } => Outcome::NotAttempted { reason: with(reason) },
            done @ Outcome::Done { .. } => done,
        }
    }
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

/// The target a job names. The one place that knows which targets there are. Contacts nobody.
pub fn open(config: &TargetConfig, http: &Http) -> Result<Box<dyn Target>> {
    Ok(match config {
        TargetConfig::Csv { folder, .. } => Box::new(CsvTarget::new(folder.clone())),
        TargetConfig::JsmAssets(config) => Box::new(JsmTarget::new(config, http)?),
    })
}

/// What the ledger remembers a job's target by, see [`Target::identity`].
pub fn identity(config: &TargetConfig) -> String {
    match config {
        TargetConfig::Csv { folder, .. } => CsvTarget::new(folder.clone()).identity(),
        TargetConfig::JsmAssets(config) => config.identity(),
    }
}

/// Something that stands in no run's way and that a person should know.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Remark {
    pub words: String,
    /// What to do about it.
    pub hint: String,
}

/// Attributes that a target has no place for, although it holds their type.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Lacks {
    /// What holds the type, for messages.
    pub place: String,
    /// Of the type.
    pub attributes: Vec<usize>,
    /// Names of what it holds besides: one of them may be a place that someone renamed.
    pub others: Vec<String>,
}

/// A record that refers to another one.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Holder {
    /// The id of the record that it refers to.
    pub of: String,
    /// Its type, as the target names it.
    pub ty: String,
    pub id: String,
    /// What people call it.
    pub name: String,
}

/// A system records are written to.
#[async_trait]
pub trait Target: Send + Sync {
    /// What the ledger remembers it by: refuses a job that suddenly points elsewhere. No secrets.
    fn identity(&self) -> String;

    fn capabilities(&self) -> Capabilities;

    /// Learns of these types what [`Target::normalise`] needs to know. Called before anything is mapped.
    async fn prepare(&self, _types: &[TypeSpec]) -> Result<()> {
        Ok(())
    }

    /// The most characters that the target keeps of a value of this attribute; none is any number. Pure, once prepared.
    fn length_max(&self, _ty: &TypeSpec, _attribute: usize) -> Option<usize> {
        None
    }

    /// Whether it refuses a second record of the type with the same value of this attribute. Pure, once prepared.
    fn keeps_unique(&self, _ty: &TypeSpec, _attribute: usize) -> bool {
        false
    }

    /// What the target would give back for this value of this attribute. Pure, once prepared.
    fn normalise(&self, ty: &TypeSpec, attribute: usize, value: Datum) -> Datum;

    /// Proves reachability and rights with what a run itself needs. Writes nothing.
    async fn check(&self, types: &[TypeSpec]) -> Result<Vec<Remark>>;

    /// The servers it talks to, each with what for.
    fn hosts(&self) -> Vec<(&'static str, Url)> {
        Vec::new()
    }

    /// Reads every record of the type, in any order, each exactly as often as it is there.
    ///
    /// A type that does not exist yet is complete and empty.
    async fn read(&self, ty: &TypeSpec, each: &mut (dyn FnMut(Current) -> Result<()> + Send)) -> Result<Coverage>;

    /// The attributes that the type has no place for there: their values read as empty, and the first one that is
    /// written makes the place.
    async fn lacks(&self, _ty: &TypeSpec) -> Result<Option<Lacks>> {
        Ok(None)
    }

    /// What refers to these records of the type, by their ids, besides records of its own type; nothing where the
    /// target holds no more than the plan reads of it. In words why that cannot be told, where the target answers
    /// everything else.
    async fn holders(&self, _ty: &TypeSpec, _ids: &[String]) -> Result<Result<Vec<Holder>, String>> {
        Ok(Ok(Vec::new()))
    }

    /// Requests sent so far; none where nothing is asked over a network.
    fn requests(&self) -> u64 {
        0
    }

    /// How it is written to.
    fn writes(&self) -> Writes<'_>;
}

/// The two ways in which targets change.
pub enum Writes<'a> {
    /// Many records become visible at once.
    Batches(&'a dyn WriteBatches),
    /// Each record by itself.
    Records(&'a dyn WriteRecords),
}

/// Takes what became of a change: how many came before it (from 0), itself, its outcome.
pub type Outcomes<'a> = dyn FnMut(u32, &Change, Outcome) -> Result<()> + Send + 'a;

/// A target whose changes of one type become visible all at once.
#[async_trait]
pub trait WriteBatches: Send + Sync {
    /// Writes the changes of one type beside the old state. `changes` come in the plan's order; `outcomes` gets one
    /// outcome for each as soon as it is known, in any order, and [`Change`]s that write nothing ([`Action::writes`]) are
    /// done by themselves. Nothing is visible before [`WriteBatches::commit`].
    ///
    /// Doing the same again changes nothing: a create whose record is there with the same values is done, and so is a
    /// delete whose record is gone. A create whose key is there with other values is rejected, never doubled; values
    /// that are not known are rejected, never written.
    ///
    /// An error leaves the old state untouched and nothing lying about; it is [`crate::error::Exit::Stale`] when the
    /// state is not the one this target last read.
    ///
    /// [`Action::writes`]: crate::plan::change::Action::writes
    async fn stage(
        &self,
        ty: &TypeSpec,
        changes: &mut (dyn Iterator<Item = Result<Change>> + Send),
        outcomes: &mut Outcomes<'_>,
    ) -> Result<BatchMark>;

    /// Makes a staged batch visible and durable, all at once. Once more does nothing. Refuses as stale, and drops the
    /// batch, when the state before is no longer the one it was staged on.
    async fn commit(&self, batch: &BatchMark) -> Result<()>;

    /// Says what became of a batch whose run died, and clears what it left lying about.
    async fn settle(&self, batch: &BatchMark) -> Result<Interrupted>;
}

/// A target to which each change is sent by itself.
#[async_trait]
pub trait WriteRecords: Send + Sync {
    /// How many changes may be under way at once; at least 1.
    fn in_flight_max(&self) -> usize;

    /// Sends one change that writes something ([`Action::writes`]), once: what may have arrived is never sent again,
    /// it is [`Outcome::Uncertain`]. References are ids of the target. A create whose key is there already is
    /// rejected, a delete whose record is gone is done; values that are not known are rejected, never written.
    ///
    /// [`Action::writes`]: crate::plan::change::Action::writes
    async fn write(&self, ty: &TypeSpec, change: &Change) -> Sent;

    /// What stands now of the record a change is about: the one with its [`Change::target_id`], without one all that
    /// carry the key attributes it writes, or every value it writes where the key lives in the ledger alone. Empty: there is none, as far as can be seen yet (see
    /// [`Capabilities::visibility_delay_s`]).
    async fn look_up(&self, ty: &TypeSpec, change: &Change) -> Result<Vec<Current>>;

    /// As [`WriteRecords::look_up`] for a change without an id, and whether the very answer that shows these records
    /// would show the one called `later`, of any type, as well. Where it does, what was sent before that one and is not
    /// shown did not arrive.
    async fn look_up_beside(&self, ty: &TypeSpec, change: &Change, _later: &str) -> Result<(Vec<Current>, bool)> {
        Ok((self.look_up(ty, change).await?, true))
    }
}

/// What came of sending one change.
#[derive(Debug)]
pub struct Sent {
    pub outcome: Outcome,
    /// The target itself is lost (unreachable, sign-in refused): nothing more is to be sent, and why.
    pub lost: Option<Error>,
}

impl From<Outcome> for Sent {
    fn from(outcome: Outcome) -> Sent {
        Sent { outcome, lost: None }
    }
}
