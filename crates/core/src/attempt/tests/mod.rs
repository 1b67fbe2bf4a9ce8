//! The transitions of a state, moment by moment.
//!
//! - here: grants, losses and clocks, rule by rule;
//! - `cell`: the tasks that an attempt wakes;
//! - `ends`: dropped attempts, released guards, and the answers to their ends;
//! - `eras`: another server, whose stamps are not compared;
//! - `latch`: the countdown latch;
//! - `lease`: a hold by the client's own account;
//! - `replies`: answers and messages;
//! - `spec`: the values that a spec and its rules derive from a mode;
//! - `ticks`: renewals, refreshes of places, and the answers of ticks.

mod cell;
mod ends;
mod eras;
mod latch;
mod lease;
mod replies;
mod spec;
mod ticks;

use std::time::Duration;

use super::event::{Asked, Effects, Event, HoldEvent, Step};
use super::lease::Lease;
use super::rules::{Rule, Rules};
use super::spec::Spec;
use super::state::State;
use crate::base::clock::Moment;
use crate::types::loss::Loss;
use crate::types::options::Drift;
use crate::wire::message::Message;
use crate::wire::reply::{AcquireReply, Grant, TickItem, Why};

const LEASE: Duration = Duration::from_secs(10);
const WINDOW: Duration = Duration::from_secs(1);
/// When the attempt started.
const START: Moment = Moment::from_nanos(1_000_000_000_000);

/// A state, and what it depends on.
struct Attempt {
    state: State,
    rules: Rules,
}

fn ms(number: u64) -> Duration {
    Duration::from_millis(number)
}

/// So many milliseconds after the start.
fn at(number: u64) -> Moment {
    START + ms(number)
}

impl Attempt {
    fn new() -> Self {
        let drift = Drift {
            parts_per_million: 10_000,
        };
        Self {
            state: State::new(START),
            rules: Rules::of(&Spec::exclusive(LEASE), drift, false),
        }
    }

    /// One that was queued at stamp 1 s, asked for at its start.
    fn queued() -> Self {
        let mut attempt = Self::new();
        attempt.answered(QUEUED, 1_000_000, 0, 1);
        assert_eq!(attempt.state.is_queued(), Some(true), "queued");
        attempt
    }

    fn on(&mut self, event: Event, now: Moment) -> Effects {
        self.state.on(event, now, &self.rules)
    }

    /// An answer with this stamp, µs, to an acquire that was sent and answered so many ms after the start.
    fn answered(&mut self, reply: AcquireReply, stamp: u64, sent: u64, now: u64) -> Effects {
        self.on(Event::Asked { not_after: 1 }, at(sent));
        let event = Event::Answered {
            reply: Some(reply),
            stamp,
            sent: at(sent),
        };
        self.on(event, at(now))
    }

    fn granted_by_message(&mut self, stamp: u64, receipt: u64) -> Effects {
        let message = Message::Grant {
            counter: 1,
            token: 7,
            stamp,
            window: WINDOW,
            delay: Duration::ZERO,
        };
        self.on(Event::Told(message), at(receipt))
    }

    fn renewed(&mut self, sent: u64, now: u64) -> Effects {
        let event = Event::Hold(HoldEvent::Renewed {
            left: LEASE,
            sent: at(sent),
        });
        self.on(event, at(now))
    }

    fn poll(&mut self, now: u64) -> Step {
        self.on(Event::Polled, at(now)).step
    }

    /// The lease that a poll hands out.
    fn hand_out(&mut self, now: u64) -> Lease {
        match self.poll(now) {
            Step::HandOut => *self.state.held().expect("it is held"),
            other => panic!("not handed out: {other:?}"),
        }
    }

    fn check(&mut self, now: u64) -> Option<Loss> {
        self.on(Event::Hold(HoldEvent::Looked), at(now));
        self.state.loss()
    }
}

const QUEUED: AcquireReply = AcquireReply::Queued {
    wake: None,
    more: false,
};

const fn granted(left: Duration) -> AcquireReply {
    AcquireReply::Granted(Grant {
        token: 7,
        left,
        claim: false,
        weight: None,
        delay: None,
    })
}

