//! Who may sign in, with what, on which base, and what that allows.
//!
//! Hides Basic, Bearer and the OAuth 2.0 client credentials with the tokens they lead to. A scoped token is good below
//! `/ex/jira/{cloudId}` alone, a classic one everywhere else; nothing in a token tells which it is.
//! Deliberately knows one right per account, not single schemas.

use std::collections::HashMap;
use std::sync::Mutex;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::reply::{self, Reply};

/// One who may sign in.
#[derive(Clone, Debug)]
pub struct Account {
    /// For the log.
    pub name: String,
    pub proof: Proof,
    pub right: Right,
}

/// What an account shows.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Proof {
    Basic {
        user: String,
        password: String,
        scoped: bool,
    },
    Bearer {
        token: String,
        scoped: bool,
    },
    /// OAuth 2.0 client credentials; the tokens they lead to are scoped on Cloud.
    Client {
        id: String,
        secret: String,
    },
}

/// What an account may do, each including those before it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Right {
    /// Signs in, and sees no schema.
    Nothing,
    Read,
    /// Objects.
    Write,
    /// Types, attributes and statuses too.
    Manage,
}

/// Which door a request came through.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Door {
    /// The site's own host, or the plain gateway.
    Plain,
    /// Below `/ex/jira/{cloudId}`.
    Scoped,
    DataCenter,
}

/// The tokens that were issued, each with its account and the second in which it ends.
#[derive(Default)]
pub(crate) struct Issued(Mutex<HashMap<String, (usize, i64)>>);

/// The account that a request belongs to; without one, the refusal.
pub(crate) fn authorize<'a>(
    accounts: &'a [Account],
    issued: &Issued,
    header: Option<&str>,
    door: Door,
    now_s: i64,
) -> Result<&'a Account, Reply> {
    let refused = || match door {
        Door::DataCenter => {
            reply::error(401, "You are not authenticated. Authentication required to perform this operation.")
        }
        // <https://developer.atlassian.com/cloud/assets/rest/intro/>: the gateway's own shape.
        Door::Plain | Door::Scoped => reply::json(401, &json!({"code": 401, "message": "Unauthorized"})),
    };
    let header = header.ok_or_else(refused)?;
    let fits = |scoped: bool| match door {
        Door::DataCenter => true,
        Door::Plain => !scoped,
        Door::Scoped => scoped,
    };
    let found = if let Some(text) = header.strip_prefix("Basic ") {
        let text =
            STANDARD.decode(text.trim()).ok().and_then(|bytes| String::from_utf8(bytes).ok()).unwrap_or_default();
        let (name, shown) = text.split_once(':').unwrap_or_default();
        accounts.iter().find(|account| {
            matches!(&account.proof, Proof::Basic { user, password, scoped }
                if user == name && password == shown && fits(*scoped))
        })
    } else if let Some(shown) = header.strip_prefix("Bearer ") {
        let told = accounts.iter().find(
            |account| matches!(&account.proof, Proof::Bearer { token, scoped } if token == shown && fits(*scoped)),
        );
        told.or_else(|| {
            let issued = issued.0.lock().expect("no panic while looking at tokens");
            let (at, ends_s) = issued.get(shown)?;
            (*ends_s > now_s && fits(true)).then(|| &accounts[*at])
        })
    } else {
        None
    };
    found.ok_or_else(refused)
}

/// Answers the token endpoint. <https://www.rfc-editor.org/rfc/rfc6749#section-4.4>
pub(crate) fn token(accounts: &[Account], issued: &Issued, body: &[u8], now_s: i64, life_s: i64) -> Reply {
    let form: HashMap<String, String> = match serde_json::from_slice::<Value>(body) {
        Ok(Value::Object(fields)) => {
            fields.into_iter().filter_map(|(name, value)| Some((name, value.as_str()?.to_owned()))).collect()
        }
        _ => url::form_urlencoded::parse(body).into_owned().collect(),
    };
    let field = |name: &str| form.get(name).map(String::as_str).unwrap_or_default();
    let refused =
        |status, error: &str, words: &str| reply::json(status, &json!({"error": error, "error_description": words}));
    if field("grant_type") != "client_credentials" {
        return refused(400, "unsupported_grant_type", "only client_credentials is served here");
    }
    let known = accounts.iter().position(|account| {
        matches!(&account.proof, Proof::Client { id, secret } if id == field("client_id") && secret == field("client_secret"))
    });
    let Some(at) = known else { return refused(401, "access_denied", "Unauthorized") };
    let token = format!("issued-{:032x}", fastrand::u128(..));
    issued.0.lock().expect("no panic while issuing").insert(token.clone(), (at, now_s + life_s));
    reply::json(
        200,
        &json!({"access_token": token, "expires_in": life_s, "token_type": "Bearer", "scope": "read:cmdb-object:jira write:cmdb-object:jira"}),
    )
}
