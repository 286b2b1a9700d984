//! Properties of whole plans, against a target and a ledger in memory: random people, random nights, random hands.

use std::collections::BTreeMap;

use jiff::Timestamp;
use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::plan::agreed::SettledRow;
use crate::plan::attributes::AttributePolicy;
use crate::plan::change::{Cause, Current, State};
use crate::plan::decide::MappingPolicy;
use crate::plan::file;
use crate::plan::matching::CurrentKey;
use crate::plan::policy::{CauseKind, Empty, Recreate, Removal, Side, Step, StepAction, Write};
use crate::plan::undo::{self, Done, History};
use crate::record::Guid;
use crate::spill::SpillWriter;
use crate::testing::people;

const PEOPLE: u8 = 6;
const NAME: usize = 1;
const BOSS: usize = 2;
const TAGS: usize = 3;
const STATUS: usize = 4;

/// What the source says of one person.
#[derive(Clone, Debug)]
enum Says {
    Desired { name: Option<&'static str>, boss: Option<u8>, tags: Vec<&'static str>, more_tags: bool },
    Out,
    Gone,
    NotFound,
    Unknown,
    Rejected,
}

/// What a person does to the target behind the job's back.
#[derive(Clone, Debug)]
enum Hand {
    Writes(u8, usize, &'static str),
    Removes(u8),
    Adds(u8),
}

type People = Vec<Says>;

fn key(n: u8) -> Key {
    Key::Guid(Guid([n; 16]))
}

fn at(day: i64) -> Timestamp {
    Timestamp::from_second(1_700_000_000 + day * 86_400).unwrap()
}

/// Target and ledger, as they stand between two runs.
#[derive(Clone, Default)]
struct Memory {
    records: Vec<Current>,
    ledger: BTreeMap<Key, Row>,
    made_by_hand: usize,
    /// What of other types refers to the records.
    holders: BTreeMap<String, Vec<String>>,
}

impl Rows for Memory {
    fn each_key(&self, ty: &str, each: &mut dyn FnMut(OwnedKey, &str) -> Result<()>) -> Result<()> {
        self.each(ty, &mut |key, row| {
            let row = row.read()?;
            each(OwnedKey { key, standing: Ownership::of(&row.state) }, &row.target_id)
        })
    }

    fn each(&self, _: &str, each: &mut dyn FnMut(Key, &dyn StoredRow) -> Result<()>) -> Result<()> {
        let stored = |row: &Row| Stored { row: row.clone(), values: serde_json::to_string(&row.values).unwrap() };
        self.ledger.iter().try_for_each(|(key, row)| each(key.clone(), &stored(row)))
    }
}

/// A row of [`Memory`], with its values as a ledger has them.
struct Stored {
    row: Row,
    values: String,
}

impl StoredRow for Stored {
    fn read(&self) -> Result<Row> {
        Ok(self.row.clone())
    }

    fn settled(&self) -> Option<SettledRow<'_>> {
        let Row { mapping, state, target_id, missing_since, .. } = &self.row;
        let settled = matches!(state, State::Owned | State::Pinned) && missing_since.is_none();
        settled.then_some(SettledRow { mapping, target_id, values: &self.values })
    }
}

/// What the last run did.
struct LastRun<'a> {
    memory: &'a Memory,
    done: BTreeMap<Key, Done>,
}

impl History for LastRun<'_> {
    fn each(&self, _: &str, each: &mut dyn FnMut(Key, Done) -> Result<()>) -> Result<()> {
        self.done.iter().try_for_each(|(key, done)| each(key.clone(), done.clone()))
    }

    fn row(&self, _: &str, key: &Key) -> Result<Option<Row>> {
        Ok(self.memory.ledger.get(key).cloned())
    }

    fn written_since(&self, _: &str) -> Result<std::collections::BTreeSet<Key>> {
        Ok(std::collections::BTreeSet::new())
    }
}

struct Sayings<'a>(&'a People);

