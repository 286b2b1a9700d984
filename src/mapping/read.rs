//! From a mapping file, and what a job lays over it, to a compiled [`Mapping`].
//!
//! Hides the short forms (a text is `{ value = … }`), how an override merges with what is there, and every check that
//! can be made before anything is contacted. Deliberately reads no file but the one it is given and what that includes.

use std::path::Path;
use std::sync::Arc;

use super::{
    Attribute, AttributeValue, Distinct, Each, Find, KeyRule, Mapping, MaxLength, Missing, Slot, SlotKind, cases,
    datum, parts, removal, shipped,
};
use crate::custom;
use crate::diagnostic::{Diagnostic, Place, Problems, SourceFile, did_you_mean};
use crate::distinct;
use crate::error::Result;
use crate::expr::{self, Catalog, Expr};
use crate::plan::change::FindIn;
use crate::plan::policy::{Empty, Recreate, Removal, Side, Write};
use crate::record::{Collection, Form};
use crate::schema::{self, Type};
use crate::tables;
use crate::tree::{Entry, Fields, Kind, Node, Table};

/// The format this program reads.
pub(super) const FORMAT: &str = "mapping/1";

/// Where the keys of a mapping file belong, for those that TOML put into another table.
pub(super) const HOMES: [(&str, &str); 16] = [
    ("format", ABOVE),
    ("name", ABOVE),
    ("version", ABOVE),
    ("include", ABOVE),
    ("source", ABOVE),
    ("each", ABOVE),
    ("tables", ABOVE),
    ("target", ABOVE),
    ("key", ABOVE),
    ("adopt", ABOVE),
    ("removal", ABOVE),
    ("recreate", ABOVE),
    ("protect", ABOVE),
    ("empty", ABOVE),
    ("on_adopt", ABOVE),
    ("on_conflict", ABOVE),
];
const ABOVE: &str = "to the mapping itself: write it above `[attributes]`";

const WRITES: [(&str, Write); 4] = [
    ("always", Write::Always),
    ("unless-edited", Write::UnlessEdited),
    ("if-empty", Write::IfEmpty),
    ("on-create", Write::OnCreate),
];
const EMPTIES: [(&str, Empty); 2] = [("keep", Empty::Keep), ("clear", Empty::Clear)];
const SIDES: [(&str, Side); 2] = [("source", Side::Source), ("target", Side::Target)];

/// A mapping as it is written, with a job's overrides laid over it, and nothing compiled.
pub struct Draft {
    table: Table,
    /// The start of the mapping file, for what is missing in it.
    place: Place,
    origin: String,
}

/// A compiled mapping, and the places that checks across mappings point at.
pub struct Compiled {
    pub mapping: Mapping,
    pub name_place: Place,
    pub target_place: Place,
    /// The mapping names that attributes refer to.
    pub references: Vec<(String, Place)>,
}

impl Draft {
    /// Parses a mapping file and the parts it includes.
    pub fn parse(file: &Arc<SourceFile>, problems: &mut Problems) -> Option<Draft> {
        let table = parts::whole(file, problems)?;
        Some(Draft { table, place: Place { file: file.clone(), range: 0..0 }, origin: file.name.clone() })
    }

    /// Lays an entry `[[mapping]]` of a job over the file. The file's own tests are left behind: they say what the file
    /// means, not what a job makes of it.
    pub fn overlay(&mut self, over: &Table, problems: &mut Problems) {
        self.table.remove("test");
        let mut over = over.clone();
        over.remove("use");
        lay_over(&mut self.table, over, problems);
    }

    /// Checks and compiles it. `common` is the removal ladder of the job.
    pub fn compile(&self, common: &Removal, catalog: &mut Catalog, problems: &mut Problems) -> Option<Compiled> {
        let outside = catalog.tables().clone();
        let compiled = self.compile_with_tables(common, catalog, problems);
        catalog.set_tables(outside);
        compiled
    }

