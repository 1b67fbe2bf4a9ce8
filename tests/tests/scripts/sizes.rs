//! However many wait or hold, a step does a bounded part of the work, says whether there is more, and nothing is said falsely.

use latchwork_tests::commands;

use crate::bench::Script;
use crate::lock::{INBOX, KEY, LEASE, Lock, TRY, Terms, WAIT, WINDOW, attempt};
use crate::model::Attempt;

/// What one step looks at, removes and grants at most.
const SCAN: usize = 1000;
const ENDS: usize = 250;
const GRANTS: usize = 100;
/// More than any of these tests needs.
const CAPACITY: i64 = 50_000;
const SIZES: [u64; 2] = [1000, 10_000];
const MANY: Terms = Terms {
    room: 100_000,
    ..WAIT
};

/// One of many in the same process.
fn one(count: u64, weight: i64) -> Attempt {
    Attempt::new(7, count, weight, LEASE, WINDOW)
}

fn steps(n: u64, of: usize) -> usize {
    usize::try_from(n).unwrap().div_ceil(of)
}

/// Somebody has everything; behind them wait the `dead` and one who lives.
fn behind_the_dead(dead: impl Iterator<Item = Attempt>) -> (Lock, Attempt, Attempt) {
    let mut lock = Lock::new(CAPACITY);
    let [holds, lives] = [1, 2].map(|count| attempt(count, CAPACITY));
    lock.listens(&lives);
    lock.acquire(&holds, WAIT);
    for who in dead {
        assert_eq!(lock.acquire(&who, MANY)[0], 2, "it waits");
    }
    lock.acquire(&lives, MANY);
    (lock, holds, lives)
}

#[test]
fn dead_waiters_are_passed_over_in_steps_before_one_of_them_is_granted() {
    for n in SIZES {
        let (mut lock, holds, lives) = behind_the_dead((0..n).map(|count| one(count, CAPACITY)));
        let mut taken = 1;
        while lock.end(&holds, None)[1] == 1 {
            assert_eq!(lock.bench.dump(KEY).holds.len(), 0, "no claim for a dead one");
            taken += 1;
        }
        assert_eq!(
            lock.holders(),
            std::slice::from_ref(&lives.id),
            "{n}: the first who lives"
        );
        assert_eq!(taken, steps(n + 1, SCAN), "a thousand a step");
        // Within a second they are not looked at again.
        let next = attempt(3, CAPACITY);
        lock.listens(&next);
        lock.acquire(&next, MANY);
        assert_eq!(lock.end(&lives, None), [1, 0, 0], "one step is enough");
        assert_eq!(lock.holders(), [next.id]);
    }
}

#[test]
fn dead_readers_behind_a_dead_writer_are_passed_over_as_well() {
    let [_, n] = SIZES;
    let readers = (1..=n).map(|count| one(count, 1));
    let (mut lock, holds, lives) = behind_the_dead([one(0, CAPACITY)].into_iter().chain(readers));
    let mut taken = 1;
    while lock.end(&holds, None)[1] == 1 {
        taken += 1;
    }
    assert_eq!(lock.holders(), [lives.id], "the first who lives");
    assert_eq!(taken, steps(n + 2, SCAN));
}

/// Its ticks are what carries the steps on: if each began at the front again, nobody would ever be reached.
#[test]
fn who_ticks_in_front_keeps_nobody_out_and_is_served_after_a_second() {
    let [n, _] = SIZES;
    let (mut lock, holds, lives) = behind_the_dead((0..n + 500).map(|count| one(count, CAPACITY)));
    let back = one(3, CAPACITY);
    assert_eq!(lock.end(&holds, None), [1, 1, 0], "the first thousand");
    lock.tick('w', &back, 0);
    assert_eq!(lock.holders(), std::slice::from_ref(&lives.id), "the next step");
    let token = lock.dump().token.unwrap();
    lock.tick('h', &lives, token);
    lock.listens(&back);
    lock.tick('w', &back, 0);
    lock.bench.advance(1100);
    assert_eq!(lock.end(&lives, None)[0], 1);
    assert_eq!(lock.holders(), [one(0, CAPACITY).id], "from the front on again");
}

#[test]
fn a_release_in_steps_goes_on_when_memory_is_full() {
    let mut lock = Lock::new(CAPACITY);
    let writer = attempt(1, CAPACITY);
    lock.listens(&one(0, 1));
    lock.acquire(&writer, WAIT);
    for count in 0..250 {
        lock.acquire(&one(count, 1), MANY);
    }
    lock.bench.redis(&["CONFIG", "SET", "maxmemory", "1"]);
    assert_eq!(lock.end(&writer, None), [1, 1, 0]);
    assert_eq!(lock.end(&writer, None), [0, 1, 0]);
    assert_eq!(lock.end(&writer, None), [0, 0, 0]);
}

