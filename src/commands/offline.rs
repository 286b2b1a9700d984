//! `test`, `config`, `schema` and `expr`: mapping cases, jobs and expressions looked at by themselves. Contacts nobody.

use std::path::{Path, PathBuf};

use jiff::Timestamp;

use crate::cli::{Expr as ExprCommand, SchemaFormat};
use crate::diagnostic::{Place, Problems, SourceFile, did_you_mean};
use crate::error::{Context, Error, Exit, Result};
use crate::expr::{self, Catalog, FUNCTIONS, Function, NoNavigation, Origin, SyntaxError, Table};
use crate::job::{Job, origins};
use crate::mapping::{run_tests, test_file};
use crate::record::Value;
use crate::report::say;
use crate::schemas;
use crate::visible::visible;

/// Runs every case of every mapping and prints expected against got.
pub fn test(mappings: &[PathBuf]) -> Result<Exit> {
    let (mut passed, mut failed) = (0, 0);
    for path in &mapping_files(mappings)? {
        let which = path.display().to_string();
        let (mapping, catalog) = test_file(&which, false)?;
        let results = run_tests(&mapping, &catalog);
        if results.is_empty() {
            say!("{which}: no [[test]] cases");
        }
        for result in results {
            if result.passed() {
                passed += 1;
                continue;
            }
            failed += 1;
            say!("{which}: {} failed ({})", visible(&result.name), result.place);
            if let Some(error) = result.error {
                say!("  {}", visible(&error));
            }
            for mismatch in result.mismatches {
                say!("  {}", visible(&mismatch.attribute));
                say!("    expected {}", visible(&mismatch.expected.to_string()));
                say!("    got      {}", visible(&mismatch.got.to_string()));
            }
        }
    }
    say!("{passed} passed, {failed} failed");
    Ok(if failed == 0 { Exit::Done } else { Exit::Usage })
}

/// The mappings that the arguments mean: of a folder every `*.toml` in it, by name.
fn mapping_files(given: &[PathBuf]) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for path in given {
        if !path.is_dir() {
            files.push(path.clone());
            continue;
        }
        let entries = std::fs::read_dir(path).failing(|| format!("cannot list {}", path.display()))?;
        let toml = |path: &PathBuf| path.extension().is_some_and(|end| end == "toml");
        let mut found: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).filter(toml).collect();
        found.sort();
        files.extend(found);
    }
    Ok(files)
}

/// Prints a job merged with its bases, each value with where it comes from.
pub fn config(path: &Path) -> Result<Exit> {
    // A job with mistakes is refused first: a secret that was written into it is a mistake, and is not printed.
    Job::load(path, None)?;
    let lines = origins(path)?;
    let width = lines.iter().filter(|(_, origin)| origin.is_some()).map(|(text, _)| text.chars().count());
    let width = width.filter(|width| *width <= CONFIG_WIDTH).max().unwrap_or_default();
    for (text, origin) in lines {
        let text = visible_lines(&text);
        match origin {
            Some(origin) => say!("{text:width$}  # {}", visible(&origin)),
            None => say!("{text}"),
        }
    }
    Ok(Exit::Done)
}

/// The widest value that others are lined up with.
const CONFIG_WIDTH: usize = 72;

/// A value may have several lines.
fn visible_lines(text: &str) -> String {
    text.lines().map(visible).collect::<Vec<_>>().join("\n")
}

/// Prints the JSON Schema of a kind of file.
pub fn schema(format: SchemaFormat) -> Exit {
    let text = match format {
        SchemaFormat::Job => schemas::JOB,
        SchemaFormat::Mapping => schemas::MAPPING,
        SchemaFormat::Profile => schemas::PROFILE,
    };
    say!("{}", text.trim_end());
    Exit::Done
}

