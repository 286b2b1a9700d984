//! The steps of a run: opening a job's state, reading, planning, holding, applying, and what is remembered afterwards.
//!
//! Hides where state lies, what a dry run leaves out, and what makes a run partial. Deliberately in no order of its
//! own: [`crate::sync`] says what happens when.

mod ending;

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use serde_json::json;

use crate::apply::{self, Applied, Watch};
use crate::baseline::{self, Base};
use crate::cli::SnapshotChoice;
use crate::crash;
use crate::directory::Directory;
use crate::error::{Context as _, Error, Exit, Result};
use crate::explain::Inquiry;
use crate::expr::Expr;
use crate::find::Found;
use crate::job::{GraphSource, Job, Source as JobSource};
use crate::ledger::{ApprovalId, GoodRun, HeldPlan, Identity, Ledger, Run, RunId, RunState};
use crate::lock::Lock;
use crate::lookup::{self, OBJECTS};
use crate::mapping::Mapping;
use crate::plan::agreed::StoredRow;
use crate::plan::build::{Inputs, Rows, States, TypeInput, build};
use crate::plan::change::{Action, AttributeChange, Change, Current, Note, NoteKind, Refusal, Row};
use crate::plan::decide::{self, Times, TypePolicy};
use crate::plan::limits::{Approved, CollectionBase, Orphan};
use crate::plan::matching::{DesiredSide, OwnedKey, Ownership};
use crate::plan::policy::{Accept, AcceptWhat};
use crate::plan::undo::{self, Done, History};
use crate::plan::{
    Approval, ClauseSummary, FilterSummary, Header, LeftAtGraph, LimitName, Plan, Ran, SourceSummary, approve, file,
};
use crate::record::{Collection, Coverage, Form, Guid, Key, Unknown};
use crate::report::figures::{Figures, Unfinished};
use crate::report::log::{self, Step};
use crate::report::{self, Format, files, to_stdout};
use crate::scope::{self, Effect, Judge};
use crate::sides::{self, Against};
use crate::snapshot::{Extent, Members, Pushed, ReadBy, Snapshot};
use crate::source::{self, Since, Source, SourceNeeds, Wanted, WantedParts, is_because_hidden};
use crate::state::State;
use crate::sync::{Context, Options};
use crate::target::{self, Target};
use crate::trial;

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

/// What was read from the source.
pub struct Read {
    pub snapshot: Snapshot,
    pub requests: u64,
    /// Keeps a dry run's snapshot until it is no longer needed.
    _temporary: Option<tempfile::TempDir>,
}

impl Read {
    /// Which way memberships were read; none when they were not, or not now.
    fn memberships(&self) -> Option<ReadBy> {
        let memberships = self.snapshot.manifest().collections.get(&Collection::Memberships)?;
        memberships.read_by.clone().filter(|_| self.requests > 0)
    }
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
        let ledger = match options.dry_run {
            true => Ledger::open_to_read(&state.ledger(), &identity)?,
            false => {
                state.create()?;
                Some(Ledger::open(&state.ledger(), &identity)?)
            }
        };
        // Again, now that it is known what a person last agreed to: both scopes are compiled into one catalog.
        let accepted = ledger.as_ref().map(Ledger::accepted_scope).transpose()?.flatten();
        let mut job = Job::load(path, accepted.as_deref())?;
        for remark in &job.remarks {
            tracing::warn!("{remark}");
        }
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

