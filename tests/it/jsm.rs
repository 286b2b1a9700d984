//! Whole runs into Jira Service Management Assets, over HTTP at both ends: set-up, nights, edits by hand, and what goes
//! wrong on the way.

use std::collections::BTreeSet;
use std::time::Duration;

use graph_sim::{CLIENT_ID, Kind as Of};
use jiff::SignedDuration;
use jsm_sim::{Attribute, DefaultType, Flavour, Kind, Object, Options, Right, Sim, Store, Stored};
use serde_json::json;
use tokio::runtime::Runtime;

use crate::world::{NO_LIMITS, Ran, World, all_rights, busy_night, contoso, id, user};

/// Both ends, and the program in the middle.
struct Site {
    world: World,
    assets: Sim,
    /// What the simulator of Assets runs on.
    _runtime: Runtime,
}

impl Site {
    /// An empty Assets, and a job for all four types.
    fn new(options: Options) -> Site {
        Site::with(Store::new(), options)
    }

    fn with(store: Store, options: Options) -> Site {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let flavour = options.flavour;
        // The program's waits are shortened as much.
        let assets = runtime.block_on(Sim::start(store, Options { time_factor: 20_000.0, ..options })).unwrap();
        let mut world = World::with(contoso(), all_rights());
        let token = if flavour == Flavour::Cloud { jsm_sim::TOKEN } else { jsm_sim::PERSONAL_TOKEN };
        world.environment.insert("JIRA_TOKEN", token.to_string());
        let site = Site { world, assets, _runtime: runtime };
        site.job(flavour, "");
        site
    }

    fn job(&self, flavour: Flavour, more: &str) {
        let base = self.assets.base_url();
        let target = match flavour {
            Flavour::Cloud => format!(
                "[target]\nkind = \"jsm-assets\"\nsite = \"{base}\"\napi = \"{base}\"\nschema = \"Entra ID\"\n\
                 credential = {{ basic = {{ user = \"{}\", password = {{ env = \"JIRA_TOKEN\" }} }} }}\n",
                jsm_sim::EMAIL
            ),
            Flavour::DataCenter => format!(
                "[target]\nkind = \"jsm-assets\"\nflavour = \"data-center\"\nsite = \"{base}\"\nschema = \"Entra ID\"\n\
                 credential = {{ bearer = {{ env = \"JIRA_TOKEN\" }} }}\n"
            ),
        };
        let head = self.world.job_head().replace("[target]\nkind = \"csv\"\npath = \"export\"\n", &target);
        assert!(head.contains("jsm-assets"));
        let mappings: String = ["license", "group", "user", "device"]
            .map(|name| format!("[[mapping]]\nuse = \"jsm-assets/{name}@1\"\n"))
            .concat();
        let removal = "[removal]\ndefault = [{ delete = {} }]\n";
        self.world.write("job.toml", &format!("{head}{removal}{NO_LIMITS}{more}{mappings}"));
    }

    fn run(&self, args: &[&str]) -> Ran {
        self.assets.clear_requests();
        let ran = self.world.run(args.iter().copied());
        for secret in [jsm_sim::TOKEN, jsm_sim::PERSONAL_TOKEN] {
            ran.check(!ran.stdout.contains(secret) && !ran.stderr.contains(secret), "no token is shown");
        }
        ran
    }

    fn labels(&self, ty: &str) -> BTreeSet<String> {
        let store = self.assets.read_store();
        let of = store.objects.values().filter(|object| store.types[&object.ty].name == ty);
        of.map(|object| store.label_of(object)).collect()
    }

    /// What an object shows in an attribute.
    fn shows(&self, ty: &str, key: &str, attribute: &str) -> Vec<String> {
        let store = self.assets.read_store();
        let mut of = store.objects.values().filter(|object| store.types[&object.ty].name == ty);
        let object = of.find(|object| store.shown_values(object, "Object ID") == [key]).unwrap();
        let mut values = store.shown_values(object, attribute);
        values.sort();
        values
    }

    /// Changes an attribute of a type, as an administrator would.
    fn configure(&self, ty: &str, name: &str, edit: impl FnOnce(&mut Attribute)) {
        let mut store = self.assets.store();
        let ty = store.types.values().find(|other| other.name == ty).unwrap().id;
        let found = store.attribute_named(ty, name).unwrap().id;
        edit(store.attributes.get_mut(&found).unwrap());
    }

    /// Creates that were sent, counted since the last run began.
    fn creates(&self) -> u64 {
        self.assets.counters().get("POST object/create").copied().unwrap_or_default()
    }

    fn edit(&self, ty: &str, key: &str, attribute: &str, text: &str) {
        let mut store = self.assets.store();
        let mut of = store.objects.values().filter(|object| store.types[&object.ty].name == ty);
        let mut object = of.find(|object| store.shown_values(object, "Object ID") == [key]).unwrap().clone();
        let attribute = store.attribute_named(object.ty, attribute).unwrap().id;
        object.values.insert(attribute, vec![jsm_sim::Stored::Text(text.into())]);
        store.put(object, self.assets.now(), Duration::ZERO);
    }
}

