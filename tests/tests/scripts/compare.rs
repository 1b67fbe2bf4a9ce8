//! Compares what the server did with what the model says: replies, records, messages, lives of keys, tokens.

use std::collections::BTreeMap;

use latchwork_testkit::Reply;

use crate::bench::Script;
use crate::dump::Dump;
use crate::model::{Attempt, Call, Record};
use crate::steps::World as Kind;
use crate::world::{INBOX, KEYS, World};

/// The real time that a case may take: a PTTL may be that much below what was asked for.
const SLACK: i64 = 60_000;

impl World<'_> {
    /// Runs a script on one record and the same in the model.
    pub(crate) fn compare<A: ToString>(
        &mut self,
        script: Script,
        at: usize,
        made_with: i64,
        ttl: i64,
        args: &[A],
        model: impl FnOnce(&mut Record, &mut Call<'_>) -> Reply,
    ) -> Result<(), String> {
        let outcome = self.bench.run(script, &[KEYS[at]], args, &[KEYS[at]]);
        let (now_us, capacity) = (self.bench.now_us, made_with);
        let mut call = Call {
            now_us,
            capacity,
            counted: self.kind == Kind::Counted,
            ttl,
            listening: &self.listening,
            mail: BTreeMap::new(),
            doubts: Vec::new(),
            alive: Vec::new(),
            lapsed: false,
            quick: false,
        };
        let expected = model(&mut self.records[at], &mut call);
        let mail = call.mail;
        same("the reply", &outcome.reply, &expected)?;
        self.note(&format!("{script:?} {}", code(&expected, 1)).to_lowercase());
        if let (Script::Acquire | Script::Adopt, [Reply::Int(1), _, Reply::Int(token), ..]) =
            (script, expected.items())
        {
            let id = args[0].to_string();
            if script == Script::Adopt {
                let token = self.records[at].token.unwrap();
                let new = self.slots.iter().find(|slot| slot.who.id == id);
                let owner = new.and_then(|slot| slot.who.owner()).unwrap_or(&id).to_owned();
                self.issued.insert((at, token), owner); // it goes with the hold
            }
            self.learn(&id, *token)?;
        }
        self.compare_record(at, &outcome.after[0])?;
        self.compare_mail(&mail)
    }

    pub(crate) fn compare_record(&mut self, at: usize, (dump, pttl): &(Dump, i64)) -> Result<(), String> {
        let record = &self.records[at];
        let counted = self.kind == Kind::Counted;
        let capacity = if counted { 0 } else { self.capacity };
        same("the record", dump, &record.dump(capacity))?;
        dump.check(capacity)?;
        let token = std::mem::replace(&mut self.last_token[at], dump.token);
        if dump.token < token {
            return Err(format!("the token went from {token:?} to {:?}", dump.token));
        }
        let exists = record.token.is_some();
        // An eighth more, so that it seldom has to be set.
        if exists && (*pttl < record.life - SLACK || *pttl > record.life + record.life / 8) {
            return Err(format!("PTTL is {pttl}, {} was asked for", record.life));
        }
        let capacity = record.stored.map_or(self.capacity, |(stored, _)| stored);
        let before = std::mem::replace(&mut self.used_before[at], record.used());
        if self.kind != Kind::Owners && record.used() > capacity.max(before) {
            return Err(format!("{} of {capacity} is in use", record.used()));
        }
        Ok(())
    }

    pub(crate) fn compare_mail(&mut self, expected: &BTreeMap<String, String>) -> Result<(), String> {
        let came = self.bench.messages();
        let heard = expected
            .iter()
            .filter(|(client, _)| self.listening.contains(client));
        let heard = heard
            .map(|(client, text)| (format!("{INBOX}{client}"), vec![text.clone()]))
            .collect();
        same("the messages", &came, &heard)?;
        for (client, text) in expected {
            for line in text.split(';') {
                let words: Vec<&str> = line.split(' ').collect();
                self.note(&format!("message {}", words[0]));
                if words[0] == "g" {
                    if words[1].contains('^') {
                        self.note("upgrade by message");
                    }
                    self.learn(&format!("{client}{}", words[1]), words[2].parse().unwrap())?;
                }
            }
        }
        Ok(())
    }

    /// An attempt is told its token; no two attempts ever have the same, unless they are of one owner.
    pub(crate) fn learn(&mut self, id: &str, token: i64) -> Result<(), String> {
        let Some(slot) = self.slots.iter_mut().find(|slot| slot.who.id == id) else {
            return Ok(());
        };
        slot.token = token;
        let record = slot.record;
        let id = slot.who.owner().unwrap_or(id);
        let owner = self
            .issued
            .entry((record, token))
            .or_insert_with(|| id.to_owned());
        if token > 0 && owner != id {
            return Err(format!("{id} got token {token}, which {owner} had"));
        }
        Ok(())
    }

    /// Notes what an acquire came to by the kin of the attempt.
    pub(crate) fn note_kin(&mut self, before: &Record, at: usize, who: &Attempt) {
        let record = self.records[at].clone();
        let held = |record: &Record| record.holds.iter().any(|hold| hold.who == *who);
        let of = |record: &Record| {
            record
                .holds
                .iter()
                .filter(|hold| hold.who.owner() == who.owner())
                .count()
        };
        if who.owner().is_some() && held(&record) && !held(before) && of(&record) > 1 {
            self.note("re-entry");
        }
        let Some(base) = who.base() else { return };
        let upgrade = |record: &Record| {
            let base = record.holds.iter().find(|hold| hold.who.id == base);
            base.and_then(|hold| hold.upgraded).map(|(by, _)| by)
        };
        match (upgrade(before), upgrade(&record)) {
            (None, Some(by)) if by == who.count => self.note("upgrade 1"),
            (Some(by), Some(now)) if now != by => self.note("upgrade overtaken"),
            _ => {}
        }
    }

    pub(crate) fn note(&mut self, what: &str) {
        *self.seen.entry(what.to_owned()).or_default() += 1;
    }
}

pub(crate) fn same<T: PartialEq + std::fmt::Debug>(what: &str, server: &T, model: &T) -> Result<(), String> {
    if server == model {
        return Ok(());
    }
    Err(format!("{what}\nserver: {server:?}\nmodel:  {model:?}"))
}

/// The code of a reply, with the reason if it is `lost` in a tick.
pub(crate) fn code(reply: &Reply, reasons: usize) -> String {
    let numbers: Vec<i64> = reply.items().iter().filter_map(Reply::int).collect();
    match numbers.as_slice() {
        [5, why] if reasons == 2 => format!("5 {why}"),
        [code, ..] => code.to_string(),
        [] => String::new(),
    }
}
