//! The stand-in itself, asked without sockets, and a little with them.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use sim_server::{Incoming, Manner, Outgoing, Service as _};

use crate::accounts::Right;
use crate::faults::Fault;
use crate::options::{CLIENT_ID, CLIENT_SECRET, CLOUD_ID, EMAIL, Options, PERSONAL_TOKEN, TOKEN, Totals, WORKSPACE_ID};
use crate::reply::Reply;
use crate::service::Service;
use crate::store::{Attribute, DefaultType, Id, Kind, Person, Store};

/// A service with a schema of two types, as most tests need it.
struct World {
    service: Service,
    user: Id,
    group: Id,
}

fn world(options: Options) -> World {
    let mut store = Store::new();
    let schema = store.add_schema("People", "ENT", "");
    let (group, user) = (store.add_type(schema, "Group"), store.add_type(schema, "User"));
    let by = *store.reference_types.keys().next().unwrap();
    let mut add = |name: &str, kind, edit: &dyn Fn(&mut Attribute)| {
        let mut attribute = Attribute::new(user, name, kind);
        edit(&mut attribute);
        store.add_attribute(attribute);
    };
    let simple = Kind::Default;
    add("Object ID", simple(DefaultType::Text), &|a| (a.unique, a.min) = (true, 1));
    add("Age", simple(DefaultType::Integer), &|_| {});
    add("Size", simple(DefaultType::Double), &|_| {});
    add("Enabled", simple(DefaultType::Boolean), &|_| {});
    add("Born", simple(DefaultType::Date), &|_| {});
    add("Seen", simple(DefaultType::DateTime), &|_| {});
    add("Page", simple(DefaultType::Url), &|_| {});
    add("Email", simple(DefaultType::Email), &|_| {});
    add("Notes", simple(DefaultType::Textarea), &|_| {});
    add("Kind", simple(DefaultType::Select), &|a| a.options = vec!["Member".into(), "Guest".into()]);
    add("Address", simple(DefaultType::IpAddress), &|_| {});
    add("Code", simple(DefaultType::Text), &|a| a.regex = "[A-Z]{3}".into());
    add("Groups", Kind::Reference { to: group, by }, &|a| a.max = 2);
    add("Account", Kind::User, &|_| {});
    add("Status", Kind::Status(Vec::new()), &|_| {});
    let account = |n: u32, name: &str, email: Option<&str>| Person {
        account: format!("account-{n}"),
        name: name.into(),
        email: email.map(str::to_owned),
    };
    store.people = vec![account(1, "Adele Vance", Some("adele@contoso.com")), account(2, "Alex Wilber", None)];
    World { service: Service::new(store, options), user, group }
}

impl World {
    fn raw(&self, method: &str, path: &str, authorization: Option<String>, body: &Value) -> Outgoing {
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        self.service.answer(&Incoming {
            method: method.into(),
            path: path.into(),
            query: query.into(),
            host: "127.0.0.1:1".into(),
            headers: authorization.map(|value| ("authorization".to_owned(), value)).into_iter().collect(),
            body: if body.is_null() { Vec::new() } else { body.to_string().into_bytes() },
        })
    }

    fn ask(&self, method: &str, path: &str, body: &Value) -> (u16, Value) {
        let cloud = self.service.options.flavour == crate::Flavour::Cloud;
        let base = if cloud { format!("/jsm/assets/workspace/{WORKSPACE_ID}/v1") } else { "/rest/assets/1.0".into() };
        let header = if cloud { basic(EMAIL, TOKEN) } else { format!("Bearer {PERSONAL_TOKEN}") };
        read(self.raw(method, &format!("{base}{path}"), Some(header), body))
    }

    fn attribute(&self, name: &str) -> Id {
        self.service.store.read().unwrap().attribute_named(self.user, name).unwrap().id
    }

    fn body(&self, values: &[(&str, &[&str])]) -> Value {
        let one = |(name, values): &(&str, &[&str])| {
            let values: Vec<Value> = values.iter().map(|value| json!({"value": value})).collect();
            json!({"objectTypeAttributeId": self.attribute(name).to_string(), "objectAttributeValues": values})
        };
        json!({"objectTypeId": self.user.to_string(), "attributes": values.iter().map(one).collect::<Vec<_>>()})
    }

