//! The text of an expression as people have it: typed, or pasted from an address.
//!
//! Hides percent-encoding, a leading `$filter=`, a whole address before it, the other options behind it, and where
//! each character was in the text as given. Deliberately reads no expression.
//!
//! A `%` and two hexadecimal digits are the character they stand for, as everywhere in OData; other percent signs are
//! themselves. To mean `%41` literally, write `%2541`. Many addresses have a plus for each blank
//! (`c:c+eq+'Unified'`): where an operator stands between two pluses and there is no blank, every plus is one.

use std::borrow::Cow;
use std::ops::Range;
use std::sync::Arc;

use super::SyntaxError;
use super::ast::Binary;

/// One text, decoded and cut into its parts.
#[derive(Debug)]
pub(super) struct Input {
    pub text: String,
    /// The expression itself.
    pub expression: Range<usize>,
    /// Parameter aliases with what they stand for: `@word='Black'`.
    pub aliases: Vec<(Arc<str>, Range<usize>)>,
    /// Where the decoded text got shorter, and by how many bytes in all.
    shifts: Vec<(usize, usize)>,
}

/// Options that change what is shown of the records that match, not which ones match.
const SHOWING: [&str; 6] = ["count", "select", "orderby", "format", "expand", "compute"];
/// Options that change which records are returned.
const CHOOSING: [&str; 7] = ["search", "top", "skip", "skiptoken", "deltatoken", "apply", "index"];

/// How many aliases one expression may have: each use looks through them.
const ALIASES_MAX: usize = 100;

impl Input {
    /// Decodes `given` and finds the expression in it.
    pub fn read(given: &str) -> Result<Input, SyntaxError> {
        let (text, shifts) = decoded(&with_blanks(given));
        let mut input = Input { expression: 0..text.len(), text, aliases: Vec::new(), shifts };
        let start = input.start();
        let parts = input.parts(start);
        let asked = start > 0 || input.option(&parts[0]).is_some();
        let with_aliases = parts[1..].iter().any(|part| input.text[part.clone()].trim_start().starts_with('@'));
        if !asked && !with_aliases {
            return Ok(input);
        }
        input.take_options(&parts, asked).map_err(|error| input.moved_back(error))?;
        Ok(input)
    }

    /// Behind the `?` of a whole address.
    fn start(&self) -> usize {
        let text = self.text.trim_start();
        let blank = self.text.len() - text.len();
        let address = ["http://", "https://"]
            .iter()
            .any(|scheme| text.get(..scheme.len()).is_some_and(|start| start.eq_ignore_ascii_case(scheme)));
        match text.find('?') {
            Some(at) if address || at == 0 => blank + at + 1,
            _ => 0,
        }
    }

    /// The pieces between `&` that stand outside quotes.
    fn parts(&self, start: usize) -> Vec<Range<usize>> {
        let mut parts = Vec::new();
        let (mut from, mut quote, mut escaped) = (start, None, false);
        for (at, byte) in self.text.bytes().enumerate().skip(start) {
            match (quote, byte) {
                (Some(b'"'), b'\\') if !escaped => {
                    escaped = true;
                    continue;
                }
                (Some(open), byte) if byte == open && !escaped => quote = None,
                (None, b'\'' | b'"') => quote = Some(byte),
                (None, b'&') => {
                    parts.push(from..at);
                    from = at + 1;
                }
                _ => {}
            }
            escaped = false;
        }
        parts.push(from..self.text.len());
        parts
    }

    /// The name of the option that a part gives, without `$`, and where its value is.
    fn option(&self, part: &Range<usize>) -> Option<(String, Range<usize>)> {
        let (name, _) = self.text[part.clone()].split_once('=')?;
        let value = part.start + name.len() + 1..part.end;
        let name = name.trim().to_ascii_lowercase();
        let bare = name.strip_prefix('$').unwrap_or(&name);
        let known = bare == "filter" || SHOWING.contains(&bare) || CHOOSING.contains(&bare);
        known.then(|| (bare.to_owned(), value))
    }

