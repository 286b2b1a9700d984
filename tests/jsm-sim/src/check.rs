//! What an object may hold: every rule of an attribute, all breaches at once.
//!
//! Hides how texts become values, and the words of each refusal. Nothing is kept unless nothing is wrong.
//! <https://developer.atlassian.com/cloud/assets/rest/api-group-object/>

use std::collections::BTreeMap;

use jiff::civil::{Date, DateTime, Time};
use jiff::tz::TimeZone;
use jiff::{Timestamp, Zoned};
use regex::Regex;
use serde_json::Value;
use url::Url;

use crate::aql;
use crate::options::Flavour;
use crate::store::{Attribute, DefaultType, Id, Kind, Object, Store, Stored};

/// The most characters of a Text.
const TEXT_MAX: usize = 254;

/// What a request says of one attribute.
pub(crate) struct Written {
    pub attribute: Id,
    pub values: Vec<String>,
}

/// Reads `attributes` of a body; an error is a body that no server could read.
pub(crate) fn read(body: &Value) -> Result<Vec<Written>, String> {
    let listed = body.get("attributes").and_then(Value::as_array).ok_or("attributes is missing")?;
    let one = |entry: &Value| {
        let attribute = id(entry.get("objectTypeAttributeId")).ok_or("objectTypeAttributeId is missing")?;
        let values = entry.get("objectAttributeValues").and_then(Value::as_array);
        let values = values.ok_or("objectAttributeValues is missing")?;
        let text = |value: &Value| match value.get("value") {
            Some(Value::String(text)) => Ok(text.clone()),
            Some(Value::Number(number)) => Ok(number.to_string()),
            Some(Value::Bool(flag)) => Ok(flag.to_string()),
            _ => Err("a value has no value"),
        };
        let values = values.iter().map(text).collect::<Result<_, _>>()?;
        Ok(Written { attribute, values })
    };
    listed.iter().map(one).collect::<Result<_, &str>>().map_err(str::to_owned)
}

/// An id as number or text.
pub(crate) fn id(value: Option<&Value>) -> Option<Id> {
    match value? {
        Value::Number(number) => number.as_u64(),
        Value::String(text) => text.parse().ok(),
        _ => None,
    }
}

/// What an object holds once this is written; every breach by attribute when it may not.
pub(crate) fn apply(
    store: &Store,
    flavour: Flavour,
    ty: Id,
    before: Option<&Object>,
    written: &[Written],
) -> Result<BTreeMap<Id, Vec<Stored>>, BTreeMap<Id, String>> {
    let attributes = store.attributes_of(ty);
    let mut errors = BTreeMap::new();
    let mut values = before.map(|object| object.values.clone()).unwrap_or_default();
    for Written { attribute, values: texts } in written {
        let Some(attribute) = attributes.iter().find(|other| other.id == *attribute) else {
            errors.insert(*attribute, "The attribute does not belong to the object type".to_owned());
            continue;
        };
        match checked(store, flavour, attribute, before.map(|object| object.id), texts) {
            Ok(kept) if kept.is_empty() => drop(values.remove(&attribute.id)),
            Ok(kept) => drop(values.insert(attribute.id, kept)),
            Err(words) => drop(errors.insert(attribute.id, words)),
        }
    }
    for attribute in attributes.iter().filter(|attribute| attribute.editable && attribute.min > 0) {
        let held = values.get(&attribute.id).map_or(0, Vec::len) as i64;
        if held < attribute.min {
            let words = format!("{} needs at least {} value(s)", attribute.name, attribute.min);
            errors.entry(attribute.id).or_insert(words);
        }
    }
    if errors.is_empty() { Ok(values) } else { Err(errors) }
}

fn checked(
    store: &Store,
    flavour: Flavour,
    attribute: &Attribute,
    owner: Option<Id>,
    texts: &[String],
) -> Result<Vec<Stored>, String> {
    let name = &attribute.name;
    if attribute.system || !attribute.editable {
        return Err(format!("{name} is not editable"));
    }
    let texts: Vec<&str> = texts.iter().map(String::as_str).filter(|text| !text.is_empty()).collect();
    if attribute.max >= 0 && texts.len() as i64 > attribute.max {
        return Err(format!("{name} can only contain max {} value(s)", attribute.max));
    }
    let mut kept: Vec<Stored> = Vec::with_capacity(texts.len());
    for text in texts {
        let value = value(store, flavour, attribute, text)?;
        if attribute.unique && store.holder(attribute.id, &value).is_some_and(|holder| Some(holder) != owner) {
            return Err(format!("{name} has duplicated value: {}", store.shown(&value)));
        }
        if !kept.contains(&value) {
            kept.push(value);
        }
    }
    Ok(kept)
}

