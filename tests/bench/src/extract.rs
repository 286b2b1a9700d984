//! Extracts under Microsoft's quota and a real line's latency: what each way to read memberships costs, next to the
//! least it could. Nothing is shortened here: a second is a second.

use std::fs::File;
use std::io;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::least::Least;
use crate::run::{Memory, SECRET_VARIABLE};
use crate::sim::{Asked, CLIENT_SECRET, Sim};
use crate::{QUOTA_UNITS_PER_S, Sizes, write_job};

/// What a round trip to Graph takes from somewhere in the same part of the world.
const LATENCY: Duration = Duration::from_millis(120);
/// The share of the quota that a job spends unless it says otherwise.
const SHARE: f64 = 0.8;

/// One extract.
struct Extract {
    way: &'static str,
    wall: Duration,
    peak_kb: u64,
    asked: Asked,
    least: Least,
    estimate: Value,
    exit: i32,
}

/// Extracts one tenant in each of `ways`, and prints a table.
pub fn print(binaries: &Path, sizes: &Sizes, ways: &[&'static str]) -> io::Result<()> {
    println!(
        "\nextract of {} users, {} groups, about {} memberships ({} % of the groups hold 95 % of them), {} devices;",
        sizes.users, sizes.groups, sizes.memberships, sizes.large_percent, sizes.devices
    );
    println!("Microsoft's quota of a tenant with more than 500 users, {} ms latency\n", LATENCY.as_millis());
    let latency = format!("--latency-ms={}", LATENCY.as_millis());
    let mut extracts = Vec::new();
    for way in ways {
        // A fresh one for each: its quota must be full again.
        let mut sim = Sim::start(&binaries.join("graph-sim"), sizes, &["--quota=L", &latency])?;
        extracts.push(measure(way, binaries, &mut sim)?);
    }
    table(&extracts);
    Ok(())
}

fn measure(way: &'static str, binaries: &Path, sim: &mut Sim) -> io::Result<Extract> {
    let folder = tempfile::tempdir()?;
    let job = write_job(folder.path(), &sim.address, &format!("memberships = \"{way}\"\n"))?;
    let out = folder.path().join("snapshot");
    let began = Instant::now();
    let mut child = Command::new(binaries.join("entra-import"))
        .arg("extract")
        .arg(job)
        .arg("--out")
        .arg(&out)
        .env(SECRET_VARIABLE, CLIENT_SECRET)
        .env("ENTRA_IMPORT_STATE", folder.path().join("state"))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .map_err(|error| io::Error::other(format!("cannot start entra-import: {error}")))?;
    let memory = Memory::of(child.id());
    let ended = AtomicBool::new(false);
    let (status, peak_kb) = thread::scope(|scope| {
        let watch = scope.spawn(|| memory.watch(&ended));
        let status = child.wait();
        ended.store(true, Ordering::Relaxed);
        (status, watch.join().unwrap_or_default())
    });
    let wall = began.elapsed();
    let asked = sim.counters()?;
    let manifest: Value = serde_json::from_reader(File::open(out.join("manifest.json"))?)?;
    let read_by = &manifest["collections"]["memberships"]["read_by"];
    let least = Least::of(&out)?;
    let exit = status?.code().unwrap_or(-1);
    Ok(Extract { way, wall, peak_kb, asked, least, estimate: read_by["estimate"].clone(), exit })
}

/// What the permitted share of the quota takes, in seconds.
fn floor_s(least: Least) -> f64 {
    least.units as f64 / (QUOTA_UNITS_PER_S * SHARE)
}

/// What the longest walk takes, in seconds.
fn chain_s(least: Least) -> f64 {
    least.chain as f64 * LATENCY.as_secs_f64()
}

fn table(extracts: &[Extract]) {
    let line = |name: &str, cell: &dyn Fn(&Extract) -> String| {
        let cells: String = extracts.iter().map(|extract| format!("{:>16}", cell(extract))).collect();
        println!("{name:<38}{cells}");
    };
    let over = |got: u64, least: u64| format!("{:+.1} %", (got as f64 / least as f64 - 1.0) * 100.0);
    line("memberships =", &|extract| extract.way.to_string());
    line("requests", &|extract| extract.asked.requests.to_string());
    line("  at least", &|extract| extract.least.requests.to_string());
    line("  more than that", &|extract| over(extract.asked.requests, extract.least.requests));
    line("resource units", &|extract| extract.asked.units.to_string());
    line("  at least", &|extract| extract.least.units.to_string());
    line("  more than that", &|extract| over(extract.asked.units, extract.least.units));
    line("refused (429)", &|extract| extract.asked.throttled.to_string());
    line("wall time, s", &|extract| format!("{:.2}", extract.wall.as_secs_f64()));
    line("  80 % of the quota allows, s", &|extract| format!("{:.2}", floor_s(extract.least)));
    line("  longest walk, s", &|extract| format!("{:.2}", chain_s(extract.least)));
    line("  wall time / the larger of both", &|extract| {
        format!("{:.2}", extract.wall.as_secs_f64() / floor_s(extract.least).max(chain_s(extract.least)))
    });
    line("estimated for memberships, units", &|extract| extract.estimate["units"].to_string());
    line("estimated for memberships, s", &|extract| extract.estimate["seconds"].to_string());
    line("most in flight", &|extract| extract.asked.in_flight.to_string());
    line("read from Graph, MB", &|extract| format!("{:.1}", extract.asked.bytes as f64 / 1e6));
    line("peak memory, MB", &|extract| format!("{:.0}", extract.peak_kb as f64 * 1024.0 / 1e6));
    line("exit code", &|extract| extract.exit.to_string());
}
