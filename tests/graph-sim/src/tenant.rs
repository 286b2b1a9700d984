//! The tenant in memory: objects, relationships, deleted items, and a journal of what changed since it was built.
//!
//! Hides: the order in which collections are listed (by a hash of the id, so that no client can lean on it, and so
//! that a page can go on after the last id even when objects came and went), and the bookkeeping that a deletion needs.
//! Deliberately does not: check what is written (dangling managers, cycles and self-membership are wanted), print
//! anything, or know permissions.

use std::collections::{BTreeMap, HashMap};
use std::ops::Bound;
use std::sync::Arc;

use jiff::{Timestamp, ToSpan};
use serde_json::{Map, Value, json};
use sim_server::hash;

use crate::object::{Object, Prop};
use crate::schema::Kind;

/// The end of a relationship: `@odata.type` and `id`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Member {
    /// The object id.
    pub id: Arc<str>,
    /// The object's type.
    pub kind: Kind,
}

impl Member {
    /// A member of some type.
    pub fn new(kind: Kind, id: impl Into<Arc<str>>) -> Self {
        Self { id: id.into(), kind }
    }
}

/// Place in a listing: ids in the order of their hash.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Key(u64, Arc<str>);

impl Key {
    fn of(id: &Arc<str>) -> Self {
        Self(hash(id.as_bytes()), id.clone())
    }
}

/// What has members.
const HOLDERS: [Kind; 3] = [Kind::Group, Kind::AdministrativeUnit, Kind::DirectoryRole];

/// A soft-deleted object. <https://learn.microsoft.com/graph/api/directory-deleteditems-list?view=graph-rest-1.0>
#[derive(Clone, Debug)]
pub struct Deleted {
    /// Its type.
    pub kind: Kind,
    /// The object, `deletedDateTime` set, a user's name prefixed with the id.
    pub object: Object,
    original: Object,
    member_of: Vec<Arc<str>>,
}

/// Whether something can be restored: the `reason` of `@removed`.
/// <https://learn.microsoft.com/graph/delta-query-overview>
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deletion {
    /// Into deletedItems; `@removed` says `changed`.
    Soft,
    /// Gone for good; `@removed` says `deleted`.
    Hard,
}

/// One entry of the journal that delta answers are made from.
#[derive(Clone, Debug)]
pub(crate) struct Change {
    pub kind: Kind,
    pub id: Arc<str>,
    pub what: What,
}

#[derive(Clone, Debug)]
pub(crate) enum What {
    Created,
    Set(Vec<Prop>),
    Member(Member),
    Owner(Member),
    /// The manager before.
    Manager(Option<Member>),
    Removed(Deletion),
}

/// A directory.
#[derive(Clone, Debug)]
pub struct Tenant {
    id: String,
    domain: String,
    objects: [BTreeMap<Key, Object>; Kind::ALL.len()],
    skus: Vec<Object>,
    bookings: Vec<Object>,
    managed_devices: Vec<Object>,
    organization: Object,
    members: HashMap<Arc<str>, Vec<Member>>,
    owners: HashMap<Arc<str>, Vec<Member>>,
    registered_users: HashMap<Arc<str>, Vec<Member>>,
    managers: HashMap<Arc<str>, Member>,
    deleted: BTreeMap<Key, Deleted>,
    journal: Vec<Change>,
    epoch: u64,
    recording: bool,
    tells_badly: Option<u64>,
    now: Timestamp,
}

impl Default for Tenant {
    fn default() -> Self {
        Self::new("48a80680-7326-48cd-9935-b556b81d3a4e", "contoso.com")
    }
}

impl Tenant {
    /// An empty directory. Changes are journaled from the start.
    pub fn new(id: &str, domain: &str) -> Self {
        let organization = json!({
            "displayName": "Contoso", "countryLetterCode": "US", "tenantType": "AAD", "createdDateTime": "2017-07-29T02:16:28Z",
            "verifiedDomains": [{"capabilities": "Email, OfficeCommunicationsOnline", "isDefault": true, "isInitial": false, "name": domain, "type": "Managed"}],
        });
        Self {
            id: id.to_owned(),
            domain: domain.to_owned(),
            objects: std::array::from_fn(|_| BTreeMap::new()),
            skus: Vec::new(),
            bookings: Vec::new(),
            managed_devices: Vec::new(),
            organization: Object::new(id, organization.as_object().expect("an object")),
            members: HashMap::new(),
            owners: HashMap::new(),
            registered_users: HashMap::new(),
            managers: HashMap::new(),
            deleted: BTreeMap::new(),
            journal: Vec::new(),
            epoch: 0,
            recording: true,
            tells_badly: None,
            now: "2026-01-01T02:00:00Z".parse().expect("a time"),
        }
    }

