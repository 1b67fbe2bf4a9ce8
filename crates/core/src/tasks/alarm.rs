//! A thread that sees to it that the keeper runs when it has to (rule 7).
//!
//! Whoever gets a guard may block the worker that it runs on, and then: a task that was woken from there last is stuck in
//! that worker's LIFO slot, which nobody steals from; and if that worker was the one that watches sockets and timers, the
//! others sleep on. So the keeper's looking task is never woken from a caller's, only from this thread; and this thread
//! wakes another worker when the keeper is overdue, or guards were handed out. It sleeps while there is nothing to keep.

use std::sync::Arc;
use std::time::Duration;

use crate::base::clock::Moment;
use crate::runtime::schedule::ROUND;
use crate::runtime::shared::{Life, Shared};

/// The keeper's own timer comes first.
const GRACE: Duration = Duration::from_millis(2);
/// How often a keeper that is overdue is called.
const AGAIN: Duration = Duration::from_millis(10);

/// Starts the thread. It ends with the client's life.
pub(crate) fn start(shared: &Arc<Shared>) -> std::io::Result<()> {
    let watched = Arc::clone(shared);
    let thread = std::thread::Builder::new()
        .name("latchwork-alarm".into())
        .stack_size(64 * 1024)
        .spawn(move || watch(&watched))?;
    shared.keeper.set_alarm(thread.thread().clone());
    Ok(())
}

/// One at a time, however long all workers are blocked.
fn nudge(shared: &Arc<Shared>) {
    if !shared.keeper.begin_nudge() {
        return;
    }
    let nudged = Arc::clone(shared);
    drop(shared.driver.spawn(async move { nudged.keeper.end_nudge() }));
}

fn watch(shared: &Arc<Shared>) {
    let keeper = &shared.keeper;
    while matches!(shared.life(), Life::Open | Life::Closing) {
        let (stirred, handed_out) = keeper.heard();
        let due = keeper.due();
        let now = Moment::now();
        let overdue = now >= due + GRACE;
        if stirred || overdue {
            keeper.look.notify_one();
        }
        if handed_out || overdue {
            // From outside its workers, so one that sleeps is woken, and watches sockets and timers then.
            nudge(shared);
        }
        if overdue {
            std::thread::park_timeout(AGAIN);
        } else if due < Moment::NEVER {
            std::thread::park_timeout((due + GRACE).since(now).min(ROUND));
        } else if keeper.rests() {
            std::thread::park();
            keeper.rested();
        }
    }
}