    /// [`Draft::compile`], with the mapping's own tables left in the catalog.
    fn compile_with_tables(
        &self,
        common: &Removal,
        catalog: &mut Catalog,
        problems: &mut Problems,
    ) -> Option<Compiled> {
        let mut fields = Fields::new(&self.table, &self.place, format!("the mapping {}", self.origin));
        fields.get("format");
        if let Some(node) = fields.get("version") {
            node.int(1..=i64::from(u32::MAX), problems);
        }
        let name = fields.require("name", "name = \"user\"", problems);
        let name_text = name.and_then(|node| plain_name(node, problems));
        if let Some(node) = fields.get("collection") {
            custom::read_own(node, catalog, problems);
        }
        if let Some(node) = fields.get("tables") {
            tables::read(node, catalog, problems);
        }
        let source = fields.require("source", "source = \"users\"", problems);
        let (source, mut distinct) = source.map_or((None, None), |node| self::source(node, catalog, problems));
        let values = distinct.is_some();
        let each = fields.get("each").map(|node| each(node, source, values, catalog, problems));
        let target = fields.require("target", "target = \"Users\"", problems);
        let target_text = target.and_then(|node| filled(node, problems)).map(str::to_string);
        let key = fields.require("key", "key = \"Entra ID\"", problems);
        let adopt = fields.get("adopt");
        let removal = ladder(fields.get("removal"), values, common, problems);
        let recreate = fields.get("recreate").and_then(|node| recreate(node, problems)).unwrap_or_default();
        let protect = fields.get("protect").and_then(|node| protect(node, problems));
        let sides = Sides::read(&mut fields, Sides::default(), problems);
        let empty = fields.get("empty").and_then(|node| node.word(&EMPTIES, problems));
        let attributes = fields.require("attributes", "[attributes]\n\"Name\" = \"displayName\"", problems);
        let tests = fields.get("test");
        fields.finish(&[("value", "to an attribute"), ("use", "to a [[mapping]] of a job file")], problems);

        // Keys alone may be wanted of a collection, even where every attribute is constant.
        source.into_iter().for_each(|source| catalog.require_collection(source));
        let over = match &each {
            _ if values => Over::Values,
            Some(each) => Over::Items(each.as_ref().map_or(Type::ANY, |each| Type::one(each.of.ty().kind))),
            None => Over::Records,
        };
        let mut reader = AttributeReader { source, over, sides, empty, catalog, references: Vec::new() };
        let attributes = reader.all(attributes?, problems);
        let references = reader.references;
        if let Some(distinct) = &mut distinct {
            distinct.joins = attributes.iter().any(reads_records);
        }
        let tests = tests
            .map(|node| cases::read(node, &attributes, matches!(over, Over::Items(_)), problems))
            .unwrap_or_default();
        let key = key.and_then(|node| key_rule(node, &attributes, problems));
        let adopt = adopt.map(|node| positions(node, &attributes, problems)).unwrap_or_default();
        let mapping = Mapping {
            name: name_text?,
            source: source?,
            distinct,
            each: transposed(each)?,
            target: target_text?,
            key: key?,
            adopt,
            attributes,
            removal,
            recreate,
            protect,
            tests,
            origin: self.origin.clone(),
        };
        Some(Compiled { mapping, name_place: name?.place.clone(), target_place: target?.place.clone(), references })
    }
}

/// The removal ladder of a mapping; `values` says that it is over distinct values.
fn ladder(node: Option<&Node>, values: bool, common: &Removal, problems: &mut Problems) -> Removal {
    match node {
        Some(node) if values => {
            let help = "a text that nobody has any more proves nothing about what it named: such rows are listed";
            problems.add_with_help(&node.place, "records of distinct values are never removed", help);
            Removal::default()
        }
        Some(node) => removal::read(node, problems),
        // The job's common ladder is for records of Entra.
        None if values => Removal::default(),
        None => common.clone(),
    }
}

/// Whether it is made of the records that have a distinct value.
fn reads_records(attribute: &Attribute) -> bool {
    match &attribute.value {
        AttributeValue::Expr(expr) => expr.reads(distinct::RECORDS),
        AttributeValue::Const(_) => false,
    }
}

