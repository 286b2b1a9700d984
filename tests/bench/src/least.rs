//! The least that a full read costs, worked out from what was read.
//!
//! One list per collection in pages of 999; for the members, one request per group at least, or pages of expanded groups
//! and a request for each group that shows 20. Prices: <https://learn.microsoft.com/graph/throttling-limits>.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader};
use std::path::Path;

use serde_json::Value;

/// The largest page that Graph documents for these lists.
const PAGE: u64 = 999;
/// Groups on a page of the simulator's when members are expanded; Graph's number is not documented.
const EXPANDED_PAGE: u64 = 100;
/// An expansion shows no more; such a group must be listed.
const SHOWN_MAX: u64 = 20;

/// Requests and resource units that no read of this tenant gets below, and the longest walk that nothing shortens.
#[derive(Clone, Copy, Default)]
pub struct Least {
    pub requests: u64,
    pub units: u64,
    /// In pages.
    pub chain: u64,
}

impl Least {
    /// Of the read that became the snapshot in `folder`, in the way that its manifest names.
    /// <https://learn.microsoft.com/graph/throttling-limits>: users with their manager expanded 2, member lists 2,
    /// subscribed SKUs 2, everything else 1.
    pub fn of(folder: &Path) -> io::Result<Least> {
        let manifest: Value = serde_json::from_reader(File::open(folder.join("manifest.json"))?)?;
        let pages = |name: &str| -> io::Result<u64> { Ok(count(&folder.join(name))?.div_ceil(PAGE).max(1)) };
        let (users, groups, devices) = (pages("users.jsonl")?, pages("groups.jsonl")?, pages("devices.jsonl")?);
        let expanded = manifest["collections"]["memberships"]["read_by"]["strategy"] == "expand";
        let (mut lists, mut longest, mut all) = (0, 0, 0);
        for line in BufReader::new(File::open(folder.join("memberships.jsonl"))?).lines() {
            // The group's own id is the first; each other one is a member.
            let members = line?.matches("\"id\":").count() as u64 - 1;
            let pages = members.div_ceil(PAGE).max(1);
            all += 1;
            longest = longest.max(pages);
            lists += if expanded && members < SHOWN_MAX { 0 } else { pages };
        }
        let expansions = if expanded { u64::div_ceil(all, EXPANDED_PAGE).max(1) } else { 0 };
        Ok(Least {
            requests: users + groups + devices + 1 + expansions + lists,
            units: 2 * users + groups + devices + 2 + expansions + 2 * lists,
            chain: users.max(groups + longest).max(devices),
        })
    }
}

fn count(path: &Path) -> io::Result<u64> {
    let bytes = fs::read(path)?;
    Ok(bytes.iter().filter(|byte| **byte == b'\n').count() as u64)
}
