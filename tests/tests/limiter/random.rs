//! Random requests get the model's reply, and admissions keep to the rate.
//!
//! The rate is checked from outside, in a time that never steps.

use std::cell::RefCell;

use latchwork_tests::mutants;
use proptest::prelude::*;
use proptest::test_runner::{Config, FailurePersistence, FileFailurePersistence, TestRunner};

use crate::bench::{Bench, ints};
use crate::model::{Kind, Model, Terms, gcra, window};

/// Requests per rate, unless `LATCHWORK_SCRIPT_CASES` says otherwise.
const REQUESTS: u32 = 12_000;
const REGRESSIONS: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/tests/limiter/proptest-regressions.txt"
);

#[derive(Debug, Clone)]
enum Step {
    /// Time passes: so many hundredths of a period, and so many µs.
    Pass(i64, i64),
    /// The clock is set back.
    SetBack(i64),
    /// Weight in hundredths of the limit, the longest wait in hundredths of the reach (-1: only ask), and whether it is late.
    Ask(i64, i64, bool),
    /// The last request that reserved, once more.
    Again,
    /// Gives back: how many of the last ones are named, which of them is left out, whether the ids before are known.
    Refund(usize, usize, bool),
    Reset,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0..40_i64, 0..3_i64).prop_map(|(part, us)| Step::Pass(part, us)),
        2 => (0..400_i64, 0..3_i64).prop_map(|(part, us)| Step::Pass(part, us)),
        1 => (1..300_i64).prop_map(Step::SetBack),
        20 => (1..=100_i64, prop_oneof![Just(0), Just(100), -1..100_i64], prop::bool::weighted(0.05))
            .prop_map(|(weight, most, late)| Step::Ask(weight, most, late)),
        10 => prop_oneof![Just(0), Just(100)].prop_map(|most| Step::Ask(1, most, false)),
        2 => Just(Step::Again),
        4 => (1..5_usize, 0..8_usize, prop::bool::weighted(0.8))
            .prop_map(|(count, out, known)| Step::Refund(count, out, known)),
        1 => Just(Step::Reset),
    ]
}

/// What was admitted: id, weight, the id before, the slot in a time that never steps.
type Admitted = (i64, i64, i64, i64);

struct World<'a> {
    bench: &'a mut Bench,
    terms: Terms,
    model: Model,
    /// A time that never steps, µs.
    real: i64,
    ids: i64,
    admitted: Vec<Admitted>,
    /// How many there were, also of what was given back or forgotten.
    count: usize,
    /// The last request that reserved.
    last: Option<(i64, i64)>,
}

