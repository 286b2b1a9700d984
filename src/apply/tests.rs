//! Tests of applying against a small batch target of files, with a planner just clever enough to plan again.

mod world;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};

use super::*;
use crate::plan::Plan;
use crate::plan::change::{Action, Held, State};
use crate::plan::datum::Datum;
use world::*;

/// Before: records that stay, change, go in target and ledger, and one that only the ledger knows.
fn old() -> [Names; 2] {
    [names([("gone", "g"), ("staff", "Staff")]), names([("ada", "Ada"), ("bob", "Bob"), ("lost", "L"), ("out", "O")])]
}

/// After: a new one, a changed one, one that differs in a way the target does not keep, one refused, and those that go.
fn new() -> [Names; 2] {
    [names([("staff", "Staff of Oslo")]), names([("ada", "Ada L"), ("bad", "Bad"), ("bob", "BOB"), ("cyd", "Cyd")])]
}

async fn prepare(folder: &Path) -> Job {
    let job = Job::new(folder);
    assert_eq!(job.run(&old(), Fail::No).await.1.exit(), Exit::Done);
    let files = job.files(Fail::No);
    let mut users = files.names("users");
    users.remove("lost");
    fs::write(files.path("users"), serde_json::to_vec(&users).unwrap()).unwrap();
    job
}

/// What was done, by action, and what was not, in words.
fn told(applied: &Applied) -> (BTreeMap<Action, u64>, Vec<String>) {
    let mut done = BTreeMap::new();
    for (action, count) in applied.types.iter().flat_map(|ty| &ty.done) {
        *done.entry(*action).or_default() += count;
    }
    let words = |not_done: Result<NotDone>| {
        let NotDone { ty, key, outcome, .. } = not_done.unwrap();
        match outcome {
            Outcome::Done { .. } => panic!("done and not done: {ty} {key}"),
            Outcome::Rejected { reason } => format!("{ty} {key} rejected: {reason}"),
            Outcome::Uncertain { reason } => format!("{ty} {key} uncertain: {reason}"),
            Outcome::NotAttempted { reason } => format!("{ty} {key} not attempted: {reason}"),
        }
    };
    (done, applied.not_done().map(words).collect())
}

#[tokio::test]
async fn everything_is_done_once_and_a_second_run_only_tries_what_was_refused() {
    let folder = crate::testing::folder();
    let job = prepare(folder.path()).await;
    let (_, applied) = job.run(&new(), Fail::No).await;
    let (done, not_done) = told(&applied);
    let expected =
        [(Action::Create, 1), (Action::Update, 2), (Action::Settle, 1), (Action::Delete, 2), (Action::Forget, 1)];
    assert_eq!((done, applied.exit()), (expected.into(), Exit::Partial));
    assert_eq!(not_done, ["users bad rejected: refused by the files"]);

    let (files, rows, generation) = job.state();
    assert_eq!(files[1], names([("ada", "ADA L"), ("bob", "BOB"), ("cyd", "CYD")]));
    let ada = &rows[1]["ada"];
    assert_eq!(ada.values["Name"], Held { applied: Datum::text("ADA L"), settled: Datum::text("Ada L") });
    assert_eq!((ada.target_id.as_str(), rows[1].len(), rows[0].len()), ("#ada", 3, 1));

    let (found, applied) = job.run(&new(), Fail::No).await;
    assert_eq!((found, told(&applied).0), (vec![], [].into()));
    assert_eq!(job.state(), (files, rows, generation));
}

#[tokio::test]
async fn a_stage_that_fails_leaves_the_rest_unattempted_and_what_was_committed_stays() {
    let folder = crate::testing::folder();
    let job = prepare(folder.path()).await;
    let (_, applied) = job.run(&new(), Fail::StageOf("users")).await;
    let (done, not_done) = told(&applied);
    assert_eq!((done, applied.exit()), ([(Action::Update, 1), (Action::Delete, 1)].into(), Exit::Unreachable));
    assert_eq!(not_done[0], "users bad rejected: refused by the files");
    let rest: Vec<&str> = not_done[1..].iter().map(|words| words.split(" not att").next().unwrap()).collect();
    assert_eq!(rest, ["users ada", "users bob", "users cyd", "users lost", "users out"]);
    assert_eq!(not_done[1], "users ada not attempted: cannot stage: no space");
    assert_eq!((applied.types[1].rejected, applied.types[1].not_attempted), (1, 5));

    let (_, applied) = job.run(&new(), Fail::StageOf("groups")).await;
    assert_eq!(told(&applied).0.values().sum::<u64>(), 5, "groups have nothing left to stage, and users go on");
}

