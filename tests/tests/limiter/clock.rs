//! Waits are right to the microsecond, and steps of the clock neither refill nor freeze.

use crate::bench::{Bench, ints};
use crate::model::{Terms, gcra, window};

const SECOND: i64 = 1_000_000;
const HOUR: i64 = 3600 * SECOND;

/// Rates of both kinds, with what may be had at once.
const BOTH: [Terms; 4] = [
    gcra(10, SECOND, 3),
    gcra(7, SECOND, 1),
    window(3, SECOND),
    window(5, 86_400 * SECOND),
];

/// Takes all that there is.
fn use_up(bench: &mut Bench, terms: &Terms, first_id: i64) {
    for permit in 0..terms.limit() {
        assert_eq!(bench.admitted(terms, 1, first_id + permit), Ok(()), "{terms:?}");
    }
}

#[test]
fn a_call_is_admitted_after_the_reported_wait_and_not_a_microsecond_before() {
    for terms in BOTH {
        let mut bench = Bench::start();
        for weight in 1..=terms.limit() {
            bench.reset();
            use_up(&mut bench, &terms, 1);
            let id = 1000 + 10 * weight;
            let wait = bench.admitted(&terms, weight, id).expect_err("used up");
            let before = bench.record();
            bench.now_us += wait - 1;
            assert_eq!(bench.admitted(&terms, weight, id + 1), Err(1), "{terms:?}");
            assert_eq!(bench.record(), before, "a refusal writes nothing");
            bench.now_us += 1;
            assert_eq!(bench.admitted(&terms, weight, id + 2), Ok(()), "{terms:?}");
        }
    }
}

#[test]
fn h49_a_clock_that_was_set_back_neither_refills_nor_freezes() {
    for terms in BOTH {
        let mut bench = Bench::start();
        use_up(&mut bench, &terms, 1);
        let wait = bench.admitted(&terms, 1, 100).expect_err("used up");
        for step in [1, 1000, HOUR, 1000 * HOUR] {
            bench.now_us -= step;
            assert_eq!(
                bench.admitted(&terms, 1, 101),
                Err(wait),
                "as if no time had passed: {terms:?}, {step}"
            );
        }
        // Only refused calls meanwhile: time goes on for them, too.
        bench.now_us += wait - 1;
        assert_eq!(bench.admitted(&terms, 1, 102), Err(1), "{terms:?}");
        bench.now_us += 1;
        assert_eq!(bench.admitted(&terms, 1, 103), Ok(()), "{terms:?}");
    }
}

#[test]
fn h48_a_clock_that_was_set_forward_gives_one_burst() {
    for terms in BOTH {
        let mut bench = Bench::start();
        use_up(&mut bench, &terms, 1);
        bench.now_us += 1000 * HOUR;
        use_up(&mut bench, &terms, 100);
        assert!(bench.admitted(&terms, 1, 200).is_err(), "no more: {terms:?}");
    }
}

#[test]
fn h35_a_request_that_comes_late_changes_nothing() {
    for terms in BOTH {
        let mut bench = Bench::start();
        assert_eq!(ints(&bench.ask_raw(&terms, 1, 0, 1, true)), [4, bench.now_us]);
        assert_eq!(bench.record().text(), None, "nothing was made");
        use_up(&mut bench, &terms, 1);
        let before = bench.record();
        for most in [-1, 0, terms.reach()] {
            assert_eq!(
                ints(&bench.ask_raw(&terms, 1, most, 100, true)),
                [4, bench.now_us]
            );
        }
        assert_eq!(bench.record(), before, "{terms:?}");
    }
}

#[test]
fn reservations_reach_one_window_ahead() {
    for terms in BOTH {
        let mut bench = Bench::start();
        use_up(&mut bench, &terms, 1);
        let mut waits = Vec::new();
        for id in 100.. {
            let reply = bench.ask(&terms, 1, terms.reach(), id);
            if reply[0] == 3 {
                assert!(reply[1] > terms.reach(), "{reply:?}");
                break;
            }
            waits.push(reply[1]);
        }
        assert!(waits.is_sorted(), "in the order of arrival: {waits:?}");
        assert!(waits[0] > 0 && waits.last() <= Some(&terms.reach()), "{waits:?}");
        let window = terms.permits.min(terms.reach() * terms.permits / terms.period);
        assert!(
            i64::try_from(waits.len()).unwrap() >= window,
            "a window's worth at least: {waits:?}"
        );
        // Nobody overtakes those who wait, and their slots pass unused.
        bench.now_us += waits[0] - 1;
        assert!(bench.admitted(&terms, 1, 900).is_err(), "{terms:?}");
    }
}

