//! Resource units, the quota made of them, and the limits of other workloads.
//!
//! Hides: the price list and the token bucket. <https://learn.microsoft.com/graph/throttling-limits>
//! Deliberately does not: model write limits, limits over all tenants, or Bookings' four requests at the same time.

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
    /// The class of a tenant with so many users.
    #[must_use]
    pub fn of_users(users: usize) -> Self {
        match users {
            0..50 => Self::S,
            50..=500 => Self::M,
            _ => Self::L,
        }
    }

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
/// Other workloads than the directory count requests, not units.
pub(crate) fn price(method: &str, path: &str, query: &str) -> u32 {
    let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
    if matches!(Workload::of(path, query), Workload::Intune | Workload::Other) {
        return 0;
    }
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
    clock: Clock,
    /// Units left, and when that was.
    state: Mutex<(f64, f64)>,
}

impl Bucket {
    /// `units` per ten seconds.
    fn new(quota: Quota, clock: Clock) -> Self {
        Self { limit: quota.units(), clock, state: Mutex::new((quota.units(), clock.now())) }
    }

    /// Takes the price out of the bucket.
    fn take(&self, price: u32) -> Verdict {
        let mut state = self.state.lock().expect("no panic while counting");
        let now = self.clock.now();
        let per_second = self.limit / 10.0;
        let left = (state.0 + (now - state.1) * per_second).min(self.limit);
        let after = left - f64::from(price);
        *state = (after.max(-0.8 * self.limit), now);
        let used = (self.limit - after) / self.limit;
        let wait = (-after / per_second).ceil().max(1.0);
        Verdict { used: used.min(1.8), retry_after: (after < 0.0).then_some(wait as u64) }
    }
}

/// Who limits a request. <https://learn.microsoft.com/graph/throttling-limits>
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Workload {
    /// Identity and access, in resource units.
    Directory,
    /// The same, and 10 requests a minute besides: whatever reads `signInActivity`.
    SignIns,
    /// Intune's managedDevices: 2,000 requests in 20 seconds.
    Intune,
    /// No limit that one job could reach.
    Other,
}

impl Workload {
    pub fn of(path: &str, query: &str) -> Self {
        match path.trim_start_matches('/').split('/').next() {
            Some("deviceManagement") => Self::Intune,
            Some("solutions") => Self::Other,
            _ if query.contains("signInActivity") => Self::SignIns,
            _ => Self::Directory,
        }
    }
}

/// All limits of one application in one tenant.
pub(crate) struct Limits {
    bucket: Bucket,
    sign_ins: Window,
    intune: Window,
}

impl Limits {
    /// `time_factor`: how many times faster than real time the limits recover.
    pub fn new(quota: Quota, time_factor: f64) -> Self {
        let clock = Clock { start: Instant::now(), factor: time_factor };
        Self {
            bucket: Bucket::new(quota, clock),
            sign_ins: Window::new(10, 60.0, clock),
            intune: Window::new(2_000, 20.0, clock),
        }
    }

    /// Books a request and says how it stands.
    pub fn take(&self, workload: Workload, units: u32) -> Verdict {
        let free = |retry_after| Verdict { used: 0.0, retry_after };
        match workload {
            Workload::Directory => self.bucket.take(units),
            Workload::SignIns => {
                let verdict = self.bucket.take(units);
                Verdict { retry_after: self.sign_ins.take().max(verdict.retry_after), ..verdict }
            }
            Workload::Intune => free(self.intune.take()),
            Workload::Other => free(None),
        }
    }
}

/// Seconds since the start, on a clock that may run faster than others.
#[derive(Clone, Copy, Debug)]
struct Clock {
    start: Instant,
    factor: f64,
}

impl Clock {
    fn now(self) -> f64 {
        self.start.elapsed().as_secs_f64() * self.factor
    }
}

/// So many requests in any span of so many seconds; refused ones count, too.
struct Window {
    most: usize,
    seconds: f64,
    clock: Clock,
    recent: Mutex<Vec<f64>>,
}

impl Window {
    fn new(most: usize, seconds: f64, clock: Clock) -> Self {
        Self { most, seconds, clock, recent: Mutex::new(Vec::new()) }
    }

    /// Seconds to wait, or nothing when the request may go on.
    fn take(&self) -> Option<u64> {
        let mut recent = self.recent.lock().expect("no panic while counting");
        let now = self.clock.now();
        recent.retain(|at| now - at < self.seconds);
        recent.push(now);
        let oldest = recent[recent.len().checked_sub(self.most + 1)?];
        Some((oldest + self.seconds - now).ceil().max(1.0) as u64)
    }
}
