//! What each script has to answer, and to do to the record, by its header: the model's side of a request.

use latchwork_testkit::Reply;

use crate::bench::numbers;
use crate::model::{Attempt, Call, Hold, POLLS, Record, STEPPED, UNIT, UNITS};

const DAY_US: i64 = 86_400_000_000;

/// The arguments of `acquire` beyond those of every request.
#[derive(Clone, Debug)]
pub(crate) struct Acquire {
    pub(crate) who: Attempt,
    pub(crate) not_after: i64,
    pub(crate) room: i64,
    pub(crate) floor: i64,
    pub(crate) polls: bool,
    /// The head start, ms.
    pub(crate) ahead: i64,
}

/// How long ago a waiter was seen, ms; after the clock was set back, just now.
fn silent_for(now: i64, seen: i64) -> i64 {
    let units = (now.div_euclid(UNIT) - seen).rem_euclid(UNITS);
    if units > UNITS - STEPPED { 0 } else { units * UNIT }
}

impl Record {
    pub(crate) fn acquire(&mut self, call: &mut Call<'_>, ask: &Acquire) -> Reply {
        let (stamp, now) = (call.now_us, call.now());
        let made_with = call.capacity;
        if ask.floor > stamp + DAY_US {
            return numbers(&[7, stamp]);
        }
        if call.counted && self.set_by_hand().is_some() && now <= ask.not_after {
            call.ttl = call.ttl.max(DAY_US / 1000); // what was set is remembered for a day
        }
        let chance = if ask.polls { POLLS } else { 0 };
        if let Some(place) = self.place_of(&ask.who.id)
            && now <= ask.not_after
        {
            self.refresh(call, place, chance);
        }
        let lapsed = if self.acquires_quickly(call, ask) {
            self.take_capacity(call);
            Vec::new()
        } else {
            self.settle(call)
        };
        self.hand_on(call, lapsed);
        if self.tombs.contains_key(&ask.who.id) {
            return numbers(&[5, stamp]);
        }
        if let Some(hold) = self.hold_of(&ask.who.id) {
            let (left, claim) = (hold.end - now, i64::from(hold.claim.is_some()));
            if ask.room < 0 {
                return numbers(&[1, stamp, 0, left, claim, hold.has()]);
            }
            let exclusive = call.exclusive(ask.who.weight);
            let mut token = if exclusive { self.token.unwrap() } else { 0 };
            if exclusive && token <= ask.floor {
                token = self.new_token(call, ask.floor);
            }
            return numbers(&[1, stamp, token, left, claim]);
        }
        if now > ask.not_after {
            return numbers(&[4, stamp]);
        }
        if let Some(base) = ask.who.base()
            && let Some(reply) = self.ask_upgrade(call, ask, base)
        {
            return reply;
        }
        if let Some(place) = self.place_of(&ask.who.id) {
            self.refresh(call, place, chance);
            self.keep(call.ttl);
            return numbers(&[2, stamp, self.wake(now), 0]);
        }
        if let Some((stored, false)) = self.stored
            && stored != made_with
        {
            return numbers(&[9, stamp, stored]);
        }
        if ask.room >= 0 && ask.who.weight > call.capacity {
            return numbers(&[10, stamp, call.capacity]);
        }
        let enters_again = self.used() >= call.capacity && self.fits(call, &ask.who);
        let since = self.since; // counting begins with who joins
        let mut ticket = None;
        if enters_again || (ask.who.base().is_none() && self.may_go_first(call, ask, &mut ticket)) {
            let drained = Some(call.capacity - self.used()).filter(|_| ask.room < 0);
            if enters_again || self.used() + drained.unwrap_or(ask.who.weight) <= call.capacity {
                let hold = Hold {
                    weight: drained,
                    ..Hold::new(&ask.who, now + ask.who.lease)
                };
                let token = self.admit(call, hold, ask.floor);
                self.since = since;
                self.keep(call.ttl);
                if let Some(weight) = drained {
                    return numbers(&[1, stamp, 0, ask.who.lease, 0, weight]);
                }
                return numbers(&[1, stamp, token, ask.who.lease, 0]);
            }
        }
        if ask.room <= 0 {
            self.since = since;
            return numbers(&[3, stamp, self.wake(now), 0]);
        }
        let (ticket, next) = ticket.unwrap_or_else(|| self.ticket(call, &ask.who, ask.ahead));
        if ask.who.base().is_none() && self.waiting() >= ask.room {
            self.sweep(call);
            if self.waiting() >= ask.room {
                self.since = since;
                return numbers(&[6, stamp]);
            }
        }
        if !self.join(call, &ask.who, ticket, next, chance) {
            return numbers(&[6, stamp]);
        }
        self.keep(call.ttl);
        numbers(&[2, stamp, self.wake(now), 0])
    }

