//! The acquire future: sends one request, then waits for the grant.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use pin_project::{pin_project, pinned_drop};

use super::answer::{self, Reading};
use super::held::guard::Guard;
use super::place::Place;
use super::request::{AcquireRequest, Wait, Work, ask, confirm};
use crate::attempt::Attempt;
use crate::attempt::event::{EndEvent, Ended, Event, HoldEvent, Step};
use crate::attempt::lease::Lease;
use crate::attempt::state::State;
use crate::base::backoff::Backoff;
use crate::base::clock::{Moment, Timer};
use crate::connection::failure::Failure;
use crate::tasks::client::Client;
use crate::types::error::{Error, ErrorKind, Result};
use crate::wire::value::Answer;

/// A future that is polled this much later than it asked for was left alone, or its runtime was busy.
const LATE: Duration = Duration::from_millis(100);

/// A request that was sent and has not been answered yet.
enum Sent {
    Ask(Work<Answer>),
    Confirm(Work<()>),
    /// The grant is being replicated or saved: resolves to the guard, and when its hold may start.
    Secure(Secured),
}

type Secured = Pin<Box<dyn Future<Output = Result<(Guard, Moment)>> + Send>>;

/// What an attempt yields.
pub(super) enum Granted {
    Guard(Guard),
    /// The latch is open, with this count left. `more`: something is left to follow up.
    Passed {
        left: u32,
        more: bool,
    },
}

type Outcome = Result<Option<Granted>>;

/// The result of one turn.
enum Turn {
    Again,
    Pending,
    Done(Outcome),
}

/// Acquires a hold. Resolves to `Ok(None)` if the primitive stays busy until the wait is over.
///
/// Dropping the future undoes the attempt: after a round trip neither a hold nor a place in the
/// queue is left, and a grant that was on its way goes to the next waiter.
#[must_use = "futures do nothing unless polled"]
#[pin_project(PinnedDrop)]
pub struct Acquire {
    client: Client,
    request: Option<AcquireRequest>,
    wait: Wait,
    attempt: Option<Arc<Attempt>>,
    /// The attempt again, shared with handles that ask for its place in the queue.
    place: OnceLock<Arc<OnceLock<Arc<Attempt>>>>,
    sent: Option<Sent>,
    /// A guard that was granted but may start only at that moment (a semaphore with a rate).
    early: Option<(Guard, Moment)>,
    #[pin]
    timer: Timer,
    /// When the caller's wait is over.
    deadline: Moment,
    /// When to look whether the client waits for a hold of its own.
    own_look: Moment,
    /// No request is sent before this moment, after one failed or was late.
    pause: Moment,
    backoff: Backoff,
    /// The last answer was that the attempt is queued.
    was_queued: bool,
    /// The final request to a silent server was sent.
    last_try: bool,
    /// The deadline was over when this was polled, and a request was sent all the same: once.
    late_try: bool,
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
            own_look: Moment::NEVER,
            pause: Moment::from_nanos(0),
            backoff: Backoff::new((Duration::from_millis(10), Duration::from_millis(500))),
            was_queued: false,
            last_try: false,
            late_try: false,
            last_error: None,
        }
    }

    /// Returns a handle to its place in the queue, which exists from the first poll on.
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

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.poll_granted(cx).map_ok(|granted| match granted {
            Some(Granted::Guard(guard)) => Some(guard),
            Some(Granted::Passed { .. }) | None => None,
        })
    }
}

