//! What the engine has to do, in plain Rust: holds, and what is over. `requests.rs` has the scripts on top of it.
//!
//! It keeps no scores, no `u`, no `o` and no `p`: what the record must say about those is derived when it is dumped. It
//! knows no bound on the entries of a step either; tests with so many are in `faults.rs`. `queue.rs` has who is next.

use std::collections::BTreeMap;

pub(crate) use crate::attempt::Attempt;
use crate::dump::Dump;

/// Units of 512 ms after which a waiter makes room in a full queue, and is dropped when it reaches the front.
pub(crate) const PATIENCE: i64 = 20;
pub(crate) const GONE: i64 = 59;
pub(crate) const UNIT: i64 = 512;
pub(crate) const UNITS: i64 = 1 << 18;
/// By so many units the clock may have been set back.
pub(crate) const STEPPED: i64 = 8192;
/// The chance of a waiter that polls.
pub(crate) const POLLS: i64 = 3;

#[derive(Clone, Debug)]
pub(crate) struct Waiter {
    pub(crate) who: Attempt,
    pub(crate) ticket: i64,
    pub(crate) chance: i64,
    pub(crate) seen: i64,
}

#[derive(Clone, Debug)]
pub(crate) struct Hold {
    pub(crate) who: Attempt,
    pub(crate) end: i64,
    /// For a claim: how many of the attempt's claims lapsed before.
    pub(crate) claim: Option<i64>,
    /// What it has, if that is not what its id says: drained, split or merged.
    pub(crate) weight: Option<i64>,
    /// The counter of the upgrade that made it exclusive, and everything there is.
    pub(crate) upgraded: Option<(i64, i64)>,
}

impl Hold {
    pub(crate) fn new(who: &Attempt, end: i64) -> Self {
        Self {
            who: who.clone(),
            end,
            claim: None,
            weight: None,
            upgraded: None,
        }
    }

    pub(crate) fn has(&self) -> i64 {
        let all = self.upgraded.map(|(_, all)| all);
        all.or(self.weight).unwrap_or(self.who.weight)
    }

    /// Holds sort by score and then by id; a claim's score has a fraction.
    pub(crate) fn order(&self) -> (i64, i64, &str) {
        (self.end, self.claim.map_or(0, |missed| missed + 1), &self.who.id)
    }

    pub(crate) fn is_over(&self, now: i64) -> bool {
        self.end < now || (self.end == now && self.claim.is_none())
    }
}

/// What a call brings along, and the messages that it sends.
#[derive(Debug)]
pub(crate) struct Call<'a> {
    pub(crate) now_us: i64,
    /// What the request says; from `settle` on what the record says, if it says anything.
    pub(crate) capacity: i64,
    pub(crate) counted: bool,
    pub(crate) ttl: i64,
    /// The clients whose inbox is subscribed.
    pub(crate) listening: &'a [String],
    pub(crate) mail: BTreeMap<String, String>,
    /// Those behind a claim that may be a dead one's, and its window: they are told if the step does not grant to them.
    pub(crate) doubts: Vec<(Attempt, i64)>,
    /// Claims that lapsed are kept aside.
    pub(crate) lapsed: bool,
    /// The waiters that a tick is about.
    pub(crate) alive: Vec<String>,
    /// The fast path was taken: nobody looks who waits behind the one who is granted everything, even if it has an owner.
    pub(crate) quick: bool,
}

impl Call<'_> {
    pub(crate) fn exclusive(&self, weight: i64) -> bool {
        !self.counted && weight >= self.capacity
    }

    pub(crate) fn now(&self) -> i64 {
        self.now_us.div_euclid(1000)
    }

    pub(crate) fn second(&self) -> i64 {
        self.now().div_euclid(1000)
    }

    pub(crate) fn seen_now(&self) -> i64 {
        self.now().div_euclid(UNIT).rem_euclid(UNITS)
    }

    pub(crate) fn age(&self, seen: i64) -> i64 {
        let units = (self.seen_now() - seen).rem_euclid(UNITS);
        if units > UNITS - STEPPED { 0 } else { units }
    }

    /// When it was seen is that many units ago, whatever the clock did.
    pub(crate) fn raw_age(&self, seen: i64) -> i64 {
        (self.seen_now() - seen).rem_euclid(UNITS)
    }

    pub(crate) fn post(&mut self, to: &Attempt, kind: char, rest: &str) {
        let (client, id) = to.parts();
        let line = format!("{kind} {id} {rest}");
        self.mail
            .entry(client.to_owned())
            .and_modify(|lines| {
                lines.push(';');
                lines.push_str(&line);
            })
            .or_insert(line);
    }
}

