//! The steps of a run, timed.
//!
//! Deliberately keeps nothing: a step is a line of the log when it ends.

use std::time::Instant;

/// A step of a run, timed: when it ends, a line says how long it took (with `-v`, in JSON, and to `make bench`).
pub struct Step {
    name: &'static str,
    began: Instant,
}

impl Step {
    pub fn begin(name: &'static str) -> Step {
        Step { name, began: Instant::now() }
    }

    /// `of` says what was at work, where a run takes the step several times.
    pub fn end(self, of: &str) {
        let took_ms = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        tracing::info!(step = self.name, of, took_ms, "step ended");
    }
}
