//! What a run leaves and tells when nobody watches: reports, events, summary, metrics, mail and webhooks, one job after
//! another. Mail and webhooks go to stand-ins on this machine.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::Command;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};

use clap::Parser;
use entra_import::cli::Cli;
use entra_import::job::Job;
use graph_sim::{Deletion, Kind};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use saphyr::{LoadableYamlNode, Yaml};
use serde_json::Value;

use crate::world::{ALL, DELETE, NO_LIMITS, Ran, World, all_rights, contoso, id};

const CERTIFICATES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/certificates");

/// How a stand-in for a mail server covers what it hears.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Cover {
    None,
    /// From the first byte.
    Tls,
    /// Once the client asks for it, which it offers.
    StartTls,
}

/// A mail server that takes whatever comes, and hands it on, with whether it came under TLS.
fn mail_server_under(cover: Cover) -> (u16, Receiver<(bool, String)>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let (tell, mails) = channel();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mail = match cover {
                Cover::None => take_mail(&mut stream, true, false).and_then(Heard::mail).map(|mail| (false, mail)),
                Cover::Tls => {
                    take_mail(&mut under_tls(stream), true, false).and_then(Heard::mail).map(|mail| (true, mail))
                }
                Cover::StartTls => match take_mail(&mut stream, true, true) {
                    Some(Heard::StartTls) => {
                        take_mail(&mut under_tls(stream), false, false).and_then(Heard::mail).map(|mail| (true, mail))
                    }
                    heard => heard.and_then(Heard::mail).map(|mail| (false, mail)),
                },
            };
            if mail.is_some_and(|mail| tell.send(mail).is_err()) {
                return;
            }
        }
    });
    (port, mails)
}

/// One without TLS.
fn mail_server() -> (u16, Receiver<String>) {
    let (port, heard) = mail_server_under(Cover::None);
    let (tell, mails) = channel();
    std::thread::spawn(move || {
        heard.into_iter().try_for_each(|(_, mail)| tell.send(mail)).unwrap_or_default();
    });
    (port, mails)
}

/// The server's side of TLS, with the certificate that `ca.crt` vouches for.
fn under_tls(stream: TcpStream) -> rustls::StreamOwned<rustls::ServerConnection, TcpStream> {
    let pem = format!("{CERTIFICATES}/server.pem");
    let chain: Vec<_> = CertificateDer::pem_file_iter(&pem).unwrap().map(Result::unwrap).collect();
    let key = PrivateKeyDer::from_pem_file(&pem).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let config = config.unwrap().with_no_client_auth().with_single_cert(chain, key).unwrap();
    rustls::StreamOwned::new(rustls::ServerConnection::new(Arc::new(config)).unwrap(), stream)
}

/// What a client of a mail server wanted.
enum Heard {
    Mail(String),
    StartTls,
}

impl Heard {
    fn mail(self) -> Option<String> {
        match self {
            Heard::Mail(mail) => Some(mail),
            Heard::StartTls => None,
        }
    }
}

/// As much of SMTP as a relay needs. <https://www.rfc-editor.org/rfc/rfc5321>
fn take_mail(stream: &mut (impl Read + Write), greets: bool, offers_tls: bool) -> Option<Heard> {
    if greets {
        stream.write_all(b"220 mail.contoso.com\r\n").ok()?;
    }
    let mut mail = None;
    loop {
        let line = line_of(stream)?;
        if line.is_empty() {
            return mail.map(Heard::Mail);
        }
        let said: &[u8] = match line.split([' ', ':', '\r']).next().unwrap_or_default() {
            "EHLO" if offers_tls => b"250-mail.contoso.com\r\n250 STARTTLS\r\n",
            "EHLO" | "HELO" => b"250 mail.contoso.com\r\n",
            "STARTTLS" => {
                stream.write_all(b"220 go on\r\n").ok()?;
                return Some(Heard::StartTls);
            }
            "DATA" => {
                stream.write_all(b"354 go on\r\n").ok()?;
                let mut text = String::new();
                while !text.ends_with("\r\n.\r\n") {
                    text.push_str(&line_of(stream)?);
                }
                // Quoted-printable, as far as plain English needs it.
                mail = Some(text.replace("=\r\n", "").replace("=3D", "=").replace("\r\n", "\n"));
                b"250 taken\r\n"
            }
            "QUIT" => {
                let _ = stream.write_all(b"221 bye\r\n");
                return mail.map(Heard::Mail);
            }
            _ => b"250 well\r\n",
        };
        stream.write_all(said).ok()?;
    }
}

