//! The inbox: a connection that subscribes to the client's channel and is replaced when it fails.
//!
//! It is separate from the command connection. There, an unexpected push would be taken for the
//! reply to the oldest request, and every later reply would shift by one.

use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use futures_util::StreamExt;
use redis::aio::{PubSubSink, PubSubStream};
use redis::{RedisError, RedisResult};

use crate::base::backoff::Backoff;
use crate::base::clock::{Moment, Timer, sleep_until, until};
use crate::base::trace::{debug, warn};
use crate::connection::endpoint::Endpoint;
use crate::connection::node::{GOOD, Node};
use crate::connection::opening::within;
use crate::connection::refusal::{is_withheld, said};
use crate::runtime::shared::Shared;
use crate::tasks::supervisor::RENEWING;
use crate::types::error::Error;
use crate::types::server::Warning;

/// The pause between two looks for the inbox, if there is no answer.
const PAUSE: Duration = Duration::from_millis(100);

/// After that many inboxes in a row that the server of the commands does not know, the last one is kept: something in
/// between may separate the two for good.
const FOLLOWED: u32 = 3;

/// What is remembered from one inbox to the next.
#[derive(Debug)]
struct Followed {
    /// The command connection over which the inbox was last seen; 0: it was not yet.
    checked: u64,
    /// How many inboxes in a row were on another server.
    elsewhere: u32,
    /// It was said that there is none.
    said: bool,
}

/// Delivers messages until the client ends. After every subscription the keeper ticks at once,
/// because a message may have been lost in between (H1, H2).
pub(crate) async fn receive(shared: &Shared) -> ! {
    let mut endpoint: Option<Endpoint> = None;
    let mut backoff = Backoff::new(shared.options.reconnect_backoff);
    let mut followed = Followed {
        checked: 1, // the first two connections are made together
        elsewhere: 0,
        said: false,
    };
    loop {
        let began = Moment::now();
        // In a cluster the clients spread over its nodes, and each takes another one while its own
        // is away.
        let node = shared.route.any(shared.number());
        let most = if shared.route.cluster().is_some() {
            began + PAUSE
        } else {
            Moment::NEVER
        };
        let Some(Some(site)) = until(most, None, node.sites().present()).await else {
            sleep_until(began + PAUSE, None).await;
            continue;
        };
        // Certificates that were read again last are kept, for the case that they cannot be read
        // now.
        let known = endpoint
            .take()
            .filter(|known| known.address() == site.place.endpoint.address());
        let present = known.unwrap_or_else(|| site.place.endpoint.clone());
        let (present, result) = match present.renewed().await {
            Ok(present) => {
                let at = (&*node, site.era);
                session(shared, at, present, &mut backoff, &mut followed).await
            }
            Err(error) => (present, Err(Trouble::Credentials(error))),
        };
        endpoint = Some(present);
        shared.schedule.set_listening(false);
        followed.checked = 0;
        match result {
            Ok(Ended::Closed) => {
                debug!("the inbox's connection has ended");
                node.suspect(); // what ended it may have ended the other one
            }
            Ok(Ended::Elsewhere) => {
                debug!("the inbox follows the commands to another server");
                continue;
            }
            Err(trouble) => {
                if !followed.said {
                    followed.said = true;
                    warn!(error = %trouble, "no inbox: waiting falls back to polling until it is back");
                }
                if let Trouble::Driver(error) = &trouble {
                    if is_withheld(error) {
                        let message = said(error);
                        shared.warn_once(&Warning::SubscribeDenied { message });
                    } else if error.kind() == redis::ErrorKind::AuthenticationFailed
                        && let Some(endpoint) = &endpoint
                    {
                        endpoint.discard_credentials().await;
                    }
                }
            }
        }
        shared.inbox_tried.send_replace(true);
        let now = Moment::now();
        if now.since(began) <= shared.options.heartbeat.min(GOOD) {
            // Where there is a new command connection, there may be an inbox.
            let other = node.wait_for_other(node.generation());
            until(now + backoff.next(), None, other).await;
        }
    }
}

/// Resolves when this inbox has been looked for over a command connection other than `checked`: over which, and whether it
/// is on another server than the scripts run on, so that they take our waiters for dead.
async fn is_elsewhere(shared: &Shared, node: &Node, checked: u64) -> (u64, bool) {
    loop {
        node.wait_for_other(checked).await;
        let generation = node.generation();
        let deadline = Moment::now() + shared.options.operation_timeout;
        if let Ok(count) = node.subscribers(&shared.channel, deadline).await
            && generation == node.generation()
        {
            return (generation, count == Some(0));
        }
        sleep_until(Moment::now() + PAUSE, None).await;
    }
}

/// Why there is no inbox.
#[derive(Debug)]
enum Trouble {
    Driver(RedisError),
    Credentials(Error),
}

impl std::fmt::Display for Trouble {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Driver(error) => f.write_str(&said(error)),
            Self::Credentials(error) => error.fmt(f),
        }
    }
}

/// A subscription to the client's channel.
type Subscription = (PubSubSink, PubSubStream);

/// Connects and subscribes.
async fn subscribe(shared: &Shared, endpoint: &Endpoint) -> RedisResult<Subscription> {
    let patience = shared.options.operation_timeout;
    // redis-rs has no timeout for any of these.
    let opening = patience * endpoint.round_trips();
    let pubsub = within(opening, endpoint.client.get_async_pubsub()).await?;
    let (mut sink, stream) = pubsub.split();
    within(patience, sink.subscribe(&*shared.channel)).await?;
    Ok((sink, stream))
}

