//! Membership through nested groups, worked out over the direct memberships that were read.
//!
//! Hides the graph and how it is walked: every question is one breadth-first walk along the nestings, so that cycles,
//! groups that contain themselves and chains of any length end, and the path that is told is a shortest one. What is
//! not known of one group's list is not known of the groups above it. Deliberately asks Graph nothing
//! (`transitiveMembers` costs a request a group), and keeps nothing that grows with the answers.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use crate::record::{Guid, Unknown};
use crate::snapshot::{Member, MemberKind, Members};

/// The nestings of all groups and the direct groups of everything else, ready to be walked in both directions. Keeps
/// about 24 bytes a membership.
#[derive(Debug)]
pub struct Closure {
    direct: Arc<Members>,
    /// Every group that has a list or is in one, ascending; groups are spoken of by their place here.
    groups: Vec<Guid>,
    /// The groups that a group is a direct member of.
    above: Rows,
    /// The groups that are direct members of a group.
    below: Rows,
    /// Members that are no groups, ascending by id, with a group each is a direct member of, ascending.
    held: Vec<(Member, u32)>,
    /// Groups whose effective members are not all known, with the group whose own list is incomplete.
    doubts: BTreeMap<u32, u32>,
    walker: RefCell<Walker>,
}

impl Closure {
    /// Prepares the graph: linear in memberships, but for sorting them.
    pub fn new(direct: Arc<Members>) -> Closure {
        let members = direct.iter().flat_map(|(_, members)| members);
        let mut groups: Vec<Guid> = members.filter(|member| is_group(member)).map(|member| member.id).collect();
        groups.extend(direct.groups());
        groups.sort_unstable();
        groups.dedup();
        let place: HashMap<Guid, u32> = groups.iter().zip(0..).map(|(group, at)| (*group, at)).collect();
        let mut nestings = Vec::new();
        let mut held = Vec::new();
        for (group, members) in direct.iter() {
            let at = place[&group];
            for member in members {
                match is_group(member) {
                    true => nestings.push((at, place[&member.id])),
                    false => held.push((*member, at)),
                }
            }
        }
        held.sort_unstable_by_key(|(member, group)| (member.id, *group));
        let above = Rows::new(groups.len(), nestings.iter().map(|(parent, child)| (*child, *parent)));
        let below = Rows::new(groups.len(), nestings.into_iter());
        let walker = RefCell::new(Walker { met: vec![0; groups.len()], round: 0 });
        let mut closure = Closure { direct, groups, above, below, held, doubts: BTreeMap::new(), walker };
        closure.doubts = closure.spread_doubt();
        closure
    }

    /// The groups that hold this object, directly or through others, ascending. A group never holds itself, whatever
    /// cycle it is in. Groups of [`Closure::doubtful`] may hold it besides.
    pub fn containing(&self, member: Guid) -> Vec<Guid> {
        let myself = self.groups.binary_search(&member).ok();
        let starts = self.direct_groups(member);
        let mut found: Vec<usize> =
            self.walk(&starts, &self.above, |_| false).iter().map(|(at, _)| *at as usize).collect();
        found.retain(|at| Some(*at) != myself);
        found.sort_unstable();
        found.into_iter().map(|at| self.groups[at]).collect()
    }

    /// Everything that this group holds, directly or through others, ascending by id: groups too, but not itself.
    /// Certain as far as it goes; [`Closure::doubt`] says whether there may be more.
    pub fn contained(&self, group: Guid) -> Vec<Member> {
        let Ok(at) = self.groups.binary_search(&group) else { return Vec::new() };
        let inside = self.walk(&[at as u32], &self.below, |_| false);
        let lists = inside.iter().filter_map(|(at, _)| self.direct.of(self.groups[*at as usize]));
        let mut members: Vec<Member> = lists.flatten().filter(|member| member.id != group).copied().collect();
        members.sort_unstable();
        members.dedup_by_key(|member| member.id);
        members
    }

    /// The groups by which `group` holds `member`: from `group` itself down to the one that it is a direct member of. A
    /// shortest way; of several the first by id. `None` if it is not known to hold it.
    pub fn path(&self, group: Guid, member: Guid) -> Option<Vec<Guid>> {
        let goal = self.groups.binary_search(&group).ok()? as u32;
        let found = self.walk(&self.direct_groups(member), &self.above, |at| at == goal);
        let from: HashMap<u32, u32> = found.into_iter().collect();
        let mut path = Vec::new();
        let mut at = goal;
        loop {
            let next = *from.get(&at)?;
            path.push(self.groups[at as usize]);
            if next == at {
                return Some(path);
            }
            at = next;
        }
    }

