//! The client around the state machine: the acquire future, the keeper, the inbox and the batcher.
//! It decides nothing about an attempt: every event goes to
//! [`State::on`](crate::attempt::state::State::on), and what that returns is done.

use std::time::Duration;

use super::bounds::{Bounds, Id, LATE_IN_TICK, Law, START, TICK, Tick, ticks};
use super::world::{Answer, By, Life, Packet, Query, Sent, Slot, Stamp, World};
use crate::attempt::event::{Asked, Effects, EndEvent, Ended, Event, HoldEvent, Step};
use crate::attempt::state::{Stage, State};
use crate::base::clock::Moment;
use crate::wire::message::Message;
use crate::wire::reply::{AcquireReply, Grant, Had, TickItem, Why};

/// The server's clock in milliseconds, as an acquire names its `not_after`.
fn server_ms(tick: Tick) -> u64 {
    u64::from(tick) * 1000
}

impl World {
    /// Something happens to an attempt now.
    fn on(&mut self, b: &Bounds, id: Id, event: Event) -> Effects {
        self.on_at(b, id, event, self.moment())
    }

    fn on_at(&mut self, b: &Bounds, id: Id, event: Event, at: Moment) -> Effects {
        let slot = self.at(id);
        let effects = slot.state.on(event, at, &b.rules(id));
        if effects.enqueue {
            self.at(id).given_up = self.now;
            self.send_end(b, id);
        }
        effects
    }

    pub(super) fn send_end(&mut self, b: &Bounds, id: Id) {
        self.on(b, id, Event::End(EndEvent::Sent));
        let until = self.slot(id).state.tombstone(&b.rules(id)) / 1000;
        let not_after = Tick::try_from(until).unwrap_or(Tick::MAX);
        self.send(Packet::End { id, not_after });
    }

    // ---- the acquire future ----

    pub(super) fn start(&mut self, b: &Bounds, id: Id) {
        let state = State::new(self.moment());
        *self.at(id) = Slot {
            life: Life::Begun,
            state,
            ..Slot::new()
        };
        self.poll(b, id);
    }

    pub(super) fn poll(&mut self, b: &Bounds, id: Id) {
        if let Some(base) = b.want(id).base {
            self.on(b, base, Event::Hold(HoldEvent::Looked));
            if self.valid(base).is_none() {
                self.give_up(b, id);
                self.give_up(b, base);
                return;
            }
        }
        let now = self.now;
        match self.on(b, id, Event::Polled).step {
            Step::Ask if self.slot(id).sent.is_none() => self.ask(b, id),
            Step::Confirm(token) if !matches!(self.slot(id).sent, Some(Sent::Confirm(_))) => {
                self.at(id).sent = Some(Sent::Confirm(now));
                self.send(Packet::Tick {
                    id,
                    query: Query::Hold { token },
                    by: By::Future,
                    sent: now,
                });
            }
            Step::HandOut => self.hand_out(b, id),
            _ => {}
        }
    }

    fn ask(&mut self, b: &Bounds, id: Id) {
        let (sent, not_after) = (self.now, self.now + b.grace);
        let asked = Event::Asked {
            not_after: server_ms(not_after),
        };
        self.on(b, id, asked);
        if b.batched {
            self.at(id).sent = Some(Sent::Batch(sent, None));
        } else {
            self.ask_directly(id, not_after);
        }
    }

    fn ask_directly(&mut self, id: Id, not_after: Tick) {
        let sent = self.now;
        self.at(id).sent = Some(Sent::Ask(sent));
        self.send(Packet::Acquire { id, sent, not_after });
    }

    /// Those whose acquires wait to go with others.
    pub(super) fn waiting_for_others(&self) -> Vec<Id> {
        let waits = |slot: &Slot| slot.life == Life::Begun && matches!(slot.sent, Some(Sent::Batch(_, None)));
        let all = self.slots.iter().zip(0..);
        all.filter(|(slot, _)| waits(slot)).map(|(_, id)| id).collect()
    }

