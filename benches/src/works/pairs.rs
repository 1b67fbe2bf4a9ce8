//! Acquire and release by one task, against the bare pair of scripts.

use super::lanes::{Cycle, against_floor};
use super::{Bench, Findings};
use crate::Result;

/// One permit of that many.
const PERMITS: u32 = 10;

pub(super) async fn mutex(bench: &Bench) -> Result<Findings> {
    let cycle = Cycle::pair(|session| session.mutex("orders"));
    against_floor(bench, "uncontended", cycle, bench.rounds(300, 1500)).await
}

pub(super) async fn semaphore(bench: &Bench) -> Result<Findings> {
    let cycle = Cycle::pair(|session| session.permit("calls", PERMITS));
    against_floor(bench, "semaphore", cycle, bench.rounds(300, 1500)).await
}
