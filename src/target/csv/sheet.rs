//! An existing CSV file as a table of a type's attributes.
//!
//! Hides what spreadsheets and people do to such a file: byte order mark, delimiter, line ends, reordered, added and
//! missing columns, rows whose empty ends were cut off, lines without anything on them. What could as well be damage
//! (see [`Sheet::next`]) is an error that names file and line, because a wrong guess would look like a person's edits.

use std::fs::File;
use std::io::{BufReader, Read, Seek};
use std::path::Path;

use super::cells::Form;
use super::files::Hashed;
use super::ids::KEY_SEPARATOR;
use super::rows::{Broken, Row, Rows};
use super::{cells, files};
use crate::error::{Context, Error, Result};
use crate::plan::change::TypeSpec;
use crate::plan::datum::Datum;
use crate::plan::decide::protect_name;
use crate::target::Lacks;

/// What spreadsheets part columns with, the most usual first.
const DELIMITERS: [u8; 3] = *b",;\t";

pub const BOM: &str = "\u{FEFF}";

const BUFFER_BYTES: usize = 1 << 18;

/// How a file is written, and which column is which attribute.
#[derive(Clone)]
pub struct Layout {
    pub bom: bool,
    pub delimiter: u8,
    pub line_end: String,
    /// The header line as it stands in the file, without its line end.
    pub header: String,
    /// Number of columns.
    pub width: usize,
    /// What they are called.
    pub names: Vec<String>,
    /// The column of each attribute of the type; `None` when the file has none.
    pub columns: Vec<Option<usize>>,
}

/// A file that is being read.
pub struct Sheet<'a> {
    path: &'a Path,
    ty: &'a TypeSpec,
    rows: Rows<BufReader<Hashed<File>>>,
    pub layout: Layout,
}

impl<'a> Sheet<'a> {
    /// Reads the header; `None` when there is no file.
    pub fn open(path: &'a Path, ty: &'a TypeSpec) -> Result<Option<Sheet<'a>>> {
        let what = || format!("cannot read {}", path.display());
        let Some(mut file) = files::open(path)? else { return Ok(None) };
        let bom = check_encoding(path, &file)?;
        let delimiter = delimiter(path, ty, &mut file, bom)?;
        file.rewind().failing(what)?;
        let (rows, header) = header(path, Hashed::new(file), bom, delimiter)?;
        let layout = layout(path, ty, &header, bom, delimiter)?;
        Ok(Some(Sheet { path, ty, rows, layout }))
    }

    /// The open file, for its permissions.
    pub fn file(&self) -> &File {
        &self.rows.inner().get_ref().inner
    }

    /// Reads the next record; false at the end. Lines on which no cell holds anything are none.
    ///
    /// A row with too few fields is taken for one whose empty end an editor cut off as long as its key is there; it is
    /// an error without a key (a line break without quotes tears a row in two like that) and at the very end of a
    /// file that ends without a line break (a copy that was cut off). Too many fields are an error unless the surplus
    /// is empty.
    pub fn next(&mut self, row: &mut Row) -> Result<bool> {
        loop {
            if !self.rows.next(row).map_err(|broken| explain(self.path, broken))? {
                return Ok(false);
            }
            if row.is_blank_from(0) {
                continue;
            }
            let (found, width) = (row.len(), self.layout.width);
            if found > width && !row.is_blank_from(width) {
                let why = format!("it has {found} fields, the header has {width}");
                return Err(unreadable(self.path, row.line, why)
                    .hint("Put cells that contain the delimiter into quotes, or give the column a name."));
            }
            if found < width && row.line_end().is_empty() {
                let why = format!("the file ends there after {found} of {width} fields, without a line break");
                return Err(unreadable(self.path, row.line, why).hint(
                    "The file seems to be cut off: put back a complete copy; or, if the row is right, end it with a line break.",
                ));
            }
            if found < width && key_of(self.ty, |attribute| self.value(row, attribute)).is_empty() {
                let why = format!("it has {found} of {width} fields, and its key is not among them");
                return Err(unreadable(self.path, row.line, why)
                    .hint("A line break inside a cell needs quotes around the cell. Mend or remove the row."));
            }
            return Ok(true);
        }
    }

    /// A record's value of an attribute.
    pub fn value(&self, row: &Row, attribute: usize) -> Datum {
        let form = Form::of(&self.ty.attributes[attribute]);
        match self.layout.columns[attribute] {
            Some(column) => cells::from_cell(form, &row.cell(column)),
            None => cells::normalise(form, Datum::Empty),
        }
    }

    /// The attributes that it has no column for; nothing where it has them all, or no columns at all.
    pub fn lacks(&self) -> Option<Lacks> {
        let Layout { columns, width, .. } = &self.layout;
        let without = columns.iter().enumerate().filter(|(_, column)| column.is_none());
        let attributes: Vec<usize> = without.map(|(attribute, _)| attribute).collect();
        let others = self.layout.names.iter().enumerate();
        let others = others.filter(|(at, name)| !name.is_empty() && !columns.contains(&Some(*at)));
        (*width > 0 && !attributes.is_empty()).then(|| Lacks {
            place: self.path.display().to_string(),
            attributes,
            others: others.map(|(_, name)| name.clone()).collect(),
        })
    }

    /// SHA-256 of the whole file, once all rows are read.
    pub fn into_hash(self) -> String {
        self.rows.into_inner().into_inner().hex()
    }
}

