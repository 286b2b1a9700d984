//! The program over TLS, as in earnest: an authority of our own, HTTP/2 agreed on in the handshake, compressed answers.
//!
//! A door in front of the simulator ends TLS and passes on what was inside, byte for byte.

use std::fs;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};

use graph_sim::{Options, Size, Tenant};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio_rustls::TlsAcceptor;

use crate::world::{ALL, World, all_rights, files_under};

const DATA: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/certificates");

/// What passed the door.
#[derive(Default)]
struct Seen {
    /// Of each connection, what both sides agreed to speak.
    protocols: Mutex<Vec<String>>,
    /// From the simulator to the program, inside TLS.
    answered_bytes: AtomicU64,
}

/// Passes everything on until the end.
async fn pass(mut from: impl AsyncRead + Unpin, mut to: impl AsyncWrite + Unpin, count: &AtomicU64) {
    let mut buffer = vec![0; 16 * 1024];
    while let Ok(n @ 1..) = from.read(&mut buffer).await {
        count.fetch_add(n as u64, Relaxed);
        if to.write_all(&buffer[..n]).await.is_err() || to.flush().await.is_err() {
            break;
        }
    }
    let _ = to.shutdown().await;
}

/// Lets in who trusts our authority, to the simulator at `inside`.
async fn door(listener: std::net::TcpListener, inside: SocketAddr, seen: Arc<Seen>) {
    let pem = format!("{DATA}/server.pem");
    let chain: Vec<_> = CertificateDer::pem_file_iter(&pem).unwrap().map(Result::unwrap).collect();
    let key = PrivateKeyDer::from_pem_file(&pem).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let mut config = config.unwrap().with_no_client_auth().with_single_cert(chain, key).unwrap();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::from_std(listener).unwrap();
    while let Ok((outer, _)) = listener.accept().await {
        let (acceptor, seen) = (acceptor.clone(), seen.clone());
        tokio::spawn(async move {
            // A client that trusts nobody breaks off here.
            let Ok(outer) = acceptor.accept(outer).await else { return };
            let protocol = outer.get_ref().1.alpn_protocol().unwrap_or(b"none");
            seen.protocols.lock().unwrap().push(String::from_utf8_lossy(protocol).into_owned());
            let inner = TcpStream::connect(inside).await.unwrap();
            let ((from_outer, to_outer), (from_inner, to_inner)) = (tokio::io::split(outer), inner.into_split());
            let asked_bytes = AtomicU64::new(0);
            tokio::join!(pass(from_outer, to_inner, &asked_bytes), pass(from_inner, to_outer, &seen.answered_bytes));
        });
    }
}

#[test]
fn a_run_over_tls_speaks_http_2_and_takes_compressed_answers() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let base = format!("https://{}", listener.local_addr().unwrap());
    let tenant = Tenant::synthetic(3, &Size { users: 1_200, groups: 150, memberships: 900, ..Size::default() });
    let world = World::with(tenant, Options { public_base: Some(base.clone()), ..all_rights() });
    let seen = Arc::new(Seen::default());
    let runtime = Runtime::new().unwrap();
    let inside = world.sim.base_url().strip_prefix("http://").unwrap().parse().unwrap();
    runtime.spawn(door(listener, inside, seen.clone()));

    world.job(&ALL, "");
    world.edit("job.toml", &world.sim.base_url(), &base);
    let ran = world.run(["run", "job.toml"]);
    ran.exits(6).says("name the file as `ca_file` in [source]").contacts_nobody();
    ran.check(ran.stderr.lines().filter(|line| line.starts_with("error: ")).count() == 1, "told once");
    assert!(seen.protocols.lock().unwrap().is_empty());

    fs::copy(format!("{DATA}/ca.crt"), world.path("ca.crt")).unwrap();
    // Many requests at once, and more than there can be connections.
    world.edit("job.toml", "[target]", "ca_file = \"ca.crt\"\nmemberships = \"per-group\"\n[target]");
    let ran = world.run(["run", "job.toml"]);
    ran.exits(0);
    let protocols = seen.protocols.lock().unwrap().clone();
    ran.check(protocols.iter().all(|protocol| protocol == "h2"), &format!("HTTP/2 only, not {protocols:?}"));
    ran.check(protocols.len() < ran.requests.len() / 4, &format!("fewer connections than {}", protocols.len()));
    let read: u64 = files_under(&world.path("state/contoso/snapshots"))
        .iter()
        .filter(|path| path.extension().is_some_and(|extension| extension == "jsonl"))
        .map(|path| fs::metadata(path).unwrap().len())
        .sum();
    let answered = seen.answered_bytes.load(Relaxed);
    ran.check(answered < read / 2, &format!("compressed answers: {answered} bytes for {read}"));
    assert_eq!(world.rows("users").len(), 1_200);
}
