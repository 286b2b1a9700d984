//! Reads what changed since the last snapshot, and lays it over that snapshot; takes the links that make it possible.
//!
//! Hides when changes may be asked for at all, the rounds of pages, the links, and what is checked before the result is
//! believed. Deliberately never fails because of a delta: whatever is in doubt (a link that expired, a chain of pages
//! that broke, a selection that differs, a count that does not fit) leads to a full read of that collection in the same
//! run, with the reason kept in [`Extent::how`]. <https://learn.microsoft.com/graph/delta-query-overview>
//!
//! The same rounds serve a full read of the groups with their members: the first one, over no base, tells everything.
//!
//! A full read by lists asks for its link *before* its first page (`$deltatoken=latest`), so that what changes while it
//! reads is told again next time; being told twice does no harm.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};

use jiff::SignedDuration;
use url::Url;

use super::changes::{Entry, Round, RoundWriter};
use super::collections::{self, GROUPS, HIDDEN_MEMBERS, Resource};
use super::graph::{List, Stop, Walk, read_page};
use super::members::Tally;
use super::objects::{Group, ObjectRow, Read, Why};
use super::strategy::{Choice, Seen};
use super::units::{Price, units};
use super::{Missing, Reader, counts};
use crate::error::{Error, Result};
use crate::http::Request;
use crate::record::{Collection, Guid};
use crate::snapshot::{DeltaLink, DeltaLinks, Extent, How, Member, Members, Snapshot};

/// How long Graph honours a link to changes of directory objects.
/// <https://learn.microsoft.com/graph/delta-query-overview>
const LIFE: SignedDuration = SignedDuration::from_hours(7 * 24);

/// Whether changes may be read instead of everything.
#[derive(Clone, Copy, Debug)]
pub enum Since<'a> {
    /// Everything is read, and nothing is kept for a next time.
    Never,
    /// Everything is read, for this reason; the next read may begin here.
    Full(&'a str),
    /// What changed since this snapshot is read, wherever its links serve.
    Base(&'a Snapshot),
}

/// What delta queries add to one read.
#[derive(Debug)]
pub(super) struct Delta<'a> {
    pub since: Since<'a>,
    links: Mutex<DeltaLinks>,
    doubtful: Mutex<Vec<Missing>>,
}

impl<'a> Delta<'a> {
    pub fn new(since: Since<'a>) -> Delta<'a> {
        Delta { since, links: Mutex::default(), doubtful: Mutex::default() }
    }

    /// Where the next read may begin, and what must be looked up before this one is believed.
    pub fn finish(self) -> (DeltaLinks, Vec<Missing>) {
        let links = self.links.into_inner().unwrap_or_else(PoisonError::into_inner);
        (links, self.doubtful.into_inner().unwrap_or_else(PoisonError::into_inner))
    }

    /// Keeps a link for the next read, if there will be one by changes.
    pub fn keep(&self, collection: Collection, link: DeltaLink) {
        if matches!(self.since, Since::Never) {
            return;
        }
        self.links.lock().unwrap_or_else(PoisonError::into_inner).0.insert(collection, link);
    }

    /// Notes objects that only a lookup by id settles.
    pub fn doubt(&self, collection: Collection, ids: impl IntoIterator<Item = Guid>) {
        let mut doubtful = self.doubtful.lock().unwrap_or_else(PoisonError::into_inner);
        doubtful.extend(ids.into_iter().map(|id| (collection, id)));
    }
}

/// Whether Graph has a delta query for it that this program uses.
fn has_delta(collection: Collection) -> bool {
    matches!(collection, Collection::Users | Collection::Groups | Collection::Devices)
}

/// A property whose changes a delta query does not tell: kept outside the directory, or worked out by another service.
/// A collection of which such a property is needed is read by its list each night, which costs no more requests than
/// reading that one property would. <https://learn.microsoft.com/graph/delta-query-overview>
fn is_untracked(property: &str) -> bool {
    const COMPUTED: [&str; 3] = ["licenseAssignmentStates", "licenseProcessingState", "hasMembersWithLicenseErrors"];
    collections::is_guarded(property) || COMPUTED.contains(&property)
}

/// What was read by changes, or why that did not do.
type Outcome = Result<(Read, Option<Extent>), String>;

/// A round that came to its end.
struct Told {
    round: Round,
    walk: Walk,
    /// What reading members came to so far. A first round brings them all; of a later one its pages count for the groups.
    tally: Tally,
    /// Of a first round.
    choice: Option<Choice>,
}

impl<'a> Reader<'a> {
    /// Reads a collection (groups with their members, if these are needed) by its changes. None when it must be read in
    /// full, with the reason in `extent`.
    pub(super) async fn by_changes(
        &self,
        resource: &'static Resource,
        extent: &mut Extent,
    ) -> Result<Option<(Read, Option<Extent>)>> {
        if !has_delta(resource.collection) {
            return Ok(None);
        }
        let why = match self.delta.since {
            Since::Never => return Ok(None),
            Since::Full(why) => why.to_owned(),
            Since::Base(base) => match self.usable(base, resource, extent) {
                Ok(first) => match self.round(resource, extent.clone(), Some(base), first).await? {
                    Ok(read) => return Ok(Some(read)),
                    Err(why) => {
                        tracing::info!(collection = %resource.collection, why, "reading in full after all");
                        self.writer.restart(resource.collection)?;
                        why
                    }
                },
                Err(why) => why,
            },
        };
        extent.how = How::Full(Some(why));
        Ok(None)
    }

