//! A job with its bases merged, line by line, with where each value was written.
//!
//! Hides how tables and lists become lines of TOML again. Deliberately reads no meaning into them.

use std::path::Path;

use super::files;
use crate::diagnostic::Problems;
use crate::error::Result;
use crate::tree::{Kind, Node, Table};

/// The merged job as lines of TOML, each with `file:line` where it holds a value.
pub fn origins(path: &Path) -> Result<Vec<(String, Option<String>)>> {
    let mut problems = Problems::default();
    let merged = files::merged(path, &mut problems)?;
    problems.into_result(&format!("the job {}", path.display()), false)?;
    let mut lines = Vec::new();
    if let Some(merged) = merged {
        table("", &merged.table, &mut lines);
    }
    Ok(lines)
}

fn table(prefix: &str, table: &Table, lines: &mut Vec<(String, Option<String>)>) {
    // What stands under a header of its own comes last: TOML takes all that follows for a part of it.
    let (last, first): (Vec<_>, Vec<_>) =
        table.entries.iter().partition(|entry| list_of_tables(&entry.value).is_some());
    for entry in first {
        let key = format!("{prefix}{}", spelt(&entry.key));
        match &entry.value.kind {
            Kind::Table(inner) if !inner.entries.is_empty() => self::table(&format!("{key}."), inner, lines),
            Kind::Table(_) => lines.push((format!("{key} = {{}}"), Some(entry.value.place.line()))),
            _ => lines.push((format!("{key} = {}", entry.value.place.raw()), Some(entry.value.place.line()))),
        }
    }
    for entry in last {
        for item in list_of_tables(&entry.value).into_iter().flatten() {
            let Kind::Table(inner) = &item.kind else { continue };
            lines.push((String::new(), None));
            lines.push((format!("[[{prefix}{}]]", spelt(&entry.key)), Some(item.place.line())));
            self::table("", inner, lines);
        }
    }
}

/// A list that was written as `[[key]]`; a list between brackets is a value.
fn list_of_tables(node: &Node) -> Option<&[Node]> {
    match &node.kind {
        Kind::List(items) if !items.is_empty() && items.iter().all(|item| item.place.raw().starts_with("[[")) => {
            Some(items)
        }
        _ => None,
    }
}

fn spelt(key: &str) -> String {
    let bare = !key.is_empty() && key.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-'));
    // A JSON text is a TOML text as well.
    if bare { key.to_string() } else { serde_json::Value::from(key).to_string() }
}
