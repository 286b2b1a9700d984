//! The simulator as tests hold it: what is served, what was asked, what goes wrong.
//!
//! Deliberately does not listen itself: see [`sim_server`].

use std::io;
use std::sync::{RwLockReadGuard, RwLockWriteGuard};
use std::time::Duration;

use sim_server::Server;

use crate::accounts::Right;
use crate::faults::Fault;
use crate::options::{Flavour, Options};
use crate::service::{Counters, Logged, Service};
use crate::store::Store;

/// A running simulator. Dropping it stops it without waiting.
pub struct Sim {
    server: Server<Service>,
}

impl Sim {
    /// Listens on 127.0.0.1 and answers until [`Sim::shutdown`], on the runtime this is called from.
    ///
    /// # Errors
    /// When the port cannot be had.
    pub async fn start(store: Store, options: Options) -> io::Result<Self> {
        let port = options.port;
        Ok(Self { server: Server::start(Service::new(store, options), port).await? })
    }

    /// `http://127.0.0.1:PORT`, which stands for the site, the gateway and the sign-in host alike.
    pub fn base_url(&self) -> String {
        self.server.base_url()
    }

    /// The base of the Assets API that a classic token is good for.
    pub fn assets_url(&self) -> String {
        match self.server.service().options.flavour {
            Flavour::Cloud => {
                format!("{}/jsm/assets/workspace/{}/v1", self.base_url(), self.server.service().options.workspace_id)
            }
            Flavour::DataCenter => format!("{}/rest/assets/1.0", self.base_url()),
        }
    }

    /// What is held, to change it; requests wait meanwhile. What is changed directly reaches searches by
    /// [`Store::put`] only.
    pub fn store(&self) -> RwLockWriteGuard<'_, Store> {
        self.server.service().store.write().expect("no panic while changing the store")
    }

    /// What is held, to look at it.
    pub fn read_store(&self) -> RwLockReadGuard<'_, Store> {
        self.server.service().store.read().expect("no panic while changing the store")
    }

    /// The simulator's own time, since it began.
    pub fn now(&self) -> Duration {
        self.server.service().now()
    }

    /// Moves the simulator's time on: writes reach the index, limits recover, tokens end.
    pub fn advance(&self, by: Duration) {
        self.server.service().advance(by);
    }

    /// Changes what every account may do.
    pub fn set_right(&self, right: Right) {
        let mut accounts = self.server.service().accounts.write().expect("no panic while changing accounts");
        accounts.iter_mut().for_each(|account| account.right = right);
    }

    /// Adds a fault.
    pub fn add_fault(&self, fault: Fault) {
        self.server.service().faults.add(fault);
    }

    /// Ends all faults.
    pub fn clear_faults(&self) {
        self.server.service().faults.clear();
    }

    /// All requests so far, in the order they were answered.
    pub fn requests(&self) -> Vec<Logged> {
        self.server.service().logged()
    }

    /// How often each path was asked.
    pub fn counters(&self) -> Counters {
        self.server.service().counters()
    }

    /// Requests so far that may have changed something.
    pub fn writes(&self) -> u64 {
        let reads = |name: &str| name.starts_with("GET ") || name.contains("/aql") || name.ends_with("/token");
        self.counters().iter().filter(|(name, _)| !reads(name)).map(|(_, count)| count).sum()
    }

    /// The largest number of requests that were being answered at the same time.
    pub fn peak_in_flight(&self) -> usize {
        self.server.peak_in_flight()
    }

    /// Forgets requests, counters and peak.
    pub fn clear_requests(&self) {
        self.server.service().clear();
        self.server.clear_peak();
    }

    /// Stops accepting, lets requests in flight finish (for two seconds at most), and returns.
    pub async fn shutdown(self) {
        self.server.shutdown().await;
    }
}
