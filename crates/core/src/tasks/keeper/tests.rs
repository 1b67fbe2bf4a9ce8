//! What the keeper sends, and in which order.

use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;

use super::pace::Slot;
use super::plan::Plan;
use super::renew::{Item, Over};
use crate::attempt::Attempt;
use crate::attempt::event::{Asked, Event};
use crate::attempt::spec::Spec;
use crate::base::clock::Moment;
use crate::runtime::shared::Shared;
use crate::types::name::Name;
use crate::types::options::Options;
use crate::wire::reply::{AcquireReply, TickItem};

const LEASE: Duration = Duration::from_secs(9);
/// When the first round of waiters with that lease is due.
const TICK: u64 = 3000;
/// The pause between two batches of a thousand waiters.
const GAP: u64 = 200;

/// A client without a connection. All times are milliseconds after its start.
struct Scene {
    shared: Shared,
    plan: Plan,
    start: Moment,
}

/// A batch under way.
struct Sent {
    items: Vec<Item>,
    slot: Slot,
    at: Moment,
}

/// The attempts of a scene are numbered from 1; counters that do not tell the time are even.
fn number(attempt: &Attempt) -> u64 {
    attempt.counter / 2
}

impl Sent {
    fn counters(&self) -> Vec<u64> {
        self.items.iter().map(|item| number(&item.attempt)).collect()
    }

    fn is_renewal(&self) -> bool {
        self.items.iter().all(|item| item.asked != Asked::Place)
    }
}

impl Scene {
    fn new() -> Self {
        let shared = Shared::new(Options::default(), Handle::current());
        let start = Moment::now();
        let mut plan = Plan::default();
        shared.schedule.set_listening(true);
        plan.scan(&shared, start); // after a subscription all waiters tick at once: there are none
        Self { shared, plan, start }
    }

    fn at(&self, ms: u64) -> Moment {
        self.start + Duration::from_millis(ms)
    }

    fn attempts(&self, number: usize, key: &str, lease: Duration) -> Vec<Arc<Attempt>> {
        let spec = self.shared.plan(Spec::exclusive(lease));
        let name = Name::new(key.as_bytes()).expect("a name");
        let make = |_| {
            let spec = Arc::clone(&spec);
            let key = key.as_bytes().into();
            self.shared
                .attempt(key, name.clone(), spec, self.start)
                .expect("a slot")
        };
        (0..number).map(make).collect()
    }

    fn answered(&self, attempt: &Arc<Attempt>, reply: AcquireReply) {
        let event = Event::Answered {
            reply: Some(reply),
            stamp: 1,
            sent: self.start,
        };
        self.shared.on(attempt, event, self.start);
    }

    /// Attempts that wait since the start; their key is to be looked at after `wake`.
    fn waiters_of(&self, number: usize, lease: Duration, wake: Option<Duration>) -> Vec<Arc<Attempt>> {
        let waiters = self.attempts(number, "a", lease);
        for attempt in &waiters {
            self.answered(attempt, AcquireReply::Queued { wake, more: false });
        }
        waiters
    }

    fn waiters(&self, number: usize) -> Vec<Arc<Attempt>> {
        self.waiters_of(number, LEASE, None)
    }

    /// Attempts that hold since the start.
    fn holders(&self, number: usize) -> Vec<Arc<Attempt>> {
        let holders = self.attempts(number, "b", LEASE);
        for attempt in &holders {
            self.grant(attempt);
        }
        holders
    }

    fn grant(&self, attempt: &Arc<Attempt>) {
        self.answered(attempt, AcquireReply::Fresh);
        self.shared.on(attempt, Event::TakenOver, self.start);
    }

    fn scan(&mut self, ms: u64) {
        self.plan.scan(&self.shared, self.at(ms));
    }

    fn next(&mut self, ms: u64) -> Option<Sent> {
        let at = self.at(ms);
        let (items, slot) = self.plan.next(&self.shared, at)?;
        Some(Sent { items, slot, at })
    }

    fn all(&mut self, ms: u64) -> Vec<Sent> {
        std::iter::from_fn(|| self.next(ms)).collect()
    }

    /// The batch is answered, or it is not.
    fn over(&mut self, sent: Sent, ms: u64, failed: bool) {
        let now = self.at(ms);
        for item in &sent.items {
            let renewal = item.asked != Asked::Place;
            self.shared.on(&item.attempt, Event::TickOver { renewal }, now);
        }
        drop(sent.slot);
        let (items, sent) = (sent.items, sent.at);
        self.plan.over(Over { items, sent, failed }, now);
    }

    /// A whole round goes by; returns who was refreshed.
    fn round(&mut self, from: u64) -> Vec<u64> {
        let mut refreshed = Vec::new();
        for ms in (from..from + TICK).step_by(20) {
            while let Some(sent) = self.next(ms) {
                refreshed.extend(sent.counters());
                self.over(sent, ms, false);
            }
        }
        refreshed
    }
}

