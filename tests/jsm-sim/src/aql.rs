//! The query language: parsed whole or refused, never guessed.
//!
//! Hides tokens, precedence and the fixed keywords. On Cloud `=` and `LIKE` ignore letter case, on Data Center they do
//! not; `==` never does. A name that no type and no attribute has makes the query invalid, as documented.
//! <https://support.atlassian.com/jira-service-management-cloud/docs/use-assets-query-language-aql/>
//! Deliberately without: functions of people and time, tickets, dots beyond one reference.

use std::collections::BTreeSet;

use crate::options::Flavour;
use crate::store::{Id, Kind, Object, Store, Stored};

/// A parsed query.
#[derive(Clone, Debug)]
pub(crate) struct Query {
    condition: Condition,
    /// Attribute to sort by, and whether the largest comes first.
    pub order: Option<(Field, bool)>,
    folds: bool,
}

#[derive(Clone, Debug)]
enum Condition {
    All,
    And(Box<Condition>, Box<Condition>),
    Or(Box<Condition>, Box<Condition>),
    Not(Box<Condition>),
    Compare(Field, Operator, Vec<String>),
    Types(BTreeSet<Id>),
    /// Referred to by, or referring to, an object that fits.
    Inbound(Box<Condition>),
    Outbound(Box<Condition>),
}

/// What stands on the left.
#[derive(Clone, PartialEq, Debug)]
pub(crate) enum Field {
    Type,
    TypeId,
    Schema,
    SchemaId,
    Key,
    ObjectId,
    Attribute(String),
    /// An attribute of what an attribute refers to.
    Through(String, String),
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Operator {
    Equal,
    Exact,
    Unequal,
    Less,
    Greater,
    AtMost,
    AtLeast,
    Like,
    NotLike,
    In,
    NotIn,
    StartsWith,
    EndsWith,
    Empty,
    NotEmpty,
}

#[derive(Clone, PartialEq, Debug)]
enum Token {
    Word(String),
    Quoted(String),
    Sign(&'static str),
}

impl Token {
    fn is(&self, word: &str) -> bool {
        matches!(self, Token::Word(text) if text.eq_ignore_ascii_case(word))
    }
}

/// Parses a query; the error says what is wrong with it.
pub(crate) fn parse(store: &Store, flavour: Flavour, text: &str) -> Result<Query, String> {
    let mut parser = Parser { tokens: tokens(text)?, at: 0, store };
    let condition = match parser.peek() {
        None => Condition::All,
        Some(token) if token.is("order") => Condition::All,
        Some(_) => parser.either()?,
    };
    let order = parser.order()?;
    if let Some(token) = parser.peek() {
        return Err(format!("unexpected {token:?}"));
    }
    Ok(Query { condition, order, folds: flavour == Flavour::Cloud })
}

fn tokens(text: &str) -> Result<Vec<Token>, String> {
    let mut tokens = Vec::new();
    let mut rest = text.chars().peekable();
    while let Some(first) = rest.next() {
        match first {
            _ if first.is_whitespace() => {}
            '"' | '\'' => {
                let mut quoted = String::new();
                loop {
                    match rest.next() {
                        None => return Err("a quote is not closed".to_owned()),
                        Some('\\') => quoted.extend(rest.next()),
                        Some(end) if end == first => break,
                        Some(other) => quoted.push(other),
                    }
                }
                tokens.push(Token::Quoted(quoted));
            }
            '(' => tokens.push(Token::Sign("(")),
            ')' => tokens.push(Token::Sign(")")),
            ',' => tokens.push(Token::Sign(",")),
            '.' => tokens.push(Token::Sign(".")),
            '=' | '!' | '<' | '>' => {
                let equal = rest.next_if_eq(&'=').is_some();
                tokens.push(Token::Sign(match (first, equal) {
                    ('=', true) => "==",
                    ('=', false) => "=",
                    ('!', true) => "!=",
                    ('<', true) => "<=",
                    ('<', false) => "<",
                    ('>', true) => ">=",
                    ('>', false) => ">",
                    _ => return Err("a single !".to_owned()),
                }));
            }
            _ if first.is_alphanumeric() || matches!(first, '_' | '-' | '@') => {
                let mut word = String::from(first);
                while let Some(next) = rest.next_if(|c| c.is_alphanumeric() || matches!(c, '_' | '-' | '@')) {
                    word.push(next);
                }
                tokens.push(Token::Word(word));
            }
            other => return Err(format!("unexpected {other:?}")),
        }
    }
    Ok(tokens)
}

struct Parser<'s> {
    tokens: Vec<Token>,
    at: usize,
    store: &'s Store,
}

impl Parser<'_> {
    fn peek(&self) -> Option<&Token> {
        self.tokens.get(self.at)
    }

