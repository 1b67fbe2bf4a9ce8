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
            _ => Self::Foreign,
        })
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
