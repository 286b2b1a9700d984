//! Reads members by expansion: many groups on a page, then one list for each group that shows 20.
//!
//! Graph cuts an expanded relationship at 20 and marks nothing, so a group that shows 20 may have more
//! (<https://learn.microsoft.com/graph/query-parameters#expand-parameter>). Hides how the walk is begun while the groups
//! are still being listed, divided by name when it would take long, and how what it does not show is listed instead:
//! refused, ignored or broken off, an expansion costs time, never completeness. Deliberately decides nothing about a
//! list: [`super::members`] does, for this way and the other.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};

use futures::channel::mpsc::{self, UnboundedSender};
use futures::{StreamExt, TryStreamExt};
use serde::Deserialize;

use super::collections::{GROUPS, is_hidden};
use super::graph::{List, Stop};
use super::members::{MemberList, MemberRow, Tally, shown_whole};
use super::objects::{Group, Read};
use super::strategy::{Choice, Memberships, Seen};
use super::units::{Price, units};
use super::{Reader, selection};
use crate::error::Result;
use crate::record::{Collection, Guid};
use crate::snapshot::{Extent, Member, Strategy};

/// So many groups in no particular order tell what the others are like: how many are large, and how their names lie.
const SAMPLE: u64 = 300;
/// Characters of a name that tell where a part begins: enough to tell names apart, short enough for an address.
const BOUND_CHARS: usize = 24;

/// A group as an expansion shows it.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ExpandedGroup {
    id: Guid,
    display_name: Option<String>,
    visibility: Option<String>,
    members: Option<Vec<MemberRow>>,
}

/// One read of all groups and their members.
struct Pass<'p> {
    reader: &'p Reader<'p>,
    wanted: Memberships,
    tally: Tally,
    /// Groups whose lists are to be read.
    lists: UnboundedSender<Group>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Groups that were shown, or are listed.
    seen: HashSet<Guid>,
    /// All groups; none until they have been listed to the end.
    listed: Option<HashSet<Guid>>,
    /// Members that were read before the groups had been listed.
    held: Vec<(Guid, MemberList)>,
    /// Groups shown without members, while no group has shown one.
    empty: Vec<Group>,
    members: u64,
    shown: u64,
    full: u64,
    /// Names of the groups shown so far, until these say how to go on; none where names are not read.
    sample: Option<Vec<String>>,
    /// What they said, before all groups were listed: to divide the rest by these names.
    early: Option<(Choice, Vec<String>)>,
}

/// How one walk over expanded groups ended.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Ended {
    Whole,
    /// Called off.
    Early,
    /// Broken off, or not what was asked for; what it did not show is listed.
    Failed,
}

impl Reader<'_> {
    /// Lists the groups and reads their members, both at the same time. Fails only when the snapshot cannot be
    /// written.
    pub(super) async fn groups_and_members(&self) -> Result<(Option<Read>, Option<Extent>)> {
        if !self.needs.wants(Collection::Groups) {
            return Ok((None, None));
        }
        let mut extent = selection(self.needs, self.rights, &GROUPS);
        if let Some((groups, members)) = self.by_changes(&GROUPS, &mut extent).await? {
            return Ok((Some(groups), members));
        }
        if !self.needs.memberships {
            return Ok((Some(self.objects_in_full(&GROUPS, extent).await?), None));
        }
        let mut wanted = self.source.config.memberships;
        let mut instead = None;
        if wanted == Memberships::Delta {
            match self.by_first_round(&extent).await? {
                Ok((groups, members)) => {
                    members.iter().for_each(log_cost);
                    return Ok((Some(groups), members));
                }
                Err(why) => (wanted, instead) = (Memberships::Auto, Some(why)),
            }
        }
        // Before anything is read: what changes from now on, members too, will be told of next time.
        let link = self.latest(&GROUPS, &extent).await;
        let (lists, waiting) = mpsc::unbounded();
        let named = extent.properties.contains("displayName");
        let state = Mutex::new(State { sample: named.then(Vec::new), ..State::default() });
        let pass = Pass { reader: self, wanted, tally: Tally::new(self), lists, state };
        let pass = &pass;
        let listing = waiting
            .map(|group: Group| async move {
                let list = self.members_of(&group, &pass.tally).await?;
                pass.put(&mut pass.state(), group.id, list)
            })
            .buffer_unordered(self.source.config.in_flight_max.max(1))
            .try_collect::<()>();
        let ((read, mut choice), ()) =
            futures::try_join!(pass.run(self.objects_after(&GROUPS, extent, link)), listing)?;
        if let Some(why) = instead {
            choice.reason = format!("not by delta: {why}; {}", choice.reason);
        }
        let mut members = pass.tally.sum(&read.extent.coverage, Some(choice));
        members.how = read.extent.how.clone();
        log_cost(&members);
        Ok((Some(read), Some(members)))
    }
}

