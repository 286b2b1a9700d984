//! No text may panic, overflow the stack, hang, or have a normal form that does not read back as itself.

#![no_main]

use entra_import::expr::{Catalog, NoNavigation, compile};
use entra_import::record::{Collection, Value};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let _ = compile(text, Some(Collection::Users), &mut Catalog::new());
    let Ok(expression) = compile(text, None, &mut Catalog::new()) else { return };
    let normal = expression.to_string();
    let again = compile(&normal, None, &mut Catalog::new()).expect("the normal form is an expression");
    assert_eq!(again.to_string(), normal);
    let _ = expression.eval_value(&Value::Null, &NoNavigation { as_of: jiff::Timestamp::UNIX_EPOCH });
});
