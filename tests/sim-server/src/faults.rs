//! Misbehaviour on order: which request fails, how, and how often; the same for the same seed and requests.
//!
//! Hides matching, counting and the text form. Probability is drawn from seed, address and how often that address was
//! asked for, so that the order in which parallel requests arrive changes nothing. Deliberately does not know what can
//! go wrong: that is each simulator's own [`FaultKind`].

use std::collections::HashMap;
use std::str::FromStr;
use std::sync::Mutex;

use crate::reply::{Reply, http_date};

/// What can go wrong with a simulated service.
pub trait FaultKind: Clone {
    /// What the address of a request must hold where a fault does not say it.
    const PATH: &'static str;

    /// Reads `KIND[:ARGUMENT]`.
    ///
    /// # Errors
    /// When there is no such kind; the words list those there are.
    fn read(name: &str, argument: Option<&str>) -> Result<Self, String>;
}

/// One order of misbehaviour. All conditions given must hold.
#[derive(Clone, Debug, PartialEq)]
pub struct Fault<K> {
    pub kind: K,
    /// Must occur in path and query (decoded or as sent).
    pub path: String,
    /// `GET`, `POST`, …; none is any.
    pub method: Option<String>,
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
}

impl<K> Fault<K> {
    /// A permanent fault of every request whose address contains `path`.
    pub fn new(path: &str, kind: K) -> Self {
        Self {
            kind,
            path: path.to_owned(),
            method: None,
            nth: None,
            every: None,
            probability: None,
            seed: 0,
            times: None,
            each: None,
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

/// The compact text form:
/// `KIND[:ARGUMENT][,path=TEXT][,method=POST][,nth=N][,every=N][,p=0.1][,seed=N][,times=N][,each=N]`.
impl<K: FaultKind> FromStr for Fault<K> {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut parts = text.split(',');
        let kind = parts.next().unwrap_or_default();
        let (name, argument) = kind.split_once(':').map_or((kind, None), |(name, argument)| (name, Some(argument)));
        let mut fault = Self::new(K::PATH, K::read(name, argument)?);
        for part in parts {
            let (name, value) = part.split_once('=').ok_or_else(|| format!("`{part}` is not name=value"))?;
            let number = || value.parse::<u64>().map_err(|_| format!("`{part}`: not a number"));
            match name.trim() {
                "path" => value.clone_into(&mut fault.path),
                "method" => fault.method = Some(value.to_ascii_uppercase()),
                "nth" => fault.nth = Some(number()?),
                "every" => fault.every = Some(number()?.max(1)),
                "p" => fault.probability = Some(value.parse().map_err(|_| format!("`{part}`: not a probability"))?),
                "seed" => fault.seed = number()?,
                "times" => fault.times = Some(number()?),
                "each" => fault.each = Some(number()?),
                _ => return Err(format!("`{name}`: use path, method, nth, every, p, seed, times or each")),
            }
        }
        Ok(fault)
    }
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

impl RetryAfter {
    /// Reads the argument of a fault: seconds, `date`, `date+N`, `none`, or any text; 1 second where there is none.
    pub fn read(argument: Option<&str>) -> Self {
        match argument {
            None => Self::Seconds(1),
            Some("none") => Self::Missing,
            Some("date") => Self::Date(1),
            Some(text) => match (text.strip_prefix("date+").and_then(|rest| rest.parse().ok()), text.parse()) {
                (Some(seconds), _) => Self::Date(seconds),
                (None, Ok(seconds)) => Self::Seconds(seconds),
                (None, Err(_)) => Self::Text(text.to_owned()),
            },
        }
    }

    /// Puts the header into an answer.
    pub fn tell(&self, reply: Reply) -> Reply {
        match self {
            Self::Seconds(seconds) => reply.with("Retry-After", seconds.to_string()),
            Self::Date(seconds) => reply.with("Retry-After", http_date(*seconds)),
            Self::Text(text) => reply.with("Retry-After", text.clone()),
            Self::Missing => reply,
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
pub struct Faults<K> {
    list: Mutex<Vec<(Fault<K>, Count)>>,
}

impl<K: FaultKind> Faults<K> {
    pub fn new(faults: Vec<Fault<K>>) -> Self {
        Self { list: Mutex::new(faults.into_iter().map(|fault| (fault, Count::default())).collect()) }
    }

    pub fn add(&self, fault: Fault<K>) {
        self.list.lock().expect("no panic while counting").push((fault, Count::default()));
    }

    pub fn clear(&self) {
        self.list.lock().expect("no panic while counting").clear();
    }

    /// The first fault that is due for a request to this address (path and query). Every fault sees every request.
    pub fn due(&self, method: &str, target: &str) -> Option<K> {
        let decoded: String = url::form_urlencoded::parse(target.replace('&', "%26").replace('=', "%3D").as_bytes())
            .next()
            .map(|(text, _)| text.into_owned())
            .unwrap_or_default();
        let mut list = self.list.lock().expect("no panic while counting");
        let mut due = None;
        for (fault, count) in list.iter_mut() {
            let is_there = target.contains(&fault.path) || decoded.contains(&fault.path);
            if !is_there || fault.method.as_deref().is_some_and(|wanted| wanted != method) {
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
    fn strikes<K>(&mut self, fault: &Fault<K>, target: &str) -> bool {
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

/// A stable 64-bit hash (FNV-1a with a final mix), for whatever must be "random" and repeatable.
pub fn hash(bytes: &[u8]) -> u64 {
    let fold = |hash: u64, &byte: &u8| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    let mixed = bytes.iter().fold(0xcbf2_9ce4_8422_2325, fold);
    let mixed = (mixed ^ (mixed >> 32)).wrapping_mul(0xd6e8_feb8_6659_fd93);
    mixed ^ (mixed >> 32)
}
