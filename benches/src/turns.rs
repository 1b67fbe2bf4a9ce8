//! Who had his turn when: watches lock futures from outside, the same way for every library.

use std::future::Future;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use crate::Result;
use crate::contender::{Held, Lock};

/// From being asked for to being had.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Turn {
    /// Before the first poll.
    pub asked: Instant,
    /// After the second poll in vain: it was sent in the first, and woken by an answer that was not a grant. From here on it
    /// is known to wait. `None`: it was not made to.
    pub waiting: Option<Instant>,
    /// It had the lock.
    pub had: Instant,
}

impl Turn {
    /// How long it took.
    pub fn wait(&self) -> Duration {
        self.had - self.asked
    }
}

/// Awaits `lock`, and calls `waits` when it is known to wait.
pub async fn watch<F: Future, R>(lock: F, waits: impl FnOnce() -> R) -> (F::Output, Turn) {
    let mut lock = pin!(lock);
    let asked = Instant::now();
    let (mut polls, mut waiting, mut waits) = (0_u32, None, Some(waits));
    let output = std::future::poll_fn(|cx| {
        let poll = lock.as_mut().poll(cx);
        if poll.is_pending() {
            polls += 1;
            if polls == 2 {
                waiting = Some(Instant::now());
                if let Some(waits) = waits.take() {
                    drop(waits());
                }
            }
        }
        poll
    })
    .await;
    let had = Instant::now();
    (output, Turn { asked, waiting, had })
}

/// Those who wait for locks, and whether all of them do.
#[derive(Debug)]
pub struct Waiting {
    sender: UnboundedSender<Result<()>>,
    receiver: UnboundedReceiver<Result<()>>,
}

impl Waiting {
    /// Nobody yet.
    pub fn new() -> Self {
        let (sender, receiver) = unbounded_channel();
        Self { sender, receiver }
    }

    /// Waits for `lock`, and tells this when it is known to wait, or that it failed.
    pub fn join(&self, lock: Arc<dyn Lock>) -> impl Future<Output = Option<Held>> + Send + 'static {
        self.watch(lock.hold())
    }

    /// As [`join`](Self::join), for any future.
    pub fn watch<T, F>(&self, asked: F) -> impl Future<Output = Option<T>> + Send + 'static
    where
        T: Send + 'static,
        F: Future<Output = Result<T>> + Send + 'static,
    {
        let sender = self.sender.clone();
        async move {
            let (output, _) = watch(asked, || sender.send(Ok(()))).await;
            match output {
                Ok(output) => Some(output),
                Err(error) => {
                    let _nobody_asks = sender.send(Err(error)).is_err();
                    None
                }
            }
        }
    }

    /// Returns when `count` more are known to wait.
    ///
    /// # Errors
    /// Somebody failed, or does not wait after a minute.
    pub async fn joined(&mut self, count: usize) -> Result<()> {
        let all = async {
            for _ in 0..count {
                self.receiver.recv().await.ok_or("nobody waits")??;
            }
            Ok(())
        };
        let limit = Duration::from_secs(60);
        tokio::time::timeout(limit, all)
            .await
            .map_err(|_| "not everybody who was to wait does, after a minute")?
    }

    /// Returns why somebody failed.
    pub fn failure(&mut self) -> Box<dyn std::error::Error + Send + Sync> {
        while let Ok(told) = self.receiver.try_recv() {
            if let Err(error) = told {
                return error;
            }
        }
        "a waiter failed".into()
    }
}

impl Default for Waiting {
    fn default() -> Self {
        Self::new()
    }
}

/// The turns of one lock, in their order: noted by the holder while it holds.
#[derive(Debug, Default)]
pub struct Turns(Mutex<Vec<Turn>>);

impl Turns {
    /// To be called by the holder.
    pub fn note(&self, turn: Turn) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(turn);
    }

    /// All so far.
    pub fn take(&self) -> Vec<Turn> {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// How often somebody had a turn before one who was known to wait when the other had not even asked.
pub fn inversions(turns: &[Turn]) -> usize {
    // From the last to the first: who had a turn after somebody who asked later?
    let overtaken = |(at, turn): (usize, &Turn)| {
        let waiting = turn.waiting?;
        let passed = turns[..at]
            .iter()
            .rev()
            .take_while(|other| other.had > waiting)
            .filter(|other| other.asked > waiting)
            .count();
        Some(passed)
    };
    turns.iter().enumerate().filter_map(overtaken).sum()
}

#[cfg(test)]
mod tests {
    use std::task::Poll;

    use super::*;

    /// Pending so many times.
    async fn yields(times: u32) {
        for _ in 0..times {
            let mut yielded = false;
            std::future::poll_fn(|cx| {
                if yielded {
                    return Poll::Ready(());
                }
                yielded = true;
                cx.waker().wake_by_ref();
                Poll::Pending
            })
            .await;
        }
    }

    #[tokio::test]
    async fn the_second_poll_in_vain_is_waiting() {
        let mut called = 0;
        let ((), turn) = watch(yields(1), || called += 1).await;
        assert_eq!((turn.waiting, called), (None, 0));
        let ((), turn) = watch(yields(3), || called += 1).await;
        assert_eq!(called, 1);
        let waiting = turn.waiting.expect("it waited");
        assert!(turn.asked <= waiting && waiting <= turn.had);
    }

    #[test]
    fn overtaking_counts() {
        let start = Instant::now();
        let turn = |asked: u64, waiting: Option<u64>, had: u64| Turn {
            asked: start + Duration::from_millis(asked),
            waiting: waiting.map(|at| start + Duration::from_millis(at)),
            had: start + Duration::from_millis(had),
        };
        let first = turn(0, None, 1);
        let waits = turn(2, Some(3), 9);
        assert_eq!(
            inversions(&[first, turn(1, Some(2), 5), waits]),
            0,
            "asked before"
        );
        assert_eq!(
            inversions(&[first, turn(2, None, 5), waits]),
            0,
            "asked at the same time"
        );
        assert_eq!(inversions(&[first, turn(4, None, 5), waits]), 1, "overtook");
        assert_eq!(
            inversions(&[first, waits, turn(4, None, 10)]),
            0,
            "had its turn later"
        );
        assert_eq!(
            inversions(&[first, turn(4, None, 5), turn(6, None, 7), waits]),
            2,
            "each time counts"
        );
        assert_eq!(inversions(&[]), 0);
    }
}