/// One primitive's record.
#[derive(Clone, Debug, Default)]
pub(crate) struct Record {
    pub(crate) token: Option<i64>,
    /// The capacity of a counted primitive, and whether it was resized.
    pub(crate) stored: Option<(i64, bool)>,
    /// In order of tickets. Those of one owner have the same, and are in the order of chance, sign of life and id.
    pub(crate) queue: Vec<Waiter>,
    /// The next ticket, and since when tickets count milliseconds: forgotten when nobody waits.
    pub(crate) next: Option<i64>,
    pub(crate) since: Option<i64>,
    /// The second in which the queue was full and the dead were looked for.
    pub(crate) swept: Option<i64>,
    /// When the first of the claims was made that lapsed of late.
    pub(crate) doubt: Option<i64>,
    pub(crate) holds: Vec<Hold>,
    pub(crate) extended: BTreeMap<String, i64>,
    pub(crate) tombs: BTreeMap<String, i64>,
    pub(crate) forced: BTreeMap<String, i64>,
    /// The longest life that was asked for the key, ms from then.
    pub(crate) life: i64,
}

impl Record {
    /// `capacity` is 0 if it is counted: then nobody is exclusive.
    pub(crate) fn dump(&self, capacity: i64) -> Dump {
        let places = self.queue.iter();
        let queue = places
            .clone()
            .map(|waiter| (waiter.who.id.clone(), waiter.chance, waiter.seen))
            .collect();
        let holds = self
            .holds
            .iter()
            .map(|hold| (hold.who.id.clone(), (hold.end, hold.claim)))
            .collect();
        let shared = self.shared(capacity);
        let weights = self
            .holds
            .iter()
            .filter_map(|hold| Some((hold.who.id.clone(), hold.weight?)))
            .collect();
        Dump {
            token: self.token,
            weights,
            stored: self.stored,
            queue,
            holds,
            extended: self.extended.clone(),
            tombs: self.tombs.clone(),
            forced: self.forced.clone(),
            shared: Some(shared).filter(|weight| *weight > 0),
            tickets: places
                .clone()
                .map(|place| (place.who.id.clone(), place.ticket))
                .collect(),
            next: self.next,
            since: self.since,
            swept: self.swept,
            doubt: self.doubt,
            marks: places
                .filter_map(|place| Some((place.who.owner()?.to_owned(), place.ticket)))
                .collect(),
            upgraded: self
                .holds
                .iter()
                .filter_map(|hold| Some((hold.who.id.clone(), hold.upgraded?.0)))
                .collect(),
        }
    }

    /// What shared holds have, also an upgraded one. `capacity`: as in [`dump`](Self::dump).
    pub(crate) fn shared(&self, capacity: i64) -> i64 {
        let shares = |hold: &&Hold| capacity == 0 || hold.who.weight < capacity;
        self.holds.iter().filter(shares).map(Hold::has).sum()
    }

    /// Holds of one owner count more than there is.
    pub(crate) fn used(&self) -> i64 {
        self.holds.iter().map(Hold::has).sum()
    }

    /// The owner of the exclusive holds.
    pub(crate) fn owner(&self, call: &Call<'_>) -> Option<String> {
        let mut exclusive = self.holds.iter().filter(|hold| call.exclusive(hold.who.weight));
        Some(exclusive.next()?.who.owner()?.to_owned())
    }

    /// Whether it may be granted beside those who hold.
    pub(crate) fn fits(&self, call: &Call<'_>, who: &Attempt) -> bool {
        let owner = self.owner(call);
        self.used() + who.weight <= call.capacity || (owner.is_some() && owner.as_deref() == who.owner())
    }

    /// The length of the queue.
    pub(crate) fn waiting(&self) -> i64 {
        i64::try_from(self.queue.len()).unwrap()
    }

    pub(crate) fn hold_of(&mut self, id: &str) -> Option<&mut Hold> {
        self.holds.iter_mut().find(|hold| hold.who.id == id)
    }

    pub(crate) fn place_of(&self, id: &str) -> Option<usize> {
        self.queue.iter().position(|waiter| waiter.who.id == id)
    }

    pub(crate) fn keep(&mut self, ms: i64) {
        self.life = self.life.max(ms);
    }

    /// Milliseconds until the first hold ends; -1: there is none.
    pub(crate) fn wake(&self, now: i64) -> i64 {
        let ends = self
            .holds
            .iter()
            .map(|hold| hold.end + i64::from(hold.claim.is_some()));
        ends.min().map_or(-1, |end| (end - now).max(0))
    }

