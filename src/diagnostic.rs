//! Mistakes in files a user wrote, shown with file, line and caret, and what to do about them.
//!
//! Hides how messages are laid out (`annotate-snippets`, as rustc and cargo use it) and that literal secrets are
//! masked in every line that is shown. Deliberately does not decide what is a mistake, and never prints by itself.

use std::io::Read;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use annotate_snippets::{AnnotationKind, Level, Renderer, Snippet};

use crate::error::{Error, Exit};

/// The largest file that is read: room for some 400,000 excluded ids, and not for a device or a disk image.
const FILE_BYTES_MAX: u64 = 16 << 20;

/// A text that a user wrote, or a mapping shipped with the program.
#[derive(Debug, PartialEq, Eq)]
pub struct SourceFile {
    /// As shown to people: the path as it was given, or the address of a shipped mapping.
    pub name: String,
    /// Where relative paths in it start.
    pub folder: PathBuf,
    pub text: String,
}

impl SourceFile {
    /// A text that is no file on disk.
    pub fn named(name: impl Into<String>, text: impl Into<String>) -> Arc<SourceFile> {
        Arc::new(SourceFile { name: name.into(), folder: PathBuf::from("."), text: text.into() })
    }

    /// Reads a file; the error names it and says why.
    pub fn read(path: &Path) -> Result<Arc<SourceFile>, Error> {
        let mut bytes = Vec::new();
        let read = std::fs::File::open(path).and_then(|file| file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes));
        read.map_err(|cause| {
            let hint = match cause.kind() {
                std::io::ErrorKind::IsADirectory => {
                    "name one file in it; `run`, `run --dry-run`, `check` and `pending` take a folder of jobs"
                }
                _ => "check the path and that this account may read the file",
            };
            Error::usage(format!("cannot read {}", path.display())).because(cause).hint(hint)
        })?;
        if bytes.len() as u64 > FILE_BYTES_MAX {
            return Err(Error::usage(format!("cannot read {}", path.display()))
                .cause(format!("it is larger than {} MiB", FILE_BYTES_MAX >> 20))
                .hint("check that the path names the file you mean"));
        }
        let text = String::from_utf8(bytes).map_err(|cause| {
            Error::usage(format!("{} is not UTF-8 text", path.display()))
                .because(cause)
                .hint("save the file as UTF-8 in your editor")
        })?;
        // Windows editors put a byte order mark in front; it is not part of the text.
        let text = text.strip_prefix('\u{feff}').map(str::to_string).unwrap_or(text);
        let folder = match path.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder.to_path_buf(),
            _ => PathBuf::from("."),
        };
        Ok(Arc::new(SourceFile { name: path.display().to_string(), folder, text }))
    }
}

/// A range of bytes in one file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    pub file: Arc<SourceFile>,
    pub range: Range<usize>,
}

impl Place {
    /// `file:line`, for lists and test results.
    pub fn line(&self) -> String {
        let before = self.file.text.get(..self.range.start).unwrap_or_default();
        format!("{}:{}", self.file.name, before.matches('\n').count() + 1)
    }

    /// The text at this place, as written.
    pub fn raw(&self) -> &str {
        self.file.text.get(self.range.clone()).unwrap_or_default()
    }
}

/// One mistake: what is wrong, where, and what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    pub place: Place,
    pub message: String,
    pub help: Option<String>,
}

impl Diagnostic {
    /// The message with the line it is about and a caret below it. Colour only when asked for.
    pub fn render(&self, colour: bool) -> String {
        let text = masked(&self.place.file.text);
        let start = self.place.range.start.min(text.len());
        // A range over several lines (a whole table) points at its first line: the rest says nothing more.
        let line_end = text[start..].find('\n').map_or(text.len(), |at| start + at);
        let end = self.place.range.end.clamp(start, line_end);
        let snippet =
            Snippet::source(&text).path(&self.place.file.name).annotation(AnnotationKind::Primary.span(start..end));
        let mut group = Level::ERROR.primary_title(&self.message).element(snippet);
        if let Some(help) = &self.help {
            group = group.element(Level::HELP.message(help));
        }
        let renderer = if colour { Renderer::styled() } else { Renderer::plain() };
        renderer.render(&[group])
    }
}

