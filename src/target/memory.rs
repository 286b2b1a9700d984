//! The reference target, for tests: types and records in memory, shared by all targets opened on one store.
//!
//! Shows in the fewest lines what the border asks for; where its behaviour and another target's differ, one of the two
//! is wrong. Deliberately stores values as they come, so that a difference found by [`super::conformance`] is never
//! one of value forms.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use sha2::{Digest, Sha256};

use super::{
    BatchMark, Capabilities, Interrupted, Outcome, Outcomes, Sent, Target, WriteBatches, WriteRecords, Writes,
};
use crate::error::{Error, Exit, Result};
use crate::plan::change::{Action, Change, Current, TypeSpec};
use crate::plan::datum::{Datum, Set};
use crate::record::Coverage;

/// Records of one type, in the order of their making; `None` where the type does not exist.
type Records = Option<Vec<Current>>;

/// A target in memory. Clones share the store, as processes share a system.
#[derive(Clone, Default)]
pub struct MemoryTarget {
    store: Arc<Mutex<Store>>,
    /// Takes changes one by one, and gives records ids of its own.
    single: bool,
}

#[derive(Default)]
struct Store {
    types: BTreeMap<String, Vec<Current>>,
    staged: BTreeMap<String, Vec<Current>>,
    read: BTreeMap<String, Option<String>>,
    next_id: u64,
    /// Refuses an update that gives a record the key of another.
    unique: bool,
}

impl MemoryTarget {
    /// A target that takes changes one by one.
    pub fn of_records() -> MemoryTarget {
        let target = MemoryTarget { single: true, ..MemoryTarget::default() };
        target.store.lock().unwrap().unique = true;
        target
    }

    /// What a person does behind the job's back: another record, whatever its key. Returns its id.
    pub fn add(&self, ty: &str, values: Vec<Datum>) -> String {
        let mut store = self.store.lock().unwrap();
        let id = store.new_id();
        store.types.entry(ty.to_string()).or_default().push(Current { id: id.clone(), values });
        id
    }

    /// A target that takes changes one by one and holds these already; `ids` have been given away so far.
    pub fn holding(types: BTreeMap<String, Vec<Current>>, ids: u64) -> MemoryTarget {
        let target = MemoryTarget::of_records();
        {
            let mut store = target.store.lock().unwrap();
            (store.types, store.next_id) = (types, ids);
        }
        target
    }

    /// The record of that id.
    pub fn record(&self, ty: &str, id: &str) -> Option<Current> {
        self.store.lock().unwrap().types.get(ty)?.iter().find(|record| record.id == id).cloned()
    }

    /// All records of a type.
    pub fn records(&self, ty: &str) -> Vec<Current> {
        self.store.lock().unwrap().types.get(ty).cloned().unwrap_or_default()
    }
}

impl Store {
    fn new_id(&mut self) -> String {
        self.next_id += 1;
        format!("m{}", self.next_id)
    }

    fn hash(&self, ty: &str) -> Option<String> {
        self.types.get(ty).map(|records| hash(records))
    }