#[test]
fn a_call_that_the_record_has_no_room_for_is_refused() {
    let terms = window(3, SECOND);
    let mut bench = Bench::start();
    use_up(&mut bench, &terms, 1);
    assert_eq!(bench.ask(&terms, 3, terms.reach(), 10)[0], 1, "the next window");
    let before = bench.record();
    assert_eq!(bench.ask(&terms, 1, 100 * SECOND, 11)[0], 3, "the one after it");
    assert_eq!(bench.record(), before, "nothing was written");
}

#[test]
fn h49_a_rate_that_is_set_after_the_clock_was_set_back_refills_nothing() {
    for (before, after) in [
        (gcra(10, SECOND, 3), gcra(10, SECOND, 4)),
        (window(3, SECOND), window(4, SECOND)),
    ] {
        let after = Terms { set: true, ..after };
        let mut bench = Bench::start();
        use_up(&mut bench, &before, 1);
        bench.now_us -= HOUR;
        bench.change(&after);
        assert!(bench.admitted(&after, 2, 10).is_err(), "three of four are used");
        assert_eq!(bench.admitted(&after, 1, 11), Ok(()), "and no more");
        let wait = bench.admitted(&after, 1, 12).expect_err("used up");
        assert!(wait <= after.reach(), "{wait} µs: the step is forgotten");
    }
}

#[test]
fn asking_changes_nothing() {
    for terms in BOTH {
        let mut bench = Bench::start();
        assert_eq!(bench.ask(&terms, 1, -1, 0)[..2], [3, 0], "there would be one");
        assert_eq!(bench.record().text(), None, "nothing was made");
        use_up(&mut bench, &terms, 1);
        let before = bench.record();
        let told = bench.ask(&terms, 1, -1, 0);
        assert_eq!(told[0], 3);
        assert_eq!(bench.admitted(&terms, 1, 50), Err(told[1]), "the same");
        bench.now_us -= HOUR;
        bench.ask(&terms, 1, -1, 0);
        assert_eq!(bench.record(), before, "after a step neither");
    }
}

#[test]
fn a_refund_reaches_the_oldest_piece_of_a_window() {
    let mut bench = Bench::start();
    let terms = window(3, SECOND);
    let none = bench.ask(&terms, 1, -1, 0);
    bench.ask(&terms, 1, 0, 1);
    bench.now_us += 50 * terms.piece();
    assert_eq!(
        bench.ask(&terms, 1, 0, 1)[0],
        1,
        "a copy, which writes the pieces as they are now"
    );
    bench.refund(&terms, &[(1, 0, 1)]);
    assert_eq!(bench.ask(&terms, 1, -1, 0), none, "nothing is in use");
}

/// Callers that ask again as soon as they may get what the pieces leave of a window.
#[test]
fn a_sliding_window_admits_at_most_two_percent_fewer_in_the_long_run() {
    // µs, and what its pieces cost together, in 10 000ths: more than 2 % only if they are rounded up much.
    for (period, most) in [
        (1_000, 200),
        (SECOND, 200),
        (125_001, 200),
        (86_400 * SECOND, 200),
        (1_001, 660),
    ] {
        let terms = window(2, period);
        let mut bench = Bench::start();
        let (begin, windows) = (bench.now_us, 1000);
        let (mut id, mut admitted) = (0, 0);
        while bench.now_us < begin + windows * period {
            id += 1;
            match bench.admitted(&terms, 1, id) {
                Ok(()) => admitted += 1,
                Err(wait) => bench.now_us += wait,
            }
        }
        let all = terms.permits * windows;
        assert!(
            admitted * 10_000 >= all * (10_000 - most),
            "{admitted} of {all} in windows of {period} µs"
        );
        // The first window's permits come at once, and so before their time.
        assert!(admitted <= all + terms.permits, "{admitted} of {all}");
    }
}
