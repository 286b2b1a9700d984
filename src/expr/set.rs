//! The values of a written list, found without looking at each.
//!
//! Hides how they are sorted: lists of hundreds of thousands of names or ids are as quick as short ones. Deliberately
//! gives up on mixtures: then the evaluator looks at each value.

use std::cmp::Ordering;
use std::sync::Arc;

use super::compare::{compare_text, order};
use crate::record::{Guid, Value};

/// The constants of one list.
#[derive(Clone, Debug)]
pub(super) enum Set {
    /// Texts and ids, which compare with each other.
    Texts { texts: Vec<Arc<str>>, ids: Vec<Guid>, null: bool },
    /// Values of one other type.
    Sorted { values: Vec<Value>, null: bool },
}

impl Set {
    /// `None` for values of which some do not order.
    pub fn of(values: &[Value]) -> Option<Set> {
        let null = values.iter().any(Value::is_null);
        let some = || values.iter().filter(|value| !value.is_null());
        if some().all(|value| matches!(value, Value::Text(_) | Value::Guid(_))) {
            let mut ids: Vec<Guid> = some().filter_map(id).collect();
            ids.sort_unstable();
            let mut texts: Vec<Arc<str>> = some().filter_map(text).collect();
            texts.sort_by(|a, b| compare_text(a, b));
            return Some(Set::Texts { texts, ids, null });
        }
        let first = some().next()?;
        let plain = |value: &Value| match value {
            Value::Double(number) => !number.is_nan(),
            Value::Int(_) | Value::Bool(_) | Value::DateTime(_) | Value::Date(_) => true,
            Value::Time(_) | Value::Duration(_) => true,
            _ => false,
        };
        let alike = |value: &Value| std::mem::discriminant(value) == std::mem::discriminant(first);
        if !some().all(|value| plain(value) && alike(value)) {
            return None;
        }
        let mut values: Vec<Value> = some().cloned().collect();
        values.sort_by(|a, b| order(a, b).unwrap_or(Ordering::Equal));
        Some(Set::Sorted { values, null })
    }

    /// Whether a value equal to `value` is in it; `None` if only looking at each can tell.
    pub fn contains(&self, value: &Value) -> Option<bool> {
        match (self, value) {
            (Set::Texts { null, .. } | Set::Sorted { null, .. }, Value::Null) => Some(*null),
            (Set::Texts { texts, .. }, Value::Text(text)) => {
                Some(texts.binary_search_by(|known| compare_text(known, text)).is_ok())
            }
            (Set::Texts { ids, .. }, Value::Guid(id)) => Some(ids.binary_search(id).is_ok()),
            (Set::Sorted { values, .. }, value) => {
                let alike = std::mem::discriminant(values.first()?) == std::mem::discriminant(value);
                let found = || values.binary_search_by(|known| order(known, value).unwrap_or(Ordering::Less));
                let ordered = !matches!(value, Value::Double(number) if number.is_nan());
                (alike && ordered).then(|| found().is_ok())
            }
            _ => None,
        }
    }
}

fn id(value: &Value) -> Option<Guid> {
    match value {
        Value::Guid(id) => Some(*id),
        Value::Text(text) => text.parse().ok(),
        _ => None,
    }
}

fn text(value: &Value) -> Option<Arc<str>> {
    match value {
        Value::Text(text) => Some(text.clone()),
        Value::Guid(id) => Some(Arc::from(id.to_string())),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::expr::compare::equal;
    use proptest::prelude::*;

    fn any_value() -> impl Strategy<Value = Value> {
        let id = proptest::sample::select(vec![
            "87d349ed-44d7-43e1-9a83-5f2406dee5bd",
            "06EBC4EE-1bb5-47dd-8120-11324bc54e06",
        ]);
        prop_oneof![
            "[aAäÄ]{0,2}".prop_map(Value::text),
            id.clone().prop_map(|id| Value::Guid(id.parse().unwrap())),
            id.prop_map(|id| Value::text(id.to_uppercase())),
            Just(Value::Null),
            (0..4_i64).prop_map(Value::Int),
            proptest::sample::select(vec![0.0, 1.0, 2.5, f64::NAN]).prop_map(Value::Double),
        ]
    }

    proptest! {
        #[test]
        fn a_set_has_what_looking_at_each_finds(
            values in proptest::collection::vec(any_value(), 1..5), sought in any_value(), kind in 0..3,
        ) {
            let of_kind = |value: &Value| match kind {
                0 => matches!(value, Value::Text(_) | Value::Guid(_) | Value::Null),
                1 => matches!(value, Value::Int(_) | Value::Null),
                _ => true,
            };
            let values: Vec<Value> = values.into_iter().filter(of_kind).collect();
            let one = |value: &Value| match value.is_null() || sought.is_null() {
                true => value.is_null() && sought.is_null(),
                false => equal(value, &sought) == Some(true),
            };
            if let Some(found) = Set::of(&values).and_then(|set| set.contains(&sought)) {
                prop_assert_eq!(found, values.iter().any(one), "{:?} {:?}", values, sought);
            }
        }
    }
}
