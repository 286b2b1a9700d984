//! The application itself: what it signs in with, when that ends, and where its requests go. For `check`.
//!
//! Hides the list of applications and how a secret is found in it: Entra never shows a secret again, only its first
//! characters. Deliberately reads no other application. <https://learn.microsoft.com/graph/api/application-list>

use jiff::Timestamp;
use secrecy::ExposeSecret;
use serde::Deserialize;
use url::Url;

use super::collections::APPLICATIONS;
use super::units::{Price, units};
use super::{Credential, Source, Token};
use crate::http::{Request, plain};
use crate::record::Guid;

/// Characters of a secret that Entra shows as its hint.
/// <https://learn.microsoft.com/graph/api/resources/passwordcredential>
const HINT_CHARS: usize = 3;

/// When the client secret ends, as far as that can be known.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum SecretEnd {
    /// The job signs in with something else.
    NoSecret,
    Known {
        ends: Timestamp,
        /// As the app registration calls it; may be empty.
        name: String,
        /// How many valid secrets begin with the same characters; of several, this one ends first.
        alike: usize,
    },
    /// Why not, in words.
    Unknown(String),
}

#[derive(Deserialize)]
struct Applications {
    value: Vec<Application>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Application {
    #[serde(default)]
    password_credentials: Vec<Secret>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Secret {
    display_name: Option<String>,
    hint: Option<String>,
    end_date_time: Option<Timestamp>,
}

impl Source {
    /// The servers that get requests, and what for.
    pub fn hosts(&self) -> [(&'static str, &Url); 2] {
        [("sign-in", self.graph.auth.address()), ("Microsoft Graph", &self.config.graph)]
    }

    /// Whether what is given as the secret's value looks like its id: values are no GUIDs.
    pub fn secret_looks_like_its_id(&self) -> bool {
        match &self.config.credential {
            Credential::Secret(secret) => secret.expose_secret().trim().parse::<Guid>().is_ok(),
            _ => false,
        }
    }

    /// Asks for the end of the client secret, if the application may see its own registration. One request at most.
    pub async fn secret_end(&self, token: &Token) -> SecretEnd {
        let Credential::Secret(secret) = &self.config.credential else { return SecretEnd::NoSecret };
        if !token.rights().any(APPLICATIONS) {
            return SecretEnd::Unknown("the application may not see its own registration".into());
        }
        let query = [
            format!("$filter=appId eq '{}'", self.config.client_id),
            "$select=id,appId,passwordCredentials".to_owned(),
        ];
        let request = Request::get(self.graph.url("applications", &query)).units(units(Price::Other, false));
        let decode = |response: &crate::http::Response| {
            serde_json::from_slice::<Applications>(&response.body).map_err(|cause| cause.to_string())
        };
        match self.graph.fetch(&self.graph.lane, request, decode).await {
            Err(stop) => SecretEnd::Unknown(plain(&stop.to_string())),
            Ok(found) => match found.value.into_iter().next() {
                // The service principal is here, the registration in the tenant where the application was made.
                None => SecretEnd::Unknown("the application is registered in another tenant".into()),
                Some(application) => {
                    let hint: String = secret.expose_secret().chars().take(HINT_CHARS).collect();
                    end_of(&application.password_credentials, &hint, self.graph.clock.now())
                }
            },
        }
    }
}

/// The secret in use is among those that are valid and begin alike; of several, the one that ends first.
fn end_of(secrets: &[Secret], hint: &str, now: Timestamp) -> SecretEnd {
    let valid = |secret: &&Secret| secret.end_date_time.is_some_and(|end| end > now);
    let alike: Vec<&Secret> =
        secrets.iter().filter(valid).filter(|secret| secret.hint.as_deref() == Some(hint)).collect();
    let first = alike.iter().filter_map(|secret| Some((secret.end_date_time?, *secret))).min_by_key(|(end, _)| *end);
    match first {
        Some((ends, secret)) => SecretEnd::Known {
            ends,
            name: secret.display_name.as_deref().map(plain).unwrap_or_default(),
            alike: alike.len(),
        },
        None => SecretEnd::Unknown("the app registration lists no valid secret that begins like the one in use".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secrets(json: serde_json::Value) -> Vec<Secret> {
        serde_json::from_value(json).unwrap()
    }

    #[test]
    fn the_secret_in_use_is_found_by_its_first_characters() {
        let now: Timestamp = "2026-11-22T03:00:00Z".parse().unwrap();
        let listed = secrets(serde_json::json!([
            { "displayName": "old", "hint": "abc", "endDateTime": "2026-01-01T00:00:00Z", "keyId": "x" },
            { "displayName": "later", "hint": "abc", "endDateTime": "2027-06-01T00:00:00Z" },
            { "displayName": "sooner", "hint": "abc", "endDateTime": "2027-01-01T00:00:00Z" },
            { "displayName": "other", "hint": "xyz", "endDateTime": "2026-12-01T00:00:00Z" },
            { "displayName": null, "hint": null, "endDateTime": null },
        ]));
        let known =
            |name: &str, ends: &str, alike| SecretEnd::Known { ends: ends.parse().unwrap(), name: name.into(), alike };
        assert_eq!(end_of(&listed, "abc", now), known("sooner", "2027-01-01T00:00:00Z", 2));
        assert_eq!(end_of(&listed, "xyz", now), known("other", "2026-12-01T00:00:00Z", 1));
        assert!(matches!(end_of(&listed, "qqq", now), SecretEnd::Unknown(_)));
        assert!(matches!(end_of(&[], "abc", now), SecretEnd::Unknown(_)));
    }

    #[test]
    fn documented_applications_are_read() {
        let text = include_str!("../../tests/data/graph/applications-list.json");
        let found: Applications = serde_json::from_str(text).unwrap();
        assert!(found.value[0].password_credentials.is_empty(), "the example lists none");
    }
}
