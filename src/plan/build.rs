//! Builds a plan from the three sides of every type: desired, current, last applied.
//!
//! First the keys of all types are matched, so that references can be resolved whatever the order; then each type is
//! walked once in key order. Records are read from disk one at a time. Deliberately does no I/O but through the inputs:
//! the same inputs give the same plan.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};

use jiff::{SignedDuration, Timestamp};

use super::agreed::{Agreement, StoredRow};
use super::change::{Action, Adoption, Change, Counts, Note, NoteKind, Refusal, Row};
use super::datum::{Datum, Set};
use super::decide::{self, Case, Decision, Desired, Found, Source, Times, TypePolicy};
use super::limits::{self, Approved, CollectionBase, Tally, TypeBase};
use super::matching::{
    CurrentSide, DesiredKey, DesiredSide, DesiredState, Match, Matched, OwnedKey, Ownership, match_up, several_records,
};
use super::order::{self, Position};
use super::policy::Limits;
use super::{Header, Plan, TypeSummary};
use crate::error::Result;
use crate::record::{Coverage, Key, Unknown};
use crate::spill::{Place, SpillWriter};

/// How long the same content is not sent again that the target refused.
const REFUSED_FOR: SignedDuration = SignedDuration::from_hours(7 * 24);

/// The ledger's rows, as the plan walks them.
pub trait Rows {
    /// Every row of the type, in key order.
    fn each(&self, ty: &str, each: &mut dyn FnMut(Key, &dyn StoredRow) -> Result<()>) -> Result<()>;

    /// The same rows in the same order, no more of each than matching needs: with what the target calls the record.
    fn each_key(&self, ty: &str, each: &mut dyn FnMut(OwnedKey, &str) -> Result<()>) -> Result<()>;
}

/// What the source says about keys that are not desired.
pub trait States {
    /// The state of a key of that type; the row is what the ledger knows of it.
    fn state(&self, ty: &str, key: &Key, row: Option<&Row>) -> Result<Source>;
}

/// The three sides of one type.
pub struct TypeInput {
    pub policy: TypePolicy,
    pub desired: DesiredSide,
    pub current: CurrentSide,
    /// What refers to records of this type, of types that the job does not make: names, by the record's id; in words
    /// why that is not known.
    pub holders: Result<BTreeMap<String, Vec<String>>, String>,
    /// The target names a new record by its key attributes, so that its id is known beforehand.
    pub ids_are_keys: bool,
}

/// What a plan is built from besides the types.
pub struct Inputs<'a> {
    /// Header without types and limits; `id` is filled in by whoever saves or shows the plan.
    pub header: Header,
    pub times: Times,
    pub limits: &'a Limits,
    pub collections: Vec<CollectionBase>,
    pub approved: Approved,
    /// Types of the accepted scope that the job no longer names.
    pub orphans: Vec<limits::Orphan>,
    pub rows: &'a dyn Rows,
    pub states: &'a dyn States,
    /// What the target refused, by type and key: the same content is not sent again for a while.
    pub refused: &'a BTreeMap<(String, Key), Refusal>,
    /// Restricts the plan to these source keys: creates, adopts and updates only.
    pub only: Option<std::collections::BTreeSet<Key>>,
    /// Looks on; changes nothing.
    pub witness: Option<&'a Witness>,
}

/// Looks on while a plan is built: what was decided about some records, and on what grounds.
pub struct Witness {
    /// Whether it wants to hear of a key.
    pub wants: Box<dyn Fn(&Key) -> bool>,
    /// In the order of the walk.
    pub seen: RefCell<Vec<Decided>>,
}

/// What was decided about one record, with the three sides that it was decided on.
#[derive(Clone, Debug)]
pub struct Decided {
    /// The type, as an index into the plan's types.
    pub ty: usize,
    pub key: Key,
    /// References in it are target ids. None for a record of the target that nobody owns and nobody wants.
    pub source: Option<Source>,
    pub found: Found,
    pub row: Option<Row>,
    pub decision: Decision,
}

