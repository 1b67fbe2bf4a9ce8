//! Random requests about a latch against a real server and the model: every reply, the whole record and every message
//! have to agree. The requests are those that clients send, with lost replies and late copies; the clock is not set back,
//! because then an attempt may count twice (tier 2), and the model would not let it.

use std::cell::RefCell;
use std::collections::BTreeMap;

use latchwork_testkit::Reply;
use latchwork_tests::mutants;
use proptest::prelude::*;
use proptest::test_runner::{Config, FailurePersistence, FileFailurePersistence, TestRunner};

use crate::bench::{Bench, Script};
use crate::compare::{code, same};
use crate::latch_model::{Ask, Latch};
use crate::lock::INBOX;

pub(crate) const KEY: &str = "latchwork:latch:{a}";
const SLOTS: usize = 8;
const CLIENTS: usize = 3;
const MINUTE: i64 = 60_000;
pub(crate) const TTL: i64 = 60 * MINUTE;
pub(crate) const MEMORY: i64 = 20 * MINUTE;
/// The real time that a case may take: a PTTL may be that much below what was asked for.
const SLACK: i64 = 5 * MINUTE;
const REQUESTS: u32 = 20_000;

/// What a run of usual length meets so often that none of it can be missing by chance.
#[rustfmt::skip]
const COMMON: &[&str] = &[
    "latch 1", "latch 2", "latch 3", "latch 4", "latch 5", "latch 6", "latch 9", "latch 10", "latch 11", "end 0", "end 2",
    "tick 3", "tick 4", "tick 5 1", "peek 0", "peek 1", "message d", "message r", "counted", "reset", "counted once",
    "counted quickly", "more", "no more",
];

/// What an attempt is for.
#[derive(Clone, Debug)]
pub(crate) struct Shape {
    pub(crate) count: i64,
    pub(crate) by: i64,
    pub(crate) once: Option<u8>,
    pub(crate) to: Option<i64>,
    pub(crate) room: i64,
}

#[derive(Clone, Debug)]
pub(crate) enum Step {
    /// Time passes, ms and µs.
    Pass(i64, i64),
    Inbox(usize, bool),
    Fresh(usize, Shape),
    /// A copy of the slot's request, or the next one; `lost`: its sender does not get the reply.
    Ask {
        slot: usize,
        lost: bool,
        patience: i64,
        polls: bool,
    },
    End(usize),
    FollowUp,
    Tick(Vec<(char, usize)>),
    Peek,
}

fn shape() -> impl Strategy<Value = Shape> {
    let count = prop_oneof![10 => Just(3_i64), 1 => Just(4), 1 => Just(0), 2 => Just(-1), 2 => Just(-2)];
    let what = prop_oneof![
        6 => (1_i64..3).prop_map(|by| (by, None, None)),
        3 => (0_u8..4).prop_map(|id| (1, Some(id), None)),
        2 => (0_i64..5).prop_map(|to| (0, None, Some(to))),
        6 => Just((0, None, None)),
    ];
    let room = prop_oneof![4 => Just(-1_i64), 1 => Just(0), 2 => Just(2), 4 => Just(50)];
    (count, what, room).prop_map(|(count, (by, once, to), room)| Shape {
        count,
        by,
        once,
        to,
        room: if once.is_some() || to.is_some() { -1 } else { room },
    })
}

/// Many who count, of whom some know the number, and hardly anything else.
fn calm_shape() -> impl Strategy<Value = Shape> {
    let count = prop_oneof![10 => Just(40_i64), 3 => Just(-1), 1 => Just(-2)];
    let by = prop_oneof![8 => 1_i64..3, 1 => Just(0_i64)];
    let rest = prop_oneof![60 => Just((None, None)), 1 => Just((Some(0), None)), 1 => (30_i64..50).prop_map(|to| (None, Some(to)))];
    let room = prop_oneof![30 => Just(-1_i64), 1 => Just(0), 1 => Just(50)];
    (count, by, rest, room).prop_map(|(count, by, (once, to), room)| Shape {
        count,
        by: if to.is_some() { 0 } else { by },
        once,
        to,
        room: if once.is_some() || to.is_some() { -1 } else { room },
    })
}

/// Those who wait, most of them, and some who let them go.
fn crowd_shape() -> impl Strategy<Value = Shape> {
    let count = prop_oneof![6 => Just(2_i64), 1 => Just(-1)];
    let what = prop_oneof![
        12 => Just((0_i64, None, None, 50_i64)),
        1 => Just((1, None, None, 50)),
        1 => Just((2, None, None, -1)),
        1 => (0_u8..4).prop_map(|id| (1, Some(id), None, -1)),
        5 => (0_i64..4).prop_map(|to| (0, None, Some(to), -1)),
    ];
    (count, what).prop_map(|(count, (by, once, to, room))| Shape {
        count,
        by,
        once,
        to,
        room,
    })
}

