//! Reads a sealed snapshot: an index from key to line per collection, lines fetched from disk when asked for.
//!
//! Hides offsets, duplicates and the compact form of memberships. Deliberately parses no property but the key; the
//! expression language decides what of a line it needs.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use jiff::Timestamp;
use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, Visitor};

use super::{
    ABSENT, DELETED, DELTA, DeltaLinks, Extent, FORMAT, How, Lines, MANIFEST, Manifest, Member, MemberKind,
    PushedFilter, file_name, key_property, lines_of, type_name,
};
use crate::error::{Context, Error, Result};
use crate::record::{Collection, Coverage, Form, Guid, Key, Unknown};

/// A line longer than this is refused: no directory object comes near it (the largest member list can).
const LINE_BYTES_MAX: usize = 1 << 30;

/// A sealed snapshot. Holds keys and offsets in memory, about 32 bytes an object; lines stay on disk.
#[derive(Debug)]
pub struct Snapshot {
    dir: PathBuf,
    manifest: Manifest,
    indexes: BTreeMap<Collection, Index>,
    /// Of custom collections, whose keys may be any text.
    custom: BTreeMap<Collection, Index<Key>>,
    deleted: Vec<Guid>,
    /// With the collection each was looked for in: what is no user may well be a device.
    absent: Vec<(Guid, Collection)>,
}

#[derive(Debug)]
struct Index<K = Guid> {
    path: PathBuf,
    file: File,
    /// Sorted by id, each id once.
    entries: Vec<Entry<K>>,
    duplicates: u64,
}

#[derive(Clone, Debug)]
struct Entry<K> {
    id: K,
    offset: u64,
    length: u32,
}

impl Snapshot {
    /// Opens the snapshot in `dir` and indexes it. Reads every line once and checks it against the manifest: a line
    /// that is no JSON object with a key, or a missing line, is an error that names file and line.
    pub fn open(dir: &Path) -> Result<Snapshot> {
        let mut manifest = read_manifest(dir)?;
        manifest.links = read_links(dir)?;
        let (mut indexes, mut custom) = (BTreeMap::new(), BTreeMap::new());
        for (collection, extent) in &manifest.collections {
            let path = dir.join(file_name(collection.name()));
            match (lines_of(*collection), collection.form()) {
                (Some(Lines::Objects), Form::Custom) => {
                    let key = extent.key.as_deref().unwrap_or("id");
                    let index = Index::build(path, key, |text| Ok(Key::parse(text)))?;
                    check_count(&index.path, index.entries.len(), extent)?;
                    custom.insert(*collection, index);
                }
                (Some(Lines::Objects), _) => {
                    let id = |text: &str| text.parse().map_err(|cause| format!("{text:?}: {cause}"));
                    let index = Index::build(path, key_property(*collection), id)?;
                    check_count(&index.path, index.entries.len(), extent)?;
                    indexes.insert(*collection, index);
                }
                (Some(Lines::Lists) | None, _) => {}
            }
        }
        let deleted = read_gone(&dir.join(file_name(DELETED)))?.into_iter().map(|(id, _)| id).collect();
        let absent = read_gone(&dir.join(file_name(ABSENT)))?;
        Ok(Snapshot { dir: dir.to_owned(), manifest, indexes, custom, deleted, absent })
    }

    /// The folder it is in.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// The tenant as configured when it was read.
    pub fn tenant(&self) -> &str {
        &self.manifest.tenant
    }

    /// When the read began.
    pub fn as_of(&self) -> Timestamp {
        self.manifest.as_of
    }

