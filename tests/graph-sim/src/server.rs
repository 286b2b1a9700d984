//! The simulator as tests hold it: what is served, what was asked, what goes wrong.
//!
//! Deliberately does not listen itself: see [`sim_server`].

use std::io;
use std::sync::{RwLockReadGuard, RwLockWriteGuard};

use sim_server::Server;

use crate::faults::Fault;
use crate::options::Options;
use crate::service::{Counters, Logged, Service};
use crate::tenant::Tenant;

/// A running simulator. Dropping it stops it without waiting.
pub struct Sim {
    server: Server<Service>,
}

impl Sim {
    /// Listens on 127.0.0.1 and answers until [`Sim::shutdown`], on the runtime this is called from.
    ///
    /// # Errors
    /// When the port cannot be had.
    pub async fn start(tenant: Tenant, options: Options) -> io::Result<Self> {
        let (port, public_base) = (options.port, options.public_base.clone());
        let server = Server::start(Service::new(tenant, options), port).await?;
        {
            let mut registration = server.service().registration.write().expect("no panic while registering");
            registration.resources.extend([Some(server.base_url()), public_base].into_iter().flatten());
        }
        Ok(Self { server })
    }

    /// `http://127.0.0.1:PORT`: Graph is below `/v1.0`, the token endpoint below `/{tenant}/oauth2/v2.0/token`.
    pub fn base_url(&self) -> String {
        self.server.base_url()
    }

    /// The address of Graph's version: `{base}/v1.0`.
    pub fn graph_url(&self) -> String {
        format!("{}/v1.0", self.base_url())
    }

    /// The address of the tenant's token endpoint.
    pub fn token_url(&self) -> String {
        format!("{}/{}/oauth2/v2.0/token", self.base_url(), self.read_tenant().id())
    }

    /// The tenant, to change it; requests wait meanwhile, so do not hold this across an await.
    pub fn tenant(&self) -> RwLockWriteGuard<'_, Tenant> {
        self.server.service().tenant.write().expect("no panic while changing the tenant")
    }

    /// The tenant, to look at it.
    pub fn read_tenant(&self) -> RwLockReadGuard<'_, Tenant> {
        self.server.service().tenant.read().expect("no panic while changing the tenant")
    }

    /// From now on one replica lags behind: it goes on answering from the tenant as it is now, whenever a fault says
    /// [`crate::FaultKind::Stale`].
    pub fn lag(&self) {
        let now = self.read_tenant().clone();
        *self.server.service().replica.write().expect("no panic while copying the tenant") = Some(now);
    }

    /// Changes the roles of tokens issued from now on; a token issued before keeps its own.
    pub fn set_roles(&self, roles: &[&str]) {
        let mut registration = self.server.service().registration.write().expect("no panic while registering");
        registration.roles = roles.iter().map(|&role| role.to_owned()).collect();
    }

    /// Changes the registered secret.
    pub fn set_client_secret(&self, secret: &str) {
        secret.clone_into(&mut self.server.service().registration.write().expect("no panic while registering").secret);
    }

    /// Adds a fault to the running simulator.
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

    /// Sums over all requests so far.
    pub fn counters(&self) -> Counters {
        self.server.service().counters()
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
