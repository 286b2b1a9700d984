//! Which failed try is worth another, and after how long.
//!
//! Hides the table of statuses, the reading of `Retry-After` and the back-off. Deliberately waits for nothing itself.

use std::fmt;
use std::time::{Duration, SystemTime};

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};

use super::error::{HttpError, Refusal, plain};
use super::trouble::Trouble;
use super::{HttpSettings, Response};

/// One try that brought no usable answer.
#[derive(Debug)]
pub(super) struct Failure {
    kind: Kind,
    words: String,
}

#[derive(Debug)]
enum Kind {
    /// Nothing was sent: no connection.
    Unsent {
        host: String,
        trouble: Trouble,
    },
    /// Sent, and no answer came.
    Silent {
        host: String,
        trouble: Trouble,
    },
    /// An answer began and broke off, or cannot be read.
    Garbled(Option<Response>),
    /// An answer whose status is not 2xx.
    Answered(Response),
    TooLarge(usize),
}

impl Failure {
    pub fn no_answer(cause: reqwest::Error) -> Failure {
        let host = cause.url().map(super::error::host_of).unwrap_or_default();
        let trouble = Trouble::of(&cause);
        let kind = if cause.is_connect() { Kind::Unsent { host, trouble } } else { Kind::Silent { host, trouble } };
        Failure { kind, words: chain(cause) }
    }

    pub fn cut_off(cause: reqwest::Error) -> Failure {
        Failure { kind: Kind::Garbled(None), words: chain(cause) }
    }

    pub fn unreadable(response: Response, complaint: String) -> Failure {
        let words = format!("HTTP {} with an unreadable body: {}", response.status, plain(&complaint));
        Failure { kind: Kind::Garbled(Some(response)), words }
    }

    pub fn answered(response: Response) -> Failure {
        let words = format!("HTTP {}", response.status);
        Failure { kind: Kind::Answered(response), words }
    }

    pub fn too_large(limit_bytes: usize) -> Failure {
        Failure { kind: Kind::TooLarge(limit_bytes), words: format!("more than {limit_bytes} bytes") }
    }

    pub fn response(&self) -> Option<&Response> {
        match &self.kind {
            Kind::Answered(response) | Kind::Garbled(Some(response)) => Some(response),
            _ => None,
        }
    }

    /// What kept the connection from being made, if nothing could be sent.
    pub fn unsent(&self) -> Option<(&str, &Trouble)> {
        match &self.kind {
            Kind::Unsent { host, trouble } => Some((host, trouble)),
            _ => None,
        }
    }

    /// For the log: what the service called the request.
    pub fn request_id(&self) -> Option<String> {
        self.response().and_then(Response::request_id).map(plain)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.words)
    }
}

/// The error and all that caused it, without the address, whose query may hold data.
fn chain(cause: reqwest::Error) -> String {
    let cause = cause.without_url();
    let mut parts = Vec::new();
    let mut next: Option<&dyn std::error::Error> = Some(&cause);
    while let Some(cause) = next {
        let text = plain(&cause.to_string());
        if parts.last() != Some(&text) {
            parts.push(text);
        }
        next = cause.source();
    }
    parts.join(": ")
}

/// How to wait before the next try.
#[derive(Debug, PartialEq)]
pub(super) enum Wait {
    /// This request only.
    Alone(Duration),
    /// Every request of the lane: the service throttles.
    Together(Duration),
}

/// The tries of one request.
#[derive(Debug)]
pub(super) struct Tries<'a> {
    settings: &'a HttpSettings,
    backoff: ExponentialBackoff,
    made: u32,
    unsent: u32,
    throttled: u32,
    answered: bool,
    acted: bool,
    fresh: bool,
}

