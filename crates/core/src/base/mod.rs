//! What everything stands on: time, its limits, pauses, chance, logging.

pub(crate) mod backoff;
pub(crate) mod clock;
pub(crate) mod limit;
pub(crate) mod random;
pub(crate) mod real;
pub(crate) mod server_clock;
pub(crate) mod trace;
