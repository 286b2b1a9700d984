//! What is asked of Graph in `$filter` loses no record: for random filters over random tenants, the records that the
//! simulated Graph returns and the language then lets in are those that it lets in of the whole list. And whole runs
//! with the filter at Graph decide night after night what runs without it decide.
//!
//! `PUSH_SEEDS` and `PUSH_RUNS` say how many tenants are tried, `PUSH_FIRST` where their seeds begin. What simulator and
//! evaluator might have wrong together stands as fixed cases of Graph's documentation in `src/expr/push.rs`.

use std::collections::{BTreeMap, BTreeSet};

use entra_import::expr::{Allowed, Catalog, Expr, NoNavigation, PushDown, Truth, compile_filter};
use entra_import::record::{Collection, Key};
use fastrand::Rng;
use graph_sim::{Deletion, Fault, FaultKind, Kind, Member, Tenant};
use reqwest::Client;
use serde_json::{Value, json};
use tokio::runtime::Runtime;
use url::Url;

use crate::world::{DELETE, NO_LIMITS, Ran, TENANT, World, busy_night, contoso, id};

/// Texts that meet each other but for case, the two letters that fold into ASCII, and an apostrophe.
const TEXTS: [&str; 12] =
    ["Oslo", "OSLO", "oslo west", "Rio", "RİO", "Kiel", "\u{212a}iel", "Sales", "R'D", "Ærø", "7", "Contoso"];
const TYPES: [&str; 2] = ["Member", "Guest"];
const COUNTRIES: [&str; 4] = ["NO", "SE", "BR", "US"];
const TIMES: [&str; 4] =
    ["2024-01-01T00:00:00Z", "2024-01-01T00:00:00.5Z", "2024-06-01T12:00:00Z", "2023-12-31T23:59:59Z"];
/// Of users, with text in them.
const NAMES: [&str; 9] = [
    "city",
    "department",
    "jobTitle",
    "companyName",
    "employeeType",
    "displayName",
    "mail",
    "employeeOrgData/costCenter",
    "onPremisesExtensionAttributes/extensionAttribute1",
];

fn pick<'t>(rng: &mut Rng, from: &[&'t str]) -> &'t str {
    from[rng.usize(..from.len())]
}

fn maybe(rng: &mut Rng, from: &[&str]) -> Value {
    if rng.u8(..4) == 0 { Value::Null } else { pick(rng, from).into() }
}

fn user(rng: &mut Rng, n: u32) -> Value {
    let flag = |rng: &mut Rng| [json!(true), json!(false), Value::Null][rng.usize(..3)].clone();
    let license = json!({ "skuId": id(300 + rng.u32(..2)), "disabledPlans": [] });
    let mails = [json!([]), json!(["smtp:a@contoso.com"]), json!(["SMTP:k@contoso.com", "x500:/o=Contoso"])];
    json!({
        "id": id(n), "userPrincipalName": format!("user{n}@contoso.com"), "displayName": pick(rng, &TEXTS),
        "accountEnabled": rng.bool(), "onPremisesSyncEnabled": flag(rng), "userType": maybe(rng, &TYPES),
        "usageLocation": maybe(rng, &COUNTRIES), "createdDateTime": maybe(rng, &TIMES),
        "city": maybe(rng, &TEXTS), "department": maybe(rng, &TEXTS), "jobTitle": maybe(rng, &TEXTS),
        "companyName": maybe(rng, &TEXTS), "employeeType": maybe(rng, &TEXTS), "mail": maybe(rng, &TEXTS),
        "employeeOrgData": { "costCenter": maybe(rng, &TEXTS), "division": null },
        "onPremisesExtensionAttributes": { "extensionAttribute1": maybe(rng, &TEXTS) },
        "assignedLicenses": if rng.bool() { json!([license]) } else { json!([]) },
        "proxyAddresses": mails[rng.usize(..3)],
    })
}

