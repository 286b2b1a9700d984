//! The simulator as a program: one line with its address on stdout when ready, until SIGTERM or SIGINT.
//!
//! Hides the command line. Deliberately does not: anything the library cannot do, too.

use std::io;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, ValueEnum};
use jsm_sim::{Account, Fault, Flavour, Options, Person, Proof, Right, Sim, Store, Stored, Totals};
use serde_json::{Value, json};
use tokio::signal::unix::{SignalKind, signal};

/// A Jira Service Management Assets on loopback, Cloud or Data Center, empty at first.
///
/// Try entra-import, or any other Assets client, without a site. Prints `jsm-sim: http://127.0.0.1:PORT` on stdout when
/// ready; that address stands for the site, the gateway api.atlassian.com and the sign-in host alike.
#[derive(Parser)]
#[command(name = "jsm-sim", after_long_help = MORE_HELP)]
struct Arguments {
    /// Port on 127.0.0.1; 0 takes a free one
    #[arg(long, default_value_t = 0)]
    port: u16,
    /// Which product to play
    #[arg(long, value_enum, default_value = "cloud")]
    flavour: FlavourName,
    /// Make a schema, as an administrator would by hand: NAME=KEY
    #[arg(long, value_name = "NAME=KEY", value_parser = schema)]
    schema: Option<(String, String)>,
    /// One who has an account on the site: NAME=MAIL; may be given several times
    #[arg(long, value_name = "NAME=MAIL", value_parser = pair)]
    person: Vec<(String, String)>,
    /// The account that may sign in with --token on Cloud
    #[arg(long, default_value = jsm_sim::EMAIL)]
    email: String,
    /// Its API token on Cloud; on Data Center the personal access token
    #[arg(long)]
    token: Option<String>,
    /// The token has scopes: on Cloud it is good below /ex/jira/{cloudId} alone
    #[arg(long)]
    scoped: bool,
    /// What the account may do
    #[arg(long, value_enum, default_value = "manage")]
    right: RightName,
    /// The most objects on a page
    #[arg(long, value_name = "N", default_value_t = 1000)]
    page_max: usize,
    /// Leave `total` out of pages
    #[arg(long)]
    no_total: bool,
    /// Seconds until a write reaches searches
    #[arg(long, value_name = "SECONDS", default_value_t = 0.0)]
    index_delay: f64,
    /// Limit requests as published: 2,000 creates and 500 searches a minute
    #[arg(long)]
    limits: bool,
    /// Objects that the plan includes
    #[arg(long, value_name = "N")]
    objects_max: Option<usize>,
    /// Let time pass so many times faster, for a client whose waits are shortened as much
    #[arg(long, value_name = "N", default_value_t = 1.0)]
    time_factor: f64,
    /// Milliseconds to wait before every answer
    #[arg(long, value_name = "MS", default_value_t = 0)]
    latency: u64,
    /// Misbehave (see below); may be given several times
    #[arg(long, value_name = "SPEC", visible_alias = "fault")]
    faults: Vec<Fault>,
    /// Obey lines on stdin, and end when it ends (see below)
    #[arg(long)]
    control: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum FlavourName {
    Cloud,
    DataCenter,
}

#[derive(Clone, Copy, ValueEnum)]
enum RightName {
    Nothing,
    Read,
    Write,
    Manage,
}

const MORE_HELP: &str = "\
Faults: KIND[:ARGUMENT][,path=TEXT][,method=POST][,nth=N][,every=N][,p=0.1][,seed=N][,times=N][,each=N]
    429[:SECONDS|none] 503[:SECONDS|none]   with Retry-After, or without; nothing is done
    500 504             nothing is done;  502: the gateway's HTML page
    login               200 with the HTML page of a sign-on;  redirect[:ADDRESS]: 302; nothing is done
    reset               the connection is closed; nothing is done
    cut                 done, and then the connection is closed without an answer
    done:STATUS         done, and answered with this status all the same
    slow:MS             done, and answered that much later
    short               a page shows half of its objects and says that there are more
    twice               the last object of a page stands on it twice
    same                whatever page is asked for, the first one comes, and whether it is the last is not said
    bare                objects come without their attributes
    odd                 unknown members, any order, null for what is empty, values where they are shown alone
  Examples: --faults 429:3,path=/object/create,every=50     --faults cut,path=/object/create,nth=2

With --control, each line on stdin is a command, answered by one line of JSON on stdout; fields are separated by |
    counters                                requests since the last time this was asked
    advance|SECONDS                         time passes
    show|TYPE                               the objects of a type
    set|TYPE|LABEL|ATTRIBUTE|VALUE          a person edits an object
    delete|TYPE|LABEL                       a person deletes one";

fn pair(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("write NAME=VALUE")?;
    Ok((name.to_owned(), value.to_owned()))
}

fn schema(text: &str) -> Result<(String, String), String> {
    pair(text).map_err(|_| "write NAME=KEY, such as People=ENT".to_owned())
}

impl Arguments {
    fn options(&self) -> Options {
        let flavour = match self.flavour {
            FlavourName::Cloud => Flavour::Cloud,
            FlavourName::DataCenter => Flavour::DataCenter,
        };
        let mut options = Options::of(flavour);
        if let Some(token) = self.token.clone() {
            let scoped = self.scoped;
            let proof = match flavour {
                Flavour::Cloud => Proof::Basic { user: self.email.clone(), password: token, scoped },
                Flavour::DataCenter => Proof::Bearer { token, scoped },
            };
            options.accounts = vec![Account { name: "given".into(), proof, right: Right::Manage }];
        }
        let right = match self.right {
            RightName::Nothing => Right::Nothing,
            RightName::Read => Right::Read,
            RightName::Write => Right::Write,
            RightName::Manage => Right::Manage,
        };
        options.accounts.iter_mut().for_each(|account| account.right = right);
        Options {
            port: self.port,
            page_max: self.page_max.max(1),
            totals: if self.no_total { Totals::Absent } else { Totals::Exact },
            index_delay: Duration::from_secs_f64(self.index_delay.max(0.0)),
            creates_per_minute: self.limits.then_some(2000),
            searches_per_minute: self.limits.then_some(500),
            objects_max: self.objects_max,
            time_factor: self.time_factor,
            latency: Duration::from_millis(self.latency),
            faults: self.faults.clone(),
            // Nobody can ask a separate process for its log.
            log_requests: false,
            ..options
        }
    }
}

#[tokio::main]
async fn main() -> ExitCode {
    match run(Arguments::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("jsm-sim: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: Arguments) -> io::Result<()> {
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let mut store = Store::new();
    if let Some((name, key)) = &arguments.schema {
        store.add_schema(name, key, "");
    }
    store.people = (1..).zip(&arguments.person).map(|(n, (name, mail))| person(n, name, mail)).collect();
    let options = arguments.options();
    let (sim, told) = (Sim::start(store, options.clone()).await?, options);
    eprintln!("jsm-sim: the Assets API is at {}", sim.assets_url());
    eprintln!("jsm-sim: for a job:\n\n{}", job_lines(&arguments, &told, &sim.base_url()));
    println!("jsm-sim: {}", sim.base_url());
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
        () = obey(&sim), if arguments.control => {}
    }
    sim.counters().iter().for_each(|(name, count)| eprintln!("jsm-sim: {count:>6} {name}"));
    sim.shutdown().await;
    Ok(())
}

fn person(n: u32, name: &str, mail: &str) -> Person {
    Person { account: format!("5b10ac8d82e05b22cc7d{n:04}"), name: name.to_owned(), email: Some(mail.to_owned()) }
}

/// What a job says to reach this simulator, and the environment that its credential needs.
fn job_lines(arguments: &Arguments, options: &Options, base: &str) -> String {
    let schema = arguments.schema.as_ref().map_or("Entra ID", |(name, _)| name.as_str());
    let (credential, token) = match options.accounts.first().map(|account| &account.proof) {
        Some(Proof::Basic { user, password, .. }) => {
            (format!("{{ basic = {{ user = \"{user}\", password = {{ env = \"JIRA_TOKEN\" }} }} }}"), password.as_str())
        }
        Some(Proof::Bearer { token, .. }) => ("{ bearer = { env = \"JIRA_TOKEN\" } }".to_owned(), token.as_str()),
        _ => ("{ client = { id = \"…\", secret = { env = \"JIRA_TOKEN\" } } }".to_owned(), ""),
    };
    let more = match options.flavour {
        Flavour::Cloud if arguments.scoped => format!("api        = \"{base}\"\ntoken      = \"scoped\"\n"),
        Flavour::Cloud => format!("api        = \"{base}\"\n"),
        Flavour::DataCenter => "flavour    = \"data-center\"\n".to_owned(),
    };
    let job = format!(
        "[target]\nkind       = \"jsm-assets\"\nsite       = \"{base}\"\n{more}schema     = \"{schema}\"\n\
         credential = {credential}\n\nexport JIRA_TOKEN={token}\n"
    );
    job.lines().map(|line| if line.is_empty() { "\n".to_owned() } else { format!("    {line}\n") }).collect()
}

/// Does what stdin says until it ends.
async fn obey(sim: &Sim) {
    let mut commands = sim_server::commands();
    while let Some(line) = commands.recv().await {
        let words: Vec<&str> = line.split('|').collect();
        let answer = command(sim, &words).unwrap_or_else(|error| json!({"error": error}));
        println!("{answer}");
    }
}

fn command(sim: &Sim, words: &[&str]) -> Result<Value, String> {
    match words {
        ["counters"] => {
            let counters =
                json!({"requests": sim.counters(), "writes": sim.writes(), "peak_in_flight": sim.peak_in_flight()});
            sim.clear_requests();
            Ok(counters)
        }
        ["advance", seconds] => {
            let seconds: f64 = seconds.parse().map_err(|_| format!("{seconds:?} is no number"))?;
            sim.advance(Duration::from_secs_f64(seconds.max(0.0)));
            Ok(json!({"ok": true}))
        }
        ["show", ty] => {
            let store = sim.read_store();
            let of = |object: &&jsm_sim::Object| store.types[&object.ty].name.eq_ignore_ascii_case(ty);
            let shape = |object: &jsm_sim::Object| {
                let attributes = store.attributes_of(object.ty).into_iter().filter(|attribute| !attribute.system);
                let held = attributes.map(|a| (a.name.clone(), json!(store.shown_values(object, &a.name))));
                Value::Object(held.filter(|(_, values)| *values != json!([])).collect())
            };
            Ok(store.objects.values().filter(of).map(shape).collect())
        }
        ["set", ty, label, attribute, value] => {
            let id = named(sim, ty, label)?;
            let mut store = sim.store();
            let mut object = store.objects[&id].clone();
            let attribute =
                store.attribute_named(object.ty, attribute).map(|a| a.id).ok_or("there is no such attribute")?;
            match value.is_empty() {
                true => drop(object.values.remove(&attribute)),
                false => drop(object.values.insert(attribute, vec![Stored::Text((*value).to_owned())])),
            }
            store.put(object, sim.now(), Duration::ZERO);
            Ok(json!({"ok": true}))
        }
        ["delete", ty, label] => {
            let id = named(sim, ty, label)?;
            sim.store().remove(id, sim.now(), Duration::ZERO);
            Ok(json!({"ok": true}))
        }
        other => Err(format!("{other:?} is no command")),
    }
}

fn named(sim: &Sim, ty: &str, label: &str) -> Result<jsm_sim::Id, String> {
    let store = sim.read_store();
    let fits = |object: &&jsm_sim::Object| {
        store.types[&object.ty].name.eq_ignore_ascii_case(ty) && store.label_of(object) == label
    };
    store.objects.values().find(fits).map(|object| object.id).ok_or_else(|| format!("there is no {ty} {label}"))
}
