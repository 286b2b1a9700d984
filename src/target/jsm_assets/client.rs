//! Requests to Assets: addresses, sign-in, pacing per class of endpoint, and what a refusal means.
//!
//! Hides the two bases of Cloud and the one of Data Center, how the workspace is found, Basic, Bearer and OAuth 2.0
//! client credentials. Nothing in a token tells for which base it is good, so a refusal names the other one.
//! Deliberately knows nothing of objects.
//! <https://developer.atlassian.com/cloud/assets/rest/intro/>

use std::time::Duration;

use bytes::Bytes;
use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::sync::{Mutex, OnceCell};
use url::Url;

use super::model::{self, Id};
use crate::clock::Clock;
use crate::error::{Context, Error, Exit, Result};
use crate::http::{Endpoint, Http, HttpError, Lane, Method, Pace, Refusal, Request, Response, plain};
use crate::job::{Flavour, JsmConfig, JsmCredential, TokenKind};
use crate::record::base64;

/// A token is renewed so long before it ends.
const RENEW_BEFORE: Duration = Duration::from_secs(60);
/// What a token lives when its answer does not say.
const TOKEN_LIFE_S: u64 = 3600;

/// What the service limits together; each class has a pace of its own.
/// <https://developer.atlassian.com/cloud/assets/rest/api-group-object/>
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Class {
    Create,
    Search,
    Other,
}

/// One request.
pub(super) struct Call<'c> {
    pub class: Class,
    pub method: Method,
    /// Below the base, without a slash in front.
    pub path: String,
    pub query: Vec<(&'c str, String)>,
    pub body: Option<Value>,
    /// Whether sending it twice is harmless.
    pub repeatable: bool,
}

impl<'c> Call<'c> {
    pub fn get(path: impl Into<String>) -> Call<'c> {
        let (path, query) = (path.into(), Vec::new());
        Call { class: Class::Other, method: Method::GET, path, query, body: None, repeatable: true }
    }

    pub fn post(path: impl Into<String>, body: Value) -> Call<'c> {
        Call { method: Method::POST, body: Some(body), repeatable: false, ..Call::get(path) }
    }

    #[must_use]
    pub fn with(mut self, name: &'c str, value: impl ToString) -> Call<'c> {
        self.query.push((name, value.to_string()));
        self
    }
}

/// Why a call brought nothing.
#[derive(Debug)]
pub(super) enum Failed {
    Http(HttpError),
    /// Before the call itself: no credential, no workspace.
    Run(Error),
}

impl From<HttpError> for Failed {
    fn from(error: HttpError) -> Failed {
        Failed::Http(error)
    }
}

impl From<Error> for Failed {
    fn from(error: Error) -> Failed {
        Failed::Run(error)
    }
}

/// Where the Assets API lies.
struct Base {
    address: String,
    /// A Data Center of before Assets 10, which knows the older names alone.
    is_insight: bool,
}

/// The way to one site with one credential.
pub(super) struct Client {
    config: JsmConfig,
    clock: Clock,
    site: Lane,
    auth: Lane,
    create: Lane,
    search: Lane,
    other: Lane,
    base: OnceCell<Base>,
    /// What every request shows, where that stays the same: the secret is read once.
    fixed: OnceCell<HeaderValue>,
    /// The OAuth token in use, and when it ends by [`Clock::elapsed`].
    token: Mutex<Option<(SecretString, Duration)>>,
}

