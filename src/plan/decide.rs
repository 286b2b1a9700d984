//! What happens to one record: a pure function of its source state, its target state, its ledger row and the policy.
//!
//! Hides the table of records and the removal ladder (`ARCHITECTURE.md`, "Records" and "Removal ladder"). Deliberately
//! sees one record at a time: matching, references, limits and order are other modules' business.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use super::attributes::{self, AttributePolicy};
use super::change::{
    Action, AttributeChange, Cause, Change, Current, Difference, Leaving, Note, NoteKind, Origin, Row, State, TypeSpec,
};
use super::datum::Datum;
use super::policy::{CauseKind, Recreate, Removal, Step, StepAction};
use crate::expr::{Expr, NoNavigation, Truth};
use crate::record::{Key, Unknown, Value};

/// What Entra says about a key, for one target type.
#[derive(Clone, PartialEq, Debug)]
pub enum Source {
    /// In scope and mapped.
    Desired(Desired),
    /// Exists; its own data moved it out of scope.
    Out(Cause),
    /// In scope under the accepted scope, not under today's; or its mapping is gone. The words say which.
    OutEdited(String),
    /// Proved deleted.
    Gone(Cause),
    /// Looked up by id and not found. A second run that finds nothing proves it gone.
    NotFound,
    /// Not known, and why.
    Unknown(Unknown),
    /// In scope, but the mapping failed for it.
    Rejected(String),
}

/// A record as the source wants it.
#[derive(Clone, PartialEq, Debug, serde::Serialize, serde::Deserialize)]
pub struct Desired {
    /// Index into [`TypePolicy::mappings`].
    pub mapping: usize,
    pub label: String,
    /// Aligned with [`TypeSpec::attributes`]; `None` where the mapping says nothing. References are target ids.
    #[serde(with = "super::datum::said")]
    pub values: Vec<Option<Datum>>,
}

/// What the target holds for a key.
#[derive(Clone, PartialEq, Debug)]
pub enum Found {
    There(Current),
    /// The type was read completely and it is not there.
    Absent,
    /// The type was not read completely and it was not seen.
    NotRead,
    /// Nothing can be decided, and why.
    Collision(String),
    /// The only match is owned under another key whose object is gone.
    Returner {
        other: Key,
        target_id: String,
    },
}

/// How one target type is treated.
#[derive(Clone, Debug)]
pub struct TypePolicy {
    pub spec: TypeSpec,
    pub mappings: Vec<MappingPolicy>,
    /// Rows that link two records: their removals count against the limit for links.
    pub links: bool,
    /// The key of one of its mappings is not the accepted one: a row that is not found may only be called otherwise.
    pub rekeyed: bool,
}

/// How the records of one mapping are treated.
#[derive(Clone, Debug)]
pub struct MappingPolicy {
    pub name: String,
    /// Aligned with [`TypeSpec::attributes`]; `None` where the mapping says nothing.
    pub attributes: Vec<Option<AttributePolicy>>,
    pub removal: Removal,
    pub recreate: Recreate,
    /// Over the target's values, by attribute name with `_` for every blank; a record for which it is true, or not
    /// known to be false, is never touched.
    pub protect: Option<Expr>,
}

/// The two times a decision depends on.
#[derive(Clone, Copy, Debug)]
pub struct Times {
    /// Now, for timers.
    pub as_of: Timestamp,
    /// When the source was read; two runs are two different reads.
    pub source_as_of: Timestamp,
}

/// What was decided for one record.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Decision {
    pub change: Option<Change>,
    pub notes: Vec<Note>,
    /// Desired, there, equal.
    pub unchanged: bool,
    pub declined: bool,
    /// Left alone because something is unknown.
    pub unknown: Option<Unknown>,
    pub elements_removed: u64,
}

/// One record to decide on.
pub struct Case<'a> {
    pub policy: &'a TypePolicy,
    pub times: Times,
    pub key: &'a Key,
    pub row: Option<&'a Row>,
    /// Names of records that refer to this one in the target and that the job does not own; in words why that is not
    /// known.
    pub holds: Result<&'a [String], &'a str>,
}