    /// The tenant id (`tid` of its tokens).
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The default verified domain, usable in place of the id at the token endpoint.
    pub fn domain(&self) -> &str {
        &self.domain
    }

    /// The time that deletions are stamped with; starts at a fixed instant so that runs repeat.
    pub fn now(&self) -> Timestamp {
        self.now
    }

    /// Sets the time that deletions are stamped with.
    pub fn set_now(&mut self, now: Timestamp) {
        self.now = now;
    }

    /// Lets a day pass.
    pub(crate) fn next_day(&mut self) {
        self.now = self.now.checked_add(24.hours()).unwrap_or(self.now);
    }

    /// Empties the journal: delta tokens handed out before are answered as expired.
    pub fn forget_history(&mut self) {
        self.journal.clear();
        self.epoch += 1;
    }

    /// From now on delta queries tell changes in the least convenient way that the documentation allows, drawn from this
    /// seed.
    pub fn tell_badly(&mut self, seed: u64) {
        self.tells_badly = Some(seed);
    }

    pub(crate) fn tells_badly(&self) -> Option<u64> {
        self.tells_badly
    }

    pub(crate) fn set_recording(&mut self, recording: bool) {
        self.recording = recording;
    }

    pub(crate) fn epoch(&self) -> u64 {
        self.epoch
    }

    pub(crate) fn journal(&self) -> &[Change] {
        &self.journal
    }

    fn record(&mut self, kind: Kind, id: &Arc<str>, what: What) {
        if self.recording {
            self.journal.push(Change { kind, id: id.clone(), what });
        }
    }
}

/// Reading.
impl Tenant {
    /// How many objects of a kind there are.
    pub fn count(&self, kind: Kind) -> usize {
        self.objects[kind as usize].len()
    }

    /// How many direct memberships there are.
    pub fn membership_count(&self) -> usize {
        self.members.values().map(Vec::len).sum()
    }

    /// One object.
    pub fn get(&self, kind: Kind, id: &str) -> Option<&Object> {
        self.objects[kind as usize].get(&Key::of(&id.into()))
    }

    /// An object of whatever kind.
    pub fn find(&self, id: &str) -> Option<(Kind, &Object)> {
        Kind::ALL.into_iter().find_map(|kind| Some((kind, self.get(kind, id)?)))
    }

    /// All objects of a kind in listing order.
    pub fn list(&self, kind: Kind) -> impl Iterator<Item = &Object> {
        self.objects[kind as usize].values()
    }

