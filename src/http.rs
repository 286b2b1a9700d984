//! One HTTP client for both sides: the source now, targets too.
//!
//! Hides connections, time-outs, retries, `Retry-After`, pacing, the size limit and request ids. What comes out is an
//! answer that could be read, or an [`HttpError`] that says what to do. Deliberately knows no service's addresses and
//! decodes no body: the caller's decoder runs inside the retry loop, so that a cut-off or foreign body counts as a
//! failed try and never as an answer. Never logs `Authorization`, bodies or query strings.

mod error;
mod gate;
mod pacer;
mod retry;
mod route;
mod trouble;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use jiff::{SignedDuration, Timestamp};
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use reqwest::redirect::Policy;
use url::Url;

use crate::clock::Clock;
use crate::error::{Context, Error, Result};
use crate::record::Guid;
use crate::recording::Recorder;

pub(crate) use error::plain;
pub use error::{HttpError, Refusal};
use gate::Gate;
use pacer::Pacer;
pub use reqwest::Method;
use retry::{Failure, Tries};
pub use route::{Route, route};
pub use trouble::{Trouble, TroubleKind};

/// The program as servers see it.
pub const USER_AGENT: &str = concat!("entra-import/", env!("CARGO_PKG_VERSION"));

const CLIENT_REQUEST_ID: HeaderName = HeaderName::from_static("client-request-id");
const REQUEST_ID: HeaderName = HeaderName::from_static("request-id");
/// The request's real cost. <https://learn.microsoft.com/graph/throttling-limits>
pub(crate) const RESOURCE_UNIT: HeaderName = HeaderName::from_static("x-ms-resource-unit");
/// How near the limit is, from 0.8 on. <https://learn.microsoft.com/graph/throttling-limits>
const LIMIT_PERCENTAGE: HeaderName = HeaderName::from_static("x-ms-throttle-limit-percentage");

/// Limits of every request. Time-outs are in real time; waits between tries pass through the [`Clock`].
#[derive(Clone, Debug)]
pub struct HttpSettings {
    pub connect_timeout: Duration,
    /// Longest silence while an answer is awaited or arrives.
    pub read_timeout: Duration,
    /// Longest time for one try from connecting to the last byte.
    pub try_timeout: Duration,
    /// Tries of one request, the first included.
    pub tries_max: u32,
    /// How many of them may end without a connection: few where it is an answer that nobody is there.
    pub unsent_max: u32,
    /// Retries of a whole lane: this many, and one more for every five requests.
    pub retries_max: u64,
    /// First wait of the exponential back-off; it doubles, with jitter, up to `wait_max`.
    pub wait_min: Duration,
    pub wait_max: Duration,
    /// A longer `Retry-After` is cut to this.
    pub retry_after_max: Duration,
    /// Largest answer, after decompression.
    pub response_bytes_max: usize,
}

impl Default for HttpSettings {
    fn default() -> HttpSettings {
        HttpSettings {
            connect_timeout: Duration::from_secs(20),
            read_timeout: Duration::from_secs(60),
            try_timeout: Duration::from_secs(300),
            tries_max: 8,
            unsent_max: 8,
            retries_max: 500,
            wait_min: Duration::from_secs(1),
            wait_max: Duration::from_secs(60),
            retry_after_max: Duration::from_secs(300),
            response_bytes_max: 64 << 20,
        }
    }
}

/// A server's address that tokens may be sent to: https, or http that does not leave this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    url: Url,
    ca_file: Option<PathBuf>,
    /// Whoever knows the path may do there what we may: it shows nowhere.
    secret_path: bool,
}

impl Endpoint {
    /// Checks the address; a usage error says what is wrong with it.
    pub fn new(url: Url) -> Result<Endpoint> {
        Endpoint::checked(url, is_loopback, "this machine")
    }

    /// Checks the address of a metadata service, which may also be link-local: such packets pass no router.
    /// <https://www.rfc-editor.org/rfc/rfc3927#section-7>
    pub fn metadata(url: Url) -> Result<Endpoint> {
        Endpoint::checked(url, is_local, "this machine or its host")
    }

    /// [`Endpoint::new`] of an address whose path is a secret, as that of a webhook.
    pub fn secret(url: Url) -> Result<Endpoint> {
        let mut shown = url;
        shown.set_path("");
        shown.set_query(None);
        shown.set_fragment(None);
        Endpoint::new(shown).map(|endpoint| Endpoint { secret_path: true, ..endpoint })
    }

