//! One attempt: its id, what it wants, and its state, which everybody who hears of it changes.
//!
//! - here: the state behind a lock, and those who are woken when it changes;
//! - `state`: the state machine, sealed: one function from event to effects;
//! - `event`: events and effects;
//! - `keep`, `latch`: parts of that function: renewals and losses, and the countdown latch;
//! - `lease`: a hold by the client's own account;
//! - `rules`: what the transitions depend on;
//! - `spec`, `ask`: what an attempt asks for.

pub(crate) mod ask;
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
use self::rules::Rules;
use self::spec::Spec;
use self::state::State;
use crate::base::clock::Moment;
use crate::types::loss::Loss;
use crate::types::name::Name;

/// One call of an acquire function.
pub(crate) struct Attempt {
    /// See [`Spec::id`]; the owner in Redis.
    pub(crate) id: String,
    pub(crate) counter: u64,
    pub(crate) key: Arc<[u8]>,
    pub(crate) name: Name,
    pub(crate) spec: Spec,
    rules: Rules,
    cell: Mutex<Cell>,
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
        spec: Spec,
        rules: Rules,
    ) -> Self {
        Self {
            id,
            counter,
            key,
            name,
            spec,
            rules,
            cell: Mutex::new(Cell {
                state: State::new(Moment::now()),
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

    pub(crate) const fn rules(&self) -> &Rules {
        &self.rules
    }

    /// Something happened at `now`. Wakes whom it concerns, after the lock is released: a waker is foreign code.
    pub(crate) fn on(&self, event: Event, now: Moment) -> Effects {
        self.apply(self.cell(), event, now)
    }

    /// The same while its own future is polled: it looks again, and need not be woken, or another worker would be, too.
    pub(crate) fn on_while_polled(&self, event: Event, now: Moment) -> Effects {
        let mut cell = self.cell();
        cell.waker = None;
        self.apply(cell, event, now)
    }

    fn apply(&self, mut cell: MutexGuard<'_, Cell>, event: Event, now: Moment) -> Effects {
        let effects = cell.state.on(event, now, &self.rules);
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
        effects
    }

    /// Its future is polled; unless that is done, it is woken by what happens next. Returns when the server was last heard
    /// of, too.
    pub(crate) fn poll(&self, cx: &Context<'_>, now: Moment) -> (Step, Moment) {
        let mut cell = self.cell();
        let step = cell.state.on(Event::Polled, now, &self.rules).step;
        let heard = cell.state.heard();
        match step {
            Step::Wait | Step::Ask | Step::Confirm(_) => cell.register_waker(cx),
            Step::HandOut(_) | Step::Pass { .. } | Step::Reset | Step::Closed => cell.waker = None,
        }
        drop(cell);
        (step, heard)
    }

    /// Registers the future that is woken by what happens next, and returns the state.
    pub(crate) fn register_waker(&self, cx: &Context<'_>) -> State {
        let mut cell = self.cell();
        cell.register_waker(cx);
        cell.state
    }

    /// Whether the hold can still be relied on at `now`; notes it for ever if not.
    pub(crate) fn check(&self, now: Moment) -> Option<Loss> {
        self.look(now).loss()
    }

    /// The state at `now`, after the deadline was looked at.
    pub(crate) fn look(&self, now: Moment) -> State {
        self.on(Event::Hold(HoldEvent::Looked), now);
        self.state()
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
