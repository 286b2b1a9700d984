//! Equality and order of values, and text without regard to case.
//!
//! Hides which types compare with which and how case is folded: each character by its simple lower case, whatever the
//! language, so that results are the same everywhere. Deliberately decides nothing about null and *unknown*: that is
//! the evaluator's. Nothing here allocates, except searching inside text that is not ASCII.

use std::cmp::Ordering;

use jiff::{Timestamp, civil::Date, tz::Offset};

use super::literal;
use crate::record::{Guid, Unknown, Value};

/// The lower case of one character: always one character, in every language the same.
pub fn fold(c: char) -> char {
    if c.is_ascii() { c.to_ascii_lowercase() } else { c.to_lowercase().next().unwrap_or(c) }
}

/// Orders text by its folded characters; equal means equal but for case.
pub fn compare_text(a: &str, b: &str) -> Ordering {
    if a.len() == b.len() && a.is_ascii() && a.eq_ignore_ascii_case(b) {
        return Ordering::Equal;
    }
    let ascii = |(a, b): &(u8, u8)| a.is_ascii() && a.eq_ignore_ascii_case(b);
    let same = a.bytes().zip(b.bytes()).take_while(ascii).count();
    // Only ASCII lies before `same`, so it is a character border in both.
    folded(&a[same..]).cmp(folded(&b[same..]))
}

fn folded(text: &str) -> impl DoubleEndedIterator<Item = char> {
    text.chars().map(fold)
}

pub(super) fn starts_with(text: &str, start: &str) -> bool {
    if let (true, Some(head)) = (start.is_ascii(), text.as_bytes().get(..start.len()))
        && head.is_ascii()
    {
        return head.eq_ignore_ascii_case(start.as_bytes());
    }
    let mut text = folded(text);
    folded(start).all(|c| text.next() == Some(c))
}

pub(super) fn ends_with(text: &str, end: &str) -> bool {
    if end.is_ascii()
        && let Some(at) = text.len().checked_sub(end.len())
        && text.as_bytes()[at..].is_ascii()
    {
        return text.as_bytes()[at..].eq_ignore_ascii_case(end.as_bytes());
    }
    let mut text = folded(text).rev();
    folded(end).rev().all(|c| text.next() == Some(c))
}

/// The number of characters before the first `part` in `text`.
pub(super) fn index_of(text: &str, part: &str) -> Option<usize> {
    if part.is_empty() {
        return Some(0);
    }
    if text.is_ascii() && part.is_ascii() {
        return text.as_bytes().windows(part.len()).position(|window| window.eq_ignore_ascii_case(part.as_bytes()));
    }
    let (text, part) = (folded(text).collect::<String>(), folded(part).collect::<String>());
    text.find(&part).map(|at| text[..at].chars().count())
}

/// How two values other than null order; `None` if such values do not compare.
pub(super) fn order(a: &Value, b: &Value) -> Option<Ordering> {
    match (a, b) {
        (Value::Text(a), Value::Text(b)) => Some(compare_text(a, b)),
        (Value::Int(a), Value::Int(b)) => Some(a.cmp(b)),
        (Value::Double(a), Value::Double(b)) => a.partial_cmp(b),
        (Value::Int(a), Value::Double(b)) => (*a as f64).partial_cmp(b),
        (Value::Double(a), Value::Int(b)) => a.partial_cmp(&(*b as f64)),
        (Value::Bool(a), Value::Bool(b)) => Some(a.cmp(b)),
        (Value::Guid(a), Value::Guid(b)) => Some(a.cmp(b)),
        (Value::DateTime(a), Value::DateTime(b)) => Some(a.at.cmp(&b.at)),
        (Value::Date(a), Value::Date(b)) => Some(a.cmp(b)),
        (Value::Time(a), Value::Time(b)) => Some(a.cmp(b)),
        (Value::Duration(a), Value::Duration(b)) => Some(a.cmp(b)),
        (Value::DateTime(a), Value::Date(b)) => Some(a.at.cmp(&midnight(*b)?)),
        (Value::Date(a), Value::DateTime(b)) => Some(midnight(*a)?.cmp(&b.at)),
        // Graph writes many ids as text, and extensions write everything as text.
        (Value::Text(a), b) => order_text(a, b),
        (a, Value::Text(b)) => order_text(b, a).map(Ordering::reverse),
        _ => None,
    }
}

fn order_text(a: &str, b: &Value) -> Option<Ordering> {
    match b {
        Value::Guid(b) => Some(a.parse::<Guid>().ok()?.cmp(b)),
        Value::DateTime(b) => Some(literal::moment(a)?.at.cmp(&b.at)),
        Value::Date(b) => Some(literal::date(a)?.cmp(b)),
        Value::Time(b) => Some(literal::time(a)?.cmp(b)),
        Value::Duration(b) => Some(literal::duration(a)?.cmp(b)),
        _ => None,
    }
}

