//! From a job's `[source]` to what a read needs: secrets are fetched here, at the last moment, and nowhere kept.
//!
//! Hides the variables that Azure's platforms set. Deliberately reads no federated token: that one changes while a run
//! is under way and is read for each sign-in.

use std::path::PathBuf;
use std::sync::Arc;

use secrecy::ExposeSecret;
use url::Url;

use super::certificate::SigningCertificate;
use super::{Cloud, Credential, SourceConfig};
use crate::error::{Error, Exit, Result};
use crate::job::{CertificateFrom, Credential as JobCredential, GraphSource};
use crate::secret::SecretFrom;

/// What the webhook of Microsoft Entra Workload ID puts into a container.
/// <https://learn.microsoft.com/entra/workload-id/workload-identity-federation>
const FEDERATED_TOKEN_FILE: &str = "AZURE_FEDERATED_TOKEN_FILE";
const CLIENT_ID: &str = "AZURE_CLIENT_ID";
const AUTHORITY_HOST: &str = "AZURE_AUTHORITY_HOST";
/// Another address of the metadata service, as Microsoft's libraries for other languages know it.
const METADATA_HOST: &str = "AZURE_POD_IDENTITY_AUTHORITY_HOST";

/// Resolves the job's source; reads secrets from where the job says they lie.
pub fn config(job: &GraphSource) -> Result<SourceConfig> {
    let credential = credential(&job.credential)?;
    let client_id = match (&job.client_id, &credential) {
        (Some(id), _) => id.to_string(),
        (None, Credential::Federation(_)) => variable(CLIENT_ID).ok_or_else(|| {
            Error::new(Exit::SignIn, "the application's id is not known")
                .cause(format!("the job has no client_id, and {CLIENT_ID} is not set"))
                .hint("write client_id into [source], or run where Workload ID sets the variable")
        })?,
        // A managed identity and a person at a desk bring their own.
        (None, _) => String::new(),
    };
    let mut config = SourceConfig::new(job.tenant.clone(), client_id, credential);
    let (authority, graph) = hosts(job)?;
    config.authority = authority;
    config.graph = graph;
    if let Some(url) = variable(METADATA_HOST) {
        config.metadata = address(METADATA_HOST, &url)?;
    }
    config.ca_file.clone_from(&job.ca_file);
    config.quota_share = job.quota_share;
    config.memberships = job.memberships;
    config.priority = job.priority;
    config.refuse_excess_rights = job.refuse_excess_rights;
    if let Some(most) = job.max_in_flight {
        config.in_flight_max = most as usize;
    }
    Ok(config)
}

/// What the job says, else the platform (of a federated job), else the public cloud's.
fn hosts(job: &GraphSource) -> Result<(Url, Url)> {
    let federated = matches!(job.credential, JobCredential::Federation(_));
    let platform = variable(AUTHORITY_HOST).filter(|_| federated && job.cloud.is_none() && job.authority.is_none());
    let given = platform.map(|url| address(AUTHORITY_HOST, &url)).transpose()?;
    let cloud = job.cloud.or_else(|| given.as_ref().and_then(Cloud::of_authority)).unwrap_or_default();
    let authority = job.authority.clone().or(given).unwrap_or_else(|| cloud.authority());
    Ok((authority, job.graph.clone().unwrap_or_else(|| cloud.graph())))
}

fn credential(job: &JobCredential) -> Result<Credential> {
    Ok(match job {
        JobCredential::Secret(from) => Credential::Secret(from.text("the client secret").map_err(|error| {
            error.hint("put the *value* of the client secret there (not its id), and nothing else")
        })?),
        JobCredential::Certificate(from) => Credential::Certificate(Arc::new(certificate(from)?)),
        JobCredential::Federation(Some(from)) => Credential::Federation(from.clone()),
        JobCredential::Federation(None) => {
            let path = variable(FEDERATED_TOKEN_FILE).ok_or_else(|| {
                Error::new(Exit::SignIn, "the federated token's file is not known")
                    .cause(format!("{FEDERATED_TOKEN_FILE} is not set"))
                    .hint("run where Workload ID sets it, or name the file: credential = { federation = { file = \"…\" } }")
            })?;
            Credential::Federation(SecretFrom::File(PathBuf::from(path)))
        }
        JobCredential::ManagedIdentity(which) => Credential::ManagedIdentity(which.clone()),
        JobCredential::AzureCli => Credential::AzureCli,
    })
}

fn certificate(from: &CertificateFrom) -> Result<SigningCertificate> {
    let file = from.certificate.bytes("the certificate")?;
    let key = from.key.as_ref().map(|key| key.bytes("the certificate's key")).transpose()?;
    let password = from.password.as_ref().map(|from| from.text("the certificate's password")).transpose()?;
    let key = key.as_ref().map(|key| key.expose_secret());
    SigningCertificate::read(file.expose_secret(), key, password.as_ref()).map_err(|unfit| {
        Error::new(Exit::SignIn, format!("cannot sign in with the certificate from {}", from.certificate))
            .cause(unfit.why)
            .hint(unfit.remedy)
    })
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|text| !text.is_empty())
}

fn address(variable: &str, text: &str) -> Result<Url> {
    text.parse().map_err(|cause: url::ParseError| {
        Error::new(Exit::SignIn, format!("{variable} holds no address")).because(cause).hint("unset or correct it")
    })
}
