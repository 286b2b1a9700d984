//! The world of the apply tests: a target of files, a job of two types, a small planner.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use async_trait::async_trait;
use jiff::Timestamp;
use sha2::{Digest, Sha256};

use crate::apply::{Applied, Watch, apply, settle};
use crate::clock::Clock;
use crate::error::{Error, Exit, Result};
use crate::ledger::{Identity, Ledger, RunId};
use crate::plan::change::{
    Action, AttributeChange, AttributeSpec, Change, Counts, Current, Held, Origin, Row, State, TypeSpec,
};
use crate::plan::datum::Datum;
use crate::plan::{Header, Plan, TypeSummary};
use crate::record::{Coverage, Key};
use crate::spill::SpillWriter;
use crate::target::{BatchMark, Capabilities, Interrupted, Outcome, Outcomes, Target, WriteBatches, Writes};

/// Records of a type: key to name.
pub type Names = BTreeMap<String, String>;

const TYPES: [&str; 2] = ["groups", "users"];

/// One JSON file per type. Keeps names in capitals (so that what is read back differs from what was written), refuses
/// "bad", and fails as it is told to.
pub struct Files {
    folder: PathBuf,
    fail: Fail,
}

#[derive(Clone, Copy, PartialEq)]
pub enum Fail {
    No,
    StageOf(&'static str),
    CommitBeforeRename,
    CommitAfterRename,
    SkipsLast,
    SaysTwice,
    StopsReading,
}

impl Files {
    pub fn path(&self, ty: &str) -> PathBuf {
        self.folder.join(format!("{ty}.json"))
    }

    pub fn names(&self, ty: &str) -> Names {
        fs::read(self.path(ty)).map_or_else(|_| Names::new(), |bytes| serde_json::from_slice(&bytes).unwrap())
    }

    fn write(&self, names: &mut Names, change: &Change) -> Outcome {
        let key = change.key.to_string();
        if key == "bad" {
            return Outcome::Rejected { reason: "refused by the files".into() };
        }
        let mut read_back = Vec::new();
        for attribute in &change.attributes {
            let name = attribute.after.as_text().unwrap_or_default().to_uppercase();
            names.insert(key.clone(), name.clone());
            read_back.push((attribute.name.clone(), Datum::text(name)));
        }
        if change.action == Action::Delete {
            names.remove(&key);
        }
        Outcome::Done { target_id: format!("#{key}"), read_back }
    }
}

fn hash(path: &Path) -> Option<String> {
    let bytes = fs::read(path).ok()?;
    Some(Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect())
}

#[async_trait]
impl Target for Files {
    fn identity(&self) -> String {
        "files".into()
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities { unique_keys: true, visibility_delay_s: 0, certainty_delay_s: 0, ids_are_keys: true }
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
        Writes::Batches(self)
    }
}

#[async_trait]
impl WriteBatches for Files {
    async fn stage(
        &self,
        ty: &TypeSpec,
        changes: &mut (dyn Iterator<Item = Result<Change>> + Send),
        outcomes: &mut Outcomes<'_>,
    ) -> Result<BatchMark> {
        let mut names = self.names(&ty.name);
        let changes: Vec<Change> = match self.fail {
            Fail::StopsReading => changes.take(1).collect::<Result<_>>()?,
            _ => changes.collect::<Result<_>>()?,
        };
        let mut answers: Vec<(u32, Outcome)> =
            (0..).zip(&changes).map(|(nth, change)| (nth, self.write(&mut names, change))).collect();
        match self.fail {
            Fail::SkipsLast => drop(answers.pop()),
            Fail::SaysTwice => answers.extend(answers.clone()),
            _ => {}
        }
        // Any order will do.
        for (nth, outcome) in answers.into_iter().rev() {
            outcomes(nth, &changes[nth as usize], outcome)?;
        }
        if matches!(self.fail, Fail::StageOf(failing) if failing == ty.name) {
            return Err(Error::new(Exit::Unreachable, "cannot stage").cause("no space"));
        }
        let (path, staged) = (self.path(&ty.name), self.folder.join(format!("{}.staged", ty.name)));
        fs::write(&staged, serde_json::to_vec(&names).unwrap()).unwrap();
        Ok(BatchMark { before: hash(&path), after: hash(&staged).unwrap(), path, staged })
    }

    async fn commit(&self, batch: &BatchMark) -> Result<()> {
        let failed = || Err(Error::new(Exit::Unreachable, "cannot commit"));
        if self.fail == Fail::CommitBeforeRename {
            return failed();
        }
        fs::rename(&batch.staged, &batch.path).unwrap();
        if self.fail == Fail::CommitAfterRename { failed() } else { Ok(()) }
    }

    async fn settle(&self, batch: &BatchMark) -> Result<Interrupted> {
        let _ = fs::remove_file(&batch.staged);
        let now = hash(&batch.path);
        Ok(if now.as_ref() == Some(&batch.after) {
            Interrupted::Committed
        } else if now == batch.before {
            Interrupted::Discarded
        } else {
            Interrupted::Neither
        })
    }
}

/// A job of two types in a folder of its own.
pub struct Job {
    folder: PathBuf,
}

pub fn at(day: i64) -> Timestamp {
    Timestamp::from_second(1_770_000_000 + day * 86_400).unwrap()
}

pub fn names<const N: usize>(names: [(&str, &str); N]) -> Names {
    names.into_iter().map(|(key, name)| (key.to_string(), name.to_string())).collect()
}

pub fn rows(ledger: &Ledger, ty: &str) -> BTreeMap<String, Row> {
    let mut rows = BTreeMap::new();
    let mut each = |key: Key, row| {
        rows.insert(key.to_string(), row);
        Ok(())
    };
    ledger.rows(ty, &mut each).unwrap();
    rows
}

impl Job {
    pub fn new(folder: &Path) -> Job {
        Job { folder: folder.to_path_buf() }
    }

