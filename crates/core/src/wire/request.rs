//! The requests of all scripts. Only this file knows the order of their arguments.
//!
//! The header of each script's first file explains its arguments. Times are in milliseconds of the
//! server's clock, and `life` is the shortest time that the key lives.

use std::time::Duration;

use redis::{RedisWrite, ToRedisArgs};

use super::command::{Request, Rest};
use super::script::{self, Script};
use super::terms::Terms;
use crate::types::options::OnMismatch;
use crate::types::rate::Algorithm;

/// A capacity as the scripts take it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Capacity {
    number: u32,
    /// The character after the number, if any.
    suffix: Option<char>,
}

impl Capacity {
    /// The capacity of a lock.
    pub(crate) const fn of(number: u32) -> Self {
        Self { number, suffix: None }
    }

    /// The capacity of a counted primitive, of which no hold is exclusive.
    pub(crate) const fn counted(number: u32) -> Self {
        Self {
            number,
            suffix: Some('c'),
        }
    }

    /// The capacity of a lock, in the request for an upgrade.
    pub(crate) const fn upgrade(number: u32) -> Self {
        Self {
            number,
            suffix: Some('u'),
        }
    }
}

impl ToRedisArgs for Capacity {
    fn write_redis_args<W: ?Sized + RedisWrite>(&self, out: &mut W) {
        match self.suffix {
            None => self.number.write_redis_args(out),
            Some(suffix) => out.write_arg_fmt(format_args!("{}{suffix}", self.number)),
        }
    }
}

/// The arguments of an acquire beside key, id and `not_after`. Attempts for which these are equal
/// can share one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct AcquireArgs {
    pub(crate) lease: u64,
    pub(crate) life: u64,
    pub(crate) weight: u32,
    pub(crate) capacity: Capacity,
    /// The maximum length of the queue. 0: do not wait. -1: do not wait, and take what is free.
    pub(crate) room: i64,
    pub(crate) floor: u64,
    /// The inbox is down.
    pub(crate) polls: bool,
    pub(crate) ahead: Option<i64>,
}

/// The arguments of an end beside key, id and `not_after`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct EndArgs {
    pub(crate) capacity: Capacity,
    pub(crate) retention: u64,
    /// What it holds stays in use for this long; 0: it is free at once.
    pub(crate) keep: u64,
}

/// The arguments of an acquire that only counted primitives have.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct CountedArgs<'a> {
    /// The handle's rate, as [`Pace`](super::pace::Pace) writes it.
    pub(crate) pace: Option<&'a str>,
    /// The longest time until the hold may start, µs.
    pub(crate) patience: Option<u64>,
    pub(crate) on_mismatch: OnMismatch,
    /// How long numbers that were set are remembered, if not for as long as is usual, ms.
    pub(crate) keep: Option<u64>,
    /// Of an end: the hold that gets what the attempt has.
    pub(crate) into: Option<&'a str>,
}

/// The arguments of a verb that can be batched, for one attempt or for many.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Args {
    Acquire(AcquireArgs),
    End(EndArgs),
}

impl Args {
    /// Builds the request for one attempt.
    pub(crate) fn single(self, key: &[u8], id: &str, not_after: u64, counted: CountedArgs<'_>) -> Request {
        let script = match self {
            Self::Acquire(_) => &script::ACQUIRE,
            Self::End(_) => &script::END,
        };
        self.write(Request::new(script, &[key]).arg(id), not_after, counted)
    }

