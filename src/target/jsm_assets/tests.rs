//! The target against the stand-in: the suite of all targets in both flavours, and the traps of this one.

use std::sync::Arc;
use std::time::Duration;

use jsm_sim::{Attribute, DefaultType, Object, Options, Person, Right, Sim, Store, Stored, Totals};
use tokio::runtime::Handle;
use tokio::task::block_in_place;

use super::*;
use crate::clock::Clock;
use crate::error::Exit;
use crate::http::HttpSettings;
use crate::job::{JsmCredential, TokenKind};
use crate::plan::change::Action;
use crate::plan::datum::Set;
use crate::secret::SecretFrom;
use crate::target::Outcome;
use crate::target::conformance::{self, System, change, conformance, create, id, people, person};

/// A site with the types of the suite.
struct Site {
    sim: Sim,
    config: JsmConfig,
    http: Http,
}

/// A secret that is a text: printed by a program, as a password store does.
fn secret(text: &str) -> SecretFrom {
    SecretFrom::Command(vec!["printf".into(), text.into()])
}

fn config(options: &Options, base: &str) -> JsmConfig {
    let cloud = options.flavour == jsm_sim::Flavour::Cloud;
    let url: Url = base.parse().unwrap();
    JsmConfig {
        flavour: if cloud { Flavour::Cloud } else { Flavour::DataCenter },
        site: url.clone(),
        api: url.clone(),
        auth: url,
        token: TokenKind::Classic,
        cloud_id: None,
        workspace_id: None,
        schema: "People".into(),
        credential: match cloud {
            true => JsmCredential::Basic { user: jsm_sim::EMAIL.into(), password: secret(jsm_sim::TOKEN) },
            false => JsmCredential::Bearer(secret(jsm_sim::PERSONAL_TOKEN)),
        },
        ca_file: None,
        page_size: 500,
        creates_per_minute: 100_000,
        searches_per_minute: 100_000,
        others_per_minute: 100_000,
        max_in_flight: 4,
        objects_included: 50_000,
    }
}

fn store() -> Store {
    let mut store = Store::new();
    let schema = store.add_schema("People", "ENT", "");
    let ty = store.add_type(schema, "people");
    let text = || jsm_sim::Kind::Default(DefaultType::Text);
    store.add_attribute(Attribute { unique: true, ..Attribute::new(ty, "Entra ID", text()) });
    store.add_attribute(Attribute::new(ty, "Email", text()));
    store.add_attribute(Attribute { max: -1, ..Attribute::new(ty, "Groups", text()) });
    let links = store.add_type(schema, "memberships");
    let by = *store.reference_types.keys().next().unwrap();
    for end in ["Group", "Member"] {
        store.add_attribute(Attribute::new(links, end, jsm_sim::Kind::Reference { to: ty, by }));
    }
    store
}

impl Site {
    fn start(options: Options) -> Site {
        Site::with(store(), options)
    }

    fn with(store: Store, options: Options) -> Site {
        let sim = block_in_place(|| Handle::current().block_on(Sim::start(store, options.clone()))).unwrap();
        let config = config(&options, &sim.base_url());
        Site { sim, config, http: Http::new(Clock::scaled(10_000), HttpSettings::default()) }
    }

    fn target(&self) -> JsmTarget {
        JsmTarget::new(&self.config, &self.http).unwrap()
    }

    /// As another program: nothing is remembered of the last one.
    fn anew(&mut self, edit: impl FnOnce(&mut JsmConfig)) -> JsmTarget {
        edit(&mut self.config);
        self.http = Http::new(Clock::scaled(10_000), HttpSettings::default());
        self.target()
    }

    /// Adds an attribute to the people.
    fn attribute(&self, name: &str, kind: jsm_sim::Kind) {
        let mut store = self.sim.store();
        let ty = store.types.values().find(|ty| ty.name == "people").unwrap().id;
        let options = vec!["Member".to_string(), "Guest".to_string()];
        store.add_attribute(Attribute { options, ..Attribute::new(ty, name, kind) });
    }
}

impl System for Site {
    type Target = JsmTarget;

    fn open(&self) -> JsmTarget {
        self.target()
    }

    fn add_by_hand(&self, spec: &TypeSpec, values: Vec<Datum>) {
        let now = self.sim.now();
        let mut store = self.sim.store();
        let ty = store.types.values().find(|ty| ty.name == spec.name).unwrap().id;
        let stored = |attribute: &AttributeSpec, value: &Datum| {
            let texts =
                value::texts(value).unwrap().into_iter().map(|text| Stored::Text(text.into())).collect::<Vec<_>>();
            (store.attribute_named(ty, &attribute.name).unwrap().id, texts)
        };
        let held = spec.attributes.iter().zip(&values).map(|(attribute, value)| stored(attribute, value));
        let values = held.filter(|(_, texts)| !texts.is_empty()).collect();
        let id = store.objects.keys().max().unwrap_or(&10_000) + 1;
        let moment = jiff::Timestamp::now();
        store.put(Object { id, ty, values, created: moment, updated: moment }, now, Duration::ZERO);
    }
}

