//! Cuts the text of an expression into tokens, literals already turned into values.
//!
//! Hides where literals, names and signs begin and end. Deliberately knows no operators and no grammar: `eq` and a
//! property called `eq` are both words here. Looks at each character a bounded number of times.
//!
//! <https://docs.oasis-open.org/odata/odata/v4.01/os/abnf/odata-abnf-construction-rules.txt>

use std::ops::Range;

use super::SyntaxError;
use super::ast::Span;
use super::literal;
use crate::record::{Guid, Value};

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Token {
    /// A name or an operator: `displayName`, `eq`, `$it`, `$count`, `@alias`.
    Word,
    Literal(Value),
    /// Text in double quotes, as only JSON has it.
    Json(String),
    Open,
    Close,
    OpenBracket,
    CloseBracket,
    OpenBrace,
    CloseBrace,
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
    /// Over a part of `text`; places are those in all of it.
    pub fn new(text: &'t str, part: Range<usize>) -> Lexer<'t> {
        Lexer { text: &text[..part.end], at: part.start }
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
            '[' => Some(Token::OpenBracket),
            ']' => Some(Token::CloseBracket),
            '{' => Some(Token::OpenBrace),
            '}' => Some(Token::CloseBrace),
            ',' => Some(Token::Comma),
            '/' => Some(Token::Slash),
            ':' => Some(Token::Colon),
            // A year before the first is written with a sign, and can be nothing else.
            '-' if dated(&rest[1..]).is_none() => Some(Token::Minus),
            _ => None,
        };
        let (token, length) = match single {
            Some(token) => (token, 1),
            None if first == '\'' => {
                let (text, length) = self.unquote(start)?;
                (Token::Literal(Value::text(text)), length)
            }
            None if first == '"' => self.json(start)?,
            None => match guid(rest) {
                Some(id) => (Token::Literal(Value::Guid(id)), 36),
                None if first == '-' => self.date(start)?,
                None if first.is_ascii_digit() || signed(rest) => self.number_or_time(start)?,
                None if is_word_start(first) => self.word(start)?,
                None => return Err(stray(start, first, rest)),
            },
        };
        self.at = start + length;
        Ok((token, start..self.at))
    }

    /// Goes past a `=`, which is no token of expressions but stands in `$count($filter=…)`.
    pub fn expect_equals(&mut self) -> Result<(), SyntaxError> {
        match self.text[self.at..].strip_prefix('=') {
            Some(_) => {
                self.at += 1;
                Ok(())
            }
            None => Err(SyntaxError::new(self.at..self.at, "expected `=` here").help("write $count($filter=…)")),
        }
    }

    /// Text from the quote at `start`, and its length with the quotes; two quotes inside stand for one.
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

    /// Text in double quotes, with the escapes of JSON.
    fn json(&self, start: usize) -> Result<(Token, usize), SyntaxError> {
        let mut escaped = false;
        let end = self.text.bytes().enumerate().skip(start + 1).find(|(_, byte)| {
            let closes = *byte == b'"' && !escaped;
            escaped = *byte == b'\\' && !escaped;
            closes
        });
        let Some((end, _)) = end else { return Err(stray(start, '"', &self.text[start..])) };
        match serde_json::from_str(&self.text[start..=end]) {
            Ok(text) => Ok((Token::Json(text), end + 1 - start)),
            Err(_) => Err(SyntaxError::new(start..end + 1, "this is not text as JSON has it")
                .help("write \\\" and \\\\ for quotes and backslashes, \\n for a line's end")),
        }
    }

    fn date(&self, start: usize) -> Result<(Token, usize), SyntaxError> {
        let rest = &self.text[start..];
        let sign = usize::from(rest.starts_with('-'));
        let of_date = |c: char| c.is_ascii_digit() || matches!(c, ':' | '.' | '+' | '-' | 'T' | 't' | 'Z' | 'z');
        let run = &rest[..sign + count(&rest[sign..], of_date)];
        let text = &run[..date_length(run)];
        let length = text.len();
        let value = match text.contains(['T', 't']) {
            true => literal::moment(text).map(Value::DateTime),
            false => literal::date(text).map(Value::Date),
        };
        value.map(|value| (Token::Literal(value), length)).ok_or_else(|| {
            let long = count(&rest[sign..], |c| c.is_ascii_digit()) > 4;
            let message = if long { "years go from -9999 to 9999" } else { "this is not a date" };
            SyntaxError::new(start..start + length, message)
                .help("write 2024-01-31, or with time and zone 2024-01-31T12:00:00Z")
        })
    }

    fn number_or_time(&self, start: usize) -> Result<(Token, usize), SyntaxError> {
        let rest = &self.text[start..];
        let sign = usize::from(rest.starts_with('+'));
        let digits = count(&rest[sign..], |c| c.is_ascii_digit());
        if digits >= 4 && sign == 0 && dated(rest).is_some() {
            return self.date(start);
        }
        if digits == 2 && sign == 0 && rest[2..].starts_with(':') {
            let length = count(rest, |c| c.is_ascii_digit() || matches!(c, ':' | '.'));
            if let Some(time) = literal::time(rest[..length].trim_end_matches(':')) {
                let length = rest[..length].trim_end_matches(':').len();
                return Ok((Token::Literal(Value::Time(time)), length));
            }
        }
        let mut length = sign + digits;
        let fraction = count(rest[length..].strip_prefix('.').unwrap_or(""), |c| c.is_ascii_digit());
        if fraction > 0 {
            length += 1 + fraction;
        }
        let exponent = rest[length..].strip_prefix(['e', 'E']).unwrap_or("");
        let signed = usize::from(exponent.starts_with(['+', '-']));
        let power = count(&exponent[signed..], |c| c.is_ascii_digit());
        if power > 0 {
            length += 1 + signed + power;
        }
        let tail = count(&rest[length..], |c| is_word(c) || c == '.');
        if tail > 0 {
            return Err(SyntaxError::new(start..start + length + tail, "this is not a number")
                .help("text stands in single quotes; names begin with a letter"));
        }
        match literal::number(&rest[..length]) {
            Some(value) => Ok((Token::Literal(value), length)),
            None => Err(SyntaxError::new(start..start + length, "this number is too large")),
        }
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
        if rest.starts_with('@')
            && let Some(qualifier) = rest[length..].strip_prefix('#')
        {
            length += 1 + count(qualifier, is_word);
        }
        let word = &rest[..length];
        if !rest[length..].starts_with('\'') || word.starts_with(['$', '@']) {
            return Ok((Token::Word, length));
        }
        let (text, quoted) = self.unquote(start + length)?;
        let span = start..start + length + quoted;
        let is = |name: &str| word.eq_ignore_ascii_case(name);
        let no = |message: &str, help: &str| Err(SyntaxError::new(span.clone(), message).help(help));
        let value = match word {
            _ if is("duration") => literal::duration(&text).map(Value::Duration),
            _ if is("binary") => literal::binary(&text).map(|bytes| Value::Binary(bytes.into())),
            // Graph writes members of enumerations as text, so the type's name adds nothing.
            _ if word.contains('.') => Some(Value::text(text)),
            _ if is("geography") || is("geometry") => {
                return no("places on a map (geography, geometry) are not supported", "the directory has none");
            }
            _ if is("guid") || is("datetime") || is("datetimeoffset") || is("time") || is("x") => {
                return no(
                    &format!("{word}'…' is the old OData 2 form"),
                    &format!("write {text} without {word} and quotes"),
                );
            }
            _ => {
                let help = "put a space between an operator and quoted text";
                return no(&format!("{word}'…' is no kind of value"), help);
            }
        };
        match value {
            Some(value) => Ok((Token::Literal(value), length + quoted)),
            None if is("binary") => no("this is not binary data", "it is written as base64url: binary'T0RhdGE'"),
            None => no("this is not a duration", "days, hours, minutes, seconds: duration'P90D', duration'PT1H30M'"),
        }
    }
}

