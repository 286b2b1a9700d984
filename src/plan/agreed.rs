//! Whether source, target and ledger agree on a record, seen from the lines they are stored as.
//!
//! Nearly every record of nearly every night is like that, and to read twenty values three times only to find them
//! equal would be most of the work of a plan. Equal bytes are equal values. Deliberately judges nothing else: where the
//! lines differ, or hold what is not known, [`super::decide`] sees the record in full.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::change::Row;
use super::decide::TypePolicy;
use crate::error::{Error, Result};

/// A row of the ledger that need not be read in full.
pub trait StoredRow {
    fn read(&self) -> Result<Row>;

    /// What can be compared as it is stored; `None` where the row says more than this.
    fn settled(&self) -> Option<SettledRow<'_>>;
}

/// A row that is simply ours: owned or pinned, and never missed.
#[derive(Clone, Copy, Debug)]
pub struct SettledRow<'r> {
    pub mapping: &'r str,
    pub target_id: &'r str,
    /// [`Row::values`] as compact JSON.
    pub values: &'r str,
}

/// A [`super::decide::Desired`] as it lies on disk.
#[derive(Deserialize)]
struct DesiredLine<'l> {
    mapping: usize,
    #[serde(borrow)]
    values: Vec<&'l RawValue>,
}

/// A [`super::change::Current`] as it lies on disk.
#[derive(Deserialize)]
struct CurrentLine<'l> {
    #[serde(borrow)]
    id: Cow<'l, str>,
    #[serde(borrow)]
    values: Vec<&'l RawValue>,
}

/// How the lines of a type's records compare.
pub struct Agreement<'p> {
    policy: &'p TypePolicy,
    /// The attributes by name, as the ledger has them: where each stands in the lines, and `"name":`.
    names: Vec<(usize, String)>,
}

