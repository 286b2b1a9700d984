//! Killed at any instant and run again: the same files as an undisturbed run leaves, and then nothing left to do.
//!
//! `CRASH_PEOPLE` adds so many people to the tenant (`make crash`): a third of them change in the night, a third go, and
//! as many come.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::time::Instant;

use graph_sim::{Deletion, Kind, Member, Tenant};

use crate::world::{ALL, DELETE, NO_LIMITS, SCOPE, World, all_rights, busy_night, contoso, id, user};

const ABORTED: i32 = 1006;
const KILLED: i32 = 9;

fn crowd() -> std::ops::Range<u32> {
    let people = std::env::var("CRASH_PEOPLE").ok().and_then(|people| people.parse().ok()).unwrap_or(0);
    1_000..1_000 + people
}

fn tenant() -> Tenant {
    let mut tenant = contoso();
    for n in crowd() {
        tenant.put(Kind::User, user(n));
        assert!(tenant.add_member(&id(103), Member::new(Kind::User, id(n))));
    }
    tenant
}

fn night(tenant: &mut Tenant) {
    busy_night(tenant);
    for n in crowd() {
        match n % 3 {
            0 => assert!(tenant.remove(Kind::User, &id(n), Deletion::Soft)),
            1 => assert!(tenant.set(Kind::User, &id(n), "department", "Legal".into())),
            _ => drop(tenant.put(Kind::User, user(100_000 + n))),
        }
    }
}