#[tokio::test]
async fn places_are_spread_and_four_batches_at_most_are_under_way() {
    let mut scene = Scene::new();
    scene.waiters(1000);
    scene.scan(TICK - 1);
    assert!(scene.next(TICK - 1).is_none(), "nothing is due");
    scene.scan(TICK);
    let first = scene.next(TICK).expect("the first batch");
    assert_eq!(first.counters(), (1..=100).collect::<Vec<_>>(), "a hundred");
    assert!(scene.next(TICK + GAP - 1).is_none(), "not at once");
    assert_eq!(scene.plan.due(), scene.at(TICK + GAP), "a pause between two");
    let late = scene.all(TICK + 5 * GAP);
    assert_eq!(late.len(), 3, "until four are under way");
    assert_eq!(scene.plan.due(), Moment::NEVER, "an answer wakes the keeper");
    scene.over(first, TICK + 5 * GAP, false);
    assert_eq!(
        scene.all(TICK + 5 * GAP).len(),
        1,
        "one for each that is answered"
    );
}

#[tokio::test]
async fn every_place_is_refreshed_once_a_round() {
    let mut scene = Scene::new();
    scene.waiters(1234);
    for round in 1..4 {
        scene.scan(round * TICK);
        assert_eq!(scene.round(round * TICK), (1..=1234).collect::<Vec<_>>());
    }
}

#[tokio::test]
async fn a_renewal_goes_before_the_places_that_are_queued() {
    let mut scene = Scene::new();
    scene.waiters(1000);
    scene.scan(TICK);
    let jam = scene.all(TICK + 10 * GAP);
    assert_eq!(jam.len(), 4, "as many as may be under way");
    let holders = scene.holders(1001);
    scene.scan(TICK + 10 * GAP);
    let mut renewals = scene.all(TICK + 10 * GAP);
    assert!(renewals.iter().all(Sent::is_renewal), "only renewals");
    assert_eq!(renewals.len(), 8, "as many as may be under way");
    for sent in jam {
        scene.over(sent, TICK + 10 * GAP, false);
    }
    assert!(
        scene.next(TICK + 10 * GAP).is_none(),
        "places wait for the renewals"
    );
    scene.over(renewals.remove(0), TICK + 10 * GAP, false);
    let next = scene.all(TICK + 10 * GAP);
    assert!(next[0].is_renewal(), "the next batch");
    assert_eq!(next.len(), 1, "there are more");
    drop(renewals); // overdue: they do not count any longer
    let last = scene.all(TICK + 10 * GAP);
    let kinds: Vec<bool> = last.iter().map(Sent::is_renewal).collect();
    assert_eq!(kinds, [true, true, false, false, false, false], "then the places");
    assert_eq!(holders.len(), 1001);
}

#[tokio::test]
async fn what_was_granted_or_given_up_or_answered_since_is_left_out() {
    let mut scene = Scene::new();
    let waiters = scene.waiters(250);
    scene.scan(TICK);
    let first = scene.next(TICK).expect("the first batch");
    scene.over(first, TICK, false);
    scene.grant(&waiters[110]);
    scene.shared.end(&waiters[120]);
    let event = Event::Ticked {
        asked: Asked::Place,
        item: TickItem::Queued {
            wake: None,
            more: false,
        },
        stamp: 2,
        sent: scene.at(TICK),
    };
    scene.shared.on(&waiters[130], event, scene.at(TICK + 1));
    let second = scene.next(TICK + TICK / 2).expect("the second batch");
    let expected: Vec<u64> = (101..=203).filter(|n| ![111, 121, 131].contains(n)).collect();
    // The one that holds is renewed, as it is due.
    assert!(
        second.is_renewal() || second.counters() == expected,
        "{:?}",
        second.counters()
    );
    let others = scene.all(TICK + TICK / 2);
    let places: Vec<u64> = [second]
        .iter()
        .chain(&others)
        .filter(|sent| !sent.is_renewal())
        .flat_map(Sent::counters)
        .collect();
    assert_eq!(
        places,
        (101..=250)
            .filter(|n| ![111, 121, 131].contains(n))
            .collect::<Vec<_>>()
    );
}

#[tokio::test]
async fn a_round_waits_for_the_one_before() {
    let mut scene = Scene::new();
    scene.waiters(1000);
    scene.scan(TICK);
    let jam = scene.all(TICK + 10 * GAP);
    scene.scan(2 * TICK); // the server is slow, and the next round is due
    for sent in jam {
        scene.over(sent, 2 * TICK, false);
    }
    let mut refreshed = Vec::new();
    while refreshed.len() < 600 {
        let sent = scene.next(2 * TICK).expect("the rest of the first round");
        refreshed.extend(sent.counters());
        scene.over(sent, 2 * TICK, false);
    }
    assert_eq!(refreshed, (401..=1000).collect::<Vec<_>>(), "nobody twice");
    assert!(scene.next(2 * TICK).is_none(), "no other round yet");
    assert!(
        scene.shared.schedule.due() <= scene.at(2 * TICK) + Duration::from_millis(50),
        "but now"
    );
    scene.scan(2 * TICK);
    let next = scene.next(2 * TICK).expect("the next round");
    assert_eq!(next.counters()[0], 1, "from the first one on");
}