    fn next(&mut self) -> Result<Token, String> {
        self.at += 1;
        self.tokens.get(self.at - 1).cloned().ok_or_else(|| "the query ends too early".to_owned())
    }

    fn takes(&mut self, word: &str) -> bool {
        let is = self.peek().is_some_and(|token| token.is(word) || *token == Token::Sign(leak(word)));
        self.at += usize::from(is);
        is
    }

    fn needs(&mut self, word: &str) -> Result<(), String> {
        if self.takes(word) { Ok(()) } else { Err(format!("{word} is missing before {:?}", self.peek())) }
    }

    fn either(&mut self) -> Result<Condition, String> {
        let mut left = self.both()?;
        while self.takes("or") {
            left = Condition::Or(Box::new(left), Box::new(self.both()?));
        }
        Ok(left)
    }

    fn both(&mut self) -> Result<Condition, String> {
        let mut left = self.one()?;
        while self.takes("and") {
            left = Condition::And(Box::new(left), Box::new(self.one()?));
        }
        Ok(left)
    }

    fn one(&mut self) -> Result<Condition, String> {
        if self.takes("not") {
            return Ok(Condition::Not(Box::new(self.one()?)));
        }
        if self.takes("(") {
            let inner = self.either()?;
            self.needs(")")?;
            return Ok(inner);
        }
        if self.peek().is_some_and(|token| token.is("object")) {
            return self.having();
        }
        let field = self.field()?;
        let operator = self.operator()?;
        if field == Field::Type && operator == Operator::In && self.takes("objectTypeAndChildren") {
            return self.and_children();
        }
        let values = match operator {
            Operator::Empty | Operator::NotEmpty => Vec::new(),
            Operator::In | Operator::NotIn => self.list()?,
            _ => vec![self.value()?],
        };
        self.known(&field, operator, &values)?;
        Ok(Condition::Compare(field, operator, values))
    }

    fn having(&mut self) -> Result<Condition, String> {
        self.needs("object")?;
        self.needs("having")?;
        let inbound = match self.next()? {
            token if token.is("inboundReferences") => true,
            token if token.is("outboundReferences") => false,
            other => return Err(format!("{other:?} is no function of HAVING")),
        };
        self.needs("(")?;
        let begin = self.at;
        let inner = match self.peek() {
            Some(Token::Sign(")")) => Condition::All,
            _ => self.either()?,
        };
        // Published examples name keys, types and attributes here, and no ids.
        if self.tokens[begin..self.at].iter().any(|token| token.is("objectId")) {
            return Err("objectId is not known to references".into());
        }
        self.needs(")")?;
        Ok(if inbound { Condition::Inbound(Box::new(inner)) } else { Condition::Outbound(Box::new(inner)) })
    }

    fn and_children(&mut self) -> Result<Condition, String> {
        self.needs("(")?;
        let name = self.value()?;
        self.needs(")")?;
        let named: Vec<Id> = self.store.types.values().filter(|ty| same(&ty.name, &name)).map(|ty| ty.id).collect();
        if named.is_empty() {
            return Err(format!("there is no object type {name:?}"));
        }
        Ok(Condition::Types(named.into_iter().flat_map(|ty| self.store.with_children(ty)).collect()))
    }