#[test]
fn nights_into_both_flavours_write_the_difference_alone() {
    for (options, page_max) in [(Options::cloud(), 1000), (Options::cloud(), 3), (Options::data_center(), 1000)] {
        let site = Site::new(Options { page_max, ..options });
        site.run(&["run", "job.toml"]).exits(5).says("entra-import setup JOB");
        site.run(&["setup", "job.toml", "--dry-run"]).exits(0).says("would make object schema");
        assert_eq!(site.assets.writes(), 0, "a dry run makes nothing");
        site.run(&["setup", "job.toml"])
            .exits(0)
            .says("made attribute \"Groups\" of \"User\": reference to \"Group\", any number");
        site.run(&["setup", "job.toml"]).exits(0).says("has everything");
        assert_eq!(site.assets.writes(), 0);
        let checked = site.run(&["check", "job.toml"]);
        checked.exits(0).says("is readable and writable").says("host: Jira");
        assert!(site.assets.read_store().objects.is_empty(), "a check makes no object");

        site.run(&["run", "job.toml"]).exits(0);
        assert_eq!(site.labels("User").len(), 12);
        assert_eq!(site.shows("User", &id(2), "Manager"), site.shows("User", &id(1), "Name"));
        assert_eq!(site.shows("User", &id(3), "Groups"), ["Sales", "VPN"]);
        assert_eq!(site.shows("Group", &id(102), "Parent Groups"), ["Everybody"], "one side of the cycle");
        assert_eq!(site.shows("Group", &id(103), "Parent Groups"), ["Everybody", "VPN"], "and the other, with itself");
        let made = site.assets.counters()["POST object/create"];
        assert_eq!(made, 12 + 4 + 1 + 3, "each object once");

        site.world.next_night();
        site.run(&["run", "job.toml"]).exits(0);
        assert_eq!(site.assets.writes(), 0, "{:?}", site.assets.counters());

        site.edit("User", &id(6), "Job Title", "Chief of Fun");
        site.world.night(busy_night);
        site.run(&["run", "job.toml"]).exits(0);
        assert_eq!(site.shows("User", &id(6), "Job Title"), ["Chief of Fun"], "an edit stays");
        assert_eq!(site.shows("User", &id(8), "Department"), ["Legal"]);
        assert!(site.shows("User", &id(7), "Email").is_empty(), "cleared");
        assert!(site.labels("Group").contains("Sales & Marketing") && !site.labels("Group").contains("Legal"));
        assert_eq!(site.labels("User").len(), 12, "one came, one was deleted");
        site.world.next_night();
        site.run(&["run", "job.toml"]).exits(0);
        assert_eq!(site.labels("Device").len(), 2, "not found in two nights is gone");
        site.world.next_night();
        site.run(&["run", "job.toml"]).exits(0);
        assert_eq!(site.assets.writes(), 0, "{:?}", site.assets.counters());
    }
}

#[test]
fn whoever_is_referred_to_is_made_first_and_nobody_is_written_twice() {
    for options in [Options::cloud(), Options::data_center()] {
        let site = Site::new(options);
        // All report to the last of them, who reports to nobody.
        let last = id(12);
        site.world.night(|tenant| {
            (1..12).for_each(|n| tenant.set_manager(&id(n), Some(graph_sim::Member::new(Of::User, last.clone()))));
            tenant.set_manager(&last, None);
        });
        site.run(&["setup", "job.toml"]).exits(0);
        site.run(&["run", "job.toml"]).exits(0);
        let of = |name: &str| site.assets.counters().get(name).copied().unwrap_or_default();
        assert_eq!(
            (of("POST object/create"), of("PUT object/{id}")),
            (20, 2),
            "a ring of two groups, and one in itself"
        );
        assert_eq!(site.shows("User", &id(1), "Manager"), site.shows("User", &last, "Name"));
    }
}

#[test]
fn what_was_taken_back_stays_taken_back_references_too() {
    let site = Site::new(Options::cloud());
    site.run(&["setup", "job.toml"]).exits(0);
    site.run(&["run", "job.toml"]).exits(0);
    let (managers, groups) = (site.shows("User", &id(3), "Manager"), site.shows("User", &id(3), "Groups"));
    site.world.night(|tenant| {
        assert!(tenant.set(Of::User, &id(3), "department", "Legal".into()));
        tenant.set_manager(&id(3), Some(graph_sim::Member::new(Of::User, id(5))));
        assert!(tenant.remove_member(&id(101), &id(3)));
    });
    site.run(&["run", "job.toml"]).exits(0);
    assert_ne!((&site.shows("User", &id(3), "Manager"), &site.shows("User", &id(3), "Groups")), (&managers, &groups));
    site.run(&["undo", "job.toml", "2", "--approve", "links-removed"]).exits(0);
    assert_eq!(site.shows("User", &id(3), "Manager"), managers);
    assert_eq!(site.shows("User", &id(3), "Groups"), groups);
    site.world.next_night();
    site.run(&["run", "job.toml"]).exits(0);
    assert_eq!(site.assets.writes(), 0, "{:?}", site.assets.counters());
}

#[test]
fn an_index_that_lags_behind_makes_nothing_twice_and_nothing_deleted() {
    for options in [Options::cloud(), Options::data_center()] {
        let site = Site::new(Options { index_delay: Duration::from_secs(100_000_000), ..options });
        site.run(&["setup", "job.toml"]).exits(0);
        site.run(&["run", "job.toml"]).exits(0);
        let before = site.labels("User");
        // Nothing of it shows in any search.
        site.run(&["run", "job.toml"]).exits(0);
        assert_eq!(site.assets.writes(), 0, "{:?}", site.assets.counters());
        assert_eq!(site.labels("User"), before);
    }
}

