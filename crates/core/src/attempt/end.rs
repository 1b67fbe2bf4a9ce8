//! The end of an attempt: given up, sent, answered, gone.

use super::event::{Effects, EndEvent, Ended};
use super::lease::Lease;
use super::rules::{NOT_KEPT, Rule, Rules};
use super::state::{Stage, State};
use crate::base::clock::Moment;
use crate::wire::reply::Had;

impl State {
    /// Returns until when what it holds stays in use, now that it is being ended.
    pub(crate) const fn kept_until(&self) -> Moment {
        match self.stage {
            Stage::Ending { until, .. } => until,
            _ => NOT_KEPT,
        }
    }

    /// Returns until when what it holds has to stay in use if it is ended now.
    pub(super) fn keeps_until(&self, rules: &Rules) -> Moment {
        match &self.stage {
            Stage::Held(lease) if lease.start < Moment::NEVER => rules
                .at_least
                .map_or(NOT_KEPT, |least| (lease.start + least).min(lease.cap())),
            Stage::Ending { until, .. } => *until,
            _ => NOT_KEPT,
        }
    }

    /// Its guard is released, and what it holds stays in use until this moment, or a later one, but
    /// not past its maximum.
    pub(super) fn release(&mut self, until: Moment, now: Moment, rules: &Rules, out: &mut Effects) {
        self.check(now, out);
        if self.loss.is_none() {
            // No renewal is sent from here on (H19).
            let most = self.held().map_or(Moment::NEVER, Lease::cap);
            let until = until.max(self.keeps_until(rules)).min(most);
            self.enter(Stage::Ending { queued: false, until });
            out.wake_watchers = true;
        }
    }

    pub(super) fn give_up(&mut self, now: Moment, rules: &Rules, out: &mut Effects) {
        let silent = match self.stage {
            Stage::Leaving(_) | Stage::Ending { queued: true, .. } | Stage::Gone(_) => return,
            // What was never handed over to a connection has left nothing anywhere.
            Stage::Asking => !rules.has(Rule::EndAsking) || self.was_never_asked(),
            Stage::Granted(_) => !rules.has(Rule::EndGranted),
            _ => false,
        };
        if silent {
            return self.leave(None, out);
        }
        let until = match &self.stage {
            Stage::Held(lease) if now < lease.start => NOT_KEPT, // it never began
            _ => self.keeps_until(rules),
        };
        self.end_lost(until, out);
    }

    pub(super) fn on_end(&mut self, event: EndEvent, out: &mut Effects) {
        match event {
            EndEvent::Sent => self.ends += 1,
            EndEvent::NotSent => self.ends = self.ends.saturating_sub(1),
            EndEvent::NotConfirmed if self.leaving().is_some() => {
                self.enter(Stage::Ending {
                    queued: true,
                    until: NOT_KEPT,
                });
            }
            EndEvent::NotConfirmed => {}
            EndEvent::Answered(had) => out.ended = Some(self.end_answered(had)),
            EndEvent::Over(ended) => {
                let ended = if self.gave_up { Ended::GaveUp } else { ended };
                self.leave(Some(ended), out);
                out.wake = true;
            }
        }
    }

    pub(super) fn end_answered(&mut self, had: Had) -> Ended {
        self.ends = self.ends.saturating_sub(1);
        // Forced open it held, so no earlier copy had ended it.
        if had == Had::Forced {
            return Ended::Forced;
        }
        // "Nothing there" after an earlier copy was lost on the way: that copy did it. A record that is not ours has
        // nothing of ours either.
        let earlier = self.ends > 0 || self.gave_up;
        if matches!(had, Had::Nothing | Had::Foreign) && !earlier {
            return Ended::HadNothing;
        }
        Ended::GaveUp
    }

    pub(super) const fn leave(&mut self, ended: Option<Ended>, out: &mut Effects) {
        if let Some(Ended::GaveUp) = ended {
            self.gave_up = true;
        }
        self.enter(Stage::Gone(ended));
        out.wake_watchers = true;
        out.free = true;
    }
}
