//! What people decide: `pending`, `approve`, `resolve`. Needs no secret: only the ledger is read and written.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use jiff::Timestamp;

use crate::cli::{self, Approve, Resolve, SnapshotChoice, Take};
use crate::diagnostic::did_you_mean;
use crate::error::{Error, Exit, Result};
use crate::job::{Job, Source, jobs_in};
use crate::ledger::{Decision, Identity, Ledger, Rule};
use crate::lock::Lock;
use crate::plan::change::{Action, Change, Held, Row};
use crate::plan::{LimitName, Plan, approve as approving, file};
use crate::record::Key;
use crate::report::{self, say};
use crate::session::Context;
use crate::snapshot::Snapshot;
use crate::state::State;
use crate::target;
use crate::visible::{shell_word, visible};

/// Who decides, for the ledger: user id, `SUDO_USER`, and what `--by` says.
pub fn who(by: Option<&str>) -> String {
    use std::os::unix::fs::MetadataExt;
    // The owner of this process' own entry is the user it runs as.
    let user = std::fs::metadata("/proc/self").map_or_else(|_| "?".to_string(), |own| own.uid().to_string());
    let mut words = format!("uid {user}");
    if let Ok(sudo) = std::env::var("SUDO_USER") {
        words.push_str(&format!(", sudo from {sudo}"));
    }
    if let Some(by) = by {
        words.push_str(&format!(", {by}"));
    }
    words
}

/// A key as people type it: ids are the same in any case.
pub(super) fn typed_key(text: &str) -> Key {
    match Key::parse(&text.to_ascii_lowercase()) {
        Key::Text(_) => Key::Text(text.into()),
        ids => ids,
    }
}

/// A job whose ledger a person is about to change, under the lock.
pub(super) struct Desk {
    pub job: Job,
    /// As it was given, for the commands that are named.
    pub job_file: String,
    pub state: State,
    pub ledger: Ledger,
    pub now: Timestamp,
    file: PathBuf,
    _lock: Lock,
}

impl Desk {
    pub fn open(file: &Path, context: &Context<'_>) -> Result<Desk> {
        let job = Job::load(file, None)?;
        let state = State::of(&job);
        let now = context.clock().now();
        let lock = Lock::take(&state.lock(), now)?;
        let ledger = Ledger::open(&state.ledger(), &identity(&job)?)?;
        let job_file = shell_word(&file.display().to_string());
        Ok(Desk { job, job_file, state, ledger, now, file: file.to_path_buf(), _lock: lock })
    }

    /// What the person looked at: the plan from the snapshot they name, else from the one that the last run read.
    pub async fn plan(&self, snapshot: &cli::Snapshot, context: &Context<'_>) -> Result<Plan> {
        let folder = match (snapshot.choice(), &self.job.source) {
            (Some(SnapshotChoice::Folder(folder)), _) => folder,
            (None, Source::Snapshot { dir, .. }) => dir.clone(),
            (Some(SnapshotChoice::Last), _) | (None, Source::Graph(_)) => self.state.last_snapshot()?,
        };
        crate::sync::plan_from(&self.file, folder, context).await
    }

    /// The target types of the job, or the one that was named.
    pub fn types(&self, named: Option<&str>) -> Result<Vec<String>> {
        let types: BTreeSet<String> = self.job.mappings.iter().map(|mapping| mapping.target.clone()).collect();
        match named {
            None => Ok(types.into_iter().collect()),
            Some(ty) if types.contains(ty) => Ok(vec![ty.to_string()]),
            Some(ty) => {
                let known: Vec<&str> = types.iter().map(String::as_str).collect();
                Err(Error::usage(format!("no mapping of the job makes {ty}")).hint(did_you_mean(ty, &known, "types")))
            }
        }
    }

