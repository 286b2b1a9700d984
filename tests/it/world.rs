//! One world per test: a temporary folder, a cleared environment, a clock that stands still, a tenant behind a
//! simulated Graph, and the real program run in the middle of it.
//!
//! Hides processes, ports and job files. Every run is checked for secrets and for an end; what a failing test prints
//! holds everything that was seen.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, Output, Stdio};
use std::sync::mpsc;
use std::time::{Duration, SystemTime};

use graph_sim::{CLIENT_ID, CLIENT_SECRET, Deletion, Kind, Logged, Member, Options, Replay, Sim, Tenant};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::runtime::Runtime;

pub const TENANT: &str = "72f988bf-86f1-41af-91ab-2d7cd011db47";

/// All mappings that are shipped for CSV.
pub const ALL: [&str; 7] = ["users", "groups", "memberships", "nestings", "licenses", "license_assignments", "devices"];

/// Removes at once whatever is proved to have left.
pub const DELETE: &str = "[removal]\ndefault = [{ delete = {} }]\n";

/// Lets everything through: for tests of other rules.
pub const NO_LIMITS: &str = "[limits]\nremovals = { percent = 100 }\nlinks_removed = { percent = 100 }\n\
    updates = { percent = 100 }\ncreates = { percent = 100 }\none_attribute = { percent = 100 }\n\
    shrink = { percent = 100 }\ntarget_holds_percent = 0\n";

/// A run takes a second; what takes this long does not end.
const ENDLESS: Duration = Duration::from_secs(120);

/// The start of every secret that a world uses, and of every token: a JSON object in base64.
const SECRETS: [&str; 2] = ["Sim8Q", "eyJ"];

pub struct World {
    runtime: Runtime,
    pub sim: Sim,
    root: TempDir,
    now: Cell<Timestamp>,
    /// What the clock showed when everything was put aside.
    then: Cell<Timestamp>,
    pub environment: BTreeMap<&'static str, String>,
}

/// A run that waits in its middle.
pub struct Paused {
    command: String,
    child: Child,
    messages: BufReader<ChildStderr>,
    said: String,
}

impl Paused {
    /// Sends it a signal, by name.
    pub fn signal(&self, name: &str) {
        let sent = Command::new("kill").args([&format!("-{name}"), &self.child.id().to_string()]).status().unwrap();
        assert!(sent.success());
    }

    /// Reads what it says until that text was said.
    pub fn hears(&mut self, text: &str) {
        while !self.said.contains(text) {
            let mut line = String::new();
            assert!(self.messages.read_line(&mut line).unwrap() > 0, "it ended and said only:\n{}", self.said);
            self.said.push_str(&line);
        }
    }

    /// Lets it go on, and waits for its end.
    pub fn goes_on(mut self) -> Ran {
        drop(self.child.stdin.take());
        self.ends()
    }

    /// Waits for its end; for one that does not wait any more.
    pub fn ends(mut self) -> Ran {
        self.messages.read_to_string(&mut self.said).unwrap();
        let output = self.child.wait_with_output().unwrap();
        let stdout = String::from_utf8(output.stdout.clone()).unwrap();
        Ran { command: self.command, stdout, stderr: self.said, output, requests: Vec::new() }
    }
}

/// How one run of the program ended, and everything it said.
pub struct Ran {
    command: String,
    pub output: Output,
    pub stdout: String,
    pub stderr: String,
    pub requests: Vec<Logged>,
}

impl World {
    /// A tenant with every right granted.
    pub fn new(tenant: Tenant) -> World {
        World::with(tenant, all_rights())
    }

