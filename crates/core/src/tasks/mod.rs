//! What a client does in the background, and how that is started.

pub(crate) mod alarm;
pub(crate) mod builder;
pub(crate) mod client;
pub(crate) mod drain;
pub(crate) mod inbox;
pub(crate) mod keeper;
pub(crate) mod label;
pub(crate) mod lane;
mod sender;
mod sharded;
mod starting;
pub(crate) mod supervisor;
mod topology;
mod watch;
