//! What an attempt asks of a latch, and what it knows of it.

use std::sync::Arc;
use std::time::Duration;

use super::{Stage, State};
use crate::base::clock::Moment;
use crate::types::latch::OnMissing;
use crate::wire::message::Over;

/// What one call asks.
#[derive(Debug)]
pub(crate) struct LatchAsk {
    pub(crate) on_missing: OnMissing,
    pub(crate) by: u32,
    pub(crate) once: Option<Arc<[u8]>>,
    pub(crate) to: Option<u32>,
    /// It takes whatever is left for an answer.
    pub(crate) at_once: bool,
    pub(crate) keep: Duration,
}

impl LatchAsk {
    /// Its copies must not be done twice.
    pub(crate) const fn changes(&self) -> bool {
        self.by > 0 || self.to.is_some()
    }

    /// What is true after a time-out.
    pub(crate) const fn outcome(&self) -> &'static str {
        if self.to.is_some() {
            "it may or may not have been reset"
        } else if self.by > 0 {
            "it may or may not have counted"
        } else {
            "the wait is being undone"
        }
    }
}

/// What an attempt knows of its latch.
#[derive(Debug, Default)]
pub(crate) struct LatchState {
    /// The generation that it waits for; 0: not known yet.
    pub(crate) generation: u64,
    /// It was answered: what it was to change is changed.
    pub(crate) answered: bool,
    /// A message about its key that came while the generation was not known.
    pub(crate) early: Option<(u64, Over)>,
    pub(crate) over: Option<Over>,
}

impl LatchState {
    /// Nothing that comes later changes anything.
    pub(crate) const fn is_over(&self) -> bool {
        self.over.is_some()
    }

    pub(crate) fn was_reset(&self) -> bool {
        self.over == Some(Over::Reset)
    }
}

impl State {
    /// The latch lets it pass. Unlike a grant this has no deadline: nothing is held.
    pub(crate) fn pass(&mut self, generation: u64, left: u32, stamp: u64) {
        if !matches!(self.stage, Stage::Asking | Stage::Queued) || self.latch.is_over() {
            return;
        }
        self.stamp = stamp;
        self.applied_at = Moment::now();
        self.latch.over = Some(Over::Finished);
        self.token = generation;
        self.weight = left;
        self.stage = Stage::Granted;
        self.deadline = Moment::NEVER;
        self.length = Duration::ZERO;
        self.claim = false;
        self.confirm_first = false;
        self.wake();
    }

    pub(crate) fn generation_over(&mut self, generation: u64, how: Over) {
        match how {
            Over::Finished => self.pass(generation, 0, self.stamp),
            Over::Reset if matches!(self.stage, Stage::Asking | Stage::Queued) => {
                self.latch.over = self.latch.over.or(Some(how));
                self.wake();
            }
            Over::Reset => {}
        }
    }

    /// It waits for this generation; whose message may have come before.
    pub(crate) fn waits_for(&mut self, generation: u64) {
        self.latch.answered = true;
        self.latch.generation = generation;
        if let Some((of, how)) = self.latch.early.take()
            && of == generation
        {
            self.generation_over(generation, how);
        }
    }
}
