//! Which properties each collection has, and of what type: what an expression may name.
//!
//! Hides that most follow Microsoft Graph v1.0 (`graph`, one table for each kind of object), a few are computed here,
//! and some are navigations that can be followed on a snapshot. Deliberately leaves out properties that Graph refuses on
//! a collection (`aboutMe`, `mailboxSettings` …) or returns for a single object only, and says nothing of permissions.
//!
//! <https://learn.microsoft.com/graph/api/resources/user?view=graph-rest-1.0>

mod graph;

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::record::Collection;

/// The type of a property or an expression. OData knows no collections of collections, so `many` says it all.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Type {
    pub kind: Kind,
    /// A collection of `kind`; evaluates to a list.
    pub many: bool,
}

/// What a value, or each item of a collection, is. Names are OData's without `Edm.`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// Not known before evaluation: fits everywhere.
    Any,
    Bool,
    Int,
    Double,
    Text,
    Guid,
    DateTime,
    Date,
    /// A time of day.
    Time,
    Duration,
    /// Base64url text.
    Binary,
    /// A value with properties of its own, such as one entry of `assignedLicenses`.
    Complex(&'static [(&'static str, Type)]),
    /// A record of one of these collections.
    Record(&'static [Collection]),
}

impl Kind {
    /// A record of one collection.
    pub fn record(collection: Collection) -> Kind {
        Kind::Record(collection.alone())
    }
}

impl Type {
    pub const ANY: Type = Type::one(Kind::Any);
    pub const BOOL: Type = Type::one(Kind::Bool);
    pub const INT: Type = Type::one(Kind::Int);
    pub const DOUBLE: Type = Type::one(Kind::Double);
    pub const TEXT: Type = Type::one(Kind::Text);
    pub const GUID: Type = Type::one(Kind::Guid);
    pub const DATE_TIME: Type = Type::one(Kind::DateTime);
    pub const DATE: Type = Type::one(Kind::Date);
    pub const TIME: Type = Type::one(Kind::Time);
    pub const DURATION: Type = Type::one(Kind::Duration);

    /// A single value.
    pub const fn one(kind: Kind) -> Type {
        Type { kind, many: false }
    }

    /// A collection of values.
    pub const fn list(kind: Kind) -> Type {
        Type { kind, many: true }
    }
}

impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.many { write!(f, "list of {}", self.kind) } else { write!(f, "{}", self.kind) }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Kind::Any => f.write_str("any type"),
            Kind::Bool => f.write_str("true/false"),
            Kind::Int | Kind::Double => f.write_str("number"),
            Kind::Text => f.write_str("text"),
            Kind::Guid => f.write_str("id (GUID)"),
            Kind::DateTime => f.write_str("date and time"),
            Kind::Date => f.write_str("date"),
            Kind::Time => f.write_str("time of day"),
            Kind::Duration => f.write_str("duration"),
            Kind::Binary => f.write_str("binary"),
            Kind::Complex(_) => f.write_str("object with properties"),
            Kind::Record([]) => f.write_str("record"),
            Kind::Record(collections) => {
                let names: Vec<&str> = collections.iter().map(|collection| collection.name()).collect();
                write!(f, "record of {}", names.join(" or "))
            }
        }
    }
}

/// A way from one record to others.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Navigation {
    /// User to the user it reports to.
    Manager,
    /// User, group or device to the groups it is a direct member of.
    MemberOf,
    /// User to the users that report to it.
    DirectReports,
    /// User, group or device to the groups that hold it, directly or through nested groups.
    TransitiveMemberOf,
    /// Group to its direct members of any kind.
    Members,
    /// Group to everything it holds, directly or through nested groups, itself not.
    TransitiveMembers,
    /// Group to its owners.
    Owners,
    /// User to the groups it owns.
    OwnedGroups,
    /// Device to who registered it.
    RegisteredOwners,
    /// Device to who uses it.
    RegisteredUsers,
    /// User to the devices it registered.
    OwnedDevices,
    /// User to the devices it uses.
    RegisteredDevices,
    /// User to the SKUs it holds, each once, however assigned. An assignment in state `Error` does not count.
    Licenses,
    /// Pair to the object at its first end: a membership to its group, a nesting to the containing group, a device's
    /// owner to the device.
    Container,
    /// Pair to the object at its second end: a membership to its member, a nesting to the contained group.
    Member,
    /// Effective membership to the groups by which it holds: from its own group down to the one that the member is a
    /// direct member of.
    Path,
    /// License assignment to its user.
    User,
    /// License assignment to its SKU.
    License,
    /// License assignment to the group it comes through; null when direct.
    AssignedGroup,
}

