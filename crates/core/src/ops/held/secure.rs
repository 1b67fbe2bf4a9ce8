//! What stands between a grant and its guard if the grant has to be replicated or saved first.

use std::pin::pin;
use std::time::Duration;

use super::guard::Guard;
use crate::attempt::event::{Event, HoldEvent};
use crate::base::clock::{Moment, until};
use crate::connection::witness::Want;
use crate::runtime::durable::Outcome;
use crate::tasks::lane::secure;
use crate::types::durability::{Durability, Reached};
use crate::types::error::{Error, ErrorKind, Result};
use crate::types::loss::Loss;

impl Guard {
    /// Its grant has to be replicated or saved before it is handed out. The hold of an upgrade is
    /// another's, which is secured when it has everything.
    pub(crate) fn is_to_be_secured(&self) -> bool {
        let spec = &self.view.attempt.spec;
        spec.durability != Durability::Primary && !spec.rules.upgrade
    }

    /// What has to be waited for before this guard is handed out, and for how long at most.
    pub(crate) fn wants(&self) -> Option<(Want, Duration)> {
        match self.view.attempt.spec.durability {
            Durability::Primary => None,
            Durability::Replicas { n, within } => Some((Want::Replicas(n), within)),
            Durability::Fsync { within } => Some((Want::Disk, within)),
        }
    }

    /// Waits until the grant is where its handle wants it; otherwise releases the hold, and waits
    /// for that as long as a request may take.
    ///
    /// # Errors
    /// `NotDurable` if it did not get there in time, or was lost meanwhile. Those of every request.
    ///
    /// # Cancel safety
    /// Dropping it gives the hold up.
    pub(crate) async fn secured(self) -> Result<Self> {
        self.secured_after(false).await
    }

    /// The same for a hold that somebody has had already, in another form.
    pub(crate) async fn secured_after(mut self, has_begun: bool) -> Result<Self> {
        let Some((want, within)) = self.wants() else {
            return Ok(self);
        };
        let began = Moment::now();
        let shared = self.client.shared_with_tasks();
        let (attempt, token) = (&self.view.attempt, self.token_number());
        let mut outcome = secure(shared, (attempt, token), want, began + within);
        let mut ended = pin!(self.view.lost());
        // Whoever sends knows the time as well, and has more to tell.
        let over = began + within + shared.options.operation_timeout * 2;
        let outcome = async {
            tokio::select! {
                biased;
                loss = &mut ended => Err(loss),
                outcome = &mut outcome => Ok(outcome),
            }
        };
        let outcome = until(over, Some(&shared.driver), outcome).await;
        let error = match outcome {
            Some(Ok(Ok(Outcome::Met(count)))) => {
                let loss = self.view.attempt.check(Moment::now());
                let Some(loss) = loss else {
                    self.view.reached = match want {
                        Want::Replicas(_) => Reached::Replicas(count),
                        Want::Disk => Reached::Disk,
                    };
                    return Ok(self);
                };
                self.not_kept(loss)
            }
            Some(Ok(Ok(Outcome::Lost))) => {
                let loss = self.view.attempt.check(Moment::now());
                self.not_kept(loss.unwrap_or(Loss::Vanished))
            }
            Some(Err(loss)) => self.not_kept(loss),
            Some(Ok(Ok(Outcome::Refused(error)))) => error,
            Some(Ok(Ok(Outcome::Short { count, error }))) => short(want, within, count, error),
            Some(Ok(Err(_))) => shared.closed_error(),
            None => short(want, within, None, None),
        };
        let name = self.name().clone();
        self.undone(has_begun).await;
        Err(error.named(&name))
    }

    /// The error of a grant that was lost before it could be relied on.
    fn not_kept(&self, loss: Loss) -> Error {
        match loss {
            Loss::Closed => self.client.shared().closed_error(),
            loss => Error::new(
                ErrorKind::NotDurable,
                format!("the hold was lost before its grant was replicated or saved: {loss}"),
            ),
        }
    }

    /// Releases the hold, which nobody has had. Returns after a request's time at the latest; the
    /// client goes on then.
    async fn undone(self, has_begun: bool) {
        let client = self.client.clone();
        let shared = client.shared();
        let over = Moment::now() + shared.options.operation_timeout;
        if !has_begun {
            self.view.attempt.note(Event::Hold(HoldEvent::NeverBegan));
        }
        // What came of it changes nothing: the caller has no hold.
        let _released = until(over, Some(&shared.driver), self.unlock()).await;
    }
}

/// The error of a grant that did not get far enough in time.
fn short(want: Want, within: Duration, count: Option<u32>, cause: Option<Error>) -> Error {
    let text = match (want, count) {
        (Want::Replicas(n), Some(count)) => {
            format!("the grant reached {count} of {n} replicas within {within:?}")
        }
        (Want::Replicas(n), None) => {
            format!("it is not known whether the grant reached {n} replicas within {within:?}")
        }
        (Want::Disk, _) => format!("the grant was not on the server's disk within {within:?}"),
    };
    let text = match &cause {
        Some(cause) => format!("{text} ({cause}); it was released"),
        None => format!("{text}; it was released"),
    };
    let error = Error::new(ErrorKind::NotDurable, text);
    match cause {
        Some(cause) => error.caused_by(cause),
        None => error,
    }
}
