//! What people and other importers call the things of Entra ID: object types, attributes, links.
//!
//! Tables only, and how names are folded so that `E-Mail Address` and `emailAddress` are one. The names of Graph's own
//! properties are not repeated here: they are matched as they are. Deliberately English; what is not found is listed
//! for a person by [`super::propose`], never guessed.

use crate::record::Collection;
use crate::schema::{self, Kind};

/// One name for all its spellings: letters and digits in lower case.
pub(super) fn folded(name: &str) -> String {
    name.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect()
}

/// What importers put before names.
const VENDORS: [&str; 14] = [
    "microsoftentraid",
    "microsoftentra",
    "entraid",
    "entra",
    "azureactivedirectory",
    "azuread",
    "azure",
    "aad",
    "microsoft365",
    "microsoft",
    "office365",
    "m365",
    "o365",
    "intune",
];

/// The names to look a folded name up by, the most literal first: as it is, and without the importer's and the type's
/// own name before it.
fn readings<'n>(name: &'n str, own: &[&str]) -> Vec<&'n str> {
    let mut readings = vec![name];
    for prefix in VENDORS.iter().chain(own) {
        for at in 0..readings.len() {
            let rest = readings[at].strip_prefix(prefix).filter(|rest| !rest.is_empty() && !readings.contains(rest));
            readings.extend(rest);
        }
    }
    readings
}

/// The collections that object types are proposed for, each with the mapping's name and what such types are called.
pub(super) const KINDS: [(Collection, &str, &[&str]); 4] = [
    (
        Collection::Licenses,
        "license",
        &["license", "licence", "softwarelicense", "softwarelicence", "sku", "subscription", "product"],
    ),
    (Collection::Groups, "group", &["group", "securitygroup", "usergroup"]),
    (
        Collection::Users,
        "user",
        &["user", "useraccount", "account", "identity", "person", "people", "employee", "staff", "colleague"],
    ),
    (
        Collection::Devices,
        "device",
        &["device", "manageddevice", "registereddevice", "computer", "laptop", "workstation", "endpoint", "pc"],
    ),
];

/// Whether a type of that name holds records of the collection.
pub(super) fn is_kind(collection: Collection, name: &str) -> bool {
    let folded = folded(name);
    let names = KINDS.iter().find(|(of, ..)| *of == collection).map_or(&[][..], |(_, _, names)| names);
    let single = |name: &str| name.strip_suffix('s').is_some_and(|name| names.contains(&name));
    readings(&folded, &["ad"]).into_iter().any(|name| names.contains(&name) || single(name))
}

/// What tells a collection's records from others whatever their type is called.
pub(super) fn marks(collection: Collection) -> &'static [&'static str] {
    match collection {
        Collection::Users => &["userPrincipalName", "givenName", "surname", "jobTitle", "manager/id", "employeeId"],
        Collection::Groups => &["securityEnabled", "mailEnabled", "membershipRule", "visibility"],
        Collection::Licenses => &["skuId", "skuPartNumber", "consumedUnits", "prepaidUnits/enabled"],
        Collection::Devices => &["deviceId", "operatingSystem", "operatingSystemVersion", "trustType", "isCompliant"],
        _ => &[],
    }
}

