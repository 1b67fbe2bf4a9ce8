//! A server's clock can be set while it runs, and nobody else's is.
#![cfg(target_os = "linux")]

mod common;

use common::{servers, version};
use latchwork_testkit::{Reply, TestServer, Version};

/// The server's time in milliseconds.
fn now(server: &TestServer) -> i64 {
    let time = server.admin(&["TIME"]).expect("the time");
    let part = |index: usize| time.items()[index].int().expect("a number");
    part(0) * 1_000 + part(1) / 1_000
}

#[test]
fn steps_forward_and_backward() {
    let system = TestServer::start().unwrap();
    for binary in servers().into_iter().chain(version(Version::Redis6_2)) {
        let server = TestServer::builder()
            .binary(binary)
            .clock_offset(0)
            .start()
            .unwrap();
        let ahead = |by: i64| {
            let difference = now(&server) - now(&system);
            assert!(
                (difference - by).abs() < 5_000,
                "{difference} ms in place of {by}"
            );
        };
        ahead(0);
        server.admin(&["SET", "k", "v", "PX", "60000"]).unwrap();
        for offset in [-3_600_500, 30_000] {
            server.set_clock_offset(offset).unwrap();
            ahead(offset);
            assert_ne!(server.admin(&["GET", "k"]).unwrap(), Reply::Nil);
        }
        server.set_clock_offset(61_000).unwrap();
        ahead(61_000);
        assert_eq!(
            server.admin(&["GET", "k"]).unwrap(),
            Reply::Nil,
            "keys expire by this clock"
        );
        server.restart().unwrap();
        ahead(61_000);
    }
}

#[test]
fn begins_with_an_offset() {
    let (system, server) = (
        TestServer::start(),
        TestServer::builder().clock_offset(-90_000).start(),
    );
    let difference = now(&server.unwrap()) - now(&system.unwrap());
    assert!((-95_000..-85_000).contains(&difference), "{difference}");
}

#[test]
fn a_server_without_a_clock_of_its_own_says_so() {
    let error = TestServer::start().unwrap().set_clock_offset(1).unwrap_err();
    assert!(error.to_string().contains("without a clock"), "{error}");
}
