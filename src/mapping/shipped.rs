//! The mappings that come with the program, compiled in and addressed `csv/users@1`.
//!
//! Hides where they are kept. Deliberately pins: a job names the version it was written for, so that a new program
//! never changes what an old job writes.

use std::sync::Arc;

use crate::diagnostic::{Place, Problems, SourceFile, nearest};

/// Address, version and text of each shipped mapping.
const SHIPPED: [(&str, u32, &str); 24] = [
    ("csv/users", 1, include_str!("../../mappings/csv/users.toml")),
    ("csv/groups", 1, include_str!("../../mappings/csv/groups.toml")),
    ("csv/memberships", 1, include_str!("../../mappings/csv/memberships.toml")),
    ("csv/nestings", 1, include_str!("../../mappings/csv/nestings.toml")),
    ("csv/licenses", 1, include_str!("../../mappings/csv/licenses.toml")),
    ("csv/license_assignments", 1, include_str!("../../mappings/csv/license_assignments.toml")),
    ("csv/devices", 1, include_str!("../../mappings/csv/devices.toml")),
    ("csv/group_owners", 1, include_str!("../../mappings/csv/group_owners.toml")),
    ("csv/effective_memberships", 1, include_str!("../../mappings/csv/effective_memberships.toml")),
    ("csv/device_owners", 1, include_str!("../../mappings/csv/device_owners.toml")),
    ("csv/device_users", 1, include_str!("../../mappings/csv/device_users.toml")),
    ("csv/administrative_units", 1, include_str!("../../mappings/csv/administrative_units.toml")),
    ("csv/administrative_unit_members", 1, include_str!("../../mappings/csv/administrative_unit_members.toml")),
    ("csv/directory_roles", 1, include_str!("../../mappings/csv/directory_roles.toml")),
    ("csv/directory_role_members", 1, include_str!("../../mappings/csv/directory_role_members.toml")),
    ("csv/organization", 1, include_str!("../../mappings/csv/organization.toml")),
    ("csv/deleted_users", 1, include_str!("../../mappings/csv/deleted_users.toml")),
    ("csv/deleted_groups", 1, include_str!("../../mappings/csv/deleted_groups.toml")),
    ("csv/booking_businesses", 1, include_str!("../../mappings/csv/booking_businesses.toml")),
    ("csv/managed_devices", 1, include_str!("../../mappings/csv/managed_devices.toml")),
    ("jsm-assets/user", 1, include_str!("../../mappings/jsm-assets/user.toml")),
    ("jsm-assets/group", 1, include_str!("../../mappings/jsm-assets/group.toml")),
    ("jsm-assets/license", 1, include_str!("../../mappings/jsm-assets/license.toml")),
    ("jsm-assets/device", 1, include_str!("../../mappings/jsm-assets/device.toml")),
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
        return (
            message,
            format!("write `{name}@{version}`: the version keeps a new program from changing your columns"),
        );
    }
    let help = match nearest(address, known.iter().map(String::as_str)) {
        Some(near) => format!("did you mean `{near}`? a mapping file of your own ends with .toml"),
        None => format!("shipped mappings: {}; a mapping file of your own ends with .toml", known.join(", ")),
    };
    (format!("there is no shipped mapping `{address}`"), help)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mapping::{Identity, run_tests, test_file};

    #[test]
    fn every_shipped_mapping_passes_its_own_tests() {
        for (address, version, text) in SHIPPED {
            let (mapping, catalog) =
                test_file(&format!("{address}@{version}"), false).unwrap_or_else(|error| panic!("{error}"));
            assert!(text.contains(&format!("version = {version}\n")), "{address} says another version");
            assert!(!mapping.tests.is_empty(), "{address} has no test");
            for result in run_tests(&mapping, &catalog) {
                assert!(result.passed(), "{address}: {result:?}");
            }
        }
    }

    #[test]
    fn every_column_of_a_shipped_mapping_is_shown_by_a_test() {
        for address in addresses() {
            let (mapping, _) = test_file(&address, false).unwrap();
            for (index, attribute) in mapping.attributes.iter().enumerate() {
                let shown = mapping.tests.iter().any(|case| {
                    case.expect.iter().flatten().any(|(expected, value)| *expected == index && !value.is_empty())
                });
                assert!(shown, "no test of {address} shows \"{}\"", attribute.name);
            }
        }
    }

    #[test]
    fn shipped_mappings_are_named_like_what_they_read() {
        for address in addresses() {
            let Identity { name, source, target, .. } = test_file(&address, false).unwrap().0.identity();
            let (folder, rest) = address.split_once('/').unwrap();
            assert_eq!(rest, format!("{name}@1"));
            match folder {
                "csv" => assert_eq!((name.as_str(), target.as_str()), (source.name(), source.name())),
                // Object types are called after one object.
                _ => assert_eq!((format!("{name}s"), target.to_lowercase()), (source.name().to_string(), name)),
            }
        }
    }

    #[test]
    fn an_unknown_address_is_explained() {
        let cases = [
            ("csv/users", "`csv/users` names no version", "write `csv/users@1`"),
            ("csv/users@7", "no version of `csv/users` called `csv/users@7`", "write `csv/users@1`"),
            ("csv/user@1", "no shipped mapping `csv/user@1`", "did you mean `csv/users@1`?"),
            ("snipe/assets@1", "no shipped mapping `snipe/assets@1`", "shipped mappings: csv/users@1, csv/groups@1"),
        ];
        for (address, message, help) in cases {
            let (got_message, got_help) = unknown(address);
            assert!(got_message.contains(message) && got_help.contains(help), "{got_message}; {got_help}");
        }
    }
}
