//! Defects: what a person sees when this program itself is wrong.
//!
//! Turns a panic into words that say what to do, and into exit code 1. Deliberately prints no backtrace unless the
//! environment asks for one, and never the values a program was working on beyond the panic's own message.

use std::backtrace::{Backtrace, BacktraceStatus};
use std::io::{self, Write};
use std::panic::{self, PanicHookInfo, UnwindSafe};

use crate::error::Exit;
use crate::visible::visible;

/// Runs the program; a panic ends it with [`Exit::Failed`] after its message was printed.
pub fn guarded(program: impl FnOnce() -> Exit + UnwindSafe) -> Exit {
    panic::set_hook(Box::new(tell));
    panic::catch_unwind(program).unwrap_or(Exit::Failed)
}

fn tell(defect: &PanicHookInfo<'_>) {
    let backtrace = Backtrace::capture();
    let payload = defect.payload();
    let message = payload.downcast_ref::<&str>().copied().or(payload.downcast_ref::<String>().map(String::as_str));
    let mut text = defect_text(message.unwrap_or("no message"), &place(defect));
    if backtrace.status() == BacktraceStatus::Captured {
        text.push_str(&format!("\n{backtrace}\n"));
    }
    // When stderr itself is gone there is nobody left to tell; the exit code still does.
    let _ = io::stderr().lock().write_all(text.as_bytes());
}

fn place(defect: &PanicHookInfo<'_>) -> String {
    defect.location().map_or_else(|| "an unknown place".to_string(), ToString::to_string)
}

fn defect_text(message: &str, place: &str) -> String {
    let reports = match env!("CARGO_PKG_REPOSITORY") {
        "" => "to the project",
        address => address,
    };
    format!(
        "error: entra-import stopped because of a defect of its own\n  \
         because: {} (at {place}, version {})\n  \
         to do: Run the same command again; what was begun is settled first and nothing is written twice. If it \
         happens again, report it {reports} with this message, and with the messages of a run with `-v`. Look them \
         through first: they may name people.\n",
        visible(message),
        env!("CARGO_PKG_VERSION"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_defect_is_told_in_words_without_terminal_control() {
        let text = defect_text("out of order: \u{1b}[2J", "src/plan/diff.rs:7:9");
        assert!(
            text.starts_with("error: entra-import stopped because of a defect of its own\n  because: out of order")
        );
        assert!(text.contains("\\u{1b}[2J (at src/plan/diff.rs:7:9, version "));
        assert!(!text.contains('\u{1b}'));
    }
}