#[test]
fn a_claim_that_is_over_is_not_reported_as_a_hold() {
    let mut lock = Lock::counted(CAPACITY);
    let writer = attempt(1, CAPACITY);
    lock.listens(&one(0, 1));
    lock.acquire(&writer, WAIT);
    for count in 0..1000 {
        lock.acquire(&one(count, 1), MANY);
    }
    while lock.end(&writer, None)[1] == 1 {}
    lock.bench.advance(WINDOW + 500);
    let reply = lock.tick('w', &one(999, 1), 0);
    assert!(reply[0] != 2 || reply[2] >= 0, "{reply:?}");
    let reply = lock.acquire(&one(998, 1), MANY);
    assert!(reply[0] != 1 || reply[3] >= 0, "{reply:?}");
}

#[test]
fn holds_that_outlast_their_leases_are_cut_in_steps() {
    let mut lock = Lock::new(CAPACITY);
    for count in 0..600 {
        lock.acquire(&one(count, 1), TRY);
    }
    lock.bench.advance(-3_600_000); // the server's clock was set back
    let writer = attempt(1, CAPACITY);
    let mut taken = 1;
    let mut reply = lock.acquire(&writer, WAIT);
    while reply[3] == 1 {
        taken += 1;
        reply = lock.acquire(&writer, WAIT);
    }
    assert_eq!(taken, 3, "250 a step");
    let ends = lock.dump().holds.into_values().map(|(ends, _)| ends).max();
    assert_eq!(ends, Some(lock.now() + LEASE), "none outlasts its lease");
}

#[test]
fn when_all_are_dead_the_first_has_a_claim_at_last() {
    let [n, _] = SIZES;
    let mut lock = Lock::new(1);
    let holds = attempt(1, 1);
    lock.acquire(&holds, WAIT);
    for count in 0..n + 500 {
        lock.acquire(&one(count, 1), MANY);
    }
    assert_eq!(lock.end(&holds, None), [1, 1, 0]);
    assert_eq!(
        lock.end(&holds, None),
        [0, 0, 0],
        "the second step reaches the last"
    );
    assert_eq!(lock.holders(), [one(0, 1).id], "the server may be wrong about it");
    assert_eq!(
        lock.queue().len(),
        usize::try_from(n).unwrap() + 499,
        "all others wait"
    );
}

/// n readers, whose leases are over.
fn dead_holders(n: u64, counted: bool) -> Lock {
    let mut lock = if counted {
        Lock::counted(CAPACITY)
    } else {
        Lock::new(CAPACITY)
    };
    for count in 0..n {
        assert_eq!(lock.acquire(&one(count, 1), TRY)[0], 1, "it holds");
    }
    lock.bench.advance(LEASE);
    lock
}

#[test]
fn a_try_is_never_told_that_the_dead_hold() {
    for n in SIZES {
        for counted in [false, true] {
            let mut lock = dead_holders(n, counted);
            let all = attempt(1, CAPACITY);
            let mut taken = 1;
            while let [3, _, _, more] = lock.acquire(&all, TRY)[..] {
                assert_eq!(more, 1, "it is to ask again, as nobody holds");
                taken += 1;
            }
            assert_eq!(lock.holders(), [all.id]);
            assert!(taken <= steps(n, ENDS) + 1, "{n}: in {taken} steps");
        }
    }
}

#[test]
fn who_waits_for_the_dead_is_told_to_go_on() {
    for n in SIZES {
        let mut lock = dead_holders(n, true);
        let all = attempt(1, CAPACITY);
        let mut taken = 1;
        let mut reply = lock.acquire(&all, WAIT);
        while reply[0] == 2 {
            assert_eq!(reply[3], 1, "at once");
            reply = lock.tick('w', &all, 0);
            if reply[0] == 2 {
                break; // granted
            }
            reply = lock.acquire(&all, WAIT);
            taken += 2;
        }
        assert_eq!(lock.holders(), [all.id]);
        assert!(taken <= steps(n, ENDS) + 1, "{n}: in {taken} steps");
    }
}

