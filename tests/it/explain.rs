//! `explain`: what it says of a record is what the plan does with it, for every record there is; it reads only.

use std::collections::{BTreeMap, BTreeSet};

use graph_sim::Deletion;
use graph_sim::Kind;
use serde_json::{Value, json};

use crate::world::{
    ALL, DELETE, NO_LIMITS, Ran, SCOPE, World, all_rights, busy_night, contoso, id, pair, scoped_world,
};

fn explained(world: &World, who: &str) -> (Ran, Value) {
    let ran = world.run(["explain", "job.toml", who, "--format", "json"]);
    ran.check(matches!(ran.code(), 0 | 3), "explained");
    let found = serde_json::from_str(&ran.stdout).unwrap_or_else(|error| panic!("{error}\n{ran}"));
    (ran, found)
}

/// The changes that an explanation has of its own record, by type.
fn changes(explanation: &Value) -> BTreeMap<String, Value> {
    let targets = explanation["targets"].as_array().unwrap().iter();
    let change = |target: &Value| Some((target["type"].as_str()?.to_owned(), target.get("change")?.clone()));
    targets.filter_map(change).collect()
}

/// Every change and note of a plan by type and key.
fn planned(plan: &Value, what: &str) -> BTreeMap<(String, String), Vec<Value>> {
    let mut all: BTreeMap<(String, String), Vec<Value>> = BTreeMap::new();
    for one in plan[what].as_array().unwrap() {
        let place = (one["type"].as_str().unwrap().to_owned(), one["key"].as_str().unwrap().to_owned());
        all.entry(place).or_default().push(one.clone());
    }
    all
}

/// Asks about every record of the plan, and about everybody the tenant ever had; what is explained must be the plan.
fn every_explanation_is_the_plan(world: &World) {
    let plan = world.plan();
    let (wanted, notes) = (planned(&plan, "changes"), planned(&plan, "notes"));
    let people = [3, 13, 103, 202, 301].map(id);
    let keys: BTreeSet<String> = wanted.keys().chain(notes.keys()).map(|(_, key)| key.clone()).chain(people).collect();
    let mut told = 0;
    for key in keys {
        let (ran, found) = explained(world, &key);
        for (ty, change) in changes(&found) {
            let plans = wanted.get(&(ty.clone(), key.clone())).map(Vec::as_slice).unwrap_or_default();
            ran.check(plans == [change], &format!("the plan's change of {key} in {ty}"));
            told += 1;
        }
        for target in found["targets"].as_array().unwrap() {
            let place = (target["type"].as_str().unwrap().to_owned(), key.clone());
            let said = target.get("notes").and_then(Value::as_array).cloned().unwrap_or_default();
            ran.check(notes.get(&place).cloned().unwrap_or_default() == said, "the plan's notes");
        }
        for link in found.get("links").and_then(Value::as_array).into_iter().flatten() {
            let place = (link["type"].as_str().unwrap().to_owned(), link["key"].as_str().unwrap().to_owned());
            let plans = wanted.get(&place).and_then(|changes| changes.first());
            ran.check(link.get("change") == plans, "the plan's change of a link");
        }
    }
    let all: usize = wanted.values().map(Vec::len).sum();
    assert_eq!(told, all, "every change was explained once");
}

#[test]
fn what_is_explained_is_what_the_plan_does() {
    let world = World::with(contoso(), all_rights());
    world.job(&ALL, &format!("{DELETE}{NO_LIMITS}{SCOPE}"));
    let (_, first) = explained(&world, &id(1));
    assert_eq!(changes(&first)["users"]["action"], "create");
    assert!(!world.path("state").exists() && world.export().is_empty(), "something was written");
    world.run(["run", "job.toml"]).exits(0);
    world.night(busy_night);
    world.edit("export/users.csv", "user3@contoso.com", "three@contoso.com");
    every_explanation_is_the_plan(&world);
}

#[test]
fn who_left_is_explained_by_what_is_known_of_them() {
    let world = scoped_world();
    world.night(|tenant| {
        assert!(tenant.remove(Kind::User, &id(12), Deletion::Soft));
        assert!(tenant.remove(Kind::User, &id(10), Deletion::Hard));
        assert!(tenant.set(Kind::User, &id(11), "accountEnabled", false.into()));
    });
    // By an address that only the ledger remembers.
    let (ran, gone) = explained(&world, "USER12@contoso.com");
    ran.exits(0);
    assert_eq!((&gone["key"], &gone["name"]), (&json!(id(12)), &json!("User 12")));
    assert_eq!(
        (&gone["sources"][0]["state"], &gone["targets"][0]["change"]["action"]),
        (&json!("gone"), &json!("delete"))
    );
    let (ran, missed) = explained(&world, &id(10));
    ran.exits(3);
    assert_eq!(missed["sources"][0]["state"], "not-found");
    let (_, disabled) = explained(&world, "user11@contoso.com");
    let clauses = disabled["sources"][0]["scope"]["clauses"].as_array().unwrap();
    assert_eq!((&clauses[0]["value"], &clauses[1]["value"]), (&json!(false), &json!(true)));
    assert_eq!(clauses[0]["inputs"], json!([{ "path": "accountEnabled", "value": false }]));
    assert_eq!(disabled["targets"][0]["change"]["cause"]["kind"], "disabled");
    // Nobody that anybody ever heard of, but a look was taken.
    let (ran, nobody) = explained(&world, &id(77));
    ran.exits(3);
    assert_eq!(nobody["sources"][0]["state"], "not-found");
    world.run(["explain", "job.toml", "User 77"]).exits(2).says("did you mean");
    world.run(["explain", "job.toml", &pair(101, 77)]).exits(3).says("nothing");
}

