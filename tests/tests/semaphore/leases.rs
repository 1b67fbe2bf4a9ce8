//! Permits whose lease ends or that are taken away are released once.

use latchwork_semaphore::{Loss, Renew, Semaphore};
use latchwork_testkit::{Action, Direction, contains};
use latchwork_tests::subject::SEMAPHORE;
use latchwork_tests::{Fixture, LEASE, LONG};

use super::{free, semaphore};

#[tokio::test]
async fn h33_permits_of_a_dead_holder_are_released_one_by_one() {
    let fixture = Fixture::of(SEMAPHORE);
    let client = fixture.client().await;
    let semaphore = semaphore(&client, 3);
    semaphore.acquire_many(2).await.expect("permits").forget();
    assert_eq!(client.live(), 0, "nobody renews them");
    let kept = semaphore.acquire().await.expect("the third");
    assert_eq!(free(&semaphore).await, 0, "they are still out");
    let all_but_one = semaphore.acquire_many(2).await.expect("when their lease is over");
    assert!(!kept.is_lost(), "the other one is renewed");
    tokio::time::sleep(LEASE * 2).await;
    assert!(!kept.is_lost() && !all_but_one.is_lost(), "all are");
    assert_eq!(free(&semaphore).await, 0, "none too many");
    let manual = Semaphore::builder(&client, "b", 3)
        .renew(Renew::Manual)
        .build()
        .expect("a semaphore");
    let ends = manual.acquire_many(3).await.expect("permits");
    assert_eq!(ends.lost().await, Loss::Expired, "nobody renews");
    tokio::time::sleep(LEASE).await;
    assert_eq!(free(&manual).await, 3, "seen before anybody settles");
    let error = ends.release().await.expect_err("lost");
    assert!(error.is_lost(), "{error}");
    drop((kept, all_but_one));
    fixture.over().await;
}

#[tokio::test]
async fn h32_releasing_a_lost_permit_releases_nothing() {
    let fixture = Fixture::of(SEMAPHORE);
    let (proxy, away) = fixture.proxied_with(|builder| builder.lease(LONG)).await;
    // Its client is not told, so that its release comes when others hold.
    proxy.on_chunk(|direction, _, chunk| {
        let forced = direction == Direction::ToClient && contains(chunk, "f .");
        if forced { Action::Drop } else { Action::Pass }
    });
    let client = fixture.client().await;
    let lost = semaphore(&away, 2).acquire_many(2).await.expect("permits");
    let semaphore = semaphore(&client, 2);
    assert!(
        semaphore.force_release().await.expect("an answer"),
        "somebody had some"
    );
    let next = semaphore.acquire_many(2).await.expect("free");
    let error = lost.release().await.expect_err("lost");
    assert_eq!(error.loss(), Some(Loss::Forced), "{error}");
    assert_eq!(free(&semaphore).await, 0, "the present holder has them all");
    let another = semaphore.try_acquire().await.expect("an answer");
    assert!(another.is_none(), "nobody else gets one");
    assert!(!next.is_lost(), "the present holder keeps them");
    drop(next);
    fixture.over().await;
    assert!(
        !semaphore.force_release().await.expect("an answer"),
        "nobody has any"
    );
}

/// A process had hundreds of permits, in holds of one each, and is gone.
#[tokio::test]
async fn what_a_crowd_had_is_free_at_the_first_call_after_its_leases() {
    const CROWD: u32 = 1100;
    let fixture = Fixture::of(SEMAPHORE);
    let client = fixture.client().await;
    let semaphore = semaphore(&client, CROWD);
    let crowd = || async {
        for _ in 0..CROWD {
            semaphore.acquire().await.expect("a permit").forget();
        }
        tokio::time::sleep(LEASE).await;
    };
    crowd().await;
    assert_eq!(
        free(&semaphore).await,
        CROWD,
        "counted, though nobody has settled"
    );
    let all = semaphore.try_acquire_many(CROWD).await.expect("an answer");
    all.expect("it is not busy").release().await.expect("released");
    crowd().await;
    let all = semaphore.acquire_many(CROWD).await.expect("all of them");
    all.release().await.expect("released");
    crowd().await;
    semaphore.resize(CROWD + 1).await.expect("resized");
    let counts = fixture
        .server
        .admin(&["ZCARD", &fixture.key()])
        .expect("an answer");
    assert!(
        counts.int().expect("a number") < 10,
        "the resize has removed them all"
    );
    assert_eq!(free(&semaphore).await, CROWD + 1);
    fixture.over().await;
}

#[tokio::test]
async fn a_ticket_moves_permits_that_were_split_and_lasts_for_a_lease_of_its_own() {
    let fixture = Fixture::of(SEMAPHORE);
    let (one, two) = (fixture.client().await, fixture.steady().await);
    let [first, second] = [&one, &two].map(|client| Semaphore::new(client, "a", 5).expect("a semaphore"));
    let mut whole = first.acquire_many(4).await.expect("permits");
    let part = whole.split(1).await.expect("an answer").expect("a part");
    let ticket = whole
        .into_ticket_for(latchwork_tests::MINUTE)
        .await
        .expect("a ticket");
    assert_eq!(ticket.lease(), latchwork_tests::MINUTE);
    // Longer than the lease of the hold.
    tokio::time::sleep(LEASE * 3).await;
    assert_eq!(
        second.available_permits().await.expect("an answer"),
        1,
        "four are held"
    );
    let ticket = ticket.to_string().parse().expect("a ticket");
    let whole = second.resume(&ticket).await.expect("the permits");
    assert_eq!(whole.permits(), 3, "what it had, not what it began with");
    let again = first.resume(&ticket).await.expect_err("resumed before");
    assert!(again.is_lost(), "{again}");
    whole.release().await.expect("released");
    let available = second.available_permits().await.expect("an answer");
    assert_eq!(available, 4, "as many were released");
    part.release().await.expect("released");
    fixture.settled().await;
}

#[tokio::test]
async fn a_ticket_that_would_outlast_the_maximum_hold_is_refused_and_one_that_is_over_says_so() {
    let fixture = Fixture::of(SEMAPHORE);
    let client = fixture.client().await;
    let build = || {
        let builder = Semaphore::builder(&client, "a", 2).max_hold(LEASE * 2);
        builder.build().expect("a semaphore")
    };
    let permit = build().acquire().await.expect("a permit");
    let error = permit.into_ticket_for(LEASE * 5).await.expect_err("longer");
    assert_eq!(error.kind(), latchwork_semaphore::ErrorKind::Invalid, "{error}");
    let permit = build().acquire().await.expect("a permit");
    let ticket = permit.into_ticket().await.expect("a ticket");
    assert!(build().force_release().await.expect("an answer"), "it was held");
    let error = build().resume(&ticket).await.expect_err("it is over");
    assert_eq!(error.loss(), Some(Loss::Forced), "{error}");
    let released = build().acquire().await.expect("a permit");
    let ticket = released.into_ticket().await.expect("a ticket");
    build()
        .resume(&ticket)
        .await
        .expect("resumed")
        .release()
        .await
        .expect("released");
    let error = build().resume(&ticket).await.expect_err("it is over");
    assert!(
        error.is_lost() && error.loss().is_none(),
        "nobody knows why: {error}"
    );
    fixture.over().await;
}
