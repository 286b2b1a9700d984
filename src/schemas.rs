//! The JSON Schemas of the files a user writes, for editors and for whoever generates such files.
//!
//! Hides where they are kept. Deliberately judges no file itself: what is right is what the readers of jobs and mappings
//! accept; the tests hold the two together, key by key. Profiles have no reader yet: theirs is held against examples.

/// Of job files.
pub const JOB: &str = include_str!("../schemas/job.json");

/// Of mapping files.
pub const MAPPING: &str = include_str!("../schemas/mapping.json");

/// Of profiles: how to speak to a system over REST. No target reads them yet.
pub const PROFILE: &str = include_str!("../schemas/profile.json");

#[cfg(test)]
mod tests;
