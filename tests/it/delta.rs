//! Reading by changes: what comes of it night after night equals a full read, and whatever is in doubt leads to one.
//!
//! `DELTA_SEEDS` says how many tenants are tried, `DELTA_FIRST` where their seeds begin.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use entra_import::clock::Clock;
use entra_import::http::{Http, HttpSettings};
use entra_import::record::{Collection, Guid};
use entra_import::snapshot::{How, Member as SnapshotMember, Snapshot};
use entra_import::source::{Credential, Extracted, Memberships, Since, Source, SourceConfig, SourceNeeds};
use fastrand::Rng;
use graph_sim::{CLIENT_ID, CLIENT_SECRET, Deletion, Fault, FaultKind, Kind, Member, Options, Sim, Size, Tenant};
use serde_json::{Value, json};
use tempfile::TempDir;

const SEEDS: u64 = 4;
const NIGHTS: usize = 4;

fn number(variable: &str, otherwise: u64) -> u64 {
    std::env::var(variable).ok().map_or(otherwise, |text| text.parse().expect("a number"))
}

fn names(list: &[&str]) -> BTreeSet<String> {
    list.iter().map(|&name| name.to_owned()).collect()
}

fn roles(list: &[&str]) -> Options {
    Options { roles: list.iter().map(|&role| role.to_owned()).collect(), ..Options::default() }
}

/// Directory.Read.All does not let an app read the changes of devices.
fn all_rights() -> Options {
    roles(&["Directory.Read.All", "Device.Read.All", "Member.Read.Hidden"])
}

/// A tenant, and the snapshots of its nights.
struct Nights {
    sim: Sim,
    root: TempDir,
    needs: SourceNeeds,
    /// The way of full reads.
    memberships: Memberships,
    night: usize,
}

impl Nights {
    async fn new(tenant: Tenant, options: Options) -> Nights {
        let needs = SourceNeeds {
            properties: BTreeMap::from([
                (Collection::Users, names(&["displayName", "accountEnabled", "mail", "department", "businessPhones"])),
                (Collection::Groups, names(&["displayName", "description", "groupTypes"])),
                (Collection::Devices, names(&["displayName", "operatingSystemVersion"])),
                (Collection::Licenses, names(&["skuPartNumber"])),
            ]),
            expand_manager: true,
            memberships: true,
            ..SourceNeeds::default()
        };
        let sim = Sim::start(tenant, options).await.unwrap();
        let memberships = Memberships::Auto;
        Nights { sim, root: tempfile::tempdir().unwrap(), needs, memberships, night: 0 }
    }

    fn source(&self) -> Source {
        let base: url::Url = self.sim.base_url().parse().unwrap();
        let tenant = self.sim.read_tenant().id().to_owned();
        let mut config = SourceConfig::new(tenant, CLIENT_ID, Credential::Secret(CLIENT_SECRET.to_owned().into()));
        config.authority = base.clone();
        config.graph = base;
        config.pages_max = 5000;
        config.memberships = self.memberships;
        let settings = HttpSettings { read_timeout: Duration::from_secs(5), ..HttpSettings::default() };
        Source::new(config, &Http::new(Clock::scaled(20_000), settings)).unwrap()
    }

    /// One read, with what it left in doubt looked up.
    async fn read(&mut self, since: Since<'_>) -> Snapshot {
        self.night += 1;
        let folder = self.root.path().join(self.night.to_string());
        self.sim.clear_requests();
        let source = self.source();
        let Extracted { snapshot, doubtful, .. } =
            source.extract_since(&self.needs, &(), &folder, since).await.unwrap();
        if doubtful.is_empty() {
            return snapshot;
        }
        source.confirm(&self.needs, &(), snapshot, doubtful).await.unwrap().snapshot
    }

    async fn full(&mut self) -> Snapshot {
        self.read(Since::Full("a test")).await
    }
}

