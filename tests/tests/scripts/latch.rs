//! The latch's scripts by hand: keys that are not ours, a full memory, refused messages, large numbers.

use std::sync::Arc;

use latchwork_testkit::{Reply, TestServer};

use crate::bench::{Bench, Script};
use crate::latch_model::Ask;
use crate::latch_random::{KEY, arguments, dump};
use crate::lock::{INBOX, error, ints};

pub(crate) fn id(client: usize, number: usize) -> String {
    format!("Client{client:016}.{number}:1:10000:1000")
}

/// A wait at a latch of three, until five seconds from now.
pub(crate) fn wait(bench: &Bench, id: String) -> Ask {
    Ask {
        id,
        count: 3,
        by: 0,
        once: String::new(),
        to: -1,
        asked: 0,
        not_after: bench.now() + 5000,
        room: 100_000,
        ttl: 600_000,
        memory: 60_000,
        polls: 0,
    }
}

pub(crate) fn count_down(bench: &Bench, id: String, by: i64) -> Ask {
    Ask {
        by,
        room: -1,
        ..wait(bench, id)
    }
}

pub(crate) fn call(bench: &mut Bench, ask: &Ask) -> Reply {
    bench.call(Script::Latch, &[KEY], &arguments(ask))
}

/// Every kind of call.
fn calls(bench: &Bench) -> [Ask; 5] {
    let once = Ask {
        once: "x".to_owned(),
        ..count_down(bench, id(1, 3), 1)
    };
    let reset = Ask {
        by: 0,
        to: 5,
        ..count_down(bench, id(1, 4), 0)
    };
    [
        wait(bench, id(1, 1)),
        count_down(bench, id(1, 2), 1),
        once,
        reset,
        Ask {
            by: 0,
            ..count_down(bench, id(1, 5), 0)
        },
    ]
}

#[test]
fn a_sorted_set_of_somebody_else_is_left_alone() {
    const SETS: [&[&str]; 2] = [&["5", "n"], &["5", "n", "7", "i", "-3", "c"]];
    for theirs in SETS {
        let mut bench = Bench::start();
        bench.redis(&[&["ZADD", KEY], theirs].concat());
        let members = dump(&mut bench);
        for ask in calls(&bench) {
            assert_eq!(ints(&call(&mut bench, &ask)), [8, bench.now_us], "{ask:?}");
        }
        assert_eq!(ints(&bench.call(Script::Peek, &[KEY], &["10"])), [8]);
        assert_eq!(dump(&mut bench), members);
        assert_eq!(bench.redis(&["PTTL", KEY]), Reply::Int(-1));
    }
}

#[test]
fn h26_a_finished_latch_lives_as_long_as_the_marks_of_those_who_counted() {
    let mut bench = Bench::start();
    for (number, left) in [(1, 2), (2, 0)] {
        let ask = Ask {
            memory: 1000,
            not_after: bench.now() + if left == 0 { 2000 } else { 5000 },
            ..count_down(&bench, id(1, number), if left == 0 { 2 } else { 1 })
        };
        assert_eq!(ints(&call(&mut bench, &ask))[3], left);
    }
    let left = bench.redis(&["PTTL", KEY]).int().unwrap();
    assert!(
        (4000..=7000).contains(&left),
        "a copy may come until {left} ms from now"
    );
}

#[test]
fn marks_that_are_over_are_removed_whatever_the_steps() {
    for by in [1, 2, 3, 16, 17] {
        let mut bench = Bench::start();
        for number in 0..200 {
            let ask = Ask {
                count: 10_000,
                ..count_down(&bench, id(1, number), by)
            };
            assert_eq!(ints(&call(&mut bench, &ask))[0], 1);
            bench.advance(2000); // each lasts 6 s
        }
        let marks = dump(&mut bench).keys().filter(|id| id.starts_with('c')).count();
        assert!(marks <= 20, "{marks} marks are left, by {by}");
    }
}

