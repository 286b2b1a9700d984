//! The certificate that an application signs in with: read from PEM or PKCS#12, and what it signs.
//!
//! Hides file formats, key types and the assertion's layout. Deliberately verifies no chain: Entra compares the
//! certificate with those registered at the application and knows no issuer.
//! <https://learn.microsoft.com/entra/identity-platform/certificate-credentials>

use std::fmt;

use jiff::{SignedDuration, Timestamp};
use jsonwebtoken::jwk::{AlgorithmParameters, Jwk};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use p12_keystore::Pkcs12Archive;
use pkcs8::{EncryptedPrivateKeyInfoRef, ObjectIdentifier, PrivateKeyInfoRef};
use secrecy::{ExposeSecret, SecretString};
use serde::Serialize;
use sha2::Digest as _;
use url::Url;
use x509_parser::pem::Pem;
use x509_parser::prelude::{FromDer, X509Certificate};
use x509_parser::public_key::PublicKey;

use crate::record::Guid;

/// `rsaEncryption`. <https://www.rfc-editor.org/rfc/rfc8017#appendix-A.1>
const RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");
/// Shorter keys are refused by Entra and by every current library.
const KEY_BITS_MIN: usize = 2048;
/// Entra asks for five to ten minutes.
const ASSERTION_LIFE: SignedDuration = SignedDuration::from_mins(10);

/// A certificate with its private key. Prints nothing of the key.
pub struct SigningCertificate {
    facts: CertificateFacts,
    x5t_s256: String,
    key: EncodingKey,
}

/// What may be shown of a certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateFacts {
    /// The subject, as in `CN=entra-import`.
    pub subject: String,
    /// SHA-1 of the certificate in capital hexadecimal digits, as Entra's pages show it.
    pub thumbprint: String,
    pub not_before: Timestamp,
    pub not_after: Timestamp,
}

impl fmt::Display for CertificateFacts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let day = self.not_after.strftime("%Y-%m-%d");
        write!(f, "{} (thumbprint {}, valid until {day})", self.subject, self.thumbprint)
    }
}

impl fmt::Debug for SigningCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigningCertificate").field("facts", &self.facts).finish_non_exhaustive()
    }
}

/// Why a file cannot be signed in with, and what to do about it.
#[derive(Debug, PartialEq, Eq)]
pub struct Unfit {
    pub why: String,
    pub remedy: &'static str,
}

fn unfit(why: impl Into<String>, remedy: &'static str) -> Unfit {
    Unfit { why: why.into(), remedy }
}

/// What the files hold, before anything is matched. Keys are PKCS#8 or PKCS#1.
#[derive(Default)]
struct Parts {
    certificates: Vec<Vec<u8>>,
    keys: Vec<EncodingKey>,
}

impl SigningCertificate {
    /// Reads a certificate and its key: PEM (the key in the same text or in `key`), or PKCS#12, plain or in Base64 as
    /// vaults hand it out. `password` opens PKCS#12 and encrypted PEM keys.
    pub fn read(file: &[u8], key: Option<&[u8]>, password: Option<&SecretString>) -> Result<SigningCertificate, Unfit> {
        let password = password.map(ExposeSecret::expose_secret);
        let mut parts = Parts::default();
        for bytes in std::iter::once(file).chain(key) {
            if is_pem(bytes) {
                parts.take_pem(bytes, password)?;
            } else {
                parts.take_pkcs12(bytes, password)?;
            }
        }
        parts.matched()
    }

    /// What may be shown of it.
    pub fn facts(&self) -> &CertificateFacts {
        &self.facts
    }

    /// An assertion for one token request to `endpoint`, good from `now` for ten minutes.
    pub fn assertion(&self, client_id: &str, endpoint: &Url, now: Timestamp, id: Guid) -> Result<String, String> {
        #[derive(Serialize)]
        struct Claims<'a> {
            aud: &'a str,
            iss: &'a str,
            sub: &'a str,
            jti: String,
            nbf: i64,
            iat: i64,
            exp: i64,
        }
        let issued = now.as_second();
        let claims = Claims {
            aud: endpoint.as_str(),
            iss: client_id,
            sub: client_id,
            jti: id.to_string(),
            nbf: issued,
            iat: issued,
            exp: issued + ASSERTION_LIFE.as_secs(),
        };
        let mut header = Header::new(Algorithm::PS256);
        header.x5t_s256 = Some(self.x5t_s256.clone());
        jsonwebtoken::encode(&header, &claims, &self.key).map_err(|cause| cause.to_string())
    }
}

