//! `init`: a job to begin with, and mapping files where a schema is there already. Overwrites nothing.
//!
//! Hides the text of the job. What it writes is loaded before it is shown, as `check` would load it. Deliberately asks
//! nobody but the site whose schema is named, and no questions.

use std::fmt::Write as _;
use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};

use crate::cli::{self, SiteKind};
use crate::error::{Context as _, Error, Exit, Result};
use crate::job::{Job, TargetConfig};
use crate::report::say;
use crate::session::Context;
use crate::target::jsm_assets::propose::{Proposal, propose, quoted};
use crate::visible::visible;

/// Shipped mappings of a job without a schema to follow.
const CSV: [&str; 3] = ["csv/users@1", "csv/groups@1", "csv/memberships@1"];
const ASSETS: [&str; 3] = ["jsm-assets/license@1", "jsm-assets/group@1", "jsm-assets/user@1"];
/// What the shipped mappings can mark who left with; licenses have no such attribute.
const ASSETS_REMOVAL: &str = "\n# Leavers keep their objects, since assets and requests hang on them.\n[removal]\n\
    default = [{ flag = { \"Sync Status\" = \"Removed from source\" } }]\n";

/// Writes the files, and says what to do next.
pub async fn init(command: &cli::Init, context: &Context<'_>) -> Result<Exit> {
    let job = &command.job;
    if command.site.is_some() && command.user.is_none() && command.flavour == SiteKind::Cloud {
        return Err(Error::usage("a token of a Cloud site goes with the mail address of its owner")
            .hint("write --user importer@contoso.com; for a Data Center --flavour data-center"));
    }
    let head = head(command);
    let mut written = Written::default();
    written.write(job, &shipped(&head, command.site.is_some()))?;
    // As every job is read, so that every mistake is told in the same words.
    let loaded = Job::load(job, None)?;
    let proposal = match (&command.from_schema, &loaded.target) {
        (Some(_), TargetConfig::JsmAssets(config)) => Some(propose(config, &context.http).await?),
        _ => None,
    };
    if let Some(proposal) = &proposal {
        let (text, mappings) = following(&head, job, proposal);
        for (path, text) in &mappings {
            written.write(path, text)?;
        }
        std::fs::write(job, text).failing(|| format!("cannot write {}", job.display()))?;
        Job::load(job, None)?;
    }
    say!("wrote {}", written.kept().join(", "));
    proposal.iter().for_each(tell);
    let missing = [(command.tenant.is_none(), "tenant"), (command.client_id.is_none(), "client_id")];
    let missing: Vec<&str> = missing.into_iter().filter(|(so, _)| *so).map(|(_, name)| name).collect();
    if !missing.is_empty() {
        say!("fill in {} in [source]", missing.join(" and "));
    }
    let shown = job.display();
    let setup = if command.site.is_some() { format!("entra-import setup {shown} --dry-run, ") } else { String::new() };
    say!("next: entra-import check {shown}, {setup}entra-import plan {shown}");
    Ok(Exit::Done)
}

/// Files that were made; they go again unless all of them turn out right.
#[derive(Default)]
struct Written(Vec<PathBuf>);

impl Written {
    /// Writes a file that is not there yet.
    fn write(&mut self, path: &Path, text: &str) -> Result<()> {
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
        folder
            .map_or(Ok(()), std::fs::create_dir_all)
            .failing(|| format!("cannot make the folder of {}", path.display()))?;
        let made = std::fs::File::create_new(path).and_then(|mut file| file.write_all(text.as_bytes()));
        match made {
            Ok(()) => self.0.push(path.to_path_buf()),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                let is_there = Error::usage(format!("{} is there already", path.display()));
                return Err(is_there.hint("name another file, or move it away"));
            }
            Err(error) => return Err(error).failing(|| format!("cannot write {}", path.display())),
        }
        Ok(())
    }

    /// Keeps them, and names them.
    fn kept(mut self) -> Vec<String> {
        std::mem::take(&mut self.0).iter().map(|path| path.display().to_string()).collect()
    }
}

impl Drop for Written {
    fn drop(&mut self) {
        // What cannot be removed is left lying; the error that led here is what counts.
        self.0.iter().for_each(|path| drop(std::fs::remove_file(path)));
    }
}

