//! A faithful, hostile Microsoft Graph v1.0 and Entra token endpoint on loopback, with a tenant in memory.
//!
//! Tests, demos and benchmarks of `entra-import` run against it. It follows Microsoft's documentation, not the client:
//! where the documentation leaves room (order of items, order of batch answers, size of delta pages), it takes the
//! least convenient reading. [`Sim::start`] runs it, [`Tenant`] is what it serves, [`Fault`] makes it misbehave.
//!
//! Deliberately not covered: writes, delegated tokens, reports, TLS; of Intune and Bookings, all but one list each.

mod batch;
mod columns;
mod delta;
mod faults;
mod filter;
mod graph;
mod load;
mod night;
mod object;
mod options;
mod order;
mod query;
mod related;
mod reply;
mod rights;
mod schema;
mod server;
mod service;
mod sheets;
mod synthetic;
mod tenant;
#[cfg(test)]
mod tests;
mod token;
mod units;

pub use faults::{Fault, FaultKind, RetryAfter};
pub use object::Object;
pub use options::{CLIENT_ID, CLIENT_SECRET, Options};
pub use schema::Kind;
pub use server::Sim;
pub use service::{Counters, Logged};
pub use synthetic::Size;
pub use tenant::{Deletion, Member, Tenant};
pub use units::Quota;
