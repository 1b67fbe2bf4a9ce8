//! Runs a server until its stdin ends, and prints its port, pid and folder: a server for trying
//! things by hand, and the victim of the test that a server dies with its parent.
//!
//! With the argument `cluster` or `sentinel` it runs one of these, and prints a line for each node.

use std::io::{self, Read, Write};

use latchwork_testkit::{Error, TestCluster, TestSentinel, TestServer};

fn main() -> Result<(), Error> {
    match std::env::args().nth(1).as_deref() {
        Some("cluster") => {
            let cluster = TestCluster::start(3, 1)?;
            serve(cluster.nodes().iter().map(|node| &**node))
        }
        Some("sentinel") => {
            let all = TestSentinel::start(1, 1, 3)?;
            serve(all.nodes().iter().chain(all.sentinels()))
        }
        _ => serve([&TestServer::start()?]),
    }
}

fn serve<'a>(servers: impl IntoIterator<Item = &'a TestServer>) -> Result<(), Error> {
    let mut stdout = io::stdout();
    for server in servers {
        let (port, pid, dir) = (server.port(), server.pid(), server.dir().display());
        writeln!(stdout, "{port} {pid} {dir}")?;
    }
    writeln!(stdout)?;
    stdout.flush()?;
    io::stdin().read_to_end(&mut Vec::new())?;
    Ok(())
}
