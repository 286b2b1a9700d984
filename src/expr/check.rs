//! Checks a tree against the schema, gives its properties their slots and says what it evaluates to.
//!
//! Hides the rules of which types go together. What has no type before evaluation (no collection, a directory
//! extension, a mixture) fits everywhere. Deliberately refuses what OData would answer with a constant null, such as
//! a date compared with text: that is always a slip, and better found before anything is contacted.

use std::sync::Arc;

use super::ast::{Binary, Call, Constant, End, Head, Items, Lambda, Node, NodeKind, Path, Segment, Span, Step};
use super::functions::{Accepts, Function, Parameter, Prepared, Returns};
use super::set::Set;
use super::{Catalog, SyntaxError, literal, nearest};
use crate::record::{Collection, Guid, List, Value};
use crate::schema::{self, Kind, Navigation, Source, Type};

type Checked = Result<Type, SyntaxError>;

/// What an expression is for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Use {
    /// It decides what is in scope, so it is evaluated on every record.
    Filter,
    /// It is evaluated on records in scope, and then the ends of pairs and assignments are in scope too.
    Value,
}

/// Checks `node` as an expression over `root` and notes in `catalog` what it uses. `item` is the type of what `$this`
/// is, where the expression is about one item of a list at a time.
pub(super) fn check(
    node: &mut Node,
    root: Option<Collection>,
    item: Option<Type>,
    used: Use,
    catalog: &mut Catalog,
) -> Checked {
    let root = match root {
        Some(collection) => {
            catalog.require_collection(collection);
            Type::one(Kind::record(collection))
        }
        None => Type::ANY,
    };
    Checker { root, catalog, used, frames: item.into_iter().collect() }.node(node)
}

struct Checker<'c> {
    root: Type,
    catalog: &'c mut Catalog,
    used: Use,
    /// Types of what the lambdas and filters around look at, outermost first.
    frames: Vec<Type>,
}

