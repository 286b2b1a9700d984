//! Reads the description of a custom collection: `[[collection]]` of a job, `[collection]` of a mapping.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use super::{Custom, check_path};
use crate::diagnostic::Problems;
use crate::expr::Catalog;
use crate::record::Collection;
use crate::schema::{Kind as Values, Type};
use crate::tree::{Fields, Kind, Node};

/// Types by the words of a description; `[]` after one makes it a list.
const TYPES: [(&str, Values); 7] = [
    ("text", Values::Text),
    ("bool", Values::Bool),
    ("int", Values::Int),
    ("number", Values::Double),
    ("id", Values::Guid),
    ("datetime", Values::DateTime),
    ("date", Values::Date),
];

/// Beyond what any list of Graph gives or allows.
const PAGE_SIZE_MAX: i64 = 10_000;
const REQUESTS_PER_MINUTE_MAX: i64 = 60_000;

/// Reads every `[[collection]]` of a job into the catalog.
pub fn read_all(node: &Node, catalog: &mut Catalog, problems: &mut Problems) {
    let Kind::List(items) = &node.kind else {
        problems.add_with_help(&node.place, "collections are a list", "write `[[collection]]` with two brackets");
        return;
    };
    for item in items {
        let Some(custom) = read(item, "`[[collection]]`", problems) else { continue };
        if catalog.custom().iter().any(|other| other.collection == custom.collection) {
            let message = format!("two collections of the job are called `{}`", custom.name());
            problems.add_with_help(&item.place, message, "give one of them another `name`");
            continue;
        }
        catalog.declare(Arc::new(custom));
    }
}

/// Reads the `[collection]` that a mapping brings along, unless the job describes one of that name itself.
pub fn read_own(node: &Node, catalog: &mut Catalog, problems: &mut Problems) {
    let Some(custom) = read(node, "`[collection]`", problems) else { return };
    if catalog.named(custom.name()).is_none() {
        catalog.declare(Arc::new(custom));
    }
}

fn read(node: &Node, what: &str, problems: &mut Problems) -> Option<Custom> {
    let mut fields = Fields::new(node.table(problems)?, &node.place, what);
    let name = fields.require("name", "name = \"managed_devices\"", problems);
    let path = fields.require("path", "path = \"deviceManagement/managedDevices\"", problems);
    let version = fields.get("version").map(|node| node.word(&[("v1.0", false), ("beta", true)], problems));
    let select = fields.get("select").map(|node| node.bool(problems));
    let mut text = |key| fields.get(key).map(|node| filled(node, problems));
    let (filter, expand, key, permission) = (text("filter"), text("expand"), text("key"), text("permission"));
    let page_size = fields.get("page_size").map(|node| node.int(1..=PAGE_SIZE_MAX, problems));
    let rate = fields.get("requests_per_minute").map(|node| node.int(1..=REQUESTS_PER_MINUTE_MAX, problems));
    let properties = fields.get("properties").map(|node| properties(node, problems));
    fields.finish(&[], problems);
    let name = collection(name?, problems);
    let path = path.and_then(|node| checked_path(node, problems));
    // Of what was given and is wrong there is no value: then there is no collection either.
    let number = |given: Option<Option<i64>>| match given {
        Some(given) => given.and_then(|number| u32::try_from(number).ok()).map(Some),
        None => Some(None),
    };
    Some(Custom {
        collection: name?,
        beta: version.unwrap_or(Some(false))?,
        path: path?,
        select: select.unwrap_or(Some(true))?,
        filter: transposed(filter)?,
        expand: transposed(expand)?,
        key: transposed(key)?.unwrap_or_else(|| "id".to_owned()),
        page_size: number(page_size)?,
        permission: transposed(permission)?.map_or(&[], |name| kept(&name)),
        requests_per_minute: number(rate)?,
        properties: properties.unwrap_or_else(|| Some(BTreeMap::new()))?,
    })
}

/// Given and right, or not given; `None` for given and wrong.
fn transposed(given: Option<Option<String>>) -> Option<Option<String>> {
    match given {
        Some(given) => given.map(Some),
        None => Some(None),
    }
}

/// A list of one permission, kept for ever, once however often it is named.
fn kept(permission: &str) -> &'static [&'static str] {
    static KEPT: Mutex<BTreeMap<&'static str, &'static [&'static str]>> = Mutex::new(BTreeMap::new());
    let mut kept = KEPT.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(known) = kept.get(permission) {
        return known;
    }
    let name: &'static str = Box::leak(permission.into());
    let list: &'static [&'static str] = Box::leak(Box::new([name]));
    kept.insert(name, list);
    list
}

fn filled(node: &Node, problems: &mut Problems) -> Option<String> {
    let text = node.text(problems)?;
    if text.is_empty() {
        problems.add(&node.place, "the text is empty");
        return None;
    }
    Some(text.to_owned())
}