/// Resolves to another subscription, with other credentials, when those of `present` are to be
/// renewed.
async fn exchange(shared: &Shared, present: Endpoint) -> (Endpoint, Subscription) {
    if present.renew_at() == Moment::NEVER {
        return std::future::pending().await;
    }
    let mut backoff = Backoff::new(RENEWING);
    sleep_until(present.renew_at(), None).await;
    loop {
        let trouble = match present.renewed().await {
            Ok(fresh) => match subscribe(shared, &fresh).await {
                Ok(subscription) => return (fresh, subscription),
                Err(error) => {
                    fresh.discard_credentials().await;
                    Trouble::Driver(error)
                }
            },
            Err(error) => Trouble::Credentials(error),
        };
        warn!(error = %trouble, "the credentials of the inbox cannot be renewed yet");
        sleep_until(Moment::now() + backoff.next(), None).await;
    }
}

/// Subscribes, and delivers messages until the connection ends. Returns the endpoint that was used
/// last.
async fn session(
    shared: &Shared,
    at: (&Node, u64),
    mut endpoint: Endpoint,
    backoff: &mut Backoff,
    followed: &mut Followed,
) -> (Endpoint, Result<Ended, Trouble>) {
    let result = listen(shared, at, &mut endpoint, backoff, followed).await;
    (endpoint, result.map_err(Trouble::Driver))
}

async fn listen(
    shared: &Shared,
    (node, era): (&Node, u64),
    endpoint: &mut Endpoint,
    backoff: &mut Backoff,
    followed: &mut Followed,
) -> RedisResult<Ended> {
    let (mut sink, mut stream) = tokio::select! {
        subscribed = subscribe(shared, endpoint) => subscribed?,
        () = node.sites().ends(era) => return Ok(Ended::Elsewhere),
    };
    shared.schedule.set_listening(true);
    shared.inbox_tried.send_replace(true);
    followed.said = false;

    let heartbeat = shared.options.heartbeat;
    let mut heard = Moment::now();
    let mut beat = heard + heartbeat;
    let mut timer = pin!(Timer::new()); // one for all messages, so that waiters are woken sooner
    let mut check = Box::pin(is_elsewhere(shared, node, followed.checked));
    let mut era_ends = Box::pin(ends(shared, node, era));
    let mut exchanged = Box::pin(exchange(shared, endpoint.clone()));
    loop {
        let next = poll_fn(|cx| {
            if let Poll::Ready(message) = stream.poll_next_unpin(cx) {
                return Poll::Ready(Next::Message(message));
            }
            if let Poll::Ready((generation, elsewhere)) = check.as_mut().poll(cx) {
                return Poll::Ready(Next::Checked(generation, elsewhere));
            }
            if era_ends.as_mut().poll(cx).is_ready() {
                return Poll::Ready(Next::EraEnded);
            }
            if let Poll::Ready(fresh) = exchanged.as_mut().poll(cx) {
                return Poll::Ready(Next::Exchanged(Box::new(fresh)));
            }
            timer.as_mut().poll_until(cx, beat, None).map(|()| Next::Beat)
        });
        match next.await {
            Next::EraEnded => return Ok(Ended::Elsewhere),
            Next::Message(Some(message)) => {
                heard = Moment::now();
                shared.deliver(message.get_payload_bytes(), era);
            }
            Next::Message(None) => return Ok(Ended::Closed),
            // Both were subscribed for a moment: what came twice changes nothing the second time,
            // and ticks find what the old one may still have had.
            Next::Exchanged(fresh) => {
                (*endpoint, (sink, stream)) = *fresh;
                exchanged = Box::pin(exchange(shared, endpoint.clone()));
                shared.schedule.tick_now();
            }
            Next::Checked(_, true) if followed.elsewhere < FOLLOWED => {
                followed.elsewhere += 1;
                debug!("the inbox is on another server than the commands: it follows them");
                return Ok(Ended::Closed);
            }
            Next::Checked(generation, elsewhere) => {
                if !elsewhere {
                    followed.elsewhere = 0;
                    backoff.reset();
                }
                check = Box::pin(is_elsewhere(shared, node, generation));
            }
            Next::Beat => {
                let now = Moment::now();
                if now >= heard + shared.quiet_for() {
                    check_alive(shared, &mut sink).await?;
                    heard = Moment::now();
                }
                beat = (heard + shared.quiet_for()).min(now + heartbeat);
            }
        }
    }
}

/// Resolves when the inbox has to be elsewhere.
async fn ends(shared: &Shared, node: &Node, era: u64) {
    tokio::select! {
        () = node.sites().ends(era) => {}
        // Another node of the cluster passes messages on meanwhile.
        () = node.wait_until_down(), if shared.route.cluster().is_some() => {}
    }
}

/// A half-open connection looks alive but delivers nothing (H3).
async fn check_alive(shared: &Shared, sink: &mut PubSubSink) -> RedisResult<()> {
    let pong: RedisResult<redis::Value> = within(shared.options.operation_timeout, sink.ping()).await;
    match pong {
        Err(error) if !is_withheld(&error) => Err(error),
        _ => Ok(()), // a refusal is an answer, too
    }
}

/// How an inbox ended without an error.
enum Ended {
    /// Its connection was closed, or leads to another server than that of the commands.
    Closed,
    /// Another server has taken over, or the server has restarted.
    Elsewhere,
}

/// What an inbox may meet.
enum Next<M> {
    Message(Option<M>),
    EraEnded,
    Exchanged(Box<(Endpoint, Subscription)>),
    Checked(u64, bool),
    Beat,
}
