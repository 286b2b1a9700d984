//! Cuts the text of an expression into tokens, literals already turned into values.
//!
//! Hides how OData writes numbers, ids, dates, durations and quoted text. Deliberately knows no operators and no
//! grammar: `eq` and a property called `eq` are both words here. Looks at each character a bounded number of times.
//!
//! <https://docs.oasis-open.org/odata/odata/v4.01/os/abnf/odata-abnf-construction-rules.txt>

use jiff::{SignedDuration, Span as JiffSpan, SpanRelativeTo, Timestamp, civil::Date};

use super::SyntaxError;
use super::ast::Span;
use crate::record::{Guid, Value};

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Token {
    /// A name or an operator: `displayName`, `eq`, `$it`, `$count`.
    Word,
    Literal(Value),
    Open,
    Close,
    Comma,
    Slash,
    Colon,
    Minus,
    End,
}

pub(super) struct Lexer<'t> {
    text: &'t str,
    at: usize,
}

impl<'t> Lexer<'t> {
    pub fn new(text: &'t str) -> Lexer<'t> {
        Lexer { text, at: 0 }
    }

    /// The next token and where it is; [`Token::End`] for ever after the last.
    pub fn next(&mut self) -> Result<(Token, Span), SyntaxError> {
        let rest = &self.text[self.at..];
        let start = self.at + (rest.len() - rest.trim_start_matches([' ', '\t', '\r', '\n']).len());
        self.at = start;
        let rest = &self.text[start..];
        let Some(first) = rest.chars().next() else { return Ok((Token::End, start..start)) };
        let single = match first {
            '(' => Some(Token::Open),
            ')' => Some(Token::Close),
            ',' => Some(Token::Comma),
            '/' => Some(Token::Slash),
            ':' => Some(Token::Colon),
            '-' => Some(Token::Minus),
            _ => None,
        };
        let (token, length) = match single {
            Some(token) => (token, 1),
            None if first == '\'' => self.quoted(start)?,
            None => match guid(rest) {
                Some(id) => (Token::Literal(Value::Guid(id)), 36),
                None if first.is_ascii_digit() => self.number_or_date(start)?,
                None if is_word_start(first) => self.word(start)?,
                None => return Err(stray(start, first, rest)),
            },
        };
        self.at = start + length;
        Ok((token, start..self.at))
    }

    /// Text from the quote at `start`; two quotes inside stand for one. Its value and length in bytes.
    fn quoted(&self, start: usize) -> Result<(Token, usize), SyntaxError> {
        let (text, length) = self.unquote(start)?;
        Ok((Token::Literal(Value::text(text)), length))
    }

    fn unquote(&self, start: usize) -> Result<(String, usize), SyntaxError> {
        let mut text = String::new();
        let mut at = start + 1;
        while let Some(quote) = self.text[at..].find('\'') {
            text.push_str(&self.text[at..at + quote]);
            at += quote + 1;
            if !self.text[at..].starts_with('\'') {
                return Ok((text, at - start));
            }
            text.push('\'');
            at += 1;
        }
        Err(SyntaxError::new(start..self.text.len(), "this quote is never closed")
            .help("text stands in single quotes; a quote inside the text is written twice: 'O''Neill'"))
    }

    fn number_or_date(&self, start: usize) -> Result<(Token, usize), SyntaxError> {
        let rest = &self.text[start..];
        let digits = count(rest, |c| c.is_ascii_digit());
        if digits >= 4 && rest[digits..].starts_with('-') {
            return date(rest, start);
        }
        let mut length = digits;
        let fraction = count(rest[length..].strip_prefix('.').unwrap_or(""), |c| c.is_ascii_digit());
        if fraction > 0 {
            length += 1 + fraction;
        }
        let exponent = rest[length..].strip_prefix(['e', 'E']).unwrap_or("");
        let sign = usize::from(exponent.starts_with(['+', '-']));
        let power = count(&exponent[sign..], |c| c.is_ascii_digit());
        if power > 0 {
            length += 1 + sign + power;
        }
        let tail = count(&rest[length..], |c| is_word(c) || c == '.');
        if tail > 0 {
            return Err(SyntaxError::new(start..start + length + tail, "this is not a number")
                .help("text stands in single quotes; names begin with a letter"));
        }
        Ok((Token::Literal(number(&rest[..length], start)?), length))
    }

    /// A name, or a literal that starts with a word: `duration'P1D'`, `Namespace.Enumeration'Member'`.
    fn word(&self, start: usize) -> Result<(Token, usize), SyntaxError> {
        let rest = &self.text[start..];
        let mut length = rest.chars().next().map_or(0, char::len_utf8);
        length += count(&rest[length..], is_word);
        // A dotted name is one word; what it may stand for is for the parser to say.
        while let Some(part) = rest[length..].strip_prefix('.') {
            let more = count(part, is_word);
            if more == 0 {
                break;
            }
            length += 1 + more;
        }
        let word = &rest[..length];
        if !rest[length..].starts_with('\'') || word.starts_with('$') {
            return Ok((Token::Word, length));
        }
        let (text, quoted) = self.unquote(start + length)?;
        let span = start..start + length + quoted;
        let value = match word {
            _ if word.eq_ignore_ascii_case("duration") => Value::Duration(duration(&text, span)?),
            // Graph writes members of enumerations as text, so the type's name adds nothing.
            _ if word.contains('.') => Value::text(text),
            _ if word.eq_ignore_ascii_case("guid") || word.eq_ignore_ascii_case("datetime") => {
                return Err(SyntaxError::new(span, format!("{word}'…' is the old OData 2 form"))
                    .help(format!("write {text} without {word} and quotes")));
            }
            _ => {
                return Err(SyntaxError::new(span, format!("{word}'…' is no kind of value"))
                    .help("put a space between an operator and quoted text"));
            }
        };
        Ok((Token::Literal(value), length + quoted))
    }
}

/// The number `text` stands for: digits only is an Int, anything else a Double.
fn number(text: &str, start: usize) -> Result<Value, SyntaxError> {
    let value = if text.contains(['.', 'e', 'E']) {
        text.parse().ok().filter(|number: &f64| number.is_finite()).map(Value::Double)
    } else {
        text.parse().ok().map(Value::Int)
    };
    value.ok_or_else(|| SyntaxError::new(start..start + text.len(), "this number is too large"))
}

fn date(rest: &str, start: usize) -> Result<(Token, usize), SyntaxError> {
    let length = count(rest, |c| c.is_ascii_digit() || matches!(c, ':' | '.' | '+' | '-' | 'T' | 't' | 'Z' | 'z'));
    let text = &rest[..length];
    let value = match text.contains(['T', 't']) {
        true => text.parse::<Timestamp>().ok().map(Value::DateTime),
        false => text.parse::<Date>().ok().map(Value::Date),
    };
    value.map(|value| (Token::Literal(value), length)).ok_or_else(|| {
        SyntaxError::new(start..start + length, "this is not a date")
            .help("write 2024-01-31, or with time and zone 2024-01-31T12:00:00Z")
    })
}

fn duration(text: &str, span: Span) -> Result<SignedDuration, SyntaxError> {
    let parsed = text.parse::<JiffSpan>().ok();
    parsed.and_then(|parsed| parsed.to_duration(SpanRelativeTo::days_are_24_hours()).ok()).ok_or_else(|| {
        SyntaxError::new(span, "this is not a duration")
            .help("days, hours, minutes, seconds: duration'P90D', duration'PT1H30M'")
    })
}

/// The id at the start of `rest`, unless it goes on as a longer word.
fn guid(rest: &str) -> Option<Guid> {
    let id = rest.get(..36)?.parse().ok()?;
    (!rest[36..].starts_with(|c| is_word(c) || c == '-')).then_some(id)
}

fn is_word_start(c: char) -> bool {
    c.is_alphabetic() || c == '_' || c == '$'
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// Length in bytes of the characters at the start of `text` that `keep` holds for.
fn count(text: &str, keep: impl Fn(char) -> bool) -> usize {
    text.len() - text.trim_start_matches(keep).len()
}

/// The error for a character that starts nothing, with the OData word for what other languages write.
fn stray(at: usize, first: char, rest: &str) -> SyntaxError {
    const OTHERS: [(&str, &str); 12] = [
        ("==", "eq"),
        ("=", "eq"),
        ("!=", "ne"),
        ("<>", "ne"),
        (">=", "ge"),
        (">", "gt"),
        ("<=", "le"),
        ("<", "lt"),
        ("&&", "and"),
        ("||", "or"),
        ("!", "not"),
        ("*", "mul"),
    ];
    if let Some((wrong, right)) = OTHERS.iter().find(|(wrong, _)| rest.starts_with(wrong)) {
        return SyntaxError::new(at..at + wrong.len(), format!("`{wrong}` is not an operator here"))
            .help(format!("write `{right}`"));
    }
    let shown = if first.is_control() { first.escape_unicode().to_string() } else { first.to_string() };
    let error = SyntaxError::new(at..at + first.len_utf8(), format!("unexpected character `{shown}`"));
    match first {
        '"' | '\u{2018}' | '\u{2019}' | '\u{201c}' | '\u{201d}' | '`' => {
            error.help("text stands in single quotes: 'text'")
        }
        _ => error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tokens(text: &str) -> Result<Vec<Token>, SyntaxError> {
        let mut lexer = Lexer::new(text);
        let mut all = Vec::new();
        loop {
            match lexer.next()?.0 {
                Token::End => return Ok(all),
                token => all.push(token),
            }
        }
    }

    fn check(text: &str, expected: &str) {
        let shown = match tokens(text) {
            Ok(tokens) => tokens.iter().map(|token| format!("{token:?}")).collect::<Vec<_>>().join(" "),
            Err(error) => format!("{:?} {}", error.span, error.message),
        };
        assert_eq!(shown, expected, "{text}");
    }

    #[test]
    fn literals_are_read_as_their_values() {
        check("12", "Literal(Int(12))");
        check("1.50 2e3 2E-1", "Literal(Double(1.5)) Literal(Double(2000.0)) Literal(Double(0.2))");
        check("'a''b' ''", "Literal(Text(\"a'b\")) Literal(Text(\"\"))");
        check("87D349ED-44d7-43e1-9a83-5f2406dee5bd", "Literal(Guid(87d349ed-44d7-43e1-9a83-5f2406dee5bd))");
        check("abcdefab-44d7-43e1-9a83-5f2406dee5bd", "Literal(Guid(abcdefab-44d7-43e1-9a83-5f2406dee5bd))");
        check("2024-02-29", "Literal(Date(2024-02-29))");
        check("2024-01-01T02:00:00+02:00", "Literal(DateTime(2024-01-01T00:00:00Z))");
        check("2024-01-01T00:00Z", "Literal(DateTime(2024-01-01T00:00:00Z))");
        check("2024-01-01T00:00:00.123456789Z", "Literal(DateTime(2024-01-01T00:00:00.123456789Z))");
        check("duration'P1DT2H'", "Literal(Duration(26h))");
        check("microsoft.graph.groupAccessType'private'", "Literal(Text(\"private\"))");
    }

    #[test]
    fn words_and_signs_are_cut_at_their_ends() {
        check("a/b eq-1", "Word Slash Word Word Minus Literal(Int(1))");
        check("any(x:x)", "Word Open Word Colon Word Close");
        check("größe\n\t$it,", "Word Word Comma");
        check("microsoft.graph.user", "Word");
    }

    #[test]
    fn what_is_no_token_is_named() {
        check("'open", "0..5 this quote is never closed");
        check("5abc", "0..4 this is not a number");
        check("1.2.3", "0..5 this is not a number");
        check("99999999999999999999", "0..20 this number is too large");
        check("1e999", "0..5 this number is too large");
        check("2024-02-30", "0..10 this is not a date");
        check("2024-01-01T00:00:00", "0..19 this is not a date");
        check("duration'P1Y'", "0..13 this is not a duration");
        check("guid'x'", "0..7 guid'…' is the old OData 2 form");
        check("eq'x'", "0..5 eq'…' is no kind of value");
        check("a == b", "2..4 `==` is not an operator here");
        check("\"text\"", "0..1 unexpected character `\"`");
    }
}
