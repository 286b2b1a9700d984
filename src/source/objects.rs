//! Reads one collection of objects into the snapshot, and says how much of it came.
//!
//! Hides restarts, properties that Graph turns out to refuse, and the wording of what is missing.
//! Deliberately keeps no object in memory, only ids.

use std::collections::BTreeSet;

use serde::Deserialize;
use url::Url;

use super::collections::{self, Resource, Rights, WRITE};
use super::graph::{List, Stop, Walk, filter_option};
use super::units::units;
use super::{Reader, selection};
use crate::error::Result;
use crate::http::{HttpError, Lane, Refusal, Trouble};
use crate::record::{Collection, Coverage, Guid, Unknown};
use crate::schema::SIGN_IN_ACTIVITY;
use crate::snapshot::{DeltaLink, Extent};

/// What came of one collection.
#[derive(Debug)]
pub(super) struct Read {
    pub resource: &'static Resource,
    pub extent: Extent,
    pub why: Why,
    /// The groups seen, when these are groups.
    pub groups: Vec<Group>,
}

/// The kind of reason why a collection is not complete.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Why {
    Complete,
    /// 401 or 403, or no token.
    Refused,
    /// No connection.
    Lost(Trouble),
    Other,
}

/// A group whose members may be asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Group {
    pub id: Guid,
    /// Its members are shown only with a permission of its own.
    pub hidden: bool,
    /// `displayName`, where that is read.
    pub name: Option<Box<str>>,
}

/// What the reader itself needs of an object.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ObjectRow {
    id: String,
    sku_id: Option<Guid>,
    visibility: Option<String>,
    manager: Option<Reference>,
}

/// An object that another one refers to.
#[derive(Deserialize)]
struct Reference {
    id: Option<Guid>,
}

impl ObjectRow {
    /// The key; a collection whose objects have none cannot be read.
    pub fn key(&self, collection: Collection) -> Option<Guid> {
        if collection == Collection::Licenses { self.sku_id } else { self.id.parse().ok() }
    }

    pub fn hides_members(&self) -> bool {
        collections::is_hidden(self.visibility.as_deref())
    }
}

/// What a walk over objects saw besides what it wrote.
#[derive(Default)]
struct Seen {
    groups: Vec<Group>,
    /// Managers of users, where not all users were asked for.
    managers: BTreeSet<Guid>,
}

