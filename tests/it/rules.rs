//! The rules that are never broken, each by the whole program over HTTP. A test's name is the rule's.

use std::collections::BTreeMap;

use graph_sim::{Deletion, Fault, FaultKind, Kind, Member, RetryAfter, Tenant};
use jiff::SignedDuration;
use serde_json::{Value, json};

use crate::world::{
    ALL, DELETE, NO_LIMITS, Ran, World, all_rights, busy_night, contoso, files_under, id, pair, scoped_world, user,
};

/// Runs three nights on which the source cannot be read whole: nothing that was imported may change, and each night
/// says that it was partial. Three, because two runs that miss an object prove it gone.
#[track_caller]
fn three_partial_nights_change_nothing(world: &World, what: &str) {
    let (before, touched) = (world.records(), world.touched());
    for _ in 0..3 {
        world.next_night();
        let ran = world.run(["run", "job.toml"]);
        ran.check(ran.code() == 3, &format!("exit 3 after: {what}"));
        ran.check(world.records() == before, &format!("every record stands after: {what}"));
    }
    assert_eq!(world.touched(), touched, "{what}");
}

/// All ways to lose a part of an answer for good.
fn losses() -> [FaultKind; 9] {
    [
        FaultKind::Status(500),
        FaultKind::Status(403),
        FaultKind::Status(404),
        FaultKind::Unavailable(RetryAfter::Missing),
        FaultKind::Reset,
        FaultKind::Cut,
        FaultKind::Truncated,
        FaultKind::Html,
        FaultKind::Empty,
    ]
}

/// Contoso with so many users that they come on two pages.
fn two_pages() -> Tenant {
    let mut tenant = contoso();
    (1000..2010).for_each(|n| drop(tenant.put(Kind::User, user(n))));
    tenant
}

#[test]
fn no_removal_from_a_read_that_lost_a_page() {
    let tables = format!("{DELETE}{NO_LIMITS}");
    let world = World::imported_with(two_pages(), all_rights(), &["users", "memberships"], &tables);
    for (kind, lookups_fail) in [(FaultKind::Cut, true), (FaultKind::Status(500), false), (FaultKind::Html, true)] {
        world.sim.add_fault(Fault::new("skiptoken", kind.clone()));
        if lookups_fail {
            world.sim.add_fault(Fault::new("/v1.0/users/", kind.clone()));
            world.sim.add_fault(Fault::new("deletedItems", kind.clone()));
        }
        three_partial_nights_change_nothing(&world, &format!("page lost by {kind:?}"));
        world.sim.clear_faults();
    }
    world.next_night();
    world.run(["run", "job.toml"]).exits(0);
}

#[test]
fn no_removal_from_a_collection_whose_body_is_cut_or_foreign() {
    let world = World::imported();
    for path in ["/v1.0/users?", "/v1.0/groups?", "/v1.0/devices?", "/v1.0/subscribedSkus"] {
        for kind in losses() {
            // A page without items that links to itself is not offered for what has one page.
            if kind == FaultKind::Empty && path.contains("subscribedSkus") {
                continue;
            }
            world.sim.add_fault(Fault::new(path, kind.clone()));
            three_partial_nights_change_nothing(&world, &format!("{path} failing by {kind:?}"));
            world.sim.clear_faults();
        }
    }
    world.next_night();
    world.run(["run", "job.toml"]).exits(0);
}

#[test]
fn no_removal_from_a_group_whose_list_is_partial() {
    let world = World::imported();
    // Else so small a group is read by expansion.
    world.edit("job.toml", "[target]", "memberships = \"per-group\"\n[target]");
    for kind in losses() {
        world.sim.add_fault(Fault::new(&format!("groups/{}/members", id(102)), kind.clone()));
        three_partial_nights_change_nothing(&world, &format!("member list failing by {kind:?}"));
        world.sim.clear_faults();
    }
}

#[test]
fn no_removal_when_a_right_goes_missing() {
    let each = ["User.Read.All", "GroupMember.Read.All", "Device.Read.All", "LicenseAssignment.Read.All"];
    for mappings in [&ALL[..], &["memberships"], &["nestings"], &["license_assignments"]] {
        let world = World::imported_with(contoso(), all_rights(), mappings, &format!("{DELETE}{NO_LIMITS}"));
        for lost in each {
            let mut roles: Vec<&str> = each.into_iter().filter(|right| *right != lost).collect();
            roles.push("Member.Read.Hidden");
            world.sim.set_roles(&roles);
            let before = world.records();
            for _ in 0..3 {
                world.next_night();
                let ran = world.run(["run", "job.toml"]);
                // 5 when nothing else is read than what the right is for: nestings need groups alone.
                ran.check(matches!(ran.code(), 0 | 3 | 5), "a run that ends well");
                ran.check(world.records() == before, &format!("every record of {mappings:?} stands without {lost}"));
            }
        }
    }
}

