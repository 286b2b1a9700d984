//! The schemas against the readers: the same keys, the shipped files fit, and wrong ones do not.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde_json::{Map, Value as Json};

use super::{JOB, MAPPING, PROFILE};
use crate::diagnostic::{Problems, SourceFile};
use crate::expr::{Catalog, compile};
use crate::job::{Job, LoadOptions};
use crate::mapping::{shipped, test_file};
use crate::testing::JOB as WHOLE_JOB;
use crate::tree;

#[path = "validator.rs"]
mod validator;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn schema(text: &str) -> Json {
    serde_json::from_str(text).expect("a schema is JSON")
}

/// A TOML file as the JSON that a schema is about.
fn json(text: &str) -> Json {
    let mut problems = Problems::default();
    let table = tree::parse(&SourceFile::named("t.toml", text), &mut problems);
    of_table(&table.unwrap_or_else(|| panic!("{problems:?}\n{text}")))
}

fn of_table(table: &tree::Table) -> Json {
    Json::Object(table.entries.iter().map(|entry| (entry.key.clone(), of(&entry.value))).collect::<Map<_, _>>())
}

fn of(node: &tree::Node) -> Json {
    match &node.kind {
        tree::Kind::Text(text) => Json::from(text.as_str()),
        tree::Kind::Int(number) => Json::from(*number),
        tree::Kind::Float(number) => Json::from(*number),
        tree::Kind::Bool(flag) => Json::from(*flag),
        tree::Kind::Date(date) => Json::from(date.to_string()),
        tree::Kind::List(items) => items.iter().map(of).collect(),
        tree::Kind::Table(table) => of_table(table),
    }
}

/// Why the text does not fit; empty when it does.
fn misfits(schema: &Json, text: &str) -> Vec<String> {
    validator::misfits(schema, &json(text))
}

fn toml_files(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
        if entry.is_dir() {
            toml_files(&entry, files);
        } else if entry.extension().is_some_and(|end| end == "toml") {
            files.push(entry);
        }
    }
}

#[test]
fn every_shipped_file_fits_its_schema() {
    let (job, mapping) = (schema(JOB), schema(MAPPING));
    let mut files = Vec::new();
    ["mappings", "samples"].iter().for_each(|folder| toml_files(&root().join(folder), &mut files));
    let mut texts: Vec<(String, String)> =
        files.iter().map(|path| (path.display().to_string(), std::fs::read_to_string(path).unwrap())).collect();
    for document in ["docs/jobs.md", "docs/mappings.md", "docs/unattended.md", "README.md"] {
        let text = std::fs::read_to_string(root().join(document)).unwrap();
        let blocks = text.split("```toml\n").skip(1).filter_map(|rest| rest.split("```").next());
        texts.extend(blocks.map(|block| (document.to_string(), block.to_string())));
    }
    let (mut jobs, mut mappings) = (0, 0);
    for (name, text) in texts {
        let found = if text.contains("\"job/1\"") {
            jobs += 1;
            misfits(&job, &text)
        } else if text.contains("\"mapping/1\"") {
            mappings += 1;
            misfits(&mapping, &text)
        } else {
            // A part of a job, as the documents show it.
            misfits(&job, &format!("format = \"job/1\"\n{text}"))
        };
        assert!(found.is_empty(), "{name}: {found:#?}");
    }
    assert!(jobs > 20 && mappings > 20, "{jobs} jobs, {mappings} mappings");
}

const WHOLE_MAPPING: &str = "format = \"mapping/1\"\nname = \"user\"\nsource = \"users\"\ntarget = \"User\"\nkey = \"ID\"\n\
    [attributes]\n\"ID\" = \"id\"\n";

