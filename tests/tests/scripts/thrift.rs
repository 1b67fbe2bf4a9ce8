//! What a shortcut is for: the commands that a script runs on each of them, counted. A shortcut that is not taken changes
//! nothing but these, as the general path does the same (`shortcuts.rs`).

use std::sync::atomic::{AtomicU64, Ordering};

use latchwork_testkit::Reply;
use latchwork_tests::commands;

use crate::bench::{Bench, Script};
use crate::latch_model::Ask;
use crate::latch_random::{self, arguments};
use crate::lock::{Lock, TRY, WAIT, attempt, ints};
use crate::model::Attempt;

/// The commands that were run since the counts were reset, as in `zadd 2*zscore`. To set the clock is not the script's.
pub(crate) fn ran(bench: &Bench) -> String {
    let mut ran = commands(&bench.server);
    ran.remove("mset");
    assert_eq!(ran.remove("evalsha"), Some(1), "one request: {ran:?}");
    let each = ran.iter().map(|(name, times)| {
        let name = name.split('|').next().unwrap_or_default();
        let name = if name == "mget" { "time" } else { name };
        if *times == 1 {
            name.to_owned()
        } else {
            format!("{times}*{name}")
        }
    });
    each.collect::<Vec<_>>().join(" ")
}

impl Lock {
    #[track_caller]
    fn runs<T>(&mut self, what: &str, commands: &str, request: impl FnOnce(&mut Self) -> T) -> T {
        self.bench.next_goes_alone();
        self.bench.server.reset_stats().unwrap();
        let reply = request(self);
        assert_eq!(ran(&self.bench), commands, "{what}");
        reply
    }

    #[track_caller]
    fn acquire_runs(&mut self, what: &str, who: &Attempt, commands: &str) -> i64 {
        self.runs(what, commands, |lock| lock.acquire(who, WAIT))[2]
    }

    #[track_caller]
    fn try_runs(&mut self, what: &str, who: &Attempt, commands: &str) {
        let reply = self.runs(what, commands, |lock| lock.acquire(who, TRY));
        assert_eq!(reply[0], 3, "{what}: it is busy");
    }

    #[track_caller]
    fn end_runs(&mut self, what: &str, who: &Attempt, commands: &str) {
        let had = self.runs(what, commands, |lock| lock.end(who, None));
        assert_eq!(had, [1, 0, 0], "{what}: it held");
    }

    #[track_caller]
    fn renewal_runs(&mut self, what: &str, who: &Attempt, token: i64, commands: &str) {
        self.bench.advance(1000);
        let reply = self.runs(what, commands, |lock| lock.tick('h', who, token));
        assert_eq!(reply[0], 1, "{what}: it holds");
    }
}

#[test]
fn of_a_lock_that_one_has() {
    let mut lock = Lock::new(1);
    let [a, b, c, d, next] = [1, 2, 3, 4, 5].map(|count| attempt(count, 1));
    for who in [&b, &c, &d] {
        lock.listens(who);
    }
    let token = lock.acquire_runs("without a record", &a, "time pexpire zadd zrange");
    lock.renewal_runs(
        "a renewal",
        &a,
        token,
        "time pttl zadd zmscore zremrangebyscore zscore",
    );
    lock.try_runs("a try", &next, "time zadd zmscore zrange");
    let queued = "time pttl zadd zmscore zrange";
    lock.acquire_runs("the first that waits", &b, queued);
    lock.acquire_runs("the second", &c, queued);
    lock.acquire_runs("the third", &d, queued);
    lock.try_runs("others wait", &next, "time zadd zmscore zrange");
    lock.bench.advance(10);
    let first = "time publish pubsub zadd zmscore zrange zrem";
    lock.end_runs("three wait", &a, first);
    let at_the_same_time = "time pttl publish pubsub zadd zincrby zmscore zrange zrem";
    lock.end_runs("two wait", &b, at_the_same_time);
    lock.bench.advance(10);
    lock.end_runs("one waits", &c, "time publish pubsub zadd zmscore zrange zrem");
    lock.end_runs("nobody waits", &d, "zrange zrem");
    let after = "time pttl zadd zrange";
    lock.bench.advance(10);
    lock.acquire_runs("nobody has it", &next, after);
    lock.end_runs("nobody waits", &next, "zrange zrem");
    lock.bench.advance(-1);
    lock.acquire_runs("behind the last token", &a, "time pttl zadd zincrby zrange");
}