    /// Why the effective members of a group are not all known, if they are not.
    pub fn doubt(&self, group: Guid) -> Option<Unknown> {
        let at = self.groups.binary_search(&group).ok()? as u32;
        let origin = *self.doubts.get(&at)?;
        let name = self.groups[origin as usize];
        let reason = match self.direct.gap(name) {
            Some(gap) => gap.clone(),
            None => Unknown::new("its members were not read"),
        };
        Some(if origin == at { reason } else { Unknown::new(format!("of group {name} within it: {reason}")) })
    }

    /// Groups whose effective members are not all known, ascending.
    pub fn doubtful(&self) -> impl Iterator<Item = Guid> + '_ {
        self.doubts.keys().map(|at| self.groups[*at as usize])
    }

    /// The effective members of every group that are no groups themselves, as lists. Members of the same groups share
    /// one walk; the time follows the answer's size and the nestings above each set of groups.
    pub fn effective(&self) -> Members {
        let members: Vec<&[(Member, u32)]> = self.held.chunk_by(|a, b| a.0.id == b.0.id).collect();
        let mut alike: HashMap<Vec<u32>, Vec<Member>> = HashMap::new();
        for rows in members {
            alike.entry(rows.iter().map(|(_, group)| *group).collect()).or_default().push(rows[0].0);
        }
        let mut lists: Vec<Vec<Member>> = vec![Vec::new(); self.groups.len()];
        for (groups, members) in alike {
            for (group, _) in self.walk(&groups, &self.above, |_| false) {
                lists[group as usize].extend(&members);
            }
        }
        let gaps = self.doubtful().filter_map(|group| Some((group, self.doubt(group)?))).collect();
        let vanished: BTreeSet<Guid> = self.direct.vanished().collect();
        // What is not known because of a group that is no more is no loss either, however high above it.
        let mut lost = self.doubts.clone();
        lost.retain(|_, origin| vanished.contains(&self.groups[*origin as usize]));
        let rows = self.groups.iter().copied().zip(lists).map(|(group, mut list)| {
            list.sort_unstable();
            (group, list)
        });
        Members::new(rows, gaps).vanishing(lost.into_keys().map(|at| self.groups[at as usize]))
    }

    /// The places of the groups that an object, group or not, is a direct member of.
    fn direct_groups(&self, member: Guid) -> Vec<u32> {
        if let Ok(group) = self.groups.binary_search(&member) {
            return self.above.of(group as u32).to_vec();
        }
        let start = self.held.partition_point(|(held, _)| held.id < member);
        self.held[start..].iter().take_while(|(held, _)| held.id == member).map(|(_, group)| *group).collect()
    }

    /// Every group that can be reached, each with the one it was reached from (a start with itself), nearest first.
    fn walk(&self, starts: &[u32], along: &Rows, stop: impl Fn(u32) -> bool) -> Vec<(u32, u32)> {
        self.walker.borrow_mut().walk(starts, along, stop)
    }

    /// A group whose own list is incomplete, or was not read, makes every group above it doubtful.
    fn spread_doubt(&self) -> BTreeMap<u32, u32> {
        let incomplete = |at: &u32| {
            let group = self.groups[*at as usize];
            self.direct.gap(group).is_some() || self.direct.of(group).is_none()
        };
        let starts: Vec<u32> = (0..self.groups.len() as u32).filter(incomplete).collect();
        let mut origins = BTreeMap::new();
        for (at, from) in self.walk(&starts, &self.above, |_| false) {
            let origin = if at == from { at } else { origins[&from] };
            origins.insert(at, origin);
        }
        origins
    }
}

fn is_group(member: &Member) -> bool {
    member.kind == MemberKind::Group
}

/// For each group a few others, in compressed rows.
#[derive(Debug)]
struct Rows {
    starts: Vec<usize>,
    to: Vec<u32>,
}

impl Rows {
    fn new(count: usize, edges: impl Iterator<Item = (u32, u32)>) -> Rows {
        let mut edges: Vec<(u32, u32)> = edges.collect();
        edges.sort_unstable();
        let mut starts = vec![0; count + 1];
        for (from, _) in &edges {
            starts[*from as usize + 1] += 1;
        }
        for at in 0..count {
            starts[at + 1] += starts[at];
        }
        Rows { starts, to: edges.into_iter().map(|(_, to)| to).collect() }
    }

    fn of(&self, from: u32) -> &[u32] {
        &self.to[self.starts[from as usize]..self.starts[from as usize + 1]]
    }
}

