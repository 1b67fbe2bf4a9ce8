//! The transitions by answers and messages.

use super::*;
use crate::attempt::event::LookAt;

/// What the margin for drift leaves of a lease.
fn less_margin(attempt: &Attempt, left: Duration) -> Duration {
    left.saturating_sub(attempt.rules.drift.margin(left))
}

#[test]
fn a_fresh_grant_has_the_stamp_as_its_token() {
    for (shared, token) in [(false, 5_000_000), (true, 0)] {
        let mut attempt = Attempt::new();
        attempt.rules.shared = shared;
        assert!(attempt.answered(AcquireReply::Fresh, 5_000_000, 10, 20).wake);
        let lease = attempt.hand_out(30);
        assert_eq!((lease.token, lease.weight, lease.claim), (token, 1, false));
        assert_eq!(
            lease.deadline,
            at(10) + less_margin(&attempt, LEASE),
            "of its request"
        );
        assert_eq!(lease.start, at(20), "at once");
        assert_eq!(attempt.state.loss(), None);
    }
}

#[test]
fn a_grant_may_have_a_weight_and_a_delay() {
    let mut attempt = Attempt::new();
    let grant = Grant {
        token: 7,
        left: ms(4000),
        claim: true,
        weight: Some(3),
        delay: Some(ms(50)),
    };
    attempt.answered(AcquireReply::Granted(grant), 1, 10, 20);
    let lease = attempt.hand_out(30);
    assert_eq!((lease.weight, lease.start, lease.claim), (3, at(70), true));
    assert_eq!(lease.deadline, at(10) + less_margin(&attempt, ms(4000)));
}

#[test]
fn without_its_rule_a_grant_counts_from_its_reply() {
    let mut attempt = Attempt::new();
    attempt.rules = attempt.rules.without(Rule::ReplyStart);
    attempt.answered(granted(LEASE), 1, 10, 20);
    let deadline = attempt.hand_out(30).deadline;
    assert_eq!(deadline, at(20) + less_margin(&attempt, LEASE));
}

#[test]
fn an_expired_grant_is_requested_again() {
    let mut attempt = Attempt::queued();
    // Nothing is left of it at the moment of its request.
    attempt.answered(granted(Duration::ZERO), 2_000_000, 20, 20);
    assert_eq!(attempt.state.is_queued(), Some(false), "only a hint");
    assert_eq!(attempt.poll(20), Step::Ask);
}

#[test]
fn a_grant_that_expires_before_the_poll_is_not_handed_out() {
    let deadline = |attempt: &mut Attempt| {
        attempt.answered(granted(LEASE), 1, 0, 0);
        START + less_margin(attempt, LEASE)
    };
    let mut attempt = Attempt::new();
    let end = deadline(&mut attempt);
    assert_eq!(attempt.on(Event::Polled, end).step, Step::Ask);
    assert_eq!(attempt.state.is_queued(), Some(false), "it has to ask");
    let mut attempt = Attempt::new();
    attempt.rules = attempt.rules.without(Rule::NotHandedOutLate);
    attempt.rules = attempt.rules.without(Rule::ConfirmLate);
    let end = deadline(&mut attempt);
    assert_eq!(
        attempt.on(Event::Polled, end).step,
        Step::HandOut,
        "without the rule"
    );
}

#[test]
fn a_token_has_to_be_above_the_floor() {
    let polled = |floor, token| {
        let mut attempt = Attempt::new();
        attempt.rules.floor = floor;
        let AcquireReply::Granted(grant) = granted(LEASE) else {
            panic!("a grant");
        };
        attempt.answered(AcquireReply::Granted(Grant { token, ..grant }), 1, 0, 0);
        attempt.poll(0)
    };
    assert_eq!(polled(0, 0), Step::HandOut, "a shared hold has none");
    assert_eq!(polled(0, 7), Step::HandOut, "any");
    assert_eq!(polled(7, 6), Step::Ask, "below");
    assert_eq!(polled(7, 7), Step::Ask, "the same");
    assert_eq!(polled(7, 8), Step::HandOut, "above");
}

