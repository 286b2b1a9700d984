//! Applying record by record: references that become known on the way, answers that do not come, deaths at any write.

#[path = "records_deaths.rs"]
mod deaths;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize};

use async_trait::async_trait;
use jiff::Timestamp;

use super::super::{Applied, apply, settle};
use super::*;
use crate::clock::Clock;
use crate::ledger::Identity;
use crate::plan::change::{AttributeSpec, Counts, Origin, Row, State};
use crate::plan::{Header, TypeSummary};
use crate::record::Coverage;
use crate::spill::SpillWriter;
use crate::target::memory::MemoryTarget;
use crate::target::{Capabilities, Target, Writes};

/// How one write goes wrong.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Fault {
    /// The process dies before the request arrives.
    DiesBefore,
    /// The process dies after it.
    DiesAfter,
    /// No answer, and it did not arrive.
    SilentBefore,
    /// No answer, and it did arrive.
    SilentAfter,
    Refused,
    Lost,
    /// Takes the request and keeps no name.
    Forgets,
}

/// Makes the ledger of a world fail wherever `statement` runs on the journal, once that got `after` more entries.
/// Calling what comes back mends it.
fn break_ledger(world: &World, statement: &str, after: i64) -> impl Fn() + use<> {
    let path = world.folder.join("ledger.sqlite3");
    let open = move || rusqlite::Connection::open(&path).unwrap();
    let entries = "SELECT seq FROM sqlite_sequence WHERE name = 'journal'";
    let so_far: i64 = open().query_row(entries, [], |row| row.get(0)).unwrap();
    let trigger = format!(
        "CREATE TRIGGER full BEFORE {statement} ON journal WHEN ({entries}) >= {}
         BEGIN SELECT RAISE(ABORT, 'the disk is full'); END",
        so_far + after
    );
    open().execute_batch(&trigger).unwrap();
    move || open().execute_batch("DROP TRIGGER full").unwrap()
}

/// A memory of records that fails at its n-th write, counted from 0.
struct Faulty {
    memory: MemoryTarget,
    fault: Mutex<Option<(usize, Fault)>>,
    writes: AtomicUsize,
    died: tokio::sync::Notify,
    /// Updates and look-ups pass one after another, as they do where a pace is kept.
    turn: tokio::sync::Mutex<()>,
}

impl Faulty {
    fn new(memory: MemoryTarget, fault: Option<(usize, Fault)>) -> Faulty {
        let (writes, died, turn) = (AtomicUsize::new(0), tokio::sync::Notify::new(), tokio::sync::Mutex::new(()));
        Faulty { memory, fault: Mutex::new(fault), writes, died, turn }
    }
}

#[async_trait]
impl Target for Faulty {
    fn identity(&self) -> String {
        "memory".into()
    }

    fn capabilities(&self) -> Capabilities {
        self.memory.capabilities()
    }

    fn normalise(&self, _: &TypeSpec, _: usize, value: Datum) -> Datum {
        value
    }

    async fn check(&self, _: &[TypeSpec]) -> Result<Vec<crate::target::Remark>> {
        Ok(Vec::new())
    }

    async fn read(&self, _: &TypeSpec, _: &mut (dyn FnMut(Current) -> Result<()> + Send)) -> Result<Coverage> {
        Ok(Coverage::Complete)
    }

    fn writes(&self) -> Writes<'_> {
        Writes::Records(self)
    }
}

#[async_trait]
impl WriteRecords for Faulty {
    fn in_flight_max(&self) -> usize {
        3
    }

    async fn write(&self, ty: &TypeSpec, change: &Change) -> Sent {
        if change.action == Action::Update {
            let _turn = self.turn.lock().await;
            tokio::task::yield_now().await;
        }
        let nth = self.writes.fetch_add(1, Ordering::Relaxed);
        let fault = self.fault.lock().unwrap().filter(|(at, _)| *at == nth).map(|(_, fault)| fault);
        let silent = || Outcome::Uncertain { reason: "timed out".into() }.into();
        match fault {
            None => {}
            Some(Fault::DiesBefore) => {
                self.died.notify_one();
                return std::future::pending().await;
            }
            Some(Fault::SilentBefore) => return silent(),
            Some(Fault::Refused) => return Outcome::Rejected { reason: "not today".into() }.into(),
            Some(Fault::Lost) => {
                let outcome = Outcome::NotAttempted { reason: "unreachable".into() };
                return Sent { outcome, lost: Some(Error::new(Exit::Unreachable, "unreachable")) };
            }
            Some(Fault::Forgets) => {
                let mut change = change.clone();
                change.attributes.retain(|written| written.name == "Entra ID");
                return self.memory.write(ty, &change).await;
            }
            Some(Fault::DiesAfter | Fault::SilentAfter) => {
                self.memory.write(ty, change).await;
                if fault == Some(Fault::SilentAfter) {
                    return silent();
                }
                self.died.notify_one();
                return std::future::pending().await;
            }
        }
        self.memory.write(ty, change).await
    }

