//! The reverse of one run, as a plan like any other: shown, held, saved and applied in the same way.
//!
//! Only what still stands as that run left it is taken back; whatever a later run or a person changed is listed
//! (`ARCHITECTURE.md`, "Undo"). What a value was settled with stays, so that the next run does not write the same thing
//! again: only a new change in Entra does. Hides which action reverses which. Deliberately asks the source nothing.

use std::collections::{BTreeSet, HashMap, HashSet};

use super::build::{Rows, Writer};
use super::change::{
    Action, AttributeChange, Cause, Counts, Current, Difference, Held, NoteKind, Origin, Row, State, Written,
    WrittenValue,
};
use super::datum::{Datum, Set};
use super::decide::{Case, Decision, Times, TypePolicy};
use super::limits::{self, Approved, Tally, TypeBase};
use super::matching::{CurrentSide, target_key};
use super::order;
use super::policy::{CauseKind, Limits, StepAction};
use super::{Header, Plan, TypeSummary};
use crate::error::Result;
use crate::record::Key;
use crate::spill::Place;

/// What a run did to one record.
#[derive(Clone, PartialEq, Debug)]
pub struct Done {
    pub written: Written,
    /// The ledger's row before a delete.
    pub before: Option<Row>,
}

/// What is remembered of the run that is taken back.
pub trait History {
    /// What it did to the records of the type, in key order.
    fn each(&self, ty: &str, each: &mut dyn FnMut(Key, Done) -> Result<()>) -> Result<()>;

    /// What the ledger holds of a record now.
    fn row(&self, ty: &str, key: &Key) -> Result<Option<Row>>;

    /// The records of the type that later runs wrote.
    fn written_since(&self, ty: &str) -> Result<BTreeSet<Key>>;
}

/// What the plan is built from.
pub struct Inputs<'a> {
    /// Header without types and limits.
    pub header: Header,
    pub times: Times,
    pub limits: &'a Limits,
    pub approved: Approved,
    pub rows: &'a dyn Rows,
    pub history: &'a dyn History,
    /// Names the run in causes.
    pub run: String,
}

/// Plans the reverse of a run. `types` are those it wrote, with what the target holds of them.
pub fn reverse(inputs: Inputs<'_>, types: &[(TypePolicy, CurrentSide)]) -> Result<Plan> {
    let ranks = order::ranks(&types.iter().map(|(policy, _)| &policy.spec).collect::<Vec<_>>());
    let ids: HashMap<&str, HashSet<String>> = types
        .iter()
        .map(|(policy, current)| {
            (policy.spec.name.as_str(), current.keys.iter().map(|key| key.id.to_string()).collect())
        })
        .collect();
    let mut writer = Writer::new()?;
    let (mut summaries, mut tallies, mut there) = (Vec::new(), Vec::new(), Vec::new());
    for (index, ((policy, current), rank)) in types.iter().zip(ranks).enumerate() {
        let walk = Walk { inputs: &inputs, policy, current, ids: &ids, place: (index, policy.links, rank) };
        let (summary, tally, owned_there) = walk.run(&mut writer)?;
        summaries.push(summary);
        tallies.push(tally);
        there.push(owned_there);
    }
    let sides = summaries.iter().zip(&tallies).zip(&there);
    let bases: Vec<TypeBase<'_>> = sides
        .map(|((summary, tally), owned_there)| TypeBase {
            name: &summary.spec.name,
            links: summary.links,
            first: false,
            job_ran: true,
            owned: summary.owned,
            owned_there: *owned_there,
            there: summary.there,
            entra_ids: 0,
            edited: 0,
            complete: summary.coverage.is_complete(),
            tally,
        })
        .collect();
    let mut header = Header { undoes: Some(inputs.run.clone()), ..inputs.header.clone() };
    header.limits = limits::check(inputs.limits, &bases, &[], &inputs.approved);
    drop(bases);
    header.types = summaries;
    writer.finish(header)
}

/// The walk over one type.
struct Walk<'a> {
    inputs: &'a Inputs<'a>,
    policy: &'a TypePolicy,
    current: &'a CurrentSide,
    /// What the target calls its records, by type.
    ids: &'a HashMap<&'a str, HashSet<String>>,
    /// Index, links and rank of the type.
    place: (usize, bool, usize),
}