#[test]
fn a_place_in_the_queue_sets_when_to_look_again() {
    for (wake, more, when) in [
        (None, false, None),
        (Some(ms(300)), false, Some(at(320))),
        (Some(ms(300)), true, Some(at(20))),
        (None, true, Some(at(20))),
    ] {
        let mut attempt = Attempt::new();
        let effects = attempt.answered(AcquireReply::Queued { wake, more }, 9, 10, 20);
        assert!(effects.waits, "its place needs refreshing");
        let sent = Some(at(10));
        let look_at = when.map(|when| LookAt {
            when,
            stamp: 9,
            sent,
            is_next_step: more,
        });
        assert_eq!(effects.look_at, look_at, "{wake:?} {more}");
        assert_eq!(attempt.state.heard(), at(20));
        assert_eq!(attempt.poll(20), Step::Wait);
    }
}

#[test]
fn an_error_for_the_caller_changes_nothing() {
    let mut attempt = Attempt::queued();
    let before = attempt.state;
    attempt.answered(AcquireReply::Busy { more: false }, 2_000_000, 10, 20);
    assert_eq!(attempt.state.heard(), before.heard());
    attempt.answered(AcquireReply::Late, 2_000_000, 10, 20);
    assert_eq!(attempt.state.heard(), at(20), "the server is there");
    assert_eq!(attempt.state.is_queued(), Some(true));
    let unreadable = Event::Answered {
        reply: None,
        stamp: 0,
        sent: at(30),
    };
    attempt.on(Event::Asked { not_after: 1 }, at(30));
    attempt.on(unreadable, at(40));
    assert!(!attempt.state.is_asked(), "it was answered all the same");
    assert_eq!(attempt.state.heard(), at(20));
}

#[test]
fn the_newer_of_two_answers_counts() {
    // Queued by a reply with stamp 1 s, applied 1 ms after the start.
    let after = |stamp, sent| {
        let mut attempt = Attempt::queued();
        attempt.answered(granted(LEASE), stamp, sent, 5);
        attempt.poll(5)
    };
    assert_eq!(after(999_999, 0), Step::Wait, "older");
    assert_eq!(after(1_000_000, 0), Step::HandOut, "of the same moment");
    assert_eq!(
        after(999_999, 1),
        Step::HandOut,
        "asked for after the reply had come"
    );
    assert_eq!(after(999_999, 2), Step::HandOut, "asked for later");
    let mut held = Attempt::queued();
    held.answered(granted(LEASE), 2_000_000, 2, 3);
    held.hand_out(4);
    held.answered(QUEUED, 3_000_000, 5, 6);
    assert!(
        held.state.held().is_some(),
        "a guard is out: renewals have the word"
    );
}

#[test]
fn a_grant_message_counts_only_for_a_waiter() {
    let mut attempt = Attempt::queued();
    attempt.granted_by_message(999_999, 5);
    assert_eq!(attempt.poll(5), Step::Wait, "older than the place");
    attempt.granted_by_message(1_000_000, 5);
    let lease = attempt.hand_out(5);
    assert!(lease.claim, "it has to be confirmed");
    assert_eq!((lease.token, lease.weight, lease.start), (7, 1, at(5)));
    let before = attempt.state;
    assert!(!attempt.granted_by_message(2_000_000, 6).wake);
    assert_eq!(attempt.state, before, "its guard is out");
}

#[test]
fn a_grant_by_message_may_be_for_later_or_for_an_upgrade() {
    let message = Message::Grant {
        counter: 1,
        token: 7,
        stamp: 2_000_000,
        window: LEASE * 2,
        delay: ms(50),
    };
    let handed_out = |upgrade| {
        let mut attempt = Attempt::queued();
        attempt.rules.upgrade = upgrade;
        attempt.on(Event::Told(message), at(1000));
        let deadline = at(1000) + less_margin(&attempt, LEASE);
        (attempt.hand_out(1001), deadline)
    };
    for upgrade in [false, true] {
        let (lease, deadline) = handed_out(upgrade);
        assert_eq!(lease.claim, !upgrade, "of an upgrade, the hold itself is renewed");
        assert_eq!(lease.start, at(1050));
        let deadline = if upgrade { Moment::NEVER } else { deadline };
        assert_eq!(lease.deadline, deadline, "never more than its lease");
    }
}