impl Checker<'_> {
    fn node(&mut self, node: &mut Node) -> Checked {
        let span = node.span.clone();
        match &mut node.kind {
            NodeKind::Literal(value) => Ok(type_of(value)),
            NodeKind::List(items) => self.items(items),
            NodeKind::Object(parts) => {
                parts.iter_mut().try_for_each(|(_, node)| self.node(node).map(|_| ()))?;
                Ok(Type::ANY)
            }
            NodeKind::Path(path) => self.path(path, span),
            NodeKind::And(parts) => self.operands(parts, "`and`"),
            NodeKind::Or(parts) => self.operands(parts, "`or`"),
            NodeKind::Not(inner) => {
                let ty = self.node(inner)?;
                boolean(ty, inner, "`not`", Some("`not` binds tightly: not (… eq …)"))
            }
            NodeKind::Negate(inner) => match self.node(inner)? {
                ty @ Type { kind: Kind::Any | Kind::Int | Kind::Double | Kind::Duration, many: false } => Ok(ty),
                ty => Err(SyntaxError::new(inner.span.clone(), format!("`-` needs a number, this is {ty}"))),
            },
            NodeKind::Binary(operator, sides) => self.binary(*operator, sides, span),
            NodeKind::Call(call) => self.call(call, span),
            NodeKind::Case(branches) => self.case(branches),
            NodeKind::Cast(inner, ty) => {
                self.subject(inner)?;
                Ok(ty.ty())
            }
            NodeKind::IsOf(inner, _) => {
                self.subject(inner)?;
                Ok(Type::BOOL)
            }
        }
    }

    /// What `cast` and `isof` are about.
    fn subject(&mut self, inner: &mut Option<Box<Node>>) -> Result<(), SyntaxError> {
        let Some(inner) = inner else { return Ok(()) };
        match self.node(inner)? {
            ty @ Type { kind: Kind::Complex(_) | Kind::Record(_), .. } => {
                let message = format!("only single values and lists of them have a primitive type, this is {ty}");
                Err(SyntaxError::new(inner.span.clone(), message))
            }
            _ => Ok(()),
        }
    }

    fn items(&mut self, items: &mut Items) -> Checked {
        let mut ty: Option<Type> = None;
        for node in &mut items.nodes {
            let found = self.node(node)?;
            if !is_null(node) {
                ty = Some(ty.map_or(found, |other| common(other, found)));
            }
        }
        let literal = |node: &Node| match &node.kind {
            NodeKind::Literal(value) => Some(value.clone()),
            NodeKind::List(Items { constant: Some(constant), .. }) => Some(constant.value.clone()),
            _ => None,
        };
        if let Some(values) = items.nodes.iter().map(literal).collect::<Option<Vec<Value>>>() {
            let set = Set::of(&values);
            items.constant = Some(Arc::new(Constant { value: Value::List(List::known(values)), set }));
        }
        Ok(match ty {
            Some(Type { kind, many: false }) => Type::list(kind),
            _ => Type::list(Kind::Any),
        })
    }

    fn case(&mut self, branches: &mut [[Node; 2]]) -> Checked {
        let mut result: Option<Type> = None;
        for [condition, value] in branches {
            let ty = self.node(condition)?;
            boolean(ty, condition, "a condition", None)?;
            let ty = self.node(value)?;
            if !is_null(value) {
                result = Some(result.map_or(ty, |other| common(other, ty)));
            }
        }
        Ok(result.unwrap_or(Type::ANY))
    }

    fn operands(&mut self, parts: &mut [Node], word: &str) -> Checked {
        for part in parts {
            let ty = self.node(part)?;
            boolean(ty, part, word, None)?;
        }
        Ok(Type::BOOL)
    }

    fn path(&mut self, path: &mut Path, span: Span) -> Checked {
        let mut at = match &path.head {
            Head::Root | Head::It => self.root,
            Head::Variable(_, depth) | Head::Item(depth) | Head::This(depth) => {
                let index = self.frames.len().checked_sub(1 + usize::from(*depth));
                index.and_then(|index| self.frames.get(index)).copied().unwrap_or(Type::ANY)
            }
            Head::Alias(name) if self.root != Type::ANY => {
                return Err(SyntaxError::new(span, format!("`@{name}` has no value"))
                    .help(format!("add it behind the expression: &@{name}='…'")));
            }
            Head::Alias(_) => Type::ANY,
        };
        let on_root = matches!(path.head, Head::Root | Head::It);
        let last = path.segments.len().wrapping_sub(1);
        for (index, segment) in path.segments.iter_mut().enumerate() {
            at = match segment {
                Segment::Property(step) => {
                    let found = self.step(at, step, index > 0 || !on_root)?;
                    let is_at_hand = index == 0 && on_root && step.via.is_some_and(|via| self.is_at_hand(via));
                    let is_counted = index == last && matches!(path.end, End::Count | End::Any(None));
                    if let (Kind::Record(targets), false) = (found.kind, is_at_hand || is_counted) {
                        targets.iter().for_each(|target| self.catalog.look_at(*target));
                    }
                    found
                }
                Segment::Filter(condition) => {
                    list(at, span.clone(), "`$filter`")?;
                    self.inside(condition, at, "`$filter`")?;
                    Type::list(at.kind)
                }
                Segment::Key(condition) => {
                    list(at, span.clone(), "a key")?;
                    self.inside(condition, at, "a key")?;
                    Type::one(at.kind)
                }
            };
        }
        let lambda = match &mut path.end {
            End::Value => return Ok(at),
            End::Count => return list(at, span, "`$count`").map(|()| Type::INT),
            End::Any(None) => return list(at, span, "`any`").map(|()| Type::BOOL),
            End::Any(Some(lambda)) => {
                list(at, span, "`any`")?;
                lambda
            }
            End::All(lambda) => {
                list(at, span, "`all`")?;
                lambda
            }
        };
        self.lambda(lambda, at)
    }

    fn lambda(&mut self, lambda: &mut Lambda, over: Type) -> Checked {
        self.inside(&mut lambda.body, over, "a lambda")
    }

    /// A condition about one item of a list.
    fn inside(&mut self, condition: &mut Node, over: Type, word: &str) -> Checked {
        self.frames.push(Type::one(over.kind));
        let ty = self.node(condition);
        self.frames.pop();
        boolean(ty?, condition, word, Some("compare the variable or one of its properties: any(x: x eq …)"))
    }

    /// Whether what the record itself leads to is known, although not everything of its collection is read: managers
    /// are looked up, and the ends of what is in scope are in scope.
    fn is_at_hand(&self, via: Navigation) -> bool {
        match via {
            Navigation::Manager => true,
            Navigation::Container | Navigation::Member | Navigation::User => self.used == Use::Value,
            _ => false,
        }
    }

    /// `followed` says that it is a step from something that the record only leads to.
    fn step(&mut self, at: Type, step: &mut Step, followed: bool) -> Checked {
        let found = match at.kind {
            Kind::Any => Type::ANY,
            Kind::Complex(table) => {
                let known = table.iter().find(|(name, _)| **name == *step.name);
                let names = table.iter().map(|(name, _)| *name);
                known.map(|(_, ty)| *ty).ok_or_else(|| no_property("this", step, names))?
            }
            Kind::Record(collections) => self.property(collections, step, followed)?,
            kind => {
                let message = format!("this follows {kind}, which has no properties");
                return Err(SyntaxError::new(step.span.clone(), message));
            }
        };
        Ok(Type { kind: found.kind, many: found.many || at.many })
    }

    /// A property of records that may be of several collections: at least one must have it.
    fn property(&mut self, collections: &[Collection], step: &mut Step, followed: bool) -> Checked {
        let mut found = None;
        for collection in collections {
            let Some(property) = self.catalog.property(*collection, &step.name) else { continue };
            let slot = self.catalog.intern(*collection, &step.name, &property, followed);
            let slot = slot.ok_or_else(|| SyntaxError::new(step.span.clone(), "too many properties are used"))?;
            step.slots.set(*collection, slot);
            if let Source::Navigation(via) = property.source {
                step.via = Some(via);
            }
            found = Some(found.map_or(property.ty, |other| common(other, property.ty)));
        }
        found.ok_or_else(|| {
            let owner = collections.iter().map(|collection| collection.name()).collect::<Vec<_>>().join(" or ");
            no_property(&owner, step, collections.iter().flat_map(|collection| schema::names(*collection)))
        })
    }

    fn binary(&mut self, operator: Binary, sides: &mut [Node; 2], span: Span) -> Checked {
        let [left, right] = sides;
        let a = self.node(left)?;
        match operator {
            Binary::In => self.is_in(left, a, right),
            Binary::Eq | Binary::Ne | Binary::Gt | Binary::Ge | Binary::Lt | Binary::Le => {
                let b = self.node(right)?;
                let equality = matches!(operator, Binary::Eq | Binary::Ne);
                comparable((left, a), (right, b), equality, operator.word(), span)
            }
            Binary::Has => {
                let b = self.node(right)?;
                let fits = |ty: Type| matches!(ty, Type { kind: Kind::Any | Kind::Text | Kind::Int, many: false });
                if fits(a) && fits(b) && compatible(a.kind, b.kind) {
                    return Ok(Type::BOOL);
                }
                Err(SyntaxError::new(span, format!("`has` tests flags, this is {a} and {b}")))
            }
            Binary::Add | Binary::Sub | Binary::Mul | Binary::Div | Binary::DivBy | Binary::Mod => {
                let mut b = self.node(right)?;
                if matches!(operator, Binary::Add | Binary::Sub) && as_duration(a, right) {
                    b = Type::DURATION;
                }
                arithmetic(operator, a, b).ok_or_else(|| {
                    let error = SyntaxError::new(span, format!("`{}` does not work on {a} and {b}", operator.word()));
                    let member = |node: &Node| matches!(node.kind, NodeKind::Binary(Binary::In | Binary::Has, _));
                    match member(left) || member(right) {
                        true => error.help("`in` and `has` bind tighter: write (a add b) in (…)"),
                        false => error,
                    }
                })
            }
        }
    }

    fn is_in(&mut self, left: &Node, a: Type, right: &mut Node) -> Checked {
        let b = self.node(right)?;
        if let NodeKind::List(items) = &right.kind {
            for item in &items.nodes {
                comparable((left, a), (item, self.known(item)), true, "in", item.span.clone())?;
            }
            return Ok(Type::BOOL);
        }
        if !b.many && b.kind != Kind::Any {
            let error = SyntaxError::new(right.span.clone(), format!("`in` needs a list, this is {b}"));
            return Err(error.help("write the values in parentheses: in ('a', 'b')"));
        }
        let span = left.span.start..right.span.end;
        comparable((left, a), (right, Type::one(b.kind)), true, "in", span)
    }

    /// The type of an item that was checked before, as far as it shows.
    fn known(&self, item: &Node) -> Type {
        match &item.kind {
            NodeKind::Literal(value) => type_of(value),
            NodeKind::List(_) => Type::list(Kind::Any),
            _ => Type::ANY,
        }
    }

    fn call(&mut self, call: &mut Call, span: Span) -> Checked {
        let function = call.function;
        let least = function.parameters.iter().filter(|parameter| !parameter.optional).count();
        let most = if function.variadic { usize::MAX } else { function.parameters.len() };
        let given = call.arguments.len();
        if given < least || given > most {
            let message = format!("`{}` takes {}, here are {given}", function.name, counted(least, most));
            return Err(SyntaxError::new(span, message).help(function.signature()));
        }
        let (mut all, mut types): (Option<Type>, Vec<Type>) = (None, Vec::with_capacity(given));
        for (index, argument) in call.arguments.iter_mut().enumerate() {
            let ty = self.node(argument)?;
            if let Some(parameter) = function.parameters.get(index).or(function.parameters.last()) {
                accept(function, parameter, ty, argument)?;
            }
            types.push(ty);
            if !is_null(argument) {
                all = Some(all.map_or(ty, |other| common(other, ty)));
            }
        }
        both_alike(function, &types, &span)?;
        call.prepared = match (function.name, types.first()) {
            ("inscope", Some(Type { kind: Kind::Record(collections), .. })) => Prepared::Scope(collections),
            _ => function.prepare(call, self.catalog)?,
        };
        let all = all.unwrap_or(Type::ANY);
        let first = types.first().copied().unwrap_or(Type::ANY);
        Ok(match function.returns {
            Returns::Bool => Type::BOOL,
            Returns::Int => Type::INT,
            Returns::Double => Type::DOUBLE,
            Returns::Text => Type::TEXT,
            Returns::Texts => Type::list(Kind::Text),
            Returns::DateTime => Type::DATE_TIME,
            Returns::Date => Type::DATE,
            Returns::Time => Type::TIME,
            // One text of many kinds of values, or one list of many.
            Returns::Arguments if function.name == "concat" && !all.many && all.kind != Kind::Any => Type::TEXT,
            Returns::Arguments => all,
            Returns::First => first,
            Returns::List => Type::list(first.kind),
            Returns::Item => Type::one(first.kind),
        })
    }
}

