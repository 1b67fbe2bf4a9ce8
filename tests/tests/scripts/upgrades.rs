//! Upgrades and downgrades by hand: the interleavings that the design page lists.

use crate::lock::{LEASE, Lock, TRY, Terms, WAIT, attempt, ints};
use crate::model::Attempt;

pub(crate) const ALL: i64 = 999_999;
const UPGRADABLE: i64 = 500_000;

/// The messages since the last look.
fn texts(lock: &mut Lock) -> Vec<String> {
    lock.bench.messages().into_values().flatten().collect()
}

/// A read-write lock with an upgradable reader, who listens, and a reader.
pub(crate) fn shared() -> (Lock, Attempt, Attempt) {
    let mut lock = Lock::new(ALL);
    let (base, reader) = (attempt(1, UPGRADABLE), attempt(2, 1));
    lock.listens(&base);
    lock.acquire(&base, WAIT);
    lock.acquire(&reader, WAIT);
    (lock, base, reader)
}

#[test]
fn an_upgrade_goes_before_the_queue_and_gets_the_hold_itself() {
    let (mut lock, base, reader) = shared();
    let (upgrade, writer) = (Attempt::upgrade(&base, 3, ALL), attempt(4, ALL));
    assert_eq!(
        lock.acquire(&upgrade, TRY),
        [3, lock.stamp(), LEASE, 0],
        "not alone"
    );
    lock.acquire(&writer, WAIT);
    assert_eq!(lock.acquire(&upgrade, WAIT)[0], 2, "it waits");
    assert_eq!(lock.queue(), [upgrade.id.clone(), writer.id.clone()]);
    assert_eq!(lock.acquire(&attempt(5, 1), WAIT)[0], 2, "readers wait, too");
    lock.bench.messages();
    lock.bench.advance(50);
    lock.end(&reader, None);
    let token = lock.stamp();
    let text = format!("g {} {token} {token} {LEASE}", upgrade.parts().1);
    assert_eq!(texts(&mut lock), [text], "one message");
    let dump = lock.dump();
    assert_eq!(dump.upgraded[&base.id], 3);
    assert_eq!((dump.holds.len(), dump.shared), (1, Some(ALL)));
    assert_eq!(lock.tick('w', &upgrade, 0), [4], "its place is gone");
    lock.bench.advance(50);
    let told = [1, lock.stamp(), token, LEASE - 100, 0];
    assert_eq!(
        lock.acquire(&upgrade, WAIT),
        told,
        "a lost message is made up for"
    );
    assert_eq!(
        lock.tick('h', &base, 0),
        [1, LEASE],
        "renewed without a token: the grant is on its way"
    );
    assert_eq!(lock.tick('h', &base, token), [1, LEASE], "and with it");
    assert_eq!(lock.tick('h', &base, token - 1), [5, 2], "not with another");
    assert_eq!(lock.end(&base, None), [1, 0, 0]);
    assert_eq!(
        lock.holders(),
        std::slice::from_ref(&writer.id),
        "all of it is free"
    );
    lock.dump().check(ALL).unwrap();
}

#[test]
fn an_upgrade_that_was_given_up_is_taken_back() {
    let (mut lock, base, reader) = shared();
    let (first, second) = (Attempt::upgrade(&base, 3, ALL), Attempt::upgrade(&base, 4, ALL));
    let waits = attempt(5, 1);
    lock.acquire(&first, WAIT);
    lock.acquire(&waits, WAIT);
    lock.end(&reader, None);
    assert_eq!(lock.end(&first, Some(100)), [1, 0, 0], "the grant was on its way");
    assert!(lock.dump().upgraded.is_empty());
    assert_eq!(
        lock.holders(),
        [base.id.clone(), waits.id.clone()],
        "shared again"
    );
    assert_eq!(lock.acquire(&first, WAIT), [5, lock.stamp()], "a late copy");
    lock.end(&waits, None);
    let token = lock.acquire(&second, TRY)[2];
    assert!(token > 0, "alone");
    assert_eq!(lock.acquire(&first, WAIT), [5, lock.stamp()], "a late copy");
    assert_eq!(lock.end(&first, None), [0, 0, 0], "nothing of its own is left");
    assert_eq!(lock.dump().upgraded[&base.id], 4);
    lock.dump().check(ALL).unwrap();
}

