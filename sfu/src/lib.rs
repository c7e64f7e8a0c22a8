//! Tertulia's media relay: a selective forwarding unit as a library.
//!
//! A client uploads each of its tracks once; the relay sends each packet to the other clients of the room that are to
//! get it. [`Sfu`] is all that an embedder needs: start it, create a room, hand it the clients' SDP offers, give them
//! the answers, and hear [`Event`]s. `examples/call.rs` is a whole call in under 80 lines.
//!
//! # The packet's journey is the folder list
//!
//! 1. `runtime/` receives a batch of datagrams: the only sockets, threads, clocks and randomness.
//! 2. `worker/` is one thread's state, sans I/O; it passes the packet from stop to stop.
//! 3. `demux` finds the peer, by the path it is reached over (`transport/path`), else by the user fragment of a STUN
//!    check.
//! 4. `transport/` makes it plain: ICE-lite, DTLS, SRTP decrypted once and in place, SCTP, SDP.
//! 5. `rtp/` reads it: wire formats, pure functions on bytes, and the parameters that both sides agreed on.
//! 6. `ingress/` is the publisher's side: find the packet's layer, report what came, ask for lost packets again.
//! 7. `track/` is between both sides: the layers that count and cache the packet, and the one list of who receives the
//!    track. The packets of a turn wait in the worker's inbox, and are then forwarded viewer by viewer.
//! 8. `egress/` is a viewer's side: select the layer, rewrite the numbers, hold back packets that the link
//!    has no time for; for all packets at hand, pack them into runs of equal length; seal.
//! 9. `transmit` groups the packets to send into runs by path; `runtime/` hands the runs to
//!    the kernel, equal-sized ones as one message.
//!
//! Audio levels go another way beside the packet's: `audio/` decides who speaks, whose sound is forwarded, and whose
//! cameras are sent.
//!
//! A viewer's layers are decided beside the packet's path, five times a second at most. The viewer's feedback tells
//! `egress/bwe` the bandwidth of the link. `egress/request` makes requests of the facts of the call ([`View`], active
//! speakers, [`TrackSettings`]), `egress/allocator` distributes the bandwidth over them within the [`Cap`], and
//! `egress/apply` points the slots at their layers. `track/wanted` adds up the layers that viewers want, and
//! `track/demand` says when a publisher is asked to send or pause which. Each decision has a [`Reason`], and a place in
//! [`Sfu::timeline`]. The viewers also decide which codec a publisher should send (`egress/audience`), and whether the
//! publisher turns its pictures (`ingress/pictures`).
//!
//! Each of these decisions is a value: facts and a time go in, a decision comes out. `worker/` is their wiring: it carries the
//! facts to them and the decisions on, to slots, publishers, other workers and the embedder. So it has no rule of its
//! own about layers, reasons or priorities.
//!
//! A room that has outgrown a worker has a part on others too. At 7 a packet is then also copied, once, into a batch for
//! the workers with viewers of the track. There it goes on at 7 as if it had just been received. `pipe/` is all that joins
//! workers: the messages between them, the batches, and one trait for the ends of a pipe, of which a ring between two
//! threads is the only kind. `worker/pipe` writes and reads messages and batches; `sfu/` lays the pipes and carries both.
//!
//! A client that cannot send UDP comes over a connection of the embedder's. Its datagrams go at 1 and 9 through a [`Stream`]
//! instead of a socket (`stream/`).
//!
//! An embedder that records a track, or listens to it, takes a [`Tap`] of it: at 7 each packet is also copied into the
//! tap's queue (`tap/`).
//!
//! # Invariants
//!
//! - A peer belongs to one worker; a room has a part on each worker it has grown to. Values pass between threads, never
//!   locks. A reply to the control plane is sent only after the other workers have received the change.
//! - Each room has a receiver of its own events. No worker waits for one, so that a room whose control plane stops
//!   reading costs that room alone.
//! - A worker that fails takes its own peers with it and nothing else ([`Event::WorkerFailed`]).
//! - Time and random numbers are parameters everywhere but in `runtime/`: a run can be repeated.
//! - No datagram of a stranger leaves state: that follows authentication, and everything has a bound. None is answered but STUN
//!   requests without credentials, 100 a second.
//! - Each list has one owner. Who receives a track stands in its `Sinks` and nowhere else.
//! - Absent on purpose: `rtp/` knows none of the other modules; `ingress/` fills a track and `egress/` reads it, and they
//!   do not know each other; `pipe/` knows the state of a track and no track; neither `worker/` nor a track's lists have a
//!   policy; the packet path has no JSON, HTTP or async runtime.
//!
//! `tests/tidy.rs` checks these rules as far as a test can.
#![cfg_attr(
    test,
    allow(clippy::disallowed_methods, reason = "tests begin at some instant")
)]

pub mod rtp;
pub mod stats;
#[cfg(any(test, feature = "testing"))]
pub mod testing;

mod audio;
mod backlog;
mod cache;
mod client_offer;
mod clock;
mod config;
mod demux;
mod drops;
mod egress;
mod error;
mod event;
mod id;
mod index;
mod ingress;
mod packet;
mod pipe;
mod prefetch;
mod rate;
mod runtime;
mod seat;
mod server_data;
mod sfu;
mod stream;
mod tap;
mod track;
mod transmit;
mod transport;
mod view;
mod worker;

pub use backlog::EventBacklog;
pub use client_offer::{ClientOffer, MayPublish};
pub use config::{Cipher, Limits, SfuConfig};
pub use drops::DropReason;
pub use error::{Limit, SfuError, StartError};
pub use event::{
    Answer, DataRefusal, Event, LayerWanted, MediaKind, Needs, PeerFailure, PublishedTrack,
    RefusedMedia, RenegotiationReason, Slot, SubscriptionState, Unwatchable,
};
pub use id::{PeerId, RoomId, TrackId};
pub use runtime::{InterfaceAddress, interface_addresses, interfaces};
pub use server_data::ServerData;
pub use sfu::{Join, Sfu};
pub use stream::{PushError, Stream};
pub use tap::{Tap, TapFrame, TapFrames, TapLayers, TapOverflow, TapPacket, TapSettings};
pub use transport::sdp::SdpError;
pub use transport::{SENDER_PROTOCOL, StreamKind};
pub use view::{Cap, Reason, TrackSettings, View};

/// The examples of the README, which must compile.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