impl States for Sayings<'_> {
    fn state(&self, _: &str, wanted: &Key, _: Option<&Row>) -> Result<Source> {
        let unknown = || Source::Unknown(Unknown::new("not read"));
        let cause = |kind| Cause { kind, words: "a reason".into() };
        let Some(at) = (0..PEOPLE).find(|n| key(*n) == *wanted) else { return Ok(unknown()) };
        Ok(match self.0[at as usize] {
            Says::Desired { .. } | Says::Rejected => {
                Source::Desired(Desired { mapping: 0, label: String::new(), values: Vec::new() })
            }
            Says::Out => Source::Out(cause(CauseKind::Out)),
            Says::Gone => Source::Gone(cause(CauseKind::Gone)),
            Says::NotFound => Source::NotFound,
            Says::Unknown => unknown(),
        })
    }
}

fn policy(attributes: AttributePolicy, delete: bool, recreate: bool) -> TypePolicy {
    let flag = StepAction::Flag(BTreeMap::from([("Status".to_string(), "Left".to_string())]));
    let ladder = match delete {
        true => vec![Step { action: StepAction::Delete, after_days: 0 }],
        false => vec![Step { action: flag, after_days: 0 }, Step { action: StepAction::Delete, after_days: 30 }],
    };
    TypePolicy {
        spec: people(),
        mappings: vec![MappingPolicy {
            name: "user".into(),
            attributes: vec![
                Some(AttributePolicy::default()),
                Some(attributes),
                Some(attributes),
                Some(attributes),
                None,
            ],
            removal: Removal { default: ladder, by_cause: BTreeMap::new(), delete_adopted: true },
            recreate: if recreate { Recreate::Create } else { Recreate::Report },
            protect: None,
        }],
        links: false,
        rekeyed: false,
    }
}

fn desired(people: &People) -> DesiredSide {
    let mut records = SpillWriter::new().unwrap();
    let mut keys = Vec::new();
    for (n, says) in (0..).zip(people) {
        let state = match says {
            Says::Desired { name, boss, tags, more_tags } => {
                let unknown = || Unknown::new("not shown");
                let name = name.map_or_else(|| Datum::Unknown(unknown()), Datum::text);
                let boss = boss.map_or(Datum::Empty, |boss| Datum::text(key(boss).to_string()));
                let tags = Set::new(tags.iter().map(|tag| (*tag).into()).collect(), vec![], more_tags.then(unknown));
                let values =
                    vec![Some(Datum::text(key(n).to_string())), Some(name), Some(boss), Some(Datum::Set(tags)), None];
                let record = Desired { mapping: 0, label: format!("Person {n}"), values };
                DesiredState::Mapped(records.push(&record).unwrap())
            }
            Says::Rejected => DesiredState::Rejected { label: "Person".into(), reason: "no name".into() },
            _ => continue,
        };
        keys.push(DesiredKey { key: key(n), target_key: Some(key(n)), state });
    }
    DesiredSide { keys, records: records.finish().unwrap(), notes: Vec::new() }
}

impl Memory {
    fn current(&self, coverage: Coverage) -> CurrentSide {
        let mut records = SpillWriter::new().unwrap();
        let keys = self.records.iter().map(|record| CurrentKey {
            id: Key::parse(&record.id),
            target_key: record.values[0].as_text().map(Key::parse),
            place: records.push(record).unwrap(),
        });
        CurrentSide { keys: keys.collect(), records: records.finish().unwrap(), coverage }
    }

    fn header(&self, day: i64) -> Header {
        Header {
            format: file::FORMAT.into(),
            id: String::new(),
            job: "job".into(),
            job_hash: String::new(),
            tenant: "tenant".into(),
            target: "memory".into(),
            generation: 0,
            as_of: at(day),
            source_as_of: at(day),
            preview: None,
            undoes: None,
            first_run: self.ledger.is_empty(),
            sources: Vec::new(),
            types: Vec::new(),
            limits: Vec::new(),
        }
    }

    fn plan(&self, people: &People, policy: &TypePolicy, day: i64) -> Plan {
        self.plan_without(people, policy, day, &BTreeMap::new())
    }

