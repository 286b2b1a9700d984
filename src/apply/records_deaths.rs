//! Applying record by record while the process really dies, at any of its durable steps.
//!
//! `CRASH_PEOPLE` and `CRASH_DEATHS` make the suite larger (`make crash`).

use super::*;

/// A memory of records that outlives the process: what a write made of a record is a line of a file.
struct Logged {
    memory: MemoryTarget,
    log: std::path::PathBuf,
}

/// A record's type and number among all that were ever made, with its values; none of one that is gone.
type Line = (String, u64, Option<Vec<Datum>>);

impl Logged {
    fn open(folder: &Path) -> Logged {
        let log = folder.join("target.jsonl");
        let (mut types, mut made): (BTreeMap<String, BTreeMap<u64, Current>>, u64) = Default::default();
        for line in std::fs::read_to_string(&log).unwrap_or_default().lines() {
            let (ty, number, values): Line = serde_json::from_str(line).unwrap();
            made = made.max(number);
            let records = types.entry(ty).or_default();
            match values {
                Some(values) => drop(records.insert(number, Current { id: format!("m{number}"), values })),
                None => drop(records.remove(&number)),
            }
        }
        let types = types.into_iter().map(|(ty, records)| (ty, records.into_values().collect())).collect();
        Logged { memory: MemoryTarget::holding(types, made), log }
    }
}

#[async_trait]
impl Target for Logged {
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
impl WriteRecords for Logged {
    fn in_flight_max(&self) -> usize {
        4
    }

    async fn write(&self, ty: &TypeSpec, change: &Change) -> Sent {
        use std::io::Write;
        let sent = self.memory.write(ty, change).await;
        if let Outcome::Done { target_id, .. } = &sent.outcome {
            let values = self.memory.record(&ty.name, target_id).map(|record| record.values);
            let line: Line = (ty.name.clone(), target_id[1..].parse().unwrap(), values);
            let line = format!("{}\n", serde_json::to_string(&line).unwrap());
            let mut log = std::fs::OpenOptions::new().append(true).create(true).open(&self.log).unwrap();
            log.write_all(line.as_bytes()).unwrap();
        }
        sent
    }

    async fn look_up(&self, ty: &TypeSpec, change: &Change) -> Result<Vec<Current>> {
        self.memory.look_up(ty, change).await
    }
}

/// A tenant of so many people before and after a busy night: a third come, a third change, a third go, and everybody
/// has a manager.
fn crowd(people: usize, after: bool) -> Wanted {
    let leak = |text: String| -> &'static str { Box::leak(text.into_boxed_str()) };
    let (first, last) = if after { (people / 3, people + people / 3) } else { (0, people) };
    let name = |n: usize| leak(format!("p{n:05}"));
    let groups: Vec<&str> = (first / 10..last / 10).map(|n| leak(format!("g{n:04}"))).collect();
    let person = |n: usize| -> Person {
        let manager = first + (n * 7 + 3) % (last - first);
        let group = groups[n % groups.len()];
        let called = if after { format!("Person {n}, changed") } else { format!("Person {n}") };
        (name(n), leak(called), name(manager), Box::leak(vec![group].into_boxed_slice()))
    };
    let people: Vec<Person> = (first..last).map(person).collect();
    Wanted { groups: groups.leak(), people: people.leak() }
}

#[test]
fn second_passes_go_as_soon_as_what_they_wait_for_is_there() {
    let folder = crate::testing::folder();
    let (people, groups) = (400, 40);
    run_in(folder.path(), &crowd(people, false));
    let log = std::fs::read_to_string(folder.path().join("target.jsonl")).unwrap();
    let (mut made, mut second, mut early) = (HashSet::new(), 0, 0);
    for line in log.lines() {
        let (_, number, values): Line = serde_json::from_str(line).unwrap();
        if !made.insert(format!("m{number}")) {
            second += 1;
            early += usize::from(made.len() < people + groups);
        }
        if let Some(manager) = values.unwrap().get(2).and_then(Datum::as_text) {
            assert!(made.contains(manager), "{number} refers to what is not there: {manager}");
        }
    }
    assert!(second > 100, "too few have a second pass: {second}");
    // Only those whose manager is in the last waves have to wait for the end.
    assert!(early * 2 > second, "{early} of {second} went before everyone was there");
}

const CHILD_FOLDER: &str = "ENTRA_IMPORT_TEST_RECORDS";
const PEOPLE: &str = "CRASH_PEOPLE";

fn number(variable: &str, default: usize) -> usize {
    std::env::var(variable).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// Settles, plans and applies in that folder; the world as it stands then, and how much was planned.
fn run_in(folder: &Path, wanted: &Wanted) -> (World, usize) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let target = Logged::open(folder);
        let world = World { folder: folder.to_path_buf(), memory: target.memory.clone(), _temporary: None };
        let (mut ledger, clock, stop) = (world.ledger(), Clock::real(), AtomicBool::new(false));
        let run = ledger.begin_run("run", Timestamp::UNIX_EPOCH).unwrap();
        settle(&target, &mut ledger, run, &clock).await.unwrap();
        let plan = world.plan(&ledger, wanted);
        let mut watch = Watch { progress: &mut |_| {}, stop: &stop, clock: &clock };
        let applied = apply(&plan, &target, &mut ledger, run, &mut watch).await.unwrap();
        assert_eq!(applied.exit(), Exit::Done, "{:?}", applied.stopped);
        ledger.finish_run(run, Timestamp::UNIX_EPOCH, applied.exit(), &serde_json::Value::Null).unwrap();
        (world, plan.len())
    })
}