    /// Something is free, and nobody waits who comes before this one.
    fn may_go_first(&mut self, call: &Call<'_>, ask: &Acquire, ticket: &mut Option<(i64, i64)>) -> bool {
        if self.used() >= call.capacity {
            return false;
        } else if self.queue.is_empty() {
            return true;
        } else if ask.ahead <= 0 {
            return false;
        }
        let found = *ticket.insert(self.ticket(call, &ask.who, ask.ahead));
        self.overtakes(found.0)
    }

    /// What an upgrade hears, unless it has to wait: its base is over, it has it, or a later one has.
    fn ask_upgrade(&mut self, call: &Call<'_>, ask: &Acquire, base: &str) -> Option<Reply> {
        let stamp = call.now_us;
        let Some(hold) = self.hold_of(base) else {
            return Some(numbers(&[11, stamp, self.why(base, 0)]));
        };
        let (left, by) = (hold.end - call.now(), hold.upgraded.map(|(by, _)| by));
        match by {
            Some(by) if by > ask.who.count => return Some(numbers(&[5, stamp])),
            Some(by) if by == ask.who.count => {
                if self.token.unwrap() <= ask.floor {
                    self.new_token(call, ask.floor);
                }
            }
            None if !self.is_alone(base) => return None,
            _ => {
                // Nobody else holds; or an earlier upgrade of this hold that is being given up has it.
                self.queue.retain(|place| place.who.id != ask.who.id);
                self.upgrade(call, base, ask.who.count, ask.floor);
                self.tidy();
            }
        }
        Some(numbers(&[1, stamp, self.token.unwrap(), left, 0]))
    }

    pub(crate) fn end(&mut self, call: &mut Call<'_>, who: &Attempt, not_after: i64) -> Reply {
        let id = who.id.as_str();
        if not_after == 0 && self.is_all(id, if call.counted { 0 } else { call.capacity }) {
            // The fast path removes it unseen: it may be a hold whose time is over, or a tombstone.
            let _ = self.remove_hold(id) || self.tombs.remove(id).is_some();
            return numbers(&[1, 0, 0]);
        }
        let now = call.now();
        let mut lapsed = if self.ends_quickly(call, who, not_after) {
            call.quick = true;
            self.take_capacity(call);
            Vec::new()
        } else {
            self.settle(call)
        };
        lapsed.retain(|hold| hold.who.id != id);
        let mut had = if self.forced.contains_key(id) { 3 } else { 0 };
        let first = self.place_of(id) == Some(0);
        let upgraded = who.base().and_then(|base| self.hold_of(base));
        if let Some(hold) = upgraded.filter(|hold| hold.upgraded.is_some_and(|(by, _)| by == who.count)) {
            hold.upgraded = None; // it stays, and is shared again
            had = 1;
        } else if let Some(place) = self.place_of(id) {
            self.queue.remove(place);
            had = 2;
        } else if self.remove_hold(id) {
            had = 1;
        }
        if had == 1 {
            self.forced.remove(id);
        }
        if not_after > 0 {
            let ends = now.max(not_after) + 1000;
            self.token.get_or_insert(call.now_us);
            let longest = self.tombs.get(id).map_or(ends, |before| ends.max(*before));
            self.tombs.insert(id.to_owned(), longest);
            self.keep(call.ttl.max(ends - now));
        }
        self.hand_on(call, lapsed);
        if first {
            self.tell_head(call);
        }
        numbers(&[had, 0, 0])
    }

    pub(crate) fn force(&mut self, call: &mut Call<'_>) -> Reply {
        if self.token.is_none() {
            return numbers(&[0, 0, 0]);
        }
        let now = call.now();
        let lapsed = self.settle(call);
        let holds = std::mem::take(&mut self.holds);
        for Hold { who, .. } in &holds {
            self.extended.remove(&who.id);
            self.forced.insert(who.id.clone(), now + who.lease + 1000);
            self.keep(who.lease + 1000);
            call.post(who, 'f', &call.now_us.to_string());
        }
        self.hand_on(call, lapsed);
        numbers(&[i64::from(!holds.is_empty()), 0, 0])
    }

