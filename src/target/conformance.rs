//! The suite every target must pass: what the rest of the program relies on, asked of a real target.
//!
//! A target's own test module implements [`System`] for what it is tested against (a folder, a server's stand-in, the
//! server itself) and calls [`conformance`]. Adding a test here asks it of every target. Deliberately knows nothing of
//! any target: whatever is peculiar to one is tested beside it.

use std::collections::BTreeMap;

use super::{BatchMark, Interrupted, Outcome, Target, WriteBatches, Writes};
use crate::error::{Error, Exit, Result};
use crate::plan::change::{Action, AttributeChange, AttributeSpec, Change, Current, TypeSpec};
use crate::plan::datum::{Datum, Set};
use crate::record::{Key, Unknown};

/// One system, empty at first, that outlives the targets opened on it.
pub trait System {
    type Target: Target;

    /// A target on this system as a new process would open it.
    fn open(&self) -> Self::Target;

    /// What a person does behind the target's back: another record, with the values in the type's order.
    fn add_by_hand(&self, ty: &TypeSpec, values: Vec<Datum>);
}

/// Runs the whole suite; `make` gives a new, empty system each time.
pub async fn conformance<S: System>(make: impl Fn() -> S) {
    who_and_what(&make()).await;
    a_missing_type_is_complete_and_empty(&make()).await;
    created_records_read_back_as_promised(&make()).await;
    links_are_keyed_by_both_ends(&make()).await;
    awkward_texts_survive(&make()).await;
    updates_touch_only_what_they_name(&make()).await;
    every_action_that_writes_attributes_does(&make()).await;
    sets_change_as_wholes(&make()).await;
    deleted_records_are_gone(&make()).await;
    records_with_one_key_are_reported_each(&make()).await;
    a_bad_change_does_not_stop_the_others(&make()).await;
    outcomes_come_one_for_each(&make()).await;
    nothing_is_visible_before_commit(&make()).await;
    the_same_plan_twice_changes_nothing(&make()).await;
    interrupted_batches_are_told_apart(&make()).await;
    records_are_looked_up_by_id_and_by_key(&make()).await;
    a_failing_plan_leaves_the_old_state(&make()).await;
    what_changed_since_the_read_is_not_written_over(&make()).await;
}

/// The people of the suite: a key, two plain attributes and a set.
pub fn people() -> TypeSpec {
    let one =
        |name: &str| AttributeSpec { name: name.to_string(), many: false, reference: None, ..AttributeSpec::default() };
    TypeSpec {
        name: "people".to_string(),
        attributes: vec![
            one("Entra ID"),
            one("Name"),
            one("Email"),
            AttributeSpec { name: "Groups".to_string(), many: true, reference: None, ..AttributeSpec::default() },
        ],
        key: vec![0],
        adopt: vec![2],
    }
}

/// A type whose records link two others.
fn links() -> TypeSpec {
    let end = |name: &str| AttributeSpec {
        name: name.to_string(),
        many: false,
        reference: Some("people".to_string()),
        ..AttributeSpec::default()
    };
    TypeSpec {
        name: "memberships".to_string(),
        attributes: vec![end("Group"), end("Member")],
        key: vec![0, 1],
        adopt: Vec::new(),
    }
}

/// The id of the n-th person of the suite.
pub fn id(n: u32) -> String {
    format!("87d349ed-44d7-43e1-9a83-{n:012x}")
}

/// A person's values, in the order of [`people`].
pub fn person(n: u32, name: &str, groups: &[&str]) -> Vec<Datum> {
    let email = format!("person{n}@contoso.com");
    vec![Datum::text(id(n)), Datum::text(name), Datum::text(email), Datum::set(groups.iter().copied())]
}

/// A change of a type's record that writes these attributes.
pub fn change(ty: &TypeSpec, action: Action, target_id: Option<&str>, written: &[(&str, Datum)]) -> Change {
    let attribute = |(name, after): &(&str, Datum)| AttributeChange {
        name: (*name).to_string(),
        after: after.clone(),
        ..AttributeChange::default()
    };
    Change {
        action,
        ty: ty.name.clone(),
        key: Key::Text("of the source".into()),
        label: "Adele Vance".to_string(),
        based_on: None,
        target_id: target_id.map(String::from),
        cause: None,
        attributes: written.iter().map(attribute).collect(),
        ledger: None,
    }
}

