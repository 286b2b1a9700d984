//! README and docs/ against the program: the commands parse, the jobs load, the mappings compile and pass their cases,
//! and the table of functions is that of the language.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use clap::{CommandFactory, Parser};
use entra_import::cli::Cli;
use entra_import::expr::{Catalog, Example, FUNCTIONS, NoNavigation, compile};
use entra_import::job::{Job, LoadOptions};
use entra_import::mapping::{run_tests, test_file};
use entra_import::record::Value;

use crate::world::shell_words;

const DOCUMENTS: [&str; 11] = [
    "README.md",
    "ARCHITECTURE.md",
    "docs/jobs.md",
    "docs/jsm-assets.md",
    "docs/mappings.md",
    "docs/expressions.md",
    "docs/recipes.md",
    "docs/running.md",
    "docs/snapshot.md",
    "docs/performance.md",
    "docs/unattended.md",
];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn text(document: &str) -> String {
    fs::read_to_string(root().join(document)).unwrap_or_else(|error| panic!("{document}: {error}"))
}

/// The fenced blocks of that language.
fn blocks(document: &str, language: &str) -> Vec<String> {
    let text = text(document);
    let mut blocks = Vec::new();
    let mut open: Option<(bool, String)> = None;
    for line in text.lines() {
        match (&mut open, line.strip_prefix("```")) {
            (None, Some(of)) => open = Some((of == language, String::new())),
            (Some(_), Some(_)) => blocks.extend(open.take().filter(|(wanted, _)| *wanted).map(|(_, block)| block)),
            (Some((_, block)), None) => {
                block.push_str(line);
                block.push('\n');
            }
            (None, None) => {}
        }
    }
    assert!(open.is_none(), "{document}: a block is not closed");
    blocks
}

#[test]
fn every_command_line_in_the_documents_parses() {
    let mut seen = 0;
    for document in DOCUMENTS {
        for block in blocks(document, "console") {
            for line in block.lines().filter(|line| line.starts_with("entra-import ")) {
                seen += 1;
                Cli::try_parse_from(shell_words(line)).unwrap_or_else(|error| panic!("{document}: {line}\n{error}"));
            }
        }
    }
    assert!(seen > 10, "only {seen} command lines were found");
}

#[test]
fn every_command_and_option_that_is_named_exists() {
    let mut cli = Cli::command();
    cli.build();
    for document in DOCUMENTS {
        for span in text(document).split('`').skip(1).step_by(2) {
            let Some(rest) = span.strip_prefix("entra-import ") else { continue };
            let mut command = &cli;
            for word in rest.split_whitespace() {
                if let Some(found) = command.find_subcommand(word) {
                    command = found;
                } else if let Some(option) = word.strip_prefix("--") {
                    let known = command.get_arguments().any(|argument| argument.get_long() == Some(option));
                    assert!(known || option == "help", "{document}: {span}");
                } else {
                    assert!(command.get_name() != cli.get_name(), "{document}: there is no command as in `{span}`");
                }
            }
        }
    }
    // The table of commands is whole.
    let running = text("docs/running.md");
    for command in cli.get_subcommands().filter(|command| command.get_name() != "help") {
        assert!(running.contains(&format!("`entra-import {} ", command.get_name())), "{}", command.get_name());
    }
}

/// What fragments are laid over. A fragment that speaks of the credential needs a base that does not.
const BASE: &str = r#"format = "job/1"
name = "base"
[target]
kind = "csv"
path = "export"
[[mapping]]
use = "csv/users@1"
"#;
const TENANT: &str = r#"[source]
tenant = "contoso.onmicrosoft.com"
client_id = "00001111-aaaa-2222-bbbb-3333cccc4444"
"#;

#[test]
fn every_job_and_mapping_in_the_documents_is_right() {
    let mut seen = BTreeMap::<&str, usize>::new();
    for document in DOCUMENTS {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| -> PathBuf {
            let path = folder.path().join(name);
            fs::write(&path, text).unwrap();
            path
        };
        write("exclude.txt", "breakglass@contoso.com # emergency access\n");
        write("sites.csv", "Office,Site\nOslo,OSL-1\n");
        for block in blocks(document, "toml") {
            let named = block.lines().next().and_then(|line| line.strip_prefix("# ")).filter(|n| n.ends_with(".toml"));
            if block.contains("format = \"mapping/1\"") {
                *seen.entry("mapping").or_default() += 1;
                let path = write(named.unwrap_or("mapping.toml"), &block);
                let (mapping, catalog) =
                    test_file(&path.display().to_string(), false).unwrap_or_else(|error| panic!("{document}: {error}"));
                for result in run_tests(&mapping, &catalog) {
                    assert!(result.passed(), "{document}: {result:?}");
                }
                continue;
            }
            // `[source] snapshot` replaces the tenant, so its base has none; a block may also bring its own tenant whole.
            let secret = "credential = { secret = { env = \"ENTRA_SECRET\" } }\n";
            let base = match (block.contains("snapshot ="), block.contains("credential")) {
                (true, _) => format!("{BASE}[source]\n"),
                (false, true) if block.contains("\ntenant ") => format!("{BASE}[source]\n"),
                (false, true) => format!("{BASE}{TENANT}"),
                (false, false) => format!("{BASE}{TENANT}{secret}"),
            };
            write("_base.toml", &base);
            let whole = block.contains("\"job/1\"");
            *seen.entry(if whole { "job" } else { "fragment" }).or_default() += 1;
            let job = match whole {
                true => block.clone(),
                false => format!("format = \"job/1\"\nextends = \"_base.toml\"\n{block}"),
            };
            let path = write(named.unwrap_or("job.toml"), &job);
            let options = LoadOptions { environment: &|_| Some("state".into()), ..LoadOptions::default() };
            Job::load_with(&path, &options).unwrap_or_else(|error| panic!("{document}: {error}\n{job}"));
        }
    }
    assert!(["job", "mapping", "fragment"].iter().all(|kind| seen.contains_key(kind)), "{seen:?}");
}

