//! The handle of a latch: the calls that make attempts, and inspection.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use pin_project::pin_project;

use super::missing;
use crate::attempt::Spec;
use crate::attempt::latch::LatchAsk;
use crate::ops::acquire::Acquire;
use crate::ops::inspect::{WaiterInfo, labels};
use crate::ops::request::{AcquireRequest, Wait};
use crate::tasks::client::Client;
use crate::types::error::foreign;
use crate::types::error::{Error, Result};
use crate::types::latch::{LatchOptions, OnMissing};
use crate::types::name::Name;
use crate::types::options::{MAX_LEASE, Renew, between};
use crate::wire::key::key;
use crate::wire::request::{Reply, Request};
use crate::wire::script;

/// Places that an inspection looks at.
const LOOK: usize = 1000;
/// Clients that it lists.
const MOST: usize = 100;

/// A client, a name, and what to do if there is no latch: what the handle of the latch wraps.
#[derive(Clone)]
pub struct Latch {
    client: Client,
    name: Name,
    key: Arc<[u8]>,
    on_missing: OnMissing,
    keep: Duration,
}

impl fmt::Debug for Latch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Latch")
            .field("name", &self.name)
            .field("on_missing", &self.on_missing)
            .field("keep", &self.keep)
            .finish_non_exhaustive()
    }
}

/// A latch as of one moment at the server.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct LatchInfo {
    /// What is left.
    pub count: u32,
    /// What the generation began with.
    pub initial_count: u32,
    /// Which generation it is, from 1.
    pub generation: u64,
    /// How many tasks wait.
    pub waiting: u64,
    /// The clients of those that wait, at most 100; each once.
    pub clients: Vec<WaiterInfo>,
}

impl Latch {
    /// Checks the options.
    ///
    /// # Errors
    /// `Invalid` for a name or option that cannot work.
    pub fn new(client: &Client, name: &[u8], options: &LatchOptions) -> Result<Self> {
        let name = Name::new(name)?;
        let LatchOptions { on_missing, keep } = *options;
        let (least, most) = (Duration::from_secs(1), 30 * MAX_LEASE);
        between("memory of a finished latch", keep, least, most).map_err(|error| error.named(&name))?;
        let key = key(&client.shared().options.prefix, "latch", &name);
        Ok(Self {
            client: client.clone(),
            name,
            key,
            on_missing,
            keep,
        })
    }

    /// The name.
    pub const fn name(&self) -> &Name {
        &self.name
    }

    /// Waits for zero.
    pub fn wait(&self, wait: Wait) -> LatchCall {
        self.call(self.asking(), wait)
    }

    /// What is left.
    pub fn count(&self) -> LatchCall {
        let asked = LatchAsk {
            at_once: true,
            ..self.asking()
        };
        self.call(asked, Wait::Try)
    }

    /// Counts down, and waits for zero if so asked.
    ///
    /// # Errors
    /// `Invalid` for zero.
    pub fn count_down(&self, by: u32, and_wait: bool) -> Result<LatchCall> {
        if by == 0 {
            return Err(Error::invalid("count down by one at least").named(&self.name));
        }
        let asked = LatchAsk {
            by,
            at_once: !and_wait,
            ..self.asking()
        };
        let wait = if and_wait { Wait::Forever } else { self.patience() };
        Ok(self.call(asked, wait))
    }

    /// Counts down by one, once in a generation under this id.
    ///
    /// # Errors
    /// `Invalid` for an id of no or more than 512 bytes.
    pub fn count_down_once(&self, id: &[u8]) -> Result<LatchCall> {
        let Ok(id) = Name::new(id) else {
            let text = format!(
                "the id of a count-down has {} bytes: give 1 to 512 (hash a longer one)",
                id.len()
            );
            return Err(Error::invalid(text).named(&self.name));
        };
        let asked = LatchAsk {
            by: 1,
            once: Some(id.as_bytes().into()),
            at_once: true,
            ..self.asking()
        };
        Ok(self.call(asked, self.patience()))
    }

