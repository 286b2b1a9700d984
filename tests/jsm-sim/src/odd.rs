//! The same answer in odd but legal JSON, and pages that show too little or too much.
//!
//! Hides what a service may add or leave out without a word. Deliberately never touches ids.

use serde_json::{Map, Value, json};

use crate::reply::Reply;

/// The list of a page, in both products.
const LISTS: [&str; 2] = ["values", "objectEntries"];

fn edited(mut reply: Reply, edit: impl FnOnce(&mut Value)) -> Reply {
    if reply.status < 300
        && let Ok(mut body) = serde_json::from_slice::<Value>(&reply.body)
    {
        edit(&mut body);
        reply.body = body.to_string().into_bytes();
    }
    reply
}

/// The objects of a page.
fn objects(page: &mut Value) -> Option<&mut Vec<Value>> {
    let name = LISTS.into_iter().find(|name| page.get(name).is_some_and(Value::is_array))?;
    page[name].as_array_mut()
}

/// Half of a page, at least one object, and more is said to come.
pub(crate) fn short(reply: Reply) -> Reply {
    edited(reply, |page| {
        if let Some(objects) = objects(page) {
            objects.truncate(objects.len().div_ceil(2));
            for (name, value) in [("isLast", false), ("last", false), ("hasMoreResults", true)] {
                if page.get(name).is_some() {
                    page[name] = json!(value);
                }
            }
        }
    })
}

pub(crate) fn twice(reply: Reply) -> Reply {
    edited(reply, |page| {
        if let Some(objects) = objects(page) {
            objects.extend(objects.last().cloned());
        }
    })
}

pub(crate) fn bare(reply: Reply) -> Reply {
    edited(reply, |page| {
        for object in objects(page).into_iter().flatten() {
            object["attributes"] = Value::Null;
        }
    })
}

pub(crate) fn disguised(reply: Reply) -> Reply {
    edited(reply, |body| *body = odd(body.take()))
}

/// Members in the other order, unheard ones among them, and null in place of empty lists. Values of texts stand where
/// they are shown, and nowhere else.
fn odd(value: Value) -> Value {
    match value {
        Value::Array(items) => items.into_iter().map(odd).collect(),
        Value::Object(members) => {
            let is_text = members.get("referencedType") == Some(&json!(false)) && members.contains_key("searchValue");
            let mut all = Map::new();
            all.insert("unheardOf".into(), json!({"id": [null, {"value": "x"}], "attributes": 7}));
            for (name, value) in members.into_iter().rev() {
                let is_empty = value.as_array().is_some_and(Vec::is_empty);
                let is_list = LISTS.contains(&name.as_str());
                let hides = (is_text && name == "value") || (is_empty && !is_list);
                all.insert(name, if hides { Value::Null } else { odd(value) });
            }
            Value::Object(all)
        }
        other => other,
    }
}
