//! At the very millisecond, token and ticket where something changes: random requests seldom meet those.

use crate::bench::Script;
use crate::lock::{KEY, LEASE, Lock, RETENTION, TRY, Terms, WAIT, WINDOW, attempt};
use crate::model::Attempt;
use crate::upgrades::{ALL, shared};

/// The unit in which the scripts note when a waiter was seen, ms. The clock of a test begins at a whole one.
const UNIT: i64 = 512;
const PATIENCE: i64 = 20 * UNIT;
const GONE: i64 = 59 * UNIT;
/// Of a lease of nine seconds or more: two ticks and a second.
const SILENT: i64 = 13 * UNIT;

/// One who holds, and one who waits and is not heard of for so long.
fn unseen(ms: i64, listens: bool) -> (Lock, Attempt, Attempt) {
    let mut lock = Lock::new(1);
    let holds = Attempt::new(1, 1, 1, 60_000, 400);
    let waits = Attempt::new(2, 2, 1, 60_000, 400);
    lock.acquire(&holds, WAIT);
    lock.acquire(&waits, WAIT);
    if listens {
        lock.listens(&waits);
    }
    lock.bench.advance(ms);
    (lock, holds, waits)
}

#[test]
fn a_waiter_is_dropped_after_thirty_seconds_and_not_a_moment_before() {
    for tomb in [None, Some(100)] {
        let (mut lock, holds, waits) = unseen(GONE, true);
        lock.end(&holds, tomb);
        assert_eq!(lock.holders(), [waits.id], "it is granted to");
        let (mut lock, holds, _) = unseen(GONE + UNIT, true);
        lock.end(&holds, tomb);
        assert_eq!(lock.dump().holds.len() + lock.queue().len(), 0, "it is gone");
    }
}

#[test]
fn a_deaf_waiter_is_passed_over_before_it_is_dropped() {
    let (mut lock, holds, waits) = unseen(SILENT, false);
    lock.end(&holds, None);
    assert_eq!(lock.holders(), [waits.id], "nobody else can have it");
    let (mut lock, holds, _) = unseen(SILENT + UNIT, false);
    lock.end(&holds, None);
    assert_eq!(lock.dump().holds.len() + lock.queue().len(), 0, "it is gone");
}

#[test]
fn a_full_queue_makes_room_when_the_patience_is_over() {
    let one = Terms { room: 1, ..WAIT };
    let next = attempt(3, 1);
    let (mut lock, ..) = unseen(PATIENCE, false);
    assert_eq!(lock.acquire(&next, one)[0], 6, "it may be alive");
    let (mut lock, ..) = unseen(PATIENCE + UNIT, false);
    assert_eq!(lock.acquire(&next, one)[0], 2);
}

#[test]
fn the_one_behind_is_told_when_a_claim_is_shorter_than_its_head_was_unseen() {
    for tomb in [None, Some(100)] {
        for (window, unseen, told) in [
            (3 * UNIT, 3 * UNIT, 0),
            (3 * UNIT, 4 * UNIT, 1),
            (3 * UNIT - 1, 3 * UNIT, 1),
        ] {
            let mut lock = Lock::new(1);
            let [holds, head, behind] =
                [1, 2, 3].map(|count| Attempt::new(count, count as u64, 1, 60_000, window));
            lock.listens(&head);
            lock.listens(&behind);
            for who in [&holds, &head, &behind] {
                lock.acquire(who, WAIT);
            }
            lock.bench.advance(unseen);
            lock.end(&holds, tomb);
            let lines = lock.bench.messages();
            let to_it = lines
                .iter()
                .filter(|(channel, _)| channel.ends_with(behind.parts().0));
            assert_eq!(to_it.count(), told, "after {unseen} ms");
        }
    }
}

