//! A request and an answer, before and after they are HTTP.

use std::borrow::Cow;
use std::time::Duration;

/// The parts of an HTTP request that matter.
#[derive(Clone, Debug, Default)]
pub struct Incoming {
    pub method: String,
    pub path: String,
    /// Without the question mark; empty where there is none.
    pub query: String,
    pub host: String,
    /// Names in small letters.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Incoming {
    /// The first header of this name, which is given in small letters.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(own, _)| own == name).map(|(_, value)| value.as_str())
    }

    /// Path and query as sent.
    pub fn target(&self) -> String {
        if self.query.is_empty() { self.path.clone() } else { format!("{}?{}", self.path, self.query) }
    }
}

/// An answer before it becomes HTTP.
#[derive(Clone, Debug)]
pub struct Reply {
    pub status: u16,
    pub content_type: &'static str,
    pub headers: Vec<(Cow<'static, str>, String)>,
    pub body: Vec<u8>,
}

impl Reply {
    pub fn new(status: u16, content_type: &'static str, body: impl Into<Vec<u8>>) -> Self {
        Self { status, content_type, headers: Vec::new(), body: body.into() }
    }

    #[must_use]
    pub fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }
}

/// An answer, and how it is to be sent.
#[derive(Clone, Debug)]
pub struct Outgoing {
    pub reply: Reply,
    /// From the request's arrival to the first byte, at least.
    pub delay: Duration,
    pub manner: Manner,
}

impl Outgoing {
    /// The status that the client sees; 0 when the connection is closed instead.
    pub fn status(&self) -> u16 {
        if self.manner == Manner::Reset { 0 } else { self.reply.status }
    }
}

/// How an answer is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manner {
    Whole,
    /// `Content-Length` promises more than is sent.
    Cut,
    /// The connection is closed instead.
    Reset,
    /// In pieces, with this pause before each.
    Drip(Duration),
}

/// So many seconds from now, as HTTP writes it.
pub fn http_date(seconds: i64) -> String {
    let at = jiff::Timestamp::now() + jiff::SignedDuration::from_secs(seconds);
    at.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string()
}
