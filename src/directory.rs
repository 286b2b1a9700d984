//! The directory as expressions see it: records of a snapshot and the ways between them.
//!
//! Hides where records lie, how pairs and assignments are derived, and what is not known and why. Keeps ids and
//! memberships in memory and decodes records when they are asked for. Deliberately judges nothing: what is in scope is
//! [`crate::scope`]'s business.

mod label;

use std::cell::{OnceCell, RefCell};
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::rc::Rc;
use std::sync::{Arc, LazyLock};

use jiff::Timestamp;
use serde::Deserialize;

pub use self::label::{label, label_needs};
use crate::closure::Closure;
use crate::error::{Context, Result};
use crate::expr::{Catalog, Field, Navigate};
use crate::record::{Collection, Coverage, Form, Guid, Key, List, Record, Unknown, Value};
use crate::schema::{Navigation, SIGN_IN_ACTIVITY, Source};
use crate::sku_names;
use crate::snapshot::{Member, MemberKind, Members, Snapshot};

/// Whole records that are kept, each about 2 KB. Few are asked for: those of assignments, and those that are split.
const WHOLE_RECORDS_MAX: usize = 4_096;

/// Records that navigations led to and that are kept, each some hundred bytes; one that is not is decoded again in
/// microseconds.
const FOLLOWED_RECORDS_MAX: usize = 32_768;

/// One snapshot, read through one catalog.
pub struct Directory<'a> {
    snapshot: &'a Snapshot,
    catalog: &'a Catalog,
    as_of: Timestamp,
    /// By the collection that was read as lists: of memberships, owners and so on, those that are used.
    lists: HashMap<Collection, Arc<Members>>,
    /// What follows from nested groups; built when first asked for.
    closure: OnceCell<Closure>,
    /// The members of groups through all nestings; only where they are records of their own.
    effective: Option<Members>,
    /// Per collection: what a property missing from an object's JSON means.
    absent: HashMap<Collection, Vec<Option<Value>>>,
    /// User to manager, sorted; built when managers are used.
    managers: Vec<(Guid, Guid)>,
    /// Manager to user, sorted; built when first asked for.
    reports: OnceCell<Vec<(Guid, Guid)>>,
    /// Of lists that were asked for from their members' side; built when first asked for.
    backward: RefCell<HashMap<Collection, Rc<Backward>>>,
    /// Groups of which not every effective member is known; built when first asked for.
    doubtful: OnceCell<Doubtful>,
    /// Records with everything that is read of them.
    whole: RefCell<Cache>,
    /// Records with what is asked of those that navigations lead to.
    followed: RefCell<Cache>,
}

/// Records by collection and id; `None` for what the snapshot does not hold. Two generations: when the young one is
/// full it becomes the old one, so that what is asked for again and again (the group whose members are walked) stays.
#[derive(Default)]
struct Cache {
    young: HashMap<(Collection, Guid), Option<Arc<Record>>>,
    old: HashMap<(Collection, Guid), Option<Arc<Record>>>,
    /// How many are kept, both generations together.
    most: usize,
}

impl Cache {
    fn of(most: usize) -> RefCell<Cache> {
        RefCell::new(Cache { most, ..Cache::default() })
    }

    fn get(&mut self, of: (Collection, Guid)) -> Option<Option<Arc<Record>>> {
        if let Some(known) = self.young.get(&of) {
            return Some(known.clone());
        }
        let known = self.old.remove(&of)?;
        self.put(of, known.clone());
        Some(known)
    }

