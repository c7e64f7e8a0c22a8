//! Settings of an [`Sfu`](crate::Sfu).

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use crate::view::Cap;

/// Settings of an [`Sfu`](crate::Sfu). Begin with the defaults and change fields:
///
/// ```
/// let mut config = tertulia_sfu::SfuConfig::default();
/// config.workers = 2;
/// config.limits.peers_per_room = 50;
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct SfuConfig {
    /// Media threads; 0 means one for each core.
    pub workers: usize,
    /// Worker `i` binds UDP port `media_port + i`; 0 lets the kernel choose each.
    pub media_port: u16,
    /// Peers of one room on one worker at which the room grows to a further, less loaded worker; 0 counts as 1. Among
    /// 50 who all see each other, one copy to a further worker replaces 49 packets to forward, so that growing pays
    /// long before a worker is busy. Growing costs memory: 0.75 MB for each video layer on each further worker.
    pub room_peers_per_worker: usize,
    /// Addresses announced as ICE candidates. Empty: loopback and every address of this machine's
    /// interfaces. Behind a 1:1 NAT, name the public address here; sockets bind the wildcard.
    pub media_ips: Vec<IpAddr>,
    /// Addresses announced instead of the workers' own sockets, one for each worker: for a proxy
    /// in front of the media ports (an impairment proxy in tests). Empty: the sockets themselves.
    pub announce: Vec<SocketAddr>,
    /// Addresses announced as ICE-TCP candidates (RFC 6544, `passive`), for clients that cannot send UDP. The embedder
    /// listens there, and gives the relay the connections ([`Sfu::open_stream`](crate::Sfu::open_stream)). Empty: none.
    pub tcp_candidates: Vec<SocketAddr>,
    /// Whether strangers who ask by STUN which address they have are told, at most 100 times a second by each worker. No call
    /// needs it.
    pub stun_answers: bool,
    /// The cipher that seals SRTP.
    pub cipher: Cipher,
    /// The longest time that a worker under load may hold packets back to send several to a viewer in one system call,
    /// which makes each packet cheaper. The worker raises it from zero only while it is busy. It adds to every packet's
    /// delay, so keep it well under a millisecond. Zero: never.
    pub coalesce: Duration,
    /// The cap of any viewer.
    pub viewer_cap: Cap,
    /// Largest number of other people whose cameras are sent to a viewer: those who spoke last. Screens and pinned
    /// videos come on top. None is no bound.
    pub last_n: Option<usize>,
    /// Largest number of audio tracks forwarded in a room: the loudest. None is no bound.
    pub loudest_n: Option<usize>,
    /// Bounds.
    pub limits: Limits,
}

/// The library that computes AES-GCM, the largest cost of forwarding beside the kernel's.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub enum Cipher {
    /// Whichever seals packets faster on this CPU, measured at start-up for some milliseconds.
    #[default]
    Auto,
    /// `ring`.
    Ring,
    /// `aws-lc-rs`; an error without the feature of that name.
    AwsLcRs,
}

impl Default for SfuConfig {
    fn default() -> Self {
        Self {
            workers: 0,
            media_port: 10_000,
            room_peers_per_worker: 50,
            media_ips: Vec::new(),
            announce: Vec::new(),
            tcp_candidates: Vec::new(),
            stun_answers: true,
            cipher: Cipher::Auto,
            coalesce: Duration::from_micros(400),
            viewer_cap: Cap::default(),
            last_n: None,
            loudest_n: None,
            limits: Limits::default(),
        }
    }
}

impl SfuConfig {
    /// One worker on a port the kernel chooses, announced on 127.0.0.1: for tests and examples.
    pub fn loopback() -> Self {
        Self {
            workers: 1,
            media_port: 0,
            media_ips: vec![IpAddr::V4(Ipv4Addr::LOCALHOST)],
            ..Self::default()
        }
    }
}

/// Bounds of what clients may make the server hold. Begin with the defaults and change fields.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Limits {
    /// Rooms on one server.
    pub rooms: usize,
    /// Peers in one room.
    pub peers_per_room: usize,
    /// Tracks one peer may publish at a time. A person has a camera, a microphone, a screen and
    /// its sound; 8 leaves room for a second camera pair.
    pub tracks_per_peer: usize,
    /// m-lines of one offer. Sending and receiving together; stopped ones count until reused.
    pub media_per_offer: usize,
    /// Bits a second of RTP that one peer may send, all its tracks together. Packets beyond it are dropped, as on a
    /// narrow link. 0 is no bound. Two cameras and a screen in simulcast are 10 Mbit/s, and one recorder's 4K stream
    /// 30.
    pub publisher_bitrate: u64,
    /// Bytes of packets kept for retransmission and of data channel messages on their way, of all peers together. When
    /// it is used up, the peers that hold most lose theirs first; a packet that is not kept cannot be sent again. A
    /// 720p camera in simulcast takes 1.5 MB for two seconds.
    pub cache_bytes: usize,
    /// Largest data channel message, in bytes. Every browser can send 16 KiB unfragmented (RFC 8831 section 6.6
    /// recommends that as the most without interleaving).
    pub data_message_bytes: usize,
    /// Data channel messages a peer may have relayed a second, both channels together: pointers and
    /// reactions at display rate. Each becomes one message for every other peer in the room.
    pub data_messages_per_second: u32,
    /// The time that a new peer may take until its transport is up.
    pub connect_timeout: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            rooms: 10_000,
            peers_per_room: 1_000,
            tracks_per_peer: 8,
            media_per_offer: 256,
            publisher_bitrate: 40_000_000,
            cache_bytes: 1 << 30,
            data_message_bytes: 16 * 1024,
            data_messages_per_second: 100,
            connect_timeout: Duration::from_secs(30),
        }
    }
}