/// A line with its end; the empty text when there is none any more. Byte by byte: what follows may be for others.
fn line_of(stream: &mut impl Read) -> Option<String> {
    let (mut line, mut byte) = (Vec::new(), [0]);
    while !line.ends_with(b"\n") && stream.read(&mut byte).ok()? > 0 {
        line.push(byte[0]);
    }
    String::from_utf8(line).ok()
}

/// A server that hears every POST: its path and its body.
fn hooks() -> (String, Receiver<(String, String)>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let base = format!("http://{}/hidden-path", listener.local_addr().unwrap());
    let (tell, posts) = channel();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut lines = BufReader::new(stream.try_clone().unwrap());
            let (mut path, mut length) = (String::new(), 0);
            loop {
                let mut line = String::new();
                if lines.read_line(&mut line).unwrap_or(0) <= 2 {
                    break;
                }
                if let Some(rest) = line.strip_prefix("POST ") {
                    path = rest.split(' ').next().unwrap_or_default().to_owned();
                }
                if let Some((name, value)) = line.split_once(':')
                    && name.eq_ignore_ascii_case("content-length")
                {
                    length = value.trim().parse().unwrap();
                }
            }
            let mut body = vec![0; length];
            lines.read_exact(&mut body).unwrap();
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok");
            if tell.send((path, String::from_utf8(body).unwrap())).is_err() {
                return;
            }
        }
    });
    (base, posts)
}

const FILES: &str = "[report]\nfiles = [\"reports/{job}.html\", \"reports/{job}.csv\", \"reports/{job}.txt\"]\n\
    leavers = \"reports/{job}-leavers.csv\"\nevents = \"reports/events.jsonl\"\nsummary = \"reports/{job}.json\"\n\
    metrics = \"reports/{job}.prom\"\n";

/// A world whose job leaves all files, mails `when`, and posts to a webhook of each kind.
fn told_world(when: &str, limits: &str) -> (World, Receiver<String>, Receiver<(String, String)>) {
    let mut world = World::with(contoso(), all_rights());
    fs::create_dir(world.path("reports")).unwrap();
    let (port, mails) = mail_server();
    let (base, posts) = hooks();
    let kinds =
        [("HOOK_HEALTH", "healthcheck"), ("HOOK_SLACK", "slack"), ("HOOK_TEAMS", "teams"), ("HOOK_JSON", "json")];
    let mut tables = format!(
        "{DELETE}{limits}{FILES}[report.mail]\nto = [\"IT <it@contoso.com>\"]\nfrom = \"entra-import@contoso.com\"\n\
         smtp = \"smtp://127.0.0.1:{port}\"\nwhen = \"{when}\"\n"
    );
    for (name, kind) in kinds {
        world.environment.insert(name, format!("{base}/{kind}"));
        let when = if kind == "healthcheck" { String::new() } else { format!("when = \"{when}\"\n") };
        tables.push_str(&format!("[[report.webhook]]\nkind = \"{kind}\"\nurl = {{ env = \"{name}\" }}\n{when}"));
    }
    world.job(&ALL, &tables);
    (world, mails, posts)
}

fn json(world: &World, name: &str) -> Value {
    serde_json::from_str(&world.read(name)).unwrap()
}

fn posted(posts: &Receiver<(String, String)>) -> Vec<(String, String)> {
    posts.try_iter().map(|(path, body)| (path.replace("/hidden-path/", ""), body)).collect()
}

fn shows_no_address(ran: &Ran) {
    ran.check(!ran.stderr.contains("hidden-path") && !ran.stdout.contains("hidden-path"), "no webhook's address");
}

