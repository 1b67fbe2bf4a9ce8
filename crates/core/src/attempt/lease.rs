//! A hold as the client sees it: how long it is valid, and when it has to be renewed.

use std::time::Duration;

use super::rules::{Rule, Rules};
use crate::base::clock::{Moment, nanos};

/// A message whose grant lies this much after its receipt proves a clock step; less may be drift.
const STEP: Duration = Duration::from_millis(2);

/// A hold as the client sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Lease {
    /// 0: it is shared.
    pub(crate) token: u64,
    /// What it has of the capacity.
    pub(crate) weight: u32,
    /// When what was granted may start.
    pub(crate) start: Moment,
    /// From this moment on the hold is not valid.
    pub(crate) deadline: Moment,
    /// When the keeper has to look at it again.
    pub(crate) due: Moment,
    /// A hand-off that was not renewed yet.
    pub(crate) claim: bool,
    /// No renewal reaches past this.
    cap: Moment,
    /// How long the grant was for, nanoseconds; zero once it was confirmed.
    length: u64,
    /// Renew before handing it out.
    confirm_first: bool,
    /// Another attempt is taking its place at the server.
    pub(super) converting: bool,
}

impl Lease {
    /// A grant that can be relied on until `deadline`.
    pub(super) fn new(
        (token, weight): (u64, u32),
        start: Moment,
        deadline: Moment,
        claim: bool,
        length: Duration,
    ) -> Self {
        Self {
            token,
            weight,
            start,
            deadline,
            due: Moment::NEVER,
            claim,
            cap: Moment::NEVER,
            length: nanos(length),
            confirm_first: false,
            converting: false,
        }
    }

    pub(super) const fn confirm_first(mut self, first: bool) -> Self {
        self.confirm_first = first;
        self
    }

    /// Half of what the grant was for.
    const fn half(&self) -> Duration {
        Duration::from_nanos(self.length / 2)
    }

    /// Three quarters of it.
    const fn three_quarters(&self) -> Duration {
        Duration::from_nanos(self.length / 4 * 3)
    }

    /// Returns how long it is still valid at `now`.
    pub(crate) fn left(&self, now: Moment) -> Duration {
        self.deadline.since(now)
    }

    /// The latest moment that any renewal reaches.
    pub(crate) const fn cap(&self) -> Moment {
        self.cap
    }

    /// Returns whether it lasts until the maximum hold, and no renewal can prolong it.
    pub(super) fn is_capped(&self) -> bool {
        self.deadline == self.cap
    }

    /// Whether it has to be renewed before it is handed out.
    pub(super) fn needs_confirming(&self, now: Moment, rules: &Rules) -> bool {
        self.confirm_first
            || (self.claim && rules.same_thread)
            || (self.left(now) < self.half() && rules.has(Rule::ConfirmLate))
    }

    /// Its guard is handed out. An upgrade has no hold of its own: there is nothing to renew, and
    /// nothing that ends before its base has taken it over, however long that takes. If the keeper
    /// asked for it, it would hear that there is none, and end the upgrade, which undoes it.
    pub(super) fn hand_out(&mut self, now: Moment, rules: &Rules) {
        if rules.upgrade {
            (self.deadline, self.due) = (Moment::NEVER, Moment::NEVER);
            return;
        }
        if let Some(most) = rules.max_hold {
            self.cap_at(now.max(self.start) + most);
        }
        self.schedule(now, rules);
    }

    /// No renewal reaches past this moment.
    pub(super) fn cap_at(&mut self, cap: Moment) {
        self.cap = self.cap.min(cap);
        self.deadline = self.deadline.min(self.cap);
    }

    /// Applies a renewal for `left` by a request that was sent at `sent`.
    pub(super) fn renew(&mut self, left: Duration, sent: Moment, rules: &Rules) {
        let deadline = sent + left.saturating_sub(rules.drift.margin(left));
        self.deadline = self.deadline.max(deadline.min(self.cap));
        self.claim = false;
        self.confirm_first = false;
        self.length = 0;
    }

    /// Sets when the keeper has to look at it again.
    pub(super) fn schedule(&mut self, now: Moment, rules: &Rules) {
        self.due = if self.claim {
            // After a quarter of the window, and not of what is left: three quarters, three round trips, are left for the
            // answer, and for a pause in which nothing can be sent.
            now.max(self.deadline - self.three_quarters())
        } else if (rules.renews || now < self.start) && self.deadline < self.cap {
            // Before its start there is no guard that could renew it.
            // A third of the lease after it was last renewed.
            self.deadline - (rules.lease * 2 / 3).min(self.left(now))
        } else {
            self.deadline
        };
    }

    /// A renewal was answered, or was not: the same must not be due at once. While anything is left, it is tried again.
    pub(super) fn try_again(&mut self, now: Moment, rules: &Rules) {
        self.schedule(now, rules);
        let pause = (rules.lease / 24)
            .min(self.left(now) / 8)
            .max(Duration::from_millis(1));
        self.due = self.due.max(now + pause).min(self.deadline);
    }

    /// Whether it is to be renewed now. What is due soon comes along, so that holds of one lease end up in the same
    /// requests; a claim does not, as its critical section may be over before it has to be confirmed.
    pub(super) fn is_due(&self, now: Moment, rules: &Rules) -> bool {
        let soon = if self.claim {
            Duration::ZERO
        } else {
            rules.lease / 6
        };
        self.due < self.deadline && self.due <= now + soon
    }
}

/// What an attempt knows of the server's clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Known {
    /// When the request of the last reply was sent. Before the first reply: when the first request
    /// was sent.
    pub(super) sent: Moment,
    /// The stamp of that reply, microseconds of the server.
    stamp: u64,
}

impl Known {
    /// In place of a stamp: there was no reply.
    const NO_REPLY: u64 = u64::MAX;

    pub(super) const fn by_request(sent: Moment) -> Self {
        Self::by_reply(sent, Self::NO_REPLY)
    }

    pub(super) const fn by_reply(sent: Moment, stamp: u64) -> Self {
        Self { sent, stamp }
    }

    /// The last reply: when its request was sent, and its stamp.
    pub(super) fn reply(self) -> Option<(Moment, u64)> {
        (self.stamp != Self::NO_REPLY).then_some((self.sent, self.stamp))
    }

    /// Returns how long after the last reply this stamp was made; `None`: there was no reply.
    pub(super) fn since_reply(self, stamp: u64) -> Option<Duration> {
        let (_, before) = self.reply()?;
        Some(Duration::from_micros(stamp.saturating_sub(before)))
    }
}

/// Until when a grant by message can be relied on, and whether the server's clock was set forward. A message has no send
/// instant of its own: it counts from the last reply or, if there was none, from the first request.
pub(super) fn claim_deadline(
    window: Duration,
    stamp: u64,
    known: Known,
    receipt: Moment,
    rules: &Rules,
) -> (Moment, bool) {
    let mut start = known.sent;
    let mut stepped = false;
    if let Some(since) = known.since_reply(stamp) {
        start = start + since;
        stepped = start > receipt + STEP;
    }
    if !rules.has(Rule::MessageStart) {
        start = receipt;
    }
    let deadline = start.min(receipt) + window.saturating_sub(rules.drift.margin(window));
    (deadline, stepped)
}