impl Client {
    pub fn new(config: &JsmConfig, http: &Http) -> Result<Client> {
        let endpoint = |url: &Url| Endpoint::new(url.clone()).map(|end| end.trusting(config.ca_file.as_deref()));
        let (site, api, auth) = match config.flavour {
            Flavour::Cloud => (endpoint(&config.site)?, endpoint(&config.api)?, endpoint(&config.auth)?),
            Flavour::DataCenter => (endpoint(&config.site)?, endpoint(&config.site)?, endpoint(&config.site)?),
        };
        let who = match &config.credential {
            JsmCredential::Basic { user, .. } => user.as_str(),
            JsmCredential::Bearer(_) => "token",
            JsmCredential::Client { id, .. } => id.as_str(),
        };
        let lane = |endpoint: &Endpoint, class: &str, per_minute: u32| {
            let in_flight_max = config.max_in_flight as usize;
            let units_per_s = f64::from(per_minute) / 60.0;
            let pace = Pace { units_per_s, burst_units: f64::from(config.max_in_flight), in_flight_max };
            http.lane(endpoint, &format!("{who}#{class}"), pace)
        };
        Ok(Client {
            config: config.clone(),
            clock: http.clock().clone(),
            site: lane(&site, "site", config.others_per_minute)?,
            auth: lane(&auth, "auth", config.others_per_minute)?,
            create: lane(&api, "create", config.creates_per_minute)?,
            search: lane(&api, "search", config.searches_per_minute)?,
            other: lane(&api, "other", config.others_per_minute)?,
            base: OnceCell::new(),
            fixed: OnceCell::new(),
            token: Mutex::default(),
        })
    }

    pub fn flavour(&self) -> Flavour {
        self.config.flavour
    }

    /// The servers that are talked to.
    pub fn hosts(&self) -> Vec<(&'static str, Url)> {
        let mut hosts = vec![("Jira", self.config.site.clone())];
        if self.config.flavour == Flavour::Cloud {
            hosts.push(("Assets", self.config.api.clone()));
            if matches!(self.config.credential, JsmCredential::Client { .. }) {
                hosts.push(("Atlassian sign-in", self.config.auth.clone()));
            }
        }
        hosts
    }

    /// Requests sent so far, every try counted.
    pub fn requests(&self) -> u64 {
        [&self.site, &self.auth, &self.create, &self.search, &self.other]
            .map(|lane| lane.counts().requests)
            .iter()
            .sum()
    }

    /// Sends a call below the base of the Assets API, and decodes its JSON.
    pub async fn ask<T: DeserializeOwned>(&self, call: &Call<'_>) -> Result<T, Failed> {
        self.send(call, json).await
    }

    /// Sends a call whose answer need not say anything; but a page for people is no answer.
    pub async fn tell<T: DeserializeOwned>(&self, call: &Call<'_>) -> Result<Option<T>, Failed> {
        let decode = |response: &Response| match json(response) {
            Err(why) if why == PAGE => Err(why),
            told => Ok(told.ok()),
        };
        self.send(call, decode).await
    }

    async fn send<T>(&self, call: &Call<'_>, decode: impl Fn(&Response) -> Result<T, String>) -> Result<T, Failed> {
        let base = &self.base().await?.address;
        let lane = match call.class {
            Class::Create => &self.create,
            Class::Search => &self.search,
            Class::Other => &self.other,
        };
        self.through(lane, &format!("{base}/{}", call.path), call, decode).await
    }

    /// Sends a call to an address. A token that ended early is renewed once.
    async fn through<T>(
        &self,
        lane: &Lane,
        address: &str,
        call: &Call<'_>,
        decode: impl Fn(&Response) -> Result<T, String>,
    ) -> Result<T, Failed> {
        let mut url = Url::parse(address).failing(|| format!("{address} is no address"))?;
        if !call.query.is_empty() {
            url.query_pairs_mut().extend_pairs(&call.query);
        }
        let mut request = Request { method: call.method.clone(), repeatable: call.repeatable, ..Request::get(url) };
        request.headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        if let Some(body) = &call.body {
            request.headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
            request.body = Bytes::from(body.to_string());
        }
        request.headers.insert(AUTHORIZATION, self.authorization(false).await?);
        match lane.fetch(&request, &decode).await {
            Err(HttpError::Refused(refusal)) if refusal.status() == 401 && self.renews() => {
                request.headers.insert(AUTHORIZATION, self.authorization(true).await?);
                Ok(lane.fetch(&request, decode).await?)
            }
            answer => Ok(answer?),
        }
    }

    fn renews(&self) -> bool {
        matches!(self.config.credential, JsmCredential::Client { .. })
    }

