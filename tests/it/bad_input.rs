//! Bad input, from every side: what a person typed, what Entra refuses, what lies on the disk. Each is named with what
//! to do about it, and nothing that was there is harmed.

use std::fs;

use entra_import::lock::Lock;
use graph_sim::{Deletion, Fault, FaultKind, Kind, Tenant};
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use crate::world::{ALL, DELETE, NO_LIMITS, World, all_rights, busy_night, contoso, id, pair, scoped_world, user};

fn users_world() -> World {
    World::imported_with(contoso(), all_rights(), &["users"], &format!("{DELETE}{NO_LIMITS}"))
}

/// Runs the job and shows that it ends with that code, says these texts, and leaves every exported byte alone.
#[track_caller]
fn harms_nothing(world: &World, code: i32, texts: &[&str]) {
    let before = (world.export(), world.touched());
    let ran = world.run(["run", "job.toml"]);
    ran.exits(code);
    ran.says_all(texts);
    ran.check((world.export(), world.touched()) == before, "every byte stands");
}

#[test]
fn an_unknown_key_is_shown_with_its_place_and_the_nearest_name() {
    let world = users_world();
    let good = world.read("job.toml");
    let line = good.lines().position(|line| line == "[target]").unwrap() + 2;
    for (from, to, place, near) in [
        ("kind = \"csv\"", "knd = \"csv\"", format!("job.toml:{line}"), "kind"),
        ("[limits]", "[limts]", "job.toml:".to_owned(), "limits"),
        ("removals =", "removal =", "job.toml:".to_owned(), "removals"),
        ("csv/users@1", "csv/usres@1", "job.toml:".to_owned(), "csv/users@1"),
    ] {
        world.write("job.toml", &good.replace(from, to));
        for command in ["run", "plan", "check"] {
            let ran = world.run([command, "job.toml"]);
            ran.exits(2).contacts_nobody();
            let all = format!("{}{}", ran.stdout, ran.stderr);
            ran.check(
                all.contains(&place) && all.contains('^') && all.contains(near),
                "file, line, caret, nearest name",
            );
        }
    }
}

#[test]
fn an_unknown_property_in_a_mapping_or_a_filter_is_shown_with_its_place() {
    let world = users_world();
    let mapping = "format = \"mapping/1\"\nname = \"people\"\nsource = \"users\"\ntarget = \"people\"\nkey = \"ID\"\n\
                   [attributes]\n\"ID\" = \"id\"\n\"Name\" = \"dispalyName\"\n";
    world.write("people.toml", mapping);
    world.write("job.toml", &format!("{}[[mapping]]\nuse = \"people.toml\"\n", world.job_head()));
    let ran = world.run(["run", "job.toml"]);
    ran.exits(2).contacts_nobody().says("people.toml:8").says("displayName").says("^");
    world.write("people.toml", &mapping.replace("dispalyName", "displayName").replace("key =", "keys ="));
    world.run(["run", "job.toml"]).exits(2).contacts_nobody().says("people.toml:5").says("`key`");
    world.job(&["users"], "[scope]\nusers = \"accountEnabled eq tru\"\n");
    world.run(["run", "job.toml"]).exits(2).contacts_nobody().says("job.toml:").says("^");
    world.job(&["users"], "[scope]\nusers = \"accountEnabled eq true and (\"\n");
    world.run(["run", "job.toml"]).exits(2).contacts_nobody().says("^");
}

#[test]
fn a_refused_sign_in_says_what_entra_said_and_what_to_do() {
    let world = users_world();
    let secrets = [
        ("Sim8Q~wrong", &["AADSTS7000215", "secret"][..]),
        // The id of the secret stands beside its value in the portal.
        ("0f0f0f0f-0000-4000-8000-000000000000", &["AADSTS7000215", "Secret ID", "\"Value\""]),
    ];
    for (secret, texts) in secrets {
        let ran = world.run_with(["run", "job.toml"], &[("ENTRA_SECRET", secret)]);
        ran.exits(5).says("to do: ");
        ran.says_all(texts);
        ran.check(!ran.stderr.contains(secret), "the secret does not show");
    }
    let ran = world.run_with(["run", "job.toml"], &[("ENTRA_SECRET", "")]);
    ran.check(ran.code() != 0, "refused").says("ENTRA_SECRET").contacts_nobody();
    world.edit("job.toml", &format!("client_id = \"{}\"", graph_sim::CLIENT_ID), &format!("client_id = \"{}\"", id(9)));
    harms_nothing(&world, 5, &["AADSTS700016", "to do: "]);

    let elsewhere = World::new(contoso());
    elsewhere.job(&["users"], "");
    elsewhere.edit("job.toml", crate::world::TENANT, "fabrikam.onmicrosoft.com");
    elsewhere.run(["run", "job.toml"]).exits(5).says("AADSTS90002").says("fabrikam.onmicrosoft.com").says("to do: ");
}

