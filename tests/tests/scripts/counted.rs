//! Counted primitives by hand: the capacity in the record, resize, drain, split and merge.

use crate::bench::Script;
use crate::lock::{KEY, LEASE, Lock, TRY, Terms, WAIT, WINDOW, attempt, error, ints};

const DRAIN: Terms = Terms { room: -1, ..WAIT };

#[test]
fn the_capacity_in_the_record_counts() {
    let mut lock = Lock::counted(3);
    let [a, b, c] = [(1, 3), (2, 4), (3, 1)].map(|(count, weight)| attempt(count, weight));
    assert_eq!(
        lock.acquire(&b, WAIT),
        [10, lock.stamp(), 3],
        "more than there is"
    );
    assert_eq!(lock.pttl(), -2, "changes nothing");
    assert_eq!(
        lock.acquire(&a, WAIT),
        [1, lock.stamp(), 0, LEASE, 0],
        "all of it, and no token"
    );
    let dump = lock.dump();
    assert_eq!((dump.stored, dump.shared), (Some((3, false)), Some(3)));
    lock.end(&a, None);
    lock.capacity = 5;
    assert_eq!(lock.acquire(&c, WAIT), [9, lock.stamp(), 3], "another number");
    assert_eq!(lock.acquire(&c, TRY), [9, lock.stamp(), 3], "and so for a try");
    let late = Terms {
        not_after: -1,
        ..WAIT
    };
    assert_eq!(lock.acquire(&c, late), [4, lock.stamp()], "late comes first");
    assert_eq!(lock.resize(4, -1), [4, lock.stamp()], "a late resize");
    assert_eq!(lock.dump().stored, Some((3, false)), "changes nothing");
    assert_eq!(lock.resize(4, 100), [1, lock.stamp(), 0, 0]);
    assert_eq!(lock.dump().stored, Some((4, true)));
    assert_eq!(
        lock.acquire(&b, WAIT),
        [1, lock.stamp(), 0, LEASE, 0],
        "nobody's own number matters now"
    );
    assert_eq!(lock.acquire(&c, TRY), [3, lock.stamp(), LEASE, 0], "busy");
}

#[test]
fn resize_hands_on_and_drops_what_can_never_be() {
    let mut lock = Lock::counted(2);
    let [a, b, c, d] = [(1, 2), (2, 2), (3, 1), (4, 1)].map(|(count, weight)| attempt(count, weight));
    for who in [&a, &b, &c, &d] {
        lock.listens(who);
        lock.acquire(who, WAIT);
    }
    lock.resize(1, 100);
    assert_eq!(lock.queue().len(), 3, "all is in use: nobody is looked at");
    lock.bench.messages();
    lock.end(&a, None);
    assert_eq!(
        lock.holders(),
        std::slice::from_ref(&c.id),
        "the large one is gone"
    );
    let texts: Vec<String> = lock.bench.messages().into_values().flatten().collect();
    let stamp = lock.stamp();
    assert_eq!(
        texts,
        [
            format!("w {} 0 {stamp}", b.parts().1),
            format!("g {} 0 {stamp} {WINDOW}", c.parts().1)
        ],
        "and told to look"
    );
    assert_eq!(lock.tick('w', &b, 0), [4], "it has to ask again");
    assert_eq!(lock.acquire(&b, WAIT), [10, stamp, 1], "and learns why");
    lock.resize(3, 100);
    assert_eq!(lock.holders().len(), 2, "the next goes on at once");
    assert_eq!(lock.bench.messages().len(), 1, "one message");
}

#[test]
fn drain_takes_what_is_free() {
    let mut lock = Lock::counted(5);
    let [a, b, c] = [(1, 2), (2, 1), (3, 1)].map(|(count, weight)| attempt(count, weight));
    lock.acquire(&a, WAIT);
    assert_eq!(lock.acquire(&b, DRAIN), [1, lock.stamp(), 0, LEASE, 0, 3]);
    lock.bench.advance(10);
    assert_eq!(
        lock.acquire(&b, DRAIN),
        [1, lock.stamp(), 0, LEASE - 10, 0, 3],
        "a replay (H26)"
    );
    assert_eq!(lock.acquire(&c, DRAIN)[0], 3, "nothing is left");
    lock.end(&b, None);
    assert_eq!(lock.dump().shared, Some(2), "all three came back");
    assert!(lock.dump().weights.is_empty());
}