fn type_of(value: &Value) -> Type {
    match value {
        Value::Bool(_) => Type::BOOL,
        Value::Int(_) => Type::INT,
        Value::Double(_) => Type::DOUBLE,
        Value::Text(_) => Type::TEXT,
        Value::Guid(_) => Type::GUID,
        Value::DateTime(_) => Type::DATE_TIME,
        Value::Date(_) => Type::DATE,
        Value::Time(_) => Type::TIME,
        Value::Duration(_) => Type::DURATION,
        Value::Binary(_) => Type::one(Kind::Binary),
        Value::Null | Value::Unknown(_) | Value::List(_) | Value::Object(_) | Value::Record(_) => Type::ANY,
    }
}

/// Turns text after `add` or `sub` into the duration that it is without its prefix, where it cannot be anything else.
fn as_duration(left: Type, right: &mut Node) -> bool {
    if left.many || !matches!(left.kind, Kind::Any | Kind::DateTime | Kind::Date | Kind::Duration) {
        return false;
    }
    let NodeKind::Literal(Value::Text(text)) = &right.kind else { return false };
    let Some(span) = literal::duration(text) else { return false };
    right.kind = NodeKind::Literal(Value::Duration(span));
    true
}

fn is_null(node: &Node) -> bool {
    matches!(node.kind, NodeKind::Literal(Value::Null))
}

