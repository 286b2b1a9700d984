//! Each limit at its edge: what is allowed goes through, one more is held, and only what was approved passes.

use super::*;
use crate::plan::ApprovedRecord;
use crate::plan::change::Cause;
use crate::record::Guid;
use jiff::Timestamp;

fn key(n: u64) -> Key {
    let mut bytes = [0; 16];
    bytes[8..].copy_from_slice(&n.to_be_bytes());
    Key::Guid(Guid(bytes))
}

fn change(action: Action, n: u64, cause: Option<CauseKind>) -> Change {
    Change {
        action,
        ty: "User".into(),
        key: key(n),
        label: String::new(),
        based_on: None,
        target_id: None,
        cause: cause.map(|kind| Cause { kind, words: String::new() }),
        attributes: vec![super::super::change::AttributeChange {
            name: "Name".into(),
            after: super::super::datum::Datum::text("x"),
            ..Default::default()
        }],
        ledger: None,
    }
}

/// The limits that hold the run.
fn held(checks: &[LimitCheck]) -> Vec<LimitName> {
    let mut held: Vec<LimitName> = checks.iter().filter(|check| check.held).map(|check| check.limit).collect();
    held.dedup();
    held
}

struct World {
    owned: u64,
    there: u64,
    links: bool,
}

impl World {
    /// The limits that hold `n` changes of that action, with an approval of the first `approved` of them.
    fn held(&self, action: Action, n: u64, approved: Option<(LimitName, u64)>) -> Vec<LimitName> {
        let cause = matches!(action, Action::Retire | Action::Delete | Action::Forget).then_some(CauseKind::Gone);
        // What an edited filter leads to has no cause of its own yet when it is approved.
        let shown = |limit| if limit == LimitName::FilterEdit { None } else { cause };
        let approval = approved.map(|(limit, n)| approval(limit, (0..n).map(|n| (key(n), shown(limit))).collect()));
        let approved = Approved::new(approval.as_ref());
        let mut tally = Tally::default();
        (0..n).for_each(|n| tally.add(&change(action, n, cause), self.links, &approved));
        let ty = TypeBase {
            name: "User",
            links: self.links,
            first: self.owned == 0,
            job_ran: true,
            owned: self.owned,
            owned_there: self.owned,
            there: self.there,
            entra_ids: 0,
            edited: 0,
            complete: true,
            tally: &tally,
        };
        held(&check(&Limits::default(), &[ty], &[], &approved))
    }
}

fn approval(limit: LimitName, records: Vec<(Key, Option<CauseKind>)>) -> Approval {
    let shown = (limit == LimitName::OneAttribute).then(|| "Name".to_string());
    let record = |(key, cause)| ApprovedRecord { ty: "User".into(), key, cause, shown: shown.clone() };
    Approval {
        limit,
        plan: "3fa9c1d2".into(),
        at: Timestamp::UNIX_EPOCH,
        by: "uid 0".into(),
        records: records.into_iter().map(record).collect(),
        undoes: false,
        scope: None,
    }
}

#[test]
fn each_verb_is_held_just_beyond_its_share() {
    let large = World { owned: 10_000, there: 10_000, links: false };
    let links = World { links: true, ..large };
    for (world, action, allowed, limit) in [
        (&large, Action::Delete, 1_000, LimitName::Retires),
        (&large, Action::Retire, 1_000, LimitName::Retires),
        (&large, Action::Forget, 1_000, LimitName::Retires),
        (&links, Action::Delete, 2_000, LimitName::LinksRemoved),
        (&large, Action::Adopt, 1_000, LimitName::Adopts),
        (&large, Action::Create, 5_000, LimitName::Creates),
        (&large, Action::Update, 5_000, LimitName::Updates),
    ] {
        assert_eq!(world.held(action, allowed, None), [], "{action:?}");
        assert!(world.held(action, allowed + 1, None).contains(&limit), "{action:?}");
    }
    assert!(large.held(Action::Update, 5_001, None).contains(&LimitName::OneAttribute));
}

#[test]
fn the_floor_loosens_small_bases_but_never_lets_more_than_half_leave() {
    let small = |owned| World { owned, there: owned, links: false };
    assert_eq!(small(40).held(Action::Delete, 10, None), []);
    assert_eq!(small(40).held(Action::Delete, 11, None), [LimitName::Retires]);
    assert_eq!(small(6).held(Action::Delete, 3, None), []);
    assert_eq!(small(6).held(Action::Delete, 4, None), [LimitName::Retires]);
    assert_eq!(small(1).held(Action::Delete, 1, None), [LimitName::Retires]);
}

#[test]
fn a_first_run_waits_before_it_takes_over_what_is_there() {
    let empty = World { owned: 0, there: 0, links: false };
    assert_eq!(empty.held(Action::Create, 50_000, None), []);
    let full = World { owned: 0, there: 300, links: false };
    assert_eq!(full.held(Action::Adopt, 1, None), [LimitName::FirstRun]);
    assert_eq!(full.held(Action::Adopt, 300, Some((LimitName::FirstRun, 300))), []);
    assert_eq!(full.held(Action::Create, 150, None), []);
    assert_eq!(full.held(Action::Create, 151, None), [LimitName::Creates]);
}