/// How much of a run of digits and signs is one date: in `case(…: …)` a colon may follow it.
fn date_length(run: &str) -> usize {
    let Some(clock) = run.find(['T', 't']) else { return run.find(':').unwrap_or(run.len()) };
    match run[clock..].find(['Z', 'z', '+', '-']).map(|at| clock + at) {
        Some(zone) if matches!(run.as_bytes()[zone], b'Z' | b'z') => zone + 1,
        Some(zone) => run.len().min(zone + "+00:00".len()),
        None => run.len(),
    }
}

/// The year of a date at the start of `text`, if one is there.
fn dated(text: &str) -> Option<&str> {
    let digits = count(text, |c| c.is_ascii_digit());
    let part = |text: &str| text.starts_with('-') && count(&text[1..], |c| c.is_ascii_digit()) > 0;
    (digits >= 4 && part(&text[digits..])).then(|| &text[..digits])
}

/// A number with a plus in front.
fn signed(text: &str) -> bool {
    text.strip_prefix('+').is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
}

/// The id at the start of `rest`, unless it goes on as a longer word.
fn guid(rest: &str) -> Option<Guid> {
    if rest.as_bytes().get(8) != Some(&b'-') {
        return None;
    }
    let id = rest.get(..36)?.parse().ok()?;
    (!rest[36..].starts_with(|c| is_word(c) || c == '-')).then_some(id)
}

