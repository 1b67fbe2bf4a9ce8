//! What an attempt yields: the guard, cheap views of it, and the futures that end or watch it.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use pin_project::{pin_project, pinned_drop};

use crate::attempt::{Attempt, Ended, Stage, Standing};
use crate::client::Client;
use crate::clock::{Moment, Timer, millis};
use crate::error::{Error, ErrorKind, Result};
use crate::keeper::ending::{finish, try_end};
use crate::keeper::tick::{Item, Kind, Outcome, exchange};
use crate::name::Name;
use crate::options::check_lease;
use crate::shared::Life;
use crate::ticket::Ticket;
use crate::token::FencingToken;
use crate::transport::Failure;

/// Why a hold ended under its guard.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Loss {
    /// Its lease ran out: no renewal came through in time, or the process was paused.
    Expired,
    /// Somebody else has had the lock since.
    Taken,
    /// Somebody called `force_unlock`.
    Forced,
    /// The server's clock was set forward.
    ClockStep,
    /// The server has forgotten it: `FLUSHALL`, eviction, a failover, a restart without persistence.
    Vanished,
    /// The client was closed.
    Closed,
}

impl Loss {
    pub(crate) const fn text(self) -> &'static str {
        match self {
            Self::Expired => {
                "the hold was lost: its lease ran out before it was renewed; stop what it guards"
            }
            Self::Taken => "the hold was lost: somebody else has had the lock since; stop what it guards",
            Self::Forced => "the hold was lost: it was forced open; stop what it guards",
            Self::ClockStep => "the hold was lost: the server's clock was set forward; stop what it guards",
            Self::Vanished => {
                "the hold was lost: the server has forgotten it (flushed, evicted, failed over or restarted); stop what it guards"
            }
            Self::Closed => "the hold was lost: the client was closed; stop what it guards",
        }
    }
}

impl fmt::Display for Loss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Expired => "expired",
            Self::Taken => "taken",
            Self::Forced => "forced",
            Self::ClockStep => "clock step",
            Self::Vanished => "vanished",
            Self::Closed => "closed",
        })
    }
}

/// A hold. Primitives wrap it in a guard type of their own.
///
/// Dropping it hands the release to the keeper: it never blocks, allocates, panics or needs a runtime.
#[must_use = "the lock is released when the guard is dropped"]
pub struct Guard {
    view: Hold,
    client: Client,
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

/// A cheap view of a hold, for tasks that work under it. It cannot release.
#[derive(Clone)]
pub struct Hold {
    attempt: Arc<Attempt>,
    token: FencingToken,
    driver: tokio::runtime::Handle,
}

impl fmt::Debug for Hold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hold")
            .field("name", self.name())
            .field("token", &self.token)
            .finish_non_exhaustive()
    }
}

impl Hold {
    /// The name of the primitive.
    pub fn name(&self) -> &Name {
        &self.attempt.name
    }

    /// The token of this hold. See [`FencingToken`].
    pub fn fencing_token(&self) -> FencingToken {
        self.token
    }

    /// Whether the hold ended under its guard. Looks at the clock: needs no task and no network.
    pub fn is_lost(&self) -> bool {
        self.attempt.check(Moment::now()).is_some()
    }

    /// How long the hold can still be relied on if no renewal comes through; zero when it was lost or released.
    pub fn valid_for(&self) -> Duration {
        let now = Moment::now();
        let mut state = self.attempt.state();
        if state.check(now).is_some() || state.stage != Stage::Held {
            return Duration::ZERO;
        }
        state.deadline.since(now)
    }

    /// Resolves with the reason when the hold ends under its guard; never after a normal release.
    ///
    /// # Cancel safety
    /// Cancel safe: it can be dropped and called again at any time, nothing is lost.
    pub fn lost(&self) -> Lost {
        Lost {
            attempt: Arc::clone(&self.attempt),
            key: None,
            timer: Timer::new(Some(self.driver.clone())),
            released: false,
        }
    }

