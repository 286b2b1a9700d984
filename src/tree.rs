//! TOML files as trees whose every key and value knows its place in its file.
//!
//! Hides the TOML parser, the file order of keys, the way from a position inside a text to the position in the file
//! (escapes, triple quotes), and how one file's tables lie over another's. Deliberately knows no key of any format.

use std::fmt;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

use toml::de::{DeTable, DeValue};

use crate::diagnostic::{Diagnostic, Place, Problems, SourceFile, did_you_mean};

/// Arrays and tables nested deeper than this are refused; no format of ours needs a fifth of it.
const DEPTH_MAX: usize = 32;

/// A value and where it stands.
#[derive(Clone, Debug)]
pub struct Node {
    pub place: Place,
    pub kind: Kind,
}

/// What a value is.
#[derive(Clone, Debug)]
pub enum Kind {
    Text(String),
    Int(i64),
    Float(f64),
    Bool(bool),
    Date(toml::value::Datetime),
    List(Vec<Node>),
    Table(Table),
}

/// Keys and values in the order of the file.
#[derive(Clone, Debug, Default)]
pub struct Table {
    pub entries: Vec<Entry>,
}

/// One key of a table.
#[derive(Clone, Debug)]
pub struct Entry {
    pub key: String,
    pub key_place: Place,
    pub value: Node,
}

impl Table {
    pub fn get(&self, key: &str) -> Option<&Node> {
        self.entries.iter().find(|entry| entry.key == key).map(|entry| &entry.value)
    }

    /// Takes a key away.
    pub fn remove(&mut self, key: &str) -> Option<Entry> {
        let at = self.entries.iter().position(|entry| entry.key == key)?;
        Some(self.entries.remove(at))
    }

    /// Puts an entry in the place of the one of the same key, or at the end.
    pub fn set(&mut self, entry: Entry) {
        match self.entries.iter_mut().find(|other| other.key == entry.key) {
            Some(other) => *other = entry,
            None => self.entries.push(entry),
        }
    }

    /// Lays `over` over this table: tables merge, everything else replaces.
    pub fn merge(&mut self, over: Table) {
        for entry in over.entries {
            match self.entries.iter_mut().find(|other| other.key == entry.key) {
                Some(Entry { value: Node { kind: Kind::Table(under), place }, key_place, .. })
                    if matches!(entry.value.kind, Kind::Table(_)) =>
                {
                    let Node { place: new_place, kind } = entry.value;
                    if let Kind::Table(over) = kind {
                        under.merge(over);
                    }
                    (*place, *key_place) = (new_place, entry.key_place);
                }
                Some(other) => *other = entry,
                None => self.entries.push(entry),
            }
        }
    }
}

impl Kind {
    /// "a text", "a list": for messages.
    pub fn what(&self) -> &'static str {
        match self {
            Kind::Text(_) => "a text",
            Kind::Int(_) => "a whole number",
            Kind::Float(_) => "a number",
            Kind::Bool(_) => "true or false",
            Kind::Date(_) => "a date",
            Kind::List(_) => "a list",
            Kind::Table(_) => "a table",
        }
    }
}

impl Node {
    fn expected(&self, wanted: &str, problems: &mut Problems) {
        problems.add(&self.place, format!("expected {wanted}, found {}", self.kind.what()));
    }

    pub fn text(&self, problems: &mut Problems) -> Option<&str> {
        match &self.kind {
            Kind::Text(text) => Some(text),
            _ => {
                self.expected("a text in quotes", problems);
                None
            }
        }
    }

    pub fn bool(&self, problems: &mut Problems) -> Option<bool> {
        match self.kind {
            Kind::Bool(flag) => Some(flag),
            _ => {
                self.expected("true or false", problems);
                None
            }
        }
    }

    /// A whole number within `range`.
    pub fn int(&self, range: std::ops::RangeInclusive<i64>, problems: &mut Problems) -> Option<i64> {
        match self.kind {
            Kind::Int(number) if range.contains(&number) => Some(number),
            _ => {
                let found =
                    if let Kind::Int(number) = self.kind { number.to_string() } else { self.kind.what().into() };
                let (low, high) = (range.start(), range.end());
                let wanted = match *high {
                    i64::MAX => format!("a whole number from {low}"),
                    _ => format!("a whole number from {low} to {high}"),
                };
                problems.add(&self.place, format!("expected {wanted}, found {found}"));
                None
            }
        }
    }

