//! Looking at a primitive from outside, and forcing it open.

use std::time::Duration;

use crate::base::clock::{Moment, millis};
use crate::connection::handshake::read_labels;
use crate::ops::primitive::Primitive;
use crate::tasks::client::Client;
use crate::types::error::Result;
use crate::types::owner::Owner;
use crate::types::token::FencingToken;
use crate::wire::key::label_key;
use crate::wire::request::{Reply, Request};
use crate::wire::script;

/// Waiters and holders that an inspection lists.
const MOST: usize = 100;
/// Requests of one forced release, of a hundred holds each: more than a read-write lock can have.
const FORCE_STEPS: usize = 10_000;

/// Who holds a primitive and who waits for it, as of one moment at the server.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct LockInfo {
    /// Those who hold it, at most 100.
    pub holders: Vec<HolderInfo>,
    /// How many wait.
    pub queue_len: u64,
    /// Those who wait, in their order, at most 100.
    pub waiters: Vec<WaiterInfo>,
}

/// A holder.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct HolderInfo {
    /// The label of its client; `None` if its record is gone.
    pub label: Option<String>,
    /// Since when it holds, by its token: exact unless the server's clock was set back or a token floor was used. Zero for
    /// shared holders, which have no token of their own.
    pub held_for: Duration,
    /// What is left of its lease.
    pub lease_left: Duration,
    /// Its token; shared holders have none.
    pub token: Option<FencingToken>,
    /// Whether others may hold at the same time.
    pub shared: bool,
    /// How much it has of the capacity: the permits of a semaphore; 1 of a mutex.
    pub weight: u32,
}

/// A waiter.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct WaiterInfo {
    /// The label of its client; `None` if its record is gone.
    pub label: Option<String>,
}

impl Primitive {
    /// Looks at the lock. Reads only; two requests if anybody is there.
    ///
    /// # Errors
    /// `Unavailable`, `Denied`, `WrongType`.
    ///
    /// # Cancel safety
    /// Cancel safe: it changes nothing.
    pub async fn inspect(&self) -> Result<LockInfo> {
        self.look().await.map_err(|error| error.named(self.name()))
    }

    async fn look(&self) -> Result<LockInfo> {
        let nobody = LockInfo {
            holders: Vec::new(),
            queue_len: 0,
            waiters: Vec::new(),
        };
        let request = Request::new(&script::INSPECT, &[&**self.key()]).arg(MOST);
        let answer = self.client().call(&request).await?;
        match answer.reply.int_at(0)? {
            0 => return Ok(nobody),
            8 => return Err(crate::types::error::foreign()),
            _ => {}
        }
        let stamp = answer.reply.count_at(1)?;
        let token = answer.reply.count_at(2)?;
        let queue_len = answer.reply.count_at(3)?;
        let mut parts = answer.reply.items()?.into_iter().skip(4);
        let mut strings = || -> Result<Vec<String>> {
            let list = parts.next().map_or(Ok(Vec::new()), Reply::items)?;
            list.into_iter()
                .map(|item| Ok(String::from_utf8_lossy(&item.bytes()?).into_owned()))
                .collect()
        };
        let held = strings()?;
        let waiting = strings()?;
        let counted = self.spec().counted;
        let mut weights = parts
            .nth(2)
            .map_or(Ok(Vec::new()), Reply::items)?
            .into_iter()
            .filter_map(|weight| u32::try_from(weight.int().ok()?).ok());
        let ids = held.iter().step_by(2).chain(&waiting);
        let labels = labels(self.client(), ids.map(String::as_str)).await;
        let mut labels = labels.into_iter();
        let holders = held
            .chunks_exact(2)
            .map(|pair| {
                let weight = weights.next().unwrap_or_else(|| self.spec().weight);
                let shared = counted || weight < self.spec().capacity;
                let since = if shared { stamp } else { token };
                HolderInfo {
                    label: labels.next().flatten(),
                    held_for: Duration::from_micros(stamp.saturating_sub(since)),
                    lease_left: Duration::from_millis(
                        pair[1].parse::<u64>().unwrap_or(0).saturating_sub(stamp / 1000),
                    ),
                    token: (!shared).then_some(FencingToken::new(token)),
                    shared,
                    weight,
                }
            })
            .collect();
        let waiters = waiting
            .iter()
            .map(|_| WaiterInfo {
                label: labels.next().flatten(),
            })
            .collect();
        Ok(LockInfo {
            holders,
            queue_len,
            waiters,
        })
    }

