//! Which record of the target belongs to which source key: by what the ledger remembers, by key value, by adopt rule.
//!
//! Works on keys and ids alone; records stay on disk unless an adopt rule needs a look at one. Hides the precedence of
//! the three ways and every kind of collision. Deliberately decides nothing about changes.

use std::collections::{HashMap, HashSet};

use super::change::{AttributeSpec, Current, Note, State, TypeSpec};
use super::datum::Datum;
use super::decide::Desired;
use crate::error::Result;
use crate::record::{Coverage, Key};
use crate::spill::{Place, Spill};

/// One source key of a type, in key order.
#[derive(Clone, PartialEq, Debug)]
pub struct DesiredKey {
    pub key: Key,
    /// The key attributes' value; `None` where the key lives in the ledger alone.
    pub target_key: Option<Key>,
    pub state: DesiredState,
}

/// What stands behind a desired key.
#[derive(Clone, PartialEq, Debug)]
pub enum DesiredState {
    /// Where the mapped record lies.
    Mapped(Place),
    /// In scope, but the mapping failed: the label and the reason.
    Rejected { label: Box<str>, reason: Box<str> },
    /// Two mappings of the type want the same key.
    Twice,
}

/// Everything the source wants of one type.
pub struct DesiredSide {
    /// Sorted by key, each once.
    pub keys: Vec<DesiredKey>,
    pub records: Spill<Desired>,
    /// What mapping has to tell: values that were cut, names that were not found.
    pub notes: Vec<Note>,
}

/// One record of the target.
#[derive(Clone, PartialEq, Debug)]
pub struct CurrentKey {
    /// What the target calls the record; as a key, because ids take less room so than as text.
    pub id: Key,
    /// The key attributes' value; `None` where one is empty.
    pub target_key: Option<Key>,
    pub place: Place,
}

/// Everything the target holds of one type.
pub struct CurrentSide {
    /// In the target's order.
    pub keys: Vec<CurrentKey>,
    pub records: Spill<Current>,
    pub coverage: Coverage,
}

impl CurrentSide {
    /// The records by what the target calls them.
    pub fn by_id(&self) -> HashMap<&Key, u32> {
        (0u32..).zip(&self.keys).map(|(index, record)| (&record.id, index)).collect()
    }
}

/// One row of the ledger, as far as matching needs it.
#[derive(Clone, PartialEq, Debug)]
pub struct OwnedKey {
    pub key: Key,
    pub standing: Ownership,
}

/// What a row of the ledger means for matching.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ownership {
    Owned,
    /// On the removal ladder: created again when it returns.
    Retired,
    /// Someone deleted it in the target: it owns a record again once one is put back.
    DeletedInTarget,
    /// A person does not want it: it owns nothing.
    Declined,
}

impl Ownership {
    pub fn of(state: &State) -> Ownership {
        match state {
            State::Owned | State::Pinned => Ownership::Owned,
            State::Retired(_) => Ownership::Retired,
            State::DeletedInTarget => Ownership::DeletedInTarget,
            State::Declined => Ownership::Declined,
        }
    }

    /// Whether the row counts as a record of ours.
    pub fn counts(self) -> bool {
        matches!(self, Ownership::Owned | Ownership::Retired)
    }
}

/// What a source key was matched with. Numbers are indices into [`CurrentSide::keys`].
#[derive(Clone, PartialEq, Debug)]
pub enum Match {
    There(u32),
    Absent,
    Collision(String),
    /// The only match is owned under another key; the caller knows whether that one is gone.
    OwnedByOther {
        current: u32,
        other: Key,
    },
}

/// The outcome for a whole type.
pub struct Matched {
    /// Aligned with [`DesiredSide::keys`].
    pub desired: Vec<Match>,
    /// Of the desired records that the ledger does not know and that found something: the index, ascending, and the
    /// adopt rule that found it; `None` for the key.
    pub found_by: Vec<(u32, Option<u8>)>,
    /// Aligned with the ledger's rows; `None` where the target no longer has the record.
    pub owned: Vec<Option<u32>>,
    /// Records nobody owns and nobody wants, in the target's order.
    pub nobodys: Vec<u32>,
    /// Records whose key another record carries too: none of them is touched.
    pub twins: HashSet<u32>,
}

