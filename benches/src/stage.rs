//! A server of a work's own, on a core of its own, with a look into its statistics.

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

/// What scripts have cost the server so far.
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
        let info = self.info("commandstats")?;
        Ok(info
            .lines()
            .filter_map(script_line)
            .fold(Scripts::default(), |sum, of| Scripts {
                calls: sum.calls + of.calls,
                micros: sum.micros + of.micros,
            }))
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

/// Reads `cmdstat_evalsha:calls=2,usec=13,...`, and the same of `eval`.
fn script_line(line: &str) -> Option<Scripts> {
    let (name, values) = line.strip_prefix("cmdstat_")?.split_once(':')?;
    if !matches!(name, "evalsha" | "eval") {
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
        assert_eq!(script_line(line), Some(read));
        assert_eq!(script_line(&line.replace("evalsha", "get")), None);
        assert_eq!(script_line("# Commandstats"), None);
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