/// What one change makes of a right file; readers and schemas must both refuse it.
#[test]
fn wrong_files_fit_neither_reader_nor_schema() {
    let folder = tempfile::tempdir().unwrap();
    let refused = |text: &str, is_job: bool| {
        let path = folder.path().join("t.toml");
        std::fs::write(&path, text).unwrap();
        let options = LoadOptions { environment: &|_| Some("state".into()), ..LoadOptions::default() };
        match is_job {
            true => Job::load_with(&path, &options).is_err(),
            false => test_file(&path.display().to_string(), false).is_err(),
        }
    };
    let job = |from: &str, to: &str| (true, WHOLE_JOB.replacen(from, to, 1));
    let mapping = |from: &str, to: &str| (false, WHOLE_MAPPING.replacen(from, to, 1));
    let attribute = |text: &str| mapping("\"id\"\n", &format!("\"id\"\n\"X\" = {text}\n"));
    for (is_job, text, right) in [(true, WHOLE_JOB, true), (false, WHOLE_MAPPING, true)] {
        let schema = schema(if is_job { JOB } else { MAPPING });
        assert_eq!(misfits(&schema, text).is_empty(), right);
        assert_eq!(!refused(text, is_job), right);
    }
    for (is_job, text) in [
        job("job/1", "job/2"),
        job("tenant", "tenat"),
        job("\"ENTRA_SECRET\"", "\"hidden secret\""),
        job("{ secret = { env = \"ENTRA_SECRET\" } }", "\"hidden\""),
        job("\"csv\"", "\"cvs\""),
        job("contoso\"", "../contoso\""),
        job("use = ", "used = "),
        job("[target]", "quota_share = 2\n[target]"),
        job("[target]", "[limits]\nremovals = { percent = 101 }\n[target]"),
        job("[target]", "[limits]\nremovals = 10\n[target]"),
        job("[target]", "[removal]\ndefault = [{ delete = {}, flag = { S = \"x\" } }]\n[target]"),
        job("[target]", "[removal]\nleft = []\n[target]"),
        job("[target]", "[[accept]]\nwhat = \"anything\"\nid = \"x\"\n[target]"),
        job("[target]", "[state]\nkeep_reports = 0\n[target]"),
        job("[target]", "[report]\nfiles = [\"report.pdf\"]\n[target]"),
        job("[target]", "[report]\nfile = \"report.html\"\n[target]"),
        job("[target]", "[report.mail]\nto = []\nfrom = \"a@contoso.com\"\nsendmail = \"sendmail\"\n[target]"),
        job(
            "[target]",
            "[report.mail]\nto = [\"a@contoso.com\"]\nfrom = \"a@contoso.com\"\nsmtp = \"mail.contoso.com\"\n[target]",
        ),
        job("[target]", "[[report.webhook]]\nkind = \"slack\"\nurl = \"https://hooks.slack.com/services/x\"\n[target]"),
        job("[target]", "[[report.webhook]]\nkind = \"pager\"\nurl = { env = \"HOOK\" }\n[target]"),
        job("[target]", "[[collection]]\nname = \"things\"\npath = \"/things\"\n[target]"),
        job("[target]", "[[collection]]\nname = \"My things\"\npath = \"things\"\n[target]"),
        job("[target]", "[[collection]]\nname = \"things\"\npath = \"things\"\nversion = \"v2\"\n[target]"),
        job("[target]", "[scope]\nexclude.users = { path = \"x\" }\n[target]"),
        mapping("mapping/1", "mapping/9"),
        mapping("name = ", "nam = "),
        mapping("\"users\"", "7"),
        mapping("\"users\"", "{ distinct = \"department\" }"),
        job("[source]", "[tables]\nsites = 5\n[source]"),
        job("[source]", "[tables.sites]\nkey = \"Office\"\n[source]"),
        mapping("key = \"ID\"", "key = \"ID\"\neach = { by = \"$this\" }"),
        mapping("key = \"ID\"", "key = \"ID\"\neach = 5"),
        mapping("key = \"ID\"", "key = \"ID\"\ntables.sites = { path = \"sites.csv\" }"),
        attribute("{ value = \"businessPhones\", separator = \"\" }"),
        mapping("key = \"ID\"", "key = []"),
        mapping("key = \"ID\"", "key = { ledger = false }"),
        mapping("key = \"ID\"", "key = \"ID\"\nrecreate = false"),
        mapping("key = \"ID\"", "key = \"ID\"\nempty = \"maybe\""),
        attribute("5"),
        attribute("{ value = \"city\", write = \"once\" }"),
        attribute("{ value = \"city\", max_length = 0 }"),
        attribute("{ value = \"city\", private = \"yes\" }"),
        attribute("{ value = \"city\", type = \"json\" }"),
        job("kind = \"csv\"\npath = \"export\"", "kind = \"jsm-assets\"\npath = \"export\""),
        job("path = \"export\"", "path = \"export\"\nsite = \"https://contoso.atlassian.net\""),
        attribute("{ value = \"city\", find = { type = \"T\" } }"),
        attribute("{ value = \"city\", find = { type = \"T\", by = \"N\", missing = \"create\" } }"),
        mapping("\"id\"\n", "\"id\"\n[[test]]\ngiven = { id = \"a\" }\n"),
    ] {
        let schema = schema(if is_job { JOB } else { MAPPING });
        assert!(!misfits(&schema, &text).is_empty(), "the schema accepts\n{text}");
        assert!(refused(&text, is_job), "the reader accepts\n{text}");
    }
}

