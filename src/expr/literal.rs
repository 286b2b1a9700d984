//! How single values are written: the literals of OData, their values, and the text they are printed as.
//!
//! Hides the forms of numbers, dates, times, durations and binary values, for the lexer, for `cast` and for records
//! read from JSON. Deliberately knows no quotes and no expressions.
//!
//! <https://docs.oasis-open.org/odata/odata/v4.01/os/abnf/odata-abnf-construction-rules.txt>

use std::borrow::Cow;

use jiff::civil::{Date, Time};
use jiff::tz::Offset;
use jiff::{SignedDuration, Timestamp};

use crate::record::{Moment, Value, base64url, duration_text, infinite};

/// The number that `text` stands for: digits only are an Int, anything else and what is too large for one a Double.
pub(super) fn number(text: &str) -> Option<Value> {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    if !unsigned.starts_with(|c: char| c.is_ascii_digit()) {
        return match text {
            "INF" => Some(Value::Double(f64::INFINITY)),
            "-INF" => Some(Value::Double(f64::NEG_INFINITY)),
            "NaN" => Some(Value::Double(f64::NAN)),
            _ => None,
        };
    }
    if !unsigned.contains(['.', 'e', 'E'])
        && let Ok(whole) = text.parse()
    {
        return Some(Value::Int(whole));
    }
    if unsigned.ends_with('.') || unsigned.contains(".e") || unsigned.contains(".E") {
        return None;
    }
    text.parse().ok().filter(|number: &f64| number.is_finite()).map(Value::Double)
}

/// Two digits at the start of `text` and what follows them.
fn two(text: &str) -> Option<(i8, &str)> {
    let digits = text.get(..2).filter(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()))?;
    Some((digits.parse().ok()?, &text[2..]))
}

/// `2024-01-31`; years from -9999 to 9999.
pub(super) fn date(text: &str) -> Option<Date> {
    let (date, rest) = date_prefix(text)?;
    rest.is_empty().then_some(date)
}

fn date_prefix(text: &str) -> Option<(Date, &str)> {
    let unsigned = text.strip_prefix('-').unwrap_or(text);
    let digits = unsigned.bytes().take_while(u8::is_ascii_digit).count();
    if digits < 4 || (digits > 4 && unsigned.starts_with('0')) {
        return None;
    }
    let year: i16 = unsigned[..digits].parse().ok()?;
    let (month, rest) = two(unsigned[digits..].strip_prefix('-')?)?;
    let (day, rest) = two(rest.strip_prefix('-')?)?;
    let year = if unsigned.len() < text.len() { -year } else { year };
    Some((Date::new(year, month, day).ok()?, rest))
}

/// `23:59`, `23:59:59.5`. A leap second is the second before it; fractions beyond nanoseconds are cut off.
pub(super) fn time(text: &str) -> Option<Time> {
    let (time, rest) = time_prefix(text)?;
    rest.is_empty().then_some(time)
}

fn time_prefix(text: &str) -> Option<(Time, &str)> {
    let (hour, rest) = two(text)?;
    let (minute, mut rest) = two(rest.strip_prefix(':')?)?;
    let (mut second, mut nanos) = (0, 0);
    if let Some(after) = rest.strip_prefix(':') {
        let found = two(after)?;
        second = if found.0 == 60 { 59 } else { found.0 };
        rest = found.1;
        if let Some(after) = rest.strip_prefix('.') {
            let digits = after.bytes().take_while(u8::is_ascii_digit).count();
            if !(1..=12).contains(&digits) {
                return None;
            }
            nanos = after.as_bytes()[..digits.min(9)].iter().fold(0, |sum, digit| sum * 10 + i32::from(digit - b'0'));
            nanos *= 10_i32.pow(9 - digits.min(9) as u32);
            rest = &after[digits..];
        }
    }
    Some((Time::new(hour, minute, second, nanos).ok()?, rest))
}