#[test]
fn a_message_about_the_claim_before_is_a_place_in_the_queue() {
    let behind = |attempt: &mut Attempt, stamp| {
        let message = Message::Behind {
            counter: 1,
            left: ms(300),
            stamp,
        };
        let effects = attempt.on(Event::Told(message), at(20));
        let look = LookAt {
            when: at(320),
            stamp,
            sent: None,
            is_next_step: false,
        };
        assert_eq!(effects.look_at, Some(look));
        attempt.state.is_queued()
    };
    assert_eq!(
        behind(&mut Attempt::new(), 1),
        Some(true),
        "it overtook the reply"
    );
    let mut asks = Attempt::queued();
    asks.granted_by_message(1_000_000, 4);
    asks.on(Event::ConfirmFailed, at(5));
    assert_eq!(asks.state.is_queued(), Some(false), "the place is in doubt");
    assert_eq!(behind(&mut asks, 999_999), Some(false), "old");
    assert_eq!(behind(&mut asks, 1_000_000), Some(true), "new");
    let mut granted = Attempt::queued();
    granted.granted_by_message(2_000_000, 10);
    assert_eq!(behind(&mut granted, 3_000_000), None, "it has its grant");
}

#[test]
fn requests_under_way_are_counted() {
    let mut attempt = Attempt::new();
    assert!(!attempt.state.is_asked());
    assert_eq!(attempt.state.not_after(), 0);
    attempt.on(Event::Asked { not_after: 9 }, at(0));
    attempt.on(Event::Asked { not_after: 5 }, at(0));
    assert!(attempt.state.is_asked());
    assert_eq!(attempt.state.not_after(), 9, "the latest");
    assert_eq!(attempt.state.tombstone(&attempt.rules), 9);
    let off = attempt.rules.without(Rule::Tombstone);
    assert_eq!(attempt.state.tombstone(&off), 0, "without the rule");
    attempt.on(Event::NotAsked, at(0));
    attempt.on(Event::NotAsked, at(0));
    assert!(!attempt.state.is_asked());
    assert_eq!(attempt.state.tombstone(&attempt.rules), 0);
    assert_eq!(attempt.state.not_after(), 9, "it is remembered");
}

#[test]
fn an_attempt_remembers_whether_an_answer_was_applied() {
    let mut attempt = Attempt::new();
    assert!(!attempt.state.has_heard());
    attempt.answered(AcquireReply::Late, 5, 0, 1);
    assert!(!attempt.state.has_heard(), "nothing was applied");
    attempt.answered(QUEUED, 5, 0, 1);
    assert!(attempt.state.has_heard());
    attempt.granted_by_message(5, 2);
    attempt.on(Event::ConfirmFailed, at(2));
    assert_eq!(attempt.poll(2), Step::Ask);
    assert!(attempt.state.has_heard(), "it was in the queue");
    let mut first = Attempt::new();
    first.answered(QUEUED, 0, 0, 1);
    assert!(first.state.has_heard(), "whatever the stamp");
}

/// The hold is its base's. If the keeper asked for the upgrade's, it would hear that there is none,
/// and end the upgrade, which undoes it.
#[test]
fn an_upgrade_that_is_granted_is_neither_renewed_nor_confirmed() {
    let mut upgrade = Attempt::new();
    upgrade.rules.upgrade = true;
    let grant = Grant {
        token: 7,
        left: WINDOW,
        claim: true,
        weight: None,
        delay: None,
    };
    upgrade.answered(AcquireReply::Granted(grant), 1, 0, 0);
    upgrade.hand_out(0);
    for time in [0, 500, 60_000] {
        let scanned = upgrade.on(Event::Scanned, at(time));
        assert_eq!((scanned.renew, scanned.lost), (None, None), "after {time} ms");
    }
    upgrade.on(Event::Hold(HoldEvent::Left), at(60_000));
    assert!(upgrade.state.is_gone(), "nothing is left to confirm");
}
