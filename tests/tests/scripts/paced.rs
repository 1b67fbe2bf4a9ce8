//! Counted primitives with a rate by hand: when what is granted may start, with a clock that the test sets.

use std::collections::BTreeMap;

use latchwork_testkit::Reply;

use crate::attempt::Attempt;
use crate::bench::{Bench, Script};
use crate::lock::{INBOX, KEY, LEASE, RETENTION, attempt, ints};

const OTHER: &str = "latchwork:lock:{other}";
const S: i64 = 1_000_000;

/// A primitive with a rate.
struct Paced {
    bench: Bench,
    capacity: i64,
    /// µs
    interval: i64,
    burst: i64,
    window: i64,
}

/// What a message says.
#[derive(Debug, PartialEq, Eq)]
enum Told {
    /// It may start so many µs later.
    Start(i64),
    Look,
}

impl Paced {
    /// A permit per second.
    fn new(capacity: i64, burst: i64, window_s: i64) -> Self {
        Self {
            bench: Bench::start(),
            capacity,
            interval: S,
            burst,
            window: window_s * S,
        }
    }

    fn pace(&self) -> String {
        format!("{}.00 {} {}", self.interval, self.burst, self.window)
    }

    fn ask(&mut self, key: &str, who: &Attempt, room: i64, pace: &str, patience: &str) -> Vec<i64> {
        let [lease, ttl, weight] = [who.lease, who.lease + RETENTION, who.weight].map(|n| n.to_string());
        let not_after = (self.bench.now() + 5000).to_string();
        let (capacity, room) = (format!("{}c", self.capacity), room.to_string());
        let id = who.id.as_str();
        let args = [
            id, &lease, &ttl, &weight, &capacity, &not_after, &room, pace, patience,
        ];
        ints(&self.bench.call(Script::Acquire, &[key], &args))
    }

    fn acquire(&mut self, who: &Attempt) -> Vec<i64> {
        let pace = self.pace();
        self.ask(KEY, who, 1000, &pace, "1e18")
    }

    /// It is granted at once, to start in so many µs.
    fn starts_in(&mut self, who: &Attempt) -> i64 {
        let reply = self.acquire(who);
        assert_eq!((reply[0], reply.len()), (1, 7), "granted: {reply:?}");
        reply[6]
    }

    fn end(&mut self, who: &Attempt) -> Vec<i64> {
        let args = [
            who.id.clone(),
            format!("{}c", self.capacity),
            RETENTION.to_string(),
        ];
        ints(&self.bench.call(Script::End, &[KEY], &args))
    }

    fn tick(&mut self, items: &[(&str, char, &Attempt)]) -> Vec<Vec<i64>> {
        let mut args = Vec::new();
        let mut keys = Vec::new();
        for (key, op, who) in items {
            keys.push(*key);
            args.extend([op.to_string(), who.id.clone(), "0".to_owned()]);
            args.extend([who.lease, who.lease + RETENTION].map(|number| number.to_string()));
            args.push(format!("{}c", self.capacity));
        }
        let reply = self.bench.call(Script::Tick, &keys, &args);
        reply.items()[2..].iter().map(ints).collect()
    }

    fn set_rate(&mut self, pace: &str) {
        let args = [
            format!("{}c", self.capacity),
            (LEASE + RETENTION).to_string(),
            (self.bench.now() + 1000).to_string(),
            pace.to_owned(),
            "pace".to_owned(),
        ];
        let reply = ints(&self.bench.call(Script::Resize, &[KEY], &args));
        assert_eq!(reply[0], 1, "{reply:?}");
    }

    fn listens(&mut self, who: &Attempt) {
        self.bench.subscribe(&format!("{INBOX}{}", who.parts().0));
    }

    /// What each was told, by the number of its client.
    fn told(&mut self) -> BTreeMap<u64, Vec<Told>> {
        let stamped = self.stamped().into_iter();
        stamped
            .map(|(client, news)| (client, news.into_iter().map(|(_, told)| told).collect()))
            .collect()
    }

