//! A connection on which the server may be waited for: `WAIT` and `WAITAOF` block theirs.
//!
//! Both vouch only for what their own connection has written. So a write goes before them, in the
//! same pipeline. What is answered counts only while the node's server is the same (its era).

use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{Cmd, Pipeline, RedisError, RedisResult, Value};

use crate::base::clock::{Moment, until};
use crate::connection::failure::Failure;
use crate::connection::handshake::{run_of, text_of};
use crate::connection::node::Node;
use crate::connection::opening::{open, refused};
use crate::connection::refusal::{Target, classify, is_unknown, is_withheld, said};
use crate::types::error::{Error, ErrorKind};
use crate::wire::plain::command;

/// With `everysec`, a server saves its file once a second. Two writes, one behind the answer to
/// the other, are not both on disk within this time.
const SOON: Duration = Duration::from_millis(500);
/// How long a server has to save the file when it is tried.
const TRIAL: Duration = Duration::from_secs(3);

/// What is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Want {
    /// That many replicas.
    Replicas(u32),
    /// The file of the server.
    Disk,
}

impl Want {
    fn command(self, most: Duration) -> Cmd {
        let ms = most.as_millis().max(1).to_string(); // zero would be forever
        match self {
            Self::Replicas(n) => command(&["WAIT", &n.to_string(), &ms]),
            Self::Disk => command(&["WAITAOF", "1", "0", &ms]),
        }
    }

    /// How many there are, of an answer.
    fn count(self, reply: &Value) -> Option<u32> {
        let count = match (self, reply) {
            (Self::Replicas(_), Value::Int(count)) => *count,
            (Self::Disk, Value::Array(counts)) => match counts.first() {
                Some(Value::Int(count)) => *count,
                _ => return None,
            },
            _ => return None,
        };
        u32::try_from(count).ok()
    }

    /// Whether that is enough.
    pub(crate) const fn is_met(self, count: u32) -> bool {
        match self {
            Self::Replicas(n) => count >= n,
            Self::Disk => count >= 1,
        }
    }
}

/// What a server answered: to each command, and how many there are.
pub(crate) struct Seen {
    pub(crate) replies: Vec<RedisResult<Value>>,
    pub(crate) count: u32,
    pub(crate) sent: Moment,
}

/// Such a connection.
pub(crate) struct Witness {
    connection: MultiplexedConnection,
    /// Of the node, when it was opened.
    era: u64,
    /// When it last answered.
    pub(crate) heard: Moment,
}

impl Witness {
    /// Opens one to the server at which the node is.
    pub(crate) async fn open(node: &Node, target: Target<'_>, patience: Duration) -> Result<Self, Failure> {
        let site = node.sites().get().filter(|site| !site.is_left());
        let Some(site) = site else {
            return Err(Failure::passing(node.why_silent()));
        };
        let run = node.run_id();
        let endpoint = site.place.endpoint.renewed().await.map_err(Failure::passing)?;
        let mut connection = match open(&endpoint, target, patience).await {
            Ok(connection) => connection,
            Err(failure) => {
                if failure.error.kind() == ErrorKind::Denied {
                    endpoint.discard_credentials().await;
                }
                // As the node's own connection, this one is tried again.
                return Err(Failure::passing(failure.error));
            }
        };
        let info = command(&["INFO", "server"]);
        let asked = connection.send_packed_command(&info);
        let there = match until(Moment::now() + patience, None, asked).await {
            Some(Ok(Value::ServerError(error))) => withheld(&error.into())?,
            Some(Ok(info)) => run_of(&text_of(&info)),
            Some(Err(error)) if is_withheld(&error) => None,
            Some(Err(error)) => return Err(refused(error, &endpoint, target, patience).await),
            None => return Err(Failure::passing(node.why_silent())),
        };
        let witness = Self {
            connection,
            era: site.era,
            heard: Moment::now(),
        };
        if there != run || !witness.is_of(node) {
            let text = "another server answers than the one that has the grant";
            return Err(Failure::passing(Error::new(ErrorKind::Unavailable, text)));
        }
        Ok(witness)
    }

    /// The era of the node in which it was opened.
    pub(crate) const fn era(&self) -> u64 {
        self.era
    }

    /// Whether it leads to the node's server. Otherwise nothing that it says counts.
    pub(crate) fn is_of(&self, node: &Node) -> bool {
        node.sites().era() == self.era
    }

    /// What precedes a command about a slot that is moving to this server.
    pub(crate) fn asking() -> Cmd {
        command(&["ASKING"])
    }

    /// Looks whether somebody answers, after a silence.
    pub(crate) async fn is_alive(&mut self, patience: Duration) -> bool {
        let ping = command(&["PING"]);
        let asked = self.connection.send_packed_command(&ping);
        let answer = until(Moment::now() + patience, None, asked).await;
        self.heard = Moment::now();
        matches!(answer, Some(Ok(_)))
    }