#[tokio::test]
async fn a_type_after_the_failed_one_is_not_attempted_at_all() {
    let folder = crate::testing::folder();
    let job = prepare(folder.path()).await;
    let before = job.state();
    let (_, applied) = job.run(&new(), Fail::StageOf("groups")).await;
    let (done, not_done) = told(&applied);
    assert_eq!((done, not_done.len()), ([].into(), 2 + 6));
    assert!(not_done.iter().all(|words| words.ends_with("not attempted: cannot stage: no space")), "{not_done:?}");
    assert_eq!(job.state(), before);
}

#[tokio::test]
async fn a_commit_that_fails_is_discarded_where_the_old_state_stands_and_else_left_to_the_next_run() {
    for (fail, outcome, unfinished) in [
        (Fail::CommitBeforeRename, "groups gone not attempted: cannot commit", 0),
        (Fail::CommitAfterRename, "groups gone uncertain: cannot commit; the next run looks what became of it", 1),
    ] {
        let folder = crate::testing::folder();
        let job = prepare(folder.path()).await;
        let (_, applied) = job.run(&new(), fail).await;
        let (done, not_done) = told(&applied);
        assert_eq!((done, not_done.len(), applied.exit()), ([].into(), 8, Exit::Unreachable));
        assert_eq!(not_done[0], outcome);
        assert_eq!(job.ledger().unfinished_batches().unwrap().len(), unfinished);
        let (found, _) = job.run(&new(), Fail::No).await;
        assert_eq!(found.len(), unfinished, "{found:?}");

        let undisturbed = crate::testing::folder();
        let other = prepare(undisturbed.path()).await;
        other.run(&new(), Fail::No).await;
        assert_eq!(job.state(), other.state());
    }
}

#[tokio::test]
async fn a_target_that_breaks_its_promise_is_found_out_before_anything_is_visible() {
    for (fail, words) in [
        (Fail::SkipsLast, "did not say what became of each change of groups"),
        (Fail::SaysTwice, "says once more what became of groups staff"),
        (Fail::StopsReading, "did not read all changes of groups"),
    ] {
        let folder = crate::testing::folder();
        let job = prepare(folder.path()).await;
        let before = job.state();
        let (_, applied) = job.run(&new(), fail).await;
        let stopped = applied.stopped.as_ref().unwrap();
        assert!(stopped.what.contains(words), "{stopped}");
        assert_eq!(told(&applied).1.len(), 8);
        assert_eq!(job.state(), before);
    }
}

#[tokio::test]
async fn a_batch_changed_by_someone_else_has_its_values_forgotten() {
    let folder = crate::testing::folder();
    let job = prepare(folder.path()).await;
    job.run(&new(), Fail::CommitAfterRename).await;
    let by_hand = names([("gone", "BY HAND"), ("staff", "BY HAND")]);
    fs::write(job.files(Fail::No).path("groups"), serde_json::to_vec(&by_hand).unwrap()).unwrap();

    let (mut ledger, files) = (job.ledger(), job.files(Fail::No));
    let run = ledger.begin_run("run", at(2)).unwrap();
    let found = settle(&files, &mut ledger, run, &crate::clock::Clock::real()).await.unwrap();
    assert!(found[0].contains("was changed by someone else since"), "{found:?}");
    let rows = rows(&ledger, "groups");
    assert_eq!(rows.keys().collect::<Vec<_>>(), ["gone", "staff"]);
    assert!(rows.values().all(|row| row.values.is_empty() && row.state == State::Owned));
}

#[tokio::test]
async fn a_request_to_stop_is_heard_between_types() {
    let folder = crate::testing::folder();
    let job = prepare(folder.path()).await;
    let (mut ledger, files) = (job.ledger(), job.files(Fail::No));
    let run = ledger.begin_run("run", at(1)).unwrap();
    let plan = plan(&ledger, &files, &new());
    let stop = AtomicBool::new(false);
    let mut seen = Vec::new();
    let mut progress = |progress: Progress<'_>| {
        stop.store(true, Ordering::Relaxed);
        seen.push((progress.ty.to_string(), progress.done, progress.of));
    };
    let applied = apply(
        &plan,
        &files,
        &mut ledger,
        run,
        &mut Watch { progress: &mut progress, stop: &stop, clock: &crate::clock::Clock::real() },
    )
    .await
    .unwrap();
    assert_eq!(seen, [("groups".to_string(), 1, 8), ("groups".to_string(), 2, 8)]);
    assert_eq!(applied.types[0].done.values().sum::<u64>(), 2);
    assert_eq!(applied.types[1].not_attempted, 6);
    assert_eq!(applied.stopped.unwrap().what, "stopped on request before users");
}

