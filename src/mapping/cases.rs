//! The `[[test]]` cases of a mapping: a record as Graph gives it, and what should come out.
//!
//! Hides how a case is written (a TOML table, or JSON pasted from Graph Explorer). What a case does not give is null,
//! never unknown: a case shows what a value becomes. Deliberately contacts nothing and follows no navigation but into
//! what the case itself holds.

use std::sync::Arc;

use jiff::Timestamp;
use serde_json::Value as Json;

use super::{Attribute, Mapped, Mapping, Rejection, datum, scalar_text};
use crate::diagnostic::{Place, Problems, did_you_mean};
use crate::distinct;
use crate::expr::{Catalog, NoNavigation};
use crate::plan::datum::Datum;
use crate::record::{Guid, Key, List, Value};
use crate::tree::{Fields, Kind, Node};

/// What `now()` is in a case that does not say: fixed, so that a case gives the same every day.
const NOW: Timestamp = Timestamp::constant(1_704_067_200, 0);

/// One case.
#[derive(Clone, PartialEq, Debug)]
pub struct Case {
    /// As given, or "case 3".
    pub name: String,
    pub place: Place,
    /// The record, with what it leads to nested in it.
    pub given: Json,
    /// What `now()` is in this case.
    pub now: Timestamp,
    /// For each row that is expected its values by position of their attribute; the others are not looked at. One row,
    /// unless the mapping splits records.
    pub expect: Vec<Vec<(usize, Datum)>>,
}

/// What became of one case.
#[derive(Clone, PartialEq, Debug)]
pub struct TestResult {
    pub name: String,
    /// `file:line` of the case.
    pub place: String,
    /// Why the record could not be built or mapped at all.
    pub error: Option<String>,
    /// The attributes that came out otherwise.
    pub mismatches: Vec<Mismatch>,
}

/// One attribute that came out otherwise.
#[derive(Clone, PartialEq, Debug)]
pub struct Mismatch {
    pub attribute: String,
    pub expected: Datum,
    pub got: Datum,
}

impl TestResult {
    pub fn passed(&self) -> bool {
        self.error.is_none() && self.mismatches.is_empty()
    }
}

/// Runs every case of a mapping; `catalog` is the one the mapping was compiled with.
pub fn run_tests(mapping: &Mapping, catalog: &Catalog) -> Vec<TestResult> {
    mapping.tests.iter().map(|case| run(case, mapping, catalog)).collect()
}

fn run(case: &Case, mapping: &Mapping, catalog: &Catalog) -> TestResult {
    let mapped = rows(case, mapping, catalog);
    let mut result =
        TestResult { name: case.name.clone(), place: case.place.line(), error: None, mismatches: Vec::new() };
    match mapped {
        Err(error) => result.error = Some(error),
        Ok(rows) if rows.len() != case.expect.len() => {
            result.error = Some(format!("expected {} rows, got {}", case.expect.len(), rows.len()));
        }
        Ok(rows) => {
            for (at, (mapped, expect)) in rows.iter().zip(&case.expect).enumerate() {
                for (index, expected) in expect {
                    let got = &mapped.values[*index];
                    if !same(expected, got) {
                        let name = &mapping.attributes[*index].name;
                        let attribute = match rows.len() {
                            1 => name.clone(),
                            _ => format!("{name}, in row {}", at + 1),
                        };
                        result.mismatches.push(Mismatch { attribute, expected: expected.clone(), got: got.clone() });
                    }
                }
            }
        }
    }
    result
}

/// What the record of a case becomes; why it becomes nothing, in words.
fn rows(case: &Case, mapping: &Mapping, catalog: &Catalog) -> Result<Vec<Mapped>, String> {
    let navigate = NoNavigation { as_of: case.now };
    let words = |rejection: Rejection| rejection.to_string();
    if mapping.distinct.is_some() {
        let records = records(case, mapping, catalog)?;
        let mapped = mapping.apply_value(&spelling(&case.given)?, &records, &navigate);
        return Ok(vec![mapped.map_err(words)?]);
    }
    let mut record = catalog.inline(mapping.source, &case.given).map_err(|error| error.to_string())?;
    if mapping.each.is_none() {
        return Ok(vec![mapping.apply(&record, &navigate).map_err(words)?]);
    }
    if record.key.guid().is_none() {
        // A case may leave the id away; rows need one to be of.
        record.key = Key::Guid(Guid::default());
    }
    let mut rows = Vec::new();
    for part in mapping.parts(&record, &navigate) {
        rows.push(part.mapped.map_err(words)?);
    }
    Ok(rows)
}

/// The value of a case of a mapping over distinct values.
fn spelling(given: &Json) -> Result<Box<str>, String> {
    let known = |name: &String| name == distinct::NAME || name == distinct::RECORDS;
    let found = match (given.get(distinct::NAME), given.as_object()) {
        (Some(Json::String(text)), Some(given)) if given.keys().all(known) => {
            distinct::key(text).map(|(_, spelling)| spelling)
        }
        _ => None,
    };
    found.ok_or_else(|| {
        "a case of distinct values is given one text, and those that have it: \
         given = { value = \"Retail\", records = [{ displayName = \"Adele Vance\" }] }"
            .to_string()
    })
}

