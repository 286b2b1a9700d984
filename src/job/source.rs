//! `[source]`: where records come from, and where the secret for it lies.
//!
//! Hides the ways to name a secret without writing it down. Deliberately never reads one: it is read when it is used.

use std::path::PathBuf;
use std::sync::Arc;

use jiff::SignedDuration;
use url::Url;

use super::read::Reader;
use crate::diagnostic::{Problems, SourceFile, did_you_mean};
use crate::record::Guid;
use crate::tree::{Fields, Kind, Node, Table};

/// Where records come from.
#[derive(Clone, PartialEq, Debug)]
pub enum Source {
    /// Microsoft Graph.
    Graph(Box<GraphSource>),
    /// A snapshot on disk, as `extract` writes it.
    Snapshot {
        dir: PathBuf,
        /// As written, with `{job}` filled in.
        written: String,
    },
}

/// How a tenant is reached.
#[derive(Clone, PartialEq, Debug)]
pub struct GraphSource {
    /// Tenant id or one of the tenant's domains, in lower case.
    pub tenant: String,
    /// Application (client) id of the app registration.
    pub client_id: Guid,
    pub credential: Credential,
    /// Sign-in host, when it is not the public cloud's.
    pub authority: Option<Url>,
    /// Graph host, when it is not the public cloud's.
    pub graph: Option<Url>,
    /// Share of the tenant's request quota that a run may spend, above 0, at most 1.
    pub quota_share: f64,
    /// The most requests under way at once, when the job sets a limit.
    pub max_in_flight: Option<u32>,
    /// Runs read what changed since the last one, where Graph can tell it.
    pub delta: bool,
    /// How old the last full read may be, at most, before another one is made.
    pub full_every: SignedDuration,
    /// Whether the job runs only while the application is allowed nothing that the job does not need.
    pub refuse_excess_rights: bool,
}

/// What the app signs in with.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Credential {
    Secret(SecretFrom),
}

/// Where a secret lies.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum SecretFrom {
    /// An environment variable.
    Env(String),
    /// A file that holds nothing else.
    File(PathBuf),
    /// A file under `$CREDENTIALS_DIRECTORY`, where systemd puts what `LoadCredential=` names.
    Credential(String),
    /// The output of a program; the first text is the program, no shell is involved.
    Command(Vec<String>),
}

/// The default of [`GraphSource::quota_share`]: leaves the rest of the tenant's apps a fifth.
const QUOTA_SHARE: f64 = 0.8;

/// The default of [`GraphSource::full_every`], and its range. A full read heals what no delta query told.
const FULL_EVERY: SignedDuration = SignedDuration::from_hours(7 * 24);
const FULL_EVERY_RANGE: std::ops::RangeInclusive<SignedDuration> =
    SignedDuration::from_hours(1)..=SignedDuration::from_hours(31 * 24);

const SECRET_HELP: &str = "say where it lies: `credential = { secret = { env = \"ENTRA_SECRET\" } }`, or \
    `file = \"…\"`, `credential = \"…\"` (systemd), `command = […]`";

