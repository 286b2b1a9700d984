//! No text may panic, overflow the stack, hang, have a normal form that does not read back as itself, or send Graph what
//! is no filter.
//!
//! The language is compiled from its files, with the modules below it and no more: as a dependency it would bring the
//! whole program, and cargo-fuzz builds everything anew with the sanitizer (SQLite and TLS for half an hour).

#![no_main]

#[path = "../../src"]
#[expect(dead_code, unused_imports, reason = "the program uses more of these than the language does")]
mod program {
    pub mod custom;
    pub mod diagnostic;
    pub mod error;
    pub mod expr;
    pub mod record;
    pub mod schema;
    pub mod tree;
}

use libfuzzer_sys::fuzz_target;
// These modules name each other by `crate::`.
use program::{custom, diagnostic, error, expr, record, schema, tree};

use expr::{Allowed, Catalog, NoNavigation, compile, compile_filter};
use record::{Collection, Value};

fuzz_target!(|text: &str| {
    let users = Some(Collection::Users);
    if let Ok(filter) = compile_filter(text, users, &mut Catalog::new()) {
        // What would be sent to Graph is a filter itself.
        let allowed = Allowed { advanced: true, readable: &|_| true };
        if let Some(pushed) = filter.push_down(Collection::Users, &allowed) {
            compile_filter(&pushed.filter, users, &mut Catalog::new()).expect("what is pushed is a filter");
        }
    }
    let Ok(expression) = compile(text, None, &mut Catalog::new()) else { return };
    let normal = expression.to_string();
    let again = compile(&normal, None, &mut Catalog::new()).expect("the normal form is an expression");
    assert_eq!(again.to_string(), normal);
    let _ = expression.eval_value(&Value::Null, &NoNavigation { as_of: jiff::Timestamp::UNIX_EPOCH });
});