#[test]
fn h26_a_mark_outlasts_a_small_step_back_of_the_clock() {
    let mut bench = Bench::start();
    let ask = count_down(&bench, id(1, 1), 1);
    assert_eq!(ints(&call(&mut bench, &ask))[3], 2);
    bench.advance(ask.not_after - bench.now() + 500);
    let waiter = wait(&bench, id(2, 1)); // removes what is over
    assert_eq!(ints(&call(&mut bench, &waiter))[0], 2);
    bench.advance(-600);
    assert_eq!(ints(&call(&mut bench, &ask))[3], 2, "it counted once");
}

/// It is told what was written by a call that then failed: by the next one that counts.
#[test]
fn h46_a_call_that_fails_half_way_does_not_hide_who_waits() {
    let mut bench = Bench::start();
    bench.subscribe(&format!("{INBOX}{}", &id(2, 1)[..22]));
    let waiter = wait(&bench, id(2, 1));
    assert_eq!(ints(&call(&mut bench, &waiter))[0], 2);
    bench.redis(&["PEXPIRE", KEY, "1000"]);
    bench.redis(&["ACL", "SETUSER", "default", "-pexpire"]);
    let ask = count_down(&bench, id(1, 1), 1);
    let refused = call(&mut bench, &ask);
    assert!(matches!(refused, Reply::Error(_)), "{refused:?}"); // each version has its own words
    bench.redis(&["ACL", "SETUSER", "default", "+pexpire"]);
    let ask = count_down(&bench, id(1, 2), 2);
    assert_eq!(ints(&call(&mut bench, &ask))[3], 0, "finished");
    assert_eq!(bench.messages().len(), 1, "the waiter is told");
}

#[test]
fn a_key_of_another_type_is_an_error_before_any_write() {
    let mut bench = Bench::start();
    bench.redis(&["SET", KEY, "v"]);
    for ask in calls(&bench) {
        let reply = call(&mut bench, &ask);
        assert!(error(&reply).contains("WRONGTYPE"), "{ask:?}: {reply:?} (H41)");
    }
    let reply = bench.call(Script::Peek, &[KEY], &["10"]);
    assert!(error(&reply).contains("WRONGTYPE"), "{reply:?}");
    assert_eq!(bench.redis(&["GET", KEY]).text().as_deref(), Some("v"));
}

#[test]
fn when_memory_is_full_a_call_works_or_changes_nothing() {
    let mut bench = Bench::start();
    let first = count_down(&bench, id(2, 1), 2);
    assert_eq!(ints(&call(&mut bench, &first))[3], 1, "one is left");
    let before = dump(&mut bench);
    bench.redis(&["CONFIG", "SET", "maxmemory", "1"]);
    for ask in &calls(&bench)[..4] {
        let reply = call(&mut bench, ask);
        assert!(error(&reply).contains("OOM"), "{ask:?}: {reply:?} (H40)");
    }
    assert_eq!(dump(&mut bench), before, "nothing half done");
    // What reads only works.
    let count = calls(&bench)[4].clone();
    assert_eq!(ints(&call(&mut bench, &count))[3], 1);
    bench.redis(&["CONFIG", "SET", "maxmemory", "0"]);
    let last = calls(&bench)[1].clone();
    assert_eq!(ints(&call(&mut bench, &last))[3], 0, "finished");
    bench.redis(&["CONFIG", "SET", "maxmemory", "1"]);
    let late = wait(&bench, id(3, 1));
    assert_eq!(ints(&call(&mut bench, &late))[0], 1, "late comers pass");
}

#[test]
fn a_refused_message_undoes_nothing() {
    let mut bench = Bench::on(Arc::new(TestServer::start().unwrap()));
    let waiter = wait(&bench, id(1, 1));
    assert_eq!(ints(&call(&mut bench, &waiter))[0], 2);
    bench.redis(&["ACL", "SETUSER", "default", "-publish"]);
    let last = count_down(&bench, id(2, 1), 3);
    let reply = ints(&call(&mut bench, &last));
    assert_eq!((reply[3], reply[4]), (0, 1), "finished, and it says so (H46)");
    assert!(
        dump(&mut bench).values().all(|score| *score > 0.0),
        "nobody waits"
    );
    assert_eq!(ints(&call(&mut bench, &waiter))[0], 1, "who asks passes");
}

