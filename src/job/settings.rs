//! The smaller tables of a job: `[limits]`, `[[accept]]`, `[state]`.
//!
//! Hides their defaults and how spans of time are written. Deliberately decides nothing by them.

use std::path::PathBuf;

use jiff::{SignedDuration, Span, SpanRelativeTo};

use super::read::{HOMES, Reader};
use super::{LoadOptions, StateConfig};
use crate::diagnostic::{Problems, did_you_mean};
use crate::expr::Catalog;
use crate::plan::policy::{Accept, AcceptWhat, Limit, Limits};
use crate::record::{Collection, Guid, Key};
use crate::tree::{Fields, Kind, Node};

/// The oldest saved plan that may be applied, unless the job says otherwise.
pub(super) const PLAN_MAX_AGE: SignedDuration = SignedDuration::from_hours(24);

/// Snapshots kept: the last one to plan from again, and the one before to compare with.
const KEEP_SNAPSHOTS: u32 = 2;

/// Reports kept: a month of nights.
const KEEP_REPORTS: u32 = 30;

/// Reads `[limits]`: the limits, and `max_age` of a saved plan.
pub(super) fn limits(node: &Node, problems: &mut Problems) -> (Limits, SignedDuration) {
    let mut limits = Limits::default();
    let mut age = PLAN_MAX_AGE;
    let Some(table) = node.table(problems) else { return (limits, age) };
    let mut fields = Fields::new(table, &node.place, "`[limits]`");
    for (key, limit) in [
        ("removals", &mut limits.removals),
        ("links_removed", &mut limits.links_removed),
        ("updates", &mut limits.updates),
        ("adopts", &mut limits.adopts),
        ("creates", &mut limits.creates),
        ("one_attribute", &mut limits.one_attribute),
        ("shrink", &mut limits.shrink),
    ] {
        if let Some(node) = fields.get(key) {
            read_limit(node, limit, problems);
        }
    }
    if let Some(percent) = fields.get("target_holds_percent").and_then(|node| node.number(0.0..=100.0, problems)) {
        limits.target_holds_percent = percent;
    }
    if let Some(max_age) = fields.get("max_age").and_then(|node| span(node, problems)) {
        age = max_age;
    }
    fields.finish(&HOMES, problems);
    (limits, age)
}

/// What a limit does not say keeps its default.
fn read_limit(node: &Node, limit: &mut Limit, problems: &mut Problems) {
    let Kind::Table(table) = &node.kind else {
        let message = format!("a limit is a share and a number, found {}", node.kind.what());
        problems.add_with_help(&node.place, message, "write { percent = 10, floor = 10 }: held above both");
        return;
    };
    let mut fields = Fields::new(table, &node.place, "a limit");
    if let Some(percent) = fields.get("percent").and_then(|node| node.number(0.0..=100.0, problems)) {
        limit.percent = percent;
    }
    if let Some(floor) = fields.get("floor").and_then(|node| node.int(0..=i64::MAX, problems)) {
        // Negative numbers were refused just above.
        limit.floor = floor.unsigned_abs();
    }
    fields.finish(&HOMES, problems);
}

/// Reads `[[accept]]`.
pub(super) fn accept(node: &Node, catalog: &Catalog, problems: &mut Problems) -> Vec<Accept> {
    let Kind::List(items) = &node.kind else {
        problems.add_with_help(
            &node.place,
            "accepted gaps are a list",
            "write `[[accept]]` with two brackets, once for each gap",
        );
        return Vec::new();
    };
    items.iter().filter_map(|item| one_accept(item, catalog, problems)).collect()
}

fn one_accept(node: &Node, catalog: &Catalog, problems: &mut Problems) -> Option<Accept> {
    let mut fields = Fields::new(node.table(problems)?, &node.place, "`[[accept]]`");
    let words = [
        ("hidden-membership", AcceptWhat::HiddenMembership),
        ("rejected", AcceptWhat::Rejected),
        ("collision", AcceptWhat::Collision),
        ("collection", AcceptWhat::Collection),
    ];
    let what =
        fields.require("what", "what = \"hidden-membership\"", problems).and_then(|node| node.word(&words, problems));
    let id_node = fields.require("id", "id = \"…\"", problems);
    let until = fields.get("until");
    fields.finish(&HOMES, problems);
    // Ids are the same in any case, and plans print them in small letters.
    let id = id_node.and_then(|node| node.text(problems)).map(|text| match Key::parse(&text.to_ascii_lowercase()) {
        Key::Text(_) => text.to_owned(),
        ids => ids.to_string(),
    });
    if let (Some(AcceptWhat::HiddenMembership), Some(id), Some(node)) = (what, &id, id_node)
        && id.parse::<Guid>().is_err()
    {
        let help = "give the object id of the group whose members are hidden, as the plan prints it";
        problems.add_with_help(&node.place, format!("`{id}` is no id of a group"), help);
    }
    if let (Some(AcceptWhat::Collection), Some(id), Some(node)) = (what, &id, id_node)
        && catalog.named(id).is_none()
    {
        let known: Vec<&str> = catalog.collections().map(Collection::name).collect();
        let help = did_you_mean(id, &known, "collections");
        problems.add_with_help(&node.place, format!("there is no collection `{id}`"), help);
    }
    let until = match until {
        None => None,
        Some(node) => Some(date(node, problems)?),
    };
    Some(Accept { what: what?, id: id?, until })
}

