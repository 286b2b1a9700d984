//! Values that are written out: numbers with their sign, words such as `true`, lists, and JSON with expressions in it.
//!
//! Deliberately knows no literal of one token: the lexer reads those.

use std::sync::Arc;

use super::super::ast::{Items, Node, NodeKind, Span, power};
use super::super::lex::Token;
use super::super::{SyntaxError, literal};
use super::{Parser, node, tallest};
use crate::record::Value;

impl Parser<'_> {
    /// A minus sign: part of the number when it touches one, an operator otherwise.
    pub(super) fn negative(&mut self) -> Result<Node, SyntaxError> {
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

    /// What follows `in (`: a list of literals, or an expression in parentheses.
    pub(super) fn list(&mut self) -> Result<Node, SyntaxError> {
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
    pub(super) fn array(&mut self) -> Result<Node, SyntaxError> {
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
    pub(super) fn object(&mut self) -> Result<Node, SyntaxError> {
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
}

/// The value of a word that is a literal.
pub(super) fn constant_word(word: &str) -> Option<Value> {
    let is = |name: &str| word.eq_ignore_ascii_case(name);
    match word {
        "INF" | "NaN" => literal::number(word),
        _ if is("true") => Some(Value::Bool(true)),
        _ if is("false") => Some(Value::Bool(false)),
        _ if is("null") => Some(Value::Null),
        _ => None,
    }
}

/// The error for text in double quotes where only single ones can stand.
pub(super) fn double_quotes(span: Span) -> SyntaxError {
    SyntaxError::new(span, "text in double quotes can only stand inside `[…]` and `{…}`")
        .help("text stands in single quotes: 'text'")
}
