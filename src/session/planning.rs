//! From a snapshot to a plan: judge, map, read the target, compare.
//!
//! Hides what of the ledger and of the job a plan is made with, and what its header tells of the sources. Deliberately
//! decides about no record, which is [`crate::plan`]'s, and writes nothing.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use super::Session;
use crate::directory::Directory;
use crate::error::Result;
use crate::explain::Inquiry;
use crate::expr::Expr;
use crate::find::Found;
use crate::ledger::{Ledger, Run, RunState};
use crate::plan::agreed::StoredRow;
use crate::plan::build::{Inputs, Rows, States, TypeInput, build};
use crate::plan::decide::{self, Times, TypePolicy};
use crate::plan::limits::{Approved, CollectionBase, Orphan};
use crate::plan::matching::{DesiredSide, OwnedKey};
use crate::plan::policy::AcceptWhat;
use crate::plan::{ClauseSummary, FilterSummary, Header, LeftAtGraph, Plan, Ran, SourceSummary, file};
use crate::record::{Collection, Coverage, Guid, Key, Unknown};
use crate::scope::{Effect, Judge};
use crate::sides::{self, Against};
use crate::snapshot::{Extent, Pushed, Snapshot};
use crate::source::is_because_hidden;
use crate::step::Step;
use crate::target::{Holders, Target};
use crate::trial;

impl Session<'_> {
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
        let approved = Approved::new(self.approvals_here().map(|(_, approval)| approval));
        let judge = Judge::new(&self.job, &directory, &approved);
        let step = Step::begin("judge");
        let sources = self.sources(&directory, &judge)?;
        if let Some(inquiry) = &mut inquiry {
            inquiry.look(&self.job, &directory, &judge)?;
        }
        step.end("");
        let types = self.both_sides(target, &directory, &judge).await?;
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

    /// Of every type what Entra says it should hold, and what the target does hold.
    async fn both_sides(
        &self,
        target: &dyn Target,
        directory: &Directory<'_>,
        judge: &Judge<'_>,
    ) -> Result<Vec<TypeInput>> {
        let policies = self.policies(target).await?;
        let found = Found::read(&self.job, target).await?;
        let mut types = Vec::with_capacity(policies.len());
        for policy in policies {
            let name = &policy.spec.name;
            let step = Step::begin("map");
            let desired = sides::desired(&self.job, directory, judge, &policy, Against { target, found: &found })?;
            step.end(name);
            let step = Step::begin("target");
            let current = sides::current(target, &policy, self.ledger.as_ref()).await?;
            step.end(name);
            if let Some(reason) = current.coverage.gap() {
                tracing::warn!("{name} was not read completely in the target: {reason}; what is not seen of it waits");
            }
            let holders = self.holders(target, &policy, &desired, judge).await?;
            let ids_are_keys = target.capabilities().ids_are_keys;
            types.push(TypeInput { policy, desired, current, holders, ids_are_keys });
        }
        Ok(types)
    }

    /// The types with what the target says of them.
    pub(super) async fn policies(&self, target: &dyn Target) -> Result<Vec<TypePolicy>> {
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

    /// What leavers still hold: names of records of types that the job does not make, by the leaver's id in the target.
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
                Holders::Told(found) => found,
                Holders::Untold(why) => {
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

    /// What stands above a plan made from this snapshot.
    fn header(&self, snapshot: &Snapshot, sources: &[SourceSummary]) -> Result<Header> {
        let last = self.ledger.as_ref().map(Ledger::last_snapshot_as_of).transpose()?.flatten();
        // A time that has not come yet was read off a clock that was wrong: it says nothing about what is older.
        let preview = last.filter(|last| snapshot.as_of() < *last && *last <= self.as_of).map(|last| {
            format!(
                "it is made from a snapshot read at {:.0}, older than the one applied last, of {last:.0}",
                snapshot.as_of()
            )
        });
        let history = self.ledger.as_ref().map(|ledger| ledger.runs(u32::MAX)).transpose()?.unwrap_or_default();
        // Trials do not count: what is there has not been looked at as a whole.
        let full = |run: &Run| run.kind != "trial" && run.state == RunState::Finished && run.plan.is_some();
        Ok(Header {
            preview,
            first_run: !history.iter().any(full),
            sources: sources.to_vec(),
            ..self.bare_header(snapshot.as_of())?
        })
    }

    /// What the header of every plan of this job says, whatever it is made from.
    pub(super) fn bare_header(&self, source_as_of: Timestamp) -> Result<Header> {
        Ok(Header {
            format: file::FORMAT.into(),
            id: String::new(),
            job: self.identity.job.clone(),
            job_hash: self.job.hash().into(),
            tenant: self.identity.tenant.clone(),
            target: self.identity.target.clone(),
            generation: self.ledger.as_ref().map(Ledger::generation).transpose()?.unwrap_or_default(),
            as_of: self.as_of,
            source_as_of,
            preview: None,
            undoes: None,
            first_run: false,
            sources: Vec::new(),
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

    /// The sizes of the collections, now and after the last good run: what shrinking is told by.
    fn collections(&self, sources: &[SourceSummary]) -> Result<Vec<CollectionBase>> {
        let before = self.ledger.as_ref().map(Ledger::last_good_run).transpose()?.flatten();
        let base = |source: &SourceSummary| CollectionBase {
            collection: source.collection,
            now: source.coverage.is_complete().then_some(source.there()),
            before: before.as_ref().and_then(|run| run.counts.get(&source.collection).copied()),
        };
        Ok(sources.iter().map(base).collect())
    }
}

/// The ledger's rows for the plan; none before the first run.
pub(super) struct LedgerRows<'a>(pub(super) Option<&'a Ledger>);

impl Rows for LedgerRows<'_> {
    fn each(&self, ty: &str, each: &mut dyn FnMut(Key, &dyn StoredRow) -> Result<()>) -> Result<()> {
        self.0.map_or(Ok(()), |ledger| ledger.stored_rows(ty, each))
    }

    fn each_key(&self, ty: &str, each: &mut dyn FnMut(OwnedKey, &str) -> Result<()>) -> Result<()> {
        self.0.map_or(Ok(()), |ledger| ledger.keys(ty, each))
    }
}
