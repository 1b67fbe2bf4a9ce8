//! Who is next, and what the dead, the frozen and the stale cost the others.

use crate::lock::{INBOX, KEY, LEASE, Lock, RETENTION, TRY, Terms, WAIT, WINDOW, attempt};
use crate::model::Attempt;

/// Ticks longer than this ago: the waiter is dropped at the front. 40 units of 256 ms, and up to two of rounding.
const PATIENCE: i64 = 22 * 512;
const GONE: i64 = 61 * 512;

#[test]
fn nobody_barges() {
    let mut lock = Lock::new(3);
    let [reader, writer, late, tried] =
        [(1, 1), (2, 3), (3, 1), (4, 1)].map(|(count, weight)| attempt(count, weight));
    lock.acquire(&reader, WAIT);
    assert_eq!(lock.acquire(&writer, WAIT)[0], 2);
    assert_eq!(
        lock.acquire(&late, WAIT)[0],
        2,
        "it would fit, but a writer waits"
    );
    assert_eq!(lock.acquire(&tried, TRY)[0], 3, "nor does a try");
    assert_eq!(lock.end(&writer, None), [2, 0, 0]);
    assert_eq!(
        lock.dump().holds.len(),
        2,
        "the writer gave up: the reader behind it is granted"
    );
    assert_eq!(lock.acquire(&tried, TRY)[0], 1);
}

#[test]
fn a_shared_hold_on_a_fresh_key_makes_a_record() {
    let mut lock = Lock::new(3);
    let [a, b] = [1, 2].map(|count| attempt(count, 1));
    assert_eq!(lock.acquire(&a, TRY), [1, lock.stamp(), 0, LEASE, 0]);
    assert_eq!(
        lock.acquire(&b, TRY),
        [1, lock.stamp(), 0, LEASE, 0],
        "it is read as ours again"
    );
    lock.end(&a, None);
    lock.end(&b, None);
    assert!(
        lock.dump().token.is_some() && lock.pttl() > RETENTION,
        "and not gone with its last holder"
    );
}

#[test]
fn an_entry_without_subscriber_is_passed_over_but_not_dropped() {
    let mut lock = Lock::new(1);
    let [a, deaf, b] = [1, 2, 3].map(|count| attempt(count, 1));
    lock.listens(&b);
    for who in [&a, &deaf, &b] {
        lock.acquire(who, WAIT);
    }
    lock.end(&a, None);
    assert_eq!(
        (lock.holders(), lock.queue()),
        (vec![b.id.clone()], vec![deaf.id.clone()])
    );
    lock.end(&b, None);
    assert_eq!(
        lock.holders(),
        [deaf.id],
        "nobody else can be granted, and the server may be wrong about it"
    );
}

#[test]
fn an_entry_that_was_passed_over_is_granted_when_the_next_does_not_fit() {
    let mut lock = Lock::new(3);
    let [a, b, deaf, heavy] = [(1, 2), (2, 1), (3, 1), (4, 2)].map(|(count, weight)| attempt(count, weight));
    lock.listens(&heavy);
    for who in [&a, &b, &deaf, &heavy] {
        lock.acquire(who, WAIT);
    }
    lock.end(&b, None);
    assert!(
        lock.holders().contains(&deaf.id),
        "the permit must not lie idle before a live waiter"
    );
    assert_eq!(lock.queue(), [heavy.id]);
}

#[test]
fn an_entry_without_subscriber_that_was_not_seen_either_is_dropped() {
    let mut lock = Lock::new(1);
    let [a, dead, b] = [1, 2, 3].map(|count| attempt(count, 1));
    let token = lock.acquire(&a, WAIT)[2];
    lock.acquire(&dead, WAIT);
    lock.bench.advance(14 * 512);
    lock.tick('h', &a, token);
    lock.end(&a, None);
    assert_eq!(
        (lock.holders(), lock.queue()),
        (vec![], vec![]),
        "a dead process's place costs no claim window after that"
    );
    assert_eq!(lock.acquire(&b, WAIT)[0], 1, "free");
}

#[test]
fn a_full_queue_makes_room_for_the_living() {
    let mut lock = Lock::new(1);
    let [a, dead, b] = [1, 2, 3].map(|count| attempt(count, 1));
    let token = lock.acquire(&a, WAIT)[2];
    let one = Terms { room: 1, ..WAIT };
    assert_eq!(lock.acquire(&dead, one)[0], 2, "room for one");
    assert_eq!(lock.acquire(&b, one)[0], 6, "it may be alive");
    lock.bench.advance(PATIENCE / 2);
    lock.tick('h', &a, token);
    lock.bench.advance(PATIENCE / 2);
    assert_eq!(lock.acquire(&b, one)[0], 2, "it was not seen for ten seconds");
    assert_eq!(lock.queue(), [b.id]);
}

