//! The Graph collections that are read, one row each, and what a token's roles let the app see of them.
//!
//! Hides paths, page sizes and the permission map
//! (<https://github.com/microsoftgraph/microsoft-graph-devx-content>, `permissions/new/permissions.json`).
//! Deliberately sends nothing. Adding a collection is adding a row, and its file in the snapshot.

use std::collections::BTreeSet;

use super::units::Price;
use crate::record::{Collection, Unknown};
use crate::schema::SIGN_IN_ACTIVITY;

/// One Graph collection.
#[derive(Debug)]
pub struct Resource {
    pub collection: Collection,
    /// Below `/v1.0`; of pairs, `{id}` stands for the object whose list it is.
    pub path: &'static str,
    /// The largest `$top`; none where it is not sent: the list has no pages, or no such limit is documented.
    pub page_size_max: Option<u32>,
    /// Application permissions that suffice, least first.
    pub permissions: &'static [&'static str],
    pub price: Price,
    /// Whether Graph is asked how many there are, to hold what came against it.
    pub counted: bool,
    /// Of pairs: the relationship's name in `$expand`, where reading it along with the objects saves requests.
    pub expand: Option<&'static str>,
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
    price: Price::Users,
    counted: true,
    expand: None,
    deleted: Some("microsoft.graph.user"),
    documentation: "https://learn.microsoft.com/graph/api/user-list?view=graph-rest-1.0",
};

pub const GROUPS: Resource = Resource {
    collection: Collection::Groups,
    path: "groups",
    page_size_max: Some(999),
    permissions: &["GroupMember.Read.All", "Group.Read.All", DIRECTORY, "Group.ReadWrite.All", DIRECTORY_WRITE],
    price: Price::Other,
    counted: true,
    expand: None,
    deleted: Some("microsoft.graph.group"),
    documentation: "https://learn.microsoft.com/graph/api/group-list?view=graph-rest-1.0",
};

pub const MEMBERS: Resource = Resource {
    collection: Collection::Memberships,
    path: "groups/{id}/members",
    page_size_max: Some(999),
    permissions: GROUPS.permissions,
    price: Price::Members,
    counted: false,
    expand: None,
    deleted: None,
    documentation: "https://learn.microsoft.com/graph/api/group-list-members?view=graph-rest-1.0",
};

pub const DEVICES: Resource = Resource {
    collection: Collection::Devices,
    path: "devices",
    page_size_max: Some(999),
    permissions: &["Device.Read.All", DIRECTORY, "Device.ReadWrite.All", DIRECTORY_WRITE],
    price: Price::Other,
    counted: true,
    expand: None,
    deleted: Some("microsoft.graph.device"),
    documentation: "https://learn.microsoft.com/graph/api/device-list?view=graph-rest-1.0",
};

pub const LICENSES: Resource = Resource {
    collection: Collection::Licenses,
    path: "subscribedSkus",
    page_size_max: None,
    permissions: &["LicenseAssignment.Read.All", "Organization.Read.All", DIRECTORY, DIRECTORY_WRITE],
    price: Price::SubscribedSkus,
    counted: false,
    expand: None,
    deleted: None,
    documentation: "https://learn.microsoft.com/graph/api/subscribedsku-list?view=graph-rest-1.0",
};

/// A pass of its own over the users, so that its slow quota holds up nothing else. Besides this permission, reading
/// users is needed, and a licence for Entra ID P1.
pub const SIGN_INS: Resource = Resource {
    collection: Collection::SignInActivity,
    path: "users",
    page_size_max: Some(500),
    permissions: &["AuditLog.Read.All"],
    price: Price::Users,
    counted: false,
    expand: None,
    deleted: None,
    documentation: "https://learn.microsoft.com/graph/api/user-list?view=graph-rest-1.0",
};

pub const GROUP_OWNERS: Resource = Resource {
    collection: Collection::GroupOwners,
    path: "groups/{id}/owners",
    page_size_max: None,
    permissions: GROUPS.permissions,
    price: Price::Other,
    counted: false,
    expand: Some("owners"),
    deleted: None,
    documentation: "https://learn.microsoft.com/graph/api/group-list-owners?view=graph-rest-1.0",
};

