//! A latch that is opened or reset with many who wait, with many ids or many old marks, takes many short steps.

use std::collections::BTreeMap;

use latchwork_testkit::Reply;

use crate::bench::{Bench, Script};
use crate::latch::{call, count_down, id, wait};
use crate::latch_model::Ask;
use crate::latch_random::{KEY, dump, follow_up};
use crate::lock::{INBOX, ints};

/// What a step may spend: a place or an id costs one, and to tell a client four more.
const BUDGET: usize = 1000;
const TELLING: usize = 4;
/// Marks that are over, of which a step removes no more.
const MARKS: usize = 500;

/// How a generation ends.
#[derive(Clone, Copy, Debug, PartialEq)]
enum How {
    Zero,
    Reset,
}

impl How {
    fn ask(self, bench: &Bench, number: usize) -> Ask {
        match self {
            Self::Zero => count_down(bench, id(999, number), 3),
            Self::Reset => Ask {
                to: 3,
                ..count_down(bench, id(999, number), 0)
            },
        }
    }

    const fn kind(self) -> &'static str {
        match self {
            Self::Zero => "d",
            Self::Reset => "r",
        }
    }
}

/// Lets so many of so many clients wait. One of each asks; the others are written beside it.
fn crowd(bench: &mut Bench, waiters: usize, clients: usize) {
    for client in 0..clients {
        bench.subscribe(&format!("{INBOX}{}", &id(client, 0)[..22]));
        let first = wait(bench, id(client, 0));
        assert_eq!(ints(&call(bench, &first))[0], 2, "it waits");
        let place = bench.redis(&["ZSCORE", KEY, &first.id]).text().unwrap();
        let others: Vec<_> = (client..waiters).step_by(clients).skip(1).collect();
        for part in others.chunks(500) {
            let pairs = part
                .iter()
                .flat_map(|number| [place.clone(), id(client, *number)]);
            let mut words = vec!["ZADD".to_owned(), KEY.to_owned()];
            words.extend(pairs);
            bench.redis(&words);
        }
    }
    assert_eq!(waiting(bench), waiters, "all of them wait");
}

fn number(reply: &Reply) -> usize {
    reply.int().unwrap().try_into().unwrap()
}

fn waiting(bench: &mut Bench) -> usize {
    number(&bench.redis(&["ZCOUNT", KEY, "-inf", "(0"]))
}

fn ids(bench: &mut Bench) -> usize {
    number(&bench.redis(&["ZCOUNT", KEY, "100000000000", "(500000000000"]))
}

fn marks(bench: &mut Bench) -> usize {
    number(&bench.redis(&["ZCOUNT", KEY, "100000000000000", "1000000000000000"]))
}

/// Whether a reply says that there is more to do.
fn more(reply: &Reply) -> bool {
    ints(reply)[5] == 1
}

fn go_on(bench: &mut Bench) -> Reply {
    bench.call(Script::Latch, &[KEY], &follow_up())
}

/// Follows up until nothing is left. Returns the number of requests.
fn go_on_to_the_end(bench: &mut Bench, mut step: impl FnMut(&mut Bench)) -> usize {
    let mut count = 0;
    loop {
        let reply = go_on(bench);
        step(bench);
        count += 1;
        if !more(&reply) {
            return count;
        }
    }
}

/// Adds the lines that each client was sent.
fn hear(bench: &mut Bench, heard: &mut BTreeMap<String, Vec<String>>) {
    for (channel, texts) in bench.messages() {
        let lines = texts.iter().flat_map(|text| text.split(';').map(str::to_owned));
        heard.entry(channel).or_default().extend(lines);
    }
}

/// How many steps it takes until all are let go.
fn steps(waiters: usize, clients: usize) -> usize {
    let (mut steps, mut left) = (0, 0);
    let mut sizes: Vec<_> = (0..clients)
        .map(|client| (client..waiters).step_by(clients).len())
        .collect();
    sizes.sort_unstable(); // they differ by one, and the first ones have more: as good as any order
    for size in sizes {
        for place in 0..size {
            if left == 0 {
                (steps, left) = (steps + 1, BUDGET);
            }
            let cost = if place == 0 { 1 + TELLING } else { 1 };
            left = left.saturating_sub(cost);
        }
    }
    steps
}

