//! Two records on a server and in the model, and the attempts that ask for them: applies a step to both.

use std::collections::{BTreeMap, BTreeSet};

use latchwork_testkit::Reply;

use crate::bench::{Bench, Script};
use crate::compare::{code, same};
use crate::model::{Attempt, Call, Record};
use crate::requests::{self, Acquire, Item};
use crate::steps::{self, CLIENTS, Floor, SLOTS, Step, Token};

pub(crate) const INBOX: &str = "latchwork:inbox:";
pub(crate) const KEYS: [&str; 2] = ["latchwork:lock:{a}", "latchwork:lock:{b}"];
const MINUTE: i64 = 60_000;

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
    pub(crate) capacity: i64,
    pub(crate) counted: bool,
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
    pub(crate) fn new(bench: &'a mut Bench, capacity: i64, counted: bool, weights: &'static [i64]) -> Self {
        bench.redis(&["DEL", KEYS[0], KEYS[1]]);
        bench.now_us = 1_700_000_000_000_000;
        let mut world = Self {
            bench,
            capacity,
            counted,
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
        Attempt::new(client, self.attempts, weight, lease, window)
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
            } => return self.acquire(*slot, *room, *late, *floor, *polls),
            Step::End(slot, tomb) => return self.end(self.resolve(*slot), *tomb),
            Step::Tick(items) => return self.tick(items),
            Step::Force(record) => {
                let args = [
                    self.text(self.capacity),
                    (5 * MINUTE).to_string(),
                    INBOX.to_owned(),
                ];
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
            } => return self.adopt(*new, self.resolve(*old), *token, *late),
            Step::Resize(record, capacity, late) if self.counted => {
                let not_after = self.bench.now() - i64::from(*late);
                let args = [
                    self.text(*capacity),
                    (7 * MINUTE).to_string(),
                    not_after.to_string(),
                    INBOX.to_owned(),
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
            Step::Split(part, whole, late) if self.counted => {
                return self.part(Script::Split, *part, self.resolve(*whole), *late);
            }
            Step::Merge(into, part, late) if self.counted => {
                return self.part(Script::Merge, self.resolve(*into), self.resolve(*part), *late);
            }
            Step::Resize(..) | Step::Split(..) | Step::Merge(..) => {}
        }
        Ok(())
    }

    /// A capacity as the scripts take it.
    fn text(&self, capacity: i64) -> String {
        format!("{capacity}{}", if self.counted { "c" } else { "" })
    }

    /// Splits a new attempt off another's hold, or merges two.
    fn part(&mut self, script: Script, one: usize, other: usize, late: bool) -> Result<(), String> {
        let at = self.slots[one].record;
        let (who, other) = (self.slots[one].who.clone(), &self.slots[other]);
        let (other, elsewhere) = (other.who.clone(), other.record != at || other.who == who);
        if elsewhere {
            return Ok(());
        }
        if script == Script::Split {
            if self.is_there(one) && !self.adopters.contains(&who.id) {
                return Ok(()); // an attempt that is split off does not acquire
            }
            self.adopters.insert(who.id.clone());
        }
        let (ttl, not_after) = (who.lease + 6 * MINUTE, self.bench.now() - i64::from(late));
        let numbers = [who.lease, ttl].map(|number| number.to_string());
        let rest = [other.id.clone(), not_after.to_string()];
        let args = [std::slice::from_ref(&who.id), &numbers, &rest].concat();
        self.compare(script, at, self.capacity, ttl, &args, |record, call| {
            if script == Script::Split {
                record.split(call, &who, &other.id, not_after)
            } else {
                record.merge(call, &who, &other, not_after)
            }
        })
    }

    /// The slot that is meant: from `SLOTS` on one whose attempt holds or waits, if there is any.
    fn resolve(&self, slot: usize) -> usize {
        let there: Vec<usize> = (0..SLOTS)
            .filter(|other| slot >= SLOTS && self.is_there(*other))
            .collect();
        if there.is_empty() {
            slot % SLOTS
        } else {
            there[slot % there.len()]
        }
    }

    fn is_there(&self, slot: usize) -> bool {
        let Slot { who, record, .. } = &self.slots[slot];
        self.holds(slot) || self.records[*record].place_of(&who.id).is_some()
    }

    fn holds(&self, slot: usize) -> bool {
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
    ) -> Result<(), String> {
        let (who, at) = (self.slots[slot].who.clone(), self.slots[slot].record);
        if self.adopters.contains(&who.id) {
            return Ok(());
        }
        let made_with = self.capacity + i64::from(self.counted && self.attempts.is_multiple_of(8));
        let floor = match floor {
            _ if self.counted => 0,
            Floor::None => 0,
            Floor::FromToken(more) => self.records[at].token.map_or(0, |token| token + more),
            Floor::FromNow(more) => self.bench.now_us + more,
        };
        let not_after = self.bench.now() + if late { -1 } else { 5 * i64::from(polls) };
        let ttl = who.lease + 3 * MINUTE;
        let weight = who.weight;
        let room = if self.counted && room == 2 { -1 } else { room };
        let mut args = vec![who.id.clone()];
        args.extend([who.lease, ttl, weight].map(|number| number.to_string()));
        args.push(self.text(made_with));
        let polling = if polls { 3 } else { 0 };
        args.extend([not_after, room, floor, polling].map(|number| number.to_string()));
        args.push(INBOX.to_owned());
        let ask = Acquire {
            who,
            not_after,
            room,
            floor,
            polls,
        };
        self.compare(Script::Acquire, at, made_with, ttl, &args, |record, call| {
            record.acquire(call, &ask)
        })
    }

    fn end(&mut self, slot: usize, tomb: Option<i64>) -> Result<(), String> {
        let (id, at) = (self.slots[slot].who.id.clone(), self.slots[slot].record);
        let not_after = tomb.map_or(0, |ms| self.bench.now() + ms);
        let numbers = [
            self.text(self.capacity),
            (2 * MINUTE).to_string(),
            not_after.to_string(),
        ];
        let args = [std::slice::from_ref(&id), &numbers, &[INBOX.to_owned()]].concat();
        self.compare(
            Script::End,
            at,
            self.capacity,
            2 * MINUTE,
            &args,
            |record, call| record.end(call, &id, not_after),
        )
    }

    fn adopt(&mut self, new: usize, old: usize, token: Token, late: bool) -> Result<(), String> {
        if self.counted {
            return Ok(()); // permits have no tickets
        }
        let (at, old_id) = (self.slots[old].record, self.slots[old].who.id.clone());
        let who = self.slots[new].who.clone();
        if self.slots[new].record != at || who.weight != self.slots[old].who.weight {
            return Ok(()); // a ticket fixes both
        }
        if self.is_there(new) && !self.adopters.contains(&who.id) {
            return Ok(()); // an attempt that adopts does not acquire
        }
        let token = if self.is_there(new) {
            self.slots[new].token
        } else {
            self.token(old, token)
        };
        self.adopters.insert(who.id.clone());
        let (ttl, not_after) = (who.lease + 6 * MINUTE, self.bench.now() - i64::from(late));
        let numbers = [who.lease, ttl].map(|number| number.to_string());
        let rest = [old_id.clone(), token.to_string(), not_after.to_string()];
        let args = [std::slice::from_ref(&who.id), &numbers, &rest].concat();
        self.compare(Script::Adopt, at, self.capacity, ttl, &args, |record, call| {
            record.adopt(call, &who, &old_id, token, not_after)
        })
    }

    fn token(&self, slot: usize, which: Token) -> i64 {
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

    fn tick(&mut self, items: &[(char, usize, Token)]) -> Result<(), String> {
        let items: Vec<Item> = items
            .iter()
            .map(|(op, slot, token)| {
                let slot = self.resolve(*slot);
                let who = &self.slots[slot].who;
                let (op, lease) = match *op {
                    steps::APT if self.holds(slot) => ('h', who.lease),
                    steps::APT => ('w', who.lease),
                    steps::LESS => ('x', who.lease * 2),
                    'x' => ('x', who.lease * 5),
                    op => (op, who.lease),
                };
                let record = self.slots[slot].record;
                let ttl = lease + 4 * MINUTE;
                Item {
                    record,
                    op,
                    who: who.clone(),
                    token: self.token(slot, *token),
                    lease,
                    ttl,
                }
            })
            .collect();
        let keys: Vec<&str> = items.iter().map(|item| KEYS[item.record]).collect();
        let mut args = vec![INBOX.to_owned()];
        for item in &items {
            args.extend([item.op.to_string(), item.who.id.clone()]);
            args.extend([item.token, item.lease, item.ttl].map(|number| number.to_string()));
            args.push(self.text(self.capacity));
        }
        let outcome = self.bench.run(Script::Tick, &keys, &args, &KEYS);
        let (now_us, capacity) = (self.bench.now_us, self.capacity);
        let mut call = Call {
            now_us,
            capacity,
            counted: self.counted,
            ttl: 0,
            listening: &self.listening,
            mail: BTreeMap::new(),
        };
        let expected = requests::tick(&mut self.records, &mut call, &items);
        let mail = call.mail;
        same("the reply", &outcome.reply, &expected)?;
        for (item, reply) in items.iter().zip(expected.items().iter().skip(2)) {
            self.note(&format!("tick {}", code(reply, 2)));
            if let [Reply::Int(2), Reply::Int(token), ..] = reply.items() {
                self.learn(&item.who.id, *token)?;
            }
        }
        for record in 0..2 {
            self.compare_record(record, &outcome.after[record])?;
        }
        self.compare_mail(&mail)
    }
}
