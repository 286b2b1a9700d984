//! What the plan does with a record and why: the sides of each attribute, the change, the limits that hold it.
//!
//! Hides how what the plan decided is found and put into words. Deliberately works nothing out a second time.

use super::answer::{AttributeView, Fate, LedgerView, LinkView, TargetView};
use super::eye::MappedView;
use crate::plan::attributes::changed_by;
use crate::plan::build::Decided;
use crate::plan::change::{Action, AttributeSpec, Change, Note, Row, State, TypeSpec};
use crate::plan::decide::{Desired, Found, Source};
use crate::plan::limits::counted;
use crate::plan::{LimitCheck, LimitName, Plan};
use crate::record::Key;
use crate::report::private;

/// Tells what the plan does with records.
pub(super) struct Teller<'a> {
    pub(super) plan: &'a Plan,
    /// Limits that hold the run.
    pub(super) held: Vec<&'a LimitCheck>,
}

impl Teller<'_> {
    pub(super) fn target(
        &self,
        ty: usize,
        mapping: &str,
        mapped: Option<&MappedView>,
        decided: Option<&Decided>,
        key: &Key,
    ) -> TargetView {
        let spec = &self.plan.header.types[ty].spec;
        let row = decided.and_then(|decided| decided.row.as_ref());
        let (found, target_id) = match decided.map(|decided| &decided.found) {
            None => ("not-looked-for", None),
            Some(Found::There(current)) => ("there", Some(current.id.clone())),
            Some(Found::Absent) => ("absent", None),
            Some(Found::NotRead) => ("not-read", None),
            Some(Found::Collision(_)) => ("collision", None),
            Some(Found::Returner { target_id, .. }) => ("returner", Some(target_id.clone())),
        };
        let rejected = match decided.and_then(|decided| decided.source.as_ref()) {
            Some(Source::Rejected(reason)) => Some(reason.clone()),
            _ => None,
        };
        TargetView {
            ty: spec.name.clone(),
            mapping: mapping.to_owned(),
            rejected,
            found,
            target_id,
            ledger: row.map(ledger),
            attributes: attributes(spec, mapped, decided),
            fate: self.fate(ty, key, decided),
        }
    }

    pub(super) fn link(&self, decided: &Decided) -> LinkView {
        let label = match (&decided.source, &decided.row) {
            (Some(Source::Desired(Desired { label, .. })), _) => label.clone(),
            (_, Some(row)) => row.label.clone(),
            _ => decided.key.to_string(),
        };
        LinkView {
            ty: self.plan.header.types[decided.ty].spec.name.clone(),
            key: decided.key.to_string(),
            name: label,
            fate: self.fate(decided.ty, &decided.key, Some(decided)),
        }
    }

    fn fate(&self, ty: usize, key: &Key, decided: Option<&Decided>) -> Fate {
        let summary = &self.plan.header.types[ty];
        let spec = &summary.spec;
        let is_private =
            |_: &str, name: &str| spec.attributes.iter().any(|attribute| attribute.private && attribute.name == name);
        let change = decided.and_then(|decided| decided.decision.change.clone());
        let on = |check: &&&LimitCheck| {
            let of_type = check.on.strip_prefix(spec.name.as_str());
            check.on == "run" || of_type.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        };
        let counts = change.as_ref().map(|change| counted(change, summary.links)).unwrap_or_default();
        let mut held_by: Vec<LimitName> = self
            .held
            .iter()
            .filter(on)
            .map(|check| check.limit)
            .filter(|limit| counts.iter().any(|counted| counted.limit == *limit))
            .collect();
        held_by.dedup();
        let notes = self.plan.notes().iter().filter(|note| note.ty == spec.name && note.key == *key).cloned();
        let notes: Vec<Note> = notes.map(|note| private::without_values_of_note(note, &is_private)).collect();
        let any_private = spec.attributes.iter().any(|attribute| attribute.private);
        let shown = |change: Change| if any_private { private::without_values(change, &is_private) } else { change };
        Fate { outcome: outcome(decided, &notes), change: change.map(shown), notes, held_by }
    }
}

