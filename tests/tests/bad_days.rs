//! Server and network faults.
