//! One request in, one answer out: tokens, Graph, batches, quota and faults put together, without sockets.
//!
//! Hides: the order in which things go wrong (fault, quota, token, right, query), and the log of requests.
//! Deliberately does not: listen, wait, or frame HTTP (see `sim_server`); log a header's content.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, RwLock};
use std::time::Duration;

use serde_json::json;
use sim_server::{Faults, Incoming, Manner, Outgoing, hash, http_date};

use crate::batch;
use crate::delta;
use crate::faults::{FaultKind, Twist};
use crate::graph::{self, Call};
use crate::identity::{self, Place};
use crate::odd;
use crate::options::Options;
use crate::query::expired_page;
use crate::reply::{self, Failure, Ids, Reply, guid, throttled};
use crate::rights::Roles;
use crate::tenant::Tenant;
use crate::token::{self, Registration};
use crate::units::{Limits, Workload, price};

/// A request as the log keeps it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Logged {
    /// `GET`, `POST`.
    pub method: String,
    /// Path and query as sent.
    pub target: String,
    /// The answer's status; 0 when the connection was closed instead.
    pub status: u16,
    /// Resource units; 0 for what is not Graph.
    pub units: u32,
    /// The size of the answer's body.
    pub bytes: usize,
    /// The request was inside a `$batch`.
    pub batched: bool,
    /// `client-request-id` as sent.
    pub client_request_id: Option<String>,
    /// `x-ms-throttle-priority` as sent.
    pub priority: Option<String>,
    /// `ConsistencyLevel: eventual` was sent.
    pub eventual: bool,
}

/// Sums over all requests since the start (or the last [`crate::Sim::clear_requests`]).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// HTTP requests to Graph; a batch is one.
    pub graph: u64,
    /// Requests inside batches.
    pub batched: u64,
    /// Token requests.
    pub tokens: u64,
    /// Resource units asked for, refused requests included.
    pub units: u64,
    /// Answers with status 429, inside batches too.
    pub throttled: u64,
    /// Bytes of all bodies.
    pub bytes: u64,
}

/// Everything a running simulator shares.
pub(crate) struct Service {
    pub tenant: RwLock<Tenant>,
    /// What a replica that lags behind still holds.
    pub replica: RwLock<Option<Tenant>>,
    pub registration: RwLock<Registration>,
    pub faults: Faults<FaultKind>,
    limits: Option<Limits>,
    premium: bool,
    gzip: bool,
    public_base: Option<String>,
    latency: Duration,
    log: Option<Mutex<Vec<Logged>>>,
    counters: Mutex<Counters>,
    ordinal: AtomicU64,
}

/// What is known of a request while it is answered.
struct Context<'a> {
    incoming: &'a Incoming,
    base: String,
    ids: Ids,
}

impl sim_server::Service for Service {
    fn gzip(&self) -> bool {
        self.gzip
    }

    fn answer(&self, incoming: &Incoming) -> Outgoing {
        let ordinal = self.ordinal.fetch_add(1, Ordering::Relaxed);
        let request = guid(hash(&ordinal.to_le_bytes()), ordinal);
        let client = incoming.header("client-request-id").map_or_else(|| request.clone(), str::to_owned);
        let base = self.public_base.clone().unwrap_or_else(|| format!("http://{}", incoming.host));
        let context = Context { incoming, base, ids: Ids { request, client } };
        let target = incoming.target();
        let fault = self.faults.due(&incoming.method, &target);
        let (mut reply, units) = match incoming.path.strip_prefix("/v1.0") {
            Some(path) => self.graph(&context, path, fault.as_ref()),
            None => {
                let refused = self.refusal(fault.as_ref(), &target, &context.ids);
                (refused.unwrap_or_else(|| self.other(&context, ordinal)), 0)
            }
        };
        let ahead_s = self.registration.read().expect("no panic while registering").clock_ahead_s;
        if ahead_s != 0 {
            reply = reply.with("Date", http_date(ahead_s));
        }
        let Ids { request, client } = &context.ids;
        reply = reply.with("request-id", request).with("client-request-id", client);
        let mut outgoing = Outgoing { reply, delay: self.latency, manner: Manner::Whole };
        deform(&mut outgoing, fault.as_ref());
        self.note(Logged {
            method: incoming.method.clone(),
            target,
            status: outgoing.status(),
            units,
            bytes: outgoing.reply.body.len(),
            batched: false,
            client_request_id: incoming.header("client-request-id").map(str::to_owned),
            priority: incoming.header("x-ms-throttle-priority").map(str::to_owned),
            eventual: is_eventual(incoming.header("consistencylevel")),
        });
        outgoing
    }
}

