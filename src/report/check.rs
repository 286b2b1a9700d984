//! What `check` found about a job: one finding per thing that was looked at.
//!
//! Plain data that the renderers read. Deliberately looks at nothing itself.

use serde::Serialize;

/// What was found about one job.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Check {
    /// The job's name, or its file where the name could not be read.
    pub job: String,
    pub findings: Vec<Finding>,
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
    /// The worst verdict among the findings.
    pub fn verdict(&self) -> Verdict {
        self.findings.iter().map(|finding| finding.verdict).max().unwrap_or(Verdict::Good)
    }

    /// How many findings have that verdict.
    pub fn count(&self, verdict: Verdict) -> usize {
        self.findings.iter().filter(|finding| finding.verdict == verdict).count()
    }
}