    /// A plan after the target refused some changes.
    fn plan_without(
        &self,
        people: &People,
        policy: &TypePolicy,
        day: i64,
        refused: &BTreeMap<(String, Key), Refusal>,
    ) -> Plan {
        let inputs = Inputs {
            refused,
            header: self.header(day),
            times: Times { as_of: at(day), source_as_of: at(day) },
            limits: &Limits::default(),
            collections: Vec::new(),
            approved: Approved::default(),
            orphans: Vec::new(),
            rows: self,
            states: &Sayings(people),
            only: None,
            witness: None,
        };
        let input = TypeInput {
            policy: policy.clone(),
            desired: desired(people),
            current: self.current(Coverage::Complete),
            holders: self.holders.clone(),
            ids_are_keys: true,
        };
        let mut plan = build(inputs, vec![input]).unwrap();
        file::identify(&mut plan).unwrap();
        plan
    }

    /// The reverse of a run that did this.
    fn reverse(&self, done: BTreeMap<Key, Done>, policy: &TypePolicy, day: i64) -> Plan {
        let inputs = undo::Inputs {
            header: self.header(day),
            times: Times { as_of: at(day), source_as_of: at(day) },
            limits: &Limits::default(),
            approved: Approved::default(),
            rows: self,
            history: &LastRun { memory: self, done },
            run: "1".into(),
        };
        let mut plan = undo::reverse(inputs, &[(policy.clone(), self.current(Coverage::Complete))]).unwrap();
        file::identify(&mut plan).unwrap();
        plan
    }

    /// Does what the plan says, and tells what was done.
    fn apply(&mut self, plan: &Plan, policy: &TypePolicy) -> BTreeMap<Key, Done> {
        let mut done = BTreeMap::new();
        for change in plan.changes().map(Result::unwrap) {
            let mut id = change.target_id.clone().unwrap_or_default();
            if let Some(written) = change.written(&[]) {
                let before = self.ledger.get(&change.key).filter(|_| change.action == Action::Delete).cloned();
                done.insert(change.key.clone(), Done { written, before });
            }
            match change.action {
                Action::Create => {
                    id = change.key.to_string();
                    self.records.push(Current { id: id.clone(), values: blank() });
                }
                Action::Delete => self.records.retain(|record| record.id != id),
                _ => {}
            }
            if let (true, Some(record)) =
                (change.action.writes(), self.records.iter_mut().find(|record| record.id == id))
            {
                for attribute in &change.attributes {
                    let at = policy.spec.attributes.iter().position(|spec| spec.name == attribute.name).unwrap();
                    assert!(attribute.after.is_known(), "only what is known is written: {attribute:?}");
                    assert!(change.action == Action::Create || record.values[at] == attribute.before, "{attribute:?}");
                    record.values[at] = normal(at, attribute.after.clone());
                }
            }
            match change.ledger {
                Some(row) => drop(self.ledger.insert(change.key, Row { target_id: id, ..row })),
                None => drop(self.ledger.remove(&change.key)),
            }
        }
        done
    }

    fn touch(&mut self, hand: &Hand) {
        let at = |n: u8, records: &[Current]| {
            records.iter().position(|record| record.values[0].as_text() == Some(key(n).to_string().as_str()))
        };
        match hand {
            Hand::Writes(n, attribute, text) => {
                if let Some(at) = at(*n, &self.records) {
                    self.records[at].values[*attribute] = normal(*attribute, Datum::text(*text));
                }
            }
            Hand::Removes(n) => {
                if let Some(at) = at(*n, &self.records) {
                    self.records.remove(at);
                }
            }
            Hand::Adds(n) => {
                self.made_by_hand += 1;
                let mut values = blank();
                values[0] = Datum::text(key(*n).to_string());
                self.records.push(Current { id: format!("hand {}", self.made_by_hand), values });
            }
        }
    }
}

fn blank() -> Vec<Datum> {
    (0..5).map(|at| normal(at, Datum::Empty)).collect()
}

/// A set stays a set, also when it is empty or one text was typed into it.
fn normal(at: usize, value: Datum) -> Datum {
    match value {
        Datum::Empty if at == TAGS => Datum::Set(Set::default()),
        Datum::One(text) if at == TAGS => Datum::set([text]),
        value => value,
    }
}

fn changes(plan: &Plan) -> Vec<Change> {
    plan.changes().map(Result::unwrap).collect()
}

fn removes(change: &Change) -> bool {
    matches!(change.action, Action::Retire | Action::Delete | Action::Forget)
}

