//! `lookup`: of a tenant over HTTP and of a snapshot on disk, with every way in which an answer may be doubtful.

use std::collections::BTreeMap;

use graph_sim::{Kind, Options};
use serde_json::{Value, json};

use crate::world::{Ran, TENANT, World, contoso, files_under, id};

const NIGHT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/samples/contoso/night-1");

/// Contoso behind the simulated Graph.
fn world() -> World {
    let world = World::new(contoso());
    world.job(&["users"], "");
    world
}

/// Looks something up in Contoso's first night on disk.
fn in_snapshot(args: &[&str]) -> Ran {
    let world = World::new(contoso());
    world.job(&["users"], "");
    world.edit("job.toml", &format!("tenant = \"{TENANT}\""), "tenant = \"contoso.com\"");
    let more = ["--job", "job.toml", "--from-snapshot", NIGHT];
    let ran = world.run(["lookup"].into_iter().chain(args.iter().copied()).chain(more));
    ran.contacts_nobody();
    ran
}

fn document(ran: &Ran) -> Value {
    serde_json::from_str(&ran.stdout).unwrap_or_else(|error| panic!("{error}\n{ran}"))
}

/// Every object of a list with the way to it, by id.
fn ways(list: &Value) -> BTreeMap<String, Vec<String>> {
    let id = |object: &Value| object["id"].as_str().unwrap().to_owned();
    let way = |held: &Value| held["path"].as_array().unwrap().iter().map(id).collect();
    list.as_array().unwrap().iter().map(|held| (id(held), way(held))).collect()
}

/// Ids by their numbers.
fn expected<const N: usize>(ways: [(u32, &[u32]); N]) -> BTreeMap<String, Vec<String>> {
    ways.into_iter().map(|(of, way)| (id(of), way.iter().map(|group| id(*group)).collect())).collect()
}

#[test]
fn a_user_has_manager_groups_with_their_ways_and_licenses() {
    let world = world();
    let ran = world.run(["lookup", "user", "USER3@contoso.com", "--job", "job.toml", "--format", "json"]);
    let found = document(ran.exits(0));
    assert_eq!((&found["format"], &found["id"]), (&json!("lookup/1"), &json!(id(3))));
    assert_eq!(found["manager"]["name"], "User 1");
    assert_eq!(found["properties"]["department"], "Research");
    assert_eq!(found["licenses"], json!([{ "sku": id(301), "product": "CONTOSO_ONE", "state": "Active" }]));
    // 102 and 103 hold each other, and 103 itself.
    assert_eq!(ways(&found["groups"]), expected([(101, &[101]), (102, &[102]), (103, &[103, 102])]));
    assert_eq!(found["unknown"], json!([]));
    let text = world.run(["lookup", "user", &id(1), "--job", "job.toml"]);
    text.exits(0).says_all(&["in 3 groups, 1 direct\n", "Sales  direct\n", "VPN  through Sales\n"]);
    text.says(&format!("{}  Everybody  through VPN > Sales\n", id(103)));
    assert!(!world.path("state").exists() && files_under(&world.path("tmp")).is_empty(), "something was kept");
}

#[test]
fn hidden_members_make_an_answer_doubtful_and_are_named() {
    let world = World::with(contoso(), Options { roles: vec!["Directory.Read.All".into()], ..Options::default() });
    world.job(&["users"], "");
    let ran = world.run(["lookup", "user", &id(5), "--job", "job.toml"]);
    ran.exits(3).says_all(&["Sales  direct", "not known\n", "whether it is in \"Legal\""]);
    let ran = world.run(["lookup", "group", "legal", "--job", "job.toml"]);
    ran.exits(3).says_all(&["0 members, 0 direct", "some members: "]);
}

#[test]
fn a_group_has_its_members_through_cycles_with_their_ways() {
    let world = world();
    let found = document(world.run(["lookup", "group", "everybody", "--job", "job.toml", "--format", "json"]).exits(0));
    let (direct, vpn, sales): (&[u32], &[u32], &[u32]) = (&[103], &[103, 102], &[103, 102, 101]);
    let members = [
        (7, direct),
        (8, direct),
        (9, direct),
        (102, direct),
        (101, vpn),
        (201, vpn),
        (3, vpn),
        (4, vpn),
        (1, sales),
        (2, sales),
        (5, sales),
        (6, sales),
    ];
    assert_eq!(ways(&found["members"]), expected(members));
    assert_eq!(ways(&found["groups"]), expected([(102, &[102])]), "a group never holds itself");
    let device = found["members"].as_array().unwrap().iter().find(|member| member["id"] == id(201)).unwrap();
    assert_eq!((&device["type"], &device["name"]), (&json!("device"), &json!("Laptop 201")));
    let text = world.run(["lookup", "group", "Everybody", "--job", "job.toml", "--first", "2"]);
    text.exits(0).says_all(&["12 members, 4 direct\n", "  and 10 more; --first N shows more\n"]);
}