    pub(crate) fn refresh(&mut self, call: &Call<'_>, place: usize, chance: i64) {
        self.queue[place].chance = chance;
        self.queue[place].seen = call.seen_now();
        self.sort();
    }

    /// By a tick: the claims that it missed stay counted.
    pub(crate) fn refresh_by_tick(&mut self, call: &Call<'_>, place: usize, chance: i64) {
        let before = self.queue[place].chance;
        let kept = if before % POLLS == 0 { chance } else { before };
        self.refresh(call, place, kept);
    }

    /// The queue is full: places of the dead make room, once a second.
    pub(crate) fn sweep(&mut self, call: &Call<'_>) {
        if self.swept.replace(call.second()) != Some(call.second()) {
            self.queue.retain(|waiter| call.age(waiter.seen) <= PATIENCE);
        }
    }

    pub(crate) fn remove_hold(&mut self, id: &str) -> bool {
        let before = self.holds.len();
        self.holds.retain(|hold| hold.who.id != id);
        self.extended.remove(id);
        self.holds.len() < before
    }

    pub(crate) fn new_token(&mut self, call: &Call<'_>, above: i64) -> i64 {
        let token = call
            .now_us
            .max(above + 1)
            .max(self.token.map_or(0, |last| last + 1));
        self.token = Some(token);
        if token > call.now_us {
            self.keep(call.ttl + (token - call.now_us + 999) / 1000);
        }
        token
    }

    /// Makes `who` a holder and returns its token; shared holders have none, a re-entry has that of its owner.
    pub(crate) fn admit(&mut self, call: &Call<'_>, hold: Hold, above: i64) -> i64 {
        let exclusive = call.exclusive(hold.who.weight);
        let before = self.owner(call);
        let enters_again = before.is_some() && before.as_deref() == hold.who.owner();
        self.holds.push(hold);
        if exclusive && enters_again {
            return self.token.unwrap();
        } else if exclusive {
            return self.new_token(call, above);
        }
        self.token.get_or_insert(call.now_us);
        if call.counted {
            self.stored.get_or_insert((call.capacity, false));
        }
        0
    }

    /// Whether the hold that this upgrade names was made exclusive by it.
    pub(crate) fn upgraded(&self, who: &Attempt) -> bool {
        let base = self.holds.iter().find(|hold| who.base() == Some(&hold.who.id));
        base.and_then(|hold| hold.upgraded)
            .is_some_and(|(by, _)| by == who.count)
    }

    /// Whether this hold can be made exclusive: nobody else holds.
    pub(crate) fn is_alone(&self, id: &str) -> bool {
        self.holds
            .iter()
            .all(|hold| hold.who.id == id && hold.upgraded.is_none())
    }

    /// Makes it exclusive, for the upgrade with this counter. Returns the token.
    pub(crate) fn upgrade(&mut self, call: &Call<'_>, base: &str, counter: i64, above: i64) -> i64 {
        let hold = self.hold_of(base).unwrap();
        hold.upgraded = Some((counter, call.capacity));
        self.new_token(call, above)
    }

    /// What the record says counts.
    pub(crate) fn take_capacity(&self, call: &mut Call<'_>) {
        if let (true, Some((stored, _))) = (call.counted, self.stored) {
            call.capacity = stored;
        }
    }

    /// Removes what is over; returns the claims that go back to the front.
    pub(crate) fn settle(&mut self, call: &mut Call<'_>) -> Vec<Hold> {
        let now = call.now();
        self.take_capacity(call);
        self.tombs.retain(|_, end| *end > now);
        self.forced.retain(|_, end| *end > now);
        self.holds.sort_by(|a, b| a.order().cmp(&b.order()));
        let (over, rest) = self
            .holds
            .drain(..)
            .partition::<Vec<_>, _>(|hold| hold.is_over(now));
        self.holds = rest;
        for hold in &over {
            self.extended.remove(&hold.who.id);
        }
        self.clamp(now);
        over.into_iter()
            .filter(|hold| matches!(hold.claim, Some(0 | 1)))
            .collect()
    }

    /// No hold lasts longer than its own lease, if the clock was set back.
    fn clamp(&mut self, now: i64) {
        let outlasts = |hold: &Hold, most: i64| hold.end - now > most + i64::from(hold.claim.is_none());
        if !self
            .holds
            .last()
            .is_some_and(|last| outlasts(last, last.who.lease))
        {
            return;
        }
        for hold in &mut self.holds {
            let longer = self.extended.get(&hold.who.id).copied().unwrap_or(0);
            let most = hold.who.lease.max(longer);
            if outlasts(hold, most) {
                hold.end = now + most;
            }
        }
        self.holds.sort_by(|a, b| a.order().cmp(&b.order()));
    }
}
