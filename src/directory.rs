//! The directory as expressions see it: records of a snapshot and the ways between them.
//!
//! Hides where records lie, how pairs and assignments are derived, and what is not known and why. Keeps ids and
//! memberships in memory and decodes records when they are asked for. Deliberately judges nothing: what is in scope is
//! [`crate::scope`]'s business.

use std::cell::{OnceCell, RefCell};
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, LazyLock};

use jiff::Timestamp;
use serde::Deserialize;

use crate::error::{Context, Result};
use crate::expr::{Catalog, Navigate};
use crate::record::{Collection, Coverage, Form, Guid, Key, List, Record, Unknown, Value};
use crate::schema::{Navigation, Source};
use crate::sku_names;
use crate::snapshot::{Member, MemberKind, Members, Snapshot};

/// Records decoded for navigation and kept, each about 2 KB; one that is not is decoded again in microseconds.
const CACHED_RECORDS_MAX: usize = 32_768;

/// One snapshot, read through one catalog.
pub struct Directory<'a> {
    snapshot: &'a Snapshot,
    catalog: &'a Catalog,
    as_of: Timestamp,
    /// By the collection that was read as lists: of memberships, owners and so on, those that are used.
    lists: HashMap<Collection, Members>,
    /// Per collection: what a property missing from an object's JSON means.
    absent: HashMap<Collection, Vec<Option<Value>>>,
    /// User to manager, sorted; built when managers are used.
    managers: Vec<(Guid, Guid)>,
    /// Member to group, sorted; built when first asked for.
    member_of: OnceCell<Vec<(Guid, Guid)>>,
    /// Groups whose member list has a gap: whether somebody belongs to one of them may be unknown.
    doubtful: OnceCell<(Vec<Guid>, Arc<[Value]>)>,
    cache: RefCell<Cache>,
}

/// Records by collection and id; `None` for what the snapshot does not hold. Two generations: when the young one is
/// full it becomes the old one, so that what is asked for again and again (the group whose members are walked) stays.
#[derive(Default)]
struct Cache {
    young: HashMap<(Collection, Guid), Option<Arc<Record>>>,
    old: HashMap<(Collection, Guid), Option<Arc<Record>>>,
}

impl Cache {
    fn get(&mut self, of: (Collection, Guid)) -> Option<Option<Arc<Record>>> {
        if let Some(known) = self.young.get(&of) {
            return Some(known.clone());
        }
        let known = self.old.remove(&of)?;
        self.put(of, known.clone());
        Some(known)
    }

    fn put(&mut self, of: (Collection, Guid), record: Option<Arc<Record>>) {
        if self.young.len() >= CACHED_RECORDS_MAX / 2 {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(of, record);
    }
}

/// Just the manager of a user's JSON.
#[derive(Deserialize)]
struct ManagerOf {
    manager: Option<Id>,
}

#[derive(Deserialize)]
struct Id {
    id: Option<Guid>,
}

impl<'a> Directory<'a> {
    /// Prepares what the catalog's navigations need. `as_of` is what `now()` returns.
    pub fn open(snapshot: &'a Snapshot, catalog: &'a Catalog, as_of: Timestamp) -> Result<Directory<'a>> {
        let mut lists = HashMap::new();
        for pairs in catalog.collections().filter(|of| catalog.uses(*of)).filter_map(Collection::pairs) {
            if let Entry::Vacant(vacant) = lists.entry(pairs.lists) {
                vacant.insert(snapshot.lists(pairs.lists)?);
            }
        }
        let absent = catalog.collections().map(|collection| (collection, absent(snapshot, catalog, collection)));
        let mut directory = Directory {
            snapshot,
            catalog,
            as_of,
            lists,
            absent: absent.collect(),
            managers: Vec::new(),
            member_of: OnceCell::new(),
            doubtful: OnceCell::new(),
            cache: RefCell::default(),
        };
        if catalog.navigations().contains(&Navigation::Manager) {
            directory.managers = directory.read_managers()?;
        }
        Ok(directory)
    }

    pub fn snapshot(&self) -> &Snapshot {
        self.snapshot
    }

    /// Direct members of all groups; empty unless an expression or mapping uses memberships.
    pub fn members(&self) -> &Members {
        self.lists(Collection::Memberships)
    }

    /// The lists that the pairs of `collection` come from; empty unless an expression or mapping uses them.
    pub fn lists(&self, collection: Collection) -> &Members {
        static NONE: LazyLock<Members> = LazyLock::new(Members::default);
        collection.pairs().and_then(|pairs| self.lists.get(&pairs.lists)).unwrap_or(&NONE)
    }

