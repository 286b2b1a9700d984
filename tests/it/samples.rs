//! The sample folders, run as they are described: every scenario step by step, and the Contoso tenant over HTTP.
//!
//! Each folder of `samples/scenarios` holds a job, snapshots of the nights, `steps.txt` and what is expected. A step is
//! the program itself, started in a copy of the folder with a clean environment and a fixed time. What it printed, how
//! it ended and which target files it changed is compared with `expected/`; `BLESS=1` rewrites that. After the last
//! step its run is repeated, and must write nothing.
//!
//! Hides how steps are read (`samples/README.md` describes them for people) and which words stand for what differs from
//! machine to machine. Deliberately knows no rule of the product: what is right stands in the folders.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use entra_import::lock::Lock;
use graph_sim::{CLIENT_SECRET, Options, Sim, Tenant};
use serde_json::Value;
use similar::TextDiff;
use tempfile::TempDir;

use crate::world::shell_words;

const PROGRAM: &str = env!("CARGO_BIN_EXE_entra-import");
const SAMPLES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/samples");
/// The folder of target files, of every scenario.
const EXPORT: &str = "export";
/// Where a folder keeps what the program made of it, when a person ran its steps there.
const MADE_BY_RUNS: [&str; 2] = [EXPORT, "state"];

/// Bytes of every target file by name, and the number of the file: a file that was written anew has another.
type Files = BTreeMap<String, (Vec<u8>, u64)>;

/// Every scenario and the two nights of Contoso, or the one that the variable SAMPLE names with all that is printed.
#[test]
fn scenarios_run_as_they_are_described() {
    let wanted = std::env::var("SAMPLE").ok();
    let scenarios = fs::read_dir(format!("{SAMPLES}/scenarios")).unwrap().map(|entry| entry.unwrap().path());
    let mut folders: Vec<PathBuf> = scenarios
        .chain([Path::new(SAMPLES).join("contoso")])
        .filter(|path| path.is_dir() && wanted.as_ref().is_none_or(|name| path.ends_with(name)))
        .collect();
    folders.sort();
    assert!(!folders.is_empty(), "there is no scenario {}", wanted.unwrap_or_default());
    let (next, failures) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    let work = || {
        while let Some(folder) = folders.get(next.fetch_add(1, Ordering::SeqCst)) {
            let found = Scenario::new(folder).run(wanted.is_some());
            failures.lock().unwrap().extend(found.map(|words| (folder.file_name().unwrap().to_owned(), words)));
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(work);
        }
    });
    let mut failures = failures.into_inner().unwrap();
    failures.sort();
    let told: Vec<String> =
        failures.iter().map(|(name, words)| format!("== {} ==\n{words}", name.to_string_lossy())).collect();
    assert!(told.is_empty(), "{}\n`make bless` accepts what differs; review it like code", told.join("\n"));
}

/// One folder at work, in a copy of its own.
struct Scenario<'a> {
    folder: &'a Path,
    copy: TempDir,
    /// Ids of plans in the order they were first printed; `{plan}` is the newest.
    plans: Vec<String>,
}