#[test]
fn no_removal_when_one_collection_is_lost_for_jobs_of_one_mapping() {
    for mapping in ALL {
        let world = World::imported_with(contoso(), all_rights(), &[mapping], &format!("{DELETE}{NO_LIMITS}"));
        let before = world.records();
        for path in ["/v1.0/users?", "/v1.0/groups?", "/v1.0/devices?", "/v1.0/subscribedSkus"] {
            world.sim.add_fault(Fault::new(path, FaultKind::Status(500)));
            for _ in 0..2 {
                world.next_night();
                let ran = world.run(["run", "job.toml"]);
                // 6 when nothing else is read than what is lost.
                ran.check(matches!(ran.code(), 0 | 3 | 6), "a run that ends well");
                ran.check(world.records() == before, &format!("every record of {mapping} stands without {path}"));
            }
            world.sim.clear_faults();
        }
    }
}

#[test]
fn no_removal_from_a_group_that_became_hidden() {
    let world = World::imported();
    world.sim.set_roles(&["Directory.Read.All"]);
    three_partial_nights_change_nothing(&world, "the right to hidden members is gone");
    assert!(world.rows("memberships").contains_key(&pair(104, 5)));
}

#[test]
fn accepting_that_members_are_hidden_accepts_no_other_failure() {
    let world = World::imported();
    let accept = format!("[[accept]]\nwhat = \"hidden-membership\"\nid = \"{}\"\n", id(104));
    world.write("job.toml", &(world.read("job.toml") + &accept));
    world.sim.set_roles(&["Directory.Read.All"]);
    world.run(["run", "job.toml"]).exits(0);
    world.sim.set_roles(&["Directory.Read.All", "Member.Read.Hidden"]);
    world.sim.add_fault(Fault::new(&format!("groups/{}/members", id(104)), FaultKind::Status(500)));
    world.edit("job.toml", "[target]", "memberships = \"per-group\"\n[target]");
    world.next_night();
    world.run(["run", "job.toml"]).exits(3).says("is incomplete");
}

#[test]
fn requests_say_the_priority_that_the_job_has() {
    let world = World::imported();
    for (words, said) in [("", None), ("priority = \"low\"\n", Some("low")), ("priority = \"high\"\n", Some("high"))] {
        let job = world.read("job.toml");
        world.edit("job.toml", "[target]", &format!("{words}[target]"));
        let ran = world.run(["plan", "job.toml"]);
        let asked = &ran.exits(0).requests;
        let graph: Vec<_> = asked.iter().filter(|asked| asked.target.starts_with("/v1.0")).collect();
        assert!(!graph.is_empty());
        assert!(graph.iter().all(|asked| asked.priority.as_deref() == said), "{words}");
        world.write("job.toml", &job);
    }
}

#[test]
fn no_removal_when_the_lookup_by_id_fails() {
    let world = World::imported();
    let before = world.rows("users");
    world.night(|tenant| assert!(tenant.remove(Kind::User, &id(12), Deletion::Hard)));
    for path in ["getByIds", "/v1.0/users/", "deletedItems"] {
        world.sim.add_fault(Fault::new(path, FaultKind::Status(500)));
    }
    for _ in 0..3 {
        world.next_night();
        world.run(["run", "job.toml"]);
        assert_eq!(world.rows("users"), before);
    }
    world.sim.clear_faults();
    for _ in 0..2 {
        world.next_night();
        world.run(["run", "job.toml"]).exits(0);
    }
    assert!(!world.rows("users").contains_key(&id(12)), "proved gone by two reads");
}

#[test]
fn empty_but_successful_holds() {
    let empty = |kind: Kind| {
        move |tenant: &mut Tenant| {
            let ids: Vec<_> = tenant.list(kind).map(|object| object.id().clone()).collect();
            ids.iter().for_each(|id| assert!(tenant.remove(kind, id, Deletion::Soft)));
        }
    };
    let no_members = |tenant: &mut Tenant| {
        for group in 101..=104 {
            let members: Vec<_> = tenant.members(&id(group)).iter().map(|member| member.id.clone()).collect();
            members.iter().for_each(|member| assert!(tenant.remove_member(&id(group), member)));
        }
    };
    type Emptied<'a> = (&'a str, Box<dyn FnOnce(&mut Tenant)>);
    let cases: [Emptied; 4] = [
        ("users", Box::new(empty(Kind::User))),
        ("groups", Box::new(empty(Kind::Group))),
        ("devices", Box::new(empty(Kind::Device))),
        ("memberships", Box::new(no_members)),
    ];
    for (name, change) in cases {
        let world = World::imported();
        let (before, touched) = (world.records(), world.touched());
        world.night(change);
        for _ in 0..2 {
            let ran = world.run(["run", "job.toml"]);
            ran.exits(4).says("empty-collection").says(name);
            assert_eq!((world.records(), world.touched()), (before.clone(), touched.clone()), "{name}");
            world.next_night();
        }
    }
}

