//! The Graph source against the simulator: whole extracts, every kind of fault, missing rights, lookups by id.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use entra_import::clock::Clock;
use entra_import::error::{Error, Exit};
use entra_import::http::{Http, HttpSettings};
use entra_import::record::{Collection, Guid};
use entra_import::snapshot::{MemberKind, Snapshot, Strategy};
use entra_import::source::{Credential, Extracted, Memberships, Source, SourceConfig, SourceNeeds};
use graph_sim::{CLIENT_ID, CLIENT_SECRET, Deletion, Fault, FaultKind, Kind, Options, RetryAfter, Sim, Size, Tenant};
use serde_json::Value;
use tempfile::TempDir;

const PAIRS: [(Collection, Kind); 3] =
    [(Collection::Users, Kind::User), (Collection::Groups, Kind::Group), (Collection::Devices, Kind::Device)];

/// Three pages.
const USERS: usize = 2100;
const GROUPS: usize = 40;

struct World {
    sim: Sim,
    root: TempDir,
    needs: SourceNeeds,
    memberships: Memberships,
}

impl World {
    async fn new(options: Options) -> World {
        static TENANT: LazyLock<Tenant> =
            LazyLock::new(|| Tenant::synthetic(7, &Size { users: USERS, groups: GROUPS, ..Size::default() }));
        World::of(TENANT.clone(), options).await
    }

    async fn of(tenant: Tenant, options: Options) -> World {
        let names = |list: &[&str]| list.iter().map(|&name| name.to_owned()).collect::<BTreeSet<_>>();
        let needs = SourceNeeds {
            properties: BTreeMap::from([
                (Collection::Users, names(&["displayName", "accountEnabled", "licenseAssignmentStates"])),
                (Collection::Groups, names(&["displayName"])),
                (Collection::Devices, names(&["displayName", "deviceId"])),
                (Collection::Licenses, names(&["skuPartNumber"])),
            ]),
            expand_manager: true,
            memberships: true,
            ..SourceNeeds::default()
        };
        let sim = Sim::start(tenant, options).await.unwrap();
        World { sim, root: tempfile::tempdir().unwrap(), needs, memberships: Memberships::Auto }
    }

    fn source(&self, secret: &str) -> Source {
        let base: url::Url = self.sim.base_url().parse().unwrap();
        let tenant = self.sim.read_tenant().id().to_owned();
        let mut config = SourceConfig::new(tenant, CLIENT_ID, Credential::Secret(secret.to_owned().into()));
        config.authority = base.clone();
        config.graph = base;
        config.pages_max = 500;
        config.memberships = self.memberships;
        let settings = HttpSettings::default();
        Source::new(config, &Http::new(Clock::scaled(20_000), settings)).unwrap()
    }

    async fn extract(&self) -> Result<Extracted, Error> {
        self.source(CLIENT_SECRET).extract(&self.needs, &(), &self.root.path().join("snap")).await
    }

    /// What the snapshot holds that the tenant does not, and the other way round, in words.
    fn differences(&self, snapshot: &Snapshot) -> Vec<String> {
        let tenant = self.sim.read_tenant();
        let mut found = Vec::new();
        for (collection, kind) in PAIRS {
            let there: BTreeSet<Guid> = tenant.list(kind).map(|object| object.id().parse().unwrap()).collect();
            let here: BTreeSet<Guid> = snapshot.objects(collection).ids().collect();
            found.extend(there.symmetric_difference(&here).map(|id| format!("{collection} {id}")));
        }
        let members = snapshot.members().unwrap();
        for group in tenant.list(Kind::Group) {
            let id = group.id().parse().unwrap();
            let there: BTreeSet<(Guid, MemberKind)> = tenant
                .members(group.id())
                .iter()
                .map(|member| (member.id.parse().unwrap(), MemberKind::named(member.kind.name())))
                .collect();
            let here: BTreeSet<_> =
                members.of(id).unwrap_or_default().iter().map(|member| (member.id, member.kind)).collect();
            if here != there && members.gap(id).is_none() {
                found.push(format!("members of {id}"));
            }
        }
        if snapshot.objects(Collection::Licenses).len() != tenant.skus().len() {
            found.push("licenses".into());
        }
        found
    }
}

fn all_rights() -> Options {
    let roles = ["Directory.Read.All", "Member.Read.Hidden"].map(str::to_owned).to_vec();
    Options { roles, ..Options::default() }
}

fn object(snapshot: &Snapshot, collection: Collection, id: Guid) -> Value {
    serde_json::from_str(&snapshot.objects(collection).get(id).unwrap().unwrap()).unwrap()
}

fn is_whole(snapshot: &Snapshot) -> bool {
    use Collection::{Devices, Groups, LicenseAssignments, Licenses, Memberships, Nestings, Users};
    let asked_for = [Users, Groups, Memberships, Nestings, Licenses, LicenseAssignments, Devices];
    let covered = asked_for.into_iter().all(|collection| snapshot.coverage(collection).is_complete());
    covered && snapshot.members().unwrap().gaps().count() == 0
}

