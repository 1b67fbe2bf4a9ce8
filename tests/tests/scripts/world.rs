//! Two records on a server and in the model, and the attempts that ask for them: applies a step to both.

use std::collections::{BTreeMap, BTreeSet};

use crate::bench::{Bench, Script};
use crate::model::{Attempt, Record};
use crate::requests::Acquire;
use crate::steps::{CLIENTS, Floor, SLOTS, Step, Token, World as Kind};

pub(crate) const INBOX: &str = "latchwork:inbox:";
pub(crate) const KEYS: [&str; 2] = ["latchwork:lock:{a}", "latchwork:lock:{b}"];
pub(crate) const MINUTE: i64 = 60_000;

/// An attempt in play.
#[derive(Debug)]
pub(crate) struct Slot {
    pub(crate) who: Attempt,
    pub(crate) record: usize,
    /// The last token that the attempt was told.
    pub(crate) token: i64,
}

#[derive(Debug)]
pub(crate) struct World<'a> {
    pub(crate) bench: &'a mut Bench,
    pub(crate) kind: Kind,
    pub(crate) capacity: i64,
    pub(crate) last_token: [Option<i64>; 2],
    /// What was in use after the last request: after a resize that may be more than there is, but it never grows then.
    pub(crate) used_before: [i64; 2],
    pub(crate) weights: &'static [i64],
    pub(crate) records: [Record; 2],
    pub(crate) slots: Vec<Slot>,
    pub(crate) listening: Vec<String>,
    pub(crate) attempts: u64,
    /// Tokens that were issued, with who got them: none may be issued twice.
    pub(crate) issued: BTreeMap<(usize, i64), String>,
    /// Attempts that adopted a hold, or asked for one.
    pub(crate) adopters: BTreeSet<String>,
    pub(crate) seen: BTreeMap<String, u32>,
}

impl<'a> World<'a> {
    pub(crate) fn new(bench: &'a mut Bench, kind: Kind, capacity: i64, weights: &'static [i64]) -> Self {
        bench.redis(&["DEL", KEYS[0], KEYS[1]]);
        bench.now_us = 1_700_000_000_000_000;
        let mut world = Self {
            bench,
            kind,
            capacity,
            last_token: [None; 2],
            used_before: [0; 2],
            weights,
            records: Default::default(),
            slots: Vec::new(),
            listening: Vec::new(),
            attempts: 0,
            issued: BTreeMap::new(),
            adopters: BTreeSet::new(),
            seen: BTreeMap::new(),
        };
        for slot in 0..SLOTS {
            let who = world.attempt(slot % CLIENTS, slot);
            let record = usize::from(slot + CLIENTS >= SLOTS);
            world.slots.push(Slot {
                who,
                record,
                token: 0,
            });
        }
        for client in 0..CLIENTS {
            world.inbox(client, true);
        }
        world
    }

    /// Ends the case; returns which replies there were, and how often.
    pub(crate) fn finish(mut self) -> BTreeMap<String, u32> {
        self.bench.messages(); // what a step that failed did not read
        for client in 0..CLIENTS {
            self.inbox(client, false);
        }
        self.seen
    }

    fn attempt(&mut self, client: usize, shape: usize) -> Attempt {
        self.attempts += 1;
        let weight = self.weights[shape % self.weights.len()];
        let (lease, window) = [(40, 10), (100, 30), (200, 50), (15_000, 400)][shape / 3 % 4];
        match shape % 3 {
            owner @ 1.. if self.kind == Kind::Owners => {
                Attempt::owned(client, self.attempts, owner, weight, lease, window)
            }
            _ => Attempt::new(client, self.attempts, weight, lease, window),
        }
    }

    fn inbox(&mut self, client: usize, on: bool) {
        let name = format!("Client{client:016}");
        let channel = format!("{INBOX}{name}");
        self.listening.retain(|other| *other != name);
        if on {
            self.bench.subscribe(&channel);
            self.listening.push(name);
        } else {
            self.bench.unsubscribe(&channel);
        }
    }

