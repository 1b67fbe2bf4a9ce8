//! What a client does: `acquire.rs`, `guard.rs`, `keeper.rs` and `inbox.rs` of the core, for one attempt.

use crate::protocol::{Answer, Attempt, Id, Packet, Phase, Protocol, State, Tick};

impl State {
    pub(crate) fn ask(&mut self, id: Id) {
        let now = self.now;
        let attempt = self.at(id);
        attempt.asked = now;
        attempt.unanswered |= 1 << now;
        self.send(Packet::Acquire { id, sent: now });
    }

    pub(crate) fn poll(&mut self, id: Id) {
        let now = self.now;
        let attempt = self.at(id);
        if now < attempt.deadline {
            attempt.phase = Phase::Held;
            let token = attempt.token;
            self.token_fell |= token <= self.last_guard;
            self.last_guard = token;
        } else {
            attempt.phase = Phase::Asking; // a poll never returns a lost guard
        }
    }

    pub(crate) fn tick(&mut self, id: Id) {
        let sent = self.now;
        let attempt = *self.attempt(id);
        self.send(match attempt.phase {
            Phase::Queued => Packet::Wait { id, sent },
            _ => Packet::Renew {
                id,
                token: attempt.token,
                sent,
            },
        });
    }

    pub(crate) fn give_up(&mut self, p: &Protocol, id: Id) {
        let now = self.now;
        let attempt = self.at(id);
        let silent = match attempt.phase {
            Phase::Granted | Phase::Confirming => !p.rules.end_granted,
            Phase::Asking => !p.rules.end_asking,
            _ => false,
        };
        if silent {
            *attempt = Attempt {
                phase: Phase::Gone,
                ..Attempt::default()
            };
        } else {
            attempt.phase = Phase::Ending;
            attempt.deadline = if p.forget > 0 { now } else { 0 };
            self.end(p, id);
        }
    }

    pub(crate) fn end(&mut self, p: &Protocol, id: Id) {
        let attempt = self.attempt(id);
        let copies = attempt.unanswered != 0 || (p.rules.resend_aware && p.faults.doubled > 0);
        let tomb = if p.rules.tombstone && copies {
            attempt.asked + p.grace + 1
        } else {
            0
        };
        self.send(Packet::End { id, tomb });
    }

    pub(crate) fn deliver(&mut self, p: &Protocol, packet: Packet) {
        match packet {
            Packet::Acquire { id, sent } => {
                let answer = self.on_acquire(p, id, sent);
                self.reply(id, true, sent, answer);
            }
            Packet::Wait { id, sent } => {
                let answer = self.on_wait(p, id);
                self.reply(id, false, sent, answer);
            }
            Packet::Renew { id, token, sent } => {
                let answer = self.on_renew(p, id, token);
                self.reply(id, false, sent, answer);
            }
            Packet::End { id, tomb } => {
                self.on_end(p, id, tomb);
                self.send(Packet::Done { id });
            }
            Packet::Done { id } => {
                if self.phase(id) == Phase::Ending {
                    *self.at(id) = Attempt {
                        phase: Phase::Gone,
                        ..Attempt::default()
                    };
                }
            }
            Packet::Reply {
                id,
                acquire,
                sent,
                at,
                stamp,
                answer,
            } => {
                if acquire {
                    self.at(id).unanswered &= !(1 << sent);
                }
                self.on_reply(p, id, (sent, at, stamp), answer);
            }
            Packet::Grant {
                id,
                token,
                at,
                window,
            } => self.on_grant(p, id, token, at, window),
            Packet::Behind { id, stamp, wake } => {
                let attempt = self.at(id);
                let waits = matches!(attempt.phase, Phase::Asking | Phase::Queued);
                if waits && stamp >= attempt.stamp {
                    attempt.phase = Phase::Queued;
                    attempt.stamp = stamp;
                    attempt.wake = wake;
                }
            }
        }
    }

