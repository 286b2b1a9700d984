//! The two sides of the comparison on disk: what the source wants and what the target holds, per target type.
//!
//! Hides how mappings that share a type are merged into one list of attributes, and how records become keys in memory
//! and values in a temporary file. Deliberately compares nothing.

use std::collections::HashSet;

use futures::StreamExt;
use futures::stream;

use crate::directory::{self, Directory};
use crate::error::{Error, Result};
use crate::expr::{self, Catalog, Expr};
use crate::find::{Found, Tally};
use crate::job::Job;
use crate::ledger::Ledger;
use crate::mapping::each::Element;
use crate::mapping::{Attribute, KeyRule, Mapped, Mapping, MaxLength, Rejection, shorten};
use crate::plan::attributes::AttributePolicy;
use crate::plan::build::merge_twice;
use crate::plan::change::{AttributeSpec, Change, Current, Note, NoteKind, TypeSpec};
use crate::plan::datum::Datum;
use crate::plan::decide::{Desired, MappingPolicy, TypePolicy, protect_name};
use crate::plan::matching::{CurrentKey, CurrentSide, DesiredKey, DesiredSide, DesiredState, Ownership, target_key};
use crate::plan::policy::{Removal, StepAction};
use crate::record::{Coverage, Key, Value};
use crate::scope::{Judge, Standing};
use crate::spill::SpillWriter;
use crate::target::{Target, WriteRecords, Writes};

/// The target types of a job, each with the mappings that make it, in the order of the job.
pub fn types(job: &Job) -> Result<Vec<TypePolicy>> {
    let mut types: Vec<TypePolicy> = Vec::new();
    for mapping in &job.mappings {
        let at = types.iter().position(|ty| ty.spec.name == mapping.target).unwrap_or_else(|| {
            types.push(TypePolicy {
                spec: TypeSpec { name: mapping.target.clone(), attributes: vec![], key: vec![], adopt: vec![] },
                mappings: Vec::new(),
                // The rows of a split record are the elements of a list: they come and go as links do.
                links: mapping.source.is_link() || mapping.each.is_some(),
                rekeyed: false,
            });
            types.len() - 1
        });
        extend(&mut types[at], job, mapping)?;
    }
    // A later mapping of the type may have added attributes: every policy covers all of them.
    for ty in &mut types {
        ty.rekeyed = job.is_rekeyed(&ty.spec.name);
        let width = ty.spec.attributes.len();
        ty.mappings.iter_mut().for_each(|mapping| mapping.attributes.resize(width, None));
    }
    Ok(types)
}

/// Adds one mapping's attributes, flags and policies to its type.
fn extend(ty: &mut TypePolicy, job: &Job, mapping: &Mapping) -> Result<()> {
    let spec = &mut ty.spec;
    let mut policies = vec![None; spec.attributes.len()];
    let mut places = Vec::with_capacity(mapping.attributes.len());
    for attribute in &mapping.attributes {
        let reference = attribute.reference.as_ref().and_then(|name| job.mapping(name));
        let wanted = AttributeSpec {
            name: attribute.name.clone(),
            many: attribute.many,
            reference: reference.map(|mapping| mapping.target.clone()),
            find: attribute.find.as_ref().map(|find| find.among.clone()),
            private: attribute.private,
            boolean: attribute.is_boolean(),
            unique: false,
            only_read: false,
            holds: attribute.holds(),
        };
        let at = place(spec, wanted);
        policies.resize(spec.attributes.len(), None);
        policies[at] = Some(AttributePolicy {
            write: attribute.write,
            empty: attribute.empty,
            on_adopt: attribute.on_adopt,
            on_conflict: attribute.on_conflict,
        });
        places.push(at);
    }
    for name in flagged(&mapping.removal) {
        place(spec, AttributeSpec { name, ..AttributeSpec::default() });
    }
    let protect = mapping.protect.as_deref().map(|text| protect(spec, text)).transpose()?;
    let key = match &mapping.key {
        KeyRule::Attributes(key) => key.iter().map(|index| places[*index]).collect(),
        KeyRule::Ledger => Vec::new(),
    };
    if !ty.mappings.is_empty() && spec.key != key {
        return Err(Error::usage(format!(
            "the mappings {} and {} both make {}, but with different keys",
            ty.mappings[0].name, mapping.name, spec.name
        ))
        .hint("give them the same `key`, or another `target`"));
    }
    spec.key = key;
    for index in &mapping.adopt {
        if !spec.adopt.contains(&places[*index]) {
            spec.adopt.push(places[*index]);
        }
    }
    ty.mappings.push(MappingPolicy {
        name: mapping.name.clone(),
        attributes: policies,
        removal: mapping.removal.clone(),
        recreate: mapping.recreate,
        protect,
    });
    Ok(())
}

