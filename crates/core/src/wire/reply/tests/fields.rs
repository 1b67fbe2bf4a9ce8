//! Each field of an answer is read from its own place.

use redis::Value;

use super::super::*;
use crate::types::error::ErrorKind;

fn ints(numbers: &[i64]) -> Reply {
    Reply(Value::Array(numbers.iter().copied().map(Value::Int).collect()))
}

const GRANT: Grant = Grant {
    token: 12,
    left: Duration::from_millis(13),
    claim: false,
    weight: None,
    delay: None,
};

#[test]
fn each_field_of_an_acquire_is_read_from_its_place() {
    let read = |numbers: &[i64]| AcquireReply::read(&ints(numbers)).expect("an answer");
    let stamp = 1_700_000_000_000_000;
    let alone = AcquireReply::read(&Reply(Value::Int(stamp))).expect("an answer");
    assert_eq!(alone, (stamp.unsigned_abs(), AcquireReply::Fresh));
    assert_eq!(read(&[1, 11, 12, 13, 0]), (11, AcquireReply::Granted(GRANT)));
    let grant = Grant {
        claim: true,
        weight: Some(15),
        delay: Some(Duration::from_micros(16)),
        ..GRANT
    };
    assert_eq!(
        read(&[1, 11, 12, 13, 1, 15, 16]),
        (11, AcquireReply::Granted(grant))
    );
    for more in [false, true] {
        let wake = Some(Duration::from_millis(12));
        let queued = AcquireReply::Queued { wake, more };
        assert_eq!(read(&[2, 11, 12, more.into()]), (11, queued));
        let busy = AcquireReply::Busy { more };
        assert_eq!(read(&[3, 11, 12, more.into()]), (11, busy));
    }
    let none = AcquireReply::Queued {
        wake: None,
        more: false,
    };
    assert_eq!(read(&[2, 11, -1, 0]), (11, none), "no hold");
    assert_eq!(read(&[9, 11, 12]).1, AcquireReply::OtherCapacity(12));
    assert_eq!(read(&[10, 11, 12]).1, AcquireReply::TooLarge(12));
    let late = AcquireReply::TooLate(Duration::from_micros(12));
    assert_eq!(read(&[12, 11, 12]).1, late);
}

#[test]
fn each_field_of_an_end_is_read_from_its_place() {
    for (reply, had, more, refused) in [
        (Reply(Value::Int(0)), Had::Nothing, false, false),
        (Reply(Value::Int(1)), Had::Hold, false, false),
        (ints(&[1, 0, 1]), Had::Hold, false, true),
        (ints(&[2, 1, 0]), Had::Place, true, false),
        (ints(&[3, 0, 0]), Had::Forced, false, false),
        (ints(&[8, 0, 0]), Had::Foreign, false, false),
    ] {
        let expected = EndReply { had, more, refused };
        assert_eq!(EndReply::read(&reply).ok(), Some(expected), "{reply:?}");
    }
    for code in [2, 8] {
        let alone = EndReply::read(&Reply(Value::Int(code)));
        assert!(alone.is_err(), "the fast path has no {code}");
    }
}

#[test]
fn each_field_of_a_tick_is_read_from_its_place() {
    let item = |numbers: &[i64]| ints(numbers).0;
    let tick = |refused: i64| {
        let mut items = vec![Value::Int(1000), Value::Int(refused)];
        items.extend([
            item(&[1, 13]),
            item(&[2, 12, 13, 0]),
            item(&[2, 12, 13, 1, 14]),
            item(&[3, 12, 0]),
            item(&[3, -1, 1]),
            item(&[5, 3]),
            item(&[77]),
        ]);
        TickReply::read(Reply(Value::Array(items))).expect("an answer")
    };
    let mut reply = tick(0);
    assert_eq!((reply.stamp, reply.refused), (1000, false));
    assert!(tick(1).refused, "a message could not be published");
    let claim = Grant {
        claim: true,
        delay: Some(Duration::from_micros(14)),
        ..GRANT
    };
    let queued = |wake, more| TickItem::Queued { wake, more };
    for expected in [
        TickItem::Held(GRANT.left),
        TickItem::Granted(GRANT),
        TickItem::Granted(claim),
        queued(Some(Duration::from_millis(12)), false),
        queued(None, true),
        TickItem::Lost(Why::Forced),
        TickItem::Failed,
    ] {
        assert_eq!(reply.next().ok(), Some(expected));
    }
    let error = reply.next().expect_err("no item is left");
    assert_eq!(error.kind(), ErrorKind::Protocol);
    for short in [&[][..], &[1000], &[-1, 0]] {
        let error = TickReply::read(ints(short)).expect_err("no tick");
        assert_eq!(error.kind(), ErrorKind::Protocol, "{short:?}");
    }
}