fn date(node: &Node, problems: &mut Problems) -> Option<jiff::civil::Date> {
    let text = match &node.kind {
        Kind::Text(text) => text.clone(),
        Kind::Date(date) => date.to_string(),
        _ => String::new(),
    };
    let date = text.parse().ok();
    if date.is_none() {
        problems.add_with_help(
            &node.place,
            "this is not a date",
            "write the last day on which it is accepted: until = 2027-03-31",
        );
    }
    date
}

/// Reads `[state]`; without one everything has its default.
pub(super) fn state(
    node: Option<&Node>,
    reader: &Reader,
    options: &LoadOptions<'_>,
    problems: &mut Problems,
) -> Option<StateConfig> {
    let (mut dir, mut forget_after) = (None, None);
    let (mut keep_snapshots, mut keep_reports) = (KEEP_SNAPSHOTS, KEEP_REPORTS);
    if let Some(node) = node {
        let mut fields = Fields::new(node.table(problems)?, &node.place, "`[state]`");
        dir = fields.get("dir").and_then(|node| reader.path(node, problems)).map(|(path, _)| path);
        let mut count = |key, least, default| {
            let number = fields.get(key).and_then(|node| node.int(least..=10_000, problems));
            number.and_then(|number| u32::try_from(number).ok()).unwrap_or(default)
        };
        // One snapshot must stay: deltas and `--from-snapshot last` start from it.
        keep_snapshots = count("keep_snapshots", 1, KEEP_SNAPSHOTS);
        keep_reports = count("keep_reports", 1, KEEP_REPORTS);
        forget_after = fields.get("forget_after").and_then(|node| span(node, problems));
        fields.finish(&HOMES, problems);
    }
    let dir = state_dir(dir, options.environment);
    if dir.is_none() {
        problems.add_with_help(
            &reader.start,
            "no folder for what is kept between runs: neither HOME nor XDG_STATE_HOME is set",
            "write `[state]` with `dir = \"…\"`, or set ENTRA_IMPORT_STATE",
        );
    }
    Some(StateConfig { dir: dir?, keep_snapshots, keep_reports, forget_after })
}

/// ENTRA_IMPORT_STATE, then the job's word, then systemd's StateDirectory=, then the user's state folder.
fn state_dir(written: Option<PathBuf>, environment: &dyn Fn(&str) -> Option<String>) -> Option<PathBuf> {
    let variable = |name: &str| environment(name).filter(|value| !value.is_empty());
    // systemd lists several folders with colons between; the first is ours.
    let systemd = || variable("STATE_DIRECTORY").and_then(|list| list.split(':').next().map(PathBuf::from));
    let xdg = || variable("XDG_STATE_HOME").map(|dir| PathBuf::from(dir).join("entra-import"));
    let home = || variable("HOME").map(|dir| PathBuf::from(dir).join(".local/state/entra-import"));
    let windows = || variable("LOCALAPPDATA").map(|dir| PathBuf::from(dir).join("entra-import"));
    let forced = variable("ENTRA_IMPORT_STATE").map(PathBuf::from);
    forced.or(written).or_else(systemd).or_else(xdg).or_else(home).or_else(windows)
}

/// A span of time such as "24h", "30 days" or "P30D"; a day counts 24 hours.
pub(super) fn span(node: &Node, problems: &mut Problems) -> Option<SignedDuration> {
    let text = node.text(problems)?;
    let parsed = text.parse::<Span>().ok();
    let found = parsed.and_then(|span| span.to_duration(SpanRelativeTo::days_are_24_hours()).ok());
    let found = found.filter(SignedDuration::is_positive);
    if found.is_none() {
        let help =
            "write hours, days or weeks: \"24h\", \"30 days\", \"52 weeks\"; months and years have no fixed length";
        problems.add_with_help(&node.place, format!("`{text}` is not a span of time"), help);
    }
    found
}