#[test]
fn a_missing_right_for_one_collection_leaves_the_rest_done() {
    let world = World::imported();
    world.sim.set_roles(&["User.Read.All", "GroupMember.Read.All", "LicenseAssignment.Read.All", "Member.Read.Hidden"]);
    let devices = world.rows("devices");
    for _ in 0..3 {
        world.night(|tenant| {
            tenant.remove(Kind::Device, &id(203), Deletion::Hard);
            tenant.put(Kind::User, user(13));
            tenant.remove(Kind::User, &id(12), Deletion::Soft);
        });
        let ran = world.run(["run", "job.toml"]);
        ran.exits(3).says("partial (devices)").says("Device.Read.All");
        assert_eq!(world.rows("devices"), devices);
    }
    let users = world.rows("users");
    assert!(users.contains_key(&id(13)) && !users.contains_key(&id(12)));
    assert!(world.rows("memberships").contains_key(&pair(102, 201)), "its memberships stand too");
}

#[test]
fn broken_answers_are_tried_again() {
    let world = World::imported();
    for kind in [FaultKind::Truncated, FaultKind::Html, FaultKind::Cut, FaultKind::Reset, FaultKind::Status(502)] {
        world.sim.add_fault(Fault::new("/v1.0", kind.clone()).each(2));
        world.night(|tenant| assert!(tenant.set(Kind::User, &id(8), "department", format!("{kind:?}").into())));
        world.run(["run", "job.toml"]).exits(0).says("1 updated");
        assert_eq!(world.rows("users")[&id(8)]["Department"], format!("{kind:?}"));
        world.sim.clear_faults();
    }
}

#[test]
fn everything_down_is_told_as_that() {
    let world = users_world();
    for path in ["/v1.0", "oauth2", ""] {
        for kind in [FaultKind::Reset, FaultKind::Status(503), FaultKind::Html] {
            world.sim.add_fault(Fault::new(path, kind));
            harms_nothing(&world, 6, &["to do: "]);
            world.sim.clear_faults();
        }
    }
    // Nobody listens on port 1.
    let base = world.sim.base_url();
    world.edit("job.toml", &base, "http://127.0.0.1:1");
    harms_nothing(&world, 6, &["127.0.0.1:1", "to do: "]);
}

#[test]
fn a_csv_that_cannot_be_read_is_named_with_its_line_and_kept() {
    let world = users_world();
    let good = fs::read(world.path("export/users.csv")).unwrap();
    let third = good.iter().enumerate().filter(|(_, byte)| **byte == b'\n').nth(2).unwrap().0;
    let mut not_utf8 = good.clone();
    not_utf8[third - 20] = 0xff;
    let mut open_quote = good.clone();
    open_quote.splice(third + 1..third + 1, *b"\"");
    let mut too_many = good.clone();
    too_many.splice(third..third, *b",more,than,the,header");
    for (broken, line) in [(not_utf8, "line 3"), (open_quote, "line 4"), (too_many, "line 3")] {
        fs::write(world.path("export/users.csv"), broken).unwrap();
        world.night(|tenant| drop(tenant.put(Kind::User, user(13))));
        harms_nothing(&world, 1, &["users.csv", line]);
    }
}

#[test]
fn duplicate_keys_in_the_csv_are_a_collision_and_not_written() {
    let world = users_world();
    let text = world.read("export/users.csv");
    let row = text.lines().find(|line| line.starts_with(&id(8))).unwrap();
    world.write("export/users.csv", &format!("{text}{row}\n"));
    world.night(|tenant| {
        tenant.set(Kind::User, &id(8), "department", "Legal".into());
        tenant.set(Kind::User, &id(9), "department", "Legal".into());
    });
    world.run(["run", "job.toml"]).exits(3).says("collision").says(&id(8));
    let text = world.read("export/users.csv");
    assert_eq!(text.lines().filter(|line| *line == row).count(), 2, "both rows stand as they were");
    assert_eq!(text.matches(",Legal,").count(), 1, "the rest goes on");
    // Not even when it leaves.
    world.night(|tenant| assert!(tenant.remove(Kind::User, &id(8), Deletion::Soft)));
    world.run(["run", "job.toml"]);
    assert_eq!(world.read("export/users.csv").lines().filter(|line| *line == row).count(), 2);
}

