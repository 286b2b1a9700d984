//! How a simulator is set up.
//!
//! Hides: the defaults every test relies on. Deliberately does not: read the command line (see the binary).

use std::sync::Arc;
use std::time::Duration;

use crate::assertion::Federation;
use crate::faults::Fault;
use crate::tenant::Tenant;
use crate::token::Registration;
use crate::units::Quota;

/// The application (client) id that is registered unless told otherwise.
pub const CLIENT_ID: &str = "a2d1f6c8-4b8e-4c0e-9d5f-1f0b7c3e5a90";
/// The client secret that is registered unless told otherwise; it holds characters that must be form-encoded.
pub const CLIENT_SECRET: &str = "Sim8Q~secret+with/odd=chars&more";

/// Options of a simulator.
#[derive(Clone, Debug)]
pub struct Options {
    /// The port on 127.0.0.1; 0 takes a free one.
    pub port: u16,
    /// The `roles` of the tokens; empty means a token without the claim.
    pub roles: Vec<String>,
    /// Tokens are a signed-in user's: the permissions are delegated ones, in `scp`.
    pub delegated: bool,
    /// The registered application.
    pub client_id: String,
    /// Its secret.
    pub client_secret: String,
    /// A secret answered as expired (AADSTS7000222).
    pub expired_secret: Option<String>,
    /// Certificates (DER) that are registered for the application.
    pub certificates: Vec<Vec<u8>>,
    /// The identity provider whose tokens are taken as workload identity federation.
    pub federation: Option<Federation>,
    /// Seconds that the service's clock is ahead of this machine's; negative when behind.
    pub clock_ahead_s: i64,
    /// After so many requests a token counts as expired, whatever its life.
    pub requests_per_token: Option<u32>,
    /// A token's life in seconds.
    pub expires_in: i64,
    /// That life is written as text, as Entra's older endpoints do.
    pub expires_in_text: bool,
    /// The resource-unit quota; none means that nothing is throttled.
    pub quota: Option<Quota>,
    /// How many times faster than real time limits recover: for a client whose waits are shortened as much.
    pub time_factor: f64,
    /// Waited before every answer.
    pub latency: Duration,
    /// Compress answers for who accepts gzip.
    pub gzip: bool,
    /// Faults in order; the first that is due wins.
    pub faults: Vec<Fault>,
    /// Scheme and host printed in links; by default those the request came to.
    pub public_base: Option<String>,
    /// The tenant has Entra ID P1, so that `signInActivity` can be read (with AuditLog.Read.All).
    pub premium: bool,
    /// Keep a log of requests; counters are kept anyway.
    pub log_requests: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            port: 0,
            roles: vec!["Directory.Read.All".to_owned()],
            delegated: false,
            client_id: CLIENT_ID.to_owned(),
            client_secret: CLIENT_SECRET.to_owned(),
            expired_secret: None,
            certificates: Vec::new(),
            federation: None,
            clock_ahead_s: 0,
            requests_per_token: None,
            expires_in: 3599,
            expires_in_text: false,
            quota: None,
            time_factor: 1.0,
            latency: Duration::ZERO,
            gzip: true,
            faults: Vec::new(),
            public_base: None,
            premium: true,
            log_requests: true,
        }
    }
}

impl Options {
    pub(crate) fn registration(&self, tenant: &Tenant) -> Registration {
        Registration {
            tenant: tenant.id().to_owned(),
            domain: tenant.domain().to_owned(),
            client_id: self.client_id.clone(),
            secret: self.client_secret.clone(),
            expired_secret: self.expired_secret.clone(),
            roles: self.roles.clone(),
            delegated: self.delegated,
            expires_in: self.expires_in,
            expires_in_text: self.expires_in_text,
            resources: vec!["https://graph.microsoft.com".to_owned()],
            certificates: self.certificates.clone(),
            federation: self.federation.clone(),
            clock_ahead_s: self.clock_ahead_s,
            requests_per_token: self.requests_per_token,
            seen: Arc::default(),
            uses: Arc::default(),
        }
    }
}
