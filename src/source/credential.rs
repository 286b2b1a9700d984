//! Asking for a token: every way to prove who asks, and a person's words for every way to fail.
//!
//! Hides Microsoft's `azure_identity`, which knows the requests, behind our own transport, which knows time-outs,
//! retries and the configured addresses. Deliberately keeps no token; see [`super::auth`].
//! <https://learn.microsoft.com/entra/identity-platform/v2-oauth2-client-creds-grant-flow>

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use azure_core::cloud::CustomConfiguration;
use azure_core::credentials::TokenCredential;
use azure_core::http::request::Body;
use azure_core::http::{
    AsyncRawResponse, ClientMethodOptions, ClientOptions, HttpClient, RetryOptions, Transport, headers::Headers,
};
use azure_identity::{
    AzureCliCredential, AzureCliCredentialOptions, ClientAssertion, ClientAssertionCredential,
    ClientAssertionCredentialOptions, ClientSecretCredential, ClientSecretCredentialOptions, ManagedIdentityCredential,
    ManagedIdentityCredentialOptions, UserAssignedId,
};
use bytes::Bytes;
use jiff::SignedDuration;
use reqwest::header::{HeaderName, HeaderValue};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use serde_json::Value as Json;
use url::Url;

use super::aadsts::{self, advice};
use super::certificate::SigningCertificate;
use super::{Credential, SourceConfig};
use crate::clock::Clock;
use crate::error::{Error, Exit, Result};
use crate::http::{Endpoint, Http, HttpError, HttpSettings, Lane, Method, Pace, Refusal, Request, new_guid, plain};
use crate::job::ManagedIdentity;
use crate::record::Guid;
use crate::secret::SecretFrom;

/// Tries while the other side says that it will soon be better.
const BUSY_TRIES_MAX: u32 = 6;
/// A clock that is off by less is no reason for anything: Entra allows five minutes.
pub const SKEW_WORTH_TELLING: SignedDuration = SignedDuration::from_secs(120);
/// Where App Service and its relatives hand out tokens.
/// <https://learn.microsoft.com/azure/app-service/overview-managed-identity#rest-endpoint-reference>
const IDENTITY_ENDPOINT: &str = "IDENTITY_ENDPOINT";
const IDENTITY_HEADER: &str = "IDENTITY_HEADER";

/// One way to sign in to one tenant.
#[derive(Debug)]
pub(super) struct SignIn {
    tenant: String,
    client_id: String,
    credential: Credential,
    /// Where tokens come from: Entra, or what stands in for it on a managed machine.
    base: Url,
    scope: String,
    lane: Lane,
    clock: Clock,
}

impl SignIn {
    /// Checks the addresses; contacts nobody.
    pub fn new(config: &SourceConfig, http: &Http) -> Result<SignIn> {
        let pace = Pace { units_per_s: 5.0, burst_units: 5.0, in_flight_max: 1 };
        let (base, lane) = match &config.credential {
            Credential::ManagedIdentity(_) => {
                let base = metadata_address(config)?;
                // It is near, and nobody answers where there is none: waiting long helps nobody.
                let connect_timeout = Duration::from_secs(2);
                let settings = HttpSettings { connect_timeout, tries_max: 5, unsent_max: 2, ..HttpSettings::default() };
                let endpoint = Endpoint::metadata(base.clone())?;
                (base, Http::new(http.clock().clone(), settings).lane(&endpoint, "managed identity", pace)?)
            }
            _ => {
                let endpoint = Endpoint::new(config.authority.clone())?.trusting(config.ca_file.as_deref());
                let label = format!("sign-in {}", config.client_id);
                (config.authority.clone(), http.lane(&endpoint, &label, pace)?)
            }
        };
        Ok(SignIn {
            tenant: config.tenant.clone(),
            client_id: config.client_id.clone(),
            credential: config.credential.clone(),
            base,
            // One resource only, and the cloud's own: https://learn.microsoft.com/graph/deployments
            scope: format!("{}/.default", config.graph.origin().ascii_serialization()),
            lane,
            clock: http.clock().clone(),
        })
    }

