//! What tests ask a server or tell it, besides starting and killing it.

use std::collections::BTreeMap;
use std::sync::PoisonError;

use crate::builder::REPLICA_USER;
use crate::error::Error;
use crate::resp::Reply;
use crate::server::TestServer;

impl TestServer {
    /// Sends one command on a connection of the testkit's own, which is opened again when it was closed.
    ///
    /// # Errors
    /// The server replies with an error, is down, or does not answer within 10 s.
    pub fn admin<A: AsRef<[u8]>>(&self, args: &[A]) -> Result<Reply, Error> {
        let mut cached = self.client.lock().unwrap_or_else(PoisonError::into_inner);
        let mut client = match cached.take() {
            Some(client) if !client.is_closed() => client,
            _ => self.connect()?,
        };
        client.send(args)?;
        let reply = client.receive()?;
        *cached = Some(client); // only after a whole reply: the next one must not read the rest of this one
        drop(cached);
        match reply {
            Reply::Error(text) => Err(Error::new(text)),
            reply => Ok(reply),
        }
    }

    /// `SCRIPT FLUSH`: the next EVALSHA gets NOSCRIPT.
    ///
    /// # Errors
    /// As [`admin`](Self::admin).
    pub fn flush_scripts(&self) -> Result<(), Error> {
        self.admin(&["SCRIPT", "FLUSH"]).map(drop)
    }

    /// Closes every subscribed connection and returns how many there were.
    ///
    /// # Errors
    /// As [`admin`](Self::admin).
    pub fn kill_pubsub_clients(&self) -> Result<i64, Error> {
        self.kill_clients("pubsub")
    }

    /// Closes every connection that is not subscribed, except the testkit's own, and returns how many there were.
    ///
    /// # Errors
    /// As [`admin`](Self::admin).
    pub fn kill_normal_clients(&self) -> Result<i64, Error> {
        self.kill_clients("normal")
    }

    /// Cuts off its replicas, which stay without its writes until
    /// [`resume_replication`](Self::resume_replication): what it acknowledges from now on is lost
    /// when it dies. Only for servers of a [`TestCluster`](crate::TestCluster) or
    /// [`TestSentinel`](crate::TestSentinel).
    ///
    /// Sentinels promote no replica that has been cut off for long (ten times `down_after`, 12 s by
    /// default).
    ///
    /// # Errors
    /// As [`admin`](Self::admin).
    pub fn cut_replication(&self) -> Result<(), Error> {
        self.admin(&["ACL", "SETUSER", REPLICA_USER, "off"])?;
        self.kill_clients("replica").map(drop)
    }

    /// Ends [`cut_replication`](Self::cut_replication). Replicas come back within about a second.
    ///
    /// # Errors
    /// As [`admin`](Self::admin).
    pub fn resume_replication(&self) -> Result<(), Error> {
        self.admin(&["ACL", "SETUSER", REPLICA_USER, "on"]).map(drop)
    }

    /// One field of `INFO`, as in `server.info("replication", "master_repl_offset")`.
    ///
    /// # Errors
    /// As [`admin`](Self::admin), or there is no such field.
    pub fn info(&self, section: &str, field: &str) -> Result<String, Error> {
        let info = self.admin(&["INFO", section])?.text().unwrap_or_default();
        let mut pairs = info.lines().filter_map(|line| line.split_once(':'));
        pairs
            .find(|(name, _)| *name == field)
            .map(|(_, value)| value.to_owned())
            .ok_or_else(|| Error::new(format!("INFO {section} has no {field}")))
    }

    fn kill_clients(&self, kind: &str) -> Result<i64, Error> {
        let reply = self.admin(&["CLIENT", "KILL", "TYPE", kind])?;
        reply
            .int()
            .ok_or_else(|| Error::new(format!("CLIENT KILL replied {reply:?}")))
    }

    /// How often each command ran since [`reset_stats`](Self::reset_stats), by lower-case name, `client|list` for a
    /// subcommand (7.0 and later). Commands of scripts are in it, and the testkit's own.
    ///
    /// # Errors
    /// As [`admin`](Self::admin).
    pub fn command_calls(&self) -> Result<BTreeMap<String, u64>, Error> {
        let info = self.admin(&["INFO", "commandstats"])?.text().unwrap_or_default();
        Ok(info.lines().filter_map(parse_command_calls).collect())
    }

    /// `CONFIG RESETSTAT`.
    ///
    /// # Errors
    /// As [`admin`](Self::admin).
    pub fn reset_stats(&self) -> Result<(), Error> {
        self.admin(&["CONFIG", "RESETSTAT"]).map(drop)
    }

    /// Every key that starts with `prefix`, sorted.
    ///
    /// # Errors
    /// As [`admin`](Self::admin).
    pub fn keys(&self, prefix: &str) -> Result<Vec<String>, Error> {
        let mut keys = Vec::new();
        let mut cursor = "0".to_owned();
        loop {
            let reply = self.admin(&["SCAN", &cursor, "COUNT", "1000"])?;
            let [next, page] = reply.items() else {
                return Err(Error::new(format!("SCAN replied {reply:?}")));
            };
            keys.extend(
                page.items()
                    .iter()
                    .filter_map(Reply::text)
                    .filter(|key| key.starts_with(prefix)),
            );
            cursor = next.text().unwrap_or_default();
            if cursor == "0" {
                break;
            }
        }
        keys.sort();
        keys.dedup(); // SCAN may name a key twice
        Ok(keys)
    }

    /// The keys that start with `prefix` and would live forever, each with its type. After a test: none.
    ///
    /// # Errors
    /// As [`admin`](Self::admin).
    pub fn leftovers(&self, prefix: &str) -> Result<Vec<String>, Error> {
        let mut immortal = Vec::new();
        for key in self.keys(prefix)? {
            if self.admin(&["PTTL", &key])? == Reply::Int(-1) {
                let kind = self.admin(&["TYPE", &key])?.text().unwrap_or_default();
                immortal.push(format!("{key} ({kind}) has no TTL"));
            }
        }
        Ok(immortal)
    }

    /// The members of a sorted set with their scores as the server prints them, lowest first.
    ///
    /// # Errors
    /// As [`admin`](Self::admin).
    pub fn dump_zset(&self, key: &str) -> Result<Vec<(String, String)>, Error> {
        let reply = self.admin(&["ZRANGE", key, "0", "-1", "WITHSCORES"])?;
        let text = |reply: &Reply| reply.text().unwrap_or_default();
        Ok(reply
            .items()
            .chunks_exact(2)
            .map(|pair| (text(&pair[0]), text(&pair[1])))
            .collect())
    }
}

/// Reads `cmdstat_get:calls=2,usec=...`.
fn parse_command_calls(line: &str) -> Option<(String, u64)> {
    let (name, values) = line.strip_prefix("cmdstat_")?.split_once(":calls=")?;
    Some((name.to_owned(), values.split(',').next()?.parse().ok()?))
}
