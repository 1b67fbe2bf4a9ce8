//! When the scripts take their fast path: then they leave alone what is over, and everything else is as always.

use crate::model::{Attempt, Call, Hold, PATIENCE, Record, UNITS};
use crate::requests::Acquire;

impl Attempt {
    fn is_plain(&self) -> bool {
        self.owner().is_none() && self.base().is_none()
    }
}

impl Record {
    fn first(&self) -> Option<&Hold> {
        self.holds.iter().min_by(|a, b| a.order().cmp(&b.order()))
    }

    fn knows(&self, id: &str) -> bool {
        self.holds.iter().any(|hold| hold.who.id == id)
            || self.place_of(id).is_some()
            || self.tombs.contains_key(id)
    }

    /// Nobody waits, and all holds have what their ids say.
    fn is_unmarked(&self) -> bool {
        self.next.is_none()
            && self.since.is_none()
            && self.extended.is_empty()
            && self
                .holds
                .iter()
                .all(|hold| hold.weight.is_none() && hold.upgraded.is_none())
    }

    /// One that has everything is in the way; or there is room, and nobody waits.
    pub(crate) fn acquires_quickly(&self, call: &Call<'_>, ask: &Acquire) -> bool {
        let now = call.now();
        if self.token.is_none() || now > ask.not_after || ask.floor != 0 || self.knows(&ask.who.id) {
            return false;
        }
        let first = self.first();
        if call.exclusive(ask.who.weight) {
            let full = self.waiting() >= ask.room;
            return ask.who.is_plain()
                && ask.who.weight == call.capacity
                && ask.ahead == 0
                && (ask.room == 0 || !full && self.since.is_none())
                && first.is_some_and(|hold| {
                    hold.who.is_plain()
                        && hold.who.weight == call.capacity
                        && !hold.is_over(now)
                        && hold.end - now + i64::from(hold.claim.is_some()) <= hold.who.lease + 1
                });
        }
        let used = self.used();
        let there = match self.stored {
            Some((stored, resized)) if call.counted => {
                if !resized && stored != call.capacity {
                    return false;
                }
                stored
            }
            _ if call.counted => return false,
            _ => call.capacity,
        };
        ask.room >= 0
            && ask.who.base().is_none()
            && self.is_unmarked()
            && self
                .holds
                .iter()
                .all(|hold| !hold.is_over(now) && !call.exclusive(hold.who.weight))
            && used + ask.who.weight <= there
    }

    /// It shares, and nobody waits; or it has everything, and the next one in the queue is like it, and listens.
    pub(crate) fn ends_quickly(&self, call: &Call<'_>, who: &Attempt, not_after: i64) -> bool {
        let own = self.holds.iter().find(|hold| hold.who.id == who.id);
        let (true, 0, Some(own)) = (who.is_plain(), not_after, own) else {
            return false;
        };
        if call.counted || who.weight != call.capacity {
            return self.is_unmarked();
        }
        let Some(head) = self.queue.first() else {
            return false;
        };
        let age = (call.seen_now() - head.seen).rem_euclid(UNITS); // a clock that was set back is out of the ordinary
        self.holds.len() == 1
            && !own.is_over(call.now())
            && head.who.is_plain()
            && head.who.weight == call.capacity
            && head.chance == 0
            && age <= PATIENCE
            && call.listening.iter().any(|client| client == head.who.parts().0)
    }
}
