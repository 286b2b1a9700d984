//! Microsoft Entra ID as the source: reads what is needed over Microsoft Graph into a [`Snapshot`].
//!
//! Hides sign-in, addresses, pages, throttling, permissions and every way in which a read can be incomplete; what comes
//! out says of each collection and each member list whether it is whole. Deliberately filters and maps nothing, and
//! sends nothing but GET, plus POST to the token endpoint and to getByIds. The only place that knows Graph.

mod aadsts;
mod auth;
mod certificate;
mod changes;
mod cloud;
pub mod collections;
mod config;
mod confirm;
mod counts;
mod credential;
mod custom;
mod delta;
mod expand;
mod graph;
mod links;
mod members;
mod objects;
mod push;
mod registration;
pub mod rights;
mod strategy;
mod units;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::Duration;

use futures::future::join_all;
use jiff::SignedDuration;
use secrecy::SecretString;
use url::Url;

use crate::custom::Custom;
use crate::error::{Error, Exit, Result};
use crate::expr::{Catalog, Navigation};
use crate::http::{Counts, Http, Pace};
use crate::job::ManagedIdentity;
use crate::record::{Collection, Coverage, Form};
use crate::schema::SIGN_IN_ACTIVITY;
use crate::secret::SecretFrom;
use crate::snapshot::{Extent, Manifest, Snapshot, Writer};

pub use auth::{Claims, Token, claims};
pub use certificate::{CertificateFacts, SigningCertificate};
pub use cloud::Cloud;
pub use collections::Rights;
pub use config::config;
pub use credential::{SKEW_WORTH_TELLING, skew_in_words};
pub use delta::{Since, last_full};
pub use members::is_because_hidden;
pub use push::{Wanted, WantedParts};
pub use registration::SecretEnd;
pub use strategy::Memberships;

use collections::{
    ADMINISTRATIVE_UNITS, DELETED_GROUPS, DELETED_USERS, DEVICES, DIRECTORY_ROLES, LICENSES, ORGANIZATION, RESOURCES,
    Resource, USERS,
};
use delta::Delta;
use graph::Graph;
use objects::Why;

/// What must be read; nothing more is asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SourceNeeds {
    /// Graph property names per collection of objects (users, groups, custom ones …). A collection that is not named is
    /// not read; the key is always read.
    pub properties: BTreeMap<Collection, BTreeSet<String>>,
    /// Users come with `"manager":{"id":…}`.
    pub expand_manager: bool,
    /// The direct members of every group; reads the groups too.
    pub memberships: bool,
    /// Other collections of pairs that are read as lists, such as the owners of groups; each reads the objects that the
    /// lists belong to, too.
    pub links: BTreeSet<Collection>,
    /// What the custom collections among `properties` are.
    pub custom: Vec<Arc<Custom>>,
}

impl SourceNeeds {
    /// What the compiled expressions of a job use, and no more.
    pub fn of(catalog: &Catalog) -> SourceNeeds {
        let used = || catalog.collections().filter(|collection| catalog.uses(*collection));
        let objects = used().filter(|collection| matches!(collection.form(), Form::Objects | Form::Custom));
        let lists: BTreeSet<Collection> = used().filter_map(Collection::pairs).map(|pairs| pairs.lists).collect();
        let read = |collection| {
            // Read in a pass of its own.
            let elsewhere = |name: &&str| collection == Collection::Users && *name == SIGN_IN_ACTIVITY;
            catalog.properties(collection).filter(|name| !elsewhere(name)).map(Into::into).collect()
        };
        SourceNeeds {
            properties: objects.map(|collection| (collection, read(collection))).collect(),
            expand_manager: [Navigation::Manager, Navigation::DirectReports]
                .iter()
                .any(|via| catalog.navigations().contains(via)),
            memberships: lists.contains(&Collection::Memberships),
            links: lists.into_iter().filter(|lists| *lists != Collection::Memberships).collect(),
            custom: catalog.custom().iter().filter(|custom| catalog.uses(custom.collection)).cloned().collect(),
        }
    }

