//! The table: one column per run.

use crate::least::Least;
use crate::run::{Run, Step};

/// Steps as the program logs them, with what they are to a reader.
const STEPS: [(&str, &str); 13] = [
    ("ledger", "open and check the ledger"),
    ("extract", "extract"),
    ("confirm", "look up what is missing"),
    ("open", "open the snapshot"),
    ("judge", "judge the scope"),
    ("map", "map"),
    ("target", "read the target"),
    ("compare", "compare"),
    ("identify", "name the plan"),
    ("apply", "apply: in all"),
    ("stage", "apply: write the new files"),
    ("journal", "apply: journal"),
    ("record", "apply: record in the ledger"),
];

/// Prints all runs, each with the least that its read could have cost.
pub fn print(runs: &[(Run, Least)], quota_units_per_s: f64) {
    line("", runs, |run, _| run.name.to_string());
    for (step, words) in STEPS {
        line(&format!("  {words}, s"), runs, |run, _| run.step(step).map_or("-".into(), seconds));
    }
    line("wall time, s", runs, |run, _| format!("{:.2}", run.wall.as_secs_f64()));
    for (step, words) in STEPS {
        line(&format!("  {words}, MB"), runs, |run, _| {
            run.step(step).map_or("-".into(), |step| megabytes(step.peak_kb))
        });
    }
    line("peak memory, MB", runs, |run, _| megabytes(run.peak_kb));
    line("requests", runs, |run, _| run.asked.requests.to_string());
    line("  at least", runs, |_, least| least.requests.to_string());
    line("resource units", runs, |run, _| run.asked.units.to_string());
    line("  at least", runs, |_, least| least.units.to_string());
    line("  quota floor, s", runs, |run, _| format!("{:.1}", run.asked.units as f64 / quota_units_per_s));
    line("most in flight", runs, |run, _| run.asked.in_flight.to_string());
    line("read from Graph, MB", runs, |run, _| format!("{:.1}", run.asked.bytes as f64 / 1e6));
    line("  MB/s of extract", runs, |run, _| {
        run.step("extract").map_or("-".into(), |step| {
            format!("{:.1}", run.asked.bytes as f64 / 1e6 / step.took.as_secs_f64().max(0.001))
        })
    });
    line("records written", runs, |run, _| run.written().to_string());
    let actions: std::collections::BTreeSet<&String> = runs.iter().flat_map(|(run, _)| run.done.keys()).collect();
    for action in actions {
        line(&format!("  {action}"), runs, |run, _| run.done.get(action).copied().unwrap_or_default().to_string());
    }
    line("exit code", runs, |run, _| run.exit.to_string());
}

fn line(name: &str, runs: &[(Run, Least)], cell: impl Fn(&Run, &Least) -> String) {
    let cells: String = runs.iter().map(|(run, least)| format!("{:>16}", cell(run, least))).collect();
    println!("{name:<30}{cells}");
}

fn seconds(step: &Step) -> String {
    format!("{:.2}", step.took.as_secs_f64())
}

fn megabytes(kilobytes: u64) -> String {
    format!("{:.0}", kilobytes as f64 * 1024.0 / 1e6)
}
