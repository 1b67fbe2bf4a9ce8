//! What the scripts do, in the order in which the engine and the slow paths do it.

use super::bounds::{Bounds, Id, Law, Tick};
use super::world::{Answer, Entry, Hold, Packet, Query, Stamp, World};

impl Hold {
    /// What it takes of the capacity.
    pub(super) fn weight(&self, b: &Bounds) -> u8 {
        if self.upgrade.is_some() {
            b.capacity
        } else {
            b.want(self.id).weight
        }
    }
}

impl World {
    fn used(&self, b: &Bounds) -> u8 {
        let sum: u8 = self.server.holds.iter().map(|hold| hold.weight(b)).sum();
        sum.min(b.capacity) // the exclusive holds of one owner count once
    }

    /// Whose the exclusive holds are, if they are an owner's.
    fn holding_owner(&self, b: &Bounds) -> Option<u8> {
        let exclusive = self.server.holds.iter().find(|hold| b.is_exclusive(hold.id));
        exclusive.and_then(|hold| b.want(hold.id).owner)
    }

    /// Whether an attempt is one more hold of the owner that holds.
    fn is_reentry(&self, b: &Bounds, id: Id) -> bool {
        let owner = b.want(id).owner;
        owner.is_some() && self.holding_owner(b) == owner
    }

    fn fits(&self, b: &Bounds, id: Id) -> bool {
        self.used(b) + b.want(id).weight <= b.capacity || self.is_reentry(b, id)
    }

    /// Removes what is over. Returns the claims that lapsed with chances left.
    fn settle(&mut self, b: &Bounds) -> Vec<Entry> {
        let now = self.server_now();
        // Its place says that it was seen long ago, so that others pass until it is seen.
        let seen = now.saturating_sub(b.patience.saturating_sub(1));
        for tomb in &mut self.server.tombs {
            if *tomb <= now {
                *tomb = 0;
            }
        }
        let mut lapsed = Vec::new();
        self.server.holds.retain(|hold| {
            let over = hold.end <= now;
            if let Some(missed) = hold.claim.filter(|missed| over && *missed < 2) {
                lapsed.push(Entry {
                    id: hold.id,
                    seen,
                    missed: missed + 1,
                });
            }
            !over
        });
        lapsed
    }

    fn next_stamp(&mut self) -> Stamp {
        self.server.grants += 1;
        self.stamp()
    }

    /// Makes an attempt a holder until `end`.
    fn admit(&mut self, b: &Bounds, id: Id, end: Tick, claim: Option<u8>, stale: bool) {
        let reentry = self.is_reentry(b, id);
        let at = self.next_stamp();
        if b.is_exclusive(id) && !reentry {
            self.server.token = at.micros().max(self.server.token + 1);
        }
        let token = if b.is_exclusive(id) { self.server.token } else { 0 };
        let hold = Hold {
            id,
            at,
            token,
            end,
            claim,
            upgrade: None,
            due: end,
            stale,
        };
        let place = self.server.holds.partition_point(|other| other.id < id);
        self.server.holds.insert(place, hold);
    }

    fn hand_over(&mut self, b: &Bounds, head: Entry) {
        let now = self.server_now();
        let window = (b.window << head.missed).min(b.lease);
        let stale = head.missed > 0 || now.saturating_sub(head.seen) > window;
        self.admit(b, head.id, now + window, Some(head.missed), stale && b.timers);
        let token = self.hold(head.id).map_or(0, |hold| hold.token);
        let at = self.stamp();
        self.send(Packet::Grant {
            id: head.id,
            at,
            token,
            window,
        });
        if b.timers
            && b.laws.has(Law::TellBehind)
            && stale
            && let Some(behind) = self.server.queue.first()
        {
            self.tell(behind.id, window);
        }
    }

    fn tell(&mut self, id: Id, left: Tick) {
        let at = self.stamp();
        self.send(Packet::Behind { id, at, left });
    }

