//! The guard, which a granted attempt yields.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
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
use crate::types::durability::Reached;
use crate::types::error::{Error, Result, foreign};
use crate::types::name::Name;
use crate::types::options::{MAX_LEASE, check_lease};
use crate::types::owner::Owner;
use crate::types::ticket::Ticket;
use crate::types::token::FencingToken;
use crate::wire::key::place;
use crate::wire::reply::TickItem;

/// A hold. Each primitive wraps it in a guard type of its own.
///
/// Dropping it passes the release to the keeper, and never blocks, allocates, panics or needs a
/// runtime.
#[must_use = "the lock is released when the guard is dropped"]
pub struct Guard {
    pub(crate) view: Hold,
    pub(crate) client: Client,
    /// Its share of the capacity.
    pub(crate) weight: u32,
    /// How long it was held.
    pub(crate) held: Held,
    /// What has returned to it of parts that nobody took.
    pub(crate) returned: Option<Arc<AtomicU32>>,
    /// The guard still has to release the hold.
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
    /// Makes the guard of an attempt that was handed out. From now on the keeper renews the hold.
    pub(crate) fn new(client: Client, attempt: Arc<Attempt>, lease: &Lease, now: Moment) -> Self {
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
                reached: Reached::Primary,
            },
            client,
            weight,
            held: Held {
                since: now.max(lease.start),
                before: Duration::ZERO,
            },
            returned: None,
            live: true,
        }
    }

    /// See [`Hold::name`].
    pub fn name(&self) -> &Name {
        self.view.name()
    }

    /// Returns the token as the scripts take it: zero for a shared hold.
    pub(crate) fn token_number(&self) -> u64 {
        self.view.token.map_or(0, FencingToken::get)
    }

    /// Returns the fencing token of an exclusive hold.
    pub fn fencing_token(&self) -> FencingToken {
        FencingToken::new(self.token_number())
    }

    /// Returns a cheap view of the hold, for tasks that work under it.
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

    /// Returns the owner of a reentrant hold.
    pub fn owner(&self) -> &Owner {
        self.view.attempt.spec.owner().unwrap_or(&Owner::NOBODY)
    }

    /// Returns its share of the capacity.
    pub fn weight(&self) -> u32 {
        let returned = self.returned.as_ref();
        let returned = returned.map_or(0, |returned| returned.load(Ordering::Acquire));
        self.weight + returned
    }

    /// Notes what has returned to it.
    pub(crate) fn take_returned(&mut self) -> Arc<AtomicU32> {
        let returned = self.returned.get_or_insert_default();
        self.weight += returned.swap(0, Ordering::AcqRel);
        Arc::clone(returned)
    }

    /// Returns the error to report if the hold was lost.
    pub(crate) fn lost_error(&self) -> Option<Error> {
        let loss = self.view.attempt.check(Moment::now())?;
        Some(Error::lost(loss).named(self.name()))
    }

    /// Registers the task of a future that sleeps until the hold may start. It is woken if the hold
    /// is lost or the client closes. Returns whether the client is closed.
    pub(crate) fn wait_for_end(&self, cx: &Context<'_>) -> bool {
        self.view.attempt.register_waker(cx, State::is_closed)
    }

    /// Renews the hold so that it lasts at least `lease` from now. Never shortens it.
    ///
    /// # Errors
    /// `Lost` if the hold has ended. `Invalid` if the lease is out of range or reaches past the
    /// maximum hold. `Unavailable` if the server does not answer in time: the hold may or may not
    /// have been extended, and [`valid_for`](Self::valid_for) assumes that it was not.
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

    /// Returns the latest moment that a renewal can reach, or `None` if the hold has ended.
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
            _ => Err(named(foreign())),
        }
    }

    /// Releases the hold, and reports whether it was still held.
    ///
    /// The release is under way from the future's first poll on. Dropping the future later loses
    /// only the answer.
    pub fn unlock(mut self) -> Unlock {
        self.live = false;
        Unlock::new(Arc::clone(&self.view.attempt), self.client.clone())
    }

    /// Releases the hold `after` this call: until then it stays in use, and nobody renews it.
    ///
    /// A hold with a least time stays in use until that is over, if it is later.
    /// One with a maximum hold does not stay in use past that. `Invalid` for more than 24 h: the
    /// hold is then released at once.
    pub fn unlock_after(mut self, after: Duration) -> Unlock {
        let (attempt, client) = (Arc::clone(&self.view.attempt), self.client.clone());
        if after > MAX_LEASE {
            let error = Error::invalid(format!(
                "a hold is kept for at most 24 h after its guard, not {after:?}; it was released"
            ));
            return Unlock::refused(attempt, client, error);
        }
        self.live = false;
        Unlock::after(attempt, client, Moment::now() + after)
    }

    /// Gives the guard up without releasing the hold, which ends with its lease. If it was handed
    /// over a moment ago, the keeper first confirms it, so that it has its full lease. If that does
    /// not work, the hold is released.
    pub fn forget(mut self) {
        self.leave();
    }

    pub(crate) fn leave(&mut self) {
        self.live = false;
        let shared = self.client.shared();
        shared.on(&self.view.attempt, Event::Hold(HoldEvent::Left), Moment::now());
    }

    /// Turns the guard into a ticket with which another process can continue the hold. The hold is
    /// renewed once more: for its own lease, or for `lease` if that is longer.
    ///
    /// # Errors
    /// `Lost` if the hold has ended, `Unavailable` if it could not be renewed, `Invalid` for a lease
    /// out of range, or one that is longer than the hold's and reaches past the maximum hold. In each
    /// case it is given up.
    ///
    /// # Cancel safety
    /// Dropping the future releases the hold.
    pub async fn into_ticket(mut self, lease: Option<Duration>) -> Result<Ticket> {
        let own = self.view.attempt.spec.lease;
        let lease = lease.unwrap_or(own).max(own);
        check_lease(lease).map_err(|error| error.named(self.name()))?;
        if lease > own && self.cap().is_some_and(|cap| Moment::now() + lease > cap) {
            return Err(Error::invalid("the ticket's lease reaches past the maximum hold").named(self.name()));
        }
        self.renew(lease).await?;
        let attempt = Arc::clone(&self.view.attempt);
        let now = Moment::now();
        // As of the renewal's stamp, which is no later than now: on the way the hold gets no time
        // for nothing.
        let stamp = attempt.with(State::last_reply).map_or(0, |(_, stamp)| stamp);
        let cap = self.cap().filter(|&cap| cap < Moment::NEVER);
        let ticket = Ticket {
            place: place(&attempt.key),
            database: self.client.shared().options.database,
            name: attempt.name.clone(),
            id: attempt.id.clone(),
            token: self.fencing_token(),
            lease_ms: millis(lease),
            as_of: stamp / 1000,
            held_ms: millis(self.held.at(now)) + 1,
            left_ms: cap.map(|cap| millis(cap.since(now))),
        };
        self.leave();
        Ok(ticket)
    }
}

/// For how long something was held, by whichever client.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Held {
    /// By this client since then.
    pub(crate) since: Moment,
    /// By others before that.
    pub(crate) before: Duration,
}

impl Held {
    pub(super) fn at(&self, now: Moment) -> Duration {
        self.before.saturating_add(now.since(self.since))
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
