//! The protocol of `docs/design.md` as a state machine: a mutex, one true time in ticks, a network that may do anything.
//!
//! An attempt stands for its client, too: nothing that matters here is shared between the attempts of one client.
//! A stamp is modelled by two numbers: the tick, and the last token at that moment. The tokens order what the scripts
//! say about one attempt (queued before its grant, granted, queued again after a claim that lapsed) without a counter.

/// The attempt, by number. Attempts start in this order, which removes the symmetric runs.
pub(crate) type Id = u8;
/// Time in ticks.
pub(crate) type Tick = u8;

/// One switch for each rule whose need is shown.
#[derive(Clone, Copy, Debug)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a rule that a test turns off"
)]
pub(crate) struct Rules {
    /// Rule 2: an acquire that is late changes nothing (H35).
    pub(crate) not_after: bool,
    /// Rule 3: `end` leaves a tombstone while a copy of the acquire may be under way (H14).
    pub(crate) tombstone: bool,
    /// Rule 3: the transport may send again on its own; then answered acquires count as under way, too (H27).
    pub(crate) resend_aware: bool,
    /// Rule 1: renew and confirm name the token.
    pub(crate) renew_token: bool,
    /// Rule 1: an acquire of an id that holds extends nothing (H26).
    pub(crate) no_extend: bool,
    /// Rule 4: by stamp, not by arrival.
    pub(crate) by_stamp: bool,
    /// Rule 5: a grant by message starts at `a + (G - S)`, not at its receipt (H20).
    pub(crate) message_start: bool,
    /// Rule 5: a grant by reply starts before its request was sent, not at its receipt (H20).
    pub(crate) reply_start: bool,
    /// A grant for an attempt that is not in the table is answered with `end`.
    pub(crate) end_unknown: bool,
    /// A future that is dropped after the grant arrived ends its attempt (H7).
    pub(crate) end_granted: bool,
    /// A future that is dropped while its acquire is under way ends its attempt (H14).
    pub(crate) end_asking: bool,
    /// A tick tells a waiter that it holds: its message may be lost (H2).
    pub(crate) tick_replays: bool,
    /// Every script settles first: nobody barges.
    pub(crate) settle_first: bool,
    /// Rule 6: the entry behind one that may be dead is told when the claim ends.
    pub(crate) tell_behind: bool,
}

impl Rules {
    pub(crate) const ALL: Self = Self {
        not_after: true,
        tombstone: true,
        resend_aware: true,
        renew_token: true,
        no_extend: true,
        by_stamp: true,
        message_start: true,
        reply_start: true,
        end_unknown: true,
        end_granted: true,
        end_asking: true,
        tick_replays: true,
        settle_first: true,
        tell_behind: true,
    };
}

/// How many faults of each kind a run may have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Faults {
    /// Messages, requests and replies that vanish.
    pub(crate) lost: u8,
    /// Requests that are executed once more, at any later time; messages that arrive twice.
    pub(crate) doubled: u8,
    /// Clients that die.
    pub(crate) crashes: u8,
    /// Acquires that are sent again although an earlier one is still under way.
    pub(crate) retries: u8,
}