impl Navigation {
    /// Whether it may lead to several records.
    pub fn is_many(self) -> bool {
        match self {
            Navigation::Manager | Navigation::Container | Navigation::Member => false,
            Navigation::User | Navigation::License | Navigation::AssignedGroup => false,
            Navigation::MemberOf | Navigation::TransitiveMemberOf | Navigation::Members => true,
            Navigation::TransitiveMembers | Navigation::Owners | Navigation::OwnedGroups => true,
            Navigation::RegisteredOwners | Navigation::RegisteredUsers | Navigation::OwnedDevices => true,
            Navigation::RegisteredDevices | Navigation::DirectReports => true,
            Navigation::Licenses | Navigation::Path => true,
        }
    }
}

/// Where a property's value comes from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Source {
    /// Read from Graph (or, for pairs and assignments, found while reading).
    Graph,
    /// Worked out from other properties, by whoever fills the record.
    Computed,
    /// Other records.
    Navigation(Navigation),
}

/// A property of a collection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Property {
    pub ty: Type,
    pub source: Source,
    /// What must be read besides, for this to have a value. Naming one property of a collection needs the collection.
    pub needs: &'static [(Collection, &'static str)],
    /// Collections that must be read besides, although no property of theirs is named.
    pub reads: &'static [Collection],
}

/// The property `name` of `collection`, spelled exactly as Graph does. Directory extensions
/// (`extension_<32 hexadecimal digits>_<name>`) and schema extensions (`ext<8 characters>_<name>`) cannot be listed
/// and are accepted as [`Kind::Any`], as is every property of a custom collection.
pub fn property(collection: Collection, name: &str) -> Option<Property> {
    if let Collection::Custom(_) = collection {
        return Some(Property { ty: Type::ANY, source: Source::Graph, needs: &[], reads: &[] });
    }
    if let Some((_, ty)) = graph::table(collection).iter().find(|(known, _)| *known == name) {
        let needs: &[_] = match collection {
            Collection::LicenseAssignments => &[(Collection::Users, "licenseAssignmentStates")],
            Collection::Users if name == SIGN_IN_ACTIVITY => &[(Collection::SignInActivity, SIGN_IN_ACTIVITY)],
            _ => &[],
        };
        return Some(Property { ty: *ty, source: Source::Graph, needs, reads: &[] });
    }
    if let Some((_, property)) = special_table(collection).iter().find(|(known, _)| *known == name) {
        return Some(*property);
    }
    use Collection::{AdministrativeUnits, DeletedGroups, DeletedUsers, Devices, Groups, Organization, Users};
    // <https://learn.microsoft.com/graph/extensibility-overview>
    let extensible = matches!(
        collection,
        Users | Groups | Devices | AdministrativeUnits | Organization | DeletedUsers | DeletedGroups
    );
    (extensible && is_extension(name)).then_some(Property {
        ty: Type::ANY,
        source: Source::Graph,
        needs: &[],
        reads: &[],
    })
}

/// The names an expression over `collection` may use, without extensions, in no useful order.
pub fn names(collection: Collection) -> impl Iterator<Item = &'static str> {
    let special = special_table(collection).iter().map(|(name, _)| *name);
    graph::table(collection).iter().map(|(name, _)| *name).chain(special)
}

fn is_extension(name: &str) -> bool {
    let named = |rest: &str| rest.strip_prefix('_').is_some_and(|name| !name.is_empty());
    if let Some(rest) = name.strip_prefix("extension_") {
        let digits = rest.bytes().take_while(u8::is_ascii_hexdigit).count();
        return digits == 32 && named(&rest[digits..]);
    }
    // A schema extension registered without a verified domain: `ext`, eight characters, a name.
    name.strip_prefix("ext").is_some_and(|rest| {
        let id = rest.bytes().take_while(u8::is_ascii_alphanumeric).count();
        id == 8 && named(&rest[id..])
    })
}

/// The property of users that is read in a pass of its own, [`Collection::SignInActivity`].
pub const SIGN_IN_ACTIVITY: &str = "signInActivity";

const fn computed(ty: Type, needs: &'static [(Collection, &'static str)]) -> Property {
    Property { ty, source: Source::Computed, needs, reads: &[] }
}

const fn navigation(
    via: Navigation,
    many: bool,
    to: &'static [Collection],
    needs: &'static [(Collection, &'static str)],
    reads: &'static [Collection],
) -> Property {
    Property { ty: Type { kind: Kind::Record(to), many }, source: Source::Navigation(via), needs, reads }
}

