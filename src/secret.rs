//! Where a secret lies, and reading it at the last moment.
//!
//! Hides environment, files, systemd credentials and commands behind one value. Deliberately keeps nothing: whoever
//! needs a secret again reads it again, so that a rotated one is found. What is read never shows in an error.

use std::fmt;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::Command;

use secrecy::{SecretSlice, SecretString};

use crate::error::{Error, Exit, Result};

/// A secret longer than this is none: a file was named by mistake.
const BYTES_MAX: u64 = 64 * 1024;

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

/// The place in words; a command shows its program alone.
impl fmt::Display for SecretFrom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SecretFrom::Env(name) => write!(f, "the environment variable {name}"),
            SecretFrom::File(path) => write!(f, "{}", path.display()),
            SecretFrom::Credential(name) => write!(f, "the credential {name}"),
            SecretFrom::Command(words) => write!(f, "the command {}", words.first().map_or("", String::as_str)),
        }
    }
}

impl SecretFrom {
    /// Reads it as text without the line's end. `what` names it in errors: "the client secret".
    ///
    /// Fails with [`Exit::SignIn`] when it cannot be read, is empty or no text.
    pub fn text(&self, what: &str) -> Result<SecretString> {
        let bytes = self.content(what)?;
        let text = String::from_utf8(bytes).map_err(|_| self.refused(what, "it is not text"))?;
        let text = text.trim_end_matches(['\r', '\n']);
        if text.trim().is_empty() {
            return Err(self.refused(what, "it is empty"));
        }
        Ok(SecretString::from(text))
    }

    /// Reads it as bytes, as they are. Fails as [`SecretFrom::text`] does.
    pub fn bytes(&self, what: &str) -> Result<SecretSlice<u8>> {
        let bytes = self.content(what)?;
        if bytes.is_empty() { Err(self.refused(what, "it is empty")) } else { Ok(bytes.into()) }
    }

    fn content(&self, what: &str) -> Result<Vec<u8>> {
        let content = match self {
            SecretFrom::Env(name) => {
                let value = std::env::var_os(name).ok_or_else(|| self.refused(what, "it is not set"))?;
                value.into_encoded_bytes()
            }
            SecretFrom::File(path) => self.file(what, path)?,
            SecretFrom::Credential(name) => {
                let folder = std::env::var_os("CREDENTIALS_DIRECTORY").ok_or_else(|| {
                    self.refused(what, "CREDENTIALS_DIRECTORY is not set")
                        .hint("run it as a systemd service with LoadCredential=, or name the file with `file = …`")
                })?;
                self.file(what, &Path::new(&folder).join(name))?
            }
            SecretFrom::Command(words) => self.output(what, words)?,
        };
        if content.len() as u64 > BYTES_MAX {
            return Err(self.refused(what, "it is too long to be one"));
        }
        Ok(content)
    }

    fn file(&self, what: &str, path: &Path) -> Result<Vec<u8>> {
        let read = std::fs::File::open(path).and_then(|file| {
            let mut bytes = Vec::new();
            file.take(BYTES_MAX + 1).read_to_end(&mut bytes).map(|_| bytes)
        });
        read.map_err(|cause| self.refused(what, &cause.to_string()))
    }

    fn output(&self, what: &str, words: &[String]) -> Result<Vec<u8>> {
        let (program, arguments) = words.split_first().ok_or_else(|| self.refused(what, "it is empty"))?;
        let output = Command::new(program).args(arguments).output();
        let output = output.map_err(|cause| self.refused(what, &cause.to_string()))?;
        if !output.status.success() {
            // What it printed may hold the secret: it is not repeated.
            return Err(self.refused(what, &format!("it ended with {}", output.status)));
        }
        Ok(output.stdout)
    }

    fn refused(&self, what: &str, why: &str) -> Error {
        Error::new(Exit::SignIn, format!("cannot take {what} from {self}"))
            .cause(why)
            .hint(format!("put {what} there, and nothing else"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use secrecy::ExposeSecret;

    #[test]
    fn a_secret_is_read_without_its_line_end_and_never_shown() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secret");
        let of = |content: &[u8]| {
            std::fs::write(&path, content).unwrap();
            SecretFrom::File(path.clone()).text("the password")
        };
        assert_eq!(of(b" a b \r\n").unwrap().expose_secret(), " a b ");
        for (content, why) in [(&b"\n"[..], "empty"), (b"\xff\xfe", "not text"), (&[b'a'; 70_000], "too long")] {
            let error = of(content).unwrap_err().to_string();
            assert!(error.contains(why) && error.contains("the password"), "{error}");
        }
        let command = |words: &[&str]| SecretFrom::Command(words.iter().map(|&word| word.into()).collect());
        assert_eq!(command(&["printf", "hidden"]).text("x").unwrap().expose_secret(), "hidden");
        let error = command(&["sh", "-c", "echo hidden; exit 3"]).text("x").unwrap_err().to_string();
        assert!(error.contains("exit status: 3") && !error.contains("hidden"), "{error}");
        assert!(SecretFrom::Env("ENTRA_IMPORT_NOT_SET".into()).text("x").unwrap_err().to_string().contains("not set"));
    }
}