#[test]
fn the_token_of_an_upgrade_that_was_undone_renews_nothing() {
    let (mut lock, base, reader) = shared();
    lock.end(&reader, None);
    let upgrade = Attempt::upgrade(&base, 3, ALL);
    let token = lock.acquire(&upgrade, TRY)[2];
    assert_eq!(lock.tick('h', &base, token), [1, LEASE], "it is alone");
    assert_eq!(lock.end(&upgrade, None), [1, 0, 0]);
    assert_eq!(lock.tick('h', &base, token), [5, 1], "others may have joined");
    assert_eq!(lock.tick('h', &base, 0), [1, LEASE], "a reader as before");
}

#[test]
fn an_upgrade_overtakes_the_end_of_the_one_before() {
    let (mut lock, base, reader) = shared();
    let (first, second) = (Attempt::upgrade(&base, 3, ALL), Attempt::upgrade(&base, 4, ALL));
    lock.end(&reader, None);
    let token = lock.acquire(&first, TRY)[2];
    let other = lock.acquire(&second, TRY);
    assert_eq!(other[0], 1, "it makes the upgrade its own");
    assert!(other[2] > token, "with a token of its own");
    assert_eq!(
        lock.acquire(&first, WAIT),
        [5, lock.stamp()],
        "a late copy of the first"
    );
    assert_eq!(lock.end(&first, None), [0, 0, 0], "nothing of its own is left");
    assert_eq!(lock.acquire(&second, TRY)[2], other[2], "it still has it");
    assert_eq!(lock.end(&base, None), [1, 0, 0]);
    assert_eq!(
        lock.end(&second, None),
        [0, 0, 0],
        "both ended, in this order too"
    );
    assert_eq!(lock.dump().shared, None, "nothing is in use");
}

#[test]
fn an_upgrade_whose_base_is_over_is_told() {
    let (mut lock, base, reader) = shared();
    let upgrade = Attempt::upgrade(&base, 3, ALL);
    lock.bench.advance(LEASE / 2);
    lock.tick('h', &reader, 0);
    lock.acquire(&upgrade, WAIT);
    lock.bench.messages();
    lock.bench.advance(LEASE / 2);
    let other = attempt(4, UPGRADABLE);
    lock.end(&attempt(9, 1), None);
    let text = format!("w {} 0 {}", upgrade.parts().1, lock.stamp());
    assert_eq!(texts(&mut lock), [text], "told to ask again");
    assert!(lock.queue().is_empty(), "out of the queue");
    assert_eq!(lock.acquire(&other, WAIT)[0], 1, "another upgradable reader");
    lock.end(&reader, None);
    assert_eq!(
        lock.acquire(&upgrade, WAIT),
        [11, lock.stamp(), 1],
        "that one is not its base"
    );
    assert_eq!(lock.end(&upgrade, None), [0, 0, 0]);
    assert!(lock.dump().upgraded.is_empty(), "nor was it upgraded");
}

#[test]
fn an_upgrade_has_a_token_above_the_floor() {
    let (mut lock, base, reader) = shared();
    let upgrade = Attempt::upgrade(&base, 3, ALL);
    let floor = lock.stamp() + 5_000_000;
    let above = Terms { floor, ..WAIT };
    lock.acquire(&upgrade, above);
    lock.end(&reader, None);
    assert_eq!(
        lock.acquire(&upgrade, above)[2],
        floor + 1,
        "the message said less"
    );
    assert_eq!(lock.acquire(&upgrade, above)[2], floor + 1, "once");
    let next = Attempt::upgrade(&base, 4, ALL);
    let floor = floor + 5_000_000;
    assert_eq!(
        lock.acquire(&next, Terms { floor, ..TRY })[2],
        floor + 1,
        "at once"
    );
}