#[test]
fn h68_places_of_the_dead_make_room() {
    let mut bench = Bench::start();
    for number in 1..=2 {
        let ask = wait(&bench, id(1, number));
        assert_eq!(ints(&call(&mut bench, &ask))[0], 2);
    }
    let both = Ask {
        by: 1,
        room: 2,
        ..wait(&bench, id(2, 1))
    };
    assert_eq!(ints(&call(&mut bench, &both)), [6, bench.now_us], "full");
    assert!(
        !dump(&mut bench).keys().any(|member| member.starts_with('c')),
        "and nothing was counted"
    );
    bench.advance(11_000);
    let ask = Ask {
        not_after: bench.now() + 5000,
        ..both
    };
    assert_eq!(
        ints(&call(&mut bench, &ask))[0],
        2,
        "nobody has seen those for long"
    );
}

#[test]
fn a_late_copy_of_a_reset_to_zero_is_told_what_there_is() {
    let mut bench = Bench::start();
    let reset = |bench: &Bench, number, to| Ask {
        to,
        ..count_down(bench, id(1, number), 0)
    };
    let (first, second) = (reset(&bench, 1, 0), reset(&bench, 2, 5));
    assert_eq!(ints(&call(&mut bench, &first))[3], 0);
    let other = ints(&call(&mut bench, &second));
    assert_eq!(
        ints(&call(&mut bench, &first)),
        other,
        "it was reset since, and by whom does not matter"
    );
}

#[test]
fn a_count_down_at_zero_is_remembered_as_long_as_a_copy_of_it_may_come() {
    let mut bench = Bench::start();
    let all = count_down(&bench, id(1, 1), 3);
    assert_eq!(ints(&call(&mut bench, &all))[3], 0);
    bench.redis(&["PEXPIRE", KEY, "1000"]);
    let late = count_down(&bench, id(1, 2), 1);
    assert_eq!(ints(&call(&mut bench, &late))[3], 0);
    let life = bench.redis(&["PTTL", KEY]).int().unwrap();
    assert!(life > 4000, "{life} ms are left");
}

#[test]
fn a_record_without_a_generation_is_not_ours() {
    let mut bench = Bench::start();
    let first = count_down(&bench, id(1, 1), 1);
    call(&mut bench, &first);
    bench.redis(&["ZREM", KEY, "t1"]);
    let look = Ask {
        count: -1,
        room: 0,
        ..wait(&bench, id(1, 2))
    };
    assert_eq!(ints(&call(&mut bench, &look)), [8, bench.now_us]);
}

#[test]
fn places_of_the_dead_are_not_listed() {
    let mut bench = Bench::start();
    let dead = wait(&bench, id(1, 1));
    call(&mut bench, &dead);
    let waiting = |bench: &mut Bench| {
        let reply = bench.call(Script::Peek, &[KEY], &["10"]);
        (reply.items()[4].int(), reply.items()[5].items().len())
    };
    let unit = bench.now().rem_euclid(512);
    bench.advance(21 * 512 - unit - 1);
    assert_eq!(waiting(&mut bench), (Some(1), 1), "patience is 40 units");
    bench.advance(1);
    assert_eq!(waiting(&mut bench), (Some(0), 0));
}

#[test]
fn h26_the_general_path_keeps_a_finished_latch_as_long_as_its_marks() {
    let mut bench = Bench::start();
    let last = Ask {
        once: "x".to_owned(),
        memory: 1000,
        ..count_down(&bench, id(1, 1), 3)
    };
    assert_eq!(ints(&call(&mut bench, &last))[3], 0);
    let life = bench.redis(&["PTTL", KEY]).int().unwrap();
    assert!(life > 4000, "a copy may come until {life} ms from now");
}

