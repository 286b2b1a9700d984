//! The Graph collections that are read, one row each, and what a token's roles let the app see of them.
//!
//! Hides paths, page sizes and the permission map
//! (<https://github.com/microsoftgraph/microsoft-graph-devx-content>, `permissions/new/permissions.json`).
//! Deliberately sends nothing. Adding a collection is adding a row, and its file in the snapshot.

use std::collections::BTreeSet;
use std::time::Duration;

use super::units::Price;
use crate::record::{Collection, Unknown};

/// One Graph collection.
#[derive(Debug)]
pub struct Resource {
    pub collection: Collection,
    /// Below `/v1.0`; `{id}` stands for the group.
    pub path: &'static str,
    /// The largest `$top`; none where the list has no pages.
    pub page_size_max: Option<u32>,
    /// Application permissions that suffice, least first.
    pub permissions: &'static [&'static str],
    /// The file in the snapshot.
    pub file: &'static str,
    pub price: Price,
    /// The last segment below `/directory/deletedItems/`, where deleted objects can be listed.
    pub deleted: Option<&'static str>,
    /// The page that documents it.
    pub documentation: &'static str,
}

pub const USERS: Resource = Resource {
    collection: Collection::Users,
    path: "users",
    page_size_max: Some(999),
    permissions: &["User.ReadBasic.All", "User.Read.All", "User.ReadWrite.All", DIRECTORY, DIRECTORY_WRITE],
    file: "users.jsonl",
    price: Price::Users,
    deleted: Some("microsoft.graph.user"),
    documentation: "https://learn.microsoft.com/graph/api/user-list?view=graph-rest-1.0",
};

pub const GROUPS: Resource = Resource {
    collection: Collection::Groups,
    path: "groups",
    page_size_max: Some(999),
    permissions: &["GroupMember.Read.All", "Group.Read.All", DIRECTORY, "Group.ReadWrite.All", DIRECTORY_WRITE],
    file: "groups.jsonl",
    price: Price::Other,
    deleted: Some("microsoft.graph.group"),
    documentation: "https://learn.microsoft.com/graph/api/group-list?view=graph-rest-1.0",
};

pub const MEMBERS: Resource = Resource {
    collection: Collection::Memberships,
    path: "groups/{id}/members",
    page_size_max: Some(999),
    permissions: GROUPS.permissions,
    file: "memberships.jsonl",
    price: Price::Members,
    deleted: None,
    documentation: "https://learn.microsoft.com/graph/api/group-list-members?view=graph-rest-1.0",
};

pub const DEVICES: Resource = Resource {
    collection: Collection::Devices,
    path: "devices",
    page_size_max: Some(999),
    permissions: &["Device.Read.All", DIRECTORY, "Device.ReadWrite.All", DIRECTORY_WRITE],
    file: "devices.jsonl",
    price: Price::Other,
    deleted: Some("microsoft.graph.device"),
    documentation: "https://learn.microsoft.com/graph/api/device-list?view=graph-rest-1.0",
};

pub const LICENSES: Resource = Resource {
    collection: Collection::Licenses,
    path: "subscribedSkus",
    page_size_max: None,
    permissions: &["LicenseAssignment.Read.All", "Organization.Read.All", DIRECTORY, DIRECTORY_WRITE],
    file: "licenses.jsonl",
    price: Price::SubscribedSkus,
    deleted: None,
    documentation: "https://learn.microsoft.com/graph/api/subscribedsku-list?view=graph-rest-1.0",
};

/// All rows.
pub const RESOURCES: [&Resource; 5] = [&USERS, &GROUPS, &MEMBERS, &DEVICES, &LICENSES];

const DIRECTORY: &str = "Directory.Read.All";
const DIRECTORY_WRITE: &str = "Directory.ReadWrite.All";

/// Members of groups whose visibility is `HiddenMembership` need this one besides.
/// <https://learn.microsoft.com/graph/api/group-list-members?view=graph-rest-1.0>
pub const HIDDEN_MEMBERS: &str = "Member.Read.Hidden";

/// What suffices for POST /directoryObjects/getByIds.
/// <https://learn.microsoft.com/graph/api/directoryobject-getbyids?view=graph-rest-1.0>
pub const GET_BY_IDS: &[&str] = &[DIRECTORY, DIRECTORY_WRITE];

/// The least set that reads everything: what to recommend to who has none.
pub const RECOMMENDED: [&str; 4] =
    ["User.Read.All", "GroupMember.Read.All", "Device.Read.All", "LicenseAssignment.Read.All"];

/// What User.ReadBasic.All shows; every other property comes as null, which must not be taken for a value.
/// <https://learn.microsoft.com/graph/permissions-reference#userreadbasicall>
const BASIC_PROPERTIES: [&str; 7] =
    ["displayName", "givenName", "id", "mail", "securityIdentifier", "surname", "userPrincipalName"];