#[test]
fn rule_4_an_older_queued_does_not_overwrite_a_newer_grant() {
    let mut attempt = Attempt::queued();
    attempt.granted_by_message(3_000_000, 2000);
    attempt.answered(QUEUED, 2_000_000, 900, 2001);
    assert_eq!(
        attempt.state.is_queued(),
        None,
        "the reply is older than the grant"
    );
    attempt.answered(QUEUED, 4_000_000, 2500, 2600);
    assert_eq!(
        attempt.state.is_queued(),
        Some(true),
        "the claim lapsed, and it was put back"
    );
}

#[test]
fn a_rule_that_is_switched_off_does_not_count() {
    let mut attempt = Attempt::queued();
    attempt.rules = attempt.rules.without(Rule::ByStamp);
    attempt.granted_by_message(3_000_000, 2000);
    attempt.answered(QUEUED, 2_000_000, 900, 2001);
    assert_eq!(
        attempt.state.is_queued(),
        Some(true),
        "the older word overwrites the grant"
    );
}

#[test]
fn h49_what_was_asked_after_a_clock_was_set_back_counts() {
    let mut attempt = Attempt::queued();
    // An hour back: its stamps are below that of the queued reply.
    attempt.granted_by_message(5, 10);
    assert_eq!(
        attempt.state.is_queued(),
        Some(true),
        "a message proves nothing then"
    );
    attempt.answered(granted(LEASE), 6, 20, 21);
    assert_eq!(
        attempt.hand_out(22).token,
        7,
        "an answer that was asked for later is newer"
    );
}

#[test]
fn rule_5_a_grant_by_message_starts_when_it_was_made() {
    let mut attempt = Attempt::queued();
    // Granted 2 s after the queued reply's stamp, received 0.4 s later: the process was paused.
    attempt.granted_by_message(3_000_000, 2400);
    let left = attempt.hand_out(2400).left(at(2400));
    assert!(left <= ms(600) && left > ms(550), "{left:?} of the window");
}

#[test]
fn rule_5_a_grant_whose_window_is_over_is_only_a_hint() {
    let mut attempt = Attempt::queued();
    attempt.granted_by_message(3_000_000, 3100);
    assert_eq!(attempt.poll(3100), Step::Ask, "H20: it has to ask");
}

#[test]
fn a_grant_by_message_of_which_little_is_left_is_confirmed_first() {
    let mut attempt = Attempt::queued();
    attempt.granted_by_message(3_000_000, 2600);
    assert_eq!(
        attempt.poll(2600),
        Step::Confirm(7),
        "less than half of the window"
    );
    let held = Event::Ticked {
        asked: Asked::Hold {
            token: 7,
            lease: LEASE,
        },
        item: TickItem::Held(LEASE),
        stamp: 3_700_000,
        sent: at(2600),
    };
    attempt.on(held, at(2700));
    assert!(
        attempt.hand_out(2700).left(at(2700)) > ms(9000),
        "a full lease once it is confirmed"
    );
}

#[test]
fn a_confirmation_that_is_answered_late_counts_if_nothing_was_handed_out() {
    let mut attempt = Attempt::queued();
    attempt.granted_by_message(3_000_000, 2600);
    assert_eq!(attempt.poll(2600), Step::Confirm(7), "little is left");
    let polled = attempt.on(Event::PolledConfirming, at(3600));
    assert_eq!(polled.step, Step::Wait, "its answer is under way");
    let asked = Asked::Hold {
        token: 7,
        lease: LEASE,
    };
    let held = Event::Ticked {
        asked,
        item: TickItem::Held(LEASE),
        stamp: 3_700_000,
        sent: at(2600),
    };
    attempt.on(held, at(3700));
    assert!(attempt.hand_out(3700).left(at(3700)) > ms(8000), "a full lease");
}

