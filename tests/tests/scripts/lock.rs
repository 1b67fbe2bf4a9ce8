//! One primitive on a server of its own, with requests that are short to write: for the examples.

use latchwork_testkit::Reply;

use crate::bench::{Bench, Script};
use crate::dump::Dump;
use crate::model::Attempt;

pub(crate) const KEY: &str = "latchwork:lock:{name}";
pub(crate) const INBOX: &str = "latchwork:inbox:";
pub(crate) const LEASE: i64 = 10_000;
pub(crate) const WINDOW: i64 = 1000;
pub(crate) const RETENTION: i64 = 300_000;

/// What an acquire may say beyond who asks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Terms {
    /// Relative to now.
    pub(crate) not_after: i64,
    pub(crate) room: i64,
    pub(crate) floor: i64,
    pub(crate) polls: i64,
    pub(crate) ahead: i64,
}

pub(crate) const WAIT: Terms = Terms {
    not_after: 5000,
    room: 10_000,
    floor: 0,
    polls: 0,
    ahead: 0,
};
pub(crate) const TRY: Terms = Terms { room: 0, ..WAIT };

#[derive(Debug)]
pub(crate) struct Lock {
    pub(crate) bench: Bench,
    pub(crate) capacity: i64,
    pub(crate) counted: bool,
}

/// Attempt `count` of client `count`: everybody has an inbox of their own.
pub(crate) fn attempt(count: u64, weight: i64) -> Attempt {
    Attempt::new(usize::try_from(count).unwrap(), count, weight, LEASE, WINDOW)
}

/// The numbers of a reply that has nothing else.
pub(crate) fn ints(reply: &Reply) -> Vec<i64> {
    let numbers: Vec<i64> = reply.items().iter().filter_map(Reply::int).collect();
    assert!(
        !numbers.is_empty() && numbers.len() == reply.items().len(),
        "{reply:?} is not made of numbers"
    );
    numbers
}

/// The text of an error reply.
pub(crate) fn error(reply: &Reply) -> &str {
    match reply {
        Reply::Error(text) => text,
        other => panic!("{other:?} is no error"),
    }
}

impl Lock {
    pub(crate) fn new(capacity: i64) -> Self {
        Self {
            bench: Bench::start(),
            capacity,
            counted: false,
        }
    }

    pub(crate) fn counted(capacity: i64) -> Self {
        Self {
            counted: true,
            ..Self::new(capacity)
        }
    }

    /// The capacity as the scripts take it.
    fn text(&self, who: &Attempt) -> String {
        let suffix = if who.base().is_some() { "u" } else { "" };
        format!("{}{}", self.capacity, if self.counted { "c" } else { suffix })
    }

    pub(crate) fn resize(&mut self, capacity: i64, not_after: i64) -> Vec<i64> {
        let numbers = [LEASE + RETENTION, self.now() + not_after].map(|number| number.to_string());
        let [ttl, not_after] = numbers;
        let args = [format!("{capacity}c"), ttl, not_after];
        ints(&self.bench.call(Script::Resize, &[KEY], &args))
    }

    /// Splits `one` off `other`, or adds what `other` has to `one`.
    pub(crate) fn part(
        &mut self,
        script: Script,
        one: &Attempt,
        other: &Attempt,
        not_after: i64,
    ) -> Vec<i64> {
        let numbers = [one.lease, one.lease + RETENTION].map(|number| number.to_string());
        let rest = [other.id.clone(), (self.now() + not_after).to_string()];
        let args = [std::slice::from_ref(&one.id), &numbers, &rest].concat();
        ints(&self.bench.call(script, &[KEY], &args))
    }

    /// The clock, ms and µs.
    pub(crate) fn now(&self) -> i64 {
        self.bench.now()
    }

    pub(crate) fn stamp(&self) -> i64 {
        self.bench.now_us
    }

    pub(crate) fn listens(&mut self, who: &Attempt) {
        self.bench.subscribe(&format!("{INBOX}{}", who.parts().0));
    }

    pub(crate) fn acquire(&mut self, who: &Attempt, terms: Terms) -> Vec<i64> {
        ints(&self.acquire_raw(who, terms))
    }

