//! Which records are in scope, and what is known of those that are not: the source state of every key.
//!
//! Hides how clauses are judged, how pairs and assignments take the least certain state of their ends, and how an
//! edited scope is told from changed data. Deliberately knows no target and decides no change.

mod depend;
mod rule;

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::rc::Rc;

use jiff::Timestamp;

use self::depend::{container, is_looked_up, member_homes};
pub use self::depend::{ends, missing};
use self::rule::{DISABLED, NOT_TRUE, Rule, UNTIL_EDITED, left_out_by, told};
pub use self::rule::{Effect, Opinion, shared_clauses};
use crate::directory::Directory;
use crate::distinct::Values;
use crate::error::Result;
use crate::expr::Navigate;
use crate::job::{self, Job};
use crate::mapping::{Distinct, Each, Mapping, each};
use crate::plan::LimitName;
use crate::plan::build::States;
use crate::plan::change::{Cause, Row};
use crate::plan::decide::{Desired, Source};
use crate::plan::limits::Approved;
use crate::plan::policy::CauseKind;
use crate::record::{Collection, Coverage, Form, Guid, Key, Record, Unknown, Value};
use crate::schema::Navigation;
use crate::snapshot::MemberKind;

/// How one record stands to the scope.
#[derive(Clone, Debug, PartialEq)]
pub enum Standing {
    In,
    /// Its own data moved it out.
    Out(Cause),
    /// Today's data would be in scope under the accepted scope.
    Edited(String),
    Gone(Cause),
    /// Graph left it out by the scope's own clauses, and nobody looked it up.
    LeftOut(Cause),
    /// Looked up by id and not found.
    NotFound,
    Unknown(Unknown),
}

/// Standings of all objects of one collection: most are alike, so each distinct one is kept once.
#[derive(Default)]
struct Verdicts {
    /// Aligned with the snapshot's ids.
    of: Vec<u32>,
    ids: Vec<Guid>,
    distinct: Vec<Standing>,
    left_out: BTreeMap<String, u64>,
    effects: Vec<Effect>,
}

/// Of a record that left since the mapping that made it was edited.
const UNTIL_RECAST: &str = "not made since an edit of the mapping ";

/// Judges every record of one snapshot under one job.
pub struct Judge<'a> {
    job: &'a Job,
    directory: &'a Directory<'a>,
    approved: &'a Approved,
    rules: BTreeMap<Collection, Rule<'a>>,
    /// Of every accepted scope that differs from today's.
    accepted: Vec<BTreeMap<Collection, Rule<'a>>>,
    verdicts: RefCell<HashMap<Collection, Rc<Verdicts>>>,
    /// Whose verdicts are being worked out.
    deciding: RefCell<BTreeSet<Collection>>,
    /// Of the mappings over distinct values, by their names.
    values: RefCell<HashMap<String, Rc<Values>>>,
}

/// How many records of a collection were read, are in scope, and were left out by which clause.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Tally {
    pub read: u64,
    pub in_scope: u64,
    pub left_out: BTreeMap<String, u64>,
    /// What each clause of the collection's own filter did, in the order written.
    pub effects: Vec<Effect>,
}

