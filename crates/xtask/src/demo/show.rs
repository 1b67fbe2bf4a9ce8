//! What can be seen while the demo runs: a bar on a terminal, a line now and then elsewhere, nothing extra for JSON.

use std::cell::Cell;
use std::io::{self, IsTerminal};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

use super::{LEASE, Options};

/// How often a line is printed where there is no bar.
const LINE_EVERY: Duration = Duration::from_secs(2);

#[derive(Debug)]
pub(super) struct Show {
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    Bar(ProgressBar),
    /// With the time of the next line.
    Lines(Cell<Duration>),
    Silent,
}

impl Show {
    pub(super) fn new(options: &Options, server: &str) -> Self {
        let terminal = io::stderr().is_terminal();
        if options.json {
            let kind = if terminal { bar(options) } else { Kind::Silent };
            return Self { kind };
        }
        let lock = if options.lock {
            format!("one mutex, lease {} s", LEASE.as_secs())
        } else {
            "no lock".to_owned()
        };
        let Options { workers, tasks, .. } = options;
        println!("{server}, {workers} processes x {tasks} tasks, {lock}");
        let kind = if terminal && io::stdout().is_terminal() {
            bar(options)
        } else {
            Kind::Lines(Cell::new(LINE_EVERY))
        };
        Self { kind }
    }

    /// How far it is.
    pub(super) fn progress(&self, elapsed: Duration, rounds: u64) {
        match &self.kind {
            Kind::Bar(bar) => {
                bar.set_position(u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX));
                bar.set_message(format!("{rounds} rounds"));
            }
            Kind::Lines(next) if elapsed >= next.get() => {
                println!("{:>4} s  {rounds} rounds", elapsed.as_secs());
                next.set(next.get() + LINE_EVERY);
            }
            Kind::Lines(_) | Kind::Silent => {}
        }
    }

    /// Something happened.
    pub(super) fn event(&self, text: &str) {
        match &self.kind {
            Kind::Bar(bar) => bar.println(format!("        {text}")),
            Kind::Lines(_) => println!("        {text}"),
            Kind::Silent => {}
        }
    }

    pub(super) fn close(&self) {
        if let Kind::Bar(bar) = &self.kind {
            bar.finish_and_clear();
        }
    }
}

fn bar(options: &Options) -> Kind {
    let bar = ProgressBar::new(options.seconds * 1000);
    let style = ProgressStyle::with_template("{elapsed:>6}  {bar:40}  {msg}");
    Kind::Bar(bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar())))
}
