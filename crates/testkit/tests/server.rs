//! A [`TestServer`] does what its methods say.

use std::collections::BTreeMap;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use latchwork_testkit::{Reply, RespClient, TestServer, find_server, shared_server, used_servers};

fn text(reply: &Reply) -> String {
    reply.text().unwrap_or_default()
}

#[test]
fn answers_and_is_what_was_found() {
    let server = TestServer::start().unwrap();
    assert_eq!(text(&server.admin(&["PING"]).unwrap()), "PONG");
    assert_ne!(server.port(), 6379);
    assert_eq!(server.url(), format!("redis://127.0.0.1:{}", server.port()));
    assert_eq!(*server.version(), find_server().unwrap().version);

    let info = text(&server.admin(&["INFO", "server"]).unwrap());
    assert!(
        info.contains(&format!("process_id:{}\r\n", server.pid())),
        "{info}"
    );
    let path = find_server().unwrap().path.display().to_string();
    assert!(
        used_servers().iter().any(|line| line.contains(&path)),
        "{:?}",
        used_servers()
    );
}

#[test]
fn a_reply_of_each_kind() {
    let server = TestServer::start().unwrap();
    let script = "return {1, 'two', {3}, false, redis.status_reply('five'), redis.error_reply('SIX six')}";
    let reply = server.admin(&["EVAL", script, "0"]).unwrap();
    let expected = Reply::Array(vec![
        Reply::Int(1),
        Reply::Bulk(b"two".to_vec()),
        Reply::Array(vec![Reply::Int(3)]),
        Reply::Nil,
        Reply::Status("five".to_owned()),
        Reply::Error("SIX six".to_owned()),
    ]);
    assert_eq!(reply, expected);
    let error = server.admin(&["NO-SUCH-COMMAND"]).unwrap_err();
    assert!(error.to_string().starts_with("ERR unknown command"), "{error}");
    let binary: &[u8] = b"\r\n\0\xff";
    server.admin(&[b"SET".as_slice(), b"k", binary]).unwrap();
    assert_eq!(server.admin(&["GET", "k"]).unwrap(), Reply::Bulk(binary.to_vec()));
}

#[test]
fn killed_it_is_gone_and_restarted_it_is_empty() {
    let server = TestServer::start().unwrap();
    server.admin(&["SET", "k", "v"]).unwrap();
    let (pid, port) = (server.pid(), server.port());
    server.kill().unwrap();
    server.kill().unwrap();
    assert!(!server.is_running());
    assert!(TcpStream::connect(("127.0.0.1", port)).is_err());
    assert!(server.admin(&["PING"]).is_err());
    assert!(server.freeze().is_err(), "a dead process must not be signalled");

    server.restart().unwrap();
    assert_eq!(server.port(), port);
    assert_ne!(server.pid(), pid);
    assert_eq!(server.admin(&["GET", "k"]).unwrap(), Reply::Nil);
}

#[test]
fn what_persists_survives_a_kill() {
    let server = TestServer::builder().persist(true).start().unwrap();
    server.admin(&["SET", "k", "v"]).unwrap();
    for _ in 0..2 {
        server.restart().unwrap(); // kills it first
        assert_eq!(text(&server.admin(&["GET", "k"]).unwrap()), "v");
    }
}

#[test]
fn what_persists_can_be_forgotten() {
    let server = TestServer::builder().persist(true).start().unwrap();
    server.admin(&["SET", "k", "v"]).unwrap();
    server.restart_empty().unwrap();
    assert_eq!(server.admin(&["GET", "k"]).unwrap(), Reply::Nil);
}

