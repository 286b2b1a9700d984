//! `[scope]`: which records are let in, and the form in which a scope is remembered.
//!
//! Hides the files of excluded ids and how a scope becomes text that reads back. Deliberately does not judge records
//! as a whole: what follows from a filter that is unknown is the plan's business.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::read::Reader;
use crate::diagnostic::{Place, Problems, SourceFile};
use crate::error::{Error, Result};
use crate::expr::{self, Catalog, Expr, Navigate};
use crate::mapping::Identity;
use crate::mapping::read::syntax_error;
use crate::record::{Collection, Guid, Record, Unknown, Value};
use crate::tree::{Fields, Kind, Node, Table};

/// What is let in. A collection without a filter is let in as a whole; pairs and assignments follow their ends too.
#[derive(Debug, Default)]
pub struct Scope {
    pub filters: BTreeMap<Collection, Filter>,
    pub exclude: BTreeMap<Collection, Exclude>,
    /// Which lists the custom collections in use are: another path or filter lets other records in.
    pub lists: BTreeMap<Collection, String>,
}

/// A compiled filter of one collection.
#[derive(Debug)]
pub struct Filter {
    pub expr: Expr,
}

/// Records that are left out by name, whatever the filter says.
#[derive(Debug)]
pub struct Exclude {
    pub ids: BTreeSet<Guid>,
    /// User principal names in lower case; empty for other collections.
    pub names: BTreeSet<String>,
    /// Reads a user's principal name; there when `names` is not empty.
    name: Option<Expr>,
}

/// What a person last agreed to let in.
#[derive(Debug)]
pub struct Accepted {
    pub scope: Scope,
    pub mappings: Vec<Identity>,
}

impl Accepted {
    /// The text it was read from.
    pub fn text(&self) -> String {
        text(&self.scope, &self.mappings)
    }
}

/// The collections whose records can be excluded by name.
const EXCLUDABLE: [(&str, Collection); 3] =
    [("users", Collection::Users), ("groups", Collection::Groups), ("devices", Collection::Devices)];

impl Exclude {
    fn new(
        collection: Collection,
        entries: impl IntoIterator<Item = String>,
        catalog: &mut Catalog,
    ) -> Result<Exclude, expr::SyntaxError> {
        let (mut ids, mut names) = (BTreeSet::new(), BTreeSet::new());
        for entry in entries {
            match entry.parse() {
                Ok(id) => ids.insert(id),
                Err(_) => names.insert(entry.to_lowercase()),
            };
        }
        let name = match names.is_empty() {
            true => None,
            false => Some(expr::compile("userPrincipalName", Some(collection), catalog)?),
        };
        Ok(Exclude { ids, names, name })
    }

    /// Whether the record is left out by name; unknown when its name is asked for and may not be seen.
    pub fn covers(&self, record: &Record, navigate: &dyn Navigate) -> std::result::Result<bool, Unknown> {
        if record.key.guid().is_some_and(|id| self.ids.contains(&id)) {
            return Ok(true);
        }
        match self.name.as_ref().map(|name| name.eval(record, navigate)) {
            Some(Value::Text(name)) => Ok(self.names.contains(&name.to_lowercase())),
            Some(Value::Unknown(reason)) => Err(reason),
            _ => Ok(false),
        }
    }

    /// Ids and names, as a job would list them.
    pub fn entries(&self) -> Vec<String> {
        self.ids.iter().map(Guid::to_string).chain(self.names.iter().cloned()).collect()
    }
}

/// Reads `[scope]`.
pub(super) fn read(node: &Node, reader: &Reader, catalog: &mut Catalog, problems: &mut Problems) -> Scope {
    let mut scope = Scope::default();
    let Some(table) = node.table(problems) else { return scope };
    let mut fields = Fields::new(table, &node.place, "`[scope]`");
    for collection in catalog.collections().collect::<Vec<_>>() {
        if let Some(node) = fields.get(collection.name())
            && let Some(filter) = filter(node, collection, catalog, problems)
        {
            scope.filters.insert(collection, filter);
        }
    }
    let exclude = fields.get("exclude");
    fields.finish(&super::read::HOMES, problems);
    refuse_circles(&scope, table, problems);
    if let Some(node) = exclude
        && let Some(table) = node.table(problems)
    {
        let mut fields = Fields::new(table, &node.place, "`exclude`");
        for (name, collection) in EXCLUDABLE {
            let Some(node) = fields.get(name) else { continue };
            let entries = excluded(node, collection, reader, problems);
            match Exclude::new(collection, entries, catalog) {
                Ok(exclude) => drop(scope.exclude.insert(collection, exclude)),
                Err(error) => problems.add(&node.place, error.message),
            }
        }
        fields.finish(&super::read::HOMES, problems);
    }
    scope
}

/// Filters that ask for each other's scope leave nothing to begin with.
fn refuse_circles(scope: &Scope, table: &Table, problems: &mut Problems) {
    let asked = |of: Collection| {
        let asked = scope.filters.get(&of).map(|filter| filter.expr.scopes()).unwrap_or_default();
        // Of its own collection a filter gets null.
        asked.into_iter().filter(move |other| *other != of)
    };
    for start in scope.filters.keys() {
        let (mut reached, mut next) = (BTreeSet::new(), vec![*start]);
        while let Some(of) = next.pop() {
            next.extend(asked(of).filter(|other| reached.insert(*other)));
        }
        if reached.contains(start)
            && let Some(node) = table.get(start.name())
        {
            let help = "write out what one of them asks: members/any(m: m/accountEnabled eq true)";
            let message = format!("whether {start} are in scope depends on itself: `inscope` leads back here");
            problems.add_with_help(&node.place, message, help);
            return;
        }
    }
}