    /// Builds the request for many attempts, with one id per key.
    pub(crate) fn many<'a>(
        self,
        keys: &[&[u8]],
        ids: impl Iterator<Item = &'a str>,
        not_after: u64,
    ) -> Request {
        let script: &'static Script = match self {
            Self::Acquire(_) => &script::ACQUIRE_MANY,
            Self::End(_) => &script::END_MANY,
        };
        let request = ids.fold(Request::new(script, keys), Request::arg);
        self.write(request, not_after, CountedArgs::default())
    }

    /// Writes the arguments that follow the ids.
    fn write(self, request: Request, not_after: u64, counted: CountedArgs<'_>) -> Request {
        match self {
            Self::Acquire(args) => request
                .arg(args.lease)
                .arg(args.life)
                .arg(args.weight)
                .arg(args.capacity)
                .arg(not_after)
                .arg(args.room)
                .arg_rest([
                    (counted.pace.map(|pace| Rest::Bytes(pace.as_bytes())), ""),
                    (counted.patience.map(Rest::Number), ""),
                    ((args.floor > 0).then_some(Rest::Number(args.floor)), "0"),
                    (args.polls.then_some(Rest::Number(POLLS)), "0"),
                    (args.ahead.map(Rest::Signed), "0"),
                    (version(counted.on_mismatch), "0"),
                    (counted.keep.map(Rest::Number), ""),
                ]),
            Self::End(args) => request.arg(args.capacity).arg(args.retention).arg_rest([
                ((not_after > 0).then_some(Rest::Number(not_after)), "0"),
                ((args.keep > 0).then_some(Rest::Number(args.keep)), ""),
                (counted.into.map(|id| Rest::Bytes(id.as_bytes())), ""),
            ]),
        }
    }
}

/// The version of the caller's numbers, and 1; -1: those of the record will do.
fn version(on_mismatch: OnMismatch) -> Option<Rest<'static>> {
    match on_mismatch {
        OnMismatch::Error => None,
        OnMismatch::Adopt => Some(Rest::Bytes(b"-1")),
        OnMismatch::Set { version } => Some(Rest::Number(u64::from(version) + 1)),
    }
}

/// The argument of a waiter whose inbox is down: it polls.
const POLLS: u64 = 3;

/// What is asked about one attempt in a tick.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TickOp {
    /// Renew (or confirm) the hold with this token; 0: a shared one.
    Renew { token: u64 },
    /// The same, and certainly a write.
    Secure { token: u64 },
    /// Renew it for longer than the lease in the id.
    Extend { token: u64 },
    /// Refresh the place.
    Refresh { polls: bool },
}

/// One item of a tick.
#[derive(Debug, Clone, Copy)]
pub(crate) struct TickArgs<'a> {
    pub(crate) key: &'a [u8],
    pub(crate) id: &'a str,
    pub(crate) op: TickOp,
    pub(crate) lease: u64,
    pub(crate) life: u64,
    pub(crate) capacity: Capacity,
}

