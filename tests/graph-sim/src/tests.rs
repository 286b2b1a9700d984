//! The simulator against the documentation's examples, without sockets except where framing is what goes wrong.

use std::collections::HashSet;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use sim_server::{Incoming, Service as _};

use crate::service::Service;
use crate::{CLIENT_ID, CLIENT_SECRET, Deletion, Fault, FaultKind, Kind, Member, Options, Quota, Sim, Size, Tenant};

const USER: &str = "6ea91a8d-e32e-41a1-b7bd-d2d185eed0e0";
const ADMIN: &str = "4562bcc8-c436-4f95-b7c0-4f8ce89dca5e";
const GROUP: &str = "45b7d2e7-b882-4a80-ba97-10b7a63b8fa4";
const NESTED: &str = "d7797254-3084-44d0-99c9-a3b5ab149538";
const DEVICE: &str = "d282309e-f91d-43b6-badb-9e68aa4b4fc8";

fn contoso() -> Tenant {
    let mut tenant = Tenant::default();
    tenant.put(Kind::User, json!({"id": ADMIN, "displayName": "MOD Administrator", "userPrincipalName": "admin@contoso.com", "surname": "Administrator", "department": "IT", "accountEnabled": true}));
    tenant.put(Kind::User, json!({"id": USER, "displayName": "Conf Room Adams", "mail": "Adams@contoso.com", "userPrincipalName": "Adams@contoso.com", "accountEnabled": false, "manager": {"id": ADMIN}}));
    tenant.put(Kind::Group, json!({"id": GROUP, "displayName": "Golf Assist", "groupTypes": ["Unified"], "mailEnabled": true, "securityEnabled": false}));
    tenant.put(
        Kind::Group,
        json!({"id": NESTED, "displayName": "Golf Discussion", "mailEnabled": true, "securityEnabled": false}),
    );
    tenant
        .put(Kind::Device, json!({"id": DEVICE, "displayName": "contoso_Android", "registeredOwners": [{"id": USER}]}));
    for member in [Member::new(Kind::User, USER), Member::new(Kind::Group, NESTED), Member::new(Kind::Device, DEVICE)] {
        tenant.add_member(GROUP, member);
    }
    tenant.add_member(NESTED, Member::new(Kind::Group, GROUP));
    tenant.put_sku(json!({"skuId": "c7df2760-2c81-4ef7-b578-5b5392b571df", "skuPartNumber": "ENTERPRISEPREMIUM", "consumedUnits": 14}));
    tenant
}

struct Client {
    service: Service,
    token: String,
}

struct Got {
    status: u16,
    headers: Vec<(std::borrow::Cow<'static, str>, String)>,
    text: String,
}

impl Got {
    fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {}", self.text))
    }

    fn header(&self, wanted: &str) -> Option<&str> {
        self.headers.iter().find(|(name, _)| name.eq_ignore_ascii_case(wanted)).map(|(_, value)| value.as_str())
    }

    fn code(&self) -> String {
        self.json()["error"]["code"].as_str().unwrap_or_default().to_owned()
    }

    fn ids(&self) -> Vec<String> {
        self.json()["value"].as_array().unwrap().iter().map(|item| item["id"].as_str().unwrap().to_owned()).collect()
    }
}

impl Client {
    fn new(tenant: Tenant, options: Options) -> Self {
        let mut client = Self { service: Service::new(tenant, options), token: String::new() };
        let got = client.sign_in("contoso.com", CLIENT_ID, CLIENT_SECRET, "https://graph.microsoft.com/.default");
        client.token = got.json()["access_token"].as_str().unwrap().to_owned();
        client
    }

    fn with_roles(roles: &[&str]) -> Self {
        Self::new(
            contoso(),
            Options { roles: roles.iter().map(|&role| role.to_owned()).collect(), ..Options::default() },
        )
    }

    fn send(&self, method: &str, target: &str, eventual: bool, body: Vec<u8>) -> Got {
        let target = target.strip_prefix("http://localhost").unwrap_or(target);
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let outgoing = self.service.answer(&Incoming {
            method: method.into(),
            path: path.into(),
            query: query.into(),
            host: "localhost".into(),
            headers: [("authorization", format!("Bearer {}", self.token))]
                .into_iter()
                .chain(eventual.then(|| ("consistencylevel", "eventual".to_owned())))
                .map(|(name, value)| (name.to_owned(), value))
                .collect(),
            body,
        });
        let reply = outgoing.reply;
        Got { status: reply.status, headers: reply.headers, text: String::from_utf8(reply.body).unwrap() }
    }

    fn get(&self, target: &str) -> Got {
        self.send(
            "GET",
            &if target.starts_with("http") { target.to_owned() } else { format!("/v1.0{target}") },
            false,
            Vec::new(),
        )
    }

    fn post(&self, target: &str, body: &Value) -> Got {
        self.send("POST", &format!("/v1.0{target}"), false, body.to_string().into_bytes())
    }

    fn sign_in(&self, tenant: &str, client: &str, secret: &str, scope: &str) -> Got {
        let form = url::form_urlencoded::Serializer::new(String::new())
            .extend_pairs([
                ("client_id", client),
                ("client_secret", secret),
                ("scope", scope),
                ("grant_type", "client_credentials"),
            ])
            .finish();
        self.send("POST", &format!("/{tenant}/oauth2/v2.0/token"), false, form.into_bytes())
    }

