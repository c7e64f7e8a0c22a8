//! Lean bots: thousands on a machine, so that the server is what a run measures.
//!
//! Each has its own WebSocket, ICE agent, DTLS handshake and SRTP keys, as a browser has. What they
//! share is what costs: a few I/O threads, each with many sockets, receive in batches and
//! authenticate, check and time every packet.

mod fleet;

pub use fleet::{WireConfig, WireFleet};
