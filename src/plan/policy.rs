//! What the job decides about changes: who wins, what happens to leavers, how much may happen unasked.
//!
//! Plain data, read from job and mapping files and obeyed by the plan. Deliberately decides nothing itself.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Who wins for one attribute. See `ARCHITECTURE.md`, "Attributes", for the table.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Write {
    /// The source always wins; a change made in the target is written back.
    Always,
    /// Write what changed in the source, unless someone changed it in the target since.
    #[default]
    UnlessEdited,
    /// Only fill what is empty in the target.
    IfEmpty,
    /// Only when the record is created.
    OnCreate,
}

/// What an empty desired value does.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Empty {
    /// Empty is a value like any other: it clears.
    Clear,
    /// Empty leaves the target's value alone.
    Keep,
}

/// Whose value stands where two are possible.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Side {
    Source,
    #[default]
    Target,
}

/// What happens to a record that someone deleted in the target.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Recreate {
    /// List it and leave it deleted.
    #[default]
    Report,
    /// Create it again.
    Create,
}

/// Why a record is on its way out, or back.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CauseKind {
    /// Proved deleted in Entra (or, for a pair, no longer there in a complete read).
    Gone,
    /// `accountEnabled` turned false and the scope asks for it.
    Disabled,
    /// Its own data moved it out of scope.
    Out,
    /// It was on its way out and is in scope again; no removal cause.
    Returned,
    /// Someone deleted it in the target and the job creates it again; no removal cause.
    Recreated,
    /// The run that made it is taken back.
    Undone,
}

/// One step of the removal ladder.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Step {
    pub action: StepAction,
    /// Whole days of 24 hours since the first run that proved the cause.
    pub after_days: u32,
}

/// What a step of the ladder does.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StepAction {
    /// Sets these attributes to these texts.
    Flag(BTreeMap<String, String>),
    /// Takes the record away.
    Delete,
}

/// The ladders of one mapping: per cause, else the default; an empty ladder keeps and lists.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Removal {
    pub default: Vec<Step>,
    pub by_cause: BTreeMap<CauseKind, Vec<Step>>,
    /// Deletes also records that this job adopted and did not create.
    pub delete_adopted: bool,
}

impl Removal {
    /// The steps for that cause, in order of their days.
    pub fn ladder(&self, cause: CauseKind) -> &[Step] {
        self.by_cause.get(&cause).unwrap_or(&self.default)
    }
}

/// `held when n > max(floor, percent × base)`.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
pub struct Limit {
    /// Share of the base, 0 to 100.
    pub percent: f64,
    /// Number below which the share does not matter.
    pub floor: u64,
}

/// How much may happen without a person's approval. Defaults are those of plan-rules section 5.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Limits {
    /// Retires, deletes and forgets together. The floor counts at most half the base.
    pub removals: Limit,
    /// Link rows and elements of sets taken away.
    pub links_removed: Limit,
    pub updates: Limit,
    /// Adopts after the first run.
    pub adopts: Limit,
    /// Not on a first run into an empty target.
    pub creates: Limit,
    /// One attribute changing on this share of the records.
    pub one_attribute: Limit,
    /// A collection that lost more than this share since the last good run.
    pub shrink: Limit,
    /// A target type that holds less than this share of what the job owns there, 0 to 100. No floor.
    pub target_holds_percent: f64,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            removals: Limit { percent: 10.0, floor: 10 },
            links_removed: Limit { percent: 20.0, floor: 50 },
            updates: Limit { percent: 50.0, floor: 100 },
            adopts: Limit { percent: 10.0, floor: 20 },
            creates: Limit { percent: 50.0, floor: 100 },
            one_attribute: Limit { percent: 50.0, floor: 100 },
            shrink: Limit { percent: 20.0, floor: 20 },
            target_holds_percent: 80.0,
        }
    }
}

/// What kind of known gap a job accepts.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AcceptWhat {
    HiddenMembership,
    Rejected,
    Collision,
    Collection,
}

/// A known, harmless gap that need not make every night partial. It never permits a removal.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Accept {
    pub what: AcceptWhat,
    /// The object id, record key or collection name that is accepted.
    pub id: String,
    /// The last day on which it is accepted.
    pub until: Option<jiff::civil::Date>,
}