fn is_pem(bytes: &[u8]) -> bool {
    bytes.windows(11).any(|window| window == b"-----BEGIN ")
}

impl Parts {
    fn take_pem(&mut self, bytes: &[u8], password: Option<&str>) -> Result<(), Unfit> {
        const CONVERT: &str = "convert the key: openssl pkcs8 -topk8 -in OLD -out NEW";
        // Such a key's encryption stands in headers above the data, and is weak.
        if bytes.windows(10).any(|window| window == b"Proc-Type:") {
            return Err(unfit("the private key is encrypted in OpenSSL's old form", CONVERT));
        }
        for pem in Pem::iter_from_buffer(bytes) {
            let pem = pem.map_err(|_| unfit("the PEM text is broken off", "copy the file again, whole"))?;
            match pem.label.as_str() {
                "CERTIFICATE" => self.certificates.push(pem.contents),
                "PRIVATE KEY" => self.keys.push(rsa_key(&pem.contents)?),
                "ENCRYPTED PRIVATE KEY" => {
                    let password = password.ok_or_else(|| unfit("the private key is encrypted", NAME_PASSWORD))?;
                    let sealed = EncryptedPrivateKeyInfoRef::try_from(pem.contents.as_slice());
                    let sealed = sealed.map_err(|_| unfit("the private key's encryption is not known", CONVERT))?;
                    let open = sealed.decrypt(password);
                    let open = open.map_err(|_| unfit("the password does not open the private key", CHECK_PASSWORD))?;
                    self.keys.push(rsa_key(open.as_bytes())?);
                }
                "RSA PRIVATE KEY" => self.keys.push(EncodingKey::from_rsa_der(&pem.contents)),
                "EC PRIVATE KEY" | "DSA PRIVATE KEY" => return Err(not_rsa()),
                _ => {}
            }
        }
        Ok(())
    }

    fn take_pkcs12(&mut self, bytes: &[u8], password: Option<&str>) -> Result<(), Unfit> {
        let text: Vec<u8> = bytes.iter().copied().filter(|byte| !byte.is_ascii_whitespace()).collect();
        let decoded = std::str::from_utf8(&text).ok().and_then(|text| azure_core::base64::decode(text).ok());
        let archive = decoded.as_deref().unwrap_or(bytes);
        // Every DER sequence begins so; anything else is another kind of file.
        if archive.first() != Some(&0x30) {
            return Err(unfit("it is neither PEM nor PKCS#12 (PFX)", "name the file that holds certificate and key"));
        }
        // Many have the empty one.
        let opened = Pkcs12Archive::from_pkcs12(archive, password.unwrap_or_default());
        let archive = opened.map_err(|cause| match cause {
            p12_keystore::error::Error::MacError(_) if password.is_none() => {
                unfit("the PFX file has a password", NAME_PASSWORD)
            }
            p12_keystore::error::Error::MacError(_) => unfit("the password does not open the PFX file", CHECK_PASSWORD),
            cause => unfit(
                format!("the PFX file cannot be read: {}", crate::http::plain(&cause.to_string())),
                "export it again with AES: openssl pkcs12 -export -inkey KEY -in CERTIFICATE -out NEW",
            ),
        })?;
        for bag in &archive.keys {
            self.keys.push(rsa_key(bag.key.as_der())?);
        }
        self.certificates.extend(archive.certs.iter().map(|bag| bag.cert.as_der().to_vec()));
        Ok(())
    }

