//! The transitions of an attempt on a latch.

use std::sync::Arc;

use super::*;
use crate::attempt::ask::LatchAsk;
use crate::attempt::spec::Mode;
use crate::types::latch::OnMissing;
use crate::wire::message::Over;
use crate::wire::reply::LatchReply;

fn ask(by: u32, to: Option<u32>) -> LatchAsk {
    LatchAsk {
        on_missing: OnMissing::Fail,
        by,
        once: None,
        to,
        at_once: false,
        keep: LEASE,
        adopts: false,
    }
}

/// One that counts down by so many; by 0 it only waits.
fn attempt(by: u32) -> Attempt {
    let mut attempt = Attempt::new();
    let mode = Mode::Latch(Arc::new(ask(by, None)));
    let spec = Spec {
        mode,
        ..Spec::exclusive(LEASE)
    };
    attempt.rules = Rules::of(&spec, attempt.rules.drift, false);
    attempt
}

impl Attempt {
    fn latch(&mut self, reply: LatchReply, now: u64) -> Effects {
        let event = Event::LatchAnswered {
            reply: Some(reply),
            sent: at(now),
        };
        self.on(event, at(now))
    }

    /// It waits for the generation 5.
    fn waits(&mut self) -> Effects {
        let queued = LatchReply::Queued {
            stamp: 1000,
            generation: 5,
        };
        self.latch(queued, 1)
    }

    fn over(&mut self, generation: u64, how: Over, named: bool) -> Effects {
        let event = Event::GenerationOver {
            generation,
            how,
            named,
        };
        self.on(event, at(2))
    }
}

#[test]
fn a_change_of_a_latch_is_told_from_a_wait() {
    for (ask, changes, outcome) in [
        (ask(0, None), false, "the wait is being undone"),
        (ask(1, None), true, "it may or may not have counted"),
        (ask(0, Some(0)), true, "it may or may not have been reset"),
        (ask(1, Some(0)), true, "it may or may not have been reset"),
    ] {
        assert_eq!((ask.changes(), ask.outcome()), (changes, outcome), "{ask:?}");
    }
}

#[test]
fn an_open_latch_lets_an_attempt_pass() {
    let passed = |left, more| LatchReply::Passed {
        stamp: 9,
        generation: 5,
        left,
        refused: false,
        more,
    };
    for (reply, left, more) in [
        (LatchReply::Left(3), 3, false),
        (passed(4, false), 4, false),
        (passed(0, true), 0, true),
        (passed(1 << 32, false), u32::MAX, false),
    ] {
        for mut attempt in [attempt(0), attempt(1)] {
            assert!(attempt.latch(reply, 3).wake);
            assert_eq!(attempt.state.heard(), at(3));
            assert_eq!(attempt.poll(3), Step::Pass { left, more });
            assert!(!attempt.latch(LatchReply::Left(1), 4).wake, "a late copy");
            assert_eq!(attempt.poll(4), Step::Pass { left, more });
        }
    }
}

#[test]
fn a_latch_that_is_not_open_is_waited_for() {
    let mut attempt = attempt(1);
    assert_eq!(attempt.state.latch().generation(), 0, "not known yet");
    assert!(attempt.waits().waits);
    assert_eq!(attempt.state.is_queued(), Some(true));
    let latch = attempt.state.latch();
    assert_eq!((latch.generation(), latch.answered), (5, true));
    assert!(attempt.over(5, Over::Finished, true).wake);
    assert_eq!(attempt.poll(3), Step::Pass { left: 0, more: false });
    assert!(!attempt.over(5, Over::Reset, true).wake, "that was before");
    assert_eq!(attempt.poll(4), Step::Pass { left: 0, more: false });
}

#[test]
fn a_reset_of_the_latch_ends_the_wait() {
    let mut attempt = attempt(0);
    attempt.waits();
    assert!(attempt.over(5, Over::Reset, true).wake);
    assert_eq!(attempt.poll(3), Step::Reset);
}

#[test]
fn a_message_that_names_no_attempt_of_the_latch_is_a_hint() {
    for how in [Over::Finished, Over::Reset] {
        let mut attempt = attempt(0);
        attempt.waits();
        assert!(attempt.over(5, how, false).wake);
        assert_eq!(attempt.poll(3), Step::Ask, "{how:?}");
    }
}

#[test]
fn a_message_about_another_generation_changes_nothing() {
    let mut attempt = attempt(0);
    attempt.waits();
    for generation in [4, 6] {
        assert!(!attempt.over(generation, Over::Finished, true).wake);
        assert_eq!(attempt.state.latch().generation(), 5, "it knows its own");
    }
    assert_eq!(attempt.poll(3), Step::Wait);
}

#[test]
fn a_message_may_overtake_the_answer() {
    let after = |generation, how, named| {
        let mut attempt = attempt(0);
        attempt.over(generation, how, named);
        assert_eq!(attempt.poll(1), Step::Ask, "nothing is known");
        attempt.waits();
        attempt.poll(3)
    };
    assert_eq!(
        after(5, Over::Finished, true),
        Step::Pass { left: 0, more: false }
    );
    assert_eq!(after(5, Over::Reset, true), Step::Reset);
    assert_eq!(after(4, Over::Reset, true), Step::Wait, "an earlier one");
    assert_eq!(after(5, Over::Reset, false), Step::Wait, "maybe of another latch");
}

#[test]
fn a_change_that_was_late_is_unsure_while_a_copy_is_under_way() {
    let late = |attempt: &mut Attempt, copies: u64| {
        for not_after in 1..=copies {
            attempt.on(Event::Asked { not_after }, at(0));
        }
        let effects = attempt.latch(LatchReply::Late { stamp: 1 }, 7);
        assert_eq!(attempt.state.heard(), at(7), "it is an answer");
        (effects.unsure, attempt.state.not_after())
    };
    assert_eq!(late(&mut attempt(1), 1), (false, 0), "nothing was done");
    assert_eq!(late(&mut attempt(1), 2), (true, 2), "the other copy may do it");
    assert_eq!(late(&mut attempt(0), 1), (false, 1), "a wait may run twice");
    assert_eq!(late(&mut attempt(0), 2), (false, 2), "a wait may run twice");
    let mut answered = attempt(1);
    answered.waits();
    assert_eq!(late(&mut answered, 2), (false, 2), "it is done already");
    // A lock's attempt never gets such an answer.
    assert_eq!(late(&mut Attempt::new(), 2), (false, 2));
}
