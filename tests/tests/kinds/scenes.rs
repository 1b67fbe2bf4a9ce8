//! Plays the scenes: what breaks, and what every call returns then.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::pin::pin;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use latchwork_core::{ClientBuilder, Credentials, Durability};
use latchwork_testkit::{Direction, Proxy, TestServer};
use latchwork_tests::{Fixture, MINUTE, soon};

use crate::stage::{ALL, Seen, Stage, World};
use crate::table::{Row, rows};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scene {
    Fine,
    ServerGone,
    ServerFrozen,
    ClientClosed,
    ClosedMeanwhile,
    NoCommands,
    NoInnerCommands,
    NoKeys,
    NoChannels,
    NoUser,
    Replica,
    MemoryFull,
    ForeignData,
    OtherVersion,
    QueueFull,
    OtherNumbers,
    SmallArguments,
    LargeArguments,
    OtherName,
    FloorAhead,
    TooLate,
    NoLatch,
    Reset,
    ResetUnanswered,
    KeysDeleted,
    Forced,
    UserError,
    NoReplica,
    // The client connects again, to something else.
    Nonsense,
    OddErrors,
    UnknownCommands,
    TooOld,
    NotRedis,
    OnlyTls,
    OtherPassword,
    NoCredentials,
    NoDatabase,
}

/// All scenes.
pub(crate) const SCENES: [Scene; 37] = [
    Scene::Fine,
    Scene::ServerGone,
    Scene::ServerFrozen,
    Scene::ClientClosed,
    Scene::ClosedMeanwhile,
    Scene::NoCommands,
    Scene::NoInnerCommands,
    Scene::NoKeys,
    Scene::NoChannels,
    Scene::NoUser,
    Scene::Replica,
    Scene::MemoryFull,
    Scene::ForeignData,
    Scene::OtherVersion,
    Scene::QueueFull,
    Scene::OtherNumbers,
    Scene::SmallArguments,
    Scene::LargeArguments,
    Scene::OtherName,
    Scene::FloorAhead,
    Scene::TooLate,
    Scene::NoLatch,
    Scene::Reset,
    Scene::ResetUnanswered,
    Scene::KeysDeleted,
    Scene::Forced,
    Scene::UserError,
    Scene::NoReplica,
    Scene::Nonsense,
    Scene::OddErrors,
    Scene::UnknownCommands,
    Scene::TooOld,
    Scene::NotRedis,
    Scene::OnlyTls,
    Scene::OtherPassword,
    Scene::NoCredentials,
    Scene::NoDatabase,
];

impl Scene {
    /// The body of a `run` is dropped when the fault is there.
    pub(crate) fn takes_holds(self) -> bool {
        self == Self::Forced
    }
}

/// What a call returned in a scene.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) function: &'static str,
    pub(crate) scene: Scene,
    pub(crate) seen: Seen,
}

/// How long the calls of a scene may take until the client is closed, which ends the ones that wait
/// for something else.
const PATIENCE: Duration = Duration::from_secs(4);

static PROVIDER_FAILS: AtomicBool = AtomicBool::new(false);

/// The options of the clients of a scene.
fn options(scene: Scene, builder: ClientBuilder) -> ClientBuilder {
    let second = Duration::from_secs(1);
    let waiters = if scene == Scene::QueueFull { 1 } else { 1000 };
    let patience = if scene == Scene::ClosedMeanwhile {
        second * 10
    } else {
        second
    };
    let builder = builder.lease(MINUTE).max_waiters(waiters);
    let builder = builder.operation_timeout(second).unavailable_after(patience);
    if scene == Scene::NoReplica {
        let within = 2 * second;
        return builder.durability(Durability::Replicas { n: 1, within });
    }
    if scene != Scene::NoCredentials {
        return builder;
    }
    builder.credentials(|| async {
        if PROVIDER_FAILS.load(Ordering::Relaxed) {
            return Err(std::io::Error::other("no token today"));
        }
        Ok(Credentials::new("worker", "secret"))
    })
}