#[test]
fn a_run_leaves_and_tells_what_its_job_asks_for() {
    let (world, mails, posts) = told_world("always", NO_LIMITS);
    let ran = world.run(["run", "job.toml", "-vv"]);
    ran.exits(0);
    shows_no_address(&ran);
    let page = world.read("reports/contoso.html");
    assert!(page.starts_with("<!doctype html>") && page.contains("user1@contoso.com"));
    let csv = world.read("reports/contoso.csv");
    assert!(csv.starts_with("action,type,key") && csv.lines().skip(1).all(|row| row.ends_with(",done,")), "{csv}");
    assert!(world.read("reports/contoso.txt").contains(" applied: "));
    let summary = json(&world, "reports/contoso.json");
    assert_eq!(
        (&summary["format"], &summary["exit"], &summary["ended"]),
        (&"summary/1".into(), &0.into(), &"done".into())
    );
    assert_eq!(summary["run"], "1");
    assert_eq!(
        summary["source_requests"],
        ran.requests.iter().filter(|request| !request.target.contains("oauth2")).count()
    );
    let metrics = world.read("reports/contoso.prom");
    assert!(
        metrics.contains("entra_import_last_run_changes{job=\"contoso\",type=\"users\",action=\"create\"} 12\n"),
        "{metrics}"
    );
    let events: Vec<Value> =
        world.read("reports/events.jsonl").lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let of = |collection: &str| events.iter().filter(|event| event["collection"] == collection).count();
    assert_eq!((of("users"), of("devices"), of("groups")), (12, 3, 4));
    assert!(events.iter().all(|event| event["event"] == "new" && event["run"] == "1"));
    let mail = mails.recv().unwrap();
    assert!(
        mail.contains("Subject: entra-import contoso: done, ") && mail.contains("To: IT <it@contoso.com>"),
        "{mail}"
    );
    let heard: Vec<String> = posted(&posts).into_iter().map(|(path, _)| path).collect();
    assert_eq!(heard, ["healthcheck/start", "healthcheck", "slack", "teams", "json"]);

    // The next night somebody is new, somebody changed, somebody left.
    world.night(crate::world::busy_night);
    world.run(["run", "job.toml"]).exits(0);
    let all = world.read("reports/events.jsonl");
    let events: Vec<Value> = all.lines().skip(events.len()).map(|line| serde_json::from_str(line).unwrap()).collect();
    let one = |collection: &str, event: &str| {
        let fits = |line: &&Value| line["collection"] == collection && line["event"] == event && line["run"] == "2";
        events.iter().find(fits).unwrap_or_else(|| panic!("{collection} {event} in {all}")).clone()
    };
    assert_eq!(one("users", "new")["key"], id(13));
    let gone = one("users", "removed");
    assert_eq!((&gone["key"], &gone["cause"]["kind"]), (&id(12).into(), &"gone".into()));
    assert_eq!(one("groups", "updated")["attributes"]["Name"]["after"], "Sales & Marketing");
    assert_eq!(one("memberships", "removed")["action"], "delete");
    assert!(world.read("reports/contoso-leavers.csv").contains(&id(12)));
}

#[test]
fn what_is_held_is_told_with_the_command_that_approves_it() {
    let (world, mails, posts) = told_world("attention", "");
    world.run(["run", "job.toml"]).exits(0);
    assert_eq!(
        posted(&posts).iter().map(|(path, _)| path.as_str()).collect::<Vec<_>>(),
        ["healthcheck/start", "healthcheck"]
    );
    assert!(mails.try_recv().is_err(), "a quiet night is told to nobody");
    world.night(|tenant| (2..=9).for_each(|n| assert!(tenant.remove(Kind::User, &id(n), Deletion::Soft))));
    world.run(["run", "job.toml"]).exits(4);
    mails.recv().unwrap();
    world.next_night();
    posted(&posts);
    world.run(["run", "job.toml"]).exits(4);
    let mail = mails.recv().unwrap();
    assert!(mail.contains("So since 2026-03-02 02:00 UTC, 2 runs in a row."), "{mail}");
    assert!(mail.contains("The last run without anything to tell began at 2026-03-01 02:00 UTC."), "{mail}");
    let heard = posted(&posts);
    assert_eq!(heard[1].0, "healthcheck/fail");
    for text in std::iter::once(&mail).chain(heard.iter().map(|(_, body)| body)) {
        assert!(!text.contains("User 3") && !text.contains("user3@"), "nobody is named: {text}");
    }
    let summary: Value = serde_json::from_str(&heard.iter().find(|(path, _)| path == "json").unwrap().1).unwrap();
    let command = summary["approve"].as_str().unwrap();
    assert!(mail.contains(command) && summary["held"][0]["limit"] == "retires", "{mail}");
    world.run(command.split(' ').skip(1)).exits(0);
    world.next_night();
    world.run(["run", "job.toml"]).exits(0);
    assert_eq!(json(&world, "reports/contoso.json")["last_good_run"], "2026-03-04T02:00:00Z");
}