/// Those who know no count and come before anybody makes one.
fn early_shape() -> impl Strategy<Value = Shape> {
    let count = prop_oneof![10 => Just(-2_i64), 2 => Just(-1), 1 => Just(2)];
    let by = prop_oneof![6 => Just(0_i64), 1 => Just(1)];
    let room = prop_oneof![Just(-1_i64), Just(0), Just(1), Just(50)];
    (count, by, room).prop_map(|(count, by, room)| Shape {
        count,
        by,
        once: None,
        to: None,
        room,
    })
}

/// What a case is made of: what the first attempts are for, and steps.
pub(crate) fn case() -> impl Strategy<Value = (Vec<Shape>, Vec<Step>)> {
    let of = |shape: BoxedStrategy<Shape>, mix: [u32; 4]| {
        let first = prop::collection::vec(shape.clone(), SLOTS);
        (first, prop::collection::vec(step(shape, mix), 1..160))
    };
    let usual = [3, 14, 8, 10];
    prop_oneof![
        4 => of(shape().boxed(), usual),
        2 => of(calm_shape().boxed(), usual),
        4 => of(calm_shape().boxed(), [20, 30, 1, 1]),
        1 => of(early_shape().boxed(), usual),
        8 => of(crowd_shape().boxed(), [1, 24, 1, 6]),
    ]
}

/// `mix`: how often seconds pass, somebody new comes, somebody leaves, and clients tick.
fn step(shape: BoxedStrategy<Shape>, mix: [u32; 4]) -> impl Strategy<Value = Step> {
    let slot = || 0..SLOTS;
    let op = || prop_oneof![4 => Just('w'), 1 => Just('p')];
    let patience = prop_oneof![8 => -1_i64..2000, 1 => Just(0)];
    let [seconds, fresh, end, tick] = mix;
    prop_oneof![
        8 => (0_i64..60, 0_i64..1000).prop_map(|(ms, us)| Step::Pass(ms, us)),
        seconds => (0_i64..3000).prop_map(|ms| Step::Pass(ms, 0)),
        1 => (0_i64..13_000).prop_map(|ms| Step::Pass(ms, 0)),
        2 => (0..CLIENTS, any::<bool>()).prop_map(|(client, on)| Step::Inbox(client, on)),
        fresh => (slot(), shape).prop_map(|(slot, shape)| Step::Fresh(slot, shape)),
        40 => (slot(), prop::bool::weighted(0.3), patience, prop::bool::weighted(0.1))
            .prop_map(|(slot, lost, patience, polls)| Step::Ask { slot, lost, patience, polls }),
        end => slot().prop_map(Step::End),
        3 => Just(Step::FollowUp),
        tick => prop::collection::vec((op(), slot()), 1..4).prop_map(Step::Tick),
        2 => Just(Step::Peek),
    ]
}

#[derive(Debug)]
struct Slot {
    id: String,
    shape: Shape,
    /// What the sender knows.
    generation: i64,
    answered: bool,
    /// The latest `not_after` that was sent; fixed if it changes something.
    not_after: i64,
    ended: bool,
}

struct World<'a> {
    bench: &'a mut Bench,
    latch: Latch,
    slots: Vec<Slot>,
    attempts: u64,
    listening: [bool; CLIENTS],
    seen: BTreeMap<String, u32>,
}

pub(crate) fn client(number: usize) -> String {
    format!("Client{number:016}")
}

impl<'a> World<'a> {
    fn new(bench: &'a mut Bench, first: &[Shape]) -> Self {
        bench.redis(&["DEL", KEY]);
        bench.now_us = 1_700_000_000_000_000;
        let mut world = Self {
            bench,
            latch: Latch::default(),
            slots: Vec::new(),
            attempts: 0,
            listening: [false; CLIENTS],
            seen: BTreeMap::new(),
        };
        for (slot, shape) in first.iter().enumerate() {
            let fresh = world.fresh(slot, shape.clone());
            world.slots.push(fresh);
        }
        for client in 0..CLIENTS {
            world.inbox(client, true);
        }
        world
    }

    fn finish(mut self) -> BTreeMap<String, u32> {
        self.bench.messages(); // what a step that failed did not read
        for client in 0..CLIENTS {
            self.inbox(client, false);
        }
        self.seen
    }

