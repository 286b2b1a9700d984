//! `POST /$batch`: up to twenty requests in one.
//!
//! Hides: the envelope, the order of the answers (reversed, so that nobody leans on it), and `dependsOn`.
//! <https://learn.microsoft.com/graph/json-batching>
//! Deliberately does not: price or throttle: the caller answers each inner request as any other.

use std::collections::HashMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

use crate::reply::{self, Failure, Ids, Reply};

/// The most requests in a batch.
const LIMIT: usize = 20;

/// One inner request.
pub(crate) struct Inner {
    pub method: String,
    /// Relative to the version, beginning with a slash.
    pub url: String,
    headers: HashMap<String, String>,
    pub body: Vec<u8>,
}

impl Inner {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }
}

/// Answers a batch by answering each of its requests with `one`.
pub(crate) fn answer(body: &[u8], ids: &Ids, mut one: impl FnMut(&Inner) -> Reply) -> Result<Reply, Failure> {
    let wrong = |message: &str| Failure::new(400, "BadRequest", message);
    let body: Value = serde_json::from_slice(body).map_err(|_| wrong("Unable to read JSON request payload."))?;
    let requests = body.get("requests").and_then(Value::as_array).filter(|requests| !requests.is_empty());
    let requests = requests.ok_or_else(|| wrong("Invalid batch payload format."))?;
    if requests.len() > LIMIT {
        return Err(wrong(&format!("Number of batch request steps exceeds the maximum value of {LIMIT}.")));
    }
    let mut statuses: HashMap<String, u16> = HashMap::new();
    let mut responses = Vec::new();
    for request in requests {
        let id = request.get("id").and_then(Value::as_str).ok_or_else(|| wrong("Invalid batch payload format."))?;
        if statuses.contains_key(&id.to_lowercase()) {
            return Err(wrong(&format!("Request Id '{id}' is not unique.")));
        }
        let inner = read(request).ok_or_else(|| wrong("Invalid batch payload format."))?;
        let before = request.get("dependsOn").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str);
        let failed = before.into_iter().any(|id| statuses.get(&id.to_lowercase()).is_none_or(|status| *status >= 400));
        let reply = if failed {
            Failure::new(424, "FailedDependency", "A request this one depends on failed.").reply(ids)
        } else {
            one(&inner)
        };
        statuses.insert(id.to_lowercase(), reply.status);
        responses.push(response(id, &reply));
    }
    responses.reverse();
    Ok(reply::json(200, json!({"responses": responses}).to_string()))
}

fn read(request: &Value) -> Option<Inner> {
    let headers = request.get("headers").and_then(Value::as_object);
    let headers = headers
        .into_iter()
        .flatten()
        .filter_map(|(name, value)| Some((name.to_lowercase(), value.as_str()?.to_owned())));
    let url = request.get("url")?.as_str()?;
    if url.contains("://") || url.contains("$batch") {
        return None;
    }
    Some(Inner {
        method: request.get("method")?.as_str()?.to_uppercase(),
        url: format!("/{}", url.trim_start_matches('/')),
        headers: headers.collect(),
        body: request.get("body").map(|body| body.to_string().into_bytes()).unwrap_or_default(),
    })
}

fn response(id: &str, reply: &Reply) -> Value {
    let mut headers: Map<String, Value> =
        [("Cache-Control".into(), "no-cache".into()), ("Content-Type".into(), reply.content_type.into())]
            .into_iter()
            .collect();
    headers.extend(reply.headers.iter().map(|(name, value)| (name.to_string(), Value::from(value.as_str()))));
    let body = serde_json::from_slice(&reply.body).unwrap_or_else(|_| Value::from(STANDARD.encode(&reply.body)));
    json!({"id": id, "status": reply.status, "headers": headers, "body": body})
}
