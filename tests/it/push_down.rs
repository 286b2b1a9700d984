//! What is asked of Graph in `$filter` loses no record: for random filters over random tenants, the records that the
//! simulated Graph returns and the language then lets in are those that it lets in of the whole list.
//!
//! `PUSH_SEEDS` says how many tenants are tried, `PUSH_FIRST` where their seeds begin.

use std::collections::BTreeSet;

use entra_import::expr::{Allowed, Catalog, Expr, NoNavigation, PushDown, Truth, compile_filter};
use entra_import::record::{Collection, Key};
use fastrand::Rng;
use graph_sim::{Fault, FaultKind, Kind, Tenant};
use reqwest::Client;
use serde_json::{Value, json};
use tokio::runtime::Runtime;
use url::Url;

use crate::world::{DELETE, NO_LIMITS, TENANT, World, busy_night, contoso, id};

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

/// A job over users and what hangs on them, with this scope, in a world of its own.
fn job(tenant: Tenant, scope: &str, push_down: bool) -> World {
    let world = World::new(tenant);
    let tables = format!("{DELETE}{NO_LIMITS}[scope]\nusers = \"{scope}\"\n");
    world.job(&["users", "memberships", "license_assignments"], &tables);
    world.edit("job.toml", "[target]", &format!("push_down = {push_down}\n[target]"));
    world
}

/// A plan without what it says of the read itself.
fn decided(world: &World) -> Value {
    let mut plan = world.plan();
    for what in ["id", "sources", "checksum"] {
        plan.as_object_mut().unwrap().remove(what);
    }
    // Whom Graph left out is left out for another reason in words; that it is, is the same.
    for note in plan["notes"].as_array_mut().unwrap() {
        if note["kind"] == "reference-left-out" {
            note["words"] = Value::Null;
        }
    }
    plan
}

/// Plans and runs the same night in both worlds.
fn same_night(worlds: &[World; 2], what: &str) {
    let [here, there] = [decided(&worlds[0]), decided(&worlds[1])];
    assert_eq!(here, there, "{what}");
    worlds.iter().for_each(|world| drop(world.run(["run", "job.toml"])));
    assert_eq!(worlds[0].export(), worlds[1].export(), "{what}");
}

fn asked_with_a_filter(world: &World) -> bool {
    let ran = world.run(["plan", "job.toml"]);
    ran.requests.iter().any(|request| request.target.contains("/users?$select") && request.target.contains("$filter"))
}

#[test]
fn a_run_with_the_filter_at_graph_and_one_without_decide_the_same() {
    let scopes = [
        "accountEnabled eq true and userType eq 'Member'",
        "department in ('Sales', 'Legal') and accountEnabled",
        "startswith(displayName, 'user') and not (department eq 'Research')",
        "usageLocation eq null and userType ne 'Guest'",
    ];
    for scope in scopes {
        let worlds = [job(contoso(), scope, true), job(contoso(), scope, false)];
        same_night(&worlds, &format!("first night: {scope}"));
        worlds.iter().for_each(|world| world.night(busy_night));
        same_night(&worlds, &format!("a busy night: {scope}"));
        worlds.iter().for_each(World::next_night);
        same_night(&worlds, &format!("a quiet night: {scope}"));
        // Narrower, by an edit: what was in scope before waits, whoever filters.
        for world in &worlds {
            world.next_night();
            world.edit("job.toml", scope, &format!("{scope} and department ne 'Sales'"));
        }
        same_night(&worlds, &format!("edited: {scope}"));
    }
    let worlds = [true, false].map(|push_down| job(contoso(), scopes[0], push_down));
    assert_eq!(worlds.map(|world| asked_with_a_filter(&world)), [true, false]);
}

#[test]
fn a_filter_that_graph_refuses_costs_a_walk_and_nothing_else() {
    let world = job(contoso(), "accountEnabled eq true", true);
    world.sim.add_fault(Fault::new("$filter", FaultKind::Status(400)));
    let ran = world.run(["plan", "job.toml", "-v"]);
    ran.exits(0).says("Graph was asked for everything: Graph refused the filter (HTTP 400");
    assert_eq!(world.plan()["sources"][0]["read"], 12);
}
