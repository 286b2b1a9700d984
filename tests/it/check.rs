//! `check` and `permissions`: rights missing, wider and in excess, hosts, and what is to be done.

use graph_sim::{CLIENT_ID, CLIENT_SECRET, Kind, Options};
use serde_json::{Value, json};

use crate::world::{ALL, World, all_rights, contoso, files_under};

const LEAST: [&str; 4] = ["User.Read.All", "GroupMember.Read.All", "Device.Read.All", "LicenseAssignment.Read.All"];

fn world(roles: &[&str]) -> World {
    let world =
        World::with(contoso(), Options { roles: roles.iter().map(|&role| role.to_owned()).collect(), ..all_rights() });
    world.job(&ALL, "");
    world
}

fn refusing(roles: &[&str]) -> World {
    let world = world(roles);
    world.edit("job.toml", "[source]\n", "[source]\nrefuse_excess_rights = true\n");
    world
}

#[test]
fn the_least_rights_are_enough_for_a_whole_run() {
    let world = refusing(&LEAST);
    world.run(["check", "job.toml"]).exits(0).says("granted by User.Read.All");
    // The hidden members of one group are all that lacks, and the run says so.
    world.run(["run", "job.toml"]).exits(3).says("Member.Read.Hidden");
}

#[test]
fn each_right_is_present_wider_missing_or_in_excess() {
    for lost in LEAST {
        let left: Vec<&str> = LEAST.into_iter().filter(|right| *right != lost).collect();
        let ran = world(&left).run(["check", "job.toml"]);
        ran.exits(3).says(&format!("{lost} is not granted")).says("the column Type: Delegated does not count");
    }
    let wide = world(&["Directory.Read.All"]).run(["check", "job.toml"]);
    wide.exits(0).says("granted by Directory.Read.All, which allows more; User.Read.All is enough");
    let more = world(&["Directory.Read.All", "Mail.Read", "Sites.ReadWrite.All"]).run(["check", "job.toml"]);
    more.exits(0).says("granted and not needed: Mail.Read").says("only reads: Sites.ReadWrite.All");
}

#[test]
fn a_step_that_the_target_cannot_take_is_told_to_whoever_looks_and_not_every_night() {
    let world = world(&["Directory.Read.All"]);
    world.job(&["users"], "[removal]\ndefault = [{ deactivate = {} }, { delete = {}, after_days = 9 }]\n");
    world.run(["check", "job.toml"]).exits(0).says("the step `deactivate` is passed over").says("leavers take 1 step");
    let ran = world.run(["plan", "job.toml"]);
    ran.exits(0).says("the step `deactivate` is passed over");
    ran.check(ran.stderr.matches("passed over").count() == 1, "once");
    let ran = world.run(["run", "job.toml"]);
    ran.exits(0).check(ran.stderr.is_empty() && ran.stdout.lines().count() == 1, "one line, which cron mails");
    // A held plan is shown to somebody.
    let header = world.read("export/users.csv").lines().next().unwrap().to_owned();
    world.write("export/users.csv", &format!("{header}\n"));
    world.run(["run", "job.toml"]).exits(4).says("the step `deactivate` is passed over");
}

#[test]
fn a_job_that_refuses_excess_rights_reads_nothing_with_them() {
    for roles in [&["Directory.Read.All"][..], &[LEAST[0], LEAST[1], LEAST[2], LEAST[3], "Mail.Read"]] {
        let world = refusing(roles);
        let beyond = roles[roles.len() - 1];
        world.run(["check", "job.toml"]).exits(5).says(&format!("refuses them (`refuse_excess_rights`): {beyond}"));
        for command in ["run", "plan"] {
            let ran = world.run([command, "job.toml"]);
            ran.exits(5).says(&format!("it is allowed more than it needs: {beyond}"));
            ran.check(ran.requests.iter().all(|request| request.target.contains("/oauth2/")), "Graph was not asked");
        }
    }
}

