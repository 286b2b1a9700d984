//! `check`: what would stand in the way of a run, found without writing anything.

use std::collections::BTreeSet;
use std::path::Path;

use super::Work;
use crate::cli;
use crate::error::{Error, Exit, Result};
use crate::job::{Job, Source as JobSource, jobs_in};
use crate::record::Collection;
use crate::report::check::{Check, Finding, Verdict};
use crate::report::to_stdout;
use crate::snapshot::Snapshot;
use crate::source::collections::{RECOMMENDED, RESOURCES, Rights};
use crate::source::{self, Source, SourceNeeds, Token};
use crate::target;
use crate::{session, sides};

/// Checks every job and shows one table.
pub async fn check(command: &cli::Check, work: &Work<'_>) -> Result<Exit> {
    let mut checks = Vec::new();
    let mut exits = Vec::new();
    for path in jobs_in(&command.jobs)? {
        let mut check = Check { job: path.display().to_string(), findings: Vec::new() };
        exits.push(job(&path, &mut check, work).await);
        checks.push(check);
    }
    let view = work.view(Path::new(""), true);
    to_stdout(|to| command.format.checks(&checks, &view, to))?;
    Ok(Exit::worst(exits))
}

async fn job(path: &Path, check: &mut Check, work: &Work<'_>) -> Exit {
    let mut job = match Job::load(path, None) {
        Ok(job) => job,
        Err(error) => return failed(check, "job and mappings", error),
    };
    check.job.clone_from(&job.name);
    session::prepare(&mut job);
    let words = format!("{} mappings compile", job.mappings.len());
    check.findings.push(good("job and mappings", words));
    let source = match &job.source {
        JobSource::Graph(graph) => {
            match source::config(graph).and_then(|config| Source::new(config, &work.context.http)) {
                Ok(source) => sign_in(&source, &job, check).await,
                Err(error) => failed(check, "sign-in", error),
            }
        }
        JobSource::Snapshot { dir, .. } => match Snapshot::open(dir) {
            Ok(snapshot) => {
                let words = format!("readable, of {}, read at {}", snapshot.tenant(), snapshot.as_of());
                check.findings.push(good("snapshot", words));
                Exit::Done
            }
            Err(error) => failed(check, "snapshot", error),
        },
    };
    Exit::worst([source, target(&job, check).await])
}

async fn sign_in(source: &Source, job: &Job, check: &mut Check) -> Exit {
    let token = match source.sign_in().await {
        Ok(token) => token,
        Err(error) => return failed(check, "sign-in", error),
    };
    check.findings.push(good("sign-in", "Entra issued a token for Microsoft Graph".into()));
    rights(&token, job, check)
}

/// Rights by collection, from the token's own claims.
fn rights(token: &Token, job: &Job, check: &mut Check) -> Exit {
    let Rights(Some(roles)) = token.rights() else {
        check.findings.push(Finding {
            about: "rights".into(),
            verdict: Verdict::Warning,
            words: "the token cannot be read, so its rights are not known".into(),
            hint: Some("run `entra-import plan`: what is missing shows there".into()),
        });
        return Exit::Done;
    };
    let needs = SourceNeeds::of(&job.catalog);
    let used = |collection: Collection| match collection {
        Collection::Memberships => needs.memberships,
        Collection::Groups => needs.memberships || needs.properties.contains_key(&Collection::Groups),
        other => needs.properties.contains_key(&other),
    };
    let mut exit = Exit::Done;
    let mut of_use: BTreeSet<&str> = BTreeSet::new();
    for resource in RESOURCES.into_iter().filter(|resource| used(resource.collection)) {
        let present: Vec<&str> = resource.permissions.iter().copied().filter(|right| roles.contains(*right)).collect();
        of_use.extend(&present);
        let about = format!("rights: {}", resource.collection);
        if present.is_empty() {
            exit = Exit::Partial;
            check.findings.push(Finding {
                about,
                verdict: Verdict::Bad,
                words: "none of the permissions that read it is granted".into(),
                hint: Some(format!(
                    "grant one of {} as an application permission, with admin consent",
                    resource.permissions.join(", ")
                )),
            });
        } else {
            check.findings.push(good(&about, format!("granted by {}", present.join(", "))));
        }
    }
    let excess: Vec<&str> = roles.iter().map(String::as_str).filter(|role| !of_use.contains(role)).collect();
    let writes: Vec<&str> = roles.iter().map(String::as_str).filter(|role| role.contains("Write")).collect();
    if !excess.is_empty() || !writes.is_empty() {
        check.findings.push(Finding {
            about: "rights in excess".into(),
            verdict: Verdict::Warning,
            words: format!(
                "granted and not needed: {}",
                excess.into_iter().chain(writes).collect::<BTreeSet<_>>().into_iter().collect::<Vec<_>>().join(", ")
            ),
            hint: Some(format!("a reader needs at most {}", RECOMMENDED.join(", "))),
        });
    }
    exit
}

async fn target(job: &Job, check: &mut Check) -> Exit {
    let target = target::open(&job.target);
    let types = match sides::types(job) {
        Ok(types) => types,
        Err(error) => return failed(check, "target types", error),
    };
    let specs: Vec<_> = types.into_iter().map(|ty| ty.spec).collect();
    match target.check(&specs).await {
        Ok(()) => {
            check.findings.push(good("target", format!("{} is readable and writable", target.identity())));
            Exit::Done
        }
        Err(error) => failed(check, "target", error),
    }
}

fn good(about: &str, words: String) -> Finding {
    Finding { about: about.into(), verdict: Verdict::Good, words, hint: None }
}

fn failed(check: &mut Check, about: &str, error: Error) -> Exit {
    let mut words = error.what;
    for cause in &error.causes {
        words.push_str(": ");
        words.push_str(cause);
    }
    check.findings.push(Finding { about: about.into(), verdict: Verdict::Bad, words, hint: error.hint });
    error.exit
}
