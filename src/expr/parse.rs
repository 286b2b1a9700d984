//! Reads the text of an expression into its tree.
//!
//! Hides the grammar and the order in which operators bind (OData 4.01, part 2, section "Operator Precedence"); what
//! stands between operators is in [`paths`], [`calls`], [`values`] and [`alias`]. Deliberately knows no properties and no
//! types: those are the checker's. Needs time in proportion to the text and bounded stack: nesting beyond [`MAX_DEPTH`] is
//! refused.
//!
//! <https://docs.oasis-open.org/odata/odata/v4.01/odata-v4.01-part2-url-conventions.html>

mod alias;
mod calls;
mod paths;
mod values;

use std::sync::Arc;

use self::alias::Alias;
use self::values::{constant_word, double_quotes};
use super::ast::{Binary, Node, NodeKind, Span, power};
use super::input::Input;
use super::lex::{Lexer, Token};
use super::{SyntaxError, nearest};

/// How deep parentheses, calls, lambdas and operators may nest. Chains of `and` and of `or` count once.
pub(super) const MAX_DEPTH: u16 = 100;

/// Reads the expression of `input`. `given` is a name for something that it is told besides the record.
pub(super) fn parse(input: &Input, given: Option<&str>) -> Result<Node, SyntaxError> {
    let aliases = input.aliases.iter().map(|(name, value)| Alias::read(&input.text, name, value));
    let aliases = aliases.collect::<Result<Vec<_>, _>>()?;
    let mut parser = Parser::new(&input.text, input.expression.clone(), &aliases)?;
    parser.frames.extend(given.map(|name| Some(Arc::from(name))));
    parser.whole()
}

/// The item that a filter inside a path, or the whole expression, is about.
pub(super) const THIS: &str = "$this";

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

fn is_name(word: &str) -> bool {
    !word.contains(['.', '$', '@'])
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
