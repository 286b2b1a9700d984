//! The steps of a run: opening a job's state, reading, planning, holding, applying, and what is remembered afterwards.
//!
//! Hides where state lies, what a dry run leaves out, and what makes a run partial. Deliberately in no order of its
//! own: [`crate::sync`] says what happens when.
//!
//! `reading` gets a snapshot, `planning` and `undoing` make plans, `stale` judges saved ones, `ending` leaves
//! files and messages.

mod ending;
mod options;
mod planning;
mod reading;
mod stale;
mod undoing;

use std::collections::{BTreeMap, BTreeSet};
use std::io::IsTerminal as _;
use std::path::Path;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use serde_json::json;

use crate::apply::{self, Applied, Watch};
use crate::cli::SnapshotChoice;
use crate::directory;
use crate::error::{Error, Exit, Result};
use crate::job::{Job, Source as JobSource};
use crate::ledger::{ApprovalId, GoodRun, HeldPlan, Identity, Ledger, RunId};
use crate::lock::Lock;
use crate::mapping::Mapping;
use crate::plan::change::{Note, NoteKind, Refusal};
use crate::plan::decide::TypePolicy;
use crate::plan::policy::{Accept, AcceptWhat};
use crate::plan::{Approval, LimitName, Plan, SourceSummary, approve, file};
use crate::record::{Collection, Form, Guid, Key};
use crate::report::figures::{Figures, Unfinished};
use crate::report::log;
use crate::report::{self, Format, files, to_stdout};
use crate::sides;
use crate::snapshot::Snapshot;
use crate::state::State;
use crate::step::Step;
use crate::target::{self, Target};
use crate::trial;

pub use self::options::{Context, Options};
pub use self::reading::{Read, chosen_snapshot, temporary_folder};

/// One job at work.
pub struct Session<'a> {
    pub job: Job,
    options: &'a Options,
    context: &'a Context<'a>,
    state: State,
    identity: Identity,
    /// `None` in a dry run of a job that never ran.
    ledger: Option<Ledger>,
    types: Vec<TypePolicy>,
    as_of: Timestamp,
    run: Option<RunId>,
    /// A run is taken back: what is held for the nights stays held.
    undoes: bool,
    /// What the target refused before, by type and key.
    refusals: BTreeMap<(String, Key), Refusal>,
    /// Approvals that the plan is built with.
    approvals: Vec<(ApprovalId, Approval)>,
    /// How it goes, for who asks afterwards.
    figures: Figures,
    opened: Instant,
    /// Somebody asks about one record, which may be any.
    is_inquiry: bool,
    /// Ids that are asked about, besides those that owned records depend on.
    asked_about: BTreeSet<Guid>,
    /// Held until the session ends.
    _lock: Option<Lock>,
}

/// What a run took on the target's side.
pub struct Took {
    pub time: Duration,
    /// To the target.
    pub requests: u64,
}

impl<'a> Session<'a> {
    /// Loads the job, takes the lock and opens the ledger. Contacts nobody.
    pub fn open(path: &Path, options: &'a Options, context: &'a Context<'a>) -> Result<Session<'a>> {
        let job = Job::load(path, None)?;
        let state = State::of(&job);
        let opened = Instant::now();
        let of_job = (!options.dry_run).then(|| job.report.files.paths()).into_iter().flatten();
        options.files.paths().chain(of_job).try_for_each(|path| files::check(&files::for_job(&path, &job.name)))?;
        let as_of = context.clock().now();
        let lock = match options.dry_run {
            true => None,
            false => Some(Lock::take(&state.lock(), as_of)?),
        };
        let identity =
            Identity { job: job.name.clone(), tenant: tenant(&job, options)?, target: target::identity(&job.target) };
        let step = Step::begin("ledger");
        let ledger = match options.dry_run {
            true => Ledger::open_to_read(&state.ledger(), &identity)?,
            false => {
                state.create()?;
                Some(Ledger::open(&state.ledger(), &identity)?)
            }
        };
        step.end("");
        // Again, now that it is known what a person last agreed to: both scopes are compiled into one catalog.
        let accepted = ledger.as_ref().map(Ledger::accepted_scope).transpose()?.flatten();
        let mut job = Job::load(path, accepted.as_deref())?;
        prepare(&mut job);
        trial::needs(&options.trial, &mut job.catalog);
        let types = sides::types(&job)?;
        let approvals = ledger.as_ref().map(Ledger::approvals).transpose()?.unwrap_or_default();
        let figures = Figures::new(&job.name, "", as_of);
        let refusals = ledger.as_ref().map(Ledger::refusals).transpose()?.unwrap_or_default();
        Ok(Session {
            job,
            options,
            context,
            state,
            identity,
            ledger,
            types,
            as_of,
            run: None,
            undoes: false,
            refusals,
            approvals,
            figures,
            opened,
            is_inquiry: false,
            asked_about: BTreeSet::new(),
            _lock: lock,
        })
    }

    /// What the ledger knows; none before the first run of the job.
    pub fn ledger(&self) -> Option<&Ledger> {
        self.ledger.as_ref()
    }

    /// What all jobs of the invocation share.
    pub fn context(&self) -> &Context<'a> {
        self.context
    }