impl Walk<'_> {
    fn run(&self, writer: &mut Writer) -> Result<(TypeSummary, Tally, u64)> {
        let name = &self.policy.spec.name;
        let places: HashMap<String, Place> =
            self.current.keys.iter().map(|key| (key.id.to_string(), key.place)).collect();
        let keys: HashSet<&Key> = self.current.keys.iter().filter_map(|key| key.target_key.as_ref()).collect();
        let (mut owned, mut owned_there) = (0, 0);
        self.inputs.rows.each_key(name, &mut |row, target_id| {
            owned += u64::from(row.standing.counts());
            owned_there += u64::from(row.standing.counts() && places.contains_key(target_id));
            Ok(())
        })?;
        let since = self.inputs.history.written_since(name)?;
        let (mut counts, mut tally, mut at) = (Counts::default(), Tally::default(), 0);
        self.inputs.history.each(name, &mut |key, done| {
            let row = self.inputs.history.row(name, &key)?;
            let place = row.as_ref().and_then(|row| places.get(&row.target_id));
            let current = place.map(|place| self.current.records.get(*place)).transpose()?;
            let case = Case { policy: self.policy, times: self.inputs.times, key: &key, row: row.as_ref(), holds: &[] };
            let about = About {
                run: &self.inputs.run,
                later: since.contains(&key),
                key_taken: done.before.as_ref().is_some_and(|before| self.key_is_taken(before, &keys)),
                is_there: &|ty, id| self.ids.get(ty).is_none_or(|ids| ids.contains(id)),
            };
            let decision = undo(&case, &done, current.as_ref(), &about);
            for note in &decision.notes {
                *counts.notes.entry(note.kind).or_default() += 1;
            }
            counts.elements_removed += decision.elements_removed;
            writer.tell(decision.notes);
            if let Some(change) = decision.change {
                *counts.changes.entry(change.action).or_default() += 1;
                tally.add(&change, self.policy.links, &self.inputs.approved);
                writer.push(&change, self.place, at)?;
                at += 1;
            }
            Ok(())
        })?;
        let summary = TypeSummary {
            spec: self.policy.spec.clone(),
            mappings: self.policy.mappings.iter().map(|mapping| mapping.name.clone()).collect(),
            coverage: self.current.coverage.clone(),
            links: self.policy.links,
            owned,
            there: self.current.keys.len() as u64,
            counts,
        };
        Ok((summary, tally, owned_there))
    }

    /// Whether another record has the key of the one that was deleted.
    fn key_is_taken(&self, before: &Row, keys: &HashSet<&Key>) -> bool {
        let spec = &self.policy.spec;
        let value = |at: usize| before.values.get(&spec.attributes[at].name).map(|held| &held.applied);
        target_key(spec, value).is_some_and(|key| keys.contains(&key))
    }
}

/// What is known around the record.
struct About<'a> {
    run: &'a str,
    /// A later run wrote it too.
    later: bool,
    /// Of a deleted record: another one has its key by now.
    key_taken: bool,
    /// Whether a type has a record of that id; true for types that are not looked at.
    is_there: &'a dyn Fn(&str, &str) -> bool,
}

/// How one record is taken back.
fn undo(case: &Case<'_>, done: &Done, current: Option<&Current>, about: &About<'_>) -> Decision {
    let mut decision = match (done.written.action, case.row, current) {
        (Action::Delete, row, _) => undo_delete(case, done, row, about),
        (_, None, _) => not_undone(case, "this job does not own it any more"),
        (_, Some(row), _) if !row.state.is_owned() => not_undone(case, "this job does not own it any more"),
        (_, Some(_), None) => not_undone(case, "it is no longer there"),
        (Action::Create, Some(row), Some(current)) => undo_create(case, row, current, about),
        (_, Some(row), Some(current)) => undo_values(case, done, row, current, about),
    };
    if let (Some(change), Some(current)) = (&mut decision.change, current)
        && change.action.writes()
    {
        change.based_on = Some(current.fingerprint());
    }
    decision
}

fn not_undone(case: &Case<'_>, why: &str) -> Decision {
    let label = case.row.map(|row| row.label.clone()).unwrap_or_default();
    case.telling(NoteKind::NotUndone, &label, format!("{why}: it is not taken back."))
}

