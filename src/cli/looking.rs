//! The commands that look at Entra, the target and a job, and write to neither.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::{Record, Snapshot};
use crate::report::Format;
use crate::report::lookup::AnswerFormat;
use crate::report::permissions::PageFormat;

/// Read Entra ID and write a snapshot: JSON lines per collection, and a manifest.
///
/// A snapshot holds what the job's scope and mappings use, no more. It can be planned from with `--from-snapshot`.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  entra-import extract contoso.toml --out snapshot/
  entra-import extract contoso.toml --out snapshot/ --record report/    and what Microsoft answered")]
pub struct Extract {
    /// The job file
    #[arg(value_name = "JOB")]
    pub job: PathBuf,
    /// The folder to write; a snapshot in it is replaced, anything else is left alone and refused
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    #[command(flatten)]
    pub record: Record,
}

/// Pack a masked copy of a job and of what it read, for somebody who is to find a fault.
///
/// Names, addresses, ids and times are replaced, the same one everywhere in the same way; numbers, lengths and how
/// things hang together stay, so that the copy can be planned from. No secret, no ledger and no row of the target is in
/// it. Look at it before you pass it on.
#[derive(Args, Debug)]
#[command(after_help = "\
Example:
  entra-import bundle contoso.toml --out for-support/          from what the last run read")]
pub struct Bundle {
    /// The job file
    #[arg(value_name = "JOB")]
    pub job: PathBuf,
    /// The folder to write; a new one
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    #[command(flatten)]
    pub snapshot: Snapshot,
}

/// Sign in and look at everything a run needs, without writing anything.
///
/// Names each right that is missing, wider than needed or in excess, the hosts that the job talks to, when the client
/// secret ends, and whether the target can be read and written. Over several jobs it ends with one table.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  entra-import check contoso.toml
  entra-import check jobs/ --format json")]
pub struct Check {
    /// Job files, or folders of them
    #[arg(required = true, value_name = "JOB")]
    pub jobs: Vec<PathBuf>,
    /// How the findings are printed
    #[arg(long, value_enum, default_value_t)]
    pub format: Format,
}

/// Say why one record is in or out, and what a run would do with it.
///
/// Shows the record as read, each clause of the scope with its value and what it reads, each mapped attribute with its
/// expression, what the target holds, what was written last and who changed it, and the change of the plan with its cause and the limit
/// that holds it, or why there is none. Takes no lock and writes nothing. Deleted and excluded records are explained too,
/// while the ledger knows them or their id is given.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  entra-import explain contoso.toml adele@contoso.com
  entra-import explain contoso.toml \"VPN Users\" --from-snapshot last
  entra-import explain contoso.toml 87d349ed-44d7-43e1-9a83-5f2406dee5bd --format json")]
pub struct Explain {
    /// The job file
    #[arg(value_name = "JOB")]
    pub job: PathBuf,
    /// The record's id, user principal name, mail address or display name, or the key of a pair as plans print it
    #[arg(value_name = "WHO")]
    pub who: String,
    #[command(flatten)]
    pub snapshot: Snapshot,
    /// How the answer is printed
    #[arg(long, value_enum, default_value_t)]
    pub format: AnswerFormat,
}

/// Show one user, group or device with what hangs on it, or what a filter keeps.
///
/// An object is named by id, user principal name, mail address or display name. The tenant is read for it, which takes as
/// long as its memberships take; a snapshot answers at once. Nothing is written. What is not known is said, and makes the
/// exit code 3.
#[derive(Subcommand, Debug)]
#[command(after_help = "\
Examples:
  entra-import lookup user adele@contoso.com --job contoso.toml        manager, groups, licenses
  entra-import lookup group \"VPN Users\" --job contoso.toml --from-snapshot last
  entra-import lookup users --where \"department eq null\" --job contoso.toml")]
pub enum Lookup {
    /// One user: properties, manager, groups with the way to each, licenses
    User(LookupOne),
    /// One group: properties, the groups it is in, members with the way to each
    Group(LookupOne),
    /// One device: properties, groups with the way to each
    Device(LookupOne),
    /// How many users a filter keeps, and the first of them
    Users(LookupSome),
    /// How many groups a filter keeps, and the first of them
    Groups(LookupSome),
    /// How many devices a filter keeps, and the first of them
    Devices(LookupSome),
}

/// `lookup user`, `lookup group`, `lookup device`.
#[derive(Args, Debug)]
pub struct LookupOne {
    /// Its id, user principal name, mail address or display name; of a device also its device id
    #[arg(value_name = "WHO")]
    pub who: String,
    #[command(flatten)]
    pub from: LookupFrom,
}

/// `lookup users`, `lookup groups`, `lookup devices`.
#[derive(Args, Debug)]
pub struct LookupSome {
    /// A filter as in the scope of a job
    #[arg(long = "where", value_name = "EXPR")]
    pub filter: String,
    #[command(flatten)]
    pub from: LookupFrom,
}

/// Of which tenant or snapshot, and how it is printed.
#[derive(Args, Debug)]
pub struct LookupFrom {
    /// The job file, for the tenant and how to sign in
    #[arg(long, value_name = "JOB")]
    pub job: PathBuf,
    #[command(flatten)]
    pub snapshot: Snapshot,
    /// How the answer is printed
    #[arg(long, value_enum, default_value_t)]
    pub format: AnswerFormat,
    /// Show the first N of each list, not 20; JSON of one object always has all
    #[arg(long, value_name = "N")]
    pub first: Option<usize>,
}

/// Print the permissions that a job needs, as a page for who must consent.
///
/// Contacts nobody. Each permission with what it is for and what happens without it, the link for admin consent, and the piece of the
/// app registration's manifest. They are the least that this job needs; another mapping or filter may need others.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  entra-import permissions contoso.toml
  entra-import permissions contoso.toml --format markdown      for a ticket")]
pub struct Permissions {
    /// The job file
    #[arg(value_name = "JOB")]
    pub job: PathBuf,
    /// How the page is printed
    #[arg(long, value_enum, default_value_t)]
    pub format: PageFormat,
}
