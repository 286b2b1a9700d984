//! `[tables]` of jobs and mappings: the CSV files that `lookup` looks things up in.
//!
//! Hides where they lie and how their mistakes become places, in the job, the mapping or the table itself. Deliberately
//! knows nothing of what is looked up: [`crate::expr`] finds rows, and refuses `lookup` in filters.

use crate::diagnostic::{Place, Problems};
use crate::expr::{Catalog, Table};
use crate::tree::{Entry, Fields, Kind, Node, Table as TomlTable};

/// Reads every table that is named and makes it known to `lookup`. Paths are relative to the file that names them.
pub fn read(node: &Node, catalog: &mut Catalog, problems: &mut Problems) {
    let Some(named) = node.table(problems) else { return };
    for entry in &named.entries {
        if let Some(table) = one(entry, problems) {
            catalog.define(entry.key.as_str(), table);
        }
    }
}

fn one(entry: &Entry, problems: &mut Problems) -> Option<Table> {
    if entry.key.trim().is_empty() {
        problems.add(&entry.key_place, "a table needs a name");
        return None;
    }
    let long: TomlTable;
    let table = match &entry.value.kind {
        Kind::Table(table) => table,
        Kind::Text(_) => {
            let key_place = entry.value.place.clone();
            long = TomlTable { entries: vec![Entry { key: "file".into(), key_place, value: entry.value.clone() }] };
            &long
        }
        other => {
            let message = format!("a table cannot be {}", other.what());
            let help = "write the file's name in quotes, or { file = \"sites.csv\", key = \"Office\" }";
            problems.add_with_help(&entry.value.place, message, help);
            return None;
        }
    };
    let mut fields = Fields::new(table, &entry.value.place, format!("the table \"{}\"", entry.key));
    let file = fields.require("file", "{ file = \"sites.csv\" }", problems);
    let key = fields.get("key");
    fields.finish(&[], problems);
    let file = file?;
    let by = match key {
        Some(node) => Some(node.text(problems)?),
        None => None,
    };
    let text = file.file(problems)?;
    match Table::read(&text.text, by) {
        Ok(table) => Some(table),
        Err(slip) => {
            let place = match (slip.at, key) {
                (Some(range), _) => Place { file: text, range },
                (None, key) => key.unwrap_or(file).place.clone(),
            };
            match slip.help {
                Some(help) => problems.add_with_help(&place, slip.message, help),
                None => problems.add(&place, slip.message),
            }
            None
        }
    }
}
