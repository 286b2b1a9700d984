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

use super::cast::EdmType;
use super::functions::{Function, Prepared};
use super::literal;
use super::lookup::Table;
use super::set::Set;
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
    /// `(1, 2)`, the right side of `in`, or `[a, b]`.
    List(Items),
    /// `{"name": value}`
    Object(Vec<(Arc<str>, Node)>),
    Path(Path),
    /// Two or more; none of them an `And` itself.
    And(Vec<Node>),
    /// Two or more; none of them an `Or` itself.
    Or(Vec<Node>),
    Not(Box<Node>),
    Negate(Box<Node>),
    Binary(Binary, Box<[Node; 2]>),
    Call(Call),
    /// Conditions and results: `case(a: b, true: c)`.
    Case(Vec<[Node; 2]>),
    /// `cast(a, Edm.String)`; without a value it is the record itself.
    Cast(Option<Box<Node>>, EdmType),
    /// `isof(a, Edm.String)`
    IsOf(Option<Box<Node>>, EdmType),
}

/// A written list.
#[derive(Clone, Debug)]
pub(super) struct Items {
    pub nodes: Vec<Node>,
    /// `[…]`, which may hold anything; `(…)` holds literals only.
    pub brackets: bool,
    /// Filled by the checker when all items are constants.
    pub constant: Option<Arc<Constant>>,
}

/// The value of a list that is the same for every record.
#[derive(Debug)]
pub(super) struct Constant {
    pub value: Value,
    pub set: Option<Set>,
}

/// A call of a function.
#[derive(Clone, Debug)]
pub(super) struct Call {
    pub function: &'static Function,
    pub arguments: Vec<Node>,
    /// Filled by the checker: what can be worked out once for all records.
    pub prepared: Prepared,
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

    /// How tightly it binds, as in the table of operator precedence in OData 4.01, part 2, section "Operator Precedence".
    pub fn power(self) -> u8 {
        match self {
            Binary::Eq | Binary::Ne => power::EQUALITY,
            Binary::Gt | Binary::Ge | Binary::Lt | Binary::Le => power::RELATION,
            Binary::In | Binary::Has => power::MEMBER,
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
    /// `in` and `has` stand with the primaries, so that `not city in ('Oslo')` means what it says.
    pub const MEMBER: u8 = 8;
    pub const PRIMARY: u8 = 9;
}

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Path {
    pub head: Head,
    pub segments: Vec<Segment>,
    pub end: End,
}

/// What follows a `/` inside a path.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Segment {
    Property(Step),
    /// `$filter(…)`: those of a list for which it is true.
    Filter(Box<Node>),
    /// `('…')`, `(name='…')`: the one of a list that has this key, for which the condition is true.
    Key(Box<Node>),
}

/// What a path starts from.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Head {
    /// The record itself, unsaid: `displayName`.
    Root,
    /// The record itself, said: `$it`, `$it/displayName`.
    It,
    /// A lambda variable, and how many frames lie between its own and this one (0: its own body). Lambdas and
    /// `$filter(…)` each make a frame.
    Variable(Arc<str>, u16),
    /// The item that a `$filter(…)` looks at, unsaid.
    Item(u16),
    /// The same, said: `$this`.
    This(u16),
    /// A parameter alias that has no value: null.
    Alias(Arc<str>),
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

impl PartialEq for Items {
    fn eq(&self, other: &Items) -> bool {
        self.nodes == other.nodes && self.brackets == other.brackets
    }
}

impl PartialEq for Call {
    fn eq(&self, other: &Call) -> bool {
        self.function == other.function && self.arguments == other.arguments
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
            _ => power::PRIMARY,
        }
    }

    /// Prints in parentheses unless it binds at least as tightly as `least`.
    fn print(&self, f: &mut fmt::Formatter<'_>, least: u8) -> fmt::Result {
        if self.power() < least { write!(f, "({self})") } else { write!(f, "{self}") }
    }

    /// The nodes right below it, in the order written.
    pub fn children(&self) -> Vec<&Node> {
        match &self.kind {
            NodeKind::Literal(_) => Vec::new(),
            NodeKind::List(Items { nodes, .. }) | NodeKind::And(nodes) | NodeKind::Or(nodes) => nodes.iter().collect(),
            NodeKind::Call(call) => call.arguments.iter().collect(),
            NodeKind::Object(parts) => parts.iter().map(|(_, node)| node).collect(),
            NodeKind::Binary(_, sides) => sides.iter().collect(),
            NodeKind::Not(inner) | NodeKind::Negate(inner) => vec![inner],
            NodeKind::Case(branches) => branches.iter().flatten().collect(),
            NodeKind::Cast(inner, _) | NodeKind::IsOf(inner, _) => inner.iter().map(|inner| &**inner).collect(),
            NodeKind::Path(path) => path.children(),
        }
    }

    /// Collects the names that are looked up on the root record: the first step of every path that begins there.
    pub fn root_names(&self, names: &mut BTreeSet<Arc<str>>) {
        if let NodeKind::Path(Path { head: Head::Root | Head::It, segments, .. }) = &self.kind
            && let Some(Segment::Property(step)) = segments.first()
        {
            names.insert(step.name.clone());
        }
        self.children().into_iter().for_each(|node| node.root_names(names));
    }

    /// Whether its value is the same for every record and at every time.
    pub fn is_constant(&self) -> bool {
        match &self.kind {
            NodeKind::Path(_) | NodeKind::Cast(None, _) | NodeKind::IsOf(None, _) => false,
            NodeKind::Call(call) if call.function.name == "now" => false,
            _ => self.children().into_iter().all(Node::is_constant),
        }
    }