/// The mistakes found so far, several of one file reported together; and remarks, which stop nothing.
#[derive(Debug, Default)]
pub struct Problems {
    found: Vec<Diagnostic>,
    remarks: Vec<String>,
}

impl Problems {
    /// Notes a mistake.
    pub fn add(&mut self, place: &Place, message: impl Into<String>) {
        self.push(Diagnostic { place: place.clone(), message: message.into(), help: None });
    }

    /// Notes a mistake and what to do about it.
    pub fn add_with_help(&mut self, place: &Place, message: impl Into<String>, help: impl Into<String>) {
        self.push(Diagnostic { place: place.clone(), message: message.into(), help: Some(help.into()) });
    }

    /// Notes a mistake, unless this very one is known.
    pub fn push(&mut self, diagnostic: Diagnostic) {
        if !self.found.contains(&diagnostic) {
            self.found.push(diagnostic);
        }
    }

    pub fn is_empty(&self) -> bool {
        self.found.is_empty()
    }

    /// Notes what is no mistake, and what whoever wrote it should still know.
    pub fn remark(&mut self, place: &Place, words: &str) {
        self.remarks.push(format!("{}: {words}", place.line()));
    }

    /// The remarks so far, each with its file and line; there are none afterwards.
    pub fn take_remarks(&mut self) -> Vec<String> {
        std::mem::take(&mut self.remarks)
    }

    /// `Err` with every mistake rendered, in the order of their files and lines, when there is any.
    /// `subject` names what cannot be used: "the job contoso.toml".
    pub fn into_result(mut self, subject: &str, colour: bool) -> Result<(), Error> {
        if self.found.is_empty() {
            return Ok(());
        }
        self.found.sort_by(|a, b| {
            let at = |one: &Diagnostic| (one.place.file.name.clone(), one.place.range.start);
            at(a).cmp(&at(b))
        });
        let count = match self.found.len() {
            1 => "a mistake".to_string(),
            many => format!("{many} mistakes"),
        };
        let mut what = format!("{subject} has {count}");
        for diagnostic in &self.found {
            what.push_str("\n\n");
            what.push_str(&diagnostic.render(colour));
        }
        Err(Error::new(Exit::Usage, what))
    }
}

/// The known name nearest to a mistyped one, when it is near enough to be meant.
pub fn nearest<'n>(typed: &str, known: impl IntoIterator<Item = &'n str>) -> Option<&'n str> {
    let lower = typed.to_lowercase();
    known
        .into_iter()
        .map(|name| (strsim::damerau_levenshtein(&lower, &name.to_lowercase()), name))
        .filter(|(distance, name)| *distance <= (name.chars().count().max(lower.chars().count()) / 3).max(1))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| name)
}

/// "did you mean `x`?", or the list of what is known.
pub fn did_you_mean(typed: &str, known: &[&str], what: &str) -> String {
    match nearest(typed, known.iter().copied()) {
        Some(name) => format!("did you mean `{name}`?"),
        None if known.is_empty() => format!("there are no {what}"),
        None => format!("{what}: {}", known.join(", ")),
    }
}

