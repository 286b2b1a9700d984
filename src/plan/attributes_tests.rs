//! The table of attributes, enumerated: every combination of a, c, d and d' under every policy.

use proptest::prelude::*;

use super::*;

const WRITES: [Write; 4] = [Write::Always, Write::UnlessEdited, Write::IfEmpty, Write::OnCreate];

/// The table as it stands in ARCHITECTURE.md; columns as in `WRITES`.
const TABLE: [(&str, [&str; 4]); 10] = [
    ("d empty and to be kept", ["keep", "keep", "keep", "keep"]),
    ("c = d", ["settle", "settle", "settle", "settle"]),
    ("nothing changed", ["keep", "keep", "keep", "keep"]),
    ("source changed, c empty", ["write", "write", "write", "keep"]),
    ("source changed", ["write", "write", "keep", "keep"]),
    ("target changed", ["write back", "tell ChangedInTarget", "keep", "keep"]),
    ("both changed", ["write", "tell Conflict", "keep", "keep"]),
    ("both changed, source wins", ["write", "write", "keep", "keep"]),
    ("unknown a and d', c empty", ["write", "write", "write", "keep"]),
    ("unknown a and d'", ["write", "tell DiffersSinceAdoption", "keep", "keep"]),
];

fn row(a: Option<(&Datum, &Datum)>, c: &Datum, d: &Datum, policy: AttributePolicy) -> &'static str {
    if c == d {
        return "c = d";
    }
    if d.is_empty() && policy.empty == Empty::Keep {
        return "d empty and to be kept";
    }
    let Some((a, s)) = a else {
        return match (c.is_empty(), policy.on_adopt) {
            (true, _) => "unknown a and d', c empty",
            (false, Side::Target) => "unknown a and d'",
            // The source wins at adoption: for unless-edited as if the target were empty, for if-empty not.
            (false, Side::Source) if policy.write == Write::IfEmpty => "unknown a and d'",
            (false, Side::Source) => "unknown a and d', c empty",
        };
    };
    match (d != s, c != a) {
        (false, false) => "nothing changed",
        (true, false) if c.is_empty() => "source changed, c empty",
        (true, false) => "source changed",
        (false, true) => "target changed",
        (true, true) if policy.on_conflict == Side::Source => "both changed, source wins",
        (true, true) => "both changed",
    }
}

fn outcome(verdict: &Verdict, d: &Datum, held: Option<&Held>) -> String {
    let settled = verdict.held.as_ref().is_some_and(|after| after.settled == *d && after.applied == *d);
    match (&verdict.write, verdict.left_alone) {
        (Some(written), None) => {
            assert_eq!(written, d);
            assert!(settled, "what is written is settled");
            if verdict.cause.is_some() { "write back".into() } else { "write".into() }
        }
        (None, Some(kind)) => {
            assert_eq!(verdict.held.as_ref(), held, "what is left alone is not settled");
            format!("tell {kind:?}")
        }
        (None, None) if verdict.held.as_ref() == held && !(held.is_none() && settled) => {
            if settled { "settle" } else { "keep" }.into()
        }
        (None, None) => {
            assert!(settled);
            "settle".into()
        }
        both => panic!("written and left alone: {both:?}"),
    }
}

fn policies() -> impl Iterator<Item = AttributePolicy> {
    WRITES.into_iter().flat_map(|write| {
        [Side::Source, Side::Target].into_iter().flat_map(move |on_adopt| {
            [Side::Source, Side::Target].into_iter().flat_map(move |on_conflict| {
                [Empty::Clear, Empty::Keep].map(|empty| AttributePolicy { write, empty, on_adopt, on_conflict })
            })
        })
    })
}

#[test]
fn every_combination_of_values_follows_the_table() {
    let values = ["", "x", "y", "z"].map(Datum::text);
    let mut rows_seen = std::collections::BTreeSet::new();
    for policy in policies() {
        for c in &values {
            for d in &values {
                let known = values.iter().flat_map(|a| values.iter().map(move |s| Some((a, s))));
                for a in known.chain([None]) {
                    let held = a.map(|(a, s)| Held { applied: a.clone(), settled: s.clone() });
                    let verdict = compare(policy, d, c, held.as_ref());
                    let row = row(a, c, d, policy);
                    let column = WRITES.iter().position(|write| *write == policy.write).unwrap();
                    let expected = TABLE.iter().find(|(name, _)| *name == row).unwrap().1[column];
                    let got = outcome(&verdict, d, held.as_ref());
                    // "keep" and "settle" look alike where the ledger already says so.
                    let same = got == expected || (verdict.held == held && expected == "keep" && got == "settle");
                    assert!(same, "{row}: a,d'={a:?} c={c} d={d} {policy:?}: expected {expected}, got {got}");
                    rows_seen.insert(row);
                }
            }
        }
    }
    assert_eq!(rows_seen.len(), TABLE.len(), "every row was reached");
}

