//! Steps that change what an attempt has: upgrades and downgrades, tickets, parts, ticks; on both sides.

use std::collections::BTreeMap;

use latchwork_testkit::Reply;

use crate::bench::Script;
use crate::compare::{code, same};
use crate::model::{Attempt, Call};
use crate::steps::{self, CLIENTS, SLOTS, Token};
use crate::ticking::{self, Item};
use crate::world::{KEYS, MINUTE, World};

impl World<'_> {
    /// Gives the slot an attempt to upgrade a shared hold of the same client: one that is there, or was.
    pub(crate) fn upgrade(&mut self, slot: usize, base: usize) {
        let fits = |other: &usize| {
            let there = &self.slots[*other];
            *other != slot
                && other % CLIENTS == slot % CLIENTS
                && there.record == self.slots[slot].record
                && there.who.weight < self.capacity
        };
        let mut bases: Vec<usize> = (0..SLOTS).filter(fits).collect();
        if bases.iter().any(|other| self.holds(*other)) {
            bases.retain(|other| self.holds(*other));
        } else if !base.is_multiple_of(4) {
            return; // now and then of one that is over
        }
        if bases.is_empty() || self.holds(slot) {
            return;
        }
        self.attempts += 1;
        let base = &self.slots[bases[base % bases.len()]].who;
        self.slots[slot].who = Attempt::upgrade(base, self.attempts, self.capacity);
        self.slots[slot].token = 0;
    }

    /// Splits a new attempt off another's hold, or merges two.
    pub(crate) fn part(
        &mut self,
        script: Script,
        one: usize,
        other: usize,
        late: bool,
    ) -> Result<(), String> {
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

    /// A new attempt gets what another has, or becomes a shared one in its place.
    pub(crate) fn take_over(
        &mut self,
        script: Script,
        new: usize,
        old: usize,
        token: Token,
        late: bool,
    ) -> Result<(), String> {
        let (at, from) = (self.slots[old].record, self.slots[old].who.clone());
        let who = self.slots[new].who.clone();
        let alike = who.weight == from.weight && who.kin == from.kin; // a ticket fixes both
        let fits = if script == Script::Adopt {
            alike
        } else {
            who.weight < self.capacity && who.weight <= from.weight
        };
        if self.slots[new].record != at
            || !fits
            || who.base().is_some()
            || from.base().is_some()
            || who == from
        {
            return Ok(());
        }
        if self.is_there(new) && !self.adopters.contains(&who.id) {
            return Ok(()); // an attempt that adopts does not acquire
        }
        let token = if self.is_there(new) && script == Script::Adopt {
            self.slots[new].token
        } else {
            self.token(old, token)
        };
        self.adopters.insert(who.id.clone());
        let (ttl, not_after) = (who.lease + 6 * MINUTE, self.bench.now() - i64::from(late));
        let numbers = [who.lease, ttl].map(|number| number.to_string());
        let mut rest = vec![from.id.clone(), token.to_string()];
        if script == Script::Downgrade {
            rest.push(self.text(self.capacity));
        }
        rest.push(not_after.to_string());
        let args = [std::slice::from_ref(&who.id), &numbers, &rest].concat();
        self.compare(script, at, self.capacity, ttl, &args, |record, call| {
            if script == Script::Adopt {
                record.adopt(call, &who, &from.id, token, not_after)
            } else {
                record.downgrade(call, &who, &from.id, token, not_after)
            }
        })
    }

    pub(crate) fn tick(&mut self, items: &[(char, usize, Token)]) -> Result<(), String> {
        let items: Vec<Item> = items
            .iter()
            .enumerate()
            .map(|(at, (op, slot, token))| {
                let slot = self.resolve(*slot);
                let who = &self.slots[slot].who;
                let (op, lease) = match *op {
                    steps::APT if self.holds(slot) => ('h', who.lease),
                    steps::APT => ('w', who.lease),
                    steps::LESS => ('x', who.lease * 2),
                    'x' => ('x', who.lease * 5),
                    op => (op, who.lease),
                };
                // Every other renewal is one that is certainly a write, and otherwise the same.
                let op = if op == 'h' && at % 2 > 0 { 'd' } else { op };
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
        let mut args = Vec::new();
        for item in &items {
            args.extend([item.op.to_string(), item.who.id.clone()]);
            args.extend([item.token, item.lease, item.ttl].map(|number| number.to_string()));
            args.push(self.text_for(&item.who, self.capacity));
        }
        let outcome = self.bench.run(Script::Tick, &keys, &args, &KEYS);
        let (now_us, capacity) = (self.bench.now_us, self.capacity);
        let mut call = Call {
            now_us,
            capacity,
            counted: self.counted(),
            ttl: 0,
            listening: &self.listening,
            mail: BTreeMap::new(),
            doubts: Vec::new(),
            alive: Vec::new(),
            lapsed: false,
            quick: false,
        };
        let expected = ticking::tick(&mut self.records, &mut call, &items);
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
