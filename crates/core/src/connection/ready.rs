//! Whether a request can be handed over to the connection: before that, nothing has to be undone.
//!
//! The driver's error for a request that it never wrote is the same as for one whose answer was lost.
//! So a request that must not be repeated is only handed over to a connection that is known to live.
//! See "Before a request is sent" in `docs/design.md`.

use std::pin::pin;
use std::sync::LazyLock;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use redis::{Cmd, Value};

use super::node::{Link, Node};
use crate::base::clock::{Moment, sleep_until, until};
use crate::connection::failure::Failure;
use crate::types::error::{Error, ErrorKind};
use crate::wire::plain::command;
use crate::wire::value::Reply;

/// An answer proves that a connection lives, for this long.
const FRESH: Duration = Duration::from_millis(5);

static PING: LazyLock<Cmd> = LazyLock::new(|| command(&["PING"]));

impl Node {
    /// Whether [`ready`](Self::ready) has nothing to wait for, for a request that may be repeated.
    pub(crate) fn is_ready(&self) -> bool {
        self.is_up()
    }

    /// Waits until `deadline` for a connection. Nothing was sent if there is none in time.
    pub(crate) async fn ready(&self, deadline: Moment) -> Result<(), Failure> {
        self.usable(deadline).await?;
        self.link(deadline).await.map(drop)
    }

    /// Waits for a connection other than `generation` until `deadline`.
    pub(super) async fn other_link(&self, generation: u64, deadline: Moment) -> Result<(), Failure> {
        let other = self.wait_for_other(generation);
        if until(deadline, Some(self.driver()), other).await.is_some() {
            return Ok(());
        }
        Err(Failure::passing(self.why_silent()))
    }

    /// Says why there is no answer.
    pub(crate) fn why_silent(&self) -> Error {
        if self.is_up() {
            Error::new(ErrorKind::Unavailable, "the server did not answer in time")
        } else {
            self.outage().error()
        }
    }

    /// Returns how many subscribers the server that runs our scripts has for a channel. `None`: it does
    /// not say.
    pub(crate) async fn subscribers(&self, channel: &str, deadline: Moment) -> Result<Option<i64>, Failure> {
        let numsub = command(&["PUBSUB", "NUMSUB", channel]);
        match self.command(&numsub, deadline).await {
            Ok(Reply(Value::Array(parts))) => Ok(match &parts[..] {
                [_, Value::Int(count)] => Some(*count),
                _ => None,
            }),
            Ok(_) => Ok(None),
            Err(failure) if !failure.passing => Ok(None), // the right is missing
            Err(failure) => Err(failure),
        }
    }

    /// The same for a request that must not be repeated: waits for a connection that lives. One that
    /// was silent for long has to answer first, for which there is `patience`, whatever the deadline,
    /// but not after `latest`. Returns the deadline of the request.
    pub(crate) async fn ready_once(
        &self,
        patience: Duration,
        (mut deadline, latest): (Moment, Moment),
    ) -> Result<Moment, Failure> {
        loop {
            self.usable(deadline).await?;
            let link = self.link(deadline).await?;
            let silence = Moment::now().since(self.heard());
            if silence < FRESH {
                return Ok(deadline);
            }
            // The driver is given the time to notice.
            tokio::task::yield_now().await;
            if has_ended(&link) {
                let closed = Error::new(ErrorKind::Unavailable, "the connection was closed");
                self.report(link.generation, &closed);
                continue;
            }
            if silence < self.quiet {
                return Ok(deadline);
            }
            let Err(failure) = self.ping((Moment::now() + patience).min(latest)).await else {
                return Ok(deadline);
            };
            if !failure.passing {
                return Ok(deadline); // an answer, too
            }
            deadline = deadline.max((Moment::now() + patience).min(latest));
            if Moment::now() >= deadline {
                return Err(Failure::passing(failure.error));
            }
            if failure.unknown {
                self.report(link.generation, &failure.error);
            } else {
                let pause = Moment::now() + Duration::from_millis(10);
                sleep_until(pause.min(deadline), Some(self.driver())).await;
            }
        }
    }

    /// Whether the present connection has ended, which nobody may have noticed. Sends nothing.
    pub(crate) fn has_ended(&self) -> bool {
        self.present().is_some_and(|link| has_ended(&link))
    }
}

/// Whether the connection has ended. A command that is dropped when it has been polled once is refused
/// if there is nobody left who would write it, and otherwise seldom written.
fn has_ended(link: &Link) -> bool {
    let mut connection = link.connection.clone();
    let probe = pin!(connection.send_packed_command(&PING));
    let mut cx = Context::from_waker(Waker::noop());
    matches!(probe.poll(&mut cx), Poll::Ready(Err(_)))
}
