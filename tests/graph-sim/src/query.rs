//! Query strings: system query options, the columns of an answer, and the links to the next page.
//!
//! Hides: decoding, `$`-less spellings, option checks and the skiptoken. A token is bound to the path and all
//! parameters it was made for: a client that builds or trims a link is refused.
//! <https://learn.microsoft.com/graph/query-parameters> <https://learn.microsoft.com/graph/paging>
//! Deliberately does not: evaluate `$filter` (see `filter`) or choose rows (see `graph`).

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sim_server::hash;

use crate::reply::Failure;

/// The query options of one request.
#[derive(Clone, Debug, Default)]
pub(crate) struct Query {
    pub select: Option<Vec<String>>,
    pub top: Option<u32>,
    pub expand: Option<Expand>,
    pub filter: Option<String>,
    pub order: Option<String>,
    pub search: Option<String>,
    /// `$count=true` was given; it has a meaning only together with `ConsistencyLevel: eventual`.
    pub count: bool,
    pub position: Option<Position>,
    raw: String,
    bound: u64,
}

/// `$expand=name($select=a,b)`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Expand {
    pub name: String,
    pub select: Option<Vec<String>>,
}

/// Where a page begins: the content of a skiptoken.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub(crate) struct Position {
    /// The id (of an object) to go on after; empty for the beginning.
    pub after: String,
    /// How many ends of a relationship were given already.
    pub offset: usize,
    /// How often the same page was given already, of a list that does not end.
    pub turn: usize,
}

const OPTIONS: [&str; 12] = [
    "$select",
    "$top",
    "$expand",
    "$filter",
    "$orderby",
    "$search",
    "$count",
    "$skiptoken",
    "$deltatoken",
    "$skip",
    "$format",
    "$apply",
];

impl Query {
    /// Reads the options of a request to `path`.
    pub fn parse(path: &str, raw: &str) -> Result<Self, Failure> {
        let mut query = Self::default();
        let mut skiptoken = None;
        let mut pairs = Vec::new();
        let mut kept = Vec::new();
        for part in raw.split('&').filter(|part| !part.is_empty()) {
            let Some((name, value)) = url::form_urlencoded::parse(part.as_bytes()).next() else { continue };
            let name =
                if OPTIONS.contains(&format!("${name}").as_str()) { format!("${name}") } else { name.into_owned() };
            if name == "$skiptoken" {
                skiptoken = Some(value.into_owned());
                continue;
            }
            query.option(&name, &value)?;
            pairs.push(format!("{name}={value}"));
            kept.push(part);
        }
        pairs.sort();
        pairs.push(path.to_ascii_lowercase());
        query.raw = kept.join("&");
        query.bound = hash(pairs.join("&").as_bytes());
        query.position = skiptoken.map(|token| query.read_token(&token)).transpose()?;
        Ok(query)
    }

    fn option(&mut self, name: &str, value: &str) -> Result<(), Failure> {
        let list = |value: &str| value.split(',').map(|name| name.trim().to_owned()).collect::<Vec<_>>();
        match name {
            "$select" => self.select = Some(list(value)).filter(|names| names.iter().any(|name| !name.is_empty())),
            "$top" => {
                let wrong = || {
                    Failure::bad_request(format!(
                        "Invalid value '{value}' for $top query option found. The $top query option requires a non-negative integer value."
                    ))
                };
                self.top = Some(value.parse().map_err(|_| wrong())?);
            }
            "$expand" => self.expand = Some(Expand::parse(value)?),
            "$filter" => self.filter = Some(value.to_owned()),
            "$orderby" => self.order = Some(value.to_owned()),
            "$search" => self.search = Some(value.to_owned()),
            "$count" => self.count = value.eq_ignore_ascii_case("true"),
            "$skip" => return Err(Failure::bad_request("'$skip' is not supported by the service.")),
            "$format" => {}
            name if name.starts_with('$') => {
                return Err(Failure::bad_request(format!("The query parameter '{name}' is not supported.")));
            }
            _ => {}
        }
        Ok(())
    }