fn lets_a_crowd_go(how: How, waiters: usize, clients: usize) {
    let mut bench = Bench::start();
    crowd(&mut bench, waiters, clients);
    let generation = bench.redis(&["ZSCORE", KEY, "t1"]).text().unwrap();
    let mut heard = BTreeMap::new();
    let ask = how.ask(&bench, 1);
    let reply = call(&mut bench, &ask);
    hear(&mut bench, &mut heard);
    let mut left = waiting(&mut bench);
    assert!(
        left < waiters && waiters - left <= BUDGET,
        "{left} of {waiters} are left"
    );
    assert!(more(&reply) == (left > 0), "{left} left: {reply:?}");
    let mut newcomer = wait(&bench, id(998, 1));
    let mut joined = 0;
    if how == How::Reset {
        assert_eq!(ints(&call(&mut bench, &newcomer))[0], 2, "it waits for the next");
        joined = 1;
    }
    let mut count = usize::from(joined > 0 && left > 0); // its call was a step, too
    left = waiting(&mut bench);
    if left > joined {
        count += go_on_to_the_end(&mut bench, |bench| {
            hear(bench, &mut heard);
            let now = waiting(bench);
            assert!(left - now <= BUDGET, "{} at once", left - now);
            left = now;
        });
    }
    hear(&mut bench, &mut heard);
    assert_eq!(1 + count, steps(waiters, clients), "as many steps as it takes");
    assert_eq!(heard.len(), clients, "every client is told");
    for (channel, lines) in &heard {
        let [line] = &lines[..] else {
            panic!("{channel} is told once: {lines:?}");
        };
        let words: Vec<_> = line.split(' ').collect();
        assert_eq!([words[0], words[2]], [how.kind(), &generation], "{line}");
    }
    assert_eq!(waiting(&mut bench), joined, "a newcomer stays");
    let members = dump(&mut bench);
    assert!(
        !members.keys().any(|member| member.starts_with(['e', 'q'])),
        "{members:?}"
    );
    if how == How::Zero {
        newcomer.id = id(998, 2);
        assert_eq!(ints(&call(&mut bench, &newcomer))[0], 1, "it is open");
    }
    assert_eq!(go_on(&mut bench), go_on(&mut bench), "nothing is left to do");
    assert_eq!(bench.messages(), BTreeMap::new(), "and nobody to tell");
}

#[test]
fn all_who_wait_are_let_go_in_steps_and_each_client_is_told_once() {
    for how in [How::Zero, How::Reset] {
        for (waiters, clients) in [
            (900, 3),
            (1000, 1),
            (1000, 7),
            (1000, 500),
            (10_000, 1),
            (10_000, 7),
            (10_000, 900),
        ] {
            lets_a_crowd_go(how, waiters, clients);
        }
    }
}

/// Who opened it died: those who are left find out when they tick, and what they ask is a step, too.
#[test]
fn those_who_are_left_learn_it_by_a_tick() {
    for how in [How::Zero, How::Reset] {
        let mut bench = Bench::start();
        crowd(&mut bench, 3000, 1);
        let generation: i64 = bench
            .redis(&["ZSCORE", KEY, "t1"])
            .text()
            .unwrap()
            .parse()
            .unwrap();
        let ask = how.ask(&bench, 1);
        assert!(more(&call(&mut bench, &ask)));
        let tick = |bench: &mut Bench, id: &str| {
            let words = ["w", id, "0", "10000", "600000", "0"];
            let reply = bench.call(Script::Tick, &[KEY], &words);
            ints(&reply.items()[2])[0]
        };
        let members = dump(&mut bench);
        let left: Vec<_> = members.iter().filter(|(_, score)| **score < 0.0).collect();
        let [one, .., last] = &left[..] else {
            panic!("{left:?}");
        };
        assert_eq!(
            tick(&mut bench, one.0),
            4,
            "gone, it says, though the place is there"
        );
        let again = Ask {
            asked: generation,
            ..wait(&bench, last.0.clone())
        };
        let reply = ints(&call(&mut bench, &again));
        match how {
            How::Zero => assert_eq!(
                reply,
                [1, bench.now_us, generation, 0, 0, 1],
                "it passes, and goes on"
            ),
            How::Reset => assert_eq!(reply, [11, bench.now_us], "it was reset"),
        }
        assert!(
            bench.redis(&["ZSCORE", KEY, last.0]).text().is_none(),
            "its place is gone"
        );
        assert!(waiting(&mut bench) < left.len() - 900, "a step was done");
        if how == How::Reset {
            let newcomer = wait(&bench, id(998, 1));
            call(&mut bench, &newcomer);
            assert_eq!(tick(&mut bench, &newcomer.id), 3, "it waits");
        }
    }
}