fn log_cost(members: &Extent) {
    if let Some(by) = &members.read_by {
        let (estimate, cost) = (by.estimate.to_string(), by.cost.to_string());
        tracing::info!(strategy = by.strategy.name(), reason = by.reason, estimate, cost, "memberships were read");
    }
}

impl Pass<'_> {
    /// Shows what it can of all groups, which `groups` lists, and has the others' members listed. Ends when nothing more
    /// will be put into `lists`.
    async fn run(&self, groups: impl Future<Output = Result<Read>>) -> Result<(Read, Choice)> {
        let wanted = self.wanted;
        let enough = AtomicBool::new(wanted == Memberships::PerGroup);
        let listing = async {
            let read = groups.await?;
            self.listed(&read.groups)?;
            // Else the walk that is under way goes on to its end.
            let early = self.state().early.as_ref().map(|(choice, _)| choice.clone());
            let choice = early.unwrap_or_else(|| logged(self.seen(&read.groups).choose(wanted)));
            if choice.strategy == Strategy::PerGroup || choice.walks > 1 {
                enough.store(true, Relaxed);
            }
            Ok((read, choice))
        };
        let ((read, mut choice), ended) = futures::try_join!(listing, self.expansion(&enough))?;
        let groups = &read.groups;
        if choice.strategy == Strategy::Expand && ended == Ended::Failed {
            choice = self.seen(groups).choose(Memberships::PerGroup);
            choice.reason = "the expansion of members broke off or was refused".to_owned();
        }
        if choice.strategy == Strategy::Expand && choice.walks > 1 && ended == Ended::Early {
            self.divide(groups, choice.walks).await?;
        }
        self.finish(groups);
        self.lists.close_channel();
        Ok((read, choice))
    }

    /// Walks over expanded groups while these are still being listed: alone, until the first of them show that many
    /// walks will do better, then side by side.
    async fn expansion(&self, enough: &AtomicBool) -> Result<Ended> {
        if enough.load(Relaxed) {
            return Ok(Ended::Early);
        }
        let ended = self.walk(None, u64::MAX, enough).await?;
        let early = self.state().early.clone();
        let Some((choice, names)) = early.filter(|_| ended == Ended::Early) else { return Ok(ended) };
        let parts = parts(names.iter().map(String::as_str), choice.walks);
        let whole = self.side_by_side(parts, choice.groups).await?;
        Ok(if whole { Ended::Whole } else { Ended::Early })
    }

    /// Takes the name of one more group. Decides as soon as enough were shown and all were counted; only to divide what
    /// is left, since calling the expansion off is worth waiting for the real sizes. Names that come in order say nothing
    /// of those to come.
    fn decide_early(&self, name: Option<String>) -> bool {
        let counted = self.reader.counts.known(Collection::Groups);
        let mut state = self.state();
        if let Some(sample) = &mut state.sample {
            sample.extend(name);
        }
        let Some(groups) = counted else { return false };
        if state.listed.is_some() || state.shown < SAMPLE {
            return false;
        }
        let Some(names) = state.sample.take().filter(|names| !names.is_sorted()) else { return false };
        let divisible = names.len() as u64 * 10 >= state.shown * 9;
        let choice = self.sizes(&state, groups, divisible).choose(self.wanted);
        let divides = choice.strategy == Strategy::Expand && choice.walks > 1;
        state.early = divides.then(|| (logged(choice), names));
        divides
    }

    /// Divides the groups that no walk has shown yet; if that does not work, walks over all of them once more.
    async fn divide(&self, groups: &[Group], walks: u64) -> Result<()> {
        let left = self.unseen(groups);
        if left.is_empty() {
            return Ok(());
        }
        let parts = parts(left.iter().filter_map(|group| group.name.as_deref()), walks);
        let whole = self.side_by_side(parts, groups.len() as u64).await?;
        let left = self.unseen(groups).len();
        if left > 0 && !whole {
            tracing::info!(left, "groups cannot be divided by name: they are read in one walk");
            self.walk(None, u64::MAX, &AtomicBool::new(false)).await?;
        }
        Ok(())
    }

    /// Walks over parts of so many groups; tells whether each came to its end.
    async fn side_by_side(&self, parts: Vec<Option<String>>, groups: u64) -> Result<bool> {
        // Twice what is expected: names sort differently there, and groups seen before are shown again.
        let most = 2 * groups / parts.len() as u64 + 1_000;
        let walks = parts.len();
        let ended: Vec<Ended> = futures::stream::iter(parts)
            .map(|part| async move { self.walk(part.as_deref(), most, &AtomicBool::new(false)).await })
            .buffer_unordered(walks)
            .try_collect()
            .await?;
        Ok(ended.iter().all(|ended| *ended == Ended::Whole))
    }

    /// Walks over expanded groups, those that `filter` lets through, until `enough`.
    async fn walk(&self, filter: Option<&str>, groups_max: u64, enough: &AtomicBool) -> Result<Ended> {
        let graph = self.reader.graph();
        let sample = filter.is_none() && self.state().sample.is_some();
        let select = if sample { "$select=id,visibility,displayName" } else { "$select=id,visibility" };
        let mut query = vec![select.to_owned(), "$expand=members($select=id)".to_owned()];
        query.extend(GROUPS.page_size_max.map(|size| format!("$top={size}")));
        query.extend(filter.map(|filter| format!("$filter={filter}")));
        let (rows, useless) = (AtomicU64::new(0), AtomicBool::new(false));
        let list = List {
            units: units(Price::Other, true),
            enough: Some(enough),
            pages: Some(&self.tally.walk_pages),
            ..List::new(&graph.lane, graph.url(GROUPS.path, &query))
        };
        let take = |row: ExpandedGroup, _: &str| {
            // What ignores $expand, or the filter, is of no use.
            if row.members.is_none() || rows.fetch_add(1, Relaxed) >= groups_max {
                useless.store(true, Relaxed);
                enough.store(true, Relaxed);
            }
            let name = row.display_name.clone();
            let new = self.show(row)?;
            if sample && new && self.decide_early(name) {
                enough.store(true, Relaxed);
            }
            Ok(new)
        };
        let walk = graph.walk_list(list, take).await;
        self.tally.add(&walk);
        match walk.stop {
            Some(Stop::Local(error)) => Err(error),
            Some(stop) => {
                tracing::info!(reason = %stop, "an expansion of members broke off: what it did not show is listed");
                Ok(Ended::Failed)
            }
            None if useless.into_inner() => {
                tracing::info!(filter, "an expansion of members is not what was asked for");
                Ok(Ended::Failed)
            }
            None if enough.load(Relaxed) => Ok(Ended::Early),
            None => Ok(Ended::Whole),
        }
    }

    /// Takes one group; tells whether it was new.
    fn show(&self, row: ExpandedGroup) -> Result<bool> {
        let mut state = self.state();
        if !state.seen.insert(row.id) {
            return Ok(false);
        }
        state.shown += 1;
        let group = Group { id: row.id, hidden: is_hidden(row.visibility.as_deref()), name: None };
        let Some(members) = shown_whole(row.members.as_deref()).filter(|_| self.reader.may_see_members(&group)) else {
            state.full += 1;
            self.list(group);
            return Ok(true);
        };
        if members.is_empty() && state.members == 0 {
            state.empty.push(group);
            return Ok(true);
        }
        state.members += members.len() as u64;
        for empty in std::mem::take(&mut state.empty) {
            self.put_whole(&mut state, &empty, Vec::new())?;
        }
        self.put_whole(&mut state, &group, members)?;
        Ok(true)
    }

    fn put_whole(&self, state: &mut State, group: &Group, members: Vec<Member>) -> Result<()> {
        let gap = self.reader.gap_of_whole(group, &members);
        self.put(state, group.id, MemberList { members, gap, vanished: false })
    }

    /// Writes the members of a group down, unless it is not among those listed; holds them while that is not known.
    fn put(&self, state: &mut State, group: Guid, list: MemberList) -> Result<()> {
        match &state.listed {
            None => state.held.push((group, list)),
            Some(listed) if listed.contains(&group) => {
                list.write(self.reader.writer, Collection::Memberships, group)?;
                let done = self.reader.writer.count(Collection::Memberships);
                self.reader.tell(Collection::Memberships, done, Some(listed.len() as u64));
            }
            // Made since the groups were listed: the next read has it.
            Some(_) => {}
        }
        Ok(())
    }

    /// The groups are known: writes down what was held.
    fn listed(&self, groups: &[Group]) -> Result<()> {
        let mut state = self.state();
        state.listed = Some(groups.iter().map(|group| group.id).collect());
        for (group, list) in std::mem::take(&mut state.held) {
            self.put(&mut state, group, list)?;
        }
        Ok(())
    }

    /// Has every group listed that was not shown, and those shown empty where no group showed a member: that is not
    /// believed.
    fn finish(&self, groups: &[Group]) {
        let mut state = self.state();
        for group in groups.iter().filter(|group| !state.seen.contains(&group.id)) {
            self.list(group.clone());
        }
        for group in std::mem::take(&mut state.empty) {
            self.list(group);
        }
    }

    fn list(&self, group: Group) {
        // It fails only when reading lists has failed, and then so does the whole.
        let _ = self.lists.unbounded_send(group);
    }

    fn unseen<'g>(&self, groups: &'g [Group]) -> Vec<&'g Group> {
        let state = self.state();
        groups.iter().filter(|group| !state.seen.contains(&group.id)).collect()
    }

    fn seen(&self, groups: &[Group]) -> Seen {
        let unseen = self.unseen(groups);
        let named = unseen.iter().filter(|group| group.name.is_some()).count();
        let divisible = named * 10 >= unseen.len() * 9 && named > 0;
        self.sizes(&self.state(), groups.len() as u64, divisible)
    }

    fn sizes(&self, state: &State, groups: u64, divisible: bool) -> Seen {
        Seen {
            groups,
            shown: state.shown,
            full: state.full,
            pages: self.tally.walk_pages.load(Relaxed),
            page_s: self.tally.page_s(),
            units_per_s: self.reader.graph().lane.pace().units_per_s,
            divisible,
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Every change is whole before the lock is given back, so a panic elsewhere does not spoil it.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn logged(choice: Choice) -> Choice {
    let Choice { strategy, reason, estimate, walks, .. } = &choice;
    let (requests, units) = (estimate.requests, estimate.units);
    tracing::debug!(strategy = strategy.name(), walks, reason, requests, units, "memberships");
    choice
}

/// Filters that divide all groups into `count` parts of about equal size, by the names of some. Neighbours share their
/// bound, and each name is not below a bound or not above it, however the service sorts: so each is in some part.
fn parts<'n>(names: impl Iterator<Item = &'n str>, count: u64) -> Vec<Option<String>> {
    let mut names: Vec<String> = names.map(str::to_lowercase).collect();
    names.sort_unstable();
    let count = count as usize;
    let mut bounds: Vec<String> = (1..count)
        .filter_map(|part| names.get(names.len() * part / count))
        .map(|name| name.chars().take(BOUND_CHARS).collect::<String>().trim_end().to_owned())
        .collect();
    bounds.dedup();
    bounds.retain(|bound| !bound.is_empty());
    let literal = |bound: &String| {
        let quoted = bound.replace('\'', "''");
        url::form_urlencoded::byte_serialize(quoted.as_bytes()).collect::<String>().replace('+', "%20")
    };
    let clause = |operator: &str, bound: &String| format!("displayName%20{operator}%20'{}'", literal(bound));
    let lower = std::iter::once(None).chain(bounds.iter().map(Some));
    let upper = bounds.iter().map(Some).chain(std::iter::once(None));
    lower
        .zip(upper)
        .map(|(lower, upper)| match (lower, upper) {
            (None, None) => None,
            (Some(lower), None) => Some(clause("ge", lower)),
            (None, Some(upper)) => Some(clause("le", upper)),
            (Some(lower), Some(upper)) => Some(format!("{}%20and%20{}", clause("ge", lower), clause("le", upper))),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(json: &str) -> Option<Vec<Member>> {
        shown_whole(serde_json::from_str::<ExpandedGroup>(json).unwrap().members.as_deref())
    }

    #[test]
    fn only_fewer_than_twenty_of_known_kinds_are_all() {
        let id = |n: usize| format!("00000000-0000-4000-8000-{n:012}");
        let group = |members: Vec<String>| format!(r#"{{"id":"{}","members":[{}]}}"#, id(0), members.join(","));
        let member = |n| format!(r##"{{"@odata.type":"#microsoft.graph.user","id":"{}"}}"##, id(n));
        assert_eq!(row(&group(Vec::new())), Some(Vec::new()));
        assert_eq!(row(&group((1..20).map(member).collect())).map(|members| members.len()), Some(19));
        assert_eq!(row(&group((1..21).map(member).collect())), None, "20 may be more");
        assert_eq!(row(&group((1..31).map(member).collect())), None, "nor is any other limit trusted");
        assert_eq!(row(&group(vec![format!(r#"{{"id":"{}"}}"#, id(1))])), None, "without a type");
        assert_eq!(row(&format!(r#"{{"id":"{}"}}"#, id(0))), None, "the expansion was ignored");
    }

    #[test]
    fn parts_cover_every_name_however_it_sorts() {
        let names: Vec<String> = (0..100).map(|n| format!("Grüppe & Co's {n:02}")).collect();
        let parts = parts(names.iter().map(String::as_str), 4);
        assert_eq!(parts.len(), 4);
        assert_eq!(parts[0].as_deref(), Some("displayName%20le%20'gr%C3%BCppe%20%26%20co%27%27s%2025'"));
        assert!(parts[1].as_deref().unwrap().starts_with("displayName%20ge%20'gr%C3%BCppe%20%26%20co%27%27s%2025'"));
        assert!(parts[3].as_deref().unwrap().starts_with("displayName%20ge%20"));
    }

    #[test]
    fn names_that_are_all_alike_are_one_part() {
        let count = |names: &[&str]| parts(names.iter().copied(), 8).len();
        assert_eq!(count(&[]), 1);
        assert_eq!(count(&["", " "]), 1);
        assert_eq!(count(&["All", "all", "ALL", "all"]), 2, "the same bound from both sides");
    }
}