#[test]
fn a_downgrade_is_done_in_one_step_and_once() {
    let mut lock = Lock::new(ALL);
    let (writer, reader) = (attempt(1, ALL), attempt(2, 1));
    let (shared, less) = (attempt(3, UPGRADABLE), attempt(4, 1));
    let token = lock.acquire(&writer, WAIT)[2];
    lock.acquire(&reader, WAIT);
    lock.tick('x', &writer, token);
    assert_eq!(
        lock.downgrade(&shared, &writer, token, -1),
        [4, lock.stamp()],
        "late"
    );
    assert_eq!(
        lock.downgrade(&shared, &writer, token - 1, 0),
        [3, lock.stamp(), 2],
        "another hold"
    );
    assert_eq!(
        lock.downgrade(&shared, &writer, token, 0),
        [1, lock.stamp(), 0, LEASE, 0]
    );
    assert_eq!(
        lock.holders(),
        [reader.id.clone(), shared.id.clone()],
        "the reader came in"
    );
    lock.bench.advance(100);
    assert_eq!(
        lock.downgrade(&shared, &writer, token, 0),
        [1, lock.stamp(), 0, LEASE - 100, 0],
        "a replay"
    );
    assert_eq!(
        lock.end(&writer, None),
        [0, 0, 0],
        "of the old one nothing is left"
    );
    assert_eq!(lock.tick('h', &reader, 0), [1, LEASE]);
    lock.end(&reader, None);
    let upgrade = Attempt::upgrade(&shared, 5, ALL);
    let upgraded = lock.acquire(&upgrade, TRY)[2];
    assert_eq!(
        lock.downgrade(&less, &shared, upgraded, 0)[0],
        1,
        "from an upgraded one"
    );
    assert_eq!(
        lock.acquire(&upgrade, TRY),
        [11, lock.stamp(), 1],
        "a late copy of the upgrade"
    );
    assert_eq!(lock.end(&upgrade, None), [0, 0, 0]);
    assert_eq!(lock.dump().shared, Some(1));
    lock.end(&less, Some(1000));
    assert_eq!(
        lock.downgrade(&less, &shared, upgraded, 0),
        [5, lock.stamp()],
        "a late copy of what has ended"
    );
    lock.dump().check(ALL).unwrap();
}

#[test]
fn a_late_copy_of_a_downgrade_does_not_undo_an_extension() {
    let mut lock = Lock::new(ALL);
    let (writer, shared) = (attempt(1, ALL), attempt(2, 1));
    let token = lock.acquire(&writer, WAIT)[2];
    lock.downgrade(&shared, &writer, token, 100);
    lock.tick('x', &shared, 0);
    let told = [1, lock.stamp(), 0, 5 * LEASE, 0];
    assert_eq!(lock.downgrade(&shared, &writer, token, 100), told);
    lock.bench.advance(2 * LEASE);
    assert_eq!(
        lock.acquire(&attempt(3, ALL), TRY)[0],
        3,
        "its guard counts on the extension"
    );
}

#[test]
fn downgrades_need_no_memory() {
    let mut lock = Lock::new(ALL);
    let (writer, reader, shared) = (attempt(1, ALL), attempt(2, 1), attempt(3, 1));
    let token = lock.acquire(&writer, WAIT)[2];
    lock.acquire(&reader, WAIT);
    lock.bench.redis(&["CONFIG", "SET", "maxmemory", "1"]);
    assert_eq!(lock.downgrade(&shared, &writer, token, 100)[0], 1, "H40");
    assert_eq!(lock.dump().shared, Some(2), "the reader came in");
}