    /// All pages of a collection.
    fn walk(&self, target: &str) -> Vec<Value> {
        let mut next = Some(target.to_owned());
        let mut items = Vec::new();
        for _ in 0..10_000 {
            let Some(target) = next else { return items };
            let page = self.get(&target).json();
            items.extend(page["value"].as_array().unwrap_or_else(|| panic!("{page}")).iter().cloned());
            next = page["@odata.nextLink"].as_str().map(str::to_owned);
        }
        panic!("no end of {target}");
    }
}

#[test]
fn a_user_list_has_the_printed_shape() {
    let client = Client::new(contoso(), Options::default());
    let page = client.get("/users").json();
    assert_eq!(page["@odata.context"], "http://localhost/v1.0/$metadata#users");
    let adams = page["value"].as_array().unwrap().iter().find(|user| user["id"] == USER).unwrap();
    let printed = json!({
        "businessPhones": [], "displayName": "Conf Room Adams", "givenName": null, "jobTitle": null, "mail": "Adams@contoso.com",
        "mobilePhone": null, "officeLocation": null, "preferredLanguage": null, "surname": null, "userPrincipalName": "Adams@contoso.com", "id": USER,
    });
    assert_eq!(adams, &printed);
    assert!(page.get("@odata.nextLink").is_none());
}

#[test]
fn select_returns_what_was_asked_for_and_nothing_else() {
    let client = Client::new(contoso(), Options::default());
    let page = client.get("/users?$select=mail,accountEnabled").json();
    assert_eq!(page["@odata.context"], "http://localhost/v1.0/$metadata#users(mail,accountEnabled)");
    for user in page["value"].as_array().unwrap() {
        assert_eq!(user.as_object().unwrap().keys().collect::<Vec<_>>(), ["mail", "accountEnabled"]);
    }
    let refused = client.get("/users?$select=id,shoeSize");
    assert_eq!((refused.status, refused.code().as_str()), (400, "Request_BadRequest"));
    assert!(refused.text.contains("Could not find a property named 'shoeSize' on type 'microsoft.graph.user'."));
    assert_eq!(client.get("/users?$select=skills").status, 501);
}

#[test]
fn pages_hold_every_object_exactly_once() {
    let client = Client::new(Tenant::synthetic(7, &Size { users: 2_345, ..Size::default() }), Options::default());
    for target in ["/users?$select=id", "/users?$top=999&$select=id,displayName", "/users?$select=id&$top=7"] {
        let ids: Vec<_> = client.walk(target).iter().map(|user| user["id"].as_str().unwrap().to_owned()).collect();
        assert_eq!(ids.len(), 2_345, "{target}");
        assert_eq!(ids.iter().collect::<HashSet<_>>().len(), 2_345, "{target}");
    }
    let largest = client
        .service
        .tenant
        .read()
        .unwrap()
        .list(Kind::Group)
        .map(|group| group.id().clone())
        .max_by_key(|id| client.service.tenant.read().unwrap().members(id).len())
        .unwrap();
    let wanted = client.service.tenant.read().unwrap().members(&largest).len();
    assert_eq!(client.walk(&format!("/groups/{largest}/members?$select=id&$top=5")).len(), wanted);
}

#[test]
fn page_sizes_beyond_999_and_altered_links_are_refused() {
    let client = Client::new(Tenant::synthetic(1, &Size::default()), Options::default());
    let refused = client.get("/users?$top=1000");
    assert_eq!(
        refused.json()["error"]["message"],
        "Invalid page size specified: '1000'. Must be between 1 and 999 inclusive."
    );
    let link = client.get("/users?$top=10&$select=id").json()["@odata.nextLink"].as_str().unwrap().to_owned();
    assert_eq!(client.get(&link).status, 200);
    assert_eq!(client.get(&link.replace("$top=10", "$top=20")).status, 400);
    assert_eq!(client.get(&format!("{link}x")).code(), "Directory_ExpiredPageToken");
}

#[test]
fn members_carry_their_type_and_what_the_roles_do_not_cover_is_null() {
    let all = Client::new(contoso(), Options::default())
        .get(&format!("/groups/{GROUP}/members?$select=id,displayName,deviceId"))
        .json();
    assert_eq!(
        all["value"][0],
        json!({"@odata.type": "#microsoft.graph.user", "id": USER, "displayName": "Conf Room Adams"})
    );
    assert_eq!(
        all["value"][2],
        json!({"@odata.type": "#microsoft.graph.device", "id": DEVICE, "displayName": "contoso_Android", "deviceId": null})
    );
    let few = Client::with_roles(&["GroupMember.Read.All"]);
    let limited = few.get(&format!("/groups/{GROUP}/members")).json();
    assert_eq!(limited["value"][0]["id"], USER);
    assert_eq!(limited["value"][0]["displayName"], Value::Null);
    assert_eq!(limited["value"][1]["displayName"], "Golf Discussion");
    assert_eq!((few.get("/users").status, few.get("/users").code().as_str()), (403, "Authorization_RequestDenied"));
}

#[test]
fn hidden_memberships_are_silently_empty() {
    let mut tenant = contoso();
    tenant.set(Kind::Group, GROUP, "visibility", "HiddenMembership".into());
    let hidden = Client::new(tenant, Options::default()).get(&format!("/groups/{GROUP}/members?$select=id"));
    assert_eq!((hidden.status, hidden.ids().len()), (200, 0));
}