impl<'a> Tries<'a> {
    pub fn new(settings: &'a HttpSettings) -> Tries<'a> {
        let backoff = ExponentialBuilder::new()
            .with_min_delay(settings.wait_min)
            .with_max_delay(settings.wait_max)
            .without_max_times()
            .with_jitter()
            .with_jitter_seed(fastrand::u64(..))
            .build();
        Tries { settings, backoff, made: 0, unsent: 0, throttled: 0, answered: false, acted: false, fresh: false }
    }

    /// How many of them reached nobody.
    pub fn unsent(&self) -> u32 {
        self.unsent
    }

    /// Whether the next try must not use a connection that is already open.
    pub fn needs_fresh_connection(&self) -> bool {
        self.fresh
    }

    /// Decides after a failed try: how to wait, or the error that ends it. `spent`: the lane's retry budget is used up.
    pub fn after(&mut self, failure: Failure, repeatable: bool, spent: bool) -> Result<Wait, HttpError> {
        self.made += 1;
        let Failure { kind, words } = failure;
        // Only these are sure not to have been acted upon: refused at the door, or never sent.
        let harmless = match &kind {
            Kind::Unsent { .. } => true,
            Kind::Answered(response) => response.status == 429,
            _ => false,
        };
        self.acted |= !harmless;
        self.unsent += u32::from(matches!(kind, Kind::Unsent { .. }));
        self.answered |= !matches!(kind, Kind::Unsent { .. } | Kind::Silent { .. });
        let response = match kind {
            Kind::TooLarge(limit_bytes) => return Err(HttpError::TooLarge { limit_bytes }),
            Kind::Answered(response) if !is_transient(response.status) => {
                return Err(HttpError::Refused(Box::new(Refusal::new(response))));
            }
            Kind::Answered(response) => Some(response),
            Kind::Garbled(_) => None,
            Kind::Unsent { host, trouble } | Kind::Silent { host, trouble } => {
                let nobody = self.unsent >= self.settings.unsent_max;
                let over = nobody || !trouble.can_pass() || self.is_over(repeatable || harmless, spent);
                if over && !self.answered {
                    let (tries, acted) = (self.made, self.acted);
                    return Err(HttpError::Unreachable { tries, host, trouble, last: words, acted });
                }
                None
            }
        };
        if self.is_over(repeatable || harmless, spent) {
            return Err(HttpError::Exhausted { tries: self.made, last: words, acted: self.acted });
        }
        let status = response.as_ref().map(|response| response.status);
        self.fresh = status.is_none() || status == Some(503);
        Ok(self.wait(status == Some(429), response.as_ref().and_then(retry_after)))
    }

    fn is_over(&self, repeatable: bool, spent: bool) -> bool {
        !repeatable || spent || self.made >= self.settings.tries_max
    }

    fn wait(&mut self, throttled: bool, asked: Option<Duration>) -> Wait {
        let own = self.backoff.next().unwrap_or(self.settings.wait_max);
        self.throttled += u32::from(throttled);
        let wait = match asked.map(|asked| asked.min(self.settings.retry_after_max)) {
            // A service that says "1 second" on every answer is not to be believed for ever.
            Some(asked) if self.throttled > 2 => asked.max(own),
            // A little more than asked, so that those who wait together do not come back in the same instant.
            Some(asked) => asked + own / 10,
            None => own,
        };
        if throttled || asked.is_some() { Wait::Together(wait) } else { Wait::Alone(wait) }
    }
}

/// <https://learn.microsoft.com/graph/errors>; 408 is transient by its definition (RFC 9110, 15.5.9).
fn is_transient(status: u16) -> bool {
    matches!(status, 408 | 429 | 500 | 502 | 503 | 504 | 509)
}

/// `Retry-After` in seconds or as an HTTP date; none if it is missing or neither.
fn retry_after(response: &Response) -> Option<Duration> {
    let text = response.header(reqwest::header::RETRY_AFTER)?.trim();
    if let Ok(seconds) = text.parse::<f64>() {
        return (seconds >= 0.0).then(|| Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX));
    }
    // A service's clock may differ from ours; its own Date header says what it meant.
    let date = |text: &str| httpdate::parse_http_date(text).ok();
    let now = response.header(reqwest::header::DATE).and_then(date).unwrap_or_else(SystemTime::now);
    date(text).map(|when| when.duration_since(now).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Guid;
    use bytes::Bytes;
    use reqwest::header::{HeaderMap, HeaderValue};

    fn response(status: u16, retry_after: Option<&str>) -> Response {
        let mut headers = HeaderMap::new();
        headers.insert("date", HeaderValue::from_static("Sun, 22 Nov 2026 03:00:00 GMT"));
        if let Some(text) = retry_after {
            headers.insert("retry-after", HeaderValue::from_str(text).unwrap());
        }
        Response { status, headers, body: Bytes::new(), client_request_id: Guid::default() }
    }

    fn waits(status: u16, retry_after: Option<&str>) -> Wait {
        let settings = HttpSettings::default();
        Tries::new(&settings).after(Failure::answered(response(status, retry_after)), true, false).unwrap()
    }

    #[test]
    fn retry_after_is_obeyed_in_every_form() {
        let check = |text: Option<&str>, low_s: f64, high_s: f64| {
            let Wait::Together(wait) = waits(429, text) else { panic!("{text:?} stops only one request") };
            assert!((low_s..=high_s).contains(&wait.as_secs_f64()), "{text:?}: {wait:?}");
        };
        check(Some("10"), 10.0, 11.0);
        check(Some("Sun, 22 Nov 2026 03:00:20 GMT"), 20.0, 21.0);
        check(Some("Sun, 22 Nov 2026 02:00:00 GMT"), 0.0, 1.0);
        check(Some("99999999999999999999"), 300.0, 301.0);
        check(Some("soon"), 1.0, 3.0);
        check(Some("-5"), 1.0, 3.0);
        check(None, 1.0, 3.0);
    }

    #[test]
    fn a_server_fault_stops_only_the_request_it_hit() {
        assert!(matches!(waits(500, None), Wait::Alone(_)));
        assert!(matches!(waits(503, Some("3")), Wait::Together(_)));
    }

    #[test]
    fn what_is_not_transient_ends_at_once() {
        let settings = HttpSettings::default();
        for status in [301, 400, 401, 403, 404, 410, 501] {
            let error = Tries::new(&settings).after(Failure::answered(response(status, None)), true, false);
            assert_eq!(error.unwrap_err().refusal().map(Refusal::status), Some(status));
        }
    }

    #[test]
    fn tries_and_budget_end() {
        let settings = HttpSettings { tries_max: 3, ..HttpSettings::default() };
        let mut tries = Tries::new(&settings);
        let mut fail = |spent| tries.after(Failure::answered(response(500, None)), true, spent);
        assert!(fail(false).is_ok() && fail(false).is_ok());
        assert!(matches!(fail(false), Err(HttpError::Exhausted { tries: 3, .. })));
        assert!(Tries::new(&settings).after(Failure::answered(response(500, None)), true, true).is_err());
    }

    #[test]
    fn what_may_have_been_acted_upon_is_not_sent_twice() {
        let settings = HttpSettings::default();
        let after = |status| Tries::new(&settings).after(Failure::answered(response(status, None)), false, false);
        assert!(after(429).is_ok());
        assert!(after(500).unwrap_err().may_have_acted());
    }
}
