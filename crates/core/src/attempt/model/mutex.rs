//! A mutex: one holder at a time, with every rule, and without each of them.

use super::bounds::{Bounds, Faults, Law, Laws, Want};
use super::properties::{
    BACKED, BELIEF, ENDED, FINAL, LEASE, ONE_GUARD, ORDER, ORPHAN, OWNER, TIME, TIMER, TOKENS, TOLD, VALID,
};
use super::{breaks, holds};
use crate::attempt::rules::Rule;

const NONE: Faults = Faults::NONE;

/// Two clients with one attempt each, and every fault once.
const TWO: Bounds = Bounds {
    laws: Laws::ALL,
    without: None,
    faults: Faults {
        lost: 1,
        doubled: 1,
        crashes: 1,
        timeouts: 1,
        switches: 0,
    },
    capacity: 1,
    wants: &[Want::ALL; 2],
    in_order: true,
    last_tick: 4,
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
    contended: 0,
};

/// No fault: only delays, reordering, pauses and dropped futures.
const QUIET: Bounds = Bounds { faults: NONE, ..TWO };

const ALONE: Bounds = Bounds {
    wants: &[Want::ALL; 1],
    ..QUIET
};

/// A guard and one waiter.
const CONTENDED: Bounds = Bounds {
    contended: 2,
    last_tick: 3,
    ..QUIET
};

/// Three clients: a guard and two waiters.
const THREE: Bounds = Bounds {
    wants: &[Want::ALL; 3],
    last_tick: 2,
    cancel: false,
    contended: 3,
    ..QUIET
};

/// The client gives up on an `end` that is not answered: after two leases, the patience, three
/// claims and the time in which an acquire or a tick may still enter or refresh the place.
const FORGET: Bounds = Bounds {
    faults: lost(1),
    last_tick: 7,
    lease: 1,
    window: 1,
    grace: 0,
    patience: 1,
    forget: 2 + 1 + 3,
    contended: 2,
    ..TWO
};

const TWO_IN_A_ROW: [Want; 3] = [Want::ALL, Want::ALL, Want::ALL.after(0)];

const fn lost(lost: u8) -> Faults {
    Faults { lost, ..NONE }
}

// ---- with all rules, nothing breaks ----

#[test]
fn two_from_the_start() {
    let bounds = Bounds {
        last_tick: 3,
        ..QUIET
    };
    holds("two, no fault", bounds, 0);
}

#[test]
fn two_and_a_doubled_packet() {
    let faults = Faults { doubled: 1, ..NONE };
    holds("two, one doubled", Bounds { faults, ..CONTENDED }, 0);
}

#[test]
fn two_and_a_lost_packet_and_a_crash() {
    let faults = Faults {
        crashes: 1,
        ..lost(1)
    };
    holds("two, one lost, one crash", Bounds { faults, ..CONTENDED }, 0);
}

#[test]
fn two_with_every_fault() {
    let bounds = Bounds {
        last_tick: 2,
        faults: TWO.faults,
        ..CONTENDED
    };
    holds("two, every fault", bounds, 0);
}

#[test]
fn two_and_an_end_given_up() {
    holds("two, an end given up", FORGET, 0);
}

#[test]
fn two_and_another_server() {
    let faults = Faults { switches: 1, ..NONE };
    holds("two, another server", Bounds { faults, ..CONTENDED }, 0);
}

#[test]
fn two_and_another_server_and_a_lost_packet() {
    let faults = Faults {
        switches: 1,
        ..lost(1)
    };
    holds("two, another server, one lost", Bounds { faults, ..CONTENDED }, 0);
}

#[test]
fn three_and_another_server_in_part() {
    let faults = Faults { switches: 1, ..NONE };
    let bounds = Bounds {
        faults,
        cancel: true,
        last_tick: 3,
        ..THREE
    };
    holds("three, another server", bounds, 800_000);
}

/// A node of a cluster takes over, and what the one before has said still arrives: grants that have
/// lapsed since, and answers.
const PASSED_ON: Bounds = Bounds {
    passed_on: true,
    faults: Faults { switches: 1, ..NONE },
    last_tick: 4,
    ..CONTENDED
};

#[test]
fn two_and_another_node() {
    holds("two, another node", PASSED_ON, 0);
}

#[test]
fn two_and_another_node_and_a_lost_packet() {
    let bounds = Bounds {
        faults: Faults {
            switches: 1,
            ..lost(1)
        },
        last_tick: 3,
        ..PASSED_ON
    };
    holds("two, another node, one lost", bounds, 0);
}

