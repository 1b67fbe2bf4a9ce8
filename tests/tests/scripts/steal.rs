//! Stealing by hand: what late copies meet, and how many holds a step ends.

use crate::bench::Script;
use crate::lock::{KEY, LEASE, Lock, RETENTION, WAIT, attempt, ints};
use crate::model::Attempt;

impl Lock {
    fn steal(&mut self, who: &Attempt, not_after: i64) -> Vec<i64> {
        self.steal_above(0, who, not_after)
    }

    fn steal_above(&mut self, floor: i64, who: &Attempt, not_after: i64) -> Vec<i64> {
        let numbers = [
            LEASE,
            LEASE + RETENTION,
            self.capacity,
            floor,
            self.now() + not_after,
        ];
        let numbers = numbers.map(|number| number.to_string());
        let args = [std::slice::from_ref(&who.id), &numbers[..]].concat();
        ints(&self.bench.call(Script::Steal, &[KEY], &args))
    }
}

#[test]
fn a_late_copy_of_a_theft_ends_no_later_hold() {
    let mut lock = Lock::new(1);
    let [old, thief, robber, waiter] = [1, 2, 3, 4].map(|count| attempt(count, 1));
    for who in [&old, &thief, &robber, &waiter] {
        lock.listens(who);
    }
    let first = lock.acquire(&old, WAIT)[2];
    lock.acquire(&waiter, WAIT);
    lock.bench.messages();
    let stolen = lock.steal(&thief, 1000);
    let token = stolen[2];
    assert_eq!(stolen, [1, lock.stamp(), token, LEASE, 0]);
    assert!(token > first, "a newer token");
    let texts: Vec<String> = lock.bench.messages().into_values().flatten().collect();
    assert_eq!(
        texts,
        [format!("f {} {}", old.parts().1, lock.stamp())],
        "the holder is told"
    );
    assert_eq!(lock.tick('h', &old, first), [5, 3], "forced");
    let next = attempt(6, 1);
    let adopted = lock.adopt(&next, &old, first, 1000);
    assert_eq!(adopted, [3, lock.stamp(), 3], "its ticket is told, too");
    assert_eq!(
        lock.end(&old, None),
        [3, 0, 0],
        "its release says why, and changes nothing"
    );
    assert_eq!(lock.end(&old, None), [3, 0, 0], "again");
    lock.bench.now_us += 5000;
    let again = [1, lock.stamp(), token, LEASE - 5, 0];
    assert_eq!(lock.steal(&thief, 1000), again, "a copy extends nothing");
    lock.steal(&robber, 1000);
    assert_eq!(
        lock.steal(&thief, 1000),
        [5, lock.stamp()],
        "it was robbed in turn"
    );
    assert_eq!(lock.holders(), std::slice::from_ref(&robber.id), "who keeps it");
    assert_eq!(lock.queue(), std::slice::from_ref(&waiter.id), "the queue stays");
    lock.end(&robber, Some(1000));
    assert_eq!(
        lock.holders(),
        std::slice::from_ref(&waiter.id),
        "and is served next"
    );
    assert_eq!(
        lock.steal(&robber, 1000),
        [5, lock.stamp()],
        "one that was given up"
    );
    let late = attempt(5, 1);
    assert_eq!(lock.steal(&late, -1), [4, lock.stamp()], "late");
    assert_eq!(
        lock.holders(),
        std::slice::from_ref(&waiter.id),
        "changes nothing"
    );
    lock.bench.redis(&["DEL", KEY]);
    lock.bench.redis(&["ZADD", KEY, "1", "foreign"]);
    assert_eq!(lock.steal(&late, 1000), [8, lock.stamp()], "foreign");
}

#[test]
fn a_floor_may_be_a_day_ahead_of_the_clock_and_no_more() {
    let mut lock = Lock::new(1);
    let (old, thief) = (attempt(1, 1), attempt(2, 1));
    lock.acquire(&old, WAIT);
    let most = lock.stamp() + 86_400_000_000;
    assert_eq!(lock.steal_above(most + 1, &thief, 1000), [7, lock.stamp()]);
    assert_eq!(
        lock.holders(),
        std::slice::from_ref(&old.id),
        "nothing has changed"
    );
    assert_eq!(lock.steal_above(most, &thief, 1000)[2], most + 1, "its token");
}

#[test]
fn more_holds_than_a_step_ends_take_several() {
    let mut lock = Lock::new(1000);
    for count in 1..=150 {
        lock.acquire(&attempt(count, 1), WAIT);
    }
    let thief = attempt(500, 1000);
    assert_eq!(lock.steal(&thief, 1000), [4, lock.stamp()], "it is to ask again");
    assert_eq!(lock.holders().len(), 50, "a hundred are ended");
    let stolen = lock.steal(&thief, 1000);
    assert_eq!(stolen, [1, lock.stamp(), stolen[2], LEASE, 0]);
    assert_eq!(lock.holders(), std::slice::from_ref(&thief.id), "alone");
    assert_eq!(lock.dump().shared, None, "nothing is shared");
}

#[test]
fn an_attempt_that_is_granted_anew_after_it_was_forced_ends_like_others() {
    let mut lock = Lock::new(1);
    let [who, waiter] = [1, 2].map(|count| attempt(count, 1));
    for waits in [false, true] {
        lock.acquire(&who, WAIT);
        lock.force();
        lock.acquire(&who, WAIT); // it had not been handed out
        if waits {
            lock.listens(&waiter);
            lock.acquire(&waiter, WAIT);
        }
        assert_eq!(lock.end(&who, None), [1, 0, 0], "it held");
        assert_eq!(
            lock.end(&who, None),
            [0, 0, 0],
            "a copy finds nothing of the first hold"
        );
        lock.end(&waiter, None);
    }
}
