//! Made-up tenants of any size, the same for the same seed.
//!
//! Hides: names, and how real directories are unpleasant: accents, quotes, commas, line breaks and blanks in names; null
//! mail; guests; disabled accounts; manager cycles; nested groups with cycles and self-membership; hidden memberships;
//! licences by group and in error; a quarter of the groups holding nearly all memberships.
//! Deliberately does not: use real people beyond Microsoft's sample names, or fill every property.

use std::sync::Arc;

use fastrand::Rng;
use serde_json::{Value, json};
use sim_server::hash;

use crate::object::Object;
use crate::options::CLIENT_ID;
use crate::reply::guid;
use crate::schema::Kind;
use crate::tenant::{Member, Tenant};

/// How large a synthetic tenant is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size {
    /// Users, guests included.
    pub users: usize,
    /// Groups of all kinds.
    pub groups: usize,
    /// Direct memberships, about.
    pub memberships: usize,
    /// The share of the groups, in per cent, that holds 95 % of the memberships.
    pub large_percent: usize,
    /// Devices.
    pub devices: usize,
    /// subscribedSkus: six that Microsoft sells, and made-up ones that nobody holds.
    pub skus: usize,
    /// Deleted users.
    pub deleted: usize,
}

impl Default for Size {
    fn default() -> Self {
        Self { users: 200, groups: 60, memberships: 900, large_percent: 25, devices: 80, skus: 5, deleted: 3 }
    }
}

impl Size {
    /// Usual proportions for a number of users.
    #[must_use]
    pub fn of_users(users: usize) -> Self {
        Self {
            users,
            groups: users / 4 + 1,
            memberships: users * 6,
            large_percent: 25,
            devices: users / 2,
            skus: 6,
            deleted: users / 100,
        }
    }
}

const SAMPLES: [(&str, &str); 12] = [
    ("Adele", "Vance"),
    ("Alex", "Wilber"),
    ("Megan", "Bowen"),
    ("Diego", "Siciliani"),
    ("Lynne", "Robbins"),
    ("Patti", "Fernandez"),
    ("Joni", "Sherman"),
    ("Grady", "Archie"),
    ("Lidia", "Holloway"),
    ("Nestor", "Wilke"),
    ("Pradeep", "Gupta"),
    ("Isaiah", "Langer"),
];
const FIRST: [&str; 24] = [
    "Anna",
    "José",
    "Zoë",
    "Łukasz",
    "Søren",
    "Chloé",
    "Jürgen",
    "Ngọc",
    "Mary Jane",
    "Siân",
    "Björn",
    "Renée",
    "Yuki",
    "Omar",
    "Ivana",
    "Đorđe",
    "Aoife",
    "Tomáš",
    "Inês",
    "Ömer",
    "李娜",
    "Ольга",
    "Noël",
    "Sam",
];
const LAST: [&str; 20] = [
    "O'Neill",
    "Müller",
    "García López",
    "van der Berg",
    "Smith, Jr.",
    "Ångström",
    "D’Angelo",
    "Šimić",
    "Çelik",
    "Nguyễn",
    "Brown",
    "Wójcik",
    "Lefèvre",
    "Kowalski \"KO\"",
    "Петрова",
    "Tanaka",
    "Jones-Smythe",
    "Ó Briain",
    "Novák",
    "Silva",
];
const DEPARTMENTS: [&str; 8] = [
    "Sales & Marketing",
    "Finance",
    "IT",
    "Legal, Risk and Compliance",
    "R&D",
    "Human Resources",
    "Operations \"North\"",
    "Général",
];
const OFFICES: [&str; 6] = ["18/2111", "Zürich HQ", "São Paulo\r\nTower B", "London; Floor 3", "131/1104", "Remote"];
const TITLES: [&str; 7] =
    ["Product Manager", "Director", "Engineer, Sr.", "Analyst", "Assistant", "CVP Finance", "Paralegal"];
const COUNTRIES: [(&str, &str); 5] =
    [("United States", "US"), ("Deutschland", "DE"), ("Brasil", "BR"), ("France", "FR"), ("Schweiz", "CH")];

