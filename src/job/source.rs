//! `[source]`: where records come from, and what the application signs in with.
//!
//! Hides which keys go together. Deliberately reads no secret: that happens when it is used.

use std::path::PathBuf;
use std::sync::Arc;

use jiff::SignedDuration;
use url::Url;

use super::read::Reader;
use super::secret::Secrets;
use crate::diagnostic::{Problems, SourceFile, did_you_mean};
use crate::record::Guid;
use crate::secret::SecretFrom;
use crate::source::{Cloud, Memberships, Priority};
use crate::tree::{Fields, Kind, Node};

/// Where records come from.
#[derive(Clone, PartialEq, Debug)]
pub enum Source {
    /// Microsoft Graph.
    Graph(Box<GraphSource>),
    /// A snapshot on disk, as `extract` writes it.
    Snapshot {
        dir: PathBuf,
        /// As written, with `{job}` filled in.
        written: String,
    },
}

/// How a tenant is reached.
#[derive(Clone, PartialEq, Debug)]
pub struct GraphSource {
    /// Tenant id or one of the tenant's domains, in lower case.
    pub tenant: String,
    /// Application (client) id of the app registration. None with a managed identity or the Azure CLI, which bring
    /// their own, and where a federated platform sets it.
    pub client_id: Option<Guid>,
    pub credential: Credential,
    /// The cloud, when the job names one.
    pub cloud: Option<Cloud>,
    /// Sign-in host, when it is not the cloud's.
    pub authority: Option<Url>,
    /// Graph host, when it is not the cloud's.
    pub graph: Option<Url>,
    /// Certificates (PEM) of authorities to trust besides the machine's.
    pub ca_file: Option<PathBuf>,
    /// Which way memberships are read.
    pub memberships: Memberships,
    /// Share of the tenant's request quota that a run may spend, above 0, at most 1.
    pub quota_share: f64,
    /// Who goes first when the tenant is busy.
    pub priority: Priority,
    /// The most requests under way at once, when the job sets a limit.
    pub max_in_flight: Option<u32>,
    /// Runs read what changed since the last one, where Graph can tell it.
    pub delta: bool,
    /// How old the last full read may be, at most, before another one is made.
    pub full_every: SignedDuration,
    /// Graph is asked to leave out what the scope leaves out, where it can tell.
    pub push_down: bool,
    /// Whether the job runs only while the application is allowed nothing that the job does not need.
    pub refuse_excess_rights: bool,
}

/// What the app signs in with.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Credential {
    Secret(SecretFrom),
    Certificate(Box<CertificateFrom>),
    /// Where the other provider's token lies; none for the file that the platform names.
    Federation(Option<SecretFrom>),
    ManagedIdentity(ManagedIdentity),
    AzureCli,
}

impl Credential {
    /// Whether it is a client secret, whose end only Entra knows.
    pub fn is_secret(&self) -> bool {
        matches!(self, Credential::Secret(_))
    }
}

/// Where a certificate with its key lies.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CertificateFrom {
    /// PEM or PKCS#12.
    pub certificate: SecretFrom,
    /// The key, when it lies in another place.
    pub key: Option<SecretFrom>,
    /// Opens PKCS#12 or an encrypted key.
    pub password: Option<SecretFrom>,
}

/// Which identity of an Azure resource.
/// <https://learn.microsoft.com/entra/identity/managed-identities-azure-resources/overview>
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ManagedIdentity {
    System,
    ClientId(Guid),
    ObjectId(Guid),
    /// The resource's path in Azure.
    ResourceId(String),
}

/// The default of [`GraphSource::quota_share`]: leaves the rest of the tenant's apps a fifth.
const QUOTA_SHARE: f64 = 0.8;

const CREDENTIAL_EXAMPLE: &str = "credential = { secret = { env = \"ENTRA_SECRET\" } }";
const CLIENT_ID_EXAMPLE: &str = "client_id = \"00001111-aaaa-2222-bbbb-3333cccc4444\"";
const HOST_EXAMPLE: &str = "https://graph.microsoft.us";
const CREDENTIALS: [&str; 5] = ["secret", "certificate", "federation", "managed_identity", "azure_cli"];

