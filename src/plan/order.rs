//! The order of the changes: what is referred to first, links after records, removals last and backwards.
//!
//! Hides how reference cycles are found and cut (at their smallest key). Deliberately independent of timing: the same plan has the
//! same order in every run.

use std::collections::{BTreeMap, BTreeSet};

use super::change::{Action, TypeSpec};
use crate::record::Key;

/// Where a change stands; smaller comes first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Position {
    phase: Phase,
    /// Rank of the type; negative ranks run backwards.
    rank: i32,
    /// Depth of references within the type.
    level: i32,
    /// Place among the type's changes in the order of their keys.
    at: u32,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Phase {
    Records,
    LinksAdded,
    LinksRemoved,
    Retires,
    Deletes,
    LedgerOnly,
}

/// The position of a change of the type with that rank, the `at`-th of the type in the order of keys.
pub fn position(action: Action, links: bool, rank: usize, level: u32, at: u32) -> Position {
    let phase = match (action, links) {
        (Action::Settle | Action::Forget, _) => Phase::LedgerOnly,
        (Action::Delete | Action::Retire, true) => Phase::LinksRemoved,
        (Action::Delete, false) => Phase::Deletes,
        (Action::Retire, false) => Phase::Retires,
        (_, true) => Phase::LinksAdded,
        (_, false) => Phase::Records,
    };
    let backwards = phase == Phase::Deletes;
    let signed = |number: i32| if backwards { -number } else { number };
    Position { phase, rank: signed(rank as i32), level: signed(level as i32), at }
}

/// Ranks of the types: what is referred to comes before what refers to it; else by name. Aligned with `types`.
pub fn ranks(types: &[&TypeSpec]) -> Vec<usize> {
    let names: BTreeMap<&str, usize> = types.iter().enumerate().map(|(index, ty)| (ty.name.as_str(), index)).collect();
    let refers: Vec<BTreeSet<usize>> = types
        .iter()
        .enumerate()
        .map(|(index, ty)| {
            let to = ty.attributes.iter().filter_map(|attribute| attribute.reference.as_deref());
            to.filter_map(|name| names.get(name).copied()).filter(|other| *other != index).collect()
        })
        .collect();
    let mut order: Vec<usize> = Vec::with_capacity(types.len());
    while order.len() < types.len() {
        let open = names.values().copied().filter(|index| !order.contains(index));
        let ready = open.clone().find(|index| refers[*index].iter().all(|other| order.contains(other)));
        // A cycle of types is cut at the smallest name.
        order.extend(ready.or_else(|| open.into_iter().next()));
    }
    let mut ranks = vec![0; types.len()];
    for (rank, index) in order.into_iter().enumerate() {
        ranks[index] = rank;
    }
    ranks
}

/// Depth of each record among those created together: 0 refers to none of them. Each cycle is cut at its smallest key,
/// which comes before what it refers to in that cycle; what merely hangs on a cycle comes after all it refers to.
pub fn levels(refers: &BTreeMap<Key, Vec<Key>>) -> BTreeMap<Key, u32> {
    let keys: Vec<&Key> = refers.keys().collect();
    let mut graph = Graph::of(refers, &keys);
    let mut referred_by: Vec<Vec<usize>> = vec![Vec::new(); keys.len()];
    for (from, to) in graph.to.iter().enumerate() {
        to.iter().for_each(|to| referred_by[*to].push(from));
    }
    let mut left: Vec<usize> = graph.to.iter().map(Vec::len).collect();
    let mut levels = vec![0; keys.len()];
    let mut ready: Vec<usize> = (0..keys.len()).filter(|at| left[*at] == 0).collect();
    while let Some(at) = ready.pop().or_else(|| graph.on_a_cycle()) {
        graph.placed[at] = true;
        for dependent in &referred_by[at] {
            if graph.placed[*dependent] {
                continue;
            }
            left[*dependent] -= 1;
            levels[*dependent] = levels[*dependent].max(levels[at] + 1);
            if left[*dependent] == 0 {
                ready.push(*dependent);
            }
        }
    }
    keys.into_iter().cloned().zip(levels).collect()
}

/// Who refers to whom, by places in the order of keys, and the way that was walked in search of cycles.
struct Graph {
    /// Ascending, without the record itself.
    to: Vec<Vec<usize>>,
    placed: Vec<bool>,
    /// Each refers to the next one.
    path: Vec<usize>,
    on_path: Vec<bool>,
    /// No record before this one is left.
    first: usize,
}

impl Graph {
    fn of(refers: &BTreeMap<Key, Vec<Key>>, keys: &[&Key]) -> Graph {
        let places = |(at, to): (usize, &Vec<Key>)| {
            let mut to: Vec<usize> = to.iter().filter_map(|key| keys.binary_search(&key).ok()).collect();
            to.sort_unstable();
            to.dedup();
            to.retain(|other| *other != at);
            to
        };
        let (placed, on_path) = (vec![false; keys.len()], vec![false; keys.len()]);
        Graph { to: refers.values().enumerate().map(places).collect(), placed, path: Vec::new(), on_path, first: 0 }
    }

    /// Where everything left waits for something left: the smallest of the first cycle that is met. The way to it is kept
    /// for the next call, so that long chains before many cycles are walked once.
    fn on_a_cycle(&mut self) -> Option<usize> {
        while let Some(last) = self.path.pop_if(|last| self.placed[*last]) {
            self.on_path[last] = false;
        }
        let mut last = match self.path.last() {
            Some(last) => *last,
            None => {
                self.first += self.placed[self.first..].iter().position(|placed| !placed)?;
                self.step(self.first)
            }
        };
        while let Some(next) = self.to[last].iter().copied().find(|next| !self.placed[*next]) {
            if !self.on_path[next] {
                last = self.step(next);
                continue;
            }
            let begin = self.path.iter().rposition(|at| *at == next).unwrap_or_default();
            let (nth, smallest) = self.path[begin..].iter().copied().enumerate().min_by_key(|(_, at)| *at)?;
            self.path.drain(begin + nth..).for_each(|at| self.on_path[at] = false);
            return Some(smallest);
        }
        // Cannot be: it would have been ready.
        Some(last)
    }