fn runs(test: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap().block_on(test);
}

#[test]
fn conforms_in_both_flavours_and_with_small_pages() {
    runs(async {
        conformance(|| Site::start(Options::cloud())).await;
        conformance(|| Site::start(Options { page_max: 3, totals: Totals::Absent, ..Options::cloud() })).await;
        conformance(|| Site::start(Options::data_center())).await;
        conformance(|| Site::start(Options { page_max: 3, ..Options::data_center() })).await;
    });
}

/// Reads the people, and how much of them came.
async fn read(target: &JsmTarget, spec: &TypeSpec) -> (Vec<Current>, Coverage) {
    let mut found = Vec::new();
    let coverage = target
        .read(spec, &mut |current| {
            found.push(current);
            Ok(())
        })
        .await
        .unwrap();
    (found, coverage)
}

#[test]
fn every_way_to_sign_in_works_and_a_wrong_base_names_the_other() {
    runs(async {
        let mut site = Site::start(Options::cloud());
        let sign_in = async |target: &JsmTarget| target.check(&[people()]).await;
        sign_in(&site.target()).await.unwrap();
        let scoped = JsmCredential::Basic { user: jsm_sim::EMAIL.into(), password: secret("scoped-token") };
        let wrong = site.anew(|config| config.credential = scoped);
        let error = sign_in(&wrong).await.unwrap_err();
        assert_eq!(error.exit, Exit::SignIn);
        let hint = error.hint.unwrap();
        assert!(hint.contains("/ex/jira/") && hint.contains("token = \"scoped\""), "{hint}");
        sign_in(&site.anew(|config| config.token = TokenKind::Scoped)).await.unwrap();
        let client = JsmCredential::Client { id: jsm_sim::CLIENT_ID.into(), secret: secret(jsm_sim::CLIENT_SECRET) };
        sign_in(&site.anew(|config| config.credential = client)).await.unwrap();
        let classic = JsmCredential::Basic { user: jsm_sim::EMAIL.into(), password: secret(jsm_sim::TOKEN) };
        let hint = sign_in(&site.anew(|config| config.credential = classic)).await.unwrap_err().hint.unwrap();
        assert!(hint.contains("/jsm/assets/") && hint.contains("token = \"classic\""), "{hint}");

        let mut server = Site::start(Options::data_center());
        sign_in(&server.target()).await.unwrap();
        let password = JsmCredential::Basic { user: "importer".into(), password: secret("password") };
        sign_in(&server.anew(|config| config.credential = password)).await.unwrap();
        let client = JsmCredential::Client { id: jsm_sim::CLIENT_ID.into(), secret: secret(jsm_sim::CLIENT_SECRET) };
        sign_in(&server.anew(|config| config.credential = client)).await.unwrap();
        let wrong = server.anew(|config| config.credential = JsmCredential::Bearer(secret("other")));
        assert_eq!(sign_in(&wrong).await.unwrap_err().exit, Exit::SignIn);
    });
}

#[test]
fn an_oauth_token_that_ended_is_renewed() {
    runs(async {
        let mut site = Site::start(Options::cloud());
        let target = site.anew(|config| {
            config.token = TokenKind::Scoped;
            config.credential =
                JsmCredential::Client { id: jsm_sim::CLIENT_ID.into(), secret: secret(jsm_sim::CLIENT_SECRET) };
        });
        read(&target, &people()).await;
        site.sim.advance(Duration::from_secs(4000));
        site.sim.clear_requests();
        assert!(read(&target, &people()).await.1.is_complete());
        assert_eq!(site.sim.counters()["POST oauth/token"], 1);
    });
}

#[test]
fn what_is_missing_on_the_site_is_named() {
    runs(async {
        let without = Site::start(Options { has_assets: false, ..Options::cloud() });
        let error = without.target().check(&[people()]).await.unwrap_err();
        assert!(error.to_string().contains("has no Assets"), "{error}");
        let mut site = Site::start(Options::cloud());
        let error = site.anew(|config| config.schema = "Laptops".into()).check(&[people()]).await.unwrap_err();
        assert!(
            error.to_string().contains("the account sees \"People\"") && error.to_string().contains("setup"),
            "{error}"
        );
        site.anew(|config| config.schema = "ENT".into()).check(&[people()]).await.expect("the key names it as well");
        site.sim.set_right(Right::Read);
        let error = site.target().check(&[people()]).await.unwrap_err();
        assert!(
            error.exit == Exit::SignIn && error.hint.as_ref().unwrap().contains("Object schema manager"),
            "{error}"
        );
        site.sim.set_right(Right::Write);
        site.target().check(&[people()]).await.expect("a run needs no more than this");
    });
}

