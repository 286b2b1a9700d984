//! Random misbehaviour of Graph on a busy night: what comes out is the undisturbed result, or partial with a reason.
//!
//! `make faults` tries many seeds; `FAULT_SEEDS` says how many, `FAULT_FIRST` where they begin. Every fault of
//! <https://learn.microsoft.com/graph/errors> and of the paging and delta pages is drawn: statuses, `Retry-After` of every
//! kind, broken and slow connections, foreign bodies, expired links, replicas of different age, odd JSON.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use fastrand::Rng;
use graph_sim::{Deletion, Fault, FaultKind, Kind, Member, RetryAfter, Size, Tenant};

use crate::world::{
    self, ALL, DELETE, NO_LIMITS, Ran, SCOPE, World, all_rights, busy_night, contoso, id, scoped_world,
};

/// Seeds in an ordinary test run: of a small tenant, of one whose lists have several pages, and of several nights.
const SEEDS: u64 = 60;
const PAGED_SEEDS: u64 = 4;
const NIGHT_SEEDS: u64 = 20;

type Records = BTreeMap<(String, String), BTreeMap<String, String>>;

fn number(variable: &str, otherwise: u64) -> u64 {
    std::env::var(variable).ok().map_or(otherwise, |text| text.parse().expect("a number"))
}

fn random_kind(random: &mut Rng) -> FaultKind {
    let after = |random: &mut Rng| match random.u8(..5) {
        0 => RetryAfter::Seconds(random.u64(..100_000)),
        1 => RetryAfter::Date(random.i64(-100..100)),
        2 => RetryAfter::Text("later".into()),
        _ => RetryAfter::Missing,
    };
    match random.u8(..17) {
        0 => FaultKind::Throttle(after(random)),
        1 => FaultKind::Unavailable(after(random)),
        2 | 3 => FaultKind::Status(*random.choice(&[400, 401, 403, 404, 409, 410, 500, 502, 504]).unwrap()),
        4 => FaultKind::Reset,
        5 => FaultKind::Cut,
        6 => FaultKind::Slow(Duration::from_millis(random.u64(..20))),
        7 => FaultKind::Truncated,
        8 => FaultKind::Html,
        9 => FaultKind::Empty,
        10 => FaultKind::Duplicate,
        11 => FaultKind::Expired,
        12 => FaultKind::Stale,
        13 => FaultKind::Odd,
        14 => FaultKind::Drip(Duration::from_millis(random.u64(..4))),
        15 => FaultKind::Status(401),
        _ => FaultKind::Foreign("https://graph.contoso.example".into()),
    }
}

fn random_fault(random: &mut Rng) -> Fault {
    let member_list = format!("groups/{}/members", id(random.u32(101..=104)));
    let paths = [
        "/v1.0",
        "users",
        "groups?",
        "members",
        "$expand=members",
        &member_list,
        "devices",
        "subscribedSkus",
        "deletedItems",
        "getByIds",
        "oauth2",
        "$skiptoken",
        "delta",
        "$deltatoken",
    ];
    let mut fault = Fault::new(random.choice(paths).unwrap(), random_kind(random));
    match random.u8(..6) {
        0 => fault.nth = Some(random.u64(1..12)),
        1 => fault.every = Some(random.u64(1..5)),
        2 => fault = fault.probability(random.f64(), random.u64(..)),
        3 => fault.times = Some(random.u64(1..12)),
        4 => fault.each = Some(random.u64(1..12)),
        _ => {}
    }
    fault
}

/// Runs many seeds, goes on after a failure, and names the seeds that failed at the end. `weather` tells whether what a
/// seed did was whole.
fn many(name: &str, seeds: u64, weather: impl Fn(u64) -> bool) {
    let first = number("FAULT_FIRST", 1);
    let (mut whole, mut failed) = (0, Vec::new());
    for seed in first..first + seeds {
        match catch_unwind(AssertUnwindSafe(|| weather(seed))) {
            Ok(was_whole) => whole += u32::from(was_whole),
            Err(_) => failed.push(seed),
        }
    }
    println!("{name}: {seeds} seeds from {first}, {whole} whole, {} failed {failed:?}", failed.len());
    assert!(failed.is_empty(), "{name}: seeds {failed:?} failed; run one again with FAULT_FIRST=SEED FAULT_SEEDS=1");
}

