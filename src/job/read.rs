//! From a job file to a [`Job`]: reads every table, compiles, and checks what only the whole can tell.
//!
//! Deliberately reports all mistakes of a job together, those of its mapping files included.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::files::{self, Merged};
use super::{Job, LoadOptions, StateConfig, TargetConfig, jsm, report, scope, settings, source};
use crate::custom;
use crate::diagnostic::{Place, Problems, SourceFile, did_you_mean};
use crate::error::Result;
use crate::expr::Catalog;
use crate::mapping::read::{Compiled, Draft};
use crate::mapping::{Mapping, removal, shipped};
use crate::plan::policy::Removal;
use crate::tables;
use crate::tree::{Fields, Kind, Node};

/// Where the keys of a job file belong, for those that TOML put into another table.
pub(super) const HOMES: [(&str, &str); 36] = [
    ("format", TOP),
    ("name", TOP),
    ("extends", TOP),
    ("tenant", "in `[source]`"),
    ("client_id", "in `[source]`"),
    ("credential", "in `[source]`"),
    ("cloud", "in `[source]`"),
    ("authority", "in `[source]`"),
    ("graph", "in `[source]`"),
    ("ca_file", "in `[source]`"),
    ("quota_share", "in `[source]`"),
    ("max_in_flight", "in `[source]`"),
    ("memberships", "in `[source]`"),
    ("delta", "in `[source]`"),
    ("full_every", "in `[source]`"),
    ("snapshot", "in `[source]`"),
    ("exclude", "in `[scope]`"),
    ("kind", "in `[target]`"),
    ("path", "in `[target]`"),
    ("site", "in `[target]`"),
    ("schema", "in `[target]`"),
    ("use", "in `[[mapping]]`"),
    ("attributes", "in `[[mapping]]`"),
    ("removals", "in `[limits]`"),
    ("links_removed", "in `[limits]`"),
    ("updates", "in `[limits]`"),
    ("adopts", "in `[limits]`"),
    ("creates", "in `[limits]`"),
    ("one_attribute", "in `[limits]`"),
    ("shrink", "in `[limits]`"),
    ("target_holds_percent", "in `[limits]`"),
    ("max_age", "in `[limits]`"),
    ("delete_adopted", "in `[removal]`"),
    ("keep_snapshots", "in `[state]`"),
    ("keep_reports", "in `[state]`"),
    ("forget_after", "in `[state]`"),
];
const TOP: &str = "at the top of the file, above the first `[table]`";

/// The longest job name; file names are made of it.
const NAME_LENGTH_MAX: usize = 64;

/// Names that Windows keeps for devices, whatever their extension.
const DEVICE_NAMES: [&str; 6] = ["con", "prn", "aux", "nul", "com1", "lpt1"];

/// What a `[[mapping]]` may say otherwise than the mapping it uses.
const OVERRIDES: [&str; 12] = [
    "attributes",
    "tables",
    "target",
    "name",
    "key",
    "adopt",
    "removal",
    "recreate",
    "protect",
    "empty",
    "on_adopt",
    "on_conflict",
];

/// What readers of single tables share.
pub(super) struct Reader {
    job: String,
    /// The start of the job file, for what is missing in it.
    pub start: Place,
}

impl Reader {
    /// A path with `{job}` filled in: where it leads (relative to the file it is written in), and as written.
    pub fn path(&self, node: &Node, problems: &mut Problems) -> Option<(PathBuf, String)> {
        let written = node.text(problems)?.replace("{job}", &self.job);
        if let Some(at) = written.find('{') {
            let message = format!("`{}` is not filled in", &written[at..]);
            problems.add_with_help(&node.place, message, "`{job}` is the only word that paths may hold in braces");
            return None;
        }
        if written.is_empty() {
            problems.add(&node.place, "the path is empty");
            return None;
        }
        Some((node.place.file.folder.join(&written), written))
    }
}

/// The parts of a job, each `None` when it has mistakes.
struct Parts {
    source: Option<source::Source>,
    target: Option<TargetConfig>,
    mappings: Vec<Compiled>,
    state: Option<StateConfig>,
}

/// See [`Job::load`].
pub(super) fn load(path: &Path, options: &LoadOptions<'_>) -> Result<Job> {
    let mut problems = Problems::default();
    let subject = format!("the job {}", path.display());
    let job = files::merged(path, &mut problems)?.and_then(|merged| read(&merged, path, options, &mut problems));
    problems.into_result(&subject, options.colour)?;
    // Without a problem there is a job: every way to none notes one.
    let mut job = job.expect("a job without mistakes loads");
    if let Some(text) = options.accepted {
        for text in text.lines() {
            job.accepted.push(scope::accepted(text, &mut job.catalog)?);
        }
    }
    job.hash = job.meaning_hash();
    Ok(job)
}

