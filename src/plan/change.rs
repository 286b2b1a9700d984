//! What a plan consists of: changes, notes and the record a target type is described by.
//!
//! Plain data that rendering, saving and applying read alike. Deliberately decides nothing.

use std::collections::BTreeMap;
use std::fmt;

use jiff::Timestamp;
use serde::de::value::{MapAccessDeserializer, SeqAccessDeserializer};
use serde::de::{MapAccess, SeqAccess, Visitor};
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::datum::Datum;
use super::policy::CauseKind;
use crate::record::Key;

/// What happens to one record. Closed, so that a new action is a compile error wherever it must be handled.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// The target gets a new record.
    Create,
    /// A record that was there becomes ours; attributes may be written with it.
    Adopt,
    /// Attributes of a record of ours are written.
    Update,
    /// The next step of the removal ladder that is not a delete: attributes are flagged.
    Retire,
    /// A retired record came back: what was flagged is put back, and attributes may be written with it.
    Return,
    /// The record is taken away.
    Delete,
    /// The record is gone from both sides: only the ledger forgets it.
    Forget,
    /// Nothing is written to the target; only what the ledger knows of the record changes.
    Settle,
}

impl Action {
    pub const ALL: [Action; 8] = [
        Action::Create,
        Action::Adopt,
        Action::Update,
        Action::Retire,
        Action::Return,
        Action::Delete,
        Action::Forget,
        Action::Settle,
    ];

    /// The word in messages and files.
    pub fn word(self) -> &'static str {
        match self {
            Action::Create => "create",
            Action::Adopt => "adopt",
            Action::Update => "update",
            Action::Retire => "retire",
            Action::Return => "return",
            Action::Delete => "delete",
            Action::Forget => "forget",
            Action::Settle => "settle",
        }
    }

    /// The word for what was done.
    pub fn past(self) -> &'static str {
        match self {
            Action::Create => "created",
            Action::Adopt => "adopted",
            Action::Update => "updated",
            Action::Retire => "retired",
            Action::Return => "returned",
            Action::Delete => "deleted",
            Action::Forget => "forgotten",
            Action::Settle => "settled",
        }
    }

    /// The one character in front of a change in the text form.
    pub fn symbol(self) -> char {
        match self {
            Action::Create => '+',
            Action::Adopt => '&',
            Action::Update => '~',
            Action::Retire => '!',
            Action::Return => '^',
            Action::Delete => '-',
            Action::Forget => 'x',
            Action::Settle => '=',
        }
    }

    /// Whether the target's content changes.
    pub fn writes(self) -> bool {
        !matches!(self, Action::Forget | Action::Settle)
    }
}

/// Why a record leaves, in a form that can be compared (approvals) and read.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Cause {
    pub kind: CauseKind,
    /// For people: the clause that turned false, "deleted in Entra on …", "no longer a member".
    pub words: String,
}

/// One attribute of one change.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct AttributeChange {
    pub name: String,
    /// What the target holds; [`Datum::Empty`] for a create.
    pub before: Datum,
    /// What is written.
    pub after: Datum,
    /// Why, where the action alone does not say it: "changed in the target".
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause: Option<String>,
    /// Only in reports: the values were taken out, because the attribute is private.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub hidden: bool,
}

/// One change of the plan.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Change {
    pub action: Action,
    /// The target type's name.
    #[serde(rename = "type")]
    pub ty: String,
    /// The source key: the Entra object id, for a pair both.
    pub key: Key,
    /// A name for people; never used to decide anything.
    pub label: String,
    /// What the target calls the record; absent for a create.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target_id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause: Option<Cause>,
    /// A fingerprint of the record as the target held it; a saved plan is stale when it is another by then. Absent for
    /// what was not there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub based_on: Option<String>,
    /// What is written, in the type's attribute order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub attributes: Vec<AttributeChange>,
    /// The ledger's row once this change is done, assuming the target keeps what was written as written; `None`
    /// removes the row.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ledger: Option<Row>,
}

/// What the ledger knows of one attribute of an owned record.
///
/// In JSON `{"a": applied, "d": settled}`; where the two are the same, which is nearly always, that value alone.
#[derive(Clone, PartialEq, Debug)]
pub struct Held {
    /// `a`: the last value applied, as read back from the target.
    pub applied: Datum,
    /// `d'`: the last desired value that was settled.
    pub settled: Datum,
}

impl Serialize for Held {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        // What is not known is an object itself, and would be taken for the long form.
        if self.applied == self.settled && self.applied.is_known() {
            return self.applied.serialize(to);
        }
        let mut map = to.serialize_map(Some(2))?;
        map.serialize_entry("a", &self.applied)?;
        map.serialize_entry("d", &self.settled)?;
        map.end()
    }
}

