//! One extract on disk: a folder of JSON Lines with a manifest, written whole or not at all.
//!
//! Hides the files, their order on disk, the index from id to line, and how a half-written extract is kept from being
//! taken for a whole one. Memory follows the number of keys and memberships, never the size of the objects.
//! Deliberately knows nothing of Graph's addresses, and interprets no property but the key.
//!
//! | file | one line is |
//! | --- | --- |
//! | `manifest.json` | the whole file: [`Manifest`]; a folder that has one is complete on disk |
//! | `<collection>.jsonl` of objects: users, groups … | an object as Graph returned it, keyed by `id`; a subscribed SKU by `skuId`, that of a custom list by what the manifest says |
//! | `<collection>.jsonl` of pairs: memberships, group_owners … | `{"id":"<group>","members":[{"id":"…","type":"user"}],"partial":"reason"}`; `"vanished":true` besides where the object itself was gone |
//! | `deleted.jsonl` | `{"id","type","deletedDateTime"}`: proved deleted |
//! | `absent.jsonl` | `{"id","type"}`: asked for by id and not found |
//! | `delta.json` | [`DeltaLinks`]: from where the changes since this very snapshot are read; not in every snapshot |

mod read;
mod write;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::Path;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::record::{Collection, Coverage, Form, Guid, Unknown};

pub use read::{Members, ObjectIter, Objects, Snapshot};
pub use write::Writer;

/// The format this program writes and the only one it reads.
pub const FORMAT: &str = "snapshot/1";

/// Name and version of this program, as manifests have them.
pub const PROGRAM: &str = concat!("entra-import ", env!("CARGO_PKG_VERSION"));

const MANIFEST: &str = "manifest.json";
const DELETED: &str = "deleted";
const ABSENT: &str = "absent";
const DELTA: &str = "delta.json";

/// `manifest.json`: where the extract comes from and how much of everything it holds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    pub format: String,
    /// The tenant as configured: its GUID or a verified domain name.
    pub tenant: String,
    /// When the read began.
    pub as_of: Timestamp,
    /// Name and version of the program that wrote it.
    pub program: String,
    /// Per collection that was asked for and has a file. [`Collection::Memberships`] stands for nestings too.
    pub collections: BTreeMap<Collection, Extent>,
    /// The application permissions that the token carried, sorted.
    pub roles: BTreeSet<String>,
    /// Kept in a file of their own, for the owner's eyes alone: a manifest may be shown around.
    #[serde(skip)]
    pub links: DeltaLinks,
}

/// `delta.json`: per collection the link that leads from this snapshot to the next one. It lies in the snapshot's folder
/// and appears with it in one rename, so that no link is ever used with another snapshot than its own. It holds no
/// secret, but a position in the tenant's history. <https://learn.microsoft.com/graph/delta-query-overview>
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct DeltaLinks(pub BTreeMap<Collection, DeltaLink>);

/// Where the changes of one collection begin. The link of the groups stands for their members too.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeltaLink {
    /// As Graph gave it.
    pub url: String,
    /// When it was asked for, at the latest: its life is counted from here.
    pub taken: Timestamp,
}

/// How a collection was read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum How {
    /// In full; where changes alone would have been asked for, why not.
    Full(Option<String>),
    /// The changes since an older snapshot, laid over it.
    Delta {
        /// When that snapshot was read.
        since: Timestamp,
        /// When the collection was last read in full.
        full: Timestamp,
        /// Objects that a change was told of.
        changed: u64,
    },
}

impl How {
    /// Nothing to say of it: the job always reads everything.
    pub fn is_plain(&self) -> bool {
        *self == How::Full(None)
    }

    /// In words, where there is something to say.
    pub fn words(&self) -> Option<String> {
        match self {
            How::Full(why) => why.as_ref().map(|why| format!("read in full: {why}")),
            How::Delta { since, full, changed } => {
                Some(format!("{changed} changes since {since:.0}; last read in full at {full:.0}"))
            }
        }
    }
}

