//! Ports that belong to one test process until it ends, however it ends.
//!
//! A socket that is bound and never listens keeps others away. On Linux a server can bind to the
//! same port beside it, because both allow it (`SO_REUSEADDR`). The kernel closes the socket with
//! the process.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::ops::Range;
use std::os::fd::OwnedFd;

use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, socket_with, sockopt};

use crate::error::Error;

/// Ports are taken from below the range that the system gives to outgoing connections: a port of
/// ours stays ours while its server is down. 6379 is somebody's real server and not in it.
const PORTS: Range<u16> = 10_000..32_000;
/// How far a node's bus port is above its port, by default and here.
const BUS: u16 = 10_000;
const ATTEMPTS: usize = 100;

/// A port that no other process of the testkit gets while this exists.
#[derive(Debug)]
pub(crate) struct Port {
    number: u16,
    /// Only Linux lets a server listen beside it.
    _held: Option<OwnedFd>,
}

impl Port {
    /// A free port.
    pub(crate) fn free() -> Result<Self, Error> {
        Self::choose(PORTS, Self::take)
    }

    /// A free port, and the one of its cluster bus.
    pub(crate) fn free_with_bus() -> Result<[Self; 2], Error> {
        Self::choose(PORTS.start..PORTS.end - BUS, |number| {
            Some([Self::take(number)?, Self::take(number + BUS)?])
        })
    }

    pub(crate) fn number(&self) -> u16 {
        self.number
    }

    fn choose<T>(range: Range<u16>, mut take: impl FnMut(u16) -> Option<T>) -> Result<T, Error> {
        let span = u64::from(range.end - range.start);
        for _ in 0..ATTEMPTS {
            let random = RandomState::new().build_hasher().finish();
            let Ok(offset) = u16::try_from(random % span) else {
                continue;
            };
            if let Some(taken) = take(range.start + offset) {
                return Ok(taken);
            }
        }
        Err(Error::new(format!(
            "no free port between {} and {}",
            range.start, range.end
        )))
    }

    /// Takes this port, unless anything is bound to it.
    fn take(number: u16) -> Option<Self> {
        let socket = socket_with(
            AddressFamily::INET,
            SocketType::STREAM,
            SocketFlags::CLOEXEC,
            None,
        )
        .ok()?;
        // First without, so that a port that another process holds in the same way is refused.
        bind(&socket, &SocketAddrV4::new(Ipv4Addr::LOCALHOST, number)).ok()?;
        sockopt::set_socket_reuseaddr(&socket, true).ok()?;
        Some(Self {
            number,
            _held: cfg!(target_os = "linux").then_some(socket),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use super::*;

    #[test]
    #[cfg(target_os = "linux")]
    fn a_port_is_nobody_elses_until_it_is_dropped() {
        let port = Port::free().unwrap();
        let number = port.number();
        assert!(Port::take(number).is_none(), "taken twice");
        assert!(
            TcpStream::connect(("127.0.0.1", number)).is_err(),
            "a reserved port answers"
        );
        let server = TcpListener::bind(("127.0.0.1", number)).unwrap();
        assert!(TcpStream::connect(("127.0.0.1", number)).is_ok());
        drop(server);
        drop(port);
        // A connection of this test may still linger on that port, so look at another one.
        let port = Port::free().unwrap();
        let number = port.number();
        drop(port);
        assert!(Port::take(number).is_some(), "never given back");
    }

    #[test]
    fn the_bus_of_a_node_has_a_port_as_well() {
        let [port, bus] = Port::free_with_bus().unwrap();
        assert_eq!(bus.number(), port.number() + BUS);
        assert!(PORTS.contains(&bus.number()));
    }
}