    /// Reads what finding somebody takes besides what the job needs: names, and of an id that no list shows whether it
    /// is deleted.
    pub fn look_for(&mut self, who: &str) {
        self.is_inquiry = true;
        let used: Vec<Collection> = OBJECTS.into_iter().filter(|of| self.job.catalog.uses(*of)).collect();
        used.into_iter().for_each(|collection| lookup::names_needed(collection, &mut self.job.catalog));
        self.asked_about.extend(match Key::parse(&who.to_ascii_lowercase()) {
            Key::Guid(id) => vec![id],
            Key::Pair(of, member) => vec![of, member],
            Key::Assignment(parts) => vec![parts.0],
            Key::Text(_) => vec![],
        });
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

    /// Reads the source, or opens the snapshot that was asked for.
    pub async fn read(&mut self) -> Result<Read> {
        let chosen = self.options.snapshot.as_ref().map(|choice| chosen_folder(&self.state, choice)).transpose()?;
        let graph = match (&self.job.source, chosen) {
            (_, Some(folder)) => return self.read_folder(&folder),
            (JobSource::Snapshot { dir, .. }, None) => return self.read_folder(dir),
            (JobSource::Graph(graph), None) => graph.clone(),
        };
        let graph = &*graph;
        let source = Source::new(source::config(graph)?, &self.context.http)?.wanting(self.parts_wanted(graph)?);
        let temporary = match self.options.dry_run {
            true => Some(temporary_folder()?),
            false => None,
        };
        let folder = match &temporary {
            Some(folder) => folder.path().join("snapshot"),
            None => self.state.snapshot(self.as_of),
        };
        let needs = SourceNeeds::of(&self.job.catalog);
        let (base, doubt) = self.base(graph)?;
        let since = match (&base, &doubt) {
            _ if !graph.delta => Since::Never,
            (Some(base), None) => Since::Base(base),
            (_, why) => Since::Full(why.as_deref().unwrap_or_default()),
        };
        let step = Step::begin("extract");
        let mut read = source.extract_since(&needs, self.context.progress, &folder, since).await?;
        step.end("");
        let step = Step::begin("confirm");
        let mut missing = self.missing(&read.snapshot)?;
        missing.append(&mut read.doubtful);
        if !missing.is_empty() {
            read = source.confirm(&needs, self.context.progress, read.snapshot, missing).await?;
        }
        step.end("");
        self.context.progress.clear();
        if self.figures_are_wanted() {
            self.figures.credential_ends = source.credential_end().await;
        }
        let counts = source.counts();
        (self.figures.source_requests, self.figures.throttled_s) = (counts.requests, counts.throttled_s);
        self.move_base(graph, &read.snapshot, base.as_ref().filter(|_| doubt.is_none()))?;
        Ok(Read { snapshot: read.snapshot, requests: read.counts.requests, _temporary: temporary })
    }

    /// What of each collection is wanted, where the scope leaves something out and nothing else needs it: of what Graph
    /// leaves out, only what owned records depend on is looked up.
    fn parts_wanted(&self, graph: &GraphSource) -> Result<WantedParts> {
        let mut wanted = WantedParts::new();
        // A trial and an inquiry are about records that may be out of scope; changes are laid over a whole read.
        if !graph.push_down || graph.delta || !self.options.trial.is_everything() || self.is_inquiry {
            return Ok(wanted);
        }
        for collection in OBJECTS.into_iter().filter(|collection| !self.job.catalog.needs_whole(*collection)) {
            let shared = scope::shared_clauses(&self.job, collection);
            let filter = self.job.scope.filters.get(&collection);
            let filter = filter.and_then(|filter| filter.expr.keeping(|clause| shared.contains(&clause.to_string())));
            let Some(filter) = filter else { continue };
            let (known, leaving) = self.owned(collection)?;
            wanted.insert(collection, Wanted { filter, known: known.into(), leaving });
        }
        Ok(wanted)
    }

    /// Objects of a collection that owned records depend on, and how many of them are leaving.
    fn owned(&self, collection: Collection) -> Result<(BTreeSet<Guid>, u64)> {
        let (mut known, mut leaving) = (BTreeSet::new(), 0);
        let Some(ledger) = &self.ledger else { return Ok((known, leaving)) };
        for mapping in self.job.mappings.iter().filter(|mapping| mapping.distinct.is_none()) {
            ledger.keys(&mapping.target, &mut |row, _| {
                let ends = scope::ends(mapping, &row.key).into_iter().filter(|(home, _)| *home == collection);
                let new = ends.filter(|(_, id)| known.insert(*id)).count() as u64;
                if row.standing == Ownership::Retired {
                    leaving += new;
                }
                Ok(())
            })?;
        }
        Ok((known, leaving))
    }

    /// The snapshot of the last read, and why its changes alone will not do; without such a reason they will.
    fn base(&self, graph: &GraphSource) -> Result<(Option<Snapshot>, Option<String>)> {
        if !graph.delta {
            return Ok((None, None));
        }
        let named = self.ledger.as_ref().map(Ledger::delta_base).transpose()?.flatten();
        let found = match &named {
            Some(base) => baseline::open(&self.state.snapshot_named(&base.folder))?,
            None => None,
        };
        let doubt = baseline::doubt(&baseline::Facts {
            full: self.options.full,
            now: self.as_of,
            full_every: graph.full_every,
            base: named.as_ref(),
            found: found.as_ref(),
            unknown_newer: self.has_unknown_snapshot(named.as_ref())?,
        });
        Ok((found, doubt))
    }

    /// Whether a snapshot newer than the base is there that no run in the ledger's history made.
    fn has_unknown_snapshot(&self, base: Option<&Base>) -> Result<bool> {
        let (Some(ledger), Some(base)) = (&self.ledger, base) else { return Ok(false) };
        let known: BTreeSet<String> =
            ledger.runs(u32::MAX)?.iter().map(|run| State::snapshot_name(run.as_of)).collect();
        Ok(self.state.snapshot_names().into_iter().any(|name| name > base.folder && !known.contains(&name)))
    }

    /// From here on the next read begins at this snapshot. Not after a dry run, and not after a trial, whose selection
    /// may be another.
    fn move_base(&mut self, graph: &GraphSource, snapshot: &Snapshot, old: Option<&Snapshot>) -> Result<()> {
        let Some(ledger) = self.ledger.as_mut().filter(|_| !self.options.dry_run) else { return Ok(()) };
        if !graph.delta || !self.options.trial.is_everything() || !baseline::supersedes(snapshot, old) {
            return Ok(());
        }
        if let Some(base) = baseline::base_of(snapshot) {
            crash::point("snapshot confirmed, not yet the base");
            ledger.set_delta_base(&base)?;
            crash::point("snapshot is the base");
        }
        Ok(())
    }

    fn read_folder(&self, folder: &Path) -> Result<Read> {
        let snapshot = Snapshot::open(folder)?;
        refuse_other_tenant(&snapshot, &self.identity.tenant, folder)?;
        Ok(Read { snapshot, requests: 0, _temporary: None })
    }

    /// Ids that owned records depend on, or that somebody asks about, and that the read did not return.
    fn missing(&self, snapshot: &Snapshot) -> Result<Vec<(Collection, Guid)>> {
        let used = || OBJECTS.into_iter().filter(|collection| self.job.catalog.uses(*collection));
        let nowhere = |id: &&Guid| !used().any(|collection| snapshot.objects(collection).contains(**id));
        let asked = self.asked_about.iter().filter(nowhere);
        let mut missing: BTreeSet<_> = asked.flat_map(|id| used().map(|collection| (collection, *id))).collect();
        let Some(ledger) = &self.ledger else { return Ok(missing.into_iter().collect()) };
        let mut lists: BTreeMap<Collection, Members> = BTreeMap::new();
        for mapping in &self.job.mappings {
            let lists = match lists.entry(mapping.source.pairs().map_or(mapping.source, |pairs| pairs.lists)) {
                Entry::Occupied(read) => read.into_mut(),
                Entry::Vacant(new) => new.insert(snapshot.lists(mapping.source)?),
            };
            ledger.keys(&mapping.target, &mut |row, _| {
                scope::missing(snapshot, lists, &self.job.catalog, mapping, &row.key, &mut missing);
                Ok(())
            })?;
        }
        Ok(missing.into_iter().collect())
    }

    /// Compares and builds the plan. Writes nothing.
    pub async fn plan(&self, target: &dyn Target, snapshot: &Snapshot) -> Result<Plan> {
        self.plan_before(target, snapshot, None).await
    }

    /// [`Session::plan`], before the eyes of an inquiry, which changes nothing.
    pub async fn plan_before(
        &self,
        target: &dyn Target,
        snapshot: &Snapshot,
        mut inquiry: Option<&mut Inquiry>,
    ) -> Result<Plan> {
        let step = Step::begin("open");
        let directory = Directory::open(snapshot, &self.job.catalog, self.as_of)?;
        step.end("");
        let approved = Approved::new(self.approvals.iter().map(|(_, approval)| approval));
        let judge = Judge::new(&self.job, &directory, &approved);
        let step = Step::begin("judge");
        let sources = self.sources(&directory, &judge)?;
        if let Some(inquiry) = &mut inquiry {
            inquiry.look(&self.job, &directory, &judge)?;
        }
        step.end("");
        let policies = self.policies(target).await?;
        let found = Found::read(&self.job, target).await?;
        let mut types = Vec::with_capacity(policies.len());
        for policy in &policies {
            let step = Step::begin("map");
            let desired = sides::desired(&self.job, &directory, &judge, policy, Against { target, found: &found })?;
            step.end(&policy.spec.name);
            let step = Step::begin("target");
            let current = sides::current(target, policy, self.ledger.as_ref()).await?;
            step.end(&policy.spec.name);
            if let Some(reason) = current.coverage.gap() {
                let name = &policy.spec.name;
                tracing::warn!("{name} was not read completely in the target: {reason}; what is not seen of it waits");
            }
            let holders = self.holders(target, policy, &desired, &judge).await?;
            types.push(TypeInput {
                policy: policy.clone(),
                desired,
                current,
                holders,
                ids_are_keys: target.capabilities().ids_are_keys,
            });
        }
        let nothing_refused = BTreeMap::new();
        let inputs = Inputs {
            header: self.header(snapshot, &sources)?,
            times: Times { as_of: self.as_of, source_as_of: snapshot.as_of() },
            limits: &self.job.limits,
            collections: self.collections(&sources)?,
            approved: approved.clone(),
            orphans: self.orphans()?,
            rows: &LedgerRows(self.ledger.as_ref()),
            states: &judge,
            refused: if self.options.retry_rejected { &nothing_refused } else { &self.refusals },
            only: trial::keys(&self.options.trial, &self.job, &directory)?,
            witness: inquiry.as_deref().map(|inquiry| &inquiry.witness),
        };
        let step = Step::begin("compare");
        let mut plan = build(inputs, types)?;
        step.end("");
        let step = Step::begin("identify");
        file::identify(&mut plan)?;
        step.end("");
        Ok(plan)
    }

    /// The types with what the target says of them.
    async fn policies(&self, target: &dyn Target) -> Result<Vec<TypePolicy>> {
        let specs: Vec<_> = self.types.iter().map(|policy| policy.spec.clone()).collect();
        target.prepare(&specs).await?;
        let mut policies = self.types.clone();
        for (policy, spec) in policies.iter_mut().zip(&specs) {
            for (at, attribute) in policy.spec.attributes.iter_mut().enumerate() {
                attribute.unique = target.keeps_unique(spec, at);
            }
        }
        Ok(policies)
    }

    /// What leavers still hold: names of records of types that the job does not make, by the leaver's id in the target;
    /// in words why that is not known.
    async fn holders(
        &self,
        target: &dyn Target,
        policy: &TypePolicy,
        desired: &DesiredSide,
        judge: &Judge<'_>,
    ) -> Result<Result<BTreeMap<String, Vec<String>>, String>> {
        let ty = &policy.spec.name;
        let mut leavers = Vec::new();
        if let Some(ledger) = self.ledger.as_ref().filter(|_| !policy.links) {
            ledger.keys(ty, &mut |row, target_id| {
                let stays = desired.keys.binary_search_by(|desired| desired.key.cmp(&row.key)).is_ok();
                if !stays && row.standing.counts() {
                    let state = judge.state(ty, &row.key, None)?;
                    let leaves =
                        matches!(state, decide::Source::Out(_) | decide::Source::Gone(_) | decide::Source::NotFound);
                    leavers.extend(leaves.then(|| target_id.to_owned()));
                }
                Ok(())
            })?;
        }
        let mut holders: BTreeMap<String, Vec<String>> = BTreeMap::new();
        if !leavers.is_empty() {
            // Records of the job's own types are seen while its plan is made.
            let others = |ty: &String| !self.types.iter().any(|policy| policy.spec.name == *ty);
            let found = match target.holders(&policy.spec, &leavers).await? {
                Ok(found) => found,
                Err(why) => {
                    tracing::warn!("what {ty} that left still hold is not known: {why}; their deletes wait");
                    return Ok(Err(why));
                }
            };
            for holder in found.into_iter().filter(|holder| others(&holder.ty)) {
                holders.entry(holder.of).or_default().push(format!("{} {}", holder.ty, holder.name));
            }
        }
        Ok(Ok(holders))
    }

    /// Plans the reverse of a run. Reads the target; writes nothing.
    pub async fn plan_undo(&mut self, run: RunId, target: &dyn Target) -> Result<Plan> {
        self.undoes = true;
        let nothing = || {
            Error::usage(format!("there is nothing to take back of a run {run} of this job"))
                .cause("it does not exist, it wrote nothing, or what it wrote is no longer kept")
                .hint("`entra-import history JOB` lists the runs, and which of them can be taken back")
        };
        let ledger = self.ledger.as_ref().ok_or_else(nothing)?;
        let written = ledger.types_written(run)?;
        if written.is_empty() {
            return Err(nothing());
        }
        let unknown = written.iter().find(|ty| !self.types.iter().any(|policy| policy.spec.name == **ty));
        if let Some(ty) = unknown {
            return Err(Error::usage(format!("run {run} wrote {ty}, which no mapping of the job makes now"))
                .hint("put the mapping back into the job, take the run back, and take the mapping out again"));
        }
        let mut types = Vec::new();
        for policy in self.policies(target).await?.into_iter().filter(|policy| written.contains(&policy.spec.name)) {
            let current = sides::current(target, &policy, self.ledger.as_ref()).await?;
            types.push((policy, current));
        }
        // The source is not read: snapshots that are applied later stay measured by the last one that was.
        let source_as_of = ledger.last_snapshot_as_of()?.unwrap_or(self.as_of);
        let inputs = undo::Inputs {
            header: Header {
                format: file::FORMAT.into(),
                id: String::new(),
                job: self.identity.job.clone(),
                job_hash: self.job.hash().into(),
                tenant: self.identity.tenant.clone(),
                target: self.identity.target.clone(),
                generation: ledger.generation()?,
                as_of: self.as_of,
                source_as_of,
                preview: None,
                first_run: false,
                sources: Vec::new(),
                types: Vec::new(),
                limits: Vec::new(),
            },
            times: Times { as_of: self.as_of, source_as_of },
            limits: &self.job.limits,
            approved: Approved::new(self.approvals.iter().map(|(_, approval)| approval)),
            rows: &LedgerRows(Some(ledger)),
            history: &WrittenBy(ledger, run),
            run: run.to_string(),
        };
        let mut plan = undo::reverse(inputs, &types)?;
        file::identify(&mut plan)?;
        Ok(plan)
    }

    /// After a run was taken back: what was approved of it is used up, what was approved for the nights is not.
    pub fn use_up_approvals_of(&mut self, plan: &Plan) -> Result<()> {
        let mut touched = BTreeSet::new();
        for change in plan.changes() {
            let change = change?;
            touched.insert((change.ty, change.key));
        }
        let is_of = |approval: &Approval| {
            approval.records.iter().any(|record| touched.contains(&(record.ty.clone(), record.key.clone())))
        };
        let used: Vec<ApprovalId> =
            self.approvals.iter().filter(|(_, approval)| is_of(approval)).map(|(id, _)| *id).collect();
        match (self.ledger.as_mut(), self.run) {
            (Some(ledger), Some(run)) => ledger.use_up(&used, run),
            _ => Ok(()),
        }
    }

    /// Types that the accepted scope made and the job no longer names, with what the ledger owns there.
    fn orphans(&self) -> Result<Vec<Orphan>> {
        let Some(ledger) = &self.ledger else { return Ok(Vec::new()) };
        let named = |ty: &String| self.types.iter().any(|policy| policy.spec.name == *ty);
        let accepted = self.job.accepted.iter().flat_map(|accepted| &accepted.mappings);
        let gone: BTreeSet<String> = accepted.map(|mapping| mapping.target.clone()).filter(|ty| !named(ty)).collect();
        let mut orphans = Vec::new();
        for ty in gone {
            let owned = ledger.count_owned(&ty)?;
            if owned > 0 {
                orphans.push(Orphan { ty, owned });
            }
        }
        Ok(orphans)
    }

    fn header(&self, snapshot: &Snapshot, sources: &[SourceSummary]) -> Result<Header> {
        let last = self.ledger.as_ref().map(Ledger::last_snapshot_as_of).transpose()?.flatten();
        let preview = last.filter(|last| snapshot.as_of() < *last).map(|last| {
            format!(
                "it is made from a snapshot read at {}, older than the one applied last, of {last}",
                snapshot.as_of()
            )
        });
        let history = self.ledger.as_ref().map(|ledger| ledger.runs(u32::MAX)).transpose()?.unwrap_or_default();
        // Trials do not count: what is there has not been looked at as a whole.
        let full = |run: &Run| run.kind != "trial" && run.state == RunState::Finished && run.plan.is_some();
        Ok(Header {
            format: file::FORMAT.into(),
            id: String::new(),
            job: self.identity.job.clone(),
            job_hash: self.job.hash().into(),
            tenant: self.identity.tenant.clone(),
            target: self.identity.target.clone(),
            generation: self.ledger.as_ref().map(Ledger::generation).transpose()?.unwrap_or_default(),
            as_of: self.as_of,
            source_as_of: snapshot.as_of(),
            preview,
            first_run: !history.iter().any(full),
            sources: sources.to_vec(),
            types: Vec::new(),
            limits: Vec::new(),
        })
    }

    /// What was read of every collection the job uses.
    fn sources(&self, directory: &Directory<'_>, judge: &Judge<'_>) -> Result<Vec<SourceSummary>> {
        let used = self.job.catalog.collections().filter(|collection| self.job.catalog.uses(*collection));
        used.map(|collection| {
            let tally = judge.tally(collection)?;
            let (coverage, accepted) = self.coverage(directory, judge, collection);
            Ok(SourceSummary {
                collection,
                coverage,
                accepted,
                how: directory.snapshot().how(collection).clone(),
                read: tally.read,
                in_scope: tally.in_scope,
                filter: self.filter(collection, &tally.effects, directory.snapshot()),
                left_out: tally.left_out,
            })
        })
        .collect()
    }

    /// The scope's filter of a collection with what each of its clauses did, and where.
    fn filter(&self, collection: Collection, effects: &[Effect], snapshot: &Snapshot) -> Option<FilterSummary> {
        let filter = &self.job.scope.filters.get(&collection)?.expr;
        let extent = snapshot.manifest().collections.get(&collection);
        let pushed = extent.and_then(|extent| extent.pushed.as_ref());
        let asked = extent.and_then(Extent::filter);
        let clause = |(clause, effect): (String, &Effect)| ClauseSummary {
            ran: if asked.is_some_and(|asked| asked.clauses.contains(&clause)) { Ran::AtGraph } else { Ran::Here },
            clause,
            dropped: effect.dropped,
            unknown: effect.unknown,
        };
        Some(FilterSummary {
            filter: filter.to_string(),
            clauses: filter.clauses().iter().map(Expr::to_string).zip(effects).map(clause).collect(),
            graph: asked.map(|asked| LeftAtGraph {
                filter: asked.filter.clone(),
                there: asked.total,
                left_out: asked.total.saturating_sub(asked.came),
            }),
            here_because: match pushed {
                Some(Pushed::Nothing(why)) => Some(why.clone()),
                _ => None,
            },
        })
    }

    /// A collection's gap, the gaps of member lists included, and whether the job accepts it.
    fn coverage(&self, directory: &Directory<'_>, judge: &Judge<'_>, collection: Collection) -> (Coverage, bool) {
        let coverage = judge.coverage(collection);
        if let (Coverage::Complete, Some(pairs)) = (&coverage, collection.pairs()) {
            let gaps: Vec<(Guid, &Unknown)> = directory.lists(pairs.lists).missing().collect();
            let Some((first, reason)) = gaps.first() else { return (coverage, false) };
            let accepts = |(of, gap): &(Guid, &Unknown)| {
                is_because_hidden(gap) && self.accepts(AcceptWhat::HiddenMembership, &of.to_string())
            };
            let accepted = gaps.iter().all(accepts);
            let (list, of) = match pairs.lists {
                Collection::Memberships => ("member list", "group".to_owned()),
                lists => ("list", format!("{lists}")),
            };
            let words = match gaps.len() {
                1 => format!("the {list} of {of} {first} is incomplete: {reason}"),
                n => format!("{n} {list}s are incomplete, the first of {of} {first}: {reason}"),
            };
            return (Coverage::partial(words), accepted);
        }
        let coverage = match (coverage, directory.snapshot().unreadable(collection).iter().next()) {
            (Coverage::Complete, Some((property, reason))) => {
                Coverage::partial(format!("{property} cannot be read: {reason}"))
            }
            (coverage, _) => coverage,
        };
        let accepted = !coverage.is_complete() && self.accepts(AcceptWhat::Collection, collection.name());
        (coverage, accepted)
    }

    fn accepts(&self, what: AcceptWhat, id: &str) -> bool {
        let today = self.as_of.to_zoned(jiff::tz::TimeZone::UTC).date();
        let fits =
            |accept: &Accept| accept.what == what && accept.id == id && accept.until.is_none_or(|until| today <= until);
        self.job.accept.iter().any(fits)
    }

    fn collections(&self, sources: &[SourceSummary]) -> Result<Vec<CollectionBase>> {
        let before = self.ledger.as_ref().map(Ledger::last_good_run).transpose()?.flatten();
        let base = |source: &SourceSummary| CollectionBase {
            collection: source.collection,
            now: source.coverage.is_complete().then_some(source.there()),
            before: before.as_ref().and_then(|run| run.counts.get(&source.collection).copied()),
        };
        Ok(sources.iter().map(base).collect())
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

    /// The end of a dry run: shows the plan, saves it where asked, and where `approve` finds it if a limit holds it.
    pub fn preview(&mut self, plan: &Plan) -> Result<Exit> {
        if !plan.waiting().is_empty() && plan.header.preview.is_none() {
            self.state.create()?;
            file::save(plan, &self.state.plan(&plan.header.id))?;
        }
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
        to_stdout(|to| self.options.format.plan(plan, &self.view(), to))?;
        let exit = Exit::worst([Exit::Held, self.verdict(plan), self.leave_files(plan, None)]);
        self.end(exit, json!({ "plan": plan.header.id, "held": true }))?;
        Ok(exit)
    }

    /// Saves the plan where `pending` and `approve` find it.
    fn keep(&mut self, plan: &Plan) -> Result<()> {
        let path = self.state.plan(&plan.header.id);
        file::save(plan, &path)?;
        let limits = plan.waiting().into_iter().cloned().collect();
        let held = HeldPlan { plan: plan.header.id.clone(), file: path, as_of: self.as_of, limits };
        let Some(ledger) = self.ledger.as_mut() else { return Ok(()) };
        if !self.undoes {
            // What an older plan showed is shown by this one, or no longer so.
            ledger.release_held()?;
        }
        ledger.hold(&held)
    }

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
        let unknown = plan.header.types.iter().any(|ty| !ty.counts.unknown.is_empty());
        let exit = Exit::worst([self.verdict(plan), applied.exit()]);
        let trial = !self.options.trial.is_everything() || !whole;
        let (Some(ledger), Some(run)) = (self.ledger.as_mut(), self.run) else {
            return Err(Error::failed("a defect: a dry run has nothing to finish"));
        };
        if applied.stopped.is_none() && !trial {
            // Before the accepted scope forgets that there ever was such a type.
            for ty in plan.released() {
                let mut owned = Vec::new();
                ledger.keys(ty, &mut |row, _| {
                    owned.extend(Some(row.key).filter(|_| row.standing.counts()));
                    Ok(())
                })?;
                ledger.write_rows(run, ty, owned.into_iter().map(|key| Ok((key, None))))?;
            }
            let edited_in = self.approvals.iter().any(|(_, approval)| approval.limit == LimitName::FilterEdit);
            // An older scope is forgotten once nothing can be owned under it alone.
            if !waiting && (edited_in || !unknown) {
                ledger.set_accepted_scope(&self.job.accepted_scope_text())?;
            }
            let used: Vec<ApprovalId> = self.approvals.iter().map(|(id, _)| *id).collect();
            ledger.use_up(&used, run)?;
            if !waiting {
                ledger.release_held()?;
            }
            // Per collection its last complete read: one gap that is there every night must not disarm the others.
            let mut counts = ledger.last_good_run()?.map(|run| run.counts).unwrap_or_default();
            let complete = plan.header.sources.iter().filter(|source| source.coverage.is_complete());
            counts.extend(complete.map(|source| (source.collection, source.there())));
            ledger.record_good_run(&GoodRun { as_of: plan.header.source_as_of, counts })?;
        }
        // What was held back is still refused; what was sent and taken, or is not wanted any more, is not.
        let refused_still = |note: &Note| {
            let place = (note.ty.clone(), note.key.clone());
            self.refusals.get(&place).filter(|_| note.kind == NoteKind::Refused).cloned()
        };
        let still = plan.notes().iter().filter_map(refused_still);
        let refusals: Vec<Refusal> = still.chain(applied.refused.iter().cloned()).collect();
        if !(refusals.is_empty() && self.refusals.is_empty()) {
            ledger.set_refusals(&refusals, applied.stopped.is_none() && !trial)?;
        }
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
        to_stdout(|to| {
            // A quiet night is one line; any other says first what a person must look at.
            if exit != Exit::Done && self.options.format == Format::Text {
                report::text::attention(plan, &self.view(), to)?;
            }
            self.options.format.applied(&shown, &self.view(), to)
        })?;
        if let Some(error) = &applied.stopped {
            // What stands beside each change that was not sent is only its first line.
            tracing::error!("{error}");
        }
        let exit = Exit::worst([exit, self.leave_files(plan, Some(&shown))]);
        self.end(exit, json!({ "plan": plan.header.id, "types": applied.types }))?;
        Ok(exit)
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

    /// Refuses a saved plan that is no longer what would be planned: another job, too old, or a target that moved.
    pub async fn refuse_stale(&self, plan: &Plan, target: &dyn Target) -> Result<()> {
        let name = &plan.header.id;
        let stale =
            |why: String| Error::new(Exit::Stale, format!("plan {name} is stale")).cause(why).hint("make a new plan");
        if plan.header.job_hash != self.job.hash() {
            return Err(stale("the job or one of its mappings was edited since".into()));
        }
        let age = self.as_of.duration_since(plan.header.as_of);
        if age > self.job.plan_max_age {
            let (made, max) = (plan.header.as_of, self.job.plan_max_age);
            return Err(stale(format!("it was made at {made}, longer ago than max_age in [limits] allows ({max:#})")));
        }
        for (index, ty) in plan.header.types.iter().enumerate() {
            let Some(policy) = self.types.iter().find(|policy| policy.spec.name == ty.spec.name) else { continue };
            let mut touched: BTreeMap<String, Change> = BTreeMap::new();
            for change in plan.changes_of(index) {
                let change = change?;
                if let Some(id) = change.target_id.clone().filter(|_| change.action.writes()) {
                    touched.insert(id, change);
                }
            }
            let creates = plan.changes_of(index).any(|change| change.is_ok_and(|c| c.action == Action::Create));
            if touched.is_empty() && !creates {
                continue;
            }
            let current = sides::current(target, policy, self.ledger.as_ref()).await?;
            let mut moved = Vec::new();
            for key in &current.keys {
                let Some(change) = touched.remove(&key.id.to_string()) else { continue };
                let record = current.records.get(key.place)?;
                if change.based_on.as_ref().is_some_and(|before| *before != record.fingerprint()) {
                    moved.push(format!("{} was changed{}", change.label, moved_values(policy, &change, &record)));
                }
            }
            moved.extend(touched.into_values().map(|change| format!("{} is no longer there", change.label)));
            if let Some(first) = moved.first() {
                let more = if moved.len() > 1 { format!(", and {} more", moved.len() - 1) } else { String::new() };
                return Err(stale(format!("the target moved since: in {}, {first}{more}", ty.spec.name)));
            }
        }
        Ok(())
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
        scope::label_needs(&mut job.catalog, collection);
    }
    let items: BTreeSet<Collection> = job.mappings.iter().flat_map(Mapping::items).copied().collect();
    items.into_iter().for_each(|collection| scope::label_needs(&mut job.catalog, collection));
}

/// The ledger's rows for the plan; none before the first run.
struct LedgerRows<'a>(Option<&'a Ledger>);

impl Rows for LedgerRows<'_> {
    fn each(&self, ty: &str, each: &mut dyn FnMut(Key, &dyn StoredRow) -> Result<()>) -> Result<()> {
        self.0.map_or(Ok(()), |ledger| ledger.stored_rows(ty, each))
    }

