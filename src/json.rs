//! One JSON form for everything that is written on a line of its own: saved plans, spills, logs.
//!
//! Hides the escapes: a line may be shown with `cat`, so no character in it steers a terminal.

use std::io::{self, Write};

use serde::Serialize;
use serde_json::ser::{CompactFormatter, Formatter, Serializer};

use crate::error::{Context, Result};
use crate::visible::is_hidden;

/// Writes `value` as compact JSON into `line`, in place of what was there.
pub fn line<'a>(value: &impl Serialize, line: &'a mut Vec<u8>) -> Result<&'a [u8]> {
    line.clear();
    value
        .serialize(&mut Serializer::with_formatter(&mut *line, Printable))
        .failing(|| "cannot write a value as JSON".to_string())?;
    Ok(line)
}

/// Compact JSON in which every character that could steer a terminal is escaped.
struct Printable;

impl Formatter for Printable {
    fn write_string_fragment<W: ?Sized + Write>(&mut self, to: &mut W, fragment: &str) -> io::Result<()> {
        // Nearly every text.
        if fragment.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
            return to.write_all(fragment.as_bytes());
        }
        let mut rest = fragment;
        while let Some(at) = rest.find(is_hidden) {
            let (plain, hidden) = rest.split_at(at);
            CompactFormatter.write_string_fragment(to, plain)?;
            let mut characters = hidden.chars();
            for unit in characters.next().into_iter().flat_map(|c| c.encode_utf16(&mut [0; 2]).to_vec()) {
                write!(to, "\\u{unit:04x}")?;
            }
            rest = characters.as_str();
        }
        CompactFormatter.write_string_fragment(to, rest)
    }
}
