//! `lookup`: one user, group or device with what hangs on it, or what of a collection a filter keeps.
//!
//! Plain data and how it is found in a snapshot; whoever asks a tenant reads what [`needs`] names into a snapshot first.
//! How people name an object is in `who`. What the snapshot cannot tell is said, never left out. Deliberately judges no
//! scope and maps nothing: that is the plan's business.

mod who;

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::Arc;

use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Map, Value};

use self::who::words;
pub use self::who::{Unidentified, identify, names_needed};
use crate::closure::Closure;
use crate::directory::Directory;
use crate::error::{Context, Result};
use crate::expr::{Catalog, Expr, Truth};
use crate::record::{Collection, Guid};
use crate::sku_names;
use crate::snapshot::{Member, MemberKind, Snapshot, type_name};

/// The collections whose objects can be looked up.
pub const OBJECTS: [Collection; 3] = [Collection::Users, Collection::Groups, Collection::Devices];

/// Properties that are told apart from the others.
const TOLD_APART: [&str; 3] = ["id", "manager", "licenseAssignmentStates"];

/// An object, in short.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Brief {
    pub id: Guid,
    /// `user`, `group`, `device`, `servicePrincipal`, …
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// The display name, where it is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The user principal name, else the mail address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
}

/// An object at the other end of a membership.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Held {
    #[serde(flatten)]
    pub object: Brief,
    /// The groups by which the membership holds, from the outermost down to the one that the member is a direct member
    /// of: one group for a direct membership.
    pub path: Vec<Brief>,
}

impl Held {
    pub fn is_direct(&self) -> bool {
        self.path.len() == 1
    }
}

/// A product that a user holds, or should.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct License {
    pub sku: Guid,
    /// Microsoft's product name, else Graph's part number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub product: Option<String>,
    /// `Active`, `Error`, …
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state: Option<String>,
    /// The group that it comes through; none for a direct assignment.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub through: Option<Brief>,
}

/// All that is known of an object. What is none does not apply or is not known; [`Found::unknown`] says which.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Found {
    /// When it was read.
    pub as_of: Timestamp,
    #[serde(flatten)]
    pub object: Brief,
    /// The properties that were read, as Graph returned them.
    pub properties: Map<String, Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub manager: Option<Brief>,
    /// Groups that hold it, nearest first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub groups: Option<Vec<Held>>,
    /// What it holds, of a group: nearest first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub members: Option<Vec<Held>>,
    /// Of a user.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub licenses: Option<Vec<License>>,
    /// What is not known of it, and why.
    pub unknown: Vec<String>,
}

/// What a filter keeps of a collection.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Kept {
    pub as_of: Timestamp,
    pub collection: Collection,
    /// The filter in its normal form.
    #[serde(rename = "where")]
    pub filter: String,
    /// Objects that were read.
    pub read: u64,
    /// Objects for which the filter is true.
    pub count: u64,
    /// Objects for which that is not known.
    pub doubtful: u64,
    /// The first of those that are counted, by id.
    pub first: Vec<Brief>,
    /// What is not known, and why.
    pub unknown: Vec<String>,
}

/// What answering about one object of `collection` reads: what people want to know of it, and the names of what hangs on
/// it.
pub fn needs(collection: Collection) -> Catalog {
    let mut catalog = Catalog::new();
    names_needed(collection, &mut catalog);
    let others: &[Collection] = match collection {
        Collection::Users => &[Collection::Groups, Collection::Licenses],
        Collection::Groups => &OBJECTS,
        _ => &[Collection::Groups],
    };
    for name in details(collection) {
        let _ = catalog.require(collection, name);
    }
    for other in others {
        let name = if *other == Collection::Licenses { "skuPartNumber" } else { "displayName" };
        let _ = catalog.require(*other, name);
    }
    catalog
}

