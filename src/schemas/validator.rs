//! As much of JSON Schema (draft 7) as the schemas here use. A keyword or pattern that is not known here is a failure,
//! so that nothing is passed over in silence.
//! <https://json-schema.org/draft-07/json-schema-validation>

use serde_json::{Map, Value as Json};

/// Says nothing of whether a value fits.
const SILENT: [&str; 7] = ["$schema", "$id", "title", "description", "default", "definitions", "format"];

/// Why a value does not fit, each with where; empty when it does.
pub fn misfits(schema: &Json, value: &Json) -> Vec<String> {
    let mut found = Vec::new();
    Walk { root: schema, found: &mut found }.check(schema, value, "");
    found
}

struct Walk<'a> {
    root: &'a Json,
    found: &'a mut Vec<String>,
}

impl Walk<'_> {
    fn check(&mut self, schema: &Json, value: &Json, at: &str) {
        let Json::Object(schema) = schema else { panic!("not a schema: {schema}") };
        for (keyword, of) in schema {
            let fits = match keyword.as_str() {
                "properties" | "patternProperties" | "additionalProperties" => continue,
                "$ref" => {
                    let name =
                        of.as_str().and_then(|path| path.strip_prefix("#/definitions/")).expect("a local reference");
                    let found = &self.root["definitions"][name];
                    self.check(found, value, at);
                    continue;
                }
                "items" => {
                    for (index, item) in value.as_array().into_iter().flatten().enumerate() {
                        self.check(of, item, &format!("{at}/{index}"));
                    }
                    continue;
                }
                "allOf" => {
                    schemas(of).for_each(|schema| self.check(schema, value, at));
                    continue;
                }
                "anyOf" => schemas(of).any(|schema| self.fits(schema, value)),
                "oneOf" => schemas(of).filter(|schema| self.fits(schema, value)).count() == 1,
                "not" => !self.fits(of, value),
                keyword => assertion(keyword, of, value),
            };
            if !fits {
                self.found.push(format!("{at}: {keyword} {of} does not fit {value}"));
            }
        }
        if let Json::Object(members) = value {
            self.members(schema, members, at);
        }
    }

    fn members(&mut self, schema: &Map<String, Json>, members: &Map<String, Json>, at: &str) {
        for (name, value) in members {
            let at = format!("{at}/{name}");
            let mut known = false;
            if let Some(of) = schema.get("properties").and_then(|properties| properties.get(name)) {
                known = true;
                self.check(of, value, &at);
            }
            for (pattern, of) in schema.get("patternProperties").and_then(Json::as_object).into_iter().flatten() {
                if matches(pattern, name) {
                    known = true;
                    self.check(of, value, &at);
                }
            }
            match schema.get("additionalProperties") {
                Some(Json::Bool(false)) if !known => self.found.push(format!("{at}: unknown")),
                Some(of @ Json::Object(_)) if !known => self.check(of, value, &at),
                _ => {}
            }
        }
    }

    fn fits(&self, schema: &Json, value: &Json) -> bool {
        let mut found = Vec::new();
        Walk { root: self.root, found: &mut found }.check(schema, value, "");
        found.is_empty()
    }
}

fn schemas(list: &Json) -> impl Iterator<Item = &Json> {
    list.as_array().expect("a list of schemas").iter()
}