    /// How much is known of a collection.
    pub fn coverage(&self, collection: Collection) -> Coverage {
        if collection == Collection::EffectiveMemberships {
            return Coverage::partial("effective memberships are not worked out yet");
        }
        self.snapshot.coverage(collection)
    }

    /// Records of a collection, in key order. The record is lent; `each` may stop the walk with an error.
    pub fn walk(&self, collection: Collection, each: &mut dyn FnMut(Record) -> Result<()>) -> Result<()> {
        match collection.form() {
            Form::Pairs(_) => self.walk_pairs(collection, each),
            Form::Assignments => self.walk_objects(Collection::Users, &mut |user| {
                let mut assignments = self.assignments_of(&user);
                assignments.sort_by(|a, b| a.key.cmp(&b.key));
                assignments.dedup_by(|a, b| a.key == b.key);
                assignments.into_iter().try_for_each(&mut *each)
            }),
            Form::Objects => self.walk_objects(collection, each),
            Form::Custom => {
                let mut objects = self.snapshot.custom(collection).iter();
                while let Some((key, line)) = objects.next()? {
                    each(self.decode(collection, key, line)?)?;
                }
                Ok(())
            }
        }
    }

    fn walk_objects(&self, collection: Collection, each: &mut dyn FnMut(Record) -> Result<()>) -> Result<()> {
        let mut objects = self.snapshot.objects(collection).iter();
        while let Some((id, line)) = objects.next()? {
            each(self.decode(collection, Key::Guid(id), line)?)?;
        }
        Ok(())
    }

    fn walk_pairs(&self, collection: Collection, each: &mut dyn FnMut(Record) -> Result<()>) -> Result<()> {
        for (of, members) in self.lists(collection).iter() {
            for member in members.iter().filter(|member| belongs(collection, member.kind)) {
                each(self.pair(collection, of, *member))?;
            }
        }
        Ok(())
    }

    /// The record of an object, by id; `None` if the snapshot does not hold it.
    pub fn object(&self, collection: Collection, id: Guid) -> Result<Option<Arc<Record>>> {
        if let Some(known) = self.cache.borrow_mut().get((collection, id)) {
            return Ok(known);
        }
        let record = match self.snapshot.objects(collection).get(id)? {
            Some(line) => Some(Arc::new(self.decode(collection, Key::Guid(id), &line)?)),
            None => None,
        };
        self.cache.borrow_mut().put((collection, id), record.clone());
        Ok(record)
    }

    /// The record of any key, derived ones included; `None` if the snapshot does not hold it.
    pub fn record(&self, collection: Collection, key: &Key) -> Result<Option<Arc<Record>>> {
        match (collection.form(), key) {
            (Form::Pairs(_), Key::Pair(of, member)) => {
                let members = self.lists(collection).of(*of).unwrap_or_default();
                let found = members.binary_search_by_key(member, |member| member.id).ok();
                let found = found.filter(|at| belongs(collection, members[*at].kind));
                Ok(found.map(|at| Arc::new(self.pair(collection, *of, members[at]))))
            }
            (Form::Assignments, Key::Assignment(parts)) => {
                let Some(user) = self.object(Collection::Users, parts.0)? else { return Ok(None) };
                Ok(self.assignments_of(&user).into_iter().find(|record| record.key == *key).map(Arc::new))
            }
            (Form::Objects, Key::Guid(id)) => self.object(collection, *id),
            (Form::Custom, key) => match self.snapshot.custom(collection).line(key)? {
                Some(line) => Ok(Some(Arc::new(self.decode(collection, key.clone(), &line)?))),
                None => Ok(None),
            },
            _ => Ok(None),
        }
    }

    fn decode(&self, collection: Collection, key: Key, line: &str) -> Result<Record> {
        let shape = self.catalog.shape(collection);
        let id = key.guid().filter(|_| collection == Collection::Licenses);
        let failed = format!("cannot read {key} of {collection} in {}", self.snapshot.dir().display());
        let mut record = shape.decode(key, line, &self.absent[&collection]).failing(|| failed)?;
        if let Some(sku) = id {
            self.name_license(&mut record, sku);
        }
        Ok(record)
    }