fn says() -> impl Strategy<Value = Says> {
    let name = prop::option::weighted(0.9, prop::sample::select(vec!["Adele", "Alex", "Megan"]));
    let tags = prop::sample::subsequence(vec!["red", "green", "blue"], 0..=3);
    let desired = (name, prop::option::of(0..PEOPLE), tags, prop::bool::weighted(0.1))
        .prop_map(|(name, boss, tags, more_tags)| Says::Desired { name, boss, tags, more_tags });
    prop_oneof![
        8 => desired,
        1 => Just(Says::Out),
        1 => Just(Says::Gone),
        1 => Just(Says::NotFound),
        1 => Just(Says::Unknown),
        1 => Just(Says::Rejected),
    ]
}

fn some_people() -> impl Strategy<Value = People> {
    vec(says(), usize::from(PEOPLE))
}

fn hands() -> impl Strategy<Value = Vec<Hand>> {
    let text = prop::sample::select(vec!["", "By hand", "Adele", "red"]);
    let writes = (0..PEOPLE, prop::sample::select(vec![NAME, BOSS, TAGS, STATUS]), text);
    let hand = prop_oneof![
        4 => writes.prop_map(|(n, at, text)| Hand::Writes(n, at, text)),
        1 => (0..PEOPLE).prop_map(Hand::Removes),
        1 => (0..PEOPLE).prop_map(Hand::Adds),
    ];
    vec(hand, 0..4)
}

fn policies() -> impl Strategy<Value = TypePolicy> {
    let side = prop::sample::select(vec![Side::Source, Side::Target]);
    let write = prop::sample::select(vec![Write::Always, Write::UnlessEdited, Write::IfEmpty, Write::OnCreate]);
    let empty = prop::sample::select(vec![Empty::Clear, Empty::Keep]);
    (write, empty, side.clone(), side, any::<bool>(), any::<bool>()).prop_map(
        |(write, empty, on_adopt, on_conflict, delete, recreate)| {
            policy(AttributePolicy { write, empty, on_adopt, on_conflict }, delete, recreate)
        },
    )
}

/// Several nights, each with what people did to the target before it.
fn nights() -> impl Strategy<Value = Vec<(Vec<Hand>, People)>> {
    vec((hands(), some_people()), 1..4)
}