#[tokio::test]
async fn a_whole_extract_equals_the_tenant() {
    let world = World::new(all_rights()).await;
    let extracted = world.extract().await.unwrap();
    let snapshot = &extracted.snapshot;
    assert!(is_whole(snapshot), "{:?}", snapshot.manifest());
    assert_eq!(world.differences(snapshot), [""; 0]);
    let tenant = world.sim.read_tenant();
    for user in tenant.list(Kind::User).take(300) {
        let here = object(snapshot, Collection::Users, user.id().parse().unwrap());
        assert_eq!(here["displayName"], user.get("displayName"));
        let manager = tenant.manager(user.id()).map(|manager| manager.id.to_string());
        assert_eq!(here.pointer("/manager/id").and_then(Value::as_str).map(str::to_owned), manager);
    }
}

#[tokio::test]
async fn a_whole_extract_asks_no_more_than_it_must() {
    let world = World { memberships: Memberships::PerGroup, ..World::new(all_rights()).await };
    let extracted = world.extract().await.unwrap();
    let counters = world.sim.counters();
    // 3 pages of users, one each of groups, devices and SKUs, one per group: none has more than 999 members. And the
    // counts of users, groups and devices.
    assert_eq!(counters.graph, 6 + GROUPS as u64 + 3);
    assert_eq!(counters.tokens, 1);
    assert_eq!(extracted.counts.units, counters.units);
    let ids: BTreeSet<_> = world.sim.requests().into_iter().map(|request| request.client_request_id).collect();
    assert_eq!(ids.len() as u64, counters.graph + counters.tokens, "every request has an id of its own");
}

#[tokio::test]
async fn faults_that_pass_change_nothing() {
    let throttle = |after| FaultKind::Throttle(after);
    let seed = fastrand::u64(..);
    let kinds = [
        throttle(RetryAfter::Seconds(3)),
        throttle(RetryAfter::Date(2)),
        throttle(RetryAfter::Text("soon".into())),
        throttle(RetryAfter::Seconds(86_400)),
        throttle(RetryAfter::Missing),
        FaultKind::Unavailable(RetryAfter::Seconds(1)),
        FaultKind::Status(500),
        FaultKind::Status(502),
        FaultKind::Status(504),
        FaultKind::Reset,
        FaultKind::Cut,
        FaultKind::Truncated,
        FaultKind::Html,
        FaultKind::Empty,
        FaultKind::Duplicate,
        FaultKind::Status(401),
    ];
    for kind in kinds {
        let times = if kind == FaultKind::Status(401) { 1 } else { u64::MAX };
        let fault = Fault::new("/v1.0", kind.clone()).probability(0.3, seed).each(1).times(times);
        let world = World::new(Options { faults: vec![fault], ..all_rights() }).await;
        let extracted = world.extract().await.unwrap();
        let gaps: Vec<_> = extracted.snapshot.members().unwrap().gaps().map(|(_, gap)| gap.to_string()).collect();
        assert!(is_whole(&extracted.snapshot), "{kind:?}, seed {seed}: {:?} {gaps:?}", extracted.snapshot.manifest());
        assert_eq!(world.differences(&extracted.snapshot), [""; 0], "{kind:?}, seed {seed}");
    }
}

#[tokio::test]
async fn faults_that_stay_make_a_partial_collection_with_its_reason() {
    let kinds = [
        FaultKind::Throttle(RetryAfter::Seconds(1)),
        FaultKind::Unavailable(RetryAfter::Missing),
        FaultKind::Status(500),
        FaultKind::Status(401),
        FaultKind::Status(403),
        FaultKind::Status(410),
        FaultKind::Status(404),
        FaultKind::Reset,
        FaultKind::Cut,
        FaultKind::Truncated,
        FaultKind::Html,
        FaultKind::Empty,
        FaultKind::Foreign("https://graph.contoso.example".into()),
    ];
    for kind in kinds {
        let fault = Fault::new("/v1.0/users", kind.clone());
        // The second page and all after it.
        let fault = Fault { path: "skiptoken".into(), ..fault };
        let world = World::new(Options { faults: vec![fault], ..all_rights() }).await;
        let extracted = world.extract().await.unwrap();
        let users = extracted.snapshot.coverage(Collection::Users);
        assert!(users.gap().is_some(), "{kind:?} went unnoticed");
        assert!(extracted.snapshot.objects(Collection::Users).len() < USERS, "{kind:?}");
        assert!(!extracted.snapshot.coverage(Collection::LicenseAssignments).is_complete());
        assert!(extracted.snapshot.coverage(Collection::Groups).is_complete(), "{kind:?}");
        assert!(extracted.snapshot.coverage(Collection::Memberships).is_complete(), "{kind:?}");
    }
}

