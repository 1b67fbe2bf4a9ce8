//! Growing pauses with jitter.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

/// The pauses between tries of something that keeps failing.
#[derive(Debug)]
pub(crate) struct Backoff {
    range: (Duration, Duration),
    next: Duration,
}

impl Backoff {
    pub(crate) const fn new(range: (Duration, Duration)) -> Self {
        Self { range, next: range.0 }
    }

    pub(crate) const fn reset(&mut self) {
        self.next = self.range.0;
    }

    /// Between half and all of a pause that doubles up to the longest.
    pub(crate) fn next(&mut self) -> Duration {
        let pause = self.next;
        self.next = (pause * 2).min(self.range.1);
        pause / 2 + jitter(pause / 2)
    }
}

/// A random time below `most`. Spreads load; nothing depends on its quality.
pub(crate) fn jitter(most: Duration) -> Duration {
    let random = RandomState::new().hash_one(()) % 1024;
    most * u32::try_from(random).unwrap_or(0) / 1024
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grows_to_its_longest_and_starts_again() {
        let mut backoff = Backoff::new((Duration::from_millis(10), Duration::from_millis(40)));
        for most in [10, 20, 40, 40] {
            let pause = backoff.next().as_millis();
            assert!((most / 2..=most).contains(&pause), "{pause} of {most}");
        }
        backoff.reset();
        assert!(backoff.next() <= Duration::from_millis(10), "from the start");
    }
}
