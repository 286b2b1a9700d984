//! What is read beside users, groups, members and devices: against the simulator, with what the tenant really holds.

use std::collections::BTreeSet;
use std::time::Duration;

use entra_import::clock::Clock;
use entra_import::http::{Http, HttpSettings};
use entra_import::record::{Collection, Key};
use entra_import::snapshot::Snapshot;
use entra_import::source::{Credential, Source, SourceConfig, SourceNeeds, is_because_hidden};
use graph_sim::{CLIENT_ID, CLIENT_SECRET, Fault, FaultKind, Kind, Member, Options, Sim, Size, Tenant};
use serde_json::json;

use Collection::{
    AdministrativeUnitMembers, AdministrativeUnits, DeletedGroups, DeletedUsers, DeviceOwners, DeviceUsers,
    DirectoryRoleMembers, DirectoryRoles, GroupOwners, Organization, SignInActivity, Users,
};

fn roles(more: &[&str]) -> Vec<String> {
    ["Directory.Read.All"].iter().chain(more).map(|role| (*role).to_owned()).collect()
}

fn needs(objects: &[(Collection, &str)], links: &[Collection]) -> SourceNeeds {
    let properties = objects.iter().map(|(collection, name)| (*collection, [(*name).to_owned()].into()));
    SourceNeeds { properties: properties.collect(), links: links.iter().copied().collect(), ..SourceNeeds::default() }
}

/// A tenant in which one group has 25 owners, more than `$expand` shows.
fn tenant() -> Tenant {
    let mut tenant = Tenant::synthetic(11, &Size { users: 60, groups: 12, ..Size::default() });
    let group = tenant.list(Kind::Group).next().unwrap().id().to_string();
    let users: Vec<String> = tenant.list(Kind::User).take(25).map(|user| user.id().to_string()).collect();
    for user in users {
        tenant.add_owner(Kind::Group, &group, Member::new(Kind::User, user));
    }
    tenant
}

async fn extract(sim: &Sim, needs: &SourceNeeds) -> (Snapshot, tempfile::TempDir) {
    let base: url::Url = sim.base_url().parse().unwrap();
    let id = sim.read_tenant().id().to_owned();
    let mut config = SourceConfig::new(id, CLIENT_ID, Credential::Secret(CLIENT_SECRET.to_owned().into()));
    config.authority = base.clone();
    config.graph = base;
    let settings = HttpSettings { read_timeout: Duration::from_secs(5), ..HttpSettings::default() };
    let source = Source::new(config, &Http::new(Clock::scaled(20_000), settings)).unwrap();
    let root = tempfile::tempdir().unwrap();
    let snapshot = source.extract(needs, &(), &root.path().join("snap")).await.unwrap().snapshot;
    (snapshot, root)
}

/// Who is joined to each object, as the snapshot has it.
fn lists(snapshot: &Snapshot, collection: Collection) -> BTreeSet<(String, String)> {
    let lists = snapshot.lists(collection).unwrap();
    assert_eq!(lists.gaps().count(), 0, "{collection}");
    lists.iter().flat_map(|(of, list)| list.iter().map(move |end| (of.to_string(), end.id.to_string()))).collect()
}

#[tokio::test]
async fn owners_users_units_and_roles_are_those_of_the_tenant() {
    let sim =
        Sim::start(tenant(), Options { roles: roles(&["Member.Read.Hidden"]), ..Options::default() }).await.unwrap();
    let links = [GroupOwners, DeviceOwners, DeviceUsers, AdministrativeUnitMembers, DirectoryRoleMembers];
    let objects =
        [(AdministrativeUnits, "displayName"), (DirectoryRoles, "displayName"), (Organization, "displayName")];
    let (snapshot, _root) = extract(&sim, &needs(&objects, &links)).await;
    let tenant = sim.read_tenant();
    let there = |kind: Kind, ends: &dyn Fn(&str) -> Vec<Member>| -> BTreeSet<(String, String)> {
        let of = |id: &str| ends(id).into_iter().map(|end| (id.to_owned(), end.id.to_string())).collect::<Vec<_>>();
        tenant.list(kind).flat_map(|object| of(object.id())).collect()
    };
    let check = |collection: Collection, expected: BTreeSet<(String, String)>| {
        assert!(!expected.is_empty(), "{collection}: the tenant has none");
        assert_eq!(lists(&snapshot, collection), expected, "{collection}");
        assert!(snapshot.coverage(collection).is_complete(), "{collection}");
    };
    check(GroupOwners, there(Kind::Group, &|id| tenant.owners(id).to_vec()));
    check(DeviceOwners, there(Kind::Device, &|id| tenant.owners(id).to_vec()));
    check(DeviceUsers, there(Kind::Device, &|id| tenant.registered_users(id).to_vec()));
    check(AdministrativeUnitMembers, there(Kind::AdministrativeUnit, &|id| tenant.members(id).to_vec()));
    check(DirectoryRoleMembers, there(Kind::DirectoryRole, &|id| tenant.members(id).to_vec()));
    for (collection, kind) in [(AdministrativeUnits, Kind::AdministrativeUnit), (DirectoryRoles, Kind::DirectoryRole)] {
        assert_eq!(snapshot.objects(collection).len(), tenant.count(kind), "{collection}");
    }
    assert_eq!(snapshot.objects(Organization).len(), 1);
    let owners = &snapshot.manifest().collections[&GroupOwners];
    assert_eq!(owners.requests, 2, "one page of groups with their owners, and the list that $expand cut");
}

