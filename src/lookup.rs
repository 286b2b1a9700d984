//! `lookup`: one user, group or device with what hangs on it, or what of a collection a filter keeps.
//!
//! Plain data and how it is found in a snapshot; whoever asks a tenant reads what [`needs`] names into a snapshot first.
//! Hides how people name an object and what "nearest" means. What the snapshot cannot tell is said, never left out.
//! Deliberately judges no scope and maps nothing: that is the plan's business.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::Arc;

use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Map, Value};

use crate::closure::Closure;
use crate::directory::Directory;
use crate::error::{Context, Error, Result};
use crate::expr::{Catalog, Expr, Truth};
use crate::record::{Collection, Guid};
use crate::report::visible::quoted;
use crate::sku_names;
use crate::snapshot::{Member, MemberKind, Snapshot, type_name};

/// The collections whose objects can be looked up.
pub const OBJECTS: [Collection; 3] = [Collection::Users, Collection::Groups, Collection::Devices];

/// By what a person may call an object, besides its id.
const NAMES: [&str; 4] = ["userPrincipalName", "mail", "displayName", "deviceId"];
/// Properties that are told apart from the others.
const TOLD_APART: [&str; 3] = ["id", "manager", "licenseAssignmentStates"];
/// Objects that an error names.
const NAMED_MAX: usize = 10;
/// Names that are offered in place of one that nothing carries.
const NEAREST_MAX: usize = 3;
/// A name less alike than this (0 to 1) is not offered.
const ALIKE_MIN: f64 = 0.8;
/// Characters of a name that an error shows.
const NAME_WIDTH: usize = 60;

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

/// Adds by what objects of `collection` are called. What the schema does not know of it (a device has no mail) is not
/// asked for.
pub fn names_needed(collection: Collection, catalog: &mut Catalog) {
    for name in NAMES {
        let _ = catalog.require(collection, name);
    }
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
    let names = Names { snapshot, known: RefCell::default() };
    let mut unknown: Vec<String> = snapshot
        .unreadable(collection)
        .iter()
        .filter(|(property, _)| !TOLD_APART.contains(&property.as_str()))
        .map(|(property, why)| format!("{property}: {why}"))
        .collect();
    let manager = match parts.manager {
        true => manager(snapshot, collection, &properties, &names, &mut unknown)?,
        false => None,
    };
    let licenses = match parts.licenses {
        true => licenses(snapshot, collection, &properties, &names, &mut unknown)?,
        false => None,
    };
    let Around { groups, members } = match parts.memberships {
        true => memberships(snapshot, collection, id, &names, &mut unknown)?,
        false => Around::default(),
    };
    // Annotations of the protocol are no properties.
    properties.retain(|name, _| !TOLD_APART.contains(&name.as_str()) && !name.starts_with('@'));
    let object = names.of(id, type_name(collection))?;
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
    let names = Names { snapshot, known: RefCell::default() };
    let first = ids.into_iter().map(|id| names.of(id, type_name(collection))).collect::<Result<_>>()?;
    let filter = filter.to_string();
    Ok(Kept { as_of: snapshot.as_of(), collection, filter, read, count, doubtful, first, unknown })
}

/// Why a name leads to no object.
#[derive(Debug)]
pub enum Unidentified {
    /// Nothing is called so.
    Nobody(Error),
    /// Several are; the error names them.
    Several(Error),
    /// The snapshot cannot be read.
    Failed(Error),
}

impl Unidentified {
    pub fn into_error(self) -> Error {
        match self {
            Unidentified::Nobody(error) | Unidentified::Several(error) | Unidentified::Failed(error) => error,
        }
    }
}

/// The object of one of `collections` that a person means, by id or by any of its names, whatever their case.
pub fn identify(
    snapshot: &Snapshot,
    collections: &[Collection],
    who: &str,
) -> Result<(Collection, Guid), Unidentified> {
    let id = who.parse::<Guid>().ok();
    if let Some(id) = id
        && let Some(home) = collections.iter().find(|home| snapshot.objects(**home).contains(id))
    {
        return Ok((*home, id));
    }
    let wanted = who.to_lowercase();
    let mut found = Vec::new();
    for collection in collections {
        let each = each_named(snapshot, *collection, &mut |brief, names| {
            if names.iter().any(|name| name.to_lowercase() == wanted) {
                found.push((*collection, brief));
            }
        });
        each.map_err(Unidentified::Failed)?;
    }
    match found.as_slice() {
        [(collection, one)] => Ok((*collection, one.id)),
        [] => Err(match nobody(snapshot, collections, who, id) {
            Ok(error) => Unidentified::Nobody(error),
            Err(error) => Unidentified::Failed(error),
        }),
        several => {
            let candidates: Vec<&Brief> = several.iter().map(|(_, brief)| brief).collect();
            Err(Unidentified::Several(ambiguous(collections, who, &candidates)))
        }
    }
}