fn changes(plan: &Value) -> &[Value] {
    plan["changes"].as_array().unwrap()
}

#[test]
fn every_removal_names_its_cause() {
    let world = scoped_world();
    world.night(busy_night);
    let plan = world.plan();
    let mut causes = BTreeMap::new();
    for change in changes(&plan) {
        if matches!(change["action"].as_str().unwrap(), "delete" | "retire" | "forget") {
            let words = change["cause"]["words"].as_str().unwrap_or_default();
            assert!(!words.is_empty(), "{change}");
            let place = format!("{} {}", change["type"].as_str().unwrap(), change["key"].as_str().unwrap());
            causes.insert(place, change["cause"]["kind"].as_str().unwrap().to_owned());
        }
    }
    let expected = [
        (format!("users {}", id(12)), "gone"),
        (format!("users {}", id(11)), "disabled"),
        (format!("users {}", id(9)), "out"),
        (format!("memberships {}", pair(101, 2)), "gone"),
        (format!("memberships {}", pair(103, 9)), "out"),
        (format!("memberships {}", pair(104, 5)), "gone"),
        (format!("memberships {}", pair(104, 6)), "gone"),
        (format!("groups {}", id(104)), "gone"),
    ];
    assert_eq!(causes, expected.map(|(place, kind)| (place, kind.to_owned())).into());
    let ran = world.run(["plan", "job.toml", "--all"]);
    ran.says("deleted in Entra").says("accountEnabled eq true is not true").says("no longer a member");
}

#[test]
fn unknown_never_removes_nor_clears() {
    let world = scoped_world();
    // Basic rights show a user's name but neither department nor manager nor licenses nor what the scope asks for.
    world.sim.set_roles(&["User.ReadBasic.All", "GroupMember.Read.All", "Member.Read.Hidden", "Device.Read.All"]);
    three_partial_nights_change_nothing(&world, "only basic rights are left");
}

#[test]
fn what_may_not_be_read_is_told_and_never_written() {
    let world = World::imported_with(contoso(), all_rights(), &["users"], &format!("{DELETE}{NO_LIMITS}"));
    world.sim.set_roles(&["User.ReadBasic.All"]);
    three_partial_nights_change_nothing(&world, "only basic rights are left");
}

#[test]
fn only_owned_records_are_removed() {
    let world = World::new(contoso());
    world.sim.tenant().remove(Kind::User, &id(12), Deletion::Soft);
    std::fs::create_dir(world.path("export")).unwrap();
    // A row by hand, one of a user who is deleted, and one of a user who never was.
    let foreign = format!("Entra ID,Name\n,By hand\n{},Left long ago\n{},Never was\n", id(12), id(77));
    world.write("export/users.csv", &foreign);
    world.job(&["users"], &format!("{DELETE}{NO_LIMITS}"));
    world.run(["run", "job.toml"]).exits(0);
    for _ in 0..2 {
        world.night(|tenant| drop(tenant.put(Kind::User, user(13))));
        world.run(["run", "job.toml"]).exits(0);
    }
    let names: Vec<String> = world.rows("users").into_values().map(|row| row["Name"].clone()).collect();
    assert_eq!(names.len(), 15, "{names:?}");
    for name in ["By hand", "Left long ago", "Never was", "User 13"] {
        assert!(names.iter().any(|other| other == name), "{name} is gone: {names:?}");
    }
    let plan = world.plan();
    let strangers = plan["notes"].as_array().unwrap().iter().filter(|note| note["kind"] == "stranger").count();
    assert_eq!(strangers, 2, "{plan}");
}

#[test]
fn an_edited_filter_removes_only_after_approval() {
    let world = scoped_world();
    let before = world.rows("users");
    world.edit("job.toml", "userType eq 'Member'", "department eq 'Sales'");
    world.next_night();
    let ran = world.run(["run", "job.toml"]);
    ran.exits(4).says("filter-edit");
    assert_eq!(world.rows("users"), before);
    let plan = held_plan(&world);
    let refused = world.run(["approve", "job.toml", &plan, "--limit", "retires"]);
    refused.exits(2).says("it waits for: filter-edit\n");
    world.run(["approve", "job.toml", &plan, "--limit", "filter-edit"]).exits(0).contacts_nobody();
    let pending = world.run(["pending", "job.toml"]);
    pending.exits(4).says("approved:    filter-edit by uid").says("the next run goes by it");
    pending.check(!pending.stdout.contains("approve it:"), "nothing is left to approve");
    world.next_night();
    world.run(["run", "job.toml"]).exits(0);
    assert_eq!(world.rows("users").len(), 6);
}