/// What a change of the site makes of reading: nothing of the type, and the reason.
async fn unreadable(edit: impl FnOnce(&Sim), spec: &TypeSpec) -> String {
    let site = Site::start(Options::cloud());
    edit(&site.sim);
    let target = site.target();
    let (found, coverage) = read(&target, spec).await;
    assert!(found.is_empty() && !coverage.is_complete());
    let Outcome::Rejected { reason } =
        conformance::write(&target, spec, &[create(spec, &person(1, "Adele", &[]))]).await.remove(0)
    else {
        panic!("written")
    };
    assert!(site.sim.read_store().objects.is_empty());
    let words = coverage.gap().unwrap().to_string();
    assert_eq!(words, reason);
    let error = target.check(std::slice::from_ref(spec)).await.unwrap_err().to_string();
    assert!(error.contains(&words), "{error}");
    words
}

#[test]
fn types_and_attributes_that_do_not_fit_are_named_and_nothing_of_them_is_written() {
    runs(async {
        let attribute = |sim: &Sim, name: &str, edit: &dyn Fn(&mut Attribute)| {
            edit(sim.store().attributes.values_mut().find(|attribute| attribute.name == name).unwrap());
        };
        let renamed = unreadable(|sim| attribute(sim, "Email", &|a| a.name = "E-Mail".into()), &people()).await;
        assert!(renamed.contains("no attribute \"Email\" (is it \"E-Mail\" now?)"), "{renamed}");
        let single = unreadable(|sim| attribute(sim, "Groups", &|a| a.max = 1), &people()).await;
        assert!(single.contains("holds one value in Jira"), "{single}");
        let locked = unreadable(|sim| attribute(sim, "Email", &|a| a.editable = false), &people()).await;
        assert!(locked.contains("cannot be written"), "{locked}");
        let retyped = |sim: &Sim| {
            let to = sim.read_store().types.values().next().unwrap().id;
            attribute(sim, "Email", &|a| a.kind = jsm_sim::Kind::Reference { to, by: 1 });
        };
        let retyped = unreadable(retyped, &people()).await;
        assert!(retyped.contains("is an object reference in Jira"), "{retyped}");
        let mut referring = people();
        referring.attributes[2].reference = Some("people".into());
        let plain = unreadable(|_| {}, &referring).await;
        assert!(plain.contains("is Text in Jira, and the mapping has a reference for it"), "{plain}");
        let twins = |sim: &Sim| {
            let (ty, schema) = {
                let store = sim.read_store();
                let ty = store.types.values().find(|ty| ty.name == "people").unwrap();
                (ty.id, ty.schema)
            };
            let mut store = sim.store();
            let below = store.add_type(schema, "people");
            store.types.get_mut(&below).unwrap().parent = Some(ty);
        };
        let twins = unreadable(twins, &people()).await;
        assert!(twins.contains("has 2 object types called \"people\""), "{twins}");
        let gone = |sim: &Sim| {
            let ty = sim.read_store().types.values().find(|ty| ty.name == "people").unwrap().id;
            sim.store().remove_type(ty, Duration::ZERO, Duration::ZERO);
        };
        let gone = unreadable(gone, &people()).await;
        assert!(gone.contains("has no object type \"people\""), "{gone}");
    });
}

#[test]
fn a_page_size_that_is_refused_is_tried_smaller_and_a_count_that_does_not_fit_is_a_gap() {
    runs(async {
        for options in [Options::cloud(), Options::data_center()] {
            let site = Site::start(Options { page_refused_from: Some(100), ..options });
            let all: Vec<Change> = (0..60).map(|n| create(&people(), &person(n, "Adele", &[]))).collect();
            conformance::write(&site.target(), &people(), &all).await;
            let (found, coverage) = read(&site.target(), &people()).await;
            assert!(found.len() == 60 && coverage.is_complete());
        }
        // The count comes later than the pages: a write in between has reached it by then.
        let site = Site::start(Options { index_delay: Duration::from_secs(60), ..Options::cloud() });
        let target = site.target();
        conformance::write(&target, &people(), &[create(&people(), &person(1, "Adele", &[]))]).await;
        let mut first = true;
        let mut each = |_: Current| Ok(());
        assert!(target.read(&people(), &mut each).await.unwrap().is_complete());
        site.sim.advance(Duration::from_secs(60));
        conformance::write(&target, &people(), &[create(&people(), &person(2, "Alex", &[]))]).await;
        let mut late = |_: Current| {
            if std::mem::take(&mut first) {
                site.sim.advance(Duration::from_secs(60));
            }
            Ok(())
        };
        let coverage = target.read(&people(), &mut late).await.unwrap();
        assert!(coverage.is_complete() && read(&target, &people()).await.0.len() == 2, "read once more: {coverage:?}");
        let uncounted = "500,path=totalcount".parse().unwrap();
        site.sim.add_fault(uncounted);
        assert!(target.read(&people(), &mut each).await.is_err(), "later may be better");
    });
}

/// What a site with seven people shows while this goes wrong, three to a page.
async fn read_badly(options: &Options, fault: &str) -> (Vec<Current>, Coverage) {
    let site = Site::start(Options { page_max: 3, ..options.clone() });
    let all: Vec<Change> = (0..7).map(|n| create(&people(), &person(n, "Adele", &["VPN", "Staff"]))).collect();
    conformance::write(&site.target(), &people(), &all).await;
    if !fault.is_empty() {
        site.sim.add_fault(fault.parse().unwrap());
    }
    let (mut found, coverage) = read(&site.target(), &people()).await;
    found.sort_by(|a, b| a.id.cmp(&b.id));
    (found, coverage)
}

