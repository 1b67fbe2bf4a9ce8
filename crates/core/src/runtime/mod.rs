//! What a client has: its attempts, its schedule, requests that wait for company.

pub(crate) mod batch;
pub(crate) mod call;
pub(crate) mod channels;
pub(crate) mod cluster;
mod deliver;
pub(crate) mod durable;
pub(crate) mod refunds;
pub(crate) mod returns;
pub(crate) mod route;
pub(crate) mod schedule;
pub(crate) mod shared;
pub(crate) mod table;
pub(crate) mod worker;
