//! A small Redis client for the test's own questions: one request, one reply, over a plain socket.
//!
//! It is no part of what is tested, and does not go through the driver that is.

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::time::Duration;

use crate::error::Error;

/// How long to wait for a reply. A frozen server makes a test fail, not hang.
const READ_LIMIT: Duration = Duration::from_secs(10);
/// Deeper replies than this are taken for nonsense.
const DEPTH_LIMIT: usize = 32;

/// A server's reply.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(clippy::exhaustive_enums, reason = "RESP2 has these kinds and gets no more")]
pub enum Reply {
    /// No value.
    Nil,
    /// A number.
    Int(i64),
    /// A short text such as `OK`.
    Status(String),
    /// A value.
    Bulk(Vec<u8>),
    /// Several replies.
    Array(Vec<Self>),
    /// An error inside an array. One that is the whole reply becomes an [`Error`] instead.
    Error(String),
}

impl Reply {
    /// The number, if it is one or a text that spells one.
    pub fn int(&self) -> Option<i64> {
        match self {
            Self::Int(number) => Some(*number),
            _ => self.text()?.parse().ok(),
        }
    }

    /// The text of a status, value or error.
    pub fn text(&self) -> Option<String> {
        match self {
            Self::Status(text) | Self::Error(text) => Some(text.clone()),
            Self::Bulk(bytes) => Some(String::from_utf8_lossy(bytes).into_owned()),
            _ => None,
        }
    }

    /// The replies inside an array; nothing for any other reply.
    pub fn items(&self) -> &[Self] {
        match self {
            Self::Array(items) => items,
            _ => &[],
        }
    }
}

/// A connection to a server on this machine.
#[derive(Debug)]
pub struct RespClient {
    stream: BufReader<TcpStream>,
}

impl RespClient {
    /// Connects to a server (or proxy) on 127.0.0.1.
    ///
    /// # Errors
    /// Nothing listens there.
    pub fn connect(port: u16) -> Result<Self, Error> {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))
            .map_err(|error| Error::new(format!("connecting to port {port}: {error}")))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(READ_LIMIT))?;
        stream.set_write_timeout(Some(READ_LIMIT))?;
        Ok(Self {
            stream: BufReader::new(stream),
        })
    }

    /// Sends one request and reads its reply.
    ///
    /// # Errors
    /// The server replies with an error, or the connection breaks or stays silent for 10 s; after the latter two
    /// it is of no more use.
    pub fn call<A: AsRef<[u8]>>(&mut self, args: &[A]) -> Result<Reply, Error> {
        self.send(args)?;
        match self.receive()? {
            Reply::Error(text) => Err(Error::new(text)),
            reply => Ok(reply),
        }
    }

    /// Sends one request and reads nothing.
    ///
    /// # Errors
    /// The connection is broken.
    pub fn send<A: AsRef<[u8]>>(&mut self, args: &[A]) -> Result<(), Error> {
        let mut request = format!("*{}\r\n", args.len()).into_bytes();
        for arg in args {
            let arg = arg.as_ref();
            request.extend_from_slice(format!("${}\r\n", arg.len()).as_bytes());
            request.extend_from_slice(arg);
            request.extend_from_slice(b"\r\n");
        }
        Ok(self.stream.get_mut().write_all(&request)?)
    }

    /// Reads one reply, or one message on a subscribed connection. An error reply is an `Ok` here.
    ///
    /// # Errors
    /// The connection breaks or stays silent for 10 s.
    pub fn receive(&mut self) -> Result<Reply, Error> {
        self.read_reply(DEPTH_LIMIT)
    }

    /// Whether the server has closed this connection, as far as that is known here by now.
    pub(crate) fn is_closed(&self) -> bool {
        let stream = self.stream.get_ref();
        let peek = stream.set_nonblocking(true).and_then(|()| stream.peek(&mut [0]));
        let restored = stream.set_nonblocking(false);
        let open = matches!(&peek, Err(error) if error.kind() == ErrorKind::WouldBlock);
        !open || restored.is_err()
    }

    fn read_reply(&mut self, depth: usize) -> Result<Reply, Error> {
        let mut line = Vec::new();
        self.stream.read_until(b'\n', &mut line)?;
        let Some((kind, text)) = line.strip_suffix(b"\r\n").and_then(|line| line.split_first()) else {
            return Err(Error::new("the server closed the connection"));
        };
        let text = String::from_utf8_lossy(text).into_owned();
        Ok(match kind {
            b'+' => Reply::Status(text),
            b'-' => Reply::Error(text),
            b':' => Reply::Int(number(&text)?),
            b'$' => match usize::try_from(number(&text)?) {
                Ok(length) => Reply::Bulk(self.read_bulk(length)?),
                Err(_) => Reply::Nil,
            },
            b'*' if depth > 0 => match number(&text)? {
                count if count < 0 => Reply::Nil,
                count => Reply::Array(
                    (0..count)
                        .map(|_| self.read_reply(depth - 1))
                        .collect::<Result<_, _>>()?,
                ),
            },
            _ => {
                return Err(Error::new(format!(
                    "not a RESP2 reply: {:?}",
                    String::from_utf8_lossy(&line)
                )));
            }
        })
    }

    fn read_bulk(&mut self, length: usize) -> Result<Vec<u8>, Error> {
        let mut bytes = vec![0; length + 2];
        self.stream.read_exact(&mut bytes)?;
        bytes.truncate(length);
        Ok(bytes)
    }
}

fn number(text: &str) -> Result<i64, Error> {
    text.parse()
        .map_err(|_| Error::new(format!("not a number in a reply: {text:?}")))
}
