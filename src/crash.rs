//! Places where a test can make the process die, to prove that a crash at any instant loses and doubles nothing.
//!
//! `ENTRA_IMPORT_CRASH_AT=n` aborts the process at the n-th point it passes, counted from 1; a test raises n until the
//! program ends by itself. Compiled into every build, so that what is tested is what is shipped; without the variable
//! a point costs one load. Deliberately offers no other way to fail.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

/// The variable that names the point.
pub const VARIABLE: &str = "ENTRA_IMPORT_CRASH_AT";

/// Marks a place between two durable steps; `name` is shown when the process dies there.
pub fn point(name: &str) {
    static CRASH_AT: OnceLock<Option<u64>> = OnceLock::new();
    static PASSED: AtomicU64 = AtomicU64::new(0);
    let Some(crash_at) = CRASH_AT.get_or_init(|| std::env::var(VARIABLE).ok()?.parse().ok()) else { return };
    if PASSED.fetch_add(1, Ordering::Relaxed) + 1 == *crash_at {
        // Not through the logger: it may buffer, and the process is about to be gone.
        eprintln!("{VARIABLE}={crash_at}: dying at \"{name}\"");
        std::process::abort();
    }
}