impl Default for How {
    fn default() -> How {
        How::Full(None)
    }
}

impl Manifest {
    /// A manifest of this program, with nothing in it yet.
    pub fn new(tenant: impl Into<String>, as_of: Timestamp) -> Manifest {
        Manifest {
            format: FORMAT.into(),
            tenant: tenant.into(),
            as_of,
            program: PROGRAM.into(),
            collections: BTreeMap::new(),
            roles: BTreeSet::new(),
            links: DeltaLinks::default(),
        }
    }

    /// Keeps only links of collections that were read whole: what is missing here would be missing for ever, since it
    /// need not change again.
    pub fn drop_doubtful_links(&mut self) {
        let whole = |collection: &Collection| {
            self.collections.get(collection).is_none_or(|extent| extent.coverage.is_complete())
        };
        self.links.0.retain(|collection, _| {
            whole(collection) && (*collection != Collection::Groups || whole(&Collection::Memberships))
        });
    }
}

/// How much of one collection was read.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Extent {
    #[serde(flatten)]
    pub coverage: Coverage,
    /// Distinct objects (of pairs: objects with a list). Set by the writer.
    #[serde(default)]
    pub count: u64,
    /// The properties that were asked for; sorted.
    #[serde(default)]
    pub properties: BTreeSet<String>,
    /// Properties that are needed but were not asked for because the app may not read them, with the reason.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub unreadable: BTreeMap<String, Unknown>,
    /// Pairs only: lists that are incomplete. Set by the writer.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub partial_lists: u64,
    /// Pairs only: objects that were listed and gone when their list was asked for. Set by the writer.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub vanished_lists: u64,
    /// The property that the objects of a custom collection are keyed by, where it is not `id`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// What `$count` said when the read began, where Graph gives it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expected: Option<u64>,
    #[serde(default)]
    pub pages: u64,
    /// Requests, not counting what the HTTP layer repeated by itself.
    #[serde(default)]
    pub requests: u64,
    /// Memberships only: which way they were read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub read_by: Option<ReadBy>,
    #[serde(default, skip_serializing_if = "How::is_plain")]
    pub how: How,
    /// Whether Graph was asked to leave some out; absent where nothing was to be left out, or the job does not let it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pushed: Option<Pushed>,
}

/// What Graph was asked to leave out of a collection.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Pushed {
    /// Only some were asked for; what came is whole in this sense.
    Filter(PushedFilter),
    /// Everything was asked for, and why.
    Nothing(String),
}

/// A condition that Graph evaluated.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PushedFilter {
    /// `$filter`, not percent-encoded.
    pub filter: String,
    /// Asked as an advanced query.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub advanced: bool,
    /// The clauses of the scope's filter that it stands for, wholly or in part, in their normal form. It is true of
    /// every object of which they all are true or unknown.
    pub clauses: Vec<String>,
    /// How many objects there are in the whole collection, according to Graph.
    pub total: u64,
    /// Objects that came before any was looked up by id.
    pub came: u64,
}

/// Which way the members of all groups were read, what that was expected to come to, and what it did. The members are
/// the same either way.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ReadBy {
    pub strategy: Strategy,
    /// Why this one.
    pub reason: String,
    /// Worked out when the groups had been counted.
    pub estimate: Figures,
    pub cost: Figures,
}

/// A way to read the members of all groups.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Strategy {
    /// Groups with up to 20 members on one page, then the list of each group that shows 20.
    Expand,
    /// One list for each group.
    PerGroup,
    /// The groups with their members by the first round of a delta query.
    Delta,
}

impl Strategy {
    /// The name in jobs, manifests and reports.
    pub fn name(self) -> &'static str {
        match self {
            Strategy::Expand => "expand",
            Strategy::PerGroup => "per-group",
            Strategy::Delta => "delta",
        }
    }
}

/// What a read takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Figures {
    pub requests: u64,
    /// Graph's resource units.
    pub units: u64,
    /// To a tenth.
    pub seconds: f64,
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} requests, {} units, {:.1} s", self.requests, self.units, self.seconds)
    }
}

