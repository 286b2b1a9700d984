//! `check`: what would stand in the way of a run, found without writing anything.
//!
//! Looks at the job, the credential, the rights, the hosts, the target, and the folders of state and reports, in this order, and goes on after what
//! fails. Deliberately reads no record of the directory.

use std::path::Path;

use jiff::Timestamp;
use url::Url;

use super::{Work, decisions};
use crate::cli;
use crate::error::{Error, Exit, Result};
use crate::http::{Route, route};
use crate::job::{GraphSource, Job, Source as JobSource, jobs_in};
use crate::ledger::Ledger;
use crate::mapping::{KeyRule, Mapping};
use crate::plan::change::TypeSpec;
use crate::report::check::{Check, Finding, Host, Right, RightState, Verdict};
use crate::report::{files, to_stdout};
use crate::snapshot::Snapshot;
use crate::source::rights::{self, Need, Review, Standing};
use crate::source::{self, Rights, SKEW_WORTH_TELLING, SecretEnd, Source, SourceNeeds, Token, skew_in_words};
use crate::state::State;
use crate::target::{self, Remark, Target};
use crate::{find, notify, session, sides};

/// A secret or certificate that ends within so many days is warned about.
const ENDS_SOON_DAYS: i64 = 30;

const HOW_TO_KNOW: &str = "look under Certificates & secrets of the app registration and put the date into a calendar; \
                           with Application.Read.All, `check` sees it itself";

const NOTHING_TO_DO: &str = "nothing has to be done where that is meant";

const APPLICATION_TYPE: &str = "as an application permission with admin consent; where the portal shows it as granted \
                                already, look at the column Type: Delegated does not count";

