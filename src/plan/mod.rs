//! The plan: what would change and why, as plain data.

pub mod datum;
pub mod policy;
