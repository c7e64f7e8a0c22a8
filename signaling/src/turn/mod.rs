//! TURN (RFC 8656) without relay sockets, for clients whose network lets nothing but one TCP port out.
//!
//! A usual TURN server opens a socket for each allocation and sends wherever its client asks. This one has no such
//! sockets. The only peers that it permits are the media addresses of this server itself, and what a client sends there
//! is given to the media workers in memory. So there is no range of ports to open, and nobody reaches another machine
//! through it. The relayed address that a client is told exists nowhere: it names the allocation to the client, and the
//! media worker tells it back in answers to STUN checks.
//!
//! Nothing here does I/O or reads a clock. A connection gives what has come to its [`Session`], and writes what that
//! appends.
//!
//! | part | holds |
//! |---|---|
//! | `stun` | messages (RFC 8489) read and written |
//! | `frames` | messages and ChannelData in a stream of bytes |
//! | `nonce` | nonces of the server, which keeps none of them |
//! | `users` | participants that may allocate, their passwords and their allocations |
//! | `peers` | the permitted peers |
//! | `allocation` | permissions and channels of one allocation, with their times |
//! | `server` | the state that all connections share, and its counts |
//! | `session` | one connection: requests in, answers out |
//! | `client` | the other side, for `tertulia check` |

mod allocation;
mod client;
mod frames;
#[cfg(any(test, feature = "testing"))]
pub(crate) mod fuzz;
mod nonce;
mod peers;
mod server;
mod session;
#[cfg(test)]
mod session_tests;
mod stun;
#[cfg(test)]
mod testing;
mod users;

pub(crate) use client::{Client, Heard};
pub(crate) use frames::{Frame, Frames, Unreadable};
pub(crate) use peers::Peers;
pub(crate) use server::{Refusal, Turn, TurnCounts};
pub(crate) use session::{Session, Step};
pub(crate) use stun::{begins_message, is_binding_request};
pub(crate) use users::{Credentials, Member, Users};

/// Longest datagram of a client, in bytes, as for the relay.
pub(crate) const LONGEST: usize = 2_048;