    /// Sends the first two acquires that wait in one request; one alone goes directly.
    pub(super) fn send_batch(&mut self, b: &Bounds) {
        let sent = self.now;
        let mut limits = Vec::new();
        let mut together = self.waiting_for_others();
        together.truncate(2);
        for id in &together {
            if let Some(Sent::Batch(asked, _)) = self.slot(*id).sent {
                limits.push(asked + b.grace);
                self.at(*id).sent = Some(Sent::Batch(asked, Some(sent)));
            }
        }
        let least = b.laws.has(Law::LeastNotAfter);
        let limit = if least {
            limits.iter().min()
        } else {
            limits.iter().max()
        };
        match (&together[..], limit) {
            ([one, other], Some(not_after)) => self.send(Packet::Batch {
                ids: [*one, *other],
                sent,
                not_after: *not_after,
            }),
            ([one], Some(not_after)) => self.ask_directly(*one, *not_after),
            _ => {}
        }
    }

    fn hand_out(&mut self, b: &Bounds, id: Id) {
        let Some(lease) = self.slot(id).guard().copied() else {
            return;
        };
        let now = self.moment();
        self.at(id).sent = None;
        self.wrongs.handed_out_late |= now >= lease.deadline;
        self.wrongs.hurried |= lease.claim && !is_confirmed_in_time(b, id, self.slot(id).state);
        let owner = b.want(id).owner;
        if lease.token > 0 {
            let (last, of) = self.last_guard;
            let again = owner.is_some() && owner == of && lease.token == last;
            self.wrongs.token_fell |= lease.token <= last && !again;
            self.last_guard = (lease.token, owner);
        }
        if let Some(base) = b.want(id).base {
            let upgraded = HoldEvent::Upgraded {
                token: lease.token,
                weight: u32::from(b.capacity),
            };
            self.on(b, base, Event::Hold(upgraded));
            self.on(b, id, Event::Hold(HoldEvent::Left));
        }
    }

    /// The future or the guard is dropped; with a base, its upgrade, too.
    pub(super) fn give_up(&mut self, b: &Bounds, id: Id) {
        for upgrade in b.ids().filter(|other| b.want(*other).base == Some(id)) {
            if self.slot(upgrade).waits() {
                self.give_up(b, upgrade);
            }
        }
        self.at(id).sent = None;
        self.on(b, id, Event::GivenUp);
    }

    /// Whether what the future awaits cannot come any more.
    pub(super) fn is_unanswerable(&self, id: Id) -> bool {
        let about = |packet: &Packet| packet.is_about(id);
        match self.slot(id).sent {
            None | Some(Sent::Batch(_, None)) => false,
            Some(Sent::Ask(at) | Sent::Batch(_, Some(at))) => !self.is_under_way(|packet| match packet {
                Packet::Acquire { sent, .. } | Packet::Batch { sent, .. } => about(packet) && *sent == at,
                Packet::Answer { .. } => about(packet),
                _ => false,
            }),
            Some(Sent::Confirm(_)) => !self.is_under_way(|packet| match packet {
                Packet::Tick { by, .. } | Packet::Ticked { by, .. } => about(packet) && *by == By::Future,
                _ => false,
            }),
        }
    }

    /// What the future awaits did not come in time.
    pub(super) fn time_out(&mut self, b: &Bounds, id: Id) {
        match self.at(id).sent.take() {
            Some(Sent::Confirm(_)) => {
                self.on(b, id, Event::ConfirmFailed);
            }
            // Nobody knows whether it was run: it is asked again directly, and one more copy may be
            // under way.
            Some(Sent::Batch(asked, _)) => {
                let not_after = asked + b.grace;
                if b.laws.has(Law::CopyCounted) {
                    let asked = Event::Asked {
                        not_after: server_ms(not_after),
                    };
                    self.on(b, id, asked);
                }
                self.ask_directly(id, not_after);
            }
            Some(Sent::Ask(_)) | None => {}
        }
    }

    // ---- the keeper ----

    /// Whether the keeper's request for this attempt is under way, or its answer.
    pub(super) fn keeper_is_under_way(&self, id: Id) -> bool {
        self.is_under_way(|packet| match packet {
            Packet::Tick { by, .. } | Packet::Ticked { by, .. } => packet.is_about(id) && *by == By::Keeper,
            _ => false,
        })
    }

