//! Misbehaviour on order: which request fails, how, and how often; the same for the same seed and requests.
//!
//! Hides: matching and counting. Probability is drawn from seed, address and how often that address was asked for, so
//! that the order in which parallel requests arrive changes nothing.
//! Deliberately does not: touch sockets (see `server`) or know what an endpoint answers.

use std::collections::HashMap;
use std::str::FromStr;
use std::sync::Mutex;
use std::time::Duration;

use crate::tenant::hash;

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

/// The header that says when to come back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RetryAfter {
    /// Seconds.
    Seconds(u64),
    /// The HTTP date that many seconds from now.
    Date(i64),
    /// Any text.
    Text(String),
    /// No header.
    Missing,
}

/// One order of misbehaviour. All conditions given must hold.
#[derive(Clone, Debug, PartialEq)]
pub struct Fault {
    /// Must occur in path and query (decoded or as sent).
    pub path: String,
    /// Only the nth matching request, counted from 1.
    pub nth: Option<u64>,
    /// Only every nth matching request.
    pub every: Option<u64>,
    /// Only with this probability.
    pub probability: Option<f64>,
    /// For the probability.
    pub seed: u64,
    /// At most that often in all; then the fault is over.
    pub times: Option<u64>,
    /// At most that often for each address.
    pub each: Option<u64>,
    /// What goes wrong.
    pub kind: FaultKind,
}

impl Fault {
    /// A permanent fault of every request whose address contains `path`.
    pub fn new(path: &str, kind: FaultKind) -> Self {
        Self {
            path: path.to_owned(),
            nth: None,
            every: None,
            probability: None,
            seed: 0,
            times: None,
            each: None,
            kind,
        }
    }

    /// Only the nth matching request, counted from 1.
    #[must_use]
    pub fn nth(mut self, nth: u64) -> Self {
        self.nth = Some(nth);
        self
    }

    /// At most `times` occurrences in all.
    #[must_use]
    pub fn times(mut self, times: u64) -> Self {
        self.times = Some(times);
        self
    }

    /// At most `each` occurrences for each address, so that a retry succeeds.
    #[must_use]
    pub fn each(mut self, each: u64) -> Self {
        self.each = Some(each);
        self
    }

    /// With a probability, drawn from `seed`.
    #[must_use]
    pub fn probability(mut self, probability: f64, seed: u64) -> Self {
        self.probability = Some(probability);
        self.seed = seed;
        self
    }
}

/// The compact text form: `KIND[:ARGUMENT][,path=TEXT][,nth=N][,every=N][,p=0.1][,seed=N][,times=N][,each=N]`.
///
/// Kinds: `429` and `503` (argument: seconds, `date` or `date+N`, `none`, or any text; default 1), `401`, `403`,
/// `404`, `410`, `500`, `502`, `504`, `reset`, `cut`, `slow:MILLISECONDS`, `drip:MILLISECONDS`, `truncate`, `html`,
/// `expired`, `stale`, `odd`, `empty`, `duplicate`, `endless`, `untyped`, `nowhere`, `foreign[:ORIGIN]`.
impl FromStr for Fault {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut parts = text.split(',');
        let mut fault = Self::new("/v1.0", kind(parts.next().unwrap_or_default())?);
        for part in parts {
            let (name, value) = part.split_once('=').ok_or_else(|| format!("`{part}` is not name=value"))?;
            let number = || value.parse::<u64>().map_err(|_| format!("`{part}`: not a number"));
            match name.trim() {
                "path" => value.clone_into(&mut fault.path),
                "nth" => fault.nth = Some(number()?),
                "every" => fault.every = Some(number()?.max(1)),
                "p" => fault.probability = Some(value.parse().map_err(|_| format!("`{part}`: not a probability"))?),
                "seed" => fault.seed = number()?,
                "times" => fault.times = Some(number()?),
                "each" => fault.each = Some(number()?),
                _ => return Err(format!("`{name}`: use path, nth, every, p, seed, times or each")),
            }
        }
        Ok(fault)
    }
}

