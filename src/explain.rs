//! `explain`: why a record is in or out, what it becomes in the target, what differs and who changed it, and what a run
//! would do with it and why.
//!
//! An [`Inquiry`] looks on while the very plan of a run is made ([`crate::session::Session::plan_before`]), so that what
//! is told here is what the plan does. Hides how a person names a record (`who`), and what of it is private (`eye`).
//! Deliberately decides nothing and writes nothing.

mod answer;
mod eye;
mod fate;
mod who;

use std::cell::RefCell;
use std::collections::BTreeSet;

use serde_json::{Map, Value as Json};

pub use self::answer::{
    AttributeView, ClauseView, Explanation, Fate, Input, LinkView, ScopeView, SourceView, TargetView,
};
use self::eye::{Eye, MappedView, Private};
use self::fate::Teller;
use self::who::{Named, Subject, by_name, fits, homes, likely_home, owned, value};
use crate::directory::Directory;
use crate::distinct;
use crate::error::{Error, Result};
use crate::expr::{Navigate, Subject as About};
use crate::job::Job;
use crate::ledger::Ledger;
use crate::mapping::{Distinct, Each, Mapping, each};
use crate::plan::Plan;
use crate::plan::build::{Decided, Witness};
use crate::plan::decide::Source;
use crate::record::{Collection, Key};
use crate::scope::Judge;
use crate::snapshot::Snapshot;
use crate::trial::touches;

/// A question about one record, that looks on while the plan is made.
pub struct Inquiry {
    subject: Subject,
    /// What the ledger calls it.
    label: Option<String>,
    /// Only this mapping's distinct values are meant.
    of: Option<String>,
    /// Why nobody is meant, unless it is a distinct value.
    nobody: Option<Error>,
    pub witness: Witness,
    sources: Vec<SourceView>,
    /// Attributes as each mapping makes them, by the mapping's name.
    mapped: Vec<(String, MappedView)>,
}

/// Where an inquiry looks.
struct View<'a> {
    job: &'a Job,
    directory: &'a Directory<'a>,
    judge: &'a Judge<'a>,
    /// The directory with what is in scope, as expressions see it.
    sight: &'a dyn Navigate,
}

impl Inquiry {
    /// Finds what a person means: by the id or a name of an object that was read, else by what the ledger knows of a
    /// record that is no longer there; or by the key of a pair or an assignment, as plans print it.
    pub fn about(who: &str, job: &Job, ledger: Option<&Ledger>, snapshot: &Snapshot) -> Result<Inquiry> {
        let homes = homes(job);
        let key = Key::parse(&who.to_ascii_lowercase());
        let (mut nobody, mut of) = (None, None);
        let (subject, label) = match &key {
            Key::Pair(..) | Key::Assignment(_) => (Subject::Key(key), None),
            Key::Guid(id) => {
                let read = homes.iter().find(|home| snapshot.objects(**home).contains(*id));
                let owned = owned(job, ledger, who)?.into_iter().next();
                match (read, owned) {
                    (Some(home), _) => (Subject::Object(*home, *id), None),
                    (None, Some(known)) => (known.subject, Some(known.label)),
                    (None, None) => (Subject::Object(likely_home(&homes, snapshot, *id), *id), None),
                }
            }
            Key::Text(_) => match each::split(&key) {
                Some((id, element)) => (Subject::Key(each::key(id, &element.to_lowercase())), None),
                None => match (by_name(who, job, ledger, snapshot)?, value(who, job)) {
                    (Named::As(subject, label), _) => (subject, label),
                    (Named::Nobody(error), None) => return Err(error),
                    (Named::Nobody(error), Some((mapping, key))) => {
                        (nobody, of) = (Some(error), mapping);
                        (Subject::Key(key), None)
                    }
                },
            },
        };
        let wants: Box<dyn Fn(&Key) -> bool> = match &subject {
            Subject::Object(_, id) => {
                let (id, chosen) = (*id, BTreeSet::from([*id]));
                let element = move |key: &Key| each::split(key).is_some_and(|(of, _)| of == id);
                Box::new(move |key| touches(key, &chosen) || element(key))
            }
            Subject::Key(wanted) => {
                let wanted = wanted.clone();
                Box::new(move |key| *key == wanted)
            }
        };
        let witness = Witness { wants, seen: RefCell::default() };
        Ok(Inquiry { subject, label, of, nobody, witness, sources: Vec::new(), mapped: Vec::new() })
    }

