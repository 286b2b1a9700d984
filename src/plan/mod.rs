//! The plan: what would change and why, as plain data.
//!
//! Rendering, saving and applying are readers of the same [`Plan`]. Nothing here does I/O of its own, reads a clock or
//! uses randomness: the as-of time is an input, and what is larger than memory lies in a [`Spill`] behind the iterators.

pub mod agreed;
pub mod approve;
pub mod attributes;
pub mod build;
pub mod change;
pub mod datum;
pub mod decide;
pub mod file;
pub mod limits;
pub mod matching;
pub mod order;
pub mod policy;
pub mod undo;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::record::{Collection, Coverage, Key};
use crate::snapshot::How;
use crate::spill::{Place, Spill};
use change::{Change, Counts, Note, TypeSpec};

/// Everything a run would do, in the order it would do it.
#[derive(Clone)]
pub struct Plan {
    pub header: Header,
    changes: Arc<Spill<Change>>,
    /// Places of the changes with the index of their type in `header.types`, in the order of applying.
    order: Arc<[(u32, Place)]>,
    notes: Arc<[Note]>,
    /// Values were taken out: it is no longer what its id says.
    shortened: bool,
}

impl Plan {
    /// Puts a plan together; `order` names each change once.
    pub fn new(header: Header, changes: Spill<Change>, order: Vec<(u32, Place)>, notes: Vec<Note>) -> Plan {
        Plan { header, changes: Arc::new(changes), order: order.into(), notes: notes.into(), shortened: false }
    }

    /// All changes, in the order of applying.
    pub fn changes(&self) -> impl Iterator<Item = Result<Change>> + Send + '_ {
        self.order.iter().map(|(_, place)| self.changes.get(*place))
    }

    /// The change at that place of the order of applying.
    pub fn change_at(&self, at: u32) -> Result<Change> {
        self.changes.get(self.order[at as usize].1)
    }

    /// All changes with the index of their type in `header.types`, in the order of applying.
    pub fn typed_changes(&self) -> impl Iterator<Item = Result<(usize, Change)>> + Send + '_ {
        self.order.iter().map(|(ty, place)| Ok((*ty as usize, self.changes.get(*place)?)))
    }

    /// All changes as the JSON lines that a saved plan has of them, in the order of applying.
    pub fn each_line(&self, each: &mut dyn FnMut(&[u8]) -> Result<()>) -> Result<()> {
        self.order.iter().try_for_each(|(_, place)| self.changes.with_line(*place, &mut *each))
    }

    /// The changes of one type (index into `header.types`), in the order of applying.
    pub fn changes_of(&self, ty: usize) -> impl Iterator<Item = Result<Change>> + Send + '_ {
        let of_type = self.order.iter().filter(move |(index, _)| *index as usize == ty);
        of_type.map(|(_, place)| self.changes.get(*place))
    }

    /// The same plan with some of its changes only, in the same order.
    pub fn only(&self, wanted: &[change::Action]) -> Result<Plan> {
        let mut order = Vec::new();
        for (ty, place) in self.order.iter() {
            if wanted.contains(&self.changes.get(*place)?.action) {
                order.push((*ty, *place));
            }
        }
        Ok(Plan { order: order.into(), ..self.clone() })
    }

    /// The same plan once a person agreed to all that holds it.
    pub fn approved(&self) -> Plan {
        let mut plan = self.clone();
        for check in plan.header.limits.iter_mut().filter(|check| check.held) {
            (check.held, check.approved) = (false, check.count);
        }
        plan
    }

    /// The same plan, to be shown and not applied: each change passed through `edit`, and other notes.
    pub fn rewritten(&self, mut edit: impl FnMut(Change) -> Change, notes: Vec<Note>) -> Result<Plan> {
        let mut changes = crate::spill::SpillWriter::new()?;
        let mut order = Vec::with_capacity(self.order.len());
        for (ty, place) in self.order.iter() {
            order.push((*ty, changes.push(&edit(self.changes.get(*place)?))?));
        }
        let mut plan = Plan::new(self.header.clone(), changes.finish()?, order, notes);
        plan.shortened = true;
        Ok(plan)
    }

    /// Number of changes, ledger-only ones included.
    pub fn len(&self) -> usize {
        self.order.len()
    }

    pub fn is_empty(&self) -> bool {
        self.order.is_empty()
    }

    /// What is told without being done, by kind, type and key.
    pub fn notes(&self) -> &[Note] {
        &self.notes
    }
}

/// What stands above the changes.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Header {
    /// `plan/1`.
    pub format: String,
    /// Names the plan in messages and commands: derived from its content.
    pub id: String,
    pub job: String,
    /// Of job and mappings; another hash makes the plan stale.
    pub job_hash: String,
    pub tenant: String,
    /// [`crate::target::Target::identity`].
    pub target: String,
    /// The ledger's generation the plan is based on.
    pub generation: u64,
    /// The time that timers and `now()` were judged by.
    pub as_of: Timestamp,
    /// When the source was read.
    pub source_as_of: Timestamp,
    /// Why the plan cannot be applied (a snapshot older than the last one); shown, never applied.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub preview: Option<String>,
    /// The run that it takes back; absent of a plan of the nights.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub undoes: Option<String>,
    /// True while no full run of the job has gone through.
    pub first_run: bool,
    pub sources: Vec<SourceSummary>,
    pub types: Vec<TypeSummary>,
    /// Every limit that was passed, and the checks that came near it.
    pub limits: Vec<LimitCheck>,
}