    /// A number above `above`, at most `max`.
    pub fn number(&self, range: std::ops::RangeInclusive<f64>, problems: &mut Problems) -> Option<f64> {
        let number = match self.kind {
            // The ranges asked for are small; no digit is lost.
            Kind::Int(number) => number as f64,
            Kind::Float(number) => number,
            _ => f64::NAN,
        };
        if range.contains(&number) {
            return Some(number);
        }
        let found = if number.is_nan() { self.kind.what().into() } else { number.to_string() };
        problems
            .add(&self.place, format!("expected a number from {} to {}, found {found}", range.start(), range.end()));
        None
    }

    pub fn list(&self, problems: &mut Problems) -> Option<&[Node]> {
        match &self.kind {
            Kind::List(items) => Some(items),
            _ => {
                self.expected("a list in square brackets", problems);
                None
            }
        }
    }

    pub fn table(&self, problems: &mut Problems) -> Option<&Table> {
        match &self.kind {
            Kind::Table(table) => Some(table),
            _ => {
                self.expected("a table", problems);
                None
            }
        }
    }

    /// A list of texts that are not empty.
    pub fn texts(&self, problems: &mut Problems) -> Option<Vec<String>> {
        let texts: Vec<_> = self.list(problems)?.iter().map(|item| item.text(problems).map(str::to_string)).collect();
        texts.into_iter().collect()
    }

    /// One of a closed list of words.
    pub fn word<T: Copy>(&self, words: &[(&str, T)], problems: &mut Problems) -> Option<T> {
        let text = self.text(problems)?;
        if let Some((_, value)) = words.iter().find(|(word, _)| *word == text) {
            return Some(*value);
        }
        let known: Vec<_> = words.iter().map(|(word, _)| *word).collect();
        let help = did_you_mean(text, &known, "possible values");
        problems.add_with_help(&self.place, format!("`{text}` is not possible here"), help);
        None
    }

    /// A path, relative to the file it is written in; `~` is not expanded.
    pub fn path(&self, problems: &mut Problems) -> Option<PathBuf> {
        let text = self.text(problems)?;
        if text.is_empty() {
            problems.add(&self.place, "the path is empty");
            return None;
        }
        Some(self.place.file.folder.join(text))
    }

    /// The file that it names, read; one that cannot be is a mistake here.
    pub fn file(&self, problems: &mut Problems) -> Option<Arc<SourceFile>> {
        match SourceFile::read(&self.path(problems)?) {
            Ok(file) => Some(file),
            Err(error) => {
                let help = format!("{}; the path is relative to this file", error.causes.join(": "));
                problems.add_with_help(&self.place, error.what, help);
                None
            }
        }
    }

    /// The place in the file of a range inside this text.
    pub fn inside(&self, range: Range<usize>) -> Place {
        let raw = self.place.raw();
        let offsets = offsets(raw);
        let at = |index: usize| offsets.get(index).or(offsets.last()).copied().unwrap_or(0) + self.place.range.start;
        let start = at(range.start);
        // A caret needs something to stand on, also at the end of the text.
        let end = at(range.end).max(start + 1).min(self.place.range.end);
        Place { file: self.place.file.clone(), range: start.min(end)..end }
    }
}

/// For every byte of a TOML string's meaning (and its end) the offset in its raw text.
fn offsets(raw: &str) -> Vec<usize> {
    let quote = if raw.starts_with('\'') { "'" } else { "\"" };
    let triple = raw.len() >= 6 && raw.starts_with(&quote.repeat(3));
    let width = if triple { 3 } else { 1 };
    let end = raw.len().saturating_sub(width);
    let mut at = width.min(end);
    if triple {
        // A line break right after the opening quotes is not part of the text.
        let rest = &raw[at..end];
        at += if rest.starts_with("\r\n") { 2 } else { usize::from(rest.starts_with('\n')) };
    }
    let mut out = Vec::with_capacity(raw.len());
    while let Some(next) = raw[at..end].chars().next() {
        if next != '\\' || quote == "'" {
            out.extend((0..next.len_utf8()).map(|byte| at + byte));
            at += next.len_utf8();
            continue;
        }
        let (width, meaning) = escape(&raw[at..end]);
        out.extend(std::iter::repeat_n(at, meaning));
        at += width;
    }
    out.push(end);
    out
}

