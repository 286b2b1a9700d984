//! Which application permissions suffice for what.
//!
//! Hides: the permission map (<https://github.com/microsoftgraph/microsoft-graph-devx-content>, `permissions.json`) as far
//! as the simulator's endpoints need it, and the columns of User.ReadBasic.All.
//! Deliberately does not: read tokens, or model delegated permissions.

use crate::schema::Kind;

/// Something a permission can allow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Right {
    /// Objects of a kind, with their properties.
    Read(Kind),
    /// Users, with the few columns of User.ReadBasic.All at least.
    UsersBasic,
    /// A group's members.
    Members,
    /// A group's owners.
    GroupOwners,
    /// What an object is directly in.
    MemberOf(Kind),
    /// What an object is in, directly or through groups.
    TransitiveMemberOf(Kind),
    /// A user's licenseDetails.
    LicenseDetails,
    /// Membership of groups with `HiddenMembership`.
    HiddenMembers,
    /// subscribedSkus.
    Skus,
    /// The organization.
    Organization,
    /// Deleted items of a kind.
    Deleted(Kind),
    /// getByIds.
    GetByIds,
    /// `/devices/delta`: the map lists Device.Read.All only.
    DevicesDelta,
    /// The list of Bookings businesses.
    Bookings,
    /// One Bookings business.
    Booking,
    /// Intune's managedDevices.
    ManagedDevices,
    /// `signInActivity`.
    SignIns,
    /// `employeeLeaveDateTime`.
    LeaveDate,
    /// `customSecurityAttributes`.
    SecurityAttributes,
}

const USERS: &[&str] = &[
    "User.Read.All",
    "User.ReadWrite.All",
    "Directory.Read.All",
    "Directory.ReadWrite.All",
    "DeviceManagementManagedDevices.Read.All",
    "DeviceManagementConfiguration.Read.All",
    "DeviceManagementApps.Read.All",
    "DeviceManagementServiceConfig.Read.All",
];

fn sufficient(right: Right) -> &'static [&'static str] {
    match right {
        Right::Read(Kind::User) => USERS,
        Right::UsersBasic => &["User.ReadBasic.All"],
        Right::Read(Kind::Group) => &[
            "Group.ReadBasic.All",
            "GroupMember.Read.All",
            "Group.Read.All",
            "Directory.Read.All",
            "Directory.ReadWrite.All",
        ],
        Right::Read(Kind::Device) => &["Device.Read.All", "Directory.Read.All", "Directory.ReadWrite.All"],
        Right::Read(Kind::OrgContact) => &["OrgContact.Read.All", "Directory.Read.All", "Directory.ReadWrite.All"],
        Right::Read(Kind::ServicePrincipal | Kind::Application) => {
            &["Application.Read.All", "Directory.Read.All", "Directory.ReadWrite.All"]
        }
        Right::Members => &[
            "GroupMember.ReadBasic.All",
            "GroupMember.Read.All",
            "Group.Read.All",
            "Directory.Read.All",
            "Directory.ReadWrite.All",
        ],
        Right::GroupOwners => {
            &["GroupMember.Read.All", "Group.Read.All", "Directory.Read.All", "Directory.ReadWrite.All"]
        }
        Right::MemberOf(Kind::Group) => sufficient(Right::GroupOwners),
        Right::MemberOf(Kind::Device) | Right::TransitiveMemberOf(Kind::Device) => {
            sufficient(Right::Read(Kind::Device))
        }
        Right::MemberOf(_) => &["Directory.Read.All", "Directory.ReadWrite.All"],
        Right::TransitiveMemberOf(Kind::User) => &[
            "User.Read.All",
            "GroupMember.Read.All",
            "Group.Read.All",
            "Directory.Read.All",
            "Directory.ReadWrite.All",
        ],
        Right::TransitiveMemberOf(Kind::Group) => {
            &["GroupMember.ReadBasic.All", "Group.ReadBasic.All", "Directory.Read.All", "Directory.ReadWrite.All"]
        }
        Right::TransitiveMemberOf(_) => &["Directory.Read.All", "Directory.ReadWrite.All"],
        Right::LicenseDetails => {
            &["LicenseAssignment.Read.All", "User.Read.All", "Directory.Read.All", "Directory.ReadWrite.All"]
        }
        Right::Read(Kind::AdministrativeUnit) => &[
            "AdministrativeUnit.Read.All",
            "AdministrativeUnit.ReadWrite.All",
            "Directory.Read.All",
            "Directory.ReadWrite.All",
        ],
        Right::Read(Kind::DirectoryRole) => &[
            "RoleManagement.Read.Directory",
            "RoleManagement.ReadWrite.Directory",
            "Directory.Read.All",
            "Directory.ReadWrite.All",
        ],
        Right::Bookings => &["Bookings.Read.All"],
        Right::Booking => &["BookingsAppointment.ReadWrite.All", "Bookings.Read.All"],
        Right::ManagedDevices => {
            &["DeviceManagementManagedDevices.Read.All", "DeviceManagementManagedDevices.ReadWrite.All"]
        }
        Right::HiddenMembers => &["Member.Read.Hidden"],
        Right::Skus => {
            &["LicenseAssignment.Read.All", "Organization.Read.All", "Directory.Read.All", "Directory.ReadWrite.All"]
        }
        Right::Organization => &[
            "DeviceManagementServiceConfig.Read.All",
            "User.Read.All",
            "Organization.Read.All",
            "Directory.Read.All",
            "Directory.ReadWrite.All",
        ],
        Right::Deleted(Kind::User) => &["User.Read.All", "Directory.Read.All", "Directory.ReadWrite.All"],
        Right::Deleted(Kind::Group) => &["Group.Read.All", "Directory.Read.All", "Directory.ReadWrite.All"],
        Right::Deleted(Kind::Device) => &["Device.Read.All", "Directory.Read.All", "Directory.ReadWrite.All"],
        Right::Deleted(Kind::AdministrativeUnit) => sufficient(Right::Read(Kind::AdministrativeUnit)),
        Right::Deleted(_) => &["Application.Read.All", "Directory.Read.All", "Directory.ReadWrite.All"],
        Right::GetByIds => &["Directory.Read.All", "Directory.ReadWrite.All"],
        Right::DevicesDelta => &["Device.Read.All"],
        Right::SignIns => &["AuditLog.Read.All"],
        Right::LeaveDate => &["User-LifeCycleInfo.Read.All"],
        Right::SecurityAttributes => &["CustomSecAttributeAssignment.Read.All"],
    }
}

/// What User.ReadBasic.All shows of a user; every other column prints null.
pub(crate) const BASIC_COLUMNS: [&str; 7] =
    ["displayName", "givenName", "id", "mail", "securityIdentifier", "surname", "userPrincipalName"];

/// The `roles` of a token.
#[derive(Clone, Debug, Default)]
pub(crate) struct Roles(pub Vec<String>);

impl Roles {
    pub fn allow(&self, right: Right) -> bool {
        sufficient(right).iter().any(|role| self.0.iter().any(|held| held == role))
    }

    /// Whether users can be listed at all, be it with the basic columns only.
    pub fn list_users(&self) -> bool {
        self.allow(Right::Read(Kind::User)) || self.allow(Right::UsersBasic)
    }
}