#[test]
fn three_without_fault() {
    let bounds = Bounds {
        cancel: true,
        ..THREE
    };
    holds("three, no fault", bounds, 0);
}

#[test]
fn three_with_every_fault_in_part() {
    let bounds = Bounds {
        last_tick: 4,
        cancel: true,
        faults: TWO.faults,
        ..THREE
    };
    holds("three, every fault", bounds, 2_500_000);
}

#[test]
fn three_with_timers_in_part() {
    let bounds = Bounds {
        timers: true,
        window: 1,
        cancel: true,
        ..THREE
    };
    holds("three, timers", bounds, 800_000);
}

/// One client makes two attempts, one after the other.
#[test]
fn two_attempts_of_one_client_in_part() {
    let bounds = Bounds {
        wants: &TWO_IN_A_ROW,
        contended: 2,
        cancel: true,
        ..THREE
    };
    holds("two clients, three attempts", bounds, 800_000);
}

/// Rule 7: a claim is confirmed before it is handed out.
#[test]
fn two_where_user_code_may_block_the_keeper() {
    let bounds = Bounds {
        same_thread: true,
        faults: lost(1),
        ..CONTENDED
    };
    holds("two, one thread", bounds, 0);
}

// ---- without a rule of the state machine, something does ----

/// The reply `queued` comes after the grant message: a lost wake-up (H1 in another dress).
#[test]
fn by_stamp() {
    breaks("by stamp", QUIET.without(Rule::ByStamp), &[TOLD]);
}

/// H20: the client was paused when the reply came.
#[test]
fn grant_by_reply_starts_at_its_request() {
    let rule = Rule::ReplyStart;
    breaks("the start of a grant by reply", QUIET.without(rule), &[BACKED]);
    breaks("the start of a grant by reply", QUIET.without(rule), &[ONE_GUARD]);
}

/// H20: the client was paused when its grant message came; the claim lapsed, the next one holds.
#[test]
fn grant_by_message_starts_at_its_stamp() {
    let rule = Rule::MessageStart;
    breaks("the start of a grant by message", QUIET.without(rule), &[BACKED]);
    breaks(
        "the start of a grant by message",
        THREE.without(rule),
        &[ONE_GUARD],
    );
}

/// A message that was long on its way leaves too little of the claim for a round trip.
#[test]
fn a_late_grant_is_confirmed_first() {
    let bounds = Bounds {
        lease: 5,
        window: 5,
        last_tick: 4,
        ..CONTENDED
    };
    breaks(
        "confirming a late grant",
        bounds.without(Rule::ConfirmLate),
        &[TIME],
    );
}

/// H20: the task was paused between the grant and its poll.
#[test]
fn a_grant_that_is_over_is_not_handed_out() {
    let rule = Rule::NotHandedOutLate;
    let bounds = Bounds { lease: 2, ..QUIET };
    breaks("looking before handing out", bounds.without(rule), &[VALID]);
    let bounds = Bounds {
        lease: 2,
        last_tick: 3,
        ..THREE
    };
    breaks("looking before handing out", bounds.without(rule), &[TOKENS]);
}

/// H19, H20: the reply to a renewal comes when the guard has already said that it is lost.
#[test]
fn the_deadline_comes_before_a_renewal() {
    breaks("the deadline first", ALONE.without(Rule::DeadlineFirst), &[FINAL]);
}

/// H36: the first claim lapsed, and the answer to its confirmation comes after the second grant.
#[test]
fn an_answer_counts_for_the_grant_that_it_names() {
    breaks(
        "the token of an answer",
        THREE.without(Rule::TokenNamed),
        &[BELIEF],
    );
}

/// H7: the grant arrived, and its future is dropped before it was polled again.
#[test]
fn granted_future_hands_on() {
    breaks(
        "end of a granted future",
        QUIET.without(Rule::EndGranted),
        &[ENDED],
    );
}

/// H14: the future is dropped while its acquire is under way.
#[test]
fn asking_future_ends() {
    breaks(
        "end of an asking future",
        QUIET.without(Rule::EndAsking),
        &[ENDED],
    );
}

/// H14: `end` overtakes the acquire.
#[test]
fn tombstone() {
    breaks("tombstone", ALONE.without(Rule::Tombstone), &[ENDED]);
}