    /// Reads the groups with their members by the first round of a delta query, or says why that did not do; nothing is
    /// written then.
    pub(super) async fn by_first_round(&self, extent: &Extent) -> Result<Outcome> {
        if let Some(property) = extent.properties.iter().find(|property| is_untracked(property)) {
            return Ok(Err(format!("{property} comes with no delta query")));
        }
        let outcome = self.round(&GROUPS, extent.clone(), None, self.first_round(&GROUPS, extent, &[])).await?;
        if let Err(why) = &outcome {
            tracing::info!(why, "groups and members are read another way after all");
            self.writer.restart(Collection::Groups)?;
        }
        Ok(outcome)
    }

    /// Asks for a link to the changes from now on. None where Graph gives none; the read does without.
    pub(super) async fn latest(&self, resource: &Resource, extent: &Extent) -> Option<DeltaLink> {
        let collection = resource.collection;
        let wanted = !matches!(self.delta.since, Since::Never) && has_delta(collection);
        if !wanted || extent.properties.iter().any(|property| is_untracked(property)) {
            return None;
        }
        let graph = self.graph();
        let taken = graph.clock.now();
        let url = self.first_round(resource, extent, &["$deltatoken=latest"]);
        match graph.fetch(&graph.lane, Request::get(url).units(units(Price::Other, false)), read_page).await {
            Ok(page) => page.delta.map(|url| DeltaLink { url, taken }),
            Err(stop) => {
                tracing::info!(%collection, reason = %stop, "no delta link: the next read will be a full one, too");
                None
            }
        }
    }

    fn first_round(&self, resource: &Resource, extent: &Extent, more: &[&str]) -> Url {
        let mut names: Vec<&str> = extent.properties.iter().map(String::as_str).collect();
        if resource.collection == Collection::Groups && self.needs.memberships {
            names.push("members");
        }
        let mut query = vec![format!("$select={}", names.join(","))];
        query.extend(more.iter().map(|option| (*option).to_owned()));
        self.graph().url(&format!("{}/delta", resource.path), &query)
    }

