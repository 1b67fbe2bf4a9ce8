//! Bounds, prices, agreement and decisions of a limiter's terms.

use super::*;

fn number(of: u32) -> NonZeroU32 {
    NonZeroU32::new(of).expect("not zero")
}

fn gcra(permits: u32, period: Duration, burst: u32) -> Result<Terms> {
    let rate = Rate::per(number(permits), period).burst(number(burst));
    Terms::new(rate, Algorithm::Gcra, false)
}

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

#[test]
fn prices_are_exact_at_both_ends() {
    let price = |permits, period, weight| gcra(permits, period, 1).expect("terms").price(weight);
    let second = Duration::from_secs(1);
    assert_eq!(price(1_000_000, second, 1), (1, 0), "a microsecond each");
    assert_eq!(price(3_000_000, second, 1), (0, 1_000_000), "a third of one");
    assert_eq!(price(7, second, 3), (428_571, 3), "3/7 s");
    assert_eq!(price(1, DAY, 1), (86_400_000_000, 0), "a day");
    assert_eq!(
        price(MOST, DAY, MOST),
        (86_400_000_000, 0),
        "all of the most, in the longest time"
    );
}

#[test]
fn h62_rates_at_both_sides_of_each_bound() {
    let year = MAX_PERIOD;
    let tick = Duration::from_nanos(1);
    for good in [
        gcra(1, MIN_PERIOD, 1),
        gcra(MOST, year, MOST),
        gcra(1, DAY, 30),
        gcra(1, DAY, 366),
        gcra(1, year, 1),
        gcra(7, DAY * 7, 366),
    ] {
        assert!(good.is_ok(), "{good:?}");
    }
    for bad in [
        gcra(1, Duration::ZERO, 1),
        gcra(1, Duration::from_nanos(999_999), 1),
        gcra(1, year + tick, 1),
        gcra(MOST + 1, DAY, 1),
        gcra(1, MIN_PERIOD, MOST + 1),
        gcra(1, DAY, 367),
        gcra(7, DAY * 7 + Duration::from_micros(1), 366),
        Terms::new(
            Rate::per_second(number(5)).burst(number(2)),
            Algorithm::SlidingWindow,
            false,
        ),
    ] {
        assert_eq!(bad.expect_err("refused").kind(), ErrorKind::Invalid);
    }
}

#[test]
fn h62_a_longest_wait_at_both_sides_of_its_bound() {
    let with = |terms: &Terms, wait| {
        let terms = terms.clone().with(OnMismatch::Error, KEEP, Some(wait));
        terms.map(|terms| terms.reach())
    };
    let tick = Duration::from_micros(1);
    let paced = gcra(10, SECOND, 1).expect("terms");
    for wait in [Duration::ZERO, SECOND / 2, MAX_WAIT] {
        assert_eq!(with(&paced, wait).expect("accepted"), wait);
    }
    assert!(with(&paced, MAX_WAIT + tick).is_err());
    let all = window(5, false);
    let most = all.reach();
    assert_eq!(with(&all, most).expect("accepted"), most);
    assert!(
        with(&all, most + tick).is_err(),
        "the record has no room for more"
    );
}

#[test]
fn a_record_says_its_terms() {
    for terms in [
        gcra(7, Duration::from_millis(300), 3),
        Terms::new(Rate::per_minute(number(9)), Algorithm::SlidingWindow, true),
        gcra(7, SECOND, 3).and_then(|it| it.with(OnMismatch::Set { version: 65_535 }, KEEP, None)),
    ] {
        let terms = terms.expect("terms");
        assert_eq!(
            Terms::parse(&terms.config).as_ref(),
            Some(&terms),
            "there and back"
        );
    }
    for text in [
        "",
        "1:g:0:1000:1:0|",
        "1:x:1:1000:1:0|",
        "1:g:1:1:1:0|",
        "1:g:1:1000:1:0",
        "1:g:1:1000:1:0.|",
        "1:g:1:1000:1:0.65536|",
    ] {
        assert_eq!(Terms::parse(text), None, "{text:?}");
    }
}

#[test]
fn a_period_is_rounded_up() {
    let rate = Rate::per(number(1), Duration::from_nanos(1_000_001));
    let terms = Terms::new(rate, Algorithm::Gcra, false).expect("terms");
    assert_eq!(terms.config, "1:g:1:1001:1:0|");
}

