//! Tables that `lookup` looks things up in: read from CSV before any expression is compiled.
//!
//! Hides how CSV is read and that keys are found without regard to case. Deliberately opens no file: the caller reads
//! it ([`crate::tables`]), so that expressions stay without I/O.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use sha2::{Digest, Sha256};

use super::compare::fold;
use crate::diagnostic::did_you_mean;

/// A CSV file by one of its columns.
#[derive(Debug)]
pub struct Table {
    columns: Vec<String>,
    rows: HashMap<Box<str>, Box<[Arc<str>]>>,
    /// SHA-256 of the key column's name and the text, in hex.
    digest: String,
}

/// Why a text is no table.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TableError {
    /// The bytes that are meant; `None` where the name of the key column is.
    pub at: Option<Range<usize>>,
    pub message: String,
    pub help: Option<String>,
}

impl TableError {
    fn new(at: Range<usize>, message: impl Into<String>) -> TableError {
        TableError { at: Some(at), message: message.into(), help: None }
    }
}

impl Table {
    /// Reads CSV with a line of headings. Columns are separated by commas, or by semicolons where the headings have no
    /// comma; `key` names the column that rows are found by, otherwise it is the first. Lines without any value are
    /// skipped.
    pub fn read(text: &str, key: Option<&str>) -> Result<Table, TableError> {
        let first_line = text.lines().next().unwrap_or_default();
        let delimiter = if first_line.contains(',') || !first_line.contains(';') { b',' } else { b';' };
        let mut reader = csv::ReaderBuilder::new().delimiter(delimiter).from_reader(text.as_bytes());
        let headings = reader.headers().map_err(|error| unreadable(text, &error))?;
        let columns: Vec<String> = headings.iter().map(|name| name.trim().to_owned()).collect();
        let head = 0..first_line.len();
        if columns.len() < 2 {
            let message = "a table needs a first line with at least two headings: the key and what it leads to";
            return Err(TableError::new(head, message));
        }
        let twice = |(at, name): (usize, &String)| !name.is_empty() && columns[..at].contains(name);
        if let Some((_, name)) = columns.iter().enumerate().find(|(at, name)| twice((*at, name))) {
            return Err(TableError::new(head, format!("two columns are called `{name}`")));
        }
        let by = match key {
            None => 0,
            Some(key) => columns.iter().position(|name| name == key).ok_or_else(|| TableError {
                at: None,
                message: format!("the table has no column `{key}`"),
                help: Some(did_you_mean(key, &columns.iter().map(String::as_str).collect::<Vec<_>>(), "its columns")),
            })?,
        };
        let mut rows = HashMap::new();
        for row in reader.records() {
            let row = row.map_err(|error| unreadable(text, &error))?;
            let at = line(text, row.position());
            if row.iter().all(|cell| cell.trim().is_empty()) {
                continue;
            }
            let key = row.get(by).unwrap_or_default().trim();
            if key.is_empty() {
                return Err(TableError::new(
                    at,
                    format!("this row has no `{}`, by which it would be found", columns[by]),
                ));
            }
            if rows.insert(folded(key), row.iter().map(Arc::from).collect()).is_some() {
                return Err(TableError::new(at, format!("`{key}` is there twice; upper and lower case do not count")));
            }
        }
        let mut sum = Sha256::new();
        sum.update(columns[by].as_bytes());
        sum.update([0]);
        sum.update(text.as_bytes());
        let digest = sum.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
        Ok(Table { columns, rows, digest })
    }

    /// Another text or key column has another one.
    pub fn digest(&self) -> &str {
        &self.digest
    }

    /// The names of the columns, in the order of the file.
    pub fn columns(&self) -> impl Iterator<Item = &str> {
        self.columns.iter().map(String::as_str)
    }

    pub(super) fn column(&self, name: &str) -> Option<usize> {
        self.columns.iter().position(|known| known == name)
    }

    pub(super) fn get(&self, key: &str, column: usize) -> Option<Arc<str>> {
        self.rows.get(&folded(key))?.get(column).cloned()
    }
}

/// A slip that the CSV reader found, at its line.
fn unreadable(text: &str, error: &csv::Error) -> TableError {
    let at = line(text, error.position());
    match error.kind() {
        csv::ErrorKind::UnequalLengths { expected_len, len, .. } => {
            TableError::new(at, format!("this line has {len} cells, the line of headings has {expected_len}"))
        }
        _ => TableError::new(at, error.to_string()),
    }
}

/// The line that a row begins in.
fn line(text: &str, position: Option<&csv::Position>) -> Range<usize> {
    let start = position.and_then(|position| usize::try_from(position.byte()).ok()).unwrap_or(0).min(text.len());
    // The reader counts a row from the end of the one before, line breaks included.
    let start = start + text.get(start..).map_or(0, |rest| rest.len() - rest.trim_start_matches(['\r', '\n']).len());
    let length = text.get(start..).and_then(|rest| rest.find(['\r', '\n'])).unwrap_or(text.len() - start);
    start..start + length
}

fn folded(key: &str) -> Box<str> {
    key.trim().chars().map(fold).collect::<String>().into_boxed_str()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_found_by_the_key_column() {
        for text in ["Office,Site\nÖstersund,SE-1\n\"a, b\",X\n,\n", "Office;Site\r\nöstersund;SE-1\r\na, b;X\r\n;\r\n"]
        {
            let table = Table::read(text, None).unwrap();
            let column = table.column("Site").unwrap();
            assert_eq!(table.get(" ÖSTERSUND ", column).as_deref(), Some("SE-1"));
            assert_eq!(table.get("A, B", column).as_deref(), Some("X"));
            assert_eq!(table.get("Oslo", column), None);
            let other = Table::read(text, Some("Site")).unwrap();
            assert_eq!(other.get("se-1", 0).as_deref().map(str::to_lowercase).as_deref(), Some("östersund"));
            assert_ne!(other.digest(), table.digest(), "another key is another table");
        }
        assert_ne!(
            Table::read("a,b\nx,1\n", None).unwrap().digest(),
            Table::read("a,b\nx,2\n", None).unwrap().digest()
        );
    }

    #[test]
    fn slips_in_a_table_are_named_at_their_line() {
        for (text, line, expected) in [
            ("", "", "a table needs a first line with at least two headings: the key and what it leads to"),
            ("a,b\nx,1\nX,2\n", "X,2", "`X` is there twice; upper and lower case do not count"),
            ("a,b\r\n,1\r\n", ",1", "this row has no `a`, by which it would be found"),
            ("a,b,a\n", "a,b,a", "two columns are called `a`"),
            ("a,b\ny,1\n\nx\n", "x", "this line has 1 cells, the line of headings has 2"),
        ] {
            let slip = Table::read(text, None).expect_err("a slip");
            assert_eq!((slip.message.as_str(), &text[slip.at.unwrap()]), (expected, line));
        }
        let slip = Table::read("Office,Site\n", Some("Sites")).expect_err("a slip");
        assert_eq!((slip.at, slip.help.as_deref()), (None, Some("did you mean `Site`?")));
    }
}
