//! A thread that makes sure that the keeper runs in time (rule 7).
//!
//! A task that gets a guard may block its worker. The task that it has just woken is then stuck in
//! that worker's LIFO slot, from which nobody steals. If that worker was the one that watches
//! sockets and timers, the other workers sleep on. So only this thread wakes the keeper's renewing
//! task, never a caller. The thread also wakes another worker when the keeper is overdue, or after
//! guards were handed out. It sleeps while nothing is held or waited for.

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