    fn put(&mut self, of: (Collection, Guid), record: Option<Arc<Record>>) {
        if self.young.len() >= self.most / 2 {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(of, record);
    }
}

/// Lists from their members' side.
struct Backward {
    /// Member to the object whose list it is in, sorted.
    edges: Vec<(Guid, Guid)>,
    /// Objects whose list has a gap: whether somebody is in one of them may be unknown.
    doubtful: Doubtful,
}

/// Objects of whose lists something is missing, ascending, and their records.
struct Doubtful {
    of: Vec<Guid>,
    values: Arc<[Value]>,
}

impl Doubtful {
    /// Those besides some, which are ascending. Nearly everyone is in none of them and shares one list.
    fn besides(&self, certain: &[Guid]) -> Arc<[Value]> {
        if !certain.iter().any(|id| self.of.binary_search(id).is_ok()) {
            return self.values.clone();
        }
        let others = self.of.iter().zip(self.values.iter()).filter(|(id, _)| certain.binary_search(id).is_err());
        others.map(|(_, value)| value.clone()).collect()
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
                vacant.insert(Arc::new(snapshot.lists(pairs.lists)?));
            }
        }
        let absent = catalog.collections().map(|collection| (collection, absent(snapshot, catalog, collection)));
        let mut directory = Directory {
            snapshot,
            catalog,
            as_of,
            lists,
            closure: OnceCell::new(),
            effective: None,
            absent: absent.collect(),
            managers: Vec::new(),
            reports: OnceCell::new(),
            backward: RefCell::default(),
            doubtful: OnceCell::new(),
            whole: Cache::of(WHOLE_RECORDS_MAX),
            followed: Cache::of(FOLLOWED_RECORDS_MAX),
        };
        if catalog.uses(Collection::EffectiveMemberships) {
            directory.effective = Some(directory.closure().effective());
        }
        let by_manager = [Navigation::Manager, Navigation::DirectReports];
        if by_manager.iter().any(|via| catalog.navigations().contains(via)) {
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
        match (collection, &self.effective) {
            (Collection::EffectiveMemberships, Some(effective)) => effective,
            _ => collection.pairs().and_then(|pairs| self.lists.get(&pairs.lists)).map_or(&NONE, |lists| lists),
        }
    }

    /// What follows from nested groups; knows of none unless an expression or mapping uses memberships.
    pub fn closure(&self) -> &Closure {
        let direct = || self.lists.get(&Collection::Memberships).cloned().unwrap_or_default();
        self.closure.get_or_init(|| Closure::new(direct()))
    }

    /// How much is known of a collection.
    pub fn coverage(&self, collection: Collection) -> Coverage {
        match (self.snapshot.coverage(collection), self.snapshot.filter(collection)) {
            (Coverage::Complete, Some(asked)) if self.catalog.needs_whole(collection) => Coverage::partial(format!(
                "of {collection} only those were read for which Graph finds {}",
                asked.filter
            )),
            (coverage, _) => coverage,
        }
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
        if let Some(known) = self.whole.borrow_mut().get((collection, id)) {
            return Ok(known);
        }
        let record = match self.snapshot.objects(collection).get(id)? {
            Some(line) => Some(Arc::new(self.decode(collection, Key::Guid(id), &line)?)),
            None => None,
        };
        self.whole.borrow_mut().put((collection, id), record.clone());
        Ok(record)
    }

    /// The record of an object that something leads to, with no more than is asked of such records: the key, and what
    /// the catalog knows as followed. `None` if the snapshot does not hold it.
    pub fn followed(&self, collection: Collection, id: Guid) -> Result<Option<Arc<Record>>> {
        if collection == Collection::Licenses {
            // A few hundred at most, with properties that are worked out.
            return self.object(collection, id);
        }
        if let Some(known) = self.followed.borrow_mut().get((collection, id)) {
            return Ok(known);
        }
        let record = match self.snapshot.objects(collection).get(id)? {
            Some(line) => {
                let shape = self.catalog.shape(collection);
                let read = shape.decode_followed(Key::Guid(id), &line, &self.absent[&collection]);
                let mut record = read.failing(|| self.unread(collection, &Key::Guid(id)))?;
                let signed_in = |field: &Field| field.followed && *field.name == *SIGN_IN_ACTIVITY;
                if collection == Collection::Users && shape.fields().iter().any(signed_in) {
                    self.add_sign_ins(&mut record, id)?;
                }
                Some(Arc::new(record))
            }
            None => None,
        };
        self.followed.borrow_mut().put((collection, id), record.clone());
        Ok(record)
    }

    fn unread(&self, collection: Collection, key: &Key) -> String {
        format!("cannot read {key} of {collection} in {}", self.snapshot.dir().display())
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
        let id = key.guid();
        let read = shape.decode(key.clone(), line, &self.absent[&collection]);
        let mut record = read.failing(|| self.unread(collection, &key))?;
        match (collection, id) {
            (Collection::Licenses, Some(sku)) => self.name_license(&mut record, sku),
            (Collection::Users, Some(user)) => self.add_sign_ins(&mut record, user)?,
            _ => {}
        }
        Ok(record)
    }

