//! The token endpoint: client credentials with a secret or an assertion, and what Graph makes of the token later.
//!
//! Hides: the shapes of answers and AADSTS errors, and the claims.
//! <https://learn.microsoft.com/entra/identity-platform/v2-oauth2-client-creds-grant-flow>
//! <https://learn.microsoft.com/entra/identity-platform/reference-error-codes>
//! Deliberately does not: know other grants. Assertions are checked in `assertion`.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE, URL_SAFE_NO_PAD};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use sim_server::hash;

use crate::assertion::{self, Federation};
use crate::reply::{self, Failure, Reply, guid};
use crate::rights::Roles;

/// What the endpoint knows of the one registered application.
#[derive(Clone, Debug)]
pub(crate) struct Registration {
    pub tenant: String,
    pub domain: String,
    pub client_id: String,
    pub secret: String,
    pub expired_secret: Option<String>,
    pub roles: Vec<String>,
    pub delegated: bool,
    pub expires_in: i64,
    pub expires_in_text: bool,
    /// The resources a scope may name: Graph's host and the simulator's own.
    pub resources: Vec<String>,
    /// The certificates (DER) whose keys may sign for the application.
    pub certificates: Vec<Vec<u8>>,
    /// The identity provider that is trusted, if any.
    pub federation: Option<Federation>,
    /// Seconds that the service's clock is ahead of this machine's.
    pub clock_ahead_s: i64,
    /// After so many requests a token counts as expired.
    pub requests_per_token: Option<u32>,
    /// The `jti` of assertions so far.
    pub seen: Arc<Mutex<HashSet<String>>>,
    /// How often each token was used.
    pub uses: Arc<Mutex<HashMap<String, u32>>>,
}

impl Registration {
    /// The service's own time.
    pub fn now(&self) -> Timestamp {
        Timestamp::now() + SignedDuration::from_secs(self.clock_ahead_s)
    }
}

/// How an application proved who it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Proof {
    Secret,
    Certificate,
}

/// A refusal of the token endpoint.
pub(crate) struct Refusal {
    status: u16,
    error: &'static str,
    code: u32,
    text: String,
}

impl Refusal {
    pub fn new(error: &'static str, code: u32, text: impl Into<String>) -> Self {
        Self { status: if error == "invalid_client" { 401 } else { 400 }, error, code, text: text.into() }
    }

    /// `error_description` carries CR LF; `timestamp` has a blank where others have a T.
    fn reply(&self, nonce: u64) -> Reply {
        let (trace, correlation) = (guid(hash(b"trace"), nonce), guid(hash(b"correlation"), nonce));
        let timestamp = Timestamp::now().strftime("%Y-%m-%d %H:%M:%SZ").to_string();
        let code = self.code;
        let description = format!(
            "AADSTS{code}: {}\r\nTrace ID: {trace}\r\nCorrelation ID: {correlation}\r\nTimestamp: {timestamp}",
            self.text
        );
        let body = json!({
            "error": self.error, "error_description": description, "error_codes": [code], "timestamp": timestamp,
            "trace_id": trace, "correlation_id": correlation, "error_uri": format!("https://login.microsoftonline.com/error?code={code}"),
        });
        Reply { content_type: "application/json; charset=utf-8", ..reply::json(self.status, body.to_string()) }
    }
}

/// Answers `POST /{tenant}/oauth2/v2.0/token`.
pub(crate) fn answer(
    registration: &Registration,
    address: &str,
    tenant: &str,
    basic: Option<&str>,
    body: &[u8],
    nonce: u64,
) -> Reply {
    let mut form: HashMap<String, String> = url::form_urlencoded::parse(body).into_owned().collect();
    if let Some((client, secret)) = basic.and_then(decode_basic) {
        form.insert("client_id".into(), client);
        form.insert("client_secret".into(), secret);
    }
    match grant(registration, address, tenant, &form) {
        Err(refusal) => refusal.reply(nonce),
        Ok(proof) => {
            let token = issue(registration, proof, nonce);
            let life = match registration.expires_in_text {
                true => json!(registration.expires_in.to_string()),
                false => json!(registration.expires_in),
            };
            let body =
                json!({"token_type": "Bearer", "expires_in": life, "ext_expires_in": life, "access_token": token});
            Reply { content_type: "application/json; charset=utf-8", ..reply::json(200, body.to_string()) }
                .with("Cache-Control", "no-store, no-cache")
        }
    }
}