/// Matches one type. `owned` is sorted by key; `named` is aligned with it and says which record each row names by its
/// target id, if that is there.
pub fn match_up(
    spec: &TypeSpec,
    desired: &DesiredSide,
    current: &CurrentSide,
    owned: &[OwnedKey],
    named: Vec<Option<u32>>,
) -> Result<Matched> {
    let by_key = seen_by_key(current);
    let mut owner: Vec<Option<u32>> = vec![None; current.keys.len()];
    let mut found = named;
    for (row, (owned, hit)) in owned.iter().zip(&mut found).enumerate() {
        *hit = hit.filter(|_| owned.standing != Ownership::Declined);
        if let Some(hit) = hit {
            owner[*hit as usize] = Some(row as u32);
        }
    }
    let wanted_twice = target_keys_wanted_twice(desired);
    let adopt = AdoptIndex::new(spec, current)?;
    let key_of = |hit: u32| current.keys[hit as usize].target_key.as_ref();
    let twin = |hit: &u32| key_of(*hit).and_then(|key| by_key.get(key)).is_some_and(|seen| seen.again);
    let mut matched = Matched {
        desired: Vec::with_capacity(desired.keys.len()),
        found_by: Vec::new(),
        owned: found,
        nobodys: Vec::new(),
        twins: (0..current.keys.len() as u32).filter(twin).collect(),
    };
    for entry in &desired.keys {
        let row = owned.binary_search_by(|owned| owned.key.cmp(&entry.key)).ok();
        let fate = if let Some(collision) = wanted_by_several(entry, &wanted_twice) {
            collision
        } else if let Some(hit) = row.and_then(|row| matched.owned[row]) {
            let taken = entry.target_key.as_ref().filter(|key| key_of(hit) != Some(*key));
            let taken =
                taken.and_then(|key| by_key.get(key)).filter(|seen| !moves_away(seen.first, &owner, desired, owned));
            match taken {
                _ if twin(&hit) => several(key_of(hit)),
                // Writing the new key would make two records of one key.
                Some(seen) => several(key_of(seen.first)),
                None => Match::There(hit),
            }
        } else {
            let candidates = Candidates { spec, desired, current, by_key: &by_key, adopt: &adopt };
            let (fate, rule) = candidates.find(entry, row, &owner, owned)?;
            if row.is_none() && fate != Match::Absent {
                matched.found_by.push((matched.desired.len() as u32, rule));
            }
            fate
        };
        if let (Match::There(hit), Some(row)) = (&fate, row)
            && owned[row].standing != Ownership::Declined
        {
            matched.owned[row] = Some(*hit);
            owner[*hit as usize] = Some(row as u32);
        }
        matched.desired.push(fate);
    }
    let mut taken: Vec<bool> = owner.iter().map(Option::is_some).collect();
    for fate in &matched.desired {
        if let Match::There(hit) | Match::OwnedByOther { current: hit, .. } = fate {
            taken[*hit as usize] = true;
        }
    }
    matched.nobodys = (0..current.keys.len() as u32).filter(|index| !taken[*index as usize]).collect();
    Ok(matched)
}

/// Whether the record's owner gets another key in the same run, so that its old one becomes free.
fn moves_away(hit: u32, owner: &[Option<u32>], desired: &DesiredSide, owned: &[OwnedKey]) -> bool {
    let Some(row) = owner[hit as usize] else { return false };
    let key = &owned[row as usize].key;
    let Ok(at) = desired.keys.binary_search_by(|entry| entry.key.cmp(key)) else { return false };
    let entry = &desired.keys[at];
    // Its own key decides: were it the same, two source records would want it, which is a collision already.
    matches!(entry.state, DesiredState::Mapped(_)) && entry.target_key.is_some()
}

/// How often a target key was seen.
struct Seen {
    first: u32,
    again: bool,
}

fn several(key: Option<&Key>) -> Match {
    Match::Collision(several_records(&key.map(Key::to_string).unwrap_or_default()))
}

/// What is told of records that cannot be told apart; `key` names the key, or whose it is.
pub fn several_records(key: &str) -> String {
    format!("several records of the target carry the key {key}; none of them is touched. Remove or re-key all but one.")
}

/// The keys that the target's records carry.
fn seen_by_key(current: &CurrentSide) -> HashMap<&Key, Seen> {
    let mut by_key: HashMap<&Key, Seen> = HashMap::with_capacity(current.keys.len());
    for (index, record) in current.keys.iter().enumerate() {
        if let Some(key) = &record.target_key {
            by_key
                .entry(key)
                .and_modify(|seen| seen.again = true)
                .or_insert(Seen { first: index as u32, again: false });
        }
    }
    by_key
}

/// The collision of a record that two mappings make, or whose target key other records want as well.
fn wanted_by_several(entry: &DesiredKey, wanted_twice: &HashMap<&Key, u32>) -> Option<Match> {
    if entry.state == DesiredState::Twice {
        let words = "two mappings of this type want the same record; nothing is written for it.";
        return Some(Match::Collision(words.into()));
    }
    let key = entry.target_key.as_ref()?;
    let count = wanted_twice.get(key)?;
    Some(Match::Collision(format!("{count} source records want the same key {key}; none of them is written.")))
}

fn target_keys_wanted_twice(desired: &DesiredSide) -> HashMap<&Key, u32> {
    let mut wanted: HashMap<&Key, u32> = HashMap::with_capacity(desired.keys.len());
    for entry in &desired.keys {
        if let Some(key) = &entry.target_key {
            *wanted.entry(key).or_default() += 1;
        }
    }
    wanted.retain(|_, count| *count > 1);
    wanted
}

