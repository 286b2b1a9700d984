//! A faithful, hostile Jira Service Management Assets on loopback, with its data in memory: Cloud or Data Center.
//!
//! Tests, demos and benchmarks of `entra-import` run against it, and so can any other Assets client. It follows
//! Atlassian's published definition and the shapes that public clients rely on, not our client; where these leave room
//! (page sizes, whether `total` is there, order without ORDER BY, the delay of the index), every reading can be set.
//! [`Sim::start`] runs it, [`Store`] is what it serves, [`Fault`] makes it misbehave.
//!
//! Deliberately not covered: imports, history, attachments, tickets, TLS; permissions finer than one right per account.

mod accounts;
mod api;
mod aql;
mod check;
mod faults;
mod objects;
mod odd;
mod options;
mod rates;
mod reply;
mod server;
mod service;
mod shape;
mod store;
#[cfg(test)]
mod tests;

pub use accounts::{Account, Proof, Right};
pub use faults::{Fault, FaultKind};
pub use options::{
    CLIENT_ID, CLIENT_SECRET, CLOUD_ID, EMAIL, Flavour, Options, PERSONAL_TOKEN, TOKEN, Totals, WORKSPACE_ID,
};
pub use server::Sim;
pub use service::{Counters, Logged};
pub use sim_server::RetryAfter;
pub use store::{Attribute, DefaultType, Event, Id, Kind, Object, ObjectType, Person, Schema, Store, Stored};