/// The default of [`GraphSource::full_every`], and its range. A full read heals what no delta query told.
const FULL_EVERY: SignedDuration = SignedDuration::from_hours(7 * 24);
const FULL_EVERY_RANGE: std::ops::RangeInclusive<SignedDuration> =
    SignedDuration::from_hours(1)..=SignedDuration::from_hours(31 * 24);

/// Reads `[source]`. `files` are those that make the job: a `command` in them is obeyed only if nobody else may write it.
pub(super) fn read(node: &Node, reader: &Reader, files: &[Arc<SourceFile>], problems: &mut Problems) -> Option<Source> {
    let table = node.table(problems)?;
    let mut fields = Fields::new(table, &node.place, "`[source]`");
    if let Some(snapshot) = fields.get("snapshot") {
        fields.finish(&super::read::HOMES, problems);
        let (dir, written) = reader.path(snapshot, problems)?;
        return Some(Source::Snapshot { dir, written });
    }
    let tenant = fields.require("tenant", "tenant = \"contoso.onmicrosoft.com\"", problems);
    let client_id = fields.get("client_id");
    let credential = fields.require("credential", CREDENTIAL_EXAMPLE, problems);
    let clouds = Cloud::ALL.map(|cloud| (cloud.name(), cloud));
    let cloud = fields.get("cloud").map(|node| node.word(&clouds, problems));
    let (authority_node, graph_node) = (fields.get("authority"), fields.get("graph"));
    let authority = authority_node.map(|node| host(node, HOST_EXAMPLE, problems));
    let graph = graph_node.map(|node| host(node, HOST_EXAMPLE, problems));
    let ca_file = fields.get("ca_file").map(|node| reader.path(node, problems).map(|(path, _)| path));
    let memberships = fields.get("memberships").map(|node| memberships(node, problems));
    let quota_share = fields.get("quota_share").map_or(Some(QUOTA_SHARE), |node| node.number(0.01..=1.0, problems));
    let priority = fields.get("priority").map(|node| node.word(&Priority::WORDS, problems));
    let max_in_flight = fields.get("max_in_flight").map(|node| node.int(1..=1000, problems));
    let delta = fields.get("delta").map_or(Some(false), |node| node.bool(problems));
    let full_every = fields.get("full_every").map_or(Some(FULL_EVERY), |node| full_every(node, problems));
    let push_down = fields.get("push_down").map_or(Some(true), |node| node.bool(problems));
    let refuse_excess = fields.get("refuse_excess_rights").map_or(Some(false), |node| node.bool(problems));
    fields.finish(&super::read::HOMES, problems);
    let secrets = Secrets { reader, files };
    let credential = credential.and_then(|node| self::credential(node, &secrets, problems));
    let client_id = application(client_id, credential.as_ref(), node, problems);
    let tenant = tenant.and_then(|node| tenant_name(node, credential.as_ref(), problems));
    let source = GraphSource {
        tenant: tenant?,
        client_id: client_id?,
        credential: credential?,
        cloud: transposed(cloud)?,
        authority: transposed(authority)?,
        graph: transposed(graph)?,
        ca_file: transposed(ca_file)?,
        memberships: transposed(memberships)?.unwrap_or_default(),
        quota_share: quota_share?,
        priority: transposed(priority)?.unwrap_or_default(),
        max_in_flight: transposed(max_in_flight)?.and_then(|number| u32::try_from(number).ok()),
        delta: delta?,
        full_every: full_every?,
        push_down: push_down?,
        refuse_excess_rights: refuse_excess?,
    };
    one_cloud(&source, authority_node.or(graph_node), problems)?;
    Some(Source::Graph(Box::new(source)))
}

fn full_every(node: &Node, problems: &mut Problems) -> Option<SignedDuration> {
    let span = super::settings::span(node, problems)?;
    if FULL_EVERY_RANGE.contains(&span) {
        return Some(span);
    }
    let help = "write between \"1h\" and \"31 days\"; the links by which changes are read live 7 days, so that a job \
        that runs less often reads everything anyhow";
    problems.add_with_help(&node.place, "full reads cannot be that far apart, or that close", help);
    None
}

/// A key that is absent is fine, one that is there and wrong is not.
pub(super) fn transposed<T>(value: Option<Option<T>>) -> Option<Option<T>> {
    match value {
        None => Some(None),
        Some(inner) => inner.map(Some),
    }
}