/// A keyword that looks at the value alone; of another type than it is about, every value fits.
fn assertion(keyword: &str, of: &Json, value: &Json) -> bool {
    let number = |json: &Json| json.as_f64().expect("a number");
    let length =
        |text: Option<usize>, fits: fn(f64, f64) -> bool| text.is_none_or(|length| fits(length as f64, number(of)));
    let characters = value.as_str().map(|text| text.chars().count());
    match keyword {
        "type" => match of {
            Json::Array(types) => types.iter().any(|of| is(of, value)),
            one => is(one, value),
        },
        "enum" => of.as_array().expect("a list").contains(value),
        "required" => value.as_object().is_none_or(|members| {
            of.as_array().expect("a list").iter().all(|name| members.contains_key(name.as_str().expect("a name")))
        }),
        "pattern" => value.as_str().is_none_or(|text| matches(of.as_str().expect("a pattern"), text)),
        "minimum" => value.as_f64().is_none_or(|value| value >= number(of)),
        "maximum" => value.as_f64().is_none_or(|value| value <= number(of)),
        "minLength" => length(characters, |length, least| length >= least),
        "maxLength" => length(characters, |length, most| length <= most),
        "minItems" => length(value.as_array().map(Vec::len), |length, least| length >= least),
        "minProperties" => length(value.as_object().map(Map::len), |length, least| length >= least),
        "maxProperties" => length(value.as_object().map(Map::len), |length, most| length <= most),
        "uniqueItems" => {
            value.as_array().is_none_or(|items| items.iter().enumerate().all(|(at, item)| !items[..at].contains(item)))
        }
        other => SILENT.contains(&other) || panic!("a keyword that this validator does not know: {other}"),
    }
}

fn is(name: &Json, value: &Json) -> bool {
    match name.as_str().expect("the name of a type") {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "number" => value.is_number(),
        "integer" => value.is_i64() || value.is_u64(),
        other => panic!("no type: {other}"),
    }
}

/// The patterns of the schemas, by hand: no crate for them is among the dependencies.
fn matches(pattern: &str, text: &str) -> bool {
    let all = |of: fn(char) -> bool| text.chars().all(of);
    let first = text.chars().next();
    match pattern {
        "^[a-z][a-z0-9_]*$" => {
            first.is_some_and(|c| c.is_ascii_lowercase())
                && all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
        }
        "^[A-Za-z_][A-Za-z0-9_]*$" => {
            first.is_some_and(|c| c.is_ascii_alphabetic() || c == '_') && all(|c| c.is_ascii_alphanumeric() || c == '_')
        }
        r"^[\p{L}\p{N} _-]+$" => first.is_some() && all(|c| c.is_alphanumeric() || matches!(c, ' ' | '_' | '-')),
        "^[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9_-])?$" => {
            first.is_some_and(|c| c.is_ascii_alphanumeric())
                && all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-'))
                && !text.ends_with('.')
        }
        "^[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}$" => text.parse::<crate::record::Guid>().is_ok(),
        "^[A-Za-z][A-Za-z0-9/._$()='-]*$" => {
            first.is_some_and(|c| c.is_ascii_alphabetic())
                && all(|c| c.is_ascii_alphanumeric() || "/._$()='-".contains(c))
        }
        r"\.(html|htm|csv|json|txt)$" => {
            [".html", ".htm", ".csv", ".json", ".txt"].iter().any(|end| text.ends_with(end))
        }
        "^smtps?://[^/@]+/?$" => {
            let rest = text.strip_prefix("smtp://").or_else(|| text.strip_prefix("smtps://"));
            rest.map(|rest| rest.strip_suffix('/').unwrap_or(rest))
                .is_some_and(|host| !host.is_empty() && !host.contains(['/', '@']))
        }
        "^(GET|POST|PUT|PATCH|DELETE)( /[^ ]*)?$" => {
            let (method, path) = text.split_once(' ').unwrap_or((text, "/"));
            ["GET", "POST", "PUT", "PATCH", "DELETE"].contains(&method) && path.starts_with('/') && !path.contains(' ')
        }
        "^[1-9][0-9]*/(s|min|h|day)$" => text.split_once('/').is_some_and(|(number, unit)| {
            !number.starts_with('0')
                && !number.is_empty()
                && number.chars().all(|c| c.is_ascii_digit())
                && ["s", "min", "h", "day"].contains(&unit)
        }),
        "^(no|fixtures|live .+)$" => {
            ["no", "fixtures"].contains(&text) || text.strip_prefix("live ").is_some_and(|version| !version.is_empty())
        }
        "^(index|order|reread|(key|id):.+)$" => {
            ["index", "order", "reread"].contains(&text)
                || text.split_once(':').is_some_and(|(by, path)| ["key", "id"].contains(&by) && !path.is_empty())
        }
        other => panic!("a pattern that this validator does not know: {other}"),
    }
}
