//! Owners and head starts by hand: who comes after whom.

use crate::lock::{LEASE, Lock, Terms, WAIT, WINDOW, attempt};
use crate::model::Attempt;
use crate::upgrades::{ALL, shared};

const FIRST: i64 = 1 << 32;
const DAY: i64 = 86_400_000;

/// Attempt `count` of client `count`, of this owner.
fn owned(count: u64, owner: usize) -> Attempt {
    Attempt::owned(usize::try_from(count).unwrap(), count, owner, 1, LEASE, WINDOW)
}

fn ahead(ms: i64) -> Terms {
    Terms { ahead: ms, ..WAIT }
}

#[test]
fn those_of_one_owner_stand_together_whatever_happens() {
    let mut lock = Lock::new(1);
    let holder = attempt(1, 1);
    let [one, two, three, four] = [2, 3, 4, 5].map(|count| owned(count, 7));
    let other = attempt(6, 1);
    lock.acquire(&holder, WAIT);
    for who in [&one, &two] {
        lock.acquire(who, WAIT);
    }
    lock.end(&holder, None);
    assert_eq!(
        lock.holders(),
        [one.id.clone(), two.id.clone()],
        "granted together"
    );
    lock.acquire(&other, WAIT);
    lock.bench.advance(WINDOW + 100);
    lock.tick('w', &other, 0);
    assert_eq!(
        lock.holders(),
        std::slice::from_ref(&other.id),
        "their claims lapsed"
    );
    lock.dump().check(1).unwrap();
    lock.end(&two, None);
    lock.end(&one, None);
    lock.acquire(&three, WAIT);
    lock.acquire(&attempt(8, 1), WAIT);
    lock.acquire(&four, WAIT);
    lock.end(&three, None);
    lock.dump().check(1).unwrap();
}

#[test]
fn a_crowd_of_one_owner_is_granted_in_steps() {
    let mut lock = Lock::new(1);
    let holder = attempt(0, 1);
    lock.acquire(&holder, WAIT);
    lock.listens(&owned(1, 7));
    for count in 1..=250 {
        lock.acquire(&Attempt::owned(1, count, 7, 1, LEASE, WINDOW), WAIT);
    }
    assert_eq!(lock.end(&holder, None), [1, 1, 0], "ask again at once");
    assert_eq!(lock.queue().len(), 150);
    assert_eq!(lock.end(&holder, None), [0, 1, 0], "and again");
    assert_eq!(lock.end(&holder, None), [0, 0, 0], "nobody is left");
    assert_eq!(lock.holders().len(), 250);
    lock.dump().check(1).unwrap();
}

#[test]
fn head_starts_do_not_overtake_an_upgrade_or_a_claim_that_lapsed() {
    let (mut lock, base, reader) = shared();
    let upgrade = Attempt::upgrade(&base, 3, ALL);
    lock.acquire(&upgrade, WAIT);
    let eager = attempt(4, 1);
    assert_eq!(
        lock.acquire(&eager, ahead(1 << 31))[0],
        2,
        "it would keep the upgrade waiting for ever"
    );
    assert_eq!(lock.queue(), [upgrade.id.clone(), eager.id.clone()]);
    lock.end(&reader, None);
    assert_eq!(
        lock.acquire(&upgrade, WAIT)[0],
        1,
        "granted when the readers had gone"
    );

    let mut lock = Lock::new(1);
    let [one, two, three] = [1, 2, 3].map(|count| attempt(count, 1));
    lock.acquire(&one, WAIT);
    lock.acquire(&two, WAIT);
    lock.end(&one, None);
    lock.acquire(&one, WAIT);
    lock.bench.advance(WINDOW + 100);
    lock.tick('w', &one, 0);
    assert_eq!(lock.queue(), std::slice::from_ref(&two.id), "back at the front");
    lock.acquire(&three, ahead(60_000));
    assert_eq!(lock.queue(), [two.id, three.id]);
}

#[test]
fn a_head_start_finds_a_ticket_of_its_own_in_a_crowd() {
    let mut lock = Lock::new(1);
    lock.acquire(&attempt(1000, 1), WAIT);
    let kin = owned(500, 7);
    for count in 0..300 {
        let plain = attempt(count, 1);
        lock.acquire(if count == 150 { &kin } else { &plain }, WAIT);
    }
    for count in 301..420 {
        lock.acquire(&attempt(count, 1), ahead(150)); // to where the owner's stands
    }
    lock.dump().check(1).unwrap();
    let dump = lock.dump();
    assert!(
        dump.tickets.values().all(|ticket| *ticket >= FIRST),
        "in the crowd"
    );
    lock.end(&kin, None);
    lock.dump().check(1).unwrap();
}

#[test]
fn tickets_do_not_run_out_with_time() {
    let mut lock = Lock::new(1);
    let mut count = 0;
    let mut next = || {
        count += 1;
        attempt(count, 1)
    };
    let (holder, first) = (Attempt::new(0, 0, 1, 1000 * DAY, WINDOW), next());
    lock.acquire(&holder, WAIT);
    lock.acquire(&first, ahead(-5));
    for days in [20, 40, 60, 300] {
        lock.bench.advance(days * DAY);
        lock.tick('w', &first, 0);
        let newcomer = next();
        assert_eq!(
            lock.acquire(&newcomer, ahead(-(1 << 31)))[0],
            2,
            "after {days} more days"
        );
        let last = next();
        assert_eq!(lock.acquire(&last, WAIT)[0], 2, "and without a head start");
        let queue = lock.queue();
        let place = |who: &Attempt| queue.iter().position(|id| *id == who.id).unwrap();
        assert!(place(&last) < place(&newcomer), "it let others go first");
    }
}

#[test]
fn the_order_is_kept_when_the_clock_is_set_back() {
    let mut lock = Lock::new(1);
    let holder = attempt(0, 1);
    lock.acquire(&holder, WAIT);
    lock.acquire(&attempt(1, 1), ahead(10));
    lock.bench.advance(-3_600_000);
    for count in 2..200 {
        lock.acquire(&attempt(count, 1), ahead(i64::from(count % 2 == 0) * 5));
    }
    lock.dump().check(1).unwrap();
    let queue = lock.queue();
    let even: Vec<_> = (2..200)
        .step_by(2)
        .map(|count| attempt(count, 1).id)
        .filter(|id| queue.contains(id))
        .collect();
    let found: Vec<_> = queue.iter().filter(|id| even.contains(id)).cloned().collect();
    assert_eq!(found, even, "in the order of arrival");
}
