//! Asking Graph: one authorised request, and one walk over the pages of any list.
//!
//! Hides tokens, links and the guards against lists that never end. Deliberately knows no collection.
//! <https://learn.microsoft.com/graph/paging>

use std::collections::HashSet;
use std::fmt;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use bytes::Bytes;
use futures::future;
use reqwest::header::{HeaderName, HeaderValue};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;
use url::Url;

use super::auth::Auth;
use super::collections::SIGN_IN_REQUESTS_PER_MINUTE;
use super::{Priority, SourceConfig, pace};
use crate::clock::Clock;
use crate::error::{Error, Result};
use crate::http::{Endpoint, Http, HttpError, Lane, Pace, RESOURCE_UNIT, Refusal, Request, Response, plain};

/// So many pages in a row without anything new are taken for a loop. Empty pages with a link are normal, as are
/// repeated objects, but not for this long: 999 objects a page would be 200,000 repeated.
const PAGES_WITHOUT_NEWS_MAX: u32 = 200;

/// Asks for an advanced query; on every page of it. <https://learn.microsoft.com/graph/aad-advanced-queries>
pub(super) const CONSISTENCY_LEVEL: HeaderName = HeaderName::from_static("consistencylevel");
pub(super) const EVENTUAL: HeaderValue = HeaderValue::from_static("eventual");

/// `$filter` as it stands in an address.
pub(super) fn filter_option(filter: &str) -> String {
    let encoded: String = url::form_urlencoded::byte_serialize(filter.as_bytes()).collect();
    format!("$filter={}", encoded.replace('+', "%20"))
}

/// <https://learn.microsoft.com/graph/throttling>
const PRIORITY: HeaderName = HeaderName::from_static("x-ms-throttle-priority");

/// Graph, as the signed-in application reaches it.
#[derive(Debug)]
pub(super) struct Graph {
    pub auth: Auth,
    pub lane: Lane,
    /// For requests that read sign-in activity: a quota of its own.
    pub slow_lane: Lane,
    pub clock: Clock,
    base: Url,
    pages_max: u64,
    priority: Priority,
    http: Http,
    /// The application in its tenant, for lanes.
    whose: String,
}

/// Why a read stopped before its end.
#[derive(Debug)]
pub(super) enum Stop {
    Http(HttpError),
    /// No token to be had.
    SignIn(Error),
    /// The links lead astray, or an endless list.
    Astray(String),
    /// The link to the next page is no longer valid: start again.
    Expired(Box<Refusal>),
    /// Our own disk.
    Local(Error),
}

impl Stop {
    /// The service's no, if it is one.
    pub fn refusal(&self) -> Option<&Refusal> {
        match self {
            Stop::Http(error) => error.refusal(),
            Stop::Expired(refusal) => Some(refusal),
            _ => None,
        }
    }

    /// Whether asking for anything else is as hopeless.
    pub fn is_lost(&self) -> bool {
        matches!(self, Stop::SignIn(_) | Stop::Http(HttpError::Unreachable { .. }))
    }
}

impl fmt::Display for Stop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Stop::Http(error) => fmt::Display::fmt(error, f),
            Stop::Astray(reason) => f.write_str(reason),
            Stop::Expired(refusal) => write!(f, "the link to the next page expired twice: {refusal}"),
            Stop::SignIn(error) | Stop::Local(error) => {
                f.write_str(&error.what)?;
                error.causes.iter().try_for_each(|cause| write!(f, ": {cause}"))
            }
        }
    }
}

/// A list to be walked over, from its first page.
#[derive(Debug)]
pub(super) struct List<'a> {
    pub lane: &'a Lane,
    pub first: Url,
    /// What a page is expected to cost.
    pub units: u32,
    /// One of very many lists: its first page lets all other requests go first.
    pub bulk: bool,
    /// An advanced query.
    pub advanced: bool,
    /// No further page is asked for once this is true.
    pub enough: Option<&'a AtomicBool>,
    /// Counts the pages as they come.
    pub pages: Option<&'a AtomicU64>,
}