/// The type of something that is one or the other.
fn common(a: Type, b: Type) -> Type {
    match (a.kind, b.kind) {
        _ if a == b => a,
        (Kind::Int | Kind::Double, Kind::Int | Kind::Double) if !a.many && !b.many => Type::DOUBLE,
        _ if a.many && b.many => Type::list(Kind::Any),
        _ => Type::ANY,
    }
}

fn no_property<'n>(owner: &str, step: &Step, names: impl Iterator<Item = &'n str>) -> SyntaxError {
    let verb = if owner == "this" { "has" } else { "have" };
    let error = SyntaxError::new(step.span.clone(), format!("{owner} {verb} no property `{}`", step.name));
    match nearest(&step.name, names) {
        Some(name) => error.help(format!("did you mean `{name}`?")),
        None => error,
    }
}

fn boolean(ty: Type, node: &Node, word: &str, help: Option<&str>) -> Checked {
    if matches!(ty, Type { kind: Kind::Bool | Kind::Any, many: false }) {
        return Ok(Type::BOOL);
    }
    let error = SyntaxError::new(node.span.clone(), format!("{word} needs true or false, this is {ty}"));
    Err(match help {
        Some(help) => error.help(help),
        None => error.help("compare it with something: … eq …"),
    })
}

fn list(ty: Type, span: Span, what: &str) -> Result<(), SyntaxError> {
    match ty.many || ty.kind == Kind::Any {
        true => Ok(()),
        false => Err(SyntaxError::new(span, format!("{what} needs a list before it, this is {ty}"))),
    }
}