    /// A token that is cancelled when the hold ends, lost or released.
    ///
    /// It is cancelled by a task on the present runtime, or on the client's.
    #[cfg(feature = "cancellation-token")]
    pub fn cancellation_token(&self) -> tokio_util::sync::CancellationToken {
        let token = tokio_util::sync::CancellationToken::new();
        let mut end = self.lost();
        end.released = true;
        let done = token.clone();
        let runtime = tokio::runtime::Handle::try_current().unwrap_or_else(|_| self.driver.clone());
        drop(runtime.spawn(async move {
            let _cancels = done.drop_guard();
            end.await;
        }));
        token
    }
}

impl Guard {
    /// The hold is handed out: the keeper looks after it from now on.
    pub(crate) fn new(client: Client, attempt: Arc<Attempt>) -> Self {
        let state = attempt.state();
        let token = FencingToken::new(state.token);
        let due = state.due;
        drop(state);
        let shared = client.shared();
        shared.keeper.no_later_than(due);
        shared.wake_another_worker();
        let driver = shared.driver.clone();
        Self {
            view: Hold {
                attempt,
                token,
                driver,
            },
            client,
            live: true,
        }
    }

    /// See [`Hold::name`].
    pub fn name(&self) -> &Name {
        self.view.name()
    }

    /// See [`Hold::fencing_token`].
    pub fn fencing_token(&self) -> FencingToken {
        self.view.token
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

    /// The error to give when the hold was lost.
    fn lost_error(&self) -> Option<Error> {
        let loss = self.view.attempt.check(Moment::now())?;
        Some(Error::lost(loss).named(self.name()))
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
        let token = self.view.token.get();
        if Moment::now() + lease > self.view.attempt.state().cap {
            return Err(Error::invalid("the extension reaches past the maximum hold").named(self.name()));
        }
        let kind = if lease > self.view.attempt.spec.lease {
            Kind::Extend { token, lease }
        } else {
            Kind::Renew { token }
        };
        self.renew(kind).await?;
        self.view
            .attempt
            .state()
            .schedule(Moment::now(), &self.view.attempt.spec);
        Ok(())
    }

    async fn renew(&self, kind: Kind) -> Result<()> {
        let shared = self.client.shared();
        let named = |error: Error| error.named(self.name());
        if let Some(error) = self.lost_error() {
            return Err(error);
        }
        shared.check_open().map_err(named)?;
        let item = [Item {
            attempt: Arc::clone(&self.view.attempt),
            kind,
        }];
        let until = shared.request_deadline(self.view.attempt.spec.lease * 3);
        let outcomes = exchange(shared, &item, until)
            .await
            .map_err(|failure| named(failure.error))?;
        if let Some(error) = self.lost_error() {
            return Err(error);
        }
        match outcomes.first() {
            Some(Outcome::Held(_)) => Ok(()),
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
        Unlock {
            attempt: Arc::clone(&self.view.attempt),
            client: self.client.clone(),
            work: None,
            started: false,
            done: false,
            over: Moment::NEVER,
            timer: Timer::new(Some(self.client.shared().driver.clone())),
        }
    }

    /// Gives the guard up without releasing: nobody renews it, and the lease runs out.
    pub fn forget(mut self) {
        self.leave();
    }

    fn leave(&mut self) {
        self.live = false;
        let mut state = self.view.attempt.state();
        state.stage = Stage::Gone;
        state.wake_watchers();
        drop(state);
        self.client.shared().table.remove(&self.view.attempt);
    }

    /// Turns the guard into a ticket with which another process can go on. The hold is renewed once, and then not any more.
    ///
    /// # Errors
    /// `Lost` if it has ended, `Unavailable` if it could not be renewed. Either way the hold is given up.
    ///
    /// # Cancel safety
    /// Dropping it releases the hold.
    pub async fn into_ticket(mut self) -> Result<Ticket> {
        let token = self.view.token.get();
        self.renew(Kind::Renew { token }).await?;
        let attempt = Arc::clone(&self.view.attempt);
        self.leave();
        Ok(Ticket::new(
            attempt.name.clone(),
            attempt.id.clone(),
            self.view.token,
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

/// Resolves when a hold ends under its guard. See [`Hold::lost`].
#[derive(Debug)]
#[must_use = "futures do nothing unless polled"]
#[pin_project(PinnedDrop)]
pub struct Lost {
    attempt: Arc<Attempt>,
    key: Option<u64>,
    #[pin]
    timer: Timer,
    /// Resolve after a release, too.
    released: bool,
}

impl Future for Lost {
    type Output = Loss;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Loss> {
        let mut this = self.project();
        loop {
            let deadline = {
                let mut state = this.attempt.state();
                if let Some(loss) = state.check(Moment::now()) {
                    return Poll::Ready(loss);
                }
                if state.stage != Stage::Held {
                    // Released: `lost` never resolves.
                    return if *this.released {
                        Poll::Ready(Loss::Closed)
                    } else {
                        Poll::Pending
                    };
                }
                state.add_watcher(this.key, cx);
                state.deadline
            };
            // Its own timer: right even if the keeper is dead. The deadline may have moved on by then.
            ready!(this.timer.as_mut().poll_until(cx, deadline));
        }
    }
}

#[pinned_drop]
impl PinnedDrop for Lost {
    fn drop(self: Pin<&mut Self>) {
        if let Some(key) = self.key {
            self.attempt.state().remove_watcher(key);
        }
    }
}

type EndWork = Pin<Box<dyn Future<Output = Result<Ended, Failure>> + Send>>;

/// Releases a hold. See [`Guard::unlock`].
///
/// # Errors
/// `Lost` if the hold had ended before: then nobody else's is touched. `Unavailable` if nothing was heard until the
/// lease was over.
#[must_use = "futures do nothing unless polled"]
#[pin_project(PinnedDrop)]
pub struct Unlock {
    attempt: Arc<Attempt>,
    client: Client,
    work: Option<EndWork>,
    started: bool,
    done: bool,
    /// The lease is over, and one request had its time.
    over: Moment,
    #[pin]
    timer: Timer,
}

impl fmt::Debug for Unlock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Unlock")
            .field("attempt", &self.attempt)
            .field("done", &self.done)
            .finish_non_exhaustive()
    }
}

impl Future for Unlock {
    type Output = Result<()>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        let mut this = self.project();
        let shared = this.client.shared();
        let named = |error: Error| error.named(&this.attempt.name);
        if !*this.started {
            *this.started = true;
            let now = Moment::now();
            let mut state = this.attempt.state();
            *this.over = state.deadline.max(now + shared.options.operation_timeout);
            if let Some(loss) = state.check(now) {
                drop(state);
                *this.done = true;
                shared.end(this.attempt);
                return Poll::Ready(Err(named(Error::lost(loss))));
            }
            // No renewal is sent from here on (H19).
            state.stage = Stage::Ending;
            state.wake_watchers();
            drop(state);
            let (attempt, client) = (Arc::clone(this.attempt), this.client.clone());
            *this.work = Some(Box::pin(async move {
                let shared = client.shared();
                try_end(shared, &attempt, shared.request_deadline(attempt.spec.lease)).await
            }));
        }
        if let Some(work) = this.work {
            let result = ready!(work.as_mut().poll(cx));
            *this.work = None;
            match result {
                Ok(ended) => finish(shared, this.attempt, ended),
                Err(failure) if failure.passing => shared.end(this.attempt),
                Err(failure) => {
                    finish(shared, this.attempt, Ended::Unknown);
                    *this.done = true;
                    return Poll::Ready(Err(named(failure.error)));
                }
            }
        }
        let mut state = this.attempt.state();
        let result = match state.ended {
            Some(Ended::GaveUp) => Ok(()),
            Some(Ended::HadNothing) => Err(named(Error::lost(Loss::Vanished))),
            Some(Ended::Unknown) => Err(named(unanswered())),
            None if matches!(shared.life(), Life::Closed | Life::Orphaned) => {
                Err(named(shared.closed_error()))
            }
            None => {
                state.watch_for(cx);
                drop(state);
                ready!(this.timer.as_mut().poll_until(cx, *this.over));
                // The keeper goes on; the caller has nothing to wait for any more (T2, H44).
                *this.done = true;
                return Poll::Ready(Err(named(unanswered())));
            }
        };
        drop(state);
        *this.done = true;
        Poll::Ready(result)
    }
}

fn unanswered() -> Error {
    Error::new(
        ErrorKind::Unavailable,
        "the release was not answered until the lease was over",
    )
}

#[pinned_drop]
impl PinnedDrop for Unlock {
    fn drop(self: Pin<&mut Self>) {
        if !self.done {
            self.client.shared().end(&self.attempt);
        }
    }
}

impl Client {
    /// Goes on with a hold that another process turned into a ticket. Of several that try, one succeeds.
    ///
    /// # Errors
    /// `Lost` if the hold has ended or was resumed by somebody else.
    ///
    /// # Cancel safety
    /// Dropping it gives the hold up.
    #[doc(hidden)]
    pub async fn resume(&self, request: crate::acquire::AcquireRequest, ticket: &Ticket) -> Result<Guard> {
        let shared = self.shared();
        let name = request.name.clone();
        let attempt = shared.attempt(request.key, request.name, request.spec)?;
        // If this future is dropped, or fails: whatever came of it is undone.
        let mut undo = Undo {
            client: self.clone(),
            attempt: Some(Arc::clone(&attempt)),
        };
        let over = Moment::now() + shared.options.operation_timeout;
        loop {
            let deadline = shared.request_deadline(attempt.spec.lease).min(over);
            let not_after = shared.commands.server_time(deadline) / 1000 + 1;
            {
                let mut state = attempt.state();
                state.unanswered += 1;
                state.not_after = state.not_after.max(not_after);
            }
            let request = crate::transport::Request::new(&crate::script::ADOPT, &[&*attempt.key])
                .arg(&attempt.id)
                .arg(millis(attempt.spec.lease))
                .arg(shared.life_ms(attempt.spec.lease))
                .arg(ticket.id())
                .arg(ticket.token().get())
                .arg(not_after);
            let answer = match shared.commands.run(&request, deadline).await {
                Ok(answer) => answer,
                Err(failure) => {
                    if !failure.unknown {
                        attempt.state().unanswered -= 1;
                    }
                    if failure.passing && Moment::now() < over {
                        crate::clock::sleep_until(
                            Moment::now() + Duration::from_millis(20),
                            Some(shared.driver.clone()),
                        )
                        .await;
                        continue;
                    }
                    return Err(failure.error.named(&name));
                }
            };
            attempt.state().unanswered -= 1;
            let stamp = answer.reply.count_at(1)?;
            shared.commands.note_stamp(answer.sent, stamp);
            match answer.reply.int_at(0)? {
                1 => {
                    let left = Duration::from_millis(answer.reply.count_at(3)?);
                    let standing = Standing::Granted {
                        token: answer.reply.count_at(2)?,
                        left,
                        claim: false,
                    };
                    let now = Moment::now();
                    let mut state = attempt.state();
                    state.apply(
                        standing,
                        stamp,
                        answer.sent,
                        now,
                        &attempt.spec,
                        shared.options.drift,
                    );
                    if state.stage != Stage::Granted {
                        return Err(Error::lost(Loss::Expired).named(&name));
                    }
                    state.take(now, &attempt.spec);
                    drop(state);
                    undo.attempt = None;
                    return Ok(Guard::new(self.clone(), attempt));
                }
                4 if Moment::now() < over => {}
                8 => return Err(crate::acquire::foreign().named(&name)),
                _ => return Err(Error::lost(Loss::Taken).named(&name)),
            }
        }
    }
}

struct Undo {
    client: Client,
    attempt: Option<Arc<Attempt>>,
}

impl Drop for Undo {
    fn drop(&mut self) {
        if let Some(attempt) = &self.attempt {
            self.client.shared().end(attempt);
        }
    }
}

#[allow(dead_code, reason = "compiled, not called: the bounds that users rely on")]
fn bounds() {
    fn all<T: Send + Sync + Unpin + 'static>() {}
    fn future<T: Send + 'static>() {}
    all::<Guard>();
    all::<Hold>();
    future::<Unlock>();
    future::<Lost>();
}
