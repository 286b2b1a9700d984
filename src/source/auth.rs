//! The token: its life, its renewal, and what it says about itself.
//!
//! Hides that a token ends: it is renewed early, and once after a 401, never per request, and once for all requests
//! that are under way. Deliberately does not verify tokens: they are for Graph; the claims are read for diagnostics
//! only. How a token is asked for is in [`super::credential`].

use std::collections::BTreeSet;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use url::Url;

use super::collections::{DIRECTORY, RECOMMENDED, Rights};
use super::credential::SignIn;
use super::{Credential, SourceConfig};
use crate::clock::Clock;
use crate::error::{Error, Exit, Result};
use crate::http::Http;

/// A token is renewed when less than this is left, or a quarter of its life if that is shorter.
/// <https://learn.microsoft.com/entra/identity-platform/reference-error-codes> (AADSTS50196 punishes loops)
const RENEW_BEFORE: Duration = Duration::from_secs(300);
/// A token lives at least so long where nobody says how long: asking for one per request would be such a loop.
const LIFE_UNSAID: Duration = Duration::from_secs(300);
/// Renewals after a 401 in one run; more would be a loop.
const FORCED_RENEWALS_MAX: u32 = 10;
/// What a delegated token says when it may do whatever its user may.
/// <https://learn.microsoft.com/graph/permissions-reference#directoryaccessasuserall>
const AS_THE_USER: &str = "Directory.AccessAsUser.All";

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

    /// The permissions it carries; a user's token carries delegated ones.
    pub fn rights(&self) -> Rights {
        Rights(self.claims.as_ref().map(|claims| {
            let mut rights = claims.roles.clone().unwrap_or_default();
            let delegated = claims.scp.iter().flat_map(|scopes| scopes.split(' ')).filter(|scope| !scope.is_empty());
            rights.extend(delegated.map(str::to_owned));
            if rights.contains(AS_THE_USER) {
                rights.insert(DIRECTORY.to_owned());
            }
            rights
        }))
    }

    /// Whether it is a signed-in user's: Graph then shows what that user may see, which may be less than there is.
    pub fn is_delegated(&self) -> bool {
        self.claims.as_ref().is_some_and(Claims::is_delegated)
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

impl Claims {
    fn is_delegated(&self) -> bool {
        self.scp.is_some() && self.roles.as_ref().is_none_or(BTreeSet::is_empty)
    }
}

/// Reads a token's claims without verifying anything; none if it is not a readable JWT.
pub fn claims(token: &str) -> Option<Claims> {
    payload(token)
}

/// The middle part of any JWT, unverified.
pub(super) fn payload<T: DeserializeOwned>(token: &str) -> Option<T> {
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
    sign_in: SignIn,
    clock: Clock,
    /// Locked while a token is asked for, so that all who need one wait for that one.
    state: tokio::sync::Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    token: Option<Token>,
    forced: u32,
}

impl Auth {
    pub fn new(config: &SourceConfig, http: &Http) -> Result<Auth> {
        let sign_in = SignIn::new(config, http)?;
        Ok(Auth { sign_in, clock: http.clock().clone(), state: tokio::sync::Mutex::default() })
    }

    /// Where tokens come from; see [`SignIn::address`].
    pub fn address(&self) -> &Url {
        self.sign_in.address()
    }

    /// How far the clock of the sign-in host is ahead; see [`crate::http::Lane::clock_skew`].
    pub fn clock_skew(&self) -> Option<SignedDuration> {
        self.sign_in.clock_skew()
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
        let (text, life) = self.sign_in.acquire().await?;
        let claims = claims(text.expose_secret());
        let life = if life.is_zero() { life_unsaid(claims.as_ref(), self.clock.system_time()) } else { life };
        let margin = RENEW_BEFORE.min(life / 4);
        let token = Token {
            claims,
            text,
            renew_at: self.clock.real_elapsed() + life.saturating_sub(margin),
            number: state.token.as_ref().map_or(0, |token| token.number + 1),
        };
        tracing::debug!(life_s = life.as_secs(), "signed in");
        state.token = Some(token.clone());
        Ok(token)
    }
}

/// How long a token lives of which the answer did not say so. Should it end before, Graph's 401 tells.
fn life_unsaid(claims: Option<&Claims>, now: Timestamp) -> Duration {
    let left_s = claims.and_then(|claims| claims.exp).map_or(0, |end| end.saturating_sub(now.as_second()));
    Duration::from_secs(u64::try_from(left_s).unwrap_or(0)).max(LIFE_UNSAID)
}

/// Refuses a token that lets the program read nothing, or something else than the job means, with the reason: Entra
/// issues it all the same, and the failure would show up only later.
pub(super) fn refuse_unfit(token: &Token, config: &SourceConfig) -> Result<()> {
    let Some(claims) = token.claims() else { return Ok(()) };
    // A managed identity and the Azure CLI are not asked for a tenant, or not only.
    let other = claims.tid.as_ref().filter(|tid| is_guid(&config.tenant) && !tid.eq_ignore_ascii_case(&config.tenant));
    if let Some(other) = other {
        return Err(Error::new(Exit::SignIn, format!("signed in to another tenant than {}", config.tenant))
            .cause(format!("the token is for tenant {}", crate::http::plain(other)))
            .hint("Correct `tenant` in [source], or sign in with a credential of that tenant."));
    }
    if claims.roles.as_ref().is_some_and(|roles| !roles.is_empty()) {
        return Ok(());
    }
    if claims.is_delegated() && config.credential.allows_users() {
        return Ok(());
    }
    refuse_powerless(claims, config)
}

fn is_guid(text: &str) -> bool {
    text.parse::<crate::record::Guid>().is_ok()
}

fn refuse_powerless(claims: &Claims, config: &SourceConfig) -> Result<()> {
    let managed = matches!(config.credential, Credential::ManagedIdentity(_));
    let who = match (config.client_id.as_str(), &claims.appid) {
        ("", Some(id)) => crate::http::plain(id),
        ("", None) => "that signed in".to_owned(),
        (id, _) => id.to_owned(),
    };
    let error = Error::new(Exit::SignIn, format!("application {who} signed in, but has no application permission"));
    let wanted = RECOMMENDED.join(", ");
    let hint = if managed {
        format!(
            "Assign the Microsoft Graph app roles ({wanted}) to the identity's service principal (POST \
             /servicePrincipals/{{id}}/appRoleAssignments); no page of the portal does. A token issued before stays \
             without them for up to a day."
        )
    } else {
        format!(
            "In the app registration under API permissions add Microsoft Graph > *Application* permissions ({wanted}), \
             then grant admin consent."
        )
    };
    Err(match &claims.scp {
        Some(_) => error.cause("its token carries delegated permissions, which only work for a signed-in user"),
        None => {
            error.cause("its token carries no roles: none was added, only delegated ones were, or consent is missing")
        }
    }
    .hint(hint))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(claims: &str) -> String {
        let encode = |text: &str| azure_core::base64::encode_url_safe(text).trim_end_matches('=').to_owned();
        format!("{}.{}.sig", encode("{}"), encode(claims))
    }

    #[test]
    fn a_token_whose_life_is_not_told_is_not_asked_for_anew_each_time() {
        let now = Timestamp::from_second(1_000_000).unwrap();
        let life_s = |exp| life_unsaid(Some(&Claims { exp, ..Claims::default() }), now).as_secs();
        assert_eq!(life_s(Some(1_003_600)), 3600);
        assert_eq!((life_s(Some(1_000_010)), life_s(Some(7)), life_s(None)), (300, 300, 300));
        assert_eq!(life_unsaid(None, now), LIFE_UNSAID);
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
        let config = SourceConfig::new("contoso.com", "app", Credential::Secret("x".to_owned().into()));
        let error = refuse_unfit(&made("{}"), &config).unwrap_err();
        assert_eq!(error.exit, Exit::SignIn);
        assert!(error.to_string().contains("grant admin consent"));
        let error = refuse_unfit(&made(r#"{"scp":"User.Read"}"#), &config).unwrap_err();
        assert!(error.to_string().contains("delegated"));
        assert!(refuse_unfit(&made(r#"{"roles":["User.Read.All"]}"#), &config).is_ok());
        let person = SourceConfig { credential: Credential::AzureCli, client_id: String::new(), ..config.clone() };
        let token = made(r#"{"scp":"Directory.AccessAsUser.All User.Read"}"#);
        assert!(refuse_unfit(&token, &person).is_ok() && token.is_delegated());
        assert!(token.rights().any(&[DIRECTORY]) && !token.rights().any(&["Member.Read.Hidden"]));
        let identity = Credential::ManagedIdentity(crate::job::ManagedIdentity::System);
        let identity = SourceConfig { credential: identity, client_id: String::new(), ..config };
        let error = refuse_unfit(&made(r#"{"appid":"a1"}"#), &identity).unwrap_err().to_string();
        assert!(error.contains("application a1") && error.contains("appRoleAssignments"), "{error}");
    }

    #[test]
    fn a_token_of_another_tenant_is_refused() {
        let tenant = "72f988bf-86f1-41af-91ab-2d7cd011db47";
        let made = |tid: &str| Token {
            claims: claims(&token(&format!(r#"{{"tid":"{tid}","roles":["User.Read.All"]}}"#))),
            text: "x".to_owned().into(),
            renew_at: Duration::ZERO,
            number: 0,
        };
        let config = SourceConfig::new(tenant, "app", Credential::AzureCli);
        assert!(refuse_unfit(&made(&tenant.to_uppercase()), &config).is_ok());
        let error = refuse_unfit(&made("00000000-0000-0000-0000-000000000001"), &config).unwrap_err();
        assert!(error.exit == Exit::SignIn && error.to_string().contains("another tenant"), "{error}");
    }
}
