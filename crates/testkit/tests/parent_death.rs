//! A server dies with the process that started it, however that dies.

use std::io::{BufRead, BufReader};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

struct Victim {
    child: Child,
    servers: Vec<Server>,
}

struct Server {
    port: u16,
    pid: i32,
    dir: PathBuf,
}

fn start(what: &str) -> Victim {
    let mut child = Command::new(env!("CARGO_BIN_EXE_latchwork-test-server"))
        .arg(what)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the helper starts");
    let stdout = child.stdout.take().expect("stdout is a pipe");
    let lines = BufReader::new(stdout).lines();
    let servers: Vec<Server> = lines
        .map(|line| line.expect("the helper speaks"))
        .take_while(|line| !line.is_empty())
        .map(|line| {
            let words: Vec<&str> = line.split_whitespace().collect();
            let [port, pid, dir] = words[..] else {
                panic!("the helper said {line:?}")
            };
            let (port, pid) = (port.parse().expect("a port"), pid.parse().expect("a pid"));
            let dir = PathBuf::from(dir);
            Server { port, pid, dir }
        })
        .collect();
    assert!(!servers.is_empty(), "the helper started nothing");
    Victim { child, servers }
}

/// No server answers and their folders are gone; their shells were the last to go.
fn assert_gone(victim: &Victim, how: &str) {
    let deadline = Instant::now() + Duration::from_secs(10);
    for server in &victim.servers {
        let gone = || TcpStream::connect(("127.0.0.1", server.port)).is_err() && !server.dir.exists();
        while !gone() {
            assert!(
                Instant::now() < deadline,
                "the server outlived its parent's {how}"
            );
            thread::sleep(Duration::from_millis(5));
        }
    }
}

fn dies_with_parent(what: &str, signal: Signal, how: &str) {
    let mut victim = start(what);
    for server in &victim.servers {
        assert!(server.dir.exists(), "the server has its folder");
        assert!(
            TcpStream::connect(("127.0.0.1", server.port)).is_ok(),
            "the server answers"
        );
    }
    let pid = i32::try_from(victim.child.id())
        .ok()
        .filter(|pid| *pid > 0)
        .and_then(Pid::from_raw);
    kill_process(pid.expect("a pid"), signal).expect("the helper is there");
    victim.child.wait().expect("the helper ends");
    assert_gone(&victim, how);
}

#[test]
fn sigkill() {
    dies_with_parent("server", Signal::KILL, "SIGKILL");
}

#[test]
fn sigterm() {
    dies_with_parent("server", Signal::TERM, "SIGTERM");
}

#[test]
fn sigint() {
    dies_with_parent("server", Signal::INT, "SIGINT");
}

#[test]
fn sighup() {
    dies_with_parent("server", Signal::HUP, "SIGHUP");
}

#[test]
fn an_orderly_end() {
    let mut victim = start("server");
    drop(victim.child.stdin.take());
    assert!(victim.child.wait().expect("the helper ends").success());
    assert_gone(&victim, "return from main");
}

#[test]
fn a_frozen_server_too() {
    let mut victim = start("server");
    let pid = victim.servers[0].pid;
    let server = Pid::from_raw(pid).filter(|_| pid > 0).expect("a pid");
    kill_process(server, Signal::STOP).expect("the server is there");
    victim.child.kill().expect("the helper is there");
    victim.child.wait().expect("the helper ends");
    assert_gone(&victim, "SIGKILL while the server was frozen");
}

#[test]
fn all_nodes_of_a_cluster() {
    dies_with_parent("cluster", Signal::KILL, "SIGKILL");
}

#[test]
fn all_nodes_under_sentinels_and_the_sentinels() {
    dies_with_parent("sentinel", Signal::KILL, "SIGKILL");
}
