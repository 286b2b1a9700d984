//! Reads the text of an expression into its tree.
//!
//! Hides the grammar and the order in which operators bind (OData 4.01, part 2, section "Operator Precedence"); `paths`
//! has the part of it below them. Deliberately knows no properties and no types: those are the checker's. Needs time in proportion to the text and bounded stack: nesting
//! beyond [`MAX_DEPTH`] is refused.
//!
//! <https://docs.oasis-open.org/odata/odata/v4.01/odata-v4.01-part2-url-conventions.html>

mod paths;

use std::sync::Arc;

use self::paths::is_name;
use super::ast::{Binary, Call, Items, Node, NodeKind, Span, power};
use super::cast::EdmType;
use super::functions::{self, Prepared};
use super::input::Input;
use super::lex::{Lexer, Token};
use super::{Catalog, NoNavigation, SyntaxError, literal, nearest};
use crate::record::Value;

/// How deep parentheses, calls, lambdas and operators may nest. Chains of `and` and of `or` count once.
pub(super) const MAX_DEPTH: u16 = 100;

/// How many bytes parameter aliases may add to an expression, all their uses together.
const ALIASES_MAX: usize = 1 << 20;

/// Reads the expression of `input`. `given` is a name for something that it is told besides the record.
pub(super) fn parse(input: &Input, given: Option<&str>) -> Result<Node, SyntaxError> {
    let mut aliases = Vec::new();
    for (name, value) in &input.aliases {
        let node = Parser::new(&input.text, value.clone(), &[])?.whole()?;
        aliases.push(Alias { name: name.clone(), node: constant(node, name)?, length: value.len() });
    }
    let mut parser = Parser::new(&input.text, input.expression.clone(), &aliases)?;
    parser.frames.extend(given.map(|name| Some(Arc::from(name))));
    parser.whole()
}

/// The item that a filter inside a path, or the whole expression, is about.
pub(super) const THIS: &str = "$this";

/// What a parameter alias stands for.
struct Alias {
    name: Arc<str>,
    node: Node,
    length: usize,
}

/// The value of an alias, worked out now.
fn constant(mut node: Node, name: &str) -> Result<Node, SyntaxError> {
    if !node.is_constant() {
        return Err(SyntaxError::new(node.span, format!("`@{name}` must be a value, without properties"))
            .help("write a property where the alias is used"));
    }
    super::check::check(&mut node, None, None, super::check::Use::Value, &mut Catalog::new())?;
    let nowhere = NoNavigation { as_of: jiff::Timestamp::UNIX_EPOCH };
    let value = super::eval::value(&node, super::eval::Root::Value(&Value::Null), None, &nowhere);
    literal_node(&value, &node.span).ok_or_else(|| SyntaxError::new(node.span, format!("`@{name}` has no value")))
}

/// The tree that a value is written as.
fn literal_node(value: &Value, span: &Span) -> Option<Node> {
    let all = |values: &[Value]| values.iter().map(|value| literal_node(value, span)).collect::<Option<Vec<_>>>();
    let (kind, below) = match value {
        Value::Unknown(_) | Value::Record(_) => return None,
        Value::List(list) => {
            let nodes = all(&list.items)?;
            let below = tallest(&nodes);
            (NodeKind::List(Items { nodes, brackets: true, constant: None }), below)
        }
        Value::Object(parts) => {
            let part = |(name, value): &(Arc<str>, Value)| Some((name.clone(), literal_node(value, span)?));
            let parts = parts.iter().map(part).collect::<Option<Vec<_>>>()?;
            let below = parts.iter().map(|(_, node)| node.height).max().unwrap_or(0);
            (NodeKind::Object(parts), below)
        }
        single => (NodeKind::Literal(single.clone()), 0),
    };
    node(kind, span.clone(), below).ok()
}

struct Parser<'t> {
    text: &'t str,
    lexer: Lexer<'t>,
    /// The token to be read next.
    token: Token,
    span: Span,
    /// Where the last read token ended.
    before: usize,
    depth: u16,
    /// The frames around, outermost first: the variable of a lambda, or nothing for a `$filter(…)`.
    frames: Vec<Option<Arc<str>>>,
    aliases: &'t [Alias],
    /// How many bytes the aliases used so far have added.
    added: usize,
}

