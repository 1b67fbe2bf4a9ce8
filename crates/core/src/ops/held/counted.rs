//! What counted primitives have beyond the others: a capacity that can be asked for and changed, and holds that can be
//! taken apart and put together.

use std::sync::Arc;

use super::guard::Guard;
use crate::attempt::event::{Event, HoldEvent};
use crate::attempt::rules::NOT_KEPT;
use crate::base::clock::{Moment, millis};
use crate::base::limit;
use crate::ops::primitive::Primitive;
use crate::ops::request::AcquireRequest;
use crate::runtime::returns::Return;
use crate::types::error::{Error, ErrorKind, Result, foreign};
use crate::types::options::KEEP;
use crate::types::rate::Rate;
use crate::wire::pace::Pace;
use crate::wire::reply::{InspectReply, MergeReply, ResizeReply};
use crate::wire::request::{Capacity, Setting, TakeOver, inspect, merge, resize};

/// How much of a counted primitive there is, as of one moment at the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Count {
    /// All there is; what the handle says if the server has no record.
    pub capacity: u32,
    /// What nobody holds.
    pub available: u32,
}

/// Holds that are over and that one inspection adds up.
const PORTION: usize = 1000;
/// How often they are counted anew, because some were removed meanwhile. Those that are over go with the next request of
/// anybody, so it ends soon.
const COUNTS: usize = 8;

impl Primitive {
    /// How much there is, and how much of it is free. Reads only; one request, and one more for each thousand of holds that
    /// are over and that nobody has looked at since.
    ///
    /// # Errors
    /// `Unavailable`, `Closed`, `Denied`, `WrongType`.
    ///
    /// # Cancel safety
    /// Cancel safe: it changes nothing.
    pub async fn count(&self) -> Result<Count> {
        self.look_at_count()
            .await
            .map_err(|error| error.named(self.name()))
    }

    async fn look_at_count(&self) -> Result<Count> {
        for _ in 0..COUNTS {
            if let Some((capacity, used)) = self.add_up().await? {
                let capacity = capacity.unwrap_or_else(|| u64::from(self.spec().whole()));
                let number = |count: u64| u32::try_from(count).unwrap_or(u32::MAX);
                return Ok(Count {
                    capacity: number(capacity),
                    available: number(capacity.saturating_sub(used)),
                });
            }
        }
        Err(Error::new(
            ErrorKind::Unavailable,
            "holds that are over were removed while they were counted, again and again; count again",
        ))
    }

    /// The capacity, if the record has it, and what is in use. What is over counts no more: a thousand of those are added up
    /// in a request. `None`: somebody removed some of them meanwhile.
    async fn add_up(&self) -> Result<Option<(Option<u64>, u64)>> {
        let (mut over, mut first) = (0, None);
        for portion in 0..limit::MORE {
            let from = first.map(|(as_of, _)| (portion * PORTION, as_of));
            let reply = self.client().call(&inspect(self.key(), 0, from)).await?.reply;
            let record = match InspectReply::read(reply)? {
                InspectReply::Nothing if first.is_none() => return Ok(Some((None, 0))),
                InspectReply::Nothing => return Ok(None),
                InspectReply::Record(record) => record,
                InspectReply::Foreign => return Err(foreign()),
            };
            let (_, ended) = *first.get_or_insert((record.stamp / 1000, record.ended));
            if record.ended != ended {
                return Ok(None);
            }
            over += record.over;
            if ended <= u64::try_from((portion + 1) * PORTION).unwrap_or(u64::MAX) {
                return Ok(Some((record.capacity, record.used.saturating_sub(over))));
            }
        }
        Ok(None)
    }

    /// Sets how much there is, for everybody and whatever their handles say. Holders keep what they have.
    ///
    /// # Errors
    /// `Invalid` for zero; `Unavailable` (then it may or may not have happened), `Closed`, `Denied`, `WrongType`,
    /// `OutOfMemory`.
    ///
    /// # Cancel safety
    /// It may or may not happen.
    pub async fn resize(&self, capacity: u32) -> Result<()> {
        if capacity == 0 {
            return Err(Error::invalid("the capacity must be at least 1").named(self.name()));
        }
        self.set(Setting::Capacity, capacity, self.spec().pace())
            .await
            .map_err(|error| error.named(self.name()))
    }

    /// Sets the rate at which permits start, for everybody and whatever their handles say; `None`: at any. Those that were
    /// granted keep their start.
    ///
    /// # Errors
    /// As [`resize`](Self::resize), `Invalid` for a rate that cannot work.
    ///
    /// # Cancel safety
    /// It may or may not happen.
    pub async fn set_rate(&self, rate: Option<Rate>) -> Result<()> {
        let named = |error: Error| error.named(self.name());
        let max_wait = self.spec().numbers().and_then(|numbers| numbers.max_wait);
        let pace = rate
            .map(|rate| Pace::new(rate, max_wait))
            .transpose()
            .map_err(named)?;
        self.set(Setting::Pace, self.spec().whole(), pace.as_ref())
            .await
            .map_err(named)
    }

    /// Makes the record say one of the two.
    async fn set(&self, what: Setting, capacity: u32, pace: Option<&Pace>) -> Result<()> {
        let shared = self.client().shared();
        let spec = self.spec();
        let capacity = Capacity::counted(capacity);
        let keep = spec.numbers().map_or(KEEP, |numbers| numbers.keep);
        let life = shared.key_life_ms(spec, spec.lease).max(millis(keep));
        let pace = pace.map_or("", |pace| &*pace.text);
        for _ in 0..limit::MORE {
            let deadline = Moment::now() + shared.options.operation_timeout;
            let not_after = shared.route.not_after(self.key(), deadline);
            let request = resize(self.key(), capacity, life, not_after, pace, what);
            let answer = self.client().call(&request).await?;
            let (stamp, reply) = ResizeReply::read(&answer.reply)?;
            answer.note_stamp(stamp);
            match reply {
                ResizeReply::Done { more, refused } => {
                    shared.note_publish(refused);
                    if !more {
                        return Ok(());
                    }
                }
                ResizeReply::Foreign => return Err(foreign()),
                ResizeReply::Late => return Err(changed_nothing()),
            }
        }
        Err(Error::new(
            ErrorKind::Unavailable,
            "it is set, but not all of those who wait and fit were let in yet",
        ))
    }
}

