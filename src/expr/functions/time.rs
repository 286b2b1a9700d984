//! Parts of dates and times, and dates written for people.
//!
//! Hides that a moment shows the day and hour of the zone it was written in. Deliberately knows no names of zones: they
//! would need a data base that changes.

use jiff::civil::{Date, DateTime, Time};

use super::{Arguments, Prepared, literal_text};
use crate::expr::{Catalog, SyntaxError, ast, literal};
use crate::record::{Moment, Value};

/// A date and a time as far as a value has them. Text is read, because extensions write everything as text.
fn calendar(value: &Value) -> Option<(Option<Date>, Option<Time>)> {
    let whole = |at: DateTime| (Some(at.date()), Some(at.time()));
    Some(match value {
        Value::DateTime(moment) => whole(moment.local()),
        Value::Date(date) => (Some(*date), None),
        Value::Time(time) => (None, Some(*time)),
        Value::Text(text) => match (literal::moment(text), literal::date(text), literal::time(text)) {
            (Some(moment), ..) => whole(moment.local()),
            (_, date @ Some(_), _) => (date, None),
            (.., time) => (None, Some(time?)),
        },
        _ => return None,
    })
}

fn part(arguments: &Arguments<'_>, pick: impl FnOnce(Option<Date>, Option<Time>) -> Option<Value>) -> Value {
    match arguments.strict::<1>() {
        Ok([value]) => calendar(&value).and_then(|(date, time)| pick(date, time)).unwrap_or(Value::Null),
        Err(value) => value,
    }
}

fn of_date(arguments: &Arguments<'_>, pick: fn(Date) -> i64) -> Value {
    part(arguments, |date, _| date.map(|date| Value::Int(pick(date))))
}

fn of_time(arguments: &Arguments<'_>, pick: fn(Time) -> i64) -> Value {
    part(arguments, |_, time| time.map(|time| Value::Int(pick(time))))
}

pub(super) fn year(arguments: &Arguments<'_>) -> Value {
    of_date(arguments, |date| i64::from(date.year()))
}

pub(super) fn month(arguments: &Arguments<'_>) -> Value {
    of_date(arguments, |date| i64::from(date.month()))
}

pub(super) fn day(arguments: &Arguments<'_>) -> Value {
    of_date(arguments, |date| i64::from(date.day()))
}

pub(super) fn hour(arguments: &Arguments<'_>) -> Value {
    of_time(arguments, |time| i64::from(time.hour()))
}

pub(super) fn minute(arguments: &Arguments<'_>) -> Value {
    of_time(arguments, |time| i64::from(time.minute()))
}

pub(super) fn second(arguments: &Arguments<'_>) -> Value {
    of_time(arguments, |time| i64::from(time.second()))
}

pub(super) fn fractional_seconds(arguments: &Arguments<'_>) -> Value {
    part(arguments, |_, time| time.map(|time| Value::Double(f64::from(time.subsec_nanosecond()) / 1e9)))
}

pub(super) fn date(arguments: &Arguments<'_>) -> Value {
    part(arguments, |date, _| date.map(Value::Date))
}

pub(super) fn time(arguments: &Arguments<'_>) -> Value {
    part(arguments, |_, time| time.map(Value::Time))
}

/// The value as a moment, if it is one.
fn moment(value: &Value) -> Option<Moment> {
    match value {
        Value::DateTime(moment) => Some(*moment),
        Value::Text(text) => literal::moment(text),
        _ => None,
    }
}

pub(super) fn total_offset_minutes(arguments: &Arguments<'_>) -> Value {
    match arguments.strict::<1>() {
        Ok([value]) => moment(&value).map_or(Value::Null, |moment| Value::Int(i64::from(moment.offset))),
        Err(value) => value,
    }
}

pub(super) fn total_seconds(arguments: &Arguments<'_>) -> Value {
    match arguments.strict::<1>() {
        Ok([value]) => {
            let span = match &*value {
                Value::Duration(span) => Some(*span),
                Value::Text(text) => literal::duration(text),
                _ => None,
            };
            span.map_or(Value::Null, |span| match span.subsec_nanos() {
                0 => Value::Int(span.as_secs()),
                _ => Value::Double(span.as_secs_f64()),
            })
        }
        Err(value) => value,
    }
}

/// A piece of the form that `formatdate` writes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(in crate::expr) enum Part {
    Text(String),
    /// A letter and how often it stands there.
    Field(char, usize),
}

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
const DAYS: [&str; 7] = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"];