/// The create of a record with all its values.
pub fn create(ty: &TypeSpec, values: &[Datum]) -> Change {
    let names = ty.attributes.iter().map(|attribute| attribute.name.as_str());
    change(ty, Action::Create, None, &names.zip(values.iter().cloned()).collect::<Vec<_>>())
}

/// Reads all records of a type, by id.
pub async fn read(target: &dyn Target, ty: &TypeSpec) -> BTreeMap<String, Vec<Datum>> {
    let mut records = BTreeMap::new();
    let mut each = |current: Current| {
        assert_eq!(current.values.len(), ty.attributes.len(), "one value for each attribute");
        assert!(records.insert(current.id.clone(), current.values).is_none(), "two records called {}", current.id);
        Ok(())
    };
    let coverage = target.read(ty, &mut each).await.unwrap();
    assert!(coverage.is_complete(), "{coverage:?}");
    records
}

/// The target as one of batches, if it is one.
fn batches(target: &dyn Target) -> Option<&dyn WriteBatches> {
    match target.writes() {
        Writes::Batches(batches) => Some(batches),
        Writes::Records(_) => None,
    }
}

/// Stages changes and returns what the target said of them.
pub async fn stage(target: &dyn WriteBatches, ty: &TypeSpec, changes: &[Change]) -> Result<(BatchMark, Vec<Outcome>)> {
    let mut outcomes = vec![None; changes.len()];
    let mut each = |index: u32, change: &Change, outcome: Outcome| {
        assert_eq!(*change, changes[index as usize], "an outcome comes with the place of its change");
        assert_eq!(outcomes[index as usize].replace(outcome), None, "one outcome for each change");
        Ok(())
    };
    let mark = target.stage(ty, &mut changes.iter().cloned().map(Ok), &mut each).await?;
    let outcomes: Option<Vec<Outcome>> = outcomes.into_iter().collect();
    Ok((mark, outcomes.expect("an outcome for each change")))
}

/// Stages and commits, or sends one after the other.
pub async fn write(target: &dyn Target, ty: &TypeSpec, changes: &[Change]) -> Vec<Outcome> {
    match target.writes() {
        Writes::Batches(batches) => {
            let (mark, outcomes) = stage(batches, ty, changes).await.unwrap();
            batches.commit(&mark).await.unwrap();
            outcomes
        }
        Writes::Records(records) => {
            let mut outcomes = Vec::new();
            for change in changes {
                outcomes.push(match change.action.writes() {
                    true => records.write(ty, change).await.outcome,
                    // Of the ledger alone: a target of single records is never asked.
                    false => {
                        let target_id = change.target_id.clone().unwrap_or_default();
                        Outcome::Done { target_id, read_back: Vec::new() }
                    }
                });
            }
            outcomes
        }
    }
}

/// What the target calls the record of a change that was done.
pub fn done(outcome: &Outcome) -> &str {
    match outcome {
        Outcome::Done { target_id, .. } => target_id,
        other => panic!("not done: {other:?}"),
    }
}

/// Values as the target gives them back.
fn promised(target: &dyn Target, ty: &TypeSpec, values: &[Datum]) -> Vec<Datum> {
    values.iter().enumerate().map(|(at, value)| target.normalise(ty, at, value.clone())).collect()
}

async fn who_and_what<S: System>(system: &S) {
    let target = system.open();
    assert_eq!(target.identity(), system.open().identity(), "a target keeps its identity");
    target.check(&[people(), links()]).await.unwrap();
    assert!(read(&system.open(), &people()).await.is_empty(), "a check writes nothing");
}

async fn a_missing_type_is_complete_and_empty<S: System>(system: &S) {
    assert!(read(&system.open(), &people()).await.is_empty());
}

