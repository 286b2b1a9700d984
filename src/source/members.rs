//! Reads the direct members of groups, many groups at a time.
//!
//! Hides paging per group and what makes a single list incomplete. Deliberately resolves no nesting and no names: both
//! follow from what is already there. <https://learn.microsoft.com/graph/api/group-list-members?view=graph-rest-1.0>

use std::collections::HashSet;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use futures::{StreamExt, TryStreamExt};
use serde::Deserialize;

use super::Reader;
use super::collections::{GROUPS, HIDDEN_MEMBERS, MEMBERS, Resource};
use super::graph::{List, Stop, Walk};
use super::objects::{Group, denied};
use super::strategy::Choice;
use super::units::{Price, units};
use crate::clock::Clock;
use crate::error::Result;
use crate::http::Request;
use crate::record::{Collection, Coverage, Guid, Unknown};
use crate::snapshot::{Extent, Figures, Manifest, Member, MemberKind, ReadBy, Writer};

/// The most that an expansion shows of a relationship.
/// <https://learn.microsoft.com/graph/known-issues#query-parameters>
const SHOWN_MAX: usize = 20;

/// So many of the objects that were listed may be gone when their own lists are asked for, or so many in a hundred of
/// them. That more vanish within the minutes of a read is not believed.
const VANISHED_MAX: u64 = 10;
const VANISHED_PERCENT_MAX: u64 = 5;

/// What came of one object's list.
#[derive(Debug, Default)]
pub(super) struct MemberList {
    /// Ascending, each once.
    pub members: Vec<Member>,
    /// Why these are not all, or not known to be.
    pub gap: Option<Unknown>,
    /// The gap is that the object itself is gone.
    pub vanished: bool,
}

impl MemberList {
    /// Nothing is known of it.
    pub fn unknown(reason: Unknown) -> MemberList {
        MemberList { gap: Some(reason), ..MemberList::default() }
    }

    /// The object was gone when its list was asked for.
    pub fn vanished() -> MemberList {
        MemberList {
            vanished: true,
            ..MemberList::unknown(Unknown::new("it was gone when its members were asked for"))
        }
    }

    pub fn write(&self, writer: &Writer, collection: Collection, of: Guid) -> Result<()> {
        match &self.gap {
            Some(reason) if self.vanished => writer.vanished(collection, of, reason),
            gap => writer.list(collection, of, &self.members, gap.as_ref()),
        }
    }
}

/// Tells of objects that vanished since `manifest` was last written, and makes a collection partial where these are too
/// many.
pub(super) fn doubt_vanished(manifest: &mut Manifest, writer: &Writer) {
    for (collection, extent) in &mut manifest.collections {
        let (vanished, lists) = (writer.count_vanished(*collection), writer.count(*collection));
        if vanished <= extent.vanished_lists {
            continue;
        }
        tracing::info!(%collection, vanished, "objects were gone when their lists were asked for");
        if vanished > VANISHED_MAX.max(lists * VANISHED_PERCENT_MAX / 100) && extent.coverage.is_complete() {
            let words = "were gone when their lists were asked for: so many do not vanish during one read";
            extent.coverage = Coverage::partial(format!("{vanished} of {lists} objects {words}"));
        }
    }
}

/// An element of a member list. <https://learn.microsoft.com/graph/api/group-list-members?view=graph-rest-1.0>
#[derive(Deserialize)]
pub(super) struct MemberRow {
    id: Guid,
    #[serde(rename = "@odata.type")]
    kind: Option<String>,
}

impl MemberRow {
    /// The member, if Graph named its type: what it is must never be guessed from its properties, which depend on rights.
    pub fn typed(&self) -> Option<Member> {
        self.kind.as_deref().map(|kind| Member { id: self.id, kind: self::kind(kind) })
    }
}

/// What an element is by its `@odata.type`.
pub(super) fn kind(odata_type: &str) -> MemberKind {
    MemberKind::named(odata_type.trim_start_matches("#microsoft.graph."))
}

/// The members that an expansion shows of an object, ascending, if these are surely all and each has a type. Graph cuts
/// an expanded relationship at [`SHOWN_MAX`] and marks nothing.
/// <https://learn.microsoft.com/graph/query-parameters#expand-parameter>
pub(super) fn shown_whole(rows: Option<&[MemberRow]>) -> Option<Vec<Member>> {
    let rows = rows.filter(|rows| rows.len() < SHOWN_MAX)?;
    let mut members = rows.iter().map(MemberRow::typed).collect::<Option<Vec<Member>>>()?;
    members.sort_unstable();
    members.dedup();
    Some(members)
}