    fn key(&self) -> Key {
        match &self.subject {
            Subject::Object(_, id) => Key::Guid(*id),
            Subject::Key(key) => key.clone(),
        }
    }

    /// The mappings that make one record of it. What several rows are made of is told as its links.
    fn mappings<'j>(&self, job: &'j Job) -> Vec<&'j Mapping> {
        let fits = |mapping: &&Mapping| match (&self.subject, &mapping.each, &mapping.distinct) {
            (Subject::Object(collection, _), None, None) => mapping.source == *collection,
            (Subject::Object(..), ..) => false,
            (Subject::Key(key), Some(_), _) => each::split(key).is_some(),
            (Subject::Key(_), None, Some(_)) => self.of.as_ref().is_none_or(|name| mapping.name == *name),
            (Subject::Key(key), None, None) => fits(mapping.source, key),
        };
        job.mappings.iter().filter(fits).collect()
    }

    /// Looks at the record itself, before the sides are compared.
    pub fn look(&mut self, job: &Job, directory: &Directory<'_>, judge: &Judge<'_>) -> Result<()> {
        let key = self.key();
        let mappings = self.mappings(job);
        let collections: BTreeSet<Collection> = match &self.subject {
            Subject::Object(collection, _) => BTreeSet::from([*collection]),
            Subject::Key(_) => {
                mappings.iter().filter(|mapping| is_whole(mapping)).map(|mapping| mapping.source).collect()
            }
        };
        let sight = judge.sight();
        let view = View { job, directory, judge, sight: &sight };
        for collection in collections {
            let private = Private::of(job, collection);
            let record = directory.record(collection, &key)?;
            let eye = Eye { directory, sight: &sight, private: &private, record: record.as_deref() };
            self.sources.push(eye.source(job, judge, collection, &key)?);
        }
        for mapping in mappings {
            match (&mapping.each, &mapping.distinct) {
                (Some(each), _) => self.look_at_part(&view, mapping, each, &key)?,
                (None, Some(distinct)) => self.look_at_value(&view, mapping, distinct, &key)?,
                (None, None) => {
                    let private = Private::of(job, mapping.source);
                    let record = directory.record(mapping.source, &key)?;
                    let eye = Eye { directory, sight: &sight, private: &private, record: record.as_deref() };
                    let mapped = eye.mapped(mapping, record.as_deref().map(About::Record));
                    self.mapped.push((mapping.name.clone(), mapped));
                }
            }
        }
        Ok(())
    }

    /// Looks at the row that one element of a record's list becomes, and at that record.
    fn look_at_part(&mut self, view: &View<'_>, mapping: &Mapping, each: &Each, key: &Key) -> Result<()> {
        let Some((id, element)) = each::split(key) else { return Ok(()) };
        if likely_home(&homes(view.job), view.directory.snapshot(), id) != mapping.source {
            return Ok(());
        }
        let private = Private::of(view.job, mapping.source);
        let record = view.directory.object(mapping.source, id)?;
        let elements = record.as_deref().map(|record| each.elements(record, view.sight)).unwrap_or_default();
        let found = elements.known.iter().find(|known| known.key == element);
        let eye = Eye { directory: view.directory, sight: view.sight, private: &private, record: record.as_deref() };
        // The key of a pair may be that of a row as well; such a row must be there to be meant.
        let is_meant = found.is_some() || matches!(key, Key::Text(_));
        if is_meant && !self.sources.iter().any(|source| source.collection == mapping.source) {
            self.sources.push(eye.source(view.job, view.judge, mapping.source, &Key::Guid(id))?);
        }
        let about = record.as_deref().zip(found).map(|(record, found)| About::Item(record, &found.value));
        self.mapped.push((mapping.name.clone(), eye.mapped(mapping, about)));
        Ok(())
    }

    /// Looks at one distinct value, and the records that have it.
    fn look_at_value(&mut self, view: &View<'_>, mapping: &Mapping, of: &Distinct, key: &Key) -> Result<()> {
        let values = view.judge.values(mapping, of)?;
        let (state, words) = match values.has(key) {
            None => return Ok(()),
            Some(Ok(())) => ("in", format!("records in scope have this {}", of.value)),
            Some(Err(reason)) => ("unknown", reason.to_string()),
        };
        let private = Private::of(view.job, mapping.source);
        let records = values.records(key, mapping.source, view.directory)?;
        let object = values.known.get(key).map(|spelling| distinct::record(spelling));
        let eye = Eye { directory: view.directory, sight: view.sight, private: &private, record: None };
        let mut properties = Map::new();
        properties.extend(values.known.get(key).map(|spelling| (distinct::NAME.to_owned(), Json::from(&**spelling))));
        if of.joins {
            properties.insert(distinct::RECORDS.into(), eye.words(records.clone()));
        }
        self.sources.push(SourceView {
            collection: mapping.source,
            state,
            words,
            object: None,
            properties,
            private: BTreeSet::new(),
            scope: ScopeView { filter: None, excluded: None, clauses: Vec::new() },
            accepted: Vec::new(),
        });
        let about = object.as_ref().map(|object| About::Group(object, &records));
        self.mapped.push((mapping.name.clone(), eye.mapped(mapping, about)));
        Ok(())
    }

    /// Puts together what was seen, once the plan is made.
    pub fn explain(self, plan: &Plan, job: &Job, snapshot: &Snapshot) -> Result<Explanation> {
        let key = self.key();
        let seen = self.witness.seen.take();
        let teller = Teller { plan, held: plan.header.limits.iter().filter(|check| check.held).collect() };
        let mut targets = Vec::new();
        let mut types = BTreeSet::new();
        for mapping in self.mappings(job) {
            if !types.insert(&mapping.target) {
                continue;
            }
            let Some(ty) = plan.header.types.iter().position(|ty| ty.spec.name == mapping.target) else { continue };
            let decided = seen.iter().find(|decided| decided.ty == ty && decided.key == key);
            let made_by = self.made_by(job, plan, ty, decided).unwrap_or(&mapping.name);
            let mapped = self.mapped.iter().find(|(name, _)| name == made_by).map(|(_, mapped)| mapped);
            if !is_whole(mapping) && decided.is_none() && !mapped.is_some_and(MappedView::is_made) {
                continue;
            }
            targets.push(teller.target(ty, made_by, mapped, decided, &key));
        }
        let of_links = seen.iter().filter(|decided| decided.key != key && decided.source.is_some());
        let links: Vec<LinkView> = of_links.map(|decided| teller.link(decided)).collect();
        let known_as = self.sources.iter().find_map(|source| source.object.as_ref()?.object.name.clone());
        let label = targets.iter().find_map(|target| Some(target.fate.change.as_ref()?.label.clone()));
        let name = known_as.or(self.label).or(label);
        // Nothing was ever heard of such a record.
        let nowhere = self.sources.is_empty() && seen.is_empty();
        if nowhere {
            return Err(self.nobody.unwrap_or_else(|| {
                Error::usage(format!("the job makes no records with the key {key}"))
                    .hint("give the id or a name of a user, group or device, or a key as the plan prints it")
            }));
        }
        Ok(Explanation {
            as_of: snapshot.as_of(),
            key: key.to_string(),
            name,
            sources: self.sources,
            targets,
            links,
            limits: plan.waiting().into_iter().cloned().collect(),
            preview: plan.header.preview.clone(),
        })
    }

    /// The mapping that the plan went by.
    fn made_by<'j>(&self, job: &'j Job, plan: &Plan, ty: usize, decided: Option<&Decided>) -> Option<&'j str> {
        let decided = decided?;
        let name = match (&decided.source, &decided.row) {
            (Some(Source::Desired(desired)), _) => plan.header.types[ty].mappings.get(desired.mapping)?,
            (_, Some(row)) => &row.mapping,
            _ => return None,
        };
        job.mapping(name).map(|mapping| mapping.name.as_str())
    }
}

/// Whether the mapping makes one row of one record.
fn is_whole(mapping: &Mapping) -> bool {
    mapping.distinct.is_none() && mapping.each.is_none()
}