    /// Whether a collection of objects is to be read.
    pub fn wants(&self, collection: Collection) -> bool {
        let of_lists = |lists: &Collection| lists.pairs().is_some_and(|pairs| pairs.of == collection);
        self.properties.contains_key(&collection)
            || (collection == Collection::Groups && self.memberships)
            || self.links.iter().any(of_lists)
    }
}

/// How the application proves who it is.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Credential {
    /// The *value* of a client secret.
    Secret(SecretString),
    /// A certificate that is registered at the application.
    Certificate(Arc<SigningCertificate>),
    /// A token of another identity provider, read anew for each sign-in because platforms rotate it.
    /// <https://learn.microsoft.com/entra/workload-id/workload-identity-federation>
    Federation(SecretFrom),
    /// The identity that Azure gave this machine or container.
    ManagedIdentity(ManagedIdentity),
    /// Whoever is signed in to the Azure CLI here.
    AzureCli,
}

impl Credential {
    /// Whether a token may be a signed-in user's.
    fn allows_users(&self) -> bool {
        matches!(self, Credential::AzureCli)
    }
}

/// Where to read, as whom, and how hard.
#[derive(Clone, Debug)]
pub struct SourceConfig {
    /// GUID or verified domain name.
    pub tenant: String,
    /// The application's id, a GUID; empty where the credential brings its own.
    pub client_id: String,
    pub credential: Credential,
    /// The cloud's token host. <https://learn.microsoft.com/entra/identity-platform/authentication-national-cloud>
    pub authority: Url,
    /// The cloud's Graph host. <https://learn.microsoft.com/graph/deployments>
    pub graph: Url,
    /// Azure's metadata service, for a managed identity outside of App Service.
    pub metadata: Url,
    /// Certificates (PEM) of authorities to trust besides the machine's, for a proxy that inspects TLS.
    pub ca_file: Option<PathBuf>,
    /// The share of the tenant's quota that may be spent, above 0, at most 1.
    pub quota_share: f64,
    /// Which way memberships are read.
    pub memberships: Memberships,
    /// Overrides the quota that follows from the tenant's size.
    pub units_per_10_s: Option<u32>,
    /// Requests under way at the same time, at most; fewer while fewer suffice to spend the quota.
    pub in_flight_max: usize,
    /// Pages of one list; more are taken for a loop.
    pub pages_max: u64,
    /// Reads nothing while the application is allowed more than the read needs.
    pub refuse_excess_rights: bool,
    /// Who goes first when the tenant is busy.
    pub priority: Priority,
}

impl SourceConfig {
    /// The global cloud and the defaults.
    pub fn new(tenant: impl Into<String>, client_id: impl Into<String>, credential: Credential) -> SourceConfig {
        // The promise: constant and well-formed.
        let url = |text: &str| Url::parse(text).unwrap_or_else(|_| unreachable!("a constant address"));
        SourceConfig {
            tenant: tenant.into(),
            client_id: client_id.into(),
            credential,
            authority: Cloud::Global.authority(),
            graph: Cloud::Global.graph(),
            metadata: url("http://169.254.169.254"),
            ca_file: None,
            quota_share: 0.8,
            memberships: Memberships::Auto,
            units_per_10_s: None,
            in_flight_max: 256,
            pages_max: 100_000,
            refuse_excess_rights: false,
            priority: Priority::default(),
        }
    }
}

/// Which requests Graph throttles first: those of low priority.
/// <https://learn.microsoft.com/graph/throttling#throttling-and-batching>
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Priority {
    Low,
    /// What a request has that says nothing.
    #[default]
    Normal,
    High,
}

impl Priority {
    /// With the words that jobs and Graph have for them.
    pub const WORDS: [(&str, Priority); 3] =
        [("low", Priority::Low), ("normal", Priority::Normal), ("high", Priority::High)];

    /// What a request says, if it says anything.
    fn header(self) -> Option<&'static str> {
        match self {
            Priority::Low => Some("low"),
            Priority::Normal => None,
            Priority::High => Some("high"),
        }
    }
}

/// Hears how far a read has come. Called often, from the reading task; must return at once.
pub trait Progress: Send + Sync {
    /// `done` objects (groups, for memberships) are there, of `total` where that is known.
    fn at(&self, collection: Collection, done: u64, total: Option<u64>);

