//! Tests of every format against files that are reviewed like code. `BLESS=1 cargo test` rewrites them.

use std::path::Path;

use proptest::prelude::*;

use super::applied::Applied;
use super::examples::{HOSTILE, all_done, applied, checks, effort, everything, hostile, nothing};
use super::{Detail, Format, View, text};
use crate::error::Result;
use crate::visible::is_hidden;

/// Compares with a file under `tests/data`, or writes it.
pub(crate) fn golden(file: &str, actual: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(file);
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(&path, actual).unwrap();
        return;
    }
    let expected = std::fs::read_to_string(&path).unwrap_or_default();
    if expected != actual {
        let difference = similar::TextDiff::from_lines(expected.as_str(), actual);
        panic!("{file} differs (BLESS=1 accepts it):\n{}", difference.unified_diff().context_radius(2));
    }
}

fn view(detail: Detail) -> View {
    View { job_file: "jobs/contoso.toml".to_string(), colour: false, detail, price: None }
}

fn rendered(render: impl FnOnce(&mut dyn std::io::Write) -> Result<()>) -> String {
    let mut bytes = Vec::new();
    render(&mut bytes).unwrap();
    String::from_utf8(bytes).unwrap()
}

#[test]
fn plans() {
    let extension = |format| match format {
        Format::Text => "txt",
        Format::Json => "json",
        Format::Csv => "csv",
    };
    for (name, plan) in [("everything", everything()), ("nothing", nothing()), ("hostile", hostile(HOSTILE))] {
        for format in [Format::Text, Format::Json, Format::Csv] {
            let text = rendered(|to| format.plan(&plan, &view(Detail::Brief), to));
            golden(&format!("report/{name}.{}", extension(format)), &text);
        }
    }
    let long = "Very long ".repeat(45);
    golden("report/long.txt", &rendered(|to| text::plan(&hostile(&long), &view(Detail::Brief), to)));
}

#[test]
fn plans_in_more_detail_and_colour() {
    let plan = everything();
    golden("report/everything-all.txt", &rendered(|to| text::plan(&plan, &view(Detail::All), to)));
    golden("report/everything-full.txt", &rendered(|to| text::plan(&plan, &view(Detail::Full), to)));
    let colour = View { colour: true, ..view(Detail::Brief) };
    let coloured = rendered(|to| text::plan(&plan, &colour, to));
    assert!(coloured.contains('\u{1b}'));
    let stripped = anstream::adapter::strip_str(&coloured).to_string();
    assert_eq!(stripped, rendered(|to| text::plan(&plan, &view(Detail::Brief), to)), "colour adds nothing but colour");
}

#[test]
fn changes_are_shown_whatever_the_header_counts() {
    let mut plan = everything();
    let expected = rendered(|to| text::plan(&plan, &view(Detail::Brief), to));
    plan.header.types.iter_mut().for_each(|ty| ty.counts.changes.clear());
    let shown = rendered(|to| text::plan(&plan, &view(Detail::Brief), to));
    let records =
        |text: &str| text.lines().filter(|line| line.contains("Johanna Lorenz") || line.contains("5 more to")).count();
    assert_eq!((records(&shown), records(&expected)), (2, 2));
}

#[test]
fn only_what_needs_a_person() {
    golden("report/attention.txt", &rendered(|to| text::attention(&everything(), &view(Detail::Brief), to)));
    assert_eq!(rendered(|to| text::attention(&nothing(), &view(Detail::Brief), to)), "");
}

#[test]
fn outcomes() {
    let plan = everything();
    let outcome = applied(&plan, "the field Name may not be empty");
    let outcome = Applied::new(&plan, &outcome, effort());
    golden("report/outcome.txt", &rendered(|to| Format::Text.applied(&outcome, &view(Detail::Brief), to)));
    golden("report/outcome.json", &rendered(|to| Format::Json.applied(&outcome, &view(Detail::Brief), to)));
    golden("report/outcome.csv", &rendered(|to| Format::Csv.applied(&outcome, &view(Detail::Brief), to)));
    let (plan, outcome) = (nothing(), all_done(&nothing()));
    let outcome = Applied::new(&plan, &outcome, effort());
    let quiet = rendered(|to| Format::Text.applied(&outcome, &view(Detail::Brief), to));
    golden("report/outcome-quiet.txt", &quiet);
    assert_eq!(quiet.lines().count(), 1, "a quiet night is one line");
}

#[test]
fn findings() {
    let found = checks("fabrikam");
    golden("report/check.txt", &rendered(|to| Format::Text.checks(&found, &view(Detail::Brief), to)));
    golden("report/check-one.txt", &rendered(|to| Format::Text.checks(&found[..1], &view(Detail::Brief), to)));
    golden("report/check.json", &rendered(|to| Format::Json.checks(&found, &view(Detail::Brief), to)));
    golden("report/check.csv", &rendered(|to| Format::Csv.checks(&found, &view(Detail::Brief), to)));
}

/// Everything that is printed with `text` in every place it can stand, in all formats.
fn all_output(text: &str) -> Vec<String> {
    let plan = hostile(text);
    let outcome = applied(&plan, text);
    let outcome = Applied::new(&plan, &outcome, effort());
    let found = checks(text);
    let mut outputs = vec![rendered(|to| text::attention(&plan, &view(Detail::Brief), to))];
    for detail in [Detail::Brief, Detail::All, Detail::Full] {
        let view = View { job_file: text.to_string(), ..view(detail) };
        for format in [Format::Text, Format::Json, Format::Csv] {
            outputs.push(rendered(|to| format.plan(&plan, &view, to)));
            outputs.push(rendered(|to| format.applied(&outcome, &view, to)));
            outputs.push(rendered(|to| format.checks(&found, &view, to)));
        }
    }
    outputs
}

fn assert_harmless(text: &str) {
    for output in all_output(text) {
        let hidden = output.chars().find(|c| *c != '\n' && is_hidden(*c));
        assert_eq!(hidden, None, "in {output}");
        let control = output.chars().find(|c| *c != '\n' && (c.is_control() || ('\u{202a}'..='\u{202e}').contains(c)));
        assert_eq!(control, None, "in {output}");
    }
}

#[test]
fn hostile_text_never_becomes_terminal_control() {
    assert_harmless(HOSTILE);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn no_text_becomes_terminal_control(
        text in "([\u{0}-\u{20}\u{7f}-\u{9f}\u{200b}-\u{200f}\u{2028}-\u{202e}\u{2066}-\u{2069}]|[a-c\"=\\\\]|.){1,90}"
    ) {
        assert_harmless(&text);
    }
}