    fn read_managers(&self) -> Result<Vec<(Guid, Guid)>> {
        let mut managers = Vec::new();
        let mut users = self.snapshot.objects(Collection::Users).iter();
        while let Some((id, line)) = users.next()? {
            let user: ManagerOf = serde_json::from_str(line)
                .failing(|| format!("cannot read the manager of {id} in {}", self.snapshot.dir().display()))?;
            managers.extend(user.manager.and_then(|manager| manager.id).map(|manager| (id, manager)));
        }
        Ok(managers)
    }

    /// Fills what Graph does not say of a SKU: its product name and how many are free.
    fn name_license(&self, record: &mut Record, sku: Guid) {
        let shape = self.catalog.shape(Collection::Licenses);
        let named = sku_names::lookup(sku);
        let part_number = shape.slot("skuPartNumber").and_then(|slot| record.slots[slot].clone());
        if let Some(slot) = shape.slot("productName") {
            // Microsoft's table has no name for a new SKU: then its part number is all there is.
            let name = named.map(|named| Value::text(&*named.product_name)).or(part_number);
            record.slots[slot] = Some(name.unwrap_or(Value::Null));
        }
        if let Some(slot) = shape.slot("available") {
            let value = |name: &str| shape.slot(name).and_then(|slot| record.slots[slot].as_ref());
            record.slots[slot] = Some(available(value("prepaidUnits"), value("consumedUnits")));
        }
    }

    fn pair(&self, collection: Collection, of: Guid, member: Member) -> Record {
        let shape = self.catalog.shape(collection);
        let slots = shape.fields().iter().map(|field| match &*field.name {
            "groupId" | "parentId" | "deviceObjectId" | "unitId" | "roleId" => Some(Value::Guid(of)),
            "memberId" | "childId" | "ownerId" | "userId" => Some(Value::Guid(member.id)),
            "memberType" | "ownerType" => Some(Value::text(member.kind.name())),
            _ => None,
        });
        Record { collection, key: Key::Pair(of, member.id), slots: slots.collect() }
    }

    /// One record per entry of the user's licenseAssignmentStates. Empty when those are unknown.
    fn assignments_of(&self, user: &Record) -> Vec<Record> {
        let Some(Value::List(states)) = self.license_states(user) else { return Vec::new() };
        let Key::Guid(user_id) = user.key else { return Vec::new() };
        states.items.iter().filter_map(|state| self.assignment(user_id, state)).collect()
    }

    fn assignment(&self, user: Guid, state: &Value) -> Option<Record> {
        let Value::Object(fields) = state else { return None };
        let field = |name: &str| fields.iter().find(|(field, _)| **field == *name).map(|(_, value)| value);
        let sku = guid(field("skuId")?)?;
        let via = field("assignedByGroup").and_then(guid);
        let shape = self.catalog.shape(Collection::LicenseAssignments);
        let slots = shape.fields().iter().map(|slot| match (&*slot.name, slot.source) {
            (_, Source::Navigation(_)) => None,
            ("userId", _) => Some(Value::Guid(user)),
            ("skuId", _) => Some(Value::Guid(sku)),
            ("assignedByGroup", _) => Some(via.map_or(Value::Null, Value::Guid)),
            (computed @ ("skuPartNumber" | "productName"), _) => Some(self.of_license(sku, computed)),
            (name, _) => Some(field(name).cloned().unwrap_or(Value::Null)),
        });
        Some(Record {
            collection: Collection::LicenseAssignments,
            key: Key::Assignment(Box::new((user, sku, via))),
            slots: slots.collect(),
        })
    }

    fn of_license(&self, sku: Guid, property: &str) -> Value {
        let license = self.license(sku);
        let slot = self.catalog.shape(Collection::Licenses).slot(property);
        slot.and_then(|slot| license.slots[slot].clone()).unwrap_or(Value::Null)
    }

