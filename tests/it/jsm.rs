//! Whole runs into Jira Service Management Assets, over HTTP at both ends: set-up, nights, edits by hand, and what goes
//! wrong on the way.

use std::collections::BTreeSet;
use std::time::Duration;

use jsm_sim::{Attribute, Flavour, Kind, Object, Options, Right, Sim, Store, Stored};
use tokio::runtime::Runtime;

use crate::world::{NO_LIMITS, Ran, World, all_rights, busy_night, contoso, id};

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
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let flavour = options.flavour;
        // The program's waits are shortened as much.
        let assets = runtime.block_on(Sim::start(Store::new(), Options { time_factor: 20_000.0, ..options })).unwrap();
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
fn an_index_that_lags_behind_makes_nothing_twice_and_nothing_deleted() {
    let site = Site::new(Options { index_delay: Duration::from_secs(100_000_000), ..Options::cloud() });
    site.run(&["setup", "job.toml"]).exits(0);
    site.run(&["run", "job.toml"]).exits(0);
    let before = site.labels("User");
    // Nothing of it shows in any search.
    site.run(&["run", "job.toml"]).exits(0);
    assert_eq!(site.assets.writes(), 0, "{:?}", site.assets.counters());
    assert_eq!(site.labels("User"), before);
}

#[test]
fn what_goes_wrong_on_the_way_is_named_and_nothing_is_doubled() {
    let site = Site::new(Options::cloud());
    site.run(&["setup", "job.toml"]).exits(0);
    for fault in [
        "cut,path=/object/create,nth=3",
        "429:3,path=/object/create,every=7",
        "502,path=/object/create,nth=9",
        "503:1,path=/object/aql,nth=1",
    ] {
        site.assets.add_fault(fault.parse().unwrap());
    }
    site.run(&["run", "job.toml"]);
    site.assets.clear_faults();
    site.run(&["run", "job.toml"]).exits(0);
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
    site.run(&["run", "job.toml"]).exits(3).says("no attribute \"Department\"");
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