    /// The objects of users, groups, devices and the like; of pairs, assignments and custom collections none.
    pub fn objects(&self, collection: Collection) -> Objects<'_> {
        Objects { index: self.indexes.get(&collection) }
    }

    /// The objects of a custom collection; of any other none.
    pub fn custom(&self, collection: Collection) -> Objects<'_, Key> {
        Objects { index: self.custom.get(&collection) }
    }

    /// How much of the collection was read. Nestings and effective memberships go by the memberships, license
    /// assignments by the users; a collection that was not asked for is partial for that reason.
    ///
    /// Complete memberships say that every group has a list; a single list may still have a [`Members::gap`].
    pub fn coverage(&self, collection: Collection) -> Coverage {
        let (file, property) = match collection.form() {
            Form::Pairs(pairs) => (pairs.lists, None),
            Form::Assignments => (Collection::Users, Some("licenseAssignmentStates")),
            Form::Objects | Form::Custom => (collection, None),
        };
        let Some(extent) = self.manifest.collections.get(&file) else {
            return Coverage::partial(format!("{collection} were not read"));
        };
        let unseen = property.filter(|name| !extent.properties.contains(*name));
        match (&extent.coverage, unseen) {
            (Coverage::Complete, Some(name)) => match extent.unreadable.get(name) {
                Some(reason) => Coverage::Partial(reason.clone()),
                None => Coverage::partial(format!("{name} of {file} was not read")),
            },
            (coverage, _) => coverage.clone(),
        }
    }

    /// How it was read: in full or by changes. Pairs go by the lists they are in, license assignments by the users.
    pub fn how(&self, collection: Collection) -> &How {
        static PLAIN: How = How::Full(None);
        let file = match collection.form() {
            Form::Pairs(pairs) => pairs.lists,
            Form::Assignments => Collection::Users,
            Form::Objects | Form::Custom => collection,
        };
        self.manifest.collections.get(&file).map_or(&PLAIN, |extent| &extent.how)
    }

    /// The properties that were asked for; empty for a collection that was not read.
    pub fn properties(&self, collection: Collection) -> &BTreeSet<String> {
        static NONE: BTreeSet<String> = BTreeSet::new();
        self.manifest.collections.get(&collection).map_or(&NONE, |extent| &extent.properties)
    }

    /// What Graph was asked to leave out, if it was.
    pub fn filter(&self, collection: Collection) -> Option<&PushedFilter> {
        self.manifest.collections.get(&collection).and_then(Extent::filter)
    }

    /// Properties that were needed but not asked for, because the app may not read them.
    pub fn unreadable(&self, collection: Collection) -> &BTreeMap<String, Unknown> {
        static NONE: LazyLock<BTreeMap<String, Unknown>> = LazyLock::new(BTreeMap::new);
        self.manifest.collections.get(&collection).map_or(&NONE, |extent| &extent.unreadable)
    }

    /// Reads the direct members of all groups: 17 bytes a membership. Reads the file on each call; keep the result.
    pub fn members(&self) -> Result<Members> {
        self.lists(Collection::Memberships)
    }

    /// Reads the lists that the pairs of `collection` come from, such as the owners of all groups. Like
    /// [`Snapshot::members`], whose words ("group", "member") stand for the ends of any pair.
    pub fn lists(&self, collection: Collection) -> Result<Members> {
        let Some(pairs) = collection.pairs() else { return Ok(Members::default()) };
        match self.manifest.collections.get(&pairs.lists) {
            Some(extent) => Members::read(&self.dir.join(file_name(pairs.lists.name())), extent),
            None => Ok(Members::default()),
        }
    }

    /// Whether the object is proved deleted.
    pub fn deleted(&self, id: Guid) -> bool {
        self.deleted.binary_search(&id).is_ok()
    }

    /// Whether an object of this collection was asked for by id and not found.
    pub fn absent(&self, collection: Collection, id: Guid) -> bool {
        self.absent.binary_search(&(id, collection)).is_ok()
    }
}

/// The objects of one collection, in id order.
#[derive(Clone, Copy, Debug)]
pub struct Objects<'a, K = Guid> {
    index: Option<&'a Index<K>>,
}

impl<'a, K: Ord> Objects<'a, K> {
    pub fn len(&self) -> usize {
        self.entries().len()
    }

    pub fn is_empty(&self) -> bool {
        self.entries().is_empty()
    }

    /// How many lines were superseded by a later line of the same id.
    pub fn duplicates(&self) -> u64 {
        self.index.map_or(0, |index| index.duplicates)
    }

    /// All keys, ascending.
    pub fn keys(&self) -> impl ExactSizeIterator<Item = &'a K> + use<'a, K> {
        self.entries().iter().map(|entry| &entry.id)
    }

