//! Every way to sign in and every way it fails, against the simulator's token endpoint, which verifies assertions.
//!
//! Managed identity, federation and the Azure CLI meet stand-ins written from the documentation; see docs/jobs.md.

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use entra_import::clock::Clock;
use entra_import::error::{Error, Exit};
use entra_import::http::{Http, HttpSettings};
use entra_import::job::ManagedIdentity;
use entra_import::secret::SecretFrom;
use entra_import::source::{Credential, SigningCertificate, Source, SourceConfig, SourceNeeds};
use graph_sim::{CLIENT_ID, Fault, FaultKind, Federation, IDENTITY_HEADER, Options, RetryAfter, Sim, Size, Tenant};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::json;
use x509_parser::pem::Pem;

use crate::world::{self, World};

fn file(name: &str) -> Vec<u8> {
    let path: PathBuf = [env!("CARGO_MANIFEST_DIR"), "tests/data/certificates", name].iter().collect();
    std::fs::read(&path).unwrap_or_else(|cause| panic!("{}: {cause}", path.display()))
}

/// The first block of a PEM file with this label.
fn der(name: &str, label: &str) -> Vec<u8> {
    let found = Pem::iter_from_buffer(&file(name)).map(Result::unwrap).find(|pem| pem.label == label);
    found.unwrap_or_else(|| panic!("{name} holds no {label}")).contents
}

fn certificate(name: &str) -> Credential {
    Credential::Certificate(Arc::new(SigningCertificate::read(&file(name), None, None).unwrap()))
}

fn registered(names: &[&str]) -> Options {
    Options { certificates: names.iter().map(|name| der(name, "CERTIFICATE")).collect(), ..world::all_rights() }
}

async fn sim(options: Options) -> Sim {
    Sim::start(Tenant::synthetic(7, &Size { users: 60, groups: 40, ..Size::default() }), options).await.unwrap()
}

/// A source that signs in at `sim`; `factor` is how much faster its clock runs.
fn source(sim: &Sim, credential: Credential, factor: u32) -> Source {
    let tenant = sim.read_tenant().id().to_owned();
    let mut config = SourceConfig::new(tenant, CLIENT_ID, credential);
    config.authority = sim.base_url().parse().unwrap();
    config.graph.clone_from(&config.authority);
    config.metadata.clone_from(&config.authority);
    config.in_flight_max = 4;
    let settings = HttpSettings { read_timeout: Duration::from_secs(5), ..HttpSettings::default() };
    Source::new(config, &Http::new(Clock::scaled(factor), settings)).unwrap()
}

async fn refused(options: Options, credential: Credential) -> Error {
    let sim = sim(options).await;
    let error = source(&sim, credential, 20_000).sign_in().await.unwrap_err();
    assert_eq!(error.exit, Exit::SignIn, "{error}");
    error
}

fn secret() -> Credential {
    Credential::Secret(graph_sim::CLIENT_SECRET.to_owned().into())
}

#[tokio::test]
async fn a_certificate_signs_in_each_time_with_an_assertion_of_its_own() {
    let sim = sim(registered(&["other.crt", "app.crt"])).await;
    for _ in 0..2 {
        let source = source(&sim, certificate("app.pem"), 20_000);
        assert!(source.sign_in().await.unwrap().rights().any(&["Directory.Read.All"]));
        let facts = source.certificate().unwrap();
        assert!(facts.subject == "CN=entra-import test" && facts.thumbprint.len() == 40, "{facts}");
    }
    assert_eq!(sim.counters().tokens, 2);
}

#[tokio::test]
async fn a_certificate_that_entra_does_not_take_is_named() {
    let error = refused(registered(&["other.crt"]), certificate("app.pem")).await.to_string();
    assert!(error.contains("AADSTS700027") && error.contains("Upload the public certificate"), "{error}");
    assert!(error.contains("CN=entra-import test (thumbprint "), "{error}");
    let error = refused(registered(&["ended.pem"]), certificate("ended.pem")).await.to_string();
    assert!(error.contains("has ended: CN=entra-import test, ended") && error.contains("2025-01-01"), "{error}");
}

#[tokio::test]
async fn an_assertion_for_another_address_is_explained() {
    let elsewhere =
        Options { public_base: Some("https://login.microsoftonline.us".into()), ..registered(&["app.crt"]) };
    let error = refused(elsewhere, certificate("app.pem")).await.to_string();
    assert!(error.contains("AADSTS700023") && error.contains("`cloud`"), "{error}");
}