#[test]
fn who_moves_between_an_approved_edit_and_its_run_waits_one_night_and_no_more() {
    let world = scoped_world();
    world.edit("job.toml", "userType eq 'Member'", "department eq 'Sales'");
    world.next_night();
    world.run(["run", "job.toml"]).exits(4).says("filter-edit");
    world.run(["approve", "job.toml", &held_plan(&world), "--limit", "filter-edit"]).exits(0);
    let rows = world.rows("users");
    let (mover, _) = rows.iter().find(|(_, row)| row["Department"] == "Sales").unwrap();
    world.night(|tenant| assert!(tenant.set(Kind::User, mover, "department", "Facilities".into())));
    world.run(["run", "job.toml"]).exits(4).says("filter-edit");
    assert_eq!(world.rows("users").len(), 6, "what was approved went, the mover was not shown");
    world.next_night();
    world.run(["run", "job.toml"]).exits(0);
    assert!(!world.rows("users").contains_key(mover), "it left by a rule that is accepted now");
    world.next_night();
    let quiet = world.run(["run", "job.toml"]);
    quiet.exits(0);
    assert_eq!(world.rows("users").len(), 5);
}

#[test]
fn naming_a_held_plan_approves_it_under_a_name() {
    let world = World::imported_with(contoso(), all_rights(), &ALL, DELETE);
    world.night(|tenant| (6..=12).for_each(|n| assert!(tenant.remove(Kind::User, &id(n), Deletion::Soft))));
    world.run(["plan", "job.toml", "--out", "held.json"]).exits(4);
    let ran = world.run(["apply", "held.json", "--job", "job.toml"]);
    ran.exits(0);
    ran.check(!ran.stdout.contains("Nothing is written"), "says what was done");
    assert_eq!(world.rows("users").len(), 5);
    world.run(["history", "job.toml"]).exits(0).says("retires").says("approved");
    world.run(["pending", "job.toml"]).exits(0);
}

#[test]
fn a_run_in_between_leaves_the_approval_of_an_undo_alone() {
    let world = World::imported_with(contoso(), all_rights(), &["users"], DELETE);
    let held = world.run(["undo", "job.toml", "1"]);
    held.exits(4).says("when this is tried again");
    let command = held.stdout.lines().find_map(|line| line.trim().strip_prefix("entra-import ")).unwrap();
    world.run(crate::world::shell_words(command).iter().map(String::as_str)).exits(0).says("undo job.toml 1");
    world.next_night();
    world.run(["run", "job.toml"]).exits(0);
    assert_eq!(world.rows("users").len(), 12, "no night goes by it");
    world.run(["pending", "job.toml"]).exits(4).says("approved:");
    world.run(["undo", "job.toml", "1"]).exits(0);
    assert_eq!(world.rows("users").len(), 0);
    world.run(["pending", "job.toml"]).exits(0);
}

#[test]
fn a_run_under_a_clock_that_is_ahead_holds_up_none_after_it_was_put_right() {
    let world = World::imported();
    world.pass(SignedDuration::from_hours(24 * 400));
    world.night(|tenant| assert!(tenant.set(Kind::User, &id(8), "department", "Legal".into())));
    world.run(["run", "job.toml"]).exits(0);
    world.pass(-SignedDuration::from_hours(24 * 400));
    world.run(["run", "job.toml"]).exits(1).says("the clock says");
    world.night(|tenant| assert!(tenant.set(Kind::User, &id(8), "department", "Sales".into())));
    world.run(["run", "job.toml"]).exits(0);
    assert_eq!(world.rows("users")[&id(8)]["Department"], "Sales");
}

/// The id of the plan that is held.
fn held_plan(world: &World) -> String {
    let pending = world.run(["pending", "job.toml"]);
    pending.exits(4).contacts_nobody();
    let id = pending.stdout.split("plan ").nth(1).and_then(|rest| rest.split(' ').next());
    id.unwrap_or_else(|| panic!("{pending}")).to_owned()
}

#[test]
fn nothing_is_written_before_the_whole_plan_passed_the_limits() {
    let world = World::imported_with(contoso(), all_rights(), &ALL, DELETE);
    let (before, touched, generation) = (world.export(), world.touched(), world.generation());
    world.night(|tenant| {
        // Groups come before memberships, and users are over their limit: half of twelve.
        assert!(tenant.set(Kind::Group, &id(101), "displayName", "Renamed".into()));
        (6..=12).for_each(|n| assert!(tenant.remove(Kind::User, &id(n), Deletion::Soft)));
    });
    let ran = world.run(["run", "job.toml"]);
    ran.exits(4).says("retires").says("entra-import approve");
    assert_eq!((world.export(), world.touched()), (before, touched));
    assert_eq!(world.generation(), generation);
    let plan = held_plan(&world);
    world.run(["approve", "job.toml", &plan, "--limit", "retires"]).exits(0);
    world.run(["run", "job.toml"]).exits(0);
    assert_eq!(world.rows("users").len(), 5);
    assert_eq!(world.rows("groups")[&id(101)]["Name"], "Renamed");
}

