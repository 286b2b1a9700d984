//! Taking back what a run did, action by action, against everything that may have happened since.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::super::change::Leaving;
use super::super::decide::MappingPolicy;
use super::super::policy::{Recreate, Removal, Step};
use super::*;
use crate::testing::people;

fn policy(ladder: Option<StepAction>) -> TypePolicy {
    TypePolicy {
        spec: people(),
        mappings: vec![MappingPolicy {
            name: "user".into(),
            attributes: vec![None; 5],
            removal: Removal {
                default: ladder.into_iter().map(|action| Step { action, after_days: 7 }).collect(),
                ..Removal::default()
            },
            recreate: Recreate::Report,
            protect: None,
        }],
        links: false,
        rekeyed: false,
    }
}

fn flag() -> Option<StepAction> {
    Some(StepAction::Flag(BTreeMap::from([("Status".to_string(), "Left".to_string())])))
}

fn row(state: State, name: &str) -> Row {
    let held = |datum: Datum| Held { applied: datum.clone(), settled: datum };
    Row {
        mapping: "user".into(),
        state,
        origin: Origin::Created,
        target_id: "7".into(),
        label: "Adele Vance".into(),
        values: BTreeMap::from([
            ("Id".to_string(), held(Datum::text("1"))),
            ("Name".to_string(), held(Datum::text(name))),
            ("Boss".to_string(), held(Datum::text("9"))),
            ("Tags".to_string(), held(Datum::set(["a", "b"]))),
        ]),
        missing_since: None,
    }
}

fn retired() -> State {
    State::Retired(Leaving {
        since: Timestamp::UNIX_EPOCH,
        cause: Cause { kind: CauseKind::Gone, words: "deleted in Entra".into() },
        steps_done: 1,
        before: BTreeMap::from([("Status".to_string(), (Datum::text("Active"), Datum::text("Left")))]),
        paused_at: None,
    })
}

fn there(name: &str, status: &str) -> Current {
    let values = [Datum::text("1"), Datum::text(name), Datum::text("9"), Datum::set(["a", "b"]), Datum::text(status)];
    Current { id: "7".into(), values: values.to_vec() }
}

fn done(action: Action, values: &[(&str, Datum, Datum)], before: Option<Row>) -> Done {
    let value = |(name, before, after): &(&str, Datum, Datum)| WrittenValue {
        name: (*name).into(),
        before: before.clone(),
        after: after.clone(),
    };
    Done { written: Written { action, values: values.iter().map(value).collect() }, before }
}

/// What is known around the record, in the order: a later run wrote it, its key is taken, its boss is there.
type Around = (bool, bool, bool);

const QUIET: Around = (false, false, true);

fn decided(
    ladder: Option<StepAction>,
    done: &Done,
    row: Option<&Row>,
    current: Option<&Current>,
    (later, key_taken, boss): Around,
) -> Decision {
    let (policy, key) = (policy(ladder), Key::parse("1"));
    let times = Times { as_of: Timestamp::UNIX_EPOCH, source_as_of: Timestamp::UNIX_EPOCH };
    let case = Case { policy: &policy, times, key: &key, row, holds: Ok(&[]) };
    undo(&case, done, current, &About { run: "12", later, key_taken, is_there: &|_, _| boss })
}

/// The action with what it writes and the state afterwards, then the kinds of the notes.
fn words(decision: &Decision) -> String {
    let mut words = Vec::new();
    if let Some(change) = &decision.change {
        let written = change.attributes.iter().map(|written| format!("{}={}", written.name, written.after));
        let state = match change.ledger.as_ref().map(|row| &row.state) {
            None => "nothing",
            Some(State::Owned) => "owned",
            Some(State::Declined) => "declined",
            Some(State::Pinned) => "pinned",
            Some(_) => "other",
        };
        let written: Vec<String> = written.collect();
        words.push(format!("{} {} -> {state}", change.action.word(), written.join(" ")));
    }
    words.extend(decision.notes.iter().map(|note| format!("{:?}", note.kind)));
    words.join("; ")
}

