//! Plain values copied out of the workers. All counters are since the thing began.

use std::collections::BTreeMap;
use std::net::SocketAddr;

pub use crate::drops::Drops;
use crate::event::MediaKind;
use crate::id::{PeerId, RoomId, TrackId};

/// The state of all workers, each copied at one moment.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct SfuStats {
    /// The cipher that seals SRTP: `ring` or `aws-lc-rs`.
    pub cipher: &'static str,
    /// Pairs of workers that have a pipe between them: some room has spanned both.
    pub linked_workers: usize,
    /// Times that a room should have grown to a worker and did not: all memory for rings was used up.
    pub links_refused: u64,
    /// Bytes of packets kept for retransmission.
    pub cache_bytes: usize,
    /// Largest allowed number of these bytes ([`Limits::cache_bytes`](crate::Limits::cache_bytes)).
    pub cache_bytes_most: usize,
    /// Times that packets were not kept, or for a shorter time, for lack of memory.
    pub caches_refused: u64,
    /// One for each worker, in order.
    pub workers: Vec<WorkerStats>,
}

/// One media thread.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct WorkerStats {
    /// Whether it has failed ([`Event::WorkerFailed`](crate::Event::WorkerFailed)). Its counters are lost then: all
    /// other fields are 0.
    pub failed: bool,
    /// Datagrams received.
    pub datagrams_received: u64,
    /// Datagrams handed to the kernel.
    pub datagrams_sent: u64,
    /// Bytes received, UDP payload.
    pub bytes_received: u64,
    /// Bytes handed to the kernel, UDP payload.
    pub bytes_sent: u64,
    /// Messages handed to the kernel. A run of datagrams to one address, which the kernel cuts apart (`UDP_SEGMENT`),
    /// is one message.
    pub messages_sent: u64,
    /// Messages of 1, 2 to 3, 4 to 7, 8 to 15, and 16 or more datagrams.
    pub run_lengths: [u64; 5],
    /// RTP packets forwarded to viewers, retransmissions not counted.
    pub packets_forwarded: u64,
    /// Bytes of RTP padding (RFC 3550 section 5.1) added to make runs longer.
    pub padding_bytes: u64,
    /// Packets sent only to measure the bandwidth of links.
    pub probe_packets: u64,
    /// The time for which datagrams are held back at present so that runs grow, in microseconds; 0 while the worker has
    /// time to spare.
    pub coalescing_us: f64,
    /// Tracks whose publishers are on other workers.
    pub relayed_tracks: usize,
    /// Packets handed to other workers, each counted once for any number of receiving workers.
    pub relay_packets_out: u64,
    /// Packets taken from other workers.
    pub relay_packets_in: u64,
    /// STUN checks with the right password from an address that another peer has proved to be at: that peer keeps it.
    pub address_claims_refused: u64,
    /// Proofs that a peer is at an address: answers to our checks, and DTLS handshakes.
    pub addresses_proven: u64,
    /// Times that an address a peer checked from answered none of the server's four checks in 4 s. Nothing else was
    /// sent to it.
    pub addresses_unproven: u64,
    /// Times that a peer's media came from another port of its address, before the peer checked from there: its NAT has
    /// given it another one.
    pub addresses_rebound: u64,
    /// Strangers who asked by STUN which address they have, and were told: at most 100 a second.
    pub stun_answers: u64,
    /// Times that media for a peer was held, by reason ([`PeerStats::media_held`]).
    pub media_held: BTreeMap<&'static str, u64>,
    /// Packets, events and messages dropped, by reason.
    pub drops: Drops,
    /// The number of its peers.
    pub peer_count: usize,
    /// Subscriptions of its peers, those that wait for an m-line included.
    pub subscriptions: usize,
    /// Its peers; empty in totals.
    pub peers: Vec<PeerStats>,
}

/// One peer.
#[derive(Clone, Debug)]
pub struct PeerStats {
    /// Its name.
    pub peer: PeerId,
    /// Its room.
    pub room: RoomId,
    /// Whether media can flow.
    pub connected: bool,
    /// The address that the peer uses, once known.
    pub remote_addr: Option<SocketAddr>,
    /// The protocol by which it is reached: `udp` or `tcp` (ICE-TCP). None before its first check.
    pub path: Option<&'static str>,
    /// The reason that it is sent no media although it is connected: `address_not_proven` (no check of the server has
    /// been answered from `remote_addr` yet), `silent` (only STUN checks came from it for 10 s), or `consent_expired`
    /// (it answered no check of the server for 30 s, RFC 7675 section 5.1). Media goes on when the peer answers; after
    /// silence, with any packet from it.
    pub media_held: Option<&'static str>,
    /// The SRTP profile, e.g. `AEAD_AES_256_GCM`.
    pub srtp_profile: Option<&'static str>,
    /// Round trip in milliseconds, from RTCP.
    pub rtt_ms: Option<f64>,
    /// Packets dropped because the peer sent more than [`Limits::publisher_bitrate`](crate::Limits::publisher_bitrate).
    pub packets_over_rate: u64,
    /// The tracks that it publishes.
    pub published: Vec<PublishedStats>,
    /// The tracks that it is subscribed to.
    pub subscriptions: Vec<SubscriptionStats>,
    /// The link from the relay to it.
    pub bandwidth: BandwidthStats,
}

