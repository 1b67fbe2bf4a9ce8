//! Looking at a primitive from outside, and forcing it open.

use std::collections::{BTreeMap, BTreeSet, HashMap};
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
use crate::wire::client::{ClientInfo, Note};
use crate::wire::id;
use crate::wire::key::label_key;
use crate::wire::plain::read_labels;
use crate::wire::reply::{ForceReply, InspectReply, Record, RecordHolder, RecordWaiter};
use crate::wire::request::{force, inspect, inspect_from};
use crate::wire::value::Reply;

/// Waiters and holders that an inspection lists.
const MOST: usize = 100;

/// Keys of clients' records that are read at once: each has 16 KiB at most.
const RECORDS: usize = 50;
/// How many of these requests are under way at once: in a cluster each slot has one of its own.
const READS: usize = 16;

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
    /// The label of its client, which is `host:pid` unless it was set; `None` if the client's record is gone or may not
    /// be read.
    pub label: Option<String>,
    /// What it is for, if its handle says so (`for_purpose`, or `purpose` of a builder).
    pub purpose: Option<String>,
    /// How long its client has had this hold, as it is now: since the grant, or since it was upgraded, downgraded, split
    /// off or resumed from a ticket, if that was later. `None` for a shared hold whose client's record is gone.
    ///
    /// By the server's clock, to within a round trip. It is wrong by as much as that clock was set since, and for an
    /// exclusive hold after a token floor that is ahead of the clock. Of a shared hold that was handed over, it counts
    /// from the request instead of the grant if the client has more than 256 of them.
    pub held_for: Option<Duration>,
    /// How long its lease lasts unless it is renewed.
    pub lease_left: Duration,
    /// Whether the client has answered since the hold was handed over to it. `false` for longer than a quarter of the
    /// claim window: it may be dead, and the next waiter gets the lock when `lease_left` is over.
    pub confirmed: bool,
    /// Its token, which tells by its time when the lock was granted; shared holders have none.
    pub token: Option<FencingToken>,
    /// Whether others may hold at the same time.
    pub shared: bool,
    /// How much it has of the capacity: the permits of a semaphore; 1 of a mutex.
    pub weight: u32,
    /// Whose hold it is, of a reentrant mutex.
    pub owner: Option<Owner>,
}

/// A waiter.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct WaiterInfo {
    /// The label of its client, which is `host:pid` unless it was set; `None` if the client's record is gone or may not
    /// be read.
    pub label: Option<String>,
    /// What it waits for the lock for, if its handle says so (`for_purpose`, or `purpose` of a builder).
    pub purpose: Option<String>,
    /// How many wait before it.
    pub position: u64,
    /// How long ago it asked, by the server's clock, to within a round trip. `None` if its client's record is gone.
    ///
    /// A client that begins more than 20 000 attempts a second counts them as later than they were.
    pub waiting_for: Option<Duration>,
    /// How long ago the server last heard of it, to half a second. A client refreshes its places every three seconds, or
    /// every third of the shortest lease that it waits with. Beyond twice that others pass it, and after 30 s its place
    /// is dropped.
    pub silent_for: Duration,
    /// Its head start in the queue, ms: of a fair mutex, its priority times the boost. Negative: it lets others go
    /// first. It is known a quarter of a second after the request.
    pub head_start_ms: i64,
    /// How much it wants of the capacity: the permits of a semaphore; 1 of a mutex.
    pub weight: u32,
    /// For whom it waits, of a reentrant mutex.
    pub owner: Option<Owner>,
}

/// A client that waits for a latch.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ClientLabel {
    /// Its label; `None` if the client's record is gone or may not be read.
    pub label: Option<String>,
}