#[tokio::test]
async fn a_clock_that_is_off_is_told_with_how_much() {
    for (ahead_s, words) in [(1230, "20 minutes behind"), (-1230, "20 minutes ahead")] {
        let options = Options { clock_ahead_s: ahead_s, ..registered(&["app.crt"]) };
        let error = refused(options, certificate("app.pem")).await.to_string();
        assert!(error.contains("AADSTS700024") && error.contains(words), "{error}");
    }
    let sim = sim(Options { clock_ahead_s: 90, ..world::all_rights() }).await;
    let source = source(&sim, secret(), 20_000);
    assert_eq!(source.clock_skew(), None);
    source.sign_in().await.unwrap();
    let skew_s = source.clock_skew().unwrap().as_secs();
    assert!((85..=95).contains(&skew_s), "{skew_s}");
}

/// A token of an identity provider that the simulator may trust.
fn external_token(subject: &str) -> String {
    let key = EncodingKey::from_rsa_der(&der("app-pkcs1.key", "RSA PRIVATE KEY"));
    let exp = jiff::Timestamp::now().as_second() + 600;
    let claims =
        json!({"iss": "https://oidc.contoso.com", "sub": subject, "aud": "api://AzureADTokenExchange", "exp": exp});
    jsonwebtoken::encode(&Header::new(Algorithm::RS256), &claims, &key).unwrap()
}

fn trusting_contoso() -> Options {
    let federation = Federation {
        issuer: "https://oidc.contoso.com".into(),
        subject: "import".into(),
        certificate: der("app.crt", "CERTIFICATE"),
    };
    Options { federation: Some(federation), ..world::all_rights() }
}

#[tokio::test]
async fn a_federated_token_is_read_anew_for_each_sign_in() {
    // Every request but the first needs a token of its own.
    let sim = sim(Options { requests_per_token: Some(1), ..trusting_contoso() }).await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("token");
    let rotate = |subject| std::fs::write(&path, format!("{}\n", external_token(subject))).unwrap();
    rotate("import");
    let source = source(&sim, Credential::Federation(SecretFrom::File(path.clone())), 20_000);
    source.sign_in().await.unwrap();
    let out = folder.path().join("snap");
    source.extract(&users(), &(), &out).await.unwrap();
    assert!(sim.counters().tokens > 1, "{:?}", sim.counters());
    // What the platform's file holds now is what counts.
    rotate("somebody");
    let error = source.extract(&users(), &(), &out).await.unwrap_err().to_string();
    assert!(error.contains("AADSTS70021") && error.contains("subject somebody"), "{error}");
    assert!(!error.contains("eyJ"), "{error}");
    std::fs::remove_file(&path).unwrap();
    let other = self::source(&sim, Credential::Federation(SecretFrom::File(path)), 20_000);
    let error = other.sign_in().await.unwrap_err().to_string();
    assert!(error.contains("cannot take the federated token"), "{error}");
}

#[tokio::test]
async fn a_managed_identity_is_asked_for_until_its_service_is_back() {
    let options = Options {
        faults: vec![
            Fault::new("/metadata/", FaultKind::Status(410)).times(1),
            Fault::new("/metadata/", FaultKind::Status(404)).times(1),
            Fault::new("/metadata/", FaultKind::Throttle(RetryAfter::Missing)).times(1),
        ],
        ..world::all_rights()
    };
    let sim = sim(options).await;
    let which = ManagedIdentity::ClientId(CLIENT_ID.parse().unwrap());
    source(&sim, Credential::ManagedIdentity(which), 20_000).sign_in().await.unwrap();
    assert_eq!(sim.counters().tokens, 4);
    let other = ManagedIdentity::ClientId("00001111-aaaa-2222-bbbb-3333cccc4444".parse().unwrap());
    let error = source(&sim, Credential::ManagedIdentity(other), 20_000).sign_in().await.unwrap_err();
    assert!(error.exit == Exit::SignIn && error.to_string().contains("Identity not found"), "{error}");
}

#[tokio::test]
async fn a_managed_identity_that_is_not_there_is_told_soon() {
    let which = || Credential::ManagedIdentity(ManagedIdentity::System);
    // Where no service listens.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let mut config = SourceConfig::new("contoso.onmicrosoft.com", CLIENT_ID, which());
    config.metadata = format!("http://127.0.0.1:{port}/").parse().unwrap();
    let http = Http::new(Clock::scaled(20_000), HttpSettings::default());
    let error = Source::new(config, &http).unwrap().sign_in().await.unwrap_err();
    assert_eq!(error.exit, Exit::Unreachable, "{error}");
    assert!(error.to_string().contains("(2 tries)") && error.to_string().contains("Azure resource"), "{error}");
    // Where one does and cannot: nobody tries again what was tried already.
    for (status, requests) in [(500, 5), (410, 6)] {
        let faults = vec![Fault::new("/metadata/", FaultKind::Status(status))];
        let sim = sim(Options { faults, ..world::all_rights() }).await;
        let error = source(&sim, which(), 20_000).sign_in().await.unwrap_err();
        assert_eq!(sim.requests().len(), requests, "{status}: {error}");
    }
}