/// What of the proposal a person should know at once; the files have the rest.
fn tell(proposal: &Proposal) {
    for mapping in &proposal.mappings {
        let key = match &mapping.key {
            Some(key) => format!("key {}", quoted(key)),
            None => "no attribute for Entra's id: the key lives in the ledger alone".to_string(),
        };
        let adopt: Vec<String> = mapping.adopt.iter().map(|name| quoted(name)).collect();
        let adopt = if adopt.is_empty() { String::new() } else { format!("; takes over by {}", adopt.join(", ")) };
        say!("{}: {}s, {} attributes; {key}{adopt}", visible(&quoted(&mapping.ty)), mapping.name, mapping.matched);
        for (name, why) in &mapping.left {
            say!("  not matched: {} ({})", visible(&quoted(name)), visible(why));
        }
    }
    for (name, why) in &proposal.others {
        say!("{}: not used, {why}", visible(&quoted(name)));
    }
}

/// The job with shipped mappings.
fn shipped(head: &str, assets: bool) -> String {
    let mut text = head.to_string();
    if assets {
        text.push_str(ASSETS_REMOVAL);
    }
    for address in if assets { ASSETS } else { CSV } {
        let _ = write!(text, "\n[[mapping]]\nuse = \"{address}\"\n");
        if address == ASSETS[0] {
            text.push_str("removal = []\n");
        }
    }
    text
}

/// The job and the mapping files that follow a schema.
fn following(head: &str, job: &Path, proposal: &Proposal) -> (String, Vec<(PathBuf, String)>) {
    let stem = stem(job);
    let mut text = head.to_string();
    let mut files = Vec::with_capacity(proposal.mappings.len());
    for mapping in &proposal.mappings {
        let file = format!("{stem}/{}.toml", mapping.name);
        let _ = write!(text, "\n[[mapping]]\nuse = {}\n", quoted(&file));
        match &mapping.flag {
            Some((name, value)) => {
                let step = format!("{{ flag = {{ {} = {} }} }}", quoted(name), quoted(value));
                let _ = writeln!(text, "# Who left is kept and listed. To mark such objects:\n# removal = [{step}]");
            }
            None => text.push_str("# Who left is kept and listed; [removal] in docs/jobs.md has other ways.\n"),
        }
        files.push((job.with_file_name(&file), mapping.text.clone()));
    }
    (text, files)
}

fn stem(job: &Path) -> String {
    job.file_stem().unwrap_or_default().to_string_lossy().into_owned()
}

/// Everything above the mappings.
fn head(command: &cli::Init) -> String {
    let tenant = command.tenant.as_deref().unwrap_or("contoso.onmicrosoft.com");
    let client = command.client_id.as_deref().unwrap_or("00001111-aaaa-2222-bbbb-3333cccc4444");
    let mut text = format!(
        "# Written by `entra-import init`. Every key: docs/jobs.md\nformat = \"job/1\"\nname   = {}\n\n[source]\n\
         tenant     = {}\nclient_id  = {}\ncredential = {{ secret = {{ env = \"ENTRA_SECRET\" }} }}\n\n\
         # What is let in; without a filter everything. `entra-import plan` says how many.\n[scope]\n\
         # users  = \"accountEnabled eq true and userType eq 'Member'\"\n# groups = \"securityEnabled eq true\"\n\n[target]\n",
        quoted(&stem(&command.job)),
        quoted(tenant),
        quoted(client),
    );
    let Some(site) = &command.site else {
        text.push_str("kind = \"csv\"\npath = \"export\"\n");
        return text;
    };
    let schema = command.from_schema.as_deref().or(command.schema.as_deref()).unwrap_or("Entra ID");
    let _ = writeln!(text, "kind       = \"jsm-assets\"");
    if command.flavour == SiteKind::DataCenter {
        let _ = writeln!(text, "flavour    = \"data-center\"");
    }
    let _ = writeln!(text, "site       = {}", quoted(site));
    if let Some(api) = &command.api {
        let _ = writeln!(text, "api        = {}", quoted(api));
    }
    if command.scoped {
        let _ = writeln!(text, "token      = \"scoped\"");
    }
    if let Some(workspace) = &command.workspace {
        let _ = writeln!(text, "workspace_id = {}", quoted(workspace));
    }
    let _ = writeln!(text, "schema     = {}", quoted(schema));
    let token = format!("{{ env = {} }}", quoted(&command.token_env));
    let credential = match &command.user {
        Some(user) => format!("{{ basic = {{ user = {}, password = {token} }} }}", quoted(user)),
        None => format!("{{ bearer = {token} }}"),
    };
    let _ = writeln!(text, "credential = {credential}");
    text
}
