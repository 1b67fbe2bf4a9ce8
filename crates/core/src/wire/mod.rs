//! Bytes and types: keys, requests, replies, messages, and the scripts themselves. No lock, no await.

pub(crate) mod guarded;
pub(crate) mod key;
pub(crate) mod message;
pub(crate) mod pace;
pub mod record;
pub(crate) mod request;
pub(crate) mod script;
pub(crate) mod terms;
