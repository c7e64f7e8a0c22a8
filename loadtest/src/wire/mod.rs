//! Lean bots: thousands on a machine, so that a run measures the server.
//!
//! Each has its own WebSocket, ICE agent, DTLS handshake and SRTP keys, like a browser, and answers like one: receiver
//! reports, transport-wide feedback, NACK, keyframe requests. Bots share the costly part: a few I/O threads, each with
//! many sockets, receive in batches and authenticate, check and time every packet.
//!
//! - `fleet` is the entry; `signaling` is one bot's control plane, on tokio.
//! - `thread` is an I/O thread with its `socket`s and `timer`; the only file with system calls is
//!   `socket`.
//! - `session` is one bot's media plane, without sockets and clocks: `sdp`, `candidates`, `search`, `ice`,
//!   `dtls`, `srtp`.
//! - `publisher`, its `feed`s and `schedule` send; `receiver`, `stream` and `feedback` receive;
//!   `page` says which videos a bot shows, and `speech` how loud it is.
//! - `hostile` is a peer with valid credentials that does anything its owner says, for the tests that attack a server.
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

mod candidates;
mod dtls;
mod feed;
mod feedback;
mod fleet;
mod height;
mod hostile;
mod ice;
mod outbox;
mod page;
mod publisher;
mod receiver;
mod schedule;
mod sdp;
mod search;
mod session;
mod signaling;
mod socket;
mod speech;
mod srtp;
mod ssrc;
mod stream;
mod thread;
mod timer;

pub use fleet::{WireConfig, WireFleet};
pub use hostile::{Heard, Hostile, HostileConfig, Media, Outgoing, Published};
