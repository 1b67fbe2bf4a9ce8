//! Every reply code of every script, at least once, by hand.

use latchwork_testkit::Reply;

use crate::bench::{Script, numbers};
use crate::lock::{KEY, LEASE, Lock, RETENTION, TRY, Terms, WAIT, WINDOW, attempt, ints};

#[test]
fn acquire_grants_queues_and_refuses() {
    let mut lock = Lock::new(1);
    let [a, b, c] = [1, 2, 3].map(|count| attempt(count, 1));
    let stamp = lock.stamp();
    assert_eq!(
        lock.acquire(
            &a,
            Terms {
                not_after: -1,
                ..WAIT
            }
        ),
        [4, stamp],
        "late"
    );
    assert_eq!(lock.pttl(), -2, "late changes nothing");
    assert_eq!(lock.acquire(&a, WAIT), [1, stamp, stamp, LEASE, 0], "granted");
    lock.bench.advance(300);
    assert_eq!(
        lock.acquire(&a, WAIT),
        [1, lock.stamp(), stamp, LEASE - 300, 0],
        "a replay extends nothing (H26)"
    );
    assert_eq!(lock.acquire(&b, TRY), [3, lock.stamp(), LEASE - 300, 0], "busy");
    assert_eq!(
        lock.acquire(&b, Terms { room: 1, ..WAIT }),
        [2, lock.stamp(), LEASE - 300, 0],
        "queued"
    );
    assert_eq!(
        lock.acquire(&b, Terms { room: 1, ..WAIT }),
        [2, lock.stamp(), LEASE - 300, 0],
        "keeps its place"
    );
    let late = Terms {
        not_after: -1,
        ..WAIT
    };
    let before = lock.dump();
    lock.bench.advance(1000);
    assert_eq!(
        lock.acquire(&b, late),
        [4, lock.stamp()],
        "a late copy for a waiter"
    );
    assert_eq!(lock.dump(), before, "does not even refresh its place (H35)");
    assert_eq!(
        lock.acquire(&a, late)[..3],
        [1, lock.stamp(), stamp],
        "a hold is told all the same"
    );
    assert_eq!(
        lock.acquire(&c, Terms { room: 1, ..WAIT }),
        [6, lock.stamp()],
        "the queue is full"
    );
    let floor = lock.stamp() + 86_400_000_001;
    assert_eq!(
        lock.acquire(&c, Terms { floor, ..WAIT }),
        [7, lock.stamp()],
        "the floor is too far ahead"
    );
    assert_eq!(lock.end(&c, Some(50)), [0, 0, 0], "leaves a tombstone");
    assert_eq!(lock.acquire(&c, WAIT), [5, lock.stamp()], "ended");
    assert_eq!(lock.queue(), [b.id], "none of those changed the queue");
}

#[test]
fn end_says_what_was_given_up() {
    let mut lock = Lock::new(1);
    let [a, b] = [1, 2].map(|count| attempt(count, 1));
    assert_eq!(lock.end(&a, None), [0, 0, 0], "nothing");
    assert_eq!(lock.pttl(), -2, "and nothing is made of it");
    lock.acquire(&a, WAIT);
    assert_eq!(lock.end(&a, None), [1, 0, 0], "a hold, alone");
    assert_eq!(lock.end(&a, None), [0, 0, 0], "not twice (H31)");
    lock.acquire(&a, WAIT);
    lock.acquire(&b, WAIT);
    assert_eq!(lock.end(&b, None), [2, 0, 0], "a place");
    lock.acquire(&b, WAIT);
    assert_eq!(lock.end(&a, None), [1, 0, 0], "a hold, with a waiter behind");
    assert_eq!(lock.end(&a, None), [0, 0, 0], "a copy of that comes late (H29)");
    assert_eq!(
        lock.holders(),
        std::slice::from_ref(&b.id),
        "it ends nobody else's"
    );
    lock.listens(&b);
    lock.bench.advance(3 * WINDOW);
    lock.tick('w', &a, 0);
    assert_eq!(
        lock.dump().holds[&b.id].1,
        Some(1),
        "the claim lapsed and is made again"
    );
}

