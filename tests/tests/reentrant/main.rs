//! An owner enters again from anywhere, and others wait until its last hold ends.
#![allow(clippy::significant_drop_tightening, reason = "guards are the subject")]
#![allow(clippy::unwrap_used, reason = "helpers are part of their tests")]

use std::sync::{Arc, Mutex as StdMutex};
use std::time::Duration;

use latchwork_mutex::{
    Client, FairMutex, FencingToken, Loss, Mutex, Owner, ReentrantMutex, ReentrantMutexGuard, Renew,
};
use latchwork_testkit::TestServer;
use latchwork_tests::{Fixture, LEASE, Other, eventually, go, messages, soon};

fn lock(client: &Client) -> ReentrantMutex {
    ReentrantMutex::new(client, "a").unwrap()
}

#[tokio::test]
async fn an_owner_enters_again_from_anywhere_and_the_token_stays() {
    let fixture = Fixture::shared();
    let (one, two) = (fixture.patient().await, fixture.patient().await);
    let (ours, theirs) = (lock(&one), lock(&two));
    let owner = Owner::new();
    let same: Owner = owner.to_string().parse().unwrap();
    let outer = ours.lock(&owner).await.unwrap();
    let token = outer.fencing_token();
    let entries = [
        ours.lock(&owner).await.unwrap(),
        ours.try_lock(&owner).await.unwrap().unwrap(),
        ours.try_lock_for(&owner, Duration::ZERO).await.unwrap().unwrap(),
        soon("a task", go(ours.lock(&owner))).await.unwrap().unwrap(),
        theirs.lock(&same).await.unwrap(),
        theirs.with_owner(&same).try_lock().await.unwrap().unwrap(),
    ];
    assert_eq!(ours.holds(&owner).await.unwrap(), 7, "each is a hold");
    for entry in &entries {
        assert_eq!(entry.fencing_token(), token, "one token");
        assert_eq!(entry.owner(), &owner, "whose it is");
    }
    // In any order.
    outer.unlock().await.unwrap();
    for (left, entry) in entries.into_iter().enumerate().rev() {
        assert!(ours.is_locked().await.unwrap(), "still held");
        let stranger = ours.try_lock(&Owner::new()).await.unwrap();
        assert!(stranger.is_none(), "others are kept out to the last");
        entry.unlock().await.unwrap();
        assert_eq!(theirs.holds(&owner).await.unwrap() as usize, left, "one less");
    }
    let again = ours.try_lock(&owner).await.unwrap().expect("free");
    assert!(again.fencing_token() > token, "a new one after the last was gone");
    again.unlock().await.unwrap();
    fixture.over().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_process_enters_with_the_owners_text_and_takes_only_its_own_holds_with_it() {
    let server = TestServer::start().unwrap();
    let fixture = Fixture::on(&server);
    let client = fixture.patient().await;
    let lock = lock(&client);
    let owner = Owner::new();
    let ours = lock.lock(&owner).await.unwrap();
    let waiting = fixture.enqueue(lock.lock(&Owner::new())).await;
    let program = env!("CARGO_BIN_EXE_latchwork-test-holder");
    let mut other = Other::spawn(program, &fixture, &owner.to_string(), 2, LEASE, LEASE);
    for _ in 0..2 {
        let token = other.says("held").await;
        assert_eq!(token, ours.fencing_token().get(), "the same, before the queue");
    }
    assert_eq!(lock.holds(&owner).await.unwrap(), 3, "in all processes");
    other.kill();
    soon("its holds end", async {
        while lock.holds(&owner).await.unwrap() > 1 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    assert!(!ours.is_lost() && !waiting.is_finished(), "ours is not touched");
    let inner = lock.lock(&owner).await.unwrap();
    assert_eq!(inner.fencing_token(), ours.fencing_token(), "we still enter");
    inner.unlock().await.unwrap();
    ours.unlock().await.unwrap();
    let next = soon("the next", waiting).await.unwrap();
    next.unlock().await.unwrap();
    // The other way round: what is left behind is theirs, and ends by itself.
    let mut other = Other::spawn(program, &fixture, &owner.to_string(), 1, LEASE, LEASE);
    let token = other.says("held").await;
    let ours = lock.lock(&owner).await.unwrap();
    assert_eq!(ours.fencing_token().get(), token, "the same");
    ours.unlock().await.unwrap();
    let stranger = fixture.enqueue(lock.lock(&Owner::new())).await;
    assert!(!stranger.is_finished(), "theirs is left");
    other.kill();
    soon("a stranger", stranger)
        .await
        .unwrap()
        .unlock()
        .await
        .unwrap();
    fixture.settled().await;
}

#[tokio::test]
async fn a_re_entry_overtakes_the_queue_and_nobody_else_does() {
    let fixture = Fixture::shared();
    let client = fixture.patient().await;
    let lock = lock(&client);
    let (us, them) = (Owner::new(), Owner::new());
    let outer = lock.lock(&us).await.unwrap();
    let waiting = fixture.enqueue(lock.lock(&them)).await;
    let entries = [
        lock.lock(&us).await.unwrap(),
        lock.try_lock(&us).await.unwrap().unwrap(),
    ];
    assert!(lock.try_lock(&them).await.unwrap().is_none(), "theirs only waits");
    outer.unlock().await.unwrap();
    for entry in entries {
        assert!(!waiting.is_finished(), "some are left");
        entry.unlock().await.unwrap();
    }
    let theirs = soon("theirs", waiting).await.unwrap();
    assert!(lock.try_lock(&us).await.unwrap().is_none(), "now it is theirs");
    let inner = lock.try_lock(&them).await.unwrap().expect("they enter again");
    assert_eq!(inner.fencing_token(), theirs.fencing_token());
    drop((inner, theirs));
    fixture.settled().await;
}

type Order = Arc<StdMutex<Vec<usize>>>;

/// Notes its turn, and gives the lock up.
fn turn<G>(number: usize, order: &Order, guard: latchwork_mutex::Result<G>) {
    order.lock().unwrap().push(number);
    drop(guard.unwrap());
}

#[tokio::test]
async fn different_owners_and_the_other_mutexes_of_the_name_wait_in_one_queue() {
    let fixture = Fixture::shared();
    let (one, two) = (fixture.patient().await, fixture.patient().await);
    let held = lock(&one).lock(&Owner::new()).await.unwrap();
    let order = Order::default();
    let mut tasks = Vec::new();
    for number in 0..12 {
        let client = if number % 2 == 0 { &one } else { &two };
        let order = Arc::clone(&order);
        let before = fixture.waiters();
        tasks.push(match number % 3 {
            0 => {
                let waiting = lock(client).lock(&Owner::new());
                go(async move { turn(number, &order, waiting.await) })
            }
            1 => {
                let waiting = Mutex::new(client, "a").unwrap().lock();
                go(async move { turn(number, &order, waiting.await) })
            }
            _ => {
                let waiting = FairMutex::new(client, "a").unwrap().lock();
                go(async move { turn(number, &order, waiting.await) })
            }
        });
        fixture.queued(before + 1).await;
    }
    for (what, found) in [
        ("mutex", Mutex::new(&two, "a").unwrap().try_lock().await.unwrap()),
        (
            "fair",
            FairMutex::new(&two, "a").unwrap().try_lock().await.unwrap(),
        ),
    ] {
        assert!(found.is_none(), "{what}: it is one lock");
    }
    held.unlock().await.unwrap();
    for task in tasks {
        soon("a turn", task).await.unwrap();
    }
    assert_eq!(
        *order.lock().unwrap(),
        (0..12).collect::<Vec<_>>(),
        "as they came"
    );
    fixture.settled().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn waiters_of_one_owner_are_granted_together_with_one_message_per_client() {
    let server = TestServer::start().unwrap();
    let fixture = Fixture::on(&server);
    let (one, two) = (fixture.patient().await, fixture.patient().await);
    let mutex = Mutex::new(&one, "a").unwrap();
    let held = mutex.lock().await.unwrap();
    let us = Owner::new();
    let (mut ours, mut strangers) = (Vec::new(), Vec::new());
    for client in [&one, &two, &one] {
        ours.push(fixture.enqueue(lock(client).lock(&us)).await);
        strangers.push(fixture.enqueue(mutex.lock()).await);
    }
    server.reset_stats().unwrap();
    held.unlock().await.unwrap();
    assert_eq!(fixture.holders().len(), 3, "in the step of the release");
    let mut guards: Vec<ReentrantMutexGuard> = Vec::new();
    for task in ours {
        guards.push(soon("ours", task).await.unwrap());
    }
    assert_eq!(messages(&server), 2, "one for each client");
    assert_eq!(
        (fixture.holders().len(), fixture.waiters()),
        (3, 3),
        "the strangers wait"
    );
    let token = guards[0].fencing_token();
    assert!(
        guards.iter().all(|guard| guard.fencing_token() == token),
        "one token"
    );
    drop(guards);
    for task in strangers {
        soon("a stranger", task).await.unwrap().unlock().await.unwrap();
    }
    fixture.settled().await;
    assert_eq!(fixture.marks(), Vec::<String>::new(), "no mark is left");
}

#[tokio::test]
async fn an_owners_place_is_kept_by_those_who_still_wait_and_lost_with_the_last() {
    let fixture = Fixture::shared();
    let client = fixture.patient().await;
    let lock = lock(&client);
    let us = Owner::new();
    let held = lock.lock(&Owner::new()).await.unwrap();
    let first = fixture.enqueue(lock.lock(&us)).await;
    let stranger = fixture.enqueue(lock.lock(&Owner::new())).await;
    let second = fixture.enqueue(lock.lock(&us)).await;
    first.abort();
    fixture.queued(2).await;
    held.unlock().await.unwrap();
    let second = soon("ours", second).await.unwrap();
    assert!(!stranger.is_finished(), "the place of the first was ours");
    let third = fixture.enqueue(Mutex::new(&client, "a").unwrap().lock()).await;
    second.unlock().await.unwrap();
    let stranger = soon("a stranger", stranger).await.unwrap();
    // All of ours give up: the next of ours is a newcomer.
    let ours = fixture.enqueue(lock.lock(&us)).await;
    let last = fixture.enqueue(lock.lock(&Owner::new())).await;
    ours.abort();
    fixture.queued(2).await;
    let ours = fixture.enqueue(lock.lock(&us)).await;
    stranger.unlock().await.unwrap();
    soon("the third", third).await.unwrap().unlock().await.unwrap();
    let last = soon("the last", last).await.unwrap();
    assert!(!ours.is_finished(), "it came after that one");
    last.unlock().await.unwrap();
    soon("ours", ours).await.unwrap().unlock().await.unwrap();
    fixture.settled().await;
}

#[tokio::test]
async fn one_hold_is_lost_and_another_lives() {
    let fixture = Fixture::shared();
    let client = fixture.client().await;
    let renewed = lock(&client);
    let manual = ReentrantMutex::builder(&client, "a")
        .renew(Renew::Manual)
        .build()
        .unwrap();
    let bounded = ReentrantMutex::builder(&client, "a")
        .max_hold(LEASE * 2)
        .build()
        .unwrap();
    let us = Owner::new();
    // The oldest and the youngest end, the one in the middle stays.
    let first = manual.lock(&us).await.unwrap();
    let kept = renewed.lock(&us).await.unwrap();
    let longest = bounded.lock(&us).await.unwrap();
    assert_eq!(soon("loss", first.lost()).await, Loss::Expired, "nobody renews");
    assert_eq!(soon("loss", longest.lost()).await, Loss::MaxHold, "the longest");
    tokio::time::sleep(LEASE).await;
    assert!(!kept.is_lost(), "it has a lease of its own");
    assert_eq!(renewed.holds(&us).await.unwrap(), 1, "one is left");
    assert!(renewed.try_lock(&Owner::new()).await.unwrap().is_none(), "held");
    for (lost, why) in [(first, Loss::Expired), (longest, Loss::MaxHold)] {
        assert_eq!(lost.unlock().await.unwrap_err().loss(), Some(why));
    }
    let inner = renewed.lock(&us).await.unwrap();
    assert_eq!(inner.fencing_token(), kept.fencing_token(), "the same token");
    let token = kept.fencing_token();
    kept.forget();
    inner.forget();
    let next = soon("the next", renewed.lock(&us)).await.unwrap();
    assert_eq!(
        next.fencing_token(),
        token,
        "the forgotten ones last for their lease"
    );
    next.unlock().await.unwrap();
    let stranger = soon("a stranger", renewed.lock(&Owner::new())).await.unwrap();
    assert!(stranger.fencing_token() > token, "and no longer");
    stranger.unlock().await.unwrap();
    fixture.settled().await;
}

#[tokio::test]
async fn force_unlock_ends_all_holds_of_an_owner() {
    let fixture = Fixture::shared();
    let client = fixture.patient().await;
    let lock = lock(&client);
    let us = Owner::new();
    let mut guards = Vec::new();
    for _ in 0..150 {
        guards.push(lock.lock(&us).await.unwrap());
    }
    assert_eq!(lock.holds(&us).await.unwrap(), 150);
    let stranger = fixture.enqueue(lock.lock(&Owner::new())).await;
    assert!(lock.force_unlock().await.unwrap(), "held");
    for guard in &guards {
        assert_eq!(soon("loss", guard.lost()).await, Loss::Forced, "each is told");
    }
    let stranger = soon("a stranger", stranger).await.unwrap();
    assert_eq!(lock.holds(&us).await.unwrap(), 0, "none is left");
    drop(guards);
    eventually("they are given up", || client.live() == 1).await;
    stranger.unlock().await.expect("nobody took it away");
    assert!(!lock.force_unlock().await.unwrap(), "nobody holds it");
    fixture.settled().await;
}

#[tokio::test]
async fn run_enters_again() {
    let fixture = Fixture::shared();
    let client = fixture.patient().await;
    let lock = lock(&client);
    let us = Owner::new();
    let tokens: (FencingToken, Option<FencingToken>, FencingToken) = lock
        .run(&us, async |outer| {
            let inner = lock
                .try_run(&us, async |inner| inner.fencing_token())
                .await
                .unwrap();
            let stranger = lock.try_run(&Owner::new(), async |_| ()).await.unwrap();
            assert!(stranger.is_none(), "held");
            let handle = lock.with_owner(&us);
            let again = handle.run(async |inner| inner.fencing_token()).await.unwrap();
            (outer.fencing_token(), inner, again)
        })
        .await
        .unwrap();
    assert_eq!((Some(tokens.0), tokens.0), (tokens.1, tokens.2), "one token");
    assert_eq!(lock.holds(&us).await.unwrap(), 0, "all are released");
    let error = lock
        .run(&us, async |_| {
            lock.force_unlock().await.unwrap();
            std::future::pending::<()>().await;
        })
        .await
        .unwrap_err();
    assert_eq!(error.loss(), Some(Loss::Forced), "the body was dropped: {error}");
    fixture.settled().await;
}

#[tokio::test]
async fn a_ticket_moves_one_hold_of_an_owner_to_that_owner_alone() {
    let fixture = Fixture::shared();
    let (one, two) = (fixture.steady().await, fixture.steady().await);
    let [here, there] = [&one, &two].map(|client| ReentrantMutex::new(client, "a").unwrap());
    let owner = Owner::new();
    let outer = here.lock(&owner).await.unwrap();
    let ticket = here.lock(&owner).await.unwrap().into_ticket().await.unwrap();
    let ticket = ticket.to_string().parse().unwrap();
    let wrong = there.resume(&Owner::new(), &ticket).await.unwrap_err();
    assert_eq!(wrong.kind(), latchwork_mutex::ErrorKind::Invalid, "{wrong}");
    let plain = Mutex::new(&two, "a").unwrap();
    let wrong = plain.resume(&ticket).await.unwrap_err();
    assert_eq!(wrong.kind(), latchwork_mutex::ErrorKind::Invalid, "{wrong}");
    let inner = there.resume(&owner, &ticket).await.unwrap();
    assert_eq!(inner.fencing_token(), outer.fencing_token());
    assert_eq!(there.holds(&owner).await.unwrap(), 2, "both");
    outer.unlock().await.unwrap();
    inner.unlock().await.unwrap();
    fixture.settled().await;
}
