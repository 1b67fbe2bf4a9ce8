//! What the scripts do, in the order in which the engine's parts and the slow paths do it.

use crate::protocol::{Answer, Entry, Hold, Id, Packet, Protocol, State, Tick};

impl State {
    pub(crate) fn reply(&mut self, id: Id, acquire: bool, sent: Tick, answer: Answer) {
        let (at, stamp) = (self.now, self.server.token);
        self.send(Packet::Reply {
            id,
            acquire,
            sent,
            at,
            stamp,
            answer,
        });
    }

    /// Removes what is over. Returns the claim that lapsed with chances left.
    pub(crate) fn settle(&mut self) -> Option<Entry> {
        let now = self.now;
        for tomb in &mut self.server.tombs {
            if *tomb <= now {
                *tomb = 0;
            }
        }
        let over = self.server.hold.take_if(|hold| hold.end <= now)?;
        let missed = over.claim.filter(|missed| *missed < 2)? + 1;
        Some(Entry {
            id: over.id,
            seen: now,
            missed,
        })
    }

    pub(crate) fn admit(&mut self, id: Id, end: Tick, claim: Option<u8>, stale: bool) {
        self.server.token += 1;
        let token = self.server.token;
        self.server.hold = Some(Hold {
            id,
            token,
            end,
            claim,
            due: end,
            stale,
        });
    }

    pub(crate) fn pump(&mut self, p: &Protocol) {
        let now = self.now;
        while self.server.hold.is_none() && !self.server.queue.is_empty() {
            let head = self.server.queue.remove(0);
            if now.saturating_sub(head.seen) > p.patience {
                continue;
            }
            let window = (p.window << head.missed).min(p.lease);
            // Put back after a miss: half of the patience is over, which is longer than the window.
            let stale = head.missed > 0 || now.saturating_sub(head.seen) > window;
            self.admit(head.id, now + window, Some(head.missed), stale && p.timers);
            self.send(Packet::Grant {
                id: head.id,
                token: self.server.token,
                at: now,
                window,
            });
            if p.timers
                && p.rules.tell_behind
                && stale
                && let Some(behind) = self.server.queue.first()
            {
                let (id, stamp) = (behind.id, self.server.token);
                self.send(Packet::Behind {
                    id,
                    stamp,
                    wake: now + window,
                });
            }
        }
    }

    pub(crate) fn hand_on(&mut self, p: &Protocol, lapsed: Option<Entry>) {
        self.pump(p);
        if let Some(entry) = lapsed {
            self.server.queue.insert(0, entry);
            self.pump(p);
        }
    }

    pub(crate) fn wake(&self, p: &Protocol) -> Tick {
        self.server.hold.filter(|_| p.timers).map_or(0, |hold| hold.end)
    }

    pub(crate) fn refresh(&mut self, id: Id) -> bool {
        let now = self.now;
        let entry = self.server.queue.iter_mut().find(|entry| entry.id == id);
        entry.map(|entry| (entry.seen, entry.missed) = (now, 0)).is_some()
    }

    pub(crate) fn on_acquire(&mut self, p: &Protocol, id: Id, sent: Tick) -> Answer {
        let now = self.now;
        let lapsed = self.settle();
        if p.rules.settle_first {
            self.hand_on(p, lapsed);
        } else if let Some(entry) = lapsed {
            self.server.queue.insert(0, entry);
        }
        if self.server.tombs[usize::from(id)] > 0 {
            return Answer::Ended;
        }
        if let Some(hold) = &mut self.server.hold
            && hold.id == id
        {
            if !p.rules.no_extend {
                hold.end = now + p.lease;
                hold.claim = None;
            }
            return Answer::Granted {
                token: hold.token,
                end: hold.end,
                claim: hold.claim.is_some(),
            };
        }
        if self.refresh(id) {
            return Answer::Queued { wake: self.wake(p) };
        }
        if p.rules.not_after && now > sent + p.grace {
            return Answer::Late;
        }
        if self.server.hold.is_none() {
            self.overtaken |= !self.server.queue.is_empty();
            self.admit(id, now + p.lease, None, false);
            return Answer::Granted {
                token: self.server.token,
                end: now + p.lease,
                claim: false,
            };
        }
        self.server.queue.push(Entry {
            id,
            seen: now,
            missed: 0,
        });
        Answer::Queued { wake: self.wake(p) }
    }

    pub(crate) fn on_wait(&mut self, p: &Protocol, id: Id) -> Answer {
        let lapsed = self.settle();
        self.refresh(id);
        self.hand_on(p, lapsed);
        match self.server.hold {
            Some(hold) if hold.id == id => {
                if p.rules.tick_replays {
                    Answer::Granted {
                        token: hold.token,
                        end: hold.end,
                        claim: hold.claim.is_some(),
                    }
                } else {
                    Answer::Queued { wake: self.wake(p) }
                }
            }
            _ if self.server.queue.iter().any(|entry| entry.id == id) => {
                self.refresh(id);
                Answer::Queued { wake: self.wake(p) }
            }
            _ if self.server.tombs[usize::from(id)] > 0 => Answer::Ended,
            _ => Answer::Gone,
        }
    }

    pub(crate) fn on_renew(&mut self, p: &Protocol, id: Id, token: u8) -> Answer {
        let end = self.now + p.lease;
        let lapsed = self.settle();
        let answer = match &mut self.server.hold {
            Some(hold) if hold.id == id && (hold.token == token || !p.rules.renew_token) => {
                (hold.end, hold.due, hold.claim) = (end, end, None);
                Answer::Held { token, end }
            }
            _ => Answer::Lost { token },
        };
        self.hand_on(p, lapsed);
        answer
    }

    pub(crate) fn on_end(&mut self, p: &Protocol, id: Id, tomb: Tick) {
        let lapsed = self.settle().filter(|entry| entry.id != id);
        self.server.hold.take_if(|hold| hold.id == id);
        self.server.queue.retain(|entry| entry.id != id);
        if tomb > 0 {
            self.server.tombs[usize::from(id)] = tomb.max(self.now + 1);
        }
        self.hand_on(p, lapsed);
    }
}