#[test]
fn a_folder_that_cannot_be_written_leaves_the_old_file() {
    let world = users_world();
    world.night(|tenant| drop(tenant.put(Kind::User, user(13))));
    // Whoever runs the tests, a folder that is not empty cannot be replaced by a file.
    fs::create_dir_all(world.path("export/.users.csv.entra-import/x")).unwrap();
    harms_nothing(&world, 1, &["export"]);
    fs::remove_dir_all(world.path("export/.users.csv.entra-import")).unwrap();
    world.run(["run", "job.toml"]).exits(0);

    let world = World::new(contoso());
    world.job(&["users"], "");
    world.write("export", "a file where the folder should be");
    world.run(["run", "job.toml"]).exits(1).says("export");
    assert_eq!(world.read("export"), "a file where the folder should be");
}

#[test]
fn a_full_disk_leaves_every_file_old_or_new() {
    let world = scoped_world();
    let before = world.export();
    world.night(busy_night);
    world.save();
    world.run(["run", "job.toml"]).exits(0);
    let after = world.export();
    let mut failed = 0;
    for blocks in [0, 1, 2, 4, 8, 16, 32, 64, 128] {
        world.restore();
        let ran = world.run_on_a_full_disk(blocks);
        failed += u32::from(ran.code() != 0);
        ran.check(ran.code() == 0 || ran.stderr.contains("to do: "), "says what to do");
        for (name, text) in
            world.export().into_iter().filter(|(name, _)| name.ends_with(".csv") && !name.starts_with('.'))
        {
            ran.check(text == before[&name] || text == after[&name], &format!("{name} old or new, {blocks} blocks"));
        }
        ran.check(ran.code() != 0 || world.export() == after, "done only when all is done");
        let again = world.run(["run", "job.toml"]);
        again.check(again.code() == 0 && world.export() == after, &format!("whole after {blocks} blocks"));
    }
    assert!(failed > 3, "only {failed} runs met the full disk");
}

#[test]
fn another_tenant_or_target_for_the_same_ledger_is_refused() {
    let world = users_world();
    let good = world.read("job.toml");
    world.edit("job.toml", &format!("tenant = \"{}\"", crate::world::TENANT), "tenant = \"fabrikam.com\"");
    harms_nothing(&world, 2, &["belongs to the tenant", "to do: "]);
    world.write("job.toml", &good);
    world.edit("job.toml", "path = \"export\"", "path = \"elsewhere\"");
    harms_nothing(&world, 2, &["belongs to the target", "to do: "]);
    assert!(!world.path("elsewhere").exists());
    for command in ["run", "plan"] {
        world.run([command, "job.toml"]).exits(2).contacts_nobody();
    }
    // A ledger that was carried to another job by hand.
    world.write("job.toml", &good.replace("name = \"contoso\"", "name = \"fabrikam\""));
    fs::create_dir(world.path("state/fabrikam")).unwrap();
    fs::copy(world.path("state/contoso/ledger.sqlite3"), world.path("state/fabrikam/ledger.sqlite3")).unwrap();
    harms_nothing(&world, 2, &["belongs to the job \"contoso\"", "would take other records for its own", "to do: "]);
}

#[test]
fn a_ledger_from_a_newer_version_is_refused_and_kept() {
    let world = users_world();
    let path = world.path("state/contoso/ledger.sqlite3");
    rusqlite::Connection::open(&path).unwrap().pragma_update(None, "user_version", 99).unwrap();
    let before = fs::read(&path).unwrap();
    for command in ["run", "plan", "history", "pending"] {
        let ran = world.run([command, "job.toml"]);
        ran.exits(1).contacts_nobody();
        ran.says_all(&["has format 99", "a newer version of this program wrote it", "run the job with that version"]);
    }
    harms_nothing(&world, 1, &["has format 99"]);
    assert_eq!(fs::read(&path).unwrap(), before);
}

#[test]
fn a_damaged_ledger_is_refused_before_anybody_is_asked() {
    let world = users_world();
    let path = world.path("state/contoso/ledger.sqlite3");
    let good = fs::read(&path).unwrap();
    let mut holed = good.clone();
    holed[9000..20000].fill(0xa5);
    for (bad, words) in [(Vec::new(), "damaged"), (b"not a ledger".to_vec(), "not a ledger"), (holed, "damaged")] {
        fs::write(&path, &bad).unwrap();
        harms_nothing(&world, 1, &["ledger.sqlite3", words, "to do: "]);
        world.run(["run", "job.toml"]).exits(1).contacts_nobody();
        assert_eq!(fs::read(&path).unwrap(), bad, "a damaged ledger is left for a person to look at");
    }
    fs::write(&path, good).unwrap();
    world.run(["run", "job.toml"]).exits(0);
}