impl<'de> Deserialize<'de> for Held {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Held, D::Error> {
        from.deserialize_any(OneOrBoth)
    }
}

/// Reads a [`Held`]. By hand, because a ledger has millions of them and an untagged enum tries each form.
struct OneOrBoth;

impl<'de> Visitor<'de> for OneOrBoth {
    type Value = Held;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("null, a text, a list of texts, or {\"a\", \"d\"}")
    }

    fn visit_unit<E>(self) -> Result<Held, E> {
        Ok(both(Datum::Empty))
    }

    fn visit_str<E>(self, text: &str) -> Result<Held, E> {
        Ok(both(Datum::text(text)))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, items: A) -> Result<Held, A::Error> {
        Datum::deserialize(SeqAccessDeserializer::new(items)).map(both)
    }

    fn visit_map<A: MapAccess<'de>>(self, entries: A) -> Result<Held, A::Error> {
        #[derive(Deserialize)]
        struct Both {
            a: Datum,
            d: Datum,
        }
        let Both { a, d } = Both::deserialize(MapAccessDeserializer::new(entries))?;
        Ok(Held { applied: a, settled: d })
    }
}

fn both(datum: Datum) -> Held {
    Held { applied: datum.clone(), settled: datum }
}

/// How a record became ours.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    Created,
    Adopted,
}

/// On the removal ladder.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Leaving {
    /// The first run that proved the cause, moved on by the time that was spent unknown.
    pub since: Timestamp,
    pub cause: Cause,
    /// Steps of the cause's ladder already done.
    pub steps_done: usize,
    /// What stood in flagged attributes before the flag: attribute to (before, flag).
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub before: BTreeMap<String, (Datum, Datum)>,
    /// Set while the source state is unknown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paused_at: Option<Timestamp>,
}

/// What the ledger holds about a key.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "state")]
pub enum State {
    Owned,
    /// Proved to be leaving; still owned.
    Retired(Leaving),
    /// A person does not want it: nothing is done with it, whatever the target holds.
    Declined,
    /// Someone deleted it in the target: it is not created again unless the job says so, and is ours again when it
    /// is put back.
    DeletedInTarget,
    /// A person undid our removal: as owned, but never removed.
    Pinned,
}

impl State {
    /// Whether a record of the target belongs to the job.
    pub fn is_owned(&self) -> bool {
        matches!(self, State::Owned | State::Retired(_) | State::Pinned)
    }
}

/// One row of the ledger. The type and key it belongs to stand beside it.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(try_from = "FlatRow")]
pub struct Row {
    /// The mapping that made it.
    pub mapping: String,
    #[serde(flatten)]
    pub state: State,
    pub origin: Origin,
    /// What the target calls the record.
    pub target_id: String,
    pub label: String,
    /// By attribute name. Absent: unknown (adopted and not settled, or the attribute is new).
    pub values: BTreeMap<String, Held>,
    /// The run in which a look-up by id first found nothing; a second such run proves it gone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub missing_since: Option<Timestamp>,
}

/// A [`Row`] as it is read. Plans have millions: through a flattened enum, serde would copy each of them first.
#[derive(Deserialize)]
struct FlatRow {
    mapping: String,
    state: StateWord,
    origin: Origin,
    target_id: String,
    label: String,
    values: BTreeMap<String, Held>,
    missing_since: Option<Timestamp>,
    // Of a retired row.
    since: Option<Timestamp>,
    cause: Option<Cause>,
    steps_done: Option<usize>,
    #[serde(default)]
    before: BTreeMap<String, (Datum, Datum)>,
    paused_at: Option<Timestamp>,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum StateWord {
    Owned,
    Retired,
    Declined,
    DeletedInTarget,
    Pinned,
}

impl TryFrom<FlatRow> for Row {
    type Error = &'static str;

    fn try_from(flat: FlatRow) -> Result<Row, &'static str> {
        let FlatRow { mapping, origin, target_id, label, values, missing_since, before, paused_at, .. } = flat;
        let state = match (flat.state, flat.since, flat.cause, flat.steps_done) {
            (StateWord::Owned, ..) => State::Owned,
            (StateWord::Declined, ..) => State::Declined,
            (StateWord::DeletedInTarget, ..) => State::DeletedInTarget,
            (StateWord::Pinned, ..) => State::Pinned,
            (StateWord::Retired, Some(since), Some(cause), Some(steps_done)) => {
                State::Retired(Leaving { since, cause, steps_done, before, paused_at })
            }
            (StateWord::Retired, ..) => return Err("a retired row needs since, cause and steps_done"),
        };
        Ok(Row { mapping, state, origin, target_id, label, values, missing_since })
    }
}