#[test]
fn expansion_stops_at_twenty_without_a_marker() {
    let mut tenant = contoso();
    for number in 0..30 {
        tenant.add_member(NESTED, Member::new(Kind::User, format!("00000000-0000-0000-0000-{number:012}")));
    }
    let client = Client::new(tenant, Options::default());
    let group = client.get(&format!("/groups/{NESTED}?$select=id&$expand=members($select=id)")).json();
    assert_eq!(group["members"].as_array().unwrap().len(), 20);
    assert!(group.get("members@odata.nextLink").is_none());
    let users = client.get("/users?$select=id&$expand=manager($select=id)").json();
    let manager = |id: &str| {
        users["value"].as_array().unwrap().iter().find(|user| user["id"] == id).unwrap().get("manager").cloned()
    };
    assert_eq!(manager(USER), Some(json!({"@odata.type": "#microsoft.graph.user", "id": ADMIN})));
    assert_eq!(manager(ADMIN), None);
    assert_eq!(client.get(&format!("/users/{ADMIN}/manager")).code(), "Request_ResourceNotFound");
}

#[test]
fn cycles_of_groups_end() {
    let client = Client::new(contoso(), Options::default());
    let mut ids = client.get(&format!("/groups/{GROUP}/transitiveMembers?$select=id")).ids();
    ids.sort();
    assert_eq!(
        ids,
        [GROUP, USER, DEVICE, NESTED]
            .map(str::to_owned)
            .into_iter()
            .collect::<std::collections::BTreeSet<_>>()
            .into_iter()
            .collect::<Vec<_>>()
    );
}

#[test]
fn get_by_ids_leaves_out_the_unknown_and_counts_to_a_thousand() {
    let client = Client::new(contoso(), Options::default());
    let found = client.post(
        "/directoryObjects/getByIds?$select=id",
        &json!({"ids": [USER, "ffffffff-0000-0000-0000-000000000000", GROUP], "types": ["user", "group"]}),
    );
    assert_eq!(found.ids(), [USER, GROUP]);
    assert_eq!(found.json()["@odata.context"], "http://localhost/v1.0/$metadata#directoryObjects(id)");
    assert_eq!(client.post("/directoryObjects/getByIds", &json!({"ids": vec![USER; 1001]})).status, 400);
}

#[test]
fn token_errors_have_the_documented_shape() {
    let client = Client::new(contoso(), Options { expired_secret: Some("old".into()), ..Options::default() });
    let scope = "https://graph.microsoft.com/.default";
    let cases = [
        (client.sign_in("contoso.com", CLIENT_ID, "wrong", scope), 401, "invalid_client", 7_000_215),
        (client.sign_in("contoso.com", CLIENT_ID, "old", scope), 401, "invalid_client", 7_000_222),
        (client.sign_in("contoso.com", CLIENT_ID, "", scope), 401, "invalid_client", 7_000_218),
        (
            client.sign_in("contoso.com", "00000000-0000-0000-0000-000000000000", CLIENT_SECRET, scope),
            400,
            "unauthorized_client",
            700_016,
        ),
        (client.sign_in("fabrikam.com", CLIENT_ID, CLIENT_SECRET, scope), 400, "invalid_request", 90_002),
        (client.sign_in("common", CLIENT_ID, CLIENT_SECRET, scope), 400, "invalid_request", 9_001_023),
        (
            client.sign_in("contoso.com", CLIENT_ID, CLIENT_SECRET, "https://foo.microsoft.com/.default"),
            400,
            "invalid_scope",
            70_011,
        ),
    ];
    for (got, status, error, code) in cases {
        let body = got.json();
        assert_eq!((got.status, &body["error"], &body["error_codes"]), (status, &json!(error), &json!([code])));
        let description = body["error_description"].as_str().unwrap();
        assert!(
            description.starts_with(&format!("AADSTS{code}: ")) && description.contains("\r\nTrace ID: "),
            "{description}"
        );
        assert!(
            body["trace_id"].is_string()
                && body["correlation_id"].is_string()
                && body["timestamp"].as_str().unwrap().ends_with('Z')
        );
    }
}

#[test]
fn tokens_missing_garbled_or_expired_are_refused() {
    let mut client = Client::new(contoso(), Options::default());
    for token in ["", "garbage", "a.b.c"] {
        client.token = token.into();
        assert_eq!(
            (client.get("/users").status, client.get("/users").code().as_str()),
            (401, "InvalidAuthenticationToken")
        );
    }
    let expired = Client::new(contoso(), Options { expires_in: 0, ..Options::default() });
    assert_eq!(expired.get("/users").status, 401);
    assert_eq!(Client::with_roles(&[]).get("/users").status, 403);
}

