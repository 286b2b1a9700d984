//! What went wrong, for the person who reads it and for the run that must decide what to do next.
//!
//! Hides the table from kinds to exit codes. Deliberately carries no record data beyond what the message names, and
//! never a secret: whoever builds an error puts only redacted text into it.

use std::fmt;
use std::io::{self, ErrorKind};

/// How a whole invocation ended; each variant is one exit code of the command line.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum Exit {
    /// Finished; nothing to do, or all done; gaps only where accepted.
    Done = 0,
    /// Failed here: disk, ledger, or a defect.
    Failed = 1,
    /// Wrong usage, job, mapping, or failing mapping case; nothing was contacted.
    Usage = 2,
    /// Something was left out that is not accepted.
    Partial = 3,
    /// Held by a limit; the plan is saved.
    Held = 4,
    /// Sign-in refused, or nothing readable.
    SignIn = 5,
    /// Source or target unreachable after retries, or lost during apply.
    Unreachable = 6,
    /// Another run of this job holds the lock.
    Locked = 7,
    /// `plan --detailed-exitcode`: changes are pending.
    Pending = 8,
    /// A saved plan that no longer fits, or a target that somebody changed while a run was writing to it.
    Stale = 9,
}

impl Exit {
    /// Several results at once, or over several jobs: the first of 1, 2, 7, 5, 6, 9, 4, 3, 8, 0 that occurred.
    pub fn worst(results: impl IntoIterator<Item = Exit>) -> Exit {
        use Exit::*;
        const ORDER: [Exit; 10] = [Failed, Usage, Locked, SignIn, Unreachable, Stale, Held, Partial, Pending, Done];
        let rank = |exit: &Exit| ORDER.iter().position(|other| other == exit);
        results.into_iter().min_by_key(rank).unwrap_or(Done)
    }
}

impl Exit {
    /// A word for summaries and messages.
    pub fn word(self) -> &'static str {
        match self {
            Exit::Done => "done",
            Exit::Failed => "failed",
            Exit::Usage => "usage",
            Exit::Partial => "partial",
            Exit::Held => "held",
            Exit::SignIn => "sign-in",
            Exit::Unreachable => "unreachable",
            Exit::Locked => "locked",
            Exit::Pending => "pending",
            Exit::Stale => "stale",
        }
    }
}

impl From<Exit> for std::process::ExitCode {
    fn from(exit: Exit) -> Self {
        std::process::ExitCode::from(exit as u8)
    }
}

/// An error that ends a run (one record's failure is data in the outcome, not an `Error`).
#[derive(Debug)]
pub struct Error {
    /// What the invocation ends with.
    pub exit: Exit,
    /// The operation and the thing it was about: "cannot read page 3 of groups".
    pub what: String,
    /// Why, from the nearest cause to the farthest.
    pub causes: Vec<String>,
    /// What to do next, as a sentence.
    pub hint: Option<String>,
}

pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    pub fn new(exit: Exit, what: impl Into<String>) -> Error {
        Error { exit, what: what.into(), causes: Vec::new(), hint: None }
    }

    /// A local failure: disk, ledger, defect.
    pub fn failed(what: impl Into<String>) -> Error {
        Error::new(Exit::Failed, what)
    }

    /// A mistake in what the user wrote.
    pub fn usage(what: impl Into<String>) -> Error {
        Error::new(Exit::Usage, what)
    }

    /// Adds a cause and all that caused it in turn; and what to do, where the disk is the cause.
    #[must_use]
    pub fn because(mut self, cause: impl std::error::Error + 'static) -> Error {
        let mut next: Option<&(dyn std::error::Error + 'static)> = Some(&cause);
        while let Some(cause) = next {
            let text = cause.to_string();
            if self.causes.last() != Some(&text) {
                self.causes.push(text);
            }
            if self.hint.is_none() {
                self.hint = cause.downcast_ref().and_then(of_the_disk).map(str::to_owned);
            }
            next = cause.source();
        }
        self
    }

    /// Adds a cause in words.
    #[must_use]
    pub fn cause(mut self, cause: impl Into<String>) -> Error {
        self.causes.push(cause.into());
        self
    }

    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Error {
        self.hint = Some(hint.into());
        self
    }
}

/// What to do about a disk that takes nothing more.
fn of_the_disk(cause: &io::Error) -> Option<&'static str> {
    match cause.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge => {
            Some("free some space there, or raise the limit, and run again; what was finished before is kept")
        }
        ErrorKind::ReadOnlyFilesystem => Some("make that place writable, or name another, and run again"),
        // What is wrapped is not among the sources.
        _ => cause.get_ref()?.downcast_ref().and_then(of_the_disk),
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)?;
        for cause in &self.causes {
            write!(f, "\n  because: {cause}")?;
        }
        if let Some(hint) = &self.hint {
            write!(f, "\n  to do: {hint}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Error {}

/// Turns a failed step into an [`Error`] that names the step.
pub trait Context<T> {
    /// A local failure (exit 1) of the step `what`.
    fn failing(self, what: impl FnOnce() -> String) -> Result<T>;
}

impl<T, E: std::error::Error + 'static> Context<T> for Result<T, E> {
    fn failing(self, what: impl FnOnce() -> String) -> Result<T> {
        self.map_err(|cause| Error::failed(what()).because(cause))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_says_what_to_do_whoever_met_it() {
        let full = || io::Error::from(ErrorKind::StorageFull);
        let hint = Error::failed("cannot write a.csv").because(full()).hint.unwrap();
        assert!(hint.starts_with("free some space"), "{hint}");
        let wrapped = io::Error::other(full());
        assert!(Err::<(), _>(wrapped).failing(|| "cannot write".into()).unwrap_err().hint.is_some());
        assert_eq!(Error::failed("cannot read").because(io::Error::from(ErrorKind::NotFound)).hint, None);
    }

    #[test]
    fn the_worst_exit_follows_the_documented_order() {
        assert_eq!(Exit::worst([]), Exit::Done);
        assert_eq!(Exit::worst([Exit::Done, Exit::Partial, Exit::Held]), Exit::Held);
        assert_eq!(Exit::worst([Exit::Unreachable, Exit::SignIn]), Exit::SignIn);
        assert_eq!(Exit::worst([Exit::Usage, Exit::Failed]), Exit::Failed);
    }
}