/// A site whose users have no unique key, set up, with an index that lags behind for years or not at all.
fn without_unique_keys(flavour: Flavour, lags: bool) -> Site {
    let index_delay = Duration::from_secs(if lags { 1_000_000_000 } else { 0 });
    let site = Site::new(Options { index_delay, ..Options::of(flavour) });
    site.run(&["setup", "job.toml"]).exits(0);
    site.configure("User", "Object ID", |attribute| attribute.unique = false);
    site
}

/// A first run in which a create gets no answer.
fn lost(site: &Site, fault: &str) -> Ran {
    site.assets.add_fault(format!("{fault},path=/object/create").parse().unwrap());
    let ran = site.run(&["run", "job.toml"]);
    site.assets.clear_faults();
    assert_eq!(site.creates(), 20, "each once");
    ran
}

#[test]
fn a_create_whose_answer_was_lost_is_not_sent_again_before_it_is_known_that_it_did_not_arrive() {
    for flavour in [Flavour::Cloud, Flavour::DataCenter] {
        // It arrived, and no search shows it, nor anything else: whatever time passes on our side, within half a day.
        let site = without_unique_keys(flavour, true);
        lost(&site, "cut,nth=8").exits(3).says("the target does not show yet whether it arrived");
        site.world.pass(SignedDuration::from_hours(11));
        site.run(&["run", "job.toml"]).exits(3).says_all(&[
            "got no answer to the create",
            "run 1 sent it",
            "1 uncertain",
        ]);
        assert_eq!(site.creates(), 0);
        site.assets.advance(Duration::from_secs(1_000_000_000));
        site.run(&["run", "job.toml"]).exits(0).says("recorded now");
        assert_eq!((site.creates(), site.assets.read_store().objects.len()), (0, 20), "nothing is doubled");
        site.run(&["run", "job.toml"]).exits(0);
        assert_eq!(site.assets.writes(), 0, "{:?}", site.assets.counters());

        // It did not arrive, and what was created later shows.
        let site = without_unique_keys(flavour, false);
        lost(&site, "reset,nth=8").exits(3).says("it did not arrive; the next run tries again");
        site.run(&["run", "job.toml"]).exits(0);
        assert_eq!((site.creates(), site.assets.read_store().objects.len()), (1, 20));
    }
}

#[test]
fn a_lost_create_that_nothing_followed_waits_for_one_that_does_or_for_half_a_day() {
    for by_time in [true, false] {
        let site = without_unique_keys(Flavour::Cloud, false);
        site.configure("Device", "Object ID", |attribute| attribute.unique = false);
        lost(&site, "reset,nth=20").exits(3).says("the target does not show yet whether it arrived");
        site.run(&["run", "job.toml"]).exits(3).says("run 1 sent it");
        assert_eq!(site.creates(), 0);
        if by_time {
            site.world.pass(SignedDuration::from_hours(13));
        } else {
            site.world.sim.tenant().put(Of::User, user(40));
            site.run(&["run", "job.toml"]).exits(3);
            assert_eq!(site.creates(), 1, "the one who came");
        }
        site.run(&["run", "job.toml"]).exits(0);
        assert_eq!(site.creates(), 1);
        assert_eq!(site.labels("Device").len(), 3);
    }
}

#[test]
fn what_goes_wrong_on_the_way_is_named_and_nothing_is_doubled() {
    for options in [Options::cloud(), Options::data_center()] {
        goes_wrong(&Site::new(options));
    }
}

fn goes_wrong(site: &Site) {
    site.run(&["setup", "job.toml"]).exits(0);
    for fault in [
        "cut,path=/object/create,nth=3",
        "429:3,path=/object/create,every=7",
        "502,path=/object/create,nth=9",
        "done:500,path=/object/create,nth=12",
        "503:1,path=aql,nth=1",
    ] {
        site.assets.add_fault(fault.parse().unwrap());
    }
    site.run(&["run", "job.toml"]);
    let sent = site.creates();
    site.assets.clear_faults();
    site.run(&["run", "job.toml"]).exits(0);
    let (all, refused) = (12 + 4 + 1 + 3, 3 + 1);
    assert!(sent + site.creates() <= all + refused, "the lost one was looked up, not sent again: {sent}");
    assert_eq!((site.labels("User").len(), site.labels("Group").len()), (12, 4));
    assert_eq!(site.assets.read_store().objects.len(), 12 + 4 + 1 + 3);

    // An attribute renamed in Jira: users wait, all else goes on.
    let rename = |from: &str, to: &str| {
        let mut store = site.assets.store();
        let user = store.types.values().find(|ty| ty.name == "User").unwrap().id;
        let found = store.attribute_named(user, from).unwrap().id;
        store.attributes.get_mut(&found).unwrap().name = to.into();
    };
    rename("Department", "Team");
    site.world.night(busy_night);
    site.run(&["run", "job.toml"]).exits(3).says("no attribute \"Department\"").says("partial (User in the target)");
    assert!(site.labels("Group").contains("Sales & Marketing"), "groups go on");
    assert_eq!(site.labels("User").len(), 12, "nobody is removed while users cannot be read");
    rename("Team", "Department");
    site.run(&["run", "job.toml"]).exits(0);

    // An object deleted by hand is told and stays away.
    let gone = {
        let store = site.assets.read_store();
        store.objects.values().find(|object| store.shown_values(object, "Object ID") == [id(6)]).unwrap().id
    };
    site.assets.store().remove(gone, site.assets.now(), Duration::ZERO);
    site.world.next_night();
    site.run(&["plan", "job.toml"]).says("deleted");
    site.run(&["run", "job.toml"]).exits(0);
    assert_eq!(site.assets.counters().get("POST object/create"), None);

    // A right that went missing ends the run before anything is written.
    site.assets.set_right(Right::Nothing);
    site.world.next_night();
    site.run(&["run", "job.toml"]).exits(5).says("Object schema manager");
    assert_eq!(site.assets.writes(), 0);
}