/// Properties and ways that an answer about one object goes by, besides its names.
fn details(collection: Collection) -> &'static [&'static str] {
    match collection {
        Collection::Users => &[
            "accountEnabled",
            "userType",
            "department",
            "jobTitle",
            "companyName",
            "officeLocation",
            "employeeId",
            "usageLocation",
            "createdDateTime",
            "onPremisesSyncEnabled",
            "licenseAssignmentStates",
            "manager",
            "transitiveMemberOf",
        ],
        Collection::Groups => &[
            "description",
            "groupTypes",
            "securityEnabled",
            "mailEnabled",
            "membershipRule",
            "visibility",
            "createdDateTime",
            "onPremisesSyncEnabled",
            "transitiveMemberOf",
        ],
        _ => &[
            "accountEnabled",
            "operatingSystem",
            "operatingSystemVersion",
            "manufacturer",
            "model",
            "trustType",
            "isManaged",
            "isCompliant",
            "approximateLastSignInDateTime",
            "transitiveMemberOf",
        ],
    }
}

/// Finds the one object of `collection` that `who` names, and all that the snapshot holds of it.
pub fn find(snapshot: &Snapshot, collection: Collection, who: &str) -> Result<Found> {
    let (_, id) = identify(snapshot, &[collection], who).map_err(Unidentified::into_error)?;
    about(snapshot, collection, id, Parts { manager: true, licenses: true, memberships: true })
}

/// What is told of an object besides its properties.
#[derive(Clone, Copy, Debug)]
pub struct Parts {
    pub manager: bool,
    pub licenses: bool,
    /// Groups that hold it, and of a group its members, with the ways to them.
    pub memberships: bool,
}

/// What the snapshot holds of an object that is in it.
pub fn about(snapshot: &Snapshot, collection: Collection, id: Guid, parts: Parts) -> Result<Found> {
    let mut properties = object(snapshot, collection, id)?.unwrap_or_default();
    let mut look = Look { snapshot, collection, id, names: Names::of_snapshot(snapshot), unknown: Vec::new() };
    look.note_unreadable();
    let manager = if parts.manager { look.manager(&properties)? } else { None };
    let licenses = if parts.licenses { look.licenses(&properties)? } else { None };
    let Around { groups, members } = if parts.memberships { look.memberships()? } else { Around::default() };
    // Annotations of the protocol are no properties.
    properties.retain(|name, _| !TOLD_APART.contains(&name.as_str()) && !name.starts_with('@'));
    let object = look.names.of(id, type_name(collection))?;
    let unknown = look.unknown;
    Ok(Found { as_of: snapshot.as_of(), object, properties, manager, groups, members, licenses, unknown })
}

/// Counts what `filter` keeps; it was compiled into `catalog`. `first` objects of them are named.
pub fn keep(
    snapshot: &Snapshot,
    collection: Collection,
    filter: &Expr,
    catalog: &Catalog,
    first: usize,
    now: Timestamp,
) -> Result<Kept> {
    let directory = Directory::open(snapshot, catalog, now)?;
    let (mut read, mut count, mut doubtful) = (0, 0, 0);
    let (mut ids, mut unknown) = (Vec::new(), Vec::new());
    directory.walk(collection, &mut |record| {
        read += 1;
        match filter.truth(&record, &directory) {
            Truth::True => {
                count += 1;
                ids.extend(record.key.guid().filter(|_| ids.len() < first));
            }
            Truth::False => {}
            Truth::Unknown(why) => {
                doubtful += 1;
                if unknown.is_empty() {
                    unknown.push(format!("whether {} is kept: {why}", record.key));
                }
            }
        }
        Ok(())
    })?;
    unknown.extend(snapshot.coverage(collection).gap().map(|gap| format!("some {collection}: {gap}")));
    unknown.extend(left_out(snapshot, collection));
    let names = Names::of_snapshot(snapshot);
    let first = ids.into_iter().map(|id| names.of(id, type_name(collection))).collect::<Result<_>>()?;
    let filter = filter.to_string();
    Ok(Kept { as_of: snapshot.as_of(), collection, filter, read, count, doubtful, first, unknown })
}