    async fn look_up(&self, ty: &TypeSpec, change: &Change) -> Result<Vec<Current>> {
        let _turn = self.turn.lock().await;
        self.memory.look_up(ty, change).await
    }
}

/// People with managers (a cycle among them) and groups; groups come first in the plan.
fn types() -> [TypeSpec; 2] {
    let one = |name: &str, reference: Option<&str>, many| AttributeSpec {
        name: name.into(),
        many,
        reference: reference.map(Into::into),
        ..AttributeSpec::default()
    };
    let spec = |name: &str, attributes| TypeSpec { name: name.into(), attributes, key: vec![0], adopt: vec![] };
    [
        spec("Group", vec![one("Entra ID", None, false), one("Name", None, false)]),
        spec(
            "User",
            vec![
                one("Entra ID", None, false),
                one("Name", None, false),
                one("Manager", Some("User"), false),
                one("Groups", Some("Group"), true),
            ],
        ),
    ]
}

/// Key, name, manager's key, groups' keys.
type Person = (&'static str, &'static str, &'static str, &'static [&'static str]);

/// What should be there: groups by key, then people.
struct Wanted {
    groups: &'static [&'static str],
    people: &'static [Person],
}

const FIRST: Wanted = Wanted {
    groups: &["staff", "vpn"],
    people: &[
        ("ada", "Ada", "cyd", &["staff", "vpn"]),
        ("bob", "Bob", "ada", &["staff"]),
        ("cyd", "Cyd", "bob", &[]),
        ("dan", "Dan", "", &["vpn"]),
    ],
};

const SECOND: Wanted = Wanted {
    groups: &["it", "vpn"],
    people: &[
        ("ada", "Ada L", "eve", &["it", "vpn"]),
        ("bob", "Bob", "ada", &["vpn"]),
        ("cyd", "Cyd", "bob", &[]),
        ("eve", "Eve", "", &["it"]),
    ],
};

/// Target or ledger in words, by type and key.
type Shown = BTreeMap<String, Vec<String>>;

/// One job and its target.
struct World {
    folder: std::path::PathBuf,
    memory: MemoryTarget,
    /// Keeps the folder as long as the world.
    _temporary: Option<tempfile::TempDir>,
}

impl World {
    fn new() -> World {
        let temporary = crate::testing::folder();
        let folder = temporary.path().to_path_buf();
        World { folder, memory: MemoryTarget::of_records(), _temporary: Some(temporary) }
    }

    fn ledger(&self) -> Ledger {
        let identity = Identity { job: "job".into(), tenant: "tenant".into(), target: "memory".into() };
        Ledger::open(&self.folder.join("ledger.sqlite3"), &identity).unwrap()
    }

    /// Settles, plans and applies as a run does; `None` when the process died on the way.
    async fn run(&self, wanted: &Wanted, fault: Option<(usize, Fault)>) -> Option<(Applied, Vec<String>)> {
        let target = Faulty::new(self.memory.clone(), fault);
        let (mut ledger, clock) = (self.ledger(), Clock::real());
        let run = ledger.begin_run("run", Timestamp::UNIX_EPOCH).unwrap();
        let found = settle(&target, &mut ledger, run, &clock).await.unwrap();
        let plan = self.plan(&ledger, wanted);
        let stop = AtomicBool::new(false);
        let mut watch = Watch { progress: &mut |_| {}, stop: &stop, clock: &clock };
        let applied = tokio::select! {
            applied = apply(&plan, &target, &mut ledger, run, &mut watch) => applied.unwrap(),
            () = target.died.notified() => return None,
        };
        ledger.finish_run(run, Timestamp::UNIX_EPOCH, applied.exit(), &serde_json::Value::Null).unwrap();
        Some((applied, found))
    }

    /// The key of every record, by its id in the target.
    fn keys(&self) -> BTreeMap<String, String> {
        let records = types().into_iter().flat_map(|ty| self.memory.records(&ty.name));
        records.map(|record| (record.id, record.values[0].as_text().unwrap_or_default().to_string())).collect()
    }

    /// People and groups as they stand, references by key.
    fn state(&self) -> Shown {
        let keys = self.keys();
        let mut state = BTreeMap::new();
        for ty in types() {
            for record in self.memory.records(&ty.name) {
                let key = format!("{} {}", ty.name, record.values[0]);
                let row = record.values[1..].iter().map(|value| by_key(&keys, value)).collect();
                assert!(state.insert(key, row).is_none(), "doubled: {record:?}");
            }
        }
        state
    }

    /// What the ledger holds: of which record, and each value as it was applied and settled; references by key.
    fn rows(&self) -> Shown {
        let (ledger, keys) = (self.ledger(), self.keys());
        assert_eq!(ledger.unfinished_changes().unwrap(), []);
        let mut rows = BTreeMap::new();
        for ty in ["Group", "User"] {
            let mut each = |key: Key, row: Row| {
                let of = keys.get(&row.target_id).map_or_else(|| format!("lost {}", row.target_id), Clone::clone);
                let held = row.values.iter().map(|(name, held)| {
                    format!("{name}: {} {}", by_key(&keys, &held.applied), by_key(&keys, &held.settled))
                });
                rows.insert(format!("{ty} {key}"), std::iter::once(of).chain(held).collect());
                Ok(())
            };
            ledger.rows(ty, &mut each).unwrap();
        }
        rows
    }

    /// A planner just clever enough: creates, updates of what differs, deletes of what is owned and not wanted.
    fn plan(&self, ledger: &Ledger, wanted: &Wanted) -> Plan {
        let specs = types();
        let mut spill = SpillWriter::new().unwrap();
        let mut order = Vec::new();
        let mut deletes = Vec::new();
        let by_key = |record: Current| (record.values[0].as_text().unwrap_or_default().to_owned(), record);
        let there: [HashMap<String, Current>; 2] =
            [0, 1].map(|ty: usize| self.memory.records(&specs[ty].name).into_iter().map(by_key).collect());
        let id_of = |ty: usize, key: &str| there[ty].get(key).map_or_else(|| format!("{NEW}{key}"), |it| it.id.clone());
        for (ty, spec) in specs.iter().enumerate() {
            let keys = wanted.keys(ty);
            for (key, values) in wanted.records(ty, id_of) {
                if let Some(change) = change(spec, key, &values, there[ty].get(key)) {
                    order.push((ty as u32, spill.push(&change).unwrap()));
                }
            }
            let mut each = |key: Key, row: Row| {
                if !keys.contains(&*key.to_string()) {
                    deletes.push((ty, delete(spec, key, row)));
                }
                Ok(())
            };
            ledger.rows(&spec.name, &mut each).unwrap();
        }
        for (ty, change) in deletes.into_iter().rev() {
            order.push((ty as u32, spill.push(&change).unwrap()));
        }
        Plan::new(header(ledger), spill.finish().unwrap(), order, Vec::new())
    }
}

/// A value with keys in place of the ids of records.
fn by_key(keys: &BTreeMap<String, String>, value: &Datum) -> String {
    let key = |id: &str| keys.get(id).map_or(id, String::as_str).to_owned();
    match value {
        Datum::Set(set) => {
            let mut keys: Vec<String> = set.items.iter().map(|id| key(id)).collect();
            keys.sort_unstable();
            keys.join(" ")
        }
        Datum::One(id) => key(id),
        _ => String::new(),
    }
}

impl Wanted {
    fn keys(&self, ty: usize) -> HashSet<&'static str> {
        if ty == 0 {
            self.groups.iter().copied().collect()
        } else {
            self.people.iter().map(|person| person.0).collect()
        }
    }

    fn records(&self, ty: usize, id: impl Fn(usize, &str) -> String) -> Vec<(&'static str, Vec<Datum>)> {
        if ty == 0 {
            return self.groups.iter().map(|key| (*key, vec![Datum::text(*key), Datum::text(*key)])).collect();
        }
        let values = |(key, name, manager, groups): &Person| {
            let manager = if manager.is_empty() { Datum::Empty } else { Datum::text(id(1, manager)) };
            let groups = Datum::set(groups.iter().map(|group| id(0, group)));
            (*key, vec![Datum::text(*key), Datum::text(*name), manager, groups])
        };
        self.people.iter().map(values).collect()
    }
}

