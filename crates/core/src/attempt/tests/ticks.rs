//! Renewals, refreshes of places, and the answers of ticks.

use super::*;
use crate::wire::reply::Why;

/// One whose guard was handed out at its start, for a whole lease.
fn held() -> Attempt {
    let mut attempt = Attempt::new();
    attempt.answered(granted(LEASE), 1_000_000, 0, 0);
    attempt.hand_out(0);
    attempt
}

/// One that was granted by a message, 1 s after the start.
fn claimed() -> Attempt {
    let mut attempt = Attempt::queued();
    attempt.granted_by_message(2_000_000, 1000);
    attempt
}

impl Attempt {
    fn lease(&self) -> Lease {
        *self.state.held().expect("it is held")
    }

    fn ticked(&mut self, asked: Asked, item: TickItem, stamp: u64, (sent, now): (u64, u64)) -> Effects {
        let event = Event::Ticked {
            asked,
            item,
            stamp,
            sent: at(sent),
        };
        self.on(event, at(now))
    }
}

const HOLD: Asked = Asked::Hold {
    token: 7,
    lease: LEASE,
};

#[test]
fn the_keeper_renews_a_due_hold_once() {
    let mut attempt = held();
    let lease = attempt.lease();
    let early = attempt.on(Event::Scanned, at(100));
    assert!(early.held && !early.waits, "{early:?}");
    assert_eq!((early.renew, early.due), (None, lease.due));
    let now = lease.due + ms(5);
    let effects = attempt.on(Event::Scanned, now);
    assert_eq!((effects.renew, effects.late), (Some(7), ms(5)));
    let again = attempt.on(Event::Scanned, now);
    assert_eq!(
        (again.renew, again.due),
        (None, lease.deadline),
        "it is under way"
    );
    let over = attempt.on(Event::TickOver { renewal: true }, now);
    let pause = LEASE / 24;
    assert_eq!((over.due, attempt.lease().due), (now + pause, now + pause));
    assert_eq!(attempt.on(Event::Scanned, now + pause).renew, Some(7));
}

#[test]
fn the_keeper_refreshes_a_waiter() {
    for mut attempt in [Attempt::queued(), claimed()] {
        let effects = attempt.on(Event::Scanned, at(1001));
        assert!(
            effects.waits && !effects.held && effects.renew.is_none(),
            "{effects:?}"
        );
    }
    let effects = Attempt::new().on(Event::Scanned, at(1));
    assert!(!effects.waits && !effects.held, "nothing is known: {effects:?}");
    let mut attempt = Attempt::queued();
    let mut refresh = || attempt.on(Event::Refreshing, at(2)).refresh;
    assert!(refresh() && !refresh(), "one at a time");
    attempt.on(Event::TickOver { renewal: true }, at(3));
    assert!(
        !attempt.on(Event::Refreshing, at(3)).refresh,
        "that was about the hold"
    );
    attempt.on(Event::TickOver { renewal: false }, at(3));
    assert!(attempt.on(Event::Refreshing, at(3)).refresh);
}

#[test]
fn the_end_of_a_refresh_leaves_a_renewal_under_way() {
    let mut attempt = held();
    let due = attempt.lease().due;
    assert!(attempt.on(Event::Scanned, due).renew.is_some());
    attempt.on(Event::TickOver { renewal: false }, due);
    assert_eq!(attempt.on(Event::Scanned, due).renew, None);
}

#[test]
fn the_keeper_ends_a_lost_hold() {
    let mut attempt = held();
    let effects = attempt.on(Event::Scanned, at(10_000));
    assert_eq!(effects.lost, Some(Loss::Expired));
    assert!(
        effects.enqueue && effects.wake && effects.wake_watchers,
        "{effects:?}"
    );
    assert_eq!(attempt.state.held(), None);
    assert!(!attempt.on(Event::Scanned, at(10_001)).enqueue, "once");
}

