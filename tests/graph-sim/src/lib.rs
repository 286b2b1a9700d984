//! A faithful, hostile Microsoft Graph v1.0 and Entra token endpoint on loopback, with a tenant in memory.
//!
//! Tests, demos and benchmarks of `entra-import` run against it. It follows Microsoft's documentation, not the client:
//! where the documentation leaves room (order of items, order of batch answers, size of delta pages), it takes the
//! least convenient reading. [`Sim::start`] runs it, [`Tenant`] is what it serves, [`Fault`] makes it misbehave.
//!
//! Deliberately not covered: writes, reports, TLS; of Intune and Bookings, all but one list each.

mod assertion;
mod batch;
mod columns;
mod delta;
mod faults;
mod filter;
mod graph;
mod identity;
mod load;
mod night;
mod object;
mod odd;
mod options;
mod order;
mod query;
mod related;
mod replay;
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

pub use assertion::Federation;
pub use faults::{Fault, FaultKind};
pub use identity::IDENTITY_HEADER;
pub use object::Object;
pub use options::{CLIENT_ID, CLIENT_SECRET, Options};
pub use replay::Replay;
pub use schema::Kind;
pub use server::Sim;
pub use service::{Counters, Logged};
pub use sim_server::RetryAfter;
pub use synthetic::Size;
pub use tenant::{Deletion, Member, Tenant};
pub use units::Quota;