/// What of a collection the snapshot does not hold because nobody asked for it.
fn left_out(snapshot: &Snapshot, collection: Collection) -> Option<String> {
    let asked = snapshot.filter(collection)?;
    Some(format!("of the {collection} only those were asked for that {} lets through", asked.filter))
}

/// A look at what hangs on one object.
struct Look<'a> {
    snapshot: &'a Snapshot,
    collection: Collection,
    id: Guid,
    names: Names<'a>,
    /// What is not known of it, and why, as far as it was looked at.
    unknown: Vec<String>,
}

impl Look<'_> {
    /// Notes the properties that Graph did not let us read.
    fn note_unreadable(&mut self) {
        let unreadable = self.snapshot.unreadable(self.collection).iter();
        let told = unreadable.filter(|(property, _)| !TOLD_APART.contains(&property.as_str()));
        self.unknown.extend(told.map(|(property, why)| format!("{property}: {why}")));
    }

    fn manager(&mut self, user: &Map<String, Value>) -> Result<Option<Brief>> {
        if !self.was_read("manager", "manager") {
            return Ok(None);
        }
        let id = user.get("manager").and_then(|manager| guid(manager, "id"));
        id.map(|id| self.names.of(id, "user")).transpose()
    }

    fn licenses(&mut self, user: &Map<String, Value>) -> Result<Option<Vec<License>>> {
        if !self.was_read("licenseAssignmentStates", "licenses") {
            return Ok(None);
        }
        let states = user.get("licenseAssignmentStates").and_then(Value::as_array).into_iter().flatten();
        let licenses = states.filter_map(|state| Some((state, guid(state, "skuId")?))).map(|(state, sku)| {
            Ok(License {
                sku,
                product: self.product(sku)?,
                state: state.get("state").and_then(Value::as_str).map(str::to_owned),
                through: guid(state, "assignedByGroup").map(|group| self.names.of(group, "group")).transpose()?,
            })
        });
        licenses.collect::<Result<_>>().map(Some)
    }

    fn product(&self, sku: Guid) -> Result<Option<String>> {
        if let Some(name) = sku_names::lookup(sku) {
            return Ok(Some(name.product_name.to_string()));
        }
        let product = object(self.snapshot, Collection::Licenses, sku)?;
        Ok(product.and_then(|product| Some(product.get("skuPartNumber")?.as_str()?.to_owned())))
    }

    /// Whether it is a user and the users came with this property; of a user without it, that is noted as unknown.
    fn was_read(&mut self, property: &str, what: &str) -> bool {
        if self.collection != Collection::Users {
            return false;
        }
        let read = self.snapshot.properties(Collection::Users).contains(property);
        if !read {
            self.unknown.push(match self.snapshot.unreadable(Collection::Users).get(property) {
                Some(why) => format!("{what}: {why}"),
                None => format!("{what}: {property} of users was not read"),
            });
        }
        read
    }

    /// The groups that hold it and, of a group, what it holds: through all nestings, with the way of each.
    fn memberships(&mut self) -> Result<Around> {
        let (snapshot, names, id) = (self.snapshot, &self.names, self.id);
        let is_group = self.collection == Collection::Groups;
        let what = if is_group { "groups and members" } else { "groups" };
        let coverage = snapshot.coverage(Collection::Memberships);
        if !snapshot.manifest().collections.contains_key(&Collection::Memberships) {
            self.unknown.extend(coverage.gap().map(|gap| format!("{what}: {gap}")));
            return Ok(Around::default());
        }
        self.unknown.extend(coverage.gap().map(|gap| format!("some {what}: {gap}")));
        let closure = Closure::new(Arc::new(snapshot.members()?));
        let containing = closure.containing(id);
        let way = |group: Guid, member: Guid| {
            let path = closure.path(group, member).unwrap_or_default();
            path.into_iter().map(|group| names.of(group, "group")).collect::<Result<Vec<Brief>>>()
        };
        let held = |group: &Guid| Ok(Held { object: names.of(*group, "group")?, path: way(*group, id)? });
        let groups = nearest_first(containing.iter().map(held).collect::<Result<_>>()?);
        for group in closure.doubtful().filter(|group| *group != id && containing.binary_search(group).is_err()) {
            let why = closure.doubt(group).map(|why| why.to_string()).unwrap_or_default();
            self.unknown.push(format!("whether it is in {}: {why}", words(&names.of(group, "group")?)));
        }
        if !is_group {
            return Ok(Around { groups: Some(groups), members: None });
        }
        self.unknown.extend(closure.doubt(id).map(|why| format!("some members: {why}")));
        let members = closure.contained(id).into_iter().map(|member: Member| {
            let kind = if member.kind == MemberKind::Other { "object" } else { member.kind.name() };
            Ok(Held { object: names.of(member.id, kind)?, path: way(id, member.id)? })
        });
        let members = nearest_first(members.collect::<Result<_>>()?);
        Ok(Around { groups: Some(groups), members: Some(members) })
    }
}

