//! What people and programs see: plans, outcomes, checks and errors in each output format, progress and the log.
//!
//! Hides how a format looks and where colour is allowed. Adding a format is one file here and one variant of
//! [`Format`]. Deliberately decides nothing: no exit code, no change and no limit comes from here, and no renderer
//! reads a clock. Text that comes from a directory or a target passes [`visible`] before it reaches a terminal.

pub mod applied;
pub mod check;
pub mod cost;
pub mod csv;
pub mod defect;
pub mod events;
pub mod explain;
pub mod figures;
pub mod files;
pub mod html;
pub mod jobs;
pub mod json;
pub mod log;
pub mod lookup;
pub mod metrics;
pub mod notice;
mod paint;
pub mod permissions;
pub(crate) mod private;
pub mod progress;
pub mod summary;
pub mod text;
mod words;

#[cfg(test)]
pub(crate) mod examples;
#[cfg(test)]
mod golden;
#[cfg(test)]
pub(crate) use golden::golden;

use std::io::{self, Write};

use clap::ValueEnum;

use crate::error::{Context, Error, Result};
use crate::plan::Plan;
use crate::visible::lines;
use applied::Applied;
use check::Check;

/// How a result is printed to stdout. This is the one place where a format is chosen.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, ValueEnum)]
pub enum Format {
    /// For people.
    #[default]
    Text,
    /// For programs; of a plan the very bytes of the saved file.
    Json,
    /// For spreadsheets; of a plan one row for each attribute that changes.
    Csv,
}

impl Format {
    /// The whole plan.
    pub fn plan(self, plan: &Plan, view: &View, to: &mut dyn Write) -> Result<()> {
        let plan = &*private::shown(plan)?;
        match self {
            Format::Text => text::plan(plan, view, to),
            Format::Json => json::plan(plan, to),
            Format::Csv => csv::plan(plan, to),
        }
    }

    /// What became of a plan that was applied.
    pub fn applied(self, applied: &Applied, view: &View, to: &mut dyn Write) -> Result<()> {
        match self {
            Format::Text => text::applied(applied, view, to),
            Format::Json => json::applied(applied, to),
            Format::Csv => csv::applied(applied, to),
        }
    }

    /// What `check` found, over all jobs it was given.
    pub fn checks(self, checks: &[Check], view: &View, to: &mut dyn Write) -> Result<()> {
        match self {
            Format::Text => text::checks(checks, view, to),
            Format::Json => json::checks(checks, to),
            Format::Csv => csv::checks(checks, to),
        }
    }
}

/// How much of a plan the text form shows. Each level shows all that the one before does.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub enum Detail {
    /// The first few of each action and of each kind of note.
    #[default]
    Brief,
    /// Every change and every note (`--all`).
    All,
    /// Also values in full length, changes of the ledger alone, and limits that do not hold (`-v`).
    Full,
}

/// How the text form is to look. The other formats take nothing from it.
#[derive(Clone, Debug, Default)]
pub struct View {
    /// The job file as the user gave it, for the commands that are printed.
    pub job_file: String,
    /// See [`Colour::for_stdout`].
    pub colour: bool,
    pub detail: Detail,
    /// What the target takes for one object, where the job says so.
    pub price: Option<cost::Price>,
}

/// `--color`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, ValueEnum)]
pub enum Colour {
    /// On a terminal, unless NO_COLOR is set or TERM is dumb.
    #[default]
    Auto,
    /// Also into a file or a pipe.
    Always,
    /// Not at all.
    Never,
}

impl Colour {
    /// Whether data on stdout is coloured.
    pub fn for_stdout(self) -> bool {
        self.allowed(|| anstream::AutoStream::choice(&io::stdout()))
    }

    /// Whether messages on stderr are coloured.
    pub fn for_stderr(self) -> bool {
        self.allowed(|| anstream::AutoStream::choice(&io::stderr()))
    }

    fn allowed(self, auto: impl FnOnce() -> anstream::ColorChoice) -> bool {
        match self {
            Colour::Auto => auto() != anstream::ColorChoice::Never,
            Colour::Always => true,
            Colour::Never => false,
        }
    }
}

