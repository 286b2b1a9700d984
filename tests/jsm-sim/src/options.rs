//! What a simulator can be told before it starts.
//!
//! Hides the defaults: a site as most are, quick and in a good mood.

use std::time::Duration;

use crate::accounts::{Account, Proof, Right};
use crate::faults::Fault;

/// The workspace of the default options.
pub const WORKSPACE_ID: &str = "f1668d0c-828c-470c-b7d1-8c4f48cd345a";
/// The site's cloud id in the default options.
pub const CLOUD_ID: &str = "8594f221-9797-5f78-1fa4-485e198d7cd0";
/// Whose token the default options know.
pub const EMAIL: &str = "importer@contoso.com";
/// The classic API token of the default options.
pub const TOKEN: &str = "classic-token";
/// The personal access token of the default options, for Data Center.
pub const PERSONAL_TOKEN: &str = "personal-access-token";
/// The OAuth 2.0 client of the default options.
pub const CLIENT_ID: &str = "oauth-client";
/// Its secret.
pub const CLIENT_SECRET: &str = "oauth-secret";

/// Which of the two products is played.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Flavour {
    Cloud,
    DataCenter,
}

/// What a page says about the number of all objects. Deprecated on Cloud since September 2024.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Totals {
    Exact,
    Absent,
    /// Never more than this.
    Capped(usize),
}

/// How the simulator behaves.
#[derive(Clone, Debug)]
pub struct Options {
    pub flavour: Flavour,
    /// On 127.0.0.1; 0 takes a free one.
    pub port: u16,
    pub workspace_id: String,
    pub cloud_id: String,
    /// False: the site's plan has no Assets, so that it names no workspace.
    pub has_assets: bool,
    /// Workspaces that the site names besides; nothing lies in them here.
    pub more_workspaces: Vec<String>,
    /// Who may sign in, and with what.
    pub accounts: Vec<Account>,
    /// Life of an OAuth token in seconds.
    pub expires_in_s: i64,
    /// The most objects on a page, whatever is asked for.
    pub page_max: usize,
    /// A page size beyond this is refused with 400; none is.
    pub page_refused_from: Option<usize>,
    pub totals: Totals,
    /// Without ORDER BY, another order on each page.
    pub shuffles: bool,
    /// Time until a write reaches searches and counts.
    pub index_delay: Duration,
    /// `POST /object/create` a minute; none is no limit. The published number is 2,000.
    pub creates_per_minute: Option<u32>,
    /// Searches and counts a minute. The published number is 500.
    pub searches_per_minute: Option<u32>,
    /// Everything else a minute.
    pub others_per_minute: Option<u32>,
    /// Objects that the plan includes; beyond them creates are refused.
    pub objects_max: Option<usize>,
    /// Time passes so many times faster, for a client whose waits are shortened as much.
    pub time_factor: f64,
    /// A create keeps nothing of what was sent and says nothing of it, as a public migration script reports of ids that
    /// were sent as texts.
    pub forgets_values: bool,
    /// A query with `HAVING` is refused.
    pub refuses_having: bool,
    /// A Data Center of before Assets 10: below `/rest/insight/1.0` alone, and searches by `iql/objects` alone.
    pub is_insight: bool,
    /// Before every answer, in real time.
    pub latency: Duration,
    pub faults: Vec<Fault>,
    /// Keeps every request, not only the counts.
    pub log_requests: bool,
}

impl Options {
    /// A Cloud site: one administrator with a classic token, one with a scoped token, one OAuth client.
    pub fn cloud() -> Self {
        let account = |name: &str, proof| Account { name: name.into(), proof, right: Right::Manage };
        let basic = |token: &str, scoped| Proof::Basic { user: EMAIL.into(), password: token.into(), scoped };
        Self {
            flavour: Flavour::Cloud,
            port: 0,
            workspace_id: WORKSPACE_ID.into(),
            cloud_id: CLOUD_ID.into(),
            has_assets: true,
            more_workspaces: Vec::new(),
            accounts: vec![
                account("classic", basic(TOKEN, false)),
                account("scoped", basic("scoped-token", true)),
                account("oauth", Proof::Client { id: CLIENT_ID.into(), secret: CLIENT_SECRET.into() }),
            ],
            expires_in_s: 3600,
            page_max: 1000,
            page_refused_from: None,
            totals: Totals::Exact,
            shuffles: true,
            index_delay: Duration::ZERO,
            creates_per_minute: None,
            searches_per_minute: None,
            others_per_minute: None,
            objects_max: None,
            time_factor: 1.0,
            forgets_values: false,
            refuses_having: false,
            is_insight: false,
            latency: Duration::ZERO,
            faults: Vec::new(),
            log_requests: true,
        }
    }

    /// A Data Center: one administrator with a personal access token, one with a password.
    pub fn data_center() -> Self {
        let account = |name: &str, proof| Account { name: name.into(), proof, right: Right::Manage };
        let password = Proof::Basic { user: "importer".into(), password: "password".into(), scoped: false };
        let accounts = vec![
            account("token", Proof::Bearer { token: PERSONAL_TOKEN.into(), scoped: false }),
            account("password", password),
            account("oauth", Proof::Client { id: CLIENT_ID.into(), secret: CLIENT_SECRET.into() }),
        ];
        Self { flavour: Flavour::DataCenter, accounts, page_max: 10_000, ..Self::cloud() }
    }

    pub fn of(flavour: Flavour) -> Self {
        match flavour {
            Flavour::Cloud => Self::cloud(),
            Flavour::DataCenter => Self::data_center(),
        }
    }
}