/// Everything that a snapshot holds of the directory, in a form that compares.
#[derive(PartialEq, Debug)]
struct Content {
    objects: BTreeMap<(Collection, Guid), Value>,
    members: BTreeMap<Guid, (Vec<SnapshotMember>, Option<String>)>,
    complete: BTreeMap<Collection, bool>,
}

impl Content {
    fn of(snapshot: &Snapshot) -> Content {
        let mut objects = BTreeMap::new();
        for collection in [Collection::Users, Collection::Groups, Collection::Devices, Collection::Licenses] {
            let mut lines = snapshot.objects(collection).iter();
            while let Some((id, line)) = lines.next().unwrap() {
                let mut object: Value = serde_json::from_str(line).unwrap();
                // An object that was looked up by id says of what type it is, and what it is an answer to.
                object.as_object_mut().unwrap().retain(|name, _| !name.starts_with('@'));
                objects.insert((collection, id), object);
            }
        }
        let members = snapshot.members().unwrap();
        let gap = |group| members.gap(group).map(ToString::to_string);
        Content {
            objects,
            members: members.iter().map(|(group, list)| (group, (list.to_vec(), gap(group)))).collect(),
            complete: Collection::ALL.map(|of| (of, snapshot.coverage(of).is_complete())).into(),
        }
    }

    /// What differs, in words; comparing whole contents would print thousands of lines.
    fn differences(&self, other: &Content) -> Vec<String> {
        let mut found = Vec::new();
        for key in self.objects.keys().chain(other.objects.keys()) {
            let (here, there) = (self.objects.get(key), other.objects.get(key));
            if here != there {
                found.push(format!("{key:?}: {here:?} and {there:?}"));
            }
        }
        for group in self.members.keys().chain(other.members.keys()) {
            let (here, there) = (self.members.get(group), other.members.get(group));
            if here != there {
                found.push(format!("members of {group}: {here:?} and {there:?}"));
            }
        }
        if self.complete != other.complete {
            found.push(format!("{:?} and {:?}", self.complete, other.complete));
        }
        found
    }
}

fn how(snapshot: &Snapshot, collection: Collection) -> &How {
    snapshot.how(collection)
}

fn is_delta(snapshot: &Snapshot, collection: Collection) -> bool {
    matches!(how(snapshot, collection), How::Delta { .. })
}

#[track_caller]
fn reads_in_full(snapshot: &Snapshot, collection: Collection, because: &str) {
    match how(snapshot, collection) {
        How::Full(Some(why)) if why.contains(because) => {}
        other => panic!("{collection}: in full because {because:?}, not {other:?}"),
    }
}

const DELTAS: [Collection; 4] = [Collection::Users, Collection::Groups, Collection::Memberships, Collection::Devices];

/// What happens to a directory between two nights, of every kind there is.
struct Life {
    rng: Rng,
    deleted: Vec<String>,
    born: u64,
}

impl Life {
    fn new(seed: u64) -> Life {
        Life { rng: Rng::with_seed(seed), deleted: Vec::new(), born: 0 }
    }

    fn any(&mut self, tenant: &Tenant, kind: Kind) -> Option<String> {
        let ids: Vec<String> = tenant.list(kind).map(|object| object.id().to_string()).collect();
        self.rng.choice(ids)
    }

    fn night(&mut self, tenant: &mut Tenant) {
        for _ in 0..self.rng.usize(1..40) {
            self.event(tenant);
        }
    }

