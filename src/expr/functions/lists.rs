//! Functions on lists, and those that work on text and lists alike.
//!
//! Hides which of the two is meant. A list of which something is not known makes the result unknown, unless the
//! function only rearranges it.

use std::cmp::Ordering;
use std::collections::HashSet;
use std::sync::Arc;

use super::{Arguments, items};
use crate::expr::compare::{ends_with, fold, index_of, order, same, starts_with};
use crate::expr::literal;
use crate::record::{List, Value};

/// Two texts, or two lists.
fn either(
    arguments: &Arguments<'_>,
    on_texts: fn(&str, &str) -> Value,
    on_lists: fn(&[Value], &[Value]) -> Value,
) -> Value {
    let [a, b] = match arguments.strict::<2>() {
        Ok(both) => both,
        Err(value) => return value,
    };
    match (&*a, &*b) {
        (Value::List(_), _) | (_, Value::List(_)) => match (items(&a), items(&b)) {
            (Ok(a), Ok(b)) => on_lists(a, b),
            (Err(unknown), _) | (_, Err(unknown)) => unknown,
        },
        (a, b) => literal::text(a).zip(literal::text(b)).map_or(Value::Null, |(a, b)| on_texts(&a, &b)),
    }
}

fn all_same(a: &[Value], b: &[Value]) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b))
}

/// How many items come before the first place where `part` is in `list`.
fn position(list: &[Value], part: &[Value]) -> Option<usize> {
    let last = list.len().checked_sub(part.len())?;
    (0..=last).find(|at| all_same(&list[*at..at + part.len()], part))
}

fn count(number: usize) -> Value {
    Value::Int(i64::try_from(number).unwrap_or(i64::MAX))
}

pub(super) fn contains(arguments: &Arguments<'_>) -> Value {
    either(
        arguments,
        |text, part| Value::Bool(index_of(text, part).is_some()),
        |list, part| Value::Bool(position(list, part).is_some()),
    )
}

pub(super) fn startswith(arguments: &Arguments<'_>) -> Value {
    either(
        arguments,
        |text, part| Value::Bool(starts_with(text, part)),
        |list, part| Value::Bool(list.len() >= part.len() && all_same(&list[..part.len()], part)),
    )
}

pub(super) fn endswith(arguments: &Arguments<'_>) -> Value {
    either(
        arguments,
        |text, part| Value::Bool(ends_with(text, part)),
        |list, part| Value::Bool(list.len() >= part.len() && all_same(&list[list.len() - part.len()..], part)),
    )
}

pub(super) fn indexof(arguments: &Arguments<'_>) -> Value {
    either(
        arguments,
        |text, part| index_of(text, part).map_or(Value::Int(-1), count),
        |list, part| position(list, part).map_or(Value::Int(-1), count),
    )
}

/// Whether each item of the second list has one of its own in the first.
pub(super) fn has_subset(arguments: &Arguments<'_>) -> Value {
    let none = |_: &str, _: &str| Value::Null;
    either(arguments, none, |list, part| {
        let mut left: Vec<&Value> = list.iter().collect();
        let mut taken = |item: &Value| {
            let found = left.iter().position(|other| same(other, item));
            found.map(|at| left.swap_remove(at)).is_some()
        };
        Value::Bool(part.iter().all(&mut taken))
    })
}

pub(super) fn has_subsequence(arguments: &Arguments<'_>) -> Value {
    let none = |_: &str, _: &str| Value::Null;
    either(arguments, none, |list, part| {
        let mut rest = list.iter();
        Value::Bool(part.iter().all(|item| rest.any(|other| same(other, item))))
    })
}

pub(super) fn length(arguments: &Arguments<'_>) -> Value {
    match arguments.strict::<1>() {
        Ok([value]) => match &*value {
            Value::List(_) => items(&value).map_or_else(|unknown| unknown, |items| count(items.len())),
            single => literal::text(single).map_or(Value::Null, |text| count(text.chars().count())),
        },
        Err(value) => value,
    }
}