    async fn authorization(&self, anew: bool) -> Result<HeaderValue> {
        match &self.config.credential {
            JsmCredential::Basic { user, password } => {
                let shown = async || {
                    let password = password.text("the API token or password")?;
                    header("Basic", &base64(format!("{user}:{}", password.expose_secret()).as_bytes()))
                };
                self.fixed.get_or_try_init(shown).await.cloned()
            }
            JsmCredential::Bearer(token) => {
                let shown = async || header("Bearer", token.text("the personal access token")?.expose_secret());
                self.fixed.get_or_try_init(shown).await.cloned()
            }
            JsmCredential::Client { id, secret } => {
                header("Bearer", self.token(id, secret, anew).await?.expose_secret())
            }
        }
    }

    /// The OAuth token in use, or a new one. All who ask wait for the one that is fetched.
    /// <https://support.atlassian.com/user-management/docs/create-oauth-2-0-credential-for-service-accounts/>
    async fn token(&self, id: &str, secret: &crate::secret::SecretFrom, anew: bool) -> Result<SecretString> {
        #[derive(Deserialize)]
        struct Issued {
            access_token: String,
            expires_in: Option<u64>,
        }
        let mut held = self.token.lock().await;
        if let (Some((token, ends)), false) = (&*held, anew)
            && self.clock.elapsed() + RENEW_BEFORE < *ends
        {
            return Ok(token.clone());
        }
        let secret = secret.text("the client secret")?;
        let path = match self.config.flavour {
            Flavour::Cloud => "oauth/token",
            Flavour::DataCenter => "rest/oauth2/latest/token",
        };
        let address = format!("{}/{path}", self.auth.endpoint().url().as_str().trim_end_matches('/'));
        let url = Url::parse(&address).failing(|| format!("{address} is no address"))?;
        let scope = (self.config.flavour == Flavour::DataCenter).then_some(("scope", "WRITE"));
        let fields =
            [("grant_type", "client_credentials"), ("client_id", id), ("client_secret", secret.expose_secret())];
        let form =
            url::form_urlencoded::Serializer::new(String::new()).extend_pairs(fields.into_iter().chain(scope)).finish();
        let mut request = Request { method: Method::POST, body: form.into(), ..Request::get(url) };
        request.headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"));
        let decode = |response: &Response| {
            // What stands in such an answer is secret, so no part of it is repeated.
            serde_json::from_slice::<Issued>(&response.body).map_err(|_| "not a token's answer".to_string())
        };
        let issued = self.auth.fetch(&request, decode).await.map_err(|error| match error {
            HttpError::Refused(refusal) => Error::new(Exit::SignIn, "Atlassian refused the OAuth client")
                .because(*refusal_as_error(&refusal))
                .hint("check the client's id and secret; secrets of service accounts end, too"),
            other => self.unreachable(&other, "cannot fetch a token from Atlassian"),
        })?;
        let token = SecretString::from(issued.access_token);
        let life = Duration::from_secs(issued.expires_in.unwrap_or(TOKEN_LIFE_S));
        *held = Some((token.clone(), self.clock.elapsed() + life));
        Ok(token)
    }

    /// The base of the Assets API, found once.
    async fn base(&self) -> Result<&Base> {
        self.base.get_or_try_init(|| self.find_base()).await
    }

    /// Whether it is a Data Center of before Assets 10, where searches go by an older name.
    pub async fn is_insight(&self) -> Result<bool> {
        Ok(self.base().await?.is_insight)
    }

    async fn find_base(&self) -> Result<Base> {
        let root = |url: &Url| url.as_str().trim_end_matches('/').to_string();
        if self.config.flavour == Flavour::DataCenter {
            return self.find_server_base(&root(&self.config.site)).await;
        }
        let prefix = self.prefix().await?;
        let workspace = match &self.config.workspace_id {
            Some(id) => id.clone(),
            None => self.workspace(&prefix).await?,
        };
        let gateway = if self.config.token == TokenKind::Scoped { prefix } else { root(&self.config.api) };
        Ok(Base { address: format!("{gateway}/jsm/assets/workspace/{workspace}/v1"), is_insight: false })
    }

