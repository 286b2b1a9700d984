//! The collections: what is read from Entra, by name, and what kind of records each holds.
//!
//! Deliberately knows no property and no address of them: these are [`crate::schema`]'s and [`crate::source`]'s.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// What is read from Entra. Names in files and messages are [`Collection::name`].
///
/// What kind of records a built-in collection holds is one row of [`Collection::form`]; its properties are in
/// [`crate::schema`], where it is read from in [`crate::source::collections`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Collection {
    Users,
    /// When users last signed in, read beside the users because it has a slow quota of its own.
    SignInActivity,
    Groups,
    /// Direct members of groups that are not groups themselves: pairs (group, member).
    Memberships,
    /// Groups that are direct members of groups: pairs (parent, child).
    Nestings,
    /// Members of groups, direct or through any number of nested groups, that are no groups themselves: pairs (group,
    /// member). Worked out by [`crate::closure`], never read.
    EffectiveMemberships,
    /// Owners of groups: pairs (group, owner).
    GroupOwners,
    /// The tenant's subscribed SKUs.
    Licenses,
    /// Which user holds which SKU, directly or through which group.
    LicenseAssignments,
    Devices,
    /// Who registered a device: pairs (device, owner).
    DeviceOwners,
    /// Who uses a device: pairs (device, user).
    DeviceUsers,
    AdministrativeUnits,
    /// Pairs (administrative unit, member).
    AdministrativeUnitMembers,
    /// Roles that were activated in the tenant; Graph lists no others.
    DirectoryRoles,
    /// Pairs (directory role, member).
    DirectoryRoleMembers,
    /// The tenant itself: one object.
    Organization,
    /// Users that were deleted and can still be restored.
    DeletedUsers,
    /// Groups that were deleted and can still be restored.
    DeletedGroups,
    /// Any other list of Graph, by the name that a job or this program gives it (see [`crate::custom`]).
    Custom(CustomName),
}

/// The name of a custom collection: lower-case letters, digits and `_`, beginning with a letter. Kept for as long as
/// the program runs, so that a [`Collection`] is as cheap to pass around as a number.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CustomName(&'static str);

/// What the records of a collection are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Form {
    /// Objects with an id of their own: one [`crate::record::Key::Guid`] each.
    Objects,
    /// Pairs of an object and another: [`crate::record::Key::Pair`].
    Pairs(Pairs),
    /// License assignments: [`crate::record::Key::Assignment`].
    Assignments,
    /// Objects of a list that nothing is known of beforehand: [`crate::record::Key::Guid`] or `Text`.
    Custom,
}

/// What the two ends of a pair are, and which lists they come from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Pairs {
    /// What the first end is.
    pub of: Collection,
    /// What the second end may be, the most likely first. Contacts and service principals may stand there too; they
    /// are in no collection.
    pub members: &'static [Collection],
    /// The collection whose lists were read.
    pub lists: Collection,
}

impl Collection {
    /// Every built-in collection, in the order they are read and shown.
    pub const ALL: [Collection; 19] = [
        Collection::Users,
        Collection::SignInActivity,
        Collection::Groups,
        Collection::Memberships,
        Collection::Nestings,
        Collection::EffectiveMemberships,
        Collection::GroupOwners,
        Collection::Licenses,
        Collection::LicenseAssignments,
        Collection::Devices,
        Collection::DeviceOwners,
        Collection::DeviceUsers,
        Collection::AdministrativeUnits,
        Collection::AdministrativeUnitMembers,
        Collection::DirectoryRoles,
        Collection::DirectoryRoleMembers,
        Collection::Organization,
        Collection::DeletedUsers,
        Collection::DeletedGroups,
    ];

