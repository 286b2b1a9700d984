//! The functions of the language: how one is described, found, prepared and called.
//!
//! Hides when arguments are evaluated, and what null and *unknown* among them make of a call. The table itself is
//! [`FUNCTIONS`]: one entry for the checker, the evaluator, the help and the tests. Deliberately without side effects,
//! clock or randomness: `now()` is the as-of time that the caller passes in, and the tables of `lookup` were read before.

mod lists;
mod numbers;
mod pattern;
mod table;
mod text;
mod time;

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use regex::Regex;

use super::SyntaxError;
use super::ast::{self, Node, NodeKind};
use super::catalog::Catalog;
use super::eval::{Scope, reason_for};
use super::literal;
use super::lookup::Table;
use crate::record::{Collection, Value};
use crate::schema::{Kind, Type};

pub use table::FUNCTIONS;

/// One function.
pub struct Function {
    /// As the normal form spells it; any case is understood.
    pub name: &'static str,
    pub parameters: &'static [Parameter],
    /// The last parameter may be given any number of times, but at least once.
    pub variadic: bool,
    pub returns: Returns,
    pub origin: Origin,
    /// One line.
    pub help: &'static str,
    /// They run as tests, as of 2024-06-01T00:00:00Z.
    pub examples: &'static [Example],
    /// Works out what is the same for every record; the checker calls it once.
    prepare: Option<Prepare>,
    run: fn(&Arguments<'_>) -> Value,
}

/// What the checker asks of a call once; see [`Prepared`].
type Prepare = fn(&ast::Call, &Catalog) -> Result<Prepared, SyntaxError>;

/// Whose function it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Origin {
    /// OData 4.01, part 2, section "Canonical Functions". A null argument gives null.
    Standard,
    /// Ours.
    Own,
}

/// One parameter of a function.
pub struct Parameter {
    pub name: &'static str,
    pub accepts: Accepts,
    pub optional: bool,
}

/// What may be given for a parameter. What has no type before evaluation always may.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Accepts {
    /// Text, or an id as its text.
    Text,
    /// Text, or a list.
    TextOrList,
    /// A whole number.
    Int,
    Number,
    /// A moment.
    Moment,
    /// A date or a moment.
    Day,
    /// A time of day or a moment.
    Clock,
    Duration,
    /// A record: what a navigation leads to.
    Record,
    /// Any single value that can be written as text.
    Scalar,
    /// A single value or a list of them.
    ScalarOrList,
    /// A single value or a list, records included.
    List,
    Any,
}

impl Accepts {
    /// Whether something of that type may be given.
    pub(super) fn fits(self, ty: Type) -> bool {
        let text = matches!(ty.kind, Kind::Text | Kind::Guid | Kind::Binary);
        let scalar = !matches!(ty.kind, Kind::Complex(_) | Kind::Record(_));
        let one = !ty.many;
        let untyped = ty.kind == Kind::Any;
        match self {
            Accepts::Any | Accepts::List => true,
            Accepts::ScalarOrList => scalar,
            Accepts::TextOrList => ty.many || text || untyped,
            _ if untyped => one,
            Accepts::Text => one && text,
            Accepts::Int => one && ty.kind == Kind::Int,
            Accepts::Number => one && matches!(ty.kind, Kind::Int | Kind::Double),
            Accepts::Moment => one && ty.kind == Kind::DateTime,
            Accepts::Day => one && matches!(ty.kind, Kind::DateTime | Kind::Date),
            Accepts::Clock => one && matches!(ty.kind, Kind::DateTime | Kind::Time),
            Accepts::Duration => one && ty.kind == Kind::Duration,
            Accepts::Record => one && matches!(ty.kind, Kind::Record(_)),
            Accepts::Scalar => one && scalar,
        }
    }

    /// Whether a list may be given.
    pub(super) fn lists(self) -> bool {
        matches!(self, Accepts::Any | Accepts::List | Accepts::ScalarOrList | Accepts::TextOrList)
    }