    /// Where the changes begin, if they and the base are all that a full read would tell; else why not.
    fn usable(&self, base: &Snapshot, resource: &Resource, extent: &Extent) -> Result<Url, String> {
        let collection = resource.collection;
        if let Some(property) = extent.properties.iter().find(|property| is_untracked(property)) {
            return Err(format!("changes of {property} are in no delta query"));
        }
        let manifest = base.manifest();
        let Some(before) = manifest.collections.get(&collection) else {
            return Err("it was not read last time".into());
        };
        if before.properties != extent.properties || !before.unreadable.keys().eq(extent.unreadable.keys()) {
            return Err("other properties are needed than last time".into());
        }
        if self.rights.0.clone().unwrap_or_default() != manifest.roles {
            return Err("the app has other permissions than last time".into());
        }
        let with_members = manifest.collections.contains_key(&Collection::Memberships);
        if collection == Collection::Groups && with_members != self.needs.memberships {
            return Err("members are needed that were not read last time, or the other way round".into());
        }
        let Some(link) = manifest.links.0.get(&collection) else {
            return Err("the last read kept no delta link for it".into());
        };
        let age = self.graph().clock.now().duration_since(link.taken);
        if age >= LIFE || age.is_negative() {
            return Err(format!("the delta link is of {:.0}, and Graph honours one for 7 days", link.taken));
        }
        Url::parse(&link.url).map_err(|_| "the delta link is no address".into())
    }

    /// Reads all pages of one round, lays them over the base (of a first round there is none), and keeps the link to the
    /// next round.
    async fn round(
        &self,
        resource: &'static Resource,
        extent: Extent,
        base: Option<&Snapshot>,
        first: Url,
    ) -> Result<Outcome> {
        let graph = self.graph();
        let taken = graph.clock.now();
        let mut writer = RoundWriter::new()?;
        let tally = Tally::new(self);
        // What the first page with anything on it showed, and how long a page took until then.
        let (pages, mut first_page, mut shown, mut page_s) = (AtomicU64::new(0), None, 0, 0.0);
        let take = |entry: Entry, text: &str| {
            let page = pages.load(Relaxed);
            if *first_page.get_or_insert(page) == page {
                shown += 1;
                page_s = tally.seconds() / page.max(1) as f64;
            }
            writer.take(entry, text)
        };
        let list = List { units: units(Price::Other, false), pages: Some(&pages), ..List::new(&graph.lane, first) };
        let mut walk = graph.walk_list(list, take).await;
        let link = match (walk.stop.take(), walk.delta.take()) {
            (Some(Stop::Local(error)), _) => return Err(error),
            (Some(stop), _) => return Ok(Err(broken(&stop))),
            (None, _) if walk.unreadable > 0 => {
                return Ok(Err(format!("{} changes could not be read", walk.unreadable)));
            }
            (None, None) => return Ok(Err("the changes ended without a link to the next ones".into())),
            (None, Some(url)) => DeltaLink { url, taken },
        };
        let round = writer.finish()?;
        if round.untyped > 0 {
            return Ok(Err(format!("{} members came without a type", round.untyped)));
        }
        let choice = base.is_none().then(|| {
            tally.add(&walk);
            let (groups, units_per_s) = (round.len() as u64, graph.lane.pace().units_per_s);
            Seen { groups, shown, full: 0, pages: 1, page_s, units_per_s, divisible: false }.by_delta()
        });
        let outcome = self.merge(resource, extent, base, Told { round, walk, tally, choice }).await?;
        if outcome.is_ok() {
            self.delta.keep(resource.collection, link);
        }
        Ok(outcome)
    }

    /// Writes the base with the changes laid over it. The reason when the result cannot be believed; what was written of
    /// the objects is then to be dropped, members were not written yet.
    async fn merge(
        &self,
        resource: &'static Resource,
        mut extent: Extent,
        base: Option<&Snapshot>,
        told: Told,
    ) -> Result<Outcome> {
        let collection = resource.collection;
        let round = &told.round;
        extent.pages += told.walk.pages;
        extent.requests += told.walk.requests;
        if let Some(base) = base {
            extent.how =
                How::Delta { since: base.as_of(), full: last_full(base, collection), changed: round.len() as u64 };
        }
        let groups = self.write_objects(resource, &extent, base, round)?;
        if let Some(why) = self.count_differs(resource, base.is_none()).await {
            return Ok(Err(why));
        }
        let members = match collection == Collection::Groups && self.needs.memberships {
            true => Some(self.write_members(&groups, base, told, &extent).await?),
            false => None,
        };
        Ok(Ok((Read { resource, extent, why: Why::Complete, groups }, members)))
    }