/// Reads and compiles one mapping by itself, for its own tests: a path, or the address of a shipped mapping. That a
/// reference names a mapping can only be checked in a job.
pub fn test_file(which: &str, colour: bool) -> Result<(Mapping, Catalog)> {
    let mut problems = Problems::default();
    let mut catalog = Catalog::default();
    let file = match shipped::find(which) {
        Some(file) => file,
        None => SourceFile::read(Path::new(which))?,
    };
    let compiled = Draft::parse(&file, &mut problems)
        .and_then(|draft| draft.compile(&Removal::default(), &mut catalog, &mut problems));
    problems.into_result(&format!("the mapping {which}"), colour)?;
    // Without a problem there is a mapping: every way to none notes one.
    let compiled = compiled.expect("a mapping without mistakes compiles");
    Ok((compiled.mapping, catalog))
}

/// Whether a file is of the format its reader expects.
pub(crate) fn check_format(table: &Table, place: &Place, format: &str, problems: &mut Problems) -> bool {
    let help = format!("write `format = \"{format}\"` in the first line");
    match table.get("format") {
        None => problems.add_with_help(place, "`format` is missing", help),
        Some(node) => match node.text(problems) {
            Some(text) if text == format => return true,
            Some(text) => {
                problems.add_with_help(&node.place, format!("this is a `{text}` file, expected `{format}`"), help);
            }
            None => {}
        },
    }
    false
}

/// Compiles the value expression that a TOML text holds; a mistake in it is shown inside the text. `item` is the type
/// of `$this`, where the expression is about one element of a list.
fn expression(
    node: &Node,
    source: Collection,
    item: Option<Type>,
    catalog: &mut Catalog,
    problems: &mut Problems,
) -> Option<Expr> {
    let text = node.text(problems)?;
    let compiled = match item {
        Some(item) => expr::compile_item(text, Some(source), item, catalog),
        None => expr::compile(text, Some(source), catalog),
    };
    match compiled {
        Ok(expr) if matches!(expr.ty().kind, schema::Kind::Record(_) | schema::Kind::Complex(_)) => {
            let message = format!("this is {}, which is not a value to write", expr.ty());
            problems.add_with_help(
                &node.inside(0..text.len()),
                message,
                "go on to one of its properties: manager/displayName",
            );
            None
        }
        Ok(expr) => Some(expr),
        Err(error) => {
            problems.push(syntax_error(node, error));
            None
        }
    }
}

/// A mistake inside an expression, at its place in the file.
pub(crate) fn syntax_error(node: &Node, error: expr::SyntaxError) -> Diagnostic {
    Diagnostic { place: node.inside(error.span), message: error.message, help: error.help }
}

/// Lays one table of a mapping over another: attributes and tables merge one by one, everything else replaces.
pub(super) fn lay_over(under: &mut Table, over: Table, problems: &mut Problems) {
    for entry in over.entries {
        let Entry { key, key_place, value } = entry;
        let Node { place, kind } = value;
        match (key.as_str(), kind) {
            ("attributes", Kind::Table(written)) => {
                if !under.get("attributes").is_some_and(|node| matches!(node.kind, Kind::Table(_))) {
                    let empty = Node { place, kind: Kind::Table(Table::default()) };
                    under.set(Entry { key, key_place, value: empty });
                }
                let found = under.entries.iter_mut().find(|entry| entry.key == "attributes");
                if let Some(Entry { value: Node { kind: Kind::Table(attributes), .. }, .. }) = found {
                    overlay_attributes(attributes, written, problems);
                }
            }
            ("tables", Kind::Table(written)) => {
                let mut tables = Table::default();
                if let Some(Entry { value: Node { kind: Kind::Table(known), .. }, .. }) = under.remove("tables") {
                    tables = known;
                }
                written.entries.into_iter().for_each(|entry| tables.set(entry));
                under.set(Entry { key, key_place, value: Node { place, kind: Kind::Table(tables) } });
            }
            (_, kind) => under.set(Entry { key, key_place, value: Node { place, kind } }),
        }
    }
}

