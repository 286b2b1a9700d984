//! How a job says where a secret lies, without ever holding it.
//!
//! Hides the forms and their checks. Deliberately reads no secret; see [`crate::secret`] for that.

use std::path::PathBuf;
use std::sync::Arc;

use super::read::Reader;
use crate::diagnostic::{Place, Problems, SourceFile, did_you_mean};
use crate::secret::SecretFrom;
use crate::tree::{Kind, Node, Table};

const WAYS: [&str; 4] = ["env", "file", "credential", "command"];
const PLACE_HELP: &str = "say where it lies: `{ env = \"NAME\" }`, or `file = \"…\"`, `credential = \"…\"` (systemd), \
    `command = […]`";

/// Reads places of secrets out of a job.
pub(super) struct Secrets<'a> {
    pub reader: &'a Reader,
    /// Those that make the job: a `command` in them is obeyed only if nobody else may write it.
    pub files: &'a [Arc<SourceFile>],
}

impl Secrets<'_> {
    /// The table that says where a secret lies; a text in its place is the secret itself.
    pub fn table<'n>(&self, node: &'n Node, what: &str, problems: &mut Problems) -> Option<&'n Table> {
        match &node.kind {
            Kind::Table(table) => Some(table),
            _ => {
                let help = format!("{PLACE_HELP}; replace it in Entra if it was a secret: it may have been read");
                problems.add_with_help(&node.place, format!("{what} is not written into a file"), help);
                None
            }
        }
    }

    /// `{ env = … }` or another of the ways, exactly one. `what` begins sentences: "a secret".
    pub fn place(&self, node: &Node, what: &str, problems: &mut Problems) -> Option<SecretFrom> {
        let table = self.table(node, what, problems)?;
        self.in_table(table, &node.place, what, problems)
    }

    /// The same in a table whose other keys were taken out.
    pub fn in_table(&self, table: &Table, at: &Place, what: &str, problems: &mut Problems) -> Option<SecretFrom> {
        let [entry] = table.entries.as_slice() else {
            problems.add_with_help(at, format!("{what} lies in exactly one place"), PLACE_HELP);
            return None;
        };
        let value = &entry.value;
        match entry.key.as_str() {
            "env" => variable(value, problems).map(SecretFrom::Env),
            "file" => self.reader.path(value, problems).map(|(path, _)| SecretFrom::File(path)),
            "credential" => file_name(value, problems).map(SecretFrom::Credential),
            "command" => command(value, self.files, problems).map(SecretFrom::Command),
            other => {
                let message = format!("{what} cannot be given by `{other}`");
                let help = format!("{}; {PLACE_HELP}", did_you_mean(other, &WAYS, "ways"));
                problems.add_with_help(&entry.key_place, message, help);
                None
            }
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