fn cause(about: &About<'_>) -> Option<Cause> {
    Some(Cause { kind: CauseKind::Undone, words: format!("run {} is taken back", about.run) })
}

/// The ladder's first step, at once; from then on the record is nobody's business but a person's.
fn undo_create(case: &Case<'_>, row: &Row, current: &Current, about: &About<'_>) -> Decision {
    if about.later {
        return not_undone(case, "a later run wrote it too");
    }
    let edited =
        case.policy.spec.attributes.iter().enumerate().find(|(index, spec)| {
            row.values.get(&spec.name).is_some_and(|held| held.applied != current.values[*index])
        });
    if let Some((_, spec)) = edited {
        return not_undone(case, &format!("someone changed {} since", spec.name));
    }
    let declined = Row { state: State::Declined, values: Default::default(), ..row.clone() };
    let step = case.removal(row).ladder(CauseKind::Undone).first().map(|step| &step.action);
    let mut change = match step {
        Some(StepAction::Delete) => case.change(Action::Delete, &row.label, Some(current.id.clone())),
        Some(StepAction::Flag(flags)) => {
            let mut change = case.change(Action::Retire, &row.label, Some(current.id.clone()));
            change.attributes = case.flag(flags, current, &mut Default::default());
            if change.attributes.is_empty() {
                return Decision { change: Some(case.settle(declined)), ..Decision::default() };
            }
            change
        }
        None => {
            let words = "no removal is configured: it stays, and is declined from now on.";
            let told = case.telling(NoteKind::Kept, &row.label, words.into());
            return Decision { change: Some(case.settle(declined)), ..told };
        }
    };
    change.cause = cause(about);
    change.ledger = Some(declined);
    Decision { change: Some(change), ..Decision::default() }
}

/// Values go back to what stood before, where they still stand as they were written.
fn undo_values(case: &Case<'_>, done: &Done, row: &Row, current: &Current, about: &About<'_>) -> Decision {
    let action = done.written.action;
    let mut decision = Decision::default();
    let mut change = case.change(Action::Update, &row.label, Some(current.id.clone()));
    let mut after = row.clone();
    match action {
        Action::Retire => after.state = State::Pinned,
        Action::Adopt => after.state = State::Declined,
        _ => {}
    }
    for value in &done.written.values {
        let Some(index) = case.policy.spec.attributes.iter().position(|spec| spec.name == value.name) else {
            decision.notes.extend(not_undone(case, &format!("the job no longer knows {}", value.name)).notes);
            continue;
        };
        let now = &current.values[index];
        let empties_key = case.policy.spec.key.contains(&index) && value.before.is_empty();
        match back(value, now) {
            Back::Stands => {}
            // A row without its key could not be found again.
            Back::Write(_) if empties_key => {}
            Back::Write(restored) => {
                if let Some(held) = after.values.get_mut(&value.name) {
                    let applied = back(value, &held.applied);
                    held.applied = if let Back::Write(applied) = applied { applied } else { restored.clone() };
                }
                let name = value.name.clone();
                change.attributes.push(AttributeChange {
                    name,
                    before: now.clone(),
                    after: restored,
                    ..AttributeChange::default()
                });
            }
            Back::Changed => {
                // What Entra said last, as far as it is remembered.
                let settled = row.values.get(&value.name).map(|held| held.settled.clone());
                let difference = Difference {
                    name: value.name.clone(),
                    desired: settled.unwrap_or_else(|| value.after.clone()),
                    current: now.clone(),
                    applied: Some(value.after.clone()),
                    hidden: false,
                };
                let words = format!("{} was changed since: it is not taken back.", value.name);
                let mut note = case.note(NoteKind::NotUndone, words);
                note.label.clone_from(&row.label);
                note.attribute = Some(difference);
                decision.notes.push(note);
            }
        }
    }
    if after.state == State::Declined {
        after.values.clear();
    }
    decision.elements_removed = change.elements_removed().count() as u64;
    decision.change = match change.attributes.is_empty() {
        false => {
            change.cause = cause(about);
            change.ledger = Some(after);
            Some(change)
        }
        // What could be taken back of an adoption or a retirement is the ledger's alone.
        true if after != *row && decision.notes.is_empty() => Some(case.settle(after)),
        true => None,
    };
    decision
}