proptest! {
    #[test]
    fn what_was_applied_is_not_planned_again(policy in policies(), nights in nights()) {
        let mut memory = Memory::default();
        for (day, (hands, people)) in (0..).zip(&nights) {
            hands.iter().for_each(|hand| memory.touch(hand));
            let plan = memory.plan(people, &policy, day);
            let deletes = changes(&plan).iter().any(|change| change.action == Action::Delete);
            memory.apply(&plan, &policy);
            let mut again = memory.plan(people, &policy, day);
            if deletes {
                // What referred to a deleted record is put right by the run after.
                memory.apply(&again, &policy);
                again = memory.plan(people, &policy, day);
            }
            prop_assert!(again.is_empty(), "night {day}: {:#?}\nthen {:#?}", changes(&plan), changes(&again));
        }
    }

    #[test]
    fn what_was_taken_back_is_not_done_again(policy in policies(), nights in nights()) {
        let mut memory = Memory::default();
        let mut done = BTreeMap::new();
        for (day, (hands, people)) in (0..).zip(&nights) {
            hands.iter().for_each(|hand| memory.touch(hand));
            done = memory.apply(&memory.plan(people, &policy, day), &policy);
        }
        let last = &nights.last().unwrap().1;
        let reverse = memory.reverse(done, &policy, 9);
        memory.apply(&reverse, &policy);
        for undone in changes(&reverse).iter().filter(|change| change.action.writes()) {
            for again in changes(&memory.plan(last, &policy, 9)).iter().filter(|again| again.key == undone.key) {
                // A reference to what was deleted with the same run is no value that was taken back.
                let values = again.attributes.iter().filter(|written| written.name != "Boss");
                prop_assert!(!again.action.writes() || (again.action == Action::Update && values.count() == 0),
                    "{undone:#?}\nthen {again:#?}");
            }
        }
    }

    #[test]
    fn every_removal_is_of_an_owned_record_and_names_its_cause(policy in policies(), nights in nights()) {
        let mut memory = Memory::default();
        for (day, (hands, people)) in (0..).zip(&nights) {
            hands.iter().for_each(|hand| memory.touch(hand));
            let plan = memory.plan(people, &policy, day);
            for change in changes(&plan).iter().filter(|change| removes(change)) {
                let row = memory.ledger.get(&change.key);
                prop_assert_eq!(row.map(|row| &row.target_id), change.target_id.as_ref());
                prop_assert!(change.cause.as_ref().is_some_and(|cause| !cause.words.is_empty()), "{:?}", change);
            }
            memory.apply(&plan, &policy);
        }
    }

    #[test]
    fn a_partial_source_removes_and_clears_nothing(policy in policies(), nights in nights(), partial in some_people(), hands in hands()) {
        let mut memory = Memory::default();
        for (day, (hands, people)) in (0..).zip(&nights) {
            hands.iter().for_each(|hand| memory.touch(hand));
            memory.apply(&memory.plan(people, &policy, day), &policy);
        }
        hands.iter().for_each(|hand| memory.touch(hand));
        // Nothing is known of those who are not there, and of those who are there neither name nor all tags.
        let unknown = |says: &Says| match says {
            Says::Desired { boss, tags, .. } => Says::Desired { name: None, boss: *boss, tags: tags.clone(), more_tags: true },
            _ => Says::Unknown,
        };
        let partial: People = partial.iter().map(unknown).collect();
        for change in changes(&memory.plan(&partial, &policy, 10)) {
            prop_assert!(!removes(&change), "{:?}", change);
            if matches!(change.action, Action::Create | Action::Return) {
                continue;
            }
            for attribute in &change.attributes {
                prop_assert!(attribute.name != "Name", "{:?}", change);
                if let (Datum::Set(before), Datum::Set(after)) = (&attribute.before, &attribute.after) {
                    prop_assert!(before.items.iter().all(|tag| after.items.contains(tag)), "{:?}", change);
                }
            }
        }
    }

    #[test]
    fn a_target_that_was_not_read_whole_is_neither_created_in_nor_removed_from(policy in policies(), nights in nights()) {
        let mut memory = Memory::default();
        for (day, (hands, people)) in (0..).zip(&nights) {
            hands.iter().for_each(|hand| memory.touch(hand));
            let current = memory.current(Coverage::partial("the second page did not arrive"));
            let whole = memory.plan(people, &policy, day);
            let seen: Vec<String> = current.keys.iter().map(|key| key.id.to_string()).take(2).collect();
            let mut part = memory.clone();
            part.records.retain(|record| seen.contains(&record.id));
            let input = TypeInput {
                policy: policy.clone(),
                desired: desired(people),
                current: part.current(Coverage::partial("the second page did not arrive")),
                holders: BTreeMap::new(),
                ids_are_keys: true,
            };
            let inputs = Inputs {
            refused: &BTreeMap::new(),
                header: whole.header.clone(),
                times: Times { as_of: at(day), source_as_of: at(day) },
                limits: &Limits::default(),
                collections: Vec::new(),
                approved: Approved::default(),
                orphans: Vec::new(),
                rows: &memory,
                states: &Sayings(people),
                only: None,
                witness: None,
            };
            for change in changes(&build(inputs, vec![input]).unwrap()) {
                let unseen = change.target_id.as_ref().is_none_or(|id| !seen.contains(id));
                prop_assert!(!(unseen && change.action.writes()), "{:?}", change);
                prop_assert!(!(unseen && change.action == Action::Forget), "{:?}", change);
            }
            memory.apply(&whole, &policy);
        }
    }

    #[test]
    fn the_same_inputs_give_the_same_bytes(policy in policies(), nights in nights()) {
        let mut memory = Memory::default();
        let bytes = |plan: &Plan| {
            let mut bytes = Vec::new();
            file::write(plan, &mut bytes).unwrap();
            bytes
        };
        for (day, (hands, people)) in (0..).zip(&nights) {
            hands.iter().for_each(|hand| memory.touch(hand));
            let plan = memory.plan(people, &policy, day);
            prop_assert_eq!(bytes(&plan), bytes(&memory.plan(people, &policy, day)));
            memory.apply(&plan, &policy);
        }
    }
}