    fn take_options(&mut self, parts: &[Range<usize>], asked: bool) -> Result<(), SyntaxError> {
        let mut found = (!asked).then(|| parts[0].clone());
        for part in if asked { parts } else { &parts[1..] } {
            let text = &self.text[part.clone()];
            if let Some((name, value)) = text.split_once('=').filter(|(name, _)| name.trim().starts_with('@')) {
                let name = Arc::from(&name.trim()[1..]);
                if self.aliases.iter().any(|(known, _)| *known == name) {
                    return Err(SyntaxError::new(part.clone(), format!("`@{name}` is given twice")));
                }
                if self.aliases.len() == ALIASES_MAX {
                    let message = format!("there are more than {ALIASES_MAX} aliases here");
                    return Err(SyntaxError::new(part.clone(), message).help("write the values where they are used"));
                }
                self.aliases.push((name, part.end - value.len()..part.end));
                continue;
            }
            match self.option(part) {
                Some((name, value)) if name == "filter" && found.is_none() => found = Some(value),
                Some((name, _)) if name == "filter" => {
                    return Err(
                        SyntaxError::new(part.clone(), "there are two filters here").help("join them with `and`")
                    );
                }
                Some((name, _)) if CHOOSING.contains(&&*name) => {
                    return Err(SyntaxError::new(part.clone(), format!("`${name}` cannot be part of a filter"))
                        .help("leave it out, and say the same with an expression"));
                }
                Some(_) => {}
                None if text.trim().is_empty() => {}
                None => return Err(SyntaxError::new(part.clone(), "this is neither `$filter=…` nor `@name=…`")),
            }
        }
        self.expression = found.ok_or_else(|| {
            SyntaxError::new(0..self.text.len(), "there is no `$filter` in this address")
                .help("an expression begins behind `$filter=`")
        })?;
        Ok(())
    }

    /// An error about the decoded text, with the place in the text as it was given.
    pub fn moved_back(&self, mut error: SyntaxError) -> SyntaxError {
        error.span = self.given(error.span.start)..self.given(error.span.end);
        error
    }

    fn given(&self, at: usize) -> usize {
        let before = self.shifts.partition_point(|(from, _)| *from <= at);
        at + before.checked_sub(1).map_or(0, |index| self.shifts[index].1)
    }
}

/// `text` with blanks for pluses, where these stand for them; as long as it was.
fn with_blanks(text: &str) -> Cow<'_, str> {
    let is_operator = |word: &&str| {
        let known = Binary::ALL.iter().map(|(known, _)| *known).chain(["and", "or"]);
        known.into_iter().any(|known| word.eq_ignore_ascii_case(known))
    };
    let has_blanks = text.contains([' ', '\t', '\r', '\n']) || text.contains("%20") || text.contains("%09");
    // Between two pluses is what neither begins nor ends the text.
    let between = text.split('+').skip(1).take(text.matches('+').count().saturating_sub(1));
    match !has_blanks && between.into_iter().any(|word| is_operator(&word)) {
        true => Cow::Owned(text.replace('+', " ")),
        false => Cow::Borrowed(text),
    }
}

/// `text` with its encoded characters decoded, and where that made it shorter.
fn decoded(text: &str) -> (String, Vec<(usize, usize)>) {
    let mut out = String::with_capacity(text.len());
    let (mut shifts, mut lost) = (Vec::new(), 0);
    let mut rest = text;
    while let Some(at) = rest.find('%') {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        let encoded: Vec<u8> = rest.as_bytes().chunks_exact(3).map_while(encoded_byte).collect();
        match encoded.is_empty() {
            true => {
                out.push('%');
                rest = &rest[1..];
            }
            false => {
                let length = encoded.len() * 3;
                // Bytes that are no text are left as they are.
                for chunk in encoded.utf8_chunks() {
                    for c in chunk.valid().chars() {
                        out.push(c);
                        lost += 2 * c.len_utf8();
                        shifts.push((out.len(), lost));
                    }
                    chunk.invalid().iter().for_each(|byte| out.push_str(&format!("%{byte:02X}")));
                }
                rest = &rest[length..];
            }
        }
    }
    out.push_str(rest);
    (out, shifts)
}