/// Compiles a `protect` expression; what it names and no mapping writes is read from the target as well.
fn protect(spec: &mut TypeSpec, text: &str) -> Result<Expr> {
    let compiled = expr::compile_filter(text, None, &mut Catalog::new())
        .map_err(|error| Error::usage(format!("protect = {text:?}: {error}")))?;
    for name in compiled.names() {
        if !spec.attributes.iter().any(|attribute| protect_name(&attribute.name) == *name) {
            place(spec, AttributeSpec { name: name.to_string(), only_read: true, ..AttributeSpec::default() });
        }
    }
    Ok(compiled)
}

fn place(spec: &mut TypeSpec, wanted: AttributeSpec) -> usize {
    let Some(at) = spec.attributes.iter().position(|attribute| attribute.name == wanted.name) else {
        spec.attributes.push(wanted);
        return spec.attributes.len() - 1;
    };
    let there = &mut spec.attributes[at];
    let boolean = there.boolean || wanted.boolean;
    // What one mapping only looks at, another one writes.
    if there.only_read {
        *there = wanted;
    }
    there.boolean = boolean;
    at
}

fn flagged(removal: &Removal) -> impl Iterator<Item = String> + '_ {
    let steps = removal.by_cause.values().flatten().chain(&removal.default);
    steps
        .filter_map(|step| match &step.action {
            StepAction::Flag(flags) => Some(flags.keys().cloned()),
            StepAction::Delete => None,
        })
        .flatten()
}

/// What the target holds, as far as it says what is desired.
pub struct Against<'a> {
    pub target: &'a dyn Target,
    /// The records that `find` looks for.
    pub found: &'a Found,
}

/// Maps every record in scope of the type's mappings.
pub fn desired(
    job: &Job,
    directory: &Directory<'_>,
    judge: &Judge<'_>,
    policy: &TypePolicy,
    against: Against<'_>,
) -> Result<DesiredSide> {
    let mut wanted = Wanted {
        job,
        spec: &policy.spec,
        against,
        records: SpillWriter::new()?,
        keys: Vec::new(),
        notes: Vec::new(),
        names: Tally::default(),
    };
    let sight = judge.sight();
    for (index, name) in policy.mappings.iter().map(|mapping| &mapping.name).enumerate() {
        let Some(mapping) = job.mapping(name) else { continue };
        let maker = Maker::new(index, mapping, &policy.spec);
        if let Some(distinct) = &mapping.distinct {
            let values = judge.values(mapping, distinct)?;
            for (key, spelling) in &values.known {
                let records = values.records(key, mapping.source, directory)?;
                let mapped = mapping.apply_value(spelling, &records, &sight);
                wanted.take(&maker, key.clone(), spelling.to_string(), mapped)?;
            }
            continue;
        }
        directory.walk(mapping.source, &mut |record| {
            if judge.standing(&record)? != Standing::In {
                return Ok(());
            }
            let label = directory::label(directory, &job.catalog, &record);
            if mapping.each.is_none() {
                let mapped = mapping.apply(&record, &sight);
                return wanted.take(&maker, record.key, label, mapped);
            }
            for part in mapping.parts(&record, &sight) {
                let label = match &part.element {
                    Some(Element { value: Value::Record(item), .. }) => {
                        format!("{label}: {}", directory::label(directory, &job.catalog, item))
                    }
                    Some(element) => format!("{label}: {}", element.spelling),
                    None => label.clone(),
                };
                wanted.take(&maker, part.key, label, part.mapped)?;
            }
            Ok(())
        })?;
    }
    wanted.finish()
}

/// One mapping of a type.
struct Maker<'a> {
    /// Its place among the type's mappings.
    index: usize,
    mapping: &'a Mapping,
    /// Of each of its attributes the place among the type's.
    places: Vec<Option<usize>>,
}

