//! Finds the public functions that can fail in the source, and what their `# Errors` sections name.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// The kinds that a section names: itself, and together with those that it refers to.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Named {
    pub(crate) own: BTreeSet<String>,
    pub(crate) all: BTreeSet<String>,
}

/// What the source says.
#[derive(Debug)]
pub(crate) struct Sections {
    /// Every public function that can fail, as `Type::function`, with the text of its section.
    texts: BTreeMap<String, String>,
    /// All kinds.
    kinds: BTreeSet<String>,
    /// Those of the list "Every request".
    pub(crate) every_request: BTreeSet<String>,
}

/// The part of an intra-doc link that stands for the list "Every request".
const EVERY_REQUEST: &str = "ErrorKind#every-request";

/// What traits of ours say, and a type that implements them.
const IMPLEMENTORS: [(&str, &str); 2] = [
    ("Those of the lock that it is", "OwnedHandle"),
    ("Those of the guard that it is", "ReentrantMutexGuard"),
];

impl Sections {
    /// Reads the crates of the workspace.
    pub(crate) fn read() -> Self {
        let crates = Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates");
        let facade = text_of(&crates.join("latchwork/src/lib.rs"));
        let mut files = Vec::new();
        for name in ["core", "latch", "limiter", "mutex", "rwlock", "semaphore"] {
            sources(&crates.join(name).join("src"), &mut files);
        }
        let texts: Vec<String> = files.iter().map(|file| text_of(file)).collect();
        let kinds = text_of(&crates.join("core/src/types/error.rs"));
        Self::of(&facade, &texts, &kinds)
    }

    /// The same, of these texts: of the facade, the sources, and the file with the kinds.
    pub(crate) fn of(facade: &str, sources: &[String], kinds: &str) -> Self {
        let (root, futures) = facade.split_once("pub mod futures").unwrap_or((facade, ""));
        let public = Public {
            types: exported(root),
            // These two yield no `Result`.
            futures: &exported(futures) - &BTreeSet::from(["Lost", "Positions"].map(str::to_owned)),
        };
        let mut texts = BTreeMap::new();
        let expanded = expand(sources);
        for source in sources.iter().chain(&expanded) {
            public.scan(source, &mut texts);
        }
        let (docs, rest) = kinds.split_once("pub enum ErrorKind {").expect("the kinds");
        let body = rest.split("\n}").next().unwrap_or_default();
        let variants = body.lines().filter_map(|line| line.trim().strip_suffix(','));
        let list = docs.rsplit("# Every request").next().unwrap_or_default();
        let rows = list.lines().filter_map(|line| line.strip_prefix("/// | "));
        Self {
            texts,
            kinds: variants.map(str::to_owned).collect(),
            every_request: rows
                .filter_map(|row| quoted(row).next())
                .map(str::to_owned)
                .collect(),
        }
    }

    /// The names of the functions.
    pub(crate) fn functions(&self) -> BTreeSet<&str> {
        self.texts.keys().map(String::as_str).collect()
    }

    /// The kinds that the section of this function names.
    pub(crate) fn named(&self, function: &str) -> Named {
        self.named_within(function, 0)
    }

    fn named_within(&self, function: &str, depth: u32) -> Named {
        assert!(depth < 8, "the section of {function} refers to itself");
        let mut named = Named::default();
        let Some(text) = self.texts.get(function) else {
            return named;
        };
        for sentence in text.split(". ").map(str::trim) {
            let refers = ["As ", "Those of "]
                .iter()
                .any(|start| sentence.starts_with(start));
            for (label, target) in links(sentence).filter(|_| refers) {
                if target.ends_with(EVERY_REQUEST) {
                    named.all.extend(self.every_request.iter().cloned());
                    continue;
                }
                let target = if target.is_empty() { label } else { target };
                let others = self.named_within(&self.resolve(function, target), depth + 1);
                named.all.extend(others.all);
            }
            for (of, implementor) in IMPLEMENTORS {
                if sentence.starts_with(of) {
                    let method = function.rsplit("::").next().unwrap_or_default();
                    let other = format!("{implementor}::{method}");
                    named.all.extend(self.named_within(&other, depth + 1).all);
                }
            }
            let never = sentence.split_once("never ").map_or("", |(_, rest)| rest);
            let never: BTreeSet<_> = quoted(never.split([',', ';']).next().unwrap_or_default()).collect();
            named.all.retain(|kind| !never.contains(kind.as_str()));
            let kinds = quoted(sentence).filter(|word| self.kinds.contains(*word) && !never.contains(word));
            named.own.extend(kinds.map(str::to_owned));
        }
        named.all.extend(named.own.iter().cloned());
        named
    }

