//! `cargo xtask scripts`: the Lua scripts as they are sent to servers, for a linter.

use std::fs;
use std::path::Path;

use latchwork_core::kit::{Joined, scripts};

use crate::Failure;

/// Writes every script into a file of its own in `folder`.
pub(crate) fn run(folder: &Path) -> Result<(), Failure> {
    let failed = |error: std::io::Error| Failure::Other(format!("{}: {error}", folder.display()));
    fs::create_dir_all(folder).map_err(failed)?;
    let scripts = scripts();
    for script in &scripts {
        let path = folder.join(script.verb).with_extension("lua");
        fs::write(path, checkable(script)).map_err(failed)?;
    }
    println!("{} scripts in {}", scripts.len(), folder.display());
    Ok(())
}

/// The text of a script, with what a linter has to let pass in its parts.
fn checkable(script: &Joined) -> String {
    let mut text = String::new();
    let many = script.verb.ends_with("_many");
    for (file, part) in &script.parts {
        let own = ["_fast.lua", "_slow.lua", "_first.lua", "_last.lua"];
        let verb = file.trim_end_matches(".lua");
        let shared = verb != script.verb && !own.iter().any(|end| file.ends_with(end));
        if shared {
            // None of the scripts needs all of it, and its parameters may be called like a script's locals.
            text.push_str("-- luacheck: push ignore 211 231 241 43.\n");
        } else if many && file.ends_with("_fast.lua") {
            text.push_str("-- luacheck: push ignore 211\n"); // what only the slow path needs
        }
        text.push_str(part);
        if shared || many && file.ends_with("_fast.lua") {
            text.push_str("-- luacheck: pop\n");
        }
    }
    text
}