impl<'a> Maker<'a> {
    fn new(index: usize, mapping: &'a Mapping, spec: &TypeSpec) -> Maker<'a> {
        let place = |name: &str| spec.attributes.iter().position(|attribute| attribute.name == name);
        let places = mapping.attributes.iter().map(|attribute| place(&attribute.name)).collect();
        Maker { index, mapping, places }
    }
}

/// What the source wants of one type, as it is mapped.
struct Wanted<'a> {
    job: &'a Job,
    spec: &'a TypeSpec,
    against: Against<'a>,
    records: SpillWriter<Desired>,
    keys: Vec<DesiredKey>,
    notes: Vec<Note>,
    names: Tally,
}

impl Wanted<'_> {
    /// Takes one record of a mapping.
    fn take(&mut self, maker: &Maker<'_>, key: Key, label: String, mapped: Result<Mapped, Rejection>) -> Result<()> {
        let entry = match mapped.and_then(|mapped| self.values(maker, mapped, &key, &label)) {
            Err(rejection) => DesiredKey {
                key,
                target_key: None,
                state: DesiredState::Rejected { label: label.into(), reason: rejection.to_string().into() },
            },
            Ok(values) => {
                let target_key = target_key(self.spec, |at| values[at].as_ref());
                let place = self.records.push(&Desired { mapping: maker.index, label, values })?;
                DesiredKey { key, target_key, state: DesiredState::Mapped(place) }
            }
        };
        self.keys.push(entry);
        Ok(())
    }

    /// The values in the order of the type's attributes. References to records of the job are resolved by the plan;
    /// everything else is what the target would give back.
    fn values(
        &mut self,
        maker: &Maker<'_>,
        mapped: Mapped,
        key: &Key,
        label: &str,
    ) -> Result<Vec<Option<Datum>>, Rejection> {
        let attributes = &maker.mapping.attributes;
        let mut values = vec![None; self.spec.attributes.len()];
        for ((attribute, at), value) in attributes.iter().zip(&maker.places).zip(mapped.values) {
            let Some(at) = *at else { continue };
            values[at] = Some(match (&attribute.reference, &attribute.find) {
                (Some(to), _) => self.job.reference(to, value),
                (None, Some(find)) => {
                    let value = self.names.resolve(self.against.found, attribute, find, value, (key, label));
                    attribute.check_required(&value)?;
                    self.against.target.normalise(self.spec, at, value)
                }
                (None, None) => {
                    let value = self.fitting(maker.mapping, attribute, at, value, (key, label))?;
                    self.against.target.normalise(self.spec, at, value)
                }
            });
        }
        for (at, words) in mapped.cut {
            self.note_cut((key, label), format!("\"{}\" {words}: it is cut.", attributes[at].name));
        }
        Ok(values)
    }

    /// A value as long as the target keeps it. The mapping's own `max_length` was seen to before.
    fn fitting(
        &mut self,
        mapping: &Mapping,
        attribute: &Attribute,
        at: usize,
        mut value: Datum,
        (key, label): (&Key, &str),
    ) -> Result<Datum, Rejection> {
        let Some(characters) = self.against.target.length_max(self.spec, at) else { return Ok(value) };
        let Some(words) = shorten(&mut value, MaxLength { characters, reject: false }) else { return Ok(value) };
        let is_key = matches!(&mapping.key, KeyRule::Attributes(_)) && self.spec.key.contains(&at);
        if is_key || attribute.max_length.is_some_and(|most| most.reject) {
            // Two keys that are cut may become one.
            return Err(Rejection { attribute: attribute.name.clone(), reason: words });
        }
        self.note_cut((key, label), format!("\"{}\" {words} by the target: it is cut.", attribute.name));
        Ok(value)
    }

    fn note_cut(&mut self, (key, label): (&Key, &str), words: String) {
        self.notes.push(Note::new(NoteKind::Shortened, &self.spec.name, key, label, words));
    }

    fn finish(mut self) -> Result<DesiredSide> {
        self.keys.sort_by(|a, b| a.key.cmp(&b.key));
        self.notes.extend(self.names.notes(&self.spec.name));
        Ok(DesiredSide { keys: merge_twice(self.keys), records: self.records.finish()?, notes: self.notes })
    }
}

