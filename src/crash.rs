//! Places where a test can make the process die, to prove that a crash at any instant loses and doubles nothing.
//!
//! `ENTRA_IMPORT_CRASH_AT=n` aborts the process at the n-th point it passes, counted from 1; a test raises n until the
//! program ends by itself. `ENTRA_IMPORT_WAIT_AT=NAME` makes it wait, the first time it passes the point of that name,
//! until its standard input ends, so that a test can do something in the middle of a run without guessing how long that
//! takes. Compiled into every build, so that what is tested is what is shipped; without the variables a point costs a
//! lock and a load. Deliberately offers no other way to fail.

use std::io::Read;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};

/// The variable that names the point.
pub const VARIABLE: &str = "ENTRA_IMPORT_CRASH_AT";

/// The variable that names a point to wait at.
pub const WAIT_VARIABLE: &str = "ENTRA_IMPORT_WAIT_AT";

/// Marks a place between two durable steps; `name` is shown when the process dies there.
pub fn point(name: &str) {
    static CRASH_AT: OnceLock<Option<u64>> = OnceLock::new();
    static WAIT_AT: OnceLock<Mutex<Option<String>>> = OnceLock::new();
    static PASSED: AtomicU64 = AtomicU64::new(0);
    wait(name, WAIT_AT.get_or_init(|| Mutex::new(std::env::var(WAIT_VARIABLE).ok())));
    let Some(crash_at) = CRASH_AT.get_or_init(|| std::env::var(VARIABLE).ok()?.parse().ok()) else { return };
    if PASSED.fetch_add(1, Ordering::Relaxed) + 1 == *crash_at {
        // Not through the logger: it may buffer, and the process is about to be gone.
        eprintln!("{VARIABLE}={crash_at}: dying at \"{name}\"");
        std::process::abort();
    }
}

/// Waits at the point that is named, once.
fn wait(name: &str, at: &Mutex<Option<String>>) {
    let mut at = at.lock().unwrap_or_else(PoisonError::into_inner);
    if at.as_deref() == Some(name) {
        *at = None;
        eprintln!("{WAIT_VARIABLE}: waiting at \"{name}\"");
        // Whatever comes, and an error, ends the wait.
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
    }
}