    /// Applies the step on both sides; says what differs.
    pub(crate) fn apply(&mut self, step: &Step) -> Result<(), String> {
        match step {
            Step::Pass(ms, us) => self.bench.now_us += ms * 1000 + us,
            Step::Due(which, off) => {
                let ends = self
                    .records
                    .iter()
                    .flat_map(|record| record.holds.iter().map(|hold| hold.end));
                let seen = self
                    .records
                    .iter()
                    .flat_map(|record| record.queue.iter().map(|waiter| waiter.seen));
                let (ends, seen): (Vec<_>, Vec<_>) = (ends.collect(), seen.collect());
                let now = self.bench.now();
                if let Some(ms) = crate::steps::until_due(now, &ends, &seen, *which, *off) {
                    self.bench.now_us = (now + ms) * 1000;
                }
            }
            Step::SetBack(ms) => self.bench.now_us -= ms * 1000,
            Step::Inbox(client, on) => self.inbox(*client, *on),
            Step::Fresh(slot, shape) => {
                self.slots[*slot].who = self.attempt(slot % CLIENTS, *shape);
                self.slots[*slot].token = 0;
            }
            Step::Acquire {
                slot,
                room,
                late,
                floor,
                polls,
                ahead,
            } => return self.acquire(*slot, *room, *late, *floor, *polls, *ahead),
            Step::Upgrade { slot, base, room } => {
                self.upgrade(*slot, *base);
                return self.acquire(*slot, *room, false, Floor::None, false, 0);
            }
            Step::End(slot, tomb) => return self.end(self.resolve(*slot), *tomb),
            Step::Tick(items) => return self.tick(items),
            Step::Force(record) => {
                let args = [self.text(self.capacity), (5 * MINUTE).to_string()];
                return self.compare(
                    Script::Force,
                    *record,
                    self.capacity,
                    5 * MINUTE,
                    &args,
                    Record::force,
                );
            }
            Step::Inspect(record, most) => {
                let args = [most.to_string()];
                let capacity = self.capacity;
                return self.compare(Script::Inspect, *record, capacity, 0, &args, |record, call| {
                    record.inspect(call.now_us, capacity, *most)
                });
            }
            Step::Adopt {
                new,
                old,
                token,
                late,
            } => return self.take_over(Script::Adopt, *new, self.resolve(*old), *token, *late),
            Step::Downgrade {
                new,
                old,
                token,
                late,
            } => return self.take_over(Script::Downgrade, *new, self.resolve(*old), *token, *late),
            Step::Resize(record, capacity, late) if self.counted() => {
                let not_after = self.bench.now() - i64::from(*late);
                let args = [
                    self.text(*capacity),
                    (7 * MINUTE).to_string(),
                    not_after.to_string(),
                ];
                return self.compare(
                    Script::Resize,
                    *record,
                    *capacity,
                    7 * MINUTE,
                    &args,
                    |record, call| record.resize(call, not_after),
                );
            }
            Step::Split(part, whole, late) if self.counted() => {
                return self.part(Script::Split, *part, self.resolve(*whole), *late);
            }
            Step::Merge(into, part, late) if self.counted() => {
                return self.part(Script::Merge, self.resolve(*into), self.resolve(*part), *late);
            }
            Step::Resize(..) | Step::Split(..) | Step::Merge(..) => {}
        }
        Ok(())
    }

    /// A capacity as the scripts take it.
    pub(crate) fn text(&self, capacity: i64) -> String {
        format!("{capacity}{}", if self.counted() { "c" } else { "" })
    }

    pub(crate) fn counted(&self) -> bool {
        self.kind == Kind::Counted
    }

    /// The same for this attempt.
    pub(crate) fn text_for(&self, who: &Attempt, capacity: i64) -> String {
        if who.base().is_some() {
            return format!("{capacity}u");
        }
        self.text(capacity)
    }