    fn create(&self, values: &[(&str, &[&str])]) -> (u16, Value) {
        self.ask("POST", "/object/create", &self.body(values))
    }

    fn person(&self, n: u32) -> (u16, Value) {
        self.create(&[("Name", &[&format!("Person {n}")]), ("Object ID", &[&format!("id-{n}")])])
    }

    fn found(&self, query: &str) -> Vec<String> {
        let (status, page) = self.ask("POST", "/object/aql?maxResults=1000", &json!({"qlQuery": query}));
        assert_eq!(status, 200, "{query}: {page}");
        page["values"].as_array().unwrap().iter().map(|object| object["label"].as_str().unwrap().to_owned()).collect()
    }

    /// What the server refuses about one attribute.
    fn refused(&self, name: &str, values: &[&str]) -> String {
        let whole: Vec<(&str, &[&str])> = match name {
            "Name" => vec![("Object ID", &["x"])],
            "Object ID" => vec![("Name", &["x"])],
            _ => vec![("Name", &["x"]), ("Object ID", &["x"])],
        };
        let (status, body) = self.create(&[whole, vec![(name, values)]].concat());
        assert_eq!(status, 400, "{name} {values:?}: {body}");
        body["errors"][format!("rlabs-insight-attribute-{}", self.attribute(name))].as_str().unwrap().to_owned()
    }
}

fn basic(user: &str, password: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{user}:{password}")))
}

fn read(outgoing: Outgoing) -> (u16, Value) {
    assert_ne!(outgoing.manner, Manner::Reset, "an answer");
    let Reply { status, body, .. } = outgoing.reply;
    (status, serde_json::from_slice(&body).unwrap_or(Value::Null))
}

#[test]
fn a_create_answers_without_attributes_and_an_update_is_partial() {
    let world = world(Options::cloud());
    let (status, made) = world.create(&[("Name", &["Adele"]), ("Object ID", &["1"]), ("Age", &["42"])]);
    assert_eq!((status, made.get("attributes")), (201, None), "{made}");
    let id = made["id"].as_str().unwrap();
    assert_eq!(made["objectKey"], format!("ENT-{id}"));
    assert_eq!(made["globalId"], format!("{WORKSPACE_ID}:{id}"));
    let held = |name: &str| {
        let (_, object) = world.ask("GET", &format!("/object/{id}"), &Value::Null);
        let wanted = world.attribute(name).to_string();
        let attributes = object["attributes"].as_array().unwrap().clone();
        let one = attributes.into_iter().find(|a| a["objectTypeAttributeId"] == wanted)?;
        Some(one["objectAttributeValues"][0]["value"].as_str()?.to_owned())
    };
    let (status, after) = world.ask("PUT", &format!("/object/{id}"), &world.body(&[("Notes", &["long"])]));
    assert!(status == 200 && after["attributes"].is_array());
    assert_eq!((held("Age"), held("Notes")), (Some("42".into()), Some("long".into())));
    world.ask("PUT", &format!("/object/{id}"), &world.body(&[("Age", &[])]));
    assert_eq!((held("Age"), held("Notes")), (None, Some("long".into())));
    let (status, _) = world.ask("PUT", &format!("/object/{id}"), &world.body(&[("Object ID", &[])]));
    assert_eq!((status, held("Object ID")), (400, Some("1".into())), "what is required cannot be cleared");
    assert_eq!(world.ask("DELETE", &format!("/object/{id}"), &Value::Null).0, 200);
    assert_eq!(world.ask("GET", &format!("/object/{id}"), &Value::Null).0, 404);
}