/// Renews holds and refreshes places.
pub(crate) fn tick(items: &[TickArgs<'_>]) -> Request {
    let keys: Vec<&[u8]> = items.iter().map(|item| item.key).collect();
    let mut request = Request::new(&script::TICK, &keys);
    for item in items {
        let (op, token) = match item.op {
            TickOp::Renew { token } => ("h", token),
            TickOp::Secure { token } => ("d", token),
            TickOp::Extend { token } => ("x", token),
            TickOp::Refresh { polls: false } => ("w", 0),
            TickOp::Refresh { polls: true } => ("p", 0),
        };
        request = request
            .arg(op)
            .arg(item.id)
            .arg(token)
            .arg(item.lease)
            .arg(item.life)
            .arg(item.capacity);
    }
    request
}

/// What a new attempt takes over from another.
#[derive(Debug, Clone, Copy)]
pub(crate) enum TakeOver<'a> {
    /// The hold of a ticket.
    Adopt { old: &'a str, token: u64 },
    /// A part of a counted hold.
    Split { whole: &'a str },
    /// A hold, which becomes a shared one.
    Downgrade {
        old: &'a str,
        token: u64,
        capacity: Capacity,
    },
    /// Everything, whoever holds it.
    Steal { capacity: Capacity, floor: u64 },
}

/// A hold, or a part of one, goes to the attempt with this id.
pub(crate) fn take_over(
    what: TakeOver<'_>,
    key: &[u8],
    id: &str,
    (lease, life): (u64, u64),
    not_after: u64,
) -> Request {
    let call = |script| Request::new(script, &[key]).arg(id).arg(lease).arg(life);
    let request = match what {
        TakeOver::Adopt { old, token } => call(&script::ADOPT).arg(old).arg(token),
        TakeOver::Split { whole } => call(&script::SPLIT).arg(whole),
        TakeOver::Downgrade { old, token, capacity } => {
            call(&script::DOWNGRADE).arg(old).arg(token).arg(capacity)
        }
        TakeOver::Steal { capacity, floor } => call(&script::STEAL).arg(capacity).arg(floor),
    };
    request.arg(not_after)
}

/// What `part` has is added to the hold with this id.
pub(crate) fn merge(key: &[u8], id: &str, (lease, life): (u64, u64), part: &str, not_after: u64) -> Request {
    Request::new(&script::MERGE, &[key])
        .arg(id)
        .arg(lease)
        .arg(life)
        .arg(part)
        .arg(not_after)
}

/// What a resize sets; the other is taken only for a record that has none.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Setting {
    Capacity,
    Pace,
}

/// The same from the holder and waiter on before which there are so many.
pub(crate) fn inspect_from(key: &[u8], most: usize, from: u64) -> Request {
    inspect(key, most, None).arg(0).arg("").arg(from)
}

/// Sets how much a counted primitive has, or its rate.
pub(crate) fn resize(
    key: &[u8],
    capacity: Capacity,
    life: u64,
    not_after: u64,
    pace: &str,
    what: Setting,
) -> Request {
    Request::new(&script::RESIZE, &[key])
        .arg(capacity)
        .arg(life)
        .arg(not_after)
        .arg(pace)
        .arg(match what {
            Setting::Capacity => "capacity",
            Setting::Pace => "pace",
        })
}

/// Ends every hold.
pub(crate) fn force(key: &[u8], capacity: Capacity, retention: u64) -> Request {
    Request::new(&script::FORCE, &[key]).arg(capacity).arg(retention)
}

/// Lists at most `most` holders and waiters. `further`: adds up what was over at this time, ms, without the first so many.
pub(crate) fn inspect(key: &[u8], most: usize, further: Option<(usize, u64)>) -> Request {
    let request = Request::new(&script::INSPECT, &[key]).arg(most);
    match further {
        None => request,
        Some((skip, as_of)) => request.arg(skip).arg(as_of),
    }
}

/// What is asked of a latch.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LatchArgs<'a> {
    /// What it begins with. -1: do not create it. -2: wait until it is created.
    pub(crate) count: i64,
    /// As of an acquire; -1: answer with what is left.
    pub(crate) room: i64,
    pub(crate) life: u64,
    pub(crate) memory: u64,
    /// How long it is known that the attempt has changed something.
    pub(crate) until: u64,
    pub(crate) by: Option<u32>,
    pub(crate) once: Option<&'a [u8]>,
    pub(crate) to: Option<u32>,
    pub(crate) generation: u64,
    pub(crate) polls: bool,
    /// Whatever count it was made with will do.
    pub(crate) adopts: bool,
}

/// Counts down, waits, or resets.
pub(crate) fn latch(key: &[u8], id: &str, args: &LatchArgs<'_>) -> Request {
    Request::new(&script::LATCH, &[key])
        .arg(id)
        .arg(args.count)
        .arg(args.room)
        .arg(args.life)
        .arg(args.memory)
        .arg(args.until)
        .arg_rest([
            (args.by.map(|by| Rest::Number(by.into())), "0"),
            (args.once.map(Rest::Bytes), ""),
            (args.to.map(|to| Rest::Number(to.into())), "-1"),
            (
                (args.generation > 0).then_some(Rest::Number(args.generation)),
                "0",
            ),
            (args.polls.then_some(Rest::Number(POLLS)), "0"),
            (args.adopts.then_some(Rest::Number(1)), ""),
        ])
}

/// Goes on with what generations of a latch that are over have left.
pub(crate) fn follow_up(key: &[u8]) -> Request {
    Request::new(&script::LATCH, &[key])
        .arg("") // of no attempt
        .arg(-1) // it makes none
        .arg(-1) // and does not wait
        .arg(0)
        .arg(0)
        .arg(0)
        .arg(0)
        .arg("")
        .arg(GO_ON)
}

/// In place of the count of a new generation: begin none, and only go on.
const GO_ON: i64 = -2;

