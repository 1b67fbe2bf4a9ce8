//! Joins the Lua files to scripts, of which this is the only list. Hashes each once, and maps the
//! lines of errors to their files.

use std::fmt;
use std::sync::LazyLock;

use crate::wire::record::substitute;

/// A file's name and text.
type Part = (&'static str, &'static str);

/// One of the server-side scripts.
pub(crate) struct Script {
    /// The verb: file names start with it.
    pub(crate) name: &'static str,
    parts: &'static [Part],
    source: LazyLock<String>,
    hash: LazyLock<String>,
}

macro_rules! part {
    ($file:literal) => {
        ($file, include_str!(concat!("../lua/", $file)))
    };
}

macro_rules! script {
    // The engine, all of it. Its text stands below a fast path that returns: there it costs nothing, on top 3 to 5 us a call.
    ($name:ident, $verb:literal, $($first:literal),+; engine; $($last:literal),+) => {
        script!($name, $verb, $($first,)+ "let_in.lua", "step.lua", "pump.lua", "record.lua", "queue.lua", $($last),+);
    };
    ($name:ident, $verb:literal, $($file:literal),+) => {
        pub(crate) static $name: Script = Script {
            name: $verb,
            parts: &[$(part!($file)),+],
            source: LazyLock::new(|| join($name.parts, substitute)),
            hash: LazyLock::new(|| Script::digest($name.source())),
        };
    };
}

script!(ACQUIRE, "acquire", "acquire_fast.lua"; engine; "numbers.lua", "acquire_slow.lua");
script!(
    END,
    "end",
    "end_fast.lua",
    "let_in.lua",
    "hand_over.lua",
    "step.lua",
    "pump.lua",
    "record.lua",
    "queue.lua",
    "end_slow.lua"
);
script!(TICK, "tick", "clock.lua", "tick_fast.lua"; engine; "tick_slow.lua");
script!(FORCE, "force", "clock.lua", "force_fast.lua"; engine; "force_all.lua", "force_slow.lua");
script!(STEAL, "steal", "clock.lua", "steal_fast.lua"; engine; "force_all.lua", "steal_slow.lua");
script!(RESIZE, "resize", "clock.lua", "resize_fast.lua"; engine; "numbers.lua", "resize_slow.lua");
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
    "let_in.lua",
    "hand_over.lua",
    "many_last.lua"
);

script!(DOWNGRADE, "downgrade", "clock.lua", "downgrade_fast.lua"; engine; "downgrade_slow.lua");
script!(
    ADOPT,
    "adopt",
    "clock.lua",
    "adopt_fast.lua",
    "take_over.lua",
    "adopt_slow.lua"
);
script!(
    SPLIT,
    "split",
    "clock.lua",
    "split_fast.lua",
    "take_over.lua",
    "split_slow.lua"
);
script!(MERGE, "merge", "clock.lua", "merge.lua");
script!(INSPECT, "inspect", "clock.lua", "inspect.lua");

script!(
    LATCH,
    "latch",
    "latch_fast.lua",
    "let_in.lua",
    "step.lua",
    "pump.lua",
    "record.lua",
    "queue.lua",
    "latch_over.lua",
    "latch_slow.lua"
);
script!(PEEK, "peek", "clock.lua", "peek_fast.lua", "peek_slow.lua");

script!(FENCE, "fence", "fence.lua");
script!(FENCE_PIPELINE, "fence_pipeline", "fence_pipeline.lua");
/// What stands before and after a user's script.
pub(crate) const GUARDED: [Part; 2] = [part!("guarded_first.lua"), part!("guarded_last.lua")];

script!(
    GCRA,
    "gcra",
    "clock.lua",
    "gcra_record.lua",
    "limiter_reserve.lua",
    "gcra.lua"
);
script!(
    GCRA_REFUND,
    "gcra_refund",
    "gcra_record.lua",
    "limiter_refund.lua",
    "gcra_refund.lua"
);
script!(
    GCRA_CHANGE,
    "gcra_change",
    "clock.lua",
    "gcra_record.lua",
    "limiter_change.lua",
    "gcra_change.lua"
);
script!(
    WINDOW,
    "window",
    "clock.lua",
    "window_record.lua",
    "limiter_reserve.lua",
    "window.lua"
);
script!(
    WINDOW_REFUND,
    "window_refund",
    "window_record.lua",
    "limiter_refund.lua",
    "window_refund.lua"
);
script!(
    WINDOW_CHANGE,
    "window_change",
    "clock.lua",
    "window_record.lua",
    "limiter_change.lua",
    "window_change.lua"
);
script!(LIMITER_RESET, "limiter_reset", "clock.lua", "limiter_reset.lua");