/// skuId, part number, bought units, status, for whom.
const SKUS: [(&str, &str, u32, &str, &str); 6] = [
    ("06ebc4ee-1bb5-47dd-8120-11324bc54e06", "SPE_E5", 500, "Enabled", "User"),
    ("6fd2c87f-b296-42f0-b197-1e91e994b900", "ENTERPRISEPACK", 250, "Enabled", "User"),
    ("f30db892-07e9-47e9-837c-80727f46fd3d", "FLOW_FREE", 10_000, "Enabled", "User"),
    ("078d2b04-f1bd-4111-bbd4-b4b1b354cef4", "AAD_PREMIUM", 20, "Warning", "User"),
    ("d17b27af-3f49-4822-99f9-56a661538792", "CRMSTANDARD", 25, "Suspended", "User"),
    ("1f2f344a-700d-42c9-9427-5cea1d5d7ba6", "STREAM", 1, "Enabled", "Company"),
];

/// Template and name of activated roles.
/// <https://learn.microsoft.com/entra/identity/role-based-access-control/permissions-reference>
const ROLES: [(&str, &str); 5] = [
    ("62e90394-69f5-4237-9190-012177145e10", "Global Administrator"),
    ("fe930be7-5e62-47db-91af-98c3a49a38b1", "User Administrator"),
    ("f2ef992c-3afb-46b9-b7cf-a126ee74c451", "Global Reader"),
    ("729827e3-9c14-49f7-bb1b-9608f156bbb8", "Helpdesk Administrator"),
    ("fdd7a751-b60b-444a-984c-02652fe8fa1c", "Groups Administrator"),
];

/// Ids in the order the objects are made: the same number gives the same id.
struct Maker {
    seed: u64,
    rng: Rng,
    users: Vec<Arc<str>>,
    groups: Vec<Arc<str>>,
    devices: Vec<Arc<str>>,
}

impl Tenant {
    /// A tenant of this size; the same seed and size give the same tenant.
    pub fn synthetic(seed: u64, size: &Size) -> Self {
        let mut maker = Maker::new(seed, size);
        let mut tenant = Self::new(&maker.guid("tenant", 0), "contoso.com");
        tenant.set_recording(false);
        for (id, part, units, status, scope) in SKUS.into_iter().take(size.skus) {
            tenant.put_sku(sku(tenant.id(), id, part, units, status, scope, size.users));
        }
        for number in SKUS.len()..size.skus {
            let id = maker.guid("sku", number);
            tenant.put_sku(sku(tenant.id(), &id, &format!("CONTOSO_{number}"), 10, "Enabled", "Company", size.users));
        }
        for number in 0..size.users {
            let user = maker.user(number, size.skus.min(4));
            tenant.put(Kind::User, user);
        }
        for number in 0..size.groups {
            let group = maker.group(number, size.skus.min(SKUS.len()));
            tenant.put(Kind::Group, group);
        }
        for number in 0..size.devices {
            let device = maker.device(number);
            tenant.put(Kind::Device, device);
        }
        maker.others(&mut tenant);
        maker.memberships(&mut tenant, size.memberships, size.large_percent.clamp(1, 99));
        maker.bury(&mut tenant, size);
        maker.surroundings(&mut tenant);
        tenant.set_recording(true);
        tenant
    }
}

impl Maker {
    fn new(seed: u64, size: &Size) -> Self {
        let mut maker =
            Self { seed, rng: Rng::with_seed(seed), users: Vec::new(), groups: Vec::new(), devices: Vec::new() };
        let ids = |what: &str, count: usize| (0..count).map(|number| maker.guid(what, number).into()).collect();
        let (users, groups, devices) =
            (ids("user", size.users), ids("group", size.groups), ids("device", size.devices));
        (maker.users, maker.groups, maker.devices) = (users, groups, devices);
        maker
    }

    fn guid(&self, what: &str, number: usize) -> String {
        let high = hash(format!("{}|{what}|{number}", self.seed).as_bytes());
        guid(high, hash(&high.to_le_bytes()))
    }

    fn pick<T: Copy>(&mut self, list: &[T]) -> T {
        list[self.rng.usize(..list.len())]
    }

    fn one_in(&mut self, n: u32) -> bool {
        self.rng.u32(..n) == 0
    }