async fn created_records_read_back_as_promised<S: System>(system: &S) {
    let (ty, target) = (people(), system.open());
    let all = [person(1, "Adele Vance", &["VPN", "All Staff"]), person(2, "Alex Wilber", &[])];
    let outcomes = write(&target, &ty, &[create(&ty, &all[0]), create(&ty, &all[1])]).await;
    let records = read(&system.open(), &ty).await;
    assert_eq!(records.len(), 2);
    for (values, outcome) in all.iter().zip(&outcomes) {
        let Outcome::Done { target_id, read_back } = outcome else { panic!("{outcome:?}") };
        assert_eq!(records[target_id], promised(&target, &ty, values), "what is read is what normalise promised");
        let back: Vec<Datum> = read_back.iter().map(|(_, value)| value.clone()).collect();
        assert_eq!(back, records[target_id], "what is reported is what is read");
        assert_eq!(promised(&target, &ty, &back), back, "a value that was read keeps its form");
    }
}

async fn links_are_keyed_by_both_ends<S: System>(system: &S) {
    let ty = links();
    let target = system.open();
    // References are what the target calls the records they lead to.
    let all: Vec<Change> = (1..=3).map(|n| create(&people(), &person(n, "Adele Vance", &[]))).collect();
    let called = write(&target, &people(), &all).await;
    let end = |n: usize| Datum::text(done(&called[n - 1]));
    let pairs = [(1, 2), (1, 3), (2, 3)].map(|(a, b)| vec![end(a), end(b)]);
    let outcomes = write(&target, &ty, &pairs.iter().map(|pair| create(&ty, pair)).collect::<Vec<_>>()).await;
    write(&target, &ty, &[change(&ty, Action::Delete, Some(done(&outcomes[1])), &[])]).await;
    let left: Vec<_> = read(&system.open(), &ty).await.into_values().collect();
    assert!(left.len() == 2 && left.contains(&pairs[0]) && left.contains(&pairs[2]), "{left:?}");
}

async fn awkward_texts_survive<S: System>(system: &S) {
    let (ty, target) = (people(), system.open());
    let long = "ж".repeat(10_000);
    let texts = [
        "a \"quoted\" name",
        "two\nlines",
        "two\r\nlines",
        "comma, semicolon; tab\t",
        "Łódź 東京 🙂",
        "=1+1",
        "+47 12 34",
        "-5",
        "@SUM(A1)",
        "'apostrophe",
        "''two",
        " leading",
        "trailing ",
        "\ttab",
        "null",
        "a\0b",
        "\u{FEFF}mark",
        "＝1",
        "<b>&amp;</b>",
        "\\n",
        &long,
    ];
    let mut changes = Vec::new();
    for (n, text) in (0..).zip(texts) {
        let set = Datum::set([text.to_string(), format!("{text};x"), "; ".to_string()]);
        changes.push(create(&ty, &[Datum::text(id(n)), Datum::text(text), Datum::Empty, set]));
    }
    let outcomes = write(&target, &ty, &changes).await;
    let records = read(&system.open(), &ty).await;
    for (change, outcome) in changes.iter().zip(&outcomes) {
        let values: Vec<Datum> = change.attributes.iter().map(|attribute| attribute.after.clone()).collect();
        assert_eq!(records[done(outcome)], promised(&target, &ty, &values));
    }
    // Line breaks count as equal, whichever way a system writes them.
    let lines = |text: &str| target.normalise(&ty, 1, Datum::text(text));
    assert_eq!(records[done(&outcomes[1])][1], lines("two\nlines"));
}

async fn updates_touch_only_what_they_name<S: System>(system: &S) {
    let (ty, target) = (people(), system.open());
    let all = [person(1, "Adele Vance", &["VPN"]), person(2, "Alex Wilber", &["VPN"])];
    let ids = write(&target, &ty, &[create(&ty, &all[0]), create(&ty, &all[1])]).await;
    let written = [("Name", Datum::text("Adele Smith")), ("Email", Datum::Empty)];
    let outcome = write(&target, &ty, &[change(&ty, Action::Update, Some(done(&ids[0])), &written)]).await;
    assert_eq!(done(&outcome[0]), done(&ids[0]), "a record keeps its name");
    let records = read(&system.open(), &ty).await;
    let expected = [Datum::text(id(1)), Datum::text("Adele Smith"), Datum::Empty, Datum::set(["VPN"])];
    assert_eq!(records[done(&ids[0])], promised(&target, &ty, &expected));
    assert_eq!(records[done(&ids[1])], promised(&target, &ty, &all[1]), "the other record is as it was");
}

