//! What the simulators share: HTTP on loopback around a service, faults on order, commands on stdin.
//!
//! A simulator is a [`Service`], which turns an [`Incoming`] request into an [`Outgoing`] answer without sockets;
//! [`Server`] listens for it. Deliberately knows no service's addresses, shapes or rules, and speaks no TLS.

mod commands;
mod faults;
mod reply;
mod server;

pub use commands::commands;
pub use faults::{Fault, FaultKind, Faults, RetryAfter, hash};
pub use reply::{Incoming, Manner, Outgoing, Reply, http_date};
pub use server::{Server, Service};