    /// Enters the run into history and settles what an earlier one left unfinished. Nothing in a dry run.
    pub async fn begin(&mut self, kind: &str, target: &dyn Target) -> Result<()> {
        let Some(ledger) = self.ledger.as_mut().filter(|_| !self.options.dry_run) else { return Ok(()) };
        if let Some(last) = ledger.last_as_of()?
            && self.as_of < last
        {
            // Entered into history all the same, so that the next run is measured by a clock that was put right.
            self.run = Some(ledger.begin_run(kind, self.as_of)?);
            return Err(Error::failed(format!("the clock says {}, but the last run was at {last}", self.as_of))
                .hint("check the clock of this machine, since the timers of leavers depend on it; then run again"));
        }
        let run = ledger.begin_run(kind, self.as_of)?;
        self.run = Some(run);
        log::set_run(&format!("{}/{run}", self.job.name));
        (self.figures.command, self.figures.run) = (kind.to_owned(), Some(run.to_string()));
        let unfinished = ledger.unfinished_runs()?.into_iter().filter(|other| other.id != run);
        self.figures.unfinished =
            unfinished.map(|run| Unfinished { run: run.id.to_string(), command: run.kind, began: run.as_of }).collect();
        for words in apply::settle(target, ledger, run, self.context.clock()).await? {
            tracing::warn!("{words}");
        }
        Ok(())
    }

    /// Whether the job accepts that gap today.
    fn accepts(&self, what: AcceptWhat, id: &str) -> bool {
        let today = self.as_of.to_zoned(jiff::tz::TimeZone::UTC).date();
        let fits =
            |accept: &Accept| accept.what == what && accept.id == id && accept.until.is_none_or(|until| today <= until);
        self.job.accept.iter().any(fits)
    }

    /// `--approve`: records the approval of what the plan is held by. True when the plan must be made anew with it.
    pub fn approve_at_once(&mut self, plan: &Plan) -> Result<bool> {
        let wanted: BTreeSet<LimitName> = plan.waiting().iter().map(|check| check.limit).collect();
        let wanted: Vec<LimitName> = wanted.into_iter().filter(|limit| self.options.approve.contains(limit)).collect();
        let Some(ledger) = self.ledger.as_mut().filter(|_| !self.options.dry_run) else { return Ok(false) };
        for limit in &wanted {
            let scope = self.job.accepted_scope_text();
            ledger.approve(&approve::approval(plan, *limit, &self.options.by, self.as_of, &scope)?)?;
        }
        self.approvals = ledger.approvals()?;
        Ok(!wanted.is_empty())
    }

    /// Says what of the job is left out, where somebody looks: every night is no place for what `check` tells.
    fn tell_remarks(&self) {
        for remark in &self.job.remarks {
            tracing::warn!("{remark}");
        }
    }

    /// The end of a dry run: shows the plan, saves it where asked, and where `approve` finds it if a limit holds it.
    pub fn preview(&mut self, plan: &Plan) -> Result<Exit> {
        if !plan.waiting().is_empty() && plan.header.preview.is_none() {
            self.state.create()?;
            file::save(plan, &self.state.plan(&plan.header.id))?;
        }
        self.tell_remarks();
        to_stdout(|to| self.options.format.plan(plan, &self.view(), to))?;
        self.figures.plan(plan, &self.options.view.job_file, self.job.report.price.as_ref())?;
        if let Some(out) = &self.options.out {
            file::save(plan, out)?;
        }
        self.write_files(plan, None)?;
        let pending = self.options.detailed_exitcode && plan.changes().next().is_some();
        Ok(Exit::worst([self.verdict(plan), if pending { Exit::Pending } else { Exit::Done }]))
    }

