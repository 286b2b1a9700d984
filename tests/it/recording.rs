//! `--record`: what is kept is not personal, and a replay of it brings the same snapshot under other names.

use std::collections::BTreeMap;

use graph_sim::{Fault, FaultKind, Options, RetryAfter};
use serde_json::Value;

use crate::world::{ALL, TENANT, World, all_rights, contoso, files_under};

/// The lines of a snapshot's file, as values.
fn lines(world: &World, file: &str) -> Vec<Value> {
    world.read(file).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Pairs up all texts of two values that are alike in shape; fails where a text has two counterparts.
fn pair(a: &Value, b: &Value, to: &mut BTreeMap<String, String>, back: &mut BTreeMap<String, String>) {
    match (a, b) {
        (Value::String(a), Value::String(b)) => {
            assert_eq!(to.entry(a.clone()).or_insert_with(|| b.clone()), b, "one text, two masks");
            assert_eq!(back.entry(b.clone()).or_insert_with(|| a.clone()), a, "two texts, one mask");
        }
        (Value::Array(a), Value::Array(b)) => {
            assert_eq!(a.len(), b.len());
            a.iter().zip(b).for_each(|(a, b)| pair(a, b, to, back));
        }
        (Value::Object(a), Value::Object(b)) => {
            assert!(a.keys().eq(b.keys()), "{a:?} {b:?}");
            a.iter().zip(b).for_each(|((_, a), (_, b))| pair(a, b, to, back));
        }
        (a, b) => assert_eq!(a, b),
    }
}

/// Every group with the ids of its members, renamed, in one order.
fn members(lines: &[Value], rename: &dyn Fn(&str) -> String) -> BTreeMap<String, Vec<String>> {
    let id = |value: &Value| rename(value["id"].as_str().unwrap());
    let of = |line: &Value| {
        let mut members: Vec<String> = line["members"].as_array().unwrap().iter().map(id).collect();
        members.sort();
        (id(line), members)
    };
    lines.iter().map(of).collect()
}

#[test]
fn a_recording_holds_no_names_and_its_replay_brings_the_same_snapshot() {
    // A throttled page and a page of a proxy are in it, too.
    let fault = |kind, path| Fault { times: Some(1), ..Fault::new(path, kind) };
    let faults = vec![fault(FaultKind::Throttle(RetryAfter::Seconds(2)), "/users"), fault(FaultKind::Html, "/devices")];
    let world = World::with(contoso(), Options { faults, ..all_rights() });
    world.job(&ALL, "");
    world.run(["extract", "job.toml", "--out", "first", "--record", "tape"]).exits(0).says("exchanges recorded");
    world.run(["extract", "job.toml", "--out", "first", "--record", "tape"]).exits(2).says("is not empty");
    for path in files_under(&world.path("tape")) {
        let text = std::fs::read_to_string(&path).unwrap();
        for personal in ["contoso", "User 1", "user1", "Laptop", "Research", "Legal", TENANT, "00000000-0000-4000-8000"]
        {
            assert!(!text.contains(personal), "{personal} stands in {}", path.display());
        }
    }
    assert!(world.read("tape/exchanges.jsonl").contains("\"status\":429"));
    let replay = world.replay("tape");
    let far = world.read("job.toml").replace(&world.sim.base_url(), &replay.base_url());
    world.write("replayed.toml", &far);
    world.run(["extract", "replayed.toml", "--out", "second"]).exits(0).contacts_nobody();
    assert_eq!(replay.unknown(), Vec::<String>::new());
    let (mut to, mut back) = (BTreeMap::new(), BTreeMap::new());
    for file in ["users.jsonl", "groups.jsonl", "devices.jsonl", "licenses.jsonl"] {
        let (a, b) = (lines(&world, &format!("first/{file}")), lines(&world, &format!("second/{file}")));
        assert!(!a.is_empty() && a.len() == b.len(), "{file}");
        a.iter().zip(&b).for_each(|(a, b)| pair(a, b, &mut to, &mut back));
    }
    let renamed = members(&lines(&world, "first/memberships.jsonl"), &|id| to[id].clone());
    assert_eq!(renamed, members(&lines(&world, "second/memberships.jsonl"), &|id| id.to_owned()));
}
