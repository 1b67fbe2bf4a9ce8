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

/// How long to wait for a connection.
#[derive(Clone, Copy)]
enum Waits {
    /// Until the deadline, however long the outage lasts.
    ToTheEnd,
    /// Until the deadline, or until calls fail at once, whichever comes first.
    UntilCallsFail,
}

impl Node {
    /// Whether [`ready`](Self::ready) has nothing to wait for, for a request that may be repeated.
    pub(crate) fn is_ready(&self) -> bool {
        self.is_up()
    }

    /// Waits for a connection until `deadline`, or until calls fail at once. Nothing was sent if
    /// there is none in time.
    pub(crate) async fn ready(&self, deadline: Moment) -> Result<(), Failure> {
        self.usable(deadline).await.map(drop)
    }

    /// Returns the connection for what belongs to a hold: the present one, or the one that there is
    /// until `deadline`. Rare paths are boxed, here and in `call`, because the future of each
    /// request is allocated, and small ones are cheap.
    pub(crate) async fn link(&self, deadline: Moment) -> Result<Link, Failure> {
        match self.present() {
            Some(link) => Ok(link),
            None => Box::pin(self.wait_for_link(deadline, Waits::ToTheEnd)).await,
        }
    }

    /// The same for a call, which does not wait once calls fail at once. What it returns is a
    /// connection: a look and a wait of its own would miss an outage that begins between them.
    pub(crate) async fn usable(&self, deadline: Moment) -> Result<Link, Failure> {
        match self.present() {
            Some(link) => Ok(link),
            None => Box::pin(self.wait_for_link(deadline, Waits::UntilCallsFail)).await,
        }
    }

    /// The limit is looked at again whenever a connection comes or goes, so it is that of the
    /// present outage, even if this one began during the wait.
    async fn wait_for_link(&self, deadline: Moment, waits: Waits) -> Result<Link, Failure> {
        let mut up = self.up.subscribe();
        loop {
            up.mark_unchanged(); // before the look: what happens after it is a change
            if let Some(link) = self.present() {
                return Ok(link);
            }
            let fast = match waits {
                Waits::UntilCallsFail => self.fails_fast_at().filter(|&at| at <= deadline),
                Waits::ToTheEnd => None,
            };
            let over = fast.unwrap_or(deadline);
            // The sender lives as long as we do: only time can end this.
            if until(over, Some(self.driver()), up.changed()).await.is_some() {
                continue;
            }
            return Err(match fast {
                Some(_) => Failure::refused(self.outage().error()),
                None => Failure::passing(self.why_silent()),
            });
        }
    }

    /// When calls begin to fail at once, if there is no connection. In this order: an outage notes
    /// its beginning before it takes the connection down, so the beginning that is read is not an
    /// older one.
    fn fails_fast_at(&self) -> Option<Moment> {
        if self.is_up() {
            return None;
        }
        self.outage().fails_fast_at()
    }

    /// The error of calls that fail at once, if they do.
    pub(crate) fn fails_fast(&self, now: Moment) -> Option<Error> {
        let at = self.fails_fast_at()?;
        (now >= at).then(|| self.outage().error())
    }

    /// Sends a PING for a call, and returns its round trip.
    pub(crate) async fn ping(&self, deadline: Moment) -> Result<Duration, Failure> {
        let link = self.usable(deadline).await?;
        let start = Moment::now();
        self.command_on(link, &PING, deadline).await?;
        Ok(Moment::now().since(start))
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
        let link = self.link(deadline).await?;
        match self.command_on(link, &numsub, deadline).await {
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
            let link = self.usable(deadline).await?;
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
            let generation = link.generation;
            let pinged = self.command_on(link, &PING, (Moment::now() + patience).min(latest));
            let Err(failure) = pinged.await else {
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
                self.report(generation, &failure.error);
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::Future;
    use tokio::runtime::Handle;

    const SHORT: Duration = Duration::from_millis(20);
    const HOUR: Duration = Duration::from_secs(3600);

    fn node(fail_fast: Option<Duration>) -> Node {
        let node = Node::new("p".into(), Handle::current(), (HOUR, HOUR));
        node.fail_fast_after(fail_fast)
    }

    fn cut() -> Error {
        Error::new(ErrorKind::Denied, "it was cut")
    }

    /// The outage begins when the call has found a connection that is up, and before it gets it.
    async fn cut_off_meanwhile<T>(node: &Node, call: impl Future<Output = Result<T, Failure>>) -> Failure {
        node.up.send_replace(1);
        let mut call = pin!(call);
        let mut cx = Context::from_waker(Waker::noop());
        assert!(call.as_mut().poll(&mut cx).is_pending(), "it waits");
        node.take_down(Some(&cut()), true);
        let refusal = tokio::time::timeout(Duration::from_secs(10), call).await;
        refusal.expect("it ends").err().expect("a refusal")
    }

    #[tokio::test]
    async fn an_outage_that_begins_during_the_wait_ends_it_in_time() {
        let node = node(Some(SHORT));
        let deadline = Moment::now() + HOUR;
        let ready = cut_off_meanwhile(&node, node.ready(deadline)).await;
        let once = cut_off_meanwhile(&node, node.ready_once(HOUR, (deadline, deadline))).await;
        let ping = cut_off_meanwhile(&node, node.ping(deadline)).await;
        for failure in [ready, once, ping] {
            assert_eq!(failure.error.kind(), ErrorKind::Denied, "the cause: {failure:?}");
            assert!(!failure.passing && !failure.unknown, "at once: {failure:?}");
        }
    }

    #[tokio::test]
    async fn the_earlier_of_both_limits_counts() {
        let node = node(Some(HOUR));
        let deadline = Moment::now() + SHORT;
        let failure = cut_off_meanwhile(&node, node.ready(deadline)).await;
        assert!(failure.passing, "another try may work: {failure:?}");
    }

    #[tokio::test]
    async fn what_belongs_to_a_hold_waits_until_its_deadline() {
        let node = node(Some(Duration::ZERO));
        node.take_down(Some(&cut()), true);
        let link = node.link(Moment::now() + SHORT).await;
        let failure = link.err().expect("no connection");
        assert!(failure.passing, "it goes on trying: {failure:?}");
    }
}
