//! Addresses that hear of a run: what each kind wants to read, and sending it.
//!
//! The address is a secret and shows nowhere. What is said is plain text everywhere: nothing in it becomes a link, a
//! mention or markup of the chat.

use std::time::Duration;

use bytes::Bytes;
use secrecy::ExposeSecret;
use serde_json::json;
use url::Url;

use crate::clock::Clock;
use crate::error::{Context, Error, Exit, Result};
use crate::http::{Endpoint, Http, HttpSettings, Pace, Request};
use crate::job::report::{Webhook, WebhookKind};
use crate::json;
use crate::report::figures::Figures;
use crate::report::notice::Notice;

/// A run must end, whoever does not answer.
const SETTINGS: HttpSettings = HttpSettings {
    connect_timeout: Duration::from_secs(10),
    read_timeout: Duration::from_secs(15),
    try_timeout: Duration::from_secs(20),
    tries_max: 3,
    unsent_max: 3,
    retries_max: 2,
    wait_min: Duration::from_secs(1),
    wait_max: Duration::from_secs(5),
    retry_after_max: Duration::from_secs(10),
    response_bytes_max: 1 << 20,
};
const PACE: Pace = Pace { units_per_s: 5.0, burst_units: 5.0, in_flight_max: 1 };

/// Characters that are surely taken: Slack cuts beyond 40,000, Teams refuses 28 KB, healthchecks.io keeps 100 KB.
const TEXT_CHARS_MAX: usize = 6_000;

/// Whether it hears of every run: of what is missing it finds out by itself.
pub fn hears_all(webhook: &Webhook) -> bool {
    webhook.kind == WebhookKind::Healthcheck
}

/// Says that a run has begun, to those that measure.
pub async fn begun(webhook: &Webhook, clock: &Clock) -> Result<()> {
    match webhook.kind {
        WebhookKind::Healthcheck => post(webhook, Some("start"), "text/plain", Bytes::new(), clock).await,
        WebhookKind::Slack | WebhookKind::Teams | WebhookKind::Json => Ok(()),
    }
}

/// Says how it ended.
pub async fn ended(webhook: &Webhook, figures: &Figures, notice: &Notice, clock: &Clock) -> Result<()> {
    let text: String = notice.text.chars().take(TEXT_CHARS_MAX).collect();
    let json_type = "application/json";
    match webhook.kind {
        WebhookKind::Healthcheck => {
            let suffix = (figures.exit != Exit::Done as u8).then_some("fail");
            post(webhook, suffix, "text/plain", text.into(), clock).await
        }
        WebhookKind::Slack => post(webhook, None, json_type, slack(&text).to_string().into(), clock).await,
        WebhookKind::Teams => {
            post(webhook, None, json_type, teams(&notice.subject, &text).to_string().into(), clock).await
        }
        WebhookKind::Json => {
            let mut line = Vec::new();
            let body = Bytes::copy_from_slice(json::line(figures, &mut line)?);
            post(webhook, None, json_type, body, clock).await
        }
    }
}

/// Preformatted, with the three signs escaped that Slack gives a meaning.
/// <https://docs.slack.dev/messaging/formatting-message-text#escaping>
fn slack(text: &str) -> serde_json::Value {
    let escaped = text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    // Three backticks would end the block.
    json!({ "text": format!("```{}```", escaped.replace("```", "'''")), "unfurl_links": false, "unfurl_media": false })
}

/// An adaptive card of plain runs of text, which know no markdown.
/// <https://learn.microsoft.com/microsoftteams/platform/webhooks-and-connectors/how-to/connectors-using>
/// <https://adaptivecards.io/explorer/RichTextBlock.html>
fn teams(subject: &str, text: &str) -> serde_json::Value {
    let run = |text: &str, more: serde_json::Value| {
        let mut run = json!({ "type": "TextRun", "text": text });
        if let (Some(run), Some(more)) = (run.as_object_mut(), more.as_object()) {
            run.extend(more.clone());
        }
        json!({ "type": "RichTextBlock", "inlines": [run] })
    };
    let lines = text.lines().skip(1).filter(|line| !line.trim().is_empty());
    let body: Vec<_> = std::iter::once(run(subject, json!({ "weight": "bolder", "size": "medium" })))
        .chain(lines.map(|line| {
            run(line, if line.starts_with("    ") { json!({ "fontType": "monospace" }) } else { json!({}) })
        }))
        .collect();
    json!({
        "type": "message",
        "attachments": [{
            "contentType": "application/vnd.microsoft.card.adaptive",
            "content": {
                "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
                "type": "AdaptiveCard",
                "version": "1.4",
                "body": body,
            },
        }],
    })
}

fn cannot_tell(webhook: &Webhook) -> String {
    format!("cannot tell the {} webhook about this run", webhook.kind.word())
}

/// Where it is told; a secret but for the host.
pub fn address(webhook: &Webhook) -> Result<Url> {
    let written = webhook.url.text(&format!("the address of the {} webhook", webhook.kind.word()))?;
    // What the parser says could quote the address.
    Url::parse(written.expose_secret().trim())
        .map_err(|_| Error::usage(cannot_tell(webhook)).cause(format!("what lies in {} is no address", webhook.url)))
}

async fn post(webhook: &Webhook, suffix: Option<&str>, kind: &'static str, body: Bytes, clock: &Clock) -> Result<()> {
    let failed = || cannot_tell(webhook);
    let whom = webhook.kind.word();
    let mut url = address(webhook)?;
    let endpoint = Endpoint::secret(url.clone())?;
    if let (Some(suffix), Ok(mut path)) = (suffix, url.path_segments_mut()) {
        path.pop_if_empty().push(suffix);
    }
    let lane = Http::new(clock.clone(), SETTINGS).lane(&endpoint, whom, PACE)?;
    // A message that comes twice is better than one that does not come.
    let mut request = Request::post(url, body).repeatable();
    request.headers.insert(reqwest::header::CONTENT_TYPE, reqwest::header::HeaderValue::from_static(kind));
    lane.send(&request).await.map(drop).failing(failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_in_a_text_becomes_markup_of_a_chat() {
        let text =
            "subject\n<!channel> <https://evil.example|click> ```*bold*``` & [x](https://evil.example)\n    approve it";
        let body = slack(text)["text"].as_str().unwrap().to_owned();
        assert!(!body.contains('<') && body.matches("```").count() == 2, "{body}");
        let card = teams("subject", text);
        let body = card["attachments"][0]["content"]["body"].as_array().unwrap();
        assert_eq!(body.len(), 3);
        assert!(body.iter().all(|block| block["type"] == "RichTextBlock"), "no block that knows markdown");
        assert_eq!(body[2]["inlines"][0]["fontType"], "monospace");
    }
}