#[test]
fn the_one_behind_is_told_in_the_message_of_its_own_client() {
    for tomb in [None, Some(100)] {
        let mut lock = Lock::new(1);
        let holds = attempt(1, 1);
        let [head, behind] = [2, 3].map(|count| Attempt::new(2, count, 1, 60_000, 2 * UNIT));
        lock.listens(&head);
        for who in [&holds, &head, &behind] {
            lock.acquire(who, WAIT);
        }
        lock.bench.advance(4 * UNIT);
        lock.end(&holds, tomb);
        let sent: Vec<String> = lock.bench.messages().into_values().flatten().collect();
        let news = format!("w {} {} {}", behind.parts().1, 2 * UNIT, lock.stamp());
        assert!(
            sent.len() == 1 && sent[0].split(';').any(|line| line == news),
            "{sent:?}"
        );
    }
}

#[test]
fn a_tombstone_gives_nothing_back() {
    for mut lock in [Lock::new(3), Lock::counted(3)] {
        let [a, b, c] = [1, 2, 3].map(|count| attempt(count, 1));
        for who in [&a, &b, &c] {
            lock.acquire(who, WAIT);
        }
        lock.end(&c, Some(5000));
        assert_eq!(lock.end(&c, None), [0, 0, 0], "it has nothing");
        assert_eq!(lock.dump().shared, Some(2));
        assert_eq!(lock.acquire(&attempt(4, 2), TRY)[0], 3, "one is free");
    }
}

#[test]
fn a_copy_of_a_split_at_the_end_of_the_part_is_told_so() {
    let mut lock = Lock::counted(3);
    let (whole, part) = (attempt(1, 3), attempt(2, 1));
    lock.acquire(&whole, WAIT);
    lock.part(Script::Split, &part, &whole, 100);
    lock.bench.advance(LEASE - 1);
    lock.tick('h', &whole, 0);
    let left = [1, lock.stamp(), 0, 1, 0];
    assert_eq!(lock.part(Script::Split, &part, &whole, 100), left);
    lock.bench.advance(1);
    let over = [3, lock.stamp(), 1];
    assert_eq!(lock.part(Script::Split, &part, &whole, 100), over);
}

#[test]
fn a_release_at_the_end_of_the_lease_finds_nothing() {
    for (early, had) in [(1, 1), (0, 0)] {
        let mut lock = Lock::new(1);
        let [holds, waits] = [1, 2].map(|count| attempt(count, 1));
        lock.listens(&waits);
        lock.acquire(&holds, WAIT);
        lock.bench.advance(LEASE - 1000);
        lock.acquire(&waits, WAIT);
        lock.bench.advance(1000 - early);
        assert_eq!(lock.end(&holds, None), [had, 0, 0], "{early} ms before");
        assert_eq!(lock.holders(), [waits.id], "it is handed on");
    }
}

#[test]
fn a_waiter_that_asks_again_is_not_dropped_by_its_own_call() {
    let mut lock = Lock::new(1);
    let holds = Attempt::new(1, 1, 1, PATIENCE, 400);
    let [waits, behind] = [2, 3].map(|count| attempt(count, 1));
    lock.listens(&behind);
    lock.acquire(&holds, WAIT);
    lock.acquire(&waits, WAIT);
    lock.acquire(&behind, WAIT);
    lock.bench.advance(PATIENCE - 100);
    lock.tick('w', &behind, 0);
    lock.bench.advance(100 + 2 * UNIT);
    lock.listens(&waits);
    assert_eq!(lock.acquire(&waits, WAIT)[0], 1, "it was the first");
}

#[test]
fn a_hundred_of_the_dead_make_room_in_one_step() {
    let mut lock = Lock::new(1);
    lock.acquire(&Attempt::new(1, 1, 1, 60_000, 400), WAIT);
    for count in 0..150 {
        lock.acquire(&attempt(10 + count, 1), WAIT);
    }
    lock.bench.advance(PATIENCE + UNIT);
    lock.acquire(&attempt(2, 1), Terms { room: 150, ..WAIT });
    assert_eq!(lock.queue().len(), 51);
}