    /// The function that a link leads to.
    fn resolve(&self, from: &str, target: &str) -> String {
        let owner = from.rsplit_once("::").map_or(from, |(owner, _)| owner);
        let target = target.replacen("Self::", &format!("{owner}::"), 1);
        let parts: Vec<_> = target.split("::").collect();
        let known = |at: usize| self.texts.contains_key(&parts[at..].join("::"));
        let at = (0..parts.len()).find(|&at| known(at)).unwrap_or(0);
        parts[at..].join("::")
    }
}

/// The words in backticks.
fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

/// The links: what each shows, without backticks, and its target.
fn links(text: &str) -> impl Iterator<Item = (&str, &str)> {
    text.split('[').skip(1).filter_map(|rest| {
        let (label, rest) = rest.split_once(']')?;
        let target = rest.strip_prefix('(').and_then(|rest| rest.split(')').next());
        Some((label.trim_matches('`'), target.unwrap_or_default()))
    })
}

/// What users can name.
struct Public {
    types: BTreeSet<String>,
    futures: BTreeSet<String>,
}

impl Public {
    /// Whether these documents or this signature hide a function, or it cannot fail.
    fn can_fail(&self, signature: &str) -> bool {
        // What closures of its bounds return is not what it returns.
        let signature = signature.split(" where ").next().unwrap_or_default();
        let Some((_, returned)) = signature.rsplit_once("-> ") else {
            return false;
        };
        let first = returned.split(|char: char| !(char.is_alphanumeric() || char == '_' || char == ':'));
        let first = first.map(|path| path.rsplit("::").next().unwrap_or(path)).next();
        returned.contains("Result<") || first.is_some_and(|name| self.futures.contains(name))
    }

    /// The type or trait that the items below this line belong to, and whether all of them are
    /// public.
    fn owner(&self, line: &str) -> Option<(String, bool)> {
        if let Some(rest) = line.strip_prefix("pub trait ") {
            let name = identifier(rest);
            return self.types.contains(name).then(|| (name.to_owned(), true));
        }
        let header = line
            .strip_prefix("impl ")
            .or_else(|| line.strip_prefix("impl<G> "))?;
        if let Some(rest) = header.strip_prefix("dyn ") {
            let name = identifier(rest);
            return self.types.contains(name).then(|| (format!("dyn {name}"), false));
        }
        let (name, is_trait) = match header.split_once(" for ") {
            Some(("FromStr", rest)) => (identifier(rest), true),
            Some(_) => return None,
            None => (identifier(header), false),
        };
        // The engine has a `Guard` of its own, which users cannot name; theirs is a trait.
        let is_ours = self.types.contains(name) || self.futures.contains(name);
        (is_ours && name != "Guard").then(|| (name.to_owned(), is_trait))
    }

    /// Finds functions and sections in a source that rustfmt has formatted.
    fn scan(&self, source: &str, found: &mut BTreeMap<String, String>) {
        let mut owner: Option<(String, bool, usize)> = None;
        let mut docs: Vec<String> = Vec::new();
        let mut lines = source.lines();
        while let Some(line) = lines.next() {
            let (indent, code) = (line.len() - line.trim_start().len(), line.trim());
            if let Some(text) = documented(code) {
                docs.push(text);
                continue;
            } else if code.starts_with("#[") {
                docs.push(code.to_owned());
                continue;
            }
            let noted = std::mem::take(&mut docs);
            if owner
                .as_ref()
                .is_some_and(|(_, _, at)| code == "}" && indent == *at)
            {
                owner = None;
            }
            if let Some((name, all)) = self.owner(code) {
                owner = Some((name, all, indent));
            }
            let Some((name, all, at)) = &owner else { continue };
            let start = if *all {
                code
            } else {
                code.strip_prefix("pub ").unwrap_or_default()
            };
            let start = start.trim_start_matches("async ").trim_start_matches("const ");
            let Some(function) = start.strip_prefix("fn ").filter(|_| indent == at + 4) else {
                continue;
            };
            let mut signature = code.to_owned();
            while !signature.ends_with(['{', ';', '}']) {
                signature.push(' ');
                signature.push_str(lines.next().expect("the end of the signature").trim());
            }
            let hidden = noted.iter().any(|line| line == "#[doc(hidden)]");
            if !hidden && self.can_fail(&signature) {
                let section = noted.iter().skip_while(|line| *line != "# Errors").skip(1);
                let section = section.take_while(|line| !line.starts_with("# "));
                let text: Vec<_> = section.map(String::as_str).collect();
                found.insert(format!("{name}::{}", identifier(function)), text.join(" "));
            }
        }
    }
}

/// The text of a line of documentation: `/// text`, or `#[doc = ..]` with a text or `concat!`.
fn documented(code: &str) -> Option<String> {
    if let Some(text) = code.strip_prefix("///") {
        return Some(text.trim().to_owned());
    }
    let value = code.strip_prefix("#[doc = ")?.strip_suffix(']')?;
    let mut text = String::new();
    for part in value.split("stringify!(") {
        let (word, rest) = match part.split_once(')') {
            Some((word, rest)) if !word.contains('"') => (word, rest),
            _ => ("", part),
        };
        text.push_str(word);
        text.extend(rest.split('"').skip(1).step_by(2));
    }
    Some(text.trim().to_owned())
}

