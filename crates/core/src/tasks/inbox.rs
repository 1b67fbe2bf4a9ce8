//! The inbox: a connection that subscribes to the client's channel and is replaced when it fails.
//!
//! It is separate from the command connection. There, an unexpected push would be taken for the
//! reply to the oldest request, and every later reply would shift by one.

use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use futures_util::StreamExt;
use redis::RedisResult;

use crate::base::backoff::Backoff;
use crate::base::clock::{Moment, Timer, sleep_until, until};
use crate::base::trace::{debug, warn};
use crate::connection::endpoint::Endpoint;
use crate::connection::refusal::{is_withheld, said};
use crate::runtime::shared::Shared;
use crate::types::server::Warning;

/// Delivers messages until the client ends. After every subscription the keeper ticks at once,
/// because a message may have been lost in between (H1, H2).
pub(crate) async fn receive(shared: &Shared, endpoint: &Endpoint) -> ! {
    let mut endpoint = endpoint.clone();
    let mut backoff = Backoff::new(shared.options.reconnect_backoff);
    let mut told = false;
    loop {
        let result = session(shared, &endpoint, &mut backoff, &mut told).await;
        shared.schedule.set_listening(false);
        match result {
            Ok(()) => debug!("the inbox's connection has ended"),
            Err(error) => {
                if !told {
                    told = true;
                    warn!(error = %said(&error), "no inbox: waiting falls back to polling until it is back");
                }
                if is_withheld(&error) {
                    shared.warn_once(&Warning::SubscribeDenied {
                        message: said(&error),
                    });
                }
            }
        }
        shared.inbox_tried.send_replace(true);
        sleep_until(Moment::now() + backoff.next(), None).await;
        endpoint = endpoint.renewed().await;
    }
}

/// Connects, subscribes, and delivers messages until the connection ends.
async fn session(
    shared: &Shared,
    endpoint: &Endpoint,
    backoff: &mut Backoff,
    told: &mut bool,
) -> RedisResult<()> {
    let patience = shared.options.operation_timeout;
    // redis-rs has no timeout for any of these.
    let opening = patience * endpoint.round_trips();
    let pubsub = within(opening, endpoint.client.get_async_pubsub()).await?;
    let (mut sink, mut stream) = pubsub.split();
    within(patience, sink.subscribe(&*shared.channel)).await?;
    shared.schedule.set_listening(true);
    shared.inbox_tried.send_replace(true);
    backoff.reset();
    *told = false;

    let mut beat = Moment::now() + shared.options.heartbeat;
    let mut timer = pin!(Timer::new()); // one for all messages, so that waiters are woken sooner
    loop {
        let next = poll_fn(|cx| match stream.poll_next_unpin(cx) {
            Poll::Ready(message) => Poll::Ready(Some(message)),
            Poll::Pending => timer.as_mut().poll_until(cx, beat, None).map(|()| None),
        });
        match next.await {
            Some(Some(message)) => shared.deliver(message.get_payload_bytes()),
            Some(None) => return Ok(()),
            None => {
                // A half-open connection looks alive but delivers nothing (H3).
                let pong: RedisResult<redis::Value> = within(patience, sink.ping()).await;
                if let Err(error) = pong
                    && !is_withheld(&error)
                // an answer, too
                {
                    return Err(error);
                }
                beat = Moment::now() + shared.options.heartbeat;
            }
        }
    }
}

async fn within<T>(time: Duration, work: impl Future<Output = RedisResult<T>>) -> RedisResult<T> {
    match until(Moment::now() + time, None, work).await {
        Some(result) => result,
        None => Err(std::io::Error::from(std::io::ErrorKind::TimedOut).into()),
    }
}
