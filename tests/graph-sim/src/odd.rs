//! The same answer in odd but legal JSON.
//!
//! Hides: what OData lets a service add or leave out: annotations and properties nobody asked for, null in place of an
//! empty list of values, the members of an object in any order, escapes and blanks wherever JSON has them.
//! <https://docs.oasis-open.org/odata/odata-json-format/v4.01/odata-json-format-v4.01.html>
//! <https://learn.microsoft.com/graph/best-practices-concept> (clients must ignore what they do not know)
//! Deliberately does not: touch the list of a page, ids, links or relationships.

use std::fmt::Write as _;

use serde_json::{Map, Value, json};

use crate::reply::{JSON, Reply};

/// Lists whose absence is told apart from emptiness: pages, relationships, deltas.
const RELATIONSHIPS: [&str; 8] =
    ["value", "members", "owners", "memberOf", "registeredOwners", "registeredUsers", "responses", "directReports"];

/// Rewrites the body of a page or an object.
pub(crate) fn disguise(reply: &mut Reply) {
    if reply.content_type != JSON {
        return;
    }
    let Ok(Value::Object(page)) = serde_json::from_slice(&reply.body) else { return };
    let mut page = annotate(page);
    if let Some(Value::Array(items)) = page.get_mut("value") {
        for item in items.iter_mut() {
            if let Value::Object(object) = item.take() {
                *item = Value::Object(annotate(object));
            }
        }
    }
    let mut text = String::new();
    write_odd(&mut text, &Value::Object(page), 0);
    reply.body = text.into_bytes();
}

/// Takes `@odata.type` out of every object of the answer.
pub(crate) fn without_types(reply: &mut Reply) {
    fn strip(value: &mut Value) {
        match value {
            Value::Object(object) => {
                object.remove("@odata.type");
                object.values_mut().for_each(strip);
            }
            Value::Array(items) => items.iter_mut().for_each(strip),
            _ => {}
        }
    }
    if let Ok(mut body) = serde_json::from_slice::<Value>(&reply.body) {
        strip(&mut body);
        reply.body = body.to_string().into_bytes();
    }
}

fn annotate(object: Map<String, Value>) -> Map<String, Value> {
    let mut odd = Map::new();
    odd.insert(
        "unheardOf".into(),
        json!({"id": "not-an-id", "value": [{"id": "00000000-0000-0000-0000-000000000000"}]}),
    );
    odd.insert("@unheard.of".into(), json!([null, true, 1.5e300, "\u{0}"]));
    // Reversed: nothing may depend on the order.
    for (name, value) in object.into_iter().rev() {
        let empty = value.as_array().is_some_and(Vec::is_empty);
        if value.is_array() && !name.starts_with('@') && name != "value" {
            odd.insert(format!("{name}@odata.type"), "#Collection(unheard.of)".into());
        }
        let null = empty && !RELATIONSHIPS.contains(&name.as_str()) && !name.contains('@');
        odd.insert(name, if null { Value::Null } else { value });
    }
    odd
}

/// Blanks and line breaks everywhere, every character but letters and digits of ASCII escaped.
fn write_odd(out: &mut String, value: &Value, depth: usize) {
    let blank = |out: &mut String| out.push_str(["\n", "\t ", "\r\n  ", " "][depth % 4]);
    match value {
        Value::Array(items) => {
            out.push('[');
            for (number, item) in items.iter().enumerate() {
                out.push_str(if number > 0 { " ," } else { "" });
                blank(out);
                write_odd(out, item, depth + 1);
            }
            out.push_str(" ]");
        }
        Value::Object(members) => {
            out.push('{');
            for (number, (name, item)) in members.iter().enumerate() {
                out.push_str(if number > 0 { "\t," } else { "" });
                blank(out);
                escape(out, name);
                out.push_str(" : ");
                write_odd(out, item, depth + 1);
            }
            out.push_str("\n}");
        }
        Value::String(text) => escape(out, text),
        other => write!(out, "{other}").expect("writing to a string"),
    }
}

fn escape(out: &mut String, text: &str) {
    out.push('"');
    for unit in text.encode_utf16() {
        match char::from_u32(unit.into()).filter(char::is_ascii_alphanumeric) {
            Some(plain) => out.push(plain),
            None => write!(out, "\\u{unit:04X}").expect("writing to a string"),
        }
    }
    out.push('"');
}
