//! What one cell holds: values to cell text and back, without loss.
//!
//! Hides four rules. *Formulas*: a spreadsheet runs a cell that begins like a formula, so such a text gets an
//! apostrophe in front, and so does a text that begins with an apostrophe itself; reading takes exactly that
//! apostrophe off again. *Sets*: elements joined by `; `, a `;` inside an element doubled. *Line breaks and NUL*: LF
//! only (spreadsheets turn CRLF and LF into one another), and no NUL, which no spreadsheet reads. *True and false*: a
//! spreadsheet saves them as `TRUE` and `FALSE`, or as `WAHR` and `FALSCH` where it speaks German, so an attribute that
//! holds nothing else is read in any case and in the languages of [`TRUTHS`]; the cell itself stays as it stands until
//! its value changes. Deliberately knows nothing of delimiters and quotes; that is
//! [`super::rows`].
//!
//! Numbers are no exception: `-5` and `+47 12 34 56 78` are guarded as well, since a spreadsheet makes a number of the
//! one and of the other, and a telephone number must stay what it is.

use std::borrow::Cow;

use crate::plan::change::AttributeSpec;
use crate::plan::datum::{Datum, Set};
use crate::record::Unknown;

/// Characters a spreadsheet begins a formula with, and their full-width twins, which some input methods and
/// spreadsheets treat alike (<https://owasp.org/www-community/attacks/CSV_Injection>).
const FORMULA_STARTS: [char; 8] = ['=', '+', '-', '@', '＝', '＋', '－', '＠'];

/// Between two elements of a set.
const SEPARATOR: &str = "; ";

/// What spreadsheets call true and false in a cell, in the language of their user: the names of the functions `TRUE()`
/// and `FALSE()` there. In small letters.
const TRUTHS: [(&str, &[&str]); 2] = [
    (
        "true",
        &[
            "true",
            "wahr",
            "vrai",
            "verdadero",
            "verdadeiro",
            "vero",
            "waar",
            "sand",
            "sann",
            "sant",
            "tosi",
            "prawda",
            "pravda",
            "igaz",
            "doğru",
            "истина",
        ],
    ),
    (
        "false",
        &[
            "false", "falsch", "faux", "falso", "onwaar", "falsk", "usann", "falskt", "epätosi", "fałsz", "nepravda",
            "hamis", "yanliş", "ложь",
        ],
    ),
];

/// What the cells of a column hold.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Form {
    Text,
    /// True and false, in any case and in several languages. Another text stays what it is: a person wrote it.
    Boolean,
    Set,
}

impl Form {
    pub fn of(attribute: &AttributeSpec) -> Form {
        match (attribute.many, attribute.boolean) {
            (true, _) => Form::Set,
            (false, true) => Form::Boolean,
            (false, false) => Form::Text,
        }
    }
}

/// The text as a file can hold it: no NUL, and LF as the only line break.
pub fn clean(text: &str) -> Cow<'_, str> {
    if !text.contains(['\0', '\r']) {
        return Cow::Borrowed(text);
    }
    Cow::Owned(text.replace('\0', "").replace("\r\n", "\n").replace('\r', "\n"))
}

/// What the file gives back for a value of an attribute.
pub fn normalise(form: Form, value: Datum) -> Datum {
    let many = form == Form::Set;
    match value {
        Datum::Unknown(reason) => Datum::Unknown(reason),
        Datum::Empty if many => Datum::Set(Set::default()),
        Datum::Empty => Datum::Empty,
        Datum::One(text) if many => Datum::set([clean(&text)]),
        Datum::One(text) => single(form, &clean(&text)),
        Datum::Set(set) => {
            let tidy = |items: &[Box<str>]| items.iter().map(|item| Box::from(clean(item))).collect();
            let set = Set::new(tidy(&set.items), tidy(set.maybe()), set.rest().cloned());
            if many {
                Datum::Set(set)
            } else if set.is_complete() {
                single(form, &join(&set.items))
            } else {
                // One text made of a list nobody knows in full is not known either.
                Datum::Unknown(
                    set.rest().cloned().unwrap_or_else(|| Unknown::new("some elements of the list are doubtful")),
                )
            }
        }
    }
}