#[test]
fn a_hundred_holds_are_ended_in_one_step() {
    let mut lock = Lock::new(1000);
    for count in 0..100 {
        lock.acquire(&attempt(count, 1), TRY);
    }
    assert_eq!(lock.force(), [1, 0, 0], "there are no others");
}

/// `not_after` is now.
#[test]
fn a_call_that_is_just_in_time_is_not_late() {
    let mut lock = Lock::counted(5);
    let [whole, part] = [(1, 5), (2, 2)].map(|(count, weight)| attempt(count, weight));
    let now = Terms { not_after: 0, ..WAIT };
    assert_eq!(lock.acquire(&whole, now)[0], 1);
    assert_eq!(lock.part(Script::Split, &part, &whole, 0)[0], 1);
    assert_eq!(lock.part(Script::Merge, &whole, &part, 0)[0], 1);
    assert_eq!(lock.resize(6, 0)[0], 1);
    let (mut lock, base, _) = shared();
    let [next, other] = [7, 8].map(|count| attempt(count, 500_000));
    assert_eq!(lock.adopt(&next, &base, 0, 0)[0], 1);
    assert_eq!(lock.downgrade(&other, &next, 0, 0)[0], 1);
}

#[test]
fn what_one_record_left_is_not_said_of_the_next() {
    let mut lock = Lock::new(1000);
    for count in 0..300 {
        lock.acquire(&attempt(count, 1), TRY);
    }
    let [writer, other] = [(900, 1000), (901, 1000)].map(|(count, weight)| attempt(count, weight));
    lock.acquire(&writer, WAIT);
    lock.bench.redis(&["COPY", KEY, "latchwork:lock:{other}"]);
    lock.bench.redis(&["DEL", KEY]);
    lock.acquire(&other, WAIT);
    lock.acquire(&writer, WAIT);
    lock.bench.advance(LEASE - 1);
    lock.tick('h', &other, lock.stamp() - (LEASE - 1) * 1000);
    lock.bench.advance(1);
    let items = [('w', &writer, 0, LEASE); 2];
    let reply = lock.tick_raw(&["latchwork:lock:{other}", KEY], &items);
    let more = |item: usize| reply.items()[item].items()[2].int();
    assert_eq!((more(2), more(3)), (Some(1), Some(0)));
}

/// Splits, merges and handovers of a hold at the end of its lease.
#[test]
fn a_hold_cannot_be_taken_over_at_the_end_of_its_lease() {
    for late in [-1, 0] {
        let mut lock = Lock::counted(5);
        let [one, other] = [(1, 2), (2, 3)].map(|(count, weight)| attempt(count, weight));
        let [part, next] = [(3, 1), (4, 2)].map(|(count, weight)| attempt(count, weight));
        lock.acquire(&one, WAIT);
        lock.bench.advance(10);
        lock.acquire(&other, WAIT);
        lock.bench.advance(LEASE - 10 + late);
        let over = if late < 0 { 1 } else { 3 };
        assert_eq!(lock.part(Script::Split, &part, &one, 100)[0], over, "a split");
        if late == 0 {
            assert_eq!(lock.part(Script::Merge, &one, &other, 100)[0], 3, "into it");
            assert_eq!(lock.part(Script::Merge, &other, &one, 100)[0], 3, "of it");
        }
        let mut lock = Lock::new(2);
        lock.acquire(&one, WAIT);
        let token = lock.dump().token.unwrap();
        lock.bench.advance(LEASE + late);
        assert_eq!(lock.adopt(&next, &one, token, 100)[0], over, "a ticket");
    }
}

#[test]
fn an_upgrade_by_a_message_has_a_token_above_one_that_is_the_floor() {
    let (mut lock, base, reader) = shared();
    let upgrade = Attempt::upgrade(&base, 3, ALL);
    lock.acquire(&upgrade, WAIT);
    lock.bench.advance(10);
    lock.end(&reader, None);
    let floor = lock.dump().token.unwrap();
    let above = Terms { floor, ..WAIT };
    assert!(
        lock.acquire(&upgrade, above)[2] > floor,
        "the message did not know"
    );
}