/// Lays attributes over others. `false` takes one away; a text is `{ value = … }`.
fn overlay_attributes(under: &mut Table, over: Table, problems: &mut Problems) {
    for mut entry in over.entries {
        if is_misplaced(&entry, problems) {
            continue;
        }
        if matches!(entry.value.kind, Kind::Bool(false)) {
            if under.remove(&entry.key).is_none() {
                let known: Vec<_> = under.entries.iter().map(|entry| entry.key.as_str()).collect();
                let help = did_you_mean(&entry.key, &known, "attributes of this mapping");
                let message = format!("there is no attribute \"{}\" to leave out", entry.key);
                problems.add_with_help(&entry.key_place, message, help);
            }
            continue;
        }
        let Some(long) = long_form(entry.value, problems) else { continue };
        entry.value = long;
        match under.entries.iter_mut().find(|other| other.key == entry.key) {
            Some(Entry { value: Node { kind: Kind::Table(there), .. }, .. }) => {
                if let Kind::Table(written) = entry.value.kind {
                    // One of them says where the value comes from; the newer word counts.
                    for (said, silenced) in [("value", "const"), ("const", "value")] {
                        if written.get(said).is_some() {
                            there.remove(silenced);
                        }
                    }
                    there.merge(written);
                }
            }
            _ => under.entries.push(entry),
        }
    }
}

/// A key of the mapping written below `[attributes]`: TOML takes it for an attribute. Whoever wants an attribute of
/// that name writes it in quotes.
fn is_misplaced(entry: &Entry, problems: &mut Problems) -> bool {
    let bare = !entry.key_place.raw().starts_with(['"', '\'']);
    let Some((key, home)) = HOMES.iter().find(|(key, _)| bare && *key == entry.key) else { return false };
    let message = format!("`{key}` stands in `[attributes]`, so TOML takes it for an attribute");
    problems.add_with_help(
        &entry.key_place,
        message,
        format!("it belongs {home}; an attribute of that name is written in quotes: \"{key}\""),
    );
    true
}

/// `"expr"` as `{ value = "expr" }`.
fn long_form(node: Node, problems: &mut Problems) -> Option<Node> {
    match node.kind {
        Kind::Table(_) => Some(node),
        Kind::Text(_) => {
            let place = node.place.clone();
            let entry = Entry { key: "value".into(), key_place: place.clone(), value: node };
            Some(Node { place, kind: Kind::Table(Table { entries: vec![entry] }) })
        }
        _ => {
            problems.add_with_help(
                &node.place,
                format!("an attribute cannot be {}", node.kind.what()),
                "write an expression in quotes (\"displayName\"), a fixed value ({ const = \"Entra ID\" }), \
                 or a table ({ value = \"department\", write = \"if-empty\" })",
            );
            None
        }
    }
}

/// Whose value stands at adoption and in a conflict.
#[derive(Clone, Copy, Default)]
struct Sides {
    on_adopt: Side,
    on_conflict: Side,
}

impl Sides {
    fn read(fields: &mut Fields<'_>, default: Sides, problems: &mut Problems) -> Sides {
        let mut side = |key, default| fields.get(key).and_then(|node| node.word(&SIDES, problems)).unwrap_or(default);
        Sides { on_adopt: side("on_adopt", default.on_adopt), on_conflict: side("on_conflict", default.on_conflict) }
    }
}

/// What the expressions of a mapping are about.
#[derive(Clone, Copy)]
enum Over {
    Records,
    /// One distinct value.
    Values,
    /// A record and one element of its list, of that type.
    Items(Type),
}

/// Reads `[attributes]`.
struct AttributeReader<'c> {
    /// `None` when the mapping's source is wrong: then expressions cannot be checked.
    source: Option<Collection>,
    over: Over,
    /// What the mapping says for all attributes.
    sides: Sides,
    empty: Option<Empty>,
    catalog: &'c mut Catalog,
    references: Vec<(String, Place)>,
}