    /// The one key with the certificate that belongs to it; chains may hold others.
    fn matched(self) -> Result<SigningCertificate, Unfit> {
        let key = match <[EncodingKey; 1]>::try_from(self.keys) {
            Ok([key]) => key,
            Err(none) if none.is_empty() => {
                let remedy = "name the key's file too, `key = { file = \"…\" }`, or one file that holds both";
                return Err(unfit("it holds no private key", remedy));
            }
            Err(_) => return Err(unfit("it holds several private keys", "leave one of them in the file")),
        };
        if self.certificates.is_empty() {
            let remedy = "name the file that holds the certificate, and the key's with `key = { file = \"…\" }`";
            return Err(unfit("it holds no certificate", remedy));
        }
        let (modulus, exponent) = public_half(&key)?;
        for der in &self.certificates {
            let (_, certificate) = X509Certificate::from_der(der)
                .map_err(|_| unfit("the certificate cannot be read", "export it again from where it was made"))?;
            let Ok(PublicKey::RSA(public)) = certificate.public_key().parsed() else { continue };
            if base64url(bare(public.modulus)) != modulus || base64url(bare(public.exponent)) != exponent {
                continue;
            }
            if public.key_size() < KEY_BITS_MIN {
                let why = format!("its key has {} bits; Entra takes {KEY_BITS_MIN} or more", public.key_size());
                return Err(unfit(why, NEW_ONE));
            }
            return Ok(SigningCertificate {
                facts: facts(&certificate, der)?,
                x5t_s256: base64url(&sha2::Sha256::digest(der)),
                key,
            });
        }
        Err(unfit(
            "certificate and private key do not belong together",
            "name the key that the certificate was made for",
        ))
    }
}

const NAME_PASSWORD: &str = "say where its password lies: `password = { env = \"…\" }` beside the certificate";
const CHECK_PASSWORD: &str = "check where `password` leads; it must hold the password and nothing else";
const NEW_ONE: &str = "make a new one: openssl req -x509 -newkey rsa:3072 -nodes -days 365 -subj /CN=entra-import \
    -keyout app.key -out app.crt, and upload app.crt to the app registration";

fn not_rsa() -> Unfit {
    unfit("its key is not an RSA key; Entra takes assertions signed with RSA only (PS256)", NEW_ONE)
}

/// The key inside PKCS#8.
fn rsa_key(pkcs8: &[u8]) -> Result<EncodingKey, Unfit> {
    let info = PrivateKeyInfoRef::try_from(pkcs8)
        .map_err(|_| unfit("the private key cannot be read", "export it again from where it was made"))?;
    if info.algorithm.oid != RSA {
        return Err(not_rsa());
    }
    Ok(EncodingKey::from_rsa_der(info.private_key.as_bytes()))
}

/// Modulus and exponent of the key's public half, in Base64.
fn public_half(key: &EncodingKey) -> Result<(String, String), Unfit> {
    match Jwk::from_encoding_key(key, Algorithm::PS256).map(|jwk| jwk.algorithm) {
        Ok(AlgorithmParameters::RSA(public)) => Ok((public.n, public.e)),
        _ => Err(unfit(format!("its private key is broken, or has fewer than {KEY_BITS_MIN} bits"), NEW_ONE)),
    }
}

fn facts(certificate: &X509Certificate<'_>, der: &[u8]) -> Result<CertificateFacts, Unfit> {
    let time = |seconds: i64| {
        Timestamp::from_second(seconds).map_err(|_| unfit("the certificate's dates cannot be read", NEW_ONE))
    };
    let thumbprint = sha1::Sha1::digest(der).iter().map(|byte| format!("{byte:02X}")).collect();
    Ok(CertificateFacts {
        subject: crate::http::plain(&certificate.subject().to_string()),
        thumbprint,
        not_before: time(certificate.validity().not_before.timestamp())?,
        not_after: time(certificate.validity().not_after.timestamp())?,
    })
}

/// A big-endian number without the zero that keeps it positive.
fn bare(number: &[u8]) -> &[u8] {
    let zeros = number.iter().take_while(|byte| **byte == 0).count();
    &number[zeros..]
}

