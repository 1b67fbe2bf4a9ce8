//! The futures and handles that users drive.

pub(crate) mod acquire;
mod answer;
pub mod dynamic;
pub(crate) mod fence;
pub(crate) mod held;
pub(crate) mod inspect;
pub(crate) mod latch;
pub(crate) mod list;
pub(crate) mod place;
pub(crate) mod primitive;
pub(crate) mod request;
