//! Evaluates a checked tree on one record.
//!
//! Hides three-valued logic in both its kinds: null as the OData standard has it (part 2, 5.1.1.1) and *unknown*,
//! which propagates by Kleene's rules and is never taken for a value. Where both meet, *unknown* stays, unless one side decides alone.
//! Deliberately trusts the checker about names and numbers of arguments; a type that fits nothing gives null.
//! Comparisons, `in`, `and` and `or` over a record's own properties do not allocate.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use super::ast::{Binary, End, Head, Lambda, Node, NodeKind, Path, Step};
use super::compare::{equal, order};
use super::{Navigate, functions};
use crate::record::{List, Record, Unknown, Value};

/// What an expression is evaluated on.
#[derive(Clone, Copy)]
pub(super) enum Root<'e> {
    Record(&'e Record),
    Value(&'e Value),
}

/// What names mean while one expression is evaluated.
#[derive(Clone, Copy)]
pub(super) struct Scope<'e> {
    nav: &'e dyn Navigate,
    root: Root<'e>,
    lambda: Option<&'e Frame<'e>>,
}

/// The item a lambda looks at, and the lambda around it.
struct Frame<'e> {
    item: &'e Value,
    outer: Option<&'e Frame<'e>>,
}

static NULL: Value = Value::Null;

pub(super) fn value(node: &Node, root: Root<'_>, nav: &dyn Navigate) -> Value {
    Scope { nav, root, lambda: None }.value(node).into_owned()
}

/// Why a list may not be all there is; `None` if it is.
pub(super) fn reason_for(list: &List) -> Option<Unknown> {
    match &list.rest {
        Some(reason) => Some(reason.clone()),
        None if list.maybe.is_empty() => None,
        None => Some(Unknown::new("it is not known which items belong to the list")),
    }
}

impl<'e> Scope<'e> {
    pub fn as_of(self) -> Timestamp {
        self.nav.as_of()
    }