    /// Grants from the head of the queue while it fits.
    fn pump(&mut self, b: &Bounds) {
        let now = self.server_now();
        while let Some(head) = self.server.queue.first().copied() {
            if now.saturating_sub(head.seen) > b.patience {
                self.server.queue.remove(0);
            } else if let Some(base) = b.want(head.id).base {
                if !self.try_upgrade(b, head.id, base) {
                    return;
                }
            } else if let Some(place) = self.next_place(b) {
                let next = self.server.queue.remove(place);
                self.hand_over(b, next);
            } else {
                return;
            }
        }
    }

    /// The place of the first waiter that was seen of late; if there is none, or it does not fit, the head if that fits.
    fn next_place(&self, b: &Bounds) -> Option<usize> {
        let is_silent = |entry: &Entry| self.server_now().saturating_sub(entry.seen) > b.patience / 2;
        let queue = &self.server.queue;
        let seen = queue
            .iter()
            .position(|entry| !is_silent(entry))
            .filter(|place| b.want(queue[*place].id).base.is_none());
        let fits = |place: &usize| self.fits(b, queue[*place].id);
        seen.filter(fits).or_else(|| Some(0).filter(fits))
    }

    /// Whether the hold that is to be upgraded is there; without the law, whether anything of its
    /// weight is.
    fn base_holds(&self, b: &Bounds, base: Id) -> bool {
        let other = |hold: &Hold| b.want(hold.id).weight == b.want(base).weight;
        self.hold(base).is_some() || (!b.laws.has(Law::UpgradeBase) && self.server.holds.iter().any(other))
    }

    /// Whether nobody holds beside the base.
    fn is_alone(&self, b: &Bounds, base: Id) -> bool {
        self.used(b) == b.want(base).weight
    }

    /// What an upgrade at the head comes to; `true`: it is out of the queue.
    fn try_upgrade(&mut self, b: &Bounds, id: Id, base: Id) -> bool {
        if !self.base_holds(b, base) {
            self.server.queue.remove(0);
            self.tell(id, 0); // it asks again, and learns why
        } else if self.is_alone(b, base) {
            self.server.queue.remove(0);
            let token = self.upgrade(b, id, base);
            let (at, window) = (self.stamp(), b.lease);
            self.send(Packet::Grant {
                id,
                at,
                token,
                window,
            });
        } else {
            return false;
        }
        true
    }

    /// Makes a shared hold that is alone exclusive. Returns the token.
    fn upgrade(&mut self, b: &Bounds, id: Id, base: Id) -> u64 {
        let at = self.next_stamp();
        let token = at.micros().max(self.server.token + 1);
        self.server.token = token;
        let weight = b.want(base).weight;
        let alike = |hold: &&mut Hold| hold.id == base || b.want(hold.id).weight == weight;
        if let Some(hold) = self.server.holds.iter_mut().find(alike) {
            (hold.upgrade, hold.token, hold.at) = (Some(id), token, at);
        }
        token
    }

    /// Puts claims that lapsed back to the front, or to the others of their owner.
    fn put_back(&mut self, b: &Bounds, lapsed: Vec<Entry>) {
        for entry in lapsed.into_iter().rev() {
            let owner = b.want(entry.id).owner;
            let alike = |other: &Entry| owner.is_some() && b.want(other.id).owner == owner;
            let place = self.server.queue.iter().position(alike).unwrap_or(0);
            self.server.queue.insert(place, entry);
        }
    }

    fn hand_on(&mut self, b: &Bounds, lapsed: Vec<Entry>) {
        self.pump(b);
        if !lapsed.is_empty() {
            self.put_back(b, lapsed);
            self.pump(b);
        }
    }

    /// When the first hold ends.
    fn wake(&self, b: &Bounds) -> Option<Tick> {
        let first = self.server.holds.iter().map(|hold| hold.end).min();
        first
            .filter(|_| b.timers)
            .map(|end| end.saturating_sub(self.server_now()))
    }

    fn queued(&self, b: &Bounds) -> Answer {
        Answer::Queued { wake: self.wake(b) }
    }