#[tokio::test]
async fn a_life_written_as_text_is_a_life() {
    let sim = sim(Options { expires_in_text: true, ..world::all_rights() }).await;
    source(&sim, secret(), 20_000).sign_in().await.unwrap();
}

fn users() -> SourceNeeds {
    let properties = [(entra_import::record::Collection::Users, ["displayName".to_owned()].into())].into();
    SourceNeeds { properties, ..SourceNeeds::default() }
}

#[tokio::test]
async fn tokens_that_end_in_the_middle_are_renewed_once_for_all_requests_under_way() {
    let options = Options { requests_per_token: Some(12), ..world::all_rights() };
    let sim = sim(options).await;
    let folder = tempfile::tempdir().unwrap();
    let needs = SourceNeeds { memberships: true, ..users() };
    let extracted = source(&sim, secret(), 20_000).extract(&needs, &(), &folder.path().join("snap")).await.unwrap();
    let snapshot = &extracted.snapshot;
    assert!(snapshot.coverage(entra_import::record::Collection::Users).is_complete());
    let gaps = snapshot.members().unwrap().gaps().count();
    assert_eq!(gaps, 0, "{:?}", snapshot.manifest());
    let counters = sim.counters();
    let refused = sim.requests().iter().filter(|request| request.status == 401).count() as u64;
    assert!(refused > 0, "no token ended: {counters:?}");
    // Each token did its twelve requests, so nobody threw away one that another had just fetched.
    assert_eq!(counters.tokens, (counters.graph - refused).div_ceil(12), "{counters:?}");
}

#[tokio::test]
async fn a_token_is_renewed_before_it_ends_and_once_for_all_who_wait() {
    let sim = sim(world::all_rights()).await;
    let source = source(&sim, secret(), 1);
    let pass = async |time| {
        tokio::time::pause();
        tokio::time::advance(Duration::from_secs(time)).await;
        tokio::time::resume();
    };
    let all = async || {
        let tokens = futures::future::join_all((0..20).map(|_| source.sign_in())).await;
        tokens.into_iter().for_each(|token| drop(token.unwrap()));
        sim.counters().tokens
    };
    assert_eq!(all().await, 1);
    // It lives 3599 s and is renewed when less than 300 s are left.
    pass(3280).await;
    assert_eq!(all().await, 1);
    pass(30).await;
    assert_eq!(all().await, 2);
}

#[test]
fn platforms_are_recognised_by_their_variables() {
    let world =
        World::with(Tenant::synthetic(7, &Size { users: 20, groups: 2, ..Size::default() }), trusting_contoso());
    world.job(&["users"], "");
    let secret = "credential = { secret = { env = \"ENTRA_SECRET\" } }";
    world.edit(
        "job.toml",
        &format!("client_id = \"{CLIENT_ID}\"\n{secret}"),
        "credential = { managed_identity = \"system\" }",
    );
    let base = world.sim.base_url();
    // App Service and its relatives.
    let endpoint = format!("{base}/msi/token");
    let app_service = [("IDENTITY_ENDPOINT", endpoint.as_str()), ("IDENTITY_HEADER", IDENTITY_HEADER)];
    let ran = world.run_with(["plan", "job.toml"], &app_service);
    ran.exits(0).check(ran.requests[0].target.starts_with("/msi/token?"), "a token of App Service");
    // A virtual machine's metadata service.
    let ran = world.run_with(["plan", "job.toml"], &[("AZURE_POD_IDENTITY_AUTHORITY_HOST", base.as_str())]);
    ran.exits(0).check(ran.requests[0].target.starts_with("/metadata/identity/oauth2/token?"), "a token of a machine");
    // Workload identity: file and client id come from the platform, and the file lies outside of the job's folder.
    world.edit("job.toml", "{ managed_identity = \"system\" }", "{ federation = {} }");
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("token");
    std::fs::write(&path, external_token("import")).unwrap();
    let workload = [("AZURE_FEDERATED_TOKEN_FILE", path.to_str().unwrap()), ("AZURE_CLIENT_ID", CLIENT_ID)];
    world.run_with(["plan", "job.toml"], &workload).exits(0);
    world.run(["plan", "job.toml"]).exits(5).contacts_nobody().says("AZURE_FEDERATED_TOKEN_FILE is not set");
}