    /// In words.
    pub(super) fn wanted(self) -> &'static str {
        match self {
            Accepts::Text => "text",
            Accepts::TextOrList => "text or a list",
            Accepts::Int => "a whole number",
            Accepts::Number => "a number",
            Accepts::Moment => "a date and time",
            Accepts::Day => "a date",
            Accepts::Clock => "a time",
            Accepts::Duration => "a duration",
            Accepts::Record => "a record",
            Accepts::Scalar => "a single value",
            Accepts::ScalarOrList | Accepts::List => "a list of values",
            Accepts::Any => "anything",
        }
    }
}

/// What a function evaluates to (or null, or unknown).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Returns {
    Bool,
    Int,
    Double,
    Text,
    Texts,
    DateTime,
    Date,
    Time,
    /// What the arguments have in common.
    Arguments,
    /// What the first argument is.
    First,
    /// What the items of the first argument are, as a list.
    List,
    /// What one item of the first argument is.
    Item,
}

/// A call and the literal it equals.
pub struct Example {
    pub call: &'static str,
    pub gives: &'static str,
}

/// What one call works out once.
#[derive(Clone, Debug, Default)]
pub(super) enum Prepared {
    #[default]
    Nothing,
    Pattern(Arc<Regex>),
    Format(Arc<[time::Part]>),
    /// A table and the column that is asked for.
    Table(Arc<Table>, usize),
    /// The collections whose scope is asked for; filled in by the checker.
    Scope(&'static [Collection]),
}

impl fmt::Debug for Function {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

/// A name is one function.
impl PartialEq for Function {
    fn eq(&self, other: &Function) -> bool {
        self.name == other.name
    }
}

impl Function {
    /// `substring(text, start, [length])`
    pub fn signature(&self) -> String {
        let name = |parameter: &Parameter| match parameter.optional {
            true => format!("[{}]", parameter.name),
            false => parameter.name.to_owned(),
        };
        let mut names: Vec<String> = self.parameters.iter().map(name).collect();
        if self.variadic {
            names.push("…".to_owned());
        }
        format!("{}({})", self.name, names.join(", "))
    }

    pub(super) fn prepare(&self, call: &ast::Call, catalog: &Catalog) -> Result<Prepared, SyntaxError> {
        self.prepare.map_or(Ok(Prepared::Nothing), |prepare| prepare(call, catalog))
    }
}

/// The function of that name, in any case.
pub fn named(name: &str) -> Option<&'static Function> {
    FUNCTIONS.iter().find(|function| function.name.eq_ignore_ascii_case(name))
}

/// Evaluates a call that the checker has seen: the number of arguments fits.
pub(super) fn call<'e>(call: &'e ast::Call, scope: Scope<'e>) -> Value {
    (call.function.run)(&Arguments { scope, nodes: &call.arguments, prepared: &call.prepared })
}

/// The arguments of one call, evaluated when asked for.
struct Arguments<'e> {
    scope: Scope<'e>,
    nodes: &'e [Node],
    prepared: &'e Prepared,
}

impl<'e> Arguments<'e> {
    fn len(&self) -> usize {
        self.nodes.len()
    }

    fn value(&self, index: usize) -> Cow<'e, Value> {
        match self.nodes.get(index) {
            Some(node) => self.scope.value(node),
            None => Cow::Owned(Value::Null),
        }
    }

    /// The first `N` arguments, or what the function gives when one is unknown (that first) or null.
    fn strict<const N: usize>(&self) -> Result<[Cow<'e, Value>; N], Value> {
        let arguments: [_; N] = std::array::from_fn(|index| self.value(index));
        if let Some(unknown) = arguments.iter().find(|value| matches!(***value, Value::Unknown(_))) {
            return Err(Value::clone(unknown));
        }
        match arguments.iter().any(|value| value.is_null()) {
            true => Err(Value::Null),
            false => Ok(arguments),
        }
    }

    /// An argument that may be left out; unknown is what the function gives then.
    fn optional(&self, index: usize) -> Result<Option<Cow<'e, Value>>, Value> {
        if index >= self.nodes.len() {
            return Ok(None);
        }
        match self.value(index) {
            value if matches!(*value, Value::Unknown(_)) => Err(value.into_owned()),
            value => Ok(Some(value)),
        }
    }

    /// A whole number that may be left out; `Err` is what the function gives.
    fn optional_int(&self, index: usize) -> Result<Option<i64>, Value> {
        match self.optional(index)?.as_deref() {
            None => Ok(None),
            Some(Value::Int(number)) => Ok(Some(*number)),
            Some(_) => Err(self.null()),
        }
    }

    /// What a function gives when one of its arguments is null: null, unless another is unknown.
    fn null(&self) -> Value {
        let unknown = |index| Some(self.value(index)).filter(|value| matches!(**value, Value::Unknown(_)));
        (0..self.len()).find_map(unknown).map_or(Value::Null, Cow::into_owned)
    }

    fn one_text(&self, run: impl FnOnce(&str) -> Value) -> Value {
        match self.strict::<1>() {
            Ok([value]) => literal::text(&value).map_or(Value::Null, |text| run(&text)),
            Err(value) => value,
        }
    }

    fn two_texts(&self, run: impl FnOnce(&str, &str) -> Value) -> Value {
        match self.strict::<2>() {
            Ok([a, b]) => literal::text(&a).zip(literal::text(&b)).map_or(Value::Null, |(a, b)| run(&a, &b)),
            Err(value) => value,
        }
    }
}