#[tokio::test]
async fn a_link_to_another_host_is_refused_and_the_token_stays_here() {
    let other = Sim::start(Tenant::default(), Options::default()).await.unwrap();
    let fault = Fault::new("/v1.0/users", FaultKind::Foreign(other.base_url()));
    let world = World::new(Options { faults: vec![fault], ..all_rights() }).await;
    let extracted = world.extract().await.unwrap();
    let reason = extracted.snapshot.coverage(Collection::Users).gap().unwrap().to_string();
    assert!(reason.contains(&other.base_url()) && reason.contains("not to the configured Graph host"), "{reason}");
    assert_eq!(other.requests().len(), 0);
}

#[tokio::test]
async fn a_group_whose_list_fails_is_partial_and_the_others_are_whole() {
    for (status, words) in [(404, "HTTP 404"), (403, "may not read"), (500, "HTTP 500")] {
        let world = World::new(all_rights()).await;
        let group = world.sim.read_tenant().list(Kind::Group).next().unwrap().id().to_string();
        world.sim.add_fault(Fault::new(&format!("groups/{group}/members"), FaultKind::Status(status)));
        let extracted = world.extract().await.unwrap();
        let members = extracted.snapshot.members().unwrap();
        let gaps: Vec<_> = members.gaps().map(|(id, reason)| (id.to_string(), reason.to_string())).collect();
        assert_eq!(gaps.len(), 1, "{gaps:?}");
        assert!(gaps[0].0 == group && gaps[0].1.contains(words), "{gaps:?}");
        assert!(extracted.snapshot.coverage(Collection::Memberships).is_complete());
        assert_eq!(extracted.snapshot.manifest().collections[&Collection::Memberships].partial_lists, 1);
        assert_eq!(world.differences(&extracted.snapshot), [""; 0]);
    }
}

#[tokio::test]
async fn groups_that_vanish_while_they_are_read_are_counted_and_many_are_not_believed() {
    for (gone, kind) in [(1, FaultKind::Status(404)), (11, FaultKind::Status(404)), (1, FaultKind::Nowhere)] {
        let world = World { memberships: Memberships::PerGroup, ..World::new(all_rights()).await };
        let ids: Vec<String> =
            world.sim.read_tenant().list(Kind::Group).map(|group| group.id().to_string()).take(gone).collect();
        ids.iter().for_each(|id| world.sim.add_fault(Fault::new(&format!("/groups/{id}"), kind.clone())));
        let snapshot = world.extract().await.unwrap().snapshot;
        let extent = &snapshot.manifest().collections[&Collection::Memberships];
        let vanished = if kind == FaultKind::Nowhere { 0 } else { gone as u64 };
        assert_eq!((extent.vanished_lists, extent.partial_lists), (vanished, gone as u64 - vanished), "{kind:?}");
        assert_eq!(extent.coverage.is_complete(), gone == 1, "{:?}", extent.coverage);
        let members = snapshot.members().unwrap();
        for id in ids {
            let id = id.parse().unwrap();
            assert!(snapshot.objects(Collection::Groups).contains(id), "the list says that it is there");
            assert!(members.gap(id).is_some() && members.of(id).unwrap().is_empty());
        }
        assert_eq!(members.missing().count() as u64, gone as u64 - vanished);
    }
}

#[tokio::test]
async fn a_list_that_never_ends_is_given_up() {
    let world = World { memberships: Memberships::PerGroup, ..World::new(all_rights()).await };
    let group = world.sim.read_tenant().list(Kind::Group).next().unwrap().id().to_string();
    let endless = [format!("groups/{group}/members"), "deletedItems".to_owned()];
    endless.iter().for_each(|path| world.sim.add_fault(Fault::new(path, FaultKind::Endless)));
    let snapshot = world.extract().await.unwrap().snapshot;
    let gap = snapshot.members().unwrap().gap(group.parse().unwrap()).unwrap().to_string();
    assert!(gap.contains("does not seem to end"), "{gap}");
    let missing = vec![(Collection::Users, Guid([7; 16]))];
    let snapshot = world.source(CLIENT_SECRET).confirm(&world.needs, &(), snapshot, missing).await.unwrap().snapshot;
    let users = snapshot.coverage(Collection::Users).gap().unwrap().to_string();
    assert!(users.contains("does not seem to end"), "{users}");
    for path in endless {
        let asked = world.sim.requests().iter().filter(|request| request.target.contains(&path)).count();
        assert!((200..=202).contains(&asked), "{asked} requests for {path}");
    }
}

