//! Mapping files: which attribute of a target's record comes from which expression over a source record.
//!
//! Hides how a mapping is written, overridden by a job and checked; what leaves is a compiled [`Mapping`] that turns a
//! record into values in their canonical form. Deliberately does not compare, does no I/O while mapping, and knows no
//! target system.

mod cases;
pub mod each;
mod parts;
pub mod read;
pub mod removal;
pub mod shipped;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::fmt;

use serde::Serialize;

pub use cases::{Case, Mismatch, TestResult, run_tests};
pub use each::Each;
pub use read::test_file;

use crate::distinct;
use crate::expr::{Expr, Navigate, Subject, Table};
use crate::plan::change::FindIn;
use crate::plan::datum::{Datum, Set};
use crate::plan::policy::{Empty, Recreate, Removal, Side, Write};
use crate::record::{Collection, Record, Unknown, Value};
use crate::schema::Type;
use crate::tree::{Kind, Node};

/// A compiled mapping: one collection of the source into one type of the target.
#[derive(Clone, Debug)]
pub struct Mapping {
    /// What references and messages call it.
    pub name: String,
    pub source: Collection,
    /// One record for each distinct value of an attribute of `source`, in place of one for each of its records.
    pub distinct: Option<Distinct>,
    /// One row for each element of a list, in place of one for the record.
    pub each: Option<Each>,
    /// The target's type; for CSV the name of the file without `.csv`.
    pub target: String,
    pub key: KeyRule,
    /// Attributes by which a record made by hand is taken over, tried in this order; indices into `attributes`.
    pub adopt: Vec<usize>,
    /// In the order of the file, which is the order of columns in CSV.
    pub attributes: Vec<Attribute>,
    /// The mapping's own ladders, or the job's common ones.
    pub removal: Removal,
    pub recreate: Recreate,
    /// An expression over the target's values; a record for which it is true is never touched.
    pub protect: Option<String>,
    /// The cases of the file; none for a mapping that a job uses.
    pub tests: Vec<Case>,
    /// Where it comes from: `csv/users@1`, or the path of a file.
    pub origin: String,
}

/// Records made of values: see [`crate::distinct`].
#[derive(Clone, Debug)]
pub struct Distinct {
    /// Over the records of the mapping's source.
    pub value: Expr,
    /// Attributes are made of the records that have the value, too.
    pub joins: bool,
}

/// How a target record is recognised.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum KeyRule {
    /// By the values of these attributes (indices into [`Mapping::attributes`]), together.
    Attributes(Vec<usize>),
    /// By the ledger alone: the target has no field for the key.
    Ledger,
}

/// One attribute of the target's record.
#[derive(Clone, Debug)]
pub struct Attribute {
    pub name: String,
    pub value: AttributeValue,
    pub write: Write,
    pub empty: Empty,
    pub on_adopt: Side,
    pub on_conflict: Side,
    /// The mapping this refers to by name; the value is then the referred record's source key.
    pub reference: Option<String>,
    /// Holds many values: the expression's type is a list, and no separator makes one text of it.
    pub many: bool,
    /// Stands between the values of a list, which become one text.
    pub separator: Option<String>,
    /// A record for which it is empty or unknown is rejected.
    pub required: bool,
    /// Reports say that it changed, and no value.
    pub private: bool,
    pub max_length: Option<MaxLength>,
    /// The value names a record of the target that the job does not own.
    pub find: Option<Find>,
    /// What `setup` makes of it in a target whose attributes have types.
    pub slot: Option<Slot>,
}

impl Attribute {
    /// Whether all its values are true and false, as far as that is known before anything is read.
    pub fn is_boolean(&self) -> bool {
        !self.many && matches!(&self.value, AttributeValue::Expr(value) if value.ty() == Type::BOOL)
    }
}

/// The type of an attribute in a target that has types, where the expression's own type does not say enough.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Slot {
    pub kind: SlotKind,
    /// What a select or a status may hold.
    pub options: Vec<String>,
}