impl<'a> List<'a> {
    pub fn new(lane: &'a Lane, first: Url) -> List<'a> {
        List { lane, first, units: 1, bulk: false, advanced: false, enough: None, pages: None }
    }
}

/// How a walk over pages went.
#[derive(Debug, Default)]
pub(super) struct Walk {
    pub pages: u64,
    /// What the pages cost, as the answers said.
    pub units: u64,
    /// Requests, not counting what the HTTP layer repeated by itself.
    pub requests: u64,
    /// Elements without what the reader needs of each; they were skipped.
    pub unreadable: u64,
    /// Why it ended before the last page; none if it did not.
    pub stop: Option<Stop>,
    /// Where the changes since this walk begin; on the last page of a delta query.
    pub delta: Option<String>,
}

/// One page, its elements as ranges of the body.
#[derive(Debug)]
pub(super) struct Page {
    body: Bytes,
    elements: Vec<Range<usize>>,
    next: Option<String>,
    units: Option<u32>,
    /// On the last page of a delta query, in place of `next`.
    pub delta: Option<String>,
}

impl Graph {
    pub fn new(config: &SourceConfig, http: &Http) -> Result<Graph> {
        let endpoint = Endpoint::new(config.graph.clone())?.trusting(config.ca_file.as_deref());
        let slow = requests_per_minute(SIGN_IN_REQUESTS_PER_MINUTE);
        // Quotas are of an application in a tenant. <https://learn.microsoft.com/graph/throttling-limits>
        let whose = format!("{} in {}", config.client_id, config.tenant);
        Ok(Graph {
            auth: Auth::new(config, http)?,
            lane: http.lane(&endpoint, &whose, pace(config, 0))?,
            slow_lane: http.lane(&endpoint, &format!("{whose} sign-in activity"), slow)?,
            clock: http.clock().clone(),
            base: config.graph.clone(),
            pages_max: config.pages_max,
            priority: config.priority,
            http: http.clone(),
            whose,
        })
    }

    /// The address of `path` below the API version.
    pub fn url(&self, path: &str, query: &[String]) -> Url {
        self.url_of(false, path, query)
    }

    /// [`Graph::url`], for a list that only the beta version has.
    pub fn url_of(&self, beta: bool, path: &str, query: &[String]) -> Url {
        let mut url = self.base.clone();
        url.set_path(&format!("/{}/{path}", if beta { "beta" } else { "v1.0" }));
        url.set_query((!query.is_empty()).then(|| query.join("&")).as_deref());
        url
    }

    /// A lane for a service with a quota of its own, in requests a minute.
    pub fn paced_lane(&self, service: &str, rate: u32) -> Result<Lane> {
        self.http.lane(self.lane.endpoint(), &format!("{} {service}", self.whose), requests_per_minute(rate))
    }

    /// Sends a request with the token until `decode` can read the answer; after a 401 once more with a new token.
    pub async fn fetch<T>(
        &self,
        lane: &Lane,
        mut request: Request,
        decode: impl Fn(&Response) -> Result<T, String>,
    ) -> Result<T, Stop> {
        if let Some(word) = self.priority.header() {
            request.headers.insert(PRIORITY, HeaderValue::from_static(word));
        }
        let mut token = self.auth.token().await.map_err(Stop::SignIn)?;
        let mut renewed = false;
        loop {
            request = request.bearer(token.text()).map_err(Stop::SignIn)?;
            let error = match lane.fetch(&request, &decode).await {
                Ok(decoded) => return Ok(decoded),
                Err(error) => error,
            };
            let unauthorised = error.refusal().is_some_and(|refusal| refusal.status() == 401);
            if !unauthorised || renewed {
                return Err(Stop::Http(error));
            }
            match self.auth.replacement(&token).await.map_err(Stop::SignIn)? {
                Some(fresh) => token = fresh,
                None => return Err(Stop::Http(error)),
            }
            renewed = true;
        }
    }