/// Owned records that a list does not show are looked up one by one, up to so many; beyond them the list is not believed.
const LOOKED_UP_MAX: usize = 1000;

/// Reads what the target holds of the type. A target of single records may answer lists from an index that lags behind
/// what was written: what the ledger owns and the list does not show is asked for by its id, so that a record is never
/// taken for deleted because it is new.
pub async fn current(target: &dyn Target, policy: &TypePolicy, ledger: Option<&Ledger>) -> Result<CurrentSide> {
    let spec = &policy.spec;
    refuse_lost(target, spec, ledger).await?;
    let mut records = SpillWriter::new()?;
    let mut keys = Vec::new();
    let coverage = target
        .read(spec, &mut |record: Current| {
            let target_key = target_key(spec, |at| record.values.get(at));
            let place = records.push(&record)?;
            keys.push(CurrentKey { id: Key::parse(&record.id), target_key, place });
            Ok(())
        })
        .await?;
    let mut side = Reading { keys, records, coverage };
    if let (Writes::Records(writes), Some(ledger), Coverage::Complete) = (target.writes(), ledger, &side.coverage) {
        side.look_up_owned(writes, spec, ledger).await?;
    }
    Ok(CurrentSide { keys: side.keys, records: side.records.finish()?, coverage: side.coverage })
}

/// Refuses a type that lost the place of an attribute which the job filled: its values would look as if someone had
/// cleared each of them by hand.
pub async fn refuse_lost(target: &dyn Target, spec: &TypeSpec, ledger: Option<&Ledger>) -> Result<()> {
    let (Some(lacks), Some(ledger)) = (target.lacks(spec).await?, ledger) else { return Ok(()) };
    let mut lost = Vec::new();
    for at in lacks.attributes {
        let name = &spec.attributes[at].name;
        if ledger.has_filled(&spec.name, name)? {
            lost.push(format!("{name:?}"));
        }
    }
    if lost.is_empty() {
        return Ok(());
    }
    let (columns, them, they_were) = match lost.len() {
        1 => ("column", "it", "it was"),
        _ => ("columns", "them", "they were"),
    };
    let others: Vec<String> = lacks.others.iter().take(8).map(|name| format!("{name:?}")).collect();
    let others = if others.is_empty() { String::new() } else { format!(" (not of this job: {})", others.join(", ")) };
    Err(Error::failed(format!("{} lost the {columns} {}", lacks.place, lost.join(", ")))
        .cause(format!("this job filled {them}; what stands there now is not known, and nothing was written"))
        .hint(format!(
            "if {they_were} renamed, give back the name{others}; else put back the file as it was, or take the attribute out \
             of the mapping. Out for one run and in again, it is filled anew"
        )))
}

/// What was read of a type, while more may come.
struct Reading {
    keys: Vec<CurrentKey>,
    records: SpillWriter<Current>,
    coverage: Coverage,
}

impl Reading {
    /// Adds owned records that the list did not show and that are there all the same.
    async fn look_up_owned(&mut self, target: &dyn WriteRecords, spec: &TypeSpec, ledger: &Ledger) -> Result<()> {
        let seen: HashSet<&Key> = self.keys.iter().map(|key| &key.id).collect();
        let mut missing = Vec::new();
        ledger.keys(&spec.name, &mut |owned, id| {
            if matches!(owned.standing, Ownership::Owned | Ownership::Retired) && !seen.contains(&Key::parse(id)) {
                missing.push(id.to_string());
            }
            Ok(())
        })?;
        if missing.len() > LOOKED_UP_MAX {
            let words = format!("{} owned records are not in the list, too many to look for one by one", missing.len());
            self.coverage = Coverage::partial(words);
            return Ok(());
        }
        let ask = |id: String| async move { target.look_up(spec, &Change::about(spec, id)).await };
        let mut answers = stream::iter(missing).map(ask).buffered(target.in_flight_max().max(1));
        while let Some(found) = answers.next().await {
            for record in found? {
                let target_key = target_key(spec, |at| record.values.get(at));
                let place = self.records.push(&record)?;
                self.keys.push(CurrentKey { id: Key::parse(&record.id), target_key, place });
            }
        }
        Ok(())
    }
}
