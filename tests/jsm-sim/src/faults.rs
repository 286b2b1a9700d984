//! Misbehaviour on demand, described in one line: `429:3,path=/object/create,nth=2`.
//!
//! Hides which request a fault hits. Deliberately injects nothing that a real gateway or server does not do.

use std::str::FromStr;
use std::sync::Mutex;
use std::time::Duration;

/// What goes wrong.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FaultKind {
    /// Refused for now, with `Retry-After` in seconds or without.
    TooMany(Option<u32>),
    /// Unavailable, with `Retry-After` in seconds or without.
    Unavailable(Option<u32>),
    /// A bare error of the server; nothing was done.
    Failed(u16),
    /// The gateway's HTML page; nothing was done.
    BadGateway,
    /// The connection is closed; nothing was done.
    Reset,
    /// Done, and then the connection is closed without an answer.
    DoneAndCut,
    /// Done, and answered only after this time.
    Slow(Duration),
}

/// A fault and the requests it hits: all conditions must hold.
#[derive(Clone, Debug)]
pub struct Fault {
    pub kind: FaultKind,
    /// Occurs in the path.
    pub path: String,
    /// `GET`, `POST`, …
    pub method: Option<String>,
    /// Only this matching request, counted from 1.
    pub nth: Option<u64>,
    /// Every so many matching requests.
    pub every: Option<u64>,
    /// At most so often.
    pub times: Option<u64>,
}

impl FromStr for Fault {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut parts = text.split(',');
        let (kind, argument) = match parts.next().unwrap_or_default().split_once(':') {
            Some((kind, argument)) => (kind, Some(argument)),
            None => (parts_first(text), None),
        };
        let after = || match argument {
            None => Ok(Some(1)),
            Some("none") => Ok(None),
            Some(text) => text.parse().map(Some).map_err(|_| format!("{text:?} is no number of seconds")),
        };
        let kind = match kind {
            "429" => FaultKind::TooMany(after()?),
            "503" => FaultKind::Unavailable(after()?),
            "500" => FaultKind::Failed(500),
            "504" => FaultKind::Failed(504),
            "502" => FaultKind::BadGateway,
            "reset" => FaultKind::Reset,
            "cut" => FaultKind::DoneAndCut,
            "slow" => {
                let ms = argument.and_then(|text| text.parse().ok()).ok_or("slow needs milliseconds: slow:500")?;
                FaultKind::Slow(Duration::from_millis(ms))
            }
            other => return Err(format!("there is no fault {other:?}: 429 503 500 504 502 reset cut slow:MS")),
        };
        let mut fault = Self { kind, path: String::new(), method: None, nth: None, every: None, times: None };
        for part in parts {
            let (name, value) = part.split_once('=').ok_or_else(|| format!("{part:?} is no condition"))?;
            let number = || value.parse().ok().filter(|n| *n > 0).ok_or_else(|| format!("{value:?} is no number"));
            match name {
                "path" => value.clone_into(&mut fault.path),
                "method" => fault.method = Some(value.to_ascii_uppercase()),
                "nth" => fault.nth = Some(number()?),
                "every" => fault.every = Some(number()?),
                "times" => fault.times = Some(number()?),
                other => return Err(format!("there is no condition {other:?}: path method nth every times")),
            }
        }
        Ok(fault)
    }
}

fn parts_first(text: &str) -> &str {
    text.split(',').next().unwrap_or_default()
}

/// The faults of a running simulator.
#[derive(Default)]
pub(crate) struct Faults(Mutex<Vec<Armed>>);

struct Armed {
    fault: Fault,
    seen: u64,
    hit: u64,
}

impl Faults {
    pub fn add(&self, fault: Fault) {
        self.0.lock().expect("no panic while arming").push(Armed { fault, seen: 0, hit: 0 });
    }

    pub fn clear(&self) {
        self.0.lock().expect("no panic while disarming").clear();
    }

    /// The first fault that hits this request. All of them count it.
    pub fn strike(&self, method: &str, path: &str) -> Option<FaultKind> {
        let mut struck = None;
        for armed in self.0.lock().expect("no panic while striking").iter_mut() {
            let fault = &armed.fault;
            if !path.contains(&fault.path) || fault.method.as_deref().is_some_and(|wanted| wanted != method) {
                continue;
            }
            armed.seen += 1;
            let fits = fault.nth.is_none_or(|nth| armed.seen == nth)
                && fault.every.is_none_or(|every| armed.seen.is_multiple_of(every))
                && fault.times.is_none_or(|times| armed.hit < times);
            if fits && struck.is_none() {
                armed.hit += 1;
                struck = Some(fault.kind);
            }
        }
        struck
    }
}