    /// The line of the object with that key: its JSON text, as Graph returned it.
    pub fn line(&self, key: &K) -> Result<Option<String>> {
        let Some(index) = self.index else { return Ok(None) };
        let Ok(at) = index.entries.binary_search_by(|entry| entry.id.cmp(key)) else { return Ok(None) };
        let mut line = Vec::new();
        index.read(&index.entries[at], &mut line).map(|text| Some(text.to_owned()))
    }

    /// Walks all objects in key order through one buffer.
    pub fn iter(&self) -> ObjectIter<'a, K> {
        ObjectIter { index: self.index, next: 0, line: Vec::new() }
    }

    fn entries(&self) -> &'a [Entry<K>] {
        self.index.map_or(&[], |index| &index.entries)
    }
}

impl<'a> Objects<'a> {
    /// All ids, ascending.
    pub fn ids(&self) -> impl ExactSizeIterator<Item = Guid> + use<'a> {
        self.entries().iter().map(|entry| entry.id)
    }

    pub fn contains(&self, id: Guid) -> bool {
        self.entries().binary_search_by_key(&id, |entry| entry.id).is_ok()
    }

    /// The object's line: its JSON text, as Graph returned it.
    pub fn get(&self, id: Guid) -> Result<Option<String>> {
        self.line(&id)
    }
}

/// A walk over objects in id order. Lends each line from its own buffer, hence not an [`Iterator`].
#[derive(Debug)]
pub struct ObjectIter<'a, K = Guid> {
    index: Option<&'a Index<K>>,
    next: usize,
    line: Vec<u8>,
}

impl<K: Clone> ObjectIter<'_, K> {
    /// The next key and its line; `None` after the last.
    #[expect(clippy::should_implement_trait, reason = "an Iterator cannot lend from its own buffer")]
    pub fn next(&mut self) -> Result<Option<(K, &str)>> {
        let Some(index) = self.index else { return Ok(None) };
        let Some(entry) = index.entries.get(self.next) else { return Ok(None) };
        self.next += 1;
        let text = index.read(entry, &mut self.line)?;
        Ok(Some((entry.id.clone(), text)))
    }
}

impl<K: Ord> Index<K> {
    /// Indexes the objects in `path` by their property `key`, read by `id`.
    fn build(path: PathBuf, key: &str, id: impl Fn(&str) -> Result<K, String>) -> Result<Index<K>> {
        let mut entries = Vec::new();
        let mut offset = 0;
        each_line(&path, |text| {
            let mut from = serde_json::Deserializer::from_str(text);
            let found = from.deserialize_map(KeyVisitor { key }).and_then(|found| from.end().map(|()| found));
            let found = found.map_err(|cause| cause.to_string())?.ok_or_else(|| format!("the object has no {key}"))?;
            let id = id(&found).map_err(|cause| format!("{key} {cause}"))?;
            let length = u32::try_from(text.len()).map_err(|_| "the line is too long".to_owned())?;
            entries.push(Entry { id, offset, length });
            offset += u64::from(length) + 1;
            Ok(())
        })?;
        // Stable, so that of several lines with one id the last written stays last and wins.
        entries.sort_by(|a, b| a.id.cmp(&b.id));
        let lines = entries.len();
        entries.reverse();
        entries.dedup_by(|a, b| a.id == b.id);
        entries.reverse();
        entries.shrink_to_fit();
        let file = File::open(&path).failing(|| format!("cannot open {}", path.display()))?;
        let duplicates = (lines - entries.len()) as u64;
        Ok(Index { path, file, entries, duplicates })
    }
}

impl<K> Index<K> {
    fn read<'b>(&self, entry: &Entry<K>, buffer: &'b mut Vec<u8>) -> Result<&'b str> {
        buffer.resize(entry.length as usize, 0);
        let done = read_exact_at(&self.file, buffer, entry.offset);
        done.failing(|| format!("cannot read byte {} of {}", entry.offset, self.path.display()))?;
        std::str::from_utf8(buffer).failing(|| format!("{} changed while it was read", self.path.display()))
    }
}

/// Finds the key of an object; everything else is skipped over, but must be JSON.
struct KeyVisitor<'k> {
    key: &'k str,
}

