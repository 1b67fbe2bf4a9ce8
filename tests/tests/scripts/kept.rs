//! Holds that stay in use for a time after their end, by hand: late copies neither prolong nor shorten them.

use crate::bench::Script;
use crate::lock::{KEY, LEASE, Lock, RETENTION, WAIT, attempt, ints};
use crate::model::Attempt;

/// The id of what is kept.
fn kept(who: &Attempt, ms: i64) -> String {
    let parts: Vec<&str> = who.id.rsplitn(3, ':').collect();
    format!("{}:{ms}:0", parts[2])
}

impl Lock {
    /// Ends the attempt, whose hold stays in use for `keep` ms.
    fn keep(&mut self, who: &Attempt, tomb: Option<i64>, keep: i64) -> Vec<i64> {
        let not_after = tomb.map_or(0, |ms| self.now() + ms);
        let suffix = if self.counted { "c" } else { "" };
        let numbers = [RETENTION, not_after, keep].map(|number| number.to_string());
        let head = [who.id.clone(), format!("{}{suffix}", self.capacity)];
        let args = [&head[..], &numbers].concat();
        ints(&self.bench.call(Script::End, &[KEY], &args))
    }

    /// The holds, with what is left of them.
    fn left(&mut self) -> Vec<(String, i64)> {
        let (now, dump) = (self.now(), self.dump());
        let left = |(id, (ends, claim))| {
            assert_eq!(claim, None, "{id} is no claim");
            (id, ends - now)
        };
        dump.holds.into_iter().map(left).collect()
    }
}

#[test]
fn late_copies_neither_prolong_nor_shorten_a_kept_hold() {
    let mut lock = Lock::new(1);
    let (a, b) = (attempt(1, 1), attempt(2, 1));
    let token = lock.acquire(&a, WAIT)[2];
    lock.acquire(&b, WAIT);
    assert_eq!(lock.keep(&a, Some(5000), 700), [1, 0, 0], "it held");
    let expected = [(kept(&a, 700), 700)];
    assert_eq!(lock.left(), expected);
    assert_eq!(lock.tick('h', &a, token), [5, 1], "a renewal that was under way");
    assert_eq!(lock.tick('x', &a, token), [5, 1], "an extension");
    assert_eq!(lock.keep(&a, Some(5000), 900), [0, 0, 0], "a copy of the end");
    assert_eq!(lock.end(&a, None), [0, 0, 0], "a plain end");
    assert_eq!(lock.acquire(&a, WAIT)[0], 5, "a copy of the acquire");
    assert_eq!(lock.left(), expected, "change nothing");
    lock.bench.now_us += 699_000;
    assert_eq!(lock.tick('w', &b, 0), [3, 1, 0], "one millisecond is left");
    lock.bench.now_us += 1000;
    assert_eq!(lock.tick('w', &b, 0)[0], 2, "and then it is granted");
}

#[test]
fn the_next_waiter_is_told_when_a_kept_hold_ends() {
    let mut lock = Lock::new(1);
    let [a, b, c] = [1, 2, 3].map(|count| attempt(count, 1));
    for who in [&a, &b, &c] {
        lock.listens(who);
        lock.acquire(who, WAIT);
    }
    lock.bench.messages();
    lock.keep(&a, None, 700);
    let stamp = lock.stamp();
    let told = |who: &Attempt| vec![format!("w {} 700 {stamp}", who.parts().1)];
    let messages: Vec<_> = lock.bench.messages().into_values().flatten().collect();
    assert_eq!(messages, told(&b), "the head of the queue");
    lock.end(&b, None);
    let messages: Vec<_> = lock.bench.messages().into_values().flatten().collect();
    assert_eq!(messages, told(&c), "and the next if that one leaves");
}

#[test]
fn a_claim_and_an_extended_hold_are_kept_for_the_given_time() {
    let mut lock = Lock::new(1);
    let (a, b) = (attempt(1, 1), attempt(2, 1));
    let token = lock.acquire(&a, WAIT)[2];
    lock.tick('x', &a, token);
    lock.listens(&b);
    lock.acquire(&b, WAIT);
    lock.end(&a, None);
    assert_eq!(lock.keep(&b, None, 20 * LEASE), [1, 0, 0], "of a claim");
    assert_eq!(
        lock.left(),
        [(kept(&b, 20 * LEASE), 20 * LEASE)],
        "no claim any longer"
    );
    assert!(lock.pttl() >= 20 * LEASE + RETENTION, "the record outlives it");
    lock.bench.now_us += 20 * LEASE * 1000;
    let token = lock.acquire(&a, WAIT)[2];
    lock.tick('x', &a, token);
    lock.keep(&a, None, 30);
    assert_eq!(lock.left(), [(kept(&a, 30), 30)], "of an extended hold");
    assert!(lock.dump().extended.is_empty(), "whose mark is gone");
}