/// Checks every job; over several jobs it ends with one table.
pub async fn check(command: &cli::Check, work: &Work<'_>) -> Result<Exit> {
    let mut checks = Vec::new();
    let mut exits = Vec::new();
    for path in jobs_in(&command.jobs)? {
        let mut check = Check::new(path.display().to_string());
        let exit = job(&path, &mut check, work).await;
        check.exit = exit as u8;
        exits.push(exit);
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
    check.findings.push(good("job and mappings", format!("{} mappings compile", job.mappings.len())));
    check.findings.extend(job.mappings.iter().map(|mapping| good(&about(mapping), facts(mapping))));
    let told =
        |remark: &String| finding("job and mappings", Verdict::Warning, remark.clone(), NOTHING_TO_DO.to_owned());
    check.findings.extend(job.remarks.iter().map(told));
    let source = match &job.source {
        JobSource::Graph(graph) => graph_source(graph, &job, check, work).await,
        JobSource::Snapshot { dir, .. } => match Snapshot::open(dir) {
            Ok(snapshot) => {
                let words = format!("readable, of {}, read at {:.0}", snapshot.tenant(), snapshot.as_of());
                check.findings.push(good("snapshot", words));
                Exit::Done
            }
            Err(error) => failed(check, "snapshot", error),
        },
    };
    let target = target(&job, check, work).await;
    let own = State::of(&job).check_writable();
    let reports = job.report.files.paths().map(|path| files::check(&files::for_job(&path, &job.name)));
    let mut exits = vec![source, target];
    for (about, found) in std::iter::once(("state", own)).chain(reports.map(|found| ("reports", found))) {
        exits.extend(found.err().map(|error| failed(check, about, error)));
    }
    for (purpose, url) in notify::hosts(&job.report) {
        match url {
            Ok(url) => host(check, &purpose, &url),
            // A run that nobody hears of is still a good run.
            Err(error) => {
                let words = std::iter::once(error.what).chain(error.causes).collect::<Vec<_>>().join(": ");
                let hint = error.hint.unwrap_or_else(|| "put it right, or take it out of [report]".into());
                check.findings.push(finding(&format!("host: {purpose}"), Verdict::Warning, words, hint));
            }
        }
    }
    Exit::worst(exits)
}

fn about(mapping: &Mapping) -> String {
    format!("mapping {}", mapping.name)
}

/// What a mapping makes of what, and what becomes of leavers.
fn facts(mapping: &Mapping) -> String {
    let key = match &mapping.key {
        KeyRule::Ledger => "the ledger alone".to_owned(),
        KeyRule::Attributes(places) => {
            let names: Vec<&str> = places.iter().map(|place| mapping.attributes[*place].name.as_str()).collect();
            names.join(" and ")
        }
    };
    let steps = mapping.removal.default.len();
    let leavers = match steps {
        0 => "leavers are kept and listed".to_owned(),
        1 => "leavers take 1 step".to_owned(),
        steps => format!("leavers take {steps} steps"),
    };
    let attributes = mapping.attributes.len();
    format!("{} become {}: {attributes} attributes, key {key}; {leavers}", mapping.source, mapping.target)
}

async fn graph_source(graph: &GraphSource, job: &Job, check: &mut Check, work: &Work<'_>) -> Exit {
    let source = source::config(graph).and_then(|config| Source::new(config, &work.context.http));
    let source = match source {
        Ok(source) => source,
        Err(error) => return failed(check, "credential", error),
    };
    for (purpose, url) in source.hosts() {
        host(check, purpose, url);
    }
    if source.secret_looks_like_its_id() {
        check.findings.push(Finding {
            about: "credential".into(),
            verdict: Verdict::Warning,
            words: "what is given as the client secret is a GUID, as the Secret ID is; secrets are not".into(),
            hint: Some("use the column Value; it shows only when a secret is made, so make a new one".into()),
        });
    }
    let now = work.context.clock().now();
    if let Some(facts) = source.certificate() {
        let hint = "make a new certificate, register it beside this one, then change the job's";
        ends_at(check, &format!("the certificate {}", facts.subject), facts.not_after, now, hint);
    }
    let token = source.sign_in().await;
    clock(&source, check);
    let token = match token {
        Ok(token) => token,
        Err(error) => return failed(check, "sign-in", error),
    };
    check.findings.push(good("sign-in", "Entra issued a token for Microsoft Graph".into()));
    let exit = granted(&token, graph, job, check);
    secret_end(&source.secret_end(&token).await, check, now);
    exit
}

/// Warns when this machine's clock is off: assertions and certificates depend on it.
fn clock(source: &Source, check: &mut Check) {
    if let Some(skew) = source.clock_skew().filter(|skew| skew.abs() >= SKEW_WORTH_TELLING) {
        let hint = "set it by NTP; Entra refuses certificates and federated tokens at five minutes";
        check.findings.push(finding("clock", Verdict::Warning, skew_in_words(skew), hint.into()));
    }
}

/// Names a server, and the proxy before it.
fn host(check: &mut Check, purpose: &str, url: &Url) {
    let (name, port) = (url.host_str().unwrap_or_default(), url.port_or_known_default().unwrap_or_default());
    let proxy = match route(url) {
        Route::Direct => None,
        Route::Proxy(proxy) => Some(proxy),
    };
    let way = proxy.as_ref().map_or("without a proxy".to_owned(), |proxy| format!("through the proxy {proxy}"));
    check.findings.push(good(&format!("host: {purpose}"), format!("{name}, port {port}, {way}")));
    check.hosts.push(Host { purpose: purpose.into(), host: name.into(), port, proxy });
}

/// Rights by what is read, from the token's own claims.
fn granted(token: &Token, graph: &GraphSource, job: &Job, check: &mut Check) -> Exit {
    let Rights(Some(roles)) = token.rights() else {
        check.findings.push(Finding {
            about: "rights".into(),
            verdict: Verdict::Warning,
            words: "the token cannot be read, so its rights are not known".into(),
            hint: Some("run `entra-import plan`: what is missing shows there".into()),
        });
        return Exit::Done;
    };
    let needs = rights::needed(&SourceNeeds::of(&job.catalog), graph.credential.is_secret());
    let review = rights::review(needs, &roles);
    for (need, standing) in &review.standings {
        check.findings.extend(standing_words(need, standing));
        check.rights.push(Right {
            what: need.what.clone(),
            least: need.least(),
            state: match standing {
                Standing::Granted => RightState::Granted,
                Standing::Wider(_) => RightState::Wider,
                Standing::Missing => RightState::Missing,
            },
            required: need.required,
        });
    }
    check.beyond_least = review.beyond_least().into_iter().map(str::to_owned).collect();
    let beyond = beyond_least(&review, graph.refuse_excess_rights, check);
    let lacking = if review.is_lacking() { Exit::Partial } else { Exit::Done };
    Exit::worst([lacking, beyond])
}

/// The finding about one need; none for something optional that is not granted.
fn standing_words(need: &Need, standing: &Standing) -> Option<Finding> {
    let about = format!("rights: {}", need.what);
    match standing {
        Standing::Granted => Some(good(&about, format!("granted by {}", need.least()))),
        Standing::Wider(right) => {
            Some(good(&about, format!("granted by {right}, which allows more; {} is enough", need.least())))
        }
        Standing::Missing if !need.required => None,
        Standing::Missing => Some(Finding {
            about,
            verdict: Verdict::Bad,
            words: format!("{} is not granted, nor another that is enough; without it {}", need.least(), need.without),
            hint: Some(format!("grant {} {APPLICATION_TYPE}", need.least())),
        }),
    }
}

/// What is granted beyond the least: a warning where it is of no use or can write, an error where the job says so.
fn beyond_least(review: &Review, refused: bool, check: &mut Check) -> Exit {
    let needs = review.standings.iter().map(|(need, _)| need.clone()).filter(|need| need.required).collect::<Vec<_>>();
    let least: Vec<&str> = rights::least(&needs).into_iter().map(|(permission, _)| permission).collect();
    let hint = format!("this job needs {}; revoke the others", least.join(", "));
    let beyond = review.beyond_least();
    if refused && !beyond.is_empty() {
        let words = format!("the job refuses them (`refuse_excess_rights`): {}", beyond.join(", "));
        check.findings.push(finding("rights in excess", Verdict::Bad, words, hint));
        return Exit::SignIn;
    }
    let writing = review.writing();
    if !writing.is_empty() {
        let words =
            format!("these let the application change Entra, and this program only reads: {}", writing.join(", "));
        check.findings.push(finding("rights to write", Verdict::Warning, words, hint.clone()));
    }
    let reading: Vec<&str> =
        review.excess.iter().map(String::as_str).filter(|right| !writing.contains(right)).collect();
    if !reading.is_empty() {
        let words = format!("granted and not needed: {}", reading.join(", "));
        check.findings.push(finding("rights in excess", Verdict::Warning, words, hint));
    }
    Exit::Done
}

fn secret_end(end: &SecretEnd, check: &mut Check, now: Timestamp) {
    match end {
        SecretEnd::NoSecret => {}
        SecretEnd::Unknown(why) => {
            let words = format!("when the client secret ends is not known: {why}; {HOW_TO_KNOW}");
            check.findings.push(good("credential", words));
        }
        SecretEnd::Known { ends, name, alike } => {
            let which = match alike {
                1 => format!("the client secret {name:?}"),
                n => format!("one of {n} client secrets that begin like the one in use, {name:?},"),
            };
            ends_at(check, &which, *ends, now, "make a new client secret and put it in its place before that");
        }
    }
}

/// Says when something ends, and warns in time.
fn ends_at(check: &mut Check, which: &str, ends: Timestamp, now: Timestamp, hint: &str) {
    let days = ends.duration_since(now).as_hours() / 24;
    let date = ends.to_zoned(jiff::tz::TimeZone::UTC).date();
    check.credential_ends = Some(ends);
    let words = match days {
        _ if ends <= now => format!("{which} ended on {date}"),
        0 => format!("{which} ends within a day, on {date}"),
        days => format!("{which} ends in {days} days, on {date}"),
    };
    check.findings.push(match days {
        _ if ends <= now => finding("credential", Verdict::Bad, words, hint.into()),
        days if days < ENDS_SOON_DAYS => finding("credential", Verdict::Warning, words, hint.into()),
        _ => good("credential", words),
    });
}

async fn target(job: &Job, check: &mut Check, work: &Work<'_>) -> Exit {
    let target = match target::open(&job.target, &work.context.http) {
        Ok(target) => target,
        Err(error) => return failed(check, "target", error),
    };
    for (purpose, url) in target.hosts() {
        host(check, purpose, &url);
    }
    let types = match sides::types(job) {
        Ok(types) => types,
        Err(error) => return failed(check, "target types", error),
    };
    let specs: Vec<_> = types.into_iter().map(|ty| ty.spec).chain(find::types(job)).collect();
    match target.check(&specs).await {
        Ok(remarks) => {
            let warning = |remark: Remark| finding("target", Verdict::Warning, remark.words, remark.hint);
            check.findings.extend(remarks.into_iter().map(warning));
            check.findings.push(good("target", format!("{} is readable and writable", target.identity())));
        }
        Err(error) => return failed(check, "target", error),
    }
    known(job, target.as_ref(), &specs, check).await
}

/// Whether a run could use the ledger, and whether the target still has a place for what the ledger says was filled.
async fn known(job: &Job, target: &dyn Target, specs: &[TypeSpec], check: &mut Check) -> Exit {
    // A job over a snapshot that cannot be opened has no identity, and that was told.
    let Ok(identity) = decisions::identity(job) else { return Exit::Done };
    let ledger = match Ledger::open_to_read(&State::of(job).ledger(), &identity) {
        Ok(ledger) => ledger,
        Err(error) => return failed(check, "ledger", error),
    };
    let mut exits = Vec::new();
    for spec in specs {
        if let Err(error) = sides::refuse_lost(target, spec, ledger.as_ref()).await {
            exits.push(failed(check, "target", error));
        }
    }
    Exit::worst(exits)
}

fn good(about: &str, words: String) -> Finding {
    Finding { about: about.into(), verdict: Verdict::Good, words, hint: None }
}

fn finding(about: &str, verdict: Verdict, words: String, hint: String) -> Finding {
    Finding { about: about.into(), verdict, words, hint: Some(hint) }
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
