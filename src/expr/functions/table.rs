//! The table of functions: one entry each, with its help and its examples.
//!
//! Hides nothing: whoever adds a function adds an entry here, and the checker, the evaluator, `expr functions`, the
//! tests and docs/expressions.md have it. What it does lies beside this file. Deliberately in the order of names.
//!
//! <https://docs.oasis-open.org/odata/odata/v4.01/odata-v4.01-part2-url-conventions.html#sec_CanonicalFunctions>

use jiff::Timestamp;

use super::{Accepts, Example, Function, Origin, Parameter, Returns, lists, numbers, pattern, text, time};
use crate::record::Value;

/// What `mindatetime()` gives; literals go further back.
const EARLIEST: Timestamp = Timestamp::constant(-62_135_596_800, 0);

const fn p(name: &'static str, accepts: Accepts) -> Parameter {
    Parameter { name, accepts, optional: false }
}

const fn o(name: &'static str, accepts: Accepts) -> Parameter {
    Parameter { name, accepts, optional: true }
}

const fn example(call: &'static str, gives: &'static str) -> Example {
    Example { call, gives }
}

const TEXT: Parameter = p("text", Accepts::Text);
const PART: Parameter = p("part", Accepts::Text);
const WHOLE: Parameter = p("text", Accepts::TextOrList);
const SOME: Parameter = p("part", Accepts::TextOrList);
const PATTERN: Parameter = p("pattern", Accepts::Text);
const NUMBER: Parameter = p("number", Accepts::Number);
const DAY: Parameter = p("date", Accepts::Day);
const CLOCK: Parameter = p("time", Accepts::Clock);
const LIST: Parameter = p("list", Accepts::List);
const SUBLIST: Parameter = p("part", Accepts::List);
const ANY: Parameter = p("value", Accepts::Any);

/// What most entries have in common.
const PLAIN: Function = Function {
    name: "",
    parameters: &[],
    variadic: false,
    returns: Returns::Text,
    origin: Origin::Standard,
    help: "",
    examples: &[],
    prepare: None,
    run: |_| Value::Null,
};

