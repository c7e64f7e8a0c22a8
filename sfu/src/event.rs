//! Events that the media plane tells the control plane, and the plain values both share.

use std::sync::Arc;

use crate::id::{PeerId, RoomId, TrackId};
use crate::transport::sdp::SdpError;
use crate::view::Reason;

/// Audio or video.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum MediaKind {
    /// An audio track.
    Audio,
    /// A video track.
    Video,
}

/// A transition of the media plane. One is sent for every state change, none for packets.
#[derive(Clone, PartialEq, Debug)]
#[non_exhaustive]
pub enum Event {
    /// ICE and DTLS are up: media can flow.
    PeerConnected {
        /// Its room.
        room: RoomId,
        /// The peer.
        peer: PeerId,
    },
    /// The peer's transport ended without being asked to. The peer and its tracks are gone already;
    /// a [`TrackEnded`](Self::TrackEnded) for each came before.
    PeerFailed {
        /// Its room.
        room: RoomId,
        /// The peer.
        peer: PeerId,
        /// Why.
        reason: PeerFailure,
    },
    /// The first packet of a published track authenticated and was routed.
    TrackLive {
        /// Its room.
        room: RoomId,
        /// The publisher.
        peer: PeerId,
        /// The track.
        track: TrackId,
    },
    /// A published track is gone: a later offer dropped its m-line, or its peer ended.
    TrackEnded {
        /// Its room.
        room: RoomId,
        /// The publisher.
        peer: PeerId,
        /// The track.
        track: TrackId,
    },
    /// A viewer's slots were pointed at other tracks, without renegotiation.
    SlotsChanged {
        /// Its room.
        room: RoomId,
        /// The viewer.
        peer: PeerId,
        /// Every slot that changed, not every slot there is.
        slots: Vec<Slot>,
        /// The number of the viewer's offers answered so far. An answer overtakes events: if this is below its
        /// [`offers`](Answer::offers), the event is older and the answer holds.
        offers: u64,
    },
    /// A viewer has too few receiving m-lines for its subscriptions; it should add these many and
    /// offer again. Zero in both takes an earlier request back.
    NeedsChanged {
        /// Its room.
        room: RoomId,
        /// The viewer.
        peer: PeerId,
        /// The number of m-lines that are missing.
        needs: Needs,
        /// As of [`SlotsChanged`](Self::SlotsChanged).
        offers: u64,
    },
    /// A viewer is sent other layers than before, or a track was paused or resumed for it.
    SubscriptionsChanged {
        /// Its room.
        room: RoomId,
        /// The viewer.
        peer: PeerId,
        /// Every subscription that changed, not every one there is.
        subscriptions: Vec<SubscriptionState>,
    },
    /// A publisher should send the active layers of a track and pause the others: nobody watches them.
    LayersWanted {
        /// Its room.
        room: RoomId,
        /// The publisher.
        peer: PeerId,
        /// The track.
        track: TrackId,
        /// Each of its layers, lowest first.
        layers: Vec<LayerWanted>,
    },
    /// A data channel, or a message on one, was refused. Each reason is told once a second at most; every
    /// refusal is counted among the worker's drops, by its code.
    DataRefused {
        /// Its room.
        room: RoomId,
        /// The peer that opened or sent it.
        peer: PeerId,
        /// Why.
        reason: DataRefusal,
    },
    /// A data channel message that a peer has sent to the others, if its [`Join::hear_data`](crate::Join::hear_data) asks
    /// for it. It is dropped, and counted as `data_unheard`, while the room has not taken many other events.
    DataReceived {
        /// Its room.
        room: RoomId,
        /// The peer that sent it.
        peer: PeerId,
        /// Whether it came on the channel `reliable`; otherwise on `unreliable`.
        reliable: bool,
        /// Whether it was sent as bytes; otherwise it is UTF-8.
        binary: bool,
        /// The message.
        payload: Arc<[u8]>,
    },
    /// The set of viewers that cannot watch a track has changed. An empty set takes an earlier event back.
    UnwatchableChanged {
        /// Its room.
        room: RoomId,
        /// The publisher.
        peer: PeerId,
        /// Which track, who and why.
        unwatchable: Unwatchable,
    },
    /// A publisher should offer again: the answer to its present offer would differ now. It is asked rarely, and each
    /// further time more rarely.
    RenegotiationWanted {
        /// Its room.
        room: RoomId,
        /// The publisher.
        peer: PeerId,
        /// The part of the answer that would differ.
        reason: RenegotiationReason,
        /// As of [`SlotsChanged`](Self::SlotsChanged).
        offers: u64,
    },
    /// Other people speak than before.
    SpeakersChanged {
        /// The room.
        room: RoomId,
        /// Audio tracks of those who speak now and those who spoke last, the most recent first.
        recent: Vec<TrackId>,
        /// The number of tracks in `recent`, from the first on, that speak now.
        speaking: usize,
    },
    /// A media worker has failed: it panicked, or its socket broke. Every room with a part there is told. A
    /// [`PeerFailed`](Self::PeerFailed) for each of the room's peers there came before, and no event of the worker comes
    /// after. Rooms stay; no peer or room is placed on that worker any more. It is not started again: replace the
    /// process when that is convenient.
    WorkerFailed {
        /// The worker's index, from 0 on.
        worker: usize,
    },
    /// A worker has closed its part of a room and ended the peers there: the room's events were not taken, and
    /// all that wait for rooms were more than the worker has memory for. It is the last event of that worker. The
    /// room is best closed ([`Sfu::close_room`](crate::Sfu::close_room)) and made anew: its state is not known.
    RoomFailed {
        /// The room.
        room: RoomId,
        /// Events that were dropped, with what they list.
        dropped: u64,
    },
}