impl Guard {
    /// Makes a hold of its own of a part of this one, and renews both. `None`: this one has not more than that.
    ///
    /// # Errors
    /// `Invalid` for zero, `Lost` if the hold has ended. `Unavailable`, `OutOfMemory`, `Closed`, `Denied`: then the part
    /// returns to this hold, which counts on having less until the server has confirmed it. If that takes as long as the
    /// lease, it counts on having less from then on.
    ///
    /// # Cancel safety
    /// Dropping it returns the part to this hold, in the same way.
    pub async fn split(&mut self, weight: u32) -> Result<Option<Self>> {
        if weight == 0 {
            return Err(
                Error::invalid("the number of permits to split off must be at least 1").named(self.name()),
            );
        }
        if let Some(error) = self.lost_error() {
            return Err(error);
        }
        let returned = self.take_returned();
        if weight >= self.weight {
            return Ok(None);
        }
        let whole = Arc::clone(&self.view.attempt);
        let request = AcquireRequest {
            name: whole.name.clone(),
            key: Arc::clone(&whole.key),
            spec: whole.spec.with_weight(weight),
        };
        // Before anything is sent: what is not known to be here is not here.
        self.weight -= weight;
        let client = self.client.clone();
        client.shared().confirming(&whole);
        let sent = Moment::now();
        let back = Return {
            into: whole.id.as_str().into(),
            weight,
            returned,
            until: sent + whole.spec.lease * 9 / 10,
        };
        let taken = client
            .take_over(request, TakeOver::Split { whole: &whole.id }, Some(back))
            .await;
        match taken {
            Ok(mut part) => {
                part.held = self.held;
                if let Some(cap) = self.cap() {
                    part.lasts_no_longer_than(cap);
                }
                let left = whole.spec.lease;
                let renewed = Event::Hold(HoldEvent::Renewed { left, sent });
                client.shared().on(&whole, renewed, Moment::now());
                Ok(Some(part))
            }
            Err(error) => {
                let lost = self.view.attempt.check(Moment::now());
                let lost = lost.filter(|_| error.kind() == ErrorKind::Lost);
                Err(lost.map_or(error, |loss| Error::lost(loss).named(self.name())))
            }
        }
    }

    /// Adds what another hold has to this one, and renews this one.
    ///
    /// # Errors
    /// `Invalid` if the other is of another primitive or client, `Lost` if one of them has ended, `Unavailable`, `Closed`,
    /// `Denied`. In each of these cases the other is given back, and this one counts on having what it had.
    ///
    /// # Cancel safety
    /// Dropping it gives the other back; this one counts on having what it had.
    pub async fn merge(&mut self, other: Self) -> Result<()> {
        self.take_in(other)
            .await
            .map_err(|error| error.named(self.name()))
    }

    async fn take_in(&mut self, mut other: Self) -> Result<()> {
        let attempt = Arc::clone(&self.view.attempt);
        let part = Arc::clone(&other.view.attempt);
        let client = self.client.clone();
        let shared = client.shared();
        if attempt.key != part.key || !std::ptr::eq(shared, other.client.shared()) {
            return Err(Error::invalid(
                "only permits of the same client and the same semaphore can be merged",
            ));
        }
        if let Some(error) = self.lost_error().or_else(|| other.lost_error()) {
            return Err(error);
        }
        let deadline = Moment::now() + shared.options.operation_timeout;
        let not_after = shared.route.not_after(&attempt.key, deadline);
        let times = (
            millis(attempt.spec.lease),
            shared.key_life_ms(&attempt.spec, attempt.spec.lease),
        );
        let request = merge(&attempt.key, &attempt.id, times, &part.id, not_after);
        let cap = other.cap();
        shared.confirming(&attempt);
        // From here on it is given back or part of this one: no renewal is sent, which would find it gone.
        shared.on(
            &part,
            Event::Hold(HoldEvent::Releasing { until: NOT_KEPT }),
            Moment::now(),
        );
        let sent = Moment::now(); // of the first copy: it may be the one that did it
        let answer = client.call(&request).await?;
        let (stamp, reply) = MergeReply::read(&answer.reply)?;
        answer.note_stamp(stamp);
        match reply {
            MergeReply::Done => {
                other.take_returned();
                other.leave();
                self.weight = self.weight.saturating_add(other.weight);
                let left = attempt.spec.lease;
                let renewed = Event::Hold(HoldEvent::Renewed { left, sent });
                shared.on(&attempt, renewed, Moment::now());
                // The maximum hold is that of what was held for longer.
                if let Some(cap) = cap {
                    self.lasts_no_longer_than(cap);
                }
                let now = Moment::now();
                if other.held.at(now) > self.held.at(now) {
                    self.held = other.held;
                }
                Ok(())
            }
            MergeReply::Ended(why) => Err(self.lost_error().unwrap_or_else(|| Error::lost(why.loss()))),
            MergeReply::Foreign => Err(foreign()),
            MergeReply::Late => Err(changed_nothing()),
        }
    }
}

fn changed_nothing() -> Error {
    Error::new(
        ErrorKind::Unavailable,
        "the request came too late at the server, and changed nothing",
    )
}
