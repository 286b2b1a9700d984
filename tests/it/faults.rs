//! Random misbehaviour of Graph on a busy night: what comes out is the undisturbed result, or partial with a reason.
//!
//! `make faults` tries many seeds; `FAULT_SEEDS` says how many, `FAULT_FIRST` where they begin. Every fault of
//! <https://learn.microsoft.com/graph/errors> and of the paging and delta pages is drawn: statuses, `Retry-After` of every
//! kind, broken and slow connections, foreign bodies, expired links, replicas of different age, odd JSON.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use fastrand::Rng;
use graph_sim::{Fault, FaultKind, Kind, Member, RetryAfter, Size, Tenant};

use crate::world::{ALL, DELETE, NO_LIMITS, Ran, SCOPE, World, all_rights, busy_night, id, scoped_world};

/// Seeds in an ordinary test run: of a small tenant, and of one whose lists have several pages.
const SEEDS: u64 = 60;
const PAGED_SEEDS: u64 = 4;

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
        let world = &self.world;
        let mut random = Rng::with_seed(seed);
        let faults: Vec<Fault> = (0..random.usize(1..5)).map(|_| random_fault(&mut random)).collect();
        let memberships = random.choice(["auto", "expand", "per-group"]).unwrap_or_default();
        println!("FAULT_FIRST={seed} FAULT_SEEDS=1: memberships = {memberships}, {faults:?}");
        let stale = faults.iter().any(|fault| fault.kind == FaultKind::Stale);
        world.restore();
        let way = format!("memberships = \"{memberships}\"\n[target]");
        world.write("job.toml", &self.job.replacen("[target]", &way, 1));
        world.sim.clear_faults();
        faults.into_iter().for_each(|fault| world.sim.add_fault(fault));
        let ran = world.run(["run", "job.toml"]);
        world.sim.clear_faults();
        self.judge(&ran, stale, &format!("seed {seed}"));
        let whole = ran.code() == 0;
        // Once Graph is well again and its replicas agree, so is the import.
        if !whole || stale {
            world.run(["run", "job.toml"]).exits(0);
            let healed = world.records() == self.undisturbed;
            ran.check(healed, &format!("the undisturbed records one run later, seed {seed}"));
        }
        whole
    }

    /// Tries many seeds, goes on after a failure, and names the seeds that failed at the end.
    fn many(&self, name: &str, seeds: u64) {
        let first = number("FAULT_FIRST", 1);
        let (mut whole, mut failed) = (0, Vec::new());
        for seed in first..first + seeds {
            match catch_unwind(AssertUnwindSafe(|| self.weather(seed))) {
                Ok(was_whole) => whole += u32::from(was_whole),
                Err(_) => failed.push(seed),
            }
        }
        println!("{name}: {seeds} seeds from {first}, {whole} whole, {} failed {failed:?}", failed.len());
        assert!(
            failed.is_empty(),
            "{name}: seeds {failed:?} failed; run one again with FAULT_FIRST=SEED FAULT_SEEDS=1"
        );
    }

    fn judge(&self, ran: &Ran, stale: bool, seed: &str) {
        let Self { world, before, undisturbed, .. } = self;
        let now = world.records();
        match ran.code() {
            // Replicas of different age cannot be told apart from quick changes: each value is of one of them.
            0 if stale => self.loses_nothing(ran, &now, stale, seed),
            0 => {
                ran.check(
                    now == *undisturbed,
                    &format!("the undisturbed records, since nothing is said to lack, {seed}"),
                );
            }
            3 => {
                ran.check(
                    ran.stdout.contains("partial (") && ran.stdout.contains("not complete: "),
                    &format!("a reason, {seed}"),
                );
                self.loses_nothing(ran, &now, stale, seed);
            }
            5 | 6 => {
                ran.check(now == *before, &format!("nothing written by a run that read nothing, {seed}"));
                ran.check(ran.stderr.contains("to do: "), &format!("what to do, {seed}"));
            }
            code => panic!("exit 0, 3, 5 or 6, not {code}, {seed}\n{ran}"),
        }
    }

    /// What stood and should stand does, and every value is as it was or as it should be. Where replicas of different age
    /// answer, an old row may name its neighbour anew: then the value must at least be one that its column has had.
    fn loses_nothing(&self, ran: &Ran, now: &Records, stale: bool, seed: &str) {
        let Self { before, undisturbed, .. } = self;
        for (place, row) in before {
            let lost = !now.contains_key(place) && undisturbed.contains_key(place);
            ran.check(!lost, &format!("{place:?} {row:?} stands, {seed}"));
        }
        for (place, row) in now {
            let may_be = |cell: (&String, &String)| {
                let of = |records: &Records| records.get(place).is_some_and(|row| row[cell.0] == *cell.1);
                let (column, value) = cell;
                let has = |records: &Records| {
                    records.iter().any(|((file, _), row)| *file == place.0 && row[column] == *value)
                };
                of(before) || of(undisturbed) || (stale && (has(before) || has(undisturbed)))
            };
            ran.check(row.iter().all(may_be), &format!("{place:?} as it was or as it should be, not {row:?}, {seed}"));
        }
    }
}

#[test]
fn random_faults_end_in_the_undisturbed_result_or_in_partial_with_a_reason() {
    Trial::new(scoped_world(), busy_night).many("small tenant", number("FAULT_SEEDS", SEEDS));
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
    Trial::new(world, |tenant| _ = tenant.mutate(5, 0.02)).many("several pages", seeds);
}
