//! Tests of the ledger against real files.

use std::fs;
use std::path::Path;

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::error::Exit;
use crate::plan::change::{Action, Cause, Held, Leaving, Origin, Refusal, Row, State, Written, WrittenValue};
use crate::plan::datum::{Datum, Set};
use crate::plan::matching::{OwnedKey, Ownership};
use crate::plan::policy::CauseKind;
use crate::plan::{Approval, ApprovedRecord, LimitCheck, LimitName};
use crate::record::{Guid, Key, Unknown};
use crate::target::BatchMark;

fn identity() -> Identity {
    Identity { job: "contoso".into(), tenant: "contoso.onmicrosoft.com".into(), target: "csv:export".into() }
}

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn new_ledger(folder: &Path) -> Ledger {
    Ledger::open(&folder.join("contoso/ledger.sqlite3"), &identity()).unwrap()
}

fn held(applied: &str, settled: &str) -> Held {
    Held { applied: Datum::text(applied), settled: Datum::text(settled) }
}

fn row(name: &str) -> Row {
    Row {
        mapping: "user".into(),
        state: State::Owned,
        origin: Origin::Created,
        target_id: format!("id of {name}"),
        label: name.into(),
        values: [("Name".to_string(), held(name, name))].into(),
        missing_since: None,
    }
}

fn leaving() -> Leaving {
    Leaving {
        since: at("2026-01-01T00:00:00Z"),
        cause: Cause { kind: CauseKind::Gone, words: "deleted in Entra".into() },
        steps_done: 1,
        before: [("Status".to_string(), (Datum::Empty, Datum::text("Left")))].into(),
        paused_at: None,
    }
}

fn write(ledger: &mut Ledger, ty: &str, rows: Vec<(Key, Option<Row>)>) {
    let run = ledger.begin_run("run", at("2026-03-01T02:00:00Z")).unwrap();
    ledger.write_rows(run, ty, rows.into_iter().map(Ok)).unwrap();
}

fn batch(ledger: &Ledger, run: RunId, rows: impl IntoIterator<Item = impl Into<Became>>) -> Batch {
    let mut batch = ledger.batch(run, "users");
    rows.into_iter().for_each(|row| batch.push(row.into()).unwrap());
    batch
}

fn all(ledger: &Ledger, ty: &str) -> Vec<(Key, Row)> {
    let mut found = Vec::new();
    ledger
        .rows(ty, &mut |key, row| {
            found.push((key, row));
            Ok(())
        })
        .unwrap();
    found
}

fn mark() -> BatchMark {
    BatchMark {
        path: "export/users.csv".into(),
        staged: "export/.users.csv.new".into(),
        before: None,
        after: "ab".into(),
    }
}

#[test]
fn rows_of_every_state_read_back() {
    let folder = crate::testing::folder();
    let mut ledger = new_ledger(folder.path());
    let mut retired = row("retired");
    retired.state = State::Retired(leaving());
    let mut paused = row("paused");
    paused.state = State::Retired(Leaving { paused_at: Some(at("2026-02-01T00:00:00.5Z")), ..leaving() });
    paused.missing_since = Some(at("2026-02-02T00:00:00Z"));
    let mut values = row("values");
    values.values = [
        ("Empty".to_string(), Held { applied: Datum::Empty, settled: Datum::Empty }),
        ("Differs".to_string(), held("Ada", "ada")),
        ("Set".to_string(), Held { applied: Datum::set(["a", "b"]), settled: Datum::set(["a", "b"]) }),
        ("No elements".to_string(), Held { applied: Datum::Set(Set::default()), settled: Datum::Empty }),
        ("Quote \" and ünï".to_string(), held("{\"a\":1}", "{\"a\":1}")),
    ]
    .into();
    let declined = Row { state: State::Declined, origin: Origin::Adopted, ..row("declined") };
    let pinned = Row { state: State::Pinned, ..row("pinned") };
    let mut rows = Vec::new();
    for row in [declined, paused, pinned, retired, values] {
        rows.push((Key::Text(row.label.as_str().into()), row));
    }
    write(&mut ledger, "users", rows.iter().cloned().map(|(key, row)| (key, Some(row))).collect());

    assert_eq!(all(&ledger, "users"), rows);
    let (mut keys, mut names) = (Vec::new(), Vec::new());
    let mut take = |row: OwnedKey, target_id: &str| {
        keys.push(row);
        names.push(target_id.to_string());
        Ok(())
    };
    ledger.keys("users", &mut take).unwrap();
    let light = |(key, row): &(Key, Row)| OwnedKey { key: key.clone(), standing: Ownership::of(&row.state) };
    assert_eq!(keys, rows.iter().map(light).collect::<Vec<_>>());
    assert_eq!(names, rows.iter().map(|(_, row)| row.target_id.clone()).collect::<Vec<_>>());
    assert_eq!(ledger.row("users", &rows[1].0).unwrap().as_ref(), Some(&rows[1].1));
    assert_eq!(ledger.row("groups", &rows[1].0).unwrap(), None);
    assert_eq!(ledger.key_of("users", "id of pinned").unwrap(), Some(Key::Text("pinned".into())));
    assert_eq!(ledger.types().unwrap(), ["users"]);
    assert_eq!(ledger.count_owned("users").unwrap(), 4);
}

