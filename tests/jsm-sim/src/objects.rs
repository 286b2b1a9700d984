//! Objects: create, update, delete, read one, search.
//!
//! Hides the order of checks, pages and their caps. A create answers without attributes, a partial update replaces
//! whole attributes, an empty list clears one. <https://developer.atlassian.com/cloud/assets/rest/api-group-object/>

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use crate::api::Call;
use crate::aql::{self, Query};
use crate::check;
use crate::options::{Flavour, Totals};
use crate::reply::{self, Reply};
use crate::store::{Attribute, Event, Id, Kind, Object, Store, Stored};

/// `POST /object/create`
pub(crate) fn create(store: &mut Store, call: &Call<'_>) -> Reply {
    let Some(ty) = check::id(call.body.get("objectTypeId")) else {
        return reply::error(400, "objectTypeId is missing");
    };
    match store.types.get(&ty) {
        None => return reply::error(404, format!("No object type with id {ty} found")),
        Some(ty) if ty.is_abstract => return reply::error(400, "The object type is abstract and holds no objects"),
        Some(_) => {}
    }
    if call.options.objects_max.is_some_and(|most| store.objects.len() >= most) {
        return reply::error(400, "You have reached the object limit of your plan");
    }
    let values = match check::read(call.body) {
        Err(words) => return reply::error(400, words),
        Ok(written) => check::apply(store, call.options.flavour, ty, None, &written),
    };
    let values = match values {
        Err(errors) => return reply::invalid(&errors),
        Ok(_) if call.options.forgets_values => BTreeMap::new(),
        Ok(values) => values,
    };
    let now = crate::store::now();
    let object = Object { id: store.new_id(), ty, values, created: now, updated: now };
    let id = object.id;
    store.put(object, call.now, call.options.index_delay);
    let made = Event {
        at: now,
        by: call.account.to_owned(),
        attribute: None,
        before: String::new(),
        after: store.objects.get(&id).map(|object| store.key_of(object)).unwrap_or_default(),
    };
    store.history.entry(id).or_default().push(made);
    let shape = store.objects.get(&id).map_or(Value::Null, |object| call.shaper(store).object(object, false, false));
    reply::json(201, &shape)
}

/// `PUT /object/{id}`
pub(crate) fn update(store: &mut Store, call: &Call<'_>, id: &str) -> Reply {
    let Some(mut object) = named(store, id).cloned() else { return missing(id) };
    match check::id(call.body.get("objectTypeId")) {
        Some(ty) if !store.types.contains_key(&ty) => {
            return reply::error(404, format!("No object type with id {ty} found"));
        }
        Some(ty) if ty != object.ty => return reply::error(400, "Objects are not moved between types here"),
        _ => {}
    }
    let values = match check::read(call.body) {
        Err(words) => return reply::error(400, words),
        Ok(written) => check::apply(store, call.options.flavour, object.ty, Some(&object), &written),
    };
    match values {
        Err(errors) => return reply::invalid(&errors),
        Ok(values) => {
            object.updated = crate::store::now();
            let events = differences(store, call, &object, &values);
            store.history.entry(object.id).or_default().extend(events);
            object.values = values;
        }
    }
    store.put(object.clone(), call.now, call.options.index_delay);
    reply::ok(&call.shaper(store).object(&object, true, true))
}

/// What an update changes, attribute by attribute.
fn differences(store: &Store, call: &Call<'_>, object: &Object, after: &BTreeMap<Id, Vec<Stored>>) -> Vec<Event> {
    let shown = |values: Option<&Vec<Stored>>| {
        values.into_iter().flatten().map(|value| store.shown(value)).collect::<Vec<_>>().join(", ")
    };
    let attributes = store.attributes_of(object.ty).into_iter();
    let changed = attributes.filter(|one| object.values.get(&one.id) != after.get(&one.id));
    let event = |attribute: &Attribute| Event {
        at: object.updated,
        by: call.account.to_owned(),
        attribute: Some(attribute.name.clone()),
        before: shown(object.values.get(&attribute.id)),
        after: shown(after.get(&attribute.id)),
    };
    changed.map(event).collect()
}

/// `DELETE /object/{id}`
pub(crate) fn delete(store: &mut Store, call: &Call<'_>, id: &str) -> Reply {
    let Some(id) = named(store, id).map(|object| object.id) else { return missing(id) };
    store.remove(id, call.now, call.options.index_delay);
    reply::empty()
}