    /// Fills in when a user last signed in, which was read in a pass of its own. Older snapshots have it among the
    /// user's own properties.
    fn add_sign_ins(&self, record: &mut Record, user: Guid) -> Result<()> {
        let shape = self.catalog.shape(Collection::Users);
        let Some(slot) = shape.slot(SIGN_IN_ACTIVITY) else { return Ok(()) };
        if self.snapshot.properties(Collection::Users).contains(SIGN_IN_ACTIVITY) {
            return Ok(());
        }
        record.slots[slot] = Some(match self.snapshot.objects(Collection::SignInActivity).get(user)? {
            Some(line) => {
                let read = shape.decode(record.key.clone(), &line, &[]);
                let read = read.failing(|| format!("cannot read the sign-in activity of {user}"))?;
                read.slots.into_vec().swap_remove(slot).unwrap_or(Value::Null)
            }
            // Graph leaves it out for who never signed in.
            None => match self.coverage(Collection::SignInActivity) {
                Coverage::Complete => Value::Null,
                Coverage::Partial(reason) => Value::Unknown(reason),
            },
        });
        Ok(())
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

    /// Fills what Graph does not say of a SKU: its product name, those of its service plans and how many are free.
    fn name_license(&self, record: &mut Record, sku: Guid) {
        let shape = self.catalog.shape(Collection::Licenses);
        let named = sku_names::lookup(sku);
        let part_number = shape.slot("skuPartNumber").and_then(|slot| record.slots[slot].clone());
        if let Some(slot) = shape.slot("productName") {
            // Microsoft's table has no name for a new SKU: then its part number is all there is.
            let name = named.map(|named| Value::text(&*named.product_name)).or(part_number);
            record.slots[slot] = Some(name.unwrap_or(Value::Null));
        }
        if let Some(slot) = shape.slot("servicePlanNames") {
            let plans = shape.slot("servicePlans").and_then(|slot| record.slots[slot].as_ref());
            record.slots[slot] = Some(plan_names(plans));
        }
        if let Some(slot) = shape.slot("assignedBy") {
            let reason = "how a license is assigned is known of a user's licenses only";
            record.slots[slot] = Some(Value::Unknown(Unknown::new(reason)));
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
            "direct" => Some(Value::Bool(self.holds_directly(of, member.id))),
            _ => None,
        });
        Record { collection, key: Key::Pair(of, member.id), slots: slots.collect() }
    }