#[test]
fn of_a_lock_that_is_shared() {
    let mut lock = Lock::new(3);
    let [a, b, c] = [1, 2, 3].map(|count| attempt(count, 1));
    let all = attempt(4, 3);
    lock.acquire_runs("the writer", &all, "time pexpire zadd zrange");
    lock.end_runs("its release", &all, "zrange zrem");
    lock.acquire_runs("the first reader", &a, "time pttl zadd zmscore zrange");
    lock.acquire_runs("the second", &b, "time pttl zadd zmscore zrange");
    let beside = "time pttl zadd zmscore zrange zrangebyscore";
    lock.renewal_runs("a renewal", &a, 0, "time pttl zadd zremrangebyscore zscore");
    let reply = lock.runs("the third tries", beside, |lock| lock.acquire(&c, TRY));
    assert_eq!(reply[0], 1, "there is room");
    lock.end_runs("beside two", &c, "zadd zmscore zrange zrem");
    lock.end_runs("beside one", &b, "zadd zmscore zrange zrem");
    lock.end_runs("the last", &a, "zrange zrem");
}

#[test]
fn of_a_counted_primitive() {
    let mut lock = Lock::counted(3);
    let [a, b, c] = [1, 2, 3].map(|count| attempt(count, 1));
    lock.acquire(&a, WAIT);
    lock.end_runs("the last", &a, "zrange zrem");
    lock.acquire_runs("the first", &b, "time pttl zadd zmscore");
    lock.acquire_runs("the second", &c, "time pttl zadd zmscore zrangebyscore");
    lock.renewal_runs("a renewal", &b, 0, "time pttl zadd zremrangebyscore zscore");
    lock.end_runs("beside one", &b, "zadd zmscore zrange zrem");
    lock.end_runs("the last", &c, "zrange zrem");
}

/// Asks a latch as somebody new, and compares the commands. Returns the reply as it comes.
#[track_caller]
fn asks(bench: &mut Bench, what: &str, ask: &Ask, commands: &str) -> Reply {
    static ASKED: AtomicU64 = AtomicU64::new(1);
    let number = ASKED.fetch_add(1, Ordering::Relaxed);
    let id = attempt(number, 1).id;
    let words = arguments(&Ask { id, ..ask.clone() });
    let hash = bench.hash(Script::Latch).to_owned();
    let mut request = vec!["EVALSHA", &hash, "1", latch_random::KEY];
    request.extend(words.iter().map(String::as_str));
    bench.server.reset_stats().unwrap();
    let reply = bench.redis(&request);
    assert_eq!(ran(bench), commands, "{what}");
    reply
}

#[test]
fn of_a_latch() {
    let bench = &mut Bench::start();
    bench.call(Script::Peek, &[latch_random::KEY], &[1]); // sets the clock
    let look = Ask {
        id: String::new(),
        count: 40,
        by: 0,
        once: String::new(),
        to: -1,
        asked: 0,
        not_after: bench.now() + 5000,
        room: -1,
        ttl: 600_000,
        memory: 60_000,
        polls: 0,
    };
    let down = |by| Ask { by, ..look.clone() };
    let of_any = |ask: Ask| Ask { count: -1, ..ask };
    let wait = Ask {
        room: 10,
        ..look.clone()
    };
    let stay = Ask {
        room: 0,
        ..look.clone()
    };

    let makes = bench.call(Script::Latch, &[latch_random::KEY], &arguments(&down(1)));
    let generation = ints(&makes)[2];
    asks(bench, "a count-down", &down(1), "time pttl zadd zmscore");
    asks(
        bench,
        "without a count",
        &of_any(down(1)),
        "time pttl zadd zmscore zscore",
    );
    let sixteen = "time pttl zadd zmscore zrangebyscore";
    asks(bench, "past a multiple of 16", &down(7), sixteen);
    asks(bench, "a look", &look, "zscore");
    asks(bench, "without a count", &of_any(look.clone()), "2*zscore");
    asks(bench, "one that does not wait", &stay, "time zmscore 2*zscore");
    let before = bench.redis(&["COPY", latch_random::KEY, "latchwork:latch:{before}"]);
    assert_eq!(before, Reply::Int(1), "it is kept for later");
    let last = "time pexpire zadd zmscore zrangebyscore zrevrangebyscore";
    asks(bench, "the last count-down", &down(40), last);
    asks(bench, "one that comes later", &wait, "zscore");
    let of_it = Ask {
        asked: generation,
        ..wait
    };
    asks(bench, "one that names it", &of_it, "time zmscore zscore");
    bench.redis(&["COPY", "latchwork:latch:{before}", latch_random::KEY, "REPLACE"]);
    let down = Ask {
        memory: look.ttl,
        ..down(40)
    };
    let last = "time pexpire zadd zmscore zrangebyscore";
    asks(bench, "the last, remembered for long", &down, last);
}
