//! Scripts with one line changed on purpose, to see whether a test notices: `LATCHWORK_MUTANT=file:line:kind`.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::sync::OnceLock;

use latchwork_core::kit::{self, Joined};

/// Comparisons, and what each becomes.
const FLIPS: [(&str, &str); 6] = [
    (" <= ", " < "),
    (" >= ", " > "),
    (" < ", " <= "),
    (" > ", " >= "),
    (" == ", " ~= "),
    (" ~= ", " == "),
];

/// A mutant, if it is one, and the scripts with it.
type Made = (Option<String>, Rc<Vec<Joined>>);

thread_local! {
    static HERE: RefCell<Option<String>> = const { RefCell::new(None) };
    /// The scripts that were asked for last, and their mutant.
    static MADE: RefCell<Option<Made>> = const { RefCell::new(None) };
}

/// All scripts; one with the mutant that this thread or `LATCHWORK_MUTANT` names, if one does.
///
/// # Panics
/// There is no such mutant.
#[must_use]
pub fn scripts() -> Rc<Vec<Joined>> {
    let chosen = chosen();
    let known = MADE.with_borrow(|made| {
        made.as_ref()
            .filter(|(of, _)| *of == chosen)
            .map(|(_, all)| Rc::clone(all))
    });
    known.unwrap_or_else(|| {
        let all = match &chosen {
            Some(mutant) => with(mutant).expect("a mutant: file:line:kind"),
            None => kit::scripts(),
        };
        let all = Rc::new(all);
        MADE.set(Some((chosen, Rc::clone(&all))));
        all
    })
}

/// From now on the scripts of this thread have this mutant.
pub fn choose(mutant: &str) {
    HERE.set(Some(mutant.to_owned()));
}

/// Which one is chosen. Then a failure is what is hoped for, and not worth keeping or making smaller.
#[must_use]
pub fn chosen() -> Option<String> {
    HERE.with_borrow(Clone::clone)
        .or_else(|| std::env::var("LATCHWORK_MUTANT").ok())
}

/// Whether there is one.
#[must_use]
pub fn is_chosen() -> bool {
    chosen().is_some()
}

/// Whether this thread has chosen one, among many that it tries.
#[must_use]
pub fn is_one_of_many() -> bool {
    HERE.with_borrow(Option::is_some)
}

/// All scripts, with this mutant in those that have its line; `None`: there is no such mutant.
#[must_use]
pub fn with(mutant: &str) -> Option<Vec<Joined>> {
    let [file, line, kind] = mutant.split(':').collect::<Vec<_>>().try_into().ok()?;
    let at = line.parse::<usize>().ok()?.checked_sub(1)?;
    let mut scripts = kit::scripts();
    let mut found = false;
    for script in &mut scripts {
        let Some((_, part)) = script.parts.iter_mut().find(|(name, _)| *name == file) else {
            continue;
        };
        let mut lines: Vec<_> = part.lines().map(str::to_owned).collect();
        if kind == "skip" {
            skip(&mut lines, at)?;
        } else {
            let all = mutations(lines.get(at)?);
            lines[at] = all.into_iter().find(|(name, _)| name == kind)?.1;
        }
        *part = lines.join("\n") + "\n";
        script.text = script.parts.iter().map(|(_, part)| part.clone() + "\n").collect();
        script.general = script.general.as_ref().map(|_| without_shortcuts(&script.text));
        found = true;
    }
    found.then_some(scripts)
}

/// The parts of all scripts, each once.
fn parts() -> &'static BTreeMap<String, String> {
    static PARTS: OnceLock<BTreeMap<String, String>> = OnceLock::new();
    PARTS.get_or_init(|| {
        let parts = kit::scripts().into_iter().flat_map(|script| script.parts);
        parts.map(|(name, text)| (name.to_owned(), text)).collect()
    })
}

/// The line that a mutant changes, as it was.
#[must_use]
pub fn line(mutant: &str) -> Option<String> {
    let mut words = mutant.split(':');
    let (file, number) = (words.next()?, words.next()?.parse::<usize>().ok()?);
    let part = parts().get(file)?;
    part.lines().nth(number.checked_sub(1)?).map(str::to_owned)
}