/// Computed properties and navigations.
fn special_table(collection: Collection) -> &'static [(&'static str, Property)] {
    use Collection::*;
    const STATES: (Collection, &str) = (Users, "licenseAssignmentStates");
    const MEMBER_OF: Property = navigation(Navigation::MemberOf, true, &[Groups], &[], &[Memberships]);
    const LISTS: &[Collection] = &[Memberships, Nestings];
    const MEMBERS: &[Collection] = &[Users, Groups, Devices];
    const HELD_BY: Property = navigation(Navigation::TransitiveMemberOf, true, &[Groups], &[], LISTS);
    const ASSIGNED_BY: Property = Property {
        ty: Type::list(Kind::Record(&[Groups])),
        source: Source::Computed,
        needs: &[STATES],
        reads: &[Groups],
    };
    const PRODUCT: &[(Collection, &str)] = &[(Licenses, "skuId"), (Licenses, "skuPartNumber")];
    const HELD: &[(Collection, &str)] = &[STATES, (Licenses, "skuId")];
    const ASSIGNED: &[(Collection, &str)] = &[STATES, (Licenses, "skuId"), (Licenses, "skuPartNumber")];
    match collection {
        Users => {
            &const {
                [
                    ("manager", navigation(Navigation::Manager, false, &[Users], &[], &[])),
                    ("directReports", navigation(Navigation::DirectReports, true, &[Users], &[], &[])),
                    ("memberOf", MEMBER_OF),
                    ("transitiveMemberOf", HELD_BY),
                    ("ownedGroups", navigation(Navigation::OwnedGroups, true, &[Groups], &[], &[GroupOwners])),
                    ("ownedDevices", navigation(Navigation::OwnedDevices, true, &[Devices], &[], &[DeviceOwners])),
                    (
                        "registeredDevices",
                        navigation(Navigation::RegisteredDevices, true, &[Devices], &[], &[DeviceUsers]),
                    ),
                    ("licenses", navigation(Navigation::Licenses, true, &[Licenses], HELD, &[])),
                ]
            }
        }
        Groups => {
            &const {
                [
                    ("members", navigation(Navigation::Members, true, MEMBERS, &[], LISTS)),
                    ("transitiveMembers", navigation(Navigation::TransitiveMembers, true, MEMBERS, &[], LISTS)),
                    ("memberOf", navigation(Navigation::MemberOf, true, &[Groups], &[], &[Nestings])),
                    (
                        "transitiveMemberOf",
                        navigation(Navigation::TransitiveMemberOf, true, &[Groups], &[], &[Nestings]),
                    ),
                    ("owners", navigation(Navigation::Owners, true, &[Users], &[], &[GroupOwners])),
                ]
            }
        }
        Devices => {
            &const {
                [
                    ("memberOf", MEMBER_OF),
                    ("transitiveMemberOf", HELD_BY),
                    (
                        "registeredOwners",
                        navigation(Navigation::RegisteredOwners, true, &[Users], &[], &[DeviceOwners]),
                    ),
                    ("registeredUsers", navigation(Navigation::RegisteredUsers, true, &[Users], &[], &[DeviceUsers])),
                ]
            }
        }
        Memberships => &const { ends(Memberships, "group", "member") },
        Nestings => &const { ends(Nestings, "parent", "child") },
        EffectiveMemberships => {
            &const {
                let [group, member] = ends(EffectiveMemberships, "group", "member");
                [group, member, ("path", navigation(Navigation::Path, true, &[Groups], &[], LISTS))]
            }
        }
        GroupOwners => &const { ends(GroupOwners, "group", "owner") },
        DeviceOwners => &const { ends(DeviceOwners, "device", "owner") },
        DeviceUsers => &const { ends(DeviceUsers, "device", "user") },
        AdministrativeUnitMembers => &const { ends(AdministrativeUnitMembers, "unit", "member") },
        DirectoryRoleMembers => &const { ends(DirectoryRoleMembers, "role", "member") },
        Licenses => {
            &const {
                [
                    ("productName", computed(Type::TEXT, PRODUCT)),
                    ("assignedBy", ASSIGNED_BY),
                    ("servicePlanNames", computed(Type::list(Kind::Text), &[(Licenses, "servicePlans")])),
                    ("available", computed(Type::INT, &[(Licenses, "prepaidUnits"), (Licenses, "consumedUnits")])),
                ]
            }
        }
        LicenseAssignments => {
            &const {
                [
                    ("skuPartNumber", computed(Type::TEXT, ASSIGNED)),
                    ("productName", computed(Type::TEXT, ASSIGNED)),
                    ("user", navigation(Navigation::User, false, &[Users], &[STATES], &[])),
                    ("license", navigation(Navigation::License, false, &[Licenses], HELD, &[])),
                    ("group", navigation(Navigation::AssignedGroup, false, &[Groups], &[STATES], &[])),
                ]
            }
        }
        SignInActivity | AdministrativeUnits | DirectoryRoles | Organization | DeletedUsers | DeletedGroups
        | Custom(_) => &[],
    }
}