/// How a value goes back.
enum Back {
    /// It stands as before already.
    Stands,
    Write(Datum),
    /// It is neither what was written nor what stood before.
    Changed,
}

/// Sets go back element by element: what was added and is there goes, what was taken out and is not there comes back.
fn back(value: &WrittenValue, now: &Datum) -> Back {
    if let (Some(before), Some(after), Some(current)) = (elements(&value.before), elements(&value.after), elements(now))
    {
        let kept = current.iter().filter(|item| before.contains(*item) || !after.contains(*item));
        let returned = before.iter().filter(|item| !after.contains(*item));
        let result = Set::known(kept.chain(returned).cloned().collect::<BTreeSet<Box<str>>>());
        let same = result.items.len() == current.len() && current.iter().all(|item| result.items.contains(item));
        return if same { Back::Stands } else { Back::Write(Datum::Set(result)) };
    }
    match now {
        now if *now == value.before || !value.before.is_known() => Back::Stands,
        now if *now == value.after => Back::Write(value.before.clone()),
        _ => Back::Changed,
    }
}

/// The elements of a set; `None` for a single value and for what is not wholly known. An empty value beside a set is
/// a set without elements.
fn elements(value: &Datum) -> Option<BTreeSet<Box<str>>> {
    match value {
        Datum::Set(set) if set.is_complete() => Some(set.items.iter().cloned().collect()),
        _ => None,
    }
}

/// Created anew with the values it had, under a new id, and pinned: else the ladder would delete it again.
fn undo_delete(case: &Case<'_>, done: &Done, row: Option<&Row>, about: &About<'_>) -> Decision {
    let Some(before) = &done.before else { return not_undone(case, "what it held is not known") };
    let label = &before.label;
    let refused = |why: &str| case.telling(NoteKind::NotUndone, label, format!("{why}: it is not created anew."));
    if row.is_some_and(|row| row.state.is_owned()) {
        return refused("this job owns a record for it again");
    }
    if about.key_taken {
        return refused("another record has its key by now");
    }
    let mut decision = Decision::default();
    let mut change = case.change(Action::Create, label, None);
    let mut values = std::collections::BTreeMap::new();
    let flags = match &before.state {
        State::Retired(leaving) => leaving.before.clone(),
        _ => Default::default(),
    };
    for spec in &case.policy.spec.attributes {
        let flag = flags.get(&spec.name).map(|(_, flag)| flag.clone());
        let held = before.values.get(&spec.name);
        let Some(mut after) = flag.or_else(|| held.map(|held| held.applied.clone())) else { continue };
        if let Some(ty) = &spec.reference {
            after = without_missing(
                after,
                |id| (about.is_there)(ty, id),
                |id| {
                    let words = format!("{} leaves out {id}, which is no longer there.", spec.name);
                    let note = case.note(NoteKind::ReferenceLeftOut, words);
                    decision.notes.push(super::change::Note { label: label.clone(), ..note });
                },
            );
        }
        if let Some(held) = held {
            values.insert(spec.name.clone(), Held { applied: after.clone(), settled: held.settled.clone() });
        }
        if !after.is_empty() {
            change.attributes.push(AttributeChange { name: spec.name.clone(), after, ..AttributeChange::default() });
        }
    }
    change.cause = cause(about);
    change.ledger = Some(Row {
        state: State::Pinned,
        origin: Origin::Created,
        target_id: String::new(),
        values,
        missing_since: None,
        ..before.clone()
    });
    decision.change = Some(change);
    decision
}

/// A reference, without what is not there any more.
fn without_missing(value: Datum, is_there: impl Fn(&str) -> bool, mut tell: impl FnMut(&str)) -> Datum {
    match value {
        Datum::One(id) if !is_there(&id) => {
            tell(&id);
            Datum::Empty
        }
        Datum::Set(set) => {
            let (kept, gone): (Vec<Box<str>>, Vec<Box<str>>) = set.items.into_iter().partition(|id| is_there(id));
            gone.iter().for_each(|id| tell(id));
            Datum::Set(Set::known(kept))
        }
        value => value,
    }
}

#[cfg(test)]
#[path = "undo_tests.rs"]
mod tests;