impl Event {
    /// The room that hears it. None for [`WorkerFailed`](Self::WorkerFailed), which several hear.
    pub fn room(&self) -> Option<RoomId> {
        match self {
            Self::PeerConnected { room, .. }
            | Self::PeerFailed { room, .. }
            | Self::TrackLive { room, .. }
            | Self::TrackEnded { room, .. }
            | Self::SlotsChanged { room, .. }
            | Self::NeedsChanged { room, .. }
            | Self::SubscriptionsChanged { room, .. }
            | Self::LayersWanted { room, .. }
            | Self::DataRefused { room, .. }
            | Self::DataReceived { room, .. }
            | Self::UnwatchableChanged { room, .. }
            | Self::RenegotiationWanted { room, .. }
            | Self::SpeakersChanged { room, .. }
            | Self::RoomFailed { room, .. } => Some(*room),
            Self::WorkerFailed { .. } => None,
        }
    }

    /// The peer that it is about: a viewer, or the publisher of the track. None if it is about all of a room.
    pub fn peer(&self) -> Option<PeerId> {
        match self {
            Self::PeerConnected { peer, .. }
            | Self::PeerFailed { peer, .. }
            | Self::TrackLive { peer, .. }
            | Self::TrackEnded { peer, .. }
            | Self::SlotsChanged { peer, .. }
            | Self::NeedsChanged { peer, .. }
            | Self::SubscriptionsChanged { peer, .. }
            | Self::LayersWanted { peer, .. }
            | Self::DataRefused { peer, .. }
            | Self::DataReceived { peer, .. }
            | Self::UnwatchableChanged { peer, .. }
            | Self::RenegotiationWanted { peer, .. } => Some(*peer),
            Self::SpeakersChanged { .. } | Self::WorkerFailed { .. } | Self::RoomFailed { .. } => {
                None
            }
        }
    }
}

/// The state of a viewer's subscription.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SubscriptionState {
    /// The track.
    pub track: TrackId,
    /// The layer to be sent, counted from the smallest picture; none while it is paused.
    pub layer: Option<u8>,
    /// The number of temporal layers to be sent, counted from the lowest; none while it is paused.
    pub temporal: Option<u8>,
    /// The reason that no higher layer is sent.
    pub reason: Reason,
}

/// A track that some of its viewers cannot watch.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Unwatchable {
    /// The track.
    pub track: TrackId,
    /// The number of viewers that cannot watch it.
    pub count: usize,
    /// The first 32 of these viewers, each with its reason.
    pub viewers: Vec<(PeerId, Reason)>,
}

/// Why a client should offer again.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum RenegotiationReason {
    /// Viewers cannot decode the codec that it sends, and could decode another that it has offered. The
    /// answer will list that one first.
    Codec,
    /// The answer will leave out the extension for video orientation, as some viewers cannot turn pictures; or will
    /// agree on it again, as the browser sent no pictures without it.
    Extension,
}

impl RenegotiationReason {
    /// A stable code for wire formats and metrics.
    pub const fn code(self) -> &'static str {
        match self {
            Self::Codec => "codec",
            Self::Extension => "extension",
        }
    }
}

/// Whether a layer is wanted of its publisher.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LayerWanted {
    /// Its RID; none without simulcast, and with simulcast by `a=ssrc-group:SIM`.
    pub rid: Option<String>,
    /// Whether anybody is sent it.
    pub active: bool,
}