    pub(crate) fn on_reply(
        &mut self,
        p: &Protocol,
        id: Id,
        (sent, at, stamp): (Tick, Tick, u8),
        answer: Answer,
    ) {
        let now = self.now;
        let attempt = self.at(id);
        let waits = matches!(
            attempt.phase,
            Phase::Asking | Phase::Queued | Phase::Confirming | Phase::Granted
        );
        let held = attempt.phase == Phase::Held;
        if !waits && !held {
            return;
        }
        attempt.lag = Some(at - sent);
        let fresh = stamp >= attempt.stamp || !p.rules.by_stamp;
        attempt.stamp = attempt.stamp.max(stamp);
        let from = if p.rules.reply_start { sent } else { now };
        match answer {
            Answer::Granted { token, end, claim } if fresh => {
                let until = from + (end - at);
                if held {
                    if token == attempt.token && now < attempt.deadline {
                        attempt.deadline = attempt.deadline.max(until);
                    }
                } else if until > now {
                    let known = attempt.phase == Phase::Granted && attempt.token == token;
                    attempt.claim = claim && (attempt.claim || !known);
                    attempt.deadline = if known { attempt.deadline.max(until) } else { until };
                    attempt.phase = Phase::Granted;
                    attempt.token = token;
                    attempt.told = attempt.told.max(token);
                }
            }
            Answer::Queued { wake } if fresh && waits => {
                attempt.phase = Phase::Queued;
                attempt.wake = if p.timers { wake } else { 0 };
            }
            Answer::Ended => self.ended_alive = true,
            Answer::Held { token, end } if token == attempt.token => {
                let until = from + (end - at);
                match attempt.phase {
                    Phase::Confirming => {
                        attempt.phase = if until > now {
                            Phase::Granted
                        } else {
                            Phase::Asking
                        };
                        attempt.deadline = until;
                        attempt.claim = false;
                    }
                    Phase::Granted | Phase::Held if now < attempt.deadline => {
                        attempt.deadline = attempt.deadline.max(until);
                        attempt.claim = false;
                    }
                    _ => {}
                }
            }
            Answer::Lost { token } if token == attempt.token => match attempt.phase {
                Phase::Confirming | Phase::Granted => attempt.phase = Phase::Asking,
                Phase::Held => self.give_up(p, id),
                _ => {}
            },
            Answer::Gone if fresh && waits => attempt.phase = Phase::Asking,
            _ => {} // stale, or `late`: the future asks again
        }
    }

    pub(crate) fn on_grant(&mut self, p: &Protocol, id: Id, token: u8, at: Tick, window: Tick) {
        let now = self.now;
        let attempt = self.at(id);
        match attempt.phase {
            Phase::Gone | Phase::Forgotten if p.rules.end_unknown => {
                self.send(Packet::End { id, tomb: 0 });
            }
            // It proves that the `end` did not arrive, and that its time is not over.
            Phase::Ending if p.rules.end_unknown => {
                if p.forget > 0 {
                    attempt.deadline = now;
                }
                self.end(p, id);
            }
            Phase::Asking | Phase::Queued | Phase::Confirming | Phase::Granted => {
                if token <= attempt.stamp && p.rules.by_stamp {
                    return;
                }
                attempt.stamp = attempt.stamp.max(token);
                attempt.told = attempt.told.max(token);
                let until = match attempt.lag {
                    _ if !p.rules.message_start => now + window,
                    Some(lag) => (at + window).saturating_sub(lag),
                    None => 0,
                };
                attempt.phase = if attempt.lag.is_none() && p.rules.message_start {
                    Phase::Confirming // no reply yet, so no start is known
                } else if until > now && (until - now) * 2 > window {
                    Phase::Granted
                } else if until > now {
                    Phase::Confirming
                } else {
                    Phase::Asking
                };
                attempt.token = token;
                attempt.deadline = if attempt.phase == Phase::Granted { until } else { 0 };
                attempt.claim = true;
            }
            _ => {}
        }
    }
}