/// The lines with `=>` in docs/expressions.md, over the record that stands before them.
#[test]
fn every_example_of_an_expression_gives_what_the_document_says() {
    let record = blocks("docs/expressions.md", "json").remove(0);
    let record = Value::from_json(&serde_json::from_str(&record).expect("the record is JSON"));
    let nav = NoNavigation { as_of: "2024-06-01T00:00:00Z".parse().unwrap() };
    let mut seen = 0;
    for line in blocks("docs/expressions.md", "odata").iter().flat_map(|block| block.lines()) {
        let (text, expected) = line.split_once(" => ").unwrap_or_else(|| panic!("{line} has no =>"));
        seen += 1;
        let compiled = compile(text, None, &mut Catalog::new()).unwrap_or_else(|error| panic!("{text}: {error}"));
        let value = compiled.eval_value(&record, &nav).to_json();
        let expected: serde_json::Value =
            serde_json::from_str(expected).unwrap_or_else(|error| panic!("{line}: {error}"));
        assert_eq!(value, expected, "{text}");
        let normal = compile(&compiled.to_string(), None, &mut Catalog::new()).expect("the normal form is right");
        assert_eq!(normal.eval_value(&record, &nav).to_json(), expected, "{normal}");
    }
    assert!(seen > 40, "only {seen} examples were found");
}

#[test]
fn the_table_of_functions_is_that_of_the_language() {
    let mut table = String::from("| function | gives | examples |\n| --- | --- | --- |\n");
    for function in FUNCTIONS {
        // A bar would end the cell, even inside code.
        let cell = |text: &str| text.replace('|', "\\|");
        let example = |example: &Example| format!("`{}` is `{}`", cell(example.call), cell(example.gives));
        let examples = function.examples.iter().map(example).collect::<Vec<_>>().join("<br>");
        table.push_str(&format!("| `{}` | {} | {examples} |\n", function.signature(), function.help));
    }
    let document = text("docs/expressions.md");
    let (start, rest) = document.split_once("-->\n").expect("the mark before the table");
    let (_, end) = rest.split_once("<!-- end -->").expect("the mark after the table");
    let wanted = format!("{start}-->\n\n{table}\n<!-- end -->{end}");
    if std::env::var_os("BLESS").is_some() {
        fs::write(root().join("docs/expressions.md"), wanted).unwrap();
    } else {
        assert!(document == wanted, "docs/expressions.md is not up to date: BLESS=1 cargo test --test it docs");
    }
}

#[test]
fn links_between_the_documents_lead_somewhere() {
    for document in DOCUMENTS {
        let folder = root().join(document).parent().unwrap().to_path_buf();
        for link in text(document).split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let (file, _) = link.split_once('#').unwrap_or((link, ""));
            let local = !file.is_empty() && !file.contains("://");
            assert!(!local || folder.join(file).exists(), "{document}: {link}");
        }
    }
}

#[test]
fn every_test_that_architecture_names_exists() {
    let mut sources = String::new();
    collect(&root().join("src"), &mut sources);
    collect(&root().join("tests"), &mut sources);
    let document = text("ARCHITECTURE.md");
    let (_, table) = document.split_once("## Invariants").expect("the section");
    let (table, _) = table.split_once("\n## ").expect("the next section");
    let names = table.split('`').skip(1).step_by(2).filter(|span| span.matches('_').count() >= 3);
    let mut seen = 0;
    for name in names {
        seen += 1;
        let (module, name) = name.split_once("::").unwrap_or(("", name));
        // A module of whole-program tests that is not there yet is looked at once it is.
        if !module.is_empty() && !root().join(format!("tests/it/{module}.rs")).exists() {
            continue;
        }
        let there = ["(", "<"].iter().any(|next| sources.contains(&format!("fn {name}{next}")));
        assert!(there, "there is no test {name}");
    }
    assert!(seen > 15, "only {seen} tests were found");
}

fn collect(folder: &Path, into: &mut String) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, into);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            into.push_str(&fs::read_to_string(&path).unwrap());
        }
    }
}
