//! Dropped attempts, released guards, and the answers to their ends.

use super::*;
use crate::attempt::event::{EndEvent, Ended};
use crate::attempt::rules::NOT_KEPT;
use crate::wire::reply::{Had, TickItem, Why};

impl Attempt {
    fn end(&mut self, event: EndEvent) -> Effects {
        self.on(Event::End(event), at(5))
    }
}

/// One whose end the keeper sends.
fn given_up() -> Attempt {
    let mut attempt = Attempt::queued();
    assert!(
        attempt.on(Event::GivenUp, at(4)).enqueue,
        "the keeper sends the end"
    );
    attempt
}

#[test]
fn a_dropped_attempt_is_ended_once() {
    let mut granted = Attempt::queued();
    granted.granted_by_message(2_000_000, 1000);
    let mut held = Attempt::queued();
    held.granted_by_message(2_000_000, 1000);
    held.hand_out(1000);
    let mut asking = Attempt::new();
    asking.on(Event::Asked { not_after: 1 }, at(1000));
    for mut attempt in [asking, Attempt::queued(), granted, held] {
        let effects = attempt.on(Event::GivenUp, at(1001));
        assert!(
            effects.enqueue && effects.wake_watchers && !effects.free,
            "{effects:?}"
        );
        assert_eq!(attempt.state.held(), None);
        let again = attempt.on(Event::GivenUp, at(1002));
        assert!(!again.enqueue && !again.free, "{again:?}");
        attempt.end(EndEvent::Over(Ended::GaveUp));
        let after = attempt.on(Event::GivenUp, at(1003));
        assert!(!after.enqueue && !after.free, "nothing is left: {after:?}");
    }
}

#[test]
fn an_attempt_that_was_never_sent_leaves_without_an_end() {
    let mut attempt = Attempt::new();
    let effects = attempt.on(Event::GivenUp, at(1000));
    assert!(effects.free && !effects.enqueue, "{effects:?}");
    // A refused request may have been carried out in part.
    let mut refused = Attempt::new();
    refused.on(Event::Asked { not_after: 1 }, at(1000));
    refused.on(Event::NotAsked, at(1000));
    let effects = refused.on(Event::GivenUp, at(1001));
    assert!(effects.enqueue && !effects.free, "{effects:?}");
}

#[test]
fn without_its_rule_nothing_is_ended() {
    let mut asking = Attempt::new();
    asking.rules = asking.rules.without(Rule::EndAsking);
    let mut granted = Attempt::queued();
    granted.granted_by_message(2_000_000, 1000);
    granted.rules = granted.rules.without(Rule::EndGranted);
    for mut attempt in [asking, granted] {
        let effects = attempt.on(Event::GivenUp, at(1001));
        assert!(
            !effects.enqueue && effects.free && effects.wake_watchers,
            "{effects:?}"
        );
    }
}

#[test]
fn an_end_that_finds_nothing_may_be_a_copy_of_one_that_did() {
    let ended = |sent: usize, not_sent: usize, had| {
        let mut attempt = given_up();
        for _ in 0..sent {
            attempt.end(EndEvent::Sent);
        }
        for _ in 0..not_sent {
            attempt.end(EndEvent::NotSent);
        }
        attempt.end(EndEvent::Answered(had)).ended
    };
    for nothing in [Had::Nothing, Had::Foreign] {
        assert_eq!(ended(1, 0, nothing), Some(Ended::HadNothing), "the only copy");
        assert_eq!(ended(2, 0, nothing), Some(Ended::GaveUp), "a copy was lost");
        assert_eq!(ended(2, 1, nothing), Some(Ended::HadNothing), "it was not sent");
    }
    for copies in [1, 2] {
        assert_eq!(
            ended(copies, 0, Had::Forced),
            Some(Ended::Forced),
            "it held until then"
        );
    }
    for something in [Had::Hold, Had::Place] {
        assert_eq!(ended(1, 0, something), Some(Ended::GaveUp));
    }
}