#[tokio::test]
async fn members_without_a_type_are_a_gap_whichever_way_they_are_read() {
    let tenant = Tenant::synthetic(8, &Size { users: 60, groups: 30, memberships: 200, ..Size::default() });
    let untyped = [Fault::new("/v1.0/groups", FaultKind::Untyped)];
    let worlds = in_every_way(&tenant, &["Directory.Read.All", "Member.Read.Hidden"], &untyped, "untyped").await;
    let snapshot = Snapshot::open(&worlds[0].root.path().join("snap")).unwrap();
    let members = snapshot.members().unwrap();
    let gaps: BTreeMap<String, String> =
        members.gaps().map(|(group, gap)| (group.to_string(), gap.to_string())).collect();
    let filled = tenant.list(Kind::Group).filter(|group| !tenant.members(group.id()).is_empty());
    let expected: BTreeMap<String, String> = filled
        .map(|group| {
            let count = tenant.members(group.id()).len();
            (group.id().to_string(), format!("{count} of its members came without a type"))
        })
        .collect();
    assert!(expected.len() > 10);
    assert_eq!(gaps, expected);
}

#[tokio::test]
async fn hidden_memberships_are_not_asked_for_without_their_right() {
    let world = World::new(Options::default()).await;
    let extracted = world.extract().await.unwrap();
    let members = extracted.snapshot.members().unwrap();
    let is_hidden = |id: &Guid| {
        world.sim.read_tenant().get(Kind::Group, &id.to_string()).unwrap().get("visibility") == "HiddenMembership"
    };
    let hidden: Vec<Guid> = members.groups().iter().copied().filter(is_hidden).collect();
    assert!(!hidden.is_empty());
    assert_eq!(members.gaps().map(|(id, _)| id).collect::<Vec<_>>(), hidden);
    assert!(members.gap(hidden[0]).unwrap().to_string().contains("Member.Read.Hidden"));
    let asked = format!("groups/{}/members", hidden[0]);
    assert!(!world.sim.requests().iter().any(|request| request.target.contains(&asked)));
}

#[tokio::test]
async fn a_missing_right_makes_its_collection_partial_and_names_it() {
    let roles = ["User.Read.All", "GroupMember.Read.All"].map(str::to_owned).to_vec();
    let world = World::new(Options { roles, ..Options::default() }).await;
    let snapshot = world.extract().await.unwrap().snapshot;
    assert!(snapshot.coverage(Collection::Users).is_complete());
    let reason = |collection| snapshot.coverage(collection).gap().unwrap().to_string();
    assert!(reason(Collection::Devices).contains("Device.Read.All"));
    assert!(reason(Collection::Licenses).contains("LicenseAssignment.Read.All"));
}

#[tokio::test]
async fn what_basic_rights_do_not_show_is_not_read_as_null() {
    let roles = ["User.ReadBasic.All", "GroupMember.Read.All"].map(str::to_owned).to_vec();
    let world = World::new(Options { roles, ..Options::default() }).await;
    let snapshot = world.extract().await.unwrap().snapshot;
    let unreadable: Vec<_> = snapshot.unreadable(Collection::Users).keys().map(String::as_str).collect();
    assert_eq!(unreadable, ["accountEnabled", "licenseAssignmentStates", "manager"]);
    let id = snapshot.objects(Collection::Users).ids().next().unwrap();
    assert!(object(&snapshot, Collection::Users, id).get("accountEnabled").is_none());
    assert!(!snapshot.coverage(Collection::LicenseAssignments).is_complete());
}

#[tokio::test]
async fn a_property_that_graph_refuses_does_not_cost_the_collection() {
    let roles = ["Directory.Read.All", "AuditLog.Read.All"].map(str::to_owned).to_vec();
    let mut world = World::new(Options { roles, premium: false, ..Options::default() }).await;
    world.needs.properties.insert(Collection::SignInActivity, ["signInActivity".to_owned()].into());
    world.needs.properties.get_mut(&Collection::Users).unwrap().insert("employeeLeaveDateTime".into());
    let snapshot = world.extract().await.unwrap().snapshot;
    assert!(snapshot.coverage(Collection::Users).is_complete(), "{:?}", snapshot.manifest());
    assert_eq!(snapshot.objects(Collection::Users).len(), USERS);
    let unreadable = snapshot.unreadable(Collection::Users);
    let sign_ins = snapshot.coverage(Collection::SignInActivity).gap().unwrap().to_string();
    assert!(sign_ins.contains("NonPremiumTenant") && sign_ins.contains("Entra ID P1"), "{sign_ins}");
    assert!(!sign_ins.contains("AuditLog.Read.All"), "that permission is there: {sign_ins}");
    assert!(unreadable["employeeLeaveDateTime"].to_string().contains("User-LifeCycleInfo.Read.All"));
}

