//! What `lookup` prints: one object with what hangs on it, or what a filter keeps.
//!
//! Plain lines for people, one document for programs. Deliberately cuts only the text: of one object JSON holds all.

use std::io::Write;

use serde::Serialize;
use serde_json::Value;

use super::write_failed;
use crate::error::{Context, Result};
use crate::json;
use crate::lookup::{Brief, Found, Held, Kept, License};
use crate::visible::visible;

/// How an answer is printed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, clap::ValueEnum)]
pub enum AnswerFormat {
    /// For people
    #[default]
    Text,
    /// For programs
    Json,
}

#[derive(Serialize)]
struct Document<'a, T> {
    format: &'static str,
    #[serde(flatten)]
    answer: &'a T,
}

impl AnswerFormat {
    /// One object; text shows the first so many of each list.
    pub fn found(self, found: &Found, first: usize, to: &mut dyn Write) -> Result<()> {
        match self {
            AnswerFormat::Text => to.write_all(text_of_found(found, first).as_bytes()).failing(write_failed),
            AnswerFormat::Json => document("lookup/1", found, to),
        }
    }

    /// What a filter keeps.
    pub fn kept(self, kept: &Kept, to: &mut dyn Write) -> Result<()> {
        match self {
            AnswerFormat::Text => to.write_all(text_of_kept(kept).as_bytes()).failing(write_failed),
            AnswerFormat::Json => document("lookup/1", kept, to),
        }
    }
}

/// An answer as one line of JSON that begins with its format.
pub(super) fn document(format: &'static str, answer: &impl Serialize, to: &mut dyn Write) -> Result<()> {
    let mut line = Vec::new();
    to.write_all(json::line(&Document { format, answer }, &mut line)?).failing(write_failed)?;
    to.write_all(b"\n").failing(write_failed)
}

fn text_of_found(found: &Found, first: usize) -> String {
    let mut text = format!("{} {}, read at {:.0}\n", found.object.kind, words(&found.object), found.as_of);
    for (name, value) in &found.properties {
        if let Some(value) = shown(value) {
            text.push_str(&format!("  {}: {value}\n", visible(name)));
        }
    }
    text.push_str(&lists_of(found, first));
    text
}

/// What hangs on an object, and what is not known of that; text shows the first so many of each list.
pub(super) fn lists_of(found: &Found, first: usize) -> String {
    let mut text = String::new();
    if let Some(manager) = &found.manager {
        text.push_str(&format!("  manager: {}\n", words(manager)));
    }
    if let Some(groups) = &found.groups {
        let lines = groups.iter().map(|held| held_words(held, None));
        list(&mut text, &format!("in {}", counted(groups, "group")), lines, first);
    }
    if let Some(members) = &found.members {
        let lines = members.iter().map(|held| held_words(held, Some(&found.object)));
        list(&mut text, &counted(members, "member"), lines, first);
    }
    if let Some(licenses) = &found.licenses {
        list(&mut text, &number(licenses.len(), "license"), licenses.iter().map(license_words), first);
    }
    not_known(&mut text, &found.unknown);
    text
}

fn text_of_kept(kept: &Kept) -> String {
    let mut text = format!("{} of {} {}, read at {:.0}\n", kept.count, kept.read, kept.collection, kept.as_of);
    for brief in &kept.first {
        text.push_str(&format!("  {}\n", words(brief)));
    }
    more(&mut text, kept.count.saturating_sub(kept.first.len() as u64));
    if kept.doubtful > 0 {
        text.push_str(&format!("of {} more it is not known\n", kept.doubtful));
    }
    not_known(&mut text, &kept.unknown);
    text
}

/// A heading, and the first so many lines under it.
fn list(text: &mut String, heading: &str, lines: impl ExactSizeIterator<Item = String>, first: usize) {
    text.push_str(&format!("{heading}\n"));
    let left = lines.len().saturating_sub(first);
    lines.take(first).for_each(|line| text.push_str(&format!("  {line}\n")));
    more(text, left as u64);
}

