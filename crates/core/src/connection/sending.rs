//! How scripts are sent, depending on the commands that the server has.

use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::base::trace::warn;
use crate::types::server::Warning;

/// How scripts are sent.
#[derive(Debug, Default)]
pub(crate) struct Sending {
    mode: AtomicU8,
    /// What the server said when it was asked to run a script by its hash, if it does not.
    refusal: Mutex<Option<String>>,
}

/// By their hash; those that are missing are loaded.
const HASH: u8 = 0;
/// By their hash; those that are missing are sent as text, which the server keeps.
const UNLOADED: u8 = 1;
/// Always as text.
const TEXT: u8 = 2;

impl Sending {
    fn mode(&self) -> u8 {
        self.mode.load(Ordering::Relaxed)
    }

    /// The server loads scripts, or does not. Whether it runs them by their hash is found out by the next one.
    pub(crate) fn set_loading(&self, can_load: bool) {
        let mode = if can_load { HASH } else { UNLOADED };
        self.mode.store(mode, Ordering::Relaxed);
    }

    pub(crate) fn can_load(&self) -> bool {
        self.mode() == HASH
    }

    /// The server does not run scripts by their hash, and says so.
    pub(crate) fn set_text(&self, refusal: String) {
        self.mode.store(TEXT, Ordering::Relaxed);
        let mut noted = self.refusal.lock().unwrap_or_else(PoisonError::into_inner);
        let before = noted.replace(refusal);
        drop(noted); // a subscriber is foreign code
        if before.is_none() {
            warn!("the server has no EVALSHA: scripts are sent as text, which takes longer");
        }
    }

    pub(crate) fn is_text(&self) -> bool {
        self.mode() == TEXT
    }

    /// Why all scripts are sent as text, if they are.
    pub(crate) fn warning(&self) -> Option<Warning> {
        let refusal = self
            .refusal
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        refusal.map(|message| Warning::ScriptsAsText { message })
    }
}
