//! `explain`: why a record is in or out, what it becomes in the target, what differs and who changed it, and what a run
//! would do with it and why.
//!
//! An [`Inquiry`] looks on while the very plan of a run is made ([`crate::session::Session::plan_before`]), so that what
//! is told here is what the plan does. Plain data comes out; hides how a person names a record, and what of it is private. Deliberately
//! decides nothing and writes nothing.

use std::cell::RefCell;
use std::collections::BTreeSet;

use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Map, Value as Json, json};

use crate::directory::Directory;
use crate::distinct;
use crate::error::{Error, Result};
use crate::expr::{Catalog, Expr, Navigate, Navigation, Subject as About, Truth};
use crate::job::Job;
use crate::ledger::Ledger;
use crate::lookup::{self, Found as Object, OBJECTS, Parts};
use crate::mapping::{Attribute, AttributeValue, Distinct, Each, Mapping, each};
use crate::plan::attributes::{ChangedBy, changed_by};
use crate::plan::build::{Decided, Witness};
use crate::plan::change::{Action, Change, Note, Origin, Row, State, TypeSpec};
use crate::plan::datum::Datum;
use crate::plan::decide::{Desired, Found, Source};
use crate::plan::limits::counted;
use crate::plan::policy::Write;
use crate::plan::{LimitCheck, LimitName, Plan, Ran};
use crate::record::{Collection, Form, Guid, Key, Record, Value};
use crate::report::private;
use crate::report::visible::quoted;
use crate::scope::{Judge, Opinion, Standing};
use crate::snapshot::{Extent, Snapshot};
use crate::trial::touches;

/// Characters of a name that an error shows.
const NAME_WIDTH: usize = 60;
/// Candidates that an error names.
const CANDIDATES_MAX: usize = 10;

/// Everything there is to say of one record.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Explanation {
    /// When Entra was read.
    pub as_of: Timestamp,
    pub key: String,
    /// What it is called, where anybody knows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// What Entra says of it, and the scope; one for an object, of a pair one for each collection that has such pairs.
    pub sources: Vec<SourceView>,
    /// What becomes of it in each type of the target.
    pub targets: Vec<TargetView>,
    /// Of an object: the pairs and assignments that it is one end of.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub links: Vec<LinkView>,
    /// Limits that the run waits for as a whole.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub limits: Vec<LimitCheck>,
    /// Why a plan from this snapshot cannot be applied.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub preview: Option<String>,
}

/// A record as Entra has it, and what the scope says of it.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct SourceView {
    pub collection: Collection,
    /// `in`, `out`, `edited`, `gone`, `not-found` or `unknown`.
    pub state: &'static str,
    /// The state in words.
    pub words: String,
    /// The object as it was read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub object: Option<Object>,
    /// What was found out of a pair or an assignment.
    #[serde(skip_serializing_if = "Map::is_empty")]
    pub properties: Map<String, Json>,
    /// Properties that are not shown, because only private attributes are made of them.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub private: BTreeSet<String>,
    pub scope: ScopeView,
    /// The scopes that were accepted before and differ from today's.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub accepted: Vec<ScopeView>,
}

/// A filter on one record.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct ScopeView {
    /// In its normal form; none where the whole collection is let in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub filter: Option<String>,
    /// Whether the job's list of excluded records names it: true, false, or unknown; none where there is no list.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub excluded: Option<Json>,
    pub clauses: Vec<ClauseView>,
}

/// One clause on one record.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct ClauseView {
    /// In its normal form.
    pub clause: String,
    /// `true`, `false`, or `{"unknown": "reason"}`; none where there is no record to test.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value: Option<Json>,
    pub ran: Ran,
    pub inputs: Vec<Input>,
}

/// Something that an expression reads, with its value for the record.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Input {
    pub path: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value: Option<Json>,
    /// The value is private and left out.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub hidden: bool,
}

/// What becomes of a record in one type of the target.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct TargetView {
    #[serde(rename = "type")]
    pub ty: String,
    pub mapping: String,
    /// Why the mapping fails for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rejected: Option<String>,
    /// `there`, `absent`, `not-read`, `collision`, `returner`, or `not-looked-for`: neither wanted nor owned.
    pub found: &'static str,
    /// What the target calls the record.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ledger: Option<LedgerView>,
    pub attributes: Vec<AttributeView>,
    #[serde(flatten)]
    pub fate: Fate,
}

