//! HTTP on loopback around the service: HTTP/1.1 with keep-alive, and HTTP/2 for who begins with it.
//!
//! Hides: listening, framing, compression, delays, cut bodies and closed connections.
//! Deliberately does not: TLS.

use std::collections::VecDeque;
use std::future::Future as _;
use std::io::{self, Write as _};
use std::net::{Ipv4Addr, SocketAddr};
use std::pin::{Pin, pin};
use std::sync::{Arc, RwLockReadGuard, RwLockWriteGuard};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use http_body_util::BodyExt as _;
use hyper::body::{Body, Frame, SizeHint};
use hyper::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HeaderName, HeaderValue, VARY};
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, Sleep, sleep, sleep_until};

use crate::faults::Fault;
use crate::options::Options;
use crate::service::{Counters, Incoming, Logged, Manner, Service};
use crate::tenant::Tenant;

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
    pub async fn start(tenant: Tenant, options: Options) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, options.port)).await?;
        let address = listener.local_addr()?;
        let public_base = options.public_base.clone();
        let service = Arc::new(Service::new(tenant, options));
        {
            let mut registration = service.registration.write().expect("no panic while registering");
            registration.resources.extend([Some(format!("http://{address}")), public_base].into_iter().flatten());
        }
        let (stop, stopped) = watch::channel(false);
        let accepting = tokio::spawn(accept(listener, service.clone(), stopped));
        Ok(Self { service, address, stop, accepting: Some(accepting) })
    }

    /// `http://127.0.0.1:PORT`: Graph is below `/v1.0`, the token endpoint below `/{tenant}/oauth2/v2.0/token`.
    pub fn base_url(&self) -> String {
        format!("http://{}", self.address)
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
        self.service.tenant.write().expect("no panic while changing the tenant")
    }

    /// The tenant, to look at it.
    pub fn read_tenant(&self) -> RwLockReadGuard<'_, Tenant> {
        self.service.tenant.read().expect("no panic while changing the tenant")
    }

    /// From now on one replica lags behind: it goes on answering from the tenant as it is now, whenever a fault says
    /// [`crate::FaultKind::Stale`].
    pub fn lag(&self) {
        let now = self.read_tenant().clone();
        *self.service.replica.write().expect("no panic while copying the tenant") = Some(now);
    }

    /// Changes the roles of tokens issued from now on; a token issued before keeps its own.
    pub fn set_roles(&self, roles: &[&str]) {
        let mut registration = self.service.registration.write().expect("no panic while registering");
        registration.roles = roles.iter().map(|&role| role.to_owned()).collect();
    }

    /// Changes the registered secret.
    pub fn set_client_secret(&self, secret: &str) {
        secret.clone_into(&mut self.service.registration.write().expect("no panic while registering").secret);
    }

    /// Adds a fault to the running simulator.
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

    /// Sums over all requests so far.
    pub fn counters(&self) -> Counters {
        self.service.counters()
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
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new());
    builder.http2().timer(TokioTimer::new());
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

async fn answer(service: Arc<Service>, request: Request<hyper::body::Incoming>) -> Result<Response<Sent>, Closed> {
    service.enter();
    let result = respond(&service, request).await;
    service.leave();
    result
}

