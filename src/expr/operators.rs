//! What binary operators make of two values.
//!
//! Hides the arithmetic of numbers, times and durations, and what comparisons do with null (OData 4.01, part 2,
//! 5.1.1.1 and 5.1.1.2). Deliberately leaves `and`, `or` and `in` to the evaluator, which need not look at every side.

use std::cmp::Ordering;

use jiff::SignedDuration;
use jiff::civil::Date;

use super::ast::Binary;
use super::compare::{equal, order};
use super::literal;
use crate::record::{Moment, Unknown, Value};

/// The value of a comparison or a calculation; unknown if either side is.
pub(super) fn binary(operator: Binary, a: &Value, b: &Value) -> Value {
    // Nothing inside an ordinary value can be unknown, so this costs only lists and objects anything.
    if let Some(reason) = super::compare::doubt(a).or_else(|| super::compare::doubt(b)) {
        return Value::Unknown(reason);
    }
    let null = a.is_null() || b.is_null();
    let compared = |holds: fn(Ordering) -> bool| match order(a, b) {
        // Null is neither more nor less than anything, and equal to itself.
        _ if null => Value::Bool(a.is_null() && b.is_null() && holds(Ordering::Equal)),
        Some(order) => Value::Bool(holds(order)),
        // Numbers always compare: what is no number is neither more nor less.
        None if matches!((a, b), (Value::Int(_) | Value::Double(_), Value::Int(_) | Value::Double(_))) => {
            Value::Bool(false)
        }
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

/// A result that does not exist (whole numbers divided by zero, a date beyond the calendar) is unknown, so that nothing
/// can follow from it.
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
    result.unwrap_or_else(|| no_result(operator.word()))
}

fn no_result(operator: &str) -> Value {
    Value::Unknown(Unknown::new(format!("the result of `{operator}` does not exist or is too large")))
}

/// The value with its sign changed.
pub(super) fn negate(value: &Value) -> Value {
    match value {
        Value::Unknown(_) => value.clone(),
        Value::Int(number) => number.checked_neg().map_or_else(|| no_result("-"), Value::Int),
        Value::Double(number) => Value::Double(-number),
        Value::Duration(span) => span.checked_neg().map_or_else(|| no_result("-"), Value::Duration),
        _ => Value::Null,
    }
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

/// Division by zero gives what OData calls INF, -INF and NaN; a remainder of it does not exist.
fn fraction(operator: Binary, a: f64, b: f64) -> Option<Value> {
    Some(Value::Double(match operator {
        Binary::Add => a + b,
        Binary::Sub => a - b,
        Binary::Mul => a * b,
        Binary::Mod if b == 0.0 => return None,
        Binary::Mod => a % b,
        _ => a / b,
    }))
}

/// Calculations with times and durations. The outer option: whether the types fit at all.
fn time(operator: Binary, a: &Value, b: &Value) -> Option<Option<Value>> {
    let moved = |moment: &Moment, at: Result<jiff::Timestamp, jiff::Error>| {
        at.ok().map(|at| Value::DateTime(Moment { at, offset: moment.offset }))
    };
    // A date moves as its first moment does; what is left of the day falls away.
    let day = |date: &Date, span: Option<SignedDuration>| {
        date.at(0, 0, 0, 0).checked_add(span?).ok().map(|at| Value::Date(at.date()))
    };
    let scaled = |span: &SignedDuration, factor: f64| {
        let seconds = span.as_secs_f64() * factor;
        SignedDuration::try_from_secs_f64(seconds).ok().map(Value::Duration)
    };
    Some(match (operator, a, b) {
        (Binary::Add, Value::DateTime(a), Value::Duration(b)) => moved(a, a.at.checked_add(*b)),
        (Binary::Sub, Value::DateTime(a), Value::Duration(b)) => moved(a, a.at.checked_sub(*b)),
        (Binary::Sub, Value::DateTime(a), Value::DateTime(b)) => Some(Value::Duration(a.at.duration_since(b.at))),
        (Binary::Add, Value::Date(a), Value::Duration(b)) => day(a, Some(*b)),
        (Binary::Sub, Value::Date(a), Value::Duration(b)) => day(a, b.checked_neg()),
        (Binary::Sub, Value::Date(a), Value::Date(b)) => Some(Value::Duration(a.duration_since(*b))),
        (Binary::Add, Value::Duration(a), Value::Duration(b)) => a.checked_add(*b).map(Value::Duration),
        (Binary::Sub, Value::Duration(a), Value::Duration(b)) => a.checked_sub(*b).map(Value::Duration),
        (Binary::Mul, Value::Duration(span), Value::Int(factor))
        | (Binary::Mul, Value::Int(factor), Value::Duration(span)) => {
            let factor = i32::try_from(*factor).ok();
            factor.and_then(|factor| span.checked_mul(factor)).map(Value::Duration)
        }
        (Binary::Mul, Value::Duration(span), Value::Double(factor))
        | (Binary::Mul, Value::Double(factor), Value::Duration(span)) => scaled(span, *factor),
        (Binary::Div | Binary::DivBy, Value::Duration(span), Value::Int(divisor)) => {
            let divisor = i32::try_from(*divisor).ok();
            divisor.and_then(|divisor| span.checked_div(divisor)).map(Value::Duration)
        }
        (Binary::Div | Binary::DivBy, Value::Duration(span), Value::Double(divisor)) if *divisor != 0.0 => {
            scaled(span, 1.0 / divisor)
        }
        (Binary::Div | Binary::DivBy, Value::Duration(_), Value::Double(_)) => None,
        // Extensions and records without types write everything as text.
        (Binary::Add | Binary::Sub, Value::Text(text), b) if !matches!(b, Value::Text(_)) => {
            return time(operator, &moment_or_span(text)?, b);
        }
        (Binary::Add | Binary::Sub, a, Value::Text(text)) if !matches!(a, Value::Text(_)) => {
            return time(operator, a, &moment_or_span(text)?);
        }
        _ => return None,
    })
}

/// What a text says of time.
fn moment_or_span(text: &str) -> Option<Value> {
    let moment = || literal::moment(text).map(Value::DateTime);
    let date = || literal::date(text).map(Value::Date);
    moment().or_else(date).or_else(|| literal::duration(text).map(Value::Duration))
}