#[test]
fn unknown_is_never_written_and_never_settled() {
    let unknown = Datum::Unknown(crate::record::Unknown::new("no right"));
    for policy in policies() {
        for held in [None, Some(Held { applied: Datum::text("x"), settled: Datum::text("y") })] {
            for c in [Datum::Empty, Datum::text("x")] {
                let verdict = compare(policy, &unknown, &c, held.as_ref());
                assert_eq!(verdict, Verdict { held: held.clone(), ..Verdict::default() });
            }
        }
    }
    assert_eq!(create(&unknown), Verdict::default());
}

#[test]
fn an_empty_value_is_skipped_where_the_mapping_keeps() {
    let policy = AttributePolicy { empty: Empty::Keep, write: Write::Always, ..AttributePolicy::default() };
    let held = Held { applied: Datum::text("x"), settled: Datum::text("x") };
    let verdict = compare(policy, &Datum::Empty, &Datum::text("x"), Some(&held));
    assert_eq!(verdict, Verdict { held: Some(held), ..Verdict::default() });
}

fn set_of(bits: u8) -> Datum {
    Datum::set(["a", "b", "c"].iter().enumerate().filter(|(bit, _)| bits >> bit & 1 == 1).map(|(_, name)| *name))
}

fn has(datum: &Datum, name: &str) -> bool {
    matches!(datum, Datum::Set(set) if set.items.iter().any(|item| **item == *name))
}

#[test]
fn sets_follow_the_table_element_by_element() {
    for policy in policies() {
        for bits in 0..1u32 << 12 {
            let part = |shift: u32| set_of((bits >> shift & 7) as u8);
            let (a, s, c, d) = (part(0), part(3), part(6), part(9));
            let held = Held { applied: a.clone(), settled: s.clone() };
            let verdict = compare(policy, &d, &c, Some(&held));
            let after = verdict.write.clone().unwrap_or_else(|| c.clone());
            for name in ["a", "b", "c"] {
                let relation = Relation {
                    equal: has(&c, name) == has(&d, name),
                    since: Some(Since {
                        source_changed: has(&d, name) != has(&s, name),
                        target_changed: has(&c, name) != has(&a, name),
                    }),
                    current_empty: !has(&c, name),
                };
                let keeps = policy.empty == Empty::Keep && d.is_empty();
                let expected = match fate(policy, relation) {
                    _ if keeps => has(&c, name),
                    Fate::Write | Fate::WriteBack => has(&d, name),
                    _ => has(&c, name),
                };
                assert_eq!(has(&after, name), expected, "{name}: a={a} d'={s} c={c} d={d} {policy:?}");
            }
        }
    }
}

#[test]
fn elements_found_at_adoption_stay_even_under_always() {
    for policy in policies() {
        let verdict = compare(policy, &set_of(0b001), &set_of(0b110), None);
        let after = verdict.write.clone().unwrap_or_else(|| set_of(0b110));
        assert!(has(&after, "b") && has(&after, "c"), "{policy:?}");
        let again = compare(policy, &set_of(0b001), &after, verdict.held.as_ref());
        assert_eq!(again.write, None, "{policy:?}");
    }
}

#[test]
fn one_partial_group_makes_only_its_own_element_unknown() {
    let policy = AttributePolicy { write: Write::Always, ..AttributePolicy::default() };
    let held = Held { applied: set_of(0b111), settled: set_of(0b111) };
    // "a" is certain, "b" is doubtful, "c" is certainly gone.
    let desired = Datum::Set(Set::new(vec!["a".into()], vec!["b".into()], None));
    let verdict = compare(policy, &desired, &set_of(0b111), Some(&held));
    assert_eq!(verdict.write, Some(set_of(0b011)));
    assert_eq!(verdict.elements_removed, 1);
    assert_eq!(verdict.held, Some(Held { applied: set_of(0b011), settled: set_of(0b011) }));
    // Where nobody can name what is missing, nothing is taken out.
    let desired = Datum::Set(Set::new(vec!["a".into()], vec![], Some(crate::record::Unknown::new("page 3 failed"))));
    assert_eq!(compare(policy, &desired, &set_of(0b111), Some(&held)).write, None);
}

fn any_datum() -> impl Strategy<Value = Datum> {
    prop_oneof![
        Just(Datum::Empty),
        "[xyz]".prop_map(Datum::text),
        (0u8..8).prop_map(set_of),
        Just(Datum::Unknown(crate::record::Unknown::new("?"))),
    ]
}

proptest! {
    /// Whatever stood before: once written, the next run writes nothing (rule 5), and what was not known took nothing.
    #[test]
    fn a_second_run_writes_nothing(
        desired in any_datum(), current in any_datum(), applied in any_datum(), settled in any_datum(),
        has_held in any::<bool>(), which in 0usize..32,
    ) {
        let policy = policies().nth(which).unwrap();
        let held = (has_held && applied.is_known() && settled.is_known())
            .then_some(Held { applied, settled });
        prop_assume!(current.is_known());
        let first = compare(policy, &desired, &current, held.as_ref());
        let after = first.write.clone().unwrap_or_else(|| current.clone());
        let second = compare(policy, &desired, &after, first.held.as_ref());
        prop_assert_eq!(&second.write, &None);
        prop_assert_eq!(&second.held, &first.held);
        if let Some(held) = &first.held {
            prop_assert!(held.applied.is_known() && held.settled.is_known());
        }
    }
}