#[test]
fn pages_that_show_too_little_too_much_or_oddly_are_read_whole_or_told() {
    runs(async {
        for options in [Options::cloud(), Options::data_center()] {
            let whole = read_badly(&options, "").await;
            assert!(whole.0.len() == 7 && whole.1.is_complete());
            for harmless in ["twice,path=aql,nth=1", "odd", "short,path=aql,nth=2"] {
                assert_eq!(read_badly(&options, harmless).await, whole, "{harmless}");
            }
            let (found, coverage) = read_badly(&options, "bare,path=aql").await;
            assert!(found.iter().flat_map(|current| &current.values).all(|value| !value.is_known()), "{found:?}");
            let words = coverage.gap().unwrap().to_string();
            assert!(words.contains("came without their attributes"), "{words}");
        }
        // Who goes on by what came loses nothing, who turns numbered pages does.
        assert_eq!(read_badly(&Options::cloud(), "short,path=aql").await.0.len(), 7);
        let (found, coverage) = read_badly(&Options::data_center(), "short,path=aql").await;
        let words = coverage.gap().unwrap().to_string();
        assert!(found.len() == 5 && words.contains("5 of 7 objects came"), "{words}");
    });
}

#[test]
fn a_data_center_that_does_not_count_is_read_to_its_end() {
    runs(async {
        let options = Options { totals: Totals::Absent, ..Options::data_center() };
        let (found, coverage) = read_badly(&options, "").await;
        assert!(found.len() == 7 && coverage.is_complete());
        let capped = Options { totals: Totals::Capped(50), page_max: 50, ..Options::data_center() };
        let mut site = Site::start(capped);
        let all: Vec<Change> = (0..120).map(|n| create(&people(), &person(n, "Adele", &[]))).collect();
        conformance::write(&site.target(), &people(), &all).await;
        let target = site.anew(|config| config.page_size = 50);
        assert_eq!(read(&target, &people()).await.0.len(), 120, "full pages are turned, whatever is counted");
    });
}

#[test]
fn what_stands_in_front_of_a_site_does_nothing_and_is_named() {
    runs(async {
        for options in [Options::cloud(), Options::data_center()] {
            let site = Site::start(options);
            let target = site.target();
            let adele = create(&people(), &person(1, "Adele", &[]));
            let made = target.write(&people(), &adele).await;
            let Outcome::Done { target_id, .. } = made.outcome else { panic!("{made:?}") };
            let gone = Change { action: Action::Delete, target_id: Some(target_id), ..adele.clone() };
            for (fault, expected) in [("login", "page to log in"), ("redirect:/login.jsp?os_x=y", "\"/login.jsp\"")] {
                site.sim.add_fault(fault.parse().unwrap());
                for change in [&create(&people(), &person(2, "Alex", &[])), &gone] {
                    let sent = target.write(&people(), change).await;
                    assert!(
                        matches!(sent.outcome, Outcome::Uncertain { .. } | Outcome::NotAttempted { .. }),
                        "{sent:?}"
                    );
                    let lost = sent.lost.expect("nothing more is sent");
                    assert!(lost.exit == Exit::SignIn && lost.hint.as_ref().unwrap().contains(expected), "{lost}");
                }
                let error = site.target().check(&[people()]).await.unwrap_err();
                assert!(error.exit == Exit::SignIn && error.hint.as_ref().unwrap().contains(expected), "{error}");
                site.sim.clear_faults();
                assert_eq!(site.sim.read_store().objects.len(), 1, "{fault}");
            }
        }
    });
}

#[test]
fn a_create_whose_answer_is_lost_is_uncertain_and_is_found_by_its_key() {
    runs(async {
        let site = Site::start(Options { index_delay: Duration::from_secs(20), ..Options::cloud() });
        let target = site.target();
        site.sim.add_fault("cut,path=/object/create,nth=1".parse().unwrap());
        let adele = create(&people(), &person(1, "Adele", &["VPN"]));
        let sent = target.write(&people(), &adele).await;
        assert!(matches!(sent.outcome, Outcome::Uncertain { .. }) && sent.lost.is_none(), "{sent:?}");
        assert_eq!(site.sim.counters()["POST object/create"], 1, "it is not sent twice");
        assert_eq!(target.look_up(&people(), &adele).await.unwrap(), [], "not in the index yet");
        site.sim.advance(Duration::from_secs(20));
        let found = target.look_up(&people(), &adele).await.unwrap();
        assert_eq!(found[0].values, person(1, "Adele", &["VPN"]));
        let again = target.write(&people(), &adele).await;
        assert!(
            matches!(&again.outcome, Outcome::Rejected { reason } if reason.contains("\"Entra ID\": ") && reason.contains("duplicated")),
            "{again:?}"
        );
    });
}

