//! The state of an attempt, and the one function that changes it.
//!
//! There is no I/O, lock, waker, clock or allocation here: time and events come in, effects go out. The model, property
//! tests and simulations therefore run the code that ships. `docs/design.md` has a diagram of the states.

use std::time::Duration;

use super::ask::Waited;
use super::event::{Effects, Ended, Event, LookAt, Step};
use super::lease::{Known, Lease, claim_deadline};
use super::rules::{NOT_KEPT, Rule, Rules};
use crate::base::clock::Moment;
use crate::types::loss::Loss;
use crate::wire::message::Message;
use crate::wire::reply::{AcquireReply, Grant};

/// The stage of an attempt, with the data that exists only in that stage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Stage {
    /// No answer has come yet, or the place was lost: the acquire has to be sent (again).
    Asking,
    /// In the queue.
    Queued,
    /// Granted, not yet handed out.
    Granted(Lease),
    /// The latch is open for it; `left` is the remaining count. `more`: something is left to follow up.
    Passed { left: u32, more: bool },
    /// The latch was reset.
    Reset,
    /// A guard exists.
    Held(Lease),
    /// The guard was left, so that the hold ends with its lease. It is a claim that the keeper still has to confirm: unconfirmed
    /// it would end with its window and go back to the queue.
    Leaving(Lease),
    /// Being ended at the server. If `queued`, the keeper does it. What it holds stays in use until then.
    Ending { queued: bool, until: Moment },
    /// Nothing is left at the server, as far as the client knows.
    Gone(Option<Ended>),
}

/// The stamp of something that was heard, and is older than whatever comes.
pub(super) const OLDEST: u64 = 1;

/// Requests that were sent and have not been answered, apart from ends.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub(super) struct UnderWay {
    /// An acquire was handed over to a connection.
    asked: bool,
    pub(super) acquires: u32,
    /// The latest `not_after` of an acquire, milliseconds of the server.
    pub(super) not_after: u64,
    pub(super) renewal: bool,
    pub(super) refresh: bool,
}

/// The newest information from the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct News {
    /// Its stamp, microseconds of the server.
    pub(super) stamp: u64,
    /// When it was applied. An answer to a later request is newer, whatever its stamp.
    applied_at: Moment,
    /// When another node of a cluster has taken over: an answer to an earlier request may be of the
    /// node before, as may any message. `NOBODY` if none has.
    changed: Moment,
}

/// In place of the moment when another node has taken over.
const NOBODY: Moment = Moment::from_nanos(0);

/// The state of an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct State {
    pub(super) stage: Stage,
    /// Why the hold ended; set once, never taken back.
    pub(super) loss: Option<Loss>,
    /// The loss is among the effects of an event that the client carries out.
    pub(super) told: bool,
    /// The client is closing: the future resolves to `Closed`.
    closed: bool,
    /// An end was answered, and the attempt held something or had a place.
    pub(super) gave_up: bool,
    /// Ends that were sent and have not been answered.
    pub(super) ends: u32,
    pub(super) under_way: UnderWay,
    pub(super) news: News,
    pub(super) known: Known,
    /// When the last usable answer came.
    pub(super) heard: Moment,
    pub(super) latch: Waited,
}

impl State {
    pub(crate) const fn new(now: Moment) -> Self {
        Self {
            stage: Stage::Asking,
            loss: None,
            told: false,
            closed: false,
            gave_up: false,
            ends: 0,
            under_way: UnderWay {
                asked: false,
                acquires: 0,
                not_after: 0,
                renewal: false,
                refresh: false,
            },
            news: News {
                stamp: 0,
                applied_at: now,
                changed: NOBODY,
            },
            known: Known::by_request(now),
            heard: now,
            latch: Waited::NOTHING,
        }
    }

