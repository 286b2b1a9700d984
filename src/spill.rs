//! Records on disk, keys in memory: a temporary file of JSON lines with an index of where each one starts.
//!
//! What is compared and planned may be far larger than memory; what is kept of a record here is its place in a file.
//! The file has no name and vanishes with the value. Deliberately knows nothing of keys or order: callers keep
//! [`Place`]s in whatever order they need.

use std::io::{self, BufWriter, Write};
use std::marker::PhantomData;
use std::os::unix::fs::FileExt;
use std::sync::{Mutex, PoisonError};

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::{Context, Result};
use crate::json;

/// How much is read at once where records are asked for one after the other.
const AHEAD_BYTES: usize = 1 << 16;

/// Where one record lies in its spill: offset and length in bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Place {
    offset: u64,
    length: u32,
}

/// A spill that is being written.
pub struct SpillWriter<T> {
    file: BufWriter<std::fs::File>,
    line: Vec<u8>,
    at: u64,
    of: PhantomData<fn(T)>,
}

/// A finished spill; records are read back by place, from any thread.
pub struct Spill<T> {
    file: std::fs::File,
    ahead: Mutex<Ahead>,
    of: PhantomData<fn() -> T>,
}

/// A stretch of the file in memory.
#[derive(Default)]
struct Ahead {
    start: u64,
    bytes: Vec<u8>,
    /// Where the record behind the last one begins. Who asks for that one will ask for more.
    next: u64,
}

const WHAT: &str = "cannot use a temporary file for the records to compare";

impl<T: Serialize + DeserializeOwned> SpillWriter<T> {
    /// A new file in the system's temporary folder (`TMPDIR`).
    pub fn new() -> Result<SpillWriter<T>> {
        let file = tempfile::tempfile().failing(|| WHAT.to_string())?;
        Ok(SpillWriter { file: BufWriter::with_capacity(1 << 18, file), line: Vec::new(), at: 0, of: PhantomData })
    }

    /// Appends one record and says where it lies.
    pub fn push(&mut self, record: &T) -> Result<Place> {
        json::line(record, &mut self.line)?;
        self.file.write_all(&self.line).failing(|| WHAT.to_string())?;
        let place = Place { offset: self.at, length: self.line.len() as u32 };
        self.at += self.line.len() as u64;
        Ok(place)
    }

    /// The record pushed last, as it stands in the file.
    pub fn line(&self) -> &[u8] {
        &self.line
    }

    pub fn finish(self) -> Result<Spill<T>> {
        let file = self.file.into_inner().map_err(|error| error.into_error()).failing(|| WHAT.to_string())?;
        Ok(Spill { file, ahead: Mutex::default(), of: PhantomData })
    }
}

impl<T: Serialize + DeserializeOwned> Spill<T> {
    /// The record at that place of this spill.
    pub fn get(&self, place: Place) -> Result<T> {
        self.with_line(place, |line| serde_json::from_slice(line).failing(|| WHAT.to_string()))
    }

    /// Lends the record at that place as [`json::line`] wrote it.
    pub fn with_line<R>(&self, place: Place, take: impl FnOnce(&[u8]) -> Result<R>) -> Result<R> {
        // A panic elsewhere leaves at worst a stretch that is read again.
        let mut ahead = self.ahead.lock().unwrap_or_else(PoisonError::into_inner);
        let line = ahead.line(&self.file, place).failing(|| WHAT.to_string())?;
        take(line)
    }
}

impl Ahead {
    fn line(&mut self, file: &std::fs::File, place: Place) -> io::Result<&[u8]> {
        let length = place.length as usize;
        let held = place.offset.checked_sub(self.start).map_or(usize::MAX, |at| at as usize);
        let at = if held.checked_add(length).is_some_and(|end| end <= self.bytes.len()) {
            held
        } else {
            let wanted = if place.offset == self.next { length.max(AHEAD_BYTES) } else { length };
            self.read(file, place.offset, wanted, length)?;
            0
        };
        self.next = place.offset + length as u64;
        Ok(&self.bytes[at..at + length])
    }

    /// Reads up to `wanted` bytes, and at least `needed`.
    fn read(&mut self, file: &std::fs::File, start: u64, wanted: usize, needed: usize) -> io::Result<()> {
        self.start = start;
        self.bytes.resize(wanted, 0);
        let mut filled = 0;
        while filled < needed {
            match file.read_at(&mut self.bytes[filled..], start + filled as u64) {
                Ok(0) => return self.failed(io::ErrorKind::UnexpectedEof.into()),
                Ok(length) => filled += length,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return self.failed(error),
            }
        }
        self.bytes.truncate(filled);
        Ok(())
    }

    /// Nothing half read may be taken for a record later.
    fn failed(&mut self, error: io::Error) -> io::Result<()> {
        self.bytes.clear();
        Err(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_read_back_in_any_order() {
        let mut writer = SpillWriter::new().unwrap();
        // From a few bytes to more than is read ahead.
        let record = |n: usize| "x\u{202e}".repeat(n * n * 7);
        let places: Vec<Place> = (0..100).map(|n| writer.push(&record(n)).unwrap()).collect();
        let spill = writer.finish().unwrap();
        let ascending = 0..100;
        let mixed = (0..100).map(|n| n * 37 % 100);
        for n in ascending.clone().chain(ascending.rev()).chain(mixed).chain([99, 99, 0, 1]) {
            assert!(spill.get(places[n]).unwrap() == record(n), "{n}");
        }
        let beyond = Place { offset: places[99].offset + 1, length: places[99].length };
        assert!(spill.get(beyond).is_err());
        assert!(spill.get(places[99]).unwrap() == record(99), "a failed read spoils nothing");
    }
}