impl<'a> Judge<'a> {
    pub fn new(job: &'a Job, directory: &'a Directory<'a>, approved: &'a Approved) -> Judge<'a> {
        let rules = |scope: &'a job::Scope| {
            job.catalog.collections().map(|collection| (collection, Rule::new(scope, collection))).collect()
        };
        let now = job.accepted_scope_text();
        let accepted = job.accepted.iter().filter(|accepted| accepted.text() != now);
        Judge {
            job,
            directory,
            approved,
            rules: rules(&job.scope),
            accepted: accepted.map(|accepted| rules(&accepted.scope)).collect(),
            verdicts: RefCell::default(),
            deciding: RefCell::default(),
            values: RefCell::default(),
        }
    }

    /// How a record of the snapshot stands, its ends included.
    pub fn standing(&self, record: &Record) -> Result<Standing> {
        self.standing_counted(record, &mut [])
    }

    fn standing_counted(&self, record: &Record, effects: &mut [Effect]) -> Result<Standing> {
        let own = self.judged(record, effects);
        Ok(match &record.key {
            Key::Guid(_) | Key::Text(_) => own,
            Key::Pair(of, member) => {
                let kind = self.kind_of(record.collection, *of, *member);
                let end = match self.member(record.collection, kind, *member)? {
                    // Graph lists it as a member and does not know it: one of the two answers lags behind.
                    Standing::NotFound => Standing::Unknown(Unknown::new("listed as a member but not found by id")),
                    end => end,
                };
                least_certain([self.object(container(record.collection), *of)?, end, own])
            }
            Key::Assignment(parts) => {
                least_certain([self.object(Collection::Users, parts.0)?, self.license(parts.1)?, own])
            }
        })
    }

    /// The record's own clauses, first under today's scope, then under the accepted one.
    fn judged(&self, record: &Record, effects: &mut [Effect]) -> Standing {
        let sight = Sight { judge: self, deciding: Some(record.collection), accepted: false };
        let clause = match self.rules[&record.collection].judge(record, &sight, effects) {
            Ok(standing) => return standing,
            Err(clause) => clause,
        };
        for rules in &self.accepted {
            match rules[&record.collection].judge(record, &Sight { accepted: true, ..sight }, &mut []) {
                Ok(Standing::Unknown(reason)) => return Standing::Unknown(reason),
                Ok(_) => {
                    let words = format!("{UNTIL_EDITED}{}", told(clause));
                    return Standing::Edited(words);
                }
                Err(_) => {}
            }
        }
        match clause.contains("accountEnabled") && self.is_disabled(record) {
            true => Standing::Out(Cause { kind: CauseKind::Disabled, words: format!("{DISABLED}{}", told(clause)) }),
            false => Standing::Out(Cause { kind: CauseKind::Out, words: told(clause) }),
        }
    }

    fn is_disabled(&self, record: &Record) -> bool {
        let slot = self.job.catalog.shape(record.collection).slot("accountEnabled");
        slot.is_some_and(|slot| record.slots[slot] == Some(Value::Bool(false)))
    }

    /// The standings of all objects of a collection, worked out once.
    fn verdicts(&self, collection: Collection) -> Result<Rc<Verdicts>> {
        if let Some(known) = self.verdicts.borrow().get(&collection) {
            return Ok(known.clone());
        }
        self.deciding.borrow_mut().insert(collection);
        let mut verdicts = Verdicts { effects: self.rules[&collection].effects(), ..Verdicts::default() };
        self.directory.walk(collection, &mut |record| {
            let Key::Guid(id) = record.key else { return Ok(()) };
            let standing = self.judged(&record, &mut verdicts.effects);
            if let Some(clause) = left_out_by(&standing) {
                *verdicts.left_out.entry(clause.to_string()).or_default() += 1;
            }
            let known = verdicts.distinct.iter().position(|other| *other == standing);
            let index = known.unwrap_or_else(|| {
                verdicts.distinct.push(standing);
                verdicts.distinct.len() - 1
            });
            verdicts.of.push(index as u32);
            verdicts.ids.push(id);
            Ok(())
        })?;
        self.deciding.borrow_mut().remove(&collection);
        let verdicts = Rc::new(verdicts);
        self.verdicts.borrow_mut().insert(collection, verdicts.clone());
        Ok(verdicts)
    }

    /// The directory, as expressions of mappings see it: with what is in scope.
    pub fn sight(&self) -> impl Navigate + '_ {
        Sight { judge: self, deciding: None, accepted: false }
    }

    /// The distinct values that a mapping makes records of, worked out once.
    pub fn values(&self, mapping: &Mapping, distinct: &Distinct) -> Result<Rc<Values>> {
        if let Some(known) = self.values.borrow().get(&mapping.name) {
            return Ok(known.clone());
        }
        let values = Rc::new(Values::of(distinct, mapping.source, self.directory, self)?);
        self.values.borrow_mut().insert(mapping.name.clone(), values.clone());
        Ok(values)
    }

    /// How an object stands, also one that the snapshot does not hold.
    pub fn object(&self, collection: Collection, id: Guid) -> Result<Standing> {
        let verdicts = self.verdicts(collection)?;
        if let Ok(at) = verdicts.ids.binary_search(&id) {
            return Ok(verdicts.distinct[verdicts.of[at] as usize].clone());
        }
        let snapshot = self.directory.snapshot();
        Ok(if snapshot.deleted(id) {
            Standing::Gone(Cause { kind: CauseKind::Gone, words: "deleted in Entra".into() })
        } else if snapshot.absent(collection, id) {
            Standing::NotFound
        } else {
            let gap = self.coverage(collection).gap().cloned();
            if let (None, Some(asked)) = (&gap, snapshot.filter(collection)) {
                let words = format!("{}{NOT_TRUE}", asked.clauses.join(" and "));
                return Ok(Standing::LeftOut(Cause { kind: CauseKind::Out, words }));
            }
            if !is_looked_up(collection) && gap.is_none() {
                // There is no look-up by id: what is not on the list twice is gone.
                return Ok(Standing::NotFound);
            }
            Standing::Unknown(gap.unwrap_or_else(|| Unknown::new("not returned by this read and not looked up by id")))
        })
    }

    fn kind_of(&self, pairs: Collection, of: Guid, member: Guid) -> Option<MemberKind> {
        let members = self.directory.lists(pairs).of(of)?;
        members.binary_search_by_key(&member, |member| member.id).ok().map(|at| members[at].kind)
    }

    /// The member end of a pair. Contacts and service principals have no collection to be judged in.
    fn member(&self, pairs: Collection, kind: Option<MemberKind>, id: Guid) -> Result<Standing> {
        let snapshot = self.directory.snapshot();
        match kind {
            Some(MemberKind::User) => self.object(Collection::Users, id),
            Some(MemberKind::Group) => self.object(Collection::Groups, id),
            // Devices have a say only in a job that reads them.
            Some(MemberKind::Device) if self.job.catalog.uses(Collection::Devices) => {
                self.object(Collection::Devices, id)
            }
            Some(_) => Ok(Standing::In),
            None => {
                let homes = member_homes(pairs, &self.job.catalog);
                match homes.iter().find(|home| snapshot.objects(**home).contains(id)) {
                    Some(home) => self.object(*home, id),
                    // Of a kind that is not known it is nowhere only if it is none of them.
                    None => {
                        let standings = homes.iter().map(|home| self.object(*home, id)).collect::<Result<Vec<_>>>()?;
                        let gone = standings.iter().find(|standing| matches!(standing, Standing::Gone(_)));
                        Ok(gone.cloned().unwrap_or_else(|| least_certain_of(standings)))
                    }
                }
            }
        }
    }

    /// The SKU end of an assignment: one that the tenant does not list has nothing against it.
    fn license(&self, sku: Guid) -> Result<Standing> {
        match self.directory.snapshot().objects(Collection::Licenses).contains(sku) {
            true => self.object(Collection::Licenses, sku),
            false => Ok(Standing::In),
        }
    }

    /// How any key of a collection stands, also one that the snapshot does not hold.
    pub fn key(&self, collection: Collection, key: &Key) -> Result<Standing> {
        if let (Key::Guid(id), Form::Objects) = (key, collection.form()) {
            return self.object(collection, *id);
        }
        if let Some(record) = self.directory.record(collection, key)? {
            return self.standing(&record);
        }
        let ended = |words: &str| Standing::Gone(Cause { kind: CauseKind::Gone, words: words.into() });
        Ok(match key {
            Key::Pair(of, member) => {
                let lists = self.directory.lists(collection);
                let list = match lists.gap(*of) {
                    Some(gap) => Standing::Unknown(gap.clone()),
                    None if lists.of(*of).is_some() => ended(ended_words(collection)),
                    None => Standing::Unknown(Unknown::new(format!("its {} were not read", collection))),
                };
                let ends = [self.object(container(collection), *of)?, self.member(collection, None, *member)?];
                match (&list, least_certain(ends.clone())) {
                    // Nobody lists the members of a group that is deleted.
                    (_, Standing::Gone(_)) => least_certain(ends),
                    (_, ends) => least_certain([ends, list]),
                }
            }
            Key::Assignment(parts) => {
                let list = match self.directory.coverage(Collection::LicenseAssignments).gap() {
                    Some(gap) => Standing::Unknown(gap.clone()),
                    None => ended("the license is no longer assigned"),
                };
                let user = self.object(Collection::Users, parts.0)?;
                match user {
                    Standing::Gone(_) => user,
                    user => least_certain([user, list]),
                }
            }
            // An object of a custom list: there is no look-up by key, so what is not on it twice is gone.
            Key::Guid(_) | Key::Text(_) => match self.directory.coverage(collection).gap() {
                Some(gap) => Standing::Unknown(gap.clone()),
                None if self.is_redefined(collection) => {
                    Standing::Edited(format!("{UNTIL_EDITED}not in the list that {collection} are now"))
                }
                None => Standing::NotFound,
            },
        })
    }

    /// What today's scope says of a record, part by part; then each accepted scope whose filter of it is another one.
    pub fn opinions(&self, collection: Collection, record: Option<&Record>) -> Vec<Opinion> {
        let sight = Sight { judge: self, deciding: Some(collection), accepted: false };
        let now = self.rules[&collection].opinion(record, &sight);
        let before =
            |rules: &BTreeMap<_, Rule<'_>>| rules[&collection].opinion(record, &Sight { accepted: true, ..sight });
        let mut all: Vec<Opinion> = self.accepted.iter().map(before).collect();
        all.retain(|accepted| accepted.filter != now.filter || accepted.excluded != now.excluded);
        all.insert(0, now);
        all
    }

    /// How much is known of a collection. What Graph left out is known to be out only while the scope still says what it
    /// was asked with.
    pub fn coverage(&self, collection: Collection) -> Coverage {
        let asked = self.directory.snapshot().filter(collection);
        let shared = || shared_clauses(self.job, collection);
        match (self.directory.coverage(collection), asked) {
            (Coverage::Complete, Some(asked)) if !asked.clauses.iter().all(|clause| shared().contains(clause)) => {
                let words = "of which the scope says something else now; read anew";
                Coverage::partial(format!("Graph was asked only for those with {}, {words}", asked.filter))
            }
            (coverage, _) => coverage,
        }
    }

    /// Whether a custom collection was another list under an accepted scope.
    fn is_redefined(&self, collection: Collection) -> bool {
        let now = self.job.scope.lists.get(&collection);
        let mut before = self.job.accepted.iter().filter_map(|accepted| accepted.scope.lists.get(&collection));
        before.any(|before| Some(before) != now)
    }

    /// How a row stands that an element of a record's list becomes.
    fn part(&self, collection: Collection, each: &Each, key: &Key) -> Result<Standing> {
        let out = |words: String| Standing::Out(Cause { kind: CauseKind::Out, words });
        let Some((id, element)) = each::split(key) else {
            return Ok(out("the mapping makes no such row any more".into()));
        };
        let of = self.object(collection, id)?;
        if of != Standing::In {
            return Ok(of);
        }
        let Some(record) = self.directory.object(collection, id)? else {
            return Ok(Standing::Unknown(Unknown::new("its record is not in the snapshot")));
        };
        Ok(match each.elements(&record, &self.sight()).has(&element) {
            Some(Ok(())) => Standing::In,
            Some(Err(reason)) => Standing::Unknown(reason),
            None => {
                let words = format!("no longer in {}", each.of);
                Standing::Gone(Cause { kind: CauseKind::Gone, words })
            }
        })
    }

    /// Whether the mapping made its rows of other things under an accepted scope.
    fn is_recast(&self, mapping: &Mapping) -> bool {
        let now = mapping.identity();
        let mut before = self.job.accepted.iter().flat_map(|accepted| &accepted.mappings);
        before.any(|before| before.name == now.name && before.target == now.target && !before.makes_the_same(&now))
    }

    /// Counts for the plan's header.
    pub fn tally(&self, collection: Collection) -> Result<Tally> {
        let mut tally = Tally { effects: self.rules[&collection].effects(), ..Tally::default() };
        match collection.form() {
            Form::Pairs(_) | Form::Assignments | Form::Custom => {
                self.directory.walk(collection, &mut |record| {
                    tally.read += 1;
                    let standing = self.standing_counted(&record, &mut tally.effects)?;
                    tally.in_scope += u64::from(standing == Standing::In);
                    if let Some(clause) = left_out_by(&standing) {
                        *tally.left_out.entry(clause.to_string()).or_default() += 1;
                    }
                    Ok(())
                })?;
            }
            Form::Objects => {
                let verdicts = self.verdicts(collection)?;
                tally.read = verdicts.of.len() as u64;
                let inside = verdicts.distinct.iter().position(|standing| *standing == Standing::In);
                let count = |index| verdicts.of.iter().filter(|of| **of == index as u32).count() as u64;
                tally.in_scope = inside.map_or(0, count);
                tally.left_out.clone_from(&verdicts.left_out);
                tally.effects.clone_from(&verdicts.effects);
            }
        }
        Ok(tally)
    }

    /// The mapping that made a row, if the job still has it for that type.
    fn mapping(&self, ty: &str, row: Option<&Row>) -> Option<&Mapping> {
        let mut of_type = self.job.mappings.iter().filter(|mapping| mapping.target == ty);
        match row {
            Some(row) => of_type.find(|mapping| mapping.name == row.mapping),
            None => of_type.next(),
        }
    }
}

