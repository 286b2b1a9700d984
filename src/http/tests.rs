//! The client against a socket that misbehaves as told.

use super::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

/// Answers the n-th connection with the n-th script and closes it; returns the address.
async fn server(scripts: Vec<&'static str>) -> Url {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap()).parse().unwrap();
    tokio::spawn(async move {
        for script in scripts {
            let (mut socket, _) = listener.accept().await.unwrap();
            let mut request = [0; 4096];
            let _ = socket.read(&mut request).await;
            let _ = socket.write_all(script.as_bytes()).await;
        }
    });
    url
}

const GOOD: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{}";
const CUT: &str = "HTTP/1.1 200 OK\r\ncontent-length: 200\r\nconnection: close\r\n\r\n{\"value\":";
const HTML: &str = "HTTP/1.1 200 OK\r\ncontent-length: 6\r\nconnection: close\r\n\r\n<html>";
const THROTTLED: &str = "HTTP/1.1 429 x\r\nretry-after: 30\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
const REDIRECT: &str =
    "HTTP/1.1 302 x\r\nlocation: http://example.com/\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
const LARGE: &str = "HTTP/1.1 200 OK\r\ncontent-length: 20\r\nconnection: close\r\n\r\n01234567890123456789";

fn lane(url: &Url) -> Lane {
    let settings = HttpSettings { response_bytes_max: 10, ..HttpSettings::default() };
    let http = Http::new(Clock::scaled(10_000), settings);
    let pace = Pace { units_per_s: 1000.0, burst_units: 1000.0, in_flight_max: 4 };
    http.lane(&Endpoint::new(url.clone()).unwrap(), "test", pace).unwrap()
}

fn json(response: &Response) -> Result<(), String> {
    serde_json::from_slice::<serde_json::Value>(&response.body).map(drop).map_err(|cause| cause.to_string())
}

#[tokio::test]
async fn faults_on_the_way_are_tried_again_until_the_answer_is_whole() {
    let url = server(vec!["", CUT, HTML, THROTTLED, GOOD]).await;
    let lane = lane(&url);
    lane.fetch(&Request::get(url), json).await.unwrap();
    let counts = lane.counts();
    assert_eq!((counts.requests, counts.retries), (5, 4));
    assert!(counts.throttled_s >= 30.0, "{counts:?}");
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let url = server(vec![REDIRECT]).await;
    let error = lane(&url).send(&Request::get(url)).await.unwrap_err();
    assert_eq!(error.refusal().map(Refusal::status), Some(302));
}

#[tokio::test]
async fn an_answer_beyond_the_limit_is_given_up() {
    let url = server(vec![LARGE]).await;
    let error = lane(&url).send(&Request::get(url)).await.unwrap_err();
    assert!(matches!(error, HttpError::TooLarge { limit_bytes: 10 }));
}

#[tokio::test]
async fn a_closed_port_is_unreachable_and_was_not_acted_upon() {
    let url: Url = "http://127.0.0.1:1/".parse().unwrap();
    let error = lane(&url).send(&Request::get(url)).await.unwrap_err();
    assert!(matches!(error, HttpError::Unreachable { tries: 8, .. }), "{error}");
    assert!(!error.may_have_acted());
}

#[tokio::test]
async fn another_host_gets_nothing() {
    let url = server(vec![GOOD]).await;
    let elsewhere = "http://127.0.0.1:9/secret?token=1".parse().unwrap();
    let error = lane(&url).send(&Request::get(elsewhere)).await.unwrap_err();
    assert!(matches!(error, HttpError::NotAllowed { .. }) && !error.to_string().contains("token"));
}

#[test]
fn tokens_go_in_clear_text_to_this_machine_only() {
    let check = |url: &str| Endpoint::new(url.parse().unwrap()).is_ok();
    assert!(check("https://graph.microsoft.com") && check("http://127.0.0.1:8080/v1") && check("http://[::1]:80"));
    assert!(!check("http://graph.microsoft.com") && !check("ftp://x.example") && !check("https://u:p@x.example"));
    assert!(!check("http://127.0.0.1.example.com") && !check("mailto:a@b.c"));
}

#[test]
fn a_token_is_not_printed_with_its_request() {
    let request = Request::get("https://x.example".parse().unwrap()).bearer("eyJsecret").unwrap();
    assert!(!format!("{request:?}").contains("eyJsecret"));
}