    /// Seen now; what asks by itself is forgiven the claims that it missed.
    fn refresh(&mut self, id: Id, forgive: bool) -> bool {
        let now = self.server_now();
        let place = self.server.queue.iter_mut().find(|entry| entry.id == id);
        place
            .map(|entry| {
                entry.seen = now;
                if forgive {
                    entry.missed = 0;
                }
            })
            .is_some()
    }

    fn enter_queue(&mut self, b: &Bounds, id: Id) {
        let entry = Entry {
            id,
            seen: self.server_now(),
            missed: 0,
        };
        let queue = &mut self.server.queue;
        let want = b.want(id);
        let of_owner = |other: &Entry| want.owner.is_some() && b.want(other.id).owner == want.owner;
        let place = match queue.iter().rposition(of_owner) {
            Some(last) if b.laws.has(Law::OwnerTicket) => last + 1,
            _ if want.base.is_some() && b.laws.has(Law::UpgradeFirst) => 0,
            _ => queue.len(),
        };
        queue.insert(place, entry);
    }

    fn granted(&self, id: Id, fresh: bool) -> Answer {
        self.hold(id).map_or(Answer::Gone, |hold| Answer::Granted {
            at: hold.at,
            token: hold.token,
            left: hold.end.saturating_sub(self.server_now()),
            claim: hold.claim.is_some(),
            fresh,
        })
    }

    pub(super) fn on_acquire(&mut self, b: &Bounds, id: Id, not_after: Tick) -> Answer {
        let now = self.server_now();
        let late = now > not_after && b.laws.has(Law::NotAfter);
        if !late {
            self.refresh(id, true);
        }
        let lapsed = self.settle(b);
        if b.laws.has(Law::SettleFirst) {
            self.hand_on(b, lapsed);
        } else {
            self.put_back(b, lapsed);
        }
        if self.server.tombs[usize::from(id)] > 0 {
            return Answer::Ended;
        }
        if let Some(hold) = self.server.holds.iter_mut().find(|hold| hold.id == id) {
            if !b.laws.has(Law::NoExtend) {
                hold.end = now + b.lease;
                hold.claim = None;
            }
            return self.granted(id, false);
        }
        if late {
            return Answer::Late;
        }
        if let Some(base) = b.want(id).base
            && let Some(answer) = self.acquire_upgrade(b, id, base)
        {
            return answer;
        }
        if self.refresh(id, true) {
            return self.queued(b);
        }
        let reentry = b.laws.has(Law::ReentryOvertakes) && self.is_reentry(b, id);
        let free = self.server.queue.is_empty() || !b.laws.has(Law::SettleFirst);
        if reentry || (b.want(id).base.is_none() && free && self.fits(b, id)) {
            self.wrongs.overtaken |= !reentry && !self.server.queue.is_empty();
            self.admit(b, id, now + b.lease, None, false);
            return self.granted(id, !reentry);
        }
        self.enter_queue(b, id);
        self.queued(b)
    }

    /// What an acquire of an upgrade comes to, unless it has to wait.
    fn acquire_upgrade(&mut self, b: &Bounds, id: Id, base: Id) -> Option<Answer> {
        if !self.base_holds(b, base) {
            return Some(Answer::BaseEnded);
        }
        let by = self.hold(base).and_then(|hold| hold.upgrade);
        if by.is_none() && !self.is_alone(b, base) {
            return None;
        }
        if by.is_some_and(|by| by > id) && b.laws.has(Law::UpgradeCounter) {
            return Some(Answer::Ended);
        }
        let takes_over = by.is_none_or(|by| by < id && b.laws.has(Law::UpgradeCounter));
        if takes_over {
            self.server.queue.retain(|entry| entry.id != id);
            self.upgrade(b, id, base);
        }
        Some(self.granted_upgrade(base))
    }

    fn granted_upgrade(&self, base: Id) -> Answer {
        let hold = self.hold(base).or_else(|| self.server.holds.first());
        hold.map_or(Answer::BaseEnded, |hold| Answer::Granted {
            at: hold.at,
            token: hold.token,
            left: hold.end.saturating_sub(self.server_now()),
            claim: false,
            fresh: false,
        })
    }