#[test]
fn a_generation_that_came_to_zero_is_told_so_after_a_reset() {
    let mut bench = Bench::start();
    crowd(&mut bench, 2500, 300);
    let mut heard = BTreeMap::new();
    for (number, how) in [How::Zero, How::Reset, How::Zero].into_iter().enumerate() {
        let ask = how.ask(&bench, number);
        call(&mut bench, &ask);
        hear(&mut bench, &mut heard);
        bench.advance(1);
    }
    let newcomer = wait(&bench, id(998, 1));
    assert_eq!(
        ints(&call(&mut bench, &newcomer))[0],
        1,
        "the third generation is at zero, too"
    );
    go_on_to_the_end(&mut bench, |bench| hear(bench, &mut heard));
    hear(&mut bench, &mut heard);
    assert_eq!(heard.len(), 300, "every client");
    for lines in heard.values() {
        assert!(lines.len() == 1 && lines[0].starts_with("d "), "{lines:?}");
    }
}

#[test]
fn places_that_are_left_take_no_room_and_are_not_listed() {
    let mut bench = Bench::start();
    crowd(&mut bench, 3000, 1);
    let ask = How::Reset.ask(&bench, 1);
    call(&mut bench, &ask);
    let peek = |bench: &mut Bench| {
        let reply = bench.call(Script::Peek, &[KEY], &["1000"]);
        (reply.items()[4].int(), reply.items()[5].items().len())
    };
    assert_eq!(peek(&mut bench), (Some(0), 0), "nobody waits for this generation");
    for number in 1..=2 {
        let newcomer = Ask {
            room: 1,
            ..wait(&bench, id(998, number))
        };
        let code = if number == 1 { 2 } else { 6 };
        assert_eq!(
            ints(&call(&mut bench, &newcomer))[0],
            code,
            "there is room for one"
        );
        if number == 1 {
            assert_eq!(peek(&mut bench), (Some(1), 1));
        }
    }
}

#[test]
fn marks_that_are_over_go_a_few_hundred_at_a_time() {
    for (once, waiters) in [("", 1000), ("", 10_000), ("x", 1000), ("x", 10_000)] {
        let mut bench = Bench::start();
        let first = Ask {
            count: 100_000,
            ..count_down(&bench, id(1, 0), 1)
        };
        call(&mut bench, &first);
        let over = (100_000_000_000_000 + bench.now() - 1).to_string();
        let members: Vec<_> = (0..waiters).map(|number| format!("c{}", id(2, number))).collect();
        for part in members.chunks(500) {
            let mut words = vec!["ZADD", KEY];
            words.extend(part.iter().flat_map(|member| [over.as_str(), member]));
            bench.redis(&words);
        }
        for step in 1..=waiters / MARKS {
            let ask = Ask {
                count: 100_000,
                once: once.to_owned(),
                ..count_down(&bench, id(3, step), 16)
            };
            call(&mut bench, &ask);
            // Those of the calls themselves stay.
            assert_eq!(
                marks(&mut bench),
                1 + step + waiters - MARKS * step,
                "{once:?}, {step}"
            );
        }
    }
}