impl<'de> Visitor<'de> for KeyVisitor<'_> {
    type Value = Option<Cow<'de, str>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut found = None;
        while let Some(is_key) = map.next_key_seed(IsNamed(self.key))? {
            if is_key {
                found = Some(map.next_value::<Text<'de>>()?.0);
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(found)
    }
}

/// Whether a name is this one.
struct IsNamed<'k>(&'k str);

impl<'de> DeserializeSeed<'de> for IsNamed<'_> {
    type Value = bool;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<bool, D::Error> {
        from.deserialize_identifier(self)
    }
}

impl Visitor<'_> for IsNamed<'_> {
    type Value = bool;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }

    fn visit_str<E>(self, name: &str) -> Result<bool, E> {
        Ok(name == self.0)
    }
}

/// A text, copied only where it is escaped.
#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

/// A line of `deleted.jsonl` or `absent.jsonl`.
#[derive(Deserialize)]
struct GoneLine<'a> {
    id: Guid,
    r#type: &'a str,
}

/// Direct members of all groups, in compressed rows: sorted groups, and one slice of the member array each.
#[derive(Debug, Default)]
pub struct Members {
    groups: Vec<Guid>,
    /// `groups.len() + 1` positions in `members`; empty when there is no group.
    starts: Vec<usize>,
    members: Vec<Member>,
    gaps: BTreeMap<Guid, Unknown>,
    vanished: BTreeSet<Guid>,
}

impl Members {
    /// The members of a group, sorted by id, each once; `None` when no list was read for it. An empty list is empty
    /// only if the group has no [`Members::gap`].
    pub fn of(&self, group: Guid) -> Option<&[Member]> {
        let at = self.groups.binary_search(&group).ok()?;
        Some(&self.members[self.starts[at]..self.starts[at + 1]])
    }

    /// Why the group's list is incomplete.
    pub fn gap(&self, group: Guid) -> Option<&Unknown> {
        self.gaps.get(&group)
    }

    /// All incomplete lists, by group.
    pub fn gaps(&self) -> impl Iterator<Item = (Guid, &Unknown)> {
        self.gaps.iter().map(|(group, reason)| (*group, reason))
    }

    /// The same lists, of which the gaps of these groups come of a group that is gone.
    pub fn vanishing(mut self, groups: impl IntoIterator<Item = Guid>) -> Members {
        self.vanished = groups.into_iter().collect();
        self
    }

    /// Groups that were gone when their list was asked for, ascending. Each has a [`Members::gap`] too.
    pub fn vanished(&self) -> impl Iterator<Item = Guid> {
        self.vanished.iter().copied()
    }

    /// Incomplete lists of groups that are there.
    pub fn missing(&self) -> impl Iterator<Item = (Guid, &Unknown)> {
        self.gaps().filter(|(group, _)| !self.vanished.contains(group))
    }

    /// Groups that a list was read for, ascending.
    pub fn groups(&self) -> &[Guid] {
        &self.groups
    }

    /// Every group with its members, by group.
    pub fn iter(&self) -> impl Iterator<Item = (Guid, &[Member])> {
        let rows = self.starts.windows(2).map(|range| &self.members[range[0]..range[1]]);
        self.groups.iter().copied().zip(rows)
    }

    /// Memberships in all.
    pub fn len(&self) -> usize {
        self.members.len()
    }

    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// Lists given by group, ascending, each group once; each list sorted by id, each member once.
    pub fn new(lists: impl IntoIterator<Item = (Guid, Vec<Member>)>, gaps: BTreeMap<Guid, Unknown>) -> Members {
        let mut all = Members { starts: vec![0], gaps, ..Members::default() };
        for (group, mut list) in lists {
            all.groups.push(group);
            all.members.append(&mut list);
            all.starts.push(all.members.len());
        }
        all
    }

