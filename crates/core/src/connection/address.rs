//! Where the nodes of a cluster are, as they say.

use std::fmt;
use std::sync::Arc;

use redis::Value;

use crate::wire::slot::SLOTS;

/// A node's address, as a node announces it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Address {
    /// Empty: that of the node that was asked.
    pub(crate) host: String,
    pub(crate) port: u16,
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

impl Address {
    /// Reads `host:port`, where the host may be empty, or an IPv6 address without brackets.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (host, port) = text.rsplit_once(':')?;
        Some(Self::new(host, port.parse().ok()?))
    }

    /// Nodes that do not know their host say nothing, or `?`.
    fn new(host: &str, port: u16) -> Self {
        let host = if host == "?" { "" } else { host };
        Self {
            host: host.to_owned(),
            port,
        }
    }

    /// The same with the host of the node that announced it, if it named none.
    pub(crate) fn or_at(mut self, asked: &str) -> Self {
        if self.host.is_empty() {
            asked.clone_into(&mut self.host);
        }
        self
    }
}

/// The program's word on where a node is that announces an address.
#[derive(Clone)]
pub(crate) struct AddressMap(Arc<MapFn>);

type MapFn = dyn Fn(&str, u16) -> (String, u16) + Send + Sync;

impl AddressMap {
    pub(crate) fn new(map: impl Fn(&str, u16) -> (String, u16) + Send + Sync + 'static) -> Self {
        Self(Arc::new(map))
    }

    /// Returns where the node is.
    pub(crate) fn place(&self, announced: &Address) -> Address {
        let (host, port) = (self.0)(&announced.host, announced.port);
        Address { host, port }
    }
}

impl Default for AddressMap {
    /// Nodes are where they say.
    fn default() -> Self {
        Self::new(|host, port| (host.to_owned(), port))
    }
}

impl fmt::Debug for AddressMap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AddressMap")
    }
}

/// Slots that one master has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Slots {
    pub(crate) first: u16,
    pub(crate) last: u16,
    pub(crate) master: Address,
    pub(crate) replicas: Vec<Address>,
}

/// What a node says about its cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct View {
    /// Rises with each failover, and with most moves of slots. The view with the highest one is the
    /// newest.
    pub(crate) epoch: u64,
    pub(crate) slots: Vec<Slots>,
}

impl View {
    /// Reads the answers to `CLUSTER SLOTS` and `CLUSTER INFO`. `None`: they are not understood.
    pub(crate) fn read(slots: &Value, info: &Value) -> Option<Self> {
        let Value::Array(ranges) = slots else { return None };
        Some(Self {
            epoch: epoch(info),
            slots: ranges.iter().map(range).collect::<Option<_>>()?,
        })
    }
}

/// A server that does not say has none.
fn epoch(info: &Value) -> u64 {
    let text = text(info).unwrap_or_default();
    let mut lines = text.lines();
    let field = lines.find_map(|line| line.strip_prefix("cluster_current_epoch:"));
    field.and_then(|epoch| epoch.trim().parse().ok()).unwrap_or(0)
}

/// `[first, last, [host, port, …], …]`, the master first.
fn range(value: &Value) -> Option<Slots> {
    let Value::Array(parts) = value else { return None };
    let [Value::Int(first), Value::Int(last), master, replicas @ ..] = &parts[..] else {
        return None;
    };
    let slot = |number: i64| u16::try_from(number).ok().filter(|&slot| slot < SLOTS);
    Some(Slots {
        first: slot(*first)?,
        last: slot(*last)?,
        master: node(master)?,
        replicas: replicas.iter().filter_map(node).collect(),
    })
}

fn node(value: &Value) -> Option<Address> {
    let Value::Array(parts) = value else { return None };
    let [host, Value::Int(port), ..] = &parts[..] else {
        return None;
    };
    let host = match host {
        Value::Nil => String::new(),
        host => text(host)?,
    };
    Some(Address::new(&host, u16::try_from(*port).ok()?))
}

fn text(value: &Value) -> Option<String> {
    match value {
        Value::BulkString(bytes) => String::from_utf8(bytes.clone()).ok(),
        Value::SimpleString(text) | Value::VerbatimString { text, .. } => Some(text.clone()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bulk(text: &str) -> Value {
        Value::BulkString(text.as_bytes().to_vec())
    }

    fn at(host: Value, port: i64) -> Value {
        Value::Array(vec![host, Value::Int(port), bulk("id"), Value::Array(vec![])])
    }

    #[test]
    fn an_address_ends_with_its_port() {
        let parsed = |text| Address::parse(text).map(|it| (it.host, it.port));
        assert_eq!(parsed("10.0.0.1:6379"), Some(("10.0.0.1".into(), 6379)));
        assert_eq!(parsed("::1:7000"), Some(("::1".into(), 7000)), "of six");
        assert_eq!(parsed(":7000"), Some((String::new(), 7000)), "an unknown host");
        assert_eq!(parsed("?:7000"), Some((String::new(), 7000)), "the same");
        assert_eq!(parsed("nothing"), None);
        assert_eq!(parsed("a:b"), None);
    }

    #[test]
    fn an_unknown_host_is_that_of_the_node_that_was_asked() {
        let address = Address::new("?", 7000).or_at("10.0.0.9");
        assert_eq!(address.to_string(), "10.0.0.9:7000");
        let address = Address::new("b", 7000).or_at("10.0.0.9");
        assert_eq!(address.to_string(), "b:7000", "known");
    }

    #[test]
    fn a_view_has_the_masters_of_all_slots_and_their_replicas() {
        let ranges = Value::Array(vec![
            Value::Array(vec![
                Value::Int(0),
                Value::Int(8191),
                at(bulk("a"), 1),
                at(Value::Nil, 2),
            ]),
            Value::Array(vec![Value::Int(8192), Value::Int(16383), at(bulk("?"), 3)]),
        ]);
        let info = bulk("cluster_state:ok\r\ncluster_current_epoch:7\r\n");
        let view = View::read(&ranges, &info).expect("understood");
        assert_eq!(view.epoch, 7);
        let expected = Slots {
            first: 0,
            last: 8191,
            master: Address::new("a", 1),
            replicas: vec![Address::new("", 2)],
        };
        assert_eq!(view.slots[0], expected);
        assert_eq!(view.slots[1].master, Address::new("", 3), "it does not say");
    }

    #[test]
    fn what_is_not_understood_is_no_view() {
        let wrong = [
            Value::Nil,
            Value::Array(vec![Value::Int(1)]),
            Value::Array(vec![Value::Array(vec![Value::Int(0), Value::Int(1)])]),
            Value::Array(vec![Value::Array(vec![
                Value::Int(0),
                Value::Int(16384),
                at(bulk("a"), 1),
            ])]),
        ];
        for value in wrong {
            assert_eq!(View::read(&value, &Value::Nil), None, "{value:?}");
        }
    }
}