    fn license_states<'r>(&self, user: &'r Record) -> Option<&'r Value> {
        let slot = self.catalog.shape(Collection::Users).slot("licenseAssignmentStates")?;
        user.slots[slot].as_ref()
    }

    /// The SKU's record; one that the tenant's list does not show still has its id and its public name.
    fn license(&self, sku: Guid) -> Arc<Record> {
        if let Ok(Some(known)) = self.object(Collection::Licenses, sku) {
            return known;
        }
        let reason = match self.coverage(Collection::Licenses) {
            Coverage::Partial(reason) => reason,
            Coverage::Complete => Unknown::new("not among the tenant's subscribed SKUs"),
        };
        let mut record = self.stub(Collection::Licenses, sku, &reason);
        let shape = self.catalog.shape(Collection::Licenses);
        for (slot, field) in shape.fields().iter().enumerate() {
            let named = sku_names::lookup(sku);
            record.slots[slot] = match (&*field.name, named) {
                ("skuId", _) => Some(Value::Guid(sku)),
                ("productName", Some(named)) => Some(Value::text(&*named.product_name)),
                ("skuPartNumber", Some(named)) => Some(Value::text(&*named.part_number)),
                _ => continue,
            };
        }
        Arc::new(record)
    }

    /// A record of which only the id is known.
    fn stub(&self, collection: Collection, id: Guid, reason: &Unknown) -> Record {
        let shape = self.catalog.shape(collection);
        let slots = shape.fields().iter().map(|field| match (&*field.name, field.source) {
            ("id", _) => Some(Value::text(id.to_string())),
            (_, Source::Navigation(_)) => None,
            _ => Some(Value::Unknown(reason.clone())),
        });
        Record { collection, key: Key::Guid(id), slots: slots.collect() }
    }

    /// The object behind an id as a value: a record, a stub that knows its id, never null.
    fn follow(&self, collections: &[Collection], id: Guid) -> Value {
        for collection in collections {
            match self.object(*collection, id) {
                Ok(Some(record)) => return Value::Record(record),
                Ok(None) => {}
                Err(error) => return Value::Unknown(Unknown::new(error.to_string())),
            }
        }
        let gap = collections.iter().find_map(|collection| self.coverage(*collection).gap().cloned());
        let reason = gap.unwrap_or_else(|| Unknown::new("not an object that this job reads"));
        Value::Record(Arc::new(self.stub(collections[0], id, &reason)))
    }

    fn member_of(&self, member: Guid) -> Value {
        let edges = self.member_of.get_or_init(|| {
            let all = self.members().iter().flat_map(|(group, members)| members.iter().map(move |m| (m.id, group)));
            let mut edges: Vec<(Guid, Guid)> = all.collect();
            edges.sort_unstable();
            edges
        });
        let start = edges.partition_point(|(id, _)| *id < member);
        let groups = edges[start..].iter().take_while(|(id, _)| *id == member).map(|(_, group)| *group);
        let groups: Vec<Guid> = groups.collect();
        let items: Vec<Value> = groups.iter().map(|group| self.follow(&[Collection::Groups], *group)).collect();
        let doubtful = self.doubtful.get_or_init(|| {
            let groups: Vec<Guid> = self.members().gaps().map(|(group, _)| group).collect();
            let values = groups.iter().map(|group| self.follow(&[Collection::Groups], *group)).collect();
            (groups, values)
        });
        // Nearly everyone is in none of the doubtful groups and shares one list of them.
        let among = groups.iter().any(|group| doubtful.0.binary_search(group).is_ok());
        let maybe = match among {
            false => doubtful.1.clone(),
            true => {
                let others = doubtful.0.iter().zip(doubtful.1.iter());
                others
                    .filter(|(group, _)| groups.binary_search(group).is_err())
                    .map(|(_, value)| value.clone())
                    .collect()
            }
        };
        let rest = match self.coverage(Collection::Memberships) {
            Coverage::Partial(reason) => Some(reason),
            Coverage::Complete => self.coverage(Collection::Groups).gap().cloned(),
        };
        Value::List(List { items: items.into(), maybe, rest })
    }

    fn members_of(&self, group: Guid) -> Value {
        let collection = |kind| match kind {
            MemberKind::Group => &[Collection::Groups],
            MemberKind::Device => &[Collection::Devices],
            _ => &[Collection::Users],
        };
        let members = self.members().of(group);
        let items = members.unwrap_or_default().iter().map(|member| self.follow(collection(member.kind), member.id));
        let rest = match (members, self.members().gap(group)) {
            (_, Some(gap)) => Some(gap.clone()),
            (None, None) => Some(Unknown::new("the group's members were not read")),
            (Some(_), None) => None,
        };
        Value::List(List { items: items.collect(), maybe: Arc::from([]), rest })
    }

    /// The SKUs a user holds, each once. An assignment in state Error is not a held license
    /// (<https://learn.microsoft.com/graph/api/resources/licenseassignmentstate?view=graph-rest-1.0>).
    fn licenses_of(&self, user: &Record) -> Value {
        let states = match self.license_states(user) {
            Some(Value::List(states)) => states,
            Some(Value::Unknown(reason)) => return Value::Unknown(reason.clone()),
            _ => return Value::List(List::known([])),
        };
        let held = states.items.iter().filter_map(|state| {
            let Value::Object(fields) = state else { return None };
            let field = |name: &str| fields.iter().find(|(field, _)| **field == *name).map(|(_, value)| value);
            let in_error = matches!(field("state"), Some(Value::Text(state)) if **state == *"Error");
            if in_error { None } else { guid(field("skuId")?) }
        });
        let mut held: Vec<Guid> = held.collect();
        held.sort_unstable();
        held.dedup();
        let items = held.into_iter().map(|sku| Value::Record(self.license(sku)));
        Value::List(List { items: items.collect(), maybe: states.maybe.clone(), rest: states.rest.clone() })
    }
}