/// The bounds of one exploration.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Protocol {
    pub(crate) rules: Rules,
    pub(crate) faults: Faults,
    pub(crate) attempts: Id,
    /// Attempt `n` starts when attempt `n - clients` of the same client is over.
    pub(crate) clients: Id,
    pub(crate) last_tick: Tick,
    pub(crate) lease: Tick,
    pub(crate) window: Tick,
    /// From the sending of an acquire to its `not_after`.
    pub(crate) grace: Tick,
    pub(crate) patience: Tick,
    /// From the drop until an unanswered `end` is no longer repeated; 0: it is repeated for ever.
    pub(crate) forget: Tick,
    /// Timers are modelled: a waiter's timer is a part of the state.
    pub(crate) timers: bool,
    /// Futures are dropped before they resolve.
    pub(crate) cancel: bool,
    /// The run begins with a guard and a full queue, each client having heard of it.
    pub(crate) contended: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Hold {
    pub(crate) id: Id,
    pub(crate) token: u8,
    pub(crate) end: Tick,
    /// `None`: a full lease; else the claims missed before this one.
    pub(crate) claim: Option<u8>,
    /// History: the end that grants, renewals and confirms account for.
    pub(crate) due: Tick,
    /// The waiter had not been seen within the window when it was made the owner.
    pub(crate) stale: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Entry {
    pub(crate) id: Id,
    pub(crate) seen: Tick,
    pub(crate) missed: u8,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Server {
    pub(crate) hold: Option<Hold>,
    pub(crate) queue: Vec<Entry>,
    /// Per attempt: the end of its tombstone; 0: none.
    pub(crate) tombs: Vec<Tick>,
    pub(crate) token: u8,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) enum Phase {
    #[default]
    New,
    Asking,
    Queued,
    /// A grant message came, too late to rely on: confirm first.
    Confirming,
    /// Granted, and the future was not polled since.
    Granted,
    Held,
    Ending,
    /// Over: `end` was answered, or (with a rule off) nobody sends one.
    Gone,
    /// Over: `end` was not answered until its time was over.
    Forgotten,
    Crashed,
}

/// What a client knows of its attempt.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Attempt {
    pub(crate) phase: Phase,
    pub(crate) token: u8,
    /// The end of the grant by the client's own account; while `Ending`: when it was given up.
    pub(crate) deadline: Tick,
    pub(crate) claim: bool,
    /// The newest stamp that was applied.
    pub(crate) stamp: u8,
    /// `S - a` of the last reply.
    pub(crate) lag: Option<Tick>,
    /// When the last acquire was sent.
    pub(crate) asked: Tick,
    /// One bit for each tick at which an acquire was sent that is not answered.
    pub(crate) unanswered: u64,
    /// When the timer of the waiter fires (only with `timers`).
    pub(crate) wake: Tick,
    /// History: the newest grant that reached the client.
    pub(crate) told: u8,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Answer {
    Granted { token: u8, end: Tick, claim: bool },
    Queued { wake: Tick },
    Late,
    Ended,
    Held { token: u8, end: Tick },
    Lost { token: u8 },
    Gone,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Packet {
    Acquire {
        id: Id,
        sent: Tick,
    },
    Wait {
        id: Id,
        sent: Tick,
    },
    Renew {
        id: Id,
        token: u8,
        sent: Tick,
    },
    End {
        id: Id,
        tomb: Tick,
    },
    Reply {
        id: Id,
        acquire: bool,
        sent: Tick,
        at: Tick,
        stamp: u8,
        answer: Answer,
    },
    Done {
        id: Id,
    },
    Grant {
        id: Id,
        token: u8,
        at: Tick,
        window: Tick,
    },
    Behind {
        id: Id,
        stamp: u8,
        wake: Tick,
    },
}

impl Packet {
    fn id(self) -> Id {
        match self {
            Self::Acquire { id, .. }
            | Self::Wait { id, .. }
            | Self::Renew { id, .. }
            | Self::End { id, .. }
            | Self::Reply { id, .. }
            | Self::Done { id }
            | Self::Grant { id, .. }
            | Self::Behind { id, .. } => id,
        }
    }

    fn is_request(self) -> bool {
        matches!(
            self,
            Self::Acquire { .. } | Self::Wait { .. } | Self::Renew { .. } | Self::End { .. }
        )
    }
}

/// Everything, with the faults that are left and the history that the properties need.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct State {
    pub(crate) now: Tick,
    pub(crate) server: Server,
    pub(crate) attempts: Vec<Attempt>,
    /// Sorted: what is under way in both directions and on both connections, in no order.
    pub(crate) net: Vec<Packet>,
    pub(crate) left: Faults,
    /// History: the token of the last guard that was handed out.
    pub(crate) last_guard: u8,
    pub(crate) token_fell: bool,
    pub(crate) overtaken: bool,
    pub(crate) ended_alive: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    Time,
    Start(Id),
    Deliver(Packet),
    /// It happens, and a copy stays under way.
    Double(Packet),
    Lose(Packet),
    /// The future is polled: a guard.
    Poll(Id),
    /// The keeper's tick for this attempt: refresh, renew or confirm.
    Tick(Id),
    /// Acquire again, because nothing is under way or (a fault) in spite of it.
    Ask(Id),
    /// The future or the guard is dropped, or the guard is found lost.
    Drop(Id),
    EndAgain(Id),
    Forget(Id),
    Crash(Id),
}

impl State {
    pub(crate) fn new(p: &Protocol) -> Self {
        let count = usize::from(p.attempts);
        let mut state = Self {
            now: 0,
            server: Server {
                hold: None,
                queue: Vec::new(),
                tombs: vec![0; count],
                token: 0,
            },
            attempts: vec![Attempt::default(); count],
            net: Vec::new(),
            left: p.faults,
            last_guard: 0,
            token_fell: false,
            overtaken: false,
            ended_alive: false,
        };
        if p.contended {
            for id in 0..p.clients.min(p.attempts) {
                state.apply(p, Action::Start(id));
                while let Some(packet) = state.net.first().copied() {
                    state.apply(p, Action::Deliver(packet));
                }
                if id == 0 {
                    state.apply(p, Action::Poll(id));
                }
            }
        }
        state
    }

    pub(crate) fn at(&mut self, id: Id) -> &mut Attempt {
        &mut self.attempts[usize::from(id)]
    }

    pub(crate) fn attempt(&self, id: Id) -> &Attempt {
        &self.attempts[usize::from(id)]
    }

    pub(crate) fn phase(&self, id: Id) -> Phase {
        self.attempt(id).phase
    }

    /// Does the client believe that it holds the lock now?
    pub(crate) fn valid(&self, id: Id) -> bool {
        let attempt = self.attempt(id);
        attempt.phase == Phase::Held && self.now < attempt.deadline
    }

    pub(crate) fn send(&mut self, packet: Packet) {
        if let Err(place) = self.net.binary_search(&packet) {
            self.net.insert(place, packet);
        }
    }

    fn take(&mut self, packet: Packet) {
        if let Ok(place) = self.net.binary_search(&packet) {
            self.net.remove(place);
        }
    }

    fn under_way(&self, id: Id, what: fn(Packet) -> bool) -> bool {
        self.net.iter().any(|packet| packet.id() == id && what(*packet))
    }

    pub(crate) fn ask_under_way(&self, id: Id) -> bool {
        self.under_way(id, |p| {
            matches!(p, Packet::Acquire { .. } | Packet::Reply { acquire: true, .. })
        })
    }

    fn tick_under_way(&self, id: Id) -> bool {
        self.under_way(id, |p| {
            matches!(
                p,
                Packet::Wait { .. } | Packet::Renew { .. } | Packet::Reply { acquire: false, .. }
            )
        })
    }

    pub(crate) fn end_under_way(&self, id: Id) -> bool {
        self.under_way(id, |p| matches!(p, Packet::End { .. } | Packet::Done { .. }))
    }

    pub(crate) fn grant_under_way(&self, id: Id) -> bool {
        self.under_way(id, |p| matches!(p, Packet::Grant { .. }))
    }

    pub(crate) fn wake_under_way(&self, id: Id) -> bool {
        self.under_way(id, |p| !p.is_request())
    }

    /// What may happen next.
    #[allow(clippy::too_many_lines, reason = "one action after the other")]
    pub(crate) fn enabled(&self, p: &Protocol, actions: &mut Vec<Action>) {
        for packet in self.net.iter().copied() {
            actions.push(Action::Deliver(packet));
            // A tick's lost request and its lost reply look alike to everybody but the server.
            if self.left.lost > 0 {
                actions.push(Action::Lose(packet));
            }
            if self.left.doubled > 0 && (packet.is_request() || matches!(packet, Packet::Grant { .. })) {
                actions.push(Action::Double(packet));
            }
        }
        let mut may_start = true;
        for id in 0..p.attempts {
            let attempt = self.attempt(id);
            match attempt.phase {
                Phase::New => {
                    let free = id < p.clients
                        || matches!(self.phase(id - p.clients), Phase::Gone | Phase::Forgotten);
                    if may_start && free {
                        actions.push(Action::Start(id));
                    }
                    may_start = false;
                }
                Phase::Asking => {
                    let waiting = self.ask_under_way(id);
                    if !waiting || (self.left.retries > 0 && attempt.asked < self.now) {
                        actions.push(Action::Ask(id));
                    }
                    if p.cancel {
                        actions.push(Action::Drop(id));
                    }
                }
                Phase::Queued | Phase::Confirming => {
                    if !self.tick_under_way(id) {
                        actions.push(Action::Tick(id));
                    }
                    if p.cancel {
                        actions.push(Action::Drop(id));
                    }
                }
                Phase::Granted => {
                    actions.push(Action::Poll(id));
                    if p.cancel {
                        actions.push(Action::Drop(id));
                    }
                }
                Phase::Held => {
                    let fresh = !attempt.claim && attempt.deadline >= self.now + p.lease;
                    if self.now < attempt.deadline && !fresh && !self.tick_under_way(id) {
                        actions.push(Action::Tick(id));
                    }
                    actions.push(Action::Drop(id));
                }
                Phase::Ending => {
                    if !self.end_under_way(id) {
                        actions.push(Action::EndAgain(id));
                        if p.forget > 0 && self.now >= attempt.deadline + p.forget {
                            actions.push(Action::Forget(id));
                        }
                    }
                }
                Phase::Gone | Phase::Forgotten | Phase::Crashed => {}
            }
            let lives = !matches!(
                attempt.phase,
                Phase::New | Phase::Gone | Phase::Forgotten | Phase::Crashed
            );
            if self.left.crashes > 0 && lives {
                actions.push(Action::Crash(id));
            }
        }
        if self.now < p.last_tick {
            actions.push(Action::Time);
        }
    }

    pub(crate) fn apply(&mut self, p: &Protocol, action: Action) {
        match action {
            Action::Time => self.now += 1,
            Action::Start(id) => {
                self.at(id).phase = Phase::Asking;
                self.ask(id);
            }
            Action::Deliver(packet) => {
                self.take(packet);
                self.deliver(p, packet);
            }
            Action::Double(packet) => {
                self.left.doubled -= 1;
                self.deliver(p, packet);
            }
            Action::Lose(packet) => {
                self.left.lost -= 1;
                self.take(packet);
            }
            Action::Poll(id) => self.poll(id),
            Action::Tick(id) => self.tick(id),
            Action::Ask(id) => {
                if self.ask_under_way(id) {
                    self.left.retries -= 1;
                }
                self.ask(id);
            }
            Action::Drop(id) => self.give_up(p, id),
            Action::EndAgain(id) => self.end(p, id),
            Action::Forget(id) => {
                *self.at(id) = Attempt {
                    phase: Phase::Forgotten,
                    ..Attempt::default()
                }
            }
            Action::Crash(id) => {
                self.left.crashes -= 1;
                *self.at(id) = Attempt {
                    phase: Phase::Crashed,
                    ..Attempt::default()
                };
            }
        }
        self.tidy(p);
    }

    /// Drops what cannot matter any more, so that fewer states differ.
    fn tidy(&mut self, p: &Protocol) {
        let attempts = &self.attempts;
        self.net
            .retain(|packet| match attempts[usize::from(packet.id())].phase {
                Phase::Crashed => packet.is_request(),
                Phase::Gone | Phase::Forgotten => {
                    packet.is_request() || matches!(packet, Packet::Grant { .. })
                }
                Phase::Ending => {
                    packet.is_request() || matches!(packet, Packet::Grant { .. } | Packet::Done { .. })
                }
                Phase::Held => !matches!(packet, Packet::Behind { .. }),
                _ => true,
            });
        let held = self.server.hold.map(|hold| (usize::from(hold.id), hold.token));
        for (id, attempt) in self.attempts.iter_mut().enumerate() {
            if held != Some((id, attempt.told)) {
                attempt.told = 0;
            }
            if attempt.unanswered == 0 && p.faults.doubled == 0 {
                attempt.asked = 0;
            }
            if !matches!(attempt.phase, Phase::Confirming | Phase::Granted | Phase::Held) {
                attempt.token = 0;
                attempt.claim = false;
                if attempt.phase != Phase::Ending {
                    attempt.deadline = 0;
                }
            }
            if attempt.phase != Phase::Queued {
                attempt.wake = 0;
            }
            if matches!(attempt.phase, Phase::Held | Phase::Ending) {
                attempt.lag = None;
                attempt.told = 0;
            }
            if attempt.phase == Phase::Ending {
                attempt.stamp = 0;
                attempt.unanswered = attempt.unanswered.min(1);
            }
        }
    }

    /// From here on no fault, everybody acts, guards are released: is every live waiter served?
    pub(crate) fn serves_everybody(&self, p: &Protocol) -> bool {
        let mut state = self.clone();
        state.left = Faults::default();
        // No more than the claims of the dead: 3 each, and the longest lease before them.
        for _ in 0..(p.lease + 2) * p.attempts * 3 {
            if !(0..p.attempts).any(|id| state.waits(id)) {
                return true;
            }
            state.fair_tick(p);
            state.now += 1;
        }
        false
    }

    /// From here on no fault: does the waiter that the server holds for get its guard at once?
    pub(crate) fn serves_the_owner(&self, p: &Protocol) -> bool {
        let Some(hold) = self.server.hold.filter(|hold| hold.end > self.now) else {
            return true;
        };
        if !self.waits(hold.id) {
            return true;
        }
        let mut state = self.clone();
        state.fair_tick(p);
        state.last_guard >= hold.token
    }

    fn waits(&self, id: Id) -> bool {
        matches!(
            self.phase(id),
            Phase::Asking | Phase::Queued | Phase::Confirming | Phase::Granted
        )
    }

    /// What happens within one tick when everybody acts and the network is quicker than that.
    fn fair_tick(&mut self, p: &Protocol) {
        for round in 0..5 {
            for packet in self.net.clone() {
                self.apply(p, Action::Deliver(packet));
            }
            for id in 0..p.attempts {
                match self.phase(id) {
                    Phase::Granted => self.apply(p, Action::Poll(id)),
                    Phase::Held => self.apply(p, Action::Drop(id)),
                    Phase::Asking if !self.ask_under_way(id) => self.apply(p, Action::Ask(id)),
                    Phase::Queued | Phase::Confirming if round == 0 && !self.tick_under_way(id) => {
                        self.apply(p, Action::Tick(id));
                    }
                    Phase::Ending if !self.end_under_way(id) => self.apply(p, Action::EndAgain(id)),
                    _ => {}
                }
            }
        }
    }
}
