//! Foreign data, full memory and missing rights are typed errors that consume nothing.

use latchwork_limiter::{Client, ErrorKind};
use latchwork_testkit::TestServer;
use latchwork_tests::Fixture;

use crate::calls::{BOTH, MINUTE, left, limiter};

#[tokio::test]
async fn h41_foreign_data_is_left_alone() {
    let kinds: [&[&str]; 4] = [
        &["SET", "foreign"],
        &["SET", "2:g:1:1000:1:0|"],
        &["RPUSH", "v"],
        &["SADD", "v"],
    ];
    for algorithm in BOTH {
        let fixture = Fixture::shared();
        let client = fixture.client().await;
        let key = format!("{}:limiter:{{a}}", fixture.prefix);
        let limiter = limiter(&client, algorithm, 3, MINUTE);
        for command in kinds {
            fixture.server.admin(&["DEL", &key]).unwrap();
            let words = [&[command[0], &key], &command[1..]].concat();
            fixture.server.admin(&words).unwrap();
            let before = fixture.server.admin(&["DUMP", &key]).unwrap();
            let errors = [
                limiter.acquire().await.expect_err("refused"),
                limiter.try_acquire().await.expect_err("refused"),
                limiter.peek().await.expect_err("refused"),
                limiter
                    .set_rate(crate::calls::rate(algorithm, 9, MINUTE))
                    .await
                    .expect_err("refused"),
                limiter.reset().await.expect_err("refused"),
            ];
            for error in errors {
                assert_eq!(error.kind(), ErrorKind::WrongType, "{command:?}: {error}");
                assert!(error.to_string().contains("`a`"), "{error}");
            }
            assert_eq!(
                fixture.server.admin(&["DUMP", &key]).unwrap(),
                before,
                "{command:?}"
            );
        }
        assert_eq!(client.live(), 0, "no place is left");
        fixture.server.admin(&["DEL", &key]).unwrap();
    }
}

#[tokio::test]
async fn h40_memory_is_full() {
    for algorithm in BOTH {
        let server = TestServer::start().unwrap();
        let fixture = Fixture::on(&server);
        let client = fixture.client().await;
        let limiter = limiter(&client, algorithm, 3, MINUTE);
        limiter.acquire_many(2).await.unwrap();
        server.admin(&["CONFIG", "SET", "maxmemory", "1"]).unwrap();
        for future in [limiter.acquire(), limiter.try_acquire()] {
            let error = future.await.expect_err("refused");
            assert_eq!(error.kind(), ErrorKind::OutOfMemory, "{error}");
        }
        assert_eq!(left(&limiter).await, 1, "nothing was consumed, and asking works");
        limiter.reset().await.unwrap();
        server.admin(&["CONFIG", "SET", "maxmemory", "0"]).unwrap();
        assert_eq!(left(&limiter).await, 3, "a reset worked, too");
    }
}

#[tokio::test]
async fn h46_the_right_that_is_missing_is_named() {
    for (rule, right) in [("-get", "`+get`"), ("-set", "`+set`"), ("-evalsha", "`+evalsha`")] {
        let server = TestServer::start().unwrap();
        let fixture = Fixture::on(&server);
        let url = fixture.restricted(&[]);
        let client: Client = fixture.builder_at(url).connect().await.unwrap();
        fixture.restricted(&[rule]);
        for algorithm in BOTH {
            let limiter = limiter(&client, algorithm, 3, MINUTE);
            for future in [limiter.acquire(), limiter.try_acquire()] {
                let error = future.await.expect_err("refused");
                assert_eq!(error.kind(), ErrorKind::Denied, "{rule}: {error}");
                assert!(error.to_string().contains(right), "{rule}: {error}");
            }
        }
        assert_eq!(client.live(), 0, "no place is left");
    }
}