/// The second of two upgrades of one hold came first, and waits behind the other.
#[test]
fn an_upgrade_that_waited_leaves_the_queue_when_it_replaces_the_one_before() {
    let (mut lock, base, reader) = shared();
    let (first, second) = (Attempt::upgrade(&base, 3, ALL), Attempt::upgrade(&base, 4, ALL));
    lock.acquire(&second, WAIT);
    lock.acquire(&first, WAIT);
    assert_eq!(lock.queue(), [first.id.clone(), second.id.clone()]);
    lock.end(&reader, None);
    assert_eq!(lock.dump().upgraded[&base.id], 3);
    assert_eq!(lock.acquire(&second, WAIT)[0], 1, "it makes the upgrade its own");
    let dump = lock.dump();
    assert_eq!((dump.queue.len(), dump.next), (0, None), "nobody waits");
    dump.check(ALL).unwrap();
}

#[test]
fn nobody_is_let_in_beside_an_upgrade() {
    let (mut lock, base, reader) = shared();
    let (upgrade, waits) = (Attempt::upgrade(&base, 3, ALL), attempt(5, 1));
    lock.listens(&waits);
    lock.acquire(&upgrade, WAIT);
    lock.acquire(&waits, WAIT);
    lock.end(&reader, None);
    assert_eq!(lock.holders(), [base.id], "it has everything");
    assert_eq!(lock.queue(), [waits.id]);
}

#[test]
fn an_upgrade_whose_base_is_over_does_not_hold_up_those_behind() {
    let (mut lock, base, reader) = shared();
    let (upgrade, waits) = (Attempt::upgrade(&base, 3, ALL), attempt(5, 1));
    lock.listens(&waits);
    lock.bench.advance(LEASE / 2);
    lock.tick('h', &reader, 0);
    lock.acquire(&upgrade, WAIT);
    lock.acquire(&waits, WAIT);
    lock.bench.advance(LEASE / 2);
    lock.tick('w', &waits, 0);
    assert_eq!(lock.holders(), [reader.id, waits.id], "granted in the same step");
    assert!(lock.queue().is_empty());
}

#[test]
fn who_adopts_an_upgraded_hold_has_all_of_it() {
    let (mut lock, base, reader) = shared();
    let upgrade = Attempt::upgrade(&base, 3, ALL);
    lock.end(&reader, None);
    let token = lock.acquire(&upgrade, TRY)[2];
    let next = attempt(6, UPGRADABLE);
    assert_eq!(lock.adopt(&next, &base, token, 100)[0], 1);
    assert_eq!(
        lock.dump().upgraded.get(&next.id),
        Some(&3),
        "the mark goes with it"
    );
    let listed = lock.inspect(10);
    assert_eq!(ints(&listed.items()[8]), [ALL], "and so it is listed");
    lock.end(&next, None);
    let dump = lock.dump();
    assert_eq!((dump.shared, dump.upgraded.len()), (None, 0), "all of it is free");
}

/// Its client knows that the guard is lost, and does not wait for another.
#[test]
fn a_claim_that_lapsed_before_its_downgrade_does_not_go_back_to_the_queue() {
    let mut lock = Lock::new(ALL);
    let [holder, writer] = [1, 2].map(|count| attempt(count, ALL));
    let shared = attempt(3, 1);
    lock.listens(&writer);
    lock.acquire(&holder, WAIT);
    lock.acquire(&writer, WAIT);
    lock.end(&holder, None);
    let token = lock.dump().token.unwrap();
    lock.bench.advance(LEASE);
    assert_eq!(lock.downgrade(&shared, &writer, token, 100), [3, lock.stamp(), 1]);
    let dump = lock.dump();
    assert_eq!((dump.queue.len(), dump.holds.len()), (0, 0), "{dump:?}");
}

#[test]
fn a_copy_of_a_downgrade_at_the_end_of_the_new_lease_is_told_so() {
    let mut lock = Lock::new(ALL);
    let (writer, shared) = (attempt(1, ALL), attempt(2, 1));
    let token = lock.acquire(&writer, WAIT)[2];
    lock.downgrade(&shared, &writer, token, 2 * LEASE);
    lock.bench.advance(LEASE);
    assert_eq!(
        lock.downgrade(&shared, &writer, token, LEASE),
        [3, lock.stamp(), 1]
    );
}
