//! The record has one size and always a TTL, and a repeated request counts once.

use latchwork_testkit::Reply;

use crate::bench::{Bench, KEY, ints};
use crate::model::{Kind, Terms, gcra, window};

const SECOND: i64 = 1_000_000;
const MOST: i64 = i32::MAX as i64;
const BOTH: [Terms; 2] = [gcra(10, SECOND, 3), window(3, SECOND)];

fn error(reply: &Reply) -> String {
    match reply {
        Reply::Error(text) => text.clone(),
        other => panic!("no error: {other:?}"),
    }
}

#[test]
fn the_record_has_one_size() {
    for (terms, most) in [
        (gcra(MOST, 86_400 * SECOND, MOST), 200),
        (window(MOST, 86_400 * SECOND), 1024),
    ] {
        let mut bench = Bench::start();
        let mut sizes = Vec::new();
        for id in 1..200 {
            bench.now_us += terms.period / 77;
            bench.ask(&terms, MOST / 60, terms.reach(), (1 << 53) - id);
            let length = bench.redis(&["STRLEN", KEY]).int().unwrap();
            let state = if terms.kind == Kind::Gcra {
                32
            } else {
                40 + 4 * 102
            };
            assert_eq!(length, i64::try_from(terms.config().len()).unwrap() + state);
            sizes.push(bench.redis(&["MEMORY", "USAGE", KEY]).int().unwrap());
        }
        // The same record: what differs is what the allocator makes of it.
        let (least, largest) = (sizes.iter().min().unwrap(), sizes.iter().max().unwrap());
        assert!(largest - least <= 32, "{sizes:?}");
        assert!(*largest <= most, "{largest} bytes: {most} were promised");
    }
}

#[test]
fn h66_the_record_always_has_a_ttl() {
    for terms in BOTH {
        let mut bench = Bench::start();
        let lives = |bench: &mut Bench| {
            let life = bench.redis(&["PTTL", KEY]).int().unwrap();
            (80_000_000..=86_500_000).contains(&life)
        };
        bench.ask(&terms, 1, terms.reach(), 1);
        assert!(lives(&mut bench), "after a reservation: {terms:?}");
        bench.refund(&terms, &[(1, 0, 1)]);
        assert!(lives(&mut bench), "after it was given back: {terms:?}");
        let set = Terms {
            permits: 99,
            set: true,
            ..terms
        };
        for what in ["a change", "the same change again"] {
            bench.redis(&["PEXPIRE", KEY, "5000"]);
            bench.change(&set);
            assert!(lives(&mut bench), "after {what}: {terms:?}");
        }
        bench.reset();
        assert_eq!(
            bench.redis(&["EXISTS", KEY]),
            Reply::Int(0),
            "a reset leaves nothing"
        );
    }
}

#[test]
fn h27_a_copy_of_a_request_right_after_it_counts_once() {
    for terms in BOTH {
        let mut bench = Bench::start();
        bench.ask(&terms, 1, terms.reach(), 1);
        let first = bench.ask(&terms, 2, terms.reach(), 2);
        let again = bench.ask(&terms, 2, terms.reach(), 2);
        assert_eq!(first[..4], again[..4], "told the same");
        bench.ask(&terms, 1, terms.reach(), 3);
        let late = bench.ask(&terms, 1, terms.reach(), 2);
        assert!(
            late[0] == 3 || late[1] > first[1],
            "behind another it is a request of its own: {late:?}"
        );
    }
}

#[test]
fn h27_a_copy_of_a_try_counts_once() {
    for terms in BOTH {
        let mut bench = Bench::start();
        let first = bench.ask(&terms, 1, 0, 1);
        assert_eq!(bench.ask(&terms, 1, 0, 1)[..4], first[..4], "told the same");
    }
}

#[test]
fn a_rate_that_somebody_set_is_not_made_anew() {
    for terms in BOTH {
        let mut bench = Bench::start();
        let set = Terms { set: true, ..terms };
        assert_eq!(bench.ask(&set, 1, 0, 1), [10], "{terms:?}");
        assert_eq!(bench.redis(&["EXISTS", KEY]), Reply::Int(0), "{terms:?}");
    }
}

