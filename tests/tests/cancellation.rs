//! Every public async function of the client, the mutex, its guard and the fence, dropped at every poll in every
//! scene: within a second nothing of it is left, the next waiter is served, and a fresh `lock()` works (H7, H14,
//! H15, H35, T18).
//!
//! - `calls`: the functions;
//! - `scene`: who holds and waits, and what breaks;
//! - `sweep`: the matrix of both, and what must be true after each case.

#![allow(clippy::significant_drop_tightening, reason = "guards are the subject")]

#[path = "cancellation/calls.rs"]
mod calls;
#[path = "cancellation/scene.rs"]
mod scene;
#[path = "cancellation/sweep.rs"]
mod sweep;

use std::sync::atomic::{AtomicUsize, Ordering};

use scene::Scene;
use tokio::runtime::Builder;

/// Says how many cases there were, in this sweep and in all that are done.
fn count(cases: usize) -> String {
    static ALL: AtomicUsize = AtomicUsize::new(0);
    let all = cases + ALL.fetch_add(cases, Ordering::Relaxed);
    format!("{cases} cases, {all} in all so far")
}

/// A test for each scene and flavour of runtime.
macro_rules! sweeps {
    ($($name:ident: $scene:ident,)*) => {$(
        mod $name {
            use super::*;

            #[test]
            fn current_thread() {
                let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
                let cases = runtime.block_on(sweep::sweep(Scene::$scene));
                println!("{}, current_thread: {}", stringify!($name), count(cases));
            }

            #[test]
            fn multi_thread() {
                let mut builder = Builder::new_multi_thread();
                let runtime = builder.worker_threads(2).enable_all().build().expect("a runtime");
                let cases = runtime.block_on(sweep::sweep(Scene::$scene));
                println!("{}, multi_thread: {}", stringify!($name), count(cases));
            }
        }
    )*};
}

sweeps! {
    free: Free,
    busy: Busy,
    queued_first: QueuedFirst,
    queued_last: QueuedLast,
    queued_between: QueuedBetween,
    h7_granted_while_dropped: Granted,
    h37_no_script: NoScript,
    reconnecting: Reconnecting,
    cut_while_queued: CutWhileQueued,
    server_frozen: Frozen,
    h26_reply_lost: ReplyLost,
    h26_reply_lost_in_the_queue: ReplyLostQueued,
    h14_request_held_back: HeldBack,
    h35_late_request: Late,
    h35_late_request_while_busy: LateBusy,
    inbox_down: InboxDown,
}