/// A latch of a million, of which so many counted by an id.
fn with_ids(count: usize) -> (Bench, Ask) {
    let mut bench = Bench::start();
    let ask = Ask {
        count: 1_000_000,
        once: "first".to_owned(),
        ..count_down(&bench, id(1, 0), 1)
    };
    call(&mut bench, &ask);
    let names: Vec<_> = (1..count).map(|number| format!("#id {number}")).collect();
    for part in names.chunks(500) {
        let mut words = vec!["ZADD", KEY];
        words.extend(part.iter().flat_map(|name| ["100000000001", name]));
        bench.redis(&words);
    }
    assert_eq!(ids(&mut bench), count, "all of them");
    (bench, ask)
}

#[test]
fn ids_go_when_their_generation_is_over_a_thousand_at_a_time() {
    for count in [900, 1000, 2500, 10_000] {
        for by in [1_000_000, 0] {
            let (mut bench, first) = with_ids(count);
            let last = Ask {
                by,
                to: if by == 0 { 1_000_000 } else { -1 },
                once: String::new(),
                ..first.clone()
            };
            let last = Ask { id: id(1, 1), ..last };
            let reply = call(&mut bench, &last);
            assert_eq!(more(&reply), count > BUDGET, "{count}: {reply:?}");
            assert_eq!(ids(&mut bench), count - BUDGET.min(count), "the first portion");
            if count > BUDGET {
                let steps = go_on_to_the_end(&mut bench, |_| ());
                assert_eq!(1 + steps, count.div_ceil(BUDGET), "as many steps as it takes");
            }
            assert_eq!(ids(&mut bench), 0);
            // A copy of the first request, and another call with its id.
            for number in [0, 2] {
                let again = Ask {
                    id: id(1, number),
                    ..first.clone()
                };
                let reply = ints(&call(&mut bench, &again));
                match (by, number) {
                    (0, 0) => assert_eq!(reply, [11, bench.now_us], "it counted before the reset"),
                    (0, _) => assert_eq!(reply[3], 999_999, "it counts anew"),
                    _ => assert_eq!(reply[3], 0, "it stays at zero"),
                }
            }
        }
    }
}

#[test]
fn ids_that_nobody_follows_up_go_with_later_calls() {
    let (mut bench, first) = with_ids(2500);
    let reset = Ask {
        id: id(1, 1),
        by: 0,
        once: String::new(),
        to: 1_000_000,
        ..first
    };
    call(&mut bench, &reset);
    for (number, left) in [(2, 500), (3, 2)] {
        let again = Ask {
            id: id(1, number),
            once: format!("id {}", 2500 - number),
            ..first.clone()
        };
        let reply = ints(&call(&mut bench, &again));
        assert_eq!(
            reply[3..],
            [1_000_002 - i64::try_from(number).unwrap() - 1, 0, 0],
            "it counts anew"
        );
        assert_eq!(ids(&mut bench), left, "old ones, and its own");
    }
}

#[test]
fn a_follow_up_makes_no_latch_and_prolongs_no_life() {
    let mut bench = Bench::start();
    assert_eq!(ints(&go_on(&mut bench)), [10, bench.now_us]);
    assert_eq!(bench.redis(&["EXISTS", KEY]), Reply::Int(0));
    crowd(&mut bench, 1500, 1);
    let ask = How::Reset.ask(&bench, 1);
    call(&mut bench, &ask);
    bench.redis(&["PEXPIRE", KEY, "60000"]);
    bench.redis(&["CONFIG", "SET", "maxmemory", "1"]);
    let reply = go_on(&mut bench);
    assert_eq!(
        ints(&reply)[3..],
        [3, 0, 0],
        "a full memory does not matter (H40)"
    );
    let life = bench.redis(&["PTTL", KEY]).int().unwrap();
    assert!((1..=60_000).contains(&life), "{life}");
    bench.redis(&["CONFIG", "SET", "maxmemory", "0"]);
    bench.redis(&["DEL", KEY]);
    bench.redis(&["ZADD", KEY, "5", "n"]);
    assert_eq!(ints(&go_on(&mut bench)), [8, bench.now_us], "somebody else's");
}