#[test]
fn the_last_ticket_is_nobodys() {
    const LAST: &str = "8589934591";
    const LAST_BUT_ONE: &str = "8589934590";
    let mut lock = Lock::new(1);
    let [a, b, c] = [1, 2, 3].map(|count| attempt(count, 1));
    lock.acquire(&a, WAIT);
    lock.acquire(&b, WAIT);
    lock.bench.redis(&["ZADD", KEY, LAST, "q"]);
    assert_eq!(lock.acquire(&c, WAIT)[0], 6, "the queue is full");
    assert_eq!(lock.queue(), [b.id]);
    let mut lock = Lock::counted(1);
    let [a, b, c, d] = [1, 2, 3, 4].map(|count| attempt(count, 1));
    lock.acquire(&a, WAIT);
    lock.acquire(&b, WAIT);
    lock.bench.redis(&["ZADD", KEY, LAST_BUT_ONE, "q"]);
    assert_eq!(lock.acquire(&c, WAIT)[0], 2, "the one before it is somebody's");
    assert_eq!(lock.acquire(&d, WAIT)[0], 6, "the queue is full");
}

/// An earlier request set its life, which is over soon.
fn lives_on(lock: &mut Lock, what: &str, request: impl FnOnce(&mut Lock)) {
    lock.bench.redis(&["PEXPIRE", KEY, "60000"]);
    request(lock);
    let life = lock.pttl();
    assert!(life > RETENTION - 60_000, "{what}: {life} ms are left");
}

#[test]
fn who_waits_or_holds_keeps_the_record() {
    let mut lock = Lock::new(3);
    let [a, b, c, d] = [1, 2, 3, 4].map(|count| attempt(count, 3));
    let tomb = Some(RETENTION);
    lock.listens(&b);
    lock.acquire(&a, WAIT);
    let token = lock.dump().token.unwrap();
    lives_on(&mut lock, "queued", |lock| _ = lock.acquire(&b, WAIT));
    lives_on(&mut lock, "asked again", |lock| _ = lock.acquire(&b, WAIT));
    lives_on(&mut lock, "seen by a tick", |lock| _ = lock.tick('w', &b, 0));
    lives_on(&mut lock, "renewed", |lock| _ = lock.tick('h', &a, token));
    lives_on(&mut lock, "extended", |lock| _ = lock.tick('x', &a, token));
    lives_on(&mut lock, "a tombstone", |lock| _ = lock.end(&d, tomb));
    lives_on(&mut lock, "handed over", |lock| _ = lock.end(&a, Some(1)));
    let token = lock.dump().token.unwrap();
    lives_on(&mut lock, "a claim that is confirmed", |lock| {
        _ = lock.tick('h', &b, token);
    });
    lives_on(&mut lock, "adopted", |lock| _ = lock.adopt(&c, &b, token, 100));
    let shared = attempt(5, 1);
    lives_on(&mut lock, "downgraded", |lock| {
        _ = lock.downgrade(&shared, &c, token, 100);
    });
    lives_on(&mut lock, "beside it", |lock| {
        _ = lock.acquire(&attempt(6, 1), TRY);
    });
    lives_on(&mut lock, "with a floor", |lock| {
        let above = Terms { floor: 1, ..TRY };
        lock.acquire(&attempt(7, 1), above);
    });
    let mut lock = Lock::counted(3);
    let [whole, part] = [(1, 2), (2, 1)].map(|(count, weight)| attempt(count, weight));
    lock.acquire(&whole, WAIT);
    lives_on(&mut lock, "split", |lock| {
        _ = lock.part(Script::Split, &part, &whole, 100);
    });
    lives_on(&mut lock, "merged", |lock| {
        _ = lock.part(Script::Merge, &whole, &part, 100);
    });
    lives_on(&mut lock, "resized", |lock| _ = lock.resize(4, 100));
    lock.bench.advance(WINDOW);
    lives_on(&mut lock, "forced", |lock| {
        lock.bench.redis(&["PEXPIRE", KEY, "6000"]);
        lock.force();
        assert!(lock.pttl() > LEASE - 2000, "why it ended is known for a lease");
        lock.resize(4, 100);
    });
}

