//! The end of an attempt: given up, sent, answered, gone.

use super::event::{Effects, EndEvent, Ended};
use super::rules::{Rule, Rules};
use super::state::{Stage, State};
use crate::wire::reply::Had;

impl State {
    pub(super) fn give_up(&mut self, rules: &Rules, out: &mut Effects) {
        let silent = match self.stage {
            Stage::Leaving(_) | Stage::Ending { queued: true } | Stage::Gone(_) => return,
            // What was never handed over to a connection has left nothing anywhere.
            Stage::Asking => !rules.has(Rule::EndAsking) || self.was_never_asked(),
            Stage::Granted(_) => !rules.has(Rule::EndGranted),
            _ => false,
        };
        if silent {
            return self.leave(None, out);
        }
        self.end_lost(out);
    }

    pub(super) fn on_end(&mut self, event: EndEvent, out: &mut Effects) {
        match event {
            EndEvent::Sent => self.ends += 1,
            EndEvent::NotSent => self.ends = self.ends.saturating_sub(1),
            EndEvent::NotConfirmed if self.leaving().is_some() => {
                self.enter(Stage::Ending { queued: true });
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