    /// Collects the tables that `lookup` reads in it.
    pub fn tables<'n>(&'n self, tables: &mut Vec<&'n Table>) {
        if let NodeKind::Call(Call { prepared: Prepared::Table(table, _), .. }) = &self.kind {
            tables.push(table);
        }
        self.children().into_iter().for_each(|node| node.tables(tables));
    }

    /// Collects the collections whose scope `inscope` asks for in it.
    pub fn scopes(&self, collections: &mut BTreeSet<Collection>) {
        if let NodeKind::Call(Call { prepared: Prepared::Scope(asked), .. }) = &self.kind {
            collections.extend(*asked);
        }
        self.children().into_iter().for_each(|node| node.scopes(collections));
    }

    /// Whether the function is called anywhere in it.
    pub fn calls(&self, function: &str) -> bool {
        matches!(&self.kind, NodeKind::Call(call) if call.function.name == function)
            || self.children().into_iter().any(|node| node.calls(function))
    }
}

impl Path {
    fn children(&self) -> Vec<&Node> {
        let filters = self.segments.iter().filter_map(|segment| match segment {
            Segment::Filter(node) | Segment::Key(node) => Some(&**node),
            Segment::Property(_) => None,
        });
        let mut all: Vec<&Node> = filters.collect();
        if let End::Any(Some(lambda)) | End::All(lambda) = &self.end {
            all.push(&lambda.body);
        }
        all
    }
}

impl fmt::Display for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            NodeKind::Literal(value) => f.write_str(&literal::print(value)),
            NodeKind::List(items) if items.brackets => enclosed(f, '[', &items.nodes, ']'),
            NodeKind::List(items) => enclosed(f, '(', &items.nodes, ')'),
            NodeKind::Object(parts) => object(f, parts),
            NodeKind::Path(path) => path.fmt(f),
            NodeKind::And(parts) => chain(f, parts, " and ", power::AND),
            NodeKind::Or(parts) => chain(f, parts, " or ", power::OR),
            NodeKind::Not(inner) => {
                f.write_str("not ")?;
                inner.print(f, power::UNARY)
            }
            // A sign before a digit belongs to the number, so anything but a name is set apart.
            NodeKind::Negate(inner) if matches!(inner.kind, NodeKind::Path(_) | NodeKind::Call(_)) => {
                write!(f, "-{inner}")
            }
            NodeKind::Negate(inner) => write!(f, "-({inner})"),
            NodeKind::Binary(operator, sides) => {
                sides[0].print(f, operator.power())?;
                write!(f, " {} ", operator.word())?;
                // Operators of one level group from the left.
                sides[1].print(f, operator.power() + 1)
            }
            NodeKind::Call(call) => {
                f.write_str(call.function.name)?;
                enclosed(f, '(', &call.arguments, ')')
            }
            NodeKind::Case(branches) => {
                f.write_str("case(")?;
                for (index, [condition, result]) in branches.iter().enumerate() {
                    write!(f, "{}{condition}: {result}", if index == 0 { "" } else { ", " })?;
                }
                f.write_char(')')
            }
            NodeKind::Cast(None, ty) => write!(f, "cast({ty})"),
            NodeKind::Cast(Some(inner), ty) => write!(f, "cast({inner}, {ty})"),
            NodeKind::IsOf(None, ty) => write!(f, "isof({ty})"),
            NodeKind::IsOf(Some(inner), ty) => write!(f, "isof({inner}, {ty})"),
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

fn enclosed(f: &mut fmt::Formatter<'_>, open: char, items: &[Node], close: char) -> fmt::Result {
    f.write_char(open)?;
    for (index, item) in items.iter().enumerate() {
        if index > 0 {
            f.write_str(", ")?;
        }
        write!(f, "{item}")?;
    }
    f.write_char(close)
}

fn object(f: &mut fmt::Formatter<'_>, parts: &[(Arc<str>, Node)]) -> fmt::Result {
    f.write_char('{')?;
    for (index, (name, node)) in parts.iter().enumerate() {
        let name = serde_json::Value::from(&**name).to_string();
        write!(f, "{}{}: {node}", if index == 0 { "" } else { ", " }, literal::unencoded(&name))?;
    }
    f.write_char('}')
}

/// The values of a key, from the condition that they are: `(id='…')`.
fn key(f: &mut fmt::Formatter<'_>, condition: &Node) -> fmt::Result {
    let parts = match &condition.kind {
        NodeKind::And(parts) => parts.as_slice(),
        _ => std::slice::from_ref(condition),
    };
    for (index, part) in parts.iter().enumerate() {
        let NodeKind::Binary(Binary::Eq, sides) = &part.kind else { continue };
        write!(f, "{}{}={}", if index == 0 { "(" } else { ", " }, sides[0], sides[1])?;
    }
    f.write_char(')')
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "/";
        match &self.head {
            Head::Root | Head::Item(_) => separator = "",
            Head::It => f.write_str("$it")?,
            Head::This(_) => f.write_str("$this")?,
            Head::Variable(name, _) => f.write_str(name)?,
            Head::Alias(name) => write!(f, "@{name}")?,
        }
        for segment in &self.segments {
            match segment {
                Segment::Property(step) => write!(f, "{separator}{}", step.name)?,
                Segment::Filter(node) => write!(f, "{separator}$filter({node})")?,
                Segment::Key(node) => key(f, node)?,
            }
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