    fn each_key(&self, ty: &str, each: &mut dyn FnMut(OwnedKey, &str) -> Result<()>) -> Result<()> {
        self.0.map_or(Ok(()), |ledger| ledger.keys(ty, each))
    }
}

/// Which of the values that a change is based on are others now, in words; nothing where it is none of these.
fn moved_values(policy: &TypePolicy, change: &Change, record: &Current) -> String {
    let moved = |written: &&AttributeChange| {
        let at = policy.spec.attributes.iter().position(|spec| spec.name == written.name);
        at.and_then(|at| record.values.get(at)).is_some_and(|now| *now != written.before)
    };
    let names: Vec<&str> = change.attributes.iter().filter(moved).map(|written| written.name.as_str()).collect();
    if names.is_empty() { String::new() } else { format!(" ({})", names.join(", ")) }
}

/// What a run wrote, and what became of it.
struct WrittenBy<'a>(&'a Ledger, RunId);

impl History for WrittenBy<'_> {
    fn each(&self, ty: &str, each: &mut dyn FnMut(Key, Done) -> Result<()>) -> Result<()> {
        self.0.written(self.1, ty, each)
    }

    fn row(&self, ty: &str, key: &Key) -> Result<Option<Row>> {
        self.0.row(ty, key)
    }

    fn written_since(&self, ty: &str) -> Result<BTreeSet<Key>> {
        self.0.written_since(self.1, ty)
    }
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

