//! `adopt`, `decline` and `pin`: what a person decides about one record. The target itself is not written; the next
//! run acts on what the ledger says.
//!
//! Hides which of a job's types an id is about, and what must be known before a decision makes sense: a record that is
//! adopted for an object out of scope would be on its way out at once.

use std::collections::BTreeMap;

use crate::cli::{Adopt, Decline, Pin};
use crate::error::{Error, Exit, Result};
use crate::ledger::{Decision, Rule};
use crate::plan::Plan;
use crate::plan::change::{Action, Current, Held, NoteKind, Origin, Row, State};
use crate::plan::decide::TypePolicy;
use crate::record::Key;
use crate::report::say;
use crate::session::Context;
use crate::sides;
use crate::target;
use crate::visible::visible;

use super::decisions::{Desk, typed_key};

const AS_PLANS_PRINT_IT: &str = "give the key as plans print it: the Entra object id, of a membership `group/member`";

/// Lets an object of Entra have a record of the target, whatever key the record carries.
pub async fn adopt(command: &Adopt, context: &Context<'_>) -> Result<Exit> {
    let mut desk = Desk::open(&command.job, context)?;
    let key = typed_key(&command.id);
    let plan = desk.plan(&command.snapshot, context).await?;
    let policies = sides::types(&desk.job)?;
    let target = target::open(&desk.job.target, &context.http)?;
    let mut found = Vec::new();
    for policy in policies.iter().filter(|policy| command.ty.as_ref().is_none_or(|ty| *ty == policy.spec.name)) {
        let wanted = wanted(&plan, &policy.spec.name, &key)?;
        let row = desk.ledger.row(&policy.spec.name, &key)?;
        if wanted.is_none() && row.is_none() {
            continue;
        }
        let current = sides::current(target.as_ref(), policy, Some(&desk.ledger)).await?;
        for place in current.keys.iter().filter(|record| record.id.to_string() == command.target_id) {
            found.push((policy, wanted.clone(), row.clone(), current.records.get(place.place)?));
        }
    }
    let (policy, wanted, row, record) = match found.len() {
        1 => found.remove(0),
        0 => return Err(nothing_to_adopt(command, &key)),
        _ => {
            return Err(Error::usage(format!("several types of the job have a record {}", command.target_id))
                .hint("say which with --type"));
        }
    };
    let ty = &policy.spec.name;
    let decision = adoption(&desk, policy, &key, (wanted.as_ref(), row), &record)?;
    desk.decide(command.who.by.as_deref(), &[decision])?;
    say!("{ty} {}: {} has it from now on; the next run writes what differs", visible(&command.target_id), key);
    Ok(Exit::Done)
}

fn nothing_to_adopt(command: &Adopt, key: &Key) -> Error {
    let (job, id) = (command.job.display(), &command.target_id);
    Error::usage(format!("no type of this job has both a record {id} and {key} in scope"))
        .cause("the object must be in the last snapshot and in scope, and the record must be in the target by that id")
        .hint(format!("`entra-import plan {job} --from-snapshot last --all` names both"))
}

/// What the last plan wanted for a key that the ledger does not know.
#[derive(Clone)]
struct Wanted {
    label: String,
    mapping: Option<String>,
    target_id: Option<String>,
    /// The deleted object that the record belonged to is gone: it may be had without asking further.
    returns: bool,
}

fn wanted(plan: &Plan, ty: &str, key: &Key) -> Result<Option<Wanted>> {
    for change in plan.changes() {
        let change = change?;
        if change.ty == ty && change.key == *key && matches!(change.action, Action::Create | Action::Adopt) {
            let mapping = change.ledger.map(|row| row.mapping);
            return Ok(Some(Wanted { label: change.label, mapping, target_id: change.target_id, returns: false }));
        }
    }
    let kinds = [NoteKind::Collision, NoteKind::Returner, NoteKind::Rejected, NoteKind::Refused];
    let note = plan.notes().iter().find(|note| note.ty == ty && note.key == *key && kinds.contains(&note.kind));
    Ok(note.map(|note| Wanted {
        label: note.label.clone(),
        mapping: None,
        target_id: note.target_id.clone(),
        returns: note.kind == NoteKind::Returner,
    }))
}