#[test]
fn a_waiter_that_is_dropped_is_not_told_of_the_claim_before_it() {
    let mut lock = Lock::new(2);
    let [holder, head, dead] =
        [(1, 2), (2, 1), (3, 1)].map(|(count, weight)| Attempt::new(count, 1, weight, 60_000, 400));
    lock.listens(&head);
    lock.listens(&dead);
    for who in [&holder, &head, &dead] {
        lock.acquire(who, WAIT);
    }
    lock.bench.advance(GONE - UNIT);
    lock.tick('w', &head, 0);
    lock.bench.advance(2 * UNIT);
    lock.end(&holder, None);
    let told = lock.bench.messages();
    assert_eq!(told.len(), 1, "its place is gone: {told:?}");
    assert_eq!(lock.holders(), [head.id]);
    assert!(lock.queue().is_empty());
}

/// In the first 512 ms of a cycle of 37 hours a place says when it was seen with zeroes, in the last with ones.
#[test]
fn a_waiter_that_missed_a_claim_gets_a_longer_one_whenever_it_was_seen() {
    for (ms, missed, tomb) in [
        (0, 1, None),
        (0, 1, Some(100)),
        (-UNIT, 0, None),
        (-UNIT, 0, Some(100)),
    ] {
        let mut lock = Lock::new(1);
        let [a, b] = [1, 2].map(|count| attempt(count, 1));
        cycle(&mut lock, ms);
        lock.listens(&b);
        lock.acquire(&a, WAIT);
        lock.acquire(&b, WAIT);
        lock.bench
            .redis(&["ZINCRBY", KEY, &(missed << 18).to_string(), &b.id]);
        lock.end(&a, tomb);
        let claim = (lock.now() + (1 + missed) * WINDOW, Some(missed));
        assert_eq!(lock.dump().holds[&b.id], claim, "{ms} ms after, missed {missed}");
    }
}

#[test]
fn a_floor_may_be_a_day_ahead_of_the_clock_and_no_more() {
    const DAY: i64 = 86_400_000_000;
    let mut lock = Lock::new(1);
    let [a, b] = [1, 2].map(|count| attempt(count, 1));
    let floor = |more: i64| Terms {
        floor: 1_700_000_000_000_000 + DAY + more,
        ..WAIT
    };
    assert_eq!(lock.acquire(&a, floor(1)), [7, lock.stamp()]);
    assert_eq!(lock.acquire(&b, floor(0))[2], lock.stamp() + DAY + 1, "its token");
}

/// The clock at the beginning of a cycle, and a little before it.
fn cycle(lock: &mut Lock, ms: i64) {
    const CYCLE: i64 = UNIT << 18;
    let now = lock.now();
    lock.bench.advance(CYCLE - now % CYCLE + ms);
}

#[test]
fn who_listens_and_who_polls_is_told_apart_whenever_it_was_seen() {
    for ms in [-UNIT, 0, UNIT] {
        for polls in [0, 3] {
            let mut lock = Lock::new(1);
            cycle(&mut lock, ms);
            let [holder, deaf, listens] = [1, 2, 3].map(|count| attempt(count, 1));
            lock.listens(&listens);
            lock.acquire(&holder, WAIT);
            lock.acquire(&deaf, Terms { polls, ..WAIT });
            lock.acquire(&listens, WAIT);
            lock.end(&holder, Some(100));
            let next = if polls == 3 { deaf } else { listens };
            assert_eq!(lock.holders(), [next.id], "seen {ms} ms after, polls {polls}");
        }
    }
}

