//! What may happen next, and what it changes.

use super::bounds::{Bounds, Id, Law, Tick, ticks};
use super::world::{Answer, Life, Packet, Sent, Slot, World};
use crate::attempt::state::Stage;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action {
    Time,
    Start(Id),
    Deliver(Packet),
    /// It happens, and a copy stays under way.
    Double(Packet),
    Lose(Packet),
    /// The future is polled.
    Poll(Id),
    /// What the future awaits does not come in time.
    TimeOut(Id),
    /// The keeper looks at it.
    Keep(Id),
    /// The acquires that wait for others go.
    SendBatch,
    /// The future or the guard is dropped.
    Drop(Id),
    EndAgain(Id),
    Forget(Id),
    Crash(Id),
    /// Another server takes over.
    Switch,
}

impl World {
    pub(super) fn new(b: &Bounds) -> Self {
        let mut world = Self::empty(b);
        for id in 0..b.contended {
            world.apply(b, Action::Start(id));
            while let Some(packet) = world.net.first().copied() {
                world.apply(b, Action::Deliver(packet));
            }
            world.apply(b, Action::Poll(id));
        }
        world
    }

    pub(super) fn enabled(&self, b: &Bounds, actions: &mut Vec<Action>) {
        for packet in self.net.iter().copied() {
            actions.push(Action::Deliver(packet));
            // A tick's lost request and its lost reply look alike to everybody but the server.
            if self.left.lost > 0 && may_lose(b, &packet) {
                actions.push(Action::Lose(packet));
            }
            if self.left.doubled > 0 && may_double(b, &packet) {
                actions.push(Action::Double(packet));
            }
        }
        let mut may_start = true;
        for id in b.ids() {
            if self.slot(id).life == Life::New {
                if may_start && self.is_free(b, id) {
                    actions.push(Action::Start(id));
                }
                may_start = !b.in_order;
            } else if self.slot(id).life == Life::Begun {
                self.enabled_for(b, id, actions);
            }
        }
        if !self.waiting_for_others().is_empty() {
            actions.push(Action::SendBatch);
        }
        if self.now < b.last_tick {
            actions.push(Action::Time);
        }
        let may_switch = if b.passed_on {
            self.now < b.last_tick
        } else {
            self.now > self.behind
        };
        if self.left.switches > 0 && may_switch {
            actions.push(Action::Switch);
        }
    }

    /// Whether an attempt may begin.
    fn is_free(&self, b: &Bounds, id: Id) -> bool {
        let want = b.want(id);
        let after = want.after.is_none_or(|other| {
            let slot = self.slot(other);
            slot.is_ending() || slot.is_gone()
        });
        let shared = |base: Id| self.valid(base).is_some_and(|lease| lease.token == 0);
        after && want.base.is_none_or(shared)
    }

    fn enabled_for(&self, b: &Bounds, id: Id, actions: &mut Vec<Action>) {
        let slot = self.slot(id);
        match slot.state.stage {
            Stage::Asking if slot.sent.is_none() => actions.push(Action::Poll(id)),
            Stage::Granted(_) => actions.push(Action::Poll(id)),
            Stage::Queued if self.may_keep(b, id) => actions.push(Action::Keep(id)),
            Stage::Held(_) => {
                if self.may_keep(b, id) {
                    actions.push(Action::Keep(id));
                }
                actions.push(Action::Drop(id));
            }
            Stage::Ending { .. } => self.enabled_for_end(b, id, actions),
            _ => {}
        }
        if slot.waits() {
            if b.cancel {
                actions.push(Action::Drop(id));
            }
            let early = self.left.timeouts > 0 && self.was_sent_before(id);
            if self.is_unanswerable(id) || early {
                actions.push(Action::TimeOut(id));
            }
        }
        if self.left.crashes > 0 && slot.is_live() {
            actions.push(Action::Crash(id));
        }
    }

