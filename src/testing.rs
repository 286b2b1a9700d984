//! What tests of several modules share: folders in memory, a job, and a type of people.

use tempfile::TempDir;

use crate::plan::change::{AttributeSpec, TypeSpec};

/// The smallest job that says everything that must be said.
pub const JOB: &str = r#"format = "job/1"
name = "contoso"

[source]
tenant = "contoso.onmicrosoft.com"
client_id = "00001111-aaaa-2222-bbbb-3333cccc4444"
credential = { secret = { env = "ENTRA_SECRET" } }

[target]
kind = "csv"
path = "export"

[[mapping]]
use = "csv/users@1"
"#;

/// A temporary folder in which making something durable costs nothing, where the system has such a place. What dies in
/// these tests are processes, and what a process wrote outlives it there as well.
pub fn folder() -> TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).expect("a temporary folder")
}

/// Users by id, each with a boss among them and with tags.
pub fn people() -> TypeSpec {
    let attribute = |name: &str, many, reference: Option<&str>| AttributeSpec {
        name: name.into(),
        many,
        reference: reference.map(Into::into),
        ..AttributeSpec::default()
    };
    let attributes = vec![
        attribute("Id", false, None),
        attribute("Name", false, None),
        attribute("Boss", false, Some("User")),
        attribute("Tags", true, None),
        attribute("Status", false, None),
    ];
    TypeSpec { name: "User".into(), attributes, key: vec![0], adopt: vec![] }
}
