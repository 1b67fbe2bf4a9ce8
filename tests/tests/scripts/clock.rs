//! A clock that steps: tokens still grow, and no hold outlasts its lease.

use crate::bench::Script;
use crate::lock::{KEY, LEASE, Lock, RETENTION, Terms, WAIT, attempt};
use crate::model::Attempt;

const HOUR: i64 = 3_600_000;

#[test]
fn a_token_never_repeats() {
    let mut lock = Lock::new(1);
    let mut last = 0;
    for (count, step) in [0, 0, -HOUR, 0, 1, HOUR - 1, 0, HOUR, -2 * HOUR, 0]
        .into_iter()
        .enumerate()
    {
        let who = attempt(count as u64, 1);
        lock.bench.advance(step);
        let token = lock.acquire(&who, WAIT)[2];
        assert!(token > last, "{token} after {last}");
        let ahead = (token - lock.stamp()) / 1000;
        assert!(
            lock.pttl() >= ahead + RETENTION,
            "the memory of a token ahead of the clock lasts longer"
        );
        last = token;
        assert_eq!(lock.end(&who, None), [1, 0, 0]);
    }
}

#[test]
fn a_token_of_a_hand_off_never_repeats_either() {
    let mut lock = Lock::new(1);
    let [a, b, c] = [1, 2, 3].map(|count| attempt(count, 1));
    let first = lock.acquire(&a, WAIT)[2];
    lock.acquire(&b, WAIT);
    lock.bench.advance(-HOUR);
    lock.acquire(&c, WAIT);
    lock.end(&a, None);
    assert_eq!(lock.dump().token, Some(first + 1));
    assert!(
        lock.pttl() >= HOUR + RETENTION - 60_000,
        "the record is remembered until then"
    );
    lock.end(&b, None);
    assert_eq!(lock.dump().token, Some(first + 2));
}

#[test]
fn the_token_is_above_the_floor() {
    let mut lock = Lock::new(1);
    let [a, b] = [1, 2].map(|count| attempt(count, 1));
    let floor = lock.stamp() + HOUR * 1000;
    assert_eq!(lock.acquire(&a, Terms { floor, ..WAIT })[2], floor + 1);
    assert!(lock.pttl() > HOUR + RETENTION, "the memory of it lasts longer");
    lock.end(&a, None);
    let token = lock.acquire(&b, WAIT)[2];
    assert_eq!(token, floor + 2, "without a floor: above the last one");
    assert_eq!(
        lock.acquire(
            &b,
            Terms {
                floor: token - 1,
                ..WAIT
            }
        )[2],
        token,
        "a replay has the same token"
    );
    assert_eq!(
        lock.acquire(&b, Terms { floor: token, ..WAIT })[2],
        token + 1,
        "unless its floor says otherwise"
    );
}

#[test]
fn a_hold_is_cut_to_its_lease() {
    let mut lock = Lock::new(1);
    let [a, b] = [1, 2].map(|count| attempt(count, 1));
    lock.acquire(&a, WAIT);
    lock.bench.advance(-HOUR);
    assert_eq!(
        lock.acquire(&b, WAIT),
        [2, lock.stamp(), LEASE, 0],
        "one lease, not an hour (H49)"
    );
}

#[test]
fn every_shared_hold_is_cut_whichever_ends_first() {
    let mut lock = Lock::new(2);
    let long = Attempt::new(1, 1, 1, HOUR, 1000);
    let [short, other] = [2, 3].map(|count| attempt(count, 1));
    lock.acquire(&long, WAIT);
    lock.bench.advance(HOUR - LEASE / 2);
    lock.acquire(&short, WAIT);
    lock.bench.advance(-HOUR / 2);
    lock.acquire(&other, WAIT);
    let now = lock.now();
    let dump = lock.dump();
    assert_eq!(
        dump.holds[&short.id].0,
        now + LEASE,
        "the one that ends first is within its lease, this one was not"
    );
    assert_eq!(dump.holds[&long.id].0, now + HOUR / 2 + LEASE / 2);
}

#[test]
fn more_holds_than_one_step_cuts_are_cut_by_the_next() {
    let mut lock = Lock::new(1000);
    for count in 0..250 {
        lock.acquire(&attempt(count, 1), WAIT);
    }
    lock.bench.advance(-HOUR);
    let writer = attempt(999, 1000);
    for _ in 0..3 {
        lock.acquire(&writer, WAIT);
    }
    let last = lock.now() + LEASE;
    assert!(lock.dump().holds.values().all(|(end, _)| *end <= last));
}

#[test]
fn an_extended_hold_is_not_cut() {
    let mut lock = Lock::new(1);
    let [a, b] = [1, 2].map(|count| attempt(count, 1));
    let token = lock.acquire(&a, WAIT)[2];
    lock.acquire(&b, WAIT);
    assert_eq!(lock.tick('x', &a, token), [1, 5 * LEASE]);
    assert!(lock.pttl() > 5 * LEASE + RETENTION - 60_000);
    assert_eq!(lock.tick('w', &b, 0), [3, 5 * LEASE, 0], "not cut");
    lock.bench.advance(1000);
    assert_eq!(
        lock.tick('h', &a, token),
        [1, 5 * LEASE - 1000],
        "nor shortened by a renewal"
    );
    lock.bench.advance(-HOUR);
    assert_eq!(
        lock.tick('w', &b, 0),
        [3, 5 * LEASE, 0],
        "but it is cut to the longer lease when the clock steps"
    );
    lock.end(&a, None);
    assert!(lock.dump().extended.is_empty());
}

#[test]
fn a_waiter_is_not_stale_because_the_clock_was_set_back() {
    let mut lock = Lock::new(1);
    let [a, b] = [1, 2].map(|count| attempt(count, 1));
    lock.acquire(&a, WAIT);
    lock.acquire(&b, WAIT);
    lock.bench.advance(-HOUR);
    lock.end(&a, None);
    assert_eq!(lock.holders(), [b.id]);
}

/// `end` gives retention as ttl. With little of it, the key's life must still cover the claim that `end` makes.
#[test]
fn a_hand_off_keeps_the_key_for_as_long_as_its_claim() {
    for fast in [false, true] {
        let mut lock = Lock::new(1);
        let [a, b] = [1, 2].map(|count| Attempt::new(1, count, 1, HOUR, HOUR));
        if fast {
            lock.listens(&b); // then the script's fast path hands on
        }
        lock.acquire(&a, WAIT);
        lock.acquire(&b, WAIT);
        lock.bench.redis(&["PEXPIRE", KEY, "60000"]); // as if that had been long ago
        lock.bench.advance(1); // or its token would be ahead of the clock
        let args = [a.id.clone(), "1".to_owned(), "0".to_owned(), "0".to_owned()];
        lock.bench.call(Script::End, &[KEY], &args);
        assert!(
            lock.pttl() > HOUR - 60_000,
            "the claim lasts an hour, the key {} ms, fast: {fast}",
            lock.pttl()
        );
    }
}
