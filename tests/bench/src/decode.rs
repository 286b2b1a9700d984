//! What decoding costs: the pages of all users drained with the program's own HTTP client, against the same pages read
//! into a snapshot. In this very process, without latency, quota or waits.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::Path;
use std::time::Instant;

use entra_import::clock::Clock;
use entra_import::http::{Endpoint, Http, HttpSettings, Lane, Pace, Request, Response};
use entra_import::record::Collection;
use entra_import::source::{Credential, Source, SourceConfig, SourceNeeds};
use serde_json::Value;
use url::Url;

use crate::Sizes;
use crate::sim::{CLIENT_ID, CLIENT_SECRET, Sim};

/// What a usual job reads of a user.
const PROPERTIES: [&str; 16] = [
    "accountEnabled",
    "assignedLicenses",
    "businessPhones",
    "city",
    "companyName",
    "country",
    "createdDateTime",
    "department",
    "displayName",
    "employeeId",
    "jobTitle",
    "licenseAssignmentStates",
    "mail",
    "officeLocation",
    "userPrincipalName",
    "userType",
];
/// Each is measured so often; the best counts, since other work only ever makes it slower.
const ROUNDS: usize = 5;
const TIME_FACTOR: u32 = 10_000;

/// One way to take the pages.
#[derive(Clone, Copy, Default)]
struct Taken {
    bytes: u64,
    wall_s: f64,
    /// Of this process, all threads; the simulator's is not in it.
    cpu_s: f64,
}

/// Measures both and prints them.
pub fn print(binaries: &Path, sizes: &Sizes) -> io::Result<()> {
    let mut sim = Sim::start(&binaries.join("graph-sim"), sizes, &[])?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let address: Url = sim.address.parse().map_err(io::Error::other)?;
    let (mut drained, mut decoded) = (Taken::default(), Taken::default());
    for _ in 0..ROUNDS {
        keep_best(&mut drained, measure(&mut sim, || runtime.block_on(drain(&address)))?);
        keep_best(&mut decoded, measure(&mut sim, || runtime.block_on(extract(&address)))?);
    }
    println!(
        "\n{} users, each with {} properties and the manager: {:.1} MB of pages; best of {ROUNDS} rounds\n",
        sizes.users,
        PROPERTIES.len(),
        drained.bytes as f64 / 1e6
    );
    println!("{:<38}{:>16}{:>16}{:>16}", "", "drained", "into a snapshot", "speed");
    let row = |name: &str, drained: f64, decoded: f64| {
        println!("{name:<38}{drained:>16.2}{decoded:>16.2}{:>15.0}%", drained / decoded * 100.0);
    };
    row("wall time, s", drained.wall_s, decoded.wall_s);
    row("processor time of the program, s", drained.cpu_s, decoded.cpu_s);
    println!("{:<38}{:>16.0}{:>16.0}", "MB/s", rate(drained), rate(decoded));
    Ok(())
}

fn rate(taken: Taken) -> f64 {
    taken.bytes as f64 / 1e6 / taken.wall_s
}

fn keep_best(best: &mut Taken, taken: Taken) {
    if best.wall_s == 0.0 || taken.wall_s < best.wall_s {
        *best = taken;
    }
}

fn measure(sim: &mut Sim, take: impl FnOnce() -> Result<(), String>) -> io::Result<Taken> {
    let (began, cpu) = (Instant::now(), cpu_s());
    take().map_err(io::Error::other)?;
    let (wall_s, cpu_s) = (began.elapsed().as_secs_f64(), cpu_s() - cpu);
    Ok(Taken { bytes: sim.counters()?.bytes, wall_s, cpu_s })
}

/// Processor time of this process so far: user and system, in clock ticks of a hundredth of a second.
/// <https://man7.org/linux/man-pages/man5/proc_pid_stat.5.html>
pub fn cpu_s() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields = stat.rsplit_once(") ").map_or("", |(_, fields)| fields).split(' ');
    fields.skip(11).take(2).filter_map(|ticks| ticks.parse::<f64>().ok()).sum::<f64>() / 100.0
}

/// Reads all users into a snapshot.
async fn extract(address: &Url) -> Result<(), String> {
    let mut config = SourceConfig::new("contoso.com", CLIENT_ID, Credential::Secret(CLIENT_SECRET.to_owned().into()));
    (config.authority, config.graph) = (address.clone(), address.clone());
    let http = Http::new(Clock::scaled(TIME_FACTOR), HttpSettings::default());
    let needs = SourceNeeds {
        properties: BTreeMap::from([(Collection::Users, PROPERTIES.map(str::to_owned).into())]),
        expand_manager: true,
        ..SourceNeeds::default()
    };
    let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
    let source = Source::new(config, &http).map_err(|error| error.to_string())?;
    let read = source.extract(&needs, &(), &folder.path().join("snapshot")).await;
    read.map(drop).map_err(|error| error.to_string())
}

/// Takes the same pages and looks at nothing but the link to the next one.
async fn drain(address: &Url) -> Result<(), String> {
    let http = Http::new(Clock::scaled(TIME_FACTOR), HttpSettings::default());
    let endpoint = Endpoint::new(address.clone()).map_err(|error| error.to_string())?;
    let pace = Pace { units_per_s: 1e6, burst_units: 1e6, in_flight_max: 16 };
    let lane = http.lane(&endpoint, CLIENT_ID, pace).map_err(|error| error.to_string())?;
    let token = token(&lane, address).await?;
    // What the program asks for, in its order.
    let mut names = BTreeSet::from(PROPERTIES);
    names.insert("id");
    let names: Vec<&str> = names.into_iter().collect();
    let query = format!("$select={}&$expand=manager($select=id)&$top=999", names.join(","));
    let mut next = Some(format!("{address}v1.0/users?{query}"));
    while let Some(link) = next {
        let url = link.parse().map_err(|_| format!("{link} is no address"))?;
        let request = Request::get(url).bearer(&token).map_err(|error| error.to_string())?;
        next = lane.fetch(&request, |page| Ok(link_of(page))).await.map_err(|error| error.to_string())?;
    }
    Ok(())
}

/// The link of a page: the simulator puts it before the elements.
fn link_of(page: &Response) -> Option<String> {
    const NAME: &[u8] = b"\"@odata.nextLink\":\"";
    let head = &page.body[..page.body.len().min(4096)];
    let start = head.windows(NAME.len()).position(|window| window == NAME)? + NAME.len();
    let end = start + head[start..].iter().position(|byte| *byte == b'"')?;
    String::from_utf8(head[start..end].to_vec()).ok()
}

async fn token(lane: &Lane, address: &Url) -> Result<String, String> {
    let form = format!(
        "client_id={CLIENT_ID}&client_secret={CLIENT_SECRET}&grant_type=client_credentials\
         &scope=https%3A%2F%2Fgraph.microsoft.com%2F.default"
    );
    let url = format!("{address}contoso.com/oauth2/v2.0/token").parse().map_err(|_| "no address".to_owned())?;
    let mut request = Request::post(url, form);
    let form_type = "application/x-www-form-urlencoded".parse().map_err(|_| "no header".to_owned())?;
    request.headers.insert("content-type", form_type);
    let answer = lane.send(&request).await.map_err(|error| error.to_string())?;
    let answer: Value = serde_json::from_slice(&answer.body).map_err(|error| error.to_string())?;
    answer["access_token"].as_str().map(str::to_owned).ok_or_else(|| "no token".to_owned())
}
