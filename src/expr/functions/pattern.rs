//! Regular expressions: `matchesPattern`, `extract`, `replacepattern`.
//!
//! Hides how the patterns of ECMAScript, which OData names, become those of the crate `regex`, which takes time in
//! proportion to the text whatever the pattern. So what would make that impossible is refused: looking ahead or
//! behind, and references back to a group.

use std::sync::Arc;

use regex::{Regex, RegexBuilder};

use super::{Arguments, Prepared, literal_text};
use crate::expr::ast;
use crate::expr::{Catalog, SyntaxError, literal};
use crate::record::Value;

/// A compiled pattern takes no more memory than this.
const PATTERN_BYTES_MAX: usize = 1 << 20;

fn compiled(pattern: &str, flags: &str) -> Result<Regex, String> {
    let mut builder = RegexBuilder::new(pattern);
    builder.size_limit(PATTERN_BYTES_MAX).dfa_size_limit(PATTERN_BYTES_MAX);
    for flag in flags.chars() {
        match flag {
            'i' => builder.case_insensitive(true),
            'm' => builder.multi_line(true),
            's' => builder.dot_matches_new_line(true),
            'u' | 'g' => &mut builder,
            other => return Err(format!("`{other}` is no flag; there are i, m, s and u")),
        };
    }
    builder.build().map_err(|error| match error {
        regex::Error::CompiledTooBig(_) => "the pattern is too large".to_owned(),
        // The last line says what; those before show the pattern again.
        error => error.to_string().lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned(),
    })
}

/// Compiles a pattern that is written out, with its flags, which are the argument at `FLAGS`.
pub(super) fn prepare<const FLAGS: usize>(call: &ast::Call, _: &Catalog) -> Result<Prepared, SyntaxError> {
    let Some(node) = call.arguments.get(1) else { return Ok(Prepared::Nothing) };
    let Some(pattern) = literal_text(node) else { return Ok(Prepared::Nothing) };
    let flags = match call.arguments.get(FLAGS) {
        None => "",
        Some(flags) => match literal_text(flags) {
            Some(flags) => flags,
            None => return Ok(Prepared::Nothing),
        },
    };
    match compiled(pattern, flags) {
        Ok(regex) => Ok(Prepared::Pattern(Arc::new(regex))),
        Err(message) => Err(SyntaxError::new(node.span.clone(), format!("this pattern cannot be used: {message}"))
            .help("patterns are regular expressions, without looking ahead or behind and references back")),
    }
}

/// Runs over the text with the pattern, compiled before or just now.
fn with_pattern(arguments: &Arguments<'_>, flags: usize, run: impl FnOnce(&str, &Regex) -> Value) -> Value {
    let flags = match arguments.optional(flags) {
        Ok(None) => None,
        Ok(Some(flags)) if flags.is_null() => return arguments.null(),
        Ok(Some(flags)) => Some(flags),
        Err(unknown) => return unknown,
    };
    arguments.two_texts(|text, pattern| {
        if let Prepared::Pattern(regex) = arguments.prepared {
            return run(text, regex);
        }
        let flags = flags.as_deref().and_then(literal::text).unwrap_or_default();
        compiled(pattern, &flags).map_or(Value::Null, |regex| run(text, &regex))
    })
}

pub(super) fn matches(arguments: &Arguments<'_>) -> Value {
    with_pattern(arguments, 2, |text, regex| Value::Bool(regex.is_match(text)))
}

/// A group of the first match; without a number the first group, or all of it where there are no groups.
pub(super) fn extract(arguments: &Arguments<'_>) -> Value {
    let group = match arguments.optional_int(2) {
        Ok(group) => group,
        Err(value) => return value,
    };
    with_pattern(arguments, usize::MAX, |text, regex| {
        let index = group.unwrap_or(i64::from(regex.captures_len() > 1));
        let found = regex.captures(text).and_then(|found| found.get(usize::try_from(index).ok()?));
        found.map_or(Value::Null, |found| Value::text(found.as_str()))
    })
}

pub(super) fn replace(arguments: &Arguments<'_>) -> Value {
    let with = arguments.value(2);
    let Some(with) = literal::text(&with) else { return arguments.null() };
    with_pattern(arguments, usize::MAX, |text, regex| Value::text(regex.replace_all(text, &*with)))
}