    fn holds_directly(&self, group: Guid, member: Guid) -> bool {
        let members = self.members().of(group).unwrap_or_default();
        members.binary_search_by_key(&member, |member| member.id).is_ok()
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
            // Graph writes this where there is no error, at times in place of null.
            ("error", _) if field("error") == Some(&Value::text("None")) => Some(Value::Null),
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
        user.slots.get(slot)?.as_ref()
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
            match self.followed(*collection, id) {
                Ok(Some(record)) => return Value::Record(record),
                Ok(None) => {}
                Err(error) => return Value::Unknown(Unknown::new(error.to_string())),
            }
        }
        let gap = collections.iter().find_map(|collection| self.coverage(*collection).gap().cloned());
        let reason = gap.unwrap_or_else(|| Unknown::new("not an object that this job reads"));
        Value::Record(Arc::new(self.stub(collections[0], id, &reason)))
    }

    fn doubtful(&self, container: Collection, of: impl Iterator<Item = Guid>) -> Doubtful {
        let of: Vec<Guid> = of.collect();
        let values = of.iter().map(|id| self.follow(container.alone(), *id)).collect();
        Doubtful { of, values }
    }

    /// The objects in whose lists a member is.
    fn containers(&self, pairs: Collection, member: Guid) -> Value {
        let Some(form) = pairs.pairs() else { return Value::Null };
        let known = self.backward.borrow().get(&form.lists).cloned();
        let backward = known.unwrap_or_else(|| {
            let lists = self.lists(pairs);
            let all = lists.iter().flat_map(|(of, members)| members.iter().map(move |member| (member.id, of)));
            let mut edges: Vec<(Guid, Guid)> = all.collect();
            edges.sort_unstable();
            let doubtful = self.doubtful(form.of, lists.gaps().map(|(of, _)| of));
            let backward = Rc::new(Backward { edges, doubtful });
            self.backward.borrow_mut().insert(form.lists, backward.clone());
            backward
        });
        let start = backward.edges.partition_point(|(id, _)| *id < member);
        let found = backward.edges[start..].iter().take_while(|(id, _)| *id == member).map(|(_, of)| *of);
        let found: Vec<Guid> = found.collect();
        let items: Vec<Value> = found.iter().map(|of| self.follow(form.of.alone(), *of)).collect();
        let maybe = backward.doubtful.besides(&found);
        Value::List(List::new(items, maybe, self.unlisted(pairs)))
    }

    /// Why there may be lists that nobody can name.
    fn unlisted(&self, pairs: Collection) -> Option<Unknown> {
        let form = pairs.pairs()?;
        let gap = self.coverage(form.lists).gap().cloned();
        gap.or_else(|| self.coverage(form.of).gap().cloned())
    }

    /// The groups that hold an object directly or through others.
    fn all_containers(&self, member: Guid) -> Value {
        let closure = self.closure();
        let found = closure.containing(member);
        let items: Vec<Value> = found.iter().map(|group| self.follow(&[Collection::Groups], *group)).collect();
        let doubtful = self.doubtful.get_or_init(|| self.doubtful(Collection::Groups, closure.doubtful()));
        // A group never holds itself, so that one cannot be in doubt.
        let mut certain = found;
        if let Err(at) = certain.binary_search(&member) {
            certain.insert(at, member);
        }
        let maybe = doubtful.besides(&certain);
        Value::List(List::new(items, maybe, self.unlisted(Collection::Memberships)))
    }

    /// The members of one list.
    fn listed(&self, pairs: Collection, of: Guid) -> Value {
        let members = self.lists(pairs).of(of);
        let rest = match (members, self.lists(pairs).gap(of)) {
            (_, Some(gap)) => Some(gap.clone()),
            (None, None) => Some(Unknown::new(format!("the {} of {of} were not read", pairs.name()))),
            (Some(_), None) => None,
        };
        Value::List(List::new(self.all(members.unwrap_or_default()), [], rest))
    }

    /// Everything that a group holds directly or through others.
    fn all_members(&self, group: Guid) -> Value {
        let unread = || match self.members().of(group) {
            Some(_) => None,
            None => Some(Unknown::new("the group's members were not read")),
        };
        let rest = self.closure().doubt(group).or_else(unread);
        Value::List(List::new(self.all(&self.closure().contained(group)), [], rest))
    }

    fn all(&self, members: &[Member]) -> Arc<[Value]> {
        let collection = |kind| match kind {
            MemberKind::Group => &[Collection::Groups],
            MemberKind::Device => &[Collection::Devices],
            _ => &[Collection::Users],
        };
        members.iter().map(|member| self.follow(collection(member.kind), member.id)).collect()
    }

    /// Why managers are not all known.
    fn managers_unread(&self) -> Option<Unknown> {
        let read = self.snapshot.properties(Collection::Users).contains("manager");
        (!read).then(|| Unknown::new("managers were not read"))
    }

    fn reports_of(&self, manager: Guid) -> Value {
        let edges = self.reports.get_or_init(|| {
            let mut edges: Vec<(Guid, Guid)> = self.managers.iter().map(|(user, manager)| (*manager, *user)).collect();
            edges.sort_unstable();
            edges
        });
        let start = edges.partition_point(|(id, _)| *id < manager);
        let users = edges[start..].iter().take_while(|(id, _)| *id == manager).map(|(_, user)| *user);
        let items: Vec<Value> = users.map(|user| self.follow(&[Collection::Users], user)).collect();
        let rest = self.managers_unread().or_else(|| self.coverage(Collection::Users).gap().cloned());
        Value::List(List::new(items, [], rest))
    }

    /// A SKU as one of a user's licenses: with the groups that it comes through, where that is asked for.
    fn held_license(&self, sku: Guid, states: &[Value]) -> Arc<Record> {
        let license = self.license(sku);
        let Some(slot) = self.catalog.shape(Collection::Licenses).slot("assignedBy") else { return license };
        let through =
            states.iter().filter(|state| field(state, "skuId").and_then(guid) == Some(sku) && !in_error(state));
        let mut groups: Vec<Guid> =
            through.filter_map(|state| field(state, "assignedByGroup").and_then(guid)).collect();
        groups.sort_unstable();
        groups.dedup();
        let groups: Vec<Value> = groups.into_iter().map(|group| self.follow(&[Collection::Groups], group)).collect();
        let mut license = Record::clone(&license);
        license.slots[slot] = Some(Value::List(List::known(groups)));
        Arc::new(license)
    }

    /// The SKUs a user holds, each once. An assignment in state Error is not a held license
    /// (<https://learn.microsoft.com/graph/api/resources/licenseassignmentstate?view=graph-rest-1.0>).
    fn licenses_of(&self, user: &Record) -> Value {
        let states = match self.license_states(user) {
            Some(Value::List(states)) => states,
            Some(Value::Unknown(reason)) => return Value::Unknown(reason.clone()),
            _ => return Value::List(List::known([])),
        };
        let held = states.items.iter().filter(|state| !in_error(state));
        let held = held.filter_map(|state| field(state, "skuId").and_then(guid));
        let mut held: Vec<Guid> = held.collect();
        held.sort_unstable();
        held.dedup();
        let items = held.into_iter().map(|sku| Value::Record(self.held_license(sku, &states.items)));
        Value::List(List::new(items.collect::<Arc<[_]>>(), states.maybe(), states.rest().cloned()))
    }
}

