//! The rows of a batch, written into the ledger while the target still stages.
//!
//! Hides that a second connection does it on a thread of its own: on a machine of two cores the ledger of a first run
//! of a million records costs hardly any time. What it has written is not true, and not even durable, until
//! [`Ledger::journal_batch`] or [`Ledger::write_batch`] says so; whoever dies before leaves an entry without a mark,
//! which the next run takes away.

use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{self, JoinHandle};

use rusqlite::{Connection, TransactionBehavior};

use super::entry::{EntryId, Kind};
use super::waiting::{Became, Waiting};
use super::{Ledger, RunId, View, open};
use crate::crash;
use crate::error::{Error, Result};

/// So many rows go to the other thread at once, and into one transaction.
const CHUNK: usize = 512;

/// Chunks that may be under way: what is staged faster than it is written waits here.
const CHUNKS_MAX: usize = 8;

/// Collects the rows of one type.
///
/// Nothing is begun, and no ledger touched, before the first full chunk or the end.
pub struct Batch {
    run: RunId,
    ty: String,
    path: PathBuf,
    chunk: Vec<Became>,
    writer: Option<Writer>,
}

/// The thread that writes.
struct Writer {
    chunks: SyncSender<Vec<Became>>,
    thread: JoinHandle<Result<Waiting>>,
}

impl Ledger {
    /// Begins to collect what the records of a type become. Until the batch is journalled, written or abandoned nothing
    /// else may write.
    pub fn batch(&self, run: RunId, ty: &str) -> Batch {
        Batch { run, ty: ty.to_string(), path: self.path.clone(), chunk: Vec::new(), writer: None }
    }
}

impl Batch {
    /// Adds one row. An error is one of an earlier row: the batch is good for nothing but to be abandoned.
    pub fn push(&mut self, became: Became) -> Result<()> {
        self.chunk.push(became);
        if self.chunk.len() < CHUNK { Ok(()) } else { self.send() }
    }

    fn send(&mut self) -> Result<()> {
        let writer = match &mut self.writer {
            Some(writer) => writer,
            none => none.insert(Writer::start(self.run, self.ty.clone(), self.path.clone())?),
        };
        match writer.chunks.send(std::mem::take(&mut self.chunk)) {
            Ok(()) => Ok(()),
            // It ended before its time: with an error, which is the thing to tell.
            Err(_) => self.writer.take().map_or(Ok(()), |writer| writer.end().map(drop)),
        }
    }

    /// Waits until everything is written; begins an entry even where there was nothing to write.
    pub(super) fn finish(mut self) -> Result<Waiting> {
        if self.writer.is_none() || !self.chunk.is_empty() {
            self.send()?;
        }
        let ended = self.writer.take().map(Writer::end);
        ended.unwrap_or_else(|| Err(Error::failed("the ledger's writer ended before the rows did")))
    }

    /// Whether there is nothing to write.
    pub(super) fn is_empty(&self) -> bool {
        self.chunk.is_empty() && self.writer.is_none()
    }

    /// Waits until nothing more is written, whatever it has come to.
    pub(super) fn stop(mut self) {
        if let Some(writer) = self.writer.take() {
            let _ = writer.end();
        }
    }
}

impl Writer {
    fn start(run: RunId, ty: String, path: PathBuf) -> Result<Writer> {
        let (chunks, incoming) = sync_channel(CHUNKS_MAX);
        let connection = open::beside(&path)?;
        let write = move || write(connection, &path, run, &ty, &incoming);
        let thread = thread::Builder::new().name("ledger".into()).spawn(write);
        let thread = thread.map_err(|cause| Error::failed("cannot start a thread for the ledger").because(cause))?;
        Ok(Writer { chunks, thread })
    }

    fn end(self) -> Result<Waiting> {
        drop(self.chunks);
        match self.thread.join() {
            Ok(ended) => ended,
            Err(panic) => std::panic::resume_unwind(panic),
        }
    }
}

/// Writes chunk after chunk, each in a transaction of its own: none of it is true yet, so that it need not be one.
fn write(
    mut connection: Connection,
    path: &Path,
    run: RunId,
    ty: &str,
    chunks: &Receiver<Vec<Became>>,
) -> Result<Waiting> {
    let view = View { path };
    let failed = |cause| view.failed(cause);
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(failed)?;
    let entry = EntryId::enter(&transaction, run, Kind::Batch, ty, None).map_err(failed)?;
    let mut waiting = Waiting::under(entry, &transaction, run, ty).map_err(failed)?;
    transaction.commit().map_err(failed)?;
    crash::point("batch begun");
    for chunk in chunks {
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(failed)?;
        for became in chunk {
            waiting.push(&transaction, &view, became)?;
        }
        transaction.commit().map_err(failed)?;
        crash::point("rows waiting");
    }
    Ok(waiting)
}
