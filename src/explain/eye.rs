//! Looks at one record of one collection: what Entra says of it, what the scope says, and what a mapping makes of it.
//!
//! Hides which of its properties are private, and how values and records are shown. Deliberately knows no plan and no
//! target.

use std::collections::BTreeSet;

use serde_json::{Map, Value as Json, json};

use super::answer::{AttributeView, ClauseView, Input, ScopeView, SourceView};
use crate::directory::Directory;
use crate::error::Result;
use crate::expr::{Catalog, Expr, Navigate, Navigation, Subject as About, Truth};
use crate::job::Job;
use crate::lookup::{self, Found as Object, Parts};
use crate::mapping::{Attribute, AttributeValue, Mapping};
use crate::plan::Ran;
use crate::record::{Collection, Form, Guid, Key, Record, Value};
use crate::scope::{Judge, Opinion, Standing};
use crate::snapshot::Extent;

/// Properties of a collection that only private attributes are made of: nothing of them is shown.
pub(super) struct Private(BTreeSet<String>);

impl Private {
    pub(super) fn of(job: &Job, collection: Collection) -> Private {
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
pub(super) struct Eye<'a> {
    pub(super) directory: &'a Directory<'a>,
    /// The directory with what is in scope, as expressions see it.
    pub(super) sight: &'a dyn Navigate,
    pub(super) private: &'a Private,
    pub(super) record: Option<&'a Record>,
}

impl Eye<'_> {
    pub(super) fn source(&self, job: &Job, judge: &Judge<'_>, collection: Collection, key: &Key) -> Result<SourceView> {
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
    pub(super) fn words(&self, value: Value) -> Json {
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

    pub(super) fn mapped(&self, mapping: &Mapping, about: Option<About<'_>>) -> MappedView {
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

/// What one mapping makes of the record.
pub(super) struct MappedView {
    pub(super) attributes: Vec<AttributeView>,
}

impl MappedView {
    pub(super) fn is_made(&self) -> bool {
        self.attributes.iter().any(|attribute| attribute.desired.is_some())
    }
}