    /// Below `/rest/assets/1.0`; where nothing lies there, below `/rest/insight/1.0`, as before Assets 10 and Jira Service
    /// Management 4.21. What is wrong besides shows in the requests themselves.
    async fn find_server_base(&self, root: &str) -> Result<Base> {
        let address = |name: &str| format!("{root}/rest/{name}/1.0");
        let is_there = async |address: &str| {
            let list = format!("{address}/objectschema/list");
            let decode = |_: &Response| Ok(());
            match self.through(&self.other, &list, &Call::get(""), decode).await {
                Err(Failed::Http(HttpError::Refused(refusal))) => Ok(refusal.status() != 404),
                Err(Failed::Run(error)) => Err(error),
                Err(Failed::Http(_)) | Ok(()) => Ok(true),
            }
        };
        let (assets, insight) = (address("assets"), address("insight"));
        if is_there(&assets).await? || !is_there(&insight).await? {
            return Ok(Base { address: assets, is_insight: false });
        }
        tracing::info!("{root} has no /rest/assets/1.0, so it is an Assets of before 10: /rest/insight/1.0 is used");
        Ok(Base { address: insight, is_insight: true })
    }

    /// Where the site's own API lies for this kind of token.
    async fn prefix(&self) -> Result<String> {
        let root = |url: &Url| url.as_str().trim_end_matches('/').to_string();
        if self.config.flavour == Flavour::DataCenter || self.config.token == TokenKind::Classic {
            return Ok(root(&self.config.site));
        }
        let id = match &self.config.cloud_id {
            Some(id) => id.clone(),
            None => self.cloud_id().await?,
        };
        Ok(format!("{}/ex/jira/{id}", root(&self.config.api)))
    }

    /// The lane that [`Client::prefix`] leads to.
    fn prefix_lane(&self) -> &Lane {
        let scoped = self.config.flavour == Flavour::Cloud && self.config.token == TokenKind::Scoped;
        if scoped { &self.other } else { &self.site }
    }