fn group(rng: &mut Rng, n: u32) -> Value {
    let types = [json!([]), json!(["Unified"]), json!(["Unified", "DynamicMembership"])];
    json!({
        "id": id(n), "displayName": pick(rng, &TEXTS), "description": maybe(rng, &TEXTS),
        "classification": maybe(rng, &TEXTS), "securityEnabled": rng.bool(), "mailEnabled": rng.bool(),
        "groupTypes": types[rng.usize(..3)], "resourceProvisioningOptions": if rng.bool() { json!(["Team"]) } else { json!([]) },
    })
}

fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

fn list(rng: &mut Rng, from: &[&str]) -> String {
    let some: Vec<String> = (0..rng.usize(1..20)).map(|_| quoted(pick(rng, from))).collect();
    some.join(",")
}

/// One comparison, which may or may not be one that Graph takes.
fn atom(rng: &mut Rng, collection: Collection) -> String {
    let text = quoted(pick(rng, &TEXTS));
    if collection == Collection::Groups {
        let name = pick(rng, &["displayName", "description", "classification"]);
        return match rng.u8(..8) {
            0 => format!("{name} eq {text}"),
            1 => format!("{name} in ({})", list(rng, &TEXTS)),
            2 => format!("startswith({name},{text})"),
            3 => "groupTypes/any(t:t eq 'unified')".into(),
            4 => "resourceProvisioningOptions/any(x:x eq 'Team')".into(),
            5 => format!("securityEnabled eq {}", rng.bool()),
            6 => "mailEnabled".into(),
            _ => format!("{name} ne {text}"),
        };
    }
    let name = pick(rng, &NAMES);
    let size = pick(rng, &["eq 0", "ne 0", "gt 0", "ge 1", "gt 1"]);
    match rng.u8(..16) {
        0 | 1 => format!("{name} eq {text}"),
        2 => format!("{name} in ({})", list(rng, &TEXTS)),
        3 => format!("startswith({name},{text})"),
        4 => format!("endswith({name},{text})"),
        5 => format!("{name} {} {text}", pick(rng, &["ne", "ge", "le"])),
        6 => format!("{name} {} null", pick(rng, &["eq", "ne"])),
        7 => pick(rng, &["accountEnabled", "accountEnabled eq false", "accountEnabled ne false"]).into(),
        8 => pick(
            rng,
            &["onPremisesSyncEnabled eq true", "onPremisesSyncEnabled ne true", "onPremisesSyncEnabled eq null"],
        )
        .into(),
        9 => format!("userType {} '{}'", pick(rng, &["eq", "ne"]), pick(rng, &["guest", "Member"])),
        10 => format!("usageLocation in ({})", list(rng, &COUNTRIES)),
        11 => format!("createdDateTime {} {}", pick(rng, &["ge", "gt", "le", "lt", "eq"]), pick(rng, &TIMES)),
        12 => format!("assignedLicenses/any(l:l/skuId eq {})", id(300)),
        13 => format!("{}/$count {size}", pick(rng, &["assignedLicenses", "proxyAddresses"])),
        14 => format!(
            "proxyAddresses/any(p:{}(p,{}))",
            pick(rng, &["startswith", "endswith"]),
            pick(rng, &["'smtp:'", "'smtp:K'", "'.com'"])
        ),
        _ => format!("contains({name},{text})"),
    }
}

fn filter(rng: &mut Rng, collection: Collection, depth: u8) -> String {
    match rng.u8(..if depth == 0 { 3 } else { 9 }) {
        0..=2 => atom(rng, collection),
        3 | 4 => format!("not ({})", filter(rng, collection, depth - 1)),
        n => {
            let word = if n < 7 { "and" } else { "or" };
            let parts: Vec<String> =
                (0..rng.usize(2..4)).map(|_| format!("({})", filter(rng, collection, depth - 1))).collect();
            parts.join(&format!(" {word} "))
        }
    }
}

/// A tenant behind the simulator, and a client that asks it.
struct Asker {
    world: World,
    runtime: Runtime,
    client: Client,
    token: String,
}