/// The records of such a case that have the value.
fn records(case: &Case, mapping: &Mapping, catalog: &Catalog) -> Result<Value, String> {
    let given = match case.given.get(distinct::RECORDS) {
        None => &[][..],
        Some(Json::Array(given)) => given,
        Some(_) => return Err("records: these are written as a list: [{…}, {…}]".into()),
    };
    let record = |given: &Json| {
        let record = catalog.inline(mapping.source, given).map_err(|error| format!("records: {error}"))?;
        Ok(Value::Record(Arc::new(record)))
    };
    Ok(Value::List(List::known(given.iter().map(record).collect::<Result<Vec<_>, String>>()?)))
}

/// `""` is also how a case expects an empty set.
fn same(expected: &Datum, got: &Datum) -> bool {
    expected == got || (expected.is_empty() && got.is_empty())
}

/// Reads `[[test]]`. `split` says that a record may become several rows, which are expected as a list.
pub(super) fn read(node: &Node, attributes: &[Attribute], split: bool, problems: &mut Problems) -> Vec<Case> {
    let Some(items) = node.list(problems) else { return Vec::new() };
    items.iter().enumerate().filter_map(|(index, item)| case(index, item, attributes, split, problems)).collect()
}

fn case(index: usize, node: &Node, attributes: &[Attribute], split: bool, problems: &mut Problems) -> Option<Case> {
    let mut fields = Fields::new(node.table(problems)?, &node.place, "a `[[test]]`");
    let name = fields.get("name").and_then(|node| node.text(problems)).map(str::to_string);
    let given = fields.require("given", "given = { displayName = \"Adele Vance\" }", problems);
    let expect = fields.require("expect", "expect = { \"Name\" = \"Adele Vance\" }", problems);
    let now = fields.get("now").map_or(Some(NOW), |node| instant(node, problems));
    fields.finish(&super::read::HOMES, problems);
    let given = given.and_then(|node| record(node, problems));
    let rows = match &expect?.kind {
        Kind::List(rows) if split => rows.as_slice(),
        _ => std::slice::from_ref(expect?),
    };
    let expect: Vec<_> = rows.iter().filter_map(|row| expected(row, attributes, problems)).collect();
    let name = name.unwrap_or_else(|| format!("case {}", index + 1));
    Some(Case { name, place: node.place.clone(), given: given?, now: now?, expect })
}

/// The values of one row.
fn expected(node: &Node, attributes: &[Attribute], problems: &mut Problems) -> Option<Vec<(usize, Datum)>> {
    let mut values = Vec::new();
    for entry in &node.table(problems)?.entries {
        let Some(index) = attributes.iter().position(|attribute| attribute.name == entry.key) else {
            let known: Vec<_> = attributes.iter().map(|attribute| attribute.name.as_str()).collect();
            let help = did_you_mean(&entry.key, &known, "attributes of this mapping");
            problems.add_with_help(&entry.key_place, format!("the mapping has no attribute \"{}\"", entry.key), help);
            continue;
        };
        match datum(&entry.value) {
            Some(value) => values.push((index, value)),
            None => {
                problems.add(&entry.value.place, "expected a text, a number, true, false, a date, or a list of these")
            }
        }
    }
    Some(values)
}

/// The record of a case: a table, or a text that holds JSON.
fn record(node: &Node, problems: &mut Problems) -> Option<Json> {
    if let Kind::Text(text) = &node.kind {
        return match serde_json::from_str::<Json>(text) {
            Ok(json @ Json::Object(_)) => Some(json),
            Ok(_) => {
                problems.add(&node.place, "expected one JSON object in this text");
                None
            }
            Err(error) => {
                problems.add(&node.place, format!("this text is not valid JSON: {error}"));
                None
            }
        };
    }
    node.table(problems)?;
    Some(json(node))
}

fn instant(node: &Node, problems: &mut Problems) -> Option<Timestamp> {
    let found = scalar_text(node).and_then(|text| text.parse().ok());
    if found.is_none() {
        problems.add_with_help(&node.place, "this is not an instant", "write now = 2024-01-01T00:00:00Z");
    }
    found
}

fn json(node: &Node) -> Json {
    match &node.kind {
        Kind::Text(text) => Json::from(text.as_str()),
        Kind::Int(number) => Json::from(*number),
        Kind::Float(number) => Json::from(*number),
        Kind::Bool(flag) => Json::from(*flag),
        // Graph writes dates as text; a date without quotes means the same.
        Kind::Date(_) => scalar_text(node).map_or(Json::Null, Json::from),
        Kind::List(items) => items.iter().map(json).collect(),
        Kind::Table(table) => {
            Json::Object(table.entries.iter().map(|entry| (entry.key.clone(), json(&entry.value))).collect())
        }
    }
}