#[test]
fn people_are_named_where_the_job_says_so() {
    let (world, mails, _posts) = told_world("attention", "");
    world.run(["run", "job.toml"]).exits(0);
    world.edit("job.toml", "[report]\n", "[report]\nnames = true\n");
    world.night(|tenant| (2..=9).for_each(|n| assert!(tenant.remove(Kind::User, &id(n), Deletion::Soft))));
    world.run(["run", "job.toml"]).exits(4);
    let mail = mails.recv().unwrap();
    assert!(mail.contains("users User 3: delete, "), "{mail}");
}

#[test]
fn who_cannot_be_told_changes_nothing() {
    let (mut world, _, _) = told_world("always", NO_LIMITS);
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    for name in ["HOOK_HEALTH", "HOOK_SLACK", "HOOK_TEAMS"] {
        world.environment.insert(name, format!("http://{nobody}/hidden-path/x"));
    }
    world.environment.insert("HOOK_JSON", "not an address of hidden-path".into());
    let text = world.read("job.toml");
    let smtp = text.lines().find(|line| line.starts_with("smtp")).unwrap();
    world.edit("job.toml", smtp, &format!("smtp = \"smtp://{nobody}\""));
    let ran = world.run(["run", "job.toml"]);
    ran.exits(0).says_all(&["cannot tell the slack webhook", "cannot send the mail", "is no address"]);
    shows_no_address(&ran);
    assert_eq!(world.rows("users").len(), 12);
}

#[test]
fn a_mail_goes_under_tls_or_not_at_all() {
    for cover in [Cover::Tls, Cover::StartTls] {
        let (port, mails) = mail_server_under(cover);
        let scheme = if cover == Cover::Tls { "smtps" } else { "smtp" };
        let mut world = World::with(contoso(), all_rights());
        world.job(
            &["users"],
            &format!(
                "[report.mail]\nto = [\"it@contoso.com\"]\nfrom = \"entra-import@contoso.com\"\n\
                 smtp = \"{scheme}://127.0.0.1:{port}\"\nwhen = \"always\"\n"
            ),
        );
        // Nobody vouches for the server: no word of the mail leaves, not even where TLS is only offered.
        world.environment.insert("SSL_CERT_FILE", format!("{CERTIFICATES}/other.crt"));
        world.run(["run", "job.toml"]).exits(0).says("cannot send the mail");
        assert!(mails.try_recv().is_err(), "{cover:?}");
        world.environment.insert("SSL_CERT_FILE", format!("{CERTIFICATES}/ca.crt"));
        world.next_night();
        let ran = world.run(["run", "job.toml"]);
        ran.exits(0).check(!ran.stderr.contains("cannot send"), "sent");
        let (covered, mail) = mails.recv().unwrap();
        assert!(covered && mail.contains("Subject: entra-import contoso: done"), "{cover:?}: {mail}");
    }
}

#[test]
fn a_mail_goes_through_a_program_like_sendmail() {
    use std::os::unix::fs::PermissionsExt;
    let world = World::with(contoso(), all_rights());
    let mail = "[report.mail]\nto = [\"IT <it@contoso.com>\", \"am@contoso.com\"]\nfrom = \"entra-import@contoso.com\"\n\
                sendmail = \"bin/sendmail\"\nwhen = \"always\"\n";
    fs::create_dir(world.path("bin")).unwrap();
    let program = "#!/bin/sh\ncd \"${0%/*}\" || exit 9\n{ echo \"called with: $*\"; /bin/cat; } > mail.txt\n";
    for (program, told) in [(program, false), ("#!/bin/sh\necho it is not for you >&2\nexit 75\n", true)] {
        world.write("bin/sendmail", program);
        fs::set_permissions(world.path("bin/sendmail"), fs::Permissions::from_mode(0o755)).unwrap();
        world.job(&["users"], mail);
        let ran = world.run(["run", "job.toml"]);
        ran.exits(0).check(ran.stderr.contains("cannot send the mail") == told, "told when it was not sent");
    }
    let mail = world.read("bin/mail.txt");
    assert!(mail.starts_with("called with: ") && mail.contains("it@contoso.com am@contoso.com\n"), "{mail}");
    assert!(mail.contains("Subject: entra-import contoso: done") && mail.contains("Auto-Submitted"), "{mail}");
}

