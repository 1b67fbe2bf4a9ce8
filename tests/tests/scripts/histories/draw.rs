//! Random histories: which there are, and how they are drawn.

use std::ops::Range;

use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

use super::game::{Game, HOLDER, Rules};
use super::latches::LatchGame;
use crate::latch_random::{self, Shape};
use crate::steps::{self, CLIENTS, Floor, Step, Token, World as Kind};

/// Steps of a history.
const STEPS: usize = 80;

const fn rules(kind: Kind, capacity: i64, weights: &'static [i64], slots: usize) -> Rules {
    Rules {
        kind,
        capacity,
        weights,
        slots,
        clients: CLIENTS,
        pace: "",
    }
}

const WEIGHTS: &[i64] = &[1, 2, 3, 5];
const ALL: i64 = 999_999;
const GAMES: [Rules; 13] = [
    rules(Kind::Plain, 1, &[1], 2),
    rules(Kind::Plain, 1, &[1], 3),
    rules(Kind::Plain, 1, &[1], 3),
    Rules {
        clients: 1,
        ..rules(Kind::Plain, 1, &[1], 4)
    },
    rules(Kind::Plain, 1, &[1], 6),
    rules(Kind::Plain, 1, &[1], 12),
    rules(Kind::Plain, 3, &[1, 2, 3], 9),
    rules(Kind::ReadWrite, ALL, &[1, 500_000, ALL, 500_000], 12),
    rules(Kind::ReadWrite, ALL, &[1, 1, ALL], 4),
    rules(Kind::Owners, 1, &[1], 9),
    rules(Kind::Counted, 3, WEIGHTS, 9),
    rules(Kind::Counted, 20, WEIGHTS, 12),
    Rules {
        pace: "10000.00 2 50000",
        ..rules(Kind::Counted, 10, WEIGHTS, 12)
    },
];

/// A history that has begun.
pub(crate) enum History {
    Lock(Box<Game>, Vec<Step>),
    Latch(Box<LatchGame>, Vec<latch_random::Step>),
}

/// Where histories come from.
pub(crate) struct Draw {
    runner: TestRunner,
    locks: Vec<(Rules, BoxedStrategy<Vec<Step>>)>,
    latches: Vec<BoxedStrategy<(Vec<Shape>, Vec<latch_random::Step>)>>,
    turn: usize,
}

impl Draw {
    fn new(seed: u64) -> Self {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&seed.to_le_bytes());
        let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
        Self {
            runner: TestRunner::new_with_rng(Config::default(), rng),
            locks: Vec::new(),
            latches: Vec::new(),
            turn: 0,
        }
    }

    pub(crate) fn of_locks(seed: u64) -> Self {
        let any = |rules: &Rules| prop::collection::vec(steps::step(rules.kind), STEPS);
        let steps = |rules: &Rules| match rules.slots {
            ..7 => prop_oneof![4 => calm(rules.slots), 1 => any(rules)].boxed(),
            _ => prop_oneof![calm(rules.slots), any(rules)].boxed(),
        };
        Self {
            locks: GAMES.iter().map(|rules| (*rules, steps(rules))).collect(),
            ..Self::new(seed)
        }
    }

    /// The same, but often time passes until something is due.
    pub(crate) fn of_locks_at_borders(seed: u64) -> Self {
        let mut draw = Self::of_locks(seed);
        for (_, steps) in &mut draw.locks {
            *steps = steps.clone().prop_map(steps::with_borders).boxed();
        }
        draw
    }

    pub(crate) fn of_latches(seed: u64) -> Self {
        Self {
            latches: vec![
                latch_random::case().boxed(),
                calm_latch().boxed(),
                calm_latch().boxed(),
            ],
            ..Self::new(seed)
        }
    }

    pub(crate) fn history(&mut self) -> History {
        self.turn += 1;
        if let Some((rules, steps)) = self.locks.get(self.turn % self.locks.len().max(1)) {
            let mut steps = steps.new_tree(&mut self.runner).unwrap().current();
            steps.reverse();
            return History::Lock(Box::new(Game::new(*rules)), steps);
        }
        let latch = &self.latches[self.turn % self.latches.len()];
        let (shapes, mut steps) = latch.new_tree(&mut self.runner).unwrap().current();
        steps.reverse();
        History::Latch(Box::new(LatchGame::new(&shapes)), steps)
    }
}