/// The keys of every table that has a title: the title is what the reader calls the table.
fn keys_of(schema: &Json, keys: &mut BTreeMap<String, BTreeSet<String>>) {
    match schema {
        Json::Object(members) => {
            if let (Some(Json::String(title)), Some(Json::Object(properties))) =
                (members.get("title"), members.get("properties"))
            {
                keys.entry(title.clone()).or_default().extend(properties.keys().cloned());
            }
            members.values().for_each(|value| keys_of(value, keys));
        }
        Json::Array(items) => items.iter().for_each(|item| keys_of(item, keys)),
        _ => {}
    }
}

/// What a reader calls a table, without the name of the file or attribute at hand.
fn title(what: &str) -> String {
    for start in ["the attribute", "the mapping", "the table"] {
        if what.strip_prefix(start).is_some_and(|rest| rest.starts_with(' ')) {
            return start.to_string();
        }
    }
    what.to_string()
}

#[test]
fn readers_and_schemas_know_the_same_keys() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    write("exclude.txt", "");
    write("sites.csv", "Office,Site\nOslo,OSL\n");
    write(
        "parts.toml",
        "format = \"mapping/1\"\nname = \"parts\"\nsource = \"users\"\neach = { of = \"proxyAddresses\" }\ntarget = \"parts\"\nkey = \"ID\"\n\
         tables.sites = { file = \"sites.csv\" }\n[attributes]\n\"ID\" = \"$this\"\n",
    );
    write(
        "users.toml",
        "format = \"mapping/1\"\nname = \"people\"\nsource = { distinct = \"department\", of = \"users\" }\ntarget = \"people\"\n\
         key = { ledger = true }\nadopt = []\n[attributes]\n\"ID\" = { value = \"value\", find = { type = \"T\", by = \"N\" } }\n\
         [[test]]\ngiven = { value = \"a\" }\nexpect = {}\n",
    );
    let job = format!(
        "{WHOLE_JOB}removal = {{ gone = [{{ deactivate = {{}} }}, {{ delete = {{}} }}] }}\n[[mapping]]\nuse = \"users.toml\"\n[scope]\nexclude.users = {{ file = \"exclude.txt\" }}\n\
         [limits]\nremovals = {{ floor = 1 }}\n[[accept]]\nwhat = \"rejected\"\nid = \"x\"\n[state]\n\
         [report.mail]\nto = [\"it@contoso.com\"]\nfrom = \"it@contoso.com\"\nsendmail = \"sendmail\"\n\
         [[report.webhook]]\nkind = \"json\"\nurl = {{ env = \"HOOK\" }}\n\
         [[collection]]\nname = \"things\"\npath = \"things\"\n"
    );
    write("job.toml", &job);
    let assets = |credential: &str| {
        let target = format!(
            "kind = \"jsm-assets\"\nsite = \"https://contoso.atlassian.net\"\nschema = \"Entra ID\"\ntoken = \"scoped\"\ncredential = {credential}\n"
        );
        WHOLE_JOB.replace("kind = \"csv\"\npath = \"export\"\n", &target)
    };
    write("basic.toml", &assets("{ basic = { user = \"a\", password = { env = \"A\" } } }"));
    write("client.toml", &assets("{ client = { id = \"a\", secret = { env = \"A\" } } }"));
    let options = LoadOptions { environment: &|_| Some("state".into()), ..LoadOptions::default() };
    let asked = tree::recorded(|| {
        Job::load_with(&folder.path().join("job.toml"), &options).unwrap_or_else(|error| panic!("{error}"));
        for job in ["basic.toml", "client.toml"] {
            Job::load_with(&folder.path().join(job), &options).unwrap_or_else(|error| panic!("{error}"));
        }
        test_file(&folder.path().join("parts.toml").display().to_string(), false).unwrap();
        test_file(&folder.path().join("users.toml").display().to_string(), false).unwrap();
        shipped::addresses().iter().for_each(|address| drop(test_file(address, false).unwrap()));
    });
    let mut read: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (what, keys) in asked {
        read.entry(title(&what)).or_default().extend(keys.into_iter().map(str::to_string));
    }
    // Read before the tables that have readers of their own.
    read.entry("the job".into()).or_default().insert("extends".into());
    read.entry("the mapping".into()).or_default().insert("include".into());
    let mut known = BTreeMap::new();
    [JOB, MAPPING].iter().for_each(|text| keys_of(&schema(text), &mut known));
    // Filters are named by collection; the schema has a pattern for these.
    read.get_mut("`[scope]`").expect("a scope").retain(|key| key == "exclude");
    let titles = |of: &BTreeMap<String, BTreeSet<String>>| of.keys().cloned().collect::<BTreeSet<_>>();
    assert_eq!(titles(&read), titles(&known), "tables that only one of reader and schema knows");
    for (title, keys) in &read {
        assert_eq!(keys, &known[title], "the keys of {title}: read, and in schemas/*.json");
    }
}