/// Plays a scene, and returns the errors.
pub(crate) async fn play(scene: Scene) -> Vec<Outcome> {
    let server = TestServer::start().expect("a server");
    let replica = (scene == Scene::NoReplica).then(|| replica(&server));
    let fixture = Fixture::on(&server);
    let proxy = fixture.proxy();
    let user = fixture.restricted(&[]);
    let user = user.replace(&format!(":{}", server.port()), &format!(":{}", proxy.port()));
    let database = if scene == Scene::NoDatabase { "/1" } else { "" };
    let url = format!("{user}{database}");
    let builder = options(scene, fixture.builder_at(&url));
    let client = builder.clone().connect().await.expect("a client");
    let other = fixture
        .builder_at(format!("{}{database}", server.url()))
        .lease(MINUTE);
    let other = other.connect().await.expect("a client");
    let stage = Stage::new(scene, url, client, builder, other);
    let rows = rows();
    let worlds: Vec<_> = (0..rows.len()).map(|at| World::new(&stage, at)).collect();
    let calls = std::iter::zip(&rows, &worlds).map(|(row, world)| (row.call)(world));
    let mut all = pin!(join_all(calls));
    let ready = async {
        while stage.ready() < rows.len() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::select! {
        _ = &mut all => panic!("{scene:?}: the calls wait for the fault"),
        () = soon("all calls are ready", ready) => {}
    }
    if let Some(replica) = &replica {
        replica.freeze().expect("frozen");
    }
    let strike = strike(&server, &fixture, &proxy, &stage, &worlds);
    soon(&format!("the fault of {scene:?}"), strike).await;
    stage.begin();
    let more = async {
        meanwhile(&proxy, &stage, &worlds, &rows).await;
        tokio::time::sleep(PATIENCE).await;
    };
    let done = tokio::select! {
        biased; // the calls begin before anything else happens
        seen = &mut all => Some(seen),
        () = more => None,
    };
    let seen = if let Some(seen) = done {
        seen
    } else {
        stage.client.close().await;
        soon(&format!("the end of every call in {scene:?}"), all).await
    };
    let outcomes = std::iter::zip(&rows, seen).filter_map(|(row, seen)| {
        let function = row.function;
        seen.map(|seen| Outcome {
            function,
            scene,
            seen,
        })
    });
    outcomes.collect()
}

/// The fault of the scene.
async fn strike(
    server: &TestServer,
    fixture: &Fixture<'_>,
    proxy: &Proxy,
    stage: &Stage,
    worlds: &[World<'_>],
) {
    let admin = |words: &[&str]| drop(server.admin(words).expect("an answer"));
    let deny = |rules: &[&str]| drop(fixture.restricted(rules));
    let lead_to = |port| {
        proxy.lead_to(port);
        proxy.cut();
    };
    match stage.scene {
        // Nothing happens, or not yet, or it is in what the calls are called with.
        Scene::Fine
        | Scene::SmallArguments
        | Scene::LargeArguments
        | Scene::OtherName
        | Scene::FloorAhead
        | Scene::NoLatch
        | Scene::UserError
        | Scene::NoReplica
        | Scene::Reset => {}
        Scene::ServerGone => server.kill().expect("killed"),
        Scene::ServerFrozen | Scene::ClosedMeanwhile => server.freeze().expect("frozen"),
        Scene::ClientClosed => drop(stage.client.close().await),
        Scene::NoCommands => deny(&["-@all"]),
        Scene::NoInnerCommands => deny(&[
            "-@all",
            "+evalsha",
            "+eval",
            "+script",
            "+ping",
            "+info",
            "+subscribe",
        ]),
        Scene::NoKeys => deny(&["resetkeys", "~elsewhere:*"]),
        Scene::NoChannels => deny(&["resetchannels", "-publish"]),
        Scene::NoUser => admin(&["ACL", "DELUSER", "worker"]),
        Scene::Replica => admin(&["REPLICAOF", "127.0.0.1", "1"]),
        Scene::MemoryFull => admin(&["CONFIG", "SET", "maxmemory", "1"]),
        Scene::ForeignData => overwrite(server, fixture, worlds.len(), "'SET', key, 'foreign'"),
        Scene::OtherVersion => overwrite(server, fixture, worlds.len(), "'ZADD', key, 5, 't2'"),
        Scene::KeysDeleted => overwrite(server, fixture, worlds.len(), "'EXISTS', key"),
        Scene::QueueFull => drop(join_all(worlds.iter().map(World::crowd)).await),
        Scene::OtherNumbers => {
            overwrite(server, fixture, worlds.len(), "'EXISTS', key");
            drop(join_all(worlds.iter().map(World::other_numbers)).await);
        }
        Scene::TooLate => drop(join_all(worlds.iter().map(World::used_up)).await),
        Scene::Forced => drop(join_all(worlds.iter().map(World::force)).await),
        Scene::ResetUnanswered => proxy.block(Direction::ToClient),
        Scene::Nonsense => lead_to(fake(|_| "+OK\r\n")),
        Scene::OddErrors => lead_to(fake(|_| "-ERR something odd\r\n")),
        Scene::UnknownCommands => lead_to(fake(|_| "-ERR unknown command 'IT'\r\n")),
        Scene::TooOld => lead_to(fake(|command| match command {
            "INFO" => "$21\r\nredis_version:5.0.6\r\n\r\n",
            _ => "+OK\r\n",
        })),
        Scene::NotRedis => lead_to(listen(|mut stream| {
            stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        })),
        Scene::OnlyTls => lead_to(listen(alert)),
        Scene::OtherPassword => lead_to(another(&OTHER_PASSWORD, "--requirepass", "other").port()),
        Scene::NoCredentials => {
            PROVIDER_FAILS.store(true, Ordering::Relaxed);
            proxy.cut();
        }
        Scene::NoDatabase => {
            let server = another(&ONE_DATABASE, "--databases", "1");
            drop(Fixture::on(server).restricted(&[]));
            lead_to(server.port());
        }
    }
}

/// A replica of this server, which has joined.
fn replica(server: &TestServer) -> TestServer {
    let set = ["CONFIG", "SET", "repl-diskless-sync-delay", "0"];
    server.admin(&set).expect("set");
    let of = format!("127.0.0.1 {}", server.port());
    let replica = TestServer::builder().arg("--replicaof", &of).start();
    let joined = ["WAIT", "1", "10000"];
    server.admin(&["SET", "joined", "1"]).expect("set");
    let count = server.admin(&joined).expect("an answer").int();
    assert_eq!(count, Some(1), "the replica has joined");
    replica.expect("a replica")
}

/// What happens while the calls are under way.
async fn meanwhile(proxy: &Proxy, stage: &Stage, worlds: &[World<'_>], rows: &[Row]) {
    let latches = |part| {
        let those = std::iter::zip(worlds, rows).filter(move |(_, row)| row.function.contains(part));
        those.map(|(world, _)| world.other_latch())
    };
    match stage.scene {
        Scene::ClosedMeanwhile => drop(stage.client.close().await),
        Scene::Reset => {
            for latch in latches("h::wait")
                .chain(latches("h::try_wait_"))
                .chain(latches("_and_wait"))
            {
                while latch.inspect().await.map_or(0, |info| info.waiting) == 0 {
                    tokio::time::sleep(Duration::from_millis(2)).await;
                }
                latch.reset(ALL).await.expect("reset");
            }
        }
        Scene::ResetUnanswered => {
            for latch in latches("h::count_down") {
                while latch.count().await.expect("a count") == ALL {
                    tokio::time::sleep(Duration::from_millis(2)).await;
                }
                latch.reset(ALL).await.expect("reset");
            }
            proxy.cut();
            proxy.unblock(Direction::ToClient);
        }
        _ => {}
    }
}

/// Deletes the key of every call, of every kind, and runs this command for it.
fn overwrite(server: &TestServer, fixture: &Fixture<'_>, calls: usize, command: &str) {
    let kinds = "{'lock', 'rwlock', 'semaphore', 'latch', 'limiter', 'fence'}";
    let script = format!(
        "for _, kind in ipairs({kinds}) do for at = 0, ARGV[2] - 1 do \
         local key = ARGV[1] .. ':' .. kind .. ':{{n' .. at .. '}}' redis.call('DEL', key) redis.call({command}) \
         end end"
    );
    let words = ["EVAL", &script, "0", &fixture.prefix, &calls.to_string()];
    server.admin(&words).expect("done");
}

static OTHER_PASSWORD: OnceLock<TestServer> = OnceLock::new();
static ONE_DATABASE: OnceLock<TestServer> = OnceLock::new();

/// A server with an option.
fn another(server: &'static OnceLock<TestServer>, option: &str, value: &str) -> &'static TestServer {
    server.get_or_init(|| {
        TestServer::builder()
            .arg(option, value)
            .start()
            .expect("a server")
    })
}

/// A port at which this is done to each connection.
fn listen(serve: impl Fn(TcpStream) -> std::io::Result<()> + Copy + Send + 'static) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("an address").port();
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            std::thread::spawn(move || drop(serve(stream)));
        }
    });
    port
}

/// Answers as a server does that speaks only TLS: the beginning of a handshake with an alert, the
/// rest with nothing.
fn alert(mut stream: TcpStream) -> std::io::Result<()> {
    let mut first = [0; 16];
    let read = stream.read(&mut first)?;
    if first[..read].starts_with(&[0x16, 3]) {
        stream.write_all(&[0x15, 3, 3, 0, 2, 2, 40])?;
    }
    Ok(())
}

/// A server that greets as others do, and answers what calls send with this, by the command.
fn fake(answer: fn(&str) -> &'static str) -> u16 {
    listen(move |stream| converse(&stream, answer))
}

fn converse(stream: &TcpStream, answer: fn(&str) -> &'static str) -> std::io::Result<()> {
    let (mut input, mut output) = (BufReader::new(stream), stream);
    let number = |line: &str| line[1..].trim().parse::<usize>().unwrap_or(0);
    loop {
        let mut line = String::new();
        if input.read_line(&mut line)? == 0 {
            return Ok(());
        }
        let words = number(&line);
        let mut command = String::new();
        for at in 0..words {
            line.clear();
            input.read_line(&mut line)?;
            let mut word = vec![0; number(&line) + 2];
            input.read_exact(&mut word)?;
            if at == 0 {
                command = String::from_utf8_lossy(&word).trim().to_uppercase();
            }
        }
        match command.as_str() {
            "SCRIPT" => {
                let known = ":1\r\n".repeat(words - 2);
                write!(output, "*{}\r\n{known}", words - 2)?;
            }
            "TIME" => output.write_all(b"*2\r\n$10\r\n2000000000\r\n$1\r\n0\r\n")?,
            "INFO" if answer("INFO").starts_with('$') => output.write_all(answer("INFO").as_bytes())?,
            "INFO" => output.write_all(b"$21\r\nredis_version:7.0.0\r\n\r\n")?,
            "EVALSHA" | "EVAL" | "SCAN" | "ZRANK" | "PING" => {
                output.write_all(answer(&command).as_bytes())?;
            }
            _ => output.write_all(b"+OK\r\n")?,
        }
    }
}
