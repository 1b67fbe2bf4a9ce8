//! The rules of the protocol (`docs/design.md`), explored: every interleaving within bounds, and each rule without
//! which something breaks.

#![expect(
    clippy::print_stdout,
    reason = "the sizes and the counter-examples are for people to read"
)]

#[path = "model/client.rs"]
mod client;
#[path = "model/protocol.rs"]
mod protocol;
#[path = "model/server.rs"]
mod server;

use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use protocol::{Action, Faults, Id, Phase, Protocol, Rules, State};
use stateright::{Checker, HasDiscoveries, Model, Property};

const ONE_GUARD: &str = "two guards are never valid at once, each by its own account";
const BACKED: &str = "a valid guard is backed by the server: id, token, and a lease at least as long";
const TOKENS: &str = "each guard has a higher token than the guards before it";
const ENDED: &str = "an attempt whose end was answered has nothing";
const ORPHAN: &str =
    "an attempt that was given up holds nothing, unless its end or its grant message is under way";
const ORDER: &str = "nobody is granted past the queue";
const LEASE: &str = "no hold lasts longer than its grants, renewals and confirms say";
const TOLD: &str = "a waiter that was told of its grant does not go on waiting";
const ALIVE: &str = "an attempt that did not end is not told so";
const SERVED: &str = "without further faults every live waiter is served";
const OWNER: &str = "without further faults a waiter that the server holds for gets its guard at once";
const TIMER: &str =
    "behind a claim that may be a dead waiter's, the next one's timer is not later than its end";
const REACHED: &str = "a contended lock is handed over and confirmed";

impl Model for Protocol {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        vec![State::new(self)]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        state.enabled(self, actions);
    }

    fn next_state(&self, state: &State, action: Action) -> Option<State> {
        let mut next = state.clone();
        next.apply(self, action);
        (next != *state).then_some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        let mut properties = vec![
            Property::<Self>::always(ONE_GUARD, |p, s| ids(p).filter(|id| s.valid(*id)).count() < 2),
            Property::<Self>::always(BACKED, |p, s| {
                ids(p).filter(|id| s.valid(*id)).all(|id| {
                    let attempt = s.attempt(id);
                    s.server.hold.is_some_and(|hold| {
                        hold.id == id && hold.token == attempt.token && hold.end >= attempt.deadline
                    })
                })
            }),
            Property::<Self>::always(TOKENS, |_, s| !s.token_fell),
            Property::<Self>::always(ENDED, |_, s| {
                s.server.hold.is_none_or(|hold| s.phase(hold.id) != Phase::Gone)
                    && s.server
                        .queue
                        .iter()
                        .all(|entry| s.phase(entry.id) != Phase::Gone)
            }),
            Property::<Self>::always(ORPHAN, |_, s| {
                s.server.hold.is_none_or(|hold| {
                    s.phase(hold.id) != Phase::Forgotten
                        || hold.end <= s.now
                        || s.end_under_way(hold.id)
                        || s.grant_under_way(hold.id)
                })
            }),
            Property::<Self>::always(ORDER, |_, s| !s.overtaken),
            Property::<Self>::always(LEASE, |_, s| {
                s.server.hold.is_none_or(|hold| hold.end <= hold.due)
            }),
            Property::<Self>::always(TOLD, |p, s| {
                ids(p).filter(|id| s.phase(*id) == Phase::Queued).all(|id| {
                    let told = s.attempt(id).told;
                    s.server
                        .hold
                        .is_none_or(|hold| hold.id != id || told < hold.token)
                })
            }),
            Property::<Self>::always(ALIVE, |_, s| !s.ended_alive),
            Property::<Self>::always(SERVED, |p, s| !s.net.is_empty() || s.serves_everybody(p)),
            Property::<Self>::always(OWNER, |p, s| !s.net.is_empty() || s.serves_the_owner(p)),
            Property::<Self>::sometimes(REACHED, |p, s| {
                ids(p).any(|id| s.valid(id) && s.attempt(id).token > 1 && !s.attempt(id).claim)
            }),
        ];
        if self.timers {
            properties.push(Property::<Self>::always(TIMER, |_, s| {
                let (Some(hold), Some(next)) = (s.server.hold, s.server.queue.first()) else {
                    return true;
                };
                let attempt = s.attempt(next.id);
                attempt.phase != Phase::Queued
                    || hold.claim.is_none()
                    || !hold.stale
                    || attempt.wake <= hold.end
                    || s.wake_under_way(next.id)
            }));
        }
        properties
    }
}

fn ids(p: &Protocol) -> impl Iterator<Item = Id> + use<> {
    0..p.attempts
}

const NONE: Faults = Faults {
    lost: 0,
    doubled: 0,
    crashes: 0,
    retries: 0,
};

/// Two clients with one attempt each, and every fault once.
const TWO: Protocol = Protocol {
    rules: Rules::ALL,
    faults: Faults {
        lost: 1,
        doubled: 1,
        crashes: 1,
        retries: 1,
    },
    attempts: 2,
    clients: 2,
    last_tick: 4,
    lease: 3,
    window: 2,
    grace: 1,
    patience: 3,
    forget: 0,
    timers: false,
    cancel: true,
    contended: false,
};