/// Remembers where a walk has been, without being cleared between walks.
#[derive(Debug)]
struct Walker {
    /// The last round that met each group.
    met: Vec<u32>,
    round: u32,
}

impl Walker {
    fn walk(&mut self, starts: &[u32], along: &Rows, stop: impl Fn(u32) -> bool) -> Vec<(u32, u32)> {
        self.round = self.round.checked_add(1).unwrap_or_else(|| {
            self.met.fill(0);
            1
        });
        let mut found: Vec<(u32, u32)> = Vec::new();
        let mut meet = |at: u32, from: u32, found: &mut Vec<(u32, u32)>| {
            if std::mem::replace(&mut self.met[at as usize], self.round) != self.round {
                found.push((at, from));
            }
        };
        starts.iter().for_each(|start| meet(*start, *start, &mut found));
        let mut next = 0;
        while let Some((at, _)) = found.get(next).copied() {
            next += 1;
            if stop(at) {
                break;
            }
            along.of(at).iter().for_each(|to| meet(*to, at, &mut found));
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeSet, HashMap};

    use proptest::prelude::*;

    use super::*;

    fn id(number: u32) -> Guid {
        let mut id = Guid::default();
        id.0[..4].copy_from_slice(&number.to_be_bytes());
        id
    }

    /// Users have numbers from 1,000,000 on.
    const USERS: u32 = 1_000_000;

    fn member(number: u32) -> Member {
        Member { id: id(number), kind: if number < USERS { MemberKind::Group } else { MemberKind::User } }
    }

    fn lists(rows: &[(u32, &[u32])], gaps: &[u32]) -> Members {
        let rows = rows.iter().map(|(group, members)| {
            let mut members: Vec<Member> = members.iter().map(|number| member(*number)).collect();
            members.sort_unstable();
            (id(*group), members)
        });
        Members::new(rows, gaps.iter().map(|group| (id(*group), Unknown::new("hidden"))).collect())
    }

    fn numbers(ids: impl IntoIterator<Item = Guid>) -> Vec<u32> {
        ids.into_iter().map(|id| u32::from_be_bytes([id.0[0], id.0[1], id.0[2], id.0[3]])).collect()
    }

    #[test]
    fn membership_goes_through_groups_and_tells_by_which() {
        let direct = lists(&[(1, &[2, 3]), (2, &[4]), (3, &[4, USERS]), (4, &[USERS + 1]), (5, &[])], &[]);
        let closure = Closure::new(direct.into());
        assert_eq!(numbers(closure.containing(id(USERS))), [1, 3]);
        assert_eq!(numbers(closure.containing(id(USERS + 1))), [1, 2, 3, 4]);
        assert_eq!(numbers(closure.containing(id(4))), [1, 2, 3]);
        assert_eq!(numbers(closure.containing(id(USERS + 9))), [0; 0]);
        assert_eq!(numbers(closure.contained(id(1)).iter().map(|m| m.id)), [2, 3, 4, USERS, USERS + 1]);
        let path = |group, member| closure.path(id(group), id(member)).map(numbers);
        assert_eq!(path(1, USERS + 1), Some(vec![1, 2, 4]));
        assert_eq!(path(4, USERS + 1), Some(vec![4]));
        assert_eq!(path(1, 4), Some(vec![1, 2]));
        assert_eq!(path(5, USERS), None);
        assert_eq!(path(77, USERS), None);
    }

    #[test]
    fn a_group_within_itself_ends_and_does_not_hold_itself() {
        let direct = lists(&[(1, &[1, 2]), (2, &[3]), (3, &[1, USERS])], &[]);
        let closure = Closure::new(direct.into());
        assert_eq!(numbers(closure.containing(id(1))), [2, 3]);
        assert_eq!(numbers(closure.contained(id(1)).iter().map(|m| m.id)), [2, 3, USERS]);
        assert_eq!(closure.path(id(1), id(USERS)).map(numbers), Some(vec![1, 2, 3]));
        let effective = closure.effective();
        assert!(effective.iter().all(|(_, members)| members == [member(USERS)]));
    }

    #[test]
    fn what_is_not_known_of_a_list_is_not_known_of_those_above() {
        // 4 has a gap, 6 was never read; 5 stands apart.
        let direct = lists(&[(1, &[2]), (2, &[4, USERS]), (4, &[]), (5, &[USERS]), (7, &[6])], &[4]);
        let closure = Closure::new(direct.into());
        assert_eq!(numbers(closure.doubtful()), [1, 2, 4, 6, 7]);
        assert_eq!(closure.doubt(id(5)), None);
        assert_eq!(closure.doubt(id(4)).unwrap().to_string(), "hidden");
        assert!(closure.doubt(id(1)).unwrap().to_string().ends_with("within it: hidden"));
        assert!(closure.doubt(id(7)).unwrap().to_string().contains("were not read"));
        let effective = closure.effective();
        assert_eq!(effective.of(id(1)), Some(&[member(USERS)][..]));
        assert!(effective.gap(id(1)).is_some() && effective.gap(id(5)).is_none());
    }

    #[test]
    fn what_a_group_that_is_gone_held_is_unknown_above_it_and_no_loss() {
        // 4 is gone; the list of 6 broke off.
        let rows: &[(u32, &[u32])] = &[(1, &[4]), (4, &[]), (5, &[6]), (6, &[])];
        let closure = Closure::new(lists(rows, &[4, 6]).vanishing([id(4)]).into());
        let effective = closure.effective();
        assert_eq!(numbers(effective.gaps().map(|(group, _)| group)), [1, 4, 5, 6]);
        assert_eq!(numbers(effective.missing().map(|(group, _)| group)), [5, 6]);
    }

    #[test]
    fn a_chain_of_a_hundred_thousand_groups_is_walked() {
        const LENGTH: u32 = 100_000;
        let rows = (0..LENGTH).map(|at| (id(at), vec![if at + 1 < LENGTH { member(at + 1) } else { member(USERS) }]));
        let direct = Members::new(rows, BTreeMap::new());
        let closure = Closure::new(direct.into());
        assert_eq!(closure.effective().len(), LENGTH as usize);
        assert_eq!(closure.containing(id(USERS)).len(), LENGTH as usize);
        assert_eq!(closure.path(id(0), id(USERS)).unwrap().len(), LENGTH as usize);
    }

    #[test]
    fn a_thousand_users_in_the_same_thousand_groups_give_a_million_pairs() {
        // Every group holds everyone and the next group; the last holds the first.
        let users: Vec<Member> = (0..1000).map(|user| member(USERS + user)).collect();
        let rows = (0..1000).map(|at| {
            let mut members = vec![member((at + 1) % 1000)];
            members.extend(&users);
            members.sort_unstable();
            (id(at), members)
        });
        let direct = Members::new(rows, BTreeMap::new());
        assert_eq!(Closure::new(direct.into()).effective().len(), 1_000_000);
    }

    proptest! {
        #[test]
        fn every_walk_agrees_with_asking_again_and_again(
            edges in proptest::collection::btree_set((0_u32..12, prop_oneof![0_u32..12, USERS..USERS + 6]), 0..40),
        ) {
            let mut rows: HashMap<u32, Vec<u32>> = (0..12).map(|group| (group, Vec::new())).collect();
            edges.iter().for_each(|(group, member)| rows.get_mut(group).unwrap().push(*member));
            let mut listed: Vec<(u32, &[u32])> = rows.iter().map(|(group, members)| (*group, &members[..])).collect();
            listed.sort_unstable();
            let direct = lists(&listed, &[]);
            let closure = Closure::new(direct.into());
            // Until nothing is added any more: what a group holds, and what the groups in it hold.
            let mut held: BTreeSet<(u32, u32)> = edges.clone();
            loop {
                let more: BTreeSet<(u32, u32)> = held.iter()
                    .flat_map(|(outer, inner)| held.iter().filter(move |(g, _)| g == inner).map(move |(_, m)| (*outer, *m)))
                    .collect();
                let before = held.len();
                held.extend(more);
                if held.len() == before { break }
            }
            let effective = closure.effective();
            for group in 0..12 {
                let expected: Vec<u32> = held.iter().filter(|(g, m)| *g == group && *m != group).map(|(_, m)| *m).collect();
                prop_assert_eq!(numbers(closure.contained(id(group)).iter().map(|m| m.id)), expected.clone());
                let users: Vec<u32> = expected.iter().copied().filter(|m| *m >= USERS).collect();
                prop_assert_eq!(numbers(effective.of(id(group)).unwrap().iter().map(|m| m.id)), users);
                for member in expected {
                    prop_assert!(numbers(closure.containing(id(member))).contains(&group));
                    let path = numbers(closure.path(id(group), id(member)).unwrap());
                    prop_assert_eq!(path[0], group);
                    let steps = path.iter().copied().chain([member]).collect::<Vec<_>>();
                    prop_assert!(steps.windows(2).all(|step| edges.contains(&(step[0], step[1]))), "{:?}", steps);
                }
            }
        }
    }
}
