//! The one clock: every wait and every "now" of the program goes through it.
//!
//! Hides whether time is real, shortened (tests wait milliseconds where production waits minutes) or fixed (a plan
//! made as of a given instant). Deliberately schedules nothing, and never shortens network time-outs: those belong to
//! the HTTP client, because the other side's speed does not follow our clock.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::time::Instant;

use crate::error::{Error, Result};

/// Sets the as-of time (RFC 3339), for reproducible runs.
pub const AS_OF_VARIABLE: &str = "ENTRA_IMPORT_AS_OF";
/// Shortens every wait by this whole factor, for tests and demonstrations.
pub const TIME_FACTOR_VARIABLE: &str = "ENTRA_IMPORT_TIME_FACTOR";

/// Tells the time and waits. Clones share the same origin; cloning costs nothing.
#[derive(Clone, Debug)]
pub struct Clock {
    origin: Instant,
    factor: u32,
    as_of: Option<Timestamp>,
}

impl Clock {
    /// Real time, real waits.
    pub fn real() -> Clock {
        Clock::scaled(1)
    }

    /// Time that passes `factor` times as fast: a wait of one second takes 1/`factor` seconds. Zero counts as one.
    pub fn scaled(factor: u32) -> Clock {
        Clock { origin: Instant::now(), factor: factor.max(1), as_of: None }
    }

    /// Real waits, but `now` stands still at `as_of`.
    pub fn fixed(as_of: Timestamp) -> Clock {
        Clock::real().at(as_of)
    }

    /// The same clock with `now` standing still at `as_of`.
    #[must_use]
    pub fn at(mut self, as_of: Timestamp) -> Clock {
        self.as_of = Some(as_of);
        self
    }

    /// The clock that [`AS_OF_VARIABLE`] and [`TIME_FACTOR_VARIABLE`] ask for; real time when neither is set.
    ///
    /// Fails with a usage error when a variable is set to something unreadable.
    pub fn from_environment() -> Result<Clock> {
        let read = |name: &str| std::env::var(name).ok().filter(|text| !text.is_empty());
        let mut clock = Clock::real();
        if let Some(text) = read(TIME_FACTOR_VARIABLE) {
            let factor = text.parse().map_err(|cause: std::num::ParseIntError| {
                Error::usage(format!("{TIME_FACTOR_VARIABLE}={text} is not a whole number")).because(cause)
            })?;
            clock = Clock::scaled(factor);
        }
        if let Some(text) = read(AS_OF_VARIABLE) {
            let as_of = text.parse().map_err(|cause: jiff::Error| {
                Error::usage(format!("{AS_OF_VARIABLE}={text} is not a time such as 2026-11-22T03:00:00Z"))
                    .because(cause)
            })?;
            clock = clock.at(as_of);
        }
        Ok(clock)
    }

    /// The time to write down and to compare dates with: the fixed as-of time if there is one, else the system's.
    pub fn now(&self) -> Timestamp {
        self.as_of.unwrap_or_else(Timestamp::now)
    }

    /// The system's time, never the as-of time: for what another machine compares with its own clock.
    pub fn system_time(&self) -> Timestamp {
        Timestamp::now()
    }

    /// Time since the clock was made, as this clock counts it. Never goes back, never stands still.
    pub fn elapsed(&self) -> Duration {
        self.origin.elapsed() * self.factor
    }

    /// Real time since the clock was made: for what the other side counts, such as a token's life.
    pub fn real_elapsed(&self) -> Duration {
        self.origin.elapsed()
    }

    /// Waits `duration` of this clock's time.
    pub async fn sleep(&self, duration: Duration) {
        tokio::time::sleep(duration / self.factor).await;
    }

    /// Waits until [`Clock::elapsed`] reaches `moment`.
    pub async fn sleep_until(&self, moment: Duration) {
        self.sleep(moment.saturating_sub(self.elapsed())).await;
    }

    /// How far `moment` lies ahead of the system's time (not of the as-of time); zero when it has passed.
    pub fn until(&self, moment: Timestamp) -> Duration {
        Duration::try_from(moment.duration_since(Timestamp::now()).max(SignedDuration::ZERO)).unwrap_or_default()
    }
}

/// Lets `governor` count in this clock's time, so that pacing shortens along with every other wait.
impl governor::clock::Clock for Clock {
    type Instant = Duration;

    fn now(&self) -> Duration {
        self.elapsed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn waits_are_shortened_by_the_factor() {
        let clock = Clock::scaled(100);
        let before = Instant::now();
        clock.sleep(Duration::from_secs(100)).await;
        assert_eq!(before.elapsed().as_secs(), 1);
        assert_eq!(clock.elapsed().as_secs(), 100);
        clock.sleep_until(Duration::from_secs(300)).await;
        assert_eq!(before.elapsed().as_secs(), 3);
    }

    #[test]
    fn a_fixed_time_stands_still() {
        let as_of = "2026-01-02T03:04:05Z".parse().unwrap();
        assert_eq!(Clock::fixed(as_of).now(), as_of);
        assert_eq!(Clock::scaled(7).at(as_of).clone().now(), as_of);
    }
}