/// The rows that follow from an adoption: a new one, or the one of the record's former owner under another key.
fn adoption(
    desk: &Desk,
    policy: &TypePolicy,
    key: &Key,
    (wanted, row): (Option<&Wanted>, Option<Row>),
    record: &Current,
) -> Result<Decision> {
    let ty = &policy.spec.name;
    let label = wanted.map(|wanted| wanted.label.clone()).or_else(|| row.as_ref().map(|row| row.label.clone()));
    let label = label.filter(|label| !label.is_empty()).unwrap_or_else(|| key.to_string());
    if let Some(row) = row.as_ref().filter(|row| row.state.is_owned()) {
        return Err(Error::usage(format!("{ty} {key} has the record {} already", row.target_id))
            .hint(format!("let go of that one first: `entra-import decline {} {key}`", desk.job_file)));
    }
    let owner = desk.ledger.key_of(ty, &record.id)?.filter(|owner| owner != key);
    let held = owner.as_ref().map(|owner| desk.ledger.row(ty, owner)).transpose()?.flatten();
    let mut rows = Vec::new();
    let adopted = match (owner, held) {
        (Some(owner), Some(held)) if held.state.is_owned() => {
            if !wanted.is_some_and(|wanted| wanted.returns) {
                return Err(Error::usage(format!("the record {} of {ty} belongs to {owner}", record.id))
                    .cause("that object is not known to be deleted")
                    .hint(format!("if it shall not have it: `entra-import decline {} {owner}`", desk.job_file)));
            }
            rows.push((owner, None));
            // What was written last stays known, so that only what differs for the new object is written.
            Row { label, ..held }
        }
        _ => Row {
            mapping: mapping_of(policy, wanted),
            state: State::Owned,
            origin: Origin::Adopted,
            target_id: record.id.clone(),
            label,
            values: own_key(policy, record),
            missing_since: None,
        },
    };
    rows.push((key.clone(), Some(adopted)));
    Ok(Decision { rule: Rule::Adopt, ty: ty.clone(), key: key.clone(), before: row, rows })
}

/// The key is not a value that a person might want to keep: it is what the adoption is about.
fn own_key(policy: &TypePolicy, record: &Current) -> BTreeMap<String, Held> {
    let held = |at: &usize| {
        let value = record.values.get(*at).filter(|value| value.is_known() && !value.is_empty())?;
        Some((policy.spec.attributes[*at].name.clone(), Held { applied: value.clone(), settled: value.clone() }))
    };
    policy.spec.key.iter().filter_map(held).collect()
}

fn mapping_of(policy: &TypePolicy, wanted: Option<&Wanted>) -> String {
    wanted.and_then(|wanted| wanted.mapping.clone()).unwrap_or_else(|| policy.mappings[0].name.clone())
}

