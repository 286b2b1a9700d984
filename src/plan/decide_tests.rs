//! The table of records, enumerated: every source state with every target state and every ledger state.

use std::collections::BTreeMap;

use super::super::change::{AttributeSpec, Held};
use super::*;

const SOURCES: [&str; 8] =
    ["desired", "out", "gone", "out-edited", "unknown", "not found", "not found again", "rejected"];
const FOUND: [&str; 5] = ["there", "absent", "not read", "collision", "returner"];
const LEDGER: [&str; 6] = ["none", "owned", "retired", "declined", "deleted in target", "pinned"];

/// The table as it stands in ARCHITECTURE.md. `*` stands for every state not named before.
/// Outcome: the action, `+` the kind of note, or what is counted.
const TABLE: &[(&str, &str, &str, &str)] = &[
    ("desired", "collision", "*", "Collision"),
    ("desired", "returner", "*", "Returner"),
    ("desired", "*", "declined", "declined"),
    ("desired", "not read", "*", "unknown"),
    ("desired", "absent", "deleted in target", "declined"),
    ("desired", "absent", "none", "create"),
    ("desired", "absent", "retired", "create"),
    ("desired", "absent", "*", "settle DeletedInTarget"),
    // The name differs and the target wins at adoption: told.
    ("desired", "there", "none", "adopt DiffersSinceAdoption"),
    ("desired", "there", "retired", "return"),
    // Who put the row back wants it after all.
    ("desired", "there", "deleted in target", "update"),
    ("desired", "there", "*", "update"),
    ("out", "*", "none", ""),
    ("out", "*", "declined", ""),
    ("out", "*", "deleted in target", ""),
    ("out", "not read", "*", "unknown"),
    ("out", "collision", "*", "Collision"),
    ("out", "absent", "*", "forget"),
    ("out", "returner", "*", "forget"),
    ("out", "there", "pinned", "Kept"),
    ("out", "there", "owned", "retire"),
    ("out", "there", "retired", "delete"),
    ("gone", "*", "none", ""),
    ("gone", "*", "declined", ""),
    ("gone", "*", "deleted in target", ""),
    ("gone", "not read", "*", "unknown"),
    ("gone", "collision", "*", "Collision"),
    ("gone", "absent", "*", "forget"),
    ("gone", "returner", "*", "forget"),
    ("gone", "there", "pinned", "Kept"),
    ("gone", "there", "owned", "retire"),
    ("gone", "there", "retired", "delete"),
    ("not found again", "*", "none", ""),
    ("not found again", "*", "declined", ""),
    ("not found again", "*", "deleted in target", ""),
    ("not found again", "not read", "*", "unknown"),
    ("not found again", "collision", "*", "Collision"),
    ("not found again", "absent", "*", "forget"),
    ("not found again", "returner", "*", "forget"),
    ("not found again", "there", "pinned", "Kept"),
    ("not found again", "there", "owned", "retire"),
    ("not found again", "there", "retired", "delete"),
    ("out-edited", "there", "owned", "FilterEdit"),
    ("out-edited", "there", "retired", "settle FilterEdit"),
    ("out-edited", "*", "*", ""),
    ("unknown", "*", "none", ""),
    ("unknown", "*", "declined", ""),
    ("unknown", "*", "deleted in target", ""),
    ("unknown", "*", "retired", "settle unknown"),
    ("unknown", "*", "*", "unknown"),
    ("not found", "*", "none", ""),
    ("not found", "*", "declined", ""),
    ("not found", "*", "deleted in target", ""),
    ("not found", "*", "*", "settle unknown"),
    ("rejected", "*", "none", "Rejected"),
    ("rejected", "*", "declined", "Rejected"),
    ("rejected", "*", "deleted in target", "Rejected"),
    ("rejected", "*", "retired", "settle Rejected unknown"),
    ("rejected", "*", "*", "Rejected unknown"),
];

fn at(day: i64) -> Timestamp {
    Timestamp::from_second(1_700_000_000 + day * 86_400).unwrap()
}