/// What a word means where an operator is expected.
enum Operator {
    And,
    Or,
    Binary(Binary),
}

impl Operator {
    fn named(word: &str) -> Option<Operator> {
        if word.eq_ignore_ascii_case("and") {
            return Some(Operator::And);
        }
        if word.eq_ignore_ascii_case("or") {
            return Some(Operator::Or);
        }
        let known = Binary::ALL.iter().find(|(known, _)| word.eq_ignore_ascii_case(known));
        known.map(|(_, operator)| Operator::Binary(*operator))
    }

    fn power(&self) -> u8 {
        match self {
            Operator::And => power::AND,
            Operator::Or => power::OR,
            Operator::Binary(operator) => operator.power(),
        }
    }
}

impl<'t> Parser<'t> {
    fn new(text: &'t str, part: Span, aliases: &'t [Alias]) -> Result<Parser<'t>, SyntaxError> {
        let mut lexer = Lexer::new(text, part.clone());
        let (token, span) = lexer.next()?;
        if token == Token::End {
            return Err(SyntaxError::new(part, "the expression is empty"));
        }
        Ok(Parser { text, lexer, token, span, before: 0, depth: 0, frames: Vec::new(), aliases, added: 0 })
    }

    fn whole(mut self) -> Result<Node, SyntaxError> {
        let node = self.expression(power::OR)?;
        match self.token {
            Token::End => Ok(node),
            _ => Err(self.unexpected("an operator or the end")),
        }
    }

    fn advance(&mut self) -> Result<(Token, Span), SyntaxError> {
        let (token, span) = self.lexer.next()?;
        self.before = self.span.end;
        Ok((std::mem::replace(&mut self.token, token), std::mem::replace(&mut self.span, span)))
    }

    fn accept(&mut self, token: &Token) -> Result<bool, SyntaxError> {
        let found = self.token == *token;
        if found {
            self.advance()?;
        }
        Ok(found)
    }

    fn expect(&mut self, token: &Token, what: &str) -> Result<(), SyntaxError> {
        if self.accept(token)? { Ok(()) } else { Err(self.unexpected(what)) }
    }

    fn word(&self) -> &'t str {
        &self.text[self.span.clone()]
    }

    /// The error for a token that cannot stand here.
    fn unexpected(&self, expected: &str) -> SyntaxError {
        if self.token == Token::End {
            return SyntaxError::new(self.span.clone(), format!("the expression ends where {expected} should follow"));
        }
        let error = SyntaxError::new(self.span.clone(), format!("expected {expected}, found `{}`", self.word()));
        if !matches!(self.token, Token::Word | Token::Minus) {
            return error;
        }
        let words = ["and", "or"].into_iter().chain(Binary::ALL.iter().map(|(word, _)| *word));
        match nearest(self.word(), words) {
            Some(word) => error.help(format!("did you mean `{word}`?")),
            None => error.help("operators are eq ne gt ge lt le in has, and or not, add sub mul div divby mod"),
        }
    }

    /// Everything that binds at least as tightly as `least`.
    fn expression(&mut self, least: u8) -> Result<Node, SyntaxError> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(too_deep(self.span.clone()));
        }
        let mut left = self.operand()?;
        while self.token == Token::Word {
            let Some(operator) = Operator::named(self.word()) else { break };
            if operator.power() < least {
                break;
            }
            self.advance()?;
            let right = match operator {
                Operator::Binary(Binary::In) if self.token == Token::Open => self.list()?,
                _ => self.expression(operator.power() + 1)?,
            };
            left = combine(operator, left, right)?;
        }
        self.depth -= 1;
        Ok(left)
    }

    fn operand(&mut self) -> Result<Node, SyntaxError> {
        match &self.token {
            Token::Literal(_) => {
                let (token, span) = self.advance()?;
                let Token::Literal(value) = token else { return Err(self.unexpected("a value")) };
                Ok(Node { kind: NodeKind::Literal(value), span, height: 1 })
            }
            Token::Minus => self.negative(),
            Token::Open => {
                let start = self.span.start;
                self.advance()?;
                let mut inner = self.expression(power::OR)?;
                if self.token == Token::Comma {
                    return Err(SyntaxError::new(start..self.span.end, "a list can only stand after `in`")
                        .help("everywhere else a list has brackets: ['a', 'b']"));
                }
                self.expect(&Token::Close, "`)`")?;
                inner.span = start..self.before;
                Ok(inner)
            }
            Token::OpenBracket => self.array(),
            Token::OpenBrace => self.object(),
            Token::Word => self.named(),
            Token::Json(_) => Err(double_quotes(self.span.clone())),
            _ => Err(self.unexpected("a value, a property or a function")),
        }
    }

    /// A minus sign: part of the number when it touches one, an operator otherwise.
    fn negative(&mut self) -> Result<Node, SyntaxError> {
        let (_, sign) = self.advance()?;
        let number = matches!(self.token, Token::Literal(Value::Int(_) | Value::Double(_))) || self.word() == "INF";
        if number && self.span.start == sign.end {
            let span = sign.start..self.span.end;
            let value = literal::number(&self.text[span.clone()]);
            let value = value.ok_or_else(|| SyntaxError::new(span.clone(), "this is not a number"))?;
            self.advance()?;
            return Ok(Node { kind: NodeKind::Literal(value), span, height: 1 });
        }
        let inner = self.expression(power::UNARY)?;
        let (span, height) = (sign.start..inner.span.end, inner.height);
        node(NodeKind::Negate(Box::new(inner)), span, height)
    }

    /// What starts with a word: a constant, `not`, a call, an alias or a path.
    fn named(&mut self) -> Result<Node, SyntaxError> {
        let word = self.word();
        let (_, span) = self.advance()?;
        if let Some(value) = constant_word(word) {
            return Ok(Node { kind: NodeKind::Literal(value), span, height: 1 });
        }
        if word.eq_ignore_ascii_case("not") {
            let inner = self.expression(power::UNARY)?;
            let (span, height) = (span.start..inner.span.end, inner.height);
            return node(NodeKind::Not(Box::new(inner)), span, height);
        }
        if self.token == Token::Open {
            return self.call(word, span);
        }
        match word.strip_prefix('@') {
            Some(name) if !name.contains(['.', '#']) => self.alias(name, span),
            _ => {
                let (head, segments) = self.head(word, &span)?;
                self.path(head, segments, span)
            }
        }
    }

    /// A name with arguments.
    fn call(&mut self, word: &str, span: Span) -> Result<Node, SyntaxError> {
        let is = |name: &str| word.eq_ignore_ascii_case(name);
        if is("case") {
            return self.case(span);
        }
        if is("cast") || is("isof") {
            return self.typed(is("cast"), span);
        }
        let Some(function) = functions::named(word) else {
            let is_slip = nearest(word, functions::FUNCTIONS.iter().map(|function| function.name)).is_some();
            let key = if is_name(word) && !is_slip { self.key()? } else { None };
            let Some(key) = key else { return Err(no_function(word, span)) };
            let (head, mut segments) = self.head(word, &span)?;
            segments.push(key);
            return self.path(head, segments, span);
        };
        self.advance()?;
        let mut arguments = Vec::new();
        if !self.accept(&Token::Close)? {
            arguments = self.items(&Token::Close, "`,` or `)`")?;
        }
        let height = tallest(&arguments);
        let call = Call { function, arguments, prepared: Prepared::Nothing };
        node(NodeKind::Call(call), span.start..self.before, height)
    }

    /// `case(condition: result, …)`
    fn case(&mut self, span: Span) -> Result<Node, SyntaxError> {
        self.advance()?;
        let (mut branches, mut height) = (Vec::new(), 0);
        loop {
            let condition = self.expression(power::OR)?;
            if self.token != Token::Colon {
                return Err(self.unexpected("`:` and what it gives, as in case(a eq 1: 'x', true: 'y')"));
            }
            self.advance()?;
            let result = self.expression(power::OR)?;
            height = height.max(condition.height).max(result.height);
            branches.push([condition, result]);
            if !self.accept(&Token::Comma)? {
                break;
            }
        }
        self.expect(&Token::Close, "`,` or `)`")?;
        node(NodeKind::Case(branches), span.start..self.before, height)
    }

    /// `cast(value, type)` or `cast(type)`, and the same with `isof`.
    fn typed(&mut self, cast: bool, span: Span) -> Result<Node, SyntaxError> {
        self.advance()?;
        let mut value = None;
        let mut found = self.type_name();
        if found.is_none() {
            let inner = self.expression(power::OR)?;
            if self.token != Token::Comma {
                let name = if let NodeKind::Path(_) = &inner.kind {
                    self.text[inner.span.clone()].to_owned()
                } else {
                    String::new()
                };
                return Err(match name.is_empty() {
                    true => self.unexpected("`,` and a type"),
                    false => no_type(&name, inner.span),
                });
            }
            self.advance()?;
            value = Some(Box::new(inner));
            found = self.type_name();
        }
        let Some((name, at)) = found else {
            return Err(match self.token {
                Token::Word => no_type(self.word(), self.span.clone()),
                _ => self.unexpected("a type, as in Edm.String"),
            });
        };
        let (name, many) = match name.eq_ignore_ascii_case("Collection") {
            false => (name, false),
            true => {
                self.advance()?;
                self.expect(&Token::Open, "`(`")?;
                if self.token != Token::Word {
                    return Err(self.unexpected("a type, as in Collection(Edm.String)"));
                }
                (self.word(), true)
            }
        };
        let ty = EdmType::named(name, many).ok_or_else(|| no_type(name, at))?;
        self.advance()?;
        if many {
            self.expect(&Token::Close, "`)`")?;
        }
        self.expect(&Token::Close, "`)`")?;
        let height = value.as_ref().map_or(0, |value| value.height);
        let kind = if cast { NodeKind::Cast(value, ty) } else { NodeKind::IsOf(value, ty) };
        node(kind, span.start..self.before, height)
    }

    /// The name of a type, if that is what stands here: a dotted name, or `Collection(`.
    fn type_name(&self) -> Option<(&'t str, Span)> {
        let word = self.word();
        let dotted = word.contains('.') && !word.starts_with('@');
        let collection = word == "Collection";
        (self.token == Token::Word && (dotted || collection)).then(|| (word, self.span.clone()))
    }

    /// What follows `in (`: a list of literals, or an expression in parentheses.
    fn list(&mut self) -> Result<Node, SyntaxError> {
        let start = self.span.start;
        self.advance()?;
        let mut nodes = Vec::new();
        if !self.accept(&Token::Close)? {
            nodes = self.items(&Token::Close, "`,` or `)`")?;
        }
        let span = start..self.before;
        let literal = |node: &Node| matches!(node.kind, NodeKind::Literal(_));
        if nodes.len() == 1 && !literal(&nodes[0]) {
            let inner = nodes.remove(0);
            return Ok(Node { span, ..inner });
        }
        if let Some(other) = nodes.iter().find(|node| !literal(node)) {
            return Err(SyntaxError::new(other.span.clone(), "a list in parentheses holds plain values only")
                .help("a list of properties or calculations has brackets: in [a, b]"));
        }
        let height = tallest(&nodes);
        node(NodeKind::List(Items { nodes, brackets: false, constant: None }), span, height)
    }

    /// `[…]`
    fn array(&mut self) -> Result<Node, SyntaxError> {
        let start = self.span.start;
        self.advance()?;
        let mut nodes = Vec::new();
        if !self.accept(&Token::CloseBracket)? {
            loop {
                nodes.push(self.json_value()?);
                if !self.accept(&Token::Comma)? {
                    break;
                }
            }
            self.expect(&Token::CloseBracket, "`,` or `]`")?;
        }
        let height = tallest(&nodes);
        node(NodeKind::List(Items { nodes, brackets: true, constant: None }), start..self.before, height)
    }

    /// `{"name": value}`
    fn object(&mut self) -> Result<Node, SyntaxError> {
        let start = self.span.start;
        self.advance()?;
        let (mut parts, mut height): (Vec<(Arc<str>, Node)>, _) = (Vec::new(), 0);
        if !self.accept(&Token::CloseBrace)? {
            loop {
                if !matches!(self.token, Token::Json(_)) {
                    return Err(self.unexpected("a name in double quotes"));
                }
                let (Token::Json(name), _) = self.advance()? else { return Err(self.unexpected("a name")) };
                self.expect(&Token::Colon, "`:`")?;
                let value = self.json_value()?;
                height = height.max(value.height);
                parts.push((Arc::from(name), value));
                if !self.accept(&Token::Comma)? {
                    break;
                }
            }
            self.expect(&Token::CloseBrace, "`,` or `}`")?;
        }
        node(NodeKind::Object(parts), start..self.before, height)
    }

    /// An item of an array or a value in an object: JSON's text, or any expression.
    fn json_value(&mut self) -> Result<Node, SyntaxError> {
        if !matches!(self.token, Token::Json(_)) {
            return self.expression(power::OR);
        }
        let (token, span) = self.advance()?;
        let Token::Json(text) = token else { return Err(self.unexpected("a value")) };
        Ok(Node { kind: NodeKind::Literal(Value::text(text)), span, height: 1 })
    }

    /// One or more expressions and what closes them.
    fn items(&mut self, close: &Token, what: &str) -> Result<Vec<Node>, SyntaxError> {
        let mut items = vec![self.expression(power::OR)?];
        while self.accept(&Token::Comma)? {
            items.push(self.expression(power::OR)?);
        }
        self.expect(close, what)?;
        Ok(items)
    }
}