    fn user(&mut self, number: usize, skus: usize) -> Value {
        let (first, last) = match SAMPLES.get(number) {
            Some(&sample) => sample,
            None => (self.pick(&FIRST), self.pick(&LAST)),
        };
        let guest = number >= SAMPLES.len() && self.one_in(12);
        let local =
            format!("{}{}", mail_name(first), if number < SAMPLES.len() { String::new() } else { number.to_string() });
        let mail = if guest { format!("{local}@fabrikam.com") } else { format!("{local}@contoso.com") };
        let upn = if guest { format!("{local}_fabrikam.com#EXT#@contoso.onmicrosoft.com") } else { mail.clone() };
        let display = match number % 97 {
            13 => format!("{first}  {last} "),
            29 => format!("{last}, {first}\n(extern)"),
            _ => format!("{first} {last}"),
        };
        let (country, usage) = self.pick(&COUNTRIES);
        let mut user = json!({
            "id": *self.users[number], "displayName": display, "givenName": first, "surname": last, "userPrincipalName": upn,
            "mail": mail, "mailNickname": upn.split('@').next(), "accountEnabled": !self.one_in(9), "userType": if guest { "Guest" } else { "Member" },
            "createdDateTime": self.time(2018), "department": self.pick(&DEPARTMENTS), "officeLocation": self.pick(&OFFICES),
            "jobTitle": self.pick(&TITLES), "country": country, "usageLocation": usage, "companyName": if guest { "Fabrikam, Inc." } else { "Contoso" },
            "employeeId": format!("{number:06}"), "businessPhones": [format!("+1 425 555 {:04}", number % 10_000)],
            "proxyAddresses": [format!("SMTP:{mail}")], "preferredLanguage": "en-US",
        });
        if guest {
            user["creationType"] = "Invitation".into();
            user["externalUserState"] = self.pick(&["Accepted", "PendingAcceptance"]).into();
        }
        self.gaps(&mut user, number);
        self.licenses(&mut user, skus);
        self.manager(&mut user, number);
        user
    }

    /// What is missing or odd in real directories.
    fn gaps(&mut self, user: &mut Value, number: usize) {
        let clear = |user: &mut Value, name: &str| user[name] = Value::Null;
        for (name, n) in
            [("mail", 10), ("department", 7), ("officeLocation", 5), ("jobTitle", 6), ("employeeId", 8), ("country", 9)]
        {
            if number >= SAMPLES.len() && self.one_in(n) {
                clear(user, name);
            }
        }
        if self.one_in(40) {
            clear(user, "userType");
            clear(user, "createdDateTime");
        }
        if self.one_in(3) {
            user["businessPhones"] = json!([]);
        }
        if self.one_in(4) {
            user["onPremisesSyncEnabled"] = true.into();
            user["onPremisesSamAccountName"] = format!("CONTOSO-{number}").into();
            user["onPremisesExtensionAttributes"] =
                json!({"extensionAttribute1": format!("CC-{}", number % 50), "extensionAttribute2": null});
        }
        if !self.one_in(5) {
            let at = self.time(2025);
            user["signInActivity"] = json!({
                "lastSignInDateTime": at, "lastSignInRequestId": self.guid("sign-in", number), "lastNonInteractiveSignInDateTime": at,
                "lastSuccessfulSignInDateTime": at,
            });
        }
    }

    fn time(&mut self, year: u32) -> String {
        let (month, day, hour, minute) =
            (self.rng.u32(1..=12), self.rng.u32(1..=28), self.rng.u32(..24), self.rng.u32(..60));
        format!("{year}-{month:02}-{day:02}T{hour:02}:{minute:02}:00Z")
    }

    fn licenses(&mut self, user: &mut Value, skus: usize) {
        let mut states = Vec::new();
        for (sku, ..) in SKUS.into_iter().take(skus) {
            if !self.one_in(3) {
                continue;
            }
            let by_group = self.one_in(2) && !self.groups.is_empty();
            let group =
                if by_group { Value::from(&*self.groups[self.rng.usize(..self.groups.len())]) } else { Value::Null };
            let (state, error) = match self.rng.u32(..20) {
                0 => ("Error", "CountViolation"),
                1 => ("ActiveWithError", "ProhibitedInUsageLocationViolation"),
                2 => ("Disabled", "None"),
                _ => ("Active", "None"),
            };
            let mut entry = |group: Value, state: &str, error: &str| {
                states.push(json!({
                    "skuId": sku, "disabledPlans": [], "assignedByGroup": group, "state": state, "error": error,
                    "lastUpdatedDateTime": "2025-06-01T08:00:00Z",
                }));
            };
            entry(group, state, error);
            if by_group && error == "None" && self.one_in(6) {
                entry(Value::Null, "Active", "None");
            }
        }
        let mut held: Vec<Value> = Vec::new();
        for state in states.iter().filter(|state| state["state"] != "Error") {
            let license = json!({"disabledPlans": [], "skuId": state["skuId"]});
            if !held.contains(&license) {
                held.push(license);
            }
        }
        user["assignedLicenses"] = held.into();
        user["licenseAssignmentStates"] = states.into();
    }

