//! Signing in as an application (client credentials), and what the token says about itself.
//!
//! Hides Microsoft's `azure_identity`, the token's life time and its renewal: early, and once after a 401, never per
//! request. Deliberately does not verify tokens: they are for Graph; the claims are read for diagnostics only.
//! <https://learn.microsoft.com/entra/identity-platform/v2-oauth2-client-creds-grant-flow>

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use azure_core::cloud::CustomConfiguration;
use azure_core::credentials::TokenCredential;
use azure_core::http::request::Body;
use azure_core::http::{AsyncRawResponse, ClientOptions, HttpClient, RetryOptions, Transport, headers::Headers};
use azure_identity::{ClientSecretCredential, ClientSecretCredentialOptions};
use reqwest::header::{HeaderName, HeaderValue};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use url::Url;

use super::aadsts;
use super::collections::{RECOMMENDED, Rights};
use super::{Credential, SourceConfig};
use crate::clock::Clock;
use crate::error::{Error, Exit, Result};
use crate::http::{Endpoint, Http, HttpError, Lane, Pace, Request};

/// A token is renewed when less than this is left, or a quarter of its life if that is shorter.
/// <https://learn.microsoft.com/entra/identity-platform/reference-error-codes> (AADSTS50196 punishes loops)
const RENEW_BEFORE: Duration = Duration::from_secs(300);
/// Renewals after a 401 in one run; more would be a loop.
const FORCED_RENEWALS_MAX: u32 = 10;
/// Tries while Entra says `temporarily_unavailable`.
const BUSY_TRIES_MAX: u32 = 6;

/// A token for Graph. Prints nothing of itself.
#[derive(Clone, Debug)]
pub struct Token {
    text: SecretString,
    claims: Option<Claims>,
    /// When to renew it, as [`Clock::real_elapsed`]: its life is counted by Entra.
    renew_at: Duration,
    number: u32,
}

impl Token {
    /// The text for the `Authorization` header.
    pub(super) fn text(&self) -> &str {
        self.text.expose_secret()
    }

    /// What it says about itself, if it can be read at all.
    pub fn claims(&self) -> Option<&Claims> {
        self.claims.as_ref()
    }

    /// The permissions it carries.
    pub fn rights(&self) -> Rights {
        Rights(self.claims.as_ref().map(|claims| claims.roles.clone().unwrap_or_default()))
    }
}

/// The claims that say what a token can do.
/// <https://learn.microsoft.com/entra/identity-platform/access-token-claims-reference>
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct Claims {
    /// Application permissions; missing when nothing was consented.
    pub roles: Option<BTreeSet<String>>,
    /// Delegated permissions, separated by blanks; an application's token has none.
    pub scp: Option<String>,
    /// The tenant.
    pub tid: Option<String>,
    /// `app` or `user`; often missing.
    pub idtyp: Option<String>,
    /// The application.
    pub appid: Option<String>,
    /// End of life in Unix seconds.
    pub exp: Option<i64>,
}

/// Reads a token's claims without verifying anything; none if it is not a readable JWT.
pub fn claims(token: &str) -> Option<Claims> {
    let payload = token.split('.').nth(1)?;
    // Some issuers pad, some do not; the decoder wants padding.
    let bare = payload.trim_end_matches('=');
    let padded = format!("{bare}{}", "=".repeat((4 - bare.len() % 4) % 4));
    let bytes = azure_core::base64::decode_url_safe(&padded).or_else(|_| azure_core::base64::decode_url_safe(bare));
    serde_json::from_slice(&bytes.ok()?).ok()
}

/// The signed-in application.
#[derive(Debug)]
pub(super) struct Auth {
    tenant: String,
    client_id: String,
    credential: Credential,
    authority: Url,
    scope: String,
    lane: Lane,
    clock: Clock,
    state: tokio::sync::Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    token: Option<Token>,
    forced: u32,
}

impl Auth {
    pub fn new(config: &SourceConfig, http: &Http) -> Result<Auth> {
        let authority = Endpoint::new(config.authority.clone())?;
        let label = format!("sign-in {}", config.client_id);
        let lane = http.lane(&authority, &label, Pace { units_per_s: 5.0, burst_units: 5.0, in_flight_max: 1 })?;
        Ok(Auth {
            tenant: config.tenant.clone(),
            client_id: config.client_id.clone(),
            credential: config.credential.clone(),
            authority: config.authority.clone(),
            // One resource only, and the cloud's own: https://learn.microsoft.com/graph/deployments
            scope: format!("{}/.default", config.graph.origin().ascii_serialization()),
            lane,
            clock: http.clock().clone(),
            state: tokio::sync::Mutex::default(),
        })
    }

