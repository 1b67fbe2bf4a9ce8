//! Who is next, in plain Rust: tickets, grants from the head, claims that go back.

use crate::model::{Attempt, Call, GONE, Hold, POLLS, Record, UNIT, UNITS, Waiter};

/// The ticket of whoever comes to an empty queue, and the first that cannot be given any more.
pub(crate) const FIRST: i64 = 1 << 32;
const LAST: i64 = (1 << 33) - 1;
/// Upgrades and claims that lapsed have tickets below it, everybody else has one from it on.
const FRONT: i64 = 1 << 30;
/// Tickets count milliseconds for so long, and then whoever comes.
const LONGEST: i64 = 1 << 30;
/// What `s` counts modulo.
const CYCLE: i64 = 1 << 36;

/// At least this often, in thousandths of a millisecond, a client shows that a waiter lives.
fn tick(who: &Attempt) -> i64 {
    let lease = if who.base().is_some() { 9000 } else { who.lease };
    (lease * 1000 / 3).min(3_000_000)
}

/// Whether a waiter that was not seen for so many units has missed two ticks and a second.
pub(crate) fn is_silent(who: &Attempt, age: i64) -> bool {
    age > 1 && age * UNIT * 1000 - 1_000_000 > 2 * tick(who)
}

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
            self.doubt = None;
        }
    }

    /// Grants, puts back the claims that lapsed, grants again.
    pub(crate) fn hand_on(&mut self, call: &mut Call<'_>, lapsed: Vec<Hold>) {
        for hold in &lapsed {
            self.cast_doubt(call, hold);
        }
        let any = !lapsed.is_empty();
        call.lapsed = any;
        self.pump(call);
        call.lapsed = false;
        for Hold { who, claim, .. } in lapsed.into_iter().rev() {
            let ticket = self.mark(&who).unwrap_or_else(|| self.front());
            let unseen = if call.alive.contains(&who.id) {
                0
            } else {
                GONE - 14
            };
            let seen = (call.seen_now() - unseen).rem_euclid(UNITS);
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

    /// A claim lapsed: who was not seen since it was made is in doubt.
    fn cast_doubt(&mut self, call: &Call<'_>, hold: &Hold) {
        if self.doubt.is_none_or(|since| call.raw_age(since) > GONE) {
            let window = (hold.who.window << hold.claim.unwrap_or(0)).min(hold.who.lease);
            let made = (hold.end - window).div_euclid(UNIT);
            self.doubt = Some(made.min(call.now().div_euclid(UNIT)).rem_euclid(UNITS));
        }
    }

    /// Whether it was not seen since a claim was made that lapsed, though it should have been.
    fn is_in_doubt(since: i64, who: &Attempt, age: i64) -> bool {
        age > 1 && age >= since && since * UNIT * 1000 > tick(who) * 5 / 4
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
        let lapsed = call.lapsed || self.queue.first().is_some_and(|head| head.chance % POLLS > 0);
        let since = self.doubt.filter(|_| lapsed);
        let since = since.map_or(0, |since| call.raw_age(since));
        let mut at = 0; // those before it are passed over
        while at < self.queue.len() && self.goes_on(call) {
            let head = &self.queue[at];
            let listens =
                head.chance == POLLS || call.listening.iter().any(|client| client == head.who.parts().0);
            let age = call.age(head.seen);
            let silent = is_silent(&head.who, age);
            let passed = silent || Self::is_in_doubt(since, &head.who, age);
            if age > GONE || (silent && !listens && head.chance == 0) {
                self.queue.remove(at);
            } else if call.counted && head.who.weight > call.capacity {
                self.drop_place(call, at);
            } else if head.who.base().is_some() {
                if self.try_upgrade(call, at) {
                    return self.pump(call); // behind it may be one whose claim lapsed
                }
                break;
            } else if passed || (!listens && self.fits(call, &head.who)) {
                at += 1;
            } else if !self.fits(call, &head.who) {
                break;
            } else {
                let behind = self.queue.get(at + 1).map(|next| next.who.clone());
                self.hand_over(call, at, behind);
            }
        }
        while at > 0 && self.goes_on(call) {
            let head = &self.queue[0];
            let listens = call.listening.iter().any(|client| client == head.who.parts().0);
            if head.chance != POLLS && !listens && is_silent(&head.who, call.age(head.seen)) {
                at -= 1;
                self.queue.remove(0);
                continue;
            } else if !self.fits(call, &head.who) {
                break;
            }
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
