//! Looking at a primitive from outside, and forcing it open.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;

use super::primitive::Primitive;
use crate::base::clock::{Moment, millis};
use crate::base::limit;
use crate::connection::failure::Failure;
use crate::runtime::shared::Shared;
use crate::tasks::client::Client;
use crate::types::error::{Error, Result, foreign};
use crate::types::owner::Owner;
use crate::types::token::FencingToken;
use crate::wire::id;
use crate::wire::key::label_key;
use crate::wire::plain::read_labels;
use crate::wire::reply::{ForceReply, InspectReply};
use crate::wire::request::{force, inspect, inspect_from};
use crate::wire::value::Reply;

/// Waiters and holders that an inspection lists.
const MOST: usize = 100;
/// Who holds a primitive and who waits for it, as of one moment at the server.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct LockInfo {
    /// Those who hold it, at most 100; the first to end first.
    pub holders: Vec<HolderInfo>,
    /// How many hold it, listed or not.
    pub holds: u32,
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
    /// shared holders: nothing in the record says when they began.
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
        self.inspect_from(0).await
    }

    /// The same without the first holders and the first waiters, as many of each: the next page. Between two pages, some may
    /// come and go.
    ///
    /// # Errors
    /// As [`inspect`](Self::inspect).
    ///
    /// # Cancel safety
    /// Cancel safe: it changes nothing.
    pub async fn inspect_from(&self, first: u64) -> Result<LockInfo> {
        let info = self.look(first).await;
        info.map_err(|error| error.named(self.name()))
    }

    async fn look(&self, first: u64) -> Result<LockInfo> {
        let request = match first {
            0 => inspect(self.key(), MOST, None),
            first => inspect_from(self.key(), MOST, first),
        };
        let reply = self.client().call(&request).await?.reply;
        let record = match InspectReply::read(reply)? {
            InspectReply::Nothing => {
                return Ok(LockInfo {
                    holders: Vec::new(),
                    holds: 0,
                    queue_len: 0,
                    waiters: Vec::new(),
                });
            }
            InspectReply::Foreign => return Err(foreign()),
            InspectReply::Record(record) => record,
        };
        let stamp = record.stamp;
        let spec = self.spec();
        let mut weights = record.weights.iter().copied();
        let ids = record.holders.iter().map(|(id, _)| id).chain(&record.waiters);
        let labels = labels(self.client(), ids.map(String::as_str)).await;
        let mut labels = labels.into_iter();
        let holders = record
            .holders
            .iter()
            .map(|(_, ends)| {
                let weight = weights.next().unwrap_or_else(|| spec.weight());
                let shared = spec.is_counted() || weight < spec.whole();
                let since = if shared { stamp } else { record.token };
                HolderInfo {
                    label: labels.next().flatten(),
                    held_for: Duration::from_micros(stamp.saturating_sub(since)),
                    lease_left: Duration::from_millis(ends.saturating_sub(stamp / 1000)),
                    token: (!shared).then_some(FencingToken::new(record.token)),
                    shared,
                    weight,
                }
            })
            .collect();
        let waiters = record
            .waiters
            .iter()
            .map(|_| WaiterInfo {
                label: labels.next().flatten(),
            })
            .collect();
        Ok(LockInfo {
            holders,
            holds: record.holds,
            queue_len: record.queued,
            waiters,
        })
    }

    /// How many holds this owner has.
    ///
    /// # Errors
    /// As [`inspect`](Self::inspect).
    ///
    /// # Cancel safety
    /// Cancel safe: it changes nothing.
    pub async fn holds_of(&self, owner: &Owner) -> Result<u32> {
        let (first, holds) = self.first_holder().await?;
        let is_ours = first.is_some_and(|id| id::is_of(&id, owner)); // then all are
        Ok(if is_ours { holds } else { 0 })
    }

    /// One who holds, and how many holds there are.
    async fn first_holder(&self) -> Result<(Option<String>, u32)> {
        let named = |error: Error| error.named(self.name());
        let reply = self.client().call(&inspect(self.key(), 1, None)).await;
        match InspectReply::read(reply.map_err(named)?.reply).map_err(named)? {
            InspectReply::Nothing => Ok((None, 0)),
            InspectReply::Foreign => Err(named(foreign())),
            InspectReply::Record(record) => {
                let first = record.holders.into_iter().next();
                Ok((first.map(|(id, _)| id), record.holds))
            }
        }
    }

    /// Whether anybody holds it now. By the time you read it, it may be otherwise: do not decide on it, `try` instead.
    ///
    /// # Errors
    /// As [`inspect`](Self::inspect).
    ///
    /// # Cancel safety
    /// Cancel safe: it changes nothing.
    pub async fn is_locked(&self) -> Result<bool> {
        Ok(self.first_holder().await?.0.is_some())
    }

    /// Ends every hold, whoever has it, tells the holders at once, and hands on. `false`: nobody held.
    ///
    /// The holders go on until they hear of it: whatever the lock guards should check fencing tokens (tier 2). Their writes
    /// pass a fence until the next holder's token was admitted there.
    ///
    /// # Errors
    /// `Unavailable` (then it may or may not have happened), `Denied`, `WrongType`.
    ///
    /// # Cancel safety
    /// It may or may not happen.
    pub async fn force_unlock(&self) -> Result<bool> {
        let named = |error: Error| error.named(self.name());
        let shared = self.client().shared();
        let mut held = false;
        for _ in 0..limit::MORE {
            let request = force(
                self.key(),
                self.spec().capacity(),
                millis(shared.options.retention),
            );
            // Not twice: the second would end the hold of the one that it was handed to.
            let over = Moment::now() + shared.options.operation_timeout;
            let answer = self.client().call_once(&request, over).await.map_err(named)?;
            let (ended, more, refused) = match ForceReply::read(&answer.reply).map_err(named)? {
                ForceReply::Nobody { more, refused } => (false, more, refused),
                ForceReply::Ended { more, refused } => (true, more, refused),
                ForceReply::Foreign => return Err(named(foreign())),
            };
            shared.note_publish(refused);
            held |= ended;
            if !more {
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
        .map(|id| label_key(&shared.options.prefix, id::client(id)))
        .collect();
    if keys.is_empty() {
        return Vec::new();
    }
    let deadline = Moment::now() + shared.options.operation_timeout;
    let mut by_slot: BTreeMap<u16, Vec<String>> = BTreeMap::new();
    for key in &keys {
        let slot = shared.route.slot(key.as_bytes());
        by_slot.entry(slot).or_default().push(key.clone());
    }
    let reads = by_slot.into_values().map(|keys| async move {
        let labels = read_together(shared, &keys, deadline).await;
        std::iter::zip(keys, labels)
    });
    let reads: FuturesUnordered<_> = reads.collect();
    let found: HashMap<String, Option<String>> =
        reads.collect::<Vec<_>>().await.into_iter().flatten().collect();
    keys.iter().map(|key| found.get(key).cloned().flatten()).collect()
}

/// The labels under these keys, which are of one slot.
async fn read_together(shared: &Shared, keys: &[String], deadline: Moment) -> Vec<Option<String>> {
    let mut labels = match read_some(shared, keys, deadline).await {
        Ok(labels) => labels,
        // One that may not be read hides only itself.
        Err(failure) if !failure.passing && keys.len() > 1 => {
            let mut labels = Vec::with_capacity(keys.len());
            for key in keys.chunks(1) {
                let label = read_some(shared, key, deadline).await.ok();
                labels.push(label.and_then(|mut label| label.pop()?));
            }
            labels
        }
        Err(_) => Vec::new(),
    };
    labels.resize(keys.len(), None);
    labels
}

/// The labels under these keys, in one request.
async fn read_some(
    shared: &Shared,
    keys: &[String],
    deadline: Moment,
) -> Result<Vec<Option<String>>, Failure> {
    let Some(key) = keys.first() else {
        return Ok(Vec::new());
    };
    let command = read_labels(keys);
    let reply = shared.route.command(key.as_bytes(), &command, deadline).await?;
    let text = |reply: Reply| {
        let bytes = reply.bytes().ok();
        bytes.map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
    };
    let found = reply.items().map_err(Failure::refused)?;
    Ok(found.into_iter().map(text).collect())
}