#[test]
fn a_check_names_the_servers_that_hear_of_runs() {
    let (mut world, mails, posts) = told_world("always", NO_LIMITS);
    world.environment.insert("HOOK_TEAMS", "no address of hidden-path".into());
    let ran = world.run(["check", "job.toml"]);
    ran.exits(0).says_all(&["host: mail", "host: slack webhook", "host: json webhook", "host: healthcheck webhook"]);
    ran.says("what lies in").says("is no address");
    shows_no_address(&ran);
    assert!(mails.try_recv().is_err() && posts.try_recv().is_err(), "a check tells nobody");
}

#[test]
fn whoever_is_forgotten_is_in_no_file_that_runs_left() {
    let (world, _mails, _posts) = told_world("attention", NO_LIMITS);
    world.run(["run", "job.toml"]).exits(0);
    world.night(|tenant| assert!(tenant.remove(Kind::User, &id(9), Deletion::Soft)));
    world.run(["run", "job.toml"]).exits(0);
    let named = |world: &World| -> Vec<String> {
        let files = crate::world::files_under(&world.path("."));
        let holds = |path: &std::path::PathBuf| {
            let text = String::from_utf8_lossy(&fs::read(path).unwrap()).to_lowercase();
            text.contains(&id(9)) || text.contains("user9@contoso.com")
        };
        files.into_iter().filter(holds).map(|path| path.file_name().unwrap().to_string_lossy().into_owned()).collect()
    };
    let before = named(&world);
    for name in ["ledger.sqlite3", "users.jsonl", "contoso.html", "contoso.csv", "contoso-leavers.csv", "events.jsonl"]
    {
        assert!(before.iter().any(|file| file == name), "{name} names the leaver: {before:?}");
    }
    let events = world.read("reports/events.jsonl");
    let ran = world.run(["forget", "job.toml", &id(9)]);
    ran.exits(0).says("events that named").says("--out");
    assert_eq!(named(&world), [""; 0], "{ran}");
    let after = world.read("reports/events.jsonl");
    assert_eq!((after.len(), after.lines().count()), (events.len(), events.lines().count()), "the others stand");
    let left = after.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let forgotten = left.filter(|line| line["event"] == "forgotten").count();
    assert!(forgotten >= 2, "{after}");
    world.next_night();
    world.run(["run", "job.toml"]).exits(0);
}

#[test]
fn a_dry_run_leaves_only_what_it_is_asked_for_and_tells_nobody() {
    let (world, mails, posts) = told_world("always", NO_LIMITS);
    world.run(["plan", "job.toml", "--report", "plan.html", "--report", "plan.json", "--leavers", "left.csv"]).exits(0);
    assert!(world.read("plan.html").contains("\"outcome\":null"));
    assert_eq!(json(&world, "plan.json")["format"], "plan/1");
    assert!(world.read("left.csv").starts_with("type,key,label"));
    assert_eq!(fs::read_dir(world.path("reports")).unwrap().count(), 0);
    assert!(mails.try_recv().is_err() && posts.try_recv().is_err());
    world
        .run(["plan", "job.toml", "--report", "plan.pdf"])
        .exits(2)
        .says(".html, .csv, .json or .txt")
        .contacts_nobody();
    world
        .run(["run", "job.toml", "--report", "nowhere/plan.html"])
        .exits(2)
        .says("no folder nowhere")
        .contacts_nobody();
    world.run(["run", "job.toml", "--dry-run", "--events", "e.jsonl"]).exits(2);
}

