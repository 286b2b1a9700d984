//! The functions of the language: one table for the checker, the evaluator, the help and the tests.
//!
//! Hides what each does with null, *unknown* and case. The canonical ones follow OData 4.01, part 2, 5.1.1.5 and
//! following: a null argument gives null. Deliberately without side effects, clock or randomness: `now()` is the
//! as-of time that the caller passes in.
//!
//! <https://docs.oasis-open.org/odata/odata/v4.01/odata-v4.01-part2-url-conventions.html#sec_CanonicalFunctions>

use std::borrow::Cow;
use std::fmt;

use super::ast::Node;
use super::compare::{ends_with, fold, index_of, starts_with};
use super::eval::{Scope, reason_for};
use crate::record::Value;

/// One function.
pub struct Function {
    /// As the normal form spells it; any case is understood.
    pub name: &'static str,
    pub parameters: &'static [Parameter],
    /// The last parameter may be given any number of times, but at least once.
    pub variadic: bool,
    pub returns: Returns,
    /// One line.
    pub help: &'static str,
    /// They run as tests, as of 2024-06-01T00:00:00Z.
    pub examples: &'static [Example],
    run: fn(&Call<'_>) -> Value,
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
    /// A whole number.
    Int,
    /// Any single value that can be written as text.
    Scalar,
    /// A single value or a list of them.
    List,
    Any,
}

/// What a function evaluates to (or null, or unknown).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Returns {
    Bool,
    Int,
    Text,
    DateTime,
    /// What the arguments have in common.
    Arguments,
}

/// A call and the literal it equals.
pub struct Example {
    pub call: &'static str,
    pub gives: &'static str,
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

/// The function of that name, in any case.
pub(super) fn named(name: &str) -> Option<&'static Function> {
    FUNCTIONS.iter().find(|function| function.name.eq_ignore_ascii_case(name))
}

const fn parameter(name: &'static str, accepts: Accepts) -> Parameter {
    Parameter { name, accepts, optional: false }
}

const fn example(call: &'static str, gives: &'static str) -> Example {
    Example { call, gives }
}

const TEXT: Parameter = parameter("text", Accepts::Text);
const PART: Parameter = parameter("part", Accepts::Text);