/// `GET /object/{id}` and what lies below it.
pub(crate) fn get(store: &Store, call: &Call<'_>, id: &str, below: Option<&str>) -> Reply {
    let Some(object) = named(store, id) else { return missing(id) };
    let shaper = call.shaper(store);
    match below {
        None => reply::ok(&shaper.object(object, true, true)),
        Some("attributes") => reply::ok(&shaper.object_attributes(object, true).into()),
        Some("history") => reply::ok(&history(store, call, object)),
        Some("referenceinfo") => reply::ok(&references_to(store, call, object)),
        Some(_) => reply::error(404, "null for uri"),
    }
}

/// What became of an object, the newest first unless asked otherwise. Which `type` stands for what is not published: 0
/// is that it was made, 1 is an attribute.
fn history(store: &Store, call: &Call<'_>, object: &Object) -> Value {
    let shaper = call.shaper(store);
    let shape = |(at, event): (usize, &Event)| {
        let mut shape = json!({
            "actor": {"displayName": event.by, "name": event.by, "key": event.by, "isDeleted": false},
            "id": shaper.id(object.id * 1000 + at as Id), "type": i32::from(event.attribute.is_some()),
            "newValue": event.after, "created": check::iso(event.at), "objectId": shaper.id(object.id),
        });
        if let Some(attribute) = &event.attribute {
            shape["affectedAttribute"] = json!(attribute);
            shape["oldValue"] = json!(event.before);
        }
        shape
    };
    let mut events: Vec<Value> = store.history.get(&object.id).into_iter().flatten().enumerate().map(shape).collect();
    if !call.flag("asc", false) {
        events.reverse();
    }
    events.into()
}

/// What refers to an object, by the type of what does.
fn references_to(store: &Store, call: &Call<'_>, object: &Object) -> Value {
    let shaper = call.shaper(store);
    let mut found: BTreeMap<Id, (usize, BTreeSet<Id>)> = BTreeMap::new();
    for other in store.objects.values() {
        for attribute in store.attributes_of(other.ty) {
            let Kind::Reference { by, .. } = attribute.kind else { continue };
            let held = other.values.get(&attribute.id).into_iter().flatten();
            if held.into_iter().any(|value| *value == Stored::Object(object.id)) {
                let (count, kinds) = found.entry(other.ty).or_default();
                *count += 1;
                kinds.insert(by);
            }
        }
    }
    let one = |(ty, (count, kinds)): (Id, (usize, BTreeSet<Id>))| {
        let kinds: Vec<Value> =
            kinds.iter().filter_map(|by| store.reference_types.get(by)).map(|by| shaper.reference_type(by)).collect();
        json!({
            "referenceTypes": kinds, "objectType": shaper.object_type(&store.types[&ty], false),
            "numberOfReferencedObjects": count, "openIssuesExists": false,
        })
    };
    found.into_iter().map(one).collect()
}

/// By id. Whether a key would do is not published, so it does not.
fn named<'s>(store: &'s Store, id: &str) -> Option<&'s Object> {
    store.objects.get(&id.parse::<Id>().ok()?)
}

fn missing(id: &str) -> Reply {
    reply::error(404, format!("No object with id {id} found"))
}

/// One page of what a query finds.
struct Page<'s> {
    found: usize,
    start: usize,
    size: usize,
    objects: Vec<&'s Object>,
}

/// `POST /object/aql`
pub(crate) fn search(store: &Store, call: &Call<'_>) -> Reply {
    let number = |name: &str, default: usize| call.query(name).map_or(Some(default), |text| text.parse().ok());
    let (Some(start), Some(asked)) = (number("startAt", 0), number("maxResults", 25)) else {
        return reply::error(400, "startAt and maxResults are numbers");
    };
    if call.options.page_refused_from.is_some_and(|most| asked >= most) {
        return reply::error(400, "maxResults is too large");
    }
    let size = asked.min(call.options.page_max).max(1);
    let page = match page(store, call, call.body.get("qlQuery"), start, size) {
        Err(reply) => return reply,
        Ok(page) => page,
    };
    let attributes = call.flag("includeAttributes", true);
    let shaper = call.shaper(store);
    let last = page.start + page.objects.len() >= page.found;
    let mut shape = json!({"startAt": page.start, "maxResults": page.size});
    match call.options.totals {
        Totals::Exact => shape["total"] = json!(page.found),
        Totals::Capped(most) => shape["total"] = json!(page.found.min(most)),
        Totals::Absent => {}
    }
    shape["isLast"] = json!(last);
    shape["values"] = page.objects.iter().map(|object| shaper.object(object, attributes, false)).collect();
    shape["objectTypeAttributes"] =
        types_of(store, &page.objects).iter().map(|attribute| shaper.attribute(attribute, true)).collect();
    shape["hasMoreResults"] = json!(!last);
    shape["last"] = json!(last);
    reply::ok(&shape)
}

