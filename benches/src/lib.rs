//! Measures Latchwork: against bare scripts on the same kind of connection (the *floor*), and, from `peers/`, against
//! other libraries. `docs/performance.md` says what is measured and how; `cargo xtask bench` runs it.
//!
//! - A [`Library`](contender::Library) is what takes part: the [floor](floor::Floor), [Latchwork](ours::Latchwork), a peer.
//! - A [`Stage`](stage::Stage) is a server of its own with a look into its statistics.
//! - A work, of the table [`WORKS`](works::WORKS), makes [rows](row::Row) out of a stage and those who take part.
//! - What is made of the rows, lines of JSON, a table, charts, is in [`row`], [`chart`] and [`page`].
//!
//! It judges nothing but numbers: whether locks are right is for the tests.

mod blame;
pub mod chart;
pub mod command_line;
pub mod contender;
pub mod floor;
pub mod ours;
pub mod page;
pub mod row;
pub mod sample;
pub mod stage;
pub mod turns;
pub mod works;

/// Whatever goes wrong ends the run: a bench has nothing to recover.
pub type Result<T, E = Box<dyn std::error::Error + Send + Sync>> = std::result::Result<T, E>;
