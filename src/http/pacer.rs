//! When the next request of a lane may go: a token bucket in units, a debt for what cost more, a cool-down for all,
//! and a slower pace after refusals.
//!
//! Hides `governor`, and how waiting requests are lined up: whoever waits holds a place in a fair queue, so that a
//! long wait costs no polling, and bulk requests take one place together, so that they never hold up a serial walk
//! over pages. Deliberately knows no service: what a unit is and how many there are is the caller's knowledge.

use std::num::NonZeroU32;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use governor::middleware::NoOpMiddleware;
use governor::state::{InMemoryState, NotKeyed};
use governor::{Quota, RateLimiter};

use super::Pace;
use crate::clock::Clock;

type Bucket = RateLimiter<NotKeyed, InMemoryState, Clock, NoOpMiddleware<Duration>>;

/// From this share of the service's limit on, requests are slowed.
/// <https://learn.microsoft.com/graph/throttling-limits>
const NEAR_LIMIT: f64 = 0.8;
/// At the limit itself (1.0) a request counts double, where the service refuses 80 % (1.8) six times.
const SLOWING: f64 = 5.0;

/// The stop after the n-th refusal with nothing served in between is at least 2ⁿ seconds, from the second on, and no
/// longer than this; every request that is served takes one step back. What the service asks for is obeyed anyway, and
/// nothing more of one that serves; one that says "1 second" every time and then refuses is not to be believed for ever.
/// <https://learn.microsoft.com/graph/throttling>, <https://developer.atlassian.com/cloud/jira/platform/rate-limiting/>
const GROWN_STOP_MAX: Duration = Duration::from_secs(64);
/// Each stop for too fast a pace makes it slower by this factor, up to `SLOWED_MAX`: refused requests count against the
/// quota, so that pace must not go on after the stop.
const SLOWED_BY: f64 = 1.5;
const SLOWED_MAX: f64 = 16.0;
/// Without another such stop the old pace is back after so long.
const RECOVERY: Duration = Duration::from_secs(60);
/// Stops are in a row, so that the pace falls, as long as fewer requests than these were served between them.
const IN_A_ROW_REQUESTS: u32 = 10;
/// The pace is too fast where so many requests are refused together, and most of those under way: a service that
/// refuses one in a hundred for reasons of its own serves the others meanwhile.
const TOGETHER: u32 = 3;

#[derive(Debug)]
pub(super) struct Pacer {
    clock: Clock,
    bucket: RwLock<(Arc<Bucket>, NonZeroU32)>,
    /// Held by whoever is next.
    turn: tokio::sync::Mutex<()>,
    /// Held by the one bulk request that stands in the queue.
    bulk: tokio::sync::Mutex<()>,
    /// Thousandths of units that were spent without having been waited for.
    debt: AtomicU64,
    /// Milliseconds of [`Clock::elapsed`] before which nothing is sent.
    cool_until_ms: AtomicU64,
    /// The service's bucket was empty when it refused, so ours must not be full after the stop.
    drained: AtomicBool,
    strain: Mutex<Strain>,
}

/// What refusals have led to.
#[derive(Debug, Default)]
struct Strain {
    /// Stops that no served request has made up for.
    stops: u32,
    /// Whether the last stop followed soon upon another.
    in_a_row: bool,
    /// By how much requests are slowed beyond the pace, when the last stop ended.
    slowed: f64,
    /// Whether the last stop has slowed them.
    slower: bool,
    /// When the last stop ends.
    until: Duration,
    /// Requests refused since the last stop began, and served before and after its end.
    refused: u32,
    served_meanwhile: u32,
    served_since: u32,
}

/// The surcharge where a service says which share of its limit is used.
pub(super) fn near_limit(share: f64) -> f64 {
    (share.min(2.0) - NEAR_LIMIT).max(0.0) * SLOWING
}

/// The surcharge where a service says how much of a budget is left: none while a fifth is, and so much that the pace
/// falls with what is left below it. A budget that fills more slowly than the pace is thus never used up.
pub(super) fn near_end(remaining: f64, of: f64) -> f64 {
    let fifth = of / 5.0;
    if remaining >= fifth { 0.0 } else { (fifth / remaining.max(1.0) - 1.0).clamp(0.0, SLOWED_MAX) }
}

impl Strain {
    /// The share of a request's cost that is added to slow down; fades after the last stop.
    fn surcharge(&self, now: Duration) -> f64 {
        self.slowed * (1.0 - now.saturating_sub(self.until).as_secs_f64() / RECOVERY.as_secs_f64()).max(0.0)
    }

