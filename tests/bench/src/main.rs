//! What a run costs: time, memory, requests and writes of the real program against a simulated tenant.
//!
//! Starts `graph-sim` and `entra-import` as processes of their own, so that the memory measured is the program's alone,
//! and prints a table for each part that is asked for, all of them if none is: `extract` (under Microsoft's quota and
//! a line's latency, next to the least it could cost), `decode` (against draining the same bytes), `expr` (the
//! expression language alone: no processes, no files), `runs` (a first run, one with nothing changed, one after a night;
//! waits for the quota are shortened away), `jsm` (the same into Jira Service Management Assets, under Atlassian's limits),
//! `plan` (comparing alone, and the ledger's share of applying; `BENCH_PLAN` users, a million if it is not said) and
//! `million`. Asserts nothing.

mod assets;
mod decode;
mod delta;
mod expr;
mod extract;
mod least;
mod plan;
mod run;
mod sim;
mod table;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::{env, fs, io};

use least::Least;
use run::Run;
use sim::Sim;

/// The program's.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Resource units per second that Microsoft grants one app in a tenant of more than 500 users.
/// <https://learn.microsoft.com/graph/throttling-limits>
const QUOTA_UNITS_PER_S: f64 = 800.0;

/// Mappings of the job that is measured: everything that is read becomes a file.
const MAPPINGS: [&str; 7] =
    ["users", "groups", "memberships", "nestings", "licenses", "license_assignments", "devices"];

/// The tenant that issue and documents speak of when they name a time.
const LARGE: Sizes =
    Sizes { users: 100_000, groups: 50_000, memberships: 820_000, large_percent: 13, devices: 0, night: 0.0 };
/// One that fits a company of a thousand: the longest walk, not the quota, bounds it.
const SMALL: Sizes =
    Sizes { users: 1_000, groups: 400, memberships: 9_000, large_percent: 25, devices: 800, night: 0.0 };
/// What must fit into 2 GB.
const MILLION: Sizes =
    Sizes { users: 1_000_000, groups: 100_000, memberships: 5_000_000, large_percent: 25, devices: 0, night: 0.0 };

/// The sizes of the tenant for `runs`, each from an environment variable.
struct Sizes {
    users: u64,
    groups: u64,
    memberships: u64,
    /// The share of the groups that hold nearly all memberships.
    large_percent: u64,
    devices: u64,
    /// The share that changes in a night.
    night: f64,
}

impl Sizes {
    fn from_environment() -> io::Result<Sizes> {
        Ok(Sizes {
            users: number("BENCH_USERS", 100_000)?,
            groups: number("BENCH_GROUPS", 10_000)?,
            memberships: number("BENCH_MEMBERSHIPS", 500_000)?,
            large_percent: 25,
            devices: number("BENCH_DEVICES", 50_000)?,
            night: number("BENCH_NIGHT", 0.005)?,
        })
    }
}

/// A number from the environment.
fn number<T: std::str::FromStr>(name: &str, default: T) -> io::Result<T> {
    match env::var(name) {
        Err(_) => Ok(default),
        Ok(text) => text.parse().map_err(|_| io::Error::other(format!("{name}={text} is not a number"))),
    }
}

fn main() -> ExitCode {
    match bench() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error}");
            ExitCode::FAILURE
        }
    }
}

fn bench() -> io::Result<()> {
    let own = env::current_exe()?;
    let binaries = own.parent().unwrap_or(Path::new("."));
    let asked: Vec<String> = env::args().skip(1).collect();
    let wanted = |part: &str| asked.is_empty() || asked.iter().any(|asked| asked == part);
    if let Some(unknown) = asked
        .iter()
        .find(|part| !["extract", "decode", "expr", "plan", "runs", "jsm", "million"].contains(&part.as_str()))
    {
        return Err(io::Error::other(format!(
            "{unknown} is no part: extract, decode, expr, plan, runs, jsm or million"
        )));
    }
    println!("{}", machine());
    if wanted("extract") {
        extract::print(binaries, &LARGE, &["auto", "expand"])?;
        extract::print(binaries, &SMALL, &["auto", "expand", "per-group"])?;
        extract::print(binaries, &Sizes { groups: 10_000, memberships: 300_000, ..LARGE }, &["auto", "per-group"])?;
    }
    if wanted("decode") {
        decode::print(binaries, &LARGE)?;
    }
    if wanted("expr") {
        expr::bench(1_000_000)?;
    }
    if wanted("plan") {
        plan::print(&binaries.join("entra-import"), number("BENCH_PLAN", 1_000_000)?)?;
    }
    if wanted("million") {
        extract::print(binaries, &MILLION, &["auto"])?;
    }
    if wanted("jsm") {
        assets::print(binaries)?;
    }
    if wanted("runs") {
        runs(binaries, &Sizes::from_environment()?)?;
    }
    Ok(())
}