/// What the ledger says of a record.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct LedgerView {
    /// `owned`, `retired`, `declined`, `deleted-in-target` or `pinned`.
    pub state: &'static str,
    pub origin: Origin,
    pub mapping: String,
    /// Of a retired record: why and since when it is leaving.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub leaving: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub missing_since: Option<Timestamp>,
}

/// One attribute with its sides. A side that is not there is not known or does not apply; null is the empty value.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct AttributeView {
    pub name: String,
    /// In its normal form; none for an attribute that the mapping does not write.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expression: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub inputs: Vec<Input>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub write: Option<Write>,
    /// What Entra says now; of a record out of scope, what it would become.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub desired: Option<Datum>,
    /// What the target holds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub current: Option<Datum>,
    /// What was written last, as read back.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub applied: Option<Datum>,
    /// What Entra said when the value was settled last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub settled: Option<Datum>,
    /// Whose doing the difference between Entra and the target is; none where there is none, or it is not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub changed_by: Option<ChangedBy>,
    /// Private: no value of it is shown.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub hidden: bool,
}

/// What a run would do with a record, and why.
#[derive(Clone, PartialEq, Debug, Default, Serialize)]
pub struct Fate {
    /// In words.
    pub outcome: String,
    /// As the plan has it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub change: Option<Change>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<Note>,
    /// Limits that the change counts against and that hold the run.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub held_by: Vec<LimitName>,
}

/// A pair or an assignment, in short.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct LinkView {
    #[serde(rename = "type")]
    pub ty: String,
    pub key: String,
    pub name: String,
    #[serde(flatten)]
    pub fate: Fate,
}

/// What is asked about.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Subject {
    Object(Collection, Guid),
    /// A pair, an assignment, an object of a custom list, a row of an element of a list, or one of a distinct value.
    Key(Key),
}

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

/// What one mapping makes of the record.
struct MappedView {
    attributes: Vec<AttributeView>,
}