#[test]
fn the_result_of_an_end_is_final() {
    for ended in [Ended::GaveUp, Ended::HadNothing, Ended::Unknown] {
        let mut attempt = given_up();
        assert_eq!(attempt.state.ended(), None, "not known yet");
        let effects = attempt.end(EndEvent::Over(ended));
        assert!(
            effects.free && effects.wake && effects.wake_watchers,
            "{effects:?}"
        );
        assert_eq!(attempt.state.ended(), Some(ended));
    }
    let mut attempt = given_up();
    attempt.end(EndEvent::Over(Ended::GaveUp));
    attempt.end(EndEvent::Sent);
    let copy = attempt.end(EndEvent::Answered(Had::Nothing));
    assert_eq!(copy.ended, Some(Ended::GaveUp), "an earlier copy did it");
    attempt.end(EndEvent::Over(Ended::Unknown));
    assert_eq!(attempt.state.ended(), Some(Ended::GaveUp));
}

#[test]
fn a_guard_that_is_released_by_its_caller_is_not_renewed() {
    let mut attempt = Attempt::new();
    attempt.answered(granted(LEASE), 1, 0, 0);
    attempt.hand_out(0);
    let effects = attempt.on(Event::Hold(HoldEvent::Releasing { until: NOT_KEPT }), at(5));
    assert!(
        effects.wake_watchers && !effects.enqueue,
        "the caller sends it: {effects:?}"
    );
    assert_eq!((attempt.state.held(), attempt.state.loss()), (None, None));
    assert_eq!(attempt.on(Event::Scanned, at(9000)).renew, None);
    assert!(
        attempt.on(Event::GivenUp, at(9000)).enqueue,
        "the caller gives up"
    );
}

#[test]
fn a_guard_that_is_released_too_late_is_lost() {
    let mut attempt = Attempt::new();
    attempt.answered(granted(LEASE), 1, 0, 0);
    attempt.hand_out(0);
    let effects = attempt.on(Event::Hold(HoldEvent::Releasing { until: NOT_KEPT }), at(10_000));
    assert_eq!(effects.lost, Some(Loss::Expired));
    assert!(attempt.state.held().is_some(), "the keeper ends it");
}

#[test]
fn a_guard_that_is_left_is_not_ended() {
    let mut attempt = Attempt::new();
    attempt.answered(granted(LEASE), 1, 0, 0);
    attempt.hand_out(0);
    let effects = attempt.on(Event::Hold(HoldEvent::Left), at(5));
    assert!(effects.free && !effects.enqueue, "{effects:?}");
    assert_eq!((attempt.state.held(), attempt.state.ended()), (None, None));
}

#[test]
fn a_closing_client_releases_its_holds() {
    let held = || {
        let mut attempt = Attempt::new();
        attempt.answered(granted(LEASE), 1, 0, 0);
        attempt.hand_out(0);
        attempt
    };
    for (mut attempt, closing, loss) in [
        (held(), true, Some(Loss::Closed)),
        (held(), false, None),
        (Attempt::queued(), true, None),
        (Attempt::queued(), false, None),
    ] {
        assert!(!attempt.state.is_closed());
        let effects = attempt.on(Event::ClientClosed { closing }, at(5));
        assert!(effects.wake && attempt.state.is_closed());
        assert_eq!((effects.lost, attempt.state.loss()), (loss, loss));
        assert_eq!(attempt.poll(6), Step::Closed);
    }
}

/// A claim whose guard is left before it was confirmed.
fn leaving() -> Attempt {
    let mut attempt = Attempt::queued();
    attempt.granted_by_message(2_000_000, 1000);
    attempt.hand_out(1000);
    let effects = attempt.on(Event::Hold(HoldEvent::Left), at(1001));
    assert!(
        effects.enqueue && effects.wake_watchers && !effects.free,
        "{effects:?}"
    );
    assert_eq!(attempt.state.held(), None, "nobody can rely on it");
    assert!(attempt.state.leaving().is_some(), "it is to be confirmed");
    let again = attempt.on(Event::GivenUp, at(1002));
    assert!(
        !again.enqueue && !again.free,
        "it was left, and not given up: {again:?}"
    );
    attempt
}