impl Service {
    pub fn new(tenant: Tenant, options: Options) -> Self {
        let registration = options.registration(&tenant);
        Self {
            tenant: RwLock::new(tenant),
            replica: RwLock::new(None),
            registration: RwLock::new(registration),
            faults: Faults::new(options.faults),
            limits: options.quota.map(|quota| Limits::new(quota, options.time_factor)),
            premium: options.premium,
            gzip: options.gzip,
            public_base: options.public_base,
            latency: options.latency,
            log: options.log_requests.then(Mutex::default),
            counters: Mutex::default(),
            ordinal: AtomicU64::new(0),
        }
    }

    pub fn logged(&self) -> Vec<Logged> {
        self.log.as_ref().map(|log| log.lock().expect("no panic while logging").clone()).unwrap_or_default()
    }

    pub fn counters(&self) -> Counters {
        *self.counters.lock().expect("no panic while counting")
    }

    pub fn clear(&self) {
        if let Some(log) = &self.log {
            log.lock().expect("no panic while logging").clear();
        }
        *self.counters.lock().expect("no panic while counting") = Counters::default();
    }

    fn note(&self, logged: Logged) {
        let mut counters = self.counters.lock().expect("no panic while counting");
        match (logged.batched, logged.target.starts_with("/v1.0")) {
            (true, _) => counters.batched += 1,
            (false, true) => counters.graph += 1,
            (false, false) => {
                counters.tokens += u64::from(logged.target.contains("/oauth2/") || logged.target.starts_with("/msi/"));
            }
        }
        counters.units += u64::from(logged.units);
        counters.throttled += u64::from(logged.status == 429);
        counters.bytes += if logged.batched { 0 } else { logged.bytes as u64 };
        drop(counters);
        if let Some(log) = &self.log {
            log.lock().expect("no panic while logging").push(logged);
        }
    }

    fn graph(&self, context: &Context<'_>, path: &str, fault: Option<&FaultKind>) -> (Reply, u32) {
        let incoming = context.incoming;
        let authorized = {
            let registration = self.registration.read().expect("no panic while registering");
            token::authorize(&registration, incoming.header("authorization"))
        };
        if path == "/$batch" && incoming.method == "POST" {
            let answered = authorized.and_then(|roles| {
                batch::answer(&incoming.body, &context.ids, |inner| self.inner(context, inner, &roles))
            });
            let reply = self
                .refusal(fault, path, &context.ids)
                .unwrap_or_else(|| answered.unwrap_or_else(|failure| failure.reply(&context.ids)));
            return (reply, 0);
        }
        let (roles, refused) = match authorized {
            Ok(roles) => (roles, None),
            Err(failure) => (Roles::default(), Some(failure)),
        };
        let call = Call {
            method: &incoming.method,
            path,
            query: &incoming.query,
            eventual: is_eventual(incoming.header("consistencylevel")),
            minimal: is_minimal(incoming.header("prefer")),
            body: &incoming.body,
            base: &context.base,
            roles: &roles,
            twist: &Twist::of(fault),
            premium: self.premium,
        };
        self.priced(&call, &context.ids, fault, refused)
    }

    /// A request inside a batch: its own faults, price and place in the log.
    fn inner(&self, context: &Context<'_>, inner: &batch::Inner, roles: &Roles) -> Reply {
        let target = format!("/v1.0{}", inner.url);
        let fault = self.faults.due(&inner.method, &target);
        let (path, query) = inner.url.split_once('?').unwrap_or((&inner.url, ""));
        let call = Call {
            method: &inner.method,
            path,
            query,
            eventual: is_eventual(inner.header("consistencylevel")),
            minimal: is_minimal(inner.header("prefer")),
            body: &inner.body,
            base: &context.base,
            roles,
            twist: &Twist::of(fault.as_ref()),
            premium: self.premium,
        };
        let (reply, units) = self.priced(&call, &context.ids, fault.as_ref(), None);
        self.note(Logged {
            method: inner.method.clone(),
            target,
            status: reply.status,
            units,
            bytes: reply.body.len(),
            batched: true,
            client_request_id: inner.header("client-request-id").map(str::to_owned),
            priority: inner.header("x-ms-throttle-priority").map(str::to_owned),
            eventual: call.eventual,
        });
        reply
    }