/// The directory with what is in scope. While a filter is judged, the scope of its own collection is not known yet.
#[derive(Clone, Copy)]
struct Sight<'j, 'a> {
    judge: &'j Judge<'a>,
    /// The collection whose filter is judged.
    deciding: Option<Collection>,
    /// What an accepted scope lets in counts as well.
    accepted: bool,
}

impl Navigate for Sight<'_, '_> {
    fn one(&self, from: &Record, via: Navigation) -> Value {
        self.judge.directory.one(from, via)
    }

    fn many(&self, from: &Record, via: Navigation) -> Value {
        self.judge.directory.many(from, via)
    }

    fn as_of(&self) -> Timestamp {
        self.judge.directory.as_of()
    }

    fn describe(&self, record: &Record) -> String {
        self.judge.directory.describe(record)
    }

    fn in_scope(&self, record: &Record) -> Value {
        if self.deciding == Some(record.collection) {
            return Value::Null;
        }
        // An edited filter may ask for what an accepted one asks back.
        if self.judge.deciding.borrow().contains(&record.collection) {
            let words = format!("whether it is in scope depends on the scope of {} itself", record.collection);
            return Value::Unknown(Unknown::new(words));
        }
        match self.judge.key(record.collection, &record.key) {
            Ok(Standing::In) => Value::Bool(true),
            Ok(Standing::Edited(_)) => Value::Bool(self.accepted),
            Ok(Standing::Out(_) | Standing::LeftOut(_) | Standing::Gone(_)) => Value::Bool(false),
            Ok(Standing::NotFound) => Value::Unknown(Unknown::new("not found by id; a second run decides")),
            Ok(Standing::Unknown(reason)) => Value::Unknown(reason),
            Err(error) => Value::Unknown(Unknown::new(error.to_string())),
        }
    }
}

