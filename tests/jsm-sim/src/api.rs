//! The Assets API below its base: which path leads to what.
//!
//! Hides schemas, types, attributes and statuses; objects are in `objects`. Rights are looked at here, since they depend
//! on what a path does. <https://developer.atlassian.com/cloud/assets/rest/>

use std::time::Duration;

use serde_json::{Value, json};

use crate::accounts::Right;
use crate::check;
use crate::objects;
use crate::options::{Flavour, Options};
use crate::rates::Class;
use crate::reply::{self, Reply};
use crate::shape::Shaper;
use crate::store::{Attribute, DefaultType, ICONS, Id, Kind, Object, ObjectType, Schema, StatusType, Store};

/// One request, past the door.
pub(crate) struct Call<'a> {
    pub options: &'a Options,
    pub method: &'a str,
    /// Below the base, without empty segments.
    pub segments: Vec<&'a str>,
    pub query: Vec<(String, String)>,
    pub body: &'a Value,
    pub right: Right,
    /// Whose request it is.
    pub account: &'a str,
    /// The address of the base, for links.
    pub base: String,
    /// The simulator's own time.
    pub now: Duration,
}

impl Call<'_> {
    pub fn query(&self, name: &str) -> Option<&str> {
        self.query.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// A flag of the query, in any letter case.
    pub fn flag(&self, name: &str, default: bool) -> bool {
        self.query(name).map_or(default, |text| text.eq_ignore_ascii_case("true"))
    }

    pub fn shaper<'s>(&'s self, store: &'s Store) -> Shaper<'s> {
        let Options { flavour, workspace_id, .. } = self.options;
        Shaper { store, flavour: *flavour, workspace: workspace_id, base: self.base.clone() }
    }

    fn text(&self, name: &str) -> Option<&str> {
        self.said(name).filter(|text| !text.trim().is_empty())
    }

    /// A text of the body, which may be empty.
    fn said(&self, name: &str) -> Option<&str> {
        self.body.get(name).and_then(Value::as_str)
    }
}

/// The class of endpoint that limits count together.
pub(crate) fn class(method: &str, segments: &[&str]) -> Class {
    match (method, segments) {
        ("POST", ["object", "create"]) => Class::Create,
        (_, ["object", "aql", ..] | ["object", "navlist", ..] | ["aql" | "iql", "objects"]) => Class::Search,
        _ => Class::Other,
    }
}

/// Answers a request.
pub(crate) fn answer(store: &mut Store, call: &Call<'_>) -> Reply {
    store.settle_index(call.now);
    let needs = needs(call);
    if call.right < needs {
        let words = match needs {
            Right::Read => "You do not have permission to view the object schema",
            _ => "You do not have permission to perform this operation",
        };
        return reply::error(403, words);
    }
    let flavour = call.options.flavour;
    match (call.method, call.segments.as_slice()) {
        ("POST", ["object", "create"]) => objects::create(store, call),
        ("POST", ["object", "aql"]) if objects::is_of(flavour, true) => objects::search(store, call),
        ("POST", ["object", "aql", "totalcount"]) => objects::count(store, call),
        ("GET", ["aql", "objects"]) if call.options.is_insight => nothing(call),
        ("GET", ["aql" | "iql", "objects"]) if objects::is_of(flavour, false) => objects::list(store, call),
        ("POST", ["object", "navlist", "aql" | "iql"]) if objects::is_of(flavour, false) => objects::list(store, call),
        ("PUT", ["object", id]) => objects::update(store, call, id),
        ("DELETE", ["object", id]) => objects::delete(store, call, id),
        ("GET", ["object", id]) => objects::get(store, call, id, None),
        ("GET", ["object", id, below]) => objects::get(store, call, id, Some(below)),
        (_, ["objectschema", ..]) => schemas(store, call),
        (_, ["objecttype", ..]) => types(store, call),
        (_, ["objecttypeattribute", ..]) => attributes(store, call),
        (_, ["config", ..]) => config(store, call),
        ("GET", ["icon", "global"]) => {
            let shaper = call.shaper(store);
            reply::ok(&ICONS.iter().map(|(id, _)| shaper.icon(*id)).collect())
        }
        ("GET", ["icon", id]) => match id.parse() {
            Ok(id) if ICONS.iter().any(|icon| icon.0 == id) => reply::ok(&call.shaper(store).icon(id)),
            _ => reply::error(404, "The icon does not exist"),
        },
        ("GET", ["usage"]) if objects::is_of(flavour, true) => reply::ok(&usage(store)),
        (_, _) => nothing(call),
    }
}