    /// A tree of eight reports each, some without a manager, a few cycles and one who leads himself.
    fn manager(&mut self, user: &mut Value, number: usize) {
        let manager = match number {
            0 => self.users.len().checked_sub(1).filter(|_| self.users.len() > 100),
            50 => Some(50),
            _ if self.one_in(15) => None,
            _ => Some((number - 1) / 8),
        };
        if let Some(manager) = manager.filter(|manager| *manager < self.users.len()) {
            user["manager"] = json!({"@odata.type": "#microsoft.graph.user", "id": *self.users[manager]});
        }
    }

    fn group(&mut self, number: usize, skus: usize) -> Value {
        let name = match number % 7 {
            0 => format!("All {} ({number})", self.pick(&DEPARTMENTS)),
            1 => format!("Projekt \"Größe {number}\", Phase II"),
            2 => format!("sg-{}-{number}", mail_name(self.pick(&OFFICES))),
            _ => format!("Team {} {number}", self.pick(&TITLES)),
        };
        let (types, mail, security) = match number % 6 {
            0 => (json!(["Unified"]), true, false),
            1 => (json!(["DynamicMembership"]), false, true),
            2 => (json!([]), true, false),
            3 => (json!(["Unified", "DynamicMembership"]), true, false),
            _ => (json!([]), false, true),
        };
        let mut group = json!({
            "id": *self.groups[number], "displayName": name, "groupTypes": types, "mailEnabled": mail, "securityEnabled": security,
            "mailNickname": format!("group{number}"), "createdDateTime": self.time(2019), "description": format!("Group no. {number};\r\nsee \"wiki\""),
            "securityIdentifier": format!("S-1-12-1-{}-{}-{}-{number}", self.rng.u32(..), self.rng.u32(..), self.rng.u32(..)),
            "renewedDateTime": "2025-01-01T00:00:00Z",
        });
        if mail {
            group["mail"] = format!("group{number}@contoso.com").into();
            group["proxyAddresses"] = json!([format!("SMTP:group{number}@contoso.com")]);
        }
        if number.is_multiple_of(6) {
            group["visibility"] = if number % 36 == 18 { "HiddenMembership" } else { "Private" }.into();
            group["resourceProvisioningOptions"] = json!(["Team"]);
        }
        if matches!(number % 6, 1 | 3) {
            group["membershipRule"] = "user.department -eq \"Finance\"".into();
            group["membershipRuleProcessingState"] = "On".into();
        }
        if skus > 0 && number % 10 == 4 {
            group["assignedLicenses"] = json!([{"disabledPlans": [], "skuId": SKUS[number % skus].0}]);
        }
        if !self.users.is_empty() && self.one_in(2) {
            let owner = self.rng.usize(..self.users.len());
            group["owners"] = json!([{"id": *self.users[owner]}]);
        }
        group
    }

    fn device(&mut self, number: usize) -> Value {
        let (system, version) = self.pick(&[
            ("Windows", "10.0.22631.3447"),
            ("iOS", "17.4.1"),
            ("Android", "14"),
            ("MacMDM", "14.4"),
            ("Linux", ""),
        ]);
        let (manufacturer, model) = self.pick(&[
            ("Google", "Pixel 3a"),
            ("Apple", "iPhone 15"),
            ("LENOVO", "ThinkPad X1, Gen 11"),
            ("HP", "EliteBook 840 G10"),
        ]);
        let mut device = json!({
            "id": *self.devices[number], "deviceId": self.guid("registration", number), "displayName": format!("CONTOSO-{number:05}"),
            "accountEnabled": !self.one_in(20), "operatingSystem": system, "operatingSystemVersion": version, "manufacturer": manufacturer,
            "model": model, "trustType": self.pick(&["AzureAd", "Workplace", "ServerAd"]), "isManaged": self.one_in(2),
            "registrationDateTime": self.time(2023), "approximateLastSignInDateTime": self.time(2025), "profileType": "RegisteredDevice",
            "deviceVersion": 2, "physicalIds": [format!("[USER-HWID]:{number}")],
        });
        if self.one_in(2) {
            device["isCompliant"] = self.rng.bool().into();
        }
        if !self.users.is_empty() && !self.one_in(6) {
            let owner = self.rng.usize(..self.users.len());
            device["registeredOwners"] = json!([{"@odata.type": "#microsoft.graph.user", "id": *self.users[owner]}]);
        }
        device
    }