    pub fn ledger(&self) -> Ledger {
        let identity = Identity { job: "job".into(), tenant: "tenant".into(), target: "files".into() };
        Ledger::open(&self.folder.join("state/ledger.sqlite3"), &identity).unwrap()
    }

    pub fn files(&self, fail: Fail) -> Files {
        Files { folder: self.folder.clone(), fail }
    }

    /// What runs leave behind: files, rows of the ledger, generation.
    pub fn state(&self) -> (Vec<Names>, Vec<BTreeMap<String, Row>>, u64) {
        let (files, ledger) = (self.files(Fail::No), self.ledger());
        assert_eq!(ledger.unfinished_batches().unwrap(), []);
        let names = TYPES.map(|ty| files.names(ty)).to_vec();
        (names, TYPES.map(|ty| rows(&ledger, ty)).to_vec(), ledger.generation().unwrap())
    }

    /// Settles, plans and applies, as a run does.
    pub async fn run(&self, desired: &[Names; 2], fail: Fail) -> (Vec<String>, Applied) {
        let (mut ledger, files) = (self.ledger(), self.files(fail));
        let run = ledger.begin_run("run", at(1)).unwrap();
        let found = settle(&files, &mut ledger, run, &Clock::real()).await.unwrap();
        let plan = plan(&ledger, &files, desired);
        let applied = apply_plan(&plan, &files, &mut ledger, run).await.unwrap();
        ledger.finish_run(run, at(1), applied.exit(), &serde_json::Value::Null).unwrap();
        (found, applied)
    }
}

pub async fn apply_plan(plan: &Plan, files: &Files, ledger: &mut Ledger, run: RunId) -> Result<Applied> {
    apply(
        plan,
        files,
        ledger,
        run,
        &mut Watch { progress: &mut |_| {}, stop: &AtomicBool::new(false), clock: &Clock::real() },
    )
    .await
}

pub fn plan(ledger: &Ledger, files: &Files, desired: &[Names; 2]) -> Plan {
    let mut spill = SpillWriter::new().unwrap();
    let mut order = Vec::new();
    for ((index, ty), desired) in (0u32..).zip(TYPES).zip(desired) {
        for change in changes(ty, desired, &files.names(ty), &rows(ledger, ty)) {
            order.push((index, spill.push(&change).unwrap()));
        }
    }
    Plan::new(header(ledger), spill.finish().unwrap(), order, Vec::new())
}

fn header(ledger: &Ledger) -> Header {
    let attributes =
        vec![AttributeSpec { name: "Name".into(), many: false, reference: None, ..AttributeSpec::default() }];
    let summary = |ty: &str| TypeSummary {
        spec: TypeSpec { name: ty.into(), attributes: attributes.clone(), key: Vec::new(), adopt: Vec::new() },
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
        target: "files".into(),
        generation: ledger.generation().unwrap(),
        as_of: at(1),
        source_as_of: at(0),
        preview: None,
        undoes: None,
        first_run: false,
        sources: Vec::new(),
        types: TYPES.map(summary).to_vec(),
        limits: Vec::new(),
    }
}

/// The change each key needs, by key.
fn changes(ty: &str, desired: &Names, there: &Names, rows: &BTreeMap<String, Row>) -> Vec<Change> {
    let mut keys: Vec<&String> = desired.keys().chain(there.keys()).chain(rows.keys()).collect();
    keys.sort();
    keys.dedup();
    keys.into_iter().filter_map(|key| change(ty, key, desired.get(key), there.get(key), rows.get(key))).collect()
}

fn change(ty: &str, key: &str, d: Option<&String>, c: Option<&String>, row: Option<&Row>) -> Option<Change> {
    let held = row.and_then(|row| row.values.get("Name"));
    let settled = |d: &String| held.is_some_and(|held| held.settled == Datum::text(d.as_str()));
    let action = match (d, c, row) {
        (Some(_), None, _) => Action::Create,
        (Some(_), Some(_), None) => Action::Adopt,
        (Some(d), Some(c), Some(_)) if d.to_uppercase() == *c && settled(d) => return None,
        (Some(d), Some(c), Some(_)) if d.to_uppercase() == *c => Action::Settle,
        (Some(_), Some(_), Some(_)) => Action::Update,
        (None, Some(_), Some(_)) => Action::Delete,
        (None, None, Some(_)) => Action::Forget,
        (None, _, None) => return None,
    };
    let value = |text: Option<&String>| text.map_or(Datum::Empty, |text| Datum::text(text.as_str()));
    let written =
        AttributeChange { name: "Name".into(), before: value(c), after: value(d), ..AttributeChange::default() };
    let applied = if action == Action::Settle { value(c) } else { value(d) };
    let ledger = d.map(|_| Row {
        mapping: "m".into(),
        state: State::Owned,
        origin: row.map_or(if action == Action::Adopt { Origin::Adopted } else { Origin::Created }, |row| row.origin),
        target_id: row.map_or(String::new(), |row| row.target_id.clone()),
        label: key.into(),
        values: [("Name".to_string(), Held { applied, settled: value(d) })].into(),
        missing_since: None,
    });
    Some(Change {
        action,
        ty: ty.into(),
        key: Key::parse(key),
        label: key.into(),
        based_on: None,
        target_id: None,
        cause: None,
        attributes: if d.is_some() && action.writes() { vec![written] } else { Vec::new() },
        ledger,
    })
}
