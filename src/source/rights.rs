//! What a job needs the application to be allowed, and how that compares with what it is allowed.
//!
//! Hides which permission is the least for what a job really reads: basic columns of users take less than all of them.
//! The permissions themselves stand in [`super::collections`], and nowhere else. Pure: deliberately asks nobody; the
//! rights come from a token's claims. <https://learn.microsoft.com/graph/permissions-reference>

use std::collections::BTreeSet;

use super::collections::{
    APPLICATIONS, BASIC_PROPERTIES, GUARDED, HIDDEN_MEMBERS, ORGANIZATION_BASIC, ORGANIZATION_WHOLE, RESOURCES,
    Resource, Rights, USERS_WHOLE, WRITE, is_guarded,
};
use super::{Credential, SourceConfig, SourceNeeds};
use crate::custom::Custom;
use crate::error::{Error, Exit, Result};
use crate::record::Collection;

/// Properties that are named before the rest is only counted.
const NAMED_MAX: usize = 6;

/// One thing that is read, and what it takes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Need {
    /// What is read: "users", "signInActivity of users".
    pub what: String,
    /// Application permissions of which one is enough, the least first. Never empty.
    pub sufficient: &'static [&'static str],
    /// What the job wants it for, as a part of a sentence.
    pub why: String,
    /// What becomes of a run without it, as a part of a sentence.
    pub without: String,
    /// Whether a run without it is partial; false for what only makes some runs better.
    pub required: bool,
}

impl Need {
    /// The permission to ask for.
    pub fn least(&self) -> &'static str {
        self.sufficient[0]
    }
}

/// How a need stands with an application's rights.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Standing {
    Granted,
    /// Granted by a permission that allows more than the need asks for.
    Wider(&'static str),
    Missing,
}

/// What an application may do, held against what a job needs.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Review {
    /// Each need, in the order they were given.
    pub standings: Vec<(Need, Standing)>,
    /// Granted, and no need asks for it: everything goes on without it.
    pub excess: Vec<String>,
    /// Granted and of use, but a lesser permission would do.
    pub wider: Vec<String>,
}

impl Review {
    /// Whether something that a run needs is missing.
    pub fn is_lacking(&self) -> bool {
        self.standings.iter().any(|(need, standing)| need.required && *standing == Standing::Missing)
    }

    /// What `refuse_excess_rights` refuses: all that goes beyond the least, by name.
    pub fn beyond_least(&self) -> Vec<&str> {
        self.excess.iter().chain(&self.wider).map(String::as_str).collect::<BTreeSet<_>>().into_iter().collect()
    }

    /// Granted permissions that let the application change something.
    pub fn writing(&self) -> Vec<&str> {
        self.beyond_least().into_iter().filter(|right| right.contains(WRITE)).collect()
    }
}

/// What a read of these needs takes, in the order of the collections; what is optional comes last. `signs_by_secret`:
/// whether the end of a client secret is of interest, which only Entra knows; that of a certificate stands in it.
pub fn needed(needs: &SourceNeeds, signs_by_secret: bool) -> Vec<Need> {
    let mut all = Vec::new();
    // Sign-in activity counts as the guarded property of users that it is.
    let is_read =
        |resource: &&Resource| resource.collection != Collection::SignInActivity && is_read(needs, resource.collection);
    for resource in RESOURCES.into_iter().filter(is_read) {
        all.push(of_collection(needs, resource));
        if resource.collection == Collection::Users {
            all.extend(of_guarded(needs));
        }
    }
    all.extend(needs.custom.iter().filter(|custom| !custom.permission.is_empty()).map(|custom| of_custom(custom)));
    if needs.memberships {
        all.push(Need {
            what: "members of groups that hide them".into(),
            sufficient: &[HIDDEN_MEMBERS],
            why: "Graph returns no member of a group whose visibility is HiddenMembership".into(),
            without: "the members of such groups are unknown and stay as they are; a run that meets one is partial \
                      unless the job accepts it"
                .into(),
            required: false,
        });
    }
    if needs.links.contains(&Collection::AdministrativeUnitMembers) {
        all.push(Need {
            what: "members of administrative units that hide them".into(),
            sufficient: &[HIDDEN_MEMBERS],
            why: "Graph returns no member of a unit whose visibility is HiddenMembership".into(),
            without: "the members of such units are unknown and stay as they are; a run that meets one is partial"
                .into(),
            required: false,
        });
    }
    if signs_by_secret {
        all.push(Need {
            what: "the app registration".into(),
            sufficient: APPLICATIONS,
            why: "`check` warns before the client secret ends".into(),
            without: "nobody is warned: put the end date into a calendar".into(),
            required: false,
        });
    }
    all
}