async fn every_action_that_writes_attributes_does<S: System>(system: &S) {
    let ty = people();
    system
        .add_by_hand(&ty, vec![Datum::Empty, Datum::text("Adele"), Datum::text("a@contoso.com"), Datum::set(["VPN"])]);
    let target = system.open();
    let there = read(&target, &ty).await.into_keys().next().unwrap();
    // Adopting by e-mail writes the key: the record may be called something else from then on.
    let key = [("Entra ID", Datum::text(id(1)))];
    let mut called = done(&write(&target, &ty, &[change(&ty, Action::Adopt, Some(&there), &key)]).await[0]).to_string();
    for action in [Action::Adopt, Action::Update, Action::Retire, Action::Return] {
        let written = [("Name", Datum::text(action.word()))];
        let outcomes = write(&target, &ty, &[change(&ty, action, Some(&called), &written)]).await;
        called = done(&outcomes[0]).to_string();
        let records = read(&system.open(), &ty).await;
        assert_eq!(records.len(), 1);
        assert_eq!(records[&called][..2], promised(&target, &ty, &[Datum::text(id(1)), Datum::text(action.word())]));
    }
    for action in [Action::Settle, Action::Forget] {
        let before = read(&target, &ty).await;
        let outcomes = write(&target, &ty, &[change(&ty, action, Some(&called), &[("Name", Datum::Empty)])]).await;
        assert_eq!(done(&outcomes[0]), called);
        assert_eq!(read(&system.open(), &ty).await, before, "{action:?} is the ledger's business alone");
    }
}

async fn sets_change_as_wholes<S: System>(system: &S) {
    let (ty, target) = (people(), system.open());
    let outcomes = write(&target, &ty, &[create(&ty, &person(1, "Adele Vance", &["b", "a", "c; d"]))]).await;
    let called = done(&outcomes[0]).to_string();
    assert_eq!(read(&target, &ty).await[&called][3], Datum::set(["a", "b", "c; d"]), "sorted, as a set");
    for set in [Datum::set(["a", "z;"]), Datum::Set(Set::default()), Datum::set(["new"])] {
        write(&target, &ty, &[change(&ty, Action::Update, Some(&called), &[("Groups", set.clone())])]).await;
        assert_eq!(read(&system.open(), &ty).await[&called][3], target.normalise(&ty, 3, set));
    }
}

async fn deleted_records_are_gone<S: System>(system: &S) {
    let (ty, target) = (people(), system.open());
    let all: Vec<Change> = (1..=3).map(|n| create(&ty, &person(n, "Adele Vance", &[]))).collect();
    let ids = write(&target, &ty, &all).await;
    let outcomes = write(&target, &ty, &[change(&ty, Action::Delete, Some(done(&ids[1])), &[])]).await;
    assert_eq!(done(&outcomes[0]), done(&ids[1]));
    let left: Vec<String> = read(&system.open(), &ty).await.into_keys().collect();
    assert_eq!(left, {
        let mut expected = vec![done(&ids[0]).to_string(), done(&ids[2]).to_string()];
        expected.sort();
        expected
    });
}

async fn records_with_one_key_are_reported_each<S: System>(system: &S) {
    let ty = people();
    if system.open().capabilities().unique_keys {
        return;
    }
    for name in ["Adele Vance", "Adele V."] {
        system.add_by_hand(&ty, person(1, name, &[]));
    }
    let target = system.open();
    let records = read(&target, &ty).await;
    assert_eq!(records.len(), 2, "the plan must see the collision");
    let (called, _) = records.iter().find(|(_, values)| values[1] == Datum::text("Adele V.")).unwrap();
    write(&target, &ty, &[change(&ty, Action::Update, Some(called), &[("Email", Datum::text("v@contoso.com"))])]).await;
    let after = read(&system.open(), &ty).await;
    let changed: Vec<_> = after.values().filter(|values| values[2] == Datum::text("v@contoso.com")).collect();
    assert!(changed.len() == 1 && changed[0][1] == Datum::text("Adele V."), "{after:?}");
}

