//! `state export|import` and `forget`: moving what a job knows, and erasing what it knows of a person.
//!
//! Hides that a ledger is copied while runs write it, and where traces of a person lie: in the state folder, and in the
//! files that the job's `[report]` names. Deliberately never touches the target.

use std::path::Path;

use crate::cli::{Forget, StateCommand, StateExport, StateImport};
use crate::error::{Context as _, Error, Exit, Result};
use crate::job::Job;
use crate::ledger::{self, Ledger};
use crate::lock::Lock;
use crate::record::Key;
use crate::report::{files, say};
use crate::session::Context;
use crate::state::State;
use crate::visible::visible;

use super::decisions::{Desk, identity, typed_key};

pub fn state(command: &StateCommand, context: &Context<'_>) -> Result<Exit> {
    match command {
        StateCommand::Export(export) => self::export(export),
        StateCommand::Import(import) => self::import(import, context),
    }
}

fn export(command: &StateExport) -> Result<Exit> {
    let job = Job::load(&command.job, None)?;
    let path = State::of(&job).ledger();
    let Some(ledger) = Ledger::open_to_read(&path, &identity(&job)?)? else {
        return Err(Error::usage(format!("the job {} has no ledger yet in {}", job.name, path.display()))
            .hint("there is nothing to export before its first run"));
    };
    let generation = ledger.generation()?;
    ledger.copy_to(&command.out)?;
    say!("{}: the ledger of generation {generation} is in {}", job.name, command.out.display());
    say!("Do not run the job in two places: each would take what the other writes for changes made by hand.");
    Ok(Exit::Done)
}

fn import(command: &StateImport, context: &Context<'_>) -> Result<Exit> {
    let job = Job::load(&command.job, None)?;
    let state = State::of(&job);
    let _lock = Lock::take(&state.lock(), context.clock().now())?;
    let identity = identity(&job)?;
    let path = state.ledger();
    let is_there = path.try_exists().failing(|| format!("cannot look for the ledger {}", path.display()))?;
    if is_there && !command.replace {
        return Err(Error::usage(format!("the job {} has a ledger already: {}", job.name, path.display()))
            .hint("what it owns would be forgotten. If that is meant: --replace, which keeps the old one beside it"));
    }
    state.create()?;
    let was = ledger::import(&command.file, &path, &identity, command.moved)?;
    if let Some(was) = &was {
        say!("the ledger that was there is kept as {}", was.display());
    }
    let ledger = Ledger::open(&path, &identity)?;
    let mut owned = 0;
    for ty in ledger.types()? {
        owned += ledger.count_owned(&ty)?;
    }
    say!("{}: a ledger of generation {}, owning {owned} records, is in place", job.name, ledger.generation()?);
    Ok(Exit::Done)
}

/// Erases a person from everything the job keeps.
pub fn forget(command: &Forget, context: &Context<'_>) -> Result<Exit> {
    let Key::Guid(id) = typed_key(&command.id) else {
        return Err(Error::usage(format!("{} is no Entra object id", visible(&command.id)))
            .hint("give the object id, such as 87d349ed-44d7-43e1-9a83-5f2406dee5bd"));
    };
    let mut desk = Desk::open(&command.job, context)?;
    let owned = desk.ledger.owned_by(id)?;
    if !owned.is_empty() && !command.owned {
        let records: Vec<String> = owned.iter().map(|(ty, key)| format!("{ty} {key}")).collect();
        let records_word = if owned.len() == 1 { "a record" } else { "records" };
        return Err(Error::usage(format!("the job owns {records_word} of {id}")).cause(records.join(", ")).hint(
            "let the removal ladder take what it owns, or give it up with --owned: it stays in the target as it is",
        ));
    }
    // Whatever names the person, as a manager too.
    let text = id.to_string();
    desk.settled("forget", |change| serde_json::to_string(change).is_ok_and(|change| change.contains(&text)))?;
    let mut names = desk.ledger.labels_of(id)?;
    // A short name would be found in every file.
    names.retain(|name| name.chars().count() > 3);
    let marks: Vec<Vec<u8>> = names.into_iter().chain([id.to_string()]).map(in_small_letters).collect();
    // What the program keeps for itself names everybody by id.
    let by_id = &marks[marks.len() - 1..];
    let erased = desk.ledger.erase(id)?;
    let mut kept = 0;
    for path in desk.state.files_of_people()? {
        if mentions(&path, by_id)? {
            remove(&path)?;
            kept += 1;
        }
    }
    if kept > 0 {
        // The next run holds anew, and saves anew, what is still to be held.
        desk.ledger.release_held(false)?;
        desk.ledger.release_held(true)?;
    }
    let (reports, lines) = forget_reports(&desk.job, &marks)?;
    say!(
        "{} entries of the ledger, {} snapshots, plans and reports and {lines} events that named {id} are erased",
        erased.entries,
        kept + reports
    );
    if erased.of_others > 0 {
        say!(
            "{} records of others still refer to it, as they do in the target, until Entra says otherwise.",
            erased.of_others
        );
    }
    say_what_stays(owned.len());
    for path in desk.state.old_ledgers()? {
        if mentions(&path, by_id)? {
            say!("An older ledger that `state import` put aside names it too; remove it by hand: {}", path.display());
        }
    }
    say!("Not looked at, since nobody notes where they are: what `--out`, `--report`, `--leavers`, `--events` and");
    say!("`state export` wrote, mails, chats, logs and backups.");
    Ok(Exit::Done)
}