/// What may come of one run in bad weather.
struct Judge<'a> {
    world: &'a World,
    /// What stood before the run.
    before: &'a Records,
    /// What an undisturbed run makes of it.
    undisturbed: &'a Records,
    /// What an undisturbed run would make of what the replica that lags behind knows; none where all know the same.
    lagging: Option<&'a Records>,
    seed: &'a str,
}

impl Judge<'_> {
    fn judge(&self, ran: &Ran) {
        let Self { world, before, undisturbed, lagging, seed } = self;
        let now = world.records();
        match ran.code() {
            // Replicas of different age cannot be told apart from quick changes: each value is of one of them.
            0 if lagging.is_some() => self.loses_nothing(ran, &now),
            // Who may not list deleted objects (403) proves by two reads what is gone: leavers stay for a night more, and
            // nothing else may differ.
            0 if ran.stderr.contains("deleted objects may not be listed") => {
                self.loses_nothing(ran, &now);
                let all = undisturbed.keys().all(|place| now.contains_key(place));
                ran.check(all, &format!("every undisturbed record, {seed}"));
            }
            // What vanished since it was listed is taken to be there for a night, and its list to be what it was.
            0 if ran.stderr.contains("objects were gone when their lists were asked for") => {
                self.loses_nothing(ran, &now);
            }
            0 => {
                let whole = now == **undisturbed;
                ran.check(whole, &format!("the undisturbed records, since nothing is said to lack, {seed}"));
            }
            3 => {
                let told = ran.stdout.contains("partial (") && ran.stdout.contains("not complete: ");
                ran.check(told, &format!("a reason, {seed}"));
                self.loses_nothing(ran, &now);
            }
            5 | 6 => {
                ran.check(now == **before, &format!("nothing written by a run that read nothing, {seed}"));
                ran.check(ran.stderr.contains("to do: "), &format!("what to do, {seed}"));
            }
            code => panic!("exit 0, 3, 5 or 6, not {code}, {seed}\n{ran}"),
        }
    }

    /// What stood and should stand does, and every value is as it was or as it should be. Where replicas of different age
    /// answer, an old row may name its neighbour anew: then the value must at least be one that its column has had.
    fn loses_nothing(&self, ran: &Ran, now: &Records) {
        let Self { before, undisturbed, lagging, seed, .. } = self;
        let stands =
            |place| undisturbed.contains_key(place) && lagging.is_none_or(|lagging| lagging.contains_key(place));
        for (place, row) in *before {
            ran.check(now.contains_key(place) || !stands(place), &format!("{place:?} {row:?} stands, {seed}"));
        }
        for (place, row) in now {
            let may_be = |cell: (&String, &String)| {
                let of = |records: &Records| records.get(place).is_some_and(|row| row[cell.0] == *cell.1);
                let (column, value) = cell;
                let has = |records: &Records| {
                    records.iter().any(|((file, _), row)| *file == place.0 && row[column] == *value)
                };
                let old = |lagging: &Records| has(before) || has(undisturbed) || has(lagging);
                of(before) || of(undisturbed) || lagging.is_some_and(old)
            };
            ran.check(row.iter().all(may_be), &format!("{place:?} as it was or as it should be, not {row:?}, {seed}"));
        }
    }
}

fn are_stale(faults: &[Fault]) -> bool {
    faults.iter().any(|fault| fault.kind == FaultKind::Stale)
}

/// Any of the ways to read memberships.
fn way(random: &mut Rng) -> String {
    let memberships = random.choice(["auto", "expand", "per-group", "delta"]).unwrap_or_default();
    format!("memberships = \"{memberships}\"\n[target]")
}

/// A world before a busy night, and what an undisturbed run makes of it.
struct Trial {
    world: World,
    /// The job, in which each seed has its own way to read memberships.
    job: String,
    before: Records,
    undisturbed: Records,
}

impl Trial {
    /// `world` has been imported once.
    fn new(world: World, night: impl FnOnce(&mut Tenant)) -> Self {
        let before = world.records();
        world.night(night);
        world.save();
        world.run(["run", "job.toml"]).exits(0);
        let undisturbed = world.records();
        assert_ne!(before, undisturbed, "a night in which nothing happens proves nothing");
        Self { job: world.read("job.toml"), world, before, undisturbed }
    }