    /// A contact and a service principal: nobody lists them, but they are members.
    fn others(&self, tenant: &mut Tenant) {
        tenant.put(Kind::OrgContact, json!({
            "id": self.guid("contact", 0), "displayName": "Supplier, External", "mail": "supplier@fabrikam.com", "mailNickname": "supplier",
        }));
        tenant.put(
            Kind::ServicePrincipal,
            json!({
                "id": self.guid("principal", 0), "displayName": "Contoso Build Agent", "appId": self.guid("app", 0),
                "servicePrincipalType": "Application", "accountEnabled": true,
            }),
        );
    }

    /// Some of the groups, a quarter unless told otherwise, hold 95 % of the memberships; one in ten members of the large ones is no user.
    fn memberships(&mut self, tenant: &mut Tenant, wanted: usize, percent: usize) {
        let groups = self.groups.len();
        if groups == 0 || self.users.is_empty() {
            return;
        }
        let large = (groups * percent).div_ceil(100);
        for number in 0..groups {
            let share = if number * percent % 100 < percent {
                wanted * 95 / 100 / large
            } else {
                wanted * 5 / 100 / (groups - large).max(1)
            };
            let spread =
                if share > 3 { self.rng.usize(share / 2..=share * 3 / 2) } else { self.rng.usize(..=share * 2 + 1) };
            let members = self.members(number, spread.min(self.users.len()));
            tenant.set_members(&self.groups[number].clone(), members);
        }
    }

    fn members(&mut self, number: usize, count: usize) -> Vec<Member> {
        let mut members = Vec::with_capacity(count + 2);
        // A step coprime to the number of users meets each of them once.
        let users = self.users.len();
        let step = (1..).map(|n| users * 2 / 3 + n).find(|step| gcd(*step, users) == 1).unwrap_or(1);
        let start = self.rng.usize(..users);
        for at in 0..count {
            members.push(Member::new(Kind::User, self.users[(start + at * step) % users].clone()));
        }
        let groups = self.groups.len();
        match number % 12 {
            2 | 5 => members.push(Member::new(Kind::Group, self.groups[(number + 1) % groups].clone())),
            // Up again: a cycle with the one before.
            6 => members.push(Member::new(Kind::Group, self.groups[number - 1].clone())),
            9 => members.push(Member::new(Kind::Group, self.groups[number].clone())),
            7 if !self.devices.is_empty() => {
                members.push(Member::new(Kind::Device, self.devices[number % self.devices.len()].clone()))
            }
            10 => members.push(Member::new(Kind::OrgContact, self.guid("contact", 0))),
            11 => members.push(Member::new(Kind::ServicePrincipal, self.guid("principal", 0))),
            _ => {}
        }
        members
    }

    fn bury(&self, tenant: &mut Tenant, size: &Size) {
        for number in size.users..size.users + size.deleted {
            let id = self.guid("user", number);
            let name = format!("former{number}@contoso.com");
            let user =
                json!({"displayName": format!("Former Employee {number}"), "userPrincipalName": name, "mail": name});
            let user = Object::new(id, user.as_object().expect("an object"));
            tenant.bury(Kind::User, user, tenant.now(), Vec::new());
        }
    }
}

/// What surrounds users, groups and devices. Drawn after all else, so that a seed's users stay who they were.
impl Maker {
    fn surroundings(&mut self, tenant: &mut Tenant) {
        self.units(tenant);
        self.roles(tenant);
        self.applications(tenant);
        self.registered_users(tenant);
        self.managed_devices(tenant);
        self.bookings(tenant);
    }