#[test]
fn a_first_run_over_records_that_are_there_waits_for_approval() {
    let world = World::new(contoso());
    std::fs::create_dir(world.path("export")).unwrap();
    world.write("export/users.csv", &format!("Entra ID,Name\n{},Somebody else\n", id(1)));
    world.job(&["users"], NO_LIMITS);
    let before = world.export();
    world.run(["run", "job.toml"]).exits(4).says("first-run");
    assert_eq!(world.export(), before);
    world.run(["run", "job.toml", "--approve", "first-run"]).exits(0);
    assert_eq!(world.rows("users").len(), 12);
    assert_eq!(world.rows("users")[&id(1)]["Name"], "Somebody else", "the target's value stands when adopted");
}

/// The text that a saved value makes in a cell.
fn cell(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        Value::Array(items) => items.iter().map(|item| item.as_str().unwrap()).collect::<Vec<_>>().join("; "),
        other => panic!("not a cell: {other}"),
    }
}

#[test]
fn the_plan_shown_is_the_plan_applied() {
    let world = scoped_world();
    let before = world.records();
    world.night(busy_night);
    world.run(["plan", "job.toml", "--out", "plan.json"]).exits(0);
    assert_eq!(world.records(), before, "a plan writes nothing");
    let plan: Value = serde_json::from_str(&world.read("plan.json")).unwrap();
    // What Entra becomes after the plan was made must not show.
    world.sim.tenant().set(Kind::User, &id(8), "department", "Too late".into());
    let ran = world.run(["apply", "plan.json", "--job", "job.toml"]);
    ran.exits(0);
    ran.check(ran.requests.is_empty(), "an apply does not read the source");
    let mut expected = before;
    for change in changes(&plan) {
        let place = (change["type"].as_str().unwrap().to_owned(), change["key"].as_str().unwrap().to_owned());
        match change["action"].as_str().unwrap() {
            "delete" => drop(expected.remove(&place).expect("only what is there is deleted")),
            "create" | "update" | "adopt" => {
                let row = expected.entry(place).or_default();
                for attribute in change["attributes"].as_array().unwrap() {
                    row.insert(attribute["name"].as_str().unwrap().to_owned(), cell(&attribute["after"]));
                }
            }
            _ => {}
        }
    }
    let filled = |records: BTreeMap<_, BTreeMap<String, String>>| -> BTreeMap<(String, String), _> {
        let trim = |row: BTreeMap<String, String>| row.into_iter().filter(|(_, cell)| !cell.is_empty()).collect();
        records.into_iter().map(|(place, row)| (place, trim(row))).collect::<BTreeMap<_, BTreeMap<_, _>>>()
    };
    assert_eq!(filled(world.records()), filled(expected));
}

#[test]
fn a_run_does_what_a_plan_and_an_apply_do() {
    let (ran, applied) = (scoped_world(), scoped_world());
    for world in [&ran, &applied] {
        world.night(busy_night);
    }
    ran.run(["run", "job.toml"]).exits(0);
    applied.run(["plan", "job.toml", "--out", "plan.json"]).exits(0);
    applied.run(["apply", "plan.json", "--job", "job.toml"]).exits(0);
    assert_eq!(ran.export(), applied.export());
    for world in [&ran, &applied] {
        let left = world.plan();
        assert_eq!(changes(&left), [] as [Value; 0]);
    }
}

#[test]
fn a_second_run_writes_nothing() {
    let world = scoped_world();
    world.night(busy_night);
    world.run(["run", "job.toml"]).exits(0);
    // One more settles what two reads had to prove.
    world.next_night();
    world.run(["run", "job.toml"]).exits(0);
    let (export, touched, generation) = (world.export(), world.touched(), world.generation());
    for _ in 0..2 {
        world.next_night();
        world.run(["run", "job.toml"]).exits(0).says("0 updated");
        assert_eq!((world.export(), world.touched()), (export.clone(), touched.clone()));
        assert_eq!(changes(&world.plan()), [] as [Value; 0]);
        assert_eq!(world.generation(), generation);
    }
}

