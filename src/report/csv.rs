//! Results as CSV for spreadsheets: of a plan, one row per attribute that changes.
//!
//! A cell that a spreadsheet would read as a formula gets a leading apostrophe, and characters that steer a terminal
//! are shown as escapes. That makes this a report and not a data format: programs read the JSON. (The `csv` *target*
//! writes data and does not come through here.)

use std::collections::HashMap;
use std::io::Write;

use super::applied::Applied;
use super::check::Check;
use super::html::not_done;
use super::text::HIDDEN;
use super::write_failed;
use crate::error::{Context, Result};
use crate::plan::Plan;
use crate::plan::change::{Action, Change, NoteKind, State};
use crate::plan::datum::{Datum, Set};
use crate::plan::policy::CauseKind;
use crate::record::Key;
use crate::target::Outcome;
use crate::visible::visible;

/// Stands between the elements of a set.
const BETWEEN: &str = "; ";

const OF_A_CHANGE: [&str; 8] = ["action", "type", "key", "label", "attribute", "before", "after", "cause"];

/// One row per attribute change; a change without attributes (a delete) has one row with those cells empty.
pub fn plan(plan: &Plan, to: &mut dyn Write) -> Result<()> {
    let mut rows = Rows::new(to, &OF_A_CHANGE)?;
    for change in plan.changes() {
        rows.change(&change?, &[])?;
    }
    rows.finish()
}

/// The same of a plan that was applied, with what became of each change and why.
pub fn outcomes(plan: &Plan, applied: &Applied, to: &mut dyn Write) -> Result<()> {
    let columns: Vec<&str> = OF_A_CHANGE.into_iter().chain(["outcome", "reason"]).collect();
    let mut rows = Rows::new(to, &columns)?;
    let mut not_done = not_done(Some(applied))?;
    for change in plan.changes() {
        let change = change?;
        let outcome = not_done.remove(&(change.action, change.ty.clone(), change.key.to_string()));
        let (word, reason) = outcome.unwrap_or(("done", String::new()));
        rows.change(&change, &[word, &reason])?;
    }
    rows.finish()
}

/// Who left, and what becomes of the record: one row per record that takes a step of the removal ladder, is kept, or
/// waits, with what still refers to it and belongs to nobody here. Rows that link two records are no leavers.
pub fn leavers(plan: &Plan, to: &mut dyn Write) -> Result<()> {
    let columns = ["type", "key", "label", "target_id", "since", "cause", "words", "what_happens", "still_holds"];
    let mut rows = Rows::new(to, &columns)?;
    let held = plan.notes().iter().filter(|note| note.kind == NoteKind::StillHolds);
    let held: HashMap<(&str, &Key), String> =
        held.map(|note| ((note.ty.as_str(), &note.key), note.holds.join(BETWEEN))).collect();
    let holds = |ty: &str, key: &Key| held.get(&(ty, key)).cloned().unwrap_or_default();
    for (ty, change) in plan.typed_changes().map_while(Result::ok) {
        let Change { action, key, label, target_id, cause: Some(cause), ledger, .. } = &change else { continue };
        let leaves = matches!(cause.kind, CauseKind::Gone | CauseKind::Disabled | CauseKind::Out);
        if !leaves || plan.header.types[ty].links {
            continue;
        }
        let since = match ledger.as_ref().map(|row| &row.state) {
            Some(State::Retired(leaving)) => leaving.since.to_string(),
            // The last step leaves no row behind, and the first begins now.
            _ => String::new(),
        };
        let happens = match action {
            Action::Settle => "noted; the next step is not due",
            action => action.word(),
        };
        let (holds, key) = (holds(&change.ty, key), key.to_string());
        let target_id = target_id.as_deref().unwrap_or_default();
        rows.row(&[&change.ty, &key, label, target_id, &since, cause.kind.word(), &cause.words, happens, &holds])?;
    }
    for note in plan.notes().iter().filter(|note| matches!(note.kind, NoteKind::Kept | NoteKind::FilterEdit)) {
        let happens = if note.kind == NoteKind::Kept { "kept" } else { "waits for approval" };
        let holds = holds(&note.ty, &note.key);
        rows.row(&[&note.ty, &note.key.to_string(), &note.label, "", "", "", &note.words, happens, &holds])?;
    }
    rows.finish()
}