#[test]
fn error_bodies_of_several_services_are_understood() {
    let check = |body: &str, code: Option<&str>, message: Option<&str>| {
        let response = Response {
            status: 400,
            headers: HeaderMap::new(),
            body: body.as_bytes().to_vec().into(),
            client_request_id: Guid::default(),
        };
        let refusal = Refusal::new(response);
        assert_eq!((refusal.code.as_deref(), refusal.message.as_deref()), (code, message), "{body}");
    };
    check(
        r#"{"error":{"code":"badRequest","message":"no","innerError":{"code":"invalidRange"}}}"#,
        Some("invalidRange"),
        Some("no"),
    );
    check(r#"{"error":{"code":"TooManyRequests","innerError":{"code":"429"}}}"#, Some("TooManyRequests"), None);
    check(r#"{"error":"invalid_client","error_description":"a\r\nb"}"#, Some("invalid_client"), Some("a b"));
    check(r#"{"errorMessages":["x","y"]}"#, None, Some("x; y"));
    check("<html>", None, None);
    check(r#"{"error":{"code":"","message":"\u001b[31mred"}}"#, None, Some("[31mred"));
}

mod kinds {
    //! Every kind of trouble below HTTP, on loopback: TLS with certificates of our own, proxies, closed ports.

    use std::sync::Arc;

    use rustls::pki_types::pem::PemObject;
    use rustls::pki_types::{CertificateDer, PrivateKeyDer};
    use tokio_rustls::TlsAcceptor;

    use super::*;

    const DATA: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/certificates");

    /// A server that speaks TLS with one of our certificates and answers every request well.
    async fn tls(name: &str) -> Url {
        let pem = format!("{DATA}/{name}.pem");
        let chain: Vec<_> = CertificateDer::pem_file_iter(&pem).unwrap().map(Result::unwrap).collect();
        let key = PrivateKeyDer::from_pem_file(&pem).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let config = config.unwrap().with_no_client_auth().with_single_cert(chain, key).unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("https://{}/", listener.local_addr().unwrap()).parse().unwrap();
        tokio::spawn(async move {
            loop {
                let (socket, _) = listener.accept().await.unwrap();
                // A client that trusts nobody breaks off here.
                let Ok(mut socket) = acceptor.accept(socket).await else { continue };
                let mut request = [0; 4096];
                let _ = socket.read(&mut request).await;
                let _ = socket.write_all(GOOD.as_bytes()).await;
                let _ = socket.shutdown().await;
            }
        });
        url
    }

    async fn meets(name: &str, trusting: bool) -> Result<Response, HttpError> {
        let url = tls(name).await;
        let http = Http::new(Clock::scaled(10_000), HttpSettings::default());
        let ca_file = format!("{DATA}/ca.crt");
        let endpoint = Endpoint::new(url.clone()).unwrap().trusting(trusting.then_some(Path::new(&ca_file)));
        let pace = Pace { units_per_s: 1000.0, burst_units: 1000.0, in_flight_max: 4 };
        http.lane(&endpoint, "test", pace).unwrap().send(&Request::get(url)).await
    }

    #[tokio::test]
    async fn an_authority_of_our_own_is_trusted_where_it_is_named() {
        assert_eq!(meets("server", true).await.unwrap().status, 200);
    }

    #[tokio::test]
    async fn doubts_about_a_certificate_are_told_apart_and_not_tried_again() {
        for (name, trusting, kind, remedy) in [
            ("server", false, TroubleKind::UnknownIssuer, "`ca_file` in [source]"),
            ("server-ended", true, TroubleKind::CertificateEnded, "clock"),
            ("server-other", true, TroubleKind::CertificateName, "Check the address"),
        ] {
            let error = meets(name, trusting).await.unwrap_err();
            assert!(matches!(error, HttpError::Unreachable { tries: 1, .. }), "{error}");
            let trouble = error.trouble().unwrap();
            assert_eq!(trouble.kind, kind, "{error}");
            assert!(trouble.remedy().contains(remedy), "{}", trouble.remedy());
        }
    }

    #[tokio::test]
    async fn a_file_that_holds_no_authority_is_refused_before_anything_is_sent() {
        for name in ["make.sh", "nothing.pem"] {
            let path = format!("{DATA}/{name}");
            let endpoint =
                Endpoint::new("https://127.0.0.1:1/".parse().unwrap()).unwrap().trusting(Some(Path::new(&path)));
            let http = Http::new(Clock::real(), HttpSettings::default());
            let error = http
                .lane(&endpoint, "test", Pace { units_per_s: 1.0, burst_units: 1.0, in_flight_max: 1 })
                .unwrap_err();
            assert!(error.to_string().contains(name), "{error}");
        }
    }

    /// What a client set up like this says.
    async fn trouble_of(client: reqwest::ClientBuilder, url: &str) -> TroubleKind {
        let client = client.tls_certs_only([]).build().unwrap();
        trouble::Trouble::of(&client.get(url).send().await.unwrap_err()).kind
    }

    #[tokio::test]
    async fn names_ports_silence_and_proxies_are_told_apart() {
        struct NoNames;
        impl reqwest::dns::Resolve for NoNames {
            fn resolve(&self, _: reqwest::dns::Name) -> reqwest::dns::Resolving {
                Box::pin(std::future::ready(Err("no such name".into())))
            }
        }
        let plain = || reqwest::Client::builder().no_proxy();
        assert_eq!(
            trouble_of(plain().dns_resolver(Arc::new(NoNames)), "http://graph.invalid/").await,
            TroubleKind::Name
        );
        assert_eq!(trouble_of(plain(), "http://127.0.0.1:1/").await, TroubleKind::Refused);
        let closing = server(vec![""]).await;
        assert_eq!(trouble_of(plain(), closing.as_str()).await, TroubleKind::Closed);
        // Nobody accepts: the connection stands, and no answer comes.
        let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/", silent.local_addr().unwrap());
        assert_eq!(trouble_of(plain().read_timeout(Duration::from_millis(1)), &url).await, TroubleKind::Silence);
        const AUTH: &str = "HTTP/1.1 407 x\r\ncontent-length: 0\r\n\r\n";
        const NO: &str = "HTTP/1.1 403 x\r\ncontent-length: 0\r\n\r\n";
        for (answer, kind) in [(AUTH, TroubleKind::ProxyAuth), (NO, TroubleKind::ProxyRefused)] {
            let proxy = reqwest::Proxy::all(server(vec![answer]).await.as_str()).unwrap();
            assert_eq!(trouble_of(reqwest::Client::builder().proxy(proxy), "https://graph.invalid/").await, kind);
        }
        let proxy = reqwest::Proxy::all("http://127.0.0.1:1").unwrap();
        let refused = trouble_of(reqwest::Client::builder().proxy(proxy), "https://graph.invalid/").await;
        assert_eq!(refused, TroubleKind::Refused);
    }

    #[tokio::test]
    async fn the_other_side_s_clock_is_compared_with_ours() {
        const LATE: &str = "HTTP/1.1 200 OK\r\ndate: Sun, 22 Nov 2026 03:00:00 GMT\r\ncontent-length: 2\r\n\
            connection: close\r\n\r\n{}";
        let url = server(vec![LATE]).await;
        let lane = lane(&url);
        assert_eq!(lane.clock_skew(), None);
        lane.send(&Request::get(url)).await.unwrap();
        let theirs: Timestamp = "2026-11-22T03:00:00Z".parse().unwrap();
        let expected = theirs.duration_since(Timestamp::now());
        let off = lane.clock_skew().unwrap() - expected;
        assert!(off.abs() < SignedDuration::from_secs(30), "{off}");
    }
}

#[test]
fn what_a_service_says_of_its_budget_is_read() {
    let told = |headers: &[(&'static str, &'static str)]| {
        let mut response =
            Response { status: 200, headers: HeaderMap::new(), body: Bytes::new(), client_request_id: Guid::default() };
        for (name, value) in headers {
            response.headers.insert(*name, HeaderValue::from_static(value));
        }
        let budget = Budget::of(&response)?;
        Some((budget.surcharge(), budget.wait(Duration::from_secs(60)).map(|wait| wait.as_secs())))
    };
    let date = ("date", "Sun, 22 Nov 2026 03:00:30 GMT");
    for (headers, expected) in [
        (&[][..], None),
        (&[("x-ratelimit-limit", "100")], None),
        (&[("x-ratelimit-limit", "100"), ("x-ratelimit-remaining", "many")], None),
        (&[("x-ratelimit-limit", "100"), ("x-ratelimit-remaining", "20")], Some((0.0, None))),
        (&[("x-ratelimit-limit", "100"), ("x-ratelimit-remaining", "10")], Some((1.0, None))),
        (&[("x-ratelimit-nearlimit", "true")], Some((1.0, None))),
        (&[("x-ratelimit-nearlimit", "false")], None),
        // Data Center: the bucket gets tokens every interval.
        (
            &[
                ("x-ratelimit-limit", "50"),
                ("x-ratelimit-remaining", "0"),
                ("x-ratelimit-interval-seconds", "5"),
                ("retry-after", "0"),
            ],
            Some((9.0, Some(5))),
        ),
        // Cloud: a minute without seconds ends with its last one.
        (
            &[
                date,
                ("x-ratelimit-limit", "50"),
                ("x-ratelimit-remaining", "0"),
                ("x-ratelimit-reset", "2026-11-22T03:00Z"),
            ],
            Some((9.0, Some(30))),
        ),
        (
            &[
                date,
                ("x-ratelimit-limit", "50"),
                ("x-ratelimit-remaining", "0"),
                ("x-ratelimit-reset", "2026-11-22T04:00:00Z"),
            ],
            Some((9.0, Some(60))),
        ),
        (
            &[
                date,
                ("x-ratelimit-limit", "50"),
                ("x-ratelimit-remaining", "0"),
                ("x-ratelimit-reset", "2026-11-22T02:00Z"),
            ],
            Some((9.0, Some(1))),
        ),
    ] {
        assert_eq!(told(headers), expected, "{headers:?}");
    }
}