#[test]
fn a_run_that_died_is_told_by_the_next_one() {
    let (world, mails, _posts) = told_world("attention", NO_LIMITS);
    let died = world.run_with(["run", "job.toml"], &[("ENTRA_IMPORT_CRASH_AT", "12")]);
    died.check(died.code() != 0, "it died");
    world.next_night();
    world.run(["run", "job.toml"]).exits(0);
    let mail = mails.recv().unwrap();
    assert!(
        mail.contains("done, after a run that died") && mail.contains("Run 1 (run, 2026-03-01 02:00 UTC)"),
        "{mail}"
    );
    assert_eq!(json(&world, "reports/contoso.json")["unfinished"][0]["run"], "1");
    assert!(world.read("reports/contoso.prom").contains("entra_import_unfinished_runs{job=\"contoso\"} 1\n"));
    world.next_night();
    world.run(["run", "job.toml"]).exits(0);
    assert!(mails.try_recv().is_err(), "told once");
}

#[test]
fn a_report_that_cannot_be_written_ends_a_good_run_with_1_and_loses_nothing() {
    let (world, mails, _posts) = told_world("attention", NO_LIMITS);
    // A folder in the place of the file, so that nothing can be put there.
    fs::create_dir(world.path("reports/contoso.csv")).unwrap();
    world.run(["run", "job.toml"]).exits(1).says("cannot write");
    assert!(mails.recv().unwrap().contains("failed (exit 1)"));
    assert_eq!(world.rows("users").len(), 12);
    fs::remove_dir(world.path("reports/contoso.csv")).unwrap();
    let again = world.run(["run", "job.toml"]);
    again.exits(0).says("0 created");
}

#[test]
fn a_failure_is_told_with_its_reason() {
    let (world, mails, posts) = told_world("attention", NO_LIMITS);
    world.edit("job.toml", "env = \"ENTRA_SECRET\"", "env = \"HOOK_HEALTH\"");
    world.run(["run", "job.toml"]).exits(5);
    let mail = mails.recv().unwrap();
    assert!(mail.contains("sign-in refused (exit 5)") && mail.contains("because "), "{mail}");
    assert_eq!(posted(&posts)[1].0, "healthcheck/fail");
    assert!(!json(&world, "reports/contoso.json")["error"]["what"].as_str().unwrap().is_empty());
}

/// A service provider's folder: many tenants over one base, some of which fail, each in its own way.
#[test]
fn sixty_jobs_run_one_after_another_and_fail_apart() {
    let world = World::with(contoso(), all_rights());
    world.job(&["users"], "");
    world.run(["extract", "job.toml", "--out", "snapshot"]).exits(0);
    fs::create_dir(world.path("jobs")).unwrap();
    fs::create_dir(world.path("reports")).unwrap();
    world.write(
        "jobs/_base.toml",
        "format = \"job/1\"\n[source]\nsnapshot = \"../snapshot\"\n[target]\nkind = \"csv\"\npath = \"../export/{job}\"\n\
         [state]\ndir = \"../state\"\n[[mapping]]\nuse = \"csv/users@1\"\n[report]\nmetrics = \"../reports/{job}.prom\"\n",
    );
    for number in 1..=60 {
        let more = match number {
            // Something misspelt; a snapshot that is not there.
            7 => "[limits]\nremoval = 5\n",
            30 => "[source]\nsnapshot = \"../nowhere\"\n",
            _ => "",
        };
        world.write(
            &format!("jobs/tenant-{number:02}.toml"),
            &format!("format = \"job/1\"\nname = \"tenant-{number:02}\"\nextends = \"_base.toml\"\n{more}"),
        );
    }
    let ran = world.run(["run", "jobs"]);
    // Of 1 (no snapshot) and 2 (misspelt) the first counts, as for one job.
    ran.check(matches!(ran.code(), 1 | 2), "the worst of all");
    let lines: Vec<&str> = ran.stdout.lines().collect();
    let at = lines.iter().position(|line| line.starts_with("Job ")).unwrap_or_else(|| panic!("a table in {ran}"));
    let rows = &lines[at + 1..at + 61];
    assert!(rows[0].starts_with("tenant-01") && rows[0].contains("done") && rows[0].contains("12"), "{ran}");
    assert!(rows[6].starts_with("jobs/tenant-07.toml") && rows[6].contains("usage"), "{ran}");
    assert!(rows[29].starts_with("jobs/tenant-30.toml") && !rows[29].contains("done"), "{ran}");
    assert!(lines[at + 61].starts_with("60 jobs: 58 done, 2 to look at"), "{ran}");
    for number in (1..=60).filter(|number| ![7, 30].contains(number)) {
        let rows = fs::read_to_string(world.path(&format!("export/tenant-{number:02}/users.csv"))).unwrap();
        assert_eq!(rows.lines().count(), 13);
        assert!(world.path(&format!("reports/tenant-{number:02}.prom")).is_file());
    }
    world.run(["run", "jobs", "--report", "reports/one.html"]).exits(2).says("{job}");
    let quiet = world.run(["run", "jobs", "--report", "reports/{job}.html"]);
    quiet.says("tenant-60");
    assert!(world.path("reports/tenant-60.html").is_file());
    // A copy of a job in the same folder is the same job: nothing is begun of any.
    fs::copy(world.path("jobs/tenant-01.toml"), world.path("jobs/tenant-01-old.toml")).unwrap();
    let twice = world.run(["run", "jobs"]);
    twice.exits(2).says_all(&["jobs/tenant-01-old.toml", "jobs/tenant-01.toml", "are both the job", "another `name`"]);
    assert!(twice.stdout.is_empty(), "{twice}");
}