/// The application's id where one is needed, and none where the credential brings its own.
fn application(
    written: Option<&Node>,
    credential: Option<&Credential>,
    source: &Node,
    problems: &mut Problems,
) -> Option<Option<Guid>> {
    let Some(credential) = credential else { return written.map_or(Some(None), |node| id(node, problems).map(Some)) };
    let own = match credential {
        Credential::ManagedIdentity(_) => Some(
            "a managed identity has an id of its own; one of several is chosen by \
             `managed_identity = { client_id = \"…\" }`",
        ),
        Credential::AzureCli => Some("the Azure CLI signs in whoever is logged in to it; take `client_id` out"),
        _ => None,
    };
    match (written, own) {
        (Some(node), Some(help)) => {
            problems.add_with_help(&node.place, "`client_id` means nothing with this credential", help);
            None
        }
        (Some(node), None) => id(node, problems).map(Some),
        (None, _) if matches!(credential, Credential::Secret(_) | Credential::Certificate(_)) => {
            let help = format!("write `{CLIENT_ID_EXAMPLE}`");
            problems.add_with_help(&source.place, "`client_id` is missing in `[source]`", help);
            None
        }
        (None, _) => Some(None),
    }
}

/// Refuses addresses of different clouds: a token of one is worth nothing in another.
fn one_cloud(source: &GraphSource, at: Option<&Node>, problems: &mut Problems) -> Option<()> {
    let cloud = source.cloud.or_else(|| source.graph.as_ref().and_then(Cloud::of_graph)).unwrap_or_default();
    let strange = |url: &Url, known: bool, fits: bool| (known && !fits).then(|| url.clone());
    let graph = source.graph.as_ref().and_then(|url| {
        let of = Cloud::of_graph(url);
        strange(url, of.is_some(), of == Some(cloud))
    });
    let authority = source
        .authority
        .as_ref()
        .and_then(|url| strange(url, Cloud::of_authority(url).is_some(), cloud.signs_in_at(url)));
    // A Graph address of our own says nothing of the cloud.
    let local = source.cloud.is_none() && source.graph.as_ref().is_some_and(|url| Cloud::of_graph(url).is_none());
    let Some(url) = graph.or(authority).filter(|_| !local) else { return Some(()) };
    let message = format!("{} does not belong to the cloud `{}`", url.host_str().unwrap_or_default(), cloud.name());
    let help = "name the cloud alone, `cloud = \"us-gov\"`, and take `authority` and `graph` out";
    problems.add_with_help(&at?.place, message, help);
    None
}

fn memberships(node: &Node, problems: &mut Problems) -> Option<Memberships> {
    match node.text(problems)? {
        "auto" => Some(Memberships::Auto),
        "expand" => Some(Memberships::Expand),
        "per-group" => Some(Memberships::PerGroup),
        "delta" => Some(Memberships::Delta),
        other => {
            let help = did_you_mean(other, &["auto", "expand", "per-group", "delta"], "ways");
            problems.add_with_help(&node.place, format!("memberships cannot be read by `{other}`"), help);
            None
        }
    }
}

fn tenant_name(node: &Node, credential: Option<&Credential>, problems: &mut Problems) -> Option<String> {
    let text = node.text(problems)?.to_lowercase();
    if matches!(credential, Some(Credential::ManagedIdentity(_))) && text.parse::<Guid>().is_err() {
        let help = "copy \"Tenant ID\" from the overview page of Microsoft Entra ID: a managed identity signs in where it \
            lives, and only by the id can the program see that this is the tenant you mean";
        problems.add_with_help(&node.place, "with a managed identity the tenant is named by its id", help);
        return None;
    }
    let domain = text.contains('.') && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-'));
    if text.parse::<Guid>().is_ok() || domain {
        return Some(text);
    }
    let help = "write the tenant's id or a domain such as contoso.onmicrosoft.com; an application signs in to one \
        tenant, so `common` and `organizations` do not work";
    problems.add_with_help(&node.place, format!("`{text}` is neither a tenant id nor a domain"), help);
    None
}

fn id(node: &Node, problems: &mut Problems) -> Option<Guid> {
    let found = node.text(problems)?.parse().ok();
    if found.is_none() {
        let help = "copy \"Application (client) ID\" from the overview page of the app registration";
        problems.add_with_help(&node.place, "this is not an application (client) id", help);
    }
    found
}

