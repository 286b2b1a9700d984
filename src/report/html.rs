//! A plan or an outcome as one HTML file that works offline: searched, filtered and read in any browser.
//!
//! The file is a fixed page, a fixed style, a fixed script (`html/`), and the data as JSON in a script element of a
//! type that no browser runs. Nothing of the data is ever markup: in the JSON `<`, `>` and `&` are escapes, so that
//! no text can end its element, and the script puts texts into the page as text alone. A content security policy
//! with the hashes of style and script says the same to the browser: nothing else is loaded, run or sent. Changes are
//! written one by one, so memory follows the number of different names and causes. Hides the layout of the data;
//! deliberately decides nothing, and shows no value that `private` takes out.
//!
//! <https://developer.mozilla.org/docs/Web/HTTP/Guides/CSP>

use std::collections::HashMap;
use std::io::Write;

use serde::{Serialize, Serializer};
use sha2::{Digest, Sha256};

use super::applied::{Applied, Totals};
use super::cost::Cost;
use super::csv::outcome_words;
use super::{Detail, View, private, summary, words, write_failed};
use crate::error::{Context, Result};
use crate::json;
use crate::plan::change::{Action, AttributeChange, Change, Difference, Note, NoteKind};
use crate::plan::datum::Datum;
use crate::plan::policy::CauseKind;
use crate::plan::{Header, Plan};
use crate::record::base64url;

const STYLE: &str = include_str!("html/page.css");
const SCRIPT: &str = include_str!("html/page.js");

/// Writes a plan, and what became of it where it was applied.
pub fn write(plan: &Plan, applied: Option<&Applied<'_>>, view: &View, to: &mut dyn Write) -> Result<()> {
    let plan = &*private::shown(plan)?;
    page(to, |to| data(plan, applied, view, to)).failing(write_failed)?
}

/// The page around the data. Style and script stand in it as they were hashed.
fn page(to: &mut dyn Write, data: impl FnOnce(&mut dyn Write) -> Result<()>) -> std::io::Result<Result<()>> {
    let hash = |text: &str| format!("'sha256-{}='", base64url(&Sha256::digest(text)));
    write!(
        to,
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src {}; script-src {}; \
         base-uri 'none'; form-action 'none'\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n<meta name=\"referrer\" content=\"no-referrer\">\n\
         <title>entra-import report</title>\n<style>{STYLE}</style>\n</head>\n<body>\n\
         <noscript>This report shows itself with a script that is part of this file. Allow scripts for it, or read the \
         plan with <code>entra-import plan</code>.</noscript>\n\
         <script type=\"application/json\" id=\"data\">",
        hash(STYLE),
        hash(SCRIPT),
    )?;
    if let Err(error) = data(to) {
        return Ok(Err(error));
    }
    write!(to, "</script>\n<script>{SCRIPT}</script>\n</body>\n</html>\n")?;
    Ok(Ok(()))
}

/// Everything above the changes.
#[derive(Serialize)]
struct Head<'a> {
    format: &'static str,
    program: &'static str,
    header: &'a Header,
    /// The line that ends the text form.
    summary: String,
    /// The command that lets pass what is held.
    approve: Option<String>,
    outcome: Option<Outcome<'a>>,
    cost: Option<String>,
}

#[derive(Serialize)]
struct Outcome<'a> {
    run: &'a str,
    took_ms: u64,
    requests: u64,
    totals: &'a Totals,
}

/// One change. Names and causes are numbers of the lists that follow the changes.
#[derive(Serialize)]
struct ChangeRow<'a>(
    Action,
    usize,
    #[serde(serialize_with = "shown")] &'a dyn std::fmt::Display,
    &'a str,
    Option<usize>,
    Vec<AttributeRow<'a>>,
    /// What became of it, where that was not what was planned.
    #[serde(skip_serializing_if = "Option::is_none")]
    Option<(&'static str, String)>,
);

/// Name, before, after, why; the values are left out where they are private.
#[derive(Serialize)]
struct AttributeRow<'a>(usize, Option<[&'a Datum; 2]>, Option<&'a str>);

#[derive(Serialize)]
struct NoteRow<'a>(
    NoteKind,
    &'a str,
    #[serde(serialize_with = "shown")] &'a dyn std::fmt::Display,
    &'a str,
    &'a str,
    Option<DifferenceRow<'a>>,
);