/// What was read of one collection.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct SourceSummary {
    pub collection: Collection,
    #[serde(flatten)]
    pub coverage: Coverage,
    /// The gap is one the job accepts.
    #[serde(default)]
    pub accepted: bool,
    /// In full or by changes, and why.
    #[serde(default, skip_serializing_if = "How::is_plain")]
    pub how: How,
    /// Records read.
    pub read: u64,
    pub in_scope: u64,
    /// Records left out, by the clause that left them out (normal form, or `exclude`).
    pub left_out: BTreeMap<String, u64>,
    /// The scope's filter, where it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub filter: Option<FilterSummary>,
}

impl SourceSummary {
    /// How many records the collection has, whatever Graph was asked to leave out: what nights are compared by.
    pub fn there(&self) -> u64 {
        let graph = self.filter.as_ref().and_then(|filter| filter.graph.as_ref());
        graph.map_or(self.read, |graph| graph.there)
    }
}

/// A filter of the scope, and what it did.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct FilterSummary {
    /// Its normal form.
    pub filter: String,
    /// The terms that must all be true, in the order written.
    pub clauses: Vec<ClauseSummary>,
    /// What Graph was asked to leave out; the clauses that say so were tested here once more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub graph: Option<LeftAtGraph>,
    /// Why Graph was asked for everything, where the job lets it filter.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub here_because: Option<String>,
}

/// One clause of a filter.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct ClauseSummary {
    /// Its normal form.
    pub clause: String,
    pub ran: Ran,
    /// Records that came and for which it is the first clause that is false.
    pub dropped: u64,
    /// Records that no clause dropped and of which this one is not known.
    pub unknown: u64,
}

/// Where a clause was evaluated.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ran {
    /// On the records that came.
    Here,
    /// By Graph, wholly or in part, and here on the records that came.
    AtGraph,
}

/// What Graph left out.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct LeftAtGraph {
    /// The `$filter` it was asked with.
    pub filter: String,
    /// How many records there are in all, by Graph's own count.
    pub there: u64,
    /// How many records did not come because of it, by Graph's own counts.
    pub left_out: u64,
}

/// What the plan does to one target type.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct TypeSummary {
    pub spec: TypeSpec,
    /// The mappings that make its records.
    pub mappings: Vec<String>,
    /// How much of the target's type was read.
    #[serde(flatten)]
    pub coverage: Coverage,
    /// Rows that link two records (memberships and the like).
    pub links: bool,
    /// Owned before the run.
    pub owned: u64,
    /// Records in the target before the run.
    pub there: u64,
    pub counts: Counts,
}

/// Which limit. The names are those of `--limit` and `[limits]`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LimitName {
    /// A first run that would adopt or update what is already there.
    FirstRun,
    /// Records that left scope only because the scope or a mapping was edited.
    FilterEdit,
    Creates,
    Adopts,
    Updates,
    /// Retires, deletes and forgets.
    Retires,
    LinksRemoved,
    OneAttribute,
    /// A collection that had records at the last good run and is empty now.
    EmptyCollection,
    /// A collection that lost more than its share.
    Shrink,
    /// A target type that holds far less than what the job owns there.
    TargetEmptied,
}

impl LimitName {
    pub const ALL: [LimitName; 11] = [
        LimitName::FirstRun,
        LimitName::FilterEdit,
        LimitName::Creates,
        LimitName::Adopts,
        LimitName::Updates,
        LimitName::Retires,
        LimitName::LinksRemoved,
        LimitName::OneAttribute,
        LimitName::EmptyCollection,
        LimitName::Shrink,
        LimitName::TargetEmptied,
    ];

    pub fn word(self) -> &'static str {
        match self {
            LimitName::FirstRun => "first-run",
            LimitName::FilterEdit => "filter-edit",
            LimitName::Creates => "creates",
            LimitName::Adopts => "adopts",
            LimitName::Updates => "updates",
            LimitName::Retires => "retires",
            LimitName::LinksRemoved => "links-removed",
            LimitName::OneAttribute => "one-attribute",
            LimitName::EmptyCollection => "empty-collection",
            LimitName::Shrink => "shrink",
            LimitName::TargetEmptied => "target-emptied",
        }
    }
}

impl fmt::Display for LimitName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// One limit that was tested against the plan.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct LimitCheck {
    pub limit: LimitName,
    /// What it was tested on: a type's or collection's name, `Type.Attribute`, or `run` for all types together.
    pub on: String,
    /// How many changes (or records) count.
    pub count: u64,
    /// How many are allowed without approval.
    pub allowed: u64,
    /// What the share was taken of.
    pub base: u64,
    /// How many of `count` were approved beforehand.
    pub approved: u64,
    /// The run stops before its first write.
    pub held: bool,
    /// A sentence: what would happen and why it is held.
    pub words: String,
}

impl LimitCheck {
    /// Waits for a person: the whole run when it holds, else only the records it is about (an edited scope).
    pub fn waits(&self) -> bool {
        self.held || (self.limit == LimitName::FilterEdit && self.approved < self.count)
    }
}

/// A person's word that a limit may be passed by exactly these records.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Approval {
    pub limit: LimitName,
    /// The plan that showed the records.
    pub plan: String,
    pub at: Timestamp,
    /// User id, `SUDO_USER`, `--by`.
    pub by: String,
    /// The records, with the cause of each where the limit is about removals.
    pub records: Vec<ApprovedRecord>,
    /// Of a plan that takes a run back; the nights neither go by it nor use it up.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub undoes: bool,
    /// For `filter-edit`: the scope that becomes the accepted one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope: Option<String>,
}

/// One record of an approval.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ApprovedRecord {
    #[serde(rename = "type")]
    pub ty: String,
    pub key: Key,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause: Option<policy::CauseKind>,
    /// What of the record was shown, where a record can count several times or in several ways: an attribute's name,
    /// or a fingerprint of the elements taken out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shown: Option<String>,
}