    pub fn value(self, node: &'e Node) -> Cow<'e, Value> {
        match &node.kind {
            NodeKind::Literal(value) => Cow::Borrowed(value),
            NodeKind::Path(path) => self.path(path),
            NodeKind::And(parts) => Cow::Owned(self.chain(parts, false)),
            NodeKind::Or(parts) => Cow::Owned(self.chain(parts, true)),
            NodeKind::Not(inner) => Cow::Owned(match &*self.value(inner) {
                Value::Bool(value) => Value::Bool(!value),
                Value::Unknown(reason) => Value::Unknown(reason.clone()),
                _ => Value::Null,
            }),
            NodeKind::Negate(inner) => Cow::Owned(arithmetic(Binary::Sub, &Value::Int(0), &self.value(inner))),
            NodeKind::Binary(Binary::In, sides) => Cow::Owned(self.is_in(&sides[0], &sides[1])),
            NodeKind::Binary(operator, sides) => {
                Cow::Owned(binary(*operator, &self.value(&sides[0]), &self.value(&sides[1])))
            }
            NodeKind::List(items) => {
                Cow::Owned(known(items.iter().map(|item| self.value(item).into_owned()).collect()))
            }
            NodeKind::Call(function, arguments) => Cow::Owned(functions::call(function, arguments, self)),
        }
    }

    /// `and` (decided by a false) or `or` (decided by a true).
    fn chain(self, parts: &'e [Node], decides: bool) -> Value {
        let mut result = Value::Bool(!decides);
        for part in parts {
            match &*self.value(part) {
                Value::Bool(value) if *value == decides => return Value::Bool(decides),
                Value::Bool(_) => {}
                Value::Unknown(reason) if !matches!(result, Value::Unknown(_)) => {
                    result = Value::Unknown(reason.clone());
                }
                Value::Unknown(_) => {}
                _ if matches!(result, Value::Unknown(_)) => {}
                _ => result = Value::Null,
            }
        }
        result
    }

    fn is_in(self, left: &'e Node, right: &'e Node) -> Value {
        let left = self.value(left);
        if let NodeKind::List(items) = &right.kind {
            let items = items.iter().map(|item| binary(Binary::Eq, &left, &self.value(item)));
            return any(items, std::iter::empty(), None);
        }
        match &*self.value(right) {
            Value::List(list) => {
                let eq = |item: &Value| binary(Binary::Eq, &left, item);
                any(list.items.iter().map(eq), list.maybe.iter().map(eq), list.rest.as_ref())
            }
            Value::Unknown(reason) => Value::Unknown(reason.clone()),
            _ => Value::Null,
        }
    }

    fn path(self, path: &'e Path) -> Cow<'e, Value> {
        let reached = self.walk(path);
        match &path.end {
            End::Value => reached,
            End::Count => Cow::Owned(count(&reached)),
            End::Any(lambda) => Cow::Owned(self.some(&reached, lambda.as_ref())),
            End::All(lambda) => Cow::Owned(self.every(&reached, lambda)),
        }
    }

    fn walk(self, path: &'e Path) -> Cow<'e, Value> {
        let mut steps = path.steps.iter();
        let mut at = match (&path.head, self.root) {
            (Head::Variable(_, depth), _) => Cow::Borrowed(self.variable(*depth)),
            (_, Root::Value(value)) => Cow::Borrowed(value),
            (_, Root::Record(record)) => match steps.next() {
                Some(step) => self.of_record(record, step),
                None => Cow::Owned(Value::Record(Arc::new(record.clone()))),
            },
        };
        for step in steps {
            at = match at {
                Cow::Borrowed(value) => self.step(value, step),
                Cow::Owned(value) => Cow::Owned(self.step(&value, step).into_owned()),
            };
        }
        at
    }

    fn variable(self, depth: u16) -> &'e Value {
        let mut frame = self.lambda;
        for _ in 0..depth {
            frame = frame.and_then(|frame| frame.outer);
        }
        frame.map_or(&NULL, |frame| frame.item)
    }

    fn step<'v>(self, value: &'v Value, step: &Step) -> Cow<'v, Value> {
        match value {
            Value::Unknown(_) => Cow::Borrowed(value),
            Value::Record(record) => self.of_record(record, step),
            Value::Object(parts) => {
                let part = parts.iter().find(|(name, _)| *name == step.name);
                Cow::Borrowed(part.map_or(&NULL, |(_, value)| value))
            }
            Value::List(list) => Cow::Owned(self.spread(list, step)),
            _ => Cow::Borrowed(&NULL),
        }
    }

    fn of_record<'v>(self, record: &'v Record, step: &Step) -> Cow<'v, Value> {
        let Some(slot) = step.slots.get(record.collection) else { return Cow::Borrowed(&NULL) };
        match (record.slots.get(slot), step.via) {
            (Some(Some(value)), _) => Cow::Borrowed(value),
            (_, Some(via)) if via.is_many() => Cow::Owned(self.nav.many(record, via)),
            (_, Some(via)) => Cow::Owned(self.nav.one(record, via)),
            (_, None) => Cow::Owned(Value::Unknown(Unknown::new(format!("{} was not read", step.name)))),
        }
    }

    /// A step from every item of a list. Lists among the results become part of the one list; null adds nothing, and
    /// what is unknown becomes the reason why there may be more.
    fn spread(self, list: &List, step: &Step) -> Value {
        let (mut items, mut maybe, mut rest) = (Vec::new(), Vec::new(), list.rest.clone());
        let sources = [(&list.items, true), (&list.maybe, false)];
        for (item, certain) in
            sources.into_iter().flat_map(|(from, certain)| from.iter().map(move |item| (item, certain)))
        {
            let to = if certain { &mut items } else { &mut maybe };
            match self.step(item, step).into_owned() {
                Value::Null => {}
                Value::Unknown(reason) => rest = rest.or(Some(reason)),
                Value::List(inner) => {
                    to.extend_from_slice(&inner.items);
                    maybe.extend_from_slice(&inner.maybe);
                    rest = rest.or(inner.rest);
                }
                value => to.push(value),
            }
        }
        Value::List(List { items: items.into(), maybe: maybe.into(), rest })
    }

    fn holds(self, lambda: &Lambda, item: &Value) -> Value {
        let frame = Frame { item, outer: self.lambda };
        Scope { lambda: Some(&frame), ..self }.value(&lambda.body).into_owned()
    }

    fn some(self, list: &Value, lambda: Option<&Lambda>) -> Value {
        let holds = |item: &Value| lambda.map_or(Value::Bool(true), |lambda| self.holds(lambda, item));
        match list {
            Value::Unknown(reason) => Value::Unknown(reason.clone()),
            Value::Null => Value::Bool(false),
            Value::List(list) => any(list.items.iter().map(holds), list.maybe.iter().map(holds), list.rest.as_ref()),
            single => any(std::iter::once(holds(single)), std::iter::empty(), None),
        }
    }

    /// All are, if there is none that is not.
    fn every(self, list: &Value, lambda: &Lambda) -> Value {
        let fails = |item: &Value| match self.holds(lambda, item) {
            Value::Unknown(reason) => Value::Unknown(reason),
            value => Value::Bool(value != Value::Bool(true)),
        };
        let failed = match list {
            Value::Unknown(reason) => Value::Unknown(reason.clone()),
            Value::Null => Value::Bool(false),
            Value::List(list) => any(list.items.iter().map(fails), list.maybe.iter().map(fails), list.rest.as_ref()),
            single => fails(single),
        };
        match failed {
            Value::Bool(failed) => Value::Bool(!failed),
            unknown => unknown,
        }
    }
}

