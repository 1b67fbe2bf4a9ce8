//! What is sent, and what comes back: requests, replies read by type, failures.

use redis::{Cmd, RedisResult, Value};

use crate::base::clock::Moment;
use crate::types::error::{Error, ErrorKind, Result};
use crate::wire::script::Script;

/// A script with its keys and arguments, ready to be sent (more than once).
#[derive(Clone)]
pub(crate) struct Request {
    pub(crate) script: &'static Script,
    pub(crate) command: Cmd,
    keys: usize,
}

/// An argument that is seldom said.
pub(crate) enum Rest<'a> {
    Bytes(&'a [u8]),
    Number(u64),
    /// With its sign, also a plus.
    Signed(i64),
}

impl Request {
    #[allow(clippy::disallowed_methods, reason = "the one place that sends scripts")]
    pub(crate) fn new<K: AsRef<[u8]>>(script: &'static Script, keys: &[K]) -> Self {
        let room = keys.iter().map(|key| key.as_ref().len()).sum::<usize>();
        let mut command = Cmd::with_capacity(14 + keys.len(), 256 + room);
        command.arg("EVALSHA");
        command.arg(script.hash()).arg(keys.len());
        for key in keys {
            command.arg(key.as_ref());
        }
        Self {
            script,
            command,
            keys: keys.len(),
        }
    }

    pub(crate) fn arg(mut self, value: impl redis::ToRedisArgs) -> Self {
        self.command.arg(value);
        self
    }

    /// Arguments that are seldom said, each with what stands for it if one behind it is said. Otherwise they are left out.
    pub(crate) fn arg_rest<const N: usize>(mut self, rest: [(Option<Rest<'_>>, &str); N]) -> Self {
        let last = rest.iter().rposition(|(said, _)| said.is_some());
        for (said, otherwise) in rest.into_iter().take(last.map_or(0, |last| last + 1)) {
            self = match said {
                None => self.arg(otherwise),
                Some(Rest::Bytes(bytes)) => self.arg(bytes),
                Some(Rest::Number(number)) => self.arg(number),
                Some(Rest::Signed(number)) => self.arg(format!("{number:+}")),
            };
        }
        self
    }

    /// The same with the script's text: the last resort when the server forgets scripts at once.
    #[allow(clippy::disallowed_methods, reason = "the one place that sends scripts")]
    pub(crate) fn as_eval(&self) -> Cmd {
        let mut command = redis::cmd("EVAL");
        command.arg(self.script.source());
        for arg in self.command.args_iter().skip(2) {
            if let redis::Arg::Simple(bytes) = arg {
                command.arg(bytes);
            }
        }
        command
    }
}

impl std::fmt::Debug for Request {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Request")
            .field("script", &self.script.name)
            .field("keys", &self.keys)
            .finish_non_exhaustive()
    }
}

/// A reply, with the moment before its request was sent.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) reply: Reply,
    pub(crate) sent: Moment,
}

/// The value of a reply, read by type; anything unexpected is a `Protocol` error.
#[derive(Debug)]
pub(crate) struct Reply(pub(crate) Value);

impl Reply {
    /// An array of integers, or of nested arrays and strings.
    pub(crate) fn items(self) -> Result<Vec<Self>> {
        match self.0 {
            Value::Array(items) => Ok(items.into_iter().map(Self).collect()),
            other => Err(unexpected(&other)),
        }
    }

    pub(crate) fn int(&self) -> Result<i64> {
        match &self.0 {
            Value::Int(number) => Ok(*number),
            other => Err(unexpected(other)),
        }
    }

    /// As [`int`](Self::int), for what is never negative.
    pub(crate) fn count(&self) -> Result<u64> {
        u64::try_from(self.int()?).map_err(|_| unexpected(&self.0))
    }

    /// The number, if it is one that stands alone: what the fast paths of scripts answer.
    pub(crate) fn alone(&self) -> Option<i64> {
        match &self.0 {
            Value::Int(number) => Some(*number),
            _ => None,
        }
    }

    /// The stamp, if it is one that stands alone. Another number is the answer to something else.
    pub(crate) fn stamp_alone(&self) -> Result<Option<u64>> {
        match self.alone() {
            None => Ok(None),
            Some(stamp) if stamp >= STAMP => Ok(Some(stamp.unsigned_abs())),
            Some(_) => Err(unexpected(&self.0)),
        }
    }

    /// The `index`th integer of an array.
    pub(crate) fn int_at(&self, index: usize) -> Result<i64> {
        match &self.0 {
            Value::Array(items) => match items.get(index) {
                Some(Value::Int(number)) => Ok(*number),
                _ => Err(unexpected(&self.0)),
            },
            other => Err(unexpected(other)),
        }
    }

    /// As [`int_at`](Self::int_at), for what is never negative.
    pub(crate) fn count_at(&self, index: usize) -> Result<u64> {
        u64::try_from(self.int_at(index)?).map_err(|_| unexpected(&self.0))
    }

    /// A number that is never negative, if there is one.
    pub(crate) fn count_or_nil(&self) -> Result<Option<u64>> {
        match &self.0 {
            Value::Nil => Ok(None),
            _ => self.count().map(Some),
        }
    }

    pub(crate) fn bytes(self) -> Result<Vec<u8>> {
        match self.0 {
            Value::BulkString(bytes) => Ok(bytes),
            Value::SimpleString(text) => Ok(text.into_bytes()),
            Value::Int(number) => Ok(number.to_string().into_bytes()),
            other => Err(unexpected(&other)),
        }
    }
}

/// All stamps are above it, µs: the year 2001.
const STAMP: i64 = 1_000_000_000_000_000;

fn unexpected(value: &Value) -> Error {
    let mut text = format!("{value:?}");
    text.truncate(text.char_indices().nth(80).map_or(text.len(), |(at, _)| at));
    Error::new(
        ErrorKind::Protocol,
        format!("the server's reply is not of the protocol: {text}"),
    )
}

/// Splits a pipeline's replies, making the first server error an error.
pub(crate) fn all_ok(replies: Vec<Value>) -> RedisResult<Vec<Value>> {
    replies
        .into_iter()
        .map(|value| match value {
            Value::ServerError(error) => Err(error.into()),
            value => Ok(value),
        })
        .collect()
}
