//! Plain commands: what is no script.

use redis::Cmd;

#[allow(clippy::disallowed_methods, reason = "the one place that makes commands")]
pub(crate) fn command(words: &[&str]) -> Cmd {
    let mut command = redis::cmd(words[0]);
    for word in &words[1..] {
        command.arg(*word);
    }
    command
}

/// The client's record, which inspections read: it expires by itself.
pub(crate) fn label_command(key: &str, record: &str, life_ms: u64) -> Cmd {
    command(&["SET", key, record, "PX", &life_ms.to_string()])
}

pub(crate) fn read_labels(keys: &[String]) -> Cmd {
    let mut words = vec!["MGET"];
    words.extend(keys.iter().map(String::as_str));
    command(&words)
}

/// A page of the keys below a prefix, which has no characters that are special in a pattern.
pub(crate) fn scan(prefix: &str, cursor: u64) -> Cmd {
    let pattern = format!("{prefix}:*");
    command(&["SCAN", &cursor.to_string(), "MATCH", &pattern, "COUNT", PAGE])
}

/// About as many keys as the server looks at for a page.
const PAGE: &str = "1000";

/// How many members are before this one: of a waiter, how many waiters.
pub(crate) fn read_rank(key: &[u8], member: &str) -> Cmd {
    let mut rank = command(&["ZRANK"]);
    rank.arg(key).arg(member);
    rank
}