/// Whether single values of these kinds can be compared at all.
fn compatible(a: Kind, b: Kind) -> bool {
    use Kind::{Any, Binary, Date, DateTime, Double, Guid, Int, Text};
    match (a, b) {
        (Any, _) | (_, Any) => true,
        (Int | Double, Int | Double) | (DateTime | Date, DateTime | Date) => true,
        // Graph writes many ids as text.
        (Text | Guid | Binary, Text | Guid | Binary) => true,
        (a, b) => a == b,
    }
}

fn comparable(a: (&Node, Type), b: (&Node, Type), equality: bool, word: &str, span: Span) -> Checked {
    let untyped = |ty: Type| ty == Type::ANY;
    // Two lists are equal item by item; everything else needs single values.
    let lists = equality && (a.1.many || untyped(a.1)) && (b.1.many || untyped(b.1)) && !is_null(a.0) && !is_null(b.0);
    for (node, ty) in [a, b] {
        if ty.many && !lists {
            return Err(SyntaxError::new(node.span.clone(), format!("`{word}` compares single values, this is {ty}"))
                .help(format!("look at each: {node}/any(x: x {} …)", if word == "in" { "eq" } else { word })));
        }
    }
    let whole = |ty: Type| matches!(ty.kind, Kind::Complex(_) | Kind::Record(_));
    let object = |node: &Node| matches!(node.kind, NodeKind::Object(_));
    let alike = std::mem::discriminant(&a.1.kind) == std::mem::discriminant(&b.1.kind);
    let as_a_whole = is_null(a.0) || is_null(b.0) || object(a.0) || object(b.0) || alike || lists;
    for (node, ty) in [a, b] {
        if whole(ty) && !(equality && as_a_whole) {
            return Err(SyntaxError::new(node.span.clone(), format!("`{word}` cannot compare a whole {ty}"))
                .help(format!("compare one of its properties: {node}/…")));
        }
    }
    if !(compatible(a.1.kind, b.1.kind) || (alike && whole(a.1)) || span_of_time(a, b) || span_of_time(b, a)) {
        let error = SyntaxError::new(span, format!("`{word}` cannot compare {} with {}", a.1, b.1));
        return Err(match quoted(a, b).or_else(|| quoted(b, a)) {
            Some(help) => error.help(help),
            None => error,
        });
    }
    for ((node, _), (_, other)) in [(a, b), (b, a)] {
        if let (NodeKind::Literal(Value::Text(text)), Kind::Guid) = (&node.kind, other.kind)
            && text.parse::<Guid>().is_err()
        {
            let message = format!("'{text}' is not an id of the form xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx");
            return Err(SyntaxError::new(node.span.clone(), message));
        }
    }
    Ok(Type::BOOL)
}

/// Whether text is compared with a duration and is one without its prefix, as OData 4.01 allows.
fn span_of_time((node, _): (&Node, Type), (_, other): (&Node, Type)) -> bool {
    let NodeKind::Literal(Value::Text(text)) = &node.kind else { return false };
    other.kind == Kind::Duration && literal::duration(text).is_some()
}

/// The help for a value in quotes that should have none.
fn quoted((literal, _): (&Node, Type), (_, other): (&Node, Type)) -> Option<String> {
    let NodeKind::Literal(Value::Text(text)) = &literal.kind else { return None };
    let fits = match other.kind {
        Kind::DateTime | Kind::Date => literal::moment(text).is_some() || literal::date(text).is_some(),
        Kind::Time => literal::time(text).is_some(),
        Kind::Bool => text.eq_ignore_ascii_case("true") || text.eq_ignore_ascii_case("false"),
        Kind::Int | Kind::Double => text.parse::<f64>().is_ok(),
        _ => false,
    };
    match (fits, other.kind) {
        (true, _) => Some(format!("leave out the quotes: {text}")),
        (false, Kind::DateTime | Kind::Date) => Some("dates have no quotes: 2024-01-31T12:00:00Z".to_owned()),
        (false, _) => None,
    }
}

/// What an arithmetic operator makes of two types; `None` if nothing.
fn arithmetic(operator: Binary, a: Type, b: Type) -> Option<Type> {
    use Kind::{Any, Date, DateTime, Double, Duration, Int};
    if a.many || b.many {
        return None;
    }
    let additive = matches!(operator, Binary::Add | Binary::Sub);
    let scales = matches!(operator, Binary::Mul | Binary::Div | Binary::DivBy);
    let kind = match (a.kind, b.kind) {
        (Any, Any | Int | Double | DateTime | Date | Duration) | (Int | Double | DateTime | Date | Duration, Any) => {
            Any
        }
        (Int, Int) if operator == Binary::DivBy => Double,
        (Int, Int) => Int,
        (Int | Double, Int | Double) => Double,
        (kind @ (DateTime | Date | Duration), Duration) if additive => kind,
        (DateTime, DateTime) | (Date, Date) if operator == Binary::Sub => Duration,
        (Duration, Int | Double) if scales => Duration,
        (Int | Double, Duration) if operator == Binary::Mul => Duration,
        _ => return None,
    };
    Some(Type::one(kind))
}

