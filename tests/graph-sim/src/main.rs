//! The simulator as a program: one line with its address on stdout when ready, until SIGTERM or SIGINT.
//!
//! Hides: the command line. Deliberately does not: anything the library cannot do, too.

use std::io;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, ValueEnum};
use graph_sim::{
    CLIENT_ID, CLIENT_SECRET, Counters, Fault, FaultKind, Kind, Options, Quota, Replay, Sim, Size, Tenant,
};
use serde_json::json;
use tokio::signal::unix::{SignalKind, signal};

/// A Microsoft Graph v1.0 and Entra token endpoint on loopback, with a made-up or recorded tenant in memory.
///
/// Try entra-import without a tenant: start it, put what it prints on stderr into a job's [source], and run the job.
/// Prints `graph-sim: http://127.0.0.1:PORT` on stdout when ready. Graph is below /v1.0, tokens come from
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
    /// Share of the groups, in per cent, that holds 95 % of the memberships
    #[arg(long, value_name = "PERCENT", default_value_t = 25, value_parser = clap::value_parser!(u8).range(1..=99))]
    large_percent: u8,
    /// Devices [default: half as many as users]
    #[arg(long)]
    devices: Option<usize>,
    /// Products that the synthetic tenant subscribes to [default: 6]
    #[arg(long)]
    skus: Option<usize>,
    /// Seed of the synthetic tenant; the same seed gives the same tenant
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Read the tenant from a snapshot folder (users.jsonl, groups.jsonl, memberships.jsonl, …) instead
    #[arg(long, value_name = "DIR", conflicts_with_all = ["users", "groups", "memberships", "devices", "skus", "seed"])]
    from: Option<PathBuf>,
    /// Answer from a recording (entra-import extract --record DIR) instead of from a tenant
    #[arg(long, value_name = "DIR", conflicts_with_all = ["from", "users", "groups", "memberships", "devices", "skus", "seed"])]
    replay: Option<PathBuf>,
    /// Milliseconds to wait before every answer; Graph needs about 120
    #[arg(long, value_name = "MS", default_value_t = 0, alias = "latency-ms")]
    latency: u64,
    /// Throttle as a tenant of this size is throttled
    #[arg(long, value_enum, ignore_case = true, default_value = "none")]
    quota: QuotaName,
    /// Let limits recover so many times faster, for a client whose waits are shortened as much
    #[arg(long, value_name = "N", default_value_t = 1.0)]
    time_factor: f64,
    /// Misbehave: a SPEC, or `flaky` or `hostile`; may be given several times (see below)
    #[arg(long, value_name = "SPEC", visible_alias = "fault", value_parser = faults)]
    faults: Vec<Vec<Fault>>,
    /// Print links that lead to this address, for a proxy in front
    #[arg(long, value_name = "URL")]
    public_base: Option<String>,
    /// Never compress answers
    #[arg(long)]
    no_gzip: bool,
    /// A tenant without Entra ID P1: signInActivity is refused
    #[arg(long)]
    not_premium: bool,
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
    /// By the number of users
    Auto,
    /// No throttling
    None,
}

const MORE_HELP: &str = "\
Faults: KIND[:ARGUMENT][,path=TEXT][,method=GET][,nth=N][,every=N][,p=0.1][,seed=N][,times=N][,each=N]
  Kinds:
    429[:AFTER] 503[:AFTER]   AFTER: seconds, date, date+SECONDS, none, or any text (default 1)
    401 403 404 410 500 504   Graph's error body;  502: a proxy's HTML page
    reset                     connection closed before an answer
    cut                       Content-Length promises more than is sent
    slow:MS                   late answer;  drip:MS: a body in eight pieces, each that much later
    truncate                  200 with half of the JSON
    html                      200 with an HTML page
    expired                   links are no longer valid: skiptokens and deltatokens are refused
    stale                     answered by a replica that has not seen the last night (see --control)
    odd                       odd but legal JSON: unknown properties, nulls, escapes, any order
    empty                     a page without items that links to the page it should have been
    duplicate                 the last item comes again on the next page
    endless                   the page links to itself, each time under another token
    untyped                   no object says of what type it is
    nowhere                   404 with an HTML page: there is no such address
    foreign[:ORIGIN]          the next link leads to another host
  Conditions, all of which must hold:
    path=TEXT   TEXT occurs in path and query (default /v1.0; use /oauth2/ for tokens)
    nth=N       only the Nth matching request      every=N   every Nth
    p=0.05      with a probability, drawn from seed=N and the address
    times=N     at most N times in all             each=N    at most N times per address, so a retry succeeds
  Examples:
    --faults 429:2,path=/users,times=3      --faults reset,p=0.01,seed=7,each=1
    --faults cut,path=/members,nth=5        --faults 403,path=/groups/GROUP-ID/members
  By name, and nothing a client may not survive:
    flaky       one request in thirty fails once: 429, 503, 500, 502, 504, reset, cut
    hostile     one in four, twice; and odd JSON, empty pages, duplicates, expired links

