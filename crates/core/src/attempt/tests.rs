//! The rules of a state, moment by moment.
#![allow(
    clippy::significant_drop_tightening,
    reason = "each test is one critical section"
)]

use super::*;
use crate::base::clock::Moment;

const LEASE: Duration = Duration::from_secs(10);
const WINDOW: Duration = Duration::from_secs(1);
const DRIFT: Drift = Drift {
    parts_per_million: 10_000,
};

fn attempt() -> Attempt {
    let spec = Spec::exclusive(LEASE);
    let name = Name::new(b"a").expect("a name");
    Attempt::new("c.1:1:10000:1000".into(), 1, b"k".as_slice().into(), name, spec)
}

fn ms(number: u64) -> Duration {
    Duration::from_millis(number)
}

const fn us(time: Duration) -> u64 {
    time.as_secs() * 1_000_000 + time.subsec_micros() as u64
}

/// An attempt that was queued at stamp 1 s, asked for at its start.
fn queued() -> (Attempt, Moment) {
    let attempt = attempt();
    let start = Moment::now();
    let mut state = attempt.state();
    state.apply(
        Standing::Queued,
        1_000_000,
        start,
        start + ms(1),
        &attempt.spec,
        DRIFT,
    );
    assert_eq!(state.stage, Stage::Queued, "queued");
    drop(state);
    (attempt, start)
}

fn granted(left: Duration) -> Standing {
    Standing::Granted {
        token: 7,
        left,
        claim: false,
        delay: None,
    }
}

#[test]
fn rule_4_an_older_queued_does_not_overwrite_a_newer_grant() {
    let (attempt, start) = queued();
    let mut state = attempt.state();
    state.apply_message(7, 3_000_000, WINDOW, start + ms(2000), &attempt.spec, DRIFT);
    assert_eq!(state.stage, Stage::Granted, "by message");
    state.apply(
        Standing::Queued,
        2_000_000,
        start + ms(900),
        start + ms(2001),
        &attempt.spec,
        DRIFT,
    );
    assert_eq!(state.stage, Stage::Granted, "the reply is older");
    state.apply(
        Standing::Queued,
        4_000_000,
        start + ms(2500),
        start + ms(2600),
        &attempt.spec,
        DRIFT,
    );
    assert_eq!(
        state.stage,
        Stage::Queued,
        "the claim lapsed, and it was put back"
    );
}

#[test]
fn h49_what_was_asked_after_a_clock_was_set_back_counts() {
    let (attempt, start) = queued();
    let mut state = attempt.state();
    // An hour back: its stamps are below that of the queued reply.
    state.apply_message(7, 5, WINDOW, start + ms(10), &attempt.spec, DRIFT);
    assert_eq!(state.stage, Stage::Queued, "a message proves nothing then");
    state.apply(
        granted(LEASE),
        6,
        start + ms(20),
        start + ms(21),
        &attempt.spec,
        DRIFT,
    );
    assert_eq!(state.stage, Stage::Granted, "a tick that was sent later is newer");
}

#[test]
fn rule_5_a_grant_by_message_starts_when_it_was_made() {
    let (attempt, start) = queued();
    let mut state = attempt.state();
    // Granted 2 s after the queued reply's stamp, received 0.4 s later: the process was paused.
    state.apply_message(7, us(ms(3000)), WINDOW, start + ms(2400), &attempt.spec, DRIFT);
    let left = state.deadline.since(start + ms(2400));
    assert!(left <= ms(600) && left > ms(550), "{left:?} of the window");
    assert!(!state.confirm_first, "no clock step");
}

#[test]
fn rule_5_a_grant_whose_window_is_over_is_only_a_hint() {
    let (attempt, start) = queued();
    let mut state = attempt.state();
    state.apply_message(7, us(ms(3000)), WINDOW, start + ms(3100), &attempt.spec, DRIFT);
    assert_eq!(state.stage, Stage::Asking, "H20: it has to ask");
}

#[test]
fn h48_a_grant_from_the_future_is_confirmed_first() {
    let (attempt, start) = queued();
    let mut state = attempt.state();
    state.apply_message(7, us(ms(60_000)), WINDOW, start + ms(10), &attempt.spec, DRIFT);
    assert!(state.confirm_first, "the server's clock was set forward");
    assert!(
        state.deadline <= start + ms(10) + WINDOW,
        "never more than the window from the receipt"
    );
}