#[test]
fn a_device_is_found_by_its_device_id_and_no_user_is_read_for_it() {
    let ran = in_snapshot(&["device", "40000000-0000-4000-8000-000000000007"]);
    ran.exits(0).says_all(&["device 30000000-0000-4000-8000-000000000007  +KIOSK-LOBBY", "-Kiosks  direct"]);
    let world = world();
    let ran = world.run(["lookup", "device", "laptop 201", "--job", "job.toml"]);
    ran.exits(0).says_all(&["in 2 groups, 1 direct", "VPN  direct", "Everybody  through VPN"]);
    ran.check(!ran.requests.iter().any(|request| request.target.contains("/users?")), "users are not read");
}

#[test]
fn a_name_that_several_carry_or_nobody_leads_to_the_candidates() {
    let mut tenant = contoso();
    assert!(tenant.set(Kind::User, &id(8), "displayName", "User 7".into()));
    let world = World::new(tenant);
    world.job(&["users"], "");
    let ran = world.run(["lookup", "user", "user 7", "--job", "job.toml"]);
    ran.exits(2).says_all(&["2 users are called \"user 7\"", &id(7), &id(8), "user8@contoso.com", "give the id"]);
    let ran = world.run(["lookup", "user", "usr12@contoso.com", "--job", "job.toml"]);
    ran.exits(2).says_all(&["none of the users is called", "did you mean \"User 12\" \"user12@contoso.com\""]);
    let ran = world.run(["lookup", "user", &id(99), "--job", "job.toml"]);
    ran.exits(2).says("to do: give an id");
}

#[test]
fn a_filter_is_counted_and_its_first_rows_are_named() {
    let world = world();
    let args = ["lookup", "users", "--where", "department eq 'Sales'", "--job", "job.toml", "--first", "2"];
    let ran = world.run(args);
    ran.exits(0).says_all(&["6 of 12 users", &id(2), &id(4), "and 4 more"]);
    ran.check(!ran.stdout.contains(&id(6)), "two rows");
    let kept = document(world.run(args.into_iter().chain(["--format", "json"])).exits(0));
    assert_eq!((&kept["count"], &kept["read"], &kept["doubtful"]), (&json!(6), &json!(12), &json!(0)));
    assert_eq!(kept["first"].as_array().unwrap().len(), 2);
    let way = world.run([
        "lookup",
        "users",
        "--where",
        "transitiveMemberOf/any(g: g/displayName eq 'Everybody')",
        "--job",
        "job.toml",
    ]);
    way.exits(0).says("9 of 12 users");
    let wrong = world.run(["lookup", "users", "--where", "departmnt eq 'Sales'", "--job", "job.toml"]);
    wrong.exits(2).says("department").contacts_nobody();
}

#[test]
fn a_snapshot_says_what_it_does_not_hold() {
    // Nobody's hire date was read.
    let ran = in_snapshot(&["users", "--where", "employeeHireDate eq null"]);
    ran.exits(3).says_all(&["0 of 30 users", "of 30 more it is not known", "employeeHireDate of users was not read"]);
    in_snapshot(&["groups", "--where", "startswith(displayName, 'Project')"]).exits(0).says("2 of 12 groups");
    // A line break in a name begins no line of its own.
    in_snapshot(&["devices", "--where", "startswith(displayName, 'KIOSK')"]).exits(0).says("KIOSK\\nCANTEEN");
    let cycle = in_snapshot(&["group", "Project Alpha"]);
    cycle.exits(0).says_all(&["in 3 groups, 2 direct", "Project Beta  direct", "All Employees  through Engineering"]);
    let world = world();
    let ran = world.run(["lookup", "group", "x", "--job", "job.toml", "--from-snapshot", NIGHT]);
    ran.exits(2).says("is of another tenant").contacts_nobody();
}