/// A value and what attributes for it are called.
type Row = (&'static str, &'static [&'static str]);

const USERS: &[Row] = &[
    ("coalesce(displayName, userPrincipalName)", &["name", "fullname", "label"]),
    ("userPrincipalName", &["upn", "username", "login", "loginname", "logonname", "accountname", "signinname"]),
    ("mail", &["email", "emailaddress", "mailaddress", "primaryemail", "primarymail", "workemail", "businessemail"]),
    ("jobTitle", &["title", "position", "jobposition", "jobrole"]),
    ("department", &["dept", "departmentname", "orgunit"]),
    ("companyName", &["company", "organization", "organisation", "employer"]),
    ("officeLocation", &["office", "location", "site", "building", "workplace"]),
    ("givenName", &["firstname", "forename"]),
    ("surname", &["lastname", "familyname"]),
    ("mobilePhone", &["mobile", "mobilenumber", "mobilephonenumber", "cell", "cellphone", "cellphonenumber"]),
    (
        "businessPhones",
        &[
            "phone",
            "phonenumber",
            "telephone",
            "telephonenumber",
            "workphone",
            "businessphone",
            "officephone",
            "landline",
        ],
    ),
    ("faxNumber", &["fax"]),
    ("employeeId", &["employeenumber", "employeeno", "personnelnumber", "personnelid", "staffid", "staffnumber"]),
    ("employeeType", &["employmenttype", "contracttype"]),
    ("employeeHireDate", &["hiredate", "startdate", "joindate", "joiningdate", "entrydate"]),
    ("employeeLeaveDateTime", &["leavedate", "leavingdate", "enddate", "exitdate"]),
    ("employeeOrgData/costCenter", &["costcenter", "costcentre"]),
    ("employeeOrgData/division", &["division"]),
    ("streetAddress", &["street", "address"]),
    ("postalCode", &["zip", "zipcode", "postcode"]),
    ("city", &["town"]),
    ("state", &["province", "region", "stateprovince", "stateorprovince"]),
    ("country", &["countryregion", "countryorregion"]),
    ("preferredLanguage", &["language"]),
    ("accountEnabled", &["enabled", "active", "isactive", "isenabled", "accountactive"]),
    ("coalesce(userType, 'Member')", &["usertype", "accounttype", "type", "memberorguest"]),
    ("createdDateTime", &["createdon", "createdat", "creationdate", "accountcreated"]),
    (
        "coalesce(onPremisesSyncEnabled, false)",
        &["onpremisessync", "onpremsync", "onpremisessynced", "dirsync", "synced"],
    ),
    ("onPremisesSamAccountName", &["samaccountname", "sam", "ntlogin"]),
    ("onPremisesDistinguishedName", &["distinguishedname", "dn"]),
    ("onPremisesDomainName", &["domain", "addomain"]),
    ("otherMails", &["otheremails", "alternateemail", "alternateemails", "secondaryemail"]),
    ("proxyAddresses", &["aliases", "emailaliases", "proxyaddress"]),
    ("signInActivity/lastSignInDateTime", &["lastsignin", "lastlogin", "lastlogon", "lastsignindate"]),
];

const GROUPS: &[Row] = &[
    ("displayName", &["name", "label", "groupname"]),
    ("description", &["notes", "purpose"]),
    ("mail", &["email", "emailaddress", "mailaddress", "groupemail"]),
    ("mailEnabled", &["ismailenabled"]),
    ("securityEnabled", &["issecurityenabled", "security"]),
    ("membershipRule", &["dynamicrule", "rule", "dynamicmembershiprule"]),
    ("createdDateTime", &["createdon", "createdat", "creationdate"]),
    ("onPremisesSyncEnabled", &["onpremisessync", "onpremsync", "dirsync", "synced"]),
    (GROUP_TYPE, &["grouptype", "type", "kind"]),
];

const LICENSES: &[Row] = &[
    (
        "coalesce(productName, skuPartNumber)",
        &["name", "label", "product", "productname", "displayname", "friendlyname"],
    ),
    ("skuPartNumber", &["partnumber", "sku", "skuname", "stringid", "code", "productcode"]),
    ("capabilityStatus", &["status", "state"]),
    (
        "prepaidUnits/enabled",
        &[
            "purchased",
            "total",
            "totalunits",
            "quantity",
            "units",
            "prepaidunits",
            "seats",
            "totalseats",
            "totallicenses",
            "enabledunits",
        ],
    ),
    ("consumedUnits", &["consumed", "used", "inuse", "assigned", "assignedunits", "assignedlicenses", "usedseats"]),
    ("available", &["remaining", "free", "unassigned", "availableunits", "availablelicenses", "availableseats"]),
    ("servicePlanNames", &["serviceplans", "plans", "services"]),
];

const DEVICES: &[Row] = &[
    ("displayName", &["name", "label", "devicename", "computername", "hostname"]),
    ("deviceId", &["deviceid", "azureaddeviceid", "intuneazureaddeviceid"]),
    ("operatingSystem", &["os", "platform", "osname"]),
    ("operatingSystemVersion", &["osversion", "operatingsystemversion", "osbuild"]),
    ("trustType", &["jointype", "trust"]),
    ("isCompliant", &["compliant", "compliance"]),
    ("isManaged", &["managed", "mdmmanaged"]),
    ("accountEnabled", &["enabled", "active", "isactive", "isenabled"]),
    (
        "approximateLastSignInDateTime",
        &["lastsignin", "lastseen", "lastlogon", "lastlogin", "lastactivity", "lastactive", "lastcheckin"],
    ),
    ("registrationDateTime", &["registered", "registrationdate", "registeredon"]),
    ("manufacturer", &["vendor", "make", "brand"]),
    ("model", &["modelname", "hardwaremodel"]),
    ("deviceOwnership", &["ownership"]),
];

/// What Entra's pages call the type of a group follows from flags.
pub(super) const GROUP_TYPE: &str = "case(groupTypes/any(t: t eq 'Unified'): 'Microsoft 365', mailEnabled eq true and securityEnabled eq true: 'Mail-enabled security', mailEnabled eq true: 'Distribution', true: 'Security')";

/// The value by which records are told apart.
pub(super) fn id_of(collection: Collection) -> &'static str {
    if collection == Collection::Licenses { "skuId" } else { "id" }
}

/// How surely an attribute of that name holds the id: by its name alone, or only if what stands there is one.
pub(super) fn is_id(collection: Collection, name: &str) -> Option<Sure> {
    const SURE: [&str; 16] = [
        "objectid",
        "entraid",
        "entraobjectid",
        "microsoftentraid",
        "azureid",
        "azureadid",
        "azureobjectid",
        "azureadobjectid",
        "aadid",
        "aadobjectid",
        "adobjectid",
        "directoryobjectid",
        "graphid",
        "oid",
        "skuid",
        "objectguid",
    ];
    const MAYBE: [&str; 12] = [
        "id",
        "userid",
        "groupid",
        "licenseid",
        "licenceid",
        "productid",
        "externalid",
        "sourceid",
        "guid",
        "uid",
        "uuid",
        "uniqueid",
    ];
    let name = folded(name);
    // A license's own object id names tenant and product, and is not what users refer to.
    let sure = match collection {
        Collection::Licenses => name == "skuid",
        _ => SURE.contains(&name.as_str()) && name != "skuid",
    };
    match () {
        () if sure => Some(Sure::ByName),
        () if MAYBE.contains(&name.as_str()) || SURE.contains(&name.as_str()) => Some(Sure::ByContent),
        () => None,
    }
}

/// See [`is_id`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Sure {
    ByName,
    ByContent,
}