impl Primitive {
    /// Looks at the lock. Reads only. One request, and if anybody is there one more for each 50 of their clients.
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
        let held = record.holders.iter().map(|holder| &holder.id);
        let ids = held.chain(record.waiters.iter().map(|waiter| &waiter.id));
        let clients = Clients::read(self.client(), ids.map(String::as_str)).await;
        let holders = record.holders.iter();
        let waiters = record.waiters.iter().zip(first..);
        Ok(LockInfo {
            holders: holders
                .map(|holder| self.holder(holder, &record, &clients))
                .collect(),
            holds: record.holds,
            queue_len: record.queued,
            waiters: waiters
                .map(|(waiter, position)| self.waiter(waiter, position, record.stamp, &clients))
                .collect(),
        })
    }

    fn holder(&self, holder: &RecordHolder, record: &Record, clients: &Clients) -> HolderInfo {
        let (spec, stamp) = (self.spec(), record.stamp);
        let known = clients.of(&holder.id);
        let weight = holder.weight.unwrap_or_else(|| spec.weight());
        let shared = spec.is_counted() || weight < spec.whole();
        // A token of the future was above a floor.
        let token = Some(record.token).filter(|&token| !shared && token <= stamp);
        let noted = known
            .note
            .map(|note| note.since)
            .filter(|&since| shared && since > 0);
        let asked = known.began.map(|began| began.min(renewed(holder)));
        let since = match holder.claim {
            Some(_) if token.is_some() => token,
            Some(missed) => Some(made(holder, missed)),
            None => noted.or_else(|| token.max(asked)),
        };
        HolderInfo {
            label: known.label(),
            purpose: known.purpose(),
            held_for: since.map(|since| passed(stamp, since)),
            lease_left: Duration::from_millis(holder.ends.saturating_sub(stamp / 1000)),
            confirmed: holder.claim.is_none(),
            token: (!shared).then_some(FencingToken::new(record.token)),
            shared,
            weight,
            owner: id::owner(&holder.id),
        }
    }

    fn waiter(&self, waiter: &RecordWaiter, position: u64, stamp: u64, clients: &Clients) -> WaiterInfo {
        let known = clients.of(&waiter.id);
        let noted = known.note.map(|note| note.since).filter(|&since| since > 0);
        let since = noted.or(known.began);
        WaiterInfo {
            label: known.label(),
            purpose: known.purpose(),
            position,
            waiting_for: since.map(|since| passed(stamp, since)),
            silent_for: Duration::from_millis(waiter.seen),
            head_start_ms: known.note.map_or(0, |note| note.ahead),
            weight: id::weight(&waiter.id).unwrap_or_else(|| self.spec().weight()),
            owner: id::owner(&waiter.id),
        }
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
                Ok((first.map(|holder| holder.id), record.holds))
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

/// What has passed since then. If the clock was set back, nothing.
const fn passed(stamp: u64, since: u64) -> Duration {
    Duration::from_micros(stamp.saturating_sub(since))
}

/// When a claim was made, µs: its window was doubled with each that was missed.
fn made(holder: &RecordHolder, missed: u32) -> u64 {
    let window = id::window(&holder.id).saturating_mul(1 << missed.min(16));
    let window = id::lease(&holder.id).map_or(window, |lease| window.min(lease));
    holder.ends.saturating_sub(window) * 1000
}

/// When a hold was last renewed, µs; no hold has begun after that. One that was extended seems to be renewed later.
fn renewed(holder: &RecordHolder) -> u64 {
    let lease = id::lease(&holder.id).unwrap_or(0);
    holder.ends.saturating_sub(lease) * 1000 + 999
}

/// What the records of clients say.
pub(crate) struct Clients(HashMap<String, ClientInfo>);

/// What is known of an attempt, apart from the record of the primitive.
struct AttemptInfo<'a> {
    client: Option<&'a ClientInfo>,
    note: Option<&'a Note>,
    /// When it began, µs of the server.
    began: Option<u64>,
}

impl AttemptInfo<'_> {
    fn label(&self) -> Option<String> {
        self.client.map(|client| client.label.clone())
    }

    fn purpose(&self) -> Option<String> {
        let purpose = self.note.map(|note| String::from(&*note.purpose));
        purpose.filter(|purpose| !purpose.is_empty())
    }
}