    fn refuse(&mut self, now: Duration) {
        // What was under way when a stop began belongs to it.
        if now >= self.until {
            let calm = now.saturating_sub(self.until) >= RECOVERY || self.served_since >= IN_A_ROW_REQUESTS;
            let before = if calm { 0 } else { self.stops.saturating_sub(self.served_since) };
            let (in_a_row, slowed) = (!calm && self.stops > 0, self.surcharge(now));
            *self = Strain { stops: before + 1, in_a_row, slowed, until: now, ..Strain::default() };
        }
        self.refused += 1;
        let together = self.refused >= TOGETHER && self.refused > self.served_meanwhile;
        if !self.slower && (self.in_a_row || together) {
            self.slower = true;
            self.slowed = ((1.0 + self.slowed) * SLOWED_BY).min(SLOWED_MAX) - 1.0;
        }
    }

    fn serve(&mut self, now: Duration) {
        let served = if now < self.until { &mut self.served_meanwhile } else { &mut self.served_since };
        *served = served.saturating_add(1);
    }
}

impl Pacer {
    pub fn new(clock: Clock, pace: Pace) -> Pacer {
        Pacer {
            bucket: RwLock::new(bucket(&clock, pace)),
            clock,
            turn: tokio::sync::Mutex::new(()),
            bulk: tokio::sync::Mutex::new(()),
            debt: AtomicU64::new(0),
            cool_until_ms: AtomicU64::new(0),
            drained: AtomicBool::new(false),
            strain: Mutex::default(),
        }
    }

    /// Goes on at another pace. The new bucket counts as if the old one had been emptied.
    pub fn set_pace(&self, pace: Pace) {
        let mut bucket_now = self.bucket.write().unwrap_or_else(PoisonError::into_inner);
        self.debt.fetch_add(u64::from(bucket_now.1.get()) * 1000, Relaxed);
        *bucket_now = bucket(&self.clock, pace);
    }

