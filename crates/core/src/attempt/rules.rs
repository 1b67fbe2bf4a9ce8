//! The options and rules that the transitions of an attempt depend on.

use std::sync::Arc;
use std::time::Duration;

use super::spec::{Mode, Spec};
use crate::base::clock::Moment;
use crate::types::options::{Drift, Renew};

/// A rule that can be switched off, so that the model can show that it is needed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[cfg_attr(not(test), allow(dead_code, reason = "only the model names all of them"))]
pub(crate) enum Rule {
    /// Replies and messages are applied by the server's stamp, not by arrival.
    ByStamp,
    /// A grant by reply counts from before its request was sent.
    ReplyStart,
    /// A grant by message counts from when it was made, as far as that is known.
    MessageStart,
    /// A grant by message of which too little is left is confirmed before it is handed out.
    ConfirmLate,
    /// A grant that is over is not handed out.
    NotHandedOutLate,
    /// The deadline is looked at before a renewal is applied.
    DeadlineFirst,
    /// The answer to a renewal counts only for the grant that it named.
    TokenNamed,
    /// An attempt that is given up before any answer is ended all the same.
    EndAsking,
    /// An attempt that is given up after it was granted is ended.
    EndGranted,
    /// An end names the last `not_after` while a copy of the acquire may be under way.
    Tombstone,
    /// A tick reports a grant whose message was lost, or a place that is gone.
    TickReplays,
    /// Stamps of another server are not compared with those of the one before.
    NewEra,
    /// The answer to a request that was sent to a server before it was replaced does not count.
    LateAnswers,
}

/// In place of a moment: what an attempt holds is free as soon as it is ended.
pub(crate) const NOT_KEPT: Moment = Moment::from_nanos(0);

/// What the transitions depend on beside the state: options of the attempt and of the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(
    clippy::struct_excessive_bools,
    reason = "independent options, not a state in disguise"
)]
pub(crate) struct Rules {
    pub(crate) lease: Duration,
    /// The lease of a grant, which may be longer than that of a renewal.
    pub(crate) first_lease: Duration,
    /// It holds for at least this long from its start.
    pub(crate) at_least: Option<Duration>,
    /// The keeper renews it.
    pub(crate) renews: bool,
    pub(crate) max_hold: Option<Duration>,
    /// The token must be above it; 0: any.
    pub(crate) floor: u64,
    pub(crate) weight: u32,
    /// It has no token.
    pub(crate) shared: bool,
    /// It upgrades a hold, which is renewed separately.
    pub(crate) upgrade: bool,
    /// `Some(true)` if it changes a latch, `Some(false)` if it only waits for one.
    pub(crate) latch: Option<bool>,
    pub(crate) drift: Drift,
    /// User code may block the keeper's thread, so a claim is confirmed before it is handed out.
    pub(crate) same_thread: bool,
    /// The rules that are switched off, one bit each.
    pub(crate) off: u16,
}

impl Rules {
    pub(crate) fn of(spec: &Spec, drift: Drift, same_thread: bool) -> Self {
        Self {
            lease: spec.lease,
            first_lease: spec.first_lease(),
            at_least: spec.at_least,
            renews: spec.renew == Renew::Watchdog,
            max_hold: spec.max_hold,
            floor: spec.floor(),
            weight: spec.weight(),
            shared: spec.is_shared(),
            upgrade: matches!(spec.mode, Mode::Upgrade(..)),
            latch: spec.latch().map(|asked| asked.changes()),
            drift,
            same_thread,
            off: 0,
        }
    }

    /// Returns whether this rule is on.
    pub(crate) const fn has(&self, rule: Rule) -> bool {
        self.off & (1 << rule as u16) == 0
    }

    /// The same without this rule.
    #[cfg(test)]
    pub(crate) const fn without(mut self, rule: Rule) -> Self {
        self.off |= 1 << rule as u16;
        self
    }
}

/// What all attempts of a handle share: the spec, and the rules that follow from it.
#[derive(Debug)]
pub(crate) struct Plan {
    spec: Spec,
    pub(crate) rules: Rules,
}

impl Plan {
    /// `same_thread`: see [`Rules`].
    pub(crate) fn new(spec: Spec, drift: Drift, same_thread: bool) -> Arc<Self> {
        let rules = Rules::of(&spec, drift, same_thread);
        Arc::new(Self { spec, rules })
    }

    /// Returns the plan for another spec of the same client.
    pub(crate) fn with(&self, spec: Spec) -> Arc<Self> {
        Self::new(spec, self.rules.drift, self.rules.same_thread)
    }

    /// Returns the plan for this weight.
    pub(crate) fn with_weight(self: &Arc<Self>, weight: u32) -> Arc<Self> {
        if weight == self.weight() {
            return Arc::clone(self);
        }
        self.with(self.spec.with_weight(weight))
    }
}

impl std::ops::Deref for Plan {
    type Target = Spec;

    fn deref(&self) -> &Spec {
        &self.spec
    }
}