/// What of a collection the snapshot does not hold because nobody asked for it.
fn left_out(snapshot: &Snapshot, collection: Collection) -> Option<String> {
    let asked = snapshot.filter(collection)?;
    Some(format!("of the {collection} only those were asked for that {} lets through", asked.filter))
}

/// Collections in a sentence: "users, groups and devices".
fn listed(collections: &[Collection]) -> String {
    let names: Vec<&str> = collections.iter().map(|collection| collection.name()).collect();
    match names.as_slice() {
        [] => "objects".to_owned(),
        [one] => (*one).to_owned(),
        [first @ .., last] => format!("{} and {last}", first.join(", ")),
    }
}

/// Walks the objects of a collection, each with all that it is called.
fn each_named(snapshot: &Snapshot, collection: Collection, each: &mut dyn FnMut(Brief, Vec<&str>)) -> Result<()> {
    let mut objects = snapshot.objects(collection).iter();
    while let Some((id, line)) = objects.next()? {
        let object = parsed(line)?;
        let names = NAMES.iter().filter_map(|name| object.get(*name)?.as_str()).collect();
        each(brief(id, type_name(collection), Some(&object)), names);
    }
    Ok(())
}

/// The error for a name that several objects carry.
fn ambiguous(collections: &[Collection], who: &str, candidates: &[&Brief]) -> Error {
    let more = candidates.len().saturating_sub(NAMED_MAX);
    let (count, what) = (candidates.len(), listed(collections));
    let mut error = Error::usage(format!("{count} {what} are called {}", quoted(who, NAME_WIDTH)));
    for candidate in candidates.iter().take(NAMED_MAX) {
        error = error.cause(words(candidate));
    }
    if more > 0 {
        error = error.cause(format!("and {more} more"));
    }
    error.hint("give the id of the one you mean")
}

/// The error for a name that nothing carries: what is known of such an id, and the names that come nearest.
fn nobody(snapshot: &Snapshot, collections: &[Collection], who: &str, id: Option<Guid>) -> Result<Error> {
    let what = listed(collections);
    let mut error = Error::usage(format!("none of the {what} is called {}", quoted(who, NAME_WIDTH)));
    if id.is_some_and(|id| snapshot.deleted(id)) {
        error = error.cause("it was deleted");
    }
    // What was not read may hold it.
    for collection in collections {
        if let Some(gap) = snapshot.coverage(*collection).gap() {
            error = error.cause(format!("not all {collection} were read: {gap}"));
        }
        error = left_out(snapshot, *collection).into_iter().fold(error, Error::cause);
    }
    let wanted = who.to_lowercase();
    let mut near: Vec<(f64, Brief)> = Vec::new();
    for collection in collections {
        each_named(snapshot, *collection, &mut |brief, names| {
            let alike = names.iter().map(|name| strsim::jaro_winkler(&wanted, &name.to_lowercase()));
            let alike = alike.fold(0.0, f64::max);
            if id.is_none() && alike >= ALIKE_MIN {
                near.push((alike, brief));
                near.sort_by(|a, b| b.0.total_cmp(&a.0).then_with(|| a.1.id.cmp(&b.1.id)));
                near.truncate(NEAREST_MAX);
            }
        })?;
    }
    let near: Vec<String> = near.iter().map(|(_, brief)| words(brief)).collect();
    Ok(match near.is_empty() {
        true => error.hint("give an id, a user principal name, a mail address or a display name"),
        false => error.hint(format!("did you mean {}?", near.join(" or "))),
    })
}

/// An object in a sentence.
fn words(brief: &Brief) -> String {
    let name = brief.name.as_deref().map_or_else(|| "without a name".to_owned(), |name| quoted(name, NAME_WIDTH));
    match &brief.address {
        Some(address) => format!("{name} {} ({})", quoted(address, NAME_WIDTH), brief.id),
        None => format!("{name} ({})", brief.id),
    }
}