fn change(spec: &TypeSpec, key: &str, values: &[Datum], current: Option<&Current>) -> Option<Change> {
    let written = spec.attributes.iter().zip(values).enumerate().filter_map(|(at, (attribute, after))| {
        let before = current.map_or(Datum::Empty, |current| current.values[at].clone());
        let write = before != *after && !(current.is_none() && after.is_empty());
        write.then(|| AttributeChange {
            name: attribute.name.clone(),
            before,
            after: after.clone(),
            cause: None,
            hidden: false,
        })
    });
    let attributes: Vec<AttributeChange> = written.collect();
    if attributes.is_empty() && current.is_some() {
        return None;
    }
    let held = |value: &Datum| Held { applied: value.clone(), settled: value.clone() };
    let row = Row {
        mapping: "m".into(),
        state: State::Owned,
        origin: Origin::Created,
        target_id: current.map_or(String::new(), |current| current.id.clone()),
        label: key.into(),
        values: spec.attributes.iter().zip(values).map(|(spec, value)| (spec.name.clone(), held(value))).collect(),
        missing_since: None,
    };
    Some(Change {
        action: if current.is_some() { Action::Update } else { Action::Create },
        ty: spec.name.clone(),
        key: Key::parse(key),
        label: key.into(),
        target_id: current.map(|current| current.id.clone()),
        cause: None,
        based_on: None,
        attributes,
        ledger: Some(row),
    })
}