#[test]
fn filters_work_as_far_as_the_documentation_says() {
    let client = Client::new(contoso(), Options::default());
    let ids = |filter: &str| client.get(&format!("/users?$select=id&$filter={filter}")).ids();
    assert_eq!(ids("accountEnabled eq true"), [ADMIN]);
    assert_eq!(ids("startswith(displayName,'conf') or department eq 'it'").len(), 2);
    assert_eq!(ids(&format!("id in ('{USER}','x') and not_there eq 1").replace(" and not_there eq 1", "")), [USER]);
    let unified = client.get("/groups?$select=id&$filter=groupTypes/any(c:c eq 'Unified')");
    assert_eq!(unified.ids(), [GROUP]);
    for refused in [
        "department ne 'IT'",
        "contains(displayName,'a')",
        "createdDateTime gt 2020-01-01T00:00:00Z",
        "not(accountEnabled eq true)",
    ] {
        assert_eq!(client.get(&format!("/users?$filter={refused}")).code(), "Request_UnsupportedQuery", "{refused}");
    }
    let advanced =
        client.send("GET", "/v1.0/users?$select=id&$count=true&$filter=department ne 'IT'", true, Vec::new());
    assert_eq!((advanced.ids(), &advanced.json()["@odata.count"]), (vec![USER.to_owned()], &json!(1)));
    assert!(client.get("/users?$count=true").json().get("@odata.count").is_none());
    assert_eq!(client.get("/users/$count").json()["error"]["message"], "$count is not currently supported.");
    assert_eq!(client.send("GET", "/v1.0/users/$count", true, Vec::new()).text, "2");
}

#[test]
fn deleted_objects_leave_their_groups_and_come_back() {
    let mut tenant = contoso();
    tenant.remove(Kind::User, USER, Deletion::Soft);
    assert!(tenant.members(GROUP).iter().all(|member| &*member.id != USER));
    let client = Client::new(tenant, Options::default());
    let deleted =
        client.get("/directory/deletedItems/microsoft.graph.user?$select=id,userPrincipalName,deletedDateTime").json();
    assert_eq!(deleted["value"][0]["userPrincipalName"], format!("{}Adams@contoso.com", USER.replace('-', "")));
    assert_eq!(deleted["value"][0]["deletedDateTime"], "2026-01-01T02:00:00Z");
    assert_eq!(client.get("/directory/deletedItems").status, 400);
    assert!(client.service.tenant.write().unwrap().restore(USER));
    assert_eq!(client.get(&format!("/groups/{GROUP}/members?$select=id")).ids().len(), 3);
}

#[test]
fn a_batch_answers_each_request_in_any_order() {
    let client =
        Client::new(contoso(), Options { faults: vec!["429:7,path=/devices".parse().unwrap()], ..Options::default() });
    let requests = json!({"requests": [
        {"id": "1", "method": "GET", "url": "/users?$select=id"}, {"id": "2", "method": "GET", "url": "/users/none"},
        {"id": "3", "method": "GET", "url": "/devices"}, {"id": "4", "method": "GET", "url": "/groups", "dependsOn": ["2"]},
    ]});
    let answer = client.post("/$batch", &requests).json();
    let part = |id: &str| answer["responses"].as_array().unwrap().iter().find(|part| part["id"] == id).unwrap().clone();
    assert_eq!(
        [part("1"), part("2"), part("3"), part("4")].map(|part| part["status"].as_u64().unwrap()),
        [200, 404, 429, 424]
    );
    assert_eq!(part("3")["headers"]["Retry-After"], "7");
    assert_eq!(part("1")["body"]["value"].as_array().unwrap().len(), 2);
    let many: Vec<_> = (0..21).map(|id| json!({"id": id.to_string(), "method": "GET", "url": "/users"})).collect();
    assert_eq!(client.post("/$batch", &json!({"requests": many})).status, 400);
}

#[test]
fn units_and_quota() {
    let client = Client::new(contoso(), Options { quota: Some(Quota::Units(10)), ..Options::default() });
    let units = |target: &str| client.get(target).header("x-ms-resource-unit").unwrap().parse::<u32>().unwrap();
    assert_eq!(units("/users?$select=id&$top=999"), 1);
    assert_eq!(units(&format!("/groups/{GROUP}/members?$select=id")), 2);
    assert_eq!(units(&format!("/groups/{GROUP}/transitiveMembers")), 5);
    let near = client.get("/groups?$select=id");
    assert!(near.header("x-ms-throttle-limit-percentage").is_some_and(|share| share.starts_with("0.9")));
    let refused = client.get("/subscribedSkus");
    assert_eq!((refused.status, refused.code().as_str()), (429, "TooManyRequests"));
    assert!(refused.header("Retry-After").unwrap().parse::<u64>().unwrap() >= 1);
    assert!(refused.header("x-ms-throttle-scope").unwrap().starts_with("Tenant_Application/"));
}

