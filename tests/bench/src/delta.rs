//! What a night costs that reads by changes, next to the full read that it replaces.

use std::fs;
use std::io;
use std::path::Path;

use crate::run::Run;
use crate::sim::Sim;

/// Runs a job like `job` that reads by changes: everything once, then the changes of one night. Without
/// licenses of users, whose states no delta query tells: they cost the users' list each night, whatever changed.
pub fn night(program: &Path, job: &Path, state: &Path, sim: &mut Sim, share: f64) -> io::Result<String> {
    let text = fs::read_to_string(job)?;
    let mappings = text.replace("[[mapping]]\nuse = \"csv/license_assignments@1\"\n", "");
    let nightly = mappings
        .replace("name = \"bench\"", "name = \"bench-delta\"")
        .replace("path = \"export\"", "path = \"export-delta\"")
        .replace("csv/users@1\"\n", "csv/users@1\"\nattributes.\"Licenses\" = false\n")
        .replace("[target]\n", "delta = true\n[target]\n");
    let path = job.with_file_name("bench-delta.toml");
    fs::write(&path, nightly)?;
    let full = measured("full read", program, &path, state, sim)?;
    let changes = sim.night(share)?;
    let night = measured("by changes", program, &path, state, sim)?;
    let percent = 100.0 * night.asked.requests as f64 / full.asked.requests.max(1) as f64;
    Ok(format!(
        "a night by changes: {changes} changes in {} requests and {} units, {:.1} s (exit {}); in full: {} requests and {} units, \
         {:.1} s (exit {}); {percent:.2} % of the requests",
        night.asked.requests,
        night.asked.units,
        night.wall.as_secs_f64(),
        night.exit,
        full.asked.requests,
        full.asked.units,
        full.wall.as_secs_f64(),
        full.exit,
    ))
}

fn measured(name: &'static str, program: &Path, job: &Path, state: &Path, sim: &mut Sim) -> io::Result<Run> {
    let mut run = Run::measure(name, program, job, state)?;
    run.asked = sim.counters()?;
    Ok(run)
}
