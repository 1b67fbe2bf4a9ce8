//! A step that could let a crowd in grants to a hundred of it, says so, and makes sure that somebody goes on.

use std::collections::BTreeMap;

use crate::bench::Script;
use crate::lock::{INBOX, KEY, LEASE, Lock, RETENTION, TRY, WAIT, WINDOW, attempt, ints};
use crate::model::Attempt;

/// What one step grants at most.
const BOUND: usize = 100;
const READERS: u64 = 250;
const CAPACITY: i64 = 1000;

/// A reader of the client that all readers have in common.
fn reader(count: u64) -> Attempt {
    Attempt::new(7, count, 1, LEASE, WINDOW)
}

/// A writer holds, and the readers wait.
fn crowd() -> (Lock, Attempt, i64) {
    let mut lock = Lock::new(CAPACITY);
    let writer = attempt(1, CAPACITY);
    lock.listens(&reader(0));
    let token = lock.acquire(&writer, WAIT)[2];
    for count in 1..=READERS {
        assert_eq!(lock.acquire(&reader(count), WAIT)[0], 2, "it waits");
    }
    lock.bench.messages();
    (lock, writer, token)
}

impl Lock {
    /// A lease passes, in which the waiters' client shows that they live.
    fn lease_passes(&mut self, keys: &[&str], waiters: &[Attempt]) {
        self.bench.advance(LEASE / 2);
        let items: Vec<_> = waiters.iter().map(|who| ('w', who, 0, LEASE)).collect();
        self.tick_raw(keys, &items);
        self.bench.advance(LEASE - LEASE / 2);
        self.bench.messages();
    }

    /// The same for the crowd.
    fn writers_lease_passes(&mut self) {
        let readers: Vec<_> = (1..=READERS).map(reader).collect();
        self.lease_passes(&vec![KEY; readers.len()], &readers);
    }

    /// The lines that the readers' client was sent, by kind, and of the messages the longest.
    fn lines(&mut self) -> (BTreeMap<String, Vec<String>>, usize) {
        let mut came = self.bench.messages();
        let texts = came
            .remove(&format!("{INBOX}{}", reader(0).parts().0))
            .unwrap_or_default();
        let mut lines = BTreeMap::<String, Vec<String>>::new();
        for line in texts.iter().flat_map(|text| text.split(';')) {
            let (kind, rest) = line.split_once(' ').unwrap();
            lines.entry(kind.to_owned()).or_default().push(rest.to_owned());
        }
        let longest = texts.iter().map(|text| text.split(';').count()).max();
        (lines, longest.unwrap_or(0))
    }

    /// A step was bounded: a hundred more readers hold, and the next one was told to look at once.
    fn is_bounded(&mut self, holders: usize) {
        assert_eq!(self.holders().len(), holders, "granted so far");
        let (lines, longest) = self.lines();
        assert_eq!(lines["g"].len(), BOUND, "a grant for each of a hundred");
        let next = reader(holders as u64 + 1);
        let look = format!("{} 0 {}", next.parts().1, self.stamp());
        assert_eq!(lines["w"], [look], "the first that was not granted goes on");
        assert_eq!(longest, BOUND + 1, "the message is no longer than that");
    }
}

#[test]
fn a_release_grants_a_hundred_and_is_repeated_for_the_rest() {
    let (mut lock, writer, _) = crowd();
    assert_eq!(lock.end(&writer, None), [1, 1, 0], "there are more");
    lock.is_bounded(100);
    assert_eq!(lock.end(&writer, None), [0, 1, 0]);
    lock.is_bounded(200);
    assert_eq!(lock.end(&writer, None), [0, 0, 0], "that was all");
    assert_eq!(lock.holders().len(), 250);
    let (lines, _) = lock.lines();
    assert_eq!(lines["g"].len(), 50);
    assert!(!lines.contains_key("w"), "nobody is left to look: {lines:?}");
}

#[test]
fn a_waiter_that_is_told_to_look_goes_on() {
    let (mut lock, writer, _) = crowd();
    lock.end(&writer, None);
    lock.is_bounded(100);
    assert_eq!(
        lock.tick('w', &reader(101), 0)[0],
        2,
        "its own grant leaves no room to say that there are more"
    );
    lock.is_bounded(200);
    let last = lock.tick('w', &reader(READERS), 0);
    assert_eq!(last[0], 2, "it is granted by this very step");
    assert_eq!(lock.holders().len(), 250);
}

#[test]
fn a_waiter_that_the_step_does_not_reach_learns_that_there_are_more() {
    let (mut lock, _, _) = crowd();
    lock.writers_lease_passes();
    assert_eq!(
        lock.tick('w', &reader(READERS), 0)[2],
        1,
        "queued, and more to do"
    );
    lock.is_bounded(100);
    let again = lock.acquire(&reader(READERS), WAIT);
    assert_eq!((again[0], again[3]), (2, 1), "the same by acquire");
    lock.is_bounded(200);
}