    /// Where tokens come from.
    pub fn address(&self) -> &Url {
        &self.base
    }

    /// How far the other side's clock is ahead, as its last answer showed.
    pub fn clock_skew(&self) -> Option<SignedDuration> {
        self.lane.clock_skew()
    }

    /// Asks for a token; returns it with the time it lives.
    pub async fn acquire(&self) -> Result<(SecretString, Duration)> {
        let mut tries = 1;
        loop {
            let transport = Arc::new(SignInTransport {
                lane: self.lane.clone(),
                base: self.base.clone(),
                failure: Mutex::default(),
            });
            let trouble = Arc::new(Mutex::default());
            let credential = self.credential(transport.clone(), trouble.clone())?;
            let cause = match credential.get_token(&[&self.scope], None).await {
                Ok(token) => {
                    let life = token.expires_on - azure_core::time::OffsetDateTime::now_utc();
                    let text = token.token.secret().to_owned().into();
                    return Ok((text, Duration::try_from(life).unwrap_or_default()));
                }
                Err(cause) => cause,
            };
            if let Some(error) = trouble.lock().unwrap_or_else(PoisonError::into_inner).take() {
                return Err(error);
            }
            let failure = transport.failure.lock().unwrap_or_else(PoisonError::into_inner).take();
            let busy = failure.as_ref().and_then(HttpError::refusal).is_some_and(|refusal| self.is_busy(refusal));
            if !busy || tries == BUSY_TRIES_MAX {
                return Err(self.explain(failure, &cause));
            }
            self.clock.sleep(Duration::from_secs(1 << tries)).await;
            tries += 1;
        }
    }

    /// Whether asking again soon may help although the answer was no. The metadata service answers 404 and 410 while
    /// it is being updated.
    /// <https://learn.microsoft.com/entra/identity/managed-identities-azure-resources/how-to-use-vm-token#error-handling>
    fn is_busy(&self, refusal: &Refusal) -> bool {
        let managed = matches!(self.credential, Credential::ManagedIdentity(_));
        refusal.code.as_deref() == Some("temporarily_unavailable") || (managed && matches!(refusal.status(), 404 | 410))
    }

    /// A new credential each time, because its own cache cannot be told that Graph refused a token.
    fn credential(
        &self,
        transport: Arc<SignInTransport>,
        trouble: Arc<Mutex<Option<Error>>>,
    ) -> Result<Arc<dyn TokenCredential>> {
        let mut cloud = CustomConfiguration::default();
        // The library wants https; the transport goes back to the configured address.
        cloud.authority_host = format!("https://{}/", self.base.host_str().unwrap_or_default());
        let client_options = ClientOptions {
            transport: Some(Transport::new(transport)),
            retry: RetryOptions::none(),
            cloud: Some(Arc::new(cloud.into())),
            ..ClientOptions::default()
        };
        let assert = |proof: Proof| {
            let assertion = Assertion { proof, trouble };
            let options = ClientAssertionCredentialOptions { client_options: client_options.clone() };
            ClientAssertionCredential::new(self.tenant.clone(), self.client_id.clone(), assertion, Some(options))
                .map(|credential| credential as Arc<dyn TokenCredential>)
        };
        let made = match &self.credential {
            Credential::Secret(secret) => {
                let options = ClientSecretCredentialOptions { client_options };
                let secret = secret.expose_secret().to_owned().into();
                ClientSecretCredential::new(&self.tenant, self.client_id.clone(), secret, Some(options))
                    .map(|credential| credential as Arc<dyn TokenCredential>)
            }
            Credential::Certificate(certificate) => assert(Proof::Certificate {
                certificate: certificate.clone(),
                client_id: self.client_id.clone(),
                endpoint: self.token_endpoint(),
                clock: self.clock.clone(),
            }),
            Credential::Federation(from) => assert(Proof::Federated(from.clone())),
            Credential::ManagedIdentity(which) => {
                let user_assigned_id = match which {
                    ManagedIdentity::System => None,
                    ManagedIdentity::ClientId(id) => Some(UserAssignedId::ClientId(id.to_string())),
                    ManagedIdentity::ObjectId(id) => Some(UserAssignedId::ObjectId(id.to_string())),
                    ManagedIdentity::ResourceId(path) => Some(UserAssignedId::ResourceId(path.clone())),
                };
                let options = ManagedIdentityCredentialOptions { user_assigned_id, client_options };
                ManagedIdentityCredential::new(Some(options)).map(|credential| credential as Arc<dyn TokenCredential>)
            }
            Credential::AzureCli => {
                let options = AzureCliCredentialOptions { tenant_id: Some(self.tenant.clone()), ..Default::default() };
                AzureCliCredential::new(Some(options)).map(|credential| credential as Arc<dyn TokenCredential>)
            }
        };
        made.map_err(|cause| {
            Error::usage(format!("cannot sign in to tenant {}", self.tenant))
                .because(cause)
                .hint("Check tenant, client_id and the credential: none may be empty.")
        })
    }

