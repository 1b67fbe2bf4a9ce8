//! The values of replies, read by type.

use redis::{RedisResult, Value};

use crate::base::clock::Moment;
use crate::types::error::{Error, ErrorKind, Result};

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