/// Every function, by name.
pub static FUNCTIONS: &[Function] = &[
    Function {
        name: "coalesce",
        parameters: &[parameter("value", Accepts::Any)],
        variadic: true,
        returns: Returns::Arguments,
        help: "The first value that is not null.",
        examples: &[
            example("coalesce(null, 'b', 'c')", "'b'"),
            example("coalesce('', 'b')", "''"),
            example("coalesce(null, null)", "null"),
        ],
        run: coalesce,
    },
    Function {
        name: "concat",
        parameters: &[parameter("value", Accepts::Scalar)],
        variadic: true,
        returns: Returns::Text,
        help: "All values as one text; null if one of them is.",
        examples: &[
            example("concat('Berlin', ', ', 'Germany')", "'Berlin, Germany'"),
            example("concat('Room ', 12)", "'Room 12'"),
            example("concat('a', null)", "null"),
        ],
        run: concat,
    },
    Function {
        name: "contains",
        parameters: &[TEXT, PART],
        variadic: false,
        returns: Returns::Bool,
        help: "Whether the part is in the text, ignoring case.",
        examples: &[
            example("contains('Alfreds Futterkiste', 'FUTTER')", "true"),
            example("contains('abc', 'd')", "false"),
            example("contains(null, 'd')", "null"),
        ],
        run: |call| call.two_texts(|text, part| Value::Bool(index_of(text, part).is_some())),
    },
    Function {
        name: "endswith",
        parameters: &[TEXT, PART],
        variadic: false,
        returns: Returns::Bool,
        help: "Whether the text ends with the part, ignoring case.",
        examples: &[
            example("endswith('adele@contoso.com', '@CONTOSO.com')", "true"),
            example("endswith('adele@contoso.com', 'adele')", "false"),
        ],
        run: |call| call.two_texts(|text, part| Value::Bool(ends_with(text, part))),
    },
    Function {
        name: "indexof",
        parameters: &[TEXT, PART],
        variadic: false,
        returns: Returns::Int,
        help: "How many characters come before the part in the text, ignoring case; -1 if it is not in it.",
        examples: &[example("indexof('Größe 42', '42')", "6"), example("indexof('abc', 'x')", "-1")],
        run: |call| {
            call.two_texts(|text, part| {
                Value::Int(index_of(text, part).and_then(|at| i64::try_from(at).ok()).unwrap_or(-1))
            })
        },
    },
    Function {
        name: "join",
        parameters: &[parameter("list", Accepts::List), parameter("separator", Accepts::Text)],
        variadic: false,
        returns: Returns::Text,
        help: "The values of a list as one text, in the list's order; null if it is empty.",
        examples: &[example("join('a', '; ')", "'a'"), example("join(null, '; ')", "null")],
        run: join,
    },
    Function {
        name: "length",
        parameters: &[TEXT],
        variadic: false,
        returns: Returns::Int,
        help: "The number of characters.",
        examples: &[example("length('Größe')", "5"), example("length('')", "0"), example("length(null)", "null")],
        run: |call| call.one_text(|text| Value::Int(i64::try_from(text.chars().count()).unwrap_or(i64::MAX))),
    },
    Function {
        name: "now",
        parameters: &[],
        variadic: false,
        returns: Returns::DateTime,
        help: "The as-of time of the plan; the same for all records of a run.",
        examples: &[
            example("now()", "2024-06-01T00:00:00Z"),
            example("now() sub duration'P30D'", "2024-05-02T00:00:00Z"),
        ],
        run: |call| Value::DateTime(call.scope.as_of()),
    },
    Function {
        name: "startswith",
        parameters: &[TEXT, PART],
        variadic: false,
        returns: Returns::Bool,
        help: "Whether the text starts with the part, ignoring case.",
        examples: &[
            example("startswith('Adele Vance', 'ADELE')", "true"),
            example("startswith('Adele Vance', 'Vance')", "false"),
        ],
        run: |call| call.two_texts(|text, part| Value::Bool(starts_with(text, part))),
    },
    Function {
        name: "substring",
        parameters: &[
            TEXT,
            parameter("start", Accepts::Int),
            Parameter { name: "length", accepts: Accepts::Int, optional: true },
        ],
        variadic: false,
        returns: Returns::Text,
        help: "The text without its first `start` characters, and at most `length` long.",
        examples: &[
            example("substring('Größe', 2)", "'öße'"),
            example("substring('Größe', 2, 1)", "'ö'"),
            example("substring('abc', 5)", "''"),
            example("substring('abc', -1)", "'abc'"),
        ],
        run: substring,
    },
    Function {
        name: "tolower",
        parameters: &[TEXT],
        variadic: false,
        returns: Returns::Text,
        help: "The text in lower case.",
        examples: &[example("substring(tolower('ÄRGER'), 0)", "'ärger'")],
        run: |call| call.one_text(|text| Value::text(text.chars().map(fold).collect::<String>())),
    },
    Function {
        name: "toupper",
        parameters: &[TEXT],
        variadic: false,
        returns: Returns::Text,
        help: "The text in upper case.",
        examples: &[example("toupper('ärger')", "'ÄRGER'")],
        run: |call| call.one_text(|text| Value::text(text.to_uppercase())),
    },
    Function {
        name: "trim",
        parameters: &[TEXT],
        variadic: false,
        returns: Returns::Text,
        help: "The text without white space at its start and end.",
        examples: &[example("trim('  a b ')", "'a b'")],
        run: |call| call.one_text(|text| Value::text(text.trim())),
    },
];

/// A function with the arguments of one call, evaluated when asked for.
pub(super) struct Call<'e> {
    scope: Scope<'e>,
    arguments: &'e [Node],
}

/// Evaluates a call that the checker has seen: the number of arguments fits.
pub(super) fn call<'e>(function: &Function, arguments: &'e [Node], scope: Scope<'e>) -> Value {
    (function.run)(&Call { scope, arguments })
}

