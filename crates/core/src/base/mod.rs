//! What everything stands on: time, pauses, chance, logging.

pub(crate) mod backoff;
pub(crate) mod clock;
pub(crate) mod random;
pub(crate) mod trace;