    /// One run in bad weather and, if it was not whole, one in good. Whether the first was whole.
    fn weather(&self, seed: u64) -> bool {
        let Self { world, before, undisturbed, .. } = self;
        let mut random = Rng::with_seed(seed);
        let faults: Vec<Fault> = (0..random.usize(1..5)).map(|_| random_fault(&mut random)).collect();
        let way = way(&mut random);
        println!("FAULT_FIRST={seed} FAULT_SEEDS=1: {way:?}, {faults:?}");
        let stale = are_stale(&faults);
        world.restore();
        world.write("job.toml", &self.job.replacen("[target]", &way, 1));
        world.sim.clear_faults();
        faults.into_iter().for_each(|fault| world.sim.add_fault(fault));
        let ran = world.run(["run", "job.toml", "-v"]);
        world.sim.clear_faults();
        let lagging = stale.then_some(before);
        Judge { world, before, undisturbed, lagging, seed: &format!("seed {seed}") }.judge(&ran);
        let whole = ran.code() == 0;
        // Once Graph is well again and its replicas agree, so is the import.
        if !whole || stale {
            world.run(["run", "job.toml"]).exits(0);
            let healed = world.records() == *undisturbed;
            ran.check(healed, &format!("the undisturbed records one run later, seed {seed}"));
        }
        whole
    }
}

/// Nights that are read by changes, and what undisturbed full reads make of them.
struct Nights {
    world: World,
    job: String,
    /// The tenant when the job was first run, then after each night.
    evenings: Vec<Tenant>,
    undisturbed: Vec<Records>,
}

impl Nights {
    /// Nothing that delta queries do not track, so that everything is read by changes.
    const MAPPINGS: [&str; 5] = ["users", "groups", "memberships", "nestings", "devices"];
    const COUNT: usize = 3;

    fn new() -> Self {
        let mut options = all_rights();
        options.roles.push("Device.Read.All".into());
        let world = World::with(contoso(), options);
        world.job(&Self::MAPPINGS, &format!("{DELETE}{NO_LIMITS}{SCOPE}"));
        world.edit("job.toml", "[target]", "delta = true\n[target]");
        world.edit("job.toml", "csv/users@1\"\n", "csv/users@1\"\nattributes.\"Licenses\" = false\n");
        world.run(["run", "job.toml"]).exits(0);
        world.save();
        let mut nights = Self { job: world.read("job.toml"), world, evenings: Vec::new(), undisturbed: Vec::new() };
        nights.note();
        for night in 1..=Self::COUNT {
            nights.world.night(|tenant| Self::happens(night, tenant));
            nights.world.run(["run", "job.toml", "--full"]).exits(0);
            nights.note();
        }
        nights
    }

    fn note(&mut self) {
        self.evenings.push(self.world.sim.read_tenant().clone());
        self.undisturbed.push(self.world.records());
    }

    /// Every kind of change but deleting for good, of which a job is sure only after two nights.
    fn happens(night: usize, tenant: &mut Tenant) {
        let user = |n| Member::new(Kind::User, id(n));
        match night {
            1 => {
                assert!(tenant.remove(Kind::User, &id(12), Deletion::Soft));
                assert!(tenant.set(Kind::User, &id(11), "accountEnabled", false.into()));
                assert!(tenant.set(Kind::User, &id(8), "department", "Legal".into()));
                assert!(tenant.set(Kind::User, &id(7), "mail", serde_json::Value::Null));
                assert!(tenant.remove_member(&id(101), &id(2)));
                assert!(tenant.add_member(&id(101), user(10)));
                assert!(tenant.set(Kind::Group, &id(101), "displayName", "Sales & Marketing".into()));
                tenant.put(Kind::User, world::user(13));
            }
            2 => {
                assert!(tenant.restore(&id(12)));
                assert!(tenant.remove(Kind::Group, &id(104), Deletion::Soft));
                assert!(tenant.remove(Kind::Device, &id(203), Deletion::Soft));
                tenant.set_manager(&id(3), Some(user(2)));
                tenant.set_manager(&id(4), None);
                assert!(tenant.add_member(&id(103), user(13)));
                assert!(tenant.add_member(&id(101), Member::new(Kind::Group, id(103))));
                assert!(tenant.remove_member(&id(102), &id(101)));
            }
            _ => {
                assert!(tenant.remove(Kind::User, &id(1), Deletion::Soft));
                assert!(tenant.set(Kind::User, &id(9), "userType", "Guest".into()));
                assert!(tenant.set(Kind::User, &id(11), "accountEnabled", true.into()));
                assert!(tenant.restore(&id(104)));
                assert!(tenant.remove_member(&id(103), &id(102)));
                assert!(tenant.add_member(&id(101), user(2)));
                assert!(tenant.set(Kind::Device, &id(201), "displayName", "Laptop of Sales".into()));
            }
        }
    }