#[test]
fn a_change_made_in_the_target_is_kept_and_listed() {
    let world = World::imported();
    world.edit("export/users.csv", "User 8,", "Octavia,");
    world.edit("export/users.csv", "user7@contoso.com,user7@contoso.com", "user7@contoso.com,seven@elsewhere.org");
    world.next_night();
    world.run(["run", "job.toml"]).exits(0).says("2 notes");
    world.run(["plan", "job.toml", "--all"]).says("someone changed it in the target").says("Octavia");
    assert_eq!(world.rows("users")[&id(8)]["Name"], "Octavia");
    // Now Entra changes both records: what nobody touched is written, what somebody changed is kept.
    world.night(|tenant| {
        tenant.set(Kind::User, &id(8), "displayName", "User Eight".into());
        tenant.set(Kind::User, &id(8), "department", "Legal".into());
    });
    world.run(["run", "job.toml"]).exits(0);
    let row = &world.rows("users")[&id(8)];
    assert_eq!((row["Name"].as_str(), row["Department"].as_str()), ("Octavia", "Legal"));
    world.run(["plan", "job.toml", "--all"]).says("it changed in Entra and someone changed it in the target");
    // A person decides, and the decision holds.
    world.run(["resolve", "job.toml", "--take", "source", "--record", &id(8)]).exits(0);
    world.run(["resolve", "job.toml", "--take", "target", "--record", &id(7)]).exits(0);
    world.next_night();
    world.run(["run", "job.toml"]).exits(0).says("0 notes");
    assert_eq!(world.rows("users")[&id(8)]["Name"], "User Eight");
    assert_eq!(world.rows("users")[&id(7)]["Email"], "seven@elsewhere.org");
}

#[test]
fn a_record_edited_after_the_plan_was_made_is_not_deleted() {
    let world = World::imported();
    world.night(|tenant| assert!(tenant.remove(Kind::User, &id(12), Deletion::Soft)));
    world.run(["plan", "job.toml", "--out", "plan.json"]).exits(0);
    world.edit("export/users.csv", "User 12,", "Keep me,");
    world.run(["apply", "plan.json", "--job", "job.toml"]).exits(9).says("target moved");
    assert_eq!(world.rows("users")[&id(12)]["Name"], "Keep me");
}

#[test]
fn one_bad_record_is_rejected_and_the_rest_go_on() {
    let world = World::imported();
    world.night(|tenant| {
        tenant.set(Kind::User, &id(3), "displayName", Value::Null);
        tenant.set(Kind::User, &id(3), "department", "Nowhere".into());
        tenant.set(Kind::User, &id(8), "department", "Legal".into());
        let mut nameless = user(13);
        nameless["displayName"] = Value::Null;
        tenant.put(Kind::User, nameless);
        tenant.put(Kind::User, user(14));
    });
    let ran = world.run(["run", "job.toml"]);
    ran.exits(3);
    let users = world.rows("users");
    assert_eq!(users[&id(3)]["Department"], "Research", "nothing is written for it");
    assert_eq!(users[&id(8)]["Department"], "Legal");
    assert!(!users.contains_key(&id(13)) && users.contains_key(&id(14)));
    world.run(["plan", "job.toml", "--all"]).exits(3).says("could not be mapped").says("Name");
}

/// What became of a plan, from `--format json`: every change of it by outcome.
fn accounted(ran: &Ran) -> (u64, Value) {
    let outcome: Value = serde_json::from_str(&ran.stdout).unwrap_or_else(|error| panic!("{error}\n{ran}"));
    let number = |value: &Value| value.as_u64().unwrap_or_else(|| panic!("{outcome}"));
    let totals = &outcome["totals"];
    let done: u64 = totals["done"].as_object().unwrap().values().map(number).sum();
    let not_done: u64 = ["rejected", "uncertain", "not_attempted"].map(|end| number(&totals[end])).iter().sum();
    let named = outcome["not_done"].as_array().unwrap();
    let places: std::collections::BTreeSet<String> =
        named.iter().map(|change| format!("{} {}", change["type"], change["key"])).collect();
    assert_eq!((named.len() as u64, places.len() as u64), (not_done, not_done), "each is named once: {outcome}");
    (done + not_done, outcome)
}

#[test]
fn every_change_in_the_plan_ends_in_the_outcome_exactly_once() {
    // Whole, and with one type failing: what lies in the place of its new file cannot be removed.
    for blocked in [None, Some("groups"), Some("memberships"), Some("users")] {
        let world = scoped_world();
        world.night(busy_night);
        world.run(["plan", "job.toml", "--out", "plan.json"]).exits(0);
        let plan: Value = serde_json::from_str(&world.read("plan.json")).unwrap();
        let before = world.export();
        if let Some(blocked) = blocked {
            std::fs::create_dir_all(world.path(&format!("export/.{blocked}.csv.entra-import/in the way"))).unwrap();
        }
        let ran = world.run(["run", "job.toml", "--format", "json"]);
        let (count, outcome) = accounted(&ran);
        assert_eq!(count, changes(&plan).len() as u64, "{outcome}");
        match blocked {
            None => {
                ran.exits(0);
            }
            Some(blocked) => {
                ran.exits(1);
                let file = format!("{blocked}.csv");
                assert_eq!(world.export()[&file], before[&file], "{blocked}");
                std::fs::remove_dir_all(world.path(&format!("export/.{blocked}.csv.entra-import"))).unwrap();
                world.next_night();
                world.run(["run", "job.toml"]).exits(0);
                world.next_night();
                world.run(["run", "job.toml"]).exits(0);
                assert_eq!(changes(&world.plan()), [] as [Value; 0]);
            }
        }
    }
}