    fn step(&mut self, at: usize) -> usize {
        self.path.push(at);
        self.on_path[at] = true;
        at
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(pairs: &[(&str, &[&str])]) -> BTreeMap<Key, Vec<Key>> {
        let key = |text: &&str| Key::parse(text);
        pairs.iter().map(|(from, to)| (key(from), to.iter().map(key).collect())).collect()
    }

    #[test]
    fn managers_come_before_their_reports_and_cycles_end() {
        let depth = levels(&keys(&[("a", &["c"]), ("b", &["a", "c"]), ("c", &[]), ("d", &["elsewhere", "d"])]));
        let expected = [("a", 1), ("b", 2), ("c", 0), ("d", 0)].map(|(key, level)| (Key::parse(key), level));
        assert_eq!(depth, BTreeMap::from(expected));

        let cycle = levels(&keys(&[("x", &["y"]), ("y", &["z"]), ("z", &["x"])]));
        let expected = [("x", 0), ("z", 1), ("y", 2)].map(|(key, level)| (Key::parse(key), level));
        assert_eq!(cycle, BTreeMap::from(expected));
    }

    /// The records that do not come after everything they refer to: they get a second pass.
    fn early(refers: &BTreeMap<Key, Vec<Key>>) -> Vec<Key> {
        let levels = levels(refers);
        assert_eq!(levels.len(), refers.len());
        let waits = |key: &Key, to: &Key| key != to && levels.get(to).is_some_and(|level| *level >= levels[key]);
        let early = refers.iter().filter(|(key, to)| to.iter().any(|to| waits(key, to)));
        early.map(|(key, _)| key.clone()).collect()
    }

    #[test]
    fn only_cycles_are_cut_whatever_hangs_on_them() {
        // Each of many reports to one of a few, whose manager is the very last: a ring of five with a crowd on it.
        let key = |n: usize| Key::parse(&format!("{:05}", (n * 7_919) % 10_007));
        let manager = |n: usize| if n == 0 { 10_000 } else { (n - 1) / 8 };
        let crowd: BTreeMap<Key, Vec<Key>> = (0..=10_000).map(|n| (key(n), vec![key(manager(n))])).collect();
        assert_eq!(early(&crowd).len(), 1);

        // Rings of three, one behind the other, at the end of a long chain.
        let ring = |n: usize| {
            let mut to = vec![if n % 3 == 2 { n - 2 } else { n + 1 }];
            to.extend(n.is_multiple_of(3).then_some(n + 3));
            to
        };
        let next = |n: usize| if n < 5_000 { vec![n + 1] } else { ring(n - 5_000).iter().map(|n| n + 5_000).collect() };
        let chain: BTreeMap<Key, Vec<Key>> =
            (0..8_000).map(|n| (key(n), next(n).into_iter().map(key).collect())).collect();
        assert_eq!(early(&chain).len(), 1_000);
    }

    /// Whether a way leads from a record back to it.
    fn is_on_a_cycle(refers: &BTreeMap<Key, Vec<Key>>, key: &Key) -> bool {
        let (mut open, mut seen) = (vec![key], BTreeSet::new());
        while let Some(at) = open.pop() {
            let to = refers.get(at).into_iter().flatten().filter(|to| *to != at);
            for to in to {
                if to == key {
                    return true;
                }
                if seen.insert(to) {
                    open.push(to);
                }
            }
        }
        false
    }

    proptest::proptest! {
        #[test]
        fn whatever_refers_to_whatever_only_cycles_are_cut_and_never_all_of_one(
            pairs in proptest::collection::vec((0..30u8, 0..30u8), 0..90),
        ) {
            let key = |n: u8| Key::parse(&format!("{n:02}"));
            let mut refers: BTreeMap<Key, Vec<Key>> = BTreeMap::new();
            for (from, to) in pairs {
                refers.entry(key(from)).or_default().push(key(to));
            }
            let early = early(&refers);
            for key in &early {
                proptest::prop_assert!(is_on_a_cycle(&refers, key), "{key} is on no cycle");
            }
            let on_cycles = refers.keys().filter(|key| is_on_a_cycle(&refers, key)).count();
            proptest::prop_assert!(early.is_empty() || early.len() < on_cycles);
        }
    }

    #[test]
    fn deletes_run_backwards_and_links_follow_records() {
        let at = |action, links, rank, level| position(action, links, rank, level, 0);
        let mut positions = [
            at(Action::Delete, false, 0, 0),
            at(Action::Delete, false, 1, 0),
            at(Action::Create, true, 2, 0),
            at(Action::Delete, true, 2, 0),
            at(Action::Create, false, 1, 1),
            at(Action::Create, false, 1, 0),
            at(Action::Create, false, 0, 0),
        ];
        positions.sort();
        let order: Vec<(Phase, i32, i32)> = positions.iter().map(|at| (at.phase, at.rank, at.level)).collect();
        assert_eq!(
            order,
            [
                (Phase::Records, 0, 0),
                (Phase::Records, 1, 0),
                (Phase::Records, 1, 1),
                (Phase::LinksAdded, 2, 0),
                (Phase::LinksRemoved, 2, 0),
                (Phase::Deletes, -1, 0),
                (Phase::Deletes, 0, 0),
            ]
        );
    }
}
