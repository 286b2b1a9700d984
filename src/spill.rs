//! Records on disk, keys in memory: a temporary file of JSON lines with an index of where each one starts.
//!
//! What is compared and planned may be far larger than memory; what is kept of a record here is its place in a file.
//! The file has no name and vanishes with the value. Deliberately knows nothing of keys or order: callers keep
//! [`Place`]s in whatever order they need.

use std::io::{BufWriter, Write};
use std::marker::PhantomData;
use std::os::unix::fs::FileExt;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::{Context, Result};

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
    of: PhantomData<fn() -> T>,
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
        self.line.clear();
        serde_json::to_writer(&mut self.line, record).failing(|| WHAT.to_string())?;
        self.file.write_all(&self.line).failing(|| WHAT.to_string())?;
        let place = Place { offset: self.at, length: self.line.len() as u32 };
        self.at += self.line.len() as u64;
        Ok(place)
    }

    pub fn finish(self) -> Result<Spill<T>> {
        let file = self.file.into_inner().map_err(|error| error.into_error()).failing(|| WHAT.to_string())?;
        Ok(Spill { file, of: PhantomData })
    }
}

impl<T: Serialize + DeserializeOwned> Spill<T> {
    /// The record at that place of this spill.
    pub fn get(&self, place: Place) -> Result<T> {
        let mut bytes = vec![0; place.length as usize];
        self.file.read_exact_at(&mut bytes, place.offset).failing(|| WHAT.to_string())?;
        serde_json::from_slice(&bytes).failing(|| WHAT.to_string())
    }
}