impl MappedView {
    fn is_made(&self) -> bool {
        self.attributes.iter().any(|attribute| attribute.desired.is_some())
    }
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

impl Explanation {
    /// Whether anything about it is not known.
    pub fn is_doubtful(&self) -> bool {
        self.sources.iter().any(|source| matches!(source.state, "unknown" | "not-found"))
            || self.targets.iter().any(|target| target.found == "not-read")
    }
}

/// Whether the mapping makes one row of one record.
fn is_whole(mapping: &Mapping) -> bool {
    mapping.distinct.is_none() && mapping.each.is_none()
}

/// The distinct value that may be meant: by its text, or by the mapping's name and its text (`departments/Retail`), and
/// then by that name. None where the job has no such mapping.
fn value(who: &str, job: &Job) -> Option<(Option<String>, Key)> {
    let of_values = || job.mappings.iter().filter(|mapping| mapping.distinct.is_some());
    let named = who.split_once('/').filter(|(name, _)| of_values().any(|mapping| mapping.name == *name));
    let text = named.map_or(who, |(_, text)| text);
    of_values().next()?;
    Some((named.map(|(name, _)| name.to_owned()), distinct::key(text)?.0))
}

/// What a name led to.
enum Named {
    As(Subject, Option<String>),
    /// To no record, or to several that merely hold it.
    Nobody(Error),
}

/// Whether records of the collection have keys of that form.
fn fits(collection: Collection, key: &Key) -> bool {
    match collection.form() {
        Form::Pairs(_) => matches!(key, Key::Pair(..)),
        Form::Assignments => matches!(key, Key::Assignment(_)),
        Form::Custom => matches!(key, Key::Text(_) | Key::Guid(_)),
        Form::Objects => false,
    }
}

/// The collections of objects that the job reads, those that people ask about first.
fn homes(job: &Job) -> Vec<Collection> {
    let others = job.catalog.collections().filter(|collection| !OBJECTS.contains(collection));
    let all = OBJECTS.into_iter().chain(others).filter(|collection| collection.form() == Form::Objects);
    all.filter(|collection| job.catalog.uses(*collection) && *collection != Collection::SignInActivity).collect()
}

/// Where an id belongs: where it was read, else where it was looked for in vain, else among the users.
fn likely_home(homes: &[Collection], snapshot: &Snapshot, id: Guid) -> Collection {
    let read = homes.iter().find(|home| snapshot.objects(**home).contains(id));
    let asked = read.or_else(|| homes.iter().find(|home| snapshot.absent(**home, id))).or(homes.first());
    asked.copied().unwrap_or(Collection::Users)
}

/// A record that the ledger knows.
struct Known {
    subject: Subject,
    label: String,
}

/// Records of the ledger that are called so, have that key, or were given that value.
fn owned(job: &Job, ledger: Option<&Ledger>, who: &str) -> Result<Vec<Known>> {
    let Some(ledger) = ledger else { return Ok(Vec::new()) };
    let wanted = who.to_lowercase();
    let mut found: Vec<Known> = Vec::new();
    let whole = |mapping: &&Mapping| is_whole(mapping) && !mapping.source.is_link();
    for mapping in job.mappings.iter().filter(whole) {
        ledger.rows(&mapping.target, &mut |key, row| {
            let value = |value: &Datum| value.as_text().is_some_and(|text| text.to_lowercase() == wanted);
            let named = row.label.to_lowercase() == wanted || row.values.values().any(|held| value(&held.applied));
            if row.mapping != mapping.name || !(named || key.to_string().to_lowercase() == wanted) {
                return Ok(());
            }
            let subject = match (mapping.source.form(), &key) {
                (Form::Objects, Key::Guid(id)) => Subject::Object(mapping.source, *id),
                _ => Subject::Key(key),
            };
            if !found.iter().any(|known| known.subject == subject) {
                found.push(Known { subject, label: row.label });
            }
            Ok(())
        })?;
    }
    Ok(found)
}

/// By a name: of an object that was read, else of a record in the ledger, else the key of a custom list.
fn by_name(who: &str, job: &Job, ledger: Option<&Ledger>, snapshot: &Snapshot) -> Result<Named> {
    let named: Vec<Collection> = homes(job).into_iter().filter(|home| OBJECTS.contains(home)).collect();
    let nobody = match lookup::identify(snapshot, &named, who) {
        Ok((collection, id)) => return Ok(Named::As(Subject::Object(collection, id), None)),
        Err(lookup::Unidentified::Several(error)) => return Err(error),
        Err(lookup::Unidentified::Nobody(error)) => error,
        Err(lookup::Unidentified::Failed(error)) => return Err(error),
    };
    let mut custom = job.mappings.iter().filter(|mapping| mapping.source.form() == Form::Custom);
    let key = Key::parse(who);
    if custom.any(|mapping| snapshot.custom(mapping.source).keys().any(|known| *known == key)) {
        return Ok(Named::As(Subject::Key(key), None));
    }
    let mut known = owned(job, ledger, who)?;
    match known.len() {
        0 | 1 => Ok(known.pop().map_or(Named::Nobody(nobody), |known| Named::As(known.subject, Some(known.label)))),
        several => {
            let mut error =
                Error::usage(format!("{several} records of the ledger are called {}", quoted(who, NAME_WIDTH)));
            for one in known.iter().take(CANDIDATES_MAX) {
                let key = match &one.subject {
                    Subject::Object(collection, id) => format!("{id} ({collection})"),
                    Subject::Key(key) => key.to_string(),
                };
                error = error.cause(format!("{} {key}", quoted(&one.label, NAME_WIDTH)));
            }
            Ok(Named::Nobody(error.hint("give the key of the one you mean")))
        }
    }
}

/// Properties of a collection that only private attributes are made of: nothing of them is shown.
struct Private(BTreeSet<String>);

impl Private {
    fn of(job: &Job, collection: Collection) -> Private {
        let attributes = |private: bool| {
            let of_collection = job.mappings.iter().filter(move |mapping| mapping.source == collection);
            let attributes = of_collection.flat_map(|mapping| &mapping.attributes);
            let attributes = attributes.filter(move |attribute| attribute.private == private);
            attributes.flat_map(|attribute| match &attribute.value {
                AttributeValue::Expr(expr) => expr.names(),
                AttributeValue::Const(_) => BTreeSet::new(),
            })
        };
        let public: BTreeSet<_> = attributes(false).collect();
        Private(attributes(true).filter(|name| !public.contains(name)).map(|name| name.to_string()).collect())
    }

    fn hides(&self, path: &str) -> bool {
        self.0.contains(path.split('/').next().unwrap_or_default())
    }
}

/// Looks at one record of one collection.
struct Eye<'a> {
    directory: &'a Directory<'a>,
    /// The directory with what is in scope, as expressions see it.
    sight: &'a dyn Navigate,
    private: &'a Private,
    record: Option<&'a Record>,
}