    /// So long Graph has had the whole read wait, until now.
    fn throttled(&self, _: Duration) {}
}

/// Nobody listens.
impl Progress for () {
    fn at(&self, _: Collection, _: u64, _: Option<u64>) {}
}

/// What a read brought.
#[derive(Debug)]
pub struct Extracted {
    pub snapshot: Snapshot,
    /// What the source's requests came to since it was made.
    pub counts: Counts,
    /// Objects that a delta query told of in a way that only a lookup by id settles: give them to [`Source::confirm`].
    pub doubtful: Vec<Missing>,
}

/// An object that a mapping owns and the read did not return: to be looked up by id.
pub type Missing = (Collection, crate::record::Guid);

/// The tenant, as one application sees it.
#[derive(Debug)]
pub struct Source {
    config: SourceConfig,
    graph: Graph,
    /// What the lane had done before: another job may have used it.
    before: Counts,
    wanted: WantedParts,
}

impl Source {
    /// Checks addresses and prepares; contacts nobody.
    pub fn new(config: SourceConfig, http: &Http) -> Result<Source> {
        if !(config.quota_share > 0.0 && config.quota_share <= 1.0) {
            return Err(Error::usage(format!("quota_share = {} is not a share", config.quota_share))
                .hint("Give a number above 0 and at most 1."));
        }
        let graph = Graph::new(&config, http)?;
        Ok(Source { before: graph.lane.counts(), graph, config, wanted: WantedParts::new() })
    }

    /// Where Graph can tell, reads only these parts of collections.
    pub fn wanting(self, wanted: WantedParts) -> Source {
        Source { wanted, ..self }
    }

    /// Signs in, unless a token is there. Fails with [`Exit::SignIn`] when Entra refuses, or when the token carries no
    /// permission at all.
    pub async fn sign_in(&self) -> Result<Token> {
        let token = self.graph.auth.token().await?;
        auth::refuse_unfit(&token, &self.config)?;
        Ok(token)
    }

    /// The certificate that the application signs in with, if it does.
    pub fn certificate(&self) -> Option<&CertificateFacts> {
        match &self.config.credential {
            Credential::Certificate(certificate) => Some(certificate.facts()),
            _ => None,
        }
    }

    /// How far Microsoft's clock is ahead of this machine's, as the last answer showed; none before the first. Answers
    /// carry whole seconds, so less than two seconds is no skew.
    pub fn clock_skew(&self) -> Option<SignedDuration> {
        self.graph.lane.clock_skew().or_else(|| self.graph.auth.clock_skew())
    }

    /// When the credential ends, as far as that can be known; takes a request at most.
    pub async fn credential_end(&self) -> Option<jiff::Timestamp> {
        if let Some(facts) = self.certificate() {
            return Some(facts.not_after);
        }
        match self.secret_end(&self.sign_in().await.ok()?).await {
            SecretEnd::Known { ends, .. } => Some(ends),
            SecretEnd::NoSecret | SecretEnd::Unknown(_) => None,
        }
    }

    /// What the requests came to so far.
    pub fn counts(&self) -> Counts {
        self.graph.lane.counts().since(self.before)
    }

    /// Reads everything that is needed into a snapshot at `out`, which it replaces.
    ///
    /// What cannot be read makes its collection or list partial, with the reason. Fails only when nothing at all can
    /// be read ([`Exit::SignIn`], [`Exit::Unreachable`]) or the snapshot cannot be written.
    pub async fn extract(&self, needs: &SourceNeeds, progress: &dyn Progress, out: &Path) -> Result<Extracted> {
        self.extract_since(needs, progress, out, Since::Never).await
    }

