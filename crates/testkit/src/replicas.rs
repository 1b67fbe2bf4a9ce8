//! What a master and its replicas know of each other, the same in a cluster and under sentinels.

use crate::error::Error;
use crate::resp::Reply;
use crate::server::TestServer;
use crate::wait::wait_for;

impl TestServer {
    /// Whether it answers: it has not ended and is not frozen.
    pub(crate) fn is_awake(&self) -> bool {
        self.is_running() && !self.is_frozen()
    }

    /// The same error, with which server it is about and the end of its log.
    pub(crate) fn blame(&self, what: &str) -> Error {
        let log = self.log();
        let lines: Vec<&str> = log.lines().collect();
        let tail = lines[lines.len().saturating_sub(10)..].join("\n  ");
        Error::new(format!("{}: {what}; its log ends with:\n  {tail}", self.name()))
    }

    /// The address, for errors.
    pub(crate) fn name(&self) -> String {
        format!("127.0.0.1:{}", self.port())
    }

    /// Whether it is a master by its own account.
    pub(crate) fn is_master(&self) -> Result<bool, Error> {
        Ok(self.info("replication", "role")? == "master")
    }

    /// Fails unless this master streams to `count` replicas.
    pub(crate) fn check_online(&self, count: usize) -> Result<(), Error> {
        let info = self.admin(&["INFO", "replication"])?.text().unwrap_or_default();
        let online = info.matches("state=online").count();
        if online >= count {
            return Ok(());
        }
        Err(self.blame(&format!("{online} of {count} replicas are online")))
    }

    /// Fails unless this replica receives what its master writes.
    pub(crate) fn check_linked(&self) -> Result<(), Error> {
        let role = self.admin(&["ROLE"])?;
        let state = role.items().get(3).and_then(Reply::text);
        match state.as_deref() {
            Some("connected") => Ok(()),
            state => Err(self.blame(&format!(
                "the link to its master is {}",
                state.unwrap_or("unknown")
            ))),
        }
    }
}

/// Waits until each of `replicas` has everything that `master` has written up to now.
pub(crate) fn wait_until_copied<'a>(
    master: &TestServer,
    replicas: impl IntoIterator<Item = &'a TestServer>,
) -> Result<(), Error> {
    let offset = |server: &TestServer, field: &str| -> Result<i64, Error> {
        let text = server.info("replication", field)?;
        text.trim()
            .parse()
            .map_err(|_| Error::new(format!("not an offset: {text:?}")))
    };
    let written = offset(master, "master_repl_offset")?;
    for replica in replicas {
        wait_for("waiting for a replica to have all writes", || {
            let copied = offset(replica, "slave_repl_offset")?;
            replica.check_linked()?;
            if copied >= written {
                return Ok(());
            }
            Err(replica.blame(&format!("it is at {copied} of {written}")))
        })?;
    }
    Ok(())
}
