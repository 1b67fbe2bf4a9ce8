//! A user's script behind a fence: the only script that is not a file of ours.

use redis::{Cmd, Value};

use crate::types::error::{Error, ErrorKind, Result};
use crate::types::fence::FenceReply;
use crate::wire::request::Reply;

/// What stands before the user's text, on one line so that its line numbers stay right; the same rules as in `fence.lua`.
const BEFORE: &str = "local fence, token, ttl = table.remove(KEYS, 1), tonumber(table.remove(ARGV, 1)), table.remove(ARGV, 1) \
    local seen = tonumber(string.match(redis.call('GET', fence) or '1:0', '^1:(%d+)$')) \
    if not seen then return {8} elseif token < seen then return {0} end \
    redis.call('SET', fence, '1:' .. string.format('%.0f', token), 'PX', ttl) \
    return {1, (function() ";
const AFTER: &str = "\nend)()}";

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
        .arg(format!("{BEFORE}{script}{AFTER}"))
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

impl Reply {
    /// What the user's script returned.
    pub(crate) fn into_fence(self) -> Result<FenceReply> {
        convert(self.0)
    }
}

fn convert(value: Value) -> Result<FenceReply> {
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