/// The fewest of the least permissions that meet the needs, each once, with what each is for: one that a need takes is not
/// asked for where another, that is needed anyway, allows the same.
pub fn least(needs: &[Need]) -> Vec<(&'static str, Vec<&Need>)> {
    let mut least: Vec<&'static str> = Vec::new();
    for permission in needs.iter().map(Need::least) {
        if !least.contains(&permission) {
            least.push(permission);
        }
    }
    // What may be left out is nothing to build on.
    let firm: BTreeSet<&str> = needs.iter().filter(|need| need.required).map(Need::least).collect();
    for candidate in least.clone() {
        let met_otherwise = |need: &Need| {
            let others = need.sufficient.iter().filter(|other| **other != candidate && least.contains(other));
            others.into_iter().any(|other| !need.required || firm.contains(other))
        };
        if needs.iter().filter(|need| need.least() == candidate).all(met_otherwise) {
            least.retain(|permission| *permission != candidate);
        }
    }
    let serves = |need: &Need| need.sufficient.iter().copied().find(|permission| least.contains(permission));
    least
        .iter()
        .map(|permission| (*permission, needs.iter().filter(|need| serves(need) == Some(permission)).collect()))
        .collect()
}

/// Compares. Of several granted permissions that are enough, the least counts as the one in use.
pub fn review(needs: Vec<Need>, granted: &BTreeSet<String>) -> Review {
    let mut in_use = BTreeSet::new();
    let mut review = Review::default();
    for need in needs {
        let found = need.sufficient.iter().copied().find(|right| granted.contains(*right));
        in_use.extend(found);
        let standing = match found {
            None => Standing::Missing,
            Some(right) if right == need.least() => Standing::Granted,
            Some(right) => Standing::Wider(right),
        };
        review.standings.push((need, standing));
    }
    let least: BTreeSet<&str> = review.standings.iter().map(|(need, _)| need.least()).collect();
    for right in granted {
        match (in_use.contains(right.as_str()), least.contains(right.as_str())) {
            (true, true) => {}
            (true, false) => review.wider.push(right.clone()),
            (false, _) => review.excess.push(right.clone()),
        }
    }
    review
}

/// Refuses an application that is allowed more than the least that these needs take; also one whose rights are not
/// known, since then nothing shows that they are not in excess.
pub(super) fn refuse_excess(needs: &SourceNeeds, rights: &Rights, config: &SourceConfig) -> Result<()> {
    let refused = |why: String| {
        Error::new(Exit::SignIn, format!("application {} is not used to read", config.client_id))
            .cause("the job says `refuse_excess_rights = true`")
            .cause(why)
    };
    let Some(granted) = &rights.0 else { return Err(refused("its token cannot be read".into())) };
    // What `check` may use is no excess.
    let signs_by_secret = matches!(config.credential, Credential::Secret(_));
    let review = review(needed(needs, signs_by_secret), granted);
    let beyond = review.beyond_least();
    if beyond.is_empty() {
        return Ok(());
    }
    let mut hint =
        "revoke these application permissions; `entra-import permissions JOB` lists those that the job needs"
            .to_owned();
    if let Some(custom) = needs.custom.iter().find(|custom| custom.permission.is_empty()) {
        hint.push_str(&format!("; what {} takes, its description must name as `permission`", custom.name()));
    }
    Err(refused(format!("it is allowed more than it needs: {}", beyond.join(", "))).hint(hint))
}