#[test]
fn only_reads_reach_graph() {
    let world = scoped_world();
    world.night(busy_night);
    let mut seen = Vec::new();
    for args in [
        &["check", "job.toml"][..],
        &["plan", "job.toml"],
        &["run", "job.toml"],
        &["extract", "job.toml", "--out", "out"],
    ] {
        seen.extend(world.run(args.iter().copied()).requests);
    }
    let token = format!("/{}/oauth2/v2.0/token", crate::world::TENANT);
    for request in &seen {
        let path = request.target.split('?').next().unwrap();
        let posts = [token.as_str(), "/v1.0/$batch", "/v1.0/directoryObjects/getByIds"];
        let reads = request.method == "GET" || (request.method == "POST" && posts.contains(&path));
        assert!(reads, "{} {}", request.method, request.target);
    }
    assert!(seen.iter().any(|request| request.target == token) && seen.len() > 20, "{}", seen.len());
}

#[test]
fn secrets_and_tokens_reach_no_output_and_no_file() {
    // Every run of every test is searched; here is what makes the program talk most.
    let world = World::imported();
    world.night(busy_night);
    world.sim.add_fault(Fault::new("/v1.0/devices", FaultKind::Status(401)));
    world.sim.add_fault(Fault::new("/v1.0/groups?", FaultKind::Html));
    world.run(["run", "job.toml", "-vv", "--log-format", "json"]).exits(3);
    world.run(["plan", "job.toml", "-vv", "--out", "plan.json"]);
    world.run(["check", "job.toml", "-vv"]);
    world.run(["extract", "job.toml", "--out", "snapshot", "-vv"]);
    for (name, value) in [("ENTRA_SECRET", "Sim8Q~not+it"), ("ENTRA_SECRET", "Sim8Q\nSim8Q")] {
        let ran = world.run_with(["run", "job.toml", "-vv"], &[(name, value)]);
        ran.check(ran.code() != 0, "a wrong secret is refused");
    }
}

#[test]
fn a_link_to_another_host_is_refused() {
    let tables = format!("{DELETE}{NO_LIMITS}");
    let world = World::imported_with(two_pages(), all_rights(), &["users", "memberships"], &tables);
    let other = world.another_sim(two_pages(), all_rights());
    world.sim.add_fault(Fault::new("/v1.0/users?", FaultKind::Foreign(other.base_url())));
    three_partial_nights_change_nothing(&world, "the next page is on another host");
    assert_eq!(other.requests(), []);
    world.run(["run", "job.toml"]).says("not to the configured Graph host");
}

#[test]
fn text_from_the_directory_is_never_terminal_control_formula_or_path() {
    let nasty = [
        "=HYPERLINK(\"http://example.com\",\"x\")",
        "+1+2",
        "-2+3",
        "@SUM(A1)",
        "\tTab",
        "\u{1b}[31mred\u{1b}]0;title\u{7}",
        "right\u{202e}left",
        "../../etc/passwd",
        "a\r\nb,\"c\"",
        "<script>alert(1)</script>",
        "nul\u{1}\u{9b}2J",
    ];
    let mut tenant = contoso();
    for (n, text) in nasty.iter().enumerate() {
        tenant.set(Kind::User, &id(n as u32 + 1), "displayName", json!(text));
        tenant.set(Kind::User, &id(n as u32 + 1), "department", json!(text));
    }
    tenant.set(Kind::Group, &id(101), "displayName", json!("../../../group"));
    let world = World::new(tenant);
    world.job(&ALL, &format!("{DELETE}{NO_LIMITS}"));
    let before = files_under(&world.path(""));
    let planned = world.run(["plan", "job.toml", "--all", "-v", "--out", "plan.json"]);
    let json = world.run(["plan", "job.toml", "--format", "json"]);
    let csv = world.run(["plan", "job.toml", "--format", "csv"]);
    let done = world.run(["run", "job.toml", "-vv"]);
    done.exits(0);
    let hidden =
        |c: char| (c.is_control() && c != '\n') || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    for ran in [&planned, &json, &done] {
        ran.check(!ran.stdout.contains(hidden) && !ran.stderr.contains(hidden), "nothing that steers a terminal");
    }
    let formula = |cell: &str| cell.starts_with(['=', '+', '-', '@', '\t', '\r']);
    let mut sheet = csv::ReaderBuilder::new().has_headers(false).flexible(true).from_reader(csv.stdout.as_bytes());
    for record in sheet.records() {
        csv.check(!record.unwrap().iter().any(formula), "no formula in a plan for a spreadsheet");
    }
    for (place, row) in world.records() {
        assert!(!row.values().any(|cell| formula(cell)), "{place:?} {row:?}");
    }
    let inside = |path: &std::path::PathBuf| {
        before.contains(path)
            || [world.path("export"), world.path("state"), world.path("plan.json")]
                .iter()
                .any(|home| path.starts_with(home))
    };
    let outside: Vec<_> = files_under(&world.path("")).into_iter().filter(|path| !inside(path)).collect();
    assert_eq!(outside, [] as [std::path::PathBuf; 0]);
    // What was neutralised is read back as what it was.
    world.next_night();
    world.run(["run", "job.toml"]).exits(0).says("0 updated");
    assert_eq!(changes(&world.plan()), [] as [Value; 0]);
}