    pub(crate) fn acquire_raw(&mut self, who: &Attempt, terms: Terms) -> Reply {
        let not_after = self.now() + terms.not_after;
        let ttl = who.lease + RETENTION;
        let mut args = vec![who.id.clone()];
        args.extend([who.lease, ttl, who.weight].map(|number| number.to_string()));
        args.push(self.text(who));
        args.extend([not_after, terms.room].map(|number| number.to_string()));
        args.extend([String::new(), String::new()]); // pace, patience
        args.extend([terms.floor, terms.polls, terms.ahead].map(|number| number.to_string()));
        self.bench.call(Script::Acquire, &[KEY], &args)
    }

    /// Ends the attempt; `tomb`: a copy of its acquire may come until so many ms from now.
    pub(crate) fn end(&mut self, who: &Attempt, tomb: Option<i64>) -> Vec<i64> {
        ints(&self.end_raw(who, tomb))
    }

    pub(crate) fn end_raw(&mut self, who: &Attempt, tomb: Option<i64>) -> Reply {
        let not_after = tomb.map_or(0, |ms| self.now() + ms);
        let numbers = [self.text(who), RETENTION.to_string(), not_after.to_string()];
        let args = [std::slice::from_ref(&who.id), &numbers[..]].concat();
        self.bench.call(Script::End, &[KEY], &args)
    }

    /// One item of a tick, alone in its request.
    pub(crate) fn tick(&mut self, op: char, who: &Attempt, token: i64) -> Vec<i64> {
        let lease = if op == 'x' { who.lease * 5 } else { who.lease };
        let reply = self.tick_raw(&[KEY], &[(op, who, token, lease)]);
        ints(&reply.items()[2])
    }

    pub(crate) fn tick_raw(&mut self, keys: &[&str], items: &[(char, &Attempt, i64, i64)]) -> Reply {
        let mut args = Vec::new();
        for (op, who, token, lease) in items {
            args.extend([op.to_string(), who.id.clone()]);
            args.extend([*token, *lease, lease + RETENTION].map(|number| number.to_string()));
            args.push(self.text(who));
        }
        self.bench.call(Script::Tick, keys, &args)
    }

    pub(crate) fn force(&mut self) -> Vec<i64> {
        let counted = if self.counted { "c" } else { "" };
        let args = [format!("{}{counted}", self.capacity), RETENTION.to_string()];
        ints(&self.bench.call(Script::Force, &[KEY], &args))
    }

    pub(crate) fn inspect(&mut self, most: usize) -> Reply {
        self.bench.call(Script::Inspect, &[KEY], &[most])
    }

    /// `new` takes over what `old` holds.
    pub(crate) fn adopt(&mut self, new: &Attempt, old: &Attempt, token: i64, not_after: i64) -> Vec<i64> {
        let numbers = [new.lease, new.lease + RETENTION].map(|number| number.to_string());
        let rest = [
            old.id.clone(),
            token.to_string(),
            (self.now() + not_after).to_string(),
        ];
        let args = [std::slice::from_ref(&new.id), &numbers, &rest].concat();
        ints(&self.bench.call(Script::Adopt, &[KEY], &args))
    }

    /// `old` becomes `new`, which is shared.
    pub(crate) fn downgrade(&mut self, new: &Attempt, old: &Attempt, token: i64, not_after: i64) -> Vec<i64> {
        let numbers = [new.lease, new.lease + RETENTION].map(|number| number.to_string());
        let rest = [
            old.id.clone(),
            token.to_string(),
            self.capacity.to_string(),
            (self.now() + not_after).to_string(),
        ];
        let args = [std::slice::from_ref(&new.id), &numbers, &rest].concat();
        ints(&self.bench.call(Script::Downgrade, &[KEY], &args))
    }

    pub(crate) fn dump(&mut self) -> Dump {
        self.bench.dump(KEY)
    }

    /// The ids that hold, by id.
    pub(crate) fn holders(&mut self) -> Vec<String> {
        self.dump().holds.into_keys().collect()
    }

    /// The ids that wait, in order.
    pub(crate) fn queue(&mut self) -> Vec<String> {
        self.dump().queue.into_iter().map(|(id, ..)| id).collect()
    }

    pub(crate) fn pttl(&mut self) -> i64 {
        self.bench.redis(&["PTTL", KEY]).int().unwrap()
    }
}