    /// The same, with the server's clock at that time.
    fn stamped(&mut self) -> BTreeMap<u64, Vec<(i64, Told)>> {
        let mut told = BTreeMap::<u64, Vec<(i64, Told)>>::new();
        for (channel, texts) in self.bench.messages() {
            let client = channel[INBOX.len() + 6..].parse().unwrap();
            for text in texts.iter().flat_map(|text| text.split(';')) {
                let words: Vec<&str> = text.split(' ').collect();
                let news = match words.as_slice() {
                    ["g", _, "0", stamp, _, delay] => {
                        (stamp.parse().unwrap(), Told::Start(delay.parse().unwrap()))
                    }
                    ["w", _, _, stamp] => (stamp.parse().unwrap(), Told::Look),
                    other => panic!("{other:?}"),
                };
                told.entry(client).or_default().push(news);
            }
        }
        told
    }

    fn members(&mut self, key: &str) -> BTreeMap<String, f64> {
        let reply = self.bench.redis(&["ZRANGE", key, "0", "-1", "WITHSCORES"]);
        let texts: Vec<String> = reply.items().iter().filter_map(Reply::text).collect();
        texts
            .chunks_exact(2)
            .map(|pair| (pair[0].clone(), pair[1].parse().unwrap()))
            .collect()
    }

    /// How many starts that have not come, or whose holder has not ended, are noted.
    fn noted(&mut self) -> usize {
        let members = self.members(KEY);
        members.keys().filter(|member| member.starts_with('y')).count()
    }
}

#[test]
fn a_start_that_is_given_back_is_the_next_ones() {
    let mut paced = Paced::new(10, 1, 10);
    let [a, b, c, d] = [1, 2, 3, 4].map(|count| attempt(count, 1));
    assert_eq!(paced.starts_in(&a), 0);
    assert_eq!(paced.starts_in(&b), S);
    assert_eq!(
        paced.starts_in(&b),
        S,
        "a replay: the same, and nothing is reserved"
    );
    assert_eq!(paced.starts_in(&c), 2 * S);
    paced.end(&c);
    paced.end(&c);
    assert_eq!(paced.starts_in(&d), 2 * S, "once");
    paced.end(&b);
    assert_eq!(
        paced.starts_in(&c),
        3 * S,
        "d is behind it: it is not given again"
    );
    paced.bench.advance(2000);
    paced.end(&d);
    assert_eq!(paced.starts_in(&b), 2 * S, "it has started");
    assert_eq!(paced.noted(), 2);
    for who in [&a, &b, &c] {
        paced.end(who);
    }
    assert_eq!(paced.noted(), 0, "no trace");
}

#[test]
fn a_claim_that_lapses_gives_its_start_back_and_gets_another() {
    let mut paced = Paced::new(1, 1, 10);
    let [a, b, c] = [1, 2, 3].map(|count| attempt(count, 1));
    for who in [&b, &c] {
        paced.listens(who);
    }
    for who in [&a, &b, &c] {
        paced.acquire(who);
    }
    paced.end(&a);
    assert_eq!(paced.told().remove(&2), Some(vec![Told::Start(S)]));
    // Its claim lapses when its start has come: it is not given back.
    paced.bench.advance(1500);
    let reply = paced.tick(&[(KEY, 'w', &c)]);
    assert_eq!(reply[0][0], 2, "c has it now");
    assert_eq!(paced.told().remove(&3), Some(vec![Told::Start(S / 2)]));
    paced.end(&c); // half a second before its start
    assert_eq!(
        paced.told().remove(&2),
        Some(vec![Told::Start(S / 2)]),
        "b has the start of c, which was given back"
    );
    assert_eq!(paced.noted(), 1, "one start for one holder");
}