impl Clients {
    /// Reads the records of the clients of these attempts, each once. Those that cannot be read are missing.
    pub(crate) async fn read(client: &Client, ids: impl Iterator<Item = &str>) -> Self {
        let shared = client.shared();
        let clients: BTreeSet<String> = ids.map(|id| id::client(id).to_owned()).collect();
        let deadline = Moment::now() + shared.options.operation_timeout;
        let mut by_slot: BTreeMap<u16, Vec<String>> = BTreeMap::new();
        for client in clients {
            let key = label_key(&shared.options.prefix, &client);
            let slot = shared.route.slot(key.as_bytes());
            by_slot.entry(slot).or_default().push(client);
        }
        let mut parts = Vec::new();
        for clients in by_slot.values() {
            parts.extend(clients.chunks(RECORDS).map(<[String]>::to_vec));
        }
        let (mut parts, mut under_way) = (parts.into_iter(), FuturesUnordered::new());
        let mut found = HashMap::new();
        loop {
            while under_way.len() < READS
                && let Some(part) = parts.next()
            {
                under_way.push(read_part(shared, part, deadline));
            }
            let Some(known) = under_way.next().await else {
                break;
            };
            found.extend(known);
        }
        Self(found)
    }

    /// The label of the client with this id.
    pub(crate) fn label(&self, client: &str) -> Option<String> {
        self.0.get(client).map(|client| client.label.clone())
    }

    fn of(&self, attempt: &str) -> AttemptInfo<'_> {
        let client = self.0.get(id::client(attempt));
        let counter = attempt.get(id::CLIENT..).and_then(id::counter);
        let note = client
            .zip(counter)
            .and_then(|(client, counter)| client.notes.get(&counter));
        let epoch = client.and_then(|client| client.epoch);
        let began = epoch.zip(counter).filter(|_| !id::is_upgrade(attempt));
        AttemptInfo {
            client,
            note,
            began: began.map(|(epoch, counter)| id::time(epoch, counter)),
        }
    }
}

/// The records of these clients that can be read.
async fn read_part(shared: &Shared, clients: Vec<String>, deadline: Moment) -> Vec<(String, ClientInfo)> {
    let records = read_each(shared, &clients, deadline).await;
    let known = clients.into_iter().zip(records);
    known
        .filter_map(|(client, record)| Some((client, record?)))
        .collect()
}

/// The records of these clients. One that may not be read hides only itself.
async fn read_each(shared: &Shared, clients: &[String], deadline: Moment) -> Vec<Option<ClientInfo>> {
    let keys: Vec<String> = clients
        .iter()
        .map(|client| label_key(&shared.options.prefix, client))
        .collect();
    let mut records = match read_some(shared, &keys, deadline).await {
        Ok(records) => records,
        Err(failure) if !failure.passing && keys.len() > 1 => {
            let mut records = Vec::with_capacity(keys.len());
            for key in keys.chunks(1) {
                let record = read_some(shared, key, deadline).await.ok();
                records.push(record.and_then(|mut record| record.pop()?));
            }
            records
        }
        Err(_) => Vec::new(),
    };
    records.resize(keys.len(), None);
    records
}

/// The records under these keys, in one request.
async fn read_some(
    shared: &Shared,
    keys: &[String],
    deadline: Moment,
) -> Result<Vec<Option<ClientInfo>>, Failure> {
    let Some(key) = keys.first() else {
        return Ok(Vec::new());
    };
    let command = read_labels(keys);
    let reply = shared.route.command(key.as_bytes(), &command, deadline).await?;
    let found = reply.items().map_err(Failure::refused)?.into_iter();
    let record = |record: Reply| record.bytes().ok().map(|bytes| ClientInfo::read(&bytes));
    Ok(found.map(record).collect())
}