impl Navigate for Directory<'_> {
    fn one(&self, from: &Record, via: Navigation) -> Value {
        match (via, &from.key) {
            (Navigation::Manager, Key::Guid(user)) => {
                match self.managers.binary_search_by_key(user, |(user, _)| *user) {
                    Ok(at) => self.follow(&[Collection::Users], self.managers[at].1),
                    Err(_) if self.snapshot.properties(Collection::Users).contains("manager") => Value::Null,
                    Err(_) => Value::Unknown(Unknown::new("managers were not read")),
                }
            }
            (Navigation::Container, Key::Pair(of, _)) => {
                from.collection.pairs().map_or(Value::Null, |pairs| self.follow(pairs.of.alone(), *of))
            }
            (Navigation::Member, Key::Pair(_, member)) => {
                from.collection.pairs().map_or(Value::Null, |pairs| self.follow(pairs.members, *member))
            }
            (Navigation::User, Key::Assignment(parts)) => self.follow(&[Collection::Users], parts.0),
            (Navigation::License, Key::Assignment(parts)) => Value::Record(self.license(parts.1)),
            (Navigation::AssignedGroup, Key::Assignment(parts)) => {
                parts.2.map_or(Value::Null, |group| self.follow(&[Collection::Groups], group))
            }
            _ => Value::Null,
        }
    }

    fn many(&self, from: &Record, via: Navigation) -> Value {
        match (via, &from.key) {
            (Navigation::MemberOf, Key::Guid(id)) => self.member_of(*id),
            (Navigation::Members, Key::Guid(group)) => self.members_of(*group),
            (Navigation::Licenses, Key::Guid(_)) => self.licenses_of(from),
            _ => Value::List(List::known([])),
        }
    }

    fn as_of(&self) -> Timestamp {
        self.as_of
    }
}

/// Whether a member of that kind makes a pair of this collection: groups in groups are nestings, other members of
/// groups are memberships.
fn belongs(collection: Collection, kind: MemberKind) -> bool {
    match collection {
        Collection::Memberships => kind != MemberKind::Group,
        Collection::Nestings => kind == MemberKind::Group,
        Collection::EffectiveMemberships => false,
        _ => true,
    }
}

/// What a property that is missing from an object's JSON means: null if it was asked for, else unknown.
fn absent(snapshot: &Snapshot, catalog: &Catalog, collection: Collection) -> Vec<Option<Value>> {
    let asked_for = snapshot.properties(collection);
    let unreadable = snapshot.unreadable(collection);
    let fields = catalog.shape(collection).fields().iter();
    let meaning = fields.map(|field| match field.source {
        Source::Graph => Some(match unreadable.get(&*field.name) {
            Some(reason) => Value::Unknown(reason.clone()),
            None if asked_for.contains(&*field.name) || *field.name == *"id" => Value::Null,
            None => Value::Unknown(Unknown::new(format!("{} of {collection} was not read", field.name))),
        }),
        Source::Computed | Source::Navigation(_) => None,
    });
    meaning.collect()
}

fn guid(value: &Value) -> Option<Guid> {
    match value {
        Value::Guid(id) => Some(*id),
        Value::Text(text) => text.parse().ok(),
        _ => None,
    }
}

/// Enabled and warning units less the consumed ones; negative when more are used than were bought.
fn available(prepaid: Option<&Value>, consumed: Option<&Value>) -> Value {
    let (Some(Value::Object(prepaid)), Some(Value::Int(consumed))) = (prepaid, consumed) else {
        return prepaid
            .into_iter()
            .chain(consumed)
            .find(|value| matches!(value, Value::Unknown(_)))
            .cloned()
            .unwrap_or(Value::Null);
    };
    let units = |name: &str| match prepaid.iter().find(|(field, _)| **field == *name) {
        Some((_, Value::Int(units))) => *units,
        _ => 0,
    };
    Value::Int(units("enabled") + units("warning") - consumed)
}