    fn event(&mut self, tenant: &mut Tenant) {
        let kind = *self.rng.choice(&[Kind::User, Kind::Group, Kind::Device]).unwrap();
        match self.rng.u8(..14) {
            0 => self.birth(tenant, kind),
            1 => {
                let Some(id) = self.any(tenant, kind) else { return };
                let deletion = if self.rng.bool() { Deletion::Soft } else { Deletion::Hard };
                tenant.remove(kind, &id, deletion);
                self.deleted.push(id);
            }
            2 => _ = self.rng.choice(self.deleted.clone()).map(|id| tenant.restore(&id)),
            3 => _ = self.rng.choice(self.deleted.clone()).map(|id| tenant.purge(&id)),
            4..=6 => self.set(tenant, kind),
            7 => {
                let (Some(user), manager) = (self.any(tenant, Kind::User), self.any(tenant, Kind::User)) else {
                    return;
                };
                let manager = manager.filter(|_| self.rng.u8(..4) > 0);
                tenant.set_manager(&user, manager.map(|id| Member::new(Kind::User, id)));
            }
            8 => {
                let Some(group) = self.any(tenant, Kind::Group) else { return };
                let visibility = if self.rng.bool() { json!("HiddenMembership") } else { json!("Public") };
                tenant.set(Kind::Group, &group, "visibility", visibility);
            }
            9 | 10 => {
                let Some(group) = self.any(tenant, Kind::Group) else { return };
                let members: Vec<String> = tenant.members(&group).iter().map(|member| member.id.to_string()).collect();
                _ = self.rng.choice(members).map(|id| tenant.remove_member(&group, &id));
            }
            _ => {
                let (Some(group), Some(id)) = (self.any(tenant, Kind::Group), self.any(tenant, kind)) else { return };
                tenant.add_member(&group, Member::new(kind, id));
            }
        }
    }

    fn birth(&mut self, tenant: &mut Tenant, kind: Kind) {
        self.born += 1;
        let id = format!("00000000-0000-4000-9000-{:012}", self.born);
        tenant.put(kind, json!({ "id": id, "displayName": format!("New {}", self.born), "accountEnabled": true }));
        for _ in 0..self.rng.usize(..5) {
            if let (Kind::Group, Some(user)) = (kind, self.any(tenant, Kind::User)) {
                tenant.add_member(&id, Member::new(Kind::User, user));
            }
        }
    }

    fn set(&mut self, tenant: &mut Tenant, kind: Kind) {
        let Some(id) = self.any(tenant, kind) else { return };
        let text = json!(format!("Changed {}", self.rng.u32(..)));
        let (name, value) = match (kind, self.rng.u8(..4)) {
            (Kind::User, 0) => ("mail", Value::Null),
            (Kind::User, 1) => ("businessPhones", if self.rng.bool() { json!([]) } else { json!(["+1 425 555 0100"]) }),
            (Kind::User, 2) => ("accountEnabled", json!(self.rng.bool())),
            (Kind::Group, 0) => ("description", Value::Null),
            (Kind::Device, 0 | 1) => ("operatingSystemVersion", text),
            // Not selected: a change that nobody is to hear of.
            (Kind::User, 3) => ("city", text),
            _ => ("displayName", text),
        };
        tenant.set(kind, &id, name, value);
    }
}

fn small_tenant(seed: u64) -> Tenant {
    Tenant::synthetic(seed, &Size { users: 120, groups: 25, memberships: 400, devices: 40, ..Size::default() })
}

/// Night after night, read by changes and in full, without rest and by all the ways there are to tell the same.
async fn equals_a_full_read(seed: u64, options: Options) {
    let mut tenant = small_tenant(seed);
    if !seed.is_multiple_of(4) {
        tenant.tell_badly(seed);
    }
    let mut nights = Nights::new(tenant, options).await;
    let mut life = Life::new(seed);
    // Every other tenant begins with a round that serves as a full read and as the first of the changes.
    nights.memberships = if seed.is_multiple_of(2) { Memberships::Delta } else { Memberships::Auto };
    let mut base = nights.full().await;
    nights.memberships = Memberships::Auto;
    for night in 1..=NIGHTS {
        life.night(&mut nights.sim.tenant());
        let told = format!("DELTA_FIRST={seed} DELTA_SEEDS=1, night {night}");
        let full = nights.full().await;
        let delta = nights.read(Since::Base(&base)).await;
        for collection in DELTAS {
            assert!(is_delta(&delta, collection), "{told}: {collection} by changes, not {:?}", how(&delta, collection));
        }
        let differences = Content::of(&delta).differences(&Content::of(&full));
        assert!(differences.is_empty(), "{told}: delta and full differ: {differences:#?}");
        base = delta;
    }
}

