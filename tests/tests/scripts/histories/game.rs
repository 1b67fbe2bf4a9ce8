//! A record and those who ask for it: turns random steps into requests, by what the record says.

use std::collections::BTreeSet;

use crate::attempt::Attempt;
use crate::bench::Script;
use latchwork_core::kit::record::{Kind, Member, decode};

use crate::steps::{self, CLIENTS, Floor, SLOTS, Step, Token, World};
use crate::world::MINUTE;

use super::probe::Ran;

/// What a game is about.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rules {
    pub(super) kind: World,
    pub(super) capacity: i64,
    pub(super) weights: &'static [i64],
    /// So many attempts at one time.
    pub(super) slots: usize,
    /// Of so many clients.
    pub(super) clients: usize,
    /// Of a counted primitive: its rate, or nothing.
    pub(super) pace: &'static str,
}

/// In place of a slot: one whose attempt holds, if there is any.
pub(super) const HOLDER: usize = SLOTS * 8;

/// A request: the script, how many keys it takes, and its arguments.
pub(crate) type Request = (Script, usize, Vec<String>);

#[derive(Debug)]
pub(crate) struct Game {
    pub(super) rules: Rules,
    pub(super) now_us: i64,
    pub(super) life: i64,
    pub(super) members: Vec<(String, f64)>,
    pub(super) listening: [bool; CLIENTS],
    slots: Vec<(Attempt, i64)>,
    attempts: u64,
    /// Attempts that took over a hold, or were split off one: those do not acquire.
    adopters: BTreeSet<String>,
}

impl Game {
    pub(super) fn new(rules: Rules) -> Self {
        let mut game = Self {
            rules,
            now_us: 1_700_000_000_000_000,
            life: -1,
            members: Vec::new(),
            listening: [true; CLIENTS],
            slots: Vec::new(),
            attempts: 0,
            adopters: BTreeSet::new(),
        };
        for slot in 0..rules.slots {
            let who = game.attempt(slot % rules.clients, slot);
            game.slots.push((who, 0));
        }
        game
    }

    fn now(&self) -> i64 {
        self.now_us.div_euclid(1000)
    }

    fn counted(&self) -> bool {
        self.rules.kind == World::Counted
    }

    fn attempt(&mut self, client: usize, shape: usize) -> Attempt {
        self.attempts += 1;
        let weight = self.rules.weights[shape % self.rules.weights.len()];
        let (lease, window) = [(40, 10), (100, 400), (1000, 256), (15_000, 400)][shape / 3 % 4];
        match shape % 3 {
            owner @ 1.. if self.rules.kind == World::Owners => {
                Attempt::owned(client, self.attempts, owner, weight, lease, window)
            }
            _ => Attempt::new(client, self.attempts, weight, lease, window),
        }
    }

    fn score(&self, member: &str) -> Option<f64> {
        let found = self.members.iter().find(|(name, _)| name == member);
        found.map(|(_, score)| *score)
    }

    fn holds(&self, slot: usize) -> bool {
        let score = self.score(&self.slots[slot].0.id);
        score.is_some_and(|score| (1e12..1e14).contains(&score))
    }

    fn is_there(&self, slot: usize) -> bool {
        let score = self.score(&self.slots[slot].0.id);
        score.is_some_and(|score| score < 1e14)
    }