/// A part by the number of characters or items before it; a negative number counts from the end.
pub(super) fn substring(arguments: &Arguments<'_>) -> Value {
    let most = match arguments.optional_int(2) {
        Ok(Some(most)) if most < 0 => return arguments.null(),
        Ok(most) => most.map_or(usize::MAX, |most| usize::try_from(most).unwrap_or(usize::MAX)),
        Err(value) => return value,
    };
    let [whole, start] = match arguments.strict::<2>() {
        Ok(both) => both,
        Err(value) => return value,
    };
    let Value::Int(start) = *start else { return Value::Null };
    let skipped = |length: usize| match usize::try_from(start) {
        Ok(start) => start,
        Err(_) => length.saturating_sub(usize::try_from(start.unsigned_abs()).unwrap_or(usize::MAX)),
    };
    if let Value::List(_) = *whole {
        return items(&whole).map_or_else(
            |unknown| unknown,
            |items| {
                let part = items.iter().skip(skipped(items.len())).take(most);
                Value::List(List::known(part.cloned().collect::<Vec<_>>()))
            },
        );
    }
    let Some(text) = literal::text(&whole) else { return Value::Null };
    let skip = if start < 0 { skipped(text.chars().count()) } else { skipped(0) };
    Value::text(text.chars().skip(skip).take(most).collect::<String>())
}

fn end(arguments: &Arguments<'_>, pick: fn(&[Value]) -> Option<&Value>) -> Value {
    let value = arguments.value(0);
    match items(&value) {
        _ if value.is_null() => Value::Null,
        Ok(items) => pick(items).cloned().unwrap_or(Value::Null),
        Err(unknown) => unknown,
    }
}

pub(super) fn first(arguments: &Arguments<'_>) -> Value {
    end(arguments, |items| items.first())
}

pub(super) fn last(arguments: &Arguments<'_>) -> Value {
    end(arguments, |items| items.last())
}

/// The list with its certain and its doubtful items each rearranged.
fn rearranged(arguments: &Arguments<'_>, rearrange: fn(&mut Vec<Value>)) -> Value {
    let value = arguments.value(0).into_owned();
    let list = match value {
        Value::Unknown(_) => return value,
        Value::Null => List::known([]),
        Value::List(list) => list,
        single => List::known([single]),
    };
    let run = |values: &[Value]| -> Arc<[Value]> {
        let mut values = values.to_vec();
        rearrange(&mut values);
        values.into()
    };
    Value::List(List::new(run(&list.items), run(list.maybe()), list.rest().cloned()))
}

/// Values of one type in their order, types one after another, what cannot be ordered last as it stood.
pub(super) fn sort(arguments: &Arguments<'_>) -> Value {
    rearranged(arguments, |values| {
        values.sort_by(|a, b| {
            rank(a).cmp(&rank(b)).then_with(|| match (a, b) {
                // Alike but for case: then the order must not depend on where they came from.
                (Value::Text(a), Value::Text(b)) => crate::expr::compare_text(a, b).then_with(|| a.cmp(b)),
                (Value::Double(a), Value::Double(b)) => a.total_cmp(b),
                _ => order(a, b).unwrap_or(Ordering::Equal),
            })
        });
    })
}

fn rank(value: &Value) -> u8 {
    match value {
        Value::Bool(_) => 0,
        Value::Int(_) => 1,
        Value::Double(_) => 2,
        Value::DateTime(_) => 3,
        Value::Date(_) => 4,
        Value::Time(_) => 5,
        Value::Duration(_) => 6,
        Value::Text(_) => 7,
        Value::Guid(_) => 8,
        _ => 9,
    }
}

/// Each value once, where it first stood; texts that differ in case only are one.
pub(super) fn distinct(arguments: &Arguments<'_>) -> Value {
    rearranged(arguments, |values| {
        let (mut texts, mut others) = (HashSet::new(), Vec::new());
        values.retain(|value| match value {
            Value::Text(_) | Value::Guid(_) => {
                let text = literal::text(value).unwrap_or_default();
                texts.insert(text.chars().map(fold).collect::<String>())
            }
            other => {
                let new = !others.iter().any(|known| same(known, other));
                if new {
                    others.push(other.clone());
                }
                new
            }
        });
    })
}