#[tokio::test]
async fn a_delta_fed_snapshot_equals_a_full_one_over_many_random_nights() {
    let first = number("DELTA_FIRST", 1);
    for seed in first..first + number("DELTA_SEEDS", SEEDS) {
        println!("DELTA_FIRST={seed} DELTA_SEEDS=1");
        // Without the right to hidden members, and without the one to look up many ids at once.
        let few = roles(&["User.Read.All", "GroupMember.Read.All", "Device.Read.All", "LicenseAssignment.Read.All"]);
        equals_a_full_read(seed, if seed.is_multiple_of(3) { few } else { all_rights() }).await;
    }
}

/// The files of a snapshot's folder, byte by byte.
fn files(snapshot: &Snapshot) -> BTreeMap<std::path::PathBuf, Vec<u8>> {
    let entries = std::fs::read_dir(snapshot.dir()).unwrap().map(|entry| entry.unwrap().path());
    entries.map(|path| (path.clone(), std::fs::read(path).unwrap())).collect()
}

/// Twelve changed users, a group that was renamed and one with another member.
fn some_changes(tenant: &mut Tenant) {
    let ids = |kind| tenant.list(kind).map(|object| object.id().to_string()).collect::<Vec<_>>();
    let (users, groups) = (ids(Kind::User), ids(Kind::Group));
    for user in &users[..12] {
        tenant.set(Kind::User, user, "department", "Legal".into());
    }
    tenant.set(Kind::Group, &groups[0], "displayName", "Legal".into());
    tenant.add_member(&groups[1], Member::new(Kind::Group, groups[2].clone()));
}

/// A tenant after a night of changes, and the snapshot from before.
async fn after_some_changes() -> (Nights, Snapshot) {
    let mut nights = Nights::new(small_tenant(5), all_rights()).await;
    let base = nights.full().await;
    some_changes(&mut nights.sim.tenant());
    (nights, base)
}

#[tokio::test]
async fn changes_that_cannot_be_had_whole_lead_to_a_full_read_and_leave_the_base_alone() {
    let checks: [(&str, FaultKind, &str); 5] = [
        ("users/delta?$deltatoken", FaultKind::Status(410), "no longer knows the delta link (HTTP 410"),
        ("users/delta?$deltatoken", FaultKind::Status(500), "could not be read to their end"),
        // The second page of a round.
        ("users/delta?$skiptoken", FaultKind::Status(400), "could not be read to their end"),
        ("users/delta?$skiptoken", FaultKind::Foreign("https://graph.contoso.example".into()), "not to the configured"),
        ("users?$count", FaultKind::Status(403), "could not be checked"),
    ];
    for (path, kind, because) in checks {
        let (mut nights, base) = after_some_changes().await;
        nights.sim.tenant().tell_badly(1);
        let before = files(&base);
        nights.sim.add_fault(Fault::new(path, kind));
        let read = nights.read(Since::Base(&base)).await;
        reads_in_full(&read, Collection::Users, because);
        assert!(is_delta(&read, Collection::Groups), "what is sound is read by changes");
        assert_eq!(files(&base), before);
        nights.sim.clear_faults();
        let full = nights.full().await;
        let differences = Content::of(&read).differences(&Content::of(&full));
        assert!(differences.is_empty(), "{path}: {differences:#?}");
    }
}

#[tokio::test]
async fn expired_links_lead_to_a_full_read() {
    let (mut nights, base) = after_some_changes().await;
    nights.sim.tenant().forget_history();
    let read = nights.read(Since::Base(&base)).await;
    for collection in DELTAS {
        reads_in_full(&read, collection, "no longer knows the delta link (HTTP 400 syncStateNotFound)");
    }
    let full = nights.full().await;
    assert_eq!(Content::of(&read).differences(&Content::of(&full)), [""; 0]);
}

