//! Resource units and the quota made of them.
//!
//! Hides: the price list and the token bucket. <https://learn.microsoft.com/graph/throttling-limits>
//! Deliberately does not: model write limits, other workloads' limits, or the tenant-independent limits.

use std::sync::Mutex;
use std::time::Instant;

/// A tenant's size class: its units per ten seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Quota {
    /// Under 50 users: 3,500.
    S,
    /// 50 to 500 users: 5,000.
    M,
    /// More than 500 users: 8,000.
    L,
    /// For tests that want to see throttling soon.
    Units(u32),
}

impl Quota {
    fn units(self) -> f64 {
        match self {
            Self::S => 3_500.0,
            Self::M => 5_000.0,
            Self::L => 8_000.0,
            Self::Units(units) => f64::from(units),
        }
    }
}

/// What a request costs: the base price of its path, changed by `$select`, `$expand` and a small `$top`; never below 1.
pub(crate) fn price(method: &str, path: &str, query: &str) -> u32 {
    let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
    let mut selects = false;
    let mut expands = false;
    let mut small = false;
    for (name, value) in url::form_urlencoded::parse(query.as_bytes()) {
        match name.trim_start_matches('$') {
            "select" => selects = true,
            "expand" => expands = true,
            "top" => small = value.parse::<u32>().is_ok_and(|top| top < 20),
            _ => {}
        }
    }
    let base = match (method, parts.as_slice()) {
        ("GET", ["users"]) => 2,
        ("GET", ["groups", _, "members", ..]) => 3,
        ("GET", ["groups", _, "transitiveMembers", ..]) => 5,
        ("GET", ["users", _, "memberOf" | "transitiveMemberOf" | "ownedObjects" | "licenseDetails", ..]) => 2,
        ("GET", ["subscribedSkus"]) => 3,
        ("GET", ["applications"]) => 2,
        // $select makes it 2 and not 4: the page states this price on its own.
        ("POST", ["directoryObjects", _]) => return if selects { 2 } else { 5 },
        _ => 1,
    };
    let price = base - i32::from(selects) + i32::from(expands) - i32::from(small);
    u32::try_from(price).unwrap_or(0).max(1)
}

/// How a request stands with the quota.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Verdict {
    /// Share of the limit in use; 1.0 is the limit.
    pub used: f64,
    /// Seconds to wait, when refused.
    pub retry_after: Option<u64>,
}

/// A token bucket. Refused requests count, too, so that hammering keeps it empty.
pub(crate) struct Bucket {
    limit: f64,
    state: Mutex<(f64, Instant)>,
}

impl Bucket {
    /// `units` per ten seconds.
    pub fn new(quota: Quota) -> Self {
        Self { limit: quota.units(), state: Mutex::new((quota.units(), Instant::now())) }
    }

    /// Takes the price out of the bucket.
    pub fn take(&self, price: u32) -> Verdict {
        let mut state = self.state.lock().expect("no panic while counting");
        let now = Instant::now();
        let per_second = self.limit / 10.0;
        let left = (state.0 + now.duration_since(state.1).as_secs_f64() * per_second).min(self.limit);
        let after = left - f64::from(price);
        *state = (after.max(-0.8 * self.limit), now);
        let used = (self.limit - after) / self.limit;
        let wait = (-after / per_second).ceil().max(1.0);
        Verdict { used: used.min(1.8), retry_after: (after < 0.0).then_some(wait as u64) }
    }
}

/// The limit of requests that read `signInActivity`: 10 a minute.
pub(crate) struct SignInLimit {
    recent: Mutex<Vec<Instant>>,
}

impl SignInLimit {
    pub fn new() -> Self {
        Self { recent: Mutex::new(Vec::new()) }
    }

    /// Seconds to wait, or nothing when the request may go on.
    pub fn take(&self) -> Option<u64> {
        let mut recent = self.recent.lock().expect("no panic while counting");
        let now = Instant::now();
        recent.retain(|at| now.duration_since(*at).as_secs() < 60);
        recent.push(now);
        let tenth = recent.len().checked_sub(11)?;
        Some(60 - now.duration_since(recent[tenth + 1]).as_secs())
    }
}
