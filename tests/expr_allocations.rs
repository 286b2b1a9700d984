//! Filters run on every record of every collection: evaluating the everyday ones must not touch the heap.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use entra_import::expr::{Catalog, NoNavigation, Truth, compile_filter};
use entra_import::record::{Collection, Key};

struct Counting;

thread_local! {
    static COUNT: Cell<usize> = const { Cell::new(0) };
}

// SAFETY: every call goes unchanged to the system's allocator; counting does not allocate.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        COUNT.with(|count| count.set(count.get() + 1));
        // SAFETY: the caller's promise is passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise is passed on.
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

fn check(filter: &str, expected: Truth) {
    let mut catalog = Catalog::new();
    let compiled = compile_filter(filter, Some(Collection::Users), &mut catalog).expect("a filter");
    let json = r#"{
        "accountEnabled": true, "userType": "Member", "department": "Vertrieb Süd", "id": "87d349ed-44d7-43e1-9a83-5f2406dee5bd",
        "createdDateTime": "2024-01-01T00:00:00Z", "mail": "Adele@Contoso.com", "employeeOrgData": {"costCenter": "4711"},
        "businessPhones": ["1", "2"], "assignedLicenses": [{"skuId": "06ebc4ee-1bb5-47dd-8120-11324bc54e06"}]
    }"#;
    let record = catalog.shape(Collection::Users).decode(Key::parse("k"), json, &[]).expect("a record");
    let nav = NoNavigation { as_of: "2024-06-01T00:00:00Z".parse().expect("a time") };
    let before = COUNT.get();
    let truth = compiled.truth(&record, &nav);
    let allocated = COUNT.get() - before;
    assert_eq!((truth, allocated), (expected, 0), "{filter}");
}

#[test]
fn everyday_filters_do_not_allocate() {
    check("accountEnabled eq true and userType eq 'MEMBER'", Truth::True);
    check("department eq 'VERTRIEB SÜD' or department in ('a', 'b')", Truth::True);
    check("not (id eq 87d349ed-44d7-43e1-9a83-5f2406dee5bd)", Truth::False);
    check("startswith(mail, 'ADELE') and endswith(mail, '.com') and contains(mail, '@contoso')", Truth::True);
    check("createdDateTime lt now() sub duration'P90D'", Truth::True);
    check("employeeOrgData/costCenter eq '4711'", Truth::True);
    check("businessPhones/any(p: p eq '2') and '1' in businessPhones", Truth::True);
    check("assignedLicenses/any(l: l/skuId eq 06ebc4ee-1bb5-47dd-8120-11324bc54e06)", Truth::True);
    check("assignedLicenses/$count eq 1", Truth::True);
}
