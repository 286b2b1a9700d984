//! Client assertions at the token endpoint: signed by a registered certificate, or by an identity provider that the
//! application trusts.
//!
//! Hides: signatures, thumbprints, replays. Everything that Entra is documented to check is checked.
//! <https://learn.microsoft.com/entra/identity-platform/certificate-credentials>
//! <https://learn.microsoft.com/entra/workload-id/workload-identity-federation-considerations>
//! Deliberately does not: fetch an identity provider's keys (its certificate is given), or know `RS256` with `x5t` for
//! certificates, which the documentation has replaced.

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::signature::{RSA_PKCS1_2048_8192_SHA256, RSA_PSS_2048_8192_SHA256, RsaParameters, UnparsedPublicKey};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;
use x509_parser::prelude::{FromDer as _, X509Certificate};

use crate::token::{Refusal, Registration, decode};

/// The one audience that Microsoft recommends, and that is registered here.
const EXCHANGE: &str = "api://AzureADTokenExchange";
/// Entra tolerates clocks that differ by so many seconds.
const TOLERANCE_S: i64 = 300;

/// An identity provider whose tokens sign the application in.
#[derive(Clone, Debug)]
pub struct Federation {
    /// Must equal the token's `iss`, to the letter.
    pub issuer: String,
    /// Must equal the token's `sub`, to the letter.
    pub subject: String,
    /// The provider's certificate (DER); its key signs with RS256.
    pub certificate: Vec<u8>,
}

fn invalid(code: u32, text: impl Into<String>) -> Refusal {
    Refusal::new("invalid_client", code, text)
}

/// Checks an assertion that was sent to `endpoint`.
pub(crate) fn check(
    registration: &Registration,
    endpoint: &str,
    kind: Option<&str>,
    assertion: &str,
) -> Result<(), Refusal> {
    if kind != Some("urn:ietf:params:oauth:client-assertion-type:jwt-bearer") {
        let text = "The request body must contain the following parameter: 'client_assertion_type'.";
        return Err(Refusal::new("invalid_request", 900_144, text));
    }
    let malformed = || invalid(50_027, "JWT token is invalid or malformed.");
    let (header, claims) = decode(assertion).ok_or_else(malformed)?;
    let number = |name: &str| claims.get(name).and_then(Value::as_i64);
    let (now, ends) = (registration.now().as_second(), number("exp").ok_or_else(malformed)?);
    if ends < now - TOLERANCE_S || number("nbf").is_some_and(|from| from > now + TOLERANCE_S) {
        let text = format!(
            "Client assertion is not within its valid time range. Current time: {now}, expiry time of assertion {ends}."
        );
        return Err(invalid(700_024, text));
    }
    let issuer = claims.get("iss").and_then(Value::as_str).unwrap_or_default();
    match &registration.federation {
        Some(federation) if issuer != registration.client_id => federated(federation, &header, &claims, assertion),
        _ => own(registration, endpoint, &header, &claims, assertion),
    }
}

/// A token of the trusted identity provider.
fn federated(federation: &Federation, header: &Value, claims: &Value, assertion: &str) -> Result<(), Refusal> {
    let text = |name: &str| claims.get(name).and_then(Value::as_str).unwrap_or_default();
    for (name, registered) in [("iss", &*federation.issuer), ("sub", &federation.subject), ("aud", EXCHANGE)] {
        if text(name) != registered {
            let (what, value) = match name {
                "iss" => ("issuer", text(name)),
                "sub" => ("subject", text(name)),
                _ => ("audience", text(name)),
            };
            let text = format!("No matching federated identity record found for presented assertion {what} '{value}'.");
            return Err(invalid(70_021, text));
        }
    }
    if header.get("alg").and_then(Value::as_str) != Some("RS256")
        || !verified(&federation.certificate, &RSA_PKCS1_2048_8192_SHA256, assertion)
    {
        return Err(invalid(50_013, "Assertion failed signature validation."));
    }
    Ok(())
}

/// An assertion by one of the application's own certificates.
fn own(
    registration: &Registration,
    endpoint: &str,
    header: &Value,
    claims: &Value,
    assertion: &str,
) -> Result<(), Refusal> {
    let text = |name: &str| claims.get(name).and_then(Value::as_str).unwrap_or_default();
    if text("iss") != registration.client_id || text("sub") != registration.client_id {
        let text = "Client assertion application identifier doesn't match 'client_id' parameter.";
        return Err(invalid(700_021, text));
    }
    if text("aud") != endpoint {
        let text = format!("Client assertion audience claim '{}' does not match Realm issuer.", text("aud"));
        return Err(invalid(700_023, text));
    }
    let thumbprint = header.get("x5t#S256").and_then(Value::as_str).unwrap_or_default();
    let reason = |reason: &str| {
        let text = format!(
            "Client assertion contains an invalid signature. [Reason - {reason}, Thumbprint of key used by client: '{thumbprint}']"
        );
        invalid(700_027, text)
    };
    let is_named = |der: &&Vec<u8>| URL_SAFE_NO_PAD.encode(digest(&SHA256, der)) == thumbprint;
    let certificate =
        registration.certificates.iter().find(is_named).ok_or_else(|| reason("The key was not found."))?;
    let pss = header.get("alg").and_then(Value::as_str) == Some("PS256");
    if !pss || !verified(certificate, &RSA_PSS_2048_8192_SHA256, assertion) {
        return Err(reason("The key used is not valid for the signature."));
    }
    let ends = X509Certificate::from_der(certificate).map(|(_, read)| read.validity().not_after.timestamp());
    if ends.unwrap_or_default() < registration.now().as_second() {
        return Err(reason("The key used is expired."));
    }
    // That a `jti` is for one request is documented, the number of the refusal is not.
    let fresh = !text("jti").is_empty()
        && registration.seen.lock().expect("no panic while looking").insert(text("jti").to_owned());
    if fresh { Ok(()) } else { Err(invalid(50_027, "The assertion was presented before, or has no 'jti'.")) }
}

/// Whether the key of a certificate signed a JWT.
fn verified(certificate: &[u8], parameters: &'static RsaParameters, token: &str) -> bool {
    let Some((signed, signature)) = token.rsplit_once('.') else { return false };
    let Ok((_, certificate)) = X509Certificate::from_der(certificate) else { return false };
    let Ok(signature) = URL_SAFE_NO_PAD.decode(signature) else { return false };
    let key = &certificate.public_key().subject_public_key.data;
    UnparsedPublicKey::new(parameters, key).verify(signed.as_bytes(), &signature).is_ok()
}