fn policy() -> TypePolicy {
    let attribute =
        |name: &str| AttributeSpec { name: name.into(), many: false, reference: None, ..AttributeSpec::default() };
    let flag = StepAction::Flag(BTreeMap::from([("Status".to_string(), "Left".to_string())]));
    TypePolicy {
        spec: TypeSpec {
            name: "User".into(),
            attributes: vec![attribute("Id"), attribute("Name"), attribute("Status")],
            key: vec![0],
            adopt: vec![],
        },
        mappings: vec![MappingPolicy {
            name: "user".into(),
            attributes: vec![Some(AttributePolicy::default()), Some(AttributePolicy::default()), None],
            removal: Removal {
                default: vec![
                    Step { action: flag, after_days: 0 },
                    Step { action: StepAction::Delete, after_days: 30 },
                ],
                ..Removal::default()
            },
            recreate: Recreate::Report,
            protect: None,
        }],
        links: false,
        rekeyed: false,
    }
}

fn desired(name: &str) -> Desired {
    Desired { mapping: 0, label: name.into(), values: vec![Some(Datum::text("1")), Some(Datum::text(name)), None] }
}

fn there(name: &str, status: &str) -> Found {
    Found::There(Current { id: "1".into(), values: vec![Datum::text("1"), Datum::text(name), Datum::text(status)] })
}

fn held(text: &str) -> Held {
    Held { applied: Datum::text(text), settled: Datum::text(text) }
}

fn cause(kind: CauseKind) -> Cause {
    Cause { kind, words: "department eq 'IT' is false".into() }
}

fn row(state: State) -> Row {
    Row {
        mapping: "user".into(),
        state,
        origin: Origin::Created,
        target_id: "1".into(),
        label: "Adele Vance".into(),
        values: BTreeMap::from([("Id".to_string(), held("1")), ("Name".to_string(), held("Adele"))]),
        missing_since: None,
    }
}

fn retired(kind: CauseKind, since: Timestamp) -> State {
    State::Retired(Leaving {
        since,
        cause: cause(kind),
        steps_done: 1,
        before: BTreeMap::from([("Status".to_string(), (Datum::text("Active"), Datum::text("Left")))]),
        paused_at: None,
    })
}

fn decided(source: &str, found: &str, ledger: &str) -> Decision {
    decided_under(&policy(), Origin::Created, source, found, ledger)
}

fn decided_under(policy: &TypePolicy, origin: Origin, source: &str, found: &str, ledger: &str) -> Decision {
    let kind = if source == "out" { CauseKind::Out } else { CauseKind::Gone };
    let state = match ledger {
        "owned" => Some(State::Owned),
        "retired" => Some(retired(kind, at(0))),
        "declined" => Some(State::Declined),
        "deleted in target" => Some(State::DeletedInTarget),
        "pinned" => Some(State::Pinned),
        _ => None,
    };
    let mut row = state.map(|state| Row { origin, ..row(state) });
    if source == "not found again"
        && let Some(row) = &mut row
    {
        row.missing_since = Some(at(39));
    }
    let source = match source {
        "desired" => Source::Desired(desired("Adele V.")),
        "out" => Source::Out(cause(CauseKind::Out)),
        "gone" => Source::Gone(cause(CauseKind::Gone)),
        "out-edited" => Source::OutEdited("the filter was edited".into()),
        "unknown" => Source::Unknown(Unknown::new("groups were not read")),
        "rejected" => Source::Rejected("the key is empty".into()),
        _ => Source::NotFound,
    };
    let found = match found {
        "there" if ledger == "retired" => there("Adele", "Left"),
        "there" => there("Adele", "Active"),
        "absent" => Found::Absent,
        "not read" => Found::NotRead,
        "collision" => Found::Collision("two".into()),
        _ => Found::Returner { other: Key::parse("other"), target_id: "9".into() },
    };
    let key = Key::parse("1");
    let times = Times { as_of: at(40), source_as_of: at(40) };
    decide(&Case { policy, times, key: &key, row: row.as_ref(), holds: Ok(&[]) }, source, found)
}

fn words(decision: &Decision) -> String {
    let mut words = Vec::new();
    words.extend(decision.change.as_ref().map(|change| change.action.word().to_string()));
    words.extend(decision.notes.iter().map(|note| format!("{:?}", note.kind)));
    if decision.declined {
        words.push("declined".into());
    }
    if decision.unknown.is_some() {
        words.push("unknown".into());
    }
    words.join(" ")
}

