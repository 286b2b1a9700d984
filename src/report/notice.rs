//! What is said about a run to people who did not see it: a subject and a text, for mail and chat.
//!
//! Says what is held or left out, why, since when, and the exact command to approve. People are named only where that
//! was asked for. Deliberately knows no mail and no chat: what their formats need is escaped where it is sent.

use std::fmt::Write as _;

use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::figures::Figures;
use super::words::note_words;
use crate::plan::change::NoteKind;
use crate::visible::{shortened, visible};

/// A credential that ends within so many days is worth a word.
pub const ENDS_SOON_DAYS: i64 = 30;

/// Characters of a sentence before it is shortened.
const WIDTH: usize = 600;

/// A message about a run.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Notice {
    /// One line.
    pub subject: String,
    /// Lines of plain text without terminal control.
    pub text: String,
}

/// Puts it together.
pub fn notice(figures: &Figures, names: bool) -> Notice {
    let mut text = Text(String::new());
    let subject = subject(figures);
    text.line(&subject);
    since(figures, &mut text);
    failure(figures, names, &mut text);
    held(figures, &mut text);
    left_out(figures, &mut text);
    if names && !figures.named.records.is_empty() {
        text.heading("Records");
        figures.named.records.iter().for_each(|words| text.item(words));
        if figures.named.more > 0 {
            text.item(&format!("and {} more", figures.named.more));
        }
    }
    aside(figures, &mut text);
    if let Some(cost) = &figures.cost {
        text.heading(&cost.to_string());
    }
    if let Some(summary) = &figures.summary {
        text.heading(summary);
    }
    Notice { subject, text: text.0 }
}

fn subject(figures: &Figures) -> String {
    let what = match figures.ended {
        "done" if !figures.unfinished.is_empty() => "done, after a run that died".to_owned(),
        "done" if figures.needs_attention(ENDS_SOON_DAYS) => "done; its credential ends soon".to_owned(),
        "done" => format!("done, {} changes", figures.done()),
        "held" => "held, waits for approval".to_owned(),
        "partial" => "partial: something was left out".to_owned(),
        "sign-in" => "sign-in refused".to_owned(),
        "unreachable" => "not reachable".to_owned(),
        other => other.to_owned(),
    };
    format!("entra-import {}: {what} (exit {})", visible(&figures.job), figures.exit)
}

fn since(figures: &Figures, text: &mut Text) {
    if let (Some(since), 2..) = (figures.since, figures.in_a_row) {
        text.line(&format!("So since {}, {} runs in a row.", moment(since), figures.in_a_row));
    }
    match figures.last_good_run {
        _ if figures.exit == 0 => {}
        Some(good) => text.line(&format!("The last run without anything to tell began at {}.", moment(good))),
        None => text.line("No run of this job has ended with 0 yet."),
    }
}

fn failure(figures: &Figures, names: bool, text: &mut Text) {
    let Some(error) = &figures.error else { return };
    text.heading(&error.what);
    error.because.iter().for_each(|cause| text.item(&format!("because {cause}")));
    if names {
        figures.named.because.iter().for_each(|cause| text.item(&format!("because {cause}")));
    }
    if let Some(hint) = &error.hint {
        text.item(&format!("to do: {hint}"));
    }
}

fn held(figures: &Figures, text: &mut Text) {
    if figures.held.is_empty() {
        return;
    }
    text.heading("Held");
    for held in &figures.held {
        text.item(&format!("{} on {}: {}", held.limit, held.on, held.words));
    }
    if let Some(command) = &figures.approve {
        text.line("To let exactly these records pass on the next run, after a look at the plan:");
        text.line(&format!("    {command}"));
    }
}