async fn a_bad_change_does_not_stop_the_others<S: System>(system: &S) {
    let (ty, target) = (people(), system.open());
    let mut unknown = person(1, "Adele Vance", &[]);
    unknown[1] = Datum::Unknown(Unknown::new("may not be seen"));
    let mut other_values = person(2, "Someone Else", &[]);
    other_values[2] = Datum::Empty;
    let changes = [
        create(&ty, &unknown),
        create(&ty, &person(2, "Alex Wilber", &[])),
        create(&ty, &other_values),
        change(&ty, Action::Update, Some("nobody"), &[("Name", Datum::text("Nobody"))]),
        change(&ty, Action::Update, None, &[("Shoe size", Datum::text("42"))]),
        create(&ty, &person(3, "Diego Siciliani", &[])),
    ];
    let outcomes = write(&target, &ty, &changes).await;
    let fine: Vec<bool> = outcomes.iter().map(|outcome| matches!(outcome, Outcome::Done { .. })).collect();
    assert_eq!(fine, [false, true, false, false, false, true], "{outcomes:?}");
    for outcome in outcomes {
        assert!(!matches!(&outcome, Outcome::Rejected { reason } if reason.is_empty()), "a rejection says why");
    }
    assert_eq!(read(&system.open(), &ty).await.len(), 2);
}

async fn outcomes_come_one_for_each<S: System>(system: &S) {
    let (ty, target) = (people(), system.open());
    let ids = write(&target, &ty, &[create(&ty, &person(9, "Adele Vance", &[]))]).await;
    let changes = [
        create(&ty, &person(3, "Diego Siciliani", &[])),
        change(&ty, Action::Delete, Some(done(&ids[0])), &[]),
        change(&ty, Action::Settle, Some("of the ledger"), &[]),
        create(&ty, &person(1, "Alex Wilber", &[])),
    ];
    // The helper compares each change with its place.
    let outcomes = write(&target, &ty, &changes).await;
    assert_eq!(done(&outcomes[2]), "of the ledger");
    assert_ne!(done(&outcomes[0]), done(&outcomes[3]));
}

async fn nothing_is_visible_before_commit<S: System>(system: &S) {
    let (ty, target) = (people(), system.open());
    let Some(batches) = batches(&target) else { return };
    let (mark, outcomes) = stage(batches, &ty, &[create(&ty, &person(1, "Adele Vance", &[]))]).await.unwrap();
    assert!(read(&system.open(), &ty).await.is_empty());
    batches.commit(&mark).await.unwrap();
    assert!(read(&system.open(), &ty).await.contains_key(done(&outcomes[0])));
    batches.commit(&mark).await.expect("a second commit does nothing");
}

async fn the_same_plan_twice_changes_nothing<S: System>(system: &S) {
    let (ty, target) = (people(), system.open());
    let ids = write(&target, &ty, &[1, 2].map(|n| create(&ty, &person(n, "Adele Vance", &["VPN"])))).await;
    let plan = [
        create(&ty, &person(3, "=Diego", &["a;b"])),
        change(&ty, Action::Update, Some(done(&ids[0])), &[("Name", Datum::text("two\r\nlines"))]),
        change(&ty, Action::Delete, Some(done(&ids[1])), &[]),
    ];
    let first = write(&target, &ty, &plan).await;
    let records = read(&target, &ty).await;
    match batches(&target) {
        Some(batches) => {
            let (mark, second) = stage(batches, &ty, &plan).await.unwrap();
            assert_eq!(second, first);
            assert_eq!(mark.before, Some(mark.after.clone()));
            batches.commit(&mark).await.unwrap();
        }
        None => {
            let second = write(&target, &ty, &plan).await;
            assert!(matches!(second[0], Outcome::Rejected { .. }), "a key that is there is never doubled: {second:?}");
            assert_eq!(second[1..], first[1..]);
        }
    }
    assert_eq!(read(&system.open(), &ty).await, records);
}

