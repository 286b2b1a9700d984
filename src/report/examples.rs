//! Fixed plans, outcomes and checks that the tests of every format render.
//!
//! Between them they hold every action, every kind of note, held limits, partial sources and hostile text.

use std::collections::BTreeMap;
use std::time::Duration;

use super::applied::Effort;
use super::check::{Check, Finding, Host, Right, RightState, Verdict};
use crate::apply::{Applied, NotDone, TypeOutcome};
use crate::plan::change::{
    Action, AttributeChange, AttributeSpec, Cause, Change, Counts, Difference, Held, Leaving, Note, NoteKind, Origin,
    Row, State, TypeSpec,
};
use crate::plan::datum::{Datum, Set};
use crate::plan::policy::CauseKind;
use crate::plan::{Header, LimitCheck, LimitName, Plan, SourceSummary, TypeSummary, file};
use crate::record::{Collection, Coverage, Guid, Key, Unknown};
use crate::snapshot::{Figures, How, ReadBy, Strategy};
use crate::spill::SpillWriter;
use crate::target::Outcome;

/// What text from outside may try: an escape, a C1 control, an override of direction, line breaks, quotes, a formula.
pub const HOSTILE: &str =
    "=1+1\u{1b}[2J\u{9b}31m\u{202e}txt.exe\u{2066}\r\nerror: forged\t\"a\" -> \"b\\\u{e0041}\u{7f}";

pub fn guid(number: u8) -> Guid {
    Guid([number; 16])
}

pub fn header() -> Header {
    Header {
        format: String::new(),
        id: String::new(),
        job: "contoso".to_string(),
        job_hash: "0f0f".to_string(),
        tenant: "contoso.onmicrosoft.com".to_string(),
        target: "csv:export".to_string(),
        generation: 41,
        as_of: "2026-07-01T02:00:05Z".parse().unwrap(),
        source_as_of: "2026-07-01T02:00:00.5Z".parse().unwrap(),
        preview: None,
        undoes: None,
        first_run: false,
        sources: vec![source(Collection::Users, 6204, 4812, Coverage::Complete)],
        types: Vec::new(),
        limits: Vec::new(),
    }
}

fn source(collection: Collection, read: u64, in_scope: u64, coverage: Coverage) -> SourceSummary {
    SourceSummary {
        collection,
        coverage,
        accepted: false,
        how: How::default(),
        read,
        in_scope,
        left_out: BTreeMap::new(),
        filter: None,
    }
}

fn type_summary(name: &str, changes: &[Change], notes: &[Note]) -> TypeSummary {
    let mut counts = Counts { unchanged: 4790, ..Counts::default() };
    for change in changes.iter().filter(|change| change.ty == name) {
        *counts.changes.entry(change.action).or_default() += 1;
    }
    for note in notes.iter().filter(|note| note.ty == name) {
        *counts.notes.entry(note.kind).or_default() += 1;
    }
    TypeSummary {
        spec: TypeSpec {
            name: name.to_string(),
            attributes: vec![AttributeSpec {
                name: "Name".to_string(),
                many: false,
                reference: None,
                ..AttributeSpec::default()
            }],
            key: vec![0],
            adopt: vec![],
        },
        mappings: vec![name.to_lowercase()],
        coverage: Coverage::Complete,
        links: false,
        owned: 4800,
        there: 4812,
        counts,
    }
}

pub fn change(action: Action, ty: &str, number: u8, label: &str) -> Change {
    Change {
        action,
        ty: ty.to_string(),
        key: Key::Guid(guid(number)),
        label: label.to_string(),
        based_on: None,
        target_id: (action != Action::Create).then(|| format!("row {number}")),
        cause: None,
        attributes: Vec::new(),
        ledger: None,
    }
}

fn attribute(name: &str, before: Datum, after: Datum) -> AttributeChange {
    AttributeChange { name: name.to_string(), before, after, ..AttributeChange::default() }
}

fn cause(kind: CauseKind, words: &str) -> Option<Cause> {
    Some(Cause { kind, words: words.to_string() })
}

