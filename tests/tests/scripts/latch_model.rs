//! What the scripts of the latch have to do, in plain Rust, with the parts of `end` and `tick` that a latch uses.
//!
//! It knows no bound on what one step forgets: `latch.rs` has an example with more.

use std::collections::{BTreeMap, BTreeSet};

use latchwork_testkit::Reply;

use crate::bench::numbers;

const PATIENCE: i64 = 40;
const UNITS: i64 = 1 << 18;
const MINUTE: i64 = 60_000;

/// A request of the script `latch`.
#[derive(Clone, Debug)]
pub(crate) struct Ask {
    pub(crate) id: String,
    pub(crate) count: i64,
    pub(crate) by: i64,
    pub(crate) once: String,
    pub(crate) to: i64,
    pub(crate) asked: i64,
    pub(crate) not_after: i64,
    pub(crate) room: i64,
    pub(crate) ttl: i64,
    pub(crate) memory: i64,
    pub(crate) polls: i64,
}

/// What somebody has made.
#[derive(Clone, Debug)]
struct Made {
    left: i64,
    initial: i64,
    /// The handles' numbers do not matter.
    changed: bool,
    number: i64,
    /// A count-down has to look: somebody waits or waited, or there was a reset.
    look: bool,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Latch {
    pub(crate) generation: Option<i64>,
    made: Option<Made>,
    /// By id: chance and seen.
    places: BTreeMap<String, (i64, i64)>,
    ids: BTreeSet<String>,
    /// By id: its end and the number of the generation.
    marks: BTreeMap<String, (i64, i64)>,
    finished: BTreeMap<i64, i64>,
    tombs: BTreeMap<String, i64>,
    pub(crate) life: i64,
    /// Attempts that counted or reset, for ever: none may do it twice.
    pub(crate) done: BTreeSet<String>,
    /// By client, in the order of the latest request.
    pub(crate) mail: BTreeMap<String, String>,
}

fn units(now: i64) -> i64 {
    now.div_euclid(256).rem_euclid(UNITS)
}

fn age(now: i64, seen: i64) -> i64 {
    let units = (units(now) - seen).rem_euclid(UNITS);
    if units > UNITS / 2 { 0 } else { units }
}

impl Latch {
    fn keep(&mut self, ms: i64) {
        self.life = self.life.max(ms);
    }

    fn forget(&mut self, now: i64) {
        self.marks.retain(|_, (ends, _)| *ends >= now); // its score has a fraction
        self.finished.retain(|_, ends| *ends > now);
        self.tombs.retain(|_, ends| *ends > now);
    }

    /// Everybody who waits is told, each client by the last of its places.
    fn release(&mut self, kind: char, now_us: i64) {
        let mut places: Vec<_> = std::mem::take(&mut self.places).into_iter().collect();
        places.sort_by(|(a, at), (b, other)| (at, a).cmp(&(other, b)));
        let generation = self.generation.unwrap_or(0);
        for (id, _) in places {
            let (client, rest) = id.split_at(22);
            let line = format!("{kind} {rest} {generation} {now_us}");
            self.mail.insert(client.to_owned(), line);
        }
    }

    pub(crate) fn left(&self) -> Option<i64> {
        self.made.as_ref().map(|made| made.left)
    }

    pub(crate) fn waits(&self, id: &str) -> bool {
        self.places.contains_key(id)
    }