#[test]
fn delta_gives_the_present_state_and_then_only_changes() {
    let mut tenant = contoso();
    for number in 0..1_200 {
        tenant.add_member(NESTED, Member::new(Kind::User, format!("00000000-0000-0000-0000-{number:012}")));
    }
    let client = Client::new(tenant, Options::default());
    let round = |start: &str| {
        let (mut next, mut items, mut pages) = (start.to_owned(), Vec::new(), 0);
        loop {
            let page = client.get(&next).json();
            pages += 1;
            items.extend(page["value"].as_array().unwrap_or_else(|| panic!("{page}")).clone());
            match (page["@odata.nextLink"].as_str(), page["@odata.deltaLink"].as_str()) {
                (Some(link), None) => next = link.to_owned(),
                (None, Some(link)) => return (items, link.to_owned(), pages),
                links => panic!("{links:?}"),
            }
        }
    };
    let (items, link, pages) = round("/groups/delta?$select=displayName,members");
    let members = |id: &str| {
        items
            .iter()
            .filter(|item| item["id"] == id)
            .flat_map(|item| item["members@delta"].as_array().unwrap().clone())
            .count()
    };
    assert_eq!((members(GROUP), members(NESTED)), (3, 1_201));
    assert!(pages >= 3 && items.len() > 2, "a large group comes in slices");
    let (items, link, _) = round(&link);
    assert_eq!(items.len(), 0);
    {
        let mut tenant = client.service.tenant.write().unwrap();
        tenant.remove_member(GROUP, USER);
        tenant.set(Kind::Group, NESTED, "description", "not selected".into());
    }
    let (items, link, _) = round(&link);
    let gone = json!([{"@odata.type": "#microsoft.graph.user", "id": USER, "@removed": {"reason": "deleted"}}]);
    assert_eq!((items.len(), &items[0]["members@delta"]), (1, &gone));
    client.service.tenant.write().unwrap().remove(Kind::Group, NESTED, Deletion::Soft);
    let (items, link, _) = round(&link);
    assert!(items.contains(&json!({"id": NESTED, "@removed": {"reason": "changed"}})));
    client.service.tenant.write().unwrap().forget_history();
    assert_eq!(client.get(&link).code(), "syncStateNotFound");
    let (_, _, _) = round("/users/delta?$select=displayName,manager&$deltatoken=latest");
    assert_eq!(client.get("/devices/delta").status, 403, "Directory.Read.All is not listed for it");
}

#[test]
fn pages_misbehave_on_order() {
    let synthetic = || Tenant::synthetic(3, &Size::default());
    let walk = |faults: &[&str]| {
        let faults = faults.iter().map(|fault| fault.parse().unwrap()).collect();
        let client = Client::new(synthetic(), Options { faults, ..Options::default() });
        client.walk("/users?$select=id&$top=20").iter().map(|user| user["id"].to_string()).collect::<Vec<_>>()
    };
    let plain = walk(&[]);
    assert_eq!(walk(&["empty,nth=3"]), plain);
    let twice = walk(&["duplicate,nth=2"]);
    assert_eq!((twice.len(), twice.iter().collect::<HashSet<_>>().len()), (plain.len() + 1, plain.len()));
    let again = walk(&["endless,times=3"]);
    assert_eq!((again.len(), &again[..20], &again[60..]), (plain.len() + 60, &plain[..20], &plain[..]));
    let of = |fault: &str| {
        let faults = vec![fault.parse().unwrap()];
        Client::new(synthetic(), Options { faults, ..Options::default() }).get("/groups?$expand=members($select=id)")
    };
    let typed = |got: &Got| got.text.contains("@odata.type");
    assert!(typed(&of("odd,nth=9")) && !typed(&of("untyped")));
    assert!(of("nowhere").status == 404 && of("nowhere").text.contains("<html>"));
    let client =
        Client::new(synthetic(), Options { faults: vec!["foreign,times=1".parse().unwrap()], ..Options::default() });
    assert!(
        client.get("/users").json()["@odata.nextLink"].as_str().unwrap().starts_with("https://graph.contoso.example/")
    );
}

#[test]
fn faults_are_counted_and_repeatable() {
    let outcome = |fault: &str| {
        let client = Client::new(contoso(), Options { faults: vec![fault.parse().unwrap()], ..Options::default() });
        (0..40).map(|number| client.get(&format!("/users?$top={}", number % 4 + 1)).status).collect::<Vec<_>>()
    };
    assert_eq!(outcome("500,times=2")[..4], [500, 500, 200, 200]);
    assert_eq!(outcome("503,each=1")[..6], [503, 503, 503, 503, 200, 200]);
    assert_eq!(outcome("504,nth=3")[..4], [200, 200, 504, 200]);
    let drawn = outcome("502,p=0.3,seed=9");
    assert_eq!(drawn, outcome("502,p=0.3,seed=9"));
    assert!(drawn.contains(&502) && drawn.contains(&200));
    assert!("unknown".parse::<Fault>().is_err() && "500,when=1".parse::<Fault>().is_err());
    let client = Client::new(contoso(), Options { faults: vec!["429:date+30".parse().unwrap()], ..Options::default() });
    assert!(client.get("/users").header("Retry-After").unwrap().ends_with(" GMT"));
}

#[test]
fn nights_repeat_and_change_something() {
    let night = |seed| {
        let mut tenant = Tenant::synthetic(5, &Size::default());
        assert!(tenant.mutate(seed, 0.1) > 0);
        format!("{tenant:?}").len()
    };
    assert_eq!(night(1), night(1));
    assert_ne!(night(1), night(2));
}

async fn raw(sim: &Sim, target: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(sim.base_url().trim_start_matches("http://")).await?;
    stream
        .write_all(format!("GET {target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").as_bytes())
        .await?;
    let mut text = String::new();
    stream.read_to_string(&mut text).await?;
    Ok(text)
}

