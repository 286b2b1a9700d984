//! `[target]` of kind `jsm-assets`: a site of Jira Service Management Assets, and how to sign in to it.
//!
//! Hides the keys and their checks. Deliberately contacts nothing and reads no secret.

use std::path::PathBuf;
use std::sync::Arc;

use url::Url;

use super::read::{HOMES, Reader};
use super::secret::Secrets;
use super::source::{host, transposed};
use crate::diagnostic::{Problems, SourceFile};
use crate::secret::SecretFrom;
use crate::tree::{Fields, Kind, Node};

/// Where Assets lies and how it may be used.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct JsmConfig {
    pub flavour: Flavour,
    /// The site (`https://contoso.atlassian.net`), or the base address of a Data Center.
    pub site: Url,
    /// Cloud's gateway.
    pub api: Url,
    /// Where OAuth tokens of Cloud come from.
    pub auth: Url,
    /// Which of the gateway's two bases the token is good for.
    pub token: TokenKind,
    /// Looked up where it is not given; they never change.
    pub cloud_id: Option<String>,
    pub workspace_id: Option<String>,
    /// The schema's name or key.
    pub schema: String,
    pub credential: JsmCredential,
    pub ca_file: Option<PathBuf>,
    /// Objects asked for at once; the server may send fewer.
    pub page_size: u32,
    pub creates_per_minute: u32,
    pub searches_per_minute: u32,
    pub others_per_minute: u32,
    /// Writes under way at once.
    pub max_in_flight: u32,
    /// Objects that the site's plan includes; Cloud bills what is beyond.
    pub objects_included: u32,
}

/// Which product it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Flavour {
    Cloud,
    DataCenter,
}

/// Nothing in a token tells which kind it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TokenKind {
    /// Good for `https://api.atlassian.com/jsm/assets/…`.
    Classic,
    /// With scopes, or of a service account: good below `https://api.atlassian.com/ex/jira/{cloudId}` alone.
    Scoped,
}

/// A way to sign in to Jira.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum JsmCredential {
    /// A mail address with an API token, or a user name with a password.
    Basic { user: String, password: SecretFrom },
    /// A personal access token.
    Bearer(SecretFrom),
    /// OAuth 2.0 client credentials.
    Client { id: String, secret: SecretFrom },
}

impl JsmConfig {
    /// What the ledger remembers the target by: no secret, and the same however one signs in.
    pub fn identity(&self) -> String {
        let site = self.site.as_str().trim_end_matches('/');
        format!("jsm-assets:{site}#{}", self.schema)
    }
}

/// Objects a page that are asked for; public clients work with as many.
const PAGE_SIZE: i64 = 500;
/// Ten a second. The published limits are 2,000 creates and 500 searches a minute and key.
const CREATES: i64 = 600;
const SEARCHES: i64 = 450;
const OTHERS: i64 = 600;
const IN_FLIGHT: i64 = 6;
/// Of Premium and Enterprise, by most of Atlassian's pages.
/// <https://support.atlassian.com/assets/docs/what-is-feature-usage-and-how-it-works/>
const INCLUDED: i64 = 50_000;

const CREDENTIAL_EXAMPLE: &str =
    "credential = { basic = { user = \"importer@contoso.com\", password = { env = \"JIRA_TOKEN\" } } }";