    /// The keeper looks at an attempt: renews its hold, refreshes its place, or finds that it is
    /// lost.
    pub(super) fn keep(&mut self, b: &Bounds, id: Id) {
        let under_way = self.slot(id).state.under_way;
        if (under_way.renewal || under_way.refresh) && !self.keeper_is_under_way(id) {
            // Lost on the way, and that time is over.
            let renewal = under_way.renewal;
            self.on(b, id, Event::TickOver { renewal });
        }
        // As late as within this tick, unless that would be the end of it.
        let found = self.on_at(b, id, Event::Scanned, self.moment() + LATE_IN_TICK);
        let token = found.renew;
        let query = match token {
            Some(token) => Some(Query::Hold { token }),
            None if found.waits => self.on(b, id, Event::Refreshing).refresh.then_some(Query::Place),
            None => None,
        };
        if let Some(query) = query {
            let sent = self.now;
            self.send(Packet::Tick {
                id,
                query,
                by: By::Keeper,
                sent,
            });
        }
    }

    /// The end is no longer repeated.
    pub(super) fn forget(&mut self, b: &Bounds, id: Id) {
        self.on(b, id, Event::End(EndEvent::Over(Ended::Unknown)));
    }

    // ---- what comes in ----

    pub(super) fn on_done(&mut self, b: &Bounds, id: Id, had: bool) {
        if self.slot(id).is_ending() {
            let had = if had { Had::Hold } else { Had::Nothing };
            let ended = self.on(b, id, Event::End(EndEvent::Answered(had))).ended;
            let over = EndEvent::Over(ended.unwrap_or(Ended::Unknown));
            self.on(b, id, Event::End(over));
        }
    }

    pub(super) fn on_answer(&mut self, b: &Bounds, id: Id, (sent, at): (Tick, Stamp), answer: Answer) {
        if let Some(Sent::Batch(asked, _)) = self.slot(id).sent
            && answer == Answer::Declined
        {
            return self.ask_directly(id, asked + b.grace);
        }
        self.at(id).sent = None;
        self.note_told(id, answer);
        let reply = match answer {
            Answer::Granted { fresh: true, .. } => AcquireReply::Fresh,
            Answer::Granted {
                token, left, claim, ..
            } => AcquireReply::Granted(grant(token, left, claim)),
            Answer::Queued { wake } => AcquireReply::Queued {
                wake: wake.map(ticks),
                more: false,
            },
            Answer::Late => AcquireReply::Late,
            Answer::BaseEnded => AcquireReply::BaseEnded(Why::Ended),
            _ => AcquireReply::Ended,
        };
        let event = Event::Answered {
            reply: Some(reply),
            stamp: at.micros(),
            sent: super::bounds::moment(sent),
        };
        let effects = self.on(b, id, event);
        self.set_timer(id, at, &effects);
        match answer {
            // Errors for the caller: the future is done.
            Answer::Ended => {
                self.wrongs.ended_alive = true;
                self.give_up(b, id);
            }
            Answer::BaseEnded => self.give_up(b, id),
            _ => {}
        }
    }

    pub(super) fn on_ticked(
        &mut self,
        b: &Bounds,
        (id, query, by): (Id, Query, By),
        (sent, at): (Tick, Stamp),
        answer: Answer,
    ) {
        let item = match answer {
            Answer::Granted {
                token, left, claim, ..
            } => TickItem::Granted(grant(token, left, claim)),
            Answer::Queued { wake } => TickItem::Queued {
                wake: wake.map(ticks),
                more: false,
            },
            Answer::Held { left } => TickItem::Held(ticks(left)),
            Answer::Lost => TickItem::Lost(Why::Ended),
            _ => TickItem::Gone,
        };
        let asked = match query {
            Query::Place => Asked::Place,
            Query::Hold { token } => Asked::Hold {
                token,
                lease: ticks(b.lease),
            },
        };
        let event = Event::Ticked {
            asked,
            item,
            stamp: at.micros(),
            sent: super::bounds::moment(sent),
        };
        self.note_told(id, answer);
        let before = self.believes(id);
        let effects = self.on(b, id, event);
        self.set_timer(id, at, &effects);
        self.wrongs.disbelieved |= before && !self.believes(id) && answer == Answer::Lost;
        match by {
            By::Future => self.at(id).sent = None,
            By::Keeper => {
                let renewal = query != Query::Place;
                self.on(b, id, Event::TickOver { renewal });
            }
        }
    }