/// The items of a list that is wholly known; a single value is a list of one. `Err` is what the function gives.
fn items(value: &Value) -> Result<&[Value], Value> {
    match value {
        Value::List(list) => {
            let hidden = list.items.iter().find(|item| matches!(item, Value::Unknown(_))).cloned();
            match reason_for(list).map(Value::Unknown).or(hidden) {
                Some(unknown) => Err(unknown),
                None => Ok(&list.items),
            }
        }
        single => Ok(std::slice::from_ref(single)),
    }
}

/// The text literal that is the argument, if it is one.
fn literal_text(node: &Node) -> Option<&Arc<str>> {
    match &node.kind {
        NodeKind::Literal(Value::Text(text)) => Some(text),
        _ => None,
    }
}

/// The first argument that is not null.
fn coalesce(arguments: &Arguments<'_>) -> Value {
    // Unknown is not null: what it hides might be the value, so nothing after it can be the answer.
    let values = (0..arguments.len()).map(|index| arguments.value(index));
    values.into_iter().find(|value| !value.is_null()).map_or(Value::Null, Cow::into_owned)
}

/// `inscope(record)`
fn in_scope(arguments: &Arguments<'_>) -> Value {
    match &*arguments.value(0) {
        Value::Record(record) => arguments.scope.in_scope(record),
        Value::Unknown(reason) => Value::Unknown(reason.clone()),
        _ => Value::Null,
    }
}

/// `lookup(table, key, column, [default])`
fn lookup(arguments: &Arguments<'_>) -> Value {
    let key = arguments.value(1);
    if let Value::Unknown(_) = *key {
        return key.into_owned();
    }
    let found = match (arguments.prepared, literal::text(&key)) {
        (Prepared::Table(table, column), Some(key)) => table.get(&key, *column),
        _ => None,
    };
    match found {
        Some(text) => Value::Text(text),
        None => arguments.value(3).into_owned(),
    }
}

