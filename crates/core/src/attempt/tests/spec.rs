//! The values that a spec and its rules derive from a mode.

use std::num::NonZeroU32;
use std::sync::Arc;

use super::*;
use crate::attempt::ask::LatchAsk;
use crate::attempt::rules::Plan;
use crate::attempt::spec::{Mode, Numbers, Share};
use crate::types::latch::OnMissing;
use crate::types::options::{OnMismatch, Renew};
use crate::types::owner::Owner;
use crate::types::rate::Rate;
use crate::wire::id::{Base, Inbox};
use crate::wire::pace::Pace;
use crate::wire::request::Capacity;

const DRIFT: Drift = Drift {
    parts_per_million: 500,
};

fn spec(mode: Mode) -> Spec {
    Spec {
        mode,
        ..Spec::exclusive(LEASE)
    }
}

fn share(weight: u32, capacity: u32) -> Share {
    Share {
        weight,
        capacity,
        floor: 40,
        ahead: Some(-5),
    }
}

fn counted(weight: u32) -> Spec {
    let rate = Rate::per_second(NonZeroU32::MIN);
    spec(Mode::Counted {
        weight,
        capacity: 3,
        pace: Some(Pace::new(rate, None).expect("a rate")),
        numbers: Numbers {
            on_mismatch: OnMismatch::Error,
            keep: LEASE,
            max_wait: None,
        },
    })
}

const BASE: Base = Base {
    counter: 17,
    weight: 2,
    window: 900,
};

fn latch(by: u32) -> Spec {
    let ask = LatchAsk {
        on_missing: OnMissing::Fail,
        by,
        once: None,
        to: None,
        at_once: false,
        keep: LEASE,
        adopts: false,
    };
    spec(Mode::Latch(Arc::new(ask)))
}

#[test]
fn a_mode_sets_weight_and_capacity() {
    let owned = spec(Mode::Owned(Owner::new()));
    for (spec, weight, whole, capacity) in [
        (Spec::exclusive(LEASE), 1, 1, Capacity::of(1)),
        (spec(Mode::Lock(share(2, 5))), 2, 5, Capacity::of(5)),
        (spec(Mode::Lock(share(5, 5))), 5, 5, Capacity::of(5)),
        (owned, 1, 1, Capacity::of(1)),
        (spec(Mode::Upgrade(share(2, 5), BASE)), 5, 5, Capacity::upgrade(5)),
        (counted(2), 2, 3, Capacity::counted(3)),
        (counted(4), 4, 3, Capacity::counted(3)),
        (latch(0), 1, 0, Capacity::of(0)),
    ] {
        assert_eq!((spec.weight(), spec.whole()), (weight, whole), "{spec:?}");
        assert_eq!(spec.capacity(), capacity, "{spec:?}");
    }
}

#[test]
fn a_mode_sets_sharing_and_order() {
    let owned = spec(Mode::Owned(Owner::new()));
    let in_time = Share {
        ahead: Some(0),
        ..Share::ALL
    };
    // Shared, batched, floor, head start.
    for (spec, shared, batched, floor, ahead) in [
        (Spec::exclusive(LEASE), false, true, 0, None),
        (spec(Mode::Lock(in_time)), false, false, 0, Some(0)),
        (spec(Mode::Lock(share(2, 5))), true, false, 0, Some(-5)),
        (spec(Mode::Lock(share(5, 5))), false, false, 40, Some(-5)),
        (owned, false, false, 0, None),
        (spec(Mode::Upgrade(share(2, 5), BASE)), false, false, 40, Some(-5)),
        (counted(3), true, false, 0, None),
        (latch(0), false, false, 0, None),
    ] {
        assert_eq!(
            (spec.is_shared(), spec.is_batched()),
            (shared, batched),
            "{spec:?}"
        );
        assert_eq!((spec.floor(), spec.ahead()), (floor, ahead), "{spec:?}");
    }
}