/// The expression for a plain attribute of that name.
pub(super) fn value(collection: Collection, name: &str) -> Option<&'static str> {
    let (rows, own): (&[Row], &[&str]) = match collection {
        Collection::Users => (USERS, &["user", "account", "employee"]),
        Collection::Groups => (GROUPS, &["group"]),
        Collection::Licenses => (LICENSES, &["license", "licence", "product", "sku"]),
        Collection::Devices => (DEVICES, &["device", "computer"]),
        _ => (&[], &[]),
    };
    let folded = folded(name);
    readings(&folded, own).into_iter().find_map(|name| {
        let row = rows.iter().find(|(_, names)| names.contains(&name)).map(|(value, _)| *value);
        row.or_else(|| property(collection, name))
    })
}

/// The property of Graph that is called so; `Last Password Change` is `lastPasswordChangeDateTime`, too.
fn property(collection: Collection, folded_name: &str) -> Option<&'static str> {
    let bare = |text: &str| {
        let text = text.strip_prefix("is").filter(|rest| rest.len() > 3).unwrap_or(text);
        let ends = ["datetime", "date", "time"];
        ends.iter().find_map(|end| text.strip_suffix(end)).unwrap_or(text).to_string()
    };
    let plain = |name: &&str| {
        let kind = schema::property(collection, name).map(|property| property.ty.kind);
        !matches!(kind, None | Some(Kind::Complex(_) | Kind::Record(_) | Kind::Binary | Kind::Any))
    };
    let all = || schema::names(collection).filter(plain).filter(|name| *name != "id");
    let exact = all().find(|name| folded(name) == folded_name);
    exact.or_else(|| all().find(|name| bare(&folded(name)) == bare(folded_name)))
}