    /// Waits until `units` may be spent and no cool-down is on. A bulk request lets all others go first.
    pub async fn pass(&self, units: u32, bulk: bool) {
        let _behind = if bulk { Some(self.bulk.lock().await) } else { None };
        let _turn = self.turn.lock().await;
        self.cooled().await;
        let debt = self.debt.swap(0, Relaxed);
        // What is less than a unit is waited for once it is one.
        self.debt.fetch_add(debt % 1000, Relaxed);
        let mut owed = units.saturating_add(u32::try_from(debt / 1000).unwrap_or(u32::MAX));
        if self.drained.swap(false, Relaxed) {
            owed = owed.saturating_add(self.bucket().1.get());
        }
        while owed > 0 {
            let (bucket, burst) = self.bucket();
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
        self.cooled().await;
    }

    /// Waits until no cool-down is on.
    pub async fn cooled(&self) {
        loop {
            let until = Duration::from_millis(self.cool_until_ms.load(Relaxed));
            if self.clock.elapsed() >= until {
                return;
            }
            self.clock.sleep_until(until).await;
        }
    }

    /// Stops all requests for `wait`, or for longer when such stops follow one another, and slows down what comes
    /// after. Returns by how much that prolonged the stop that was already on.
    pub fn cool_down(&self, wait: Duration) -> Duration {
        let now = self.clock.elapsed();
        let (wait, too_fast) = {
            let mut strain = self.strain.lock().unwrap_or_else(PoisonError::into_inner);
            strain.refuse(now);
            let grown = Duration::from_secs(1 << strain.stops.min(16)).min(GROWN_STOP_MAX);
            let wait = if strain.stops > 1 { wait.max(grown) } else { wait };
            strain.until = strain.until.max(now + wait);
            (wait, strain.slower)
        };
        self.drained.fetch_or(too_fast, Relaxed);
        let ms = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        let until = ms(now).saturating_add(ms(wait)).saturating_add(1);
        let before = self.cool_until_ms.fetch_max(until, Relaxed).max(ms(now));
        Duration::from_millis(until.saturating_sub(before))
    }

    /// A request was served: a service that serves is not asked for too much.
    pub fn served(&self) {
        self.strain.lock().unwrap_or_else(PoisonError::into_inner).serve(self.clock.elapsed());
    }

    /// Stops all requests for `wait` because the service says that its budget is used up. No request was refused, so
    /// nothing is slower afterwards.
    pub fn hold(&self, wait: Duration) {
        let until = self.clock.elapsed().saturating_add(wait);
        self.cool_until_ms.fetch_max(u64::try_from(until.as_millis()).unwrap_or(u64::MAX), Relaxed);
    }

    /// Books the difference between expected and real cost, and a surcharge (a share of the cost) when the service says
    /// that its limit is `near`, or refused a request not long ago.
    pub fn settle(&self, expected: u32, cost: f64, near: f64) {
        let strained = self.strain.lock().unwrap_or_else(PoisonError::into_inner).surcharge(self.clock.elapsed());
        let owed = cost - f64::from(expected) + cost * near.max(strained);
        // Cheaper than expected is no credit: the bucket refills by itself.
        if owed > 0.0 {
            self.debt.fetch_add((owed * 1000.0).ceil() as u64, Relaxed);
        }
    }

    fn bucket(&self) -> (Arc<Bucket>, NonZeroU32) {
        self.bucket.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// A bucket that refills evenly and holds what the pace lets through at once, at least one unit.
fn bucket(clock: &Clock, pace: Pace) -> (Arc<Bucket>, NonZeroU32) {
    let units_per_s = pace.units_per_s.clamp(0.001, 1e6);
    let burst = NonZeroU32::new(pace.burst_units.clamp(1.0, 1e9) as u32).unwrap_or(NonZeroU32::MIN);
    let period = Duration::from_secs_f64(1.0 / units_per_s);
    let quota = Quota::with_period(period).unwrap_or(Quota::per_second(burst)).allow_burst(burst);
    (Arc::new(RateLimiter::direct_with_clock(quota, clock.clone())), burst)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicU32;

    use futures::StreamExt;
    use proptest::prelude::*;

    fn pace(units_per_s: f64) -> Pace {
        Pace { units_per_s, burst_units: units_per_s, in_flight_max: 1 }
    }

    /// Runs with a clock that jumps from one wait to the next.
    fn virtually<T>(run: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap().block_on(run)
    }

    #[tokio::test(start_paused = true)]
    async fn units_are_spent_at_the_set_rate() {
        let clock = Clock::real();
        let pacer = Pacer::new(clock.clone(), pace(10.0));
        for _ in 0..60 {
            pacer.pass(1, false).await;
        }
        let took_s = clock.elapsed().as_secs_f64();
        assert!((4.8..5.3).contains(&took_s), "10 at once, then 10 a second: {took_s}");
    }

    #[tokio::test(start_paused = true)]
    async fn what_cost_more_is_waited_for_later() {
        let clock = Clock::real();
        let pacer = Pacer::new(clock.clone(), pace(10.0));
        pacer.pass(1, false).await;
        pacer.settle(1, 41.0, 0.0);
        pacer.pass(1, false).await;
        assert!(clock.elapsed().as_secs_f64() > 3.0, "40 units of debt, 10 of them in the bucket");
    }

    #[tokio::test(start_paused = true)]
    async fn near_the_limit_requests_slow_down() {
        let clock = Clock::real();
        let pacer = Pacer::new(clock.clone(), pace(10.0));
        for _ in 0..40 {
            pacer.pass(1, false).await;
            pacer.settle(1, 1.0, near_limit(1.0));
        }
        assert!(clock.elapsed().as_secs_f64() > 5.0);
    }

    #[test]
    fn a_budget_that_is_told_is_never_used_up() {
        // How a Data Center fills a bucket, and how Cloud counts a minute.
        for (capacity, per_s) in [(50.0, 1.0), (600.0, 10.0), (2000.0, 2000.0 / 60.0)] {
            let took_s = virtually(async {
                let clock = Clock::real();
                let pacer = Pacer::new(clock.clone(), Pace { burst_units: 6.0, ..pace(per_s * 4.0) });
                let service = Mutex::new((capacity, Duration::ZERO));
                let one = |_| async {
                    pacer.pass(1, false).await;
                    let left = {
                        let mut service = service.lock().unwrap();
                        let now = clock.elapsed();
                        *service = (f64::min(service.0 + (now - service.1).as_secs_f64() * per_s, capacity) - 1.0, now);
                        service.0
                    };
                    assert!(left >= 0.0, "refused");
                    clock.sleep(Duration::from_millis(100)).await;
                    pacer.settle(1, 1.0, near_end(left.floor(), capacity));
                };
                futures::stream::iter(0..capacity as u32 * 3).map(one).buffer_unordered(16).collect::<Vec<()>>().await;
                clock.elapsed().as_secs_f64()
            });
            let floor_s = capacity * 2.0 / per_s;
            assert!(took_s < floor_s * 1.1, "{took_s} s where {floor_s} s would do");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_hold_stops_everyone_and_slows_nobody() {
        let clock = Clock::real();
        let pacer = Pacer::new(clock.clone(), pace(1000.0));
        pacer.hold(Duration::from_secs(7));
        pacer.pass(1, false).await;
        assert!((7.0..7.1).contains(&clock.elapsed().as_secs_f64()));
        pacer.settle(1, 1.0, 0.0);
        pacer.pass(500, false).await;
        assert!(clock.elapsed().as_secs_f64() < 7.1, "the bucket is as full as before");
    }

    #[tokio::test(start_paused = true)]
    async fn a_cool_down_stops_everyone_and_is_counted_once() {
        let clock = Clock::real();
        let pacer = Pacer::new(clock.clone(), pace(1000.0));
        assert!(pacer.cool_down(Duration::from_secs(7)) >= Duration::from_secs(7));
        assert_eq!(pacer.cool_down(Duration::from_secs(5)), Duration::ZERO);
        pacer.pass(1, false).await;
        assert!(clock.elapsed() >= Duration::from_secs(7));
    }

    #[tokio::test(start_paused = true)]
    async fn refusals_in_a_row_stop_for_longer_and_are_forgotten() {
        let clock = Clock::real();
        let pacer = Pacer::new(clock.clone(), pace(1000.0));
        let second = Duration::from_secs(1);
        let mut stops = Vec::new();
        for _ in 0..8 {
            stops.push(pacer.cool_down(second).as_secs());
            pacer.cooled().await;
        }
        assert_eq!(stops, [1, 4, 8, 16, 32, 64, 64, 64]);
        clock.sleep(RECOVERY).await;
        assert_eq!(pacer.cool_down(second).as_secs(), 1, "a minute without a refusal");
        pacer.cooled().await;
        (0..IN_A_ROW_REQUESTS).for_each(|_| pacer.served());
        assert_eq!(pacer.cool_down(second).as_secs(), 1, "enough requests without a refusal");
    }

    #[tokio::test(start_paused = true)]
    async fn who_serves_in_between_is_given_the_seconds_that_it_asks_for() {
        for served in [1, 2, 5] {
            let clock = Clock::real();
            let pacer = Pacer::new(clock.clone(), pace(1000.0));
            for _ in 0..100 {
                pacer.cooled().await;
                (0..served).for_each(|_| pacer.served());
                assert_eq!(pacer.cool_down(Duration::from_secs(2)).as_secs(), 2, "{served} served between refusals");
            }
        }
        // Who has refused again and again is believed again step by step.
        let pacer = Pacer::new(Clock::real(), pace(1000.0));
        let mut stops = Vec::new();
        for served in [0, 0, 0, 0, 1, 2, 2, 2] {
            (0..served).for_each(|_| pacer.served());
            stops.push(pacer.cool_down(Duration::from_secs(1)).as_secs());
            pacer.cooled().await;
        }
        assert_eq!(stops, [1, 4, 8, 16, 16, 8, 4, 1]);
    }

    #[tokio::test(start_paused = true)]
    async fn bulk_requests_do_not_hold_up_the_others() {
        let clock = Clock::real();
        let pacer = Pacer::new(clock.clone(), Pace { burst_units: 1.0, ..pace(10.0) });
        let bulk = futures::stream::iter(0..200).map(|_| pacer.pass(1, true)).buffer_unordered(200);
        let serial = async {
            for _ in 0..20 {
                pacer.pass(1, false).await;
            }
            clock.elapsed().as_secs_f64()
        };
        let (_, took_s) = futures::join!(bulk.collect::<Vec<()>>(), serial);
        assert!(took_s < 4.5, "every second turn, not one in 200: {took_s}");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(40))]

        /// However requests come, no ten seconds see more than the whole quota, and what is there to spend is spent.
        #[test]
        fn no_window_sees_more_than_the_quota(
            quota in 100..8000u32,
            share in 0.1..1.0f64,
            requests in proptest::collection::vec((1..6u32, 0..40u64, any::<bool>()), 100..600),
        ) {
            let limit = f64::from(quota);
            let pace = Pace::share_of(limit, Duration::from_secs(10), share, 1);
            let (spent, total) = virtually(async {
                let clock = Clock::real();
                let pacer = Pacer::new(clock.clone(), pace);
                let sent = futures::stream::iter(&requests).map(|(units, later_ms, bulk)| {
                    let (pacer, clock) = (&pacer, &clock);
                    async move {
                        clock.sleep(Duration::from_millis(*later_ms)).await;
                        pacer.pass(*units, *bulk).await;
                        (clock.elapsed().as_secs_f64(), f64::from(*units))
                    }
                });
                let mut spent: Vec<(f64, f64)> = sent.buffer_unordered(50).collect().await;
                spent.sort_by(|a, b| a.0.total_cmp(&b.0));
                let total: f64 = spent.iter().map(|(_, units)| units).sum();
                (spent, total)
            });
            for (at, (begin, _)) in spent.iter().enumerate() {
                let window: f64 =
                    spent[at..].iter().take_while(|(time, _)| *time < begin + 10.0).map(|(_, units)| units).sum();
                prop_assert!(window <= limit * 1.01 + 5.0, "{window} of {limit} in ten seconds from {begin}");
            }
            let late_s = 0.04 * spent.len() as f64 / 50.0 + 0.1;
            let floor_s = ((total - pace.burst_units) / pace.units_per_s).max(0.0);
            let took_s = spent.last().map_or(0.0, |(time, _)| *time);
            prop_assert!(took_s <= floor_s * 1.02 + late_s + 0.5, "{took_s} s where {floor_s} s would do");
        }

    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(8))]

        /// A service that grants much less than it says, and counts refused requests, is not stormed.
        #[test]
        fn a_service_that_grants_less_is_not_stormed(granted in 0.1..1.0f64, honest in any::<bool>(), seed in any::<u64>()) {
            let (accepted, refused) = virtually(async {
                let clock = Clock::real();
                let pacer = Pacer::new(clock.clone(), Pace::share_of(8000.0, Duration::from_secs(10), 0.8, 1));
                let service = Mutex::new((8000.0 * granted, Duration::ZERO));
                let random = Mutex::new(fastrand::Rng::with_seed(seed));
                let refused = AtomicU32::new(0);
                let one = |_| async {
                    loop {
                        pacer.pass(2, true).await;
                        let latency_ms = random.lock().unwrap().u64(80..160);
                        clock.sleep(Duration::from_millis(latency_ms)).await;
                        let left = {
                            let mut service = service.lock().unwrap();
                            let now = clock.elapsed();
                            let refill = (now - service.1).as_secs_f64() * 800.0 * granted;
                            *service = ((service.0 + refill).min(8000.0 * granted) - 2.0, now);
                            service.0
                        };
                        if left >= 0.0 {
                            pacer.settle(2, 2.0, near_limit(1.0 - left / (8000.0 * granted)));
                            pacer.served();
                            return;
                        }
                        refused.fetch_add(1, Relaxed);
                        let wait = if honest { (-left / (800.0 * granted)).ceil().max(1.0) } else { 1.0 };
                        pacer.cool_down(Duration::from_secs_f64(wait));
                    }
                };
                let accepted = futures::stream::iter(0..6_000).map(one).buffer_unordered(128).count().await;
                (accepted, refused.into_inner())
            });
            prop_assert_eq!(accepted, 6_000);
            prop_assert!(refused < 900, "{} requests were refused for 6,000 that went through", refused);
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(8))]

        /// A service that refuses one request in a hundred or fewer, whatever the pace, costs little more than the
        /// seconds it asks for.
        #[test]
        fn refusals_that_have_nothing_to_do_with_the_pace_do_not_add_up(
            per_mille in 1..10u32, seed in any::<u64>(),
        ) {
            let (refused, took_s) = virtually(async {
                let clock = Clock::real();
                let pacer = Pacer::new(clock.clone(), Pace::share_of(8000.0, Duration::from_secs(10), 0.8, 1));
                let random = Mutex::new(fastrand::Rng::with_seed(seed));
                let refused = AtomicU32::new(0);
                let one = |_| async {
                    loop {
                        pacer.pass(2, true).await;
                        clock.sleep(Duration::from_millis(120)).await;
                        pacer.settle(2, 2.0, near_limit(0.1));
                        if random.lock().unwrap().u32(..1000) >= per_mille {
                            pacer.served();
                            return;
                        }
                        refused.fetch_add(1, Relaxed);
                        pacer.cool_down(Duration::from_secs(1));
                    }
                };
                futures::stream::iter(0..6_000).map(one).buffer_unordered(128).collect::<Vec<()>>().await;
                (refused.into_inner(), clock.elapsed().as_secs_f64())
            });
            // 12,000 units at 640 a second are 19 s.
            let fair_s = 25.0 + 2.0 * f64::from(refused);
            prop_assert!(took_s <= fair_s, "{took_s} s with {refused} refusals");
        }
    }
}
