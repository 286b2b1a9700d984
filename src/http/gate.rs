//! How many requests of a lane may be under way at once.
//!
//! Hides that the number is found out: it begins small and grows by one whenever a request that may be paid for finds
//! the gate full, because then it is latency, not the quota, that holds the lane back; a refusal halves it.
//! Deliberately knows nothing of the pace: that is the pacer's, which is passed first.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use tokio::sync::{Semaphore, SemaphorePermit};

/// Enough for the first second over any line.
const BEGIN: usize = 16;
/// A refusal does not narrow it further.
const NARROWEST: usize = 4;

#[derive(Debug)]
pub(super) struct Gate {
    ways: Semaphore,
    /// Ways that exist, taken or free.
    built: AtomicUsize,
    /// Ways that there should be; those beyond are closed as they are left.
    wanted: AtomicUsize,
    max: AtomicUsize,
}

/// A way that was taken; dropping it leaves it to the next.
#[derive(Debug)]
pub(super) struct Way<'g> {
    gate: &'g Gate,
    permit: Option<SemaphorePermit<'g>>,
}

impl Gate {
    /// A gate that never grows beyond `max` ways; zero counts as one.
    pub fn new(max: usize) -> Gate {
        let max = max.max(1);
        let begin = BEGIN.min(max);
        Gate { ways: Semaphore::new(begin), built: begin.into(), wanted: begin.into(), max: max.into() }
    }

    pub fn set_max(&self, max: usize) {
        self.max.store(max.max(1), Relaxed);
        self.wanted.fetch_min(max.max(1), Relaxed);
    }

    /// Waits for a way; when none is free, one more is built if it may be.
    pub async fn enter(&self) -> Way<'_> {
        let permit = match self.ways.try_acquire() {
            Ok(permit) => Some(permit),
            Err(_) => {
                self.widen();
                // The semaphore is never closed, so a permit always comes.
                self.ways.acquire().await.ok()
            }
        };
        Way { gate: self, permit }
    }

    /// The service refused a request: half as many from now on.
    pub fn narrow(&self) {
        let half = |wanted: usize| Some((wanted / 2).max(NARROWEST.min(wanted)));
        // The closure always gives a number.
        let _ = self.wanted.fetch_update(Relaxed, Relaxed, half);
    }

    fn widen(&self) {
        let max = self.max.load(Relaxed);
        let more = |wanted: usize| (wanted < max).then_some(wanted + 1);
        if let Ok(before) = self.wanted.fetch_update(Relaxed, Relaxed, more)
            && self.built.fetch_update(Relaxed, Relaxed, |built| (built <= before).then_some(built + 1)).is_ok()
        {
            self.ways.add_permits(1);
        }
    }
}

impl Drop for Way<'_> {
    fn drop(&mut self) {
        let wanted = self.gate.wanted.load(Relaxed);
        let close = |built: usize| (built > wanted).then(|| built - 1);
        if self.gate.built.fetch_update(Relaxed, Relaxed, close).is_ok()
            && let Some(permit) = self.permit.take()
        {
            permit.forget();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt;

    #[tokio::test]
    async fn a_full_gate_grows_to_its_limit() {
        let gate = Gate::new(20);
        let mut taken = Vec::new();
        while let Some(way) = gate.enter().now_or_never() {
            taken.push(way);
        }
        assert_eq!(taken.len(), 20);
        taken.pop();
        assert!(gate.enter().now_or_never().is_some());
    }

    #[tokio::test]
    async fn a_refusal_halves_it_as_ways_are_left() {
        let gate = Gate::new(64);
        let mut taken: Vec<Way> = Vec::new();
        for _ in 0..40 {
            taken.push(gate.enter().await);
        }
        gate.narrow();
        taken.clear();
        assert_eq!((gate.built.load(Relaxed), gate.ways.available_permits()), (20, 20));
        (0..10).for_each(|_| gate.narrow());
        for _ in 0..30 {
            drop(gate.enter().await);
        }
        assert_eq!((gate.built.load(Relaxed), gate.wanted.load(Relaxed)), (NARROWEST, NARROWEST));
        assert_eq!(gate.ways.available_permits(), NARROWEST);
    }

    #[tokio::test]
    async fn one_way_stays_one() {
        let gate = Gate::new(0);
        let way = gate.enter().await;
        gate.narrow();
        assert!(gate.enter().now_or_never().is_none());
        drop(way);
        assert!(gate.enter().now_or_never().is_some());
    }
}
