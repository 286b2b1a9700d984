//! Answers from a recording (`entra-import extract --record DIR`) instead of from a tenant.
//!
//! Hides: how a request is found again: by method, path, query in any order, and body. The same request asked again
//! gets the next answer that was recorded for it, and in the end the last one for ever.
//! Deliberately does not: check tokens or rights, wait as long as the recorded service did, or know what was not asked.

use std::collections::HashMap;
use std::io;
use std::path::Path;
use std::sync::Mutex;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use sim_server::{Incoming, Manner, Outgoing, Reply, Server, Service};

const JSON: &str = "application/json";

/// A running replay. Dropping it stops it.
pub struct Replay {
    server: Server<Tape>,
}

/// What was recorded, by request, and how often each was asked for now.
struct Tape {
    exchanges: HashMap<String, Vec<Value>>,
    asked: Mutex<HashMap<String, usize>>,
    unknown: Mutex<Vec<String>>,
}

impl Replay {
    /// Listens on 127.0.0.1.
    ///
    /// # Errors
    /// When the port cannot be had, or the folder holds no recording of this format.
    pub async fn start(folder: &Path, port: u16) -> io::Result<Self> {
        Ok(Self { server: Server::start(Tape::read(folder)?, port).await? })
    }

    /// `http://127.0.0.1:PORT`, for sign-in and Graph.
    pub fn base_url(&self) -> String {
        self.server.base_url()
    }

    /// Requests that were not recorded.
    pub fn unknown(&self) -> Vec<String> {
        self.server.service().unknown.lock().expect("no panic while answering").clone()
    }
}

impl Tape {
    fn read(folder: &Path) -> io::Result<Self> {
        let read = |name: &str| std::fs::read_to_string(folder.join(name));
        let bad = |why: String| io::Error::new(io::ErrorKind::InvalidData, why);
        let manifest: Value = serde_json::from_str(&read("recording.json")?)?;
        if manifest["format"] != "recording/1" {
            return Err(bad(format!("{} is no recording/1: {}", folder.display(), manifest["format"])));
        }
        let mut exchanges: HashMap<String, Vec<Value>> = HashMap::new();
        for (at, line) in read("exchanges.jsonl")?.lines().enumerate() {
            let exchange: Value = serde_json::from_str(line)
                .map_err(|cause| bad(format!("exchanges.jsonl, line {}: {cause}", at + 1)))?;
            let (method, target) = (&exchange["method"], &exchange["target"]);
            let (Some(method), Some(target)) = (method.as_str(), target.as_str()) else {
                return Err(bad(format!("exchanges.jsonl, line {}: no method or target", at + 1)));
            };
            let name = name(method, target, exchange.get("request"));
            exchanges.entry(name).or_default().push(exchange);
        }
        Ok(Self { exchanges, asked: Mutex::default(), unknown: Mutex::default() })
    }

    fn next(&self, name: &str) -> Option<&Value> {
        let answers = self.exchanges.get(name)?;
        let mut asked = self.asked.lock().expect("no panic while answering");
        let at = asked.entry(name.to_owned()).or_default();
        let answer = answers.get(*at).or(answers.last());
        *at += 1;
        answer
    }
}

/// A request as it is found again.
fn name(method: &str, target: &str, body: Option<&Value>) -> String {
    if target == "token" {
        return "token".to_owned();
    }
    let url = url::Url::parse("http://replay").and_then(|base| base.join(target));
    let (path, mut query) = match &url {
        Ok(url) => (url.path().to_owned(), url.query_pairs().into_owned().collect::<Vec<_>>()),
        Err(_) => (target.to_owned(), Vec::new()),
    };
    query.sort();
    // Members in one order, however they came.
    let body = body.map(|body| serde_json::from_str::<std::collections::BTreeMap<String, Value>>(&body.to_string()));
    format!("{method} {path} {query:?} {body:?}")
}

impl Service for Tape {
    fn answer(&self, incoming: &Incoming) -> Outgoing {
        Outgoing { reply: self.reply(incoming), delay: Duration::ZERO, manner: Manner::Whole }
    }
}

impl Tape {
    fn reply(&self, incoming: &Incoming) -> Reply {
        let json = serde_json::from_slice::<Value>(&incoming.body).ok();
        let target = incoming.target();
        let name = match target.contains("/oauth2/") {
            true => "token".to_owned(),
            false => name(&incoming.method, &target, json.as_ref()),
        };
        let Some(exchange) = self.next(&name) else {
            self.unknown.lock().expect("no panic while answering").push(name);
            let error =
                json!({ "error": { "code": "NotRecorded", "message": "The recording has no answer to this." } });
            return Reply::new(501, JSON, error.to_string());
        };
        let status = exchange["status"].as_u64().and_then(|status| u16::try_from(status).ok()).unwrap_or(503);
        let text = match (exchange.get("roles"), exchange.get("body")) {
            (Some(roles), _) => token(roles),
            (_, Some(body)) => body.to_string().replace("{graph}", &format!("http://{}", incoming.host)),
            // A page of a proxy, a body cut off, or no answer at all: nothing that can be read.
            _ => "<html>".to_owned(),
        };
        let headers = exchange["headers"].as_object().into_iter().flatten();
        let headers = headers.filter_map(|(name, value)| Some((name.clone().into(), value.as_str()?.to_owned())));
        Reply { headers: headers.collect(), ..Reply::new(status, JSON, text) }
    }
}

/// A token as the recorded one in all that the client reads of it.
fn token(roles: &Value) -> String {
    let claims = match roles {
        Value::Null => json!({}),
        roles => json!({ "roles": roles, "idtyp": "app" }),
    };
    let part = |json: &Value| URL_SAFE_NO_PAD.encode(json.to_string());
    let text = format!("{}.{}.replayed", part(&json!({ "alg": "none", "typ": "JWT" })), part(&claims));
    json!({ "token_type": "Bearer", "expires_in": 3599, "access_token": text }).to_string()
}
