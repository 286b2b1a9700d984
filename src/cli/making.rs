//! The commands for who makes a job: files to begin with, what the target needs, and trying out what was written.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

use super::collection;
use crate::record::Collection;

/// Write a job to begin with; for a schema that is there already, mappings that fit it.
///
/// Without `--site` the job writes CSV files. With `--from-schema` object types and attributes of Jira Service Management
/// Assets are read, also those that another importer made, and a mapping file is proposed for each type that looks like
/// users, groups, licenses or devices: what each attribute comes from, the key, and by what objects that are there are
/// taken over. What is not matched is listed in the file. Nothing is written to Jira, no file is written over, and no
/// secret is asked for: the files name the variables in which they lie.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  entra-import init job.toml --tenant contoso.onmicrosoft.com
  entra-import init job.toml --site https://contoso.atlassian.net --user it@contoso.com
  entra-import init job.toml --site https://jira.contoso.com --flavour data-center --from-schema HR")]
pub struct Init {
    /// The job file to write; proposed mappings go into a folder of its name beside it
    #[arg(value_name = "JOB")]
    pub job: PathBuf,
    /// The tenant: its id or one of its domains
    #[arg(long, value_name = "TENANT")]
    pub tenant: Option<String>,
    /// The application that signs in to Entra ID
    #[arg(long, value_name = "ID")]
    pub client_id: Option<String>,
    /// The Jira site whose Assets is written to
    #[arg(long, value_name = "URL")]
    pub site: Option<String>,
    /// Which product the site is
    #[arg(long, value_enum, default_value_t, value_name = "FLAVOUR", requires = "site")]
    pub flavour: SiteKind,
    /// Whose API token or password it is; without one the token is a personal access token (Data Center)
    #[arg(long, value_name = "MAIL", requires = "site")]
    pub user: Option<String>,
    /// The API token has scopes, or is of a service account (Cloud)
    #[arg(long, requires = "site")]
    pub scoped: bool,
    /// The environment variable that the token lies in
    #[arg(long, value_name = "NAME", default_value = "JIRA_TOKEN", requires = "site")]
    pub token_env: String,
    /// Cloud's gateway, where it is not api.atlassian.com: for a simulator
    #[arg(long, value_name = "URL", requires = "site")]
    pub api: Option<String>,
    /// The Assets workspace, where the site has several (Cloud)
    #[arg(long, value_name = "ID", requires = "site")]
    pub workspace: Option<String>,
    /// The object schema that `setup` is to make
    #[arg(long, value_name = "NAME", requires = "site", conflicts_with = "from_schema")]
    pub schema: Option<String>,
    /// Propose mappings that fit this object schema, by its name or key
    #[arg(long, value_name = "NAME", requires = "site")]
    pub from_schema: Option<String>,
}

/// The two products that Assets is part of.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, ValueEnum)]
pub enum SiteKind {
    #[default]
    Cloud,
    DataCenter,
}

/// Make what a target lacks before a first run: object types, attributes, statuses.
///
/// What is there is never changed; where it does not fit the mappings, that is said and the exit code is 3. A second call
/// finds nothing to make. It needs more rights in the target than a nightly run does. CSV needs no setting up.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  entra-import setup contoso.toml --dry-run                    what it would make
  entra-import setup contoso.toml")]
pub struct Setup {
    /// The job file
    #[arg(value_name = "JOB")]
    pub job: PathBuf,
    /// Say what would be made, and make nothing
    #[arg(long)]
    pub dry_run: bool,
}

/// Run the test cases that mapping files carry.
#[derive(Args, Debug)]
#[command(after_help = "\
Example:
  entra-import test mappings/user.toml")]
pub struct Test {
    /// Mapping files, folders of them, or shipped ones such as csv/users@1
    #[arg(required = true, value_name = "MAPPING")]
    pub mappings: Vec<PathBuf>,
}

/// Try an expression of the language that filters and mappings are written in.
///
/// It is that of OData 4.01, as in Microsoft Graph's $filter, with more functions.
#[derive(Subcommand, Debug)]
#[command(after_help = "\
Examples:
  entra-import expr check \"accountEnabled eq true and userType eq 'Member'\"
  entra-import expr eval \"coalesce(mail, userPrincipalName)\" --record adele.json
  entra-import expr functions lookup")]
pub enum Expr {
    /// Say whether an expression is right, and print its normal form
    Check(ExprCheck),
    /// Evaluate an expression over one record and print the value as JSON
    Eval(ExprEval),
    /// List the functions of the language, or explain one
    Functions(ExprFunctions),
}

/// `expr check`.
#[derive(Args, Debug)]
pub struct ExprCheck {
    /// The expression, typed or pasted from an address
    #[arg(value_name = "EXPRESSION", allow_hyphen_values = true)]
    pub text: String,
    /// The collection whose records it is about
    #[arg(long, value_parser = collection())]
    pub collection: Option<Collection>,
    /// A CSV file for `lookup`, and the name it has in the expression
    #[arg(long, value_name = "NAME=FILE")]
    pub table: Vec<String>,
}

/// `expr eval`.
#[derive(Args, Debug)]
pub struct ExprEval {
    /// The expression, typed or pasted from an address
    #[arg(value_name = "EXPRESSION", allow_hyphen_values = true)]
    pub text: String,
    /// The collection whose record it is evaluated over
    #[arg(long, value_parser = collection())]
    pub collection: Option<Collection>,
    /// A JSON file with one object, as Microsoft Graph returns it; without one every property is null
    #[arg(long, value_name = "FILE")]
    pub record: Option<PathBuf>,
    /// A CSV file for `lookup`, and the name it has in the expression
    #[arg(long, value_name = "NAME=FILE")]
    pub table: Vec<String>,
}

/// `expr functions`.
#[derive(Args, Debug)]
pub struct ExprFunctions {
    /// The function to explain
    #[arg(value_name = "NAME")]
    pub name: Option<String>,
}

/// Print a job with its bases merged, each value with the file and line it comes from.
///
/// What is printed is TOML; paths are as they were written, relative to the file that the line names.
#[derive(Args, Debug)]
#[command(after_help = "\
Example:
  entra-import config contoso.toml                             what this job says, and where")]
pub struct Config {
    /// The job file
    #[arg(value_name = "JOB")]
    pub job: PathBuf,
}

/// Print the JSON Schema of a kind of file, for editors.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  entra-import schema job > job.schema.json
  entra-import schema mapping > mapping.schema.json
  entra-import schema profile > profile.schema.json")]
pub struct Schema {
    /// Which kind of file
    #[arg(value_enum, value_name = "FORMAT")]
    pub format: SchemaFormat,
}

/// The kinds of files that have a schema.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub enum SchemaFormat {
    /// Job files (`format = "job/1"`)
    Job,
    /// Mapping files (`format = "mapping/1"`)
    Mapping,
    /// Profiles of REST systems (`format = "profile/1"`); no target reads them yet
    Profile,
}