    async fn cloud_id(&self) -> Result<String> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Tenant {
            cloud_id: String,
        }
        let address = format!("{}/_edge/tenant_info", self.config.site.as_str().trim_end_matches('/'));
        let url = Url::parse(&address).failing(|| format!("{address} is no address"))?;
        let found: Tenant = self.site.fetch(&Request::get(url), json).await.map_err(|error| {
            self.error(error.into(), &format!("cannot learn the cloud id of {}", self.config.site)).hint(
                "check `site` in [target], or write `cloud_id` there: it stands in the address of admin.atlassian.com",
            )
        })?;
        Ok(found.cloud_id)
    }

    /// <https://developer.atlassian.com/cloud/jira/service-desk/rest/api-group-assets/>
    async fn workspace(&self, prefix: &str) -> Result<String> {
        #[derive(Deserialize)]
        struct Found {
            values: Vec<Workspace>,
        }
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Workspace {
            workspace_id: String,
        }
        let call = Call::get("");
        let address = format!("{prefix}/rest/servicedeskapi/assets/workspace");
        let found: Found = self.through(self.prefix_lane(), &address, &call, json).await.map_err(|failed| {
            self.error(failed, &format!("cannot find the Assets workspace of {}", self.config.site))
        })?;
        let mut ids: Vec<String> = found.values.into_iter().map(|workspace| workspace.workspace_id).collect();
        ids.sort();
        ids.dedup();
        match ids.as_slice() {
            [one] => Ok(one.clone()),
            [] => Err(Error::new(Exit::SignIn, format!("{} has no Assets", self.config.site))
                .cause("it names no Assets workspace")
                .hint("Assets comes with the Premium and Enterprise plans of Jira Service Management; check the plan and `site`")),
            // Each has schemas of its own, and nothing tells in which the job's lies.
            several => {
                let what = format!("{} has {} Assets workspaces", self.config.site, several.len());
                let error = several.iter().fold(Error::usage(what), |error, id| error.cause(plain(id)));
                Err(error.hint(format!(
                    "write the one that is meant as `workspace_id = \"{}\"` in [target]; with `init`, --workspace",
                    plain(&several[0])
                )))
            }
        }
    }

    /// People whose name or mail address holds this text, as Jira lists them.
    /// <https://developer.atlassian.com/cloud/jira/platform/rest/v3/api-group-user-search/>
    pub async fn people(&self, text: &str) -> Result<Vec<model::Person>, Failed> {
        let (path, name) = match self.config.flavour {
            Flavour::Cloud => ("rest/api/3/user/search", "query"),
            Flavour::DataCenter => ("rest/api/2/user/search", "username"),
        };
        let address = format!("{}/{path}", self.prefix().await?);
        self.through(self.prefix_lane(), &address, &Call::get("").with(name, text), json).await
    }

    /// What a failure means for the run.
    pub fn error(&self, failed: Failed, what: &str) -> Error {
        let error = match failed {
            Failed::Run(error) => return error,
            Failed::Http(error) => error,
        };
        let HttpError::Refused(refusal) = &error else { return self.unreachable(&error, what) };
        let because = |exit| Error::new(exit, what).because(*refusal_as_error(refusal));
        match refusal.status() {
            401 => because(Exit::SignIn).hint(self.refused_token(refusal)),
            403 => because(Exit::SignIn).hint(format!(
                "give the account a role in the schema {:?}: Object schema manager to write objects, Object schema \
                 developer for `setup`; a scoped token needs the scopes as well",
                self.config.schema
            )),
            404 => because(Exit::SignIn).hint(match self.config.flavour {
                Flavour::Cloud => "check `site`, `workspace_id` and `cloud_id` in [target]",
                Flavour::DataCenter => {
                    "check `site` in [target], with the path that Jira lies below, such as /jira: nothing answers below \
                     /rest/assets/1.0, nor below /rest/insight/1.0, where Assets was before Jira Service Management 4.21"
                }
            }),
            300..=399 => because(Exit::SignIn).hint(self.sent_on(refusal)),
            _ => because(Exit::Partial),
        }
    }

    /// Where a redirect leads, which is never followed.
    fn sent_on(&self, refusal: &Refusal) -> String {
        let to = refusal.response.header("location").unwrap_or_default();
        // What comes after may hold what a sign-on handed out.
        let to = plain(to.split(['?', '#']).next().unwrap_or_default());
        format!(
            "{} sends requests on to {to:?}, where the token does not go: if that is the same Jira under another name, \
             write it as `site` in [target]; if it is a page to log in, the API has to be reachable without one",
            self.config.site
        )
    }

    /// The other base, since nothing in a token says for which it is good.
    fn refused_token(&self, refusal: &Refusal) -> String {
        let api = self.config.api.as_str().trim_end_matches('/');
        let scope = refusal.message.as_deref().is_some_and(|text| text.to_ascii_lowercase().contains("scope"));
        match (self.config.flavour, self.config.token) {
            (Flavour::DataCenter, _) => {
                "check the personal access token (it may have ended), or user and password".into()
            }
            (Flavour::Cloud, TokenKind::Scoped) if scope => {
                "the token lacks a scope: read:, write: and delete:cmdb-object:jira, read:cmdb-schema:jira, \
                 read:cmdb-type:jira, read:cmdb-attribute:jira, read:cmdb-config:jira"
                    .into()
            }
            (Flavour::Cloud, TokenKind::Classic) => format!(
                "a token with scopes, and every token of a service account, is good below {api}/ex/jira/ alone: write \
                 `token = \"scoped\"` in [target] if it is one; else check the mail address and the token"
            ),
            (Flavour::Cloud, TokenKind::Scoped) => format!(
                "a token without scopes is good for {api}/jsm/assets/ alone: write `token = \"classic\"` in [target] if it \
                 is one; else check the mail address and the token"
            ),
        }
    }

    fn unreachable(&self, error: &HttpError, what: &str) -> Error {
        if is_page(error) {
            return Error::new(Exit::SignIn, what).because(error.clone()).hint(format!(
                "something in front of {} answers in its place, such as a page to log in or a proxy: open it in a browser; \
                 the API has to be reachable with the token alone",
                self.config.site
            ));
        }
        let hint = error.trouble().map(crate::http::Trouble::remedy);
        let unreachable = Error::new(Exit::Unreachable, what).because(error.clone());
        unreachable.hint(hint.unwrap_or_else(|| "run again later; what was done is recorded".into()))
    }

    /// The answer of a list in any of the shapes that are seen: an array, or one under a name.
    pub async fn list<T: DeserializeOwned>(&self, call: &Call<'_>) -> Result<Vec<T>, Failed> {
        self.send(call, |response| {
            let value: Value = json(response)?;
            let list = match value {
                Value::Array(_) => value,
                Value::Object(mut members) => ["values", "entries", "objectTypes", "objectschemas", "objectEntries"]
                    .iter()
                    .find_map(|name| members.remove(*name))
                    .map(|list| if list.is_null() { Value::Array(Vec::new()) } else { list })
                    .ok_or("a list is missing")?,
                _ => return Err("a list is missing".into()),
            };
            serde_json::from_value(list).map_err(|error| error.to_string())
        })
        .await
    }

    /// Makes something, and says what it is called.
    pub async fn make(&self, path: &str, body: Value) -> Result<Id, Failed> {
        #[derive(Deserialize)]
        struct Made {
            id: Id,
        }
        self.ask::<Made>(&Call::post(path, body)).await.map(|made| made.id)
    }

    /// How many objects all schemas of the site hold together, which is what Cloud bills by; none where that is not told.
    /// <https://developer.atlassian.com/cloud/assets/rest/api-group-usage/>
    pub async fn objects_in_all(&self) -> Option<u64> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Usage {
            total_objects_count: u64,
        }
        if self.config.flavour == Flavour::DataCenter {
            return None;
        }
        // An answer in another form says nothing; asking for it again would cost minutes.
        let decode = |response: &Response| Ok(serde_json::from_slice::<Usage>(&response.body).ok());
        let usage = self.send(&Call::get("usage"), decode).await;
        let usage = usage.inspect_err(|failed| tracing::debug!("the number of objects is not told: {failed:?}"));
        usage.ok().flatten().map(|usage| usage.total_objects_count)
    }

    /// Asks for the right to create objects without creating one: no object type is called 0.
    pub async fn may_create(&self) -> Result<(), Failed> {
        let body = json!({"objectTypeId": "0", "attributes": []});
        let call = Call { class: Class::Create, ..Call::post("object/create", body) };
        match self.tell::<Value>(&call).await {
            Err(Failed::Http(HttpError::Refused(refusal))) if !is_of_the_run(refusal.status()) => Ok(()),
            other => other.map(drop),
        }
    }
}

