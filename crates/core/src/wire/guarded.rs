//! A user's script behind a fence.

use std::sync::LazyLock;

use redis::{Cmd, Value};

use crate::types::error::{Error, ErrorKind, Result};
use crate::types::fence::FenceReply;
use crate::wire::request::Reply;
use crate::wire::script::GUARDED;

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