#[test]
fn h2_a_tick_that_finds_the_grant_says_when_it_starts() {
    let mut paced = Paced::new(1, 1, 10);
    let [a, b] = [1, 2].map(|count| attempt(count, 1));
    paced.listens(&b);
    paced.acquire(&a);
    paced.acquire(&b);
    paced.end(&a);
    paced.bench.advance(200);
    let reply = paced.tick(&[(KEY, 'w', &b)]);
    assert_eq!(reply, [vec![2, 0, 800, 1, 800_000]], "the message was lost");
}

#[test]
fn a_tick_of_two_keys_does_not_lend_the_rate_of_one_to_the_other() {
    let mut paced = Paced::new(1, 1, 10);
    let [a, b, c, d] = [1, 2, 3, 4].map(|count| attempt(count, 1));
    for who in [&b, &d] {
        paced.listens(who);
    }
    paced.acquire(&a);
    paced.acquire(&b);
    let mut free = |who: &Attempt| paced.ask(OTHER, who, 1000, "", "1e18");
    free(&c);
    free(&d);
    paced.bench.advance(LEASE + 1);
    let reply = paced.tick(&[(KEY, 'w', &b), (OTHER, 'w', &d)]);
    assert_eq!((reply[0][0], reply[1][0]), (2, 2), "both are granted");
    assert!(
        paced
            .bench
            .messages()
            .values()
            .flatten()
            .any(|text| { text.starts_with(&format!("g {}", d.parts().1)) && text.split(' ').count() == 5 }),
        "that of the other has no delay"
    );
    assert!(!paced.members(OTHER).contains_key("r"), "nor does its record");
}

#[test]
fn h49_a_clock_that_is_set_back_freezes_nobody_for_longer_than_a_window() {
    let mut paced = Paced::new(10, 2, 5);
    for count in 1..=4 {
        let who = attempt(count, 1);
        paced.acquire(&who);
        paced.bench.advance(1500);
        paced.end(&who);
    }
    paced.bench.advance(-3_600_000);
    // Refused calls change the record, too: they must not put it off.
    for second in 0..=5 {
        let who = attempt(5 + second, 1);
        if paced.acquire(&who)[0] == 1 {
            return;
        }
        paced.bench.advance(1000);
    }
    panic!("nobody is admitted for a window: {:?}", paced.members(KEY));
}

#[test]
fn who_was_passed_over_starts_no_earlier_than_it_may() {
    let mut paced = Paced::new(10, 10, 7);
    let whole = attempt(1, 10);
    let [deaf, listens] = [2, 3].map(|count| attempt(count, 5));
    paced.listens(&listens);
    for who in [&whole, &deaf, &listens] {
        paced.acquire(who);
    }
    paced.end(&whole);
    assert_eq!(paced.told().remove(&3), Some(vec![Told::Start(5 * S)]));
    // Ten seconds away is more than a window: it is out of the queue, and learns why when it asks.
    assert_eq!(paced.tick(&[(KEY, 'w', &deaf)]), [[4]]);
    let stamp = paced.bench.now_us;
    assert_eq!(paced.acquire(&deaf), [12, stamp, 10 * S]);
    assert_eq!(paced.noted(), 1);
}

#[test]
fn a_start_that_has_just_come_is_not_given_back() {
    let mut paced = Paced::new(10, 1, 10);
    let [a, b, c] = [1, 2, 3].map(|count| attempt(count, 1));
    assert_eq!((paced.starts_in(&a), paced.starts_in(&b)), (0, S));
    paced.bench.now_us += S;
    paced.end(&b);
    assert_eq!(paced.starts_in(&c), S, "it could have started");
}