/// Three runs of a job, one after the other.
fn runs(binaries: &Path, sizes: &Sizes) -> io::Result<()> {
    let folder = tempfile::tempdir()?;
    println!(
        "\nruns: {} users, {} groups, about {} memberships, {} devices",
        sizes.users, sizes.groups, sizes.memberships, sizes.devices
    );
    let mut sim = Sim::start(&binaries.join("graph-sim"), sizes, &[])?;
    let job = write_job(folder.path(), &sim.address, "")?;
    let program = binaries.join("entra-import");
    let state = folder.path().join("state");
    let measured = |name: &'static str, sim: &mut Sim| -> io::Result<(Run, Least)> {
        let mut run = Run::measure(name, &program, &job, &state)?;
        run.asked = sim.counters()?;
        Ok((run, Least::of(&newest(&state.join("bench/snapshots"))?)?))
    };
    let mut runs = vec![measured("first run", &mut sim)?, measured("no change", &mut sim)?];
    let changes = sim.night(sizes.night)?;
    runs.push(measured("after a night", &mut sim)?);
    println!("the night: {changes} changes, {} % of what there is\n", sizes.night * 100.0);
    table::print(&runs, QUOTA_UNITS_PER_S);
    println!("\n{}", delta::night(&program, &job, &state, &mut sim, sizes.night)?);
    println!("\nwritten in the end: {}", files(&folder.path().join("export"))?);
    Ok(())
}

/// What the figures depend on.
fn machine() -> String {
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let memory = fs::read_to_string("/proc/meminfo").ok().and_then(|text| run::kilobytes(&text, "MemTotal:"));
    let model = fs::read_to_string("/proc/cpuinfo").ok().and_then(|text| {
        let line = text.lines().find(|line| line.starts_with("model name"))?;
        line.split_once(':').map(|(_, model)| model.trim().to_string())
    });
    format!(
        "machine: {cores} cores ({}), {:.0} GB, {} {}",
        model.as_deref().unwrap_or("unknown model"),
        memory.unwrap_or_default() as f64 / 1e6,
        env::consts::OS,
        env::consts::ARCH
    )
}

/// A job that reads everything and may change as much as it likes: limits are not what is measured.
/// `source` is added to `[source]`.
fn write_job(folder: &Path, address: &str, source: &str) -> io::Result<PathBuf> {
    let mappings: String = MAPPINGS.map(|name| format!("[[mapping]]\nuse = \"csv/{name}@1\"\n")).concat();
    let limits: String = ["removals", "links_removed", "updates", "creates", "one_attribute", "shrink"]
        .map(|limit| format!("{limit} = {{ percent = 100 }}\n"))
        .concat();
    let job = format!(
        "format = \"job/1\"\nname = \"bench\"\n[source]\ntenant = \"contoso.com\"\nclient_id = \"{}\"\n\
         credential = {{ secret = {{ env = \"{}\" }} }}\nauthority = \"{address}\"\ngraph = \"{address}\"\n{source}\
         [target]\nkind = \"csv\"\npath = \"export\"\n[limits]\n{limits}{mappings}",
        sim::CLIENT_ID,
        run::SECRET_VARIABLE,
    );
    let path = folder.join("bench.toml");
    fs::write(&path, job)?;
    Ok(path)
}

/// The last entry of a folder, by name.
fn newest(folder: &Path) -> io::Result<PathBuf> {
    let entries: Vec<PathBuf> = fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect::<io::Result<_>>()?;
    entries.into_iter().max().ok_or_else(|| io::Error::other(format!("{} is empty", folder.display())))
}

/// Name and size of each file.
fn files(folder: &Path) -> io::Result<String> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        files.push(format!("{} {} MB", entry.file_name().to_string_lossy(), entry.metadata()?.len() >> 20));
    }
    files.sort();
    Ok(files.join(", "))
}