impl Figures {
    pub fn new(requests: u64, units: u64, seconds: f64) -> Figures {
        Figures { requests, units, seconds: (seconds * 10.0).round() / 10.0 }
    }
}

impl Extent {
    /// An extent of that coverage, with nothing counted.
    pub fn new(coverage: Coverage) -> Extent {
        Extent {
            coverage,
            count: 0,
            properties: BTreeSet::new(),
            unreadable: BTreeMap::new(),
            partial_lists: 0,
            vanished_lists: 0,
            key: None,
            expected: None,
            pages: 0,
            requests: 0,
            read_by: None,
            how: How::default(),
            pushed: None,
        }
    }

    /// The condition that Graph left objects out by, if it did.
    pub fn filter(&self) -> Option<&PushedFilter> {
        match &self.pushed {
            Some(Pushed::Filter(filter)) => Some(filter),
            _ => None,
        }
    }
}

fn is_zero(count: &u64) -> bool {
    *count == 0
}

/// What a member of a group is, from the element's `@odata.type`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[repr(u8)]
pub enum MemberKind {
    User,
    Group,
    Device,
    OrgContact,
    ServicePrincipal,
    /// A type this program has no use for, or one that Graph did not name.
    Other,
}

impl MemberKind {
    /// The kind of that name, without the `#microsoft.graph.` prefix; anything else is [`MemberKind::Other`].
    pub fn named(name: &str) -> MemberKind {
        match name {
            "user" => MemberKind::User,
            "group" => MemberKind::Group,
            "device" => MemberKind::Device,
            "orgContact" => MemberKind::OrgContact,
            "servicePrincipal" => MemberKind::ServicePrincipal,
            _ => MemberKind::Other,
        }
    }

    /// The name in the snapshot.
    pub fn name(self) -> &'static str {
        match self {
            MemberKind::User => "user",
            MemberKind::Group => "group",
            MemberKind::Device => "device",
            MemberKind::OrgContact => "orgContact",
            MemberKind::ServicePrincipal => "servicePrincipal",
            MemberKind::Other => "other",
        }
    }
}

/// A direct member of a group. Orders by id. 17 bytes, so that millions fit in memory.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Member {
    pub id: Guid,
    pub kind: MemberKind,
}

/// Whether `dir` holds a snapshot that was written to its end.
pub fn is_snapshot(dir: &Path) -> bool {
    dir.join(MANIFEST).is_file()
}

/// What a collection's file holds a line of; none for what has no file of its own.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Lines {
    Objects,
    Lists,
}

fn lines_of(collection: Collection) -> Option<Lines> {
    match collection.form() {
        Form::Objects | Form::Custom => Some(Lines::Objects),
        Form::Pairs(pairs) if pairs.lists == collection => Some(Lines::Lists),
        Form::Pairs(_) | Form::Assignments => None,
    }
}

/// The name of a file of lines.
fn file_name(stem: &str) -> String {
    format!("{stem}.jsonl")
}

/// The name of the property that objects of a built-in collection are keyed by.
pub fn key_property(collection: Collection) -> &'static str {
    if collection == Collection::Licenses { "skuId" } else { "id" }
}

/// The Graph type of a collection's objects, as `deleted.jsonl` and `absent.jsonl` name it. Of a pair that of its first
/// end; a custom collection's own name.
pub fn type_name(collection: Collection) -> &'static str {
    match collection {
        Collection::Users | Collection::SignInActivity => "user",
        Collection::Groups => "group",
        Collection::Devices => "device",
        Collection::Licenses | Collection::LicenseAssignments => "subscribedSku",
        Collection::AdministrativeUnits => "administrativeUnit",
        Collection::DirectoryRoles => "directoryRole",
        Collection::Organization => "organization",
        other => match other.pairs() {
            Some(pairs) => type_name(pairs.of),
            None => other.name(),
        },
    }
}