/// A way to other records, and what attributes for it are called.
pub(super) struct Link {
    names: &'static [&'static str],
    pub to: Collection,
    /// The key of what it leads to.
    pub id: &'static str,
    /// As a name.
    pub text: &'static str,
    /// As mail addresses, where it leads to people.
    pub mail: Option<&'static str>,
}

const MANAGER: &Link = &Link {
    names: &["manager", "reportsto", "supervisor", "linemanager", "boss", "teamlead", "superior"],
    to: Collection::Users,
    id: "manager/id",
    text: "manager/displayName",
    mail: Some("coalesce(manager/mail, manager/userPrincipalName)"),
};

const LINKS: &[(Collection, &[&Link])] = &[
    (
        Collection::Users,
        &[
            MANAGER,
            &Link {
                names: &[
                    "group",
                    "groups",
                    "memberof",
                    "membership",
                    "memberships",
                    "groupmembership",
                    "groupmemberships",
                    "securitygroups",
                ],
                to: Collection::Groups,
                id: "memberOf/id",
                text: "memberOf/displayName",
                mail: None,
            },
            &Link {
                names: &[
                    "license",
                    "licenses",
                    "licence",
                    "licences",
                    "assignedlicenses",
                    "assignedlicences",
                    "products",
                    "subscriptions",
                    "skus",
                ],
                to: Collection::Licenses,
                id: "licenses/skuId",
                text: "licenses/productName",
                mail: None,
            },
            &Link {
                names: &["device", "devices", "owneddevices", "computers", "laptops"],
                to: Collection::Devices,
                id: "ownedDevices/id",
                text: "ownedDevices/displayName",
                mail: None,
            },
        ],
    ),
    (
        Collection::Groups,
        &[
            &Link {
                names: &["parent", "parents", "parentgroup", "parentgroups", "memberof", "nestedin", "groups"],
                to: Collection::Groups,
                id: "memberOf/id",
                text: "memberOf/displayName",
                mail: None,
            },
            &Link {
                names: &["owner", "owners", "groupowner", "groupowners", "managedby"],
                to: Collection::Users,
                id: "owners/id",
                text: "owners/displayName",
                mail: Some("owners/mail"),
            },
        ],
    ),
    (
        Collection::Devices,
        &[
            &Link {
                names: &[
                    "owner",
                    "owners",
                    "registeredowner",
                    "registeredowners",
                    "deviceowner",
                    "assignedto",
                    "primaryuser",
                ],
                to: Collection::Users,
                id: "registeredOwners/id",
                text: "registeredOwners/displayName",
                mail: Some("registeredOwners/mail"),
            },
            &Link {
                names: &["user", "users", "registereduser", "registeredusers", "deviceuser", "usedby"],
                to: Collection::Users,
                id: "registeredUsers/id",
                text: "registeredUsers/displayName",
                mail: Some("registeredUsers/mail"),
            },
        ],
    ),
];

/// The link that an attribute of that name is for.
pub(super) fn link(collection: Collection, name: &str) -> Option<&'static Link> {
    let folded = folded(name);
    let of = LINKS.iter().find(|(of, _)| *of == collection)?.1;
    readings(&folded, &[]).into_iter().find_map(|name| of.iter().copied().find(|link| link.names.contains(&name)))
}

/// Whether an attribute of that name lists what Entra has by the thousand on one record.
pub(super) fn is_crowd(collection: Collection, name: &str) -> bool {
    let folded = folded(name);
    let name = folded.as_str();
    match collection {
        Collection::Groups => ["members", "member", "users", "groupmembers", "transitivemembers"].contains(&name),
        Collection::Licenses => ["users", "assignedto", "assignedusers", "holders", "members"].contains(&name),
        _ => false,
    }
}

/// Whether a User attribute of that name is for the account of the person whom the object is about.
pub(super) fn is_own_account(name: &str) -> bool {
    let names = [
        "user",
        "account",
        "jirauser",
        "jiraaccount",
        "atlassianuser",
        "atlassianaccount",
        "jira",
        "atlassianid",
        "reporter",
    ];
    names.contains(&folded(name).as_str())
}