/// Something the plan tells without doing it.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Note {
    pub kind: NoteKind,
    #[serde(rename = "type")]
    pub ty: String,
    pub key: Key,
    pub label: String,
    /// A whole sentence: what, why, what a person can do.
    pub words: String,
    /// The attribute and its three values, for changes made in the target.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attribute: Option<Difference>,
    /// Of a returner, the record that a person may let it have.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target_id: Option<String>,
    /// Of a leaver, what it still holds: records that refer to it and that this job does not own.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub holds: Vec<String>,
}

impl Note {
    pub fn new(kind: NoteKind, ty: &str, key: &Key, label: &str, words: String) -> Note {
        let (ty, key, label) = (ty.to_owned(), key.clone(), label.to_owned());
        Note { kind, ty, key, label, words, attribute: None, target_id: None, holds: Vec::new() }
    }
}

/// The three values of an attribute that was left alone.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Difference {
    pub name: String,
    pub desired: Datum,
    pub current: Datum,
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "present")]
    pub applied: Option<Datum>,
    /// As in [`AttributeChange::hidden`].
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub hidden: bool,
}

/// A member that is there is a value, even when it is `null`: that is how the empty value is written.
fn present<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Option<Datum>, D::Error> {
    Datum::deserialize(from).map(Some)
}

/// What a note is about. The order is the order of display.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NoteKind {
    /// Several candidates, or the match belongs to another key: nothing written.
    Collision,
    /// A record of a deleted object matches a new object of the same person.
    Returner,
    /// The record could not be mapped.
    Rejected,
    /// The target refused this very change lately, and it is not sent again yet.
    Refused,
    /// Out of scope only because the scope or a mapping was edited: waits for approval of `filter-edit`.
    FilterEdit,
    /// The job's `protect` is true for the record: nothing of it is written or removed.
    Protected,
    /// Someone deleted the record in the target.
    DeletedInTarget,
    /// Left, and no removal step is configured or due, or a delete is held back.
    Kept,
    /// Left, and records that this job does not own refer to it: whoever gives out assets must take them back.
    StillHolds,
    /// Someone changed the value in the target; the source did not change.
    ChangedInTarget,
    /// Both sides changed.
    Conflict,
    /// Adopted with a value that differs from the source.
    DiffersSinceAdoption,
    /// What a run wrote was changed since, and is not taken back with the rest of it.
    NotUndone,
    /// A reference points to a record that is not there.
    ReferenceLeftOut,
    /// A name leads to no record, or to several, of a type that the job does not own.
    NotFound,
    /// A value was longer than the mapping allows and is cut.
    Shortened,
    /// Carries an Entra id that this job does not own.
    Stranger,
}

/// How many records of a type have each fate; all are counted, also those nothing happens to.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Counts {
    pub changes: BTreeMap<Action, u64>,
    pub notes: BTreeMap<NoteKind, u64>,
    /// Desired, there, and equal.
    pub unchanged: u64,
    /// Declined by a person.
    pub declined: u64,
    /// In the target, not desired, not ours.
    pub not_ours: u64,
    /// Owned records left alone because their state is not known, by reason.
    pub unknown: BTreeMap<String, u64>,
    /// Elements taken out of sets.
    pub elements_removed: u64,
    /// How records that were there and that nobody owned were found: by key, then by each adopt rule in its order.
    /// Ways that found nothing are left out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub adoption: Vec<Adoption>,
}

/// What one way to find a record made by hand came to.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Adoption {
    /// The attribute of the adopt rule; absent for the key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// Records that are taken over.
    pub adopted: u64,
    /// Records that match and are not taken over, because several do or another key has them: each is listed.
    pub collisions: u64,
}

/// What must be known of a target type to read, compare and write it.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct TypeSpec {
    /// The target's name for it; for CSV the file's stem.
    pub name: String,
    /// Every attribute that is compared, flagged or matched on. Values of records are in this order.
    pub attributes: Vec<AttributeSpec>,
    /// Attributes that make up the key; empty when the key lives in the ledger alone.
    pub key: Vec<usize>,
    /// Attributes of the adopt rules, in their order.
    pub adopt: Vec<usize>,
}

impl TypeSpec {
    /// What a change writes into attributes in which no two records may have the same: the key, and whatever the target
    /// keeps unique. Such a value must be given up by one record before another one takes it.
    pub fn unique<'c>(&'c self, change: &'c Change) -> impl Iterator<Item = (usize, &'c AttributeChange)> {
        let at = |written: &AttributeChange| self.attributes.iter().position(|spec| spec.name == written.name);
        let placed = change.attributes.iter().filter_map(move |written| Some((at(written)?, written)));
        placed.filter(|(at, _)| self.key.contains(at) || self.attributes[*at].unique)
    }
}