#[tokio::test]
async fn sign_in_failures_say_what_a_person_can_do() {
    let world = World::new(Options { expired_secret: Some("old".into()), ..all_rights() }).await;
    let out = world.root.path().join("snap");
    let fail = async |secret| world.source(secret).extract(&world.needs, &(), &out).await.unwrap_err();
    let error = fail("0f0f0f0f-0000-4000-8000-000000000000").await;
    assert_eq!(error.exit, Exit::SignIn);
    let text = error.to_string();
    assert!(text.contains("Secret ID") && text.contains("\"Value\"") && text.contains("AADSTS7000215"), "{text}");
    assert!(!text.contains("0f0f0f0f-0000"), "the secret shows: {text}");
    assert!(fail("old").await.to_string().contains("expired"));
    assert!(!out.exists());
}

#[tokio::test]
async fn a_token_without_roles_ends_the_run_with_what_to_do() {
    let world = World::new(Options { roles: Vec::new(), ..Options::default() }).await;
    let error = world.extract().await.unwrap_err();
    assert_eq!(error.exit, Exit::SignIn);
    assert!(error.to_string().contains("grant admin consent"), "{error}");
    assert_eq!(world.sim.counters().graph, 0);
}

#[tokio::test]
async fn nothing_readable_and_nothing_reachable_are_told_apart() {
    let world = World::new(Options { roles: vec!["Mail.Read".into()], ..Options::default() }).await;
    let error = world.extract().await.unwrap_err();
    assert_eq!(error.exit, Exit::SignIn);
    assert!(error.to_string().contains("User.Read.All"), "{error}");
    let faults = vec![Fault::new("/v1.0", FaultKind::Reset)];
    let world = World::new(Options { faults, ..all_rights() }).await;
    assert_eq!(world.extract().await.unwrap_err().exit, Exit::Unreachable);
}

#[tokio::test]
async fn a_token_that_ends_early_is_renewed_but_not_per_request() {
    let world = World::new(Options { expires_in: 60, ..all_rights() }).await;
    assert!(is_whole(&world.extract().await.unwrap().snapshot));
    assert!(world.sim.counters().tokens < 30, "{:?}", world.sim.counters());
}

#[tokio::test]
async fn no_secret_and_no_token_reach_the_snapshot() {
    let world = World::new(all_rights()).await;
    let snapshot = world.extract().await.unwrap().snapshot;
    for entry in std::fs::read_dir(snapshot.dir()).unwrap() {
        let text = std::fs::read_to_string(entry.unwrap().path()).unwrap();
        assert!(!text.contains(CLIENT_SECRET) && !text.contains("eyJ"));
    }
}

/// Users, groups and devices that a ledger knows: one deleted, one purged, one there all the time.
async fn confirmed(roles: &[&str], faults: Vec<Fault>) {
    let roles = roles.iter().map(|&role| role.to_owned()).collect();
    let world = World::new(Options { roles, faults, ..Options::default() }).await;
    let id = |text: &str| text.parse::<Guid>().unwrap();
    let (mut missing, mut soft, mut hard) = (Vec::new(), Vec::new(), Vec::new());
    {
        let mut tenant = world.sim.tenant();
        for (collection, kind) in PAIRS {
            let ids: Vec<_> = tenant.list(kind).map(|object| object.id().clone()).take(2).collect();
            tenant.remove(kind, &ids[0], Deletion::Soft);
            tenant.remove(kind, &ids[1], Deletion::Hard);
            soft.push(id(&ids[0]));
            hard.push(id(&ids[1]));
            missing.extend(ids.iter().map(|text| (collection, id(text))));
        }
    }
    let extracted = world.extract().await.unwrap();
    let late = {
        let mut tenant = world.sim.tenant();
        let boss = tenant.list(Kind::User).next().unwrap().id().clone();
        let late = serde_json::json!({"id": Guid([9; 16]), "displayName": "Late", "accountEnabled": true});
        let late = tenant.put(Kind::User, late);
        tenant.set_manager(&late, Some(graph_sim::Member::new(Kind::User, boss)));
        id(&late)
    };
    missing.push((Collection::Users, late));
    let source = world.source(CLIENT_SECRET);
    let snapshot = source.confirm(&world.needs, &(), extracted.snapshot, missing).await.unwrap().snapshot;
    for (((collection, _), hard), soft) in PAIRS.into_iter().zip(hard).zip(&soft) {
        assert!(snapshot.absent(collection, hard) && !snapshot.deleted(hard), "{hard}");
        assert!(snapshot.deleted(*soft) != snapshot.absent(collection, *soft), "{soft}");
        let others = PAIRS.into_iter().filter(|(other, _)| *other != collection);
        others.for_each(|(other, _)| assert!(!snapshot.absent(other, hard), "{hard} was not looked for in {other}"));
    }
    assert!(snapshot.deleted(soft[0]), "deleted users can be listed with either set of rights");
    let user = object(&snapshot, Collection::Users, late);
    assert_eq!(user["displayName"], "Late");
    assert!(user.pointer("/manager/id").is_some(), "{user}");
    assert_eq!(world.differences(&snapshot), [""; 0]);
}