#[test]
fn storms_are_sat_out_and_updates_and_deletes_sent_again() {
    runs(async {
        let site = Site::start(Options::cloud());
        let target = site.target();
        let spec = people();
        for fault in
            ["429:2,path=/object/create,times=3", "429:none,path=/object/create,nth=5", "503:1,method=GET,times=2"]
        {
            site.sim.add_fault(fault.parse().unwrap());
        }
        let made = conformance::write(
            &target,
            &spec,
            &(1..4).map(|n| create(&spec, &person(n, "Adele", &[]))).collect::<Vec<_>>(),
        )
        .await;
        let first = conformance::done(&made[0]).to_string();
        for fault in
            ["502,method=PUT,times=1", "cut,method=PUT,nth=2", "cut,method=DELETE,nth=1", "500,method=DELETE,nth=2"]
        {
            site.sim.add_fault(fault.parse().unwrap());
        }
        let name = [("Name", Datum::text("Adele Smith"))];
        conformance::done(
            &conformance::write(&target, &spec, &[change(&spec, Action::Update, Some(&first), &name)]).await[0],
        );
        conformance::done(
            &conformance::write(&target, &spec, &[change(&spec, Action::Delete, Some(&first), &[])]).await[0],
        );
        assert_eq!(site.sim.read_store().objects.len(), 2);
    });
}

#[test]
fn rights_that_are_lost_on_the_way_stop_the_run_and_one_refusal_does_not() {
    runs(async {
        let site = Site::start(Options { objects_max: Some(2), ..Options::cloud() });
        let (target, spec) = (site.target(), people());
        let send = async |n: u32| target.write(&spec, &create(&spec, &person(n, "Adele", &[]))).await;
        for n in [1, 2] {
            assert!(matches!(send(n).await.outcome, Outcome::Done { .. }));
        }
        let full = send(3).await;
        assert!(
            matches!(&full.outcome, Outcome::NotAttempted { reason } if reason.contains("object limit"))
                && full.lost.is_none(),
            "no fault of the record: it is not kept back another night"
        );
        site.sim.clear_requests();
        assert!(matches!(&send(4).await.outcome, Outcome::NotAttempted { reason } if reason.contains("not sent")));
        assert_eq!(site.sim.writes(), 0, "every further create would be refused as well");
        site.sim.set_right(Right::Read);
        let one = site.sim.read_store().objects.keys().next().unwrap().to_string();
        let sent = target.write(&spec, &change(&spec, Action::Update, Some(&one), &[("Name", Datum::text("x"))])).await;
        assert!(matches!(sent.outcome, Outcome::NotAttempted { .. }));
        assert_eq!(sent.lost.unwrap().exit, Exit::SignIn);
        site.sim.set_right(Right::Write);
        let gone =
            target.write(&spec, &change(&spec, Action::Update, Some("999999"), &[("Name", Datum::text("x"))])).await;
        assert!(
            matches!(&gone.outcome, Outcome::Rejected { reason } if reason.contains("someone deleted it"))
                && gone.lost.is_none()
        );
    });
}

#[test]
fn every_kind_of_value_reads_back_as_promised() {
    runs(async {
        for options in [Options::cloud(), Options::data_center()] {
            let site = Site::start(options);
            let simple = jsm_sim::Kind::Default;
            let kinds = [
                ("Age", simple(DefaultType::Integer), "42"),
                ("Size", simple(DefaultType::Double), "3"),
                ("Enabled", simple(DefaultType::Boolean), "true"),
                ("Born", simple(DefaultType::Date), "2024-02-29"),
                ("Seen", simple(DefaultType::DateTime), "2024-01-01T06:07:08Z"),
                ("Page", simple(DefaultType::Url), "https://contoso.com/adele"),
                ("Mail", simple(DefaultType::Email), "Adele@contoso.com"),
                ("Notes", simple(DefaultType::Textarea), "two\nlines"),
                ("Type", simple(DefaultType::Select), "Guest"),
                ("Address", simple(DefaultType::IpAddress), "10.0.0.1"),
                ("Status", jsm_sim::Kind::Status(Vec::new()), "Active"),
                ("Team", jsm_sim::Kind::Group, "staff"),
            ];
            site.sim.store().groups.push("staff".into());
            let mut spec = people();
            let mut values = person(1, "Adele", &[]);
            for (name, kind, text) in kinds {
                site.attribute(name, kind);
                spec.attributes.push(AttributeSpec { name: name.into(), ..AttributeSpec::default() });
                values.push(Datum::text(text));
            }
            let target = site.target();
            let made = conformance::write(&target, &spec, &[create(&spec, &values)]).await;
            let called = conformance::done(&made[0]).to_string();
            let (found, _) = read(&site.target(), &spec).await;
            assert_eq!(found[0].values, values);
            let cleared: Vec<(&str, Datum)> =
                spec.attributes[4..].iter().map(|attribute| (attribute.name.as_str(), Datum::Empty)).collect();
            conformance::write(&target, &spec, &[change(&spec, Action::Update, Some(&called), &cleared)]).await;
            let (found, _) = read(&site.target(), &spec).await;
            assert!(found[0].values[4..].iter().all(Datum::is_empty), "{found:?}");
            let no_status = change(&spec, Action::Update, Some(&called), &[("Status", Datum::text("Lost"))]);
            let refused = target.write(&spec, &no_status).await.outcome;
            assert!(
                matches!(&refused, Outcome::Rejected { reason } if reason.contains("Jira has no status \"Lost\"")),
                "{refused:?}"
            );
        }
    });
}