    /// As [`Graph::walk_list`], of a plain list.
    pub async fn walk<T: DeserializeOwned>(
        &self,
        lane: &Lane,
        first: Url,
        units: u32,
        take: impl FnMut(T, &str) -> Result<bool>,
    ) -> Walk {
        self.walk_list(List { units, ..List::new(lane, first) }, take).await
    }

    /// Walks a list from its first page to its last. `take` gets each element, as `T` and as JSON text, and tells
    /// whether it was new. Whatever prevents the end from being reached is in [`Walk::stop`], never silently dropped;
    /// only a caller that has enough gets less without one.
    pub async fn walk_list<T: DeserializeOwned>(
        &self,
        list: List<'_>,
        mut take: impl FnMut(T, &str) -> Result<bool>,
    ) -> Walk {
        let List { lane, first, units, bulk, advanced, enough, pages } = list;
        let mut walk = Walk::default();
        // The links already followed.
        let mut seen = HashSet::from([first.to_string()]);
        let mut without_news = 0;
        walk.requests += 1;
        let request = |url: Url| {
            let mut request = Request::get(url).units(units);
            if advanced {
                request.headers.insert(CONSISTENCY_LEVEL, EVENTUAL);
            }
            request
        };
        let mut arrived = self.fetch(lane, request(first).bulk(bulk), read_page).await;
        loop {
            let mut page = match arrived {
                Ok(page) => page,
                Err(stop) => {
                    walk.stop = Some(if walk.pages > 0 { expired(stop) } else { stop });
                    return walk;
                }
            };
            walk.pages += 1;
            walk.units += u64::from(page.units.unwrap_or(units));
            if let Some(pages) = pages {
                pages.fetch_add(1, Relaxed);
            }
            // An empty page may send back to where it came from; that it does so for ever, the guard notices.
            let again = page.elements.is_empty();
            let next = page.next.take().map(|link| self.next(link, again, &mut seen));
            // A walk is a chain of round trips: the next page is on its way while this one is taken apart. Not so where
            // the walk may end early, since a request too many costs quota.
            let hurry = enough.is_none() && walk.pages < self.pages_max;
            let ahead = async {
                let Some(Ok(url)) = next.as_ref().filter(|_| hurry) else { return None };
                Some(self.fetch(lane, request(url.clone()), read_page).await)
            };
            let (ahead, given) = future::join(ahead, async { page.give(&mut take) }).await;
            walk.requests += u64::from(ahead.is_some());
            match given {
                Ok(given) => {
                    walk.unreadable += given.unreadable;
                    without_news = if given.news { 0 } else { without_news + 1 };
                }
                Err(error) => {
                    walk.stop = Some(Stop::Local(error));
                    return walk;
                }
            }
            let guard = without_news >= PAGES_WITHOUT_NEWS_MAX || walk.pages >= self.pages_max;
            arrived = match (next, ahead) {
                (None, _) => {
                    walk.delta = page.delta;
                    return walk;
                }
                _ if enough.is_some_and(|enough| enough.load(Relaxed)) => return walk,
                (Some(Ok(_)), _) if guard => {
                    let reason = format!("the list does not seem to end: stopped after {} pages", walk.pages);
                    walk.stop = Some(Stop::Astray(reason));
                    return walk;
                }
                (Some(Err(reason)), _) => {
                    walk.stop = Some(Stop::Astray(reason));
                    return walk;
                }
                (_, Some(arrived)) => arrived,
                (Some(Ok(url)), None) => {
                    walk.requests += 1;
                    self.fetch(lane, request(url), read_page).await
                }
            };
        }
    }

