//! Text from outside, made safe to print: nothing from a directory or a target becomes terminal control.
//!
//! The rule, in one place: control characters (C0, DEL, C1), characters that change the direction of text, and
//! characters that are invisible or break lines are shown as escapes (`\n`, `\t`, `\u{1b}`). Zero-width joiner and
//! non-joiner stay, because names in several scripts need them. Hides that table; deliberately knows nothing of
//! layout, and is for display only: values in files keep their bytes or use the file format's own escapes.

use std::borrow::Cow;
use std::fmt::Write as _;

/// Whether a character is shown as an escape.
pub fn is_hidden(c: char) -> bool {
    matches!(c,
        '\0'..='\x1f' | '\x7f'..='\u{9f}'
        // Soft hyphen, Mongolian vowel separator, zero-width space, word joiner and invisible operators, BOM.
        | '\u{ad}' | '\u{180e}' | '\u{200b}' | '\u{2060}'..='\u{2064}' | '\u{feff}'
        // Direction: marks, embeddings, overrides, isolates.
        | '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{206f}'
        // Line and paragraph separators, annotation marks, tags.
        | '\u{2028}' | '\u{2029}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

/// One line of text with every hidden character shown as an escape.
pub fn visible(text: &str) -> Cow<'_, str> {
    if !text.contains(is_hidden) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() + 8);
    text.chars().for_each(|c| show(c, &mut shown));
    Cow::Owned(shown)
}

/// Several lines: as [`visible`], but line breaks stay and each further line gets an indent.
pub fn lines(text: &str, indent: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for (index, line) in text.lines().enumerate() {
        if index > 0 {
            shown.push('\n');
            shown.push_str(indent);
        }
        shown.push_str(&visible(line));
    }
    shown
}

/// As [`visible`], at most `width` characters of it; what was cut is told.
pub fn shortened(text: &str, width: usize) -> String {
    match cut(text, width, show) {
        Ok(whole) => whole,
        Err((start, length)) => format!("{start}… ({length} characters)"),
    }
}

/// A value in quotes, with quotes and backslashes escaped so that it cannot pass for more than one value; at most
/// `width` characters between the quotes, and what was cut is told.
pub fn quoted(text: &str, width: usize) -> String {
    let show_quoted = |c: char, shown: &mut String| match c {
        '"' => shown.push_str("\\\""),
        '\\' => shown.push_str("\\\\"),
        c => show(c, shown),
    };
    match cut(text, width, show_quoted) {
        Ok(whole) => format!("\"{whole}\""),
        Err((start, length)) => format!("\"{start}…\" ({length} characters)"),
    }
}

/// The text as shown, or, where that is wider than `width`, its start and the length of the original.
fn cut(text: &str, width: usize, show: impl Fn(char, &mut String)) -> Result<String, (String, usize)> {
    let mut shown = String::new();
    let mut used = 0;
    let mut fits = 0;
    for c in text.chars() {
        let before = shown.len();
        show(c, &mut shown);
        used += shown[before..].chars().count();
        if used < width {
            fits = shown.len();
        } else if used > width {
            shown.truncate(fits);
            return Err((shown, text.chars().count()));
        }
    }
    Ok(shown)
}

fn show(c: char, shown: &mut String) {
    match c {
        '\n' => shown.push_str("\\n"),
        '\r' => shown.push_str("\\r"),
        '\t' => shown.push_str("\\t"),
        c if is_hidden(c) => {
            // Writing to a String cannot fail.
            let _ = write!(shown, "\\u{{{:x}}}", u32::from(c));
        }
        c => shown.push(c),
    }
}

/// An argument of a printed command, quoted for a POSIX shell where it needs to be.
pub fn shell_word(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:@%+=,".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        return text.to_string();
    }
    format!("'{}'", visible(text).replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hidden_characters_are_shown_and_names_stay() {
        for (text, expected) in [
            ("Adele Vance", "Adele Vance"),
            ("Zoë – 株式会社 👩‍💻", "Zoë – 株式会社 👩‍💻"),
            ("a\u{1b}[2Jb", "a\\u{1b}[2Jb"),
            ("a\nb\r\tc", "a\\nb\\r\\tc"),
            ("\u{9b}31m \u{202e}gnp.exe \u{2066}x", "\\u{9b}31m \\u{202e}gnp.exe \\u{2066}x"),
        ] {
            assert_eq!(visible(text), expected);
        }
    }

    #[test]
    fn values_are_quoted_and_shortened_with_the_length_told() {
        assert_eq!(quoted(r#"a" -> "b\"#, 20), r#""a\" -> \"b\\""#);
        assert_eq!(quoted("abcde", 5), "\"abcde\"");
        assert_eq!(quoted("abcdef", 5), "\"abcd…\" (6 characters)");
        assert_eq!(quoted("a\u{1b}\u{1b}", 5), "\"a…\" (3 characters)", "an escape is never cut in two");
        assert_eq!(shortened("abcdef", 5), "abcd… (6 characters)");
    }

    #[test]
    fn arguments_are_quoted_for_the_shell() {
        assert_eq!(shell_word("jobs/contoso.toml"), "jobs/contoso.toml");
        assert_eq!(shell_word("my job's.toml"), r"'my job'\''s.toml'");
    }
}