fn left_out(figures: &Figures, text: &mut Text) {
    if !figures.partial.is_empty() {
        text.heading("Not read completely");
        figures.partial.iter().for_each(|gap| text.item(&format!("{}: {}", gap.what, gap.reason)));
        text.line("What was not read is not known, and nothing is removed because of it.");
    }
    let urgent = [NoteKind::Collision, NoteKind::Returner, NoteKind::Rejected];
    let notes: Vec<String> = urgent
        .into_iter()
        .filter_map(|kind| figures.notes.get(&kind).map(|n| format!("{n} {}", note_words(kind, *n))))
        .chain(
            [
                (figures.rejected, "rejected by the target"),
                (figures.uncertain, "sent, with an unknown answer"),
                (figures.not_attempted, "not sent"),
            ]
            .into_iter()
            .filter(|(n, _)| *n > 0)
            .map(|(n, words)| format!("{n} {words}")),
        )
        .collect();
    if !notes.is_empty() {
        text.heading("Left out");
        notes.iter().for_each(|words| text.item(words));
    }
}

fn aside(figures: &Figures, text: &mut Text) {
    for run in &figures.unfinished {
        text.heading(&format!("Run {} ({}, {}) began and never ended.", run.run, run.command, moment(run.began)));
    }
    if let (Some(days), Some(ends)) = (figures.credential_days_left, figures.credential_ends)
        && days < ENDS_SOON_DAYS
    {
        let date = ends.to_zoned(TimeZone::UTC).date();
        text.heading(&match days {
            ..0 => format!("The client secret or certificate ended on {date}."),
            days => format!("The client secret or certificate ends in {days} days, on {date}."),
        });
    }
}

fn moment(at: Timestamp) -> String {
    at.strftime("%Y-%m-%d %H:%M UTC").to_string()
}

/// Lines in which text from outside cannot pass for a line of its own.
struct Text(String);

impl Text {
    fn line(&mut self, words: &str) {
        // A command must stay whole; sentences that quote values need not.
        let words = if words.starts_with("    ") { visible(words).into_owned() } else { shortened(words, WIDTH) };
        // Writing to a String cannot fail.
        let _ = writeln!(self.0, "{words}");
    }

    fn heading(&mut self, words: &str) {
        self.0.push('\n');
        self.line(words);
    }

    fn item(&mut self, words: &str) {
        self.line(&format!("  - {words}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Exit;
    use crate::report::applied::Applied;
    use crate::report::figures::Unfinished;
    use crate::report::{examples, golden};

    fn figures() -> Figures {
        let mut figures = Figures::new("contoso", "run", "2026-07-01T02:00:05Z".parse().unwrap());
        figures.plan(&examples::everything(), "jobs/contoso.toml", None).unwrap();
        figures.since = Some("2026-06-29T02:00:05Z".parse().unwrap());
        figures.in_a_row = 3;
        figures.credential_ends = Some("2026-07-13T00:00:00Z".parse().unwrap());
        figures.unfinished =
            vec![Unfinished { run: "7".into(), command: "run".into(), began: "2026-06-30T02:00:05Z".parse().unwrap() }];
        figures.ended(&Ok(Exit::Held), 41.5, figures.began);
        figures
    }

    #[test]
    fn a_message_says_what_why_since_when_and_the_command() {
        let said = notice(&figures(), false);
        golden("report/notice.txt", &format!("{}\n\n{}", said.subject, said.text));
        assert!(!said.text.contains("Lidia") && !said.text.contains("Diego"), "{}", said.text);
    }

    #[test]
    fn people_are_named_for_those_who_ask() {
        let plan = examples::everything();
        let ended = examples::applied(&plan, "the field Name may not be empty");
        let mut figures = figures();
        figures.outcome(&Applied::new(&plan, &ended, examples::effort())).unwrap();
        golden("report/notice-names.txt", &notice(&figures, true).text);
    }

    #[test]
    fn hostile_text_stays_in_its_line() {
        let mut figures = Figures::new("contoso", "run", Timestamp::UNIX_EPOCH);
        figures.plan(&examples::hostile(examples::HOSTILE), "a.toml", None).unwrap();
        figures.ended(&Ok(Exit::Held), 1.0, Timestamp::UNIX_EPOCH);
        let said = notice(&figures, true);
        let control = said.text.chars().find(|c| *c != '\n' && crate::visible::is_hidden(*c));
        assert_eq!((control, said.subject.contains(['\n', '\r'])), (None, false), "{}", said.text);
    }
}
