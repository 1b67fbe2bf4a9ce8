//! What messages mean for the attempts that they are about.

use super::shared::Shared;
use crate::attempt::Stage;
use crate::wire::message::Over;

/// A message: a generation of the key of the attempt with this counter is over, for all who wait for it.
pub(super) fn deliver_over(shared: &Shared, counter: u64, generation: u64, how: Over) {
    let named = shared.table.get(counter);
    for attempt in shared.table.all() {
        if attempt.spec.latch.is_none() || named.as_ref().is_some_and(|named| named.key != attempt.key) {
            continue;
        }
        let mut state = attempt.state();
        if !matches!(state.stage, Stage::Asking | Stage::Queued) {
            continue;
        }
        if state.latch.generation == generation {
            if named.is_some() {
                state.generation_over(generation, how);
            } else {
                // Its key is not known, and another latch might have begun in the same microsecond: only a hint.
                state.stage = Stage::Asking;
                state.wake();
            }
        } else if state.latch.generation == 0 && named.is_some() {
            state.latch.early = Some((generation, how));
        }
    }
}
