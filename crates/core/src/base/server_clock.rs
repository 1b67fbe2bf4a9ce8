//! What a client knows of a server's clock.

use std::sync::{Mutex, PoisonError};

use crate::base::clock::Moment;

/// The last stamp of a server, and the moment just before the request that it answered was sent.
#[derive(Debug)]
pub(crate) struct ServerClock(Mutex<(Moment, u64)>);

impl ServerClock {
    pub(crate) fn new() -> Self {
        Self(Mutex::new((Moment::now(), 0)))
    }

    /// Notes a stamp, in microseconds, from a reply to a request that was sent at `sent`.
    pub(crate) fn note(&self, sent: Moment, stamp: u64) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = (sent, stamp);
    }

    /// Estimates the server's time at `moment`, in microseconds. The estimate is never behind the
    /// server's clock, as long as both clocks run at the same rate.
    pub(crate) fn at(&self, moment: Moment) -> u64 {
        let (sent, stamp) = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        stamp + u64::try_from(moment.since(sent).as_micros()).unwrap_or(0)
    }
}