    /// By country, one hidden, one empty; users, groups and devices among the members.
    fn units(&mut self, tenant: &mut Tenant) {
        for (number, (country, _)) in COUNTRIES.into_iter().enumerate() {
            let id = self.guid("unit", number);
            tenant.put(Kind::AdministrativeUnit, json!({
                "id": id, "displayName": format!("{country} \"AU\", managed"), "description": (number != 1).then_some("Regional administrators"),
                "visibility": (number == 3).then_some("HiddenMembership"),
            }));
            let mut members: Vec<Member> = Vec::new();
            if number != 4 {
                let share = self.users.iter().skip(number).step_by(COUNTRIES.len() * 2);
                members.extend(share.map(|user| Member::new(Kind::User, user.clone())));
                members.extend(self.groups.get(number).map(|group| Member::new(Kind::Group, group.clone())));
                members.extend(self.devices.get(number).map(|device| Member::new(Kind::Device, device.clone())));
            }
            tenant.set_members(&id.into(), members);
        }
    }

    /// The activated roles; one of them held by a group and a service principal, one by nobody.
    fn roles(&mut self, tenant: &mut Tenant) {
        for (number, (template, name)) in ROLES.into_iter().enumerate() {
            let id = self.guid("role", number);
            tenant.put(Kind::DirectoryRole, json!({
                "id": id, "displayName": name, "description": format!("Can do what a {name} does."), "roleTemplateId": template,
            }));
            let mut members: Vec<Member> =
                self.users.iter().skip(number).step_by(40).map(|user| Member::new(Kind::User, user.clone())).collect();
            match number {
                1 => {
                    members.extend(self.groups.last().map(|group| Member::new(Kind::Group, group.clone())));
                    members.push(Member::new(Kind::ServicePrincipal, self.guid("principal", 0)));
                }
                3 => members.clear(),
                _ => {}
            }
            tenant.set_members(&id.into(), members);
        }
    }

    /// The importer's own registration, with one credential that ends soon and one that has ended, and another's.
    fn applications(&mut self, tenant: &mut Tenant) {
        let secret = |key: String, name: &str, start: &str, end: &str| {
            json!({
                "customKeyIdentifier": null, "displayName": name, "endDateTime": end, "hint": "Sim", "keyId": key,
                "secretText": null, "startDateTime": start,
            })
        };
        let secrets = [
            secret(self.guid("secret", 0), "import", "2025-07-01T00:00:00Z", "2026-06-30T23:59:59Z"),
            secret(self.guid("secret", 1), "old", "2023-01-01T00:00:00Z", "2025-01-01T00:00:00Z"),
        ];
        let certificate = json!({
            "customKeyIdentifier": "52ED9B5038A47B9E2E2190715CC238359D4F8F73", "displayName": "CN=entra-import", "endDateTime": "2027-01-01T00:00:00Z",
            "key": null, "keyId": self.guid("certificate", 0), "startDateTime": "2026-01-01T00:00:00Z", "type": "AsymmetricX509Cert", "usage": "Verify",
        });
        tenant.put(Kind::Application, json!({
            "id": self.guid("application", 0), "appId": CLIENT_ID, "displayName": "Asset import", "signInAudience": "AzureADMyOrg",
            "createdDateTime": "2023-01-01T00:00:00Z", "publisherDomain": "contoso.com", "passwordCredentials": secrets,
            "keyCredentials": [certificate],
        }));
        tenant.put(Kind::Application, json!({
            "id": self.guid("application", 1), "appId": self.guid("app", 0), "displayName": "Contoso Build Agent",
            "identifierUris": ["http://contoso/"], "signInAudience": "AzureADMyOrg", "publisherDomain": "contoso.com",
        }));
    }

    /// Who owns a device uses it; some are shared.
    fn registered_users(&mut self, tenant: &mut Tenant) {
        for (number, device) in self.devices.clone().iter().enumerate() {
            for owner in tenant.owners(device).to_vec() {
                tenant.add_registered_user(device, owner);
            }
            if number % 9 == 4 {
                for user in self.users.iter().skip(number % 7).take(number % 31) {
                    tenant.add_registered_user(device, Member::new(Kind::User, user.clone()));
                }
            }
        }
    }