/// A line of `steps.txt`.
enum Step<'a> {
    /// `at TIME ARGUMENTS`: runs the program.
    At(&'a str, &'a str),
    /// `locked TIME ARGUMENTS`: runs it while another run of the job is under way.
    Locked(&'a str, &'a str),
    /// `killed TIME N ARGUMENTS`: runs it and kills it at the n-th of its durable steps.
    Killed(&'a str, &'a str, &'a str),
    /// `edit FILE | OLD | NEW`: what a person does in an editor; OLD stands there exactly once, NEW may be nothing.
    Edit(&'a str, &'a str, &'a str),
    /// `copy FROM TO`: puts a prepared file in place of another.
    Copy(&'a str, &'a str),
}

impl<'a> Scenario<'a> {
    fn new(folder: &'a Path) -> Scenario<'a> {
        let copy = TempDir::new().unwrap();
        copy_folder(folder, copy.path());
        Scenario { folder, copy, plans: Vec::new() }
    }

    /// What went otherwise than expected, in words.
    fn run(mut self, verbose: bool) -> Option<String> {
        let text = fs::read_to_string(self.folder.join("steps.txt")).expect("a scenario has steps.txt");
        let steps: Vec<&str> =
            text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')).collect();
        let before = self.folder.join("target-before");
        if before.is_dir() {
            copy_folder(&before, &self.copy.path().join(EXPORT));
        }
        let (mut actual, mut last_run) = (BTreeMap::new(), None);
        for (number, line) in steps.iter().enumerate() {
            let files = self.target();
            let named = |arguments: &str| format!("{}-{}", number + 1, arguments.split(' ').next().unwrap_or_default());
            let mut name = None;
            let printed = match step(line) {
                Step::At(time, arguments) => {
                    if arguments.starts_with("run ") && !arguments.contains("--dry-run") {
                        last_run = Some((time, arguments));
                    }
                    name = Some(named(arguments));
                    self.program(time, arguments, &[])
                }
                Step::Locked(time, arguments) => {
                    let now = time.parse().unwrap();
                    let path = self.copy.path().join("state/contoso/lock");
                    // A program that another scenario starts just now holds what this process held when it was forked,
                    // until it is the program.
                    let _lock = std::iter::repeat_with(|| Lock::take(&path, now)).take(10_000).find_map(Result::ok);
                    name = Some(named(arguments));
                    self.program(time, arguments, &[])
                }
                Step::Killed(time, point, arguments) => {
                    name = Some(named(arguments));
                    self.program(time, arguments, &[("ENTRA_IMPORT_CRASH_AT", point)])
                }
                Step::Edit(file, old, new) => self.edit(file, old, new),
                Step::Copy(from, to) => {
                    fs::copy(self.copy.path().join(from), self.copy.path().join(to)).expect(line);
                    String::new()
                }
            };
            let transcript = format!("{line}\n{printed}");
            if verbose {
                println!("{transcript}");
            }
            if let Some(name) = name {
                actual.insert(format!("{name}.txt"), transcript);
                self.changed_files(&name, &files, &mut actual);
            }
        }
        let (time, arguments) = last_run.expect("a scenario has a run");
        let mut words = self.compare(&actual);
        words.push_str(&self.repeat(time, arguments));
        (!words.is_empty()).then_some(words)
    }

    /// Starts the program; what it printed, with names for what differs from machine to machine.
    fn program(&mut self, time: &str, arguments: &str, more: &[(&str, &str)]) -> String {
        let newest = self.plans.last().cloned().unwrap_or_default();
        let arguments: Vec<String> =
            shell_words(arguments).into_iter().map(|word| word.replace("{plan}", &newest)).collect();
        let output = program(self.copy.path(), time, &arguments, more);
        let (stdout, stderr) = (text(&output.stdout), text(&output.stderr));
        for id in plan_ids(&stdout) {
            if !self.plans.contains(&id) {
                self.plans.push(id);
            }
        }
        let mut printed = output.status.code().map_or("killed\n".to_string(), |code| format!("exit {code}\n"));
        for (name, text) in [("stdout", stdout), ("stderr", stderr)] {
            if !text.is_empty() {
                let _ = write!(printed, "--- {name}\n{}", self.named(&text));
            }
        }
        printed
    }

    fn named(&self, text: &str) -> String {
        // The system may spell the temporary folder in two ways.
        let canonical = self.copy.path().canonicalize().unwrap();
        let mut text = text.replace(&*canonical.to_string_lossy(), "{folder}");
        text = text.replace(&*self.copy.path().to_string_lossy(), "{folder}");
        for (index, id) in self.plans.iter().enumerate() {
            text = text.replace(id.as_str(), &format!("{{plan-{}}}", index + 1));
        }
        let text = number_after(&text, "requests in ", "{seconds}");
        let text = number_after(&text, "took_ms=", "{ms}");
        let text = number_after(&text, "by uid ", "{me}");
        let host = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        number_after(&text, "process ", "{pid}").replace(&format!(" on {},", host.trim()), " on {host},")
    }

    fn edit(&self, file: &str, old: &str, new: &str) -> String {
        let path = self.copy.path().join(file);
        let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("edit {file}: {error}"));
        let (old, new) = (old.replace("\\n", "\n"), new.replace("\\n", "\n"));
        assert_eq!(text.matches(&old).count(), 1, "{old:?} must stand exactly once in {file}:\n{text}");
        fs::write(path, text.replacen(&old, &new, 1)).unwrap();
        String::new()
    }

    fn target(&self) -> Files {
        let mut files = Files::new();
        each_file(&self.copy.path().join(EXPORT), "", &mut |name, path| {
            files.insert(name, (fs::read(path).unwrap(), path.metadata().unwrap().ino()));
        });
        files
    }

    /// Adds the target files that a step changed.
    fn changed_files(&self, step: &str, before: &Files, actual: &mut BTreeMap<String, String>) {
        let now = self.target();
        for (name, file) in &now {
            if before.get(name).is_none_or(|old| old.0 != file.0) {
                actual.insert(format!("{step}/{name}"), text(&file.0));
            }
        }
        for name in before.keys().filter(|name| !now.contains_key(*name)) {
            actual.insert(format!("{step}/{name}"), "(the file is gone)\n".into());
        }
    }

    /// Against `expected/`, or into it.
    fn compare(&self, actual: &BTreeMap<String, String>) -> String {
        let folder = self.folder.join("expected");
        if std::env::var_os("BLESS").is_some() {
            let _ = fs::remove_dir_all(&folder);
            for (name, text) in actual {
                let path = folder.join(name);
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                fs::write(path, text).unwrap();
            }
            return String::new();
        }
        let mut expected = BTreeMap::new();
        each_file(&folder, "", &mut |name, path| drop(expected.insert(name, text(&fs::read(path).unwrap()))));
        let names: std::collections::BTreeSet<&String> = expected.keys().chain(actual.keys()).collect();
        let mut words = String::new();
        for name in names {
            let (old, new) = (expected.get(name), actual.get(name));
            if old != new {
                let why = match (old, new) {
                    (_, None) => ": the step no longer makes it",
                    (None, _) => ": new",
                    _ => "",
                };
                let (old, new) = (old.map_or("", String::as_str), new.map_or("", String::as_str));
                let difference = TextDiff::from_lines(old, new);
                let _ = writeln!(words, "expected/{name}{why}\n{}", difference.unified_diff().context_radius(2));
            }
        }
        words
    }

    /// The golden rule: the same run again has nothing to do, and writes no file anew.
    fn repeat(&mut self, time: &str, arguments: &str) -> String {
        let before = self.target();
        let printed = self.program(time, arguments, &[]);
        let now = self.target();
        let written = now.iter().filter(|(name, file)| before.get(*name) != Some(*file)).count();
        // A run that is held says what it would do; it has written nothing all the same.
        let done = printed.split_once(" applied: ").and_then(|(_, rest)| rest.split_once(';')).map(|(done, _)| done);
        let idle = done.is_none_or(|done| done.split(", ").all(|part| part.starts_with("0 ")));
        if written == 0 && before.len() == now.len() && idle {
            return String::new();
        }
        format!("the last run once more is not idle ({written} files were written):\n{printed}")
    }
}

fn step(line: &str) -> Step<'_> {
    let (verb, rest) = line.split_once(' ').unwrap_or((line, ""));
    match verb {
        "at" => rest.split_once(' ').map(|(time, arguments)| Step::At(time, arguments)),
        "locked" => rest.split_once(' ').map(|(time, arguments)| Step::Locked(time, arguments)),
        "killed" => {
            let parts: Vec<&str> = rest.splitn(3, ' ').collect();
            match parts.as_slice() {
                [time, point, arguments] => Some(Step::Killed(time, point, arguments)),
                _ => None,
            }
        }
        "edit" => {
            // Lines are trimmed, so that an empty NEW leaves the last bar at the end.
            let parts: Vec<&str> = rest.split(" | ").collect();
            match parts.as_slice() {
                [file, old, new] => Some(Step::Edit(file, old, new)),
                [file, old] => old.strip_suffix(" |").map(|old| Step::Edit(file, old, "")),
                _ => None,
            }
        }
        "copy" => rest.split_once(' ').map(|(from, to)| Step::Copy(from, to)),
        _ => None,
    }
    .unwrap_or_else(|| panic!("not a step: {line}"))
}