/// A row of the ledger with every member filled.
fn leaving_row() -> Row {
    let since = "2026-06-01T02:00:05Z".parse().unwrap();
    let left = Cause { kind: CauseKind::Gone, words: "deleted in Entra on 2026-05-31".to_string() };
    let before = BTreeMap::from([("Status".to_string(), (Datum::text("Active"), Datum::text("Left")))]);
    Row {
        mapping: "user".to_string(),
        state: State::Retired(Leaving { since, cause: left, steps_done: 1, before, paused_at: Some(since) }),
        origin: Origin::Adopted,
        target_id: "row 4".to_string(),
        label: "Diego Siciliani".to_string(),
        values: BTreeMap::from([
            ("Groups".to_string(), Held { applied: Datum::set(["VPN"]), settled: Datum::Set(Set::default()) }),
            ("Name".to_string(), Held { applied: Datum::text("Diego"), settled: Datum::Empty }),
        ]),
        missing_since: Some(since),
    }
}

fn user_changes() -> Vec<Change> {
    let mut create = change(Action::Create, "User", 1, "Adele Vance");
    create.attributes = vec![
        attribute("Name", Datum::Empty, Datum::text("Adele Vance")),
        attribute("Phone", Datum::Empty, Datum::Empty),
        attribute("Groups", Datum::Empty, Datum::set(["Sales", "VPN"])),
    ];
    let mut adopt = change(Action::Adopt, "User", 2, "Alex Wilber");
    adopt.attributes = vec![attribute("Entra ID", Datum::Empty, Datum::text(guid(2).to_string()))];
    let mut update = change(Action::Update, "User", 3, "Grady Archie");
    let doubtful = Set::new(vec!["VPN".into()], vec!["Pilots".into()], Some(Unknown::new("page 3 of groups failed")));
    update.attributes = vec![
        attribute("Department", Datum::text("Sales"), Datum::text("Engineering")),
        attribute("Phone", Datum::text("+47 22 00 00 00"), Datum::Empty),
        attribute("Groups", Datum::set(["Old", "Sales"]), Datum::set(["Sales", "VPN"])),
        attribute("Roles", Datum::set(["VPN"]), Datum::Set(doubtful)),
        attribute("Licenses", Datum::Empty, Datum::set((10..24).map(|number| format!("Product {number}")))),
        attribute("Badges", Datum::set(["Founder"]), Datum::Empty),
        AttributeChange {
            cause: Some("changed in the target".to_string()),
            ..attribute("Office", Datum::text("Oslo"), Datum::text("Bergen"))
        },
    ];
    let mut retire = change(Action::Retire, "User", 4, "Diego Siciliani");
    retire.attributes = vec![attribute("Status", Datum::text("Active"), Datum::text("Left"))];
    retire.cause = cause(CauseKind::Disabled, "accountEnabled turned false (accountEnabled eq true)");
    retire.ledger = Some(leaving_row());
    let mut back = change(Action::Return, "User", 5, "Isaiah Langer");
    back.attributes = vec![attribute("Status", Datum::text("Left"), Datum::text("Active"))];
    let mut delete = change(Action::Delete, "User", 6, "Johanna Lorenz");
    delete.cause = cause(CauseKind::Gone, "deleted in Entra ID, as deleted items show");
    let mut forget = change(Action::Forget, "User", 7, "Joni Sherman");
    forget.cause = cause(CauseKind::Out, "userType eq 'Member' turned false");
    vec![create, adopt, update, retire, back, delete, forget, change(Action::Settle, "User", 8, "Lee Gu")]
}

fn every_note() -> Vec<Note> {
    use NoteKind::*;
    let kinds = [
        Collision,
        Returner,
        Rejected,
        FilterEdit,
        DeletedInTarget,
        Kept,
        StillHolds,
        ChangedInTarget,
        Conflict,
        DiffersSinceAdoption,
        ReferenceLeftOut,
        Stranger,
    ];
    let mut notes: Vec<Note> = kinds.into_iter().map(|kind| note(kind, 20, "Lidia Holloway")).collect();
    notes.extend((21..27).map(|number| note(Conflict, number, "Lynne Robbins")));
    notes.sort_by(|a, b| (a.kind, &a.key).cmp(&(b.kind, &b.key)));
    notes
}

fn note(kind: NoteKind, number: u8, label: &str) -> Note {
    let difference = Difference {
        name: "Office".to_string(),
        desired: Datum::text("Bergen"),
        current: Datum::text("Oslo"),
        applied: Some(Datum::Empty),
        hidden: false,
    };
    Note {
        kind,
        ty: "User".to_string(),
        key: Key::Guid(guid(number)),
        label: label.to_string(),
        words: "What was found, and what a person can do about it.".to_string(),
        attribute: matches!(kind, NoteKind::Conflict).then_some(difference),
        target_id: matches!(kind, NoteKind::Returner).then(|| "4711".to_string()),
        holds: if kind == NoteKind::StillHolds { vec!["Laptop LT-1".into(), "Phone PH-9".into()] } else { Vec::new() },
    }
}