/// An `az` that prints what is in a file beside it, or fails as the real one does when nobody is logged in.
fn fake_az(folder: &std::path::Path, token: Option<&str>) -> String {
    let script = match token {
        Some(token) => {
            let expires = jiff::Timestamp::now().as_second() + 3600;
            let answer = json!({"accessToken": token, "expires_on": expires, "tokenType": "Bearer"});
            std::fs::write(folder.join("answer.json"), answer.to_string()).unwrap();
            format!("#!/bin/sh\necho \"$@\" > '{0}/arguments'\ncat '{0}/answer.json'\n", folder.display())
        }
        None => "#!/bin/sh\necho \"ERROR: Please run 'az login' to setup account.\" >&2\nexit 1\n".to_owned(),
    };
    let az = folder.join("az");
    std::fs::write(&az, script).unwrap();
    std::fs::set_permissions(&az, std::fs::Permissions::from_mode(0o755)).unwrap();
    format!("{}:/usr/bin:/bin", folder.display())
}

#[test]
fn a_person_at_a_desk_signs_in_by_the_azure_cli_and_proves_no_removal() {
    let tenant = Tenant::synthetic(7, &Size { users: 20, groups: 2, ..Size::default() });
    for delegated in [false, true] {
        let world = World::with(tenant.clone(), Options { delegated, ..world::all_rights() });
        let id = world.sim.read_tenant().id().to_owned();
        world.job(&["groups"], "");
        let secret = "credential = { secret = { env = \"ENTRA_SECRET\" } }";
        world.edit("job.toml", &format!("client_id = \"{CLIENT_ID}\"\n{secret}"), "credential = { azure_cli = true }");
        let folder = tempfile::tempdir().unwrap();
        let path = fake_az(folder.path(), None);
        let ran = world.run_with(["plan", "job.toml"], &[("PATH", &path)]);
        ran.exits(5).says_all(&["Please run 'az login'", "az login --tenant"]).contacts_nobody();
        let path = fake_az(folder.path(), Some(&world.token()));
        let ran = world.run_with(["plan", "job.toml"], &[("PATH", &path)]);
        // A user's token shows what the user may see: nothing follows from what it does not.
        ran.exits(if delegated { 3 } else { 0 });
        ran.check(ran.stdout.contains("signed-in user") == delegated, "tells whose eyes it saw with");
        // Nor does such a read leave a link from which a later one would go on.
        world.edit("job.toml", "{ azure_cli = true }", "{ azure_cli = true }\ndelta = true");
        let ran = world.run_with(["run", "job.toml"], &[("PATH", &path)]);
        let linked = ran.requests.iter().any(|request| request.target.contains("/delta"));
        ran.exits(if delegated { 3 } else { 0 }).check(linked != delegated, "a link only of a whole read");
        let arguments = std::fs::read_to_string(folder.path().join("arguments")).unwrap();
        assert!(arguments.contains(&format!("--tenant {id}")) && arguments.contains("/.default"), "{arguments}");
    }
}

#[test]
fn check_tells_when_a_certificate_ends_and_how_far_the_clock_is_off() {
    let tenant = Tenant::synthetic(7, &Size { users: 20, groups: 2, ..Size::default() });
    let world = World::with(tenant, Options { clock_ahead_s: 150, ..registered(&["app.crt"]) });
    world.job(&["users"], "");
    world.edit("job.toml", "{ secret = { env = \"ENTRA_SECRET\" } }", "{ certificate = { file = \"app.pem\" } }");
    std::fs::write(world.path("app.pem"), file("app.pem")).unwrap();
    let ran = world.run(["check", "job.toml"]);
    ran.exits(0).says_all(&["the certificate CN=entra-import test ends in", "clock is 2 minutes behind"]);
    std::fs::write(world.path("app.pem"), file("ended.pem")).unwrap();
    let ran = world.run(["check", "job.toml"]);
    ran.exits(5).says_all(&[
        "the certificate CN=entra-import test, ended ended on 2025-01-01",
        "Upload the public certificate",
    ]);
}

#[test]
fn a_sign_in_host_that_refuses_connections_is_told_when_it_begins() {
    let world = World::new(Tenant::synthetic(7, &Size { users: 20, groups: 2, ..Size::default() }));
    world.job(&["users"], "");
    let authority = format!("authority = \"{}\"", world.sim.base_url());
    world.edit("job.toml", &authority, "authority = \"http://127.0.0.1:1\"");
    let ran = world.run(["plan", "job.toml"]);
    ran.exits(6).says_all(&["the connection was refused", "trying again", "HTTPS_PROXY"]);
    let told = ran.stderr.matches("trying again").count();
    ran.check(told == 1, "told once");
}