#[tokio::test]
async fn a_link_that_leads_to_another_host_is_not_followed() {
    let (mut nights, base) = after_some_changes().await;
    let elsewhere = Sim::start(small_tenant(5), all_rights()).await.unwrap();
    let links = base.dir().join("delta.json");
    let text = std::fs::read_to_string(&links).unwrap();
    assert!(text.contains(&nights.sim.base_url()));
    std::fs::write(&links, text.replace(&nights.sim.base_url(), &elsewhere.base_url())).unwrap();
    let read = nights.read(Since::Base(&Snapshot::open(base.dir()).unwrap())).await;
    for collection in DELTAS {
        reads_in_full(&read, collection, "which is not the configured host");
    }
    assert!(elsewhere.requests().is_empty(), "neither a request nor a token: {:?}", elsewhere.requests());
    let full = nights.full().await;
    assert_eq!(Content::of(&read).differences(&Content::of(&full)), [""; 0]);
}

#[tokio::test]
async fn a_count_that_does_not_fit_leads_to_a_full_read() {
    let (mut nights, base) = after_some_changes().await;
    // Thirty users whose coming no delta query tells.
    let size = Size { users: 150, groups: 25, memberships: 400, devices: 40, ..Size::default() };
    *nights.sim.tenant() = Tenant::synthetic(5, &size);
    let read = nights.read(Since::Base(&base)).await;
    reads_in_full(&read, Collection::Users, "Graph counts");
    let full = nights.full().await;
    assert_eq!(read.objects(Collection::Users).len(), full.objects(Collection::Users).len());
}

#[tokio::test]
async fn another_selection_or_other_permissions_lead_to_a_full_read() {
    let (mut nights, base) = after_some_changes().await;
    nights.needs.properties.get_mut(&Collection::Users).unwrap().insert("city".into());
    let read = nights.read(Since::Base(&base)).await;
    reads_in_full(&read, Collection::Users, "other properties");
    assert!(is_delta(&read, Collection::Groups) && is_delta(&read, Collection::Devices));
    nights.needs.properties.get_mut(&Collection::Users).unwrap().insert("licenseAssignmentStates".into());
    let read = nights.read(Since::Base(&read)).await;
    reads_in_full(&read, Collection::Users, "licenseAssignmentStates");

    let few = Nights::new(small_tenant(5), roles(&["User.Read.All", "GroupMember.Read.All", "Device.Read.All"])).await;
    let mut few = Nights { needs: nights.needs.clone(), ..few };
    few.needs.properties.remove(&Collection::Licenses);
    let read = few.read(Since::Base(&read)).await;
    reads_in_full(&read, Collection::Groups, "other permissions");
}

#[tokio::test]
async fn devices_without_the_right_to_their_changes_are_read_in_full() {
    let mut nights = Nights::new(small_tenant(5), roles(&["Directory.Read.All"])).await;
    let base = nights.full().await;
    let read = nights.read(Since::Base(&base)).await;
    reads_in_full(&read, Collection::Devices, "kept no delta link");
    assert!(is_delta(&read, Collection::Users) && is_delta(&read, Collection::Groups));
}

#[tokio::test]
async fn a_collection_that_came_in_part_keeps_no_link() {
    let (mut nights, base) = after_some_changes().await;
    nights.sim.add_fault(Fault::new("/v1.0/groups", FaultKind::Status(500)));
    let read = nights.read(Since::Base(&base)).await;
    assert!(!read.coverage(Collection::Groups).is_complete());
    let linked: Vec<Collection> = read.manifest().links.0.keys().copied().collect();
    assert_eq!(linked, [Collection::Users, Collection::Devices]);
}

