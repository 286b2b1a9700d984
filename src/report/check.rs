//! What `check` found about a job: one finding per thing that was looked at.
//!
//! Plain data that the renderers read. Deliberately looks at nothing itself.

use jiff::Timestamp;
use serde::Serialize;

/// What was found about one job.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Check {
    /// The job's name, or its file where the name could not be read.
    pub job: String,
    /// What an invocation over this job alone ends with: the exit code.
    pub exit: u8,
    pub findings: Vec<Finding>,
    /// What the job reads, and whether the application may; empty when that is not known.
    pub rights: Vec<Right>,
    /// Application permissions that are granted and beyond the least that the job needs.
    pub beyond_least: Vec<String>,
    /// The servers that the job talks to.
    pub hosts: Vec<Host>,
    /// When the secret or certificate ends, where that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub credential_ends: Option<Timestamp>,
}

/// One thing that is read, with its permission.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Right {
    /// "users", "signInActivity of users".
    pub what: String,
    /// The least permission that is enough.
    pub least: &'static str,
    pub state: RightState,
    /// Whether a run without it is partial.
    pub required: bool,
}

/// Whether it is granted.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum RightState {
    Granted,
    /// By a permission that allows more.
    Wider,
    Missing,
}

/// A server that gets requests.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Host {
    /// "sign-in", "Microsoft Graph", "target".
    pub purpose: String,
    pub host: String,
    pub port: u16,
    /// The proxy in between, without its password.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub proxy: Option<String>,
}

/// One thing that was looked at.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Finding {
    /// What was looked at: "sign-in", "users", "target type User".
    pub about: String,
    pub verdict: Verdict,
    /// A sentence: what was found.
    pub words: String,
    /// A sentence: what to do, where something should be done.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

/// How bad a finding is. Ordered: the later, the worse.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    Good,
    /// A run would work; a person should look at it.
    Warning,
    /// A run would fail or be partial.
    Bad,
}

impl Verdict {
    /// The word in every format.
    pub fn word(self) -> &'static str {
        match self {
            Verdict::Good => "good",
            Verdict::Warning => "warning",
            Verdict::Bad => "bad",
        }
    }
}

impl Check {
    /// Nothing looked at yet.
    pub fn new(job: String) -> Check {
        Check {
            job,
            exit: 0,
            findings: Vec::new(),
            rights: Vec::new(),
            beyond_least: Vec::new(),
            hosts: Vec::new(),
            credential_ends: None,
        }
    }

    /// The worst verdict among the findings.
    pub fn verdict(&self) -> Verdict {
        self.findings.iter().map(|finding| finding.verdict).max().unwrap_or(Verdict::Good)
    }

    /// How many findings have that verdict.
    pub fn count(&self, verdict: Verdict) -> usize {
        self.findings.iter().filter(|finding| finding.verdict == verdict).count()
    }
}