#[test]
fn log_lines_carry_the_id_of_the_run() {
    let world = World::with(contoso(), all_rights());
    world.job(&["users"], NO_LIMITS);
    for wanted in ["contoso/1", "contoso/2"] {
        let ran = world.run(["run", "job.toml", "--log-format", "json"]);
        ran.exits(0);
        let lines: Vec<Value> = ran.stderr.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let extract = lines.iter().find(|line| line["step"] == "extract").unwrap();
        assert_eq!(extract["run"], wanted, "{ran}");
    }
}

fn sample(name: &str) -> String {
    fs::read_to_string(format!("{}/samples/{name}", env!("CARGO_MANIFEST_DIR"))).unwrap()
}

/// The command that a sample starts, as the command line reads it.
fn parses<'a>(words: impl IntoIterator<Item = &'a str>) {
    let words: Vec<&str> = words.into_iter().collect();
    Cli::try_parse_from(&words).unwrap_or_else(|error| panic!("{words:?}: {error}"));
}

#[test]
fn the_systemd_units_are_right_and_confined() {
    let folder = tempfile::tempdir().unwrap();
    let service = sample("systemd/entra-import@.service");
    let start = service.lines().find_map(|line| line.strip_prefix("ExecStart=")).unwrap();
    parses(start.replace("/usr/local/bin/", "").split(' '));
    // Verified is what is installed: the program must be where the unit says.
    let service = service.replace("/usr/local/bin/entra-import", env!("CARGO_BIN_EXE_entra-import"));
    fs::write(folder.path().join("entra-import@.service"), service).unwrap();
    fs::write(folder.path().join("entra-import@.timer"), sample("systemd/entra-import@.timer")).unwrap();
    let analyze = |words: &[&str]| {
        let units = ["entra-import@contoso.service", "entra-import@contoso.timer"];
        let units = if words[0] == "verify" { &units[..] } else { &units[..1] };
        let mut command = Command::new("systemd-analyze");
        command.args(words).args(units).current_dir(folder.path());
        command.env("SYSTEMD_UNIT_PATH", format!("{}:", folder.path().display())).output()
    };
    let Ok(verified) = analyze(&["verify", "--man=no"]) else {
        eprintln!("SKIPPED: systemd-analyze is not installed, so the units in samples/systemd were not verified");
        return;
    };
    let said = String::from_utf8_lossy(&verified.stderr).into_owned();
    assert!(verified.status.success() && said.is_empty(), "{said}");
    // In tenths: anything up to 2.0 of 10.
    fs::copy(folder.path().join("entra-import@.service"), folder.path().join("entra-import@contoso.service")).unwrap();
    let exposure = analyze(&["security", "--offline=true", "--threshold=20"]).unwrap();
    assert!(exposure.status.success(), "{}", String::from_utf8_lossy(&exposure.stdout));
}

