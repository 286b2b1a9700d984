//! Tells others how a run went: by mail, and at addresses that hear of it.
//!
//! Hides mail servers and what each kind of webhook wants to read. What is said stands in [`crate::report::notice`].
//! Deliberately never ends a run otherwise than it ended: what cannot be told is a warning. Nothing is sent in a dry
//! run, and no address is shown, because whoever knows a webhook's address may post there.

mod mail;
mod webhook;

use url::Url;

use crate::clock::Clock;
use crate::error::Error;
use crate::job::report::{Carrier, Report, Webhook, When};
use crate::report::figures::Figures;
use crate::report::notice::{ENDS_SOON_DAYS, notice};

/// Says that a run has begun, to those who wait for its end.
pub async fn begun(report: &Report, clock: &Clock) {
    for webhook in &report.webhooks {
        tell(webhook::begun(webhook, clock).await, webhook.kind.word());
    }
}

/// Says how it ended.
pub async fn ended(report: &Report, figures: &Figures, clock: &Clock) {
    let notice = notice(figures, report.names);
    for webhook in &report.webhooks {
        if hears(webhook.when, figures) || webhook::hears_all(webhook) {
            tell(webhook::ended(webhook, figures, &notice, clock).await, webhook.kind.word());
        }
    }
    if let Some(mail) = report.mail.as_ref().filter(|mail| hears(mail.when, figures)) {
        tell(mail::send(mail, &notice).await, "mail");
    }
}

/// The servers that hear of runs, each with what for; in place of one why it cannot be told.
pub fn hosts(report: &Report) -> Vec<(String, Result<Url, Error>)> {
    let mail = report.mail.as_ref().and_then(|mail| match &mail.by {
        Carrier::Smtp { server, .. } => Some(("mail".to_owned(), Ok(mail::with_port(server)))),
        Carrier::Sendmail(_) => None,
    });
    let webhook = |webhook: &Webhook| (format!("{} webhook", webhook.kind.word()), webhook::address(webhook));
    mail.into_iter().chain(report.webhooks.iter().map(webhook)).collect()
}

fn hears(when: When, figures: &Figures) -> bool {
    match when {
        When::Always => true,
        When::Changes => figures.needs_attention(ENDS_SOON_DAYS) || figures.done() > 0,
        When::Attention => figures.needs_attention(ENDS_SOON_DAYS),
    }
}

fn tell(sent: Result<(), Error>, whom: &str) {
    if let Err(error) = sent {
        let because = error.causes.join(": ");
        tracing::warn!(whom, because, "{}", error.what);
    }
}