/// A record's key, joined; the empty text when a part of it is missing.
pub fn key_of(ty: &TypeSpec, value: impl Fn(usize) -> Datum) -> String {
    let mut key = String::new();
    for (index, &attribute) in ty.key.iter().enumerate() {
        let part = match value(attribute) {
            Datum::Set(set) => cells::normalise(Form::Text, Datum::Set(set)),
            single => single,
        };
        let Some(part) = part.as_text() else { return String::new() };
        if index > 0 {
            key.push(KEY_SEPARATOR);
        }
        key.push_str(part);
    }
    key
}

/// Says whether a byte order mark stands in front, and refuses other encodings by their marks.
fn check_encoding(path: &Path, file: &File) -> Result<bool> {
    let mut start = Vec::new();
    file.take(4).read_to_end(&mut start).failing(|| format!("cannot read {}", path.display()))?;
    let wide = start.starts_with(&[0xFF, 0xFE])
        || start.starts_with(&[0xFE, 0xFF])
        || matches!(start[..], [0, b, 0, _] | [b, 0, _, 0] if b != 0);
    if wide {
        return Err(unreadable(path, 1, "the file is UTF-16 (\"Unicode text\"), not UTF-8").hint(SAVE_AS_UTF8));
    }
    Ok(start.starts_with(BOM.as_bytes()))
}

const SAVE_AS_UTF8: &str = "Save it anew: in Excel as \"CSV UTF-8 (Comma delimited)\", in LibreOffice as \"Text CSV\" \
                            with the character set \"Unicode (UTF-8)\".";

/// Reads up to the header line, which may follow blank lines; without one the row is empty.
fn header<R: Read>(path: &Path, from: R, bom: bool, delimiter: u8) -> Result<(Rows<BufReader<R>>, Row)> {
    let mut from = BufReader::with_capacity(BUFFER_BYTES, from);
    if bom {
        from.read_exact(&mut [0; BOM.len()]).failing(|| format!("cannot read {}", path.display()))?;
    }
    let mut rows = Rows::new(from, delimiter);
    let mut row = Row::default();
    while rows.next(&mut row).map_err(|broken| explain(path, broken))? {
        if !row.is_blank_from(0) {
            return Ok((rows, row));
        }
    }
    Ok((rows, Row::default()))
}

/// The delimiter with which the header holds most of the type's attributes, and of those the one with most columns.
fn delimiter(path: &Path, ty: &TypeSpec, file: &mut File, bom: bool) -> Result<u8> {
    let mut best: Option<(usize, usize, u8)> = None;
    let mut broken = None;
    for delimiter in DELIMITERS {
        file.rewind().failing(|| format!("cannot read {}", path.display()))?;
        let names = match header(path, &*file, bom, delimiter) {
            Ok((_, header)) => names(&header),
            // Quotes look broken with the wrong delimiter; they are when they do with each.
            Err(error) => {
                broken.get_or_insert(error);
                continue;
            }
        };
        let known = ty.attributes.iter().filter(|attribute| names.contains(&clean_name(&attribute.name))).count();
        if best.is_none_or(|(most, width, _)| (known, names.len()) > (most, width)) {
            best = Some((known, names.len(), delimiter));
        }
    }
    match (best, broken) {
        (Some((_, _, delimiter)), _) => Ok(delimiter),
        (None, Some(error)) => Err(error),
        (None, None) => Ok(DELIMITERS[0]),
    }
}

