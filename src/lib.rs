//! Imports Microsoft Entra ID into an asset system or CSV: extract, scope, map, compare, hold or apply.
//!
//! `ARCHITECTURE.md` has the map and the invariants; [`sync`] is the whole run on one screen.

pub mod diagnostic;
pub mod error;
pub mod expr;
pub mod job;
pub mod mapping;
pub mod plan;
pub mod record;
pub mod schema;
pub mod sku_names;
pub mod tree;
