//! Parameter aliases: `@name` in an expression, and the value that is given beside it.
//!
//! Hides that an alias is worked out before the expression is read, and put in as a literal.
//! <https://docs.oasis-open.org/odata/odata/v4.01/odata-v4.01-part2-url-conventions.html>

use std::sync::Arc;

use super::super::ast::{Head, Items, Node, NodeKind, Span};
use super::super::lex::Token;
use super::super::{Catalog, NoNavigation, SyntaxError, check, eval};
use super::{Parser, node, tallest};
use crate::record::Value;

/// How many bytes parameter aliases may add to an expression, all their uses together.
const ALIASES_MAX: usize = 1 << 20;

/// What a parameter alias stands for.
pub(super) struct Alias {
    name: Arc<str>,
    node: Node,
    length: usize,
}

impl Alias {
    /// Works out what `@name` stands for, in the part of the text that gives it.
    pub(super) fn read(text: &str, name: &Arc<str>, value: &Span) -> Result<Alias, SyntaxError> {
        let node = Parser::new(text, value.clone(), &[])?.whole()?;
        Ok(Alias { name: name.clone(), node: constant(node, name)?, length: value.len() })
    }
}

impl Parser<'_> {
    /// `@name`: the value given for it; null if none was.
    pub(super) fn alias(&mut self, name: &str, span: Span) -> Result<Node, SyntaxError> {
        let Some(alias) = self.aliases.iter().find(|alias| *alias.name == *name) else {
            return self.path(Head::Alias(Arc::from(name)), Vec::new(), span);
        };
        self.added += alias.length;
        if self.added > ALIASES_MAX {
            return Err(SyntaxError::new(span, "the values of aliases add up to more than 1 MiB"));
        }
        let mut value = Node { span: span.clone(), ..alias.node.clone() };
        while self.token == Token::Slash {
            let NodeKind::Object(parts) = value.kind else {
                return Err(SyntaxError::new(self.span.clone(), "nothing can follow a value"));
            };
            self.advance()?;
            if self.token != Token::Word {
                return Err(self.unexpected("a property after `/`"));
            }
            let part = parts.into_iter().find(|(name, _)| **name == *self.word()).map(|(_, part)| part);
            self.advance()?;
            let null = || Node { kind: NodeKind::Literal(Value::Null), span: span.clone(), height: 1 };
            value = Node { span: span.start..self.before, ..part.unwrap_or_else(null) };
        }
        Ok(value)
    }
}

/// The value of an alias, worked out now.
fn constant(mut node: Node, name: &str) -> Result<Node, SyntaxError> {
    if !node.is_constant() {
        return Err(SyntaxError::new(node.span, format!("`@{name}` must be a value, without properties"))
            .help("write a property where the alias is used"));
    }
    check::check(&mut node, None, None, check::Use::Value, &mut Catalog::new())?;
    let nowhere = NoNavigation { as_of: jiff::Timestamp::UNIX_EPOCH };
    let value = eval::value(&node, eval::Root::Value(&Value::Null), None, &nowhere);
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