    /// The end of a run that a limit holds: the plan is saved, nothing was written.
    pub fn hold(&mut self, plan: &Plan) -> Result<Exit> {
        self.keep(plan)?;
        self.figures.plan(plan, &self.options.view.job_file, self.job.report.price.as_ref())?;
        self.tell_remarks();
        to_stdout(|to| self.options.format.plan(plan, &self.view(), to))?;
        let exit = Exit::worst([Exit::Held, self.verdict(plan), self.leave_files(plan, None)]);
        self.end(exit, json!({ "plan": plan.header.id, "held": true }))?;
        Ok(exit)
    }

    /// The approvals that count here: those of nights, or those of runs that are taken back.
    fn approvals_here(&self) -> impl Iterator<Item = &(ApprovalId, Approval)> {
        self.approvals.iter().filter(|(_, approval)| approval.undoes == self.undoes)
    }

    /// Enters whoever applies a held plan by its name as the one who approved what it shows. Gives back the plan as it
    /// stands then.
    pub fn approve_by_name(&mut self, plan: Plan) -> Result<Plan> {
        let held: BTreeSet<LimitName> =
            plan.waiting().iter().filter(|check| check.held).map(|check| check.limit).collect();
        let (Some(ledger), Some(run)) = (self.ledger.as_mut(), self.run) else { return Ok(plan) };
        let mut given = Vec::new();
        for limit in held {
            let scope = self.job.accepted_scope_text();
            given.push(ledger.approve(&approve::approval(&plan, limit, &self.options.by, self.as_of, &scope)?)?);
        }
        ledger.use_up(&given, run)?;
        Ok(plan.approved())
    }

    /// Says what went wrong, to whoever watches, where the run goes on to its end all the same.
    fn complain(&self, error: &Error) {
        report::error(error, self.options.view.colour && std::io::stderr().is_terminal());
    }

    /// Saves the plan where `pending` and `approve` find it.
    fn keep(&mut self, plan: &Plan) -> Result<()> {
        let path = self.state.plan(&plan.header.id);
        file::save(plan, &path)?;
        let limits = plan.waiting().into_iter().cloned().collect();
        let undoes = self.undoes;
        let held = HeldPlan { plan: plan.header.id.clone(), file: path, as_of: self.as_of, limits, undoes };
        let Some(ledger) = self.ledger.as_mut() else { return Ok(()) };
        if !self.undoes {
            // What an older plan showed is shown by this one, or no longer so.
            ledger.release_held(false)?;
        }
        ledger.hold(&held)
    }

    /// Writes the plan to the target, from now on under today's scope.
    pub async fn apply(&mut self, plan: &Plan, target: &dyn Target) -> Result<Applied> {
        let (Some(ledger), Some(run)) = (self.ledger.as_mut(), self.run) else {
            return Err(Error::failed("a defect: a dry run cannot apply a plan"));
        };
        // Before the first write: whatever becomes owned from here on became so under one of these.
        ledger.set_accepted_scope(&self.job.accepted_scopes_and_todays())?;
        let progress = self.context.progress;
        let mut shown = 0;
        let mut watch = Watch {
            progress: &mut |at| {
                if shown == 0 {
                    progress.start("apply", Some(at.of));
                }
                if at.done >= shown + 1000 || at.done == at.of {
                    progress.advance("apply", at.done - shown);
                    shown = at.done;
                }
            },
            stop: self.context.stop,
            clock: self.context.clock(),
        };
        let step = Step::begin("apply");
        let applied = apply::apply(plan, target, ledger, run, &mut watch).await;
        step.end("");
        self.context.progress.clear();
        applied
    }