impl Asker {
    fn new(tenant: Tenant) -> Asker {
        let world = World::new(tenant);
        let token = world.token();
        let client = Client::builder().no_proxy().build().unwrap();
        Asker { world, runtime: Runtime::new().unwrap(), client, token }
    }

    /// All objects of a list, each as its id and its JSON; with a filter, as the push-down says it must be asked.
    fn list(&self, collection: Collection, select: &str, pushed: Option<&PushDown>) -> Vec<(Key, String)> {
        let mut url: Url = format!("{}/{collection}", self.world.sim.graph_url()).parse().unwrap();
        url.query_pairs_mut().extend_pairs([("$select", select), ("$top", "999")]);
        let advanced = pushed.is_some_and(|pushed| pushed.advanced);
        if let Some(pushed) = pushed {
            url.query_pairs_mut().append_pair("$filter", &pushed.filter);
        }
        if advanced {
            url.query_pairs_mut().append_pair("$count", "true");
        }
        let mut request = self.client.get(url).bearer_auth(&self.token);
        if advanced {
            request = request.header("ConsistencyLevel", "eventual");
        }
        let page: Value = self.runtime.block_on(async {
            let answer = request.send().await.unwrap();
            let (status, text) = (answer.status(), answer.text().await.unwrap());
            assert!(status.is_success(), "{pushed:?}\n{text}");
            serde_json::from_str(&text).unwrap()
        });
        assert!(page.get("@odata.nextLink").is_none(), "one page holds them all");
        let objects = page["value"].as_array().unwrap();
        objects.iter().map(|object| (Key::parse(object["id"].as_str().unwrap()), object.to_string())).collect()
    }
}

/// The keys of those that the filter lets in.
fn let_in(filter: &Expr, collection: Collection, catalog: &Catalog, objects: &[(Key, String)]) -> BTreeSet<Key> {
    let nowhere = NoNavigation { as_of: "2026-03-01T02:00:00Z".parse().unwrap() };
    let is_in = |(key, json): &&(Key, String)| {
        let record = catalog.shape(collection).decode(key.clone(), json, &[]).unwrap();
        filter.truth(&record, &nowhere) == Truth::True
    };
    objects.iter().filter(is_in).map(|(key, _)| key.clone()).collect()
}

/// How often something was pushed, and how many records Graph then left out.
#[derive(Default)]
struct Gain {
    pushed: usize,
    left_out: usize,
}

fn loses_nothing(asker: &Asker, collection: Collection, text: &str, advanced: bool, gain: &mut Gain) {
    let mut catalog = Catalog::new();
    let filter = compile_filter(text, Some(collection), &mut catalog).unwrap_or_else(|error| panic!("{text}: {error}"));
    let Some(pushed) = filter.push_down(collection, &Allowed { advanced, readable: &|_| true }) else { return };
    assert!(advanced || !pushed.advanced, "{text}");
    let select = catalog.properties(collection).chain(["id"]).collect::<BTreeSet<_>>().into_iter().collect::<Vec<_>>();
    let (all, some) =
        (asker.list(collection, &select.join(","), None), asker.list(collection, &select.join(","), Some(&pushed)));
    gain.pushed += 1;
    gain.left_out += all.len() - some.len();
    let (here, there) = (let_in(&filter, collection, &catalog, &all), let_in(&filter, collection, &catalog, &some));
    assert_eq!(here, there, "{collection}: {text}\npushed: {}", pushed.filter);
}

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().expect("a number"))
}