#[test]
fn what_the_target_refused_is_not_sent_again_in_the_same_form_for_seven_days() {
    let (memory, policy) = (Memory::default(), policy(AttributePolicy::default(), false, false));
    let person = |name| Says::Desired { name: Some(name), boss: None, tags: vec![], more_tags: false };
    let with = |name| vec![person(name), Says::Gone, Says::Gone, Says::Gone, Says::Gone, Says::Gone];
    let planned = changes(&memory.plan(&with("Adele"), &policy, 0));
    let [create] = planned.as_slice() else { panic!("{planned:?}") };
    let refusal = Refusal {
        ty: create.ty.clone(),
        key: create.key.clone(),
        content: create.content(),
        at: at(0),
        reason: "the mail is taken".into(),
    };
    let refused = BTreeMap::from([((create.ty.clone(), create.key.clone()), refusal)]);
    for (name, day, sent) in [("Adele", 0, false), ("Adele", 6, false), ("Adele", 7, true), ("Adele V.", 1, true)] {
        let plan = memory.plan_without(&with(name), &policy, day, &refused);
        assert_eq!(!plan.is_empty(), sent, "{name} on day {day}");
        let told: Vec<&Note> = plan.notes().iter().filter(|note| note.kind == NoteKind::Refused).collect();
        assert_eq!(told.len(), usize::from(!sent));
        assert!(told.iter().all(|note| note.words.contains("the mail is taken")), "{told:?}");
    }
}

fn is(name: &'static str) -> Says {
    Says::Desired { name: Some(name), boss: None, tags: Vec::new(), more_tags: false }
}

#[test]
fn whoever_takes_a_value_that_no_two_may_have_follows_whoever_gives_it_up() {
    for unique in [true, false] {
        let mut policy = policy(AttributePolicy::default(), true, false);
        policy.spec.attributes[NAME].unique = unique;
        let mut memory = Memory::default();
        memory.apply(&memory.plan(&vec![Says::Unknown, is("Adele"), is("Alex")], &policy, 0), &policy);
        // The newcomer gets the name that the second gives up, who gets the one of the third.
        let plan = memory.plan(&vec![is("Adele"), is("Alex"), is("Megan")], &policy, 1);
        let order: Vec<Key> = changes(&plan).into_iter().map(|change| change.key).collect();
        let expected = if unique { [2, 1, 0] } else { [0, 1, 2] };
        assert_eq!(order, expected.map(key), "unique: {unique}");
    }
}

#[test]
fn a_leaver_whom_others_refer_to_is_told_and_not_deleted() {
    let policy = policy(AttributePolicy::default(), true, false);
    let mut memory = Memory::default();
    memory.apply(&memory.plan(&vec![is("Adele"), is("Alex"), is("Megan")], &policy, 0), &policy);
    let id = |n: u8| memory.ledger[&key(n)].target_id.clone();
    // Of another type, as the target tells; and of this one, made by hand.
    memory.holders = BTreeMap::from([(id(0), vec!["Laptop LT-1".to_owned()]), (id(2), vec!["Laptop LT-2".to_owned()])]);
    let boss = Datum::text(id(1));
    memory.records.push(Current {
        id: "by-hand".into(),
        values: vec![Datum::text("by-hand"), Datum::text("Shared account"), boss, Datum::set::<&str>([]), Datum::Empty],
    });
    let plan = memory.plan(&vec![Says::Gone, Says::Gone, is("Megan")], &policy, 1);
    assert!(changes(&plan).iter().all(|change| change.action != Action::Delete), "{:#?}", changes(&plan));
    let told = plan.notes().iter().filter(|note| note.kind == NoteKind::StillHolds);
    let told: Vec<(Key, Vec<String>)> = told.map(|note| (note.key.clone(), note.holds.clone())).collect();
    let expected = [(key(0), vec!["Laptop LT-1".to_owned()]), (key(1), vec!["User by-hand".to_owned()])];
    assert_eq!(told, expected, "only of leavers");
    // Once nothing refers to them they go.
    memory.holders.clear();
    memory.records.retain(|record| record.id != "by-hand");
    let plan = memory.plan(&vec![Says::Gone, Says::Gone, is("Megan")], &policy, 2);
    assert_eq!(changes(&plan).iter().filter(|change| change.action == Action::Delete).count(), 2);
}