/// The program in `folder`, with nothing of this machine's environment.
fn program(folder: &Path, time: &str, arguments: &[String], more: &[(&str, &str)]) -> Output {
    Command::new(PROGRAM)
        .args(arguments)
        .current_dir(folder)
        .env_clear()
        .env("HOME", folder.join("home"))
        .env("TMPDIR", std::env::temp_dir())
        .env("ENTRA_IMPORT_AS_OF", time)
        .env("ENTRA_SECRET", CLIENT_SECRET)
        .envs(more.iter().copied())
        .output()
        .unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("UTF-8")
}

/// The ids in "plan 3fa9c1d2" and "Plan 3fa9c1d2".
fn plan_ids(text: &str) -> Vec<String> {
    let after = text.split("lan ").skip(1).filter_map(|rest| rest.get(..8));
    after.filter(|id| id.bytes().all(|byte| byte.is_ascii_hexdigit())).map(str::to_owned).collect()
}

/// Puts a name in the place of each number that follows `mark`.
fn number_after(text: &str, mark: &str, name: &str) -> String {
    let mut parts = text.split(mark);
    let mut named = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let rest = part.trim_start_matches(|c: char| c.is_ascii_digit());
        named.push_str(mark);
        named.push_str(if rest.len() < part.len() { name } else { "" });
        named.push_str(rest);
    }
    named
}

