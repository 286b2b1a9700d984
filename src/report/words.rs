//! Words that several formats share: numbers, kinds of notes, the command that approves.

use std::fmt::Write as _;

use crate::plan::Header;
use crate::plan::change::NoteKind;
use crate::visible::shell_word;

/// A number with a comma between thousands.
pub(super) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// One word for one, another for any other number.
pub(super) fn plural<'a>(number: u64, one: &'a str, many: &'a str) -> &'a str {
    if number == 1 { one } else { many }
}

/// The command that lets everything pass that this plan is held by; `None` when nothing holds it.
pub fn approve_command(header: &Header, job_file: &str) -> Option<String> {
    let mut limits: Vec<_> = header.limits.iter().filter(|check| check.waits()).map(|check| check.limit).collect();
    limits.sort_unstable();
    limits.dedup();
    if limits.is_empty() {
        return None;
    }
    let mut command = format!("entra-import approve {} {}", shell_word(job_file), shell_word(&header.id));
    for limit in limits {
        let _ = write!(command, " --limit {limit}");
    }
    Some(command)
}

/// What that many notes of one kind tell, without their number.
pub(super) fn note_words(kind: NoteKind, count: u64) -> &'static str {
    let (one, many) = match kind {
        NoteKind::Collision => (
            "collision: it is not clear which record is meant, so nothing was written",
            "collisions: it is not clear which records are meant, so nothing was written",
        ),
        NoteKind::Returner => (
            "returner: a new object matches the record of a deleted one",
            "returners: new objects match the records of deleted ones",
        ),
        NoteKind::Rejected => ("record could not be mapped", "records could not be mapped"),
        NoteKind::Refused => (
            "change was refused by the target lately and is not sent again yet",
            "changes were refused by the target lately and are not sent again yet",
        ),
        NoteKind::NotUndone => (
            "record or value was changed since and is not taken back",
            "records or values were changed since and are not taken back",
        ),
        NoteKind::FilterEdit => (
            "record would leave only because the scope or a mapping was edited",
            "records would leave only because the scope or a mapping was edited",
        ),
        NoteKind::DeletedInTarget => ("record was deleted in the target", "records were deleted in the target"),
        NoteKind::Kept => ("record left Entra's scope and is kept", "records left Entra's scope and are kept"),
        NoteKind::StillHolds => (
            "record left and still holds what this job does not own",
            "records left and still hold what this job does not own",
        ),
        NoteKind::ChangedInTarget => {
            ("change made in the target was left alone", "changes made in the target were left alone")
        }
        NoteKind::Conflict => (
            "value was changed on both sides and was left alone",
            "values were changed on both sides and were left alone",
        ),
        NoteKind::DiffersSinceAdoption => (
            "value differed when its record was adopted and was left alone",
            "values differed when their records were adopted and were left alone",
        ),
        NoteKind::ReferenceLeftOut => (
            "reference was left out because its record is not there",
            "references were left out because their records are not there",
        ),
        NoteKind::Protected => (
            "protected record would have changed and was left alone",
            "protected records would have changed and were left alone",
        ),
        NoteKind::NotFound => (
            "name leads to no record of the target, or to several",
            "names lead to no record of the target, or to several",
        ),
        NoteKind::Shortened => (
            "value was longer than the mapping allows and is cut",
            "values were longer than the mapping allows and are cut",
        ),
        NoteKind::Stranger => (
            "record carries an Entra id that this job does not own",
            "records carry an Entra id that this job does not own",
        ),
    };
    plural(count, one, many)
}
