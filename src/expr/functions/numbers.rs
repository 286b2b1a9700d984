//! Rounding, and numbers written for people.

use super::Arguments;
use crate::expr::literal;
use crate::record::Value;

fn rounded(arguments: &Arguments<'_>, round: fn(f64) -> f64) -> Value {
    match arguments.strict::<1>() {
        Ok([value]) => match &*value {
            Value::Int(_) => value.into_owned(),
            Value::Double(number) => Value::Double(round(*number)),
            _ => Value::Null,
        },
        Err(value) => value,
    }
}

pub(super) fn round(arguments: &Arguments<'_>) -> Value {
    rounded(arguments, f64::round)
}

pub(super) fn floor(arguments: &Arguments<'_>) -> Value {
    rounded(arguments, f64::floor)
}

pub(super) fn ceiling(arguments: &Arguments<'_>) -> Value {
    rounded(arguments, f64::ceil)
}

/// `formatnumber(number, decimals, [point], [thousands])`
pub(super) fn format(arguments: &Arguments<'_>) -> Value {
    let sign = |index, default: &'static str| match arguments.optional(index)? {
        None => Ok(std::borrow::Cow::Borrowed(default)),
        Some(value) => literal::text(&value).map(|text| text.into_owned().into()).ok_or_else(|| arguments.null()),
    };
    let found = arguments.strict::<2>().and_then(|both| Ok((both, sign(2, ".")?, sign(3, "")?)));
    let ([number, decimals], point, thousands) = match found {
        Ok(found) => found,
        Err(value) => return value,
    };
    let Value::Int(decimals @ 0..=15) = *decimals else { return Value::Null };
    let decimals = usize::try_from(decimals).unwrap_or_default();
    let digits = match &*number {
        Value::Int(number) => format!("{number}.{}", "0".repeat(decimals)),
        Value::Double(number) if number.is_finite() => {
            // Midpoints go away from zero, as `round` does; the printer of the library would send them to even.
            let scale = 10_f64.powi(decimals as i32);
            let near = (number * scale).round() / scale;
            format!("{:.decimals$}.", if near.is_finite() { near } else { *number })
        }
        _ => return Value::Null,
    };
    let mut parts = digits.trim_end_matches('.').splitn(2, '.');
    let (whole, fraction) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    let (minus, whole) = whole.strip_prefix('-').map_or(("", whole), |whole| ("-", whole));
    let mut text = minus.to_owned();
    for (at, digit) in whole.chars().enumerate() {
        if at > 0 && (whole.len() - at).is_multiple_of(3) {
            text.push_str(&thousands);
        }
        text.push(digit);
    }
    if !fraction.is_empty() {
        text.push_str(&point);
        text.push_str(fraction);
    }
    Value::text(text)
}