/// An address that tokens are sent to: https, or http on this very machine (tests, demos).
pub(super) fn host(node: &Node, example: &str, problems: &mut Problems) -> Option<Url> {
    let text = node.text(problems)?;
    let found = Url::parse(text).ok().filter(|url| {
        let local = matches!(url.host_str(), Some("localhost" | "127.0.0.1" | "[::1]"));
        let plain = url.username().is_empty() && url.password().is_none() && url.query().is_none();
        plain && url.has_host() && (url.scheme() == "https" || (url.scheme() == "http" && local))
    });
    if found.is_none() {
        let help = format!("write an https address without user, password or query, such as {example}");
        problems.add_with_help(&node.place, "tokens cannot be sent to this address", help);
    }
    found
}

/// What to sign in with: exactly one way.
fn credential(node: &Node, secrets: &Secrets, problems: &mut Problems) -> Option<Credential> {
    let table = secrets.table(node, "a credential", problems)?;
    let mut fields = Fields::new(table, &node.place, "`credential`");
    let ways: Vec<_> = CREDENTIALS.iter().filter_map(|way| Some((*way, fields.get(way)?))).collect();
    fields.finish(&super::read::HOMES, problems);
    let [(way, value)] = ways.as_slice() else {
        // A key that is not known has been told already.
        if !ways.is_empty() || table.entries.is_empty() {
            let help = format!("keep one of {}; `{CREDENTIAL_EXAMPLE}`", CREDENTIALS.join(", "));
            problems.add_with_help(&node.place, "a credential is one way to sign in", help);
        }
        return None;
    };
    match *way {
        "secret" => secrets.place(value, "a secret", problems).map(Credential::Secret),
        "certificate" => certificate(value, secrets, problems).map(|from| Credential::Certificate(Box::new(from))),
        "federation" => match &value.kind {
            Kind::Table(table) if table.entries.is_empty() => Some(Credential::Federation(None)),
            _ => secrets.place(value, "a federated token", problems).map(|from| Credential::Federation(Some(from))),
        },
        "managed_identity" => managed_identity(value, problems).map(Credential::ManagedIdentity),
        // The last of them: `azure_cli`.
        _ => match value.bool(problems)? {
            true => Some(Credential::AzureCli),
            false => {
                problems.add_with_help(&value.place, "this leaves no way to sign in", "write `azure_cli = true`");
                None
            }
        },
    }
}

fn certificate(node: &Node, secrets: &Secrets, problems: &mut Problems) -> Option<CertificateFrom> {
    let table = secrets.table(node, "a certificate", problems)?;
    let mut rest = table.clone();
    let (key, password) = (rest.remove("key"), rest.remove("password"));
    let certificate = secrets.in_table(&rest, &node.place, "a certificate", problems);
    let key = key.map(|entry| secrets.place(&entry.value, "a private key", problems));
    let password = password.map(|entry| secrets.place(&entry.value, "a password", problems));
    Some(CertificateFrom { certificate: certificate?, key: transposed(key)?, password: transposed(password)? })
}

/// `"system"`, or which of the identities that were assigned.
fn managed_identity(node: &Node, problems: &mut Problems) -> Option<ManagedIdentity> {
    const HELP: &str = "write `managed_identity = \"system\"`, or for one that you assigned `{ client_id = \"…\" }`, \
        `{ object_id = \"…\" }` or `{ resource_id = \"/subscriptions/…\" }`";
    let found = match &node.kind {
        Kind::Text(text) if text == "system" => Some(ManagedIdentity::System),
        Kind::Table(table) => match table.entries.as_slice() {
            [entry] => {
                let text = entry.value.text(problems)?;
                let path = text.starts_with("/subscriptions/").then(|| text.to_string());
                match entry.key.as_str() {
                    "client_id" => text.parse().ok().map(ManagedIdentity::ClientId),
                    "object_id" => text.parse().ok().map(ManagedIdentity::ObjectId),
                    "resource_id" => path.map(ManagedIdentity::ResourceId),
                    _ => None,
                }
            }
            _ => None,
        },
        _ => None,
    };
    if found.is_none() {
        problems.add_with_help(&node.place, "this names no managed identity", HELP);
    }
    found
}