    pub fn with(tenant: Tenant, options: Options) -> World {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let sim = runtime.block_on(Sim::start(tenant, options)).unwrap();
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join("tmp")).unwrap();
        let environment = BTreeMap::from([
            ("HOME", root.path().display().to_string()),
            ("TMPDIR", root.path().join("tmp").display().to_string()),
            ("ENTRA_SECRET", CLIENT_SECRET.to_owned()),
            ("ENTRA_IMPORT_TIME_FACTOR", "20000".to_owned()),
        ]);
        let now: Timestamp = "2026-03-01T02:00:00Z".parse().unwrap();
        World { runtime, sim, root, now: Cell::new(now), then: Cell::new(now), environment }
    }

    /// The usual world: [`contoso`], all mappings, what leaves is deleted, no limit holds; imported once.
    pub fn imported() -> World {
        World::imported_with(contoso(), all_rights(), &ALL, &format!("{DELETE}{NO_LIMITS}"))
    }

    pub fn imported_with(tenant: Tenant, options: Options, mappings: &[&str], tables: &str) -> World {
        let world = World::with(tenant, options);
        world.job(mappings, tables);
        world.run(["run", "job.toml"]).exits(0);
        world
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    pub fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
    }

    pub fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    /// Replaces text that must be in the file.
    pub fn edit(&self, name: &str, from: &str, to: &str) {
        let text = self.read(name);
        assert!(text.contains(from), "{name} does not hold {from:?}:\n{text}");
        self.write(name, &text.replace(from, to));
    }

    /// Writes `job.toml` with these shipped mappings and further tables.
    pub fn job(&self, mappings: &[&str], tables: &str) {
        let mappings: String = mappings.iter().map(|name| format!("[[mapping]]\nuse = \"csv/{name}@1\"\n")).collect();
        self.write("job.toml", &format!("{}{tables}{mappings}", self.job_head()));
    }

    /// A job without mappings.
    pub fn job_head(&self) -> String {
        let (base, tenant) = (self.sim.base_url(), self.sim.read_tenant().id().to_owned());
        format!(
            "format = \"job/1\"\nname = \"contoso\"\n[source]\ntenant = \"{tenant}\"\nclient_id = \"{CLIENT_ID}\"\n\
             credential = {{ secret = {{ env = \"ENTRA_SECRET\" }} }}\nauthority = \"{base}\"\ngraph = \"{base}\"\n\
             [target]\nkind = \"csv\"\npath = \"export\"\n[state]\ndir = \"state\"\n"
        )
    }

    /// Lets a day pass.
    pub fn next_night(&self) {
        self.pass(SignedDuration::from_hours(24));
    }

    /// Moves the clock, forward or back.
    pub fn pass(&self, time: SignedDuration) {
        self.now.set(self.now.get().checked_add(time).unwrap());
    }

    /// Changes the tenant and lets a day pass. The replica that lags behind has not seen it.
    pub fn night(&self, change: impl FnOnce(&mut Tenant)) {
        self.sim.lag();
        change(&mut self.sim.tenant());
        self.next_night();
    }

    /// Runs the program to its end.
    pub fn run<'a>(&self, args: impl IntoIterator<Item = &'a str>) -> Ran {
        self.run_with(args, &[])
    }

    /// Runs the program with more environment.
    pub fn run_with<'a>(&self, args: impl IntoIterator<Item = &'a str>, more: &[(&str, &str)]) -> Ran {
        let mut command = self.command(args);
        command.envs(more.iter().copied());
        self.end(command)
    }

    /// Runs the job where no file can grow over so many blocks of 512 bytes: a disk that is full.
    pub fn run_on_a_full_disk(&self, blocks: u32) -> Ran {
        let run = self.command(["run", "job.toml"]);
        let limit = format!("trap '' XFSZ; ulimit -f {blocks}; exec \"$@\"");
        let mut command = Command::new("/bin/sh");
        command.args(["-c", &limit, "sh"]).arg(run.get_program()).args(run.get_args());
        command.current_dir(self.root.path()).env_clear();
        command.envs(run.get_envs().filter_map(|(name, value)| Some((name, value?))));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        self.end(command)
    }

    fn end(&self, mut command: Command) -> Ran {
        self.sim.clear_requests();
        let words = format!("{command:?}");
        let child = command.spawn().unwrap();
        let (pid, (tell, ended)) = (child.id(), mpsc::channel());
        let waiting = std::thread::spawn(move || tell.send(child.wait_with_output().unwrap()));
        let output = ended.recv_timeout(ENDLESS).unwrap_or_else(|_| {
            // The child is still unreaped, so the number is still its own.
            let _ = Command::new("kill").args(["-9", &pid.to_string()]).status();
            panic!("endless: {words}")
        });
        waiting.join().unwrap().unwrap();
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("the program writes UTF-8");
        let (stdout, stderr) = (text(&output.stdout), text(&output.stderr));
        let ran = Ran { command: words, stdout, stderr, output, requests: self.sim.requests() };
        let leaks = self.leaks(&ran);
        ran.check(leaks.is_empty(), &format!("a secret or a token shows in {leaks:?}"));
        ran
    }

    /// Starts the program, and gives it back once it waits at the point of that name.
    pub fn paused<'a>(&self, args: impl IntoIterator<Item = &'a str>, point: &str) -> Paused {
        let mut command = self.command(args);
        command.env("ENTRA_IMPORT_WAIT_AT", point).stdin(Stdio::piped());
        let words = format!("{command:?}");
        let mut child = command.spawn().unwrap();
        let messages = BufReader::new(child.stderr.take().unwrap());
        let mut paused = Paused { command: words, child, messages, said: String::new() };
        paused.hears(&format!("waiting at \"{point}\""));
        paused
    }

    /// Starts the program and leaves it to the caller.
    pub fn spawn<'a>(&self, args: impl IntoIterator<Item = &'a str>) -> Child {
        self.command(args).spawn().unwrap()
    }

    fn command<'a>(&self, args: impl IntoIterator<Item = &'a str>) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_entra-import"));
        command.args(args).current_dir(self.root.path()).env_clear().envs(&self.environment);
        command.env("ENTRA_IMPORT_AS_OF", self.now.get().to_string());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// Where a secret or a token can be read: outputs, and every file of the world.
    fn leaks(&self, ran: &Ran) -> Vec<String> {
        let holds = |bytes: &[u8]| {
            SECRETS.iter().any(|secret| bytes.windows(secret.len()).any(|window| window == secret.as_bytes()))
        };
        let outputs = [("stdout", &ran.stdout), ("stderr", &ran.stderr)];
        let mut found: Vec<String> =
            outputs.iter().filter(|(_, text)| holds(text.as_bytes())).map(|(name, _)| (*name).to_owned()).collect();
        let files = files_under(self.root.path());
        found.extend(
            files
                .into_iter()
                .filter(|path| holds(&fs::read(path).unwrap_or_default()))
                .map(|path| path.display().to_string()),
        );
        found
    }

    /// The exported files by name, byte by byte.
    pub fn export(&self) -> BTreeMap<String, String> {
        let named = |path: PathBuf| {
            let text = String::from_utf8_lossy(&fs::read(&path).unwrap()).into_owned();
            (path.file_name().unwrap().to_string_lossy().into_owned(), text)
        };
        files_under(&self.path("export")).into_iter().map(named).collect()
    }

    /// When each exported file was last written, to the nanosecond, with its number in the file system: a file that
    /// was replaced by an equal one has another.
    pub fn touched(&self) -> BTreeMap<PathBuf, (SystemTime, u64)> {
        use std::os::unix::fs::MetadataExt;
        let of = |path: PathBuf| {
            let data = fs::metadata(&path).unwrap();
            (path, (data.modified().unwrap(), data.ino()))
        };
        files_under(&self.path("export")).into_iter().map(of).collect()
    }

    /// The rows of one exported file, by key (the first column, or the first and the third where two make the key).
    pub fn rows(&self, name: &str) -> BTreeMap<String, BTreeMap<String, String>> {
        let Ok(file) = fs::File::open(self.path(&format!("export/{name}.csv"))) else { return BTreeMap::new() };
        let key: &[&str] = match name {
            "memberships" => &["Group ID", "Member ID"],
            "nestings" => &["Parent ID", "Child ID"],
            "license_assignments" => &["User ID", "SKU ID", "Via"],
            "licenses" => &["SKU ID"],
            _ => &["Entra ID"],
        };
        let mut reader = csv::Reader::from_reader(file);
        let rows = reader.deserialize::<BTreeMap<String, String>>().map(Result::unwrap);
        rows.map(|row| (key.iter().map(|name| row[*name].as_str()).collect::<Vec<_>>().join("/"), row)).collect()
    }

    /// Every exported record by file and key: what two runs have in common however their rows are ordered.
    pub fn records(&self) -> BTreeMap<(String, String), BTreeMap<String, String>> {
        let all = ALL
            .into_iter()
            .flat_map(|name| self.rows(name).into_iter().map(move |(key, row)| ((name.to_owned(), key), row)));
        all.collect()
    }

    /// The plan that would be made now. Writes nothing.
    pub fn plan(&self) -> Value {
        let ran = self.run(["plan", "job.toml", "--format", "json"]);
        ran.check(matches!(ran.code(), 0 | 3 | 4), "planned");
        serde_json::from_str(&ran.stdout).unwrap_or_else(|error| panic!("{error}\n{ran}"))
    }

    /// The ledger's generation.
    pub fn generation(&self) -> u64 {
        self.plan()["generation"].as_u64().unwrap()
    }

    /// Puts everything that outlives a run aside, and notes the time.
    pub fn save(&self) {
        self.then.set(self.now.get());
        for name in ["export", "state"] {
            copy(&self.path(name), &self.path("saved").join(name));
        }
    }

    /// Brings back what was put aside, nothing when nothing was; the time is what it was then.
    pub fn restore(&self) {
        self.now.set(self.then.get());
        for name in ["export", "state"] {
            let _ = fs::remove_dir_all(self.path(name));
            copy(&self.path("saved").join(name), &self.path(name));
        }
    }

    /// Answers from a recording in this world.
    pub fn replay(&self, name: &str) -> Replay {
        self.runtime.block_on(Replay::start(&self.path(name), 0)).unwrap()
    }

    /// A token, as the simulator issues it to whoever has the secret.
    pub fn token(&self) -> String {
        let resource = format!("{}/.default", self.sim.base_url());
        let form = [
            ("grant_type", "client_credentials"),
            ("client_id", CLIENT_ID),
            ("client_secret", CLIENT_SECRET),
            ("scope", &resource),
        ];
        let asked = async {
            let client = reqwest::Client::builder().no_proxy().build().unwrap();
            client.post(self.sim.token_url()).form(&form).send().await.unwrap().json::<Value>().await.unwrap()
        };
        self.runtime.block_on(asked)["access_token"].as_str().unwrap().to_owned()
    }

    /// Starts another simulator on this world's runtime.
    pub fn another_sim(&self, tenant: Tenant, options: Options) -> Sim {
        self.runtime.block_on(Sim::start(tenant, options)).unwrap()
    }
}