#[test]
fn every_kind_of_value_is_checked_and_all_breaches_come_at_once() {
    let world = world(Options::cloud());
    let long = "x".repeat(255);
    for (name, value, words) in [
        ("Name", long.as_str(), "less than 255"),
        ("Age", "a", "Integer value provided is invalid"),
        ("Size", "NaN", "Double value provided is invalid"),
        ("Enabled", "yes", "Boolean value provided is invalid"),
        ("Born", "31.01.2026", "Date value provided is invalid"),
        ("Seen", "soon", "DateTime value provided is invalid"),
        ("Page", "contoso", "Url value provided is invalid"),
        ("Email", "adele", "Email value provided is invalid"),
        ("Kind", "Robot", "Invalid values"),
        ("Address", "1.2.3", "IP Address value provided is invalid"),
        ("Code", "abc", "invalid due to restrictions"),
        ("Groups", "999999", "does not exist"),
        ("Account", "nobody", "not found in Jira"),
        ("Status", "999", "Invalid values"),
        ("Key", "ENT-1", "not editable"),
    ] {
        let refused = world.refused(name, &[value]);
        assert!(refused.contains(words), "{name}: {refused}");
    }
    let (status, body) = world.create(&[("Age", &["a"]), ("Size", &["b"])]);
    assert_eq!(
        (status, body["errors"].as_object().unwrap().len()),
        (400, 4),
        "with Name and Object ID missing: {body}"
    );
    assert!(world.service.store.read().unwrap().objects.is_empty(), "nothing was written");
    world.person(1);
    assert!(world.refused("Object ID", &["ID-1"]).contains("duplicated value"), "letter case does not count");
    let strange = json!({"objectTypeId": world.group, "attributes": [{
        "objectTypeAttributeId": world.attribute("Age"), "objectAttributeValues": [{"value": "1"}]}]});
    assert_eq!(world.ask("POST", "/object/create", &strange).0, 400, "an attribute of another type");
}

#[test]
fn values_are_kept_in_forms_of_the_servers_own() {
    let world = world(Options::cloud());
    let values: [(&str, &[&str]); 7] = [
        ("Name", &["Adele"]),
        ("Object ID", &["1"]),
        ("Size", &["3"]),
        ("Enabled", &["TRUE"]),
        ("Seen", &["2026-01-31T09:00:00+01:00"]),
        ("Status", &["Active"]),
        ("Account", &["account-1"]),
    ];
    let (status, made) = world.create(&values);
    assert_eq!(status, 201, "{made}");
    let (_, object) = world.ask("GET", &format!("/object/{}", made["id"].as_str().unwrap()), &Value::Null);
    let value = |name: &str| {
        let wanted = world.attribute(name).to_string();
        let all = object["attributes"].as_array().unwrap();
        all.iter().find(|a| a["objectTypeAttributeId"] == wanted).unwrap()["objectAttributeValues"][0].clone()
    };
    assert_eq!(value("Size")["value"], "3.0");
    assert_eq!(value("Enabled")["value"], "true");
    assert_eq!(value("Seen")["value"], "2026-01-31T08:00:00.000Z");
    assert_eq!(value("Seen")["displayValue"], "31/Jan/26 8:00 AM");
    assert_eq!((value("Status").get("value"), &value("Status")["status"]["name"]), (None, &json!("Active")));
    assert_eq!(value("Account")["user"]["emailAddress"], "adele@contoso.com");
}

#[test]
fn references_lead_to_objects_of_their_type_and_go_with_them() {
    let world = world(Options::cloud());
    let group = |name: &str| {
        let label = world.service.store.read().unwrap().attribute_named(world.group, "Name").unwrap().id;
        let body = json!({"objectTypeId": world.group, "attributes": [
            {"objectTypeAttributeId": label, "objectAttributeValues": [{"value": name}]}]});
        world.ask("POST", "/object/create", &body).1["id"].as_str().unwrap().to_owned()
    };
    let (a, b, c) = (group("A"), group("B"), group("C"));
    let user = world.person(1).1["id"].as_str().unwrap().to_owned();
    let put = |groups: &[&str]| world.ask("PUT", &format!("/object/{user}"), &world.body(&[("Groups", groups)]));
    assert_eq!(put(&[&a, &format!("ENT-{b}")]).0, 200, "by id and by key");
    assert!(put(&[&a, &b, &c]).1.to_string().contains("can only contain max 2"));
    assert!(put(&[&user]).1.to_string().contains("another object type"));
    assert_eq!(world.found("object HAVING outboundReferences(Name = B)"), ["Person 1"]);
    assert_eq!(world.found("\"Groups\".Name = \"B\""), ["Person 1"]);
    assert_eq!(world.found("object HAVING inboundReferences(objectType = User) ORDER BY Key ASC"), ["A", "B"]);
    world.ask("DELETE", &format!("/object/{a}"), &Value::Null);
    let (_, object) = world.ask("GET", &format!("/object/{user}"), &Value::Null);
    assert!(object.to_string().contains("\"referencedObject\"") && !object.to_string().contains(&format!("ENT-{a}\"")));
}