#[test]
fn people_are_looked_up_once_and_who_is_unknown_stays_empty() {
    runs(async {
        for options in [Options::cloud(), Options::data_center()] {
            let site = Site::start(options);
            site.attribute("Account", jsm_sim::Kind::User);
            let known = |account: &str, name: &str, email: Option<&str>| Person {
                account: account.into(),
                name: name.into(),
                email: email.map(str::to_string),
            };
            site.sim.store().people = vec![
                known("a1", "Adele", Some("adele@contoso.com")),
                known("a2", "adele@contoso.com.au", Some("adele@contoso.com.au")),
                known("a3", "hidden@contoso.com", None),
            ];
            let mut spec = people();
            spec.attributes.push(AttributeSpec { name: "Account".into(), ..AttributeSpec::default() });
            let target = site.target();
            let mails = ["Adele@contoso.com", "hidden@contoso.com", "nobody@contoso.com", "Adele@contoso.com", "a2"];
            let all: Vec<Change> = (0..)
                .zip(mails)
                .map(|(n, mail)| {
                    let mut values = person(n, "Adele", &[]);
                    values.push(Datum::text(mail));
                    create(&spec, &values)
                })
                .collect();
            let outcomes = conformance::write(&target, &spec, &all).await;
            let (mut found, _) = read(&site.target(), &spec).await;
            found.sort_by(|a, b| a.values[0].cmp(&b.values[0]));
            let accounts: Vec<Datum> = found.iter().map(|current| current.values[4].clone()).collect();
            let expected = ["a1", "a3", "", "a1", "a2"].map(Datum::text);
            assert_eq!(accounts, expected);
            for (outcome, expected) in outcomes.iter().zip(expected) {
                let Outcome::Done { read_back, .. } = outcome else { panic!("{outcome:?}") };
                assert_eq!(read_back[4].1, expected, "the ledger learns what stands there");
            }
            let searches: u64 =
                site.sim.counters().iter().filter(|(name, _)| name.ends_with("user/search")).map(|(_, n)| n).sum();
            assert_eq!(searches, 3, "each once");
        }
    });
}

#[test]
fn objects_without_a_label_of_their_own_get_the_records_name() {
    runs(async {
        let site = Site::start(Options::cloud());
        let spec =
            TypeSpec { attributes: people().attributes.into_iter().filter(|a| a.name != "Name").collect(), ..people() };
        let made = create(&spec, &[Datum::text(id(1)), Datum::Empty, Datum::Set(Set::default())]);
        conformance::done(&conformance::write(&site.target(), &spec, &[made]).await[0]);
        let store = site.sim.read_store();
        assert_eq!(store.label_of(store.objects.values().next().unwrap()), "Adele Vance");
    });
}

#[test]
fn no_more_is_under_way_than_the_job_allows_and_each_class_keeps_its_pace() {
    runs(async {
        let mut site = Site::start(Options {
            creates_per_minute: Some(600),
            time_factor: 10_000.0,
            latency: Duration::from_millis(2),
            ..Options::cloud()
        });
        let target = Arc::new(site.anew(|config| {
            config.creates_per_minute = 590;
            config.max_in_flight = 4;
        }));
        let spec = people();
        target.prepare(std::slice::from_ref(&spec)).await.unwrap();
        site.sim.clear_requests();
        let changes: Vec<Change> = (0..80).map(|n| create(&spec, &person(n, "Adele", &[]))).collect();
        let sent = futures::future::join_all(changes.iter().map(|change| target.write(&spec, change))).await;
        assert!(sent.iter().all(|sent| matches!(sent.outcome, Outcome::Done { .. })));
        assert!(site.sim.peak_in_flight() <= 4, "{}", site.sim.peak_in_flight());
        assert!(site.sim.requests().iter().all(|request| request.status != 429));
    });
}

#[test]
fn a_data_center_of_before_assets_10_is_found_by_its_older_names() {
    runs(async {
        let site = Site::start(Options { is_insight: true, page_max: 3, ..Options::data_center() });
        let spec = people();
        let all: Vec<Change> = (0..7).map(|n| create(&spec, &person(n, "Adele", &["VPN"]))).collect();
        conformance::write(&site.target(), &spec, &all).await.iter().for_each(|outcome| {
            conformance::done(outcome);
        });
        let (found, coverage) = read(&site.target(), &spec).await;
        assert!(found.len() == 7 && coverage.is_complete());
        assert!(site.sim.counters().contains_key("GET iql/objects"), "{:?}", site.sim.counters());
        // Neither of the two is there: the address is wrong.
        let mut wrong = Site::start(Options::data_center());
        let target = wrong.anew(|config| config.site = config.site.join("jira/").unwrap());
        let error = target.check(&[spec]).await.unwrap_err();
        let hint = error.hint.clone().unwrap_or_default();
        assert!(hint.contains("/rest/assets/1.0") && hint.contains("/rest/insight/1.0"), "{error} {hint}");
    });
}

