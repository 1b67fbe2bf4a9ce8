//! Forgets what cannot matter any more, so that worlds that differ only in their past are one.

use std::time::Duration;

use super::bounds::{Bounds, Id, START, TICK, TICK_US};
use super::world::{By, Life, Packet, Query, Sent, Slot, Stamp, World};
use crate::attempt::event::Ended;
use crate::attempt::lease::{Known, Lease};
use crate::attempt::rules::{Rule, Rules};
use crate::attempt::state::{Stage, State};
use crate::base::clock::Moment;

/// How much earlier than the server a client believes a lease to end.
const MARGIN: Duration = Duration::from_millis(2);

impl World {
    /// Drops what cannot matter any more, so that fewer worlds differ.
    pub(super) fn tidy(&mut self, b: &Bounds) {
        let slots = &self.slots;
        self.net
            .retain(|packet| packet.is_request() || is_awaited(slots, packet));
        for packet in &mut self.net {
            if let Packet::Acquire { id, sent, .. } = packet
                && slots[usize::from(*id)].sent != Some(Sent::Ask(*sent))
            {
                *sent = 0; // nobody awaits its answer
            }
        }
        self.net.sort_unstable();
        self.net.dedup();
        for id in b.ids() {
            self.tidy_slot(b, id);
        }
    }

    fn tidy_slot(&mut self, b: &Bounds, id: Id) {
        let now = self.moment();
        let held = self.hold(id).map(|hold| hold.at);
        let replies = self.net.iter().filter(|packet| packet.is_about(id));
        let stamps: Vec<u64> = replies.filter_map(Packet::stamp).map(Stamp::micros).collect();
        let rules = b.rules(id);
        // A stamp may be compared with one of another server, whose clock is behind.
        let (may_switch, stamp) = (self.left.switches > 0, self.stamp().micros());
        let slot = self.at(id);
        if slot.life != Life::Begun {
            return;
        }
        let keeps = may_switch || slot.state.news.stamp > stamp;
        tidy_state(&mut slot.state, now, (&stamps, keeps), &rules);
        if held != Some(slot.told) || !slot.waits() {
            slot.told = Stamp::default();
        }
        if slot.state.stage != Stage::Queued || !b.timers {
            slot.timer = None;
        }
        if slot.guard().is_none() {
            slot.was_over = false;
        }
        if !slot.is_ending() || b.forget == 0 {
            slot.given_up = 0;
        }
    }
}

/// Whether what the server said still reaches somebody to whom it makes a difference.
fn is_awaited(slots: &[Slot], packet: &Packet) -> bool {
    match packet {
        Packet::Answer { id, sent, .. } => {
            let asked = slots[usize::from(*id)].sent;
            asked == Some(Sent::Ask(*sent))
                || matches!(asked, Some(Sent::Batch(_, Some(then))) if then == *sent)
        }
        Packet::Ticked {
            id, by, query, sent, ..
        } => {
            let slot = &slots[usize::from(*id)];
            match by {
                By::Future => slot.sent == Some(Sent::Confirm(*sent)),
                By::Keeper if *query == Query::Place => slot.waits(),
                By::Keeper => slot.guard().is_some(),
            }
        }
        Packet::Done { id, .. } => slots[usize::from(*id)].is_ending(),
        Packet::Grant { id, .. } | Packet::Behind { id, .. } => slots[usize::from(*id)].waits(),
        _ => true,
    }
}

/// Forgets what no event can tell any more. `stamps` are those of what is under way to the attempt;
/// `keeps`: others may be older than the newest that it knows.
fn tidy_state(state: &mut State, now: Moment, (stamps, keeps): (&[u64], bool), rules: &Rules) {
    if let Stage::Gone(ended) = state.stage {
        let unknown = ended.filter(|ended| *ended == Ended::Unknown);
        *state = State::new(START);
        state.enter(Stage::Gone(unknown));
        return;
    }
    let waits = matches!(state.stage, Stage::Asking | Stage::Queued | Stage::Granted(_));
    if state.under_way.acquires == 0 {
        state.under_way.not_after = 0;
    }
    if let Stage::Ending { .. } = state.stage {
        state.loss = None;
        state.under_way.acquires = state.under_way.acquires.min(1);
        state.under_way.renewal = false;
    }
    if !waits {
        state.under_way.refresh = false;
        state.known = Known::by_request(START);
    }
    if let Some((sent, stamp)) = state.known.reply()
        && rules.has(Rule::ByStamp)
    {
        // What counts is by how much the server's clock was ahead of the sending.
        let lag = stamp / TICK_US * TICK_US;
        let since = u64::try_from(sent.since(START).as_micros()).unwrap_or(u64::MAX);
        let behind = Duration::from_micros(since.saturating_sub(lag));
        state.known = Known::by_reply(START + behind, lag.saturating_sub(since));
    }
    let older = stamps.iter().filter(|stamp| **stamp < state.news.stamp).max();
    match older {
        _ if waits && keeps => {}
        Some(older) if waits => state.news.stamp = older + 1,
        _ => state.news.stamp = 0,
    }
    let quiet = state.news.stamp == 0;
    state.forget_past(START, quiet, !waits);
    if let Stage::Granted(lease) | Stage::Held(lease) = &mut state.stage {
        tidy_lease(lease, now);
    }
}

/// Nothing happens between two ticks but what the keeper does, so deadlines are those of whole
/// ticks, less the margin.
fn tidy_lease(lease: &mut Lease, now: Moment) {
    let since = (lease.deadline + MARGIN).since(START).as_nanos() / TICK.as_nanos();
    lease.deadline = START + TICK * u32::try_from(since).unwrap_or(u32::MAX) - MARGIN;
    if lease.start <= now {
        lease.start = START;
    }
}
