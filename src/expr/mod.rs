//! The one expression language: OData 4.01 filters and values over records, with lists through paths and *unknown*.
//!
//! [`compile`] reads and checks an expression against the schema and notes in a [`Catalog`] which properties it uses;
//! that says what must be read from Graph and where each property lies in a [`Record`]. [`Expr::eval`] then walks the
//! checked tree. Hides lexing, precedence, typing and three-valued logic. Deliberately does no I/O, reads no clock
//! (the as-of time comes with [`Navigate`]) and knows no target: what a value becomes there is the mapping's.
//!
//! What differs from the standard, on purpose: text compares ignoring case, as in Graph; a path through a collection
//! yields the list of its values, without nulls; `concat` takes any number of values; some functions are our own. Left
//! out are geography, functions and types of a service's own model, and `$root`.
//!
//! <https://docs.oasis-open.org/odata/odata/v4.01/odata-v4.01-part2-url-conventions.html>

mod ast;
mod cast;
mod catalog;
mod check;
mod compare;
mod decode;
mod eval;
mod functions;
mod input;
mod inputs;
mod lex;
mod literal;
mod lookup;
mod operators;
mod parse;
mod push;
mod set;

use std::collections::BTreeSet;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use jiff::Timestamp;

use crate::diagnostic::nearest;
use crate::record::{Collection, List, Record, Unknown, Value};
use crate::schema::{Kind, Type};

pub use crate::schema::Navigation;
pub use catalog::{Catalog, Field, Shape, Tables};
pub use compare::{compare_text, fold};
pub use decode::{DecodeError, InlineError};
pub use functions::{Accepts, Example, FUNCTIONS, Function, Origin, Parameter, Returns, named as function};
pub use lookup::{Table, TableError};
pub use push::{Allowed, PushDown};

/// Why a text is not an expression, or not one that fits the schema.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SyntaxError {
    /// Bytes of the text that are meant; empty at its end when something is missing there.
    pub span: Range<usize>,
    pub message: String,
    /// What to write instead.
    pub help: Option<String>,
}

impl SyntaxError {
    fn new(span: Range<usize>, message: impl Into<String>) -> SyntaxError {
        SyntaxError { span, message: message.into(), help: None }
    }

    fn help(mut self, help: impl Into<String>) -> SyntaxError {
        self.help = Some(help.into());
        self
    }
}