    /// The fast path of acquire, as a batch runs it; `None`: it is out of the ordinary.
    pub(super) fn on_batched(&mut self, b: &Bounds, id: Id, not_after: Tick) -> Option<Answer> {
        let now = self.server_now();
        let server = &self.server;
        if now > not_after && b.laws.has(Law::NotAfter) {
            return None;
        }
        let empty = server.holds.is_empty() && server.queue.is_empty();
        if empty && server.tombs.iter().all(|tomb| *tomb == 0) {
            self.admit(b, id, now + b.lease, None, false);
            return Some(self.granted(id, true));
        }
        let known = server.tombs[usize::from(id)] > 0
            || server.holds.iter().any(|hold| hold.id == id)
            || server.queue.iter().any(|entry| entry.id == id);
        let busy = server.holds.first().is_some_and(|hold| hold.end > now);
        if !busy || known {
            return None;
        }
        self.enter_queue(b, id);
        Some(self.queued(b))
    }

    /// What every script does, whatever it is asked for.
    pub(super) fn look_at_record(&mut self, b: &Bounds) {
        let lapsed = self.settle(b);
        self.hand_on(b, lapsed);
    }

    pub(super) fn on_tick(&mut self, b: &Bounds, id: Id, query: Query) -> Answer {
        if query == Query::Place {
            self.refresh(id, false);
        }
        self.look_at_record(b);
        match query {
            Query::Place => self.look(b, id),
            Query::Hold { token } => self.renew(b, id, token),
        }
    }

    fn look(&mut self, b: &Bounds, id: Id) -> Answer {
        if self.hold(id).is_some() {
            self.granted(id, false)
        } else if self.refresh(id, false) {
            self.queued(b)
        } else if self.server.tombs[usize::from(id)] > 0 {
            Answer::Lost
        } else {
            Answer::Gone
        }
    }

    fn renew(&mut self, b: &Bounds, id: Id, token: u64) -> Answer {
        let end = self.server_now() + b.lease;
        let named = token == 0 || self.server.token == token || !b.laws.has(Law::RenewToken);
        let hold = self.server.holds.iter_mut().find(|hold| hold.id == id);
        match hold.filter(|_| named) {
            Some(hold) => {
                (hold.end, hold.due, hold.claim) = (end, end, None);
                Answer::Held { left: b.lease }
            }
            None => Answer::Lost,
        }
    }

    /// Returns whether there was anything.
    pub(super) fn on_end(&mut self, b: &Bounds, id: Id, not_after: Tick) -> bool {
        let mut lapsed = self.settle(b);
        lapsed.retain(|entry| entry.id != id);
        let first = self.server.queue.first().is_some_and(|entry| entry.id == id);
        let held = self.server.holds.len();
        let queued = self.server.queue.len();
        let mut had = false;
        for hold in &mut self.server.holds {
            if hold.upgrade == Some(id) && b.laws.has(Law::UpgradeUndone) {
                // The hold stays, and is shared again.
                (hold.upgrade, hold.token) = (None, 0);
                had = true;
            }
        }
        self.server.holds.retain(|hold| hold.id != id);
        self.server.queue.retain(|entry| entry.id != id);
        had |= held > self.server.holds.len() || queued > self.server.queue.len();
        if not_after > 0 {
            let until = self.server_now().max(not_after) + 1;
            let tomb = &mut self.server.tombs[usize::from(id)];
            *tomb = (*tomb).max(until);
        }
        self.hand_on(b, lapsed);
        if first && b.timers && b.laws.has(Law::TellHead) {
            self.tell_head();
        }
        had
    }

    /// Tells the head of the queue when the claim before it ends.
    fn tell_head(&mut self) {
        let claim = self.server.holds.iter().find(|hold| hold.claim.is_some());
        if let Some(claim) = claim
            && let Some(head) = self.server.queue.first()
        {
            self.tell(head.id, claim.end.saturating_sub(self.server_now()));
        }
    }
}
