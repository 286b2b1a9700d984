//! One request in, one answer out, without sockets: doors, sign-in, limits and faults put together.
//!
//! Hides the order in which things go wrong (fault, door, sign-in, limit, right, content), and the log of requests, which
//! never holds what a request authenticates with. Deliberately does not listen, wait or frame HTTP: see `sim_server`.

use std::collections::BTreeMap;
use std::sync::{Mutex, RwLock};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use sim_server::{Faults, Incoming, Manner, Outgoing};

use crate::accounts::{self, Account, Door, Issued};
use crate::api::{self, Call};
use crate::faults::FaultKind;
use crate::odd;
use crate::options::{Flavour, Options};
use crate::rates::Rates;
use crate::reply::{self, Reply};
use crate::store::Store;

/// A request as the log keeps it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Logged {
    pub method: String,
    /// Path and query as sent.
    pub target: String,
    /// The answer's status; 0 when the connection was closed instead.
    pub status: u16,
    /// The account's name; empty when nobody signed in.
    pub account: String,
}

/// Requests so far by method and path, ids in it replaced by `{id}`: `POST object/create`.
pub type Counters = BTreeMap<String, u64>;

/// Everything a running simulator shares.
pub(crate) struct Service {
    pub store: RwLock<Store>,
    pub options: Options,
    pub accounts: RwLock<Vec<Account>>,
    pub faults: Faults<FaultKind>,
    issued: Issued,
    rates: Rates,
    began: Instant,
    /// By how much time was moved on.
    ahead: Mutex<Duration>,
    log: Mutex<Vec<Logged>>,
    counters: Mutex<Counters>,
}

/// Where a path leads.
enum Place<'p> {
    /// The Assets API, with the segments below its base and the base itself.
    Assets(Door, Vec<&'p str>, String),
    Workspace(Door),
    TenantInfo,
    Users(Door),
    Token,
    Nowhere,
}

impl sim_server::Service for Service {
    fn answer(&self, incoming: &Incoming) -> Outgoing {
        let mut account = String::new();
        let mut served = || self.serve(incoming, &mut account);
        let (mut delay, mut manner) = (self.options.latency, Manner::Whole);
        let fault = self.faults.due(&incoming.method, &incoming.target());
        let reply = match &fault {
            None => served(),
            Some(FaultKind::TooMany(after)) => after.tell(reply::error(429, "Rate limit exceeded.")),
            Some(FaultKind::Unavailable(after)) => after.tell(reply::error(503, "Service unavailable")),
            Some(FaultKind::Failed(status)) => reply::error(*status, "Internal error"),
            Some(FaultKind::BadGateway) => reply::bad_gateway(),
            Some(FaultKind::LoginPage) => reply::login_page(),
            Some(FaultKind::Redirect(to)) => Reply::new(302, "text/html", "").with("Location", to),
            Some(FaultKind::Reset) => {
                manner = Manner::Reset;
                reply::bad_gateway()
            }
            Some(FaultKind::DoneAndCut) => {
                manner = Manner::Reset;
                served()
            }
            Some(FaultKind::DoneAndFailed(status)) => {
                served();
                reply::error(*status, "Internal error")
            }
            Some(FaultKind::Slow(late)) => {
                delay += *late;
                served()
            }
            Some(FaultKind::Short) => odd::short(served()),
            Some(FaultKind::Twice) => odd::twice(served()),
            Some(FaultKind::Same) => odd::unended(self.serve(&odd::of_first_page(incoming), &mut account)),
            Some(FaultKind::Bare) => odd::bare(served()),
            Some(FaultKind::Odd) => odd::disguised(served()),
        };
        let outgoing = Outgoing { reply, delay, manner };
        self.note(incoming, outgoing.status(), account);
        outgoing
    }
}

impl Service {
    pub fn new(store: Store, options: Options) -> Self {
        Self {
            store: RwLock::new(store),
            accounts: RwLock::new(options.accounts.clone()),
            faults: Faults::new(options.faults.clone()),
            issued: Issued::default(),
            rates: Rates::default(),
            began: Instant::now(),
            ahead: Mutex::default(),
            log: Mutex::default(),
            counters: Mutex::default(),
            options,
        }
    }

    /// The simulator's own time.
    pub fn now(&self) -> Duration {
        let passed = self.began.elapsed().mul_f64(self.options.time_factor.max(0.001));
        passed + *self.ahead.lock().expect("no panic while telling the time")
    }

    pub fn advance(&self, by: Duration) {
        *self.ahead.lock().expect("no panic while moving time on") += by;
    }

    pub fn logged(&self) -> Vec<Logged> {
        self.log.lock().expect("no panic while logging").clone()
    }

    pub fn counters(&self) -> Counters {
        self.counters.lock().expect("no panic while counting").clone()
    }

    pub fn clear(&self) {
        self.log.lock().expect("no panic while logging").clear();
        self.counters.lock().expect("no panic while counting").clear();
    }

    fn note(&self, incoming: &Incoming, status: u16, account: String) {
        let segments: Vec<&str> = split(&incoming.path);
        let path = match self.place(&segments, incoming) {
            Place::Assets(_, below, _) => below.join("/"),
            _ => segments.join("/"),
        };
        let is_id = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
        let path: Vec<&str> = path.split('/').map(|part| if is_id(part) { "{id}" } else { part }).collect();
        let name = format!("{} {}", incoming.method, path.join("/"));
        *self.counters.lock().expect("no panic while counting").entry(name).or_default() += 1;
        if self.options.log_requests {
            let logged = Logged { method: incoming.method.clone(), target: incoming.target(), status, account };
            self.log.lock().expect("no panic while logging").push(logged);
        }
    }

