//! Job files: one tenant, one target, what is let in, and what may happen unasked.
//!
//! Hides how a job is written (bases, overrides, short forms) and everything that can be checked before anything is
//! contacted: what leaves is a [`Job`] whose filters and mappings are compiled. Deliberately contacts nothing, reads no
//! secret, and reads no file but those the job names as its own.

mod files;
mod jsm;
mod origins;
mod read;
pub mod report;
mod scope;
mod secret;
mod settings;
mod source;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};

use jiff::SignedDuration;
use serde::Serialize;
use sha2::{Digest, Sha256};

pub use files::jobs_in;
pub use jsm::{Flavour, JsmConfig, JsmCredential, TokenKind};
pub use origins::origins;
pub use scope::{Accepted, Exclude, Filter, Scope};
pub use source::{CertificateFrom, Credential, GraphSource, ManagedIdentity, Source};

use crate::distinct;
use crate::error::Result;
use crate::expr::Catalog;
use crate::mapping::{Identity, Mapping};
use crate::plan::datum::Datum;
use crate::plan::policy::{Accept, Limits};

/// Everything a run needs to know, validated, with filters and mappings compiled.
#[derive(Debug)]
pub struct Job {
    /// Names the ledger, the lock, metrics and messages; safe as a file name.
    pub name: String,
    /// The file it was read from.
    pub path: PathBuf,
    pub source: Source,
    pub scope: Scope,
    /// What was let in when a person last agreed, and since; today's scope may be among them. Empty before the first
    /// run.
    pub accepted: Vec<Accepted>,
    pub target: TargetConfig,
    /// In the order of the file.
    pub mappings: Vec<Mapping>,
    pub limits: Limits,
    /// Known gaps that need not make a run partial.
    pub accept: Vec<Accept>,
    pub state: StateConfig,
    /// What a run leaves for others, and whom it tells.
    pub report: report::Report,
    /// The oldest saved plan that may still be applied.
    pub plan_max_age: SignedDuration,
    /// The properties that filters and mappings read, accepted ones included.
    pub catalog: Catalog,
    /// What is left out of what was written, with its place: no mistake, and told to whoever looks at the job or a plan.
    pub remarks: Vec<String>,
    hash: String,
}

/// Where records go.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum TargetConfig {
    /// A folder of CSV files, one per mapping.
    Csv {
        folder: PathBuf,
        /// As written, with `{job}` filled in: the same wherever the job file lies.
        written: String,
    },
    /// A schema of Jira Service Management Assets.
    JsmAssets(Box<JsmConfig>),
}

impl TargetConfig {
    /// The kind, and what makes it this target and no other, for [`Job::hash`].
    fn meaning(&self) -> (&'static str, String) {
        match self {
            TargetConfig::Csv { written, .. } => ("csv", written.clone()),
            TargetConfig::JsmAssets(config) => ("jsm-assets", config.identity()),
        }
    }
}

/// What is kept between runs.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StateConfig {
    /// Holds ledgers, snapshots and reports of all jobs.
    pub dir: PathBuf,
    /// Number of snapshots kept.
    pub keep_snapshots: u32,
    /// Number of reports kept.
    pub keep_reports: u32,
    /// What is older is cleared away, however few there are: snapshots, plans, and what the ledger keeps for `undo`.
    pub forget_after: Option<SignedDuration>,
}

/// How a job is loaded.
#[derive(Clone, Copy)]
pub struct LoadOptions<'a> {
    /// The scopes under which something may have become owned, as the ledger kept them: one
    /// [`Job::accepted_scope_text`] a line.
    pub accepted: Option<&'a str>,
    /// Colours in messages.
    pub colour: bool,
    /// Looks up an environment variable.
    pub environment: &'a dyn Fn(&str) -> Option<String>,
}

impl Default for LoadOptions<'_> {
    fn default() -> Self {
        LoadOptions { accepted: None, colour: false, environment: &|name| std::env::var(name).ok() }
    }
}

impl Job {
    /// Reads, checks and compiles a job. An error (exit 2) shows every mistake that was found, with its place.
    pub fn load(path: &Path, accepted: Option<&str>) -> Result<Job> {
        Job::load_with(path, &LoadOptions { accepted, ..LoadOptions::default() })
    }

    /// [`Job::load`] with colours or another environment.
    pub fn load_with(path: &Path, options: &LoadOptions<'_>) -> Result<Job> {
        read::load(path, options)
    }

    /// SHA-256, in hex, of what the job means: another hash makes a saved plan stale. A comment, a moved file, where
    /// secrets come from and how fast is read do not change it.
    pub fn hash(&self) -> &str {
        &self.hash
    }

    /// The mapping of that name.
    pub fn mapping(&self, name: &str) -> Option<&Mapping> {
        self.mappings.iter().find(|mapping| mapping.name == name)
    }

    /// Values that refer to records of the mapping called `to`, as the keys of these.
    pub fn reference(&self, to: &str, value: Datum) -> Datum {
        match self.mapping(to).is_some_and(|mapping| mapping.distinct.is_some() || mapping.each.is_some()) {
            true => distinct::references(value),
            false => value,
        }
    }

    /// The scope and the identities of the mappings in one fixed form, which [`Job::load`] reads back as `accepted`.
    pub fn accepted_scope_text(&self) -> String {
        scope::text(&self.scope, &self.identities())
    }

    /// Whether scope or mappings differ from what a person last agreed to.
    pub fn scope_was_edited(&self) -> bool {
        let now = self.accepted_scope_text();
        self.accepted.iter().any(|accepted| accepted.text() != now)
    }

    /// The accepted scopes and today's, one a line: what the ledger keeps while records owned under the older ones
    /// may still be there.
    pub fn accepted_scopes_and_todays(&self) -> String {
        let now = self.accepted_scope_text();
        let mut texts: Vec<String> = self.accepted.iter().map(Accepted::text).filter(|text| *text != now).collect();
        texts.push(now);
        texts.join("\n")
    }

    /// Whether a mapping that makes that type had another key under an accepted scope.
    pub fn is_rekeyed(&self, ty: &str) -> bool {
        let accepted = self.accepted.iter().flat_map(|accepted| &accepted.mappings);
        let mut of_type = accepted.filter(|mapping| mapping.target == ty);
        of_type.any(|before| self.identities().iter().any(|now| now.name == before.name && now.key != before.key))
    }

    fn identities(&self) -> Vec<Identity> {
        self.mappings.iter().map(Mapping::identity).collect()
    }

    /// Computes [`Job::hash`] from the parts that change what a plan says.
    fn meaning_hash(&self) -> String {
        let (tenant, snapshot) = match &self.source {
            Source::Graph(graph) => (Some(graph.tenant.as_str()), None),
            Source::Snapshot { written, .. } => (None, Some(written.as_str())),
        };
        let meaning = Meaning {
            name: &self.name,
            tenant,
            snapshot,
            target: self.target.meaning(),
            scope: self.accepted_scope_text(),
            mappings: self.mappings.iter().map(Mapping::canonical).collect(),
            limits: &self.limits,
            accept: &self.accept,
        };
        // Plain data with text keys: there is nothing in it that JSON cannot say.
        let json = serde_json::to_vec(&meaning).expect("a job's meaning is plain data");
        Sha256::digest(&json).iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

/// What [`Job::hash`] is taken of.
#[derive(Serialize)]
struct Meaning<'j, M> {
    name: &'j str,
    tenant: Option<&'j str>,
    snapshot: Option<&'j str>,
    target: (&'static str, String),
    scope: String,
    mappings: Vec<M>,
    limits: &'j Limits,
    accept: &'j [Accept],
}