/// What Cloud bills by: <https://developer.atlassian.com/cloud/assets/rest/api-group-usage/>. Ids are numbers here.
fn usage(store: &Store) -> Value {
    let held = |schema: Id| {
        let of = |object: &&Object| store.types.get(&object.ty).is_some_and(|ty| ty.schema == schema);
        store.objects.values().filter(of).count()
    };
    let one = |schema: &Schema| {
        json!({
            "schemaId": schema.id, "schemaName": schema.name, "schemaCreatedAt": check::iso(schema.created),
            "objectCount": held(schema.id),
        })
    };
    let each: Vec<Value> = store.schemas.values().map(one).collect();
    json!({"totalObjectsCount": store.objects.len(), "perSchemaUsageInfo": each})
}

/// The right that a request needs.
fn needs(call: &Call<'_>) -> Right {
    match (call.method, call.segments.as_slice()) {
        ("GET", _) | ("POST", ["object", "aql" | "navlist", ..]) => Right::Read,
        (_, ["object", ..]) => Right::Write,
        _ => Right::Manage,
    }
}

fn nothing(call: &Call<'_>) -> Reply {
    reply::error(404, format!("null for uri: /{}", call.segments.join("/")))
}

fn schemas(store: &mut Store, call: &Call<'_>) -> Reply {
    let known = |text: &str, store: &Store| text.parse::<Id>().ok().filter(|id| store.schemas.contains_key(id));
    match (call.method, &call.segments[1..]) {
        ("GET", ["list"]) => schema_list(store, call),
        ("POST", ["create"]) => create_schema(store, call),
        (_, [id, rest @ ..]) => {
            let Some(id) = known(id, store) else {
                return reply::error(404, format!("No object schema with id {id} found"));
            };
            match (call.method, rest) {
                ("GET", []) => reply::ok(&call.shaper(store).schema(&store.schemas[&id], true)),
                ("PUT", []) => {
                    if let Some(schema) = store.schemas.get_mut(&id) {
                        call.text("name").unwrap_or(&schema.name.clone()).clone_into(&mut schema.name);
                        call.said("description").into_iter().for_each(|text| text.clone_into(&mut schema.description));
                    }
                    reply::ok(&call.shaper(store).schema(&store.schemas[&id], true))
                }
                ("DELETE", []) => {
                    let shape = call.shaper(store).schema(&store.schemas[&id], true);
                    let types: Vec<Id> = store.types.values().filter(|ty| ty.schema == id).map(|ty| ty.id).collect();
                    types.into_iter().for_each(|ty| store.remove_type(ty, call.now, call.options.index_delay));
                    store.schemas.remove(&id);
                    reply::ok(&shape)
                }
                ("GET", ["attributes"]) => {
                    let shaper = call.shaper(store);
                    let types = store.types.values().filter(|ty| ty.schema == id);
                    let all = types.flat_map(|ty| store.attributes_of(ty.id)).filter(|one| is_wanted(call, one));
                    reply::ok(&all.map(|attribute| shaper.attribute(attribute, true)).collect())
                }
                ("GET", ["objecttypes"]) => {
                    let shaped = shaped_types(store, call, id);
                    reply::ok(&json!({"entries": shaped}))
                }
                ("GET", ["objecttypes", "flat"]) => reply::ok(&shaped_types(store, call, id).into()),
                _ => nothing(call),
            }
        }
        _ => nothing(call),
    }
}

