//! A user's script behind a fence.

use std::sync::LazyLock;

use redis::{Cmd, Value};

use crate::types::error::{Error, ErrorKind, Result};
use crate::types::fence::FenceReply;
use crate::wire::script::GUARDED;
use crate::wire::value::Reply;

/// What stands before the user's text: one line, without a newline, so that the user's line numbers stay right.
static BEFORE: LazyLock<String> = LazyLock::new(|| {
    let code = GUARDED[0].1.lines().filter(|line| !line.starts_with("--"));
    code.flat_map(|line| [line.trim_start(), " "]).collect()
});

/// The command that runs `script` behind the fence.
#[allow(
    clippy::disallowed_methods,
    reason = "the one place that sends a user's script"
)]
pub(crate) fn eval_guarded(
    fence: &[u8],
    token: u64,
    ttl: u64,
    script: &str,
    keys: &[&[u8]],
    args: &[&[u8]],
) -> Cmd {
    let mut command = redis::cmd("EVAL");
    command
        .arg([&*BEFORE, script, "\n", GUARDED[1].1].concat())
        .arg(keys.len() + 1)
        .arg(fence);
    for key in keys {
        command.arg(key);
    }
    command.arg(token).arg(ttl);
    for arg in args {
        command.arg(arg);
    }
    command
}

/// What came of a script behind a fence.
#[derive(Debug)]
pub(crate) enum GuardedReply {
    /// The token is stale: it was not run.
    Stale,
    /// It ran, and returned this.
    Ran(FenceReply),
    /// It ran, and raised this.
    Raised(String),
    /// The token is more than a day ahead: it was not run.
    TooFarAhead,
    /// The fence's key is not ours.
    Foreign,
}

impl GuardedReply {
    pub(crate) fn read(reply: Reply) -> Result<Self> {
        let mut parts = reply.items()?.into_iter();
        let code = parts.next().map_or(Ok(8), |code| code.int())?;
        Ok(match code {
            1 => Self::Ran(
                parts
                    .next()
                    .map_or(Ok(FenceReply::Nil), |Reply(value)| convert(value))?,
            ),
            0 => Self::Stale,
            7 => Self::TooFarAhead,
            2 => {
                let text = parts.next().map_or(Ok(Vec::new()), Reply::bytes)?;
                Self::Raised(String::from_utf8_lossy(&text).into_owned())
            }
            _ => Self::Foreign,
        })
    }
}

/// What a user's script or command returned.
pub(crate) fn convert(value: Value) -> Result<FenceReply> {
    Ok(match value {
        Value::Int(number) => FenceReply::Int(number),
        Value::BulkString(bytes) => FenceReply::Bytes(bytes),
        Value::SimpleString(text) => FenceReply::Bytes(text.into_bytes()),
        Value::Okay => FenceReply::Bytes(b"OK".to_vec()),
        Value::Array(items) => FenceReply::Array(items.into_iter().map(convert).collect::<Result<_>>()?),
        Value::ServerError(error) => {
            return Err(Error::new(
                ErrorKind::Protocol,
                format!("the guarded script returned an error: {error}"),
            ));
        }
        _ => FenceReply::Nil,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(items: Vec<Value>) -> Option<GuardedReply> {
        GuardedReply::read(Reply(Value::Array(items))).ok()
    }

    fn ran(result: Value) -> FenceReply {
        match read(vec![Value::Int(1), result]) {
            Some(GuardedReply::Ran(reply)) => reply,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn each_type_of_result_of_a_guarded_script_is_read() {
        let bytes = |text: &str| FenceReply::Bytes(text.as_bytes().to_vec());
        assert_eq!(ran(Value::Nil), FenceReply::Nil);
        assert_eq!(ran(Value::Int(-3)), FenceReply::Int(-3));
        assert_eq!(ran(Value::BulkString(b"ab".to_vec())), bytes("ab"));
        assert_eq!(ran(Value::SimpleString("PONG".into())), bytes("PONG"));
        assert_eq!(ran(Value::Okay), bytes("OK"));
        let nested = Value::Array(vec![Value::Int(1), Value::Array(vec![Value::Nil])]);
        let expected = vec![FenceReply::Int(1), FenceReply::Array(vec![FenceReply::Nil])];
        assert_eq!(ran(nested), FenceReply::Array(expected));
        match read(vec![Value::Int(1)]) {
            Some(GuardedReply::Ran(FenceReply::Nil)) => {}
            other => panic!("`nil` ends an array: {other:?}"),
        }
    }

    #[test]
    fn an_error_in_what_a_guarded_script_returns_is_an_error() {
        let error = redis::parse_redis_value(b"-ERR no\r\n").expect("a value");
        let reply = Reply(Value::Array(vec![Value::Int(1), error]));
        let error = GuardedReply::read(reply).expect_err("an error");
        assert_eq!(error.kind(), ErrorKind::Protocol);
        assert!(
            error.to_string().contains("the guarded script returned an error"),
            "{error}"
        );
    }

    #[test]
    fn a_guarded_script_that_did_not_run() {
        let stale = read(vec![Value::Int(0)]);
        assert!(matches!(stale, Some(GuardedReply::Stale)), "{stale:?}");
        let ahead = read(vec![Value::Int(7)]);
        assert!(matches!(ahead, Some(GuardedReply::TooFarAhead)), "{ahead:?}");
        for items in [vec![Value::Int(8)], vec![]] {
            let foreign = read(items);
            assert!(matches!(foreign, Some(GuardedReply::Foreign)), "{foreign:?}");
        }
        assert!(read(vec![Value::Okay]).is_none(), "no code");
        assert!(GuardedReply::read(Reply(Value::Int(1))).is_err(), "no array");
    }
}
