//! The page in headless Chromium: `make test-browser`. Drives it over a pipe, with hostile data, and looks at what a
//! person would see. Screenshots go to `target/report/`.
//!
//! Tests here are ignored by `make test`, which needs no browser.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use base64::Engine as _;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::write;
use crate::plan::Plan;
use crate::plan::change::{Action, AttributeChange, Cause};
use crate::plan::datum::Datum;
use crate::plan::policy::CauseKind;
use crate::record::{Guid, Key};
use crate::report::applied::Applied;
use crate::report::{View, examples};

const CHANGES: usize = 50_000;

/// What a text may try on a page: tags, comments, the ends of elements, attributes, templates, directions.
const HOSTILE: [&str; 6] = [
    "</script><script>window.pwned = 1</script>",
    "<img src=x onerror=window.pwned=1>\"'><svg onload=window.pwned=1>",
    "<!--<script>\u{2028}window.pwned=1//",
    "${window.pwned=1}{{constructor.constructor('window.pwned=1')()}}",
    "javascript:window.pwned=1",
    examples::HOSTILE,
];

/// A browser with one page.
struct Browser {
    process: Child,
    to: File,
    from: BufReader<File>,
    session: Option<String>,
    sent: u64,
    /// What the page did of its own: requests, exceptions, dialogs.
    events: Vec<Value>,
    _folder: TempDir,
}