#[test]
fn who_waits_without_limit_is_refused_where_the_record_ends() {
    let mut bench = Bench::start();
    let terms = window(1, SECOND);
    bench.ask(&terms, 1, 0, 200);
    bench.now_us += 50 * terms.piece(); // the next two slots are the second piece from now, and the first that has no place
    let said: Vec<i64> = (1..10).map(|id| bench.ask(&terms, 1, 1 << 52, id)[0]).collect();
    assert!(said.iter().all(|code| [1, 3].contains(code)), "{said:?}");
    assert!(said.contains(&3), "{said:?}");
}

#[test]
fn a_change_does_not_change_the_algorithm() {
    for (before, after) in [(BOTH[0], BOTH[1]), (BOTH[1], BOTH[0])] {
        let mut bench = Bench::start();
        bench.ask(&before, 1, 0, 1);
        let record = bench.record();
        let set = Terms { set: true, ..after };
        let reply = bench.change(&set);
        assert_eq!(reply.items()[0], Reply::Int(9), "{reply:?}");
        assert_eq!(bench.record(), record, "{after:?}");
    }
}

#[test]
fn a_change_forgets_no_permit_of_the_oldest_piece() {
    let mut bench = Bench::start();
    let terms = window(2, SECOND);
    bench.ask(&terms, 1, 0, 1);
    bench.now_us += terms.piece() * 9 / 10;
    bench.ask(&terms, 1, 0, 2);
    bench.now_us += terms.piece() * 496 / 10; // less than a window ago
    let set = Terms { set: true, ..terms };
    bench.change(&set);
    assert_eq!(bench.ask(&set, 2, 0, 3)[0], 3, "one of two is in use");
}

#[test]
fn a_refund_that_names_itself_as_the_one_before_ends() {
    for terms in BOTH {
        let mut bench = Bench::start();
        bench.ask(&terms, 1, terms.reach(), 1);
        assert_eq!(ints(&bench.refund(&terms, &[(1, 1, 1)])), [1, 1], "once");
    }
}

#[test]
fn h35_a_late_change_changes_nothing() {
    for terms in BOTH {
        let mut bench = Bench::start();
        bench.ask(&terms, 1, terms.reach(), 1);
        let record = bench.record();
        let other = Terms {
            permits: 99,
            set: true,
            ..terms
        };
        bench.late = 1;
        assert_eq!(ints(&bench.change(&other)), [4, bench.now_us], "{terms:?}");
        assert_eq!(ints(&bench.reset()), [4, bench.now_us], "{terms:?}");
        assert_eq!(bench.record(), record, "{terms:?}");
    }
}

#[test]
fn a_refund_leaves_no_trace() {
    for terms in BOTH {
        let mut bench = Bench::start();
        bench.ask(&terms, 1, terms.reach(), 1);
        bench.now_us += 12_345;
        let before = bench.ask(&terms, 1, -1, 0);
        let after_two = bench.ask(&terms, 2, terms.reach(), 2);
        assert_eq!(after_two[0], 1);
        bench.ask(&terms, 3, terms.reach(), 3);
        assert_eq!(
            ints(&bench.refund(&terms, &[(2, 1, 2)])),
            [1, 0],
            "not the last one"
        );
        assert_eq!(
            ints(&bench.refund(&terms, &[(2, 1, 2), (3, 2, 3)])),
            [1, 2],
            "both, whatever the order"
        );
        assert_eq!(bench.ask(&terms, 1, -1, 0), before, "{terms:?}");
        assert_eq!(
            ints(&bench.refund(&terms, &[(2, 1, 2), (3, 2, 3)])),
            [1, 0],
            "once only"
        );
        assert_eq!(bench.ask(&terms, 1, -1, 0), before, "{terms:?}");
        assert_eq!(
            ints(&bench.refund(&terms, &[(1, 0, 1)])),
            [1, 1],
            "the one before is the last one now"
        );
        bench.reset();
        assert_eq!(
            ints(&bench.refund(&terms, &[(1, 0, 1)])),
            [1, 0],
            "there is nothing"
        );
    }
}

