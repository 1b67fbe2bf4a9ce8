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
    port: u16,
    server: i32,
    dir: PathBuf,
}

fn start() -> Victim {
    let mut child = Command::new(env!("CARGO_BIN_EXE_latchwork-test-server"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the helper starts");
    let mut line = String::new();
    let stdout = child.stdout.take().expect("stdout is a pipe");
    BufReader::new(stdout)
        .read_line(&mut line)
        .expect("the helper speaks");
    let words: Vec<&str> = line.split_whitespace().collect();
    let [port, server, dir] = words[..] else {
        panic!("the helper said {line:?}")
    };
    let (port, server) = (port.parse().expect("a port"), server.parse().expect("a pid"));
    Victim {
        child,
        port,
        server,
        dir: PathBuf::from(dir),
    }
}

/// The server does not answer and its folder is gone; its shell was the last to go.
fn assert_gone(victim: &Victim, how: &str) {
    let gone = || TcpStream::connect(("127.0.0.1", victim.port)).is_err() && !victim.dir.exists();
    let deadline = Instant::now() + Duration::from_secs(10);
    while !gone() {
        assert!(
            Instant::now() < deadline,
            "the server outlived its parent's {how}"
        );
        thread::sleep(Duration::from_millis(5));
    }
}

fn dies_with_parent(signal: Signal, how: &str) {
    let mut victim = start();
    assert!(victim.dir.exists(), "the server has its folder");
    assert!(
        TcpStream::connect(("127.0.0.1", victim.port)).is_ok(),
        "the server answers"
    );
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
    dies_with_parent(Signal::KILL, "SIGKILL");
}

#[test]
fn sigterm() {
    dies_with_parent(Signal::TERM, "SIGTERM");
}

#[test]
fn sigint() {
    dies_with_parent(Signal::INT, "SIGINT");
}

#[test]
fn sighup() {
    dies_with_parent(Signal::HUP, "SIGHUP");
}

#[test]
fn an_orderly_end() {
    let mut victim = start();
    drop(victim.child.stdin.take());
    assert!(victim.child.wait().expect("the helper ends").success());
    assert_gone(&victim, "return from main");
}

#[test]
fn a_frozen_server_too() {
    let mut victim = start();
    let server = Pid::from_raw(victim.server)
        .filter(|_| victim.server > 0)
        .expect("a pid");
    kill_process(server, Signal::STOP).expect("the server is there");
    victim.child.kill().expect("the helper is there");
    victim.child.wait().expect("the helper ends");
    assert_gone(&victim, "SIGKILL while the server was frozen");
}
