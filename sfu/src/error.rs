//! Errors of the embedder's API. Each says whose fault it is and carries a stable code.

use std::fmt;

use crate::transport::sdp::SdpError;

/// The reason that a call on [`Sfu`](crate::Sfu) failed.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SfuError {
    /// The client's SDP cannot be used; the client must send another.
    #[error("the offer was refused: {0}")]
    Sdp(#[from] SdpError),
    /// The room was closed or never existed.
    #[error("no such room on this server")]
    NoSuchRoom,
    /// The peer left, failed or never existed.
    #[error("no such peer on this server")]
    NoSuchPeer,
    /// The track ended or never existed, or lives in another room.
    #[error("no such track in this room")]
    NoSuchTrack,
    /// A configured limit was reached; nothing was created.
    #[error("the limit of {limit} {what} is reached")]
    Limit {
        /// The things that are limited.
        what: Limit,
        /// The bound.
        limit: usize,
    },
    /// The worker's command queue is full: the server is overloaded; try again later.
    #[error("the media worker is overloaded")]
    Overloaded,
    /// The server is stopping.
    #[error("the media workers have stopped")]
    Stopped,
    /// The media worker has failed, by a fault of the server, and its peers with it
    /// ([`Event::WorkerFailed`](crate::Event::WorkerFailed)). Another [`join`](crate::Sfu::join) is placed on a worker
    /// that is left; if that fails in the same way, none is left.
    #[error("a media worker of the server has failed; join again to be placed on another one")]
    WorkerFailed,
}

/// The things that a server has a bounded number of.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum Limit {
    /// Rooms of the server ([`Limits::rooms`](crate::Limits::rooms)).
    Rooms,
    /// Peers of a room ([`Limits::peers_per_room`](crate::Limits::peers_per_room)).
    PeersPerRoom,
    /// Tracks that a peer publishes ([`Limits::tracks_per_peer`](crate::Limits::tracks_per_peer)).
    TracksPerPeer,
    /// Bytes of [`Join::sender`](crate::Join::sender), a name of one line.
    SenderBytes,
    /// Bytes of a data channel message ([`Limits::data_message_bytes`](crate::Limits::data_message_bytes)).
    DataMessageBytes,
    /// Streams of a worker ([`Sfu::open_stream`](crate::Sfu::open_stream)).
    Streams,
    /// Taps of the process ([`Sfu::tap`](crate::Sfu::tap)).
    Taps,
    /// Taps of one track.
    TapsPerTrack,
}

impl Limit {
    /// A stable code for wire formats and metrics: the setting's name, where there is one.
    pub const fn code(self) -> &'static str {
        match self {
            Self::Rooms => "rooms",
            Self::PeersPerRoom => "peers_per_room",
            Self::TracksPerPeer => "tracks_per_peer",
            Self::SenderBytes => "sender_bytes",
            Self::DataMessageBytes => "data_message_bytes",
            Self::Streams => "streams",
            Self::Taps => "taps",
            Self::TapsPerTrack => "taps_per_track",
        }
    }
}

/// Names the things, for a sentence: `peers in the room`.
impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Rooms => "rooms",
            Self::PeersPerRoom => "peers in the room",
            Self::TracksPerPeer => "tracks of the peer",
            Self::SenderBytes => "bytes on one line of the sender's name",
            Self::DataMessageBytes => "bytes of a data channel message",
            Self::Streams => "streams of a worker",
            Self::Taps => "taps",
            Self::TapsPerTrack => "taps of the track",
        })
    }
}

impl SfuError {
    /// A stable code for wire formats and metrics.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Sdp(error) => error.code(),
            Self::NoSuchRoom => "no_such_room",
            Self::NoSuchPeer => "no_such_peer",
            Self::NoSuchTrack => "no_such_track",
            Self::Limit { .. } => "limit_reached",
            Self::Overloaded => "overloaded",
            Self::Stopped => "stopped",
            Self::WorkerFailed => "worker_failed",
        }
    }
}

/// The reason that an [`Sfu`](crate::Sfu) did not start; the operator can fix it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// A worker's UDP port could not be bound.
    #[error(
        "cannot bind UDP {addr}: {source}; is another process on it? (choose another --media-port)"
    )]
    Bind {
        /// The address.
        addr: std::net::SocketAddr,
        /// The kernel's error.
        source: std::io::Error,
    },
    /// The DTLS certificate could not be made.
    #[error("cannot create the DTLS certificate: {0}")]
    Certificate(String),
    /// No network interface is up with an address that clients could be told.
    #[error(
        "no network interface has an address, so no client could reach the media ports (bring one up, or name the \
         addresses by --media-ip or --media-announce)"
    )]
    NoAddress,
    /// A value that cannot work.
    #[error("configuration: {0}")]
    Config(String),
    /// A thread, epoll or wake-up descriptor was refused.
    #[error("cannot start a worker: {0}")]
    Runtime(#[from] std::io::Error),
}