#[test]
fn what_was_applied_and_settled_is_stored_once() {
    let folder = crate::testing::folder();
    let mut ledger = new_ledger(folder.path());
    let mut two = row("x");
    two.values.insert("Differs".into(), held("Ada", "ada"));
    write(&mut ledger, "users", vec![(Key::Text("x".into()), Some(two))]);
    let stored: String = ledger.connection.query_row("SELECT attributes FROM records", [], |row| row.get(0)).unwrap();
    assert_eq!(stored, r#"{"Differs":{"a":"Ada","d":"ada"},"Name":"x"}"#);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    #[test]
    fn rows_come_in_the_order_of_keys(ids in prop::collection::vec(any::<([u8; 16], Option<[u8; 16]>)>(), 0..20),
                                      texts in prop::collection::vec("[A-Za-z0-9 /-ü]{1,8}", 0..20)) {
        let folder = crate::testing::folder();
        let mut ledger = new_ledger(folder.path());
        let ids = ids.into_iter().map(|(a, b)| match b {
            None => Key::Guid(Guid(a)),
            Some(b) => Key::Pair(Guid(a), Guid(b)),
        });
        let mut keys: Vec<Key> = ids.chain(texts.iter().map(|text| Key::parse(text))).collect();
        keys.sort();
        keys.dedup();
        write(&mut ledger, "mixed", keys.iter().rev().map(|key| (key.clone(), Some(row("x")))).collect());
        let found: Vec<Key> = all(&ledger, "mixed").into_iter().map(|(key, _)| key).collect();
        prop_assert_eq!(found, keys);
    }
}

#[test]
fn what_is_not_known_is_refused_and_nothing_is_kept_of_the_attempt() {
    let folder = crate::testing::folder();
    let mut ledger = new_ledger(folder.path());
    let run = ledger.begin_run("run", at("2026-03-01T02:00:00Z")).unwrap();
    let doubtful = Datum::Set(Set::new(vec!["a".into()], vec!["b".into()], None));
    for bad in [Datum::Unknown(Unknown::new("no right")), doubtful] {
        let mut applied = row("x");
        applied.values.insert("Phone".into(), Held { applied: bad.clone(), settled: Datum::Empty });
        let mut flagged = row("y");
        let before = [("Phone".to_string(), (bad, Datum::Empty))].into();
        flagged.state = State::Retired(Leaving { before, ..leaving() });
        for row_to_refuse in [applied, flagged] {
            let rows = [(Key::Text("ok".into()), Some(row("ok"))), (Key::Text("x".into()), Some(row_to_refuse))];
            let error = ledger.journal_batch(batch(&ledger, run, rows), &mark()).unwrap_err();
            assert!(error.to_string().contains("the value of Phone of users x is not known"), "{error}");
        }
    }
    assert_eq!(ledger.unfinished_batches().unwrap(), []);
}

#[test]
fn the_generation_counts_ownership_and_settled_values_only() {
    let folder = crate::testing::folder();
    let mut ledger = new_ledger(folder.path());
    let key = Key::Text("x".into());
    let mut generation = 0;
    let mut expect = |ledger: &mut Ledger, row: Option<Row>, moves: bool, what: &str| {
        write(ledger, "users", vec![(key.clone(), row)]);
        generation += u64::from(moves);
        assert_eq!(ledger.generation().unwrap(), generation, "{what}");
    };
    let retired = |leaving: Leaving| Some(Row { state: State::Retired(leaving), ..row("x") });
    let later = at("2026-05-05T00:00:00Z");

    expect(&mut ledger, None, false, "no row, none before");
    expect(&mut ledger, Some(row("x")), true, "a new row");
    expect(&mut ledger, Some(row("x")), false, "the same row");
    expect(&mut ledger, Some(Row { label: "y".into(), ..row("x") }), false, "a label");
    expect(&mut ledger, Some(Row { missing_since: Some(later), ..row("x") }), false, "missing since");
    expect(&mut ledger, Some(Row { values: BTreeMap::new(), ..row("x") }), true, "values");
    expect(&mut ledger, Some(Row { target_id: "other".into(), ..row("x") }), true, "target id");
    expect(&mut ledger, retired(leaving()), true, "retired");
    expect(&mut ledger, retired(Leaving { paused_at: Some(later), ..leaving() }), false, "a timer pauses");
    expect(&mut ledger, retired(Leaving { since: later, ..leaving() }), false, "a timer moves");
    expect(&mut ledger, retired(Leaving { steps_done: 2, ..leaving() }), true, "a step of the ladder");
    expect(&mut ledger, None, true, "forgotten");
    ledger.set_accepted_scope("true").unwrap();
    expect(&mut ledger, None, false, "the scope is no ownership");
}

#[test]
fn a_journalled_batch_shows_only_once_it_is_committed() {
    let folder = crate::testing::folder();
    let mut ledger = new_ledger(folder.path());
    let (stays, goes, comes) = (Key::Text("stays".into()), Key::Text("goes".into()), Key::Text("comes".into()));
    write(&mut ledger, "users", vec![(stays.clone(), Some(row("old"))), (goes.clone(), Some(row("goes")))]);
    let before = all(&ledger, "users");
    let run = ledger.begin_run("run", at("2026-03-02T02:00:00Z")).unwrap();
    let rows = || [(stays.clone(), Some(row("new"))), (goes.clone(), None), (comes.clone(), Some(row("comes")))];

    let id = ledger.journal_batch(batch(&ledger, run, rows()), &mark()).unwrap();
    drop(ledger);
    let mut ledger = new_ledger(folder.path());
    let unfinished = ledger.unfinished_batches().unwrap();
    assert_eq!(unfinished, [UnfinishedBatch { id, run, ty: "users".into(), mark: mark() }]);
    assert_eq!((all(&ledger, "users"), ledger.generation().unwrap()), (before.clone(), 1));

    ledger.discard_batch(id).unwrap();
    assert_eq!((all(&ledger, "users"), ledger.generation().unwrap()), (before, 1));
    assert_eq!(ledger.unfinished_batches().unwrap(), []);

    let id = ledger.journal_batch(batch(&ledger, run, rows()), &mark()).unwrap();
    ledger.commit_batch(id).unwrap();
    assert_eq!(all(&ledger, "users"), [(comes, row("comes")), (stays, row("new"))]);
    assert_eq!((ledger.generation().unwrap(), ledger.unfinished_batches().unwrap()), (2, vec![]));
}

#[test]
fn a_batch_nobody_can_tell_about_makes_its_values_unknown_and_keeps_ownership() {
    let folder = crate::testing::folder();
    let mut ledger = new_ledger(folder.path());
    let key = |text: &str| Key::Text(text.into());
    let old = ["aside", "goes", "stays"].map(|name| (key(name), Some(row(name))));
    write(&mut ledger, "users", old.to_vec());
    write(&mut ledger, "groups", vec![(key("stays"), Some(row("stays")))]);
    let run = ledger.begin_run("run", at("2026-03-02T02:00:00Z")).unwrap();
    let next = [(key("comes"), Some(row("comes"))), (key("goes"), None), (key("stays"), Some(row("new")))];
    let id = ledger.journal_batch(batch(&ledger, run, next), &mark()).unwrap();

    ledger.forget_values(id).unwrap();

    let emptied = |name: &str| (key(name), Row { values: BTreeMap::new(), ..row(name) });
    assert_eq!(all(&ledger, "users"), [(key("aside"), row("aside")), emptied("goes"), emptied("stays")]);
    assert_eq!(all(&ledger, "groups"), [(key("stays"), row("stays"))]);
    assert_eq!(ledger.generation().unwrap(), 3);
    assert_eq!(ledger.unfinished_batches().unwrap(), []);
}

#[derive(Clone, Copy, Debug)]
enum End {
    Commit,
    Discard,
    ForgetValues,
    Abandon,
    /// Killed before the batch was journalled.
    Die,
    AtOnce,
}

fn any_end() -> impl Strategy<Value = End> {
    use End::*;
    prop::sample::select(vec![Commit, Commit, Commit, Discard, ForgetValues, Abandon, Die, AtOnce])
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Whatever is written over what, and however each batch ends: until its end everybody sees what was true before, and
    /// from then on what a plain map says.
    #[test]
    fn rows_that_are_not_true_yet_hide_nothing_and_leave_nothing(
        batches in prop::collection::vec((prop::collection::btree_map(0..8u8, prop::option::of("[ab]"), 0..8), any_end()), 1..8),
    ) {
        let folder = crate::testing::folder();
        let mut ledger = new_ledger(folder.path());
        let run = ledger.begin_run("run", at("2026-03-02T02:00:00Z")).unwrap();
        let mut truth: BTreeMap<Key, Row> = BTreeMap::new();
        for (changes, end) in batches {
            let next: BTreeMap<Key, Option<Row>> = changes
                .into_iter()
                .map(|(key, value)| (Key::Text(key.to_string().into()), value.map(|value| row(&value))))
                .collect();
            let as_before = |ledger: &Ledger, truth: &BTreeMap<Key, Row>| {
                let reader = Ledger::open_to_read(&ledger.path, &identity()).unwrap().unwrap();
                for ledger in [ledger, &reader] {
                    prop_assert_eq!(all(ledger, "users"), truth.clone().into_iter().collect::<Vec<_>>());
                    for key in next.keys() {
                        prop_assert_eq!(ledger.row("users", key).unwrap(), truth.get(key).cloned());
                    }
                    prop_assert_eq!(ledger.count_owned("users").unwrap(), truth.len() as u64);
                }
                Ok(())
            };
            let generation = ledger.generation().unwrap();
            let batch = batch(&ledger, run, next.clone());
            let ended = match end {
                End::Abandon => ledger.abandon_batch(batch),
                End::AtOnce => ledger.write_batch(batch),
                End::Die => {
                    drop(batch.finish().unwrap());
                    as_before(&ledger, &truth)?;
                    ledger.discard_unmarked()
                }
                End::Commit | End::Discard | End::ForgetValues => {
                    let id = ledger.journal_batch(batch, &mark()).unwrap();
                    as_before(&ledger, &truth)?;
                    match end {
                        End::Commit => ledger.commit_batch(id),
                        End::Discard => ledger.discard_batch(id),
                        _ => ledger.forget_values(id),
                    }
                }
            };
            ended.unwrap();
            let mut moves = false;
            for (key, next) in &next {
                match end {
                    End::Commit | End::AtOnce => {
                        let before = match next {
                            Some(next) => truth.insert(key.clone(), next.clone()),
                            None => truth.remove(key),
                        };
                        moves |= before != *next;
                    }
                    End::ForgetValues => {
                        if let Some(row) = truth.get_mut(key) {
                            moves |= !row.values.is_empty();
                            row.values.clear();
                        }
                    }
                    End::Discard | End::Abandon | End::Die => {}
                }
            }
            as_before(&ledger, &truth)?;
            prop_assert_eq!(ledger.generation().unwrap(), generation + u64::from(moves));
            let left = "SELECT (SELECT count(*) FROM replaced) + (SELECT count(*) FROM journal)
                        + (SELECT count(*) FROM rows WHERE state IS NULL)";
            prop_assert_eq!(ledger.connection.query_row(left, [], |row| row.get::<_, i64>(0)).unwrap(), 0);
        }
    }
}

#[test]
fn a_record_that_is_changed_twice_is_named() {
    let folder = crate::testing::folder();
    let mut ledger = new_ledger(folder.path());
    let key = |text: &str| Key::Text(text.into());
    let run = ledger.begin_run("run", at("2026-03-02T02:00:00Z")).unwrap();
    let refuses = |ledger: &mut Ledger, name: &str| {
        let before = all(ledger, "users");
        for next in [Some(row("again")), None] {
            let twice = [(key(name), Some(row("x"))), (key(name), next)];
            let error = ledger.write_rows(run, "users", twice.into_iter().map(Ok)).unwrap_err();
            assert!(error.to_string().contains(&format!("the plan changes users {name} twice")), "{error}");
            assert_eq!(all(ledger, "users"), before);
        }
    };
    refuses(&mut ledger, "the first of all");
    write(&mut ledger, "users", vec![(key("known"), Some(row("known")))]);
    refuses(&mut ledger, "known");
    refuses(&mut ledger, "new");
}

#[test]
fn another_job_tenant_or_target_is_refused_with_both_values() {
    let folder = crate::testing::folder();
    let path = folder.path().join("contoso/ledger.sqlite3");
    drop(new_ledger(folder.path()));
    let cases = [
        (Identity { job: "fabrikam".into(), ..identity() }, "\"contoso\"", "\"fabrikam\""),
        (Identity { tenant: "fabrikam.com".into(), ..identity() }, "\"contoso.onmicrosoft.com\"", "\"fabrikam.com\""),
        (Identity { target: "csv:other".into(), ..identity() }, "\"csv:export\"", "\"csv:other\""),
    ];
    for (other, found, wanted) in cases {
        for error in [Ledger::open(&path, &other).unwrap_err(), Ledger::open_to_read(&path, &other).unwrap_err()] {
            let text = error.to_string();
            assert_eq!(error.exit, Exit::Usage);
            assert!(text.contains(found) && text.contains(wanted) && text.contains("to do:"), "{text}");
        }
    }
}

/// Opens a file that is no good both ways: refused with these words, and left as it was.
fn assert_refused(path: &Path, words: &str) {
    let before = fs::read(path).unwrap();
    for error in [Ledger::open(path, &identity()).unwrap_err(), Ledger::open_to_read(path, &identity()).unwrap_err()] {
        let text = error.to_string();
        assert_eq!(error.exit, Exit::Failed, "{text}");
        assert!(text.contains(words) && text.contains("to do:") && text.contains("ledger.sqlite3"), "{words}: {text}");
    }
    assert!(fs::read(path).unwrap() == before, "the file was changed ({words})");
}

#[test]
fn what_is_no_intact_ledger_is_refused_and_left_alone() {
    let folder = crate::testing::folder();
    let path = folder.path().join("contoso/ledger.sqlite3");
    let mut ledger = new_ledger(folder.path());
    let rows = (0..2000).map(|n| (Key::Text(format!("key {n}").into()), Some(row("somebody")))).collect();
    write(&mut ledger, "users", rows);
    // No free pages: damage there is no damage.
    ledger.connection.execute_batch("VACUUM").unwrap();
    drop(ledger);
    let good = fs::read(&path).unwrap();

    fs::write(&path, "").unwrap();
    assert_refused(&path, "the file is empty");
    fs::write(&path, "name,mail\nAda,ada@contoso.com\n").unwrap();
    assert_refused(&path, "is not a ledger");
    for length in [17, 100, 4096, good.len() / 2] {
        fs::write(&path, &good[..length]).unwrap();
        assert_refused(&path, "");
    }
    for start in [24, 8192, good.len() / 2 / 8192 * 8192] {
        let mut bytes = good.clone();
        bytes[start..start + 3000].iter_mut().zip(0u32..).for_each(|(byte, n)| *byte = (n * 37 + 11) as u8);
        fs::write(&path, &bytes).unwrap();
        assert_refused(&path, "");
    }
    fs::remove_file(&path).unwrap();
    rusqlite::Connection::open(&path).unwrap().execute_batch("CREATE TABLE mine (x)").unwrap();
    assert_refused(&path, "is not a ledger");

    fs::write(&path, &good).unwrap();
    assert_eq!(all(&new_ledger(folder.path()), "users").len(), 2000);
}

#[test]
fn a_newer_format_is_refused() {
    let folder = crate::testing::folder();
    let ledger = new_ledger(folder.path());
    ledger.connection.pragma_update(None, "user_version", 99).unwrap();
    drop(ledger);
    assert_refused(&folder.path().join("contoso/ledger.sqlite3"), "has format 99; this program knows up to 2");
}

#[test]
fn a_reader_needs_no_ledger_and_sees_one_state() {
    let folder = crate::testing::folder();
    let path = folder.path().join("contoso/ledger.sqlite3");
    assert!(Ledger::open_to_read(&path, &identity()).unwrap().is_none());
    assert!(!path.exists() && !path.parent().unwrap().exists());

    let mut writer = new_ledger(folder.path());
    write(&mut writer, "users", vec![(Key::Text("x".into()), Some(row("x")))]);
    let mut reader = Ledger::open_to_read(&path, &identity()).unwrap().unwrap();
    write(&mut writer, "users", vec![(Key::Text("y".into()), Some(row("y")))]);
    assert_eq!((reader.count_owned("users").unwrap(), writer.count_owned("users").unwrap()), (1, 2));
    assert_eq!((reader.generation().unwrap(), writer.generation().unwrap()), (1, 2));
    assert!(reader.set_accepted_scope("true").is_err());
}

#[test]
fn a_half_made_ledger_is_made_anew() {
    let folder = crate::testing::folder();
    let path = folder.path().join("contoso/ledger.sqlite3");
    fs::create_dir(path.parent().unwrap()).unwrap();
    fs::write(folder.path().join("contoso/ledger.sqlite3.new"), "half").unwrap();
    let ledger = new_ledger(folder.path());
    assert_eq!((ledger.generation().unwrap(), ledger.identity().unwrap()), (0, identity()));
}

#[test]
fn approvals_read_back_until_they_are_used() {
    let folder = crate::testing::folder();
    let mut ledger = new_ledger(folder.path());
    let record =
        |key: &str, cause| ApprovedRecord { ty: "users".into(), key: Key::Text(key.into()), cause, shown: None };
    let retires = Approval {
        limit: LimitName::Retires,
        plan: "p-1".into(),
        at: at("2026-03-01T09:00:00Z"),
        by: "ada".into(),
        records: vec![
            record("a", Some(CauseKind::Gone)),
            record("b", Some(CauseKind::Disabled)),
            record("c", Some(CauseKind::Out)),
            record("d", None),
        ],
        undoes: true,
        scope: None,
    };
    let edit = Approval {
        limit: LimitName::FilterEdit,
        records: Vec::new(),
        undoes: false,
        scope: Some("accountEnabled eq true".into()),
        ..retires.clone()
    };
    let first = ledger.approve(&retires).unwrap();
    let second = ledger.approve(&edit).unwrap();
    assert_eq!(ledger.approvals().unwrap(), [(first, retires), (second, edit.clone())]);
    let run = ledger.begin_run("run", at("2026-03-02T02:00:00Z")).unwrap();
    ledger.use_up(&[first], run).unwrap();
    assert_eq!(ledger.approvals().unwrap(), [(second, edit)]);
}

#[test]
fn held_plans_wait_newest_first_until_a_run_goes_through() {
    let folder = crate::testing::folder();
    let mut ledger = new_ledger(folder.path());
    let limit = LimitCheck {
        limit: LimitName::Retires,
        on: "users".into(),
        count: 40,
        allowed: 10,
        base: 100,
        approved: 0,
        held: true,
        words: "40 of 100 users would be retired.".into(),
    };
    let plan = |id: &str, as_of| HeldPlan {
        plan: id.into(),
        file: format!("state/{id}.plan").into(),
        as_of: at(as_of),
        limits: vec![limit.clone()],
        undoes: false,
    };
    let (old, new) = (plan("old", "2026-03-01T02:00:00Z"), plan("new", "2026-03-01T02:00:00.5Z"));
    for held in [&old, &new, &old] {
        ledger.hold(held).unwrap();
    }
    assert_eq!(ledger.pending().unwrap(), [new, old]);
    ledger.release_held(true).unwrap();
    assert_eq!(ledger.pending().unwrap().len(), 2, "they are of the nights");
    ledger.release_held(false).unwrap();
    assert_eq!(ledger.pending().unwrap(), []);
}

#[test]
fn the_history_tells_finished_from_unfinished_and_dead_runs() {
    let folder = crate::testing::folder();
    let mut ledger = new_ledger(folder.path());
    assert_eq!((ledger.last_as_of().unwrap(), ledger.last_snapshot_as_of().unwrap()), (None, None));
    let future = ledger.begin_run("run", at("2030-01-01T00:00:00Z")).unwrap();
    ledger.finish_run(future, at("2030-01-01T00:01:00Z"), Exit::Done, &json!({ "created": 3 })).unwrap();
    let dead = ledger.begin_run("apply", at("2026-03-01T02:00:00Z")).unwrap();
    let held = ledger.begin_run("run", at("2026-03-02T02:00:00Z")).unwrap();
    ledger.finish_run(held, at("2026-03-02T02:01:00Z"), Exit::Held, &json!(null)).unwrap();
    let now = ledger.begin_run("run", at("2026-03-03T02:00:00Z")).unwrap();

    assert_eq!(ledger.last_as_of().unwrap(), Some(at("2026-03-02T02:00:00Z")));
    let unfinished: Vec<RunId> = ledger.unfinished_runs().unwrap().iter().map(|run| run.id).collect();
    assert_eq!(unfinished, [now, dead]);
    ledger.mark_interrupted(now).unwrap();
    let runs = ledger.runs(3).unwrap();
    let states: Vec<_> = runs.iter().map(|run| (run.id, run.state, run.exit)).collect();
    let finished = (held, RunState::Finished, Some(Exit::Held as u8));
    assert_eq!(states, [(now, RunState::Running, None), finished, (dead, RunState::Interrupted, None)]);
    assert_eq!(ledger.runs(9).unwrap()[3].summary, Some(json!({ "created": 3 })));
}

#[test]
fn scope_and_good_run_read_back() {
    let folder = crate::testing::folder();
    let mut ledger = new_ledger(folder.path());
    assert_eq!((ledger.accepted_scope().unwrap(), ledger.last_good_run().unwrap()), (None, None));
    let good = GoodRun { as_of: at("2026-03-01T02:00:00Z"), counts: [(Collection::LicenseAssignments, 7)].into() };
    ledger.set_accepted_scope("first").unwrap();
    ledger.set_accepted_scope("accountEnabled eq true").unwrap();
    ledger.record_good_run(&good).unwrap();
    assert_eq!(ledger.accepted_scope().unwrap().as_deref(), Some("accountEnabled eq true"));
    assert_eq!(ledger.last_good_run().unwrap(), Some(good));
}

#[test]
fn what_a_crashed_run_left_beside_a_refused_ledger_is_left_there() {
    let folder = crate::testing::folder();
    let mut ledger = new_ledger(folder.path());
    write(&mut ledger, "users", vec![(Key::Text("x".into()), Some(row("x")))]);
    let died = folder.path().join("died");
    fs::create_dir(&died).unwrap();
    for file in ["ledger.sqlite3", "ledger.sqlite3-wal"] {
        fs::copy(folder.path().join("contoso").join(file), died.join(file)).unwrap();
    }
    let path = died.join("ledger.sqlite3");
    let before = fs::read(&path).unwrap();

    Ledger::open(&path, &Identity { job: "other".into(), ..identity() }).unwrap_err();
    assert!(fs::read(&path).unwrap() == before);
    assert_eq!(all(&Ledger::open(&path, &identity()).unwrap(), "users"), [(Key::Text("x".into()), row("x"))]);
}

#[test]
fn a_batch_of_many_chunks_is_seen_whole_or_not_at_all_and_leaves_nothing_once_abandoned() {
    let folder = crate::testing::folder();
    let mut ledger = new_ledger(folder.path());
    let key = |n: usize| Key::Text(format!("{n:06}").into());
    write(&mut ledger, "users", (0..9).map(|n| (key(n), Some(row("old")))).collect());
    let run = ledger.begin_run("run", at("2026-03-02T02:00:00Z")).unwrap();
    let rows = || (0..10_000).map(|n| became_at(key(n), (n % 2 == 0).then(|| row("new"))));
    let sees = |ledger: &Ledger| (all(ledger, "users").len(), history(ledger, run).len(), ledger.generation().unwrap());
    let everything = |ledger: &Ledger| -> i64 {
        let count = "SELECT (SELECT count(*) FROM rows) + (SELECT count(*) FROM replaced)
                     + (SELECT count(*) FROM journal) + (SELECT count(*) FROM written)";
        ledger.connection.query_row(count, [], |row| row.get(0)).unwrap()
    };

    // Dead while rows were collected: the next run takes them away.
    drop(batch(&ledger, run, rows()).finish().unwrap());
    assert_eq!(sees(&ledger), (9, 0, 1));
    assert!(everything(&ledger) > 10_000);
    ledger.discard_unmarked().unwrap();
    assert_eq!(everything(&ledger), 9);
    // Given up.
    let given_up = batch(&ledger, run, rows());
    ledger.abandon_batch(given_up).unwrap();
    assert_eq!((sees(&ledger), everything(&ledger)), ((9, 0, 1), 9));
    // Refused by the ledger long before its end.
    let doubtful = Held { applied: Datum::Unknown(Unknown::new("no right")), settled: Datum::Empty };
    let bad = Row { values: [("Phone".to_string(), doubtful)].into(), ..row("bad") };
    let mut failing = ledger.batch(run, "users");
    let told = std::iter::once((key(20_000), Some(bad)).into())
        .chain(rows())
        .chain(rows())
        .try_for_each(|row| failing.push(row))
        .unwrap_err();
    assert!(told.to_string().contains("the value of Phone"), "{told}");
    ledger.abandon_batch(failing).unwrap();
    assert_eq!((sees(&ledger), everything(&ledger)), ((9, 0, 1), 9));

    let id = ledger.journal_batch(batch(&ledger, run, rows()), &mark()).unwrap();
    assert_eq!(sees(&ledger), (9, 0, 1));
    ledger.commit_batch(id).unwrap();
    assert_eq!(sees(&ledger), (5000, 10_000, 2));
    assert_eq!(everything(&ledger), 5000 + 10_000, "what was replaced is gone");
}

/// What a run did, by key: the action, its values, and the label of the row before a delete.
fn history(ledger: &Ledger, run: RunId) -> Vec<String> {
    let mut found = Vec::new();
    let mut each = |key: Key, done: crate::plan::undo::Done| {
        let values: Vec<String> = done
            .written
            .values
            .iter()
            .map(|value| format!("{} {} {}", value.name, value.before, value.after))
            .collect();
        let before = done.before.map(|row| row.label).unwrap_or_default();
        found.push(format!("{key} {} [{}] {before}", done.written.action.word(), values.join(", ")));
        Ok(())
    };
    ledger.written(run, "users", &mut each).unwrap();
    found
}

fn became_at(key: Key, row: Option<Row>) -> Became {
    let action = if row.is_some() { Action::Create } else { Action::Delete };
    Became { key, row, written: Some(Written { action, values: Vec::new() }) }
}

fn became(name: &str, action: Action, row: Option<Row>) -> Became {
    let value = WrittenValue { name: "Name".into(), before: Datum::text("old"), after: Datum::text("new") };
    let values = if action == Action::Update { vec![value] } else { Vec::new() };
    Became { key: Key::Text(name.into()), row, written: Some(Written { action, values }) }
}

#[test]
fn what_a_run_wrote_is_kept_once_the_ledger_agrees_and_as_long_as_is_asked() {
    let folder = crate::testing::folder();
    let mut ledger = new_ledger(folder.path());
    let first = ledger.begin_run("run", at("2026-03-01T02:00:00Z")).unwrap();
    let made = [became("a", Action::Create, Some(row("a"))), became("b", Action::Create, Some(row("b")))];
    ledger.write_rows(first, "users", made.into_iter().map(Ok)).unwrap();
    write(&mut ledger, "users", vec![(Key::Text("quiet".into()), Some(row("quiet")))]);
    let second = ledger.begin_run("run", at("2026-03-02T02:00:00Z")).unwrap();
    let next = [became("a", Action::Update, Some(row("a2"))), became("b", Action::Delete, None)];
    let id = ledger.journal_batch(batch(&ledger, second, next), &mark()).unwrap();
    assert_eq!(history(&ledger, second), [""; 0], "nothing is said to be written before it is");
    ledger.commit_batch(id).unwrap();

    assert_eq!(history(&ledger, first), ["a create [] ", "b create [] "]);
    assert_eq!(history(&ledger, second), ["a update [Name \"old\" \"new\"] ", "b delete [] b"]);
    assert_eq!(ledger.types_written(second).unwrap(), ["users"]);
    let since = ledger.written_since(first, "users").unwrap();
    assert_eq!(since.iter().map(Key::to_string).collect::<Vec<_>>(), ["a", "b"]);

    ledger.clear_history(2, Some(at("2026-03-01T02:00:00Z"))).unwrap();
    assert_eq!((history(&ledger, first).len(), history(&ledger, second).len()), (2, 2));
    ledger.clear_history(2, Some(at("2026-03-01T02:00:00.5Z"))).unwrap();
    assert_eq!((history(&ledger, first).len(), history(&ledger, second).len()), (0, 2));
    ledger.clear_history(0, None).unwrap();
    assert_eq!(history(&ledger, second).len(), 0);
}

#[test]
fn decisions_and_refusals_read_back() {
    let folder = crate::testing::folder();
    let mut ledger = new_ledger(folder.path());
    let key = Key::Text("x".into());
    write(&mut ledger, "users", vec![(key.clone(), Some(row("x")))]);
    let run = ledger.begin_run("decline", at("2026-03-02T09:00:00Z")).unwrap();
    let declined = Row { state: State::Declined, ..row("x") };
    let decision = |rule, before: Row, after: Option<Row>| Decision {
        rule,
        ty: "users".into(),
        key: key.clone(),
        before: Some(before),
        rows: vec![(key.clone(), after)],
    };
    let noon = at("2026-03-02T12:00:00Z");
    ledger.decide(run, noon, "ada", &[decision(Rule::Decline, row("x"), Some(declined.clone()))]).unwrap();
    assert_eq!(ledger.row("users", &key).unwrap(), Some(declined.clone()));
    assert_eq!(ledger.before_decision(Rule::Decline, "users", &key).unwrap(), Some(row("x")));
    assert_eq!(ledger.before_decision(Rule::Pin, "users", &key).unwrap(), None);
    ledger.decide(run, noon, "bob", &[decision(Rule::RevokeDecline, declined, Some(row("x")))]).unwrap();
    let told: Vec<_> = ledger.decisions(9).unwrap().into_iter().map(|d| (d.by, d.what, d.at)).collect();
    let expected = [("bob", "decline --revoke"), ("ada", "decline")];
    assert_eq!(told, expected.map(|(by, what)| (by.to_string(), what.to_string(), noon)));

    let refusal = |name: &str| Refusal {
        ty: "users".into(),
        key: Key::Text(name.into()),
        content: "0123".into(),
        at: noon,
        reason: "not today".into(),
    };
    ledger.set_refusals(&[refusal("a"), refusal("b")], true).unwrap();
    ledger.set_refusals(&[refusal("c")], false).unwrap();
    assert_eq!(ledger.refusals().unwrap().into_values().collect::<Vec<_>>(), ["a", "b", "c"].map(refusal));
    ledger.set_refusals(&[refusal("b")], true).unwrap();
    assert_eq!(ledger.refusals().unwrap().into_values().collect::<Vec<_>>(), [refusal("b")]);
}

#[test]
fn whoever_is_erased_leaves_no_byte_in_the_file() {
    let folder = crate::testing::folder();
    let mut ledger = new_ledger(folder.path());
    let (id, other) = (Guid([0xab; 16]), Guid([0xcd; 16]));
    let rows = vec![
        (Key::Guid(id), Some(row("Megan Bowen"))),
        (Key::Guid(other), Some(row("Adele Vance"))),
        (Key::Pair(other, id), Some(row("Megan Bowen in Sales"))),
    ];
    write(&mut ledger, "users", rows);
    assert_eq!(ledger.owned_by(id).unwrap().len(), 2);
    assert_eq!(ledger.erase(id).unwrap().entries, 2);
    assert_eq!(all(&ledger, "users").len(), 1);
    drop(ledger);
    for entry in fs::read_dir(folder.path().join("contoso")).unwrap() {
        let path = entry.unwrap().path();
        let bytes = fs::read(&path).unwrap();
        for trace in [id.to_string(), "Megan Bowen".to_string()] {
            assert!(
                !bytes.windows(trace.len()).any(|window| window == trace.as_bytes()),
                "{trace} in {}",
                path.display()
            );
        }
    }
}

#[test]
fn a_ledger_is_exported_and_imported_for_its_own_job_only_unless_it_moved() {
    let folder = crate::testing::folder();
    let key = Key::Text("x".into());
    write(&mut new_ledger(folder.path()), "users", vec![(key.clone(), Some(row("x")))]);
    let (old, out) = (folder.path().join("contoso/ledger.sqlite3"), folder.path().join("out"));
    let reader = || Ledger::open_to_read(&old, &identity()).unwrap().unwrap();
    reader().copy_to(&out).unwrap();
    assert!(reader().copy_to(&out).unwrap_err().to_string().contains("is there already"));

    let new = folder.path().join("new");
    fs::create_dir(&new).unwrap();
    let new = new.join("ledger.sqlite3");
    let moved = Identity { target: "csv:/mnt/export".into(), ..identity() };
    let refused = import(&out, &new, &moved, false).unwrap_err().to_string();
    assert!(refused.contains("belongs to the target") && !new.exists(), "{refused}");
    assert!(refused.contains(&format!("the ledger {} ", out.display())) && refused.contains("--moved"), "{refused}");
    assert_eq!(import(&out, &new, &moved, true).unwrap(), None);
    assert_eq!(Ledger::open(&new, &moved).unwrap().row("users", &key).unwrap(), Some(row("x")));
    // The one that is there is kept beside it, with what a run that died left in its log, and the log is no longer there
    // for the new one to be read with.
    let other = Key::parse("22222222-2222-2222-2222-222222222222");
    let log = new.with_file_name("ledger.sqlite3-wal");
    let mut died = Ledger::open(&new, &moved).unwrap();
    write(&mut died, "users", vec![(other.clone(), Some(row("y")))]);
    let (as_left, log_as_left) = (fs::read(&new).unwrap(), fs::read(&log).unwrap());
    drop(died);
    fs::write(&new, as_left).unwrap();
    fs::write(&log, log_as_left).unwrap();
    let kept = import(&out, &new, &moved, true).unwrap().unwrap();
    let alone = folder.path().join("alone.sqlite3");
    fs::copy(&kept, &alone).unwrap();
    assert_eq!(Ledger::open(&alone, &moved).unwrap().row("users", &other).unwrap(), Some(row("y")));
    assert!(!log.exists());
    assert_eq!(Ledger::open(&new, &moved).unwrap().row("users", &other).unwrap(), None);
    // One that nothing can be read from is kept as it is.
    fs::write(&new, "damaged").unwrap();
    fs::write(&log, "its log").unwrap();
    let kept = import(&out, &new, &moved, true).unwrap().unwrap();
    assert_eq!(fs::read_to_string(&kept).unwrap(), "damaged");
    let of_kept = format!("{}-wal", kept.display());
    assert_eq!(fs::read_to_string(of_kept).unwrap(), "its log");
    assert_eq!(Ledger::open(&new, &moved).unwrap().row("users", &other).unwrap(), None);

    let good = fs::read(&out).unwrap();
    for bad in [&good[..good.len() / 2], b"no ledger"] {
        fs::write(&out, bad).unwrap();
        let refused = import(&out, &new, &moved, true).unwrap_err().to_string();
        assert!(refused.contains(&out.display().to_string()), "{refused}");
        assert!(!refused.contains(".import") && refused.contains("`entra-import state export` wrote"), "{refused}");
    }
    assert!(import(&out, &new, &moved, true).unwrap_err().to_string().contains("is not a ledger"));
    assert_eq!(Ledger::open(&new, &moved).unwrap().count_owned("users").unwrap(), 1);
    assert!(
        import(&folder.path().join("none"), &new, &moved, true).unwrap_err().to_string().contains("there is no file")
    );
}

#[test]
fn a_full_disk_is_thought_of_where_sqlite_cannot_read_or_write() {
    // 4874: it cannot make the shared index beside the ledger (SQLITE_IOERR_SHMSIZE); 13: it says what it is itself.
    for (code, advice) in
        [(4874, "full"), (778, "full"), (13, "free some space"), (8, "let the account"), (5, "close it")]
    {
        let cause = rusqlite::Error::SqliteFailure(rusqlite::ffi::Error::new(code), None);
        let error = sqlite_error("cannot read", Path::new("ledger.sqlite3"), cause);
        assert!(error.hint.as_ref().is_some_and(|hint| hint.contains(advice)), "{code}: {error}");
    }
}