#[test]
fn a_try_that_finds_a_crowd_leaves_somebody_to_go_on() {
    let (mut lock, _, _) = crowd();
    lock.writers_lease_passes();
    assert_eq!(lock.acquire(&attempt(2, 1), TRY)[0], 3, "others wait");
    lock.is_bounded(100);
}

#[test]
fn a_forced_release_lets_a_hundred_in_and_one_look() {
    let (mut lock, writer, _) = crowd();
    assert_eq!(lock.force(), [1, 0, 0], "no hold is left to end");
    lock.is_bounded(100);
    assert!(!lock.holders().contains(&writer.id), "it was forced");
}

#[test]
fn a_downgrade_lets_a_hundred_in_and_one_look() {
    let (mut lock, writer, token) = crowd();
    let shared = attempt(2, 1);
    assert_eq!(lock.downgrade(&shared, &writer, token, 5000)[0], 1);
    assert!(lock.holders().contains(&shared.id), "the one that was the writer");
    assert_eq!(lock.holders().len(), 1 + BOUND);
    assert_eq!(lock.lines().0["w"].len(), 1, "one looks");
}

#[test]
fn a_resize_lets_a_hundred_in_and_is_repeated() {
    let mut lock = Lock::counted(1);
    lock.listens(&reader(0));
    lock.acquire(&attempt(1, 1), WAIT);
    for count in 1..=READERS {
        lock.acquire(&reader(count), WAIT);
    }
    assert_eq!(lock.resize(CAPACITY, 5000)[2], 1, "there are more");
    assert_eq!(lock.holders().len(), 1 + BOUND);
    assert_eq!(lock.resize(CAPACITY, 5000)[2], 1);
    assert_eq!(lock.resize(CAPACITY, 5000)[2], 0, "that was all");
    assert_eq!(lock.holders().len(), 251);
}

/// All records of one tick together are one step, whatever their number.
#[test]
fn a_tick_of_many_records_is_one_step() {
    let mut lock = Lock::new(CAPACITY);
    lock.listens(&reader(0));
    let keys: Vec<String> = (0..4).map(|n| format!("latchwork:lock:{{r{n}}}")).collect();
    let not_after = lock.now() + 5000;
    let ask = |lock: &mut Lock, key: &str, who: &Attempt| {
        let mut args = vec![who.id.clone()];
        args.extend(
            [LEASE, LEASE + RETENTION, who.weight, CAPACITY, not_after, 10_000].map(|n| n.to_string()),
        );
        ints(&lock.bench.call(Script::Acquire, &[key], &args))
    };
    let (mut places, mut waiters) = (Vec::new(), Vec::new());
    for (n, key) in (0..).zip(&keys) {
        ask(&mut lock, key, &attempt(n + 1, CAPACITY));
        for count in 1..=60 {
            let who = reader(n * 100 + count);
            assert_eq!(ask(&mut lock, key, &who)[0], 2);
            waiters.push((key.as_str(), who.clone()));
            if count == 60 {
                places.push(who);
            }
        }
    }
    let (at, waiters): (Vec<_>, Vec<_>) = waiters.into_iter().unzip();
    lock.lease_passes(&at, &waiters);
    let items: Vec<_> = places.iter().map(|who| ('w', who, 0, LEASE)).collect();
    let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
    let reply = lock.tick_raw(&keys, &items);
    let codes: Vec<_> = reply.items()[2..].iter().map(ints).collect();
    assert_eq!(codes[0][0], 2, "all of the first are granted");
    for item in &codes[1..] {
        assert_eq!((item[0], item[2]), (3, 1), "queued, and more to do");
    }
    let (lines, _) = lock.lines();
    assert_eq!(
        (lines["g"].len(), lines["w"].len()),
        (BOUND, 3),
        "one looks in each"
    );
    assert_eq!(
        lock.bench.dump(keys[1]).holds.len(),
        40,
        "what was left of the hundred"
    );
    assert_eq!(
        lock.bench.dump(KEY).holds.len(),
        0,
        "another record is not concerned"
    );
}

#[test]
fn an_entry_is_not_told_to_wait_when_the_same_step_grants_it() {
    let mut lock = Lock::new(CAPACITY);
    let [writer, behind] = [1, 2].map(|count| attempt(count, CAPACITY));
    lock.listens(&reader(0));
    lock.listens(&behind);
    let token = lock.acquire(&writer, WAIT)[2];
    for count in 1..=3 {
        lock.acquire(&reader(count), WAIT);
    }
    lock.acquire(&behind, WAIT);
    lock.bench.advance(WINDOW + 600); // any of them may have died since
    lock.tick('h', &writer, token);
    lock.end(&writer, None);
    let came = lock.bench.messages();
    let readers = &came[&format!("{INBOX}{}", reader(0).parts().0)];
    let grants: Vec<_> = readers[0].split(';').map(|line| &line[..1]).collect();
    assert_eq!(grants, ["g", "g", "g"], "three grants and nothing else");
    let told = &came[&format!("{INBOX}{}", behind.parts().0)];
    let line = format!("w {} {WINDOW} {}", behind.parts().1, lock.stamp());
    assert_eq!(told[..], [line], "who still waits learns when the claims end");
}