#[test]
fn a_call_runs_three_commands() {
    for terms in BOTH {
        let mut bench = Bench::start();
        bench.server.reset_stats().unwrap();
        bench.ask(&terms, 1, 0, 1);
        let calls = bench.server.command_calls().unwrap();
        // The test's own clock stands for TIME.
        let of = |name: &str| calls.get(name).copied().unwrap_or(0);
        assert_eq!(
            (of("mget"), of("get"), of("set"), of("pexpire")),
            (1, 1, 1, 0),
            "{calls:?}"
        );
    }
}

/// Each script, called for a key that it has to refuse.
fn call_each(bench: &mut Bench, terms: &Terms) -> Vec<Reply> {
    vec![
        bench.ask_raw(terms, 1, 0, 1, false),
        bench.ask_raw(terms, 1, -1, 0, false),
        bench.refund(terms, &[(1, 0, 1)]),
        bench.change(&Terms { set: true, ..*terms }),
        bench.reset(),
    ]
}

#[test]
fn h41_another_type_is_an_error_before_any_write() {
    for terms in BOTH {
        let mut bench = Bench::start();
        bench.redis(&["RPUSH", KEY, "v"]);
        for reply in call_each(&mut bench, &terms) {
            assert!(error(&reply).contains("WRONGTYPE"), "{reply:?}");
        }
        assert_eq!(bench.redis(&["LRANGE", KEY, "0", "-1"]).items().len(), 1);
        assert_eq!(bench.redis(&["PTTL", KEY]), Reply::Int(-1), "left alone");
    }
}

#[test]
fn h75_foreign_data_is_left_alone() {
    for terms in BOTH {
        let config = terms.config();
        let other_version = config.replacen('1', "2", 1);
        let own = |tail: &str| format!("{config}{tail}");
        for value in [
            "",
            "7",
            "1:g:",
            &other_version,
            &own(""),
            &own("too short to be a record"),
        ] {
            let mut bench = Bench::start();
            bench.redis(&["SET", KEY, value]);
            let replies = call_each(&mut bench, &terms);
            let refused = |reply: &&Reply| ints(reply)[0] == 8;
            // A reset needs no more than the beginning to know that it is ours.
            let expected = if value.starts_with(&config) { 4 } else { 5 };
            assert_eq!(
                replies.iter().filter(refused).count(),
                expected,
                "{value:?}: {replies:?}"
            );
            if expected == 5 {
                assert_eq!(bench.record().text().as_deref(), Some(value));
                assert_eq!(bench.redis(&["PTTL", KEY]), Reply::Int(-1));
            }
        }
    }
}

#[test]
fn h40_memory_is_full() {
    for terms in BOTH {
        let mut bench = Bench::start();
        bench.ask(&terms, 1, 0, 1);
        bench.ask(&terms, 1, terms.reach(), 2);
        let before = bench.record();
        // The test's clock is a write: from here on it stands still.
        let full = |bench: &mut Bench, most: &str| drop(bench.redis(&["CONFIG", "SET", "maxmemory", most]));
        let (config, not_after) = (terms.config(), bench.now_ms().to_string());
        let own: &[&str] = match terms.kind {
            Kind::Gcra => &["10", "100000", "0", "300000", "0"],
            Kind::Window => &["1", "3", "20000"],
        };
        let ask = [&[&*config, "0", "3", &*not_after, "1000"], own].concat();
        let script = if terms.kind == Kind::Gcra {
            "gcra"
        } else {
            "window"
        };
        full(&mut bench, "1");
        let reply = bench.run(script, &ask);
        assert!(error(&reply).contains("OOM"), "{reply:?}");
        assert_eq!(bench.record(), before, "nothing was changed");
        let give = bench.refund_args(&terms, &[(2, 1, 1)]);
        let reply = bench.run(give.0, &give.1);
        assert_eq!(ints(&reply), [1, 1], "giving back works");
        assert!(bench.redis(&["PTTL", KEY]).int().unwrap() > 0, "with a TTL");
        assert_ne!(bench.record(), before, "it is written");
        full(&mut bench, "0");
    }
}