#[tokio::test]
async fn what_a_read_did_not_return_is_looked_up_by_id() {
    confirmed(&["Directory.Read.All", "Member.Read.Hidden"], Vec::new()).await;
}

#[tokio::test]
async fn lookups_by_id_work_with_the_recommended_rights_too() {
    let roles = ["User.Read.All", "GroupMember.Read.All", "Device.Read.All", "LicenseAssignment.Read.All"];
    confirmed(&roles, Vec::new()).await;
}

#[tokio::test]
async fn where_ids_cannot_be_asked_for_together_they_are_asked_for_one_by_one() {
    for kind in [FaultKind::Nowhere, FaultKind::Status(405), FaultKind::Status(501)] {
        confirmed(&["Directory.Read.All", "Member.Read.Hidden"], vec![Fault::new("getByIds", kind)]).await;
    }
}

#[tokio::test]
async fn a_lookup_that_fails_leaves_the_object_unknown() {
    let world = World::new(all_rights()).await;
    let snapshot = world.extract().await.unwrap().snapshot;
    world.sim.add_fault(Fault::new("getByIds", FaultKind::Status(500)));
    let id = Guid([7; 16]);
    let source = world.source(CLIENT_SECRET);
    let snapshot = source.confirm(&world.needs, &(), snapshot, vec![(Collection::Users, id)]).await.unwrap().snapshot;
    assert!(
        !snapshot.deleted(id)
            && !snapshot.absent(Collection::Users, id)
            && !snapshot.objects(Collection::Users).contains(id)
    );
}

/// The members of every group, with the gap of each that has one.
fn memberships(snapshot: &Snapshot) -> BTreeMap<Guid, (Vec<entra_import::snapshot::Member>, Option<String>)> {
    let members = snapshot.members().unwrap();
    let gap = |group| members.gap(group).map(ToString::to_string);
    members.iter().map(|(group, list)| (group, (list.to_vec(), gap(group)))).collect()
}

/// The group as it was read, without what says how.
fn group_of(snapshot: &Snapshot, id: Guid) -> Value {
    let mut group = object(snapshot, Collection::Groups, id);
    group.as_object_mut().unwrap().retain(|name, _| !name.starts_with('@'));
    group
}

fn strategy(snapshot: &Snapshot) -> Strategy {
    snapshot.manifest().collections[&Collection::Memberships].read_by.as_ref().unwrap().strategy
}

/// Reads `tenant` in every way; what was asked for the members, by way, and what came.
async fn in_every_way(tenant: &Tenant, roles: &[&str], faults: &[Fault], context: &str) -> Vec<World> {
    let mut worlds = Vec::new();
    let mut first = None;
    for way in [Memberships::PerGroup, Memberships::Expand, Memberships::Auto, Memberships::Delta] {
        let roles = roles.iter().map(|&role| role.to_owned()).collect();
        let options = Options { roles, faults: faults.to_vec(), ..Options::default() };
        let world = World { memberships: way, ..World::of(tenant.clone(), options).await };
        let snapshot = world.extract().await.unwrap().snapshot;
        let groups: BTreeMap<Guid, Value> =
            snapshot.objects(Collection::Groups).ids().map(|id| (id, group_of(&snapshot, id))).collect();
        let here = (memberships(&snapshot), snapshot.coverage(Collection::Memberships), groups);
        assert_eq!(here.0.len(), tenant.count(Kind::Group), "{way:?}, {context}");
        let by = strategy(&snapshot);
        assert_eq!(by == Strategy::Delta, way == Memberships::Delta && faults.is_empty(), "{by:?} {way:?}, {context}");
        match &first {
            None => first = Some(here),
            Some(there) => assert!(here == *there, "{way:?} brings something else, {context}"),
        }
        worlds.push(world);
    }
    worlds
}

#[tokio::test]
async fn members_are_the_same_whichever_way_they_are_read() {
    let everything = ["Directory.Read.All", "Member.Read.Hidden"];
    let recommended = ["User.Read.All", "GroupMember.Read.All"];
    for round in 0..4 {
        let seed = fastrand::u64(..);
        let mut random = fastrand::Rng::with_seed(seed);
        // The last is large enough to be divided by name.
        let groups = if round == 3 { 500 } else { random.usize(1..130) };
        let size =
            Size { users: random.usize(20..120), groups, memberships: groups * 9, deleted: 0, ..Size::default() };
        let mut tenant = Tenant::synthetic(seed, &size);
        if round % 2 == 1 {
            tenant.tell_badly(seed);
        }
        for roles in [&everything[..], &everything[..1], &recommended] {
            in_every_way(&tenant, roles, &[], &format!("seed {seed}, {size:?}, {roles:?}")).await;
        }
    }
}

