//! Reads the direct members of groups, many groups at a time.
//!
//! Hides paging per group and what makes a single list incomplete. Deliberately resolves no nesting and no names: both
//! follow from what is already there. <https://learn.microsoft.com/graph/api/group-list-members?view=graph-rest-1.0>

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};

use futures::{StreamExt, TryStreamExt};
use serde::Deserialize;

use super::Reader;
use super::collections::{HIDDEN_MEMBERS, MEMBERS};
use super::graph::{Stop, Walk};
use super::objects::{Group, needed, words};
use super::units::units;
use crate::error::Result;
use crate::record::{Collection, Coverage, Guid, Unknown};
use crate::snapshot::{Extent, Member, MemberKind};

/// What came of all lists together.
#[derive(Debug)]
pub(super) struct MembersRead {
    pub extent: Extent,
    /// Groups gone since they were listed.
    pub vanished: u64,
}

/// An element of a member list. <https://learn.microsoft.com/graph/api/group-list-members?view=graph-rest-1.0>
#[derive(Deserialize)]
pub(super) struct Row {
    id: Guid,
    #[serde(rename = "@odata.type")]
    kind: Option<String>,
}

impl Row {
    /// By the type that Graph names, never by what properties there are: those depend on rights.
    pub fn kind(&self) -> MemberKind {
        kind(self.kind.as_deref())
    }
}

/// What an element is by its `@odata.type`.
pub(super) fn kind(odata_type: Option<&str>) -> MemberKind {
    MemberKind::named(odata_type.unwrap_or_default().trim_start_matches("#microsoft.graph."))
}

/// What the tasks share.
#[derive(Default)]
struct Tally {
    done: AtomicU64,
    pages: AtomicU64,
    requests: AtomicU64,
    vanished: AtomicU64,
    /// Why no further group need be asked.
    hopeless: Mutex<Option<Unknown>>,
}

impl Reader<'_> {
    /// Reads the members of `groups`. `of_groups` is how much of the groups themselves came: memberships cannot be more
    /// complete than that.
    pub(super) async fn members(&self, groups: &[Group], of_groups: &Coverage) -> Result<MembersRead> {
        let tally = Tally::default();
        let total = Some(groups.len() as u64);
        let in_flight = self.source.config.in_flight_max.max(1);
        futures::stream::iter(groups)
            .map(|group| async {
                let (members, gap) = self.members_of(*group, &tally).await?;
                self.writer.members(group.id, &members, gap.as_ref())?;
                self.progress.at(Collection::Memberships, tally.done.fetch_add(1, Relaxed) + 1, total);
                Ok(())
            })
            .buffer_unordered(in_flight)
            .try_collect::<()>()
            .await?;
        let mut extent = Extent::new(match (of_groups.gap(), tally.hopeless.into_inner()) {
            (Some(reason), _) => Coverage::partial(format!("the groups are incomplete: {reason}")),
            (None, Ok(Some(reason))) => Coverage::Partial(reason),
            (None, _) => Coverage::Complete,
        });
        extent.properties = ["id".to_owned()].into();
        extent.pages = tally.pages.into_inner();
        extent.requests = tally.requests.into_inner();
        Ok(MembersRead { extent, vanished: tally.vanished.into_inner() })
    }

    /// One group's members, and why the list is incomplete, if it is.
    async fn members_of(&self, group: Group, tally: &Tally) -> Result<(Vec<Member>, Option<Unknown>)> {
        let hidden =
            || Unknown::new(format!("its membership is hidden; reading it needs the permission {HIDDEN_MEMBERS}"));
        if group.hidden && !self.rights.any(&[HIDDEN_MEMBERS]) {
            return Ok((Vec::new(), Some(hidden())));
        }
        if let Some(reason) = tally.hopeless.lock().unwrap_or_else(PoisonError::into_inner).clone() {
            return Ok((Vec::new(), Some(reason)));
        }
        let (mut members, mut walk) = self.walk_members(group.id, tally).await;
        if let Some(Stop::Expired(_)) = walk.stop {
            (members, walk) = self.walk_members(group.id, tally).await;
        }
        let gap = match walk.stop {
            Some(Stop::Local(error)) => return Err(error),
            Some(stop) => Some(self.gap(&stop, walk.pages, tally)),
            None if walk.unreadable > 0 => {
                Some(Unknown::new(format!("{} of its members came without a usable id", walk.unreadable)))
            }
            // Graph shows an empty list in place of a hidden one, and nobody knows what this token may do.
            None if group.hidden && members.is_empty() && !self.rights.surely(&[HIDDEN_MEMBERS]) => Some(hidden()),
            None => None,
        };
        Ok((members, gap))
    }

    async fn walk_members(&self, group: Guid, tally: &Tally) -> (Vec<Member>, Walk) {
        let path = MEMBERS.path.replace("{id}", &group.to_string());
        let mut query = vec!["$select=id".to_owned()];
        query.extend(MEMBERS.page_size_max.map(|size| format!("$top={size}")));
        let mut members: Vec<Member> = Vec::new();
        let take = |row: Row, _: &str| {
            members.push(Member { id: row.id, kind: row.kind() });
            Ok(true)
        };
        let graph = self.graph();
        let walk = graph.walk(&graph.lane, graph.url(&path, &query), units(MEMBERS.price, false), take).await;
        tally.pages.fetch_add(walk.pages, Relaxed);
        tally.requests.fetch_add(walk.requests, Relaxed);
        members.sort_unstable();
        members.dedup();
        (members, walk)
    }

    fn gap(&self, stop: &Stop, pages: u64, tally: &Tally) -> Unknown {
        let status = stop.refusal().map(|refusal| refusal.status());
        let reason = match (stop.refusal(), status) {
            (_, Some(404)) => {
                tally.vanished.fetch_add(1, Relaxed);
                "the group was gone when its members were asked for".to_owned()
            }
            (Some(refusal), Some(401 | 403)) if !self.rights.any(MEMBERS.permissions) => {
                format!("the app may not read members: {}", needed(&MEMBERS, refusal))
            }
            (Some(refusal), Some(401 | 403)) => format!("the app may not read its members: {}", words(refusal)),
            _ => format!("page {} of its members could not be read: {stop}", pages + 1),
        };
        let reason = Unknown::new(reason);
        let denied = matches!(status, Some(401 | 403)) && !self.rights.any(MEMBERS.permissions);
        if denied || status == Some(401) || stop.is_lost() {
            *tally.hopeless.lock().unwrap_or_else(PoisonError::into_inner) = Some(reason.clone());
        }
        reason
    }
}
