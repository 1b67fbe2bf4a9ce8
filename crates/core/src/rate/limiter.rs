//! The handle of a limiter.

use std::sync::Arc;

use super::acquire::RateAcquire;
use super::ask::Asker;
use crate::base::clock::Moment;
use crate::ops::request::Wait;
use crate::tasks::client::Client;
use crate::types::error::{Error, ErrorKind, Result, foreign};
use crate::types::name::Name;
use crate::types::rate::{Algorithm, Decision, Rate};
use crate::wire::command::Request;
use crate::wire::reply::ChangeReply;
use crate::wire::request::{change, forget};
use crate::wire::terms::Terms;

/// A client, a name and a rate: what the handle of a limiter wraps. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Limiter(Arc<Asker>);

impl Limiter {
    /// Checks name and rate. Local: nothing is sent.
    ///
    /// # Errors
    /// `Invalid` for a name or rate that cannot work.
    pub fn new(client: &Client, name: &[u8], rate: Rate, algorithm: Algorithm) -> Result<Self> {
        let name = Name::new(name)?;
        let own = Terms::new(rate, algorithm, false).map_err(|error| error.named(&name))?;
        Ok(Self(Arc::new(Asker::new(client, name, own))))
    }

    /// The name.
    pub fn name(&self) -> &Name {
        self.0.name()
    }

    /// The client.
    pub fn client(&self) -> &Client {
        self.0.client()
    }

    /// Waits for a slot for so many permits and goes, or is refused at once.
    pub fn acquire(&self, weight: u32, wait: Wait) -> RateAcquire {
        RateAcquire::new(Arc::clone(&self.0), weight, Some(wait))
    }

    /// Takes so many permits now, or says when they could be had.
    pub fn try_acquire(&self, weight: u32) -> RateAcquire {
        RateAcquire::new(Arc::clone(&self.0), weight, None)
    }

    /// What [`try_acquire`](Self::try_acquire) of one would say now. Changes nothing.
    ///
    /// # Errors
    /// `Unavailable`, `Mismatch`, `Closed`, `Denied`, `WrongType`.
    ///
    /// # Cancel safety
    /// Cancel safe: it changes nothing.
    pub async fn peek(&self) -> Result<Decision> {
        let reservation = self.0.ask(1, None, None).await;
        let mut decision = reservation.map_err(|error| error.named(self.name()))?.decision;
        decision.allowed = decision.retry_after.is_zero();
        Ok(decision)
    }

    /// The rate that counts.
    ///
    /// # Errors
    /// As [`peek`](Self::peek).
    ///
    /// # Cancel safety
    /// Cancel safe: it changes nothing.
    pub async fn rate(&self) -> Result<Rate> {
        self.peek().await?;
        Ok(self.0.terms().rate)
    }

    /// Sets the rate, for everybody and whatever their handles say.
    ///
    /// # Errors
    /// `Invalid` for a rate that cannot work, `Mismatch` if the limiter was made with another algorithm; `Unavailable` (then
    /// it may or may not have happened), `Closed`, `Denied`, `WrongType`, `OutOfMemory`.
    ///
    /// # Cancel safety
    /// It may or may not happen.
    pub async fn set_rate(&self, rate: Rate) -> Result<()> {
        let change = async {
            let terms = Terms::new(rate, self.0.own().algorithm, true)?;
            self.change(|not_after| change(&terms, self.0.key(), not_after))
                .await?;
            self.0.note(Some(terms.clone()));
            Ok(())
        };
        change.await.map_err(|error: Error| error.named(self.name()))
    }

    /// Forgets all that the server knows of it.
    ///
    /// # Errors
    /// `Unavailable` (then it may or may not have happened), `Closed`, `Denied`, `WrongType`.
    ///
    /// # Cancel safety
    /// It may or may not happen.
    pub async fn reset(&self) -> Result<()> {
        self.change(|not_after| forget(self.0.key(), not_after))
            .await
            .map_err(|error| error.named(self.name()))?;
        self.0.note(None);
        Ok(())
    }

    /// Runs a script that may run twice.
    async fn change(&self, request: impl Fn(u64) -> Request) -> Result<()> {
        let shared = self.client().shared();
        let deadline = Moment::now() + shared.options.operation_timeout;
        let not_after = shared.commands.not_after(deadline);
        let answer = self.client().call(&request(not_after)).await?;
        let (stamp, reply) = ChangeReply::read(answer.reply)?;
        shared.commands.note_stamp(answer.sent, stamp);
        match reply {
            ChangeReply::Done => Ok(()),
            ChangeReply::Foreign => Err(foreign()),
            ChangeReply::Other(theirs) => Err(self.0.own().mismatch(&theirs)),
            ChangeReply::Late => Err(Error::new(
                ErrorKind::Unavailable,
                "the request came too late at the server, and changed nothing",
            )),
        }
    }
}

#[allow(dead_code, reason = "compiled, not called: the bounds that users rely on")]
fn bounds() {
    fn all<T: Clone + std::fmt::Debug + Send + Sync + Unpin + 'static>() {}
    all::<Limiter>();
    all::<Rate>();
    all::<Decision>();
}
