//! How several jobs went: one line each, and a total.
//!
//! Its last line is an interface, as those of [`super::summary`] are. Deliberately looks at figures alone:
//! what each job had to say stands above.

use std::io::Write;

use super::figures::Figures;
use super::paint::{Paint, Tone};
use super::words::grouped;
use super::{View, write_failed};
use crate::error::{Context, Error, Exit, Result};
use crate::plan::change::Action;
use crate::visible::{shortened, visible};

/// Characters of what a person must know before it is cut.
const WHY_WIDTH: usize = 100;

/// One job of several.
pub struct Row {
    /// Its name, or its file where that could not be read.
    pub job: String,
    pub exit: Exit,
    pub figures: Option<Figures>,
    /// Why it ended before its end.
    pub error: Option<String>,
}

impl Row {
    /// A job that ended, with whatever is known of it.
    pub fn new(file: &str, figures: Option<Figures>, ended: &Result<Exit>) -> Row {
        let job = figures.as_ref().map_or_else(|| file.to_owned(), |figures| figures.job.clone());
        let exit = ended.as_ref().map_or_else(|error| error.exit, |exit| *exit);
        let first_line = |error: &Error| error.what.lines().next().unwrap_or_default().to_owned();
        Row { job, exit, figures, error: ended.as_ref().err().map(first_line) }
    }

    /// What a person must know, in a few words.
    fn why(&self) -> String {
        let Some(figures) = self.figures.as_ref().filter(|_| self.error.is_none()) else {
            return self.error.clone().unwrap_or_default();
        };
        let held = figures.held.iter().map(|held| format!("{} on {}", held.limit, held.on));
        let gaps = figures.partial.iter().map(|gap| format!("{} incomplete", gap.what));
        let not_done = figures.rejected + figures.uncertain + figures.not_attempted;
        let not_done = (not_done > 0).then(|| format!("{} not done", grouped(not_done)));
        held.chain(gaps).chain(not_done).collect::<Vec<_>>().join(", ")
    }
}

/// The table. Counts are of what was done, in a dry run of what would be.
pub fn table(rows: &[Row], view: &View, to: &mut dyn Write) -> Result<()> {
    let paint = Paint { on: view.colour };
    let names: Vec<String> = rows.iter().map(|row| visible(&row.job).into_owned()).collect();
    let width = names.iter().map(|name| name.chars().count()).chain([3]).max().unwrap_or_default();
    let head = format!(
        "{:width$}  {:11} {:>9} {:>9} {:>9} {:>8} {:>7}",
        "Job", "Ended", "New", "Updated", "Removed", "Requests", "Seconds"
    );
    let mut text = format!("\n{}\n", paint.text(Tone::Strong, head));
    for (row, name) in rows.iter().zip(&names) {
        let tone = match row.exit {
            Exit::Done | Exit::Pending => Tone::Good,
            Exit::Held | Exit::Partial => Tone::Update,
            _ => Tone::Bad,
        };
        let ended = paint.text(tone, format_args!("{:11}", row.exit.word()));
        let mut line = match &row.figures {
            Some(figures) => {
                let [new, updated, removed] = counts(figures).map(grouped);
                let (requests, took) = (grouped(figures.source_requests + figures.target_requests), figures.took_s);
                format!("{name:width$}  {ended} {new:>9} {updated:>9} {removed:>9} {requests:>8} {took:>7.1}")
            }
            None => format!("{name:width$}  {ended} {:>9} {:>9} {:>9} {:>8} {:>7}", "-", "-", "-", "-", "-"),
        };
        let why = row.why();
        if !why.is_empty() {
            line.push_str("  ");
            line.push_str(&shortened(&why, WHY_WIDTH));
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    let failed = rows.iter().filter(|row| row.exit != Exit::Done).count();
    text.push_str(&format!("{} jobs: {} done, {failed} to look at\n", rows.len(), rows.len() - failed));
    to.write_all(text.as_bytes()).failing(write_failed)
}

/// New, updated, removed.
fn counts(figures: &Figures) -> [u64; 3] {
    let of = |actions: &[Action]| {
        let counts = figures.types.iter().map(|ty| if figures.is_applied { &ty.done } else { &ty.planned });
        counts.flatten().filter(|(action, _)| actions.contains(action)).map(|(_, n)| n).sum()
    };
    [
        of(&[Action::Create, Action::Adopt, Action::Return]),
        of(&[Action::Update]),
        of(&[Action::Retire, Action::Delete, Action::Forget]),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::applied::Applied;
    use crate::report::{examples, golden};
    use jiff::Timestamp;

    #[test]
    fn each_job_is_a_line() {
        let plan = examples::everything();
        let all = examples::all_done(&plan);
        let mut done = Figures::new("contoso", "run", Timestamp::UNIX_EPOCH);
        done.plan(&plan, "contoso.toml", None).unwrap();
        let mut held = Figures { job: "fabrikam".into(), ..done.clone() };
        held.took_s = 12.34;
        done.outcome(&Applied::new(&plan, &all, examples::effort())).unwrap();
        done.held.clear();
        done.partial.clear();
        let rows = [
            Row::new("contoso.toml", Some(done), &Ok(Exit::Done)),
            Row::new("fabrikam.toml", Some(held), &Ok(Exit::Held)),
            Row::new("jobs/tailspin.toml", None, &Err(Error::usage("the job tailspin.toml is wrong:\n  | \u{1b}[2J"))),
        ];
        let mut bytes = Vec::new();
        table(&rows, &View::default(), &mut bytes).unwrap();
        golden("report/jobs.txt", &String::from_utf8(bytes).unwrap());
    }
}
