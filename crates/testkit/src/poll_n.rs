//! Cancelling a future at a chosen point: the means behind "every poll of every public async fn".
//!
//! A poll here is one that the future asked for: it is polled first at once, then only after its waker was
//! called. What else wakes the task (a timeout around it, a neighbour in a `join!`) does not count.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

/// How a future ended under [`drop_after_polls`] or [`drop_when_woken`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(clippy::exhaustive_enums, reason = "a future ends in one of two ways")]
pub enum Outcome<T> {
    /// It was done by then.
    Completed(T),
    /// It was dropped.
    Dropped,
}

impl<T> Outcome<T> {
    /// Whether it was dropped before its end.
    pub fn is_dropped(&self) -> bool {
        matches!(self, Self::Dropped)
    }

    /// What it returned, if it was done.
    pub fn completed(self) -> Option<T> {
        match self {
            Self::Completed(output) => Some(output),
            Self::Dropped => None,
        }
    }
}

/// Polls `future` up to `polls` times and drops it as soon as the last of these polls leaves it pending.
///
/// With 0 it is dropped without being polled. To try every point: count up until it is `Completed`.
///
/// # Cancel safety
/// Dropping this drops `future` wherever it is.
pub async fn drop_after_polls<F: Future>(future: F, polls: usize) -> Outcome<F::Output> {
    drop_at(future, polls, false).await
}

/// Polls `future` up to `polls` times, waits until it is woken once more, and drops it then, unpolled.
///
/// This is the other half of the points at which `select!` drops a future: what it waited for has come (the reply,
/// the grant), and it never gets to see it. Waits as long as the wake-up takes: put a timeout around it.
///
/// # Cancel safety
/// Dropping this drops `future` wherever it is.
pub async fn drop_when_woken<F: Future>(future: F, polls: usize) -> Outcome<F::Output> {
    drop_at(future, polls, true).await
}

async fn drop_at<F: Future>(future: F, polls: usize, wait_for_wake: bool) -> Outcome<F::Output> {
    let mut future = pin!(future);
    let flag = Arc::new(Flag {
        woken: AtomicBool::new(true),
        task: Mutex::new(None),
    });
    let waker = Waker::from(Arc::clone(&flag));
    let mut left = polls;
    poll_fn(|outer| {
        flag.set_task(outer.waker());
        loop {
            if left == 0 && !wait_for_wake {
                return Poll::Ready(Outcome::Dropped);
            }
            if !flag.woken.swap(false, Ordering::AcqRel) {
                return Poll::Pending;
            }
            if left == 0 {
                return Poll::Ready(Outcome::Dropped);
            }
            left -= 1;
            if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
                return Poll::Ready(Outcome::Completed(output));
            }
        }
    })
    .await
    // `future` is dropped here, before the caller goes on.
}

/// Remembers that the future asked for a poll, and passes the wake-up on to the task.
struct Flag {
    woken: AtomicBool,
    task: Mutex<Option<Waker>>,
}

impl Flag {
    fn set_task(&self, waker: &Waker) {
        let mut task = self.task.lock().unwrap_or_else(PoisonError::into_inner);
        match task.as_mut() {
            Some(task) => task.clone_from(waker),
            None => *task = Some(waker.clone()),
        }
    }
}

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.woken.store(true, Ordering::Release);
        let task = self.task.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(task) = task {
            task.wake();
        }
    }
}