#[test]
fn who_polls_keeps_its_place() {
    let mut lock = Lock::new(1);
    let [holder, first, second] = [1, 2, 3].map(|count| attempt(count, 1));
    for who in [&holder, &first, &second] {
        lock.acquire(who, Terms { polls: 3, ..WAIT });
    }
    let tickets = lock.dump().tickets;
    for _ in 0..2 {
        lock.tick('p', &first, 0);
        lock.tick('p', &second, 0);
    }
    assert_eq!(lock.dump().tickets, tickets);
    lock.tick('w', &first, 0);
    let chances: Vec<_> = lock
        .dump()
        .queue
        .into_iter()
        .map(|(_, chance, _)| chance)
        .collect();
    assert_eq!(chances, [0, 3], "the first one listens again");
}

#[test]
fn a_tick_of_two_records_tells_of_a_claim_once() {
    let mut lock = Lock::new(1);
    let [holder, head, behind] = [1, 2, 3].map(|count| Attempt::new(count, 1, 1, 10_000, 2 * UNIT));
    lock.listens(&head);
    lock.listens(&behind);
    for who in [&holder, &head, &behind] {
        lock.acquire(who, WAIT);
    }
    lock.bench.advance(4000);
    lock.tick('w', &head, 0);
    lock.bench.advance(6000);
    let items = [('w', &behind, 0, LEASE), ('w', &holder, 0, LEASE)];
    lock.tick_raw(&[KEY, "latchwork:lock:{other}"], &items);
    let told: Vec<_> = lock.bench.messages().into_values().flatten().collect();
    let lines = told.iter().flat_map(|text| text.split(';'));
    assert_eq!(lines.filter(|line| line.starts_with('w')).count(), 1, "{told:?}");
}

#[test]
fn patience_is_the_same_across_the_end_of_a_cycle() {
    for (units, dropped) in [(59, false), (60, true)] {
        let mut lock = Lock::new(1);
        cycle(&mut lock, -20 * UNIT);
        let [holder, waits] = [1, 2].map(|count| Attempt::new(count, 1, 1, 60_000, 400));
        lock.listens(&waits);
        lock.acquire(&holder, WAIT);
        lock.acquire(&waits, WAIT);
        lock.bench.advance(units * UNIT);
        lock.end(&holder, Some(100));
        assert_eq!(lock.holders().is_empty(), dropped, "after {units} units");
    }
}

#[test]
fn a_waiter_of_some_hours_ago_is_dropped() {
    const HOUR: i64 = 3_600_000;
    for hours in [1, 9, 12, 18, 19, 23] {
        let mut lock = Lock::new(1);
        let [holder, waits] = [1, 2].map(|count| Attempt::new(count, 1, 1, 24 * HOUR, 400));
        lock.listens(&waits);
        lock.acquire(&holder, WAIT);
        lock.acquire(&waits, WAIT);
        lock.bench.advance(hours * HOUR);
        lock.end(&holder, Some(100));
        assert!(lock.holders().is_empty(), "after {hours} hours");
    }
}

#[test]
fn a_tick_keeps_the_chances_of_a_waiter_whenever_it_was_seen() {
    for ms in [-UNIT, 0] {
        for missed in [0, 1, 2] {
            let mut lock = Lock::new(1);
            cycle(&mut lock, ms);
            let [holder, waits] = [1, 2].map(|count| attempt(count, 1));
            lock.acquire(&holder, WAIT);
            lock.acquire(&waits, WAIT);
            lock.bench
                .redis(&["ZINCRBY", KEY, &(missed << 18).to_string(), &waits.id]);
            lock.tick('w', &waits, 0);
            assert_eq!(lock.dump().queue[0].1, missed, "{ms} ms after the beginning");
        }
    }
}