    /// The address that an assertion is made for, to the letter.
    fn token_endpoint(&self) -> Url {
        let mut url = self.base.clone();
        url.set_path(&format!("/{}/oauth2/v2.0/token", self.tenant));
        url
    }

    /// "cannot sign in to … as …".
    fn what(&self) -> String {
        match &self.credential {
            Credential::ManagedIdentity(_) => format!("cannot sign in to tenant {} as managed identity", self.tenant),
            Credential::AzureCli => format!("cannot sign in to tenant {} by the Azure CLI", self.tenant),
            _ => format!("cannot sign in to tenant {} as application {}", self.tenant, self.client_id),
        }
    }

    fn explain(&self, failure: Option<HttpError>, cause: &azure_core::Error) -> Error {
        let error = |exit| Error::new(exit, self.what());
        match failure {
            Some(HttpError::Refused(refusal)) if matches!(self.credential, Credential::ManagedIdentity(_)) => {
                error(Exit::SignIn).cause(refusal.to_string()).hint(
                    "Check under Identity of this Azure resource that the identity is switched on or assigned, and \
                     that `managed_identity` names it: with several assigned, one must be named.",
                )
            }
            Some(HttpError::Refused(refusal)) => self.explain_refusal(&refusal),
            Some(failure) => {
                let hint = match (&self.credential, failure.trouble()) {
                    (Credential::ManagedIdentity(_), _) => {
                        "A managed identity works only on an Azure resource that has one; elsewhere use a certificate."
                            .to_owned()
                    }
                    (_, Some(trouble)) => trouble.remedy(),
                    (_, None) => {
                        "Check the network, the proxy variables and the authority address, then run again.".to_owned()
                    }
                };
                self.add_skew(error(Exit::Unreachable).because(failure)).hint(hint)
            }
            None if matches!(self.credential, Credential::AzureCli) => {
                let hint =
                    format!("Install the Azure CLI (2.54 or newer) and log in: az login --tenant {}", self.tenant);
                error(Exit::SignIn).cause(plain(&cause.to_string())).hint(hint)
            }
            // The library itself refused; its message holds no secret, but may run over lines.
            None => error(Exit::SignIn).cause(plain(&cause.to_string())),
        }
    }

    /// Entra's no in a person's words, with what is known here about the credential.
    fn explain_refusal(&self, refusal: &Refusal) -> Error {
        let text = refusal.message.clone().unwrap_or_default();
        let codes = aadsts::codes_in(&text);
        let advice = advice(&codes);
        let mut error = Error::new(Exit::SignIn, self.what());
        if let Some(advice) = advice {
            error = error.cause(advice.cause);
        }
        error = match &self.credential {
            Credential::Secret(secret) if secret.expose_secret().parse::<Guid>().is_ok() => {
                error.cause("what the job gives as the secret is a GUID, as Secret IDs are; no Value is one")
            }
            Credential::Certificate(certificate) => {
                let facts = certificate.facts();
                let ended = facts.not_after < self.clock.system_time();
                error.cause(format!("the certificate in use {} {facts}", if ended { "has ended:" } else { "is" }))
            }
            Credential::Federation(from) => match from.text("the federated token") {
                Ok(token) => error.cause(external_claims(&token)),
                Err(_) => error,
            },
            _ => error,
        };
        let hint = advice.map_or("Look the AADSTS number up at https://login.microsoftonline.com/error.", |a| a.remedy);
        self.add_skew(error).cause(refusal.to_string()).hint(hint)
    }