#[test]
fn an_entry_that_polls_needs_no_subscriber() {
    let mut lock = Lock::new(1);
    let [a, polls, b] = [1, 2, 3].map(|count| attempt(count, 1));
    lock.listens(&b);
    lock.acquire(&a, WAIT);
    lock.acquire(&polls, Terms { polls: 3, ..WAIT });
    lock.acquire(&b, WAIT);
    lock.end(&a, None);
    assert_eq!(lock.holders(), [polls.id]);
}

/// The head is subscribed but silent. Each time another passes; then its window is twice as long.
#[test]
fn a_waiter_that_ticks_and_never_asks_costs_three_windows() {
    let mut lock = Lock::new(1);
    let [a, frozen, b, c, d] = [1, 2, 3, 4, 5].map(|count| attempt(count, 1));
    for who in [&a, &frozen, &b, &c, &d] {
        lock.listens(who);
        lock.acquire(who, WAIT);
    }
    let mut before = a;
    for (missed, passes) in [(0, &b), (1, &c), (2, &d)] {
        lock.end(&before, None);
        let window = WINDOW << missed;
        assert_eq!(lock.dump().holds[&frozen.id], (lock.now() + window, Some(missed)));
        lock.bench.advance(window);
        let wake = lock.tick('w', passes, 0);
        assert_eq!(wake[..2], [3, 1], "over in the next millisecond, not before");
        lock.bench.advance(1);
        assert_eq!(lock.tick('w', passes, 0)[0], 2, "one other passes");
        for waiter in [&frozen, &c, &d] {
            lock.tick('w', waiter, 0); // their clients are alive
        }
        before = passes.clone();
    }
    assert!(lock.queue().is_empty(), "three claims, and it is given up");
}

#[test]
fn a_waiter_that_comes_back_starts_anew() {
    let mut lock = Lock::new(1);
    let [a, slow, b] = [1, 2, 3].map(|count| attempt(count, 1));
    for who in [&a, &slow, &b] {
        lock.acquire(who, WAIT);
    }
    lock.end(&a, None);
    lock.bench.advance(WINDOW + 1);
    lock.tick('w', &b, 0);
    assert_eq!(
        lock.dump().queue,
        [(slow.id.clone(), 1, (lock.now() / 512 - 59 + 14) % (1 << 18))],
        "silent, and given up in seven seconds"
    );
    assert_eq!(lock.tick('w', &slow, 0)[0], 3, "its client lives");
    assert_eq!(
        lock.dump().queue[0].1,
        1,
        "but nobody polls its future: the miss is counted"
    );
    assert_eq!(lock.acquire(&slow, WAIT)[0], 2, "it asks by itself");
    lock.end(&b, None);
    assert_eq!(
        lock.dump().holds[&slow.id].1,
        Some(0),
        "nothing is held against it"
    );
}

#[test]
fn the_entry_behind_one_that_may_be_dead_is_told() {
    let mut lock = Lock::new(1);
    let [a, b, c] = [1, 2, 3].map(|count| attempt(count, 1));
    for who in [&a, &b, &c] {
        lock.listens(who);
        lock.acquire(who, WAIT);
    }
    lock.bench.advance(WINDOW + 512);
    lock.end(&a, None);
    let sent = lock.bench.messages();
    let text = format!("w {} {WINDOW} {}", c.parts().1, lock.stamp());
    assert_eq!(sent[&format!("latchwork:inbox:{}", c.parts().0)], [text]);
    assert_eq!(sent.len(), 2, "and the grant itself");
}

#[test]
fn the_next_one_is_told_when_the_one_that_was_told_gives_up() {
    let mut lock = Lock::new(1);
    let [a, b, c, d] = [1, 2, 3, 4].map(|count| attempt(count, 1));
    for who in [&a, &b, &c, &d] {
        lock.listens(who);
        lock.acquire(who, WAIT);
    }
    lock.end(&a, None);
    lock.bench.messages();
    lock.bench.advance(300);
    assert_eq!(lock.end(&c, None), [2, 0, 0]);
    let sent = lock.bench.messages();
    let text = format!("w {} {} {}", d.parts().1, WINDOW - 300 + 1, lock.stamp());
    assert_eq!(sent[&format!("{INBOX}{}", d.parts().0)], [text]);
}