#[test]
fn a_password_is_in_the_url_and_needed() {
    let builder = TestServer::builder().password("sesame");
    let server = builder.user("worker", &["on", ">secret", "~*", "+get", "-@write"]);
    let server = server.start().unwrap();
    let port = server.port();
    assert_eq!(server.url(), format!("redis://:sesame@127.0.0.1:{port}"));
    server.admin(&["SET", "k", "v"]).unwrap();
    server.connect().unwrap().call(&["GET", "k"]).unwrap();
    let mut stranger = RespClient::connect(port).unwrap();
    assert!(stranger.call(&["GET", "k"]).is_err());
    stranger.call(&["AUTH", "worker", "secret"]).unwrap();
    stranger.call(&["GET", "k"]).unwrap();
    assert!(stranger.call(&["SET", "k", "w"]).is_err());
    server.shutdown().unwrap();
    server.restart().unwrap();
    server.admin(&["PING"]).unwrap();
}

#[test]
fn a_cluster_of_one_node_serves_every_slot() {
    let server = TestServer::builder().cluster(true).start().unwrap();
    server.admin(&["SET", "k", "v"]).unwrap();
    let error = server.admin(&["MGET", "k", "other"]).unwrap_err();
    assert!(error.to_string().starts_with("CROSSSLOT"), "{error}");
}

#[test]
fn shutdown_ends_it() {
    let server = TestServer::start().unwrap();
    server.shutdown().unwrap();
    assert!(!server.is_running());
    server.restart().unwrap();
    assert_eq!(text(&server.admin(&["PING"]).unwrap()), "PONG");
}

#[test]
fn frozen_it_is_silent_until_thawed() {
    let server = TestServer::start().unwrap();
    let mut client = RespClient::connect(server.port()).unwrap();
    server.freeze().unwrap();
    client.send(&["PING"]).unwrap();
    assert!(server.is_running());
    let (sender, receiver) = std::sync::mpsc::channel();
    let reader = std::thread::spawn(move || sender.send(client.receive()));
    assert!(
        receiver.recv_timeout(Duration::from_millis(50)).is_err(),
        "a frozen server answered"
    );
    server.thaw().unwrap();
    assert_eq!(text(&receiver.recv().unwrap().unwrap()), "PONG");
    reader.join().unwrap().unwrap();
}

#[test]
fn a_frozen_one_can_be_dropped() {
    let server = TestServer::start().unwrap();
    server.freeze().unwrap();
    let (port, dir) = (server.port(), server.dir().to_owned());
    assert!(dir.exists());
    drop(server);
    assert!(!dir.exists());
    assert!(TcpStream::connect(("127.0.0.1", port)).is_err());
}

#[test]
fn an_option_it_does_not_know_is_in_the_error() {
    let error = TestServer::builder()
        .arg("--no-such-option", "1")
        .start()
        .unwrap_err();
    assert!(error.to_string().contains("no-such-option"), "{error}");
    let server = TestServer::builder().arg("--maxmemory", "2mb").start().unwrap();
    let reply = server.admin(&["CONFIG", "GET", "maxmemory"]).unwrap();
    assert_eq!(text(&reply.items()[1]), "2097152");
}

#[test]
fn two_have_nothing_in_common() {
    let (one, two) = (TestServer::start().unwrap(), TestServer::start().unwrap());
    one.admin(&["SET", "k", "v"]).unwrap();
    assert_eq!(two.admin(&["GET", "k"]).unwrap(), Reply::Nil);
    one.kill().unwrap();
    assert_eq!(text(&two.admin(&["PING"]).unwrap()), "PONG");
}

#[test]
fn the_shared_one_is_the_same_everywhere() {
    let there = std::thread::spawn(|| shared_server().pid()).join().unwrap();
    assert_eq!(there, shared_server().pid());
}

#[test]
fn a_cluster_node_refuses_keys_of_two_slots() {
    let server = TestServer::builder().cluster(true).start().unwrap();
    server.admin(&["MSET", "{a}1", "1", "{a}2", "2"]).unwrap();
    let error = server.admin(&["MSET", "a", "1", "b", "2"]).unwrap_err();
    assert!(error.to_string().starts_with("CROSSSLOT"), "{error}");
}