#[test]
fn a_site_that_is_nearly_full_is_told_before_it_costs() {
    runs(async {
        for (included, told) in [(10, true), (100, false)] {
            let mut site = Site::start(Options::cloud());
            let spec = people();
            let all: Vec<Change> = (0..10).map(|n| create(&spec, &person(n, "Adele", &[]))).collect();
            conformance::write(&site.target(), &spec, &all).await;
            let remarks = site.anew(|config| config.objects_included = included).check(&[spec]).await.unwrap();
            let words = "the site holds 10 objects, and its plan includes 10";
            assert_eq!(remarks.iter().any(|remark| remark.words == words), told, "{remarks:?}");
            // Once for all creates of a run.
            assert_eq!(site.sim.counters()["GET usage"], 2);
        }
        let server = Site::start(Options::data_center());
        server.target().check(&[people()]).await.unwrap();
        assert_eq!(server.sim.counters().get("GET usage"), None, "nobody bills a Data Center by the object");
    });
}

#[test]
fn a_limit_that_is_told_is_kept_before_anything_is_refused() {
    runs(async {
        for options in [Options::cloud(), Options::data_center()] {
            // A minute passes in half a second; the client believes that it may send a hundred times as much.
            let site = Site::start(Options {
                others_per_minute: Some(60),
                time_factor: 120.0,
                latency: Duration::from_millis(2),
                ..options.clone()
            });
            let http = Http::new(Clock::scaled(120), HttpSettings::default());
            let target = JsmTarget::new(&JsmConfig { others_per_minute: 6_000, ..site.config.clone() }, &http).unwrap();
            let spec = people();
            let made = conformance::write(&target, &spec, &[create(&spec, &person(1, "Adele", &[]))]).await;
            let called = conformance::done(&made[0]).to_string();
            let change = change(&spec, Action::Update, Some(&called), &[("Name", Datum::text("Alex"))]);
            for _ in 0..100 {
                conformance::done(&target.write(&spec, &change).await.outcome);
            }
            let refused = site.sim.requests().iter().filter(|request| request.status == 429).count();
            assert_eq!(refused, 0, "{:?}", options.flavour);
        }
    });
}

/// A schema as another importer left it, with a user that it made and one that a person did.
fn foreign() -> Store {
    use jsm_sim::Kind as K;
    let mut store = Store::new();
    let schema = store.add_schema("People", "PPL", "");
    let (base, users) = (store.add_type(schema, "Directory"), store.add_type(schema, "Azure AD Users"));
    let (groups, sites) = (store.add_type(schema, "Security Groups"), store.add_type(schema, "Site"));
    let laptops = store.add_type(schema, "Printer");
    store.types.get_mut(&base).unwrap().is_abstract = true;
    let by = *store.reference_types.keys().next().unwrap();
    let simple = K::Default;
    let text = || simple(DefaultType::Text);
    let mut add = |owner, name: &str, kind, edit: &dyn Fn(&mut Attribute)| {
        let mut attribute = Attribute::new(owner, name, kind);
        edit(&mut attribute);
        store.add_attribute(attribute);
    };
    add(users, "AAD Object ID", text(), &|a| a.unique = true);
    add(users, "UPN", text(), &|_| {});
    add(users, "E-Mail", simple(DefaultType::Email), &|_| {});
    add(users, "Employee ID", simple(DefaultType::Integer), &|_| {});
    add(users, "Job \"Title\"", text(), &|_| {});
    add(users, "Active", simple(DefaultType::Select), &|a| a.options = vec!["Yes".into(), "No".into()]);
    add(users, "Department", simple(DefaultType::Select), &|a| a.options = vec!["Sales".into(), "IT".into()]);
    add(users, "Groups", K::Reference { to: groups, by }, &|a| a.max = -1);
    add(users, "Manager", K::Reference { to: users, by }, &|_| {});
    add(users, "Office", K::Reference { to: sites, by }, &|_| {});
    add(users, "Jira User", K::User, &|_| {});
    add(users, "Status", K::Status(Vec::new()), &|_| {});
    add(users, "Badge Colour", text(), &|a| a.min = 1);
    add(groups, "Group ID", text(), &|_| {});
    add(groups, "Members", K::Reference { to: users, by }, &|a| a.max = -1);
    add(groups, "Parent", K::Reference { to: groups, by }, &|_| {});
    add(laptops, "Serial Number", text(), &|_| {});
    store
}