impl World<'_> {
    fn apply(&mut self, step: &Step) -> Result<(), String> {
        match *step {
            Step::Pass(part, us) => {
                let time = part * self.terms.period / 100 + us;
                self.bench.now_us += time;
                self.real += time;
            }
            Step::SetBack(part) => self.bench.now_us -= part * self.terms.period / 100 + 1,
            Step::Ask(weight, most, late) => {
                let weight = (weight * self.terms.limit() / 100).max(1);
                let most = if most < 0 {
                    -1
                } else {
                    most * self.terms.reach() / 100
                };
                self.ids += 1;
                let id = if most < 0 { 0 } else { self.ids };
                return self.ask(weight, most, id, late);
            }
            Step::Again => {
                if let Some((id, weight)) = self.last {
                    return self.ask(weight, self.terms.reach(), id, false);
                }
            }
            Step::Refund(count, out, known) => return self.refund(count, out, known),
            Step::Reset => {
                self.bench.reset();
                self.model.reset();
                self.admitted.clear(); // it is forgotten: the promise starts anew
                self.last = None;
            }
        }
        Ok(())
    }

    fn ask(&mut self, weight: i64, most: i64, id: i64, late: bool) -> Result<(), String> {
        let now = self.bench.now_us;
        let reply = ints(&self.bench.ask_raw(&self.terms, weight, most, id, late));
        if late {
            return same(&reply, &vec![4, now]);
        }
        let again = id != 0 && id == self.model.last();
        let said = self.model.ask(now, weight, most, id);
        let code = if said.admitted { 1 } else { 3 };
        let mut expected = vec![code, now, said.wait, said.rest.0, said.rest.1];
        if said.admitted {
            expected.push(said.before);
            self.last = Some((id, weight));
            if !again {
                self.count += 1;
                self.admitted
                    .push((id, weight, said.before, self.real + said.wait));
            }
        }
        same(&reply, &expected)
    }

    fn refund(&mut self, count: usize, out: usize, known: bool) -> Result<(), String> {
        let from = self.admitted.len().saturating_sub(count);
        let mut items: Vec<_> = self.admitted[from..]
            .iter()
            .map(|&(id, weight, before, _)| (id, if known { before } else { 0 }, weight))
            .collect();
        if out < items.len() {
            items.remove(out);
        }
        let turn = out % items.len().max(1);
        items.rotate_left(turn);
        let reply = ints(&self.bench.refund(&self.terms, &items));
        let last = |world: &Self| world.model.last();
        let mut gone = Vec::new();
        let mut at = last(self);
        while let Some(item) = items.iter().find(|item| item.0 == at) {
            gone.push(at);
            at = item.1;
        }
        let given = self.model.refund(&items);
        self.admitted.retain(|(id, ..)| !gone.contains(id));
        same(&reply, &vec![1, given])
    }

    /// The promise, on the list of what was admitted.
    fn keeps_to_the_rate(&self) -> Result<(), String> {
        let mut slots: Vec<(i64, i64)> = self.admitted.iter().map(|a| (a.3, a.1)).collect();
        slots.sort_unstable();
        for (first, &(from, _)) in slots.iter().enumerate() {
            let mut sum = 0;
            for &(until, weight) in &slots[first..] {
                sum += weight;
                let time = until - from;
                let most = match self.terms.kind {
                    // A slot is rounded up to a whole µs, and so may be nearer to the next one by less than one.
                    Kind::Gcra => {
                        let comes = i128::from(time + 1) * i128::from(self.terms.permits);
                        self.terms.burst + i64::try_from(comes / i128::from(self.terms.period)).unwrap()
                    }
                    Kind::Window if time <= self.terms.period => self.terms.permits,
                    Kind::Window => break,
                };
                if sum > most {
                    return Err(format!("{sum} in {time} µs, from {from} on: {most} are allowed"));
                }
            }
        }
        Ok(())
    }
}

fn same(reply: &Vec<i64>, expected: &Vec<i64>) -> Result<(), String> {
    if reply == expected {
        Ok(())
    } else {
        Err(format!("the server says {reply:?}, the model {expected:?}"))
    }
}

fn agrees(terms: Terms) {
    let requests = std::env::var("LATCHWORK_SCRIPT_CASES").map_or(REQUESTS, |text| text.parse().unwrap());
    let config = Config {
        cases: (requests / 50).max(1),
        max_shrink_iters: if mutants::is_chosen() { 0 } else { 5_000 },
        failure_persistence: (!mutants::is_chosen())
            .then(|| Box::new(FileFailurePersistence::Direct(REGRESSIONS)) as Box<dyn FailurePersistence>),
        ..Config::default()
    };
    let bench = RefCell::new(Bench::start());
    let counts = RefCell::new((0, 0));
    let run = |steps: Vec<Step>| {
        let mut bench = bench.borrow_mut();
        bench.reset();
        let mut world = World {
            real: bench.now_us,
            bench: &mut bench,
            terms,
            model: Model::new(terms),
            ids: 0,
            admitted: Vec::new(),
            count: 0,
            last: None,
        };
        for (at, step) in steps.iter().enumerate() {
            let outcome = world.apply(step).and_then(|()| world.keeps_to_the_rate());
            outcome.map_err(|why| TestCaseError::fail(format!("step {at}, {step:?}: {why}")))?;
        }
        let mut counts = counts.borrow_mut();
        *counts = (counts.0 + steps.len(), counts.1 + world.count);
        Ok(())
    };
    TestRunner::new(config)
        .run(&prop::collection::vec(step(), 1..120), run)
        .unwrap_or_else(|failure| panic!("{terms:?}: {failure}"));
    let (steps, admitted) = counts.into_inner();
    assert!(
        admitted * 20 > steps,
        "{admitted} admissions in {steps} steps: too few to prove anything"
    );
}