/// One text in the spelling of its column.
fn single(form: Form, text: &str) -> Datum {
    if form != Form::Boolean {
        return Datum::text(text);
    }
    let small = text.trim().to_lowercase();
    let found = TRUTHS.into_iter().find(|(_, names)| names.contains(&small.as_str()));
    Datum::text(found.map_or(text, |(truth, _)| truth))
}

/// The text that stands in the cell for a known value; unknown values have none.
pub fn to_cell(form: Form, value: Datum) -> Option<String> {
    match normalise(form, value) {
        Datum::Empty => Some(String::new()),
        Datum::One(text) => Some(guard(&text)),
        Datum::Set(set) if set.is_complete() => Some(guard(&join(&set.items))),
        Datum::Set(_) | Datum::Unknown(_) => None,
    }
}

/// The value of a cell.
pub fn from_cell(form: Form, cell: &str) -> Datum {
    let text = clean(cell);
    let text = unguard(&text);
    if form == Form::Set { Datum::Set(split(text)) } else { single(form, text) }
}

/// Puts an apostrophe before a text that a spreadsheet would run, or that begins with one.
pub fn guard(text: &str) -> String {
    if is_guarded(text) { format!("'{text}") } else { text.to_string() }
}

/// Takes off the apostrophe that [`guard`] put there. An apostrophe that it would not have put there (typed by a
/// person: `'t Hooft`) belongs to the text; a formula start that lost its apostrophe reads as it stands.
pub fn unguard(cell: &str) -> &str {
    match cell.strip_prefix('\'') {
        Some(text) if is_guarded(text) => text,
        _ => cell,
    }
}

/// Leading blanks and invisible characters are looked through: some spreadsheets drop them before they judge.
fn is_guarded(text: &str) -> bool {
    let invisible = |c: &char| {
        c.is_whitespace() || c.is_control() || matches!(c, '\u{200B}'..='\u{200F}' | '\u{2060}' | '\u{FEFF}' | '\u{AD}')
    };
    text.starts_with(['\'', '\t', '\r', '\n'])
        || text.chars().find(|c| !invisible(c)).is_some_and(|first| FORMULA_STARTS.contains(&first))
}

fn join(items: &[Box<str>]) -> String {
    let doubled: Vec<String> = items.iter().map(|item| item.replace(';', ";;")).collect();
    doubled.join(SEPARATOR)
}