    /// Two of three devices are enrolled in Intune, and one machine that the directory no longer knows.
    fn managed_devices(&mut self, tenant: &mut Tenant) {
        for (number, device) in self.devices.clone().iter().enumerate().filter(|(number, _)| number % 3 != 2) {
            let Some(known) = tenant.get(Kind::Device, device).cloned() else { continue };
            let user = tenant.owners(device).first().map(|owner| owner.id.to_string());
            let managed = self.managed_device(number, &known, user);
            tenant.put_managed_device(managed);
        }
        let unknown = Object::new(self.guid("device", usize::MAX), &serde_json::Map::new());
        let managed = self.managed_device(usize::MAX, &unknown, None);
        tenant.put_managed_device(managed);
    }

    fn managed_device(&mut self, number: usize, device: &Object, user: Option<String>) -> Value {
        json!({
            "id": self.guid("managed", number), "deviceName": device.get("displayName"), "azureADDeviceId": device.get("deviceId"),
            "serialNumber": format!("5CG{:07}", number % 10_000_000), "operatingSystem": device.get("operatingSystem"),
            "osVersion": device.get("operatingSystemVersion"), "manufacturer": device.get("manufacturer"), "model": device.get("model"),
            "userId": user.unwrap_or_default(), "managedDeviceOwnerType": self.pick(&["company", "personal"]),
            "complianceState": self.pick(&["compliant", "noncompliant", "unknown", "inGracePeriod"]), "managementAgent": "mdm",
            "enrolledDateTime": self.time(2024), "lastSyncDateTime": self.time(2025), "isEncrypted": self.one_in(2),
            "azureADRegistered": true, "isSupervised": false, "jailBroken": "Unknown", "wiFiMacAddress": format!("00155D{:06X}", number % 0xff_ffff),
            "totalStorageSpaceInBytes": 512_000_000_000_u64, "freeStorageSpaceInBytes": self.rng.u64(..512_000_000_000),
            "physicalMemoryInBytes": 17_179_869_184_u64, "ethernetMacAddress": format!("00155E{:06X}", number % 0xff_ffff), "notes": "On the shelf, \"3\"",
            "deviceEnrollmentType": "windowsAzureADJoin", "deviceRegistrationState": "registered", "deviceCategoryDisplayName": "Unknown",
        })
    }

    fn bookings(&mut self, tenant: &mut Tenant) {
        for (number, name) in
            ["Contoso Lunch Delivery", "Fabrikam Fitness, 2nd floor", "Fourth Coffee"].into_iter().enumerate()
        {
            tenant.put_booking(json!({
                "id": format!("{}@contoso.com", mail_name(name)), "displayName": name, "businessType": "Food and Beverage", "email": "info@contoso.com",
                "phone": format!("206-555-{number:04}"), "webSiteUrl": "https://www.contoso.com", "defaultCurrencyIso": "USD", "isPublished": number == 0,
                "languageTag": "en-US",
                "address": {"street": "4567 Main Street", "city": "Buffalo", "state": "NY", "countryOrRegion": "USA", "postalCode": "98052"},
            }));
        }
    }
}

fn gcd(a: usize, b: usize) -> usize {
    if b == 0 { a } else { gcd(b, a % b) }
}

fn mail_name(name: &str) -> String {
    let plain: String = name.chars().filter(char::is_ascii_alphanumeric).collect();
    if plain.is_empty() { "user".to_owned() } else { plain.to_lowercase() }
}

fn sku(tenant: &str, id: &str, part: &str, units: u32, status: &str, scope: &str, users: usize) -> Value {
    let enabled = if status == "Enabled" { units } else { 0 };
    let plan = json!({
        "servicePlanId": guid(hash(part.as_bytes()), 1), "servicePlanName": format!("{part}_BASE"), "provisioningStatus": "Success", "appliesTo": scope,
    });
    json!({
        "accountName": "Contoso", "accountId": tenant, "appliesTo": scope, "capabilityStatus": status,
        "consumedUnits": if scope == "User" { users / 3 } else { 0 }, "id": format!("{tenant}_{id}"),
        "prepaidUnits": {
            "enabled": enabled, "lockedOut": 0, "suspended": if status == "Suspended" { units } else { 0 },
            "warning": if status == "Warning" { units } else { 0 },
        },
        "servicePlans": [plan], "skuId": id, "skuPartNumber": part, "subscriptionIds": [guid(hash(id.as_bytes()), 2)],
    })
}