impl AttributeReader<'_> {
    fn all(&mut self, node: &Node, problems: &mut Problems) -> Vec<Attribute> {
        let Some(table) = node.table(problems) else { return Vec::new() };
        if table.entries.is_empty() {
            problems.add_with_help(&node.place, "the mapping has no attributes", "write `\"Name\" = \"displayName\"`");
        }
        table.entries.iter().filter_map(|entry| self.one(entry, problems)).collect()
    }

    fn one(&mut self, entry: &Entry, problems: &mut Problems) -> Option<Attribute> {
        let place = &entry.value.place;
        let mut fields = Fields::new(entry.value.table(problems)?, place, format!("the attribute \"{}\"", entry.key));
        let value = fields.get("value");
        let constant = fields.get("const");
        let write = fields.get("write").and_then(|node| node.word(&WRITES, problems)).unwrap_or_default();
        let empty = fields.get("empty").and_then(|node| node.word(&EMPTIES, problems)).or(self.empty);
        let sides = Sides::read(&mut fields, self.sides, problems);
        let reference = fields.get("ref").and_then(|node| Some((node.text(problems)?.to_string(), node.place.clone())));
        let mut flag = |key| fields.get(key).and_then(|node| node.bool(problems)).unwrap_or(false);
        let (required, private) = (flag("required"), flag("private"));
        let max_length = max_length(&mut fields, problems);
        let find = fields.get("find").and_then(|node| find(node, reference.is_some(), problems));
        let slot = slot(&mut fields, problems);
        let separator = fields.get("separator");
        let refers = reference.is_some() || find.is_some();
        fields.finish(&HOMES, problems);
        let (value, many) = self.value(value, constant, entry, problems)?;
        let joined = many && matches!(value, AttributeValue::Expr(_)) && !refers;
        let separator = separator.map(|node| self::separator(node, joined, problems).map(str::to_string));
        // Filling only what is empty and clearing contradict each other, so `if-empty` keeps unless told otherwise.
        let empty = empty.unwrap_or(if write == Write::IfEmpty { Empty::Keep } else { Empty::Clear });
        self.references.extend(reference.clone());
        Some(Attribute {
            name: entry.key.clone(),
            value,
            write,
            empty,
            on_adopt: sides.on_adopt,
            on_conflict: sides.on_conflict,
            reference: reference.map(|(name, _)| name),
            many: many && separator.is_none(),
            separator: transposed(separator)?,
            required,
            private,
            max_length,
            find,
            slot,
        })
    }

    fn value(
        &mut self,
        value: Option<&Node>,
        constant: Option<&Node>,
        entry: &Entry,
        problems: &mut Problems,
    ) -> Option<(AttributeValue, bool)> {
        if entry.key.trim().is_empty() {
            problems.add(&entry.key_place, "an attribute needs a name");
            return None;
        }
        match (value, constant) {
            (Some(node), None) => {
                let expr = match self.over {
                    Over::Values => over_value(node, self.source?, self.catalog, problems)?,
                    Over::Records => expression(node, self.source?, None, self.catalog, problems)?,
                    Over::Items(item) => expression(node, self.source?, Some(item), self.catalog, problems)?,
                };
                let many = expr.ty().many;
                Some((AttributeValue::Expr(expr), many))
            }
            (None, Some(node)) => {
                let value = datum(node);
                if value.is_none() {
                    problems
                        .add(&node.place, "a fixed value is a text, a number, true, false, a date, or a list of these");
                }
                Some((AttributeValue::Const(value?), matches!(node.kind, Kind::List(_))))
            }
            _ => {
                problems.add_with_help(
                    &entry.key_place,
                    format!("the attribute \"{}\" needs one of `value` and `const`", entry.key),
                    "write { value = \"department\" } or { const = \"Entra ID\" }",
                );
                None
            }
        }
    }
}

/// A key that is absent is fine, one that is there and wrong is not.
fn transposed<T>(value: Option<Option<T>>) -> Option<Option<T>> {
    match value {
        None => Some(None),
        Some(inner) => inner.map(Some),
    }
}

/// Reads `separator`; `joined` says that there are values to stand between.
fn separator<'n>(node: &'n Node, joined: bool, problems: &mut Problems) -> Option<&'n str> {
    let text = filled(node, problems)?;
    if !joined {
        let help = "it makes one text of the values of a list; references and single values have nothing to separate";
        problems.add_with_help(&node.place, "`separator` needs an expression that yields a list", help);
        return None;
    }
    Some(text)
}