/// A world before the run that is disturbed, and the files that an undisturbed one leaves.
fn worlds(mappings: &[&str]) -> [(&'static str, World, BTreeMap<String, String>); 2] {
    let tables = format!("{DELETE}{NO_LIMITS}{SCOPE}");
    let first = World::new(tenant());
    first.job(mappings, &tables);
    let busy = World::imported_with(tenant(), all_rights(), mappings, &tables);
    busy.night(night);
    busy.save();
    [("the first run", first), ("a busy night", busy)].map(|(name, world)| {
        world.run(["run", "job.toml"]).exits(0);
        let undisturbed = world.export();
        world.restore();
        (name, world, undisturbed)
    })
}

/// After a death: the next run ends as if nothing had happened, and the one after it writes nothing.
fn recovers(world: &World, undisturbed: &BTreeMap<String, String>, death: &str) {
    let ran = world.run(["run", "job.toml"]);
    ran.check(ran.code() == 0 && world.export() == *undisturbed, &format!("the undisturbed files after {death}"));
    let touched = world.touched();
    let third = world.run(["run", "job.toml"]);
    third.check(third.code() == 0 && world.touched() == touched, &format!("nothing left to write after {death}"));
}

#[test]
fn dying_at_every_point_and_running_again_gives_the_same_files() {
    for (name, world, undisturbed) in worlds(&["users", "memberships"]) {
        let mut point = 1;
        loop {
            world.restore();
            let ran = world.run_with(["run", "job.toml"], &[("ENTRA_IMPORT_CRASH_AT", &point.to_string())]);
            if ran.code() == 0 {
                break;
            }
            ran.exits(ABORTED);
            recovers(&world, &undisturbed, &format!("death at point {point} of {name}"));
            point += 1;
        }
        assert!(point > 12, "{name} passed only {point} points");
    }
}

#[test]
fn dying_while_recovering_gives_the_same_files() {
    for (name, world, undisturbed) in worlds(&["users", "memberships"]) {
        for first in [8, 11, 14] {
            for second in [1, 3, 5, 9] {
                world.restore();
                for point in [first, second] {
                    world.run_with(["run", "job.toml"], &[("ENTRA_IMPORT_CRASH_AT", &point.to_string())]);
                }
                recovers(&world, &undisturbed, &format!("deaths at {first} and then {second} of {name}"));
            }
        }
    }
}

#[test]
fn killed_at_random_instants_and_run_again_gives_the_same_files() {
    let seed = std::env::var("CRASH_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or_else(|| fastrand::u64(..));
    println!("CRASH_SEED={seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let mut killed = 0;
    for (name, world, undisturbed) in worlds(&ALL) {
        let started = Instant::now();
        world.run(["run", "job.toml"]).exits(0);
        let whole = started.elapsed();
        for n in 0..10 {
            world.restore();
            let mut child = world.spawn(["run", "job.toml"]);
            let instant = whole.mul_f64(random.f64());
            std::thread::sleep(instant);
            child.kill().unwrap();
            killed += u32::from(child.wait().unwrap().signal() == Some(KILLED));
            recovers(&world, &undisturbed, &format!("kill {n} after {instant:?} of {name}, seed {seed}"));
        }
    }
    assert!(killed > 5, "only {killed} of 20 runs were killed before their end");
}

/// A busy night of users and memberships, and the files it leaves when nothing disturbs it.
fn busy() -> (World, BTreeMap<String, String>) {
    let [_, (_, world, undisturbed)] = worlds(&["users", "memberships"]);
    (world, undisturbed)
}

#[test]
fn asked_to_stop_it_finishes_the_file_at_work_and_the_next_run_does_the_rest() {
    for signal in ["TERM", "INT"] {
        let (world, undisturbed) = busy();
        let before = world.export();
        let mut paused = world.paused(["run", "job.toml"], "before the target's commit");
        paused.signal(signal);
        paused.hears("asked to stop");
        let ran = paused.goes_on();
        ran.exits(3).says("stopped on request");
        let after = world.export();
        ran.check(after["users.csv"] == undisturbed["users.csv"], "the file at work is finished");
        ran.check(after["memberships.csv"] == before["memberships.csv"], "the next one is not begun");
        recovers(&world, &undisturbed, &format!("SIG{signal}"));
    }
}

#[test]
fn asked_twice_or_outside_of_applying_it_ends_at_once_and_the_next_run_does_it_all() {
    let (world, undisturbed) = busy();
    let mut paused = world.paused(["run", "job.toml"], "before the target's commit");
    paused.signal("TERM");
    paused.hears("asked to stop");
    paused.signal("TERM");
    paused.ends().exits(128 + 15);
    recovers(&world, &undisturbed, "two SIGTERM");

    world.restore();
    let before = world.export();
    let paused = world.paused(["run", "job.toml"], "after run begun");
    paused.signal("INT");
    paused.ends().exits(128 + 2);
    assert_eq!(world.export(), before);
    recovers(&world, &undisturbed, "SIGINT before anything was read");
}

#[test]
fn nobody_decides_about_records_while_it_is_open_what_became_of_them() {
    let (world, undisturbed) = busy();
    let dead_at = |point| {
        world.restore();
        let paused = world.paused(["run", "job.toml"], point);
        paused.signal("KILL");
        paused.ends().exits(1000 + KILLED);
    };
    let pin = ["pin", "job.toml", &id(8), "--type", "users"];

    dead_at("before the target's commit");
    world
        .run(pin)
        .exits(2)
        .says("was writing its users, and what became of that is not known yet")
        .says("entra-import run job.toml");
    recovers(&world, &undisturbed, "a decision that was refused");
    world.run(pin).exits(0);

    // Not even journalled: the rows that the ledger got are nobody's.
    dead_at("rows waiting");
    world.run(pin).exits(0).says(": pinned");
    recovers(&world, &undisturbed, "a decision about a record");
}

/// Whether some process has a lock of the file, as Linux tells it.
fn is_locked(file: &Path) -> bool {
    let inode = format!(":{} ", fs::metadata(file).unwrap().ino());
    fs::read_to_string("/proc/locks")
        .unwrap_or_default()
        .lines()
        .any(|lock| lock.contains("POSIX") && lock.contains(&inode))
}

/// Somebody opens the ledger with a tool of SQLite's, looks, and closes it: to that tool it must look as open as it is.
#[test]
fn whoever_looks_into_the_ledger_meanwhile_takes_nothing_from_the_run() {
    let (world, undisturbed) = busy();
    let ledger = world.path("state/contoso/ledger.sqlite3");
    let looks = || {
        let ledger = rusqlite::Connection::open(&ledger).unwrap();
        ledger.query_row("SELECT count(*) FROM records", [], |row| row.get::<_, i64>(0)).unwrap();
        ledger
    };
    let log = world.path("state/contoso/ledger.sqlite3-wal");
    world.restore();
    assert!(!is_locked(&ledger), "nobody has it open yet");
    let open = looks();
    // Not every system tells, as some sandboxes do not.
    let is_told = is_locked(&ledger);
    drop(open);
    world.restore();
    for (command, point) in [
        (["decline", "job.toml", &id(3), "--type=users"].as_slice(), "before decisions"),
        (["run", "job.toml"].as_slice(), "rows waiting"),
    ] {
        let paused = world.paused(command.iter().copied(), point);
        // SQLite before 3.51 takes the log away where it finds no lock; the one built in here looks twice.
        assert!(!is_told || is_locked(&ledger), "{command:?} has no lock at {point:?}");
        looks().close().unwrap();
        assert!(log.exists(), "{command:?} lost its log at {point:?}");
        let still_open = looks();
        paused.goes_on().exits(0);
        drop(still_open);
    }
    assert_eq!(world.export(), undisturbed);
    let touched = world.touched();
    world.run(["run", "job.toml"]).exits(0).says("0 created, 0 adopted, 0 updated");
    assert_eq!(world.touched(), touched);
    world.run(["history", "job.toml"]).exits(0).says("1 decided");
}

#[test]
fn a_target_that_changes_while_it_is_written_is_left_as_it_is() {
    let (world, _) = busy();
    let paused = world.paused(["run", "job.toml"], "before the target's commit");
    let by_hand =
        format!("{}\n", world.read("export/users.csv").trim_end().replace("user8@contoso.com", "hers@contoso.com"));
    world.write("export/users.csv", &by_hand);
    let memberships = world.read("export/memberships.csv");
    let ran = paused.goes_on();
    ran.exits(9).says("users.csv was changed while the run was under way").says("the next run reads it anew");
    ran.check(!ran.stdout.contains("stale") && !ran.stderr.contains("stale"), "no word of a plan that nobody saved");
    assert_eq!(world.read("export/users.csv"), by_hand, "what was written meanwhile stands");
    assert_eq!(world.read("export/memberships.csv"), memberships, "nothing after it is begun");
    let again = world.run(["run", "job.toml"]);
    again.check(world.read("export/users.csv").contains("hers@contoso.com"), "the edit by hand is no loss");
    let touched = world.touched();
    world.run(["run", "job.toml"]);
    assert_eq!(world.touched(), touched);
}

/// Everything the ledger says, row by row, read from a copy of it and of its log.
fn ledger(world: &World) -> Vec<String> {
    let copy = tempfile::tempdir().unwrap();
    for name in ["ledger.sqlite3", "ledger.sqlite3-wal"] {
        let from = world.path(&format!("state/contoso/{name}"));
        if from.exists() {
            fs::copy(from, copy.path().join(name)).unwrap();
        }
    }
    let ledger = rusqlite::Connection::open(copy.path().join("ledger.sqlite3")).unwrap();
    let of = |query: &str| -> Vec<String> {
        let mut statement = ledger.prepare(query).unwrap();
        let columns = statement.column_count();
        let row = |row: &rusqlite::Row<'_>| {
            (0..columns).map(|at| row.get_ref(at).map(|value| format!("{value:?}"))).collect::<Result<Vec<_>, _>>()
        };
        statement.query_map([], row).unwrap().map(|row| row.unwrap().join("|")).collect()
    };
    let tables = "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%' ORDER BY name";
    let mut statement = ledger.prepare(tables).unwrap();
    let tables: Vec<String> = statement.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect();
    tables
        .iter()
        .flat_map(|table| {
            let rows = of(&format!("SELECT * FROM {table}"));
            rows.into_iter().map(move |row| format!("{table}: {row}"))
        })
        .collect()
}

#[test]
fn an_import_of_a_ledger_that_dies_leaves_the_old_one_or_the_new_one() {
    let [_, (_, world, _)] = worlds(&["users", "memberships"]);
    world.run(["state", "export", "job.toml", "--out", "evening.ledger"]).exits(0);
    // The night's run dies once its log holds what its ledger does not.
    world.run_with(["run", "job.toml"], &[("ENTRA_IMPORT_CRASH_AT", "14")]).exits(ABORTED);
    let log = world.path("state/contoso/ledger.sqlite3-wal");
    assert!(fs::metadata(&log).unwrap().len() > 0, "there is no log that could be mixed into another ledger");
    world.save();
    let old = ledger(&world);
    let import = ["state", "import", "job.toml", "evening.ledger", "--replace", "--moved"];
    world.run(import).exits(0);
    let new = ledger(&world);
    assert_ne!(old, new);
    let (mut point, mut found) = (1, [0, 0]);
    loop {
        world.restore();
        let ran = world.run_with(import, &[("ENTRA_IMPORT_CRASH_AT", &point.to_string())]);
        if ran.code() == 0 {
            break;
        }
        ran.exits(ABORTED);
        let is = ledger(&world);
        ran.check(is == old || is == new, &format!("the old ledger or the new one after death at point {point}"));
        found[usize::from(is == new)] += 1;
        // Whatever the death left beside the ledger, such as the log of a copy that was not finished.
        fs::copy(world.path("saved/state/contoso/ledger.sqlite3-wal"), log.with_file_name("ledger.sqlite3.import-wal"))
            .unwrap();
        world.run(import).exits(0);
        assert!(ledger(&world) == new, "another ledger than the one imported, after death at point {point}");
        assert!(!log.with_file_name("ledger.sqlite3.import").exists());
        world.run(["history", "job.toml"]).exits(0);
        point += 1;
    }
    assert!(found[0] >= 5 && found[1] >= 1, "old and new after {found:?} deaths");
}
