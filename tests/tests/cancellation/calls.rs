//! The public async functions, as one table.

use std::pin::Pin;
use std::time::{Duration, Instant};

use latchwork_mutex::{Client, ClientBuilder, Error, Fence, FencingToken, Mutex, MutexGuard, Ticket};

/// Short: what has to wait for its end is over within the second that a case has.
pub(crate) const LEASE: Duration = Duration::from_millis(400);

/// How long a bounded wait waits: long enough to queue.
const WAIT: Duration = Duration::from_millis(150);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Call {
    Lock,
    TryLock,
    TryLockFor,
    TryLockUntil,
    Run,
    TryRun,
    IsLocked,
    Inspect,
    ForceUnlock,
    Resume,
    Unlock,
    Extend,
    IntoTicket,
    Connect,
    Close,
    Ping,
    FenceAdmit,
    FenceSet,
    FenceEval,
    FenceHighest,
}

impl Call {
    pub(crate) const ALL: [Self; 20] = [
        Self::Lock,
        Self::TryLock,
        Self::TryLockFor,
        Self::TryLockUntil,
        Self::Run,
        Self::TryRun,
        Self::IsLocked,
        Self::Inspect,
        Self::ForceUnlock,
        Self::Resume,
        Self::Unlock,
        Self::Extend,
        Self::IntoTicket,
        Self::Connect,
        Self::Close,
        Self::Ping,
        Self::FenceAdmit,
        Self::FenceSet,
        Self::FenceEval,
        Self::FenceHighest,
    ];

    /// It needs a guard of the lock.
    pub(crate) fn needs_guard(self) -> bool {
        matches!(self, Self::Unlock | Self::Extend | Self::IntoTicket | Self::Close)
    }

    /// It needs a ticket.
    pub(crate) fn needs_ticket(self) -> bool {
        self == Self::Resume
    }

    /// It leaves a ticket, or does not get to use one.
    pub(crate) fn leaves_ticket(self) -> bool {
        matches!(self, Self::Resume | Self::IntoTicket)
    }

    /// It joins the queue if the lock is held.
    pub(crate) fn queues(self) -> bool {
        matches!(
            self,
            Self::Lock | Self::TryLockFor | Self::TryLockUntil | Self::Run
        )
    }
}

/// What the calls are made on.
#[derive(Debug)]
pub(crate) struct Subject {
    pub(crate) client: Client,
    pub(crate) builder: ClientBuilder,
    pub(crate) mutex: Mutex,
    pub(crate) guard: Option<MutexGuard>,
    pub(crate) ticket: Option<Ticket>,
    pub(crate) fence: Fence,
    pub(crate) token: FencingToken,
}

pub(crate) type Work = Pin<Box<dyn Future<Output = Result<(), Error>> + Send>>;

impl Subject {
    /// The future of a call. What it yields is dropped with it.
    pub(crate) fn begin(&mut self, call: Call) -> Work {
        let mutex = self.mutex.clone();
        let (fence, token) = (self.fence.clone(), self.token);
        match call {
            Call::Lock => Box::pin(async move { mutex.lock().await.map(drop) }),
            Call::TryLock => Box::pin(async move { mutex.try_lock().await.map(drop) }),
            Call::TryLockFor => Box::pin(async move { mutex.try_lock_for(WAIT).await.map(drop) }),
            Call::TryLockUntil => {
                Box::pin(async move { mutex.try_lock_until(Instant::now() + WAIT).await.map(drop) })
            }
            Call::Run => Box::pin(async move { mutex.run(async |_| tokio::task::yield_now().await).await }),
            Call::TryRun => {
                let body = async |_: &MutexGuard| tokio::task::yield_now().await;
                Box::pin(async move { mutex.try_run(body).await.map(drop) })
            }
            Call::IsLocked => Box::pin(async move { mutex.is_locked().await.map(drop) }),
            Call::Inspect => Box::pin(async move { mutex.inspect().await.map(drop) }),
            Call::ForceUnlock => Box::pin(async move { mutex.force_unlock().await.map(drop) }),
            Call::Resume => {
                let ticket = self.ticket.take().expect("a ticket");
                Box::pin(async move { mutex.resume(&ticket).await.map(drop) })
            }
            Call::Unlock => Box::pin(self.guard.take().expect("a guard").unlock()),
            Call::Extend => {
                let guard = self.guard.take().expect("a guard");
                Box::pin(async move { guard.extend(LEASE * 2).await })
            }
            Call::IntoTicket => {
                let guard = self.guard.take().expect("a guard");
                Box::pin(async move { guard.into_ticket().await.map(drop) })
            }
            Call::Connect => {
                let builder = self.builder.clone();
                Box::pin(async move { builder.connect().await.map(drop) })
            }
            Call::Close => {
                let client = self.client.clone();
                Box::pin(async move {
                    client.close().await;
                    Ok(())
                })
            }
            Call::Ping => {
                let client = self.client.clone();
                Box::pin(async move { client.ping().await.map(drop) })
            }
            Call::FenceAdmit => Box::pin(async move { fence.admit(token).await.map(drop) }),
            Call::FenceSet => Box::pin(async move { fence.set(token, "1").await.map(drop) }),
            Call::FenceEval => {
                Box::pin(async move { fence.eval(token, "return 1", &[], &[]).await.map(drop) })
            }
            Call::FenceHighest => Box::pin(async move { fence.highest().await.map(drop) }),
        }
    }
}