    /// Refuses what an endpoint does not take. `allowed` names options without `$`.
    pub fn only(&self, allowed: &[&str]) -> Result<(), Failure> {
        let given = [
            ("select", self.select.is_some()),
            ("top", self.top.is_some()),
            ("expand", self.expand.is_some()),
            ("filter", self.filter.is_some()),
            ("orderby", self.order.is_some()),
            ("search", self.search.is_some()),
        ];
        match given.into_iter().find(|(name, given)| *given && !allowed.contains(name)) {
            Some((name, _)) => {
                Err(Failure::unsupported(format!("The query option '${name}' is not supported for this request.")))
            }
            None => Ok(()),
        }
    }

    /// The page size: 100 when nothing is said, 1 to 999 otherwise.
    pub fn page_size(&self) -> Result<usize, Failure> {
        match self.top {
            None => Ok(100),
            Some(top @ 1..=999) => Ok(top as usize),
            Some(top) => Err(Failure::bad_request(format!(
                "Invalid page size specified: '{top}'. Must be between 1 and 999 inclusive."
            ))),
        }
    }

    /// The address of the page that begins at `position`.
    pub fn link(&self, base: &str, path: &str, position: &Position) -> String {
        let token = self.token(position);
        let glue = if self.raw.is_empty() { "" } else { "&" };
        format!("{base}/v1.0{path}?{}{glue}$skiptoken={token}", self.raw)
    }

    fn token(&self, position: &Position) -> String {
        let text = format!("{:016x}|{}|{}|{}", self.bound, position.offset, position.turn, position.after);
        let seal = hash(text.as_bytes());
        URL_SAFE_NO_PAD.encode(format!("RFNwdAoAAQ|{seal:016x}|{text}"))
    }

    fn read_token(&self, token: &str) -> Result<Position, Failure> {
        let read = || -> Option<(u64, Position)> {
            let text = String::from_utf8(URL_SAFE_NO_PAD.decode(token).ok()?).ok()?;
            let (seal, rest) = text.strip_prefix("RFNwdAoAAQ|")?.split_once('|')?;
            if u64::from_str_radix(seal, 16).ok()? != hash(rest.as_bytes()) {
                return None;
            }
            let mut parts = rest.splitn(4, '|');
            let bound = u64::from_str_radix(parts.next()?, 16).ok()?;
            let offset = parts.next()?.parse().ok()?;
            let turn = parts.next()?.parse().ok()?;
            Some((bound, Position { offset, turn, after: parts.next()?.to_owned() }))
        };
        let (bound, position) = read().ok_or_else(expired_page)?;
        if bound != self.bound {
            let message = "Skip token does not match the request: the parameters differ from those it was issued for.";
            return Err(Failure::bad_request(message));
        }
        Ok(position)
    }
}

/// The answer to a skiptoken that is no longer known.
pub(crate) fn expired_page() -> Failure {
    let message = "The specified page token value has expired and can no longer be included in your request.";
    Failure::new(400, "Directory_ExpiredPageToken", message)
}

impl Expand {
    fn parse(text: &str) -> Result<Self, Failure> {
        let (name, inner) = match text.split_once('(') {
            Some((name, rest)) => {
                (name, rest.strip_suffix(')').ok_or_else(|| Failure::bad_request("Syntax error in $expand."))?)
            }
            None => (text, ""),
        };
        if name.contains(',') || inner.contains("),") {
            return Err(Failure::bad_request("Multiple relationship expands are not supported in a single request."));
        }
        let mut select = None;
        for option in inner.split(';').filter(|option| !option.is_empty()) {
            match option.split_once('=') {
                Some(("$select" | "select", names)) => {
                    select = Some(names.split(',').map(|name| name.trim().to_owned()).collect())
                }
                _ => {
                    return Err(Failure::unsupported(format!(
                        "The option '{option}' is not supported inside $expand."
                    )));
                }
            }
        }
        Ok(Self { name: name.trim().to_owned(), select })
    }
}