#[test]
fn a_schema_that_is_there_is_followed_as_far_as_its_names_go() {
    runs(async {
        for options in [Options::cloud(), Options::data_center()] {
            let site = Site::with(foreign(), options);
            let proposal = propose::propose(&site.config, &site.http).await.unwrap();
            let names: Vec<(&str, &str)> =
                proposal.mappings.iter().map(|mapping| (mapping.name, mapping.ty.as_str())).collect();
            assert_eq!(names, [("group", "Security Groups"), ("user", "Azure AD Users")]);
            let others: Vec<&str> = proposal.others.iter().map(|(name, _)| name.as_str()).collect();
            assert_eq!(others, ["Directory", "Site", "Printer"]);
            let [group, user] = proposal.mappings.as_slice() else { panic!("{proposal:?}") };
            assert_eq!((user.key.as_deref(), group.key.as_deref()), (Some("AAD Object ID"), None));
            assert_eq!(user.adopt, ["UPN", "E-Mail"]);
            assert_eq!(group.adopt, ["Name"], "no other way to tell groups that are there");
            for line in [
                "\"AAD Object ID\" = \"id\"",
                "\"UPN\"           = \"userPrincipalName\"",
                "\"Active\"        = { value = \"case(accountEnabled eq true: 'Yes', accountEnabled eq false: 'No')\"",
                "{ value = \"memberOf/id\", ref = \"group\" }",
                "{ value = \"manager/id\", ref = \"user\" }",
                "{ value = \"officeLocation\", find = { type = \"Site\", by = \"Name\" } }",
                "{ value = \"coalesce(mail, userPrincipalName)\", type = \"user\" }",
                "{ const = \"Active\", write = \"on-create\", type = \"status\", options = [\"Active\", \"Closed\"] }",
                "#   \"Employee ID\" (Integer: employeeId is text, which does not fit)",
                "#   \"Department\" (Select: department may have values that Jira refuses; the options are \"Sales\", \"IT\")",
                "#   \"Badge Colour\" (Text: Jira requires it, so no object can be made without it; nothing in Entra ID is called so)",
            ] {
                assert!(user.text.contains(line), "{line}\n{}", user.text);
            }
            assert!(user.text.contains("\"Job \\\"Title\\\"\" = \"jobTitle\""), "{}", user.text);
            for line in [
                "key    = { ledger = true }",
                "{ value = \"first(sort(memberOf/id))\", ref = \"group\" }",
                "#   \"Members\" (Object reference: may be thousands",
                "#   \"Group ID\" (Text: if it is to hold Entra's id, write \\\"id\\\" and make it the key)",
            ] {
                let line = line.replace("\\\"", "\"");
                assert!(group.text.contains(&line), "{line}\n{}", group.text);
            }
            assert_eq!(user.flag, Some(("Status".into(), "Closed".into())));
        }
    });
}

#[test]
fn what_stands_in_an_attribute_tells_whether_it_holds_ids_of_entra() {
    runs(async {
        for (held, key) in [("00000000-0000-4000-8000-000000000101", Some("Group ID")), ("grp-17", None)] {
            let site = Site::with(foreign(), Options::cloud());
            let now = site.sim.now();
            {
                let mut store = site.sim.store();
                let ty = store.types.values().find(|ty| ty.name == "Security Groups").unwrap().id;
                let attribute = store.attribute_named(ty, "Group ID").unwrap().id;
                let moment = jiff::Timestamp::now();
                let values = [(attribute, vec![Stored::Text(held.into())])].into();
                store.put(Object { id: 9_000, ty, values, created: moment, updated: moment }, now, Duration::ZERO);
            }
            let proposal = propose::propose(&site.config, &site.http).await.unwrap();
            assert_eq!(proposal.mappings[0].key.as_deref(), key, "{held}");
        }
    });
}

#[test]
fn no_name_breaks_the_files_that_are_proposed() {
    runs(async {
        let mut store = Store::new();
        let schema = store.add_schema("Pe\"op\\le\n# [target]", "PPL", "");
        let ty = store.add_type(schema, "Us\"er\n");
        for name in [
            "E\"mail\\",
            "U\nP\tN",
            "Job = 'Title' #",
            "[[Mobile]]\u{2028}",
            "Given\u{7f}Name\u{0}",
            "Naïve \"\"\" '''",
            "\u{1F600}\r\n[attributes]",
        ] {
            store.add_attribute(Attribute::new(ty, name, jsm_sim::Kind::Default(DefaultType::Text)));
        }
        let mut site = Site::with(store, Options::cloud());
        site.anew(|config| config.schema = "PPL".into());
        let proposal = propose::propose(&site.config, &site.http).await.unwrap();
        let [user] = proposal.mappings.as_slice() else { panic!("{proposal:?}") };
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("user.toml");
        std::fs::write(&path, &user.text).unwrap();
        let read = crate::mapping::test_file(path.to_str().unwrap(), false);
        let (mapping, _) = read.unwrap_or_else(|error| panic!("{error}\n{}", user.text));
        assert_eq!(mapping.target, "Us\"er\n");
        let names: Vec<&str> = mapping.attributes.iter().map(|attribute| attribute.name.as_str()).collect();
        assert_eq!(
            names,
            ["Name", "E\"mail\\", "U\nP\tN", "Job = 'Title' #", "[[Mobile]]\u{2028}", "Given\u{7f}Name\u{0}"]
        );
        assert_eq!(user.left.len(), 2);
    });
}
