//! The named futures of this crate. All are `Send + 'static`, and give back what they reserved when they are dropped, as far
//! as that is still possible.

pub use latchwork_core::RateAcquire;
