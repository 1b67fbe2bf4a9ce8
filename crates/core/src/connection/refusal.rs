//! What an error means: was the script run, is it worth another try, and what should the reader do?

use redis::RedisError;

use crate::connection::failure::Failure;
use crate::types::error::{Error, ErrorKind};
use crate::wire::script::Script;

/// What an error has to name, beside what failed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Target<'a> {
    pub(crate) script: Option<&'static Script>,
    pub(crate) prefix: &'a str,
}

/// Codes that the server may stop to give without anybody's help: the request was not run.
const PASSING: [&str; 8] = [
    "LOADING",
    "BUSY",
    "MASTERDOWN",
    "CLUSTERDOWN",
    "TRYAGAIN",
    "NOREPLICAS",
    "MISCONF",
    "READONLY",
];

/// Whether this connection should be replaced: it is dead, or leads to a server that was demoted.
pub(crate) fn breaks_connection(error: &RedisError) -> bool {
    if error.is_timeout() {
        return false; // several in a row do: see `Commands::note_timeout`
    }
    error.is_unrecoverable_error()
        || error.is_io_error()
        || matches!(code_of(error).0.as_str(), "READONLY" | "NOAUTH")
}

pub(crate) fn is_no_script(error: &RedisError) -> bool {
    error.code() == Some("NOSCRIPT")
}

/// The code of a server's error, also of one that a script passed on: Redis before 7 wraps it in `ERR Error running script`.
fn code_of(error: &RedisError) -> (String, String) {
    let detail = error.detail().unwrap_or_default().to_owned();
    let code = error.code().unwrap_or_default().to_owned();
    if code == "ERR" || code.is_empty() {
        let known = PASSING.iter().chain(&["OOM", "WRONGTYPE", "NOPERM"]);
        for inner in known {
            // "... @user_script: 12: -OOM command not allowed ..." or "@user_script:12: WRONGTYPE ..."
            if let Some(at) = detail.find(inner)
                && detail[..at].ends_with([' ', '-'])
                && detail[..at].contains("@user_script")
            {
                return ((*inner).to_owned(), detail);
            }
        }
    }
    (code, detail)
}

pub(crate) fn classify(error: RedisError, target: Target<'_>) -> Failure {
    let (code, detail) = code_of(&error);
    let place = target.script.and_then(|script| place(script, &detail));
    let failed = |kind, message: String| Failure::refused(Error::new(kind, message).caused_by(error.clone()));

    match code.as_str() {
        "OOM" => failed(
            ErrorKind::OutOfMemory,
            "the server's memory is full (maxmemory): nothing was changed; free memory or raise the limit"
                .into(),
        ),
        "WRONGTYPE" => failed(
            ErrorKind::WrongType,
            format!(
                "its key holds foreign data: choose another name or another prefix than `{}`",
                target.prefix
            ),
        ),
        // With a line, the script ran up to there.
        "NOPERM" => failed(ErrorKind::Denied, denied(&detail, place, target.prefix))
            .untouched(!detail.contains("script")),
        "NOAUTH" | "WRONGPASS" => failed(
            ErrorKind::Denied,
            "the server does not accept the user name or password: check the URL's credentials".into(),
        ),
        code if PASSING.contains(&code) => {
            let kind = if code == "READONLY" {
                ErrorKind::ReadOnly
            } else {
                ErrorKind::Unavailable
            };
            let message = format!("the server cannot serve it now ({code})");
            Failure::passing(Error::new(kind, message).caused_by(error))
        }
        "ERR" if is_denial(&detail) => failed(ErrorKind::Denied, denied(&detail, place, target.prefix)),
        "ERR" if detail.contains("max number of clients") => Failure::passing(
            Error::new(
                ErrorKind::Unavailable,
                "the server has as many clients as it allows (maxclients)",
            )
            .caused_by(error),
        ),
        "ERR" if detail.contains("unknown command") || detail.contains("disabled") => failed(
            ErrorKind::Unsupported,
            format!("the server refuses a command that is needed: {detail}"),
        ),
        "" if error.is_io_error() || error.is_unrecoverable_error() || error.is_timeout() => {
            Failure::unknown(Error::new(ErrorKind::Unavailable, "the connection failed").caused_by(error))
        }
        _ => {
            let at = place.map_or(String::new(), |(file, line, _)| format!(" at {file}:{line}"));
            failed(
                ErrorKind::Protocol,
                format!("the server answered with an error{at}: {code} {detail}"),
            )
        }
    }
}

fn is_denial(detail: &str) -> bool {
    [
        "can't run this command",
        "can't access at least one of the keys",
        "can't publish",
        "no permissions to",
    ]
    .iter()
    .any(|text| detail.contains(text))
}

type Place = (&'static str, usize, &'static str);

/// The Lua file and line that an error names: `user_script:12`, or `@user_script: 12:` before Redis 7.
fn place(script: &'static Script, detail: &str) -> Option<Place> {
    let after = detail
        .rsplit("user_script:")
        .next()
        .filter(|rest| rest.len() < detail.len())?;
    let digits: String = after
        .trim_start()
        .chars()
        .take_while(char::is_ascii_digit)
        .collect();
    script.locate(digits.parse().ok()?)
}

/// Names the right that is missing, as an ACL rule.
fn denied(detail: &str, place: Option<Place>, prefix: &str) -> String {
    let rule = if detail.contains("the keys") || detail.contains("access a key") {
        format!("keys `~{prefix}:*`")
    } else if detail.contains("the channel") || detail.contains("access a channel") {
        format!("channels `&{prefix}:*`")
    } else {
        // "... has no permissions to run the 'evalsha' command", or the command in the Lua line that failed.
        let quoted = detail.split('\'').nth(1);
        let called = place.and_then(|(_, _, text)| text.split_once("call('").map(|(_, rest)| rest));
        let called = called.and_then(|rest| rest.split('\'').next());
        match quoted.filter(|_| detail.contains("no permissions")).or(called) {
            Some(command) => format!("command `+{}`", command.to_ascii_lowercase()),
            None => {
                "a command that the scripts use (the rule that has them all is in docs/safety.md)".to_owned()
            }
        }
    };
    format!("the server's access control denies {rule}: grant it to this user (ACL SETUSER)")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::script::ACQUIRE;

    #[test]
    fn finds_the_lua_line_in_both_forms() {
        let new = "Wrong kind script: abc, on @user_script:29.";
        let old = "Error running script (call to f_1): @user_script:29: WRONGTYPE Operation";
        for text in [new, old] {
            let (file, line, _) = place(&ACQUIRE, text).expect("a place");
            assert_eq!((file, line), ("acquire_fast.lua", 29), "{text}");
        }
        assert!(place(&ACQUIRE, "nothing here").is_none(), "no line");
    }
}