#[test]
fn queries_are_parsed_whole_or_refused() {
    let world = world(Options::cloud());
    for (n, name) in [(1, "Ann \"The\" Lee"), (2, "Bob"), (3, "bobby")] {
        world.create(&[("Name", &[name]), ("Object ID", &[&format!("id-{n}")]), ("Age", &[&(n * 10).to_string()])]);
    }
    for (query, expected) in [
        ("objectType = User ORDER BY Key DESC", vec!["bobby", "Bob", "Ann \"The\" Lee"]),
        ("Name = \"ann \\\"the\\\" lee\"", vec!["Ann \"The\" Lee"]),
        ("Name == bob", vec![]),
        ("Name LIKE BOB ORDER BY Name ASC", vec!["Bob", "bobby"]),
        ("\"Object ID\" IN (\"id-1\", id-3) ORDER BY Key ASC", vec!["Ann \"The\" Lee", "bobby"]),
        ("Age > 10 AND NOT Age >= 30", vec!["Bob"]),
        ("(Age = 10 OR Age = 20) AND Email IS EMPTY ORDER BY Age DESC", vec!["Bob", "Ann \"The\" Lee"]),
        ("Name STARTSWITH bobb", vec!["bobby"]),
        (
            "objectType IN objectTypeAndChildren(\"User\") AND Age IS NOT EMPTY ORDER BY Age",
            vec!["Ann \"The\" Lee", "Bob", "bobby"],
        ),
    ] {
        assert_eq!(world.found(query), expected, "{query}");
    }
    for query in [
        "\"Shoe Size\" = 1",
        "objectType = Robot",
        "Name =",
        "Name = \"open",
        "Name = a b",
        "(Name = a",
        "objectTypeId = 99999",
    ] {
        let (status, body) = world.ask("POST", "/object/aql", &json!({"qlQuery": query}));
        assert_eq!(status, 400, "{query}: {body}");
    }
    let (_, counted) = world.ask("POST", "/object/aql/totalcount", &json!({"qlQuery": "objectType = User"}));
    assert_eq!(counted, json!({"totalCount": 3}));
}

#[test]
fn pages_are_capped_and_without_an_order_they_shift() {
    let world = world(Options { page_max: 4, totals: Totals::Capped(3), ..Options::cloud() });
    (0..10).for_each(|n| assert_eq!(world.person(n).0, 201));
    let pages = |order: &str| {
        let mut keys = Vec::new();
        loop {
            let path = format!("/object/aql?startAt={}&maxResults=500", keys.len());
            let (_, page) = world.ask("POST", &path, &json!({"qlQuery": format!("objectType = User{order}")}));
            assert_eq!((page["maxResults"].as_u64(), page["total"].as_u64()), (Some(4), Some(3)));
            keys.extend(page["values"].as_array().unwrap().iter().map(|o| o["objectKey"].to_string()));
            if page["isLast"] == true {
                break;
            }
        }
        keys
    };
    let mut ordered = pages(" ORDER BY Key ASC");
    ordered.dedup();
    assert_eq!(ordered.len(), 10);
    let mut shifted = pages("");
    shifted.sort();
    shifted.dedup();
    assert!(shifted.len() < 10, "some came twice");
    let body = json!({"qlQuery": "objectType = User", "includeAttributes": false});
    let (_, page) = world.ask("POST", "/object/aql", &body);
    assert!(page["values"][0]["attributes"].is_array(), "in the body it is not looked at");
    let (_, page) = world.ask("POST", "/object/aql?includeAttributes=False", &body);
    assert!(page["values"][0].get("attributes").is_none());
}