    /// After an apply: history, the accepted scope, used-up approvals, the last good run; says what was done.
    /// `whole` says that nothing of the plan was left out on request.
    pub fn finish(
        &mut self,
        plan: &Plan,
        applied: &Applied,
        whole: bool,
        took: &Took,
        read: Option<&Read>,
    ) -> Result<Exit> {
        let waiting = plan.waiting().iter().any(|check| check.limit == LimitName::FilterEdit);
        if waiting && whole {
            self.keep(plan)?;
        }
        let Some(run) = self.run else {
            return Err(Error::failed("a defect: a dry run has nothing to finish"));
        };
        let went_through = applied.stopped.is_none() && whole && self.options.trial.is_everything();
        if went_through {
            self.remember(plan, run, waiting)?;
        }
        self.remember_refusals(plan, applied, went_through)?;
        let exit = Exit::worst([self.verdict(plan), applied.exit()]);
        let effort = report::applied::Effort {
            run: run.to_string(),
            took: took.time,
            source_requests: read.map_or(0, |read| read.requests),
            target_requests: took.requests,
            memberships: read.and_then(Read::memberships),
        };
        let shown = report::applied::Applied::new(plan, applied, effort);
        self.figures.plan(plan, &self.options.view.job_file, self.job.report.price.as_ref())?;
        self.figures.outcome(&shown)?;
        if std::io::stderr().is_terminal() {
            self.tell_remarks();
        }
        to_stdout(|to| {
            // A quiet night is one line; any other says first what a person must look at.
            if exit != Exit::Done && self.options.format == Format::Text {
                report::text::attention(plan, &self.view(), to)?;
            }
            self.options.format.applied(&shown, &self.view(), to)
        })?;
        if let Some(error) = &applied.stopped {
            // What stands beside each change that was not sent is only its first line.
            self.complain(error);
        }
        let exit = Exit::worst([exit, self.leave_files(plan, Some(&shown))]);
        self.end(exit, json!({ "plan": plan.header.id, "types": applied.types }))?;
        Ok(exit)
    }

    /// What the next plans are measured by, once a whole plan went through. `waiting` says that an edited filter or
    /// mapping still waits for approval.
    fn remember(&mut self, plan: &Plan, run: RunId, waiting: bool) -> Result<()> {
        let Some(ledger) = self.ledger.as_mut() else { return Ok(()) };
        // Before the accepted scope forgets that there ever was such a type.
        for ty in plan.released() {
            let mut owned = Vec::new();
            ledger.keys(ty, &mut |row, _| {
                owned.extend(Some(row.key).filter(|_| row.standing.counts()));
                Ok(())
            })?;
            ledger.write_rows(run, ty, owned.into_iter().map(|key| Ok((key, None))))?;
        }
        let today = self.job.accepted_scope_text();
        let of_today = |approval: &Approval| approval.scope.as_ref() == Some(&today);
        let approved: Vec<(ApprovalId, bool)> =
            self.approvals_here().map(|(id, given)| (*id, of_today(given))).collect();
        let unknown = plan.header.types.iter().any(|ty| !ty.counts.unknown.is_empty());
        // An older scope is forgotten once nothing can be owned under it alone, or once a person agreed to this one: who
        // moved out of it since then was not shown and waits tonight, but left by a rule that is accepted now.
        let agreed = approved.iter().any(|(_, of_today)| *of_today);
        let Some(ledger) = self.ledger.as_mut() else { return Ok(()) };
        if agreed || !(waiting || unknown) {
            ledger.set_accepted_scope(&today)?;
        }
        let used: Vec<ApprovalId> = approved.into_iter().map(|(id, _)| id).collect();
        ledger.use_up(&used, run)?;
        if !waiting {
            ledger.release_held(false)?;
        }
        // Per collection its last complete read: one gap that is there every night must not disarm the others.
        let mut counts = ledger.last_good_run()?.map(|run| run.counts).unwrap_or_default();
        let complete = plan.header.sources.iter().filter(|source| source.coverage.is_complete());
        counts.extend(complete.map(|source| (source.collection, source.there())));
        ledger.record_good_run(&GoodRun { as_of: plan.header.source_as_of, counts })
    }