impl fmt::Display for SyntaxError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        match &self.help {
            Some(help) => write!(f, " ({help})"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for SyntaxError {}

/// What an expression may ask of the world besides the record it is evaluated on.
pub trait Navigate {
    /// The record that a single-valued navigation leads to: [`Value::Record`], [`Value::Null`] or [`Value::Unknown`].
    fn one(&self, from: &Record, via: Navigation) -> Value;

    /// The records that a many-valued navigation leads to: a [`Value::List`] of records, or [`Value::Unknown`].
    fn many(&self, from: &Record, via: Navigation) -> Value;

    /// What `now()` returns: the as-of time of the plan.
    fn as_of(&self) -> Timestamp;

    /// Whether the job's scope lets the record in: true, false, unknown, or null where that is what is being decided.
    fn in_scope(&self, _: &Record) -> Value {
        Value::Unknown(Unknown::new("what is in scope is known in a job only"))
    }

    /// A record in words for people, to say of which one something is not known.
    fn describe(&self, record: &Record) -> String {
        format!("{} {}", record.collection, record.key)
    }
}

/// Knows only what was written into the records: a navigation without inline value leads nowhere.
#[derive(Clone, Copy, Debug)]
pub struct NoNavigation {
    /// What `now()` returns.
    pub as_of: Timestamp,
}

impl Navigate for NoNavigation {
    fn one(&self, _: &Record, _: Navigation) -> Value {
        Value::Null
    }

    fn many(&self, _: &Record, _: Navigation) -> Value {
        Value::List(List::known([]))
    }

    fn as_of(&self) -> Timestamp {
        self.as_of
    }
}

/// What an expression is evaluated on; which of them it was compiled for.
#[derive(Clone, Copy)]
pub enum Subject<'s> {
    /// As in [`Expr::eval`].
    Record(&'s Record),
    /// As in [`Expr::eval_item`].
    Item(&'s Record, &'s Value),
    /// As in [`Expr::eval_value`].
    Value(&'s Value),
    /// A value, and the list of records that belong to it.
    Group(&'s Value, &'s Value),
}

/// What a filter says of a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Truth {
    True,
    /// False, or null: a filter keeps only what is true.
    False,
    Unknown(Unknown),
}

/// A compiled expression. Cheap to clone; meant to be evaluated on very many records.
#[derive(Clone)]
pub struct Expr {
    source: Arc<str>,
    node: Arc<ast::Node>,
    ty: Type,
}

/// Compiles a value expression over records of `root`, adding what it uses to `catalog`. Without `root` no types are
/// known and any name is accepted; evaluate such an expression with [`Expr::eval_value`]. After an error `catalog` is
/// as before.
pub fn compile(text: &str, root: Option<Collection>, catalog: &mut Catalog) -> Result<Expr, SyntaxError> {
    compile_checked(text, root, None, check::Use::Value, catalog, |_, _| Ok(()))
}

/// Like [`compile`] for an expression that is evaluated once for each item of a list ([`Expr::eval_item`]): `$this` is
/// the item, of the type `item`; all other names are the record's.
pub fn compile_item(
    text: &str,
    root: Option<Collection>,
    item: Type,
    catalog: &mut Catalog,
) -> Result<Expr, SyntaxError> {
    compile_checked(text, root, Some((parse::THIS, item)), check::Use::Value, catalog, |_, _| Ok(()))
}

/// Like [`compile`] without a collection, for an expression over a value and what belongs to it ([`Expr::look`] with
/// [`Subject::Group`]): `name` is the list of records of `of` that belong to it, and all other names are the value's.
pub fn compile_group(text: &str, name: &str, of: Collection, catalog: &mut Catalog) -> Result<Expr, SyntaxError> {
    let records = Some((name, Type::list(Kind::record(of))));
    compile_checked(text, None, records, check::Use::Value, catalog, |_, _| Ok(()))
}

/// Like [`compile`], but the expression must be true or false.
pub fn compile_filter(text: &str, root: Option<Collection>, catalog: &mut Catalog) -> Result<Expr, SyntaxError> {
    compile_checked(text, root, None, check::Use::Filter, catalog, |node, ty| {
        // A table's content is no part of the filter's text, so an edit of it could not be told from changed data.
        if node.calls("lookup") {
            return Err(SyntaxError::new(node.span.clone(), "a filter cannot use `lookup`").help(
                "its table could change what is in scope unseen; write the values into the filter: … in ('a', 'b')",
            ));
        }
        match ty {
            Type { kind: Kind::Bool | Kind::Any, many: false } => Ok(()),
            ty => Err(SyntaxError::new(node.span.clone(), format!("a filter must be true or false, this is {ty}"))
                .help("compare it with something: … eq …")),
        }
    })
}

fn compile_checked(
    text: &str,
    root: Option<Collection>,
    given: Option<(&str, Type)>,
    used: check::Use,
    catalog: &mut Catalog,
    demand: impl FnOnce(&ast::Node, Type) -> Result<(), SyntaxError>,
) -> Result<Expr, SyntaxError> {
    let input = input::Input::read(text)?;
    let mut node = parse::parse(&input, given.map(|(name, _)| name)).map_err(|error| input.moved_back(error))?;
    // On a copy, so that an expression that fails leaves nothing behind to be read from Graph.
    let mut trial = catalog.clone();
    let checked = check::check(&mut node, root, given.map(|(_, ty)| ty), used, &mut trial).and_then(|ty| {
        demand(&node, ty)?;
        Ok(ty)
    });
    let ty = checked.map_err(|error| input.moved_back(error))?;
    *catalog = trial;
    Ok(Expr { source: Arc::from(input.text), node: Arc::new(node), ty })
}

impl Expr {
    /// The value for `record`, which must be of the collection compiled for and shaped by the same catalog.
    pub fn eval(&self, record: &Record, nav: &dyn Navigate) -> Value {
        eval::value(&self.node, eval::Root::Record(record), None, nav)
    }

    /// The value for one item of a list that hangs on `record`, for an expression of [`compile_item`].
    pub fn eval_item(&self, record: &Record, item: &Value, nav: &dyn Navigate) -> Value {
        eval::value(&self.node, eval::Root::Record(record), Some(item), nav)
    }

    /// The value for an expression compiled without a collection, over any value (its names are those of a
    /// [`Value::Object`]).
    pub fn eval_value(&self, root: &Value, nav: &dyn Navigate) -> Value {
        eval::value(&self.node, eval::Root::Value(root), None, nav)
    }

    /// Shows the value for a subject, without copying one that stands in it.
    pub fn look<T>(&self, subject: Subject<'_>, nav: &dyn Navigate, at: impl FnOnce(&Value) -> T) -> T {
        let (root, item) = match subject {
            Subject::Record(record) => (eval::Root::Record(record), None),
            Subject::Item(record, item) => (eval::Root::Record(record), Some(item)),
            Subject::Value(value) => (eval::Root::Value(value), None),
            Subject::Group(value, records) => (eval::Root::Value(value), Some(records)),
        };
        eval::look(&self.node, root, item, nav, |value| at(&value))
    }

    /// What a filter says of `record`.
    pub fn truth(&self, record: &Record, nav: &dyn Navigate) -> Truth {
        Truth::of(self.eval(record, nav))
    }

    /// [`Expr::truth`] for an expression compiled without a collection.
    pub fn truth_value(&self, root: &Value, nav: &dyn Navigate) -> Truth {
        Truth::of(self.eval_value(root, nav))
    }

    /// The terms that must all be true, in the order written: the sides of the outermost `and`, or the expression
    /// itself. Each is an expression of its own, to say which of them dropped a record.
    pub fn clauses(&self) -> Vec<Expr> {
        let ast::NodeKind::And(parts) = &self.node.kind else { return vec![self.clone()] };
        let clause = |part: &ast::Node| Expr {
            source: Arc::from(&self.source[part.span.clone()]),
            node: Arc::new(part.clone()),
            ty: Type::BOOL,
        };
        parts.iter().map(clause).collect()
    }

    /// The filter with only some of its clauses; none when none is kept.
    pub fn keeping(&self, keep: impl Fn(&Expr) -> bool) -> Option<Expr> {
        let mut kept: Vec<Expr> = self.clauses().into_iter().filter(|clause| keep(clause)).collect();
        if kept.len() < 2 {
            return kept.pop();
        }
        let parts = kept.iter().map(|clause| ast::Node::clone(&clause.node)).collect();
        let node =
            ast::Node { kind: ast::NodeKind::And(parts), span: self.node.span.clone(), height: self.node.height };
        Some(Expr { node: Arc::new(node), ..self.clone() })
    }

    /// The names it looks up on the record itself, for expressions over things that have no schema.
    pub fn names(&self) -> BTreeSet<Arc<str>> {
        let mut names = BTreeSet::new();
        self.node.root_names(&mut names);
        names
    }

    /// The collections whose scope it asks for.
    pub fn scopes(&self) -> BTreeSet<Collection> {
        let mut collections = BTreeSet::new();
        self.node.scopes(&mut collections);
        collections
    }

    /// The tables that `lookup` reads in it, one for each call.
    pub fn tables(&self) -> Vec<&Table> {
        let mut tables = Vec::new();
        self.node.tables(&mut tables);
        tables
    }

    /// What it evaluates to, as far as that is known.
    pub fn ty(&self) -> Type {
        self.ty
    }

    /// The text as it was written, without percent-encoding.
    pub fn source(&self) -> &str {
        &self.source
    }
}

impl Truth {
    fn of(value: Value) -> Truth {
        match value {
            Value::Bool(true) => Truth::True,
            Value::Unknown(reason) => Truth::Unknown(reason),
            _ => Truth::False,
        }
    }
}

/// The normal form: one spelling of everything and no needless parentheses. Reads back as the same expression.
impl fmt::Display for Expr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.node.fmt(f)
    }
}

impl fmt::Debug for Expr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Expr({self})")
    }
}