    /// Whether the keeper has anything to do for it.
    fn may_keep(&self, b: &Bounds, id: Id) -> bool {
        if self.keeper_is_under_way(id) {
            return false;
        }
        self.slot(id).guard().is_none_or(|lease| {
            let fresh = !lease.claim && lease.deadline + ticks(1) > self.moment() + ticks(b.lease);
            !fresh
        })
    }

    fn enabled_for_end(&self, b: &Bounds, id: Id, actions: &mut Vec<Action>) {
        let ends = |packet: &Packet| match packet {
            Packet::End { .. } | Packet::Done { .. } => packet.is_about(id),
            _ => false,
        };
        if self.is_under_way(ends) {
            return;
        }
        actions.push(Action::EndAgain(id));
        if b.forget > 0 && self.now >= self.slot(id).given_up + b.forget {
            actions.push(Action::Forget(id));
        }
    }

    /// Whether what the future awaits was sent in an earlier tick.
    fn was_sent_before(&self, id: Id) -> bool {
        match self.slot(id).sent {
            Some(Sent::Ask(at) | Sent::Confirm(at) | Sent::Batch(_, Some(at))) => at < self.now,
            _ => false,
        }
    }

    pub(super) fn apply(&mut self, b: &Bounds, action: Action) {
        match action {
            Action::Time => self.pass_time(b),
            Action::Start(id) => self.start(b, id),
            Action::Deliver(packet) => {
                self.take(packet);
                self.deliver(b, packet);
            }
            Action::Double(packet) => {
                self.left.doubled -= 1;
                self.deliver(b, packet);
            }
            Action::Lose(packet) => {
                self.left.lost -= 1;
                self.take(packet);
            }
            Action::Poll(id) => self.poll(b, id),
            Action::TimeOut(id) => {
                if !self.is_unanswerable(id) {
                    self.left.timeouts -= 1;
                }
                self.time_out(b, id);
            }
            Action::Keep(id) => self.keep(b, id),
            Action::SendBatch => self.send_batch(b),
            Action::Drop(id) => self.give_up(b, id),
            Action::EndAgain(id) => self.send_end(b, id),
            Action::Forget(id) => self.forget(b, id),
            Action::Crash(id) => {
                self.left.crashes -= 1;
                let slot = self.at(id);
                *slot = Slot::new();
                slot.life = Life::Crashed;
            }
            Action::Switch => {
                self.left.switches -= 1;
                if b.passed_on {
                    self.pass_time(b); // what is sent in the next tick is sent after the switch
                }
                self.switch(b);
            }
        }
        self.tidy(b);
        for id in b.ids() {
            let valid = self.valid(id).is_some();
            self.wrongs.revived |= valid && self.slot(id).was_over;
        }
    }

    fn pass_time(&mut self, b: &Bounds) {
        self.now += 1;
        if b.forget > 0 {
            self.keep_in_time(b);
        }
        for id in b.ids() {
            let over = self.slot(id).guard().is_some() && self.valid(id).is_none();
            self.at(id).was_over |= over;
        }
    }

    /// What the time for which an end is repeated counts on: the record is looked at, and nothing
    /// but an end is under way for long. A tick carries no `not_after`: one that came much later
    /// would refresh a place of nobody.
    fn keep_in_time(&mut self, b: &Bounds) {
        if b.laws.has(Law::Busy) {
            self.look_at_record(b);
        }
        let now = self.now;
        self.net
            .retain(|packet| packet.since().is_none_or(|since| since >= now));
    }