    fn fresh(&mut self, slot: usize, shape: Shape) -> Slot {
        self.attempts += 1;
        Slot {
            id: format!("{}.{}:1:10000:1000", client(slot % CLIENTS), self.attempts),
            shape,
            generation: 0,
            answered: false,
            not_after: 0,
            ended: false,
        }
    }

    fn inbox(&mut self, number: usize, on: bool) {
        let channel = format!("{INBOX}{}", client(number));
        if on && !self.listening[number] {
            self.bench.subscribe(&channel);
        } else if !on && self.listening[number] {
            self.bench.unsubscribe(&channel);
        }
        self.listening[number] = on;
    }

    fn note(&mut self, what: impl Into<String>) {
        *self.seen.entry(what.into()).or_default() += 1;
    }

    fn apply(&mut self, step: &Step) -> Result<(), String> {
        let now_us = self.bench.now_us;
        self.latch.mail.clear();
        match step {
            Step::Pass(ms, us) => self.bench.now_us += ms * 1000 + us,
            Step::Inbox(client, on) => self.inbox(*client, *on),
            Step::Fresh(slot, shape) => {
                // What it had is given up, as by a client that is dropped.
                self.apply(&Step::End(*slot))?;
                self.slots[*slot] = self.fresh(*slot, shape.clone());
            }
            Step::Ask {
                slot,
                lost,
                patience,
                polls,
            } => return self.ask(*slot, *lost, *patience, *polls),
            Step::End(slot) => {
                let slot = &mut self.slots[*slot];
                slot.ended = true;
                let args = [
                    slot.id.clone(),
                    "0".to_owned(),
                    (5 * MINUTE).to_string(),
                    slot.not_after.to_string(),
                ];
                let model = self.latch.end(&slot.id, slot.not_after, 5 * MINUTE, now_us);
                return self.compare(Script::End, &args, &model);
            }
            Step::Tick(items) => {
                let mut args = Vec::new();
                let items: Vec<_> = items
                    .iter()
                    .map(|(op, slot)| (*op, self.slots[*slot].id.clone()))
                    .collect();
                for (op, id) in &items {
                    let rest = [op.to_string(), id.clone(), "0".into(), "10000".into()];
                    args.extend(rest);
                    args.extend([TTL.to_string(), "0".to_owned()]);
                }
                let model = self.latch.tick(&items, TTL, now_us);
                for item in &model.items()[2..] {
                    self.note(format!("tick {}", code(item, 2)));
                }
                let keys = vec![KEY; items.len()];
                let reply = self.bench.call(Script::Tick, &keys, &args);
                same("the reply", &reply, &model)?;
                return self.compare_state();
            }
            Step::FollowUp => {
                let model = self.latch.follow_up(now_us);
                return self.compare(Script::Latch, &follow_up(), &model);
            }
            Step::Peek => {
                let model = self.latch.peek(now_us);
                return self.compare(Script::Peek, &["1000".to_owned()], &model);
            }
        }
        Ok(())
    }

    fn ask(&mut self, at: usize, lost: bool, patience: i64, polls: bool) -> Result<(), String> {
        let now = self.bench.now();
        let slot = &mut self.slots[at];
        let changes = !slot.answered && (slot.shape.by > 0 || slot.shape.to.is_some());
        if slot.ended && slot.not_after == 0 {
            return Ok(()); // nothing of it was ever sent
        }
        let not_after = if slot.ended || (changes && slot.not_after > 0) {
            slot.not_after
        } else {
            now + patience
        };
        slot.not_after = slot.not_after.max(not_after);
        let ask = Ask {
            id: slot.id.clone(),
            count: slot.shape.count,
            by: if changes { slot.shape.by } else { 0 },
            once: slot.shape.once.map_or(String::new(), |id| format!("id {id}")),
            to: slot.shape.to.filter(|_| changes).unwrap_or(-1),
            asked: slot.generation,
            not_after,
            room: slot.shape.room,
            ttl: TTL,
            memory: [MEMORY, 2 * TTL][at % 2],
            polls: if polls { 3 } else { 0 },
        };
        let (ended, before, done) = (slot.ended, self.latch.left(), self.latch.done.len());
        let model = self.latch.ask(&ask, self.bench.now_us);
        if self.latch.done.len() > done {
            assert!(!ended, "{} is over, and changes something", ask.id);
            let once = ask.once.is_empty();
            self.note(if ask.to >= 0 {
                "reset"
            } else if once {
                "counted"
            } else if self.latch.left() < before {
                "counted once"
            } else {
                "counted before"
            });
        }
        assert!(
            !ended || !self.latch.waits(&ask.id),
            "{} is over, and waits",
            ask.id
        );
        if !lost {
            let slot = &mut self.slots[at];
            let words: Vec<_> = model.items().iter().filter_map(Reply::int).collect();
            slot.answered |= matches!(words[0], 1 | 2);
            if words[0] == 2 {
                slot.generation = words[2];
            }
        }
        self.compare(Script::Latch, &arguments(&ask), &model)
    }