fn shaped_types(store: &Store, call: &Call<'_>, schema: Id) -> Vec<Value> {
    let shaper = call.shaper(store);
    let counts = call.flag("includeObjectCounts", false);
    let wanted = |ty: &&ObjectType| {
        ty.schema == schema
            && !(call.flag("excludeAbstract", false) && ty.is_abstract)
            && call.query("query").is_none_or(|text| ty.name.to_lowercase().contains(&text.to_lowercase()))
    };
    store.types.values().filter(wanted).map(|ty| shaper.object_type(ty, counts)).collect()
}

fn schema_list(store: &Store, call: &Call<'_>) -> Reply {
    let shaper = call.shaper(store);
    // Who has a role in none sees none; that is no refusal.
    let visible: Vec<_> = store.schemas.values().collect();
    if call.options.flavour == Flavour::DataCenter {
        let schemas: Vec<Value> = visible.iter().map(|schema| shaper.schema(schema, true)).collect();
        return reply::ok(&json!({"objectschemas": schemas}));
    }
    let number = |name: &str, default: usize| call.query(name).and_then(|text| text.parse().ok()).unwrap_or(default);
    let (start, size) = (number("startAt", 0), number("maxResults", 25).clamp(1, 25));
    let counts = call.flag("includeCounts", false);
    let values: Vec<Value> =
        visible.iter().skip(start).take(size).map(|schema| shaper.schema(schema, counts)).collect();
    let last = start + values.len() >= visible.len();
    reply::ok(&json!({
        "startAt": start, "maxResults": size, "total": visible.len(), "values": values, "isLast": last, "last": last,
    }))
}

fn create_schema(store: &mut Store, call: &Call<'_>) -> Reply {
    let (Some(name), Some(key)) = (call.text("name"), call.text("objectSchemaKey")) else {
        return reply::error(400, "name and objectSchemaKey are required");
    };
    if !key.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit()) || key.len() > 10 {
        return reply::error(400, "The object schema key must be upper case and at most 10 characters");
    }
    if store.schemas.values().any(|schema| schema.name.eq_ignore_ascii_case(name) || schema.key == key) {
        return reply::error(400, "An object schema with this name or key exists already");
    }
    let id = store.add_schema(name, key, call.text("description").unwrap_or_default());
    reply::json(201, &call.shaper(store).schema(&store.schemas[&id], false))
}

fn types(store: &mut Store, call: &Call<'_>) -> Reply {
    if let ("POST", ["create"]) = (call.method, &call.segments[1..]) {
        return create_type(store, call);
    }
    let Some(id) = call.segments.get(1).and_then(|text| text.parse().ok()).filter(|id| store.types.contains_key(id))
    else {
        return reply::error(404, "The object type does not exist");
    };
    match (call.method, &call.segments[2..]) {
        ("GET", []) => reply::ok(&call.shaper(store).object_type(&store.types[&id], true)),
        ("PUT", []) => {
            let icon = check::id(call.body.get("iconId"));
            if icon.is_some_and(|icon| ICONS.iter().all(|known| known.0 != icon)) {
                return reply::error(400, "The icon does not exist");
            }
            if let Some(ty) = store.types.get_mut(&id) {
                call.text("name").unwrap_or(&ty.name.clone()).clone_into(&mut ty.name);
                call.said("description").into_iter().for_each(|text| text.clone_into(&mut ty.description));
                ty.icon = icon.unwrap_or(ty.icon);
            }
            reply::ok(&call.shaper(store).object_type(&store.types[&id], true))
        }
        ("DELETE", []) => {
            let shape = call.shaper(store).object_type(&store.types[&id], false);
            store.remove_type(id, call.now, call.options.index_delay);
            reply::ok(&shape)
        }
        ("GET", ["attributes"]) => {
            let shaper = call.shaper(store);
            let told = call.flag("includeValuesExist", false);
            let shape = |attribute: &Attribute| {
                let mut shape = shaper.attribute(attribute, true);
                if told {
                    let mut held = store.objects.values().filter(|object| object.values.contains_key(&attribute.id));
                    shape["objectAttributeExists"] = json!(held.next().is_some());
                }
                shape
            };
            reply::ok(&listed(store, call, id).into_iter().map(shape).collect())
        }
        _ => nothing(call),
    }
}

