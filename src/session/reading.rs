//! What a run reads: Entra, or a snapshot that was read before.
//!
//! Hides which snapshot that is, when its changes alone will do, what of a collection is wanted at all, and which ids are
//! looked up since owned records depend on them or somebody asks about them. Deliberately knows nothing of Graph's
//! addresses and pages: that is [`crate::source`].

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::Session;
use crate::baseline::{self, Base};
use crate::cli::SnapshotChoice;
use crate::crash;
use crate::error::{Context as _, Error, Result};
use crate::job::{GraphSource, Job, Source as JobSource};
use crate::ledger::Ledger;
use crate::lookup::{self, OBJECTS};
use crate::plan::matching::Ownership;
use crate::record::{Collection, Guid, Key};
use crate::scope;
use crate::snapshot::{Members, ReadBy, Snapshot};
use crate::source::{self, Since, Source, SourceNeeds, Wanted, WantedParts};
use crate::state::State;
use crate::step::Step;

/// What was read from the source.
pub struct Read {
    pub snapshot: Snapshot,
    pub requests: u64,
    /// Keeps a dry run's snapshot until it is no longer needed.
    _temporary: Option<tempfile::TempDir>,
}

impl Read {
    /// Which way memberships were read; none when they were not, or not now.
    pub(super) fn memberships(&self) -> Option<ReadBy> {
        let memberships = self.snapshot.manifest().collections.get(&Collection::Memberships)?;
        memberships.read_by.clone().filter(|_| self.requests > 0)
    }
}

impl Session<'_> {
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