/// `2024-01-31T12:00:00Z`, `2024-01-31T12:00+02:00`. The last day of the year 9999, which some systems write for "never",
/// is the latest moment there is.
pub(super) fn moment(text: &str) -> Option<Moment> {
    let (date, rest) = date_prefix(text)?;
    let (time, zone) = time_prefix(rest.strip_prefix(['T', 't'])?)?;
    let offset = match zone {
        "Z" | "z" => 0,
        _ => {
            let (hours, minutes) = two(zone.get(1..)?)?;
            let (minutes, rest) = two(minutes.strip_prefix(':')?)?;
            let total = i16::from(hours) * 60 + i16::from(minutes);
            let fits = rest.is_empty() && hours < 24 && minutes < 60;
            match zone.as_bytes()[0] {
                b'+' if fits => total,
                b'-' if fits => -total,
                _ => return None,
            }
        }
    };
    let zone = Offset::from_seconds(i32::from(offset) * 60).ok()?;
    let at = match zone.to_timestamp(date.to_datetime(time)) {
        Ok(at) => at,
        Err(_) if date.year() > 0 => Timestamp::MAX,
        Err(_) => Timestamp::MIN,
    };
    // What was moved to the border of the calendar shows no other zone's clock.
    Some(Moment { at, offset: if at == Timestamp::MAX || at == Timestamp::MIN { 0 } else { offset } })
}

/// `P90D`, `PT1H30M`, `-P1DT0.5S`, `+PT1M`. Fractions beyond nanoseconds are cut off.
pub(super) fn duration(text: &str) -> Option<SignedDuration> {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    let mut rest = unsigned.strip_prefix(['P', 'p'])?;
    let mut seconds: i64 = 0;
    let mut nanos = 0;
    let units: [(char, i64, bool); 4] = [('D', 86_400, false), ('H', 3600, true), ('M', 60, true), ('S', 1, true)];
    let (mut clock, mut parts) = (false, 0);
    for (unit, factor, of_clock) in units {
        if of_clock && !clock {
            let Some(after) = rest.strip_prefix(['T', 't']) else { break };
            (clock, rest, parts) = (true, after, 0);
        }
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let (mut after, mut fraction) = (&rest[digits..], "");
        if unit == 'S'
            && let Some(more) = after.strip_prefix('.')
        {
            let count = more.bytes().take_while(u8::is_ascii_digit).count();
            (fraction, after) = more.split_at(count);
            if fraction.is_empty() {
                return None;
            }
        }
        let Some(after) = after.strip_prefix([unit, unit.to_ascii_lowercase()]) else { continue };
        let whole: i64 = rest.get(..digits)?.parse().ok()?;
        seconds = seconds.checked_add(whole.checked_mul(factor)?)?;
        if !fraction.is_empty() {
            let cut = &fraction[..fraction.len().min(9)];
            nanos = cut.parse::<i32>().ok()? * 10_i32.pow(9 - cut.len() as u32);
        }
        rest = after;
        parts += 1;
    }
    if !rest.is_empty() || parts == 0 {
        return None;
    }
    let span = SignedDuration::new(seconds, nanos);
    if text.starts_with('-') { span.checked_neg() } else { Some(span) }
}

/// The bytes of base64url text, with or without padding.
pub(super) fn binary(text: &str) -> Option<Vec<u8>> {
    let digits = text.strip_suffix("==").or_else(|| text.strip_suffix('=')).unwrap_or(text);
    let padded = text.len() - digits.len();
    if digits.len() % 4 == 1 || (padded > 0 && !text.len().is_multiple_of(4)) {
        return None;
    }
    let mut bytes = Vec::with_capacity(digits.len() / 4 * 3 + 2);
    let (mut group, mut bits) = (0_u32, 0);
    for digit in digits.bytes() {
        let value = match digit {
            b'A'..=b'Z' => digit - b'A',
            b'a'..=b'z' => digit - b'a' + 26,
            b'0'..=b'9' => digit - b'0' + 52,
            b'-' => 62,
            b'_' => 63,
            _ => return None,
        };
        group = group << 6 | u32::from(value);
        bits += 6;
        if bits >= 8 {
            bits -= 8;
            bytes.push((group >> bits) as u8);
            group &= (1 << bits) - 1;
        }
    }
    // What is left over must be nothing.
    (group == 0).then_some(bytes)
}

