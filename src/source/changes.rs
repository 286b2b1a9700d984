//! What a delta query tells, and what it makes of the snapshot it continues. No requests: those are in `delta.rs`.
//!
//! Hides how Graph reports changes: the same object several times and in any order, large groups in slices, removals of
//! two kinds, relationships as additions and removals, properties that come only when they were ever set. Deliberately
//! trusts a removal only so far: every id that was told to be removed is named by [`Folded::doubtful`], to be looked up.
//! <https://learn.microsoft.com/graph/delta-query-overview> <https://learn.microsoft.com/graph/delta-query-groups>
//!
//! Entries are applied in the order received and the last one wins, which makes replays harmless. A property that does
//! not come is unchanged; one that comes as null was cleared. That reading fits both forms of answer: with
//! `Prefer: return=minimal`, and without, where every property that was ever set comes along.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::hash::{BuildHasher, RandomState};

use serde::Deserialize;
use serde_json::{Map, Value};

use super::members;
use crate::error::{Context, Result};
use crate::record::{Collection, Guid};
use crate::schema;
use crate::snapshot::{Extent, Member};
use crate::spill::{Place, Spill, SpillWriter};

type Object = Map<String, Value>;

/// One entry of a page. What is not named here are the object's properties.
#[derive(Deserialize)]
pub(super) struct Entry {
    id: Guid,
    #[serde(rename = "@removed")]
    removed: Option<Removed>,
    #[serde(rename = "members@delta", default)]
    members: Vec<End>,
    #[serde(flatten)]
    properties: Object,
}

/// Softly deleted (`changed`) or for good (`deleted`): either way it is looked up, so the reason decides nothing.
#[derive(Deserialize)]
struct Removed {}

/// The end of a relationship that was added or removed.
#[derive(Deserialize)]
struct End {
    id: Guid,
    #[serde(rename = "@odata.type")]
    kind: Option<String>,
    #[serde(rename = "@removed")]
    removed: Option<Removed>,
}

/// What one entry says of its object.
#[derive(Clone, Copy)]
enum Event {
    Present(Place),
    Removed,
}

/// A member that was added, or removed.
#[derive(Clone, Copy)]
struct Edit {
    member: Member,
    added: bool,
}

/// A round under way.
pub(super) struct RoundWriter {
    objects: HashMap<Guid, Vec<Event>>,
    members: HashMap<Guid, Vec<Edit>>,
    spill: SpillWriter<Object>,
    untyped: u64,
    /// Fingerprints of entries: a list that never ends repeats them.
    seen: HashSet<u64>,
    hasher: RandomState,
}

/// All changes of one collection since a link was taken. Properties lie on disk, ids and members in memory.
pub(super) struct Round {
    objects: HashMap<Guid, Vec<Event>>,
    members: HashMap<Guid, Vec<Edit>>,
    spill: Spill<Object>,
    /// Members that were added without a type: such a round cannot be believed.
    pub untyped: u64,
}

/// What became of one object.
pub(super) struct Folded {
    /// None when it was removed.
    pub line: Option<String>,
    /// It must be looked up: it was told to be removed, or its manager is ambiguous.
    pub doubtful: bool,
}

impl RoundWriter {
    pub fn new() -> Result<RoundWriter> {
        Ok(RoundWriter {
            objects: HashMap::new(),
            members: HashMap::new(),
            spill: SpillWriter::new()?,
            untyped: 0,
            seen: HashSet::new(),
            hasher: RandomState::new(),
        })
    }

    /// Takes one entry, and says whether it is one that never came before.
    pub fn take(&mut self, entry: Entry, text: &str) -> Result<bool> {
        let Entry { id, removed, members, properties } = entry;
        let events = self.objects.entry(id).or_default();
        if removed.is_some() {
            events.push(Event::Removed);
            self.members.remove(&id);
        } else {
            events.push(Event::Present(self.spill.push(&properties)?));
            // What was removed need not say what it was.
            self.untyped += members.iter().filter(|end| end.removed.is_none() && end.kind.is_none()).count() as u64;
            let edits = members.into_iter().map(|end| Edit {
                member: Member { id: end.id, kind: members::kind(end.kind.as_deref().unwrap_or_default()) },
                added: end.removed.is_none(),
            });
            let mut edits = edits.peekable();
            if edits.peek().is_some() {
                self.members.entry(id).or_default().extend(edits);
            }
        }
        Ok(self.seen.insert(self.hasher.hash_one(text)))
    }