/// Returns what a latch has left, and at most `most` places.
pub(crate) fn peek(key: &[u8], most: usize) -> Request {
    Request::new(&script::PEEK, &[key]).arg(most)
}

/// Admits a token, and writes the resource if there is something to write.
pub(crate) fn fence(fence: &[u8], token: u64, life: u64, write: Option<(&[u8], &[u8])>) -> Request {
    match write {
        None => Request::new(&script::FENCE, &[fence]).arg(token).arg(life),
        Some((resource, value)) => Request::new(&script::FENCE, &[fence, resource])
            .arg(token)
            .arg(life)
            .arg(value),
    }
}

/// Admits a token, and runs commands in the same step, each a list of its words.
pub(crate) fn fence_pipeline(fence: &[u8], token: u64, life: u64, commands: &[Vec<Vec<u8>>]) -> Request {
    let request = Request::new(&script::FENCE_PIPELINE, &[fence])
        .arg(token)
        .arg(life);
    commands.iter().fold(request, |request, words| {
        let request = request.arg(words.len());
        words.iter().fold(request, |request, word| request.arg(&**word))
    })
}

/// Reserves permits of a limiter; `most` is the longest wait for them, at most the reach of the terms;
/// `None`: only asks.
pub(crate) fn reserve(
    terms: &Terms,
    key: &[u8],
    weight: u32,
    most: Option<Duration>,
    id: u64,
    not_after: u64,
) -> Request {
    let most = most.map_or(-1, |most| i64::try_from(most.as_micros()).unwrap_or(i64::MAX));
    let script = match terms.algorithm {
        Algorithm::Gcra => &script::GCRA,
        Algorithm::SlidingWindow => &script::WINDOW,
    };
    let request = Request::new(script, &[key])
        .arg(&terms.config)
        .arg(most)
        .arg(id)
        .arg(not_after)
        .arg(terms.keep_ms());
    let request = match terms.algorithm {
        Algorithm::Gcra => {
            let (cost, cost_rest) = terms.price(weight);
            let (limit, limit_rest) = terms.price(terms.limit());
            request
                .arg(terms.rate.permits().get())
                .arg(cost)
                .arg(cost_rest)
                .arg(limit)
                .arg(limit_rest)
        }
        Algorithm::SlidingWindow => request.arg(weight).arg(terms.limit()).arg(terms.piece_us()),
    };
    if terms.borrowed { request.arg(1) } else { request }
}

/// Gives back reservations: of each its id, the id before it, and its weight.
pub(crate) fn refund(terms: &Terms, key: &[u8], of: impl Iterator<Item = (u64, u64, u32)>) -> Request {
    let script = match terms.algorithm {
        Algorithm::Gcra => &script::GCRA_REFUND,
        Algorithm::SlidingWindow => &script::WINDOW_REFUND,
    };
    let mut request = Request::new(script, &[key]).arg(&terms.config);
    for (id, before, weight) in of {
        request = request.arg(id).arg(before);
        request = match terms.algorithm {
            Algorithm::Gcra => {
                let (cost, rest) = terms.price(weight);
                request.arg(cost).arg(rest)
            }
            Algorithm::SlidingWindow => request.arg(weight),
        };
    }
    request
}

/// Makes these the terms of a limiter's record.
pub(crate) fn change(terms: &Terms, key: &[u8], not_after: u64) -> Request {
    let script = match terms.algorithm {
        Algorithm::Gcra => &script::GCRA_CHANGE,
        Algorithm::SlidingWindow => &script::WINDOW_CHANGE,
    };
    let request = Request::new(script, &[key])
        .arg(&terms.config)
        .arg(not_after)
        .arg(terms.keep_ms());
    match terms.algorithm {
        Algorithm::Gcra => request
            .arg(terms.rate.permits().get())
            .arg(terms.period_us())
            .arg(terms.limit()),
        Algorithm::SlidingWindow => request.arg(terms.piece_us()),
    }
}

/// Forgets a limiter.
pub(crate) fn forget(key: &[u8], not_after: u64) -> Request {
    Request::new(&script::LIMITER_RESET, &[key]).arg(not_after)
}
