//! The tree of an expression and its normal form as text.
//!
//! One tree serves parser, checker and evaluator: the parser builds it, the checker fills the slots of its property
//! steps in place, the evaluator walks it. Hides how operators bind when the tree is printed with as few parentheses
//! as possible. Deliberately knows no types and evaluates nothing. Trees compare without their positions and slots,
//! so that a printed and re-read tree equals the first.

use std::collections::BTreeSet;
use std::fmt::{self, Write};
use std::ops::Range;
use std::sync::Arc;

use super::functions::Function;
use crate::record::{Collection, Value};
use crate::schema::Navigation;

/// Byte positions in the source text.
pub(super) type Span = Range<usize>;

#[derive(Clone, Debug)]
pub(super) struct Node {
    pub kind: NodeKind,
    pub span: Span,
    /// Levels of the tree below and including this node; bounded, so that walking it cannot overflow the stack.
    pub height: u16,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum NodeKind {
    Literal(Value),
    /// `(a, b)`, the right side of `in`.
    List(Vec<Node>),
    Path(Path),
    /// Two or more; none of them an `And` itself.
    And(Vec<Node>),
    /// Two or more; none of them an `Or` itself.
    Or(Vec<Node>),
    Not(Box<Node>),
    Negate(Box<Node>),
    Binary(Binary, Box<[Node; 2]>),
    Call(&'static Function, Vec<Node>),
}

/// A binary operator other than `and` and `or`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Binary {
    Eq,
    Ne,
    Gt,
    Ge,
    Lt,
    Le,
    In,
    Has,
    Add,
    Sub,
    Mul,
    /// Division that stays whole between whole numbers.
    Div,
    /// Division that never rounds to whole numbers.
    DivBy,
    Mod,
}

impl Binary {
    /// Every operator with its word.
    pub const ALL: [(&'static str, Binary); 14] = [
        ("eq", Binary::Eq),
        ("ne", Binary::Ne),
        ("gt", Binary::Gt),
        ("ge", Binary::Ge),
        ("lt", Binary::Lt),
        ("le", Binary::Le),
        ("in", Binary::In),
        ("has", Binary::Has),
        ("add", Binary::Add),
        ("sub", Binary::Sub),
        ("mul", Binary::Mul),
        ("div", Binary::Div),
        ("divby", Binary::DivBy),
        ("mod", Binary::Mod),
    ];

    pub fn word(self) -> &'static str {
        Binary::ALL.iter().find(|(_, operator)| *operator == self).map_or("", |(word, _)| word)
    }

    /// How tightly it binds, as in the table of operator precedence in OData 4.01, part 2, 5.1.1.17.
    pub fn power(self) -> u8 {
        match self {
            Binary::Eq | Binary::Ne => power::EQUALITY,
            Binary::Gt | Binary::Ge | Binary::Lt | Binary::Le | Binary::In | Binary::Has => power::RELATION,
            Binary::Add | Binary::Sub => power::SUM,
            Binary::Mul | Binary::Div | Binary::DivBy | Binary::Mod => power::PRODUCT,
        }
    }
}

/// How tightly operators bind; more is tighter.
pub(super) mod power {
    pub const OR: u8 = 1;
    pub const AND: u8 = 2;
    pub const EQUALITY: u8 = 3;
    pub const RELATION: u8 = 4;
    pub const SUM: u8 = 5;
    pub const PRODUCT: u8 = 6;
    pub const UNARY: u8 = 7;
    pub const PRIMARY: u8 = 8;
}

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Path {
    pub head: Head,
    pub steps: Vec<Step>,
    pub end: End,
}

/// What a path starts from.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Head {
    /// The record itself, unsaid: `displayName`.
    Root,
    /// The record itself, said: `$it`, `$it/displayName`.
    It,
    /// A lambda variable, and how many lambdas lie between its own and this one (0: its own body).
    Variable(Arc<str>, u16),
}

#[derive(Clone, Debug)]
pub(super) struct Step {
    pub name: Arc<str>,
    pub span: Span,
    /// Filled by the checker: where the property is in a record of each collection.
    pub slots: Slots,
    /// Filled by the checker: the navigation to ask for when the slot is empty.
    pub via: Option<Navigation>,
}

/// A record's slot by collection, for steps that may meet records of several. The last is a custom collection's: no
/// navigation leads to one, so a step meets records of one of them at most.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Slots([u16; Collection::ALL.len() + 1]);

impl Slots {
    /// No collection has such a property.
    pub const NONE: Slots = Slots([u16::MAX; Collection::ALL.len() + 1]);

    pub fn set(&mut self, collection: Collection, slot: u16) {
        self.0[collection.index()] = slot;
    }

    pub fn get(&self, collection: Collection) -> Option<usize> {
        let slot = self.0[collection.index()];
        (slot != u16::MAX).then_some(usize::from(slot))
    }
}

/// What a path ends in.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum End {
    /// The value it leads to.
    Value,
    /// `/$count`
    Count,
    /// `/any(x: …)`, or `/any()` for "is not empty".
    Any(Option<Lambda>),
    /// `/all(x: …)`
    All(Lambda),
}

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Lambda {
    pub variable: Arc<str>,
    pub body: Box<Node>,
}

impl PartialEq for Node {
    fn eq(&self, other: &Node) -> bool {
        self.kind == other.kind
    }
}

