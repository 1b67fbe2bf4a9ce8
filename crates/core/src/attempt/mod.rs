//! One attempt: its id, its options and its state.
//!
//! - here: the state behind a lock, and the tasks to wake when it changes;
//! - `state`: the state machine, sealed: one function from event to effects;
//! - `event`: events and effects;
//! - `keep`, `end`, `latch`: parts of that function: renewals and losses, ends, the countdown latch;
//! - `lease`: a hold by the client's own account;
//! - `rules`: the options and rules that the transitions depend on;
//! - `spec`, `ask`: the request that an attempt makes.

pub(crate) mod ask;
mod end;
pub(crate) mod event;
mod keep;
mod latch;
pub(crate) mod lease;
pub(crate) mod rules;
pub(crate) mod spec;
pub(crate) mod state;

#[cfg(test)]
mod model;
#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Waker};

use self::event::{Effects, Event, HoldEvent, Step};
use self::lease::Lease;
use self::rules::{Plan, Rules};
use self::state::State;
use crate::base::clock::{Moment, millis};
use crate::types::loss::Loss;
use crate::types::name::Name;
use crate::wire::id;
use crate::wire::reply::Grant;

/// One call of an acquire function.
pub(crate) struct Attempt {
    /// See [`Spec::id`](spec::Spec::id); the owner in Redis.
    pub(crate) id: String,
    pub(crate) counter: u64,
    pub(crate) key: Arc<[u8]>,
    pub(crate) name: Name,
    pub(crate) spec: Arc<Plan>,
    cell: Mutex<Cell>,
}

/// The result of polling an attempt.
pub(crate) struct Polled {
    pub(crate) step: Step,
    /// When the server last gave a usable answer.
    pub(crate) heard: Moment,
    /// The lease, if the guard is handed out now.
    pub(crate) lease: Option<Lease>,
}

/// The state, and the tasks to wake when it changes.
#[derive(Debug)]
struct Cell {
    state: State,
    /// The future that acquires, or the one that awaits the release.
    waker: Option<Waker>,
    /// Tasks that await `lost()`. Boxed, because most guards have none.
    watchers: Option<Box<Watchers>>,
}

/// Tasks that await the same thing, each by its key.
#[derive(Debug, Default)]
struct Watchers {
    tasks: Vec<(u64, Waker)>,
    last_key: u64,
    /// Why the hold was not renewed, since it was last. Here, because it is as rare.
    trouble: Option<Arc<str>>,
}

impl fmt::Debug for Attempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Attempt")
            .field("id", &self.id)
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

impl Attempt {
    pub(crate) fn new(
        (id, counter): (String, u64),
        key: Arc<[u8]>,
        name: Name,
        spec: Arc<Plan>,
        now: Moment,
    ) -> Self {
        Self {
            id,
            counter,
            key,
            name,
            spec,
            cell: Mutex::new(Cell {
                state: State::new(now),
                waker: None,
                watchers: None,
            }),
        }
    }

    /// When it was granted, µs of the server, by an answer of `stamp` that was made some time after that.
    pub(crate) fn granted_at(&self, grant: &Grant, stamp: u64) -> u64 {
        let whole = if grant.claim {
            id::window(&self.id)
        } else {
            millis(self.spec.first_lease())
        };
        stamp.saturating_sub(whole.saturating_sub(millis(grant.left)) * 1000)
    }

    /// Remembers why it was not renewed.
    pub(crate) fn note_trouble(&self, why: &Arc<str>) {
        let mut cell = self.cell();
        cell.watchers.get_or_insert_default().trouble = Some(Arc::clone(why));
    }

    /// Why it was not renewed; `None`: it is not known that a renewal failed.
    pub(crate) fn trouble(&self) -> Option<Arc<str>> {
        self.cell().watchers.as_ref()?.trouble.clone()
    }

    fn cell(&self) -> MutexGuard<'_, Cell> {
        self.cell.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A copy of the state.
    pub(crate) fn state(&self) -> State {
        self.cell().state
    }

    /// Returns what `look` finds in the state.
    pub(crate) fn with<T>(&self, look: impl FnOnce(&State) -> T) -> T {
        look(&self.cell().state)
    }

    /// Returns the lease while a guard exists.
    pub(crate) fn held(&self) -> Option<Lease> {
        self.with(|state| state.held().copied())
    }

    pub(crate) fn rules(&self) -> &Rules {
        &self.spec.rules
    }