#[test]
fn every_combination_of_states_follows_the_table() {
    let mut used = vec![false; TABLE.len()];
    for source in SOURCES {
        for found in FOUND {
            for ledger in LEDGER {
                let fits = |pattern: &str, state: &str| pattern == "*" || pattern == state;
                let line = TABLE
                    .iter()
                    .position(|(s, f, l, _)| fits(s, source) && fits(f, found) && fits(l, ledger))
                    .unwrap_or_else(|| panic!("no row for {source}, {found}, {ledger}"));
                used[line] = true;
                let got = words(&decided(source, found, ledger));
                assert_eq!(got, TABLE[line].3, "source {source}, target {found}, ledger {ledger}");
            }
        }
    }
    let unused: Vec<_> = used.iter().zip(TABLE).filter(|(used, _)| !**used).map(|(_, row)| row).collect();
    assert!(unused.is_empty(), "rows nothing reaches: {unused:?}");
}

/// What a policy makes of the table: the first line that fits decides, else the table does. Columns as in `TABLE`, the
/// third in front of them being the policy, the fourth what the table says.
const POLICIES: &[(&str, &str, &str, &str, &str, &str)] = &[
    ("rekeyed", "*", "absent", "owned retired pinned", "*", "FilterEdit"),
    ("recreate", "desired", "absent", "owned pinned", "*", "create"),
    ("recreate", "desired", "absent", "deleted in target", "*", "create"),
    ("protect", "*", "there", "*", "adopt DiffersSinceAdoption", "Protected"),
    ("protect", "*", "there", "*", "update", "Protected"),
    ("protect", "*", "there", "*", "return", "Protected"),
    ("protect", "*", "there", "*", "retire", "Protected"),
    ("adopted", "*", "there", "*", "delete", "Kept"),
    ("protect", "*", "there", "*", "delete", "Protected"),
];

#[test]
fn every_policy_bends_the_table_only_where_it_says() {
    let mut used = vec![false; POLICIES.len()];
    for bits in 0..1u32 << 5 {
        let on = |bit: u32| bits >> bit & 1 == 1;
        let mut policy = policy();
        policy.rekeyed = on(0);
        let [mapping] = policy.mappings.as_mut_slice() else { panic!("one mapping") };
        mapping.recreate = if on(1) { Recreate::Create } else { Recreate::Report };
        let rule = crate::expr::compile_filter("Id eq '1'", None, &mut crate::expr::Catalog::new()).unwrap();
        mapping.protect = on(2).then_some(rule);
        let origin = if on(3) { Origin::Adopted } else { Origin::Created };
        mapping.removal.delete_adopted = on(4);
        let holds = |name: &str| match name {
            "rekeyed" => on(0),
            "recreate" => on(1),
            "protect" => on(2),
            _ => on(3) && !on(4),
        };
        for source in SOURCES {
            for found in FOUND {
                for ledger in LEDGER {
                    let fits = |pattern: &str, state: &str| pattern == "*" || pattern.contains(state);
                    let table = words(&decided(source, found, ledger));
                    let line = POLICIES.iter().position(|(policy, s, f, l, t, _)| {
                        holds(policy)
                            && fits(s, source)
                            && fits(f, found)
                            && fits(l, ledger)
                            && (*t == "*" || *t == table)
                    });
                    if let Some(line) = line {
                        used[line] = true;
                    }
                    let expected = line.map_or(table, |line| POLICIES[line].5.to_string());
                    let got = words(&decided_under(&policy, origin, source, found, ledger));
                    assert_eq!(got, expected, "policies {bits:05b}, source {source}, target {found}, ledger {ledger}");
                }
            }
        }
    }
    assert!(used.iter().all(|used| *used), "lines nothing reaches: {used:?}");
}

#[test]
fn nothing_is_removed_without_a_cause() {
    for source in SOURCES {
        for found in FOUND {
            for ledger in LEDGER {
                let Some(change) = decided(source, found, ledger).change else { continue };
                if matches!(change.action, Action::Retire | Action::Delete | Action::Forget) {
                    assert!(change.cause.is_some(), "{source}, {found}, {ledger}");
                    assert!(["out", "gone", "not found again"].contains(&source), "{source}, {found}, {ledger}");
                    assert!(["owned", "retired", "pinned"].contains(&ledger), "{source}, {found}, {ledger}");
                }
            }
        }
    }
}

