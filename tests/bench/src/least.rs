//! The least that a full read costs, worked out from what was read.
//!
//! One list per collection in pages of 999, and one request per group at least, two resource units each: the strategy
//! "parallel, one list per group". Prices: <https://learn.microsoft.com/graph/throttling-limits>.

use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::Path;

/// The largest page that Graph documents for these lists.
const PAGE: u64 = 999;

/// Requests and resource units that no client of this strategy gets below.
#[derive(Clone, Copy, Default)]
pub struct Least {
    pub requests: u64,
    pub units: u64,
}

impl Least {
    /// Of the read that became the snapshot in `folder`.
    pub fn of(folder: &Path) -> io::Result<Least> {
        let pages = |name: &str| -> io::Result<u64> { Ok(count(&folder.join(name))?.div_ceil(PAGE).max(1)) };
        let (users, groups, devices) = (pages("users.jsonl")?, pages("groups.jsonl")?, pages("devices.jsonl")?);
        let mut lists = 0;
        each_line(&folder.join("memberships.jsonl"), |line| {
            // The group's own id is the first; each other one is a member.
            let members = line.matches("\"id\":").count() as u64 - 1;
            lists += members.div_ceil(PAGE).max(1);
        })?;
        Ok(Least {
            requests: users + groups + devices + 1 + lists,
            // Users come with their manager expanded, hence 2; subscribed SKUs cost 2 as well.
            units: 2 * users + groups + devices + 2 + 2 * lists,
        })
    }
}

fn count(path: &Path) -> io::Result<u64> {
    let mut lines = 0;
    each_line(path, |_| lines += 1)?;
    Ok(lines)
}

fn each_line(path: &Path, mut take: impl FnMut(&str)) -> io::Result<()> {
    for line in BufReader::new(File::open(path)?).lines() {
        take(&line?);
    }
    Ok(())
}
