//! What an attempt yields: the guard.

use std::fmt;
use std::sync::Arc;
use std::task::Context;
use std::time::Duration;

use crate::attempt::Attempt;
use crate::attempt::event::{Asked, Event, HoldEvent};
use crate::attempt::lease::Lease;
use crate::attempt::state::State;
use crate::base::clock::{Moment, millis};
use crate::ops::held::hold::Hold;
use crate::ops::held::release::Unlock;
use crate::tasks::client::Client;
use crate::tasks::keeper::renew::{Item, exchange};
use crate::types::error::{Error, ErrorKind, Result};
use crate::types::name::Name;
use crate::types::options::check_lease;
use crate::types::owner::Owner;
use crate::types::ticket::Ticket;
use crate::types::token::FencingToken;
use crate::wire::reply::TickItem;

/// A hold. Primitives wrap it in a guard type of their own.
///
/// Dropping it hands the release to the keeper: it never blocks, allocates, panics or needs a runtime.
#[must_use = "the lock is released when the guard is dropped"]
pub struct Guard {
    pub(crate) view: Hold,
    pub(crate) client: Client,
    /// What it has of the capacity.
    pub(crate) weight: u32,
    /// Still ours to release.
    live: bool,
}

impl fmt::Debug for Guard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Guard")
            .field("name", self.name())
            .field("token", &self.view.token)
            .field("valid_for", &self.valid_for())
            .finish_non_exhaustive()
    }
}

impl Guard {
    /// The hold is handed out: the keeper looks after it from now on.
    pub(crate) fn new(client: Client, attempt: Arc<Attempt>, lease: &Lease) -> Self {
        let token = FencingToken::from_reply(lease.token);
        let weight = lease.weight;
        let shared = client.shared();
        shared.schedule.hand_out(&attempt, lease.due, &shared.driver);
        let driver = shared.driver.clone();
        Self {
            view: Hold {
                attempt,
                token,
                driver,
            },
            client,
            weight,
            live: true,
        }
    }

    /// See [`Hold::name`].
    pub fn name(&self) -> &Name {
        self.view.name()
    }

    /// The token as the scripts take it: zero for a shared hold.
    pub(crate) fn token_number(&self) -> u64 {
        self.view.token.map_or(0, FencingToken::get)
    }

    /// The token of an exclusive hold.
    pub fn fencing_token(&self) -> FencingToken {
        FencingToken::new(self.token_number())
    }

    /// A cheap view of the hold for tasks that work under it.
    pub fn hold(&self) -> &Hold {
        &self.view
    }

    /// See [`Hold::is_lost`].
    pub fn is_lost(&self) -> bool {
        self.view.is_lost()
    }

    /// See [`Hold::valid_for`].
    pub fn valid_for(&self) -> Duration {
        self.view.valid_for()
    }

    /// Whose hold it is, of a reentrant one.
    pub fn owner(&self) -> &Owner {
        self.view.attempt.spec.owner().unwrap_or(&Owner::NOBODY)
    }

    /// What it has of the capacity.
    pub fn weight(&self) -> u32 {
        self.weight
    }

    /// The error to give when the hold was lost.
    pub(crate) fn lost_error(&self) -> Option<Error> {
        let loss = self.view.attempt.check(Moment::now())?;
        Some(Error::lost(loss).named(self.name()))
    }

    /// For one that sleeps until it may start: wakes it when the hold is lost or the client closed, and says if that is closed.
    pub(crate) fn wait_for_end(&self, cx: &Context<'_>) -> bool {
        self.view.attempt.register_waker(cx, State::is_closed)
    }

    /// Renews the hold so that it lasts at least `lease` from now. Never shortens it.
    ///
    /// # Errors
    /// `Lost` if it has ended, `Invalid` for a lease out of range or past the maximum hold, `Unavailable` if the server
    /// did not answer in time: then it may or may not have been extended, and [`valid_for`](Self::valid_for) counts on not.
    ///
    /// # Cancel safety
    /// The extension may or may not happen.
    pub async fn extend(&self, lease: Duration) -> Result<()> {
        check_lease(lease).map_err(|error| error.named(self.name()))?;
        let now = Moment::now();
        if self.cap().is_some_and(|cap| now + lease > cap) {
            return Err(Error::invalid("the extension reaches past the maximum hold").named(self.name()));
        }
        self.renew(lease.max(self.view.attempt.spec.lease)).await
    }

    /// The latest moment that any renewal reaches; `None`: it has ended.
    pub(crate) fn cap(&self) -> Option<Moment> {
        self.view.attempt.held().map(|held| held.cap())
    }

    async fn renew(&self, lease: Duration) -> Result<()> {
        let shared = self.client.shared();
        let named = |error: Error| error.named(self.name());
        if let Some(error) = self.lost_error() {
            return Err(error);
        }
        shared.check_open().map_err(named)?;
        let token = self.token_number();
        let item = [Item {
            attempt: Arc::clone(&self.view.attempt),
            asked: Asked::Hold { token, lease },
        }];
        let until = shared.request_deadline(self.view.attempt.spec.lease * 3, Moment::now());
        let outcomes = exchange(shared, &item, until)
            .await
            .map_err(|failure| named(failure.error))?;
        if let Some(error) = self.lost_error() {
            return Err(error);
        }
        match outcomes.first() {
            Some(TickItem::Held(_)) => Ok(()),
            _ => Err(named(Error::new(
                ErrorKind::WrongType,
                "its key holds foreign data now",
            ))),
        }
    }

    /// Releases, and says what came of it.
    ///
    /// The future hands the release over at its first poll: dropping it later loses only the answer.
    pub fn unlock(mut self) -> Unlock {
        self.live = false;
        Unlock::new(Arc::clone(&self.view.attempt), self.client.clone())
    }

    /// Gives the guard up without releasing: nobody renews it, and the lease runs out.
    pub fn forget(mut self) {
        self.leave();
    }

    pub(crate) fn leave(&mut self) {
        self.live = false;
        let shared = self.client.shared();
        shared.note(&self.view.attempt, Event::Hold(HoldEvent::Left));
    }

    /// Turns the guard into a ticket with which another process can go on. The hold is renewed once, and then not any more.
    ///
    /// # Errors
    /// `Lost` if it has ended, `Unavailable` if it could not be renewed. Either way the hold is given up.
    ///
    /// # Cancel safety
    /// Dropping it releases the hold.
    pub async fn into_ticket(mut self) -> Result<Ticket> {
        self.renew(self.view.attempt.spec.lease).await?;
        let attempt = Arc::clone(&self.view.attempt);
        self.leave();
        Ok(Ticket::new(
            attempt.name.clone(),
            attempt.id.clone(),
            self.fencing_token(),
            millis(attempt.spec.lease),
        ))
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        if self.live {
            self.client.shared().end(&self.view.attempt);
        }
    }
}

#[allow(dead_code, reason = "compiled, not called: the bounds that users rely on")]
fn bounds() {
    fn all<T: Send + Sync + Unpin + 'static>() {}
    all::<Guard>();
}
