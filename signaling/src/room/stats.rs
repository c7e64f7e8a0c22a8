//! One participant's counters, its tracks called as clients know them. Field by field what
//! [`media::stats`](crate::media::stats) documents, ready to be written as JSON.

use std::net::SocketAddr;

use serde::Serialize;

use super::TrackName;
use crate::media::{MediaKind, TrackId, stats as media};

#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct PeerStats {
    pub connected: bool,
    pub remote_addr: Option<SocketAddr>,
    pub srtp_profile: Option<&'static str>,
    pub rtt_ms: Option<f64>,
    pub published: Vec<PublishedStats>,
    pub subscriptions: Vec<SubscriptionStats>,
}

#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct PublishedStats {
    pub track: TrackName,
    pub kind: &'static str,
    pub codec: &'static str,
    pub keyframe_requests: u64,
    /// Lowest first.
    pub layers: Vec<LayerStats>,
}

#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct LayerStats {
    pub rid: Option<String>,
    pub alive: bool,
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
    pub reason: &'static str,
    pub packets: u64,
    pub bytes: u64,
    pub nacks_received: u64,
    pub retransmitted: u64,
    pub fraction_lost: f64,
}

impl PeerStats {
    /// A track without a name has just ended and is left out.
    pub(super) fn named(
        stats: media::PeerStats,
        name: impl Fn(TrackId) -> Option<TrackName>,
    ) -> Self {
        let published = stats.published.into_iter();
        let subscriptions = stats.subscriptions.into_iter();
        Self {
            connected: stats.connected,
            remote_addr: stats.remote_addr,
            srtp_profile: stats.srtp_profile,
            rtt_ms: stats.rtt_ms,
            published: published
                .filter_map(|stats| Some(PublishedStats::named(name(stats.track)?, stats)))
                .collect(),
            subscriptions: subscriptions
                .filter_map(|stats| Some(SubscriptionStats::named(name(stats.track)?, stats)))
                .collect(),
        }
    }
}

impl PublishedStats {
    fn named(track: TrackName, stats: media::PublishedStats) -> Self {
        Self {
            track,
            kind: match stats.kind {
                MediaKind::Audio => "audio",
                MediaKind::Video => "video",
            },
            codec: stats.codec,
            keyframe_requests: stats.keyframe_requests,
            layers: stats.layers.into_iter().map(Into::into).collect(),
        }
    }
}

impl From<media::LayerStats> for LayerStats {
    fn from(stats: media::LayerStats) -> Self {
        Self {
            rid: stats.rid,
            alive: stats.alive,
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
            reason: stats.reason,
            packets: stats.packets,
            bytes: stats.bytes,
            nacks_received: stats.nacks_received,
            retransmitted: stats.retransmitted,
            fraction_lost: stats.fraction_lost,
        }
    }
}