/// Whether a status or an option says that something is in use, or that it is not.
pub(super) fn says_active(name: &str) -> Option<bool> {
    match folded(name).as_str() {
        "active" | "enabled" | "yes" | "true" | "inuse" | "inservice" | "running" | "current" | "on" => Some(true),
        "inactive" | "disabled" | "no" | "false" | "closed" | "removed" | "removedfromsource" | "left" | "leaver"
        | "retired" | "deactivated" | "deleted" | "terminated" | "decommissioned" | "stopped" | "off" | "blocked"
        | "former" => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::expr::{Catalog, compile};

    #[test]
    fn every_row_compiles_and_no_name_means_two_things() {
        let mut catalog = Catalog::new();
        for (collection, rows) in [
            (Collection::Users, USERS),
            (Collection::Groups, GROUPS),
            (Collection::Licenses, LICENSES),
            (Collection::Devices, DEVICES),
        ] {
            let mut seen: Vec<&str> = Vec::new();
            for (value, names) in rows {
                compile(value, Some(collection), &mut catalog).unwrap_or_else(|error| panic!("{value}: {error}"));
                for name in *names {
                    assert_eq!(folded(name), *name, "names are folded");
                    assert!(!seen.contains(name), "{collection}: {name} stands twice");
                    seen.push(name);
                }
            }
            for mark in marks(collection) {
                compile(mark, Some(collection), &mut catalog).unwrap_or_else(|error| panic!("{mark}: {error}"));
            }
            compile(id_of(collection), Some(collection), &mut catalog).unwrap();
        }
        for (collection, links) in LINKS {
            for link in *links {
                for value in [Some(link.id), Some(link.text), link.mail].into_iter().flatten() {
                    compile(value, Some(*collection), &mut catalog).unwrap_or_else(|error| panic!("{value}: {error}"));
                }
            }
        }
    }

    #[test]
    fn the_usual_names_are_found() {
        use Collection::{Devices, Groups, Licenses, Users};
        for (collection, name, expected) in [
            (Users, "E-Mail", Some("mail")),
            (Users, "Email Address", Some("mail")),
            (Users, "User Principal Name", Some("userPrincipalName")),
            (Users, "AAD UPN", Some("userPrincipalName")),
            (Users, "User Email", Some("mail")),
            (Users, "Entra Department", Some("department")),
            (Users, "Cost Centre", Some("employeeOrgData/costCenter")),
            (Users, "Last Password Change", Some("lastPasswordChangeDateTime")),
            (Users, "Created Date", Some("createdDateTime")),
            (Users, "Shoe Size", None),
            (Users, "ID", None),
            (Groups, "Group Name", Some("displayName")),
            (Groups, "Classification", Some("classification")),
            (Licenses, "SKU Part Number", Some("skuPartNumber")),
            (Licenses, "License Name", Some("coalesce(productName, skuPartNumber)")),
            (Devices, "Compliant", Some("isCompliant")),
            (Devices, "Device ID", Some("deviceId")),
            (Devices, "Rooted", Some("isRooted")),
            (Devices, "Serial Number", None),
        ] {
            assert_eq!(value(collection, name), expected, "{collection} {name}");
        }
        for (collection, name, expected) in [
            (Users, "Azure AD Users", true),
            (Users, "Person", true),
            (Users, "People", true),
            (Users, "Laptop", false),
            (Groups, "Entra ID Group", true),
            (Groups, "AD Groups", true),
            (Licenses, "Licences", true),
            (Devices, "Managed Devices", true),
            (Devices, "Printer", false),
        ] {
            assert_eq!(is_kind(collection, name), expected, "{collection} {name}");
        }
        assert_eq!(is_id(Users, "Object ID"), Some(Sure::ByName));
        assert_eq!(is_id(Users, "User ID"), Some(Sure::ByContent));
        assert_eq!(is_id(Licenses, "Object ID"), Some(Sure::ByContent));
        assert_eq!(is_id(Licenses, "SKU ID"), Some(Sure::ByName));
        assert_eq!(is_id(Users, "Badge"), None);
    }
}