/// What a scenario begins with: everything but `expected/` and what runs left behind.
fn copy_folder(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let name = entry.file_name();
        if name == "expected" || MADE_BY_RUNS.iter().any(|made| name == *made) {
            continue;
        }
        match entry.file_type().unwrap().is_dir() {
            true => copy_folder(&entry.path(), &to.join(name)),
            false => drop(fs::copy(entry.path(), to.join(name)).unwrap()),
        }
    }
}

/// Every file below a folder that may not exist, by its name from there.
fn each_file(folder: &Path, prefix: &str, each: &mut dyn FnMut(String, &Path)) {
    for entry in fs::read_dir(folder).into_iter().flatten().map(Result::unwrap) {
        let name = format!("{prefix}{}", entry.file_name().to_string_lossy());
        match entry.file_type().unwrap().is_dir() {
            true => each_file(&entry.path(), &format!("{name}/"), each),
            false => each(name, &entry.path()),
        }
    }
}

/// Every line of a collection by its key, members in one order.
fn records(folder: &Path, collection: &str) -> BTreeMap<String, Value> {
    let text = fs::read_to_string(folder.join(format!("{collection}.jsonl"))).unwrap();
    let record = |line: &str| {
        let mut record: Value = serde_json::from_str(line).unwrap();
        if let Some(members) = record["members"].as_array_mut() {
            members.sort_by_key(|member| member["id"].to_string());
        }
        let key = record.get("skuId").unwrap_or(&record["id"]).to_string();
        (key, record)
    };
    text.lines().map(record).collect()
}

/// The nights of Contoso are what `extract` makes of them when the simulator serves them.
#[tokio::test(flavor = "multi_thread")]
async fn the_contoso_nights_are_what_extract_writes() {
    let contoso = Path::new(SAMPLES).join("contoso");
    for night in ["night-1", "night-2"] {
        let tenant = Tenant::from_folder(&contoso.join(night)).unwrap();
        let sim = Sim::start(tenant, Options::default()).await.unwrap();
        let folder = TempDir::new().unwrap();
        let job = folder.path().join("job.toml");
        let base = contoso.join("contoso.toml");
        let address = sim.base_url();
        let written = format!(
            "format = \"job/1\"\nextends = {base:?}\n[source]\nauthority = \"{address}\"\ngraph = \"{address}\"\n"
        );
        fs::write(&job, written).unwrap();
        let arguments = ["extract", "job.toml", "--out", "out"].map(str::to_owned);
        let output = program(folder.path(), "2024-01-01T02:00:00Z", &arguments, &[]);
        assert!(output.status.success(), "{output:?}");
        for collection in ["users", "groups", "devices", "licenses", "memberships"] {
            let (here, there) =
                (records(&contoso.join(night), collection), records(&folder.path().join("out"), collection));
            assert_eq!(here, there, "{night}: {collection}");
        }
        sim.shutdown().await;
    }
}