/// One type with its sides matched.
struct Joined {
    input: TypeInput,
    owned: Vec<OwnedKey>,
    matched: Matched,
    rank: usize,
    /// [`TypeInput::holders`], with records of the job's own types that nobody owns.
    holders: BTreeMap<String, Vec<String>>,
}

/// Builds the plan.
pub fn build(inputs: Inputs<'_>, types: Vec<TypeInput>) -> Result<Plan> {
    let ranks = order::ranks(&types.iter().map(|ty| &ty.policy.spec).collect::<Vec<_>>());
    let mut joined = Vec::with_capacity(types.len());
    for (input, rank) in types.into_iter().zip(ranks) {
        let (mut owned, mut named) = (Vec::new(), Vec::new());
        let by_id = input.current.by_id();
        inputs.rows.each_key(&input.policy.spec.name, &mut |key, target_id| {
            owned.push(key);
            named.push(by_id.get(&Key::parse(target_id)).copied());
            Ok(())
        })?;
        drop(by_id);
        let matched = match_up(&input.policy.spec, &input.desired, &input.current, &owned, named)?;
        joined.push(Joined { input, owned, matched, rank, holders: BTreeMap::new() });
    }
    let holders = holders(&joined)?;
    joined.iter_mut().zip(holders).for_each(|(ty, holders)| ty.holders = holders);
    let mut writer = Writer::new()?;
    let mut summaries = Vec::with_capacity(joined.len());
    let mut tallies = Vec::with_capacity(joined.len());
    for (index, ty) in joined.iter().enumerate() {
        let agreement = Agreement::of(&ty.input.policy)?;
        let spec = &ty.input.policy.spec;
        let refers_to_itself = spec.attributes.iter().any(|one| one.reference.as_ref() == Some(&spec.name));
        let walk = Walk { inputs: &inputs, all: &joined, ty, index, agreement, refers_to_itself };
        let (summary, tally) = walk.run(&mut writer)?;
        summaries.push(summary);
        tallies.push(tally);
    }
    let first_run = inputs.header.first_run;
    let sides = joined.iter().zip(&summaries).zip(&tallies);
    let bases: Vec<TypeBase<'_>> =
        sides.map(|((ty, summary), tally)| type_base(ty, summary, tally, first_run)).collect();
    let mut header = inputs.header.clone();
    header.limits = limits::check(inputs.limits, &bases, &inputs.collections, &inputs.approved);
    header.limits.extend(limits::orphaned(&inputs.orphans, &inputs.approved));
    drop(bases);
    header.types = summaries;
    writer.finish(header)
}

fn type_base<'a>(ty: &Joined, summary: &'a TypeSummary, tally: &'a Tally, first_run: bool) -> TypeBase<'a> {
    let there = ty.owned.iter().zip(&ty.matched.owned).filter(|(row, hit)| row.standing.counts() && hit.is_some());
    let owned_there = there.count() as u64;
    TypeBase {
        name: &summary.spec.name,
        links: summary.links,
        first: first_run || summary.owned == 0,
        job_ran: !first_run,
        owned: summary.owned,
        owned_there,
        there: summary.there,
        entra_ids: match first_run {
            true => ty.input.current.keys.iter().filter(|key| is_entra_id(key.target_key.as_ref())).count() as u64,
            false => 0,
        },
        edited: summary.counts.notes.get(&NoteKind::FilterEdit).copied().unwrap_or_default(),
        complete: summary.coverage.is_complete(),
        tally,
    }
}