    fn apply(&mut self, ty: &TypeSpec, records: &mut Vec<Current>, change: &Change) -> Outcome {
        if !change.action.writes() {
            let target_id = change.target_id.clone().unwrap_or_default();
            return Outcome::Done { target_id, read_back: Vec::new() };
        }
        let mut written = Vec::new();
        for attribute in &change.attributes {
            match ty.attributes.iter().position(|spec| spec.name == attribute.name) {
                Some(at) if attribute.after.is_known() => written.push((at, normalise(ty, at, &attribute.after))),
                _ => return Outcome::Rejected { reason: format!("{:?} cannot be written", attribute.name) },
            }
        }
        let named = |(at, value): &(usize, Datum)| (ty.attributes[*at].name.clone(), value.clone());
        let done = |target_id: String| Outcome::Done { target_id, read_back: written.iter().map(named).collect() };
        if change.action == Action::Create {
            let mut values: Vec<Datum> = (0..ty.attributes.len()).map(|at| normalise(ty, at, &Datum::Empty)).collect();
            written.iter().for_each(|(at, value)| values[*at] = value.clone());
            let keyed = !ty.key.is_empty();
            let same_key = |record: &&Current| keyed && ty.key.iter().all(|at| record.values[*at] == values[*at]);
            if let Some(taken) = taken(ty, records, "", &values) {
                return taken;
            }
            return match records.iter().find(same_key) {
                Some(there) if there.values == values => done(there.id.clone()),
                Some(there) => Outcome::Rejected { reason: format!("{} has the same key", there.id) },
                None => {
                    let id = self.new_id();
                    records.push(Current { id: id.clone(), values });
                    done(id)
                }
            };
        }
        let id = change.target_id.clone().unwrap_or_default();
        match records.iter().position(|record| record.id == id) {
            Some(at) if change.action == Action::Delete => drop(records.remove(at)),
            Some(at) => {
                let mut values = records[at].values.clone();
                written.iter().for_each(|(slot, value)| values[*slot] = value.clone());
                if let Some(taken) = taken(ty, records, &id, &values) {
                    return taken;
                }
                let same_key = |other: &Current| ty.key.iter().all(|slot| other.values[*slot] == values[*slot]);
                let moves = !ty.key.iter().all(|slot| records[at].values[*slot] == values[*slot]);
                if self.unique && moves && records.iter().any(|other| other.id != id && same_key(other)) {
                    return Outcome::Rejected { reason: "another record has that key".into() };
                }
                records[at].values = values;
            }
            None if change.action == Action::Delete => {}
            None => return Outcome::Rejected { reason: format!("there is no {id}") },
        }
        done(id)
    }
}

/// Why a record may not have these values: another one has one of them that no two may have.
fn taken(ty: &TypeSpec, records: &[Current], id: &str, values: &[Datum]) -> Option<Outcome> {
    let unique = |at: &usize| ty.attributes[*at].unique && !values[*at].is_empty();
    let mut unique = (0..values.len()).filter(unique);
    let at = unique.find(|at| records.iter().any(|other| other.id != id && other.values[*at] == values[*at]))?;
    Some(Outcome::Rejected { reason: format!("another record has that {}", ty.attributes[at].name) })
}

fn hash(records: &[Current]) -> String {
    let text = serde_json::to_string(records).unwrap();
    Sha256::digest(text).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Attributes keep the form their specification says.
fn normalise(ty: &TypeSpec, attribute: usize, value: &Datum) -> Datum {
    match value {
        Datum::Empty if ty.attributes[attribute].many => Datum::Set(Set::default()),
        Datum::One(text) if ty.attributes[attribute].many => Datum::set([text.clone()]),
        as_it_is => as_it_is.clone(),
    }
}

#[async_trait]
impl Target for MemoryTarget {
    fn identity(&self) -> String {
        "memory:".to_string()
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities {
            unique_keys: self.single,
            visibility_delay_s: 0,
            certainty_delay_s: 0,
            ids_are_keys: !self.single,
        }
    }

    fn normalise(&self, ty: &TypeSpec, attribute: usize, value: Datum) -> Datum {
        normalise(ty, attribute, &value)
    }

    async fn check(&self, _types: &[TypeSpec]) -> Result<Vec<crate::target::Remark>> {
        Ok(Vec::new())
    }

    async fn read(&self, ty: &TypeSpec, each: &mut (dyn FnMut(Current) -> Result<()> + Send)) -> Result<Coverage> {
        let records: Records = {
            let mut store = self.store.lock().unwrap();
            let hash = store.hash(&ty.name);
            store.read.insert(ty.name.clone(), hash);
            store.types.get(&ty.name).cloned()
        };
        records.into_iter().flatten().try_for_each(each)?;
        Ok(Coverage::Complete)
    }

    fn writes(&self) -> Writes<'_> {
        if self.single { Writes::Records(self) } else { Writes::Batches(self) }
    }
}