impl Acquire {
    pub(super) fn poll_granted(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Outcome> {
        let mut clock = None; // the time, read again after an answer or a sleep
        if self.attempt.is_none() && self.request.is_some() {
            let now = *clock.insert(Moment::now());
            self.as_mut().start(now)?;
        }
        loop {
            match self.as_mut().turn(cx, &mut clock) {
                Turn::Again => {}
                Turn::Pending => return Poll::Pending,
                Turn::Done(outcome) => return Poll::Ready(outcome),
            }
        }
    }

    /// The first poll: takes a slot before anything is sent.
    fn start(self: Pin<&mut Self>, now: Moment) -> Result<()> {
        let this = self.project();
        let Some(request) = this.request.take() else {
            return Ok(());
        };
        if request.spec.weight() == 0 {
            return Err(Error::invalid("the number of permits must be at least 1").named(&request.name));
        }
        let shared = this.client.shared();
        shared
            .check_new(&request.spec)
            .map_err(|error| error.named(&request.name))?;
        *this.deadline = match *this.wait {
            Wait::Forever => Moment::NEVER,
            Wait::Until(instant) if instant > Instant::now() => Moment::at(instant),
            Wait::Drain => now + shared.options.operation_timeout,
            Wait::Try | Wait::Until(_) => {
                *this.wait = Wait::Try;
                now + shared.options.operation_timeout
            }
        };
        if request.spec.latch().is_none() {
            *this.own_look = now + request.spec.lease;
        }
        let attempt = shared.attempt(request.key, request.name, request.spec, now)?;
        this.place.get().map(|place| place.set(Arc::clone(&attempt)));
        *this.attempt = Some(attempt);
        Ok(())
    }

    /// Polls the request under way, then does what the attempt's next step says.
    fn turn(mut self: Pin<&mut Self>, cx: &mut Context<'_>, clock: &mut Option<Moment>) -> Turn {
        if let Some(outcome) = self.as_mut().poll_sent(cx, clock) {
            return Turn::Done(outcome);
        }
        let now = *clock.get_or_insert_with(Moment::now);
        if self.early.is_some() {
            return self.poll_early(cx);
        }
        let this = self.as_mut().project();
        let Some(attempt) = this.attempt.as_ref() else {
            return Turn::Pending; // polled after completion
        };
        let confirming = matches!(this.sent, Some(Sent::Confirm(_)));
        let found = attempt.poll(cx, now, confirming);
        let silent = found.heard + this.client.shared().options.unavailable_after;
        let over = silent.min(*this.deadline);
        match found.step {
            Step::HandOut => self.hand_out(found.lease, now),
            Step::Pass { left, more } => self.pass(left, more),
            Step::Closed => {
                let error = this.client.shared().closed_error();
                Turn::Done(self.give_up(Err(error)))
            }
            Step::Reset => Turn::Done(self.nothing_there(Err(answer::was_reset()))),
            Step::Confirm(token) if !confirming => {
                let work = confirm(this.client, attempt, token, over);
                self.send(cx, clock, Sent::Confirm(work))
            }
            Step::Ask if this.sent.is_none() && now >= *this.pause && now < over => {
                let work = ask(this.client, attempt, *this.wait, (now, over));
                self.send(cx, clock, Sent::Ask(work))
            }
            Step::Ask | Step::Confirm(_) => self.sleep(cx, clock, (now, over), false),
            Step::Wait => self.sleep(cx, clock, (now, over), true),
        }
    }

    /// Sends a request. While it is under way, only an event of the attempt needs a new turn, and
    /// wakes this task.
    fn send(mut self: Pin<&mut Self>, cx: &mut Context<'_>, clock: &mut Option<Moment>, sent: Sent) -> Turn {
        *self.as_mut().project().sent = Some(sent);
        if let Some(outcome) = self.as_mut().poll_sent(cx, clock) {
            return Turn::Done(outcome);
        }
        if self.sent.is_some() {
            return Turn::Pending; // the request's own deadline is no later than ours
        }
        Turn::Again
    }

    /// Makes the guard, and hands it out now or when its hold may start.
    fn hand_out(self: Pin<&mut Self>, lease: Option<Lease>, now: Moment) -> Turn {
        let this = self.project();
        let (Some(attempt), Some(lease)) = (this.attempt.take(), lease) else {
            return Turn::Pending;
        };
        let guard = Guard::new(this.client.clone(), attempt, &lease, now);
        let mut start = lease.start;
        let shared = this.client.shared();
        if shared.options.start_delay
            && let Some(delay) = shared.delay(&guard.view.attempt.key, now)
        {
            // It was granted by message, or had waited for the answer.
            if delay.0 > *this.deadline {
                let error = shared.delayed(&guard.view.attempt.key, delay, now);
                return Turn::Done(Err(error.named(guard.name())));
            }
            start = start.max(delay.0);
        }
        if guard.is_to_be_secured() && start <= *this.deadline {
            let securing = async move { guard.secured().await.map(|guard| (guard, start)) };
            *this.sent = Some(Sent::Secure(Box::pin(securing)));
            return Turn::Again;
        }
        if now >= start {
            return Turn::Done(Ok(Some(Granted::Guard(guard))));
        } else if start > *this.deadline {
            return Turn::Done(Ok(None)); // dropping the guard releases the hold
        }
        *this.sent = None; // the answer is no longer needed
        *this.early = Some((guard, start));
        Turn::Again
    }

    /// Sleeps until the granted hold may start.
    fn poll_early(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Turn {
        let mut this = self.project();
        let Some((guard, start)) = this.early else {
            return Turn::Again;
        };
        let shared = this.client.shared();
        let ended = if guard.wait_for_end(cx) {
            Some(shared.closed_error().named(guard.name()))
        } else {
            guard
                .lost_error()
                .map(|lost| match guard.view.attempt.spec.pace() {
                    Some(_) => lost,
                    // It waited for the holds that a young server may have forgotten.
                    None => Error::new(
                        ErrorKind::Unavailable,
                        format!("{}; nobody has had it yet", lost.message()),
                    )
                    .named(guard.name()),
                })
        };
        let timer = this.timer.as_mut();
        if ended.is_none() && timer.poll_until(cx, *start, Some(&shared.driver)).is_pending() {
            return Turn::Pending;
        }
        let granted = this.early.take().map(|(guard, _)| Granted::Guard(guard));
        Turn::Done(ended.map_or(Ok(granted), Err))
    }

    /// The attempt passes a latch. It has nothing at the server, unless a copy of its request is
    /// under way, which the keeper then ends.
    fn pass(self: Pin<&mut Self>, left: u32, more: bool) -> Turn {
        let this = self.project();
        if let Some(attempt) = this.attempt.take() {
            let event = if attempt.with(State::is_asked) {
                Event::GivenUp
            } else {
                Event::Hold(HoldEvent::Left)
            };
            this.client.shared().note(&attempt, event);
        }
        Turn::Done(Ok(Some(Granted::Passed { left, more })))
    }

    /// Sleeps until the next event of the attempt or the next deadline, unless the wait is over.
    fn sleep(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        clock: &mut Option<Moment>,
        (now, over): (Moment, Moment),
        queued: bool,
    ) -> Turn {
        let this = self.as_mut().project();
        let shared = this.client.shared();
        // A waiter gets here at least once a second: no timer sleeps for longer.
        if this.sent.is_none()
            && let Some(attempt) = this.attempt.as_ref()
            && let Some(error) = shared.route.of(&attempt.key).fails_fast(now)
        {
            return Turn::Done(self.give_up(Err(error)));
        }
        if now >= over && !(*this.last_try && this.sent.is_some()) {
            // Its own timer would have woken it, had it been polled: the server is not to blame.
            let late = now > over + LATE && !*this.late_try;
            let again = (late || queued && now < *this.deadline) && !*this.last_try && this.sent.is_none();
            let Some(attempt) = this.attempt.as_ref().filter(|_| again) else {
                return Turn::Done(self.time_is_up());
            };
            // Ticks brought nothing, or the process was paused (H20), or nobody polled this future: ask once more before
            // giving up.
            *this.last_try = true;
            *this.late_try |= late && now >= *this.deadline;
            let over = now + shared.options.operation_timeout;
            let over = if late { over } else { over.min(*this.deadline) };
            let work = ask(this.client, attempt, *this.wait, (now, over));
            return self.send(cx, clock, Sent::Ask(work));
        }
        if this.sent.is_some() {
            return Turn::Pending; // the request's own deadline is no later
        }
        if let Some(attempt) = this.attempt.as_ref().filter(|_| now >= *this.own_look) {
            *this.own_look = shared.look_for_own_hold(attempt, now);
        }
        let wake = if *this.pause > now {
            over.min(*this.pause)
        } else {
            over
        };
        let wake = wake.min(*this.own_look);
        if this.timer.poll_until(cx, wake, Some(&shared.driver)).is_pending() {
            return Turn::Pending;
        }
        *clock = None;
        Turn::Again
    }

    /// Polls the request under way. Returns `Some` if the future is done.
    fn poll_sent(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        clock: &mut Option<Moment>,
    ) -> Option<Outcome> {
        let this = self.as_mut().project();
        match this.sent {
            None => None,
            Some(Sent::Ask(work)) => {
                let Poll::Ready(result) = work.as_mut().poll(cx) else {
                    return None;
                };
                *this.sent = None;
                let now = *clock.insert(Moment::now());
                match result {
                    Ok(answer) => self.answered(&answer, now),
                    Err(failure) => self.failed(failure),
                }
            }
            Some(Sent::Secure(work)) => {
                let Poll::Ready(result) = work.as_mut().poll(cx) else {
                    return None;
                };
                *this.sent = None;
                *clock = None;
                match result {
                    Ok(granted) => *this.early = Some(granted),
                    Err(error) => return Some(Err(error)),
                }
                None
            }
            Some(Sent::Confirm(work)) => {
                let Poll::Ready(result) = work.as_mut().poll(cx) else {
                    return None;
                };
                *this.sent = None;
                *clock = None;
                let Err(failure) = result else { return None };
                // Whether it was confirmed is unknown. Another acquire finds out, and extends
                // nothing.
                if let Some(attempt) = this.attempt {
                    attempt.on_while_polled(Event::ConfirmFailed, Moment::from_nanos(0));
                }
                if !failure.passing {
                    return Some(self.give_up(Err(failure.error)));
                }
                self.failed(failure)
            }
        }
    }

    fn answered(self: Pin<&mut Self>, answer: &Answer, now: Moment) -> Option<Outcome> {
        let attempt = self.attempt.as_ref()?;
        match answer::apply(self.client.shared(), attempt, answer, self.wait, now) {
            Ok(Reading::Applied { queued }) => {
                let this = self.project();
                *this.was_queued = queued;
                *this.last_try = false;
                *this.last_error = None;
                this.backoff.reset();
                None
            }
            Ok(Reading::Busy) => Some(self.nothing_there(Ok(None))),
            Ok(Reading::Again) => None,
            Ok(Reading::Late) => {
                let this = self.project();
                *this.pause = Moment::now() + this.backoff.next();
                None
            }
            Err(error) if answer::says_nothing_was_done(&error) => Some(self.nothing_there(Err(error))),
            Err(error) => Some(self.give_up(Err(error))),
        }
    }

    fn failed(self: Pin<&mut Self>, failure: Failure) -> Option<Outcome> {
        if !failure.passing {
            // A script that lacked a right and stopped half-way keeps its earlier writes (H46).
            let half_done =
                matches!(failure.error.kind(), ErrorKind::Denied | ErrorKind::Protocol) && !failure.untouched;
            return Some(if half_done {
                self.give_up(Err(failure.error))
            } else {
                self.nothing_there(Err(failure.error))
            });
        }
        let this = self.project();
        *this.pause = Moment::now() + this.backoff.next();
        // The connection to a replica is replaced, and one that was refused is tried again. That error
        // explains more than the `Unavailable` that follows.
        let said = this.last_error.as_ref().map(Error::kind);
        if matches!(said, None | Some(ErrorKind::Unavailable))
            || failure.error.kind() != ErrorKind::Unavailable
        {
            *this.last_error = Some(failure.error);
        }
        None
    }

    /// The wait is over, or the server has not responded for too long.
    fn time_is_up(mut self: Pin<&mut Self>) -> Outcome {
        let this = self.as_mut().project();
        let silent = Moment::now() < *this.deadline;
        if *this.was_queued && !silent {
            return self.give_up(Ok(None));
        }
        let asked = this.attempt.as_ref().and_then(|attempt| attempt.spec.latch());
        let outcome = asked.map_or("the attempt is being undone", |asked| asked.outcome());
        let last = this.last_error.take();
        let is_known = |error: &Error| error.kind() != ErrorKind::Unavailable;
        let route = &this.client.shared().route;
        let known = match &last {
            Some(error) if is_known(error) => None,
            _ => {
                let node = this.attempt.as_ref().map(|attempt| route.of(&attempt.key));
                node.and_then(|node| node.outage().cause()).filter(is_known)
            }
        };
        let error = answer::no_answer(known.or(last), outcome);
        self.give_up(Err(error))
    }

    /// Ends the future. The keeper undoes whatever the attempt may have at the server.
    fn give_up(self: Pin<&mut Self>, outcome: Outcome) -> Outcome {
        let this = self.project();
        *this.sent = None;
        let Some(attempt) = this.attempt.take() else {
            return outcome;
        };
        this.client.shared().end(&attempt);
        outcome.map_err(|error| error.named(&attempt.name))
    }

    /// Ends the future after an answer that nothing was done. Unless another copy is under way, the
    /// attempt has nothing at the server.
    fn nothing_there(self: Pin<&mut Self>, outcome: Outcome) -> Outcome {
        if self.attempt.as_ref().is_some_and(|attempt| {
            // Once an answer was applied, a lost answer may have confirmed a grant. A latch has no
            // grants.
            let lock = attempt.spec.latch().is_none();
            attempt.with(|state| state.is_asked() || (state.has_heard() && lock))
        }) {
            return self.give_up(outcome);
        }
        let this = self.project();
        let Some(attempt) = this.attempt.take() else {
            return outcome;
        };
        let ended = Event::End(EndEvent::Over(Ended::HadNothing));
        this.client.shared().note(&attempt, ended);
        outcome.map_err(|error| error.named(&attempt.name))
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

#[allow(dead_code, reason = "compiled, not called: the bounds that users rely on")]
fn bounds() {
    fn future<T: Send + 'static>() {}
    future::<Acquire>();
}