/// For each type what refers to its records and belongs to nobody: what a leaver still holds.
fn holders(joined: &[Joined]) -> Result<Vec<BTreeMap<String, Vec<String>>>> {
    let mut holders: Vec<BTreeMap<String, Vec<String>>> =
        joined.iter().map(|ty| ty.input.holders.clone().unwrap_or_default()).collect();
    let place = |name: &String| joined.iter().position(|ty| ty.input.policy.spec.name == *name);
    for ty in joined.iter().filter(|ty| !ty.input.policy.links) {
        let spec = &ty.input.policy.spec;
        let refers: Vec<(usize, usize)> = spec
            .attributes
            .iter()
            .enumerate()
            .filter_map(|(at, attribute)| Some((at, place(attribute.reference.as_ref()?)?)))
            .collect();
        if refers.is_empty() {
            continue;
        }
        for index in &ty.matched.nobodys {
            let current = ty.input.current.records.get(ty.input.current.keys[*index as usize].place)?;
            for (at, to) in &refers {
                let ids: &[Box<str>] = match &current.values[*at] {
                    Datum::One(id) => std::slice::from_ref(id),
                    Datum::Set(set) => &set.items,
                    Datum::Empty | Datum::Unknown(_) => &[],
                };
                for id in ids {
                    holders[*to].entry(id.to_string()).or_default().push(format!("{} {}", spec.name, current.id));
                }
            }
        }
    }
    holders.iter_mut().flat_map(BTreeMap::values_mut).for_each(|names| names.sort());
    Ok(holders)
}

fn is_entra_id(key: Option<&Key>) -> bool {
    matches!(key, Some(Key::Guid(_) | Key::Pair(..) | Key::Assignment(_)))
}

/// Collects changes on disk with their positions in memory.
pub(super) struct Writer {
    changes: SpillWriter<Change>,
    order: Vec<(Position, u32, Place)>,
    notes: Vec<Note>,
}

impl Writer {
    pub(super) fn new() -> Result<Writer> {
        Ok(Writer { changes: SpillWriter::new()?, order: Vec::new(), notes: Vec::new() })
    }

    /// Writes one change that has no part in the order of references within its type.
    pub(super) fn push(&mut self, change: &Change, (index, links, rank): (usize, bool, usize), at: u32) -> Result<()> {
        let place = self.changes.push(change)?;
        self.order.push((order::position(change.action, links, rank, 0, at), index as u32, place));
        Ok(())
    }

    pub(super) fn tell(&mut self, notes: Vec<Note>) {
        self.notes.extend(notes);
    }

    pub(super) fn finish(mut self, header: Header) -> Result<Plan> {
        self.order.sort_unstable();
        let order = self.order.into_iter().map(|(_, ty, place)| (ty, place)).collect();
        self.notes.sort_by(|a, b| (a.kind, &a.ty, &a.key).cmp(&(b.kind, &b.ty, &b.key)));
        Ok(Plan::new(header, self.changes.finish()?, order, self.notes))
    }
}

/// Where a reference leads.
enum Target {
    Id(String),
    /// The source cannot say: what stands is kept.
    Unknown(Unknown),
    /// There is no such record, and why.
    Missing(String),
}

impl Joined {
    /// The target id that a source key has, or will have once the plan is applied.
    fn target_id(&self, key: &Key) -> Option<String> {
        let keys = &self.input.current.keys;
        if let Ok(row) = self.owned.binary_search_by(|owned| owned.key.cmp(key))
            && let Some(hit) = self.matched.owned[row]
        {
            return Some(keys[hit as usize].id.to_string());
        }
        let index = self.input.desired.keys.binary_search_by(|desired| desired.key.cmp(key)).ok()?;
        let desired = &self.input.desired.keys[index];
        match (&self.matched.desired[index], &desired.state) {
            (Match::There(hit), _) => Some(keys[*hit as usize].id.to_string()),
            (Match::Absent, DesiredState::Mapped(_)) if !self.stays_away(key) => {
                Some(match (&desired.target_key, self.input.ids_are_keys) {
                    (Some(target_key), true) => target_key.to_string(),
                    _ => format!("new:{key}"),
                })
            }
            _ => None,
        }
    }

    /// Desired and absent, but not created: declined, or deleted in the target.
    fn stays_away(&self, key: &Key) -> bool {
        let row = self.owned.binary_search_by(|owned| owned.key.cmp(key)).ok();
        let recreates =
            self.input.policy.mappings.iter().any(|mapping| mapping.recreate == super::policy::Recreate::Create);
        match row.map(|row| self.owned[row].standing) {
            Some(Ownership::Declined) => true,
            Some(Ownership::Owned | Ownership::DeletedInTarget) => !recreates,
            Some(Ownership::Retired) | None => false,
        }
    }
}

