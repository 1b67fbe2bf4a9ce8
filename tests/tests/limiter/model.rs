//! Computes a limiter's answers the slow way, from the list of admissions, in whole numbers.

/// How the permits are counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Gcra,
    Window,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Terms {
    pub(crate) kind: Kind,
    pub(crate) permits: i64,
    /// µs.
    pub(crate) period: i64,
    pub(crate) burst: i64,
    pub(crate) set: bool,
}

pub(crate) const fn gcra(permits: i64, period: i64, burst: i64) -> Terms {
    Terms {
        kind: Kind::Gcra,
        permits,
        period,
        burst,
        set: false,
    }
}

pub(crate) const fn window(permits: i64, period: i64) -> Terms {
    Terms {
        kind: Kind::Window,
        permits,
        period,
        burst: 1,
        set: false,
    }
}

impl Terms {
    pub(crate) fn config(&self) -> String {
        let letter = if self.kind == Kind::Gcra { 'g' } else { 'w' };
        let (permits, period, burst) = (self.permits, self.period, self.burst);
        format!("1:{letter}:{permits}:{period}:{burst}:{}|", i64::from(self.set))
    }

    pub(crate) const fn limit(&self) -> i64 {
        match self.kind {
            Kind::Gcra => self.burst,
            Kind::Window => self.permits,
        }
    }

    pub(crate) const fn piece(&self) -> i64 {
        (self.period + 49) / 50
    }

    /// The furthest that a slot may be away.
    pub(crate) fn reach(&self) -> i64 {
        match self.kind {
            Kind::Gcra => {
                let burst = i128::from(self.burst) * i128::from(self.period) / i128::from(self.permits);
                self.period.max(narrow(burst) + 1)
            }
            Kind::Window => 51 * self.piece(),
        }
    }
}

/// Something that was reserved.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Entry {
    pub(crate) id: i64,
    pub(crate) weight: i64,
    /// When it was asked for (GCRA), or the number of the piece of its slot (window), in the record's own time.
    at: i128,
}

/// What a call is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Said {
    pub(crate) admitted: bool,
    pub(crate) wait: i64,
    /// The two numbers that follow it.
    pub(crate) rest: (i64, i64),
    pub(crate) before: i64,
}

/// A record. Its own time never goes back: `offset` is what it is ahead of the server's clock.
#[derive(Debug, Clone)]
pub(crate) struct Model {
    terms: Terms,
    entries: Vec<Entry>,
    exists: bool,
    offset: i128,
    /// The latest time at which it was written.
    at: i128,
    /// The beginning of piece 0.
    epoch: i128,
    last: i64,
}

impl Model {
    pub(crate) const fn new(terms: Terms) -> Self {
        Self {
            terms,
            entries: Vec::new(),
            exists: false,
            offset: 0,
            at: 0,
            epoch: 0,
            last: 0,
        }
    }

    pub(crate) fn last(&self) -> i64 {
        self.last
    }

    /// The record's own time.
    fn time(&self, now: i64) -> i128 {
        (i128::from(now) + self.offset).max(self.at)
    }

    fn wrote(&mut self, now: i64, time: i128) {
        self.offset = time - i128::from(now);
        self.at = time;
        self.exists = true;
    }

