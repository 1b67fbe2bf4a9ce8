//! A call of a script: the command, with keys and arguments.

use redis::Cmd;

use crate::wire::script::Script;

/// A script with its keys and arguments, ready to be sent (more than once).
#[derive(Clone)]
pub(crate) struct Request {
    pub(crate) script: &'static Script,
    pub(crate) command: Cmd,
    keys: usize,
}

/// Which argument is the first key: `EVALSHA <hash> <keys> <key>`.
const FIRST_KEY: usize = 3;

/// An argument that is seldom said.
pub(super) enum Rest<'a> {
    Bytes(&'a [u8]),
    Number(u64),
    /// With its sign, also a plus.
    Signed(i64),
}

impl Request {
    /// Takes byte slices, not a generic type: older compilers cannot infer one from keys of several types.
    #[allow(clippy::disallowed_methods, reason = "the one place that sends scripts")]
    pub(super) fn new(script: &'static Script, keys: &[&[u8]]) -> Self {
        let room = keys.iter().map(|key| key.len()).sum::<usize>();
        let mut command = Cmd::with_capacity(14 + keys.len(), 256 + room);
        command.arg("EVALSHA");
        command.arg(script.hash()).arg(keys.len());
        for key in keys {
            command.arg(key);
        }
        Self {
            script,
            command,
            keys: keys.len(),
        }
    }

    /// The key that it is about, or the first of several; empty if there is none.
    pub(crate) fn key(&self) -> &[u8] {
        match self.command.args_iter().nth(FIRST_KEY) {
            Some(redis::Arg::Simple(key)) if self.keys > 0 => key,
            _ => &[],
        }
    }

    pub(crate) const fn has_several_keys(&self) -> bool {
        self.keys > 1
    }

    pub(super) fn arg(mut self, value: impl redis::ToRedisArgs) -> Self {
        self.command.arg(value);
        self
    }

    /// Arguments that are seldom said, each with what stands for it if one behind it is said. Otherwise they are left out.
    pub(super) fn arg_rest<const N: usize>(mut self, rest: [(Option<Rest<'_>>, &str); N]) -> Self {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::script::FENCE;

    /// Were the keys of a generic type, the first line would not compile: nothing names the type. Rust 1.88 does not
    /// compile the second then, either, though newer compilers do.
    #[test]
    fn the_type_of_a_key_is_never_inferred() {
        let none = Request::new(&FENCE, &[]);
        let (owned, borrowed) = (b"a".to_vec(), b"b".as_slice());
        let two = Request::new(&FENCE, &[&owned, borrowed]);
        assert_eq!((none.keys, two.keys), (0, 2), "as many keys as were given");
        assert_eq!(
            (none.arg("x").key(), two.key()),
            (&b""[..], &b"a"[..]),
            "the first one"
        );
    }
}