impl Ran {
    pub fn code(&self) -> i32 {
        self.output.status.code().unwrap_or_else(|| 1000 + self.output.status.signal().unwrap_or_default())
    }

    /// Fails with everything that was seen.
    #[track_caller]
    pub fn check(&self, holds: bool, what: &str) -> &Ran {
        assert!(holds, "expected: {what}\n{self}");
        self
    }

    #[track_caller]
    pub fn exits(&self, code: i32) -> &Ran {
        self.check(self.code() == code, &format!("exit {code}, not {}", self.code()))
    }

    /// Both outputs together hold this text.
    #[track_caller]
    pub fn says(&self, text: &str) -> &Ran {
        self.check(self.stdout.contains(text) || self.stderr.contains(text), &format!("says {text:?}"))
    }

    #[track_caller]
    pub fn says_all(&self, texts: &[&str]) -> &Ran {
        texts.iter().fold(self, |ran, text| ran.says(text))
    }

    /// Nobody was asked for anything.
    #[track_caller]
    pub fn contacts_nobody(&self) -> &Ran {
        self.check(self.requests.is_empty(), "no request")
    }
}

impl fmt::Display for Ran {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{}\n{}\nstdout:\n{}\nstderr:\n{}\nrequests:",
            self.command, self.output.status, self.stdout, self.stderr
        )?;
        self.requests
            .iter()
            .take(60)
            .try_for_each(|request| writeln!(f, "  {} {} {}", request.status, request.method, request.target))
    }
}

