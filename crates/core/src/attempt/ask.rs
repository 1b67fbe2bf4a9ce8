//! What an attempt asks of a latch, and what it knows of it.

use std::sync::Arc;
use std::time::Duration;

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
    /// It takes part whatever count the latch was made with.
    pub(crate) adopts: bool,
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
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Waited {
    /// The generation that it waits for, or that `early` is about; 0: nothing is known yet.
    generation: u64,
    /// It was answered: what it was to change is changed.
    pub(crate) answered: bool,
    /// What a message said of a generation of its latch before it knew which one it waits for.
    early: Option<Over>,
}

impl Waited {
    pub(super) const NOTHING: Self = Self {
        generation: 0,
        answered: false,
        early: None,
    };

    /// The generation that it waits for; 0: not known yet.
    pub(crate) const fn generation(&self) -> u64 {
        if self.early.is_some() { 0 } else { self.generation }
    }

    /// A message about a generation of its latch came before the answer.
    pub(super) const fn note_early(&mut self, generation: u64, how: Over) {
        self.generation = generation;
        self.early = Some(how);
    }

    /// It waits for this generation. Returns what a message has said of it already.
    pub(super) fn waits_for(&mut self, generation: u64) -> Option<Over> {
        let early = self.early.take().filter(|_| self.generation == generation);
        self.generation = generation;
        self.answered = true;
        early
    }
}