/// Returns the line that a mutant makes, as `file | code`. It does not change when other lines move.
#[must_use]
pub fn shown(mutant: &str) -> Option<String> {
    let [file, _, kind] = mutant.split(':').collect::<Vec<_>>().try_into().ok()?;
    let line = line(mutant)?;
    let code = match kind {
        "drop" => format!("without: {}", code(&line).trim()),
        "skip" => format!("without the {}", line.trim().trim_start_matches("-- ")),
        _ => mutations(&line).into_iter().find(|(name, _)| name == kind)?.1,
    };
    Some(format!("{file} | {}", code.trim()))
}

/// Mutants that nobody can notice, as [`shown`], each with the reason.
///
/// # Panics
/// The list does not begin with a reason.
#[must_use]
pub fn explained() -> BTreeMap<String, String> {
    let mut reason = None;
    let mut all = BTreeMap::new();
    for line in include_str!("../tests/scripts/unnoticed.txt").lines() {
        match line.strip_prefix("# ") {
            Some(text) => reason = Some(text),
            None if line.is_empty() => {}
            None => drop(all.insert(line.to_owned(), reason.expect("a reason first").to_owned())),
        }
    }
    all
}

/// Leaves out of the list what is not in `made`: lines that the scripts no longer have.
///
/// # Panics
/// The list cannot be written.
pub fn forget(made: &BTreeSet<String>) {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/scripts/unnoticed.txt");
    let all = std::fs::read_to_string(path).expect("the list");
    let paragraphs = all.split("\n\n").filter_map(|paragraph| {
        let (reason, lines) = paragraph.split_once('\n')?;
        let left: Vec<_> = lines.lines().filter(|line| made.contains(*line)).collect();
        (!left.is_empty()).then(|| format!("{reason}\n{}", left.join("\n")))
    });
    std::fs::write(path, paragraphs.collect::<Vec<_>>().join("\n\n") + "\n").expect("it can be written");
}

/// The names of all mutants, of one that does not load too.
#[must_use]
pub fn all() -> Vec<String> {
    let mut names = Vec::new();
    for (file, part) in parts() {
        for (at, line) in part.lines().enumerate() {
            if line.trim_start().starts_with("-- shortcut: ") {
                names.push(format!("{file}:{}:skip", at + 1));
            }
            let kinds = mutations(line).into_iter();
            names.extend(kinds.map(|(kind, _)| format!("{file}:{}:{kind}", at + 1)));
        }
    }
    names
}

/// Empties a whole shortcut, which begins at this line.
fn skip(lines: &mut [String], at: usize) -> Option<()> {
    let begins = lines.get(at)?.trim_start().starts_with("-- shortcut: ");
    let count = lines[at..]
        .iter()
        .position(|line| line.trim_start() == "-- end of shortcut")?;
    lines[at..=at + count].fill(String::new());
    begins.then_some(())
}

fn without_shortcuts(text: &str) -> String {
    let mut inside = false;
    let mut rest = String::new();
    for line in text.lines() {
        let ends = line.trim_start() == "-- end of shortcut";
        inside = (inside || line.trim_start().starts_with("-- shortcut: ")) && !ends;
        if !(inside || ends) {
            rest.extend([line, "\n"]);
        }
    }
    rest
}

/// A line without its comment.
fn code(line: &str) -> &str {
    line.split("--").next().unwrap_or_default().trim_end()
}

/// A line without it, with one comparison turned, with one number changed by 1: kind and text.
fn mutations(line: &str) -> Vec<(String, String)> {
    let code = code(line);
    if code.trim().is_empty() {
        return Vec::new();
    }
    let mut all = vec![("drop".to_owned(), String::new())];
    let mut put = |kind: &str, from: usize, to: usize, by: &str| {
        all.push((format!("{kind}{from}"), [&code[..from], by, &code[to..]].concat()));
    };
    for (from, to) in FLIPS {
        for (at, _) in code.match_indices(from) {
            put("flip", at, at + from.len(), to);
        }
    }
    let bytes = code.as_bytes();
    let part_of_more = |byte: &u8| byte.is_ascii_alphanumeric() || b"_.%".contains(byte);
    let mut at = 0;
    while at < bytes.len() {
        let end = at
            + bytes[at..]
                .iter()
                .take_while(|byte| byte.is_ascii_digit())
                .count();
        let alone = (at == 0 || !part_of_more(&bytes[at - 1])) && !bytes.get(end).is_some_and(part_of_more);
        if let Ok(number) = code[at..end].parse::<u64>()
            && alone
        {
            put("plus", at, end, &(number + 1).to_string());
            put(
                "minus",
                at,
                end,
                &(number.wrapping_sub(1).cast_signed()).to_string(),
            );
        }
        at = end.max(at + 1);
    }
    all
}