/// The value of a word that is a literal.
fn constant_word(word: &str) -> Option<Value> {
    let is = |name: &str| word.eq_ignore_ascii_case(name);
    match word {
        "INF" | "NaN" => literal::number(word),
        _ if is("true") => Some(Value::Bool(true)),
        _ if is("false") => Some(Value::Bool(false)),
        _ if is("null") => Some(Value::Null),
        _ => None,
    }
}

/// The error for a name with arguments that is no function of the language.
fn no_function(word: &str, span: Span) -> SyntaxError {
    let geo = word.get(..4).is_some_and(|start| start.eq_ignore_ascii_case("geo."));
    if geo {
        let error = SyntaxError::new(span, format!("`{word}` is not supported: there are no places in the directory"));
        return error.help("geo.distance, geo.intersects and geo.length are the only standard functions left out");
    }
    if word.contains('.') {
        return SyntaxError::new(span, format!("`{word}` is a function of some service's model and is not supported"))
            .help("`entra-import expr functions` lists the functions there are");
    }
    let error = SyntaxError::new(span, format!("there is no function `{word}`"));
    if matches!(word.to_ascii_lowercase().as_str(), "any" | "all") {
        return error.help(format!("`{word}` needs a list before it: memberOf/{word}(g: …)"));
    }
    match nearest(word, functions::FUNCTIONS.iter().map(|function| function.name)) {
        Some(name) => error.help(format!("did you mean `{name}`?")),
        None => error,
    }
}