fn delete(spec: &TypeSpec, key: Key, row: Row) -> Change {
    Change {
        action: Action::Delete,
        ty: spec.name.clone(),
        label: key.to_string(),
        key,
        target_id: Some(row.target_id),
        cause: None,
        based_on: None,
        attributes: Vec::new(),
        ledger: None,
    }
}

fn header(ledger: &Ledger) -> Header {
    let summary = |spec: TypeSpec| TypeSummary {
        spec,
        mappings: Vec::new(),
        coverage: Coverage::Complete,
        links: false,
        owned: 0,
        there: 0,
        counts: Counts::default(),
    };
    Header {
        format: "plan/1".into(),
        id: "p".into(),
        job: "job".into(),
        job_hash: String::new(),
        tenant: "tenant".into(),
        target: "memory".into(),
        generation: ledger.generation().unwrap(),
        as_of: Timestamp::UNIX_EPOCH,
        source_as_of: Timestamp::UNIX_EPOCH,
        preview: None,
        undoes: None,
        first_run: false,
        sources: Vec::new(),
        types: types().map(summary).to_vec(),
        limits: Vec::new(),
    }
}

async fn undisturbed() -> World {
    let world = World::new();
    for wanted in [&FIRST, &SECOND] {
        let (applied, found) = world.run(wanted, None).await.unwrap();
        assert_eq!((applied.exit(), found), (Exit::Done, vec![]));
    }
    world
}

#[tokio::test]
async fn cycles_get_a_second_pass_and_a_second_run_writes_nothing() {
    let world = World::new();
    let (applied, _) = world.run(&FIRST, None).await.unwrap();
    assert_eq!(applied.exit(), Exit::Done);
    let done: Vec<_> = applied.types.iter().map(|ty| ty.done.clone()).collect();
    assert_eq!(done, [[(Action::Create, 2)].into(), [(Action::Create, 4)].into()], "each create once");
    let state = world.state();
    assert_eq!(state["User \"ada\""], ["Ada", "cyd", "staff vpn"]);
    assert_eq!(state["User \"cyd\""], ["Cyd", "bob", ""]);
    assert!(!format!("{:?}", world.rows()).contains(NEW), "{:?}", world.rows());
    assert!(world.plan(&world.ledger(), &FIRST).is_empty());

    world.run(&SECOND, None).await.unwrap();
    let state = world.state();
    assert_eq!(state["User \"ada\""], ["Ada L", "eve", "it vpn"]);
    assert_eq!(state.len(), 6, "{state:?}");
}