#[test]
fn a_resize_removes_the_dead_in_steps() {
    for n in SIZES {
        let mut lock = dead_holders(n, true);
        let mut taken = 1;
        while lock.resize(5, 5000)[2] == 1 {
            taken += 1;
        }
        assert_eq!(lock.dump().shared, None, "nothing is in use");
        assert!(taken <= steps(n, ENDS) + 1, "{n}: in {taken} steps");
    }
}

#[test]
fn what_the_dead_had_is_added_up_in_portions() {
    for n in SIZES {
        let mut lock = dead_holders(n, true);
        lock.acquire(&attempt(1, 3), Terms { room: -1, ..TRY }); // settles a part
        let left = i64::try_from(n).unwrap() - i64::try_from(ENDS).unwrap();
        let as_of = lock.now().to_string();
        let mut over = 0;
        for skip in (0..left).step_by(1000) {
            let args = ["0".to_owned(), skip.to_string(), as_of.clone()];
            let reply = lock.bench.call(Script::Inspect, &[KEY], &args);
            let [used, ended, part] = [6, 10, 11].map(|item| reply.items()[item].int().unwrap());
            assert_eq!((used, ended), (left, left));
            assert!(part <= 1000);
            over += part;
        }
        assert_eq!(over, left, "each is counted once");
    }
}

#[test]
fn ten_thousand_tombstones_go_in_steps() {
    let mut lock = Lock::new(1);
    for count in 0..1000 {
        lock.end(&one(count, 1), Some(1000));
    }
    lock.bench.advance(LEASE);
    let (a, b) = (attempt(1, 1), attempt(2, 1));
    lock.acquire(&a, TRY);
    let before = lock.dump().tombs.len();
    lock.acquire(&b, TRY);
    lock.bench.advance(LEASE);
    lock.acquire(&b, TRY);
    let after = lock.dump().tombs.len();
    assert!(
        before - after <= ENDS && after < before,
        "{before} and then {after}"
    );
}

#[test]
fn a_full_queue_is_looked_through_once_a_second() {
    let mut lock = Lock::new(1);
    let a = attempt(1, 1);
    let token = lock.acquire(&a, WAIT)[2];
    let full = Terms { room: 10, ..WAIT };
    for count in 0..10 {
        assert_eq!(lock.acquire(&one(count, 1), full)[0], 2);
    }
    let b = attempt(2, 1);
    let cost = |lock: &mut Lock| {
        lock.bench.redis(&["CONFIG", "RESETSTAT"]);
        assert_eq!(lock.acquire(&b, full)[0], 6, "it is full");
        commands(&lock.bench.server).values().sum::<u64>()
    };
    let first = cost(&mut lock);
    let second = cost(&mut lock);
    assert!(second < first && second <= 8, "{first} and then {second}");
    lock.bench.advance(1000);
    assert!(cost(&mut lock) > second, "it looks again");
    assert_eq!(cost(&mut lock), second);
    // The dead make room.
    lock.bench.advance(LEASE - 1500);
    lock.tick('h', &a, token);
    lock.bench.advance(LEASE / 2);
    assert_eq!(lock.acquire(&b, full)[0], 2, "nobody was seen for ten seconds");
    assert_eq!(lock.queue(), [b.id]);
}

#[test]
fn one_release_lets_thousands_in_and_no_message_is_long() {
    for n in SIZES {
        let mut lock = Lock::new(CAPACITY);
        let writer = attempt(1, CAPACITY);
        lock.listens(&one(0, 1));
        lock.acquire(&writer, WAIT);
        for count in 0..n {
            lock.acquire(&one(count, 1), MANY);
        }
        lock.bench.messages();
        let mut taken = 1;
        while lock.end(&writer, None)[1] == 1 {
            taken += 1;
        }
        assert_eq!(taken, steps(n, GRANTS));
        let sent = &lock.bench.messages()[&format!("{INBOX}{}", one(0, 1).parts().0)];
        let longest = sent.iter().map(|text| text.split(';').count()).max();
        assert_eq!(
            longest,
            Some(GRANTS + 1),
            "a hundred grants, and who is to look next"
        );
        assert_eq!(lock.dump().holds.len(), usize::try_from(n).unwrap());
    }
}

/// Ten thousand holds of one owner are counted, not listed.
#[test]
fn holds_are_counted_without_a_list() {
    let mut lock = Lock::new(1);
    for count in 0..1000 {
        let of_one_owner = Attempt::owned(7, count, 1, 1, LEASE, WINDOW);
        lock.acquire_raw(&of_one_owner, TRY);
    }
    let reply = lock.inspect(1);
    assert_eq!(
        (reply.items()[4].items().len(), reply.items()[9].int()),
        (2, Some(1000))
    );
}