/// Whether something certain is true; else unknown if something doubtful might be; else false.
fn any(items: impl Iterator<Item = Value>, maybe: impl Iterator<Item = Value>, rest: Option<&Unknown>) -> Value {
    let mut doubt = None;
    for item in items {
        match item {
            Value::Bool(true) => return Value::Bool(true),
            Value::Unknown(reason) => doubt = doubt.or(Some(reason)),
            _ => {}
        }
    }
    doubt = doubt.or_else(|| rest.cloned());
    for item in maybe {
        if doubt.is_some() {
            break;
        }
        match item {
            Value::Bool(true) => {
                doubt = Some(Unknown::new("it is not known whether a fitting item belongs to the list"))
            }
            Value::Unknown(reason) => doubt = Some(reason),
            _ => {}
        }
    }
    doubt.map_or(Value::Bool(false), Value::Unknown)
}

fn known(items: Vec<Value>) -> Value {
    Value::List(List::known(items))
}

fn count(value: &Value) -> Value {
    match value {
        Value::Unknown(reason) => Value::Unknown(reason.clone()),
        Value::Null => Value::Int(0),
        Value::List(list) => match reason_for(list) {
            Some(reason) => Value::Unknown(reason),
            None => Value::Int(i64::try_from(list.items.len()).unwrap_or(i64::MAX)),
        },
        _ => Value::Int(1),
    }
}

fn binary(operator: Binary, a: &Value, b: &Value) -> Value {
    if let Value::Unknown(reason) = a {
        return Value::Unknown(reason.clone());
    }
    if let Value::Unknown(reason) = b {
        return Value::Unknown(reason.clone());
    }
    let null = a.is_null() || b.is_null();
    let compared = |holds: fn(Ordering) -> bool| match order(a, b) {
        _ if null => Value::Bool(false),
        Some(order) => Value::Bool(holds(order)),
        None => Value::Null,
    };
    let equality = || if null { Some(a.is_null() && b.is_null()) } else { equal(a, b) };
    match operator {
        Binary::Eq => equality().map_or(Value::Null, Value::Bool),
        Binary::Ne => equality().map_or(Value::Null, |equal| Value::Bool(!equal)),
        Binary::Gt => compared(Ordering::is_gt),
        Binary::Ge => compared(Ordering::is_ge),
        Binary::Lt => compared(Ordering::is_lt),
        Binary::Le => compared(Ordering::is_le),
        Binary::In => Value::Null,
        Binary::Has => has(a, b),
        Binary::Add | Binary::Sub | Binary::Mul | Binary::Div | Binary::DivBy | Binary::Mod => {
            arithmetic(operator, a, b)
        }
    }
}

