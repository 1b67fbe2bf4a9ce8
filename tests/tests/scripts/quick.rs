//! When the scripts take their fast path: then they leave alone what is over, and everything else is as always.

use crate::model::{Attempt, Call, Hold, Record};
use crate::queue::is_silent;
use crate::requests::Acquire;

/// What one step grants at most.
const MOST: usize = 100;

impl Record {
    fn first(&self) -> Option<&Hold> {
        self.holds.iter().min_by(|a, b| a.order().cmp(&b.order()))
    }

    fn last(&self) -> Option<&Hold> {
        self.holds.iter().max_by(|a, b| a.order().cmp(&b.order()))
    }

    fn knows(&self, id: &str) -> bool {
        self.holds.iter().any(|hold| hold.who.id == id)
            || self.place_of(id).is_some()
            || self.tombs.contains_key(id)
    }

    /// Nothing is over, nobody who waits can be granted, and no hold that is looked at outlasts its lease.
    pub(crate) fn acquires_quickly(&self, call: &Call<'_>, ask: &Acquire) -> bool {
        let now = call.now();
        let there = match self.stored {
            Some((stored, resized)) if call.counted => {
                if !resized && stored != call.capacity {
                    return false;
                }
                stored
            }
            _ => call.capacity,
        };
        let late = now > ask.not_after || ask.floor != 0;
        if late || ask.who.base().is_some() || self.knows(&ask.who.id) {
            return false;
        }
        if ask.room >= 0 && ask.who.weight > there {
            return false;
        }
        let outlasts = |hold: &Hold| hold.end - now + i64::from(hold.claim.is_some()) > hold.who.lease + 1;
        let looked_at = if call.counted { self.first() } else { self.last() };
        if looked_at.is_some_and(outlasts) || self.first().is_some_and(|hold| hold.is_over(now)) {
            return false;
        }
        let used = self.used();
        let owner = self.owner(call);
        if let Some(head) = self.queue.first()
            && (used < there || owner.is_some())
        {
            let same = owner.is_some() && owner.as_deref() == head.who.owner();
            let silent = is_silent(&head.who, call.raw_age(head.seen));
            if silent || head.who.base().is_some() || used + head.who.weight <= there || same {
                return false;
            }
        }
        let enters_again = owner.is_some() && owner.as_deref() == ask.who.owner();
        let fits = if ask.room < 0 {
            used < there
        } else {
            used + ask.who.weight <= there
        };
        if enters_again || (fits && self.queue.is_empty()) {
            return true;
        }
        if ask.room <= 0 {
            let alone = self.holds.len() == 1 && owner.is_none() && !call.counted;
            return alone || !self.last().is_some_and(outlasts);
        }
        self.waiting() < ask.room || self.swept == Some(call.second())
    }

    /// It holds, and all who are granted to live, listen and missed no claim.
    pub(crate) fn ends_quickly(&self, call: &Call<'_>, who: &Attempt, not_after: i64) -> bool {
        let now = call.now();
        let own = self.holds.iter().find(|hold| hold.who.id == who.id);
        let (None, 0, Some(own)) = (who.base(), not_after, own) else {
            return false;
        };
        let is_over = own.is_over(now) && !self.queue.is_empty(); // else nobody looks at the time
        if is_over || own.upgraded.is_some() {
            return false;
        }
        let there = self
            .stored
            .filter(|_| call.counted)
            .map_or(call.capacity, |(stored, _)| stored);
        let exclusive = call.exclusive(own.who.weight);
        if who.owner().is_some() && !self.queue.is_empty() && self.holds.len() > 1 {
            return false;
        }
        let mut used = if exclusive { 0 } else { self.used() - own.has() };
        for (at, head) in self.queue.iter().enumerate() {
            if used >= there {
                break;
            }
            // A clock that was set back is out of the ordinary.
            let silent = is_silent(&head.who, call.raw_age(head.seen));
            if head.who.base().is_some() || head.chance != 0 || silent || head.who.weight > there {
                return false;
            }
            if used + head.who.weight > there {
                break;
            }
            let behind = self.queue.get(at + 1);
            let shares = head.who.owner().is_some()
                && behind.is_some_and(|next| who.owner().is_none() || next.ticket == head.ticket);
            let listens = call.listening.iter().any(|client| client == head.who.parts().0);
            if !listens {
                return false;
            } else if at == MOST {
                break;
            } else if shares {
                return false;
            }
            used += head.who.weight;
        }
        true
    }

    /// It is all there is, but for what is in use and how much there is.
    pub(crate) fn is_all(&self, id: &str, capacity: i64) -> bool {
        let dump = self.dump(capacity);
        let there = self
            .holds
            .iter()
            .map(|hold| &hold.who.id)
            .chain(self.tombs.keys());
        let is_counted = self.stored.is_some() && dump.shared.is_none();
        there.eq([id])
            && !is_counted
            && self.token.is_some()
            && dump.queue.is_empty()
            && dump.next.is_none()
            && dump.since.is_none()
            && dump.extended.is_empty()
            && dump.weights.is_empty()
            && dump.marks.is_empty()
            && dump.upgraded.is_empty()
            && dump.forced.is_empty()
    }
}