/// The ways from a pair to its ends, under these names.
const fn ends(collection: Collection, first: &'static str, second: &'static str) -> [(&'static str, Property); 2] {
    let Some(pairs) = collection.pairs() else { panic!("only pairs have ends") };
    let of = match pairs.of {
        Collection::Devices => &[Collection::Devices],
        Collection::AdministrativeUnits => &[Collection::AdministrativeUnits],
        Collection::DirectoryRoles => &[Collection::DirectoryRoles],
        _ => &[Collection::Groups],
    };
    [
        (first, navigation(Navigation::Container, false, of, &[], &[])),
        (second, navigation(Navigation::Member, false, pairs.members, &[], &[])),
    ]
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde_json::Value;

    use super::*;

    /// Properties that Graph v1.0 has and that an expression may not name.
    const LEFT_OUT: [(Collection, &str, &[&str]); 6] = [
        (
            Collection::Users,
            "refused with 501 on a list",
            &[
                "aboutMe",
                "birthday",
                "hireDate",
                "interests",
                "mailboxSettings",
                "mySite",
                "pastProjects",
                "preferredName",
                "responsibilities",
                "schools",
                "skills",
            ],
        ),
        (Collection::Users, "there to be written; the password is never returned", &["passwordProfile"]),
        (Collection::Users, "lists of their own, one request a user", &["licenseDetails", "print"]),
        (
            Collection::Groups,
            "returned for a single group only",
            &[
                "accessType",
                "allowExternalSenders",
                "autoSubscribeNewMembers",
                "hideFromAddressLists",
                "hideFromOutlookClients",
                "isFavorite",
                "isSubscribedByMail",
                "unseenConversationsCount",
                "unseenCount",
                "unseenMessagesCount",
                "welcomeMessageEnabled",
            ],
        ),
        (Collection::Groups, "only to filter by, never returned", &["hasMembersWithLicenseErrors"]),
        (Collection::Groups, "of the team, not of the group", &["isArchived"]),
    ];

    /// Text in Graph's description, and what it holds all the same.
    const NARROWER: [(&str, Kind); 2] = [("assignedByGroup", Kind::Guid), ("key", Kind::Binary)];

    /// What a description without `$ref` says, and whether it is a list.
    fn resolved<'a>(of: &'a Value, schemas: &'a Value) -> &'a Value {
        if let Some(choices) = of.get("anyOf").and_then(Value::as_array) {
            let choice = choices.iter().find(|choice| choice.get("type") != Some(&"null".into()));
            return resolved(choice.expect("more than null"), schemas);
        }
        match of.get("$ref").and_then(Value::as_str).and_then(|path| path.rsplit('/').next()) {
            Some(name) => resolved(&schemas[name], schemas),
            None => of,
        }
    }

    /// Where a type differs from what Graph's description says of it; nothing where it does not.
    fn differences(at: &str, ty: Type, described: &Value, schemas: &Value) -> Vec<String> {
        let described = resolved(described, schemas);
        if ty == Type::ANY {
            return Vec::new();
        }
        let is = |name: &str| match &described["type"] {
            Value::Array(names) => names.iter().any(|known| known == name),
            known => known == name,
        };
        let wrong = || vec![format!("{at} is {ty} here, and there {described}")];
        if is("array") != ty.many {
            return wrong();
        }
        if ty.many {
            return differences(at, Type::one(ty.kind), &described["items"], schemas);
        }
        let name = at.rsplit('/').next().unwrap_or_default();
        if is("string") && NARROWER.contains(&(name, ty.kind)) {
            return Vec::new();
        }
        let kind = match described["format"].as_str() {
            Some("date-time") => Kind::DateTime,
            Some("uuid") => Kind::Guid,
            _ if is("boolean") => Kind::Bool,
            _ if is("integer") => Kind::Int,
            _ if is("number") => Kind::Double,
            _ if is("string") => Kind::Text,
            _ => {
                let Kind::Complex(table) = ty.kind else { return wrong() };
                let table = table.iter().copied().collect::<BTreeMap<_, _>>();
                return unlike(at, &table, &described["properties"], schemas);
            }
        };
        if kind == ty.kind { Vec::new() } else { wrong() }
    }

    fn unlike(at: &str, table: &BTreeMap<&str, Type>, described: &Value, schemas: &Value) -> Vec<String> {
        let described = described.as_object().expect("properties");
        let there = described.keys().filter(|name| !table.contains_key(name.as_str()));
        let mut found: Vec<String> = there.map(|name| format!("{at}/{name} is not here")).collect();
        for (name, ty) in table {
            match described.get(*name) {
                Some(described) => found.extend(differences(&format!("{at}/{name}"), *ty, described, schemas)),
                None => found.push(format!("{at}/{name} is not there")),
            }
        }
        found
    }

    #[test]
    fn the_tables_hold_every_property_that_graph_has() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/graph-sim/openapi/graph-v1.0.openapi.json");
        let description: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
        let schemas = &description["components"]["schemas"];
        use Collection::{AdministrativeUnits, Devices, DirectoryRoles, Groups, Licenses, Organization, Users};
        let mut found = Vec::new();
        for (collection, name) in [
            (Users, "user"),
            (Groups, "group"),
            (Devices, "device"),
            (Licenses, "subscribedSku"),
            (AdministrativeUnits, "administrativeUnit"),
            (DirectoryRoles, "directoryRole"),
            (Organization, "organization"),
        ] {
            let mut described = schemas[format!("microsoft.graph.{name}")]["properties"].clone();
            let is_left_out =
                |property: &str| LEFT_OUT.iter().any(|(of, _, names)| *of == collection && names.contains(&property));
            let is_way = |property: &str| special_table(collection).iter().any(|(known, _)| *known == property);
            described.as_object_mut().unwrap().retain(|property, _| !is_left_out(property) && !is_way(property));
            let table = graph::table(collection).iter().copied().collect::<BTreeMap<_, _>>();
            assert!(!table.keys().any(|property| is_left_out(property)), "{name} has what it leaves out");
            found.extend(unlike(name, &table, &described, schemas));
        }
        assert!(found.is_empty(), "{found:#?}");
    }

    #[test]
    fn every_collection_knows_its_everyday_properties() {
        let cases = [
            (Collection::Users, "accountEnabled", Type::BOOL),
            (Collection::Users, "employeeOrgData", Type::one(Kind::Complex(graph::EMPLOYEE_ORG_DATA))),
            (Collection::Users, "memberOf", Type::list(Kind::Record(&[Collection::Groups]))),
            (Collection::Users, "extension_0123456789abcdef0123456789abcdef_badge", Type::ANY),
            (Collection::Groups, "extab12cd34_course", Type::ANY),
            (Collection::Groups, "groupTypes", Type::list(Kind::Text)),
            (Collection::Memberships, "memberType", Type::TEXT),
            (Collection::Nestings, "parentId", Type::GUID),
            (Collection::Licenses, "available", Type::INT),
            (Collection::LicenseAssignments, "assignedByGroup", Type::GUID),
            (Collection::Devices, "approximateLastSignInDateTime", Type::DATE_TIME),
        ];
        for (collection, name, ty) in cases {
            assert_eq!(property(collection, name).map(|property| property.ty), Some(ty), "{collection}/{name}");
        }
    }

    #[test]
    fn names_that_cannot_be_read_are_unknown() {
        let cases = [
            (Collection::Users, "hireDate"),
            (Collection::Users, "accountenabled"),
            (Collection::Users, "extension_0123_badge"),
            (Collection::Users, "extab12cd34_"),
            (Collection::Licenses, "extab12cd34_course"),
            (Collection::Groups, "hasMembersWithLicenseErrors"),
        ];
        for (collection, name) in cases {
            assert_eq!(property(collection, name), None, "{collection}/{name}");
        }
    }

    #[test]
    fn names_are_unique_and_what_is_needed_exists() {
        for collection in Collection::ALL {
            let mut all: Vec<_> = names(collection).collect();
            all.sort_unstable();
            let count = all.len();
            all.dedup();
            assert_eq!(all.len(), count, "{collection}");
            for name in all {
                let found = property(collection, name).expect("a listed name");
                for (other, needed) in found.needs {
                    let needed = property(*other, needed).expect("a needed property exists");
                    assert_eq!(needed.source, Source::Graph, "{collection}/{name}");
                }
            }
        }
    }
}