fn is_word_start(c: char) -> bool {
    c.is_alphabetic() || matches!(c, '_' | '$' | '@')
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
        let mut lexer = Lexer::new(text, 0..text.len());
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
        check("2024-01-01T00:00Z", "Literal(DateTime(Moment { at: 2024-01-01T00:00:00Z, offset: 0 }))");
        check("-0044-03-15 -5", "Literal(Date(-000044-03-15)) Minus Literal(Int(5))");
        check("11:22 a:12:30", "Literal(Time(11:22:00)) Word Colon Literal(Time(12:30:00))");
        check("99999999999999999999 +42", "Literal(Double(1e20)) Literal(Int(42))");
        check("binary'Zg=='", "Literal(Binary([102]))");
        check("[\"a\\\"b\", {}]", "OpenBracket Json(\"a\\\"b\") Comma OpenBrace CloseBrace CloseBracket");
        check("@p a/@odata.type#x", "Word Word Slash Word");
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
        check("1e999", "0..5 this number is too large");
        check("2024-02-30", "0..10 this is not a date");
        check("-10000-04-01", "0..12 years go from -9999 to 9999");
        check("geography'SRID=0;Point(1 1)'", "0..28 places on a map (geography, geometry) are not supported");
        check("[\"a\\x\"]", "1..6 this is not text as JSON has it");
        check("2024-01-01T00:00:00", "0..19 this is not a date");
        check("duration'P1Y'", "0..13 this is not a duration");
        check("guid'x'", "0..7 guid'…' is the old OData 2 form");
        check("eq'x'", "0..5 eq'…' is no kind of value");
        check("a == b", "2..4 `==` is not an operator here");
        check("\"text", "0..1 unexpected character `\"`");
        check("2024-01-01:1 2024-01-01T00:00Z:1 2024-01-01T00:00+02:00:1", &{
            let at = |at: &str, offset| format!("Literal(DateTime(Moment {{ at: {at}, offset: {offset} }}))");
            let (utc, east) = (at("2024-01-01T00:00:00Z", 0), at("2023-12-31T22:00:00Z", 120));
            ["Literal(Date(2024-01-01))", &utc, &east].map(|date| format!("{date} Colon Literal(Int(1))")).join(" ")
        });
    }
}