#[test]
fn another_rate_or_algorithm_is_named() {
    let [one, other] = BOTH;
    for (made, says) in [
        (one, other),
        (other, one),
        (one, gcra(11, SECOND, 3)),
        (one, gcra(10, SECOND, 4)),
        (one, gcra(10, SECOND + 1, 3)),
        (other, window(4, SECOND)),
        (Terms { set: true, ..one }, gcra(11, SECOND, 3)),
        (Terms { set: true, ..other }, window(4, SECOND)),
    ] {
        let mut bench = Bench::start();
        if made.set {
            bench.change(&made);
        }
        bench.ask(&made, 1, 0, 1);
        let before = bench.record();
        for most in [-1, 0] {
            let reply = bench.ask_raw(&says, 1, most, 2, false);
            assert_eq!(reply.items()[0], Reply::Int(9), "{reply:?}");
            assert_eq!(reply.items()[2].text(), Some(made.config()), "{reply:?}");
        }
        assert_eq!(bench.record(), before, "nothing was changed");
        assert_eq!(ints(&bench.refund(&says, &[(1, 0, 1)])), [8, 0], "nor given back");
    }
}

#[test]
fn a_refund_that_finds_nothing_does_not_touch_the_life() {
    for terms in BOTH {
        let mut bench = Bench::start();
        bench.ask(&terms, 1, terms.reach(), 1);
        bench.redis(&["PEXPIRE", KEY, "5000"]);
        bench.refund(&terms, &[(7, 0, 1)]);
        let life = bench.redis(&["PTTL", KEY]).int().unwrap();
        assert!(life <= 5000, "{terms:?}: {life} ms");
    }
}

#[test]
fn the_oldest_piece_counts_until_it_is_over() {
    let mut bench = Bench::start();
    let terms = window(1, SECOND);
    bench.ask(&terms, 1, 0, 1);
    bench.now_us += 50 * terms.piece();
    let reply = bench.ask(&terms, 1, -1, 0);
    assert_eq!(
        reply,
        [3, terms.piece(), 0, terms.piece()],
        "wait, left and reset"
    );
}

#[test]
fn a_rate_that_is_set_before_anybody_asks_begins_with_nothing_used() {
    for terms in BOTH {
        let mut bench = Bench::start();
        let set = Terms { set: true, ..terms };
        bench.change(&set);
        let made = bench.ask(&set, 1, -1, 0);
        assert_eq!(made.last(), Some(&0), "nothing has to come back");
        let reply = bench.ask(&set, 1, 0, 9);
        assert_eq!((reply[0], reply.last()), (1, Some(&0)), "nobody was before it");
        bench.reset();
        bench.ask(&terms, 1, 0, 7);
        bench.now_us += terms.reach() + terms.period * 2;
        bench.change(&set);
        let back = bench.ask(&set, 1, -1, 0);
        assert_eq!(made, back, "all has come back: {terms:?}");
        let reply = bench.ask(&set, 1, 0, 9);
        assert_eq!((reply[0], reply.last()), (1, Some(&0)), "nobody was before it");
    }
}

#[test]
fn a_change_keeps_a_single_permit_of_the_oldest_piece() {
    let mut bench = Bench::start();
    let terms = window(2, SECOND);
    bench.ask(&terms, 1, 0, 1);
    bench.now_us += 50 * terms.piece();
    bench.ask(&terms, 1, 0, 2);
    let set = Terms { set: true, ..terms };
    bench.change(&set);
    assert_eq!(bench.ask(&set, 1, 0, 3)[0], 3, "both are in use");
}