#[test]
fn what_graph_filters_and_what_is_filtered_here_let_in_the_same() {
    let first = number("PUSH_FIRST", 1);
    let mut gain = Gain::default();
    for seed in first..first + number("PUSH_SEEDS", 6) {
        println!("seed {seed}");
        let mut rng = Rng::with_seed(seed);
        let mut tenant = Tenant::new(TENANT, "contoso.com");
        (1..=40).for_each(|n| drop(tenant.put(Kind::User, user(&mut rng, n))));
        (101..=120).for_each(|n| drop(tenant.put(Kind::Group, group(&mut rng, n))));
        let asker = Asker::new(tenant);
        for _ in 0..60 {
            let collection = if rng.u8(..4) == 0 { Collection::Groups } else { Collection::Users };
            let text = filter(&mut rng, collection, 2);
            loses_nothing(&asker, collection, &text, rng.u8(..4) > 0, &mut gain);
        }
    }
    assert!(gain.pushed >= 100 && gain.left_out >= 1000, "{} pushed, {} left out", gain.pushed, gain.left_out);
}

/// What the jobs of these runs import besides users.
const USERS_AND: [&[&str]; 4] = [
    &["users", "licenses", "memberships"],
    &["users", "groups"],
    &["users", "groups", "memberships", "nestings"],
    &["users", "devices", "device_owners"],
];

/// A job with this scope, in a world of its own.
fn job(tenant: Tenant, mappings: &[&str], scope: &str, push_down: bool) -> World {
    let world = World::new(tenant);
    world.job(mappings, &format!("{DELETE}{NO_LIMITS}[scope]\n{scope}\n"));
    world.edit("job.toml", "[target]", &format!("push_down = {push_down}\n[target]"));
    world
}

/// Leaves managers out of a job: with them, users that Graph left out are looked up one by one, and where that takes more
/// requests than there are pages everything is read.
fn without_managers(world: &World) {
    let without = "use = \"csv/users@1\"\nattributes.\"Manager\" = false\nattributes.\"Manager ID\" = false";
    world.edit("job.toml", "use = \"csv/users@1\"", without);
}

/// The same job twice, with the filter at Graph and without.
fn twins(tenant: &Tenant, mappings: &[&str], scope: &str) -> [World; 2] {
    [true, false].map(|push_down| job(tenant.clone(), mappings, scope, push_down))
}

/// A plan without what it says of the read itself, and what Graph was asked to leave out of each collection.
fn decided(world: &World) -> (Value, BTreeMap<String, Value>) {
    let mut plan = world.plan();
    let asked = plan["sources"].as_array().unwrap().iter().filter_map(|source| {
        let asked = source["filter"]["graph"].as_object()?;
        Some((source["collection"].as_str()?.to_owned(), asked.clone().into()))
    });
    let asked = asked.collect();
    // The file's path is in the target's name.
    for what in ["id", "sources", "target", "checksum"] {
        plan.as_object_mut().unwrap().remove(what);
    }
    // Whom Graph left out is left out for another reason in words; that it is, is the same.
    for note in plan["notes"].as_array_mut().unwrap() {
        if note["kind"] == "reference-left-out" {
            note["words"] = Value::Null;
        }
    }
    (plan, asked)
}

/// Plans and runs the same night in both worlds; how many objects Graph left out of the first.
fn same_night(worlds: &[World; 2], what: &str) -> u64 {
    let [(here, asked), (there, nothing)] = [decided(&worlds[0]), decided(&worlds[1])];
    assert!(nothing.is_empty(), "{what}: {nothing:?}");
    assert_eq!(here, there, "{what}\n{asked:?}");
    let codes = [0, 1].map(|at| worlds[at].run(["run", "job.toml"]).code());
    assert_eq!(codes[0], codes[1], "{what}");
    assert_eq!(worlds[0].export(), worlds[1].export(), "{what}");
    asked.values().map(|asked| asked["left_out"].as_u64().unwrap()).sum()
}