/// All of them; a server that does not know one is told it at connect.
pub(crate) static ALL: [&Script; 24] = [
    &ACQUIRE,
    &END,
    &ACQUIRE_MANY,
    &END_MANY,
    &TICK,
    &FORCE,
    &STEAL,
    &INSPECT,
    &ADOPT,
    &RESIZE,
    &DOWNGRADE,
    &SPLIT,
    &MERGE,
    &LATCH,
    &PEEK,
    &FENCE,
    &FENCE_PIPELINE,
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

    /// What is sent to the server.
    pub(crate) fn source(&self) -> &str {
        &self.source
    }

    /// The file, line and text behind a line number in an error of the server.
    pub(crate) fn locate(&'static self, line: usize) -> Option<(&'static str, usize, &'static str)> {
        let text = self.source().lines().nth(line.checked_sub(1)?)?;
        let mut own = line;
        for (file, part) in self.parts {
            let lines = part.lines().count() + 1; // the joining newline adds one
            if own <= lines {
                return Some((file, own, text.trim()));
            }
            own -= lines;
        }
        None
    }
}

fn join(parts: &[Part], each: impl Fn(&str) -> String) -> String {
    parts.iter().map(|(_, part)| each(part) + "\n").collect()
}

/// Where a shortcut begins and ends in a file: text that only saves time, for records with nothing out of the ordinary.
const SHORTCUT: [&str; 2] = ["-- shortcut: ", "-- end of shortcut"];

/// A part without its shortcuts.
fn without_shortcuts(part: &str) -> String {
    let mut inside = false;
    let mut text = String::new();
    for line in part.lines() {
        let begins = line.trim_start().starts_with(SHORTCUT[0]);
        let ends = line.trim_start() == SHORTCUT[1];
        inside = (inside || begins) && !ends;
        if !(inside || ends) {
            text.push_str(line);
            text.push('\n');
        }
    }
    text
}

