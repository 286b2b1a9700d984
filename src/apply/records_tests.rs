//! Applying record by record: references that become known on the way, answers that do not come, deaths at any write.

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

/// A memory of records that fails at its n-th write, counted from 0.
struct Faulty {
    memory: MemoryTarget,
    fault: Mutex<Option<(usize, Fault)>>,
    writes: AtomicUsize,
    died: tokio::sync::Notify,
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

/// One job and its target.
struct World {
    folder: tempfile::TempDir,
    memory: MemoryTarget,
}

impl World {
    fn new() -> World {
        World { folder: tempfile::tempdir().unwrap(), memory: MemoryTarget::of_records() }
    }

    fn ledger(&self) -> Ledger {
        let identity = Identity { job: "job".into(), tenant: "tenant".into(), target: "memory".into() };
        Ledger::open(&Path::new(self.folder.path()).join("ledger.sqlite3"), &identity).unwrap()
    }

    /// Settles, plans and applies as a run does; `None` when the process died on the way.
    async fn run(&self, wanted: &Wanted, fault: Option<(usize, Fault)>) -> Option<(Applied, Vec<String>)> {
        let target = Faulty {
            memory: self.memory.clone(),
            fault: Mutex::new(fault),
            writes: AtomicUsize::new(0),
            died: tokio::sync::Notify::new(),
        };
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

    /// People and groups as they stand, references by key.
    fn state(&self) -> BTreeMap<String, Vec<String>> {
        let [groups, users] = types();
        let names: BTreeMap<String, String> = [&groups, &users]
            .into_iter()
            .flat_map(|ty| self.memory.records(&ty.name))
            .map(|record| (record.id, record.values[0].as_text().unwrap_or_default().to_string()))
            .collect();
        let by_key = |value: &Datum| match value {
            Datum::Set(set) => {
                let mut keys: Vec<&str> = set.items.iter().map(|id| names[&**id].as_str()).collect();
                keys.sort_unstable();
                keys.join(" ")
            }
            Datum::One(id) => names.get(&**id).cloned().unwrap_or_else(|| id.to_string()),
            _ => String::new(),
        };
        let mut state = BTreeMap::new();
        for ty in [&groups, &users] {
            for record in self.memory.records(&ty.name) {
                let key = format!("{} {}", ty.name, record.values[0]);
                let row = record.values[1..].iter().map(by_key).collect();
                assert!(state.insert(key, row).is_none(), "doubled: {record:?}");
            }
        }
        state
    }

    fn rows(&self) -> BTreeMap<String, BTreeMap<String, String>> {
        let ledger = self.ledger();
        assert_eq!(ledger.unfinished_changes().unwrap(), []);
        let mut rows = BTreeMap::new();
        for ty in ["Group", "User"] {
            let mut each = |key: Key, row: Row| {
                let held = |(name, held): (String, Held)| (name, format!("{} {}", held.applied, held.settled));
                rows.insert(format!("{ty} {key}"), row.values.into_iter().map(held).collect());
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
        for (ty, spec) in specs.iter().enumerate() {
            let there = self.memory.records(&spec.name);
            for (key, values) in wanted.records(ty, |to, key| self.id_of(&specs[to], key)) {
                let current = there.iter().find(|record| record.values[0] == Datum::text(key));
                if let Some(change) = change(spec, key, &values, current) {
                    order.push((ty as u32, spill.push(&change).unwrap()));
                }
            }
            let mut each = |key: Key, row: Row| {
                if !wanted.has(ty, &key.to_string()) {
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

    fn id_of(&self, spec: &TypeSpec, key: &str) -> String {
        let records = self.memory.records(&spec.name);
        let found = records.iter().find(|record| record.values[0] == Datum::text(key));
        found.map_or_else(|| format!("{NEW}{key}"), |record| record.id.clone())
    }
}

impl Wanted {
    fn has(&self, ty: usize, key: &str) -> bool {
        if ty == 0 { self.groups.contains(&key) } else { self.people.iter().any(|person| person.0 == key) }
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
    let expected = undisturbed().await.state();
    for fault in [Fault::DiesBefore, Fault::DiesAfter, Fault::SilentBefore, Fault::SilentAfter, Fault::Lost] {
        // Group it; eve, ada and bob; the deletes of dan and staff.
        for at in 0..6 {
            let world = World::new();
            world.run(&FIRST, None).await.unwrap();
            let disturbed = world.run(&SECOND, Some((at, fault))).await;
            let died = matches!(fault, Fault::DiesBefore | Fault::DiesAfter);
            assert_eq!(disturbed.is_none(), died, "{fault:?} at write {at} was reached");
            let (applied, _) = world.run(&SECOND, None).await.unwrap();
            assert_eq!((applied.exit(), world.state()), (Exit::Done, expected.clone()), "{fault:?} at write {at}");
            assert!(world.plan(&world.ledger(), &SECOND).is_empty(), "{fault:?} at write {at}");
            world.rows();
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