#[test]
fn permits_are_kept_as_many_as_there_are() {
    let mut lock = Lock::counted(5);
    let (whole, part, rest) = (attempt(1, 4), attempt(2, 1), attempt(3, 3));
    lock.acquire(&whole, WAIT);
    lock.part(Script::Split, &part, &whole, 100);
    assert_eq!(lock.keep(&whole, None, 500), [1, 0, 0]);
    assert_eq!(lock.dump().shared, Some(4), "all of them are in use");
    lock.end(&part, None);
    assert_eq!(lock.dump().shared, Some(3), "and three are");
    assert_eq!(lock.acquire(&rest, WAIT)[0], 2, "two are free");
    lock.bench.now_us += 500_000;
    assert_eq!(lock.tick('w', &rest, 0)[0], 2, "all are");
    assert_eq!(lock.dump().shared, Some(3), "but those of the new holder");
    lock.end(&rest, None);
    assert_eq!(lock.dump().shared, None, "none is in use");
}

#[test]
fn an_upgraded_hold_is_kept_with_everything() {
    let mut lock = Lock::new(3);
    let base = attempt(1, 1);
    let upgrade = Attempt::upgrade(&base, 2, 3);
    lock.acquire(&base, WAIT);
    lock.acquire(&upgrade, WAIT);
    assert_eq!(lock.keep(&base, None, 500), [1, 0, 0]);
    let reader = attempt(3, 1);
    assert_eq!(lock.acquire(&reader, WAIT)[0], 2, "everything is in use");
    lock.bench.now_us += 500_000;
    assert_eq!(lock.tick('w', &reader, 0)[0], 2, "it is over");
    assert_eq!(lock.dump().shared, Some(1), "and nothing of it is left");
}

#[test]
fn a_part_that_nobody_took_returns_to_the_whole() {
    let mut lock = Lock::counted(5);
    let (whole, part, late, rest) = (attempt(1, 4), attempt(2, 1), attempt(3, 2), attempt(4, 2));
    let end_into = |lock: &mut Lock, who: &Attempt, tomb: i64| {
        let numbers = [RETENTION, lock.now() + tomb].map(|number| number.to_string());
        let head = [who.id.clone(), "5c".to_owned()];
        let tail = [String::new(), whole.id.clone()];
        ints(
            &lock
                .bench
                .call(Script::End, &[KEY], &[&head[..], &numbers, &tail].concat()),
        )
    };
    lock.acquire(&whole, WAIT);
    lock.part(Script::Split, &part, &whole, 100);
    assert_eq!(end_into(&mut lock, &part, 100), [1, 0, 0], "it was there");
    assert_eq!(lock.dump().shared, Some(4), "nothing is free");
    assert_eq!(lock.dump().weights[&whole.id], 4, "the whole has it again");
    assert_eq!(end_into(&mut lock, &part, 100), [0, 0, 0], "a copy finds nothing");
    assert_eq!(
        end_into(&mut lock, &late, 100),
        [0, 0, 0],
        "one that was not split off yet"
    );
    assert_eq!(lock.part(Script::Split, &late, &whole, 100)[0], 5, "never is");
    assert_eq!(lock.dump().weights[&whole.id], 4, "so the whole has everything");
    lock.part(Script::Split, &rest, &whole, 100);
    lock.end(&whole, None);
    assert_eq!(end_into(&mut lock, &rest, 100), [1, 0, 0], "without a whole");
    assert_eq!(lock.dump().shared, None, "it is released");
}

#[test]
fn a_part_is_released_if_only_a_tombstone_is_left_of_the_whole() {
    let mut lock = Lock::counted(5);
    let (whole, part) = (attempt(1, 4), attempt(2, 1));
    lock.acquire(&whole, WAIT);
    lock.part(Script::Split, &part, &whole, 100);
    lock.end(&whole, Some(100));
    let not_after = lock.now() + 100;
    let args = [
        part.id.clone(),
        "5c".to_owned(),
        RETENTION.to_string(),
        not_after.to_string(),
        String::new(),
        whole.id.clone(),
    ];
    assert_eq!(
        ints(&lock.bench.call(Script::End, &[KEY], &args)),
        [1, 0, 0],
        "it was there"
    );
    let dump = lock.dump();
    assert_eq!(dump.shared, None, "nothing is in use");
    assert!(dump.weights.is_empty(), "nobody would give it back: {dump:?}");
}