async fn respond(service: &Service, request: Request<hyper::body::Incoming>) -> Result<Response<Sent>, Closed> {
    let arrived = Instant::now();
    let (head, body) = request.into_parts();
    let header = |name: &str| head.headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
    let incoming = Incoming {
        method: head.method.as_str().to_owned(),
        path: head.uri.path().to_owned(),
        query: head.uri.query().unwrap_or_default().to_owned(),
        host: header("host").or_else(|| head.uri.host().map(str::to_owned)).unwrap_or_default(),
        authorization: header("authorization"),
        gzip: header("accept-encoding").is_some_and(|encodings| encodings.contains("gzip")),
        client_request_id: header("client-request-id"),
        priority: header("x-ms-throttle-priority"),
        identity: header("x-identity-header").or_else(|| header("metadata")),
        eventual: header("consistencylevel").is_some_and(|level| level.eq_ignore_ascii_case("eventual")),
        minimal: header("prefer").is_some_and(|prefer| prefer.contains("return=minimal")),
        body: body.collect().await.map_err(|_| Closed)?.to_bytes().to_vec(),
    };
    let outgoing = service.answer(&incoming);
    let reply = outgoing.reply;
    let packed = (service.gzip && incoming.gzip && reply.body.len() >= GZIP_FROM).then(|| gzip(&reply.body));
    if !outgoing.delay.is_zero() {
        // A latency is the time to the first byte: what the work took is part of it.
        sleep_until(arrived + outgoing.delay).await;
    }
    if outgoing.manner == Manner::Reset {
        return Err(Closed);
    }
    let encoded = packed.is_some();
    let body = Bytes::from(packed.unwrap_or(reply.body));
    let length = body.len();
    let sent = match outgoing.manner {
        Manner::Cut => Sent {
            pieces: VecDeque::from([body.slice(..length / 2)]),
            pause: Duration::ZERO,
            waiting: None,
            // What was given is flushed while this passes; an error at once would discard it.
            cut: Some(Box::pin(sleep(Duration::from_millis(10)))),
        },
        Manner::Drip(pause) => {
            let size = length.div_ceil(8).max(1);
            let pieces = (0..length).step_by(size).map(|at| body.slice(at..length.min(at + size)));
            Sent { pieces: pieces.collect(), pause, waiting: Some(Box::pin(sleep(pause))), cut: None }
        }
        _ => Sent { pieces: VecDeque::from([body]), pause: Duration::ZERO, waiting: None, cut: None },
    };
    let mut response = Response::new(sent);
    *response.status_mut() = StatusCode::from_u16(reply.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(reply.content_type));
    headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
    headers.insert(VARY, HeaderValue::from_static("Accept-Encoding"));
    if encoded {
        headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    for (name, value) in reply.headers {
        if let (Ok(name), Ok(value)) = (HeaderName::from_bytes(name.as_bytes()), HeaderValue::from_str(&value)) {
            headers.insert(name, value);
        }
    }
    Ok(response)
}

/// Shorter answers are sent as they are.
const GZIP_FROM: usize = 128;

fn gzip(body: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::with_capacity(body.len() / 4), Compression::fast());
    encoder.write_all(body).and_then(|()| encoder.finish()).expect("writing to a buffer")
}

/// A body in pieces that may come slowly, or end before it should.
struct Sent {
    pieces: VecDeque<Bytes>,
    pause: Duration,
    /// Passes before the next piece.
    waiting: Option<Pin<Box<Sleep>>>,
    /// Set for a cut body: passes after the last piece, before the connection breaks.
    cut: Option<Pin<Box<Sleep>>>,
}

impl Body for Sent {
    type Data = Bytes;
    type Error = Closed;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Closed>>> {
        if let Some(waiting) = &mut self.waiting {
            std::task::ready!(waiting.as_mut().poll(context));
            self.waiting = None;
        }
        match (self.pieces.pop_front(), &mut self.cut) {
            (Some(bytes), _) => {
                if !self.pieces.is_empty() && !self.pause.is_zero() {
                    self.waiting = Some(Box::pin(sleep(self.pause)));
                }
                Poll::Ready(Some(Ok(Frame::data(bytes))))
            }
            (None, Some(pause)) => pause.as_mut().poll(context).map(|()| Some(Err(Closed))),
            (None, None) => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.pieces.is_empty() && self.cut.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        match &self.cut {
            None => SizeHint::with_exact(self.pieces.iter().map(|piece| piece.len() as u64).sum()),
            Some(_) => SizeHint::default(),
        }
    }
}
