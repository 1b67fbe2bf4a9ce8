//! What the keeper does for an attempt: renewals, places, losses.

use std::time::Duration;

use super::event::{Asked, Effects, HoldEvent};
use super::lease::Known;
use super::rules::{NOT_KEPT, Rule, Rules};
use super::state::{OLDEST, Stage, State};
use crate::base::clock::Moment;
use crate::types::loss::Loss;
use crate::wire::reply::{TickItem, Why};

impl State {
    /// Something happened to the hold.
    pub(super) fn on_hold(&mut self, event: HoldEvent, now: Moment, rules: &Rules, out: &mut Effects) {
        match event {
            HoldEvent::Looked => {
                self.check(now, out);
                // A look does not log the loss. The keeper does, or the end of the attempt.
                if out.lost.take().is_some() {
                    self.told = false;
                }
            }
            HoldEvent::Renewed { left, sent } => {
                self.renewed(left, sent, now, rules, out);
                self.reschedule(now, rules, out);
            }
            HoldEvent::Capped(cap) => {
                if let Stage::Held(lease) = &mut self.stage {
                    lease.cap_at(cap);
                }
                self.reschedule(now, rules, out);
            }
            HoldEvent::Converting => {
                if let Stage::Held(lease) = &mut self.stage {
                    lease.converting = true;
                }
            }
            HoldEvent::Upgraded { token, weight } => {
                if let Stage::Held(lease) = &mut self.stage {
                    lease.token = token; // renewals name it from now on
                    lease.weight = weight;
                }
            }
            HoldEvent::NeverBegan => {
                if let Stage::Held(lease) = &mut self.stage {
                    lease.start = Moment::NEVER;
                }
            }
            HoldEvent::Releasing { until } => self.release(until, now, rules, out),
            HoldEvent::Left => match self.stage {
                Stage::Held(lease) if lease.claim && !lease.converting && now < lease.deadline => {
                    self.enter(Stage::Leaving(lease));
                    out.wake_watchers = true;
                    out.enqueue = true;
                }
                _ => self.leave(None, out),
            },
        }
    }

    /// Returns whether it holds by a claim, handed out or not.
    pub(crate) const fn is_claim(&self) -> bool {
        matches!(self.stage, Stage::Granted(lease) | Stage::Held(lease) if lease.claim)
    }

    /// When the claim by which it holds was made, µs of the server, as the news of it said. `None`: it has none, or another
    /// server has taken over since.
    pub(crate) fn claimed_at(&self) -> Option<u64> {
        let is_claim = matches!(self.stage, Stage::Leaving(_)) || self.is_claim();
        Some(self.news.stamp).filter(|&stamp| is_claim && stamp > OLDEST)
    }

    /// The keeper looks at it.
    pub(super) fn scanned(&mut self, now: Moment, rules: &Rules, out: &mut Effects) {
        self.check(now, out);
        match &self.stage {
            Stage::Held(lease) if self.loss.is_some() => {
                if !self.under_way.renewal && lease.due < lease.deadline {
                    out.late = now.since(lease.due); // the renewal that it missed
                }
                self.end_lost(self.keeps_until(rules), out); // rule 9: at once
            }
            Stage::Held(lease) => {
                out.held = true;
                if !self.under_way.renewal && lease.is_due(now, rules) {
                    out.renew = Some(lease.token);
                    out.late = now.since(lease.due);
                    self.under_way.renewal = true;
                } else {
                    out.due = if self.under_way.renewal {
                        lease.deadline
                    } else {
                        lease.due
                    };
                }
            }
            Stage::Queued | Stage::Granted(_) => out.waits = true,
            _ => {}
        }
    }