pub fn all_rights() -> Options {
    Options { roles: ["Directory.Read.All", "Member.Read.Hidden"].map(str::to_owned).to_vec(), ..Options::default() }
}

fn copy(from: &Path, to: &Path) {
    for path in files_under(from) {
        let target = to.join(path.strip_prefix(from).unwrap());
        fs::create_dir_all(target.parent().unwrap()).unwrap();
        fs::copy(&path, &target).unwrap();
    }
}

pub fn files_under(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => found.extend(files_under(&entry.path())),
            Ok(kind) if kind.is_file() => found.push(entry.path()),
            _ => {}
        }
    }
    found.sort();
    found
}

/// The id of user n (1 to 12), group 100 + n, device 200 + n, product 300 + n.
pub fn id(n: u32) -> String {
    format!("00000000-0000-4000-8000-{n:012}")
}

/// A pair's key: `<group>/<member>`.
pub fn pair(group: u32, member: u32) -> String {
    format!("{}/{}", id(group), id(member))
}

/// A user as Graph gives one.
pub fn user(n: u32) -> Value {
    let licensed = n <= 4;
    let states = json!([{ "skuId": id(301), "disabledPlans": [], "assignedByGroup": null, "state": "Active", "error": "None",
        "lastUpdatedDateTime": "2025-01-01T00:00:00Z" }]);
    json!({
        "id": id(n), "displayName": format!("User {n}"), "userPrincipalName": format!("user{n}@contoso.com"),
        "mail": format!("user{n}@contoso.com"), "department": if n.is_multiple_of(2) { "Sales" } else { "Research" },
        "accountEnabled": true, "userType": "Member", "licenseAssignmentStates": if licensed { states } else { json!([]) },
        "assignedLicenses": if licensed { json!([{ "skuId": id(301), "disabledPlans": [] }]) } else { json!([]) },
    })
}