    /// [`Source::extract`] that reads only what changed since an older snapshot, wherever that will do, and keeps the
    /// links by which the next one can.
    pub async fn extract_since(
        &self,
        needs: &SourceNeeds,
        progress: &dyn Progress,
        out: &Path,
        since: Since<'_>,
    ) -> Result<Extracted> {
        let token = self.sign_in().await?;
        // What a user may not see is in no change either: links of such a read would carry its gaps on.
        let since = if token.is_delegated() { Since::Never } else { since };
        let rights = token.rights();
        if self.config.refuse_excess_rights {
            rights::refuse_excess(needs, &rights, &self.config)?;
        }
        let writer = Writer::create(out)?;
        let mut manifest = Manifest::new(&self.config.tenant, self.graph.clock.now());
        manifest.roles = rights.0.clone().unwrap_or_default();
        let delta = Delta::new(since);
        let reader = self.reader(needs, &rights, &writer, progress, &delta);
        let others = [&USERS, &DEVICES, &LICENSES, &ADMINISTRATIVE_UNITS, &DIRECTORY_ROLES, &ORGANIZATION];
        let others = others.into_iter().chain([&DELETED_USERS, &DELETED_GROUPS]);
        let (objects, sign_ins, groups_and_members, links, custom, counts) = futures::join!(
            join_all(others.map(|resource| reader.objects(resource))),
            reader.sign_ins(),
            reader.groups_and_members(),
            join_all(RESOURCES.map(|resource| reader.links(resource))),
            join_all(needs.custom.iter().map(|custom| reader.custom(custom))),
            reader.counts(),
        );
        let (groups, members) = groups_and_members?;
        let mut parts = Vec::new();
        for read in objects.into_iter().chain([sign_ins, Ok(groups)]) {
            parts.extend(read?.map(|read| (read.resource.collection, read.extent, read.why)));
        }
        for read in custom {
            let read = read?;
            parts.push((read.collection, read.extent, read.why));
        }
        refuse_nothing_readable(&parts, &self.config)?;
        manifest.collections.extend(parts.into_iter().map(|(collection, extent, _)| (collection, extent)));
        for link in links {
            manifest.collections.extend(link?);
        }
        manifest.collections.extend(members.map(|members| (Collection::Memberships, members)));
        members::doubt_vanished(&mut manifest, &writer);
        for (collection, expected) in counts {
            // What was filtered was compared with a count of its own.
            if let Some(extent) = manifest.collections.get_mut(&collection).filter(|extent| extent.filter().is_none()) {
                counts::compare(collection, extent, writer.count(collection), expected);
            }
        }
        if token.is_delegated() {
            doubt(&mut manifest);
        }
        let (links, doubtful) = delta.finish();
        manifest.links = links;
        manifest.drop_doubtful_links();
        let snapshot = Snapshot::open(&writer.seal(manifest)?)?;
        Ok(Extracted { snapshot, counts: self.counts(), doubtful })
    }

    fn reader<'a>(
        &'a self,
        needs: &'a SourceNeeds,
        rights: &'a Rights,
        writer: &'a Writer,
        progress: &'a dyn Progress,
        delta: &'a Delta<'a>,
    ) -> Reader<'a> {
        let (counts, quota) = (counts::Counts::default(), AtomicU32::default());
        Reader { source: self, needs, rights, writer, progress, delta, counts, quota }
    }

    /// Looks up what a read did not return: first among the deleted objects, then by id. Writes what it learns into an
    /// amended snapshot in place of the given one: objects found join their collection, the others become
    /// [`Snapshot::deleted`] or [`Snapshot::absent`]. What could not be looked up is none of the three: unknown.
    pub async fn confirm(
        &self,
        needs: &SourceNeeds,
        progress: &dyn Progress,
        snapshot: Snapshot,
        missing: Vec<Missing>,
    ) -> Result<Extracted> {
        let token = self.sign_in().await?;
        if token.is_delegated() {
            // What a user does not find may be there.
            return Ok(Extracted { snapshot, counts: self.counts(), doubtful: Vec::new() });
        }
        let rights = token.rights();
        let mut manifest = snapshot.manifest().clone();
        let writer = Writer::amend(&snapshot)?;
        drop(snapshot);
        let delta = Delta::new(Since::Never);
        let reader = self.reader(needs, &rights, &writer, progress, &delta);
        reader.confirm(missing, &mut manifest).await?;
        members::doubt_vanished(&mut manifest, &writer);
        manifest.drop_doubtful_links();
        let snapshot = Snapshot::open(&writer.seal(manifest)?)?;
        Ok(Extracted { snapshot, counts: self.counts(), doubtful: Vec::new() })
    }
}

