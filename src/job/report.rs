//! `[report]`: what a run leaves for others, and whom it tells.
//!
//! Deliberately writes and sends nothing, and reads no secret; see [`crate::report::files`] and [`crate::notify`].

use std::path::PathBuf;
use std::sync::Arc;

use lettre::message::Mailbox;
use url::Url;

use super::read::{HOMES, Reader};
use super::secret::Secrets;
use crate::diagnostic::{Problems, SourceFile};
use crate::report::cost::Price;
use crate::report::files::{ReportFile, Wanted};
use crate::secret::SecretFrom;
use crate::tree::{Fields, Node};

/// What a run leaves for others.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Report {
    /// Written by every run that is no dry run.
    pub files: Wanted,
    /// Mail and webhooks may name people.
    pub names: bool,
    pub mail: Option<Mail>,
    pub webhooks: Vec<Webhook>,
    /// What the target takes for one object.
    pub price: Option<Price>,
}

impl Report {
    /// Whether anybody asks how a run went, beyond what it prints.
    pub fn is_heard(&self) -> bool {
        self.files.summary.is_some() || self.files.metrics.is_some() || self.mail.is_some() || !self.webhooks.is_empty()
    }
}

/// Which runs somebody is told of.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum When {
    /// Those that a person must look at: any exit but 0, a run that died, a credential that ends soon.
    #[default]
    Attention,
    /// Also those that changed something.
    Changes,
    /// All.
    Always,
}

/// A mail after a run.
#[derive(Clone, PartialEq, Debug)]
pub struct Mail {
    pub to: Vec<Mailbox>,
    pub from: Mailbox,
    pub by: Carrier,
    pub when: When,
}

/// Who takes a mail.
#[derive(Clone, PartialEq, Debug)]
pub enum Carrier {
    Smtp {
        /// `smtps://` for TLS from the first byte, `smtp://` for STARTTLS, which is demanded except on loopback.
        server: Url,
        /// Name and password.
        login: Option<(String, SecretFrom)>,
    },
    /// A program that takes a message on its standard input, as sendmail does.
    Sendmail(PathBuf),
}

/// An address that hears of a run.
#[derive(Clone, PartialEq, Debug)]
pub struct Webhook {
    pub kind: WebhookKind,
    /// Whoever knows the address can post there: it is a secret.
    pub url: SecretFrom,
    pub when: When,
}

/// What is said to a webhook, and how.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum WebhookKind {
    /// `…/start`, then the address itself or `…/fail`. <https://healthchecks.io/docs/http_api/>
    Healthcheck,
    /// <https://docs.slack.dev/messaging/sending-messages-using-incoming-webhooks>
    Slack,
    /// A workflow "Post to a channel when a webhook request is received".
    /// <https://learn.microsoft.com/microsoftteams/platform/webhooks-and-connectors/how-to/add-incoming-webhook>
    Teams,
    /// The summary, as `summary` writes it into a file.
    Json,
}

impl WebhookKind {
    /// The word in job files.
    pub fn word(self) -> &'static str {
        match self {
            WebhookKind::Healthcheck => "healthcheck",
            WebhookKind::Slack => "slack",
            WebhookKind::Teams => "teams",
            WebhookKind::Json => "json",
        }
    }
}

/// Reads `[report]`.
pub(super) fn read(node: &Node, reader: &Reader, files: &[Arc<SourceFile>], problems: &mut Problems) -> Report {
    let Some(table) = node.table(problems) else { return Report::default() };
    let secrets = Secrets { reader, files };
    let mut fields = Fields::new(table, &node.place, "`[report]`");
    let reports = fields.get("files").and_then(|node| node.list(problems)).unwrap_or_default();
    let reports = reports.iter().filter_map(|node| report_file(node, reader, problems)).collect();
    let mut path = |key| fields.get(key).and_then(|node| reader.path(node, problems)).map(|(path, _)| path);
    let wanted = Wanted {
        reports,
        leavers: path("leavers"),
        events: path("events"),
        summary: path("summary"),
        metrics: path("metrics"),
    };
    let names = fields.get("names").and_then(|node| node.bool(problems)).unwrap_or_default();
    let mail = fields.get("mail").and_then(|node| mail(node, &secrets, problems));
    let webhooks = fields.get("webhook").and_then(|node| node.list(problems)).unwrap_or_default();
    let webhooks = webhooks.iter().filter_map(|node| webhook(node, &secrets, problems)).collect();
    let per_object = fields.get("price_per_object").and_then(|node| node.number(0.0..=1e6, problems));
    let currency = fields.get("currency").and_then(|node| node.text(problems)).unwrap_or_default().to_owned();
    fields.finish(&HOMES, problems);
    let price = per_object.map(|per_object| Price { per_object, currency });
    Report { files: wanted, names, mail, webhooks, price }
}