#[test]
fn the_index_follows_later_and_uniqueness_does_not_wait_for_it() {
    let world = world(Options { index_delay: Duration::from_secs(30), ..Options::cloud() });
    let (_, made) = world.person(1);
    let id = made["id"].as_str().unwrap();
    assert_eq!(world.ask("GET", &format!("/object/{id}"), &Value::Null).0, 200);
    assert!(world.found("objectType = User").is_empty());
    assert_eq!(world.person(1).0, 400, "twins are found at once");
    world.service.advance(Duration::from_secs(30));
    assert_eq!(world.found("objectType = User"), ["Person 1"]);
    world.ask("DELETE", &format!("/object/{id}"), &Value::Null);
    assert_eq!(world.found("objectType = User"), ["Person 1"], "deletes follow later, too");
    world.service.advance(Duration::from_secs(30));
    assert!(world.found("objectType = User").is_empty());
}

#[test]
fn every_door_wants_its_own_key() {
    let world = world(Options::cloud());
    let scoped = format!("/ex/jira/{CLOUD_ID}/jsm/assets/workspace/{WORKSPACE_ID}/v1/objectschema/list");
    let plain = format!("/jsm/assets/workspace/{WORKSPACE_ID}/v1/objectschema/list");
    let status = |path: &str, header: Option<String>| read(world.raw("GET", path, header, &Value::Null)).0;
    let (classic, limited) = (basic(EMAIL, TOKEN), basic(EMAIL, "scoped-token"));
    assert_eq!(status(&plain, Some(classic.clone())), 200);
    assert_eq!(status(&plain, Some(limited.clone())), 401);
    assert_eq!(status(&scoped, Some(limited)), 200);
    assert_eq!(status(&scoped, Some(classic.clone())), 401);
    assert_eq!(status(&plain, None), 401);
    assert_eq!(status(&plain, Some(basic(EMAIL, "wrong"))), 401);
    assert_eq!(status(&plain.replace(WORKSPACE_ID, "other"), Some(classic.clone())), 404);
    assert_eq!(status(&scoped.replace(CLOUD_ID, "other"), Some(classic.clone())), 404);
    let form = format!("grant_type=client_credentials&client_id={CLIENT_ID}&client_secret={CLIENT_SECRET}");
    let token = |form: &str| {
        read(world.service.answer(&Incoming {
            method: "POST".into(),
            path: "/oauth/token".into(),
            body: form.into(),
            ..Incoming::default()
        }))
    };
    let (_, answer) = token(&form);
    let bearer = format!("Bearer {}", answer["access_token"].as_str().unwrap());
    assert_eq!(status(&scoped, Some(bearer.clone())), 200);
    assert_eq!(status(&plain, Some(bearer.clone())), 401);
    world.service.advance(Duration::from_secs(3601));
    assert_eq!(status(&scoped, Some(bearer)), 401, "tokens end");
    assert_eq!(token(&form.replace(CLIENT_SECRET, "wrong")).0, 401);
    let workspaces = "/rest/servicedeskapi/assets/workspace";
    let (_, found) = read(world.raw("GET", workspaces, Some(classic), &Value::Null));
    assert_eq!(found["values"], json!([{"workspaceId": WORKSPACE_ID}]));
}

#[test]
fn rights_are_looked_at_and_nothing_is_done_without_them() {
    let world = world(Options::cloud());
    let right = |right| world.service.accounts.write().unwrap().iter_mut().for_each(|account| account.right = right);
    right(Right::Read);
    assert_eq!(world.found("objectType = User").len(), 0);
    assert_eq!(world.person(1).0, 403);
    right(Right::Write);
    assert_eq!(world.person(1).0, 201);
    assert_eq!(world.ask("POST", "/objectschema/create", &json!({"name": "A", "objectSchemaKey": "A"})).0, 403);
    right(Right::Nothing);
    assert_eq!(world.ask("GET", "/objectschema/list", &Value::Null).0, 403);
}