fn every_limit() -> Vec<LimitCheck> {
    let check = |limit, on: &str, count, allowed, held: bool, words: &str| LimitCheck {
        limit,
        on: on.to_string(),
        count,
        allowed,
        base: 4800,
        approved: u64::from(!held),
        held,
        words: words.to_string(),
    };
    vec![
        check(LimitName::Updates, "User", 1, 2400, false, "1 record would be updated."),
        check(LimitName::Retires, "User", 3, 1, true, "3 records would leave, more than 10 % of what the job owns."),
        check(LimitName::Retires, "run", 3, 1, true, "3 records would leave in all types together."),
        check(LimitName::Shrink, "groups", 900, 20, true, "groups lost 900 of 4,800 since the last good run."),
    ]
}

fn finished(mut header: Header, changes: &[Change], notes: Vec<Note>) -> Plan {
    let names: Vec<String> = header.types.iter().map(|ty| ty.spec.name.clone()).collect();
    let mut spill = SpillWriter::new().unwrap();
    let order = changes.iter().map(|change| {
        let ty = names.iter().position(|name| *name == change.ty).unwrap();
        (ty as u32, spill.push(change).unwrap())
    });
    let order = order.collect();
    header.format = file::FORMAT.to_string();
    let mut plan = Plan::new(header, spill.finish().unwrap(), order, notes);
    file::identify(&mut plan).unwrap();
    plan
}

/// Every action, every kind of note, limits that hold, sources with gaps.
pub fn everything() -> Plan {
    // Memberships go first here and stand second in the header, as removals may.
    let mut changes: Vec<Change> = Vec::new();
    let link = Key::Pair(guid(1), guid(2));
    let label = "Adele Vance in VPN";
    changes.push(Change { key: link, ..change(Action::Create, "Membership", 0, label) });
    changes.extend((30..45).map(|number| change(Action::Delete, "Membership", number, &format!("Member {number}"))));
    changes.extend(user_changes());
    let notes = every_note();
    let mut header = header();
    header.sources[0].left_out =
        BTreeMap::from([("accountEnabled eq true".to_string(), 980), ("userType eq 'Member'".to_string(), 412)]);
    header.sources.push(source(Collection::Groups, 300, 300, Coverage::partial("page 3 failed with status 503")));
    let hidden = Coverage::partial("the members of 2 groups are hidden");
    header.sources.push(SourceSummary { accepted: true, ..source(Collection::Memberships, 9000, 9000, hidden) });
    header.types = vec![type_summary("User", &changes, &notes), type_summary("Membership", &changes, &notes)];
    let users = &mut header.types[0];
    users.coverage = Coverage::partial("the file ends in the middle of a row");
    users.counts.declined = 2;
    users.counts.not_ours = 1250;
    users.counts.unknown = BTreeMap::from([("page 3 of groups failed".to_string(), 7)]);
    users.counts.elements_removed = 1;
    header.limits = every_limit();
    finished(header, &changes, notes)
}

/// These changes, all of one type, and no more.
pub fn of(changes: Vec<Change>) -> Plan {
    let mut header = header();
    header.types = vec![type_summary("User", &changes, &[])];
    finished(header, &changes, Vec::new())
}

/// A quiet night: all is as it should be.
pub fn nothing() -> Plan {
    let mut header = header();
    header.types = vec![type_summary("User", &[], &[])];
    finished(header, &[], Vec::new())
}