    /// The name in job and mapping files, snapshots and messages.
    pub fn name(self) -> &'static str {
        match self {
            Collection::Users => "users",
            Collection::SignInActivity => "sign_in_activity",
            Collection::Groups => "groups",
            Collection::Memberships => "memberships",
            Collection::Nestings => "nestings",
            Collection::EffectiveMemberships => "effective_memberships",
            Collection::GroupOwners => "group_owners",
            Collection::Licenses => "licenses",
            Collection::LicenseAssignments => "license_assignments",
            Collection::Devices => "devices",
            Collection::DeviceOwners => "device_owners",
            Collection::DeviceUsers => "device_users",
            Collection::AdministrativeUnits => "administrative_units",
            Collection::AdministrativeUnitMembers => "administrative_unit_members",
            Collection::DirectoryRoles => "directory_roles",
            Collection::DirectoryRoleMembers => "directory_role_members",
            Collection::Organization => "organization",
            Collection::DeletedUsers => "deleted_users",
            Collection::DeletedGroups => "deleted_groups",
            Collection::Custom(name) => name.0,
        }
    }

    /// The built-in collection of that name.
    pub fn named(name: &str) -> Option<Collection> {
        Collection::ALL.into_iter().find(|collection| collection.name() == name)
    }

    /// The custom collection of that name; `None` if the name is a built-in one, that of another file of a snapshot, or
    /// no name at all.
    pub fn custom(name: &str) -> Option<Collection> {
        let fits = name.len() <= CUSTOM_NAME_MAX
            && name.starts_with(|first: char| first.is_ascii_lowercase())
            && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_');
        let taken = Collection::named(name).is_some() || OTHER_FILES.contains(&name);
        (fits && !taken).then(|| Collection::Custom(CustomName(intern(name)[0].name())))
    }

    /// A list of just this collection.
    pub fn alone(self) -> &'static [Collection] {
        static ALL: [Collection; Collection::ALL.len()] = Collection::ALL;
        match self {
            Collection::Custom(name) => intern(name.0),
            built_in => &ALL[built_in.index()..=built_in.index()],
        }
    }

    /// The place in [`Collection::ALL`]; of a custom collection its length.
    pub const fn index(self) -> usize {
        match self {
            Collection::Users => 0,
            Collection::SignInActivity => 1,
            Collection::Groups => 2,
            Collection::Memberships => 3,
            Collection::Nestings => 4,
            Collection::EffectiveMemberships => 5,
            Collection::GroupOwners => 6,
            Collection::Licenses => 7,
            Collection::LicenseAssignments => 8,
            Collection::Devices => 9,
            Collection::DeviceOwners => 10,
            Collection::DeviceUsers => 11,
            Collection::AdministrativeUnits => 12,
            Collection::AdministrativeUnitMembers => 13,
            Collection::DirectoryRoles => 14,
            Collection::DirectoryRoleMembers => 15,
            Collection::Organization => 16,
            Collection::DeletedUsers => 17,
            Collection::DeletedGroups => 18,
            Collection::Custom(_) => Collection::ALL.len(),
        }
    }

    /// What its records are.
    pub const fn form(self) -> Form {
        use Collection::*;
        const fn pairs(of: Collection, members: &'static [Collection], lists: Collection) -> Form {
            Form::Pairs(Pairs { of, members, lists })
        }
        match self {
            Users | SignInActivity | Groups | Devices | Licenses | AdministrativeUnits | DirectoryRoles
            | Organization | DeletedUsers | DeletedGroups => Form::Objects,
            Memberships => pairs(Groups, &[Users, Devices], Memberships),
            Nestings => pairs(Groups, &[Groups], Memberships),
            EffectiveMemberships => pairs(Groups, &[Users, Devices], Memberships),
            GroupOwners => pairs(Groups, &[Users], GroupOwners),
            DeviceOwners => pairs(Devices, &[Users], DeviceOwners),
            DeviceUsers => pairs(Devices, &[Users], DeviceUsers),
            AdministrativeUnitMembers => {
                pairs(AdministrativeUnits, &[Users, Groups, Devices], AdministrativeUnitMembers)
            }
            DirectoryRoleMembers => pairs(DirectoryRoles, &[Users, Groups], DirectoryRoleMembers),
            LicenseAssignments => Form::Assignments,
            Custom(_) => Form::Custom,
        }
    }

    /// What its pairs are, if its records are pairs.
    pub const fn pairs(self) -> Option<Pairs> {
        match self.form() {
            Form::Pairs(pairs) => Some(pairs),
            _ => None,
        }
    }

    /// Whether its records join two others: their removal is the end of a relation, not of a thing.
    pub const fn is_link(self) -> bool {
        matches!(self.form(), Form::Pairs(_) | Form::Assignments)
    }
}

/// The longest name of a custom collection: it becomes a file's name.
const CUSTOM_NAME_MAX: usize = 64;

/// Names in a snapshot's folder that are no collections.
const OTHER_FILES: [&str; 3] = ["manifest", "deleted", "absent"];

/// Keeps a custom collection's name for ever, once however often it is asked for.
fn intern(name: &str) -> &'static [Collection] {
    static KEPT: Mutex<BTreeMap<&'static str, &'static [Collection]>> = Mutex::new(BTreeMap::new());
    let mut kept = KEPT.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(known) = kept.get(name) {
        return known;
    }
    let name: &'static str = Box::leak(name.into());
    let alone: &'static [Collection] = Box::leak(Box::new([Collection::Custom(CustomName(name))]));
    kept.insert(name, alone);
    alone
}

impl fmt::Display for Collection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl fmt::Debug for Collection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Serialize for Collection {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(self.name())
    }
}

impl<'de> Deserialize<'de> for Collection {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Collection, D::Error> {
        let name = <std::borrow::Cow<'de, str>>::deserialize(from)?;
        let found = Collection::named(&name).or_else(|| Collection::custom(&name));
        found.ok_or_else(|| serde::de::Error::custom(format!("{name:?} cannot be the name of a collection")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_are_listed_in_their_order() {
        assert!(Collection::ALL.is_sorted_by(|a, b| a < b));
        for collection in Collection::ALL {
            assert_eq!(Collection::named(collection.name()), Some(collection));
            assert_eq!(Collection::ALL[collection.index()], collection);
            assert_eq!(collection.alone(), [collection]);
            assert_eq!(Collection::custom(collection.name()), None, "{collection} is taken");
        }
    }

    #[test]
    fn a_custom_collection_is_its_name() {
        let bookings = Collection::custom("booking_businesses").unwrap();
        assert_eq!(Collection::custom("booking_businesses"), Some(bookings));
        assert_eq!(bookings.alone(), [bookings]);
        assert_eq!(serde_json::to_string(&bookings).unwrap(), r#""booking_businesses""#);
        assert_eq!(serde_json::from_str::<Collection>(r#""booking_businesses""#).unwrap(), bookings);
        assert!(Collection::ALL.iter().all(|built_in| *built_in < bookings));
        for bad in ["", "Bookings", "1st", "a-b", "../a", "a b", "deleted", "manifest", &"a".repeat(65)] {
            assert_eq!(Collection::custom(bad), None, "{bad}");
        }
    }
}
