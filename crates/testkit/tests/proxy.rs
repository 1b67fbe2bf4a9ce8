//! A [`Proxy`] breaks what it is told to, and counts what goes by.

use std::collections::BTreeMap;
use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use latchwork_testkit::{Action, ConnKind, Direction, Error, Proxy, Reply, RespClient, TestServer, contains};

/// A while in which nothing may happen.
const QUIET: Duration = Duration::from_millis(50);

fn started() -> (TestServer, Proxy) {
    let server = TestServer::start().expect("a server");
    let proxy = Proxy::start(server.port()).expect("a proxy");
    (server, proxy)
}

fn client(proxy: &Proxy) -> RespClient {
    RespClient::connect(proxy.port()).expect("the proxy listens")
}

/// Reads a reply on the side.
fn reply_of(mut client: RespClient) -> mpsc::Receiver<(Result<Reply, Error>, RespClient)> {
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        let reply = client.receive();
        sender.send((reply, client))
    });
    receiver
}

fn pong() -> Reply {
    Reply::Status("PONG".to_owned())
}

fn names(of: &[(&str, u64)]) -> BTreeMap<String, u64> {
    of.iter()
        .map(|(name, count)| ((*name).to_owned(), *count))
        .collect()
}

/// Waits for something that another thread is about to do.
fn eventually(what: &str, mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !done() {
        assert!(Instant::now() < deadline, "{what} did not happen");
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn passes_everything_and_counts_requests() {
    let (_server, proxy) = started();
    let (mut one, mut two) = (client(&proxy), client(&proxy));
    let big = vec![b'x'; 3_000_000];
    one.call(&[b"SET".as_slice(), b"k", &big]).unwrap();
    assert_eq!(two.call(&["get", "k"]).unwrap(), Reply::Bulk(big));
    two.call(&["SUBSCRIBE", "channel"]).unwrap();
    one.call(&["PUBLISH", "channel", "hello"]).unwrap();
    assert_eq!(two.receive().unwrap().items()[2], Reply::Bulk(b"hello".to_vec()));

    assert_eq!(proxy.requests(), 4);
    assert_eq!(
        proxy.request_names(),
        names(&[("GET", 1), ("PUBLISH", 1), ("SET", 1), ("SUBSCRIBE", 1)])
    );
    assert_eq!(proxy.requests_of(ConnKind::PubSub), 2);
    assert_eq!(proxy.requests_of(ConnKind::Commands), 2);
    assert_eq!(proxy.requests_by_connection().len(), 2);
    proxy.reset_counts();
    two.send(&["UNSUBSCRIBE"]).unwrap();
    two.receive().unwrap();
    assert_eq!((proxy.requests(), proxy.requests_of(ConnKind::PubSub)), (1, 1));
    assert_eq!((proxy.accepted(), proxy.open_connections()), (2, 2));
}

#[test]
fn an_end_on_either_side_reaches_the_other() {
    let (server, proxy) = started();
    let gone = client(&proxy);
    eventually("the connection", || proxy.open_connections() == 1);
    drop(gone);
    eventually("the end of the connection", || proxy.open_connections() == 0);

    let mut other = client(&proxy);
    other.call(&["PING"]).unwrap();
    server.kill().unwrap();
    assert!(other.receive().is_err());
    server.restart().unwrap();
    assert_eq!(client(&proxy).call(&["PING"]), Ok(pong()));
}

#[test]
fn without_a_server_connections_are_reset() {
    let (server, proxy) = started();
    server.kill().unwrap();
    is_reset(&proxy);
}

/// A new connection is reset: perhaps before connect returns. An orderly end would be `Ok(0)`.
fn is_reset(proxy: &Proxy) {
    let new = TcpStream::connect(("127.0.0.1", proxy.port()));
    let read = new.and_then(|mut new| new.read(&mut [0]));
    let kind = read.map_err(|error| error.kind());
    assert_eq!(kind, Err(ErrorKind::ConnectionReset), "a reset, and nothing else");
}

#[test]
fn blocked_requests_arrive_later() {
    let (server, proxy) = started();
    let mut client = client(&proxy);
    proxy.block(Direction::ToServer);
    client.send(&["SET", "k", "v"]).unwrap();
    let reply = reply_of(client);
    assert!(reply.recv_timeout(QUIET).is_err(), "it was not blocked");
    assert_eq!(server.admin(&["GET", "k"]).unwrap(), Reply::Nil);
    assert_eq!(proxy.requests(), 0);
    proxy.unblock(Direction::ToServer);
    assert_eq!(reply.recv().unwrap().0, Ok(Reply::Status("OK".to_owned())));
    assert_eq!(proxy.requests(), 1);
}

#[test]
fn blocked_replies_arrive_later() {
    let (server, proxy) = started();
    let mut client = client(&proxy);
    proxy.block(Direction::ToClient);
    client.send(&["SET", "k", "v"]).unwrap();
    let reply = reply_of(client);
    eventually("the write", || {
        server.admin(&["EXISTS", "k"]).unwrap() == Reply::Int(1)
    });
    assert!(reply.recv_timeout(QUIET).is_err(), "it was not blocked");
    // The end of a connection does not get through a block either.
    server.kill().unwrap();
    assert!(reply.recv_timeout(QUIET).is_err(), "the end was not blocked");
    proxy.unblock(Direction::ToClient);
    assert_eq!(reply.recv().unwrap().0, Ok(Reply::Status("OK".to_owned())));
}

#[test]
fn cut_resets_old_connections_and_takes_new_ones() {
    let (server, proxy) = started();
    let mut raw = TcpStream::connect(("127.0.0.1", proxy.port())).unwrap();
    raw.write_all(b"PING\r\n").unwrap();
    raw.read_exact(&mut [0; 7]).unwrap();
    let mut blocked = client(&proxy);
    proxy.block(Direction::ToServer);
    blocked.send(&["SET", "k", "v"]).unwrap();
    eventually("both connections", || proxy.open_connections() == 2);

    proxy.cut();
    assert_eq!(proxy.open_connections(), 0);
    assert_eq!(raw.read(&mut [0]).unwrap_err().kind(), ErrorKind::ConnectionReset);
    proxy.unblock(Direction::ToServer);
    assert_eq!(client(&proxy).call(&["PING"]), Ok(pong()));
    assert_eq!(
        server.admin(&["GET", "k"]).unwrap(),
        Reply::Nil,
        "a request came through after the cut"
    );
}

#[test]
fn cut_ends_a_connection_whose_server_does_not_read() {
    let (server, proxy) = started();
    let mut raw = TcpStream::connect(("127.0.0.1", proxy.port())).unwrap();
    server.freeze().unwrap();
    raw.set_write_timeout(Some(QUIET)).unwrap();
    let chunk = vec![b'x'; 65_536];
    while raw.write(&chunk).is_ok() {} // until every buffer on the way is full
    proxy.cut();
    assert_eq!(proxy.open_connections(), 0);
}

#[test]
fn refused_connections_are_reset() {
    let (_server, proxy) = started();
    let mut old = client(&proxy);
    old.call(&["PING"]).unwrap();
    proxy.refuse(true);
    is_reset(&proxy);
    assert_eq!(old.call(&["PING"]), Ok(pong()));
    proxy.refuse(false);
    assert_eq!(client(&proxy).call(&["PING"]), Ok(pong()));
}

/// Two ends of a connection through a proxy, without a Redis server: so that each direction can be
/// looked at alone.
fn ends() -> (Proxy, TcpStream, TcpStream) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
    let proxy = Proxy::start(listener.local_addr().expect("bound").port()).expect("a proxy");
    let client = TcpStream::connect(("127.0.0.1", proxy.port())).expect("the proxy listens");
    let server = listener.accept().expect("the proxy connects").0;
    (proxy, client, server)
}

/// Sends this many chunks, one at a time, and reads them at the other end. All of them are under
/// way at once, each for the delay from its own arrival.
fn all_take_the_delay(chunks: u8, direction: Direction) {
    let delay = Duration::from_millis(400);
    let (proxy, client, server) = ends();
    let (mut from, mut to) = match direction {
        Direction::ToServer => (client, server),
        Direction::ToClient => (server, client),
    };
    let (sender, arrived) = mpsc::channel();
    proxy.on_chunk(move |_, _, chunk| {
        sender.send(chunk.len()).expect("the test waits");
        Action::Pass
    });
    proxy.delay(delay);
    let mut sent = Vec::new();
    for chunk in 0..chunks {
        sent.push(Instant::now());
        from.write_all(&[chunk]).expect("sent");
        let length = arrived.recv_timeout(delay * 20).expect("it has arrived");
        assert_eq!(length, 1, "{direction:?}: a chunk of its own");
    }
    to.set_nonblocking(true).expect("a socket");
    let early = to.read(&mut [0]).map_err(|error| error.kind());
    assert_eq!(
        early,
        Err(ErrorKind::WouldBlock),
        "{direction:?}: all are under way"
    );
    to.set_nonblocking(false).expect("a socket");
    for (chunk, sent) in (0..chunks).zip(sent) {
        let mut got = [0];
        to.read_exact(&mut got).expect("it comes");
        let took = sent.elapsed();
        assert_eq!(got, [chunk], "{direction:?}: in order");
        assert!(took >= delay, "{direction:?}: {chunk} took {took:?}");
        assert!(
            took < delay * 2,
            "{direction:?}: {chunk} waited for those before it: {took:?}"
        );
    }
    // Nothing waits any longer.
    proxy.delay(Duration::ZERO);
    from.write_all(b"x").expect("sent");
    to.read_exact(&mut [0]).expect("it comes");
}

#[test]
fn a_delay_takes_that_long_each_way_for_one_and_for_many() {
    for direction in [Direction::ToServer, Direction::ToClient] {
        all_take_the_delay(1, direction);
        all_take_the_delay(8, direction);
    }
}

/// A way that has a delay for one direction only would take half of this.
#[test]
fn a_round_trip_takes_the_delay_twice() {
    let (_server, proxy) = started();
    let mut client = client(&proxy);
    let delay = Duration::from_millis(30);
    proxy.delay(delay);
    for _ in 0..3 {
        let sent = Instant::now();
        assert_eq!(client.call(&["PING"]), Ok(pong()));
        let took = sent.elapsed();
        assert!(took >= delay * 2, "both ways: {took:?}");
    }
}

#[test]
fn cut_after_lets_exactly_so_many_bytes_through() {
    let (_server, proxy) = started();
    for bytes in 0..=6 {
        let mut raw = TcpStream::connect(("127.0.0.1", proxy.port())).unwrap();
        proxy.cut_after(Direction::ToClient, bytes);
        raw.write_all(b"PING\r\n").unwrap();
        let mut got = Vec::new();
        raw.read_to_end(&mut got).unwrap();
        assert_eq!(got, b"+PONG\r\n"[..bytes], "{bytes} bytes");
    }
    assert_eq!(client(&proxy).call(&["PING"]), Ok(pong()), "it happens once");
}

#[test]
fn cut_after_cuts_a_request_in_half() {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let proxy = Proxy::start(listener.local_addr().unwrap().port()).unwrap();
    proxy.cut_after(Direction::ToServer, 5);
    let mut client = TcpStream::connect(("127.0.0.1", proxy.port())).unwrap();
    client.write_all(b"*1\r\n$4\r\nPING\r\n").unwrap();
    let mut got = Vec::new();
    listener.accept().unwrap().0.read_to_end(&mut got).unwrap();
    assert_eq!(got, b"*1\r\n$");
    assert_eq!(proxy.requests(), 0);
}

#[test]
fn a_hook_loses_the_reply_after_a_write() {
    let (server, proxy) = started();
    let mut client = client(&proxy);
    let mut armed = false;
    proxy.on_chunk(move |direction, _, chunk| match direction {
        Direction::ToServer => {
            armed = contains(chunk, "INCR");
            Action::Pass
        }
        Direction::ToClient if armed => Action::Cut,
        Direction::ToClient => Action::Pass,
    });
    assert_eq!(client.call(&["PING"]), Ok(pong()));
    assert!(client.call(&["INCR", "k"]).is_err());
    assert_eq!(
        server.admin(&["GET", "k"]).unwrap().int(),
        Some(1),
        "the write itself arrived"
    );
}

#[test]
fn a_hook_drops_one_message_and_no_other() {
    let (server, proxy) = started();
    let mut client = client(&proxy);
    client.call(&["SUBSCRIBE", "channel"]).unwrap();
    let (sender, dropped) = mpsc::channel();
    proxy.on_chunk(move |_, id, chunk| {
        if contains(chunk, "lost") {
            sender.send(id).expect("the test waits");
            return Action::Drop;
        }
        Action::Pass
    });
    server.admin(&["PUBLISH", "channel", "lost"]).unwrap();
    dropped.recv().unwrap();
    server.admin(&["PUBLISH", "channel", "kept"]).unwrap();
    assert_eq!(
        client.receive().unwrap().items()[2].text().as_deref(),
        Some("kept")
    );
}

#[test]
fn what_a_hook_holds_waits_for_its_release_in_order() {
    let (server, proxy) = started();
    let (mut held, mut free) = (client(&proxy), client(&proxy));
    held.call(&["PING"]).unwrap();
    let mut first = true;
    proxy.on_chunk(move |direction, _, _| {
        let is_it = direction == Direction::ToServer && std::mem::take(&mut first);
        if is_it { Action::Hold } else { Action::Pass }
    });
    held.send(&["RPUSH", "k", "1"]).unwrap();
    held.send(&["RPUSH", "k", "2"]).unwrap();
    let reply = reply_of(held);
    assert!(reply.recv_timeout(QUIET).is_err(), "it was not held");
    assert_eq!(
        free.call(&["LLEN", "k"]),
        Ok(Reply::Int(0)),
        "only one connection is held"
    );
    proxy.no_hook();
    proxy.release();
    let (first, mut held) = reply.recv().unwrap();
    assert_eq!((first, held.receive()), (Ok(Reply::Int(1)), Ok(Reply::Int(2))));
    let list = server.admin(&["LRANGE", "k", "0", "-1"]).unwrap();
    assert_eq!(
        list.items().iter().filter_map(Reply::int).collect::<Vec<_>>(),
        [1, 2]
    );
}

#[test]
fn a_hook_may_call_the_proxy() {
    let (_server, proxy) = started();
    let proxy = std::sync::Arc::new(proxy);
    let (inside, (sender, receiver)) = (std::sync::Arc::downgrade(&proxy), mpsc::channel());
    proxy.on_chunk(move |direction, _, _| {
        if let (Direction::ToClient, Some(proxy)) = (direction, inside.upgrade()) {
            proxy.block(Direction::ToClient);
            sender.send(proxy.requests()).expect("the test waits");
        }
        Action::Pass
    });
    let mut client = client(&proxy);
    client.send(&["PING"]).unwrap();
    assert_eq!(receiver.recv().unwrap(), 1);
    let reply = reply_of(client);
    assert!(reply.recv_timeout(QUIET).is_err(), "it was not blocked");
    proxy.no_hook();
    proxy.unblock(Direction::ToClient);
    assert_eq!(reply.recv().unwrap().0, Ok(pong()));
}

#[test]
fn dropped_it_closes_everything() {
    let (_server, proxy) = started();
    let mut client = client(&proxy);
    client.call(&["PING"]).unwrap();
    let port = proxy.port();
    drop(proxy);
    assert!(client.receive().is_err());
    eventually("the end of the port", || {
        TcpStream::connect(("127.0.0.1", port)).is_err()
    });
}

#[test]
fn a_delay_that_ends_lets_nothing_overtake() {
    let (_server, proxy) = started();
    let mut client = client(&proxy);
    let (sender, receiver) = mpsc::channel();
    proxy.on_chunk(move |direction, _, _| {
        if matches!(direction, Direction::ToServer) {
            sender.send(()).expect("the test waits");
        }
        Action::Pass
    });
    for _ in 0..20 {
        proxy.delay(Duration::from_millis(100));
        client.send(&["ECHO", "first"]).unwrap();
        receiver.recv().expect("it has arrived, and waits");
        proxy.delay(Duration::ZERO);
        client.send(&["ECHO", "second"]).unwrap();
        receiver.recv().expect("it has arrived");
        for expected in ["first", "second"] {
            assert_eq!(client.receive().unwrap(), Reply::Bulk(expected.into()));
        }
    }
}