    /// Refuses to go on (with what the person wants to do, a verb) while nobody knows what became of something that an
    /// earlier run was writing: what the ledger says of those records is not what stands in the target. Of changes that
    /// were sent one by one, only those that it is `about` count.
    pub fn settled(&mut self, then: &str, about: impl Fn(&Change) -> bool) -> Result<()> {
        let batches = self.ledger.unfinished_batches()?;
        let changes = self.ledger.unfinished_changes()?;
        let change = changes.iter().map(|unfinished| &unfinished.intent.change).find(|change| about(change));
        let what = match (batches.first(), change) {
            (Some(batch), _) => format!("its {}", visible(&batch.ty)),
            (None, Some(change)) => format!("{} {}", visible(&change.ty), change.key),
            // What was never sent is no riddle.
            (None, None) => return self.ledger.discard_unmarked(),
        };
        let message = format!("a run of this job was writing {what}, and what became of that is not known yet");
        let hint = format!(
            "run the job, which looks, then {then}: entra-import run {}; what a target does not show at once is known half a \
             day after it was sent at the latest",
            self.job_file
        );
        Err(Error::usage(message).hint(hint))
    }

    /// Makes decisions true, under the name of whoever takes them.
    pub fn decide(&mut self, by: Option<&str>, decisions: &[Decision]) -> Result<()> {
        let is_about = |change: &Change| {
            let rows = |decision: &Decision| decision.rows.iter().any(|(key, _)| *key == change.key);
            // What an open create made may be the very record that somebody adopts.
            let may_be = |decision: &Decision| decision.rule == Rule::Adopt && change.action == Action::Create;
            let same = |decision: &Decision| decision.key == change.key || rows(decision) || may_be(decision);
            decisions.iter().any(|decision| decision.ty == change.ty && same(decision))
        };
        self.settled("decide", is_about)?;
        let kind = decisions.first().map_or("decide", |decision| decision.rule.kind());
        let run = self.ledger.begin_run(kind, self.now)?;
        self.ledger.decide(run, self.now, &who(by), decisions)?;
        let summary = serde_json::json!({ "decided": decisions.len() });
        self.ledger.finish_run(run, self.now, Exit::Done, &summary)
    }
}

fn side(take: Take) -> &'static str {
    match take {
        Take::Source => "source's value",
        Take::Target => "target's value",
    }
}

/// The job's ledger identity; a job over a snapshot is of that snapshot's tenant.
pub(super) fn identity(job: &Job) -> Result<Identity> {
    let tenant = match &job.source {
        Source::Graph(graph) => graph.tenant.clone(),
        Source::Snapshot { dir, .. } => Snapshot::open(dir)?.tenant().to_string(),
    };
    Ok(Identity { job: job.name.clone(), tenant, target: target::identity(&job.target) })
}

/// Lists what is held and the command that lets it through, job after job; one that fails does not hide the next.
pub fn pending(jobs: &[PathBuf], colour: bool) -> Result<Exit> {
    let mut exits = Vec::new();
    for path in jobs_in(jobs)? {
        exits.push(pending_of(&path).unwrap_or_else(|error| {
            report::error(&error, colour);
            error.exit
        }));
    }
    Ok(Exit::worst(exits))
}

fn pending_of(path: &Path) -> Result<Exit> {
    let job = Job::load(path, None)?;
    let ledger = Ledger::open_to_read(&State::of(&job).ledger(), &identity(&job)?)?;
    let held = ledger.as_ref().map(Ledger::pending).transpose()?.unwrap_or_default();
    let given = ledger.as_ref().map(Ledger::approvals).transpose()?.unwrap_or_default();
    if held.is_empty() {
        say!("{}: nothing is held", job.name);
        return Ok(Exit::Done);
    }
    let file = shell_word(&path.display().to_string());
    for plan in held {
        say!("{}: plan {} of {:.0} is held", job.name, plan.plan, plan.as_of);
        let mut names = BTreeSet::new();
        for check in &plan.limits {
            names.insert(check.limit);
            say!("  {}: {}", check.limit, visible(&check.words));
        }
        say!("  look at it:  {}", plan.file.display());
        for (_, approval) in given.iter().filter(|(_, approval)| approval.plan == plan.plan) {
            let (limit, by, at) = (approval.limit, visible(&approval.by), approval.at);
            if names.remove(&limit) {
                say!("  approved:    {limit} by {by} at {at:.0}; the next run goes by it");
            }
        }
        let limits: Vec<&str> = names.into_iter().map(LimitName::word).collect();
        if !limits.is_empty() {
            say!("  approve it:  entra-import approve {file} {} --limit {}", plan.plan, limits.join(","));
        }
    }
    Ok(Exit::Held)
}