impl Eye<'_> {
    fn source(&self, job: &Job, judge: &Judge<'_>, collection: Collection, key: &Key) -> Result<SourceView> {
        let snapshot = self.directory.snapshot();
        let mut opinions = judge.opinions(collection, self.record).into_iter();
        let extent = snapshot.manifest().collections.get(&collection);
        let scope = opinions.next().map(|opinion| self.scope(&opinion, extent)).unwrap_or(ScopeView {
            filter: None,
            excluded: None,
            clauses: Vec::new(),
        });
        let (state, words) = told(judge.key(collection, key)?);
        let object = match (collection.form(), key, self.record) {
            (Form::Objects, Key::Guid(id), Some(_)) => Some(self.object(&job.catalog, collection, *id)?),
            _ => None,
        };
        Ok(SourceView {
            collection,
            state,
            words,
            properties: if object.is_none() { self.fields(&job.catalog) } else { Map::new() },
            object,
            private: self.private.0.clone(),
            scope,
            accepted: opinions.map(|opinion| self.scope(&opinion, None)).collect(),
        })
    }

    /// The object with what the job reads around it.
    fn object(&self, catalog: &Catalog, collection: Collection, id: Guid) -> Result<Object> {
        let around = [Navigation::MemberOf, Navigation::TransitiveMemberOf, Navigation::Members];
        let around = around.into_iter().chain([Navigation::TransitiveMembers, Navigation::Path]);
        let parts = Parts {
            manager: catalog.navigations().contains(&Navigation::Manager),
            licenses: catalog.uses(Collection::LicenseAssignments)
                || catalog.navigations().contains(&Navigation::Licenses),
            memberships: catalog.uses(Collection::EffectiveMemberships)
                || around.into_iter().any(|via| catalog.navigations().contains(&via)),
        };
        let mut object = lookup::about(self.directory.snapshot(), collection, id, parts)?;
        object.properties.retain(|name, _| !self.private.hides(name));
        Ok(object)
    }

    /// The slots of a record that is no object of its own.
    fn fields(&self, catalog: &Catalog) -> Map<String, Json> {
        let Some(record) = self.record else { return Map::new() };
        let fields = catalog.shape(record.collection).fields().iter().zip(&record.slots);
        let fields = fields.filter(|(field, _)| !self.private.hides(&field.name));
        fields.filter_map(|(field, value)| Some((field.name.to_string(), value.as_ref()?.to_json()))).collect()
    }

    fn scope(&self, opinion: &Opinion, extent: Option<&Extent>) -> ScopeView {
        let asked = extent.and_then(Extent::filter);
        let clause = |(clause, truth): &(Expr, Option<Truth>)| {
            let words = clause.to_string();
            ClauseView {
                ran: if asked.is_some_and(|asked| asked.clauses.contains(&words)) { Ran::AtGraph } else { Ran::Here },
                clause: words,
                value: truth.as_ref().map(truth_json),
                inputs: self.inputs(clause, self.record.map(About::Record)),
            }
        };
        ScopeView {
            filter: opinion.filter.clone(),
            excluded: opinion.excluded.as_ref().map(truth_json),
            clauses: opinion.clauses.iter().map(clause).collect(),
        }
    }

    fn inputs(&self, expr: &Expr, about: Option<About<'_>>) -> Vec<Input> {
        let Some(about) = about else { return Vec::new() };
        let input = |input: Expr| {
            let path = input.to_string();
            let hidden = self.private.hides(&path);
            let value = (!hidden).then(|| self.words(input.look(about, self.sight, Value::clone)));
            Input { path, value, hidden }
        };
        expr.inputs().into_iter().map(input).collect()
    }

    /// A value as JSON, records by their names.
    fn words(&self, value: Value) -> Json {
        match value {
            Value::Record(record) => Json::from(self.sight.describe(&record)),
            Value::List(list) => {
                let items: Json = list.items.iter().map(|item| self.words(item.clone())).collect();
                let maybe: Json = list.maybe().iter().map(|item| self.words(item.clone())).collect();
                match (list.rest(), list.maybe().is_empty()) {
                    (None, true) => items,
                    (Some(rest), true) => json!({ "items": items, "rest": rest }),
                    (None, false) => json!({ "items": items, "maybe": maybe }),
                    (Some(rest), false) => json!({ "items": items, "maybe": maybe, "rest": rest }),
                }
            }
            other => other.to_json(),
        }
    }

    fn mapped(&self, mapping: &Mapping, about: Option<About<'_>>) -> MappedView {
        let values = about.map(|about| mapping.values(about, self.sight));
        let attribute = |(index, attribute): (usize, &Attribute)| AttributeView {
            name: attribute.name.clone(),
            expression: match &attribute.value {
                AttributeValue::Expr(expr) => Some(expr.to_string()),
                AttributeValue::Const(_) => None,
            },
            inputs: match &attribute.value {
                AttributeValue::Expr(expr) if !attribute.private => self.inputs(expr, about),
                _ => Vec::new(),
            },
            write: Some(attribute.write),
            desired: values.as_ref().map(|values| values[index].clone()),
            current: None,
            applied: None,
            settled: None,
            changed_by: None,
            hidden: attribute.private,
        };
        MappedView { attributes: mapping.attributes.iter().enumerate().map(attribute).collect() }
    }
}