#[tokio::test]
async fn dying_at_any_write_and_running_again_gives_the_same_end() {
    let undisturbed = undisturbed().await;
    let expected = (undisturbed.state(), undisturbed.rows());
    for fault in [Fault::DiesBefore, Fault::DiesAfter, Fault::SilentBefore, Fault::SilentAfter, Fault::Lost] {
        // Group it; eve, ada and bob; the deletes of dan and staff.
        for at in 0..6 {
            let world = World::new();
            world.run(&FIRST, None).await.unwrap();
            let disturbed = world.run(&SECOND, Some((at, fault))).await;
            let died = matches!(fault, Fault::DiesBefore | Fault::DiesAfter);
            assert_eq!(disturbed.is_none(), died, "{fault:?} at write {at} was reached");
            let (applied, _) = world.run(&SECOND, None).await.unwrap();
            assert_eq!(applied.exit(), Exit::Done, "{fault:?} at write {at}");
            assert_eq!((world.state(), world.rows()), expected, "{fault:?} at write {at}");
            assert!(world.plan(&world.ledger(), &SECOND).is_empty(), "{fault:?} at write {at}");
        }
    }
}

#[tokio::test]
async fn a_silent_answer_is_looked_at_in_the_same_run() {
    let world = World::new();
    world.run(&FIRST, None).await.unwrap();
    let (applied, _) = world.run(&SECOND, Some((1, Fault::SilentAfter))).await.unwrap();
    assert_eq!(applied.exit(), Exit::Done, "it arrived");
    let world = World::new();
    world.run(&FIRST, None).await.unwrap();
    let (applied, _) = world.run(&SECOND, Some((1, Fault::SilentBefore))).await.unwrap();
    assert_eq!(applied.exit(), Exit::Partial);
    let not_done = applied.not_done().next().unwrap().unwrap();
    assert!(matches!(not_done.outcome, Outcome::NotAttempted { .. }), "{not_done:?}");
}

#[tokio::test]
async fn a_refused_record_does_not_take_others_with_it() {
    let world = World::new();
    // The second write: group vpn, which ada and dan are in.
    let (applied, _) = world.run(&FIRST, Some((1, Fault::Refused))).await.unwrap();
    let not_done: Vec<_> = applied.not_done().map(|not_done| not_done.unwrap().key.to_string()).collect();
    assert_eq!((not_done, applied.exit()), (vec!["vpn".to_string()], Exit::Partial));
    assert_eq!(world.state()["User \"ada\""], ["Ada", "cyd", "staff"]);
    world.run(&FIRST, None).await.unwrap();
    assert_eq!(world.state()["User \"ada\""], ["Ada", "cyd", "staff vpn"]);
    assert_eq!(world.state()["User \"dan\""], ["Dan", "", "vpn"]);
}

#[tokio::test]
async fn the_first_record_is_read_back_before_the_rest_goes_on() {
    let world = World::new();
    let (applied, _) = world.run(&FIRST, Some((2, Fault::Forgets))).await.unwrap();
    let stopped = applied.stopped.as_ref().unwrap().to_string();
    assert!(stopped.contains("the first User that was created"), "{stopped}");
    assert_eq!(world.memory.records("User").len(), 1, "nothing more was sent");
}

#[tokio::test]
async fn a_ledger_that_fails_under_way_leaves_every_change_with_one_outcome_and_the_next_run_goes_on() {
    let undisturbed = undisturbed().await;
    let expected = (undisturbed.state(), undisturbed.rows());
    for statement in ["INSERT", "DELETE"] {
        for after in 0..9 {
            let world = World::new();
            world.run(&FIRST, None).await.unwrap();
            let mend = break_ledger(&world, statement, after);
            let (applied, _) = world.run(&SECOND, None).await.unwrap();
            let about = format!("{statement} after {after}");
            let planned = applied
                .types
                .iter()
                .map(|ty| ty.done.values().sum::<u64>() + ty.rejected + ty.uncertain + ty.not_attempted);
            assert_eq!(planned.sum::<u64>(), 6, "{about}");
            if let Some(error) = &applied.stopped {
                assert!(error.to_string().contains("the disk is full"), "{about}: {error}");
                assert_eq!(applied.exit(), Exit::Failed, "{about}");
                for not_done in applied.not_done() {
                    let not_done = not_done.unwrap();
                    let honest = matches!(not_done.outcome, Outcome::Uncertain { .. } | Outcome::NotAttempted { .. });
                    assert!(honest, "{about}: {not_done:?}");
                }
            }
            mend();
            let (applied, _) = world.run(&SECOND, None).await.unwrap();
            assert_eq!(applied.exit(), Exit::Done, "{about}");
            assert_eq!((world.state(), world.rows()), expected, "{about}");
        }
    }
}

