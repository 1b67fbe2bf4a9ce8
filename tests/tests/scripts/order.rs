//! Who is not heard of is passed over by who is, and goes first again when it is heard of.

use crate::lock::{KEY, LEASE, Lock, WAIT, WINDOW, attempt};
use crate::model::Attempt;

/// As `attempt`, of this client. The claim is longer than the pause between two ticks, as by default.
fn of(client: usize, count: u64) -> Attempt {
    Attempt::new(client, count, 1, LEASE, LEASE / 2)
}

/// A holder, and waiters who all listen.
fn queue(waiters: &[&Attempt]) -> (Lock, Attempt) {
    let mut lock = Lock::new(1);
    let holder = Attempt::new(1, 1, 1, 60_000, WINDOW);
    lock.acquire(&holder, WAIT);
    for who in waiters {
        lock.listens(who);
        lock.acquire(who, WAIT);
    }
    (lock, holder)
}

#[test]
fn who_is_silent_is_passed_over_and_goes_first_when_it_is_heard_of() {
    let [silent, seen, last] = [(2, 2), (3, 3), (4, 4)].map(|(client, count)| of(client, count));
    let (mut lock, holder) = queue(&[&silent, &seen, &last]);
    lock.bench.advance(14 * 512);
    lock.tick('w', &seen, 0);
    lock.end(&holder, None);
    assert_eq!(
        lock.holders(),
        std::slice::from_ref(&seen.id),
        "the first that was seen"
    );
    assert_eq!(
        lock.queue(),
        [silent.id.clone(), last.id.clone()],
        "both keep their places"
    );
    lock.tick('w', &silent, 0);
    lock.tick('w', &last, 0);
    lock.end(&seen, None);
    assert_eq!(lock.holders(), [silent.id]);
}

#[test]
fn the_order_holds_if_nobody_was_heard_of() {
    let waiters = [(2, 2), (3, 3), (4, 4)].map(|(client, count)| of(client, count));
    let [first, second, third] = &waiters;
    let (mut lock, holder) = queue(&[first, second, third]);
    lock.bench.advance(25_000); // the server was frozen, say
    lock.end(&holder, None);
    assert_eq!(lock.holders(), std::slice::from_ref(&first.id));
    assert_eq!(lock.queue(), [second.id.clone(), third.id.clone()]);
}

#[test]
fn a_silent_waiter_that_does_not_fit_holds_nobody_up() {
    let mut lock = Lock::counted(3);
    let holder = Attempt::new(1, 1, 2, 60_000, WINDOW);
    let leaves = Attempt::new(1, 2, 1, 60_000, WINDOW);
    let [silent, small] = [(2, 3, 2), (3, 4, 1)]
        .map(|(client, count, weight)| Attempt::new(client, count, weight, LEASE, LEASE / 2));
    for who in [&holder, &leaves, &silent, &small] {
        lock.listens(who);
        lock.acquire(who, WAIT);
    }
    lock.bench.advance(14 * 512);
    lock.tick('w', &small, 0);
    lock.end(&leaves, None);
    assert!(lock.holders().contains(&small.id), "there is room for it");
    assert_eq!(lock.queue(), [silent.id]);
}

/// A machine vanishes, and nobody closes its connections: a server takes its inbox for alive for minutes.
#[test]
fn the_waiters_of_a_machine_that_vanished_cost_one_claim() {
    let gone = [10, 11, 12, 13].map(|count| of(2, count));
    let [one, other] = [of(3, 20), of(4, 21)];
    let mut all: Vec<_> = gone.iter().collect();
    all.extend([&one, &other]);
    let (mut lock, holder) = queue(&all);
    lock.bench.advance(1500);
    lock.end(&holder, None);
    assert_eq!(
        lock.holders(),
        std::slice::from_ref(&gone[0].id),
        "it may be alive"
    );
    lock.bench.advance(2500);
    for who in [&one, &other] {
        assert_eq!(lock.tick('w', who, 0)[0], 3, "it waits for the claim");
    }
    lock.bench.advance(2501);
    assert_eq!(
        lock.tick('w', &one, 0)[0],
        2,
        "the claim lapsed, and nobody else gets one"
    );
    lock.end(&one, None);
    assert_eq!(lock.holders(), std::slice::from_ref(&other.id), "nor now");
    lock.bench.advance(2000);
    lock.listens(&holder);
    lock.acquire(&holder, WAIT);
    lock.end(&other, None);
    assert_eq!(lock.holders(), std::slice::from_ref(&holder.id), "nor later");
}

