//! What nights into Jira Service Management Assets cost: requests, writes, and a first load against the pace of creates.
//!
//! Program and stand-in live in a time that runs [`TIME_FACTOR`] times faster, so that the published limits and the job's own
//! pace hold in it; seconds are printed as they would be for a real site. What the machine itself computes is thus counted
//! ten times over: the figures err on the slow side.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::Sizes;
use crate::run::{Run, SECRET_VARIABLE};
use crate::sim::{CLIENT_ID, Sim};

const SIZES: Sizes =
    Sizes { users: 10_000, groups: 1_000, memberships: 80_000, large_percent: 25, devices: 0, night: 0.01 };
const LICENSES: u32 = 50;
/// How much faster time runs.
const TIME_FACTOR: u32 = 10;
/// The pace of creates that the job asks for, which is the default.
const CREATES_PER_MINUTE: f64 = 600.0;

/// A run, and what Assets was asked for during it.
struct Night {
    run: Run,
    requests: u64,
    writes: u64,
    creates: u64,
}

pub fn print(binaries: &Path) -> io::Result<()> {
    let folder = tempfile::tempdir()?;
    let (program, state) = (binaries.join("entra-import"), folder.path().join("state"));
    let factor = TIME_FACTOR.to_string();
    let mut graph = Sim::start(&binaries.join("graph-sim"), &SIZES, &["--skus", &LICENSES.to_string()])?;
    let mut assets = Sim::assets(&binaries.join("jsm-sim"), &["--limits", "--time-factor", &factor])?;
    let job = write_job(folder.path(), &graph.address, &assets.address)?;
    println!(
        "\njsm: {} users, {} groups, about {} memberships, {LICENSES} licenses; 2,000 creates and 500 searches a minute, of which \
         the job spends {CREATES_PER_MINUTE:.0} and 450; pages of 500",
        SIZES.users, SIZES.groups, SIZES.memberships,
    );
    let setup = std::process::Command::new(&program)
        .arg("setup")
        .arg(&job)
        .env(SECRET_VARIABLE, crate::sim::CLIENT_SECRET)
        .env("ENTRA_IMPORT_TIME_FACTOR", "10000")
        .output()?;
    if !setup.status.success() {
        return Err(io::Error::other(String::from_utf8_lossy(&setup.stderr).into_owned()));
    }
    assets.ask("counters")?;
    let night = |name: &'static str, assets: &mut Sim| -> io::Result<Night> {
        let run = Run::measure_at(&factor, name, &program, &job, &state)?;
        let asked = assets.ask("counters")?;
        let requests = asked["requests"].as_object().into_iter().flatten();
        Ok(Night {
            requests: requests.filter_map(|(_, count)| count.as_u64()).sum(),
            creates: asked["requests"]["POST object/create"].as_u64().unwrap_or_default(),
            writes: asked["writes"].as_u64().unwrap_or_default(),
            run,
        })
    };
    let first = night("first load", &mut assets)?;
    let quiet = night("no change", &mut assets)?;
    let changes = graph.night(SIZES.night)?;
    let busy = night("after a night", &mut assets)?;
    println!("the night: {changes} changes of users, groups and memberships, {} %\n", SIZES.night * 100.0);
    let nights = [first, quiet, busy];
    line("", &nights, |night| night.run.name.to_string());
    line("requests to Assets", &nights, |night| night.requests.to_string());
    line("  writes", &nights, |night| night.writes.to_string());
    line("  creates", &nights, |night| night.creates.to_string());
    line("changes of the plan", &nights, |night| night.run.written().to_string());
    line("apply, s", &nights, |night| seconds(apply(&night.run)));
    line("whole run, s", &nights, |night| seconds(night.run.wall));
    line("peak memory, MB", &nights, |night| format!("{:.0}", night.run.peak_kb as f64 * 1024.0 / 1e6));
    line("exit code", &nights, |night| night.run.exit.to_string());
    let floor_s = nights[0].creates as f64 / CREATES_PER_MINUTE * 60.0;
    let took_s = apply(&nights[0].run).as_secs_f64() * f64::from(TIME_FACTOR);
    println!(
        "\nfirst load: {took_s:.0} s, the pace of creates allows {floor_s:.0} s: {:.3}",
        took_s / floor_s.max(1.0)
    );
    Ok(())
}

fn apply(run: &Run) -> Duration {
    run.step("apply").map_or(Duration::ZERO, |step| step.took)
}

fn seconds(took: Duration) -> String {
    format!("{:.0}", took.as_secs_f64() * f64::from(TIME_FACTOR))
}

fn line(name: &str, nights: &[Night], cell: impl Fn(&Night) -> String) {
    let cells: String = nights.iter().map(|night| format!("{:>16}", cell(night))).collect();
    println!("{name:<30}{cells}");
}

/// The shipped mappings, and limits that hold nothing: they are not what is measured.
fn write_job(folder: &Path, graph: &str, assets: &str) -> io::Result<PathBuf> {
    let limits: String = ["removals", "links_removed", "updates", "creates", "one_attribute", "shrink"]
        .map(|limit| format!("{limit} = {{ percent = 100 }}\n"))
        .concat();
    let mappings: String =
        ["license", "group", "user"].map(|name| format!("[[mapping]]\nuse = \"jsm-assets/{name}@1\"\n")).concat();
    let job = format!(
        "format = \"job/1\"\nname = \"bench-jsm\"\n[source]\ntenant = \"contoso.com\"\nclient_id = \"{CLIENT_ID}\"\n\
         credential = {{ secret = {{ env = \"{SECRET_VARIABLE}\" }} }}\nauthority = \"{graph}\"\ngraph = \"{graph}\"\n\
         [target]\nkind = \"jsm-assets\"\nsite = \"{assets}\"\napi = \"{assets}\"\nschema = \"Entra ID\"\n\
         credential = {{ basic = {{ user = \"importer@contoso.com\", password = {{ env = \"{SECRET_VARIABLE}\" }} }} }}\n\
         [removal]\ndefault = [{{ delete = {{}} }}]\n[limits]\n{limits}{mappings}",
    );
    let path = folder.join("bench-jsm.toml");
    fs::write(&path, job)?;
    Ok(path)
}