#[tokio::test]
async fn a_batch_that_failed_is_sent_again_when_the_round_is_over() {
    let mut scene = Scene::new();
    scene.waiters(250);
    scene.scan(TICK);
    let first = scene.next(TICK).expect("the first batch");
    scene.over(first, TICK + 1000, true);
    let others = scene.all(TICK + 2000);
    let counters: Vec<u64> = others.iter().flat_map(Sent::counters).collect();
    assert_eq!(
        counters,
        (101..=250).chain(1..=100).collect::<Vec<_>>(),
        "the others first"
    );
    let mut scene = Scene::new();
    scene.waiters(1);
    scene.scan(TICK);
    let only = scene.next(TICK).expect("the only one");
    scene.over(only, TICK + 1000, true);
    assert!(scene.next(TICK + 1249).is_none(), "not at once");
    assert_eq!(scene.plan.due(), scene.at(TICK + 1250));
    assert!(scene.next(TICK + 1250).is_some(), "after a quarter of a second");
}

#[tokio::test]
async fn h2_an_answer_to_a_tick_from_before_a_subscription_does_not_count() {
    let mut scene = Scene::new();
    scene.waiters(350);
    scene.scan(TICK);
    let before = scene.next(TICK).expect("the first batch");
    scene.shared.schedule.tick_now();
    scene.scan(TICK + 1);
    let others = scene.all(TICK + 1);
    let counters: Vec<u64> = others.iter().flat_map(Sent::counters).collect();
    assert_eq!(
        counters,
        (101..=350).collect::<Vec<_>>(),
        "all at once, but for those under way"
    );
    scene.over(before, TICK + 2, false);
    let again = scene
        .next(TICK + 2)
        .expect("those whose answer may have come before");
    assert_eq!(again.counters(), (1..=100).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_short_lease_does_not_make_the_long_ones_tick() {
    let mut scene = Scene::new();
    scene.waiters(150);
    scene.waiters_of(1, Duration::from_millis(300), None);
    let mut refreshed = vec![0; 152];
    for ms in (100..=9000).step_by(100) {
        scene.scan(ms);
        for sent in scene.all(ms) {
            for item in &sent.items {
                refreshed[usize::try_from(number(&item.attempt)).expect("a number")] += 1;
                let event = Event::Ticked {
                    asked: Asked::Place,
                    item: TickItem::Queued {
                        wake: None,
                        more: false,
                    },
                    stamp: 2 + ms,
                    sent: scene.at(ms),
                };
                scene.shared.on(&item.attempt, event, scene.at(ms));
            }
            scene.over(sent, ms, false);
        }
    }
    assert!((80..=90).contains(&refreshed[151]), "every tenth of a second");
    assert!(
        refreshed[1..151].iter().all(|times| *times == 3),
        "every third second: {refreshed:?}"
    );
}

#[tokio::test]
async fn a_look_at_a_key_goes_before_the_other_places() {
    let mut scene = Scene::new();
    scene.waiters(300);
    let dead = scene.attempts(2, "dead", LEASE);
    let wake = Some(Duration::from_millis(TICK + 500));
    for attempt in &dead {
        scene.answered(attempt, AcquireReply::Queued { wake, more: false });
    }
    scene.scan(TICK);
    let first = scene.next(TICK).expect("the first batch");
    assert_eq!(first.items.len(), 100);
    scene.scan(TICK + 600);
    let look = scene.next(TICK + 600).expect("a look");
    assert_eq!(
        look.counters(),
        [number(&dead[0])],
        "the first that waits for the key"
    );
    assert_eq!(
        scene.next(TICK + 600).expect("the round goes on").counters()[0],
        101
    );
}

#[tokio::test]
async fn a_hold_that_ends_before_its_renewal_is_sent_is_lost_in_time() {
    let mut scene = Scene::new();
    let holders = scene.holders(900);
    scene.scan(TICK);
    let jam = scene.all(TICK);
    assert_eq!(jam.len(), 8, "the server is silent");
    let end = holders[0].held().expect("it is held").deadline;
    assert_eq!(scene.plan.first_end(), end, "when the keeper has to look");
    scene.plan.scan(&scene.shared, end);
    assert_eq!(scene.plan.first_end(), Moment::NEVER, "nothing is left to renew");
    assert!(holders.iter().all(|one| one.held().is_none()), "all are lost");
    drop(jam);
    assert!(scene.next(2 * TICK).is_none(), "and nothing is sent");
}
