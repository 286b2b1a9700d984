//! The endpoints that hand a managed identity its tokens: a virtual machine's and App Service's.
//!
//! Hides: their parameters and the strings in their answers that elsewhere are numbers.
//! <https://learn.microsoft.com/entra/identity/managed-identities-azure-resources/how-to-use-vm-token>
//! <https://learn.microsoft.com/azure/app-service/overview-managed-identity#rest-endpoint-reference>
//! Deliberately does not: know more than one identity, which is both the system's and, by its client id, assigned.

use std::collections::HashMap;

use serde_json::json;

use crate::reply::{self, Reply};
use crate::token::{Proof, Registration, issue};

/// What App Service puts into `IDENTITY_HEADER`.
pub const IDENTITY_HEADER: &str = "853b9a84-5bfa-4b22-a3f3-0b9a43d9ad8a";

/// One of the two endpoints.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    VirtualMachine,
    AppService,
}

impl Place {
    /// The endpoint at a path, if there is one.
    pub fn at(parts: &[&str]) -> Option<Place> {
        match parts {
            ["metadata", "identity", "oauth2", "token"] => Some(Place::VirtualMachine),
            ["msi", "token"] => Some(Place::AppService),
            _ => None,
        }
    }
}

/// Answers `GET`; `header` is what proves that the request comes from this machine.
pub(crate) fn answer(
    registration: &Registration,
    place: Place,
    header: Option<&str>,
    query: &str,
    nonce: u64,
) -> Reply {
    let refuse =
        |text: &str| reply::json(400, json!({"error": "invalid_request", "error_description": text}).to_string());
    let query: HashMap<String, String> = url::form_urlencoded::parse(query.as_bytes()).into_owned().collect();
    let field = |name: &str| query.get(name).map(String::as_str);
    // A machine's service takes this version and later ones.
    let (expected, versions): (_, &[&str]) = match place {
        Place::VirtualMachine => ("true", &["2018-02-01", "2019-08-01"]),
        Place::AppService => (IDENTITY_HEADER, &["2019-08-01"]),
    };
    if header != Some(expected) {
        return refuse("Required metadata header not specified or not correct");
    }
    if !field("api-version").is_some_and(|version| versions.contains(&version)) {
        return refuse("Missing or unknown api-version");
    }
    let resource = field("resource").unwrap_or_default().trim_end_matches('/');
    if !registration.resources.iter().any(|known| known == resource) {
        return refuse("AADSTS500011: The resource principal was not found in the tenant.");
    }
    if field("client_id").is_some_and(|id| id != registration.client_id)
        || field("object_id").is_some()
        || field("msi_res_id").is_some()
    {
        return refuse("Identity not found");
    }
    let now = registration.now().as_second();
    let body = json!({
        "access_token": issue(registration, Proof::Certificate, nonce), "client_id": registration.client_id,
        "refresh_token": "", "token_type": "Bearer", "resource": resource, "not_before": now.to_string(),
        "expires_in": registration.expires_in.to_string(), "expires_on": (now + registration.expires_in).to_string(),
    });
    Reply { content_type: "application/json; charset=utf-8", ..reply::json(200, body.to_string()) }
}
