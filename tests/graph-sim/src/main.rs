//! The simulator as a program: one line with its address on stdout when ready, until SIGTERM or SIGINT.
//!
//! Hides: the command line. Deliberately does not: anything the library cannot do, too.

use std::io;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, ValueEnum};
use graph_sim::{CLIENT_ID, CLIENT_SECRET, Counters, Fault, Options, Quota, Replay, Sim, Size, Tenant};
use serde_json::json;
use tokio::signal::unix::{SignalKind, signal};

/// A Microsoft Graph v1.0 and Entra token endpoint on loopback, with a made-up or recorded tenant in memory.
///
/// Prints `graph-sim: http://127.0.0.1:PORT` when ready. Graph is below /v1.0, tokens come from
/// /TENANT/oauth2/v2.0/token (TENANT: contoso.com, or the id printed on stderr).
#[derive(Parser)]
#[command(name = "graph-sim", after_long_help = MORE_HELP)]
struct Arguments {
    /// Port on 127.0.0.1; 0 takes a free one
    #[arg(long, default_value_t = 0)]
    port: u16,
    /// Users of the synthetic tenant
    #[arg(long, default_value_t = 200)]
    users: usize,
    /// Groups [default: a quarter of the users]
    #[arg(long)]
    groups: Option<usize>,
    /// Direct memberships, about [default: six per user]
    #[arg(long)]
    memberships: Option<usize>,
    /// Devices [default: half as many as users]
    #[arg(long)]
    devices: Option<usize>,
    /// Seed of the synthetic tenant; the same seed gives the same tenant
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Read the tenant from a snapshot folder (users.jsonl, groups.jsonl, memberships.jsonl, …) instead
    #[arg(long, value_name = "DIR", conflicts_with_all = ["users", "groups", "memberships", "devices", "seed"])]
    from: Option<PathBuf>,
    /// Answer from a recording (entra-import extract --record DIR) instead of from a tenant
    #[arg(long, value_name = "DIR", conflicts_with_all = ["from", "users", "groups", "memberships", "devices", "seed"])]
    replay: Option<PathBuf>,
    /// Wait this long before every answer
    #[arg(long, value_name = "MS", default_value_t = 0)]
    latency_ms: u64,
    /// Throttle as a tenant of this size is throttled
    #[arg(long, value_enum, ignore_case = true, default_value = "none")]
    quota: QuotaName,
    /// Misbehave; may be given several times (see below)
    #[arg(long, value_name = "SPEC")]
    fault: Vec<Fault>,
    /// Application permissions in the tokens, separated by commas; empty for a token without roles
    #[arg(long, value_delimiter = ',', default_value = "Directory.Read.All")]
    roles: Vec<String>,
    /// Application (client) id that is registered
    #[arg(long, default_value = CLIENT_ID)]
    client_id: String,
    /// Client secret that is registered
    #[arg(long, default_value = CLIENT_SECRET)]
    client_secret: String,
    /// Life of a token in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 3599)]
    expires_in: i64,
    /// Obey lines on stdin, and end when it ends (see below)
    #[arg(long)]
    control: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum QuotaName {
    /// 3,500 units per 10 s (under 50 users)
    S,
    /// 5,000 units per 10 s (50 to 500 users)
    M,
    /// 8,000 units per 10 s (more than 500 users)
    L,
    /// No throttling
    None,
}

const MORE_HELP: &str = "\
Faults: KIND[:ARGUMENT][,path=TEXT][,nth=N][,every=N][,p=0.1][,seed=N][,times=N][,each=N]
  Kinds:
    429[:AFTER] 503[:AFTER]   AFTER: seconds, date, date+SECONDS, none, or any text (default 1)
    401 403 404 410 500 504   Graph's error body;  502: a proxy's HTML page
    reset                     connection closed before an answer
    cut                       Content-Length promises more than is sent
    slow:MS                   late answer
    truncate                  200 with half of the JSON
    html                      200 with an HTML page
    empty                     a page without items that links to the page it should have been
    duplicate                 the last item comes again on the next page
    foreign[:ORIGIN]          the next link leads to another host
  Conditions, all of which must hold:
    path=TEXT   TEXT occurs in path and query (default /v1.0; use /oauth2/ for tokens)
    nth=N       only the Nth matching request      every=N   every Nth
    p=0.05      with a probability, drawn from seed=N and the address
    times=N     at most N times in all             each=N    at most N times per address, so a retry succeeds
  Examples:
    --fault 429:2,path=/users,times=3       --fault reset,p=0.01,seed=7,each=1
    --fault cut,path=/members,nth=5         --fault 403,path=/groups/GROUP-ID/members

With --control, each line on stdin is a command, answered by one line of JSON on stdout:
    night SHARE   a night passes that changes this share of users, devices and memberships, such as 0.005
    counters      what was asked for since the last time this was asked";

impl Arguments {
    fn tenant(&self) -> io::Result<Tenant> {
        if let Some(folder) = &self.from {
            return Tenant::from_folder(folder);
        }
        let usual = Size::of_users(self.users);
        let size = Size {
            groups: self.groups.unwrap_or(usual.groups),
            memberships: self.memberships.unwrap_or(usual.memberships),
            devices: self.devices.unwrap_or(usual.devices),
            ..usual
        };
        Ok(Tenant::synthetic(self.seed, &size))
    }

