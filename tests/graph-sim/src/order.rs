//! `$orderby` and `$search` on directory objects.
//!
//! Hides: which property can be sorted by plainly or only in an advanced query, and how `$search` cuts names into words.
//! <https://learn.microsoft.com/graph/aad-advanced-queries> <https://learn.microsoft.com/graph/search-query-parameter>
//! Deliberately does not: choose pages (see `graph`), or rank what it finds.

use std::cmp::Ordering;

use serde_json::Value;

use crate::object::{Object, Prop};
use crate::reply::Failure;
use crate::schema::{self, Kind};

/// Sortable as it is.
const PLAIN: [(Kind, &str); 3] =
    [(Kind::User, "displayName"), (Kind::User, "userPrincipalName"), (Kind::Group, "displayName")];
/// Sortable in an advanced query.
const ADVANCED: [(Kind, &str); 4] = [
    (Kind::User, "createdDateTime"),
    (Kind::Device, "createdDateTime"),
    (Kind::Device, "approximateLastSignInDateTime"),
    (Kind::Device, "displayName"),
];

/// What to sort by.
#[derive(Debug)]
pub(crate) struct Order {
    keys: Vec<(Prop, bool)>,
}

impl Order {
    /// Reads `displayName desc,userPrincipalName`.
    pub fn parse(text: &str, kind: Kind, advanced: bool) -> Result<Self, Failure> {
        let key = |part: &str| {
            let mut words = part.split_whitespace();
            let name = words.next().unwrap_or_default();
            let property = schema::of(kind).property(name);
            let property = property.ok_or_else(|| {
                let kind = kind.name();
                Failure::bad_request(format!(
                    "Could not find a property named '{name}' on type 'microsoft.graph.{kind}'."
                ))
            })?;
            let sortable = PLAIN.contains(&(kind, name))
                || (advanced && (name == "deletedDateTime" || ADVANCED.contains(&(kind, name))));
            match (sortable, words.next(), words.next()) {
                (true, None | Some("asc"), None) => Ok((property.prop, false)),
                (true, Some("desc"), None) => Ok((property.prop, true)),
                (true, ..) => Err(Failure::bad_request(format!("Syntax error in '{text}'."))),
                (false, ..) => Err(Self::unsupported()),
            }
        };
        Ok(Self { keys: text.split(',').map(key).collect::<Result<_, _>>()? })
    }

    /// What Graph says to an order it does not do.
    pub fn unsupported() -> Failure {
        Failure::unsupported("Sorting not supported for current query.")
    }

    /// Sorts rows; what has no value comes first.
    pub fn sort(&self, rows: &mut [&Object]) {
        rows.sort_by(|a, b| self.compare(a, b));
    }

    /// Which of two objects comes first.
    pub fn compare(&self, a: &Object, b: &Object) -> Ordering {
        let text = |object: &Object, prop| object.value(prop).as_str().map(str::to_lowercase);
        let by = |&(prop, descending): &(Prop, bool)| {
            let order = text(a, prop).cmp(&text(b, prop));
            if descending { order.reverse() } else { order }
        };
        self.keys.iter().map(by).find(|order| *order != Ordering::Equal).unwrap_or(Ordering::Equal)
    }
}

/// `"property:text"`, joined by `AND` and `OR`.
#[derive(Debug)]
pub(crate) struct Search {
    /// Alternatives, each a list of what must hold together.
    any: Vec<Vec<(Prop, String)>>,
}

impl Search {
    /// Reads the value of `$search`; the header is needed, `$count` is not.
    pub fn parse(text: &str, kind: Kind, eventual: bool) -> Result<Self, Failure> {
        if !eventual {
            return Err(Failure::unsupported(
                "Request with $search query parameter only works through MSGraph with a special request header: 'ConsistencyLevel: eventual'",
            ));
        }
        let wrong = || Failure::bad_request(format!("Syntax error in the $search query '{text}'."));
        let mut any = vec![Vec::new()];
        let mut rest = text.trim();
        loop {
            let (clause, after) = rest.strip_prefix('"').and_then(|rest| rest.split_once('"')).ok_or_else(wrong)?;
            let (name, value) = clause.split_once(':').ok_or_else(wrong)?;
            let property = schema::of(kind).property(name).ok_or_else(wrong)?;
            any.last_mut().ok_or_else(wrong)?.push((property.prop, value.to_lowercase()));
            rest = after.trim_start();
            rest = match (rest.strip_prefix("AND "), rest.strip_prefix("OR ")) {
                (Some(rest), _) => rest.trim_start(),
                (_, Some(rest)) => {
                    any.push(Vec::new());
                    rest.trim_start()
                }
                _ if rest.is_empty() => return Ok(Self { any }),
                _ => return Err(wrong()),
            };
        }
    }

    /// Whether an object is found.
    pub fn matches(&self, object: &Object) -> bool {
        let holds = |(prop, text): &(Prop, String)| found(*prop, &object.value(*prop), text);
        self.any.iter().any(|all| all.iter().all(holds))
    }
}

/// Names and descriptions are searched word by word, everything else by its beginning.
fn found(prop: Prop, value: &Value, text: &str) -> bool {
    let words = |text: &str| -> Vec<String> {
        text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()).map(str::to_lowercase).collect()
    };
    match value {
        Value::String(value) if matches!(&*prop.name(), "displayName" | "description") => {
            let have = words(value);
            words(text).iter().all(|word| have.iter().any(|known| known.starts_with(word.as_str())))
        }
        Value::String(value) => value.to_lowercase().starts_with(text),
        Value::Array(values) => values.iter().any(|value| found(prop, value, text)),
        _ => false,
    }
}
