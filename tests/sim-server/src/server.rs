//! HTTP on loopback around a service: HTTP/1.1 with keep-alive, and HTTP/2 for who begins with it.
//!
//! Hides listening, framing, compression, delays, cut bodies, closed connections, and how many requests are answered at
//! once. Deliberately does not: TLS.

use std::collections::VecDeque;
use std::future::Future as _;
use std::io::{self, Write as _};
use std::net::{Ipv4Addr, SocketAddr};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
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

use crate::reply::{Incoming, Manner, Outgoing};

/// What is simulated.
pub trait Service: Send + Sync + 'static {
    /// Answers a request, without waiting.
    fn answer(&self, incoming: &Incoming) -> Outgoing;

    /// Whether answers are compressed for who accepts it.
    fn gzip(&self) -> bool {
        false
    }
}

/// A service that listens. Dropping it stops it without waiting.
pub struct Server<S> {
    shared: Arc<Shared<S>>,
    address: SocketAddr,
    stop: watch::Sender<bool>,
    accepting: Option<tokio::task::JoinHandle<()>>,
}

struct Shared<S> {
    service: S,
    in_flight: AtomicUsize,
    peak: AtomicUsize,
}

impl<S: Service> Server<S> {
    /// Listens on this port of 127.0.0.1 (0 takes a free one) and answers until [`Server::shutdown`], on the runtime this
    /// is called from.
    ///
    /// # Errors
    /// When the port cannot be had.
    pub async fn start(service: S, port: u16) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared { service, in_flight: AtomicUsize::new(0), peak: AtomicUsize::new(0) });
        let (stop, stopped) = watch::channel(false);
        let accepting = tokio::spawn(accept(listener, shared.clone(), stopped));
        Ok(Self { shared, address, stop, accepting: Some(accepting) })
    }

    pub fn service(&self) -> &S {
        &self.shared.service
    }

    /// `http://127.0.0.1:PORT`
    pub fn base_url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The largest number of requests that were being answered at the same time.
    pub fn peak_in_flight(&self) -> usize {
        self.shared.peak.load(Ordering::Relaxed)
    }

    pub fn clear_peak(&self) {
        self.shared.peak.store(0, Ordering::Relaxed);
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

async fn accept<S: Service>(listener: TcpListener, shared: Arc<Shared<S>>, mut stopped: watch::Receiver<bool>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            // Both `true` and a dropped sender mean the end.
            _ = stopped.changed() => break,
            accepted = listener.accept() => {
                if let Ok((stream, _)) = accepted {
                    connections.spawn(connection(stream, shared.clone(), stopped.clone()));
                }
            }
            Some(_) = connections.join_next() => {}
        }
    }
    let finished = async { while connections.join_next().await.is_some() {} };
    // Connections still open after that are closed by dropping the set.
    let _ = tokio::time::timeout(Duration::from_secs(2), finished).await;
}

async fn connection<S: Service>(stream: TcpStream, shared: Arc<Shared<S>>, mut stopped: watch::Receiver<bool>) {
    // Without this, small answers wait for the peer's delayed acknowledgement; failing to set it only costs time.
    let _ = stream.set_nodelay(true);
    let answer = service_fn(move |request| answer(shared.clone(), request));
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

async fn answer<S: Service>(
    shared: Arc<Shared<S>>,
    request: Request<hyper::body::Incoming>,
) -> Result<Response<Sent>, Closed> {
    let now = shared.in_flight.fetch_add(1, Ordering::Relaxed) + 1;
    shared.peak.fetch_max(now, Ordering::Relaxed);
    let result = respond(&shared.service, request).await;
    shared.in_flight.fetch_sub(1, Ordering::Relaxed);
    result
}

async fn respond(service: &impl Service, request: Request<hyper::body::Incoming>) -> Result<Response<Sent>, Closed> {
    let arrived = Instant::now();
    let (head, body) = request.into_parts();
    let headers = head.headers.iter();
    let headers = headers.filter_map(|(name, value)| Some((name.as_str().to_owned(), value.to_str().ok()?.to_owned())));
    let mut incoming = Incoming {
        method: head.method.as_str().to_owned(),
        path: head.uri.path().to_owned(),
        query: head.uri.query().unwrap_or_default().to_owned(),
        host: String::new(),
        headers: headers.collect(),
        body: body.collect().await.map_err(|_| Closed)?.to_bytes().to_vec(),
    };
    incoming.host = incoming.header("host").or(head.uri.host()).unwrap_or_default().to_owned();
    let outgoing = service.answer(&incoming);
    let takes_gzip = incoming.header("accept-encoding").is_some_and(|encodings| encodings.contains("gzip"));
    let reply = outgoing.reply;
    let packed = (service.gzip() && takes_gzip && reply.body.len() >= GZIP_FROM).then(|| gzip(&reply.body));
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
    let mut response = Response::new(Sent::new(body, outgoing.manner));
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

impl Sent {
    fn new(body: Bytes, manner: Manner) -> Self {
        let length = body.len();
        match manner {
            Manner::Cut => Self {
                pieces: VecDeque::from([body.slice(..length / 2)]),
                pause: Duration::ZERO,
                waiting: None,
                // What was given is flushed while this passes; an error at once would discard it.
                cut: Some(Box::pin(sleep(Duration::from_millis(10)))),
            },
            Manner::Drip(pause) => {
                let size = length.div_ceil(8).max(1);
                let pieces = (0..length).step_by(size).map(|at| body.slice(at..length.min(at + size)));
                Self { pieces: pieces.collect(), pause, waiting: Some(Box::pin(sleep(pause))), cut: None }
            }
            Manner::Whole | Manner::Reset => {
                Self { pieces: VecDeque::from([body]), pause: Duration::ZERO, waiting: None, cut: None }
            }
        }
    }
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
