//! The page that `permissions` prints: what the application must be allowed, for the person who grants it.
//!
//! Plain data and its three forms: text, Markdown to paste into a ticket, JSON. Deliberately asks nobody, and knows no
//! permission itself.

use std::io::Write;

use serde::Serialize;
use serde_json::{Value, json};
use url::Url;

use super::write_failed;
use crate::error::{Context, Result};
use crate::source::collections::{GRAPH_APP_ID, WRITE, role_id};
use crate::source::rights::{Need, least};
use crate::visible::visible;

/// How the page is printed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, clap::ValueEnum)]
pub enum PageFormat {
    /// For a terminal or a mail
    #[default]
    Text,
    /// For a ticket or a wiki
    Markdown,
    /// For programs
    Json,
}

/// What one application needs for one job.
#[derive(Clone, PartialEq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub struct Page {
    format: &'static str,
    pub job: String,
    pub tenant: String,
    pub client_id: String,
    permissions: Vec<Row>,
    /// Where an administrator consents for the whole tenant.
    consent: String,
    /// What is required, as it stands in the app registration's manifest.
    #[serde(rename = "requiredResourceAccess")]
    manifest: Value,
}

#[derive(Clone, PartialEq, Debug, Serialize)]
struct Row {
    permission: &'static str,
    /// The app role's id, where this program knows it.
    id: Option<&'static str>,
    /// Without it runs are partial; otherwise it may be left out.
    required: bool,
    uses: Vec<Use>,
}

#[derive(Clone, PartialEq, Debug, Serialize)]
struct Use {
    what: String,
    why: String,
    without: String,
    /// What else would be enough, the least first.
    instead: Vec<&'static str>,
}

impl Page {
    /// `authority` is the cloud's sign-in host.
    pub fn new(job: &str, tenant: &str, client_id: &str, authority: &Url, needs: &[Need]) -> Page {
        let rows: Vec<Row> = least(needs).into_iter().map(|(permission, needs)| row(permission, &needs)).collect();
        // https://learn.microsoft.com/entra/identity/enterprise-apps/grant-admin-consent
        let mut consent = authority.clone();
        consent.set_path(&format!("{tenant}/adminconsent"));
        consent.query_pairs_mut().clear().append_pair("client_id", client_id);
        let required = rows.iter().filter(|row| row.required);
        let access: Vec<Value> = required.filter_map(|row| Some(json!({ "id": row.id?, "type": "Role" }))).collect();
        Page {
            format: "permissions/1",
            job: job.to_owned(),
            tenant: tenant.to_owned(),
            client_id: client_id.to_owned(),
            permissions: rows,
            consent: consent.into(),
            manifest: json!([{ "resourceAppId": GRAPH_APP_ID, "resourceAccess": access }]),
        }
    }

    /// Prints it.
    pub fn print(&self, format: PageFormat, to: &mut dyn Write) -> Result<()> {
        let text = match format {
            PageFormat::Text => self.text(),
            PageFormat::Markdown => self.markdown(),
            PageFormat::Json => pretty(self),
        };
        writeln!(to, "{}", text.trim_end()).failing(write_failed)
    }

    fn introduction(&self) -> String {
        format!(
            "The import job {} reads the tenant {} as the application {}. It needs these application permissions of \
             Microsoft Graph (the type Application, not Delegated), with the consent of an administrator. None of them \
             lets it change anything.",
            visible(&self.job),
            self.tenant,
            self.client_id
        )
    }

    fn text(&self) -> String {
        let mut text = format!("{}\n", self.introduction());
        for row in &self.permissions {
            let optional = if row.required { "" } else { ", may be left out" };
            text.push_str(&format!("\n{} ({}{optional})\n", row.permission, row.id_words()));
            for of in &row.uses {
                text.push_str(&format!("  for {}: {}\n", visible(&of.what), visible(&of.why)));
                text.push_str(&format!("    without it: {}\n", visible(&of.without)));
                if !of.instead.is_empty() {
                    text.push_str(&format!("    enough as well, but more: {}\n", of.instead.join(", ")));
                }
            }
        }
        let manifest = pretty(&self.manifest).replace('\n', "\n  ");
        text.push_str(&format!("\nTo consent: {}\n  {CONSENT}\n", self.consent));
        text.push_str(&format!(
            "\nWhat is required, as requiredResourceAccess in the app registration's manifest:\n  {manifest}\n"
        ));
        if let Some(unknown) = self.without_id() {
            text.push_str(&format!("  {unknown}\n"));
        }
        text
    }