/// The ways to find a record that the ledger does not know.
struct Candidates<'a> {
    spec: &'a TypeSpec,
    desired: &'a DesiredSide,
    current: &'a CurrentSide,
    by_key: &'a HashMap<&'a Key, Seen>,
    adopt: &'a AdoptIndex,
}

impl Candidates<'_> {
    /// What is found, and by which adopt rule; `None` for the key, or for nothing.
    fn find(
        &self,
        entry: &DesiredKey,
        row: Option<usize>,
        owner: &[Option<u32>],
        owned: &[OwnedKey],
    ) -> Result<(Match, Option<u8>)> {
        let other_owner = |hit: u32| owner[hit as usize].filter(|other| Some(*other as usize) != row);
        let seen = entry.target_key.as_ref().and_then(|key| self.by_key.get(key));
        // Whoever has the key gets another one in this run: it is free for a new record then.
        let is_freed = |seen: &&Seen| {
            !seen.again && other_owner(seen.first).is_some() && moves_away(seen.first, owner, self.desired, owned)
        };
        if let Some(seen) = seen.filter(|seen| !is_freed(seen)) {
            let fate = match other_owner(seen.first) {
                _ if seen.again => several(entry.target_key.as_ref()),
                Some(other) => Match::OwnedByOther { current: seen.first, other: owned[other as usize].key.clone() },
                None => Match::There(seen.first),
            };
            return Ok((fate, None));
        }
        // Adopting by another attribute happens once; whoever was owned and vanished is not taken over again.
        let (DesiredState::Mapped(place), None) = (&entry.state, row) else {
            return Ok((Match::Absent, None));
        };
        if self.adopt.rules.is_empty() {
            return Ok((Match::Absent, None));
        }
        let record = self.desired.records.get(*place)?;
        for (rule, attribute) in self.spec.adopt.iter().enumerate() {
            let Some(text) = record.values[*attribute].as_ref().and_then(Datum::as_text) else { continue };
            let Some(hits) = self.adopt.rules[rule].get(&fold(text)) else { continue };
            let AttributeSpec { name, private, .. } = &self.spec.attributes[*attribute];
            let by = u8::try_from(rule).ok();
            let told = if *private { format!("that {name}") } else { format!("{name} = {text:?}") };
            let &[hit] = hits.as_slice() else {
                let words = format!("{} records of the target have {told}; none of them is adopted.", hits.len());
                return Ok((Match::Collision(words), by));
            };
            if let Some(other) = other_owner(hit) {
                return Ok((Match::OwnedByOther { current: hit, other: owned[other as usize].key.clone() }, by));
            }
            let fate = match &self.current.keys[hit as usize].target_key {
                Some(key) => {
                    Match::Collision(format!("the record with {told} carries another key, {key}; it is not adopted."))
                }
                None => Match::There(hit),
            };
            return Ok((fate, by));
        }
        Ok((Match::Absent, None))
    }
}

/// Records of the target by the values of the adopt attributes; empty when there are no adopt rules.
struct AdoptIndex {
    rules: Vec<HashMap<String, Vec<u32>>>,
}

impl AdoptIndex {
    fn new(spec: &TypeSpec, current: &CurrentSide) -> Result<AdoptIndex> {
        let mut rules = vec![HashMap::<String, Vec<u32>>::new(); spec.adopt.len()];
        if !rules.is_empty() {
            for (index, key) in current.keys.iter().enumerate() {
                let record = current.records.get(key.place)?;
                for (rule, attribute) in spec.adopt.iter().enumerate() {
                    if let Some(text) = record.values[*attribute].as_text() {
                        rules[rule].entry(fold(text)).or_default().push(index as u32);
                    }
                }
            }
        }
        Ok(AdoptIndex { rules })
    }
}

/// The key attributes' values as one key; `None` where one of them is empty or the key lives in the ledger.
pub fn target_key<'v>(spec: &TypeSpec, value: impl Fn(usize) -> Option<&'v Datum>) -> Option<Key> {
    let mut text = String::new();
    for (position, index) in spec.key.iter().enumerate() {
        if position > 0 {
            text.push('/');
        }
        text.push_str(value(*index)?.as_text()?);
    }
    if spec.key.is_empty() {
        return None;
    }
    // Ids are the same in any case: a spreadsheet or another tool may have written them in capitals.
    match Key::parse(&text.to_ascii_lowercase()) {
        Key::Text(_) => Some(Key::Text(text.into())),
        ids => Some(ids),
    }
}

/// Mail addresses and names are matched as people read them: without case and surrounding blanks.
pub fn fold(text: &str) -> String {
    text.trim().to_lowercase()
}

#[cfg(test)]
#[path = "matching_tests.rs"]
mod tests;