#[test]
fn a_rate_that_is_taken_away_leaves_no_start_behind() {
    let mut paced = Paced::new(10, 1, 10);
    let [a, b, c, d] = [1, 2, 3, 4].map(|count| attempt(count, 1));
    for who in [&a, &b, &c] {
        paced.acquire(who);
    }
    assert_eq!(paced.noted(), 2);
    paced.set_rate("");
    let stamp = paced.bench.now_us;
    assert_eq!(
        paced.ask(KEY, &d, 1000, "", ""),
        [1, stamp, 0, LEASE, 0],
        "at once"
    );
    paced.end(&b);
    paced.end(&c);
    assert_eq!(paced.noted(), 0, "{:?}", paced.members(KEY));
}

#[test]
fn setting_the_rate_that_it_has_forgets_no_start() {
    let mut paced = Paced::new(10, 1, 10);
    let [a, b, c, d] = [1, 2, 3, 4].map(|count| attempt(count, 1));
    for who in [&a, &b, &c] {
        paced.acquire(who);
    }
    let pace = paced.pace();
    paced.set_rate(&pace);
    assert_eq!(paced.starts_in(&d), 3 * S, "behind the others");
    paced.set_rate("2000000.00 1 10000000");
    assert_eq!(
        paced.starts_in(&attempt(5, 1)),
        2 * S,
        "another one: as if a burst of it were used"
    );
}

#[test]
fn the_record_lasts_as_long_as_the_burst_that_was_used() {
    let mut paced = Paced::new(5000, 5000, 10);
    paced.acquire(&attempt(1, 5000));
    let life = paced.bench.redis(&["PTTL", KEY]).int().unwrap();
    assert!(life > 4_900_000, "or the burst would be there again: {life}");
}

#[test]
fn patience_counts_for_handles_without_a_rate() {
    let mut paced = Paced::new(10, 1, 10);
    let [a, b] = [1, 2].map(|count| attempt(count, 1));
    let pace = paced.pace();
    paced.set_rate(&pace);
    assert_eq!(paced.ask(KEY, &a, 0, "", "0")[0], 1);
    let stamp = paced.bench.now_us;
    assert_eq!(paced.ask(KEY, &b, 0, "", "0"), [12, stamp, S], "not now");
}

/// A small generator; the seed is said when a test fails.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % sides
    }

    fn number(&mut self, sides: i64) -> i64 {
        i64::try_from(self.roll(u64::try_from(sides).unwrap())).unwrap()
    }
}

/// An attempt of the random sequence.
struct Live {
    who: Attempt,
    /// When it starts, if it was told.
    start: Option<i64>,
    /// It was confirmed: its client relies on it.
    taken: bool,
}

/// In any time there are at most so many starts as the burst and what comes back in it; a heavy one has been waited for.
fn check_bound(paced: &Paced, starts: &mut [(i64, i64)], seed: u64) {
    starts.sort_unstable();
    for first in 0..starts.len() {
        let allowed = paced.burst.max(starts[first].1) * paced.interval;
        let mut sum = 0;
        for (start, weight) in &starts[first..] {
            sum += weight * paced.interval;
            let since = start - starts[first].0;
            assert!(
                sum <= allowed + since,
                "seed {seed}: {} permits in {since} µs: {starts:?}",
                sum / paced.interval
            );
        }
    }
}