fn group(n: u32, name: &str) -> Value {
    json!({ "id": id(n), "displayName": name, "securityEnabled": true, "mailEnabled": false, "groupTypes": [] })
}

/// Twelve users, of whom four hold a product and five have a manager; four groups, of which two hold each other, one
/// holds itself and one hides its members; three devices.
pub fn contoso() -> Tenant {
    let mut tenant = Tenant::new(TENANT, "contoso.com");
    (1..=12).for_each(|n| drop(tenant.put(Kind::User, user(n))));
    for n in 2..=6 {
        tenant.set_manager(&id(n), Some(Member::new(Kind::User, id(1))));
    }
    for n in 201..=203 {
        tenant.put(
            Kind::Device,
            json!({ "id": id(n), "deviceId": id(n), "displayName": format!("Laptop {n}"), "accountEnabled": true }),
        );
    }
    for (n, name) in [(101, "Sales"), (102, "VPN"), (103, "Everybody")] {
        tenant.put(Kind::Group, group(n, name));
    }
    let mut hidden = group(104, "Legal");
    hidden["visibility"] = "HiddenMembership".into();
    hidden["groupTypes"] = json!(["Unified"]);
    tenant.put(Kind::Group, hidden);
    let users = |range: std::ops::RangeInclusive<u32>| range.map(|n| Member::new(Kind::User, id(n)));
    let groups = |list: &[u32]| list.iter().map(|n| Member::new(Kind::Group, id(*n))).collect::<Vec<_>>();
    for (of, members) in [
        (101, users(1..=6).collect::<Vec<_>>()),
        (102, users(3..=4).chain(groups(&[101, 103])).chain([Member::new(Kind::Device, id(201))]).collect()),
        (103, users(7..=9).chain(groups(&[102, 103])).collect()),
        (104, users(5..=6).collect()),
    ] {
        members.into_iter().for_each(|member| assert!(tenant.add_member(&id(of), member)));
    }
    tenant.put_sku(json!({
        "skuId": id(301), "skuPartNumber": "CONTOSO_ONE", "capabilityStatus": "Enabled", "appliesTo": "User",
        "consumedUnits": 4, "prepaidUnits": { "enabled": 10, "suspended": 0, "warning": 0, "lockedOut": 0 }, "servicePlans": [],
    }));
    tenant
}

/// A night with every kind of change and leaver, for a job that lets in enabled users only.
pub fn busy_night(tenant: &mut Tenant) {
    assert!(tenant.remove(Kind::User, &id(12), Deletion::Soft));
    assert!(tenant.set(Kind::User, &id(11), "accountEnabled", false.into()));
    assert!(tenant.set(Kind::User, &id(9), "userType", "Guest".into()));
    assert!(tenant.set(Kind::User, &id(8), "department", "Legal".into()));
    assert!(tenant.set(Kind::User, &id(7), "mail", Value::Null));
    assert!(tenant.remove_member(&id(101), &id(2)));
    assert!(tenant.add_member(&id(101), Member::new(Kind::User, id(10))));
    assert!(tenant.remove(Kind::Device, &id(203), Deletion::Hard));
    assert!(tenant.set(Kind::Group, &id(101), "displayName", "Sales & Marketing".into()));
    assert!(tenant.remove(Kind::Group, &id(104), Deletion::Soft));
    tenant.put(Kind::User, user(13));
}

pub const SCOPE: &str = "[scope]\nusers = \"accountEnabled eq true and userType eq 'Member'\"\n";

/// Contoso, imported by a job that lets in enabled users only.
pub fn scoped_world() -> World {
    World::imported_with(contoso(), all_rights(), &ALL, &format!("{DELETE}{NO_LIMITS}{SCOPE}"))
}

/// A command line parted at blanks, but not inside double quotes: all that documents and scenarios have of a shell.
pub fn shell_words(line: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut quoted = false;
    for c in line.chars() {
        match c {
            '"' => quoted = !quoted,
            ' ' if !quoted => words.push(String::new()),
            c => words.last_mut().expect("never empty").push(c),
        }
    }
    words.retain(|word| !word.is_empty());
    words
}
