//! What a run changed, one JSON object a line, for automations: who is new, who changed, who left and why.
//!
//! `events/1` is an interface: members may be added, never renamed or removed. Lines are appended, in the order of the
//! plan, when a run has ended; of a run that died there are none. Deliberately tells only what was done: what was
//! rejected or not attempted comes with the run that does it.

use std::collections::BTreeMap;
use std::io::Write;

use serde::Serialize;

use super::applied::Applied;
use super::html::not_done;
use super::{private, write_failed};
use crate::error::{Context, Result};
use crate::json;
use crate::plan::Plan;
use crate::plan::change::{Action, Change};
use crate::plan::datum::Datum;

/// What happened to a record, in the words of who subscribes.
#[derive(Clone, Copy, Serialize)]
#[serde(rename_all = "snake_case")]
enum Event {
    New,
    Updated,
    Removed,
}

impl Event {
    fn of(action: Action) -> Option<Event> {
        match action {
            Action::Create | Action::Adopt | Action::Return => Some(Event::New),
            Action::Update => Some(Event::Updated),
            Action::Retire | Action::Delete | Action::Forget => Some(Event::Removed),
            Action::Settle => None,
        }
    }
}

#[derive(Serialize)]
struct Line<'a> {
    format: &'static str,
    job: &'a str,
    run: &'a str,
    at: jiff::Timestamp,
    event: Event,
    /// `users`, `groups`, `memberships`, `license_assignments`, …
    collection: &'a str,
    #[serde(rename = "type")]
    ty: &'a str,
    key: String,
    name: &'a str,
    /// The plan's own word: a record that is removed may be retired first and deleted later.
    action: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    target_id: Option<&'a str>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    attributes: BTreeMap<&'a str, Sides<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cause: Option<CauseLine<'a>>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Sides<'a> {
    Shown { before: &'a Datum, after: &'a Datum },
    Private { private: bool },
}

#[derive(Serialize)]
struct CauseLine<'a> {
    kind: &'static str,
    words: &'a str,
}

/// Writes a line for each change that was done; `collection` names the one behind each type of the plan.
pub fn write(
    plan: &Plan,
    applied: &Applied<'_>,
    collection: &dyn Fn(usize) -> &'static str,
    to: &mut dyn Write,
) -> Result<()> {
    let plan = &*private::shown(plan)?;
    let mut not_done = not_done(Some(applied))?;
    let mut line = Vec::new();
    for change in plan.typed_changes() {
        let (ty, change) = change?;
        let Some(event) = Event::of(change.action) else { continue };
        if not_done.remove(&(change.action, change.ty.clone(), change.key.to_string())).is_some() {
            continue;
        }
        let written = to_line(plan, applied, &change, event, collection(ty));
        to.write_all(json::line(&written, &mut line)?).and_then(|()| to.write_all(b"\n")).failing(write_failed)?;
    }
    Ok(())
}

fn to_line<'a>(
    plan: &'a Plan,
    applied: &'a Applied<'_>,
    change: &'a Change,
    event: Event,
    collection: &'a str,
) -> Line<'a> {
    let attributes = change.attributes.iter().map(|attribute| {
        let sides = match attribute.hidden {
            true => Sides::Private { private: true },
            false => Sides::Shown { before: &attribute.before, after: &attribute.after },
        };
        (attribute.name.as_str(), sides)
    });
    Line {
        format: "events/1",
        job: &plan.header.job,
        run: &applied.effort.run,
        at: plan.header.as_of,
        event,
        collection,
        ty: &change.ty,
        key: change.key.to_string(),
        name: &change.label,
        action: change.action.word(),
        target_id: change.target_id.as_deref(),
        attributes: attributes.collect(),
        cause: change.cause.as_ref().map(|cause| CauseLine { kind: cause.kind.word(), words: &cause.words }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::{examples, golden};

    #[test]
    fn each_change_that_was_done_is_one_line() {
        let plan = examples::everything();
        let ended = examples::applied(&plan, "the field Name may not be empty");
        let applied = Applied::new(&plan, &ended, examples::effort());
        let mut bytes = Vec::new();
        write(&plan, &applied, &|ty| ["users", "memberships"][ty], &mut bytes).unwrap();
        let text = String::from_utf8(bytes).unwrap();
        golden("report/events.jsonl", &text);
        let settled = applied.totals.done.get(&Action::Settle).copied().unwrap_or_default();
        assert_eq!(text.lines().count() as u64, applied.totals.all_done() - settled);
    }
}