/// Name; in Entra, in the target, written last. Without values where they are private.
#[derive(Serialize)]
struct DifferenceRow<'a>(&'a str, Option<(&'a Datum, &'a Datum, Option<&'a Datum>)>);

fn shown<S: Serializer>(value: &&dyn std::fmt::Display, to: S) -> std::result::Result<S::Ok, S::Error> {
    to.collect_str(value)
}

/// Texts that occur again and again, by the order in which they were met.
#[derive(Default)]
struct Names(HashMap<String, usize>);

impl Names {
    fn number(&mut self, name: &str) -> usize {
        if let Some(number) = self.0.get(name) {
            return *number;
        }
        let number = self.0.len();
        self.0.insert(name.to_owned(), number);
        number
    }

    fn list(&self) -> Vec<&str> {
        let mut names: Vec<(&str, usize)> = self.0.iter().map(|(name, number)| (name.as_str(), *number)).collect();
        names.sort_unstable_by_key(|(_, number)| *number);
        names.into_iter().map(|(name, _)| name).collect()
    }
}

fn data(plan: &Plan, applied: Option<&Applied<'_>>, view: &View, to: &mut dyn Write) -> Result<()> {
    let mut rows = Rows { to, line: Vec::new() };
    let head = head(plan, applied, view);
    rows.open(&head)?;
    let mut outcomes = not_done(applied)?;
    let (mut attributes, mut causes) = (Names::default(), Names::default());
    let mut first = true;
    for change in plan.typed_changes() {
        let (ty, change) = change?;
        if change.action == Action::Settle && view.detail < Detail::Full {
            continue;
        }
        let outcome = outcomes.remove(&(change.action, change.ty.clone(), change.key.to_string()));
        rows.row(&mut first, &row(ty, &change, outcome, &mut attributes, &mut causes))?;
    }
    rows.raw("],\"notes\":[")?;
    let mut first = true;
    for note in plan.notes() {
        rows.row(&mut first, &note_row(note))?;
    }
    rows.raw("],\"attributes\":")?;
    rows.value(&attributes.list())?;
    rows.raw(",\"causes\":")?;
    rows.value(&causes.list())?;
    rows.raw("}")
}

fn head<'a>(plan: &'a Plan, applied: Option<&'a Applied<'a>>, view: &View) -> Head<'a> {
    let header = &plan.header;
    Head {
        format: "report/1",
        program: concat!("entra-import ", env!("CARGO_PKG_VERSION")),
        header,
        summary: applied.map_or_else(|| summary::plan(plan), summary::applied),
        approve: words::approve_command(header, &view.job_file).filter(|_| header.preview.is_none()),
        cost: view.price.as_ref().map(|price| Cost::of(header, price).to_string()),
        outcome: applied.map(|applied| Outcome {
            run: &applied.effort.run,
            took_ms: u64::try_from(applied.effort.took.as_millis()).unwrap_or(u64::MAX),
            requests: applied.effort.source_requests + applied.effort.target_requests,
            totals: &applied.totals,
        }),
    }
}

pub(super) type NotDone = HashMap<(Action, String, String), (&'static str, String)>;

/// What was not done, by the change it belongs to.
pub(super) fn not_done(applied: Option<&Applied<'_>>) -> Result<NotDone> {
    let mut outcomes = NotDone::new();
    for not_done in applied.into_iter().flat_map(Applied::not_done) {
        let not_done = not_done?;
        let (word, reason) = outcome_words(&not_done.outcome);
        let of = (not_done.action, not_done.ty.clone(), not_done.key.to_string());
        outcomes.insert(of, (word, reason.to_owned()));
    }
    Ok(outcomes)
}

fn row<'a>(
    ty: usize,
    change: &'a Change,
    outcome: Option<(&'static str, String)>,
    attributes: &mut Names,
    causes: &mut Names,
) -> ChangeRow<'a> {
    // A new record has nothing where nothing is written.
    let says = |attribute: &&AttributeChange| {
        change.action != Action::Create
            || attribute.hidden
            || !attribute.before.is_empty()
            || !attribute.after.is_empty()
    };
    let attribute = |attribute: &'a AttributeChange| {
        let values = (!attribute.hidden).then_some([&attribute.before, &attribute.after]);
        AttributeRow(attributes.number(&attribute.name), values, attribute.cause.as_deref())
    };
    // The kind stands before the words: the page groups by it.
    let cause = change.cause.as_ref().map(|cause| causes.number(&format!("{}\n{}", kind(cause.kind), cause.words)));
    let shown = change.attributes.iter().filter(says).map(attribute).collect();
    ChangeRow(change.action, ty, &change.key, &change.label, cause, shown, outcome)
}

/// The heading under which the page lists causes.
fn kind(cause: CauseKind) -> &'static str {
    match cause {
        CauseKind::Gone => "gone from Entra ID",
        CauseKind::Disabled => "disabled",
        CauseKind::Out => "out of scope",
        CauseKind::Returned => "returned",
        CauseKind::Recreated => "recreated",
        CauseKind::Undone => "taken back by undo",
    }
}

fn note_row(note: &Note) -> NoteRow<'_> {
    let difference = note.attribute.as_ref().map(|difference| {
        let Difference { name, desired, current, applied, hidden } = difference;
        DifferenceRow(name, (!hidden).then_some((desired, current, applied.as_ref())))
    });
    NoteRow(note.kind, &note.ty, &note.key, &note.label, &note.words, difference)
}

/// JSON on its way into the page.
struct Rows<'a> {
    to: &'a mut dyn Write,
    line: Vec<u8>,
}