#[test]
fn a_run_that_holds_the_lock_is_not_disturbed_and_the_limit_that_holds_is_named() {
    let world = World::imported_with(contoso(), all_rights(), &["users"], &format!("{DELETE}{SCOPE}"));
    world.night(|tenant| {
        (1..=9).for_each(|n| assert!(tenant.set(Kind::User, &id(n), "accountEnabled", false.into())));
    });
    let (_, found) = explained(&world, &id(1));
    assert_eq!(found["targets"][0]["held_by"], json!(["retires"]));
    world.run(["explain", "job.toml", &id(1)]).exits(0).says_all(&["the whole run is held", "limit retires"]);
}

/// A job that splits users into phones and joins them into departments.
fn split_and_joined() -> World {
    let world = World::new(contoso());
    for n in [1, 2] {
        let phones = json!([format!("+47 {n}"), "+1 425"]);
        assert!(world.sim.tenant().set(Kind::User, &id(n), "businessPhones", phones));
    }
    let mapping = |name: &str, source: &str, key: &str, attributes: &str| {
        let head = format!("format = \"mapping/1\"\nname = \"{name}\"\n{source}\ntarget = \"{name}\"\nkey = {key}\n");
        world.write(&format!("{name}.toml"), &format!("{head}[attributes]\n{attributes}"));
    };
    let phones = "\"User\" = \"id\"\n\"Phone\" = \"concat($this, ' of ', displayName)\"\n";
    mapping("phones", "source = \"users\"\neach = \"businessPhones\"", "[\"User\", \"Phone\"]", phones);
    let departments = "\"Name\" = \"value\"\n\"Heads\" = \"records/$count\"\n\
        \"People\" = { value = \"records/displayName\", separator = \", \" }\n";
    mapping("departments", "source = { distinct = \"department\", of = \"users\" }", "\"Name\"", departments);
    let scope = "[scope]\nusers = \"not endswith(displayName, '12')\"\n";
    world.job(&["users"], &format!("{DELETE}{NO_LIMITS}{scope}"));
    let job = format!(
        "{}[[mapping]]\nuse = \"phones.toml\"\n[[mapping]]\nuse = \"departments.toml\"\n",
        world.read("job.toml")
    );
    world.write("job.toml", &job);
    world
}

#[test]
fn records_that_are_split_and_joined_are_written_and_explained_in_full() {
    let world = split_and_joined();
    world.run(["run", "job.toml"]).exits(0);
    let export = world.export();
    let people = "User 10, User 2, User 4, User 6, User 8";
    assert!(export["departments.csv"].contains(&format!("Sales,5,\"{people}\"")), "{export:?}");
    world.night(|tenant| {
        assert!(tenant.set(Kind::User, &id(4), "department", "Research".into()));
        assert!(tenant.set(Kind::User, &id(2), "businessPhones", json!(["+1 425"])));
    });
    let plan = world.plan();
    let (wanted, notes) = (planned(&plan, "changes"), planned(&plan, "notes"));
    assert!(!wanted.is_empty() && notes.is_empty(), "{plan}");
    for ((ty, key), changes) in &wanted {
        let who = if ty == "departments" { format!("departments/{key}") } else { key.clone() };
        let (ran, found) = explained(&world, &who);
        ran.exits(0);
        assert_eq!(self::changes(&found).get(ty), changes.first(), "{who}");
    }

    let (_, sales) = explained(&world, "sales");
    assert_eq!(sales["sources"][0]["state"], "in");
    assert_eq!(sales["sources"][0]["properties"]["value"], "Sales");
    assert_eq!(sales["sources"][0]["properties"]["records"].as_array().unwrap().len(), 4);
    let heads = &sales["targets"][0]["attributes"][1];
    assert_eq!(
        (&heads["expression"], &heads["desired"], &heads["current"]),
        (&json!("records/$count"), &json!("4"), &json!("5"))
    );
    assert_eq!(heads["inputs"], json!([{ "path": "records/$count", "value": 4 }]));

    let (_, there) = explained(&world, &format!("{}/+1 425", id(2)));
    let phone = &there["targets"][0]["attributes"][1];
    assert_eq!((&there["sources"][0]["state"], &phone["desired"]), (&json!("in"), &json!("+1 425 of User 2")));
    assert_eq!(
        phone["inputs"],
        json!([{ "path": "$this", "value": "+1 425" }, { "path": "displayName", "value": "User 2" }])
    );
    let (_, gone) = explained(&world, &format!("{}/+47 2", id(2)));
    assert_eq!(gone["targets"][0]["change"]["action"], "delete");
    world.run(["explain", "job.toml", "Retail"]).exits(2);
}

#[test]
fn what_a_person_settled_is_not_said_to_agree() {
    let world = World::imported_with(contoso(), all_rights(), &["users"], "");
    world.run(["explain", "job.toml", &id(3)]).exits(0).says("nothing: the target holds what Entra says");
    world.edit("export/users.csv", "user3@contoso.com", "three@contoso.com");
    world.run(["run", "job.toml"]).exits(0);
    world.run(["resolve", "job.toml", "--take", "target", "--record", &id(3)]).exits(0);
    world.run(["explain", "job.toml", &id(3)]).exits(0).says("nothing: what differs is to stay as it is");
}
