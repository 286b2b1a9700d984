//! `state export|import` and `forget`: moving what a job knows, and erasing what it knows of a person.
//!
//! Hides that a ledger is copied while runs write it, and where traces of a person lie. Deliberately never touches the
//! target, and looks at no file outside the job's state folder.

use std::path::Path;

use crate::cli::{Forget, StateCommand, StateExport, StateImport};
use crate::error::{Context as _, Error, Exit, Result};
use crate::job::Job;
use crate::ledger::{self, Ledger};
use crate::lock::Lock;
use crate::record::{Guid, Key};
use crate::report::say;
use crate::report::visible::visible;
use crate::state::State;
use crate::sync::Context;

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
        return Err(Error::usage(format!("the job owns {} records of {id}", owned.len()))
            .cause(records.join(", "))
            .hint(
                "let the removal ladder take them, or give them up with --owned: they stay in the target as they are",
            ));
    }
    let rows = desk.ledger.erase(id)?;
    let mut files = 0;
    for path in desk.state.files_of_people()? {
        if mentions(&path, id)? {
            remove(&path)?;
            files += 1;
        }
    }
    say!("{rows} entries of the ledger and {files} snapshots, plans and reports that named {id} are erased");
    if owned.is_empty() {
        say!("The target was not touched. While the object is in Entra and in scope, the next run reads it again.");
    } else {
        say!("The target was not touched: {} records stay in it, and nobody updates or removes them.", owned.len());
        say!(
            "While the object is in Entra and in scope, the next run takes them over again; decline it to prevent that."
        );
    }
    say!("Not looked at: files that were written elsewhere (`--out`, mails, logs) and backups.");
    Ok(Exit::Done)
}

/// Whether a file, or any file of a folder, names the id, in whatever case.
fn mentions(path: &Path, id: Guid) -> Result<bool> {
    let failed = || format!("cannot read {}", path.display());
    if path.is_dir() {
        for entry in std::fs::read_dir(path).failing(failed)? {
            if mentions(&entry.failing(failed)?.path(), id)? {
                return Ok(true);
            }
        }
        return Ok(false);
    }
    let mut bytes = std::fs::read(path).failing(failed)?;
    bytes.make_ascii_lowercase();
    let wanted = id.to_string();
    Ok(bytes.windows(wanted.len()).any(|window| window == wanted.as_bytes()))
}

fn remove(path: &Path) -> Result<()> {
    let removed = if path.is_dir() { std::fs::remove_dir_all(path) } else { std::fs::remove_file(path) };
    removed.failing(|| format!("cannot remove {}", path.display()))
}