/// The error for a type that is not a primitive one.
fn no_type(name: &str, span: Span) -> SyntaxError {
    let error = SyntaxError::new(
        span,
        format!("`{name}` is not a primitive type; types of the directory's model are not supported"),
    );
    match nearest(name, EdmType::names()).filter(|_| name.contains("dm.") || name.starts_with("edm")) {
        Some(known) => error.help(format!("did you mean `{known}`?")),
        None => error.help("types are Edm.String, Edm.Int32, Edm.Boolean, Edm.Date, Edm.DateTimeOffset …"),
    }
}

/// The error for text in double quotes where only single ones can stand.
fn double_quotes(span: Span) -> SyntaxError {
    SyntaxError::new(span, "text in double quotes can only stand inside `[…]` and `{…}`")
        .help("text stands in single quotes: 'text'")
}

fn tallest(nodes: &[Node]) -> u16 {
    nodes.iter().map(|node| node.height).max().unwrap_or(0)
}

/// A node over others of which the tallest has `height`.
fn node(kind: NodeKind, span: Span, height: u16) -> Result<Node, SyntaxError> {
    if height >= MAX_DEPTH {
        return Err(too_deep(span));
    }
    Ok(Node { kind, span, height: height + 1 })
}

fn too_deep(span: Span) -> SyntaxError {
    SyntaxError::new(span, format!("this is nested more than {MAX_DEPTH} levels deep"))
}

