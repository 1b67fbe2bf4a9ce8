//! A renewal that has to be a write is one, whatever the clock says: a `WAIT` behind it relies on that.

use crate::lock::{KEY, LEASE, Lock, RETENTION, WAIT, attempt};

impl Lock {
    /// How many changes the server has made.
    fn changes(&self) -> i64 {
        let changes = self
            .bench
            .server
            .info("persistence", "rdb_changes_since_last_save");
        changes.expect("an answer").trim().parse().expect("a number")
    }
}

#[test]
fn a_secured_renewal_is_a_write_even_if_it_changes_nothing() {
    for weight in [1, 2] {
        let mut lock = Lock::new(2);
        let a = attempt(1, weight);
        let granted = lock.acquire(&a, WAIT);
        let token = if weight == 2 { granted[2] } else { 0 };
        let before = lock.dump();
        let changes = lock.changes();
        assert_eq!(lock.tick('h', &a, token), [1, LEASE], "in the same millisecond");
        assert_eq!(lock.changes(), changes, "a plain renewal has nothing to do");
        for back in [0, 1000, 5_000_000] {
            lock.bench.now_us -= back;
            lock.inspect(1); // the test's own clock is a write: now, not later
            let changes = lock.changes();
            assert_eq!(lock.tick('d', &a, token)[0], 1, "it is held, {back} us before");
            assert!(lock.changes() > changes, "a write, {back} us before");
        }
        assert_eq!(lock.dump().holds, before.holds, "it is never shorter");
        assert_eq!(lock.tick('d', &a, 7), [5, 2], "of its grant only");
        let life = lock.bench.server.admin(&["PTTL", KEY]).expect("an answer");
        assert!(
            life.int()
                .is_some_and(|life| life > LEASE && life < 2 * (LEASE + RETENTION)),
            "{life:?}"
        );
    }
}

#[test]
fn a_secured_renewal_confirms_a_claim_and_finds_what_is_lost() {
    let mut lock = Lock::new(1);
    let (a, b) = (attempt(1, 1), attempt(2, 1));
    lock.acquire(&a, WAIT);
    lock.acquire(&b, WAIT);
    lock.bench.advance(1000);
    lock.end(&a, None);
    let token = lock.stamp();
    assert_eq!(lock.dump().holds.len(), 1, "handed over");
    assert_eq!(lock.tick('d', &b, token), [1, LEASE], "confirmed");
    let changes = lock.changes();
    assert_eq!(lock.tick('d', &a, token)[0], 5, "it has ended");
    assert_eq!(lock.changes(), changes, "and nothing was written");
    lock.bench.advance(LEASE);
    assert_eq!(lock.tick('d', &b, token)[0], 5, "its lease is over");
}