    /// Sends these commands, and then waits, for at most `most`. All are answered then.
    pub(crate) async fn ask(
        &mut self,
        commands: impl IntoIterator<Item = Cmd>,
        (want, most): (Want, Duration),
        target: Target<'_>,
        patience: Duration,
    ) -> Result<Seen, Failure> {
        let mut pipe = Pipeline::new();
        for command in commands {
            pipe.add_command(command);
        }
        pipe.add_command(want.command(most));
        let sent = Moment::now();
        let count = pipe.len();
        let asked = self.connection.send_packed_commands(&pipe, 0, count);
        let replies = match until(sent + most + patience, None, asked).await {
            Some(Ok(replies)) => replies,
            Some(Err(error)) => return Err(classify(&error, target)),
            None => {
                let text = "the server did not answer in time";
                return Err(Failure::unknown(Error::new(ErrorKind::Unavailable, text)));
            }
        };
        self.heard = Moment::now();
        let mut replies: Vec<RedisResult<Value>> = replies
            .into_iter()
            .map(|reply| match reply {
                Value::ServerError(error) => Err(error.into()),
                reply => Ok(reply),
            })
            .collect();
        let count = match replies.pop() {
            Some(Ok(reply)) => want.count(&reply).ok_or_else(|| {
                let text = "the answer to WAIT or WAITAOF is not understood";
                Failure::refused(Error::new(ErrorKind::Protocol, text))
            })?,
            Some(Err(error)) => return Err(not_waited(&error, target)),
            None => 0,
        };
        Ok(Seen { replies, count, sent })
    }

    /// Checks that the server's word for the disk can be relied on: that it answers `WAITAOF` when
    /// the file is on disk, and not before. `key`: one that may be written.
    pub(crate) async fn prove(
        &mut self,
        key: &[u8],
        target: Target<'_>,
        patience: Duration,
    ) -> Result<(), Failure> {
        let mut write = command(&["SET"]);
        write.arg(key).arg("1").arg("PX").arg("10000");
        let settings = ["appendfsync", "no-appendfsync-on-rewrite"];
        let first = settings.map(|name| command(&["CONFIG", "GET", name]));
        let commands = first.into_iter().chain([write.clone()]);
        let seen = self.ask(commands, (Want::Disk, TRIAL), target, patience).await?;
        let [policy, skips, written] = <[_; 3]>::try_from(seen.replies).unwrap_or_else(|_| {
            [(); 3].map(|()| Ok(Value::Nil)) // as many as commands
        });
        written.map_err(|error| classify(&error, target))?;
        match (setting(policy).as_deref(), setting(skips).as_deref()) {
            // The file is on disk before any answer is sent: nothing depends on WAITAOF.
            (Some("always"), Some("no")) => return Ok(()),
            (Some("always"), _) => return Err(unsupported(SKIPS)),
            (Some("everysec"), _) if !Want::Disk.is_met(seen.count) => return Err(unsupported(NEVER)),
            (Some("everysec"), _) => {}
            (Some(_), _) => {
                return Err(unsupported(
                    "its append-only file is saved when the system likes (appendfsync no)",
                ));
            }
            (None, _) => {
                return Err(unsupported(
                    "it does not show its setting `appendfsync`: allow CONFIG GET",
                ));
            }
        }
        let first = self.heard;
        let seen = self.ask([write], (Want::Disk, TRIAL), target, patience).await?;
        if !Want::Disk.is_met(seen.count) {
            return Err(unsupported(NEVER));
        }
        if self.heard.since(first) < SOON {
            return Err(unsupported(EARLY));
        }
        Ok(())
    }
}

const SKIPS: &str = "it does not save its append-only file while it rewrites it (no-appendfsync-on-rewrite)";
const NEVER: &str = "its append-only file is not saved within 3 s";
const EARLY: &str = "it answers WAITAOF before its append-only file is on disk: two writes in half a second, though it \
                     saves the file once a second";

fn unsupported(why: &str) -> Failure {
    let text = format!("the server cannot be relied on for `Durability::Fsync`: {why}");
    Failure::refused(Error::new(ErrorKind::Unsupported, text))
}

/// The answer to `CONFIG GET`.
fn setting(reply: RedisResult<Value>) -> Option<String> {
    match reply {
        Ok(Value::Array(parts)) => parts.get(1).map(text_of),
        _ => None,
    }
}

/// Without `INFO`, nobody knows which server it is.
fn withheld(error: &RedisError) -> Result<Option<String>, Failure> {
    if is_withheld(error) {
        return Ok(None);
    }
    let text = "the server does not answer INFO";
    Err(Failure::passing(
        Error::new(ErrorKind::Unavailable, text).caused_by(said(error)),
    ))
}

/// Why the server did not wait.
fn not_waited(error: &RedisError, target: Target<'_>) -> Failure {
    let detail = said(error);
    if is_unknown(&detail) && detail.to_ascii_uppercase().contains("WAITAOF") {
        return unsupported("it does not know WAITAOF, which Redis has from 7.2 on");
    }
    if detail.contains("appendonly is disabled") {
        return unsupported("it has no append-only file; set appendonly to yes");
    }
    // It has become a replica: by now, or while it was waiting.
    if detail.contains("UNBLOCKED") || detail.contains("replica instances") {
        let text = "the server is a replica by now";
        return Failure::passing(Error::new(ErrorKind::ReadOnly, text).caused_by(detail));
    }
    classify(error, target)
}