#[test]
fn a_run_with_the_filter_at_graph_and_one_without_decide_the_same() {
    let scopes = [
        "accountEnabled eq true and userType eq 'Member'",
        "startswith(displayName, 'user') and not (department eq 'Research')",
    ];
    for (scope, mappings) in scopes.into_iter().zip(USERS_AND) {
        let worlds = twins(&contoso(), mappings, &format!("users = \"{scope}\""));
        worlds.iter().for_each(without_managers);
        same_night(&worlds, &format!("first night: {scope}"));
        worlds.iter().for_each(|world| world.night(busy_night));
        same_night(&worlds, &format!("a busy night: {scope}"));
        // Narrower, by an edit: what was in scope before waits, whoever filters.
        for world in &worlds {
            world.next_night();
            world.edit("job.toml", scope, &format!("{scope} and department ne 'Sales'"));
        }
        same_night(&worlds, &format!("edited: {scope}"));
    }
}

/// A tenant whose users, groups and devices lead to each other.
fn tenant(rng: &mut Rng) -> Tenant {
    let mut tenant = Tenant::new(TENANT, "contoso.com");
    (1..=24).for_each(|n| drop(tenant.put(Kind::User, licensed(user(rng, n)))));
    (101..=108).for_each(|n| drop(tenant.put(Kind::Group, group(rng, n))));
    for n in 201..=206 {
        let (id, name) = (id(n), pick(rng, &TEXTS));
        tenant.put(
            Kind::Device,
            json!({ "id": id, "deviceId": id, "displayName": name, "accountEnabled": rng.bool(), "isCompliant": rng.bool() }),
        );
    }
    (0..40).for_each(|_| wander(rng, &mut tenant));
    tenant
}

/// The licenses of a user, told as assignments too.
fn licensed(mut user: Value) -> Value {
    let states: Vec<Value> = user["assignedLicenses"].as_array().unwrap().iter().map(|license| {
        json!({ "skuId": license["skuId"], "disabledPlans": [], "assignedByGroup": null, "state": "Active", "error": "None",
            "lastUpdatedDateTime": "2025-01-01T00:00:00Z" })
    }).collect();
    user["licenseAssignmentStates"] = states.into();
    user
}

/// Changes one thing that leads from one object to another.
fn wander(rng: &mut Rng, tenant: &mut Tenant) {
    let (someone, other) = (id(rng.u32(1..=24)), id(rng.u32(1..=24)));
    let (group, device) = (id(rng.u32(101..=108)), id(rng.u32(201..=206)));
    match rng.u8(..7) {
        0 => tenant.set_manager(&someone, Some(Member::new(Kind::User, other))),
        1 => tenant.set_manager(&someone, None),
        2 | 3 => drop(tenant.add_member(&group, Member::new(Kind::User, someone))),
        4 => drop(tenant.add_member(&group, Member::new(Kind::Group, id(rng.u32(101..=108))))),
        5 => drop(tenant.remove_member(&group, &someone)),
        _ => drop(tenant.add_owner(Kind::Device, &device, Member::new(Kind::User, someone))),
    }
}

/// A night on which many join, leave, move and are renamed.
fn eventful(rng: &mut Rng, tenant: &mut Tenant) {
    for _ in 0..8 {
        let (n, g) = (rng.u32(1..=24), rng.u32(101..=112));
        let deletion = if rng.bool() { Deletion::Soft } else { Deletion::Hard };
        match rng.u8(..8) {
            0 => drop(tenant.remove(Kind::User, &id(n), deletion)),
            1 => drop(tenant.remove(Kind::Group, &id(rng.u32(101..=108)), deletion)),
            2 => drop(tenant.put(Kind::User, licensed(user(rng, 24 + n)))),
            3 => drop(tenant.put(Kind::Group, group(rng, g))),
            4 => drop(tenant.set(Kind::User, &id(n), "accountEnabled", rng.bool().into())),
            _ if tenant.get(Kind::User, &id(n)).is_some() => drop(tenant.put(Kind::User, licensed(user(rng, n)))),
            _ => {}
        }
        wander(rng, tenant);
    }
}

