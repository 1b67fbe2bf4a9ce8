//! What is broken at the moment, and where bytes wait because of it.

use std::fmt;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::pump::Connection;
use super::{Action, ConnId, Direction};

pub(super) type Hook = Box<dyn FnMut(Direction, ConnId, &[u8]) -> Action + Send>;

#[derive(Default)]
pub(crate) struct Faults {
    state: Mutex<State>,
    changed: Condvar,
    /// Apart from the state, so that a hook can block, cut and count.
    hook: Mutex<Option<Hook>>,
}

#[derive(Debug, Default)]
struct State {
    blocked: [bool; 2],
    budget: [Option<usize>; 2],
    delay: Duration,
}

impl Faults {
    pub(super) fn set_blocked(&self, direction: Direction, blocked: bool) {
        self.state().blocked[direction as usize] = blocked;
        self.changed.notify_all();
    }

    pub(super) fn set_delay(&self, delay: Duration) {
        self.state().delay = delay;
        self.changed.notify_all();
    }

    pub(super) fn set_budget(&self, direction: Direction, bytes: Option<usize>) {
        self.state().budget[direction as usize] = bytes;
    }

    pub(super) fn set_hook(&self, hook: Option<Hook>) {
        *self.hook.lock().unwrap_or_else(PoisonError::into_inner) = hook;
    }

    /// Lets everybody who waits look again, after a connection was held, released or cut.
    pub(super) fn notify(&self) {
        // Taken and given back, so that nobody is between looking and waiting.
        drop(self.state());
        self.changed.notify_all();
    }

    pub(super) fn decide(&self, direction: Direction, id: ConnId, chunk: &[u8]) -> Action {
        let mut hook = self.hook.lock().unwrap_or_else(PoisonError::into_inner);
        hook.as_mut()
            .map_or(Action::Pass, |hook| hook(direction, id, chunk))
    }

    /// How long what comes in has to wait.
    pub(super) fn delay(&self) -> Duration {
        self.state().delay
    }

    /// Waits out blocks, holds and the delay since `arrived`. False if the connection was cut meanwhile.
    pub(super) fn pass(&self, connection: &Connection, direction: Direction, arrived: Instant) -> bool {
        let mut state = self.state();
        loop {
            if connection.is_cut() {
                return false;
            }
            if state.blocked[direction as usize] || connection.is_held(direction) {
                state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
                continue;
            }
            let left = state.delay.saturating_sub(arrived.elapsed());
            if left.is_zero() {
                return true;
            }
            state = self
                .changed
                .wait_timeout(state, left)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
    }

    /// How many of `length` bytes may go on; fewer means that the connection ends there.
    pub(super) fn spend(&self, direction: Direction, length: usize) -> usize {
        let budget = &mut self.state().budget[direction as usize];
        match *budget {
            Some(left) if left < length => {
                *budget = None;
                left
            }
            Some(left) => {
                *budget = Some(left - length);
                length
            }
            None => length,
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            state,
            changed: _,
            hook: _,
        } = self;
        f.debug_struct("Faults")
            .field("state", state)
            .finish_non_exhaustive()
    }
}
