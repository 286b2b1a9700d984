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