/// A filter of which Graph can evaluate something.
fn filter_that_is_pushed(rng: &mut Rng, collection: Collection) -> String {
    loop {
        let text = filter(rng, collection, 2);
        let compiled = compile_filter(&text, Some(collection), &mut Catalog::new()).unwrap();
        if compiled.push_down(collection, &Allowed { advanced: true, readable: &|_| true }).is_some() {
            return text;
        }
    }
}

/// What may come between a filter and its answer: nothing, a service that knows no such filter, and one that takes no
/// advanced queries.
const WEATHER: [Option<(&str, u16)>; 4] = [None, None, Some(("$filter", 400)), Some(("&$count=true", 501))];

#[test]
fn random_runs_with_the_filter_at_graph_decide_what_runs_without_it_do() {
    // With these seeds owned records leave that Graph leaves out, which few do.
    let first = number("PUSH_FIRST", 6);
    let (mut left_out, mut without, mut later) = (0, 0, 0);
    for seed in first..first + number("PUSH_RUNS", 3) {
        let mut rng = Rng::with_seed(seed);
        let tenant = tenant(&mut rng);
        let mappings = USERS_AND[rng.usize(..USERS_AND.len())];
        let users = filter_that_is_pushed(&mut rng, Collection::Users);
        let mut scope = format!("users = \"{users}\"");
        if mappings.contains(&"groups") {
            scope = format!("{scope}\ngroups = \"{}\"", filter_that_is_pushed(&mut rng, Collection::Groups));
        }
        if mappings.contains(&"devices") {
            scope = format!("{scope}\ndevices = \"isCompliant eq true\"");
        }
        let weather = WEATHER[rng.usize(..WEATHER.len())];
        println!("seed {seed}: {mappings:?}\n{scope}\n{weather:?}");
        let worlds = twins(&tenant, mappings, &scope);
        if rng.u8(..4) > 0 {
            worlds.iter().for_each(without_managers);
        }
        if let Some((part, status)) = weather {
            worlds.iter().for_each(|world| world.sim.add_fault(Fault::new(part, FaultKind::Status(status))));
        }
        for night in 0..3 {
            let gain = same_night(&worlds, &format!("seed {seed}, night {night}\n{scope}"));
            *(if weather.is_none() { &mut left_out } else { &mut without }) += gain;
            later += if night > 0 { gain } else { 0 };
            let changes = rng.u64(..);
            worlds.iter().for_each(|world| world.night(|tenant| eventful(&mut Rng::with_seed(changes), tenant)));
        }
    }
    println!(
        "left out by Graph: {left_out}, and {without} where it refuses some filters; after the first night {later}"
    );
    assert!(left_out > 0 && later > 0, "nothing was left out by Graph");
}

#[test]
fn a_filter_that_graph_refuses_costs_a_walk_and_nothing_else() {
    let world = job(contoso(), USERS_AND[0], "users = \"accountEnabled eq true\"", true);
    world.sim.add_fault(Fault::new("$filter", FaultKind::Status(400)));
    let ran = world.run(["plan", "job.toml", "-v"]);
    ran.exits(0).says("Graph was asked for everything: Graph refused the filter (HTTP 400");
    assert_eq!(world.plan()["sources"][0]["read"], 12);
}

/// The parts of each request for the list of users, and whether it was asked as an advanced query.
fn lists_of_users(ran: &Ran) -> Vec<(String, bool)> {
    let lists = ran.requests.iter().filter(|request| request.target.starts_with("/v1.0/users?$select"));
    lists.map(|request| (request.target.clone(), request.eventual)).collect()
}