#[tokio::test]
async fn connections_break_on_order() {
    let sim = Sim::start(contoso(), Options::default()).await.unwrap();
    let whole = raw(&sim, "/v1.0/users").await.unwrap();
    assert!(whole.starts_with("HTTP/1.1 401") && whole.to_lowercase().contains("\r\ndate: "), "{whole}");
    sim.add_fault(Fault::new("/users", FaultKind::Reset).times(1));
    assert_eq!(raw(&sim, "/v1.0/users").await.unwrap_or_default(), "");
    sim.add_fault(Fault::new("/users", FaultKind::Cut).times(1));
    let cut = raw(&sim, "/v1.0/users").await.unwrap();
    assert!(cut.len() < whole.len() && cut.contains("{\"error\""), "{cut}");
    sim.clear_faults();
    sim.add_fault(Fault::new("", FaultKind::Slow(Duration::from_millis(30))));
    let both = tokio::join!(raw(&sim, "/v1.0/users"), raw(&sim, "/v1.0/groups"));
    assert!(both.0.is_ok() && both.1.is_ok());
    assert_eq!((sim.peak_in_flight(), sim.requests().len()), (2, 5));
    sim.shutdown().await;
}

fn ids_of(page: &Value) -> Vec<&str> {
    page["value"].as_array().unwrap_or_else(|| panic!("{page}")).iter().filter_map(|item| item["id"].as_str()).collect()
}

#[test]
fn units_roles_and_applications_are_listed_with_their_members() {
    let mut tenant = contoso();
    tenant.put(
        Kind::AdministrativeUnit,
        json!({"id": "au", "displayName": "Seattle", "members": [{"id": USER}, {"id": GROUP, "type": "group"}]}),
    );
    tenant.put(
        Kind::AdministrativeUnit,
        json!({"id": "hidden", "visibility": "HiddenMembership", "members": [{"id": USER}]}),
    );
    tenant.put(
        Kind::DirectoryRole,
        json!({"id": "role", "displayName": "Global Reader", "roleTemplateId": "template", "members": [{"id": ADMIN}]}),
    );
    tenant.put(Kind::Application, json!({"id": "app", "appId": CLIENT_ID, "displayName": "My app", "passwordCredentials": [{"keyId": "k", "endDateTime": "2026-06-30T00:00:00Z"}]}));
    let client = Client::new(tenant, Options::default());
    let units = client.get("/directory/administrativeUnits?$select=id,displayName").json();
    assert_eq!(
        units["@odata.context"],
        "http://localhost/v1.0/$metadata#directory/administrativeUnits(id,displayName)"
    );
    assert_eq!(units["value"].as_array().unwrap().len(), 2);
    assert_eq!(ids_of(&client.get("/directory/administrativeUnits/au/members?$select=id").json()), [USER, GROUP]);
    assert!(client.get("/directory/administrativeUnits/hidden/members").ids().is_empty(), "hidden says nothing");
    assert_eq!(client.get("/administrativeUnits").code(), "BadRequest");
    assert_eq!(client.get("/directoryRoles/role/members").ids(), [ADMIN]);
    assert_eq!(client.get("/directoryRoles(roleTemplateId='template')").json()["id"], "role");
    assert_eq!(client.get("/directoryRoles?$top=5").code(), "Request_UnsupportedQuery");
    let by_filter = client
        .get(&format!("/applications?$filter=appId eq '{CLIENT_ID}'&$select=id,passwordCredentials,keyCredentials"));
    assert_eq!(by_filter.header("x-ms-resource-unit"), Some("1"));
    let printed = json!({"id": "app", "passwordCredentials": [{"keyId": "k", "endDateTime": "2026-06-30T00:00:00Z"}], "keyCredentials": []});
    assert_eq!(by_filter.json()["value"], json!([printed]));
    let by_key = client.get(&format!("/applications(appId='{CLIENT_ID}')?$select=id")).json();
    assert_eq!(by_key["id"], "app");
    let mut held = client.get(&format!("/users/{ADMIN}/memberOf")).json();
    assert_eq!(held["value"][0].take()["@odata.type"], "#microsoft.graph.directoryRole");
    for (roles, target, status) in [
        (["User.Read.All"], "/directory/administrativeUnits", 403),
        (["AdministrativeUnit.Read.All"], "/directory/administrativeUnits", 200),
        (["AdministrativeUnit.Read.All"], "/directoryRoles", 403),
        (["RoleManagement.Read.Directory"], "/directoryRoles", 200),
        (["Directory.Read.All"], "/solutions/bookingBusinesses", 403),
        (["Bookings.Read.All"], "/solutions/bookingBusinesses", 200),
        (["Directory.Read.All"], "/deviceManagement/managedDevices", 403),
        (["DeviceManagementManagedDevices.Read.All"], "/deviceManagement/managedDevices", 200),
    ] {
        assert_eq!(Client::with_roles(&roles).get(target).status, status, "{roles:?} {target}");
    }
}