impl<'p> Agreement<'p> {
    pub fn of(policy: &'p TypePolicy) -> Result<Agreement<'p>> {
        let mut attributes: Vec<_> = policy.spec.attributes.iter().enumerate().collect();
        attributes.sort_by(|(_, a), (_, b)| a.name.cmp(&b.name));
        let name = |(at, attribute): (usize, &super::change::AttributeSpec)| {
            let name = serde_json::to_string(&attribute.name);
            name.map(|name| (at, name + ":"))
                .map_err(|cause| Error::failed("cannot write a name as JSON").because(cause))
        };
        Ok(Agreement { policy, names: attributes.into_iter().map(name).collect::<Result<_>>()? })
    }

    /// Whether all three sides certainly agree; false says nothing. `refer` turns the value of an attribute that holds
    /// references, as the source has it, into what the target holds; `None` where that is not plain.
    pub fn is_seen(
        &self,
        desired: &[u8],
        current: &[u8],
        row: &SettledRow<'_>,
        refer: &mut dyn FnMut(usize, &str) -> Result<Option<String>>,
    ) -> Result<bool> {
        let (Ok(desired), Ok(current)) =
            (serde_json::from_slice::<DesiredLine<'_>>(desired), serde_json::from_slice::<CurrentLine<'_>>(current))
        else {
            return Ok(false);
        };
        let Some(mapping) = self.policy.mappings.get(desired.mapping) else { return Ok(false) };
        if row.mapping != mapping.name || row.target_id != current.id {
            return Ok(false);
        }
        let Some(mut held) = row.values.strip_prefix('{') else { return Ok(false) };
        let mut first = true;
        for (at, name) in &self.names {
            let (Some(wanted), Some(there)) = (desired.values.get(*at), current.values.get(*at)) else {
                return Ok(false);
            };
            match (wanted.get(), &mapping.attributes[*at]) {
                // The mapping says nothing of it.
                ("false", None) => continue,
                // Not said, or not known.
                (text, Some(_)) if text != "false" && !text.starts_with('{') => {}
                _ => return Ok(false),
            }
            let wanted = match &self.policy.spec.attributes[*at].reference {
                None => Cow::Borrowed(wanted.get()),
                Some(_) => match refer(*at, wanted.get())? {
                    Some(text) => Cow::Owned(text),
                    None => return Ok(false),
                },
            };
            let rest = if first { Some(held) } else { held.strip_prefix(',') };
            let rest = rest.and_then(|rest| rest.strip_prefix(name.as_str())?.strip_prefix(&*wanted));
            match rest {
                Some(rest) if *wanted == *there.get() => held = rest,
                _ => return Ok(false),
            }
            first = false;
        }
        Ok(held == "}")
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;
    use crate::json;
    use crate::plan::attributes::AttributePolicy;
    use crate::plan::change::{AttributeSpec, Current, Held, Origin, State, TypeSpec};
    use crate::plan::datum::{Datum, Set};
    use crate::plan::decide::{self, Case, Desired, Found, MappingPolicy, Source, Times};
    use crate::plan::policy::{Recreate, Removal};
    use crate::record::{Key, Unknown};

    fn policy(said: [bool; 3]) -> TypePolicy {
        let attribute = |name: &str| AttributeSpec { name: name.into(), ..AttributeSpec::default() };
        TypePolicy {
            spec: TypeSpec {
                name: "people".into(),
                // Not in the order of names.
                attributes: ["b \"quoted\"", "c", "a"].map(attribute).to_vec(),
                key: vec![],
                adopt: vec![],
            },
            mappings: vec![MappingPolicy {
                name: "user".into(),
                attributes: said.map(|said| said.then(AttributePolicy::default)).to_vec(),
                removal: Removal::default(),
                recreate: Recreate::default(),
                protect: None,
            }],
            links: false,
            rekeyed: false,
        }
    }

    fn datum() -> BoxedStrategy<Datum> {
        prop_oneof![
            4 => prop_oneof![Just("x"), Just("y"), Just("\u{202e}ü"), Just("\",\"a\":\"x"), Just("")].prop_map(Datum::text),
            2 => Just(Datum::Empty),
            2 => Just(Datum::set(["a", "b"])),
            1 => Just(Datum::Set(Set::default())),
            1 => Just(Datum::Unknown(Unknown::new("no right"))),
            1 => Just(Datum::Set(Set::new(vec!["a".into()], vec!["b".into()], None))),
        ]
        .boxed()
    }

    /// One value on the three sides: most often the same.
    fn sides() -> BoxedStrategy<(Datum, Datum, Option<Held>)> {
        let held = |applied, settled| Some(Held { applied, settled });
        prop_oneof![
            8 => datum().prop_map(move |d| (d.clone(), d.clone(), held(d.clone(), d))),
            1 => (datum(), datum(), datum(), datum()).prop_map(move |(d, c, a, s)| (d, c, held(a, s))),
            1 => datum().prop_map(|d| (d.clone(), d, None)),
        ]
        .boxed()
    }

    proptest! {
        #[test]
        fn what_is_seen_to_agree_is_what_is_decided_to_be_unchanged(
            values in [sides(), sides(), sides()],
            said in prop::array::uniform3(prop::bool::weighted(0.9)),
            (mapping, id) in (prop::bool::weighted(0.9), prop::bool::weighted(0.9)),
        ) {
            let policy = policy(said);
            let desired = Desired {
                mapping: 0,
                label: "Adele, \"values\":[1]".into(),
                values: values.iter().zip(said).map(|((d, ..), said)| said.then(|| d.clone())).collect(),
            };
            let current = Current { id: "r1".into(), values: values.iter().map(|(_, c, _)| c.clone()).collect() };
            let names = policy.spec.attributes.iter().map(|attribute| attribute.name.clone());
            let held = names.zip(&values).filter_map(|(name, (.., held))| Some((name, held.clone()?)));
            // The ledger holds known values only, and what the mapping does not say seldom.
            let held: BTreeMap<String, Held> = held
                .filter(|(name, held)| {
                    let at = policy.spec.attributes.iter().position(|spec| spec.name == *name);
                    held.applied.is_known() && held.settled.is_known() && at.is_some_and(|at| said[at])
                })
                .collect();
            let row = Row {
                mapping: if mapping { "user" } else { "other" }.into(),
                state: State::Owned,
                origin: Origin::Created,
                target_id: if id { "r1" } else { "r2" }.into(),
                label: "Adele".into(),
                values: held,
                missing_since: None,
            };
            let (mut one, mut two) = (Vec::new(), Vec::new());
            let (one, two) = (json::line(&desired, &mut one).unwrap(), json::line(&current, &mut two).unwrap());
            let text = serde_json::to_string(&row.values).unwrap();
            let stored = SettledRow { mapping: &row.mapping, target_id: &row.target_id, values: &text };
            let seen =
                Agreement::of(&policy).unwrap().is_seen(one, two, &stored, &mut |_, _| unreachable!()).unwrap();

            let at = jiff::Timestamp::UNIX_EPOCH;
            let times = Times { as_of: at, source_as_of: at };
            let key = Key::Text("k".into());
            let case = Case { policy: &policy, times, key: &key, row: Some(&row), holds: &[] };
            let decision = decide::decide(&case, Source::Desired(desired.clone()), Found::There(current));
            let agreed = decision == decide::Decision { unchanged: true, ..decide::Decision::default() };
            prop_assert!(!seen || agreed, "{decision:?}");
            // What could be seen is seen, or all of this would be for nothing.
            let plain = values.iter().zip(said).all(|((d, c, held), said)| {
                let same = |held: &Held| held.applied == *d && held.settled == *d;
                !said || (d.is_known() && d == c && held.as_ref().is_some_and(same) && !format!("{d}").contains("\\u"))
            });
            prop_assert_eq!(seen, plain && mapping && id, "{} {} {}", String::from_utf8_lossy(one), String::from_utf8_lossy(two), text);
        }
    }
}