fn read(merged: &Merged, path: &Path, options: &LoadOptions<'_>, problems: &mut Problems) -> Option<Job> {
    let start = Place { file: merged.files[0].clone(), range: 0..0 };
    let mut fields = Fields::new(&merged.table, &start, "the job");
    fields.get("format");
    let name = fields.require("name", "name = \"contoso\"", problems).and_then(|node| job_name(node, problems));
    let reader = Reader { job: name.clone().unwrap_or_default(), start: start.clone() };
    let mut catalog = Catalog::default();

    if let Some(node) = fields.get("collection") {
        custom::read_all(node, &mut catalog, problems);
    }
    if let Some(node) = fields.get("tables") {
        tables::read(node, &mut catalog, problems);
    }
    let source = fields.require("source", "[source]\ntenant = \"contoso.onmicrosoft.com\"", problems);
    let scope = fields.get("scope");
    let target = fields.require("target", "[target]\nkind = \"csv\"\npath = \"export\"", problems);
    let mapping = fields.require("mapping", "[[mapping]]\nuse = \"csv/users@1\"", problems);
    let common = fields.get("removal").map(|node| removal::read(node, problems)).unwrap_or_default();
    let limits = fields.get("limits").map(|node| settings::limits(node, problems));
    let accept = fields.get("accept");
    let state = fields.get("state");
    let report = fields.get("report");
    let report = report.map(|node| report::read(node, &reader, &merged.files, problems)).unwrap_or_default();
    fields.finish(&HOMES, problems);

    // A mapping may bring a collection along, which the scope may then filter.
    let mappings = mapping.map(|node| mappings(node, &reader, &common, &mut catalog, problems)).unwrap_or_default();
    let accept = accept.map(|node| settings::accept(node, &catalog, problems)).unwrap_or_default();
    let mut scope = scope.map(|node| scope::read(node, &reader, &mut catalog, problems)).unwrap_or_default();
    let used = catalog.custom().iter().filter(|custom| catalog.uses(custom.collection));
    scope.lists = used.map(|custom| (custom.collection, custom.address())).collect();
    let parts = Parts {
        source: source.and_then(|node| source::read(node, &reader, &merged.files, problems)),
        target: target.and_then(|node| target_config(node, &reader, &merged.files, problems)),
        mappings,
        state: settings::state(state, &reader, options, problems),
    };
    check_together(&parts.mappings, parts.target.as_ref(), problems);
    let (limits, plan_max_age) = limits.unwrap_or_else(|| (Default::default(), settings::PLAN_MAX_AGE));
    Some(Job {
        name: name?,
        path: path.to_path_buf(),
        source: parts.source?,
        scope,
        accepted: Vec::new(),
        target: parts.target?,
        mappings: parts.mappings.into_iter().map(|compiled| compiled.mapping).collect(),
        limits,
        accept,
        state: parts.state?,
        report,
        plan_max_age,
        catalog,
        remarks: problems.take_remarks(),
        hash: String::new(),
    })
}

/// A job's name becomes part of file names on every system.
fn job_name(node: &Node, problems: &mut Problems) -> Option<String> {
    let text = node.text(problems)?;
    let fits = text.len() <= NAME_LENGTH_MAX
        && text.starts_with(|first: char| first.is_ascii_alphanumeric())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'))
        && !text.ends_with('.');
    if fits && !is_device(text) {
        return Some(text.to_string());
    }
    let help = format!(
        "a job's name is used in file names: letters a-z, digits, `-`, `_` and `.`, beginning with a letter or digit, \
         at most {NAME_LENGTH_MAX}"
    );
    problems.add_with_help(&node.place, format!("`{}` cannot be the name of a job", text.escape_debug()), help);
    None
}

fn is_device(name: &str) -> bool {
    let stem = name.split('.').next().unwrap_or_default().to_ascii_lowercase();
    DEVICE_NAMES.contains(&stem.as_str())
}

/// Reads `[target]`. Whoever wants to know the target of a job alone, without its mappings, reads it by this, too.
pub(super) fn target_config(
    node: &Node,
    reader: &Reader,
    files: &[Arc<SourceFile>],
    problems: &mut Problems,
) -> Option<TargetConfig> {
    let mut fields = Fields::new(node.table(problems)?, &node.place, "`[target]`");
    let Some(kind) = fields.require("kind", "kind = \"csv\"", problems) else {
        // Most likely it is there under a misspelt name.
        fields.get("path");
        fields.finish(&HOMES, problems);
        return None;
    };
    match kind.text(problems)? {
        "jsm-assets" => {
            jsm::read(fields, node, reader, files, problems).map(|config| TargetConfig::JsmAssets(Box::new(config)))
        }
        text => {
            let path = fields.require("path", "path = \"export\"", problems);
            fields.finish(&HOMES, problems);
            if text != "csv" {
                let help = did_you_mean(text, &["csv", "jsm-assets"], "kinds of this version");
                problems.add_with_help(&kind.place, format!("there is no target kind `{text}`"), help);
            }
            let (folder, written) = reader.path(path?, problems)?;
            Some(TargetConfig::Csv { folder, written })
        }
    }
}

