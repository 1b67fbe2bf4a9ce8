//! Random requests against a real server and the model: every reply, the whole record and every message have to agree.

use std::cell::RefCell;
use std::collections::BTreeMap;

use latchwork_tests::mutants;
use proptest::prelude::*;
use proptest::test_runner::{Config, FailurePersistence, FileFailurePersistence, TestRunner};

use crate::bench::Bench;
use crate::steps::{self, Step, World as Kind};
use crate::world::World;

/// Steps of a case. Most need some others before them to matter.
const STEPS: std::ops::Range<usize> = 1..120;
/// Requests per world, unless `LATCHWORK_SCRIPT_CASES` says otherwise.
const REQUESTS: u32 = 12_000;
const REGRESSIONS: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/tests/scripts/proptest-regressions.txt"
);

#[test]
fn capacity_1_agrees_with_the_model() {
    agrees(Kind::Plain, 1, &[1]);
}

#[test]
fn capacity_3_agrees_with_the_model() {
    agrees(Kind::Plain, 3, &[1, 2, 3]);
}

#[test]
fn readers_and_writers_agree_with_the_model() {
    agrees(Kind::ReadWrite, 999_999, &[1, 500_000, 999_999, 500_000]);
}

#[test]
fn owners_agree_with_the_model() {
    agrees(Kind::Owners, 1, &[1]);
}

#[test]
fn a_counted_primitive_agrees_with_the_model() {
    agrees(Kind::Counted, 3, &[1, 2, 3, 5]);
}

fn agrees(kind: Kind, capacity: i64, weights: &'static [i64]) {
    let requests = std::env::var("LATCHWORK_SCRIPT_CASES").map_or(REQUESTS, |text| text.parse().unwrap());
    agrees_in(requests, kind, capacity, weights);
}

/// All of the above, in so many requests each.
pub(crate) fn all_agree_in(requests: u32) {
    agrees_in(requests, Kind::Plain, 1, &[1]);
    agrees_in(requests, Kind::Counted, 3, &[1, 2, 3, 5]);
    agrees_in(
        requests,
        Kind::ReadWrite,
        999_999,
        &[1, 500_000, 999_999, 500_000],
    );
    agrees_in(requests, Kind::Owners, 1, &[1]);
    agrees_in(requests, Kind::Plain, 3, &[1, 2, 3]);
}

#[allow(
    clippy::print_stdout,
    reason = "it stands with a failure, and with --nocapture"
)]
fn agrees_in(requests: u32, kind: Kind, capacity: i64, weights: &'static [i64]) {
    let config = Config {
        cases: (requests / 35).max(1), // a case has 60 steps on average, more than half are requests
        max_shrink_iters: if mutants::is_chosen() { 0 } else { 20_000 },
        failure_persistence: (!mutants::is_chosen())
            .then(|| Box::new(FileFailurePersistence::Direct(REGRESSIONS)) as Box<dyn FailurePersistence>),
        ..Config::default()
    };
    let bench = RefCell::new(Bench::start());
    let seen = RefCell::new(BTreeMap::new());
    let steps = prop::collection::vec(steps::step(kind), STEPS);
    let run = |steps: Vec<Step>| {
        let mut bench = bench.borrow_mut();
        let mut world = World::new(&mut bench, kind, capacity, weights);
        let outcome = steps.iter().enumerate().try_for_each(|(at, step)| {
            world
                .apply(step)
                .map_err(|why| TestCaseError::fail(format!("step {at}, {step:?}: {why}")))
        });
        for (what, count) in world.finish() {
            *seen.borrow_mut().entry(what).or_insert(0) += count;
        }
        outcome
    };
    TestRunner::new(config)
        .run(&steps, run)
        .unwrap_or_else(|failure| panic!("{failure}"));
    let seen = seen.into_inner();
    println!("{kind:?}, capacity {capacity}, seen: {seen:?}");
    if requests >= REQUESTS {
        let common = match kind {
            Kind::Plain => steps::COMMON,
            Kind::Counted => steps::COUNTED,
            Kind::Owners => steps::OWNERS,
            Kind::ReadWrite => steps::READ_WRITE,
        };
        let unseen: Vec<_> = common.iter().filter(|what| !seen.contains_key(**what)).collect();
        assert!(unseen.is_empty(), "the random requests never got {unseen:?}");
    }
}
