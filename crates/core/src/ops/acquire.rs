//! The acquire future: asks once, then waits to be told.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use pin_project::{pin_project, pinned_drop};

use crate::attempt::{Attempt, Ended, Next, Stage, Standing};
use crate::base::backoff::Backoff;
use crate::base::clock::{Moment, Timer};
use crate::connection::failure::Failure;
use crate::ops::guard::Guard;
use crate::ops::latch;
use crate::ops::place::Place;
use crate::ops::request::{AcquireRequest, Wait, Work, ask, confirm, refusal, says_nothing_was_done};
use crate::tasks::client::Client;
use crate::tasks::keeper::ending::finish;
use crate::types::error::{Error, ErrorKind, Result};
use crate::wire::request::Answer;

/// What was sent and not answered yet.
enum Sent {
    Ask(Work<Answer>),
    Confirm(Work<()>),
}

/// Acquires a hold: `Ok(None)` if it was busy until the wait was over.
///
/// Dropping it undoes the attempt: within a round trip neither a hold nor a place in the queue is left, and a grant
/// that was on its way goes to the next waiter.
#[must_use = "futures do nothing unless polled"]
#[pin_project(PinnedDrop)]
pub struct Acquire {
    client: Client,
    request: Option<AcquireRequest>,
    wait: Wait,
    attempt: Option<Arc<Attempt>>,
    /// The same, for those who ask for its place.
    place: OnceLock<Arc<OnceLock<Arc<Attempt>>>>,
    sent: Option<Sent>,
    /// What was granted, and may start only then.
    early: Option<(Guard, Moment)>,
    #[pin]
    timer: Timer,
    deadline: Moment,
    pause: Moment,
    backoff: Backoff,
    /// The server said that it is busy.
    known: bool,
    /// The last request before giving up on a silent server was sent.
    last_try: bool,
    last_error: Option<Error>,
}

impl fmt::Debug for Acquire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Acquire")
            .field("attempt", &self.attempt)
            .field("wait", &self.wait)
            .finish_non_exhaustive()
    }
}

impl Acquire {
    /// Nothing happens before the first poll.
    pub fn new(client: &Client, request: AcquireRequest, wait: Wait) -> Self {
        Self {
            client: client.clone(),
            request: Some(request),
            wait,
            attempt: None,
            early: None,
            place: OnceLock::new(),
            sent: None,
            timer: Timer::new(),
            deadline: Moment::NEVER,
            pause: Moment::from_nanos(0),
            backoff: Backoff::new((Duration::from_millis(10), Duration::from_millis(500))),
            known: false,
            last_try: false,
            last_error: None,
        }
    }
}

impl Acquire {
    /// Its place in the queue, now or from its first poll on.
    #[doc(hidden)]
    pub fn place(&self) -> Place {
        let attempt = self.place.get_or_init(|| match &self.attempt {
            Some(attempt) => Arc::new(OnceLock::from(Arc::clone(attempt))),
            None => Arc::default(),
        });
        Place {
            client: self.client.clone(),
            attempt: Arc::clone(attempt),
        }
    }
}