fn decode_basic(header: &str) -> Option<(String, String)> {
    let text = String::from_utf8(STANDARD.decode(header.strip_prefix("Basic ")?).ok()?).ok()?;
    let (client, secret) = text.split_once(':')?;
    let decode = |text: &str| url::form_urlencoded::parse(text.as_bytes()).next().map(|(text, _)| text.into_owned());
    Some((decode(client)?, decode(secret)?))
}

/// Whether the grant is good, and by which proof.
fn grant(
    registration: &Registration,
    address: &str,
    tenant: &str,
    form: &HashMap<String, String>,
) -> Result<Proof, Refusal> {
    let field = |name: &str| form.get(name).map(String::as_str).filter(|value| !value.is_empty());
    if matches!(tenant, "common" | "consumers" | "organizations") {
        let text = format!(
            "The grant type 'client_credentials' is not supported over the /{tenant} endpoint. Please use a tenant-specific endpoint."
        );
        return Err(Refusal::new("invalid_request", 9_001_023, text));
    }
    known_tenant(registration, tenant)?;
    let missing = |name: &str| {
        Refusal::new(
            "invalid_request",
            900_144,
            format!("The request body must contain the following parameter: '{name}'."),
        )
    };
    let grant_type = field("grant_type").ok_or_else(|| missing("grant_type"))?;
    if grant_type != "client_credentials" {
        let text = format!("The app requested an unsupported grant type '{grant_type}'.");
        return Err(Refusal::new("unsupported_grant_type", 70_003, text));
    }
    let client = field("client_id").ok_or_else(|| missing("client_id"))?;
    if !client.eq_ignore_ascii_case(&registration.client_id) {
        let text = format!(
            "Application with identifier '{client}' was not found in the directory 'Contoso'. This can happen if the application has \
             not been installed by the administrator of the tenant or consented to by any user in the tenant. You may have sent your \
             authentication request to the wrong tenant."
        );
        return Err(Refusal::new("unauthorized_client", 700_016, text));
    }
    check_scope(registration, field("scope").ok_or_else(|| missing("scope"))?)?;
    match (field("client_secret"), field("client_assertion")) {
        (_, Some(assertion)) => {
            let endpoint = format!("{address}/{tenant}/oauth2/v2.0/token");
            let kind = field("client_assertion_type");
            assertion::check(registration, &endpoint, kind, assertion).map(|()| Proof::Certificate)
        }
        (Some(secret), None) => check_secret(registration, secret).map(|()| Proof::Secret),
        (None, None) => Err(Refusal::new(
            "invalid_client",
            7_000_218,
            "The request body must contain the following parameter: 'client_assertion' or 'client_secret'.",
        )),
    }
}