fn one(state: State, source: Source, found: Found, now: Timestamp) -> Decision {
    let (policy, key, row) = (policy(), Key::parse("1"), row(state));
    let times = Times { as_of: now, source_as_of: now };
    decide(&Case { policy: &policy, times, key: &key, row: Some(&row), holds: Ok(&[]) }, source, found)
}

fn row_after(decision: &Decision) -> &Row {
    decision.change.as_ref().and_then(|change| change.ledger.as_ref()).expect("a row after the change")
}

#[test]
fn the_ladder_waits_for_its_days_and_pauses_while_unknown() {
    let gone = || Source::Gone(cause(CauseKind::Gone));
    let first = one(State::Owned, gone(), there("Adele", "Active"), at(0));
    let flagged = first.change.as_ref().unwrap();
    assert_eq!(flagged.action, Action::Retire);
    assert_eq!(flagged.attributes[0].after, Datum::text("Left"));
    let state = row_after(&first).state.clone();
    assert_eq!(words(&one(state.clone(), gone(), there("Adele", "Left"), at(29))), "Kept");
    assert_eq!(words(&one(state.clone(), gone(), there("Adele", "Left"), at(30))), "delete");

    let paused = one(state, Source::Unknown(Unknown::new("page lost")), there("Adele", "Left"), at(10));
    let state = row_after(&paused).state.clone();
    assert_eq!(words(&one(state.clone(), gone(), there("Adele", "Left"), at(31))), "settle Kept");
    let resumed = one(state, gone(), there("Adele", "Left"), at(20));
    let state = row_after(&resumed).state.clone();
    assert_eq!(words(&one(state.clone(), gone(), there("Adele", "Left"), at(39))), "Kept");
    assert_eq!(words(&one(state, gone(), there("Adele", "Left"), at(40))), "delete");
}

#[test]
fn another_cause_begins_its_own_ladder_with_its_own_days() {
    let gone = || Source::Gone(cause(CauseKind::Gone));
    let changed = one(retired(CauseKind::Disabled, at(0)), gone(), there("Adele", "Left"), at(100));
    assert_eq!(words(&changed), "settle Kept");
    let state = row_after(&changed).state.clone();
    assert_eq!(words(&one(state.clone(), gone(), there("Adele", "Left"), at(129))), "Kept");
    assert_eq!(words(&one(state, gone(), there("Adele", "Left"), at(130))), "delete");
}

#[test]
fn a_delete_is_held_where_the_last_value_is_not_known() {
    let (policy, key) = (policy(), Key::parse("1"));
    let forgotten =
        Row { values: BTreeMap::from([("Id".to_string(), held("1"))]), ..row(retired(CauseKind::Gone, at(0))) };
    let times = Times { as_of: at(40), source_as_of: at(40) };
    let case = Case { policy: &policy, times, key: &key, row: Some(&forgotten), holds: Ok(&[]) };
    let gone = || Source::Gone(cause(CauseKind::Gone));
    assert_eq!(words(&decide(&case, gone(), there("Edited by hand?", "Left"))), "Kept");
    assert_eq!(words(&decide(&case, gone(), there("", "Left"))), "delete");
}

#[test]
fn a_flag_taken_back_pins_and_an_edited_record_is_not_deleted() {
    let state = retired(CauseKind::Gone, at(0));
    let gone = || Source::Gone(cause(CauseKind::Gone));
    let taken_back = one(state.clone(), gone(), there("Adele", "Active"), at(40));
    assert_eq!(words(&taken_back), "settle Kept");
    assert_eq!(row_after(&taken_back).state, State::Pinned);
    assert_eq!(words(&one(state.clone(), gone(), there("Edited by hand", "Left"), at(40))), "Kept");

    let (policy, key) = (policy(), Key::parse("1"));
    let adopted = Row { origin: Origin::Adopted, ..row(state) };
    let case = Case {
        policy: &policy,
        times: Times { as_of: at(40), source_as_of: at(40) },
        key: &key,
        row: Some(&adopted),
        holds: Ok(&[]),
    };
    assert_eq!(words(&decide(&case, gone(), there("Adele", "Left"))), "Kept");
}