fn more(text: &mut String, left: u64) {
    if left > 0 {
        text.push_str(&format!("  and {left} more; --first N shows more\n"));
    }
}

fn not_known(text: &mut String, unknown: &[String]) {
    if !unknown.is_empty() {
        text.push_str("not known\n");
        unknown.iter().for_each(|words| text.push_str(&format!("  {}\n", visible(words))));
    }
}

fn number(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

fn counted(held: &[Held], what: &str) -> String {
    let direct = held.iter().filter(|held| held.is_direct()).count();
    format!("{}, {direct} direct", number(held.len(), what))
}

/// The id first: a name may hold anything.
fn words(brief: &Brief) -> String {
    let texts = [Some(brief.id.to_string()), brief.name.clone(), brief.address.clone()];
    let texts: Vec<String> = texts.into_iter().flatten().map(|text| visible(&text).into_owned()).collect();
    texts.join("  ")
}

/// `of` is the group whose members are told: it stands in every path and is left out.
fn held_words(held: &Held, of: Option<&Brief>) -> String {
    let kind = if of.is_some() { format!("{}  ", held.object.kind) } else { String::new() };
    let way = match held.is_direct() {
        true => "direct".to_owned(),
        false => {
            let name = |brief: &Brief| brief.name.clone().unwrap_or_else(|| brief.id.to_string());
            // The outermost group is the one that the line or the answer is about.
            let between: Vec<String> = held.path.iter().skip(1).map(name).collect();
            format!("through {}", visible(&between.join(" > ")))
        }
    };
    format!("{kind}{}  {way}", words(&held.object))
}

fn license_words(license: &License) -> String {
    let product = license.product.as_deref().map(visible).unwrap_or_default();
    let state = license.state.as_deref().map(visible).unwrap_or_default();
    match &license.through {
        Some(group) => format!("{}  {product}  {state}  through {}", license.sku, words(group)),
        None => format!("{}  {product}  {state}  direct", license.sku),
    }
}

/// A property's value; none where there is nothing to say.
fn shown(value: &Value) -> Option<String> {
    match value {
        Value::Null => None,
        Value::Array(items) if items.is_empty() => None,
        Value::String(text) => Some(visible(text).into_owned()),
        other => Some(visible(&other.to_string()).into_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{Collection, Guid};
    use crate::report::examples::HOSTILE;
    use crate::visible::is_hidden;

    #[test]
    fn text_of_the_directory_never_becomes_terminal_control() {
        let group =
            Brief { id: Guid([1; 16]), kind: "group", name: Some(HOSTILE.into()), address: Some(HOSTILE.into()) };
        let held = Held { object: group.clone(), path: vec![group.clone(), group.clone()] };
        let license = License {
            sku: Guid([2; 16]),
            product: Some(HOSTILE.into()),
            state: Some(HOSTILE.into()),
            through: Some(group.clone()),
        };
        let found = Found {
            as_of: jiff::Timestamp::UNIX_EPOCH,
            object: group.clone(),
            properties: [(HOSTILE.to_owned(), HOSTILE.into()), ("list".into(), vec![HOSTILE].into())]
                .into_iter()
                .collect(),
            manager: Some(group.clone()),
            groups: Some(vec![held.clone()]),
            members: Some(vec![held]),
            licenses: Some(vec![license]),
            unknown: vec![HOSTILE.into()],
        };
        let kept = Kept {
            as_of: jiff::Timestamp::UNIX_EPOCH,
            collection: Collection::Users,
            filter: HOSTILE.into(),
            read: 1,
            count: 1,
            doubtful: 0,
            first: vec![group],
            unknown: vec![HOSTILE.into()],
        };
        for format in [AnswerFormat::Text, AnswerFormat::Json] {
            let mut out = Vec::new();
            format.found(&found, 10, &mut out).unwrap();
            format.kept(&kept, &mut out).unwrap();
            let out = String::from_utf8(out).unwrap();
            assert_eq!(out.chars().find(|c| *c != '\n' && is_hidden(*c)), None, "{out}");
        }
    }
}