fn report_file(node: &Node, reader: &Reader, problems: &mut Problems) -> Option<ReportFile> {
    let (path, written) = reader.path(node, problems)?;
    let file = path.to_str().map(ReportFile::new);
    match file {
        Some(Ok(file)) => Some(file),
        Some(Err(words)) => {
            problems.add_with_help(&node.place, format!("`{written}` names no format"), words);
            None
        }
        None => {
            problems.add(&node.place, "the path is no text");
            None
        }
    }
}

fn when(node: Option<&Node>, problems: &mut Problems) -> Option<When> {
    let words = [("attention", When::Attention), ("changes", When::Changes), ("always", When::Always)];
    node.map_or(Some(When::default()), |node| node.word(&words, problems))
}

fn mail(node: &Node, secrets: &Secrets<'_>, problems: &mut Problems) -> Option<Mail> {
    let mut fields = Fields::new(node.table(problems)?, &node.place, "`[report.mail]`");
    let to = fields.require("to", "to = [\"it@contoso.com\"]", problems);
    let from = fields.require("from", "from = \"entra-import@contoso.com\"", problems);
    let (smtp, sendmail) = (fields.get("smtp"), fields.get("sendmail"));
    let (user, password) = (fields.get("user"), fields.get("password"));
    let when = when(fields.get("when"), problems);
    fields.finish(&HOMES, problems);
    let to = to
        .and_then(|node| node.list(problems))
        .map(|items| items.iter().filter_map(|node| mailbox(node, problems)).collect::<Vec<_>>());
    let from = from.and_then(|node| mailbox(node, problems));
    let password = password.map(|node| secrets.place(node, "a password", problems));
    let login = match (user, password) {
        (None, None) => None,
        (Some(user), Some(password)) => user.text(problems).map(str::to_owned).zip(password),
        _ => {
            let help = "write both: user = \"…\" and password = { file = \"…\" }, or neither";
            problems.add_with_help(&node.place, "a name without a password, or a password without a name", help);
            None
        }
    };
    let by = match (smtp, sendmail) {
        (Some(node), None) => Some(Carrier::Smtp { server: smtp_server(node, problems)?, login }),
        (None, Some(node)) => secrets.reader.path(node, problems).map(|(path, _)| Carrier::Sendmail(path)),
        _ => {
            let help = "write one of smtp = \"smtp://mail.contoso.com:587\" and sendmail = \"/usr/sbin/sendmail\"";
            problems.add_with_help(&node.place, "a mail goes exactly one way", help);
            None
        }
    };
    let to = to.filter(|to| !to.is_empty());
    if to.is_none() {
        problems.add(&node.place, "the mail goes to nobody");
    }
    Some(Mail { to: to?, from: from?, by: by?, when: when? })
}

fn mailbox(node: &Node, problems: &mut Problems) -> Option<Mailbox> {
    let text = node.text(problems)?;
    let mailbox = text.parse().ok();
    if mailbox.is_none() {
        let help = "write \"it@contoso.com\", or \"IT <it@contoso.com>\"";
        problems.add_with_help(&node.place, format!("`{}` is no mail address", text.escape_debug()), help);
    }
    mailbox
}

fn smtp_server(node: &Node, problems: &mut Problems) -> Option<Url> {
    let text = node.text(problems)?;
    let fits = |url: &Url| {
        matches!(url.scheme(), "smtp" | "smtps")
            && url.host_str().is_some_and(|host| !host.is_empty())
            && url.username().is_empty()
            && url.password().is_none()
            && matches!(url.path(), "" | "/")
            && url.query().is_none()
    };
    let url = Url::parse(text).ok().filter(fits);
    if url.is_none() {
        let help = "write smtp://mail.contoso.com:587 (STARTTLS) or smtps://mail.contoso.com:465; name and password \
                    are `user` and `password`";
        problems.add_with_help(&node.place, "this is not the address of a mail server", help);
    }
    url
}

fn webhook(node: &Node, secrets: &Secrets<'_>, problems: &mut Problems) -> Option<Webhook> {
    let mut fields = Fields::new(node.table(problems)?, &node.place, "`[[report.webhook]]`");
    let kinds = [WebhookKind::Healthcheck, WebhookKind::Slack, WebhookKind::Teams, WebhookKind::Json];
    let words = kinds.map(|kind| (kind.word(), kind));
    let kind = fields.require("kind", "kind = \"slack\"", problems).and_then(|node| node.word(&words, problems));
    let url = fields.require("url", "url = { file = \"slack-url\" }", problems);
    let url = url.and_then(|node| secrets.place(node, "a webhook's address", problems));
    let when_node = fields.get("when");
    let when = when(when_node, problems);
    fields.finish(&HOMES, problems);
    if let (Some(WebhookKind::Healthcheck), Some(node)) = (kind, when_node) {
        problems.add(&node.place, "a healthcheck hears of every run: it finds out by itself which one is missing");
    }
    Some(Webhook { kind: kind?, url: url?, when: when? })
}