    /// What was held back is still refused; what was sent and taken, or is not wanted any more, is not. `all` says that
    /// nothing else is refused.
    fn remember_refusals(&mut self, plan: &Plan, applied: &Applied, all: bool) -> Result<()> {
        let Some(ledger) = self.ledger.as_mut() else { return Ok(()) };
        let refused_still = |note: &Note| {
            let place = (note.ty.clone(), note.key.clone());
            self.refusals.get(&place).filter(|_| note.kind == NoteKind::Refused).cloned()
        };
        let still = plan.notes().iter().filter_map(refused_still);
        let refusals: Vec<Refusal> = still.chain(applied.refused.iter().cloned()).collect();
        if refusals.is_empty() && self.refusals.is_empty() {
            return Ok(());
        }
        ledger.set_refusals(&refusals, all)
    }

    /// Enters a failure into history, so that only a run that died looks unfinished to the next one.
    pub fn note_failure(&mut self, ended: Result<Exit>) -> Result<Exit> {
        if let Err(error) = &ended {
            self.end(error.exit, json!({ "error": error.what }))?;
        }
        ended
    }

    /// The same for a run that nobody watched: also leaves its figures, and tells who asked.
    pub async fn end_of_run(&mut self, ended: Result<Exit>) -> Result<Exit> {
        let ended = self.note_failure(ended);
        self.tell_end(ended).await
    }

    /// Enters how the run ended into history, and clears what is older than the job keeps.
    fn end(&mut self, exit: Exit, summary: serde_json::Value) -> Result<()> {
        let now = self.context.clock().now();
        if self.run.is_some() {
            let base = self.ledger.as_ref().map(Ledger::delta_base).transpose()?.flatten();
            self.state.clear_old(base.map(|base| base.folder).as_deref(), now)?;
        }
        match (self.ledger.as_mut(), self.run) {
            (Some(ledger), Some(run)) => {
                let before = self.job.state.forget_after.and_then(|span| now.checked_sub(span).ok());
                ledger.clear_history(self.job.state.keep_reports.max(1) as usize, before)?;
                ledger.finish_run(run, now, exit, &summary)
            }
            _ => Ok(()),
        }
    }

    /// What the plan alone says about how the run ends: held, partial, or done.
    fn verdict(&self, plan: &Plan) -> Exit {
        let gap = |source: &SourceSummary| !source.coverage.is_complete() && !source.accepted;
        let left_out = plan.notes().iter().any(|note| {
            let what = match note.kind {
                NoteKind::Rejected | NoteKind::Refused => AcceptWhat::Rejected,
                NoteKind::Collision | NoteKind::Returner => AcceptWhat::Collision,
                _ => return false,
            };
            !self.accepts(what, &note.key.to_string())
        });
        let target_gap = plan.header.types.iter().any(|ty| !ty.coverage.is_complete());
        let partial = plan.header.sources.iter().any(gap) || left_out || target_gap;
        let held = !plan.waiting().is_empty();
        Exit::worst([if held { Exit::Held } else { Exit::Done }, if partial { Exit::Partial } else { Exit::Done }])
    }
}

/// Adds to the job's catalog what a run reads besides what expressions name: the collections that make records, and
/// names for people.
pub fn prepare(job: &mut Job) {
    for collection in job.mappings.iter().map(|mapping| mapping.source).collect::<BTreeSet<_>>() {
        job.catalog.require_collection(collection);
        // Pairs and assignments are judged by their ends and named by them.
        let ends: &[Collection] = match collection.form() {
            Form::Pairs(pairs) => &[pairs.of, pairs.members[0]],
            Form::Assignments => &[Collection::Users, Collection::Licenses],
            Form::Objects | Form::Custom => &[],
        };
        ends.iter().for_each(|end| job.catalog.require_collection(*end));
        directory::label_needs(&mut job.catalog, collection);
    }
    let items: BTreeSet<Collection> = job.mappings.iter().flat_map(Mapping::items).copied().collect();
    items.into_iter().for_each(|collection| directory::label_needs(&mut job.catalog, collection));
}

/// The tenant as the ledger remembers it: the job's, or that of its snapshot.
fn tenant(job: &Job, options: &Options) -> Result<String> {
    match (&job.source, &options.snapshot) {
        (JobSource::Graph(graph), _) => Ok(graph.tenant.clone()),
        (JobSource::Snapshot { .. }, Some(SnapshotChoice::Folder(dir))) | (JobSource::Snapshot { dir, .. }, _) => {
            Ok(Snapshot::open(dir)?.tenant().to_string())
        }
    }
}
