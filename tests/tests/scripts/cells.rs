//! The commands of one acquire and one end of each primitive, counted: free, with one waiter, and with thousands.
//!
//! Those of a queue of 5 000 are those of a queue of one.

use latchwork_testkit::Reply;

use crate::bench::{Bench, Script};
use crate::lock::{INBOX, KEY, LEASE, RETENTION, WINDOW};
use crate::model::Attempt;
use crate::thrift::ran;

/// A primitive, and how it is used.
struct Cell {
    capacity: &'static str,
    weight: i64,
    /// So many have all there is.
    holders: u64,
    owned: bool,
    /// What its acquire says beyond what every one does: pace, patience, floor, polls, head start.
    rest: &'static [&'static str],
    /// The commands of an acquire and of an end, where nobody else is.
    free: [&'static str; 2],
    /// The same where others hold all there is and wait: it is queued, and one holder ends.
    waits: [&'static str; 2],
}

const EXCLUSIVE: Cell = Cell {
    capacity: "1",
    weight: 1,
    holders: 1,
    owned: false,
    rest: &[],
    free: ["time pttl zadd zrange", "zrange zrem"],
    waits: [
        "time pttl zadd zmscore zrange",
        "time publish pubsub zadd zmscore zrange zrem",
    ],
};

const SHARED: Cell = Cell {
    capacity: "999999",
    free: ["time pttl zadd zmscore zrange", "zrange zrem"],
    ..EXCLUSIVE
};

const COUNTED: Cell = Cell {
    capacity: "1c",
    free: ["time pttl zadd zmscore", "zrange zrem"],
    waits: [
        "time pttl zadd zmscore zrangebyscore",
        "time publish pubsub zadd zmscore zrange zrem",
    ],
    ..EXCLUSIVE
};

impl Cell {
    fn attempt(&self, count: u64) -> Attempt {
        let client = usize::try_from(count).unwrap();
        if self.owned {
            Attempt::owned(client, count, client, self.weight, LEASE, WINDOW)
        } else {
            Attempt::new(client, count, self.weight, LEASE, WINDOW)
        }
    }

    fn acquire(&self, bench: &mut Bench, count: u64) -> i64 {
        let not_after = bench.now() + 5000;
        let mut args = vec![self.attempt(count).id];
        args.extend([LEASE, LEASE + RETENTION, self.weight].map(|number| number.to_string()));
        args.push(self.capacity.to_owned());
        args.extend([not_after, 10_000].map(|number| number.to_string()));
        args.extend(self.rest.iter().map(|text| (*text).to_owned()));
        code(&bench.call(Script::Acquire, &[KEY], &args))
    }

    fn end(&self, bench: &mut Bench, count: u64) -> i64 {
        let args = [
            &self.attempt(count).id,
            self.capacity,
            &RETENTION.to_string(),
            "0",
        ];
        code(&bench.call(Script::End, &[KEY], &args))
    }

    /// Others wait behind the first, as if they had come one after the other.
    fn fill(&self, bench: &mut Bench, first: u64, count: u64) {
        let score = |bench: &mut Bench, member: &str| {
            let text = bench.redis(&["ZSCORE", KEY, member]);
            text.text().unwrap().parse::<f64>().unwrap()
        };
        let place = score(bench, &self.attempt(first).id);
        #[allow(clippy::cast_precision_loss, reason = "small")]
        for (at, who) in (first + 1..first + count).enumerate() {
            let tickets = (at + 1) as f64;
            let who = self.attempt(who);
            let mut words = vec!["ZADD".to_owned(), KEY.to_owned()];
            words.extend([format!("{:.0}", place + tickets * 1_048_576.0), who.id.clone()]);
            if let Some(owner) = who.owner() {
                words.extend([format!("{:.0}", 4_294_967_296.0 + tickets), format!("o{owner}")]);
            }
            let words: Vec<&str> = words.iter().map(String::as_str).collect();
            bench.redis(&words);
        }
        let next = (4_294_967_296 + count).to_string();
        bench.redis(&["ZADD", KEY, &next, "q"]);
    }

    fn costs(&self, waiting: u64) {
        let bench = &mut Bench::start();
        self.acquire(bench, 0); // the record is made
        self.end(bench, 0);
        bench.advance(10);
        if waiting == 0 {
            let [acquire, end] = self.free;
            runs(bench, "free", acquire, |bench| self.acquire(bench, 1));
            let held = runs(bench, "its end", end, |bench| self.end(bench, 1));
            assert_eq!(held, 1, "it held");
            return;
        }
        for count in 1..=self.holders {
            assert_eq!(self.acquire(bench, count), 1, "there is room");
        }
        let first = self.holders + 1;
        let client = self.attempt(first).id[..22].to_owned();
        bench.subscribe(&format!("{INBOX}{client}"));
        assert_eq!(self.acquire(bench, first), 2, "it waits");
        if waiting > 1 {
            self.fill(bench, first, waiting);
        }
        bench.advance(10);
        let [acquire, end] = self.waits;
        let newcomer = first + waiting;
        let queued = runs(bench, "queued", acquire, |bench| self.acquire(bench, newcomer));
        assert_eq!(queued, 2, "it waits, too");
        let held = runs(bench, "handed over", end, |bench| self.end(bench, 1));
        assert_eq!(held, 1, "it held");
    }

    fn costs_the_same_at_any_depth(&self) {
        for waiting in [0, 1, 5000] {
            self.costs(waiting);
        }
    }
}

#[track_caller]
fn runs(bench: &mut Bench, what: &str, commands: &str, request: impl FnOnce(&mut Bench) -> i64) -> i64 {
    bench.next_goes_alone();
    bench.server.reset_stats().unwrap();
    let code = request(bench);
    assert_eq!(ran(bench), commands, "{what}");
    code
}

/// The first number of a reply; a number alone is a grant, or the end of a hold.
fn code(reply: &Reply) -> i64 {
    reply
        .items()
        .first()
        .and_then(Reply::int)
        .or_else(|| reply.int().map(|_| 1))
        .unwrap()
}

#[test]
fn of_a_mutex() {
    EXCLUSIVE.costs_the_same_at_any_depth();
}

#[test]
fn of_a_fair_mutex() {
    Cell {
        rest: &["", "", "0", "0", "+0"],
        waits: ["time pttl zadd zcount zmscore zrange", EXCLUSIVE.waits[1]],
        ..EXCLUSIVE
    }
    .costs_the_same_at_any_depth();
}

#[test]
fn of_a_reentrant_mutex() {
    Cell {
        owned: true,
        waits: [
            "time pttl zadd zmscore 2*zrange zrangebyscore",
            "time publish pubsub zadd zcount zmscore zrange zrem",
        ],
        ..EXCLUSIVE
    }
    .costs_the_same_at_any_depth();
}

#[test]
fn of_a_writer() {
    Cell {
        weight: 999_999,
        free: EXCLUSIVE.free,
        ..SHARED
    }
    .costs_the_same_at_any_depth();
}

#[test]
fn of_an_upgradable_reader() {
    Cell {
        weight: 500_000,
        waits: ["time pttl zadd zmscore 2*zrange", EXCLUSIVE.waits[1]],
        ..SHARED
    }
    .costs_the_same_at_any_depth();
}

#[test]
fn of_a_semaphore() {
    COUNTED.costs_the_same_at_any_depth();
    Cell {
        capacity: "3c",
        holders: 3,
        ..COUNTED
    }
    .costs_the_same_at_any_depth();
}

#[test]
fn of_some_permits_of_several() {
    Cell {
        capacity: "5c",
        weight: 2,
        holders: 2,
        waits: ["time pttl zadd zmscore zrange zrangebyscore", COUNTED.waits[1]],
        ..COUNTED
    }
    .costs_the_same_at_any_depth();
}

#[test]
fn of_a_semaphore_with_a_rate() {
    Cell {
        capacity: "3c",
        holders: 3,
        rest: &["1 1000000 1000000"],
        free: ["time pttl zadd zmscore", "zmscore zrange zrem"],
        waits: [
            "time pttl zadd zmscore zrangebyscore",
            "time pttl publish pubsub zadd 2*zmscore zrange zrem",
        ],
        ..COUNTED
    }
    .costs_the_same_at_any_depth();
}