/// <https://learn.microsoft.com/graph/aad-advanced-queries>: both the header and `$count=true`, on each page; and
/// neither where the operator works without.
#[test]
fn advanced_queries_are_asked_as_graph_documents_them() {
    let ask = |filter: &str| {
        let world = job(contoso(), &["groups"], "", true);
        world.write("people.toml", PEOPLE);
        world.edit("job.toml", "use = \"csv/groups@1\"", "use = \"people.toml\"");
        world.edit("job.toml", "[scope]\n", &format!("[scope]\nusers = \"{filter}\"\n"));
        lists_of_users(world.run(["plan", "job.toml"]).exits(0))
    };
    let select = "/v1.0/users?$select=displayName,id";
    let plain = |filter: &str| format!("{select}&$top=999&$filter={filter}");
    for (filter, encoded, advanced) in [
        ("accountEnabled eq true", "accountEnabled%20eq%20true", false),
        ("endswith(mail,'@contoso.com')", "endsWith%28mail%2C%27%40contoso.com%27%29", true),
        ("companyName ne null", "companyName%20ne%20null", true),
    ] {
        let [(target, was_advanced)] = &ask(filter)[..] else { panic!("{filter}: one page") };
        let name = filter.trim_start_matches("endswith(").split([' ', ',']).next().unwrap();
        let count = if advanced { "&$count=true" } else { "" };
        let expected = format!("{}{count}", plain(encoded)).replace("$select=", &format!("$select={name},"));
        let sorted = |target: &str| {
            let select = target.split(['=', '&']).nth(1).unwrap();
            let mut names: Vec<&str> = select.split(',').collect();
            names.sort_unstable();
            (names.join(","), target.replacen(select, "", 1))
        };
        assert_eq!(sorted(target), sorted(&expected), "{filter}");
        assert_eq!(*was_advanced, advanced, "{filter}");
    }
}

/// Users by name, without their managers: an advanced query expands nothing.
const PEOPLE: &str = "format = \"mapping/1\"\nname = \"people\"\nsource = \"users\"\ntarget = \"people\"\nkey = \"Entra ID\"\n\
    [attributes]\n\"Entra ID\" = \"id\"\n\"Name\" = \"displayName\"\n";

/// Where advanced queries are refused, what works without them is still asked.
#[test]
fn without_advanced_queries_the_rest_of_the_filter_is_asked() {
    let filter = "accountEnabled eq true and endswith(mail,'@contoso.com')";
    let world = job(contoso(), &["groups"], &format!("users = \"{filter}\""), true);
    world.write("people.toml", PEOPLE);
    world.edit("job.toml", "use = \"csv/groups@1\"", "use = \"people.toml\"");
    assert!(world.sim.tenant().set(Kind::User, &id(3), "accountEnabled", false.into()));
    world.sim.add_fault(Fault::new("&$count=true", FaultKind::Status(400)));
    let asked = lists_of_users(world.run(["plan", "job.toml"]).exits(0));
    let filters: Vec<(usize, bool)> =
        asked.iter().map(|(target, advanced)| (target.matches("endsWith").count(), *advanced)).collect();
    assert_eq!(filters, [(1, true), (0, false)], "{asked:?}");
    assert_eq!(decided(&world).1["users"]["filter"], "accountEnabled eq true");
}

/// An index may lag behind, or Graph may find another user equal than we do: what is owned is looked up by id.
#[test]
fn nothing_is_removed_because_a_filter_did_not_find_it() {
    let world = job(contoso(), USERS_AND[0], "users = \"accountEnabled eq true\"", true);
    without_managers(&world);
    world.run(["run", "job.toml"]).exits(0);
    let before = world.export();
    for n in [3, 4] {
        assert!(world.sim.tenant().set(Kind::User, &id(n), "accountEnabled", false.into()));
    }
    world.sim.lag();
    assert!(world.sim.tenant().set(Kind::User, &id(3), "accountEnabled", true.into()));
    world.next_night();
    world.sim.add_fault(Fault::new("$filter", FaultKind::Stale));
    assert_eq!(decided(&world).1["users"]["left_out"], 2, "by the index");
    world.run(["run", "job.toml"]).exits(0);
    let users = world.rows("users");
    assert!(users.contains_key(&id(3)), "it is in scope, whatever the index says");
    assert!(!users.contains_key(&id(4)), "it is out of scope, and was looked up");
    assert_eq!(users.len() + 1, before["users.csv"].lines().count() - 1);
}