/// Reads `[source]`. `files` are those that make the job: a `command` in them is obeyed only if nobody else may write it.
pub(super) fn read(node: &Node, reader: &Reader, files: &[Arc<SourceFile>], problems: &mut Problems) -> Option<Source> {
    let table = node.table(problems)?;
    let mut fields = Fields::new(table, &node.place, "`[source]`");
    if let Some(snapshot) = fields.get("snapshot") {
        fields.finish(&super::read::HOMES, problems);
        let (dir, written) = reader.path(snapshot, problems)?;
        return Some(Source::Snapshot { dir, written });
    }
    let tenant = fields.require("tenant", "tenant = \"contoso.onmicrosoft.com\"", problems);
    let client_id = fields.require("client_id", "client_id = \"00001111-aaaa-2222-bbbb-3333cccc4444\"", problems);
    let credential = fields.require("credential", "credential = { secret = { env = \"ENTRA_SECRET\" } }", problems);
    let authority = fields.get("authority").map(|node| host(node, problems));
    let graph = fields.get("graph").map(|node| host(node, problems));
    let quota_share = fields.get("quota_share").map_or(Some(QUOTA_SHARE), |node| node.number(0.01..=1.0, problems));
    let max_in_flight = fields.get("max_in_flight").map(|node| node.int(1..=1000, problems));
    let delta = fields.get("delta").map_or(Some(false), |node| node.bool(problems));
    let full_every = fields.get("full_every").map_or(Some(FULL_EVERY), |node| full_every(node, problems));
    let refuse_excess = fields.get("refuse_excess_rights").map_or(Some(false), |node| node.bool(problems));
    fields.finish(&super::read::HOMES, problems);
    let tenant = tenant.and_then(|node| tenant_name(node, problems));
    let client_id = client_id.and_then(|node| id(node, problems));
    let credential = credential.and_then(|node| secret(node, reader, files, problems));
    Some(Source::Graph(Box::new(GraphSource {
        tenant: tenant?,
        client_id: client_id?,
        credential: Credential::Secret(credential?),
        authority: transposed(authority)?,
        graph: transposed(graph)?,
        quota_share: quota_share?,
        max_in_flight: transposed(max_in_flight)?.and_then(|number| u32::try_from(number).ok()),
        delta: delta?,
        full_every: full_every?,
        refuse_excess_rights: refuse_excess?,
    })))
}

fn full_every(node: &Node, problems: &mut Problems) -> Option<SignedDuration> {
    let span = super::settings::span(node, problems)?;
    if FULL_EVERY_RANGE.contains(&span) {
        return Some(span);
    }
    let help = "write between \"1h\" and \"31 days\"; the links by which changes are read live 7 days, so that a job \
        that runs less often reads everything anyhow";
    problems.add_with_help(&node.place, "full reads cannot be that far apart, or that close", help);
    None
}

/// A key that is absent is fine, one that is there and wrong is not.
fn transposed<T>(value: Option<Option<T>>) -> Option<Option<T>> {
    match value {
        None => Some(None),
        Some(inner) => inner.map(Some),
    }
}

fn tenant_name(node: &Node, problems: &mut Problems) -> Option<String> {
    let text = node.text(problems)?.to_lowercase();
    let domain = text.contains('.') && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-'));
    if text.parse::<Guid>().is_ok() || domain {
        return Some(text);
    }
    let help = "write the tenant's id or a domain such as contoso.onmicrosoft.com; an application signs in to one \
        tenant, so `common` and `organizations` do not work";
    problems.add_with_help(&node.place, format!("`{text}` is neither a tenant id nor a domain"), help);
    None
}

fn id(node: &Node, problems: &mut Problems) -> Option<Guid> {
    let found = node.text(problems)?.parse().ok();
    if found.is_none() {
        let help = "copy \"Application (client) ID\" from the overview page of the app registration";
        problems.add_with_help(&node.place, "this is not an application (client) id", help);
    }
    found
}

/// An address that tokens are sent to: https, or http on this very machine (tests, demos).
fn host(node: &Node, problems: &mut Problems) -> Option<Url> {
    let text = node.text(problems)?;
    let found = Url::parse(text).ok().filter(|url| {
        let local = matches!(url.host_str(), Some("localhost" | "127.0.0.1" | "[::1]"));
        let plain = url.username().is_empty() && url.password().is_none() && url.query().is_none();
        plain && url.has_host() && (url.scheme() == "https" || (url.scheme() == "http" && local))
    });
    if found.is_none() {
        let help = "write an https address without user, password or query, such as https://graph.microsoft.us";
        problems.add_with_help(&node.place, "tokens cannot be sent to this address", help);
    }
    found
}