/// The same text in every place where text from outside can stand.
pub fn hostile(text: &str) -> Plan {
    let mut change = change(Action::Update, text, 1, text);
    change.key = Key::parse(text);
    change.target_id = Some(text.to_string());
    change.cause = cause(CauseKind::Out, text);
    let doubtful = Set::new(vec![text.into()], vec![format!("{text}2").into()], Some(Unknown::new(text)));
    change.attributes = vec![
        AttributeChange { cause: Some(text.to_string()), ..attribute(text, Datum::text(text), Datum::text("x")) },
        attribute(text, Datum::Unknown(Unknown::new(text)), Datum::Set(doubtful.clone())),
        attribute(text, Datum::Set(doubtful), Datum::set([text, "y"])),
    ];
    let difference = Difference {
        name: text.to_string(),
        desired: Datum::text(text),
        current: Datum::set([text]),
        applied: Some(Datum::Unknown(Unknown::new(text))),
        hidden: false,
    };
    let mut note = note(NoteKind::Conflict, 1, text);
    note.ty = text.to_string();
    note.key = Key::parse(text);
    note.words = text.to_string();
    note.attribute = Some(difference);
    let mut header = header();
    header.preview = Some(text.to_string());
    for member in [&mut header.job, &mut header.tenant, &mut header.target] {
        *member = text.to_string();
    }
    header.sources[0].coverage = Coverage::partial(text);
    header.sources[0].left_out = BTreeMap::from([(text.to_string(), 1)]);
    let changes = [change];
    let notes = vec![note];
    let mut ty = type_summary(text, &changes, &notes);
    ty.coverage = Coverage::partial(text);
    ty.counts.unknown = BTreeMap::from([(text.to_string(), 1)]);
    header.types = vec![ty];
    header.limits = every_limit();
    for limit in &mut header.limits {
        limit.on = text.to_string();
        limit.words = text.to_string();
    }
    finished(header, &changes, notes)
}

/// A plan of which not all was done; `text` stands in every reason.
pub fn applied(plan: &Plan, text: &str) -> Applied {
    ended(plan, |index| {
        let reason = text.to_string();
        match index % 5 {
            1 => Outcome::Rejected { reason },
            2 => Outcome::Uncertain { reason },
            3 => Outcome::NotAttempted { reason },
            _ => done(),
        }
    })
}

/// A plan of which everything was done.
pub fn all_done(plan: &Plan) -> Applied {
    ended(plan, |_| done())
}

fn done() -> Outcome {
    Outcome::Done { target_id: "row".to_string(), read_back: Vec::new() }
}

/// Ends the n-th change as `outcome` says.
fn ended(plan: &Plan, outcome: impl Fn(usize) -> Outcome) -> Applied {
    let mut total = TypeOutcome::default();
    let mut not_done = Vec::new();
    for (index, change) in plan.changes().enumerate() {
        let Change { action, ty, key, label, .. } = change.unwrap();
        let outcome = outcome(index);
        match &outcome {
            Outcome::Done { .. } => {
                *total.done.entry(action).or_default() += 1;
                continue;
            }
            Outcome::Rejected { .. } => total.rejected += 1,
            Outcome::Uncertain { .. } => total.uncertain += 1,
            Outcome::NotAttempted { .. } => total.not_attempted += 1,
        }
        not_done.push(NotDone { action, ty, key, label, outcome });
    }
    Applied::of(vec![total], &not_done).unwrap()
}

fn read_by() -> ReadBy {
    ReadBy {
        strategy: Strategy::Expand,
        reason: "one list for each group would take 300 requests, 600 units, 0.9 s".to_string(),
        estimate: Figures::new(42, 81, 0.5),
        cost: Figures::new(44, 85, 0.6),
    }
}

pub fn effort() -> Effort {
    let took = Duration::from_millis(41_500);
    Effort {
        run: "2026-07-01T02-00-05Z".to_string(),
        took,
        source_requests: 310,
        target_requests: 2,
        memberships: Some(read_by()),
    }
}

/// Two jobs, one of them in trouble; `text` stands in every place.
pub fn checks(text: &str) -> Vec<Check> {
    let finding = |about: &str, verdict, words: &str, hint: Option<&str>| Finding {
        about: about.to_string(),
        verdict,
        words: words.to_string(),
        hint: hint.map(str::to_string),
    };
    let good = finding("sign-in", Verdict::Good, "The app signed in as entra-import.", None);
    let soon = finding("credential", Verdict::Warning, "The secret ends in 12 days.", Some("Make a new one."));
    let bad = finding(text, Verdict::Bad, text, Some(text));
    vec![
        Check {
            rights: vec![Right {
                what: "users".to_string(),
                least: "User.Read.All",
                state: RightState::Wider,
                required: true,
            }],
            beyond_least: vec!["Directory.Read.All".to_string()],
            hosts: vec![Host {
                purpose: "Microsoft Graph".to_string(),
                host: "graph.microsoft.com".to_string(),
                port: 443,
                proxy: Some("http://proxy.contoso.com:3128".to_string()),
            }],
            credential_ends: Some("2026-07-13T00:00:00Z".parse().unwrap()),
            findings: vec![good.clone(), soon],
            ..Check::new("contoso".to_string())
        },
        Check { exit: 5, findings: vec![good, bad], ..Check::new(text.to_string()) },
    ]
}