impl<'e> Call<'e> {
    fn argument(&self, index: usize) -> Cow<'e, Value> {
        match self.arguments.get(index) {
            Some(node) => self.scope.value(node),
            None => Cow::Owned(Value::Null),
        }
    }

    /// The first `N` arguments, or what the function gives when one is unknown (that first) or null.
    fn strict<const N: usize>(&self) -> Result<[Cow<'e, Value>; N], Value> {
        let arguments: [_; N] = std::array::from_fn(|index| self.argument(index));
        if let Some(unknown) = arguments.iter().find(|value| matches!(***value, Value::Unknown(_))) {
            return Err(Value::clone(unknown));
        }
        match arguments.iter().any(|value| value.is_null()) {
            true => Err(Value::Null),
            false => Ok(arguments),
        }
    }

    fn one_text(&self, run: impl FnOnce(&str) -> Value) -> Value {
        match self.strict::<1>() {
            Ok([value]) => text(&value).map_or(Value::Null, |text| run(&text)),
            Err(value) => value,
        }
    }

    fn two_texts(&self, run: impl FnOnce(&str, &str) -> Value) -> Value {
        match self.strict::<2>() {
            Ok([a, b]) => text(&a).zip(text(&b)).map_or(Value::Null, |(a, b)| run(&a, &b)),
            Err(value) => value,
        }
    }
}

/// A single value as text; `None` for what has no text.
fn text(value: &Value) -> Option<Cow<'_, str>> {
    Some(match value {
        Value::Text(text) => Cow::Borrowed(text),
        Value::Bool(value) => Cow::Owned(value.to_string()),
        Value::Int(value) => Cow::Owned(value.to_string()),
        Value::Double(value) => Cow::Owned(value.to_string()),
        Value::Guid(id) => Cow::Owned(id.to_string()),
        Value::DateTime(time) => Cow::Owned(time.to_string()),
        Value::Date(date) => Cow::Owned(date.to_string()),
        Value::Duration(duration) => Cow::Owned(duration.to_string()),
        Value::Unknown(_) | Value::Null | Value::List(_) | Value::Object(_) | Value::Record(_) => return None,
    })
}

fn coalesce(call: &Call<'_>) -> Value {
    let values = (0..call.arguments.len()).map(|index| call.argument(index));
    // Unknown is not null: what it hides might be the value, so nothing after it can be the answer.
    values.into_iter().find(|value| !value.is_null()).map_or(Value::Null, Cow::into_owned)
}

fn concat(call: &Call<'_>) -> Value {
    let mut all = String::new();
    let mut null = false;
    for index in 0..call.arguments.len() {
        let value = call.argument(index);
        if matches!(*value, Value::Unknown(_)) {
            return value.into_owned();
        }
        match text(&value) {
            Some(text) => all.push_str(&text),
            None => null = true,
        }
    }
    if null { Value::Null } else { Value::text(all) }
}

fn join(call: &Call<'_>) -> Value {
    let [list, separator] = match call.strict::<2>() {
        Ok(arguments) => arguments,
        Err(value) => return value,
    };
    let Some(separator) = text(&separator) else { return Value::Null };
    let items = match &*list {
        Value::List(list) => {
            if let Some(reason) = reason_for(list) {
                return Value::Unknown(reason);
            }
            &list.items
        }
        single => std::slice::from_ref(single),
    };
    let texts: Vec<_> = items.iter().filter_map(text).collect();
    if texts.is_empty() { Value::Null } else { Value::text(texts.join(&separator)) }
}

fn substring(call: &Call<'_>) -> Value {
    let length = match call.arguments.len() {
        3 => match call.argument(2).into_owned() {
            Value::Int(length) => Some(length),
            Value::Unknown(reason) => return Value::Unknown(reason),
            _ => return Value::Null,
        },
        _ => None,
    };
    let [whole, start] = match call.strict::<2>() {
        Ok(arguments) => arguments,
        Err(value) => return value,
    };
    let (Some(whole), Value::Int(start)) = (text(&whole), &*start) else { return Value::Null };
    let count = |number: i64| usize::try_from(number.max(0)).unwrap_or(usize::MAX);
    let rest = whole.chars().skip(count(*start));
    Value::text(rest.take(length.map_or(usize::MAX, count)).collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::expr::{Catalog, NoNavigation, compile};

    fn check(expression: &str, expected: &str) {
        let nav = NoNavigation { as_of: "2024-06-01T00:00:00Z".parse().unwrap() };
        let value = |text: &str| compile(text, None, &mut Catalog::new()).unwrap().eval_value(&Value::Null, &nav);
        assert_eq!(value(expression), value(expected), "{expression}");
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
    }
}