impl PartialEq for Step {
    fn eq(&self, other: &Step) -> bool {
        self.name == other.name
    }
}

impl Node {
    /// How tightly what it prints as holds together.
    fn power(&self) -> u8 {
        match &self.kind {
            NodeKind::Or(_) => power::OR,
            NodeKind::And(_) => power::AND,
            NodeKind::Binary(operator, _) => operator.power(),
            NodeKind::Not(_) | NodeKind::Negate(_) => power::UNARY,
            NodeKind::Literal(_) | NodeKind::List(_) | NodeKind::Path(_) | NodeKind::Call(..) => power::PRIMARY,
        }
    }

    /// Prints in parentheses unless it binds at least as tightly as `least`.
    fn print(&self, f: &mut fmt::Formatter<'_>, least: u8) -> fmt::Result {
        if self.power() < least { write!(f, "({self})") } else { write!(f, "{self}") }
    }
}

impl Node {
    /// Collects the names that are looked up on the root record: the first step of every path that begins there.
    pub fn root_names(&self, names: &mut BTreeSet<Arc<str>>) {
        let mut all = |nodes: &[Node]| nodes.iter().for_each(|node| node.root_names(names));
        match &self.kind {
            NodeKind::Literal(_) => {}
            NodeKind::List(nodes) | NodeKind::And(nodes) | NodeKind::Or(nodes) | NodeKind::Call(_, nodes) => all(nodes),
            NodeKind::Binary(_, sides) => all(&sides[..]),
            NodeKind::Not(inner) | NodeKind::Negate(inner) => inner.root_names(names),
            NodeKind::Path(path) => {
                if !matches!(path.head, Head::Variable(..)) {
                    names.extend(path.steps.first().map(|step| step.name.clone()));
                }
                if let End::Any(Some(lambda)) | End::All(lambda) = &path.end {
                    lambda.body.root_names(names);
                }
            }
        }
    }
}

impl fmt::Display for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            NodeKind::Literal(value) => literal(f, value),
            NodeKind::List(items) => parenthesised(f, items),
            NodeKind::Path(path) => path.fmt(f),
            NodeKind::And(parts) => chain(f, parts, " and ", power::AND),
            NodeKind::Or(parts) => chain(f, parts, " or ", power::OR),
            NodeKind::Not(inner) => {
                f.write_str("not ")?;
                inner.print(f, power::UNARY)
            }
            // A sign before a digit belongs to the number, so anything but a name is set apart.
            NodeKind::Negate(inner) if matches!(inner.kind, NodeKind::Path(_) | NodeKind::Call(..)) => {
                write!(f, "-{inner}")
            }
            NodeKind::Negate(inner) => write!(f, "-({inner})"),
            NodeKind::Binary(operator, sides) => {
                sides[0].print(f, operator.power())?;
                write!(f, " {} ", operator.word())?;
                // Operators of one level group from the left.
                sides[1].print(f, operator.power() + 1)
            }
            NodeKind::Call(function, arguments) => {
                f.write_str(function.name)?;
                parenthesised(f, arguments)
            }
        }
    }
}

fn chain(f: &mut fmt::Formatter<'_>, parts: &[Node], word: &str, power: u8) -> fmt::Result {
    for (index, part) in parts.iter().enumerate() {
        if index > 0 {
            f.write_str(word)?;
        }
        part.print(f, power + 1)?;
    }
    Ok(())
}

fn parenthesised(f: &mut fmt::Formatter<'_>, items: &[Node]) -> fmt::Result {
    f.write_char('(')?;
    for (index, item) in items.iter().enumerate() {
        if index > 0 {
            f.write_str(", ")?;
        }
        write!(f, "{item}")?;
    }
    f.write_char(')')
}

/// The literal that reads back as `value`. Values that no literal can be are never in a tree.
fn literal(f: &mut fmt::Formatter<'_>, value: &Value) -> fmt::Result {
    match value {
        Value::Bool(value) => write!(f, "{value}"),
        Value::Int(value) => write!(f, "{value}"),
        // Debug keeps the point or exponent that makes it a double when read back.
        Value::Double(value) => write!(f, "{value:?}"),
        Value::Text(text) => write!(f, "'{}'", text.replace('\'', "''")),
        Value::Guid(id) => write!(f, "{id}"),
        Value::DateTime(time) => write!(f, "{time}"),
        Value::Date(date) => write!(f, "{date}"),
        Value::Duration(duration) => write!(f, "duration'{duration}'"),
        Value::Null | Value::Unknown(_) | Value::List(_) | Value::Object(_) | Value::Record(_) => f.write_str("null"),
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "/";
        match &self.head {
            Head::Root => separator = "",
            Head::It => f.write_str("$it")?,
            Head::Variable(name, _) => f.write_str(name)?,
        }
        for step in &self.steps {
            write!(f, "{separator}{}", step.name)?;
            separator = "/";
        }
        match &self.end {
            End::Value => Ok(()),
            End::Count => write!(f, "{separator}$count"),
            End::Any(None) => write!(f, "{separator}any()"),
            End::Any(Some(lambda)) => write!(f, "{separator}any({}: {})", lambda.variable, lambda.body),
            End::All(lambda) => write!(f, "{separator}all({}: {})", lambda.variable, lambda.body),
        }
    }
}