fn chosen_folder(state: &State, choice: &SnapshotChoice) -> Result<PathBuf> {
    match choice {
        SnapshotChoice::Last => state.last_snapshot(),
        SnapshotChoice::Folder(folder) => Ok(folder.clone()),
    }
}

/// Opens the snapshot that was chosen for a job. Takes no lock and looks into no ledger.
pub fn chosen_snapshot(job: &Job, choice: &SnapshotChoice) -> Result<Snapshot> {
    let folder = chosen_folder(&State::of(job), choice)?;
    let snapshot = Snapshot::open(&folder)?;
    if let JobSource::Graph(graph) = &job.source {
        refuse_other_tenant(&snapshot, &graph.tenant, &folder)?;
    }
    Ok(snapshot)
}

/// Where a read goes that is not kept.
pub fn temporary_folder() -> Result<tempfile::TempDir> {
    tempfile::tempdir().failing(|| "cannot create a temporary folder for what is read from Entra".into())
}

fn refuse_other_tenant(snapshot: &Snapshot, tenant: &str, folder: &Path) -> Result<()> {
    if snapshot.tenant() == tenant {
        return Ok(());
    }
    Err(Error::usage(format!("the snapshot in {} is of another tenant", folder.display()))
        .cause(format!("it is of {}, the job is for {tenant}", snapshot.tenant()))
        .hint("name a snapshot of this job's tenant"))
}
