//! Rows of a CSV file as they stand in it: their bytes, where their fields lie, and on which line they begin.
//!
//! Hides quoting and line ends (LF, CRLF, and the lone CR of old spreadsheets). Written here and not taken from the
//! `csv` crate, because rows nobody changes are copied byte for byte, and because that crate reads an unclosed quote
//! silently up to the end of the file: here it is an error. Deliberately knows nothing of columns or values.

use std::borrow::Cow;
use std::io::{self, BufRead, Write};
use std::ops::Range;

/// No row is longer than this many bytes: an unclosed quote must not take the whole file for one cell.
const ROW_BYTES_MAX: usize = 16 << 20;

/// Why a row could not be read, with the line it was found on.
#[derive(Debug)]
pub enum Broken {
    /// Text follows a closing quote.
    AfterQuote {
        line: u64,
    },
    /// A quote was opened and never closed.
    Unclosed {
        line: u64,
    },
    TooLong {
        line: u64,
    },
    NotUtf8 {
        line: u64,
    },
    Io(io::Error),
}

impl From<io::Error> for Broken {
    fn from(error: io::Error) -> Broken {
        Broken::Io(error)
    }
}

/// One row; kept between reads so that its memory is used again.
#[derive(Default)]
pub struct Row {
    /// The whole row with its line end.
    text: String,
    /// Length of `text` without the line end.
    body: usize,
    fields: Vec<Range<usize>>,
    /// The line on which it begins, counted from 1.
    pub line: u64,
}

impl Row {
    /// Number of fields.
    pub fn len(&self) -> usize {
        self.fields.len()
    }

    /// The row without its line end.
    pub fn body(&self) -> &str {
        &self.text[..self.body]
    }

    /// The line end; empty when the file ends without one.
    pub fn line_end(&self) -> &str {
        &self.text[self.body..]
    }

    /// A field as it stands in the file, quotes included; the empty text beyond the last one.
    pub fn raw(&self, field: usize) -> &str {
        self.fields.get(field).map_or("", |range| &self.text[range.clone()])
    }

    /// The fields before `end` as they stand in the file, delimiters included.
    pub fn raw_until(&self, end: usize) -> &str {
        end.min(self.len()).checked_sub(1).map_or("", |last| &self.text[..self.fields[last].end])
    }

    /// A field's content; the empty text beyond the last one.
    pub fn cell(&self, field: usize) -> Cow<'_, str> {
        let raw = self.raw(field);
        match raw.strip_prefix('"').and_then(|raw| raw.strip_suffix('"')) {
            Some(quoted) if quoted.contains('"') => Cow::Owned(quoted.replace("\"\"", "\"")),
            Some(quoted) => Cow::Borrowed(quoted),
            None => Cow::Borrowed(raw),
        }
    }

    /// True when no field from `from` on holds anything.
    pub fn is_blank_from(&self, from: usize) -> bool {
        (from..self.len()).all(|field| matches!(self.raw(field), "" | "\"\""))
    }
}

/// Reads rows one after another.
pub struct Rows<R> {
    from: R,
    delimiter: u8,
    line: u64,
}

impl<R: BufRead> Rows<R> {
    /// `from` stands behind a byte order mark, if there is one.
    pub fn new(from: R, delimiter: u8) -> Rows<R> {
        Rows { from, delimiter, line: 1 }
    }

    /// What the rows are read from.
    pub fn inner(&self) -> &R {
        &self.from
    }

    /// What the rows were read from.
    pub fn into_inner(self) -> R {
        self.from
    }

    /// Reads the next row, whatever it holds; false at the end of the file.
    pub fn next(&mut self, row: &mut Row) -> Result<bool, Broken> {
        let mut bytes = std::mem::take(&mut row.text).into_bytes();
        bytes.clear();
        row.fields.clear();
        row.line = self.line;
        let mut scan =
            Scan { state: State::FieldStart, delimiter: self.delimiter, field: 0, line: self.line, quote: 0 };
        loop {
            let chunk = self.from.fill_buf()?;
            if chunk.is_empty() {
                if scan.state == State::Quoted {
                    return Err(Broken::Unclosed { line: scan.quote });
                }
                if scan.state != State::AfterCr {
                    scan.end_row(bytes.len(), row);
                }
                break;
            }
            let (taken, ended) = scan.feed(chunk, bytes.len(), row)?;
            bytes.extend_from_slice(&chunk[..taken]);
            self.from.consume(taken);
            if ended {
                break;
            }
            if bytes.len() > ROW_BYTES_MAX {
                return Err(Broken::TooLong { line: row.line });
            }
        }
        self.line = scan.line;
        row.text = String::from_utf8(bytes).map_err(|error| {
            let before = &error.as_bytes()[..error.utf8_error().valid_up_to()];
            Broken::NotUtf8 { line: row.line + before.iter().filter(|byte| **byte == b'\n').count() as u64 }
        })?;
        Ok(!row.text.is_empty())
    }
}

#[derive(Clone, Copy, PartialEq)]
enum State {
    FieldStart,
    Plain,
    Quoted,
    /// Behind a quote inside a quoted field: the end, or the first half of a doubled one.
    Quote,
    /// Behind a CR that ended the row: a LF still belongs to it.
    AfterCr,
}