    fn deliver(&mut self, b: &Bounds, packet: Packet) {
        match packet {
            Packet::Acquire { id, sent, not_after } => {
                let answer = self.on_acquire(b, id, not_after);
                self.answer(id, sent, answer);
            }
            Packet::Batch { ids, sent, not_after } => {
                for id in ids {
                    let answer = self.on_batched(b, id, not_after);
                    self.answer(id, sent, answer.unwrap_or(Answer::Declined));
                }
            }
            Packet::Tick { id, query, by, sent } => {
                let answer = self.on_tick(b, id, query);
                let at = self.stamp();
                self.send(Packet::Ticked {
                    id,
                    query,
                    by,
                    sent,
                    at,
                    answer,
                });
            }
            Packet::End { id, not_after } => {
                let had = self.on_end(b, id, not_after);
                self.send(Packet::Done { id, had });
            }
            Packet::Answer { id, sent, at, answer } => self.on_answer(b, id, (sent, at), answer),
            Packet::Ticked {
                id,
                query,
                by,
                sent,
                at,
                answer,
            } => self.on_ticked(b, (id, query, by), (sent, at), answer),
            Packet::Done { id, had } => self.on_done(b, id, had),
            Packet::Grant {
                id,
                at,
                token,
                window,
            } => self.on_grant(b, id, (at, token), window),
            Packet::Behind { id, at, left } => self.on_behind(b, id, at, left),
        }
    }

    fn answer(&mut self, id: Id, sent: Tick, answer: Answer) {
        let at = self.stamp();
        self.send(Packet::Answer { id, sent, at, answer });
    }

    /// From here on no fault: what happens within one tick when everybody acts and the network is
    /// quicker than that.
    pub(super) fn fair_tick(&mut self, b: &Bounds) {
        // What goes together may come back, and go directly then.
        let rounds = if b.batched { 8 } else { 5 };
        for round in 0..rounds {
            for packet in self.net.clone() {
                self.apply(b, Action::Deliver(packet));
            }
            if !self.waiting_for_others().is_empty() {
                self.apply(b, Action::SendBatch);
            }
            for id in b
                .ids()
                .filter(|id| self.slot(*id).life == Life::Begun)
                .collect::<Vec<_>>()
            {
                self.act_fairly(b, id, round == 0);
            }
        }
    }

    fn act_fairly(&mut self, b: &Bounds, id: Id, first: bool) {
        if self.slot(id).waits() && self.is_unanswerable(id) {
            self.apply(b, Action::TimeOut(id));
        }
        match self.slot(id).state.stage {
            Stage::Asking if self.slot(id).sent.is_none() => self.apply(b, Action::Poll(id)),
            Stage::Granted(_) => self.apply(b, Action::Poll(id)),
            Stage::Queued if first && self.may_keep(b, id) => self.apply(b, Action::Keep(id)),
            Stage::Held(_) if !self.is_needed(b, id) => self.apply(b, Action::Drop(id)),
            Stage::Held(_) if self.may_keep(b, id) => self.apply(b, Action::Keep(id)),
            Stage::Ending { .. } => {
                let mut ends = Vec::new();
                self.enabled_for_end(b, id, &mut ends);
                if !ends.is_empty() {
                    self.apply(b, Action::EndAgain(id));
                }
            }
            _ => {}
        }
    }

    /// A guard that its task does not release before it has got more: another hold of the owner, or
    /// the upgrade.
    fn is_needed(&self, b: &Bounds, id: Id) -> bool {
        let owner = b.want(id).owner;
        b.ids().any(|other| {
            let want = b.want(other);
            let kin = want.base == Some(id) || (owner.is_some() && want.owner == owner);
            other != id && kin && self.slot(other).waits()
        })
    }
}

/// Whether the driver may run it twice. An acquire is not sent again on its own.
fn may_double(b: &Bounds, packet: &Packet) -> bool {
    let request = match packet {
        Packet::Acquire { .. } | Packet::Batch { .. } => !b.laws.has(Law::SentOnce),
        Packet::Tick { .. } | Packet::End { .. } => true,
        _ => false,
    };
    request || packet.is_message()
}

/// Where it is about ends that are not answered, nothing else gets lost.
fn may_lose(b: &Bounds, packet: &Packet) -> bool {
    b.forget == 0 || matches!(packet, Packet::End { .. } | Packet::Done { .. })
}