/// The example profiles, by name.
fn profiles() -> BTreeMap<String, String> {
    let mut files = Vec::new();
    toml_files(&root().join("tests/data/profile"), &mut files);
    let name = |path: &Path| path.file_stem().unwrap().to_string_lossy().into_owned();
    files.iter().map(|path| (name(path), std::fs::read_to_string(path).unwrap())).collect()
}

/// All conditions of a profile: they are written in our language.
fn conditions<'j>(json: &'j Json, found: &mut Vec<&'j str>) {
    match json {
        Json::Object(members) => {
            for (key, value) in members {
                match (key.as_str(), value) {
                    ("when" | "row_ok" | "exists_when" | "expect", Json::String(text)) => found.push(text),
                    _ => conditions(value, found),
                }
            }
        }
        Json::Array(items) => items.iter().for_each(|item| conditions(item, found)),
        _ => {}
    }
}

#[test]
fn the_example_profiles_fit_their_schema() {
    let profiles = profiles();
    assert_eq!(profiles.keys().collect::<Vec<_>>(), ["itop", "snipe-it", "zendesk"]);
    let mut checked = 0;
    for (name, text) in profiles {
        let json = json(&text);
        let found = validator::misfits(&schema(PROFILE), &json);
        assert!(found.is_empty(), "{name}: {found:#?}");
        let mut texts = Vec::new();
        conditions(&json, &mut texts);
        // `expect` is also a word: of `[http]`, and for a probe that finds nothing.
        for text in texts.into_iter().filter(|text| !["json", "empty"].contains(text)) {
            checked += 1;
            compile(text, None, &mut Catalog::new()).unwrap_or_else(|error| panic!("{name}: {text}: {error}"));
        }
    }
    assert!(checked > 12, "{checked} conditions");
}