/// The state of one row between two chunks of input.
struct Scan {
    state: State,
    delimiter: u8,
    /// Where the current field begins.
    field: usize,
    line: u64,
    /// The line of the quote that was opened last.
    quote: u64,
}

impl Scan {
    /// Goes through a chunk up to the row's end. `base` is the number of the row's bytes before the chunk. Returns how
    /// many bytes belong to the row, and whether it ended.
    fn feed(&mut self, chunk: &[u8], base: usize, row: &mut Row) -> Result<(usize, bool), Broken> {
        for (index, &byte) in chunk.iter().enumerate() {
            if self.state == State::AfterCr {
                return Ok((index + usize::from(byte == b'\n'), true));
            }
            if byte == b'\n' {
                self.line += 1;
            }
            if self.state == State::Quoted {
                if byte == b'"' {
                    self.state = State::Quote;
                }
                continue;
            }
            match byte {
                b'\n' => {
                    self.end_row(base + index, row);
                    return Ok((index + 1, true));
                }
                b'\r' => {
                    self.end_row(base + index, row);
                    self.line += 1;
                    self.state = State::AfterCr;
                }
                b'"' if self.state == State::FieldStart => {
                    self.state = State::Quoted;
                    self.quote = self.line;
                }
                b'"' if self.state == State::Quote => self.state = State::Quoted,
                _ if byte == self.delimiter => {
                    row.fields.push(self.field..base + index);
                    self.field = base + index + 1;
                    self.state = State::FieldStart;
                }
                _ if self.state == State::Quote => return Err(Broken::AfterQuote { line: self.line }),
                _ => self.state = State::Plain,
            }
        }
        Ok((chunk.len(), false))
    }

    fn end_row(&mut self, at: usize, row: &mut Row) {
        row.fields.push(self.field..at);
        row.body = at;
    }
}

/// Writes one field, quoted where readers would otherwise see something else.
pub fn write_field(out: &mut impl Write, text: &str, delimiter: u8) -> io::Result<()> {
    let special = |byte: u8| byte == delimiter || matches!(byte, b'"' | b'\r' | b'\n');
    // Some readers cut blanks off an unquoted field.
    if text.bytes().any(special) || text.starts_with(char::is_whitespace) || text.ends_with(char::is_whitespace) {
        write!(out, "\"{}\"", text.replace('"', "\"\""))
    } else {
        out.write_all(text.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn cells(text: &str, buffer: usize) -> Result<Vec<(u64, Vec<String>)>, Broken> {
        let mut rows = Rows::new(io::BufReader::with_capacity(buffer, text.as_bytes()), b',');
        let (mut row, mut all) = (Row::default(), Vec::new());
        while rows.next(&mut row)? {
            all.push((row.line, (0..row.len()).map(|field| row.cell(field).into_owned()).collect()));
        }
        Ok(all)
    }

    #[test]
    fn quotes_and_line_ends_are_understood() {
        let text = "a,\"b, \"\"c\"\"\r\nd\"\r\ne 5\" pipe,\n\n\"\",f\rg";
        let expected = [
            (1, vec!["a", "b, \"c\"\r\nd"]),
            (3, vec!["e 5\" pipe", ""]),
            (4, vec![""]),
            (5, vec!["", "f"]),
            (6, vec!["g"]),
        ];
        let expected: Vec<_> =
            expected.into_iter().map(|(line, row)| (line, row.into_iter().map(String::from).collect())).collect();
        for buffer in [1, 2, 3, 1000] {
            assert_eq!(cells(text, buffer).unwrap(), expected, "{buffer}");
        }
    }

    #[test]
    fn what_cannot_be_understood_is_named_with_its_line() {
        assert!(matches!(cells("a\n\"b\nc", 9), Err(Broken::Unclosed { line: 2 })));
        assert!(matches!(cells("a\n\"b\nc\"d", 9), Err(Broken::AfterQuote { line: 3 })));
        let long = format!("a\n\"{}", "x".repeat(ROW_BYTES_MAX + 1));
        assert!(matches!(cells(&long, 1 << 16), Err(Broken::TooLong { line: 2 })));
        let mut rows = Rows::new(&b"a\nb,\"\n\xE9\"\n"[..], b',');
        let mut row = Row::default();
        assert!(rows.next(&mut row).unwrap());
        assert!(matches!(rows.next(&mut row), Err(Broken::NotUtf8 { line: 3 })));
    }

    proptest! {
        #[test]
        fn any_field_reads_back(texts in prop::collection::vec("[a \",;\t\r\né]{0,8}", 1..5), buffer in 1..20_usize) {
            let mut out = Vec::new();
            for (index, text) in texts.iter().enumerate() {
                if index > 0 {
                    out.push(b',');
                }
                write_field(&mut out, text, b',').unwrap();
            }
            out.push(b'\n');
            let text = String::from_utf8(out).unwrap();
            prop_assert_eq!(cells(&text, buffer).unwrap(), vec![(1, texts)]);
        }
    }
}
