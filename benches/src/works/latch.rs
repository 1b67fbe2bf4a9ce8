//! A latch: the last count-down, and a wait that passes at once, by one task, against a bare number that is counted down.
//!
//! A latch finishes once, so each cycle has one of its own. It was made for two, and one of them has counted, before the
//! clock starts and the statistics are read: what a cycle finds is what the last of several finds, and not a key that is not there.
//! - One latch with a large count would let no wait pass, and every count-down leaves a mark for a second (so that a
//!   repeated request counts once): it would measure thousands of marks, which no latch of few parties has.
//! - Latches that are reset over and over would collect what is remembered of their generations for a minute.
//! - Beside Latchwork alone stands `least`, without a bar: what any script takes that counts once.
//! - Handing the end to tasks that wait is no part of it: that is a message, as in `hand-off`.

use std::sync::Arc;

use super::lanes::{Cycle, against_floor};
use super::{Bench, Findings};
use crate::Result;
use crate::floor::CountsOnce;

pub(super) async fn run(bench: &Bench) -> Result<Findings> {
    let cycle = Cycle::pair(|session| session.latch("loaded"));
    let rounds = bench.rounds(200, 1000); // there is more to a round than its cycles
    let mut bench = bench.clone();
    if bench.contenders.len() == 1 {
        bench.contenders.push(Arc::new(CountsOnce));
    }
    against_floor(&bench, "latch", cycle, rounds).await
}