#[test]
fn a_grant_by_message_is_a_claim_until_it_is_confirmed() {
    let mut lock = Lock::new(1);
    let [a, b] = [1, 2].map(|count| attempt(count, 1));
    lock.listens(&b);
    lock.acquire(&a, WAIT);
    lock.acquire(&b, WAIT);
    lock.bench.advance(100);
    lock.end(&a, None);
    let (client, rest) = b.parts();
    let text = format!("g {rest} {0} {0} {WINDOW}", lock.stamp());
    assert_eq!(
        lock.bench.messages().into_iter().collect::<Vec<_>>(),
        [(format!("latchwork:inbox:{client}"), vec![text])]
    );
    let token = lock.stamp();
    assert_eq!(
        lock.acquire(&b, WAIT),
        [1, lock.stamp(), token, WINDOW, 1],
        "asked again: granted, a claim"
    );
    assert_eq!(
        lock.tick('w', &b, 0),
        [2, token, WINDOW, 1],
        "the same by tick (H2)"
    );
    lock.bench.advance(WINDOW);
    assert_eq!(
        lock.tick('h', &b, token + 1),
        [5, 1],
        "another token confirms nothing"
    );
    assert_eq!(
        lock.tick('h', &b, token),
        [1, LEASE],
        "confirmed, in its last millisecond"
    );
    assert_eq!(lock.tick('w', &b, 0), [2, token, LEASE, 0]);
}

#[test]
fn a_hold_is_over_when_its_lease_is() {
    let mut lock = Lock::new(1);
    let a = attempt(1, 1);
    let token = lock.acquire(&a, WAIT)[2];
    lock.bench.advance(LEASE - 1);
    assert_eq!(lock.tick('h', &a, token), [1, LEASE], "in the last millisecond");
    lock.bench.advance(LEASE);
    assert_eq!(lock.tick('h', &a, token), [5, 1], "not after it");
}

#[test]
fn tick_answers_each_state() {
    let mut lock = Lock::new(1);
    let [a, b, c] = [1, 2, 3].map(|count| attempt(count, 1));
    let first = lock.acquire(&a, WAIT)[2];
    lock.acquire(&b, WAIT);
    lock.bench.advance(1000);
    assert_eq!(lock.tick('h', &a, first), [1, LEASE], "held");
    assert_eq!(lock.tick('w', &b, 0), [3, LEASE, 0], "queued");
    assert_eq!(lock.tick('w', &c, 0), [4], "gone");
    lock.end(&c, Some(1));
    assert_eq!(lock.tick('w', &c, 0), [5, 1], "ended");
    assert_eq!(lock.tick('h', &b, 0), [5, 1], "a waiter holds nothing");
    lock.bench.advance(LEASE);
    assert_eq!(
        lock.tick('p', &b, 0),
        [2, lock.stamp(), WINDOW, 1],
        "granted by the tick itself"
    );
    assert_eq!(lock.tick('h', &a, first), [5, 2], "somebody else had it since");
    assert_eq!(lock.tick('h', &b, first), [5, 2], "it is for another grant (H36)");
    lock.force();
    assert_eq!(lock.tick('h', &b, first + 1), [5, 3], "forced");
    assert_eq!(lock.end(&b, None), [3, 0, 0], "forced");
    let reply = lock.tick_raw(&[KEY], &[('h', &a, first, LEASE)]);
    assert_eq!(
        reply.items()[..2],
        [Reply::Int(lock.stamp()), Reply::Int(0)],
        "the stamp, and no message was refused"
    );
}

#[test]
fn force_ends_every_hold_and_says_so() {
    let mut lock = Lock::new(3);
    let [a, b, c] = [1, 2, 3].map(|count| attempt(count, if count == 3 { 3 } else { 1 }));
    assert_eq!(lock.force(), [0, 0, 0], "no record");
    for who in [&a, &b, &c] {
        lock.listens(who);
        lock.acquire(who, WAIT);
    }
    assert_eq!(lock.force(), [1, 0, 0]);
    assert_eq!(
        lock.holders(),
        std::slice::from_ref(&c.id),
        "the writer behind the readers is next"
    );
    let texts: Vec<String> = lock.bench.messages().into_values().flatten().collect();
    let stamp = lock.stamp();
    let forced = |who: &crate::model::Attempt| format!("f {} {stamp}", who.parts().1);
    let token = lock.dump().token.unwrap();
    let granted = format!("g {} {token} {stamp} {WINDOW}", c.parts().1);
    assert_eq!(texts, [forced(&a), forced(&b), granted]);
    assert_eq!(lock.tick('h', &a, 0), [5, 3], "a renewal learns why");
    lock.end(&c, None);
    assert_eq!(lock.force(), [0, 0, 0], "nobody holds");
    lock.bench.advance(LEASE + 1000);
    assert_eq!(
        lock.tick('h', &a, 0),
        [5, 1],
        "the mark lasts as long as the hold could have, and a second"
    );
    assert!(lock.dump().forced.is_empty());
}