    /// Checks a link to a next page: to the configured host, and not followed before.
    fn next(&self, link: String, again: bool, seen: &mut HashSet<String>) -> Result<Url, String> {
        let url = Url::parse(&link).map_err(|cause| format!("the link to the next page is no address: {cause}"))?;
        if !self.lane.endpoint().allows(&url) {
            let host = plain(&url.origin().ascii_serialization());
            return Err(format!("the link to the next page leads to {host}, not to the configured Graph host"));
        }
        if !seen.insert(link) && !again {
            return Err("the link to the next page leads back to a page already read".into());
        }
        Ok(url)
    }
}

/// One request at a time, and never more than so many in any minute: the last of them is the burst that the pacer gives
/// at the start.
fn requests_per_minute(rate: u32) -> Pace {
    let rate = f64::from(rate);
    Pace::share_of(rate, Duration::from_secs(60), (rate - 1.0).max(1.0) / rate, 1)
}

struct Given {
    unreadable: u64,
    news: bool,
}

impl Page {
    fn give<T: DeserializeOwned>(&self, take: &mut impl FnMut(T, &str) -> Result<bool>) -> Result<Given> {
        let mut given = Given { unreadable: 0, news: false };
        for range in &self.elements {
            // The promise: ranges and UTF-8 were checked when the page was read.
            let text = std::str::from_utf8(&self.body[range.clone()]).unwrap_or_default();
            match serde_json::from_str::<T>(text) {
                Ok(element) => given.news |= take(element, text)?,
                Err(cause) => {
                    tracing::warn!(%cause, "an element of a page cannot be read");
                    given.unreadable += 1;
                }
            }
        }
        Ok(given)
    }
}

/// Reads the frame of a page; complains about everything that is not one.
pub(super) fn read_page(response: &Response) -> Result<Page, String> {
    #[derive(Deserialize)]
    struct Frame<'a> {
        #[serde(borrow)]
        value: Vec<&'a RawValue>,
        #[serde(rename = "@odata.nextLink")]
        next: Option<String>,
        #[serde(rename = "@odata.deltaLink")]
        delta: Option<String>,
    }
    let body = response.body.clone();
    let text = std::str::from_utf8(&body).map_err(|cause| cause.to_string())?;
    let frame: Frame = serde_json::from_str(text).map_err(|cause| format!("not a page of a list: {cause}"))?;
    let start = text.as_ptr() as usize;
    let range = |element: &&RawValue| {
        let offset = element.get().as_ptr() as usize - start;
        offset..offset + element.get().len()
    };
    let elements = frame.value.iter().map(range).collect();
    let Frame { next, delta, .. } = frame;
    let units = response.header(RESOURCE_UNIT).and_then(|text| text.trim().parse().ok());
    Ok(Page { body, elements, next, delta, units })
}

