//! Random misbehaviour of Graph on a busy night: what comes out is the undisturbed result, or partial with a reason.
//!
//! `FAULT_SEEDS` says how many seeds are tried, `FAULT_FIRST` where they begin.

use std::collections::BTreeMap;
use std::time::Duration;

use fastrand::Rng;
use graph_sim::{Fault, FaultKind, RetryAfter};

use crate::world::{Ran, World, busy_night, id, scoped_world};

const SEEDS: u64 = 60;

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
    match random.u8(..12) {
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

#[test]
fn random_faults_end_in_the_undisturbed_result_or_in_partial_with_a_reason() {
    let world = scoped_world();
    let before = world.records();
    world.night(busy_night);
    world.save();
    world.run(["run", "job.toml"]).exits(0);
    let undisturbed = world.records();
    let job = world.read("job.toml");
    let first = number("FAULT_FIRST", 1);
    let mut whole = 0;
    for seed in first..first + number("FAULT_SEEDS", SEEDS) {
        let mut random = Rng::with_seed(seed);
        let faults: Vec<Fault> = (0..random.usize(1..5)).map(|_| random_fault(&mut random)).collect();
        let memberships = random.choice(["auto", "expand", "per-group"]).unwrap_or_default();
        println!("FAULT_FIRST={seed} FAULT_SEEDS=1: memberships = {memberships}, {faults:?}");
        world.restore();
        world.write("job.toml", &job.replacen("[target]", &format!("memberships = \"{memberships}\"\n[target]"), 1));
        faults.into_iter().for_each(|fault| world.sim.add_fault(fault));
        let ran = world.run(["run", "job.toml"]);
        world.sim.clear_faults();
        judge(&world, &ran, &before, &undisturbed, &format!("seed {seed}"));
        whole += u32::from(ran.code() == 0);
        // Once Graph is well again, so is the import.
        if ran.code() != 0 {
            world.run(["run", "job.toml"]).exits(0);
            ran.check(world.records() == undisturbed, &format!("the undisturbed records one run later, seed {seed}"));
        }
    }
    println!("{whole} runs were whole");
}

fn judge(world: &World, ran: &Ran, before: &Records, undisturbed: &Records, seed: &str) {
    let now = world.records();
    match ran.code() {
        0 => {
            ran.check(now == *undisturbed, &format!("the undisturbed records, since nothing is said to lack, {seed}"));
        }
        3 => {
            ran.check(
                ran.stdout.contains("partial (") && ran.stdout.contains("not complete: "),
                &format!("a reason, {seed}"),
            );
            for (place, row) in before {
                let lost = !now.contains_key(place) && undisturbed.contains_key(place);
                ran.check(!lost, &format!("{place:?} {row:?} stands, {seed}"));
            }
            for (place, row) in &now {
                let may_be = |cell: (&String, &String)| {
                    let of = |records: &Records| records.get(place).is_some_and(|row| row[cell.0] == *cell.1);
                    of(before) || of(undisturbed)
                };
                ran.check(
                    row.iter().all(may_be),
                    &format!("{place:?} as it was or as it should be, not {row:?}, {seed}"),
                );
            }
        }
        5 | 6 => {
            ran.check(now == *before, &format!("nothing written by a run that read nothing, {seed}"));
            ran.check(ran.stderr.contains("to do: "), &format!("what to do, {seed}"));
        }
        code => panic!("exit 0, 3, 5 or 6, not {code}, {seed}\n{ran}"),
    }
}