#[test]
fn what_keeps_a_job_from_writing_is_named_with_what_to_do() {
    // Which kind a token is nothing tells: the refusal names the other base.
    let mut site = Site::new(Options::cloud());
    site.world.environment.insert("JIRA_TOKEN", "scoped-token".into());
    site.run(&["run", "job.toml"]).exits(5).says_all(&["/ex/jira/", "token = \"scoped\""]);
    let mut server = Site::new(Options::data_center());
    server.world.environment.insert("JIRA_TOKEN", "ended".into());
    server.run(&["run", "job.toml"]).exits(5).says("personal access token");
    let none = Site::new(Options { has_assets: false, ..Options::cloud() });
    none.run(&["run", "job.toml"]).exits(5).says_all(&["has no Assets", "Premium and Enterprise"]);
    // Of several workspaces none is taken unasked.
    let other = "00000000-1111-4222-8333-444444444444";
    let several = Site::new(Options { more_workspaces: vec![other.into()], ..Options::cloud() });
    let told = [other, jsm_sim::WORKSPACE_ID, "2 Assets workspaces", "`workspace_id = "];
    several.run(&["setup", "job.toml"]).exits(2).says_all(&told);
    several.run(&["run", "job.toml"]).exits(2).says_all(&told);
    assert_eq!(several.assets.writes(), 0);
    let named = format!("workspace_id = \"{}\"\nschema = \"Entra ID\"\n", jsm_sim::WORKSPACE_ID);
    several.world.edit("job.toml", "schema = \"Entra ID\"\n", &named);
    several.run(&["setup", "job.toml"]).exits(0);

    for options in [Options::cloud(), Options::data_center()] {
        let site = Site::new(options);
        site.assets.set_right(Right::Write);
        site.run(&["setup", "job.toml"]).exits(5).says("Object schema developer");
        assert!(site.assets.read_store().schemas.is_empty());
        site.assets.set_right(Right::Manage);
        site.run(&["setup", "job.toml"]).exits(0);
        site.assets.set_right(Right::Read);
        site.run(&["run", "job.toml"]).exits(5).says("Object schema manager");
        assert!(site.assets.read_store().objects.is_empty());
        // No night needs more than this.
        site.assets.set_right(Right::Write);
        site.run(&["run", "job.toml"]).exits(0);
        assert_eq!(site.assets.read_store().objects.len(), 12 + 4 + 1 + 3);
    }
}

