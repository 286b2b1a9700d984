//! A mail, handed to a server or to a program such as sendmail.
//!
//! Hides TLS and the form of a message. Without TLS nothing leaves this machine: `smtp://` demands STARTTLS except on
//! loopback. <https://www.rfc-editor.org/rfc/rfc8314>

use std::net::IpAddr;
use std::time::Duration;

use lettre::message::Message;
use lettre::message::header::ContentType;
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Tls, TlsParameters};
use lettre::{SendmailTransport, SmtpTransport, Transport};
use secrecy::ExposeSecret;
use url::Url;

use crate::error::{Context, Error, Result};
use crate::job::report::{Carrier, Mail};
use crate::report::notice::Notice;

/// A server that is silent for so long is given up: a run must end.
const TIMEOUT: Duration = Duration::from_secs(30);
/// <https://www.rfc-editor.org/rfc/rfc6409>
const SUBMISSION_PORT: u16 = 587;
/// <https://www.rfc-editor.org/rfc/rfc8314#section-7.3>
const SUBMISSIONS_PORT: u16 = 465;

/// Sends it to everybody at once.
pub async fn send(mail: &Mail, notice: &Notice) -> Result<()> {
    let failed = || "cannot send the mail about this run".to_owned();
    let mut message = Message::builder()
        .from(mail.from.clone())
        .subject(&notice.subject)
        // So that no autoresponder answers. <https://www.rfc-editor.org/rfc/rfc3834>
        .header(AutoSubmitted)
        .header(ContentType::TEXT_PLAIN);
    for to in &mail.to {
        message = message.to(to.clone());
    }
    let message = message.body(notice.text.clone()).failing(failed)?;
    let by = mail.by.clone();
    let sent = tokio::task::spawn_blocking(move || match by {
        Carrier::Smtp { server, login } => {
            let login = login.map(|(name, password)| Ok::<_, Error>((name, password.text("the mail password")?)));
            let transport = smtp(
                &server,
                login.transpose()?.map(|(name, password)| Credentials::new(name, password.expose_secret().to_owned())),
            )?;
            transport.send(&message).map(drop).failing(failed)
        }
        Carrier::Sendmail(program) => SendmailTransport::new_with_command(program).send(&message).failing(failed),
    });
    sent.await.failing(failed)?
}

/// The server with the port that is meant where the address names none.
pub fn with_port(server: &Url) -> Url {
    let usual = if server.scheme() == "smtps" { SUBMISSIONS_PORT } else { SUBMISSION_PORT };
    let mut url = server.clone();
    // Only an address without a host has no place for a port.
    let _ = url.set_port(Some(server.port().unwrap_or(usual)));
    url
}

fn smtp(server: &Url, login: Option<Credentials>) -> Result<SmtpTransport> {
    let failed = || "cannot prepare the connection to the mail server".to_owned();
    let host = server.host_str().unwrap_or_default().trim_matches(['[', ']']);
    let tls = || TlsParameters::new(host.to_owned()).failing(failed);
    let tls = match server.scheme() {
        "smtps" => Tls::Wrapper(tls()?),
        // What stays on this machine needs no cover, and a relay there seldom has a certificate.
        _ if is_loopback(host) => Tls::Opportunistic(tls()?),
        _ => Tls::Required(tls()?),
    };
    let port = with_port(server).port().unwrap_or(SUBMISSION_PORT);
    let mut builder = SmtpTransport::builder_dangerous(host).port(port).tls(tls).timeout(Some(TIMEOUT));
    if let Some(login) = login {
        builder = builder.credentials(login);
    }
    Ok(builder.build())
}

/// Whether it is this machine. The host of such an address is text: only of the web's schemes is it parsed further.
fn is_loopback(host: &str) -> bool {
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// `Auto-Submitted: auto-generated`
#[derive(Clone)]
struct AutoSubmitted;

impl lettre::message::header::Header for AutoSubmitted {
    fn name() -> lettre::message::header::HeaderName {
        lettre::message::header::HeaderName::new_from_ascii_str("Auto-Submitted")
    }

    fn parse(_: &str) -> std::result::Result<Self, Box<dyn std::error::Error + Send + Sync>> {
        Ok(AutoSubmitted)
    }

    fn display(&self) -> lettre::message::header::HeaderValue {
        lettre::message::header::HeaderValue::new(Self::name(), "auto-generated".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_this_machine_may_do_without_tls() {
        let host = |text: &str| Url::parse(text).unwrap().host_str().unwrap().trim_matches(['[', ']']).to_owned();
        for (server, near) in [
            ("smtp://127.0.0.1:25", true),
            ("smtp://[::1]", true),
            ("smtp://localhost", true),
            ("smtp://mail.contoso.com:587", false),
            ("smtp://127.0.0.1.contoso.com", false),
            ("smtp://10.0.0.1", false),
        ] {
            assert_eq!(is_loopback(&host(server)), near, "{server}");
        }
    }
}
