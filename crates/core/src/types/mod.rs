//! What users name, without logic of the protocol.

pub(crate) mod credentials;
pub(crate) mod durability;
pub(crate) mod error;
pub(crate) mod fence;
pub(crate) mod inbox;
pub(crate) mod latch;
pub(crate) mod loss;
pub(crate) mod name;
pub(crate) mod options;
pub(crate) mod owner;
pub(crate) mod rate;
pub(crate) mod sentinel;
#[cfg(feature = "serde")]
mod serde;
pub(crate) mod server;
pub(crate) mod ticket;
#[cfg(any(feature = "tls-rustls", feature = "tls-native-tls"))]
pub(crate) mod tls;
pub(crate) mod token;