/// No fault: only delays, reordering, pauses and dropped futures.
const QUIET: Protocol = Protocol { faults: NONE, ..TWO };

const DOUBLED: Protocol = Protocol {
    faults: Faults { doubled: 1, ..NONE },
    ..TWO
};

/// Three clients: a guard and two waiters.
const THREE: Protocol = Protocol {
    attempts: 3,
    clients: 3,
    last_tick: 2,
    cancel: false,
    contended: true,
    ..QUIET
};

/// The client gives up on an `end` that is not answered.
const FORGET: Protocol = Protocol {
    faults: Faults { lost: 1, ..NONE },
    last_tick: 3,
    lease: 2,
    window: 1,
    forget: 3,
    contended: true,
    ..TWO
};

/// One exploration at a time: each uses two threads and much memory.
static ALONE: Mutex<()> = Mutex::new(());

/// Explores everything within the bounds (or the first `states`), and finds nothing wrong.
fn holds(name: &str, protocol: Protocol, states: usize) {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let start = Instant::now();
    let mut builder = protocol
        .checker()
        .threads(2)
        .finish_when(HasDiscoveries::AnyFailures);
    if states > 0 {
        builder = builder.target_state_count(states);
    }
    let checker = builder.spawn_bfs().join();
    println!(
        "{name}: {} states, {} generated, depth {}, {:?}{}",
        checker.unique_state_count(),
        checker.state_count(),
        checker.max_depth(),
        start.elapsed(),
        if checker.is_done() && states == 0 {
            ", all of them"
        } else {
            ""
        }
    );
    for (property, path) in checker.discoveries() {
        assert_eq!(
            property,
            REACHED,
            "{name}: violated\n{:#?}\n{path}",
            path.last_state()
        );
    }
    assert!(
        checker.discovery(REACHED).is_some(),
        "{name}: the model does nothing"
    );
}