#[tokio::test]
async fn an_unfit_plan_is_refused_before_anything_is_begun() {
    let folder = crate::testing::folder();
    let job = prepare(folder.path()).await;
    let (mut ledger, files) = (job.ledger(), job.files(Fail::No));
    let run = ledger.begin_run("apply", at(2)).unwrap();
    let good = plan(&ledger, &files, &new());
    let edit = |edit: &dyn Fn(&mut crate::plan::Header)| -> Plan {
        let mut plan = good.clone();
        edit(&mut plan.header);
        plan
    };
    for (plan, exit, words) in [
        (edit(&|header| header.preview = Some("the snapshot is old".into())), Exit::Stale, "the snapshot is old"),
        (edit(&|header| header.generation += 1), Exit::Stale, "at generation 3 of the ledger, which is at 2"),
        (edit(&|header| header.job = "other".into()), Exit::Usage, "the job \"other\", the ledger for \"job\""),
        (edit(&|header| header.tenant = "other".into()), Exit::Usage, "the tenant \"other\""),
        (edit(&|header| header.target = "other".into()), Exit::Usage, "the target \"other\""),
    ] {
        let error = apply_plan(&plan, &files, &mut ledger, run).await.err().unwrap();
        assert_eq!(error.exit, exit, "{error}");
        assert!(error.to_string().contains(words), "{error}");
    }
    assert_eq!(ledger.runs(1).unwrap()[0].plan, None);

    apply_plan(&good, &job.files(Fail::CommitAfterRename), &mut ledger, run).await.unwrap();
    let error = apply_plan(&good, &files, &mut ledger, run).await.err().unwrap();
    assert!(error.what.contains("left groups unfinished"), "{error}");
    assert_eq!(ledger.last_snapshot_as_of().unwrap(), Some(at(0)));
}

const CHILD_FOLDER: &str = "ENTRA_IMPORT_TEST_FOLDER";

/// Not a test of its own: the process that dies. Brings the folder that the variable names to the new state.
#[tokio::test]
async fn child() {
    let Ok(folder) = std::env::var(CHILD_FOLDER) else { return };
    let (_, applied) = Job::new(Path::new(&folder)).run(&new(), Fail::No).await;
    assert!(applied.stopped.is_none());
}

/// Copies `start` and lets the child die there at that point; true when it came to its end instead.
fn died_at(start: &Path, name: &str, crash_at: u32) -> (PathBuf, bool) {
    let folder = start.with_file_name(name);
    copy(start, &folder);
    let ended = run_child(&folder, crash_at);
    (folder, ended)
}

fn run_child(folder: &Path, crash_at: u32) -> bool {
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "apply::tests::child", "--nocapture", "--test-threads=1"])
        .env(CHILD_FOLDER, folder)
        .env(crash::VARIABLE, crash_at.to_string())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    let died = text.contains("dying at");
    assert!(output.status.success() != died, "neither ended nor died at a point: {text}");
    !died
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

fn has_unfinished_batch(died: &Path) -> bool {
    // In a copy: opening the ledger is a step of recovery in itself.
    let copied = died.with_extension("probed");
    copy(died, &copied);
    let ledger = copied.join("state/ledger.sqlite3");
    let journal = "SELECT EXISTS (SELECT 1 FROM journal)";
    ledger.exists() && rusqlite::Connection::open(ledger).unwrap().query_row(journal, [], |row| row.get(0)).unwrap()
}

/// Dies at every point in turn and, where a batch is left to settle, again at each point of settling; a run that is
/// left in peace must then come to the state of one that was never disturbed. Returns the number of points.
fn die_everywhere(start: &Path) -> u32 {
    // What a run does before it plans: enter itself, look at the interrupted batch, record it, mark the dead run.
    const RECOVERING: u32 = 7;
    let expected = Job::new(&died_at(start, "undisturbed", 0).0).state();
    for first in 1.. {
        let (died, ended) = died_at(start, &format!("died-{first}"), first);
        if ended {
            return first - 1;
        }
        for second in 0..=if has_unfinished_batch(&died) { RECOVERING } else { 0 } {
            let (again, ended) = died_at(&died, &format!("died-{first}-{second}"), second);
            assert!(ended || run_child(&again, 0));
            assert_eq!(Job::new(&again).state(), expected, "died at {first}, then at {second}");
        }
    }
    unreachable!("a run has an end")
}

#[test]
fn a_crash_at_any_point_and_another_while_recovering_lose_and_double_nothing() {
    let root = crate::testing::folder();
    let start = root.path().join("before");
    tokio::runtime::Runtime::new().unwrap().block_on(prepare(&start));
    // Each durable step has a point before and after it: run begun, marked, applies, finished; stage, intent, the
    // target's commit, the ledger's commit of two types. Of each type its rows: begun, and waiting in the ledger.
    assert_eq!(die_everywhere(&start), 2 * (4 + 2 * 4) + 2 * 2);
}

#[test]
fn a_crash_at_any_point_of_the_very_first_run_loses_and_doubles_nothing() {
    let root = crate::testing::folder();
    let start = root.path().join("before");
    fs::create_dir(&start).unwrap();
    assert_eq!(die_everywhere(&start), 2 + 2 * (4 + 2 * 4) + 2 * 2, "two more: the ledger is created");
}