/// What becomes of the records that the job owned, in the target and in the next run.
fn say_what_stays(owned: usize) {
    if owned == 0 {
        say!("The target was not touched. While the object is in Entra and in scope, the next run reads it again.");
    } else {
        let (what, it) = match owned {
            1 => ("1 record stays".to_owned(), "it"),
            n => (format!("{n} records stay"), "them"),
        };
        say!("The target was not touched: {what} there, and nobody updates or removes {it}.");
        say!(
            "While the object is in Entra and in scope, the next run takes {it} over again; decline it to prevent that."
        );
    }
}

/// Erases somebody from the files that the job's runs leave: whole reports, and single lines of the events. Gives back
/// how many of each.
fn forget_reports(job: &Job, marks: &[Vec<u8>]) -> Result<(u64, u64)> {
    let wanted = &job.report.files;
    let events = wanted.events.as_ref().map(|path| files::for_job(path, &job.name));
    let (mut reports, mut lines) = (0, 0);
    for path in wanted.paths().map(|path| files::for_job(&path, &job.name)) {
        if !path.is_file() || !mentions(&path, marks)? {
            continue;
        }
        if events.as_ref() == Some(&path) {
            lines += files::blot_out(&path, EVENT_FORGOTTEN, |line| names(line, marks))?;
        } else {
            remove(&path)?;
            reports += 1;
        }
    }
    Ok((reports, lines))
}

/// What stands in the place of an event about somebody who is to be forgotten. Shorter than any event.
const EVENT_FORGOTTEN: &str = r#"{"format":"events/1","event":"forgotten"}"#;

/// Whether a file, or any file of a folder, holds one of these texts, in whatever case of ASCII.
fn mentions(path: &Path, marks: &[Vec<u8>]) -> Result<bool> {
    let failed = || format!("cannot read {}", path.display());
    if path.is_dir() {
        for entry in std::fs::read_dir(path).failing(failed)? {
            if mentions(&entry.failing(failed)?.path(), marks)? {
                return Ok(true);
            }
        }
        return Ok(false);
    }
    Ok(names(&std::fs::read(path).failing(failed)?, marks))
}

/// Whether a text holds one of these, which are in small letters.
fn names(text: &[u8], marks: &[Vec<u8>]) -> bool {
    let text = text.to_ascii_lowercase();
    marks.iter().any(|mark| text.windows(mark.len()).any(|window| window == mark.as_slice()))
}

fn in_small_letters(text: String) -> Vec<u8> {
    text.to_ascii_lowercase().into_bytes()
}

fn remove(path: &Path) -> Result<()> {
    let removed = if path.is_dir() { std::fs::remove_dir_all(path) } else { std::fs::remove_file(path) };
    removed.failing(|| format!("cannot remove {}", path.display()))
}
