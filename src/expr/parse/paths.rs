//! Paths: what they begin with, what follows each `/`, and what may stand in parentheses there.
//!
//! Hides which names are variables of lambdas, properties of the item that a filter looks at, or the record's own; and
//! keys. Deliberately knows no operators: a condition inside a path is an expression as any other.

use std::sync::Arc;

use super::super::SyntaxError;
use super::super::ast::{Binary, End, Head, Lambda, Node, NodeKind, Path, Segment, Slots, Span, Step, power};
use super::super::functions;
use super::super::lex::Token;
use super::calls::no_function;
use super::{Parser, THIS, is_name, node, tallest};

impl Parser<'_> {
    /// What a path begins with, and its first property if that is what it begins with.
    pub(super) fn head(&self, word: &str, span: &Span) -> Result<(Head, Vec<Segment>), SyntaxError> {
        let depth = |at: usize| u16::try_from(self.frames.len() - 1 - at).unwrap_or(u16::MAX);
        let filter = self.frames.iter().rposition(Option::is_none).map(depth);
        match word {
            "$it" => return Ok((Head::It, Vec::new())),
            THIS => {
                // The frame of the whole expression is the outermost one, so any filter is nearer.
                let item = self.frames.iter().position(|frame| frame.as_deref() == Some(THIS));
                let outermost = || item.map_or(Head::It, |at| Head::Variable(Arc::from(THIS), depth(at)));
                return Ok((filter.map_or_else(outermost, Head::This), Vec::new()));
            }
            "$root" => {
                return Err(SyntaxError::new(span.clone(), "`$root` leads to other collections and is not supported")
                    .help("an expression is about one record and what it leads to: manager, memberOf, licenses …"));
            }
            _ => {}
        }
        let named = |frame: &Option<Arc<str>>| frame.as_deref() == Some(word);
        if let Some(at) = self.frames.iter().rposition(named) {
            return Ok((Head::Variable(Arc::from(word), depth(at)), Vec::new()));
        }
        let first = Segment::Property(step(word, span.clone())?);
        Ok((filter.map_or(Head::Root, Head::Item), vec![first]))
    }

    /// What stands in parentheses behind a list, if it is a key: `('…')`, which is the `id`, or `(name='…', …)`.
    /// Goes past the parenthesis in any case.
    pub(super) fn key(&mut self) -> Result<Option<Segment>, SyntaxError> {
        self.advance()?;
        let mut parts = Vec::new();
        let is_alias = |parser: &Self| parser.token == Token::Word && parser.word().starts_with('@');
        if matches!(self.token, Token::Literal(_) | Token::Minus) || is_alias(self) {
            parts.push(self.key_part("id", self.span.clone())?);
        } else {
            loop {
                let (name, span) = (self.word(), self.span.clone());
                if self.token != Token::Word || !is_name(name) || self.lexer.expect_equals().is_err() {
                    return Ok(None);
                }
                self.advance()?;
                parts.push(self.key_part(name, span)?);
                if !self.accept(&Token::Comma)? {
                    break;
                }
            }
        }
        self.expect(&Token::Close, "`)`")?;
        let (height, span) = (tallest(&parts), parts[0].span.start..self.before);
        let condition = match parts.len() {
            1 => parts.remove(0),
            _ => node(NodeKind::And(parts), span, height)?,
        };
        Ok(Some(Segment::Key(Box::new(condition))))
    }

    /// One value of a key, as the condition that it is.
    fn key_part(&mut self, name: &str, span: Span) -> Result<Node, SyntaxError> {
        let value = self.operand()?;
        if !matches!(value.kind, NodeKind::Literal(_)) {
            return Err(SyntaxError::new(value.span, "a key is a plain value")
                .help("other conditions stand in `$filter`: memberOf/$filter(displayName eq …)"));
        }
        let property = Segment::Property(step(name, span.clone())?);
        let path = Path { head: Head::Item(0), segments: vec![property], end: End::Value };
        let end = value.span.end;
        let path = Node { kind: NodeKind::Path(path), span: span.clone(), height: 1 };
        node(NodeKind::Binary(Binary::Eq, Box::new([path, value])), span.start..end, 1)
    }

    /// What follows the head of a path.
    pub(super) fn path(&mut self, head: Head, mut segments: Vec<Segment>, span: Span) -> Result<Node, SyntaxError> {
        let key_height = |segment: &Segment| if let Segment::Key(node) = segment { node.height } else { 0 };
        let mut end = End::Value;
        let mut height = segments.iter().map(key_height).max().unwrap_or(0);
        while self.accept(&Token::Slash)? {
            if self.token != Token::Word {
                return Err(self.unexpected("a property after `/`"));
            }
            let word = self.word();
            let (_, at) = self.advance()?;
            if !matches!(end, End::Value) {
                return Err(SyntaxError::new(at, "nothing can follow `$count`, `any` or `all`"));
            }
            let open = self.token == Token::Open;
            if word == "$count" {
                if open {
                    let filter = self.counted()?;
                    height = height.max(filter.height);
                    segments.push(Segment::Filter(Box::new(filter)));
                }
                end = End::Count;
            } else if open && word == "$filter" {
                self.advance()?;
                let filter = self.filter()?;
                height = height.max(filter.height);
                segments.push(Segment::Filter(Box::new(filter)));
            } else if open && word.eq_ignore_ascii_case("any") {
                end = End::Any(self.lambda(true)?);
            } else if open && word.eq_ignore_ascii_case("all") {
                let Some(lambda) = self.lambda(false)? else { return Err(self.unexpected("a variable")) };
                end = End::All(lambda);
            } else if open && word.contains('.') {
                return Err(no_function(word, at));
            } else if open && is_name(word) && functions::named(word).is_none() {
                let property = Segment::Property(step(word, at.clone())?);
                let Some(key) = self.key()? else { return Err(no_call(word, at)) };
                height = height.max(key_height(&key));
                segments.extend([property, key]);
            } else if open {
                return Err(no_call(word, at));
            } else {
                segments.push(Segment::Property(step(word, at)?));
            }
        }
        if let End::Any(Some(lambda)) | End::All(lambda) = &end {
            height = height.max(lambda.body.height);
        }
        node(NodeKind::Path(Path { head, segments, end }), span.start..self.before, height)
    }

    /// The condition inside `$filter(…)` and its closing parenthesis. Names in it are those of the list's items.
    fn filter(&mut self) -> Result<Node, SyntaxError> {
        self.frames.push(None);
        let condition = self.expression(power::OR)?;
        self.frames.pop();
        self.expect(&Token::Close, "`)`")?;
        Ok(condition)
    }

    /// `$count($filter=…)`
    fn counted(&mut self) -> Result<Node, SyntaxError> {
        self.advance()?;
        let option = self.word().strip_prefix('$').unwrap_or(self.word());
        if option.eq_ignore_ascii_case("search") {
            return Err(SyntaxError::new(self.span.clone(), "`$search` is not supported")
                .help("say it with a condition: $count($filter=contains(displayName, …))"));
        }
        if self.token != Token::Word || !option.eq_ignore_ascii_case("filter") {
            return Err(self.unexpected("`$filter=…`"));
        }
        self.lexer.expect_equals()?;
        self.advance()?;
        self.filter()
    }

    /// `(x: …)`; nothing for `()` where that may be.
    fn lambda(&mut self, may_be_empty: bool) -> Result<Option<Lambda>, SyntaxError> {
        self.advance()?;
        if may_be_empty && self.accept(&Token::Close)? {
            return Ok(None);
        }
        if self.token != Token::Word || !is_name(self.word()) {
            return Err(self.unexpected("a variable, as in any(x: …)"));
        }
        let variable: Arc<str> = Arc::from(self.word());
        self.advance()?;
        if self.token != Token::Colon {
            return Err(self.unexpected("`:` after the variable, as in any(x: …)"));
        }
        self.advance()?;
        self.frames.push(Some(variable.clone()));
        let body = Box::new(self.expression(power::OR)?);
        self.frames.pop();
        self.expect(&Token::Close, "`)`")?;
        Ok(Some(Lambda { variable, body }))
    }
}

fn step(name: &str, span: Span) -> Result<Step, SyntaxError> {
    // Annotations are properties whose names begin with `@`.
    if is_name(name) || name.starts_with('@') {
        return Ok(Step { name: Arc::from(name), span, slots: Slots::NONE, via: None });
    }
    let error = SyntaxError::new(span, format!("`{name}` cannot be used here"));
    Err(match name.starts_with('$') {
        true => error.help(
            "of the names with `$` there are `$it` and `$this` at the start, `/$filter(…)` inside and `/$count` at the \
             end of a path",
        ),
        false => error.help("names of types are not used: leave it out of the path"),
    })
}

/// The error for a name with arguments behind a path.
fn no_call(word: &str, span: Span) -> SyntaxError {
    let help =
        "only any(x: …), all(x: …), $filter(…), $count and a key can; functions stand before: startswith(a/b, 'x')";
    SyntaxError::new(span, format!("`{word}` cannot follow a path")).help(help)
}
