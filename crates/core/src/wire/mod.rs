//! Bytes and types: keys, requests, replies, messages, and the scripts themselves. No lock, no await.

pub(crate) mod client;
pub(crate) mod command;
pub(crate) mod guarded;
pub(crate) mod id;
pub(crate) mod key;
pub(crate) mod message;
pub(crate) mod pace;
pub(crate) mod plain;
pub mod record;
pub(crate) mod reply;
pub(crate) mod request;
pub(crate) mod script;
pub(crate) mod slot;
pub(crate) mod terms;
pub(crate) mod value;

#[cfg(test)]
mod tests;