/// Those who come and wait, and go; hardly anything else.
fn calm(slots: usize) -> impl Strategy<Value = Vec<Step>> {
    let shapes = match slots {
        3 => 3..6, // all with the same lease
        4 => 0..9,
        _ => 0..12,
    };
    let step = calm_step(shapes).prop_map(|step| vec![step]);
    prop::collection::vec(prop_oneof![12 => step, 1 => hand_off()], STEPS).prop_map(|steps| steps.concat())
}

fn wait(slot: usize, room: i64, ahead: i64) -> Step {
    Step::Acquire {
        slot,
        room,
        late: false,
        floor: Floor::None,
        polls: false,
        ahead,
    }
}

/// When all others have gone, somebody holds, one or two wait for some time, and get it.
fn hand_off() -> impl Strategy<Value = Vec<Step>> {
    let slot = || 0..steps::SLOTS;
    let time = prop_oneof![2 => 1_i64..100, 3 => 260_i64..900];
    let shape = prop_oneof![2 => 3..6_usize, 3 => 6..9_usize];
    let some = prop::bool::weighted(0.3);
    (
        (slot(), slot(), slot()),
        shape,
        prop::bool::weighted(0.7),
        some,
        time,
    )
        .prop_map(|((first, second, third), shape, two, extended, ms)| {
            let mut all = vec![
                Step::Pass(80_000, 0),
                Step::Fresh(first, shape),
                Step::Fresh(second, shape),
            ];
            all.push(wait(first, 50, 0));
            if extended {
                all.push(Step::Tick(vec![('x', HOLDER, Token::Own)]));
            }
            all.push(wait(second, 50, 0));
            if two {
                all.push(wait(third, 50, 0));
            }
            all.extend([Step::Pass(ms, 0), Step::End(HOLDER, None)]);
            all
        })
}

fn calm_step(shapes: Range<usize>) -> impl Strategy<Value = Step> {
    let room = prop_oneof![1 => Just(0), 6 => Just(50)];
    let ahead = prop_oneof![12 => Just(0), 1 => -50_i64..50];
    let acquire = (0..steps::SLOTS, room, ahead).prop_map(|(slot, room, ahead)| wait(slot, room, ahead));
    let likely = || 0..steps::SLOTS * 4;
    prop_oneof![
        30 => acquire,
        8 => likely().prop_map(|slot| Step::End(slot, None)),
        2 => (likely(), 1_i64..3000).prop_map(|(slot, ms)| Step::End(slot, Some(ms))),
        15 => Just(Step::End(HOLDER, None)),
        10 => (0..steps::SLOTS, shapes).prop_map(|(slot, shape)| Step::Fresh(slot, shape)),
        2 => Just(Step::Tick(vec![('x', HOLDER, Token::Own)])),
        8 => likely().prop_map(|slot| Step::Tick(vec![(steps::APT, slot, Token::Own)])),
        5 => (0_i64..80, 0_i64..1000).prop_map(|(ms, us)| Step::Pass(ms, us)),
        5 => (0_i64..8, 0_i64..1000).prop_map(|(ms, us)| Step::Pass(ms, us)),
        6 => (0_i64..900).prop_map(|ms| Step::Pass(ms, 0)),
        1 => (0_i64..100).prop_map(Step::SetBack),
    ]
}

/// Many who count down, to zero.
fn calm_latch() -> impl Strategy<Value = (Vec<Shape>, Vec<latch_random::Step>)> {
    let shape = || {
        let count = prop_oneof![8 => Just(20_i64), 1 => Just(-1)];
        let by = prop_oneof![Just(0_i64), 1_i64..4, 5_i64..10];
        let rest = prop_oneof![3 => Just(-1_i64), 1 => Just(0)];
        (count, by, rest).prop_map(|(count, by, room)| Shape {
            count,
            by,
            once: None,
            to: None,
            room,
        })
    };
    let ask = (0..8_usize, 1000_i64..2000).prop_map(|(slot, patience)| latch_random::Step::Ask {
        slot,
        lost: false,
        patience,
        polls: false,
    });
    let step = prop_oneof![
        10 => ask,
        3 => (0..8_usize, shape()).prop_map(|(slot, shape)| latch_random::Step::Fresh(slot, shape)),
        1 => (0_i64..900).prop_map(|ms| latch_random::Step::Pass(ms, 0)),
    ];
    (
        prop::collection::vec(shape(), 8),
        prop::collection::vec(step, 10..30),
    )
}