    fn checked(url: Url, is_near: fn(&Url) -> bool, near: &str) -> Result<Endpoint> {
        let bad = |why: &str| {
            Err(Error::usage(format!("the address {url} cannot be used"))
                .cause(why)
                .hint(format!("Give an https address without a user name; http is accepted on {near} only.")))
        };
        if url.host_str().is_none() {
            return bad("it names no host");
        }
        if !url.username().is_empty() || url.password().is_some() {
            return bad("it carries a user name or password, which would show up in messages");
        }
        match url.scheme() {
            "https" => Ok(Endpoint { url, ca_file: None, secret_path: false }),
            "http" if is_near(&url) => Ok(Endpoint { url, ca_file: None, secret_path: false }),
            "http" => bad("it would send a token in clear text over the network"),
            scheme => bad(&format!("its scheme is {scheme}")),
        }
    }

    /// Trusts the authorities in a PEM file besides the machine's.
    #[must_use]
    pub fn trusting(mut self, ca_file: Option<&Path>) -> Endpoint {
        self.ca_file = ca_file.map(Path::to_path_buf);
        self
    }

    pub fn url(&self) -> &Url {
        &self.url
    }

    /// Whether `url` leads to this very server: same scheme, host and port, and no user name.
    pub fn allows(&self, url: &Url) -> bool {
        url.origin() == self.url.origin() && url.username().is_empty() && url.password().is_none()
    }
}

