//! The latch's part of the state machine.

use super::event::Effects;
use super::rules::Rules;
use super::state::{Stage, State};
use crate::base::clock::Moment;
use crate::wire::message::Over;
use crate::wire::reply::LatchReply;

impl State {
    /// Applies an answer of the latch.
    pub(super) fn latch_answered(
        &mut self,
        reply: LatchReply,
        sent: Moment,
        now: Moment,
        rules: &Rules,
        out: &mut Effects,
    ) {
        match reply {
            LatchReply::Left(left) => {
                self.heard = now;
                self.pass((left, false), self.news.stamp, now, out);
            }
            LatchReply::Passed {
                stamp, left, more, ..
            } => {
                self.heard = now;
                self.pass((left, more), stamp, now, out);
            }
            LatchReply::Queued { stamp, generation } => {
                out.waits = true;
                self.queued(None, false, (stamp, sent, now), rules, out);
                self.waits_for(generation, now, out);
            }
            LatchReply::Late { .. } => {
                self.heard = now;
                if rules.latch == Some(true) && !self.latch.answered {
                    out.unsure = self.under_way.acquires > 0;
                    if !out.unsure {
                        // No other copy is out, so nothing was done, and our idea of the server's time was wrong.
                        self.under_way.not_after = 0;
                    }
                }
            }
            _ => {} // the caller's error
        }
    }

    /// The latch lets it pass. Unlike a grant this has no deadline: nothing is held.
    fn pass(&mut self, (left, more): (u64, bool), stamp: u64, now: Moment, out: &mut Effects) {
        if matches!(self.stage, Stage::Asking | Stage::Queued) {
            self.note(stamp, now);
            let left = u32::try_from(left).unwrap_or(u32::MAX);
            self.enter(Stage::Passed { left, more });
            out.wake = true;
        }
    }

    /// A generation is over. Unless the message names an attempt of the same latch its key is not known, and another latch
    /// might have begun in the same microsecond: only a hint.
    pub(super) fn generation_over(
        &mut self,
        (generation, how): (u64, Over),
        named: bool,
        now: Moment,
        out: &mut Effects,
    ) {
        if !matches!(self.stage, Stage::Asking | Stage::Queued) {
            return;
        }
        let own = self.latch.generation();
        if own != generation {
            if own == 0 && named {
                self.latch.note_early(generation, how);
            }
            return;
        }
        match how {
            _ if !named => self.enter(Stage::Asking),
            Over::Finished => return self.pass((0, false), self.news.stamp, now, out),
            Over::Reset => self.enter(Stage::Reset),
        }
        out.wake = true;
    }

    /// It waits for this generation; whose message may have come before.
    fn waits_for(&mut self, generation: u64, now: Moment, out: &mut Effects) {
        if let Some(how) = self.latch.waits_for(generation) {
            self.generation_over((generation, how), true, now, out);
        }
    }
}
