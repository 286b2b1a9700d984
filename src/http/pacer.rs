//! When the next request of a lane may go: a token bucket in units, a debt for what cost more, and a cool-down.
//!
//! Hides `governor`. Deliberately has no queue: whoever waits, waits in its own task, and the order does not matter.

use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use governor::middleware::NoOpMiddleware;
use governor::state::{InMemoryState, NotKeyed};
use governor::{Quota, RateLimiter};

use crate::clock::Clock;

type Bucket = RateLimiter<NotKeyed, InMemoryState, Clock, NoOpMiddleware<Duration>>;

/// From this share of the service's limit on, requests are slowed.
/// <https://learn.microsoft.com/graph/throttling-limits>
const NEAR_LIMIT: f64 = 0.8;
/// At the limit itself (1.0) a request counts double, where the service refuses 80 % (1.8) six times.
const SLOWING: f64 = 5.0;

#[derive(Debug)]
pub(super) struct Pacer {
    clock: Clock,
    bucket: RwLock<(Arc<Bucket>, NonZeroU32)>,
    /// Units that were spent without having been waited for.
    debt: AtomicU32,
    /// Milliseconds of [`Clock::elapsed`] before which nothing is sent.
    cool_until_ms: AtomicU64,
}

impl Pacer {
    pub fn new(clock: Clock, units_per_s: f64) -> Pacer {
        let bucket = RwLock::new(bucket(&clock, units_per_s));
        Pacer { clock, bucket, debt: AtomicU32::new(0), cool_until_ms: AtomicU64::new(0) }
    }

    pub fn set_units_per_s(&self, units_per_s: f64) {
        *self.bucket.write().unwrap_or_else(PoisonError::into_inner) = bucket(&self.clock, units_per_s);
    }

    /// Waits until `units` may be spent and no cool-down is on.
    pub async fn pass(&self, units: u32) {
        let mut owed = units.saturating_add(self.debt.swap(0, Relaxed));
        while owed > 0 {
            let (bucket, burst) = self.bucket.read().unwrap_or_else(PoisonError::into_inner).clone();
            let Some(share) = NonZeroU32::new(owed.min(burst.get())) else { break };
            match bucket.check_n(share) {
                Ok(Ok(())) => owed -= share.get(),
                Ok(Err(later)) => {
                    let now = governor::clock::Clock::now(&self.clock);
                    self.clock.sleep(later.wait_time_from(now)).await;
                }
                // Cannot happen, since a share is never above the burst; letting it pass beats hanging.
                Err(_) => break,
            }
        }
        loop {
            let until = Duration::from_millis(self.cool_until_ms.load(Relaxed));
            if self.clock.elapsed() >= until {
                break;
            }
            self.clock.sleep_until(until).await;
        }
    }

    /// Stops all requests for `wait`. Returns by how much that prolonged the stop that was already on.
    pub fn cool_down(&self, wait: Duration) -> Duration {
        let ms = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        let now = ms(self.clock.elapsed());
        let until = now.saturating_add(ms(wait)).saturating_add(1);
        let before = self.cool_until_ms.fetch_max(until, Relaxed).max(now);
        Duration::from_millis(until.saturating_sub(before))
    }

    /// Books the difference between expected and real cost, and a surcharge when the service says that `limit_share`
    /// of its limit is used.
    pub fn settle(&self, expected: u32, cost: f64, limit_share: f64) {
        let near = (limit_share.min(2.0) - NEAR_LIMIT).max(0.0);
        let owed = cost - f64::from(expected) + cost * near * SLOWING;
        // Cheaper than expected is no credit: the bucket refills by itself.
        if owed > 0.0 {
            self.debt.fetch_add(owed.ceil() as u32, Relaxed);
        }
    }
}

/// A bucket that refills evenly and holds one second's worth, at least one unit.
fn bucket(clock: &Clock, units_per_s: f64) -> (Arc<Bucket>, NonZeroU32) {
    let units_per_s = units_per_s.clamp(0.01, 1e6);
    let burst = NonZeroU32::new(units_per_s as u32).unwrap_or(NonZeroU32::MIN);
    let period = Duration::from_secs_f64(1.0 / units_per_s);
    let quota = Quota::with_period(period).unwrap_or(Quota::per_second(burst)).allow_burst(burst);
    (Arc::new(RateLimiter::direct_with_clock(quota, clock.clone())), burst)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn units_are_spent_at_the_set_rate() {
        let clock = Clock::real();
        let pacer = Pacer::new(clock.clone(), 10.0);
        for _ in 0..60 {
            pacer.pass(1).await;
        }
        let took_s = clock.elapsed().as_secs_f64();
        assert!((4.8..5.3).contains(&took_s), "10 at once, then 10 a second: {took_s}");
    }

    #[tokio::test(start_paused = true)]
    async fn what_cost_more_is_waited_for_later() {
        let clock = Clock::real();
        let pacer = Pacer::new(clock.clone(), 10.0);
        pacer.pass(1).await;
        pacer.settle(1, 41.0, 0.0);
        pacer.pass(1).await;
        assert!(clock.elapsed().as_secs_f64() > 3.0, "40 units of debt, 10 of them in the bucket");
    }

    #[tokio::test(start_paused = true)]
    async fn near_the_limit_requests_slow_down() {
        let clock = Clock::real();
        let pacer = Pacer::new(clock.clone(), 10.0);
        for _ in 0..40 {
            pacer.pass(1).await;
            pacer.settle(1, 1.0, 1.0);
        }
        assert!(clock.elapsed().as_secs_f64() > 5.0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_cool_down_stops_everyone_and_is_counted_once() {
        let clock = Clock::real();
        let pacer = Pacer::new(clock.clone(), 1000.0);
        assert!(pacer.cool_down(Duration::from_secs(7)) >= Duration::from_secs(7));
        assert_eq!(pacer.cool_down(Duration::from_secs(5)), Duration::ZERO);
        pacer.pass(1).await;
        assert!(clock.elapsed() >= Duration::from_secs(7));
    }
}