/// One row per change that was not done.
pub fn applied(applied: &Applied, to: &mut dyn Write) -> Result<()> {
    let mut rows = Rows::new(to, &["action", "type", "key", "label", "outcome", "reason"])?;
    for not_done in applied.not_done() {
        let not_done = not_done?;
        let (outcome, reason) = outcome_words(&not_done.outcome);
        let key = not_done.key.to_string();
        rows.row(&[not_done.action.word(), &not_done.ty, &key, &not_done.label, outcome, reason])?;
    }
    rows.finish()
}

/// One row per finding.
pub fn checks(checks: &[Check], to: &mut dyn Write) -> Result<()> {
    let mut rows = Rows::new(to, &["job", "about", "verdict", "words", "hint"])?;
    for check in checks {
        for finding in &check.findings {
            let hint = finding.hint.as_deref().unwrap_or_default();
            rows.row(&[&check.job, &finding.about, finding.verdict.word(), &finding.words, hint])?;
        }
    }
    rows.finish()
}

/// The word for an outcome, and its reason.
pub(super) fn outcome_words(outcome: &Outcome) -> (&'static str, &str) {
    match outcome {
        Outcome::Done { .. } => ("done", ""),
        Outcome::Rejected { reason } => ("rejected", reason),
        Outcome::Uncertain { reason } => ("uncertain", reason),
        Outcome::NotAttempted { reason } => ("not attempted", reason),
    }
}

fn cell(value: &Datum) -> String {
    match value {
        Datum::Empty => String::new(),
        Datum::One(text) => text.to_string(),
        Datum::Unknown(reason) => format!("unknown ({reason})"),
        Datum::Set(set) => set_cell(set),
    }
}

fn set_cell(set: &Set) -> String {
    let mut text = set.items.join(BETWEEN);
    if !set.maybe().is_empty() {
        text.push_str(&format!(" (perhaps {})", set.maybe().join(BETWEEN)));
    }
    if let Some(reason) = set.rest() {
        text.push_str(&format!(" (perhaps more: {reason})"));
    }
    text
}

/// A CSV file that is being written.
struct Rows<'a>(csv::Writer<&'a mut dyn Write>);

impl<'a> Rows<'a> {
    fn new(to: &'a mut dyn Write, columns: &[&str]) -> Result<Rows<'a>> {
        let mut rows = Rows(csv::Writer::from_writer(to));
        rows.row(columns)?;
        Ok(rows)
    }

    /// The rows of one change, each with `more` at its end.
    fn change(&mut self, change: &Change, more: &[&str]) -> Result<()> {
        let key = change.key.to_string();
        let why = change.cause.as_ref().map_or("", |cause| &cause.words);
        let mut row = |[name, before, after]: [&str; 3], cause: &str| {
            let cells = [change.action.word(), &change.ty, &key, &change.label, name, before, after, cause];
            self.row(&[&cells, more].concat())
        };
        if change.attributes.is_empty() {
            row(["", "", ""], why)?;
        }
        for attribute in &change.attributes {
            let (before, after) = match attribute.hidden {
                true => (String::new(), HIDDEN.to_string()),
                false => (cell(&attribute.before), cell(&attribute.after)),
            };
            row([&attribute.name, &before, &after], attribute.cause.as_deref().unwrap_or(why))?;
        }
        Ok(())
    }

    fn row(&mut self, cells: &[&str]) -> Result<()> {
        self.0.write_record(cells.iter().map(|cell| neutral(cell))).failing(write_failed)
    }

    fn finish(mut self) -> Result<()> {
        self.0.flush().failing(write_failed)
    }
}

/// The cell as text in every spreadsheet. Full-width forms count too: some programs read them as formulas.
///
/// <https://owasp.org/www-community/attacks/CSV_Injection>
fn neutral(cell: &str) -> String {
    let shown = visible(cell);
    let formula = cell.trim_start().starts_with(['=', '+', '-', '@', '＝', '＋', '－', '＠']);
    let control = cell.starts_with(['\t', '\r', '\n']);
    if formula || control { format!("'{shown}") } else { shown.into_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formulas_become_text() {
        for (cell, expected) in [
            ("Adele Vance", "Adele Vance"),
            ("=cmd|' /C calc'!A0", "'=cmd|' /C calc'!A0"),
            ("+47 22 00 00 00", "'+47 22 00 00 00"),
            ("-1", "'-1"),
            ("@SUM(A1)", "'@SUM(A1)"),
            ("  =1", "'  =1"),
            ("\t=1", "'\\t=1"),
            ("＝1", "'＝1"),
            ("a=1", "a=1"),
        ] {
            assert_eq!(neutral(cell), expected);
        }
    }
}
