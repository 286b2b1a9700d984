//! Results as CSV for spreadsheets: of a plan, one row per attribute that changes.
//!
//! A cell that a spreadsheet would read as a formula gets a leading apostrophe, and characters that steer a terminal
//! are shown as escapes. That makes this a report and not a data format: programs read the JSON. (The `csv` *target*
//! writes data and does not come through here.)

use std::io::Write;

use super::applied::Applied;
use super::check::Check;
use super::text::HIDDEN;
use super::visible::visible;
use super::write_failed;
use crate::error::{Context, Result};
use crate::plan::Plan;
use crate::plan::change::{Action, Change, NoteKind, State};
use crate::plan::datum::{Datum, Set};
use crate::plan::policy::CauseKind;
use crate::target::Outcome;

/// Stands between the elements of a set.
const BETWEEN: &str = "; ";

/// One row per attribute change; a change without attributes (a delete) has one row with those cells empty.
pub fn plan(plan: &Plan, to: &mut dyn Write) -> Result<()> {
    let mut rows = Rows::new(to, &["action", "type", "key", "label", "attribute", "before", "after", "cause"])?;
    for change in plan.changes() {
        let change = change?;
        if change.attributes.is_empty() {
            rows.change(&change, ["", "", ""], None)?;
        }
        for attribute in &change.attributes {
            let (before, after) = match attribute.hidden {
                true => (String::new(), HIDDEN.to_string()),
                false => (cell(&attribute.before), cell(&attribute.after)),
            };
            rows.change(&change, [&attribute.name, &before, &after], attribute.cause.as_deref())?;
        }
    }
    rows.finish()
}

/// Who left, and what becomes of the record: one row per record that takes a step of the removal ladder, is kept, or
/// waits. Rows that link two records are no leavers.
pub fn leavers(plan: &Plan, to: &mut dyn Write) -> Result<()> {
    let columns = ["type", "key", "label", "target_id", "since", "cause", "words", "what_happens"];
    let mut rows = Rows::new(to, &columns)?;
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
        let (key, target_id) = (key.to_string(), target_id.as_deref().unwrap_or_default());
        rows.row(&[&change.ty, &key, label, target_id, &since, cause.kind.word(), &cause.words, happens])?;
    }
    for note in plan.notes().iter().filter(|note| matches!(note.kind, NoteKind::Kept | NoteKind::FilterEdit)) {
        let happens = if note.kind == NoteKind::Kept { "kept" } else { "waits for approval" };
        rows.row(&[&note.ty, &note.key.to_string(), &note.label, "", "", "", &note.words, happens])?;
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

    fn change(&mut self, change: &Change, attribute: [&str; 3], cause: Option<&str>) -> Result<()> {
        let key = change.key.to_string();
        let cause = cause.or(change.cause.as_ref().map(|cause| cause.words.as_str())).unwrap_or_default();
        let [name, before, after] = attribute;
        self.row(&[change.action.word(), &change.ty, &key, &change.label, name, before, after, cause])
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