/// Width of an escape in the raw text, and of what it means.
fn escape(raw: &str) -> (usize, usize) {
    let code = |digits: usize| {
        let meaning = raw.get(2..2 + digits).and_then(|hex| u32::from_str_radix(hex, 16).ok()).and_then(char::from_u32);
        (2 + digits, meaning.map_or(1, char::len_utf8))
    };
    match raw.as_bytes().get(1) {
        Some(b'x') => code(2),
        Some(b'u') => code(4),
        Some(b'U') => code(8),
        // A backslash at the end of a line swallows the line break and the blanks after it.
        Some(b'\n' | b'\r' | b' ' | b'\t') => (1 + raw[1..].len() - raw[1..].trim_start().len(), 0),
        Some(_) => (2, 1),
        None => (1, 1),
    }
}

/// Parses a file; mistakes go into `problems`.
pub fn parse(file: &Arc<SourceFile>, problems: &mut Problems) -> Option<Table> {
    let (document, errors) = DeTable::parse_recoverable(&file.text);
    for error in &errors {
        let range = error.span().unwrap_or(0..0);
        let place = Place { file: file.clone(), range };
        let null = file.text.get(place.range.clone()).is_some_and(|text| text.trim() == "null")
            || file.text.get(place.range.start..).is_some_and(|rest| rest.starts_with("null"));
        let help = null.then(|| "TOML has no null: leave the key away, what is not given is null".to_string());
        let message = format!("not valid TOML: {}", error.message());
        problems.push(Diagnostic { place, message, help });
    }
    errors.is_empty().then(|| table(document.get_ref(), file, 0, problems))
}

fn table(from: &DeTable<'_>, file: &Arc<SourceFile>, depth: usize, problems: &mut Problems) -> Table {
    let mut entries: Vec<Entry> = from
        .iter()
        .map(|(key, value)| Entry {
            key: key.get_ref().to_string(),
            key_place: Place { file: file.clone(), range: key.span() },
            value: node(value.get_ref(), value.span(), file, depth, problems),
        })
        .collect();
    entries.sort_by_key(|entry| entry.key_place.range.start);
    Table { entries }
}

fn node(
    from: &DeValue<'_>,
    range: Range<usize>,
    file: &Arc<SourceFile>,
    depth: usize,
    problems: &mut Problems,
) -> Node {
    let place = Place { file: file.clone(), range };
    let kind = match from {
        DeValue::Array(_) | DeValue::Table(_) if depth >= DEPTH_MAX => {
            problems.add(&place, format!("nested deeper than {DEPTH_MAX} levels"));
            Kind::Bool(false)
        }
        DeValue::String(text) => Kind::Text(text.to_string()),
        DeValue::Boolean(flag) => Kind::Bool(*flag),
        DeValue::Datetime(date) => Kind::Date(*date),
        DeValue::Integer(number) => match i64::from_str_radix(number.as_str(), number.radix()) {
            Ok(number) => Kind::Int(number),
            Err(_) => {
                problems.add(&place, "the number is too large");
                Kind::Int(0)
            }
        },
        DeValue::Float(number) => Kind::Float(number.as_str().parse().unwrap_or(f64::NAN)),
        DeValue::Array(items) => {
            Kind::List(items.iter().map(|item| node(item.get_ref(), item.span(), file, depth + 1, problems)).collect())
        }
        DeValue::Table(inner) => Kind::Table(table(inner, file, depth + 1, problems)),
    };
    Node { place, kind }
}

#[cfg(test)]
thread_local! {
    /// Every table read by this thread: what it is called, and the keys that were asked for.
    static RECORDED: std::cell::RefCell<Vec<(String, Vec<&'static str>)>> = const { std::cell::RefCell::new(Vec::new()) };
}

/// The tables that `work` reads, to hold them against the schemas.
#[cfg(test)]
pub fn recorded(work: impl FnOnce()) -> Vec<(String, Vec<&'static str>)> {
    RECORDED.take();
    work();
    RECORDED.take()
}

/// Reads the keys of one table, and refuses those nobody asked for.
pub struct Fields<'t> {
    table: &'t Table,
    place: Place,
    what: String,
    known: Vec<&'static str>,
}