fn random_sequence(paced: &mut Paced, seed: u64, steps: u64) -> usize {
    let mut dice = Dice(seed);
    let mut next = seed * 1000;
    let mut live = Vec::<Live>::new();
    let mut starts = Vec::new();
    let settle = |now: i64, one: &Live, starts: &mut Vec<(i64, i64)>| {
        if let Some(start) = one.start
            && one.taken
            && start <= now
        {
            starts.push((start, one.who.weight));
        }
    };
    for _ in 0..steps {
        match dice.roll(10) {
            0..=3 if live.len() < 12 => {
                next += 1;
                let who = attempt(next, 1 + dice.number(3));
                if dice.roll(5) > 0 {
                    paced.told(); // what came since would be taken for the answer
                    paced.listens(&who);
                }
                live.push(Live {
                    who,
                    start: None,
                    taken: false,
                });
                let last = live.len() - 1;
                ask_again(paced, &mut live[last]);
            }
            4..=5 if !live.is_empty() => {
                let one = live.swap_remove(usize::try_from(dice.roll(live.len() as u64)).unwrap());
                settle(paced.bench.now_us, &one, &mut starts);
                paced.end(&one.who);
                assert!(
                    !paced.members(KEY).contains_key(&format!("y{}", one.who.id)),
                    "its start went with it"
                );
            }
            6 if !live.is_empty() => {
                let at = usize::try_from(dice.roll(live.len() as u64)).unwrap();
                ask_again(paced, &mut live[at]);
            }
            _ => paced.bench.now_us += dice.number(700_000),
        }
        for (client, mut news) in paced.stamped() {
            let one = live
                .iter_mut()
                .find(|one| one.who.parts().0.ends_with(&format!("{client:016}")));
            // Half of the messages are not acted on: their claims lapse, or ticks find them.
            if let (Some(one), Some((stamp, Told::Start(delay)))) = (one, news.pop())
                && paced.bench.now_us < stamp + one.who.window * 1000
                && dice.roll(2) == 0
            {
                assert!(delay <= paced.window, "seed {seed}: {delay}");
                one.start = Some(stamp + delay);
                one.taken = paced.tick(&[(KEY, 'h', &one.who)])[0][0] == 1;
            }
        }
        for one in &mut live {
            let op = if one.taken { 'h' } else { 'w' };
            let reply = paced.tick(&[(KEY, op, &one.who)]);
            match (one.taken, reply[0].as_slice()) {
                (true, reply) => assert_eq!(reply[0], 1, "seed {seed}: held"),
                (false, [2, _, _, _, delay]) if dice.roll(2) == 0 => {
                    one.start = Some(paced.bench.now_us + delay);
                    one.taken = paced.tick(&[(KEY, 'h', &one.who)])[0][0] == 1;
                }
                (false, [4]) => ask_again(paced, one),
                _ => {}
            }
        }
    }
    for one in live {
        settle(i64::MAX, &one, &mut starts);
        paced.end(&one.who);
    }
    check_bound(paced, &mut starts, seed);
    assert_eq!(paced.noted(), 0, "seed {seed}");
    starts.len()
}

fn ask_again(paced: &mut Paced, one: &mut Live) {
    let reply = paced.acquire(&one.who);
    match reply[0] {
        1 => {
            let start = paced.bench.now_us + reply[6];
            assert!(reply[6] <= paced.window, "{reply:?}");
            if one.taken {
                assert!(
                    reply[6] == 0 || one.start == Some(start),
                    "a replay has its own start"
                );
            } else {
                one.start = Some(start);
                one.taken = paced.tick(&[(KEY, 'h', &one.who)])[0][0] == 1;
            }
        }
        2 | 12 => assert!(!one.taken, "{reply:?}"),
        _ => panic!("{reply:?}"),
    }
}

#[test]
fn no_time_has_more_starts_than_the_burst_and_what_comes_back() {
    let mut paced = Paced::new(6, 1, 5);
    let mut starts = 0;
    let requests = std::env::var("LATCHWORK_SCRIPT_CASES").map_or(3600, |text| text.parse().unwrap());
    let sequences = u64::clamp(requests / 150, 1, 24);
    for seed in 1..=sequences {
        paced.burst = 1 + i64::try_from(seed % 4).unwrap();
        paced.window = S * (3 + i64::try_from(seed % 3).unwrap());
        paced.bench.redis(&["DEL", KEY]);
        starts += random_sequence(&mut paced, seed, 150);
    }
    assert!(sequences < 24 || starts > 200, "{starts} starts");
}