    /// All nights in bad weather, and one in good. Whether all were whole.
    fn weather(&self, seed: u64) -> bool {
        let Self { world, evenings, undisturbed, .. } = self;
        let mut random = Rng::with_seed(seed);
        let way = way(&mut random);
        world.restore();
        world.sim.clear_faults();
        *world.sim.tenant() = evenings[0].clone();
        world.write("job.toml", &self.job.replacen("[target]", &way, 1));
        let (mut whole, mut stale) = (true, false);
        for night in 1..=Self::COUNT {
            let faults: Vec<Fault> = (0..random.usize(..4)).map(|_| random_fault(&mut random)).collect();
            let (badly, forgets) = (random.bool(), random.u8(..8) == 0);
            println!(
                "FAULT_FIRST={seed} FAULT_SEEDS=1: night {night}, {way:?}, badly {badly}, forgets {forgets}, {faults:?}"
            );
            // What a lagging replica told once may stand until the next full read.
            stale |= are_stale(&faults);
            self.fall(night, badly.then_some(seed), forgets);
            let before = world.records();
            faults.into_iter().for_each(|fault| world.sim.add_fault(fault));
            let ran = world.run(["run", "job.toml", "-v"]);
            world.sim.clear_faults();
            let lagging = stale.then_some(&undisturbed[night - 1]);
            let named = format!("night {night} of seed {seed}");
            Judge { world, before: &before, undisturbed: &undisturbed[night], lagging, seed: &named }.judge(&ran);
            whole &= ran.code() == 0;
        }
        world.next_night();
        let ran = match stale {
            true => world.run(["run", "job.toml", "--full"]),
            false => world.run(["run", "job.toml"]),
        };
        ran.exits(0);
        let healed = world.records() == undisturbed[Self::COUNT];
        ran.check(healed, &format!("the undisturbed records one run later, seed {seed}"));
        whole
    }

    /// The night's changes come, told badly by that seed, or with all delta links forgotten.
    fn fall(&self, night: usize, badly: Option<u64>, forgets: bool) {
        self.world.sim.lag();
        let mut tenant = self.world.sim.tenant();
        tenant.clone_from(&self.evenings[night]);
        badly.into_iter().for_each(|seed| tenant.tell_badly(seed));
        if forgets {
            // Each night's history is another one: what was forgotten once must not be known again.
            (0..night).for_each(|_| tenant.forget_history());
        }
        drop(tenant);
        self.world.next_night();
    }
}

#[test]
fn random_faults_end_in_the_undisturbed_result_or_in_partial_with_a_reason() {
    let trial = Trial::new(scoped_world(), busy_night);
    many("small tenant", number("FAULT_SEEDS", SEEDS), |seed| trial.weather(seed));
}

#[test]
fn random_faults_in_nights_by_changes_end_likewise() {
    let nights = Nights::new();
    many("nights by changes", number("FAULT_SEEDS", NIGHT_SEEDS), |seed| nights.weather(seed));
}

#[test]
fn random_faults_on_lists_of_several_pages_end_likewise() {
    let mut tenant =
        Tenant::synthetic(11, &Size { users: 1_300, groups: 8, memberships: 400, devices: 20, ..Size::default() });
    let everyone: Vec<_> = tenant.list(Kind::User).map(|user| user.id().clone()).collect();
    let group = tenant.list(Kind::Group).next().expect("a group").id().clone();
    everyone.into_iter().for_each(|user| _ = tenant.add_member(&group, Member::new(Kind::User, user)));
    let tables = format!("{DELETE}{NO_LIMITS}{SCOPE}");
    let world = World::imported_with(tenant, all_rights(), &ALL, &tables);
    let seeds = std::env::var("FAULT_SEEDS").map_or(PAGED_SEEDS, |_| number("FAULT_SEEDS", SEEDS).div_ceil(5));
    let trial = Trial::new(world, |tenant| _ = tenant.mutate(5, 0.02));
    many("several pages", seeds, |seed| trial.weather(seed));
}