/// Without a rule, one of `expected` is violated.
fn breaks(rule: &str, protocol: Protocol, expected: &[&'static str]) {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let start = Instant::now();
    let checker = protocol
        .checker()
        .threads(2)
        .finish_when(HasDiscoveries::AnyOf(expected.iter().copied().collect()))
        .spawn_bfs()
        .join();
    for (property, path) in checker.discoveries() {
        if expected.contains(&property) {
            let (states, took) = (checker.unique_state_count(), start.elapsed());
            let actions = path.into_actions();
            println!(
                "without {rule}: {} steps, {states} states, {took:?}: not: {property}",
                actions.len()
            );
            for action in actions {
                println!("    {action:?}");
            }
            return;
        }
    }
    panic!(
        "without {rule}: no counter-example in {} states",
        checker.unique_state_count()
    );
}

// ---- with all rules, nothing breaks -------------------------------------------------------------------------------

#[test]
fn two_from_the_start() {
    holds("two, no fault", QUIET, 0);
}

#[test]
fn two_and_a_doubled_packet() {
    holds(
        "two, one doubled",
        Protocol {
            contended: true,
            last_tick: 3,
            ..DOUBLED
        },
        0,
    );
}

#[test]
fn two_and_a_lost_packet_and_a_crash() {
    let faults = Faults {
        lost: 1,
        crashes: 1,
        ..NONE
    };
    holds(
        "two, one lost, one crash",
        Protocol {
            contended: true,
            last_tick: 3,
            faults,
            ..TWO
        },
        0,
    );
}

#[test]
fn two_with_every_fault() {
    let protocol = Protocol {
        contended: true,
        last_tick: 2,
        ..TWO
    };
    holds("two, every fault", protocol, 0);
}

#[test]
fn two_and_an_end_given_up() {
    holds("two, an end given up", FORGET, 0);
}

#[test]
fn three_without_fault() {
    holds(
        "three, no fault",
        Protocol {
            cancel: true,
            ..THREE
        },
        0,
    );
}

#[test]
fn three_with_every_fault_in_part() {
    let faults = TWO.faults;
    holds(
        "three, every fault",
        Protocol {
            last_tick: 4,
            cancel: true,
            faults,
            ..THREE
        },
        800_000,
    );
}

#[test]
fn three_with_timers_in_part() {
    holds(
        "three, timers",
        Protocol {
            timers: true,
            window: 1,
            ..THREE
        },
        1_200_000,
    );
}

/// One client makes two attempts, one after the other.
#[test]
fn two_attempts_of_one_client_in_part() {
    holds(
        "two clients, three attempts",
        Protocol {
            attempts: 3,
            contended: true,
            last_tick: 2,
            ..QUIET
        },
        1_200_000,
    );
}

// ---- without a rule, something does -------------------------------------------------------------------------------

/// H35: a copy of the acquire that is stuck outlives the tombstone, and is granted to nobody.
#[test]
fn not_after() {
    let rules = Rules {
        not_after: false,
        ..Rules::ALL
    };
    breaks(
        "not_after, sent twice by the driver",
        Protocol {
            rules,
            attempts: 1,
            ..DOUBLED
        },
        &[ENDED],
    );
    let faults = Faults { retries: 1, ..NONE };
    breaks(
        "not_after, asked twice",
        Protocol {
            rules,
            attempts: 1,
            faults,
            ..TWO
        },
        &[ENDED],
    );
}

/// H14: `end` overtakes the acquire.
#[test]
fn tombstone() {
    let rules = Rules {
        tombstone: false,
        ..Rules::ALL
    };
    breaks(
        "tombstone",
        Protocol {
            rules,
            attempts: 1,
            ..QUIET
        },
        &[ENDED],
    );
}

/// H27: a driver that sends again on its own leaves copies of acquires that were answered.
#[test]
fn tombstone_when_the_driver_sends_again() {
    let rules = Rules {
        resend_aware: false,
        ..Rules::ALL
    };
    breaks(
        "tombstone for answered acquires",
        Protocol {
            rules,
            attempts: 1,
            ..DOUBLED
        },
        &[ENDED],
    );
}

/// A late confirm of a claim that lapsed succeeds on the strength of the attempt's second grant: the guard's token is
/// lower than that of a guard that came and went in between.
#[test]
fn renew_names_the_token() {
    let rules = Rules {
        renew_token: false,
        ..Rules::ALL
    };
    breaks("the token in renew", Protocol { rules, ..THREE }, &[TOKENS]);
}

/// H26: a second copy of a dead waiter's acquire makes a full lease of its claim.
#[test]
fn acquire_extends_nothing() {
    let rules = Rules {
        no_extend: false,
        ..Rules::ALL
    };
    let faults = Faults { crashes: 1, ..NONE };
    breaks(
        "acquire extends nothing",
        Protocol { rules, faults, ..TWO },
        &[LEASE],
    );
}

/// The reply `queued` comes after the grant message: a lost wake-up (H1 in another dress).
#[test]
fn by_stamp() {
    let rules = Rules {
        by_stamp: false,
        ..Rules::ALL
    };
    breaks("by stamp", Protocol { rules, ..QUIET }, &[TOLD]);
}

/// H20: the client was paused when its grant message came; the claim lapsed, the next one holds.
#[test]
fn grant_by_message_starts_at_its_stamp() {
    let rules = Rules {
        message_start: false,
        ..Rules::ALL
    };
    breaks(
        "the start of a grant by message",
        Protocol { rules, ..QUIET },
        &[BACKED],
    );
    breaks(
        "the start of a grant by message",
        Protocol { rules, ..THREE },
        &[ONE_GUARD],
    );
}

/// H20: the same for a reply.
#[test]
fn grant_by_reply_starts_at_its_request() {
    let rules = Rules {
        reply_start: false,
        ..Rules::ALL
    };
    breaks(
        "the start of a grant by reply",
        Protocol { rules, ..QUIET },
        &[ONE_GUARD],
    );
}

/// An `end` was lost and given up, the place was not: its grant goes to nobody.
#[test]
fn grant_for_an_unknown_id_is_ended() {
    let rules = Rules {
        end_unknown: false,
        ..Rules::ALL
    };
    breaks("end for unknown ids", Protocol { rules, ..FORGET }, &[ORPHAN]);
}

/// H7: the grant arrived, and its future is dropped before it was polled again.
#[test]
fn granted_future_hands_on() {
    let rules = Rules {
        end_granted: false,
        ..Rules::ALL
    };
    breaks("end of a granted future", Protocol { rules, ..QUIET }, &[ENDED]);
}

/// H14: the future is dropped while its acquire is under way.
#[test]
fn asking_future_ends() {
    let rules = Rules {
        end_asking: false,
        ..Rules::ALL
    };
    breaks("end of an asking future", Protocol { rules, ..QUIET }, &[ENDED]);
}

/// H2: the grant message is lost; without the replay its owner learns nothing until the claim has lapsed.
#[test]
fn tick_replays_the_grant() {
    let rules = Rules {
        tick_replays: false,
        ..Rules::ALL
    };
    breaks(
        "replay by tick",
        Protocol {
            rules,
            faults: Faults { lost: 1, ..NONE },
            ..TWO
        },
        &[OWNER],
    );
}

/// A newcomer finds a hold that is over, and a queue.
#[test]
fn settle_first() {
    let rules = Rules {
        settle_first: false,
        ..Rules::ALL
    };
    breaks(
        "settle first",
        Protocol {
            rules,
            last_tick: 3,
            contended: false,
            ..THREE
        },
        &[ORDER],
    );
}

/// The holder renewed, then released: the second waiter's timer is set to an end that no longer is one.
#[test]
fn entry_behind_is_told() {
    let rules = Rules {
        tell_behind: false,
        ..Rules::ALL
    };
    breaks(
        "the message behind",
        Protocol {
            rules,
            timers: true,
            window: 1,
            ..THREE
        },
        &[TIMER],
    );
}