    pub(crate) fn ask(&mut self, ask: &Ask, now_us: i64) -> Reply {
        let now = now_us.div_euclid(1000);
        let say = |rest: &[i64]| numbers(&[&[rest[0], now_us], &rest[1..]].concat());
        let generation = self.generation.unwrap_or(0);
        let agrees = |made: &Made| ask.count < 0 || made.changed || made.initial == ask.count;
        if let Some(made) = &self.made
            && ask.by == 0
            && ask.to < 0
            && agrees(made)
            && (ask.asked == 0 || ask.asked == generation)
        {
            if made.left == 0 || ask.room < 0 {
                return say(&[1, generation, made.left, 0]);
            } else if ask.room == 0 {
                return say(&[3]);
            }
        }
        if self.counts_quickly(ask, now) {
            return say(&[1, generation, self.count_quickly(ask, now_us), 0]);
        }
        self.forget(now);
        let number = self.made.as_ref().map_or(0, |made| made.number);
        let marked = self.marks.get(&ask.id).map(|(_, number)| number % 63);
        if self.tombs.contains_key(&ask.id) {
            return say(&[5]);
        } else if marked.is_some_and(|of| ask.to < 0 && of != number % 63) {
            return say(&[11]);
        } else if marked.is_none() && now > ask.not_after {
            return say(&[4]);
        }
        let changes = marked.is_none() && (ask.by > 0 || ask.to >= 0);
        match &self.made {
            None if ask.count >= 0 && ask.asked == 0 => {}
            None if ask.count > -2 || ask.by > 0 || ask.to >= 0 || ask.room < 0 => return say(&[10]),
            None if ask.room == 0 => return say(&[3]),
            Some(_) if ask.asked > 0 && ask.asked != generation => {
                let passes = self.finished.contains_key(&ask.asked);
                return if passes {
                    say(&[1, ask.asked, 0, 0])
                } else {
                    say(&[11])
                };
            }
            Some(made) if ask.to < 0 && marked.is_none() && !agrees(made) => {
                return say(&[9, made.initial]);
            }
            None | Some(_) => {}
        }
        // Made or not, what this call leaves.
        let mut next = self.clone();
        let before = next.begin(ask, changes, now_us);
        next.count(ask, changes, before, now_us);
        let waits = ask.room > 0 && next.left() != Some(0);
        if waits && !self.places.contains_key(&ask.id) {
            let waiting = i64::try_from(self.places.len()).unwrap();
            if waiting >= ask.room {
                self.places.retain(|_, (_, seen)| age(now, *seen) <= PATIENCE);
                next.places.clone_from(&self.places);
            }
            if i64::try_from(self.places.len()).unwrap() >= ask.room {
                return say(&[6]);
            }
        }
        if waits && now > ask.not_after {
            return say(&[4]);
        }
        if changes {
            assert!(next.done.insert(ask.id.clone()), "{} was done twice", ask.id);
        }
        *self = next;
        if waits {
            self.places.insert(ask.id.clone(), (ask.polls, units(now)));
        }
        if let Some(made) = &mut self.made
            && made.left > 0
        {
            made.look = made.number > 1 || !self.places.is_empty();
        }
        let generation = *self.generation.get_or_insert(now_us);
        let left = self.left().unwrap_or(-1);
        if left == 0 {
            return say(&[1, generation, 0, 0]);
        }
        self.keep(ask.ttl);
        if waits {
            return say(&[2, generation]);
        }
        if ask.room == 0 {
            say(&[3])
        } else {
            say(&[1, generation, left, 0])
        }
    }

    /// Counts an attempt that nothing is known of, of a latch that was never reset and that nobody waits for.
    fn counts_quickly(&self, ask: &Ask, now: i64) -> bool {
        let plain = ask.by > 0 && ask.room == -1 && ask.once.is_empty() && ask.to < 0;
        let known = self.places.contains_key(&ask.id)
            || self.tombs.contains_key(&ask.id)
            || self.marks.contains_key(&ask.id);
        let first = !known && now <= ask.not_after;
        plain
            && first
            && ask.asked == 0
            && self.made.as_ref().is_some_and(|made| {
                let its = ask.count < 0 || (!made.changed && made.initial == ask.count);
                its && made.left > 0 && !made.look
            })
    }

    /// Returns what is left.
    fn count_quickly(&mut self, ask: &Ask, now_us: i64) -> i64 {
        assert!(self.done.insert(ask.id.clone()), "{} was done twice", ask.id);
        let before = self.left().unwrap_or(0);
        self.count(ask, true, None, now_us);
        let left = self.left().unwrap_or(0);
        if before / 16 != left / 16 {
            self.forget(now_us.div_euclid(1000));
        }
        if left > 0 {
            self.keep(ask.ttl);
        }
        left
    }

    /// Makes the latch or begins a generation, if that is what it comes to. Returns what was left of one that there was.
    fn begin(&mut self, ask: &Ask, changes: bool, now_us: i64) -> Option<i64> {
        let Some(made) = &mut self.made else {
            if ask.count >= 0 && ask.asked == 0 {
                let initial = if ask.to >= 0 { ask.to } else { ask.count };
                self.generation.get_or_insert(now_us);
                self.made = Some(Made {
                    left: initial,
                    initial,
                    changed: initial != ask.count,
                    number: 1,
                    look: false,
                });
            }
            return None;
        };
        if !changes || ask.to < 0 {
            return Some(made.left);
        }
        let before = made.left;
        *made = Made {
            left: ask.to,
            initial: ask.to,
            changed: made.changed || made.initial != ask.to,
            number: made.number + 1,
            look: false,
        };
        self.ids.clear();
        let generation = self.generation.unwrap();
        self.release('r', now_us);
        if before == 0 {
            self.finished.insert(generation, now_us.div_euclid(1000) + MINUTE);
        }
        self.generation = Some(now_us.max(generation + 1));
        None
    }

    fn count(&mut self, ask: &Ask, changes: bool, before: Option<i64>, now_us: i64) {
        let now = now_us.div_euclid(1000);
        let Some(made) = &mut self.made else { return };
        if changes {
            let counts = made.left > 0 && (ask.once.is_empty() || self.ids.insert(ask.once.clone()));
            if counts {
                made.left = (made.left - ask.by).max(0);
            }
            let number = made.number;
            self.marks.insert(ask.id.clone(), (ask.not_after + 1000, number));
        }
        if made.left > 0 {
            return;
        }
        if before != Some(0) {
            self.release('d', now_us);
            let ends = self.marks.values().map(|(ends, _)| *ends);
            let others = self.finished.values().chain(self.tombs.values());
            let last = ends.chain(others.copied()).max().unwrap_or(now);
            self.life = ask.memory.max(last - now);
        } else if changes {
            self.keep(ask.not_after + 1000 - now);
        }
    }

