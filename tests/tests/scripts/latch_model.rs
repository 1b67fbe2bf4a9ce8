//! What the scripts of the latch have to do, in plain Rust, with the parts of `end` and `tick` that a latch uses.
//!
//! What one step removes is bounded as with [`small_steps`](crate::bench::small_steps); what is over of an attempt, by
//! `end` and `tick`, is not.

use std::collections::{BTreeMap, BTreeSet};

use latchwork_testkit::Reply;

use crate::bench::numbers;

const PATIENCE: i64 = 20;
const UNITS: i64 = 1 << 18;
const MINUTE: i64 = 60_000;
/// What a step may spend on places and ids, one each, and one more for a client that is told.
const BUDGET: usize = 2;
/// Marks that are over, of which a step removes no more.
const MARKS: usize = 1;
/// A count-down that takes the short way removes marks when it passes a multiple of this.
const EACH: i64 = 2;
const GENERATIONS: i64 = 4096;

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
    /// A call has to look: somebody waits or waited, or there was a reset, or there are ids; at zero, something is left.
    look: bool,
}

/// A place: the number of its generation, chance and seen.
type Place = (i64, i64, i64);

/// A generation that is over, of which places are left.
#[derive(Clone, Debug)]
struct Over {
    number: i64,
    name: i64,
    kind: char,
    /// The client that was told last.
    told: String,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Latch {
    pub(crate) generation: Option<i64>,
    made: Option<Made>,
    places: BTreeMap<String, Place>,
    /// By id: the number of the generation.
    ids: BTreeMap<String, i64>,
    over: Vec<Over>,
    /// The number of the generation that can be waited for, if places of others are left.
    current: Option<i64>,
    budget: usize,
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

/// The score of a place, from the first that there may be.
fn score(id: &str, (number, chance, seen): Place) -> i64 {
    let [a, b, c] = id.as_bytes()[19..22] else {
        panic!("{id} is too short");
    };
    let client = (i64::from(a) << 14) + (i64::from(b) << 7) + i64::from(c);
    ((number % GENERATIONS) << 41) + (client << 20) + (chance << 18) + seen
}

fn units(now: i64) -> i64 {
    now.div_euclid(512).rem_euclid(UNITS)
}

fn age(now: i64, seen: i64) -> i64 {
    let units = (units(now) - seen).rem_euclid(UNITS);
    if units > UNITS - 8192 { 0 } else { units }
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

    /// The same for the first few.
    fn forget_some(&mut self, now: i64) {
        let mut gone = self.clone();
        gone.forget(now);
        let mut over = self.tomb_band();
        let kept = gone.tomb_band();
        over.retain(|member, _| !kept.contains_key(member));
        let mut over: Vec<_> = over.into_iter().collect();
        over.sort_by(|(a, one), (b, other)| one.total_cmp(other).then_with(|| a.cmp(b)));
        for (member, _) in over.into_iter().take(MARKS) {
            self.tombs.remove(&member);
            self.marks.remove(&member[1..]);
            if let Ok(generation) = member[1..].parse() {
                self.finished.remove(&generation);
            }
        }
    }

    /// Those who wait are told, each client by the first of its places, as far as the budget goes. Returns who was told
    /// last, if there are more.
    fn let_go(&mut self, over: &Over, now_us: i64) -> Option<String> {
        let mut told = over.told.clone();
        let mut clients = BTreeSet::from([told.clone()]);
        let places = self.in_order(|number| number == over.number);
        for id in &places {
            if self.budget == 0 {
                return Some(told);
            }
            self.budget -= 1;
            self.places.remove(id);
            let (client, rest) = id.split_at(22);
            if clients.insert(client.to_owned()) {
                client.clone_into(&mut told);
                self.budget = self.budget.saturating_sub(1);
                let line = format!("{} {rest} {} {now_us}", over.kind, over.name);
                self.post(client, &line);
            }
        }
        None
    }

    fn post(&mut self, client: &str, line: &str) {
        let text = self.mail.entry(client.to_owned()).or_default();
        if !text.is_empty() {
            text.push(';');
        }
        text.push_str(line);
    }

    /// The ids of places of some generations.
    fn in_order(&self, of: impl Fn(i64) -> bool) -> Vec<String> {
        let mut places: Vec<_> = self.places.iter().filter(|(_, place)| of(place.0)).collect();
        places.sort_by(|(a, at), (b, other)| score(a, **at).cmp(&score(b, **other)).then_with(|| a.cmp(b)));
        places.into_iter().map(|(id, _)| id.clone()).collect()
    }

    /// The present generation is over.
    fn close(&mut self, kind: char, now_us: i64) {
        let number = self.number();
        let mut over = Over {
            number,
            name: self.generation.unwrap_or(0),
            kind,
            told: String::new(),
        };
        let mut left = !self.in_order(|of| of == number).is_empty();
        let next = (number + 1) % GENERATIONS;
        if self.current.is_some() {
            self.current = Some(next);
        } else {
            let told = self.let_go(&over, now_us);
            left = told.is_some();
            over.told = told.unwrap_or_default();
            self.current = left.then_some(next);
        }
        if left {
            self.over.push(over);
        }
    }

    /// Goes on with generations that are over, with ids up to this one's. Returns whether that was not all.
    fn clean(&mut self, number: i64, now_us: i64) -> bool {
        while self.current.is_some() {
            if self.over.is_empty() {
                self.current = None;
                break;
            } else if self.budget == 0 {
                return true;
            }
            let mut over = self.over.remove(0);
            if let Some(told) = self.let_go(&over, now_us) {
                over.told = told;
                self.over.insert(0, over);
            }
        }
        let mut old: Vec<_> = self.ids.iter().filter(|(_, of)| **of <= number).collect();
        old.sort_by_key(|(id, of)| (**of, *id));
        let old: Vec<String> = old.into_iter().map(|(id, _)| id.clone()).collect();
        for id in old.iter().take(self.budget) {
            self.ids.remove(id);
        }
        let more = old.len() > self.budget;
        self.budget = self.budget.saturating_sub(old.len());
        more
    }

    /// The number of the generation; before there is one, of the first.
    fn number(&self) -> i64 {
        self.made.as_ref().map_or(1, |made| made.number)
    }

    fn waiting(&self) -> i64 {
        let number = self.number();
        i64::try_from(self.places.values().filter(|place| place.0 == number).count()).unwrap()
    }

    /// Whether it has a place of a generation that is over.
    fn is_left(&self, id: &str) -> bool {
        self.places.get(id).is_some_and(|place| place.0 != self.number())
    }

    /// Goes on with what generations that are over have left.
    pub(crate) fn follow_up(&mut self, now_us: i64) -> Reply {
        self.budget = BUDGET;
        if self.generation.is_some() {
            self.forget_some(now_us.div_euclid(1000));
        }
        let Some(made) = self.made.clone() else {
            return numbers(&[10, now_us]);
        };
        let newest = made.number - i64::from(made.left > 0);
        let more = self.clean(newest, now_us);
        self.look(more, false);
        let generation = self.generation.unwrap();
        numbers(&[1, now_us, generation, made.left, 0, more.into()])
    }

    /// Whether the next call has to look. `more`: something is left.
    fn look(&mut self, more: bool, once: bool) {
        let waits = !self.places.is_empty() || !self.ids.is_empty();
        if let Some(made) = &mut self.made {
            made.look = if made.left > 0 {
                made.number > 1 || waits || once
            } else {
                more
            };
        }
    }

    /// How many generations are over of which places are left.
    pub(crate) fn pending(&self) -> usize {
        self.over.len()
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
            if made.left == 0 && !made.look || ask.room < 0 {
                return say(&[1, generation, made.left, 0, 0]);
            } else if ask.room == 0 && made.left > 0 {
                return say(&[3]);
            }
        }
        if self.counts_quickly(ask, now) {
            return say(&[1, generation, self.count_quickly(ask, now_us), 0, 0]);
        }
        self.budget = BUDGET;
        self.forget_some(now);
        let before_all = self.left();
        let looks = ask.by == 0 && ask.to < 0 && (ask.room < 0 || ask.room == 0 && before_all != Some(0));
        let remained = before_all == Some(0) && self.made.as_ref().is_some_and(|made| made.look);
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
                if self.is_left(&ask.id) {
                    self.places.remove(&ask.id);
                }
                let more = self.current.is_some() && !looks && self.clean(number - 1, now_us);
                return if self.finished.contains_key(&ask.asked) {
                    say(&[1, ask.asked, 0, 0, more.into()])
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
        let there = self.places.contains_key(&ask.id) && !self.is_left(&ask.id);
        if waits && !there {
            if self.waiting() >= ask.room {
                self.places.retain(|_, (_, _, seen)| age(now, *seen) <= PATIENCE);
                next.places.clone_from(&self.places);
            }
            if self.waiting() >= ask.room {
                return say(&[6]);
            }
        }
        if waits && now > ask.not_after {
            return say(&[4]);
        }
        if changes {
            assert!(next.done.insert(ask.id.clone()), "{} was done twice", ask.id);
        }
        let makes = self.made.is_none() && next.made.is_some();
        *self = next;
        let number = self.number();
        if waits {
            self.places
                .insert(ask.id.clone(), (number, ask.polls, units(now)));
        }
        let generation = *self.generation.get_or_insert(now_us);
        let left = self.left().unwrap_or(-1);
        if left == 0 && (self.is_left(&ask.id) || self.current.is_some()) {
            self.places.remove(&ask.id);
        }
        let mut more = false;
        if makes || changes || ask.to >= 0 || !looks && (self.current.is_some() || remained) {
            more = self.clean(if left == 0 { number } else { number - 1 }, now_us);
        }
        self.look(more, ask.by > 0 && !ask.once.is_empty());
        let tells = more && (left == 0 || ask.to >= 0);
        if left == 0 {
            return say(&[1, generation, 0, 0, tells.into()]);
        }
        self.keep(ask.ttl);
        if waits {
            return say(&[2, generation]);
        }
        if ask.room == 0 {
            say(&[3])
        } else {
            say(&[1, generation, left, 0, tells.into()])
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
        if before / EACH != left / EACH {
            self.forget_some(now_us.div_euclid(1000));
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
        let made = Made {
            left: ask.to,
            initial: ask.to,
            changed: made.changed || made.initial != ask.to,
            number: made.number + 1,
            look: false,
        };
        let generation = self.generation.unwrap();
        if before > 0 {
            self.close('r', now_us);
        } else if self.current.is_none() {
            self.close('d', now_us);
        }
        self.made = Some(made);
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
            let number = made.number;
            let counted = !ask.once.is_empty() && self.ids.get(&ask.once) == Some(&number);
            if made.left > 0 && !counted {
                made.left = (made.left - ask.by).max(0);
                if made.left > 0 && !ask.once.is_empty() {
                    self.ids.insert(ask.once.clone(), number);
                }
            }
            self.marks.insert(ask.id.clone(), (ask.not_after + 1000, number));
        }
        if made.left > 0 {
            return;
        }
        if before != Some(0) {
            self.close('d', now_us);
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
        if waited && self.places.is_empty() {
            self.current = None; // as of a lock's queue that is empty
        }
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
        let refresh = |places: &mut BTreeMap<String, Place>, op: char, id: &str| {
            let polls = if op == 'p' { 3 } else { 0 };
            if let Some((_, chance, seen)) = places.get_mut(id) {
                (*chance, *seen) = (polls, units(now));
            }
        };
        self.forget(now);
        let mut replies = vec![Reply::Int(now_us), Reply::Int(0)];
        for (op, id) in items {
            refresh(&mut self.places, *op, id);
            let place = self.places.get(id).map(|place| place.0 % GENERATIONS);
            let stays = self.current.is_none_or(|current| place == Some(current));
            replies.push(if place.is_some() && !stays {
                numbers(&[4])
            } else if place.is_some() {
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
            .filter(|(_, (_, _, seen))| age(now, *seen) <= PATIENCE)
            .filter(|(_, place)| {
                self.current
                    .is_none_or(|current| place.0 % GENERATIONS == current)
            })
            .collect();
        alive.sort_by_key(|(id, place)| (score(id, **place), *id));
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
        const FIRST: i64 = -(1 << 53);
        let mut dump = BTreeMap::new();
        let mut put = |member: String, score: f64| {
            assert!(dump.insert(member, score).is_none(), "two members of one name");
        };
        if let Some(generation) = self.generation {
            put("t1".to_owned(), generation as f64);
        }
        if let Some(made) = &self.made {
            let look = if made.look { 0.5 } else { 0.0 };
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
        }
        for (id, number) in &self.ids {
            put(format!("#{id}"), 1e11 + *number as f64);
        }
        for over in &self.over {
            let finished = u8::from(over.kind == 'd');
            put(
                format!("e{} {}", over.name, over.told),
                5e11 + 2.0 * over.number as f64 + f64::from(finished),
            );
        }
        if let Some(current) = self.current {
            put("q".to_owned(), current as f64);
        }
        for (id, place) in &self.places {
            put(id.clone(), (FIRST + score(id, *place)) as f64);
        }
        dump.extend(self.tomb_band());
        dump
    }

    /// What is remembered until some time.
    #[allow(clippy::cast_precision_loss, reason = "scores are below 2^53")]
    fn tomb_band(&self) -> BTreeMap<String, f64> {
        const TOMB: f64 = 1e14;
        let mut band = BTreeMap::new();
        for (id, (ends, number)) in &self.marks {
            band.insert(
                format!("c{id}"),
                TOMB + *ends as f64 + (number % 63 + 1) as f64 / 64.0,
            );
        }
        for (generation, ends) in &self.finished {
            band.insert(format!("d{generation}"), TOMB + *ends as f64);
        }
        for (id, ends) in &self.tombs {
            band.insert(id.clone(), TOMB + *ends as f64);
        }
        band
    }
}