/// Applies these changes of one type in their order; what the target holds then, and the outcome.
async fn apply_changes(
    memory: &MemoryTarget,
    spec: &TypeSpec,
    changes: &[Change],
) -> (Vec<Vec<Datum>>, Applied, Ledger) {
    let folder = crate::testing::folder();
    let identity = Identity { job: "job".into(), tenant: "tenant".into(), target: "memory:".into() };
    let mut ledger = Ledger::open(&folder.path().join("ledger.sqlite3"), &identity).unwrap();
    let run = ledger.begin_run("run", Timestamp::UNIX_EPOCH).unwrap();
    let mut spill = SpillWriter::new().unwrap();
    let order = changes.iter().map(|change| (0, spill.push(change).unwrap())).collect();
    let mut header = header(&ledger);
    header.target = "memory:".into();
    header.types.truncate(1);
    header.types[0].spec = spec.clone();
    let plan = Plan::new(header, spill.finish().unwrap(), order, Vec::new());
    let (clock, stop) = (Clock::real(), AtomicBool::new(false));
    let mut watch = Watch { progress: &mut |_| {}, stop: &stop, clock: &clock };
    let applied = apply(&plan, memory, &mut ledger, run, &mut watch).await.unwrap();
    (memory.records(&spec.name).into_iter().map(|record| record.values).collect(), applied, ledger)
}