/// The memberships above an object and, of a group, below it.
#[derive(Default)]
struct Around {
    groups: Option<Vec<Held>>,
    members: Option<Vec<Held>>,
}

/// Direct memberships come first: that is what people look for.
fn nearest_first(mut held: Vec<Held>) -> Vec<Held> {
    held.sort_by(|a, b| {
        let order = |held: &Held| (held.path.len(), held.object.name.as_deref().map(str::to_lowercase), held.object.id);
        order(a).cmp(&order(b))
    });
    held
}

/// What ids are called, read once each.
struct Names<'a> {
    snapshot: &'a Snapshot,
    known: RefCell<HashMap<Guid, Brief>>,
}

impl<'a> Names<'a> {
    fn of_snapshot(snapshot: &'a Snapshot) -> Names<'a> {
        Names { snapshot, known: RefCell::default() }
    }

    /// An object of that Graph type; without a name where the snapshot does not hold it.
    fn of(&self, id: Guid, kind: &'static str) -> Result<Brief> {
        if let Some(known) = self.known.borrow().get(&id) {
            return Ok(known.clone());
        }
        let home = OBJECTS.into_iter().find(|collection| type_name(*collection) == kind);
        let object = home.map(|home| object(self.snapshot, home, id)).transpose()?.flatten();
        let brief = brief(id, kind, object.as_ref());
        self.known.borrow_mut().insert(id, brief.clone());
        Ok(brief)
    }
}

fn brief(id: Guid, kind: &'static str, object: Option<&Map<String, Value>>) -> Brief {
    let text = |name: &str| object?.get(name)?.as_str().map(str::to_owned);
    Brief { id, kind, name: text("displayName"), address: text("userPrincipalName").or_else(|| text("mail")) }
}

fn object(snapshot: &Snapshot, collection: Collection, id: Guid) -> Result<Option<Map<String, Value>>> {
    snapshot.objects(collection).get(id)?.map(|line| parsed(&line)).transpose()
}

fn parsed(line: &str) -> Result<Map<String, Value>> {
    serde_json::from_str(line).failing(|| "cannot read an object of the snapshot".into())
}

fn guid(object: &Value, name: &str) -> Option<Guid> {
    object.get(name)?.as_str()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::SourceNeeds;

    #[test]
    fn what_an_answer_goes_by_is_in_the_schema_and_read() {
        for collection in OBJECTS {
            let catalog = needs(collection);
            for name in details(collection) {
                assert!(catalog.property(collection, name).is_some(), "{name} of {collection}");
            }
            let needs = SourceNeeds::of(&catalog);
            assert!(needs.memberships && needs.wants(Collection::Groups), "{collection}");
        }
        let read: Vec<Collection> =
            Collection::ALL.into_iter().filter(|other| needs(Collection::Devices).uses(*other)).collect();
        use Collection::*;
        assert_eq!(read, [Groups, Memberships, Nestings, Devices], "no user is read for a device");
    }
}