    fn read(path: &Path, extent: &Extent) -> Result<Members> {
        let mut rows: HashMap<Guid, (usize, usize)> = HashMap::new();
        let mut edges: Vec<Member> = Vec::new();
        let mut gaps = BTreeMap::new();
        let mut vanished = BTreeSet::new();
        each_line(path, |text| {
            let line: MembersLine = serde_json::from_str(text).map_err(|cause| cause.to_string())?;
            let id = |text: &str| text.parse::<Guid>().map_err(|cause| format!("id {text:?}: {cause}"));
            let group = id(line.id)?;
            let start = edges.len();
            for member in &line.members {
                edges.push(Member { id: id(member.id)?, kind: MemberKind::named(member.r#type) });
            }
            // A list written again replaces the earlier one.
            rows.insert(group, (start, edges.len()));
            match line.partial {
                Some(reason) => gaps.insert(group, reason),
                None => gaps.remove(&group),
            };
            match line.vanished {
                true => vanished.insert(group),
                false => vanished.remove(&group),
            };
            Ok(())
        })?;
        check_count(path, rows.len(), extent)?;
        Ok(Members::packed(&rows, &edges, gaps).vanishing(vanished))
    }

    fn packed(rows: &HashMap<Guid, (usize, usize)>, edges: &[Member], gaps: BTreeMap<Guid, Unknown>) -> Members {
        let mut groups: Vec<Guid> = rows.keys().copied().collect();
        groups.sort_unstable();
        let lists = groups.into_iter().map(|group| {
            let (start, end) = rows[&group];
            let mut row = edges[start..end].to_vec();
            row.sort_unstable();
            row.dedup_by_key(|member| member.id);
            (group, row)
        });
        Members::new(lists, gaps)
    }
}

#[derive(Deserialize)]
struct MembersLine<'a> {
    id: &'a str,
    #[serde(borrow)]
    members: Vec<MemberText<'a>>,
    partial: Option<Unknown>,
    #[serde(default)]
    vanished: bool,
}

#[derive(Deserialize)]
struct MemberText<'a> {
    id: &'a str,
    r#type: &'a str,
}

fn read_manifest(dir: &Path) -> Result<Manifest> {
    let path = dir.join(MANIFEST);
    let text = std::fs::read(&path).map_err(|cause| {
        Error::usage(format!("{} is not a snapshot", dir.display()))
            .cause(format!("cannot read {}: {cause}", path.display()))
            .hint("Name a folder that `extract` has written.")
    })?;
    // The format first: of a newer format, what else the manifest holds cannot be trusted to be understood.
    #[derive(Deserialize)]
    struct Head {
        format: String,
    }
    let broken = |cause: serde_json::Error| Error::failed(format!("{} is damaged", path.display())).because(cause);
    let head: Head = serde_json::from_slice(&text).map_err(broken)?;
    if head.format != FORMAT {
        return Err(Error::usage(format!("{} has the format {:?}", path.display(), head.format))
            .cause(format!("this program reads {FORMAT:?}"))
            .hint("Extract again, or use the version of the program that wrote it."));
    }
    serde_json::from_slice(&text).map_err(broken)
}

/// The links of a snapshot that has some.
fn read_links(dir: &Path) -> Result<DeltaLinks> {
    let path = dir.join(DELTA);
    if !path.is_file() {
        return Ok(DeltaLinks::default());
    }
    let text = std::fs::read(&path).failing(|| format!("cannot read {}", path.display()))?;
    serde_json::from_slice(&text)
        .map_err(|cause| Error::failed(format!("{} is damaged", path.display())).because(cause))
}

/// Reads objects that are proved deleted, or were not found where they were looked for.
fn read_gone(path: &Path) -> Result<Vec<(Guid, Collection)>> {
    let mut gone = Vec::new();
    if path.is_file() {
        each_line(path, |text| {
            let line: GoneLine<'_> = serde_json::from_str(text).map_err(|cause| cause.to_string())?;
            let mut objects = Collection::ALL.into_iter().filter(|of| of.form() == Form::Objects);
            let collection = objects.find(|of| type_name(*of) == line.r#type);
            gone.push((line.id, collection.ok_or_else(|| format!("there are no objects of type {:?}", line.r#type))?));
            Ok(())
        })?;
    }
    gone.sort_unstable();
    gone.dedup();
    Ok(gone)
}

/// Calls `take` with every line, without its line feed; an error of `take` gets file and line number.
fn each_line(path: &Path, mut take: impl FnMut(&str) -> Result<(), String>) -> Result<()> {
    let file = File::open(path).failing(|| format!("cannot open {}", path.display()))?;
    let mut file = BufReader::with_capacity(1 << 18, file);
    let mut line = Vec::new();
    for number in 1_u64.. {
        line.clear();
        let damaged = |cause: String| {
            Error::failed(format!("{}, line {number}, is damaged", path.display()))
                .cause(cause)
                .hint("Extract again; a snapshot is not meant to be edited.")
        };
        let read = file.read_until(b'\n', &mut line).failing(|| format!("cannot read {}", path.display()))?;
        if read == 0 {
            break;
        }
        if line.pop() != Some(b'\n') {
            return Err(damaged("the file ends in the middle of the line".into()));
        }
        if line.len() > LINE_BYTES_MAX {
            return Err(damaged(format!("the line is longer than {LINE_BYTES_MAX} bytes")));
        }
        let text = std::str::from_utf8(&line).map_err(|cause| damaged(cause.to_string()))?;
        take(text).map_err(damaged)?;
    }
    Ok(())
}

fn check_count(path: &Path, found: usize, extent: &Extent) -> Result<()> {
    if found as u64 == extent.count {
        return Ok(());
    }
    Err(Error::failed(format!("{} is damaged", path.display()))
        .cause(format!("it holds {found} different ids, the manifest says {}", extent.count))
        .hint("Extract again; a snapshot is not meant to be edited."))
}

fn read_exact_at(file: &File, buffer: &mut [u8], offset: u64) -> std::io::Result<()> {
    std::os::unix::fs::FileExt::read_exact_at(file, buffer, offset)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::snapshot::Writer;
    use tempfile::TempDir;

    fn guid(byte: u8) -> Guid {
        Guid([byte; 16])
    }

    fn user(byte: u8, name: &str) -> String {
        format!("{{\n  \"id\": \"{}\",\n  \"displayName\": \"{name}\"\n}}", guid(byte))
    }

    fn sealed(root: &TempDir, fill: impl FnOnce(&Writer)) -> PathBuf {
        let writer = Writer::create(&root.path().join("a").join("snap")).unwrap();
        fill(&writer);
        let mut manifest = Manifest::new("contoso.com", "2026-11-22T03:00:00Z".parse().unwrap());
        for collection in [Collection::Users, Collection::Licenses, Collection::Memberships] {
            manifest.collections.insert(collection, Extent::new(Coverage::Complete));
        }
        manifest.collections.insert(Collection::Groups, Extent::new(Coverage::partial("page 2 did not arrive")));
        writer.seal(manifest).unwrap()
    }

    fn filled(writer: &Writer) {
        writer.object(Collection::Users, guid(9), &user(9, "old")).unwrap();
        writer.object(Collection::Users, guid(2), &user(2, "two")).unwrap();
        writer.object(Collection::Users, guid(9), &user(9, "new")).unwrap();
        let sku = format!(r#"{{"id":"tenant_sku","skuId":"{}"}}"#, guid(7));
        writer.object(Collection::Licenses, guid(7), &sku).unwrap();
        let member = |byte, kind| Member { id: guid(byte), kind };
        writer.members(guid(5), &[member(9, MemberKind::User), member(2, MemberKind::Group)], None).unwrap();
        writer.members(guid(4), &[], Some(&Unknown::new("hidden"))).unwrap();
        writer.deleted(Collection::Users, guid(30), None).unwrap();
        writer.absent(Collection::Groups, guid(31)).unwrap();
    }

    #[test]
    fn what_was_written_reads_back_in_id_order() {
        let root = tempfile::tempdir().unwrap();
        let snapshot = Snapshot::open(&sealed(&root, filled)).unwrap();
        let users = snapshot.objects(Collection::Users);
        assert_eq!((users.len(), users.duplicates()), (2, 1));
        let mut walk = users.iter();
        assert_eq!(walk.next().unwrap().unwrap().0, guid(2));
        let (id, line) = walk.next().unwrap().unwrap();
        assert_eq!(id, guid(9));
        assert_eq!(line, format!(r#"{{"id":"{}","displayName":"new"}}"#, guid(9)));
        assert!(walk.next().unwrap().is_none());
        assert_eq!(users.get(guid(1)).unwrap(), None);
        assert!(snapshot.objects(Collection::Licenses).contains(guid(7)));
        assert!(snapshot.deleted(guid(30)) && !snapshot.deleted(guid(31)));
        assert!(snapshot.absent(Collection::Groups, guid(31)) && !snapshot.absent(Collection::Users, guid(31)));
        assert_eq!(snapshot.manifest().collections[&Collection::Users].count, 2);
    }

    #[test]
    fn member_lists_are_sorted_and_know_their_gaps() {
        let root = tempfile::tempdir().unwrap();
        let members = Snapshot::open(&sealed(&root, filled)).unwrap().members().unwrap();
        assert_eq!(members.groups(), [guid(4), guid(5)]);
        assert_eq!(members.of(guid(5)).unwrap()[0], Member { id: guid(2), kind: MemberKind::Group });
        assert_eq!(members.of(guid(4)), Some(&[][..]));
        assert_eq!(members.gap(guid(4)), Some(&Unknown::new("hidden")));
        assert_eq!(members.of(guid(6)), None);
        assert_eq!(members.iter().map(|(_, row)| row.len()).collect::<Vec<_>>(), [0, 2]);
    }

    #[test]
    fn coverage_of_what_has_no_file_follows_what_it_comes_from() {
        let root = tempfile::tempdir().unwrap();
        let snapshot = Snapshot::open(&sealed(&root, filled)).unwrap();
        assert!(snapshot.coverage(Collection::Nestings).is_complete());
        assert!(!snapshot.coverage(Collection::LicenseAssignments).is_complete());
        assert!(!snapshot.coverage(Collection::Devices).is_complete());
        assert_eq!(snapshot.coverage(Collection::Groups), Coverage::partial("page 2 did not arrive"));
    }

    #[test]
    fn an_amended_snapshot_holds_the_old_and_the_new() {
        let root = tempfile::tempdir().unwrap();
        let first = Snapshot::open(&sealed(&root, filled)).unwrap();
        let writer = Writer::amend(&first).unwrap();
        writer.object(Collection::Users, guid(3), &user(3, "found")).unwrap();
        let dir = writer.seal(first.manifest().clone()).unwrap();
        let second = Snapshot::open(&dir).unwrap();
        assert_eq!(second.objects(Collection::Users).ids().collect::<Vec<_>>(), [guid(2), guid(3), guid(9)]);
        assert_eq!(second.members().unwrap().len(), 2);
        assert_eq!(second.manifest().collections[&Collection::Memberships].partial_lists, 1);
        assert!(second.deleted(guid(30)));
        assert_eq!(std::fs::read_dir(dir.parent().unwrap()).unwrap().count(), 1, "nothing left beside it");
    }

    #[test]
    fn a_restarted_collection_holds_nothing_of_the_first_try() {
        let root = tempfile::tempdir().unwrap();
        let dir = sealed(&root, |writer| {
            writer.object(Collection::Users, guid(1), &user(1, "before")).unwrap();
            writer.restart(Collection::Users).unwrap();
            writer.object(Collection::Users, guid(2), &user(2, "after")).unwrap();
        });
        let users: Vec<Guid> = Snapshot::open(&dir).unwrap().objects(Collection::Users).ids().collect();
        assert_eq!(users, [guid(2)]);
    }

    #[test]
    fn damage_is_named_with_file_and_line() {
        let root = tempfile::tempdir().unwrap();
        let dir = sealed(&root, filled);
        let path = dir.join("users.jsonl");
        let whole = std::fs::read_to_string(&path).unwrap();
        let check = |text: &str, expected: &str| {
            std::fs::write(&path, text).unwrap();
            let error = Snapshot::open(&dir).unwrap_err().to_string();
            assert!(error.contains("users.jsonl") && error.contains(expected), "{error}");
        };
        check(&whole[..whole.len() - 3], "line 3");
        check(&whole.replacen("\"id\"", "\"no\"", 2), "line 1");
        check(&whole.replacen('{', "(", 1), "line 1");
        check(whole.lines().next_back().map(|line| format!("{line}\n")).unwrap().as_str(), "the manifest says 2");
    }

    #[test]
    fn a_folder_without_a_manifest_is_not_a_snapshot() {
        let root = tempfile::tempdir().unwrap();
        assert_eq!(Snapshot::open(root.path()).unwrap_err().exit, crate::error::Exit::Usage);
    }
}