/// A script as it is sent to servers.
#[derive(Debug)]
#[non_exhaustive]
pub struct Joined {
    /// The verb.
    pub verb: &'static str,
    /// What is sent.
    pub text: String,
    /// The same without the shortcuts of its fast path, if it has any: it has to answer and write the same.
    pub general: Option<String>,
    /// The files that the text is joined of, with their texts.
    pub parts: Vec<(&'static str, String)>,
}

/// All scripts, joined; the one that stands around a user's script has nothing between its parts.
pub(crate) fn all() -> Vec<Joined> {
    let joined = |script: &&Script| {
        let general = join(script.parts, |part| substitute(&without_shortcuts(part)));
        let shorter = general.len() < script.source().len() && !script.name.ends_with("_many");
        Joined {
            verb: script.name,
            text: script.source().to_owned(),
            general: shorter.then_some(general),
            parts: script
                .parts
                .iter()
                .map(|(file, part)| (*file, substitute(part)))
                .collect(),
        }
    };
    let guarded = Joined {
        verb: "guarded",
        text: join(&GUARDED, substitute),
        general: None,
        parts: GUARDED.map(|(file, part)| (file, part.to_owned())).to_vec(),
    };
    ALL.iter().map(joined).chain([guarded]).collect()
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
            for (index, line) in script.source().lines().enumerate() {
                if line.is_empty() {
                    continue;
                }
                let (_, _, text) = script.locate(index + 1).expect("a part");
                assert_eq!(text, line.trim(), "{} line {}", script.name, index + 1);
            }
        }
        assert_eq!(ACQUIRE.locate(100_000), None, "past the end");
        assert_eq!(ACQUIRE.locate(0), None, "before the beginning");
        let slow = ACQUIRE
            .source()
            .lines()
            .position(|line| line.starts_with("-- acquire, where"));
        let (file, line, _) = ACQUIRE.locate(slow.expect("a line") + 1).expect("a part");
        assert_eq!((file, line), ("acquire_slow.lua", 1), "its first line");
    }

    /// Code without comments and strings, and the strings that stand in it.
    fn code_of(part: &str) -> (String, Vec<String>) {
        let (mut code, mut strings) = (String::new(), Vec::new());
        for line in part.lines() {
            let line = line.split("--").next().unwrap_or_default();
            for (at, piece) in line.split('\'').enumerate() {
                if at % 2 == 0 {
                    code += piece;
                } else {
                    code += "''";
                    strings.push(piece.to_owned());
                }
            }
            code.push('\n');
        }
        (code, strings)
    }

    #[test]
    fn the_layout_of_a_record_stands_in_names_only() {
        let is_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        for (file, part) in ALL.iter().flat_map(|script| script.parts) {
            if ["gcra", "window", "limiter", "fence"]
                .iter()
                .any(|other| file.starts_with(other))
            {
                continue; // strings, with a layout of their own
            }
            let (code, strings) = code_of(part);
            let words = code.split(|letter: char| !letter.is_alphanumeric());
            for word in words.chain(strings.iter().map(|text| text.trim_start_matches('('))) {
                let large = is_digits(word) && word.len() > 8 && word != "86400000000";
                let power = ["262144", "1048576", "1e11", "1e12", "1e14", "1e15"].contains(&word);
                assert!(!large && !power, "{file}: {word} is a number of the layout");
            }
            // `c` and `u` are also suffixes of a capacity; `h`, `d`, `x`, `w` and `p` items of a tick.
            let others: &[&str] = match *file {
                "acquire_fast.lua" | "end_fast.lua" | "record.lua" => &["c"],
                "latch_slow.lua" | "latch_over.lua" => &["d", "r"], // messages
                "tick_fast.lua" | "tick_slow.lua" => &["h", "d", "x", "w", "p"],
                _ => &[],
            };
            for text in &strings {
                let member = text == "t1" || text == "#" || text.starts_with("n1:") || text.len() == 1;
                let letter = text
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || byte == b'#');
                assert!(
                    !(member && letter) || is_digits(text) || others.contains(&&**text),
                    "{file}: '{text}' is a member"
                );
            }
        }
    }

    #[test]
    fn no_name_is_left_in_a_joined_script() {
        for script in ALL {
            for word in script.source().split('%').skip(1) {
                let name =
                    word.len() > 1 && word.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_');
                assert!(!name, "{}: %{word}% has no meaning", script.name);
            }
        }
    }

    #[test]
    fn shortcuts_can_be_left_out() {
        let with: Vec<_> = all()
            .into_iter()
            .filter(|script| script.general.is_some())
            .collect();
        let verbs: Vec<_> = with.iter().map(|script| script.verb).collect();
        assert_eq!(
            verbs,
            ["acquire", "end", "tick", "latch"],
            "those with a fast path"
        );
        for script in ALL {
            let marks = |mark| {
                script
                    .source()
                    .lines()
                    .filter(move |line| line.trim_start().starts_with(mark))
            };
            let (begins, ends) = (marks(SHORTCUT[0]).count(), marks(SHORTCUT[1]).count());
            assert_eq!(begins, ends, "{}", script.name);
        }
    }

    #[test]
    fn a_shortcut_is_left_out_with_its_marks() {
        let part = "a\n  -- shortcut: for b\n  b\n  -- end of shortcut\nc\n-- shortcut: d\nd\n";
        assert_eq!(without_shortcuts(part), "a\nc\n");
    }

    #[test]
    fn joined_scripts_are_what_is_sent() {
        let all = all();
        assert_eq!(all.len(), ALL.len() + 1, "and the one around a user's script");
        for (joined, script) in all.iter().zip(ALL) {
            assert_eq!((joined.verb, &*joined.text), (script.name, script.source()));
            let parts: String = joined.parts.iter().map(|(_, part)| part.clone() + "\n").collect();
            assert_eq!(parts, joined.text, "{}", script.name);
        }
    }
}
