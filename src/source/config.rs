//! From a job's `[source]` to what a read needs: the secret is fetched here, at the last moment, and nowhere kept.

use std::io::Read;
use std::path::Path;
use std::process::Command;

use secrecy::SecretString;

use super::{Credential, SourceConfig};
use crate::error::{Error, Exit, Result};
use crate::job::{Credential as JobCredential, GraphSource, SecretFrom};

/// A secret longer than this is none: a file was named by mistake.
const SECRET_BYTES_MAX: u64 = 64 * 1024;

/// Resolves the job's source; reads the secret from where the job says it lies.
pub fn config(job: &GraphSource) -> Result<SourceConfig> {
    let JobCredential::Secret(from) = &job.credential;
    let credential = Credential::Secret(secret(from)?);
    let mut config = SourceConfig::new(job.tenant.clone(), job.client_id.to_string(), credential);
    if let Some(authority) = &job.authority {
        config.authority.clone_from(authority);
    }
    if let Some(graph) = &job.graph {
        config.graph.clone_from(graph);
    }
    config.quota_share = job.quota_share;
    config.memberships = job.memberships;
    config.refuse_excess_rights = job.refuse_excess_rights;
    if let Some(most) = job.max_in_flight {
        config.in_flight_max = most as usize;
    }
    Ok(config)
}

fn secret(from: &SecretFrom) -> Result<SecretString> {
    let text = match from {
        SecretFrom::Env(name) => std::env::var(name)
            .map_err(|_| refused(format!("the environment variable {name}"), "it is not set".into()))?,
        SecretFrom::File(path) => read(path)?,
        SecretFrom::Credential(name) => {
            let folder = std::env::var_os("CREDENTIALS_DIRECTORY").ok_or_else(|| {
                refused(format!("the credential {name}"), "CREDENTIALS_DIRECTORY is not set".into())
                    .hint("run it as a systemd service with LoadCredential=, or name the file with `file = …`")
            })?;
            read(&Path::new(&folder).join(name))?
        }
        SecretFrom::Command(words) => output(words)?,
    };
    let text = text.trim_end_matches(['\r', '\n']);
    if text.trim().is_empty() {
        return Err(refused(place(from), "it is empty".into()));
    }
    Ok(SecretString::from(text))
}

fn place(from: &SecretFrom) -> String {
    match from {
        SecretFrom::Env(name) => format!("the environment variable {name}"),
        SecretFrom::File(path) => path.display().to_string(),
        SecretFrom::Credential(name) => format!("the credential {name}"),
        SecretFrom::Command(words) => format!("the command {}", words.first().map_or("", String::as_str)),
    }
}

fn refused(place: String, why: String) -> Error {
    Error::new(Exit::SignIn, format!("cannot take the client secret from {place}"))
        .cause(why)
        .hint("put the *value* of the client secret there (not its id), and nothing else")
}

fn read(path: &Path) -> Result<String> {
    let fail = |cause: String| refused(path.display().to_string(), cause);
    let file = std::fs::File::open(path).map_err(|cause| fail(cause.to_string()))?;
    let mut text = String::new();
    let read = file.take(SECRET_BYTES_MAX).read_to_string(&mut text);
    read.map(|_| text).map_err(|cause| fail(cause.to_string()))
}

fn output(words: &[String]) -> Result<String> {
    let place = || format!("the command {}", words.first().map_or("", String::as_str));
    let (program, arguments) = words.split_first().ok_or_else(|| refused(place(), "it is empty".into()))?;
    let output = Command::new(program).args(arguments).output();
    let output = output.map_err(|cause| refused(place(), cause.to_string()))?;
    if !output.status.success() {
        // What it printed may hold the secret: it is not repeated.
        return Err(refused(place(), format!("it ended with {}", output.status)));
    }
    String::from_utf8(output.stdout).map_err(|_| refused(place(), "what it printed is not text".into()))
}