/// How an answer is called that is a page for people.
const PAGE: &str = "an HTML page and no JSON";

/// Decodes an answer. A sign-on in front of a site answers everything with a page, and with 200.
fn json<T: DeserializeOwned>(response: &Response) -> Result<T, String> {
    let begins = response.body.trim_ascii_start().first();
    serde_json::from_slice(&response.body)
        .map_err(|error| if begins == Some(&b'<') { PAGE.into() } else { error.to_string() })
}

/// Whether nothing but pages for people came.
pub(super) fn is_page(error: &HttpError) -> bool {
    matches!(error, HttpError::Exhausted { last, .. } if last.contains(PAGE))
}

/// Whether a refusal with this status is not about one record: every other one would be refused as well.
pub(super) fn is_of_the_run(status: u16) -> bool {
    matches!(status, 300..=399 | 401 | 403)
}

/// An `Authorization` that nothing prints.
fn header(scheme: &str, shown: &str) -> Result<HeaderValue> {
    let value = HeaderValue::from_str(&format!("{scheme} {shown}"));
    let mut value = value.failing(|| "the credential fits no header".into())?;
    value.set_sensitive(true);
    Ok(value)
}

/// A refusal as the cause of an error, with the server's words.
fn refusal_as_error(refusal: &Refusal) -> Box<HttpError> {
    Box::new(HttpError::Refused(Box::new(refusal.clone())))
}
