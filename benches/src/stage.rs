//! A server of a work's own, on a core of its own, with a look into its statistics.

use std::time::Duration;

use latchwork_testkit::{Proxy, TestServer};

use crate::Result;

/// A server that nobody else uses. It ends with the stage.
#[derive(Debug)]
#[non_exhaustive]
pub struct Stage {
    /// The server itself.
    pub server: TestServer,
}

/// Prefixes of the commands that only scripts run.
const INSIDE: [&str; 10] = [
    "z", "time", "pttl", "pexpire", "publish", "pubsub", "get", "set", "del", "exists",
];

/// The commands that run scripts.
const SCRIPTS: [&str; 2] = ["evalsha", "eval"];
/// The server notes commands that take at least this long, µs.
const SLOW: i64 = 500;

/// What scripts, or other commands, have cost the server so far.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
#[non_exhaustive]
pub struct Scripts {
    /// How many ran.
    pub calls: u64,
    /// Their time, microseconds.
    pub micros: f64,
}

impl Scripts {
    /// What was added since `before`.
    #[must_use]
    pub fn since(self, before: Self) -> Self {
        Self {
            calls: self.calls - before.calls,
            micros: self.micros - before.micros,
        }
    }
}

impl Stage {
    /// Starts a server.
    ///
    /// # Errors
    /// There is none, or it does not start.
    pub fn start() -> Result<Self> {
        let server = TestServer::start()?;
        pin_server(&server);
        Ok(Self { server })
    }

    /// Where to connect to.
    pub fn url(&self) -> String {
        self.server.url()
    }

    /// A proxy in front of it, which counts requests at the socket.
    ///
    /// # Errors
    /// There is no port for it.
    pub fn proxy(&self) -> Result<Proxy> {
        Ok(Proxy::start(self.server.port())?)
    }

    /// What scripts have cost so far (`INFO commandstats`).
    ///
    /// # Errors
    /// The server does not answer.
    pub fn scripts(&self) -> Result<Scripts> {
        self.spent_on(&SCRIPTS)
    }

    /// What these commands have cost so far, in scripts and outside (`INFO commandstats`).
    ///
    /// # Errors
    /// The server does not answer.
    pub fn spent_on(&self, commands: &[&str]) -> Result<Scripts> {
        let info = self.info("commandstats")?;
        Ok(info
            .lines()
            .filter_map(|line| cost_line(line, commands))
            .fold(Scripts::default(), |sum, of| Scripts {
                calls: sum.calls + of.calls,
                micros: sum.micros + of.micros,
            }))
    }

    /// Forgets the scripts that were slow so far, and begins to note them (`SLOWLOG`).
    ///
    /// # Errors
    /// The server does not answer.
    pub fn note_slow_scripts(&self) -> Result<()> {
        let least = SLOW.to_string();
        for (option, value) in [
            ("slowlog-log-slower-than", least.as_str()),
            ("slowlog-max-len", "100000"),
        ] {
            self.server.admin(&["CONFIG", "SET", option, value])?;
        }
        self.server.admin(&["SLOWLOG", "RESET"])?;
        Ok(())
    }

    /// Returns how long the slowest script took since slow ones are noted, or 0.5 ms if none took
    /// longer.
    ///
    /// # Errors
    /// The server does not answer.
    pub fn slowest_script(&self) -> Result<Duration> {
        let log = self.server.admin(&["SLOWLOG", "GET", "100000"])?;
        let micros = log.items().iter().filter_map(|entry| {
            let [_, _, micros, command, ..] = entry.items() else {
                return None;
            };
            let name = command.items().first()?.text()?.to_lowercase();
            micros.int().filter(|_| SCRIPTS.contains(&name.as_str()))
        });
        let slowest = micros.max().unwrap_or(0).max(SLOW);
        Ok(Duration::from_micros(slowest.try_into()?))
    }

    /// How long the server's process has been working so far, microseconds (`INFO cpu`).
    ///
    /// # Errors
    /// The server does not answer.
    pub fn cpu_micros(&self) -> Result<f64> {
        let info = self.info("cpu")?;
        let seconds = |name: &str| -> Option<f64> {
            let line = info.lines().find_map(|line| line.strip_prefix(name))?;
            line.strip_prefix(':')?.trim().parse().ok()
        };
        match (seconds("used_cpu_user"), seconds("used_cpu_sys")) {
            (Some(user), Some(system)) => Ok((user + system) * 1e6),
            _ => Err("INFO cpu does not say what the server used".into()),
        }
    }

    /// Returns how long the server has been ready to run, but other processes had its core. Zero
    /// where that is not known: Linux only.
    pub fn waited(&self) -> Duration {
        let path = format!("/proc/{}/schedstat", self.server.pid());
        let text = std::fs::read_to_string(path).unwrap_or_default();
        let nanos = text.split_whitespace().nth(1);
        Duration::from_nanos(nanos.and_then(|nanos| nanos.parse().ok()).unwrap_or(0))
    }

    /// Returns the number of commands that ran inside scripts.
    ///
    /// # Errors
    /// The server does not answer.
    pub fn commands(&self) -> Result<u64> {
        let calls = self.server.command_calls()?.into_iter();
        let inside = calls.filter(|(name, _)| INSIDE.iter().any(|prefix| name.starts_with(prefix)));
        Ok(inside.map(|(_, calls)| calls).sum())
    }