#[tokio::test]
async fn swapped_keys_are_parked_and_a_chain_waits_for_the_key_to_be_free() {
    let text = |text: &str| Datum::text(text);
    // From name to name, by key, in the order of a plan: `order::levels` puts whoever frees first and cuts cycles.
    // Nothing is the name of whoever is not there yet.
    type Move = (&'static str, &'static str, &'static str);
    let cases: [(&str, &[Move]); 4] = [
        ("a swap", &[("a", "x", "y"), ("b", "y", "x")]),
        ("a ring", &[("a", "x", "y"), ("c", "z", "x"), ("b", "y", "z")]),
        ("a chain", &[("b", "y", "z"), ("a", "x", "y")]),
        ("a newcomer", &[("b", "y", "z"), ("a", "", "y")]),
    ];
    for (is_key, (what, moves)) in [true, false].into_iter().flat_map(|is_key| cases.map(|case| (is_key, case))) {
        let [mut spec, _] = types();
        // Found by the name, as a mapping with the user principal name as its key would; or only kept unique by it.
        spec.key = vec![usize::from(is_key)];
        spec.attributes[1].unique = !is_key;
        let memory = MemoryTarget::of_records();
        let changes: Vec<Change> = moves
            .iter()
            .map(|(key, from, to)| {
                let there = |from: &str| {
                    let values = vec![text(key), text(from)];
                    Current { id: memory.add(&spec.name, values.clone()), values }
                };
                let current = (!from.is_empty()).then(|| there(from));
                change(&spec, key, &[text(key), text(to)], current.as_ref()).unwrap()
            })
            .collect();
        let (records, applied, ledger) = apply_changes(&memory, &spec, &changes).await;
        assert_eq!(applied.exit(), Exit::Done, "{what}, key: {is_key}");
        assert_eq!(applied.types[0].done.values().sum::<u64>(), moves.len() as u64, "{what}: each once");
        for (key, _, to) in moves {
            assert!(records.contains(&vec![text(key), text(to)]), "{what}, key: {is_key}: {records:?}");
            let row = ledger.row(&spec.name, &Key::parse(key)).unwrap().unwrap();
            assert_eq!(row.values["Name"], Held { applied: text(to), settled: text(to) }, "{what}, key: {is_key}");
        }
    }
}

#[tokio::test]
async fn what_only_a_delete_frees_is_asked_again_by_the_next_run() {
    let text = |text: &str| Datum::text(text);
    for deletes in [true, false] {
        let [mut spec, _] = types();
        spec.attributes[1].unique = true;
        let memory = MemoryTarget::of_records();
        let target_id = memory.add(&spec.name, vec![text("b"), text("y")]);
        let create = change(&spec, "a", &[text("a"), text("y")], None).unwrap();
        let leaver = delete(&spec, Key::parse("b"), Row { target_id, ..create.ledger.clone().unwrap() });
        let changes = if deletes { vec![create, leaver] } else { vec![create] };
        let (_, applied, _) = apply_changes(&memory, &spec, &changes).await;
        assert_eq!(applied.types[0].rejected, 1, "deletes come last");
        assert_eq!(applied.refused.is_empty(), deletes, "what stays refused is not sent again for days");
    }
}

#[tokio::test]
async fn a_record_whose_key_lives_in_the_ledger_alone_is_told_from_its_likes() {
    let [mut spec, _] = types();
    spec.key = Vec::new();
    let memory = MemoryTarget::of_records();
    let values = [Datum::text("same"), Datum::text("same")];
    let twins = ["a", "b"].map(|key| change(&spec, key, &values, None).unwrap());
    let (records, applied, mut ledger) = apply_changes(&memory, &spec, &twins).await;
    assert_eq!((applied.exit(), records.len()), (Exit::Done, 2), "two of the same values are no collision");
    // A third of these was sent and nobody saw the answer: of the records that look so, only one is nobody's.
    let third = change(&spec, "c", &values, None).unwrap();
    let intent = Intent { at: Timestamp::UNIX_EPOCH, change: third.clone(), spec: spec.clone() };
    let clock = Clock::real();
    for (added, expected) in [(false, "nothing"), (true, "happened"), (true, "several")] {
        let id = added.then(|| memory.add(&spec.name, values.to_vec()));
        let looker = Looker { target: &memory, capabilities: memory.capabilities(), clock: &clock };
        let looked = looker.look(&ledger, &intent, None).await.unwrap();
        let got = match looked {
            Verdict::Nothing => "nothing",
            Verdict::Several => "several",
            Verdict::Open => "open",
            Verdict::Happened(found, _) => {
                assert_eq!(Some(found), id);
                "happened"
            }
        };
        assert_eq!(got, expected);
    }
    let run = ledger.begin_run("run", Timestamp::UNIX_EPOCH).unwrap();
    ledger.journal_changes(run, std::slice::from_ref(&intent)).unwrap();
    let later = ledger.begin_run("run", Timestamp::UNIX_EPOCH).unwrap();
    let told = settle(&memory, &mut ledger, later, &clock).await.unwrap();
    assert!(told.iter().any(|words| words.contains("several records")), "{told:?}");
}

#[tokio::test(start_paused = true)]
async fn a_record_is_read_back_while_second_passes_are_under_way() {
    let world = World::new();
    let (target, mut ledger, clock) = (Faulty::new(world.memory.clone(), None), world.ledger(), Clock::real());
    let run = ledger.begin_run("run", Timestamp::UNIX_EPOCH).unwrap();
    // Two who lead each other, and then the first group: the second pass of the one goes with it.
    let [groups, users] = types();
    let person = |key: &str, manager: &str| {
        let values = [Datum::text(key), Datum::text(key), Datum::text(format!("{NEW}{manager}"))];
        change(&users, key, &values, None).unwrap()
    };
    let group = change(&groups, "staff", &[Datum::text("staff"), Datum::text("staff")], None).unwrap();
    let mut spill = SpillWriter::new().unwrap();
    let changes = [(1, person("ada", "bob")), (1, person("bob", "ada")), (0, group)];
    let order = changes.iter().map(|(ty, change)| (*ty, spill.push(change).unwrap())).collect();
    let plan = Plan::new(header(&ledger), spill.finish().unwrap(), order, Vec::new());
    let stop = AtomicBool::new(false);
    let mut watch = Watch { progress: &mut |_| {}, stop: &stop, clock: &clock };
    let applied = apply(&plan, &target, &mut ledger, run, &mut watch);
    let applied = tokio::time::timeout(std::time::Duration::from_secs(3600), applied).await.expect("it ends").unwrap();
    assert_eq!((applied.exit(), world.state()["User \"ada\""][1].as_str()), (Exit::Done, "bob"));
}