pub const DEVICE_OWNERS: Resource = Resource {
    collection: Collection::DeviceOwners,
    path: "devices/{id}/registeredOwners",
    page_size_max: Some(999),
    permissions: DEVICES.permissions,
    price: Price::Other,
    counted: false,
    expand: Some("registeredOwners"),
    deleted: None,
    documentation: "https://learn.microsoft.com/graph/api/device-list-registeredowners?view=graph-rest-1.0",
};

pub const DEVICE_USERS: Resource = Resource {
    collection: Collection::DeviceUsers,
    path: "devices/{id}/registeredUsers",
    page_size_max: Some(999),
    permissions: DEVICES.permissions,
    price: Price::Other,
    counted: false,
    expand: Some("registeredUsers"),
    deleted: None,
    documentation: "https://learn.microsoft.com/graph/api/device-list-registeredusers?view=graph-rest-1.0",
};

pub const ADMINISTRATIVE_UNITS: Resource = Resource {
    collection: Collection::AdministrativeUnits,
    path: "directory/administrativeUnits",
    page_size_max: Some(999),
    permissions: &["AdministrativeUnit.Read.All", DIRECTORY, "AdministrativeUnit.ReadWrite.All", DIRECTORY_WRITE],
    price: Price::Other,
    counted: true,
    expand: None,
    deleted: None,
    documentation: "https://learn.microsoft.com/graph/api/directory-list-administrativeunits?view=graph-rest-1.0",
};

pub const ADMINISTRATIVE_UNIT_MEMBERS: Resource = Resource {
    collection: Collection::AdministrativeUnitMembers,
    path: "directory/administrativeUnits/{id}/members",
    page_size_max: Some(999),
    permissions: ADMINISTRATIVE_UNITS.permissions,
    price: Price::Other,
    counted: false,
    expand: None,
    deleted: None,
    documentation: "https://learn.microsoft.com/graph/api/administrativeunit-list-members?view=graph-rest-1.0",
};

/// Graph gives neither pages nor `$top` here.
pub const DIRECTORY_ROLES: Resource = Resource {
    collection: Collection::DirectoryRoles,
    path: "directoryRoles",
    page_size_max: None,
    permissions: &["RoleManagement.Read.Directory", DIRECTORY, "RoleManagement.ReadWrite.Directory", DIRECTORY_WRITE],
    price: Price::Other,
    counted: false,
    expand: None,
    deleted: None,
    documentation: "https://learn.microsoft.com/graph/api/directoryrole-list?view=graph-rest-1.0",
};

pub const DIRECTORY_ROLE_MEMBERS: Resource = Resource {
    collection: Collection::DirectoryRoleMembers,
    path: "directoryRoles/{id}/members",
    page_size_max: None,
    permissions: DIRECTORY_ROLES.permissions,
    price: Price::Other,
    counted: false,
    expand: None,
    deleted: None,
    documentation: "https://learn.microsoft.com/graph/api/directoryrole-list-members?view=graph-rest-1.0",
};

pub const ORGANIZATION: Resource = Resource {
    collection: Collection::Organization,
    path: "organization",
    page_size_max: None,
    permissions: &["Organization.Read.All", "User.Read.All", DIRECTORY, "User.ReadWrite.All", DIRECTORY_WRITE],
    price: Price::Other,
    counted: false,
    expand: None,
    deleted: None,
    documentation: "https://learn.microsoft.com/graph/api/organization-list?view=graph-rest-1.0",
};

/// No `$top`: the largest size is not documented for deleted items.
pub const DELETED_USERS: Resource = Resource {
    collection: Collection::DeletedUsers,
    path: "directory/deletedItems/microsoft.graph.user",
    page_size_max: None,
    permissions: &["User.Read.All", DIRECTORY, "User.ReadWrite.All", DIRECTORY_WRITE],
    price: Price::Other,
    counted: false,
    expand: None,
    deleted: None,
    documentation: "https://learn.microsoft.com/graph/api/directory-deleteditems-list?view=graph-rest-1.0",
};

pub const DELETED_GROUPS: Resource = Resource {
    collection: Collection::DeletedGroups,
    path: "directory/deletedItems/microsoft.graph.group",
    page_size_max: None,
    permissions: &["Group.Read.All", DIRECTORY, "Group.ReadWrite.All", DIRECTORY_WRITE],
    price: Price::Other,
    counted: false,
    expand: None,
    deleted: None,
    documentation: "https://learn.microsoft.com/graph/api/directory-deleteditems-list?view=graph-rest-1.0",
};