/// Whether a set of flags, written as Graph does (`read,write`) or as a number, includes all of another.
fn has(a: &Value, b: &Value) -> Value {
    match (a, b) {
        (Value::Int(a), Value::Int(b)) => Value::Bool(a & b == *b),
        (Value::Text(a), Value::Text(b)) => {
            let flags = |text: &str, flag: &str| text.split(',').any(|one| one.trim().eq_ignore_ascii_case(flag));
            Value::Bool(b.split(',').all(|flag| flags(a, flag.trim())))
        }
        _ => Value::Null,
    }
}

/// A result that does not exist (division by zero, a date beyond the calendar) is unknown, so that nothing can follow
/// from it.
fn arithmetic(operator: Binary, a: &Value, b: &Value) -> Value {
    let result = match (a, b) {
        (Value::Unknown(reason), _) | (_, Value::Unknown(reason)) => return Value::Unknown(reason.clone()),
        (Value::Int(a), Value::Int(b)) => whole(operator, *a, *b),
        (Value::Int(a), Value::Double(b)) => fraction(operator, *a as f64, *b),
        (Value::Double(a), Value::Int(b)) => fraction(operator, *a, *b as f64),
        (Value::Double(a), Value::Double(b)) => fraction(operator, *a, *b),
        _ => match time(operator, a, b) {
            Some(result) => result,
            None => return Value::Null,
        },
    };
    result.unwrap_or_else(|| {
        let reason = format!("the result of `{}` does not exist or is too large", operator.word());
        Value::Unknown(Unknown::new(reason))
    })
}

fn whole(operator: Binary, a: i64, b: i64) -> Option<Value> {
    match operator {
        Binary::Add => a.checked_add(b).map(Value::Int),
        Binary::Sub => a.checked_sub(b).map(Value::Int),
        Binary::Mul => a.checked_mul(b).map(Value::Int),
        Binary::Div => a.checked_div(b).map(Value::Int),
        Binary::Mod => a.checked_rem(b).map(Value::Int),
        _ => fraction(operator, a as f64, b as f64),
    }
}

fn fraction(operator: Binary, a: f64, b: f64) -> Option<Value> {
    let result = match operator {
        Binary::Add => a + b,
        Binary::Sub => a - b,
        Binary::Mul => a * b,
        Binary::Mod => a % b,
        _ => a / b,
    };
    result.is_finite().then_some(Value::Double(result))
}

/// Sums and differences of times and durations. The outer option: whether the types fit at all.
fn time(operator: Binary, a: &Value, b: &Value) -> Option<Option<Value>> {
    Some(match (operator, a, b) {
        (Binary::Add, Value::DateTime(a), Value::Duration(b)) => a.checked_add(*b).ok().map(Value::DateTime),
        (Binary::Sub, Value::DateTime(a), Value::Duration(b)) => a.checked_sub(*b).ok().map(Value::DateTime),
        (Binary::Sub, Value::DateTime(a), Value::DateTime(b)) => Some(Value::Duration(a.duration_since(*b))),
        (Binary::Add, Value::Date(a), Value::Duration(b)) => a.checked_add(*b).ok().map(Value::Date),
        (Binary::Sub, Value::Date(a), Value::Duration(b)) => a.checked_sub(*b).ok().map(Value::Date),
        (Binary::Sub, Value::Date(a), Value::Date(b)) => Some(Value::Duration(a.duration_since(*b))),
        (Binary::Add, Value::Duration(a), Value::Duration(b)) => a.checked_add(*b).map(Value::Duration),
        (Binary::Sub, Value::Duration(a), Value::Duration(b)) => a.checked_sub(*b).map(Value::Duration),
        // Only a negation begins with a number.
        (Binary::Sub, Value::Int(0), Value::Duration(b)) => SignedDuration::ZERO.checked_sub(*b).map(Value::Duration),
        _ => return None,
    })
}