/// Takes a record out of the job's hands, or gives it back.
pub async fn decline(command: &Decline, context: &Context<'_>) -> Result<Exit> {
    let mut desk = Desk::open(&command.job, context)?;
    let key = typed_key(&command.id);
    let types = desk.types(command.ty.as_deref())?;
    let (mut decisions, mut stands) = (Vec::new(), false);
    for ty in &types {
        let Some(row) = desk.ledger.row(ty, &key)? else { continue };
        let is_declined = row.state == State::Declined;
        stands |= is_declined && !command.revoke;
        let (rule, after) = match (command.revoke, is_declined) {
            (false, true) | (true, false) => continue,
            (false, false) => (Rule::Decline, Some(declined(row.clone()))),
            (true, true) => (Rule::RevokeDecline, desk.ledger.before_decision(Rule::Decline, ty, &key)?),
        };
        let rows = vec![(key.clone(), after)];
        decisions.push(Decision { rule, ty: ty.clone(), key: key.clone(), before: Some(row), rows });
    }
    if decisions.is_empty() && !command.revoke && !stands {
        // Not known yet: whatever the next run would create or take over.
        let plan = desk.plan(&command.snapshot, context).await?;
        let policies = sides::types(&desk.job)?;
        for policy in policies.iter().filter(|policy| types.contains(&policy.spec.name)) {
            let ty = &policy.spec.name;
            let Some(wanted) = wanted(&plan, ty, &key)? else { continue };
            let row = Row {
                mapping: mapping_of(policy, Some(&wanted)),
                state: State::Declined,
                origin: Origin::Adopted,
                target_id: wanted.target_id.unwrap_or_default(),
                label: wanted.label,
                values: BTreeMap::new(),
                missing_since: None,
            };
            let rows = vec![(key.clone(), Some(row))];
            decisions.push(Decision { rule: Rule::Decline, ty: ty.clone(), key: key.clone(), before: None, rows });
        }
    }
    if decisions.is_empty() {
        let (job, decided) = (&desk.job_file, "lists what was decided");
        return Err(match (command.revoke, stands) {
            (true, _) => Error::usage(format!("nothing is declined for {key}"))
                .hint(format!("`entra-import history {job}` {decided}")),
            (false, true) => Error::usage(format!("{key} is declined already"))
                .hint(format!("`entra-import history {job}` {decided}; --revoke takes it back")),
            (false, false) => Error::usage(format!("there is nothing to decline for {key}"))
                .cause("the job owns no record of it, and by the last snapshot it would make none")
                .hint(AS_PLANS_PRINT_IT),
        });
    }
    desk.decide(command.who.by.as_deref(), &decisions)?;
    for decision in &decisions {
        match command.revoke {
            false => {
                say!("{} {key}: declined; nothing is done with it from now on, whatever the target holds", decision.ty)
            }
            true => say!("{} {key}: no longer declined", decision.ty),
        }
    }
    Ok(Exit::Done)
}

/// Nothing is compared any more, so no value is kept.
fn declined(row: Row) -> Row {
    Row { state: State::Declined, values: BTreeMap::new(), missing_since: None, ..row }
}

/// Keeps a record whatever becomes of its object, or lets it go its way again.
pub fn pin(command: &Pin, context: &Context<'_>) -> Result<Exit> {
    let mut desk = Desk::open(&command.job, context)?;
    let key = typed_key(&command.id);
    let (mut decisions, mut stands) = (Vec::new(), false);
    for ty in desk.types(command.ty.as_deref())? {
        let Some(row) = desk.ledger.row(&ty, &key)?.filter(|row| row.state.is_owned()) else { continue };
        stands = true;
        let (rule, state) = match (command.revoke, row.state == State::Pinned) {
            (false, false) => (Rule::Pin, State::Pinned),
            // Its days count anew from the run that proves again that it left.
            (true, true) => (Rule::RevokePin, State::Owned),
            _ => continue,
        };
        let rows = vec![(key.clone(), Some(Row { state, ..row.clone() }))];
        decisions.push(Decision { rule, ty, key: key.clone(), before: Some(row), rows });
    }
    if decisions.is_empty() {
        return Err(match (stands, command.revoke) {
            (true, false) => Error::usage(format!("{key} is pinned already")).hint("--revoke takes it back"),
            (true, true) => Error::usage(format!("{key} is not pinned"))
                .hint(format!("`entra-import history {}` lists what was decided", desk.job_file)),
            (false, _) => Error::usage(format!("this job owns no record of {key}")).hint(AS_PLANS_PRINT_IT),
        });
    }
    desk.decide(command.who.by.as_deref(), &decisions)?;
    for Decision { ty, before, .. } in &decisions {
        let was_marked =
            matches!(before, Some(Row { state: State::Retired(leaving), .. }) if !leaving.before.is_empty());
        match (command.revoke, was_marked) {
            (true, _) => say!("{ty} {key}: no longer pinned"),
            (false, false) => say!("{ty} {key}: pinned; it is kept whatever becomes of it in Entra"),
            (false, true) => {
                say!("{ty} {key}: pinned; it is kept, and the mark it got stays until someone takes it back")
            }
        }
    }
    Ok(Exit::Done)
}