#[test]
fn what_was_changed_in_jira_since_last_night_stops_its_type_alone() {
    for options in [Options::cloud(), Options::data_center()] {
        let site = Site::new(options);
        site.run(&["setup", "job.toml"]).exits(0);
        site.run(&["run", "job.toml"]).exits(0);
        site.world.night(busy_night);
        let devices = site.assets.read_store().types.values().find(|ty| ty.name == "Device").unwrap().id;
        let by = *site.assets.read_store().reference_types.keys().next().unwrap();
        let before = site.assets.read_store().attributes.clone();
        site.configure("User", "Department", |attribute| attribute.kind = Kind::Reference { to: devices, by });
        site.run(&["run", "job.toml"])
            .exits(3)
            .says("the attribute \"Department\" of \"User\" is an object reference in Jira")
            .says("partial (User in the target)");
        assert!(site.labels("Group").contains("Sales & Marketing"), "groups go on");
        assert_eq!(site.labels("User").len(), 12, "nobody is removed while users cannot be read");
        site.assets.store().attributes = before.clone();
        // Values of another kind, and options that went missing: the type waits, whoever asks is told.
        let type_of = |kind: DefaultType| Kind::Default(kind);
        let lacking = |attribute: &mut Attribute| attribute.options.retain(|option| option != "Guest");
        let closed = |attribute: &mut Attribute| match &mut attribute.kind {
            Kind::Status(allowed) => allowed.truncate(1),
            other => panic!("{other:?}"),
        };
        type Edit<'e> = &'e dyn Fn(&mut Attribute);
        let edits: [(&str, Edit<'_>, &str); 5] = [
            (
                "Department",
                &|it| it.kind = type_of(DefaultType::Integer),
                "is Integer in Jira, and the mapping has text",
            ),
            (
                "Account Enabled",
                &|it| it.kind = type_of(DefaultType::Date),
                "is Date in Jira, and the mapping has boolean",
            ),
            ("Created Date", &|it| it.kind = type_of(DefaultType::Boolean), "is Boolean in Jira"),
            ("User Type", &lacking, "is a Select of Member in Jira, without \"Guest\""),
            ("Sync Status", &closed, "is a Status of Active in Jira, without \"Removed from source\""),
        ];
        for (name, edit, told) in edits {
            site.configure("User", name, edit);
            let told = format!("the attribute {name:?} of \"User\" {told}");
            site.run(&["check", "job.toml"]).says(&told);
            site.run(&["plan", "job.toml"]).says(&told);
            site.run(&["setup", "job.toml"]).exits(3).says(&told);
            site.run(&["run", "job.toml"]).exits(3).says(&told).says("partial (User in the target)");
            assert_eq!(site.assets.writes(), 0, "{:?}", site.assets.counters());
            site.assets.store().attributes = before.clone();
        }
        // What takes the values as well is as good.
        for (name, kind) in [
            ("Department", DefaultType::Textarea),
            ("Account Enabled", DefaultType::Text),
            ("Created Date", DefaultType::Date),
            ("User Type", DefaultType::Text),
        ] {
            site.configure("User", name, |attribute| attribute.kind = Kind::Default(kind));
        }
        let ran = site.run(&["plan", "job.toml"]);
        ran.check(!ran.stderr.contains("in Jira"), "nothing is told of it");
        site.assets.store().attributes = before;
        site.configure("User", "Groups", |attribute| attribute.max = 1);
        site.run(&["run", "job.toml"]).exits(3).says("holds one value in Jira (cardinality 1)");
        site.configure("User", "Groups", |attribute| attribute.max = -1);
        // A type that got another name is not taken for one that was never made.
        site.assets.store().types.get_mut(&devices).unwrap().name = "Endpoint".into();
        let told = "no object type \"Device\", and \"Endpoint\" has every attribute";
        site.run(&["check", "job.toml"]).says(told);
        site.run(&["run", "job.toml"]).exits(3).says(told);
        let setup = site.run(&["setup", "job.toml", "--dry-run"]);
        setup.says("\"Endpoint\" has every attribute that the object type \"Device\" is to have");
        site.assets.store().types.get_mut(&devices).unwrap().name = "Device".into();
        site.assets.store().remove_type(devices, site.assets.now(), Duration::ZERO);
        site.run(&["run", "job.toml"]).exits(3).says("has no object type \"Device\"");
        assert_eq!(site.shows("User", &id(8), "Department"), ["Legal"], "users went on");
    }
}

#[test]
fn what_jira_refuses_is_named_and_the_rest_goes_on() {
    for options in [Options::cloud(), Options::data_center()] {
        let site = Site::new(options.clone());
        site.run(&["setup", "job.toml"]).exits(0);
        site.configure("Group", "Name", |attribute| attribute.unique = true);
        site.configure("User", "Job Title", |attribute| attribute.regex = "[A-Z].*".into());
        site.world.night(|tenant| {
            tenant.put(
                Of::Group,
                json!({ "id": id(105), "displayName": "sales", "securityEnabled": true, "groupTypes": [] }),
            );
            assert!(tenant.set(Of::User, &id(5), "jobTitle", "buyer".into()));
            assert!(tenant.set(Of::User, &id(6), "jobTitle", "Buyer".into()));
        });
        let ran = site.run(&["run", "job.toml"]);
        ran.exits(3)
            .says("\"Name\": Name has duplicated value")
            .says("\"Job Title\": Job Title is invalid due to restrictions");
        assert_eq!((site.labels("Group").len(), site.labels("User").len()), (4, 11), "{ran}");
        assert_eq!(site.shows("User", &id(6), "Job Title"), ["Buyer"]);
        // Corrected in Jira: what was refused is made, and nothing else.
        site.configure("Group", "Name", |attribute| attribute.unique = false);
        site.configure("User", "Job Title", |attribute| attribute.regex.clear());
        site.run(&["run", "job.toml", "--retry-rejected"]).exits(0);
        assert_eq!(site.creates(), 2);

        // The plan's object limit: what is left is listed and not sent.
        let full = Site::new(Options { objects_max: Some(10), ..options });
        full.run(&["setup", "job.toml"]).exits(0);
        full.run(&["run", "job.toml"]).exits(3).says("object limit of your plan").says("not sent");
        assert_eq!(full.assets.read_store().objects.len(), 10);
        assert!(full.creates() <= 10 + 6, "{}", full.creates());
        full.run(&["run", "job.toml"]).exits(3).says("object limit of your plan");
        assert!((1..=6).contains(&full.creates()), "each night asks again, and stops again: {}", full.creates());
    }
}

#[test]
fn a_storm_of_refusals_is_sat_out() {
    for options in [Options::cloud(), Options::data_center()] {
        let site = Site::new(options);
        site.run(&["setup", "job.toml"]).exits(0);
        for fault in ["429:1,path=/object/create,times=5", "429:none,path=aql,times=3", "429:2,method=GET,times=2"] {
            site.assets.add_fault(fault.parse().unwrap());
        }
        site.run(&["run", "job.toml"]).exits(0);
        assert_eq!(site.creates(), 5 + 20, "each refused one once more");
        assert_eq!(site.assets.read_store().objects.len(), 20);
    }
}

/// A schema that another importer made, with objects of its own and of people: one user by Entra's id, one by hand under
/// the same sign-in name, one stranger, one group by its name.
fn foreign() -> Store {
    let mut store = Store::new();
    let schema = store.add_schema("People", "PPL", "");
    let (users, groups) = (store.add_type(schema, "Azure AD User"), store.add_type(schema, "Azure AD Group"));
    let by = *store.reference_types.keys().next().unwrap();
    let text = || Kind::Default(DefaultType::Text);
    let mut add = |owner, name: &str, kind, edit: &dyn Fn(&mut Attribute)| {
        let mut attribute = Attribute::new(owner, name, kind);
        edit(&mut attribute);
        store.add_attribute(attribute)
    };
    let object_id = add(users, "AAD Object ID", text(), &|a| a.unique = true);
    let upn = add(users, "UPN", text(), &|_| {});
    add(users, "E-Mail", Kind::Default(DefaultType::Email), &|_| {});
    add(users, "Department", text(), &|_| {});
    add(users, "Manager", Kind::Reference { to: users, by }, &|_| {});
    add(users, "Groups", Kind::Reference { to: groups, by }, &|a| a.max = -1);
    add(users, "Desk", text(), &|_| {});
    add(groups, "Description", Kind::Default(DefaultType::Textarea), &|_| {});
    let label = |store: &Store, ty| store.attribute_named(ty, "Name").unwrap().id;
    let (person, team) = (label(&store, users), label(&store, groups));
    for (n, ty, held) in [
        (1, users, vec![(person, "One".to_string()), (object_id, id(1)), (upn, "user1@contoso.com".into())]),
        (2, users, vec![(person, "Two".into()), (upn, "USER2@contoso.com".into())]),
        (3, users, vec![(person, "Stranger".into()), (upn, "stranger@fabrikam.com".into())]),
        (4, groups, vec![(team, "Sales".into())]),
    ] {
        let values = held.into_iter().map(|(attribute, text)| (attribute, vec![Stored::Text(text)])).collect();
        let moment = jiff::Timestamp::UNIX_EPOCH;
        store.put(
            Object { id: 50_000 + n, ty, values, created: moment, updated: moment },
            Duration::ZERO,
            Duration::ZERO,
        );
    }
    store
}

#[test]
fn a_schema_of_another_importer_is_followed_and_its_objects_taken_over() {
    for options in [Options::cloud(), Options::data_center()] {
        let flavour = options.flavour;
        let site = Site::with(foreign(), options);
        let (base, tenant) = (site.assets.base_url(), site.world.sim.read_tenant().id().to_owned());
        let mut args = vec!["init", "assets.toml", "--tenant", &tenant, "--client-id", CLIENT_ID, "--site", &base];
        match flavour {
            Flavour::Cloud => args.extend(["--api", &base, "--user", jsm_sim::EMAIL]),
            Flavour::DataCenter => args.extend(["--flavour", "data-center"]),
        }
        args.extend(["--from-schema", "people"]);
        let proposed = site.run(&args);
        proposed
            .exits(0)
            .says("\"Azure AD User\": users, 7 attributes; key \"AAD Object ID\"; takes over by \"UPN\", \"E-Mail\"")
            .says("not matched: \"Desk\"")
            .says("the key lives in the ledger alone; takes over by \"Name\"");
        assert_eq!(site.assets.writes(), 0);
        site.run(&args).exits(2).says("assets.toml is there already");

        site.run(&["test", "assets/user.toml", "assets/group.toml"]).exits(0);
        let graph = site.world.sim.base_url();
        let secret = "credential = { secret = { env = \"ENTRA_SECRET\" } }\n";
        site.world.edit("assets.toml", secret, &format!("{secret}authority = \"{graph}\"\ngraph = \"{graph}\"\n"));
        site.run(&["check", "assets.toml"]).exits(0).says("is readable and writable");
        site.run(&["setup", "assets.toml", "--dry-run"]).exits(0).says("has everything");

        // Objects that are there are taken over once a person has seen which.
        let held = site.run(&["run", "assets.toml"]);
        held.exits(4).says("first-run");
        assert_eq!(site.assets.writes(), 0);
        site.run(&["run", "assets.toml", "--approve", "first-run"]).exits(0);
        let strangers = |ty: &str| site.labels(ty);
        assert_eq!((strangers("Azure AD User").len(), strangers("Azure AD Group").len()), (13, 4));
        let store = site.assets.read_store();
        let two = &store.objects[&50_002];
        assert_eq!(store.shown_values(two, "AAD Object ID"), [id(2)], "the key is written");
        assert_eq!(store.shown_values(two, "Name"), ["Two"], "what stands there is kept");
        assert_eq!(store.shown_values(two, "E-Mail"), ["user2@contoso.com"], "what is empty is filled");
        assert_eq!(store.shown_values(two, "Manager"), ["One"]);
        assert_eq!(store.shown_values(&store.objects[&50_001], "Groups"), ["Sales"]);
        assert!(store.shown_values(&store.objects[&50_003], "AAD Object ID").is_empty(), "a stranger is left alone");
        drop(store);
        site.world.next_night();
        site.run(&["run", "assets.toml"]).exits(0);
        assert_eq!(site.assets.writes(), 0, "{:?}", site.assets.counters());

        // Groups have no field for the key: a create whose answer is lost is found by what it wrote.
        site.world.night(|tenant| {
            tenant.put(
                Of::Group,
                json!({ "id": id(106), "displayName": "Painters", "description": "All of them", "securityEnabled": true, "groupTypes": [] }),
            );
            tenant.put(Of::User, user(14));
        });
        site.assets.add_fault("cut,path=/object/create,nth=1".parse().unwrap());
        site.run(&["run", "assets.toml"]);
        site.assets.clear_faults();
        site.run(&["run", "assets.toml"]).exits(0);
        let store = site.assets.read_store();
        let painters = store.objects.values().filter(|object| store.label_of(object) == "Painters").count();
        assert_eq!((painters, store.objects.len()), (1, 14 + 5), "nothing is doubled");
    }
}

#[test]
fn a_job_to_begin_with_is_right_as_it_is_written() {
    let site = Site::new(Options::cloud());
    site.run(&["init", "plain.toml"])
        .exits(0)
        .says("fill in tenant and client_id")
        .says("entra-import check plain.toml");
    site.run(&["config", "plain.toml"]).exits(0).says("csv/users@1");
    site.run(&[
        "init",
        "jobs/jira.toml",
        "--site",
        "https://contoso.atlassian.net",
        "--user",
        "me@contoso.com",
        "--scoped",
    ])
    .exits(0)
    .says("entra-import setup jobs/jira.toml --dry-run");
    site.run(&["config", "jobs/jira.toml"]).exits(0).says_all(&["jsm-assets/user@1", "token = \"scoped\""]);
    site.run(&["init", "no name.toml"]).exits(2).says("cannot be the name of a job");
    site.run(&["init", "x.toml", "--from-schema", "People"]).exits(2).says("--site");
    let base = site.assets.base_url();
    let from =
        ["init", "y.toml", "--site", &base, "--api", &base, "--user", jsm_sim::EMAIL, "--from-schema", "Laptops"];
    site.run(&from).exits(5).says("there is no object schema \"Laptops\"");
    site.assets.store().add_schema("Laptops", "LAP", "");
    site.run(&from).exits(2).says("it has no object type");
    let left: Vec<_> =
        ["no name.toml", "x.toml", "y.toml"].into_iter().filter(|name| site.world.path(name).exists()).collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn long_texts_are_cut_and_told_and_people_without_an_account_are_named_once() {
    for options in [Options::cloud(), Options::data_center()] {
        let site = Site::new(options.clone());
        // The first user that is made has none.
        with_accounts(&site, 2..=11);
        site.world.night(|tenant| assert!(tenant.set(Of::User, &id(5), "jobTitle", "ж".repeat(300).into())));
        site.run(&["setup", "job.toml"]).exits(0).says("made attribute \"Jira Account\" of \"User\": User");
        let ran = site.run(&["run", "job.toml"]);
        ran.exits(0).says_all(&["account is found for user1@contoso.com", "account is found for user12@contoso.com"]);
        ran.check(ran.stderr.matches("no Atlassian account").count() == 2, "each once");
        assert_eq!(site.shows("User", &id(5), "Job Title"), ["ж".repeat(254)]);
        assert_eq!(site.shows("User", &id(3), "Jira Account"), ["User 3"]);
        assert!([1, 12].iter().all(|n| site.shows("User", &id(*n), "Jira Account").is_empty()));
        site.world.next_night();
        site.run(&["run", "job.toml"]).exits(0);
        assert_eq!(site.assets.writes(), 0, "{:?}", site.assets.counters());
    }
}

/// Adds the attribute that the mapping's comment recommends, and people with these numbers.
fn with_accounts(site: &Site, people: std::ops::RangeInclusive<u32>) {
    let account = "attributes.\"Jira Account\" = { value = \"mail\", type = \"user\", write = \"if-empty\" }\n";
    let job = site.world.read("job.toml").replace("jsm-assets/user@1\"\n", &format!("jsm-assets/user@1\"\n{account}"));
    site.world.write("job.toml", &job);
    let person = |n| jsm_sim::Person {
        account: format!("account-{n}"),
        name: format!("User {n}"),
        email: Some(format!("user{n}@contoso.com")),
    };
    site.assets.store().people = people.map(person).collect();
}

#[test]
fn a_right_to_look_people_up_that_is_missing_costs_their_attribute_alone() {
    for options in [Options::cloud(), Options::data_center()] {
        for refusal in [401, 403, 400] {
            let site = Site::new(options.clone());
            with_accounts(&site, 1..=12);
            site.run(&["setup", "job.toml"]).exits(0);
            let fault = |nth: &str| format!("done:{refusal},path=/user/search{nth}").parse().unwrap();
            site.assets.add_fault(fault(""));
            site.run(&["check", "job.toml"]).says_all(&["does not look people up", "Browse users and groups"]);
            let ran = site.run(&["run", "job.toml"]);
            ran.exits(0).says_all(&["does not look people up", "read:jira-user"]);
            ran.check(ran.stderr.matches("does not look people up").count() == 1, "told once");
            assert_eq!(site.labels("User").len(), 12, "everything else is written");
            assert!(site.shows("User", &id(3), "Jira Account").is_empty());
            site.world.next_night();
            site.run(&["run", "job.toml"]).exits(0);
            assert_eq!(site.assets.writes(), 0, "nothing is sent in vain: {:?}", site.assets.counters());
            // The right is there, and is lost on the way.
            site.assets.clear_faults();
            site.assets.add_fault(fault(",nth=4"));
            site.world.next_night();
            site.run(&["run", "job.toml"]);
            site.assets.clear_faults();
            site.world.next_night();
            site.run(&["run", "job.toml"]).exits(0);
            let all: Vec<_> = (1..=12).flat_map(|n| site.shows("User", &id(n), "Jira Account")).collect();
            assert_eq!(all.len(), 12, "all are filled once they can be: {all:?}");
        }
    }
}

#[test]
fn the_first_object_of_a_type_is_read_back_before_the_others_are_made() {
    for options in [Options::cloud(), Options::data_center()] {
        // A server that takes the values and keeps none of them.
        let site = Site::new(Options { forgets_values: true, ..options });
        site.run(&["setup", "job.toml"]).exits(0);
        site.run(&["run", "job.toml"]).exits(3).says("the first Group that was created").says("is not as it was sent");
        assert_eq!((site.creates(), site.assets.read_store().objects.len()), (1, 1));
    }
}

#[test]
fn a_leaver_who_still_holds_a_laptop_is_told_and_not_deleted() {
    for options in [Options::cloud(), Options::data_center()] {
        let site = Site::new(options);
        site.run(&["setup", "job.toml"]).exits(0);
        site.run(&["run", "job.toml"]).exits(0);
        // Somebody gave out a laptop, of a type that no mapping makes.
        let laptop = {
            let mut store = site.assets.store();
            let user = store.types.values().find(|ty| ty.name == "User").unwrap();
            let (user, schema) = (user.id, user.schema);
            let by = *store.reference_types.keys().next().unwrap();
            let ty = store.add_type(schema, "Laptop");
            let owner = store.add_attribute(Attribute::new(ty, "Owner", Kind::Reference { to: user, by }));
            let mut people = store.objects.values().filter(|object| object.ty == user);
            let holder = people.find(|object| store.shown_values(object, "Object ID") == [id(12)]).unwrap().id;
            let id = store.objects.keys().max().unwrap() + 1;
            let (values, moment) = ([(owner, vec![Stored::Object(holder)])].into(), jiff::Timestamp::UNIX_EPOCH);
            let object = Object { id, ty, values, created: moment, updated: moment };
            store.put(object, site.assets.now(), Duration::ZERO);
            id
        };
        site.world.night(|tenant| assert!(tenant.remove(graph_sim::Kind::User, &id(12), graph_sim::Deletion::Soft)));
        site.run(&["plan", "job.toml", "--leavers", "left.csv"]).says("still hold").says("Laptop ");
        let left = site.world.read("left.csv");
        let row = left.lines().find(|row| row.contains(&id(12))).unwrap_or_else(|| panic!("{left}"));
        assert!(row.contains("kept") && row.rsplit(',').next().unwrap().starts_with("Laptop "), "{row}");
        site.run(&["run", "job.toml"]).exits(0);
        assert_eq!(site.labels("User").len(), 12, "still there");
        // The laptop came back.
        site.assets.store().remove(laptop, site.assets.now(), Duration::ZERO);
        site.world.next_night();
        site.run(&["run", "job.toml"]).exits(0).says("1 deleted");
        assert_eq!(site.labels("User").len(), 11);
    }
}

#[test]
fn leavers_wait_where_jira_does_not_tell_what_they_hold() {
    for options in [Options::cloud(), Options::data_center()] {
        let site = Site::new(Options { refuses_having: true, ..options });
        site.run(&["setup", "job.toml"]).exits(0);
        site.run(&["run", "job.toml"]).exits(0);
        site.world.night(|tenant| {
            assert!(tenant.remove(Of::User, &id(12), graph_sim::Deletion::Soft));
            assert!(tenant.set(Of::User, &id(8), "department", "Legal".into()));
        });
        let ran = site.run(&["run", "job.toml"]);
        ran.exits(0).says("what User that left still hold is not known").says("The query is invalid: HAVING");
        assert_eq!(site.labels("User").len(), 12, "nobody is deleted");
        assert_eq!(site.shows("User", &id(8), "Department"), ["Legal"], "all else goes on");
        site.run(&["plan", "job.toml"]).says("what still refers to it is not known");
    }
}

#[test]
fn answers_in_odd_json_change_nothing() {
    for options in [Options::cloud(), Options::data_center()] {
        let site = Site::new(options);
        site.assets.add_fault("odd".parse().unwrap());
        site.run(&["setup", "job.toml"]).exits(0);
        site.run(&["setup", "job.toml"]).exits(0).says("has everything");
        site.run(&["run", "job.toml"]).exits(0);
        assert_eq!(site.shows("User", &id(3), "Groups"), ["Sales", "VPN"]);
        site.world.next_night();
        site.run(&["run", "job.toml"]).exits(0);
        assert_eq!(site.assets.writes(), 0, "{:?}", site.assets.counters());
    }
}

#[test]
fn a_page_to_log_in_is_never_taken_for_an_answer() {
    for options in [Options::cloud(), Options::data_center()] {
        let site = Site::new(options);
        site.run(&["setup", "job.toml"]).exits(0);
        site.assets.add_fault("login,path=/object/create".parse().unwrap());
        site.run(&["run", "job.toml"]).exits(5).says("such as a page to log in");
        assert!(site.creates() < 20, "nothing more is sent: {}", site.creates());
        site.assets.clear_faults();
        site.run(&["run", "job.toml"]).exits(0);
        assert_eq!(site.assets.read_store().objects.len(), 12 + 4 + 1 + 3);

        site.world.night(|tenant| assert!(tenant.remove(Of::User, &id(12), graph_sim::Deletion::Soft)));
        site.assets.add_fault("login,method=DELETE".parse().unwrap());
        site.run(&["run", "job.toml"]).exits(5);
        assert_eq!(site.labels("User").len(), 12);
        site.assets.clear_faults();
        site.run(&["run", "job.toml"]).exits(0).says("1 deleted");
        assert_eq!(site.labels("User").len(), 11);

        site.assets.add_fault("redirect:https://contoso.example/login?token=secret".parse().unwrap());
        let ran = site.run(&["run", "job.toml"]);
        ran.exits(5).says("sends requests on to \"https://contoso.example/login\"");
        ran.check(!ran.stderr.contains("secret"), "what a sign-on hands out is not shown");
    }
}