/// A single value as the text that payloads and `concat` show; `None` for what has none.
pub(super) fn text(value: &Value) -> Option<Cow<'_, str>> {
    Some(match value {
        Value::Text(text) => Cow::Borrowed(text),
        Value::Bool(value) => Cow::Borrowed(if *value { "true" } else { "false" }),
        Value::Int(value) => Cow::Owned(value.to_string()),
        Value::Double(value) if !value.is_finite() => Cow::Borrowed(infinite(*value)),
        Value::Double(value) => Cow::Owned(value.to_string()),
        Value::Guid(id) => Cow::Owned(id.to_string()),
        Value::DateTime(moment) => Cow::Owned(moment.to_string()),
        Value::Date(date) => Cow::Owned(date.to_string()),
        Value::Time(time) => Cow::Owned(time.to_string()),
        Value::Duration(span) => Cow::Owned(duration_text(*span)),
        Value::Binary(bytes) => Cow::Owned(base64url(bytes)),
        Value::Unknown(_) | Value::Null | Value::List(_) | Value::Object(_) | Value::Record(_) => return None,
    })
}

/// The literal that reads back as `value`, for the values that a literal can be.
pub(super) fn print(value: &Value) -> String {
    match value {
        Value::Text(text) => quoted(text),
        // Debug keeps the point or exponent that makes it a double when read back.
        Value::Double(value) if value.is_finite() => format!("{value:?}"),
        Value::Date(date) => printed_date(&date.to_string()),
        Value::DateTime(moment) => printed_date(&moment.to_string()),
        Value::Duration(span) => format!("duration'{}'", duration_text(*span)),
        Value::Binary(bytes) => format!("binary'{}'", base64url(bytes)),
        other => text(other).map_or_else(|| "null".to_owned(), Cow::into_owned),
    }
}

/// Years before the first have six digits in jiff and four in OData.
fn printed_date(text: &str) -> String {
    match text.strip_prefix("-00") {
        Some(rest) => format!("-{rest}"),
        None => text.to_owned(),
    }
}

/// Text in single quotes, which are doubled inside.
fn quoted(text: &str) -> String {
    format!("'{}'", unencoded(&text.replace('\'', "''")))
}

