//! Participants' counters, its tracks called as clients know them. Field by field what
//! [`media::stats`](crate::media::stats) documents, ready to be written as JSON.

use std::net::SocketAddr;

use serde::Serialize;

use super::{ParticipantId, TrackName};
use crate::media::{MediaKind, PeerId, TrackId, stats as media};

/// Everyone in a room, in the order they joined.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct RoomStats {
    pub room: String,
    pub participants: Vec<ParticipantStats>,
}

#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct ParticipantStats {
    pub participant: ParticipantId,
    pub name: String,
    /// None while it has no transport.
    pub peer: Option<PeerStats>,
}

#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct PeerStats {
    pub connected: bool,
    pub remote_addr: Option<SocketAddr>,
    pub srtp_profile: Option<&'static str>,
    pub rtt_ms: Option<f64>,
    pub bandwidth: BandwidthStats,
    pub published: Vec<PublishedStats>,
    pub subscriptions: Vec<SubscriptionStats>,
}

#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct BandwidthStats {
    pub estimate: Option<u64>,
    pub limited_by: &'static str,
    pub desired: u64,
    pub allocated: u64,
    pub sent: u64,
    pub acknowledged: u64,
    pub loss: f64,
    pub queued_bytes: usize,
    pub queued_ms: f64,
    pub probes: u64,
}

#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct PublishedStats {
    pub track: TrackName,
    pub kind: &'static str,
    pub codec: &'static str,
    pub keyframe_requests: u64,
    /// Lowest first.
    pub layers: Vec<LayerStats>,
    pub unwatchable: Vec<UnwatchableStats>,
}

/// Who cannot watch a track, and why.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct UnwatchableStats {
    pub participant: ParticipantId,
    pub reason: &'static str,
}

#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct LayerStats {
    pub rid: Option<String>,
    pub alive: bool,
    pub wanted: bool,
    pub bitrate: u64,
    pub height: Option<u16>,
    pub packets: u64,
    pub bytes: u64,
    pub lost: u64,
    pub nacks_sent: u64,
    pub repaired: u64,
}

#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct SubscriptionStats {
    pub track: TrackName,
    pub mid: Option<String>,
    pub layer: Option<usize>,
    pub temporal: Option<u8>,
    pub target: Option<usize>,
    pub reason: &'static str,
    pub allocated: u64,
    pub bitrate: u64,
    pub keyframe_requests: u64,
    pub packets: u64,
    pub bytes: u64,
    pub nacks_received: u64,
    pub retransmitted: u64,
    pub fraction_lost: f64,
}

impl PeerStats {
    /// A track without a name has just ended and is left out, and so is a viewer who has just left.
    pub(super) fn named(
        stats: media::PeerStats,
        name: impl Fn(TrackId) -> Option<TrackName>,
        viewer: impl Fn(PeerId) -> Option<ParticipantId>,
    ) -> Self {
        let published = stats.published.into_iter();
        let subscriptions = stats.subscriptions.into_iter();
        Self {
            connected: stats.connected,
            remote_addr: stats.remote_addr,
            srtp_profile: stats.srtp_profile,
            rtt_ms: stats.rtt_ms,
            bandwidth: stats.bandwidth.into(),
            published: published
                .filter_map(|stats| Some(PublishedStats::named(name(stats.track)?, stats, &viewer)))
                .collect(),
            subscriptions: subscriptions
                .filter_map(|stats| Some(SubscriptionStats::named(name(stats.track)?, stats)))
                .collect(),
        }
    }
}

impl PublishedStats {
    fn named(
        track: TrackName,
        stats: media::PublishedStats,
        viewer: impl Fn(PeerId) -> Option<ParticipantId>,
    ) -> Self {
        let unwatchable = stats.unwatchable.into_iter();
        let unwatchable = unwatchable.filter_map(|(peer, reason)| {
            let participant = viewer(peer)?;
            Some(UnwatchableStats {
                participant,
                reason,
            })
        });
        Self {
            track,
            kind: match stats.kind {
                MediaKind::Audio => "audio",
                MediaKind::Video => "video",
            },
            codec: stats.codec,
            keyframe_requests: stats.keyframe_requests,
            layers: stats.layers.into_iter().map(Into::into).collect(),
            unwatchable: unwatchable.collect(),
        }
    }
}

impl From<media::BandwidthStats> for BandwidthStats {
    fn from(stats: media::BandwidthStats) -> Self {
        Self {
            estimate: stats.estimate,
            limited_by: stats.limited_by,
            desired: stats.desired,
            allocated: stats.allocated,
            sent: stats.sent,
            acknowledged: stats.acknowledged,
            loss: stats.loss,
            queued_bytes: stats.queued_bytes,
            queued_ms: stats.queued_ms,
            probes: stats.probes,
        }
    }
}

impl From<media::LayerStats> for LayerStats {
    fn from(stats: media::LayerStats) -> Self {
        Self {
            rid: stats.rid,
            alive: stats.alive,
            wanted: stats.wanted,
            bitrate: stats.bitrate,
            height: stats.height,
            packets: stats.packets,
            bytes: stats.bytes,
            lost: stats.lost,
            nacks_sent: stats.nacks_sent,
            repaired: stats.repaired,
        }
    }
}

impl SubscriptionStats {
    fn named(track: TrackName, stats: media::SubscriptionStats) -> Self {
        Self {
            track,
            mid: stats.mid,
            layer: stats.layer,
            temporal: stats.temporal,
            target: stats.target,
            reason: stats.reason,
            allocated: stats.allocated,
            bitrate: stats.bitrate,
            keyframe_requests: stats.keyframe_requests,
            packets: stats.packets,
            bytes: stats.bytes,
            nacks_received: stats.nacks_received,
            retransmitted: stats.retransmitted,
            fraction_lost: stats.fraction_lost,
        }
    }
}