#[test]
fn one_message_per_client() {
    let mut lock = Lock::new(3);
    let writer = attempt(1, 3);
    let readers = [2, 3].map(|count| Attempt::new(7, count, 1, LEASE, WINDOW));
    lock.listens(&readers[0]);
    lock.acquire(&writer, WAIT);
    for reader in &readers {
        lock.acquire(reader, WAIT);
    }
    lock.end(&writer, None);
    let sent: Vec<String> = lock.bench.messages().into_values().flatten().collect();
    assert_eq!(sent.len(), 1);
    assert_eq!(sent[0].split(';').count(), 2, "{sent:?}");
}

#[test]
fn h8_a_waiter_not_seen_for_thirty_seconds_is_dropped_at_the_front() {
    let mut lock = Lock::new(1);
    let [a, dead, b] = [1, 2, 3].map(|count| Attempt::new(count, count as u64, 1, 60_000, WINDOW));
    lock.acquire(&a, WAIT);
    lock.acquire(&dead, WAIT);
    lock.listens(&dead); // its connection looks alive
    lock.bench.advance(GONE);
    lock.acquire(&b, WAIT);
    assert_eq!(lock.queue().len(), 2, "not while somebody holds");
    lock.end(&a, None);
    assert_eq!((lock.holders(), lock.queue()), (vec![b.id], vec![]));
}

#[test]
fn h8_a_claim_window_above_the_patience_does_not_lengthen_it() {
    let mut lock = Lock::new(1);
    let [a, dead, b] = [1, 2, 3].map(|count| Attempt::new(count, count as u64, 1, 60_000, 30_000));
    lock.acquire(&a, WAIT);
    lock.acquire(&dead, WAIT);
    lock.listens(&dead); // its connection looks alive
    lock.bench.advance(GONE);
    lock.acquire(&b, WAIT);
    lock.end(&a, None);
    assert_eq!((lock.holders(), lock.queue()), (vec![b.id], vec![]));
}

#[test]
fn a_tick_drops_nobody_that_is_in_it() {
    let mut lock = Lock::new(1);
    let [a, b, c] = [1, 2, 3].map(|count| attempt(count, 1));
    for who in [&a, &b, &c] {
        lock.acquire(who, WAIT);
    }
    lock.bench.advance(GONE); // the whole process was paused
    let items = [('w', &c, 0, LEASE), ('w', &b, 0, LEASE)];
    let reply = lock.tick_raw(&[KEY, KEY], &items);
    assert_eq!(
        reply.items()[3].items()[0].int(),
        Some(2),
        "the head is granted: {reply:?}"
    );
    assert_eq!(lock.queue(), [c.id]);
}

#[test]
fn a_tombstone_stops_a_late_acquire() {
    let mut lock = Lock::new(1);
    let a = attempt(1, 1);
    assert_eq!(
        lock.end(&a, Some(2000)),
        [0, 0, 0],
        "end overtook the acquire (H14)"
    );
    assert_eq!(lock.end(&a, Some(500)), [0, 0, 0], "an older copy of it");
    assert!(lock.pttl() > 0);
    lock.bench.advance(2000 + 999);
    assert_eq!(lock.acquire(&a, WAIT)[0], 5);
    lock.bench.advance(1);
    assert_eq!(
        lock.acquire(&a, WAIT)[0],
        1,
        "a second after the last that it may ask for"
    );
}

#[test]
fn end_of_the_one_whose_claim_lapsed_puts_nothing_back() {
    let mut lock = Lock::new(1);
    let [a, b, c] = [1, 2, 3].map(|count| attempt(count, 1));
    for who in [&a, &b, &c] {
        lock.acquire(who, WAIT);
    }
    lock.end(&a, None);
    lock.bench.advance(WINDOW + 1);
    assert_eq!(lock.end(&b, None), [0, 0, 0], "its hold is over");
    assert_eq!((lock.holders(), lock.queue()), (vec![c.id], vec![]));
}

#[test]
fn h35_a_late_acquire_of_a_hold_that_moved_to_another_attempt_is_not_granted() {
    let mut lock = Lock::new(1);
    let [old, new] = [1, 2].map(|count| attempt(count, 1));
    let token = lock.acquire(&old, WAIT)[2];
    assert_eq!(lock.adopt(&new, &old, token, 5000)[0], 1, "moved");
    lock.end(&new, None);
    assert_eq!(lock.acquire(&old, WAIT)[0], 5, "it has ended");
    assert!(
        lock.holders().is_empty() && lock.queue().is_empty(),
        "nobody has it"
    );
    lock.bench.advance(LEASE + 1001);
    assert_eq!(lock.acquire(&new, WAIT)[0], 1, "and it is free");
}