/// Not a test of its own: the process that dies.
#[test]
fn child() {
    let Ok(folder) = std::env::var(CHILD_FOLDER) else { return };
    run_in(Path::new(&folder), &crowd(number(PEOPLE, 0), true));
}

fn copy_of(folder: &Path) -> tempfile::TempDir {
    let copy = crate::testing::folder();
    for entry in std::fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), copy.path().join(entry.file_name())).unwrap();
    }
    copy
}

/// Lets a child work in a copy of `start` and die at that point; `None` when it came to its end.
fn died_at(start: &Path, point: usize, people: usize) -> Option<tempfile::TempDir> {
    let copy = copy_of(start);
    let output = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "apply::records::tests::deaths::child", "--nocapture", "--test-threads=1"])
        .env(CHILD_FOLDER, copy.path())
        .env(PEOPLE, people.to_string())
        .env(crash::VARIABLE, point.to_string())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    let died = text.contains("dying at");
    assert!(output.status.success() != died, "neither ended nor died: {text}");
    died.then_some(copy)
}

/// Fifty seeded deaths, or as many as `CRASH_DEATHS` says; 0 is every point there is, from `CRASH_FIRST` to `CRASH_LAST`
/// where they are given.
#[test]
fn killed_at_seeded_points_of_many_writes_and_run_again_gives_the_same_end() {
    let people = number(PEOPLE, 18);
    let deaths = Some(number("CRASH_DEATHS", 50)).filter(|deaths| *deaths > 0);
    let start = crate::testing::folder();
    run_in(start.path(), &crowd(people, false));
    let wanted = crowd(people, true);
    assert!(died_at(start.path(), usize::MAX, people).is_none());
    let whole = copy_of(start.path());
    let (world, planned) = run_in(whole.path(), &wanted);
    let expected = (world.state(), world.rows());
    let seed = number("CRASH_SEED", fastrand::usize(..));
    println!("CRASH_SEED={seed}, {planned} changes");
    let random = Mutex::new(fastrand::Rng::with_seed(seed as u64));
    let (first, last) = (number("CRASH_FIRST", 1), number("CRASH_LAST", usize::MAX));
    let (next, all) = (AtomicUsize::new(first), deaths.is_none() && (first, last) == (1, usize::MAX));
    let (died, ended, failed) = (AtomicUsize::new(0), AtomicBool::new(false), Mutex::new(Vec::new()));
    let work = || {
        while !ended.load(Ordering::Relaxed) && deaths.is_none_or(|deaths| died.load(Ordering::Relaxed) < deaths) {
            let point = match deaths {
                None => next.fetch_add(1, Ordering::Relaxed),
                Some(_) => random.lock().unwrap().usize(1..=planned * 4),
            };
            let death = if point > last { None } else { died_at(start.path(), point, people) };
            let Some(folder) = death else {
                // Behind the last point of all, or only of those that a seed may name.
                ended.fetch_or(deaths.is_none(), Ordering::Relaxed);
                continue;
            };
            // One that goes wrong says so itself; the others are tried all the same.
            if std::panic::catch_unwind(|| recovers(folder.path(), &wanted, &expected)).is_err() {
                failed.lock().unwrap().push(point);
            }
            let so_far = died.fetch_add(1, Ordering::Relaxed) + 1;
            if so_far.is_multiple_of(100) {
                println!("{so_far} deaths");
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(work);
        }
    });
    let (died, failed) = (died.into_inner(), failed.into_inner().unwrap());
    println!("{died} deaths");
    assert_eq!(failed, [0; 0], "points at which a death was not made good, seed {seed}");
    assert!(died > planned || !all, "only {died} deaths among {planned} changes");
}

/// After a death: the next run ends as if nothing had happened, and the one after it finds nothing to do.
fn recovers(died: &Path, wanted: &Wanted, (state, rows): &(Shown, Shown)) {
    let (world, _) = run_in(died, wanted);
    assert_eq!(world.state(), *state, "what the target holds");
    assert_eq!(world.rows(), *rows, "what the ledger holds");
    let (_, left) = run_in(died, wanted);
    assert_eq!(left, 0, "a third run has something to do");
}