#[test]
fn inspect_lists_and_changes_nothing() {
    let mut lock = Lock::new(1);
    let [a, b, c] = [1, 2, 3].map(|count| attempt(count, 1));
    assert_eq!(lock.inspect(10), numbers(&[0]));
    let token = lock.acquire(&a, WAIT)[2];
    lock.acquire(&b, WAIT);
    lock.acquire(&c, WAIT);
    let before = lock.dump();
    let text = |id: &str| Reply::Bulk(id.as_bytes().to_vec());
    let holders = Reply::Array(vec![text(&a.id), Reply::Int(lock.now() + LEASE)]);
    let head = [1, lock.stamp(), token, 2].map(Reply::Int).to_vec();
    let counts = vec![Reply::Int(0), Reply::Int(0), Reply::Array(vec![Reply::Int(1)])];
    let of_all = [1, 0, 0].map(Reply::Int).to_vec();
    let whole = [
        head,
        vec![holders, Reply::Array(vec![text(&b.id), text(&c.id)])],
        counts,
        of_all,
        [vec![0], vec![0, 0]]
            .map(|list| Reply::Array(list.into_iter().map(Reply::Int).collect()))
            .to_vec(),
    ]
    .concat();

    assert_eq!(lock.inspect(10), Reply::Array(whole));
    assert_eq!(
        lock.inspect(1).items()[5],
        Reply::Array(vec![text(&b.id)]),
        "no more than asked for"
    );
    lock.bench.advance(LEASE);
    assert_eq!(
        lock.inspect(10).items()[4],
        Reply::Array(vec![]),
        "a hold whose time is over is none"
    );
    assert_eq!(lock.dump(), before);
}

/// A claim says how often its waiter missed one, and a waiter when it was seen, also after the clock was set back.
#[test]
fn inspect_says_what_is_a_claim_and_who_is_silent() {
    const UNIT: i64 = 512;
    const UNITS: i64 = 1 << 18;
    const STEPPED: i64 = 8192;
    let mut lock = Lock::new(2);
    let [a, b, c, d] = [1, 2, 3, 4].map(|count| attempt(count, 1));
    for who in [&a, &b, &c, &d] {
        lock.acquire(who, WAIT);
    }
    let list = |numbers: &[i64]| Reply::Array(numbers.iter().copied().map(Reply::Int).collect());
    let found = |lock: &mut Lock| lock.inspect(10).items()[12..].to_vec();
    lock.bench.advance(2 * UNIT + 511);
    assert_eq!(found(&mut lock), [list(&[0, 0]), list(&[2 * UNIT; 2])]);
    lock.tick('w', &d, 0);
    assert_eq!(found(&mut lock), [list(&[0, 0]), list(&[2 * UNIT, 0])]);
    lock.end(&a, None);
    assert_eq!(found(&mut lock), [list(&[1, 0]), list(&[0])], "c has a claim");
    // How far back it was set cannot be told from a very long silence, so only so far it counts as just now.
    lock.bench.advance(-(STEPPED - 1) * UNIT);
    assert_eq!(found(&mut lock)[1], list(&[0]));
    lock.bench.advance(-UNIT);
    assert_eq!(found(&mut lock)[1], list(&[(UNITS - STEPPED) * UNIT]));
}

