//! A hold by the client's own account, moment by moment.

use super::*;
use crate::attempt::lease::{Known, claim_deadline};

/// Two milliseconds are the margin for drift, and nothing else.
fn rules() -> Rules {
    let drift = Drift { parts_per_million: 0 };
    Rules::of(&Spec::exclusive(LEASE), drift, false)
}

/// Until a second after the start, granted for a second.
fn lease(claim: bool) -> Lease {
    Lease::new((7, 1), START, at(1000), claim, WINDOW)
}

/// One that was renewed until this many ms after the start.
fn renewed(until: u64) -> Lease {
    let mut lease = lease(true);
    lease.renew(ms(until + 2), START, &rules());
    assert_eq!((lease.deadline, lease.claim), (at(until), false), "less 2 ms");
    lease
}

#[test]
fn a_claim_of_which_less_than_half_is_left_is_confirmed_first() {
    let needs = |lease: Lease, now, rules: &Rules| lease.needs_confirming(at(now), rules);
    let (rules, mut same_thread) = (rules(), rules());
    same_thread.same_thread = true;
    for claim in [false, true] {
        assert!(!needs(lease(claim), 0, &rules), "all of it is left");
        assert!(!needs(lease(claim), 500, &rules), "half of it is left");
        assert!(needs(lease(claim), 501, &rules), "less is left");
        assert!(!needs(lease(claim), 501, &rules.without(Rule::ConfirmLate)));
        assert!(
            needs(lease(claim).confirm_first(true), 0, &rules),
            "a clock stepped"
        );
        let late = needs(lease(claim).confirm_first(true), 501, &rules);
        assert!(late, "both are reasons");
    }
    assert!(
        needs(lease(true), 0, &same_thread),
        "user code may block the keeper"
    );
    assert!(!needs(lease(false), 0, &same_thread), "it was never a claim");
    assert!(!needs(renewed(1000), 990, &same_thread), "once it is confirmed");
}

#[test]
fn no_renewal_reaches_past_the_longest_hold() {
    let mut rules = rules();
    rules.max_hold = Some(ms(3000));
    let handed_out = |start, now| {
        let mut lease = Lease::new((7, 1), at(start), at(1000), false, WINDOW);
        assert_eq!(lease.cap(), Moment::NEVER);
        lease.hand_out(at(now), &rules);
        lease
    };
    let mut lease = handed_out(0, 400);
    assert_eq!((lease.cap(), lease.deadline), (at(3400), at(1000)));
    lease.renew(LEASE, at(500), &rules);
    assert_eq!(lease.deadline, at(3400), "the cap");
    lease.cap_at(at(5000));
    assert_eq!(lease.cap(), at(3400), "it never moves away");
    lease.cap_at(at(600));
    assert_eq!((lease.cap(), lease.deadline), (at(600), at(600)));
    assert_eq!(handed_out(700, 400).cap(), at(3700), "from when it may start");
}

#[test]
fn a_renewal_never_takes_time_away() {
    let mut lease = renewed(9000);
    lease.renew(ms(4000), START, &rules());
    assert_eq!(lease.deadline, at(9000), "the reply to an earlier one");
    assert_eq!(lease.left(at(8000)), ms(1000));
    assert_eq!(lease.left(at(9500)), Duration::ZERO);
}

#[test]
fn a_hold_is_due_when_a_third_of_its_lease_is_over() {
    let due = |mut lease: Lease, now, rules: &Rules| {
        lease.schedule(at(now), rules);
        lease.due
    };
    let rules = rules();
    let third = at(10_000) - LEASE * 2 / 3;
    assert_eq!(due(renewed(10_000), 100, &rules), third);
    assert_eq!(due(renewed(10_000), 9000, &rules), at(9000), "at once");
    assert_eq!(
        due(lease(true), 100, &rules),
        at(250),
        "a claim after a quarter of its window"
    );
    assert_eq!(due(lease(true), 700, &rules), at(700), "at once");
    let mut capped = renewed(10_000);
    capped.cap_at(at(10_000));
    assert_eq!(due(capped, 100, &rules), at(10_000), "no renewal could do more");
}

#[test]
fn a_hold_by_hand_is_renewed_until_it_starts() {
    let mut rules = rules();
    rules.renews = false;
    let due = |now| {
        let mut lease = Lease::new((7, 1), at(500), at(10_000), false, LEASE);
        lease.schedule(at(now), &rules);
        lease.due
    };
    assert_eq!(due(499), at(10_000) - LEASE * 2 / 3, "there is no guard yet");
    assert_eq!(due(500), at(10_000), "the guard can extend it");
    assert_eq!(due(501), at(10_000), "the guard can extend it");
}

#[test]
fn a_renewal_that_failed_is_tried_again_after_a_pause() {
    let due = |now: Moment| {
        let mut lease = renewed(10_000);
        lease.try_again(now, &rules());
        lease.due
    };
    let third = at(10_000) - LEASE * 2 / 3;
    assert_eq!(due(at(100)), third, "it is not due before");
    assert_eq!(due(at(6000)), at(6000) + LEASE / 24, "of the lease");
    assert_eq!(due(at(8000)), at(8250), "an eighth of what is left");
    assert_eq!(due(at(9996)), at(9997), "at least a millisecond");
    let last = at(10_000) - Duration::from_micros(500);
    assert_eq!(due(last), at(10_000), "never past the deadline");
}

#[test]
fn a_renewal_that_is_due_soon_joins_the_request() {
    let is_due = |lease: &mut Lease, due: Moment, now| {
        lease.due = due;
        lease.is_due(at(now), &rules())
    };
    let hold = &mut renewed(10_000);
    let sixth = LEASE / 6;
    assert!(is_due(hold, at(100) + sixth, 100), "in a sixth of the lease");
    assert!(!is_due(hold, at(101) + sixth, 100), "later");
    assert!(is_due(hold, at(100), 5000), "long ago");
    assert!(!is_due(hold, at(10_000), 9999), "a deadline is no renewal");
    assert!(!is_due(hold, at(10_001), 9999), "nor what is past it");
    let claim = &mut lease(true);
    assert!(is_due(claim, at(100), 100), "now");
    assert!(!is_due(claim, at(101), 100), "a claim waits until it is due");
}

#[test]
fn a_grant_by_message_counts_from_its_stamp() {
    let deadline =
        |known, stamp, receipt: Moment, rules: &Rules| claim_deadline(WINDOW, stamp, known, receipt, rules);
    let (rules, window) = (rules(), ms(998));
    // The last reply had stamp 1 s, and was asked for 100 ms after the start.
    let known = Known::by_reply(at(100), 1_000_000);
    let by_stamp = |stamp, receipt| deadline(known, stamp, receipt, &rules);
    assert_eq!(
        by_stamp(1_300_000, at(700)),
        (at(400) + window, false),
        "0.3 s later"
    );
    assert_eq!(by_stamp(900_000, at(700)), (at(100) + window, false), "at least");
    assert_eq!(by_stamp(1_602_000, at(700)), (at(700) + window, false), "drift");
    assert_eq!(by_stamp(1_602_001, at(700)), (at(700) + window, true), "a step");
    let first = deadline(Known::by_request(START), 1_300_000, at(700), &rules);
    assert_eq!(first, (START + window, false), "from the first send");
    let off = rules.without(Rule::MessageStart);
    let receipt = deadline(known, 1_300_000, at(700), &off);
    assert_eq!(receipt, (at(700) + window, false), "without the rule");
}
