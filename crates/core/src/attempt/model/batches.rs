//! The acquires of two attempts in one request.

use super::bounds::{Bounds, Faults, Law, Laws, Want};
use super::properties::ENDED;
use super::{breaks, holds};

const TOGETHER: Bounds = Bounds {
    laws: Laws::ALL,
    without: None,
    faults: Faults::NONE,
    capacity: 1,
    wants: &[Want::ALL; 2],
    in_order: true,
    last_tick: 3,
    lease: 3,
    window: 2,
    grace: 1,
    patience: 3,
    forget: 0,
    timers: false,
    cancel: true,
    batched: true,
    same_thread: false,
    passed_on: false,
    contended: 0,
};

/// The outcome of a batch may be unknown while it is under way.
const UNKNOWN: Bounds = Bounds {
    faults: Faults {
        timeouts: 1,
        ..Faults::NONE
    },
    ..TOGETHER
};

#[test]
fn two_that_go_together_in_part() {
    holds("two together", TOGETHER, 1_200_000);
}

#[test]
fn a_batch_with_an_unknown_outcome_in_part() {
    let faults = Faults {
        lost: 1,
        timeouts: 1,
        ..Faults::NONE
    };
    let bounds = Bounds {
        faults,
        last_tick: 2,
        ..TOGETHER
    };
    holds("two together, one lost, one late", bounds, 1_200_000);
}

/// The tombstone of the one whose time is over first does not outlive the request that both are in.
#[test]
fn the_least_not_after_counts_for_all() {
    let bounds = Bounds {
        wants: &[Want::ALL; 3],
        last_tick: 2,
        ..TOGETHER
    };
    breaks(
        "the least not_after",
        bounds.unlawful(Law::LeastNotAfter),
        &[ENDED],
    );
}

/// The batch arrives after the answer to the request that was sent because its outcome was unknown.
#[test]
fn a_batch_with_an_unknown_outcome_counts_as_one_more_copy() {
    breaks("counting the batch", UNKNOWN.unlawful(Law::CopyCounted), &[ENDED]);
}