#[test]
fn adopt_is_for_one_of_two() {
    let mut lock = Lock::new(1);
    let [a, b, c, d] = [1, 2, 3, 4].map(|count| attempt(count, 1));
    assert_eq!(lock.adopt(&b, &a, 7, 100), [3, lock.stamp(), 1], "no record");
    let token = lock.acquire(&a, WAIT)[2];
    lock.bench.advance(500);
    assert_eq!(lock.adopt(&b, &a, token, -1), [4, lock.stamp()], "late");
    assert_eq!(
        lock.adopt(&b, &a, token + 1, 100),
        [3, lock.stamp(), 1],
        "another token"
    );
    lock.end(&d, Some(100));
    assert_eq!(
        lock.adopt(&d, &a, token, 100),
        [5, lock.stamp()],
        "the new attempt has ended"
    );
    assert_eq!(lock.adopt(&b, &a, token, 100), [1, lock.stamp(), token, LEASE, 0]);
    lock.bench.advance(10);
    assert_eq!(
        lock.adopt(&b, &a, token, -1),
        [1, lock.stamp(), token, LEASE - 10, 0],
        "a late copy answers as before"
    );
    assert_eq!(
        lock.adopt(&c, &a, token, 100),
        [3, lock.stamp(), 1],
        "the second to try"
    );
    assert_eq!(lock.tick('h', &a, token), [5, 1], "the old attempt has nothing");
    assert_eq!(lock.tick('h', &b, token), [1, LEASE]);
}

#[test]
fn a_shared_hold_can_be_adopted_too() {
    let mut lock = Lock::new(3);
    let [a, b] = [1, 2].map(|count| attempt(count, 2));
    lock.acquire(&a, WAIT);
    lock.tick('x', &a, 0);
    assert_eq!(lock.adopt(&b, &a, 0, 100), [1, lock.stamp(), 0, LEASE, 0]);
    let dump = lock.dump();
    assert_eq!(
        (dump.shared, dump.extended.len()),
        (Some(2), 0),
        "the weight stays, the extension does not"
    );
}

#[test]
fn fence_admits_what_is_not_older() {
    let mut lock = Lock::new(1);
    let keys = ["latchwork:fence:{r}", "resource"];
    let mut fence = |keys: &[&str], args: &[&str]| ints(&lock.bench.call(Script::Fence, keys, args));
    assert_eq!(
        fence(&keys, &["0", "60000", "w"]),
        [0, 0],
        "nobody has written yet"
    );
    assert_eq!(
        fence(&keys[..1], &["1", "60000"]),
        [1, 1],
        "the least token there may be"
    );
    assert_eq!(
        fence(&keys[..1], &["1700000000000005", "60000"]),
        [1, 1_700_000_000_000_005]
    );
    assert_eq!(
        fence(&keys, &["1700000000000005", "60000", "v"]),
        [1, 1_700_000_000_000_005],
        "again, with a value"
    );
    assert_eq!(
        fence(&keys, &["1700000000000004", "60000", "w"]),
        [0, 1_700_000_000_000_005],
        "stale"
    );
    assert_eq!(
        fence(&keys, &["0", "60000", "w"]),
        [0, 1_700_000_000_000_005],
        "only asked"
    );
    let life = lock.bench.redis(&["PTTL", keys[0]]).int().unwrap();
    assert!((1..=60_000).contains(&life), "{life} ms");
    let (day, seen) = (86_400_000_000, 1_700_000_000_000_005);
    let highest = seen.max(lock.stamp());
    let mut admit = |token: i64| {
        let token = token.to_string();
        ints(&lock.bench.call(Script::Fence, &keys[..1], &[&token, "60000"]))
    };
    assert_eq!(admit(highest + day + 1), [7, seen], "a day ahead of both");
    assert_eq!(admit(highest + day), [1, highest + day]);
    assert_eq!(admit(highest + 2 * day + 1), [7, highest + day], "of the highest");
    assert_eq!(admit(highest + 2 * day), [1, highest + 2 * day]);
    lock.bench.redis(&["SET", keys[0], "2:17"]);
    assert_eq!(
        ints(&lock.bench.call(Script::Fence, &keys, &["1", "60000", "w"])),
        [8, 0],
        "another schema version"
    );
    assert_eq!(
        lock.bench.redis(&["GET", keys[1]]).text().as_deref(),
        Some("v"),
        "neither wrote"
    );
}

#[test]
fn a_released_record_outlives_the_release_by_the_retention() {
    let mut lock = Lock::new(1);
    let a = attempt(1, 1);
    lock.acquire(&a, WAIT);
    lock.end(&a, None);
    assert!(lock.pttl() > RETENTION, "{}", lock.pttl());
    assert_eq!(lock.dump().holds.len(), 0);
}