    pub(crate) fn end(&mut self, id: &str, not_after: i64, ttl: i64, now_us: i64) -> Reply {
        let now = now_us.div_euclid(1000);
        if not_after == 0 && self.generation.is_some() && self.dump().len() == 2 {
            // The fast path removes the one other member unseen.
            if self.places.remove(id).is_some() || self.tombs.remove(id).is_some() {
                return numbers(&[1, 0, 0]);
            }
        }
        self.forget(now);
        let waited = self.places.remove(id).is_some();
        if not_after > 0 {
            let ends = not_after.max(now) + 1000;
            self.generation.get_or_insert(now_us);
            let tomb = self.tombs.entry(id.to_owned()).or_insert(ends);
            *tomb = ends.max(*tomb);
            self.keep(ttl.max(ends - now));
        }
        numbers(&[if waited { 2 } else { 0 }, 0, 0])
    }

    /// The items of a tick for this latch: op and id.
    pub(crate) fn tick(&mut self, items: &[(char, String)], ttl: i64, now_us: i64) -> Reply {
        let now = now_us.div_euclid(1000);
        let refresh = |places: &mut BTreeMap<String, (i64, i64)>, op: char, id: &str| {
            let polls = if op == 'p' { 3 } else { 0 };
            if let Some((chance, seen)) = places.get_mut(id) {
                (*chance, *seen) = (polls, units(now));
            }
        };
        self.forget(now);
        let mut replies = vec![Reply::Int(now_us), Reply::Int(0)];
        for (op, id) in items {
            refresh(&mut self.places, *op, id);
            replies.push(if self.places.contains_key(id) {
                self.keep(ttl);
                numbers(&[3, -1, 0])
            } else if self.tombs.contains_key(id) {
                numbers(&[5, 1])
            } else {
                numbers(&[4])
            });
        }
        Reply::Array(replies)
    }

    /// Number, left, initial, waiting, and the ids of those who are not dead.
    pub(crate) fn peek(&self, now_us: i64) -> Reply {
        let Some(made) = &self.made else {
            return numbers(&[0]);
        };
        let now = now_us.div_euclid(1000);
        let mut alive: Vec<_> = self
            .places
            .iter()
            .filter(|(_, (_, seen))| age(now, *seen) <= PATIENCE)
            .collect();
        alive.sort_by_key(|(id, place)| (*place, *id));
        let counts = [
            1,
            made.number,
            made.left,
            made.initial,
            i64::try_from(alive.len()).unwrap(),
        ];
        let mut reply: Vec<_> = counts.map(Reply::Int).into();
        let ids = alive.iter().map(|(id, _)| Reply::Bulk(id.as_bytes().to_vec()));
        reply.push(Reply::Array(ids.collect()));
        Reply::Array(reply)
    }

    /// The record, member by member, as docs/design.md says.
    #[allow(clippy::cast_precision_loss, reason = "scores are below 2^53")]
    pub(crate) fn dump(&self) -> BTreeMap<String, f64> {
        const FIRST: i64 = -(1 << 53) + (1 << 52);
        const TOMB: f64 = 1e14;
        let mut dump = BTreeMap::new();
        let mut put = |member: String, score: f64| {
            assert!(dump.insert(member, score).is_none(), "two members of one name");
        };
        if let Some(generation) = self.generation {
            put("t1".to_owned(), generation as f64);
        }
        if let Some(made) = &self.made {
            let look = if made.look && made.left > 0 { 0.5 } else { 0.0 };
            let counter = if made.changed {
                "n1:*".to_owned()
            } else {
                format!("n1:{}", made.initial)
            };
            put(counter, (made.left + 1) as f64 + look);
            put(
                "i".to_owned(),
                (2 * made.initial + 1 + i64::from(made.changed)) as f64,
            );
            put("g".to_owned(), made.number as f64);
            for id in &self.ids {
                put(format!("#{id}"), 1e11 + made.number as f64);
            }
        }
        for (id, (chance, seen)) in &self.places {
            put(id.clone(), (FIRST + (chance << 18) + seen) as f64);
        }
        for (id, (ends, number)) in &self.marks {
            put(
                format!("c{id}"),
                TOMB + *ends as f64 + (number % 63 + 1) as f64 / 64.0,
            );
        }
        for (generation, ends) in &self.finished {
            put(format!("d{generation}"), TOMB + *ends as f64);
        }
        for (id, ends) in &self.tombs {
            put(id.clone(), TOMB + *ends as f64);
        }
        dump
    }
}