    /// Applies an event that happened at `now`. Wakers are called after the lock is released, because they are foreign code.
    #[allow(
        clippy::inline_always,
        reason = "where an event happens it is known, and only its arm is left"
    )]
    #[inline(always)]
    pub(crate) fn on(&self, event: Event, now: Moment) -> Effects {
        self.apply(self.cell(), event, now, |_| ()).0
    }

    /// Applies an event whose time does not matter.
    #[allow(
        clippy::inline_always,
        reason = "where an event happens it is known, and only its arm is left"
    )]
    #[inline(always)]
    pub(crate) fn note(&self, event: Event) -> Effects {
        self.on(event, Moment::from_nanos(0))
    }

    /// Applies an event and returns what `look` finds in the new state.
    #[allow(
        clippy::inline_always,
        reason = "where an event happens it is known, and only its arm is left"
    )]
    #[inline(always)]
    pub(crate) fn on_then<T>(
        &self,
        event: Event,
        now: Moment,
        look: impl FnOnce(&State) -> T,
    ) -> (Effects, T) {
        self.apply(self.cell(), event, now, look)
    }

    /// Applies an event while the attempt's own future is being polled. That future looks at the state again anyway, so
    /// its waker is dropped: waking it would wake another worker as well.
    #[allow(
        clippy::inline_always,
        reason = "where an event happens it is known, and only its arm is left"
    )]
    #[inline(always)]
    pub(crate) fn on_while_polled(&self, event: Event, now: Moment) -> Effects {
        let mut cell = self.cell();
        cell.waker = None;
        self.apply(cell, event, now, |_| ()).0
    }

    #[allow(
        clippy::inline_always,
        reason = "where an event happens it is known, and only its arm is left"
    )]
    #[inline(always)]
    fn apply<T>(
        &self,
        mut cell: MutexGuard<'_, Cell>,
        event: Event,
        now: Moment,
        look: impl FnOnce(&State) -> T,
    ) -> (Effects, T) {
        let effects = cell.state.on(event, now, &self.spec.rules);
        if matches!(event, Event::Ticked { .. })
            && !effects.failed
            && let Some(watchers) = &mut cell.watchers
        {
            watchers.trouble = None;
        }
        let found = look(&cell.state);
        let waker = if effects.wake { cell.waker.take() } else { None };
        let tasks = match &mut cell.watchers {
            Some(watchers) if effects.wake_watchers => std::mem::take(&mut watchers.tasks),
            _ => Vec::new(),
        };
        drop(cell);
        if let Some(waker) = waker {
            waker.wake();
        }
        for (_, task) in tasks {
            task.wake();
        }
        (effects, found)
    }

    /// Polls the attempt for its future. Unless the future is done, the next event wakes it.
    pub(crate) fn poll(&self, cx: &Context<'_>, now: Moment, confirming: bool) -> Polled {
        let mut cell = self.cell();
        let event = if confirming {
            Event::PolledConfirming
        } else {
            Event::Polled
        };
        let step = cell.state.on(event, now, &self.spec.rules).step;
        let mut lease = None;
        match step {
            Step::Wait | Step::Ask | Step::Confirm(_) => cell.register_waker(cx),
            Step::HandOut => {
                cell.waker = None;
                lease = cell.state.held().copied();
            }
            Step::Pass { .. } | Step::Reset | Step::Closed => cell.waker = None,
        }
        Polled {
            step,
            heard: cell.state.heard(),
            lease,
        }
    }

    /// Registers the task to wake at the next event, and returns what `look` finds in the state.
    pub(crate) fn register_waker<T>(&self, cx: &Context<'_>, look: impl FnOnce(&State) -> T) -> T {
        let mut cell = self.cell();
        cell.register_waker(cx);
        look(&cell.state)
    }

    /// Checks whether the hold is still valid at `now`. A loss is recorded and never taken back.
    pub(crate) fn check(&self, now: Moment) -> Option<Loss> {
        self.look(now).loss()
    }

    /// Returns the state at `now`, with an expired deadline applied.
    pub(crate) fn look(&self, now: Moment) -> State {
        let looked = Event::Hold(HoldEvent::Looked);
        self.on_then(looked, now, |state| *state).1
    }

    /// Registers a task to wake when the hold ends, if the hold is live, and returns the state. `key` identifies the task
    /// and is set by its first call.
    pub(crate) fn watch(&self, key: &mut Option<u64>, cx: &Context<'_>, now: Moment) -> State {
        self.on(Event::Hold(HoldEvent::Looked), now);
        let mut cell = self.cell();
        if cell.state.loss().is_none() && cell.state.held().is_some() {
            cell.watchers.get_or_insert_default().add(key, cx);
        }
        cell.state
    }

    pub(crate) fn remove_watcher(&self, key: u64) {
        if let Some(watchers) = &mut self.cell().watchers {
            watchers.tasks.retain(|(other, _)| *other != key);
        }
    }
}

impl Cell {
    fn register_waker(&mut self, cx: &Context<'_>) {
        match &mut self.waker {
            Some(waker) => waker.clone_from(cx.waker()),
            none => *none = Some(cx.waker().clone()),
        }
    }
}

impl Watchers {
    fn add(&mut self, key: &mut Option<u64>, cx: &Context<'_>) {
        let own = *key.get_or_insert_with(|| {
            self.last_key += 1;
            self.last_key
        });
        match self.tasks.iter_mut().find(|(other, _)| *other == own) {
            Some((_, waker)) => waker.clone_from(cx.waker()),
            None => self.tasks.push((own, cx.waker().clone())),
        }
    }
}