    pub fn finish(self) -> Result<Round> {
        let RoundWriter { objects, members, spill, untyped, .. } = self;
        Ok(Round { objects, members, spill: spill.finish()?, untyped })
    }
}

impl Round {
    /// How many objects something is told of.
    pub fn len(&self) -> usize {
        self.objects.len()
    }

    /// Whether something is told of the object.
    pub fn tells_of(&self, id: Guid) -> bool {
        self.objects.contains_key(&id)
    }

    /// The ids that something is told of, ascending.
    pub fn ids(&self) -> Vec<Guid> {
        let mut ids: Vec<Guid> = self.objects.keys().copied().collect();
        ids.sort_unstable();
        ids
    }

    /// Lays what is told of one object over its line in the base; `base` is none where it was not there.
    pub fn fold(&self, id: Guid, base: Option<&str>, collection: Collection, extent: &Extent) -> Result<Folded> {
        let parse = |line: &str| {
            serde_json::from_str::<Object>(line).failing(|| format!("{collection} {id} cannot be read from the base"))
        };
        let mut object = base.map(parse).transpose()?;
        let mut manager = Manager::of(object.as_ref());
        let mut doubtful = false;
        for event in self.objects.get(&id).into_iter().flatten() {
            match event {
                Event::Removed => {
                    object = None;
                    manager = Manager::default();
                    doubtful = true;
                }
                Event::Present(place) => {
                    let known = object.get_or_insert_default();
                    for (name, value) in self.spill.get(*place)? {
                        match name.as_str() {
                            "manager@delta" => manager.change(value),
                            // Annotations, and relationships that nobody asked for.
                            name if name.contains('@') => {}
                            _ => drop(known.insert(name, value)),
                        }
                    }
                }
            }
        }
        let Some(mut object) = object else { return Ok(Folded { line: None, doubtful }) };
        object.insert("id".into(), id.to_string().into());
        fill(&mut object, collection, extent);
        if collection == Collection::Users && extent.properties.contains("manager") {
            doubtful |= manager.0.len() > 1;
            match manager.0.into_values().next() {
                Some(manager) => object.insert("manager".into(), manager),
                None => object.remove("manager"),
            };
        }
        let line = serde_json::to_string(&object).failing(|| format!("cannot write {collection} {id}"))?;
        Ok(Folded { line: Some(line), doubtful })
    }

    /// A group's members: those of the base with the changes. An object that was removed and came back begins anew.
    pub fn fold_members(&self, group: Guid, base: &[Member]) -> Vec<Member> {
        let events = self.objects.get(&group).map_or(&[][..], Vec::as_slice);
        let came_back = events.iter().any(|event| matches!(event, Event::Removed));
        let base = if came_back { &[] } else { base };
        let mut members: BTreeMap<Guid, Member> = base.iter().map(|member| (member.id, *member)).collect();
        for edit in self.members.get(&group).into_iter().flatten() {
            match edit.added {
                true => drop(members.insert(edit.member.id, edit.member)),
                false => drop(members.remove(&edit.member.id)),
            }
        }
        members.into_values().collect()
    }
}

/// Who manages a user: one, or for a moment none or several, since the end of one and the beginning of another come in
/// any order.
#[derive(Default)]
struct Manager(BTreeMap<String, Value>);

impl Manager {
    fn of(user: Option<&Object>) -> Manager {
        let mut manager = Manager::default();
        manager.add(user.and_then(|user| user.get("manager")).cloned().unwrap_or_default());
        manager
    }

    fn change(&mut self, ends: Value) {
        let Value::Array(ends) = ends else { return };
        for end in ends {
            match end.get("@removed").is_some() {
                false => self.add(end),
                true => drop(end["id"].as_str().and_then(|id| self.0.remove(&id.to_ascii_lowercase()))),
            }
        }
    }