/// What an attribute of a typed target can hold.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SlotKind {
    Text,
    /// Text of any length.
    Textarea,
    Integer,
    Double,
    Boolean,
    Date,
    Time,
    DateTime,
    Url,
    Email,
    Ip,
    /// One of some texts.
    Select,
    /// A state with a colour.
    Status,
    /// One who has an account there, named by mail address.
    User,
}

impl SlotKind {
    /// With the words that mapping files have for them.
    pub const WORDS: [(&str, SlotKind); 14] = [
        ("text", SlotKind::Text),
        ("textarea", SlotKind::Textarea),
        ("integer", SlotKind::Integer),
        ("double", SlotKind::Double),
        ("boolean", SlotKind::Boolean),
        ("date", SlotKind::Date),
        ("time", SlotKind::Time),
        ("datetime", SlotKind::DateTime),
        ("url", SlotKind::Url),
        ("email", SlotKind::Email),
        ("ip", SlotKind::Ip),
        ("select", SlotKind::Select),
        ("status", SlotKind::Status),
        ("user", SlotKind::User),
    ];

    pub fn word(self) -> &'static str {
        SlotKind::WORDS.iter().find(|(_, kind)| *kind == self).map_or("", |(word, _)| word)
    }
}

/// A reference to a record that stands in the target and that no mapping of the job makes.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Find {
    /// Where it is looked for, and by which attribute.
    #[serde(flatten)]
    pub among: FindIn,
    pub missing: Missing,
}

/// What becomes of a name that no record has.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Missing {
    /// What stands in the target stays.
    Report,
    /// The value counts as empty.
    Empty,
}

/// The most characters (Unicode scalar values) of a value, for a list of each of its elements.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
pub struct MaxLength {
    /// At least 1.
    pub characters: usize,
    /// A record with a longer value is rejected; otherwise the value is cut, and that is told.
    pub reject: bool,
}

/// Where an attribute's value comes from.
#[derive(Clone, Debug)]
pub enum AttributeValue {
    Expr(Expr),
    Const(Datum),
}

/// What a record should look like in the target.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Mapped {
    /// One value for each of [`Mapping::attributes`], in their order.
    pub values: Vec<Datum>,
    /// The attributes whose value was cut, each with what is to be told.
    pub cut: Vec<(usize, String)>,
}

/// Why a record cannot be mapped. Its state becomes unknown, which never removes anything.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Rejection {
    pub attribute: String,
    pub reason: String,
}

impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\" {}", self.attribute, self.reason)
    }
}

impl Attribute {
    /// The value for one subject.
    fn of(&self, subject: Subject<'_>, navigate: &dyn Navigate) -> Datum {
        match &self.value {
            AttributeValue::Const(value) => value.clone(),
            AttributeValue::Expr(expr) => expr.look(subject, navigate, |value| match &self.separator {
                Some(separator) => joined(Datum::of(value, true), separator),
                None => Datum::of(value, self.many),
            }),
        }
    }
}

/// A set as one text: sorted, so that a list in another order is no change. Of a list that is not wholly known the
/// text is not known either.
fn joined(value: Datum, separator: &str) -> Datum {
    match value {
        Datum::Set(set) if set.is_complete() => Datum::text(set.items.join(separator)),
        Datum::Set(set) => {
            let reason =
                set.rest().cloned().unwrap_or_else(|| Unknown::new("it is not known which values belong to the list"));
            Datum::Unknown(reason)
        }
        other => other,
    }
}

impl Attribute {
    /// Refuses a value that is missing, where the mapping requires one.
    pub fn check_required(&self, value: &Datum) -> Result<(), Rejection> {
        if self.required { self.check_filled("is required", value) } else { Ok(()) }
    }

    fn check_filled(&self, role: &str, value: &Datum) -> Result<(), Rejection> {
        let reason = match value {
            Datum::Unknown(reason) => format!("{role} and is unknown: {reason}"),
            Datum::Set(_) if role == KEY_ROLE => format!("{role} and holds several values"),
            value if value.is_empty() => format!("{role} and is empty"),
            _ => return Ok(()),
        };
        Err(Rejection { attribute: self.name.clone(), reason })
    }
}

/// What a value is for in the words of a rejection.
const KEY_ROLE: &str = "is the key";

