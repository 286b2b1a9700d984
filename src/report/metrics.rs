//! Figures of a run as Prometheus reads them: a file for the textfile collector of its node exporter.
//!
//! Hides names and help of the metrics. Every one is about the last run of a job, so all are gauges.
//! <https://prometheus.io/docs/instrumenting/exposition_formats/#text-based-format>

use std::fmt::Write as _;
use std::io::Write;

use super::figures::Figures;
use super::write_failed;
use crate::error::{Context, Exit, Result};
use crate::plan::change::Action;

/// Writes all metrics of one job.
pub fn write(figures: &Figures, ended_at_s: i64, to: &mut dyn Write) -> Result<()> {
    let mut page = Page { text: String::new(), job: &figures.job };
    let flag = |holds: bool| if holds { 1.0 } else { 0.0 };
    page.one("last_run_timestamp_seconds", "When the job's last run ended.", ended_at_s as f64);
    if let Some(good) = figures.last_good_run {
        page.one(
            "last_good_run_timestamp_seconds",
            "When the last run began that ended with 0.",
            good.as_second() as f64,
        );
    }
    page.one("last_run_duration_seconds", "How long the last run took.", figures.took_s);
    page.one("last_run_exit_code", "How the last run ended.", f64::from(figures.exit));
    page.one("last_run_held", "Whether something waits for approval.", flag(!figures.held.is_empty()));
    let partial = figures.exit == Exit::Partial as u8 || !figures.partial.is_empty();
    page.one("last_run_partial", "Whether something was left out that the job does not accept.", flag(partial));
    page.one("last_run_source_requests", "Requests to Microsoft Graph.", figures.source_requests as f64);
    page.one("last_run_target_requests", "Requests to the target.", figures.target_requests as f64);
    page.one("last_run_throttled_seconds", "How long Graph had the last run wait.", figures.throttled_s);
    page.one(
        "unfinished_runs",
        "Runs before the last one that began and never ended.",
        figures.unfinished.len() as f64,
    );
    if let Some(days) = figures.credential_days_left {
        page.one("credential_days_left", "Whole days until the client secret or certificate ends.", days as f64);
    }
    let told = || Action::ALL.into_iter().filter(|action| *action != Action::Settle);
    for (name, help, done) in [
        ("last_run_planned_changes", "Changes that the last run planned.", false),
        ("last_run_changes", "Changes that the last run made.", true),
    ] {
        let values = figures.types.iter().flat_map(|ty| told().map(move |action| (ty, action)));
        page.many(
            name,
            help,
            values.map(|(ty, action)| {
                let counts = if done { &ty.done } else { &ty.planned };
                let labels = vec![("type", ty.ty.as_str()), ("action", action.word())];
                (labels, counts.get(&action).copied().unwrap_or_default())
            }),
        );
    }
    let outcomes =
        [("rejected", figures.rejected), ("uncertain", figures.uncertain), ("not_attempted", figures.not_attempted)];
    page.many(
        "last_run_not_done",
        "Changes that were planned and not made.",
        outcomes.map(|(word, n)| (vec![("outcome", word)], n)),
    );
    for (name, help, value) in [
        (
            "records_owned",
            "Records that the job owned before the last run.",
            (|ty| ty.owned) as fn(&super::figures::TypeFigures) -> u64,
        ),
        ("records_there", "Records in the target before the last run.", |ty| ty.there),
        ("records_unknown", "Owned records that the last run left alone because their state is not known.", |ty| {
            ty.unknown
        }),
    ] {
        page.many(name, help, figures.types.iter().map(|ty| (vec![("type", ty.ty.as_str())], value(ty))));
    }
    to.write_all(page.text.as_bytes()).failing(write_failed)
}

struct Page<'a> {
    text: String,
    job: &'a str,
}

impl Page<'_> {
    fn head(&mut self, name: &str, help: &str) {
        // Writing to a String cannot fail.
        let _ = writeln!(self.text, "# HELP entra_import_{name} {help}\n# TYPE entra_import_{name} gauge");
    }

    fn one(&mut self, name: &str, help: &str, value: f64) {
        self.head(name, help);
        let _ = writeln!(self.text, "entra_import_{name}{{job=\"{}\"}} {value}", label(self.job));
    }

    fn many<'l>(&mut self, name: &str, help: &str, values: impl IntoIterator<Item = (Vec<(&'l str, &'l str)>, u64)>) {
        let mut values = values.into_iter().peekable();
        if values.peek().is_none() {
            return;
        }
        self.head(name, help);
        for (labels, value) in values {
            let _ = write!(self.text, "entra_import_{name}{{job=\"{}\"", label(self.job));
            for (label_name, text) in labels {
                let _ = write!(self.text, ",{label_name}=\"{}\"", label(text));
            }
            let _ = writeln!(self.text, "}} {value}");
        }
    }
}

/// A label's value, which may hold any text but three signs.
fn label(text: &str) -> String {
    text.replace('\\', r"\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::{examples, golden};
    use jiff::Timestamp;

    fn rendered(figures: &Figures) -> String {
        let mut bytes = Vec::new();
        write(figures, 1_772_330_400, &mut bytes).unwrap();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn every_line_is_a_comment_or_a_sample() {
        let mut figures = Figures::new("contoso", "run", Timestamp::UNIX_EPOCH);
        figures.plan(&examples::everything(), "jobs/contoso.toml", None).unwrap();
        figures.credential_ends = Some("1970-01-13T00:00:00Z".parse().unwrap());
        figures.ended(&Ok(Exit::Held), 41.5, Timestamp::UNIX_EPOCH);
        golden("report/metrics.prom", &rendered(&figures));
        figures.types[0].ty = "a\"} 1\nforged 1\\".into();
        for line in rendered(&figures).lines() {
            assert!(line.starts_with("# ") || line.starts_with("entra_import_"), "{line}");
        }
    }
}