#[test]
fn the_crontab_starts_what_there_is() {
    let text = sample("cron/entra-import");
    let jobs: Vec<&str> =
        text.lines().filter(|line| line.starts_with(|c: char| c.is_ascii_digit() || c == '*')).collect();
    assert_eq!(jobs.len(), 1);
    let words: Vec<&str> = jobs[0].split_whitespace().collect();
    assert!(
        words[..5].iter().all(|field| field.chars().all(|c| c.is_ascii_digit() || "*,-/".contains(c))),
        "{words:?}"
    );
    assert_eq!(words[5], "entra-import", "the user of /etc/cron.d");
    parses(words[6..].iter().copied());
}

#[test]
fn the_cron_job_is_yaml_and_its_job_is_right() {
    let documents = Yaml::load_from_str(&sample("kubernetes/cronjob.yaml")).unwrap();
    let of = |kind: &str| documents.iter().find(|document| document["kind"].as_str() == Some(kind)).unwrap();
    let pod = &of("CronJob")["spec"]["jobTemplate"]["spec"]["template"]["spec"];
    let container = &pod["containers"][0];
    let args: Vec<&str> = container["args"].as_sequence().unwrap().iter().map(|word| word.as_str().unwrap()).collect();
    parses(std::iter::once("entra-import").chain(args));
    assert_eq!(container["securityContext"]["readOnlyRootFilesystem"].as_bool(), Some(true));
    let folder = tempfile::tempdir().unwrap();
    let job = folder.path().join("contoso.toml");
    fs::write(&job, of("ConfigMap")["data"]["contoso.toml"].as_str().unwrap()).unwrap();
    Job::load(&job, None).unwrap_or_else(|error| panic!("{error}"));
}

#[test]
fn a_bundle_can_be_planned_from_and_names_nobody() {
    let world = World::with(contoso(), all_rights());
    world.job(
        &ALL,
        "[scope]\nusers = \"department eq 'Sales' and userPrincipalName ne 'user4@contoso.com'\"\n\
         exclude.users = [\"user6@contoso.com\"]\n[report]\nsummary = \"summary.json\"\n",
    );
    world.run(["run", "job.toml"]).exits(0);
    let real = world.rows("users").len();
    assert_eq!(real, 4);
    let made = world.run(["bundle", "job.toml", "--out", "bundle"]);
    made.exits(0).contacts_nobody();
    let mut seen = 0;
    for path in crate::world::files_under(&world.path("bundle")) {
        seen += 1;
        let text = fs::read_to_string(&path).unwrap();
        let here = world.path("bundle").parent().unwrap().display().to_string();
        for secret in ["user1@", "User 1", "contoso.com", &id(1), &id(101), "ENTRA_SECRET", "72f988bf", &here] {
            assert!(!text.contains(secret), "{secret} in {}: {text}", path.display());
        }
    }
    assert!(seen > 8, "{seen} files");
    let about = json(&world, "bundle/bundle.json");
    let replay: Vec<&str> = about["replay"].as_str().unwrap().split([' ', '=']).collect();
    let (as_of, words) = (replay[1].to_owned(), &replay[3..]);
    assert_eq!(words, ["plan", "job.toml", "--all"]);
    let mut world = world;
    world.environment.insert("ENTRA_IMPORT_STATE", world.path("elsewhere").display().to_string());
    let replayed = world.run_with(["plan", "bundle/job.toml", "--all"], &[("ENTRA_IMPORT_AS_OF", &as_of)]);
    replayed.exits(0).contacts_nobody().says(&format!("users: {real} to create"));
    // The id follows the time, and nothing else may differ.
    let counts = |text: &str| text.lines().last().unwrap().split_once(": plan ").unwrap().1[8..].to_owned();
    assert_eq!(counts(&replayed.stdout), counts(&world.read("bundle/plan.txt")));
    assert_eq!(json(&world, "bundle/figures.json")["types"].as_array().unwrap().len(), ALL.len());
    assert_eq!(json(&world, "bundle/history.json")[0]["exit"], 0);
    world.environment.remove("ENTRA_IMPORT_STATE");
    world.run(["bundle", "job.toml", "--out", "bundle"]).exits(2).says("not empty");
}