    #[allow(
        clippy::cast_possible_truncation,
        reason = "a token is a whole number below 2^53"
    )]
    fn last_token(&self) -> i64 {
        self.score("t1").unwrap_or(0.0) as i64
    }

    fn token(&self, slot: usize, which: Token) -> i64 {
        match which {
            Token::Own => self.slots[slot].1,
            Token::Last => self.last_token(),
            Token::None => 0,
            Token::Wrong(more) => (self.slots[slot].1 + more).max(0),
        }
    }

    /// As in `World::resolve`; and `HOLDER` is one who holds.
    fn resolve(&self, slot: usize) -> usize {
        let holder = (0..self.slots.len()).find(|other| slot == HOLDER && self.holds(*other));
        if let Some(holder) = holder {
            return holder;
        }
        let there: Vec<usize> = (0..self.slots.len())
            .filter(|other| slot >= SLOTS && self.is_there(*other))
            .collect();
        if there.is_empty() {
            slot % self.slots.len()
        } else {
            there[slot % there.len()]
        }
    }

    pub(super) fn capacity_of(&self, who: Option<&Attempt>, capacity: i64) -> String {
        let suffix = match who {
            Some(who) if who.base().is_some() => "u",
            _ if self.counted() => "c",
            _ => "",
        };
        format!("{capacity}{suffix}")
    }

    fn pass_until_due(&mut self, which: usize, off: i64) {
        let (mut ends, mut seen) = (Vec::new(), Vec::new());
        for (member, score) in &self.members {
            match decode(Kind::Lock, member, *score) {
                Some(Member::Waiter { seen: at, .. }) => seen.push(at),
                Some(Member::Holder { ends: at, .. } | Member::Tombstone { ends: at, .. }) => ends.push(at),
                _ => {}
            }
        }
        // The record's life has to be prolonged if less is left of it than a lease and the retention.
        let lives = self
            .slots
            .iter()
            .map(|(who, _)| self.life - who.lease - 3 * MINUTE);
        ends.extend(lives.filter(|_| self.life >= 0));
        if let Some(ms) = steps::until_due(self.now(), &ends, &seen, which, off) {
            self.now_us = (self.now() + ms) * 1000;
        }
    }

    /// What the step asks of the server, if anything.
    pub(super) fn apply(&mut self, step: &Step) -> Option<Request> {
        let count = self.slots.len();
        match step {
            Step::Pass(ms, us) => self.now_us += ms * 1000 + us,
            Step::Due(which, off) => self.pass_until_due(*which, *off),
            Step::SetBack(ms) => self.now_us -= ms * 1000,
            Step::Inbox(client, on) => self.listening[*client] = *on,
            Step::Fresh(slot, shape) => {
                let slot = slot % count;
                self.slots[slot] = (self.attempt(slot % self.rules.clients, *shape), 0);
            }
            Step::Acquire { slot, .. } => return self.acquire(*slot % count, step),
            Step::Upgrade { slot, base, .. } => {
                self.upgrade(slot % count, base % count);
                return self.acquire(slot % count, step);
            }
            Step::End(slot, tomb) => return Some(self.end(self.resolve(*slot), *tomb)),
            Step::Tick(items) => return Some(self.tick(items)),
            Step::Force(_) => {
                let args = [
                    self.capacity_of(None, self.rules.capacity),
                    (5 * MINUTE).to_string(),
                ];
                return Some((Script::Force, 1, args.to_vec()));
            }
            Step::Inspect(..) => {}
            Step::Adopt { new, old, token, .. } => {
                return self.take_over(Script::Adopt, new % count, self.resolve(*old), *token);
            }
            Step::Downgrade { new, old, token, .. } => {
                return self.take_over(Script::Downgrade, new % count, self.resolve(*old), *token);
            }
            Step::Resize(which, capacity, _) => {
                let what = ["capacity", "pace"][*which];
                let pace = if capacity % 2 == 0 { "" } else { self.rules.pace };
                let args = [
                    self.capacity_of(None, *capacity),
                    (7 * MINUTE).to_string(),
                    self.now().to_string(),
                    pace.to_owned(),
                    what.to_owned(),
                ];
                return Some((Script::Resize, 1, args.to_vec()));
            }
            Step::Split(part, whole, _) => {
                return self.part(Script::Split, part % count, self.resolve(*whole));
            }
            Step::Merge(into, part, _) => {
                return self.part(Script::Merge, self.resolve(*into), self.resolve(*part));
            }
        }
        None
    }

    fn acquire(&mut self, slot: usize, step: &Step) -> Option<Request> {
        let (room, late, floor, polls, ahead) = match step {
            Step::Acquire {
                room,
                late,
                floor,
                polls,
                ahead,
                ..
            } => (*room, *late, *floor, *polls, *ahead),
            Step::Upgrade { room, .. } => (*room, false, Floor::None, false, 0),
            other => panic!("{other:?}"),
        };
        let who = &self.slots[slot].0;
        if self.adopters.contains(&who.id) {
            return None;
        }
        let made_with = self.rules.capacity + i64::from(self.counted() && self.attempts.is_multiple_of(8));
        let floor = match floor {
            Floor::FromToken(more) if !self.counted() => (self.last_token() + more).max(0),
            Floor::FromNow(more) if !self.counted() => self.now_us + more,
            _ => 0,
        };
        let not_after = self.now() + if late { -1 } else { 5 * i64::from(polls) };
        let room = if self.counted() && room == 2 { -1 } else { room };
        let pace = if slot.is_multiple_of(4) {
            ""
        } else {
            self.rules.pace
        };
        let patience = if pace.is_empty() {
            ""
        } else {
            ["1e18", "3000"][slot % 2]
        };
        let numbers = [who.lease, who.lease + 3 * MINUTE, who.weight].map(|number| number.to_string());
        let mut args = vec![who.id.clone()];
        args.extend(numbers);
        args.push(self.capacity_of(Some(who), made_with));
        args.extend([not_after, room].map(|number| number.to_string()));
        args.extend([pace, patience].map(str::to_owned));
        args.extend([floor, if polls { 3 } else { 0 }, ahead].map(|number| number.to_string()));
        Some((Script::Acquire, 1, args))
    }

    fn end(&self, slot: usize, tomb: Option<i64>) -> Request {
        let who = &self.slots[slot].0;
        let not_after = tomb.map_or(0, |ms| self.now() + ms);
        let args = [
            who.id.clone(),
            self.capacity_of(Some(who), self.rules.capacity),
            (3 * MINUTE).to_string(), // the retention of acquire
            not_after.to_string(),
        ];
        (Script::End, 1, args.to_vec())
    }

    fn tick(&self, items: &[(char, usize, Token)]) -> Request {
        let mut items: Vec<_> = items
            .iter()
            .map(|(op, slot, token)| (*op, self.resolve(*slot), *token))
            .collect();
        // A client names an attempt once. Holds that are in order are renewed before anything else is looked
        // at, so their order is no promise: here they come first.
        items.sort_by_key(|(op, slot, _)| (*slot, *op));
        items.dedup_by_key(|(_, slot, _)| *slot);
        items.sort_by_key(|(op, slot, _)| !matches!((*op, self.holds(*slot)), ('h', _) | (steps::APT, true)));
        let mut args = Vec::new();
        let mut longest = 0;
        for (op, slot, token) in items {
            let who = &self.slots[slot].0;
            let (op, lease) = match op {
                steps::APT if self.holds(slot) => ('h', who.lease),
                steps::APT => ('w', who.lease),
                steps::LESS => ('x', who.lease * 2),
                'x' => ('x', who.lease * 5),
                op => (op, who.lease),
            };
            // Every other renewal is one that is certainly a write, and otherwise the same.
            let op = if op == 'h' && args.len() % 2 > 0 { 'd' } else { op };
            longest = longest.max(lease);
            args.push([
                op.to_string(),
                who.id.clone(),
                self.token(slot, token).to_string(),
                lease.to_string(),
                String::new(),
                self.capacity_of(Some(who), self.rules.capacity),
            ]);
        }
        // The item that settles sets the record's life: all have the same here.
        for item in &mut args {
            item[4] = (longest + 3 * MINUTE).to_string();
        }
        (Script::Tick, args.len(), args.concat())
    }

    /// As in `World::upgrade`.
    fn upgrade(&mut self, slot: usize, base: usize) {
        let (there, all) = (&self.slots[base].0, self.rules.capacity);
        let fits =
            base != slot && base % self.rules.clients == slot % self.rules.clients && there.weight < all;
        if fits && there.base().is_none() && !self.holds(slot) && self.holds(base) {
            self.attempts += 1;
            self.slots[slot] = (Attempt::upgrade(there, self.attempts, all), 0);
        }
    }

    /// As in `World::take_over`.
    fn take_over(&mut self, script: Script, new: usize, old: usize, token: Token) -> Option<Request> {
        let (who, from) = (&self.slots[new].0, &self.slots[old].0);
        let fits = if script == Script::Adopt {
            who.weight == from.weight && who.kin == from.kin
        } else {
            who.weight < self.rules.capacity && who.weight <= from.weight
        };
        let plain = who.base().is_none() && from.base().is_none() && who != from;
        if !fits || !plain || self.is_there(new) {
            return None;
        }
        self.adopters.insert(who.id.clone());
        let mut args = vec![who.id.clone()];
        args.extend([who.lease, who.lease + 6 * MINUTE].map(|number| number.to_string()));
        args.extend([from.id.clone(), self.token(old, token).to_string()]);
        if script == Script::Downgrade {
            args.push(self.capacity_of(None, self.rules.capacity));
        }
        args.push(self.now().to_string());
        Some((script, 1, args))
    }

    /// As in `World::part`.
    fn part(&mut self, script: Script, one: usize, other: usize) -> Option<Request> {
        let (who, from) = (&self.slots[one].0, &self.slots[other].0);
        if who == from || (script == Script::Split && self.is_there(one)) {
            return None;
        }
        if script == Script::Split {
            self.adopters.insert(who.id.clone());
        }
        let mut args = vec![who.id.clone()];
        args.extend([who.lease, who.lease + 6 * MINUTE].map(|number| number.to_string()));
        args.extend([from.id.clone(), self.now().to_string()]);
        Some((script, 1, args))
    }

    /// What the record is now; and an attempt that holds everything knows its token.
    pub(super) fn learn(&mut self, ran: &Ran) {
        self.members.clone_from(&ran.one.members);
        self.life = ran.one.life;
        let token = self.last_token();
        let all = self.rules.capacity;
        let exclusive = |who: &Attempt| who.weight >= all && who.base().is_none();
        let held: Vec<usize> = (0..self.slots.len()).filter(|slot| self.holds(*slot)).collect();
        for slot in held {
            if self.slots[slot].1 == 0 && !self.counted() && exclusive(&self.slots[slot].0) {
                self.slots[slot].1 = token;
            }
        }
    }
}