fn window(permits: u32, set: bool) -> Terms {
    let rate = Rate::per_second(number(permits));
    Terms::new(rate, Algorithm::SlidingWindow, set).expect("terms")
}

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn handles_agree_by_mode_and_version() {
    let own = window(5, false);
    let (made, by_hand) = (window(6, false).config, window(6, true).config);
    let of = |version, set| {
        let terms = window(6, set).with(OnMismatch::Set { version }, KEEP, None);
        terms.expect("terms").config
    };
    let set = |version| OnMismatch::Set { version };
    for (theirs, on_mismatch, agreed) in [
        (&made, OnMismatch::Error, "mismatch"),
        (&by_hand, OnMismatch::Error, "theirs"),
        (&of(0, false), OnMismatch::Error, "theirs"),
        (&made, OnMismatch::Adopt, "theirs"),
        (&by_hand, OnMismatch::Adopt, "theirs"),
        (&made, set(0), "ours"),
        (&by_hand, set(0), "ours"),
        (&of(6, false), set(7), "ours"),
        (&of(6, true), set(7), "ours"),
        (&of(7, false), set(7), "mismatch"),
        (&of(7, true), set(7), "theirs"),
        (&of(8, false), set(7), "theirs"),
    ] {
        let found = match own.agree(theirs, on_mismatch) {
            Agreed::Theirs(terms) => {
                assert!(terms.borrowed && terms.config == *theirs, "{terms:?}");
                "theirs"
            }
            Agreed::Ours => "ours",
            Agreed::Mismatch => "mismatch",
        };
        assert_eq!(found, agreed, "{theirs} {on_mismatch:?}");
    }
    let paced = gcra(5, SECOND, 1).expect("terms");
    for on_mismatch in [OnMismatch::Error, OnMismatch::Adopt, set(9)] {
        assert_eq!(
            paced.agree(&by_hand, on_mismatch),
            Agreed::Mismatch,
            "another algorithm"
        );
        assert_eq!(own.agree("1:w", on_mismatch), Agreed::Mismatch, "not readable");
    }
}

#[test]
fn a_mismatch_names_both_rates() {
    let gcra = gcra(7, SECOND, 3).expect("terms");
    let error = gcra.mismatch(&window(5, false).config);
    assert_eq!(error.kind(), ErrorKind::Mismatch);
    let text = error.to_string();
    assert!(text.contains("7 per 1s with a burst of 3"), "{text}");
    assert!(text.contains("5 per 1s in a sliding window"), "{text}");
    assert!(gcra.mismatch("1:?").to_string().contains("1:?"), "as it stands");
}

#[test]
fn a_slot_can_be_as_far_ahead_as_the_burst_or_the_period() {
    let reach = |permits, period, burst| gcra(permits, period, burst).expect("terms").reach();
    assert_eq!(reach(10, SECOND, 1), SECOND, "the period");
    assert_eq!(reach(10, SECOND, 30), 3 * SECOND, "the burst");
    let third = Duration::from_micros(1_333_334);
    assert_eq!(reach(3, SECOND, 4), third, "rounded up");
    assert_eq!(
        window(5, false).reach(),
        Duration::from_millis(1020),
        "and a piece"
    );
}

#[test]
fn only_numbers_that_were_set_are_remembered() {
    let keep = 10 * SECOND;
    let with = |set, on_mismatch| {
        let terms = window(5, set).with(on_mismatch, keep, None);
        terms.expect("terms").keep_ms()
    };
    assert_eq!(
        with(false, OnMismatch::Error),
        2000,
        "what every handle says anyway"
    );
    assert_eq!(with(true, OnMismatch::Error), 10_000, "by hand");
    assert_eq!(
        with(false, OnMismatch::Set { version: 0 }),
        10_000,
        "by a version"
    );
}

#[test]
fn a_decision_counts_what_is_left() {
    let gcra = gcra(3, SECOND, 5).expect("terms");
    let wait = Duration::from_millis(5);
    // Two permits are gone: 2/3 s, which is 666 666 µs and two thirds of one.
    let decision = gcra.decision(true, wait, (666_666, 2));
    assert_eq!((decision.limit, decision.remaining), (5, 3));
    assert_eq!(decision.retry_after, Duration::ZERO, "it was allowed");
    assert_eq!(decision.reset_after, Duration::from_micros(666_667), "rounded up");
    let more = gcra.decision(true, wait, (333_333, 2)).remaining;
    assert_eq!(more, 3, "a third of a microsecond more than one permit is gone");
    let decision = gcra.decision(false, wait, (1_666_667, 0));
    assert_eq!(
        (decision.allowed, decision.remaining),
        (false, 0),
        "a permit less a bit"
    );
    assert_eq!(decision.retry_after, wait);
    assert_eq!(decision.reset_after, Duration::from_micros(1_666_667), "exact");
    let decision = window(5, false).decision(true, wait, (4, 900));
    assert_eq!((decision.limit, decision.remaining), (5, 4));
    assert_eq!(decision.reset_after, Duration::from_micros(900), "as it is told");
}