/// `POST /object/aql/totalcount`
pub(crate) fn count(store: &Store, call: &Call<'_>) -> Reply {
    match found(store, call, call.body.get("qlQuery")) {
        Err(reply) => reply,
        Ok((_, found)) => reply::ok(&json!({"totalCount": found.len()})),
    }
}

/// `GET /aql/objects` and `POST /object/navlist/aql` of Data Center.
pub(crate) fn list(store: &Store, call: &Call<'_>) -> Reply {
    let given = |name: &str| {
        let told = call.query(name).map(|text| json!(text));
        told.or_else(|| call.body.get(name).filter(|value| !value.is_null()).cloned())
    };
    let number = |names: &[&str], default: usize| {
        let told = names.iter().find_map(|name| given(name));
        told.and_then(|value| crate::check::id(Some(&value))).and_then(|n| usize::try_from(n).ok()).unwrap_or(default)
    };
    let number_of_page = number(&["page"], 1).max(1);
    // One of the two in each place; each public client knows its own.
    let asked = number(&["resultPerPage", "resultsPerPage"], 25);
    if call.options.page_refused_from.is_some_and(|most| asked >= most) {
        return reply::error(400, "resultPerPage is too large");
    }
    let size = asked.min(call.options.page_max).max(1);
    let query = given("qlQuery").or_else(|| given("iql"));
    let page = match page(store, call, query.as_ref(), (number_of_page - 1) * size, size) {
        Err(reply) => return reply,
        Ok(page) => page,
    };
    let attributes = given("includeAttributes")
        .is_none_or(|value| !matches!(value.to_string().trim_matches('"').to_ascii_lowercase().as_str(), "false"));
    let shaper = call.shaper(store);
    let types = types_of(store, &page.objects);
    let mut shape = json!({
        "objectEntries": page.objects.iter().map(|object| shaper.object(object, attributes, false)).collect::<Vec<_>>(),
        "objectTypeAttributes": types.iter().map(|attribute| shaper.attribute(attribute, true)).collect::<Vec<_>>(),
        "objectTypeId": 0, "objectTypeIsInherited": false, "abstractObjectType": false,
        "startIndex": page.start, "toIndex": page.start + page.objects.len(),
        "pageObjectSize": page.found.div_ceil(size).max(1), "pageNumber": number_of_page, "pageSize": size,
        "orderWay": "asc", "filters": [], "qlQuery": query, "qlQuerySearchResult": true, "conversionPossible": false,
    });
    match call.options.totals {
        Totals::Exact => shape["totalFilterCount"] = json!(page.found),
        Totals::Capped(most) => shape["totalFilterCount"] = json!(page.found.min(most)),
        Totals::Absent => {}
    }
    reply::ok(&shape)
}

fn page<'s>(
    store: &'s Store,
    call: &Call<'_>,
    query: Option<&Value>,
    start: usize,
    size: usize,
) -> Result<Page<'s>, Reply> {
    let (query, mut found) = found(store, call, query)?;
    match &query.order {
        Some((field, down)) => {
            let shown = |object: &&Object| aql::shown(store, object, field).into_iter().next();
            // Keys sort by their number.
            found.sort_by_cached_key(|object| match field {
                aql::Field::Key => (None, object.id),
                _ => (shown(object), object.id),
            });
            if *down {
                found.reverse();
            }
        }
        // No promise: whoever pages without an order meets some objects twice and others never.
        None if call.options.shuffles => {
            let turn = (start / size.max(1)) % found.len().max(1);
            found.rotate_left(turn);
        }
        None => {}
    }
    let count = found.len();
    let objects = found.into_iter().skip(start).take(size).collect();
    Ok(Page { found: count, start, size, objects })
}

fn found<'s>(store: &'s Store, call: &Call<'_>, query: Option<&Value>) -> Result<(Query, Vec<&'s Object>), Reply> {
    let text = query.and_then(Value::as_str).unwrap_or_default();
    if call.options.refuses_having && text.contains("HAVING") {
        return Err(reply::error(400, "The query is invalid: HAVING"));
    }
    let query = aql::parse(store, call.options.flavour, text)
        .map_err(|words| reply::error(400, format!("The query is invalid: {words}")))?;
    let found = store.indexed().filter(|object| query.matches(store, object)).collect();
    Ok((query, found))
}

/// The attributes of the types on a page, each once.
fn types_of<'s>(store: &'s Store, objects: &[&Object]) -> Vec<&'s Attribute> {
    let mut types: Vec<Id> = objects.iter().map(|object| object.ty).collect();
    types.sort_unstable();
    types.dedup();
    types.into_iter().flat_map(|ty| store.attributes_of(ty)).collect()
}

/// Whether a path is one of Cloud alone or of Data Center alone.
pub(crate) fn is_of(flavour: Flavour, cloud: bool) -> bool {
    (flavour == Flavour::Cloud) == cloud
}