fn accept(function: &Function, parameter: &Parameter, ty: Type, argument: &Node) -> Result<(), SyntaxError> {
    // A duration may be written without its prefix.
    let duration =
        |node: &Node| matches!(&node.kind, NodeKind::Literal(Value::Text(text)) if literal::duration(text).is_some());
    if parameter.accepts.fits(ty) || (parameter.accepts == Accepts::Duration && duration(argument)) {
        return Ok(());
    }
    let wanted = parameter.accepts.wanted();
    let message = format!("`{}` needs {wanted} as its {}, this is {ty}", function.name, parameter.name);
    let error = SyntaxError::new(argument.span.clone(), message);
    Err(match ty.many && !parameter.accepts.lists() {
        true => error.help(format!("look at each with any(x: {}(x, …)), or write join(…, ', ')", function.name)),
        false => error.help(function.signature()),
    })
}

/// Functions on two texts or two lists do not work on one of each.
fn both_alike(function: &Function, types: &[Type], span: &Span) -> Result<(), SyntaxError> {
    let either = |parameter: &Parameter| parameter.accepts == Accepts::TextOrList;
    let ([a, b, ..], true) = (types, function.parameters.len() == 2 && function.parameters.iter().all(either)) else {
        return Ok(());
    };
    if a.many == b.many || [a, b].iter().any(|ty| !ty.many && ty.kind == Kind::Any) {
        return Ok(());
    }
    let message = format!("`{}` works on two texts or on two lists, these are {a} and {b}", function.name);
    Err(SyntaxError::new(span.clone(), message).help(format!("look at each with any(x: {}(x, …))", function.name)))
}

