//! Holds that do not exclude each other: readers, those of one owner, and a shared hold that
//! becomes exclusive.

use super::bounds::{Bounds, Faults, Law, Laws, Want};
use super::properties::{BACKED, BASE, ENDED, SERVED};
use super::{breaks, holds};

/// Two readers and a writer, from the start.
const READERS: Bounds = Bounds {
    laws: Laws::ALL,
    without: None,
    faults: Faults::NONE,
    capacity: 2,
    wants: &[Want::share(1), Want::share(1), Want::share(2)],
    in_order: true,
    last_tick: 2,
    lease: 3,
    window: 2,
    grace: 1,
    patience: 3,
    forget: 0,
    timers: false,
    cancel: true,
    batched: false,
    same_thread: false,
    passed_on: false,
    contended: 2,
};

/// An owner holds, somebody else waits, and the owner asks again.
const REENTRY: Bounds = Bounds {
    capacity: 1,
    wants: &[Want::of(0), Want::of(1), Want::of(0)],
    cancel: false,
    ..READERS
};

/// Somebody holds, and an owner waits twice, with somebody else in between.
const OWNER_WAITS: Bounds = Bounds {
    wants: &[Want::of(0), Want::of(1), Want::of(2), Want::of(1)],
    contended: 4,
    last_tick: 1,
    ..REENTRY
};

/// Two readers, one of which wants everything, and a writer.
const UPGRADE: Bounds = Bounds {
    wants: &[
        Want::share(1),
        Want::share(1),
        Want::upgrade(0, 2),
        Want::share(2),
    ],
    in_order: false,
    cancel: false,
    ..READERS
};

/// A reader wants everything, gives that up, and wants it again.
const UPGRADE_TWICE: Bounds = Bounds {
    wants: &UPGRADE_AGAIN,
    contended: 1,
    cancel: true,
    ..UPGRADE
};

const UPGRADE_AGAIN: [Want; 3] = [Want::share(1), Want::upgrade(0, 2), Want::upgrade(0, 2).after(1)];

// ---- with all rules, nothing breaks ----

#[test]
fn readers_and_a_writer_in_part() {
    holds("readers and a writer", READERS, 800_000);
}

#[test]
fn a_writer_behind_readers_and_a_lost_packet_in_part() {
    let faults = Faults {
        lost: 1,
        ..Faults::NONE
    };
    let bounds = Bounds {
        faults,
        contended: 3,
        ..READERS
    };
    holds("readers, a writer waits, one lost", bounds, 800_000);
}

#[test]
fn an_owner_that_asks_again_in_part() {
    holds("an owner that asks again", REENTRY, 800_000);
}

#[test]
fn an_owner_that_waits_twice_in_part() {
    holds("an owner that waits twice", OWNER_WAITS, 800_000);
}

#[test]
fn an_upgrade_beside_a_reader_and_a_writer_in_part() {
    holds("an upgrade", UPGRADE, 800_000);
}

#[test]
fn an_upgrade_that_is_given_up_and_wanted_again() {
    let bounds = Bounds {
        faults: Faults {
            lost: 1,
            ..Faults::NONE
        },
        ..UPGRADE_TWICE
    };
    holds("an upgrade given up", bounds, 800_000);
}

// ---- without a rule, something does ----

/// The owner waits for somebody who waits for the owner.
#[test]
fn reentry_overtakes_the_queue() {
    breaks("re-entry", REENTRY.unlawful(Law::ReentryOvertakes), &[SERVED]);
}

/// Of two holds of one owner that wait, the first is granted, and the second waits for somebody who
/// waits for the first.
#[test]
fn waiters_of_one_owner_share_a_ticket() {
    breaks(
        "the owner's ticket",
        OWNER_WAITS.unlawful(Law::OwnerTicket),
        &[SERVED],
    );
}

/// The upgrade waits for a writer, who waits for the hold that is to be upgraded.
#[test]
fn an_upgrade_goes_before_the_queue() {
    breaks(
        "an upgrade's place",
        UPGRADE.unlawful(Law::UpgradeFirst),
        &[SERVED],
    );
}

/// The hold that was to be upgraded lapsed, and somebody else has one of the same weight.
#[test]
fn an_upgrade_looks_for_its_own_base() {
    let bounds = Bounds {
        last_tick: 4,
        ..UPGRADE
    };
    breaks("an upgrade's base", bounds.unlawful(Law::UpgradeBase), &[BASE]);
}

/// The second upgrade overtakes the end of the first, which then takes back what the second was
/// granted.
#[test]
fn a_later_upgrade_takes_over_from_an_earlier_one() {
    breaks(
        "an upgrade's counter",
        UPGRADE_TWICE.unlawful(Law::UpgradeCounter),
        &[BACKED],
    );
}

/// The upgrade was granted, and given up before the grant arrived: the hold goes on as a shared
/// one.
#[test]
fn the_end_of_an_upgrade_makes_the_hold_shared_again() {
    breaks(
        "undoing an upgrade",
        UPGRADE_TWICE.unlawful(Law::UpgradeUndone),
        &[ENDED],
    );
}
