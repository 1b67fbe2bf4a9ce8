//! Acquiring, waiting for and releasing the primitive under test, whichever it is.

use std::sync::Arc;
use std::time::Duration;

use latchwork_core::{Client, ErrorKind, FencingToken, Result};
use tokio::task::JoinHandle;

use crate::subject::{Guard, Handle, Options};
use crate::{Fixture, go, soon};

/// An acquire that runs in a task of its own.
pub type Waiter = JoinHandle<Result<Guard>>;

impl Fixture<'_> {
    /// A handle of this client's.
    ///
    /// # Panics
    /// If there can be none.
    pub fn handle(&self, client: &Client) -> Arc<dyn Handle> {
        self.handle_with(client, &Options::NONE)
    }

    /// A handle with options.
    ///
    /// # Panics
    /// If there can be none.
    pub fn handle_with(&self, client: &Client, options: &Options) -> Arc<dyn Handle> {
        let handle = self.subject.handle(client, self.name.as_bytes(), options);
        handle.expect("a handle")
    }

    /// One hold.
    ///
    /// # Panics
    /// If the acquire fails.
    pub async fn held(&self, client: &Client) -> Guard {
        let acquired = soon("an acquire", self.handle(client).acquire()).await;
        acquired.expect("a hold")
    }

    /// One hold, without waiting.
    ///
    /// # Panics
    /// If the server does not answer.
    pub async fn tried(&self, client: &Client) -> Option<Guard> {
        let tried = soon("a try", self.handle(client).try_acquire()).await;
        tried.expect("an answer")
    }

    /// Everything the primitive has: whoever comes now waits.
    ///
    /// # Panics
    /// If the acquire fails.
    pub async fn all(&self, client: &Client) -> Guard {
        let taken = self.subject.take_all(client, self.name.as_bytes());
        soon("all there is", taken).await.expect("all there is")
    }

    /// An acquire that runs from now on.
    pub fn waiting(&self, client: &Client) -> Waiter {
        go(self.handle(client).acquire())
    }

    /// An acquire that waits in the queue.
    ///
    /// # Panics
    /// If it does not get there.
    pub async fn queue(&self, client: &Client) -> Waiter {
        let before = self.waiters();
        let waiter = self.waiting(client);
        self.queued(before + 1).await;
        waiter
    }

    /// What a waiter gets.
    ///
    /// # Panics
    /// If it gets nothing.
    pub async fn granted(&self, waiter: Waiter) -> Guard {
        let granted = soon("a grant", waiter).await.expect("no panic");
        granted.expect("a hold")
    }

    /// Releases a hold, and checks that it was still held.
    ///
    /// # Panics
    /// If it was not.
    pub async fn released(&self, guard: Guard) {
        soon("a release", guard.release()).await.expect("released");
    }

    /// Checks that the server still knows the hold, and renews it. For a while it may be unable to
    /// answer.
    ///
    /// # Panics
    /// If the hold is lost.
    pub async fn still_held(&self, guard: &Guard, lease: Duration) {
        until_extended(async || guard.extend(lease).await).await;
        assert!(!guard.is_lost(), "still held");
    }
}

/// Repeats an extension while the server cannot answer.
pub(crate) async fn until_extended(extend: impl AsyncFn() -> Result<()>) {
    let extended = async {
        while let Err(error) = extend().await {
            let passing = matches!(error.kind(), ErrorKind::Unavailable | ErrorKind::ReadOnly);
            assert!(passing, "{error:?}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    soon("an extension", extended).await;
}

/// Tokens rise, where both holds have one.
///
/// # Panics
/// If they do not.
pub fn rises(before: Option<FencingToken>, after: Option<FencingToken>) {
    let rises = before.zip(after).is_none_or(|(before, after)| before < after);
    assert!(rises, "tokens rise: {before:?}, {after:?}");
}