    pub(crate) fn inspect(&self, now_us: i64, capacity: i64, most: usize) -> Reply {
        let Some(token) = self.token else {
            return numbers(&[0]);
        };
        let now = now_us.div_euclid(1000);
        let mut holds: Vec<&Hold> = self.holds.iter().filter(|hold| !hold.is_over(now)).collect();
        holds.sort_by(|a, b| a.order().cmp(&b.order()));
        let text = |who: &Attempt| Reply::Bulk(who.id.clone().into_bytes());
        let holders = holds
            .iter()
            .take(most)
            .flat_map(|hold| [text(&hold.who), Reply::Int(hold.end)])
            .collect();
        let waiters = self
            .queue
            .iter()
            .take(most)
            .map(|waiter| text(&waiter.who))
            .collect();
        let weights = holds
            .iter()
            .take(most)
            .map(|hold| Reply::Int(hold.has()))
            .collect();
        let claim = |hold: &Hold| hold.claim.map_or(0, |missed| missed + 1);
        let claims = holds.iter().take(most).map(|hold| Reply::Int(claim(hold)));
        let waiting = self.queue.iter().take(most);
        let seen = waiting.map(|waiter| Reply::Int(silent_for(now, waiter.seen)));
        let counted = self.stored.is_some();
        let used = self.dump(if counted { 0 } else { capacity }).shared.unwrap_or(0);
        let ended = self.holds.iter().filter(|hold| counted && hold.is_over(now));
        let over = Reply::Int(ended.clone().map(Hold::has).sum());
        let [there, ended] = [holds.len(), ended.count()].map(|count| Reply::Int(count.try_into().unwrap()));
        let stored = self
            .stored
            .map_or(0, |(stored, resized)| 2 * stored + i64::from(resized));
        let [code, stamp, token, queued] = [1, now_us, token, self.waiting()].map(Reply::Int);
        Reply::Array(vec![
            code,
            stamp,
            token,
            queued,
            Reply::Array(holders),
            Reply::Array(waiters),
            Reply::Int(used),
            Reply::Int(stored),
            Reply::Array(weights),
            there,
            ended,
            over,
            Reply::Array(claims.collect()),
            Reply::Array(seen.collect()),
        ])
    }

    /// Why a hold with this token cannot be taken over.
    fn why(&self, id: &str, token: i64) -> i64 {
        if self.forced.contains_key(id) {
            return 3;
        }
        let is_taken = token > 0 && self.token.is_some_and(|last| last > token);
        if is_taken { 2 } else { 1 }
    }

    pub(crate) fn adopt(
        &mut self,
        call: &Call<'_>,
        new: &Attempt,
        old: &str,
        token: i64,
        not_after: i64,
    ) -> Reply {
        let (stamp, now) = (call.now_us, call.now());
        if self.tombs.contains_key(&new.id) {
            return numbers(&[5, stamp]);
        }
        if let Some(hold) = self.hold_of(&new.id).filter(|hold| !hold.is_over(now)) {
            return numbers(&[1, stamp, token, hold.end - now, 0]);
        }
        if now > not_after {
            return numbers(&[4, stamp]);
        }
        let is_last = token == 0 || self.token == Some(token);
        let lives = self.hold_of(old).is_some_and(|hold| !hold.is_over(now));
        if !lives || !is_last || self.hold_of(&new.id).is_some() {
            return numbers(&[3, stamp, self.why(old, token)]);
        }
        let upgraded = self.hold_of(old).and_then(|hold| hold.upgraded);
        let memory = self.hold_of(old).map_or(0, |hold| hold.who.lease) + 1000;
        self.remove_hold(old);
        self.tombs.insert(old.to_owned(), now + memory);
        self.holds.push(Hold {
            upgraded,
            ..Hold::new(new, now + new.lease)
        });
        self.keep(call.ttl.max(memory));
        numbers(&[1, stamp, token, new.lease, 0])
    }