/// The attributes of a type that a request wants, in the order it wants.
fn listed<'s>(store: &'s Store, call: &Call<'_>, ty: Id) -> Vec<&'s Attribute> {
    let (mut all, below) = (store.attributes_of(ty), store.with_children(ty));
    if call.flag("excludeParentAttributes", false) {
        all.retain(|attribute| attribute.owner == ty);
    }
    if call.flag("includeChildren", false) {
        all.extend(store.attributes.values().filter(|one| one.owner != ty && below.contains(&one.owner)));
    }
    all.retain(|attribute| is_wanted(call, attribute));
    if call.flag("orderByName", false) {
        all.sort_by_key(|attribute| attribute.name.to_lowercase());
    }
    if call.flag("orderByRequired", false) {
        all.sort_by_key(|attribute| attribute.min == 0);
    }
    all
}

/// Whether a list of attributes shows this one: by a part of its name, and by whether it may be written.
fn is_wanted(call: &Call<'_>, attribute: &Attribute) -> bool {
    let named = call.query("query").is_none_or(|text| attribute.name.to_lowercase().contains(&text.to_lowercase()));
    named && (attribute.editable || !call.flag("onlyValueEditable", false))
}

fn create_type(store: &mut Store, call: &Call<'_>) -> Reply {
    let Some(name) = call.text("name") else { return reply::error(400, "name is required") };
    let schema = check::id(call.body.get("objectSchemaId")).filter(|id| store.schemas.contains_key(id));
    let Some(schema) = schema else { return reply::error(404, "The object schema does not exist") };
    let icon = check::id(call.body.get("iconId")).filter(|id| ICONS.iter().any(|icon| icon.0 == *id));
    let Some(icon) = icon else { return reply::error(400, "iconId is required") };
    let parent = check::id(call.body.get("parentObjectTypeId"));
    if parent.is_some_and(|parent| store.types.get(&parent).is_none_or(|ty| ty.schema != schema)) {
        return reply::error(400, "The parent object type does not exist in this schema");
    }
    let twin =
        store.types.values().any(|ty| ty.schema == schema && ty.parent == parent && ty.name.eq_ignore_ascii_case(name));
    if twin {
        return reply::error(400, format!("An object type named {name} exists already"));
    }
    let id = store.add_type(schema, name);
    let flag = |name: &str| call.body.get(name).and_then(Value::as_bool).unwrap_or_default();
    if let Some(ty) = store.types.get_mut(&id) {
        call.text("description").unwrap_or_default().clone_into(&mut ty.description);
        ty.icon = icon;
        ty.parent = parent;
        ty.inherited = flag("inherited");
        ty.is_abstract = flag("abstractObjectType");
    }
    reply::json(201, &call.shaper(store).object_type(&store.types[&id], false))
}

fn attributes(store: &mut Store, call: &Call<'_>) -> Reply {
    let number = |at: usize| call.segments.get(at).and_then(|text| text.parse::<Id>().ok());
    match (call.method, call.segments.len(), number(1), number(2)) {
        ("POST", 2, Some(ty), _) if store.types.contains_key(&ty) => {
            let blank = Attribute::new(ty, "", Kind::Default(DefaultType::Text));
            match described(store, call, blank) {
                Err(words) => reply::error(400, words),
                Ok(attribute) => {
                    let id = store.add_attribute(attribute);
                    reply::json(201, &call.shaper(store).attribute(&store.attributes[&id], true))
                }
            }
        }
        ("PUT", 3, Some(_), Some(id)) if store.attributes.contains_key(&id) => {
            match described(store, call, store.attributes[&id].clone()) {
                Err(words) => reply::error(400, words),
                Ok(attribute) => {
                    let shape = call.shaper(store).attribute(&attribute, true);
                    store.attributes.insert(id, attribute);
                    reply::ok(&shape)
                }
            }
        }
        ("DELETE", 2, Some(id), _) if store.attributes.contains_key(&id) => {
            let attribute = &store.attributes[&id];
            if attribute.system || attribute.label {
                return reply::error(400, "This attribute cannot be removed");
            }
            store.remove_attribute(id);
            reply::empty()
        }
        _ => reply::error(404, "The object type or attribute does not exist"),
    }
}