async fn interrupted_batches_are_told_apart<S: System>(system: &S) {
    let ty = people();
    if batches(&system.open()).is_none() {
        return;
    }
    let settle = async |mark: &BatchMark| batches(&system.open()).unwrap().settle(mark).await.unwrap();
    for n in [1, 2] {
        let plan = [create(&ty, &person(n, "Adele Vance", &[]))];
        let before = read(&system.open(), &ty).await;
        // Killed between staging and commit: nothing happened, however often that is asked.
        let (mark, _) = stage(batches(&system.open()).unwrap(), &ty, &plan).await.unwrap();
        for _ in 0..2 {
            assert_eq!(settle(&mark).await, Interrupted::Discarded);
        }
        assert_eq!(read(&system.open(), &ty).await, before);
        // Killed between commit and the ledger.
        let target = system.open();
        let (mark, _) = stage(batches(&target).unwrap(), &ty, &plan).await.unwrap();
        batches(&target).unwrap().commit(&mark).await.unwrap();
        assert_eq!(settle(&mark).await, Interrupted::Committed);
        // And then someone else was there.
        system.add_by_hand(&ty, person(n + 10, "Alex Wilber", &[]));
        assert_eq!(settle(&mark).await, Interrupted::Neither);
        assert_eq!(read(&system.open(), &ty).await.len(), before.len() + 2);
    }
}

async fn a_failing_plan_leaves_the_old_state<S: System>(system: &S) {
    let (ty, target) = (people(), system.open());
    let Some(batches) = batches(&target) else { return };
    write(&target, &ty, &[create(&ty, &person(1, "Adele Vance", &[]))]).await;
    let before = read(&target, &ty).await;
    let plan = || create(&ty, &person(2, "Alex Wilber", &[]));
    let mut broken = [Ok(plan()), Err(Error::failed("the plan's file is gone"))].into_iter();
    assert_eq!(
        batches.stage(&ty, &mut broken, &mut |_, _, _| Ok(())).await.unwrap_err().what,
        "the plan's file is gone"
    );
    let mut full = |_: u32, _: &Change, _: Outcome| Err(Error::failed("the ledger is full"));
    assert_eq!(
        batches.stage(&ty, &mut [Ok(plan())].into_iter(), &mut full).await.unwrap_err().what,
        "the ledger is full"
    );
    assert_eq!(read(&system.open(), &ty).await, before);
    assert_eq!(write(&target, &ty, &[plan()]).await.len(), 1, "the next run is not disturbed");
}

async fn what_changed_since_the_read_is_not_written_over<S: System>(system: &S) {
    let (ty, target) = (people(), system.open());
    let Some(batches) = batches(&target) else { return };
    write(&target, &ty, &[create(&ty, &person(1, "Adele Vance", &[]))]).await;
    read(&target, &ty).await;
    system.add_by_hand(&ty, person(2, "Alex Wilber", &[]));
    let plan = [create(&ty, &person(3, "Diego Siciliani", &[]))];
    assert_eq!(stage(batches, &ty, &plan).await.unwrap_err().exit, Exit::Stale);
    read(&target, &ty).await;
    let (mark, _) = stage(batches, &ty, &plan).await.unwrap();
    system.add_by_hand(&ty, person(4, "Megan Bowen", &[]));
    assert_eq!(batches.commit(&mark).await.unwrap_err().exit, Exit::Stale);
    assert_eq!(read(&system.open(), &ty).await.len(), 3, "what people did is still there");
}

async fn records_are_looked_up_by_id_and_by_key<S: System>(system: &S) {
    let (ty, target) = (people(), system.open());
    let Writes::Records(records) = target.writes() else { return };
    let adele = create(&ty, &person(1, "Adele Vance", &["VPN"]));
    assert_eq!(records.look_up(&ty, &adele).await.unwrap(), []);
    let outcomes = write(&target, &ty, &[adele.clone(), create(&ty, &person(2, "Alex Wilber", &[]))]).await;
    let expected = read(&system.open(), &ty).await[done(&outcomes[0])].clone();
    let by_id = change(&ty, Action::Update, Some(done(&outcomes[0])), &[]);
    for asked in [&adele, &by_id] {
        let found = records.look_up(&ty, asked).await.unwrap();
        assert_eq!(found, [Current { id: done(&outcomes[0]).to_string(), values: expected.clone() }]);
    }
    write(&target, &ty, &[change(&ty, Action::Delete, Some(done(&outcomes[0])), &[])]).await;
    for asked in [&adele, &by_id] {
        assert_eq!(records.look_up(&ty, asked).await.unwrap(), [], "what is gone is not found");
    }
}