A tenant to try the program with, throttled and slow as a real one, and a little unreliable:
    cargo run -p graph-sim -- --port 8085 --users 5000 --quota auto --latency 120 --faults flaky

With --control, each line on stdin is a command, answered by one line of JSON on stdout:
    night SHARE   a night passes that changes this share of users, devices and memberships, such as 0.005
    counters      what was asked for since the last time this was asked";

/// A fault, or a well-known mixture of them.
fn faults(text: &str) -> Result<Vec<Fault>, String> {
    let mixed = |kinds: &[&str], rest: &str| {
        let one = |(seed, kind): (usize, &&str)| format!("{kind},{rest},seed={seed}").parse();
        kinds.iter().enumerate().map(one).collect()
    };
    let transient = ["429:1", "503:none", "500", "502", "504", "reset", "cut"];
    match text {
        "flaky" => mixed(&transient, "p=0.005,each=1"),
        "hostile" => {
            let mut all: Vec<Fault> = mixed(&transient, "p=0.03,each=2")?;
            all.extend(mixed(&["odd", "empty", "duplicate"], "p=0.05")?);
            all.extend(mixed(&["expired"], "p=0.01,times=1")?);
            Ok(all)
        }
        spec => spec.parse().map(|fault| vec![fault]),
    }
}

impl Arguments {
    fn tenant(&self) -> io::Result<Tenant> {
        if let Some(folder) = &self.from {
            return Tenant::from_folder(folder);
        }
        let usual = Size::of_users(self.users);
        let size = Size {
            groups: self.groups.unwrap_or(usual.groups),
            memberships: self.memberships.unwrap_or(usual.memberships),
            large_percent: self.large_percent.into(),
            devices: self.devices.unwrap_or(usual.devices),
            skus: self.skus.unwrap_or(usual.skus),
            ..usual
        };
        Ok(Tenant::synthetic(self.seed, &size))
    }

    fn options(self, tenant: &Tenant) -> Options {
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
                QuotaName::Auto => Some(Quota::of_users(tenant.count(Kind::User))),
                QuotaName::None => None,
            },
            time_factor: self.time_factor,
            latency: Duration::from_millis(self.latency),
            faults: self.faults.into_iter().flatten().collect(),
            public_base: self.public_base.map(|base| base.trim_end_matches('/').to_owned()),
            gzip: !self.no_gzip,
            premium: !self.not_premium,
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
    let counts = Kind::ALL.map(|kind| format!("{} {}", tenant.count(kind), kind.set())).join(", ");
    eprintln!("graph-sim: {counts}, {} memberships", tenant.membership_count());
    let control = arguments.control;
    let options = arguments.options(&tenant);
    let lags = options.faults.iter().any(|fault| fault.kind == FaultKind::Stale);
    let (id, client_id, secret) = (tenant.id().to_owned(), options.client_id.clone(), options.client_secret.clone());
    let public = options.public_base.clone();
    let sim = Sim::start(tenant, options).await?;
    let (address, graph) = (sim.base_url(), public.unwrap_or_else(|| sim.base_url()));
    eprintln!("graph-sim: for a job, with the secret in the environment as ENTRA_SECRET='{secret}':\n\n    [source]");
    eprintln!("    tenant     = \"{id}\"\n    client_id  = \"{client_id}\"");
    eprintln!("    credential = {{ secret = {{ env = \"ENTRA_SECRET\" }} }}");
    eprintln!("    authority  = \"{address}\"\n    graph      = \"{graph}\"\n");
    println!("graph-sim: {address}");
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
        () = obey(&sim, lags), if control => {}
    }
    eprintln!("graph-sim: {:?}, peak in flight {}", sim.counters(), sim.peak_in_flight());
    sim.shutdown().await;
    Ok(())
}

/// Does what stdin says until it ends.
async fn obey(sim: &Sim, lags: bool) {
    let mut commands = sim_server::commands();
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
                    // Only then: it copies the tenant.
                    if lags {
                        sim.lag();
                    }
                    json!({ "changes": sim.tenant().mutate(nights, share) })
                }
                _ => json!({ "error": format!("{share:?} is not a share between 0 and 1") }),
            },
            _ => json!({ "error": format!("{line:?} is no command") }),
        };
        println!("{answer}");
    }
}