/// Whether an assignment did not come about, so that nothing is held by it.
fn in_error(state: &Value) -> bool {
    matches!(field(state, "state"), Some(Value::Text(state)) if **state == *"Error")
}

/// A field of a complex value.
fn field<'v>(value: &'v Value, name: &str) -> Option<&'v Value> {
    let Value::Object(fields) = value else { return None };
    fields.iter().find(|(field, _)| **field == *name).map(|(_, value)| value)
}

impl Navigate for Directory<'_> {
    fn one(&self, from: &Record, via: Navigation) -> Value {
        match (via, &from.key) {
            (Navigation::Manager, Key::Guid(user)) => {
                match self.managers.binary_search_by_key(user, |(user, _)| *user) {
                    Ok(at) => self.follow(&[Collection::Users], self.managers[at].1),
                    Err(_) => self.managers_unread().map_or(Value::Null, Value::Unknown),
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
            (Navigation::MemberOf, Key::Guid(id)) => self.containers(Collection::Memberships, *id),
            (Navigation::TransitiveMemberOf, Key::Guid(id)) => self.all_containers(*id),
            (Navigation::Members, Key::Guid(group)) => self.listed(Collection::Memberships, *group),
            (Navigation::TransitiveMembers, Key::Guid(group)) => self.all_members(*group),
            (Navigation::Owners, Key::Guid(group)) => self.listed(Collection::GroupOwners, *group),
            (Navigation::OwnedGroups, Key::Guid(user)) => self.containers(Collection::GroupOwners, *user),
            (Navigation::RegisteredOwners, Key::Guid(device)) => self.listed(Collection::DeviceOwners, *device),
            (Navigation::RegisteredUsers, Key::Guid(device)) => self.listed(Collection::DeviceUsers, *device),
            (Navigation::OwnedDevices, Key::Guid(user)) => self.containers(Collection::DeviceOwners, *user),
            (Navigation::RegisteredDevices, Key::Guid(user)) => self.containers(Collection::DeviceUsers, *user),
            (Navigation::DirectReports, Key::Guid(user)) => self.reports_of(*user),
            (Navigation::Licenses, Key::Guid(_)) => self.licenses_of(from),
            (Navigation::Path, Key::Pair(group, member)) => {
                let path = self.closure().path(*group, *member).unwrap_or_default().into_iter();
                let groups: Vec<Value> = path.map(|group| self.follow(&[Collection::Groups], group)).collect();
                Value::List(List::known(groups))
            }
            _ => Value::List(List::known([])),
        }
    }

    fn as_of(&self) -> Timestamp {
        self.as_of
    }

    fn describe(&self, record: &Record) -> String {
        let slot = self.catalog.shape(record.collection).slot("displayName");
        match slot.and_then(|slot| record.slots.get(slot)) {
            Some(Some(Value::Text(name))) => format!("\"{name}\" ({} {})", record.collection, record.key),
            _ => format!("{} {}", record.collection, record.key),
        }
    }
}

/// Whether a member of that kind makes a pair of this collection: groups in groups are nestings, other members of
/// groups are memberships.
fn belongs(collection: Collection, kind: MemberKind) -> bool {
    match collection {
        Collection::Memberships => kind != MemberKind::Group,
        Collection::Nestings => kind == MemberKind::Group,
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

/// The published names of service plans; where there is none, Graph's.
fn plan_names(plans: Option<&Value>) -> Value {
    let Some(Value::List(plans)) = plans else { return plans.cloned().unwrap_or(Value::Null) };
    let names = plans.items.iter().filter_map(|plan| {
        let Value::Object(fields) = plan else { return None };
        let field = |name: &str| fields.iter().find(|(field, _)| **field == *name).map(|(_, value)| value);
        let published = field("servicePlanId").and_then(guid).and_then(sku_names::service_plan);
        published.map(Value::text).or_else(|| field("servicePlanName").cloned())
    });
    Value::List(List::new(names.collect::<Arc<[_]>>(), plans.maybe(), plans.rest().cloned()))
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
