//! The mappings that come with the program, compiled in and addressed `csv/users@1`.
//!
//! Hides where they are kept. Deliberately pins: a job names the version it was written for, so that a new program
//! never changes what an old job writes.

use std::sync::Arc;

use crate::diagnostic::{Place, Problems, SourceFile, nearest};

/// Address, version and text of each shipped mapping.
const SHIPPED: [(&str, u32, &str); 7] = [
    ("csv/users", 1, include_str!("../../mappings/csv/users.toml")),
    ("csv/groups", 1, include_str!("../../mappings/csv/groups.toml")),
    ("csv/memberships", 1, include_str!("../../mappings/csv/memberships.toml")),
    ("csv/nestings", 1, include_str!("../../mappings/csv/nestings.toml")),
    ("csv/licenses", 1, include_str!("../../mappings/csv/licenses.toml")),
    ("csv/license_assignments", 1, include_str!("../../mappings/csv/license_assignments.toml")),
    ("csv/devices", 1, include_str!("../../mappings/csv/devices.toml")),
];

/// The addresses of all shipped mappings, with their versions.
pub fn addresses() -> Vec<String> {
    SHIPPED.iter().map(|(address, version, _)| format!("{address}@{version}")).collect()
}

/// The shipped mapping of that address (`csv/users@1`).
pub fn find(address: &str) -> Option<Arc<SourceFile>> {
    let (name, version) = address.split_once('@')?;
    let version: u32 = version.parse().ok()?;
    let (.., text) = SHIPPED.iter().find(|shipped| (shipped.0, shipped.1) == (name, version))?;
    Some(SourceFile::named(address, *text))
}

/// The shipped mapping that a job names at `place`; what is wrong with the address goes into `problems`.
pub fn require(address: &str, place: &Place, problems: &mut Problems) -> Option<Arc<SourceFile>> {
    let found = find(address);
    if found.is_none() {
        let (message, help) = unknown(address);
        problems.add_with_help(place, message, help);
    }
    found
}

/// Why an address names no shipped mapping, and what to write.
fn unknown(address: &str) -> (String, String) {
    let name = address.split_once('@').map_or(address, |(name, _)| name);
    let known = addresses();
    if let Some((_, version, _)) = SHIPPED.iter().find(|shipped| shipped.0 == name) {
        let message = match address.contains('@') {
            true => format!("this program has no version of `{name}` called `{address}`"),
            false => format!("`{address}` names no version"),
        };
        return (message, format!("write `{name}@{version}`: the version keeps a new program from changing your columns"));
    }
    let help = match nearest(address, known.iter().map(String::as_str)) {
        Some(near) => format!("did you mean `{near}`? a mapping file of your own ends with .toml"),
        None => format!("shipped mappings: {}; a mapping file of your own ends with .toml", known.join(", ")),
    };
    (format!("there is no shipped mapping `{address}`"), help)
}