    fn field(&mut self) -> Result<Field, String> {
        let (name, quoted) = match self.next()? {
            Token::Word(word) => (word, false),
            Token::Quoted(text) => (text, true),
            other => return Err(format!("a name is missing before {other:?}")),
        };
        if !quoted {
            let fixed = [
                ("objectType", Field::Type),
                ("objectTypeId", Field::TypeId),
                ("objectSchema", Field::Schema),
                ("objectSchemaId", Field::SchemaId),
                ("objectId", Field::ObjectId),
            ];
            if let Some((_, field)) = fixed.into_iter().find(|(word, _)| same(word, &name)) {
                return Ok(field);
            }
        }
        if same(&name, "Key") {
            return Ok(Field::Key);
        }
        if !self.store.attributes.values().any(|attribute| same(&attribute.name, &name)) {
            return Err(format!("there is no attribute {name:?}"));
        }
        if !self.takes(".") {
            return Ok(Field::Attribute(name));
        }
        match self.next()? {
            Token::Word(inner) | Token::Quoted(inner) => Ok(Field::Through(name, inner)),
            other => Err(format!("a name is missing before {other:?}")),
        }
    }

    fn operator(&mut self) -> Result<Operator, String> {
        Ok(match self.next()? {
            Token::Sign("=") => Operator::Equal,
            Token::Sign("==") => Operator::Exact,
            Token::Sign("!=") => Operator::Unequal,
            Token::Sign("<") => Operator::Less,
            Token::Sign(">") => Operator::Greater,
            Token::Sign("<=") => Operator::AtMost,
            Token::Sign(">=") => Operator::AtLeast,
            token if token.is("like") => Operator::Like,
            token if token.is("in") => Operator::In,
            token if token.is("startswith") => Operator::StartsWith,
            token if token.is("endswith") => Operator::EndsWith,
            token if token.is("not") => match self.next()? {
                token if token.is("in") => Operator::NotIn,
                token if token.is("like") => Operator::NotLike,
                other => return Err(format!("NOT before {other:?}")),
            },
            token if token.is("is") => {
                let not = self.takes("not");
                self.needs("empty")?;
                if not { Operator::NotEmpty } else { Operator::Empty }
            }
            other => return Err(format!("{other:?} is no operator")),
        })
    }

    fn value(&mut self) -> Result<String, String> {
        match self.next()? {
            Token::Quoted(text) | Token::Word(text) => Ok(text),
            other => Err(format!("a value is missing before {other:?}")),
        }
    }

    fn list(&mut self) -> Result<Vec<String>, String> {
        self.needs("(")?;
        let mut values = vec![self.value()?];
        while self.takes(",") {
            values.push(self.value()?);
        }
        self.needs(")")?;
        Ok(values)
    }

    /// Types and schemas that do not exist make a query invalid.
    fn known(&self, field: &Field, operator: Operator, values: &[String]) -> Result<(), String> {
        if !matches!(operator, Operator::Equal | Operator::Exact | Operator::In) {
            return Ok(());
        }
        for value in values {
            let known = match field {
                Field::Type => self.store.types.values().any(|ty| same(&ty.name, value)),
                Field::TypeId => self.store.types.keys().any(|id| id.to_string() == *value),
                Field::Schema => self.store.schemas.values().any(|schema| same(&schema.name, value)),
                Field::SchemaId => self.store.schemas.keys().any(|id| id.to_string() == *value),
                _ => true,
            };
            if !known {
                return Err(format!("{value:?} does not exist"));
            }
        }
        Ok(())
    }

    fn order(&mut self) -> Result<Option<(Field, bool)>, String> {
        if !self.takes("order") {
            return Ok(None);
        }
        self.needs("by")?;
        let field = self.field()?;
        let down = !self.takes("asc") && self.takes("desc");
        Ok(Some((field, down)))
    }
}

/// The signs that a parser asks for by name.
fn leak(word: &str) -> &'static str {
    ["(", ")", ",", "."].into_iter().find(|sign| *sign == word).unwrap_or("")
}

fn same(a: &str, b: &str) -> bool {
    a.eq_ignore_ascii_case(b)
}

impl Query {
    pub fn matches(&self, store: &Store, object: &Object) -> bool {
        self.holds(&self.condition, store, object)
    }

    fn holds(&self, condition: &Condition, store: &Store, object: &Object) -> bool {
        match condition {
            Condition::All => true,
            Condition::And(a, b) => self.holds(a, store, object) && self.holds(b, store, object),
            Condition::Or(a, b) => self.holds(a, store, object) || self.holds(b, store, object),
            Condition::Not(inner) => !self.holds(inner, store, object),
            Condition::Types(types) => types.contains(&object.ty),
            Condition::Compare(field, operator, values) => {
                let shown = shown(store, object, field);
                compare(&shown, *operator, values, self.folds)
            }
            Condition::Inbound(inner) => store
                .indexed()
                .any(|other| refers(store, other).any(|id| id == object.id) && self.holds(inner, store, other)),
            Condition::Outbound(inner) => {
                refers(store, object).filter_map(|id| store.in_index(id)).any(|other| self.holds(inner, store, other))
            }
        }
    }
}