/// Decides.
pub fn decide(case: &Case<'_>, source: Source, found: Found) -> Decision {
    if case.policy.rekeyed && matches!(found, Found::Absent) && case.row.is_some_and(|row| row.state.is_owned()) {
        let words =
            "its row is not found since the mapping's key was edited. It waits for the approval of filter-edit.";
        return case.telling(NoteKind::FilterEdit, case.row.map_or("", |row| &row.label), words.into());
    }
    let protected = matches!(&found, Found::There(current) if case.is_protected(current));
    let mut decision = decide_unprotected(case, source, &found);
    if let (Some(change), Found::There(current)) = (&mut decision.change, &found)
        && change.action.writes()
    {
        change.based_on = Some(current.fingerprint());
    }
    match &decision.change {
        Some(change) if protected && change.action.writes() => {
            let words = format!("is protected by the job; without that: {}. It was left alone.", change.action.word());
            case.telling(NoteKind::Protected, &change.label, words)
        }
        _ => decision,
    }
}

fn decide_unprotected(case: &Case<'_>, source: Source, found: &Found) -> Decision {
    match source {
        Source::Desired(desired) => case.desired(&desired, found),
        Source::Out(cause) | Source::Gone(cause) => case.leaving(cause, found, None),
        Source::NotFound => match case.row.and_then(|row| row.missing_since) {
            Some(first) if first < case.times.source_as_of => case.leaving(
                Cause { kind: CauseKind::Gone, words: format!("not found by id, first on {}", day(first)) },
                found,
                // Remembered: the next look-up that finds nothing is no first one again.
                Some(first),
            ),
            _ => case.missing(),
        },
        Source::OutEdited(words) => case.waiting(words, found),
        Source::Unknown(reason) => case.unknown(reason),
        Source::Rejected(reason) => {
            let words = format!("could not be mapped: {reason}. Nothing is written or removed for it.");
            Decision { notes: vec![case.note(NoteKind::Rejected, words)], ..case.unknown(Unknown::new("rejected")) }
        }
    }
}

