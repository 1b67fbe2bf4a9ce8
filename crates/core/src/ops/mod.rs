//! The futures and handles that users drive.

pub(crate) mod acquire;
pub(crate) mod convert;
pub(crate) mod counted;
pub mod dynamic;
pub(crate) mod fence;
pub(crate) mod guard;
pub(crate) mod hold;
pub(crate) mod inspect;
pub(crate) mod latch;
pub(crate) mod place;
pub(crate) mod primitive;
pub(crate) mod release;
pub(crate) mod request;
pub(crate) mod take_over;