fn known_tenant(registration: &Registration, tenant: &str) -> Result<(), Refusal> {
    let known = [registration.tenant.as_str(), registration.domain.as_str()];
    if known.iter().any(|known| known.eq_ignore_ascii_case(tenant)) {
        return Ok(());
    }
    let shaped = tenant.contains('.')
        || (tenant.len() == 36 && tenant.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-'));
    if !shaped {
        let text =
            format!("Specified tenant identifier '{tenant}' is neither a valid DNS name, nor a valid external domain.");
        return Err(Refusal::new("invalid_request", 900_023, text));
    }
    let text = format!(
        "Tenant '{tenant}' not found. Check to make sure you have the correct tenant ID and are signing into the correct cloud. Check \
         with your subscription administrator, this may happen if there are no active subscriptions for the tenant."
    );
    Err(Refusal::new("invalid_request", 90_002, text))
}

fn check_scope(registration: &Registration, scope: &str) -> Result<(), Refusal> {
    let resource = scope.strip_suffix("/.default");
    if resource.is_some_and(|resource| registration.resources.iter().any(|known| known == resource)) {
        return Ok(());
    }
    let text =
        format!("The provided value for the input parameter 'scope' is not valid. The scope {scope} is not valid.");
    Err(Refusal::new("invalid_scope", 70_011, text))
}

fn check_secret(registration: &Registration, secret: &str) -> Result<(), Refusal> {
    let client = &registration.client_id;
    if secret == registration.secret {
        return Ok(());
    }
    if registration.expired_secret.as_deref() == Some(secret) {
        let text = format!(
            "The provided client secret keys for app '{client}' are expired. Visit the Azure portal to create new keys for your app: https://aka.ms/NewClientSecret, or consider using certificate credentials for added security: https://aka.ms/certCreds."
        );
        return Err(Refusal::new("invalid_client", 7_000_222, text));
    }
    let text = format!(
        "Invalid client secret provided. Ensure the secret being sent in the request is the client secret value, not the client \
         secret ID, for a secret added to app '{client}'."
    );
    Err(Refusal::new("invalid_client", 7_000_215, text))
}

/// Header and claims of a JWT, unverified.
pub(crate) fn decode(token: &str) -> Option<(Value, Value)> {
    let mut parts = token.split('.');
    let mut part =
        || parts.next().and_then(|part| URL_SAFE_NO_PAD.decode(part).or_else(|_| URL_SAFE.decode(part)).ok());
    let (header, claims, _signature) = (part()?, part()?, part()?);
    if parts.next().is_some() {
        return None;
    }
    Some((serde_json::from_slice(&header).ok()?, serde_json::from_slice(&claims).ok()?))
}

/// <https://learn.microsoft.com/entra/identity-platform/access-token-claims-reference>
pub(crate) fn issue(registration: &Registration, proof: Proof, nonce: u64) -> String {
    let now = registration.now().as_second();
    let mut claims = json!({
        "aud": "https://graph.microsoft.com", "iss": format!("https://sts.windows.net/{}/", registration.tenant),
        "iat": now, "nbf": now, "exp": now + registration.expires_in, "app_displayname": "entra-import",
        "appid": registration.client_id, "appidacr": if proof == Proof::Certificate { "2" } else { "1" }, "idtyp": "app",
        "oid": guid(hash(b"service principal"), hash(registration.client_id.as_bytes())),
        "tid": registration.tenant, "uti": format!("{:016x}", hash(&nonce.to_le_bytes())), "ver": "1.0",
    });
    if registration.delegated {
        claims["scp"] = json!(registration.roles.join(" "));
        claims["idtyp"] = json!("user");
    } else if !registration.roles.is_empty() {
        claims["roles"] = json!(registration.roles);
    }
    let header = json!({"typ": "JWT", "alg": "RS256", "kid": "simulated"});
    let signed = [header, claims].map(|part| URL_SAFE_NO_PAD.encode(part.to_string())).join(".");
    format!("{signed}.{}", signature(registration, &signed))
}

/// Not a signature in any serious sense, but enough to refuse tokens that were made up.
fn signature(registration: &Registration, signed: &str) -> String {
    let seal = hash(format!("{}|{}|{signed}", registration.tenant, registration.client_id).as_bytes());
    URL_SAFE_NO_PAD.encode(seal.to_be_bytes().repeat(32))
}

/// The roles of the token in an Authorization header; 401 when there is none that Graph accepts.
/// <https://learn.microsoft.com/graph/resolve-auth-errors>
pub(crate) fn authorize(registration: &Registration, header: Option<&str>) -> Result<Roles, Failure> {
    let refuse = |message: &str| Failure::new(401, "InvalidAuthenticationToken", message);
    let header = header.filter(|header| !header.is_empty()).ok_or_else(|| refuse("Access token is empty."))?;
    let token = header.strip_prefix("Bearer ").ok_or_else(|| refuse("Access token is empty."))?;
    let malformed = "IDX14100: JWT is not well formed, there are no dots (.).";
    let (signed, seal) = token.rsplit_once('.').ok_or_else(|| refuse(malformed))?;
    let (_, claims) = decode(token).ok_or_else(|| refuse("CompactToken parsing failed with error code: 80049217"))?;
    if seal != signature(registration, signed) {
        return Err(refuse("Signature is invalid."));
    }
    let expires = claims.get("exp").and_then(Value::as_i64).unwrap_or_default();
    let worn = registration.requests_per_token.is_some_and(|most| {
        let mut uses = registration.uses.lock().expect("no panic while counting");
        let count = uses.entry(seal.to_owned()).or_default();
        *count += 1;
        *count > most
    });
    if worn || expires <= registration.now().as_second() {
        return Err(refuse("Lifetime validation failed, the token is expired."));
    }
    let roles = claims.get("roles").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str);
    let scopes = claims.get("scp").and_then(Value::as_str).unwrap_or_default().split_whitespace();
    Ok(Roles(roles.chain(scopes).map(str::to_owned).collect()))
}