#[test]
fn without_a_reply_a_grant_by_message_counts_from_the_first_send() {
    let attempt = attempt();
    let mut state = attempt.state();
    let started = state.started;
    state.apply_message(7, 1, WINDOW, started + ms(100), &attempt.spec, DRIFT);
    assert!(
        state.deadline <= started + WINDOW,
        "it cannot have been granted before it was asked for"
    );
}

#[test]
fn rule_9_lost_never_turns_back() {
    let attempt = attempt();
    let mut state = attempt.state();
    let start = Moment::now();
    state.apply(granted(LEASE), 1, start, start, &attempt.spec, DRIFT);
    state.take(start, &attempt.spec);
    assert_eq!(state.check(start + ms(9000)), None, "valid");
    state.renewed(LEASE, start + ms(9950), start + ms(9960), DRIFT);
    assert_eq!(
        state.check(start + ms(9960)),
        Some(Loss::Expired),
        "the deadline is looked at first"
    );
    state.renewed(LEASE, start + ms(9970), start + ms(9980), DRIFT);
    assert_eq!(
        state.check(start + ms(9980)),
        Some(Loss::Expired),
        "and it stays so"
    );
}

#[test]
fn h28_a_grant_by_reply_counts_from_before_it_was_sent() {
    let attempt = attempt();
    let mut state = attempt.state();
    let sent = Moment::now();
    state.apply(granted(LEASE), 1, sent, sent + ms(3000), &attempt.spec, DRIFT);
    assert!(state.deadline < sent + LEASE - ms(100), "less the drift margin");
    // After a backward step the server may say more than a lease.
    state.apply(
        granted(LEASE * 100),
        2,
        sent,
        sent + ms(3001),
        &attempt.spec,
        DRIFT,
    );
    assert!(
        state.deadline < sent + LEASE,
        "H49: never more than was asked for"
    );
}

#[test]
fn a_forced_hold_that_was_not_handed_out_is_asked_for_again() {
    let (attempt, start) = queued();
    let mut state = attempt.state();
    state.apply_message(7, 2_000_000, WINDOW, start + ms(1000), &attempt.spec, DRIFT);
    assert!(!state.apply_forced(1_500_000), "that was an earlier hold");
    assert_eq!(state.stage, Stage::Granted, "untouched");
    assert!(!state.apply_forced(2_500_000), "no guard is out");
    assert_eq!(state.stage, Stage::Asking, "a poll never returns a lost guard");
    assert_eq!(state.loss, None, "a later grant is good");
    // The reply that granted it was overtaken by the news.
    state.apply(
        granted(WINDOW),
        2_000_000,
        start,
        start + ms(1001),
        &attempt.spec,
        DRIFT,
    );
    assert_eq!(state.stage, Stage::Asking, "still");
}

#[test]
fn a_watchdog_hold_is_due_at_a_third_and_a_claim_at_half() {
    let attempt = attempt();
    let mut state = attempt.state();
    let start = Moment::now();
    state.apply(granted(LEASE), 1, start, start, &attempt.spec, DRIFT);
    state.take(start, &attempt.spec);
    let due = state.due.since(start);
    assert!(due > ms(3000) && due < LEASE / 3, "{due:?}");
    let (attempt, start) = queued();
    let mut state = attempt.state();
    state.apply_message(7, 1_000_001, WINDOW, start + ms(1), &attempt.spec, DRIFT);
    state.take(start + ms(1), &attempt.spec);
    let due = state.due.since(start);
    assert!(due > ms(450) && due <= ms(501), "half the window: {due:?}");
}

#[test]
fn rule_6_half_a_window_is_left_for_the_answer_to_a_confirmation() {
    // The message takes no time, and a quarter of the window, which is what a round trip may take.
    for late in [0, 250] {
        let (attempt, start) = queued();
        let mut state = attempt.state();
        let receipt = start + ms(2000 + late);
        state.apply_message(7, us(ms(3000)), WINDOW, receipt, &attempt.spec, DRIFT);
        state.take(receipt, &attempt.spec);
        assert_eq!(state.deadline.since(state.due), WINDOW / 2, "{late} ms late");
        // What failed may be due again at once, while there is time.
        state.schedule(receipt + ms(600), &attempt.spec);
        assert_eq!(state.due, receipt + ms(600), "{late} ms late");
    }
}
