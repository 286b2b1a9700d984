//! Why a connection brought no answer, told apart by kind, and what a person can do about each.
//!
//! Hides the layers of errors below an HTTP request: resolver, socket, proxy, TLS. Deliberately decides nothing but
//! whether trying again can help; and quotes no address, because a proxy's may hold a password.

use std::error::Error as StdError;
use std::fmt;
use std::io;

use rustls::CertificateError;

/// What stood in the way of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trouble {
    pub kind: TroubleKind,
    /// The environment variable that named the proxy at which it happened.
    pub proxy: Option<&'static str>,
}

/// The kinds of trouble.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TroubleKind {
    /// The host's name cannot be resolved.
    Name,
    /// Nobody listens there.
    Refused,
    /// No way to that network.
    NoRoute,
    /// The connection was not made in time.
    ConnectTimeout,
    /// Connected, and then silence.
    Silence,
    /// Connected, and then closed.
    Closed,
    /// The proxy wants a name and password.
    ProxyAuth,
    /// The proxy does not lead there.
    ProxyRefused,
    /// The server's certificate is from an issuer that this machine does not trust.
    UnknownIssuer,
    /// The server's certificate has ended, by this machine's clock.
    CertificateEnded,
    /// The server's certificate begins in the future, by this machine's clock.
    CertificateNotYet,
    /// The server's certificate is for another name.
    CertificateName,
    /// Anything else about TLS.
    Tls,
    Other,
}

impl Trouble {
    pub(super) fn of(cause: &reqwest::Error) -> Trouble {
        let kind = kind(cause, cause.is_connect(), cause.is_timeout());
        let tunnel = layers(cause).any(|layer| layer.to_string().contains("tunnel error"));
        Trouble { kind, proxy: tunnel.then(proxy_variable).flatten() }
    }

    /// Whether it can pass by itself; trust does not.
    pub fn can_pass(&self) -> bool {
        use TroubleKind::*;
        !matches!(self.kind, UnknownIssuer | CertificateEnded | CertificateNotYet | CertificateName | ProxyAuth)
    }

    /// What to do, as sentences.
    pub fn remedy(&self) -> String {
        use TroubleKind::*;
        let through = self.proxy.map(|name| format!(" The proxy is the one that {name} names.")).unwrap_or_default();
        let text = match self.kind {
            Name => {
                "Check the host name for typing mistakes and this machine's DNS; where only a proxy reaches the \
                internet, set HTTPS_PROXY."
            }
            Refused | NoRoute | ConnectTimeout => {
                "Check the firewall and, where only a proxy reaches the internet, HTTPS_PROXY and NO_PROXY."
            }
            Silence | Closed => "Check what lies between here and there (firewall, proxy), then run again.",
            ProxyAuth => "Write the proxy's user and password into the variable: http://USER:PASSWORD@HOST:PORT.",
            ProxyRefused => "Let the proxy's administrator allow this host, or name it in NO_PROXY.",
            UnknownIssuer => {
                "Often a proxy that inspects TLS signs with an authority of its own. Put that \
                authority's certificate (PEM) into the system's trust store, name the file as `ca_file` in [source], \
                or name a whole bundle in SSL_CERT_FILE."
            }
            CertificateEnded | CertificateNotYet => {
                "Check this machine's clock first (NTP); if it is right, the server's operator must renew the \
                 certificate."
            }
            CertificateName => {
                "Check the address; if it is right, something answers in the server's place: ask who \
                runs the network."
            }
            Tls => {
                "Check what lies between here and there: a proxy that inspects TLS, or a server that speaks only \
                versions before TLS 1.2."
            }
            Other => "Check the network and the proxy variables, then run again.",
        };
        format!("{text}{through}")
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use TroubleKind::*;
        f.write_str(match self.kind {
            Name => "its name cannot be resolved (DNS)",
            Refused => "the connection was refused",
            NoRoute => "there is no route to it",
            ConnectTimeout => "the connection was not made in time",
            Silence => "it did not answer in time",
            Closed => "the connection was closed",
            ProxyAuth => "the proxy wants a user and password",
            ProxyRefused => "the proxy does not lead there",
            UnknownIssuer => "its TLS certificate is from an issuer that this machine does not trust",
            CertificateEnded => "its TLS certificate has ended",
            CertificateNotYet => "its TLS certificate is not valid yet",
            CertificateName => "its TLS certificate is for another name",
            Tls => "TLS failed",
            Other => "no connection",
        })?;
        self.proxy.map_or(Ok(()), |name| write!(f, ", at the proxy that {name} names"))
    }
}

/// A layer of an error.
type Layer<'e> = &'e (dyn StdError + 'static);

/// The error, what caused it, and what an I/O error wraps (which is no cause of it).
fn layers<'e>(cause: Layer<'e>) -> impl Iterator<Item = Layer<'e>> {
    fn below<'e>(layer: Layer<'e>) -> Option<Layer<'e>> {
        match layer.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
            Some(wrapped) => Some(wrapped),
            None => layer.source(),
        }
    }
    std::iter::successors(Some(cause), |layer| below(*layer))
}

fn kind(cause: &(dyn StdError + 'static), connecting: bool, timed_out: bool) -> TroubleKind {
    use TroubleKind::*;
    if let Some(error) = layers(cause).find_map(|layer| layer.downcast_ref::<rustls::Error>()) {
        return tls(error);
    }
    // The client names these stages in words only.
    let says = |words: &str| layers(cause).any(|layer| layer.to_string().contains(words));
    if says("dns error") {
        return Name;
    }
    if says("proxy authorization required") {
        return ProxyAuth;
    }
    if says("tunnel error: unsuccessful") {
        return ProxyRefused;
    }
    if timed_out {
        return if connecting { ConnectTimeout } else { Silence };
    }
    let io = layers(cause).filter_map(|layer| layer.downcast_ref::<io::Error>()).map(io::Error::kind).last();
    match io {
        Some(io::ErrorKind::ConnectionRefused) => Refused,
        Some(io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable) => NoRoute,
        Some(io::ErrorKind::TimedOut) if connecting => ConnectTimeout,
        Some(io::ErrorKind::TimedOut) => Silence,
        _ if !connecting => Closed,
        Some(io::ErrorKind::ConnectionReset | io::ErrorKind::UnexpectedEof | io::ErrorKind::BrokenPipe) => Closed,
        _ => Other,
    }
}

fn tls(error: &rustls::Error) -> TroubleKind {
    use CertificateError as Bad;
    let rustls::Error::InvalidCertificate(bad) = error else { return TroubleKind::Tls };
    match bad {
        // The system's own verifier says "self-signed" and the like in its own words.
        Bad::UnknownIssuer | Bad::BadSignature | Bad::Other(_) => TroubleKind::UnknownIssuer,
        Bad::Expired | Bad::ExpiredContext { .. } => TroubleKind::CertificateEnded,
        Bad::NotValidYet | Bad::NotValidYetContext { .. } => TroubleKind::CertificateNotYet,
        Bad::NotValidForName | Bad::NotValidForNameContext { .. } => TroubleKind::CertificateName,
        _ => TroubleKind::Tls,
    }
}

/// The variable whose proxy an https request goes through; the client asks for them in this order.
fn proxy_variable() -> Option<&'static str> {
    let set = |name: &&str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    ["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"].into_iter().find(set)
}