fn truth_json(truth: &Truth) -> Json {
    match truth {
        Truth::True => Json::Bool(true),
        Truth::False => Json::Bool(false),
        Truth::Unknown(reason) => json!({ "unknown": reason }),
    }
}

/// The state of a record as a word, and in words.
fn told(standing: Standing) -> (&'static str, String) {
    match standing {
        Standing::In => ("in", "in scope".into()),
        Standing::Out(cause) | Standing::LeftOut(cause) => ("out", cause.words),
        Standing::Edited(words) => ("edited", words),
        Standing::Gone(cause) => ("gone", cause.words),
        Standing::NotFound => ("not-found", "not found by id; a second run that finds nothing proves it gone".into()),
        Standing::Unknown(reason) => ("unknown", reason.to_string()),
    }
}

/// Tells what the plan does with records.
struct Teller<'a> {
    plan: &'a Plan,
    /// Limits that hold the run.
    held: Vec<&'a LimitCheck>,
}

impl Teller<'_> {
    fn target(
        &self,
        ty: usize,
        mapping: &str,
        mapped: Option<&MappedView>,
        decided: Option<&Decided>,
        key: &Key,
    ) -> TargetView {
        let spec = &self.plan.header.types[ty].spec;
        let row = decided.and_then(|decided| decided.row.as_ref());
        let (found, target_id) = match decided.map(|decided| &decided.found) {
            None => ("not-looked-for", None),
            Some(Found::There(current)) => ("there", Some(current.id.clone())),
            Some(Found::Absent) => ("absent", None),
            Some(Found::NotRead) => ("not-read", None),
            Some(Found::Collision(_)) => ("collision", None),
            Some(Found::Returner { target_id, .. }) => ("returner", Some(target_id.clone())),
        };
        let rejected = match decided.and_then(|decided| decided.source.as_ref()) {
            Some(Source::Rejected(reason)) => Some(reason.clone()),
            _ => None,
        };
        TargetView {
            ty: spec.name.clone(),
            mapping: mapping.to_owned(),
            rejected,
            found,
            target_id,
            ledger: row.map(ledger),
            attributes: attributes(spec, mapped, decided),
            fate: self.fate(ty, key, decided),
        }
    }

    fn link(&self, decided: &Decided) -> LinkView {
        let label = match (&decided.source, &decided.row) {
            (Some(Source::Desired(Desired { label, .. })), _) => label.clone(),
            (_, Some(row)) => row.label.clone(),
            _ => decided.key.to_string(),
        };
        LinkView {
            ty: self.plan.header.types[decided.ty].spec.name.clone(),
            key: decided.key.to_string(),
            name: label,
            fate: self.fate(decided.ty, &decided.key, Some(decided)),
        }
    }

    fn fate(&self, ty: usize, key: &Key, decided: Option<&Decided>) -> Fate {
        let summary = &self.plan.header.types[ty];
        let spec = &summary.spec;
        let is_private =
            |_: &str, name: &str| spec.attributes.iter().any(|attribute| attribute.private && attribute.name == name);
        let change = decided.and_then(|decided| decided.decision.change.clone());
        let on = |check: &&&LimitCheck| {
            let of_type = check.on.strip_prefix(spec.name.as_str());
            check.on == "run" || of_type.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        };
        let counts = change.as_ref().map(|change| counted(change, summary.links)).unwrap_or_default();
        let mut held_by: Vec<LimitName> = self
            .held
            .iter()
            .filter(on)
            .map(|check| check.limit)
            .filter(|limit| counts.iter().any(|counted| counted.limit == *limit))
            .collect();
        held_by.dedup();
        let notes = self.plan.notes().iter().filter(|note| note.ty == spec.name && note.key == *key).cloned();
        let notes: Vec<Note> = notes.map(|note| private::without_values_of_note(note, &is_private)).collect();
        let any_private = spec.attributes.iter().any(|attribute| attribute.private);
        let shown = |change: Change| if any_private { private::without_values(change, &is_private) } else { change };
        Fate { outcome: outcome(decided, &notes), change: change.map(shown), notes, held_by }
    }
}