#[async_trait]
impl WriteBatches for MemoryTarget {
    async fn stage(
        &self,
        ty: &TypeSpec,
        changes: &mut (dyn Iterator<Item = Result<Change>> + Send),
        outcomes: &mut Outcomes<'_>,
    ) -> Result<BatchMark> {
        let mut store = self.store.lock().unwrap();
        let before = store.hash(&ty.name);
        if store.read.get(&ty.name).is_some_and(|read| *read != before) {
            return Err(Error::new(Exit::Stale, format!("{} changed since it was read", ty.name)));
        }
        let mut records = store.types.get(&ty.name).cloned().unwrap_or_default();
        for (index, change) in (0..).zip(changes) {
            let change = change?;
            let outcome = store.apply(ty, &mut records, &change);
            outcomes(index, &change, outcome)?;
        }
        let after = hash(&records);
        store.staged.insert(ty.name.clone(), records);
        let path = PathBuf::from(&ty.name);
        Ok(BatchMark { staged: path.clone(), path, before, after })
    }

    async fn commit(&self, batch: &BatchMark) -> Result<()> {
        let mut store = self.store.lock().unwrap();
        let name = batch.path.to_string_lossy().into_owned();
        let staged = store.staged.remove(&name);
        let now = store.hash(&name);
        if now.as_ref() != Some(&batch.after) {
            if now != batch.before {
                return Err(Error::new(Exit::Stale, format!("{name} changed since it was staged")));
            }
            let staged = staged.ok_or_else(|| Error::failed(format!("nothing is staged for {name}")))?;
            store.types.insert(name.clone(), staged);
        }
        store.read.insert(name, Some(batch.after.clone()));
        Ok(())
    }

    async fn settle(&self, batch: &BatchMark) -> Result<Interrupted> {
        let mut store = self.store.lock().unwrap();
        let name = batch.path.to_string_lossy().into_owned();
        store.staged.remove(&name);
        let now = store.hash(&name);
        Ok(if now.as_ref() == Some(&batch.after) {
            Interrupted::Committed
        } else if now == batch.before {
            Interrupted::Discarded
        } else {
            Interrupted::Neither
        })
    }
}

#[async_trait]
impl WriteRecords for MemoryTarget {
    fn in_flight_max(&self) -> usize {
        4
    }

    async fn write(&self, ty: &TypeSpec, change: &Change) -> Sent {
        let mut store = self.store.lock().unwrap();
        let mut records = store.types.remove(&ty.name).unwrap_or_default();
        let keyed = !ty.key.is_empty();
        let twice = keyed && change.action == Action::Create && !find(ty, change, &records).is_empty();
        let outcome = match twice {
            true => Outcome::Rejected { reason: "its key is there already".into() },
            false => store.apply(ty, &mut records, change),
        };
        store.types.insert(ty.name.clone(), records);
        outcome.into()
    }

    async fn look_up(&self, ty: &TypeSpec, change: &Change) -> Result<Vec<Current>> {
        Ok(find(ty, change, &self.records(&ty.name)))
    }
}

/// The record with the change's id, or those with the key that it writes; without a key those with its values.
fn find(ty: &TypeSpec, change: &Change, records: &[Current]) -> Vec<Current> {
    let written = |at: usize| {
        let attribute = change.attributes.iter().find(|written| written.name == ty.attributes[at].name);
        (at, attribute.map(|written| &written.after))
    };
    // Where the key lives in the ledger alone, whatever is written tells the record.
    let told: Vec<(usize, Option<&Datum>)> = match ty.key.is_empty() {
        true => (0..ty.attributes.len()).map(written).filter(|(_, written)| written.is_some()).collect(),
        false => ty.key.iter().map(|at| written(*at)).collect(),
    };
    let is_it = |record: &&Current| match &change.target_id {
        Some(id) => record.id == *id,
        None => told.iter().all(|(at, written)| *written == Some(&record.values[*at])),
    };
    records.iter().filter(is_it).cloned().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::target::conformance::{System, conformance};

    impl System for MemoryTarget {
        type Target = MemoryTarget;

        fn open(&self) -> MemoryTarget {
            self.clone()
        }

        fn add_by_hand(&self, ty: &TypeSpec, values: Vec<Datum>) {
            self.add(&ty.name, values);
        }
    }

    #[tokio::test]
    async fn conforms() {
        conformance(MemoryTarget::default).await;
        conformance(MemoryTarget::of_records).await;
    }
}
