//! What a worker's LIFO slot may hold of ours, when a guard is handed out there (rule 7).
//!
//! A request wakes the task that sends it, into the slot of the worker that asks. That task runs as soon as the asking one
//! waits. But one that polls several futures may send for one of them, get a guard from another in the same breath, and
//! block: then nothing of this client is sent any more, renewals included.

use std::cell::Cell;
use std::sync::Arc;

use tokio::task;

use crate::attempt::Attempt;

/// Neither an attempt nor another call.
const NOTHING: usize = usize::MAX;
const CALL: usize = 0;

thread_local! {
    /// The last task on this thread that sent something, and the attempt that it was for.
    static LAST: Cell<(Option<task::Id>, usize)> = const { Cell::new((None, NOTHING)) };
}

fn note(what: usize) {
    // A thread that ends has no locals left, and no slot.
    let _gone = LAST.try_with(|last| last.set((task::try_id(), what))).is_err();
}

/// The task that is running sends for this attempt.
pub(crate) fn sends(attempt: &Arc<Attempt>) {
    note(Arc::as_ptr(attempt).addr());
}

/// The task that is running sends something else.
pub(crate) fn calls() {
    note(CALL);
}

/// Whether the task that is running has sent something for another than this attempt, and may not have waited since.
pub(crate) fn holds_another(attempt: &Arc<Attempt>) -> bool {
    let last = LAST.try_with(|last| last.replace((None, NOTHING)));
    last.is_ok_and(|(task, what)| {
        what != NOTHING && what != Arc::as_ptr(attempt).addr() && task == task::try_id()
    })
}