/// Reads `max_length` and `too_long`.
fn max_length(fields: &mut Fields<'_>, problems: &mut Problems) -> Option<MaxLength> {
    let most = fields.get("max_length");
    let too_long = fields.get("too_long");
    if let (None, Some(node)) = (most, too_long) {
        problems.add_with_help(&node.place, "`too_long` says nothing without `max_length`", "write `max_length = 255`");
    }
    if let (Some(node), true) = (most, ["ref", "find"].map(|key| fields.get(key).is_some()).contains(&true)) {
        let help = "a reference is an id: give the length limit to the attribute that is referred to";
        problems.add_with_help(&node.place, "a reference cannot be cut", help);
    }
    let characters = most?.int(1..=i64::from(u32::MAX), problems)?;
    let reject = too_long.and_then(|node| node.word(&[("cut", false), ("reject", true)], problems)).unwrap_or(false);
    Some(MaxLength { characters: usize::try_from(characters).ok()?, reject })
}

/// Reads `type` and `options`.
fn slot(fields: &mut Fields<'_>, problems: &mut Problems) -> Option<Slot> {
    let (kind, options) = (fields.get("type"), fields.get("options"));
    let word = kind.and_then(|node| node.word(&SlotKind::WORDS, problems));
    let chosen = matches!(word, Some(SlotKind::Select | SlotKind::Status));
    if let (Some(node), false) = (options, chosen) {
        problems.add_with_help(&node.place, "`options` are of a select or a status", "write `type = \"select\"`");
    }
    if let (Some(node), Some(SlotKind::Select), None) = (kind, word, options) {
        let help = "write `options = [\"Member\", \"Guest\"]`: it holds nothing else";
        problems.add_with_help(&node.place, "a select needs `options`", help);
    }
    let options: Vec<String> = options.and_then(|node| node.texts(problems)).unwrap_or_default();
    Some(Slot { kind: word?, options })
}

fn plain_name(node: &Node, problems: &mut Problems) -> Option<String> {
    let text = filled(node, problems)?;
    if text.chars().all(|c| c.is_alphanumeric() || matches!(c, '-' | '_' | ' ')) {
        return Some(text.to_string());
    }
    problems.add(&node.place, "a mapping's name holds letters, digits, blanks, `-` and `_` only");
    None
}

/// A text with something in it.
fn filled<'n>(node: &'n Node, problems: &mut Problems) -> Option<&'n str> {
    let text = node.text(problems)?;
    if text.is_empty() {
        problems.add(&node.place, "the text is empty");
        return None;
    }
    Some(text)
}

/// Reads `source`: a collection, or the distinct values of an attribute of one.
fn source(node: &Node, catalog: &mut Catalog, problems: &mut Problems) -> (Option<Collection>, Option<Distinct>) {
    let Kind::Table(table) = &node.kind else { return (collection(node, catalog, problems), None) };
    let mut fields = Fields::new(table, &node.place, "`source`");
    let value = fields.require("distinct", "{ distinct = \"department\", of = \"users\" }", problems);
    let of = fields.require("of", "{ distinct = \"department\", of = \"users\" }", problems);
    fields.finish(&HOMES, problems);
    let found = of.and_then(|node| collection(node, catalog, problems));
    if let (Some(collection), Some(node)) = (found, of)
        && collection.form() != Form::Objects
    {
        let help = "take the attribute of the objects themselves: users, groups, devices, licenses";
        problems.add_with_help(&node.place, format!("{collection} are links, and links have no values"), help);
        return (None, None);
    }
    let value = value.zip(found).and_then(|(node, of)| expression(node, of, None, catalog, problems));
    (found, value.map(|value| Distinct { value, joins: false }))
}

