//! Functions with their arguments, `case`, `cast` and `isof`; and what is said of names that are none.
//!
//! Deliberately does not ask whether arguments fit: the checker does.

use super::super::ast::{Call, Node, NodeKind, Span, power};
use super::super::cast::EdmType;
use super::super::functions::{self, Prepared};
use super::super::lex::Token;
use super::super::{SyntaxError, nearest};
use super::{Parser, is_name, node, tallest};

impl<'t> Parser<'t> {
    /// A name with arguments.
    pub(super) fn call(&mut self, word: &str, span: Span) -> Result<Node, SyntaxError> {
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
}

/// The error for a name with arguments that is no function of the language.
pub(super) fn no_function(word: &str, span: Span) -> SyntaxError {
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