#[test]
fn two_runs_at_once_are_refused() {
    let world = users_world();
    let held = Lock::take(&world.path("state/contoso/lock"), Timestamp::UNIX_EPOCH).unwrap();
    world.run(["run", "job.toml"]).exits(7).contacts_nobody().says(&format!("process {}", std::process::id()));
    world.run(["plan", "job.toml"]).exits(0);
    drop(held);
    world.run(["run", "job.toml"]).exits(0);

    // Two real ones: the first is held up in its middle, and is not disturbed.
    world.night(busy_night);
    let first = world.paused(["run", "job.toml"], "before the target's commit");
    let second = world.run(["run", "job.toml"]);
    second.exits(7).contacts_nobody().says_all(&["another run", "to do: "]);
    world.run(["approve", "job.toml", "0badc0de", "--limit", "retires"]).exits(7);
    first.goes_on().exits(0);
    world.run(["run", "job.toml"]).exits(0).says("0 created");
}

#[test]
fn a_job_that_cannot_be_read_hides_no_other_from_pending() {
    let world = users_world();
    world.write("broken.toml", "format = \"job/1\"\n[targt]\n");
    let ran = world.run(["pending", "broken.toml", "job.toml"]);
    ran.exits(2).says("broken.toml:2").says("contoso: nothing is held");
}

#[test]
fn a_plan_of_another_job_is_told_and_leaves_nothing_behind() {
    let world = users_world();
    world.run(["plan", "job.toml", "--out", "plan.json"]).exits(0);
    world.write("other.toml", &world.read("job.toml").replace("name = \"contoso\"", "name = \"fabrikam\""));
    let ran = world.run(["apply", "plan.json", "--job", "other.toml"]);
    ran.exits(2).contacts_nobody();
    ran.says_all(&["is of the job contoso", "other.toml is the job fabrikam", "to do: "]);
    assert!(!world.path("state/fabrikam").exists());
}

#[test]
fn a_decision_that_stands_already_is_told_as_such() {
    let world = users_world();
    for (command, state) in [("pin", "pinned"), ("decline", "declined")] {
        let ada = id(3);
        world.run([command, "job.toml", &ada]).exits(0);
        let again = world.run([command, "job.toml", &ada]);
        again.exits(2).says(&format!("{ada} is {state} already")).says("--revoke takes it back");
        world.run([command, "job.toml", &ada, "--revoke"]).exits(0);
        world.run([command, "job.toml", &ada, "--revoke"]).exits(2).says(state).says("lists what was decided");
        world.run([command, "job.toml", &id(999)]).exits(2).says("owns no record of").says("as plans print it");
    }
}

#[test]
fn a_stale_plan_is_refused_whatever_moved() {
    type Moved = (&'static str, &'static str, fn(&World));
    let moved: [Moved; 6] = [
        ("the ledger", "generation", |world| {
            world.sim.tenant().set(Kind::User, &id(3), "department", "Moved".into());
            let before = world.export();
            world.run(["run", "job.toml"]).exits(0);
            // The values are what they were; only what is known of them moved.
            before.into_iter().for_each(|(name, text)| world.write(&format!("export/{name}"), &text));
        }),
        ("the job", "edited", |world| {
            world.edit("job.toml", "users = \"", "groups = \"securityEnabled eq true\"\nusers = \"")
        }),
        ("a mapping's attribute", "edited", |world| {
            world.edit("job.toml", "use = \"csv/users@1\"", "use = \"csv/users@1\"\nattributes.\"City\" = false");
        }),
        ("time", "max_age in [limits] allows (24h)", |world| world.pass(SignedDuration::from_hours(25))),
        ("a value", "target moved", |world| {
            world.edit("export/users.csv", "user8@contoso.com,,,,Sales", "user8@contoso.com,,,,By hand")
        }),
        ("a record", "target moved", |world| {
            let text = world.read("export/users.csv");
            let rest: Vec<&str> = text.lines().filter(|line| !line.starts_with(&id(8))).collect();
            world.write("export/users.csv", &format!("{}\n", rest.join("\n")));
        }),
    ];
    for (what, words, moves) in moved {
        let world = scoped_world();
        world.night(busy_night);
        world.run(["plan", "job.toml", "--out", "plan.json"]).exits(0);
        moves(&world);
        let before = (world.export(), world.touched());
        let ran = world.run(["apply", "plan.json", "--job", "job.toml"]);
        ran.check(ran.code() == 9, &format!("stale when {what} moved")).says(words).contacts_nobody();
        ran.check((world.export(), world.touched()) == before, "nothing written");
    }
}

