//! What can go wrong with Assets. Which request it hits, how and how often, is [`sim_server`]'s business.
//!
//! Deliberately injects nothing that a real gateway or server does not do.

use std::time::Duration;

use sim_server::RetryAfter;

/// One order of misbehaviour. Kinds in the text form: `429` and `503` (argument: seconds, `none`, …), `500`, `504`, `502`,
/// `login`, `redirect[:ADDRESS]`, `reset`, `cut`, `done:STATUS`, `slow:MILLISECONDS`, `short`, `twice`, `bare`, `odd`.
pub type Fault = sim_server::Fault<FaultKind>;

/// What goes wrong.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum FaultKind {
    /// Refused for now.
    TooMany(RetryAfter),
    Unavailable(RetryAfter),
    /// A bare error of the server; nothing was done.
    Failed(u16),
    /// The gateway's HTML page; nothing was done.
    BadGateway,
    /// 200 with the HTML page of a sign-on in front; nothing was done.
    LoginPage,
    /// 302 to another address; nothing was done.
    Redirect(String),
    /// The connection is closed; nothing was done.
    Reset,
    /// Done, and then the connection is closed without an answer.
    DoneAndCut,
    /// Done, and answered with this status all the same.
    DoneAndFailed(u16),
    /// Done, and answered only after this time.
    Slow(Duration),
    /// A page shows half of what belongs on it, and says that there is more.
    Short,
    /// The last object of a page stands on it twice.
    Twice,
    /// The objects of a page come without their attributes.
    Bare,
    /// Odd but legal JSON: members nobody heard of, any order, null for what is empty, values as they are shown alone.
    Odd,
}

impl sim_server::FaultKind for FaultKind {
    const PATH: &'static str = "";

    fn read(name: &str, argument: Option<&str>) -> Result<Self, String> {
        let number = |what: &str| {
            let number = argument.and_then(|text| text.parse::<u64>().ok());
            number.ok_or_else(|| format!("{name} needs {what}: {name}:500"))
        };
        Ok(match name {
            "429" => Self::TooMany(RetryAfter::read(argument)),
            "503" => Self::Unavailable(RetryAfter::read(argument)),
            "500" => Self::Failed(500),
            "504" => Self::Failed(504),
            "502" => Self::BadGateway,
            "login" => Self::LoginPage,
            "redirect" => Self::Redirect(argument.unwrap_or("https://contoso.example/login.jsp").to_owned()),
            "reset" => Self::Reset,
            "cut" => Self::DoneAndCut,
            "done" => Self::DoneAndFailed(u16::try_from(number("a status")?).unwrap_or(500)),
            "slow" => Self::Slow(Duration::from_millis(number("milliseconds")?)),
            "short" => Self::Short,
            "twice" => Self::Twice,
            "bare" => Self::Bare,
            "odd" => Self::Odd,
            other => {
                return Err(format!(
                    "there is no fault {other:?}: 429 503 500 504 502 login redirect reset cut done:STATUS slow:MS short \
                     twice bare odd"
                ));
            }
        })
    }
}