/// Whether a text can be the name of an environment variable; secrets seldom can.
pub fn is_variable_name(text: &str) -> bool {
    text.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_')
        && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

/// Hides texts that stand behind a key that names a secret, so that a secret wrongly written into a file is not
/// shown (rule 9). Offsets stay as they are: every hidden byte becomes one `*`.
fn masked(text: &str) -> String {
    const SECRET_KEYS: [&str; 6] = ["secret", "password", "credential", "token", "certificate", "federation"];
    let mut out = String::with_capacity(text.len());
    for line in text.split_inclusive('\n') {
        let lower = line.to_ascii_lowercase();
        // A certificate's key is a secret; other keys are not.
        let key = lower.contains("certificate").then_some("key");
        let hidden = SECRET_KEYS
            .into_iter()
            .chain(key)
            .flat_map(|key| lower.match_indices(key).map(|(at, _)| at + key.len()))
            .filter_map(|after| hidden_range(line, after))
            .min_by_key(|range| range.start);
        match hidden {
            None => out.push_str(line),
            Some(range) => {
                out.push_str(&line[..range.start]);
                out.extend(std::iter::repeat_n('*', range.len()));
                out.push_str(&line[range.end..]);
            }
        }
    }
    out
}

/// The inside of the text that follows `= ` right after a key, up to the closing quote or the end of the line. A
/// table (`{ env = … }`) is not a secret.
fn hidden_range(line: &str, after_key: usize) -> Option<Range<usize>> {
    let rest = &line[after_key..];
    let value = rest.trim_start_matches(['"', '\'', ' ', '\t']).strip_prefix('=')?.trim_start();
    let mut start = line.len() - value.len();
    let mut inner = value;
    // Whoever writes { value = "…" } wrote a secret too; { env = "…" } and its like name a place.
    if let Some(table) = value.strip_prefix('{') {
        let (key, after) = table.split_once('=')?;
        inner = after.trim_start();
        start = line.len() - inner.len();
        let variable = inner.split(['"', '\'']).nth(1).is_some_and(is_variable_name);
        if matches!(key.trim(), "file" | "credential" | "command" | "secret" | "managed_identity")
            || (key.trim() == "env" && variable)
        {
            return None;
        }
    }
    let quote = inner.chars().next().filter(|first| matches!(first, '"' | '\''))?;
    let end = inner[1..].find(quote).map_or(line.trim_end().len(), |at| start + 1 + at);
    (end > start + 1).then_some(start + 1..end)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn diagnostic(text: &str, at: &str) -> Diagnostic {
        let start = text.find(at).unwrap();
        Diagnostic {
            place: Place { file: SourceFile::named("contoso.toml", text), range: start..start + at.len() },
            message: "unknown key `nmae`".into(),
            help: Some("did you mean `name`?".into()),
        }
    }

    #[test]
    fn a_mistake_is_shown_with_file_line_and_caret() {
        let shown = diagnostic("format = \"job/1\"\nnmae = \"contoso\"\n", "nmae").render(false);
        assert_eq!(
            shown,
            "\
error: unknown key `nmae`
 --> contoso.toml:2:1
  |
2 | nmae = \"contoso\"
  | ^^^^
  |
  = help: did you mean `name`?"
        );
    }

    #[test]
    fn colour_comes_only_when_asked_for() {
        let one = diagnostic("nmae = 1", "nmae");
        assert!(!one.render(false).contains('\u{1b}'));
        assert!(one.render(true).contains('\u{1b}'));
    }

    #[test]
    fn secrets_are_masked_wherever_the_line_is_shown() {
        let cases = [
            ("secret = \"a8Q~x\"", "secret = \"*****\""),
            ("credential = { secret = 'a8Q~x' }", "credential = { secret = '*****' }"),
            ("credential = { secret = { value = \"a8Q\" } }", "credential = { secret = { value = \"***\" } }"),
            ("client_secret = \"a8Q~x", "client_secret = \"*****"),
            ("secret = { env = \"ENTRA_SECRET\" }", "secret = { env = \"ENTRA_SECRET\" }"),
            ("credential = { secret = { env = \"X\" } }", "credential = { secret = { env = \"X\" } }"),
            ("secret = { env = \"a8Q~x\" }", "secret = { env = \"*****\" }"),
            ("filter = \"department eq 'Sales'\"", "filter = \"department eq 'Sales'\""),
        ];
        for (text, expected) in cases {
            assert_eq!(masked(text), expected);
        }
    }

    #[test]
    fn nearest_names_are_near() {
        assert_eq!(nearest("nmae", ["name", "format"]), Some("name"));
        assert_eq!(nearest("Departmnet", ["Department", "Name"]), Some("Department"));
        assert_eq!(nearest("xyz", ["name", "format"]), None);
    }
}
