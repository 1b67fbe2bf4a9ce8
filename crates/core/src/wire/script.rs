//! Lua files as scripts: joined at build time, hashed once, and lines mapped home.

use std::fmt;
use std::sync::LazyLock;

/// One of the server-side scripts.
pub(crate) struct Script {
    /// The verb: file names start with it.
    pub(crate) name: &'static str,
    parts: &'static [(&'static str, &'static str)],
    pub(crate) source: &'static str,
    hash: LazyLock<String>,
}

macro_rules! script {
    ($name:ident, $verb:literal, $($file:literal),+) => {
        pub(crate) static $name: Script = Script {
            name: $verb,
            parts: &[$(($file, include_str!(concat!("../lua/", $file)))),+],
            source: concat!($(include_str!(concat!("../lua/", $file)), "\n"),+),
            hash: LazyLock::new(|| Script::digest($name.source)),
        };
    };
}

// The engine's text stands below a fast path that returns: there it costs nothing, on top 3 to 5 us a call.
script!(
    ACQUIRE,
    "acquire",
    "acquire_fast.lua",
    "engine.lua",
    "acquire_slow.lua"
);
script!(END, "end", "end_fast.lua", "engine.lua", "end_slow.lua");
script!(TICK, "tick", "tick_fast.lua", "engine.lua", "tick_slow.lua");
script!(FORCE, "force", "force_fast.lua", "engine.lua", "force_slow.lua");
script!(INSPECT, "inspect", "inspect.lua");
script!(ADOPT, "adopt", "adopt.lua");
script!(
    RESIZE,
    "resize",
    "resize_fast.lua",
    "engine.lua",
    "resize_slow.lua"
);
script!(
    DOWNGRADE,
    "downgrade",
    "downgrade_fast.lua",
    "engine.lua",
    "downgrade_slow.lua"
);
script!(
    ACQUIRE_MANY,
    "acquire_many",
    "many_first.lua",
    "acquire_fast.lua",
    "many_last.lua"
);
script!(
    END_MANY,
    "end_many",
    "many_first.lua",
    "end_fast.lua",
    "many_last.lua"
);
script!(SPLIT, "split", "split.lua");
script!(MERGE, "merge", "merge.lua");
script!(LATCH, "latch", "latch_fast.lua", "engine.lua", "latch_slow.lua");
script!(PEEK, "peek", "peek_fast.lua", "engine.lua", "peek_slow.lua");
script!(FENCE, "fence", "fence.lua");

script!(GCRA, "gcra", "gcra.lua");
script!(GCRA_REFUND, "gcra_refund", "gcra_refund.lua");
script!(GCRA_CHANGE, "gcra_change", "gcra_change.lua");
script!(WINDOW, "window", "window.lua");
script!(WINDOW_REFUND, "window_refund", "window_refund.lua");
script!(WINDOW_CHANGE, "window_change", "window_change.lua");
script!(LIMITER_RESET, "limiter_reset", "limiter_reset.lua");

/// All of them; a server that does not know one is told it at connect.
pub(crate) static ALL: [&Script; 22] = [
    &ACQUIRE,
    &END,
    &ACQUIRE_MANY,
    &END_MANY,
    &TICK,
    &FORCE,
    &INSPECT,
    &ADOPT,
    &RESIZE,
    &DOWNGRADE,
    &SPLIT,
    &MERGE,
    &LATCH,
    &PEEK,
    &FENCE,
    &GCRA,
    &GCRA_REFUND,
    &GCRA_CHANGE,
    &WINDOW,
    &WINDOW_REFUND,
    &WINDOW_CHANGE,
    &LIMITER_RESET,
];

impl Script {
    #[allow(clippy::disallowed_methods, reason = "the one place that hashes scripts")]
    pub(crate) fn digest(source: &str) -> String {
        redis::Script::new(source).get_hash().to_owned()
    }

    pub(crate) fn hash(&self) -> &str {
        &self.hash
    }

    /// The file, line and text behind a line number in an error of the server.
    pub(crate) fn locate(&self, line: usize) -> Option<(&'static str, usize, &'static str)> {
        let mut first = 1;
        for (file, text) in self.parts {
            let lines = text.lines().count() + 1; // the joining newline adds one
            if (first..first + lines).contains(&line) {
                let own = line - first + 1;
                return Some((file, own, text.lines().nth(own - 1).unwrap_or("").trim()));
            }
            first += lines;
        }
        None
    }
}

impl fmt::Debug for Script {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Script")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_is_found_again() {
        for script in ALL {
            for (index, line) in script.source.lines().enumerate() {
                if line.is_empty() {
                    continue;
                }
                let (_, _, text) = script.locate(index + 1).expect("a part");
                assert_eq!(text, line.trim(), "{} line {}", script.name, index + 1);
            }
        }
        assert_eq!(ACQUIRE.locate(100_000), None, "past the end");
    }
}