#[test]
fn owner_pace_and_latch_belong_to_one_mode() {
    let owner = Owner::new();
    let reentrant = spec(Mode::Owned(owner));
    let plain = Spec::exclusive(LEASE);
    assert_eq!((reentrant.owner(), plain.owner()), (Some(&owner), None));
    let pace = counted(1).pace().map(|pace| pace.text.to_string());
    assert_eq!(pace.as_deref(), Some("1000000.00 1 1000000"));
    assert_eq!(plain.pace(), None);
    assert!(counted(1).is_counted() && !plain.is_counted());
    assert_eq!(latch(3).latch().map(|ask| ask.by), Some(3));
    assert!(plain.latch().is_none());
}

#[test]
fn an_id_names_the_kin_of_its_attempt() {
    let owner = Owner::new();
    let id = |mode| spec(mode).id(("client", Inbox::Here), 19, 1000);
    assert_eq!(id(Mode::Lock(share(2, 5))), "client.19:2:10000:1000");
    assert_eq!(id(Mode::Owned(owner)), format!("client.19@{owner}:1:10000:1000"));
    let upgrade = id(Mode::Upgrade(share(2, 5), BASE));
    assert_eq!(upgrade, "client.19^17-2:5:10000:900", "the window of its base");
    assert_eq!(
        latch(0).id(("client", Inbox::Here), 19, 1000),
        "client.19:1:10000:1000"
    );
}

#[test]
fn the_rules_follow_from_the_spec() {
    let plain = Rules::of(&Spec::exclusive(LEASE), DRIFT, false);
    let expected = Rules {
        lease: LEASE,
        first_lease: LEASE,
        at_least: None,
        renews: true,
        max_hold: None,
        floor: 0,
        weight: 1,
        shared: false,
        upgrade: false,
        latch: None,
        drift: DRIFT,
        same_thread: false,
        off: 0,
    };
    assert_eq!(plain, expected);
    let by_hand = Spec {
        renew: Renew::Manual,
        max_hold: Some(ms(5)),
        ..spec(Mode::Upgrade(share(2, 5), BASE))
    };
    let expected = Rules {
        renews: false,
        max_hold: Some(ms(5)),
        floor: 40,
        weight: 5,
        upgrade: true,
        same_thread: true,
        ..expected
    };
    assert_eq!(Rules::of(&by_hand, DRIFT, true), expected);
    assert!(Rules::of(&counted(2), DRIFT, false).shared);
    let changes = [latch(0), latch(1)].map(|spec| Rules::of(&spec, DRIFT, false).latch);
    assert_eq!(changes, [Some(false), Some(true)]);
}

#[test]
fn a_rule_is_switched_off_alone() {
    let rules = Rules::of(&Spec::exclusive(LEASE), DRIFT, false);
    let all = [
        Rule::ByStamp,
        Rule::ReplyStart,
        Rule::MessageStart,
        Rule::ConfirmLate,
        Rule::NotHandedOutLate,
        Rule::DeadlineFirst,
        Rule::TokenNamed,
        Rule::EndAsking,
        Rule::EndGranted,
        Rule::Tombstone,
        Rule::TickReplays,
    ];
    for off in all {
        let without = rules.without(off);
        for rule in all {
            assert!(rules.has(rule), "{rule:?}");
            assert_eq!(without.has(rule), rule != off, "{rule:?} without {off:?}");
        }
    }
}

#[test]
fn a_plan_is_shared_until_its_weight_changes() {
    let plan = Plan::new(counted(2), DRIFT, true);
    assert!(Arc::ptr_eq(&plan, &plan.with_weight(2)), "the same");
    let heavier = plan.with_weight(3);
    assert_eq!((heavier.weight(), heavier.rules.weight), (3, 3));
    assert_eq!((heavier.rules.drift, heavier.rules.same_thread), (DRIFT, true));
    assert_eq!((plan.weight(), heavier.whole()), (2, 3));
    let weight = |mode| spec(mode).with_weight(4).weight();
    assert_eq!(weight(Mode::Lock(share(2, 5))), 4);
    assert_eq!(weight(Mode::Owned(Owner::new())), 1, "it has one");
    let Mode::Upgrade(share, _) = spec(Mode::Upgrade(share(2, 5), BASE)).with_weight(4).mode else {
        panic!("it stays an upgrade");
    };
    assert_eq!(share.weight, 4);
}