#[test]
fn an_approval_covers_its_records_and_an_excess_within_the_limit() {
    let world = World { owned: 1_000, there: 1_000, links: false };
    assert_eq!(world.held(Action::Delete, 300, Some((LimitName::Retires, 300))), []);
    assert_eq!(world.held(Action::Delete, 300, Some((LimitName::Retires, 200))), []);
    assert_eq!(world.held(Action::Delete, 301, Some((LimitName::Retires, 200))), [LimitName::Retires]);
    assert_eq!(world.held(Action::Delete, 300, Some((LimitName::Creates, 300))), [LimitName::Retires]);
    assert_eq!(world.held(Action::Delete, 300, Some((LimitName::FilterEdit, 300))), []);
}

#[test]
fn a_removal_is_approved_for_the_cause_that_was_shown() {
    let shown = approval(LimitName::Retires, vec![(key(1), Some(CauseKind::Out))]);
    let approved = Approved::new([&shown]);
    assert!(approved.contains(LimitName::Retires, "User", &key(1), Some(CauseKind::Out)));
    assert!(!approved.contains(LimitName::Retires, "User", &key(1), Some(CauseKind::Gone)));
    assert!(!approved.contains(LimitName::Retires, "Group", &key(1), Some(CauseKind::Out)));
}

fn collection(before: u64, now: Option<u64>, approved: &Approved) -> Vec<(LimitName, bool)> {
    let base = CollectionBase { collection: Collection::Users, now, before: Some(before) };
    let checks = check(&Limits::default(), &[], &[base], approved);
    checks.into_iter().map(|check| (check.limit, check.held)).collect()
}

#[test]
fn an_empty_or_shrunken_collection_holds_without_any_floor_where_it_is_empty() {
    let none = Approved::default();
    assert_eq!(collection(1, Some(0), &none), [(LimitName::EmptyCollection, true)]);
    assert_eq!(collection(1_000, Some(800), &none), []);
    assert_eq!(collection(1_000, Some(799), &none), [(LimitName::Shrink, true)]);
    assert_eq!(collection(30, Some(10), &none), []);
    assert_eq!(collection(30, Some(9), &none), [(LimitName::Shrink, true)]);
    assert_eq!(collection(1_000, None, &none), [], "what was not read whole says nothing");
    let mut seen = approval(LimitName::Shrink, vec![(state_key(799), None)]);
    seen.records[0].ty = "users".into();
    assert_eq!(collection(1_000, Some(799), &Approved::new([&seen])), [(LimitName::Shrink, false)]);
    assert_eq!(collection(1_000, Some(700), &Approved::new([&seen])), [(LimitName::Shrink, true)]);
}

#[test]
fn a_target_that_was_emptied_holds() {
    let tally = Tally::default();
    let ty = |owned_there| TypeBase {
        name: "User",
        links: false,
        first: false,
        job_ran: true,
        owned: 10,
        owned_there,
        there: owned_there,
        entra_ids: 0,
        edited: 0,
        complete: true,
        tally: &tally,
    };
    let limits = |owned_there| held(&check(&Limits::default(), &[ty(owned_there)], &[], &Approved::default()));
    assert!(limits(8).is_empty());
    assert_eq!(limits(7), [LimitName::TargetEmptied]);
}

#[test]
fn types_add_up_over_the_whole_run() {
    let mut tally = Tally::default();
    (0..9).for_each(|n| tally.add(&change(Action::Delete, n, Some(CauseKind::Gone)), false, &Approved::default()));
    let ty = |name| TypeBase {
        name,
        links: false,
        first: false,
        job_ran: true,
        owned: 30,
        owned_there: 30,
        there: 30,
        entra_ids: 0,
        edited: 0,
        complete: true,
        tally: &tally,
    };
    let checks = check(&Limits::default(), &[ty("User"), ty("Group")], &[], &Approved::default());
    let on: Vec<&str> = checks.iter().filter(|check| check.held).map(|check| check.on.as_str()).collect();
    assert_eq!(on, ["run"]);
}

#[test]
fn elements_are_approved_as_they_were_shown() {
    let without = |kept: &[&str]| {
        let mut change = change(Action::Update, 1, None);
        change.attributes[0].before = super::super::datum::Datum::set(["a", "b", "c"]);
        change.attributes[0].after = super::super::datum::Datum::set(kept.iter().copied());
        change
    };
    let shown = counted(&without(&["a", "b"]), false);
    let shown = shown.iter().find(|counted| counted.limit == LimitName::LinksRemoved).unwrap();
    let mut seen = approval(LimitName::LinksRemoved, vec![(key(1), None)]);
    seen.records[0].shown.clone_from(&shown.shown);
    let approved = Approved::new([&seen]);
    let count = |change: &Change| {
        let mut tally = Tally::default();
        tally.add(change, false, &approved);
        tally.counts[&LimitName::LinksRemoved]
    };
    assert_eq!(count(&without(&["a", "b"])), (1, 1));
    assert_eq!(count(&without(&["a"])), (2, 0), "more than was shown is not approved");
    assert_eq!(count(&without(&["b", "c"])), (1, 0), "nor is another element");
}
