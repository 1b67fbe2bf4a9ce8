//! A thread that sees to it that the keeper runs when it has to (rule 7).
//!
//! Whoever gets a guard may block the worker that it runs on, and then: a task that was woken from there last is stuck in
//! that worker's LIFO slot, which nobody steals from; and if that worker was the one that watches sockets and timers, the
//! others sleep on. So the keeper's looking task is never woken from a caller's, only from this thread; and this thread
//! wakes another worker when the keeper is overdue, or guards were handed out. It sleeps while there is nothing to keep.

use std::sync::Arc;

use crate::runtime::shared::Shared;

/// Starts the thread. It ends with the client's life.
pub(crate) fn start(shared: &Arc<Shared>) -> std::io::Result<()> {
    let watched = Arc::clone(shared);
    shared.schedule.set_alarm();
    std::thread::Builder::new()
        .name("latchwork-alarm".into())
        .stack_size(64 * 1024)
        .spawn(move || watch(&watched))?;
    Ok(())
}

fn watch(shared: &Arc<Shared>) {
    while !shared.life().is_over() {
        let call = shared.schedule.next_call();
        if call.look {
            shared.schedule.look.notify_one();
        }
        if call.unpark_worker {
            let woken = Arc::clone(shared);
            drop(
                shared
                    .driver
                    .spawn(async move { woken.schedule.worker_unparked() }),
            );
        }
        shared.schedule.sleep(call.overdue);
    }
}