/// One read in progress: what all its parts share.
struct Reader<'a> {
    source: &'a Source,
    needs: &'a SourceNeeds,
    rights: &'a Rights,
    writer: &'a Writer,
    progress: &'a dyn Progress,
    delta: &'a Delta<'a>,
    /// Asked at most once a run.
    counts: counts::Counts,
    /// The quota of a tenant as large as was seen so far.
    quota: AtomicU32,
}

impl<'a> Reader<'a> {
    fn graph(&self) -> &'a Graph {
        &self.source.graph
    }

    /// Tells how far a collection has come; of how many is what Graph counts, once it has answered.
    fn tell(&self, collection: Collection, done: u64, total: Option<u64>) {
        let throttled_s = self.graph().lane.counts().throttled_s;
        if throttled_s > 0.0 {
            self.progress.throttled(Duration::from_secs_f64(throttled_s));
        }
        self.progress.at(collection, done, total.or_else(|| self.counts.known(collection)));
    }

    /// Spends more of the quota once the tenant is seen to be larger.
    fn raise_quota(&self, users: u64) {
        let (config, quota) = (&self.source.config, units::quota_per_10_s(users));
        if self.quota.fetch_max(quota, Relaxed) < quota && config.units_per_10_s.is_none() {
            self.graph().lane.set_pace(pace(config, users));
        }
    }
}

/// What a signed-in user's token read is never whole: Graph leaves out, without a word, what that user may not see.
fn doubt(manifest: &mut Manifest) {
    for extent in manifest.collections.values_mut().filter(|extent| extent.coverage.is_complete()) {
        extent.coverage = Coverage::partial("read with the rights of a signed-in user, who may not see everything");
    }
}

/// The pace for a tenant of so many users.
fn pace(config: &SourceConfig, users: u64) -> Pace {
    let quota = config.units_per_10_s.unwrap_or_else(|| units::quota_per_10_s(users));
    Pace::share_of(f64::from(quota), units::QUOTA_WINDOW, config.quota_share, config.in_flight_max)
}

/// Fails when something was asked for and not one page of it came.
fn refuse_nothing_readable(reads: &[(Collection, Extent, Why)], config: &SourceConfig) -> Result<()> {
    if reads.is_empty() || reads.iter().any(|(_, extent, _)| extent.pages > 0) {
        return Ok(());
    }
    let refused = reads.iter().any(|(.., why)| *why == Why::Refused);
    let (exit, hint) = if refused {
        (
            Exit::SignIn,
            "Add the permissions as *application* permissions in the app registration and grant admin consent."
                .to_owned(),
        )
    } else {
        let trouble = reads.iter().find_map(|(.., why)| match why {
            Why::Lost(trouble) => Some(trouble.remedy()),
            _ => None,
        });
        let hint = "Check the network, the proxy variables and the Graph address, then run again.";
        (Exit::Unreachable, trouble.unwrap_or_else(|| hint.to_owned()))
    };
    let mut error = Error::new(exit, format!("nothing of tenant {} could be read", config.tenant)).hint(hint);
    for (collection, extent, _) in reads {
        if let Coverage::Partial(reason) = &extent.coverage {
            error = error.cause(format!("{collection}: {reason}"));
        }
    }
    Err(error)
}

/// The properties to select, and those that the app may not read.
fn selection(needs: &SourceNeeds, rights: &Rights, resource: &Resource) -> Extent {
    let mut extent = Extent::new(Coverage::Complete);
    let wanted = needs.properties.get(&resource.collection);
    extent.properties = wanted.cloned().unwrap_or_default();
    match resource.collection {
        // Whether a group hides its members decides whether they are asked for.
        Collection::Groups if needs.memberships => drop(extent.properties.insert("visibility".into())),
        Collection::Licenses => drop(extent.properties.insert("skuId".into())),
        // A relationship, not a property: it is expanded.
        Collection::Users if needs.expand_manager => drop(extent.properties.insert("manager".into())),
        _ => {}
    }
    extent.properties.insert("id".into());
    for property in std::mem::take(&mut extent.properties) {
        match rights.unreadable(resource.collection, &property) {
            Some(reason) => drop(extent.unreadable.insert(property, reason)),
            None => drop(extent.properties.insert(property)),
        }
    }
    extent
}