#[tokio::test]
async fn without_the_right_a_list_of_lists_is_partial_and_says_which() {
    let options = Options { roles: vec!["User.Read.All".to_owned()], ..Options::default() };
    let sim = Sim::start(tenant(), options).await.unwrap();
    let (snapshot, _root) = extract(&sim, &needs(&[(Users, "mail")], &[GroupOwners, DirectoryRoleMembers])).await;
    assert!(snapshot.coverage(Users).is_complete());
    let reason = |collection| snapshot.coverage(collection).gap().unwrap().to_string();
    assert!(reason(GroupOwners).contains("GroupMember.Read.All"), "{}", reason(GroupOwners));
    assert!(reason(DirectoryRoleMembers).contains("RoleManagement.Read.Directory"));
}

#[tokio::test]
async fn a_refusal_where_the_right_is_there_costs_one_list_and_says_so() {
    let refused = |kind: Kind, path: &str| {
        let id = tenant().list(kind).next().unwrap().id().to_string();
        Fault::new(&format!("{path}/{id}/members"), FaultKind::Status(403))
    };
    let faults =
        vec![refused(Kind::DirectoryRole, "directoryRoles"), refused(Kind::AdministrativeUnit, "administrativeUnits")];
    let sim = Sim::start(tenant(), Options { faults, roles: roles(&["Member.Read.Hidden"]), ..Options::default() });
    let (snapshot, _root) =
        extract(&sim.await.unwrap(), &needs(&[], &[AdministrativeUnitMembers, DirectoryRoleMembers])).await;
    for collection in [AdministrativeUnitMembers, DirectoryRoleMembers] {
        assert!(snapshot.coverage(collection).is_complete(), "{collection}: {:?}", snapshot.coverage(collection));
        let lists = snapshot.lists(collection).unwrap();
        let gaps: Vec<String> = lists.gaps().map(|(_, gap)| gap.to_string()).collect();
        assert!(lists.groups().len() > 1 && gaps.len() == 1, "{collection}: {gaps:?}");
        assert!(gaps[0].contains("Directory.Read.All, which the app has"), "{gaps:?}");
        assert!(!gaps[0].contains("it needs"), "{gaps:?}");
    }
}

#[tokio::test]
async fn what_an_owner_is_must_be_said_and_lists_of_owners_must_end() {
    let group = tenant().list(Kind::Group).next().unwrap().id().to_string();
    let many = format!("groups/{group}/owners");
    let device_owners = "$expand=registeredOwners".to_owned();
    let run = async |path: &str, kind: FaultKind| {
        let faults = vec![Fault::new(path, kind)];
        let sim = Sim::start(tenant(), Options { faults, roles: roles(&[]), ..Options::default() }).await.unwrap();
        let (snapshot, root) = extract(&sim, &needs(&[], &[GroupOwners, DeviceOwners])).await;
        let asked = sim.requests().iter().filter(|request| request.target.contains(path)).count();
        (snapshot, root, asked)
    };
    let gap = |snapshot: &Snapshot| {
        let lists = snapshot.lists(GroupOwners).unwrap();
        lists.gap(group.parse().unwrap()).map(ToString::to_string).unwrap_or_default()
    };
    let (snapshot, _root, asked) = run(&many, FaultKind::Endless).await;
    assert!(gap(&snapshot).contains("does not seem to end") && asked <= 202, "{} {asked}", gap(&snapshot));
    // What an expansion does not bring to an end is listed.
    let (snapshot, _root, asked) = run(&device_owners, FaultKind::Endless).await;
    assert!(asked <= 202, "{asked}");
    assert!(snapshot.coverage(DeviceOwners).is_complete() && !lists(&snapshot, DeviceOwners).is_empty());
    let (snapshot, _root, _) = run("owners", FaultKind::Untyped).await;
    assert!(gap(&snapshot).ends_with("of its members came without a type"), "{}", gap(&snapshot));
}

#[tokio::test]
async fn a_unit_that_hides_its_members_is_not_taken_for_an_empty_one() {
    let sim = Sim::start(tenant(), Options::default()).await.unwrap();
    let (snapshot, _root) = extract(&sim, &needs(&[], &[AdministrativeUnitMembers])).await;
    let lists = snapshot.lists(AdministrativeUnitMembers).unwrap();
    let gaps: Vec<_> = lists.gaps().map(|(_, gap)| gap).collect();
    assert!(!gaps.is_empty() && gaps.iter().all(|gap| gap.0.contains("Member.Read.Hidden")), "{gaps:?}");
    assert!(gaps.into_iter().all(is_because_hidden), "what a job may accept");
}

