//! The random steps, as data that shrinks well: slots and choices, which mean something in every state.

use proptest::prelude::*;

use crate::model::{GONE, PATIENCE, UNIT, UNITS};

/// Attempts in play at one time. Those of the last slots belong to the second record.
pub(crate) const SLOTS: usize = 12;
pub(crate) const CLIENTS: usize = 3;

/// In ms.
const DAY: i64 = 86_400_000;

/// What a record is used as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum World {
    Plain,
    Counted,
    /// Some attempts have an owner.
    Owners,
    /// Shared holds are upgraded, holds are downgraded.
    ReadWrite,
}

/// Replies that a run of usual length meets so often that none of them can be missing by chance: script and code, of a
/// tick's items too. `replies.rs` has the others.
#[rustfmt::skip]
pub(crate) const COMMON: &[&str] = &[
    "acquire 1", "acquire 2", "acquire 3", "acquire 4", "acquire 5", "acquire 7", "end 0", "end 1", "end 2", "tick 1",
    "tick 2", "tick 3", "tick 4", "tick 5 1", "tick 5 2", "force 0", "force 1", "inspect 1", "adopt 3", "message g",
    "message w", "message f",
];

/// The same for a counted primitive.
#[rustfmt::skip]
pub(crate) const COUNTED: &[&str] = &[
    "acquire 1", "acquire 2", "acquire 3", "acquire 4", "acquire 5", "acquire 9", "acquire 10", "end 0", "end 1", "end 2",
    "tick 1", "tick 2", "tick 3", "tick 4", "tick 5 1", "force 0", "force 1", "inspect 1", "resize 1", "resize 4", "split 1",
    "split 3", "split 4", "merge 1", "merge 3", "message g", "message w", "message f",
];

/// The same for owners.
#[rustfmt::skip]
pub(crate) const OWNERS: &[&str] = &[
    "acquire 1", "acquire 2", "acquire 3", "acquire 4", "acquire 5", "acquire 7", "end 0", "end 1", "end 2", "tick 1",
    "tick 2", "tick 3", "tick 4", "tick 5 1", "tick 5 2", "force 0", "force 1", "inspect 1", "adopt 1", "adopt 3",
    "message g", "message w", "message f", "re-entry",
];

/// The same for a read-write lock.
#[rustfmt::skip]
pub(crate) const READ_WRITE: &[&str] = &[
    "acquire 1", "acquire 2", "acquire 3", "acquire 4", "acquire 5", "acquire 7", "acquire 11", "end 0", "end 1", "end 2",
    "tick 1", "tick 2", "tick 3", "tick 4", "tick 5 1", "tick 5 2", "force 0", "force 1", "inspect 1", "adopt 3",
    "downgrade 1", "downgrade 3", "downgrade 4", "message g", "message w", "message f", "upgrade 1", "upgrade ended",
    "upgrade by message", "upgrade overtaken",
];

/// In place of a tick's op: `h` for an attempt that holds, else `w`.
pub(crate) const APT: char = '?';

/// In place of a tick's op: `x` with a lease that is less long than with `x` itself.
pub(crate) const LESS: char = '!';

/// One step. A slot is an attempt that has an id already; `Fresh` gives it another. Slots from `SLOTS` on stand for one
/// of those whose attempts hold or wait.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    /// Time passes, ms and µs.
    Pass(i64, i64),
    /// Time passes until something in the record is due, plus an offset in ms.
    Due(usize, i64),
    /// The clock is set back, ms.
    SetBack(i64),
    /// A client's inbox comes or goes.
    Inbox(usize, bool),
    Fresh(usize, usize),
    Acquire {
        slot: usize,
        room: i64,
        late: bool,
        floor: Floor,
        polls: bool,
        ahead: i64,
    },
    /// Gives the slot an attempt to upgrade a hold of the same client, if there is one, and asks.
    Upgrade {
        slot: usize,
        base: usize,
        room: i64,
    },
    /// With a tombstone until so many ms from now, or without.
    End(usize, Option<i64>),
    Tick(Vec<(char, usize, Token)>),
    Force(usize),
    Inspect(usize, usize),
    /// Record, capacity, too late. This and the next two only if it is counted.
    Resize(usize, i64, bool),
    /// The slot of the part, that of the whole.
    Split(usize, usize, bool),
    /// The slot that takes, that which gives.
    Merge(usize, usize, bool),
    /// New slot, old slot.
    Adopt {
        new: usize,
        old: usize,
        token: Token,
        late: bool,
    },
    Downgrade {
        new: usize,
        old: usize,
        token: Token,
        late: bool,
    },
}

/// Which floor an acquire names.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Floor {
    None,
    /// µs from the record's token.
    FromToken(i64),
    /// µs from now.
    FromNow(i64),
}

/// Which token a request names.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Token {
    /// The last that the attempt was told.
    Own,
    /// The record's.
    Last,
    None,
    /// One that is off by so much.
    Wrong(i64),
}

/// Returns the time until something in a record is due, plus `off`, in ms; `None` if nothing is.
///
/// Holds and marks are due when they end, places when their waiters count as silent (of a short
/// lease, and of a long one) or as gone.
pub(crate) fn until_due(now: i64, ends: &[i64], seen: &[i64], which: usize, off: i64) -> Option<i64> {
    let left = |seen: &i64| {
        let age = (now.div_euclid(UNIT) - seen).rem_euclid(UNITS);
        [2, 13, PATIENCE, GONE].map(|limit| (now.div_euclid(UNIT) - age + limit + 1) * UNIT)
    };
    let moments = ends.iter().copied().chain(seen.iter().flat_map(left));
    let mut waits: Vec<_> = moments.map(|moment| moment + off - now).collect();
    waits.retain(|wait| *wait >= 0);
    waits.sort_unstable();
    waits.get(which % waits.len().max(1)).copied()
}

