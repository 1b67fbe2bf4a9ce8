//! One connection to one server: commands under deadlines, what is asked first, and what errors mean.

pub(crate) mod address;
mod distance;
pub(crate) mod endpoint;
pub(crate) mod failure;
pub(crate) mod handshake;
pub(crate) mod node;
pub(crate) mod opening;
pub(crate) mod outage;
mod ready;
pub(crate) mod refusal;
mod scripts;
pub(crate) mod sending;
pub(crate) mod sentinel;
pub(crate) mod shard;
pub(crate) mod site;
pub(crate) mod source;
#[cfg(any(feature = "tls-rustls", feature = "tls-native-tls"))]
pub(crate) mod tls;
pub(crate) mod wallet;
pub(crate) mod witness;
pub(crate) mod youth;
