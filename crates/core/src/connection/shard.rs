//! A connection that subscribes to channels of its server's slots.
//!
//! It is in RESP3, where what is pushed can be told from the answer to a request, so that it can
//! subscribe to more while messages come. redis-rs takes a push about a subscription for the answer
//! to the oldest request, also one that nobody asked for. So an answer says nothing here, unless it
//! is an error: what was subscribed is known from the pushes.

use std::time::Duration;

use redis::aio::{MultiplexedConnection, SendError};
use redis::{Cmd, PushInfo, PushKind, RedisResult, Value};

use crate::connection::endpoint::Endpoint;
use crate::connection::failure::Failure;
use crate::connection::opening::{open_with_pushes, within};
use crate::connection::refusal::Target;
use crate::types::error::Result;
use crate::wire::plain::command;

/// What the server says unasked.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Push<'a> {
    Message(&'a [u8]),
    Subscribed(&'a [u8]),
    Unsubscribed(&'a [u8]),
    /// The connection has ended.
    Ended,
}

/// Reads a push; `None` if it is of no interest.
fn read(info: &PushInfo) -> Option<Push<'_>> {
    let text = |at: usize| match info.data.get(at) {
        Some(Value::BulkString(text)) => Some(&**text),
        _ => None,
    };
    Some(match info.kind {
        PushKind::SMessage => Push::Message(text(1)?),
        PushKind::SSubscribe => Push::Subscribed(text(0)?),
        PushKind::SUnsubscribe => Push::Unsubscribed(text(0)?),
        PushKind::Disconnection => Push::Ended,
        _ => return None,
    })
}

/// Connects, and hands each push to `hear`, which must not block.
pub(crate) async fn connect(
    endpoint: &Endpoint,
    target: Target<'_>,
    patience: Duration,
    hear: impl Fn(Push<'_>) + Send + Sync + 'static,
) -> Result<Subscriber, Failure> {
    let endpoint = endpoint.in_resp3().map_err(Failure::refused)?;
    let pushes = move |info: PushInfo| {
        if let Some(push) = read(&info) {
            hear(push);
        }
        Ok::<_, SendError>(())
    };
    let connection = open_with_pushes(&endpoint, target, patience, pushes).await?;
    Ok(Subscriber { connection, patience })
}

/// The connection.
#[derive(Clone)]
pub(crate) struct Subscriber {
    connection: MultiplexedConnection,
    patience: Duration,
}

impl Subscriber {
    async fn send(&self, command: &Cmd) -> RedisResult<()> {
        let mut connection = self.connection.clone();
        match within(self.patience, connection.send_packed_command(command)).await? {
            Value::ServerError(error) => Err(error.into()),
            _ => Ok(()),
        }
    }

    /// Asks for the messages of a channel.
    pub(crate) async fn subscribe(&self, channel: &[u8]) -> RedisResult<()> {
        let mut subscribe = command(&["SSUBSCRIBE"]);
        subscribe.arg(channel);
        self.send(&subscribe).await
    }

    /// Asks for no more messages of a channel.
    pub(crate) async fn unsubscribe(&self, channel: &[u8]) -> RedisResult<()> {
        let mut unsubscribe = command(&["SUNSUBSCRIBE"]);
        unsubscribe.arg(channel);
        self.send(&unsubscribe).await
    }

    /// Asks for a sign of life.
    pub(crate) async fn ping(&self) -> RedisResult<()> {
        self.send(&command(&["PING"])).await
    }

    /// Shows the credentials of this endpoint to the server.
    pub(crate) async fn authenticate(&self, as_of: &Endpoint) -> RedisResult<()> {
        self.send(&as_of.auth()).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pushes_are_told_apart() {
        let text = |text: &str| Value::BulkString(text.as_bytes().to_vec());
        let push = |kind, data: &[Value]| PushInfo {
            kind,
            data: data.to_vec(),
        };
        let both = [text("channel"), text("payload")];
        let count = [text("channel"), Value::Int(1)];
        for (info, expected) in [
            (push(PushKind::SMessage, &both), Some(Push::Message(b"payload"))),
            (
                push(PushKind::SSubscribe, &count),
                Some(Push::Subscribed(b"channel")),
            ),
            (
                push(PushKind::SUnsubscribe, &count),
                Some(Push::Unsubscribed(b"channel")),
            ),
            (push(PushKind::Disconnection, &[]), Some(Push::Ended)),
            (push(PushKind::Message, &both), None),
            (push(PushKind::SMessage, &count), None),
            (push(PushKind::SUnsubscribe, &[Value::Nil, Value::Int(0)]), None),
        ] {
            assert_eq!(read(&info), expected, "{info:?}");
        }
    }
}