fn combine(operator: Operator, left: Node, right: Node) -> Result<Node, SyntaxError> {
    match operator {
        Operator::And => chain(left, right, NodeKind::And, |kind| match kind {
            NodeKind::And(parts) => Ok(parts),
            other => Err(other),
        }),
        Operator::Or => chain(left, right, NodeKind::Or, |kind| match kind {
            NodeKind::Or(parts) => Ok(parts),
            other => Err(other),
        }),
        Operator::Binary(operator) => {
            let span = left.span.start..right.span.end;
            let height = left.height.max(right.height);
            node(NodeKind::Binary(operator, Box::new([left, right])), span, height)
        }
    }
}

/// One flat node for a whole chain of `and` or of `or`, about which grouping changes nothing: thousands of terms need
/// no deep tree, and each term of a filter can be named by itself. `open` takes a node of the same kind apart.
fn chain(
    left: Node,
    right: Node,
    close: fn(Vec<Node>) -> NodeKind,
    open: fn(NodeKind) -> Result<Vec<Node>, NodeKind>,
) -> Result<Node, SyntaxError> {
    let span = left.span.start..right.span.end;
    let mut below = 0;
    let mut parts = Vec::new();
    for side in [left, right] {
        match open(side.kind) {
            Ok(mut inner) => {
                below = below.max(side.height - 1);
                // The left side is the long one in a written chain; taking it whole keeps parsing linear.
                if parts.is_empty() {
                    parts = inner;
                } else {
                    parts.append(&mut inner);
                }
            }
            Err(kind) => {
                below = below.max(side.height);
                parts.push(Node { kind, span: side.span, height: side.height });
            }
        }
    }
    node(close(parts), span, below)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parse(text: &str) -> Result<Node, SyntaxError> {
        let input = Input::read(text)?;
        super::parse(&input, None).map_err(|error| input.moved_back(error))
    }

    fn check(text: &str, expected: &str) {
        let shown = match parse(text) {
            Ok(node) => node.to_string(),
            Err(SyntaxError { span, message, help }) => {
                format!("{span:?} {message}{}", help.map(|help| format!(" | {help}")).unwrap_or_default())
            }
        };
        assert_eq!(shown, expected, "{text}");
    }

    #[test]
    fn operators_bind_as_the_standard_says() {
        check("a or b and c", "a or b and c");
        check("(a or b) and c", "(a or b) and c");
        check("a and (b and c) and (d)", "a and b and c and d");
        check("NOT a eq b", "not a eq b");
        check("not (a eq b)", "not (a eq b)");
        check("(a eq b) eq c", "a eq b eq c");
        check("a eq (b eq c)", "a eq (b eq c)");
        check("a eq b gt c", "a eq b gt c");
        check("(a eq b) gt c", "(a eq b) gt c");
        check("1 add 2 mul 3", "1 add 2 mul 3");
        check("(1 add 2) mul 3", "(1 add 2) mul 3");
        check("1 sub (2 sub 3)", "1 sub (2 sub 3)");
        check("a add 1 IN (1, 2)", "a add 1 in (1, 2)");
        check("(a add 1) in (1, 2)", "(a add 1) in (1, 2)");
        check("not a in (1)", "not a in (1)");
        check("(not a) in (1)", "(not a) in (1)");
        check("not (a in (1))", "not a in (1)");
        check("-a has b mul 2", "-(a has b) mul 2");
        check("a Has 'x' oR b", "a has 'x' or b");
        check("-a mul - 3", "-a mul -(3)");
        check("a sub -3", "a sub -3");
        check("-(a add 1)", "-(a add 1)");
    }

    #[test]
    fn the_normal_form_has_one_spelling() {
        check(" accountEnabled  EQ\n True ", "accountEnabled eq true");
        check("NULL", "null");
        check("a in('x','O''Neill')", "a in ('x', 'O''Neill')");
        check("a in b/c", "a in b/c");
        check("STARTSWITH( a ,'x')", "startswith(a, 'x')");
        check("now()", "now()");
        check("a/ANY( x : x/b eq $it/c)", "a/any(x: x/b eq $it/c)");
        check("a/any()", "a/any()");
        check("a/all(x:x/b/any(y:y eq x/c))", "a/all(x: x/b/any(y: y eq x/c))");
        check("a/$count gt 1.0", "a/$count gt 1.0");
        check("1e3", "1000.0");
        check("d ge 2024-01-01T01:00+01:00", "d ge 2024-01-01T01:00:00+01:00");
        check("d gt duration'PT24H'", "d gt duration'P1D'");
        check("-9223372036854775807", "-9223372036854775807");
    }

    #[test]
    fn variables_are_those_of_the_nearest_lambda() {
        let Ok(Node { kind: NodeKind::Path(path), .. }) = parse("a/any(x: b/any(y: x/any(y: y eq x)))") else {
            panic!("a path")
        };
        assert!(format!("{path:?}").contains("Variable(\"x\", 1)"), "{path:?}");
        assert!(format!("{path:?}").contains("Variable(\"y\", 0)"), "{path:?}");
        check("any eq 1", "any eq 1");
    }

    #[test]
    fn slips_are_named_with_what_to_write() {
        check("", "0..0 the expression is empty");
        check("a eq", "4..4 the expression ends where a value, a property or a function should follow");
        check("(a", "2..2 the expression ends where `)` should follow");
        check("a eqq 'x'", "2..5 expected an operator or the end, found `eqq` | did you mean `eq`?");
        check(
            "a -eq 'x'",
            "2..3 expected an operator or the end, found `-` | operators are eq ne gt ge lt le in has, and or not, \
             add sub mul div divby mod",
        );
        check("a eq 'x')", "8..9 expected an operator or the end, found `)`");
        check(
            "a in (b, 'c')",
            "6..7 a list in parentheses holds plain values only | a list of properties or calculations has brackets: \
             in [a, b]",
        );
        check("('a', 'b')", "0..5 a list can only stand after `in` | everywhere else a list has brackets: ['a', 'b']");
        check("startwith(a, 'x')", "0..9 there is no function `startwith` | did you mean `startswith`?");
        check("any(x: x)", "0..3 there is no function `any` | `any` needs a list before it: memberOf/any(g: …)");
        check(
            "a/startswith('x')",
            "2..12 `startswith` cannot follow a path | only any(x: …), all(x: …), $filter(…), $count and a key can; \
             functions stand before: startswith(a/b, 'x')",
        );
        check(
            "a/b(c)",
            "2..3 `b` cannot follow a path | only any(x: …), all(x: …), $filter(…), $count and a key can; \
             functions stand before: startswith(a/b, 'x')",
        );
        check("startwith('a', 'x')", "0..9 there is no function `startwith` | did you mean `startswith`?");
        check(
            "a(k=b)",
            "4..5 a key is a plain value | other conditions stand in `$filter`: memberOf/$filter(displayName eq …)",
        );
        check(
            "a/$count($search=x)",
            "9..16 `$search` is not supported | say it with a condition: $count($filter=contains(displayName, …))",
        );
        check(
            "a/any(x x eq 1)",
            "8..9 expected `:` after the variable, as in any(x: …), found `x` | operators are \
             eq ne gt ge lt le in has, and or not, add sub mul div divby mod",
        );
        check("a/$count/b", "9..10 nothing can follow `$count`, `any` or `all`");
        check("a/b.c/any()", "2..5 `b.c` cannot be used here | names of types are not used: leave it out of the path");
        check(
            "$filter eq 1",
            "0..7 `$filter` cannot be used here | of the names with `$` there are `$it` and `$this` \
             at the start, `/$filter(…)` inside and `/$count` at the end of a path",
        );
        check("a and\n b = 1", "9..10 `=` is not an operator here | write `eq`");
    }

    #[test]
    fn nesting_is_limited_and_chains_are_not() {
        let deep = |open: &str, inner: &str, close: &str, times| {
            format!("{}{inner}{}", open.repeat(times), close.repeat(times))
        };
        for (open, inner, close) in [
            ("(", "a", ")"),
            ("not ", "a", ""),
            ("-", "a", ""),
            ("- ", "1", ""),
            ("tolower(", "a", ")"),
            ("a/any(x: ", "x", ")"),
            ("a in [", "a", "]"),
            ("[", "1", "]"),
            ("{\"a\":", "1", "}"),
            ("case(a: ", "a", ")"),
            ("cast(", "a", ", Edm.String)"),
            ("a/$filter(", "a", ")"),
            ("", "a", " add 1"),
            ("", "a", " eq 1"),
        ] {
            let error = parse(&deep(open, inner, close, 100_000)).expect_err("too deep");
            assert_eq!(error.message, "this is nested more than 100 levels deep", "{open}{inner}{close}");
            parse(&deep(open, inner, close, 45)).expect("not too deep");
        }
        for flat in [format!("a in ({})", ["1"; 50_000].join(",")), format!("case({})", ["a:1"; 50_000].join(","))] {
            assert!(parse(&flat).expect("a long list").height <= 3);
        }
        for chain in [" or a", " and a", " or (a or a)", " and a or a"] {
            let node = parse(&deep("", "a", chain, 50_000)).expect("a chain");
            assert!(node.height <= 3, "{chain}");
        }
    }

    /// Expressions with all parentheses that could ever matter.
    fn any_expression() -> impl Strategy<Value = String> {
        let leaf = prop_oneof![
            "[a-c](/[a-c]){0,2}",
            "-?[0-9]{1,3}(\\.[0-9]{1,2}|e[0-9])?",
            "'[a-z ]{0,3}('')?'",
            Just("null".to_owned()),
            Just("$it/a".to_owned()),
            Just("a/$count".to_owned()),
            Just("x".to_owned()),
            Just("duration'P1DT0.5S'".to_owned()),
            Just("87d349ed-44d7-43e1-9a83-5f2406dee5bd".to_owned()),
            Just("2024-02-29T12:30:00.25Z".to_owned()),
            Just("2024-02-29".to_owned()),
            Just("-0044-03-15".to_owned()),
            Just("2024-02-29T12:30+02:00".to_owned()),
            Just("12:30".to_owned()),
            Just("binary'Zg'".to_owned()),
            Just("-INF".to_owned()),
            Just("'50%2541 %20'".to_owned()),
            Just("$this/a".to_owned()),
            Just("@p".to_owned()),
            Just("a/@odata.type".to_owned()),
            Just("a in ('x', -1, null)".to_owned()),
            Just("99999999999999999999".to_owned()),
        ];
        leaf.prop_recursive(5, 40, 3, |inner| {
            let operator = proptest::sample::select(Binary::ALL.map(|(word, _)| word).to_vec());
            prop_oneof![
                (inner.clone(), operator, inner.clone()).prop_map(|(a, word, b)| format!("({a}) {word} ({b})")),
                (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("({a}) and ({b})")),
                (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("({a}) or ({b})")),
                inner.clone().prop_map(|a| format!("not ({a})")),
                inner.clone().prop_map(|a| format!("-({a})")),
                inner.clone().prop_map(|a| format!("a/any(x: {a})")),
                inner.clone().prop_map(|a| format!("x/all(y: {a})")),
                (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("concat({a}, {b})")),
                (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("a in [{a}, {b}]")),
                inner.clone().prop_map(|a| format!("a/$filter({a})/b/$count")),
                inner.clone().prop_map(|a| format!("{{\"x\": {a}, \"%41\\\"\": 1}}")),
                (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("case({a}: {b}, true: 1)")),
                inner.clone().prop_map(|a| format!("cast({a}, Edm.Int32)")),
                inner.clone().prop_map(|a| format!("isof({a}, Collection(Edm.String))")),
                inner.prop_map(|a| format!("matchesPattern({a}, '^a')")),
            ]
        })
    }

    proptest! {
        #[test]
        fn no_text_makes_the_parser_panic(text in "\\PC{0,60}") {
            let _ = parse(&text);
        }

        #[test]
        fn no_mixture_of_tokens_makes_the_parser_panic(
            words in proptest::collection::vec(
                proptest::sample::select(vec![
                    "a", "/", "(", ")", ",", ":", "-", "'", "'x'", "eq", "and", "not", "in", "any", "$it", "$count",
                    "1", "1.", "2024-", "2024-01-01", "duration", "T", "é", "\u{a0}", "tolower", "$", ".", "87d349ed-",
                    "[", "]", "{", "}", "\"x\"", "@p", "&@p=", "$filter=", "$filter", "%20", "%27", "case", "cast", "Edm.Date",
                    "$this", "12:30", "INF", "+1", "=",
                ]),
                0..20,
            ),
            space in proptest::bool::ANY,
        ) {
            if let Err(error) = parse(&words.join(if space { " " } else { "" })) {
                prop_assert!(error.span.start <= error.span.end);
            }
        }

        #[test]
        fn the_normal_form_reads_back_as_the_same_tree(text in any_expression()) {
            let node = parse(&text).unwrap_or_else(|error| panic!("{text}: {error}"));
            let normal = node.to_string();
            let again = parse(&normal).unwrap_or_else(|error| panic!("{normal}: {error}"));
            prop_assert_eq!(&again, &node, "{}", normal);
            prop_assert_eq!(again.to_string(), normal);
        }
    }
}
