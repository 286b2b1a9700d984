//! A support bundle: a job and what it read, masked, so that somebody else can plan the same without seeing anybody.
//!
//! Names, addresses, ids and times are replaced, the same one everywhere in the same way ([`Mask`]); numbers, lengths,
//! words that Graph documents, and how much hangs together with what stay. So do the plain texts that the job's own
//! expressions compare with, where a value is just that text: else no filter would keep what it kept. Hides how a job
//! becomes one that reads the masked snapshot and writes beside it. Deliberately packs no secret and no place of one, no
//! ledger, no row of the target, and no way back from a mask.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, BufWriter, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use jiff::Timestamp;
use regex::Regex;
use serde_json::{Value, json};
use url::Url;

use crate::error::{Context as _, Error, Result};
use crate::job::{Job, origins};
use crate::ledger::Ledger;
use crate::plan::Plan;
use crate::record::Guid;
use crate::recording::Mask;
use crate::report::figures::Figures;
use crate::report::{Detail, Format, View};
use crate::snapshot::Snapshot;

/// The format this program writes.
const FORMAT: &str = "bundle/1";
/// Runs of the history that are packed.
const RUNS: u32 = 100;
/// Files of a snapshot that are not packed: links into the tenant.
const LEFT_BEHIND: [&str; 1] = ["delta.json"];
/// Tables of a job that are replaced: what they name lies on the machine of whoever made the bundle.
const REPLACED: [&str; 7] = ["name", "source", "target", "state", "report", "extends", "scope.exclude"];

/// Texts in an expression.
static LITERAL: LazyLock<Regex> = LazyLock::new(|| Regex::new("'((?:[^']|'')*)'").expect("a constant pattern"));
/// Files that a job or mapping names.
static NAMED_FILE: LazyLock<Regex> =
    LazyLock::new(|| Regex::new("\"([^\"\n]+\\.(?:toml|csv))\"").expect("a constant pattern"));

/// A bundle that is being made.
pub struct Bundle {
    folder: PathBuf,
    mask: Mask,
    /// Mapping files and tables by where they lie, and what they are called here.
    named: BTreeMap<PathBuf, String>,
}

impl Bundle {
    /// Begins one in a new or empty folder.
    pub fn create(folder: &Path) -> Result<Bundle> {
        let what = || format!("cannot make a bundle in {}", folder.display());
        if fs::read_dir(folder).is_ok_and(|mut entries| entries.next().is_some()) {
            return Err(Error::usage(what()).cause("the folder is not empty").hint("name a new folder"));
        }
        fs::DirBuilder::new().recursive(true).mode(0o700).create(folder).failing(what)?;
        fs::DirBuilder::new().mode(0o700).create(folder.join("snapshot")).failing(what)?;
        Ok(Bundle { folder: folder.to_owned(), mask: Mask::random(), named: BTreeMap::new() })
    }

    /// The job that stands in the bundle.
    pub fn job_file(&self) -> PathBuf {
        self.folder.join("job.toml")
    }

    /// The snapshot that stands in the bundle.
    pub fn snapshot(&self) -> PathBuf {
        self.folder.join("snapshot")
    }

    /// Writes job, mappings and the masked snapshot. Returns the time that stands for now: as far from the masked
    /// times as the real one was from the real ones.
    pub fn pack(&mut self, job: &Job, snapshot: &Snapshot, now: Timestamp) -> Result<Timestamp> {
        let text = self.job(job)?;
        self.mask.keep(literals(&text).into_iter().filter(|text| !is_personal(text)));
        self.write("job.toml", self.without_people(&text).as_bytes())?;
        for (path, name) in self.named.iter().filter(|(_, name)| name.ends_with(".csv")) {
            self.table(path, name)?;
        }
        for entry in fs::read_dir(snapshot.dir()).failing(|| reading(snapshot.dir()))? {
            let path = entry.failing(|| reading(snapshot.dir()))?.path();
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default().to_owned();
            match path.extension().and_then(|end| end.to_str()) {
                _ if LEFT_BEHIND.contains(&name.as_str()) => {}
                Some("jsonl") => self.lines(&path, &name)?,
                Some("json") => self.manifest(&path, &name)?,
                _ => {}
            }
        }
        Ok(self.mask.moment(now))
    }