/// All rows, in the order of the collections.
pub const RESOURCES: [&Resource; 16] = [
    &USERS,
    &SIGN_INS,
    &GROUPS,
    &MEMBERS,
    &GROUP_OWNERS,
    &LICENSES,
    &DEVICES,
    &DEVICE_OWNERS,
    &DEVICE_USERS,
    &ADMINISTRATIVE_UNITS,
    &ADMINISTRATIVE_UNIT_MEMBERS,
    &DIRECTORY_ROLES,
    &DIRECTORY_ROLE_MEMBERS,
    &ORGANIZATION,
    &DELETED_USERS,
    &DELETED_GROUPS,
];

/// The row of a collection that has one; what is derived or custom has none.
pub fn row_of(collection: Collection) -> Option<&'static Resource> {
    RESOURCES.into_iter().find(|resource| resource.collection == collection)
}

pub const DIRECTORY: &str = "Directory.Read.All";
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

/// What suffices to see the app registration itself, with the end dates of its secrets.
/// <https://learn.microsoft.com/graph/api/application-list?view=graph-rest-1.0>
pub const APPLICATIONS: &[&str] = &["Application.Read.All", DIRECTORY, DIRECTORY_WRITE];

/// In the name of every permission that lets an application change something.
pub const WRITE: &str = "Write";

/// Microsoft Graph among the applications of every tenant.
pub const GRAPH_APP_ID: &str = "00000003-0000-0000-c000-000000000000";

/// The ids by which app roles stand in an app registration's manifest.
/// <https://learn.microsoft.com/graph/permissions-reference>
const ROLE_IDS: [(&str, &str); 19] = [
    ("Directory.Read.All", "7ab1d382-f21e-4acd-a863-ba3e13f7da61"),
    ("User.Read.All", "df021288-bdef-4463-88db-98f22de89214"),
    ("User.ReadBasic.All", "97235f07-e226-4f63-ace3-39588e11d3a1"),
    ("Group.Read.All", "5b567255-7703-4780-807c-7be8301ae99b"),
    ("GroupMember.Read.All", "98830695-27a2-44f7-8c18-0c3ebc9698f6"),
    ("Device.Read.All", "7438b122-aefc-4978-80ed-43db9fcc7715"),
    ("Organization.Read.All", "498476ce-e0fe-48b0-b801-37ba7e2685c6"),
    ("LicenseAssignment.Read.All", "e2f98668-2877-4f38-a2f4-8202e0717aa1"),
    ("AuditLog.Read.All", "b0afded3-3588-46d8-8b3d-9842eff778da"),
    ("Member.Read.Hidden", "658aa5d8-239f-45c4-aa12-864f4fc7e490"),
    ("Application.Read.All", "9a5d68dd-52b0-4cc2-bd40-abcf44ac3a30"),
    ("AdministrativeUnit.Read.All", "134fd756-38ce-4afd-ba33-e9623dbe66c2"),
    ("RoleManagement.Read.Directory", "483bed4a-2ad3-4361-a73b-c83ccdbdc53c"),
    ("Bookings.Read.All", "6e98f277-b046-4193-a4f2-6bf6a78cd491"),
    ("DeviceManagementManagedDevices.Read.All", "2f51be20-0bb4-4fed-bf7b-db946066c75e"),
    ("OrgContact.Read.All", "e1a88a34-94c4-4418-be12-c87b00e26bea"),
    ("User-LifeCycleInfo.Read.All", "8556a004-db57-4d7a-8b82-97a13428e96f"),
    ("Reports.Read.All", "230c1aed-a721-4c5d-9cb4-a90514e508ef"),
    ("CustomSecAttributeAssignment.Read.All", "3b37c5a4-1226-493d-bec3-5d6c6b866f3f"),
];

/// The app role's id, of the permissions that this program asks for. Permissions that Microsoft added or that cannot
/// be told here have none: the portal finds them by name.
pub fn role_id(permission: &str) -> Option<&'static str> {
    ROLE_IDS.iter().find(|(name, _)| *name == permission).map(|(_, id)| *id)
}