fn confirmation(item: TickItem) -> Event {
    Event::Ticked {
        asked: Asked::Hold {
            token: 7,
            lease: LEASE,
        },
        item,
        stamp: 3_000_000,
        sent: at(1003),
    }
}

#[test]
fn a_claim_that_is_left_is_confirmed_and_then_nothing_of_it_is_left_here() {
    let mut attempt = leaving();
    let effects = attempt.on(confirmation(TickItem::Held(LEASE)), at(1004));
    assert!(effects.free && !effects.enqueue, "{effects:?}");
    assert!(attempt.state.is_gone(), "its hold ends with its lease");
    assert_eq!(attempt.state.loss(), None, "that is no loss");
}

#[test]
fn a_claim_that_is_left_and_lapsed_is_ended() {
    let mut refused = leaving();
    let effects = refused.on(confirmation(TickItem::Lost(Why::Ended)), at(1004));
    assert!(
        !effects.enqueue && !effects.free,
        "who confirms goes on: {effects:?}"
    );
    let mut unanswered = leaving();
    unanswered.end(EndEvent::NotConfirmed);
    for mut attempt in [refused, unanswered] {
        assert!(attempt.state.leaving().is_none() && !attempt.state.is_gone());
        attempt.end(EndEvent::Sent);
        attempt.end(EndEvent::Answered(Had::Place));
        let effects = attempt.end(EndEvent::Over(Ended::GaveUp));
        assert!(effects.free, "its place is gone, too");
    }
}

#[test]
fn a_hold_that_was_confirmed_is_left_at_once() {
    let mut attempt = Attempt::new();
    attempt.answered(granted(LEASE), 1, 0, 0);
    attempt.hand_out(0);
    let effects = attempt.on(Event::Hold(HoldEvent::Left), at(1));
    assert!(effects.free && !effects.enqueue, "{effects:?}");
}

#[test]
fn a_hold_is_kept_until_the_later_of_both_times() {
    let keeping = || {
        let mut attempt = Attempt::new();
        attempt.rules.at_least = Some(ms(500));
        attempt.answered(granted(LEASE), 1, 0, 0);
        attempt.hand_out(0);
        attempt
    };
    for (until, expected) in [(NOT_KEPT, 500), (at(400), 500), (at(600), 600)] {
        let mut attempt = keeping();
        attempt.on(Event::Hold(HoldEvent::Releasing { until }), at(5));
        assert_eq!(attempt.state.kept_until(), at(expected), "released");
        attempt.on(Event::GivenUp, at(6));
        assert_eq!(attempt.state.kept_until(), at(expected), "and then dropped");
    }
    let mut attempt = keeping();
    attempt.on(Event::GivenUp, at(5));
    assert_eq!(attempt.state.kept_until(), at(500), "dropped");
    let mut attempt = keeping();
    attempt.on(Event::Scanned, at(10_000));
    assert_eq!(attempt.state.kept_until(), at(500), "lost");
}

#[test]
fn a_hold_is_not_kept_past_its_maximum() {
    let capped = |at_least| {
        let mut attempt = Attempt::new();
        attempt.rules.at_least = at_least;
        attempt.answered(granted(LEASE), 1, 0, 0);
        attempt.hand_out(0);
        attempt.on(Event::Hold(HoldEvent::Capped(at(450))), at(1));
        attempt
    };
    for (until, least) in [
        (at(600), None),
        (NOT_KEPT, Some(ms(500))),
        (at(600), Some(ms(500))),
    ] {
        let mut attempt = capped(least);
        attempt.on(Event::Hold(HoldEvent::Releasing { until }), at(5));
        assert_eq!(attempt.state.kept_until(), at(450), "released");
    }
    let mut attempt = capped(Some(ms(500)));
    attempt.on(Event::GivenUp, at(5));
    assert_eq!(attempt.state.kept_until(), at(450), "dropped");
    let mut attempt = capped(None);
    attempt.on(Event::Hold(HoldEvent::Releasing { until: at(400) }), at(5));
    assert_eq!(attempt.state.kept_until(), at(400), "before its maximum");
}
