//! What a tick has to answer, and to do to the records: the model's side of it.

use latchwork_testkit::Reply;

use crate::bench::numbers;
use crate::model::{Attempt, Call, POLLS, Record};

/// One item of a tick.
#[derive(Clone, Debug)]
pub(crate) struct Item {
    pub(crate) record: usize,
    pub(crate) op: char,
    pub(crate) who: Attempt,
    pub(crate) token: i64,
    pub(crate) lease: i64,
    pub(crate) ttl: i64,
}

/// `tick`: every item's reply, in order.
pub(crate) fn tick(records: &mut [Record], call: &mut Call<'_>, items: &[Item]) -> Reply {
    let mut replies: Vec<Option<Reply>> = items
        .iter()
        .map(|item| fast(&mut records[item.record], call, item))
        .collect();
    let rest: Vec<usize> = (0..items.len()).filter(|at| replies[*at].is_none()).collect();
    for item in rest.iter().map(|at| &items[*at]) {
        let record = &mut records[item.record];
        if let ('w' | 'p', Some(place)) = (item.op, record.place_of(&item.who.id)) {
            record.refresh_by_tick(call, place, if item.op == 'p' { POLLS } else { 0 });
        }
    }
    let waits = |item: &&Item| matches!(item.op, 'w' | 'p');
    let waiting = rest.iter().map(|at| &items[*at]).filter(waits);
    call.alive = waiting.map(|item| item.who.id.clone()).collect();
    let made_with = call.capacity;
    let mut settled = Vec::new();
    for at in rest {
        let item = &items[at];
        let record = &mut records[item.record];
        call.ttl = item.ttl;
        call.capacity = made_with;
        if !settled.contains(&item.record) {
            settled.push(item.record);
            let lapsed = record.settle(call);
            record.hand_on(call, lapsed);
        }
        let reply = if matches!(item.op, 'w' | 'p') {
            look(record, call, item)
        } else {
            renew(record, call, item)
        };
        replies[at] = Some(reply);
    }
    let head = [call.now_us, 0].map(Reply::Int);
    Reply::Array(head.into_iter().chain(replies.into_iter().flatten()).collect())
}

/// A hold that is in order is renewed before anything is settled.
fn fast(record: &mut Record, call: &Call<'_>, item: &Item) -> Option<Reply> {
    let now = call.now();
    let is_own = item.token == 0 || record.token == Some(item.token) && is_exclusive(record, call);
    let in_order = record
        .hold_of(&item.who.id)
        .is_some_and(|hold| !hold.is_over(now));
    (matches!(item.op, 'h' | 'd') && in_order && is_own).then(|| prolong(record, call, item))
}

fn prolong(record: &mut Record, call: &Call<'_>, item: &Item) -> Reply {
    let now = call.now();
    record.keep(item.ttl);
    let hold = record.hold_of(&item.who.id).unwrap();
    if hold.claim.take().is_some() || now + item.lease > hold.end {
        hold.end = now + item.lease;
    }
    numbers(&[1, hold.end - now])
}

/// Whether a hold has a token: nobody shares, or one was upgraded and has everything.
fn is_exclusive(record: &Record, call: &Call<'_>) -> bool {
    let shared = record.shared(if call.counted { 0 } else { call.capacity });
    shared == 0 || !call.counted && shared >= call.capacity
}

fn renew(record: &mut Record, call: &Call<'_>, item: &Item) -> Reply {
    let last = record.token.unwrap_or(0);
    let is_own = item.token == 0 || last == item.token && is_exclusive(record, call);
    if record.hold_of(&item.who.id).is_none() || !is_own {
        if record.forced.contains_key(&item.who.id) {
            return numbers(&[5, 3]);
        }
        return numbers(&[5, if item.token > 0 && last > item.token { 2 } else { 1 }]);
    }
    if item.op == 'x' {
        let longest = record.extended.entry(item.who.id.clone()).or_default();
        *longest = item.lease.max(*longest);
    }
    prolong(record, call, item)
}

fn look(record: &mut Record, call: &Call<'_>, item: &Item) -> Reply {
    let now = call.now();
    if record.tombs.contains_key(&item.who.id) {
        return numbers(&[5, 1]);
    }
    let token = if call.exclusive(item.who.weight) {
        record.token.unwrap_or(0)
    } else {
        0
    };
    if let Some(hold) = record.hold_of(&item.who.id) {
        return numbers(&[2, token, hold.end - now, i64::from(hold.claim.is_some())]);
    }
    let Some(place) = record.place_of(&item.who.id) else {
        return numbers(&[4]);
    };
    if call.counted && record.set_by_hand().is_some_and(|there| item.who.weight > there) {
        record.queue.remove(place); // it asks again, and learns why
        record.tidy();
        return numbers(&[4]);
    }
    record.refresh_by_tick(call, place, if item.op == 'p' { POLLS } else { 0 });
    record.keep(item.ttl);
    numbers(&[3, record.wake(now), 0])
}