/// The same steps, but often time passes until something is due.
pub(crate) fn with_borders(steps: Vec<Step>) -> Vec<Step> {
    let border = |step| match step {
        Step::Pass(ms, us) if us % 2 == 1 => Step::Due(usize::try_from(ms).unwrap(), us / 2 % 3 - 1),
        step => step,
    };
    steps.into_iter().map(border).collect()
}

pub(crate) fn step(world: World) -> impl Strategy<Value = Step> {
    let slot = || 0..SLOTS;
    let likely = || 0..SLOTS * 4;
    let (weight, special) = special(world);
    prop_oneof![
        10 => (0_i64..60, 0_i64..1000).prop_map(|(ms, us)| Step::Pass(ms, us)),
        4 => (0_i64..600).prop_map(|ms| Step::Pass(ms, 0)),
        2 => (0_i64..13_000).prop_map(|ms| Step::Pass(ms, 0)),
        1 => prop_oneof![0_i64..300, 0_i64..2_000_000].prop_map(Step::SetBack),
        1 => prop_oneof![20 => 0_i64..1, 1 => Just(30 * DAY), 1 => Just(500 * DAY)].prop_map(|ms| Step::Pass(ms, 0)),
        3 => (0..CLIENTS, any::<bool>()).prop_map(|(client, on)| Step::Inbox(client, on)),
        8 => (slot(), 0..12_usize).prop_map(|(slot, shape)| Step::Fresh(slot, shape)),
        30 => acquire(),
        14 => (likely(), prop_oneof![5 => Just(None), 1 => (1_i64..3000).prop_map(Some)])
            .prop_map(|(slot, tomb)| Step::End(slot, tomb)),
        22 => prop::collection::vec((item(), likely(), token()), 1..6).prop_map(Step::Tick),
        1 => (0_usize..2).prop_map(Step::Force),
        1 => (0_usize..2, 0_usize..4).prop_map(|(record, most)| Step::Inspect(record, most)),
        weight => special,
    ]
}

/// Those that not every primitive has, and how often they come, of about 100.
fn special(world: World) -> (u32, BoxedStrategy<Step>) {
    let slot = || 0..SLOTS;
    let likely = || 0..SLOTS * 4;
    let late = || prop::bool::weighted(0.1);
    let adopt = (slot(), likely(), token(), late()).prop_map(|(new, old, token, late)| Step::Adopt {
        new,
        old,
        token,
        late,
    });
    let downgrade = (slot(), likely(), token(), late()).prop_map(|(new, old, token, late)| Step::Downgrade {
        new,
        old,
        token,
        late,
    });
    match world {
        World::Plain | World::Owners => (3, adopt.boxed()),
        World::ReadWrite => {
            let room = prop_oneof![1 => Just(0), 2 => Just(50)];
            let upgrade =
                (slot(), slot(), room).prop_map(|(slot, base, room)| Step::Upgrade { slot, base, room });
            (20, prop_oneof![10 => upgrade, 7 => downgrade, 3 => adopt].boxed())
        }
        World::Counted => {
            let resize = (0_usize..2, 1_i64..8, late())
                .prop_map(|(record, capacity, late)| Step::Resize(record, capacity, late));
            let split =
                (slot(), likely(), late()).prop_map(|(part, whole, late)| Step::Split(part, whole, late));
            let merge =
                (likely(), likely(), late()).prop_map(|(into, part, late)| Step::Merge(into, part, late));
            (9, prop_oneof![resize, split, merge].boxed())
        }
    }
}

fn acquire() -> impl Strategy<Value = Step> {
    let floor = prop_oneof![
        12 => Just(Floor::None),
        1 => (-2_i64..3).prop_map(Floor::FromToken),
        1 => (-1000_i64..5_000_000).prop_map(Floor::FromNow),
        1 => Just(Floor::FromNow(86_400_000_001)),
    ];
    let room = prop_oneof![1 => Just(0), 1 => Just(2), 8 => Just(50)];
    let ahead = prop_oneof![
        20 => Just(0),
        3 => -50_i64..50,
        1 => -20_000_i64..20_000,
        1 => prop_oneof![Just(1 << 31), Just(-(1 << 31)), Just(1 << 34)],
    ];
    (
        0..SLOTS,
        room,
        prop::bool::weighted(0.05),
        floor,
        prop::bool::weighted(0.1),
        ahead,
    )
        .prop_map(|(slot, room, late, floor, polls, ahead)| Step::Acquire {
            slot,
            room,
            late,
            floor,
            polls,
            ahead,
        })
}

fn item() -> impl Strategy<Value = char> {
    prop_oneof![10 => Just(APT), 3 => Just('h'), 2 => Just('x'), 1 => Just(LESS), 3 => Just('w'), 1 => Just('p')]
}

fn token() -> impl Strategy<Value = Token> {
    prop_oneof![
        8 => Just(Token::Own),
        1 => Just(Token::Last),
        1 => Just(Token::None),
        1 => (-1_i64..2).prop_map(Token::Wrong),
    ]
}