impl<'t> Fields<'t> {
    /// `what` names the table in messages: "`[source]`", "a mapping file".
    pub fn new(table: &'t Table, place: &Place, what: impl Into<String>) -> Fields<'t> {
        Fields { table, place: place.clone(), what: what.into(), known: Vec::new() }
    }

    /// The value of a key that may be there.
    pub fn get(&mut self, key: &'static str) -> Option<&'t Node> {
        self.known.push(key);
        self.table.get(key)
    }

    /// The value of a key that must be there; `example` shows how it is written.
    pub fn require(&mut self, key: &'static str, example: &str, problems: &mut Problems) -> Option<&'t Node> {
        let found = self.get(key);
        if found.is_none() {
            problems.add_with_help(&self.place, format!("`{key}` is missing in {self}"), format!("write `{example}`"));
        }
        found
    }

    /// Refuses every key that was not asked for. `elsewhere` says where keys of the format belong: when TOML put one
    /// into this table because it was written below its header, the message says so.
    pub fn finish(self, elsewhere: &[(&str, &str)], problems: &mut Problems) {
        #[cfg(test)]
        RECORDED.with_borrow_mut(|recorded| recorded.push((self.what.clone(), self.known.clone())));
        for entry in &self.table.entries {
            if self.known.contains(&entry.key.as_str()) {
                continue;
            }
            let message = format!("unknown key `{}` in {self}", entry.key);
            let help = match elsewhere.iter().find(|(key, _)| *key == entry.key) {
                Some((key, home)) => format!("`{key}` belongs {home}"),
                None => did_you_mean(&entry.key, &self.known, "possible keys"),
            };
            problems.add_with_help(&entry.key_place, message, help);
        }
    }
}

impl fmt::Display for Fields<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Table {
        let mut problems = Problems::default();
        let table = parse(&SourceFile::named("t.toml", text), &mut problems);
        assert!(problems.is_empty(), "{problems:?}");
        table.unwrap()
    }

    #[test]
    fn keys_keep_the_order_of_the_file() {
        let table = parsed("z = 1\na = 2\n[m]\n\"B b\" = 1\nA = 2\n");
        let keys = |table: &Table| table.entries.iter().map(|entry| entry.key.clone()).collect::<Vec<_>>();
        assert_eq!(keys(&table), ["z", "a", "m"]);
        let Kind::Table(inner) = &table.get("m").unwrap().kind else { panic!("not a table") };
        assert_eq!(keys(inner), ["B b", "A"]);
        assert_eq!(inner.entries[0].key_place.raw(), "\"B b\"");
    }

    #[test]
    fn a_place_inside_a_text_is_found_in_the_file() {
        for (text, at) in [
            (r#"k = "mail eq x""#, "mail"),
            (r#"k = 'mail'"#, "mail"),
            ("k = \"a\\u00e9\\\" mail\"", "mail"),
            ("k = \"\"\"\nmail\"\"\"", "mail"),
            ("k = '''\r\nab mail'''", "mail"),
            ("k = \"\"\"x \\\n    mail\"\"\"", "mail"),
            ("k = \"\\x41 mail\"", "mail"),
        ] {
            let table = parsed(text);
            let node = table.get("k").unwrap();
            let Kind::Text(meaning) = &node.kind else { panic!("not a text") };
            let start = meaning.find(at).unwrap();
            assert_eq!(node.inside(start..start + at.len()).raw(), at, "{text}");
        }
    }

    #[test]
    fn merging_keeps_what_is_not_said_again() {
        let mut base = parsed("a = 1\nl = [1, 2]\n[t]\nx = 1\ny = 1\n");
        base.merge(parsed("l = [3]\n[t]\ny = 2\nz = 2\n"));
        let Kind::Table(inner) = &base.get("t").unwrap().kind else { panic!("not a table") };
        let numbers: Vec<_> =
            inner.entries.iter().map(|entry| entry.value.int(0..=9, &mut Problems::default())).collect();
        assert_eq!(numbers, [Some(1), Some(2), Some(2)]);
        assert_eq!(base.get("l").unwrap().list(&mut Problems::default()).unwrap().len(), 1);
    }

    #[test]
    fn null_is_explained() {
        let mut problems = Problems::default();
        assert!(parse(&SourceFile::named("t.toml", "a = null\n"), &mut problems).is_none());
        let text = problems.into_result("the file t.toml", false).unwrap_err().to_string();
        assert!(text.contains("TOML has no null"), "{text}");
    }
}