fn base64url(bytes: &[u8]) -> String {
    azure_core::base64::encode_url_safe(bytes).trim_end_matches('=').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    macro_rules! file {
        ($name:literal) => {
            include_bytes!(concat!("../../tests/data/certificates/", $name)).as_slice()
        };
    }

    fn password() -> SecretString {
        "opensesame".to_owned().into()
    }

    #[test]
    fn every_form_of_file_gives_the_same_certificate() {
        let whole = SigningCertificate::read(file!("app.pem"), None, None).unwrap();
        assert_eq!(whole.facts.subject, "CN=entra-import test");
        assert!(whole.facts.not_after > whole.facts.not_before);
        assert!(!format!("{whole:?}").contains("key"));
        let base64 = azure_core::base64::encode(file!("app-open.pfx"));
        type Form<'a> = (&'a str, &'a [u8], Option<&'a [u8]>, bool);
        let forms: [Form; 9] = [
            ("two files", file!("app.crt"), Some(file!("app.key")), false),
            ("the other way round", file!("app.key"), Some(file!("app.crt")), false),
            ("PKCS#1", file!("app.crt"), Some(file!("app-pkcs1.key")), false),
            ("encrypted key", file!("app.crt"), Some(file!("app-encrypted.key")), true),
            ("PFX", file!("app.pfx"), None, true),
            ("PFX of old", file!("app-legacy.pfx"), None, true),
            ("PFX without password", file!("app-open.pfx"), None, false),
            ("PFX in Base64", base64.as_bytes(), None, false),
            ("a chain", &[file!("other.crt"), file!("app.pem"), file!("ca.crt")].concat(), None, false),
        ];
        for (form, file, key, sealed) in forms {
            let password = sealed.then(password);
            let read = SigningCertificate::read(file, key, password.as_ref());
            let read = read.unwrap_or_else(|unfit| panic!("{form}: {unfit:?}"));
            assert_eq!((&read.facts, &read.x5t_s256), (&whole.facts, &whole.x5t_s256), "{form}");
        }
    }

    #[test]
    fn what_cannot_sign_is_refused_with_words() {
        let wrong = SecretString::from("wrong");
        type Case<'a> = (&'a [u8], Option<&'a [u8]>, Option<&'a SecretString>, &'a str);
        let cases: [Case; 14] = [
            (file!("app.crt"), None, None, "no private key"),
            (file!("app.key"), None, None, "no certificate"),
            (file!("other.crt"), Some(file!("app.key")), None, "do not belong together"),
            (file!("app.pem"), Some(file!("app.key")), None, "several private keys"),
            (file!("ec.pem"), None, None, "not an RSA key"),
            (file!("short.pem"), None, None, "2048"),
            (file!("app.crt"), Some(file!("app-encrypted.key")), None, "is encrypted"),
            (file!("app.crt"), Some(file!("app-encrypted.key")), Some(&wrong), "password does not open"),
            (file!("app.crt"), Some(file!("app-legacy-encrypted.key")), Some(&wrong), "OpenSSL's old form"),
            (file!("app.pfx"), None, Some(&wrong), "password does not open"),
            (file!("app.pfx"), None, None, "has a password"),
            (file!("app-legacy.pfx"), None, Some(&wrong), "password does not open"),
            (b"a8Q~value-of-a-secret", None, None, "neither PEM nor PKCS#12"),
            (&file!("app.pem")[..900], None, None, "broken off"),
        ];
        for (file, key, password, words) in cases {
            let unfit = SigningCertificate::read(file, key, password).unwrap_err();
            assert!(unfit.why.contains(words), "{words}: {unfit:?}");
            assert!(!unfit.remedy.is_empty());
        }
    }

    #[test]
    fn an_assertion_is_what_entra_asks_for() {
        let certificate = SigningCertificate::read(file!("app.pem"), None, None).unwrap();
        let endpoint = "https://login.microsoftonline.com/t/oauth2/v2.0/token".parse().unwrap();
        let now = "2026-11-22T03:00:00Z".parse().unwrap();
        let assertion = certificate.assertion("app", &endpoint, now, Guid([7; 16])).unwrap();
        let parts: Vec<_> = assertion.split('.').collect();
        let json = |part: &str| {
            let padded = format!("{part}{}", "=".repeat((4 - part.len() % 4) % 4));
            serde_json::from_slice::<serde_json::Value>(&azure_core::base64::decode_url_safe(padded).unwrap()).unwrap()
        };
        let header = json(parts[0]);
        assert_eq!((&header["alg"], &header["typ"]), (&"PS256".into(), &"JWT".into()));
        assert_eq!(header["x5t#S256"].as_str().unwrap().len(), 43);
        let claims = json(parts[1]);
        assert_eq!(claims["aud"], endpoint.as_str());
        assert_eq!((&claims["iss"], &claims["sub"]), (&"app".into(), &"app".into()));
        assert_eq!(claims["exp"].as_i64().unwrap() - claims["nbf"].as_i64().unwrap(), 600);
        assert_eq!(claims["jti"], "07070707-0707-0707-0707-070707070707");
    }
}