fn kind(text: &str) -> Result<FaultKind, String> {
    let (name, argument) = text.split_once(':').map_or((text, None), |(name, argument)| (name, Some(argument)));
    Ok(match name {
        "429" => FaultKind::Throttle(retry_after(argument)),
        "503" => FaultKind::Unavailable(retry_after(argument)),
        "reset" => FaultKind::Reset,
        "cut" => FaultKind::Cut,
        "slow" | "drip" => {
            let milliseconds = argument.unwrap_or("1000").parse().map_err(|_| format!("`{text}`: not milliseconds"))?;
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
                    "`{status}` is no kind of fault; try 429, 503, 500, reset, cut, slow, drip, truncate, html, expired, stale, odd, empty, duplicate, endless, untyped, nowhere, foreign"
                ));
            }
        },
    })
}

fn retry_after(argument: Option<&str>) -> RetryAfter {
    match argument {
        None => RetryAfter::Seconds(1),
        Some("none") => RetryAfter::Missing,
        Some("date") => RetryAfter::Date(1),
        Some(text) => match (text.strip_prefix("date+").and_then(|rest| rest.parse().ok()), text.parse()) {
            (Some(seconds), _) => RetryAfter::Date(seconds),
            (None, Ok(seconds)) => RetryAfter::Seconds(seconds),
            (None, Err(_)) => RetryAfter::Text(text.to_owned()),
        },
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

#[derive(Default)]
struct Count {
    matched: u64,
    fired: u64,
    /// Per address: how often it was seen, and how often it failed.
    addresses: HashMap<u64, (u64, u64)>,
}

/// The faults of a running simulator and how often each occurred.
pub(crate) struct Faults {
    list: Mutex<Vec<(Fault, Count)>>,
}

impl Faults {
    pub fn new(faults: Vec<Fault>) -> Self {
        Self { list: Mutex::new(faults.into_iter().map(|fault| (fault, Count::default())).collect()) }
    }

    pub fn add(&self, fault: Fault) {
        self.list.lock().expect("no panic while counting").push((fault, Count::default()));
    }

    pub fn clear(&self) {
        self.list.lock().expect("no panic while counting").clear();
    }

    /// The first fault that is due for a request to this address. Every fault sees every request.
    pub fn due(&self, target: &str) -> Option<FaultKind> {
        let decoded: String = url::form_urlencoded::parse(target.replace('&', "%26").replace('=', "%3D").as_bytes())
            .next()
            .map(|(text, _)| text.into_owned())
            .unwrap_or_default();
        let mut list = self.list.lock().expect("no panic while counting");
        let mut due = None;
        for (fault, count) in list.iter_mut() {
            if !target.contains(&fault.path) && !decoded.contains(&fault.path) {
                continue;
            }
            if count.strikes(fault, target) && due.is_none() {
                count.fired += 1;
                count.addresses.entry(hash(target.as_bytes())).or_default().1 += 1;
                due = Some(fault.kind.clone());
            }
        }
        due
    }
}

impl Count {
    fn strikes(&mut self, fault: &Fault, target: &str) -> bool {
        self.matched += 1;
        let address = hash(target.as_bytes());
        let (seen, failed) = self.addresses.entry(address).or_default();
        *seen += 1;
        let draw = hash(format!("{}|{address}|{seen}", fault.seed).as_bytes());
        // 53 bits are what a float holds exactly.
        let chance = (draw >> 11) as f64 / (1_u64 << 53) as f64;
        fault.nth.is_none_or(|nth| self.matched == nth)
            && fault.every.is_none_or(|every| self.matched.is_multiple_of(every))
            && fault.probability.is_none_or(|probability| chance < probability)
            && fault.times.is_none_or(|times| self.fired < times)
            && fault.each.is_none_or(|each| *failed < each)
    }
}