fn collection(node: &Node, problems: &mut Problems) -> Option<Collection> {
    let text = node.text(problems)?;
    let found = Collection::custom(text);
    if found.is_none() {
        let (message, help) = match Collection::named(text) {
            Some(_) => (format!("`{text}` is a collection of this program"), "give your own another name"),
            None => (
                format!("`{}` cannot be the name of a collection", text.escape_debug()),
                "letters a-z, digits and `_`, beginning with a letter, at most 64; not manifest, deleted or absent",
            ),
        };
        problems.add_with_help(&node.place, message, help);
    }
    found
}

fn checked_path(node: &Node, problems: &mut Problems) -> Option<String> {
    let text = node.text(problems)?;
    match check_path(text) {
        Ok(()) => Some(text.to_owned()),
        Err(help) => {
            problems.add_with_help(&node.place, format!("`{}` cannot be a path", text.escape_debug()), help);
            None
        }
    }
}

fn properties(node: &Node, problems: &mut Problems) -> Option<BTreeMap<String, Type>> {
    let words: Vec<String> = TYPES.iter().flat_map(|(word, _)| [(*word).to_owned(), format!("{word}[]")]).collect();
    let types: Vec<(&str, Type)> = words
        .iter()
        .zip(TYPES.iter().flat_map(|(_, kind)| [Type::one(*kind), Type::list(*kind)]))
        .map(|(word, ty)| (word.as_str(), ty))
        .collect();
    let table = node.table(problems)?;
    let read = table.entries.iter().map(|entry| Some((entry.key.clone(), entry.value.word(&types, problems)?)));
    read.collect::<Vec<_>>().into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnostic::SourceFile;
    use crate::tree;

    fn read_text(text: &str) -> (Catalog, String) {
        let mut problems = Problems::default();
        let mut catalog = Catalog::new();
        let table = tree::parse(&SourceFile::named("job.toml", text), &mut problems).expect("TOML");
        read_all(table.get("collection").expect("a collection"), &mut catalog, &mut problems);
        let words = problems.into_result("the job", false).map_or_else(|error| error.to_string(), |()| String::new());
        (catalog, words)
    }

    #[test]
    fn a_description_is_read_with_its_defaults() {
        let (catalog, problems) = read_text(
            "[[collection]]\nname = \"things\"\npath = \"a/things\"\n\n[[collection]]\nname = \"others\"\npath = \"b\"\n\
             version = \"beta\"\nselect = false\nfilter = \"x eq 1\"\nexpand = \"y\"\nkey = \"mail\"\npage_size = 50\n\
             permission = \"P.Read.All\"\nrequests_per_minute = 4\nproperties = { n = \"int\", tags = \"text[]\" }\n",
        );
        assert_eq!(problems, "");
        let [things, others] = catalog.custom() else { panic!("two") };
        let plain = (things.beta, things.select, things.key.as_str(), things.page_size, things.filter.as_deref());
        assert_eq!(plain, (false, true, "id", None, None));
        assert_eq!((others.beta, others.select, others.key.as_str()), (true, false, "mail"));
        assert_eq!((others.page_size, others.requests_per_minute), (Some(50), Some(4)));
        let ty = |name| catalog.property(others.collection, name).unwrap().ty;
        assert_eq!((ty("n"), ty("tags"), ty("else")), (Type::INT, Type::list(Values::Text), Type::ANY));
    }

    #[test]
    fn mistakes_are_told() {
        let check = |lines: &str, expected: &str| {
            let (catalog, problems) = read_text(&format!("[[collection]]\n{lines}\n"));
            assert!(problems.contains(expected), "{lines}: {problems}");
            assert!(catalog.custom().is_empty(), "{lines}");
        };
        check("name = \"users\"\npath = \"a\"", "is a collection of this program");
        check("name = \"My Things\"\npath = \"a\"", "cannot be the name");
        check("name = \"things\"", "`path` is missing");
        check("name = \"things\"\npath = \"https://x/y\"", "a path has no host");
        check("name = \"things\"\npath = \"a/../b\"", "no empty segment");
        check("name = \"things\"\npath = \"a\"\nfilter = \"\"", "the text is empty");
        check("name = \"things\"\npath = \"a\"\npage_size = 0", "page_size");
        check("name = \"things\"\npath = \"a\"\nproperties = { n = \"datetim\" }", "did you mean `datetime`?");
        let (_, problems) = read_text("[[collection]]\nname = \"things\"\npath = \"a\"\nmethod = \"POST\"\n");
        assert!(problems.contains("unknown key `method`"), "{problems}");
        let (catalog, problems) = read_text(&"[[collection]]\nname = \"things\"\npath = \"a\"\n".repeat(2));
        assert!(problems.contains("two collections") && catalog.custom().len() == 1, "{problems}");
    }
}