    /// Applies an event. This is the only way to change the state.
    #[allow(
        clippy::inline_always,
        reason = "where an event happens it is known, and only its arm is left"
    )]
    #[inline(always)]
    pub(crate) fn on(&mut self, event: Event, now: Moment, rules: &Rules) -> Effects {
        let mut out = Effects::default();
        match event {
            Event::Asked { not_after } => {
                self.under_way.asked = true;
                self.under_way.acquires += 1;
                self.under_way.not_after = self.under_way.not_after.max(not_after);
            }
            Event::Sending { not_after } => {
                self.under_way.not_after = self.under_way.not_after.max(not_after);
            }
            Event::NotAsked => self.under_way.acquires = self.under_way.acquires.saturating_sub(1),
            Event::Answered { reply, stamp, sent } => {
                self.under_way.acquires = self.under_way.acquires.saturating_sub(1);
                if let Some(reply) = reply {
                    self.answered(reply, (stamp, sent, now), rules, &mut out);
                }
            }
            Event::LatchAnswered { reply, sent } => {
                self.under_way.acquires = self.under_way.acquires.saturating_sub(1);
                if let Some(reply) = reply {
                    self.latch_answered(reply, sent, now, rules, &mut out);
                }
            }
            Event::Told(message) => self.told(message, now, rules, &mut out),
            Event::GenerationOver {
                generation,
                how,
                named,
            } => self.generation_over((generation, how), named, now, &mut out),
            Event::Scanned => self.scanned(now, rules, &mut out),
            Event::Refreshing => {
                out.refresh = !self.under_way.refresh;
                self.under_way.refresh = true;
            }
            Event::Ticked {
                asked,
                item,
                stamp,
                sent,
            } => self.ticked((asked, item), (stamp, sent, now), rules, &mut out),
            Event::TickOver { renewal } => self.tick_over(renewal, now, rules, &mut out),
            // A tick may have found another place meanwhile, which is kept.
            Event::ConfirmFailed if matches!(self.stage, Stage::Granted(_)) => self.ask_again(&mut out),
            Event::ConfirmFailed => {}
            Event::Polled => out.step = self.next(now, rules),
            Event::PolledConfirming => {
                // The answer counts, however late it is: until then nobody was promised anything. An
                // acquire in its place would find as little time left as before.
                let is_late = matches!(self.stage, Stage::Granted(lease) if now >= lease.deadline);
                out.step = if is_late && !self.closed {
                    Step::Wait
                } else {
                    self.next(now, rules)
                };
            }
            Event::TakenOver => {
                if let Stage::Granted(lease) = self.stage {
                    out.step = self.hand_out(lease, now, rules);
                }
            }
            Event::Hold(event) => self.on_hold(event, now, rules, &mut out),
            Event::End(event) => self.on_end(event, &mut out),
            Event::GivenUp => self.give_up(now, rules, &mut out),
            Event::ServerChanged { late } => self.server_changed(late, now, rules, &mut out),
            Event::ClientClosed { closing } => {
                self.closed = true;
                out.wake = true;
                if closing && matches!(self.stage, Stage::Held(_)) {
                    self.lose(Loss::Closed, &mut out);
                }
            }
        }
        out
    }

    /// Stamps of two servers are not compared. A hold is renewed at once, so that a loss is heard
    /// of within a round trip, and a grant that nobody has taken yet is confirmed before it is
    /// handed out. A grant by message counts from the last request that was answered before, which
    /// was sent before the grant was made. Where the server before may still be heard of `late`,
    /// answers to earlier requests do not count, and a message is a hint: the new server is asked
    /// before a grant is handed out.
    fn server_changed(&mut self, late: bool, now: Moment, rules: &Rules, out: &mut Effects) {
        if rules.has(Rule::NewEra) {
            self.known = Known::by_request(self.known.sent);
            self.news.stamp = self.news.stamp.min(OLDEST);
        }
        if late {
            self.news.changed = now;
        }
        if let Stage::Held(lease) | Stage::Leaving(lease) = &mut self.stage
            && lease.due < lease.deadline
        {
            lease.due = lease.due.min(now);
            out.due = lease.due;
        }
        if let Stage::Granted(lease) = self.stage
            && !rules.upgrade
        {
            self.enter(Stage::Granted(lease.confirm_first(true)));
        }
    }

    pub(super) const fn enter(&mut self, stage: Stage) {
        self.stage = stage;
    }

    /// Notes a reply about a hold or place, and returns whether it is newer than what is known.
    /// Older information never overwrites newer information (rule 4).
    pub(super) fn is_news(&mut self, stamp: u64, sent: Moment, now: Moment, rules: &Rules) -> bool {
        self.heard = now;
        if self.is_late(sent) && rules.has(Rule::LateAnswers) {
            return false;
        }
        self.known = Known::by_reply(sent, stamp);
        if !matches!(self.stage, Stage::Asking | Stage::Queued | Stage::Granted(_)) {
            return false;
        }
        // An answer to a request that was sent after the newer stamp had been applied is newer
        // still: the server's clock was set back (H49).
        if stamp < self.news.stamp && sent < self.news.applied_at && rules.has(Rule::ByStamp) {
            return false;
        }
        self.note(stamp, now);
        true
    }

    /// Whether the answer to a request that was sent then may be of a node that has been replaced.
    pub(super) fn is_late(&self, sent: Moment) -> bool {
        sent < self.news.changed
    }

    pub(super) const fn note(&mut self, stamp: u64, now: Moment) {
        self.news.stamp = stamp;
        self.news.applied_at = now;
    }

    fn answered(
        &mut self,
        reply: AcquireReply,
        (stamp, sent, now): (u64, Moment, Moment),
        rules: &Rules,
        out: &mut Effects,
    ) {
        let grant = match reply {
            AcquireReply::Fresh => Grant {
                token: if rules.shared { 0 } else { stamp },
                left: rules.first_lease,
                claim: false,
                weight: None,
                delay: None,
            },
            AcquireReply::Granted(grant) => grant,
            AcquireReply::Queued { wake, more } => {
                out.waits = true;
                return self.queued(wake, more, (stamp, sent, now), rules, out);
            }
            AcquireReply::Late => {
                self.heard = now;
                return;
            }
            _ => return, // an error, which the caller reports
        };
        self.reported((grant, stamp), (sent, now), rules, out);
    }

    /// A reply says that the attempt holds. If it may be of a node that has been replaced, it is
    /// reason enough to ask the one that is there now.
    pub(super) fn reported(
        &mut self,
        (grant, stamp): (Grant, u64),
        (sent, now): (Moment, Moment),
        rules: &Rules,
        out: &mut Effects,
    ) {
        if self.is_news(stamp, sent, now, rules) {
            self.granted(grant, sent, now, rules, out);
        } else if self.is_late(sent) {
            self.ask_again(out);
        }
    }

    pub(super) fn queued(
        &mut self,
        wake: Option<Duration>,
        more: bool,
        (stamp, sent, now): (u64, Moment, Moment),
        rules: &Rules,
        out: &mut Effects,
    ) {
        if self.is_news(stamp, sent, now, rules) {
            self.enter(Stage::Queued);
        }
        let wake = if more { Some(Duration::ZERO) } else { wake };
        out.look_at = wake.map(|wake| LookAt {
            when: now + wake,
            stamp,
            sent: Some(sent),
            is_next_step: more,
        });
    }

    /// The server reports that the attempt holds.
    pub(super) fn granted(
        &mut self,
        grant: Grant,
        sent: Moment,
        now: Moment,
        rules: &Rules,
        out: &mut Effects,
    ) {
        // After a backward step of its clock the server may report more than a lease (H49).
        let left = grant.left.min(rules.first_lease);
        let from = if rules.has(Rule::ReplyStart) { sent } else { now };
        let deadline = from + left.saturating_sub(rules.drift.margin(left));
        let start = now + grant.delay.unwrap_or_default(); // no earlier than the server's
        let weight = grant.weight.unwrap_or(rules.weight);
        // That of an upgrade is its base's, which is confirmed by itself.
        let claim = grant.claim && !rules.upgrade;
        let lease = Lease::new((grant.token, weight), start, deadline, claim, left);
        self.grant(lease, now, rules, out);
    }

    fn grant(&mut self, lease: Lease, now: Moment, rules: &Rules, out: &mut Effects) {
        // Otherwise the grant is only a hint (rule 5), or its token is below the floor: another
        // acquire finds out.
        let good = now < lease.deadline && (rules.floor == 0 || lease.token > rules.floor);
        self.enter(if good {
            Stage::Granted(lease)
        } else {
            Stage::Asking
        });
        out.wake = true;
    }

    pub(super) fn ask_again(&mut self, out: &mut Effects) {
        if matches!(self.stage, Stage::Queued | Stage::Granted(_)) {
            self.enter(Stage::Asking);
            out.wake = true;
        }
    }

    fn told(&mut self, message: Message, now: Moment, rules: &Rules, out: &mut Effects) {
        let stamp = message.stamp();
        let new = stamp >= self.news.stamp || !rules.has(Rule::ByStamp);
        let waits = match self.stage {
            Stage::Asking | Stage::Queued => true,
            // A newer grant means that the one nobody has taken yet has lapsed. The same one again
            // is no news.
            Stage::Granted(_) => stamp > self.news.stamp,
            _ => false,
        };
        match message {
            Message::Grant {
                token, window, delay, ..
            } if new && waits => {
                self.note(stamp, now);
                let window = window.min(rules.lease);
                let (deadline, stepped) = claim_deadline(window, stamp, self.known, now, rules);
                let weight = rules.weight;
                let lease = Lease::new((token, weight), now + delay, deadline, !rules.upgrade, window);
                let is_hint = self.news.changed > NOBODY && !rules.upgrade;
                self.grant(lease.confirm_first(stepped || is_hint), now, rules, out);
            }
            Message::Behind { left, .. } => {
                // The attempt is in the queue, even if the reply that reports it has not arrived
                // yet.
                if new && self.stage == Stage::Asking {
                    self.note(stamp, now);
                    self.enter(Stage::Queued);
                }
                out.look_at = Some(LookAt {
                    when: now + left,
                    stamp,
                    sent: None,
                    is_next_step: false,
                });
            }
            Message::Forced { .. } if new => match self.stage {
                Stage::Held(_) => {
                    self.lose(Loss::Forced, out);
                    self.end_lost(NOT_KEPT, out);
                }
                Stage::Asking | Stage::Queued | Stage::Granted(_) => {
                    self.note(stamp, now);
                    self.enter(Stage::Asking);
                    out.wake = true;
                }
                _ => {}
            },
            // About an earlier hold; or about a whole generation, which is an event of its own.
            Message::Grant { .. } | Message::Forced { .. } | Message::Over { .. } => {}
        }
    }

    /// Returns what the acquire future has to do next. Hands out a grant that is good.
    fn next(&mut self, now: Moment, rules: &Rules) -> Step {
        if self.closed {
            return Step::Closed;
        }
        match self.stage {
            Stage::Asking => Step::Ask,
            Stage::Granted(lease) if now >= lease.deadline && rules.has(Rule::NotHandedOutLate) => {
                self.enter(Stage::Asking);
                Step::Ask
            }
            Stage::Granted(lease) if lease.needs_confirming(now, rules) => Step::Confirm(lease.token),
            Stage::Granted(lease) => self.hand_out(lease, now, rules),
            Stage::Passed { left, more } => Step::Pass { left, more },
            Stage::Reset => Step::Reset,
            Stage::Queued | Stage::Held(_) | Stage::Leaving(_) | Stage::Ending { .. } | Stage::Gone(_) => {
                Step::Wait
            }
        }
    }

    fn hand_out(&mut self, mut lease: Lease, now: Moment, rules: &Rules) -> Step {
        lease.hand_out(now, rules);
        self.enter(Stage::Held(lease));
        Step::HandOut
    }

    /// Returns why the hold ended while its guard existed.
    pub(crate) const fn loss(&self) -> Option<Loss> {
        self.loss
    }

    pub(crate) const fn is_closed(&self) -> bool {
        self.closed
    }

    /// Returns the lease, if a guard exists.
    pub(crate) const fn held(&self) -> Option<&Lease> {
        match &self.stage {
            Stage::Held(lease) => Some(lease),
            _ => None,
        }
    }

    /// Returns the lease of a claim that was left and has to be confirmed.
    pub(crate) const fn leaving(&self) -> Option<&Lease> {
        match &self.stage {
            Stage::Leaving(lease) => Some(lease),
            _ => None,
        }
    }

    /// Returns whether the attempt is in the queue, as far as the client knows. `None`: it no
    /// longer waits.
    pub(crate) const fn is_queued(&self) -> Option<bool> {
        match self.stage {
            Stage::Asking => Some(false),
            Stage::Queued => Some(true),
            _ => None,
        }
    }

    /// Returns whether nothing of it is left at the server, as far as the client knows.
    pub(crate) const fn is_gone(&self) -> bool {
        matches!(self.stage, Stage::Gone(_))
    }

    /// It asks, has a place, or has a grant that nobody has taken yet.
    pub(crate) const fn waits_for_a_grant(&self) -> bool {
        matches!(self.stage, Stage::Asking | Stage::Queued | Stage::Granted(_))
    }

    /// Returns the result of its ends, if it is known.
    pub(crate) const fn ended(&self) -> Option<Ended> {
        match self.stage {
            Stage::Gone(ended) => ended,
            _ => None,
        }
    }

    /// Returns the last reply about it: when its request was sent, and its stamp, in microseconds
    /// of the server.
    pub(crate) fn last_reply(&self) -> Option<(Moment, u64)> {
        self.known.reply()
    }

    /// Returns when the last usable answer came.
    pub(crate) const fn heard(&self) -> Moment {
        self.heard
    }

    /// Returns whether its future still waits for a grant. If not, no acquire may be sent: its end may
    /// have been sent without a tombstone.
    pub(crate) const fn is_acquiring(&self) -> bool {
        matches!(self.stage, Stage::Asking | Stage::Queued | Stage::Granted(_))
    }

    /// Returns whether a copy of its acquire may be under way.
    pub(crate) const fn is_asked(&self) -> bool {
        self.under_way.acquires > 0
    }

    /// Returns the latest `not_after` of its acquires, in milliseconds of the server; 0: none.
    pub(crate) const fn not_after(&self) -> u64 {
        self.under_way.not_after
    }

    /// No acquire of this attempt was handed over to a connection so far.
    pub(super) const fn was_never_asked(&self) -> bool {
        !self.under_way.asked
    }

    /// Returns until when a copy of its acquire may still be under way, which an end has to name;
    /// 0: none is.
    pub(crate) const fn tombstone(&self, rules: &Rules) -> u64 {
        if self.is_asked() && rules.has(Rule::Tombstone) {
            self.under_way.not_after
        } else {
            0
        }
    }

    /// Returns whether any answer or message was applied. If so, a grant may have been confirmed by
    /// a request whose answer was lost.
    pub(crate) fn has_heard(&self) -> bool {
        self.stage != Stage::Asking || self.news.stamp > 0
    }

    /// Returns the latch generation that it waits for, if known, and whether it was answered.
    pub(crate) const fn latch(&self) -> &Waited {
        &self.latch
    }
}

/// For the model, which has to see that two states differ in their past only.
#[cfg(test)]
impl State {
    /// Forgets what no event can reveal any longer: when the server last answered, how often an end
    /// was sent; with `news` the newest stamp, because nothing older is under way; with `started`
    /// the first send, because a later one counts.
    pub(super) fn forget_past(&mut self, past: Moment, news: bool, started: bool) {
        self.heard = past;
        self.gave_up = false;
        self.ends = 0;
        if news {
            self.news = News {
                stamp: 0,
                applied_at: past,
                ..self.news
            };
        }
        if started && self.known.reply().is_none() {
            self.known = Known::by_request(past);
        }
    }
}