/// As if it had been seen twelve units before.
#[test]
fn a_claim_that_lapses_when_a_cycle_begins_goes_back_to_the_front() {
    let mut lock = Lock::new(1);
    cycle(&mut lock, -WINDOW);
    let [holder, claims, next] = [1, 2, 3].map(|count| attempt(count, 1));
    lock.listens(&claims);
    lock.listens(&next);
    for who in [&holder, &claims, &next] {
        lock.acquire(who, WAIT);
    }
    lock.end(&holder, Some(100));
    lock.bench.advance(WINDOW);
    lock.bench.advance(1);
    lock.tick('w', &next, 0);
    assert_eq!(lock.holders(), [next.id]);
    assert_eq!(lock.dump().queue, [(claims.id, 1, (1 << 18) - 45)]);
}

#[test]
fn two_tickets_are_two_whenever_their_waiters_were_seen() {
    for (ms, polls) in [(-UNIT, 0), (-UNIT, 3), (0, 0), (0, 3)] {
        let mut lock = Lock::new(1);
        cycle(&mut lock, ms);
        let [holder, first, second] = [1, 3, 2].map(|count| attempt(count, 1));
        let terms = Terms { polls, ..WAIT };
        lock.acquire(&holder, WAIT);
        lock.acquire(&first, terms);
        lock.acquire(&second, Terms { ahead: 1, ..terms });
        assert_eq!(
            lock.queue(),
            [first.id, second.id],
            "{ms} ms after, polls {polls}"
        );
    }
}

#[test]
fn a_free_ticket_is_taken_whenever_the_next_waiter_was_seen() {
    let mut lock = Lock::new(1);
    cycle(&mut lock, 0);
    let [holder, first, second] = [1, 2, 3].map(|count| attempt(count, 1));
    lock.acquire(&holder, WAIT);
    lock.acquire(&first, Terms { ahead: 1, ..WAIT });
    lock.bench.advance(10);
    lock.acquire(&second, Terms { ahead: 12, ..WAIT });
    let tickets = lock.dump().tickets;
    assert_eq!(tickets[&second.id] + 1, tickets[&first.id], "just before it");
}

#[test]
fn an_owners_mark_goes_with_its_last_waiter_whenever_that_was_seen() {
    for (ms, of_first, polls) in [(-UNIT, 3, 3), (0, 0, 0), (0, 3, 0)] {
        let mut lock = Lock::new(1);
        cycle(&mut lock, ms);
        let owned = |count| Attempt::owned(1, count, 5, 1, LEASE, WINDOW);
        let (holder, first, second, next) = (attempt(1, 1), owned(2), owned(3), attempt(4, 1));
        lock.acquire(&holder, WAIT);
        lock.acquire(
            &first,
            Terms {
                polls: of_first,
                ..WAIT
            },
        );
        lock.acquire(&second, Terms { polls, ..WAIT });
        if of_first == polls {
            lock.acquire(&next, Terms { polls, ..WAIT });
        }
        lock.end(&first, None);
        assert_eq!(lock.dump().marks.len(), 1, "one more waits: {ms} ms after");
        lock.end(&second, None);
        assert_eq!(lock.dump().marks.len(), 0, "nobody waits for it: {ms} ms after");
    }
}

#[test]
fn h49_a_hold_may_outlast_its_lease_by_a_millisecond() {
    for (ms, cut) in [(1, false), (2, true)] {
        let mut lock = Lock::new(1);
        let [holder, waits] = [1, 2].map(|count| attempt(count, 1));
        lock.acquire(&holder, WAIT);
        lock.bench.advance(-ms);
        lock.acquire(&waits, WAIT);
        let left = lock.dump().holds[&holder.id].0 - lock.now();
        assert_eq!(left, if cut { LEASE } else { LEASE + ms }, "set back by {ms} ms");
    }
}

#[test]
fn a_claim_lasts_no_longer_than_the_lease() {
    for tomb in [None, Some(100)] {
        let mut lock = Lock::new(1);
        let [holder, waits] = [1, 2].map(|count| Attempt::new(count, 1, 1, 1000, 1001));
        lock.listens(&waits);
        lock.acquire(&holder, WAIT);
        lock.acquire(&waits, WAIT);
        lock.end(&holder, tomb);
        assert_eq!(lock.dump().holds[&waits.id].0, lock.now() + 1000);
    }
}