fn is_read(needs: &SourceNeeds, collection: Collection) -> bool {
    needs.wants(collection)
        || needs.links.contains(&collection)
        || (collection == Collection::Memberships && needs.memberships)
}

/// A list that is described: the description says what it takes.
fn of_custom(custom: &Custom) -> Need {
    let name = custom.name();
    Need {
        what: name.into(),
        sufficient: custom.permission,
        why: format!("the list {}", custom.path),
        without: format!("no {name} are read; what the target holds of them stays as it is, and the run is partial"),
        required: true,
    }
}

fn of_collection(needs: &SourceNeeds, resource: &Resource) -> Need {
    let collection = resource.collection;
    let properties = needs.properties.get(&collection);
    let read: Vec<&str> = properties.into_iter().flatten().map(String::as_str).collect();
    let mut need = Need {
        what: collection.name().into(),
        sufficient: resource.permissions,
        why: match collection {
            Collection::Memberships => "the direct members of every group".into(),
            links if links.is_link() => "who belongs to whom".into(),
            _ if read.is_empty() => "which there are".into(),
            _ => format!("their {}", named(&read)),
        },
        without: format!("no {} are read; what the target holds of them stays as it is, and the run is partial", {
            collection.name()
        }),
        required: true,
    };
    let beyond_basic: Vec<&str> =
        read.iter().copied().filter(|property| !BASIC_PROPERTIES.contains(property) && !is_guarded(property)).collect();
    if collection == Collection::Users && (needs.expand_manager || !beyond_basic.is_empty()) {
        let mut wanted = beyond_basic;
        if needs.expand_manager {
            wanted.insert(0, "manager");
        }
        need.sufficient = USERS_WHOLE;
        need.why = format!("their {}", named(&wanted));
        need.without = format!(
            "{} of users stay as they are in the target, and the run is partial; with {} their names and addresses \
             are read, without it nothing",
            named(&wanted),
            resource.permissions[0]
        );
    }
    let beyond_basic: Vec<&str> =
        read.iter().copied().filter(|property| !ORGANIZATION_BASIC.contains(property)).collect();
    if collection == Collection::Organization && !beyond_basic.is_empty() {
        need.sufficient = ORGANIZATION_WHOLE;
        need.why = format!("their {}", named(&beyond_basic));
    }
    need
}

/// Properties of users that take a permission of their own.
fn of_guarded(needs: &SourceNeeds) -> impl Iterator<Item = Need> {
    let of = |collection| needs.properties.get(&collection).cloned().unwrap_or_default();
    let read: BTreeSet<String> = of(Collection::Users).union(&of(Collection::SignInActivity)).cloned().collect();
    GUARDED.iter().filter(move |(property, _)| read.contains(*property)).map(|(property, permissions)| Need {
        what: format!("{property} of users"),
        sufficient: permissions,
        why: "Graph guards this property by itself".into(),
        without: format!("{property} is unknown; it stays as it is in the target, and the run is partial"),
        required: true,
    })
}