fn value(store: &Store, flavour: Flavour, attribute: &Attribute, text: &str) -> Result<Stored, String> {
    let name = &attribute.name;
    match &attribute.kind {
        Kind::Default(kind) => simple(*kind, attribute, text).map(Stored::Text),
        Kind::Reference { to, .. } => reference(store, flavour, attribute, *to, text),
        Kind::User => {
            let person = store.people.iter().find(|person| person.account == text);
            let person = person.ok_or_else(|| format!("User(s) {text} not found in Jira"))?;
            Ok(Stored::User(person.account.clone()))
        }
        Kind::Group => match store.groups.iter().any(|group| group == text) {
            true => Ok(Stored::Group(text.to_owned())),
            false => Err("Invalid Group(s)".to_owned()),
        },
        Kind::Project => Ok(Stored::Project(text.to_owned())),
        Kind::Status(allowed) => {
            let schema = store.types.get(&attribute.owner).map(|ty| ty.schema);
            let fits = |status: &&crate::store::StatusType| {
                status.id.to_string() == text || status.name.eq_ignore_ascii_case(text)
            };
            let open = |id: &Id, of: Option<Id>| {
                if allowed.is_empty() { of.is_none() || of == schema } else { allowed.contains(id) }
            };
            let status = store.statuses.values().filter(|status| open(&status.id, status.schema)).find(fits);
            status.map(|status| Stored::Status(status.id)).ok_or_else(|| format!("Invalid values for {name}: {text}"))
        }
    }
}

fn reference(store: &Store, flavour: Flavour, attribute: &Attribute, to: Id, text: &str) -> Result<Stored, String> {
    let object = match text.parse::<Id>() {
        Ok(id) => store.objects.get(&id),
        Err(_) => store.objects.values().find(|object| store.key_of(object) == text),
    };
    let object = object.ok_or_else(|| format!("The value provided is invalid: object {text} does not exist"))?;
    let types = if attribute.include_children { store.with_children(to) } else { vec![to] };
    if !types.contains(&object.ty) {
        return Err(format!("The value provided is invalid: {text} is of another object type"));
    }
    if !attribute.ql.is_empty() {
        let query =
            aql::parse(store, flavour, &attribute.ql).map_err(|words| format!("the filter is invalid: {words}"))?;
        if !query.matches(store, object) {
            return Err(format!("{text} is invalid due to restrictions"));
        }
    }
    Ok(Stored::Object(object.id))
}

/// A simple value in the form in which it is kept.
fn simple(kind: DefaultType, attribute: &Attribute, text: &str) -> Result<String, String> {
    let name = &attribute.name;
    let invalid = || format!("The {} value provided is invalid: {name}", kind.name());
    if text.contains('\0') {
        return Err(invalid());
    }
    if !attribute.regex.is_empty() {
        let fits = Regex::new(&format!("^(?:{})$", attribute.regex)).is_ok_and(|regex| regex.is_match(text));
        if !fits {
            return Err(format!("{name} is invalid due to restrictions"));
        }
    }
    Ok(match kind {
        DefaultType::Text if text.chars().count() > TEXT_MAX => {
            return Err(format!("{name} must be less than 255 characters"));
        }
        DefaultType::Text | DefaultType::Textarea => text.to_owned(),
        DefaultType::Integer => text.parse::<i32>().map_err(|_| invalid())?.to_string(),
        DefaultType::Double => java_double(text.parse::<f64>().ok().filter(|n| n.is_finite()).ok_or_else(invalid)?),
        DefaultType::Boolean => match text.to_ascii_lowercase().as_str() {
            "true" => "true".to_owned(),
            "false" => "false".to_owned(),
            _ => return Err(invalid()),
        },
        DefaultType::Date => {
            let date = text.get(..10).unwrap_or_default().parse::<Date>().map_err(|_| invalid())?;
            if text.len() > 10 && moment(text).is_none() {
                return Err(invalid());
            }
            date.to_string()
        }
        DefaultType::Time => text.parse::<Time>().map_err(|_| invalid())?.strftime("%H:%M").to_string(),
        DefaultType::DateTime => iso(moment(text).ok_or_else(invalid)?),
        DefaultType::Url => {
            let url = Url::parse(text).map_err(|_| invalid())?;
            if url.host_str().is_none() {
                return Err(invalid());
            }
            text.to_owned()
        }
        DefaultType::Email => match text.split_once('@') {
            Some((local, domain))
                if !local.is_empty() && domain.contains('.') && !text.contains(char::is_whitespace) =>
            {
                text.to_owned()
            }
            _ => return Err(invalid()),
        },
        DefaultType::Select => {
            let option = attribute.options.iter().find(|option| *option == text);
            option.cloned().ok_or_else(|| format!("Invalid values for {name}: {text}"))?
        }
        DefaultType::IpAddress => text.parse::<std::net::IpAddr>().map_err(|_| invalid())?.to_string(),
    })
}

/// ISO 8601 with an offset, or without one, which is UTC then.
fn moment(text: &str) -> Option<Timestamp> {
    let with_offset = text.parse::<Timestamp>().ok();
    with_offset.or_else(|| {
        let local = text.parse::<DateTime>().ok()?;
        local.to_zoned(TimeZone::UTC).ok().as_ref().map(Zoned::timestamp)
    })
}

/// `2026-01-31T08:00:00.000Z`.
pub(crate) fn iso(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%S%.3fZ").to_string()
}

/// A number as Java prints it: 3 is `3.0`.
fn java_double(number: f64) -> String {
    format!("{number:?}")
}
