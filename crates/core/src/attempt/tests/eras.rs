//! A different server has taken over.

use super::*;
use crate::attempt::rules::Rule;

#[test]
fn a_grant_of_a_server_whose_clock_is_behind_is_no_older_one() {
    for (rule_holds, granted) in [(true, true), (false, false)] {
        let mut attempt = Attempt::queued();
        if !rule_holds {
            attempt.rules = attempt.rules.without(Rule::NewEra);
        }
        attempt.on(Event::ServerChanged { late: false }, at(500));
        attempt.granted_by_message(200_000, 600); // the other one had said 1 s
        assert_eq!(
            attempt.state.is_queued().is_none(),
            granted,
            "by rule: {rule_holds}"
        );
    }
}

#[test]
fn a_grant_of_another_server_counts_from_the_last_request_before() {
    let mut attempt = Attempt::queued();
    attempt.on(Event::ServerChanged { late: false }, at(300));
    // Its clock is ahead: by the stamps this would be two seconds after that request.
    attempt.granted_by_message(3_000_000, 400);
    let lease = attempt.hand_out(400);
    let margin = attempt.rules.drift.margin(WINDOW);
    assert_eq!(lease.deadline, at(0) + WINDOW - margin, "not from its receipt");
}

#[test]
fn what_was_heard_stays_heard() {
    let mut attempt = Attempt::queued();
    attempt.on(Event::ServerChanged { late: false }, at(500));
    let asked = Event::Ticked {
        asked: Asked::Place,
        item: TickItem::Gone,
        stamp: 5,
        sent: at(501),
    };
    attempt.on(asked, at(502));
    assert_eq!(attempt.state.is_queued(), Some(false), "it asks again");
    assert!(attempt.state.has_heard(), "but is none that never was answered");
    let mut fresh = Attempt::new();
    fresh.on(Event::ServerChanged { late: false }, at(500));
    assert!(!fresh.state.has_heard(), "that one is");
}

#[test]
fn a_hold_that_is_renewed_is_renewed_at_once() {
    let mut attempt = Attempt::new();
    attempt.answered(granted(LEASE), 1, 0, 0);
    attempt.hand_out(0);
    assert_eq!(
        attempt.on(Event::Scanned, at(100)).renew,
        None,
        "it was just made"
    );
    assert_eq!(
        attempt.on(Event::ServerChanged { late: false }, at(100)).due,
        at(100),
        "now"
    );
    assert_eq!(attempt.on(Event::Scanned, at(100)).renew, Some(7), "by its token");
}

#[test]
fn a_hold_that_is_not_renewed_stays_as_it_is() {
    let mut attempt = Attempt::new();
    attempt.rules.renews = false;
    attempt.answered(granted(LEASE), 1, 0, 0);
    let lease = attempt.hand_out(0);
    assert_eq!(
        attempt.on(Event::ServerChanged { late: false }, at(100)).due,
        Moment::NEVER,
        "nothing to do"
    );
    assert_eq!(
        attempt.on(Event::Scanned, at(100)).renew,
        None,
        "its user's to extend"
    );
    assert_eq!(attempt.state.held(), Some(&lease), "unchanged");
}

#[test]
fn a_renewal_that_is_due_already_does_not_move() {
    let mut attempt = Attempt::new();
    attempt.answered(granted(LEASE), 1, 0, 0);
    attempt.hand_out(0);
    let due = attempt.state.held().expect("held").due;
    attempt.on(Event::ServerChanged { late: false }, due + ms(50));
    assert_eq!(attempt.state.held().expect("held").due, due, "overdue as it was");
}

#[test]
fn a_grant_that_nobody_has_taken_is_confirmed_first() {
    let mut attempt = Attempt::new();
    attempt.answered(granted(LEASE), 1, 0, 0);
    attempt.on(Event::ServerChanged { late: false }, at(100));
    assert_eq!(
        attempt.poll(100),
        Step::Confirm(7),
        "the other server may not have it"
    );
    let mut upgrade = Attempt::new();
    upgrade.rules.upgrade = true;
    upgrade.answered(granted(LEASE), 1, 0, 0);
    upgrade.on(Event::ServerChanged { late: false }, at(100));
    assert_eq!(upgrade.poll(100), Step::HandOut, "its base is what is renewed");
}

/// A node of a cluster takes over: what it has not got may have been promised by the one before.
#[test]
fn a_message_that_may_be_late_is_confirmed_first() {
    for (late, step) in [(false, Step::HandOut), (true, Step::Confirm(7))] {
        let mut attempt = Attempt::queued();
        attempt.on(Event::ServerChanged { late }, at(100));
        let message = Message::Grant {
            counter: 1,
            token: 7,
            stamp: 200_000,
            window: WINDOW,
            delay: Duration::ZERO,
        };
        attempt.on(Event::Told(message), at(200));
        assert_eq!(attempt.on(Event::Polled, at(201)).step, step, "late: {late}");
    }
}

#[test]
fn an_answer_that_may_be_late_makes_it_ask_again() {
    for (sent, queued) in [(99, Some(false)), (101, None)] {
        let mut attempt = Attempt::queued();
        attempt.on(Event::ServerChanged { late: true }, at(100));
        let grant = Grant {
            token: 7,
            left: LEASE,
            claim: false,
            weight: None,
            delay: None,
        };
        let ticked = Event::Ticked {
            asked: Asked::Place,
            item: TickItem::Granted(grant),
            stamp: 5_000_000,
            sent: at(sent),
        };
        attempt.on(ticked, at(150));
        assert_eq!(attempt.state.is_queued(), queued, "sent at {sent}");
    }
}

/// Otherwise nothing of the next node would ever be news to it.
#[test]
fn the_stamp_of_a_late_answer_is_forgotten() {
    let mut attempt = Attempt::queued();
    attempt.on(Event::ServerChanged { late: true }, at(100));
    let ticked = Event::Ticked {
        asked: Asked::Place,
        item: TickItem::Queued {
            wake: None,
            more: false,
        },
        stamp: 5_000_000, // its clock was ahead
        sent: at(99),
    };
    attempt.on(ticked, at(150));
    attempt.granted_by_message(200_000, 200);
    assert_eq!(attempt.state.is_queued(), None, "granted by the next one");
}