#[test]
fn a_hold_can_be_changed_under_its_guard() {
    let mut attempt = held();
    let upgraded = HoldEvent::Upgraded { token: 9, weight: 4 };
    attempt.on(Event::Hold(upgraded), at(5));
    let lease = attempt.lease();
    assert_eq!((lease.token, lease.weight), (9, 4));
    assert_eq!(attempt.on(Event::Scanned, lease.due).renew, Some(9));
    let effects = attempt.on(Event::Hold(HoldEvent::Capped(at(500))), at(6));
    let lease = attempt.lease();
    assert_eq!((lease.cap(), lease.deadline), (at(500), at(500)));
    assert_eq!(effects.due, at(500), "it is over then");
    assert_eq!(attempt.check(500), Some(Loss::MaxHold));
}

#[test]
fn a_renewal_sets_when_the_next_is_due() {
    let mut attempt = held();
    let effects = attempt.renewed(3000, 3100);
    let lease = attempt.lease();
    assert_eq!(
        lease.deadline,
        at(3000) + LEASE - attempt.rules.drift.margin(LEASE)
    );
    assert_eq!(lease.due, lease.deadline - LEASE * 2 / 3);
    assert_eq!(effects.due, lease.due);
    assert_eq!(attempt.state.heard(), at(3100));
}

#[test]
fn without_its_rule_a_renewal_overtakes_the_deadline() {
    let mut attempt = held();
    attempt.rules = attempt.rules.without(Rule::DeadlineFirst);
    attempt.renewed(9990, 10_000);
    assert_eq!(attempt.check(10_000), None);
}

#[test]
fn a_tick_confirms_only_the_grant_that_it_names() {
    let other = Asked::Hold {
        token: 6,
        lease: LEASE,
    };
    let mut attempt = held();
    let before = attempt.state;
    attempt.ticked(other, TickItem::Held(LEASE), 2_000_000, (3000, 3001));
    assert_eq!(attempt.state, before, "an earlier grant of the same attempt");
    attempt.ticked(HOLD, TickItem::Held(LEASE), 2_000_000, (3000, 3001));
    let lease = attempt.lease();
    let reach = LEASE.saturating_sub(attempt.rules.drift.margin(LEASE));
    assert_eq!(lease.deadline, at(3000) + reach);
    let longer = TickItem::Held(LEASE * 100);
    attempt.ticked(HOLD, longer, 2_000_000, (3500, 3501));
    assert_eq!(
        attempt.lease().deadline,
        at(3500) + reach,
        "never more than was asked for"
    );
    attempt.rules = attempt.rules.without(Rule::TokenNamed);
    attempt.ticked(other, TickItem::Held(LEASE), 2_000_000, (4000, 4001));
    assert_eq!(attempt.lease().deadline, at(4000) + reach, "without the rule");
}

#[test]
fn a_tick_about_a_place_may_bring_the_grant() {
    let grant = |attempt: &mut Attempt, stamp| {
        let AcquireReply::Granted(grant) = granted(LEASE) else {
            panic!("a grant");
        };
        attempt.ticked(Asked::Place, TickItem::Granted(grant), stamp, (0, 20));
        attempt.poll(20)
    };
    assert_eq!(grant(&mut Attempt::queued(), 2_000_000), Step::HandOut);
    assert_eq!(
        grant(&mut Attempt::queued(), 999_999),
        Step::Wait,
        "an older word"
    );
    let mut off = Attempt::queued();
    off.rules = off.rules.without(Rule::TickReplays);
    assert_eq!(grant(&mut off, 2_000_000), Step::Wait, "without the rule");
}

#[test]
fn a_tick_about_a_place_sets_when_to_look_again() {
    for (wake, more, when) in [
        (None, false, None),
        (Some(ms(300)), false, Some(at(320))),
        (None, true, Some(at(20))),
    ] {
        let mut attempt = claimed();
        let item = TickItem::Queued { wake, more };
        let effects = attempt.ticked(Asked::Place, item, 3_000_000, (10, 20));
        assert_eq!(effects.look_at.map(|look| look.when), when);
        assert_eq!(attempt.state.is_queued(), Some(true), "the claim lapsed");
    }
}