/// What User.ReadBasic.All shows; every other property comes as null, which must not be taken for a value.
/// <https://learn.microsoft.com/graph/permissions-reference#userreadbasicall>
pub const BASIC_PROPERTIES: [&str; 7] =
    ["displayName", "givenName", "id", "mail", "securityIdentifier", "surname", "userPrincipalName"];

/// What suffices for all other properties of users, for their managers, their changes and the deleted ones. Permissions
/// for Intune (`DeviceManagement…`) open the list of users and nothing of the rest, so none of them counts.
/// <https://learn.microsoft.com/graph/api/user-list-manager?view=graph-rest-1.0> and
/// <https://learn.microsoft.com/graph/api/user-delta?view=graph-rest-1.0>
pub const USERS_WHOLE: &[&str] = &["User.Read.All", DIRECTORY, "User.ReadWrite.All", DIRECTORY_WRITE];

/// What an organization shows to who may read users but not organizations; every other property may come as null.
/// <https://learn.microsoft.com/graph/api/organization-get?view=graph-rest-1.0>
pub const ORGANIZATION_BASIC: [&str; 3] = ["displayName", "id", "verifiedDomains"];

/// What suffices for all other properties of the organization.
pub const ORGANIZATION_WHOLE: &[&str] =
    &["Organization.Read.All", DIRECTORY, "Organization.ReadWrite.All", DIRECTORY_WRITE];

/// Sign-in activity has a quota of its own, 10 requests a minute.
/// <https://learn.microsoft.com/graph/throttling-limits>
pub const SIGN_IN_REQUESTS_PER_MINUTE: u32 = 10;

/// Properties of users that need a permission of their own besides the collection's; without it Graph refuses the
/// whole request. <https://learn.microsoft.com/graph/api/resources/user?view=graph-rest-1.0#properties>
pub const GUARDED: [(&str, &[&str]); 3] = [
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
        let of = if collection == Collection::Organization { "the organization" } else { "users" };
        let needs = |permissions: &[&str]| {
            (!self.any(permissions)).then(|| {
                let needed = permissions[0];
                Unknown::new(format!("the app may not read {property} of {of}: it needs the permission {needed}"))
            })
        };
        match collection {
            Collection::Users | Collection::SignInActivity => {}
            Collection::Organization if !ORGANIZATION_BASIC.contains(&property) => return needs(ORGANIZATION_WHOLE),
            _ => return None,
        }
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
    use crate::record::Form;

    fn rights(roles: &[&str]) -> Rights {
        Rights(Some(roles.iter().map(|&role| role.to_owned()).collect()))
    }

    #[test]
    fn every_row_is_whole() {
        for resource in RESOURCES {
            assert!(resource.documentation.starts_with("https://learn.microsoft.com/graph/api/"));
            assert!(!resource.permissions.is_empty());
            let of = resource.collection.pairs();
            assert_eq!(resource.path.contains("{id}"), of.is_some(), "{}", resource.collection);
            assert!(of.is_none_or(|pairs| pairs.lists == resource.collection && row_of(pairs.of).is_some()));
        }
        let rows = RESOURCES.map(|resource| resource.collection);
        assert!(rows.is_sorted_by(|a, b| a < b), "one row each, in order");
        for collection in Collection::ALL {
            let derived = match collection.form() {
                Form::Pairs(pairs) => pairs.lists != collection,
                Form::Assignments => true,
                Form::Objects | Form::Custom => false,
            };
            assert_eq!(row_of(collection).is_some(), !derived, "{collection}");
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
        check(&["DeviceManagementManagedDevices.Read.All"], "manager", false);
        check(&["User.Read.All"], "employeeLeaveDateTime", false);
        check(&["Directory.Read.All", "AuditLog.Read.All"], "signInActivity", true);
        check(&["AuditLog.Read.All", "User.ReadBasic.All"], "signInActivity", false);
        assert!(Rights(None).unreadable(Collection::Users, "signInActivity").is_none());
        let organization = |property| rights(&["User.Read.All"]).unreadable(Collection::Organization, property);
        assert!(organization("displayName").is_none());
        assert!(organization("city").unwrap().to_string().contains("of the organization: it needs the permission Org"));
        assert!(rights(&["Organization.Read.All"]).unreadable(Collection::Organization, "city").is_none());
        assert!(rights(&["Device.Read.All"]).unreadable(Collection::Devices, "city").is_none());
    }
}