fn ledger(row: &Row) -> LedgerView {
    let (state, leaving) = match &row.state {
        State::Owned => ("owned", None),
        State::Retired(leaving) => {
            let paused = if leaving.paused_at.is_some() { ", standing still" } else { "" };
            ("retired", Some(format!("{}, since {:.0}{paused}", leaving.cause.words, leaving.since)))
        }
        State::Declined => ("declined", None),
        State::DeletedInTarget => ("deleted-in-target", None),
        State::Pinned => ("pinned", None),
    };
    LedgerView { state, origin: row.origin, mapping: row.mapping.clone(), leaving, missing_since: row.missing_since }
}

/// Every attribute of the type that the mapping writes or the target shows, with its sides.
fn attributes(spec: &TypeSpec, mapped: Option<&MappedView>, decided: Option<&Decided>) -> Vec<AttributeView> {
    let empty = Vec::new();
    let made = mapped.map_or(&empty, |mapped| &mapped.attributes);
    let sides = |(index, of_type): (usize, &crate::plan::change::AttributeSpec)| {
        let made = made.iter().find(|attribute| attribute.name == of_type.name);
        let mut view = made.cloned().unwrap_or(AttributeView {
            name: of_type.name.clone(),
            expression: None,
            inputs: Vec::new(),
            write: None,
            desired: None,
            current: None,
            applied: None,
            settled: None,
            changed_by: None,
            hidden: of_type.private,
        });
        if let Some(Source::Desired(desired)) = decided.and_then(|decided| decided.source.as_ref()) {
            // As it was compared: references are ids of the target, and values what the target makes of them.
            view.desired = desired.values.get(index).cloned().flatten();
        }
        if let Some(Found::There(current)) = decided.map(|decided| &decided.found) {
            view.current = current.values.get(index).cloned();
        }
        let held = decided.and_then(|decided| decided.row.as_ref()?.values.get(&of_type.name));
        view.applied = held.map(|held| held.applied.clone());
        view.settled = held.map(|held| held.settled.clone());
        if let (Some(desired), Some(current)) = (&view.desired, &view.current) {
            view.changed_by = changed_by(desired, current, held);
        }
        if view.hidden {
            (view.desired, view.current, view.applied, view.settled) = (None, None, None, None);
        }
        (made.is_some() || view.current.is_some()).then_some(view)
    };
    spec.attributes.iter().enumerate().filter_map(sides).collect()
}

/// What happens, in a sentence without its end.
fn outcome(decided: Option<&Decided>, notes: &[Note]) -> String {
    let Some(decided) = decided else {
        return "nothing: it is not in scope, and the job owns no record of it".into();
    };
    let decision = &decided.decision;
    if let Some(change) = &decision.change {
        let because = change.cause.as_ref().map(|cause| format!(", because {}", cause.words)).unwrap_or_default();
        let written = change.attributes.len();
        let what = match change.action {
            Action::Create => "it is created".to_owned(),
            Action::Adopt => "the record that is there is taken over".to_owned(),
            Action::Update if written == 1 => "1 attribute is written".to_owned(),
            Action::Update => format!("{written} attributes are written"),
            Action::Retire => "it is marked, as the removal ladder says".to_owned(),
            Action::Return => "it comes back".to_owned(),
            Action::Delete => "it is deleted".to_owned(),
            Action::Forget => "the ledger forgets it: it is gone on both sides".to_owned(),
            Action::Settle => "nothing is written; only what the ledger knows changes".to_owned(),
        };
        return format!("{what}{because}");
    }
    if let Some(reason) = &decision.unknown {
        return format!("nothing, because something is not known: {reason}");
    }
    if decision.declined {
        return match decided.row.as_ref().map(|row| &row.state) {
            Some(State::DeletedInTarget) => "nothing: someone deleted it in the target".into(),
            _ => "nothing: a person declined it".into(),
        };
    }
    if decided.source.is_none() {
        return "nothing: the record that is there is not the job's".into();
    }
    match (notes.first(), decision.unchanged) {
        (None, true) => "nothing: the target holds what Entra says".into(),
        (Some(_), _) => "nothing; see the notes".into(),
        (None, false) => "nothing".into(),
    }
}