/// One list as its rows come, each kept once.
#[derive(Default)]
pub(super) struct Gathered {
    members: HashSet<Member>,
    untyped: HashSet<Guid>,
}

impl Gathered {
    /// Takes one row, and says whether it is one that never came before.
    pub fn take(&mut self, row: &MemberRow) -> bool {
        match row.typed() {
            Some(member) => self.members.insert(member),
            None => self.untyped.insert(row.id),
        }
    }

    /// The members, ascending, and why they are not all although the walk came to its end, if they are not.
    pub fn finish(self, walk: &Walk) -> (Vec<Member>, Option<Unknown>) {
        let mut members: Vec<Member> = self.members.into_iter().collect();
        members.sort_unstable();
        let gap = match (walk.unreadable, self.untyped.len()) {
            (0, 0) => None,
            (0, n) => Some(format!("{n} of its members came without a type")),
            (n, _) => Some(format!("{n} of its members came without a usable id")),
        };
        (members, gap.map(Unknown::new))
    }
}

/// What all reads of members share, and what they came to.
pub(super) struct Tally {
    clock: Clock,
    began: Duration,
    pages: AtomicU64,
    /// Of these, pages that show several groups; counted as they come.
    pub walk_pages: AtomicU64,
    requests: AtomicU64,
    units: AtomicU64,
    /// Why no further group need be asked.
    hopeless: Mutex<Option<Unknown>>,
}

impl Tally {
    pub fn new(reader: &Reader) -> Tally {
        let clock = reader.graph().clock.clone();
        Tally {
            began: clock.elapsed(),
            clock,
            pages: AtomicU64::new(0),
            walk_pages: AtomicU64::new(0),
            requests: AtomicU64::new(0),
            units: AtomicU64::new(0),
            hopeless: Mutex::default(),
        }
    }

    pub fn add(&self, walk: &Walk) {
        self.pages.fetch_add(walk.pages, Relaxed);
        self.requests.fetch_add(walk.requests, Relaxed);
        self.units.fetch_add(walk.units, Relaxed);
    }

    /// Seconds from one page of a walk to the next so far; zero before the first.
    pub fn page_s(&self) -> f64 {
        match self.walk_pages.load(Relaxed) {
            0 => 0.0,
            pages => self.seconds() / pages as f64,
        }
    }

    /// Since it began.
    pub fn seconds(&self) -> f64 {
        self.clock.elapsed().saturating_sub(self.began).as_secs_f64()
    }

    /// What came of it. `of_groups` is how much of the groups themselves came: memberships cannot be more complete
    /// than that.
    pub fn sum(&self, of_groups: &Coverage, choice: Option<Choice>) -> Extent {
        let hopeless = self.hopeless.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let mut extent = Extent::new(match (of_groups.gap(), hopeless) {
            (Some(reason), _) => Coverage::partial(format!("the groups are incomplete: {reason}")),
            (None, Some(reason)) => Coverage::Partial(reason),
            (None, None) => Coverage::Complete,
        });
        extent.properties = ["id".to_owned()].into();
        extent.pages = self.pages.load(Relaxed);
        extent.requests = self.requests.load(Relaxed);
        let cost = Figures::new(extent.requests, self.units.load(Relaxed), self.seconds());
        extent.read_by =
            choice.map(|Choice { strategy, reason, estimate, .. }| ReadBy { strategy, reason, estimate, cost });
        extent
    }
}

