//! The values of replies, read by type.

use std::sync::Arc;
use std::time::Duration;

use redis::{RedisResult, Value};

use crate::base::clock::Moment;
use crate::base::server_clock::ServerClock;
use crate::types::error::{Error, ErrorKind, Result};

/// A reply, with the moment before its request was sent.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) reply: Reply,
    pub(crate) sent: Moment,
    /// Of the server that gave it.
    pub(crate) clock: Arc<ServerClock>,
}

impl Answer {
    /// Notes the stamp that is in the reply.
    pub(crate) fn note_stamp(&self, stamp: u64) {
        self.clock.note(self.sent, stamp);
    }
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

    /// As [`int`](Self::int), for what is never negative. As all numbers of the protocol it is exact in a double.
    pub(crate) fn count(&self) -> Result<u64> {
        self.in_range(self.int()?)
    }

    fn in_range(&self, number: i64) -> Result<u64> {
        let number = u64::try_from(number).ok().filter(|&number| number <= MOST);
        number.ok_or_else(|| unexpected(&self.0))
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
            Some(stamp) if stamp >= STAMP => self.in_range(stamp).map(Some),
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
        self.in_range(self.int_at(index)?)
    }

    /// A number of permits.
    pub(crate) fn weight_at(&self, index: usize) -> Result<u32> {
        u32::try_from(self.count_at(index)?).map_err(|_| unexpected(&self.0))
    }

    /// A time in ms that is not above `most`: whatever sleeps or counts on it is bounded.
    pub(crate) fn ms_at(&self, index: usize, most: Duration) -> Result<Duration> {
        self.time(Duration::from_millis(self.count_at(index)?), most)
    }

    /// The same in µs.
    pub(crate) fn us_at(&self, index: usize, most: Duration) -> Result<Duration> {
        self.time(Duration::from_micros(self.count_at(index)?), most)
    }

    fn time(&self, time: Duration, most: Duration) -> Result<Duration> {
        if time > most {
            return Err(unexpected(&self.0));
        }
        Ok(time)
    }

    /// What `read` reads at this place, if there is such a place.
    pub(crate) fn if_there<T>(
        &self,
        index: usize,
        read: impl FnOnce(&Self, usize) -> Result<T>,
    ) -> Result<Option<T>> {
        match &self.0 {
            Value::Array(items) if items.len() <= index => Ok(None),
            _ => read(self, index).map(Some),
        }
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

/// The largest number of the protocol: 2^53.
pub(super) const MOST: u64 = 1 << 53;
/// No lease, and no start of a hold, is further away: a day, and one for rounding and for clocks that were set.
pub(crate) const HOLD: Duration = Duration::from_secs(2 * 24 * 60 * 60);
/// No permit of a limiter is further away: its burst, a call of that size, and its longest wait.
pub(crate) const PERMIT: Duration = Duration::from_secs(800 * 24 * 60 * 60);

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

#[cfg(test)]
mod tests {
    use super::*;

    fn int(number: i64) -> Reply {
        Reply(Value::Int(number))
    }

    /// What an answer is read as; `None`: it is not of the protocol.
    fn read<T>(result: Result<T>) -> Option<T> {
        match result {
            Ok(value) => Some(value),
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::Protocol, "{error}");
                None
            }
        }
    }

    #[test]
    fn numbers_that_stand_alone() {
        assert_eq!(read(int(-7).int()), Some(-7));
        assert_eq!(read(Reply(Value::Nil).int()), None);
        assert_eq!(read(int(7).count()), Some(7));
        assert_eq!(read(int(-7).count()), None, "never negative");
        assert_eq!(int(-7).alone(), Some(-7));
        assert_eq!(Reply(Value::Nil).alone(), None);
        assert_eq!(read(int(7).count_or_nil()), Some(Some(7)));
        assert_eq!(read(Reply(Value::Nil).count_or_nil()), Some(None));
        assert_eq!(read(Reply(Value::Okay).count_or_nil()), None);
    }

    #[test]
    fn a_stamp_is_told_from_other_numbers() {
        assert_eq!(
            read(int(STAMP).stamp_alone()),
            Some(Some(STAMP.unsigned_abs())),
            "the first"
        );
        assert_eq!(read(int(STAMP - 1).stamp_alone()), None, "too small");
        assert_eq!(read(int(-STAMP).stamp_alone()), None, "negative");
        let array = Reply(Value::Array(Vec::new()));
        assert_eq!(read(array.stamp_alone()), Some(None), "not alone");
    }

    #[test]
    fn numbers_in_an_array() {
        let array = || Reply(Value::Array(vec![Value::Int(5), Value::Int(-6), Value::Nil]));
        assert_eq!(read(array().int_at(1)), Some(-6));
        assert_eq!(read(array().count_at(0)), Some(5));
        assert_eq!(read(array().count_at(1)), None, "never negative");
        assert_eq!(read(array().int_at(2)), None, "not a number");
        assert_eq!(read(array().int_at(3)), None, "past the end");
        assert_eq!(read(int(5).int_at(0)), None, "not an array");
        let items = read(array().items()).expect("an array");
        let numbers: Vec<_> = items.iter().map(Reply::alone).collect();
        assert_eq!(numbers, [Some(5), Some(-6), None]);
        assert!(read(int(5).items()).is_none(), "not an array");
    }

    #[test]
    fn text_of_any_kind() {
        let bytes = |value| read(Reply(value).bytes());
        assert_eq!(bytes(Value::BulkString(b"ab".to_vec())), Some(b"ab".to_vec()));
        assert_eq!(bytes(Value::SimpleString("ab".into())), Some(b"ab".to_vec()));
        assert_eq!(bytes(Value::Int(-12)), Some(b"-12".to_vec()));
        assert_eq!(bytes(Value::Nil), None);
    }

    #[test]
    fn an_error_shows_the_beginning_of_the_reply() {
        let long = Reply(Value::SimpleString("\u{e4}".repeat(200)));
        let text = long.int().expect_err("no number").to_string();
        let shown = text.chars().filter(|&letter| letter == '\u{e4}').count();
        assert!((60..80).contains(&shown), "{text}");
    }

    #[test]
    fn one_error_fails_a_pipeline() {
        let fine = || vec![Value::Int(1), Value::Okay];
        assert_eq!(all_ok(fine()).ok(), Some(fine()));
        let failed = redis::ServerErrorKind::ReadOnly;
        let error = redis::parse_redis_value(b"-READONLY no\r\n").expect("a value");
        let replies = fine().into_iter().chain([error]).collect();
        let error = all_ok(replies).expect_err("an error");
        assert_eq!(error.kind(), redis::ErrorKind::Server(failed));
    }
}