    pub(crate) fn ask(&mut self, now: i64, weight: i64, most: i64, id: i64) -> Said {
        if !self.exists {
            (self.offset, self.at, self.epoch, self.last) = (0, i128::from(now), i128::from(now), 0);
        }
        let stepped = self.exists && i128::from(now) + self.offset < self.at;
        let time = self.time(now);
        let replay = most >= 0 && self.last == id;
        let before = if replay { 0 } else { self.last };
        let cost = if replay { 0 } else { weight };
        let (wait, entry, epoch) = match self.terms.kind {
            Kind::Gcra => {
                let entry = Entry { id, weight, at: time };
                (self.wait_gcra(time, cost), entry, self.epoch)
            }
            Kind::Window => {
                let (wait, piece, epoch) = self.wait_window(time, cost);
                (
                    wait,
                    Entry {
                        id,
                        weight,
                        at: piece,
                    },
                    epoch,
                )
            }
        };
        let admitted = wait <= most;
        let emptied = epoch != self.epoch;
        if admitted {
            if emptied {
                self.entries.clear();
                self.epoch = epoch;
            }
            if !replay {
                self.entries.push(entry);
            }
            self.last = id;
        }
        let writes = match self.terms.kind {
            Kind::Gcra => stepped,
            Kind::Window => stepped && !emptied && !self.entries.is_empty(),
        };
        if admitted || writes && most >= 0 {
            self.wrote(now, time);
        }
        Said {
            admitted,
            wait,
            rest: match self.terms.kind {
                Kind::Gcra => {
                    let debt = self.debt(time);
                    let permits = i128::from(self.terms.permits);
                    (narrow(debt / permits), narrow(debt % permits))
                }
                Kind::Window if emptied && !admitted => (self.terms.permits, 0),
                Kind::Window => self.left(time),
            },
            before,
        }
    }

    /// GCRA: what has not come back, in n-ths of a µs: each entry adds its price, and time takes away what there is.
    fn debt(&self, time: i128) -> i128 {
        let mut debt = 0;
        let mut since = 0;
        for entry in &self.entries {
            debt = (debt - (entry.at - since) * i128::from(self.terms.permits)).max(0);
            debt += i128::from(entry.weight) * i128::from(self.terms.period);
            since = entry.at;
        }
        (debt - (time - since) * i128::from(self.terms.permits)).max(0)
    }

    fn wait_gcra(&self, time: i128, weight: i64) -> i64 {
        let price = |weight: i64| i128::from(weight) * i128::from(self.terms.period);
        let over = self.debt(time) + price(weight) - price(self.terms.burst);
        let permits = i128::from(self.terms.permits);
        narrow(over.max(0).div_euclid(permits) + i128::from(over.max(0).rem_euclid(permits) > 0))
    }

    /// Window: the first piece from the present one and the last entry on in which it fits; and the epoch it counts from.
    fn wait_window(&self, time: i128, weight: i64) -> (i64, i128, i128) {
        let piece = i128::from(self.terms.piece());
        let present = (time - self.epoch).div_euclid(piece);
        let top = self.entries.iter().map(|entry| entry.at).max();
        if top.is_none_or(|top| present - top > 50) {
            return (0, 0, time);
        }
        let mut slot = present.max(top.unwrap_or(present));
        while self.used(slot) + weight > self.terms.permits {
            slot += 1;
        }
        let wait = if slot == present {
            0
        } else {
            narrow(self.epoch + slot * piece - time)
        };
        (wait, slot, self.epoch)
    }

    /// What is in a piece and the fifty before it.
    fn used(&self, piece: i128) -> i64 {
        let inside = |entry: &&Entry| (piece - 50..=piece).contains(&entry.at);
        self.entries.iter().filter(inside).map(|entry| entry.weight).sum()
    }

    fn left(&self, time: i128) -> (i64, i64) {
        let piece = i128::from(self.terms.piece());
        let present = (time - self.epoch).div_euclid(piece);
        let Some(top) = self.entries.iter().map(|entry| entry.at).max() else {
            return (self.terms.permits, 0);
        };
        let left = if top > present {
            0
        } else {
            self.terms.permits - self.used(present)
        };
        (left, narrow(self.epoch + (top + 51) * piece - time))
    }

    /// Takes back what is at the end; says how much.
    pub(crate) fn refund(&mut self, items: &[(i64, i64, i64)]) -> i64 {
        let mut given = 0;
        let mut items = items.to_vec();
        while let Some(at) = items.iter().position(|item| item.0 == self.last) {
            let (id, before, _) = items.remove(at);
            self.entries.retain(|entry| entry.id != id);
            self.last = before;
            given += 1;
        }
        given
    }

    pub(crate) fn reset(&mut self) {
        *self = Self::new(self.terms);
    }
}

fn narrow(number: i128) -> i64 {
    number.try_into().unwrap()
}
