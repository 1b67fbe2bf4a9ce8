//! A sharded inbox: subscribes to a channel for each name that is waited for, at the node that has
//! its slot, and ticks for those that wait while no message can reach them. See "A sharded inbox" in
//! `docs/design.md`.

use std::collections::HashSet;
use std::convert::Infallible;
use std::sync::{Arc, Weak};

use futures_util::StreamExt;
use futures_util::future::join_all;
use futures_util::stream::FuturesUnordered;
use redis::RedisError;
use tokio::sync::Notify;
use tokio::task::{AbortHandle, JoinSet};

use super::keeper::renew::{Item, batches_of_places, refresh_places};
use super::supervisor::RENEWING;
use crate::attempt::state::State;
use crate::base::backoff::Backoff;
use crate::base::clock::{Moment, sleep_until, until};
use crate::base::trace::{debug, warn};
use crate::connection::endpoint::Endpoint;
use crate::connection::failure::Redirect;
use crate::connection::node::{GOOD, Node};
use crate::connection::refusal::{Target, breaks_connection, classify, is_withheld, said};
use crate::connection::shard::{Push, Subscriber, connect};
use crate::runtime::channels::{Channels, LINGER, Tag};
use crate::runtime::cluster::Cluster;
use crate::runtime::shared::Shared;
use crate::types::error::{Error, ErrorKind};
use crate::types::server::Warning;
use crate::wire::slot::slot_of;

/// The most subscriptions that are asked for at once.
const ASKED: usize = 100;
/// The most requests with places that are under way at once.
const TICKS: usize = 16;

/// Keeps the inbox until the client ends.
pub(crate) async fn receive(shared: &Arc<Shared>, cluster: &Arc<Cluster>, channels: &Arc<Channels>) -> ! {
    shared.schedule.set_listening(true);
    shared.inbox_tried.send_replace(true);
    let listening = listen_everywhere(shared, cluster, channels);
    let ticking = tick(shared, channels);
    tokio::select! {
        never = listening => never,
        never = ticking => never,
    }
}

/// Keeps a task for each node that has slots.
async fn listen_everywhere(shared: &Arc<Shared>, cluster: &Arc<Cluster>, channels: &Arc<Channels>) -> ! {
    let mut tasks: JoinSet<Infallible> = JoinSet::new();
    let mut kept: Vec<(Arc<Node>, AbortHandle)> = Vec::new();
    let mut changes = cluster.changes();
    loop {
        changes.mark_unchanged();
        let nodes = cluster.all();
        kept.retain(|(node, task)| {
            let stays = nodes.iter().any(|other| Arc::ptr_eq(other, node));
            if !stays {
                task.abort();
            }
            stays
        });
        for node in nodes {
            if kept.iter().any(|(other, _)| Arc::ptr_eq(other, &node)) {
                continue;
            }
            let ear = Ear {
                shared: Arc::downgrade(shared),
                cluster: Arc::clone(cluster),
                channels: Arc::clone(channels),
                node: Arc::clone(&node),
            };
            let shared = Arc::clone(shared);
            let task = tasks.spawn_on(async move { ear.listen(&shared).await }, cluster.driver());
            kept.push((node, task));
        }
        while tasks.try_join_next().is_some() {}
        // The sender lives as long as the cluster, which we hold: this cannot fail.
        let _closed = changes.changed().await.is_err();
    }
}

/// Listens at one node.
#[derive(Clone)]
struct Ear {
    shared: Weak<Shared>,
    cluster: Arc<Cluster>,
    channels: Arc<Channels>,
    node: Arc<Node>,
}

/// The number of a connection, which is over when this is dropped.
struct Connected {
    number: u64,
    channels: Arc<Channels>,
}

impl Drop for Connected {
    fn drop(&mut self) {
        self.channels.disconnect(self.number);
    }
}

/// Why a connection was given up.
enum Trouble {
    Driver(RedisError),
    Other(Error),
}

impl std::fmt::Display for Trouble {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Driver(error) => f.write_str(&said(error)),
            Self::Other(error) => error.fmt(f),
        }
    }
}