#[test]
fn a_drain_takes_what_may_start_now() {
    let mut paced = Paced::new(10, 2, 10);
    let [first, second] = [1, 2].map(|count| attempt(count, 10));
    let pace = paced.pace();
    let reply = paced.ask(KEY, &first, -1, &pace, "0");
    assert_eq!((reply[0], &reply[5..]), (1, &[2, 0][..]), "the burst, at once");
    let stamp = paced.bench.now_us;
    let busy = paced.ask(KEY, &second, -1, &pace, "0");
    assert_eq!(busy, [3, stamp, LEASE, 0], "nothing more may start");
    paced.bench.advance(1000);
    let reply = paced.ask(KEY, &second, -1, &pace, "0");
    assert_eq!((reply[0], &reply[5..]), (1, &[1, 0][..]), "one came back");
}

#[test]
fn a_waiter_whose_start_is_too_far_away_is_told_so_and_holds_nobody_up() {
    let mut paced = Paced {
        window: S / 2,
        ..Paced::new(1, 1, 1)
    };
    let [holder, waiter] = [1, 2].map(|count| attempt(count, 1));
    paced.listens(&waiter);
    assert_eq!(paced.starts_in(&holder), 0);
    assert_eq!(paced.acquire(&waiter)[0], 2, "queued");
    paced.bench.advance(100);
    paced.end(&holder);
    assert_eq!(
        paced.told().remove(&2),
        Some(vec![Told::Look]),
        "its start is 0.9 s away"
    );
    let waits = paced.members(KEY).into_values().any(|score| score < 0.0);
    assert!(!waits, "it has to ask again, and is refused");
}

#[test]
fn who_was_passed_over_may_start_too_late_for_a_grant() {
    let mut paced = Paced {
        window: S / 2,
        ..Paced::new(2, 2, 1)
    };
    let [holder, deaf, next] = [(1, 2), (2, 1), (3, 1)].map(|(count, weight)| attempt(count, weight));
    paced.listens(&next);
    paced.acquire(&holder);
    paced.acquire(&deaf);
    paced.acquire(&next);
    paced.bench.advance(1000);
    paced.end(&holder);
    assert_eq!(
        paced.told().remove(&3),
        Some(vec![Told::Start(0)]),
        "the only start there is"
    );
    let waits = paced.members(KEY).into_values().any(|score| score < 0.0);
    assert!(!waits, "the other one has to ask again, and is refused");
}

/// Places of a record with a rate, of one without, and of the first again, in one request.
#[test]
fn a_tick_never_mixes_up_the_rates_of_its_records() {
    for order in [[0, 1, 2], [1, 0, 2], [0, 2, 1]] {
        let mut paced = Paced::new(2, 1, 60);
        let [one, other, first, second] = [1, 2, 3, 4].map(|count| attempt(count, 1));
        let [holds, waits] = [5, 6].map(|count| attempt(count, 2));
        paced.starts_in(&one);
        paced.starts_in(&other);
        for who in [&first, &second] {
            assert_eq!(paced.acquire(who)[0], 2, "it waits");
        }
        assert_eq!(paced.ask(OTHER, &holds, 0, "", "")[0], 1);
        assert_eq!(paced.ask(OTHER, &waits, 1000, "", "")[0], 2);
        for key in [KEY, OTHER] {
            paced
                .bench
                .redis(&["ZREMRANGEBYSCORE", key, "1000000000000", "(100000000000000"]);
            paced.bench.redis(&["ZREM", key, "u"]);
        }
        let items = [(KEY, 'w', &first), (OTHER, 'w', &waits), (KEY, 'w', &second)];
        let replies = paced.tick(&order.map(|item| items[item]));
        let delay = |item: usize| {
            let at = order.iter().position(|other| *other == item).unwrap();
            assert_eq!(replies[at][0], 2, "granted: {replies:?}");
            replies[at].get(4).copied()
        };
        assert_eq!(delay(1), None, "{order:?}: it has no rate");
        assert_eq!(
            (delay(0), delay(2)),
            (Some(2 * S), Some(3 * S)),
            "{order:?}: behind those that were given"
        );
    }
}