    /// The job as one file that reads the snapshot and writes into the bundle, with its mappings beside it.
    fn job(&mut self, job: &Job) -> Result<String> {
        let mut text = String::new();
        let (mut in_list, mut in_replaced_list) = (false, false);
        for (line, origin) in origins(&job.path)? {
            let begins_list = line.starts_with("[[");
            // Inside of a list the same words mean something else: a mapping has a `target`, too.
            let is_replaced = (begins_list || !in_list) && is_replaced(line.trim_start_matches('['));
            if begins_list {
                (in_list, in_replaced_list) = (true, is_replaced);
            }
            if !is_replaced && !in_replaced_list {
                // A path is relative to the file it was written in, which may be a base.
                let file =
                    origin.as_deref().and_then(|origin| origin.rsplit_once(':')).map(|(file, _)| Path::new(file));
                let folder = file.and_then(Path::parent).unwrap_or(Path::new(""));
                text.push_str(&self.with_files(&line, folder)?);
                text.push('\n');
            }
        }
        let mut head = String::from("# A masked copy, made by `entra-import bundle`.\n");
        for (collection, exclude) in &job.scope.exclude {
            let entries: Vec<String> = exclude.entries().iter().map(|entry| json!(entry).to_string()).collect();
            // Writing to a String cannot fail.
            let _ = writeln!(head, "scope.exclude.{collection} = [{}]", entries.join(", "));
        }
        // A name of its own, so that it meets no ledger of the real job.
        head.push_str("name = \"masked\"\nsource.snapshot = \"snapshot\"\n");
        head.push_str("target.kind = \"csv\"\ntarget.path = \"export\"\nstate.dir = \"state\"\n");
        Ok(head + &text)
    }

    /// The text with each file that it names copied, and called by its name here.
    fn with_files(&mut self, text: &str, folder: &Path) -> Result<String> {
        let mut changed = String::new();
        let mut rest = 0;
        for found in NAMED_FILE.captures_iter(text) {
            let (Some(whole), Some(name)) = (found.get(0), found.get(1)) else { continue };
            let Ok(itself) = folder.join(name.as_str()).canonicalize() else { continue };
            changed.push_str(&text[rest..whole.start()]);
            // Writing to a String cannot fail.
            let _ = write!(changed, "\"{}\"", self.named(itself)?);
            rest = whole.end();
        }
        changed.push_str(&text[rest..]);
        Ok(changed)
    }

    /// The name of a file in the bundle. A mapping is copied at once; tables wait until all texts are known that stay.
    fn named(&mut self, path: PathBuf) -> Result<String> {
        if let Some(name) = self.named.get(&path) {
            return Ok(name.clone());
        }
        let is_table = path.extension().is_some_and(|end| end == "csv");
        let number = self.named.len() + 1;
        let name = if is_table { format!("table-{number}.csv") } else { format!("mapping-{number}.toml") };
        self.named.insert(path.clone(), name.clone());
        if !is_table {
            let text = fs::read_to_string(&path).failing(|| reading(&path))?;
            let text = self.with_files(&text, path.parent().unwrap_or(Path::new("")))?;
            self.mask.keep(literals(&text).into_iter().filter(|text| !is_personal(text)));
            self.write(&name, self.without_people(&text).as_bytes())?;
        }
        Ok(name)
    }

    /// A table for `lookup`: its head stays, its cells are masked as the values are that are looked up in it.
    fn table(&self, path: &Path, name: &str) -> Result<()> {
        let failed = || format!("cannot mask {}", path.display());
        let mut from = csv::ReaderBuilder::new().has_headers(false).flexible(true).from_path(path).failing(failed)?;
        let mut to = csv::WriterBuilder::new().flexible(true).from_writer(self.file(name)?);
        for (number, row) in from.records().enumerate() {
            let row = row.failing(failed)?;
            let cells = row.iter().map(|cell| if number == 0 { cell.to_owned() } else { self.mask.plain(cell) });
            to.write_record(cells).failing(failed)?;
        }
        to.flush().failing(failed)
    }