/// Reads `each`: a list, or a list and what tells its elements apart.
fn each(
    node: &Node,
    source: Option<Collection>,
    values: bool,
    catalog: &mut Catalog,
    problems: &mut Problems,
) -> Option<Each> {
    let (of, by) = match &node.kind {
        Kind::Table(table) => {
            let mut fields = Fields::new(table, &node.place, "`each`");
            let example = "{ of = \"assignedLicenses\", by = \"$this/skuId\" }";
            let of = fields.require("of", example, problems);
            let by = fields.get("by");
            fields.finish(&HOMES, problems);
            (of?, by)
        }
        _ => (node, None),
    };
    let source = source?;
    if values || source.form() != Form::Objects {
        let help = "it splits the records of users, groups, devices or another list of objects that has ids";
        problems.add_with_help(&node.place, "`each` cannot split these records", help);
        return None;
    }
    let text = of.text(problems)?;
    let list = match expr::compile(text, Some(source), catalog) {
        Ok(list) => list,
        Err(error) => {
            problems.push(syntax_error(of, error));
            return None;
        }
    };
    let ty = list.ty();
    if !ty.many && ty.kind != schema::Kind::Any {
        let help = "one row for each record is what a mapping without `each` makes";
        problems.add_with_help(&of.inside(0..text.len()), format!("`each` needs a list, this is {ty}"), help);
        return None;
    }
    if by.is_none() && matches!(ty.kind, schema::Kind::Complex(_)) {
        let help = format!("write {{ of = \"{text}\", by = \"$this/…\" }}: a key must stay the same from run to run");
        problems.add_with_help(&of.inside(0..text.len()), "it must be said what tells these elements apart", help);
        return None;
    }
    let by = by.map(|node| {
        let by = expression(node, source, Some(Type::one(ty.kind)), catalog, problems)?;
        if by.ty().many {
            problems.add(&node.place, "an element is told apart by one value, not by a list");
            return None;
        }
        Some(by)
    });
    Some(Each { of: list, by: transposed(by)? })
}

/// Compiles an expression over a distinct value, which is called `value`, and the `records` of `of` that have it.
fn over_value(node: &Node, of: Collection, catalog: &mut Catalog, problems: &mut Problems) -> Option<Expr> {
    let text = node.text(problems)?;
    let expr = match expr::compile_group(text, distinct::RECORDS, of, catalog) {
        Ok(expr) if matches!(expr.ty().kind, schema::Kind::Record(_) | schema::Kind::Complex(_)) => {
            let message = format!("this is {}, which is not a value to write", expr.ty());
            let help = "go on to a property: records/displayName, or records/$count";
            problems.add_with_help(&node.inside(0..text.len()), message, help);
            return None;
        }
        Ok(expr) => expr,
        Err(error) => {
            problems.push(syntax_error(node, error));
            return None;
        }
    };
    if let Some(name) = expr.names().iter().find(|name| ***name != *distinct::NAME) {
        let message = format!("there is no `{name}` here: the mapping is over distinct values");
        let help =
            "the value itself is called `value`, and the list of those that have it `records`: records/displayName";
        problems.add_with_help(&node.inside(0..text.len()), message, help);
        return None;
    }
    Some(expr)
}

/// Reads `find = { type, by, take, missing }`.
fn find(node: &Node, has_ref: bool, problems: &mut Problems) -> Option<Find> {
    let mut fields = Fields::new(node.table(problems)?, &node.place, "`find`");
    let example = "{ type = \"locations\", by = \"Name\" }";
    let mut text = |key, problems: &mut Problems| {
        let found = fields.require(key, example, problems);
        found.and_then(|node| filled(node, problems)).map(str::to_string)
    };
    let (ty, by) = (text("type", problems), text("by", problems));
    let take = fields.get("take").map(|node| filled(node, problems).map(str::to_string));
    let missing = fields.get("missing").map(|node| missing(node, problems));
    fields.finish(&HOMES, problems);
    if has_ref {
        let help = "`ref` is for records that a mapping of the job makes, `find` for all others";
        problems.add_with_help(&node.place, "an attribute has `ref` or `find`, not both", help);
        return None;
    }
    let among = FindIn { ty: ty?, by: by?, take: transposed(take)? };
    Some(Find { among, missing: missing.unwrap_or(Some(Missing::Report))? })
}