#[test]
fn limits_count_per_class_and_recover() {
    let world = world(Options { creates_per_minute: Some(2), ..Options::cloud() });
    assert_eq!((world.person(1).0, world.person(2).0, world.person(3).0), (201, 201, 429));
    assert_eq!(world.found("objectType = User").len(), 2, "searches are counted by themselves");
    let path = format!("/jsm/assets/workspace/{WORKSPACE_ID}/v1/object/create");
    let reply = world.raw("POST", &path, Some(basic(EMAIL, TOKEN)), &json!({})).reply;
    let header = |name: &str| reply.headers.iter().find(|(key, _)| *key == name).map(|(_, value)| value.clone());
    assert_eq!((reply.status, header("X-RateLimit-Remaining")), (429, Some("0".into())));
    let wait: u64 = header("Retry-After").unwrap().parse().unwrap();
    assert!((1..=60).contains(&wait));
    world.service.advance(Duration::from_secs(60));
    assert_eq!(world.person(3).0, 201);
}

#[test]
fn faults_hit_before_or_after_the_deed() {
    let world = world(Options::cloud());
    let arm = |text: &str| world.service.faults.add(text.parse::<Fault>().unwrap());
    let path = format!("/jsm/assets/workspace/{WORKSPACE_ID}/v1/object/create");
    let send = |n: u32| {
        let name = format!("Person {n}");
        let body = world.body(&[("Name", &[&name]), ("Object ID", &[&name])]);
        world.raw("POST", &path, Some(basic(EMAIL, TOKEN)), &body).status()
    };
    let count = || world.service.store.read().unwrap().objects.len();
    arm("cut,path=/object/create,nth=1");
    assert_eq!((send(1), count()), (0, 1), "done, and no answer");
    arm("reset,times=1");
    assert_eq!((send(2), count()), (0, 1));
    for (fault, status) in
        [("429:7,times=1", 429), ("503:none,times=1", 503), ("502,times=1", 502), ("504,times=1", 504)]
    {
        arm(fault);
        assert_eq!((send(2), count()), (status, 1), "{fault}");
    }
    assert!("worse".parse::<Fault>().is_err() && "429,where=x".parse::<Fault>().is_err());
}

#[test]
fn data_center_has_numbers_pages_and_lists_of_its_own() {
    let world = world(Options { page_max: 2, ..Options::data_center() });
    (0..3).for_each(|n| assert_eq!(world.person(n).0, 201));
    let (_, schemas) = world.ask("GET", "/objectschema/list", &Value::Null);
    assert!(schemas["objectschemas"][0]["id"].is_u64(), "{schemas}");
    let (_, page) = world.ask(
        "GET",
        "/aql/objects?qlQuery=objectType%20=%20User%20ORDER%20BY%20Key&page=2&resultPerPage=50",
        &Value::Null,
    );
    assert_eq!((page["objectEntries"].as_array().unwrap().len(), &page["totalFilterCount"]), (1, &json!(3)), "{page}");
    assert_eq!((&page["pageNumber"], &page["pageSize"], &page["pageObjectSize"]), (&json!(2), &json!(2), &json!(2)));
    let body = json!({"qlQuery": "objectType = User", "page": 1, "resultsPerPage": 1});
    let (_, page) = world.ask("POST", "/object/navlist/aql", &body);
    assert_eq!(page["objectEntries"].as_array().unwrap().len(), 1);
    assert_eq!(world.ask("POST", "/object/aql", &body).0, 404, "of Cloud alone");
    let (status, _) = read(world.raw(
        "GET",
        "/rest/insight/1.0/objectschema/list",
        Some(basic("importer", "password")),
        &Value::Null,
    ));
    assert_eq!(status, 200, "the old base");
}