#[tokio::test]
async fn a_night_by_changes_asks_for_no_more_than_the_changes() {
    let (mut nights, base) = after_some_changes().await;
    let full = nights.full().await;
    let asked = nights.sim.requests().len();
    let read = nights.read(Since::Base(&base)).await;
    assert_eq!(Content::of(&read).differences(&Content::of(&full)), [""; 0]);
    let targets: Vec<String> = nights.sim.requests().into_iter().map(|request| request.target).collect();
    // A token; one page and one count for each of users, groups, devices; the products.
    assert_eq!(targets.len(), 8, "{targets:#?}; {asked} in full");
    assert!(!targets.iter().any(|target| target.contains("/members")), "{targets:#?}");
}

#[cfg(unix)]
#[tokio::test]
async fn links_are_for_the_owner_alone() {
    use std::os::unix::fs::PermissionsExt;
    let mut nights = Nights::new(small_tenant(5), all_rights()).await;
    let links = nights.full().await.dir().join("delta.json");
    assert_eq!(std::fs::metadata(links).unwrap().permissions().mode() & 0o777, 0o600);
    let never = nights.read(Since::Never).await;
    assert!(!never.dir().join("delta.json").exists());
}

/// The program itself, with a job that reads by changes.
mod program {
    use std::fs;
    use std::path::PathBuf;

    use graph_sim::{Deletion, Fault, FaultKind, Kind, Options};
    use jiff::SignedDuration;

    use crate::world::{self, DELETE, NO_LIMITS, SCOPE, World, busy_night, contoso, files_under, id};

    /// None of these needs a property that delta queries do not track.
    const MAPPINGS: [&str; 5] = ["users", "groups", "memberships", "nestings", "devices"];

    fn all_rights() -> Options {
        let mut options = world::all_rights();
        options.roles.push("Device.Read.All".into());
        options
    }

    /// Contoso, imported once.
    fn imported(mappings: &[&str]) -> World {
        let world = World::with(contoso(), all_rights());
        world.job(mappings, &format!("{DELETE}{NO_LIMITS}{SCOPE}"));
        world.edit("job.toml", "[target]", "delta = true\n[target]");
        // Names of licenses come from states that no delta query tells: with them users are read by their list.
        world.edit("job.toml", "csv/users@1\"\n", "csv/users@1\"\nattributes.\"Licenses\" = false\n");
        world.run(["run", "job.toml"]).exits(0).says("; read in full: there is no earlier read to begin at");
        world
    }

    fn snapshots(world: &World) -> Vec<(PathBuf, Vec<u8>)> {
        files_under(&world.path("state/contoso/snapshots"))
            .into_iter()
            .map(|path| (path.clone(), fs::read(path).unwrap()))
            .collect()
    }

    /// A full read finds nothing that the night by changes did not do.
    fn nothing_is_left(world: &World) {
        world.run(["plan", "job.toml", "--full", "--detailed-exitcode"]).exits(0).says("asked for with --full");
    }

    #[test]
    fn a_night_by_changes_does_what_a_full_one_would() {
        let world = imported(&MAPPINGS);
        world.sim.tenant().tell_badly(7);
        world.night(busy_night);
        let before = snapshots(&world);
        world.run(["plan", "job.toml"]).exits(0).says("changes since 2026-03-01T02:00:00Z");
        assert!(snapshots(&world) == before, "a dry run keeps nothing");
        let ran = world.run(["run", "job.toml"]);
        ran.exits(0).says("; changes since 2026-03-01T02:00:00Z");
        let by_list = ["/v1.0/users?", "/v1.0/groups?", "/v1.0/devices?"];
        let listed = |target: &str| !target.contains("$count=true") && by_list.iter().any(|list| target.contains(list));
        ran.check(!ran.requests.iter().any(|request| listed(&request.target)), "no list was read");
        assert!(!world.rows("users").contains_key(&id(12)), "who left was looked up, and removed");
        nothing_is_left(&world);
        world.next_night();
        world.run(["run", "job.toml"]).exits(0).says("; changes since 2026-03-02T02:00:00Z");
        nothing_is_left(&world);
    }

