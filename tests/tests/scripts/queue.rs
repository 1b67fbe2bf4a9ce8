//! Who is next, in plain Rust: tickets, grants from the head, claims that go back.

use crate::model::{Attempt, Call, DEAF, Hold, PATIENCE, POLLS, Record, UNIT, UNITS, Waiter};

/// The ticket of whoever comes to an empty queue, and the first that cannot be given any more.
pub(crate) const FIRST: i64 = 1 << 32;
const LAST: i64 = (1 << 33) - 1;
/// Upgrades and claims that lapsed have tickets below it, everybody else has one from it on.
const FRONT: i64 = 1 << 30;
/// Tickets count milliseconds for so long, and then whoever comes.
const LONGEST: i64 = 1 << 30;
/// What `s` counts modulo.
const CYCLE: i64 = 1 << 36;

impl Record {
    pub(crate) fn sort(&mut self) {
        self.queue.sort_by(|a, b| {
            (a.ticket, a.chance, a.seen, &a.who.id).cmp(&(b.ticket, b.chance, b.seen, &b.who.id))
        });
    }

    fn enter(&mut self, who: Attempt, ticket: i64, chance: i64, seen: i64) {
        self.queue.push(Waiter {
            who,
            ticket,
            chance,
            seen,
        });
        self.sort();
    }

    /// Joins the queue; `false`: there are no tickets left.
    pub(crate) fn join(
        &mut self,
        call: &Call<'_>,
        who: &Attempt,
        ticket: i64,
        next: i64,
        chance: i64,
    ) -> bool {
        if ticket >= LAST {
            return false;
        }
        self.next = Some(next);
        self.enter(who.clone(), ticket, chance, call.seen_now());
        true
    }

    /// The ticket of those who wait for this owner.
    fn mark(&self, who: &Attempt) -> Option<i64> {
        let mut kin = self.queue.iter().filter(|place| place.who.owner() == who.owner());
        who.owner().and_then(|_| Some(kin.next()?.ticket))
    }

    fn front(&self) -> i64 {
        self.queue.first().map_or(FRONT, |head| head.ticket.min(FRONT)) - 1
    }

    /// The next ticket if so many more come: never more wait than tickets were given.
    fn next_for(&self, more: i64) -> i64 {
        self.next.unwrap_or(FIRST).max(FIRST + self.waiting() + more)
    }

    /// The ticket of a newcomer and that of the next one.
    pub(crate) fn ticket(&mut self, call: &Call<'_>, who: &Attempt, ahead: i64) -> (i64, i64) {
        let next = self.next.unwrap_or(FIRST);
        if let Some(mark) = self.mark(who) {
            return (mark, next + 1);
        } else if who.base().is_some() {
            return (self.front(), self.next_for(1));
        } else if self.since.is_none() && ahead == 0 {
            return (next, next + 1);
        }
        let given = next - FIRST; // from the first head start on, this many milliseconds are over
        let now = call.now();
        let since = *self.since.get_or_insert_with(|| (now - given).rem_euclid(CYCLE));
        let over = (now - since).rem_euclid(CYCLE);
        let over = if over > CYCLE / 2 { 0 } else { over.min(LONGEST) }; // the clock was set back
        let came = next.max(FIRST + over);
        let ticket = self.free((came - ahead).max(FRONT));
        (ticket, if ahead == 0 { ticket } else { came } + 1)
    }

    /// A ticket that nobody has, from this one on: the next, unless waiters share tickets.
    fn free(&self, from: i64) -> i64 {
        let taken = |tickets: i64| {
            let to = from + tickets;
            let within = self
                .queue
                .iter()
                .filter(|place| (from..to).contains(&place.ticket));
            i64::try_from(within.count()).unwrap()
        };
        let mut bounds = (0, 1);
        while taken(bounds.1) >= bounds.1 {
            bounds = (bounds.1, bounds.1 * 2);
        }
        while bounds.1 - bounds.0 > 1 {
            let middle = i64::midpoint(bounds.0, bounds.1);
            if taken(middle) >= middle {
                bounds.0 = middle;
            } else {
                bounds.1 = middle;
            }
        }
        from + bounds.0
    }

    /// Whether somebody with this ticket comes before all who wait.
    pub(crate) fn overtakes(&self, ticket: i64) -> bool {
        self.queue.iter().all(|place| ticket < place.ticket)
    }

    /// When nobody waits, tickets begin anew.
    pub(crate) fn tidy(&mut self) {
        if self.queue.is_empty() {
            self.next = None;
            self.since = None;
            self.swept = None;
        }
    }