#[test]
fn leftovers_are_keys_without_ttl() {
    let server = TestServer::start().unwrap();
    server.admin(&["SET", "mine:mortal", "v", "PX", "60000"]).unwrap();
    server.admin(&["ZADD", "other:immortal", "1", "m"]).unwrap();
    assert_eq!(server.leftovers("mine:").unwrap(), [""; 0]);
    server
        .admin(&["ZADD", "mine:*[immortal", "1.5", "b", "-2", "a"])
        .unwrap();
    assert_eq!(
        server.leftovers("mine:").unwrap(),
        ["mine:*[immortal (zset) has no TTL"]
    );
    assert_eq!(server.keys("mine:").unwrap(), ["mine:*[immortal", "mine:mortal"]);
    let dump = server.dump_zset("mine:*[immortal").unwrap();
    assert_eq!(
        dump,
        [("a", "-2"), ("b", "1.5")].map(|(m, s)| (m.to_owned(), s.to_owned()))
    );
}

#[test]
fn keys_finds_more_than_one_page() {
    let server = TestServer::start().unwrap();
    let script = "for i = 1, 5000 do redis.call('SET', 'k' .. i, 'v') end";
    server.admin(&["EVAL", script, "0"]).unwrap();
    assert_eq!(server.keys("k").unwrap().len(), 5000);
}

#[test]
fn commands_are_counted() {
    let server = TestServer::start().unwrap();
    server.admin(&["SET", "k", "v"]).unwrap();
    server.reset_stats().unwrap();
    server.admin(&["GET", "k"]).unwrap();
    server.admin(&["EVAL", "redis.call('GET', 'k')", "0"]).unwrap();
    let mut calls = server.command_calls().unwrap();
    calls.retain(|name, _| !name.starts_with("config"));
    let expected = BTreeMap::from([("eval".to_owned(), 1), ("get".to_owned(), 2)]);
    assert_eq!(calls, expected);
}

#[test]
fn flushed_scripts_are_unknown() {
    let server = TestServer::start().unwrap();
    let sha = text(&server.admin(&["SCRIPT", "LOAD", "return 7"]).unwrap());
    assert_eq!(server.admin(&["EVALSHA", &sha, "0"]).unwrap(), Reply::Int(7));
    server.flush_scripts().unwrap();
    let error = server.admin(&["EVALSHA", &sha, "0"]).unwrap_err();
    assert!(error.to_string().starts_with("NOSCRIPT"), "{error}");
}

#[test]
fn clients_of_one_kind_are_killed() {
    let server = TestServer::start().unwrap();
    let mut subscriber = RespClient::connect(server.port()).unwrap();
    subscriber.call(&["SUBSCRIBE", "channel"]).unwrap();
    let mut normal = RespClient::connect(server.port()).unwrap();
    normal.call(&["PING"]).unwrap();

    assert_eq!(server.kill_pubsub_clients().unwrap(), 1);
    assert!(subscriber.receive().is_err());
    normal.call(&["PING"]).unwrap();
    assert_eq!(server.kill_normal_clients().unwrap(), 1);
    assert!(normal.call(&["PING"]).is_err());
}

#[test]
fn the_own_connection_comes_back_after_it_was_closed() {
    let server = TestServer::start().unwrap();
    server.admin(&["PING"]).unwrap();
    let mut other = RespClient::connect(server.port()).unwrap();
    let killed = other.call(&["CLIENT", "KILL", "TYPE", "normal"]).unwrap();
    assert_eq!(killed, Reply::Int(1));
    assert_eq!(text(&server.admin(&["PING"]).unwrap()), "PONG");
}

#[test]
fn a_restart_of_a_taken_port_says_so() {
    let server = TestServer::builder().persist(true).start().unwrap();
    server.admin(&["SET", "k", "v"]).unwrap();
    server.kill().unwrap();
    let thief = std::net::TcpListener::bind(("127.0.0.1", server.port())).unwrap();
    let started = Instant::now();
    let error = server.restart().unwrap_err();
    assert!(
        error.to_string().contains("taken"),
        "{error} after {:?}",
        started.elapsed()
    );
    drop(thief);
    server.restart().unwrap();
    assert_eq!(
        text(&server.admin(&["GET", "k"]).unwrap()),
        "v",
        "the failed restart lost the data"
    );
}