    /// The current token; asks for one when there is none or its life is nearly over.
    pub async fn token(&self) -> Result<Token> {
        let mut state = self.state.lock().await;
        match &state.token {
            Some(token) if self.clock.real_elapsed() < token.renew_at => Ok(token.clone()),
            _ => self.renew(&mut state).await,
        }
    }

    /// A token to replace one that Graph answered with 401; none if asking again would be a loop.
    pub async fn replacement(&self, refused: &Token) -> Result<Option<Token>> {
        let mut state = self.state.lock().await;
        if let Some(token) = &state.token
            && token.number != refused.number
        {
            return Ok(Some(token.clone()));
        }
        if state.forced >= FORCED_RENEWALS_MAX {
            return Ok(None);
        }
        state.forced += 1;
        self.renew(&mut state).await.map(Some)
    }

    async fn renew(&self, state: &mut State) -> Result<Token> {
        let (text, life) = self.acquire().await?;
        let margin = RENEW_BEFORE.min(life / 4);
        let token = Token {
            claims: claims(text.expose_secret()),
            text,
            renew_at: self.clock.real_elapsed() + life.saturating_sub(margin),
            number: state.token.as_ref().map_or(0, |token| token.number + 1),
        };
        tracing::debug!(life_s = life.as_secs(), "signed in");
        state.token = Some(token.clone());
        Ok(token)
    }

    /// Asks Entra for a token; returns it with the time it lives.
    async fn acquire(&self) -> Result<(SecretString, Duration)> {
        let mut tries = 1;
        loop {
            let transport = Arc::new(SignInTransport {
                lane: self.lane.clone(),
                authority: self.authority.clone(),
                failure: Mutex::default(),
            });
            let failure = match self.credential(transport.clone())?.get_token(&[&self.scope], None).await {
                Ok(token) => {
                    let life = token.expires_on - azure_core::time::OffsetDateTime::now_utc();
                    let text = token.token.secret().to_owned().into();
                    return Ok((text, Duration::try_from(life).unwrap_or_default()));
                }
                Err(cause) => (transport.failure.lock().unwrap_or_else(PoisonError::into_inner).take(), cause),
            };
            let busy = failure
                .0
                .as_ref()
                .and_then(HttpError::refusal)
                .is_some_and(|refusal| refusal.code.as_deref() == Some("temporarily_unavailable"));
            if !busy || tries == BUSY_TRIES_MAX {
                return Err(self.explain(failure.0, &failure.1));
            }
            self.clock.sleep(Duration::from_secs(1 << tries)).await;
            tries += 1;
        }
    }

    /// A new credential each time, because its own cache cannot be told that Graph refused a token.
    fn credential(&self, transport: Arc<SignInTransport>) -> Result<Arc<dyn TokenCredential>> {
        let mut cloud = CustomConfiguration::default();
        // The library wants https; the transport goes back to the configured address.
        cloud.authority_host = format!("https://{}/", self.authority.host_str().unwrap_or_default());
        let client_options = ClientOptions {
            transport: Some(Transport::new(transport)),
            retry: RetryOptions::none(),
            cloud: Some(Arc::new(cloud.into())),
            ..ClientOptions::default()
        };
        let Credential::Secret(secret) = &self.credential;
        let options = ClientSecretCredentialOptions { client_options };
        let secret = secret.expose_secret().to_owned().into();
        match ClientSecretCredential::new(&self.tenant, self.client_id.clone(), secret, Some(options)) {
            Ok(credential) => Ok(credential),
            Err(cause) => Err(Error::usage(format!("cannot sign in to tenant {}", self.tenant))
                .because(cause)
                .hint("Check tenant, client_id and the credential: none may be empty.")),
        }
    }

    fn explain(&self, failure: Option<HttpError>, cause: &azure_core::Error) -> Error {
        let what = format!("cannot sign in to tenant {} as application {}", self.tenant, self.client_id);
        match failure {
            Some(HttpError::Refused(refusal)) => {
                let text = refusal.message.clone().unwrap_or_default();
                let advice = aadsts::advice(&aadsts::codes_in(&text));
                let mut error = Error::new(Exit::SignIn, what);
                if let Some(advice) = advice {
                    error = error.cause(advice.cause);
                }
                let hint = advice
                    .map_or("Look the AADSTS number up at https://login.microsoftonline.com/error.", |a| a.remedy);
                error.cause(refusal.to_string()).hint(hint)
            }
            Some(failure) => Error::new(Exit::Unreachable, what)
                .because(failure)
                .hint("Check the network, the proxy variables and the authority address, then run again."),
            // The library itself refused; its message holds no secret, but may run over lines.
            None => Error::new(Exit::SignIn, what).cause(crate::http::plain(&cause.to_string())),
        }
    }
}