    /// Masks addresses and ids, wherever they stand.
    fn without_people(&self, text: &str) -> String {
        static PERSON: LazyLock<Regex> = LazyLock::new(|| {
            Regex::new(r"[\w.+-]+@[\w.-]+\w|[0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}")
                .expect("a constant pattern")
        });
        PERSON.replace_all(text, |found: &regex::Captures<'_>| self.mask.words(&found[0])).into_owned()
    }

    /// A file of the snapshot, line by line.
    fn lines(&self, path: &Path, name: &str) -> Result<()> {
        let failed = || format!("cannot mask {}", path.display());
        let mut to = BufWriter::new(self.file(&format!("snapshot/{name}"))?);
        let mut line = Vec::new();
        for text in BufReader::new(File::open(path).failing(failed)?).lines() {
            let mut value: Value = serde_json::from_str(&text.failing(failed)?).failing(failed)?;
            match name {
                "deleted.jsonl" | "absent.jsonl" => self.gone(&mut value),
                _ => self.record(&mut value),
            }
            to.write_all(crate::json::line(&value, &mut line)?).and_then(|()| to.write_all(b"\n")).failing(failed)?;
        }
        to.flush().failing(failed)
    }

    /// One object, or one list of members: there `type` is our own word, and `partial` a sentence.
    fn record(&self, value: &mut Value) {
        let words: Vec<Option<Value>> = members_of(value).map(|member| member.get("type").cloned()).collect();
        let partial = value.get("partial").and_then(Value::as_str).map(|reason| self.mask.prose(reason));
        self.mask.json(value, &ASKED);
        for (member, word) in members_of_mut(value).zip(words) {
            if let (Some(members), Some(word)) = (member.as_object_mut(), word) {
                members.insert("type".into(), word);
            }
        }
        if let (Some(object), Some(partial)) = (value.as_object_mut(), partial) {
            object.insert("partial".into(), partial.into());
        }
    }

    /// What is deleted or absent: an id, our own word for what it was, perhaps a time.
    fn gone(&self, value: &mut Value) {
        let word = value.get("type").cloned();
        self.mask.json(value, &ASKED);
        if let (Some(object), Some(word)) = (value.as_object_mut(), word) {
            object.insert("type".into(), word);
        }
    }

    /// What the snapshot says of itself: all of it, but the tenant, times, and what sentences quote.
    fn manifest(&self, path: &Path, name: &str) -> Result<()> {
        let failed = || format!("cannot mask {}", path.display());
        let mut manifest: Value = serde_json::from_slice(&fs::read(path).failing(failed)?).failing(failed)?;
        fn sentences(value: &mut Value, mask: &Mask) {
            match value {
                Value::String(text) if text.contains(' ') => *text = mask.prose(text),
                Value::Array(items) => items.iter_mut().for_each(|item| sentences(item, mask)),
                Value::Object(members) => members.values_mut().for_each(|value| sentences(value, mask)),
                Value::String(_) | Value::Null | Value::Bool(_) | Value::Number(_) => {}
            }
        }
        sentences(&mut manifest, &self.mask);
        if let Some(tenant) = manifest.get("tenant").and_then(Value::as_str).map(|tenant| self.mask.words(tenant)) {
            manifest["tenant"] = tenant.into();
        }
        if let Some(at) = manifest.get("as_of").and_then(Value::as_str).and_then(|at| at.parse().ok()) {
            manifest["as_of"] = self.mask.moment(at).to_string().into();
        }
        self.write(&format!("snapshot/{name}"), manifest.to_string().as_bytes())
    }

    /// What the real plan came to, without anybody's name; or why there is none.
    pub fn figures(&self, plan: &Result<Plan>, job: &str) -> Result<()> {
        let value = match plan {
            Ok(plan) => {
                let mut figures = Figures::new(job, "plan", plan.header.as_of);
                figures.plan(plan, "job.toml", None)?;
                json!(figures)
            }
            Err(error) => json!({ "error": without_places(&error.what) }),
        };
        self.write("figures.json", self.without_people(&format!("{value:#}\n")).as_bytes())
    }

    /// The last runs: when, how they ended, what they did.
    pub fn history(&self, ledger: Option<&Ledger>) -> Result<()> {
        let runs = ledger.map(|ledger| ledger.runs(RUNS)).transpose()?.unwrap_or_default();
        let run = |run: &crate::ledger::Run| {
            json!({ "run": run.id.to_string(), "command": run.kind, "state": format!("{:?}", run.state).to_lowercase(),
                "began": run.as_of, "ended": run.finished, "exit": run.exit, "plan": run.plan, "summary": run.summary })
        };
        let text = format!("{:#}\n", Value::from(runs.iter().map(run).collect::<Vec<_>>()));
        self.write("history.json", self.without_people(&text).as_bytes())
    }

    /// The plan that the bundle itself gives, which proves that it can be planned from.
    pub fn plan(&self, mut plan: Plan) -> Result<()> {
        // As job.toml names it: where the bundle was made is nobody's business.
        plan.header.target = "csv:export".into();
        let view = View { job_file: "job.toml".into(), detail: Detail::Full, ..View::default() };
        let mut to = BufWriter::new(self.file("plan.txt")?);
        Format::Text.plan(&plan, &view, &mut to)?;
        to.flush().failing(|| "cannot write plan.txt".into())
    }

    /// Says what is in it and how it is planned from.
    pub fn finish(&self, now: Timestamp) -> Result<()> {
        let program = concat!("entra-import ", env!("CARGO_PKG_VERSION"));
        let replay = format!("ENTRA_IMPORT_AS_OF={now} entra-import plan job.toml --all");
        let about = json!({ "format": FORMAT, "program": program, "replay": replay });
        self.write("bundle.json", format!("{about:#}\n").as_bytes())
    }

    fn write(&self, name: &str, bytes: &[u8]) -> Result<()> {
        self.file(name)?.write_all(bytes).failing(|| format!("cannot write {name} of the bundle"))
    }

    fn file(&self, name: &str) -> Result<File> {
        let path = self.folder.join(name);
        let file = File::options().write(true).create_new(true).mode(0o600).open(&path);
        file.failing(|| format!("cannot write {}", path.display()))
    }
}

/// Where masked records would have been asked for: nothing in them leads there.
static ASKED: LazyLock<Url> =
    LazyLock::new(|| Url::parse("https://graph.microsoft.com/v1.0").expect("a constant address"));

fn reading(path: &Path) -> String {
    format!("cannot read {}", path.display())
}

/// A message without the paths that it names.
fn without_places(text: &str) -> String {
    static PATH: LazyLock<Regex> =
        LazyLock::new(|| Regex::new(r#"(^|[\s"'(=:])/[^\s/"',;][^\s"',;]*"#).expect("a constant pattern"));
    PATH.replace_all(text, "$1(a path)").into_owned()
}

/// Whether a key of a job names a place that is not there where the bundle is opened.
fn is_replaced(key: &str) -> bool {
    let of = |name: &str| key.strip_prefix(name).is_some_and(|rest| rest.starts_with(['.', ' ', ']', '=']));
    REPLACED.iter().any(|name| of(name))
}

fn members_of(value: &Value) -> impl Iterator<Item = &Value> {
    value.get("members").and_then(Value::as_array).into_iter().flatten()
}

fn members_of_mut(value: &mut Value) -> impl Iterator<Item = &mut Value> {
    value.get_mut("members").and_then(Value::as_array_mut).into_iter().flatten()
}

/// The texts that expressions compare with.
fn literals(text: &str) -> BTreeSet<String> {
    LITERAL.captures_iter(text).filter_map(|found| Some(found.get(1)?.as_str().replace("''", "'"))).collect()
}

/// An address or an id names somebody; it is masked in the job, too, in the same way.
fn is_personal(text: &str) -> bool {
    text.contains('@') || text.parse::<Guid>().is_ok()
}
