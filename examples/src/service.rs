//! A small HTTP service, somebody else's in the stories of the examples, that remembers how it was called.
//!
//! As much HTTP/1.1 as the examples need, which call it themselves: one `GET` a connection, no body.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use crate::Result;

/// The longest request or answer that is read, in bytes.
const LONGEST: u64 = 4096;

/// The service. It ends when it is dropped.
#[derive(Debug)]
pub struct Service {
    address: SocketAddr,
    log: Arc<Mutex<Log>>,
    _serving: JoinSet<()>,
}

/// A call that the service got.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Call {
    /// What was called, as `/pay?amount=3`.
    pub path: String,
    /// When.
    pub at: SystemTime,
}

#[derive(Debug, Default)]
struct Log {
    calls: Vec<Call>,
    in_flight: usize,
    most: usize,
}

impl Service {
    /// Starts a service that takes this long for each call, however many come at once.
    ///
    /// # Errors
    /// There is no port on the loopback interface.
    pub async fn start(work: Duration) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let log = Arc::default();
        let mut serving = JoinSet::new();
        serving.spawn(serve(listener, Arc::clone(&log), work));
        Ok(Self {
            address,
            log,
            _serving: serving,
        })
    }

    /// Where it listens, as `127.0.0.1:8080`.
    pub fn address(&self) -> String {
        self.address.to_string()
    }

    /// The calls that it got, in the order in which they came.
    pub fn calls(&self) -> Vec<Call> {
        let log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        log.calls.clone()
    }

    /// The most calls that it had in hand at once.
    pub fn most_in_flight(&self) -> usize {
        let log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        log.most
    }
}

async fn serve(listener: TcpListener, log: Arc<Mutex<Log>>, work: Duration) {
    let mut answers = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        while answers.try_join_next().is_some() {}
        let log = Arc::clone(&log);
        // A caller that goes away in the middle is told nothing.
        answers.spawn(async move { answer(stream, &log, work).await.is_ok() });
    }
}

async fn answer(mut stream: TcpStream, log: &Mutex<Log>, work: Duration) -> Result {
    let path = read_request(&mut stream).await?;
    {
        let mut log = log.lock().unwrap_or_else(PoisonError::into_inner);
        let at = SystemTime::now();
        log.calls.push(Call { path, at });
        log.in_flight += 1;
        log.most = log.most.max(log.in_flight);
    }
    tokio::time::sleep(work).await;
    // Before the answer goes out: whoever has it may let the next one call.
    log.lock().unwrap_or_else(PoisonError::into_inner).in_flight -= 1;
    stream
        .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        .await?;
    Ok(())
}

/// Reads the head of a request, and returns its path.
async fn read_request(stream: &mut TcpStream) -> Result<String> {
    let mut lines = BufReader::new(stream.take(LONGEST)).lines();
    let first = lines.next_line().await?.unwrap_or_default();
    while lines.next_line().await?.is_some_and(|line| !line.is_empty()) {}
    let path = first.strip_prefix("GET ").and_then(|rest| rest.split(' ').next());
    Ok(path.ok_or("not a GET")?.to_owned())
}

/// Calls a service, and waits for its answer.
///
/// # Errors
/// It cannot be reached, or answers anything but 200.
pub async fn get(address: &str, path: &str) -> Result {
    let mut stream = TcpStream::connect(address).await?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    stream.take(LONGEST).read_to_string(&mut answer).await?;
    if answer.starts_with("HTTP/1.1 200 ") {
        Ok(())
    } else {
        let first = answer.lines().next().unwrap_or("nothing");
        Err(format!("{address} answered {first}").into())
    }
}