/// H2: the grant message is lost; without the replay its owner learns nothing until the claim has
/// lapsed.
#[test]
fn tick_replays_the_grant() {
    let bounds = Bounds {
        faults: lost(1),
        ..CONTENDED
    };
    breaks("replay by tick", bounds.without(Rule::TickReplays), &[OWNER]);
}

/// The clock of the server that has taken over is behind: what it says is not older.
#[test]
fn stamps_of_two_servers_are_not_compared() {
    let faults = Faults { switches: 1, ..NONE };
    let bounds = Bounds { faults, ..CONTENDED };
    breaks("a new era", bounds.without(Rule::NewEra), &[TOLD]);
}

/// A grant that has lapsed long ago, and was under way when the other server took over.
#[test]
fn what_an_earlier_server_said_is_not_applied() {
    let faults = Faults { switches: 1, ..NONE };
    let bounds = Bounds {
        faults,
        last_tick: 4,
        ..CONTENDED
    };
    breaks("leaving the inbox", bounds.unlawful(Law::InboxLeft), &[BACKED]);
}

/// In a cluster the answer of the node before comes after the switch, and its stamp is ahead of what
/// the other node says.
#[test]
fn what_an_earlier_node_answered_does_not_count() {
    breaks("late answers", PASSED_ON.without(Rule::LateAnswers), &[TOLD]);
}

// ---- without a rule of the scripts ----

/// H35: a copy of the acquire that is stuck outlives the tombstone, and is granted to nobody.
#[test]
fn not_after() {
    let faults = Faults { timeouts: 1, ..NONE };
    let bounds = Bounds { faults, ..ALONE };
    breaks("not_after", bounds.unlawful(Law::NotAfter), &[ENDED]);
}

/// H27: the client cannot know of a copy that the driver makes of an acquire, so no driver may do
/// so.
#[test]
fn an_acquire_that_the_driver_sends_again_is_granted_to_nobody() {
    let faults = Faults { doubled: 1, ..NONE };
    let bounds = Bounds { faults, ..ALONE };
    breaks(
        "a driver that sends once",
        bounds.unlawful(Law::SentOnce),
        &[ENDED],
    );
}

/// H36: a late confirm of a claim that lapsed succeeds on the strength of the attempt's second
/// grant: the guard's token is lower than that of a guard that came and went in between.
#[test]
fn renew_names_the_token() {
    breaks("the token in renew", THREE.unlawful(Law::RenewToken), &[TOKENS]);
}

/// H26: a second copy of a dead waiter's acquire makes a full lease of its claim.
#[test]
fn acquire_extends_nothing() {
    let faults = Faults {
        crashes: 1,
        timeouts: 1,
        ..NONE
    };
    let bounds = Bounds { faults, ..TWO };
    breaks(
        "acquire extends nothing",
        bounds.unlawful(Law::NoExtend),
        &[LEASE],
    );
}

/// A newcomer finds a hold that is over, and a queue.
#[test]
fn settle_first() {
    let bounds = Bounds {
        last_tick: 3,
        contended: 0,
        ..THREE
    };
    breaks("settle first", bounds.unlawful(Law::SettleFirst), &[ORDER]);
}

/// The holder renewed, then released: the second waiter's timer is set to an end that no longer is
/// one.
#[test]
fn entry_behind_is_told() {
    let bounds = Bounds {
        timers: true,
        window: 1,
        ..THREE
    };
    breaks("the message behind", bounds.unlawful(Law::TellBehind), &[TIMER]);
}

/// The waiter that was told when the claim ends leaves: the next one has to know.
#[test]
fn the_next_head_is_told() {
    let bounds = Bounds {
        wants: &[Want::ALL; 4],
        timers: true,
        window: 1,
        cancel: true,
        contended: 4,
        ..THREE
    };
    breaks("telling the next head", bounds.unlawful(Law::TellHead), &[TIMER]);
}

/// An end is repeated for as long as its place can be granted: if it is not, the lock stands still
/// for nobody.
#[test]
fn an_end_that_is_forgotten_too_soon_leaves_an_orphan() {
    let bounds = Bounds { forget: 1, ..FORGET };
    breaks("repeating the end for long enough", bounds, &[ORPHAN]);
}

/// What that time counts on: nobody finds a claim long after it was over.
#[test]
fn a_claim_that_is_found_long_after_it_was_over_may_be_an_orphan() {
    breaks(
        "a record that is looked at",
        FORGET.unlawful(Law::Busy),
        &[ORPHAN],
    );
}