/// "a, b and c", or the first few and how many more.
fn named(properties: &[&str]) -> String {
    match properties.split_at_checked(NAMED_MAX) {
        Some((first, rest)) if rest.len() > 1 => format!("{} and {} more properties", first.join(", "), rest.len()),
        _ => match properties.split_last() {
            Some((last, [])) => (*last).to_owned(),
            Some((last, first)) => format!("{} and {last}", first.join(", ")),
            None => String::new(),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::super::collections::role_id;
    use super::*;

    fn needs(users: &[&str], memberships: bool) -> SourceNeeds {
        let properties = users.iter().map(|&property| property.to_owned()).collect();
        SourceNeeds { properties: [(Collection::Users, properties)].into(), memberships, ..SourceNeeds::default() }
    }

    fn granted(rights: &[&str]) -> BTreeSet<String> {
        rights.iter().map(|&right| right.to_owned()).collect()
    }

    #[test]
    fn the_least_follows_what_is_really_read() {
        let check = |users: &[&str], memberships, expected: &[&str]| {
            let all = needed(&needs(users, memberships), false);
            let required: Vec<Need> = all.into_iter().filter(|need| need.required).collect();
            let least: Vec<&str> = least(&required).into_iter().map(|(permission, _)| permission).collect();
            assert_eq!(least, expected, "{users:?}");
        };
        check(&["displayName", "mail"], false, &["User.ReadBasic.All"]);
        check(&["displayName", "accountEnabled"], false, &["User.Read.All"]);
        // A guarded property alone does not make the rest of the columns needed, but it does not come without them.
        check(&["accountEnabled", "signInActivity"], false, &["User.Read.All", "AuditLog.Read.All"]);
        check(&["displayName"], true, &["User.ReadBasic.All", "GroupMember.Read.All"]);
        let manager = SourceNeeds { expand_manager: true, ..needs(&["mail"], false) };
        let all = needed(&manager, false);
        assert_eq!((all[0].least(), all[0].why.as_str()), ("User.Read.All", "their manager"));
    }

    #[test]
    fn a_permission_for_intune_does_not_stand_for_one_for_users() {
        let (_, catalog) = crate::mapping::test_file("csv/managed_devices@1", false).unwrap();
        let mut needs = SourceNeeds { expand_manager: true, ..SourceNeeds::of(&catalog) };
        needs.properties.insert(Collection::Users, ["city".to_owned()].into());
        let all = needed(&needs, false);
        let permissions: Vec<&str> = least(&all).into_iter().map(|(permission, _)| permission).collect();
        assert_eq!(permissions, ["User.Read.All", "DeviceManagementManagedDevices.Read.All"]);
        assert!(!review(all.clone(), &granted(&permissions)).is_lacking());
        assert!(review(all, &granted(&permissions[1..])).is_lacking());
    }

    #[test]
    fn rights_are_missing_wider_or_in_excess() {
        let check = |rights: &[&str], missing: &[&str], wider: &[&str], excess: &[&str]| {
            let review = review(needed(&needs(&["accountEnabled"], true), true), &granted(rights));
            let lacks: Vec<&str> = review
                .standings
                .iter()
                .filter(|(need, standing)| need.required && *standing == Standing::Missing)
                .map(|(need, _)| need.what.as_str())
                .collect();
            assert_eq!((lacks.as_slice(), review.is_lacking()), (missing, !missing.is_empty()), "{rights:?}");
            assert_eq!(
                (review.wider.as_slice(), review.excess.as_slice()),
                (
                    granted(wider).into_iter().collect::<Vec<_>>().as_slice(),
                    granted(excess).into_iter().collect::<Vec<_>>().as_slice()
                )
            );
        };
        check(&["User.Read.All", "GroupMember.Read.All"], &[], &[], &[]);
        check(&["User.Read.All", "GroupMember.Read.All", "Member.Read.Hidden"], &[], &[], &[]);
        check(&["User.Read.All"], &["groups", "memberships"], &[], &[]);
        check(&["Directory.Read.All"], &[], &["Directory.Read.All"], &[]);
        check(&["Directory.Read.All", "User.Read.All", "GroupMember.Read.All"], &[], &["Directory.Read.All"], &[]);
        check(&["User.ReadBasic.All", "GroupMember.Read.All"], &["users"], &[], &["User.ReadBasic.All"]);
        check(&["User.Read.All", "GroupMember.Read.All", "Mail.ReadWrite"], &[], &[], &["Mail.ReadWrite"]);
        check(&["Directory.ReadWrite.All"], &[], &["Directory.ReadWrite.All"], &[]);
    }

    #[test]
    fn what_is_needed_anyway_is_not_asked_for_twice() {
        let read = |collections: &[(Collection, &[&str])]| SourceNeeds {
            properties: collections
                .iter()
                .map(|(of, names)| (*of, names.iter().map(|&name| name.to_owned()).collect()))
                .collect(),
            ..SourceNeeds::default()
        };
        let check = |needs: &SourceNeeds, expected: &[&str]| {
            let needs = needed(needs, true);
            let permissions: Vec<&str> = least(&needs).into_iter().map(|(permission, _)| permission).collect();
            assert_eq!(permissions, expected);
            let served: usize = least(&needs).iter().map(|(_, of)| of.len()).sum();
            assert_eq!(served, needs.len(), "each need once");
        };
        use Collection::{DeletedUsers, Licenses, Organization, Users};
        check(&read(&[(Users, &["mail"])]), &["User.ReadBasic.All", "Application.Read.All"]);
        check(&read(&[(Users, &["mail"]), (DeletedUsers, &[])]), &["User.Read.All", "Application.Read.All"]);
        // The name of the organization comes with the right to users, its city does not.
        let named = read(&[(Users, &["city"]), (Organization, &["displayName"])]);
        check(&named, &["User.Read.All", "Application.Read.All"]);
        let placed = read(&[(Licenses, &[]), (Organization, &["city"])]);
        check(&placed, &["Organization.Read.All", "Application.Read.All"]);
    }

    #[test]
    fn every_collection_has_its_least_right_and_nothing_of_it_is_in_excess() {
        use Collection::*;
        let check = |needs: SourceNeeds, least_right: &str, optional: &[&str]| {
            let needs = needed(&needs, false);
            let collection = needs[0].what.clone();
            assert_eq!(least(&needs)[0].0, least_right, "{collection}");
            assert!(role_id(least_right).is_some(), "{collection}: its id for the manifest");
            let rights = [&[least_right], optional].concat();
            let review = review(needs, &granted(&rights));
            assert!(review.beyond_least().is_empty() && !review.is_lacking(), "{collection}: {review:?}");
        };
        let objects =
            |collection| SourceNeeds { properties: [(collection, BTreeSet::new())].into(), ..SourceNeeds::default() };
        let links = |collection| SourceNeeds { links: [collection].into(), ..SourceNeeds::default() };
        for (collection, least_right) in [
            (Groups, "GroupMember.Read.All"),
            (Licenses, "LicenseAssignment.Read.All"),
            (Devices, "Device.Read.All"),
            (AdministrativeUnits, "AdministrativeUnit.Read.All"),
            (DirectoryRoles, "RoleManagement.Read.Directory"),
            (Organization, "Organization.Read.All"),
            (DeletedUsers, "User.Read.All"),
            (DeletedGroups, "Group.Read.All"),
        ] {
            check(objects(collection), least_right, &[]);
        }
        check(links(GroupOwners), "GroupMember.Read.All", &[]);
        check(links(DeviceOwners), "Device.Read.All", &[]);
        check(links(DeviceUsers), "Device.Read.All", &[]);
        check(links(AdministrativeUnitMembers), "AdministrativeUnit.Read.All", &[HIDDEN_MEMBERS]);
        check(links(DirectoryRoleMembers), "RoleManagement.Read.Directory", &[]);
    }

    #[test]
    fn what_writes_is_named() {
        let review =
            review(needed(&needs(&["mail"], false), false), &granted(&["User.ReadWrite.All", "Sites.Read.All"]));
        assert_eq!(review.writing(), ["User.ReadWrite.All"]);
        assert_eq!(review.beyond_least(), ["Sites.Read.All", "User.ReadWrite.All"]);
    }

    #[test]
    fn what_is_suggested_can_be_granted_and_only_reads() {
        let guarded = ["accountEnabled", "signInActivity", "employeeLeaveDateTime", "customSecurityAttributes"];
        let everything = needs(&guarded, true);
        for need in needed(&everything, true) {
            assert!(role_id(need.least()).is_some(), "{}", need.least());
            assert!(!need.least().contains(WRITE), "{}", need.least());
        }
    }

    #[test]
    fn long_lists_are_counted() {
        assert_eq!(named(&["a"]), "a");
        assert_eq!(named(&["a", "b", "c"]), "a, b and c");
        assert_eq!(named(&["a", "b", "c", "d", "e", "f", "g"]), "a, b, c, d, e, f and g");
        assert_eq!(named(&["a", "b", "c", "d", "e", "f", "g", "h"]), "a, b, c, d, e, f and 2 more properties");
    }
}