#[test]
fn lists_show_less_of_bookings_and_managed_devices_than_single_objects() {
    let roles = ["Bookings.Read.All", "DeviceManagementManagedDevices.Read.All"].map(str::to_owned).to_vec();
    let client = Client::new(Tenant::synthetic(1, &Size::default()), Options { roles, ..Options::default() });
    let business = client.get("/solutions/bookingBusinesses").json()["value"][0].clone();
    assert_eq!((&business["email"], &business["displayName"]), (&Value::Null, &json!("Contoso Lunch Delivery")));
    let one = client.get(&format!("/solutions/bookingBusinesses/{}", business["id"].as_str().unwrap())).json();
    assert_eq!(one["email"], "info@contoso.com");
    let devices =
        client.walk("/deviceManagement/managedDevices?$top=10&$select=id,serialNumber,physicalMemoryInBytes,notes");
    assert_eq!(devices.len(), 55);
    assert!(devices.iter().all(|device| device["physicalMemoryInBytes"] == 0 && device["notes"] == Value::Null));
    assert!(devices.iter().all(|device| device["serialNumber"].as_str().unwrap().starts_with("5CG")));
    let one = client.get(&format!("/deviceManagement/managedDevices/{}", devices[0]["id"].as_str().unwrap())).json();
    assert_eq!(one["physicalMemoryInBytes"], 17_179_869_184_u64);
}

#[test]
fn relationships_go_both_ways() {
    let mut tenant = contoso();
    tenant.add_registered_user(DEVICE, Member::new(Kind::User, USER));
    tenant.add_registered_user(DEVICE, Member::new(Kind::User, ADMIN));
    tenant.add_owner(Kind::Group, GROUP, Member::new(Kind::User, ADMIN));
    let client = Client::new(tenant, Options::default());
    assert_eq!(client.get(&format!("/users/{ADMIN}/directReports")).ids(), [USER]);
    assert_eq!(client.get(&format!("/users/{USER}/ownedDevices")).ids(), [DEVICE]);
    assert_eq!(client.get(&format!("/users/{ADMIN}/registeredDevices")).ids(), [DEVICE]);
    assert_eq!(client.get(&format!("/devices/{DEVICE}/registeredUsers")).ids(), [USER, ADMIN]);
    assert_eq!(client.get(&format!("/groups/{GROUP}/owners")).ids(), [ADMIN]);
    let mut held = client.get(&format!("/users/{USER}/transitiveMemberOf")).ids();
    held.sort();
    assert_eq!(held, [GROUP, NESTED], "a cycle of groups ends");
    let device = client.get("/devices?$select=id&$expand=registeredUsers($select=id)").json();
    assert_eq!(device["value"][0]["registeredUsers"].as_array().unwrap().len(), 2);
    let group = client.get(&format!("/groups/{GROUP}?$select=id&$expand=owners")).json();
    assert_eq!(group["owners"][0]["displayName"], "MOD Administrator");
    assert_eq!(client.get(&format!("/users/{USER}/licenseDetails?$top=5")).code(), "Request_UnsupportedQuery");
}

#[test]
fn order_and_search_follow_the_rules_for_advanced_queries() {
    let client = Client::new(Tenant::synthetic(2, &Size::default()), Options::default());
    let names = |target: &str| -> Vec<String> {
        client.walk(target).iter().map(|user| user["displayName"].as_str().unwrap().to_lowercase()).collect()
    };
    let sorted = names("/users?$select=displayName&$orderby=displayName&$top=30");
    assert!(sorted.len() == 200 && sorted.is_sorted());
    let mut reversed = names("/users?$select=displayName&$orderby=displayName desc");
    reversed.reverse();
    assert!(reversed.is_sorted());
    for refused in [
        "/users?$orderby=createdDateTime",
        "/users?$orderby=displayName&$filter=accountEnabled eq true",
        "/groups?$orderby=mail",
    ] {
        assert_eq!(client.get(refused).code(), "Request_UnsupportedQuery", "{refused}");
    }
    let eventual = |target: &str| client.send("GET", &format!("/v1.0{target}"), true, Vec::new());
    assert_eq!(eventual("/users?$orderby=createdDateTime&$count=true").status, 200);
    assert_eq!(eventual("/users?$orderby=displayName&$filter=accountEnabled eq true&$count=true").status, 200);
    assert_eq!(client.get("/users?$search=\"displayName:vance\"").code(), "Request_UnsupportedQuery");
    let found = eventual("/users?$search=\"displayName:vance\"&$count=true").json();
    assert_eq!(
        (found["@odata.count"].clone(), found["value"][0]["displayName"].clone()),
        (json!(1), json!("Adele Vance"))
    );
    let either =
        eventual("/users?$search=\"displayName:vance\" OR \"userPrincipalName:megan@\"&$select=displayName").json();
    assert_eq!(either["value"].as_array().unwrap().len(), 2);
    assert_eq!(eventual("/users?$search=displayName:vance").code(), "Request_BadRequest");
}

#[test]
fn relationships_can_be_filtered_and_counted_in_advanced_queries() {
    let client = Client::new(contoso(), Options::default());
    let target = format!("/v1.0/groups/{GROUP}/members?$count=true&$filter=startswith(displayName,'conf')&$select=id");
    let found = client.send("GET", &target, true, Vec::new());
    assert_eq!((found.ids(), &found.json()["@odata.count"]), (vec![USER.to_owned()], &json!(1)));
    assert_eq!(client.send("GET", &target, false, Vec::new()).code(), "Request_UnsupportedQuery");
    let count = |target: &str| client.send("GET", &format!("/v1.0{target}"), true, Vec::new()).text;
    assert_eq!(count(&format!("/groups/{GROUP}/members/$count")), "3");
    assert_eq!(count(&format!("/groups/{GROUP}/members/microsoft.graph.device/$count")), "1");
    assert_eq!(count("/directory/deletedItems/microsoft.graph.user/$count"), "0");
}

