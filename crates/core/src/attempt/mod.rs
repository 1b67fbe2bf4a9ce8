//! One attempt: its id, what it wants, and its state, which everybody who hears of it changes.
//!
//! - here: the state behind a lock, and those who are woken when it changes;
//! - `state`: the state machine, sealed: one function from event to effects;
//! - `event`: events and effects;
//! - `keep`, `end`, `latch`: parts of that function: renewals and losses, ends, the countdown latch;
//! - `lease`: a hold by the client's own account;
//! - `rules`: what the transitions depend on;
//! - `spec`, `ask`: what an attempt asks for.

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
mod tests;

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Waker};

use self::event::{Effects, Event, HoldEvent, Step};
use self::lease::Lease;
use self::rules::{Plan, Rules};
use self::state::State;
use crate::base::clock::Moment;
use crate::types::loss::Loss;
use crate::types::name::Name;

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

/// What its future finds.
pub(crate) struct Polled {
    pub(crate) step: Step,
    /// When the server was last heard of.
    pub(crate) heard: Moment,
    /// What is handed out.
    pub(crate) lease: Option<Lease>,
}

/// The state, and those who are woken when it changes.
#[derive(Debug)]
struct Cell {
    state: State,
    /// The future that acquires, or the one that awaits the end.
    waker: Option<Waker>,
    /// Those who await `lost()`.
    watchers: Vec<(u64, Waker)>,
    next_watcher: u64,
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
                watchers: Vec::new(),
                next_watcher: 0,
            }),
        }
    }

    fn cell(&self) -> MutexGuard<'_, Cell> {
        self.cell.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A copy of the state.
    pub(crate) fn state(&self) -> State {
        self.cell().state
    }

    /// What `look` finds in the state.
    pub(crate) fn with<T>(&self, look: impl FnOnce(&State) -> T) -> T {
        look(&self.cell().state)
    }

    /// What it has, if a guard is out.
    pub(crate) fn held(&self) -> Option<Lease> {
        self.with(|state| state.held().copied())
    }

    pub(crate) fn rules(&self) -> &Rules {
        &self.spec.rules
    }

    /// Something happened at `now`. Wakes whom it concerns, after the lock is released: a waker is foreign code.
    #[allow(
        clippy::inline_always,
        reason = "where an event happens it is known, and only its arm is left"
    )]
    #[inline(always)]
    pub(crate) fn on(&self, event: Event, now: Moment) -> Effects {
        self.apply(self.cell(), event, now, |_| ()).0
    }

    /// Something happened, and when does not matter.
    #[allow(
        clippy::inline_always,
        reason = "where an event happens it is known, and only its arm is left"
    )]
    #[inline(always)]
    pub(crate) fn note(&self, event: Event) -> Effects {
        self.on(event, Moment::from_nanos(0))
    }

    /// The same as [`on`](Self::on), and what `look` finds in the state after that.
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

    /// The same as [`on`](Self::on) while its own future is polled: it looks again, and need not be woken, or another worker
    /// would be, too.
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
        let found = look(&cell.state);
        let waker = if effects.wake { cell.waker.take() } else { None };
        let watchers = if effects.wake_watchers {
            std::mem::take(&mut cell.watchers)
        } else {
            Vec::new()
        };
        drop(cell);
        if let Some(waker) = waker {
            waker.wake();
        }
        for (_, watcher) in watchers {
            watcher.wake();
        }
        (effects, found)
    }

    /// Its future is polled; unless that is done, it is woken by what happens next.
    pub(crate) fn poll(&self, cx: &Context<'_>, now: Moment) -> Polled {
        let mut cell = self.cell();
        let step = cell.state.on(Event::Polled, now, &self.spec.rules).step;
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

    /// Registers the future that is woken by what happens next, and returns what `look` finds in the state.
    pub(crate) fn register_waker<T>(&self, cx: &Context<'_>, look: impl FnOnce(&State) -> T) -> T {
        let mut cell = self.cell();
        cell.register_waker(cx);
        look(&cell.state)
    }

    /// Whether the hold can still be relied on at `now`; notes it for ever if not.
    pub(crate) fn check(&self, now: Moment) -> Option<Loss> {
        self.look(now).loss()
    }

    /// The state at `now`, after the deadline was looked at.
    pub(crate) fn look(&self, now: Moment) -> State {
        let looked = Event::Hold(HoldEvent::Looked);
        self.on_then(looked, now, |state| *state).1
    }

    /// Registers a watcher of the hold's end if the hold lives; `key` is the watcher's own, made at its first call. Returns
    /// the state.
    pub(crate) fn watch(&self, key: &mut Option<u64>, cx: &Context<'_>, now: Moment) -> State {
        self.on(Event::Hold(HoldEvent::Looked), now);
        let mut cell = self.cell();
        if cell.state.loss().is_none() && cell.state.held().is_some() {
            cell.add_watcher(key, cx);
        }
        cell.state
    }

    pub(crate) fn remove_watcher(&self, key: u64) {
        self.cell().watchers.retain(|(other, _)| *other != key);
    }
}

impl Cell {
    fn register_waker(&mut self, cx: &Context<'_>) {
        match &mut self.waker {
            Some(waker) => waker.clone_from(cx.waker()),
            none => *none = Some(cx.waker().clone()),
        }
    }

    fn add_watcher(&mut self, key: &mut Option<u64>, cx: &Context<'_>) {
        let own = *key.get_or_insert_with(|| {
            self.next_watcher += 1;
            self.next_watcher
        });
        match self.watchers.iter_mut().find(|(other, _)| *other == own) {
            Some((_, waker)) => waker.clone_from(cx.waker()),
            None => self.watchers.push((own, cx.waker().clone())),
        }
    }
}