#[tokio::test]
async fn deleted_users_and_groups_are_collections() {
    let mut tenant = tenant();
    let user = tenant.list(Kind::User).next().unwrap().id().to_string();
    tenant.remove(Kind::User, &user, graph_sim::Deletion::Soft);
    let deleted = tenant.deleted_after(Kind::User, None).count();
    let groups = tenant.deleted_after(Kind::Group, None).count();
    let sim = Sim::start(tenant, Options::default()).await.unwrap();
    let wanted = needs(&[(DeletedUsers, "deletedDateTime"), (DeletedGroups, "displayName")], &[]);
    let (snapshot, _root) = extract(&sim, &wanted).await;
    assert!(snapshot.objects(DeletedUsers).contains(user.parse().unwrap()));
    assert_eq!(snapshot.objects(DeletedUsers).len(), deleted);
    assert_eq!(snapshot.objects(DeletedGroups).len(), groups);
}

#[tokio::test]
async fn sign_in_activity_is_a_pass_of_its_own() {
    let sim =
        Sim::start(tenant(), Options { roles: roles(&["AuditLog.Read.All"]), ..Options::default() }).await.unwrap();
    let wanted = needs(&[(Users, "mail"), (SignInActivity, "signInActivity")], &[]);
    let (snapshot, _root) = extract(&sim, &wanted).await;
    assert!(snapshot.coverage(SignInActivity).is_complete());
    assert_eq!(snapshot.objects(SignInActivity).len(), snapshot.objects(Users).len());
    assert!(!snapshot.properties(Users).contains("signInActivity"));
    let paths: Vec<String> = sim.requests().into_iter().map(|entry| entry.target).collect();
    assert!(paths.iter().any(|path| path.contains("signInActivity") && path.contains("top=500")), "{paths:?}");
}

#[tokio::test]
async fn what_is_known_of_sign_ins_says_nothing_of_the_users() {
    let sim = Sim::start(tenant(), Options::default()).await.unwrap();
    let wanted = needs(&[(Users, "mail"), (SignInActivity, "signInActivity")], &[]);
    let (snapshot, _root) = extract(&sim, &wanted).await;
    assert!(snapshot.coverage(Users).is_complete());
    let reason = snapshot.coverage(SignInActivity).gap().unwrap().to_string();
    assert!(reason.contains("AuditLog.Read.All"), "{reason}");
}

#[tokio::test]
async fn what_came_is_held_against_the_count() {
    let sim = Sim::start(tenant(), Options::default()).await.unwrap();
    let (snapshot, _root) = extract(&sim, &needs(&[(Users, "mail")], &[])).await;
    let users = &snapshot.manifest().collections[&Users];
    assert_eq!((users.expected, users.count), (Some(60), 60));
    let counted = sim.requests().into_iter().filter(|entry| entry.target.contains("$count")).count();
    assert_eq!(counted, 1, "one request a collection");
}

#[tokio::test]
async fn any_list_of_graph_can_be_read_by_its_description() {
    let mut tenant = tenant();
    tenant.put_booking(json!({ "id": "lunch@contoso.com", "displayName": "Contoso Lunch Delivery" }));
    let sim = Sim::start(tenant, Options { roles: roles(&["Bookings.Read.All"]), ..Options::default() }).await.unwrap();
    let (mapping, catalog) = entra_import::mapping::test_file("csv/booking_businesses@1", false).unwrap();
    let wanted = SourceNeeds::of(&catalog);
    let (snapshot, _root) = extract(&sim, &wanted).await;
    let bookings = snapshot.custom(mapping.source);
    assert!(snapshot.coverage(mapping.source).is_complete());
    assert_eq!(bookings.len(), sim.read_tenant().bookings().len());
    let line = bookings.line(&Key::Text("lunch@contoso.com".into())).unwrap().expect("the business");
    assert!(line.contains("Contoso Lunch Delivery"));
}

#[tokio::test]
async fn a_list_that_the_app_may_not_read_names_the_permission() {
    let sim = Sim::start(tenant(), Options::default()).await.unwrap();
    let (mapping, catalog) = entra_import::mapping::test_file("csv/managed_devices@1", false).unwrap();
    let mut wanted = SourceNeeds::of(&catalog);
    wanted.properties.insert(Users, ["mail".to_owned()].into());
    let (snapshot, _root) = extract(&sim, &wanted).await;
    let reason = snapshot.coverage(mapping.source).gap().unwrap().to_string();
    assert!(reason.contains("DeviceManagementManagedDevices.Read.All"), "{reason}");
    assert!(snapshot.coverage(Users).is_complete());
}
