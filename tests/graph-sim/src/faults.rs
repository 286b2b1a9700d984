//! What can go wrong with Graph. Which request it hits, how and how often, is [`sim_server`]'s business.
//!
//! Deliberately does not: know what an endpoint answers.

use std::time::Duration;

use sim_server::RetryAfter;

/// One order of misbehaviour.
///
/// Kinds in the text form: `429` and `503` (argument: seconds, `date` or `date+N`, `none`, or any text; default 1), `401`,
/// `403`, `404`, `410`, `500`, `502`, `504`, `reset`, `cut`, `slow:MILLISECONDS`, `drip:MILLISECONDS`, `truncate`, `html`,
/// `expired`, `stale`, `odd`, `empty`, `duplicate`, `endless`, `untyped`, `nowhere`, `foreign[:ORIGIN]`.
pub type Fault = sim_server::Fault<FaultKind>;

/// What goes wrong.
#[derive(Clone, Debug, PartialEq)]
pub enum FaultKind {
    /// 429 with this Retry-After. <https://learn.microsoft.com/graph/throttling>
    Throttle(RetryAfter),
    /// 503 with this Retry-After.
    Unavailable(RetryAfter),
    /// 500, 504 or another status with Graph's error body; 502 with a proxy's HTML page; 401 and 403 with theirs.
    Status(u16),
    /// The connection is closed before anything is answered.
    Reset,
    /// Content-Length promises more than is sent.
    Cut,
    /// The answer is late.
    Slow(Duration),
    /// The body comes in eight pieces, each that much later.
    Drip(Duration),
    /// 200 with the first half of the JSON, correctly framed.
    Truncated,
    /// 200 with an HTML page.
    Html,
    /// A link's token is no longer known: skiptokens are answered as expired, deltatokens as lost. What carries neither
    /// is answered as ever.
    Expired,
    /// The answer of a replica that lags behind: see [`crate::Sim::lag`].
    Stale,
    /// Odd but legal JSON: unknown properties, annotations, nulls in place of empty lists, escapes, blanks.
    Odd,
    /// A page without items that links to the page it should have been.
    Empty,
    /// The last item of this page comes again on the next one.
    Duplicate,
    /// The page links to itself, each time under another token.
    Endless,
    /// No object says of what type it is.
    Untyped,
    /// 404 with the HTML page of what stands in front of Graph: there is no such address.
    Nowhere,
    /// The next link points to this scheme and host.
    Foreign(String),
}

impl sim_server::FaultKind for FaultKind {
    const PATH: &'static str = "/v1.0";

    fn read(name: &str, argument: Option<&str>) -> Result<Self, String> {
        Ok(match name {
            "429" => FaultKind::Throttle(RetryAfter::read(argument)),
            "503" => FaultKind::Unavailable(RetryAfter::read(argument)),
            "reset" => FaultKind::Reset,
            "cut" => FaultKind::Cut,
            "slow" | "drip" => {
                let text = argument.unwrap_or("1000");
                let milliseconds = text.parse().map_err(|_| format!("`{name}:{text}`: not milliseconds"))?;
                let time = Duration::from_millis(milliseconds);
                if name == "slow" { FaultKind::Slow(time) } else { FaultKind::Drip(time) }
            }
            "expired" => FaultKind::Expired,
            "stale" => FaultKind::Stale,
            "odd" => FaultKind::Odd,
            "truncate" => FaultKind::Truncated,
            "html" => FaultKind::Html,
            "empty" => FaultKind::Empty,
            "duplicate" => FaultKind::Duplicate,
            "endless" => FaultKind::Endless,
            "untyped" => FaultKind::Untyped,
            "nowhere" => FaultKind::Nowhere,
            "foreign" => FaultKind::Foreign(argument.unwrap_or("https://graph.contoso.example").to_owned()),
            status => match status.parse() {
                Ok(status @ 400..=599) => FaultKind::Status(status),
                _ => {
                    return Err(format!(
                        "`{status}` is no kind of fault; try 429, 503, 500, reset, cut, slow, drip, truncate, html, \
                         expired, stale, odd, empty, duplicate, endless, untyped, nowhere, foreign"
                    ));
                }
            },
        })
    }
}

/// What a page is told to do wrong.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Twist {
    pub empty: bool,
    pub duplicate: bool,
    pub endless: bool,
    pub foreign: Option<String>,
}

impl Twist {
    pub fn of(kind: Option<&FaultKind>) -> Self {
        Self {
            empty: matches!(kind, Some(FaultKind::Empty)),
            duplicate: matches!(kind, Some(FaultKind::Duplicate)),
            endless: matches!(kind, Some(FaultKind::Endless)),
            foreign: match kind {
                Some(FaultKind::Foreign(origin)) => Some(origin.clone()),
                _ => None,
            },
        }
    }
}
