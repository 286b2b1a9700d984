//! docs/recipes.md: every filter in it, over the company in samples/, lets in as many records as it says.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use entra_import::directory::Directory;
use entra_import::expr::{Catalog, Truth, compile_filter};
use entra_import::record::Collection;
use entra_import::snapshot::Snapshot;
use serde_json::{Value, json};

/// The company, with what the extract of a job with these filters would have read besides.
fn company(folder: &Path) -> PathBuf {
    let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("samples/contoso/night-1");
    for entry in fs::read_dir(&from).unwrap() {
        let path = entry.unwrap().path();
        fs::copy(&path, folder.join(path.file_name().unwrap())).unwrap();
    }
    let users = fs::read_to_string(from.join("users.jsonl")).unwrap();
    let with_licenses = users.lines().map(|line| {
        let mut user: Value = serde_json::from_str(line).unwrap();
        let states = user["licenseAssignmentStates"].as_array().unwrap();
        let held: Vec<Value> =
            states.iter().map(|state| json!({ "skuId": state["skuId"], "disabledPlans": [] })).collect();
        user["assignedLicenses"] = held.into();
        format!("{user}\n")
    });
    fs::write(folder.join("users.jsonl"), with_licenses.collect::<String>()).unwrap();
    let mut manifest: Value = serde_json::from_str(&fs::read_to_string(from.join("manifest.json")).unwrap()).unwrap();
    let properties = manifest["collections"]["users"]["properties"].as_array_mut().unwrap();
    properties.insert(1, "assignedLicenses".into());
    fs::write(folder.join("manifest.json"), manifest.to_string()).unwrap();
    folder.to_path_buf()
}

/// Collection, expected number and filter of every recipe.
fn recipes() -> Vec<(Collection, usize, String)> {
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/recipes.md")).unwrap();
    let blocks = text.split("```odata\n").skip(1).map(|rest| rest.split("```").next().unwrap_or_default());
    let read = |block: &str| {
        let (head, filter) = block.split_once('\n').expect("a first line");
        let (collection, count) = head.trim_start_matches("# ").split_once(": ").expect("# COLLECTION: NUMBER");
        let collection = Collection::named(collection).expect("a collection");
        (collection, count.parse().expect("a number"), filter.trim().to_owned())
    };
    blocks.map(read).collect()
}

#[test]
fn every_recipe_lets_in_as_many_as_it_says() {
    let folder = tempfile::tempdir().unwrap();
    let snapshot = Snapshot::open(&company(folder.path())).unwrap();
    let mut seen = BTreeMap::<Collection, usize>::new();
    for (collection, expected, text) in recipes() {
        *seen.entry(collection).or_default() += 1;
        let mut catalog = Catalog::new();
        let filter = compile_filter(&text, Some(collection), &mut catalog).unwrap_or_else(|e| panic!("{text}: {e}"));
        let directory = Directory::open(&snapshot, &catalog, snapshot.as_of()).unwrap();
        let mut count = 0;
        directory
            .walk(collection, &mut |record| {
                match filter.truth(&record, &directory) {
                    Truth::True => count += 1,
                    Truth::False => {}
                    Truth::Unknown(reason) => panic!("{text}: unknown of {}: {reason}", record.key),
                }
                Ok(())
            })
            .unwrap();
        assert_eq!(count, expected, "{text}");
    }
    assert!(seen[&Collection::Users] >= 20 && seen[&Collection::Groups] >= 5, "{seen:?}");
}