/// The walk over one type.
struct Walk<'a> {
    inputs: &'a Inputs<'a>,
    all: &'a [Joined],
    ty: &'a Joined,
    index: usize,
    agreement: Agreement<'a>,
    /// Records of the type may refer to others of it.
    refers_to_itself: bool,
}

/// What a walk collects.
#[derive(Default)]
struct Collected {
    counts: Counts,
    tally: Tally,
    /// By the adopt rule that found a record, the key first: how many are taken over, and how many collisions.
    adoption: BTreeMap<Option<u8>, (u64, u64)>,
    /// In key order, as the walk goes.
    decisions: Vec<(Place, Action)>,
    /// Decisions about records that refer to others of their type, ascending.
    referring: Vec<(u32, Key)>,
    /// Source keys that creates of this type refer to within it; with those that refer to none, where some may.
    refers: BTreeMap<Key, Vec<Key>>,
    /// Whose change gives up which value that no two records may have; by attribute and value.
    freed: HashMap<(usize, Datum), Key>,
    /// Whose change takes one.
    taken: Vec<(Key, (usize, Datum))>,
    notes: Vec<Note>,
}

impl Walk<'_> {
    fn run(&self, writer: &mut Writer) -> Result<(TypeSummary, Tally)> {
        let mut collected = Collected::default();
        let desired = &self.ty.input.desired.keys;
        let (mut next, mut row_index) = (0, 0);
        self.inputs.rows.each(&self.name(), &mut |key, row| {
            while desired.get(next).is_some_and(|entry| entry.key < key) {
                self.desired(next, None, writer, &mut collected)?;
                next += 1;
            }
            if desired.get(next).is_some_and(|entry| entry.key == key) {
                self.desired(next, Some(row), writer, &mut collected)?;
                next += 1;
            } else if self.included(&key) {
                self.undesired(&key, &row.read()?, row_index, writer, &mut collected)?;
            }
            row_index += 1;
            Ok(())
        })?;
        for index in next..desired.len() {
            self.desired(index, None, writer, &mut collected)?;
        }
        let told = self.ty.input.desired.notes.iter().filter(|note| self.included(&note.key));
        collected.notes.extend(told.cloned());
        self.nobodys(&mut collected)?;
        self.place(writer, &mut collected);
        for note in &collected.notes {
            *collected.counts.notes.entry(note.kind).or_default() += 1;
        }
        writer.notes.append(&mut collected.notes);
        collected.counts.adoption = self.adoption(&collected);
        let policy = &self.ty.input.policy;
        let summary = TypeSummary {
            spec: policy.spec.clone(),
            mappings: policy.mappings.iter().map(|mapping| mapping.name.clone()).collect(),
            coverage: self.ty.input.current.coverage.clone(),
            links: policy.links,
            owned: self.ty.owned.iter().filter(|owned| owned.standing.counts()).count() as u64,
            there: self.ty.input.current.keys.len() as u64,
            counts: collected.counts,
        };
        Ok((summary, collected.tally))
    }

    fn name(&self) -> String {
        self.ty.input.policy.spec.name.clone()
    }

    fn included(&self, key: &Key) -> bool {
        self.inputs.only.as_ref().is_none_or(|only| only.contains(key))
    }

    fn desired(
        &self,
        index: usize,
        row: Option<&dyn StoredRow>,
        writer: &mut Writer,
        collected: &mut Collected,
    ) -> Result<()> {
        let entry = &self.ty.input.desired.keys[index];
        if !self.included(&entry.key) {
            return Ok(());
        }
        if let Some(row) = row
            && self.is_agreed(index, row)?
        {
            collected.counts.unchanged += 1;
            return Ok(());
        }
        let row = row.map(StoredRow::read).transpose()?;
        let mut notes = Vec::new();
        let source = match &entry.state {
            DesiredState::Mapped(place) => {
                let mut record = self.ty.input.desired.records.get(*place)?;
                self.resolve(entry, &mut record, &mut notes, collected)?;
                Source::Desired(record)
            }
            DesiredState::Rejected { reason, .. } => Source::Rejected(reason.to_string()),
            // Matching has made it a collision already; the state only has to be a desired one.
            DesiredState::Twice => {
                Source::Desired(Desired { mapping: 0, label: entry.key.to_string(), values: vec![] })
            }
        };
        let found = self.found(&self.ty.matched.desired[index])?;
        let mut decision = self.decide(&entry.key, row.as_ref(), source, found, notes);
        if let DesiredState::Rejected { label, .. } = &entry.state {
            let mapped = decision.notes.iter_mut().filter(|note| note.kind == NoteKind::Rejected);
            mapped.for_each(|note| note.label = label.to_string());
        }
        self.count_adoption(index, &decision, collected);
        self.keep(&entry.key, decision, writer, collected)
    }

    /// Whether nothing is to be decided, because all sides agree and nobody wants to know why.
    fn is_agreed(&self, index: usize, row: &dyn StoredRow) -> Result<bool> {
        let input = &self.ty.input;
        let entry = &input.desired.keys[index];
        let (DesiredState::Mapped(place), Match::There(hit)) = (&entry.state, &self.ty.matched.desired[index]) else {
            return Ok(false);
        };
        if self.inputs.witness.is_some_and(|witness| (witness.wants)(&entry.key)) {
            return Ok(false);
        }
        let Some(row) = row.settled() else { return Ok(false) };
        let mut refer = |at: usize, text: &str| self.refer_text(at, text);
        input.desired.records.with_line(*place, |desired| {
            let current = input.current.keys[*hit as usize].place;
            input
                .current
                .records
                .with_line(current, |current| self.agreement.is_seen(desired, current, &row, &mut refer))
        })
    }

    /// The references of an attribute, as JSON of source keys, as JSON of target ids; `None` where one has no id.
    fn refer_text(&self, at: usize, text: &str) -> Result<Option<String>> {
        let (Some(to), Ok(value)) = (&self.ty.input.policy.spec.attributes[at].reference, serde_json::from_str(text))
        else {
            return Ok(None);
        };
        Ok(self.ids(to, &value).and_then(|ids| serde_json::to_string(&ids).ok()))
    }

    /// The target ids of source keys; `None` where one of them has none, or is not certain.
    fn ids(&self, to: &str, keys: &Datum) -> Option<Datum> {
        let ty = self.all.iter().find(|ty| ty.input.policy.spec.name == to)?;
        let id = |key: &str| ty.target_id(&Key::parse(key)).map(String::into_boxed_str);
        match keys {
            Datum::Empty => Some(Datum::Empty),
            Datum::One(key) => id(key).map(Datum::One),
            Datum::Set(set) if set.is_complete() => {
                Some(Datum::Set(Set::known(set.items.iter().map(|key| id(key)).collect::<Option<Vec<_>>>()?)))
            }
            Datum::Set(_) | Datum::Unknown(_) => None,
        }
    }

    /// Decides about one record, before the eyes of whoever wants to know. `notes` come before those of the decision.
    fn decide(&self, key: &Key, row: Option<&Row>, source: Source, found: Found, mut notes: Vec<Note>) -> Decision {
        let witness = self.inputs.witness.filter(|witness| (witness.wants)(key));
        let grounds = witness.map(|witness| (witness, source.clone(), found.clone()));
        let mut decision = decide::decide(&self.case(key, row), source, found);
        notes.append(&mut decision.notes);
        decision.notes = notes;
        if let Some((witness, source, found)) = grounds {
            witness.seen.borrow_mut().push(Decided {
                ty: self.index,
                key: key.clone(),
                source: Some(source),
                found,
                row: row.cloned(),
                decision: decision.clone(),
            });
        }
        decision
    }

    /// Counts what a rule found for a record that the ledger does not know.
    fn count_adoption(&self, index: usize, decision: &Decision, collected: &mut Collected) {
        let found_by = &self.ty.matched.found_by;
        let Ok(at) = found_by.binary_search_by_key(&(index as u32), |(desired, _)| *desired) else { return };
        let refused = |note: &Note| matches!(note.kind, NoteKind::Collision | NoteKind::Returner);
        let ways = collected.adoption.entry(found_by[at].1).or_default();
        ways.0 += u64::from(decision.change.as_ref().is_some_and(|change| change.action == Action::Adopt));
        ways.1 += u64::from(decision.notes.iter().any(refused));
    }

    /// The totals per rule, in the order in which they are tried.
    fn adoption(&self, collected: &Collected) -> Vec<Adoption> {
        let spec = &self.ty.input.policy.spec;
        let named = |rule: u8| spec.attributes[spec.adopt[usize::from(rule)]].name.clone();
        let ways = collected.adoption.iter().filter(|(_, (adopted, collisions))| adopted + collisions > 0);
        ways.map(|(rule, (adopted, collisions))| Adoption {
            by: rule.map(named),
            adopted: *adopted,
            collisions: *collisions,
        })
        .collect()
    }

    fn undesired(
        &self,
        key: &Key,
        row: &Row,
        row_index: usize,
        writer: &mut Writer,
        collected: &mut Collected,
    ) -> Result<()> {
        let source = self.inputs.states.state(&self.ty.input.policy.spec.name, key, Some(row))?;
        let found = match self.ty.matched.owned[row_index] {
            Some(hit) if self.ty.matched.twins.contains(&hit) => {
                Found::Collision(several_records(&format!("of {}", row.label)))
            }
            Some(hit) => self.found(&Match::There(hit))?,
            None => self.found(&Match::Absent)?,
        };
        let decision = self.decide(key, Some(row), source, found, Vec::new());
        self.keep(key, decision, writer, collected)
    }

    fn case<'c>(&'c self, key: &'c Key, row: Option<&'c Row>) -> Case<'c> {
        let holds = row.and_then(|row| self.ty.holders.get(&row.target_id));
        let holds = match (holds.map_or(&[][..], Vec::as_slice), &self.ty.input.holders) {
            ([], Err(why)) => Err(why.as_str()),
            (known, _) => Ok(known),
        };
        Case { policy: &self.ty.input.policy, times: self.inputs.times, key, row, holds }
    }

    fn found(&self, matched: &Match) -> Result<Found> {
        let current = &self.ty.input.current;
        Ok(match matched {
            Match::There(hit) => Found::There(current.records.get(current.keys[*hit as usize].place)?),
            Match::Absent if current.coverage.is_complete() => Found::Absent,
            Match::Absent => Found::NotRead,
            Match::Collision(words) => Found::Collision(words.clone()),
            Match::OwnedByOther { current: hit, other } => {
                let target_id = current.keys[*hit as usize].id.to_string();
                match self.inputs.states.state(&self.name(), other, None)? {
                    Source::Gone(_) | Source::NotFound => Found::Returner { other: other.clone(), target_id },
                    _ => Found::Collision(format!(
                        "matches record {target_id}, which is owned under another key, {other}; nothing is written."
                    )),
                }
            }
        })
    }

    /// Counts, and writes the change to disk.
    fn keep(&self, key: &Key, decision: Decision, writer: &mut Writer, collected: &mut Collected) -> Result<()> {
        let counts = &mut collected.counts;
        counts.unchanged += u64::from(decision.unchanged);
        counts.declined += u64::from(decision.declined);
        counts.elements_removed += decision.elements_removed;
        if let Some(reason) = decision.unknown {
            *counts.unknown.entry(reason.to_string()).or_default() += 1;
        }
        collected.notes.extend(decision.notes);
        if decision.change.as_ref().is_none_or(|change| change.action != Action::Create) {
            collected.refers.remove(key);
        }
        let Some(change) = decision.change else { return Ok(()) };
        if let Some(note) = self.refused_lately(&change) {
            collected.refers.remove(key);
            collected.notes.push(note);
            return Ok(());
        }
        // A trial on a few never removes.
        let removal = matches!(change.action, Action::Retire | Action::Delete | Action::Forget | Action::Settle);
        if self.inputs.only.is_some() && (removal || change.takes_away()) {
            return Ok(());
        }
        *counts.changes.entry(change.action).or_default() += 1;
        collected.tally.add(&change, self.ty.input.policy.links, &self.inputs.approved);
        if change.action == Action::Create && self.refers_to_itself {
            // Who refers to nobody is referred to all the same, and comes first.
            collected.refers.entry(key.clone()).or_default();
        }
        let place = writer.changes.push(&change)?;
        if self.moves(key, &change, collected) || collected.refers.contains_key(key) {
            collected.referring.push((collected.decisions.len() as u32, key.clone()));
        }
        collected.decisions.push((place, change.action));
        Ok(())
    }

    /// Notes what a change gives up and takes of what no two records may have, and says whether it does either.
    fn moves(&self, key: &Key, change: &Change, collected: &mut Collected) -> bool {
        let input = &self.ty.input;
        // Of a target that holds nothing, nothing becomes free.
        if !change.action.writes() || input.current.keys.is_empty() {
            return false;
        }
        let mut moves = false;
        for (at, written) in input.policy.spec.unique(change) {
            if !written.before.is_empty() {
                collected.freed.insert((at, written.before.clone()), key.clone());
            }
            if !written.after.is_empty() {
                collected.taken.push((key.clone(), (at, written.after.clone())));
            }
            moves = true;
        }
        moves
    }

    /// What is told instead of a change that the target refused in this very form, a few days long.
    fn refused_lately(&self, change: &Change) -> Option<Note> {
        if self.inputs.refused.is_empty() || !change.action.writes() {
            return None;
        }
        let refusal = self.inputs.refused.get(&(change.ty.clone(), change.key.clone()))?;
        let until = refusal.at.saturating_add(REFUSED_FOR).unwrap_or(Timestamp::MAX);
        if self.inputs.times.as_of >= until || refusal.content != change.content() {
            return None;
        }
        let words = format!(
            "the target refused its {} on {}: {}. The same is not sent again before {}, unless with --retry-rejected.",
            change.action.word(),
            decide::day(refusal.at),
            refusal.reason,
            decide::day(until)
        );
        Some(Note::new(NoteKind::Refused, &change.ty, &change.key, &change.label, words))
    }

    fn place(&self, writer: &mut Writer, collected: &mut Collected) {
        // Who takes a value comes after whoever gives it up; a swap is cut like any cycle.
        let mut after = std::mem::take(&mut collected.refers);
        for (key, value) in &collected.taken {
            if let Some(other) = collected.freed.get(value) {
                after.entry(other.clone()).or_default();
                after.entry(key.clone()).or_default().push(other.clone());
            }
        }
        let levels = order::levels(&after);
        let mut referring = collected.referring.drain(..).peekable();
        for (at, (place, action)) in (0u32..).zip(collected.decisions.drain(..)) {
            let key = referring.next_if(|(other, _)| *other == at);
            let level = key.and_then(|(_, key)| levels.get(&key).copied()).unwrap_or_default();
            let position = order::position(action, self.ty.input.policy.links, self.ty.rank, level, at);
            writer.order.push((position, self.index as u32, place));
        }
    }

    /// Records nobody owns: counted; those that carry an Entra id are named, unless a person declined them.
    fn nobodys(&self, collected: &mut Collected) -> Result<()> {
        for index in &self.ty.matched.nobodys {
            let current = &self.ty.input.current.keys[*index as usize];
            collected.counts.not_ours += 1;
            if let (Some(witness), Some(key)) = (self.inputs.witness, &current.target_key)
                && (witness.wants)(key)
            {
                witness.seen.borrow_mut().push(Decided {
                    ty: self.index,
                    key: key.clone(),
                    source: None,
                    found: self.found(&Match::There(*index))?,
                    row: None,
                    decision: Decision::default(),
                });
            }
            let owned = &self.ty.owned;
            let row =
                |key: &Key| owned.binary_search_by(|owned| owned.key.cmp(key)).ok().map(|row| owned[row].standing);
            if let Some(key) = current.target_key.as_ref().filter(|key| is_entra_id(Some(*key)))
                && self.inputs.only.is_none()
                && row(key) != Some(Ownership::Declined)
            {
                let words = "carries an Entra id, but this job does not own it: it is left alone.".to_owned();
                let label = current.id.to_string();
                collected.notes.push(Note::new(NoteKind::Stranger, &self.name(), key, &label, words));
            }
        }
        Ok(())
    }

    /// Turns references, which are source keys, into target ids.
    fn resolve(
        &self,
        entry: &DesiredKey,
        record: &mut Desired,
        notes: &mut Vec<Note>,
        collected: &mut Collected,
    ) -> Result<()> {
        for (index, spec) in self.ty.input.policy.spec.attributes.iter().enumerate() {
            let (Some(to), Some(value)) = (&spec.reference, &mut record.values[index]) else { continue };
            let within = *to == self.ty.input.policy.spec.name;
            let mut left_out = |key: &str, words: String| {
                let words = format!("{} leaves out {key}: {words}.", spec.name);
                notes.push(Note::new(NoteKind::ReferenceLeftOut, &self.name(), &entry.key, &record.label, words));
            };
            match value {
                Datum::One(key) => {
                    if within {
                        collected.refers.entry(entry.key.clone()).or_default().push(Key::parse(key));
                    }
                    *value = match self.refer(to, key)? {
                        Target::Id(id) => Datum::text(id),
                        Target::Unknown(reason) => Datum::Unknown(reason),
                        Target::Missing(words) => {
                            left_out(key, words);
                            Datum::Empty
                        }
                    };
                }
                Datum::Set(set) => {
                    let (mut items, mut maybe, mut rest) = (Vec::new(), Vec::new(), set.rest().cloned());
                    for (key, certain) in
                        set.items.iter().map(|key| (key, true)).chain(set.maybe().iter().map(|key| (key, false)))
                    {
                        if within && certain {
                            collected.refers.entry(entry.key.clone()).or_default().push(Key::parse(key));
                        }
                        match self.refer(to, key)? {
                            Target::Id(id) if certain => items.push(id.into()),
                            Target::Id(id) => maybe.push(id.into()),
                            // Which element of the target it would be cannot be said: nothing may be taken out.
                            Target::Unknown(reason) => rest = rest.or(Some(reason)),
                            Target::Missing(words) if certain => left_out(key, words),
                            Target::Missing(_) => {}
                        }
                    }
                    *set = Set::new(items, maybe, rest);
                }
                Datum::Empty | Datum::Unknown(_) => {}
            }
        }
        Ok(())
    }

    fn refer(&self, to: &str, key: &str) -> Result<Target> {
        let key = Key::parse(key);
        let Some(ty) = self.all.iter().find(|ty| ty.input.policy.spec.name == to) else {
            return Ok(Target::Missing(format!("{to} is not part of this job")));
        };
        if let Some(id) = ty.target_id(&key) {
            return Ok(Target::Id(id));
        }
        if ty.input.current.coverage != Coverage::Complete {
            return Ok(Target::Unknown(Unknown::new(format!("{to} was not read completely"))));
        }
        Ok(match self.inputs.states.state(to, &key, None)? {
            Source::Unknown(reason) => Target::Unknown(reason),
            Source::NotFound => Target::Unknown(Unknown::new("not found by id; a second run decides")),
            Source::Out(cause) | Source::Gone(cause) => Target::Missing(cause.words),
            // Wanted or waiting, but not there: nobody has proved that the reference should go.
            Source::OutEdited(words) => Target::Unknown(Unknown::new(words)),
            Source::Rejected(reason) => Target::Unknown(Unknown::new(format!("it could not be mapped: {reason}"))),
            Source::Desired(_) => Target::Unknown(Unknown::new("it is wanted but not there")),
        })
    }
}

/// Finds the desired entries that two mappings of one type want, in a list sorted by key: one entry stays, marked.
pub fn merge_twice(keys: Vec<DesiredKey>) -> Vec<DesiredKey> {
    let mut merged: Vec<DesiredKey> = Vec::with_capacity(keys.len());
    for entry in keys {
        match merged.last_mut() {
            Some(last) if last.key == entry.key => last.state = DesiredState::Twice,
            _ => merged.push(entry),
        }
    }
    merged
}

#[cfg(test)]
#[path = "build_tests.rs"]
mod tests;