impl Future for Acquire {
    type Output = Result<Option<Guard>>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if self.attempt.is_none() {
            self.as_mut().start()?;
        }
        let mut clock = None; // read again once something was heard, or a time has come
        loop {
            let before = self.sent.is_some();
            if let Some(done) = self.as_mut().poll_sent(cx) {
                return Poll::Ready(done);
            }
            if before && self.sent.is_none() {
                clock = None;
            }
            let now = *clock.get_or_insert_with(Moment::now);
            let mut this = self.as_mut().project();
            if let Some((guard, start)) = this.early {
                let closed = guard.wait_for_end(cx);
                let ended = if closed {
                    Some(this.client.shared().closed_error().named(guard.name()))
                } else {
                    guard.lost_error()
                };
                if ended.is_none() {
                    ready!(
                        this.timer
                            .as_mut()
                            .poll_until(cx, *start, Some(&this.client.shared().driver))
                    );
                }
                let early = this.early.take().map(|(guard, _)| guard);
                return Poll::Ready(ended.map_or(Ok(early), Err));
            }
            let Some(attempt) = this.attempt.as_ref() else {
                return Poll::Pending; // polled after it was done
            };
            let shared = this.client.shared();
            let (next, heard) = {
                let mut state = attempt.state();
                (
                    state.next(cx, now, shared.same_thread, &attempt.spec),
                    state.heard,
                )
            };
            let silent = heard + shared.options.unavailable_after;
            let over = silent.min(*this.deadline);
            let queued = matches!(next, Next::Wait);
            match next {
                Next::Take => {
                    let attempt = Arc::clone(attempt);
                    *this.attempt = None;
                    let start = attempt.state().start;
                    let guard = Guard::new(this.client.clone(), attempt);
                    if now >= start {
                        return Poll::Ready(Ok(Some(guard)));
                    } else if start > *this.deadline {
                        return Poll::Ready(Ok(None)); // its drop gives back what it has
                    }
                    *this.sent = None; // its answer is not needed any more
                    *this.early = Some((guard, start));
                    continue;
                }
                Next::Closed => {
                    let error = shared.closed_error();
                    return Poll::Ready(self.give_up(Err(error)));
                }
                Next::Reset => {
                    let error = latch::was_reset();
                    return Poll::Ready(self.nothing_there(Err(error)));
                }
                Next::Confirm if !matches!(this.sent, Some(Sent::Confirm(_))) => {
                    *this.sent = Some(Sent::Confirm(confirm(this.client, attempt, over)));
                    continue;
                }
                Next::Ask if this.sent.is_none() && now >= *this.pause => {
                    let sending = ask(this.client, attempt, *this.wait, over);
                    *this.sent = Some(Sent::Ask(sending));
                    continue;
                }
                Next::Ask | Next::Confirm | Next::Wait => {}
            }
            if now >= over && !(*this.last_try && this.sent.is_some()) {
                if queued && now < *this.deadline && !*this.last_try && this.sent.is_none() {
                    // Ticks brought nothing, or the process was paused (H20): ask once more before giving up.
                    *this.last_try = true;
                    let over = now + shared.options.operation_timeout;
                    let sending = ask(this.client, attempt, *this.wait, over.min(*this.deadline));
                    *this.sent = Some(Sent::Ask(sending));
                    continue;
                }
                return Poll::Ready(self.time_is_up());
            }
            if this.sent.is_some() {
                return Poll::Pending; // what was sent has a deadline of its own, and it is no later
            }
            let wake = if *this.pause > now {
                over.min(*this.pause)
            } else {
                over
            };
            ready!(this.timer.as_mut().poll_until(cx, wake, Some(&shared.driver)));
            clock = None;
        }
    }
}

impl Acquire {
    /// The first poll: takes a slot before anything is sent.
    fn start(self: Pin<&mut Self>) -> Result<()> {
        let this = self.project();
        let Some(request) = this.request.take() else {
            return Ok(());
        };
        if request.spec.weight == 0 {
            return Err(Error::invalid("ask for one at least").named(&request.name));
        }
        let shared = this.client.shared();
        *this.deadline = match *this.wait {
            Wait::Forever => Moment::NEVER,
            Wait::Until(instant) if instant > Instant::now() => Moment::at(instant),
            Wait::Drain => Moment::now() + shared.options.operation_timeout,
            Wait::Try | Wait::Until(_) => {
                *this.wait = Wait::Try;
                Moment::now() + shared.options.operation_timeout
            }
        };
        let attempt = shared.attempt(request.key, request.name, request.spec)?;
        this.place.get().map(|place| place.set(Arc::clone(&attempt)));
        *this.attempt = Some(attempt);
        Ok(())
    }

