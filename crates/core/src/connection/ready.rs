//! Whether a request can be handed over to the connection: before that, nothing has to be undone.
//!
//! The driver's error for a request that it never wrote is the same as for one whose answer was lost.
//! So a request that must not be repeated is only handed over to a connection that is known to live.
//! See "Before a request is sent" in `docs/design.md`.

use std::pin::pin;
use std::sync::LazyLock;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use redis::Cmd;

use super::commands::{Commands, Link};
use crate::base::clock::{Moment, sleep_until};
use crate::connection::failure::Failure;
use crate::types::error::{Error, ErrorKind};
use crate::wire::plain::command;

/// An answer proves that a connection lives, for this long.
const FRESH: Duration = Duration::from_millis(5);

static PING: LazyLock<Cmd> = LazyLock::new(|| command(&["PING"]));

impl Commands {
    /// Whether [`ready`](Self::ready) has nothing to wait for, for a request that may be repeated.
    pub(crate) fn is_ready(&self) -> bool {
        self.is_up()
    }

    /// Waits until `deadline` for a connection. Nothing was sent if there is none in time.
    pub(crate) async fn ready(&self, deadline: Moment) -> Result<(), Failure> {
        self.link(deadline).await.map(drop)
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
            let link = self.link(deadline).await?;
            let silence = Moment::now().since(self.heard());
            if silence < FRESH {
                return Ok(deadline);
            }
            if has_ended(&link) {
                self.note_error(&Error::new(ErrorKind::Unavailable, "the connection was closed"));
                self.report(link.generation);
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
                self.note_error(&failure.error);
                self.report(link.generation);
            } else {
                let pause = Moment::now() + Duration::from_millis(10);
                sleep_until(pause.min(deadline), Some(self.driver())).await;
            }
        }
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
