//! `--record DIR`: what Microsoft answered, without what is secret or personal, to reproduce a report.
//!
//! A recording is a folder: `recording.json` says what made it, `exchanges.jsonl` holds one line per request in the
//! order of the answers. `graph-sim --replay DIR` answers from it. Hides what is left out ([`Mask`]) and how a token
//! becomes the list of its roles. Deliberately keeps no request header, no token, no secret, no body that is not JSON,
//! and no way back from a mask to the value: its key lives only as long as the recording.

mod mask;

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::error::{Context, Error, Result};
use crate::http::{Request, Response, is_json};
use crate::source::claims;
pub use mask::Mask;

/// The format this program writes.
const FORMAT: &str = "recording/1";
const MANIFEST: &str = "recording.json";
const EXCHANGES: &str = "exchanges.jsonl";

/// Headers of answers that say how a service behaves, and nothing of the directory.
const HEADERS: [&str; 6] = [
    "content-type",
    "date",
    "retry-after",
    "x-ms-resource-unit",
    "x-ms-throttle-limit-percentage",
    "x-ms-throttle-information",
];

/// Writes a recording. Several requests may be noted at once.
#[derive(Debug)]
pub struct Recorder {
    folder: PathBuf,
    mask: Mask,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    to: BufWriter<File>,
    exchanges: u64,
    /// The first failure to write; the run goes on without its recording.
    failure: Option<std::io::Error>,
}

/// One line of `exchanges.jsonl`.
#[derive(Serialize)]
struct Exchange {
    method: String,
    /// Path and query; `token` for whatever gave a token.
    target: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    request: Option<Value>,
    #[serde(flatten)]
    answer: Answer,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Answer {
    /// A token was given: with these roles.
    Token {
        status: u16,
        roles: Value,
    },
    Json {
        status: u16,
        headers: Map<String, Value>,
        body: Value,
    },
    /// Not JSON: a proxy's page, a body cut off. Only its length is kept.
    Opaque {
        status: u16,
        headers: Map<String, Value>,
        opaque_bytes: usize,
    },
    /// No answer came.
    None {
        failure: &'static str,
    },
}

impl Recorder {
    /// Begins a recording in a new or empty folder.
    pub fn create(folder: &Path) -> Result<Recorder> {
        let what = || format!("cannot record into {}", folder.display());
        if std::fs::read_dir(folder).is_ok_and(|mut entries| entries.next().is_some()) {
            return Err(Error::usage(what()).cause("the folder is not empty").hint("name a new folder"));
        }
        private_folder(folder).failing(what)?;
        let manifest = json!({ "format": FORMAT, "program": concat!("entra-import ", env!("CARGO_PKG_VERSION")) });
        let mut file = private_file(&folder.join(MANIFEST)).failing(what)?;
        writeln!(file, "{manifest}").failing(what)?;
        let to = BufWriter::new(private_file(&folder.join(EXCHANGES)).failing(what)?);
        let state = Mutex::new(State { to, exchanges: 0, failure: None });
        Ok(Recorder { folder: folder.to_owned(), mask: Mask::random(), state })
    }

    /// Notes one try of a request and what came of it; no answer is worth noting, too.
    pub fn note(&self, request: &Request, response: Option<&Response>) {
        let answer = response.map_or(Answer::None { failure: "no answer" }, |response| self.answer(request, response));
        let token = matches!(answer, Answer::Token { .. });
        let exchange = Exchange {
            method: request.method.to_string(),
            target: if token { "token".to_owned() } else { self.mask.target(&request.url) },
            // A form carries a secret or an assertion.
            request: serde_json::from_slice(&request.body).ok().filter(|_| is_json(&request.headers)).map(
                |mut body: Value| {
                    self.mask.json(&mut body, &request.url);
                    body
                },
            ),
            answer,
        };
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let State { to, exchanges, failure } = &mut *state;
        *exchanges += 1;
        let written = serde_json::to_writer(&mut *to, &exchange).map_err(Into::into).and_then(|()| to.write_all(b"\n"));
        if let (Err(error), None) = (written, &failure) {
            *failure = Some(error);
        }
    }

    fn answer(&self, request: &Request, response: &Response) -> Answer {
        let status = response.status;
        let kept = HEADERS.into_iter().filter_map(|name| Some((name.to_owned(), response.header(name)?.into())));
        let headers: Map<String, Value> = kept.collect();
        let Ok(mut body) = serde_json::from_slice::<Value>(&response.body) else {
            return Answer::Opaque { status, headers, opaque_bytes: response.body.len() };
        };
        if let Some(token) = body.get("access_token") {
            let roles = token.as_str().and_then(claims).and_then(|claims| claims.roles);
            return Answer::Token { status, roles: json!(roles) };
        }
        if body.get("error").is_some_and(Value::is_string) {
            // A refused sign-in; its description names the tenant and the application.
            let part = |name: &str| body.get(name).cloned().unwrap_or(Value::Null);
            body = json!({ "error": part("error"), "error_codes": part("error_codes") });
            return Answer::Json { status, headers, body };
        }
        self.mask.json(&mut body, &request.url);
        Answer::Json { status, headers, body }
    }

    /// Says what was recorded, or that it is not whole.
    pub fn finish(&self) -> Result<String> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let what = || format!("the recording in {} is not whole", self.folder.display());
        if let Some(failure) = state.failure.take() {
            return Err(failure).failing(what);
        }
        state.to.flush().failing(what)?;
        Ok(format!(
            "{} exchanges recorded in {}, without secrets, names and ids; look at them before you pass them on",
            state.exchanges,
            self.folder.display()
        ))
    }
}

#[cfg(unix)]
fn private_folder(folder: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)
}

#[cfg(not(unix))]
fn private_folder(folder: &Path) -> std::io::Result<()> {
    std::fs::create_dir_all(folder)
}

fn private_file(path: &Path) -> std::io::Result<File> {
    let mut options = File::options();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}