#[test]
fn a_place_that_is_gone_is_requested_again() {
    for item in [TickItem::Gone, TickItem::Lost(Why::Forced), TickItem::Foreign] {
        let mut attempt = Attempt::queued();
        let old = attempt.ticked(Asked::Place, item, 999_999, (0, 20));
        assert!(!old.wake, "an older word");
        assert_eq!(attempt.poll(20), Step::Wait);
        let new = attempt.ticked(Asked::Place, item, 1_000_000, (0, 20));
        assert!(new.wake, "{item:?}");
        assert_eq!(attempt.poll(20), Step::Ask);
    }
}

#[test]
fn the_server_reports_why_a_hold_is_lost() {
    for (why, loss) in [
        (Why::Forced, Loss::Forced),
        (Why::Taken, Loss::Taken),
        (Why::Ended, Loss::Vanished),
    ] {
        let mut attempt = held();
        let effects = attempt.ticked(HOLD, TickItem::Lost(why), 1_003_000, (3, 4));
        assert_eq!((effects.lost, attempt.state.loss()), (Some(loss), Some(loss)));
        assert!(effects.enqueue && effects.wake_watchers, "{effects:?}");
        assert_eq!(attempt.state.held(), None);
        let mut late = held();
        let effects = late.ticked(HOLD, TickItem::Lost(why), 11_000_000, (3, 10_000));
        assert_eq!(effects.lost, Some(Loss::Expired), "its own deadline comes first");
    }
}

#[test]
fn h48_a_hold_that_ended_early_may_have_ended_by_a_clock_step() {
    // The server's clock and ours differ by so much since the grant: stamp 1 s, sent at the start.
    let loss = |ahead: u64| {
        let mut attempt = held();
        let stamp = 1_000_000 + 3_000_000 + ahead;
        attempt
            .ticked(HOLD, TickItem::Lost(Why::Ended), stamp, (3000, 3001))
            .lost
    };
    assert_eq!(loss(0), Some(Loss::Vanished), "not at all");
    assert_eq!(loss(250_000), Some(Loss::Vanished), "drift");
    assert_eq!(loss(250_001), Some(Loss::ClockStep));
}

#[test]
fn a_claim_that_the_server_lacks_is_requested_again() {
    let lost = TickItem::Lost(Why::Ended);
    for (item, failed) in [(lost, false), (TickItem::Failed, true), (TickItem::Foreign, true)] {
        let mut attempt = claimed();
        let effects = attempt.ticked(HOLD, item, 3_000_000, (1001, 1002));
        assert_eq!((effects.failed, effects.wake), (failed, true), "{item:?}");
        assert_eq!(attempt.state.loss(), None, "no guard was out");
        assert_eq!(attempt.poll(1003), Step::Ask);
    }
    let mut attempt = held();
    let effects = attempt.ticked(HOLD, TickItem::Failed, 3_000_000, (3, 4));
    assert!(effects.failed && !effects.wake, "the guard stays");
    assert!(attempt.state.held().is_some());
    let mut attempt = Attempt::queued();
    let before = attempt.state;
    attempt.ticked(HOLD, lost, 3_000_000, (3, 4));
    assert_eq!(attempt.state, before, "there is no hold");
}

#[test]
fn a_hold_that_is_taken_over_is_handed_out() {
    let mut attempt = Attempt::new();
    let nothing = attempt.on(Event::TakenOver, at(0));
    assert_eq!(nothing.step, Step::Wait, "nothing was granted");
    attempt.answered(granted(LEASE), 1, 0, 0);
    assert_eq!(attempt.on(Event::TakenOver, at(0)).step, Step::HandOut);
    let lease = attempt.lease();
    assert_eq!(lease.due, lease.deadline - LEASE * 2 / 3);
}