    /// The objects of a kind that come after `id` in listing order; `id` itself may be gone.
    pub fn list_after<'a>(&'a self, kind: Kind, id: Option<&str>) -> impl Iterator<Item = &'a Object> + use<'a> {
        let start = id.map_or(Bound::Unbounded, |id| Bound::Excluded(Key::of(&id.into())));
        self.objects[kind as usize].range((start, Bound::Unbounded)).map(|(_, object)| object)
    }

    /// The soft-deleted objects of a kind that come after `id` in listing order.
    pub fn deleted_after<'a>(&'a self, kind: Kind, id: Option<&str>) -> impl Iterator<Item = &'a Object> + use<'a> {
        let start = id.map_or(Bound::Unbounded, |id| Bound::Excluded(Key::of(&id.into())));
        let range = self.deleted.range((start, Bound::Unbounded));
        range.filter(move |(_, item)| item.kind == kind).map(|(_, item)| &item.object)
    }

    /// The direct members of a group, an administrative unit or a role, in the order they were added.
    pub fn members(&self, group: &str) -> &[Member] {
        self.members.get(group).map_or(&[], Vec::as_slice)
    }

    /// A group's owners, or a device's registered owners.
    pub fn owners(&self, id: &str) -> &[Member] {
        self.owners.get(id).map_or(&[], Vec::as_slice)
    }

    /// A device's registered users.
    pub fn registered_users(&self, device: &str) -> &[Member] {
        self.registered_users.get(device).map_or(&[], Vec::as_slice)
    }

    /// The devices among whose registered owners (or registered users) somebody is.
    pub fn devices_of(&self, user: &str, among_owners: bool) -> Vec<Member> {
        let ends = |device: &Object| match among_owners {
            true => self.owners(device.id()),
            false => self.registered_users(device.id()),
        };
        let named = |device: &&Object| ends(device).iter().any(|end| &*end.id == user);
        self.list(Kind::Device).filter(named).map(|device| Member::new(Kind::Device, device.id().clone())).collect()
    }

    /// The users whom somebody leads directly.
    pub fn direct_reports(&self, manager: &str) -> Vec<Member> {
        let led = |user: &&Object| self.manager(user.id()).is_some_and(|other| &*other.id == manager);
        self.list(Kind::User).filter(led).map(|user| Member::new(Kind::User, user.id().clone())).collect()
    }

    /// A user's manager.
    pub fn manager(&self, user: &str) -> Option<&Member> {
        self.managers.get(user)
    }

    /// The groups, administrative units and roles that hold an object directly.
    pub fn member_of(&self, id: &str) -> Vec<Member> {
        let holds = |holder: &Object| self.members(holder.id()).iter().any(|member| &*member.id == id);
        let of = |kind| self.list(kind).filter(|holder| holds(holder)).map(move |h| Member::new(kind, h.id().clone()));
        HOLDERS.into_iter().flat_map(of).collect()
    }

    /// The closure of [`Tenant::member_of`]: what holds an object directly or through groups, each once.
    pub fn transitive_member_of(&self, id: &str) -> Vec<Member> {
        let mut found: Vec<Member> = Vec::new();
        let mut open = vec![Arc::<str>::from(id)];
        while let Some(id) = open.pop() {
            for holder in self.member_of(&id) {
                if !found.contains(&holder) {
                    if holder.kind == Kind::Group {
                        open.push(holder.id.clone());
                    }
                    found.push(holder);
                }
            }
        }
        found
    }

    /// The closure of a group's members, each once, without the group itself unless a cycle leads back to it.
    pub fn transitive_members(&self, group: &str) -> Vec<Member> {
        let mut seen = std::collections::HashSet::new();
        let mut found = Vec::new();
        let mut open = vec![Arc::<str>::from(group)];
        while let Some(group) = open.pop() {
            for member in self.members(&group) {
                if seen.insert(member.id.clone()) {
                    found.push(member.clone());
                    if member.kind == Kind::Group {
                        open.push(member.id.clone());
                    }
                }
            }
        }
        found
    }

    /// The subscribedSkus.
    pub fn skus(&self) -> &[Object] {
        &self.skus
    }

    /// The Bookings businesses.
    pub fn bookings(&self) -> &[Object] {
        &self.bookings
    }

    /// Intune's managedDevices.
    pub fn managed_devices(&self) -> &[Object] {
        &self.managed_devices
    }

    /// The organization.
    pub fn organization(&self) -> &Object {
        &self.organization
    }
}

/// Changing.
impl Tenant {
    /// Adds an object, or replaces the one with the same id. `manager`, `owners`, `registeredOwners`, `registeredUsers`
    /// and `members` (of groups, administrative units, roles) may be given as Graph expands them (`{"id":…}`,
    /// `@odata.type` optional).
    ///
    /// # Panics
    /// When `object` is not an object with a textual `id`.
    pub fn put(&mut self, kind: Kind, object: Value) -> Arc<str> {
        let Value::Object(mut map) = object else { panic!("a directory object is a JSON object: {object}") };
        let id: Arc<str> = map.get("id").and_then(Value::as_str).expect("a directory object has an id").into();
        let manager = map.remove("manager");
        let owners = map.remove("owners").or_else(|| map.remove("registeredOwners"));
        let users = map.remove("registeredUsers");
        let members = map.remove("members");
        let created = self.objects[kind as usize].insert(Key::of(&id), Object::new(id.clone(), &map)).is_none();
        let what = if created { What::Created } else { What::Set(map.keys().map(|name| Prop::intern(name)).collect()) };
        self.record(kind, &id, what);
        if let Some(manager) = manager {
            self.set_manager(&id, member(&manager));
        }
        for owner in owners.iter().flat_map(Value::as_array).flatten().filter_map(member) {
            self.add_owner(kind, &id, owner);
        }
        for user in users.iter().flat_map(Value::as_array).flatten().filter_map(member) {
            self.add_registered_user(&id, user);
        }
        for entry in members.iter().flat_map(Value::as_array).flatten().filter_map(member) {
            self.add_member(&id, entry);
        }
        id
    }