impl Mapping {
    /// The position of an attribute.
    pub fn position(&self, attribute: &str) -> Option<usize> {
        self.attributes.iter().position(|other| other.name == attribute)
    }

    /// Turns a source record into the target's values, or says why that is not possible.
    pub fn apply(&self, record: &Record, navigate: &dyn Navigate) -> Result<Mapped, Rejection> {
        self.apply_to(Subject::Record(record), navigate)
    }

    /// One value for each attribute, as its expression has it: not cut, and whether or not the record can be mapped.
    pub fn values(&self, subject: Subject<'_>, navigate: &dyn Navigate) -> Vec<Datum> {
        self.attributes.iter().map(|attribute| attribute.of(subject, navigate)).collect()
    }

    /// [`Mapping::apply`] for one element of the list that is split.
    fn apply_item(&self, record: &Record, item: &Value, navigate: &dyn Navigate) -> Result<Mapped, Rejection> {
        self.apply_to(Subject::Item(record, item), navigate)
    }

    /// [`Mapping::apply`] for a mapping of distinct values; `records` are those that have the value.
    pub fn apply_value(&self, spelling: &str, records: &Value, navigate: &dyn Navigate) -> Result<Mapped, Rejection> {
        self.apply_to(Subject::Group(&distinct::record(spelling), records), navigate)
    }

    fn apply_to(&self, subject: Subject<'_>, navigate: &dyn Navigate) -> Result<Mapped, Rejection> {
        self.checked(self.values(subject, navigate))
    }

    /// Values as the mapping allows them: what must be there is, and nothing is too long.
    fn checked(&self, mut values: Vec<Datum>) -> Result<Mapped, Rejection> {
        let mut cut = Vec::new();
        for (index, (attribute, value)) in self.attributes.iter().zip(&mut values).enumerate() {
            if let Some(words) = attribute.max_length.and_then(|most| shorten(value, most)) {
                if attribute.max_length.is_some_and(|most| most.reject) {
                    return Err(Rejection { attribute: attribute.name.clone(), reason: words });
                }
                cut.push((index, words));
            }
            match (&self.key, value) {
                (KeyRule::Attributes(key), value) if key.contains(&index) => attribute.check_filled(KEY_ROLE, value)?,
                (_, value) => attribute.check_required(value)?,
            }
        }
        Ok(Mapped { values, cut })
    }

    /// The meaning of the mapping in one fixed form: two files that mean the same give the same. Without tests,
    /// comments and where it was read from.
    pub fn canonical(&self) -> impl Serialize + '_ {
        Canonical {
            identity: self.identity(),
            adopt: self.adopt.iter().map(|index| self.attributes[*index].name.as_str()).collect(),
            attributes: self.attributes.iter().map(CanonicalAttribute::of).collect(),
            removal: &self.removal,
            recreate: self.recreate == Recreate::Create,
            protect: self.protect.as_deref(),
            tables: self.tables(),
        }
    }

    /// What the tables are that its expressions look things up in.
    fn tables(&self) -> BTreeSet<&str> {
        let values = self.attributes.iter().filter_map(|attribute| match &attribute.value {
            AttributeValue::Expr(expr) => Some(expr),
            AttributeValue::Const(_) => None,
        });
        let each = self.each.iter().flat_map(|each| [Some(&each.of), each.by.as_ref()]).flatten();
        let all = values.chain(each).chain(self.distinct.iter().map(|distinct| &distinct.value));
        all.flat_map(Expr::tables).map(Table::digest).collect()
    }

    /// What makes it this mapping: a change in it is an edit whose removals need approval.
    pub fn identity(&self) -> Identity {
        let key = match &self.key {
            KeyRule::Ledger => Vec::new(),
            KeyRule::Attributes(key) => key.iter().map(|index| self.attributes[*index].name.clone()).collect(),
        };
        let distinct = self.distinct.as_ref().map(|distinct| distinct.value.to_string());
        let each = self.each.as_ref().map(Each::canonical);
        Identity { name: self.name.clone(), source: self.source, distinct, each, target: self.target.clone(), key }
    }
}

/// What makes a mapping this mapping. An empty `key` is a key kept in the ledger.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, serde::Deserialize)]
pub struct Identity {
    pub name: String,
    pub source: Collection,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub distinct: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub each: Option<String>,
    pub target: String,
    pub key: Vec<String>,
}

