//! One connection through the proxy: two sockets and the thread that moves bytes each way.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use rustix::net::sockopt::set_socket_linger;

use super::count::Parser;
use super::{Action, ConnId, Direction, Shared};

const CHUNK: usize = 64 * 1024;
/// How long a write to somebody who does not read may last until the pump looks whether it was cut.
const WRITE_TICK: Duration = Duration::from_millis(20);
/// How long a delayed chunk may wait until the pump looks whether the delay was changed.
const DELAY_TICK: Duration = Duration::from_millis(5);

#[derive(Debug)]
pub(crate) struct Connection {
    pub(super) id: ConnId,
    client: TcpStream,
    server: TcpStream,
    cut: AtomicBool,
    held: [AtomicBool; 2],
    pumps: AtomicUsize,
}

impl Connection {
    pub(super) fn new(id: ConnId, client: TcpStream, server: TcpStream) -> io::Result<Self> {
        for stream in [&client, &server] {
            stream.set_nodelay(true)?;
            stream.set_write_timeout(Some(WRITE_TICK))?;
        }
        let (cut, held, pumps) = (
            AtomicBool::new(false),
            <[AtomicBool; 2]>::default(),
            AtomicUsize::new(2),
        );
        Ok(Self {
            id,
            client,
            server,
            cut,
            held,
            pumps,
        })
    }

    /// Ends both pumps; the sockets then close with a reset. The caller wakes those who wait in `Faults`.
    pub(super) fn reset(&self) {
        for stream in [&self.client, &self.server] {
            reset_on_close(stream);
        }
        self.end();
    }

    /// Ends both pumps. Shutting down only the reading side wakes them and sends nothing.
    fn end(&self) {
        self.cut.store(true, Ordering::SeqCst);
        for stream in [&self.client, &self.server] {
            drop(stream.shutdown(Shutdown::Read)); // fails if the peer is gone, and then there is nothing to wake
        }
    }

    pub(super) fn is_cut(&self) -> bool {
        self.cut.load(Ordering::SeqCst)
    }

    pub(super) fn is_held(&self, direction: Direction) -> bool {
        self.held[direction as usize].load(Ordering::SeqCst)
    }

    pub(super) fn set_held(&self, direction: Direction, held: bool) {
        self.held[direction as usize].store(held, Ordering::SeqCst);
    }

    fn ends(&self, direction: Direction) -> (&TcpStream, &TcpStream) {
        match direction {
            Direction::ToServer => (&self.client, &self.server),
            Direction::ToClient => (&self.server, &self.client),
        }
    }
}

/// Makes the close of this socket a reset: what is on its way is lost, as with a dead host.
pub(super) fn reset_on_close(stream: &TcpStream) {
    // Fails only on a socket that is closed already.
    let _closed: Result<(), _> = set_socket_linger(stream, Some(Duration::ZERO));
}

/// Moves bytes in one direction until the connection ends.
pub(super) fn run(shared: &Shared, connection: &Connection, direction: Direction) {
    let (_, to) = connection.ends(direction);
    if transfer(shared, connection, direction).is_ok() {
        // The sender is done: tell the receiver, who may still have something to say.
        drop(to.shutdown(Shutdown::Write));
    } else {
        connection.end();
        shared.faults.notify();
    }
    if connection.pumps.fetch_sub(1, Ordering::SeqCst) == 1 {
        shared.forget(connection.id);
    }
}

/// `Ok` at the orderly end of the bytes, an error if the connection broke or was cut.
fn transfer(shared: &Shared, connection: &Connection, direction: Direction) -> io::Result<()> {
    let (mut from, _) = connection.ends(direction);
    let mut parser = Parser::default();
    let mut buffer = vec![0; CHUNK];
    // A delay is that of a long line, not of a slow one: while one chunk waits, the next may come in.
    let mut waiting: VecDeque<(Instant, Vec<u8>)> = VecDeque::new();
    loop {
        if let Some((arrived, _)) = waiting.front() {
            let left = shared.faults.delay().saturating_sub(arrived.elapsed());
            if left.is_zero() || connection.is_cut() {
                if let Some((arrived, chunk)) = waiting.pop_front() {
                    forward(shared, connection, direction, &mut parser, arrived, &chunk)?;
                }
                continue;
            }
            // Looks again in between: the delay may be changed.
            from.set_read_timeout(Some(left.min(DELAY_TICK)))?;
        }
        let read = from.read(&mut buffer);
        if !waiting.is_empty() {
            from.set_read_timeout(None)?;
        }
        let mut chunk = match &read {
            Ok(length) => &buffer[..*length],
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error)
                if !waiting.is_empty()
                    && matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) =>
            {
                continue;
            }
            Err(_) => &[],
        };
        if !chunk.is_empty() {
            match shared.faults.decide(direction, connection.id, chunk) {
                Action::Pass => {}
                Action::Drop => continue,
                Action::Replace(with) => chunk = with,
                Action::Hold => connection.set_held(direction, true),
                Action::Cut => {
                    connection.reset();
                    return Err(cut());
                }
            }
        }
        let now = Instant::now();
        if chunk.is_empty() {
            for (arrived, chunk) in waiting.drain(..) {
                forward(shared, connection, direction, &mut parser, arrived, &chunk)?;
            }
            // The end takes as long as everything else.
            return if shared.faults.pass(connection, direction, now) {
                read.map(drop)
            } else {
                Err(cut())
            };
        }
        // Not past what still waits, though the delay may be gone by now.
        if shared.faults.delay().is_zero() && waiting.is_empty() {
            forward(shared, connection, direction, &mut parser, now, chunk)?;
        } else {
            waiting.push_back((now, chunk.to_vec()));
        }
    }
}

/// Moves one chunk on when its time has come.
fn forward(
    shared: &Shared,
    connection: &Connection,
    direction: Direction,
    parser: &mut Parser,
    arrived: Instant,
    chunk: &[u8],
) -> io::Result<()> {
    let (_, to) = connection.ends(direction);
    if !shared.faults.pass(connection, direction, arrived) {
        return Err(cut());
    }
    let allowed = shared.faults.spend(direction, chunk.len());
    let rest_is_lost = allowed < chunk.len();
    let chunk = &chunk[..allowed];
    if direction == Direction::ToServer {
        // Before the write: whoever has the reply finds its request counted.
        parser.feed(chunk, |name| shared.counts.note(connection.id, name));
    }
    write_all(connection, to, chunk)?;
    if rest_is_lost {
        // No reset: the bytes that were allowed have to arrive.
        drop(to.shutdown(Shutdown::Write));
        return Err(cut());
    }
    Ok(())
}

/// Like `Write::write_all`, but a cut ends it also when the other side does not read.
fn write_all(connection: &Connection, mut to: &TcpStream, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match to.write(bytes) {
            Ok(0) => return Err(ErrorKind::WriteZero.into()),
            Ok(written) => bytes = &bytes[written..],
            Err(error)
                if matches!(
                    error.kind(),
                    ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted
                ) =>
            {
                if connection.is_cut() {
                    return Err(cut());
                }
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn cut() -> io::Error {
    ErrorKind::ConnectionAborted.into()
}