    /// Adds a Bookings business, or replaces the one with the same id.
    pub fn put_booking(&mut self, business: Value) {
        put_in(&mut self.bookings, business);
    }

    /// Adds a managedDevice of Intune, or replaces the one with the same id.
    pub fn put_managed_device(&mut self, device: Value) {
        put_in(&mut self.managed_devices, device);
    }

    /// Replaces the organization's properties; its id stays the tenant's.
    pub fn set_organization(&mut self, organization: Value) {
        let Value::Object(map) = organization else { panic!("an organization is a JSON object: {organization}") };
        self.organization = Object::new(self.id.clone(), &map);
    }

    /// Adds a subscribedSku (an object with `skuId`; `id` is made from tenant and SKU when missing).
    pub fn put_sku(&mut self, sku: Value) {
        let Value::Object(map) = sku else { panic!("a subscribedSku is a JSON object: {sku}") };
        let sku_id = map.get("skuId").and_then(Value::as_str).unwrap_or_default();
        let id = map.get("id").and_then(Value::as_str).map_or_else(|| format!("{}_{sku_id}", self.id), str::to_owned);
        replace_in(&mut self.skus, Object::new(id, &map));
    }

    /// Sets one property (null clears it); false when the object is not there.
    pub fn set(&mut self, kind: Kind, id: &str, name: &str, value: Value) -> bool {
        let changes: Map<String, Value> = [(name.to_owned(), value)].into_iter().collect();
        let Some(object) = self.objects[kind as usize].get_mut(&Key::of(&id.into())) else { return false };
        *object = object.with(&changes);
        let id = object.id().clone();
        self.record(kind, &id, What::Set(vec![Prop::intern(name)]));
        true
    }

    /// Sets or clears a user's manager.
    pub fn set_manager(&mut self, user: &str, manager: Option<Member>) {
        let id: Arc<str> = user.into();
        let before = match manager {
            Some(manager) => self.managers.insert(id.clone(), manager),
            None => self.managers.remove(&id),
        };
        self.record(Kind::User, &id, What::Manager(before));
    }

    /// Adds a member to a group, an administrative unit or a role unless it is there; false when it was.
    pub fn add_member(&mut self, holder: &str, member: Member) -> bool {
        let id: Arc<str> = holder.into();
        let members = self.members.entry(id.clone()).or_default();
        if members.contains(&member) {
            return false;
        }
        members.push(member.clone());
        self.record(self.holder_kind(holder), &id, What::Member(member));
        true
    }

    /// What has members under this id; a group when nothing is known of it.
    fn holder_kind(&self, id: &str) -> Kind {
        HOLDERS.into_iter().find(|kind| self.get(*kind, id).is_some()).unwrap_or(Kind::Group)
    }

    /// As [`Tenant::add_member`] for a list known to hold each member once: no search, for loading. Not journaled.
    pub fn set_members(&mut self, group: &Arc<str>, members: Vec<Member>) {
        self.members.insert(group.clone(), members);
    }

    /// Removes a member; false when it was not there.
    pub fn remove_member(&mut self, holder: &str, id: &str) -> bool {
        let Some(members) = self.members.get_mut(holder) else { return false };
        let Some(at) = members.iter().position(|member| &*member.id == id) else { return false };
        let member = members.remove(at);
        self.record(self.holder_kind(holder), &holder.into(), What::Member(member));
        true
    }

    /// Adds a registered user to a device; false when it was there. Delta answers do not tell.
    pub fn add_registered_user(&mut self, device: &str, user: Member) -> bool {
        let users = self.registered_users.entry(device.into()).or_default();
        let new = !users.contains(&user);
        if new {
            users.push(user);
        }
        new
    }

    /// Removes a registered user; false when it was not there.
    pub fn remove_registered_user(&mut self, device: &str, user: &str) -> bool {
        let Some(users) = self.registered_users.get_mut(device) else { return false };
        let before = users.len();
        users.retain(|member| &*member.id != user);
        users.len() < before
    }

    /// Adds an owner to a group, or a registered owner to a device; false when it was there.
    pub fn add_owner(&mut self, kind: Kind, id: &str, owner: Member) -> bool {
        let id: Arc<str> = id.into();
        let owners = self.owners.entry(id.clone()).or_default();
        if owners.contains(&owner) {
            return false;
        }
        owners.push(owner.clone());
        self.record(kind, &id, What::Owner(owner));
        true
    }

