//! Lists the public async functions in one table.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::{FutureExt, TryFutureExt};
use latchwork_mutex::{Client, ClientBuilder, Error, Fence, FencingToken, Ticket};
use latchwork_tests::subject::{Boxed, Extra, Given, Guard, Handle, Held, Needs};

/// Longer than a case may take: what is left behind is not gone before it is found, and nothing is lost because the
/// machine has other things to do.
pub(crate) const LEASE: Duration = Duration::from_secs(40);

/// For calls that leave a hold to its lease: it has to be waited for.
pub(crate) const SHORT: Duration = Duration::from_millis(400);

/// How long a bounded wait waits: long enough to queue.
const WAIT: Duration = Duration::from_millis(150);

#[derive(Debug, Clone, Copy)]
pub(crate) enum Call {
    Acquire,
    TryAcquire,
    TryAcquireFor,
    TryAcquireUntil,
    Run,
    TryRun,
    Inspect,
    Force,
    Release,
    Extend,
    /// Of this primitive alone.
    Extra(Extra),
    // Of the client and of fences: once is enough.
    Connect,
    Close,
    Ping,
    FenceAdmit,
    FenceSet,
    FenceEval,
    FenceHighest,
}

/// What every primitive has.
const COMMON: [Call; 10] = [
    Call::Acquire,
    Call::TryAcquire,
    Call::TryAcquireFor,
    Call::TryAcquireUntil,
    Call::Run,
    Call::TryRun,
    Call::Inspect,
    Call::Force,
    Call::Release,
    Call::Extend,
];

/// What has nothing to do with primitives.
const OTHERS: [Call; 7] = [
    Call::Connect,
    Call::Close,
    Call::Ping,
    Call::FenceAdmit,
    Call::FenceSet,
    Call::FenceEval,
    Call::FenceHighest,
];

impl Call {
    /// All of a primitive, and those of clients and fences if they are wanted.
    pub(crate) fn all(handle: &dyn Handle, others: bool) -> Vec<Self> {
        let mut all = COMMON.to_vec();
        all.extend(handle.extras().into_iter().map(Self::Extra));
        if others {
            all.extend(OTHERS);
        }
        all
    }

    /// What it is called.
    pub(crate) fn name(self) -> String {
        match self {
            Self::Extra(extra) => extra.name.to_owned(),
            own => format!("{own:?}"),
        }
    }

    /// What it needs besides the handle.
    pub(crate) fn needs(self) -> Needs {
        match self {
            Self::Extra(extra) => extra.needs,
            Self::Release | Self::Extend | Self::Close => Needs::Guard,
            _ => Needs::Nothing,
        }
    }

    /// A hold that it leaves ends with its lease only.
    pub(crate) fn leaves_lease(self) -> bool {
        matches!(
            self,
            Self::Extra(Extra {
                leaves_lease: true,
                ..
            })
        )
    }

    /// It has an end of its own, by which there may be no answer.
    pub(crate) fn is_bounded(self) -> bool {
        matches!(self, Self::TryAcquireFor | Self::TryAcquireUntil)
    }

    /// It joins the queue if somebody has all there is.
    pub(crate) fn queues(self) -> bool {
        match self {
            Self::Extra(extra) => extra.queues,
            Self::Acquire | Self::TryAcquireFor | Self::TryAcquireUntil | Self::Run => true,
            _ => false,
        }
    }
}

/// What the calls are made on.
#[derive(Debug)]
pub(crate) struct Set {
    pub(crate) client: Client,
    pub(crate) builder: ClientBuilder,
    pub(crate) handle: Arc<dyn Handle>,
    pub(crate) guard: Option<Guard>,
    pub(crate) ticket: Option<Ticket>,
    pub(crate) fence: Fence,
    pub(crate) token: FencingToken,
}

pub(crate) type Work = Boxed<Result<(), Error>>;

/// The body of the runs.
fn body(_: &dyn Held) -> Boxed<()> {
    tokio::task::yield_now().boxed()
}

impl Set {
    /// The future of a call. What it yields is dropped with it.
    pub(crate) fn begin(&mut self, call: Call) -> Work {
        let handle = &self.handle;
        let client = self.client.clone();
        let (fence, token) = (self.fence.clone(), self.token);
        match call {
            Call::Acquire => handle.acquire().map_ok(drop).boxed(),
            Call::TryAcquire => handle.try_acquire().map_ok(drop).boxed(),
            Call::TryAcquireFor => handle.try_acquire_for(WAIT).map_ok(drop).boxed(),
            Call::TryAcquireUntil => {
                let deadline = Instant::now() + WAIT;
                handle.try_acquire_until(deadline).map_ok(drop).boxed()
            }
            Call::Run => handle.run(Box::new(body)),
            Call::TryRun => handle.try_run(Box::new(body)).map_ok(drop).boxed(),
            Call::Inspect => handle.inspect().map_ok(drop).boxed(),
            Call::Force => handle.force().map_ok(drop).boxed(),
            Call::Release => self.guard.take().expect("a guard").release(),
            Call::Extend => {
                let guard = self.guard.take().expect("a guard");
                Box::pin(async move { guard.extend(LEASE * 2).await })
            }
            Call::Extra(extra) => (extra.begin)(Given {
                handle: Arc::clone(handle),
                guard: self.guard.take(),
                ticket: self.ticket.take(),
            }),
            Call::Connect => {
                let builder = self.builder.clone();
                Box::pin(async move { builder.connect().await.map(drop) })
            }
            Call::Close => Box::pin(async move {
                client.close().await;
                Ok(())
            }),
            Call::Ping => Box::pin(async move { client.ping().await.map(drop) }),
            Call::FenceAdmit => Box::pin(async move { fence.admit(token).await.map(drop) }),
            Call::FenceSet => Box::pin(async move { fence.set(token, "1").await.map(drop) }),
            Call::FenceEval => {
                Box::pin(async move { fence.eval(token, "return 1", &[], &[]).await.map(drop) })
            }
            Call::FenceHighest => Box::pin(async move { fence.highest().await.map(drop) }),
        }
    }
}