fn manager(
    snapshot: &Snapshot,
    collection: Collection,
    user: &Map<String, Value>,
    names: &Names<'_>,
    unknown: &mut Vec<String>,
) -> Result<Option<Brief>> {
    if collection != Collection::Users || !was_read(snapshot, "manager", unknown) {
        return Ok(None);
    }
    let id = user.get("manager").and_then(|manager| guid(manager, "id"));
    id.map(|id| names.of(id, "user")).transpose()
}

fn licenses(
    snapshot: &Snapshot,
    collection: Collection,
    user: &Map<String, Value>,
    names: &Names<'_>,
    unknown: &mut Vec<String>,
) -> Result<Option<Vec<License>>> {
    if collection != Collection::Users || !was_read(snapshot, "licenseAssignmentStates", unknown) {
        return Ok(None);
    }
    let states = user.get("licenseAssignmentStates").and_then(Value::as_array).into_iter().flatten();
    let licenses = states.filter_map(|state| Some((state, guid(state, "skuId")?))).map(|(state, sku)| {
        Ok(License {
            sku,
            product: product(snapshot, sku)?,
            state: state.get("state").and_then(Value::as_str).map(str::to_owned),
            through: guid(state, "assignedByGroup").map(|group| names.of(group, "group")).transpose()?,
        })
    });
    licenses.collect::<Result<_>>().map(Some)
}

/// Whether the users came with this property; if not, that is noted as unknown.
fn was_read(snapshot: &Snapshot, property: &str, unknown: &mut Vec<String>) -> bool {
    let read = snapshot.properties(Collection::Users).contains(property);
    if !read {
        let what = if property == "manager" { property } else { "licenses" };
        match snapshot.unreadable(Collection::Users).get(property) {
            Some(why) => unknown.push(format!("{what}: {why}")),
            None => unknown.push(format!("{what}: {property} of users was not read")),
        }
    }
    read
}

fn product(snapshot: &Snapshot, sku: Guid) -> Result<Option<String>> {
    if let Some(name) = sku_names::lookup(sku) {
        return Ok(Some(name.product_name.to_string()));
    }
    let product = object(snapshot, Collection::Licenses, sku)?;
    Ok(product.and_then(|product| Some(product.get("skuPartNumber")?.as_str()?.to_owned())))
}

/// The memberships above an object and, of a group, below it.
#[derive(Default)]
struct Around {
    groups: Option<Vec<Held>>,
    members: Option<Vec<Held>>,
}

/// The groups that hold an object and, of a group, what it holds: through all nestings, with the way of each.
fn memberships(
    snapshot: &Snapshot,
    collection: Collection,
    id: Guid,
    names: &Names<'_>,
    unknown: &mut Vec<String>,
) -> Result<Around> {
    let what = if collection == Collection::Groups { "groups and members" } else { "groups" };
    let coverage = snapshot.coverage(Collection::Memberships);
    if !snapshot.manifest().collections.contains_key(&Collection::Memberships) {
        unknown.extend(coverage.gap().map(|gap| format!("{what}: {gap}")));
        return Ok(Around::default());
    }
    unknown.extend(coverage.gap().map(|gap| format!("some {what}: {gap}")));
    let closure = Closure::new(Arc::new(snapshot.members()?));
    let containing = closure.containing(id);
    let way = |group: Guid, member: Guid| {
        let path = closure.path(group, member).unwrap_or_default();
        path.into_iter().map(|group| names.of(group, "group")).collect::<Result<Vec<Brief>>>()
    };
    let groups = containing.iter().map(|group| Ok(Held { object: names.of(*group, "group")?, path: way(*group, id)? }));
    let groups = nearest_first(groups.collect::<Result<_>>()?);
    for group in closure.doubtful().filter(|group| *group != id && containing.binary_search(group).is_err()) {
        let why = closure.doubt(group).map(|why| why.to_string()).unwrap_or_default();
        unknown.push(format!("whether it is in {}: {why}", words(&names.of(group, "group")?)));
    }
    if collection != Collection::Groups {
        return Ok(Around { groups: Some(groups), members: None });
    }
    unknown.extend(closure.doubt(id).map(|why| format!("some members: {why}")));
    let members = closure.contained(id).into_iter().map(|member: Member| {
        let kind = if member.kind == MemberKind::Other { "object" } else { member.kind.name() };
        Ok(Held { object: names.of(member.id, kind)?, path: way(id, member.id)? })
    });
    let members = nearest_first(members.collect::<Result<_>>()?);
    Ok(Around { groups: Some(groups), members: Some(members) })
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

impl Names<'_> {
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