    /// Fault, quota, token, endpoint: in this order, and the price in a header whatever comes out.
    fn priced(&self, call: &Call<'_>, ids: &Ids, fault: Option<&FaultKind>, refused: Option<Failure>) -> (Reply, u32) {
        let units = price(call.method, call.path, call.query);
        let (limited, used) = self.limit(call, units, ids);
        let mut reply = self.refusal(fault, call.query, ids).or(limited).unwrap_or_else(|| match refused {
            Some(failure) => failure.reply(ids),
            None => self.endpoint(call, fault).unwrap_or_else(|failure| failure.reply(ids)),
        });
        match fault {
            Some(FaultKind::Odd) if reply.status == 200 => odd::disguise(&mut reply),
            Some(FaultKind::Untyped) if reply.status == 200 => odd::without_types(&mut reply),
            _ => {}
        }
        if units > 0 {
            reply = reply.with("x-ms-resource-unit", units.to_string());
        }
        reply = reply.with("OData-Version", "4.0").with("Cache-Control", "no-cache");
        if reply.status == 410 {
            reply = reply.with("Location", delta::restart(call.base, call.path, call.query));
        }
        if used > 0.8 {
            reply = reply.with("x-ms-throttle-limit-percentage", format!("{used:.2}"));
        }
        (reply, units)
    }

    /// The endpoint's answer, or that of the replica that lags behind.
    fn endpoint(&self, call: &Call<'_>, fault: Option<&FaultKind>) -> Result<Reply, Failure> {
        // Rounds of changes are never mixed from two replicas: their tokens say what they have seen.
        let one_replica = call.path.contains("/delta") && call.query.contains("token=");
        if matches!(fault, Some(FaultKind::Stale)) && !one_replica {
            let replica = self.replica.read().expect("no panic while copying the tenant");
            if let Some(replica) = replica.as_ref() {
                return graph::answer(replica, call);
            }
        }
        graph::answer(&self.tenant.read().expect("no panic while changing the tenant"), call)
    }

    /// The quota's say: a 429 or nothing, and the share in use.
    fn limit(&self, call: &Call<'_>, units: u32, ids: &Ids) -> (Option<Reply>, f64) {
        let Some(limits) = &self.limits else { return (None, 0.0) };
        let verdict = limits.take(Workload::of(call.path, call.query), units);
        let refused = verdict.retry_after.map(|seconds| {
            self.throttled(ids, "Tenant_Application/ReadWrite", "ResourceUnitLimitExceeded")
                .with("Retry-After", seconds.to_string())
        });
        (refused, verdict.used)
    }

    /// A 429 that says who is throttled and why; without `Retry-After`.
    /// <https://learn.microsoft.com/graph/throttling>
    fn throttled(&self, ids: &Ids, scope: &str, information: &str) -> Reply {
        let registration = self.registration.read().expect("no panic while registering");
        throttled(ids)
            .with("x-ms-throttle-scope", format!("{scope}/{}/{}", registration.client_id, registration.tenant))
            .with("x-ms-throttle-information", information)
    }