#[tokio::test]
async fn an_expansion_costs_what_the_formula_says() {
    let world = World { memberships: Memberships::Expand, ..World::new(all_rights()).await };
    let extracted = world.extract().await.unwrap();
    assert!(is_whole(&extracted.snapshot));
    let tenant = world.sim.read_tenant();
    let full = tenant.list(Kind::Group).filter(|group| tenant.members(group.id()).len() >= 20).count() as u64;
    // 3 pages of users, one each of groups, devices, SKUs and expanded groups, 3 counts, and the lists of those that show
    // 20.
    assert_eq!(world.sim.counters().graph, 10 + full);
    let read_by = extracted.snapshot.manifest().collections[&Collection::Memberships].read_by.clone().unwrap();
    assert_eq!((read_by.cost.requests, read_by.cost.units), (1 + full, 1 + 2 * full));
    assert_eq!(read_by.estimate.requests, 1 + full, "{read_by:?}");
}

/// The quota goes by the number of users, also where none of them is read.
#[tokio::test]
async fn users_are_counted_where_many_groups_are_listed() {
    for (groups, counts) in [(500, 0), (501, 1)] {
        let size = Size { users: 600, groups, memberships: 600, ..Size::default() };
        let world = World::of(Tenant::synthetic(5, &size), all_rights()).await;
        let properties = BTreeMap::from([(Collection::Groups, world.needs.properties[&Collection::Groups].clone())]);
        let needs = SourceNeeds { properties, memberships: true, ..SourceNeeds::default() };
        let world = World { needs, ..world };
        world.extract().await.unwrap();
        let asked = world.sim.requests();
        let counted = asked.iter().filter(|request| request.target.starts_with("/v1.0/users?$count=true")).count();
        assert_eq!(counted, counts, "{groups}: {asked:#?}");
    }
}

#[tokio::test]
async fn a_delta_query_costs_one_unit_a_page() {
    let tenant = Tenant::synthetic(5, &Size { users: 60, groups: 500, memberships: 3_000, ..Size::default() });
    let world = World { memberships: Memberships::Delta, ..World::of(tenant, all_rights()).await };
    let snapshot = world.extract().await.unwrap().snapshot;
    assert!(is_whole(&snapshot));
    assert_eq!(world.differences(&snapshot), [""; 0]);
    let asked: Vec<String> = world.sim.requests().into_iter().map(|request| request.target).collect();
    let pages = asked.iter().filter(|target| target.contains("/groups/delta?")).count() as u64;
    assert!(pages >= 3 && !asked.iter().any(|target| target.contains("/members")), "{asked:#?}");
    let by = snapshot.manifest().collections[&Collection::Memberships].read_by.clone().unwrap();
    assert_eq!((by.strategy, by.cost.requests, by.cost.units), (Strategy::Delta, pages, pages), "{by:?}");
    assert!(by.estimate.requests.abs_diff(pages) <= pages, "{by:?}");
    assert!(!snapshot.dir().join("delta.json").exists(), "a job without `delta` keeps no link");
}

#[tokio::test]
async fn whatever_becomes_of_a_delta_query_the_members_are_whole() {
    let seed = fastrand::u64(..);
    let tenant = Tenant::synthetic(seed, &Size { users: 60, groups: 250, memberships: 1_500, ..Size::default() });
    let kinds = [
        FaultKind::Status(403),
        FaultKind::Status(410),
        FaultKind::Status(500),
        FaultKind::Reset,
        FaultKind::Truncated,
        FaultKind::Html,
        FaultKind::Foreign("https://graph.contoso.example".into()),
    ];
    let both = kinds.iter().flat_map(|kind| [("groups/delta?$select", kind), ("groups/delta?$skip", kind)]);
    // One empty page is nothing; a chain that has no others does not end.
    for (path, kind) in both.chain([("groups/delta?$skip", &FaultKind::Empty)]) {
        let options = Options { faults: vec![Fault::new(path, kind.clone())], ..all_rights() };
        let world = World { memberships: Memberships::Delta, ..World::of(tenant.clone(), options).await };
        let snapshot = world.extract().await.unwrap().snapshot;
        assert!(is_whole(&snapshot), "{kind:?} at {path}, seed {seed}: {:?}", snapshot.manifest());
        assert_eq!(world.differences(&snapshot), [""; 0], "{kind:?} at {path}, seed {seed}");
        let by = snapshot.manifest().collections[&Collection::Memberships].read_by.clone().unwrap();
        assert!(by.strategy != Strategy::Delta && by.reason.starts_with("not by delta: "), "{kind:?} {path} {by:?}");
    }
}

#[tokio::test]
async fn many_groups_are_divided_by_name() {
    let tenant = Tenant::synthetic(5, &Size { users: 60, groups: 1_200, memberships: 5_000, ..Size::default() });
    let world = World { memberships: Memberships::Expand, ..World::of(tenant, all_rights()).await };
    let snapshot = world.extract().await.unwrap().snapshot;
    assert!(is_whole(&snapshot));
    assert_eq!(world.differences(&snapshot), [""; 0]);
    let requests = world.sim.requests();
    assert!(requests.iter().any(|request| request.target.contains("displayName%20ge%20")), "it was not divided");
    let pages = requests.iter().filter(|request| request.target.contains("$expand=members")).count();
    assert!(pages < 12 + 12 + 32, "{pages} pages of 100 groups for 1,200");
}