#[test]
fn a_plan_that_was_edited_by_hand_is_refused() {
    let world = scoped_world();
    world.night(busy_night);
    world.run(["plan", "job.toml", "--out", "plan.json"]).exits(0);
    let plan = world.read("plan.json");
    let before = world.export();
    let half = &plan[..plan.len() / 2];
    let edited = plan.replacen("Legal", "Board", 1);
    let other_target = plan.replacen("export", "elsewhere", 1);
    for text in ["", "{}", "not JSON", half, &edited, &other_target] {
        assert_ne!(text, plan);
        world.write("plan.json", text);
        let ran = world.run(["apply", "plan.json", "--job", "job.toml"]);
        ran.exits(2).contacts_nobody().says("plan.json");
        ran.check(world.export() == before, "nothing written");
    }
    // Another order of members and other white space are no edit.
    let value: Value = serde_json::from_str(&plan).unwrap();
    world.write("plan.json", &serde_json::to_string_pretty(&value).unwrap());
    world.run(["apply", "plan.json", "--job", "job.toml"]).exits(0);
    world.run(["apply", "plan.json", "--job", "job.toml"]).exits(9);
}

#[test]
fn a_snapshot_of_another_tenant_is_refused() {
    let world = users_world();
    let mut tenant = Tenant::new(&id(900), "fabrikam.com");
    tenant.put(Kind::User, user(1));
    let other = World::new(tenant);
    other.job(&["users"], "");
    other.run(["extract", "job.toml", "--out", "snapshot"]).exits(0);
    let folder = other.path("snapshot").display().to_string();
    for command in ["run", "plan"] {
        let ran = world.run([command, "job.toml", "--from-snapshot", &folder]);
        ran.exits(2).contacts_nobody().says("another tenant");
    }
    assert_eq!(world.rows("users").len(), 12);
}

#[test]
fn a_damaged_snapshot_is_refused_with_file_and_line() {
    let world = users_world();
    world.run(["extract", "job.toml", "--out", "snapshot"]).exits(0);
    let good = world.read("snapshot/users.jsonl");
    let lines: Vec<&str> = good.lines().collect();
    let without_one = format!("{}\n", lines[1..].join("\n"));
    let broken = good.replacen("\"displayName\"", "\"displayName", 1);
    for text in [&without_one, &broken, &good[..good.len() - 5]] {
        world.write("snapshot/users.jsonl", text);
        let before = world.export();
        let ran = world.run(["run", "job.toml", "--from-snapshot", "snapshot"]);
        ran.exits(1).contacts_nobody().says("users.jsonl");
        ran.check(world.export() == before, "nothing written");
    }
}

#[test]
fn an_older_snapshot_is_a_preview_only() {
    let world = users_world();
    world.run(["extract", "job.toml", "--out", "old"]).exits(0);
    world.night(|tenant| drop(tenant.put(Kind::User, user(13))));
    world.run(["run", "job.toml"]).exits(0);
    let before = (world.export(), world.touched());
    world.run(["plan", "job.toml", "--from-snapshot", "old", "--out", "plan.json"]).says("preview");
    world.run(["apply", "plan.json", "--job", "job.toml"]).exits(9).says("preview");
    let ran = world.run(["run", "job.toml", "--from-snapshot", "old"]);
    ran.check(ran.code() == 9, "a run from an older snapshot is refused");
    assert_eq!((world.export(), world.touched()), before);
}

#[test]
fn a_clock_that_moved_back_is_refused() {
    let world = World::imported();
    world.night(|tenant| drop(tenant.put(Kind::User, user(13))));
    world.pass(SignedDuration::from_hours(-48));
    harms_nothing(&world, 1, &["the clock says", "to do: "]);
    world.pass(SignedDuration::from_hours(48));
    world.run(["run", "job.toml"]).exits(0).says("1 created");
}

#[test]
fn every_mapping_survives_a_right_that_shows_nothing() {
    let world = World::new(contoso());
    world.job(&ALL, "");
    world.sim.set_roles(&["Mail.Read"]);
    world.run(["run", "job.toml"]).exits(5).says("User.Read.All").says("to do: ");
    assert!(!world.path("export").exists());
}