    /// How often a command ran, in scripts too.
    ///
    /// # Errors
    /// The server does not answer.
    pub fn calls_of(&self, command: &str) -> Result<u64> {
        Ok(self.server.command_calls()?.get(command).copied().unwrap_or(0))
    }

    fn info(&self, section: &str) -> Result<String> {
        Ok(self.server.admin(&["INFO", section])?.text().unwrap_or_default())
    }
}

/// Reads `cmdstat_evalsha:calls=2,usec=13,...` if it is one of these commands.
fn cost_line(line: &str, commands: &[&str]) -> Option<Scripts> {
    let (name, values) = line.strip_prefix("cmdstat_")?.split_once(':')?;
    if !commands.contains(&name) {
        return None;
    }
    let value = |name: &str| {
        values
            .split(',')
            .find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='))
    };
    Some(Scripts {
        calls: value("calls")?.parse().ok()?,
        micros: value("usec")?.parse().ok()?,
    })
}

/// Where what runs, if that can be chosen: the server has the last core for itself, this process the others. Otherwise the
/// kernel moves them about, and a round measures that.
#[cfg(target_os = "linux")]
mod cores {
    use latchwork_testkit::TestServer;
    use rustix::process::Pid;
    use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

    /// The cores that this process was started with.
    fn all() -> Vec<usize> {
        static ALL: std::sync::OnceLock<Vec<usize>> = std::sync::OnceLock::new();
        let list = || {
            let set = sched_getaffinity(None).ok();
            (0..CpuSet::MAX_CPU)
                .filter(|&core| set.as_ref().is_some_and(|set| set.is_set(core)))
                .collect()
        };
        ALL.get_or_init(list).clone()
    }

    fn set_of(cores: &[usize]) -> CpuSet {
        let mut set = CpuSet::new();
        for &core in cores {
            set.set(core);
        }
        set
    }

    /// Leaves the last core to the server; threads started later inherit it. Says what came of it.
    pub(super) fn pin_this_process() -> String {
        let all = all();
        let Some((server, ours)) = all.split_last().filter(|(_, ours)| !ours.is_empty()) else {
            return "server and client share one core".to_owned();
        };
        match sched_setaffinity(None, &set_of(ours)) {
            Ok(()) => format!("server on core {server}, clients on {ours:?}"),
            Err(error) => format!("server and client share all cores ({error})"),
        }
    }

    pub(super) fn pin_server(server: &TestServer) {
        let all = all();
        if let (Some(last), Some(pid)) = (all.last().filter(|_| all.len() > 1), Pid::from_raw(server.pid())) {
            // If it is not to be, it runs anywhere, for the floor too.
            let _anywhere = sched_setaffinity(Some(pid), &set_of(&[*last])).is_err();
        }
    }
}

/// To be called before any other thread is started. Says where things run.
pub fn pin_this_process() -> String {
    #[cfg(target_os = "linux")]
    return cores::pin_this_process();
    #[cfg(not(target_os = "linux"))]
    return "server and client share all cores".to_owned();
}

fn pin_server(server: &TestServer) {
    #[cfg(target_os = "linux")]
    cores::pin_server(server);
    #[cfg(not(target_os = "linux"))]
    let _anywhere = server;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_scripts_cost() {
        let line = "cmdstat_evalsha:calls=12,usec=340,usec_per_call=28.33,rejected_calls=0,failed_calls=0";
        let read = Scripts {
            calls: 12,
            micros: 340.0,
        };
        assert_eq!(cost_line(line, &SCRIPTS), Some(read));
        assert_eq!(cost_line(line, &["get"]), None);
        assert_eq!(cost_line("# Commandstats", &SCRIPTS), None);
    }

    #[test]
    fn the_slowest_script_is_known() {
        let stage = Stage::start().unwrap();
        stage.note_slow_scripts().unwrap();
        let run = |loops: u32| {
            let script = format!("for i = 1, {loops} do local _ = i end");
            stage.server.admin(&["EVAL", &script, "0"]).unwrap();
            stage.slowest_script().unwrap()
        };
        assert_eq!(run(1), Duration::from_micros(500), "none is slow");
        let slowest = run(10_000_000);
        assert!(slowest > Duration::from_millis(2), "{slowest:?}");
        assert_eq!(run(1), slowest, "the later one is not slower");
        stage.note_slow_scripts().unwrap();
        assert_eq!(run(1), Duration::from_micros(500), "the slow one is forgotten");
    }

    #[test]
    fn the_server_says_what_it_spent() {
        let stage = Stage::start().unwrap();
        let before = stage.scripts().unwrap();
        for _ in 0..10 {
            stage
                .server
                .admin(&["EVAL", "for i = 1, 10000 do local _ = i end", "0"])
                .unwrap();
        }
        let spent = stage.scripts().unwrap().since(before);
        assert_eq!(spent.calls, 10);
        let inside = stage.commands().unwrap();
        let script = "redis.call('ZADD', 'k', 1, 'a') redis.call('PTTL', 'k')";
        stage.server.admin(&["EVAL", script, "1", "k"]).unwrap();
        assert_eq!(stage.commands().unwrap() - inside, 2, "and not the script itself");
        assert!(spent.micros > 0.0, "{spent:?}");
        assert!(stage.cpu_micros().unwrap() > 0.0);
    }
}