#[test]
fn what_counts_under_an_id_counts_once() {
    let mut bench = Bench::start();
    let once = |bench: &Bench, number| Ask {
        once: "x".to_owned(),
        ..count_down(bench, id(1, number), 1)
    };
    for number in [1, 2] {
        let ask = once(&bench, number);
        assert_eq!(ints(&call(&mut bench, &ask))[3], 2);
    }
}

#[test]
fn who_counts_and_does_not_wait_is_told_that_it_goes_on() {
    let mut bench = Bench::start();
    let ask = Ask {
        room: 0,
        ..count_down(&bench, id(1, 1), 1)
    };
    assert_eq!(ints(&call(&mut bench, &ask)), [3, bench.now_us]);
}

/// A copy of its request, of which it did not hear.
#[test]
fn who_counted_last_passes_however_late_it_asks() {
    let mut bench = Bench::start();
    for (by, left) in [(2, 1), (1, 0)] {
        let ask = Ask {
            room: 1,
            ..count_down(&bench, id(1, by), i64::try_from(by).unwrap())
        };
        call(&mut bench, &ask);
        bench.advance(5500);
        let code = if left == 0 { 1 } else { 4 };
        assert_eq!(ints(&call(&mut bench, &ask))[0], code, "{left} left");
    }
}

#[test]
fn who_waited_for_a_generation_that_finished_passes_after_its_reset() {
    let mut bench = Bench::start();
    let last = count_down(&bench, id(1, 1), 3);
    let generation = ints(&call(&mut bench, &last))[2];
    let reset = Ask {
        to: 5,
        ..count_down(&bench, id(1, 2), 0)
    };
    call(&mut bench, &reset);
    let waits = Ask {
        asked: generation,
        ..wait(&bench, id(1, 3))
    };
    assert_eq!(
        ints(&call(&mut bench, &waits)),
        [1, bench.now_us, generation, 0, 0, 0]
    );
}

/// A mark has room for 63 numbers; then they begin anew.
#[test]
fn a_copy_counts_once_in_whichever_generation() {
    let mut bench = Bench::start();
    for number in 0..130 {
        let count = count_down(&bench, id(1, 2 * number), 1);
        let reset = Ask {
            to: 3,
            ..count_down(&bench, id(1, 2 * number + 1), 0)
        };
        call(&mut bench, &reset);
        for _ in 0..2 {
            assert_eq!(ints(&call(&mut bench, &count))[3], 2, "generation {number}");
        }
        bench.advance(1);
    }
}

#[test]
fn all_who_wait_are_listed() {
    let mut bench = Bench::start();
    for number in 0..3 {
        let ask = wait(&bench, id(1, number));
        call(&mut bench, &ask);
    }
    let reply = bench.call(Script::Peek, &[KEY], &["10"]);
    assert_eq!(reply.items()[5].items().len(), 3);
}

#[test]
fn a_count_down_that_is_a_millisecond_too_late_counts_nothing() {
    for once in ["", "x"] {
        let mut bench = Bench::start();
        let first = count_down(&bench, id(1, 1), 1);
        call(&mut bench, &first);
        let ask = |bench: &Bench, number, late| Ask {
            once: once.to_owned(),
            not_after: bench.now() - late,
            ..count_down(bench, id(1, number), 1)
        };
        let (late, just) = (ask(&bench, 2, 1), ask(&bench, 3, 0));
        assert_eq!(ints(&call(&mut bench, &late)), [4, bench.now_us]);
        assert_eq!(ints(&call(&mut bench, &just))[3], 1, "the last moment");
    }
}

#[test]
fn a_reset_to_the_number_that_it_was_made_with_is_no_other_number() {
    let mut bench = Bench::start();
    let first = count_down(&bench, id(1, 1), 1);
    call(&mut bench, &first);
    let reset = Ask {
        to: 3,
        ..count_down(&bench, id(1, 2), 0)
    };
    call(&mut bench, &reset);
    let other = Ask {
        count: 4,
        ..wait(&bench, id(1, 3))
    };
    assert_eq!(ints(&call(&mut bench, &other)), [9, bench.now_us, 3]);
}
