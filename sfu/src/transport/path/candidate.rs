//! The addresses at which clients are told to reach a worker.

use std::net::SocketAddr;

/// A host candidate of the server (RFC 8445 section 5.1.1.1). A client's checks of it make a [`Path`](super::Path).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Candidate {
    /// UDP at this address.
    Udp(SocketAddr),
    /// Connections that clients make to this address (RFC 6544, `passive`).
    Tcp(SocketAddr),
}