/// An attribute with what a body says of it.
fn described(store: &Store, call: &Call<'_>, mut attribute: Attribute) -> Result<Attribute, String> {
    let body = call.body;
    if attribute.system {
        return Err("This attribute is not editable".into());
    }
    if let Some(name) = call.text("name") {
        name.clone_into(&mut attribute.name);
    }
    if attribute.name.is_empty() {
        return Err("name is required".into());
    }
    let twin = |other: &&Attribute| other.id != attribute.id && other.name.eq_ignore_ascii_case(&attribute.name);
    if store.attributes_of(attribute.owner).iter().any(twin) {
        return Err(format!("An attribute named {} exists already", attribute.name));
    }
    if let Some(number) = body.get("type") {
        attribute.kind = kind(store, body, check::id(Some(number)).unwrap_or_default())?;
    }
    let int = |name: &str| body.get(name).and_then(Value::as_i64);
    let flag = |name: &str| body.get(name).and_then(Value::as_bool);
    let text = |name: &str| body.get(name).and_then(Value::as_str).map(str::to_owned);
    attribute.min = int("minimumCardinality").unwrap_or(attribute.min);
    attribute.max = int("maximumCardinality").unwrap_or(attribute.max);
    if attribute.min < 0 || attribute.max < -1 || (attribute.max >= 0 && attribute.max < attribute.min) {
        return Err("The cardinality is invalid".into());
    }
    attribute.unique = flag("uniqueAttribute").unwrap_or(attribute.unique);
    attribute.hidden = flag("hidden").unwrap_or(attribute.hidden);
    attribute.include_children = flag("includeChildObjectTypes").unwrap_or(attribute.include_children);
    attribute.description = text("description").unwrap_or(attribute.description);
    attribute.regex = text("regexValidation").unwrap_or(attribute.regex);
    attribute.suffix = text("suffix").unwrap_or(attribute.suffix);
    attribute.ql = text("qlQuery").unwrap_or(attribute.ql);
    attribute.additional = text("additionalValue").or(attribute.additional);
    if let Some(options) = text("options") {
        attribute.options =
            options.split(',').map(str::trim).filter(|part| !part.is_empty()).map(str::to_owned).collect();
    }
    if attribute.kind == Kind::Default(DefaultType::Select) && attribute.options.is_empty() {
        return Err("A select needs options".into());
    }
    Ok(attribute)
}

fn kind(store: &Store, body: &Value, number: Id) -> Result<Kind, String> {
    Ok(match number {
        0 => {
            let simple = body.get("defaultTypeId").and_then(Value::as_i64).ok_or("defaultTypeId is required")?;
            let found = DefaultType::ALL.into_iter().find(|kind| i64::from(*kind as u8) == simple);
            Kind::Default(found.ok_or("defaultTypeId is unknown")?)
        }
        1 => {
            let to = check::id(body.get("typeValue")).filter(|id| store.types.contains_key(id));
            let by = check::id(body.get("additionalValue")).filter(|id| store.reference_types.contains_key(id));
            match (to, by) {
                (Some(to), Some(by)) => Kind::Reference { to, by },
                _ => return Err("typeValue and additionalValue are required for a reference".into()),
            }
        }
        2 => Kind::User,
        4 => Kind::Group,
        6 => Kind::Project,
        7 => {
            let listed = body.get("typeValueMulti").and_then(Value::as_array).into_iter().flatten();
            let ids: Option<Vec<Id>> =
                listed.map(|id| check::id(Some(id)).filter(|id| store.statuses.contains_key(id))).collect();
            Kind::Status(ids.ok_or("typeValueMulti names an unknown status")?)
        }
        other => return Err(format!("type {other} cannot be made here")),
    })
}