    /// Whether an attempt knows of an exclusive hold that the server has, too.
    fn believes(&self, id: Id) -> bool {
        let (Stage::Granted(own) | Stage::Held(own)) = self.slot(id).state.stage else {
            return false;
        };
        let theirs = self
            .hold(id)
            .filter(|hold| hold.end > self.server_now() && hold.token > 0);
        theirs.is_some_and(|hold| hold.token == own.token) && self.moment() < own.deadline
    }

    pub(super) fn on_grant(&mut self, b: &Bounds, id: Id, (at, token): (Stamp, u64), window: Tick) {
        let message = Message::Grant {
            counter: u64::from(id),
            token,
            stamp: at.micros(),
            window: ticks(window),
            delay: Duration::ZERO,
        };
        self.hears_of(id, at);
        self.on(b, id, Event::Told(message));
    }

    pub(super) fn on_behind(&mut self, b: &Bounds, id: Id, at: Stamp, left: Tick) {
        let message = Message::Behind {
            counter: u64::from(id),
            left: ticks(left),
            stamp: at.micros(),
        };
        let effects = self.on(b, id, Event::Told(message));
        self.set_timer(id, at, &effects);
    }

    fn note_told(&mut self, id: Id, answer: Answer) {
        if let Answer::Granted { at, .. } = answer {
            self.hears_of(id, at);
        }
    }

    fn hears_of(&mut self, id: Id, grant: Stamp) {
        if grant.is_of_or_after(self.slot(id).told) {
            self.at(id).told = grant;
        }
    }

    /// Another server has taken over: it has the whole record, and its clock is behind. Nothing
    /// that was under way arrives, unless nodes of a cluster pass it on: messages, and answers of a
    /// node that lives.
    pub(super) fn switch(&mut self, b: &Bounds) {
        self.behind += 1;
        let is_inbox_left = b.laws.has(Law::InboxLeft);
        let late = b.passed_on;
        self.net.retain(|packet| match packet {
            packet if packet.is_message() => late || !is_inbox_left,
            packet => late && packet.is_answer(),
        });
        for id in b
            .ids()
            .filter(|id| self.slot(*id).life == Life::Begun)
            .collect::<Vec<_>>()
        {
            self.on_at(
                b,
                id,
                Event::ServerChanged { late },
                super::bounds::moment(self.now),
            );
        }
    }

    /// An older word never moves the timer of a newer one.
    fn set_timer(&mut self, id: Id, at: Stamp, effects: &Effects) {
        let Some(look) = effects.look_at else { return };
        let slot = self.at(id);
        if slot.timer.is_none_or(|(by, _)| at >= by) {
            let since = look.when.since(START).as_nanos() / TICK.as_nanos();
            slot.timer = Some((at, Tick::try_from(since).unwrap_or(Tick::MAX)));
        }
    }
}

fn grant(token: u64, left: Tick, claim: bool) -> Grant {
    Grant {
        token,
        left: ticks(left),
        claim,
        weight: None,
        delay: None,
    }
}

/// Whether a guard that is handed out now is confirmed before it ends, if the keeper is prompt, and
/// a round trip takes a quarter of the claim window, which is the longest for which the window is
/// chosen.
fn is_confirmed_in_time(b: &Bounds, id: Id, mut state: State) -> bool {
    let rules = b.rules(id);
    let Some(due) = state.held().map(|lease| lease.due) else {
        return true;
    };
    if state.on(Event::Scanned, due, &rules).renew.is_none() {
        return false;
    }
    let trip = (ticks(b.window) / 4).saturating_sub(rules.drift.margin(Duration::ZERO));
    let now = due + trip;
    state.on(Event::Hold(HoldEvent::Looked), now, &rules);
    state.loss().is_none()
}