impl Browser {
    fn start() -> Browser {
        let folder = tempfile::tempdir().unwrap();
        let pipe = |name: &str| -> PathBuf {
            let path = folder.path().join(name);
            assert!(Command::new("mkfifo").arg(&path).status().unwrap().success());
            path
        };
        let (to, from) = (pipe("to"), pipe("from"));
        let name = std::env::var("CHROMIUM").unwrap_or_else(|_| "chromium".into());
        // The protocol speaks over descriptors 3 and 4, which a shell can open and we cannot.
        let mut command = Command::new("/bin/sh");
        command.args(["-c", "to=$1 from=$2; shift 2; exec \"$@\" 3<\"$to\" 4>\"$from\"", "sh"]).args([&to, &from]);
        command.args([&name, "--headless=new", "--remote-debugging-pipe", "--no-first-run", "--disable-gpu"]);
        command.args(["--disable-dev-shm-usage", "--hide-scrollbars", "--disable-background-networking"]);
        // Its sandbox needs rights that root in a container has not.
        command.args(["--no-sandbox", &format!("--user-data-dir={}", folder.path().join("profile").display())]);
        let process = command.stdin(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let to = File::options().write(true).open(to).unwrap();
        let from = BufReader::new(File::open(from).unwrap());
        let mut browser = Browser { process, to, from, session: None, sent: 0, events: Vec::new(), _folder: folder };
        let target = browser.ask("Target.createTarget", json!({ "url": "about:blank" }));
        let attach = json!({ "targetId": target["targetId"], "flatten": true });
        browser.session = browser.ask("Target.attachToTarget", attach)["sessionId"].as_str().map(str::to_owned);
        for domain in ["Page", "Runtime", "Network", "Log"] {
            browser.ask(&format!("{domain}.enable"), json!({}));
        }
        browser
    }

    fn ask(&mut self, method: &str, params: Value) -> Value {
        self.sent += 1;
        let mut message = json!({ "id": self.sent, "method": method, "params": params });
        if let Some(session) = &self.session {
            message["sessionId"] = session.as_str().into();
        }
        self.to.write_all(format!("{message}\0").as_bytes()).unwrap();
        loop {
            let message = self.message();
            if message["id"] == self.sent {
                assert!(message["error"].is_null(), "{method}: {message}");
                return message["result"].clone();
            }
            self.events.push(message);
        }
    }

    fn message(&mut self) -> Value {
        let mut bytes = Vec::new();
        self.from.read_until(0, &mut bytes).unwrap();
        assert_eq!(bytes.pop(), Some(0), "the browser went away; is Chromium installed?");
        serde_json::from_slice(&bytes).unwrap()
    }

    /// Opens a report in a window of that size, and waits until it shows itself.
    fn open(&mut self, path: &Path, (width, height): (u32, u32), scheme: &str) {
        self.events.clear();
        let metrics = json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600 });
        self.ask("Emulation.setDeviceMetricsOverride", metrics);
        let scheme = json!([{ "name": "prefers-color-scheme", "value": scheme }]);
        self.ask("Emulation.setEmulatedMedia", json!({ "features": scheme }));
        self.ask("Page.navigate", json!({ "url": "about:blank" }));
        self.ask("Page.navigate", json!({ "url": format!("file://{}", path.display()) }));
        self.until("document.documentElement?.dataset.ready === 'yes'");
    }

    /// Looks again and again, for as long as a slow machine may take.
    fn until(&mut self, expression: &str) {
        let began = Instant::now();
        while self.evaluate(expression) != true {
            assert!(began.elapsed() < Duration::from_secs(60), "never true: {expression}\n{:?}", self.events);
        }
    }

    fn evaluate(&mut self, expression: &str) -> Value {
        let asked = json!({ "expression": expression, "returnByValue": true, "awaitPromise": true });
        let answer = self.ask("Runtime.evaluate", asked);
        assert!(answer["exceptionDetails"].is_null(), "{expression}: {answer}");
        answer["result"]["value"].clone()
    }

    fn number(&mut self, expression: &str) -> f64 {
        self.evaluate(expression).as_f64().unwrap_or_else(|| panic!("no number: {expression}"))
    }

    fn text(&mut self, selector: &str) -> String {
        let expression = format!("document.querySelector({selector:?}).innerText");
        self.evaluate(&expression).as_str().unwrap_or_default().to_owned()
    }

    /// Types as a person does: focuses, sets, tells.
    fn search(&mut self, words: &str) {
        self.evaluate(&format!(
            "(() => {{ const search = document.getElementById('search'); search.value = {}; \
             search.dispatchEvent(new Event('input')); }})()",
            json!(words)
        ));
    }

    fn choose(&mut self, name: &str, label: &str) {
        let chosen = self.evaluate(&format!(
            "(() => {{ const select = document.getElementById('by-{name}'); \
             const option = [...select.options].find((option) => option.label.startsWith({label:?})); if (!option) return false; \
             select.value = option.value; select.dispatchEvent(new Event('change')); return true; }})()"
        ));
        assert_eq!(chosen, true, "{name} offers {label}");
    }

    fn click(&mut self, selector: &str) {
        self.evaluate(&format!("document.querySelector({selector:?}).click()"));
    }

    fn press(&mut self, key: &str) {
        for kind in ["keyDown", "keyUp"] {
            self.ask("Input.dispatchKeyEvent", json!({ "type": kind, "key": key, "text": key }));
        }
    }

    fn screenshot(&mut self, name: &str) {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/report");
        fs::create_dir_all(&folder).unwrap();
        let shot = self.ask("Page.captureScreenshot", json!({ "format": "png" }));
        let bytes = base64::engine::general_purpose::STANDARD.decode(shot["data"].as_str().unwrap()).unwrap();
        let path = folder.join(format!("{name}.png"));
        fs::write(&path, bytes).unwrap();
        println!("{}", path.display());
    }

    /// The page asked for nothing but itself, threw nothing and opened nothing.
    fn assert_quiet(&mut self) {
        assert_eq!(self.evaluate("typeof window.pwned"), "undefined");
        for event in &self.events {
            let method = event["method"].as_str().unwrap_or_default();
            let url = event["params"]["request"]["url"].as_str().unwrap_or_default();
            let foreign = method == "Network.requestWillBeSent" && !url.starts_with("file://");
            let bad = ["Runtime.exceptionThrown", "Page.javascriptDialogOpening", "Log.entryAdded"].contains(&method);
            assert!(!foreign && !bad, "{event}");
        }
        let foreign = "document.querySelectorAll('img,iframe,object,embed,form,link,base,video,audio').length";
        assert_eq!(self.evaluate(foreign), 0);
        assert_eq!(self.evaluate("document.scripts.length"), 2, "the data and the script");
        // What an option or a label says may look like anything; what leads somewhere may not.
        let handlers = "[...document.querySelectorAll('*')].flatMap((e) => [...e.attributes])\
                        .filter((a) => a.name.startsWith('on') || ['href', 'src', 'action', 'formaction', 'srcdoc']\
                        .includes(a.name) && a.value !== '#records').length";
        assert_eq!(self.evaluate(handlers), 0);
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

const WIDE: (u32, u32) = (1280, 900);
const PHONE: (u32, u32) = (390, 844);

fn page(folder: &TempDir, name: &str, plan: &Plan, applied: Option<&Applied<'_>>) -> PathBuf {
    let path = folder.path().join(name);
    let view = View { job_file: "jobs/contoso.toml".into(), ..View::default() };
    write(plan, applied, &view, &mut File::create(&path).unwrap()).unwrap();
    path
}

#[test]
#[ignore = "needs Chromium: make test-browser"]
fn nothing_from_the_data_becomes_markup_or_script() {
    let folder = tempfile::tempdir().unwrap();
    let mut browser = Browser::start();
    for text in HOSTILE {
        let plan = examples::hostile(text);
        let ended = examples::applied(&plan, text);
        let applied = Applied::new(&plan, &ended, examples::effort());
        let page = page(&folder, "hostile.html", &plan, Some(&applied));
        browser.open(&page, WIDE, "light");
        browser.assert_quiet();
        browser.click(".tab:nth-child(2)");
        assert_eq!(browser.number("document.querySelectorAll('.record.note').length"), 1.0);
        // What is in the address is as little trusted.
        browser.evaluate(&format!(
            "location.hash = {}",
            json!(format!("is=<b>,create&type={text}&cause={text}&q={text}"))
        ));
        browser.until("document.querySelectorAll('.record, .none').length > 0");
        browser.assert_quiet();
        let shown = browser.text("body");
        assert!(!shown.contains(['\u{202e}', '\u{1b}', '\u{2028}']), "shown as escapes");
    }
}

#[test]
#[ignore = "needs Chromium: make test-browser"]
fn records_are_found_and_filtered_by_keyboard_and_mouse() {
    let folder = tempfile::tempdir().unwrap();
    let plan = examples::everything();
    let path = page(&folder, "plan.html", &plan, None);
    let mut browser = Browser::start();
    browser.open(&path, WIDE, "light");
    assert_eq!(browser.text("h1"), "contoso");
    assert_eq!(browser.text(".verdict"), "Held");
    assert!(
        browser.text(".command").contains(&format!("approve jobs/contoso.toml {} --limit retires", plan.header.id))
    );
    assert_eq!(browser.number("document.querySelectorAll('.record').length"), 23.0, "every change but what settles");
    browser.press("/");
    assert_eq!(browser.evaluate("document.activeElement.id"), "search");
    for (words, found) in
        [("diego", "1 of 23 records"), ("BERGEN oslo", "1 of 23 records"), ("nobody", "0 of 23 records")]
    {
        browser.search(words);
        browser.until(&format!("document.querySelector('.found').textContent === {found:?}"));
    }
    assert_eq!(browser.text(".none"), "No record passes these filters.");
    browser.search("");
    browser.until("document.querySelector('.found').textContent === '23 records'");
    browser.click(".chip.delete");
    assert_eq!(browser.text(".found"), "16 of 23 records");
    browser.choose("cause", "Gone from Entra ID");
    assert_eq!(browser.text(".found"), "1 of 23 records");
    assert_eq!(browser.text(".record h3"), "Johanna Lorenz");
    assert!(browser.evaluate("location.hash").as_str().unwrap().contains("is=delete"));
    browser.click(".status .link");
    browser.choose("attribute", "Department");
    assert_eq!(browser.text(".record h3"), "Grady Archie");
    assert_eq!(browser.text(".record .old"), "Sales");
    assert_eq!(browser.text(".record .now"), "Engineering");
    browser.click(".status .link");
    browser.choose("type", "Membership");
    assert_eq!(browser.text(".found"), "16 of 23 records");
    browser.click(".tab:nth-child(2)");
    browser.click(".status .link");
    browser.choose("attribute", "Office");
    assert_eq!(browser.text(".found"), "7 of 18 records");
    browser.assert_quiet();
    for landmark in ["main", "h1", "h2", "footer", "[role=status]", "label[for=search]"] {
        assert!(browser.number(&format!("document.querySelectorAll({landmark:?}).length")) >= 1.0, "{landmark}");
    }
    let nameless = "[...document.querySelectorAll('input,select')].filter((e) => !e.labels.length).length";
    assert_eq!(browser.evaluate(nameless), 0);
}

#[test]
#[ignore = "needs Chromium: make test-browser"]
fn it_looks_right_in_light_dark_and_on_a_phone() {
    let folder = tempfile::tempdir().unwrap();
    let plan = examples::everything();
    let ended = examples::applied(&plan, "the field Name may not be empty");
    let applied = Applied::new(&plan, &ended, examples::effort());
    let held = page(&folder, "plan.html", &plan, None);
    let outcome = page(&folder, "outcome.html", &plan, Some(&applied));
    let quiet = page(&folder, "quiet.html", &examples::nothing(), None);
    let mut browser = Browser::start();
    let records = "document.getElementById('records').scrollIntoView()";
    for (name, path, size, scheme) in [
        ("plan-light", &held, WIDE, "light"),
        ("plan-dark", &held, WIDE, "dark"),
        ("plan-phone", &held, PHONE, "light"),
        ("outcome-light", &outcome, WIDE, "light"),
        ("quiet-light", &quiet, WIDE, "light"),
    ] {
        browser.open(path, size, scheme);
        browser.screenshot(name);
        browser.evaluate("location.hash = 'type=User'");
        browser.until("document.querySelector('.record, .none') && !document.querySelector('.record.create .key')?.textContent.includes('/')");
        browser.evaluate(records);
        browser.screenshot(&format!("{name}-records"));
        if name.starts_with("plan") {
            browser.click(".tab:nth-child(2)");
            browser.evaluate(records);
            browser.screenshot(&format!("{name}-notes"));
        }
        let width = browser.number("document.documentElement.scrollWidth");
        assert!(width <= f64::from(size.0), "{name} scrolls sideways: {width}");
    }
    browser.open(&held, WIDE, "dark");
    browser.ask("Emulation.setEmulatedMedia", json!({ "media": "print" }));
    browser.screenshot("plan-print");
}

/// As many changes as a large first run makes, of every action.
fn many() -> Plan {
    let people = ["Adele Vance", "Alex Wilber", "Diego Siciliani", "Grady Archie", "Isaiah Langer", "Lee Gu"];
    let departments = ["Sales", "Engineering", "Legal", "Marketing", "Research", "Operations"];
    let change = |number: usize| {
        let person = people[number % people.len()];
        let mut id = [0; 16];
        id[..8].copy_from_slice(&(number as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes());
        let action = match number % 20 {
            0..=9 => Action::Create,
            10..=16 => Action::Update,
            17 => Action::Retire,
            18 => Action::Delete,
            _ => Action::Return,
        };
        let mut change = examples::change(action, "User", 0, &format!("{person} {number}"));
        change.key = Key::Guid(Guid(id));
        let attribute = |name: &str, before: Datum, after: Datum| AttributeChange {
            name: name.into(),
            before,
            after,
            ..AttributeChange::default()
        };
        let (was, is) = (departments[number % 6], departments[(number + 1) % 6]);
        change.attributes = match action {
            Action::Create => vec![
                attribute("Name", Datum::Empty, Datum::text(format!("{person} {number}"))),
                attribute("Email", Datum::Empty, Datum::text(format!("user{number}@contoso.com"))),
                attribute("Department", Datum::Empty, Datum::text(is)),
                attribute("Groups", Datum::Empty, Datum::set(["VPN", was])),
            ],
            Action::Update => vec![
                attribute("Department", Datum::text(was), Datum::text(is)),
                attribute("Groups", Datum::set(["VPN", was]), Datum::set(["VPN", is])),
            ],
            Action::Delete => Vec::new(),
            _ => vec![attribute("Status", Datum::text("Active"), Datum::text("Left"))],
        };
        change.cause = matches!(action, Action::Retire | Action::Delete).then(|| Cause {
            kind: CauseKind::Gone,
            words: format!("deleted in Entra ID on 2026-06-{:02}", number % 28 + 1),
        });
        change
    };
    examples::of((0..CHANGES).map(change).collect())
}

/// Prints how long it takes; figures are compared by people, never asserted.
#[test]
#[ignore = "needs Chromium: make test-browser"]
fn fifty_thousand_changes_are_usable() {
    let folder = tempfile::tempdir().unwrap();
    let plan = many();
    let began = Instant::now();
    let path = page(&folder, "many.html", &plan, None);
    let bytes = fs::metadata(&path).unwrap().len();
    println!("{CHANGES} changes: written in {:?}, {:.1} MB", began.elapsed(), bytes as f64 / 1e6);
    let mut browser = Browser::start();
    let began = Instant::now();
    browser.open(&path, WIDE, "light");
    println!("  opens in {:?}", began.elapsed());
    let mut took = BTreeMap::new();
    for (name, act) in [
        ("one word", "search.value = 'diego'"),
        ("two words", "search.value = 'diego legal'"),
        ("nothing", "search.value = ''"),
    ] {
        // From the key to the next frame: what a person waits for.
        let ms = browser.number(&format!(
            "(async () => {{ const search = document.getElementById('search'); const found = document.querySelector('.found'); \
             const was = found.textContent; const began = performance.now(); {act}; search.dispatchEvent(new Event('input')); \
             while (found.textContent === was) await new Promise((go) => setTimeout(go, 5)); \
             await new Promise((go) => requestAnimationFrame(() => setTimeout(go))); return performance.now() - began; }})()"
        ));
        took.insert(name, ms);
    }
    println!("  filters by typing in {took:.0?} ms");
    browser.click(".chip.delete");
    assert_eq!(browser.text(".found"), "2,500 of 50,000 records");
    browser.choose("cause", "deleted in Entra ID on 2026-06-07");
    assert!(browser.text(".found").ends_with(" of 50,000 records"));
    browser.click(".status .link");
    let shown = browser.number("document.querySelectorAll('.record').length");
    assert!(shown < 500.0, "only what is looked at is in the page: {shown}");
    browser.evaluate("scrollTo(0, document.body.scrollHeight)");
    browser.until(&format!("document.querySelectorAll('.record').length > {shown}"));
    browser.assert_quiet();
}