#[test]
fn every_action_has_its_reverse_where_it_still_stands() {
    let (old, new) = (Datum::text("Adele"), Datum::text("Adele V."));
    let name = [("Name", old.clone(), new.clone())];
    let mark = [("Status", Datum::text("Active"), Datum::text("Left"))];
    let tags = [("Tags", Datum::set(["a", "c"]), Datum::set(["a", "b"]))];
    let owned = row(State::Owned, "Adele V.");
    let pinned = row(State::Pinned, "Adele V.");
    let declined = row(State::Declined, "Adele V.");
    let left = row(retired(), "Adele V.");
    let now = there("Adele V.", "Active");
    let marked = there("Adele V.", "Left");
    let create = done(Action::Create, &[], None);
    let update = done(Action::Update, &name, None);
    let delete = done(Action::Delete, &[], Some(left.clone()));
    let nothing = done(Action::Adopt, &[], None);
    let cases = [
        // What was created.
        ("created", flag(), &create, Some(&owned), Some(&now), QUIET, "retire Status=\"Left\" -> declined"),
        (
            "created, to be deleted",
            Some(StepAction::Delete),
            &create,
            Some(&owned),
            Some(&now),
            QUIET,
            "delete  -> declined",
        ),
        ("created, no ladder", None, &create, Some(&owned), Some(&now), QUIET, "settle  -> declined; Kept"),
        ("created, marked already", flag(), &create, Some(&owned), Some(&marked), QUIET, "settle  -> declined"),
        ("created, edited since", flag(), &create, Some(&owned), Some(&there("By hand", "Active")), QUIET, "NotUndone"),
        ("created, written again", flag(), &create, Some(&owned), Some(&now), (true, false, true), "NotUndone"),
        ("created, gone since", flag(), &create, Some(&owned), None, QUIET, "NotUndone"),
        ("created, not ours", flag(), &create, None, Some(&now), QUIET, "NotUndone"),
        ("created, declined since", flag(), &create, Some(&declined), Some(&now), QUIET, "NotUndone"),
        // Values that were written.
        ("updated", None, &update, Some(&owned), Some(&now), QUIET, "update Name=\"Adele\" -> owned"),
        ("updated, pinned since", None, &update, Some(&pinned), Some(&now), QUIET, "update Name=\"Adele\" -> pinned"),
        ("updated, edited since", None, &update, Some(&owned), Some(&there("By hand", "Active")), QUIET, "NotUndone"),
        ("updated, back already", None, &update, Some(&owned), Some(&there("Adele", "Active")), QUIET, ""),
        ("updated, gone since", None, &update, Some(&owned), None, QUIET, "NotUndone"),
        (
            "elements",
            None,
            &done(Action::Update, &tags, None),
            Some(&owned),
            Some(&now),
            QUIET,
            "update Tags=[\"a\", \"c\"] -> owned",
        ),
        (
            "retired",
            None,
            &done(Action::Retire, &mark, None),
            Some(&left),
            Some(&marked),
            QUIET,
            "update Status=\"Active\" -> pinned",
        ),
        (
            "retired, taken back",
            None,
            &done(Action::Retire, &mark, None),
            Some(&left),
            Some(&now),
            QUIET,
            "settle  -> pinned",
        ),
        (
            "returned",
            None,
            &done(Action::Return, &[(mark[0].0, mark[0].2.clone(), mark[0].1.clone())], None),
            Some(&owned),
            Some(&now),
            QUIET,
            "update Status=\"Left\" -> owned",
        ),
        (
            "adopted",
            None,
            &done(Action::Adopt, &name, None),
            Some(&owned),
            Some(&now),
            QUIET,
            "update Name=\"Adele\" -> declined",
        ),
        ("adopted as it was", None, &nothing, Some(&owned), Some(&now), QUIET, "settle  -> declined"),
        // What was deleted.
        (
            "deleted",
            None,
            &delete,
            None,
            None,
            QUIET,
            "create Id=\"1\" Name=\"Adele V.\" Boss=\"9\" Tags=[\"a\", \"b\"] Status=\"Left\" -> pinned",
        ),
        (
            "deleted, its boss too",
            None,
            &delete,
            None,
            None,
            (false, false, false),
            "create Id=\"1\" Name=\"Adele V.\" Tags=[\"a\", \"b\"] Status=\"Left\" -> pinned; ReferenceLeftOut",
        ),
        ("deleted, key taken", None, &delete, None, None, (false, true, true), "NotUndone"),
        ("deleted, owned again", None, &delete, Some(&owned), Some(&now), QUIET, "NotUndone"),
        (
            "deleted, declined since",
            None,
            &delete,
            Some(&declined),
            None,
            QUIET,
            "create Id=\"1\" Name=\"Adele V.\" Boss=\"9\" Tags=[\"a\", \"b\"] Status=\"Left\" -> pinned",
        ),
    ];
    for (what, ladder, done, row, current, around, expected) in cases {
        assert_eq!(words(&decided(ladder, done, row, current, around)), expected, "{what}");
    }
}

#[test]
fn what_was_settled_stays_settled_so_that_the_next_run_writes_nothing() {
    let owned = row(State::Owned, "Adele V.");
    let update = done(Action::Update, &[("Name", Datum::text("Adele"), Datum::text("Adele V."))], None);
    let decision = decided(None, &update, Some(&owned), Some(&there("Adele V.", "Active")), QUIET);
    let held = &decision.change.unwrap().ledger.unwrap().values["Name"];
    assert_eq!((&held.applied, &held.settled), (&Datum::text("Adele"), &Datum::text("Adele V.")));
    // d = d', c = a: kept, in the table of attributes.
    let policy = crate::plan::attributes::AttributePolicy::default();
    let next = crate::plan::attributes::compare(policy, &Datum::text("Adele V."), &Datum::text("Adele"), Some(held));
    assert_eq!((next.write, next.left_alone), (None, None));
}

#[test]
fn sets_go_back_element_by_element() {
    let value = |before: Datum, after: Datum| WrittenValue { name: "Tags".into(), before, after };
    let written = value(Datum::set(["old"]), Datum::set(["new"]));
    for (now, expected) in [
        (Datum::set(["new"]), Some(Datum::set(["old"]))),
        // Someone added one of their own: it stays.
        (Datum::set(["hers", "new"]), Some(Datum::set(["hers", "old"]))),
        // Someone did it by hand.
        (Datum::set(["old"]), None),
        (Datum::set(["hers", "old"]), None),
    ] {
        let got = match back(&written, &now) {
            Back::Write(value) => Some(value),
            Back::Stands => None,
            Back::Changed => panic!("{now}"),
        };
        assert_eq!(got, expected, "{now}");
    }
}
