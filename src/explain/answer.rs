//! What `explain` answers: everything there is to say of one record, as plain data.
//!
//! Its JSON is the format `explain/1`, an interface. Deliberately holds no text of a page: that is
//! [`crate::report::explain`]'s.

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Map, Value as Json};

use crate::lookup::Found as Object;
use crate::plan::attributes::ChangedBy;
use crate::plan::change::{Change, Note, Origin};
use crate::plan::datum::Datum;
use crate::plan::policy::Write;
use crate::plan::{LimitCheck, LimitName, Ran};
use crate::record::Collection;

/// Everything there is to say of one record.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Explanation {
    /// When Entra was read.
    pub as_of: Timestamp,
    pub key: String,
    /// What it is called, where anybody knows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// What Entra says of it, and the scope; one for an object, of a pair one for each collection that has such pairs.
    pub sources: Vec<SourceView>,
    /// What becomes of it in each type of the target.
    pub targets: Vec<TargetView>,
    /// Of an object: the pairs and assignments that it is one end of.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub links: Vec<LinkView>,
    /// Limits that the run waits for as a whole.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub limits: Vec<LimitCheck>,
    /// Why a plan from this snapshot cannot be applied.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub preview: Option<String>,
}

/// A record as Entra has it, and what the scope says of it.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct SourceView {
    pub collection: Collection,
    /// `in`, `out`, `edited`, `gone`, `not-found` or `unknown`.
    pub state: &'static str,
    /// The state in words.
    pub words: String,
    /// The object as it was read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub object: Option<Object>,
    /// What was found out of a pair or an assignment.
    #[serde(skip_serializing_if = "Map::is_empty")]
    pub properties: Map<String, Json>,
    /// Properties that are not shown, because only private attributes are made of them.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub private: BTreeSet<String>,
    pub scope: ScopeView,
    /// The scopes that were accepted before and differ from today's.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub accepted: Vec<ScopeView>,
}

/// A filter on one record.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct ScopeView {
    /// In its normal form; none where the whole collection is let in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub filter: Option<String>,
    /// Whether the job's list of excluded records names it: true, false, or unknown; none where there is no list.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub excluded: Option<Json>,
    pub clauses: Vec<ClauseView>,
}

/// One clause on one record.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct ClauseView {
    /// In its normal form.
    pub clause: String,
    /// `true`, `false`, or `{"unknown": "reason"}`; none where there is no record to test.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value: Option<Json>,
    pub ran: Ran,
    pub inputs: Vec<Input>,
}

/// Something that an expression reads, with its value for the record.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Input {
    pub path: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value: Option<Json>,
    /// The value is private and left out.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub hidden: bool,
}

/// What becomes of a record in one type of the target.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct TargetView {
    #[serde(rename = "type")]
    pub ty: String,
    pub mapping: String,
    /// Why the mapping fails for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rejected: Option<String>,
    /// `there`, `absent`, `not-read`, `collision`, `returner`, or `not-looked-for`: neither wanted nor owned.
    pub found: &'static str,
    /// What the target calls the record.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ledger: Option<LedgerView>,
    pub attributes: Vec<AttributeView>,
    #[serde(flatten)]
    pub fate: Fate,
}

/// What the ledger says of a record.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct LedgerView {
    /// `owned`, `retired`, `declined`, `deleted-in-target` or `pinned`.
    pub state: &'static str,
    pub origin: Origin,
    pub mapping: String,
    /// Of a retired record: why and since when it is leaving.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub leaving: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub missing_since: Option<Timestamp>,
}

/// One attribute with its sides. A side that is not there is not known or does not apply; null is the empty value.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct AttributeView {
    pub name: String,
    /// In its normal form; none for an attribute that the mapping does not write.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expression: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub inputs: Vec<Input>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub write: Option<Write>,
    /// What Entra says now; of a record out of scope, what it would become.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub desired: Option<Datum>,
    /// What the target holds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub current: Option<Datum>,
    /// What was written last, as read back.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub applied: Option<Datum>,
    /// What Entra said when the value was settled last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub settled: Option<Datum>,
    /// Whose doing the difference between Entra and the target is; none where there is none, or it is not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub changed_by: Option<ChangedBy>,
    /// Private: no value of it is shown.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub hidden: bool,
}

/// What a run would do with a record, and why.
#[derive(Clone, PartialEq, Debug, Default, Serialize)]
pub struct Fate {
    /// In words.
    pub outcome: String,
    /// As the plan has it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub change: Option<Change>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<Note>,
    /// Limits that the change counts against and that hold the run.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub held_by: Vec<LimitName>,
}

/// A pair or an assignment, in short.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct LinkView {
    #[serde(rename = "type")]
    pub ty: String,
    pub key: String,
    pub name: String,
    #[serde(flatten)]
    pub fate: Fate,
}

impl Explanation {
    /// Whether anything about it is not known.
    pub fn is_doubtful(&self) -> bool {
        self.sources.iter().any(|source| matches!(source.state, "unknown" | "not-found"))
            || self.targets.iter().any(|target| target.found == "not-read")
    }
}