impl Reader<'_> {
    /// Reads the members of a few `groups`, each by its list, and sums up: with what `tally` has so far, as the end of
    /// the way that was chosen, if one was.
    pub(super) async fn members(&self, groups: &[Group], tally: Tally, choice: Option<Choice>) -> Result<Extent> {
        let in_flight = self.source.config.in_flight_max.max(1);
        futures::stream::iter(groups)
            .map(|group| async {
                let list = self.members_of(group, &tally).await?;
                list.write(self.writer, Collection::Memberships, group.id)
            })
            .buffer_unordered(in_flight)
            .try_collect::<()>()
            .await?;
        Ok(tally.sum(&Coverage::Complete, choice))
    }

    /// One group's members.
    pub(super) async fn members_of(&self, group: &Group, tally: &Tally) -> Result<MemberList> {
        if !self.may_see_members(group) {
            return Ok(MemberList::unknown(hidden()));
        }
        if let Some(reason) = tally.hopeless.lock().unwrap_or_else(PoisonError::into_inner).clone() {
            return Ok(MemberList::unknown(reason));
        }
        let (mut gathered, mut walk) = self.walk_members(group.id, tally).await;
        if let Some(Stop::Expired(_)) = walk.stop {
            (gathered, walk) = self.walk_members(group.id, tally).await;
        }
        let stop = walk.stop.take();
        let (members, lacking) = gathered.finish(&walk);
        let gap = match stop {
            Some(Stop::Local(error)) => return Err(error),
            Some(stop) if stop.is_not_found() && self.is_gone(&GROUPS, group.id).await => {
                return Ok(MemberList::vanished());
            }
            Some(stop) => Some(self.gap(&stop, walk.pages, tally)),
            None => lacking.or_else(|| self.gap_of_whole(group, &members)),
        };
        Ok(MemberList { members, gap, vanished: false })
    }

    /// Whether an object whose list Graph did not find is not there either: deleted since it was listed, or so new that
    /// not every replica knows it.
    pub(super) async fn is_gone(&self, container: &Resource, id: Guid) -> bool {
        let graph = self.graph();
        let url = graph.url(&format!("{}/{id}", container.path), &["$select=id".to_owned()]);
        let request = Request::get(url).units(units(Price::Other, false));
        let answer = graph.fetch(&graph.lane, request, |_| Ok(())).await;
        answer.is_err_and(|stop| stop.is_not_found())
    }

    /// Whether it is worth asking for a group's members.
    pub(super) fn may_see_members(&self, group: &Group) -> bool {
        !group.hidden || self.rights.any(&[HIDDEN_MEMBERS])
    }

    /// Why a list that came to its end is not known all the same: Graph shows an empty one in place of a hidden one,
    /// and nobody knows what this token may do.
    pub(super) fn gap_of_whole(&self, group: &Group, members: &[Member]) -> Option<Unknown> {
        (group.hidden && members.is_empty() && !self.rights.surely(&[HIDDEN_MEMBERS])).then(hidden)
    }

    async fn walk_members(&self, group: Guid, tally: &Tally) -> (Gathered, Walk) {
        let path = MEMBERS.path.replace("{id}", &group.to_string());
        let mut query = vec!["$select=id".to_owned()];
        query.extend(MEMBERS.page_size_max.map(|size| format!("$top={size}")));
        let mut gathered = Gathered::default();
        let take = |row: MemberRow, _: &str| Ok(gathered.take(&row));
        let graph = self.graph();
        let list = List::new(&graph.lane, graph.url(&path, &query));
        let walk = graph.walk_list(List { units: units(MEMBERS.price, false), bulk: true, ..list }, take).await;
        tally.add(&walk);
        (gathered, walk)
    }

    fn gap(&self, stop: &Stop, pages: u64, tally: &Tally) -> Unknown {
        let refusal = stop.refusal();
        let reason = match refusal.filter(|refusal| matches!(refusal.status(), 401 | 403)) {
            Some(refusal) => {
                format!("the app may not read its members: {}", denied(self.rights, MEMBERS.permissions, refusal))
            }
            None => format!("page {} of its members could not be read: {stop}", pages + 1),
        };
        let reason = Unknown::new(reason);
        if self.is_hopeless(&MEMBERS, stop) {
            *tally.hopeless.lock().unwrap_or_else(PoisonError::into_inner) = Some(reason.clone());
        }
        reason
    }

    /// Whether the list of the next object would fare no better. A 403 where the rights suffice is of that object alone.
    pub(super) fn is_hopeless(&self, resource: &Resource, stop: &Stop) -> bool {
        match stop.refusal().map(|refusal| refusal.status()) {
            Some(401) => true,
            Some(403) => !self.rights.any(resource.permissions),
            _ => stop.is_lost(),
        }
    }
}

/// Why a list that its object hides has a gap.
pub(super) fn hidden() -> Unknown {
    Unknown::new(format!("its membership is hidden; reading it needs the permission {HIDDEN_MEMBERS}"))
}

/// Whether a list has its gap because it is hidden. Snapshots keep reasons as words, so these words are the kind: a job
/// that accepts a hidden list does not accept that it could not be read.
pub fn is_because_hidden(reason: &Unknown) -> bool {
    *reason == hidden()
}