/// Why a peer's transport ended.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum PeerFailure {
    /// No authenticated STUN check came within the connect time-out: usually a firewall, or an
    /// announced address the client cannot reach.
    NeverConnected,
    /// Checks stopped for longer than consent lasts (RFC 7675, 30 s): the client's network is gone.
    ConsentExpired,
    /// The DTLS handshake failed or timed out.
    DtlsFailed,
    /// The certificate was not the one whose fingerprint the offer carried.
    FingerprintMismatch,
    /// The client closed its transport (DTLS close_notify).
    ClosedByClient,
    /// The media worker that the peer was on has failed, by a fault of the server. A new
    /// [`join`](crate::Sfu::join) is placed on another one.
    WorkerFailed,
}

impl PeerFailure {
    /// A stable code for wire formats and metrics.
    pub const fn code(self) -> &'static str {
        match self {
            Self::NeverConnected => "never_connected",
            Self::ConsentExpired => "consent_expired",
            Self::DtlsFailed => "dtls_failed",
            Self::FingerprintMismatch => "fingerprint_mismatch",
            Self::ClosedByClient => "closed_by_client",
            Self::WorkerFailed => "worker_failed",
        }
    }
}

/// Why a data channel or a message on one was refused.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum DataRefusal {
    /// A channel's label is neither `reliable` nor `unreliable`. The channel was closed.
    UnknownLabel,
    /// A channel does not deliver as its label says: `reliable` is ordered and retransmitted without
    /// bound, `unreliable` unordered and never retransmitted. The channel was closed.
    WrongProperties,
    /// The peer has a channel of this label. The second was closed.
    AlreadyOpen,
    /// The peer has opened 64 channels in its life. This one was left alone.
    TooManyChannels,
    /// A message had more than [`Limits::data_message_bytes`](crate::Limits::data_message_bytes).
    TooLarge,
    /// Messages came faster than
    /// [`Limits::data_messages_per_second`](crate::Limits::data_messages_per_second).
    TooFast,
    /// The peer may send no messages ([`Join::may_send_data`](crate::Join::may_send_data)).
    NotAllowed,
}

impl DataRefusal {
    /// Every one, in the order of declaration.
    pub(crate) const COUNT: usize = Self::NotAllowed as usize + 1;

    /// A stable code for wire formats and metrics.
    pub const fn code(self) -> &'static str {
        match self {
            Self::UnknownLabel => "data_unknown_label",
            Self::WrongProperties => "data_wrong_properties",
            Self::AlreadyOpen => "data_already_open",
            Self::TooManyChannels => "data_too_many_channels",
            Self::TooLarge => "data_too_large",
            Self::TooFast => "data_rate_limited",
            Self::NotAllowed => "data_not_allowed",
        }
    }
}

/// A receiving m-line of a viewer: the server may point it at one track after another.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Slot {
    /// The m-line's `a=mid`.
    pub mid: String,
    /// Audio or video.
    pub kind: MediaKind,
    /// The track it carries now.
    pub track: Option<TrackId>,
}

/// Receiving m-lines a viewer should add.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Needs {
    /// Audio m-lines.
    pub audio: u16,
    /// Video m-lines.
    pub video: u16,
}

/// A track that an offer published.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PublishedTrack {
    /// The publisher's m-line.
    pub mid: String,
    /// Its name from now on; the same for the same m-line in later offers.
    pub track: TrackId,
    /// Audio or video.
    pub kind: MediaKind,
    /// The negotiated codec the publisher prefers, e.g. `VP8`.
    pub codec: &'static str,
    /// Whether it carries several encodings, by RID or by `a=ssrc-group:SIM`.
    pub simulcast: bool,
}

/// An m-line that the relay cannot use, or whose track its client may not publish.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RefusedMedia {
    /// The m-line; one without `a=mid` is called by its place, from 0 on.
    pub mid: String,
    /// Why.
    pub reason: SdpError,
}

/// The server's answer to an offer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Answer {
    /// The SDP answer.
    pub sdp: String,
    /// Every track the peer publishes now, earlier ones included.
    pub published: Vec<PublishedTrack>,
    /// Every m-line that the client offered for use and the answer refuses: with port 0, or with `inactive` if the reason
    /// is [`SdpError::NotAllowed`].
    pub refused: Vec<RefusedMedia>,
    /// Every receiving m-line the peer has now.
    pub slots: Vec<Slot>,
    /// The m-lines that its subscriptions still lack.
    pub needs: Needs,
    /// The peer's offers that were answered, this one included.
    pub offers: u64,
}
