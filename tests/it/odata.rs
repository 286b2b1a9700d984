//! The expression language held against OData 4.01, expression by expression: every kind of literal, every operator with
//! its precedence, lambdas, path segments, functions, JSON, aliases, spellings as pasted from an address, and what is no
//! expression. <https://docs.oasis-open.org/odata/odata/v4.01/odata-v4.01-part2-url-conventions.html>
//!
//! A line of `tests/data/odata.txt` is an expression, its normal form and its value over [`RECORD`] as JSON, with tabs in
//! between; or an expression and `at N`, the byte at which it is refused. Written by hand and reviewed, never blessed.

use entra_import::expr::{Catalog, Expr, NoNavigation, SyntaxError, compile};
use entra_import::record::Value;

const CASES: &str = include_str!("../data/odata.txt");

/// What the expressions are over.
const RECORD: &str = r#"{ "s": "Oslo", "u": "ÅRE", "n": 5, "d": 2.5, "b": true, "f": false, "z": null, "l": [1, 2, 3],
    "t": ["a", "B", "c"], "e": [], "o": { "x": 1, "y": "q" }, "os": [{ "k": 1, "v": "a" }, { "k": 2, "v": "b" }],
    "at": "2024-02-29T10:20:30.5Z", "id": "87d349ed-44d7-43e1-9a83-5f2406dee5bd", "neg": -3, "q": "O'Neil",
    "date": "2024-02-29" }"#;

fn compiled(text: &str) -> Result<Expr, SyntaxError> {
    compile(text, None, &mut Catalog::new())
}

fn value(expr: &Expr) -> String {
    let record = Value::from_json(&serde_json::from_str(RECORD).unwrap());
    expr.eval_value(&record, &NoNavigation { as_of: "2026-03-01T02:00:00Z".parse().unwrap() }).to_json().to_string()
}

/// What is wrong with a line, if anything is.
fn fault(line: &str) -> Option<String> {
    let columns: Vec<&str> = line.split('\t').collect();
    match (columns.as_slice(), columns.first().map(|text| compiled(text))) {
        ([_, normal, expected], Some(Ok(expr))) => {
            let again = compiled(normal).map(|again| (again.to_string(), value(&again)));
            let found = (expr.to_string(), value(&expr));
            let right = found == ((*normal).to_owned(), (*expected).to_owned()) && again.as_ref() == Ok(&found);
            (!right).then(|| format!("{line}\n  {found:?}, read again {again:?}"))
        }
        ([_, at], Some(Err(error))) => (*at != format!("at {}", error.span.start))
            .then(|| format!("{line}\n  refused at {}: {error}", error.span.start)),
        (_, Some(Ok(expr))) => Some(format!("{line}\n  accepted as {expr}")),
        (_, Some(Err(error))) => Some(format!("{line}\n  refused: {error}")),
        (_, None) => Some(line.to_owned()),
    }
}

#[test]
fn every_expression_has_its_normal_form_and_value_or_is_refused_where_it_is_wrong() {
    let faults: Vec<String> = CASES.lines().filter_map(fault).collect();
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    assert!(CASES.lines().count() > 350);
}