#[test]
fn check_writes_nothing_and_says_it_in_json() {
    let world = world(&["Directory.Read.All", "Mail.Read"]);
    let before = files_under(&world.path("."));
    let ran = world.run(["check", "job.toml", "--format", "json"]);
    assert_eq!(files_under(&world.path(".")), before);
    ran.exits(0);
    let json: Value = serde_json::from_str(&ran.stdout).unwrap();
    let job = &json["jobs"][0];
    assert_eq!((&json["format"], &job["job"], &job["exit"]), (&"check/1".into(), &"contoso".into(), &0.into()));
    assert_eq!(job["beyond_least"], json!(["Directory.Read.All", "Mail.Read"]));
    let rights: Vec<(&str, &str, &str)> = job["rights"]
        .as_array()
        .unwrap()
        .iter()
        .map(|right| (&right["what"], &right["least"], &right["state"]))
        .map(|(what, least, state)| (what.as_str().unwrap(), least.as_str().unwrap(), state.as_str().unwrap()))
        .collect();
    assert!(rights.contains(&("users", "User.Read.All", "wider")), "{rights:?}");
    assert!(rights.contains(&("members of groups that hide them", "Member.Read.Hidden", "missing")), "{rights:?}");
    let port = world.sim.base_url().rsplit(':').next().unwrap().parse::<u16>().unwrap();
    for host in job["hosts"].as_array().unwrap() {
        assert_eq!((&host["host"], &host["port"]), (&"127.0.0.1".into(), &port.into()));
    }
    assert_eq!(job["hosts"].as_array().unwrap().len(), 2);
}

#[test]
fn over_many_jobs_one_fails_alone_and_a_table_ends_it() {
    let world = world(&["Directory.Read.All"]);
    world.write("broken.toml", "format = \"job/1\"\nname = 3\n");
    let ran = world.run(["check", "job.toml", "broken.toml"]);
    ran.exits(2);
    let table: Vec<&str> = ran.stdout.trim_end().lines().rev().take(3).collect();
    ran.check(table[0].starts_with("broken.toml") && table[0].contains("bad"), "the broken job's row");
    ran.check(table[1].starts_with("contoso") && table[1].contains("good"), "the good job's row");
    ran.check(table[2].starts_with("Job"), "the table's head");
}

#[test]
fn a_proxy_is_named_without_its_password() {
    let world = world(&LEAST);
    let text = world.read("job.toml").replace(&world.sim.base_url(), "https://login.contoso.invalid");
    world.write("far.toml", &text);
    // Nobody listens at port 9 of this machine: the proxy refuses at once.
    let proxy = [("HTTPS_PROXY", "http://adele:hunter2@127.0.0.1:9")];
    let ran = world.run_with(["check", "far.toml"], &proxy);
    ran.exits(6).says("through the proxy http://127.0.0.1:9");
    ran.check(!ran.stdout.contains("hunter2") && !ran.stderr.contains("hunter2"), "no password");
}

#[test]
fn the_id_of_a_secret_in_place_of_its_value_is_named() {
    let mut world = world(&LEAST);
    world.environment.insert("ENTRA_SECRET", "9a5d68dd-52b0-4cc2-bd40-abcf44ac3a30".into());
    let ran = world.run(["check", "job.toml"]);
    ran.exits(5).says("as the Secret ID is").says("bad      sign-in");
}

#[test]
fn permissions_are_listed_offline() {
    let world = world(&LEAST);
    let ran = world.run(["permissions", "job.toml", "--format", "json"]);
    ran.exits(0).contacts_nobody();
    let page: Value = serde_json::from_str(&ran.stdout).unwrap();
    let required: Vec<&str> = page["permissions"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|row| row["required"] == true)
        .map(|row| row["permission"].as_str().unwrap())
        .collect();
    assert_eq!(required, ["User.Read.All", "GroupMember.Read.All", "LicenseAssignment.Read.All", "Device.Read.All"]);
    let roles = page["requiredResourceAccess"][0]["resourceAccess"].as_array().unwrap();
    assert_eq!(roles.len(), required.len());
    world.run(["permissions", "job.toml"]).exits(0).contacts_nobody().says("adminconsent?client_id=");
    // A job that reads less needs less.
    world.job(&["groups"], "");
    let ran = world.run(["permissions", "job.toml"]);
    ran.says("GroupMember.Read.All").check(!ran.stdout.contains("\nUser.Read"), "no right over users");
}