/// Name and category that a body gives a status, new or not.
fn described_status(store: &Store, call: &Call<'_>, own: Option<&StatusType>) -> Result<(String, u8), String> {
    let category = call.body.get("category").and_then(Value::as_u64).and_then(|n| u8::try_from(n).ok());
    let (Some(name), Some(category @ 0..=2)) = (call.text("name"), category) else {
        return Err("name and category (0, 1, 2) are required".into());
    };
    let of = own.map_or_else(|| check::id(call.body.get("objectSchemaId")), |own| own.schema);
    let mut others = store.statuses.values().filter(|status| own.is_none_or(|own| own.id != status.id));
    let twin = |other: &StatusType| other.schema.is_none() || other.schema == of;
    match others.any(|other| twin(other) && other.name.eq_ignore_ascii_case(name)) {
        true => Err(format!("A status named {name} exists already")),
        false => Ok((name.to_owned(), category)),
    }
}

fn config(store: &mut Store, call: &Call<'_>) -> Reply {
    let schema = call.query("objectSchemaId").and_then(|text| text.parse::<Id>().ok());
    // Those of a schema where one is named, those of all schemas where none is.
    let seen = |of: Option<Id>| of == schema;
    let body_schema = check::id(call.body.get("objectSchemaId"));
    match (call.method, &call.segments[1..]) {
        ("GET", ["statustype"]) => {
            let all = store.statuses.values().filter(|status| seen(status.schema));
            reply::ok(&all.map(|status| call.shaper(store).status(status)).collect())
        }
        ("GET", ["statustype", id]) => match id.parse().ok().and_then(|id: Id| store.statuses.get(&id)) {
            Some(status) => reply::ok(&call.shaper(store).status(status)),
            None => reply::error(404, "The status type does not exist"),
        },
        ("POST", ["statustype"]) => match described_status(store, call, None) {
            Err(words) => reply::error(400, words),
            Ok((name, category)) => {
                let id = store.add_status(&name, category, body_schema);
                if let (Some(text), Some(status)) = (call.said("description"), store.statuses.get_mut(&id)) {
                    text.clone_into(&mut status.description);
                }
                reply::json(201, &call.shaper(store).status(&store.statuses[&id]))
            }
        },
        ("PUT" | "DELETE", ["statustype", id]) => {
            let Some(mut status) = id.parse().ok().and_then(|id: Id| store.statuses.get(&id)).cloned() else {
                return reply::error(404, "The status type does not exist");
            };
            if call.method == "DELETE" {
                store.remove_status(status.id);
                return reply::empty();
            }
            match described_status(store, call, Some(&status)) {
                Err(words) => reply::error(400, words),
                Ok((name, category)) => {
                    (status.name, status.category) = (name, category);
                    call.said("description").into_iter().for_each(|text| text.clone_into(&mut status.description));
                    let shape = call.shaper(store).status(&status);
                    store.statuses.insert(status.id, status);
                    reply::ok(&shape)
                }
            }
        }
        ("GET", ["referencetype"]) => {
            let all = store.reference_types.values().filter(|by| seen(by.schema));
            reply::ok(&all.map(|by| call.shaper(store).reference_type(by)).collect())
        }
        ("POST", ["referencetype"]) => {
            let Some(name) = call.text("name") else { return reply::error(400, "name is required") };
            let twin = |of: Option<Id>| of.is_none() || of == body_schema;
            if store.reference_types.values().any(|by| twin(by.schema) && by.name.eq_ignore_ascii_case(name)) {
                return reply::error(400, format!("A reference type named {name} exists already"));
            }
            let id = store.add_reference_type(name, body_schema);
            reply::json(201, &call.shaper(store).reference_type(&store.reference_types[&id]))
        }
        _ => nothing(call),
    }
}