/// Cuts a form into its pieces; `Err` names a letter that stands for nothing.
fn parts(form: &str) -> Result<Vec<Part>, String> {
    let mut parts: Vec<Part> = Vec::new();
    let mut rest = form.chars().peekable();
    let text = |parts: &mut Vec<Part>, c: char| match parts.last_mut() {
        Some(Part::Text(text)) => text.push(c),
        _ => parts.push(Part::Text(c.to_string())),
    };
    while let Some(c) = rest.next() {
        match c {
            '\\' => text(&mut parts, rest.next().unwrap_or('\\')),
            c if c.is_ascii_alphabetic() => {
                let mut times = 1;
                while rest.next_if_eq(&c).is_some() {
                    times += 1;
                }
                let known = match c {
                    'y' => matches!(times, 2 | 4),
                    'M' | 'd' => times <= 4,
                    'H' | 'h' | 'm' | 's' => times <= 2,
                    'f' => times <= 9,
                    't' => times == 2,
                    'z' => times == 3,
                    _ => false,
                };
                if !known {
                    return Err(c.to_string().repeat(times));
                }
                parts.push(Part::Field(c, times));
            }
            c => text(&mut parts, c),
        }
    }
    Ok(parts)
}

/// A number with at least so many digits.
fn digits(out: &mut String, number: impl Into<i64>, least: usize) {
    let number: i64 = number.into();
    // A year before the first one; everything else counts up from 0.
    if number < 0 {
        out.push('-');
    }
    let mut rest = number.unsigned_abs();
    let (mut reversed, mut count) = ([0_u8; 20], 0);
    while rest > 0 || count < least.clamp(1, reversed.len()) {
        reversed[count] = b'0' + (rest % 10) as u8;
        rest /= 10;
        count += 1;
    }
    out.extend(reversed[..count].iter().rev().map(|digit| char::from(*digit)));
}

fn written(parts: &[Part], at: DateTime, offset: i16) -> String {
    let mut out = String::with_capacity(32);
    for part in parts {
        let (letter, times) = match part {
            Part::Text(text) => {
                out.push_str(text);
                continue;
            }
            Part::Field(letter, times) => (*letter, *times),
        };
        let month = usize::try_from(at.month()).unwrap_or(1) - 1;
        let weekday = usize::try_from(at.weekday().to_monday_zero_offset()).unwrap_or(0);
        let hour12 = (at.hour() + 11) % 12 + 1;
        match (letter, times) {
            ('y', 2) => digits(&mut out, at.year().rem_euclid(100), 2),
            // Padded to four places, the sign being one of them.
            ('y', _) => digits(&mut out, at.year(), if at.year() < 0 { 3 } else { 4 }),
            ('M', 4) => out.push_str(MONTHS[month]),
            ('M', 3) => out.push_str(&MONTHS[month][..3]),
            ('M', _) => digits(&mut out, at.month(), times),
            ('d', 4) => out.push_str(DAYS[weekday]),
            ('d', 3) => out.push_str(&DAYS[weekday][..3]),
            ('d', _) => digits(&mut out, at.day(), times),
            ('H', _) => digits(&mut out, at.hour(), times),
            ('h', _) => digits(&mut out, hour12, times),
            ('m', _) => digits(&mut out, at.minute(), times),
            ('s', _) => digits(&mut out, at.second(), times),
            ('f', _) => {
                let start = out.len();
                digits(&mut out, at.subsec_nanosecond(), 9);
                out.truncate(start + times);
            }
            ('t', _) => out.push_str(if at.hour() < 12 { "AM" } else { "PM" }),
            _ => {
                out.push(if offset < 0 { '-' } else { '+' });
                digits(&mut out, i64::from(offset.unsigned_abs() / 60), 2);
                out.push(':');
                digits(&mut out, i64::from(offset.unsigned_abs() % 60), 2);
            }
        }
    }
    out
}

pub(super) fn prepare_format(call: &ast::Call, _: &Catalog) -> Result<Prepared, SyntaxError> {
    let Some(node) = call.arguments.get(1) else { return Ok(Prepared::Nothing) };
    let Some(form) = literal_text(node) else {
        return Err(SyntaxError::new(node.span.clone(), "the form of a date is written as text: 'yyyy-MM-dd'"));
    };
    match parts(form) {
        Ok(parts) => Ok(Prepared::Format(parts.into())),
        Err(field) => {
            let error = SyntaxError::new(node.span.clone(), format!("`{field}` stands for no part of a date"));
            Err(error.help(
                "yyyy yy MMMM MMM MM M dddd ddd dd d HH H hh h mm ss fff tt zzz; \\ before a letter that is itself",
            ))
        }
    }
}

/// `formatdate(date, form)`
pub(super) fn format(arguments: &Arguments<'_>) -> Value {
    let [value, _] = match arguments.strict::<2>() {
        Ok(both) => both,
        Err(value) => return value,
    };
    let Prepared::Format(parts) = arguments.prepared else { return Value::Null };
    let offset = moment(&value).map_or(0, |moment| moment.offset);
    let at = match calendar(&value) {
        Some((Some(date), time)) => date.to_datetime(time.unwrap_or(Time::midnight())),
        _ => return Value::Null,
    };
    Value::text(written(parts, at, offset))
}
