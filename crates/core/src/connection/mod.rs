//! One connection to one server: commands under deadlines, what is asked first, and what errors mean.

pub(crate) mod commands;
mod distance;
pub(crate) mod endpoint;
pub(crate) mod failure;
pub(crate) mod handshake;
pub(crate) mod refusal;
pub(crate) mod tls;