/// Whether what goes with these headers is JSON.
pub fn is_json(headers: &HeaderMap) -> bool {
    let kind = headers.get(reqwest::header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    kind.starts_with("application/json")
}

/// On this machine or its link: nothing that a proxy reaches.
fn is_local(url: &Url) -> bool {
    is_loopback(url) || matches!(url.host(), Some(url::Host::Ipv4(address)) if address.is_link_local())
}

/// Whether packets to it stay on this machine.
fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(url::Host::Domain(name)) => name == "localhost",
        Some(url::Host::Ipv4(address)) => address.is_loopback(),
        Some(url::Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

/// How fast a lane may be used.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pace {
    /// Units spent per second; a unit is whatever the service counts (Graph: resource units; else requests).
    pub units_per_s: f64,
    /// Units that may be spent at once after a while without requests; at least 1.
    pub burst_units: f64,
    /// Requests under way at the same time, at most. It begins with few and adds as latency asks for more.
    pub in_flight_max: usize,
}

impl Pace {
    /// Spends `share` (above 0, at most 1) of what a service grants, `limit` units in every `window`. The rest is the
    /// burst, so that no window sees more than the limit, however the service counts it.
    pub fn share_of(limit: f64, window: Duration, share: f64, in_flight_max: usize) -> Pace {
        let spent = limit * share;
        // At a share of 1 something must be left for the burst: timers are not exact.
        let burst_units = (limit - spent).max(limit * 0.01).max(1.0);
        let units_per_s = spent.min(limit - burst_units).max(limit * 0.01) / window.as_secs_f64();
        Pace { units_per_s, burst_units, in_flight_max }
    }
}

/// Makes lanes. Clones are the same; two jobs that share one share pacing per host and credential.
#[derive(Clone, Debug)]
pub struct Http {
    clock: Clock,
    settings: Arc<HttpSettings>,
    /// Hears of every exchange, once there is one.
    recorder: Arc<OnceLock<Arc<Recorder>>>,
    lanes: Arc<Mutex<HashMap<(url::Origin, String), Lane>>>,
}

impl Http {
    pub fn new(clock: Clock, settings: HttpSettings) -> Http {
        Http { clock, settings: Arc::new(settings), recorder: Arc::default(), lanes: Arc::default() }
    }

    pub fn clock(&self) -> &Clock {
        &self.clock
    }

    /// Notes every exchange of all lanes from now on. The first recorder stays.
    pub fn record(&self, recorder: Arc<Recorder>) {
        let _ = self.recorder.set(recorder);
    }

    /// The lane to `endpoint` for one credential, named by something that is not secret (a client id, a user name).
    /// The first caller sets the pace; later ones share it.
    pub fn lane(&self, endpoint: &Endpoint, credential: &str, pace: Pace) -> Result<Lane> {
        let mut lanes = self.lanes.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (endpoint.url.origin(), credential.to_owned());
        if let Some(lane) = lanes.get(&key) {
            return Ok(lane.clone());
        }
        let lane = Lane::new(self, endpoint.clone(), pace)?;
        lanes.insert(key, lane.clone());
        Ok(lane)
    }
}

/// One request to be sent until it is answered.
#[derive(Clone, Debug)]
pub struct Request {
    pub method: Method,
    pub url: Url,
    pub headers: HeaderMap,
    pub body: Bytes,
    /// Expected cost, at least 1; corrected by what the answer says.
    pub units: u32,
    /// Whether sending it twice is harmless. If not, it is sent again only when it was surely not acted upon.
    pub repeatable: bool,
    /// One of very many that nothing waits for in turn: where requests queue, it lets all others go first.
    pub bulk: bool,
}

impl Request {
    pub fn get(url: Url) -> Request {
        let (headers, body) = (HeaderMap::new(), Bytes::new());
        Request { method: Method::GET, url, headers, body, units: 1, repeatable: true, bulk: false }
    }

    /// A POST of JSON that must not be sent twice; set `repeatable` for one that only reads.
    pub fn post(url: Url, json: impl Into<Bytes>) -> Request {
        let mut request = Request { method: Method::POST, body: json.into(), repeatable: false, ..Request::get(url) };
        request.headers.insert(reqwest::header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        request
    }

    /// Adds `Authorization: Bearer`, marked so that nothing prints it. Fails on a token that fits no header.
    pub fn bearer(mut self, token: &str) -> Result<Request> {
        let mut value =
            HeaderValue::from_str(&format!("Bearer {token}")).failing(|| "the token fits no header".to_owned())?;
        value.set_sensitive(true);
        self.headers.insert(reqwest::header::AUTHORIZATION, value);
        Ok(self)
    }

    #[must_use]
    pub fn units(mut self, units: u32) -> Request {
        self.units = units;
        self
    }

    #[must_use]
    pub fn repeatable(mut self) -> Request {
        self.repeatable = true;
        self
    }

    #[must_use]
    pub fn bulk(mut self, bulk: bool) -> Request {
        self.bulk = bulk;
        self
    }
}

/// A whole answer.
#[derive(Clone, Debug)]
pub struct Response {
    pub status: u16,
    pub headers: HeaderMap,
    /// Decompressed.
    pub body: Bytes,
    /// The id that we gave the request.
    pub client_request_id: Guid,
}

impl Response {
    /// A header's text.
    pub fn header(&self, name: impl reqwest::header::AsHeaderName) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// The id that the service gave the request.
    pub fn request_id(&self) -> Option<&str> {
        self.header(REQUEST_ID)
    }
}

/// What a lane did so far.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Counts {
    /// Requests sent, every try counted.
    pub requests: u64,
    pub retries: u64,
    /// Seconds that the other side told us to wait.
    pub throttled_s: f64,
    /// Bytes of answers, decompressed.
    pub bytes: u64,
    /// Units as the answers stated them; where they state none, as expected.
    pub units: u64,
}

impl Counts {
    /// What came on top of an earlier count.
    pub fn since(self, before: Counts) -> Counts {
        Counts {
            requests: self.requests - before.requests,
            retries: self.retries - before.retries,
            throttled_s: self.throttled_s - before.throttled_s,
            bytes: self.bytes - before.bytes,
            units: self.units - before.units,
        }
    }
}

#[derive(Debug, Default)]
struct Counters {
    requests: AtomicU64,
    retries: AtomicU64,
    throttled_ms: AtomicU64,
    bytes: AtomicU64,
    units: AtomicU64,
}

/// The way to one host with one credential: shared pacing, shared cool-down, shared counters. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Lane(Arc<LaneState>);

#[derive(Debug)]
struct LaneState {
    endpoint: Endpoint,
    clock: Clock,
    settings: Arc<HttpSettings>,
    client: reqwest::Client,
    /// Keeps no connection: after a reset or a 503 a retry takes a new one, as
    /// <https://learn.microsoft.com/graph/errors> asks.
    fresh: reqwest::Client,
    pace: Mutex<Pace>,
    pacer: Pacer,
    gate: Gate,
    counters: Counters,
    recorder: Arc<OnceLock<Arc<Recorder>>>,
    /// Whether it was said that the server cannot be reached; not again before it answered.
    lost: AtomicBool,
    /// Milliseconds that the server's clock is ahead; [`NO_SKEW`] before the first answer.
    skew_ms: AtomicI64,
}

const NO_SKEW: i64 = i64::MIN;

impl Lane {
    fn new(http: &Http, endpoint: Endpoint, pace: Pace) -> Result<Lane> {
        let settings = http.settings.clone();
        Ok(Lane(Arc::new(LaneState {
            client: client(&settings, &endpoint, true)?,
            fresh: client(&settings, &endpoint, false)?,
            endpoint,
            clock: http.clock.clone(),
            settings,
            pace: Mutex::new(pace),
            pacer: Pacer::new(http.clock.clone(), pace),
            gate: Gate::new(pace.in_flight_max),
            counters: Counters::default(),
            recorder: http.recorder.clone(),
            lost: AtomicBool::new(false),
            skew_ms: AtomicI64::new(NO_SKEW),
        })))
    }

    pub fn endpoint(&self) -> &Endpoint {
        &self.0.endpoint
    }

    /// Changes the pace for all users of the lane.
    pub fn set_pace(&self, pace: Pace) {
        *self.0.pace.lock().unwrap_or_else(PoisonError::into_inner) = pace;
        self.0.pacer.set_pace(pace);
        self.0.gate.set_max(pace.in_flight_max);
    }

    /// How far the server's clock is ahead of this machine's, from the `Date` of its last answer; none before one. Right
    /// to about a second.
    pub fn clock_skew(&self) -> Option<SignedDuration> {
        let skew_ms = self.0.skew_ms.load(Relaxed);
        (skew_ms != NO_SKEW).then(|| SignedDuration::from_millis(skew_ms))
    }

    /// The pace that is set now.
    pub fn pace(&self) -> Pace {
        *self.0.pace.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn counts(&self) -> Counts {
        let counters = &self.0.counters;
        Counts {
            requests: counters.requests.load(Relaxed),
            retries: counters.retries.load(Relaxed),
            throttled_s: Duration::from_millis(counters.throttled_ms.load(Relaxed)).as_secs_f64(),
            bytes: counters.bytes.load(Relaxed),
            units: counters.units.load(Relaxed),
        }
    }

    /// Sends a request until it is answered with a status of 2xx.
    pub async fn send(&self, request: &Request) -> Result<Response, HttpError> {
        self.fetch(request, |response| Ok(response.clone())).await
    }

    /// Sends a request until `decode` can read its 2xx answer. What `decode` complains about counts as a transient
    /// fault (a body cut off, a proxy's page), so it must complain about nothing that a correct answer may hold.
    pub async fn fetch<T>(
        &self,
        request: &Request,
        decode: impl Fn(&Response) -> Result<T, String>,
    ) -> Result<T, HttpError> {
        if !self.0.endpoint.allows(&request.url) {
            return Err(HttpError::NotAllowed { host: error::host_of(&request.url) });
        }
        let mut tries = Tries::new(&self.0.settings);
        loop {
            self.0.pacer.pass(request.units.max(1), request.bulk).await;
            let failure = match self.attempt(request, tries.needs_fresh_connection()).await {
                Ok(response) => match decode(&response) {
                    Ok(decoded) => return Ok(decoded),
                    Err(complaint) => Failure::unreadable(response, complaint),
                },
                Err(failure) => failure,
            };
            let retries = self.0.counters.retries.load(Relaxed);
            let spent = retries >= self.0.settings.retries_max + self.0.counters.requests.load(Relaxed) / 5;
            let lost = failure.unsent().map(|(host, trouble)| format!("{host} does not answer: {trouble}"));
            let wait = tries.after(failure, request.repeatable, spent)?;
            // Said early, because what follows may be a minute of silence; but not of a single stumble, which is nobody's
            // business at night.
            if let Some(lost) = lost
                && tries.unsent() > 1
                && !self.0.lost.swap(true, Relaxed)
            {
                tracing::warn!("{lost}; trying again, {} times at most", self.0.settings.tries_max - 1);
            }
            self.0.counters.retries.fetch_add(1, Relaxed);
            match wait {
                retry::Wait::Alone(wait) => self.0.clock.sleep(wait).await,
                retry::Wait::Together(wait) => {
                    self.0.gate.narrow();
                    let throttled_ms = self.0.pacer.cool_down(wait).as_millis();
                    self.0.counters.throttled_ms.fetch_add(u64::try_from(throttled_ms).unwrap_or(u64::MAX), Relaxed);
                }
            }
        }
    }

    /// One try, with everything that is logged and counted of it.
    async fn attempt(&self, request: &Request, fresh: bool) -> Result<Response, Failure> {
        let _way = self.0.gate.enter().await;
        // A stop may have begun while this request waited at the gate.
        self.0.pacer.cooled().await;
        let id = new_guid();
        self.0.counters.requests.fetch_add(1, Relaxed);
        let client = if fresh { &self.0.fresh } else { &self.0.client };
        let began = self.0.clock.system_time();
        let result = self.exchange(client, request, id).await;
        let response = result.as_ref().ok().or_else(|| result.as_ref().err().and_then(Failure::response));
        if let Some(recorder) = self.0.recorder.get() {
            recorder.note(request, response);
        }
        if let Some(response) = response {
            self.compare_clocks(began, response);
            self.0.lost.store(false, Relaxed);
        }
        match &result {
            Ok(response) => {
                self.settle(request, response);
                self.0.pacer.served();
            }
            Err(failure) => {
                let path = if self.0.endpoint.secret_path { "/…" } else { request.url.path() };
                let host = request.url.host_str().unwrap_or_default();
                let request_id = failure.request_id();
                tracing::debug!(%failure, method = %request.method, host, path, client_request_id = %id, request_id,
                    "a request failed");
                if let Some(response) = failure.response() {
                    self.settle(request, response);
                }
            }
        }
        result
    }

    async fn exchange(&self, client: &reqwest::Client, request: &Request, id: Guid) -> Result<Response, Failure> {
        let sent = client
            .request(request.method.clone(), request.url.clone())
            .headers(request.headers.clone())
            .header(CLIENT_REQUEST_ID, id.to_string())
            .body(request.body.clone())
            .send();
        let mut answer = sent.await.map_err(Failure::no_answer)?;
        let (status, headers) = (answer.status().as_u16(), std::mem::take(answer.headers_mut()));
        let mut body = BytesMut::new();
        while let Some(chunk) = answer.chunk().await.map_err(Failure::cut_off)? {
            if body.len() + chunk.len() > self.0.settings.response_bytes_max {
                return Err(Failure::too_large(self.0.settings.response_bytes_max));
            }
            body.extend_from_slice(&chunk);
        }
        self.0.counters.bytes.fetch_add(body.len() as u64, Relaxed);
        let response = Response { status, headers, body: body.freeze(), client_request_id: id };
        if (200..300).contains(&status) { Ok(response) } else { Err(Failure::answered(response)) }
    }

    /// Notes how far the server's clock is ahead. It was read somewhere between sending and receiving, and tells whole
    /// seconds, so half a second is added.
    fn compare_clocks(&self, began: Timestamp, response: &Response) {
        let date = response.header(reqwest::header::DATE).and_then(|text| httpdate::parse_http_date(text).ok());
        let Some(date) = date.and_then(|date| Timestamp::try_from(date).ok()) else { return };
        let ended = self.0.clock.system_time();
        let middle_ms = i64::midpoint(began.as_millisecond(), ended.as_millisecond());
        self.0.skew_ms.store(date.as_millisecond() + 500 - middle_ms, Relaxed);
    }

    /// Books what the answer says it cost, and slows down when it says that the limit is near.
    fn settle(&self, request: &Request, response: &Response) {
        let number = |name: HeaderName| response.header(name).and_then(|text| text.trim().parse::<f64>().ok());
        let expected = request.units.max(1);
        let cost = number(RESOURCE_UNIT).filter(|cost| (0.0..=10_000.0).contains(cost)).unwrap_or(expected.into());
        self.0.counters.units.fetch_add(cost.ceil() as u64, Relaxed);
        let mut near = pacer::near_limit(number(LIMIT_PERCENTAGE).unwrap_or(0.0));
        if let Some(budget) = Budget::of(response) {
            near = near.max(budget.surcharge());
            if let Some(wait) = budget.wait(self.0.settings.wait_max) {
                self.0.pacer.hold(wait);
            }
        }
        self.0.pacer.settle(expected, cost, near);
    }
}

/// What a service says with every answer of the requests it still grants; Jira does.
/// <https://developer.atlassian.com/cloud/jira/platform/rate-limiting/>,
/// <https://confluence.atlassian.com/adminjiraserver/improving-instance-stability-with-rate-limiting-983794911.html>
#[derive(Debug, PartialEq)]
struct Budget {
    /// Requests that are left, and of how many; not told where only the warning is.
    left: Option<(f64, f64)>,
    /// Less than a fifth is left.
    is_near: bool,
    /// When there is more: the wait or interval of a Data Center, the reset of Cloud.
    more_in: Option<Duration>,
}

impl Budget {
    fn of(response: &Response) -> Option<Budget> {
        let number = |name: &str| {
            let number = response.header(name).and_then(|text| text.trim().parse::<f64>().ok());
            number.filter(|number| number.is_finite() && *number >= 0.0)
        };
        let left = number("x-ratelimit-remaining").zip(number("x-ratelimit-limit")).filter(|(_, of)| *of >= 1.0);
        let is_near = response.header("x-ratelimit-nearlimit").is_some_and(|text| text.eq_ignore_ascii_case("true"));
        if left.is_none() && !is_near {
            return None;
        }
        let waits = number("retry-after").filter(|wait| *wait > 0.0).or(number("x-ratelimit-interval-seconds"));
        let waits = waits.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
        Some(Budget { left, is_near, more_in: waits.or_else(|| reset(response)) })
    }

    fn surcharge(&self) -> f64 {
        match self.left {
            Some((remaining, of)) => pacer::near_end(remaining, of),
            None if self.is_near => 1.0,
            None => 0.0,
        }
    }

    /// How long nothing is granted, at most `longest`; where that is not told, a second.
    fn wait(&self, longest: Duration) -> Option<Duration> {
        let (remaining, _) = self.left?;
        (remaining < 1.0).then(|| self.more_in.unwrap_or(Duration::from_secs(1)).min(longest))
    }
}

/// How long until `X-RateLimit-Reset` by the server's own clock. A minute without seconds is waited for to its end.
fn reset(response: &Response) -> Option<Duration> {
    let text = response.header("x-ratelimit-reset")?.trim();
    let begins: Timestamp = text.parse().ok()?;
    let is_minute = text.split_once('T').is_some_and(|(_, time)| time.matches(':').count() == 1);
    let at = if is_minute { begins.checked_add(SignedDuration::from_mins(1)).ok()? } else { begins };
    let date = response.header(reqwest::header::DATE).and_then(|text| httpdate::parse_http_date(text).ok());
    let now = date.and_then(|date| Timestamp::try_from(date).ok()).unwrap_or_else(Timestamp::now);
    Duration::try_from(at.duration_since(now)).ok()
}

fn client(settings: &HttpSettings, endpoint: &Endpoint, keep_alive: bool) -> Result<reqwest::Client> {
    let mut builder = reqwest::Client::builder()
        .user_agent(USER_AGENT)
        .redirect(Policy::none())
        .connect_timeout(settings.connect_timeout)
        .read_timeout(settings.read_timeout)
        .timeout(settings.try_timeout)
        .tcp_keepalive(Duration::from_secs(30))
        .retry(reqwest::retry::never());
    if !keep_alive {
        builder = builder.pool_max_idle_per_host(0);
    }
    if is_local(&endpoint.url) {
        // A proxy's own loopback is another machine.
        builder = builder.no_proxy();
    }
    if let Some(path) = &endpoint.ca_file {
        builder = builder.tls_certs_merge(authorities(path)?);
    }
    builder.build().failing(|| "cannot set up the HTTP client".into())
}

/// The certificates in a PEM file; a usage error when there is none.
fn authorities(path: &Path) -> Result<Vec<reqwest::Certificate>> {
    let bad = || {
        Error::usage(format!("no authority's certificate can be read from {}", path.display()))
            .hint("`ca_file` names a PEM file with one or more certificates")
    };
    let pem = std::fs::read(path).map_err(|cause| bad().because(cause))?;
    let found = reqwest::Certificate::from_pem_bundle(&pem).map_err(|_| bad())?;
    if found.is_empty() { Err(bad().cause("it holds none")) } else { Ok(found) }
}

/// A random id (version 4).
pub(crate) fn new_guid() -> Guid {
    let mut bytes = fastrand::u128(..).to_be_bytes();
    bytes[6] = (bytes[6] & 0x0f) | 0x40;
    bytes[8] = (bytes[8] & 0x3f) | 0x80;
    Guid(bytes)
}

#[cfg(test)]
mod tests;