#[test]
fn cycles_and_self_membership_end() {
    let mut tenant = contoso();
    // Managers in a circle, and one who manages herself.
    tenant.set_manager(&id(1), Some(Member::new(Kind::User, id(6))));
    tenant.set_manager(&id(7), Some(Member::new(Kind::User, id(7))));
    let world = World::new(tenant);
    let manager =
        "[[mapping]]\nuse = \"csv/users@1\"\nattributes.\"Manager ID\" = { value = \"manager/id\", ref = \"users\" }\n";
    world.write(
        "job.toml",
        &format!("{}{DELETE}{NO_LIMITS}[[mapping]]\nuse = \"csv/nestings@1\"\n{manager}", world.job_head()),
    );
    world.run(["run", "job.toml"]).exits(0);
    assert!(world.rows("nestings").contains_key(&pair(103, 103)));
    assert_eq!(world.rows("users")[&id(7)]["Manager ID"], id(7));
    assert_eq!(world.rows("users")[&id(1)]["Manager ID"], id(6));
    world.next_night();
    world.run(["run", "job.toml"]).exits(0);
    assert_eq!(changes(&world.plan()), [] as [Value; 0]);
}

#[test]
fn the_same_inputs_give_byte_identical_plans() {
    let world = scoped_world();
    world.night(busy_night);
    let first = world.run(["plan", "job.toml", "--format", "json", "--out", "first.json"]);
    first.exits(0);
    for seed in 1..=4 {
        // Pages and lists arrive in another order each time, and some arrive twice.
        let slow = FaultKind::Slow(std::time::Duration::from_millis(seed * 7));
        world.sim.add_fault(Fault::new("/v1.0", slow).probability(0.5, seed));
        world.sim.add_fault(Fault::new("/v1.0", FaultKind::Status(503)).probability(0.3, seed).each(1));
        let again = world.run(["plan", "job.toml", "--format", "json", "--out", "again.json"]);
        again.check(again.stdout == first.stdout, &format!("the same plan, seed {seed}"));
        assert_eq!(world.read("again.json"), world.read("first.json"));
        world.sim.clear_faults();
    }
}

#[test]
fn a_group_that_vanishes_while_it_is_read_costs_nothing_until_it_is_proved_gone() {
    let world = World::imported();
    world.edit("job.toml", "[target]", "memberships = \"per-group\"\n[target]");
    let before = world.records();
    let members = |world: &World| world.rows("memberships").keys().filter(|key| key.starts_with(&id(101))).count();
    assert!(members(&world) > 0);
    world.next_night();
    world.sim.add_fault(Fault::new(&format!("/groups/{}", id(101)), FaultKind::Status(404)));
    world.run(["run", "job.toml"]).exits(0);
    assert_eq!(world.records(), before);
    world.sim.clear_faults();
    world.night(|tenant| assert!(tenant.remove(Kind::Group, &id(101), Deletion::Soft)));
    world.run(["run", "job.toml"]).exits(0);
    assert_eq!(members(&world), 0);
    assert!(!world.rows("groups").contains_key(&id(101)));
}

#[test]
fn what_a_person_declined_is_not_told_every_night_once_it_left() {
    let world =
        World::imported_with(contoso(), all_rights(), &["users", "memberships"], &format!("{DELETE}{NO_LIMITS}"));
    for declined in [id(12), pair(101, 1)] {
        world.run(["decline", "job.toml", &declined]).exits(0);
    }
    world.night(|tenant| {
        assert!(tenant.remove(Kind::User, &id(12), Deletion::Soft));
        assert!(tenant.remove(Kind::User, &id(11), Deletion::Soft));
        assert!(tenant.remove_member(&id(101), &id(1)));
    });
    let ran = world.run(["run", "job.toml"]);
    ran.exits(0).says(" 1 deleted, ").says("; 0 notes; ");
    ran.check(world.rows("users").contains_key(&id(12)), "what was declined stays");
    // Let go without a word of what is wanted, it is somebody's record that nobody knows of.
    world.run(["decline", "job.toml", &id(12), "--revoke"]).exits(0);
    world.run(["forget", "job.toml", &id(12), "--owned"]).exits(0);
    world.run(["run", "job.toml"]).exits(0).says("; 1 notes; ");
}