/// Checks or evaluates an expression, or explains a function.
pub fn expr(command: &ExprCommand, as_of: Timestamp) -> Result<Exit> {
    match command {
        ExprCommand::Check(check) => {
            let mut catalog = tables(&check.table)?;
            let compiled = expr::compile(&check.text, check.collection, &mut catalog);
            let compiled = compiled.map_err(|error| shown(&check.text, &error))?;
            say!("{}", visible(&compiled.to_string()));
        }
        ExprCommand::Eval(eval) => {
            let mut catalog = tables(&eval.table)?;
            let compiled = expr::compile(&eval.text, eval.collection, &mut catalog);
            let compiled = compiled.map_err(|error| shown(&eval.text, &error))?;
            let json = eval.record.as_deref().map(record).transpose()?.unwrap_or(serde_json::json!({}));
            let value = match eval.collection {
                Some(collection) => {
                    let name = eval.record.as_deref().unwrap_or(Path::new("")).display();
                    let record = catalog.inline(collection, &json);
                    let record = record.map_err(|error| Error::usage(format!("in the record {name}: {error}")))?;
                    compiled.eval(&record, &NoNavigation { as_of })
                }
                None => compiled.eval_value(&Value::from_json(&json), &NoNavigation { as_of }),
            };
            let json = serde_json::to_string(&value.to_json()).failing(|| "cannot print the value".into())?;
            say!("{json}");
        }
        ExprCommand::Functions(asked) => return functions(asked.name.as_deref()),
    }
    Ok(Exit::Done)
}

/// A catalog that knows the tables given as `NAME=FILE`.
fn tables(given: &[String]) -> Result<Catalog> {
    let mut catalog = Catalog::new();
    for one in given {
        let Some((name, path)) = one.split_once('=') else {
            return Err(Error::usage(format!("--table {one} names no file")).hint("write --table sites=sites.csv"));
        };
        let file = SourceFile::read(Path::new(path))?;
        let table = Table::read(&file.text, None).map_err(|slip| {
            let mut problems = Problems::default();
            problems.add(&Place { file, range: slip.at.unwrap_or_default() }, slip.message);
            let shown = problems.into_result(&format!("the table {path}"), false).err();
            shown.unwrap_or_else(|| Error::usage(format!("{path} cannot be used as a table")))
        })?;
        catalog.define(name, table);
    }
    Ok(catalog)
}

fn record(path: &Path) -> Result<serde_json::Value> {
    let name = path.display();
    let text = std::fs::read_to_string(path)
        .map_err(|cause| Error::usage(format!("cannot read the record {name}")).because(cause))?;
    serde_json::from_str(&text).map_err(|cause| Error::usage(format!("the record {name} is not JSON")).because(cause))
}

/// Every function in a line, or all there is to say of one.
fn functions(name: Option<&str>) -> Result<Exit> {
    let Some(name) = name else {
        let signatures: Vec<String> = FUNCTIONS.iter().map(Function::signature).collect();
        let width = signatures.iter().map(|signature| signature.chars().count()).max().unwrap_or(0);
        for (signature, function) in signatures.iter().zip(FUNCTIONS) {
            say!("{signature:width$}  {}", function.help);
        }
        return Ok(Exit::Done);
    };
    let Some(function) = expr::function(name) else {
        let known: Vec<&str> = FUNCTIONS.iter().map(|function| function.name).collect();
        let help = did_you_mean(name, &known, "functions");
        return Err(Error::usage(format!("there is no function `{name}`")).hint(help));
    };
    say!("{}\n\n{}", function.signature(), function.help);
    for example in function.examples {
        say!("\n  {}\n    gives {}", example.call, example.gives);
    }
    let origin = match function.origin {
        Origin::Standard => "OData 4.01, part 2, Canonical Functions. A null argument gives null.",
        Origin::Own => "Not in OData.",
    };
    say!("\n{origin}");
    Ok(Exit::Done)
}

/// The mistake with the text and a caret, as job files show theirs.
pub(super) fn shown(text: &str, error: &SyntaxError) -> Error {
    let file = SourceFile::named("expression", text);
    let place = Place { file, range: error.span.clone() };
    let mut problems = Problems::default();
    match &error.help {
        Some(help) => problems.add_with_help(&place, error.message.clone(), help.clone()),
        None => problems.add(&place, error.message.clone()),
    }
    let shown = problems.into_result("the expression", false).err();
    // The position for programs, counted in bytes from 0.
    shown.unwrap_or_else(|| Error::usage(error.to_string())).cause(format!("at byte {}", error.span.start))
}