    /// Tells that this machine's clock is off, when it is.
    fn add_skew(&self, error: Error) -> Error {
        match self.clock_skew() {
            Some(skew) if skew.abs() >= SKEW_WORTH_TELLING => error.cause(skew_in_words(skew)),
            _ => error,
        }
    }
}

/// "this machine's clock is 12 minutes behind".
pub fn skew_in_words(skew: SignedDuration) -> String {
    let side = if skew.is_positive() { "behind" } else { "ahead" };
    format!("this machine's clock is {} minutes {side}", skew.abs().as_mins())
}

/// Where a managed identity's tokens come from on this machine.
fn metadata_address(config: &SourceConfig) -> Result<Url> {
    let variable = |name| std::env::var(name).ok().filter(|text: &String| !text.is_empty());
    match (variable(IDENTITY_ENDPOINT), variable(IDENTITY_HEADER)) {
        (Some(endpoint), Some(_)) => endpoint.parse().map_err(|cause: url::ParseError| {
            Error::new(Exit::SignIn, format!("{IDENTITY_ENDPOINT} holds no address")).because(cause)
        }),
        _ => Ok(config.metadata.clone()),
    }
}

/// What an external token says of itself: exactly what a federated credential is compared with, and no secret.
fn external_claims(token: &SecretString) -> String {
    #[derive(Deserialize)]
    struct External {
        iss: Option<String>,
        sub: Option<String>,
        aud: Option<Json>,
    }
    let Some(claims) = super::auth::payload::<External>(token.expose_secret()) else {
        return "what lies where the federated token should be is no JWT".to_owned();
    };
    let shown = |text: Option<String>| text.map_or_else(|| "none".to_owned(), |text| plain(&text));
    let audience = claims.aud.map(|aud| aud.as_str().map_or_else(|| aud.to_string(), str::to_owned));
    format!(
        "the external token has issuer {}, subject {}, audience {}",
        shown(claims.iss),
        shown(claims.sub),
        shown(audience)
    )
}

/// Hands the library an assertion for each token request.
#[derive(Debug)]
struct Assertion {
    proof: Proof,
    /// Why there was none, in our terms.
    trouble: Arc<Mutex<Option<Error>>>,
}

#[derive(Debug)]
enum Proof {
    Certificate { certificate: Arc<SigningCertificate>, client_id: String, endpoint: Url, clock: Clock },
    Federated(SecretFrom),
}

impl Proof {
    fn make(&self) -> Result<String> {
        match self {
            Proof::Certificate { certificate, client_id, endpoint, clock } => {
                let assertion = certificate.assertion(client_id, endpoint, clock.system_time(), new_guid());
                assertion.map_err(|cause| Error::failed("cannot sign with the certificate's key").cause(cause))
            }
            Proof::Federated(from) => {
                let token = from.text("the federated token")?;
                Ok(token.expose_secret().trim().to_owned())
            }
        }
    }
}

#[async_trait::async_trait]
impl ClientAssertion for Assertion {
    async fn secret(&self, _: Option<ClientMethodOptions<'_>>) -> azure_core::Result<String> {
        self.proof.make().map_err(|error| {
            let text = error.what.clone();
            *self.trouble.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
            azure_core::Error::with_message(azure_core::error::ErrorKind::Credential, text)
        })
    }
}

/// Carries the library's requests over our own client, to the configured address.
struct SignInTransport {
    lane: Lane,
    base: Url,
    /// What went wrong, in our terms, when something did.
    failure: Mutex<Option<HttpError>>,
}