#[test]
fn each_field_of_a_changed_hold_is_read_from_its_place() {
    for claim in [false, true] {
        let reply = TakeOverReply::read(&ints(&[1, 11, 12, 13, claim.into()]));
        let done = TakeOverReply::Done(Grant { claim, ..GRANT });
        assert_eq!(reply.ok(), Some((11, done)));
    }
    for (code, why) in [(1, Why::Ended), (2, Why::Taken), (3, Why::Forced)] {
        let reply = ints(&[3, 11, code]);
        let merged = MergeReply::read(&reply).ok();
        assert_eq!(merged, Some((11, MergeReply::Ended(why))));
        let taken = TakeOverReply::read(&reply).ok();
        assert_eq!(taken, Some((11, TakeOverReply::Ended(why))));
    }
    for (more, refused) in [(false, true), (true, false)] {
        let (first, second) = (more.into(), refused.into());
        let resized = ResizeReply::read(&ints(&[1, 11, first, second]));
        assert_eq!(resized.ok(), Some((11, ResizeReply::Done { more, refused })));
        let forced = ForceReply::read(&ints(&[0, first, second]));
        assert_eq!(forced.ok(), Some(ForceReply::Nobody { more, refused }));
        let forced = ForceReply::read(&ints(&[1, first, second]));
        assert_eq!(forced.ok(), Some(ForceReply::Ended { more, refused }));
    }
}

#[test]
fn each_field_of_a_latch_is_read_from_its_place() {
    let read = |numbers: &[i64]| LatchReply::read(&ints(numbers)).expect("an answer");
    let alone = LatchReply::read(&Reply(Value::Int(3))).expect("an answer");
    assert_eq!(alone, (None, LatchReply::Left(3)));
    for (refused, more) in [(false, false), (false, true), (true, false)] {
        let passed = LatchReply::Passed {
            stamp: 11,
            generation: 12,
            left: 13,
            refused,
            more,
        };
        let numbers = [1, 11, 12, 13, refused.into(), more.into()];
        assert_eq!(read(&numbers), (Some(11), passed));
    }
    let queued = LatchReply::Queued {
        stamp: 11,
        generation: 12,
    };
    assert_eq!(read(&[2, 11, 12]), (Some(11), queued));
    assert_eq!(read(&[4, 11]).1, LatchReply::Late { stamp: 11 });
    assert_eq!(read(&[9, 11, 12]).1, LatchReply::OtherCount(12));
    let text = |text: &str| Value::BulkString(text.as_bytes().to_vec());
    let mut items: Vec<_> = (1..6).map(Value::Int).collect();
    items.push(Value::Array(vec![text("a"), text("b")]));
    match PeekReply::read(Reply(Value::Array(items))) {
        Ok(PeekReply::Latch {
            number: 2,
            left: 3,
            initial: 4,
            waiting: 5,
            waiters,
        }) => assert_eq!(waiters, ["a", "b"]),
        other => panic!("{other:?}"),
    }
}

#[test]
fn each_field_of_an_inspected_record_is_read_from_its_place() {
    let text = |text: &str| Value::BulkString(text.as_bytes().to_vec());
    let read = |stored| {
        let mut items: Vec<_> = [1, 11, 12, 13].map(Value::Int).into();
        items.push(Value::Array(vec![text("a"), text("5"), text("b"), text("6")]));
        items.push(Value::Array(vec![text("c")]));
        items.extend([Value::Int(14), Value::Int(stored)]);
        items.push(Value::Array(vec![Value::Int(2), Value::Int(3)]));
        items.extend([15, 16, 17].map(Value::Int));
        items.push(Value::Array(vec![Value::Int(0), Value::Int(3)]));
        items.push(Value::Array(vec![Value::Int(512)]));
        match InspectReply::read(Reply(Value::Array(items))) {
            Ok(InspectReply::Record(record)) => record,
            other => panic!("{other:?}"),
        }
    };
    let record = read(7);
    assert_eq!((record.stamp, record.token, record.queued), (11, 12, 13));
    let holders = record.holders.iter();
    let holders: Vec<_> = holders
        .map(|it| (&*it.id, it.ends, it.weight, it.claim))
        .collect();
    assert_eq!(holders, [("a", 5, Some(2), None), ("b", 6, Some(3), Some(2))]);
    let waiters: Vec<_> = record.waiters.iter().map(|it| (&*it.id, it.seen)).collect();
    assert_eq!(waiters, [("c", 512)]);
    assert_eq!(
        (record.used, record.capacity),
        (14, Some(3)),
        "twice 3, and resized"
    );
    assert_eq!((record.holds, record.ended, record.over), (15, 16, 17));
    assert_eq!(read(0).capacity, None, "it has none");
}

#[test]
fn each_field_of_a_limiter_and_a_fence_is_read_from_its_place() {
    let read = |numbers: &[i64]| ReserveReply::read(ints(numbers)).expect("an answer");
    let reserved = ReserveReply::Reserved {
        wait: Duration::from_micros(12),
        state: (13, 14),
        before: 15,
    };
    assert_eq!(read(&[1, 11, 12, 13, 14, 15]), (11, reserved));
    let refused = ReserveReply::Refused {
        wait: Duration::from_micros(12),
        state: (13, 14),
    };
    assert_eq!(read(&[3, 11, 12, 13, 14]), (11, refused));
    let config = Value::BulkString(b"1:g".to_vec());
    let other = || Reply(Value::Array(vec![Value::Int(9), Value::Int(11), config.clone()]));
    let reserve = ReserveReply::read(other()).ok();
    assert_eq!(reserve, Some((11, ReserveReply::Other("1:g".to_owned()))));
    let change = ChangeReply::read(other()).ok();
    assert_eq!(change, Some((11, ChangeReply::Other("1:g".to_owned()))));
    let admit = |code| AdmitReply::read(&ints(&[code, 12])).ok();
    assert_eq!(admit(0), Some(AdmitReply::Stale(12)));
    assert_eq!(admit(1), Some(AdmitReply::Admitted(12)));
}