/// A date meets a time as its first moment in UTC.
fn midnight(date: Date) -> Option<Timestamp> {
    Offset::UTC.to_timestamp(date.at(0, 0, 0, 0)).ok()
}

/// Whether two values other than null are equal; `None` if such values do not compare. Lists are equal item by item in
/// their order, objects by their names.
pub(super) fn equal(a: &Value, b: &Value) -> Option<bool> {
    match (a, b) {
        (Value::Record(a), Value::Record(b)) => Some(a.collection == b.collection && a.key == b.key),
        (Value::List(a), Value::List(b)) => {
            Some(a.items.len() == b.items.len() && a.items.iter().zip(b.items.iter()).all(|(a, b)| same(a, b)))
        }
        (Value::Object(a), Value::Object(b)) => {
            let there =
                |(name, value): &(_, Value)| b.iter().any(|(other, of_other)| other == name && same(value, of_other));
            Some(a.len() == b.len() && a.iter().all(there))
        }
        // Text that is no id is simply another one than the id it is compared with.
        (Value::Text(_), Value::Guid(_)) | (Value::Guid(_), Value::Text(_)) => {
            Some(order(a, b) == Some(Ordering::Equal))
        }
        (Value::Binary(a), Value::Binary(b)) => Some(a == b),
        (Value::Binary(bytes), Value::Text(text)) | (Value::Text(text), Value::Binary(bytes)) => {
            Some(literal::binary(text).is_some_and(|read| *read == **bytes))
        }
        // What is no number is equal to nothing, itself included.
        (Value::Double(_), Value::Int(_) | Value::Double(_)) | (Value::Int(_), Value::Double(_)) => {
            Some(order(a, b) == Some(Ordering::Equal))
        }
        _ => order(a, b).map(Ordering::is_eq),
    }
}

/// Whether two items are the same: equal, or both null. What does not compare is not the same.
pub(super) fn same(a: &Value, b: &Value) -> bool {
    match a.is_null() || b.is_null() {
        true => a.is_null() && b.is_null(),
        false => equal(a, b) == Some(true),
    }
}

/// What is not known inside a list or an object, which makes comparing it as a whole unknown.
pub(super) fn doubt(value: &Value) -> Option<Unknown> {
    match value {
        Value::Unknown(reason) => Some(reason.clone()),
        Value::List(list) => super::eval::reason_for(list).or_else(|| list.items.iter().find_map(doubt)),
        Value::Object(parts) => parts.iter().find_map(|(_, value)| doubt(value)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn check(a: &str, b: &str, expected: Ordering) {
        assert_eq!(compare_text(a, b), expected, "{a} {b}");
        assert_eq!(compare_text(b, a), expected.reverse(), "{b} {a}");
    }

    #[test]
    fn text_compares_without_case() {
        check("", "", Ordering::Equal);
        check("Adele", "ADELE", Ordering::Equal);
        check("Ärger", "äRGER", Ordering::Equal);
        check("İ", "i", Ordering::Equal);
        check("\u{212a}", "k", Ordering::Equal);
        check("straße", "strasse", Ordering::Greater);
        check("a", "B", Ordering::Less);
        check("a", "ab", Ordering::Less);
        check("_", "A", Ordering::Less);
        check("z", "Ä", Ordering::Less);
    }

    #[test]
    fn parts_are_found_without_case() {
        for (text, part, at) in
            [("Hello", "L", Some(2)), ("Größe", "SSE", None), ("GRÖSSE", "össe", Some(2)), ("x", "", Some(0))]
        {
            assert_eq!(index_of(text, part), at, "{text} {part}");
        }
        assert!(starts_with("ÄRGER", "är") && !starts_with("är", "ärger"));
        assert!(ends_with("Contoso.COM", ".com") && !ends_with("com", ".com"));
    }

    proptest! {
        #[test]
        fn order_is_that_of_the_folded_text(a in "[aAäÄ_zİß\u{212a}]{0,5}", b in "[aAäÄ_zİß\u{212a}]{0,5}") {
            let folded = |text: &str| text.chars().map(fold).collect::<String>();
            prop_assert_eq!(compare_text(&a, &b), folded(&a).cmp(&folded(&b)));
        }

        #[test]
        fn parts_are_where_the_folded_text_has_them(text in "[aAäÄbB]{0,6}", part in "[aAäÄbB]{0,2}") {
            let folded = |text: &str| text.chars().map(fold).collect::<Vec<_>>();
            let (whole, sought) = (folded(&text), folded(&part));
            let expected = (0..=whole.len()).find(|at| whole[*at..].starts_with(&sought));
            prop_assert_eq!(index_of(&text, &part), expected);
            prop_assert_eq!(starts_with(&text, &part), whole.starts_with(&sought));
            prop_assert_eq!(ends_with(&text, &part), whole.ends_with(&sought));
        }
    }
}