    pub(crate) fn downgrade(
        &mut self,
        call: &mut Call<'_>,
        new: &Attempt,
        old: &str,
        token: i64,
        not_after: i64,
    ) -> Reply {
        let (stamp, now) = (call.now_us, call.now());
        if now > not_after {
            return numbers(&[4, stamp]);
        }
        let mut lapsed = self.settle(call);
        lapsed.retain(|hold| hold.who.id != old);
        let is_last = token == 0 || self.token == Some(token);
        let reply = if self.tombs.contains_key(&new.id) {
            numbers(&[5, stamp])
        } else if let Some(hold) = self.hold_of(&new.id) {
            numbers(&[1, stamp, 0, hold.end - now, 0])
        } else if is_last && self.remove_hold(old) {
            self.admit(call, Hold::new(new, now + new.lease), 0);
            self.keep(call.ttl);
            numbers(&[1, stamp, 0, new.lease, 0])
        } else {
            numbers(&[3, stamp, self.why(old, token)])
        };
        self.hand_on(call, lapsed);
        reply
    }

    pub(crate) fn resize(&mut self, call: &mut Call<'_>, not_after: i64) -> Reply {
        if call.now() > not_after {
            return numbers(&[4, call.now_us]);
        }
        self.token.get_or_insert(call.now_us);
        self.stored = Some((call.capacity, true));
        self.keep(call.ttl);
        let lapsed = self.settle(call);
        self.hand_on(call, lapsed);
        // While nothing is free nobody was looked at.
        let head = self.queue.first().map(|head| head.who.clone());
        if let Some(who) = head.filter(|who| self.used() >= call.capacity && who.weight > call.capacity) {
            call.post(&who, 'w', &format!("0 {}", call.now_us));
        }
        numbers(&[1, call.now_us, 0, 0])
    }

    /// The capacity, if it was set.
    pub(crate) fn set_by_hand(&self) -> Option<i64> {
        self.stored
            .filter(|(_, by_hand)| *by_hand)
            .map(|(capacity, _)| capacity)
    }

    pub(crate) fn split(&mut self, call: &Call<'_>, part: &Attempt, whole: &str, not_after: i64) -> Reply {
        let (stamp, now) = (call.now_us, call.now());
        if self.tombs.contains_key(&part.id) {
            return numbers(&[5, stamp]);
        }
        if let Some(hold) = self.hold_of(&part.id).filter(|hold| !hold.is_over(now)) {
            let done = [1, stamp, 0, hold.end - now, 0];
            return numbers(&done.into_iter().chain(hold.weight).collect::<Vec<_>>());
        }
        if now > not_after {
            return numbers(&[4, stamp]);
        }
        if self.hold_of(&part.id).is_some() {
            return numbers(&[3, stamp, self.why(whole, 0)]); // its time is over, it was not removed yet
        }
        let why = self.why(whole, 0);
        let Some(hold) = self.hold_of(whole).filter(|hold| !hold.is_over(now)) else {
            return numbers(&[3, stamp, why]);
        };
        if hold.has() <= part.weight {
            return numbers(&[3, stamp, 1]);
        }
        hold.weight = Some(hold.has() - part.weight);
        if hold.claim.take().is_some() || hold.end < now + part.lease {
            hold.end = now + part.lease;
        }
        self.holds.push(Hold::new(part, now + part.lease));
        self.keep(call.ttl);
        numbers(&[1, stamp, 0, part.lease, 0])
    }

    pub(crate) fn merge(&mut self, call: &Call<'_>, into: &Attempt, part: &Attempt, not_after: i64) -> Reply {
        let (stamp, now) = (call.now_us, call.now());
        let lives = |hold: &&mut Hold| !hold.is_over(now);
        let done = self.tombs.contains_key(&part.id);
        let over = self.why(&into.id, 0).max(self.why(&part.id, 0));
        let over = numbers(&[3, stamp, over]);
        let has = self.hold_of(&part.id).filter(lives).map(|hold| hold.has());
        let Some(hold) = self.hold_of(&into.id).filter(lives) else {
            return over;
        };
        let Some(has) = has.filter(|_| !done) else {
            return if done { numbers(&[1, stamp]) } else { over };
        };
        if now > not_after {
            return numbers(&[4, stamp]);
        }
        hold.weight = Some(hold.has() + has);
        if hold.claim.take().is_some() || hold.end < now + into.lease {
            hold.end = now + into.lease;
        }
        self.remove_hold(&part.id);
        self.tombs.insert(part.id.clone(), not_after + 1000);
        self.keep(call.ttl);
        numbers(&[1, stamp])
    }
}
