//! Whole job files in, jobs or rendered mistakes out.

use std::path::PathBuf;

use super::*;
use crate::error::Exit;
use crate::mapping::KeyRule;
use crate::plan::policy::{CauseKind, Empty, Recreate, StepAction, Write};
use crate::record::Collection;
use crate::secret::SecretFrom;
use crate::testing::JOB;

/// A folder of files that goes away with the test.
struct World {
    folder: tempfile::TempDir,
}

impl World {
    fn with(files: &[(&str, &str)]) -> World {
        let world = World { folder: tempfile::tempdir().unwrap() };
        for (name, text) in files {
            let path = world.path(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        world
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn load_accepting(&self, name: &str, accepted: Option<&str>) -> Result<Job> {
        let environment = |name: &str| (name == "HOME").then(|| "/home/adele".to_string());
        Job::load_with(&self.path(name), &LoadOptions { accepted, colour: false, environment: &environment })
    }

    fn load(&self, name: &str) -> Job {
        self.load_accepting(name, None).unwrap_or_else(|error| panic!("{error}"))
    }

    /// The rendered mistakes, without the folder's own name.
    fn mistakes(&self, name: &str) -> String {
        let error = self.load_accepting(name, None).expect_err("a job with mistakes");
        assert_eq!(error.exit, Exit::Usage);
        error.to_string().replace(&format!("{}/", self.folder.path().display()), "")
    }
}

fn job(text: &str) -> Job {
    World::with(&[("contoso.toml", text)]).load("contoso.toml")
}

fn mistakes(text: &str) -> String {
    World::with(&[("contoso.toml", text)]).mistakes("contoso.toml")
}

/// Checks that a job with this text added at its end is refused, and that the message holds each of the parts.
#[track_caller]
fn refused(addition: &str, parts: &[&str]) {
    let text = mistakes(&format!("{JOB}{addition}"));
    for part in parts {
        assert!(text.contains(part), "expected\n{part}\nin\n{text}");
    }
}

#[test]
fn a_small_job_has_the_documented_defaults() {
    let job = job(JOB);
    assert_eq!(job.name, "contoso");
    let Source::Graph(graph) = &job.source else { panic!("not Graph") };
    assert_eq!(graph.credential, Credential::Secret(SecretFrom::Env("ENTRA_SECRET".into())));
    assert_eq!((graph.quota_share, graph.max_in_flight), (0.8, None));
    assert_eq!(job.state.dir, PathBuf::from("/home/adele/.local/state/entra-import"));
    assert_eq!((job.state.keep_snapshots, job.state.keep_reports), (2, 30));
    assert_eq!(job.plan_max_age, SignedDuration::from_hours(24));
    assert_eq!(job.limits, Limits::default());
    let TargetConfig::Csv { folder, .. } = &job.target else { panic!("not CSV") };
    assert_eq!(folder, &job.path.parent().unwrap().join("export"));
    let users = job.mapping("users").unwrap();
    assert_eq!(users.key, KeyRule::Attributes(vec![0]));
    assert!(users.removal.ladder(CauseKind::Gone).is_empty());
    assert!(job.catalog.uses(Collection::Users) && !job.catalog.uses(Collection::Devices));
}

#[test]
fn a_mistake_is_shown_with_file_line_caret_and_help() {
    let text = mistakes(&JOB.replace("client_id", "cleint_id").replace("csv/users@1", "csv/user@1"));
    assert_eq!(
        text,
        r#"the job contoso.toml has 3 mistakes

error: `client_id` is missing in `[source]`
 --> contoso.toml:4:1
  |
4 | [source]
  | ^^^^^^^^
  |
  = help: write `client_id = "00001111-aaaa-2222-bbbb-3333cccc4444"`

error: unknown key `cleint_id` in `[source]`
 --> contoso.toml:6:1
  |
6 | cleint_id = "00001111-aaaa-2222-bbbb-3333cccc4444"
  | ^^^^^^^^^
  |
  = help: did you mean `client_id`?

error: there is no shipped mapping `csv/user@1`
  --> contoso.toml:14:7
   |
14 | use = "csv/user@1"
   |       ^^^^^^^^^^^^
   |
   = help: did you mean `csv/users@1`? a mapping file of your own ends with .toml"#
    );
}

#[test]
fn a_mistake_in_an_expression_points_into_the_text() {
    let text = mistakes(
        &JOB.replace("[target]", "[scope]\nusers = \"accountEnabled eq true and departmnet eq 'Sales'\"\n\n[target]"),
    );
    assert!(text.contains("10 | users = \"accountEnabled eq true and departmnet eq 'Sales'\"\n   |                                     ^^^^^^^^^^\n"), "{text}");
    assert!(text.contains("`department`"), "{text}");
}

#[test]
fn keys_that_toml_put_into_the_wrong_table_are_sent_home() {
    refused("tenant = \"x\"\n", &["unknown key `tenant` in `[[mapping]]`", "help: `tenant` belongs in `[source]`"]);
    refused("\n[limits]\nkeep_reports = 3\n", &["help: `keep_reports` belongs in `[state]`"]);
    refused(
        "\n[state]\nextends = \"x\"\n",
        &["help: `extends` belongs at the top of the file, above the first `[table]`"],
    );
    refused(
        "[mapping.attributes]\n\"A\" = \"id\"\ntarget = \"people\"\n",
        &[
            "`target` stands in `[attributes]`, so TOML takes it for an attribute",
            "17 | target = \"people\"\n   | ^^^^^^",
        ],
    );
}

#[test]
fn wrong_values_are_explained() {
    refused(
        "\n[limits]\nremovals = 5\n",
        &["a limit is a share and a number, found a whole number", "{ percent = 10, floor = 10 }"],
    );
    refused("\n[limits]\nremovals = { percent = 101 }\n", &["expected a number from 0 to 100, found 101"]);
    refused(
        "\n[limits]\nmax_age = \"2 months\"\n",
        &["`2 months` is not a span of time", "months and years have no fixed length"],
    );
    refused(
        "\n[[accept]]\nwhat = \"reject\"\nid = \"x\"\n",
        &["`reject` is not possible here", "did you mean `rejected`?"],
    );
    refused(
        "\n[[accept]]\nwhat = \"hidden-membership\"\nid = \"HR-Secret\"\n",
        &["`HR-Secret` is no id of a group", "give the object id"],
    );
    refused(
        "\n[[accept]]\nwhat = \"collection\"\nid = \"user\"\n",
        &["there is no collection `user`", "did you mean `users`?"],
    );
    refused("\n[report]\nmails = true\n", &["unknown key `mails` in `[report]`", "did you mean `mail`?"]);
    refused("\n[report]\nfiles = [\"plan.pdf\"]\n", &["`plan.pdf` names no format", ".html, .csv, .json or .txt"]);
    refused(
        "\n[[report.webhook]]\nkind = \"slack\"\nurl = \"https://hooks.slack.com/x\"\n",
        &["a webhook's address is not written into a file"],
    );
    refused("on_adopt = \"sorce\"\n", &["did you mean `source`?"]);
    refused("attributes.\"Depart\" = false\n", &["no attribute \"Depart\" to leave out"]);
    refused(
        "attributes.\"Name\" = { wirte = \"always\" }\n",
        &["unknown key `wirte` in the attribute \"Name\"", "did you mean `write`?"],
    );
    refused("attributes.\"Entra ID\" = false\n", &["the mapping has no attribute \"Entra ID\"", "csv/users@1:"]);
    refused("attributes.\"Boss\" = \"manager\"\n", &["not a value to write", "manager/displayName"]);
    refused(
        "attributes.\"Site\" = { value = \"city\", find = { type = \"Location\" } }\n",
        &["`by` is missing in `find`"],
    );
    refused(
        "attributes.\"Manager ID\" = { ref = \"user\" }\n",
        &["the job has no mapping `user`", "did you mean `users`?"],
    );
    refused("target = \"../people\"\n", &["`../people` cannot be the name of a CSV file"]);
    refused("protect = \"a eq\"\n", &["protect = \"a eq\"\n   |"]);
    refused(
        "\n[[mapping]]\nuse = \"csv/users@1\"\n",
        &["two mappings of the job are called `users`", "would write the same file users.csv"],
    );
}

#[test]
fn removal_ladders_are_checked() {
    refused("removal = \"delete\"\n", &["expected a list of steps or a table, found a text"]);
    refused("removal = [{ deactivate = { at_once = true } }]\n", &["unknown key `at_once` in `deactivate`"]);
    refused("removal = [{ deactivate = {}, delete = {} }]\n", &["a step does exactly one thing"]);
    refused("removal = [{ delete = {} }, { flag = { S = \"x\" } }]\n", &["nothing can follow `delete`"]);
    refused(
        "removal = [{ flag = { S = \"x\" }, after_days = 9 }, { delete = {}, after_days = 3 }]\n",
        &["after 3 days, the one before it after 9"],
    );
    refused(
        "removal = [{ deactivate = {}, after_days = 9 }, { delete = {}, after_days = 3 }]\n",
        &["after 3 days, the one before it after 9"],
    );
    refused("removal = [{ delete = {}, flag = { S = \"x\" } }]\n", &["a step does exactly one thing"]);
    refused("removal = { gone = [], left = [] }\n", &["unknown key `left` in `removal`"]);

    let common = "\n[removal]\ndefault = [{ flag = { \"Status\" = \"Left\" } }, { delete = {}, after_days = 365 }]\ngone = [{ delete = {} }]\n";
    let both = job(&format!("{JOB}{common}\n[[mapping]]\nuse = \"csv/memberships@1\"\n"));
    let users = &both.mapping("users").unwrap().removal;
    assert_eq!(users.ladder(CauseKind::Out).len(), 2);
    assert_eq!(users.ladder(CauseKind::Gone)[0].action, StepAction::Delete);
    // A mapping that says its own has nothing of the common one.
    let memberships = &both.mapping("memberships").unwrap().removal;
    assert_eq!(memberships.ladder(CauseKind::Out)[0].action, StepAction::Delete);
    assert_eq!(both.remarks, [""; 0]);
}

#[test]
fn a_step_that_no_target_can_take_is_passed_over_with_words() {
    let flag = "{ flag = { \"Status\" = \"Left\" } }";
    let shared = format!(
        "\n[removal]\ndefault = [{flag}, {{ deactivate = {{}}, after_days = 30 }}, {{ delete = {{}}, after_days = 365 }}]\n\
         disabled = [{{ deactivate = {{}} }}]\n"
    );
    let job = job(&format!("{JOB}{shared}"));
    let removal = &job.mapping("users").unwrap().removal;
    let days: Vec<u32> = removal.ladder(CauseKind::Gone).iter().map(|step| step.after_days).collect();
    assert_eq!(days, [0, 365]);
    assert_eq!(removal.ladder(CauseKind::Disabled), [], "kept and listed, and not deleted by the default ladder");
    let line = 2 + JOB.matches('\n').count();
    for (remark, line) in job.remarks.iter().zip([line + 1, line + 2]) {
        assert!(remark.contains(&format!("contoso.toml:{line}: the step `deactivate` is passed over")), "{remark}");
    }
    assert_eq!(job.remarks.len(), 2, "{:?}", job.remarks);
}

#[test]
fn secrets_are_never_written_into_a_file_and_never_shown() {
    let env = "{ secret = { env = \"ENTRA_SECRET\" } }";
    for (written, message) in [
        ("\"a8Q~hidden\"", "a credential is not written into a file"),
        ("{ secret = \"a8Q~hidden\" }", "a secret is not written into a file"),
        ("{ secret = { value = \"a8Q~hidden\" } }", "a secret cannot be given by `value`"),
        ("{ secret = { env = \"a8Q~hidden\" } }", "not the name of an environment variable"),
        ("{ secret = { env = \"A\", file = \"b\" } }", "a secret lies in exactly one place"),
        ("{ secret = { credential = \"/etc/x\" } }", "not the name of a systemd credential"),
        ("{ secret = { command = \"pass entra\" } }", "a command is a list"),
        ("{ certificate = \"a8Q~hidden\" }", "a certificate is not written into a file"),
        ("{ certificate = { file = \"a.pfx\", password = \"a8Q~hidden\" } }", "a password is not written into a file"),
        ("{ certificate = { file = \"a.pem\", key = \"a8Q~hidden\" } }", "a private key is not written into a file"),
        ("{ federation = \"a8Q~hidden\" }", "a federated token is not written into a file"),
        ("{ certificate = {}, secret = { env = \"A\" } }", "a credential is one way to sign in"),
        ("{}", "a credential is one way to sign in"),
        ("{ certificate = { password = { env = \"A\" } } }", "a certificate lies in exactly one place"),
        ("{ certificate = { file = \"a\", pasword = { env = \"A\" } } }", "a certificate lies in exactly one place"),
        ("{ certificat = { file = \"a\" } }", "did you mean `certificate`?"),
        ("{ managed_identity = \"user\" }", "names no managed identity"),
        ("{ managed_identity = { client_id = \"x\" } }", "names no managed identity"),
        ("{ azure_cli = false }", "leaves no way to sign in"),
    ] {
        let text = mistakes(&JOB.replace(env, written));
        assert!(text.contains(message), "{text}");
        assert!(!text.contains("hidden"), "{text}");
    }
    // A mistake of TOML itself in that line must not show it either.
    let text = mistakes(&JOB.replace(env, "{ secret = \"a8Q~hidden }"));
    assert!(text.contains("not valid TOML") && !text.contains("hidden"), "{text}");
}

/// The source of the usual job with another credential and other lines.
fn graph_with(credential: &str, replace: &[(&str, &str)]) -> GraphSource {
    let mut text = JOB.replace("{ secret = { env = \"ENTRA_SECRET\" } }", credential);
    for (from, to) in replace {
        assert!(text.contains(from), "{from}");
        text = text.replace(from, to);
    }
    let world = World::with(&[("contoso.toml", &text)]);
    match world.load("contoso.toml").source {
        Source::Graph(graph) => *graph,
        source => panic!("{source:?}"),
    }
}

const CLIENT_ID: &str = "client_id = \"00001111-aaaa-2222-bbbb-3333cccc4444\"\n";
const TENANT_ID: (&str, &str) = ("contoso.onmicrosoft.com", "72f988bf-86f1-41af-91ab-2d7cd011db47");

#[test]
fn every_way_to_sign_in_is_read() {
    let env = |name: &str| SecretFrom::Env(name.into());
    let certificate = "{ certificate = { env = \"PEM\", key = { env = \"KEY\" }, password = { env = \"PASSWORD\" } } }";
    let whole = CertificateFrom { certificate: env("PEM"), key: Some(env("KEY")), password: Some(env("PASSWORD")) };
    assert_eq!(graph_with(certificate, &[]).credential, Credential::Certificate(Box::new(whole)));
    let Credential::Certificate(from) = graph_with("{ certificate = { file = \"app.pem\" } }", &[]).credential else {
        panic!("no certificate");
    };
    assert!(matches!(&from.certificate, SecretFrom::File(path) if path.is_absolute() || path.ends_with("app.pem")));
    let federation = graph_with("{ federation = {} }", &[(CLIENT_ID, "")]);
    assert_eq!((federation.credential, federation.client_id), (Credential::Federation(None), None));
    let federation = graph_with("{ federation = { env = \"TOKEN\" } }", &[]).credential;
    assert_eq!(federation, Credential::Federation(Some(env("TOKEN"))));
    let id = "00001111-aaaa-2222-bbbb-3333cccc4444";
    for (written, expected) in [
        ("\"system\"".to_owned(), ManagedIdentity::System),
        (format!("{{ client_id = \"{id}\" }}"), ManagedIdentity::ClientId(id.parse().unwrap())),
        (format!("{{ object_id = \"{id}\" }}"), ManagedIdentity::ObjectId(id.parse().unwrap())),
        ("{ resource_id = \"/subscriptions/x\" }".to_owned(), ManagedIdentity::ResourceId("/subscriptions/x".into())),
    ] {
        let graph = graph_with(&format!("{{ managed_identity = {written} }}"), &[(CLIENT_ID, ""), TENANT_ID]);
        assert_eq!(graph.credential, Credential::ManagedIdentity(expected));
    }
    assert_eq!(graph_with("{ azure_cli = true }", &[(CLIENT_ID, "")]).credential, Credential::AzureCli);
}

#[test]
fn what_does_not_go_with_a_credential_or_cloud_is_refused() {
    let env = "{ secret = { env = \"ENTRA_SECRET\" } }";
    let text = |credential: &str, replace: &[(&str, &str)]| {
        let text = JOB.replace(env, credential);
        mistakes(&replace.iter().fold(text, |text, (from, to)| text.replace(from, to)))
    };
    let text_of_mistake = text("{ managed_identity = \"system\" }", &[TENANT_ID]);
    assert!(text_of_mistake.contains("`client_id` means nothing with this credential"), "{text_of_mistake}");
    let text_of_mistake = text("{ managed_identity = \"system\" }", &[(CLIENT_ID, "")]);
    assert!(text_of_mistake.contains("the tenant is named by its id"), "{text_of_mistake}");
    let text_of_mistake = text("{ certificate = { file = \"a\" } }", &[(CLIENT_ID, "")]);
    assert!(text_of_mistake.contains("`client_id` is missing"), "{text_of_mistake}");
    for (lines, message) in [
        ("cloud = \"us\"", "possible values: global, us-gov, us-gov-dod, china"),
        ("cloud = \"us-gov\"\ngraph = \"https://graph.microsoft.com\"", "does not belong to the cloud `us-gov`"),
        ("cloud = \"china\"\nauthority = \"https://login.microsoftonline.us\"", "does not belong to the cloud `china`"),
        ("graph = \"https://graph.microsoft.us\"\nauthority = \"https://login.microsoftonline.com\"", "cloud `us-gov`"),
        ("authority = \"https://login.microsoftonline.us\"", "does not belong to the cloud `global`"),
    ] {
        let text = text(env, &[("[target]", &format!("{lines}\n[target]"))]);
        assert!(text.contains(message), "{lines}: {text}");
    }
    for lines in [
        "cloud = \"us-gov-dod\"\nauthority = \"https://login.microsoftonline.us\"",
        "cloud = \"china\"\nauthority = \"https://login.chinacloudapi.cn\"",
        "cloud = \"us-gov\"\nauthority = \"http://127.0.0.1:8080\"\ngraph = \"http://127.0.0.1:8080\"",
        "authority = \"https://login.microsoftonline.com\"\ngraph = \"http://127.0.0.1:8080\"",
    ] {
        graph_with(env, &[("[target]", &format!("{lines}\n[target]"))]);
    }
}

#[cfg(unix)]
#[test]
fn a_command_is_refused_where_others_may_write_it() {
    use std::os::unix::fs::PermissionsExt;
    let text = JOB.replace("{ env = \"ENTRA_SECRET\" }", "{ command = [\"pass\", \"show\", \"entra\"] }");
    let world = World::with(&[("contoso.toml", &text)]);
    let file = world.path("contoso.toml");
    let chmod = |mode| std::fs::set_permissions(&file, PermissionsExt::from_mode(mode)).unwrap();
    chmod(0o600);
    assert!(matches!(world.load("contoso.toml").source, Source::Graph(_)));
    chmod(0o620);
    let message = world.mistakes("contoso.toml");
    assert!(message.contains("can be changed by others") && message.contains("chmod go-w"), "{message}");
}

#[test]
fn sources_and_names_are_checked() {
    for (from, to, message) in [
        ("contoso.onmicrosoft.com", "common", "neither a tenant id nor a domain"),
        ("00001111-aaaa", "1111", "not an application (client) id"),
        ("[target]", "graph = \"http://graph.example.com\"\n[target]", "tokens cannot be sent to this address"),
        ("[target]", "quota_share = 2\n[target]", "expected a number from 0.01 to 1, found 2"),
        ("name = \"contoso\"", "name = \"../contoso\"", "cannot be the name of a job"),
        ("name = \"contoso\"", "name = \"nul.x\"", "cannot be the name of a job"),
        ("kind = \"csv\"", "kind = \"cvs\"", "did you mean `csv`?"),
        ("path = \"export\"", "path = \"{name}/x\"", "`{job}` is the only word"),
        ("format = \"job/1\"", "format = \"mapping/1\"", "this is a `mapping/1` file, expected `job/1`"),
        ("[[mapping]]", "[mapping]", "write `[[mapping]]` with two brackets"),
    ] {
        let text = mistakes(&JOB.replace(from, to));
        assert!(text.contains(message), "{text}");
    }
}

#[test]
fn an_entry_overrides_single_attributes() {
    let text = format!(
        "{JOB}target = \"people\"\nrecreate = true\nadopt = [\"Email\"]\nprotect = \"Status eq 'Legal hold'\"\n\
         attributes.\"Department\" = {{ write = \"if-empty\" }}\nattributes.\"Licenses\" = false\n\
         attributes.\"Company\" = {{ const = \"Contoso\" }}\nattributes.\"Email\" = \"userPrincipalName\"\n\
         attributes.\"Cost Center\" = \"employeeOrgData/costCenter\"\n"
    );
    let job = job(&text);
    let users = &job.mappings[0];
    let find = |name: &str| users.position(name).map(|index| &users.attributes[index]);
    let department = find("Department").unwrap();
    assert_eq!((department.write, department.empty), (Write::IfEmpty, Empty::Keep));
    assert_eq!(users.position("Department"), Some(7), "an override keeps the column's place");
    assert!(find("Licenses").is_none());
    assert!(matches!(find("Company").unwrap().value, crate::mapping::AttributeValue::Const(_)));
    assert_eq!(users.attributes.last().unwrap().name, "Cost Center");
    assert_eq!((users.target.as_str(), users.recreate), ("people", Recreate::Create));
    assert_eq!(users.adopt, [users.position("Email").unwrap()]);
    assert!(!job.catalog.uses(Collection::Licenses), "what no column reads is not read");
}

#[test]
fn a_job_lies_over_its_bases() {
    let base = "format = \"job/1\"\n[target]\nkind = \"csv\"\npath = \"out/{job}\"\n[limits]\nremovals = { percent = 5 }\nupdates = { floor = 1 }\n[state]\nkeep_reports = 7\n";
    let own = JOB
        .replace("name =", "extends = \"shared/_base.toml\"\nname =")
        .replace("kind = \"csv\"\npath = \"export\"\n", "");
    let own = format!("{own}\n[limits]\nremovals = {{ floor = 3 }}\n");
    let world = World::with(&[("contoso.toml", &own), ("shared/_base.toml", base)]);
    let job = world.load("contoso.toml");
    assert_eq!((job.limits.removals.percent, job.limits.removals.floor, job.limits.updates.floor), (5.0, 3, 1));
    assert_eq!(job.state.keep_reports, 7);
    let TargetConfig::Csv { folder, .. } = &job.target else { panic!("not CSV") };
    assert_eq!(folder, &world.path("shared/out/contoso"));
}

#[test]
fn bases_that_go_in_a_circle_are_named() {
    let world = World::with(&[
        ("a.toml", "format = \"job/1\"\nextends = \"_b.toml\"\n"),
        ("_b.toml", "format = \"job/1\"\nextends = \"a.toml\"\n"),
    ]);
    let text = world.mistakes("a.toml");
    assert!(text.contains("the bases go in a circle: a.toml → _b.toml → a.toml"), "{text}");
    let missing = mistakes(&JOB.replace("name =", "extends = \"_gone.toml\"\nname ="));
    assert!(missing.contains("cannot read _gone.toml") && missing.contains("relative to this file"), "{missing}");
}

#[test]
fn excluded_records_come_from_lists_and_files() {
    let scope = "\n[scope]\nexclude.users = { file = \"exclude.txt\" }\nexclude.groups = [\"02bd9fd6-8f93-4758-87c3-1fb73740a315\"]\n";
    let list = "# never these\nAdeleV@contoso.com   # left\n\n87d349ed-44d7-43e1-9a83-5f2406dee5bd\n";
    let text = format!("{JOB}{scope}");
    let job = World::with(&[("contoso.toml", &text), ("exclude.txt", list)]).load("contoso.toml");
    let users = &job.scope.exclude[&Collection::Users];
    assert_eq!(
        (users.ids.len(), users.names.iter().map(String::as_str).collect::<Vec<_>>()),
        (1, vec!["adelev@contoso.com"])
    );
    let record = |json| job.catalog.inline(Collection::Users, &json).unwrap();
    let navigate = crate::expr::NoNavigation { as_of: jiff::Timestamp::UNIX_EPOCH };
    let covers = |json| users.covers(&record(json), &navigate);
    assert_eq!(covers(serde_json::json!({"userPrincipalName": "ADELEV@contoso.com"})), Ok(true));
    assert_eq!(covers(serde_json::json!({"id": "87d349ed-44d7-43e1-9a83-5f2406dee5bd"})), Ok(true));
    assert_eq!(covers(serde_json::json!({"userPrincipalName": "alexw@contoso.com"})), Ok(false));

    let wrong = World::with(&[("contoso.toml", &text), ("exclude.txt", "ok@contoso.com\n  Adele Vance\n")]);
    let message = wrong.mistakes("contoso.toml");
    assert!(message.contains("exclude.txt:2:3") && message.contains("neither an object id nor"), "{message}");
    let missing = World::with(&[("contoso.toml", &text)]).mistakes("contoso.toml");
    assert!(missing.contains("a missing list would let everyone in"), "{missing}");
}

#[test]
fn the_hash_follows_the_meaning_alone() {
    let base = format!("{JOB}\n[scope]\nusers = \"accountEnabled eq true\"\n");
    let hash = job(&base).hash().to_string();
    assert_eq!(hash.len(), 64);
    let same = [
        format!("# a comment\n{base}"),
        base.replace("accountEnabled eq true", " accountEnabled  eq true "),
        base.replace("ENTRA_SECRET", "OTHER_SECRET"),
        format!("{base}\n[state]\nkeep_reports = 9\n"),
    ];
    for text in same {
        assert_eq!(job(&text).hash(), hash, "{text}");
    }
    let moved = World::with(&[("elsewhere/renamed.toml", &base)]);
    assert_eq!(moved.load("elsewhere/renamed.toml").hash(), hash);
    let other = [
        base.replace("accountEnabled eq true", "accountEnabled eq false"),
        base.replace("export", "import"),
        base.replace("contoso.onmicrosoft.com", "fabrikam.com"),
        base.replace("csv/users@1\"", "csv/users@1\"\nattributes.\"City\" = false"),
        format!("{base}\n[limits]\nremovals = {{ floor = 1 }}\n"),
        format!("{base}\n[removal]\ndefault = [{{ delete = {{}} }}]\n"),
    ];
    for text in other {
        assert_ne!(job(&text).hash(), hash, "{text}");
    }
}

#[test]
fn an_accepted_scope_reads_back_and_is_read_too() {
    let before = job(&format!("{JOB}\n[scope]\nusers = \"city eq 'Oslo'\"\nexclude.users = [\"alexw@contoso.com\"]\n"));
    let text = before.accepted_scope_text();
    let world = World::with(&[(
        "contoso.toml",
        &JOB.replace("use = \"csv/users@1\"", "use = \"csv/users@1\"\nattributes.\"City\" = false"),
    )]);
    let now = world.load_accepting("contoso.toml", Some(&text)).unwrap();
    assert!(now.scope.filters.is_empty());
    let accepted = &now.accepted[0];
    assert_eq!(accepted.scope.filters[&Collection::Users].expr.to_string(), "city eq 'Oslo'");
    assert_eq!(accepted.scope.exclude[&Collection::Users].names.len(), 1);
    assert_eq!(accepted.mappings[0].key, ["Entra ID"]);
    assert!(now.catalog.properties(Collection::Users).any(|name| name == "city"), "both scopes are read");
    // Only an edit that moves records is an edit of the scope.
    assert_eq!(world.load("contoso.toml").accepted_scope_text(), job(JOB).accepted_scope_text());

    let error = world.load_accepting("contoso.toml", Some("{}")).unwrap_err();
    assert_eq!(error.exit, Exit::Failed);
}

#[test]
fn the_state_folder_is_where_the_system_wants_it() {
    let world =
        World::with(&[("contoso.toml", &format!("{JOB}\n[state]\ndir = \"kept/{{job}}\"\n")), ("plain.toml", JOB)]);
    let dir = |file: &str, set: &[(&str, &str)]| {
        let lookup = |name: &str| set.iter().find(|(known, _)| *known == name).map(|(_, value)| value.to_string());
        let options = LoadOptions { environment: &lookup, ..LoadOptions::default() };
        Job::load_with(&world.path(file), &options).map(|job| job.state.dir)
    };
    let all = [("ENTRA_IMPORT_STATE", "/a"), ("STATE_DIRECTORY", "/b:/c"), ("XDG_STATE_HOME", "/d"), ("HOME", "/e")];
    assert_eq!(dir("contoso.toml", &all).unwrap(), PathBuf::from("/a"));
    assert_eq!(dir("contoso.toml", &all[1..]).unwrap(), world.path("kept/contoso"));
    assert_eq!(dir("plain.toml", &all[1..]).unwrap(), PathBuf::from("/b"));
    assert_eq!(dir("plain.toml", &all[2..]).unwrap(), PathBuf::from("/d/entra-import"));
    assert!(dir("plain.toml", &[]).unwrap_err().to_string().contains("set ENTRA_IMPORT_STATE"));
}

#[test]
fn a_folder_holds_jobs_bases_and_mappings() {
    let world = World::with(&[
        ("jobs/b.toml", JOB),
        ("jobs/a.toml", "broken = "),
        ("jobs/_base.toml", "format = \"job/1\"\n"),
        ("jobs/people.toml", "format = \"mapping/1\"\n"),
        ("jobs/notes.txt", ""),
        ("empty/x.txt", ""),
    ]);
    let found = jobs_in(&[world.path("jobs"), world.path("jobs/b.toml")]).unwrap();
    assert_eq!(found, [world.path("jobs/a.toml"), world.path("jobs/b.toml")], "a broken job is not passed over");
    assert!(jobs_in(&[world.path("empty")]).unwrap_err().to_string().contains("there is no job in the folder"));
    assert!(jobs_in(&[world.path("jobs/_base.toml")]).unwrap_err().to_string().contains("is a base and is never run"));
}

#[test]
fn a_job_may_run_from_a_snapshot() {
    let start = JOB.find("tenant").unwrap();
    let end = JOB.find("\n[target]").unwrap();
    let text = format!("{}snapshot = \"samples/{{job}}\"\n{}", &JOB[..start], &JOB[end..]);
    let Source::Snapshot { written, .. } = job(&text).source else { panic!("not a snapshot") };
    assert_eq!(written, "samples/contoso");
    let both = mistakes(&JOB.replace("tenant =", "snapshot = \"x\"\ntenant ="));
    assert!(both.contains("unknown key `tenant` in `[source]`"), "{both}");
}

/// Every way to have no job must note why: a loader that finds neither a job nor a mistake panics.
#[test]
fn no_damage_to_a_job_goes_unexplained() {
    let text = format!(
        "{JOB}attributes.\"City\" = {{ write = \"always\" }}\nremoval = [{{ delete = {{}} }}]\n\n[scope]\n\
         users = \"accountEnabled\"\nexclude.users = [\"a@contoso.com\"]\n\n[limits]\nremovals = {{ floor = 3 }}\n\
         max_age = \"2h\"\n\n[[accept]]\nwhat = \"rejected\"\nid = \"x\"\nuntil = 2027-01-01\n\n[state]\nkeep_reports = 3\n"
    );
    job(&text);
    let lines: Vec<&str> = text.lines().collect();
    let load = |lines: &[&str]| {
        let world = World::with(&[("contoso.toml", &lines.join("\n"))]);
        drop(world.load_accepting("contoso.toml", None));
    };
    for at in 0..lines.len() {
        let mut less = lines.clone();
        less.remove(at);
        load(&less);
        let Some((key, _)) = lines[at].split_once(" = ") else { continue };
        for value in
            ["5", "\"\"", "\"x\"", "true", "false", "[]", "{}", "[{}]", "[[1]]", "-1", "1e9", "null", "{ x = {"]
        {
            let line = format!("{key} = {value}");
            let mut other = lines.clone();
            other[at] = &line;
            load(&other);
        }
    }
}

#[test]
fn a_list_of_graph_can_be_a_source_and_be_filtered() {
    let described = "[[collection]]\nname = \"rooms\"\npath = \"places/microsoft.graph.room\"\n\
                     properties = { capacity = \"int\" }\n";
    let mapping = "format = \"mapping/1\"\nname = \"rooms\"\nsource = \"rooms\"\ntarget = \"rooms\"\nkey = \"Room\"\n\
                   [attributes]\n\"Room\" = \"id\"\n\"Seats\" = \"capacity\"\n";
    let text = format!("{JOB}{described}[[mapping]]\nuse = \"rooms.toml\"\n[scope]\nrooms = \"capacity gt 4\"\n");
    let world = World::with(&[("contoso.toml", &text), ("rooms.toml", mapping)]);
    let job = world.load("contoso.toml");
    let rooms = job.catalog.named("rooms").unwrap();
    assert_eq!(job.mapping("rooms").unwrap().source, rooms);
    assert!(job.scope.filters.contains_key(&rooms));
    assert_eq!(job.scope.lists[&rooms], "v1.0/places/microsoft.graph.room by id");
    // Another list is another scope, and the accepted text reads back.
    let accepted = job.accepted_scope_text();
    let moved = text.replace("places/microsoft.graph.room", "places/microsoft.graph.workspace");
    let world = World::with(&[("contoso.toml", &moved), ("rooms.toml", mapping)]);
    let job = world.load_accepting("contoso.toml", Some(&accepted)).unwrap();
    assert!(job.scope_was_edited());
    assert_eq!(job.accepted[0].text(), accepted);
    let wrong = text.replace("capacity gt 4", "capacity eq 'four'");
    let world = World::with(&[("contoso.toml", &wrong), ("rooms.toml", mapping)]);
    assert!(world.mistakes("contoso.toml").contains("cannot compare number with text"));
}

#[test]
fn filters_may_ask_for_each_others_scope_in_one_direction() {
    let scope = |users: &str, groups: &str| format!("[scope]\nusers = \"{users}\"\ngroups = \"{groups}\"\n");
    // Members are groups as well, and of its own collection a filter gets null.
    let one_way = scope("accountEnabled eq true", "members/any(m: inscope(m))");
    assert_eq!(job(&format!("{JOB}{one_way}")).scope.filters.len(), 2);
    let circle = scope("memberOf/any(g: inscope(g))", "members/any(m: inscope(m))");
    refused(&circle, &["whether users are in scope depends on itself", "contoso.toml", "users = "]);
    refused(&scope("inscope(displayName)", "true"), &["`inscope` needs a record as its record, this is text"]);
}

#[test]
fn tables_of_a_job_are_known_to_its_mappings() {
    let mapping = "format = \"mapping/1\"\nname = \"people\"\nsource = \"users\"\ntarget = \"people\"\nkey = \"ID\"\n[attributes]\n\
        \"ID\" = \"id\"\n\"Site\" = \"lookup('sites', officeLocation, 'Site')\"\n";
    let files = |tables: &str, over: &str, site: &str| {
        let text = format!("{JOB}[[mapping]]\nuse = \"people.toml\"\n{over}\n{tables}\n");
        let sites = format!("Office,Site\nOslo,{site}\n");
        World::with(&[
            ("contoso.toml", &text),
            ("people.toml", mapping),
            ("sites.csv", &sites),
            ("other.csv", "Office,Site\nOslo,X\n"),
        ])
    };
    let hash = |world: World| world.load("contoso.toml").hash().to_string();
    let plain = hash(files("[tables]\nsites = \"sites.csv\"", "", "A"));
    assert_eq!(plain, hash(files("", "tables.sites = \"sites.csv\"", "A")));
    assert_ne!(plain, hash(files("[tables]\nsites = \"sites.csv\"", "", "B")), "an edited table is an edited job");
    assert_ne!(plain, hash(files("[tables]\nsites = \"sites.csv\"", "tables.sites = \"other.csv\"", "A")));
    let message = files("", "", "A").mistakes("contoso.toml");
    assert!(message.contains("there is no table `sites`"), "{message}");
}
