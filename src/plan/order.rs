//! The order of the changes: what is referred to first, links after records, removals last and backwards.
//!
//! Hides how reference cycles are cut (at the smallest key). Deliberately independent of timing: the same plan has the
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

/// Depth of each record among those created together: 0 refers to none of them. Cycles are cut at the smallest key,
/// which counts as referring to nothing.
pub fn levels(refers: &BTreeMap<Key, Vec<Key>>) -> BTreeMap<Key, u32> {
    /// What a record still waits for, and how deep it stands so far.
    struct Open {
        left: usize,
        depth: u32,
    }
    let mut open: BTreeMap<&Key, Open> = BTreeMap::new();
    let mut referred_by: BTreeMap<&Key, Vec<&Key>> = BTreeMap::new();
    for (key, to) in refers {
        let to: BTreeSet<&Key> = to.iter().filter(|other| *other != key && refers.contains_key(other)).collect();
        open.insert(key, Open { left: to.len(), depth: 0 });
        for other in to {
            referred_by.entry(other).or_default().push(key);
        }
    }
    let mut levels: BTreeMap<Key, u32> = BTreeMap::new();
    let mut ready: BTreeSet<(u32, &Key)> =
        open.iter().filter(|(_, open)| open.left == 0).map(|(key, _)| (0, *key)).collect();
    while !open.is_empty() {
        let (level, key) = match ready.pop_first() {
            Some(next) => next,
            None => match open.keys().next() {
                Some(smallest) => (0, *smallest),
                None => break,
            },
        };
        if open.remove(key).is_none() {
            continue;
        }
        levels.insert(key.clone(), level);
        for dependent in referred_by.get(key).into_iter().flatten() {
            if let Some(waiting) = open.get_mut(*dependent) {
                waiting.left -= 1;
                waiting.depth = waiting.depth.max(level + 1);
                if waiting.left == 0 {
                    ready.insert((waiting.depth, dependent));
                }
            }
        }
    }
    levels
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