#[test]
fn a_newer_grant_by_message_replaces_one_that_nobody_took() {
    let mut attempt = Attempt::queued();
    attempt.granted_by_message(1_010_000, 10);
    attempt.granted_by_message(4_000_000, 3_000);
    attempt.answered(QUEUED, 3_900_000, 2_900, 3_001); // older, and late
    let lease = attempt.hand_out(3_002);
    assert!(lease.deadline > at(3_900), "until {:?}", lease.deadline);
}

#[test]
fn a_grant_by_message_that_comes_twice_counts_once() {
    let mut attempt = Attempt::queued();
    attempt.granted_by_message(1_010_000, 10);
    let effects = attempt.granted_by_message(1_010_000, 700);
    assert!(!effects.wake, "no news");
    assert_eq!(attempt.poll(701), Step::Confirm(7), "most of its window is over");
}

#[test]
fn a_confirmation_that_fails_leaves_a_place_that_a_tick_has_found() {
    let mut attempt = Attempt::queued();
    attempt.granted_by_message(1_010_000, 10);
    assert_eq!(attempt.poll(700), Step::Confirm(7));
    attempt.on(
        Event::Ticked {
            asked: Asked::Place,
            item: TickItem::Queued {
                wake: None,
                more: false,
            },
            stamp: 2_100_000,
            sent: at(1_100),
        },
        at(1_101),
    );
    attempt.on(Event::ConfirmFailed, at(1_102));
    assert_eq!(attempt.state.is_queued(), Some(true), "it keeps its place");
}

#[test]
fn a_confirmation_that_fails_asks_again() {
    let mut attempt = Attempt::queued();
    attempt.granted_by_message(1_010_000, 10);
    assert_eq!(attempt.poll(700), Step::Confirm(7));
    attempt.on(Event::ConfirmFailed, at(1_102));
    assert_eq!(attempt.poll(1_103), Step::Ask);
}

#[test]
fn what_is_being_converted_is_not_lost_when_it_is_replaced() {
    for converting in [true, false] {
        let mut attempt = Attempt::queued();
        attempt.answered(granted(LEASE), 1_010_000, 5, 10);
        attempt.hand_out(11);
        if converting {
            attempt.on(Event::Hold(HoldEvent::Converting), at(12));
        }
        let event = Event::Ticked {
            asked: Asked::Hold {
                token: 7,
                lease: LEASE,
            },
            item: TickItem::Lost(Why::Ended),
            stamp: 1_020_000,
            sent: at(15),
        };
        attempt.on(event, at(20));
        let loss = (!converting).then_some(Loss::Vanished);
        assert_eq!(attempt.state.loss(), loss, "converting: {converting}");
    }
}

#[test]
fn h48_a_grant_from_the_future_is_confirmed_first() {
    let mut attempt = Attempt::queued();
    attempt.granted_by_message(60_000_000, 10);
    assert_eq!(
        attempt.poll(10),
        Step::Confirm(7),
        "the server's clock was set forward"
    );
    assert_eq!(
        attempt.poll(1010),
        Step::Ask,
        "never more than the window from the receipt"
    );
}

#[test]
fn without_a_reply_a_grant_by_message_counts_from_the_first_send() {
    let mut attempt = Attempt::new();
    attempt.granted_by_message(1, 100);
    let lease = attempt.hand_out(100);
    assert!(
        lease.deadline <= START + WINDOW,
        "it cannot have been granted before it was asked for"
    );
}

#[test]
fn rule_9_lost_never_turns_back() {
    let mut attempt = Attempt::new();
    attempt.answered(granted(LEASE), 1, 0, 0);
    attempt.hand_out(0);
    assert_eq!(attempt.check(9000), None, "valid");
    attempt.renewed(9950, 9960);
    assert_eq!(
        attempt.check(9960),
        Some(Loss::Expired),
        "the deadline is looked at first"
    );
    attempt.renewed(9970, 9980);
    assert_eq!(attempt.check(9980), Some(Loss::Expired), "and it stays so");
}