fn filter(node: &Node, collection: Collection, catalog: &mut Catalog, problems: &mut Problems) -> Option<Filter> {
    let text = node.text(problems)?;
    match expr::compile_filter(text, Some(collection), catalog) {
        Ok(expr) => Some(Filter { expr }),
        Err(error) => {
            problems.push(syntax_error(node, error));
            None
        }
    }
}

/// The entries of one `exclude`: a list, or a file with one entry a line.
fn excluded(node: &Node, collection: Collection, reader: &Reader, problems: &mut Problems) -> Vec<String> {
    let table = match &node.kind {
        Kind::List(items) => {
            let texts = items.iter().filter_map(|item| {
                let text = item.text(problems)?.trim().to_string();
                check_entry(&text, &item.place, collection, problems).then_some(text)
            });
            return texts.collect();
        }
        Kind::Table(table) => table,
        _ => {
            let help = "write a list of ids, or { file = \"exclude.txt\" } with one a line";
            problems.add_with_help(&node.place, format!("expected a list or a file, found {}", node.kind.what()), help);
            return Vec::new();
        }
    };
    let mut fields = Fields::new(table, &node.place, "`exclude`");
    let file = fields.require("file", "{ file = \"exclude.txt\" }", problems);
    fields.finish(&super::read::HOMES, problems);
    let Some((path, _)) = file.and_then(|node| reader.path(node, problems)) else { return Vec::new() };
    match SourceFile::read(&path) {
        Err(error) => {
            let why = format!("{}; a missing list would let everyone in", error.causes.join(": "));
            problems.add_with_help(&node.place, error.what, why);
            Vec::new()
        }
        Ok(file) => {
            let mut at = 0;
            let lines = file.text.split_inclusive('\n').filter_map(|line| {
                let start = at;
                at += line.len();
                let entry = line.split('#').next().unwrap_or_default().trim();
                let indent = line.len() - line.trim_start().len();
                let place = Place { file: file.clone(), range: start + indent..start + indent + entry.len() };
                (!entry.is_empty() && check_entry(entry, &place, collection, problems)).then(|| entry.to_string())
            });
            lines.collect()
        }
    }
}

fn check_entry(entry: &str, place: &Place, collection: Collection, problems: &mut Problems) -> bool {
    let name = collection == Collection::Users && entry.contains('@') && !entry.contains(char::is_whitespace);
    if entry.parse::<Guid>().is_ok() || name {
        return true;
    }
    let (message, help) = match collection {
        Collection::Users => (
            "this is neither an object id nor a user principal name",
            "one id or name a line; what follows `#` is a comment",
        ),
        _ => (
            "this is not an object id",
            "names are not unique and change: write the object id, or filter by name in `[scope]`",
        ),
    };
    problems.add_with_help(place, message, help);
    false
}

/// A scope and mappings in one fixed form. The order of fields and keys is part of it.
#[derive(Serialize, Deserialize)]
struct ScopeText {
    filters: BTreeMap<Collection, String>,
    exclude: BTreeMap<Collection, Vec<String>>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    lists: BTreeMap<Collection, String>,
    mappings: Vec<Identity>,
}

/// The text that [`accepted`] reads back.
pub(super) fn text(scope: &Scope, mappings: &[Identity]) -> String {
    let mut mappings = mappings.to_vec();
    mappings.sort_by(|a, b| a.name.cmp(&b.name));
    let text = ScopeText {
        filters: scope.filters.iter().map(|(collection, filter)| (*collection, filter.expr.to_string())).collect(),
        exclude: scope.exclude.iter().map(|(collection, exclude)| (*collection, exclude.entries())).collect(),
        lists: scope.lists.clone(),
        mappings,
    };
    // Plain data with text keys: there is nothing in it that JSON cannot say.
    serde_json::to_string(&text).expect("a scope is plain data")
}

/// Compiles a scope that was accepted before; its properties go into the catalog too.
pub(super) fn accepted(text: &str, catalog: &mut Catalog) -> Result<Accepted> {
    let failed = |why: String| {
        Error::failed("the accepted scope in the ledger cannot be used")
            .cause(why)
            .hint("it was written by another version of this program: run that version, or restore the ledger")
    };
    let read: ScopeText = serde_json::from_str(text).map_err(|error| failed(error.to_string()))?;
    let mut scope = Scope { lists: read.lists, ..Scope::default() };
    for (collection, text) in read.filters {
        let expr = expr::compile_filter(&text, Some(collection), catalog)
            .map_err(|error| failed(format!("in the filter of {collection}: {}", error.message)))?;
        scope.filters.insert(collection, Filter { expr });
    }
    for (collection, entries) in read.exclude {
        let exclude = Exclude::new(collection, entries, catalog).map_err(|error| failed(error.message))?;
        scope.exclude.insert(collection, exclude);
    }
    Ok(Accepted { scope, mappings: read.mappings })
}