    /// How many holds this owner has; at most 10 000 are counted.
    ///
    /// # Errors
    /// As [`inspect`](Self::inspect).
    ///
    /// # Cancel safety
    /// Cancel safe: it changes nothing.
    pub async fn holds_of(&self, owner: &Owner) -> Result<u32> {
        let tag = format!("@{owner}:");
        let ids = self
            .holder_ids(10_000)
            .await
            .map_err(|error| error.named(self.name()))?;
        let ours = ids.iter().filter(|id| id.contains(&tag)).count();
        Ok(u32::try_from(ours).unwrap_or(u32::MAX))
    }

    async fn holder_ids(&self, most: usize) -> Result<Vec<String>> {
        let request = Request::new(&script::INSPECT, &[&**self.key()]).arg(most);
        let answer = self.client().call(&request).await?;
        match answer.reply.int_at(0)? {
            0 => return Ok(Vec::new()),
            8 => return Err(crate::types::error::foreign()),
            _ => {}
        }
        let held = answer.reply.items()?.into_iter().nth(4);
        held.map_or(Ok(Vec::new()), Reply::items)?
            .into_iter()
            .step_by(2)
            .map(|item| Ok(String::from_utf8_lossy(&item.bytes()?).into_owned()))
            .collect()
    }

    /// Whether anybody holds it now. By the time you read it, it may be otherwise: do not decide on it, `try` instead.
    ///
    /// # Errors
    /// As [`inspect`](Self::inspect).
    ///
    /// # Cancel safety
    /// Cancel safe: it changes nothing.
    pub async fn is_locked(&self) -> Result<bool> {
        let ids = self
            .holder_ids(1)
            .await
            .map_err(|error| error.named(self.name()))?;
        Ok(!ids.is_empty())
    }

    /// Ends every hold, whoever has it, tells the holders at once, and hands on. `false`: nobody held.
    ///
    /// The holders go on until they hear of it: whatever the lock guards should check fencing tokens (tier 2).
    ///
    /// # Errors
    /// `Unavailable` (then it may or may not have happened), `Denied`, `WrongType`.
    ///
    /// # Cancel safety
    /// It may or may not happen.
    pub async fn force_unlock(&self) -> Result<bool> {
        let named = |error: crate::types::error::Error| error.named(self.name());
        let shared = self.client().shared();
        let mut held = false;
        for _ in 0..FORCE_STEPS {
            let request = Request::new(&script::FORCE, &[&**self.key()])
                .arg(self.spec().capacity())
                .arg(millis(shared.options.retention));
            // Not twice: the second would end the hold of the one that it was handed to.
            let over = Moment::now() + shared.options.operation_timeout;
            let answer = self.client().call_once(&request, over).await.map_err(named)?;
            let code = answer.reply.int_at(0).map_err(named)?;
            if code == 8 {
                return Err(named(crate::types::error::foreign()));
            }
            shared.note_publish(answer.reply.int_at(2).map_err(named)? != 0);
            held |= code == 1;
            if answer.reply.int_at(1).map_err(named)? == 0 {
                break;
            }
        }
        Ok(held)
    }
}

/// The labels of these attempts' clients; what cannot be read is `None`.
pub(crate) async fn labels(client: &Client, ids: impl Iterator<Item = &str>) -> Vec<Option<String>> {
    let shared = client.shared();
    let keys: Vec<String> = ids
        .map(|id| label_key(&shared.options.prefix, id.get(..22).unwrap_or(id)))
        .collect();
    if keys.is_empty() {
        return Vec::new();
    }
    let deadline = Moment::now() + shared.options.operation_timeout;
    let reply = shared.commands.command(&read_labels(&keys), deadline).await.ok();
    let found = reply.and_then(|reply| reply.items().ok()).unwrap_or_default();
    let text = |reply: Reply| {
        reply
            .bytes()
            .ok()
            .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
    };
    let mut labels: Vec<Option<String>> = found.into_iter().map(text).collect();
    labels.resize(keys.len(), None);
    labels
}