fn ledger(row: &Row) -> LedgerView {
    let (state, leaving) = match &row.state {
        State::Owned => ("owned", None),
        State::Retired(leaving) => {
            let paused = if leaving.paused_at.is_some() { ", standing still" } else { "" };
            ("retired", Some(format!("{}, since {:.0}{paused}", leaving.cause.words, leaving.since)))
        }
        State::Declined => ("declined", None),
        State::DeletedInTarget => ("deleted-in-target", None),
        State::Pinned => ("pinned", None),
    };
    LedgerView { state, origin: row.origin, mapping: row.mapping.clone(), leaving, missing_since: row.missing_since }
}

/// Every attribute of the type that the mapping writes or the target shows, with its sides.
fn attributes(spec: &TypeSpec, mapped: Option<&MappedView>, decided: Option<&Decided>) -> Vec<AttributeView> {
    let empty = Vec::new();
    let made = mapped.map_or(&empty, |mapped| &mapped.attributes);
    let sides = |(index, of_type): (usize, &AttributeSpec)| {
        let made = made.iter().find(|attribute| attribute.name == of_type.name);
        let mut view = made.cloned().unwrap_or(AttributeView {
            name: of_type.name.clone(),
            expression: None,
            inputs: Vec::new(),
            write: None,
            desired: None,
            current: None,
            applied: None,
            settled: None,
            changed_by: None,
            hidden: of_type.private,
        });
        if let Some(Source::Desired(desired)) = decided.and_then(|decided| decided.source.as_ref()) {
            // As it was compared: references are ids of the target, and values what the target makes of them.
            view.desired = desired.values.get(index).cloned().flatten();
        }
        if let Some(Found::There(current)) = decided.map(|decided| &decided.found) {
            view.current = current.values.get(index).cloned();
        }
        let held = decided.and_then(|decided| decided.row.as_ref()?.values.get(&of_type.name));
        view.applied = held.map(|held| held.applied.clone());
        view.settled = held.map(|held| held.settled.clone());
        if let (Some(desired), Some(current)) = (&view.desired, &view.current) {
            view.changed_by = changed_by(desired, current, held);
        }
        if view.hidden {
            (view.desired, view.current, view.applied, view.settled) = (None, None, None, None);
        }
        (made.is_some() || view.current.is_some()).then_some(view)
    };
    spec.attributes.iter().enumerate().filter_map(sides).collect()
}

/// What happens, in a sentence without its end.
fn outcome(decided: Option<&Decided>, notes: &[Note]) -> String {
    let Some(decided) = decided else {
        return "nothing: it is not in scope, and the job owns no record of it".into();
    };
    let decision = &decided.decision;
    if let Some(change) = &decision.change {
        let because = change.cause.as_ref().map(|cause| format!(", because {}", cause.words)).unwrap_or_default();
        let written = change.attributes.len();
        let what = match change.action {
            Action::Create => "it is created".to_owned(),
            Action::Adopt => "the record that is there is taken over".to_owned(),
            Action::Update if written == 1 => "1 attribute is written".to_owned(),
            Action::Update => format!("{written} attributes are written"),
            Action::Retire => "it is marked, as the removal ladder says".to_owned(),
            Action::Return => "it comes back".to_owned(),
            Action::Delete => "it is deleted".to_owned(),
            Action::Forget => "the ledger forgets it: it is gone on both sides".to_owned(),
            Action::Settle => "nothing is written; only what the ledger knows changes".to_owned(),
        };
        return format!("{what}{because}");
    }
    if let Some(reason) = &decision.unknown {
        return format!("nothing, because something is not known: {reason}");
    }
    if decision.declined {
        return match decided.row.as_ref().map(|row| &row.state) {
            Some(State::DeletedInTarget) => "nothing: someone deleted it in the target".into(),
            _ => "nothing: a person declined it".into(),
        };
    }
    if decided.source.is_none() {
        return "nothing: the record that is there is not the job's".into();
    }
    match (notes.first(), decision.unchanged) {
        (None, true) if differs(decided) => "nothing: what differs is to stay as it is".into(),
        (None, true) => "nothing: the target holds what Entra says".into(),
        (Some(_), _) => "nothing; see the notes".into(),
        (None, false) => "nothing".into(),
    }
}

/// Whether the target holds anything else than is known to be wanted: what a person settled, or a mapping writes once.
fn differs(decided: &Decided) -> bool {
    let (Some(Source::Desired(desired)), Found::There(current)) = (&decided.source, &decided.found) else {
        return false;
    };
    let mut sides = desired.values.iter().zip(&current.values);
    sides.any(|(desired, current)| desired.as_ref().is_some_and(|desired| desired.is_known() && desired != current))
}
