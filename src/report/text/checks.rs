//! The findings of `check`, for people.

use std::io::Write;

use super::{LABEL_WIDTH, Page, WORDS_WIDTH};
use crate::error::Result;
use crate::report::check::{Check, Verdict};
use crate::report::paint::Tone;
use crate::report::{Detail, View};
use crate::visible::shortened;

/// The findings of one job in full; of several jobs the findings that are not good, then one table.
pub fn checks(checks: &[Check], view: &View, to: &mut dyn Write) -> Result<()> {
    let mut page = Page::new(view, to);
    for check in checks {
        page.findings(check, checks.len() > 1 && view.detail == Detail::Brief);
    }
    if checks.len() > 1 {
        page.check_table(checks);
    }
    page.flush()
}

impl Page<'_> {
    /// What was found, line by line.
    fn findings(&mut self, check: &Check, without_good: bool) {
        let shown = |verdict: Verdict| !without_good || verdict > Verdict::Good;
        if !check.findings.iter().any(|finding| shown(finding.verdict)) {
            return;
        }
        let job = shortened(&check.job, LABEL_WIDTH);
        self.heading(job);
        for finding in check.findings.iter().filter(|finding| shown(finding.verdict)) {
            let verdict = self.verdict(finding.verdict, 7);
            // A mistake in a file is shown with its place, which takes lines.
            let words: Vec<String> = finding.words.lines().map(|line| shortened(line, WORDS_WIDTH)).collect();
            let (about, words) = (shortened(&finding.about, LABEL_WIDTH), words.join("\n           "));
            self.line(format_args!("  {verdict}  {about}: {words}"));
            if let Some(hint) = &finding.hint {
                self.line(format_args!("           to do: {}", shortened(hint, WORDS_WIDTH)));
            }
        }
        self.line("");
    }

    fn verdict(&self, verdict: Verdict, width: usize) -> String {
        let tone = match verdict {
            Verdict::Good => Tone::Good,
            Verdict::Warning => Tone::Update,
            Verdict::Bad => Tone::Bad,
        };
        self.paint.text(tone, format_args!("{:width$}", verdict.word()))
    }

    /// One line for each job.
    fn check_table(&mut self, checks: &[Check]) {
        let names: Vec<String> = checks.iter().map(|check| shortened(&check.job, LABEL_WIDTH)).collect();
        let width = names.iter().map(|name| name.chars().count()).chain([3]).max().unwrap_or_default();
        self.heading(format_args!("{:width$}  {:8} {:>5} {:>8} {:>4}", "Job", "Verdict", "Good", "Warnings", "Bad"));
        for (check, name) in checks.iter().zip(names) {
            let verdict = self.verdict(check.verdict(), 8);
            let [good, warnings, bad] =
                [Verdict::Good, Verdict::Warning, Verdict::Bad].map(|verdict| check.count(verdict));
            self.line(format_args!("{name:width$}  {verdict} {good:>5} {warnings:>8} {bad:>4}"));
        }
        self.line("");
    }
}
