//! Matching by id, by key and by adopt rule, and every collision.

use super::super::change::AttributeSpec;
use super::*;
use crate::spill::SpillWriter;

/// Attributes: "Id" (the key) and "Mail" (an adopt rule).
fn spec() -> TypeSpec {
    let attribute =
        |name: &str| AttributeSpec { name: name.into(), many: false, reference: None, ..AttributeSpec::default() };
    TypeSpec { name: "User".into(), attributes: vec![attribute("Id"), attribute("Mail")], key: vec![0], adopt: vec![1] }
}

fn desired(records: &[(&str, &str, &str)]) -> DesiredSide {
    let mut spill = SpillWriter::new().unwrap();
    let keys = records.iter().map(|(key, id, mail)| {
        let values = vec![Some(Datum::text(*id)), Some(Datum::text(*mail))];
        let place = spill.push(&Desired { mapping: 0, label: (*key).into(), values }).unwrap();
        DesiredKey { key: Key::parse(key), target_key: Some(Key::parse(id)), state: DesiredState::Mapped(place) }
    });
    DesiredSide { keys: keys.collect(), records: spill.finish().unwrap(), notes: Vec::new() }
}

fn current(records: &[(&str, &str, &str)]) -> CurrentSide {
    let mut spill = SpillWriter::new().unwrap();
    let keys = records.iter().map(|(row, id, mail)| {
        let values = vec![Datum::text(*id), Datum::text(*mail)];
        let place = spill.push(&Current { id: (*row).into(), values }).unwrap();
        CurrentKey { id: Key::parse(row), target_key: (!id.is_empty()).then(|| Key::parse(id)), place }
    });
    CurrentSide { keys: keys.collect(), records: spill.finish().unwrap(), coverage: Coverage::Complete }
}

fn owned(rows: &[(&str, &str, bool)]) -> Vec<OwnedKey> {
    let row = |(key, _, declined): &(&str, &str, bool)| OwnedKey {
        key: Key::parse(key),
        standing: if *declined { Ownership::Declined } else { Ownership::Owned },
    };
    rows.iter().map(row).collect()
}

/// One word per desired key; then the rows nobody wants.
fn check(
    wanted: &[(&str, &str, &str)],
    there: &[(&str, &str, &str)],
    rows: &[(&str, &str, bool)],
    expected: &[&str],
    nobodys: &[u32],
) {
    let current = current(there);
    let named = rows.iter().map(|(_, id, _)| current.by_id().get(&Key::parse(id)).copied()).collect();
    let matched = match_up(&spec(), &desired(wanted), &current, &owned(rows), named).unwrap();
    let words: Vec<String> = matched
        .desired
        .iter()
        .map(|found| match found {
            Match::There(row) => format!("row {row}"),
            Match::Absent => "absent".into(),
            Match::Collision(words) => format!("collision: {words}"),
            Match::OwnedByOther { other, .. } => format!("owned by {other}"),
        })
        .collect();
    assert_eq!(words.len(), expected.len());
    for (got, expected) in words.iter().zip(expected) {
        assert!(got.starts_with(expected), "expected {expected}, got {got}");
    }
    assert_eq!(matched.nobodys, nobodys);
}

#[test]
fn what_the_ledger_remembers_goes_before_the_key() {
    // The key was edited by hand: the row is still ours by its id.
    check(&[("a", "1", "")], &[("r", "other", "")], &[("a", "r", false)], &["row 0"], &[]);
    // Its id changed, but the key leads to it.
    check(&[("a", "1", "")], &[("new", "1", "")], &[("a", "old", false)], &["row 0"], &[]);
}

#[test]
fn an_unowned_record_is_found_by_key_then_by_adopt_rule() {
    check(&[("a", "1", "")], &[("r", "1", "")], &[], &["row 0"], &[]);
    check(&[("a", "1", "ADELE@contoso.com ")], &[("r", "", "adele@contoso.com")], &[], &["row 0"], &[]);
    check(&[("a", "1", "")], &[("r", "", "")], &[], &["absent"], &[0]);
}

#[test]
fn nothing_is_guessed() {
    let two = [("r", "1", ""), ("s", "1", "")];
    check(&[("a", "1", "")], &two, &[], &["collision: several"], &[0, 1]);
    check(&[("a", "1", "")], &two, &[("a", "r", false)], &["collision: several"], &[1]);
    check(&[("a", "1", ""), ("b", "1", "")], &[], &[], &["collision: 2 source", "collision: 2 source"], &[]);
    let same_mail = [("r", "", "x@contoso.com"), ("s", "", "x@contoso.com")];
    check(&[("a", "1", "x@contoso.com")], &same_mail, &[], &["collision: 2 records"], &[0, 1]);
    // The right mail, but another key: somebody else's.
    check(&[("a", "1", "x@contoso.com")], &[("r", "9", "x@contoso.com")], &[], &["collision: the record"], &[0]);
}

#[test]
fn a_record_owned_under_another_key_is_told_apart() {
    check(&[("b", "1", "")], &[("r", "1", "")], &[("a", "r", false)], &["owned by a"], &[]);
    check(&[("b", "2", "x@contoso.com")], &[("r", "", "x@contoso.com")], &[("a", "r", false)], &["owned by a"], &[]);
}

#[test]
fn an_owned_record_that_vanished_is_not_adopted_again_by_mail() {
    let there = [("r", "", "x@contoso.com")];
    check(&[("a", "1", "x@contoso.com")], &there, &[("a", "gone", false)], &["absent"], &[0]);
}

#[test]
fn a_new_key_must_be_free_or_become_free() {
    // a's new key is b's, and b keeps it: nobody is written.
    let there = [("r", "1", ""), ("s", "2", "")];
    let rows = [("a", "r", false), ("b", "s", false)];
    let words = "collision: 2 source";
    check(&[("a", "2", ""), ("b", "2", "")], &there, &rows, &[words, words], &[]);
    // b is out of scope and keeps its row.
    check(&[("a", "2", "")], &there, &rows, &["collision: several"], &[]);
    // It is given to a newcomer, while its owner gets another one.
    check(&[("a", "3", ""), ("c", "1", "")], &there, &rows[..1], &["row 0", "absent"], &[1]);
    // The two swap.
    check(&[("a", "2", ""), ("b", "1", "")], &there, &rows, &["row 0", "row 1"], &[]);
}

#[test]
fn a_declined_row_owns_nothing() {
    check(&[("b", "1", "")], &[("r", "1", "")], &[("a", "r", true)], &["row 0"], &[]);
}