impl Case<'_> {
    /// Whether any mapping of the type protects the record.
    fn is_protected(&self, current: &Current) -> bool {
        let mut rules = self.policy.mappings.iter().filter_map(|mapping| mapping.protect.as_ref()).peekable();
        if rules.peek().is_none() {
            return false;
        }
        let names = self.policy.spec.attributes.iter().map(|attribute| Arc::from(protect_name(&attribute.name)));
        let values = current.values.iter().map(Datum::to_value);
        let record = Value::Object(names.zip(values).collect());
        let nav = NoNavigation { as_of: self.times.as_of };
        rules.any(|rule| rule.truth_value(&record, &nav) != Truth::False)
    }

    fn desired(&self, desired: &Desired, found: &Found) -> Decision {
        let mapping = &self.policy.mappings[desired.mapping];
        let state = self.row.map(|row| &row.state);
        match (found, state) {
            (Found::Collision(words), _) => self.telling(NoteKind::Collision, &desired.label, words.clone()),
            (Found::Returner { other, target_id }, _) => {
                let words = format!(
                    "matches record {target_id}, which belongs to the deleted object {other}: probably the same person \
                     with a new object. Nothing is written until a person decides."
                );
                let mut decision = self.telling(NoteKind::Returner, &desired.label, words);
                decision.notes.iter_mut().for_each(|note| note.target_id = Some(target_id.clone()));
                decision
            }
            (_, Some(State::Declined)) => Decision { declined: true, ..Decision::default() },
            (Found::NotRead, _) => {
                Decision { unknown: Some(Unknown::new("the target was not read completely")), ..Decision::default() }
            }
            (Found::Absent, None) => self.create(desired, None),
            (Found::Absent, Some(State::Retired(_))) => self.create(desired, Some(CauseKind::Returned)),
            (Found::Absent, Some(State::DeletedInTarget)) => match mapping.recreate {
                Recreate::Create => self.create(desired, Some(CauseKind::Recreated)),
                Recreate::Report => Decision { declined: true, ..Decision::default() },
            },
            (Found::Absent, Some(State::Owned | State::Pinned)) => match mapping.recreate {
                Recreate::Create => self.create(desired, Some(CauseKind::Recreated)),
                Recreate::Report => self.deleted_in_target(desired),
            },
            (Found::There(current), None) => self.adopt(desired, current),
            (Found::There(current), Some(State::Retired(leaving))) => self.give_back(desired, current.clone(), leaving),
            (Found::There(current), Some(State::Owned | State::Pinned | State::DeletedInTarget)) => {
                self.compare(desired, current)
            }
        }
    }

    fn create(&self, desired: &Desired, cause: Option<CauseKind>) -> Decision {
        let mut change = self.change(Action::Create, &desired.label, None);
        let mut row = self.new_row(desired, Origin::Created, String::new());
        for (spec, value) in self.policy.spec.attributes.iter().zip(&desired.values) {
            let Some(value) = value else { continue };
            let verdict = attributes::create(value);
            if let Some(after) = verdict.write {
                change.attributes.push(AttributeChange {
                    name: spec.name.clone(),
                    before: Datum::Empty,
                    after,
                    ..AttributeChange::default()
                });
            }
            row.values.extend(verdict.held.map(|held| (spec.name.clone(), held)));
        }
        change.cause = cause.map(|kind| Cause {
            kind,
            words: match kind {
                CauseKind::Returned => "returned: it was on its way out and is in scope again".into(),
                _ => "deleted in the target, created again as the job asks".into(),
            },
        });
        change.ledger = Some(row);
        Decision { change: Some(change), ..Decision::default() }
    }

    fn adopt(&self, desired: &Desired, current: &Current) -> Decision {
        let row = self.new_row(desired, Origin::Adopted, current.id.clone());
        let mut decision = self.attributes(desired, current, row, Action::Adopt);
        // Adopting is a change of ownership even where no value differs.
        decision.unchanged = false;
        decision
    }

    fn compare(&self, desired: &Desired, current: &Current) -> Decision {
        if self.is_settled(desired, current) {
            return Decision { unchanged: true, ..Decision::default() };
        }
        let mut row = self.row_without_values(desired, &current.id);
        if row.state == State::DeletedInTarget {
            row.state = State::Owned;
        }
        row.target_id.clone_from(&current.id);
        row.mapping.clone_from(&self.policy.mappings[desired.mapping].name);
        row.missing_since = None;
        self.attributes(desired, current, row, Action::Update)
    }

    /// Whether source, target and ledger agree on everything: nearly every record of nearly every night, and the one
    /// case that is seen without building a row to compare with.
    fn is_settled(&self, desired: &Desired, current: &Current) -> bool {
        let mapping = &self.policy.mappings[desired.mapping];
        let Some(row) = self.row else { return false };
        if !row.state.is_owned()
            || row.mapping != mapping.name
            || row.target_id != current.id
            || row.missing_since.is_some()
        {
            return false;
        }
        let mut agreed = 0;
        for (index, spec) in self.policy.spec.attributes.iter().enumerate() {
            let (Some(value), Some(_)) = (&desired.values[index], mapping.attributes[index]) else { continue };
            let held = row.values.get(&spec.name).is_some_and(|held| held.applied == *value && held.settled == *value);
            if !(held && value.is_known() && current.values[index] == *value) {
                return false;
            }
            agreed += 1;
        }
        agreed == row.values.len()
    }

    /// Puts back what the ladder flagged where the flag still stands, then compares as usual.
    fn give_back(&self, desired: &Desired, mut current: Current, leaving: &Leaving) -> Decision {
        let before_flags = current.clone();
        for (index, spec) in self.policy.spec.attributes.iter().enumerate() {
            if let Some((before, flag)) = leaving.before.get(&spec.name)
                && current.values[index] == *flag
            {
                current.values[index] = before.clone();
            }
        }
        let mut row = self.row_without_values(desired, &current.id);
        row.state = State::Owned;
        row.missing_since = None;
        let mut decision = self.attributes(desired, &current, row, Action::Return);
        let Some(change) = &mut decision.change else { return decision };
        for (index, spec) in self.policy.spec.attributes.iter().enumerate() {
            let (flagged, restored) = (&before_flags.values[index], &current.values[index]);
            match change.attributes.iter_mut().find(|attribute| attribute.name == spec.name) {
                Some(attribute) => attribute.before = flagged.clone(),
                None if flagged != restored => change.attributes.push(AttributeChange {
                    name: spec.name.clone(),
                    before: flagged.clone(),
                    after: restored.clone(),
                    cause: Some("put back".into()),
                    ..AttributeChange::default()
                }),
                None => {}
            }
        }
        change.action = if leaving.steps_done > 0 || !change.attributes.is_empty() {
            Action::Return
        } else {
            // It left and came back between two steps: nobody but the ledger knew.
            Action::Settle
        };
        change.cause = Some(Cause { kind: CauseKind::Returned, words: "it is in scope again".into() });
        decision
    }

    /// Compares every attribute; `action` is what it is called when the target or the ownership changes.
    fn attributes(&self, desired: &Desired, current: &Current, mut row: Row, action: Action) -> Decision {
        let mapping = &self.policy.mappings[desired.mapping];
        let mut decision = Decision::default();
        let mut change = self.change(action, &desired.label, Some(current.id.clone()));
        let nothing = BTreeMap::new();
        let held_before = self.row.map_or(&nothing, |row| &row.values);
        for (index, spec) in self.policy.spec.attributes.iter().enumerate() {
            let (Some(value), Some(policy)) = (&desired.values[index], mapping.attributes[index]) else { continue };
            let held = held_before.get(&spec.name);
            let verdict = attributes::compare(policy, value, &current.values[index], held);
            if let Some(kind) = verdict.left_alone {
                let difference = Difference {
                    name: spec.name.clone(),
                    desired: value.clone(),
                    current: current.values[index].clone(),
                    applied: held.map(|held| held.applied.clone()),
                    hidden: false,
                };
                let mut note = self.note(kind, left_alone_words(kind).into());
                note.label.clone_from(&desired.label);
                decision.notes.push(Note { attribute: Some(difference), ..note });
            }
            if let Some(after) = verdict.write {
                decision.elements_removed += verdict.elements_removed;
                change.attributes.push(AttributeChange {
                    name: spec.name.clone(),
                    before: current.values[index].clone(),
                    after,
                    cause: verdict.cause.map(Into::into),
                    ..AttributeChange::default()
                });
            }
            row.values.extend(verdict.held.map(|held| (spec.name.clone(), held)));
        }
        let wrote = !change.attributes.is_empty();
        let same_row = self.row.is_some_and(|old| {
            row.label.clone_from(&old.label);
            row == *old
        });
        decision.unchanged = !wrote && action == Action::Update;
        if wrote || !same_row {
            row.label.clone_from(&desired.label);
            change.ledger = Some(row);
            if !wrote && action == Action::Update {
                change.action = Action::Settle;
            }
            decision.change = Some(change);
        }
        decision
    }

    /// The row as it was, for values to be entered anew.
    fn row_without_values(&self, desired: &Desired, target_id: &str) -> Row {
        match self.row {
            Some(Row { mapping, state, origin, target_id, label, values: _, missing_since }) => Row {
                mapping: mapping.clone(),
                state: state.clone(),
                origin: *origin,
                target_id: target_id.clone(),
                label: label.clone(),
                values: BTreeMap::new(),
                missing_since: *missing_since,
            },
            None => self.new_row(desired, Origin::Adopted, target_id.to_string()),
        }
    }

    fn deleted_in_target(&self, desired: &Desired) -> Decision {
        let words = "someone deleted it in the target. It stays deleted until the row is put back, or the job says \
                     recreate = true.";
        let mut decision = self.telling(NoteKind::DeletedInTarget, &desired.label, words.into());
        decision.change = self.row.map(|row| self.settle(Row { state: State::DeletedInTarget, ..row.clone() }));
        decision
    }

    fn leaving(&self, cause: Cause, found: &Found, missing_since: Option<Timestamp>) -> Decision {
        let Some(row) = self.row else { return Decision::default() };
        let row = &Row { missing_since, ..row.clone() };
        match (found, &row.state) {
            (_, State::Declined | State::DeletedInTarget) => Decision::default(),
            (Found::NotRead, _) => {
                Decision { unknown: Some(Unknown::new("the target was not read completely")), ..Decision::default() }
            }
            (Found::Collision(words), _) => self.telling(NoteKind::Collision, &row.label, words.clone()),
            (Found::Returner { .. } | Found::Absent, _) => {
                let mut change = self.change(Action::Forget, &row.label, Some(row.target_id.clone()));
                change.cause = Some(cause);
                Decision { change: Some(change), ..Decision::default() }
            }
            (Found::There(_), State::Pinned) => self.telling(
                NoteKind::Kept,
                &row.label,
                format!("left ({}), but a person pinned it: it stays.", cause.words),
            ),
            (Found::There(current), State::Owned) => {
                let leaving = Leaving {
                    since: self.times.as_of,
                    cause,
                    steps_done: 0,
                    before: Default::default(),
                    paused_at: None,
                };
                self.ladder(row, current, leaving)
            }
            (Found::There(current), State::Retired(known)) => {
                let mut leaving = known.clone();
                if let Some(paused) = leaving.paused_at.take() {
                    leaving.since += self.times.as_of.duration_since(paused).max(SignedDuration::ZERO);
                }
                if leaving.cause.kind != cause.kind {
                    // Another cause has another ladder, and its days count from the run that proved it.
                    leaving.steps_done = 0;
                    leaving.since = self.times.as_of;
                    leaving.cause = cause;
                }
                self.ladder(row, current, leaving)
            }
        }
    }

    /// Takes the next due step of the ladder, or keeps and lists; tells of whoever still holds something.
    fn ladder(&self, row: &Row, current: &Current, leaving: Leaving) -> Decision {
        let holds = self.holds.unwrap_or_default();
        let still = match holds {
            [] => None,
            [one] => Some(format!("left ({}), and {one} still refers to it.", leaving.cause.words)),
            [first, ..] => {
                let others = holds.len() - 1;
                Some(format!("left ({}), and {first} and {others} more still refer to it.", leaving.cause.words))
            }
        };
        let mut decision = self.next_step(row, current, leaving);
        decision.notes.extend(still.map(|words| {
            let words = format!("{words} This job does not own that: whoever gives it out must take it back.");
            Note { holds: holds.to_vec(), ..self.note(NoteKind::StillHolds, words) }
        }));
        decision
    }

    fn next_step(&self, row: &Row, current: &Current, mut leaving: Leaving) -> Decision {
        if let Some(words) = self.flag_taken_back(current, &leaving) {
            let change = self.settle(Row { state: State::Pinned, ..row.clone() });
            return Decision { change: Some(change), ..self.telling(NoteKind::Kept, &row.label, words) };
        }
        let steps = self.removal(row).ladder(leaving.cause.kind).to_vec();
        loop {
            let Some(step) = steps.get(leaving.steps_done) else {
                let words = if steps.is_empty() {
                    format!("left ({}); no removal is configured: it stays.", leaving.cause.words)
                } else {
                    format!("left ({}); the removal ladder ends here: it stays.", leaving.cause.words)
                };
                return self.kept(row, leaving, words);
            };
            let due = due(&leaving, step);
            if self.times.as_of < due {
                let words = format!("left ({}); its next step is due on {}.", leaving.cause.words, day(due));
                return self.kept(row, leaving, words);
            }
            match &step.action {
                StepAction::Delete => return self.delete(row, current, leaving),
                StepAction::Flag(flags) => {
                    leaving.steps_done += 1;
                    let attributes = self.flag(flags, current, &mut leaving.before);
                    if !attributes.is_empty() {
                        let mut change = self.change(Action::Retire, &row.label, Some(current.id.clone()));
                        change.attributes = attributes;
                        change.cause = Some(leaving.cause.clone());
                        change.ledger = Some(Row { state: State::Retired(leaving), ..row.clone() });
                        return Decision { change: Some(change), ..Decision::default() };
                    }
                    // The flag stands already: the next step may be due as well.
                }
            }
        }
    }

    pub(super) fn flag(
        &self,
        flags: &BTreeMap<String, String>,
        current: &Current,
        standing: &mut BTreeMap<String, (Datum, Datum)>,
    ) -> Vec<AttributeChange> {
        let mut changes = Vec::new();
        for (index, spec) in self.policy.spec.attributes.iter().enumerate() {
            let Some(flag) = flags.get(&spec.name) else { continue };
            let (flag, before) = (Datum::text(flag.as_str()), &current.values[index]);
            if *before != flag {
                standing.entry(spec.name.clone()).or_insert((before.clone(), flag.clone())).1 = flag.clone();
                changes.push(AttributeChange {
                    name: spec.name.clone(),
                    before: before.clone(),
                    after: flag,
                    ..AttributeChange::default()
                });
            }
        }
        changes
    }

    fn flag_taken_back(&self, current: &Current, leaving: &Leaving) -> Option<String> {
        self.policy.spec.attributes.iter().enumerate().find_map(|(index, spec)| {
            let (_, flag) = leaving.before.get(&spec.name)?;
            (current.values[index] != *flag).then(|| {
                format!(
                    "left ({}), but someone took the mark in {} back: it is pinned and stays.",
                    leaving.cause.words, spec.name
                )
            })
        })
    }

    fn delete(&self, row: &Row, current: &Current, leaving: Leaving) -> Decision {
        let edited = self.policy.spec.attributes.iter().enumerate().find(|(index, spec)| {
            let value = &current.values[*index];
            let differs = match row.values.get(&spec.name) {
                Some(held) => held.applied != *value,
                // What was last written is not known: any value may be a person's.
                None => self.is_mapped(row, *index) && !value.is_empty(),
            };
            !leaving.before.contains_key(&spec.name) && differs
        });
        let held_back = if let Err(why) = self.holds {
            Some(format!("what still refers to it is not known: {why}"))
        } else if let Some(first) = self.holds.unwrap_or_default().first() {
            Some(format!("{first} refers to it, which this job does not own"))
        } else if let Some((_, spec)) = edited {
            Some(format!("someone may have edited {} since it was last written", spec.name))
        } else if row.origin == Origin::Adopted && !self.removal(row).delete_adopted {
            Some("it was adopted, not created, by this job (delete_adopted = true would delete it)".to_string())
        } else {
            None
        };
        if let Some(reason) = held_back {
            let words = format!("left ({}) and due to be deleted, but {reason}: it stays.", leaving.cause.words);
            return self.kept(row, leaving, words);
        }
        let mut change = self.change(Action::Delete, &row.label, Some(current.id.clone()));
        change.cause = Some(leaving.cause);
        Decision { change: Some(change), ..Decision::default() }
    }

    /// Nothing is done now; the ledger remembers since when it is leaving.
    fn kept(&self, row: &Row, leaving: Leaving, words: String) -> Decision {
        let after = Row { state: State::Retired(leaving), ..row.clone() };
        let change = (Some(&after) != self.row).then(|| self.settle(after));
        Decision { change, ..self.telling(NoteKind::Kept, &row.label, words) }
    }

    /// The first run in which a look-up by id found nothing: not yet proof.
    fn missing(&self) -> Decision {
        let mut decision = self.unknown(Unknown::new("not found by id; a second run decides"));
        if let Some(row) = self.row
            && row.missing_since.is_none()
            && row.state.is_owned()
        {
            let mut row = decision.change.take().and_then(|change| change.ledger).unwrap_or_else(|| row.clone());
            row.missing_since = Some(self.times.source_as_of);
            decision.change = Some(self.settle(row));
        }
        decision
    }

    fn waiting(&self, words: String, found: &Found) -> Decision {
        match (self.row, found) {
            (Some(Row { state: State::Owned | State::Retired(_), label, .. }), Found::There(_)) => {
                let words = format!("{words}. It waits for the approval of filter-edit.");
                // While it waits its timers stand still, as they do while something is not known.
                let paused = self.unknown(Unknown::new("waits for filter-edit")).change;
                Decision { change: paused, ..self.telling(NoteKind::FilterEdit, label, words) }
            }
            _ => Decision::default(),
        }
    }

    /// Untouched; a timer that runs is stopped.
    fn unknown(&self, reason: Unknown) -> Decision {
        let Some(row) = self.row else { return Decision::default() };
        let mut decision = Decision::default();
        if !row.state.is_owned() {
            return decision;
        }
        if let State::Retired(leaving) = &row.state
            && leaving.paused_at.is_none()
        {
            let leaving = Leaving { paused_at: Some(self.times.as_of), ..leaving.clone() };
            decision.change = Some(self.settle(Row { state: State::Retired(leaving), ..row.clone() }));
        }
        decision.unknown = Some(reason);
        decision
    }

    pub(super) fn removal(&self, row: &Row) -> &Removal {
        &self.mapping(row).removal
    }

    /// The mapping that made the row; if the job has it no longer, the first of the type.
    fn mapping(&self, row: &Row) -> &MappingPolicy {
        let mapping = self.policy.mappings.iter().find(|mapping| mapping.name == row.mapping);
        mapping.unwrap_or(&self.policy.mappings[0])
    }

    fn is_mapped(&self, row: &Row, attribute: usize) -> bool {
        self.mapping(row).attributes.get(attribute).is_some_and(Option::is_some)
    }

    fn new_row(&self, desired: &Desired, origin: Origin, target_id: String) -> Row {
        Row {
            mapping: self.policy.mappings[desired.mapping].name.clone(),
            state: State::Owned,
            origin,
            target_id,
            label: desired.label.clone(),
            values: Default::default(),
            missing_since: None,
        }
    }

    pub(super) fn change(&self, action: Action, label: &str, target_id: Option<String>) -> Change {
        Change {
            action,
            ty: self.policy.spec.name.clone(),
            key: self.key.clone(),
            label: label.to_string(),
            target_id,
            cause: None,
            based_on: None,
            attributes: Vec::new(),
            ledger: None,
        }
    }

    pub(super) fn settle(&self, row: Row) -> Change {
        let target_id = Some(row.target_id.clone());
        Change { ledger: Some(row.clone()), ..self.change(Action::Settle, &row.label, target_id) }
    }

    pub(super) fn note(&self, kind: NoteKind, words: String) -> Note {
        let label = self.row.map_or("", |row| &row.label);
        Note::new(kind, &self.policy.spec.name, self.key, label, words)
    }

    pub(super) fn telling(&self, kind: NoteKind, label: &str, words: String) -> Decision {
        let note = Note { label: label.to_string(), ..self.note(kind, words) };
        Decision { notes: vec![note], ..Decision::default() }
    }
}

/// An attribute's name as a `protect` expression spells it: names in expressions have no blanks.
pub fn protect_name(attribute: &str) -> String {
    attribute.replace(' ', "_")
}

fn left_alone_words(kind: NoteKind) -> &'static str {
    match kind {
        NoteKind::ChangedInTarget => "someone changed it in the target; the source did not change. It was left alone.",
        NoteKind::Conflict => "it changed in Entra and someone changed it in the target. It was left alone.",
        _ => "it differed when the record was adopted. It was left alone.",
    }
}

fn due(leaving: &Leaving, step: &Step) -> Timestamp {
    leaving.since.saturating_add(SignedDuration::from_hours(24 * i64::from(step.after_days))).unwrap_or(Timestamp::MAX)
}

pub(super) fn day(at: Timestamp) -> String {
    at.strftime("%Y-%m-%d").to_string()
}

#[cfg(test)]
#[path = "decide_tests.rs"]
mod tests;