#[test]
fn links_expire_on_order() {
    let client = Client::new(Tenant::synthetic(3, &Size::default()), Options::default());
    let link = client.get("/users?$select=id&$top=50").json()["@odata.nextLink"].as_str().unwrap().to_owned();
    let round = client.get("/groups/delta?$select=displayName&$deltatoken=latest").json();
    let delta = round["@odata.deltaLink"].as_str().unwrap();
    client.service.faults.add(Fault::new("/v1.0", FaultKind::Expired));
    assert_eq!((client.get(&link).status, client.get(&link).code().as_str()), (400, "Directory_ExpiredPageToken"));
    assert_eq!((client.get(delta).status, client.get(delta).code().as_str()), (400, "syncStateNotFound"));
    assert_eq!(client.get("/users?$select=id&$top=50").status, 200, "a first page has no link that could expire");
}

#[test]
fn a_replica_that_lags_behind_answers_from_the_past() {
    let client = Client::new(contoso(), Options::default());
    *client.service.replica.write().unwrap() = Some(client.service.tenant.read().unwrap().clone());
    client.service.tenant.write().unwrap().remove(Kind::User, USER, Deletion::Soft);
    assert_eq!(client.get("/users?$select=id").ids(), [ADMIN]);
    client.service.faults.add(Fault::new("/v1.0", FaultKind::Stale).times(1));
    assert_eq!(client.get("/users?$select=id").ids().len(), 2);
    assert_eq!(client.get("/users?$select=id").ids(), [ADMIN]);
}

#[test]
fn odd_json_says_the_same() {
    let mut tenant = contoso();
    tenant.set(Kind::User, USER, "displayName", "Zoë \"😀\"\u{202e}\n".into());
    let client = Client::new(tenant, Options::default());
    let plain = client.get("/users?$select=id,displayName,businessPhones").json();
    client.service.faults.add(Fault::new("/v1.0", FaultKind::Odd));
    let odd = client.get("/users?$select=id,displayName,businessPhones");
    assert!(odd.text.is_ascii() && odd.text.contains("\\uD83D\\uDE00") && odd.text.contains("unheardOf"));
    let odd = odd.json();
    for (number, user) in plain["value"].as_array().unwrap().iter().enumerate() {
        assert_eq!(odd["value"][number]["displayName"], user["displayName"]);
        assert_eq!(odd["value"][number]["businessPhones"], Value::Null, "an empty list may come as null");
    }
    let group = client.get(&format!("/groups/{GROUP}?$select=id&$expand=owners")).json();
    assert_eq!(group["owners"], json!([]), "an empty relationship stays a list");
}

#[test]
fn other_workloads_have_limits_of_their_own() {
    let roles = ["Directory.Read.All", "AuditLog.Read.All", "DeviceManagementManagedDevices.Read.All"];
    let roles = roles.map(str::to_owned).to_vec();
    let client = Client::new(contoso(), Options { roles, quota: Some(Quota::L), ..Options::default() });
    let get = |target: &str| client.get(target).status;
    assert!((0..10).all(|_| get("/users?$select=id,signInActivity") == 200));
    let refused = client.get("/users?$select=id,signInActivity");
    assert_eq!(refused.status, 429);
    assert!((50..=60).contains(&refused.header("Retry-After").unwrap().parse::<u64>().unwrap()));
    assert_eq!(get("/users?$select=id"), 200, "the rest goes on");
    assert!((0..2_000).all(|_| get("/deviceManagement/managedDevices") == 200));
    let refused = client.get("/deviceManagement/managedDevices");
    assert_eq!((refused.status, refused.header("x-ms-resource-unit")), (429, None));
    assert!(refused.header("x-ms-throttle-scope").unwrap().starts_with("Tenant_Application/ReadWrite/"));
}

#[tokio::test]
async fn answers_are_compressed_for_who_accepts_it_and_http_2_is_spoken() {
    let sim = Sim::start(Tenant::synthetic(1, &Size::default()), Options::default()).await.unwrap();
    let address = sim.base_url().trim_start_matches("http://").to_owned();
    let ask = async |encoding: &str| {
        let mut stream = TcpStream::connect(&address).await.unwrap();
        let request = format!("GET /v1.0/users HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{encoding}\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).await.unwrap();
        let head = bytes.windows(4).position(|window| window == b"\r\n\r\n").unwrap();
        (String::from_utf8_lossy(&bytes[..head]).to_lowercase(), bytes[head + 4..].to_vec())
    };
    let (plain, body) = ask("").await;
    assert!(plain.contains("vary: accept-encoding") && !plain.contains("content-encoding"));
    let (head, packed) = ask("Accept-Encoding: gzip\r\n").await;
    assert!(head.contains("content-encoding: gzip"), "{head}");
    let mut text = String::new();
    std::io::Read::read_to_string(&mut flate2::read::GzDecoder::new(packed.as_slice()), &mut text).unwrap();
    assert_eq!(text.len(), body.len());
    // The connection preface of HTTP/2 and an empty SETTINGS frame; what comes back begins with one, too.
    let mut stream = TcpStream::connect(&address).await.unwrap();
    stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await.unwrap();
    let mut frame = [0; 9];
    stream.read_exact(&mut frame).await.unwrap();
    assert_eq!(frame[3], 4, "a SETTINGS frame");
    sim.shutdown().await;
}
