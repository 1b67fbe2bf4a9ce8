//! A reply that is spoiled in any way is an error or within its bounds, and never a panic.

use redis::Value;

use super::super::*;
use crate::types::error::ErrorKind;
use crate::wire::value::{HOLD, PERMIT};

const CASES: usize = 50_000;
const EXACT: u64 = 1 << 53;

/// Random numbers: xorshift, 64 bits.
struct Draw(u64);

impl Draw {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % u64::try_from(bound.max(1)).expect("small")).expect("small")
    }

    fn number(&mut self) -> i64 {
        let bits = self.next().cast_signed() >> self.below(64);
        let ends = [0, 1, -1, i64::MAX, i64::MIN, 1 << 53, (1 << 53) + 1];
        ends.get(self.below(14)).copied().unwrap_or(bits)
    }

    fn value(&mut self) -> Value {
        match self.below(8) {
            0 => Value::Nil,
            1 => Value::BulkString(self.number().to_string().into_bytes()),
            2 => Value::Array((0..self.below(3)).map(|_| Value::Int(self.number())).collect()),
            3 => Value::Double(f64::MAX),
            4 => Value::Boolean(true),
            _ => Value::Int(self.number()),
        }
    }

    /// A reply with a code that there is, and mostly numbers behind it.
    fn reply(&mut self) -> Value {
        let code = i64::try_from(self.below(15)).expect("small");
        let mut items = vec![Value::Int(code)];
        items.extend((1..12).map(|place| Value::Int(place + 1_700_000_000_000_000 * i64::from(place == 1))));
        for place in [4, 5, 8] {
            if self.below(2) == 0 {
                items[place] = Value::Array(Vec::new());
            }
        }
        items.truncate(self.below(13));
        for _ in 0..=self.below(3) {
            let place = self.below(items.len());
            let value = self.value();
            if let Some(item) = items.get_mut(place) {
                *item = value;
            }
        }
        if self.below(16) == 0 {
            self.value()
        } else {
            Value::Array(items)
        }
    }
}

/// What was read; an error has to say that the reply is not of the protocol.
fn read<T>(result: Result<T>) -> Option<T> {
    match result {
        Ok(value) => Some(value),
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::Protocol, "{error}");
            None
        }
    }
}

fn check_grant(grant: &Grant) {
    assert!(grant.token <= EXACT && grant.left <= HOLD, "{grant:?}");
    assert!(grant.delay.is_none_or(|delay| delay <= HOLD), "{grant:?}");
}

fn check_stamp(stamp: u64) {
    assert!(stamp <= EXACT, "{stamp}");
}

/// Returns how many readers accept the reply.
fn check(value: &Value) -> usize {
    let reply = || Reply(value.clone());
    let mut accepted = 0;
    if let Some((stamp, answer)) = read(AcquireReply::read(&reply())) {
        check_stamp(stamp);
        accepted += 1;
        match answer {
            AcquireReply::Granted(grant) => check_grant(&grant),
            AcquireReply::Queued { wake, .. } => assert!(wake.is_none_or(|wake| wake <= HOLD), "{wake:?}"),
            AcquireReply::TooLate(delay) => assert!(delay <= PERMIT, "{delay:?}"),
            AcquireReply::OtherCapacity(number) | AcquireReply::TooLarge(number) => assert!(number <= EXACT),
            _ => {}
        }
    }
    match read(TickItem::read(&reply())) {
        Some(TickItem::Granted(grant)) => check_grant(&grant),
        Some(TickItem::Held(left)) => assert!(left <= HOLD, "{left:?}"),
        Some(TickItem::Queued { wake, .. }) => assert!(wake.is_none_or(|wake| wake <= HOLD), "{wake:?}"),
        _ => {}
    }
    if let Some(mut tick) = read(TickReply::read(reply())) {
        check_stamp(tick.stamp);
        while read(tick.next()).is_some() {}
    }
    if let Some((stamp, TakeOverReply::Done(grant))) = read(TakeOverReply::read(&reply())) {
        check_stamp(stamp);
        check_grant(&grant);
    }
    if let Some((stamp, answer)) = read(ReserveReply::read(reply())) {
        check_stamp(stamp);
        accepted += 1;
        match answer {
            ReserveReply::Reserved { wait, state, before } => {
                assert!(wait <= PERMIT && before <= EXACT, "{wait:?}");
                assert!(state.0 <= EXACT && state.1 <= EXACT, "{state:?}");
            }
            ReserveReply::Refused { wait, state } => {
                assert!(wait <= PERMIT && state.0 <= EXACT && state.1 <= EXACT, "{wait:?}");
            }
            _ => {}
        }
    }
    if let Some((stamp, _)) = read(LatchReply::read(&reply())) {
        check_stamp(stamp.unwrap_or(0));
        accepted += 1;
    }
    if let Some(InspectReply::Record(record)) = read(InspectReply::read(reply())) {
        assert!(record.over <= EXACT && record.ended <= EXACT && record.used <= EXACT);
        accepted += 1;
    }
    read(EndReply::read(&reply()));
    read(MergeReply::read(&reply()));
    read(ResizeReply::read(&reply()));
    read(ForceReply::read(&reply()));
    read(PeekReply::read(reply()));
    read(AdmitReply::read(&reply()));
    read(ChangeReply::read(reply()));
    accepted
}

#[test]
fn a_spoiled_reply_is_an_error_or_within_its_bounds() {
    let mut draw = Draw(0x9e37_79b9_7f4a_7c15);
    let accepted: usize = (0..CASES).map(|_| check(&draw.reply())).sum();
    assert!(
        accepted > CASES / 10,
        "only {accepted} were accepted: too many are spoiled"
    );
}

#[test]
fn a_time_beyond_its_bound_is_not_of_the_protocol() {
    let ints = |numbers: &[i64]| Reply(Value::Array(numbers.iter().copied().map(Value::Int).collect()));
    let number = |count: u128| i64::try_from(count).expect("small");
    let (hold, permit) = (number(HOLD.as_millis()), number(PERMIT.as_micros()));
    for (left, good) in [(hold, true), (hold + 1, false), (i64::MAX, false)] {
        assert_eq!(
            AcquireReply::read(&ints(&[1, 11, 12, left, 0])).is_ok(),
            good,
            "{left}"
        );
        assert_eq!(TickItem::read(&ints(&[1, left])).is_ok(), good, "{left}");
        assert_eq!(
            AcquireReply::read(&ints(&[2, 11, left, 0])).is_ok(),
            good,
            "{left}"
        );
    }
    for (wait, good) in [(permit, true), (permit + 1, false), (i64::MAX, false)] {
        assert_eq!(
            ReserveReply::read(ints(&[1, 11, wait, 0, 0, 0])).is_ok(),
            good,
            "{wait}"
        );
        assert_eq!(
            ReserveReply::read(ints(&[3, 11, wait, 0, 0])).is_ok(),
            good,
            "{wait}"
        );
    }
    let weight = |weight| AcquireReply::read(&ints(&[1, 11, 0, 13, 0, weight])).is_ok();
    assert!(weight(i64::from(u32::MAX)) && !weight(i64::from(u32::MAX) + 1));
}
