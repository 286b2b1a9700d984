//! One change, and its values, for people.
//!
//! Values are in quotes, with hidden characters as escapes ([`visible`]). They are shortened here and only here, unless
//! [`Detail::Full`] is asked for. Deliberately looks up nothing: a reference is shown by the key it holds.

use std::fmt::{Display, Write as _};

use super::{HIDDEN, LABEL_WIDTH, Page, WORDS_WIDTH, tone};
use crate::plan::change::{Action, AttributeChange, Change};
use crate::plan::datum::{Datum, Set};
use crate::report::Detail;
use crate::report::paint::Tone;
use crate::report::words::grouped;
use crate::visible::{quoted, shortened, visible};

/// Characters of one value before it is shortened.
const VALUE_WIDTH: usize = 72;
/// Elements of one set, added or removed, that are shown before the rest is only counted.
const ELEMENTS_SHOWN: usize = 10;
/// The widest column of attribute names; longer names push their own line out.
const NAME_WIDTH: usize = 24;

impl Page<'_> {
    /// One change with its attributes and its cause.
    pub(super) fn change(&mut self, change: &Change) {
        let symbol = self.paint.text(tone(change.action), change.action.symbol());
        let name = self.record_name(&change.label, &change.key);
        self.line(format_args!("  {symbol} {name}"));
        let width = change.attributes.iter().map(|attribute| visible(&attribute.name).chars().count()).max();
        let width = width.unwrap_or_default().min(NAME_WIDTH);
        for attribute in &change.attributes {
            self.attribute(attribute, change.action, width);
        }
        if let Some(cause) = &change.cause {
            let words = shortened(&cause.words, WORDS_WIDTH);
            self.line(format_args!("      because {words}"));
        }
    }

    fn attribute(&mut self, attribute: &AttributeChange, action: Action, width: usize) {
        // A new record has nothing where nothing is written.
        if action == Action::Create && !attribute.hidden && attribute.before.is_empty() && attribute.after.is_empty() {
            return;
        }
        let name = visible(&attribute.name);
        let mut text = match (&attribute.before, &attribute.after) {
            _ if attribute.hidden => HIDDEN.to_string(),
            (Datum::Empty, after) if action == Action::Create => self.value(after),
            (before, Datum::Set(after)) => self.set_change(before, after),
            (before @ Datum::Set(_), Datum::Empty) => self.set_change(before, &Set::default()),
            (before, after) => format!("{} -> {}", self.value(before), self.value(after)),
        };
        if let Some(cause) = &attribute.cause {
            let _ = write!(text, "  ({})", shortened(cause, WORDS_WIDTH));
        }
        self.line(format_args!("      {name:width$}  {text}"));
    }

    /// `+ "VPN"  - "Old"`: only what differs.
    fn set_change(&self, before: &Datum, after: &Set) -> String {
        let none = Set::default();
        let before = match before {
            Datum::Empty => &none,
            Datum::Set(set) => set,
            // A single value, or an unknown one, has no elements to compare.
            single => return format!("{} -> {}", self.value(single), self.elements(after)),
        };
        let only = |these: &Set, those: &Set| -> Vec<Box<str>> {
            these.items.iter().filter(|item| those.items.binary_search(item).is_err()).cloned().collect()
        };
        let (added, removed) = (only(after, before), only(before, after));
        let mut parts = Vec::new();
        if !added.is_empty() {
            parts.push(format!("{} {}", self.paint.text(Tone::Good, "+"), self.items(&added)));
        }
        if !removed.is_empty() {
            parts.push(format!("{} {}", self.paint.text(Tone::Bad, "-"), self.items(&removed)));
        }
        if parts.is_empty() {
            // Only the doubt differs.
            return format!("{} -> {}", self.elements(before), self.elements(after));
        }
        parts.join("  ")
    }

    pub(super) fn value(&self, value: &Datum) -> String {
        match value {
            Datum::Empty => "(empty)".to_string(),
            Datum::One(text) => quoted(text, self.value_width()),
            Datum::Unknown(reason) => format!("unknown ({})", shortened(&reason.0, WORDS_WIDTH)),
            Datum::Set(set) => self.elements(set),
        }
    }

    fn elements(&self, set: &Set) -> String {
        let mut text = if set.items.is_empty() { "(none)".to_string() } else { self.items(&set.items) };
        if !set.maybe().is_empty() {
            let _ = write!(text, ", perhaps {}", self.items(set.maybe()));
        }
        if let Some(reason) = set.rest() {
            let _ = write!(text, ", perhaps more ({})", shortened(&reason.0, WORDS_WIDTH));
        }
        text
    }

    fn items(&self, items: &[Box<str>]) -> String {
        let shown = if self.view.detail == Detail::Full { items.len() } else { ELEMENTS_SHOWN };
        let mut texts: Vec<String> = items.iter().take(shown).map(|item| quoted(item, self.value_width())).collect();
        if items.len() > shown {
            texts.push(format!("and {} more", grouped((items.len() - shown) as u64)));
        }
        texts.join(", ")
    }

    fn value_width(&self) -> usize {
        if self.view.detail == Detail::Full { usize::MAX } else { VALUE_WIDTH }
    }

    /// What a record is called, and its key.
    pub(super) fn record_name(&self, label: &str, key: &impl Display) -> String {
        let (label, key) = (shortened(label, LABEL_WIDTH), shortened(&key.to_string(), LABEL_WIDTH * 2));
        if label.is_empty() || label == key { key } else { format!("{label} ({key})") }
    }
}
