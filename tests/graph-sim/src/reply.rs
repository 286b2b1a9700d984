//! Answers and errors as Graph prints them.
//!
//! Hides: status lines, error bodies, header names. <https://learn.microsoft.com/graph/errors>
//! Deliberately does not: know why something failed.

use std::fmt::Write as _;

use jiff::Timestamp;
use serde_json::{Value, json};
pub(crate) use sim_server::Reply;

/// The content type of every Graph answer.
pub(crate) const JSON: &str =
    "application/json;odata.metadata=minimal;odata.streaming=true;IEEE754Compatible=false;charset=utf-8";

pub(crate) fn json(status: u16, body: impl Into<Vec<u8>>) -> Reply {
    Reply::new(status, JSON, body)
}

pub(crate) fn text(body: String) -> Reply {
    Reply::new(200, "text/plain", body)
}

pub(crate) fn html(status: u16) -> Reply {
    let body = "<!DOCTYPE html>\r\n<html><head><title>Our services aren't available right now</title></head>\
        <body><h1>Our services aren't available right now</h1><p>We're working to restore all services as soon as possible.</p></body></html>\r\n";
    Reply::new(status, "text/html", body)
}

/// The two ids of a request, echoed in headers and error bodies.
#[derive(Clone, Debug)]
pub(crate) struct Ids {
    pub request: String,
    pub client: String,
}

/// A refusal: status, `code`, `message`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    pub status: u16,
    pub code: &'static str,
    pub message: String,
}

impl Failure {
    pub fn new(status: u16, code: &'static str, message: impl Into<String>) -> Self {
        Self { status, code, message: message.into() }
    }

    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::new(400, "Request_BadRequest", message)
    }

    pub fn unsupported(message: impl Into<String>) -> Self {
        Self::new(400, "Request_UnsupportedQuery", message)
    }

    pub fn denied() -> Self {
        Self::new(403, "Authorization_RequestDenied", "Insufficient privileges to complete the operation.")
    }

    pub fn not_found(id: &str) -> Self {
        let message =
            format!("Resource '{id}' does not exist or one of its queried reference-property objects are not present.");
        Self::new(404, "Request_ResourceNotFound", message)
    }

    /// The error body: `{"error":{"code","message","innerError":{"date","request-id","client-request-id"}}}`.
    pub fn reply(&self, ids: &Ids) -> Reply {
        let body = json!({"error": {"code": self.code, "message": self.message, "innerError": inner(ids)}});
        self::json(self.status, body.to_string())
    }
}

fn inner(ids: &Ids) -> Value {
    json!({"date": error_date(), "request-id": ids.request, "client-request-id": ids.client})
}

/// The body of a 429. <https://learn.microsoft.com/graph/throttling>
pub(crate) fn throttled(ids: &Ids) -> Reply {
    let body = json!({"error": {
        "code": "TooManyRequests",
        "innerError": {"code": "429", "date": error_date(), "message": "Please retry after", "request-id": ids.request, "status": "429"},
        "message": "Please retry again later.",
    }});
    self::json(429, body.to_string())
}

/// `2025-02-13T10:17:06`: the form inside `innerError`.
fn error_date() -> String {
    Timestamp::now().strftime("%Y-%m-%dT%H:%M:%S").to_string()
}

/// A GUID out of two numbers, its version and variant bits set.
pub(crate) fn guid(high: u64, low: u64) -> String {
    let mut text = String::with_capacity(36);
    let (a, b, c) = (high >> 32, (high >> 16) & 0xffff, (high & 0x0fff) | 0x4000);
    let (d, e) = (((low >> 48) & 0x3fff) | 0x8000, low & 0xffff_ffff_ffff);
    write!(text, "{a:08x}-{b:04x}-{c:04x}-{d:04x}-{e:012x}").expect("writing to a string");
    text
}
