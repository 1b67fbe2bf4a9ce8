//! Measures Latchwork: against bare scripts on the same kind of connection (the *floor*), and, from `peers/`, against
//! other libraries. `docs/performance.md` says what is measured and how; `cargo xtask bench` runs it.
//!
//! - A [`Library`](contender::Library) is what takes part: the [floor](floor::Floor), [Latchwork](ours::Latchwork), a peer.
//! - A [`Stage`](stage::Stage) is a server of its own with a look into its statistics.
//! - A work, listed in `works::WORKS`, makes rows out of a stage and those who take part.
//! - Rows become JSON and a table in `row`, charts in `chart`, and the page of results in `page`.
//!
//! It judges nothing but numbers: whether locks are right is for the tests.

mod blame;
mod chart;
pub mod command_line;
pub mod contender;
pub mod floor;
pub mod kinds;
pub mod ours;
mod page;
mod row;
pub mod sample;
pub mod stage;
pub mod turns;
mod works;

/// Whatever goes wrong ends the run: a bench has nothing to recover.
pub type Result<T, E = Box<dyn std::error::Error + Send + Sync>> = std::result::Result<T, E>;