/// One attribute of a target type.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct AttributeSpec {
    pub name: String,
    /// Holds a set of values.
    pub many: bool,
    /// The type whose records it refers to.
    pub reference: Option<String>,
    /// Refers to records of a type that the job does not own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub find: Option<FindIn>,
    /// Reports say that it changed, and no value.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub private: bool,
    /// A mapping fills it with true and false: a target of texts reads it in whatever case someone saved it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub boolean: bool,
    /// The target itself refuses a second record of the type with the same value, as it says (`Target::keeps_unique`).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub unique: bool,
    /// Looked at and never written: `protect` or `find` names it, and no mapping does. A target that holds the type
    /// without it refuses to read, since such a rule would protect or find nothing.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub only_read: bool,
}

/// Where a reference finds records that the job does not own.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub struct FindIn {
    /// The target's type.
    #[serde(rename = "type")]
    pub ty: String,
    /// The attribute that holds the name; case and surrounding blanks do not count.
    pub by: String,
    /// The attribute whose value is written; none is what the target itself calls the record.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub take: Option<String>,
}

/// What one change wrote into the target, as far as taking it back needs it.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Written {
    pub action: Action,
    /// Nothing of a create, which is taken back as a whole, nor of a delete, whose record the ledger knows.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub values: Vec<WrittenValue>,
}

/// One value that was written.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct WrittenValue {
    pub name: String,
    /// What the target held.
    pub before: Datum,
    /// What it held afterwards.
    pub after: Datum,
}

/// A change that the target refused.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Refusal {
    pub ty: String,
    pub key: Key,
    /// [`Change::content`] of what was planned.
    pub content: String,
    pub at: Timestamp,
    pub reason: String,
}

impl Change {
    /// A change that changes nothing: to look at a record by what the target calls it.
    pub fn about(spec: &TypeSpec, target_id: String) -> Change {
        Change {
            action: Action::Settle,
            ty: spec.name.clone(),
            key: Key::parse(&target_id),
            label: target_id.clone(),
            target_id: Some(target_id),
            cause: None,
            based_on: None,
            attributes: Vec::new(),
            ledger: None,
        }
    }

    /// What of this change is remembered once the target has taken it; `read_back` is what it made of the values.
    pub fn written(&self, read_back: &[(String, Datum)]) -> Option<Written> {
        if !self.action.writes() {
            return None;
        }
        let as_kept = |written: &AttributeChange| {
            let kept = read_back.iter().find(|(name, value)| *name == written.name && value.is_known());
            WrittenValue {
                name: written.name.clone(),
                before: written.before.clone(),
                after: kept.map_or_else(|| written.after.clone(), |(_, value)| value.clone()),
            }
        };
        let values = match self.action {
            Action::Create | Action::Delete => Vec::new(),
            _ => self.attributes.iter().map(as_kept).collect(),
        };
        Some(Written { action: self.action, values })
    }

    /// A fingerprint of what would be sent: the first 16 hexadecimal digits of a SHA-256.
    pub fn content(&self) -> String {
        let written = self.attributes.iter().flat_map(|written| [written.name.clone(), written.after.to_string()]);
        let named = [self.action.word().to_string(), self.target_id.clone().unwrap_or_default()];
        fingerprint(named.into_iter().chain(written))
    }

    /// Elements that are taken out of sets.
    pub fn elements_removed(&self) -> impl Iterator<Item = (&str, &str)> {
        self.attributes.iter().flat_map(|attribute| {
            let (before, after) = match (&attribute.before, &attribute.after) {
                (Datum::Set(before), Datum::Set(after)) => (&before.items[..], &after.items[..]),
                (Datum::Set(before), _) => (&before.items[..], &[][..]),
                _ => (&[][..], &[][..]),
            };
            before
                .iter()
                .filter(|item| after.binary_search(item).is_err())
                .map(|item| (attribute.name.as_str(), &**item))
        })
    }

    /// Whether a value is taken away: an attribute cleared or an element taken out.
    pub fn takes_away(&self) -> bool {
        let cleared = |attribute: &AttributeChange| attribute.after.is_empty() && !attribute.before.is_empty();
        self.attributes.iter().any(cleared) || self.elements_removed().next().is_some()
    }
}

/// One record as the target holds it.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Current {
    /// What the target calls the record.
    pub id: String,
    /// Aligned with [`TypeSpec::attributes`], in canonical form.
    pub values: Vec<Datum>,
}

impl Current {
    /// The first 16 hexadecimal digits of a SHA-256 over all values.
    pub fn fingerprint(&self) -> String {
        fingerprint(self.values.iter().map(Datum::to_string))
    }
}

fn fingerprint(parts: impl Iterator<Item = String>) -> String {
    use sha2::{Digest, Sha256};
    let mut sum = Sha256::new();
    for part in parts {
        sum.update(part);
        sum.update([0]);
    }
    sum.finalize().iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}
