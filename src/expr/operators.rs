//! What binary operators make of two values.
//!
//! Hides the arithmetic of numbers, times and durations, and what comparisons do with null (OData 4.01, part 2,
//! 5.1.1.1 and 5.1.1.2). Deliberately leaves `and`, `or` and `in` to the evaluator, which need not look at every side.

use std::cmp::Ordering;

use jiff::SignedDuration;

use super::ast::Binary;
use super::compare::{equal, order};
use crate::record::{Unknown, Value};

/// The value of a comparison or a calculation; unknown if either side is.
pub(super) fn binary(operator: Binary, a: &Value, b: &Value) -> Value {
    if let Value::Unknown(reason) = a {
        return Value::Unknown(reason.clone());
    }
    if let Value::Unknown(reason) = b {
        return Value::Unknown(reason.clone());
    }
    let null = a.is_null() || b.is_null();
    let compared = |holds: fn(Ordering) -> bool| match order(a, b) {
        _ if null => Value::Bool(false),
        Some(order) => Value::Bool(holds(order)),
        None => Value::Null,
    };
    let equality = || if null { Some(a.is_null() && b.is_null()) } else { equal(a, b) };
    match operator {
        Binary::Eq => equality().map_or(Value::Null, Value::Bool),
        Binary::Ne => equality().map_or(Value::Null, |equal| Value::Bool(!equal)),
        Binary::Gt => compared(Ordering::is_gt),
        Binary::Ge => compared(Ordering::is_ge),
        Binary::Lt => compared(Ordering::is_lt),
        Binary::Le => compared(Ordering::is_le),
        Binary::In => Value::Null,
        Binary::Has => has(a, b),
        Binary::Add | Binary::Sub | Binary::Mul | Binary::Div | Binary::DivBy | Binary::Mod => {
            arithmetic(operator, a, b)
        }
    }
}

/// Whether a set of flags, written as Graph does (`read,write`) or as a number, includes all of another.
fn has(a: &Value, b: &Value) -> Value {
    match (a, b) {
        (Value::Int(a), Value::Int(b)) => Value::Bool(a & b == *b),
        (Value::Text(a), Value::Text(b)) => {
            let flags = |text: &str, flag: &str| text.split(',').any(|one| one.trim().eq_ignore_ascii_case(flag));
            Value::Bool(b.split(',').all(|flag| flags(a, flag.trim())))
        }
        _ => Value::Null,
    }
}

/// A result that does not exist (division by zero, a date beyond the calendar) is unknown, so that nothing can follow
/// from it.
pub(super) fn arithmetic(operator: Binary, a: &Value, b: &Value) -> Value {
    let result = match (a, b) {
        (Value::Unknown(reason), _) | (_, Value::Unknown(reason)) => return Value::Unknown(reason.clone()),
        (Value::Int(a), Value::Int(b)) => whole(operator, *a, *b),
        (Value::Int(a), Value::Double(b)) => fraction(operator, *a as f64, *b),
        (Value::Double(a), Value::Int(b)) => fraction(operator, *a, *b as f64),
        (Value::Double(a), Value::Double(b)) => fraction(operator, *a, *b),
        _ => match time(operator, a, b) {
            Some(result) => result,
            None => return Value::Null,
        },
    };
    result.unwrap_or_else(|| {
        let reason = format!("the result of `{}` does not exist or is too large", operator.word());
        Value::Unknown(Unknown::new(reason))
    })
}

fn whole(operator: Binary, a: i64, b: i64) -> Option<Value> {
    match operator {
        Binary::Add => a.checked_add(b).map(Value::Int),
        Binary::Sub => a.checked_sub(b).map(Value::Int),
        Binary::Mul => a.checked_mul(b).map(Value::Int),
        Binary::Div => a.checked_div(b).map(Value::Int),
        Binary::Mod => a.checked_rem(b).map(Value::Int),
        _ => fraction(operator, a as f64, b as f64),
    }
}

fn fraction(operator: Binary, a: f64, b: f64) -> Option<Value> {
    let result = match operator {
        Binary::Add => a + b,
        Binary::Sub => a - b,
        Binary::Mul => a * b,
        Binary::Mod => a % b,
        _ => a / b,
    };
    result.is_finite().then_some(Value::Double(result))
}

/// Sums and differences of times and durations. The outer option: whether the types fit at all.
fn time(operator: Binary, a: &Value, b: &Value) -> Option<Option<Value>> {
    Some(match (operator, a, b) {
        (Binary::Add, Value::DateTime(a), Value::Duration(b)) => a.checked_add(*b).ok().map(Value::DateTime),
        (Binary::Sub, Value::DateTime(a), Value::Duration(b)) => a.checked_sub(*b).ok().map(Value::DateTime),
        (Binary::Sub, Value::DateTime(a), Value::DateTime(b)) => Some(Value::Duration(a.duration_since(*b))),
        (Binary::Add, Value::Date(a), Value::Duration(b)) => a.checked_add(*b).ok().map(Value::Date),
        (Binary::Sub, Value::Date(a), Value::Duration(b)) => a.checked_sub(*b).ok().map(Value::Date),
        (Binary::Sub, Value::Date(a), Value::Date(b)) => Some(Value::Duration(a.duration_since(*b))),
        (Binary::Add, Value::Duration(a), Value::Duration(b)) => a.checked_add(*b).map(Value::Duration),
        (Binary::Sub, Value::Duration(a), Value::Duration(b)) => a.checked_sub(*b).map(Value::Duration),
        // Only a negation begins with a number.
        (Binary::Sub, Value::Int(0), Value::Duration(b)) => SignedDuration::ZERO.checked_sub(*b).map(Value::Duration),
        _ => return None,
    })
}