fn counted(least: usize, most: usize) -> String {
    match (least, most) {
        (0, 0) => "no arguments".to_owned(),
        (least, usize::MAX) => format!("{least} or more arguments"),
        (1, 1) => "1 argument".to_owned(),
        (least, most) if least == most => format!("{least} arguments"),
        (least, most) => format!("{least} to {most} arguments"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::expr::{compile, compile_filter};

    fn check(collection: Collection, text: &str, expected: &str) {
        let shown = match compile(text, Some(collection), &mut Catalog::new()) {
            Ok(expression) => expression.ty().to_string(),
            Err(SyntaxError { span, message, help }) => {
                format!("`{}` {message}{}", &text[span], help.map(|help| format!(" | {help}")).unwrap_or_default())
            }
        };
        assert_eq!(shown, expected, "{text}");
    }

    #[test]
    fn expressions_have_the_types_of_their_parts() {
        let users = |text, expected| check(Collection::Users, text, expected);
        users("accountEnabled eq true and userType eq 'Member'", "true/false");
        users("displayName", "text");
        users("memberOf/id", "list of text");
        users("manager/memberOf/assignedLicenses/skuId", "list of id (GUID)");
        users("manager/manager/displayName", "text");
        users("licenses/prepaidUnits/enabled", "list of number");
        users("licenses/prepaidUnits/any(p: p/enabled gt 1)", "true/false");
        users("memberOf", "list of record of groups");
        users("$it", "record of users");
        users("assignedLicenses/$count", "number");
        users("coalesce(mail, userPrincipalName, null)", "text");
        users("coalesce(mail, createdDateTime)", "any type");
        users("signInActivity/lastSignInDateTime lt now() sub duration'P90D'", "true/false");
        users("now() sub createdDateTime gt duration'P1D'", "true/false");
        users("deviceEnrollmentLimit divby 2", "number");
        users("extension_0123456789abcdef0123456789abcdef_a gt 2024-01-01", "true/false");
        users("extab12cd34_course/id eq 1", "true/false");
        users("join(businessPhones, ', ')", "text");
        users("employeeOrgData eq null or manager ne null", "true/false");
        users("id eq 87d349ed-44d7-43e1-9a83-5f2406dee5bd", "true/false");
        users("id in ('87d349ed-44d7-43e1-9a83-5f2406dee5bd', 'b')", "true/false");
        users("'a' in businessPhones", "true/false");
        users("[displayName, city] in [['Adele', 'Oslo'], ['Megan', 'Bergen']]", "true/false");
        users("businessPhones eq ['1', '2']", "true/false");
        users("manager eq $it", "true/false");
        users("employeeOrgData eq {\"costCenter\": '4711', \"division\": null}", "true/false");
        users("case(accountEnabled: 1, true: 2.5)", "number");
        users("cast(displayName, Edm.Date)", "date");
        users("isof(displayName, Edm.String)", "true/false");
        users("now() sub createdDateTime gt 'P1D'", "true/false");
        users("now() sub 'P1D'", "date and time");
        users("first(memberOf)", "record of groups");
        users("memberOf/$filter(mailEnabled eq true and $it/mail ne mail)/displayName", "list of text");
        users("split(mail, '@')", "list of text");
        users("year(createdDateTime) eq 2024", "true/false");
        users("substring(businessPhones, 1)", "list of text");
        users("memberOf/any(g: g/groupTypes/any(t: t eq 'Unified' and $it/mail eq g/mail))", "true/false");
        check(Collection::Groups, "members/displayName", "list of text");
        check(Collection::Groups, "members/userPrincipalName", "list of text");
        check(Collection::Memberships, "member/deviceId eq null", "true/false");
        check(Collection::LicenseAssignments, "skuId eq '87d349ed-44d7-43e1-9a83-5f2406dee5bd'", "true/false");
        check(Collection::LicenseAssignments, "license/available sub 1", "number");
    }

    #[test]
    fn names_that_do_not_exist_are_refused() {
        let users = |text, expected| check(Collection::Users, text, expected);
        users("departement eq 'x'", "`departement` users have no property `departement` | did you mean `department`?");
        users(
            "accountenabled",
            "`accountenabled` users have no property `accountenabled` | did you mean `accountEnabled`?",
        );
        users("manager/displayNam", "`displayNam` users have no property `displayNam` | did you mean `displayName`?");
        users("memberOf/any(g: g/upn eq 'x')", "`upn` groups have no property `upn`");
        users(
            "employeeOrgData/costcentre",
            "`costcentre` this has no property `costcentre` | did you mean `costCenter`?",
        );
        users("displayName/length", "`length` this follows text, which has no properties");
        users(
            "transitivMemberOf/any()",
            "`transitivMemberOf` users have no property `transitivMemberOf` | did you mean \
             `transitiveMemberOf`?",
        );
        check(
            Collection::Groups,
            "members/modell",
            "`modell` users or groups or devices have no property `modell` | did you mean `model`?",
        );
    }

    #[test]
    fn types_that_do_not_fit_are_refused() {
        let users = |text, expected| check(Collection::Users, text, expected);
        users(
            "createdDateTime ge '2024-01-01T00:00:00Z'",
            "`createdDateTime ge '2024-01-01T00:00:00Z'` `ge` cannot compare date and time with text | leave out the \
             quotes: 2024-01-01T00:00:00Z",
        );
        users(
            "createdDateTime ge displayName",
            "`createdDateTime ge displayName` `ge` cannot compare date and time with text",
        );
        users(
            "'yesterday' lt createdDateTime",
            "`'yesterday' lt createdDateTime` `lt` cannot compare text with date and time | dates have no quotes: \
             2024-01-31T12:00:00Z",
        );
        users(
            "accountEnabled eq 'true'",
            "`accountEnabled eq 'true'` `eq` cannot compare true/false with text | leave out the quotes: true",
        );
        users(
            "businessPhones eq '1'",
            "`businessPhones` `eq` compares single values, this is list of text | look at each: businessPhones/any(x: \
             x eq …)",
        );
        users(
            "memberOf/displayName in ('a')",
            "`memberOf/displayName` `in` compares single values, this is list of text | look at each: \
             memberOf/displayName/any(x: x eq …)",
        );
        users(
            "manager eq 'Adele'",
            "`manager` `eq` cannot compare a whole record of users | compare one of its properties: manager/…",
        );
        users(
            "displayName in 'a'",
            "`'a'` `in` needs a list, this is text | write the values in parentheses: in ('a', 'b')",
        );
        users(
            "licenses/any(l: l/skuId eq 'E5')",
            "`'E5'` 'E5' is not an id of the form xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx",
        );
        users(
            "accountEnabled and displayName",
            "`displayName` `and` needs true or false, this is text | compare it with something: … eq …",
        );
        users(
            "not displayName eq 'x'",
            "`displayName` `not` needs true or false, this is text | `not` binds tightly: not (… eq …)",
        );
        users(
            "memberOf/any(g: g/displayName)",
            "`g/displayName` a lambda needs true or false, this is text | compare the variable or one of its \
             properties: any(x: x eq …)",
        );
        users(
            "displayName/any(x: x eq 'a')",
            "`displayName/any(x: x eq 'a')` `any` needs a list before it, this is text",
        );
        users("displayName add 1", "`displayName add 1` `add` does not work on text and number");
        users(
            "1 add deviceEnrollmentLimit in (1, 2)",
            "`1 add deviceEnrollmentLimit in (1, 2)` `add` does not work on number and true/false | `in` and `has` bind \
             tighter: write (a add b) in (…)",
        );
        users("memberOf/$filter(accountEnabled)/id", "`accountEnabled` groups have no property `accountEnabled`");
        users("mail eq @p", "`@p` `@p` has no value | add it behind the expression: &@p='…'");
        users("city in ('Oslo', 7)", "`7` `in` cannot compare text with number");
        users(
            "cast(manager, Edm.String)",
            "`manager` only single values and lists of them have a primitive type, this is \
             record of users",
        );
        users("-displayName", "`displayName` `-` needs a number, this is text");
        users("accountEnabled has 'x'", "`accountEnabled has 'x'` `has` tests flags, this is true/false and text");
    }

    #[test]
    fn calls_are_checked_against_the_table() {
        let users = |text, expected| check(Collection::Users, text, expected);
        users("tolower()", "`tolower()` `tolower` takes 1 argument, here are 0 | tolower(text)");
        users("now(1)", "`now(1)` `now` takes no arguments, here are 1 | now()");
        users(
            "substring(mail)",
            "`substring(mail)` `substring` takes 2 to 3 arguments, here are 1 | substring(text, start, [length])",
        );
        users("concat()", "`concat()` `concat` takes 1 or more arguments, here are 0 | concat(value, …)");
        users(
            "startswith(accountEnabled, 'x')",
            "`accountEnabled` `startswith` needs text or a list as its text, this is true/false | startswith(text, part)",
        );
        users(
            "trim(businessPhones)",
            "`businessPhones` `trim` needs text as its text, this is list of text | look at each with any(x: trim(x, \
             …)), or write join(…, ', ')",
        );
        users(
            "startswith(businessPhones, '+49')",
            "`startswith(businessPhones, '+49')` `startswith` works on two texts or on two lists, these are list of text \
             and text | look at each with any(x: startswith(x, …))",
        );
        users(
            "extract(mail, '(?=a)')",
            "`'(?=a)'` this pattern cannot be used: look-around, including look-ahead and look-behind, is not supported \
             | patterns are regular expressions, without looking ahead or behind and references back",
        );
        users(
            "formatdate(createdDateTime, 'YYYY')",
            "`'YYYY'` `YYYY` stands for no part of a date | yyyy yy MMMM MMM MM \
             M dddd ddd dd d HH H hh h mm ss fff tt zzz; \\ before a letter that is itself",
        );
        users(
            "lookup('sites', city, 'x')",
            "`'sites'` there is no table `sites` | tables are CSV files, named under \
             [tables] or with --table NAME=FILE",
        );
        users("year(displayName)", "`displayName` `year` needs a date as its date, this is text | year(date)");
        users(
            "substring(mail, '1')",
            "`'1'` `substring` needs a whole number as its start, this is text | substring(text, start, [length])",
        );
        users(
            "join(memberOf, ',')",
            "`memberOf` `join` needs a list of values as its list, this is list of record of groups | join(list, separator)",
        );
    }

    #[test]
    fn without_a_collection_any_name_is_accepted() {
        let mut catalog = Catalog::new();
        let expression = compile("status eq 200 and body/items/any(i: i/state eq 'x')", None, &mut catalog);
        assert_eq!(expression.map(|expression| expression.ty()), Ok(Type::BOOL));
        assert!(Collection::ALL.into_iter().all(|collection| !catalog.uses(collection)));
    }

    #[test]
    fn filters_are_true_or_false() {
        let mut catalog = Catalog::new();
        assert!(compile_filter("accountEnabled", Some(Collection::Users), &mut catalog).is_ok());
        assert!(compile_filter("anything", None, &mut catalog).is_ok());
        let error = compile_filter("displayName", Some(Collection::Users), &mut catalog).expect_err("text");
        assert_eq!((error.span, &*error.message), (0..11, "a filter must be true or false, this is text"));
        assert!(catalog.shape(Collection::Users).slot("displayName").is_none(), "a failure leaves nothing behind");
    }
}