#[test]
fn wrong_profiles_do_not_fit_their_schema() {
    let (schema, profiles) = (schema(PROFILE), profiles());
    for (name, from, to) in [
        ("snipe-it", "profile/1", "profile/2"),
        ("snipe-it", "format = \"profile/1\"", "format = 1"),
        ("snipe-it", "title  =", "titel  ="),
        ("snipe-it", "tested = \"no\"", "tested = \"yes\""),
        ("snipe-it", "kind  = \"bearer\"", "kind  = \"ntlm\""),
        ("snipe-it", "token = ", "toke = "),
        ("snipe-it", "\"50/min\"", "\"50 a minute\""),
        ("snipe-it", "max_wait_s   = 120", ""),
        ("snipe-it", "redirects = \"never\"", "redirects = \"always\""),
        ("snipe-it", "outcome = \"throttled\"", "outcome = \"wait\""),
        ("snipe-it", "when    = \"status eq 429\"", ""),
        ("snipe-it", "style = \"offset\"", "style = \"offsets\""),
        ("snipe-it", "[\"total\", \"empty\"]", "[\"total\", \"end\"]"),
        ("snipe-it", ", stop = [\"total\", \"empty\"]", ""),
        ("snipe-it", "GET /users", "get /users"),
        ("snipe-it", "POST /users", "POST users"),
        ("snipe-it", "send    = \"changed\"", "send    = \"some\""),
        ("snipe-it", "decode = \"html\"", "decode = \"xml\""),
        ("snipe-it", "on_missing = \"create\"", "on_missing = \"guess\""),
        ("snipe-it", "compare = \"nocase\"", "compare = \"similar\""),
        ("snipe-it", "phase = 2", "phase = 3"),
        ("snipe-it", "style = \"slots\"", "style = \"places\""),
        ("snipe-it", "[link.license_seat.take]", "[link.license_seat.grab]"),
        ("snipe-it", "[entity.user.create]", "[entity.user.script]"),
        ("snipe-it", "[[preflight]]", "[[preflights]]"),
        ("zendesk", "client_id     = \"{param.client_id}\"\n", ""),
        ("zendesk", "correlate = \"id:id\"", "correlate = \"luck\""),
        ("zendesk", "fallback_on = \"denied\"", "fallback_on = \"never\""),
        ("zendesk", "running  = [\"queued\", \"working\"]", "running  = []"),
        ("zendesk", "poll     = \"GET ", "poll     = \"FETCH "),
        ("itop", "form_field = \"json_data\"", "form_field = \"json_data\", query_field = \"json_data\""),
        ("itop", "in = \"body\"", "in = \"header\""),
        ("itop", "regex = ", "pattern = "),
        ("itop", "clear = \"zero\"", "clear = \"keep\""),
    ] {
        let right = &profiles[name];
        assert!(right.contains(from), "{name} has no {from}");
        assert!(!misfits(&schema, &right.replacen(from, to, 1)).is_empty(), "{name} fits with {to:?} for {from:?}");
    }
}

/// Nobody reads profiles yet, so the schema itself must say what each key is for and leave no table open.
fn explained(schema: &Json, root: &Json, at: &str) {
    let Json::Object(members) = schema else { return };
    if let Some(Json::Object(properties)) = members.get("properties") {
        for (name, of) in properties {
            let named = of["$ref"].as_str().and_then(|path| path.strip_prefix("#/definitions/"));
            let described = named.map_or(of, |named| &root["definitions"][named]);
            // A choice (`anyOf` by the value of one key) repeats keys that are described above.
            let choice = of.as_object().is_some_and(|of| of.len() == 1 && of.contains_key("enum"));
            let words = described["description"].as_str().is_some_and(|words| words.len() > 8);
            assert!(words || choice, "{at}/{name} is not described");
        }
        assert!(members.contains_key("additionalProperties") || !members.contains_key("type"), "{at} is open");
    }
    for (name, of) in members {
        match of {
            Json::Array(items) => items.iter().for_each(|item| explained(item, root, &format!("{at}/{name}"))),
            of => explained(of, root, &format!("{at}/{name}")),
        }
    }
}

#[test]
fn every_key_of_a_profile_is_explained() {
    let schema = schema(PROFILE);
    assert!(schema["description"].as_str().unwrap().contains("no REST system yet"));
    explained(&schema, &schema, "");
}