/// What suffices for all other properties of users, and for their managers.
const USERS_WHOLE: &[&str] = &[
    "User.Read.All",
    DIRECTORY,
    "User.ReadWrite.All",
    DIRECTORY_WRITE,
    "DeviceManagementManagedDevices.Read.All",
    "DeviceManagementConfiguration.Read.All",
    "DeviceManagementApps.Read.All",
    "DeviceManagementServiceConfig.Read.All",
];

/// Sign-in activity has a quota of its own, 10 requests a minute, and smaller pages.
/// <https://learn.microsoft.com/graph/throttling-limits>
pub const SIGN_IN_ACTIVITY: &str = "signInActivity";
pub const SIGN_IN_PAGE_SIZE_MAX: u32 = 500;
pub const SIGN_IN_REQUESTS_MAX: f64 = 10.0;
pub const SIGN_IN_WINDOW: Duration = Duration::from_secs(60);
/// The tenth request is the burst: then no minute sees more than ten.
pub const SIGN_IN_SHARE: f64 = 0.9;

/// Properties of users that need a permission of their own besides the collection's; without it Graph refuses the
/// whole request. <https://learn.microsoft.com/graph/api/resources/user?view=graph-rest-1.0#properties>
const GUARDED: [(&str, &[&str]); 3] = [
    (SIGN_IN_ACTIVITY, &["AuditLog.Read.All"]),
    ("employeeLeaveDateTime", &["User-LifeCycleInfo.Read.All", "User-LifeCycleInfo.ReadWrite.All"]),
    (
        "customSecurityAttributes",
        &["CustomSecAttributeAssignment.Read.All", "CustomSecAttributeAssignment.ReadWrite.All"],
    ),
];

/// The application permissions that a token carries; unknown when the token cannot be read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rights(pub Option<BTreeSet<String>>);

impl Rights {
    /// Whether one of the permissions is there. Unknown rights have them all: Graph will tell.
    pub fn any(&self, permissions: &[&str]) -> bool {
        self.0.as_ref().is_none_or(|roles| permissions.iter().any(|permission| roles.contains(*permission)))
    }

    /// Whether a permission is surely there.
    pub fn surely(&self, permissions: &[&str]) -> bool {
        self.0.is_some() && self.any(permissions)
    }

    /// Why the app cannot see a property, if it cannot.
    pub fn unreadable(&self, collection: Collection, property: &str) -> Option<Unknown> {
        if collection != Collection::Users {
            return None;
        }
        let needs = |permissions: &[&str]| {
            (!self.any(permissions)).then(|| {
                let needed = permissions[0];
                Unknown::new(format!("the app may not read {property} of users: it needs the permission {needed}"))
            })
        };
        let guarded =
            GUARDED.iter().find(|(name, _)| *name == property).and_then(|(_, permissions)| needs(permissions));
        guarded.or_else(|| if BASIC_PROPERTIES.contains(&property) { None } else { needs(USERS_WHOLE) })
    }
}

/// Whether a group of that visibility hides its members.
/// <https://learn.microsoft.com/graph/api/resources/group?view=graph-rest-1.0#group-visibility-options>
pub fn is_hidden(visibility: Option<&str>) -> bool {
    visibility.is_some_and(|visibility| visibility.eq_ignore_ascii_case("HiddenMembership"))
}

/// Whether a property is known to make Graph refuse the whole request when the app may not read it.
pub fn is_guarded(property: &str) -> bool {
    GUARDED.iter().any(|(name, _)| *name == property)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rights(roles: &[&str]) -> Rights {
        Rights(Some(roles.iter().map(|&role| role.to_owned()).collect()))
    }

    #[test]
    fn every_row_is_whole() {
        for resource in RESOURCES {
            assert!(resource.documentation.starts_with("https://learn.microsoft.com/graph/api/"));
            assert!(!resource.permissions.is_empty());
            assert_eq!(resource.file, format!("{}.jsonl", resource.collection));
        }
    }

    #[test]
    fn what_the_roles_do_not_show_is_unreadable() {
        let check = |roles: &[&str], property: &str, readable: bool| {
            let found = rights(roles).unreadable(Collection::Users, property);
            assert_eq!(found.is_none(), readable, "{roles:?} {property} {found:?}");
        };
        check(&["User.ReadBasic.All"], "displayName", true);
        check(&["User.ReadBasic.All"], "accountEnabled", false);
        check(&["User.ReadBasic.All"], "manager", false);
        check(&["User.Read.All"], "accountEnabled", true);
        check(&["User.Read.All"], "employeeLeaveDateTime", false);
        check(&["Directory.Read.All", "AuditLog.Read.All"], "signInActivity", true);
        check(&["AuditLog.Read.All", "User.ReadBasic.All"], "signInActivity", false);
        assert!(Rights(None).unreadable(Collection::Users, "signInActivity").is_none());
    }
}