/// Two semicolons are one of the element; a single one, with or without a blank after it, parts two elements.
fn split(text: &str) -> Set {
    let mut items = Vec::new();
    let mut item = String::new();
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        if c != ';' {
            item.push(c);
        } else if chars.next_if_eq(&';').is_some() {
            item.push(';');
        } else {
            chars.next_if_eq(&' ');
            items.push(std::mem::take(&mut item));
        }
    }
    items.push(item);
    Set::known(items)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn texts_a_spreadsheet_would_run_are_guarded() {
        for text in [
            "=1+1",
            "+47 12 34",
            "-5",
            "@SUM(A1)",
            "\tx",
            "\nx",
            " =1",
            "\u{A0}=1",
            "\u{FEFF}=1",
            "＝1",
            "＋1",
            "－1",
            "＠A1",
            "'quoted'",
            "'",
        ] {
            assert_eq!(to_cell(Form::Text, Datum::text(text)).unwrap(), format!("'{text}"));
        }
        for text in ["a=1", "1-2", "O'Brien", "adele@contoso.com", " x"] {
            assert_eq!(to_cell(Form::Text, Datum::text(text)).unwrap(), text);
        }
    }

    #[test]
    fn cells_edited_by_hand_read_sensibly() {
        let cases = [
            ("=1+1", "=1+1"),
            ("'=1+1", "=1+1"),
            ("''=1+1", "'=1+1"),
            ("'t Hooft", "'t Hooft"),
            ("'", "'"),
            ("two\r\nlines", "two\nlines"),
            ("'\r\n=x", "\n=x"),
            ("a\0b", "ab"),
        ];
        for (cell, text) in cases {
            assert_eq!(from_cell(Form::Text, cell), Datum::text(text), "{cell:?}");
        }
    }

    #[test]
    fn sets_are_readable_and_forgive_what_people_type() {
        assert_eq!(to_cell(Form::Set, Datum::set(["VPN", "All; Staff"])).unwrap(), "All;; Staff; VPN");
        assert_eq!(to_cell(Form::Set, Datum::set(["-x", "y"])).unwrap(), "'-x; y");
        for (cell, items) in [
            ("", vec![]),
            ("VPN;Sales", vec!["Sales", "VPN"]),
            ("VPN; ", vec!["VPN"]),
            ("VPN; VPN", vec!["VPN"]),
            ("a;;; b", vec!["a;", "b"]),
        ] {
            assert_eq!(from_cell(Form::Set, cell), Datum::set(items), "{cell:?}");
        }
    }

    #[test]
    fn values_take_the_form_the_file_gives_back() {
        assert_eq!(normalise(Form::Set, Datum::Empty), Datum::Set(Set::default()));
        assert_eq!(normalise(Form::Set, Datum::text("a; b")), Datum::set(["a; b"]));
        assert_eq!(normalise(Form::Text, Datum::set(["b", "a;c"])), Datum::text("a;;c; b"));
        assert_eq!(normalise(Form::Text, Datum::text("\0")), Datum::Empty);
        assert_eq!(normalise(Form::Text, Datum::text("a\r\nb\rc")), Datum::text("a\nb\nc"));
        let doubtful = Datum::Set(Set::new(vec!["a".into()], vec!["b\0".into()], None));
        assert_eq!(
            normalise(Form::Set, doubtful.clone()),
            Datum::Set(Set::new(vec!["a".into()], vec!["b".into()], None))
        );
        assert!(matches!(normalise(Form::Text, doubtful.clone()), Datum::Unknown(_)));
        assert_eq!((to_cell(Form::Set, doubtful.clone()), to_cell(Form::Text, doubtful)), (None, None));
    }

    #[test]
    fn true_and_false_are_read_as_any_spreadsheet_saves_them_where_the_column_holds_nothing_else() {
        for (cell, text) in [
            ("true", "true"),
            ("TRUE", "true"),
            ("False", "false"),
            (" FALSE ", "false"),
            ("WAHR", "true"),
            ("FALSCH", "false"),
            ("VRAI", "true"),
            ("faux", "false"),
            ("EPÄTOSI", "false"),
            ("YANLIŞ", "false"),
            ("ИСТИНА", "true"),
            ("wahr oder falsch", "wahr oder falsch"),
            ("yes", "yes"),
            ("Truely", "Truely"),
            ("", ""),
        ] {
            assert_eq!(from_cell(Form::Boolean, cell), Datum::text(text), "{cell:?}");
            assert_eq!(normalise(Form::Boolean, Datum::text(cell)), Datum::text(text), "{cell:?}");
        }
        assert_eq!(from_cell(Form::Text, "TRUE"), Datum::text("TRUE"));
        assert_eq!(from_cell(Form::Text, "WAHR"), Datum::text("WAHR"));
        assert_eq!(from_cell(Form::Set, "TRUE"), Datum::set(["TRUE"]));
    }

    fn any_form() -> impl Strategy<Value = Form> {
        prop_oneof![Just(Form::Text), Just(Form::Boolean), Just(Form::Set)]
    }

    /// Texts that are rich in what the rules are about.
    fn any_text() -> impl Strategy<Value = String> {
        prop_oneof![
            "( |')?(TRUE|False|true|WAHR|fałsz|YANLIŞ)( )?",
            "\\PC{0,12}",
            "[ ;'=+@＝a\t\n\r\0\u{FEFF}-]{0,12}",
            any::<String>()
        ]
    }

    proptest! {
        #[test]
        fn any_value_reads_back_as_normalised(text in any_text(), items in prop::collection::vec(any_text(), 0..4), form in any_form()) {
            for value in [Datum::text(text.clone()), Datum::set(items.clone())] {
                let cell = to_cell(form, value.clone()).unwrap();
                let read = from_cell(form, &cell);
                prop_assert_eq!(&read, &normalise(form, value), "{:?}", cell);
                prop_assert_eq!(normalise(form, read.clone()), read);
                let ran = cell.trim_start().starts_with(['=', '+', '-', '@', '＝', '＋', '－', '＠']);
                prop_assert!(!ran, "{:?}", cell);
            }
        }

        #[test]
        fn any_cell_reads_to_a_value_that_is_written_equal(cell in any_text(), form in any_form()) {
            let value = from_cell(form, &cell);
            prop_assert_eq!(from_cell(form, &to_cell(form, value.clone()).unwrap()), value);
        }
    }
}