#[test]
fn the_waiters_of_a_vanished_machine_keep_their_order_if_it_comes_back() {
    let gone = [10, 11, 12].map(|count| of(2, count));
    let one = of(3, 20);
    let [first, second, third] = &gone;
    let (mut lock, holder) = queue(&[first, second, third, &one]);
    lock.end(&holder, None);
    lock.bench.advance(2500);
    lock.tick('w', &one, 0);
    lock.bench.advance(2501);
    assert_eq!(lock.tick('w', &one, 0)[0], 2);
    let items: Vec<_> = gone.iter().map(|who| ('w', who, 0, LEASE)).collect();
    lock.tick_raw(&[KEY; 3], &items); // it was only cut off
    lock.end(&one, None);
    assert_eq!(lock.holders(), std::slice::from_ref(&first.id));
    assert_eq!(lock.queue(), [second.id.clone(), third.id.clone()]);
}

/// Claims that are shorter than the pause between two ticks: who was not seen since is no worse for it.
#[test]
fn a_short_claim_that_lapses_casts_no_doubt_on_those_behind() {
    let [gone, next, last] = [2, 3, 4].map(|count| attempt(count, 1));
    let (mut lock, holder) = queue(&[&gone, &next, &last]);
    lock.bench.advance(2000);
    lock.end(&holder, None);
    lock.bench.advance(WINDOW + 1);
    lock.tick('w', &last, 0);
    assert_eq!(lock.holders(), [next.id]);
}

#[test]
fn a_waiter_that_polls_and_never_asks_is_passed_over_after_its_first_claim() {
    let mut lock = Lock::new(1);
    let holder = attempt(1, 1);
    let unpolled = attempt(2, 1);
    let polls = crate::lock::Terms { polls: 3, ..WAIT };
    lock.acquire(&holder, WAIT);
    lock.acquire(&unpolled, polls);
    let others = [3, 4, 5].map(|count| attempt(count, 1));
    for who in &others {
        lock.listens(who);
        lock.acquire(who, WAIT);
    }
    lock.end(&holder, None);
    assert_eq!(
        lock.holders(),
        std::slice::from_ref(&unpolled.id),
        "it needs no subscriber"
    );
    lock.bench.advance(WINDOW + 1);
    for who in &others {
        assert_eq!(lock.tick('p', &unpolled, 0)[0], 3, "its client ticks on");
        lock.tick('w', who, 0);
        assert_eq!(
            lock.holders(),
            std::slice::from_ref(&who.id),
            "and costs nobody a claim again"
        );
        lock.end(who, None);
    }
    for missed in [1, 2] {
        assert_eq!(
            lock.dump().holds[&unpolled.id].1,
            Some(missed),
            "nobody else can have it"
        );
        lock.bench.advance(LEASE);
        lock.tick('p', &unpolled, 0);
    }
    assert!(
        lock.dump().holds.is_empty() && lock.queue().is_empty(),
        "three, and it is given up"
    );
}

#[test]
fn a_waiter_that_polls_and_asks_again_starts_anew() {
    let mut lock = Lock::new(1);
    let [holder, slow] = [1, 2].map(|count| attempt(count, 1));
    let polls = crate::lock::Terms { polls: 3, ..WAIT };
    lock.acquire(&holder, WAIT);
    lock.acquire(&slow, polls);
    let next = attempt(3, 1);
    lock.listens(&next);
    lock.acquire(&next, WAIT);
    lock.end(&holder, None);
    lock.bench.advance(WINDOW + 1);
    assert_eq!(lock.tick('w', &next, 0)[0], 2, "the claim lapsed");
    assert_eq!(lock.acquire(&slow, polls)[0], 2, "it asks by itself");
    lock.end(&next, None);
    let dump = lock.dump();
    assert_eq!(
        dump.holds.get(&slow.id).map(|hold| hold.1),
        Some(Some(0)),
        "{dump:?}"
    );
}