/// Text in which no percent sign will be read as the start of an encoded character.
pub(super) fn unencoded(text: &str) -> Cow<'_, str> {
    let encodes =
        |at: usize| text.as_bytes().get(at + 1..at + 3).is_some_and(|two| two.iter().all(u8::is_ascii_hexdigit));
    if !text.match_indices('%').any(|(at, _)| encodes(at)) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 2);
    for (at, c) in text.char_indices() {
        out.push(c);
        if c == '%' && encodes(at) {
            out.push_str("25");
        }
    }
    Cow::Owned(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn check<T: std::fmt::Debug>(found: Option<T>, text: &str, expected: &str) {
        let found = found.map_or_else(|| "none".to_owned(), |found| format!("{found:?}"));
        assert_eq!(found, expected, "{text}");
    }

    #[test]
    fn numbers() {
        for (text, expected) in [
            ("-7", "Int(-7)"),
            ("+42", "Int(42)"),
            ("-9223372036854775808", "Int(-9223372036854775808)"),
            ("9223372036854775808", "Double(9.223372036854776e18)"),
            ("1e-101", "Double(1e-101)"),
            ("-1.234567e3", "Double(-1234.567)"),
            ("INF", "Double(inf)"),
            ("-INF", "Double(-inf)"),
            ("NaN", "Double(NaN)"),
            ("42.", "none"),
            (".1", "none"),
            ("1e999", "none"),
            ("inf", "none"),
        ] {
            check(number(text), text, expected);
        }
    }

    #[test]
    fn dates_and_times() {
        for (text, expected) in [
            ("2012-09-03", "2012-09-03"),
            ("0000-01-01", "0000-01-01"),
            ("-0044-03-15", "-000044-03-15"),
            ("-10000-04-01", "none"),
            ("02012-09-03", "none"),
            ("2012-9-3", "none"),
            ("2024-02-30", "none"),
        ] {
            check(date(text), text, expected);
        }
        for (text, expected) in [
            ("11:22", "11:22:00"),
            ("11:22:33.4444444", "11:22:33.4444444"),
            ("23:59:60", "23:59:59"),
            ("00:00:00.999999999999", "00:00:00.999999999"),
            ("24:00:00", "none"),
            ("1:00", "none"),
            ("11:22:33.", "none"),
        ] {
            check(time(text), text, expected);
        }
        for (text, expected) in [
            ("2012-09-03T13:52Z", "2012-09-03T13:52:00Z"),
            ("2012-09-03T14:53+02:00", "2012-09-03T14:53:00+02:00"),
            ("2012-09-03T14:53:01.5-09:30", "2012-09-03T14:53:01.5-09:30"),
            ("9999-12-31T23:59:59Z", "9999-12-30T22:00:00.999999999Z"),
            ("2011-12-31T24:00Z", "none"),
            ("2011-12-31T12:00", "none"),
            ("2011-12-31T12:00+2:00", "none"),
            ("2011-12-31T12:00é", "none"),
        ] {
            assert_eq!(moment(text).map_or("none".to_owned(), |moment| moment.to_string()), expected, "{text}");
        }
    }

    #[test]
    fn durations_and_bytes() {
        for (text, expected) in [
            ("P6DT23H59M59.9999S", "P6DT23H59M59.9999S"),
            ("-P6DT23H59M59.9999S", "-P6DT23H59M59.9999S"),
            ("P12DT23H59M59.999999999999S", "P12DT23H59M59.999999999S"),
            ("PT36H", "P1DT12H"),
            ("PT0S", "PT0S"),
            ("PT0.5S", "PT0.5S"),
            ("+P1D", "P1D"),
            ("--P1D", "none"),
            ("P1Y", "none"),
            ("P", "none"),
            ("P1DT", "none"),
            ("PT1M1H", "none"),
            ("P99999999999999999999D", "none"),
        ] {
            assert_eq!(duration(text).map_or("none".to_owned(), duration_text), expected, "{text}");
        }
        for (text, expected) in [("", "[]"), ("Zg", "[102]"), ("Zg==", "[102]"), ("Zm8=", "[102, 111]")] {
            check(binary(text), text, expected);
        }
        for text in ["Z", "Zg=", "Zh", "Z+==", "===="] {
            check(binary(text), text, "none");
        }
    }

    proptest! {
        #[test]
        fn what_is_printed_reads_back(bytes in proptest::collection::vec(any::<u8>(), 0..9), seconds in any::<i32>(),
            nanos in 0..1_000_000_000_i32) {
            prop_assert_eq!(binary(&base64url(&bytes)), Some(bytes));
            let span = SignedDuration::new(i64::from(seconds), if seconds < 0 { -nanos } else { nanos });
            prop_assert_eq!(duration(&duration_text(span)), Some(span));
            let at = Moment { at: Timestamp::new(i64::from(seconds), nanos).unwrap(), offset: (seconds % 900) as i16 };
            prop_assert_eq!(moment(&at.to_string()), Some(at));
        }

        #[test]
        fn no_text_makes_reading_panic(text in "[-+0-9:.TtZPDHMSé=]{0,20}") {
            let _ = (number(&text), date(&text), time(&text), moment(&text), duration(&text), binary(&text));
        }
    }
}
