//! What a request that was not answered well means for the caller.
//!
//! Hides the shapes in which services put their error messages. Deliberately decides no exit code: whether a refusal
//! ends the run is the caller's knowledge.

use std::fmt;

use serde_json::Value;
use url::Url;

use super::Response;
use super::trouble::Trouble;

/// Longest message that is taken over from a service.
const MESSAGE_CHARS_MAX: usize = 300;

/// Why there is no usable answer. `acted` tells whether the service may have acted on a request all the same.
#[derive(Clone, Debug)]
pub enum HttpError {
    /// The service answered, but not usably, until the tries or the retry budget ran out. Later may be better.
    Exhausted { tries: u32, last: String, acted: bool },
    /// The service answered no; asking again changes nothing.
    Refused(Box<Refusal>),
    /// No answer at all: name resolution, connection, TLS, time-out.
    Unreachable { tries: u32, host: String, trouble: Trouble, last: String, acted: bool },
    /// The address leads to another server than the configured one. Nothing was sent.
    NotAllowed { host: String },
    /// The answer is larger than the limit. Asking for less may help.
    TooLarge { limit_bytes: usize },
}

impl HttpError {
    /// The refusal, if it is one.
    pub fn refusal(&self) -> Option<&Refusal> {
        match self {
            HttpError::Refused(refusal) => Some(refusal),
            _ => None,
        }
    }

    /// What stood in the way of an answer, when none came.
    pub fn trouble(&self) -> Option<&Trouble> {
        match self {
            HttpError::Unreachable { trouble, .. } => Some(trouble),
            _ => None,
        }
    }

    /// Whether a request that changes something may have done so.
    pub fn may_have_acted(&self) -> bool {
        match self {
            HttpError::Exhausted { acted, .. } | HttpError::Unreachable { acted, .. } => *acted,
            HttpError::TooLarge { .. } => true,
            HttpError::Refused(_) | HttpError::NotAllowed { .. } => false,
        }
    }
}

impl fmt::Display for HttpError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            HttpError::Exhausted { tries, last, .. } => {
                write!(f, "no usable answer in {tries} tries; the last: {last}")
            }
            HttpError::Refused(refusal) => fmt::Display::fmt(refusal, f),
            HttpError::Unreachable { tries, host, trouble, last, .. } => {
                let plural = if *tries == 1 { "try" } else { "tries" };
                write!(f, "{host} does not answer ({tries} {plural}): {trouble}: {last}")
            }
            HttpError::NotAllowed { host } => {
                write!(f, "the address leads to {host}, which is not the configured host")
            }
            HttpError::TooLarge { limit_bytes } => write!(f, "the answer is larger than {limit_bytes} bytes"),
        }
    }
}

impl std::error::Error for HttpError {}

/// The service's no.
#[derive(Clone, Debug)]
pub struct Refusal {
    /// The innermost code that the body names: `Authorization_RequestDenied`, `invalid_client`.
    pub code: Option<String>,
    /// The body's message, shortened and without control characters.
    pub message: Option<String>,
    pub response: Response,
}

impl Refusal {
    pub(crate) fn new(response: Response) -> Refusal {
        let body = serde_json::from_slice(&response.body).unwrap_or(Value::Null);
        Refusal { code: code(&body), message: message(&body).map(|text| plain(&text)), response }
    }

    pub fn status(&self) -> u16 {
        self.response.status
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HTTP {}", self.status())?;
        if let Some(code) = &self.code {
            write!(f, " {code}")?;
        }
        if let Some(message) = &self.message {
            write!(f, ": {message}")?;
        }
        write!(f, " (client-request-id {}", self.response.client_request_id)?;
        if let Some(id) = self.response.request_id() {
            write!(f, ", request-id {}", plain(id))?;
        }
        f.write_str(")")
    }
}

/// `{"error":{"code","innerError":{"code"}}}` as Graph sends it, or `{"error":"code"}` as OAuth does. The innermost code
/// counts, but not one that only repeats the status. <https://learn.microsoft.com/graph/errors>
fn code(body: &Value) -> Option<String> {
    let mut at = body.get("error")?;
    let mut found = None;
    // Nesting is shallow in practice; the limit only keeps a hostile body from costing time.
    for _ in 0..8 {
        let code = at.as_str().or_else(|| at.get("code").and_then(Value::as_str)).unwrap_or_default();
        if !code.is_empty() && !code.bytes().all(|byte| byte.is_ascii_digit()) {
            found = Some(plain(code));
        }
        match at.get("innerError").or_else(|| at.get("innererror")) {
            Some(inner) => at = inner,
            None => break,
        }
    }
    found
}

fn message(body: &Value) -> Option<String> {
    let text = |value: &Value| value.as_str().map(str::to_owned).filter(|text| !text.is_empty());
    let listed = |value: &Value| {
        let list = value.as_array()?.iter().filter_map(Value::as_str).collect::<Vec<_>>();
        (!list.is_empty()).then(|| list.join("; "))
    };
    None.or_else(|| text(body.pointer("/error/message")?))
        .or_else(|| text(body.get("error_description")?))
        .or_else(|| listed(body.get("errorMessages")?))
        .or_else(|| text(body.get("message")?))
}

/// Foreign text for messages: one line, no control characters, not too long.
pub(crate) fn plain(text: &str) -> String {
    let spaced = text.split(|c: char| c.is_whitespace() || c.is_control()).filter(|word| !word.is_empty());
    let line = spaced.collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(MESSAGE_CHARS_MAX) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line,
    }
}

pub(super) fn host_of(url: &Url) -> String {
    plain(&url.origin().ascii_serialization())
}