    pub(super) fn ticked(
        &mut self,
        (asked, item): (Asked, TickItem),
        (stamp, sent, now): (u64, Moment, Moment),
        rules: &Rules,
        out: &mut Effects,
    ) {
        match asked {
            Asked::Place => match item {
                _ if !rules.has(Rule::TickReplays) => {}
                TickItem::Granted(grant) => {
                    self.reported((grant, stamp), (sent, now), rules, out);
                }
                TickItem::Queued { wake, more } => {
                    self.queued(wake, more, (stamp, sent, now), rules, out);
                }
                // It is not in the queue. Or there is a tombstone: its end was under way, or it was forced open before
                // it was handed out. Or its key is not ours any more: acquire has the error (H41).
                _ => {
                    if self.is_news(stamp, sent, now, rules) {
                        self.ask_again(out);
                    }
                }
            },
            Asked::Hold { token, lease } => {
                let (Stage::Held(own) | Stage::Granted(own) | Stage::Leaving(own)) = self.stage else {
                    return;
                };
                if own.token != token && rules.has(Rule::TokenNamed) {
                    return; // a late answer about an earlier grant of the same attempt
                }
                match item {
                    TickItem::Held(_) if self.leaving().is_some() => self.leave(None, out),
                    TickItem::Lost(_) if self.leaving().is_some() => {
                        self.enter(Stage::Ending {
                            queued: true,
                            until: NOT_KEPT,
                        }); // it may be back in the queue
                    }
                    TickItem::Held(left) => {
                        if !self.is_late(sent) {
                            self.known = Known::by_reply(sent, stamp);
                        }
                        // Never more than was asked for: after a backward step of its clock the server may say so (H49).
                        self.renewed(left.min(lease), sent, now, rules, out);
                        self.reschedule(now, rules, out);
                    }
                    TickItem::Lost(why) => self.refuted(why, (stamp, sent, now), out),
                    _ => {
                        out.failed = true;
                        self.ask_again(out); // it was to be confirmed; acquire says what is wrong
                    }
                }
            }
        }
    }

    /// The server says that it does not have it.
    pub(super) fn refuted(&mut self, why: Why, (stamp, sent, now): (u64, Moment, Moment), out: &mut Effects) {
        self.check(now, out); // its own deadline comes first
        let ours = sent.since(self.known.sent);
        let stepped = self
            .known
            .since_reply(stamp)
            .is_some_and(|theirs| theirs > ours + Duration::from_millis(250));
        let loss = match why {
            Why::Ended if stepped => Loss::ClockStep,
            why => why.loss(),
        };
        match self.stage {
            // The converted hold has replaced it. If it was lost before that, the conversion's reply
            // says so.
            Stage::Held(lease) if lease.converting && why == Why::Ended => {}
            Stage::Held(_) => {
                self.lose(loss, out);
                self.end_lost(NOT_KEPT, out);
            }
            _ => self.ask_again(out), // confirmed too late
        }
    }

    /// Applies a renewal. The deadline is looked at first (rule 9).
    pub(super) fn renewed(
        &mut self,
        left: Duration,
        sent: Moment,
        now: Moment,
        rules: &Rules,
        out: &mut Effects,
    ) {
        self.heard = now;
        if rules.has(Rule::DeadlineFirst) {
            self.check(now, out);
        }
        if self.loss.is_some() {
            return;
        }
        if let Stage::Held(lease) | Stage::Granted(lease) = &mut self.stage {
            lease.renew(left, sent, rules);
        }
    }

    /// A tick with this attempt in it is over, answered or not.
    pub(super) fn tick_over(&mut self, renewal: bool, now: Moment, rules: &Rules, out: &mut Effects) {
        if !renewal {
            self.under_way.refresh = false;
            return;
        }
        self.under_way.renewal = false;
        if let Stage::Held(lease) = &mut self.stage {
            lease.try_again(now, rules);
            out.due = lease.due;
        }
    }

    pub(super) fn reschedule(&mut self, now: Moment, rules: &Rules, out: &mut Effects) {
        if let Stage::Held(lease) = &mut self.stage {
            lease.schedule(now, rules);
            out.due = lease.due;
        }
    }

    /// Lost is the server's word, or the deadline's; it never turns back (rule 9).
    pub(super) fn check(&mut self, now: Moment, out: &mut Effects) {
        if let Stage::Held(lease) = self.stage
            && self.loss.is_none()
            && now >= lease.deadline
        {
            let loss = if lease.is_capped() {
                Loss::MaxHold
            } else {
                Loss::Expired
            };
            self.lose(loss, out);
        }
    }

    pub(super) fn lose(&mut self, loss: Loss, out: &mut Effects) {
        if self.loss.is_none() {
            self.loss = Some(loss);
            self.told = true;
            out.lost = Some(loss);
            out.wake_watchers = true;
            out.wake = true; // it may sleep until it may start
        }
    }

    /// A guard is out, and its hold is lost: what there may be of it is ended at once.
    pub(super) const fn end_lost(&mut self, until: Moment, out: &mut Effects) {
        if !self.told && self.loss.is_some() {
            self.told = true;
            out.lost = self.loss;
        }
        self.enter(Stage::Ending { queued: true, until });
        out.wake_watchers = true;
        out.enqueue = true;
    }
}