/// The ids that an object refers to.
fn refers<'s>(store: &'s Store, object: &'s Object) -> impl Iterator<Item = Id> + 's {
    let of = |attribute: &Id| store.attributes.get(attribute).is_some_and(|a| matches!(a.kind, Kind::Reference { .. }));
    object.values.iter().filter(move |(attribute, _)| of(attribute)).flat_map(|(_, values)| values).filter_map(
        |value| match value {
            Stored::Object(id) => Some(*id),
            _ => None,
        },
    )
}

/// What an object shows for a field.
pub(crate) fn shown(store: &Store, object: &Object, field: &Field) -> Vec<String> {
    let ty = store.types.get(&object.ty);
    let schema = ty.and_then(|ty| store.schemas.get(&ty.schema));
    match field {
        Field::Type => ty.map(|ty| ty.name.clone()).into_iter().collect(),
        Field::TypeId => vec![object.ty.to_string()],
        Field::Schema => schema.map(|schema| schema.name.clone()).into_iter().collect(),
        Field::SchemaId => schema.map(|schema| schema.id.to_string()).into_iter().collect(),
        Field::Key => vec![store.key_of(object)],
        Field::ObjectId => vec![object.id.to_string()],
        Field::Attribute(name) => match store.attribute_named(object.ty, name) {
            Some(attribute) if attribute.system && attribute.name == "Created" => {
                vec![crate::check::iso(object.created)]
            }
            Some(attribute) if attribute.system && attribute.name == "Updated" => {
                vec![crate::check::iso(object.updated)]
            }
            _ => store.shown_values(object, name),
        },
        Field::Through(name, inner) => {
            let attribute = store.attribute_named(object.ty, name);
            let values = attribute.and_then(|attribute| object.values.get(&attribute.id));
            let to = values.into_iter().flatten().filter_map(|value| match value {
                Stored::Object(id) => store.in_index(*id),
                _ => None,
            });
            to.flat_map(|object| store.shown_values(object, inner)).collect()
        }
    }
}

fn compare(shown: &[String], operator: Operator, values: &[String], folds: bool) -> bool {
    let fold = |text: &str| if folds { text.to_lowercase() } else { text.to_owned() };
    let value = values.first().map(String::as_str).unwrap_or_default();
    let any = |fits: &dyn Fn(&str) -> bool| shown.iter().any(|text| fits(text));
    let by = |text: &str| match (text.parse::<f64>(), value.parse::<f64>()) {
        (Ok(a), Ok(b)) => a.partial_cmp(&b),
        _ => Some(fold(text).cmp(&fold(value))),
    };
    match operator {
        Operator::Equal => any(&|text| fold(text) == fold(value)),
        Operator::Exact => any(&|text| text == value),
        Operator::Unequal => !any(&|text| fold(text) == fold(value)),
        Operator::Less => any(&|text| by(text).is_some_and(std::cmp::Ordering::is_lt)),
        Operator::Greater => any(&|text| by(text).is_some_and(std::cmp::Ordering::is_gt)),
        Operator::AtMost => any(&|text| by(text).is_some_and(std::cmp::Ordering::is_le)),
        Operator::AtLeast => any(&|text| by(text).is_some_and(std::cmp::Ordering::is_ge)),
        Operator::Like => any(&|text| fold(text).contains(&fold(value))),
        Operator::NotLike => !any(&|text| fold(text).contains(&fold(value))),
        Operator::In => any(&|text| values.iter().any(|value| fold(text) == fold(value))),
        Operator::NotIn => !any(&|text| values.iter().any(|value| fold(text) == fold(value))),
        Operator::StartsWith => any(&|text| fold(text).starts_with(&fold(value))),
        Operator::EndsWith => any(&|text| fold(text).ends_with(&fold(value))),
        Operator::Empty => shown.is_empty(),
        Operator::NotEmpty => !shown.is_empty(),
    }
}