    fn options(self) -> Options {
        Options {
            port: self.port,
            roles: self.roles.into_iter().filter(|role| !role.is_empty()).collect(),
            client_id: self.client_id,
            client_secret: self.client_secret,
            expires_in: self.expires_in,
            quota: match self.quota {
                QuotaName::S => Some(Quota::S),
                QuotaName::M => Some(Quota::M),
                QuotaName::L => Some(Quota::L),
                QuotaName::None => None,
            },
            latency: Duration::from_millis(self.latency_ms),
            faults: self.fault,
            // Nobody can ask a separate process for its log; the counters are printed at the end.
            log_requests: false,
            ..Options::default()
        }
    }
}

#[tokio::main]
async fn main() -> ExitCode {
    match run(Arguments::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("graph-sim: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: Arguments) -> io::Result<()> {
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    if let Some(folder) = &arguments.replay {
        let replay = Replay::start(folder, arguments.port).await?;
        println!("graph-sim: {}", replay.base_url());
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        replay.unknown().iter().for_each(|request| eprintln!("graph-sim: not recorded: {request}"));
        return Ok(());
    }
    let tenant = arguments.tenant()?;
    eprintln!("graph-sim: tenant {} ({}), client {}", tenant.id(), tenant.domain(), arguments.client_id);
    let control = arguments.control;
    let sim = Sim::start(tenant, arguments.options()).await?;
    println!("graph-sim: {}", sim.base_url());
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
        () = obey(&sim), if control => {}
    }
    eprintln!("graph-sim: {:?}, peak in flight {}", sim.counters(), sim.peak_in_flight());
    sim.shutdown().await;
    Ok(())
}

/// Does what stdin says until it ends.
async fn obey(sim: &Sim) {
    let (lines, mut commands) = tokio::sync::mpsc::unbounded_channel();
    // Reading stdin blocks, and nothing can call it off: a thread that nobody waits for.
    std::thread::spawn(move || io::stdin().lines().map_while(Result::ok).try_for_each(|line| lines.send(line)));
    let mut nights = 0;
    while let Some(line) = commands.recv().await {
        let words: Vec<&str> = line.split_whitespace().collect();
        let answer = match words[..] {
            ["counters"] => {
                let Counters { graph, batched, tokens, units, throttled, bytes } = sim.counters();
                let peak = sim.peak_in_flight();
                sim.clear_requests();
                json!({
                    "graph": graph, "batched": batched, "tokens": tokens, "units": units, "throttled": throttled,
                    "bytes": bytes, "peak_in_flight": peak,
                })
            }
            ["night", share] => match share.parse::<f64>() {
                Ok(share) if (0.0..=1.0).contains(&share) => {
                    nights += 1;
                    json!({ "changes": sim.tenant().mutate(nights, share) })
                }
                _ => json!({ "error": format!("{share:?} is not a share between 0 and 1") }),
            },
            _ => json!({ "error": format!("{line:?} is no command") }),
        };
        println!("{answer}");
    }
}