    /// The answers that a fault gives in place of the endpoint.
    fn refusal(&self, fault: Option<&FaultKind>, query: &str, ids: &Ids) -> Option<Reply> {
        let failure = |status, code, message: &str| Failure::new(status, code, message).reply(ids);
        Some(match fault? {
            FaultKind::Throttle(after) => after.tell(self.throttled(ids, "Tenant/ReadWrite", "CPULimitExceeded")),
            FaultKind::Unavailable(after) => {
                let words = "The service is temporarily unavailable. Please try again later.";
                after.tell(failure(503, "serviceNotAvailable", words))
            }
            FaultKind::Expired if query.contains("$deltatoken=") => delta::lost().reply(ids),
            FaultKind::Expired if query.contains("$skiptoken=") => expired_page().reply(ids),
            FaultKind::Status(401) => {
                failure(401, "InvalidAuthenticationToken", "Access token has expired or is not yet valid.")
            }
            FaultKind::Status(403) => Failure::denied().reply(ids),
            FaultKind::Status(404) => Failure::not_found("00000000-0000-0000-0000-000000000000").reply(ids),
            FaultKind::Status(410) => {
                failure(410, "resyncRequired", "Resync required. Replace any local items with the server's version.")
            }
            FaultKind::Status(502) => reply::html(502),
            FaultKind::Status(504) => failure(504, "UnknownError", ""),
            FaultKind::Status(500) => failure(500, "InternalServerError", "Something went wrong."),
            FaultKind::Status(status) => failure(*status, "UnknownError", ""),
            FaultKind::Html => reply::html(200),
            FaultKind::Nowhere => reply::html(404),
            _ => return None,
        })
    }

    /// What is not Graph: the token endpoint and what sign-in libraries ask for before it.
    fn other(&self, context: &Context<'_>, nonce: u64) -> Reply {
        let incoming = context.incoming;
        let registration = self.registration.read().expect("no panic while registering");
        let base = &context.base;
        let parts: Vec<&str> = incoming.path.split('/').filter(|part| !part.is_empty()).collect();
        if let Some(place) = Place::at(&parts).filter(|_| incoming.method == "GET") {
            // What a request for a managed identity's token must carry.
            let proof = incoming.header("x-identity-header").or_else(|| incoming.header("metadata"));
            return identity::answer(&registration, place, proof, &incoming.query, nonce);
        }
        match (incoming.method.as_str(), parts.as_slice()) {
            ("POST", [tenant, "oauth2", "v2.0", "token"]) => {
                token::answer(&registration, base, tenant, incoming.header("authorization"), &incoming.body, nonce)
            }
            ("GET", [_, "discovery", "instance"]) => {
                let host = base.split_once("://").map_or(base.as_str(), |(_, host)| host);
                let document = json!({
                    "tenant_discovery_endpoint": format!("{base}/{}/v2.0/.well-known/openid-configuration", registration.tenant),
                    "api-version": "1.1",
                    "metadata": [{"preferred_network": host, "preferred_cache": host, "aliases": [host]}],
                });
                reply::json(200, document.to_string())
            }
            ("GET", [tenant, "v2.0", ".well-known", "openid-configuration"]) => {
                let document = json!({
                    "token_endpoint": format!("{base}/{tenant}/oauth2/v2.0/token"),
                    "token_endpoint_auth_methods_supported": ["client_secret_post", "private_key_jwt", "client_secret_basic"],
                    "issuer": format!("{base}/{}/v2.0", registration.tenant),
                    "authorization_endpoint": format!("{base}/{tenant}/oauth2/v2.0/authorize"),
                    "jwks_uri": format!("{base}/{tenant}/discovery/v2.0/keys"),
                    "msgraph_host": base.split_once("://").map(|(_, host)| host),
                });
                reply::json(200, document.to_string())
            }
            _ => Failure::new(404, "ResourceNotFound", "Invalid version.").reply(&context.ids),
        }
    }
}

fn is_eventual(level: Option<&str>) -> bool {
    level.is_some_and(|level| level.eq_ignore_ascii_case("eventual"))
}

fn is_minimal(prefer: Option<&str>) -> bool {
    prefer.is_some_and(|prefer| prefer.contains("return=minimal"))
}

/// The faults that change how an answer is sent.
fn deform(outgoing: &mut Outgoing, fault: Option<&FaultKind>) {
    match fault {
        Some(FaultKind::Slow(delay)) => outgoing.delay += *delay,
        Some(FaultKind::Drip(pause)) => outgoing.manner = Manner::Drip(*pause),
        Some(FaultKind::Reset) => outgoing.manner = Manner::Reset,
        Some(FaultKind::Cut) => outgoing.manner = Manner::Cut,
        Some(FaultKind::Truncated) => {
            let half = outgoing.reply.body.len() / 2;
            outgoing.reply.body.truncate(half);
        }
        _ => {}
    }
}