/// Recognises that a page's link is no longer valid. The codes are not documented for every list.
/// <https://learn.microsoft.com/graph/paging>
fn expired(stop: Stop) -> Stop {
    let Stop::Http(HttpError::Refused(refusal)) = stop else { return stop };
    let code = refusal.code.as_deref().unwrap_or_default();
    let message = refusal.message.as_deref().unwrap_or_default().to_lowercase();
    let says_so =
        code == "Directory_ExpiredPageToken" || message.contains("skiptoken") || message.contains("page token");
    match refusal.status() {
        410 => Stop::Expired(refusal),
        400 if says_so => Stop::Expired(refusal),
        _ => Stop::Http(HttpError::Refused(refusal)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{Collection, Guid};
    use reqwest::header::HeaderMap;

    fn response(status: u16, body: &str) -> Response {
        let body = body.as_bytes().to_vec().into();
        Response { status, headers: HeaderMap::new(), body, client_request_id: Guid::default() }
    }

    fn page(body: &str) -> Result<Page, String> {
        read_page(&response(200, body))
    }

    #[test]
    fn only_a_page_is_a_page() {
        let good = page(r#"{"@odata.nextLink":"https:\/\/x\/y","value":[ {"id" : 1}, {}]}"#).unwrap();
        assert_eq!(good.next.as_deref(), Some("https://x/y"));
        assert_eq!(&good.body[good.elements[0].clone()], br#"{"id" : 1}"#);
        assert_eq!(page(r#"{"value":[]}"#).unwrap().elements.len(), 0);
        for bad in
            ["", "<html>", "{}", r#"{"value":null}"#, r#"{"value":[{"id":"#, r#"{"error":{}}"#, r#"{"value":{}}"#]
        {
            assert!(page(bad).is_err(), "{bad}");
        }
    }

    /// Every element of a documented list, as the reader of that list takes it.
    fn documented<T: DeserializeOwned>(body: &str) -> (Vec<T>, u64) {
        let mut taken = Vec::new();
        let mut take = |element: T, _: &str| {
            taken.push(element);
            Ok(true)
        };
        let given = page(body).unwrap().give(&mut take).unwrap();
        (taken, given.unreadable)
    }

    macro_rules! example {
        ($name:literal) => {
            include_str!(concat!("../../tests/data/graph/", $name, ".json"))
        };
    }

    #[test]
    fn the_documented_lists_are_read_and_objects_without_id_are_counted() {
        use super::super::objects::Row;
        let keys = |body: &str, collection| {
            let (rows, unreadable) = documented::<Row>(body);
            (rows.iter().filter_map(|row| row.key(collection)).count(), unreadable)
        };
        assert_eq!(keys(example!("users-list-default"), Collection::Users), (2, 0));
        assert_eq!(keys(example!("users-list-assigned-licenses"), Collection::Users), (2, 0));
        assert_eq!(keys(example!("groups-list"), Collection::Groups), (2, 0));
        assert_eq!(keys(example!("subscribedskus-list"), Collection::Licenses), (2, 0));
        // The documentation shortens these: without an id nothing can be said about the object.
        assert_eq!(keys(example!("users-list-guest-no-id"), Collection::Users), (0, 1));
        assert_eq!(keys(example!("devices-list"), Collection::Devices), (0, 1));
    }

    #[test]
    fn documented_members_have_a_kind_where_graph_names_one() {
        use super::super::members::Row;
        use crate::snapshot::MemberKind;
        let kinds = |body: &str| documented::<Row>(body).0.iter().map(Row::kind).collect::<Vec<_>>();
        let limited = kinds(example!("group-members-limited-information"));
        assert_eq!(limited, [MemberKind::User, MemberKind::Group, MemberKind::Device]);
        assert_eq!(kinds(example!("group-members")), [MemberKind::Other]);
        assert_eq!(documented::<Row>(example!("group-members-mixed-count")).1, 1);
    }

    #[test]
    fn documented_errors_are_no_pages_and_name_their_innermost_code() {
        let check = |body: &str, status: u16, code: &str| {
            assert!(page(body).is_err());
            let refusal = Refusal::new(response(status, body));
            assert_eq!(refusal.code.as_deref(), Some(code));
            let stop = expired(Stop::Http(HttpError::Refused(Box::new(refusal))));
            assert!(!matches!(stop, Stop::Expired(_)));
        };
        check(example!("error-429"), 429, "TooManyRequests");
        check(example!("error-generic"), 400, "invalidRange");
        check(example!("error-403-insufficient-privileges"), 403, "Authorization_RequestDenied");
        check(example!("error-count-without-header"), 400, "Request_BadRequest");
        check(example!("token-error-70011-client-credentials"), 400, "invalid_scope");
    }

    #[test]
    fn an_expired_link_is_recognised() {
        let check = |status: u16, body: &str, expected: bool| {
            let refusal = Refusal::new(response(status, body));
            let stop = expired(Stop::Http(HttpError::Refused(Box::new(refusal))));
            assert_eq!(matches!(stop, Stop::Expired(_)), expected, "{status} {body}");
        };
        check(400, r#"{"error":{"code":"Directory_ExpiredPageToken","message":"x"}}"#, true);
        check(400, r#"{"error":{"code":"Request_BadRequest","message":"Invalid $skiptoken."}}"#, true);
        check(400, r#"{"error":{"code":"Request_BadRequest","message":"no such property"}}"#, false);
        check(410, "", true);
        check(403, r#"{"error":{"code":"Directory_ExpiredPageToken"}}"#, false);
    }
}