/// Refuses a token that lets the program read nothing, with the reason: Entra issues it all the same, and the failure
/// would show up only as Graph's 403 later.
pub(super) fn refuse_powerless(token: &Token, client_id: &str) -> Result<()> {
    let Some(claims) = token.claims() else { return Ok(()) };
    if claims.roles.as_ref().is_some_and(|roles| !roles.is_empty()) {
        return Ok(());
    }
    let error =
        Error::new(Exit::SignIn, format!("application {client_id} signed in, but has no application permission"));
    let hint = format!(
        "In the app registration under API permissions add Microsoft Graph > *Application* permissions ({}), then \
         grant admin consent.",
        RECOMMENDED.join(", ")
    );
    Err(match &claims.scp {
        Some(_) => error.cause("its token carries delegated permissions, which only work for a signed-in user"),
        None => {
            error.cause("its token carries no roles: none was added, only delegated ones were, or consent is missing")
        }
    }
    .hint(hint))
}

/// Carries the library's requests over our own client, to the configured authority.
#[derive(Debug)]
struct SignInTransport {
    lane: Lane,
    authority: Url,
    /// What went wrong, in our terms, when something did.
    failure: Mutex<Option<HttpError>>,
}

impl SignInTransport {
    fn translate(&self, request: &azure_core::http::Request) -> azure_core::Result<Request> {
        let other = |text: &'static str| azure_core::Error::with_message(azure_core::error::ErrorKind::Other, text);
        let mut url = self.authority.clone();
        url.set_path(request.url().path());
        url.set_query(request.url().query());
        let Body::Bytes(body) = request.body() else { return Err(other("a sign-in request has no stream")) };
        let mut ours = Request::post(url, body.clone()).repeatable();
        for (name, value) in request.headers().iter() {
            let name = name.as_str();
            // These two are the client's business.
            if name.eq_ignore_ascii_case("user-agent") || name.eq_ignore_ascii_case("content-length") {
                continue;
            }
            let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| other("a header's name is not valid"))?;
            let value = HeaderValue::from_str(value.as_str()).map_err(|_| other("a header's value is not valid"))?;
            ours.headers.insert(name, value);
        }
        Ok(ours)
    }
}

#[async_trait::async_trait]
impl HttpClient for SignInTransport {
    async fn execute_request(&self, request: &azure_core::http::Request) -> azure_core::Result<AsyncRawResponse> {
        let request = self.translate(request)?;
        let is_token = |response: &crate::http::Response| {
            #[derive(Deserialize)]
            struct Shape {
                #[serde(rename = "access_token")]
                _token: serde::de::IgnoredAny,
            }
            // serde's own message would quote the body.
            serde_json::from_slice::<Shape>(&response.body).map_err(|_| "not a token".to_owned())?;
            Ok(response.clone())
        };
        let response = match self.lane.fetch(&request, is_token).await {
            Ok(response) => response,
            Err(failure) => {
                let answer = failure.refusal().map(|refusal| refusal.response.clone());
                let text = failure.to_string();
                *self.failure.lock().unwrap_or_else(PoisonError::into_inner) = Some(failure);
                match answer {
                    Some(response) => response,
                    None => return Err(azure_core::Error::with_message(azure_core::error::ErrorKind::Io, text)),
                }
            }
        };
        Ok(AsyncRawResponse::from_bytes(response.status.into(), Headers::new(), response.body))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(claims: &str) -> String {
        let encode = |text: &str| azure_core::base64::encode_url_safe(text).trim_end_matches('=').to_owned();
        format!("{}.{}.sig", encode("{}"), encode(claims))
    }

    #[test]
    fn claims_are_read_without_a_signature() {
        let read = claims(&token(r#"{"roles":["User.Read.All"],"tid":"t","idtyp":"app","exp":7,"x":[]}"#)).unwrap();
        assert_eq!(read.roles.unwrap().into_iter().collect::<Vec<_>>(), ["User.Read.All"]);
        assert_eq!((read.tid.as_deref(), read.exp), (Some("t"), Some(7)));
        assert_eq!(claims("opaque"), None);
        assert_eq!(claims("a.%.c"), None);
    }

    #[test]
    fn a_token_without_roles_is_refused_with_what_to_do() {
        let made = |json: &str| Token {
            claims: claims(&token(json)),
            text: "x".to_owned().into(),
            renew_at: Duration::ZERO,
            number: 0,
        };
        let error = refuse_powerless(&made("{}"), "app").unwrap_err();
        assert_eq!(error.exit, Exit::SignIn);
        assert!(error.to_string().contains("grant admin consent"));
        let error = refuse_powerless(&made(r#"{"scp":"User.Read"}"#), "app").unwrap_err();
        assert!(error.to_string().contains("delegated"));
        assert!(refuse_powerless(&made(r#"{"roles":["User.Read.All"]}"#), "app").is_ok());
    }
}