fn mappings(
    node: &Node,
    reader: &Reader,
    common: &Removal,
    catalog: &mut Catalog,
    problems: &mut Problems,
) -> Vec<Compiled> {
    let Kind::List(items) = &node.kind else {
        problems.add_with_help(
            &node.place,
            "mappings are a list",
            "write `[[mapping]]` with two brackets, once for each",
        );
        return Vec::new();
    };
    if items.is_empty() {
        problems.add_with_help(
            &node.place,
            "the job has no mapping",
            "write `[[mapping]]` and `use = \"csv/users@1\"`",
        );
    }
    items.iter().filter_map(|item| one_mapping(item, reader, common, catalog, problems)).collect()
}

fn one_mapping(
    node: &Node,
    reader: &Reader,
    common: &Removal,
    catalog: &mut Catalog,
    problems: &mut Problems,
) -> Option<Compiled> {
    let table = node.table(problems)?;
    let mut fields = Fields::new(table, &node.place, "`[[mapping]]`");
    let which = fields.require("use", "use = \"csv/users@1\"", problems);
    for key in OVERRIDES {
        fields.get(key);
    }
    fields.finish(&HOMES, problems);
    let file = mapping_file(which?, reader, problems)?;
    let mut draft = Draft::parse(&file, problems)?;
    // What is unknown in the entry was reported above; the rest still compiles, to find more mistakes at once.
    let mut known = table.clone();
    known.entries.retain(|entry| OVERRIDES.contains(&entry.key.as_str()));
    draft.overlay(&known, problems);
    draft.compile(common, catalog, problems)
}

fn mapping_file(node: &Node, reader: &Reader, problems: &mut Problems) -> Option<Arc<SourceFile>> {
    let text = node.text(problems)?;
    if !text.ends_with(".toml") {
        return shipped::require(text, &node.place, problems);
    }
    let (path, _) = reader.path(node, problems)?;
    match SourceFile::read(&path) {
        Ok(file) => Some(file),
        Err(error) => {
            let help = format!("{}; the path is relative to this file", error.causes.join(": "));
            problems.add_with_help(&node.place, error.what, help);
            None
        }
    }
}

/// What only all mappings together can tell: names and files are unique, references lead somewhere.
fn check_together(mappings: &[Compiled], target: Option<&TargetConfig>, problems: &mut Problems) {
    // Without a target it is not known what names it could bear.
    let files = matches!(target, Some(TargetConfig::Csv { .. }));
    // A mapping with mistakes is missing here; then a reference to it would look wrong although it is not.
    let all_here = problems.is_empty();
    let names: Vec<&str> = mappings.iter().map(|compiled| compiled.mapping.name.as_str()).collect();
    for (index, Compiled { mapping, name_place, target_place, references }) in mappings.iter().enumerate() {
        let before = &mappings[..index];
        if names[..index].contains(&mapping.name.as_str()) {
            let message = format!("two mappings of the job are called `{}`", mapping.name);
            problems.add_with_help(name_place, message, "give one of them another `name` in its `[[mapping]]`");
        }
        if files {
            check_file_name(mapping, target_place, problems);
        }
        let same_file = |other: &Compiled| other.mapping.target.eq_ignore_ascii_case(&mapping.target);
        if let Some(other) = before.iter().find(|other| same_file(other)) {
            let what = if files { format!("file {}.csv", mapping.target) } else { format!("type {}", mapping.target) };
            let message = format!("`{}` and `{}` would write the same {what}", other.mapping.name, mapping.name);
            problems.add_with_help(target_place, message, "give one of them another `target`");
        }
        for find in mapping.attributes.iter().filter_map(|attribute| attribute.find.as_ref()) {
            if let Some(own) = mappings.iter().find(|other| other.mapping.target.eq_ignore_ascii_case(&find.among.ty)) {
                let message = format!("`find` looks for records of {}, which this job writes itself", find.among.ty);
                let help = format!("refer to them with `ref = \"{}\"`", own.mapping.name);
                problems.add_with_help(name_place, message, help);
            }
        }
        for (name, place) in references {
            if all_here && !names.contains(&name.as_str()) {
                let help = did_you_mean(name, &names, "mappings of this job");
                problems.add_with_help(place, format!("the job has no mapping `{name}`"), help);
            }
        }
    }
}

/// In CSV the target's type is a file's name.
fn check_file_name(mapping: &Mapping, place: &Place, problems: &mut Problems) {
    let text = &mapping.target;
    let forbidden = |c: char| c.is_control() || matches!(c, '/' | '\\' | ':' | '*' | '?' | '"' | '<' | '>' | '|');
    if text.contains(forbidden)
        || text.starts_with('.')
        || text.trim() != text
        || text.ends_with('.')
        || is_device(text)
    {
        let help = "the target is a file's name without `.csv`: no path, no sign that a file system keeps for itself";
        problems.add_with_help(place, format!("`{}` cannot be the name of a CSV file", text.escape_debug()), help);
    }
}