#[test]
fn split_and_merge_move_weight_once() {
    let mut lock = Lock::counted(5);
    let [whole, part, more] = [(1, 5), (2, 2), (3, 3)].map(|(count, weight)| attempt(count, weight));
    lock.acquire(&whole, WAIT);
    lock.bench.advance(100);
    assert_eq!(lock.part(Script::Split, &part, &whole, -1), [4, lock.stamp()]);
    for _ in 0..2 {
        assert_eq!(
            lock.part(Script::Split, &part, &whole, 100),
            [1, lock.stamp(), 0, LEASE, 0],
            "once, however often it is asked for"
        );
        assert_eq!(lock.dump().weights[&whole.id], 3);
    }
    assert_eq!(lock.dump().holds[&whole.id].0, lock.now() + LEASE, "renewed");
    assert_eq!(
        lock.part(Script::Split, &more, &whole, 100),
        [3, lock.stamp(), 1],
        "nothing would be left"
    );
    assert_eq!(lock.part(Script::Merge, &whole, &more, 100), [3, lock.stamp(), 1]);
    assert_eq!(lock.part(Script::Merge, &whole, &part, -1), [4, lock.stamp()]);
    for _ in 0..2 {
        assert_eq!(lock.part(Script::Merge, &whole, &part, 100), [1, lock.stamp()]);
        let dump = lock.dump();
        assert_eq!(dump.weights[&whole.id], 5);
        assert_eq!(
            dump.tombs[&part.id],
            lock.now() + 1100,
            "a copy of the split may come"
        );
    }
    assert_eq!(
        lock.part(Script::Split, &part, &whole, 100),
        [5, lock.stamp()],
        "a late copy of the split"
    );
    assert_eq!(lock.end(&part, None), [0, 0, 0], "it has nothing");
    let [part, rest] = [attempt(4, 3), attempt(5, 1)];
    lock.part(Script::Split, &part, &whole, 100);
    lock.part(Script::Split, &rest, &part, 100);
    lock.tick('x', &part, 0);
    lock.part(Script::Merge, &whole, &part, 100);
    lock.part(Script::Merge, &whole, &rest, 100);
    let dump = lock.dump();
    assert_eq!(
        dump.weights.into_iter().collect::<Vec<_>>(),
        [(whole.id.clone(), 5)]
    );
    assert!(dump.extended.is_empty(), "no mark is left of one that ended");
    assert_eq!(lock.dump().shared, Some(5));
    lock.end(&whole, None);
    assert_eq!(lock.dump().shared, None, "all came back");
}

#[test]
fn a_claim_that_is_split_is_confirmed() {
    let mut lock = Lock::counted(2);
    let [a, b, part] = [(1, 2), (2, 2), (3, 1)].map(|(count, weight)| attempt(count, weight));
    lock.listens(&b);
    lock.acquire(&a, WAIT);
    lock.acquire(&b, WAIT);
    lock.end(&a, None);
    assert_eq!(lock.dump().holds[&b.id].1, Some(0), "a claim");
    lock.part(Script::Split, &part, &b, 100);
    assert_eq!(lock.dump().holds[&b.id], (lock.now() + LEASE, None));
    lock.bench.advance(LEASE);
    lock.tick('w', &a, 0);
    assert!(lock.queue().is_empty(), "it does not go back to the queue");
    assert_eq!(lock.dump().shared, None);
}

#[test]
fn a_hold_that_takes_another_is_renewed() {
    let mut lock = Lock::counted(5);
    let [one, other] = [1, 2].map(|count| attempt(count, 1));
    lock.acquire(&one, WAIT);
    lock.acquire(&other, WAIT);
    lock.bench.advance(100);
    lock.part(Script::Merge, &one, &other, 100);
    assert_eq!(lock.dump().holds[&one.id], (lock.now() + LEASE, None));
}

