//! Tables that `lookup` looks things up in: read from CSV before any expression is compiled.
//!
//! Hides how CSV is read and that keys are found without regard to case. Deliberately opens no file: the caller reads
//! it, so that expressions stay without I/O.

use std::collections::HashMap;
use std::sync::Arc;

use super::compare::fold;

/// A CSV file by its first column.
#[derive(Debug)]
pub struct Table {
    columns: Vec<String>,
    rows: HashMap<Box<str>, Box<[Arc<str>]>>,
}

impl Table {
    /// Reads CSV with a line of headings. Columns are separated by commas, or by semicolons where the headings have no
    /// comma. `Err` says what is wrong, and in which line.
    pub fn read(text: &str) -> Result<Table, String> {
        let headings = text.lines().next().unwrap_or_default();
        let delimiter = if headings.contains(',') || !headings.contains(';') { b',' } else { b';' };
        let mut reader = csv::ReaderBuilder::new().delimiter(delimiter).from_reader(text.as_bytes());
        let headings = reader.headers().map_err(|error| error.to_string())?;
        let columns: Vec<String> = headings.iter().map(|name| name.trim().to_owned()).collect();
        if columns.len() < 2 {
            return Err(
                "a table needs a first line with at least two headings: the key and what it leads to".to_owned()
            );
        }
        let mut rows = HashMap::new();
        for row in reader.records() {
            let row = row.map_err(|error| error.to_string())?;
            let line = row.position().map_or(0, csv::Position::line);
            let key = row.get(0).unwrap_or_default();
            if rows.insert(folded(key), row.iter().map(Arc::from).collect()).is_some() {
                return Err(format!("line {line}: `{key}` is there twice"));
            }
        }
        Ok(Table { columns, rows })
    }

    /// The names of the columns, the key first.
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

fn folded(key: &str) -> Box<str> {
    key.trim().chars().map(fold).collect::<String>().into_boxed_str()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_found_by_their_first_column() {
        for text in ["Office,Site\nÖstersund,SE-1\n\"a, b\",X\n", "Office;Site\r\nöstersund;SE-1\r\na, b;X\r\n"] {
            let table = Table::read(text).unwrap();
            let column = table.column("Site").unwrap();
            assert_eq!(table.get(" ÖSTERSUND ", column).as_deref(), Some("SE-1"));
            assert_eq!(table.get("A, B", column).as_deref(), Some("X"));
            assert_eq!(table.get("Oslo", column), None);
        }
    }

    #[test]
    fn slips_in_a_table_are_named() {
        for (text, expected) in [
            ("", "a table needs a first line with at least two headings: the key and what it leads to"),
            ("a,b\nx,1\nX,2\n", "line 3: `X` is there twice"),
        ] {
            assert_eq!(Table::read(text).expect_err("a slip"), expected);
        }
        assert!(Table::read("a,b\nx\n").expect_err("a slip").contains("line: 2"));
    }
}