    /// Writes every object that is left, and notes what must be looked up. Returns the groups, when these are groups.
    fn write_objects(
        &self,
        resource: &Resource,
        extent: &Extent,
        base: Option<&Snapshot>,
        round: &Round,
    ) -> Result<Vec<Group>> {
        let collection = resource.collection;
        let (mut groups, mut doubtful) = (Vec::new(), Vec::new());
        let mut write = |id: Guid, line: &str| -> Result<()> {
            self.writer.object(collection, id, line)?;
            if collection == Collection::Groups {
                let row: ObjectRow = serde_json::from_str(line)
                    .map_err(|cause| Error::failed(format!("group {id} cannot be read")).because(cause))?;
                groups.push(Group { id, hidden: row.hides_members(), name: None });
            }
            self.progress.at(collection, self.writer.count(collection), None);
            Ok(())
        };
        if let Some(base) = base {
            let mut lines = base.objects(collection).iter();
            while let Some((id, line)) = lines.next()? {
                if !round.tells_of(id) {
                    write(id, line)?;
                }
            }
        }
        for id in round.ids() {
            let before = base.map(|base| base.objects(collection).get(id)).transpose()?.flatten();
            let folded = round.fold(id, before.as_deref(), collection, extent)?;
            if folded.doubtful && (before.is_some() || folded.line.is_some()) {
                doubtful.push(id);
            }
            if let Some(line) = folded.line {
                write(id, &line)?;
            }
        }
        self.delta.doubt(collection, doubtful);
        Ok(groups)
    }

    /// Compares with the number that Graph counts; the reason when they differ by more than an index lags behind. A first
    /// round is believed without such a number, as a list is.
    async fn count_differs(&self, resource: &Resource, is_first: bool) -> Option<String> {
        let counted = match self.counted(resource).await {
            Ok(counted) => counted,
            Err(_) if is_first => return None,
            Err(reason) => return Some(format!("its number could not be checked: {reason}")),
        };
        let here = self.writer.count(resource.collection);
        counts::differ(here, counted)
            .then(|| format!("with the changes there would be {here}, but Graph counts {counted}"))
    }

    /// Writes the members of every group. A list that was incomplete, or may be hidden, is read anew.
    async fn write_members(
        &self,
        groups: &[Group],
        base: Option<&Snapshot>,
        told: Told,
        of_groups: &Extent,
    ) -> Result<Extent> {
        let before = base.map(Snapshot::members).transpose()?.unwrap_or_default();
        let mut again = Vec::new();
        for group in groups {
            let members = fold_members(group.id, &before, &told.round);
            let in_doubt = (group.hidden && !self.rights.surely(&[HIDDEN_MEMBERS]))
                || before.gap(group.id).is_some()
                || (before.of(group.id).is_none()
                    && base.is_some_and(|base| base.objects(Collection::Groups).contains(group.id)));
            match in_doubt {
                true => again.push(group.clone()),
                false => self.writer.members(group.id, &members, None)?,
            }
        }
        let mut read = self.members(&again, told.tally, told.choice).await?;
        read.how = of_groups.how.clone();
        Ok(read)
    }
}

fn fold_members(group: Guid, before: &Members, round: &Round) -> Vec<Member> {
    let base = before.of(group).unwrap_or_default();
    if round.tells_of(group) { round.fold_members(group, base) } else { base.to_vec() }
}

/// When the collection was last read in full, on the way that led to this snapshot.
pub fn last_full(snapshot: &Snapshot, collection: Collection) -> jiff::Timestamp {
    match snapshot.manifest().collections.get(&collection).map(|extent| &extent.how) {
        Some(How::Delta { full, .. }) => *full,
        _ => snapshot.as_of(),
    }
}

/// Why a round did not come to its end.
fn broken(stop: &Stop) -> String {
    let code = stop.refusal().and_then(|refusal| refusal.code.as_deref()).unwrap_or_default();
    let status = stop.refusal().map(|refusal| refusal.status());
    match (status, code) {
        (Some(410), _) | (Some(400..=499), "syncStateNotFound" | "resyncRequired" | "Directory_ResyncRequired") => {
            format!("Graph no longer knows the delta link ({stop})")
        }
        _ => format!("the changes could not be read to their end: {stop}"),
    }
}