const SECOND: i64 = 1_000_000;
const DAY: i64 = 86_400 * SECOND;

#[test]
fn gcra_one_at_a_time() {
    agrees(gcra(10, SECOND, 1));
}

#[test]
fn gcra_with_a_burst_and_a_price_that_is_not_whole() {
    agrees(gcra(7, SECOND, 20));
}

#[test]
fn gcra_faster_than_the_clock_and_slower_than_a_day() {
    agrees(gcra(3 * SECOND, SECOND, 1000));
    agrees(gcra(i64::from(i32::MAX), 999_983, i64::from(i32::MAX)));
    agrees(gcra(1, DAY, 3));
}

#[test]
fn quotas_of_a_week() {
    agrees(gcra(7, 7 * DAY, 10));
    agrees(gcra(i64::from(i32::MAX), 7 * DAY, i64::from(i32::MAX)));
    agrees(window(1000, 7 * DAY));
}

#[test]
fn the_longest_rates_are_exact() {
    const YEAR: i64 = 366 * DAY;
    const MOST: i64 = i32::MAX as i64;
    let mut bench = Bench::start();
    let one = gcra(1, YEAR, 1);
    assert_eq!(bench.ask(&one, 1, 0, 1), [1, 0, YEAR, 0, 0]);
    bench.now_us += 1;
    assert_eq!(bench.ask(&one, 1, YEAR, 2)[..2], [1, YEAR - 1]);
    assert_eq!(
        bench.ask(&one, 1, 30 * DAY, 3),
        [3, 2 * YEAR - 1, 2 * YEAR - 1, 0],
        "and no more"
    );
    bench.now_us += 2 * YEAR - 2;
    assert_eq!(bench.ask(&one, 1, 0, 4)[..2], [3, 1], "not a microsecond earlier");
    bench.now_us += 1;
    assert_eq!(bench.ask(&one, 1, 0, 5)[..2], [1, 0]);

    bench.reset();
    let many = gcra(MOST, YEAR, MOST);
    assert_eq!(
        bench.ask(&many, MOST - 1, 0, 6)[2..4],
        [
            (MOST - 1) * (YEAR / MOST) + (MOST - 1) * (YEAR % MOST) / MOST,
            (MOST - 1) * (YEAR % MOST) % MOST
        ]
    );
    assert_eq!(
        bench.ask(&many, 1, 0, 7),
        [1, 0, YEAR, 0, 6],
        "all of them, to the last part"
    );

    bench.reset();
    let all = window(MOST, YEAR);
    assert_eq!(bench.ask(&all, MOST, 0, 8), [1, 0, 0, all.piece() * 51, 0]);
    bench.now_us += all.piece() * 51 - 1;
    assert_eq!(bench.ask(&all, 1, 0, 9)[..2], [3, 1]);
    bench.now_us += 1;
    assert_eq!(bench.ask(&all, MOST, 0, 10)[..2], [1, 0]);
}

#[test]
fn a_sliding_window() {
    agrees(window(10, SECOND));
    agrees(window(1, 100_000));
}

#[test]
fn sliding_windows_at_the_bounds() {
    agrees(window(i64::from(i32::MAX), DAY));
    agrees(window(5, 1009)); // the pieces do not divide it
}