#[test]
fn the_site_is_built_over_the_api() {
    let world = world(Options::cloud());
    let post = |path: &str, body: Value| {
        let (status, made) = world.ask("POST", path, &body);
        assert_eq!(status, 201, "{path}: {made}");
        made["id"].as_str().unwrap().to_owned()
    };
    let schema = post("/objectschema/create", json!({"name": "Assets", "objectSchemaKey": "AST"}));
    let ty = post("/objecttype/create", json!({"name": "Laptop", "iconId": "4", "objectSchemaId": schema}));
    let status = post("/config/statustype", json!({"name": "Lost", "category": 0, "objectSchemaId": schema}));
    let by = post("/config/referencetype", json!({"name": "Owned by", "objectSchemaId": schema}));
    let path = format!("/objecttypeattribute/{ty}");
    post(
        &path,
        json!({"name": "Serial", "type": 0, "defaultTypeId": 0, "uniqueAttribute": true, "minimumCardinality": 1}),
    );
    post(&path, json!({"name": "Owner", "type": 1, "typeValue": ty, "additionalValue": by}));
    post(&path, json!({"name": "State", "type": 7, "typeValueMulti": [status]}));
    post(&path, json!({"name": "Class", "type": 0, "defaultTypeId": 10, "options": "A, B"}));
    let (_, attributes) = world.ask("GET", &format!("/objecttype/{ty}/attributes"), &Value::Null);
    let names: Vec<&str> = attributes.as_array().unwrap().iter().map(|a| a["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["Key", "Name", "Created", "Updated", "Serial", "Owner", "State", "Class"]);
    assert_eq!(attributes[5]["referenceObjectTypeId"], ty);
    for (path, body) in [
        ("/objectschema/create".to_owned(), json!({"name": "Assets", "objectSchemaKey": "AST2"})),
        ("/objecttype/create".to_owned(), json!({"name": "Laptop", "objectSchemaId": schema})),
        (path.clone(), json!({"name": "Serial", "type": 0, "defaultTypeId": 0})),
        (path.clone(), json!({"name": "Owner 2", "type": 1, "typeValue": ty})),
        (path.clone(), json!({"name": "Plain", "type": 0})),
        (path, json!({"name": "Choice", "type": 0, "defaultTypeId": 10})),
    ] {
        assert_eq!(world.ask("POST", &path, &body).0, 400, "{path} {body}");
    }
}

#[test]
fn the_log_never_holds_what_a_request_signs_in_with() {
    let world = world(Options::cloud());
    world.person(1);
    let logged = format!("{:?}", world.service.logged());
    assert!(logged.contains("/object/create") && logged.contains("classic"), "{logged}");
    assert!(!logged.contains(TOKEN) && !logged.contains("Basic"), "{logged}");
    assert_eq!(world.service.counters()["POST object/create"], 1);
}

#[tokio::test]
async fn of_twins_at_the_same_time_one_is_made() {
    let world = world(Options::cloud());
    let (path, body) = (
        format!("/jsm/assets/workspace/{WORKSPACE_ID}/v1/object/create"),
        world.body(&[("Name", &["x"]), ("Object ID", &["1"])]),
    );
    let made = std::sync::atomic::AtomicU32::new(0);
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                if world.raw("POST", &path, Some(basic(EMAIL, TOKEN)), &body).status() == 201 {
                    made.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                }
            });
        }
    });
    assert_eq!(made.into_inner(), 1);
}

#[test]
fn a_status_is_changed_and_deleted_and_names_stay_unique() {
    let world = world(Options::cloud());
    let (_, made) =
        world.ask("POST", "/config/statustype", &json!({"name": "Left", "category": 0, "description": "gone"}));
    let path = format!("/config/statustype/{}", made["id"].as_str().unwrap());
    assert_eq!(made["description"], "gone");
    let (_, object) =
        world.create(&[("Name", &["Adele"]), ("Object ID", &["1"]), ("Status", &[made["id"].as_str().unwrap()])]);
    assert_eq!(world.ask("PUT", &path, &json!({"name": "active", "category": 1})).0, 400, "another is called so");
    let (status, changed) = world.ask("PUT", &path, &json!({"name": "LEFT", "category": 2}));
    assert_eq!((status, &changed["name"], &changed["category"]), (200, &json!("LEFT"), &json!(2)), "{changed}");
    assert_eq!(world.ask("GET", &path, &Value::Null).1, changed);
    assert_eq!(world.ask("DELETE", &path, &Value::Null), (200, Value::Null));
    for method in ["GET", "PUT", "DELETE"] {
        assert_eq!(world.ask(method, &path, &json!({"name": "Left", "category": 0})).0, 404, "{method}");
    }
    let (_, object) = world.ask("GET", &format!("/object/{}", object["id"].as_str().unwrap()), &Value::Null);
    assert!(!object.to_string().contains("LEFT"), "{object}");
}