/// Every function, by name.
pub static FUNCTIONS: &[Function] = &[
    Function {
        name: "ceiling",
        parameters: &[NUMBER],
        returns: Returns::First,
        help: "The number rounded up.",
        examples: &[example("ceiling(31.2)", "32.0"), example("ceiling(-0.5)", "-0.0"), example("ceiling(7)", "7")],
        run: numbers::ceiling,
        ..PLAIN
    },
    Function {
        name: "coalesce",
        parameters: &[ANY],
        variadic: true,
        returns: Returns::Arguments,
        origin: Origin::Own,
        help: "The first value that is not null.",
        examples: &[
            example("coalesce(null, 'b', 'c')", "'b'"),
            example("coalesce('', 'b')", "''"),
            example("coalesce(null, null)", "null"),
        ],
        run: super::coalesce,
        ..PLAIN
    },
    Function {
        name: "concat",
        parameters: &[p("value", Accepts::ScalarOrList)],
        variadic: true,
        returns: Returns::Arguments,
        help: "All values as one text, or all lists as one list; null if one of them is.",
        examples: &[
            example("concat('Berlin', ', ', 'Germany')", "'Berlin, Germany'"),
            example("concat('Room ', 12)", "'Room 12'"),
            example("concat('a', null)", "null"),
            example("concat([1, 2], [3])", "[1, 2, 3]"),
        ],
        run: text::concat,
        ..PLAIN
    },
    Function {
        name: "contains",
        parameters: &[WHOLE, SOME],
        returns: Returns::Bool,
        help: "Whether the part is in the text, ignoring case, or in the list, as it stands there.",
        examples: &[
            example("contains('Alfreds Futterkiste', 'FUTTER')", "true"),
            example("contains('abc', 'd')", "false"),
            example("contains(null, 'd')", "null"),
            example("contains([4, 1, 3], [1, 3])", "true"),
        ],
        run: lists::contains,
        ..PLAIN
    },
    Function {
        name: "date",
        parameters: &[p("time", Accepts::Moment)],
        returns: Returns::Date,
        help: "The date of a moment, where it was written.",
        examples: &[example("date(2024-01-31T23:30:00-05:00)", "2024-01-31")],
        run: time::date,
        ..PLAIN
    },
    Function {
        name: "day",
        parameters: &[DAY],
        returns: Returns::Int,
        help: "The day of the month.",
        examples: &[example("day(2024-01-31)", "31"), example("day(2024-01-31T23:30:00-05:00)", "31")],
        run: time::day,
        ..PLAIN
    },
    Function {
        name: "distinct",
        parameters: &[LIST],
        returns: Returns::List,
        origin: Origin::Own,
        help: "Each value of the list once, where it first stood; text ignoring case.",
        examples: &[example("distinct(['a', 'B', 'A', 'b'])", "['a', 'B']"), example("distinct([2, 1, 2])", "[2, 1]")],
        run: lists::distinct,
        ..PLAIN
    },
    Function {
        name: "endswith",
        parameters: &[WHOLE, SOME],
        returns: Returns::Bool,
        help: "Whether the text ends with the part, ignoring case, or the list with the other.",
        examples: &[
            example("endswith('adele@contoso.com', '@CONTOSO.com')", "true"),
            example("endswith('adele@contoso.com', 'adele')", "false"),
            example("endswith([1, 2, 3], [2, 3])", "true"),
        ],
        run: lists::endswith,
        ..PLAIN
    },
    Function {
        name: "extract",
        parameters: &[TEXT, PATTERN, o("group", Accepts::Int)],
        origin: Origin::Own,
        help: "The part of the text that the first group of the pattern matches (all of the match where it has no group), or the group of that number; null if it does not match.",
        examples: &[
            example("extract('Oslo (NO-01)', '\\((.*)\\)')", "'NO-01'"),
            example("extract('adele@contoso.com', '[^@]+')", "'adele'"),
            example("extract('NO-01', '(\\w+)-(\\d+)', 2)", "'01'"),
            example("extract('Oslo', '[0-9]+')", "null"),
        ],
        prepare: Some(pattern::prepare::<{ usize::MAX }>),
        run: pattern::extract,
        ..PLAIN
    },
    Function {
        name: "first",
        parameters: &[LIST],
        returns: Returns::Item,
        origin: Origin::Own,
        help: "The first value of the list; null if it is empty.",
        examples: &[example("first(['a', 'b'])", "'a'"), example("first([])", "null")],
        run: lists::first,
        ..PLAIN
    },
    Function {
        name: "floor",
        parameters: &[NUMBER],
        returns: Returns::First,
        help: "The number rounded down.",
        examples: &[example("floor(31.8)", "31.0"), example("floor(-7)", "-7")],
        run: numbers::floor,
        ..PLAIN
    },
    Function {
        name: "formatdate",
        parameters: &[DAY, p("form", Accepts::Text)],
        origin: Origin::Own,
        help: "The date in the given form: `yyyy`, `yy`, `MMMM`, `MMM`, `MM`, `M`, `dddd`, `ddd`, `dd`, `d`, `HH`, `hh`, `mm`, `ss`, `fff`, `tt`, `zzz`; letters after `\\` are themselves, names are English.",
        examples: &[
            example("formatdate(2024-01-31T12:05:00Z, 'dd.MM.yyyy HH:mm')", "'31.01.2024 12:05'"),
            example("formatdate(2024-01-31, 'ddd d MMM yy')", "'Wed 31 Jan 24'"),
        ],
        prepare: Some(time::prepare_format),
        run: time::format,
        ..PLAIN
    },
    Function {
        name: "formatnumber",
        parameters: &[NUMBER, p("decimals", Accepts::Int), o("point", Accepts::Text), o("thousands", Accepts::Text)],
        origin: Origin::Own,
        help: "The number with so many decimals (up to 15), and the given signs between its digits.",
        examples: &[
            example("formatnumber(1234.5, 2)", "'1234.50'"),
            example("formatnumber(1234567, 0, ',', '.')", "'1.234.567'"),
            example("formatnumber(-0.125, 2, ',')", "'-0,13'"),
        ],
        run: numbers::format,
        ..PLAIN
    },
    Function {
        name: "fractionalseconds",
        parameters: &[CLOCK],
        returns: Returns::Double,
        help: "The fraction of the second.",
        examples: &[example("fractionalseconds(12:00:01.25)", "0.25")],
        run: time::fractional_seconds,
        ..PLAIN
    },
    Function {
        name: "hash",
        parameters: &[TEXT],
        origin: Origin::Own,
        help: "The SHA-256 of the text (UTF-8) in hexadecimal digits.",
        examples: &[example("hash('abc')", "'ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad'")],
        run: text::hash,
        ..PLAIN
    },
    Function {
        name: "hassubsequence",
        parameters: &[LIST, SUBLIST],
        returns: Returns::Bool,
        help: "Whether the second list is what is left of the first when some of its items are taken out.",
        examples: &[
            example("hassubsequence([4, 1, 3], [4, 3])", "true"),
            example("hassubsequence([4, 1, 3], [3, 1])", "false"),
            example("hassubsequence([1, 2], [1, 1, 2])", "false"),
        ],
        run: lists::has_subsequence,
        ..PLAIN
    },
    Function {
        name: "hassubset",
        parameters: &[LIST, SUBLIST],
        returns: Returns::Bool,
        help: "Whether every item of the second list is in the first, as often as it is in the second.",
        examples: &[
            example("hassubset([4, 1, 3], [3, 1])", "true"),
            example("hassubset([4, 1, 3, 1], [1, 1])", "true"),
            example("hassubset([1, 2], [1, 1, 2])", "false"),
        ],
        run: lists::has_subset,
        ..PLAIN
    },
    Function {
        name: "hour",
        parameters: &[CLOCK],
        returns: Returns::Int,
        help: "The hour, 0 to 23, where it was written.",
        examples: &[example("hour(2024-01-31T23:30:00-05:00)", "23"), example("hour(04:15)", "4")],
        run: time::hour,
        ..PLAIN
    },
    Function {
        name: "indexof",
        parameters: &[WHOLE, SOME],
        returns: Returns::Int,
        help: "How many characters (or items) come before the part, ignoring case; -1 if it is not there.",
        examples: &[
            example("indexof('Größe 42', '42')", "6"),
            example("indexof('abc', 'x')", "-1"),
            example("indexof(['a', 'b', 'c'], ['b', 'c'])", "1"),
        ],
        run: lists::indexof,
        ..PLAIN
    },
    Function {
        name: "inscope",
        parameters: &[p("record", Accepts::Record)],
        returns: Returns::Bool,
        origin: Origin::Own,
        help: "Whether the job's scope lets a record of another collection in; null for one of the collection whose filter asks. Known in a job only.",
        examples: &[example("inscope(null)", "null")],
        run: super::in_scope,
        ..PLAIN
    },
    Function {
        name: "join",
        parameters: &[p("list", Accepts::ScalarOrList), p("separator", Accepts::Text)],
        origin: Origin::Own,
        help: "The values of a list as one text, in the list's order; null if it is empty.",
        examples: &[example("join(['a', 'b'], '; ')", "'a; b'"), example("join(null, '; ')", "null")],
        run: text::join,
        ..PLAIN
    },
    Function {
        name: "last",
        parameters: &[LIST],
        returns: Returns::Item,
        origin: Origin::Own,
        help: "The last value of the list; null if it is empty.",
        examples: &[example("last(['a', 'b'])", "'b'"), example("last(split('OU=IT,DC=contoso', '='))", "'contoso'")],
        run: lists::last,
        ..PLAIN
    },
    Function {
        name: "length",
        parameters: &[p("text", Accepts::TextOrList)],
        returns: Returns::Int,
        help: "The number of characters of a text, or of items of a list.",
        examples: &[
            example("length('Größe')", "5"),
            example("length('')", "0"),
            example("length(null)", "null"),
            example("length([1, 2])", "2"),
        ],
        run: lists::length,
        ..PLAIN
    },
    Function {
        name: "lookup",
        parameters: &[
            p("table", Accepts::Text),
            p("key", Accepts::Scalar),
            p("column", Accepts::Text),
            o("default", Accepts::Any),
        ],
        origin: Origin::Own,
        help: "What the column of a CSV table has in the row of that key (first column, ignoring case); else the default, or null.",
        examples: &[
            example("lookup('sites', 'OSLO', 'Region')", "'Nordics'"),
            example("lookup('sites', 'Paris', 'Region', 'elsewhere')", "'elsewhere'"),
            example("lookup('sites', null, 'Site')", "null"),
        ],
        prepare: Some(super::prepare_lookup),
        run: super::lookup,
        ..PLAIN
    },
    Function {
        name: "maildomain",
        parameters: &[TEXT],
        origin: Origin::Own,
        help: "What stands behind the last `@`, in lower case; null without one.",
        examples: &[
            example("maildomain('Adele@Contoso.COM')", "'contoso.com'"),
            example("maildomain('adele')", "null"),
        ],
        run: text::mail_domain,
        ..PLAIN
    },
    Function {
        name: "matchesPattern",
        parameters: &[TEXT, PATTERN, o("flags", Accepts::Text)],
        returns: Returns::Bool,
        help: "Whether the regular expression matches somewhere in the text. Minds case, unless the flags have `i`; other flags are `m`, `s` and `u`.",
        examples: &[
            example("matchesPattern('Alfreds', '^A.*s$')", "true"),
            example("matchesPattern('Alfreds', '^a')", "false"),
            example("matchesPattern('Alfreds', '^a', 'i')", "true"),
        ],
        prepare: Some(pattern::prepare::<2>),
        run: pattern::matches,
        ..PLAIN
    },
    Function {
        name: "maxdatetime",
        returns: Returns::DateTime,
        help: "The latest moment there is.",
        examples: &[example("maxdatetime() gt now()", "true")],
        run: |_| Value::DateTime(Timestamp::MAX.into()),
        ..PLAIN
    },
    Function {
        name: "mindatetime",
        returns: Returns::DateTime,
        help: "The earliest moment there is: the first of the year 1.",
        examples: &[example("mindatetime()", "0001-01-01T00:00:00Z")],
        run: |_| Value::DateTime(EARLIEST.into()),
        ..PLAIN
    },
    Function {
        name: "minute",
        parameters: &[CLOCK],
        returns: Returns::Int,
        help: "The minute.",
        examples: &[example("minute(2024-01-31T12:40:00Z)", "40"), example("minute(04:15)", "15")],
        run: time::minute,
        ..PLAIN
    },
    Function {
        name: "month",
        parameters: &[DAY],
        returns: Returns::Int,
        help: "The month, 1 to 12.",
        examples: &[example("month(2024-05-31)", "5")],
        run: time::month,
        ..PLAIN
    },
    Function {
        name: "normalize",
        parameters: &[TEXT],
        origin: Origin::Own,
        help: "The text trimmed, white space inside it collapsed to single spaces, characters composed (Unicode NFC).",
        examples: &[
            example("normalize('  Adele   Vance ')", "'Adele Vance'"),
            example("length(normalize('e\u{301}'))", "1"),
        ],
        run: text::normalize,
        ..PLAIN
    },
    Function {
        name: "now",
        returns: Returns::DateTime,
        help: "The as-of time of the plan; the same for all records of a run.",
        examples: &[
            example("now()", "2024-06-01T00:00:00Z"),
            example("now() sub duration'P30D'", "2024-05-02T00:00:00Z"),
        ],
        run: |arguments| Value::DateTime(arguments.scope.as_of().into()),
        ..PLAIN
    },
    Function {
        name: "replace",
        parameters: &[TEXT, PART, p("with", Accepts::Text)],
        origin: Origin::Own,
        help: "The text with every such part replaced, ignoring case.",
        examples: &[example("replace('Adele (EXT) Vance', '(ext) ', '')", "'Adele Vance'")],
        run: text::replace,
        ..PLAIN
    },
    Function {
        name: "replacepattern",
        parameters: &[TEXT, PATTERN, p("with", Accepts::Text)],
        origin: Origin::Own,
        help: "The text with every match of the regular expression replaced; `$1` or `${name}` is a group of the match.",
        examples: &[example("replacepattern('Vance, Adele', '^(.*), (.*)$', '$2 $1')", "'Adele Vance'")],
        prepare: Some(pattern::prepare::<{ usize::MAX }>),
        run: pattern::replace,
        ..PLAIN
    },
    Function {
        name: "round",
        parameters: &[NUMBER],
        returns: Returns::First,
        help: "The nearest number without a fraction; half-way ones away from zero.",
        examples: &[example("round(31.5)", "32.0"), example("round(-0.5)", "-1.0"), example("round(7)", "7")],
        run: numbers::round,
        ..PLAIN
    },
    Function {
        name: "second",
        parameters: &[CLOCK],
        returns: Returns::Int,
        help: "The second, without its fraction.",
        examples: &[example("second(12:00:01.25)", "1")],
        run: time::second,
        ..PLAIN
    },
    Function {
        name: "sort",
        parameters: &[LIST],
        returns: Returns::List,
        origin: Origin::Own,
        help: "The values of the list in order; text ignoring case.",
        examples: &[example("sort(['b', 'A', 'c'])", "['A', 'b', 'c']"), example("sort([3, 1, 2])", "[1, 2, 3]")],
        run: lists::sort,
        ..PLAIN
    },
    Function {
        name: "split",
        parameters: &[TEXT, p("separator", Accepts::Text)],
        returns: Returns::Texts,
        origin: Origin::Own,
        help: "The parts of the text between the separators.",
        examples: &[example("split('a;b;c', ';')", "['a', 'b', 'c']"), example("split('', ';')", "['']")],
        run: text::split,
        ..PLAIN
    },
    Function {
        name: "startswith",
        parameters: &[WHOLE, SOME],
        returns: Returns::Bool,
        help: "Whether the text starts with the part, ignoring case, or the list with the other.",
        examples: &[
            example("startswith('Adele Vance', 'ADELE')", "true"),
            example("startswith('Adele Vance', 'Vance')", "false"),
            example("startswith([1, 2, 3], [1, 2])", "true"),
        ],
        run: lists::startswith,
        ..PLAIN
    },
    Function {
        name: "substring",
        parameters: &[WHOLE, p("start", Accepts::Int), o("length", Accepts::Int)],
        returns: Returns::First,
        help: "The text (or list) without its first `start` characters (items), and at most `length` long. A negative start counts from the end.",
        examples: &[
            example("substring('Größe', 2)", "'öße'"),
            example("substring('Größe', 2, 1)", "'ö'"),
            example("substring('abc', 5)", "''"),
            example("substring('abc', -2)", "'bc'"),
            example("substring([1, 2, 3], 1)", "[2, 3]"),
        ],
        run: lists::substring,
        ..PLAIN
    },
    Function {
        name: "substringafter",
        parameters: &[TEXT, PART],
        origin: Origin::Own,
        help: "What follows the first such part of the text, ignoring case; empty if it is not there.",
        examples: &[
            example("substringafter('CN=Adele', '=')", "'Adele'"),
            example("substringafter('Adele', '=')", "''"),
        ],
        run: text::after,
        ..PLAIN
    },
    Function {
        name: "substringbefore",
        parameters: &[TEXT, PART],
        origin: Origin::Own,
        help: "What comes before the first such part of the text, ignoring case; all of it if it is not there.",
        examples: &[
            example("substringbefore('adele@contoso.com', '@')", "'adele'"),
            example("substringbefore('adele', '@')", "'adele'"),
        ],
        run: text::before,
        ..PLAIN
    },
    Function {
        name: "time",
        parameters: &[p("time", Accepts::Moment)],
        returns: Returns::Time,
        help: "The time of day of a moment, where it was written.",
        examples: &[example("time(2024-01-31T23:30:00-05:00)", "23:30:00")],
        run: time::time,
        ..PLAIN
    },
    Function {
        name: "title",
        parameters: &[TEXT],
        origin: Origin::Own,
        help: "Each word with its first letter in upper case and the others in lower case.",
        examples: &[example("title('ADELE vance-smith')", "'Adele Vance-Smith'")],
        run: text::title,
        ..PLAIN
    },
    Function {
        name: "tolower",
        parameters: &[TEXT],
        help: "The text in lower case.",
        examples: &[example("tolower('ÄRGER')", "'ärger'")],
        run: text::to_lower,
        ..PLAIN
    },
    Function {
        name: "totaloffsetminutes",
        parameters: &[p("time", Accepts::Moment)],
        returns: Returns::Int,
        help: "How many minutes the zone that the moment was written in is ahead of UTC.",
        examples: &[
            example("totaloffsetminutes(2024-01-31T12:00:00+02:00)", "120"),
            example("totaloffsetminutes(now())", "0"),
        ],
        run: time::total_offset_minutes,
        ..PLAIN
    },
    Function {
        name: "totalseconds",
        parameters: &[p("duration", Accepts::Duration)],
        returns: Returns::Double,
        help: "The duration in seconds.",
        examples: &[
            example("totalseconds(duration'PT1H')", "3600"),
            example("totalseconds(duration'-PT0.5S')", "-0.5"),
        ],
        run: time::total_seconds,
        ..PLAIN
    },
    Function {
        name: "toupper",
        parameters: &[TEXT],
        help: "The text in upper case.",
        examples: &[example("toupper('ärger')", "'ÄRGER'")],
        run: text::to_upper,
        ..PLAIN
    },
    Function {
        name: "trim",
        parameters: &[TEXT],
        help: "The text without white space at its start and end.",
        examples: &[example("trim('  a b ')", "'a b'")],
        run: text::trim,
        ..PLAIN
    },
    Function {
        name: "year",
        parameters: &[DAY],
        returns: Returns::Int,
        help: "The year.",
        examples: &[example("year(2024-01-31)", "2024")],
        run: time::year,
        ..PLAIN
    },
];