    /// Removes an owner; false when it was not there.
    pub fn remove_owner(&mut self, kind: Kind, id: &str, owner: &str) -> bool {
        let Some(owners) = self.owners.get_mut(id) else { return false };
        let Some(at) = owners.iter().position(|member| &*member.id == owner) else { return false };
        let owner = owners.remove(at);
        self.record(kind, &id.into(), What::Owner(owner));
        true
    }

    /// Deletes an object and all relationships to it; false when it is not there.
    /// Soft deletion keeps it in deletedItems, from where [`Tenant::restore`] brings it back with its memberships.
    pub fn remove(&mut self, kind: Kind, id: &str, deletion: Deletion) -> bool {
        let Some(original) = self.objects[kind as usize].remove(&Key::of(&id.into())) else { return false };
        let member_of = self.member_of(id).into_iter().map(|group| group.id).collect::<Vec<_>>();
        for group in &member_of {
            self.remove_member(group, id);
        }
        let led: Vec<_> =
            self.managers.iter().filter(|(_, manager)| &*manager.id == id).map(|(user, _)| user.clone()).collect();
        for user in led {
            self.set_manager(&user, None);
        }
        for (thing, owner) in self.owned_by(id) {
            self.remove_owner(thing, &owner, id);
        }
        self.registered_users.values_mut().for_each(|users| users.retain(|user| &*user.id != id));
        self.record(kind, original.id(), What::Removed(deletion));
        if deletion == Deletion::Soft {
            self.bury(kind, original, self.now, member_of);
        }
        true
    }

    /// Puts an object into deletedItems without its ever having been seen alive.
    pub(crate) fn bury(&mut self, kind: Kind, original: Object, at: Timestamp, member_of: Vec<Arc<str>>) {
        let mut marks: Map<String, Value> =
            [("deletedDateTime".to_owned(), Value::from(at.to_string()))].into_iter().collect();
        if let Value::String(name) = original.get("userPrincipalName") {
            marks.insert("userPrincipalName".into(), format!("{}{name}", original.id().replace('-', "")).into());
        }
        let object = original.with(&marks);
        self.deleted.insert(Key::of(original.id()), Deleted { kind, object, original, member_of });
    }

    fn owned_by(&self, id: &str) -> Vec<(Kind, Arc<str>)> {
        let holds = |owners: &Vec<Member>| owners.iter().any(|owner| &*owner.id == id);
        let things = self.owners.iter().filter(|(_, owners)| holds(owners)).map(|(thing, _)| thing.clone());
        things.filter_map(|thing| Some((self.find(&thing)?.0, thing))).collect()
    }

    /// Brings a soft-deleted object back; false when it is not in deletedItems.
    pub fn restore(&mut self, id: &str) -> bool {
        let Some(item) = self.deleted.remove(&Key::of(&id.into())) else { return false };
        self.objects[item.kind as usize].insert(Key::of(item.original.id()), item.original.clone());
        self.record(item.kind, item.original.id(), What::Created);
        for group in &item.member_of {
            self.add_member(group, Member::new(item.kind, item.original.id().clone()));
        }
        true
    }

    /// Takes an object out of deletedItems, as happens after 30 days; false when it is not there.
    pub fn purge(&mut self, id: &str) -> bool {
        let Some(item) = self.deleted.remove(&Key::of(&id.into())) else { return false };
        self.record(item.kind, item.original.id(), What::Removed(Deletion::Hard));
        true
    }
}

fn put_in(list: &mut Vec<Object>, value: Value) {
    let Value::Object(map) = value else { panic!("a JSON object, not {value}") };
    let id = map.get("id").and_then(Value::as_str).expect("an object has an id").to_owned();
    replace_in(list, Object::new(id, &map));
}

fn replace_in(list: &mut Vec<Object>, object: Object) {
    match list.iter_mut().find(|known| known.id() == object.id()) {
        Some(known) => *known = object,
        None => list.push(object),
    }
}

/// Reads `{"id":…}` with `@odata.type` or `type`; a user when neither is given.
pub(crate) fn member(value: &Value) -> Option<Member> {
    let id = value.get("id")?.as_str()?;
    let kind = value.get("@odata.type").or_else(|| value.get("type")).and_then(Value::as_str);
    Some(Member::new(kind.map_or(Some(Kind::User), Kind::parse)?, id))
}