/// Reads the keys besides `kind`.
pub(super) fn read(
    mut fields: Fields<'_>,
    node: &Node,
    reader: &Reader,
    files: &[Arc<SourceFile>],
    problems: &mut Problems,
) -> Option<JsmConfig> {
    let flavours = [("cloud", Flavour::Cloud), ("data-center", Flavour::DataCenter)];
    let tokens = [("classic", TokenKind::Classic), ("scoped", TokenKind::Scoped)];
    let flavour = fields.get("flavour").map_or(Some(Flavour::Cloud), |node| node.word(&flavours, problems));
    let site = fields.require("site", "site = \"https://contoso.atlassian.net\"", problems);
    let mut address = |key: &'static str, default: &str, problems: &mut Problems| match fields.get(key) {
        Some(node) => host(node, default, problems),
        None => Url::parse(default).ok(),
    };
    let api = address("api", "https://api.atlassian.com", problems);
    let auth = address("auth", "https://auth.atlassian.com", problems);
    let token_node = fields.get("token");
    let token = token_node.map_or(Some(TokenKind::Classic), |node| node.word(&tokens, problems));
    let mut text = |key: &'static str| fields.get(key).map(|node| plain(node, problems));
    let (cloud_id, workspace_id) = (text("cloud_id"), text("workspace_id"));
    let schema = fields.require("schema", "schema = \"Entra ID\"", problems);
    let credential = fields.require("credential", CREDENTIAL_EXAMPLE, problems);
    let ca_file = fields.get("ca_file").map(|node| reader.path(node, problems).map(|(path, _)| path));
    let mut number = |key: &'static str, default, most| {
        let number = fields.get(key).map_or(Some(default), |node| node.int(1..=most, problems));
        number.and_then(|number| u32::try_from(number).ok())
    };
    let page_size = number("page_size", PAGE_SIZE, 10_000);
    let creates = number("creates_per_minute", CREATES, 100_000);
    let searches = number("searches_per_minute", SEARCHES, 100_000);
    let others = number("others_per_minute", OTHERS, 100_000);
    let in_flight = number("max_in_flight", IN_FLIGHT, 64);
    let included = number("objects_included", INCLUDED, i64::from(u32::MAX));
    fields.finish(&HOMES, problems);
    if let (Some(Flavour::DataCenter), Some(node)) = (flavour, token_node) {
        problems.add_with_help(&node.place, "`token` is a matter of Cloud alone", "take it out");
    }
    let site = site.and_then(|node| host(node, "https://contoso.atlassian.net", problems));
    let schema = schema.and_then(|node| plain(node, problems));
    let credential = credential.and_then(|node| self::credential(node, &Secrets { reader, files }, problems));
    if let (Some(JsmCredential::Client { .. }), Some(Flavour::Cloud), Some(TokenKind::Classic)) =
        (&credential, flavour, token)
    {
        let help = "write `token = \"scoped\"`";
        problems.add_with_help(&node.place, "tokens of an OAuth client are scoped ones", help);
    }
    Some(JsmConfig {
        flavour: flavour?,
        site: site?,
        api: api?,
        auth: auth?,
        token: token?,
        cloud_id: transposed(cloud_id)?,
        workspace_id: transposed(workspace_id)?,
        schema: schema?,
        credential: credential?,
        ca_file: transposed(ca_file)?,
        page_size: page_size?,
        creates_per_minute: creates?,
        searches_per_minute: searches?,
        others_per_minute: others?,
        max_in_flight: in_flight?,
        objects_included: included?,
    })
}

/// A text with something in it.
fn plain(node: &Node, problems: &mut Problems) -> Option<String> {
    let text = node.text(problems)?.trim();
    if text.is_empty() {
        problems.add(&node.place, "the text is empty");
        return None;
    }
    Some(text.to_string())
}

/// Exactly one way to sign in.
fn credential(node: &Node, secrets: &Secrets, problems: &mut Problems) -> Option<JsmCredential> {
    let table = secrets.table(node, "a credential", problems)?;
    let mut fields = Fields::new(table, &node.place, "the `credential` of a target");
    let ways: Vec<_> =
        ["basic", "bearer", "client"].into_iter().filter_map(|way| Some((way, fields.get(way)?))).collect();
    fields.finish(&HOMES, problems);
    let [(way, value)] = ways.as_slice() else {
        if !ways.is_empty() || table.entries.is_empty() {
            let help = format!("keep one of basic, bearer, client; `{CREDENTIAL_EXAMPLE}`");
            problems.add_with_help(&node.place, "a credential is one way to sign in", help);
        }
        return None;
    };
    match *way {
        "basic" => {
            let (user, password) = pair(value, ["user", "password"], CREDENTIAL_EXAMPLE, secrets, problems)?;
            Some(JsmCredential::Basic { user, password })
        }
        "bearer" => secrets.place(value, "a token", problems).map(JsmCredential::Bearer),
        _ => {
            let example = "credential = { client = { id = \"…\", secret = { env = \"JIRA_SECRET\" } } }";
            let (id, secret) = pair(value, ["id", "secret"], example, secrets, problems)?;
            Some(JsmCredential::Client { id, secret })
        }
    }
}

/// A name and where its secret lies.
fn pair(
    node: &Node,
    [name, secret]: [&'static str; 2],
    example: &str,
    secrets: &Secrets,
    problems: &mut Problems,
) -> Option<(String, SecretFrom)> {
    let Kind::Table(table) = &node.kind else {
        problems.add_with_help(&node.place, format!("this is {}", node.kind.what()), format!("write `{example}`"));
        return None;
    };
    let mut fields = Fields::new(table, &node.place, format!("`{name}` with its `{secret}`"));
    let (named, hidden) = (fields.require(name, example, problems), fields.require(secret, example, problems));
    fields.finish(&HOMES, problems);
    let named = named.and_then(|node| plain(node, problems));
    let hidden = hidden.and_then(|node| secrets.place(node, "a secret", problems));
    Some((named?, hidden?))
}