/// A viewer's link and its use. All rates are in bits a second of UDP payload.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
#[non_exhaustive]
pub struct BandwidthStats {
    /// The estimated bandwidth of the link; none until it is known: by feedback, or after 3 s without any.
    pub estimate: Option<u64>,
    /// The limit of the estimate: `delay`, `loss`, `remb`, `none` (all that was tried fitted), or `unknown`
    /// before any feedback. Silence counts as `loss`.
    pub limited_by: &'static str,
    /// The rate that would be used if the link carried everything.
    pub desired: u64,
    /// The rate that the chosen layers need.
    pub allocated: u64,
    /// The rate that was sent lately, retransmissions and probes included.
    pub sent: u64,
    /// The rate that arrived lately, as the viewer acknowledged it.
    pub acknowledged: u64,
    /// Share of packets lost on the way to the viewer, lately (0 to 1).
    pub loss: f64,
    /// The estimated time that packets wait in the link's queue, in milliseconds.
    pub queue_delay_ms: f64,
    /// Whether another flow is believed to fill that queue: its delay is then no reason to send less.
    pub contested: bool,
    /// Bytes that wait to be sent.
    pub queued_bytes: usize,
    /// The time for which the first of these has waited, in milliseconds.
    pub queued_ms: f64,
    /// Probes sent, to find out whether the link carries more.
    pub probes: u64,
    /// Whether audio packets are sent twice (RFC 2198), or why not: `sent`, `no_loss`, `retransmission` (the viewer
    /// asks for lost packets again, and they come in time), `bandwidth` (there is no room for copies beside a picture),
    /// or `not_negotiated`.
    pub redundancy: &'static str,
}

/// One decision of the server about a viewer, for its room's timeline.
#[derive(Clone, PartialEq, Debug)]
pub struct Decision {
    /// The time of the decision: Unix time in milliseconds.
    pub at_ms: u64,
    /// The viewer.
    pub peer: PeerId,
    /// The track concerned; none if the decision is about the link.
    pub track: Option<TrackId>,
    /// The layer to be sent from then on; none: nothing is sent.
    pub layer: Option<u8>,
    /// The number of its temporal layers, from the lowest.
    pub temporal: Option<u8>,
    /// The reason that no higher layer is sent (a [`Reason`](crate::Reason)'s code), or the event on the link.
    pub reason: &'static str,
    /// The link's estimated bandwidth at that time, in bits a second.
    pub estimate: Option<u64>,
}

/// One published track.
#[derive(Clone, Debug)]
pub struct PublishedStats {
    /// Its name.
    pub track: TrackId,
    /// Audio or video.
    pub kind: MediaKind,
    /// The codec it comes in, e.g. `VP8`; before its first packet, the one that was asked for.
    pub codec: &'static str,
    /// One for each layer, lowest first.
    pub layers: Vec<LayerStats>,
    /// Keyframe requests sent to the publisher.
    pub keyframe_requests: u64,
    /// Times that a new stream (SSRC) replaced an old one on a layer: once a second for each layer at most.
    pub streams_begun_anew: u64,
    /// Packets dropped because their SSRC would have replaced another too soon, or while the other one still sends.
    pub packets_passed_over: u64,
    /// The first 32 viewers that cannot watch it, each with its reason (a [`Reason`](crate::Reason)'s code).
    pub unwatchable: Vec<(PeerId, &'static str)>,
}

/// One layer of a published track.
#[derive(Clone, Debug)]
pub struct LayerStats {
    /// Its RID, if simulcast.
    pub rid: Option<String>,
    /// Whether packets have come lately.
    pub alive: bool,
    /// Whether any viewer wants it: if not, the publisher was asked to pause it.
    pub wanted: bool,
    /// Bits a second that came in the last second; 0 during a silence.
    pub bitrate: u64,
    /// Height in pixels, once known.
    pub height: Option<u16>,
    /// Packets received, repaired ones included.
    pub packets: u64,
    /// Bytes of their payloads.
    pub bytes: u64,
    /// Packets that never came.
    pub lost: u64,
    /// Packets asked for again.
    pub nacks_sent: u64,
    /// Packets that came by retransmission.
    pub repaired: u64,
}

/// One subscription.
#[derive(Clone, Debug)]
pub struct SubscriptionStats {
    /// The track.
    pub track: TrackId,
    /// The m-line it is sent on; none while it waits for one.
    pub mid: Option<String>,
    /// The layer being sent, counted from the lowest; none while nothing is sent.
    pub layer: Option<usize>,
    /// The number of its temporal layers that are sent, counted from the lowest.
    pub temporal: Option<u8>,
    /// The layer to be sent.
    pub target: Option<usize>,
    /// The reason that nothing, or not the best layer, is sent, e.g. `waiting_for_keyframe`.
    pub reason: &'static str,
    /// The rate allocated to it, in bits a second.
    pub allocated: u64,
    /// The rate sent in the last second, in bits a second; 0 during a silence.
    pub bitrate: u64,
    /// Keyframes asked for, by the viewer or for it.
    pub keyframe_requests: u64,
    /// Packets sent.
    pub packets: u64,
    /// Bytes of their payloads.
    pub bytes: u64,
    /// Packets the viewer asked for again.
    pub nacks_received: u64,
    /// Packets sent again.
    pub retransmitted: u64,
    /// Audio packets sent with a copy of the packet before (RFC 2198).
    pub redundant: u64,
    /// Share of packets lost on the way to the viewer, from its last report (0 to 1).
    pub fraction_lost: f64,
}