    fn markdown(&self) -> String {
        let cell = |text: &str| visible(text).to_string().replace('\\', "\\\\").replace('|', "\\|");
        let each = |row: &Row, part: &dyn Fn(&Use) -> String| {
            row.uses.iter().map(|of| cell(&part(of))).collect::<Vec<_>>().join("<br>")
        };
        let mut text = format!("# Permissions for the import job {}\n\n{}\n\n", cell(&self.job), self.introduction());
        text.push_str("| permission | id of the app role | why | without it |\n| --- | --- | --- | --- |\n");
        for row in &self.permissions {
            let why = each(row, &|of| format!("{}: {}", of.what, of.why));
            let without = each(row, &|of| of.without.clone());
            let optional = if row.required { "" } else { " (may be left out)" };
            text.push_str(&format!("| `{}`{optional} | `{}` | {why} | {without} |\n", row.permission, row.id_words()));
        }
        text.push_str(&format!("\n[Grant admin consent]({})\n\n{CONSENT}\n\n", self.consent));
        let manifest = pretty(&self.manifest);
        text.push_str(&format!(
            "What is required, as `requiredResourceAccess` in the app registration's manifest:\n\n```json\n{manifest}\n```\n"
        ));
        if let Some(unknown) = self.without_id() {
            text.push_str(&format!("\n{unknown}\n"));
        }
        text
    }

    /// The permissions that the manifest lacks, because their ids are not known here.
    fn without_id(&self) -> Option<String> {
        let unknown = self.permissions.iter().filter(|row| row.required && row.id.is_none());
        let names: Vec<&str> = unknown.map(|row| row.permission).collect();
        (!names.is_empty()).then(|| format!("Not in it, since their ids are not known here: {}", names.join(", ")))
    }
}

/// What the link does, and what to do where it cannot be used.
const CONSENT: &str = "The link grants what stands in the app registration, so add the permissions there first. Where it \
                       is refused because the registration has no redirect URI, use the button \"Grant admin consent\" \
                       under API permissions.";

impl Row {
    fn id_words(&self) -> &'static str {
        self.id.unwrap_or("find it by its name")
    }
}

fn row(permission: &'static str, needs: &[&Need]) -> Row {
    let of = |need: &&Need| Use {
        what: need.what.clone(),
        why: need.why.clone(),
        without: need.without.clone(),
        // Those before it allow less, but what it allows is needed anyway.
        instead: need
            .sufficient
            .iter()
            .copied()
            .skip_while(|other| *other != permission)
            .skip(1)
            .filter(|other| !other.contains(WRITE))
            .collect(),
    };
    let required = needs.iter().any(|need| need.required);
    Row { permission, id: role_id(permission), required, uses: needs.iter().map(of).collect() }
}

/// JSON over several lines: this page is read by people too.
fn pretty(value: &impl Serialize) -> String {
    // Plain data with text keys: there is nothing in it that JSON cannot say.
    serde_json::to_string_pretty(value).expect("a page is plain data")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Collection;
    use crate::report::golden;
    use crate::source::SourceNeeds;
    use crate::source::rights::needed;

    fn page(job: &str) -> Page {
        let users = ["displayName", "accountEnabled", "customSecurityAttributes"].map(str::to_owned).into();
        let needs = SourceNeeds {
            properties: [(Collection::Users, users)].into(),
            memberships: true,
            expand_manager: true,
            ..SourceNeeds::default()
        };
        let authority = Url::parse("https://login.microsoftonline.us").unwrap();
        let client = "00001111-aaaa-2222-bbbb-3333cccc4444";
        let mut needs = needed(&needs, true);
        // A list of the job's own, with a permission whose id this program does not know.
        needs.push(Need {
            what: "sites".into(),
            sufficient: &["Sites.Read.All"],
            why: "the list sites".into(),
            without: "no sites are read".into(),
            required: true,
        });
        Page::new(job, "contoso.onmicrosoft.com", client, &authority, &needs)
    }

    fn printed(page: &Page, format: PageFormat) -> String {
        let mut text = Vec::new();
        page.print(format, &mut text).unwrap();
        String::from_utf8(text).unwrap()
    }

    #[test]
    fn the_page_in_each_form() {
        golden("report/permissions.txt", &printed(&page("contoso"), PageFormat::Text));
        golden("report/permissions.md", &printed(&page("contoso"), PageFormat::Markdown));
        golden("report/permissions.json", &printed(&page("contoso"), PageFormat::Json));
    }

    #[test]
    fn names_stay_in_their_cell_and_steer_no_terminal() {
        let hostile = page("a|b\u{1b}[31m");
        assert!(printed(&hostile, PageFormat::Markdown).starts_with("# Permissions for the import job a\\|b\\\\u{1b}"));
        assert!(!printed(&hostile, PageFormat::Text).contains('\u{1b}'));
    }
}