/// Prints one line to stdout, as `println!` does, but a reader that went away is no defect.
macro_rules! say {
    ($($words:tt)*) => {
        $crate::report::say_line(format_args!($($words)*))
    };
}
pub(crate) use say;

/// See [`say!`].
pub(crate) fn say_line(words: std::fmt::Arguments<'_>) {
    if let Err(error) = writeln!(io::stdout().lock(), "{words}")
        && error.kind() != io::ErrorKind::BrokenPipe
    {
        tracing::warn!(%error, "cannot write to the standard output");
    }
}

/// Hands stdout to a renderer, buffered, and flushes it.
///
/// A reader that went away (`plan … | head`) is not an error: the rest is dropped, and a run goes on.
pub fn to_stdout(render: impl FnOnce(&mut dyn Write) -> Result<()>) -> Result<()> {
    let mut out = io::BufWriter::with_capacity(1 << 16, Pipe { to: io::stdout().lock(), closed: false });
    render(&mut out)?;
    out.flush().failing(write_failed)
}

/// A writer whose reader may go away at any time.
struct Pipe<W> {
    to: W,
    closed: bool,
}

impl<W: Write> Pipe<W> {
    fn unless_closed<T>(&mut self, dropped: T, write: impl FnOnce(&mut W) -> io::Result<T>) -> io::Result<T> {
        if self.closed {
            return Ok(dropped);
        }
        match write(&mut self.to) {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {
                self.closed = true;
                Ok(dropped)
            }
            result => result,
        }
    }
}

impl<W: Write> Write for Pipe<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.unless_closed(bytes.len(), |to| to.write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        self.unless_closed((), |to| to.flush())
    }
}

/// What every renderer says when its output cannot be written.
fn write_failed() -> String {
    "cannot write the report".to_string()
}

/// Prints an error that ends an invocation to stderr: what, why, and what to do.
pub fn error(error: &Error, colour: bool) {
    // When stderr itself is gone there is nobody left to tell; the exit code still does.
    let _ = io::stderr().lock().write_all(error_text(error, colour).as_bytes());
}

/// `error: what`, then one line per cause and one for the hint. Continued lines (a file with a caret under it) are
/// indented, so that text from outside cannot pass for a line of its own.
pub fn error_text(error: &Error, colour: bool) -> String {
    let paint = paint::Paint { on: colour };
    let mut text = paint.text(paint::Tone::Bad, "error:");
    text.push(' ');
    text.push_str(&lines(&error.what, "  "));
    for cause in &error.causes {
        text.push_str("\n  because: ");
        text.push_str(&lines(cause, "    "));
    }
    if let Some(hint) = &error.hint {
        text.push_str("\n  ");
        text.push_str(&paint.text(paint::Tone::Strong, "to do:"));
        text.push(' ');
        text.push_str(&lines(hint, "    "));
    }
    text.push('\n');
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_says_what_why_and_what_to_do_without_terminal_control() {
        let error = Error::usage("the mapping user.toml is wrong:\n  | key = \"\u{1b}[31m\"\n  |       ^")
            .cause("it has no key")
            .hint("Add one.");
        let expected = "error: the mapping user.toml is wrong:\n    | key = \"\\u{1b}[31m\"\n    |       ^\n  \
                        because: it has no key\n  to do: Add one.\n";
        assert_eq!(error_text(&error, false), expected);
        assert!(error_text(&error, true).starts_with("\u{1b}["));
    }

    #[test]
    fn a_reader_that_goes_away_is_not_an_error() {
        struct Gone;
        impl Write for Gone {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(io::ErrorKind::BrokenPipe.into())
            }
            fn flush(&mut self) -> io::Result<()> {
                Err(io::ErrorKind::StorageFull.into())
            }
        }
        let mut pipe = Pipe { to: Gone, closed: false };
        assert!(pipe.flush().is_err(), "other failures are told");
        pipe.write_all(b"plan").unwrap();
        pipe.flush().unwrap();
    }
}