    /// Grants, puts back the claims that lapsed, grants again.
    pub(crate) fn hand_on(&mut self, call: &mut Call<'_>, lapsed: Vec<Hold>) {
        self.pump(call);
        let seen = (call.seen_now() - DEAF + 4).rem_euclid(UNITS);
        let any = !lapsed.is_empty();
        for Hold { who, claim, .. } in lapsed.into_iter().rev() {
            let ticket = self.mark(&who).unwrap_or_else(|| self.front());
            self.enter(who, ticket, claim.map_or(0, |missed| missed + 1), seen);
        }
        if any {
            self.next = Some(self.next_for(0));
            self.pump(call);
        }
        for (behind, window) in std::mem::take(&mut call.doubts) {
            if self.place_of(&behind.id).is_some() {
                call.post(&behind, 'w', &format!("{window} {}", call.now_us));
            }
        }
        self.tidy();
    }

    /// Tells the head of the queue when the claim before it ends.
    pub(crate) fn tell_head(&self, call: &mut Call<'_>) {
        let next = self.holds.iter().min_by(|a, b| a.order().cmp(&b.order()));
        if let (Some(Hold { claim: Some(_), .. }), Some(head)) = (next, self.queue.first()) {
            let wake = self.wake(call.now());
            call.post(&head.who, 'w', &format!("{wake} {}", call.now_us));
        }
    }

    /// Whether a waiter may be the next: if all is in use, only the owner's own.
    fn goes_on(&self, call: &Call<'_>) -> bool {
        self.used() < call.capacity || (!call.quick && self.owner(call).is_some())
    }

    fn pump(&mut self, call: &mut Call<'_>) {
        let mut at = 0; // those before it are passed over
        while at < self.queue.len() && self.goes_on(call) {
            let head = &self.queue[at];
            let listens =
                head.chance == POLLS || call.listening.iter().any(|client| client == head.who.parts().0);
            let age = call.age(head.seen);
            if age > PATIENCE || (age > DEAF && !listens) {
                self.queue.remove(at);
            } else if call.counted && head.who.weight > call.capacity {
                self.drop_place(call, at);
            } else if head.who.base().is_some() {
                if !self.try_upgrade(call, at) {
                    break;
                }
            } else if !self.fits(call, &head.who) {
                break;
            } else if listens {
                let behind = self.queue.get(at + 1).map(|next| next.who.clone());
                self.hand_over(call, at, behind);
            } else {
                at += 1;
            }
        }
        while at > 0 && self.goes_on(call) && self.fits(call, &self.queue[0].who) {
            at -= 1;
            let behind = self.queue.get(1).filter(|_| at > 0).map(|next| next.who.clone());
            self.hand_over(call, 0, behind);
        }
    }

    /// It is told to ask again, and will learn why.
    fn drop_place(&mut self, call: &mut Call<'_>, place: usize) {
        let who = self.queue.remove(place).who;
        call.post(&who, 'w', &format!("0 {}", call.now_us));
    }

    /// An upgrade at the head: granted or hopeless, and then it has left the queue; or it has to wait.
    fn try_upgrade(&mut self, call: &mut Call<'_>, place: usize) -> bool {
        let who = self.queue[place].who.clone();
        let base = who.base().unwrap();
        if self.hold_of(base).is_none() {
            self.drop_place(call, place);
            return true;
        } else if !self.is_alone(base) {
            return false;
        }
        self.queue.remove(place);
        let token = self.upgrade(call, base, who.count, 0);
        call.post(&who, 'g', &format!("{token} {} {}", call.now_us, who.lease));
        true
    }

    /// A claim on the waiter's behalf, and the messages about it.
    fn hand_over(&mut self, call: &mut Call<'_>, place: usize, behind: Option<Attempt>) {
        let Waiter {
            who, chance, seen, ..
        } = self.queue.remove(place);
        let missed = chance % POLLS;
        let window = (who.window << missed).min(who.lease);
        self.keep(window + call.ttl);
        let claim = Hold {
            claim: Some(missed),
            ..Hold::new(&who, call.now() + window)
        };
        let token = self.admit(call, claim, 0);
        call.post(&who, 'g', &format!("{token} {} {window}", call.now_us));
        if let Some(behind) = behind.filter(|_| missed > 0 || call.age(seen) * UNIT > window) {
            call.doubts.push((behind, window));
        }
    }
}