/// What a text begins with.
fn identifier(text: &str) -> &str {
    let end = text.find(|char: char| !(char.is_alphanumeric() || char == '_'));
    &text[..end.unwrap_or(text.len())]
}

/// The names in the `pub use` items of a text.
fn exported(text: &str) -> BTreeSet<String> {
    let items = text
        .split("pub use ")
        .skip(1)
        .filter_map(|rest| rest.split(';').next());
    let names = items.flat_map(|item| item.split(|char: char| !(char.is_alphanumeric() || char == '_')));
    names
        .filter(|name| name.starts_with(char::is_uppercase))
        .map(str::to_owned)
        .collect()
}

/// What macros of ours with public functions become: a text for each time that one is called.
fn expand(sources: &[String]) -> Vec<String> {
    let mut texts = Vec::new();
    for source in sources {
        for rest in source.split("macro_rules! ").skip(1) {
            let (name, rest) = rest.split_once(" {\n").expect("a macro");
            let rest = rest.split("\n}\n").next().unwrap_or(rest);
            let Some((pattern, body)) = rest.split_once("=> {\n") else {
                continue;
            };
            if !body.contains("pub fn ") && !body.contains("pub async fn ") {
                continue;
            }
            let pattern = pattern.rsplit(")*").next().unwrap_or(pattern);
            let variables = pattern.split('$').skip(1).map(identifier);
            let mut variables: Vec<_> = variables.enumerate().collect();
            // A name may be the beginning of another.
            variables.sort_by_key(|(_, name)| std::cmp::Reverse(name.len()));
            let start = format!("\n{name}!(");
            for call in sources.iter().flat_map(|source| source.split(&start).skip(1)) {
                let call = call.split(");\n").next().unwrap_or_default();
                let code = call.lines().filter(|line| !line.trim().starts_with("///"));
                let code = code.collect::<Vec<_>>().join(" ").replace("->", ",");
                let values: Vec<_> = code.split(',').map(|value| value.trim().to_owned()).collect();
                let mut text = body.replace("$crate::", "");
                for (at, variable) in &variables {
                    text = text.replace(&format!("${variable}"), values.get(*at).map_or("", |it| it));
                }
                texts.push(text);
            }
        }
    }
    texts
}

fn text_of(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The Rust files below a folder.
fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            found.push(path);
        }
    }
}

/// A facade, a source and kinds: what is found in them, and what is not.
#[test]
fn functions_and_kinds_are_found_in_text() {
    let facade = "pub use a::{Lock, Side};\npub mod futures {\n    pub use a::{Waits, Lost};\n}\n";
    let source = "\
impl Lock {
    /// # Errors
    /// Those of [every request](crate::ErrorKind#every-request). `Full` at once.
    ///
    /// # Cancel safety
    /// `Late` means nothing here.
    pub async fn lock(&self) -> Result<()> {
    }

    /// # Errors
    /// As [`lock`](Self::lock), but never `Full`; `Late` sooner.
    pub fn try_lock(&self) -> Waits {
    }

    #[doc(hidden)]
    pub fn hidden(&self) -> Result<()> {
    }

    fn private(&self) -> Result<()> {
    }

    pub fn lost(&self) -> Lost {
    }
}
macro_rules! side {
    ($type:ident, $other:ident) => {
        impl $type {
            /// # Errors
            #[doc = concat!(\"As [`Lock::\", stringify!($other), \"`].\")]
            pub fn $other(&self) -> Result<()> {
            }
        }
    };
}

side!(Side, lock);
impl Engine {
    pub fn not_public(&self) -> Result<()> {
    }
}
";
    let kinds = "\
/// # Every request
///
/// | kind | what |
/// |---|---|
/// | [`Gone`](Self::Gone) | as `Late` |
pub enum ErrorKind {
    Gone,
    Full,
    Late,
}
";
    let sections = Sections::of(facade, &[source.to_owned()], kinds);
    let names = ["Lock::lock", "Lock::try_lock", "Side::lock"];
    assert_eq!(sections.functions(), BTreeSet::from(names), "functions");
    let found = names.map(|name| {
        let Named { own, all } = sections.named(name);
        [own, all].map(|kinds| kinds.into_iter().collect::<Vec<_>>().join(" "))
    });
    let expected = [["Full", "Full Gone"], ["Late", "Gone Late"], ["", "Full Gone"]];
    assert_eq!(
        found,
        expected.map(|of| of.map(str::to_owned)),
        "its own kinds, and all"
    );
}