impl States for Judge<'_> {
    fn state(&self, ty: &str, key: &Key, row: Option<&Row>) -> Result<Source> {
        let approved = |words: &str| {
            let filter_edit = self.approved.contains(LimitName::FilterEdit, ty, key, None);
            filter_edit.then(|| Cause { kind: CauseKind::Out, words: format!("{words} (approved)") })
        };
        let edited = |words: String| match approved(&words) {
            Some(cause) => Source::Out(cause),
            None => Source::OutEdited(words),
        };
        let Some(mapping) = self.mapping(ty, row) else {
            let name = row.map(|row| row.mapping.as_str()).unwrap_or_default();
            return Ok(edited(format!("the job no longer has the mapping {name}, which made this record")));
        };
        if let Some(distinct) = &mapping.distinct {
            return Ok(match self.values(mapping, distinct)?.has(key) {
                Some(Ok(())) => Source::Desired(wanted()),
                Some(Err(reason)) => Source::Unknown(reason),
                None => {
                    let words = format!("none of the {} in scope has it any more", mapping.source);
                    Source::Out(Cause { kind: CauseKind::Out, words })
                }
            });
        }
        let standing = match &mapping.each {
            Some(each) => self.part(mapping.source, each, key)?,
            None => self.key(mapping.source, key)?,
        };
        let left = matches!(standing, Standing::Out(_) | Standing::Gone(_) | Standing::NotFound);
        if left && self.is_recast(mapping) {
            return Ok(edited(format!("{UNTIL_RECAST}{}", mapping.name)));
        }
        Ok(match standing {
            Standing::In => Source::Desired(wanted()),
            Standing::Out(cause) => Source::Out(cause),
            Standing::Edited(words) => edited(words),
            Standing::Gone(cause) => Source::Gone(cause),
            // Whoever owns a record must have looked for it; for others, such as references to it, it is out.
            Standing::LeftOut(_) if row.is_some() => {
                Source::Unknown(Unknown::new("Graph left it out, and it was not looked up by id"))
            }
            Standing::LeftOut(cause) => Source::Out(cause),
            Standing::NotFound => Source::NotFound,
            Standing::Unknown(reason) => Source::Unknown(reason),
        })
    }
}

/// Asked for a reference or a returner: the caller only needs to know that it is wanted.
fn wanted() -> Desired {
    Desired { mapping: 0, label: String::new(), values: Vec::new() }
}

/// The least certain of several standings decides, and its cause is the whole's.
fn least_certain<const N: usize>(standings: [Standing; N]) -> Standing {
    least_certain_of(standings.into())
}

fn least_certain_of(standings: Vec<Standing>) -> Standing {
    let rank = |standing: &Standing| match standing {
        Standing::Unknown(_) => 0,
        Standing::LeftOut(_) => 1,
        Standing::NotFound => 2,
        Standing::Edited(_) => 3,
        Standing::Gone(_) => 4,
        Standing::Out(_) => 5,
        Standing::In => 6,
    };
    standings.into_iter().min_by_key(rank).unwrap_or(Standing::In)
}

fn ended_words(pairs: Collection) -> &'static str {
    match pairs {
        Collection::GroupOwners | Collection::DeviceOwners => "no longer an owner",
        Collection::DeviceUsers => "no longer a user of the device",
        _ => "no longer a member",
    }
}
