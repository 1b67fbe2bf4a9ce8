//! What an error means: was the script run, is it worth another try, and what should the reader do?

use std::sync::Arc;

use redis::RedisError;

use crate::connection::address::Address;
use crate::connection::failure::{Failure, Redirect};
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
        return false; // several in a row do: see `Node::note_timeout`
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
    let detail = error.detail().unwrap_or_default();
    let detail = detail.split(ARGUMENTS).next().unwrap_or_default();
    let detail = detail.trim_end_matches('.').to_owned();
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

/// What comes before the arguments of a command that the server does not know: they may be a whole script.
const ARGUMENTS: &str = ", with args beginning with";

/// The system's error, if this is one, or a library's in its place.
pub(crate) fn io_error(error: &RedisError) -> Option<&std::io::Error> {
    // redis-rs shares the error, and its source is what it shares it by.
    let cause = std::error::Error::source(error)?;
    let shared = cause.downcast_ref::<Arc<dyn std::error::Error + Send + Sync>>()?;
    let error: &(dyn std::error::Error + Send + Sync) = &**shared;
    error.downcast_ref()
}

/// What an error says, without those.
pub(crate) fn said(error: &RedisError) -> String {
    let mut text = error.to_string();
    if let Some(at) = text.find(ARGUMENTS) {
        text.truncate(at);
    }
    text
}

/// Whether the server keeps this command from us: by its access control, or by another name for it (`rename-command`).
pub(crate) fn is_withheld(error: &RedisError) -> bool {
    let (code, detail) = code_of(error);
    code == "NOPERM" || code == "ERR" && (is_denial(&detail) || is_unknown(&detail))
}

/// Whether the server does not know the command.
pub(crate) fn is_unknown(detail: &str) -> bool {
    ["unknown command", "command is disabled", "Unknown Redis command"]
        .iter()
        .any(|text| detail.contains(text))
}

pub(crate) fn classify(error: &RedisError, target: Target<'_>) -> Failure {
    let (code, detail) = code_of(error);
    let place = target.script.and_then(|script| place(script, &detail));
    let failed = |kind, message: String| {
        let is_said = !detail.is_empty() && message.contains(&detail);
        let failed = Error::new(kind, message);
        Failure::refused(if is_said {
            failed
        } else {
            failed.caused_by(said(error))
        })
    };

    let cause = error;
    if let Some(redirect) = redirect(error, &code) {
        let error = match code.as_str() {
            "READONLY" => Error::new(ErrorKind::ReadOnly, READONLY),
            code => {
                let text = format!("the node of the cluster cannot serve it now ({code})");
                Error::new(ErrorKind::Unavailable, text)
            }
        };
        return Failure::passing(error.caused_by(said(cause))).redirected(redirect);
    }
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
            let message = format!("the server cannot serve it now ({code})");
            Failure::passing(Error::new(ErrorKind::Unavailable, message).caused_by(said(error)))
        }
        "ERR" if is_denial(&detail) => failed(ErrorKind::Denied, denied(&detail, place, target.prefix)),
        "ERR" if detail.contains("max number of clients") => Failure::passing(
            Error::new(
                ErrorKind::Unavailable,
                "the server has as many clients as it allows (maxclients)",
            )
            .caused_by(said(error)),
        ),
        "ERR" if is_unknown(&detail) => failed(ErrorKind::Unsupported, unknown(&detail, place)),
        "" if error.is_io_error() || error.is_unrecoverable_error() || error.is_timeout() => {
            Failure::unknown(
                Error::new(ErrorKind::Unavailable, "the connection failed").caused_by(said(error)),
            )
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

const READONLY: &str = "the server is a replica (READONLY): connect to its primary";

/// What a node of a cluster says instead of running a request.
fn redirect(error: &RedisError, code: &str) -> Option<Redirect> {
    let to = || {
        let (address, slot) = error.redirect_node()?;
        Some((slot, Address::parse(address)?))
    };
    Some(match code {
        "MOVED" => {
            let (slot, to) = to()?;
            Redirect::Moved { slot, to }
        }
        "ASK" => Redirect::Ask(to()?.1),
        "TRYAGAIN" => Redirect::TryAgain,
        "CLUSTERDOWN" | "READONLY" => Redirect::Down,
        _ => return None,
    })
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

/// The command in a line of Lua.
fn called_there((_, _, text): Place) -> Option<&'static str> {
    text.split_once("call('")?.1.split('\'').next()
}

/// Names the command that is missing.
fn unknown(detail: &str, place: Option<Place>) -> String {
    let called = place.and_then(called_there);
    let called = called.map_or(String::new(), |command| {
        format!(" ({command}, which a script calls)")
    });
    format!("the server does not know a command that is needed: {detail}{called}; is it renamed?")
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
        let called = place.and_then(called_there);
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

    #[test]
    fn the_systems_error_is_found() {
        let error = RedisError::from(std::io::Error::from(std::io::ErrorKind::BrokenPipe));
        let found = io_error(&error).expect("one");
        assert_eq!(found.kind(), std::io::ErrorKind::BrokenPipe, "{found}");
    }
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