fn prepare_lookup(call: &ast::Call, catalog: &Catalog) -> Result<Prepared, SyntaxError> {
    let [table, _, column, ..] = &call.arguments[..] else { return Ok(Prepared::Nothing) };
    let name = literal_text(table)
        .ok_or_else(|| SyntaxError::new(table.span.clone(), "the name of a table is written as text: 'sites'"))?;
    let known = catalog.tables();
    let Some(found) = known.get(&**name) else {
        let error = SyntaxError::new(table.span.clone(), format!("there is no table `{name}`"));
        let nearest = super::nearest(name, known.keys().map(|name| &**name));
        return Err(match nearest {
            Some(name) => error.help(format!("did you mean `{name}`?")),
            None => error.help("tables are CSV files, named under [tables] or with --table NAME=FILE"),
        });
    };
    let wanted = literal_text(column)
        .ok_or_else(|| SyntaxError::new(column.span.clone(), "the name of a column is written as text: 'Region'"))?;
    match found.column(wanted) {
        Some(at) => Ok(Prepared::Table(found.clone(), at)),
        None => {
            let columns = found.columns().collect::<Vec<_>>().join(", ");
            let error = SyntaxError::new(column.span.clone(), format!("the table `{name}` has no column `{wanted}`"));
            Err(error.help(format!("its columns are {columns}")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::expr::{Catalog, NoNavigation, compile};

    fn check(expression: &str, expected: &str) {
        let nav = NoNavigation { as_of: "2024-06-01T00:00:00Z".parse().unwrap() };
        let mut catalog = Catalog::new();
        let sites = "Office,Site,Region\nOslo,NO-01,Nordics\nBerlin,DE-02,Central\n";
        catalog.define("sites", Table::read(sites, None).unwrap());
        let mut value = |text: &str| {
            let compiled = compile(text, None, &mut catalog).unwrap_or_else(|error| panic!("{text}: {error}"));
            compiled.eval_value(&Value::Null, &nav)
        };
        let (got, wanted) = (value(expression), value(expected));
        assert_eq!(format!("{got:?}"), format!("{wanted:?}"), "{expression}");
    }

    #[test]
    fn examples_give_what_they_say() {
        for function in FUNCTIONS {
            assert!(!function.examples.is_empty(), "{}", function.name);
            for example in function.examples {
                assert!(example.call.contains(function.name), "{}", example.call);
                check(example.call, example.gives);
            }
        }
    }

    #[test]
    fn the_table_is_ordered_and_each_line_of_help_is_a_sentence() {
        assert!(FUNCTIONS.is_sorted_by(|a, b| a.name < b.name));
        for function in FUNCTIONS {
            assert!(function.help.ends_with('.') && !function.help.contains('\n'), "{}", function.name);
        }
    }

    #[test]
    fn names_of_functions_ignore_case() {
        check("StartsWith('abc', 'AB')", "true");
        check("MATCHESPATTERN('abc', '^A', 'i')", "true");
    }

    #[test]
    fn null_in_a_standard_function_gives_null() {
        for function in FUNCTIONS.iter().filter(|function| function.origin == Origin::Standard) {
            let needed = function.parameters.iter().filter(|parameter| !parameter.optional).count();
            if needed > 0 {
                check(&format!("{}({})", function.name, vec!["null"; needed].join(", ")), "null");
            }
        }
    }

    #[test]
    fn unknown_in_any_function_gives_unknown() {
        let hidden = Value::Unknown(crate::record::Unknown::new("hidden"));
        let root = Value::Object(Arc::from([(Arc::from("x"), hidden.clone())]));
        let nav = NoNavigation { as_of: "2024-06-01T00:00:00Z".parse().unwrap() };
        for function in FUNCTIONS {
            for at in 0..function.parameters.len() {
                // Names of tables, columns, patterns and forms are written out.
                let written = |index: usize| match (function.name, index) {
                    ("lookup", 0) => "'sites'",
                    ("lookup", 2) => "'Region'",
                    ("coalesce" | "lookup", _) => "null",
                    ("formatdate", 1) => "'yyyy'",
                    ("extract" | "matchesPattern" | "replacepattern", 2) if function.name != "replacepattern" => "null",
                    (_, index) => match function.parameters[index].accepts {
                        Accepts::Int | Accepts::Number => "1",
                        Accepts::Moment | Accepts::Day | Accepts::Clock => "now()",
                        Accepts::Duration => "duration'P1D'",
                        _ => "'a'",
                    },
                };
                if matches!((function.name, at), ("lookup", 0 | 2) | ("formatdate", 1)) {
                    continue;
                }
                let arguments: Vec<&str> = (0..function.parameters.len())
                    .map(|index| if index == at { "x" } else { written(index) })
                    .collect();
                let text = format!("{}({})", function.name, arguments.join(", "));
                let mut catalog = Catalog::new();
                catalog.define("sites", Table::read("Office,Region\nOslo,Nordics\n", None).unwrap());
                let compiled = compile(&text, None, &mut catalog).unwrap_or_else(|error| panic!("{text}: {error}"));
                assert_eq!(compiled.eval_value(&root, &nav), hidden, "{text}");
            }
        }
    }
}