impl Reader<'_> {
    /// Reads a collection, if it is needed. Fails only when the snapshot cannot be written.
    pub(super) async fn objects(&self, resource: &'static Resource) -> Result<Option<Read>> {
        if !self.needs.wants(resource.collection) {
            return Ok(None);
        }
        let mut extent = selection(self.needs, self.rights, resource);
        if let Some((read, _)) = self.by_changes(resource, &mut extent).await? {
            return Ok(Some(read));
        }
        self.objects_in_full(resource, extent).await.map(Some)
    }

    /// Reads a collection by its list, whole.
    pub(super) async fn objects_in_full(&self, resource: &'static Resource, extent: Extent) -> Result<Read> {
        // Before the first page: what changes from now on will be told of next time.
        let link = self.latest(resource, &extent).await;
        self.objects_after(resource, extent, link).await
    }

    /// As [`Reader::objects_in_full`], when the link to later changes has been taken.
    pub(super) async fn objects_after(
        &self,
        resource: &'static Resource,
        mut extent: Extent,
        link: Option<DeltaLink>,
    ) -> Result<Read> {
        let asked = extent.properties.clone();
        let mut restarted = false;
        extent.pushed = self.pushed(resource, &extent, true).await;
        loop {
            let mut seen = Seen::default();
            let (mut walk, keyless) = self.walk_objects(resource, &extent, &mut seen).await;
            extent.pages += walk.pages;
            extent.requests += walk.requests;
            if let Some(other) = self.otherwise(resource, &mut extent, walk.stop.as_ref(), &seen.managers).await {
                extent.pushed = Some(other);
                self.writer.restart(resource.collection)?;
                continue;
            }
            match walk.stop.take() {
                Some(Stop::Local(error)) => return Err(error),
                // Each round takes at least one property out, so this ends.
                Some(stop) if walk.pages == 0 && self.drop_guarded(&stop, &mut extent) => {
                    extent.pushed = self.pushed(resource, &extent, true).await;
                }
                Some(Stop::Expired(refusal)) if !restarted => {
                    tracing::info!(collection = %resource.collection, %refusal, "reading from the start again");
                    restarted = true;
                }
                stop => {
                    let unreadable = walk.unreadable + keyless;
                    let why = self.judge(resource, stop.as_ref(), unreadable, &mut extent);
                    if let Some(link) = link.filter(|_| extent.properties == asked) {
                        self.delta.keep(resource.collection, link);
                    }
                    return Ok(Read { resource, extent, why, groups: seen.groups });
                }
            }
            self.writer.restart(resource.collection)?;
        }
    }

    async fn walk_objects(&self, resource: &Resource, extent: &Extent, seen: &mut Seen) -> (Walk, u64) {
        let collection = resource.collection;
        let (mut keyless, mut done) = (0, 0);
        let filtered = extent.filter().is_some();
        let (lane, first) = self.list_of(resource, extent);
        let price = units(resource.price, extent.properties.contains("manager"));
        let take = |row: ObjectRow, text: &str| {
            let Some(id) = row.key(collection) else {
                keyless += 1;
                return Ok(false);
            };
            self.writer.object(collection, id, text)?;
            let count = self.writer.count(collection);
            let news = count > done;
            done = count;
            if news && collection == Collection::Groups {
                seen.groups.push(Group { id, hidden: row.hides_members(), name: name_of(text) });
            }
            if filtered {
                seen.managers.extend(row.manager.and_then(|manager| manager.id));
            }
            if news && collection == Collection::Users {
                self.raise_quota(count);
            }
            self.tell(collection, count, None);
            Ok(news)
        };
        let advanced = extent.filter().is_some_and(|asked| asked.advanced);
        let walk = self.graph().walk_list(List { units: price, advanced, ..List::new(lane, first) }, take).await;
        (walk, keyless)
    }

    /// The first page's address, and the lane it must take.
    fn list_of(&self, resource: &Resource, extent: &Extent) -> (&Lane, Url) {
        let slow = resource.collection == Collection::SignInActivity;
        let lane = if slow { &self.graph().slow_lane } else { &self.graph().lane };
        let mut query = select(resource.collection, extent);
        query.extend(resource.page_size_max.map(|size| format!("$top={size}")));
        if let Some(asked) = extent.filter() {
            query.push(filter_option(&asked.filter));
            query.extend(asked.advanced.then(|| "$count=true".to_owned()));
        }
        (lane, self.graph().url(resource.path, &query))
    }

    /// When users last signed in, if that is needed. It needs a permission and a paid licence of its own, and whatever
    /// comes of it says nothing of the users.
    pub(super) async fn sign_ins(&self) -> Result<Option<Read>> {
        let resource = &collections::SIGN_INS;
        match self.rights.unreadable(resource.collection, SIGN_IN_ACTIVITY) {
            Some(reason) if self.needs.wants(resource.collection) => {
                let extent = Extent::new(Coverage::Partial(reason));
                Ok(Some(Read { resource, extent, why: Why::Refused, groups: Vec::new() }))
            }
            _ => self.objects(resource).await,
        }
    }

    /// After a 403 that a property may have caused: takes it out of the selection, as unreadable. Such a property must
    /// not cost the whole collection.
    fn drop_guarded(&self, stop: &Stop, extent: &mut Extent) -> bool {
        let Some(refusal) = stop.refusal().filter(|refusal| refusal.status() == 403) else { return false };
        let guarded = |name: &&String| collections::is_guarded(name) && **name != SIGN_IN_ACTIVITY;
        let guarded: Vec<String> = extent.properties.iter().filter(guarded).cloned().collect();
        for property in &guarded {
            extent.properties.remove(property);
            let reason = format!("Graph does not let the app read {property} of users: {}", words(refusal));
            extent.unreadable.insert(property.clone(), Unknown::new(reason));
        }
        !guarded.is_empty()
    }

    fn judge(&self, resource: &Resource, stop: Option<&Stop>, unreadable: u64, extent: &mut Extent) -> Why {
        let collection = resource.collection;
        let Some(stop) = stop else {
            if unreadable > 0 {
                extent.coverage =
                    Coverage::partial(format!("{unreadable} of the {collection} came without a usable id"));
                return Why::Other;
            }
            return Why::Complete;
        };
        let page = extent.pages + 1;
        let refused = stop.refusal().filter(|refusal| matches!(refusal.status(), 401 | 403));
        let reason = match refused {
            Some(refusal) => {
                format!("the app may not read {collection}: {}", denied(self.rights, resource.permissions, refusal))
            }
            None => format!("page {page} of {collection} could not be read: {stop}"),
        };
        let (documentation, said) = (resource.documentation, stop.refusal().map(ToString::to_string));
        tracing::warn!(%collection, reason, said, documentation, "a collection is incomplete");
        extent.coverage = Coverage::partial(reason);
        match stop {
            Stop::Http(HttpError::Unreachable { trouble, .. }) => Why::Lost(*trouble),
            Stop::SignIn(_) => Why::Refused,
            _ if refused.is_some() => Why::Refused,
            _ => Why::Other,
        }
    }
}