/// Records that a person lets a held plan's records through; the next run proves each cause anew.
pub fn approve(command: &Approve, context: &Context<'_>) -> Result<Exit> {
    let mut desk = Desk::open(&command.job, context)?;
    let (job, state, ledger, now) = (&desk.job, &desk.state, &mut desk.ledger, desk.now);
    // Held runs are noted in the ledger; a held dry run only saved its plan.
    let held = ledger.pending()?.into_iter().find(|held| held.plan == command.plan).map(|held| held.file);
    let saved = Some(state.plan(&command.plan)).filter(|path| path.is_file());
    let path = held.or(saved).ok_or_else(|| {
        Error::usage(format!("no plan {} is held for the job {}", command.plan, job.name))
            .hint(format!("`entra-import pending {}` lists what is held", command.job.display()))
    })?;
    let plan = file::read(&path)?;
    if plan.header.job != job.name {
        return Err(Error::usage(format!("plan {} is of the job {}, not {}", command.plan, plan.header.job, job.name)));
    }
    let by = who(command.by.as_deref());
    let scope = job.accepted_scope_text();
    let approvals: Vec<_> = command
        .limits
        .iter()
        .map(|limit| approving::approval(&plan, *limit, &by, now, &scope))
        .collect::<Result<_>>()?;
    for approval in approvals {
        ledger.approve(&approval)?;
        let count = approving::covered(&plan, &approval);
        let records = if count == 1 { "record" } else { "records" };
        say!("{}: {count} {records} of plan {} approved by {by}", approval.limit, approval.plan);
    }
    match &plan.header.undoes {
        None => say!("The next run proves each of them anew and goes through; anything beyond holds again."),
        Some(run) => say!(
            "Now take the run back again: entra-import undo {} {run}. Runs in between leave this approval alone.",
            command.job.display()
        ),
    }
    Ok(Exit::Done)
}

/// Takes the source's or the target's side where a person changed something in the target.
///
/// Target: its value counts as settled, and only a new change in Entra writes again. Source: what was last settled is
/// forgotten, so that the next run writes the source's value.
pub async fn resolve(command: &Resolve, context: &Context<'_>) -> Result<Exit> {
    let mut desk = Desk::open(&command.job, context)?;
    let plan = desk.plan(&command.snapshot, context).await?;
    let wanted = command.record.as_deref().map(typed_key);
    let mut changed = std::collections::BTreeMap::<(String, Key), Row>::new();
    let mut resolved = 0;
    for note in plan.notes() {
        let Some(difference) = &note.attribute else { continue };
        let asked = wanted.as_ref().is_none_or(|key| *key == note.key)
            && command.attribute.as_ref().is_none_or(|name| *name == difference.name);
        let place = (note.ty.clone(), note.key.clone());
        let row = match changed.remove(&place) {
            Some(row) => Some(row),
            None if asked => desk.ledger.row(&note.ty, &note.key)?,
            None => None,
        };
        let Some(mut row) = row else { continue };
        if asked {
            let settled = match command.take {
                Take::Target => difference.desired.clone(),
                // d' ≠ d and c = a: to the plan the source has changed, and it is written.
                Take::Source => difference.current.clone(),
            };
            if !settled.is_known() {
                say!(
                    "{} {}: {} is not wholly known now; left as it is",
                    note.ty,
                    visible(&note.label),
                    difference.name
                );
                changed.insert(place, row);
                continue;
            }
            let held = Held { applied: difference.current.clone(), settled };
            row.values.insert(difference.name.clone(), held);
            resolved += 1;
            say!("{} {}: {} takes the {}", note.ty, visible(&note.label), difference.name, side(command.take));
        }
        changed.insert(place, row);
    }
    if resolved == 0 {
        return Err(Error::usage("there is nothing to resolve for what was asked")
            .hint(format!("`entra-import plan {} --from-snapshot last` lists what differs", command.job.display())));
    }
    let mut decisions = Vec::with_capacity(changed.len());
    for ((ty, key), row) in changed {
        let before = desk.ledger.row(&ty, &key)?;
        if before.as_ref() == Some(&row) {
            continue;
        }
        decisions.push(Decision { rule: Rule::Resolve, ty, rows: vec![(key.clone(), Some(row))], key, before });
    }
    desk.decide(command.who.by.as_deref(), &decisions)?;
    say!("{resolved} resolved; the next run acts on it");
    Ok(Exit::Done)
}