    fn add(&mut self, end: Value) {
        if let Some(id) = end["id"].as_str().map(str::to_ascii_lowercase) {
            self.0.insert(id, end);
        }
    }
}

/// Gives every property that was asked for a value, as a list of the collection does: one that was never set does not
/// come in a delta answer, and a collection that was cleared comes as null.
fn fill(object: &mut Object, collection: Collection, extent: &Extent) {
    for name in extent.properties.iter().filter(|name| *name != "manager" && *name != "id") {
        let many = schema::property(collection, name).is_some_and(|property| property.ty.many);
        let value = object.entry(name.as_str()).or_insert(Value::Null);
        if many && value.is_null() {
            *value = Value::Array(Vec::new());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Coverage;
    use crate::snapshot::MemberKind;
    use serde_json::json;

    const ID: &str = "00000000-0000-4000-8000-000000000001";

    fn id(n: u8) -> Guid {
        format!("00000000-0000-4000-8000-{n:012}").parse().unwrap()
    }

    fn extent() -> Extent {
        let mut extent = Extent::new(Coverage::Complete);
        extent.properties = ["id", "displayName", "mail", "businessPhones", "manager"].map(str::to_owned).into();
        extent
    }

    fn round(entries: &[Value]) -> Round {
        let mut writer = RoundWriter::new().unwrap();
        for entry in entries {
            let text = entry.to_string();
            writer.take(serde_json::from_str(&text).unwrap(), &text).unwrap();
        }
        writer.finish().unwrap()
    }

    /// What entries of one user make of a base, and whether it is doubtful.
    fn folded(base: Option<Value>, entries: &[Value]) -> (Option<Value>, bool) {
        let entries: Vec<Value> = entries
            .iter()
            .map(|entry| {
                let mut entry = entry.clone();
                entry["id"] = ID.into();
                entry
            })
            .collect();
        let base = base.map(|base| base.to_string());
        let folded = round(&entries).fold(id(1), base.as_deref(), Collection::Users, &extent()).unwrap();
        (folded.line.map(|line| serde_json::from_str(&line).unwrap()), folded.doubtful)
    }

    fn user(name: &str, mail: Value, phones: Value) -> Value {
        json!({ "id": ID, "displayName": name, "mail": mail, "businessPhones": phones })
    }

    fn end(n: u8) -> Value {
        json!({ "@odata.type": "#microsoft.graph.user", "id": id(n) })
    }

    fn ended(n: u8) -> Value {
        json!({ "id": id(n), "@removed": { "reason": "deleted" } })
    }

    #[test]
    fn properties_are_laid_over_the_base() {
        let base = || Some(user("Adele", json!("a@contoso.com"), json!(["1"])));
        let check = |base: Option<Value>, entries: &[Value], expected: Option<Value>, doubtful: bool| {
            assert_eq!(folded(base, entries), (expected, doubtful), "{entries:?}");
        };
        let removed = |reason: &str| json!({ "@removed": { "reason": reason } });
        let whole = |name: &str| json!({ "displayName": name, "mail": "b@contoso.com", "businessPhones": ["2"] });
        let now = |name: &str| Some(user(name, json!("b@contoso.com"), json!(["2"])));
        // Only what changed, and what was cleared.
        check(
            base(),
            &[json!({ "displayName": "Alex" })],
            Some(user("Alex", json!("a@contoso.com"), json!(["1"]))),
            false,
        );
        check(
            base(),
            &[json!({ "mail": null, "businessPhones": null })],
            Some(user("Adele", Value::Null, json!([]))),
            false,
        );
        // A new one says nothing of what was never set.
        check(None, &[json!({ "displayName": "Alex" })], Some(user("Alex", Value::Null, json!([]))), false);
        // The same again, and an old change told before the new one: the last one wins.
        check(base(), &[whole("Alex"), whole("Alex")], now("Alex"), false);
        check(base(), &[json!({ "displayName": "Old", "mail": "old@contoso.com" }), whole("New")], now("New"), false);
        // Removed, in both ways; removed and back, of which nothing of before remains.
        check(base(), &[removed("changed")], None, true);
        check(base(), &[removed("deleted")], None, true);
        check(base(), &[whole("Alex"), removed("changed")], None, true);
        check(
            base(),
            &[removed("changed"), json!({ "displayName": "Back" })],
            Some(user("Back", Value::Null, json!([]))),
            true,
        );
        check(None, &[removed("deleted")], None, true);
        // Annotations are no properties.
        check(base(), &[json!({ "@odata.type": "#microsoft.graph.user", "owners@delta": [] })], base(), false);
    }

    #[test]
    fn a_manager_is_the_one_that_remains() {
        let base = |manager: Option<u8>| {
            let mut base = user("Adele", Value::Null, json!([]));
            if let Some(n) = manager {
                base["manager"] = end(n);
            }
            Some(base)
        };
        let check = |before: Option<u8>, changes: &[Value], after: Option<u8>, ambiguous: bool| {
            let entries: Vec<Value> = changes.iter().map(|ends| json!({ "manager@delta": ends })).collect();
            let (found, doubtful) = folded(base(before), &entries);
            assert_eq!(doubtful, ambiguous, "{entries:?}");
            if !ambiguous {
                assert_eq!(found, base(after), "{entries:?}");
            }
        };
        check(Some(2), &[], Some(2), false);
        check(Some(2), &[json!([ended(2), end(3)])], Some(3), false);
        check(Some(2), &[json!([end(3), ended(2)])], Some(3), false);
        check(Some(2), &[json!([end(3)]), json!([ended(2)])], Some(3), false);
        check(Some(2), &[json!([ended(2)])], None, false);
        check(None, &[json!([end(3)]), json!([end(3)])], Some(3), false);
        check(Some(2), &[json!([end(3)])], None, true);
    }

    #[test]
    fn members_are_added_and_removed_in_the_order_told() {
        let member = |n: u8| Member { id: id(n), kind: MemberKind::User };
        let check = |base: &[u8], slices: &[Value], expected: &[u8]| {
            let slice = |ends: &Value| match ends {
                Value::Null => json!({ "id": ID, "@removed": { "reason": "changed" } }),
                ends => json!({ "id": ID, "members@delta": ends }),
            };
            let entries: Vec<Value> = slices.iter().map(slice).collect();
            let base: Vec<Member> = base.iter().map(|n| member(*n)).collect();
            let expected: Vec<Member> = expected.iter().map(|n| member(*n)).collect();
            assert_eq!(round(&entries).fold_members(id(1), &base), expected, "{slices:?}");
        };
        check(&[2, 3], &[], &[2, 3]);
        check(&[2, 3], &[json!([end(4), ended(2)])], &[3, 4]);
        check(&[2, 3], &[json!([end(4)]), json!([ended(2)]), json!([end(5)])], &[3, 4, 5]);
        // Told twice, told although it was known, ended although it never began.
        check(&[2], &[json!([end(3)]), json!([end(3), end(2), ended(9)])], &[2, 3]);
        // Came and went, went and came.
        check(&[2], &[json!([end(3)]), json!([ended(3), ended(2)]), json!([end(2)])], &[2]);
        // A group that was removed and restored has the members that are told of afterwards.
        check(&[2, 3], &[json!([end(4)]), Value::Null, json!([end(5)])], &[5]);
    }

    #[test]
    fn what_is_added_must_have_a_type_and_what_is_removed_need_not() {
        let untyped = |ends: Value| round(&[json!({ "id": ID, "members@delta": ends })]).untyped;
        assert_eq!(untyped(json!([end(2), ended(3)])), 0);
        assert_eq!(untyped(json!([end(2), { "id": id(4) }, { "id": id(5) }])), 2);
    }

    #[test]
    fn an_entry_is_news_once() {
        let mut writer = RoundWriter::new().unwrap();
        let mut take = |entry: Value| {
            let text = entry.to_string();
            writer.take(serde_json::from_str(&text).unwrap(), &text).unwrap()
        };
        assert!(take(json!({ "id": ID, "members@delta": [end(2)] })));
        assert!(take(json!({ "id": ID, "members@delta": [end(3)] })));
        assert!(!take(json!({ "id": ID, "members@delta": [end(2)] })));
    }
}