#[tokio::test]
async fn groups_are_divided_before_all_are_listed_where_the_first_of_them_tell_enough() {
    let tenant = Tenant::synthetic(6, &Size { users: 60, groups: 2_100, memberships: 5_000, ..Size::default() });
    // The second of three pages of the plain list is late: by then the expansion has shown 300 groups.
    let plain = "/groups?$select=displayName,id,visibility&$top=999&$skiptoken";
    let late = Fault::new(plain, FaultKind::Slow(std::time::Duration::from_secs(1)));
    let options = Options { faults: vec![late], ..all_rights() };
    let world = World { memberships: Memberships::Expand, ..World::of(tenant, options).await };
    let snapshot = world.extract().await.unwrap().snapshot;
    assert!(is_whole(&snapshot));
    assert_eq!(world.differences(&snapshot), [""; 0]);
    let targets: Vec<String> = world.sim.requests().into_iter().map(|request| request.target).collect();
    let part = targets.iter().position(|target| target.contains("$filter=displayName"));
    let last = targets.iter().rposition(|target| target.contains(plain));
    assert!(part.is_some() && part < last, "divided by request {part:?}, listed by {last:?}");
    let pages = targets.iter().filter(|target| target.contains("$expand=members")).count();
    assert!(pages < 21 + 32, "{pages} pages of 100 groups for 2,100");
}

#[tokio::test]
async fn whatever_becomes_of_an_expansion_the_members_are_whole() {
    let seed = fastrand::u64(..);
    // Two pages; and as many as it takes to be divided.
    let tenants = [150, 450].map(|groups| Size { users: 60, groups, memberships: groups * 6, ..Size::default() });
    let [small, large] = tenants.map(|size| Tenant::synthetic(seed, &size));
    let kinds = [
        FaultKind::Status(403),
        FaultKind::Status(404),
        FaultKind::Status(410),
        FaultKind::Status(500),
        FaultKind::Reset,
        FaultKind::Truncated,
        FaultKind::Html,
        FaultKind::Empty,
        FaultKind::Duplicate,
        FaultKind::Foreign("https://graph.contoso.example".into()),
    ];
    let from_the_start = kinds.iter().map(|kind| (&small, "$expand=members", kind));
    let later = kinds.iter().map(|kind| (&small, "$expand=members($select=id)&$top=999&$skiptoken", kind));
    let divided = kinds[..2].iter().map(|kind| (&large, "$filter=displayName", kind));
    for (tenant, path, kind) in from_the_start.chain(later).chain(divided) {
        let options = Options { faults: vec![Fault::new(path, kind.clone())], ..all_rights() };
        let world = World { memberships: Memberships::Expand, ..World::of(tenant.clone(), options).await };
        let snapshot = world.extract().await.unwrap().snapshot;
        assert!(is_whole(&snapshot), "{kind:?} at {path}, seed {seed}: {:?}", snapshot.manifest());
        assert_eq!(world.differences(&snapshot), [""; 0], "{kind:?} at {path}, seed {seed}");
    }
}

#[tokio::test]
async fn a_thousand_users_in_the_same_thousand_groups_come_whole() {
    const MANY: usize = 1_000;
    let id = |kind: usize, number: usize| format!("{kind:08x}-0000-4000-8000-{number:012x}");
    let mut tenant = Tenant::default();
    for number in 0..MANY {
        tenant.put(Kind::User, serde_json::json!({"id": id(1, number), "displayName": format!("User {number}")}));
        tenant.put(Kind::Group, serde_json::json!({"id": id(2, number), "displayName": format!("Group {number}")}));
    }
    for number in 0..MANY {
        let mut members: Vec<_> = (0..MANY).map(|user| graph_sim::Member::new(Kind::User, id(1, user))).collect();
        // Each holds the next, the last the first, and every tenth itself.
        members.push(graph_sim::Member::new(Kind::Group, id(2, (number + 1) % MANY)));
        if number % 10 == 0 {
            members.push(graph_sim::Member::new(Kind::Group, id(2, number)));
        }
        tenant.set_members(&id(2, number).into(), members);
    }
    let world = World::of(tenant, all_rights()).await;
    let snapshot = world.extract().await.unwrap().snapshot;
    assert!(is_whole(&snapshot));
    let members = snapshot.members().unwrap();
    let users =
        |list: &[entra_import::snapshot::Member]| list.iter().filter(|member| member.kind == MemberKind::User).count();
    assert!(members.iter().all(|(_, list)| users(list) == MANY));
    assert_eq!(members.len(), MANY * MANY + MANY + MANY / 10);
}