    fn serve(&self, incoming: &Incoming, name: &mut String) -> Reply {
        let segments = split(&incoming.path);
        let place = self.place(&segments, incoming);
        let now = self.now();
        let now_s = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
        let accounts = self.accounts.read().expect("no panic while changing accounts");
        let door = match &place {
            Place::Nowhere => return reply::error(404, "not found"),
            Place::TenantInfo => return reply::ok(&json!({"cloudId": self.options.cloud_id})),
            Place::Token => {
                return accounts::token(&accounts, &self.issued, &incoming.body, now_s, self.options.expires_in_s);
            }
            Place::Assets(door, ..) | Place::Workspace(door) | Place::Users(door) => *door,
        };
        let account = match accounts::authorize(&accounts, &self.issued, incoming.header("authorization"), door, now_s)
        {
            Err(reply) => return reply,
            Ok(account) => account,
        };
        name.clone_from(&account.name);
        match place {
            Place::Workspace(_) => self.workspace(),
            Place::Users(_) => self.users(&incoming.query),
            Place::Assets(_, below, base) => self.assets(incoming, account, below, base, now),
            Place::TenantInfo | Place::Token | Place::Nowhere => reply::error(404, "not found"),
        }
    }

    fn assets(&self, incoming: &Incoming, account: &Account, below: Vec<&str>, base: String, now: Duration) -> Reply {
        let near = match self.rates.pass(&self.options, api::class(&incoming.method, &below), &account.name, now) {
            Err(reply) => return reply,
            Ok(near) => near,
        };
        let body = match incoming.body.is_empty() {
            true => Value::Null,
            false => match serde_json::from_slice(&incoming.body) {
                Ok(body) => body,
                Err(_) => return reply::error(400, "The body is no JSON"),
            },
        };
        let call = Call {
            options: &self.options,
            method: &incoming.method,
            segments: below,
            query: url::form_urlencoded::parse(incoming.query.as_bytes()).into_owned().collect(),
            body: &body,
            right: account.right,
            account: &account.name,
            base,
            now,
        };
        let reply = api::answer(&mut self.store.write().expect("no panic while changing the store"), &call);
        near.map_or(reply.clone(), |near| near.tell(self.options.flavour, reply))
    }

    fn workspace(&self) -> Reply {
        let Options { has_assets, workspace_id, more_workspaces, .. } = &self.options;
        let ids = has_assets.then_some(workspace_id).into_iter().chain(more_workspaces);
        let values: Vec<Value> = ids.map(|id| json!({"workspaceId": id})).collect();
        reply::ok(
            &json!({"size": values.len(), "start": 0, "limit": 50, "isLastPage": true, "_links": {}, "values": values}),
        )
    }

    /// People by a part of name or mail. Who keeps the mail private is found by the name alone.
    /// <https://developer.atlassian.com/cloud/jira/platform/rest/v3/api-group-user-search/>
    fn users(&self, query: &str) -> Reply {
        let wanted = url::form_urlencoded::parse(query.as_bytes())
            .find(|(name, _)| matches!(name.as_ref(), "query" | "username"))
            .map(|(_, value)| value.to_lowercase())
            .unwrap_or_default();
        let store = self.store.read().expect("no panic while reading");
        let fits = |text: &str| text.to_lowercase().contains(&wanted);
        let found =
            store.people.iter().filter(|person| fits(&person.name) || person.email.as_deref().is_some_and(fits));
        let shape = |person: &crate::store::Person| match self.options.flavour {
            Flavour::Cloud => json!({
                "accountId": person.account, "accountType": "atlassian", "active": true, "displayName": person.name,
                "emailAddress": person.email.as_deref().unwrap_or_default(),
            }),
            Flavour::DataCenter => json!({
                "key": person.account, "name": person.account, "active": true, "displayName": person.name,
                "emailAddress": person.email,
            }),
        };
        reply::ok(&found.map(shape).collect())
    }

    fn place<'p>(&self, segments: &[&'p str], incoming: &Incoming) -> Place<'p> {
        let host = format!("http://{}", incoming.host);
        let (workspace, cloud) = (self.options.workspace_id.as_str(), self.options.cloud_id.as_str());
        if self.options.flavour == Flavour::DataCenter {
            return match segments {
                ["rest", "assets", "1.0", ..] if self.options.is_insight => Place::Nowhere,
                ["rest", which @ ("assets" | "insight"), "1.0", below @ ..] => {
                    Place::Assets(Door::DataCenter, below.to_vec(), format!("{host}/rest/{which}/1.0"))
                }
                ["rest", "api", "2", "user", "search"] => Place::Users(Door::DataCenter),
                ["rest", "oauth2", "latest", "token"] => Place::Token,
                _ => Place::Nowhere,
            };
        }
        let (door, segments, prefix) = match segments {
            ["ex", "jira", id, rest @ ..] if *id == cloud => (Door::Scoped, rest, format!("{host}/ex/jira/{cloud}")),
            ["ex", "jira", ..] => return Place::Nowhere,
            all => (Door::Plain, all, host),
        };
        match segments {
            ["jsm", which @ ("assets" | "insight"), "workspace", id, "v1", below @ ..] if *id == workspace => {
                Place::Assets(door, below.to_vec(), format!("{prefix}/jsm/{which}/workspace/{workspace}/v1"))
            }
            ["rest", "servicedeskapi", "assets" | "insight", "workspace"] => Place::Workspace(door),
            ["rest", "api", "2" | "3", "user", "search"] => Place::Users(door),
            ["_edge", "tenant_info"] => Place::TenantInfo,
            ["oauth", "token"] => Place::Token,
            _ => Place::Nowhere,
        }
    }
}

/// The segments of a path; what is doubled counts once, as gateways do it.
fn split(path: &str) -> Vec<&str> {
    path.split('/').filter(|segment| !segment.is_empty()).collect()
}