impl Rows<'_> {
    /// Writes an object up to its closing brace, and begins the list of changes in it.
    fn open(&mut self, head: &Head<'_>) -> Result<()> {
        let mut line = Vec::new();
        let head = json::line(head, &mut line)?;
        escaped(&head[..head.len() - 1], self.to).failing(write_failed)?;
        self.raw(",\"changes\":[")
    }

    fn row(&mut self, first: &mut bool, row: &impl Serialize) -> Result<()> {
        self.raw(if std::mem::take(first) { "\n" } else { ",\n" })?;
        self.value(row)
    }

    fn value(&mut self, value: &impl Serialize) -> Result<()> {
        escaped(json::line(value, &mut self.line)?, self.to).failing(write_failed)
    }

    fn raw(&mut self, text: &str) -> Result<()> {
        self.to.write_all(text.as_bytes()).failing(write_failed)
    }
}

/// JSON in which nothing can end a script element or begin a comment. The three characters stand in texts only, where
/// an escape means the same. (What is no plain letter in JavaScript, as U+2028, is an escape in all our JSON.)
///
/// <https://html.spec.whatwg.org/multipage/scripting.html#restrictions-for-contents-of-script-elements>
fn escaped(json: &[u8], to: &mut dyn Write) -> std::io::Result<()> {
    let mut rest = json;
    while let Some(at) = rest.iter().position(|byte| matches!(byte, b'<' | b'>' | b'&')) {
        to.write_all(&rest[..at])?;
        write!(to, "\\u{:04x}", rest[at])?;
        rest = &rest[at + 1..];
    }
    to.write_all(rest)
}

#[cfg(test)]
mod browser;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::examples;
    use proptest::prelude::*;

    fn rendered(plan: &Plan, applied: Option<&Applied<'_>>) -> String {
        let view = View { job_file: "jobs/contoso.toml".into(), ..View::default() };
        let mut bytes = Vec::new();
        write(plan, applied, &view, &mut bytes).unwrap();
        String::from_utf8(bytes).unwrap()
    }

    /// The data element's content, and the page without it.
    fn parts(page: &str) -> (&str, String) {
        let (before, rest) = page.split_once("id=\"data\">").unwrap();
        let (data, after) = rest.split_once("</script>").unwrap();
        (data, format!("{before}{after}"))
    }

    #[test]
    fn the_page_around_the_data_is_always_the_same() {
        let empty = parts(&rendered(&examples::nothing(), None)).1;
        for text in ["</script><script>alert(1)</script>", "<!--<script>", "]]>&lt;\u{2028}\u{2029}\"'`${1}"] {
            let page = rendered(&examples::hostile(text), None);
            let (data, around) = parts(&page);
            assert_eq!(around, empty, "{text}");
            let value: serde_json::Value = serde_json::from_str(data).unwrap();
            assert_eq!(value["header"]["job"], text, "the text is there, as text");
            assert!(!data.contains(['<', '>', '&', '\u{2028}', '\u{2029}']));
        }
    }

    #[test]
    fn the_policy_allows_this_style_and_this_script_and_nothing_else() {
        let page = rendered(&examples::nothing(), None);
        let policy = page.split("Content-Security-Policy\" content=\"").nth(1).unwrap().split('"').next().unwrap();
        assert!(policy.starts_with("default-src 'none'; ") && !policy.contains("unsafe"), "{policy}");
        assert_eq!(policy.matches("'sha256-").count(), 2);
        // What a browser would hash is what stands between the tags.
        for (open, close) in [("<style>", "</style>"), ("<script>", "</script>")] {
            let content = page.split(open).nth(1).unwrap().split(close).next().unwrap();
            assert!(policy.contains(&base64url(&Sha256::digest(content))), "{open}");
        }
        let addresses = page.matches("://").count() - page.matches("http://www.w3.org/2000/svg").count();
        assert_eq!(addresses, 0, "nothing leads elsewhere; the one address names SVG and is never asked");
    }

    #[test]
    fn every_change_and_note_is_there_with_its_outcome() {
        let plan = examples::everything();
        let ended = examples::applied(&plan, "the field Name may not be empty");
        let applied = Applied::new(&plan, &ended, examples::effort());
        let page = rendered(&plan, Some(&applied));
        let data: serde_json::Value = serde_json::from_str(parts(&page).0).unwrap();
        let settles = plan.changes().filter(|change| change.as_ref().unwrap().action == Action::Settle).count();
        let changes = data["changes"].as_array().unwrap();
        assert_eq!(changes.len(), plan.len() - settles);
        assert_eq!(data["notes"].as_array().unwrap().len(), plan.notes().len());
        let not_done = changes.iter().filter(|change| change[6] != serde_json::Value::Null).count();
        let settled = applied.not_done().filter(|not| not.as_ref().unwrap().action == Action::Settle).count();
        assert_eq!(not_done as u64, applied.totals.all_not_done() - settled as u64);
        assert_eq!(
            data["approve"],
            "entra-import approve jobs/contoso.toml ".to_owned() + &plan.header.id + " --limit retires --limit shrink"
        );
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn no_text_becomes_markup(text in "(<|>|/|!|-|&|;|script|style|\u{2028}|\"|'|.){1,60}") {
            let page = rendered(&examples::hostile(&text), None);
            let (_, around) = parts(&page);
            let nothing = rendered(&examples::nothing(), None);
            prop_assert_eq!(around, parts(&nothing).1);
        }
    }
}
