//! Runs a server until its stdin ends, and prints its port, pid and folder: a server for trying things by hand, and
//! the victim of the test that a server dies with its parent.

use std::io::{self, Read, Write};

use latchwork_testkit::{Error, TestServer};

fn main() -> Result<(), Error> {
    let server = TestServer::start()?;
    let mut stdout = io::stdout();
    writeln!(
        stdout,
        "{} {} {}",
        server.port(),
        server.pid(),
        server.dir().display()
    )?;
    stdout.flush()?;
    io::stdin().read_to_end(&mut Vec::new())?;
    drop(server);
    Ok(())
}