fn encoded_byte(three: &[u8]) -> Option<u8> {
    let digit = |byte: u8| char::from(byte).to_digit(16);
    (three[0] == b'%').then_some(())?;
    u8::try_from(digit(three[1])? << 4 | digit(three[2])?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn check(given: &str, expected: &str) {
        let shown = match Input::read(given) {
            Ok(input) => {
                let alias = |(name, at): &(Arc<str>, Range<usize>)| format!(" @{name}={}", &input.text[at.clone()]);
                let aliases: String = input.aliases.iter().map(alias).collect();
                format!("{}{aliases}", &input.text[input.expression.clone()])
            }
            Err(error) => format!("`{}` {}", &given[error.span], error.message),
        };
        assert_eq!(shown, expected, "{given}");
    }

    #[test]
    fn what_was_pasted_is_decoded_and_cut() {
        check("a eq 'x'", "a eq 'x'");
        check("a%20eq%20%27O%27%27Neill%20%C3%A9%27", "a eq 'O''Neill é'");
        check("a eq '100% of 5%'", "a eq '100% of 5%'");
        check("a eq '%2541 %FF'", "a eq '%41 %FF'");
        check("$filter=a eq 'R&D'&$count=true&$select=id,a", "a eq 'R&D'");
        check("?%24Filter=a%20eq%20'R%26D'", "a eq 'R&D'");
        check("filter= true", " true");
        check("https://graph.microsoft.com/v1.0/users?$top=5&$filter=a", "`$top=5` `$top` cannot be part of a filter");
        check("https://graph.microsoft.com/v1.0/users?$filter=city%20eq%20'Oslo'", "city eq 'Oslo'");
        check(
            "https://graph.microsoft.com/v1.0/users?",
            "`https://graph.microsoft.com/v1.0/users?` there is no `$filter` in this address",
        );
        check("contains(a,@w)&@w='Black'", "contains(a,@w) @w='Black'");
        check("$filter=a eq @t&@t=%22x%26y%22", "a eq @t @t=\"x&y\"");
        check("$filter=a&@t=1&@t=2", "`@t=2` `@t` is given twice");
        check("$filter=a&filter=b", "`filter=b` there are two filters here");
        check("$filter=a&x", "`x` this is neither `$filter=…` nor `@name=…`");
        check("a & b", "a & b");
        check("groupTypes/any(c:c+eq+'Unified')", "groupTypes/any(c:c eq 'Unified')");
        check("a+Eq+'New+York'+and+b+gt+%2B3", "a Eq 'New York' and b gt +3");
        check("a eq 'b+eq+c'", "a eq 'b+eq+c'");
        check("a%20eq%20'b+or+c'", "a eq 'b+or+c'");
        check("'b+c'", "'b+c'");
        check("eq+1", "eq+1");
        check("+eq+", " eq ");
    }

    #[test]
    fn places_are_those_of_the_text_as_given() {
        let given = "é%20eq%20%C3%A9 x";
        let input = Input::read(given).unwrap();
        assert_eq!(input.text, "é eq é x");
        let at = input.text.find('x').unwrap();
        assert_eq!(input.moved_back(SyntaxError::new(at..at + 1, "")).span, given.len() - 1..given.len());
        let at = input.text.find("eq").unwrap();
        assert_eq!(&given[input.moved_back(SyntaxError::new(at..at + 2, "")).span], "eq");
    }

    proptest! {
        #[test]
        fn no_text_makes_reading_panic(text in "[a%0-9A-F&=@$?'\"é\\\\]{0,30}") {
            if let Err(error) = Input::read(&text) {
                prop_assert!(text.get(error.span).is_some());
            }
        }
    }
}