    /// Begins a new generation.
    pub fn reset(&self, count: u32) -> LatchCall {
        let asked = LatchAsk {
            to: Some(count),
            at_once: true,
            ..self.asking()
        };
        self.call(asked, self.patience())
    }

    /// What is left and who waits. Reads only; two requests if anybody waits.
    ///
    /// # Errors
    /// `NoSuchLatch`, `Unavailable`, `Closed`, `Denied`, `WrongType`.
    ///
    /// # Cancel safety
    /// Cancel safe: it changes nothing.
    pub async fn inspect(&self) -> Result<LatchInfo> {
        self.look().await.map_err(|error| error.named(&self.name))
    }

    async fn look(&self) -> Result<LatchInfo> {
        let request = Request::new(&script::PEEK, &[&*self.key]).arg(LOOK);
        let reply = self.client.call(&request).await?.reply;
        match reply.int_at(0)? {
            1 => {}
            8 => return Err(foreign()),
            _ => return Err(missing()),
        }
        let number = |index| Ok::<_, Error>(u32::try_from(reply.count_at(index)?).unwrap_or(u32::MAX));
        let (count, initial_count) = (number(2)?, number(3)?);
        let (generation, waiting) = (reply.count_at(1)?, reply.count_at(4)?);
        let ids = reply.items()?.into_iter().nth(5);
        let mut clients: Vec<String> = Vec::new();
        for id in ids.map_or(Ok(Vec::new()), Reply::items)? {
            let client = String::from_utf8_lossy(&id.bytes()?).chars().take(22).collect();
            clients.push(client);
        }
        clients.sort_unstable();
        clients.dedup();
        clients.truncate(MOST);
        let labels = labels(&self.client, clients.iter().map(String::as_str)).await;
        Ok(LatchInfo {
            count,
            initial_count,
            generation,
            waiting,
            clients: labels.into_iter().map(|label| WaiterInfo { label }).collect(),
        })
    }

    const fn asking(&self) -> LatchAsk {
        LatchAsk {
            on_missing: self.on_missing,
            by: 0,
            once: None,
            to: None,
            at_once: false,
            keep: self.keep,
        }
    }

    /// What changes something is tried for as long as a lock is: if it is given up, its outcome is unknown.
    fn patience(&self) -> Wait {
        let most = self.client.shared().options.unavailable_after;
        Instant::now()
            .checked_add(most)
            .map_or(Wait::Forever, Wait::Until)
    }

    fn call(&self, asked: LatchAsk, wait: Wait) -> LatchCall {
        let spec = Spec {
            capacity: 0, // so that nothing is ever handed to its waiters
            renew: Renew::Manual,
            latch: Some(Arc::new(asked)),
            ..Spec::exclusive(self.client.shared().options.lease)
        };
        let request = AcquireRequest {
            name: self.name.clone(),
            key: Arc::clone(&self.key),
            spec,
        };
        LatchCall {
            acquire: Acquire::new(&self.client, request, wait),
        }
    }
}

/// A call of a latch: `Ok(None)` if it waited in vain, else what was left.
///
/// Dropping it withdraws its place; what it has counted stays counted, and what it has not by then, it will not.
#[must_use = "futures do nothing unless polled"]
#[pin_project]
#[derive(Debug)]
pub struct LatchCall {
    #[pin]
    acquire: Acquire,
}

impl Future for LatchCall {
    type Output = Result<Option<u32>>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let passed = ready!(self.project().acquire.poll(cx))?;
        Poll::Ready(Ok(passed.map(|guard| {
            let left = guard.weight();
            guard.dismiss();
            left
        })))
    }
}

#[allow(dead_code, reason = "compiled, not called: the bounds that users rely on")]
fn bounds() {
    fn future<T: Send + 'static>() {}
    fn handle<T: Clone + fmt::Debug + Send + Sync + Unpin + 'static>() {}
    future::<LatchCall>();
    handle::<Latch>();
}
