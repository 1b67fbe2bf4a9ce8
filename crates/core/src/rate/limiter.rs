//! The handle of a limiter.

use std::sync::Arc;
use std::time::Duration;

use super::acquire::RateAcquire;
use super::ask::Asker;
use crate::ops::request::Wait;
use crate::tasks::client::Client;
use crate::types::error::{Error, Result};
use crate::types::name::Name;
use crate::types::options::{KEEP, OnMismatch, check_keep};
use crate::types::rate::{Algorithm, Decision, Rate};
use crate::wire::request::{change, forget};
use crate::wire::terms::Terms;

/// A client, a name and a rate: what the handle of a limiter wraps. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Limiter(Arc<Asker>);

/// Options of a limiter, before they are checked.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct LimiterOptions {
    /// The handle's rate.
    pub rate: Rate,
    /// How permits are counted.
    pub algorithm: Algorithm,
    /// What happens if the server has another rate.
    pub on_mismatch: OnMismatch,
    /// How far ahead a slot may be reserved; `None`: one window.
    pub max_wait: Option<Duration>,
    /// How long a rate that was set at the server is remembered.
    pub keep: Duration,
}

impl LimiterOptions {
    /// Those of a limiter with this rate.
    pub const fn new(rate: Rate) -> Self {
        Self {
            rate,
            algorithm: Algorithm::Gcra,
            on_mismatch: OnMismatch::Error,
            max_wait: None,
            keep: KEEP,
        }
    }
}

fn own_terms(options: &LimiterOptions) -> Result<Terms> {
    check_keep(options.keep)?;
    Terms::new(options.rate, options.algorithm, false)?.with(
        options.on_mismatch,
        options.keep,
        options.max_wait,
    )
}

impl Limiter {
    /// Checks name and rate. Local: nothing is sent.
    ///
    /// # Errors
    /// `Invalid` for a name, rate or option that cannot work.
    pub fn new(client: &Client, name: &[u8], options: &LimiterOptions) -> Result<Self> {
        let name = Name::new(name)?;
        let own = own_terms(options).map_err(|error| error.named(&name))?;
        Ok(Self(Arc::new(Asker::new(client, name, own, options.on_mismatch))))
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
        let reservation = self.0.ask(1, None, None).await;
        Ok(reservation.map_err(|error| error.named(self.name()))?.rate)
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
            let terms = self.0.own().with_rate(rate)?;
            self.0
                .change(|not_after| change(&terms, self.0.key(), not_after))
                .await?;
            self.0.note(Some(terms.borrowed(self.0.own())));
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
        self.0
            .change(|not_after| forget(self.0.key(), not_after))
            .await
            .map_err(|error| error.named(self.name()))?;
        self.0.note(None);
        Ok(())
    }
}

#[allow(dead_code, reason = "compiled, not called: the bounds that users rely on")]
fn bounds() {
    fn all<T: Clone + std::fmt::Debug + Send + Sync + Unpin + 'static>() {}
    all::<Limiter>();
    all::<Rate>();
    all::<Decision>();
}
