//! `probe.lua` around a script, and what it answers.

use std::collections::BTreeMap;

use latchwork_testkit::{Reply, RespClient};

use crate::bench::{Script, small_steps};

/// Where a branch of a shortcut begins: file, line and text.
pub(crate) type Branches = BTreeMap<i64, String>;

/// The members of a record, with their scores.
pub(crate) type Members = Vec<(String, f64)>;

/// What a run of a script came to.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Run {
    pub(crate) reply: Reply,
    pub(crate) members: Members,
    /// When the record ends, server's clock in ms; -1: there is none.
    pub(crate) life: i64,
    /// Channel and text; sorted.
    pub(crate) mail: Vec<String>,
}

/// What a request came to.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) hits: Vec<i64>,
    pub(crate) one: Run,
    /// The same request by another script, if there is one to compare with.
    pub(crate) other: Option<Run>,
    /// What the two came to once a tick had settled them, if something was over before.
    pub(crate) settled: Option<[Run; 2]>,
}

/// A script in a probe.
#[derive(Debug)]
pub(crate) struct Probe {
    pub(crate) hash: String,
    /// Of its shortcuts.
    pub(crate) branches: Branches,
}

impl Probe {
    /// Compares a script with itself without its shortcuts. A latch's steps are small.
    pub(crate) fn of_shortcuts(client: &mut RespClient, script: Script) -> Self {
        let (with, branches) = instrument(script);
        let other = function(&exact_lives(&small_steps(script, script.general(), false)));
        let tick = function(&exact_lives(&Script::Tick.general()));
        Self::load(client, &function(&exact_lives(&with)), &other, &tick, branches)
    }

    /// Compares a script with another text, if there is one.
    pub(crate) fn of(client: &mut RespClient, script: Script, other: Option<&str>) -> Self {
        let other = other.map_or_else(|| "nil".to_owned(), function);
        let tick = function(&Script::Tick.source());
        Self::load(
            client,
            &function(&script.source()),
            &other,
            &tick,
            Branches::new(),
        )
    }

    fn load(client: &mut RespClient, one: &str, other: &str, tick: &str, branches: Branches) -> Self {
        let parts = [("{ONE}", one), ("{OTHER}", other), ("{TICK}", tick)];
        let probe = parts
            .iter()
            .fold(include_str!("probe.lua").to_owned(), |text, (name, part)| {
                text.replace(name, part)
            });
        let hash = client.call(&["SCRIPT", "LOAD", &probe]).unwrap();
        let hash = hash.text().unwrap_or_else(|| panic!("{hash:?}"));
        Self { hash, branches }
    }
}

fn function(text: &str) -> String {
    format!("function(KEYS, ARGV)\n{text}\nend")
}

/// A script that sets lives as they are asked for, not an eighth longer: that is set at other moments with
/// shortcuts than without. Nobody can rely on the eighth, as another request may have been the last to set it.
fn exact_lives(text: &str) -> String {
    let eighths = text.split(" + math.floor(");
    let mut left = String::new();
    for (at, piece) in eighths.enumerate() {
        match piece.split_once(" / 8)") {
            Some((of, rest)) if at > 0 && !of.contains([' ', ')']) => left += rest,
            _ if at > 0 => left = left + " + math.floor(" + piece,
            _ => left += piece,
        }
    }
    left
}

/// A script that notes which branches of its shortcuts it takes, and which shortcuts it leaves at the end.
fn instrument(script: Script) -> (String, Branches) {
    let (mut text, mut branches, mut inside) = (String::new(), Branches::new(), false);
    let source = small_steps(script, script.source(), true);
    for (at, line) in source.lines().enumerate() {
        let (code, comment) = line.split_at(line.find("--").unwrap_or(line.len()));
        let code = code.trim_end();
        inside |= comment.starts_with("-- shortcut: ");
        let ends = comment == "-- end of shortcut";
        let begins = ["then", "else", "do"]
            .iter()
            .any(|word| code.trim_start() == *word || code.ends_with(&format!(" {word}")));
        text += code;
        if inside && (begins || ends) {
            text.extend([" hit(", &at.to_string(), ")"]);
            let line = if ends { "left at its end" } else { code.trim() };
            branches.insert(
                i64::try_from(at).unwrap(),
                format!("{script:?} {}: {line}", at + 1),
            );
        }
        inside &= !ends;
        text.push('\n');
    }
    (text, branches)
}

impl Run {
    fn read(reply: &Reply) -> Self {
        let [reply, members, life, mail] = reply.items() else {
            panic!("{reply:?}");
        };
        let texts: Vec<_> = members.items().iter().filter_map(Reply::text).collect();
        let pairs = texts.chunks_exact(2);
        let mail = mail.items().iter().filter_map(Reply::text);
        // Lines for one client are joined; which stand together is not what is compared.
        let lines = mail.flat_map(|text| {
            let (channel, lines) = text.split_once(' ').unwrap();
            let each = lines.split(';').map(|line| format!("{channel} {line}"));
            each.collect::<Vec<_>>()
        });
        let mut mail: Vec<_> = lines.collect();
        mail.sort();
        Self {
            reply: reply.clone(),
            members: pairs
                .map(|pair| (pair[0].clone(), pair[1].parse().unwrap()))
                .collect(),
            life: life.int().unwrap(),
            mail,
        }
    }
}

impl Run {
    /// What it is after another script; the messages are those of both.
    fn then(&self, next: &Reply) -> Self {
        let next = Self::read(next);
        let mut mail = [self.mail.clone(), next.mail].concat();
        mail.sort();
        let reply = self.reply.clone();
        Self { reply, mail, ..next }
    }
}

impl Ran {
    pub(crate) fn read(reply: &Reply) -> Self {
        let [hits, one, rest @ ..] = reply.items() else {
            panic!("{reply:?}");
        };
        let one = Run::read(one);
        let other = rest.first().map(|other| match other.items() {
            [reply] => Run {
                reply: reply.clone(),
                ..one.clone()
            },
            _ => Run::read(other),
        });
        let settled = match (rest, &other) {
            ([_, left, right], Some(other)) => Some([one.then(left), other.then(right)]),
            _ => None,
        };
        Self {
            hits: hits.items().iter().filter_map(Reply::int).collect(),
            one,
            other,
            settled,
        }
    }
}