    /// The slot that is meant: from `SLOTS` on one whose attempt holds or waits, if there is any.
    pub(crate) fn resolve(&self, slot: usize) -> usize {
        let there: Vec<usize> = (0..SLOTS)
            .filter(|other| slot >= SLOTS && self.is_there(*other))
            .collect();
        if there.is_empty() {
            slot % SLOTS
        } else {
            there[slot % there.len()]
        }
    }

    pub(crate) fn is_there(&self, slot: usize) -> bool {
        let Slot { who, record, .. } = &self.slots[slot];
        let record = &self.records[*record];
        self.holds(slot) || record.place_of(&who.id).is_some() || record.upgraded(who)
    }

    pub(crate) fn holds(&self, slot: usize) -> bool {
        let Slot { who, record, .. } = &self.slots[slot];
        self.records[*record].holds.iter().any(|hold| hold.who == *who)
    }

    fn acquire(
        &mut self,
        slot: usize,
        room: i64,
        late: bool,
        floor: Floor,
        polls: bool,
        ahead: i64,
    ) -> Result<(), String> {
        let (who, at) = (self.slots[slot].who.clone(), self.slots[slot].record);
        if self.adopters.contains(&who.id) {
            return Ok(());
        }
        let made_with = self.capacity + i64::from(self.counted() && self.attempts.is_multiple_of(8));
        let floor = match floor {
            _ if self.counted() => 0,
            Floor::None => 0,
            Floor::FromToken(more) => self.records[at].token.map_or(0, |token| token + more),
            Floor::FromNow(more) => self.bench.now_us + more,
        };
        let not_after = self.bench.now() + if late { -1 } else { 5 * i64::from(polls) };
        let ttl = who.lease + 3 * MINUTE;
        let weight = who.weight;
        let room = if self.counted() && room == 2 { -1 } else { room };
        let mut args = vec![who.id.clone()];
        args.extend([who.lease, ttl, weight].map(|number| number.to_string()));
        args.push(self.text_for(&who, made_with));
        let polling = if polls { 3 } else { 0 };
        args.extend([not_after, room].map(|number| number.to_string()));
        args.extend([String::new(), String::new()]); // pace, patience
        args.extend([floor, polling, ahead].map(|number| number.to_string()));
        let ask = Acquire {
            who,
            not_after,
            room,
            floor,
            polls,
            ahead,
        };
        let before = self.records[at].clone();
        self.compare(Script::Acquire, at, made_with, ttl, &args, |record, call| {
            record.acquire(call, &ask)
        })?;
        self.note_kin(&before, at, &ask.who);
        Ok(())
    }

    fn end(&mut self, slot: usize, tomb: Option<i64>) -> Result<(), String> {
        let (who, at) = (self.slots[slot].who.clone(), self.slots[slot].record);
        let upgraded = self.records[at].upgraded(&who);
        let not_after = tomb.map_or(0, |ms| self.bench.now() + ms);
        let numbers = [
            self.text_for(&who, self.capacity),
            (2 * MINUTE).to_string(),
            not_after.to_string(),
        ];
        let args = [std::slice::from_ref(&who.id), &numbers[..]].concat();
        self.compare(
            Script::End,
            at,
            self.capacity,
            2 * MINUTE,
            &args,
            |record, call| record.end(call, &who, not_after),
        )?;
        if upgraded && self.records[at].hold_of(who.base().unwrap_or_default()).is_some() {
            self.note("upgrade ended");
        }
        Ok(())
    }

    pub(crate) fn token(&self, slot: usize, which: Token) -> i64 {
        let Slot {
            token: own, record, ..
        } = self.slots[slot];
        match which {
            Token::Own => own,
            Token::Last => self.records[record].token.unwrap_or(0),
            Token::None => 0,
            Token::Wrong(more) => (own + more).max(0),
        }
    }
}