    fn compare(&mut self, script: Script, args: &[String], model: &Reply) -> Result<(), String> {
        let before = self.bench.quick_counts;
        let reply = self.bench.call(script, &[KEY], args);
        if self.bench.quick_counts > before {
            self.note("counted quickly".to_owned());
        }
        same("the reply", &reply, model)?;
        if let [.., more] = model.items()
            && model.items().len() == 6
            && matches!(script, Script::Latch)
        {
            self.note(if more.int() == Some(1) { "more" } else { "no more" });
        }
        self.note(format!("{script:?} {}", code(model, 1)).to_lowercase());
        self.compare_state()
    }

    fn compare_state(&mut self) -> Result<(), String> {
        same("the record", &dump(self.bench), &self.latch.dump())?;
        if self.latch.generation.is_some() {
            let pttl = self.bench.redis(&["PTTL", KEY]).int().unwrap();
            if pttl < self.latch.life - SLACK || pttl > self.latch.life + self.latch.life / 8 {
                return Err(format!("PTTL is {pttl}, {} was asked for", self.latch.life));
            }
        }
        if self.latch.pending() > 1 {
            self.note("more generations");
        }
        let mail = std::mem::take(&mut self.latch.mail);
        for text in mail.values() {
            self.note(format!("message {}", &text[..1]));
        }
        let heard = (0..CLIENTS).filter(|number| self.listening[*number]).map(client);
        let expected: BTreeMap<_, _> = heard
            .filter_map(|client| Some((format!("{INBOX}{client}"), vec![mail.get(&client)?.clone()])))
            .collect();
        same("the messages", &self.bench.messages(), &expected)
    }
}

pub(crate) fn arguments(ask: &Ask) -> Vec<String> {
    let text = |number: i64| number.to_string();
    vec![
        ask.id.clone(),
        text(ask.count),
        text(ask.room),
        text(ask.ttl),
        text(ask.memory),
        text(ask.not_after + 1000),
        text(ask.by),
        ask.once.clone(),
        text(ask.to),
        text(ask.asked),
        text(ask.polls),
    ]
}

/// The arguments of a request that only goes on.
pub(crate) fn follow_up() -> Vec<String> {
    let words = ["", "-1", "-1", "0", "0", "0", "0", "", "-2", "0", "0"];
    words.map(str::to_owned).to_vec()
}

/// The members of the record with their scores.
pub(crate) fn dump(bench: &mut Bench) -> BTreeMap<String, f64> {
    let reply = bench.redis(&["ZRANGE", KEY, "0", "-1", "WITHSCORES"]);
    let texts: Vec<_> = reply.items().iter().filter_map(Reply::text).collect();
    texts
        .chunks_exact(2)
        .map(|pair| (pair[0].clone(), pair[1].parse().unwrap()))
        .collect()
}

#[test]
fn a_latch_agrees_with_the_model() {
    agrees_in(std::env::var("LATCHWORK_SCRIPT_CASES").map_or(REQUESTS, |text| text.parse().unwrap()));
}

#[allow(
    clippy::print_stdout,
    reason = "it stands with a failure, and with --nocapture"
)]
pub(crate) fn agrees_in(requests: u32) {
    let regressions = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/scripts/latch-regressions.txt");
    let config = Config {
        cases: (requests / 50).max(1),
        max_shrink_iters: if mutants::is_chosen() { 0 } else { 20_000 },
        failure_persistence: (!mutants::is_chosen())
            .then(|| Box::new(FileFailurePersistence::Direct(regressions)) as Box<dyn FailurePersistence>),
        ..Config::default()
    };
    let bench = RefCell::new(Bench::with_small_steps());
    let seen = RefCell::new(BTreeMap::new());
    let run = |(first, steps): (Vec<Shape>, Vec<Step>)| {
        let mut bench = bench.borrow_mut();
        let mut world = World::new(&mut bench, &first);
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
        .run(&case(), run)
        .unwrap_or_else(|failure| panic!("{failure}"));
    let seen = seen.into_inner();
    println!("seen: {seen:?}");
    if requests >= REQUESTS {
        let unseen: Vec<_> = COMMON.iter().filter(|what| !seen.contains_key(**what)).collect();
        assert!(unseen.is_empty(), "the random requests never got {unseen:?}");
    }
}