    #[test]
    fn nothing_is_removed_that_changes_alone_say_is_gone() {
        let world = imported(&MAPPINGS);
        world.night(|tenant| assert!(tenant.remove(Kind::User, &id(12), Deletion::Soft)));
        for path in ["deletedItems", "getByIds", &format!("users/{}", id(12))] {
            world.sim.add_fault(Fault::new(path, FaultKind::Status(500)));
        }
        world.run(["run", "job.toml"]).exits(3).says("partial (users");
        assert!(world.rows("users").contains_key(&id(12)));
        world.sim.clear_faults();
        // The night that knew too little is no base.
        world.next_night();
        world.run(["run", "job.toml"]).exits(0).says("; changes since 2026-03-01T02:00:00Z");
        assert!(!world.rows("users").contains_key(&id(12)));
        nothing_is_left(&world);
    }

    #[test]
    fn everything_is_read_in_time_and_after_any_doubt() {
        let world = imported(&MAPPINGS);
        let full = |because: &str| {
            world.run(["run", "job.toml"]).exits(0).says(&format!("; read in full: {because}"));
        };
        for _ in 1..7 {
            world.next_night();
            world.run(["run", "job.toml"]).exits(0).says("; changes since ");
        }
        world.next_night();
        full("due, since the last full read was at 2026-03-01T02:00:00Z");
        world.next_night();
        world.run(["run", "job.toml", "--full"]).exits(0).says("; read in full: asked for with --full");
        // Down for a week.
        world.edit("job.toml", "delta = true", "delta = true\nfull_every = \"31 days\"");
        world.pass(SignedDuration::from_hours(7 * 24));
        full("the delta link is of 2026-03-09T02:00:00Z");
        // An older ledger is put back.
        world.save();
        world.next_night();
        world.run(["run", "job.toml"]).exits(0).says("; changes since ");
        fs::copy(world.path("saved/state/contoso/ledger.sqlite3"), world.path("state/contoso/ledger.sqlite3")).unwrap();
        world.next_night();
        full("there is a newer snapshot that the ledger does not know");
        // The base is cleared away by hand.
        fs::remove_dir_all(world.path("state/contoso/snapshots")).unwrap();
        world.next_night();
        full("the snapshot of the last read is gone");
    }

    #[test]
    fn a_trial_moves_no_base() {
        let world = imported(&MAPPINGS);
        world.night(busy_night);
        world.run(["run", "job.toml", "--only", &id(8)]).exits(0);
        world.next_night();
        world.run(["run", "job.toml"]).exits(0).says("; changes since 2026-03-01T02:00:00Z");
        nothing_is_left(&world);
    }

    /// Wherever a run dies, the next one begins at a base with its own links: nothing that happened before or since is
    /// missed.
    #[test]
    fn dying_at_every_point_of_a_night_by_changes_misses_nothing() {
        let world = imported(&["users", "memberships"]);
        world.night(busy_night);
        world.save();
        let evening = world.sim.read_tenant().clone();
        for point in 1.. {
            world.restore();
            world.sim.tenant().clone_from(&evening);
            let ran = world.run_with(["run", "job.toml"], &[("ENTRA_IMPORT_CRASH_AT", &point.to_string())]);
            // From here on nothing is read any more; `crash.rs` goes on.
            if ran.stderr.contains("before stage") {
                assert!(point > 8, "passed only {point} points");
                break;
            }
            ran.check(ran.code() != 0, "a death");
            {
                let mut tenant = world.sim.tenant();
                tenant.set(Kind::User, &id(6), "department", "Finance".into());
                assert!(tenant.remove_member(&id(101), &id(3)));
            }
            world.run(["run", "job.toml"]).exits(0).says("; changes since ");
            nothing_is_left(&world);
        }
    }
}