    /// Polls what was sent; `Some` if the future is done.
    fn poll_sent(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Option<Result<Option<Guard>>> {
        let this = self.as_mut().project();
        match this.sent {
            None => None,
            Some(Sent::Ask(work)) => {
                let Poll::Ready(result) = work.as_mut().poll(cx) else {
                    return None;
                };
                *this.sent = None;
                match result {
                    Ok(answer) => self.answered(&answer),
                    Err(failure) => self.failed(failure),
                }
            }
            Some(Sent::Confirm(work)) => {
                let Poll::Ready(result) = work.as_mut().poll(cx) else {
                    return None;
                };
                *this.sent = None;
                match result {
                    Ok(()) => None,
                    Err(failure) => {
                        // Unknown: acquire has the answer, and extends nothing.
                        if let Some(attempt) = this.attempt
                            && attempt.state().stage == Stage::Granted
                        {
                            attempt.state().stage = Stage::Asking;
                        }
                        if !failure.passing {
                            return Some(self.give_up(Err(failure.error)));
                        }
                        self.failed(failure)
                    }
                }
            }
        }
    }

    fn answered(self: Pin<&mut Self>, answer: &Answer) -> Option<Result<Option<Guard>>> {
        match self.as_ref().get_ref().read(answer) {
            Ok(Reading::Applied { queued }) => {
                let this = self.project();
                *this.known = queued;
                *this.last_try = false;
                *this.last_error = None;
                this.backoff.reset();
                None
            }
            Ok(Reading::Busy) => Some(self.nothing_there(Ok(None))),
            Ok(Reading::Late) => {
                let this = self.project();
                *this.pause = Moment::now() + this.backoff.next();
                None
            }
            Err(error) if says_nothing_was_done(&error) => Some(self.nothing_there(Err(error))),
            Err(error) => Some(self.give_up(Err(error))),
        }
    }

    fn failed(self: Pin<&mut Self>, failure: Failure) -> Option<Result<Option<Guard>>> {
        if !failure.passing {
            // A script that stopped half-way, for want of a right, has written what it wrote before (H46).
            let half_done = matches!(failure.error.kind(), ErrorKind::Denied | ErrorKind::Protocol);
            return Some(if half_done {
                self.give_up(Err(failure.error))
            } else {
                self.nothing_there(Err(failure.error))
            });
        }
        let this = self.project();
        *this.pause = Moment::now() + this.backoff.next();
        // The connection to a replica is replaced: what the server said tells more than the pause that follows.
        let said = this.last_error.as_ref().map(Error::kind) == Some(ErrorKind::ReadOnly);
        if !said || failure.error.kind() != ErrorKind::Unavailable {
            *this.last_error = Some(failure.error);
        }
        None
    }

    /// Applies an answer to acquire.
    fn read(&self, answer: &Answer) -> Result<Reading> {
        let Some(attempt) = &self.attempt else {
            return Ok(Reading::Late);
        };
        let shared = self.client.shared();
        let now = Moment::now();
        let reply = &answer.reply;
        {
            let mut state = attempt.state();
            state.unanswered -= 1;
            state.hush();
        }
        if let Some(asked) = &attempt.spec.latch {
            return latch::read(shared, attempt, asked, answer);
        }
        let alone = reply.stamp_alone()?;
        let stamp = match alone {
            Some(stamp) => stamp,
            None => reply.count_at(1)?,
        };
        shared.commands.note_stamp(answer.sent, stamp);
        let apply = |standing| {
            attempt.state().apply(
                standing,
                stamp,
                answer.sent,
                now,
                &attempt.spec,
                shared.options.drift,
            );
        };
        if alone.is_some() {
            apply(Standing::Granted {
                token: if attempt.spec.is_shared() { 0 } else { stamp },
                left: attempt.spec.lease,
                claim: false,
                delay: None,
            });
            return Ok(Reading::Applied { queued: false });
        }
        let code = reply.int_at(0)?;
        match code {
            1 => {
                if let Ok(weight) = reply.count_at(5) {
                    attempt.state().weight = u32::try_from(weight).unwrap_or(u32::MAX);
                }
                let left = Duration::from_millis(reply.count_at(3)?);
                apply(Standing::Granted {
                    token: reply.count_at(2)?,
                    left,
                    claim: reply.int_at(4)? != 0,
                    delay: reply.count_at(6).ok().map(Duration::from_micros),
                });
                Ok(Reading::Applied { queued: false })
            }
            2 => {
                apply(Standing::Queued);
                shared
                    .keeper
                    .waiting(attempt.spec.lease, shared.options.unavailable_after);
                if reply.int_at(3)? != 0 {
                    shared.keeper.look_at(attempt, now, stamp, Some(answer.sent));
                } else if let Ok(wake) = reply.count_at(2) {
                    shared.keeper.look_at(
                        attempt,
                        now + Duration::from_millis(wake),
                        stamp,
                        Some(answer.sent),
                    );
                }
                Ok(Reading::Applied { queued: true })
            }
            3 => Ok(Reading::Busy),
            4 => {
                attempt.state().heard = now;
                Ok(Reading::Late)
            }
            // Busy, for those who would have waited for their start.
            12 if !matches!(self.wait, Wait::Forever) => Ok(Reading::Busy),
            _ => Err(refusal(shared, &attempt.spec, code, reply)?),
        }
    }

    /// The wait is over, or the server was silent for too long.
    fn time_is_up(mut self: Pin<&mut Self>) -> Result<Option<Guard>> {
        let this = self.as_mut().project();
        let silent = Moment::now() < *this.deadline;
        if *this.known && !silent {
            return self.give_up(Ok(None));
        }
        let asked = this
            .attempt
            .as_ref()
            .and_then(|attempt| attempt.spec.latch.as_ref());
        let outcome = asked.map_or("the attempt is being undone", |asked| asked.outcome());
        let error = match this.last_error.take() {
            None => Error::new(
                ErrorKind::Unavailable,
                format!("the server gave no usable answer in time; {outcome}"),
            ),
            Some(cause) if cause.kind() == ErrorKind::ReadOnly => Error::new(
                ErrorKind::ReadOnly,
                "the server is a replica or refuses writes, and no other was found in time",
            )
            .caused_by(cause),
            Some(cause) => Error::new(
                ErrorKind::Unavailable,
                format!("the server gave no usable answer in time ({cause}); {outcome}"),
            )
            .caused_by(cause),
        };
        self.give_up(Err(error))
    }

    /// Ends the future; the keeper undoes whatever there may be at the server.
    fn give_up(self: Pin<&mut Self>, result: Result<Option<Guard>>) -> Result<Option<Guard>> {
        let this = self.project();
        *this.sent = None;
        let Some(attempt) = this.attempt.take() else {
            return result;
        };
        this.client.shared().end(&attempt);
        result.map_err(|error| error.named(&attempt.name))
    }

    /// Ends the future after an answer that says that nothing was done: unless another copy is under way, nothing is left.
    fn nothing_there(self: Pin<&mut Self>, result: Result<Option<Guard>>) -> Result<Option<Guard>> {
        if self.attempt.as_ref().is_some_and(|attempt| {
            let state = attempt.state();
            // Once anything was applied, a grant may have been confirmed with the answer lost; of a latch there are none.
            let applied = state.stage != Stage::Asking || state.stamp > 0;
            state.unanswered > 0 || (applied && attempt.spec.latch.is_none())
        }) {
            return self.give_up(result);
        }
        let this = self.project();
        let Some(attempt) = this.attempt.take() else {
            return result;
        };
        finish(this.client.shared(), &attempt, Ended::HadNothing);
        result.map_err(|error| error.named(&attempt.name))
    }
}

#[pinned_drop]
impl PinnedDrop for Acquire {
    fn drop(self: Pin<&mut Self>) {
        if let Some(attempt) = &self.attempt {
            self.client.shared().end(attempt);
        }
    }
}

pub(crate) enum Reading {
    Applied { queued: bool },
    Busy,
    Late,
}

#[allow(dead_code, reason = "compiled, not called: the bounds that users rely on")]
fn bounds() {
    fn future<T: Send + 'static>() {}
    future::<Acquire>();
}