impl fmt::Debug for SignInTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SignInTransport").field("base", &self.base.as_str()).finish_non_exhaustive()
    }
}

impl SignInTransport {
    fn translate(&self, request: &azure_core::http::Request) -> azure_core::Result<Request> {
        let other = |text: &'static str| azure_core::Error::with_message(azure_core::error::ErrorKind::Other, text);
        let mut url = self.base.clone();
        url.set_path(request.url().path());
        url.set_query(request.url().query());
        let Body::Bytes(body) = request.body() else { return Err(other("a sign-in request has no stream")) };
        let mut ours = Request::get(url).repeatable();
        if request.method() == azure_core::http::Method::Post {
            (ours.method, ours.body) = (Method::POST, body.clone());
        }
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
        match self.lane.fetch(&request, is_token).await {
            Ok(response) => {
                let body = as_the_library_reads(response.body);
                Ok(AsyncRawResponse::from_bytes(response.status.into(), Headers::new(), body))
            }
            Err(failure) => {
                // Whatever it was, it is told as an error of a kind that the library does not try again: the lane has
                // done so, and `acquire` does. Of a managed identity it would ask for another 72 s, whatever its options.
                let text = failure.to_string();
                *self.failure.lock().unwrap_or_else(PoisonError::into_inner) = Some(failure);
                Err(azure_core::Error::with_message(azure_core::error::ErrorKind::Other, text))
            }
        }
    }
}

/// A token's answer with its times as the library takes them. Entra's endpoints and those of managed identities write
/// them as numbers or as text, by version and platform; the library takes a life as a number and an end as text only.
/// <https://learn.microsoft.com/entra/identity/managed-identities-azure-resources/how-to-use-vm-token#get-a-token-using-http>
fn as_the_library_reads(body: Bytes) -> Bytes {
    let Ok(mut answer) = serde_json::from_slice::<serde_json::Map<String, Json>>(&body) else { return body };
    for (name, value) in &mut answer {
        match (name.as_str(), &*value) {
            ("expires_in" | "ext_expires_in", Json::String(text)) => {
                // Who does not say how long has it asked for again soon.
                *value = Json::from(text.parse::<i64>().unwrap_or_default());
            }
            ("expires_on", Json::Number(number)) => *value = Json::from(number.to_string()),
            _ => {}
        }
    }
    serde_json::to_vec(&answer).map_or(body, Bytes::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_external_token_is_told_by_what_a_federated_credential_is_compared_with() {
        let payload = azure_core::base64::encode_url_safe(r#"{"iss":"https://i","sub":"s\u001b","aud":["a","b"]}"#);
        let told = external_claims(&format!("e30.{payload}.x").into());
        assert_eq!(told, r#"the external token has issuer https://i, subject s, audience ["a","b"]"#);
        assert!(external_claims(&"opaque".to_owned().into()).contains("no JWT"));
    }

    #[test]
    fn times_are_taken_as_numbers_and_as_text() {
        let check = |answer: &str, expected: &str| {
            let read = as_the_library_reads(Bytes::copy_from_slice(answer.as_bytes()));
            assert_eq!(std::str::from_utf8(&read), Ok(expected), "{answer}");
        };
        check(r#"{"access_token":"t","expires_in":"3599"}"#, r#"{"access_token":"t","expires_in":3599}"#);
        check(r#"{"expires_in":3599,"ext_expires_in":"soon"}"#, r#"{"expires_in":3599,"ext_expires_in":0}"#);
        check(r#"{"expires_on":1766000000}"#, r#"{"expires_on":"1766000000"}"#);
        check(r#"{"expires_on":"1766000000"}"#, r#"{"expires_on":"1766000000"}"#);
        check("no JSON", "no JSON");
    }

    #[test]
    fn a_clock_that_is_off_is_told_with_its_side() {
        assert_eq!(skew_in_words(SignedDuration::from_secs(725)), "this machine's clock is 12 minutes behind");
        assert_eq!(skew_in_words(SignedDuration::from_secs(-7200)), "this machine's clock is 120 minutes ahead");
    }
}