#[test]
fn an_object_tells_what_became_of_it() {
    let world = world(Options::cloud());
    let (_, made) = world.create(&[("Name", &["Adele"]), ("Object ID", &["1"]), ("Age", &["42"])]);
    let path = format!("/object/{}", made["id"].as_str().unwrap());
    world.ask("PUT", &path, &world.body(&[("Age", &["43"]), ("Name", &["Adele"])]));
    let (status, events) = world.ask("GET", &format!("{path}/history?asc=true"), &Value::Null);
    let told: Vec<(Option<&str>, Option<&str>, &str)> = events
        .as_array()
        .unwrap()
        .iter()
        .map(|event| {
            (event["affectedAttribute"].as_str(), event["oldValue"].as_str(), event["newValue"].as_str().unwrap())
        })
        .collect();
    let key = made["objectKey"].as_str().unwrap();
    assert_eq!((status, told), (200, vec![(None, None, key), (Some("Age"), Some("42"), "43")]));
    let (_, newest) = world.ask("GET", &format!("{path}/history"), &Value::Null);
    assert_eq!(newest[0], events[1], "the newest first");
    assert!(
        events[0]["type"].is_number() && events[0]["objectId"] == made["id"] && events[0]["actor"]["name"] == "classic"
    );
}

#[test]
fn lists_of_attributes_are_filtered_and_ordered_as_asked() {
    let world = world(Options::cloud());
    let below = {
        let mut store = world.service.store.write().unwrap();
        let schema = store.types[&world.user].schema;
        let below = store.add_type(schema, "Guest");
        store.types.get_mut(&below).unwrap().parent = Some(world.user);
        store.types.get_mut(&world.user).unwrap().inherited = true;
        store.add_attribute(Attribute::new(below, "Sponsor", Kind::Default(DefaultType::Text)));
        below
    };
    world.create(&[("Name", &["Adele"]), ("Object ID", &["1"]), ("Age", &["42"])]);
    let names = |ty: Id, query: &str| -> Vec<String> {
        let (_, list) = world.ask("GET", &format!("/objecttype/{ty}/attributes?{query}"), &Value::Null);
        list.as_array().unwrap().iter().map(|one| one["name"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(names(world.user, "query=AGE"), ["Age", "Page"]);
    assert_eq!(names(world.user, "query=age&orderByName=true&onlyValueEditable=true"), ["Age", "Page"]);
    assert_eq!(names(world.user, "orderByName=true")[..2], ["Account", "Address"]);
    assert_eq!(names(world.user, "orderByRequired=true")[..2], ["Name", "Object ID"]);
    assert!(!names(world.user, "").contains(&"Sponsor".into()));
    assert!(names(world.user, "includeChildren=true").contains(&"Sponsor".into()));
    assert!(
        names(below, "").contains(&"Age".into())
            && !names(below, "excludeParentAttributes=true").contains(&"Age".into())
    );
    let (_, list) = world.ask(
        "GET",
        &format!("/objecttype/{}/attributes?includeValuesExist=true&query=age", world.user),
        &Value::Null,
    );
    assert_eq!((&list[0]["objectAttributeExists"], &list[1]["objectAttributeExists"]), (&json!(true), &json!(false)));
}

#[test]
fn descriptions_are_kept_and_an_object_stays_of_its_type() {
    let world = world(Options::cloud());
    let schema = world.service.store.read().unwrap().types[&world.user].schema;
    for path in [format!("/objectschema/{schema}"), format!("/objecttype/{}", world.user)] {
        let (_, before) = world.ask("GET", &path, &Value::Null);
        let (status, after) = world.ask("PUT", &path, &json!({"description": "from Entra"}));
        assert_eq!((status, &after["description"], &after["name"]), (200, &json!("from Entra"), &before["name"]));
        assert_eq!(world.ask("GET", &path, &Value::Null).1["description"], "from Entra");
        assert_eq!(world.ask("PUT", &path, &json!({"description": ""})).1["description"], "");
    }
    let (_, made) = world.person(1);
    let path = format!("/object/{}", made["id"].as_str().unwrap());
    let moved = |ty: Id| json!({"objectTypeId": ty.to_string(), "attributes": []});
    assert_eq!(world.ask("PUT", &path, &moved(999_999)).0, 404);
    assert_eq!(world.ask("PUT", &path, &moved(world.group)).0, 400);
    assert_eq!(world.ask("PUT", &path, &moved(world.user)).0, 200);
}
