//! Custom collections: any list of Microsoft Graph that a job, or this program for its users, describes in a few words.
//!
//! Hides nothing of Graph's: the description says where the list is and what its objects are keyed by, and reading it
//! is the same walk as for every other collection. Deliberately has no way to say anything but GET below the Graph host
//! of the job: what a path may be is checked here, in one place.
//! <https://learn.microsoft.com/graph/use-the-api>

mod read;

use std::collections::BTreeMap;

use crate::record::Collection;
use crate::schema::Type;

pub use read::{read_all, read_own};

/// A list of Graph that this program has no row of its own for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Custom {
    /// Always [`Collection::Custom`].
    pub collection: Collection,
    /// `/beta` in place of `/v1.0`: only where the description says so in so many words.
    pub beta: bool,
    /// Below the version, without a leading slash; see [`check_path`].
    pub path: String,
    /// Whether `$select` is sent. Some lists refuse it.
    pub select: bool,
    /// Sent as `$filter`.
    pub filter: Option<String>,
    /// Sent as `$expand`, such as `staffMembers($select=id)`.
    pub expand: Option<String>,
    /// The property that tells its objects apart, and stays the same.
    pub key: String,
    /// Sent as `$top`; none lets Graph decide.
    pub page_size: Option<u32>,
    /// The application permission that reads it, to name it where it is missing; empty where none is described. Kept for
    /// as long as the program runs, like those of the built-in collections.
    pub permission: &'static [&'static str],
    /// For services with a quota of their own; none shares the directory's.
    pub requests_per_minute: Option<u32>,
    /// Types of properties; one that is not among them may hold anything.
    pub properties: BTreeMap<String, Type>,
}

impl Custom {
    /// The name in job and mapping files.
    pub fn name(&self) -> &'static str {
        self.collection.name()
    }

    /// Which objects it is a list of: what must be agreed to anew when it is edited, as with a filter.
    pub fn address(&self) -> String {
        let version = if self.beta { "beta" } else { "v1.0" };
        let filter = self.filter.as_ref().map(|filter| format!("?$filter={filter}")).unwrap_or_default();
        format!("{version}/{}{filter} by {}", self.path, self.key)
    }

    /// The names that `$expand` brings along; they cannot be selected.
    pub fn expanded(&self) -> impl Iterator<Item = &str> {
        let mut depth = 0_usize;
        let parts = self.expand.as_deref().unwrap_or_default().split(move |c| {
            match c {
                '(' => depth += 1,
                ')' => depth = depth.saturating_sub(1),
                _ => {}
            }
            c == ',' && depth == 0
        });
        parts.map(|part| part.split(['(', '/']).next().unwrap_or_default().trim()).filter(|name| !name.is_empty())
    }
}

/// Says why a text cannot be the path of a custom collection: it must lead to a list below the API version, and
/// nowhere else.
pub fn check_path(path: &str) -> Result<(), &'static str> {
    let plain =
        |c: char| c.is_ascii_alphanumeric() || matches!(c, '/' | '-' | '_' | '.' | '$' | '(' | ')' | '=' | '\'');
    let mut segments = path.split('/');
    if path.contains("://") || path.starts_with("//") {
        return Err("a path has no host: the job's Graph address is put before it");
    }
    if !path.starts_with(|first: char| first.is_ascii_alphabetic()) {
        return Err("the path is relative to the API version: solutions/bookingBusinesses");
    }
    if path.contains(['?', '#', '&']) {
        return Err("a query does not belong into the path: there are `filter`, `expand` and `page_size`");
    }
    if !path.chars().all(plain) {
        return Err("a path holds letters, digits and / - _ . $ ( ) = ' only");
    }
    if segments.any(|segment| segment.is_empty() || segment.chars().all(|c| c == '.')) {
        return Err("a path has no empty segment, `.` or `..`");
    }
    if matches!(path.split('/').next(), Some("v1.0" | "beta")) {
        return Err("the version does not belong into the path: v1.0 is the default, `version = \"beta\"` the other");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_stays_below_the_api_version() {
        for good in ["solutions/bookingBusinesses", "deviceManagement/managedDevices", "sites/main/lists", "a(b='c')/d"]
        {
            assert_eq!(check_path(good), Ok(()), "{good}");
        }
        for bad in [
            "",
            "/users",
            "//evil.example/users",
            "https://evil.example/x",
            "users/../../x",
            "a/./b",
            "a//b",
            "users?x=1",
            "users#x",
            "v1.0/users",
            "beta/users",
            "users%2f..",
            "a b",
            "a\\b",
            "users/",
            "a:b",
            "a@b",
        ] {
            assert!(check_path(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn expanded_names_are_told_from_what_is_inside_them() {
        let custom = |expand: Option<&str>| Custom {
            collection: Collection::custom("things").unwrap(),
            beta: false,
            path: "things".into(),
            select: true,
            filter: None,
            expand: expand.map(str::to_owned),
            key: "id".into(),
            page_size: None,
            permission: &[],
            requests_per_minute: None,
            properties: BTreeMap::new(),
        };
        let names = |expand: &str| custom(Some(expand)).expanded().map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(names("staff($select=id,name),services"), ["staff", "services"]);
        assert_eq!(names("a/b , c"), ["a", "c"]);
        assert_eq!(custom(None).expanded().count(), 0);
    }
}
