//! Lean bots: thousands on a machine, so that a run measures the server.
//!
//! Each has its own WebSocket, ICE agent, DTLS handshake and SRTP keys, like a browser, and answers like one: receiver
//! reports, transport-wide feedback, NACK, keyframe requests. Bots share the costly part: a few I/O threads, each with
//! many sockets, receive in batches and authenticate, check and time every packet.
//!
//! - `fleet` is the entry; `media` is one bot's end towards its control plane, which is any [`bot`](crate::bot)'s.
//! - `carrier` takes the datagrams of a bot that does not use UDP over TCP or TLS.
//! - `thread` is an I/O thread with its `socket`s and `timer`; the only file with system calls is
//!   `socket`.
//! - `session` is one bot's media plane, without sockets and clocks: `offer`, `candidates`, `search`, `ice`,
//!   `dtls`, `srtp`.
//! - `publisher` and its `feed`s send; `receiver` and `feedback` receive, with `receive`;
//!   `speech` says how loud a bot is.
//! - The client's parts are public for the peer that `tests/attack` attacks a server with.
//!
//! # Checked contents
//!
//! `decrypt_share` of the streams are decrypted and authenticated packet by packet. Of the others only deciding packets
//! are: the first packet of each video frame (it shows keyframes and picture sizes), retransmissions, and everything
//! while a picture is incomplete or not yet decodable. The rest is counted by header: order, loss, delay and
//! completeness of frames are known for every packet of every stream. `Observed::decrypted` counts the decrypted
//! packets. The bytes of a packet that was not decrypted include its padding, which only its content tells.
//!
//! `oracle_share` of the streams are shown to the relay's oracle whole.
//!
//! # Delay and jitter
//!
//! They are as [`measure`](crate::measure) describes, with the kernel's receive timestamps: the time until a bot reads
//! a packet does not count. Retransmitted packets are left out, as their time would be that of the loss. Jitter is the
//! difference of successive packets' delays in a stream, so that the publisher's own pacing does not count either.

#[doc(hidden)]
pub mod candidates;
mod carrier;
#[doc(hidden)]
pub mod dtls;
mod feed;
mod feedback;
mod fleet;
#[doc(hidden)]
pub mod ice;
mod media;
#[doc(hidden)]
pub mod offer;
mod outbox;
mod publisher;
mod receiver;
mod search;
mod session;
mod socket;
mod speech;
#[doc(hidden)]
pub mod srtp;
mod thread;
mod timer;

pub use fleet::{WireConfig, WireFleet};