#[test]
fn h28_a_grant_by_reply_counts_from_before_it_was_sent() {
    let mut attempt = Attempt::new();
    attempt.answered(granted(LEASE), 1, 0, 3000);
    // After a backward step the server may say more than a lease.
    let mut stepped = Attempt::new();
    stepped.answered(granted(LEASE * 100), 1, 0, 3000);
    for (mut attempt, what) in [
        (attempt, "less the drift margin"),
        (stepped, "H49: never more than was asked for"),
    ] {
        let deadline = attempt.hand_out(3000).deadline;
        assert!(deadline < START + LEASE - ms(100), "{what}");
    }
}

#[test]
fn a_forced_hold_that_was_not_handed_out_is_asked_for_again() {
    let forced = |stamp| Event::Told(Message::Forced { counter: 1, stamp });
    let mut attempt = Attempt::queued();
    attempt.granted_by_message(2_000_000, 1000);
    let before = attempt.state;
    attempt.on(forced(1_500_000), at(1000));
    assert_eq!(attempt.state, before, "that was an earlier hold");
    let effects = attempt.on(forced(2_500_000), at(1000));
    assert!(effects.wake && !effects.enqueue, "no guard is out: {effects:?}");
    assert_eq!(attempt.state.is_queued(), Some(false), "it has to ask");
    assert_eq!(attempt.state.loss(), None, "a later grant is good");
    // The reply that granted it was overtaken by the news.
    attempt.answered(granted(WINDOW), 2_000_000, 0, 1001);
    assert_eq!(attempt.poll(1001), Step::Ask, "a poll never returns a lost guard");
}

#[test]
fn a_forced_hold_is_lost_and_ended() {
    let mut attempt = Attempt::new();
    attempt.answered(granted(LEASE), 1, 0, 0);
    attempt.hand_out(0);
    let message = Message::Forced { counter: 1, stamp: 2 };
    let effects = attempt.on(Event::Told(message), at(1));
    assert_eq!(effects.lost, Some(Loss::Forced), "it is told at once");
    assert!(effects.enqueue && effects.wake_watchers, "{effects:?}");
    let again = attempt.on(Event::GivenUp, at(2));
    assert!(!again.enqueue, "its guard's drop ends it no second time");
}

#[test]
fn a_watchdog_hold_is_due_at_a_third_and_a_claim_at_a_quarter() {
    let mut attempt = Attempt::new();
    attempt.answered(granted(LEASE), 1, 0, 0);
    let due = attempt.hand_out(0).due.since(START);
    assert!(due > ms(3000) && due < LEASE / 3, "{due:?}");
    let mut attempt = Attempt::queued();
    attempt.granted_by_message(1_000_001, 1);
    let due = attempt.hand_out(1).due.since(START);
    assert!(
        due > ms(200) && due <= ms(251),
        "a quarter of the window: {due:?}"
    );
}

#[test]
fn rule_6_three_quarters_of_a_window_are_left_for_the_answer_to_a_confirmation() {
    // The message takes no time, and a quarter of the window, which is what a round trip may take.
    for late in [0, 250] {
        let mut attempt = Attempt::queued();
        attempt.granted_by_message(3_000_000, 2000 + late);
        let lease = attempt.hand_out(2000 + late);
        let left = lease.deadline.since(lease.due.max(at(2000 + late)));
        assert!(left <= WINDOW * 3 / 4, "{late} ms late: {left:?}");
        assert!(left + ms(12) >= WINDOW * 3 / 4, "{late} ms late: {left:?}"); // the margin
        // What failed may be due again at once, while there is time.
        let now = 2600 + late;
        let effects = attempt.on(Event::TickOver { renewal: true }, at(now));
        let pause = effects.due.since(at(now));
        assert!(pause <= LEASE / 24, "{late} ms late: {pause:?}");
    }
}

#[test]
fn an_end_names_its_last_time_limit_only_while_a_copy_is_under_way() {
    let mut attempt = Attempt::new();
    attempt.on(Event::Asked { not_after: 5 }, at(0));
    attempt.on(Event::Asked { not_after: 9 }, at(1));
    attempt.on(Event::NotAsked, at(2));
    assert_eq!(attempt.state.tombstone(&attempt.rules), 9, "one is under way");
    attempt.on(Event::NotAsked, at(3));
    assert_eq!(attempt.state.tombstone(&attempt.rules), 0, "none is");
}