/// A group's name, if there is one.
fn name_of(json: &str) -> Option<Box<str>> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Named {
        display_name: Option<Box<str>>,
    }
    serde_json::from_str::<Named>(json).ok()?.display_name
}

/// `$select`, and `$expand` for the manager.
pub(super) fn select(collection: Collection, extent: &Extent) -> Vec<String> {
    let mut query = vec![select_alone(collection, extent)];
    if extent.properties.iter().any(|name| is_expanded(collection, name)) {
        query.push("$expand=manager($select=id)".into());
    }
    query
}

/// `$select`, for what expands nothing.
pub(super) fn select_alone(collection: Collection, extent: &Extent) -> String {
    let names = extent.properties.iter().map(String::as_str).filter(|name| !is_expanded(collection, name));
    format!("$select={}", names.collect::<Vec<_>>().join(","))
}

fn is_expanded(collection: Collection, property: &str) -> bool {
    collection == Collection::Users && property == "manager"
}

/// The code of a 403 where the tenant lacks a licence, not the app a right. <https://learn.microsoft.com/graph/errors>
const NOT_PREMIUM: &str = "Authentication_RequestFromNonPremiumTenantOrB2CTenant";

/// Why the app may not read something of which one of `permissions` is enough, next to what Graph said with 401 or 403:
/// what is missing may be a licence or a permission, or neither.
pub(super) fn denied(rights: &Rights, permissions: &[&str], refusal: &Refusal) -> String {
    let said = words(refusal);
    if refusal.code.as_deref() == Some(NOT_PREMIUM) {
        return format!("Graph tells it only in tenants with a licence for Entra ID P1 or P2 ({said})");
    }
    if refusal.status() == 401 {
        return format!("Graph does not accept the app's token ({said})");
    }
    let held = permissions.iter().find(|permission| rights.surely(&[permission]));
    if let Some(held) = held {
        return format!(
            "the permission {held}, which the app has, covers it, and Graph refuses it all the same ({said})"
        );
    }
    let enough: Vec<&str> = permissions.iter().copied().filter(|name| !name.contains(WRITE)).collect();
    match enough.as_slice() {
        [] => said,
        [one] => format!("it needs the application permission {one} ({said})"),
        several => format!("it needs one of the application permissions {} ({said})", several.join(", ")),
    }
}

/// A refusal without request ids: a reason that is the same every night can be accepted and compared.
pub(super) fn words(refusal: &Refusal) -> String {
    let code = refusal.code.as_deref().map(|code| format!(" {code}")).unwrap_or_default();
    format!("HTTP {}{code}", refusal.status())
}