impl Identity {
    /// Whether another mapping of that name makes its rows of the same things: what only one of them makes has not
    /// left, the mapping was edited.
    pub fn makes_the_same(&self, other: &Identity) -> bool {
        (self.source, &self.distinct, &self.each) == (other.source, &other.distinct, &other.each)
    }
}

#[derive(Serialize)]
struct Canonical<'m> {
    identity: Identity,
    adopt: Vec<&'m str>,
    attributes: Vec<CanonicalAttribute<'m>>,
    removal: &'m Removal,
    recreate: bool,
    protect: Option<&'m str>,
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    tables: BTreeSet<&'m str>,
}

#[derive(Serialize)]
struct CanonicalAttribute<'m> {
    name: &'m str,
    /// In normal form, so that spacing is no change.
    value: Option<String>,
    constant: Option<&'m Datum>,
    write: Write,
    empty: Empty,
    on_adopt: Side,
    on_conflict: Side,
    reference: Option<&'m str>,
    required: bool,
    private: bool,
    max_length: Option<MaxLength>,
    find: Option<&'m Find>,
    #[serde(skip_serializing_if = "Option::is_none")]
    separator: Option<&'m str>,
}

impl<'m> CanonicalAttribute<'m> {
    fn of(attribute: &'m Attribute) -> CanonicalAttribute<'m> {
        let (value, constant) = match &attribute.value {
            AttributeValue::Expr(expr) => (Some(expr.to_string()), None),
            AttributeValue::Const(value) => (None, Some(value)),
        };
        CanonicalAttribute {
            name: &attribute.name,
            value,
            constant,
            write: attribute.write,
            empty: attribute.empty,
            on_adopt: attribute.on_adopt,
            on_conflict: attribute.on_conflict,
            reference: attribute.reference.as_deref(),
            required: attribute.required,
            private: attribute.private,
            max_length: attribute.max_length,
            find: attribute.find.as_ref(),
            separator: attribute.separator.as_deref(),
        }
    }
}

/// Cuts what is longer than allowed; in words what was too long, without the value.
pub(crate) fn shorten(value: &mut Datum, most: MaxLength) -> Option<String> {
    let mut longest = 0;
    let mut cut = |text: &mut Box<str>| {
        if let Some((end, _)) = text.char_indices().nth(most.characters) {
            longest = longest.max(text.chars().count());
            // A blank at the cut is nothing that anybody wrote there, and many systems drop it.
            *text = text[..end].trim_end().into();
        }
    };
    match value {
        Datum::One(text) => {
            cut(text);
            *value = Datum::text(std::mem::take(text));
        }
        Datum::Set(set) => {
            let (mut items, mut maybe, rest) = std::mem::take(set).into_parts();
            items.iter_mut().chain(&mut maybe).for_each(cut);
            *set = Set::new(items, maybe, rest);
        }
        Datum::Empty | Datum::Unknown(_) => {}
    }
    (longest > 0).then(|| format!("has {longest} characters, and {} are allowed", most.characters))
}

/// The canonical text of a plain TOML value; `None` for lists and tables.
fn scalar_text(node: &Node) -> Option<String> {
    Some(match &node.kind {
        Kind::Text(text) => text.clone(),
        Kind::Int(number) => number.to_string(),
        Kind::Float(number) => number.to_string(),
        Kind::Bool(flag) => flag.to_string(),
        // An instant is compared in UTC; a date without an offset stays as it is written.
        Kind::Date(date) => {
            let text = date.to_string();
            text.parse::<jiff::Timestamp>().map(|at| at.to_string()).unwrap_or(text)
        }
        Kind::List(_) | Kind::Table(_) => return None,
    })
}

/// A TOML value in canonical form: a list becomes a set. `None` for tables and lists of them.
fn datum(node: &Node) -> Option<Datum> {
    match &node.kind {
        Kind::List(items) => Some(Datum::set(items.iter().map(scalar_text).collect::<Option<Vec<_>>>()?)),
        _ => scalar_text(node).map(Datum::text),
    }
}