#[test]
fn nothing_is_left_of_a_limit_that_was_lowered() {
    let mut bench = Bench::start();
    let terms = window(5, SECOND);
    bench.ask(&terms, 5, 0, 1);
    let set = Terms {
        set: true,
        ..window(2, SECOND)
    };
    bench.change(&set);
    assert_eq!(bench.ask(&set, 1, -1, 0)[2], 0);
}

#[test]
fn a_slot_that_was_waited_for_leaves_no_trace_when_it_is_given_back() {
    for pieces in [49, 50] {
        let mut bench = Bench::start();
        let terms = window(2, SECOND);
        bench.ask(&terms, 2, 0, 1);
        bench.now_us += pieces * terms.piece();
        let before = bench.ask(&terms, 1, -1, 0);
        assert_eq!(
            bench.ask(&terms, 1, terms.reach(), 2)[0],
            1,
            "the next piece or so"
        );
        bench.refund(&terms, &[(2, 1, 1)]);
        assert_eq!(bench.ask(&terms, 1, -1, 0), before);
    }
}

#[test]
fn nothing_is_used_of_what_nobody_asked_for() {
    let mut bench = Bench::start();
    let terms = window(5, SECOND);
    assert_eq!(bench.ask(&terms, 1, -1, 0), [3, 0, 5, 0], "wait, left and reset");
    assert_eq!(ints(&bench.reset()), [1, bench.now_us]);
}

#[test]
fn a_slot_that_was_waited_for_counts_when_its_time_has_come() {
    let mut bench = Bench::start();
    let terms = window(1, SECOND);
    bench.ask(&terms, 1, 0, 1);
    bench.now_us += 50 * terms.piece();
    assert_eq!(bench.ask(&terms, 1, terms.reach(), 2)[0], 1, "in the next piece");
    bench.now_us += terms.piece();
    assert_eq!(bench.ask(&terms, 1, 0, 3)[0], 3, "that is now");
}

#[test]
fn a_burst_that_was_lowered_is_used_up_and_no_more() {
    let mut bench = Bench::start();
    let terms = gcra(10, SECOND, 10);
    bench.ask(&terms, 10, 0, 1);
    let set = Terms {
        set: true,
        ..gcra(10, SECOND, 2)
    };
    bench.change(&set);
    assert_eq!(
        bench.ask(&set, 1, -1, 0)[1],
        SECOND / 10,
        "one comes back, and is it"
    );
}

#[test]
fn h66_a_refusal_after_the_clock_was_set_back_keeps_the_life() {
    for terms in BOTH {
        let mut bench = Bench::start();
        bench.ask(&terms, 3, 0, 1);
        bench.now_us -= SECOND;
        assert_eq!(bench.ask(&terms, 3, 0, 2)[0], 3, "{terms:?}");
        let life = bench.redis(&["PTTL", KEY]).int().unwrap();
        assert!((80_000_000..=86_500_000).contains(&life), "{terms:?}: {life} ms");
    }
}

#[test]
fn a_change_keeps_what_waits_for_the_last_piece() {
    let mut bench = Bench::start();
    let terms = window(1, SECOND);
    bench.ask(&terms, 1, 0, 1);
    assert_eq!(bench.ask(&terms, 1, terms.reach(), 2)[0], 1, "a window later");
    let before = bench.ask(&terms, 1, -1, 0);
    let set = Terms { set: true, ..terms };
    bench.change(&set);
    assert_eq!(bench.ask(&set, 1, -1, 0), before);
}

#[test]
fn a_change_forgets_a_piece_that_is_just_over() {
    let mut bench = Bench::start();
    let terms = window(2, SECOND);
    bench.ask(&terms, 1, 0, 1);
    bench.now_us += 50 * terms.piece();
    bench.ask(&terms, 1, 0, 2);
    bench.now_us += 2 * terms.piece();
    let set = Terms { set: true, ..terms };
    assert_eq!(ints(&bench.change(&set)), [1, bench.now_us]);
    assert_eq!(bench.ask(&set, 1, -1, 0)[2], 1, "one of two is left");
}
