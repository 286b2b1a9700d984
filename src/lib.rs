//! Imports Microsoft Entra ID into an asset system or CSV: extract, scope, map, compare, hold or apply.
//!
//! `ARCHITECTURE.md` has the map and the invariants; [`sync`] is the whole run on one screen.

pub mod apply;
pub mod baseline;
pub mod bundle;
pub mod cli;
pub mod clock;
pub mod closure;
pub mod commands;
pub mod crash;
pub mod custom;
pub mod diagnostic;
pub mod directory;
pub mod distinct;
pub mod error;
pub mod explain;
pub mod expr;
pub mod find;
pub mod http;
pub mod job;
pub mod json;
pub mod ledger;
pub mod lock;
pub mod lookup;
pub mod mapping;
pub mod notify;
pub mod plan;
pub mod record;
pub mod recording;
pub mod report;
pub mod schema;
pub mod schemas;
pub mod scope;
pub mod secret;
pub mod session;
pub mod sides;
pub mod sku_names;
pub mod snapshot;
pub mod source;
pub mod spill;
pub mod state;
pub mod step;
pub mod sync;
pub mod tables;
pub mod target;
#[cfg(test)]
mod testing;
pub mod tree;
pub mod trial;
pub mod visible;
