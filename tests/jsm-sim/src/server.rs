//! HTTP/1.1 on loopback around the service.
//!
//! Hides listening, framing, delays and closed connections. Deliberately does not: TLS, HTTP/2, compression.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::pin::pin;
use std::sync::{Arc, RwLockReadGuard, RwLockWriteGuard};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::accounts::Right;
use crate::faults::Fault;
use crate::options::{Flavour, Options};
use crate::service::{Counters, Incoming, Logged, Service};
use crate::store::Store;

/// A running simulator. Dropping it stops it without waiting.
pub struct Sim {
    service: Arc<Service>,
    address: SocketAddr,
    stop: watch::Sender<bool>,
    accepting: Option<tokio::task::JoinHandle<()>>,
}

impl Sim {
    /// Listens on 127.0.0.1 and answers until [`Sim::shutdown`], on the runtime this is called from.
    ///
    /// # Errors
    /// When the port cannot be had.
    pub async fn start(store: Store, options: Options) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, options.port)).await?;
        let address = listener.local_addr()?;
        let service = Arc::new(Service::new(store, options));
        let (stop, stopped) = watch::channel(false);
        let accepting = tokio::spawn(accept(listener, service.clone(), stopped));
        Ok(Self { service, address, stop, accepting: Some(accepting) })
    }

    /// `http://127.0.0.1:PORT`, which stands for the site, the gateway and the sign-in host alike.
    pub fn base_url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The base of the Assets API that a classic token is good for.
    pub fn assets_url(&self) -> String {
        match self.service.options.flavour {
            Flavour::Cloud => {
                format!("{}/jsm/assets/workspace/{}/v1", self.base_url(), self.service.options.workspace_id)
            }
            Flavour::DataCenter => format!("{}/rest/assets/1.0", self.base_url()),
        }
    }

    /// What is held, to change it; requests wait meanwhile. What is changed directly reaches searches by
    /// [`Store::put`] only.
    pub fn store(&self) -> RwLockWriteGuard<'_, Store> {
        self.service.store.write().expect("no panic while changing the store")
    }

    /// What is held, to look at it.
    pub fn read_store(&self) -> RwLockReadGuard<'_, Store> {
        self.service.store.read().expect("no panic while changing the store")
    }

    /// The simulator's own time, since it began.
    pub fn now(&self) -> Duration {
        self.service.now()
    }

    /// Moves the simulator's time on: writes reach the index, limits recover, tokens end.
    pub fn advance(&self, by: Duration) {
        self.service.advance(by);
    }

    /// Changes what every account may do.
    pub fn set_right(&self, right: Right) {
        let mut accounts = self.service.accounts.write().expect("no panic while changing accounts");
        accounts.iter_mut().for_each(|account| account.right = right);
    }

    /// Adds a fault.
    pub fn add_fault(&self, fault: Fault) {
        self.service.faults.add(fault);
    }

    /// Ends all faults.
    pub fn clear_faults(&self) {
        self.service.faults.clear();
    }

    /// All requests so far, in the order they were answered.
    pub fn requests(&self) -> Vec<Logged> {
        self.service.logged()
    }

    /// How often each path was asked.
    pub fn counters(&self) -> Counters {
        self.service.counters()
    }

    /// Requests so far that may have changed something.
    pub fn writes(&self) -> u64 {
        let reads = |name: &str| name.starts_with("GET ") || name.contains("/aql") || name.ends_with("/token");
        self.counters().iter().filter(|(name, _)| !reads(name)).map(|(_, count)| count).sum()
    }

    /// The largest number of requests that were being answered at the same time.
    pub fn peak_in_flight(&self) -> usize {
        self.service.peak()
    }

    /// Forgets requests, counters and peak.
    pub fn clear_requests(&self) {
        self.service.clear();
    }

    /// Stops accepting, lets requests in flight finish (for two seconds at most), and returns.
    pub async fn shutdown(mut self) {
        self.stop.send_replace(true);
        if let Some(accepting) = self.accepting.take() {
            // A panic in there has been printed already; there is nothing left to stop.
            let _ = accepting.await;
        }
    }
}

async fn accept(listener: TcpListener, service: Arc<Service>, mut stopped: watch::Receiver<bool>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            // Both `true` and a dropped sender mean the end.
            _ = stopped.changed() => break,
            accepted = listener.accept() => {
                if let Ok((stream, _)) = accepted {
                    connections.spawn(connection(stream, service.clone(), stopped.clone()));
                }
            }
            Some(_) = connections.join_next() => {}
        }
    }
    let finished = async { while connections.join_next().await.is_some() {} };
    // Connections still open after that are closed by dropping the set.
    let _ = tokio::time::timeout(Duration::from_secs(2), finished).await;
}

async fn connection(stream: TcpStream, service: Arc<Service>, mut stopped: watch::Receiver<bool>) {
    // Without this, small answers wait for the peer's delayed acknowledgement; failing to set it only costs time.
    let _ = stream.set_nodelay(true);
    let answer = service_fn(move |request| answer(service.clone(), request));
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new());
    let mut serving = pin!(builder.serve_connection(TokioIo::new(stream), answer));
    tokio::select! {
        // An error here is a client that went away, or a fault that closed the connection.
        _ = serving.as_mut() => return,
        _ = stopped.changed() => serving.as_mut().graceful_shutdown(),
    }
    let _ = serving.await;
}

/// The error that makes hyper close the connection without an answer.
#[derive(Debug)]
struct Closed;

impl std::fmt::Display for Closed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("closed by a fault")
    }
}

impl std::error::Error for Closed {}

async fn answer(
    service: Arc<Service>,
    request: Request<hyper::body::Incoming>,
) -> Result<Response<Full<Bytes>>, Closed> {
    service.enter();
    let result = respond(&service, request).await;
    service.leave();
    result
}

async fn respond(service: &Service, request: Request<hyper::body::Incoming>) -> Result<Response<Full<Bytes>>, Closed> {
    let (head, body) = request.into_parts();
    let header = |name: &str| head.headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
    let incoming = Incoming {
        method: head.method.as_str().to_owned(),
        path: head.uri.path().to_owned(),
        query: head.uri.query().unwrap_or_default().to_owned(),
        host: header("host").unwrap_or_default(),
        authorization: header("authorization"),
        body: body.collect().await.map_err(|_| Closed)?.to_bytes().to_vec(),
    };
    let outgoing = service.answer(&incoming);
    if !outgoing.delay.is_zero() {
        tokio::time::sleep(outgoing.delay).await;
    }
    let reply = outgoing.reply.ok_or(Closed)?;
    let mut response = Response::new(Full::new(Bytes::from(reply.body)));
    *response.status_mut() = StatusCode::from_u16(reply.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(reply.content_type));
    for (name, value) in reply.headers {
        if let (Ok(name), Ok(value)) = (HeaderName::from_bytes(name.as_bytes()), HeaderValue::from_str(&value)) {
            headers.insert(name, value);
        }
    }
    Ok(response)
}
