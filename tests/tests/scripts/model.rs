//! What the engine has to do, in plain Rust: settle, pump, put back. `requests.rs` has the scripts on top of it.
//!
//! It keeps no scores, no `u` and no `q`: what the record must say about those is derived when it is dumped. It knows
//! no bound on the entries of a step either; tests with so many are in `bounds.rs`.

use std::collections::{BTreeMap, VecDeque};

use crate::dump::Dump;

/// Units of 256 ms after which a waiter is dropped when it reaches the front.
const PATIENCE: i64 = 40;
const DEAF: i64 = 16;
const UNIT: i64 = 256;
const UNITS: i64 = 1 << 18;
/// The chance of a waiter that polls.
pub(crate) const POLLS: i64 = 3;

/// One attempt. Its id says everything about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Attempt {
    pub(crate) id: String,
    pub(crate) weight: i64,
    pub(crate) lease: i64,
    pub(crate) window: i64,
}

impl Attempt {
    pub(crate) fn new(client: usize, count: u64, weight: i64, lease: i64, window: i64) -> Self {
        let id = format!("Client{client:016}.{count}:{weight}:{lease}:{window}");
        Self {
            id,
            weight,
            lease,
            window,
        }
    }

    /// The client's part of the id, and the rest.
    pub(crate) fn parts(&self) -> (&str, &str) {
        self.id.split_at(22)
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Waiter {
    pub(crate) who: Attempt,
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
}

impl Hold {
    pub(crate) fn has(&self) -> i64 {
        self.weight.unwrap_or(self.who.weight)
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
}

impl Call<'_> {
    pub(crate) fn exclusive(&self, weight: i64) -> bool {
        !self.counted && weight >= self.capacity
    }

    pub(crate) fn now(&self) -> i64 {
        self.now_us.div_euclid(1000)
    }

    pub(crate) fn seen_now(&self) -> i64 {
        self.now().div_euclid(UNIT).rem_euclid(UNITS)
    }

    fn age(&self, seen: i64) -> i64 {
        let units = (self.seen_now() - seen).rem_euclid(UNITS);
        if units > UNITS / 2 { 0 } else { units }
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
    pub(crate) queue: VecDeque<Waiter>,
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
        let queue = self
            .queue
            .iter()
            .map(|waiter| (waiter.who.id.clone(), waiter.chance, waiter.seen))
            .collect();
        let holds = self
            .holds
            .iter()
            .map(|hold| (hold.who.id.clone(), (hold.end, hold.claim)))
            .collect();
        let shared = self
            .holds
            .iter()
            .map(Hold::has)
            .filter(|weight| capacity == 0 || *weight < capacity)
            .sum::<i64>();
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
            tickets: !self.queue.is_empty(),
        }
    }

    pub(crate) fn used(&self) -> i64 {
        self.holds.iter().map(Hold::has).sum()
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
    }

    /// By a tick: the claims that it missed stay counted.
    pub(crate) fn refresh_by_tick(&mut self, call: &Call<'_>, place: usize, chance: i64) {
        let before = self.queue[place].chance;
        let kept = if chance == POLLS || before == POLLS {
            chance
        } else {
            before
        };
        self.refresh(call, place, kept);
    }

    /// The queue is full: places of the dead make room.
    pub(crate) fn sweep(&mut self, call: &Call<'_>) {
        self.queue.retain(|waiter| call.age(waiter.seen) <= PATIENCE);
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

    /// Makes `who` a holder and returns its token; shared holders have none.
    pub(crate) fn admit(&mut self, call: &Call<'_>, hold: Hold, above: i64) -> i64 {
        let exclusive = call.exclusive(hold.has());
        self.holds.push(hold);
        if exclusive {
            return self.new_token(call, above);
        }
        self.token.get_or_insert(call.now_us);
        if call.counted {
            self.stored.get_or_insert((call.capacity, false));
        }
        0
    }

    /// Removes what is over; returns the claims that go back to the front.
    pub(crate) fn settle(&mut self, call: &mut Call<'_>) -> Vec<Hold> {
        let now = call.now();
        if let (true, Some((stored, _))) = (call.counted, self.stored) {
            call.capacity = stored;
        }
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
        let within = |last: &Hold| last.end - now + i64::from(last.claim.is_some()) <= last.who.lease;
        if self.holds.last().is_none_or(within) {
            return;
        }
        for hold in &mut self.holds {
            let longer = self.extended.get(&hold.who.id).copied().unwrap_or(0);
            let most = hold.who.lease.max(longer);
            if hold.end - now > most + i64::from(hold.claim.is_none()) {
                hold.end = now + most;
            }
        }
        self.holds.sort_by(|a, b| a.order().cmp(&b.order()));
    }

    /// Grants, puts back the claims that lapsed, grants again.
    pub(crate) fn hand_on(&mut self, call: &mut Call<'_>, lapsed: Vec<Hold>) {
        self.pump(call);
        if lapsed.is_empty() {
            return;
        }
        let seen = (call.seen_now() - DEAF + 4).rem_euclid(UNITS);
        for hold in lapsed.into_iter().rev() {
            let chance = hold.claim.map_or(0, |missed| missed + 1);
            self.queue.push_front(Waiter {
                who: hold.who,
                chance,
                seen,
            });
        }
        self.pump(call);
    }

    /// Tells the head of the queue when the claim before it ends.
    pub(crate) fn tell_head(&self, call: &mut Call<'_>) {
        let next = self.holds.iter().min_by(|a, b| a.order().cmp(&b.order()));
        if let (Some(Hold { claim: Some(_), .. }), Some(head)) = (next, self.queue.front()) {
            let wake = self.wake(call.now());
            call.post(&head.who, 'w', &format!("{wake} {}", call.now_us));
        }
    }

    fn pump(&mut self, call: &mut Call<'_>) {
        let mut at = 0; // those before it are passed over
        while at < self.queue.len() && self.used() < call.capacity {
            let head = &self.queue[at];
            let listens =
                head.chance == POLLS || call.listening.iter().any(|client| client == head.who.parts().0);
            let age = call.age(head.seen);
            if age > PATIENCE || (age > DEAF && !listens) {
                self.queue.remove(at);
            } else if head.who.weight > call.capacity {
                let who = head.who.clone();
                self.queue.remove(at);
                call.post(&who, 'w', &format!("0 {}", call.now_us));
            } else if self.used() + head.who.weight > call.capacity {
                break;
            } else if listens {
                let behind = self.queue.get(at + 1).map(|next| next.who.clone());
                self.hand_over(call, at, behind);
            } else {
                at += 1;
            }
        }
        while at > 0 && self.used() < call.capacity && self.used() + self.queue[0].who.weight <= call.capacity
        {
            at -= 1;
            let behind = self.queue.get(1).filter(|_| at > 0).map(|next| next.who.clone());
            self.hand_over(call, 0, behind);
        }
    }

    /// A claim on the waiter's behalf, and the messages about it.
    fn hand_over(&mut self, call: &mut Call<'_>, place: usize, behind: Option<Attempt>) {
        let Some(Waiter { who, chance, seen }) = self.queue.remove(place) else {
            return;
        };
        let missed = chance % POLLS;
        let window = (who.window << missed).min(who.lease);
        self.keep(window + call.ttl);
        let claim = Hold {
            who: who.clone(),
            end: call.now() + window,
            claim: Some(missed),
            weight: None,
        };
        let token = self.admit(call, claim, 0);
        call.post(&who, 'g', &format!("{token} {} {window}", call.now_us));
        if let Some(behind) = behind.filter(|_| missed > 0 || call.age(seen) * UNIT > window) {
            call.post(&behind, 'w', &format!("{window} {}", call.now_us));
        }
    }
}
