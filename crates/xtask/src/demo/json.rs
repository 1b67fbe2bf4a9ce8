//! The verdict as JSON.

use std::fmt::Write;
use std::time::Duration;

use super::play::RECOVERY_BOUND;
use super::report::Facts;

impl Facts {
    /// The same as one line of JSON; times in milliseconds.
    pub(super) fn json(&self) -> String {
        let mut fields = vec![
            ("server", text(&self.server)),
            ("lock", self.lock.to_string()),
            ("ok", self.problems().is_empty().to_string()),
            ("elapsed_ms", millis(self.elapsed)),
            ("expected", self.expected.to_string()),
            ("found", self.found.to_string()),
        ];
        if self.lock {
            fields.extend([
                ("violations", self.violations.len().to_string()),
                ("tokens", self.sections.to_string()),
                ("tokens_not_rising", self.falls.to_string()),
                ("recovery_ms", or_null(self.recovery.map(millis))),
                ("recovery_bound_ms", millis(RECOVERY_BOUND)),
                ("acquisitions_per_second", self.per_second().to_string()),
                ("longest_wait_ms", millis(self.longest_wait)),
                ("longest_wait_undisturbed_ms", millis(self.longest_undisturbed)),
                ("commands_per_acquisition", or_null(self.commands())),
                ("left_behind", texts(&self.left)),
                ("troubles", texts(&self.troubles)),
            ]);
        } else {
            let lost = self.expected.saturating_sub(self.found);
            fields.extend([
                ("lost_updates", lost.to_string()),
                ("overlaps", self.overlaps.to_string()),
                ("rounds_per_second", self.per_second().to_string()),
            ]);
        }
        fields.push(("problems", texts(&self.problems())));
        let fields: Vec<String> = fields
            .iter()
            .map(|(name, value)| format!("\"{name}\": {value}"))
            .collect();
        format!("{{{}}}", fields.join(", "))
    }
}

fn millis(time: Duration) -> String {
    time.as_millis().to_string()
}

fn or_null(value: Option<String>) -> String {
    value.unwrap_or_else(|| "null".to_owned())
}

fn texts(items: &[String]) -> String {
    let items: Vec<String> = items.iter().map(|item| text(item)).collect();
    format!("[{}]", items.join(", "))
}

/// A JSON string.
fn text(plain: &str) -> String {
    let mut quoted = String::from('"');
    for letter in plain.chars() {
        match letter {
            '"' | '\\' => quoted.extend(['\\', letter]),
            letter if letter < ' ' => {
                // Writing to a `String` cannot fail.
                let _infallible = write!(quoted, "\\u{:04x}", u32::from(letter));
            }
            letter => quoted.push(letter),
        }
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::report::tests::good;

    #[test]
    fn json_is_json() {
        assert_eq!(text("a \"b\"\\\n"), "\"a \\\"b\\\"\\\\\\u000a\"");
        let json = good().json();
        assert!(json.starts_with("{\"server\": \"Redis 7.0.15\", \"lock\": true, \"ok\": true"));
        assert!(json.contains("\"recovery_ms\": 1876"), "{json}");
        assert!(json.contains("\"problems\": []}"), "{json}");
    }
}