fn missing(node: &Node, problems: &mut Problems) -> Option<Missing> {
    if matches!(&node.kind, Kind::Text(text) if text == "create") {
        let help = "a mapping with `source = { distinct = …, of = … }` makes such records; refer to it with `ref`";
        problems.add_with_help(&node.place, "`find` creates nothing: what it finds is not the job's", help);
        return None;
    }
    node.word(&[("report", Missing::Report), ("empty", Missing::Empty)], problems)
}

fn collection(node: &Node, catalog: &Catalog, problems: &mut Problems) -> Option<Collection> {
    let text = node.text(problems)?;
    let found = catalog.named(text);
    if found.is_none() {
        let known: Vec<&str> = catalog.collections().map(Collection::name).collect();
        let help = did_you_mean(text, &known, "collections");
        problems.add_with_help(&node.place, format!("there is no collection `{text}`"), help);
    }
    found
}

fn recreate(node: &Node, problems: &mut Problems) -> Option<Recreate> {
    match node.kind {
        Kind::Bool(true) => Some(Recreate::Create),
        _ => node.word(&[("report", Recreate::Report)], problems),
    }
}

/// An expression over the target's values: its names are the target's, so only its form can be checked here.
fn protect(node: &Node, problems: &mut Problems) -> Option<String> {
    let text = filled(node, problems)?;
    if let Err(error) = expr::compile_filter(text, None, &mut Catalog::new()) {
        problems.push(syntax_error(node, error));
        return None;
    }
    Some(text.to_string())
}

fn key_rule(node: &Node, attributes: &[Attribute], problems: &mut Problems) -> Option<KeyRule> {
    if let Kind::Table(table) = &node.kind {
        let mut fields = Fields::new(table, &node.place, "`key`");
        let ledger = fields.get("ledger").and_then(|node| node.bool(problems));
        fields.finish(&HOMES, problems);
        if ledger != Some(true) {
            let help = "write `key = \"Entra ID\"`, or `key = { ledger = true }` where the target has no field for it";
            problems.add_with_help(&node.place, "this names no key", help);
            return None;
        }
        return Some(KeyRule::Ledger);
    }
    let key = positions(node, attributes, problems);
    for index in &key {
        let attribute = &attributes[*index];
        let (cut, name) = (attribute.max_length.is_some_and(|most| !most.reject), &attribute.name);
        if cut {
            let help = "two keys that are cut may become one: write too_long = \"reject\" beside its max_length";
            problems.add_with_help(&node.place, format!("\"{name}\" is a key and may be cut"), help);
        }
        if attribute.private {
            let help = "plans name records by their keys; leave `private` away, or take another key";
            problems.add_with_help(&node.place, format!("\"{name}\" is a key and cannot be private"), help);
        }
        if attribute.many || attribute.separator.is_some() || matches!(attribute.value, AttributeValue::Const(_)) {
            let message = format!("\"{}\" cannot be a key", attribute.name);
            let help = "a key has exactly one value for each record, and another one for every record";
            problems.add_with_help(&node.place, message, help);
        }
    }
    if key.is_empty() && matches!(&node.kind, Kind::List(items) if items.is_empty()) {
        problems.add_with_help(&node.place, "the key names no attribute", "write `key = \"Entra ID\"`");
    }
    (!key.is_empty()).then_some(KeyRule::Attributes(key))
}

/// The attributes that a text or a list of texts names.
fn positions(node: &Node, attributes: &[Attribute], problems: &mut Problems) -> Vec<usize> {
    let nodes = match &node.kind {
        Kind::List(items) => items.as_slice(),
        _ => std::slice::from_ref(node),
    };
    let mut found = Vec::with_capacity(nodes.len());
    for node in nodes {
        let Some(name) = node.text(problems) else { continue };
        match attributes.iter().position(|attribute| attribute.name == name) {
            Some(index) if found.contains(&index) => problems.add(&node.place, format!("\"{name}\" is named twice")),
            Some(index) => found.push(index),
            None => {
                let known: Vec<_> = attributes.iter().map(|attribute| attribute.name.as_str()).collect();
                let help = did_you_mean(name, &known, "attributes of this mapping");
                problems.add_with_help(&node.place, format!("the mapping has no attribute \"{name}\""), help);
            }
        }
    }
    found
}
