//! Functions on text. What looks for a part ignores case, as everything that compares text does.

use std::ops::Range;

use icu_normalizer::ComposingNormalizerBorrowed;
use sha2::{Digest, Sha256};

use super::{Arguments, items};
use crate::expr::compare::fold;
use crate::expr::literal;
use crate::record::{List, Value};

pub(super) fn to_lower(arguments: &Arguments<'_>) -> Value {
    arguments.one_text(|text| Value::text(text.to_lowercase()))
}

pub(super) fn to_upper(arguments: &Arguments<'_>) -> Value {
    arguments.one_text(|text| Value::text(text.to_uppercase()))
}

pub(super) fn trim(arguments: &Arguments<'_>) -> Value {
    arguments.one_text(|text| Value::text(text.trim()))
}

/// The first letter of each word in upper case, the others in lower case. An apostrophe does not begin a word.
pub(super) fn title(arguments: &Arguments<'_>) -> Value {
    arguments.one_text(|text| {
        let mut out = String::with_capacity(text.len());
        let mut inside = false;
        for c in text.chars() {
            match inside {
                true => out.extend(c.to_lowercase()),
                false => out.extend(c.to_uppercase()),
            }
            inside = c.is_alphanumeric() || matches!(c, '\'' | '\u{2019}');
        }
        Value::text(out)
    })
}

/// White space trimmed and collapsed, and characters composed (Unicode NFC).
pub(super) fn normalize(arguments: &Arguments<'_>) -> Value {
    arguments.one_text(|text| {
        let words = text.split_whitespace().collect::<Vec<_>>().join(" ");
        Value::text(&*ComposingNormalizerBorrowed::new_nfc().normalize(&words))
    })
}

pub(super) fn concat(arguments: &Arguments<'_>) -> Value {
    let mut all = String::with_capacity(48);
    let (mut lists, mut null) = (Vec::new(), false);
    for index in 0..arguments.len() {
        let value = arguments.value(index);
        match &*value {
            Value::Unknown(_) => return value.into_owned(),
            Value::List(list) => lists.push(list.clone()),
            single => match literal::text(single) {
                Some(text) => all.push_str(&text),
                None => null = true,
            },
        }
    }
    if lists.is_empty() {
        return if null { Value::Null } else { Value::text(all) };
    }
    if null || lists.len() < arguments.len() {
        return Value::Null;
    }
    let items: Vec<Value> = lists.iter().flat_map(|list| list.items.iter().cloned()).collect();
    let maybe: Vec<Value> = lists.iter().flat_map(|list| list.maybe().iter().cloned()).collect();
    Value::List(List::new(items, maybe, lists.iter().find_map(|list| list.rest().cloned())))
}

pub(super) fn join(arguments: &Arguments<'_>) -> Value {
    let [list, separator] = match arguments.strict::<2>() {
        Ok(arguments) => arguments,
        Err(value) => return value,
    };
    let Some(separator) = literal::text(&separator) else { return Value::Null };
    let texts: Vec<_> = match items(&list) {
        Ok(items) => items.iter().filter_map(literal::text).collect(),
        Err(unknown) => return unknown,
    };
    if texts.is_empty() { Value::Null } else { Value::text(texts.join(&separator)) }
}

/// Bytes of the places where `part` is in `text`, ignoring case. They do not overlap.
fn places(text: &str, part: &str) -> impl Iterator<Item = Range<usize>> {
    let mut from = 0;
    std::iter::from_fn(move || {
        let place = place(text, part, from)?;
        from = place.end;
        Some(place)
    })
}

/// The first place of `part` in `text`, ignoring case, that does not begin before `from`. An empty part has none.
fn place(text: &str, part: &str, from: usize) -> Option<Range<usize>> {
    let first = part.chars().next().map(fold)?;
    text[from..].char_indices().map(|(at, c)| (from + at, c)).filter(|(_, c)| fold(*c) == first).find_map(|(at, _)| {
        let mut rest = text[at..].chars();
        let same = part.chars().map(fold).all(|c| rest.next().map(fold) == Some(c));
        same.then(|| at..text.len() - rest.as_str().len())
    })
}

pub(super) fn replace(arguments: &Arguments<'_>) -> Value {
    let [text, part, with] = match arguments.strict::<3>() {
        Ok(arguments) => arguments,
        Err(value) => return value,
    };
    let (Some(text), Some(part), Some(with)) = (literal::text(&text), literal::text(&part), literal::text(&with))
    else {
        return Value::Null;
    };
    let (mut out, mut from) = (String::with_capacity(text.len()), 0);
    for place in places(&text, &part) {
        out.push_str(&text[from..place.start]);
        out.push_str(&with);
        from = place.end;
    }
    out.push_str(&text[from..]);
    Value::text(out)
}

pub(super) fn split(arguments: &Arguments<'_>) -> Value {
    arguments.two_texts(|text, separator| {
        let (mut parts, mut from) = (Vec::new(), 0);
        for place in places(text, separator) {
            parts.push(Value::text(&text[from..place.start]));
            from = place.end;
        }
        parts.push(Value::text(&text[from..]));
        Value::List(List::known(parts))
    })
}

pub(super) fn before(arguments: &Arguments<'_>) -> Value {
    arguments.two_texts(|text, part| {
        let end = place(text, part, 0).map_or(text.len(), |place| place.start);
        Value::text(&text[..end])
    })
}

pub(super) fn after(arguments: &Arguments<'_>) -> Value {
    arguments.two_texts(|text, part| {
        let start = place(text, part, 0).map_or(text.len(), |place| place.end);
        Value::text(&text[start..])
    })
}

pub(super) fn mail_domain(arguments: &Arguments<'_>) -> Value {
    arguments.one_text(|text| match text.rsplit_once('@') {
        Some((_, domain)) if !domain.trim().is_empty() => Value::text(domain.trim().to_lowercase()),
        _ => Value::Null,
    })
}

/// SHA-256 in hexadecimal digits.
pub(super) fn hash(arguments: &Arguments<'_>) -> Value {
    arguments.one_text(|text| {
        let digest = Sha256::digest(text.as_bytes());
        Value::text(digest.iter().map(|byte| format!("{byte:02x}")).collect::<String>())
    })
}