impl Ear {
    /// Whether this node has the slot, and no key of it is on its way to another.
    fn is_here(&self, slot: u16) -> bool {
        Arc::ptr_eq(&self.cluster.of(slot), &self.node) && !self.cluster.is_moving(slot)
    }

    async fn listen(&self, shared: &Arc<Shared>) -> Infallible {
        let mut backoff = Backoff::new(shared.options.reconnect_backoff);
        let mut changes = self.channels.changes();
        let mut is_told = false;
        loop {
            changes.mark_unchanged();
            if !self.channels.is_wanted(|slot| self.is_here(slot)) {
                let _closed = changes.changed().await.is_err();
                continue;
            }
            let began = Moment::now();
            let Some(site) = self.node.sites().present().await else {
                sleep_until(Moment::now() + GOOD, None).await;
                continue;
            };
            let session = self.session(shared, site.place.endpoint.clone());
            let ended = tokio::select! {
                trouble = session => Some(trouble),
                () = self.node.sites().ends(site.era) => None,
            };
            if let Some(trouble) = ended {
                self.node.suspect(); // what ended it may have ended the other one
                if !std::mem::replace(&mut is_told, true) {
                    warn!(error = %trouble, "no sharded inbox: waiting falls back to polling until it is back");
                }
            }
            let now = Moment::now();
            if now.since(began) > GOOD {
                backoff.reset();
                is_told = false;
            } else {
                sleep_until(now + backoff.next(), None).await;
            }
        }
    }

    /// Listens over one connection. Returns why it ended.
    async fn session(&self, shared: &Arc<Shared>, endpoint: Endpoint) -> Trouble {
        let mut endpoint = match endpoint.renewed().await {
            Ok(endpoint) => endpoint,
            Err(error) => return Trouble::Other(error),
        };
        let target = Target {
            script: None,
            prefix: &shared.options.prefix,
        };
        let connected = Connected {
            number: self.channels.connect(),
            channels: Arc::clone(&self.channels),
        };
        let ended = Arc::new(Notify::new());
        let hear = self.hear(connected.number, Arc::clone(&ended));
        let patience = shared.options.operation_timeout;
        let subscriber = match connect(&endpoint, target, patience, hear).await {
            Ok(subscriber) => subscriber,
            Err(failure) => {
                if failure.error.kind() == ErrorKind::Denied {
                    endpoint.discard_credentials().await;
                }
                return Trouble::Other(failure.error);
            }
        };
        let talk = self.talk(shared, &subscriber, connected.number);
        let renew = async {
            loop {
                endpoint = renewed(&subscriber, endpoint.clone()).await;
            }
        };
        tokio::select! {
            error = talk => Trouble::Driver(error),
            () = ended.notified() => Trouble::Driver(ended_early()),
            never = renew => match never {},
        }
    }

