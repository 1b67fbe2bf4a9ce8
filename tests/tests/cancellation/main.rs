//! An async call dropped at any of its polls leaves nothing behind, whatever happens around it.
//!
//! Every async call of every primitive and its guards, and of clients and fences, in every scene:
//! nothing of it is left long before any lease ends, the next waiter is served, and a newcomer gets
//! everything (H7, H14, H15, H35).
//!
//! - `calls`: the functions;
//! - `scene`: who holds and waits, and what breaks;
//! - `sweep`: the matrix of both, and what must be true after each case.

#![allow(clippy::significant_drop_tightening, reason = "guards are the subject")]

mod calls;
mod scene;
mod sweep;

use std::sync::atomic::{AtomicUsize, Ordering};

use latchwork_tests::subject::{self, Subject};
use scene::Scene;
use tokio::runtime::Builder;

/// Says how many cases there were, in this sweep and in all that are done.
fn count(cases: usize) -> String {
    static ALL: AtomicUsize = AtomicUsize::new(0);
    let all = cases + ALL.fetch_add(cases, Ordering::Relaxed);
    format!("{cases} cases, {all} in all so far")
}

/// A sweep on a runtime of this flavour. The calls of clients and fences are swept together with the mutex's.
#[allow(
    clippy::print_stdout,
    reason = "the number of cases is for whoever runs it with --nocapture"
)]
fn sweep_on(mut builder: Builder, subject: &'static dyn Subject, scene: Scene) {
    let runtime = builder.enable_all().build().expect("a runtime");
    let others = subject.name() == subject::MUTEX.name();
    let (cases, slowest) = runtime.block_on(sweep::sweep(subject, scene, others));
    let name = subject.name();
    println!("{name}, {scene:?}: {}; undone within {slowest:?}", count(cases));
}

/// A test for each scene and flavour of runtime: everything, for the subject that stands for the engine.
macro_rules! sweeps {
    ($subject:ident: $($name:ident: $scene:ident,)*) => {$(
        mod $name {
            use super::*;

            #[test]
            fn current_thread() {
                sweep_on(Builder::new_current_thread(), subject::$subject, Scene::$scene);
            }

            #[test]
            fn multi_thread() {
                let mut builder = Builder::new_multi_thread();
                builder.worker_threads(2);
                sweep_on(builder, subject::$subject, Scene::$scene);
            }
        }
    )*};
}

sweeps! { MUTEX:
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

/// The scenes in which the primitives differ, for the others: it is the engine that meets the rest, and the mutex has
/// shown that it can.
macro_rules! others {
    ($($name:ident: $subject:ident,)*) => {
        $(
            mod $name {
                use super::*;

                #[test]
                fn free() {
                    sweep_on(Builder::new_current_thread(), subject::$subject, Scene::Free);
                }

                #[test]
                fn queued_between() {
                    sweep_on(Builder::new_multi_thread(), subject::$subject, Scene::QueuedBetween);
                }

                #[test]
                fn h7_granted_while_dropped() {
                    sweep_on(Builder::new_current_thread(), subject::$subject, Scene::Granted);
                }

                #[test]
                fn h26_reply_lost() {
                    sweep_on(Builder::new_multi_thread(), subject::$subject, Scene::ReplyLost);
                }

                #[test]
                fn h35_late_request_while_busy() {
                    sweep_on(Builder::new_current_thread(), subject::$subject, Scene::LateBusy);
                }
            }
        )*

        #[test]
        fn every_subject_is_swept() {
            let all: Vec<_> = subject::all().iter().map(|subject| subject.name()).collect();
            assert_eq!(all, ["mutex", $(stringify!($name)),*]);
        }
    };
}

others! {
    fair: FAIR,
    reentrant: REENTRANT,
    read: READ,
    upgradable: UPGRADABLE,
    write: WRITE,
    semaphore: SEMAPHORE,
}