#[test]
fn the_end_of_the_secret_is_warned_of_in_time() {
    // The world's clock stands at 2026-03-01.
    for (ends, verdict, words) in [
        ("2026-03-20T12:00:00Z", "warning", "ends in 19 days, on 2026-03-20"),
        ("2026-03-30T12:00:00Z", "warning", "ends in 29 days"),
        ("2026-04-01T02:00:00Z", "good", "ends in 31 days"),
        ("2026-03-01T08:00:00Z", "warning", "ends within a day"),
    ] {
        let world = world(&["Directory.Read.All"]);
        let hint = &CLIENT_SECRET[..3];
        world.sim.tenant().put(
            Kind::Application,
            json!({ "id": "00000000-0000-4000-8000-000000000901", "appId": CLIENT_ID, "displayName": "Import",
                "passwordCredentials": [
                    { "keyId": "a", "displayName": "nightly", "hint": hint, "endDateTime": ends },
                    { "keyId": "b", "displayName": "other", "hint": "zzz", "endDateTime": "2026-03-02T00:00:00Z" },
                ] }),
        );
        let ran = world.run(["check", "job.toml"]);
        ran.exits(0).says(words).says("the client secret \"nightly\"");
        let line = ran.stdout.lines().find(|line| line.contains("credential:")).unwrap();
        ran.check(line.trim_start().starts_with(verdict), verdict);
        let asked = ran.requests.iter().filter(|request| request.target.contains("/applications")).count();
        ran.check(asked == 1, "one request");
    }
    let ran = world(&LEAST).run(["check", "job.toml"]);
    ran.exits(0).says("when the client secret ends is not known").says("put the date into a calendar");
    ran.check(ran.requests.iter().all(|request| !request.target.contains("/v1.0")), "nothing of Graph is asked");
}

#[test]
fn what_the_ledger_knows_and_a_run_would_refuse_is_found_before_the_night() {
    let world = world(&["Directory.Read.All"]);
    world.job(&["users"], "");
    world.run(["check", "job.toml"]).exits(0);
    world.run(["run", "job.toml"]).exits(0);
    world.run(["check", "job.toml"]).exits(0);
    let whole = world.read("export/users.csv");
    world.edit("export/users.csv", ",Department,", ",Division,");
    for command in ["check", "plan"] {
        let ran = world.run([command, "job.toml"]);
        ran.exits(1).says_all(&["lost the column \"Department\"", "give back the name", "\"Division\""]);
    }
    world.write("export/users.csv", &whole);
    world.edit("job.toml", "[state]", "[report]\nsummary = \"out/{job}.json\"\n[state]");
    for command in ["check", "run"] {
        world.run([command, "job.toml"]).exits(2).says("there is no folder ./out");
    }
    std::fs::create_dir(world.path("out")).unwrap();
    world.run(["check", "job.toml"]).exits(0);
    world.write("state/contoso/ledger.sqlite3", "no ledger");
    world.run(["check", "job.toml"]).exits(1).says("is not a ledger of this program");
    // A file where the state folder should be.
    world.edit("job.toml", "dir = \"state\"", "dir = \"job.toml/state\"");
    world.run(["check", "job.toml"]).exits(1).says("cannot write the state folder");
}

#[test]
fn a_night_that_may_not_list_deleted_objects_and_lacks_nothing_prints_one_line() {
    // The recommended rights: groups may be read, and deleted groups not be listed.
    let roles = [LEAST[0], LEAST[1], LEAST[2], LEAST[3], "Member.Read.Hidden"];
    let world = world(&roles);
    world.job(&["users", "groups"], "[removal]\ndefault = [{ delete = {}, after_days = 30 }]\n");
    world.run(["run", "job.toml"]).exits(0);
    world.night(|tenant| assert!(tenant.remove(Kind::Group, &crate::world::id(101), graph_sim::Deletion::Soft)));
    for _ in 0..3 {
        let ran = world.run(["run", "job.toml"]);
        ran.exits(0).check(ran.stderr.is_empty() && ran.stdout.lines().count() == 1, "one line, which cron mails");
        world.next_night();
    }
}