    /// What to do with each push.
    fn hear(&self, number: u64, ended: Arc<Notify>) -> impl Fn(Push<'_>) + Send + Sync + 'static {
        let ear = self.clone();
        let era = self.node.sites().era();
        move |push| match push {
            Push::Message(payload) => {
                if let Some(shared) = ear.shared.upgrade() {
                    shared.deliver(payload, era);
                }
            }
            // The slot may have begun to move since it was asked for.
            Push::Subscribed(channel) => {
                let is_here = ear.is_here(slot_of(channel));
                ear.channels.subscribed(channel, number, is_here);
            }
            Push::Unsubscribed(channel) => {
                if ear.channels.subscribed(channel, number, false) {
                    ear.cluster.worry.notify_one(); // its slot has moved
                }
            }
            Push::Ended => ended.notify_one(),
        }
    }

    /// Subscribes to what is wanted here, and leaves what is not. Returns when the connection fails.
    async fn talk(&self, shared: &Shared, subscriber: &Subscriber, number: u64) -> RedisError {
        let mut changes = self.channels.changes();
        let mut beat = Moment::now() + shared.quiet_for();
        loop {
            changes.mark_unchanged();
            for tag in self.channels.to_leave(number) {
                if let Err(error) = subscriber.unsubscribe(&self.channels.name(&tag)).await
                    && breaks_connection(&error)
                {
                    return error;
                }
            }
            let now = Moment::now();
            let (wanted, next) = self.channels.to_ask(now, ASKED, |slot| self.is_here(slot));
            let asked = wanted.iter().map(|tag| self.ask(shared, subscriber, tag));
            if let Some(error) = join_all(asked).await.into_iter().find_map(Result::err) {
                return error;
            }
            if wanted.len() == ASKED {
                continue;
            }
            if now >= beat {
                match subscriber.ping().await {
                    Err(error) if !is_withheld(&error) => return error,
                    _ => beat = Moment::now() + shared.quiet_for(),
                }
            }
            until(next.min(beat), None, changes.changed()).await;
        }
    }

    /// Asks for one channel. Fails if the connection has.
    async fn ask(&self, shared: &Shared, subscriber: &Subscriber, tag: &Tag) -> Result<(), RedisError> {
        let Err(error) = subscriber.subscribe(&self.channels.name(tag)).await else {
            return Ok(());
        };
        if error.is_timeout() || breaks_connection(&error) {
            return Err(error);
        }
        let target = Target {
            script: None,
            prefix: &shared.options.prefix,
        };
        match classify(&error, target).redirect.as_deref() {
            Some(Redirect::Moved { slot, to }) => self.cluster.moved(*slot, to.clone(), &self.node),
            Some(_) => self.cluster.worry.notify_one(),
            None => {
                debug!(error = %said(&error), "a channel cannot be subscribed to");
                let message = said(&error);
                shared.warn_once(&Warning::SubscribeDenied { message });
            }
        }
        Ok(())
    }
}

/// What a connection failed with that ended by itself.
fn ended_early() -> RedisError {
    std::io::Error::from(std::io::ErrorKind::ConnectionReset).into()
}

/// Shows other credentials when those of the connection are to be renewed. Returns the endpoint that
/// has them.
async fn renewed(subscriber: &Subscriber, present: Endpoint) -> Endpoint {
    if present.renew_at() == Moment::NEVER {
        return std::future::pending().await;
    }
    sleep_until(present.renew_at(), None).await;
    let mut backoff = Backoff::new(RENEWING);
    loop {
        let trouble = match present.renewed().await {
            Ok(fresh) => match subscriber.authenticate(&fresh).await {
                Ok(()) => return fresh,
                Err(error) => {
                    fresh.discard_credentials().await;
                    Trouble::Driver(error)
                }
            },
            Err(error) => Trouble::Other(error),
        };
        warn!(error = %trouble, "the credentials of the inbox cannot be renewed yet");
        sleep_until(Moment::now() + backoff.next(), None).await;
    }
}

/// Ticks for those whose channel was not heard, and forgets channels that nobody needs.
async fn tick(shared: &Arc<Shared>, channels: &Channels) -> ! {
    let mut changes = channels.changes();
    let mut under_way = FuturesUnordered::new();
    let mut forget_at = Moment::NEVER;
    loop {
        changes.mark_unchanged();
        let now = Moment::now();
        let (tags, next) = channels.to_tick(now);
        if now >= forget_at {
            let waiting = shared.table.all();
            let waits = waiting
                .iter()
                .filter(|attempt| attempt.with(State::waits_for_a_grant));
            channels.forget(now, waits.map(|attempt| &*attempt.key));
            forget_at = Moment::NEVER;
        }
        if forget_at == Moment::NEVER && !channels.is_empty() {
            forget_at = now + LINGER;
        }
        for places in places(shared, &tags) {
            while under_way.len() >= TICKS {
                under_way.next().await;
            }
            under_way.push(refresh_places(shared, places));
        }
        let wait = async {
            tokio::select! {
                _ = changes.changed() => {}
                Some(()) = under_way.next() => {}
            }
        };
        until(next.min(forget_at), None, wait).await;
    }
}

/// The places of those that wait for a name of these, by slot.
fn places(shared: &Shared, tags: &HashSet<Tag>) -> Vec<Vec<Item>> {
    if tags.is_empty() {
        return Vec::new();
    }
    let waiting = shared.table.all().into_iter().filter(|attempt| {
        Channels::is_of(&attempt.key, tags) && attempt.with(|state| state.is_queued() == Some(true))
    });
    batches_of_places(shared, waiting)
}
