//! Requests a minute, per class of endpoint and account.
//!
//! Hides the sliding window and the headers that tell of it. The published limits are per endpoint and API key.
//! <https://developer.atlassian.com/cloud/assets/rest/>, <https://developer.atlassian.com/cloud/jira/platform/rate-limiting/>,
//! <https://confluence.atlassian.com/adminjiraserver/improving-instance-stability-with-rate-limiting-983794911.html>

use std::collections::{HashMap, VecDeque};
use std::sync::Mutex;
use std::time::Duration;

use crate::options::{Flavour, Options};
use crate::reply::{self, Reply};

const WINDOW: Duration = Duration::from_secs(60);

/// What is limited together.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) enum Class {
    Create,
    Search,
    Other,
}

/// What was asked for within the last minute.
#[derive(Default)]
pub(crate) struct Rates(Mutex<HashMap<(Class, String), VecDeque<Duration>>>);

/// How near an account is to a limit, for the headers of an answer.
pub(crate) struct Near {
    limit: u32,
    remaining: u32,
    reset: Duration,
}

impl Rates {
    /// Counts a request; the refusal when there were too many. A refused request does not count.
    pub fn pass(&self, options: &Options, class: Class, account: &str, now: Duration) -> Result<Option<Near>, Reply> {
        let limit = match class {
            Class::Create => options.creates_per_minute,
            Class::Search => options.searches_per_minute,
            Class::Other => options.others_per_minute,
        };
        let Some(limit) = limit else { return Ok(None) };
        let mut rates = self.0.lock().expect("no panic while counting");
        let sent = rates.entry((class, account.to_owned())).or_default();
        while sent.front().is_some_and(|first| now.saturating_sub(*first) >= WINDOW) {
            sent.pop_front();
        }
        let reset = sent.front().map_or(WINDOW, |first| WINDOW.saturating_sub(now.saturating_sub(*first)));
        let used = u32::try_from(sent.len()).unwrap_or(u32::MAX);
        if used >= limit {
            let near = Near { limit, remaining: 0, reset };
            let after = reset.as_secs_f64().ceil().max(1.0);
            let reply = reply::error(429, "Rate limit exceeded.").with("Retry-After", format!("{after:.0}"));
            let reply = near.tell(options.flavour, reply);
            return Err(match options.flavour {
                Flavour::Cloud => reply.with("RateLimit-Reason", "jira-burst-based"),
                Flavour::DataCenter => reply,
            });
        }
        sent.push_back(now);
        Ok(Some(Near { limit, remaining: limit - used - 1, reset }))
    }
}

impl Near {
    pub fn tell(&self, flavour: Flavour, reply: Reply) -> Reply {
        let reply = reply
            .with("X-RateLimit-Limit", self.limit.to_string())
            .with("X-RateLimit-Remaining", self.remaining.to_string());
        if flavour == Flavour::DataCenter {
            let waits = reply.headers.iter().any(|(name, _)| *name == "Retry-After");
            let reply = reply
                .with("X-RateLimit-FillRate", self.limit.to_string())
                .with("X-RateLimit-Interval-Seconds", WINDOW.as_secs().to_string());
            return if waits { reply } else { reply.with("Retry-After", "0") };
        }
        let ends = jiff::Timestamp::now() + jiff::SignedDuration::try_from(self.reset).unwrap_or_default();
        reply
            .with("X-RateLimit-Reset", ends.strftime("%Y-%m-%dT%H:%MZ").to_string())
            .with("X-RateLimit-NearLimit", (self.remaining * 5 < self.limit).to_string())
    }
}