fn names(header: &Row) -> Vec<String> {
    (0..header.len()).map(|column| cells::unguard(&cells::clean(&header.cell(column))).to_string()).collect()
}

/// An attribute's name as a header can hold it.
fn clean_name(name: &str) -> String {
    cells::clean(name).into_owned()
}

fn layout(path: &Path, ty: &TypeSpec, header: &Row, bom: bool, delimiter: u8) -> Result<Layout> {
    let names = names(header);
    let folded: Vec<String> = names.iter().map(|name| name.trim().to_lowercase()).collect();
    for (column, name) in names.iter().enumerate() {
        if !name.is_empty() && names[..column].contains(name) {
            return Err(unreadable(path, header.line, format!("two columns are called {name:?}"))
                .hint("Rename or remove one of them."));
        }
    }
    let mut columns = Vec::with_capacity(ty.attributes.len());
    for attribute in &ty.attributes {
        let wanted = clean_name(&attribute.name);
        let mut column = names.iter().position(|name| *name == wanted);
        if attribute.only_read && header.len() > 0 {
            column = column.or_else(|| names.iter().position(|name| protect_name(name) == wanted));
            if column.is_none() {
                return Err(unprotected(path, &wanted, &names));
            }
        }
        if column.is_none()
            && let Some(near) = folded.iter().position(|name| *name == wanted.trim().to_lowercase())
            // A column that belongs to another attribute is not a misspelt one.
            && !ty.attributes.iter().any(|other| clean_name(&other.name) == names[near])
        {
            let why =
                format!("the column {:?} differs from the attribute {wanted:?} in case or blanks only", names[near]);
            return Err(unreadable(path, header.line, why)
                .hint(format!("Rename the column to {wanted:?}; otherwise all its values would look cleared.")));
        }
        columns.push(column);
    }
    if header.len() > 0 && columns.iter().all(Option::is_none) {
        let why = format!("none of its columns is an attribute of the type: {}", quoted(&names));
        return Err(unreadable(path, header.line, why).hint(format!(
            "The first line must name the columns, for this type {}. Move another program's file away.",
            quoted(&ty.attributes.iter().map(|attribute| attribute.name.clone()).collect::<Vec<_>>())
        )));
    }
    let line_end = if header.line_end().is_empty() { "\n" } else { header.line_end() };
    Ok(Layout {
        bom,
        delimiter,
        line_end: line_end.to_string(),
        header: header.body().to_string(),
        width: header.len(),
        names,
        columns,
    })
}

/// A rule over a column that is not there would let everything pass, and a name would lead nowhere.
fn unprotected(path: &Path, wanted: &str, names: &[String]) -> Error {
    let column =
        if wanted.contains('_') { format!("{wanted:?}, or with blanks for `_`") } else { format!("{wanted:?}") };
    Error::usage(format!("{} has no column {wanted:?}, which `protect` or `find` names", path.display()))
        .cause("a rule over it would protect nothing and find nothing, so nothing was written")
        .hint(format!("Correct the mapping, or add the column {column} to the file; it has {}.", quoted(names)))
}

/// At most a line's worth of names, for a message.
fn quoted(names: &[String]) -> String {
    let shown: Vec<String> = names.iter().take(8).map(|name| format!("{name:?}")).collect();
    format!("{}{}", shown.join(", "), if names.len() > shown.len() { ", …" } else { "" })
}

fn unreadable(path: &Path, line: u64, why: impl Into<String>) -> Error {
    Error::failed(format!("cannot read {}, line {line}; nothing was written to it", path.display())).cause(why)
}

fn explain(path: &Path, broken: Broken) -> Error {
    match broken {
        Broken::AfterQuote { line } => unreadable(path, line, "text follows a closing quote")
            .hint("Double the quotes inside a quoted cell, and close it right before the delimiter."),
        Broken::Unclosed { line } => unreadable(path, line, "a quote is opened there and never closed").hint(
            "Close it, or double it if it belongs to the text; or the file is cut off: put back a complete copy.",
        ),
        Broken::TooLong { line } => unreadable(path, line, "the row that begins there is longer than 16 MiB")
            .hint("Most likely a quote is opened there and not closed."),
        Broken::NotUtf8 { line } => {
            unreadable(path, line, "there is a character that is not UTF-8 (Latin-1, Windows-1252?)").hint(SAVE_AS_UTF8)
        }
        Broken::Io(error) => Error::failed(format!("cannot read {}", path.display())).because(error),
    }
}