#[test]
fn a_list_leaves_out_what_nobody_holds_any_more() {
    let mut lock = Lock::counted(5);
    let [one, other] = [(1, 1), (2, 3)].map(|(count, weight)| attempt(count, weight));
    lock.acquire(&one, WAIT);
    lock.bench.advance(100);
    lock.acquire(&other, WAIT);
    let numbers = |lock: &mut Lock| [6, 9, 10, 11].map(|item| lock.inspect(10).items()[item].int().unwrap());
    assert_eq!(
        numbers(&mut lock),
        [4, 2, 0, 0],
        "in use, by two; nothing is over"
    );
    let weights = ints(&lock.inspect(10).items()[8]);
    assert_eq!(weights, [1, 3], "of both");
    lock.bench.advance(LEASE - 100);
    assert_eq!(
        numbers(&mut lock),
        [4, 1, 1, 1],
        "one is over, and what it had counts no more, though nobody has settled it"
    );
}

#[test]
fn a_counted_record_of_somebody_else_is_left_alone() {
    let [one, other] = [1, 2].map(|count| attempt(count, 1));
    for members in 1..=2 {
        let mut lock = Lock::counted(5);
        for who in [&one, &other].into_iter().take(members) {
            lock.bench.redis(&["ZADD", KEY, "1700000009999", &who.id]);
        }
        let mark = [8, lock.stamp()];
        assert_eq!(lock.resize(3, 100), mark);
        assert_eq!(lock.part(Script::Split, &other, &one, 100), mark);
        assert_eq!(lock.part(Script::Merge, &one, &other, 100), mark);
        let left = lock.bench.redis(&["ZCARD", KEY]).int();
        assert_eq!(left, Some(i64::try_from(members).unwrap()));
    }
    let mut lock = Lock::counted(5);
    let nothing = lock.part(Script::Merge, &one, &other, 100);
    assert_eq!(nothing, [3, lock.stamp(), 1], "there is no record");
}

#[test]
fn a_hold_with_a_longer_lease_keeps_it_when_it_is_split_or_takes_another() {
    let mut lock = Lock::counted(5);
    let [whole, part] = [(1, 5), (2, 2)].map(|(count, weight)| attempt(count, weight));
    lock.acquire(&whole, WAIT);
    lock.bench.advance(1);
    lock.tick('x', &whole, 0);
    let ends = (lock.now() + 5 * LEASE, None);
    lock.bench.advance(100);
    lock.part(Script::Split, &part, &whole, 100);
    assert_eq!(lock.dump().holds[&whole.id], ends);
    lock.part(Script::Merge, &whole, &part, 100);
    assert_eq!(lock.dump().holds[&whole.id], ends);
}

#[test]
fn h40_with_a_full_memory_permits_stay_as_they_are() {
    let mut lock = Lock::counted(5);
    let [whole, part, other] = [(1, 3), (2, 1), (3, 1)].map(|(count, weight)| attempt(count, weight));
    lock.acquire(&whole, WAIT);
    lock.acquire(&other, WAIT);
    let before = lock.dump();
    lock.bench.redis(&["CONFIG", "SET", "maxmemory", "1"]);
    let later = (lock.now() + 100).to_string();
    let (id, lease, ttl) = (&whole.id, "10000", "310000");
    let calls: [(Script, Vec<&str>); 3] = [
        (Script::Split, vec![&part.id, lease, ttl, id, &later]),
        (Script::Merge, vec![id, lease, ttl, &other.id, &later]),
        (Script::Resize, vec!["4c", ttl, &later]),
    ];
    for (script, args) in calls {
        let reply = lock.bench.call(script, &[KEY], &args);
        assert!(error(&reply).contains("OOM"), "{script:?}: {reply:?}");
        assert_eq!(lock.dump(), before, "{script:?} changed something");
    }
}