#[test]
fn who_returns_gets_back_what_was_flagged_where_the_flag_still_stands() {
    let back =
        one(retired(CauseKind::Gone, at(0)), Source::Desired(desired("Adele V.")), there("Adele", "Left"), at(5));
    let change = back.change.as_ref().unwrap();
    let written: Vec<_> = change.attributes.iter().map(|a| (a.name.as_str(), a.after.to_string())).collect();
    assert_eq!(written, [("Name", "\"Adele V.\"".into()), ("Status", "\"Active\"".into())]);
    assert_eq!(row_after(&back).state, State::Owned);

    let back = one(retired(CauseKind::Gone, at(0)), Source::Desired(desired("Adele")), there("Adele", "Hers"), at(5));
    assert!(back.change.as_ref().unwrap().attributes.is_empty(), "a value that a person wrote is not put back");
}

#[test]
fn a_protected_record_is_never_touched() {
    let mut policy = policy();
    let rule = "Status eq 'Legal hold'";
    policy.mappings[0].protect =
        Some(crate::expr::compile_filter(rule, None, &mut crate::expr::Catalog::new()).unwrap());
    let (key, row) = (Key::parse("1"), row(State::Owned));
    let times = Times { as_of: at(40), source_as_of: at(40) };
    let case = Case { policy: &policy, times, key: &key, row: Some(&row), holds: Ok(&[]) };
    let gone = || Source::Gone(cause(CauseKind::Gone));
    let wanted = || Source::Desired(desired("Adele V."));
    for source in [gone(), wanted()] {
        assert_eq!(words(&decide(&case, source, there("Adele", "Legal hold"))), "Protected");
    }
    assert_eq!(words(&decide(&case, gone(), there("Adele", "Active"))), "retire");
    assert_eq!(words(&decide(&case, wanted(), there("Adele", "Active"))), "update");
}

#[test]
fn what_someone_deleted_in_the_target_is_created_again_once_the_job_says_so() {
    let mut policy = policy();
    policy.mappings[0].recreate = Recreate::Create;
    let (key, row) = (Key::parse("1"), row(State::DeletedInTarget));
    let times = Times { as_of: at(40), source_as_of: at(40) };
    let case = Case { policy: &policy, times, key: &key, row: Some(&row), holds: Ok(&[]) };
    assert_eq!(words(&decide(&case, Source::Desired(desired("Adele")), Found::Absent)), "create");
}

#[test]
fn a_row_that_a_new_key_no_longer_finds_is_neither_forgotten_nor_declined() {
    let mut policy = policy();
    policy.rekeyed = true;
    let (key, row) = (Key::parse("1"), row(State::Owned));
    let times = Times { as_of: at(40), source_as_of: at(40) };
    let case = Case { policy: &policy, times, key: &key, row: Some(&row), holds: Ok(&[]) };
    for source in [Source::Gone(cause(CauseKind::Gone)), Source::Desired(desired("Adele"))] {
        assert_eq!(words(&decide(&case, source, Found::Absent)), "FilterEdit");
    }
}

#[test]
fn an_unchanged_record_yields_no_change_at_all() {
    let same = one(State::Owned, Source::Desired(desired("Adele")), there("Adele", "Active"), at(1));
    assert_eq!((same.change.as_ref(), same.unchanged), (None, true));
}

#[test]
fn one_miss_by_id_is_no_proof_and_being_seen_again_clears_it() {
    let first = one(State::Owned, Source::NotFound, there("Adele", "Active"), at(1));
    let missing = row_after(&first).clone();
    assert_eq!(missing.missing_since, Some(at(1)));
    let (policy, key) = (policy(), Key::parse("1"));
    let again = |now, source| {
        let times = Times { as_of: now, source_as_of: now };
        decide(
            &Case { policy: &policy, times, key: &key, row: Some(&missing), holds: Ok(&[]) },
            source,
            there("Adele", "Active"),
        )
    };
    assert_eq!(words(&again(at(1), Source::NotFound)), "unknown", "the same read is not a second run");
    assert_eq!(words(&again(at(2), Source::NotFound)), "retire");
    assert_eq!(row_after(&again(at(2), Source::Desired(desired("Adele")))).missing_since, None);
}