fn secret(node: &Node, reader: &Reader, files: &[Arc<SourceFile>], problems: &mut Problems) -> Option<SecretFrom> {
    let table = referring_table(node, "a credential", problems)?;
    let mut fields = Fields::new(table, &node.place, "`credential`");
    let secret = fields.require("secret", "secret = { env = \"ENTRA_SECRET\" }", problems);
    for unsupported in ["certificate", "managed_identity", "federation"] {
        if let Some(node) = fields.get(unsupported) {
            let message = format!("this version does not sign in by `{unsupported}`");
            problems.add_with_help(&node.place, message, SECRET_HELP);
        }
    }
    fields.finish(&super::read::HOMES, problems);
    let node = secret?;
    let table = referring_table(node, "a secret", problems)?;
    let [entry] = table.entries.as_slice() else {
        problems.add_with_help(&node.place, "a secret lies in exactly one place", SECRET_HELP);
        return None;
    };
    let value = &entry.value;
    match entry.key.as_str() {
        "env" => variable(value, problems).map(SecretFrom::Env),
        "file" => reader.path(value, problems).map(|(path, _)| SecretFrom::File(path)),
        "credential" => file_name(value, problems).map(SecretFrom::Credential),
        "command" => command(value, files, problems).map(SecretFrom::Command),
        other => {
            let known = ["env", "file", "credential", "command"];
            let message = format!("a secret cannot be given by `{other}`");
            let help = format!("{}; {SECRET_HELP}", did_you_mean(other, &known, "ways"));
            problems.add_with_help(&entry.key_place, message, help);
            None
        }
    }
}

/// The table that says where a secret lies; a text in its place is the secret itself.
fn referring_table<'n>(node: &'n Node, what: &str, problems: &mut Problems) -> Option<&'n Table> {
    match &node.kind {
        Kind::Table(table) => Some(table),
        _ => {
            let help = format!("{SECRET_HELP}; replace this secret in Entra, it may have been read");
            problems.add_with_help(&node.place, format!("{what} is not written into a file"), help);
            None
        }
    }
}

fn variable(node: &Node, problems: &mut Problems) -> Option<String> {
    let text = node.text(problems)?;
    if crate::diagnostic::is_variable_name(text) {
        return Some(text.to_string());
    }
    let help = "write the name of the variable, such as ENTRA_SECRET, not the secret";
    problems.add_with_help(&node.place, "this is not the name of an environment variable", help);
    None
}

fn file_name(node: &Node, problems: &mut Problems) -> Option<String> {
    let text = node.text(problems)?;
    if !text.is_empty() && !text.contains(['/', '\\', '\0']) && text != "." && text != ".." {
        return Some(text.to_string());
    }
    let help = "write the name that `LoadCredential=` gives it; a path is written as `file`";
    problems.add_with_help(&node.place, "this is not the name of a systemd credential", help);
    None
}

fn command(node: &Node, files: &[Arc<SourceFile>], problems: &mut Problems) -> Option<Vec<String>> {
    if matches!(node.kind, Kind::Text(_)) {
        let help =
            "write program and arguments one by one: command = [\"pass\", \"show\", \"entra\"]; no shell reads it";
        problems.add_with_help(&node.place, "a command is a list", help);
        return None;
    }
    let words = node.texts(problems)?;
    if words.first().is_none_or(String::is_empty) {
        problems.add(&node.place, "the command names no program");
        return None;
    }
    for file in files {
        if let Some(writable) = writable_by_others(file) {
            problems.add_with_help(
                &node.place,
                format!(
                    "the command is not run: {} can be changed by others, who could then run \
                     commands as you",
                    writable.display()
                ),
                format!("chmod go-w {}", writable.display()),
            );
            return None;
        }
    }
    Some(words)
}

/// The file or its folder, when its group or everybody may write it. In a sticky folder nobody can replace the file.
#[cfg(unix)]
fn writable_by_others(file: &SourceFile) -> Option<PathBuf> {
    use std::os::unix::fs::PermissionsExt;
    const OTHERS_WRITE: u32 = 0o022;
    const STICKY: u32 = 0o1000;
    // What cannot be looked at is not trusted.
    let Ok(path) = PathBuf::from(&file.name).canonicalize() else { return Some(PathBuf::from(&file.name)) };
    let mode = |path: &std::path::Path| std::fs::metadata(path).map_or(OTHERS_WRITE, |data| data.permissions().mode());
    if mode(&path) & OTHERS_WRITE != 0 {
        return Some(path);
    }
    let folder = path.parent()?;
    let bits = mode(folder);
    (bits & OTHERS_WRITE != 0 && bits & STICKY == 0).then(|| folder.to_path_buf())
}

/// Elsewhere permissions are not bits; who may write the file is left to the system.
#[cfg(not(unix))]
fn writable_by_others(_: &SourceFile) -> Option<PathBuf> {
    None
}
